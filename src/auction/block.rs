//! Block lists and allow lists: categories, advertiser domains, apps, creatives.
//!
//! Owns: [`Blocked`], what the request and the partner do not want to show, and how one entry of a
//! list matches one value of a bid. Never: the lists of a deal, seats.
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
use crate::negatives::rejection::Rejection;
use crate::partner::CreativeBlock;
use crate::request::List;
use smallvec::SmallVec;

/// The taxonomy of `bcat` and `cat` where `cattax` is absent: Content Taxonomy 1.0 (3.2.1, 4.2.3).
pub const CATTAX_DEFAULT: u16 = 1;

/// What the request and the partner do not want to show, looked up once for all bids.
#[derive(Debug)]
pub struct Blocked<'a> {
    /// The request's list, and the partner's.
    categories: [Categories<'a>; 2],
    allowed: Categories<'a>,
    advertisers: SmallVec<[Listed<'a>; 16]>,
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
        Self {
            categories: [theirs(view.bcat), Categories { cattax: CATTAX_DEFAULT, listed: ours }],
            allowed: theirs(view.acat),
            advertisers: both(view.badv, &partner.badv).map(Listed::new).collect(),
            apps: both(view.bapp, &partner.bapp).collect(),
            creatives: &partner.creatives_blocked,
        }
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
            let mut hosts = answer.texts_bytes(bid.adomain).map(Host::of);
            if hosts.any(|host| self.advertisers.iter().any(|listed| listed.covers(host))) {
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

/// A domain as it stands in a list: what [`covers`](Self::covers) compares with.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a>(&'a [u8]);

/// The host of what stands in an `adomain`: a domain by the standard, but bidders send URLs too.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a>(&'a [u8]);

impl<'a> Listed<'a> {
    /// From an entry of a list; a leading `www.` says nothing.
    pub fn new(entry: &'a [u8]) -> Self {
        let Host(host) = Host::of(entry);
        Self(host.strip_prefix(b"www.").unwrap_or(host))
    }

    /// Whether it is the host, or a parent of it.
    pub fn covers(self, host: Host<'_>) -> bool {
        let at = host.0.len().checked_sub(self.0.len());
        let Some((head, tail)) = at.and_then(|at| host.0.split_at_checked(at)) else {
            return false;
        };
        !tail.is_empty()
            && tail.eq_ignore_ascii_case(self.0)
            && (head.is_empty() || head.ends_with(b"."))
    }
}

impl<'a> Host<'a> {
    /// As it was written.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Without scheme, port, path and trailing dot.
    pub fn of(domain: &'a [u8]) -> Self {
        let domain = domain.trim_ascii();
        let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#' | b':');
        let host = match domain.iter().position(ends) {
            None => domain,
            Some(at) => {
                let (head, tail) = domain.split_at_checked(at).unwrap_or((domain, b""));
                match tail.strip_prefix(b"://") {
                    Some(rest) => rest.split(ends).next().unwrap_or_default(),
                    None => head,
                }
            }
        };
        Self(host.strip_suffix(b".").unwrap_or(host))
    }
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

    #[test]
    fn a_listed_domain_covers_itself_and_its_subdomains_in_any_case() {
        for (listed, host, covers) in [
            ("example.com", "example.com", true),
            ("example.com", "WWW.Example.COM", true),
            ("www.example.com", "example.com", true),
            ("example.com", "https://ads.example.com:443/x?y", true),
            ("example.com.", "example.com", true),
            ("example.com", "badexample.com", false),
            ("ads.example.com", "example.com", false),
            ("", "example.com", false),
            ("example.com", "", false),
            ("é.example", "x.é.example", true),
        ] {
            let found = Listed::new(listed.as_bytes()).covers(Host::of(host.as_bytes()));
            assert_eq!(found, covers, "{listed} {host}");
        }
    }
}
