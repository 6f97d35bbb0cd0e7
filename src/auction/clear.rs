//! Which offers win.
//!
//! Owns: tiers, ties and groups. Never: how many win an imp (`pick`), what is paid (`price`).
//!
//! - Tiers: an offer under a deal outranks every offer without one, whatever the prices, and one
//!   under a deal that the partner put in a tier before another's outranks that; within a tier the
//!   one of most worth wins (implementation notes, 7.3). An offer is worth what it bids,
//!   but under a deal of a fixed price that price: what is bid above it is never paid, so it
//!   neither wins anything nor raises what another pays.
//! - Ties: drawn by a hash of request id, imp id and the bidder's name, so that a replay agrees,
//!   no bidder is favoured, and no bidder can choose its luck. Within one answer the earlier bid
//!   wins.
//! - Groups: a `seatbid` with `group` wins every imp that it bids on, and of a dynamic pod each ad
//!   that it bids with, or nothing. While one is
//!   incomplete, the one of least worth is removed and the imps are sold again.
//!
//! Invariant: each offer becomes exactly one win or loss.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::offer::{AuctionResult, Loss, LossReason, Offer, Terms, Win};
use super::pick::{self, Picked};
use super::pod::Likeness;
use super::price;
use super::screen::{Group, Screened, Short};
use crate::negatives::rejection::Rejection;
use std::cmp::Ordering;

/// Sells every imp.
pub fn clear(terms: &Terms<'_>, screened: Screened<'_>) -> AuctionResult {
    let Screened { mut offers, mut losses, short, mut groups } = screened;
    let likeness = pick::likeness(terms, &offers);
    if !groups.is_empty() {
        settle_groups((terms, &likeness), &mut offers, &mut losses, &mut groups);
    }
    let picked = pick((terms, &likeness), &offers, true);
    let wins = price::wins(terms, &offers, &picked);
    let sold = Sold { terms, offers: &offers, picked: &picked, wins: &wins };
    sold.tell_short(&short, &mut losses);
    losses.reserve(offers.len().saturating_sub(wins.len()));
    losses.extend(offers.iter().enumerate().filter_map(|(at, offer)| sold.loss(at, offer)));
    losses.sort_unstable_by_key(|loss| (loss.bidder, loss.at));
    AuctionResult { currency: terms.currency, auction_type: terms.auction_type, wins, losses }
}

fn pick(known: (&Terms<'_>, &Likeness), offers: &[Offer<'_>], is_last: bool) -> Picked {
    pick::pick(known, (offers, is_last), |one, other| rank(known.0, one, other))
}

/// An auction whose winners are known.
struct Sold<'s> {
    terms: &'s Terms<'s>,
    offers: &'s [Offer<'s>],
    picked: &'s Picked,
    /// Beside `picked.winners`.
    wins: &'s [Win],
}

impl<'s> Sold<'s> {
    /// The winner that a bid for the imp had to tie with: the best, or in a dynamic pod, where
    /// each ad is sold by itself, the last (4.4.1: of bids that go on into another auction one
    /// alone is the winner).
    fn bar(&self, imp: u32) -> Option<(&'s Offer<'s>, &'s Win)> {
        let at = self.wins.iter().position(|win| win.imp == imp)?;
        let best = self.at(at)?;
        if !pick::is_dynamic(self.terms, best.0) {
            return Some(best);
        }
        self.at(self.wins.iter().rposition(|win| win.imp == imp)?)
    }

    fn at(&self, place: usize) -> Option<(&'s Offer<'s>, &'s Win)> {
        Some((self.offers.get(*self.picked.winners.get(place)?)?, self.wins.get(place)?))
    }

    /// What becomes of an offer that did not win.
    fn loss(&self, at: usize, offer: &Offer<'s>) -> Option<Loss> {
        if self.picked.winners.contains(&at) {
            return None;
        }
        if let Some(why) = self.picked.why(at) {
            return Some(lost(offer, why));
        }
        let last = self.wins.iter().rposition(|win| win.imp == offer.imp)?;
        let (last, _) = self.at(last)?;
        let is_outranked = last.deal.is_some() && last.tier > offer.tier;
        let reason = if is_outranked { LossReason::Deal } else { LossReason::HigherBid };
        let min_to_win = price::to_tie(self.terms, self.bar(offer.imp)?, &offer.into());
        Some(Loss { min_to_win, ..lost(offer, reason) })
    }

