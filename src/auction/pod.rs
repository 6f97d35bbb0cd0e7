//! What may stand together in an ad pod, and where.
//!
//! Owns: [`Places`] (`slotinpod`, of the seller 3.2.7 and 3.2.8, of a bid 4.2.3), [`Separation`]
//! (`poddedupe`) and [`Likeness`], by which it is judged. Never: a price, how long an ad lasts. Invariant: what one bid wants is never
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

use super::block::{CATTAX_DEFAULT, category_covers};
use super::offer::{Apart, BidRef, Offer, Terms};
use crate::bid::{Bid, BidAnswer};
use crate::domain::Host;
use crate::request::stream::{Pod, Slots};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

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
        likeness: &Likeness,
        (one, answer, bid): (&Offer<'_>, &BidAnswer, &Bid),
        (other, other_answer, other_bid): (&Offer<'_>, &BidAnswer, &Bid),
    ) -> Option<Apart> {
        // an id of a creative means nothing beyond its bidder
        let is_one_creative = || {
            !bid.crid.is_empty()
                && one.bidder == other.bidder
                && answer.text_bytes(bid.crid) == other_answer.text_bytes(other_bid.crid)
        };
        if self.advertiser && likeness.advertisers.share(one.at, other.at) {
            Some(Apart::Advertiser)
        } else if self.category && likeness.categories.share(one.at, other.at) {
            Some(Apart::Category)
        } else {
            (self.creative && is_one_creative()).then_some(Apart::Creative)
        }
    }
}

/// What the bids of an auction have in common, looked at once: bids are compared in pairs, and again for
/// each group that is incomplete.
#[derive(Debug, Default)]
pub struct Likeness {
    advertisers: Alike,
    /// Of one taxonomy; a category is like those below it.
    categories: Alike,
}

impl Likeness {
    /// Of bids that may stand in one pod.
    pub fn of<'o>(terms: &Terms<'_>, offers: impl Iterator<Item = &'o Offer<'o>> + Clone) -> Self {
        let bids = offers.filter_map(|offer| {
            let (answered, _, bid) = offer.at.resolve(terms.input.answers)?;
            Some((offer.at, answered.answer, bid))
        });
        let hosts = bids.clone().flat_map(|(at, answer, bid)| {
            let hosts = answer.texts_bytes(bid.adomain).flat_map(Host::all).map(Host::without_www);
            hosts.filter(|host| !host.bytes().is_empty()).map(move |host| (host, at))
        });
        let categories = bids.flat_map(|(at, answer, bid)| {
            let cattax = bid.cattax.unwrap_or(CATTAX_DEFAULT);
            answer.texts_bytes(bid.cat).map(move |category| ((cattax, category), at))
        });
        let by_host = |one: &Host<'_>, other: &Host<'_>| one.letters().cmp(other.letters());
        Self {
            advertisers: Alike::of(hosts.collect(), by_host, |one, other| {
                by_host(one, other) == Ordering::Equal
            }),
            categories: Alike::of(categories.collect(), by_category, |one, other| {
                one.0 == other.0 && category_covers(one.1, other.1, one.0)
            }),
        }
    }
}

/// Orders categories so that those of one stand right behind it.
fn by_category(one: &(u16, &[u8]), other: &(u16, &[u8])) -> Ordering {
    // the mark before a child comes before all letters
    let weight = |byte: &u8| (*byte != b'-', byte.to_ascii_lowercase());
    let letters = one.1.iter().map(weight).cmp(other.1.iter().map(weight));
    one.0.cmp(&other.0).then(letters)
}

/// Names of bids as places in one sorted list: each from its own place up to where those end that are
/// like it or below it. Two such runs are apart, or one is within the other.
#[derive(Debug, Default)]
struct Alike(HashMap<BidRef, Runs>);

/// Sorted, and apart.
type Runs = SmallVec<[Range<usize>; 2]>;

impl Alike {
    /// From all names. `order` has those that a name covers right behind it.
    fn of<N>(
        mut names: Vec<(N, BidRef)>,
        order: impl Fn(&N, &N) -> Ordering,
        covers: impl Fn(&N, &N) -> bool,
    ) -> Self {
        names.sort_unstable_by(|(one, _), (other, _)| order(one, other));
        let mut alike = Self::default();
        for (at, (name, bid)) in names.iter().enumerate() {
            let runs = alike.0.entry(*bid).or_default();
            // what is within one of the bid's own says nothing more
            if runs.last().is_some_and(|last| last.contains(&at)) {
                continue;
            }
            let behind = names.get(at..).unwrap_or_default();
            let len = behind.partition_point(|(other, _)| covers(name, other));
            runs.push(at..at.saturating_add(len));
        }
        alike
    }

    /// Whether a name of one is a name of the other, or above or below one.
    fn share(&self, one: BidRef, other: BidRef) -> bool {
        let runs = |bid: BidRef| self.0.get(&bid).map_or(&[][..], |runs| runs.as_slice());
        let (mut one, mut other) = (runs(one), runs(other));
        while let ([first, rest @ ..], [second, others @ ..]) = (one, other) {
            if first.start < second.end && second.start < first.end {
                return true;
            }
            if first.start < second.start { one = rest } else { other = others }
        }
        false
    }
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
    #[test]
    fn names_are_alike_where_each_with_each_says_so() {
        let naive = |one: &[&str], other: &[&str]| {
            one.iter().any(|one| {
                other.iter().any(|other| {
                    let (one, other) = (one.as_bytes(), other.as_bytes());
                    category_covers(one, other, 1) || category_covers(other, one, 1)
                })
            })
        };
        let names =
            ["a", "A-1", "a-1-x", "a-2", "a.", "a0", "b", "b-1", "B-1-1", "b-10", "-", "a-"];
        let lists: Vec<Vec<&str>> = (0..1_u32 << names.len())
            .step_by(5)
            .filter(|bits| bits.count_ones() <= 4)
            .map(|bits| {
                let listed = names.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
                listed.map(|(_, name)| *name).collect()
            })
            .collect();
        let at = |number: usize| BidRef { answer: 0, seat: 0, bid: u32::try_from(number).unwrap() };
        let all = lists.iter().enumerate().flat_map(|(number, list)| {
            list.iter().map(move |name| ((1, name.as_bytes()), at(number)))
        });
        let alike = Alike::of(all.collect(), by_category, |one, other| {
            category_covers(one.1, other.1, one.0)
        });
        for (number, one) in lists.iter().enumerate() {
            for (second, other) in lists.iter().enumerate() {
                let expected = naive(one, other);
                assert_eq!(alike.share(at(number), at(second)), expected, "{one:?} {other:?}");
            }
        }
    }
}
