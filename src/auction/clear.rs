//! Which offers win, and what they pay.
//!
//! Owns: tiers, prices, ties and groups.
//!
//! - Tiers: an offer under a deal outranks every offer without one, whatever the prices; within
//!   a tier the one of most worth wins (implementation notes, 7.3). An offer is worth what it bids,
//!   but under a deal of a fixed price that price: what is bid above it is never paid, so it
//!   neither wins anything nor raises what another pays.
//! - First price: the winner pays its bid. Second price: one cent over the next offer of its
//!   tier, at least its floor, at most its bid; alone in its tier, its floor, or a cent where
//!   that is zero. Offers of the same bidder and seat do not raise
//!   each other's price: the standard asks bidders for more than one (7.3). A deal of type 3
//!   costs its `bidfloor` (3.2.12); without one it costs the bid.
//! - Ties: drawn by a hash of request id, imp id and the bidder's name, so that a replay agrees,
//!   no bidder is favoured, and no bidder can choose its luck. Within one answer the earlier bid
//!   wins.
//! - Groups: a `seatbid` with `group` wins every imp that it bids on, or nothing. While one is
//!   incomplete, the one of least worth is removed and the imps are sold again.
//!
//! Rounding: prices are compared and paid in micros of the auction's currency, which is that of
//! our answer; `Rates::convert` rounds to the nearest micro. What is paid in the bid's currency
//! is converted back and cut to the bid.
//! Invariant: `floor <= clearing <= value`, and never more than was bid in either currency.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::offer::{AuctionResult, Loss, LossReason, Offer, Terms, Win};
use super::screen::{Group, Screened};
use crate::money::Cpm;
use crate::negatives::rejection::Rejection;
use crate::openrtb::ids::AuctionType;
use smallvec::SmallVec;
use std::cmp::Ordering;

/// The best offer of each imp, as indexes of the offers.
type Best = SmallVec<[Option<usize>; 8]>;

/// Sells every imp.
pub fn clear(terms: &Terms<'_>, screened: Screened<'_>) -> AuctionResult {
    let Screened { mut offers, mut losses, mut groups } = screened;
    let mut best = best_of_each(terms, &offers);
    if !groups.is_empty() {
        best = settle_groups(terms, &mut offers, &mut losses, &mut groups);
    }
    let winner_of =
        |imp: u32| best.get(imp as usize).copied().flatten().and_then(|at| offers.get(at));
    let wins = best.iter().flatten().filter_map(|at| offers.get(*at));
    let wins: Vec<_> = wins.map(|winner| win(terms, winner, &offers)).collect();
    losses.reserve(offers.len().saturating_sub(wins.len()));
    losses.extend(offers.iter().filter_map(|offer| {
        let winner = winner_of(offer.imp)?;
        (winner.at != offer.at).then(|| {
            let is_outranked = winner.deal.is_some() && offer.deal.is_none();
            lost(offer, if is_outranked { LossReason::Deal } else { LossReason::HigherBid })
        })
    }));
    losses.sort_unstable_by_key(|loss| (loss.bidder, loss.at));
    AuctionResult { currency: terms.currency, auction_type: terms.auction_type, wins, losses }
}

fn lost(offer: &Offer<'_>, reason: LossReason) -> Loss {
    Loss { at: offer.at, bidder: offer.bidder, imp: Some(offer.imp), reason }
}

/// The best offer of each imp.
fn best_of_each(terms: &Terms<'_>, offers: &[Offer<'_>]) -> Best {
    let mut best: Best = SmallVec::from_elem(None, terms.input.request.view.imps.len());
    for (at, offer) in offers.iter().enumerate() {
        let Some(place) = best.get_mut(offer.imp as usize) else { continue };
        let leader = place.and_then(|leader: usize| offers.get(leader));
        if leader.is_none_or(|leader| rank(terms, offer, leader) == Ordering::Greater) {
            *place = Some(at);
        }
    }
    best
}

/// Which of two offers for one imp is better; never `Equal` for different bids.
fn rank(terms: &Terms<'_>, one: &Offer<'_>, other: &Offer<'_>) -> Ordering {
    let tier = |offer: &Offer<'_>| (offer.deal.is_some(), offer.worth());
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
    terms: &Terms<'_>,
    offers: &mut Vec<Offer<'_>>,
    losses: &mut Vec<Loss>,
    groups: &mut Vec<Group>,
) -> Best {
    let mut round = 0u32;
    loop {
        let best = best_of_each(terms, offers);
        let incomplete =
            |group: &Group| group.is_hopeless || won(group, &best, offers) != group.imps;
        let worst = groups.iter().filter(|group| incomplete(group)).min_by(|one, other| {
            let worth = |group: &Group| worth(group, offers);
            worth(one).cmp(&worth(other)).then_with(|| order(terms, one).cmp(&order(terms, other)))
        });
        let Some(worst) = worst.copied() else { return best };
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

/// The imps that a group wins.
fn won(group: &Group, best: &Best, offers: &[Offer<'_>]) -> u64 {
    let winners = best.iter().flatten().filter_map(|at| offers.get(*at));
    let own =
        winners.filter(|offer| (offer.at.answer, offer.at.seat) == (group.answer, group.seat));
    own.fold(0, |imps, offer| imps | 1u64.checked_shl(offer.imp).unwrap_or(0))
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

/// What the winner of an imp pays.
fn win(terms: &Terms<'_>, winner: &Offer<'_>, offers: &[Offer<'_>]) -> Win {
    let clearing = match winner.auction_type {
        AuctionType::FirstPrice => winner.value,
        AuctionType::SecondPrice => {
            let next = runner_up(winner, offers).and_then(|value| value.checked_add(Cpm::CENT));
            // alone it pays the floor; where there is none, the step: nothing is given away
            next.unwrap_or(if winner.floor > Cpm::ZERO { winner.floor } else { Cpm::CENT })
        }
        AuctionType::Fixed => winner.fixed.unwrap_or(winner.value),
    };
    let clearing = clearing.max(winner.floor).min(winner.value);
    let input = terms.input;
    let currency = input.answers.get(winner.at.answer as usize).and_then(|a| a.answer.currency);
    let back = currency.and_then(|to| input.rates.convert(clearing, terms.currency, to));
    let clearing_in_bid_currency = if clearing == winner.value {
        winner.price
    } else {
        back.unwrap_or(winner.price).min(winner.price)
    };
    Win {
        at: winner.at,
        bidder: winner.bidder,
        imp: winner.imp,
        media: winner.media,
        is_deal: winner.deal.is_some(),
        price: winner.price,
        value: winner.value,
        clearing,
        clearing_in_bid_currency,
    }
}

/// The highest other worth in the winner's tier, of another bidder or seat.
fn runner_up(winner: &Offer<'_>, offers: &[Offer<'_>]) -> Option<Cpm> {
    let others = offers.iter().filter(|offer| {
        offer.imp == winner.imp
            && offer.deal.is_some() == winner.deal.is_some()
            && (offer.bidder, offer.seat) != (winner.bidder, winner.seat)
    });
    others.map(Offer::worth).max()
}
