//! What may stand together in an ad pod, and where.
//!
//! Owns: [`Places`] (`slotinpod`, of the seller 3.2.7 and 3.2.8, of a bid 4.2.3) and [`Separation`]
//! (`poddedupe`). Never: a price, how long an ad lasts. Invariant: what one bid wants is never
//! given to two.
//!
//! - A bid that wants the first or the last place of a pod is eligible for no other. The seller says
//!   which of the two it can guarantee; where it guarantees none, such a bid is out. The place of an
//!   imp that is one ad is that of its `slotinpod`, too.
//! - Which ads may not stand in one pod the request says (AdCOM, Pod Deduplication: 1 by advertiser
//!   domain, 2 by category, 3 by creative, 5 not at all); where it says nothing, no two of one
//!   advertiser, and of no one category where that is agreed with the partner. 4, by media file, is
//!   not looked at: that would be to read each other's markup.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::block::{CATTAX_DEFAULT, Host, category_covers};
use super::offer::{Apart, Offer, Terms};
use crate::bid::{Bid, BidAnswer};
use crate::request::stream::{Pod, Slots};

/// The places of one pod that bids have asked for.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    guaranteed: Slots,
    first: bool,
    last: bool,
    /// Bids that take either.
    either: u8,
}

impl Places {
    /// None is taken yet of those that the seller guarantees.
    pub const fn new(guaranteed: Slots) -> Self {
        Self { guaranteed, first: false, last: false, either: 0 }
    }

    /// With one more bid; `None`: there is no place of those that it wants.
    pub fn with(self, wanted: Slots) -> Option<Self> {
        let mut next = self;
        match (wanted.first, wanted.last) {
            (false, false) => return Some(self),
            (true, true) => next.either = next.either.saturating_add(1),
            (true, false) if !self.first => next.first = true,
            (false, true) if !self.last => next.last = true,
            _ => return None,
        }
        let there = |is: bool| u8::from(is);
        let taken = there(next.first).saturating_add(there(next.last)).saturating_add(next.either);
        let open = there(self.guaranteed.first).saturating_add(there(self.guaranteed.last));
        let is_own = next.first <= self.guaranteed.first && next.last <= self.guaranteed.last;
        (is_own && taken <= open).then_some(next)
    }
}

/// What keeps two ads out of one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Separation {
    advertiser: bool,
    category: bool,
    creative: bool,
}

impl Separation {
    /// As the two imps of one pod say: what either of them keeps apart.
    pub fn of(terms: &Terms<'_>, pods: [Pod; 2]) -> Self {
        let [one, other] = pods.map(|pod| Self::of_pod(terms, pod));
        Self {
            advertiser: one.advertiser || other.advertiser,
            category: one.category || other.category,
            creative: one.creative || other.creative,
        }
    }

    fn of_pod(terms: &Terms<'_>, pod: Pod) -> Self {
        let said = terms.input.request.numbers(pod.dedupe);
        if said.is_empty() {
            let category = terms.input.partner.separates_categories;
            return Self { advertiser: true, category, creative: false };
        }
        Self {
            advertiser: said.contains(&1),
            category: said.contains(&2),
            creative: said.contains(&3),
        }
    }

    /// What keeps two offers with their bids from standing in the pod both.
    pub fn between(
        self,
        (one, answer, bid): (&Offer<'_>, &BidAnswer, &Bid),
        (other, other_answer, other_bid): (&Offer<'_>, &BidAnswer, &Bid),
    ) -> Option<Apart> {
        let share = |left, right, is_same: &dyn Fn(&[u8], &[u8]) -> bool| {
            let mut all = answer.texts_bytes(left);
            all.any(|one| other_answer.texts_bytes(right).any(|other| is_same(one, other)))
        };
        let cattax = bid.cattax.unwrap_or(CATTAX_DEFAULT);
        let is_alike = |one: &[u8], other: &[u8]| {
            category_covers(one, other, cattax) || category_covers(other, one, cattax)
        };
        let is_one_taxonomy = cattax == other_bid.cattax.unwrap_or(CATTAX_DEFAULT);
        // an id of a creative means nothing beyond its bidder
        let is_one_creative = !bid.crid.is_empty()
            && one.bidder == other.bidder
            && answer.text_bytes(bid.crid) == other_answer.text_bytes(other_bid.crid);
        if self.advertiser && share(bid.adomain, other_bid.adomain, &is_one_advertiser) {
            Some(Apart::Advertiser)
        } else if self.category && is_one_taxonomy && share(bid.cat, other_bid.cat, &is_alike) {
            Some(Apart::Category)
        } else {
            (self.creative && is_one_creative).then_some(Apart::Creative)
        }
    }
}

/// Whether what two bids name is one advertiser.
fn is_one_advertiser(one: &[u8], other: &[u8]) -> bool {
    Host::all(one).any(|one| Host::all(other).any(|other| one.is_same(&other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_once_and_only_where_the_seller_has_it() {
        let taken = |guaranteed: i32, wanted: &[i32]| {
            let mut places = Places::new(Slots::of(guaranteed));
            let mut is_taken = Vec::new();
            for one in wanted {
                let next = places.with(Slots::of(*one));
                is_taken.push(next.is_some());
                places = next.unwrap_or(places);
            }
            is_taken
        };
        for (guaranteed, wanted, expected) in [
            (0, &[0, 1, -1, 2, 0][..], &[true, false, false, false, true][..]),
            (1, &[-1, 2, 1, 0], &[false, true, false, true]),
            (-1, &[1, -1, 2, 0], &[false, true, false, true]),
            (2, &[1, 1, -1, 2], &[true, false, true, false]),
            (2, &[2, 2, 1, -1], &[true, true, false, false]),
            // whoever takes either leaves the one that the next wants
            (2, &[2, -1, 1], &[true, true, false]),
            (2, &[2, 1, -1], &[true, true, false]),
            // a code that nobody knows is none
            (7, &[1, 9], &[false, true]),
        ] {
            assert_eq!(taken(guaranteed, wanted), expected, "{guaranteed} {wanted:?}");
        }
    }
}
