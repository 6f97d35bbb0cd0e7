//! Block lists and allow lists: categories, advertiser domains, apps, creatives.
//!
//! Owns: [`Blocked`], what the request and the partner do not want to show, the advertisers of deals, and
//! how one entry of a list of categories matches one of a bid. Never: seats.
//!
//! Categories are of a taxonomy. The request's lists are of its `cattax`, the partner's of Content
//! Taxonomy 1.0, a bid's of its own `cattax`; where one is absent it is 1, in the bid too, as the
//! standard says (3.2.1, 4.2.3), and not what the request uses. Each list judges the bids of its
//! own taxonomy; the ids of two cannot be compared, and there the bid passes.
//!
//! - Blocked (`bcat`, `badv`, `bapp`): a bid that names none passes: the standard requires none.
//! - Allowed (`acat`): one of the bid's categories has to be in it, so a bid that names none does
//!   not pass.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::offer::{Answered, Terms};
use crate::bid::Bid;
use crate::domain::{Domains, Host};
use crate::negatives::rejection::Rejection;
use crate::partner::CreativeBlock;
use crate::request::{Deal, List, ValidRequest};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::HashMap;

/// The taxonomy of `bcat` and `cat` where `cattax` is absent: Content Taxonomy 1.0 (3.2.1, 4.2.3).
pub const CATTAX_DEFAULT: u16 = 1;

/// What the request and the partner do not want to show, looked up once for all bids.
#[derive(Debug)]
pub struct Blocked<'a> {
    /// The request's list, and the partner's.
    categories: [Categories<'a>; 2],
    allowed: Categories<'a>,
    advertisers: Domains<'a>,
    /// Of deals that were asked for, by the place of their `wadomain`.
    of_deals: RefCell<HashMap<u32, Domains<'a>>>,
    /// How many domains bids name, about.
    hosts: usize,
    request: &'a ValidRequest,
    apps: SmallVec<[&'a [u8]; 4]>,
    creatives: &'a [CreativeBlock],
}

/// A list of categories, and the taxonomy that they are of.
#[derive(Debug)]
struct Categories<'a> {
    cattax: u16,
    listed: SmallVec<[&'a [u8]; 16]>,
}

impl Categories<'_> {
    fn is_of(&self, cattax: u16) -> bool {
        !self.listed.is_empty() && self.cattax == cattax
    }

    fn cover(&self, category: &[u8]) -> bool {
        self.listed.iter().any(|listed| category_covers(listed, category, self.cattax))
    }
}

impl<'a> Blocked<'a> {
    /// From the lists of both.
    pub fn new(terms: &Terms<'a>) -> Self {
        let (request, partner) = (terms.input.request, terms.input.partner);
        let view = &request.view;
        let cattax = view.cattax.unwrap_or(CATTAX_DEFAULT);
        let both = |list: List, own: &'a [String]| {
            request.texts_bytes(list).chain(own.iter().map(String::as_bytes))
        };
        let theirs =
            |list: List| Categories { cattax, listed: request.texts_bytes(list).collect() };
        let ours = partner.bcat.iter().map(String::as_bytes).collect();
        let bids = terms.input.answers.iter().flat_map(|answered| &answered.answer.bids);
        let hosts = bids.map(|bid| bid.adomain.len as usize).sum();
        Self {
            categories: [theirs(view.bcat), Categories { cattax: CATTAX_DEFAULT, listed: ours }],
            allowed: theirs(view.acat),
            advertisers: Domains::new(both(view.badv, &partner.badv), hosts),
            of_deals: RefCell::default(),
            hosts,
            request,
            apps: both(view.bapp, &partner.bapp).collect(),
            creatives: &partner.creatives_blocked,
        }
    }

    /// Whether a deal takes the advertisers that a bid names: all of them are in its `wadomain`, where
    /// it has one, and there is at least one.
    pub fn is_in_deal(&self, deal: &Deal, answered: &Answered<'_>, bid: &Bid) -> bool {
        if deal.wadomain.is_empty() {
            return true;
        }
        let mut of_deals = self.of_deals.borrow_mut();
        let listed = of_deals
            .entry(deal.wadomain.first)
            .or_insert_with(|| Domains::new(self.request.texts_bytes(deal.wadomain), self.hosts));
        let hosts = answered.answer.texts_bytes(bid.adomain).flat_map(Host::all);
        let mut hosts = hosts.peekable();
        hosts.peek().is_some() && hosts.all(|host| listed.cover(&host))
    }

    /// Judges a bid of a bidder.
    pub fn judge(&self, answered: &Answered<'_>, bid: &Bid) -> Result<(), Rejection> {
        let answer = answered.answer;
        let cattax = bid.cattax.unwrap_or(CATTAX_DEFAULT);
        let mut blocked = self.categories.iter().filter(|list| list.is_of(cattax));
        if blocked.any(|list| answer.texts_bytes(bid.cat).any(|one| list.cover(one))) {
            return Err(Rejection::CategoryBlocked);
        }
        let allowed = &self.allowed;
        let is_judged = allowed.is_of(cattax) || bid.cat.is_empty();
        if !allowed.listed.is_empty()
            && is_judged
            && !answer.texts_bytes(bid.cat).any(|one| allowed.cover(one))
        {
            return Err(Rejection::CategoryBlocked);
        }
        if !self.advertisers.is_empty() {
            let mut hosts = answer.texts_bytes(bid.adomain).flat_map(Host::all);
            if hosts.any(|host| self.advertisers.cover(&host)) {
                return Err(Rejection::AdvertiserBlocked);
            }
        }
        if !self.apps.is_empty() && !bid.bundle.is_empty() {
            let bundle = answer.text_bytes(bid.bundle);
            if self.apps.iter().any(|app| app.eq_ignore_ascii_case(bundle)) {
                return Err(Rejection::AppBlocked);
            }
        }
        if !self.creatives.is_empty() && !bid.crid.is_empty() {
            let crid = answer.text_bytes(bid.crid);
            if self.creatives.iter().any(|block| block.has(answered.name, crid)) {
                return Err(Rejection::CreativeBlocked);
            }
        }
        Ok(())
    }
}

/// Whether `blocked` covers `category`, both of taxonomy `cattax`.
///
/// The ids of taxonomy 1 show their parent (`IAB7-39` is in `IAB7`), so a blocked parent blocks
/// its children there. The ids of the others are opaque: they match as a whole.
pub fn category_covers(blocked: &[u8], category: &[u8], cattax: u16) -> bool {
    let Some((head, tail)) = category.split_at_checked(blocked.len()) else {
        return false;
    };
    let is_below = || cattax == CATTAX_DEFAULT && tail.starts_with(b"-");
    !head.is_empty() && head.eq_ignore_ascii_case(blocked) && (tail.is_empty() || is_below())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_category_covers_its_children_in_the_first_taxonomy_only() {
        for (blocked, category, cattax, covers) in [
            ("IAB7-39", "IAB7-39", 1, true),
            ("iab7-39", "IAB7-39", 1, true),
            ("IAB7", "IAB7-39", 1, true),
            ("IAB7-39", "IAB7", 1, false),
            ("IAB7", "IAB70", 1, false),
            ("", "", 1, false),
            ("", "-1", 1, false),
            ("432", "432", 7, true),
            ("432", "432-1", 7, false),
        ] {
            let found = category_covers(blocked.as_bytes(), category.as_bytes(), cattax);
            assert_eq!(found, covers, "{blocked} {category}");
        }
    }
}