    /// Bids below their floors are told what would have won: the floor, where nothing did.
    fn tell_short(&self, short: &[Short], losses: &mut [Loss]) {
        for short in short {
            let Some(loss) = losses.get_mut(short.loss) else { continue };
            let bid = price::Losing::short(short, loss.at);
            loss.min_to_win = match self.bar(short.imp) {
                Some(bar) => price::to_tie(self.terms, bar, &bid),
                None => price::told(self.terms, loss.at, short.floor),
            };
        }
    }
}

fn lost(offer: &Offer<'_>, reason: LossReason) -> Loss {
    let Offer { at, bidder, imp, .. } = *offer;
    Loss { at, bidder, imp: Some(imp), reason, min_to_win: None }
}

/// Which of two offers for one imp is better; never `Equal` for different bids.
fn rank(terms: &Terms<'_>, one: &Offer<'_>, other: &Offer<'_>) -> Ordering {
    let tier = |offer: &Offer<'_>| (offer.tier, offer.worth());
    tier(one).cmp(&tier(other)).then_with(|| {
        if one.bidder == other.bidder {
            return other.at.cmp(&one.at);
        }
        draw(terms, one).cmp(&draw(terms, other)).then(other.bidder.cmp(&one.bidder))
    })
}

/// The lot that a bidder draws for an imp; computed only where prices are equal.
fn draw(terms: &Terms<'_>, offer: &Offer<'_>) -> [u8; 32] {
    let request = terms.input.request;
    let imp = request
        .view
        .imps
        .get(offer.imp as usize)
        .map_or(&b""[..], |imp| request.text_bytes(imp.id));
    let mut hasher = blake3::Hasher::new();
    for part in [request.text_bytes(request.view.id), imp, offer.name.as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Removes incomplete groups until every group that is left wins all of its imps.
fn settle_groups(
    (terms, likeness): (&Terms<'_>, &Likeness),
    offers: &mut Vec<Offer<'_>>,
    losses: &mut Vec<Loss>,
    groups: &mut Vec<Group>,
) {
    let mut round = 0u32;
    loop {
        let picked = pick((terms, likeness), offers, false);
        let incomplete = |group: &Group| {
            group.is_hopeless || won(terms, group, &picked, offers) != (group.imps, group.ads)
        };
        let worst = groups.iter().filter(|group| incomplete(group)).min_by(|one, other| {
            let worth = |group: &Group| worth(group, offers);
            worth(one).cmp(&worth(other)).then_with(|| order(terms, one).cmp(&order(terms, other)))
        });
        let Some(worst) = worst.copied() else { return };
        let is_last_round = round >= terms.input.settings.group_rounds_max;
        let goes =
            |answer: u32, seat: u32| is_last_round || (answer, seat) == (worst.answer, worst.seat);
        groups.retain(|group| !goes(group.answer, group.seat));
        offers.retain(|offer| {
            let stays = !offer.is_group || !goes(offer.at.answer, offer.at.seat);
            if !stays {
                losses.push(lost(offer, LossReason::Rejected(Rejection::GroupIncomplete)));
            }
            stays
        });
        round = round.saturating_add(1);
    }
}

/// The imps that a group wins, and its winners in those that may be dynamic pods.
fn won(terms: &Terms<'_>, group: &Group, picked: &Picked, offers: &[Offer<'_>]) -> (u64, u32) {
    let imps = &terms.input.request.view.imps;
    let winners = picked.winners.iter().filter_map(|at| offers.get(*at));
    let own =
        winners.filter(|offer| (offer.at.answer, offer.at.seat) == (group.answer, group.seat));
    own.fold((0, 0), |(won, ads), offer| {
        let is_ad = imps.get(offer.imp as usize).is_some_and(pick::may_be_dynamic);
        let won = won | 1u64.checked_shl(offer.imp).unwrap_or(0);
        (won, u32::saturating_add(ads, is_ad.into()))
    })
}

/// What a group would pay at most in all.
fn worth(group: &Group, offers: &[Offer<'_>]) -> i64 {
    let own = offers
        .iter()
        .filter(|offer| (offer.at.answer, offer.at.seat) == (group.answer, group.seat));
    own.fold(0, |sum: i64, offer| sum.saturating_add(offer.worth().micros()))
}

/// Orders groups of equal worth, whatever the order of the answers.
fn order<'a>(terms: &Terms<'a>, group: &Group) -> (Option<&'a str>, u32) {
    (terms.input.answers.get(group.answer as usize).map(|answered| answered.name), group.seat)
}
