//! What a winner pays, what of it the partner gets, and what each bidder is told would have won.
//!
//! Owns: clearing prices, and MIN_TO_WIN (4.4.1). Never: who wins.
//!
//! - First price: the winner pays its bid. Second price: one cent over the next offer of its
//!   tier, at least its floor, at most its bid; alone in its tier, its floor, or a cent where
//!   that is zero. Offers of the same bidder and seat do not raise
//!   each other's price: the standard asks bidders for more than one (7.3). No more do those that
//!   could not have won whatever they are worth (`pick`). A deal of type 3
//!   costs its `bidfloor` (3.2.12); without one it costs the bid.
//! - A soft floor (`rules`) is for second-price auctions: a winner that does not reach it pays its
//!   bid, one that does at least the soft floor.
//! - Several winners of one imp (`pick`): each has a price of its own. With `multibid` the second
//!   price is of the next offer, also where that wins too; in a pod of the next that does not win.
//!   MIN_TO_WIN of all but the best is that of losers, since their auction goes on; in a pod that
//!   of winners.
//! - MIN_TO_WIN of a winner is what the next offer of its tier is worth, at least its floor: by
//!   that it would have tied. Of a bid that lost to a higher one, or that is below its floor, it
//!   is the winner's clearing price, as in the tables of 4.4.1, or what the winner is worth where
//!   the bid had reached the clearing price already; at least its own floor, which is all where
//!   nothing won. There is none where price was not what decided: behind a higher tier, for an
//!   incomplete group, under a fixed price, for a bid that any other rule rejected.
//!
//! Rounding: prices are compared and paid in micros of the auction's currency, which is that of
//! our answer; `Rates::convert` rounds to the nearest micro. What is paid in the bid's currency
//! is converted back and cut to the bid; MIN_TO_WIN is rounded up, so that it does tie. The net is
//! rounded in the partner's favour (`money`).
//! Invariant: `floor <= clearing <= value`, and never more than was bid in either currency;
//! `net <= clearing`, and not below the publisher's floor, for `floor` is that marked up.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::offer::{BidRef, Offer, Terms, Win};
use super::pick::{self, Picked};
use super::screen::Short;
use crate::money::Cpm;
use crate::openrtb::ids::AuctionType;

/// A bid that lost, as far as its price goes.
#[derive(Clone, Copy, Debug)]
pub struct Losing {
    at: BidRef,
    tier: u8,
    /// In the auction's currency; `None`: below `floor`.
    value: Option<Cpm>,
    floor: Cpm,
    /// It would not have paid more, whatever it had bid.
    is_fixed: bool,
}

impl From<&Offer<'_>> for Losing {
    fn from(offer: &Offer<'_>) -> Self {
        let Offer { at, tier, value, floor, fixed, .. } = *offer;
        Self { at, tier, value: Some(value), floor, is_fixed: fixed.is_some() }
    }
}

impl Losing {
    /// One that did not reach its floor.
    pub fn short(short: &Short, at: BidRef) -> Self {
        let Short { tier, floor, .. } = *short;
        Self { at, tier, value: None, floor, is_fixed: false }
    }
}

/// What each winner pays, in the order of `picked` (by imp, then the best first).
pub fn wins(terms: &Terms<'_>, offers: &[Offer<'_>], picked: &Picked) -> Vec<Win> {
    let winners = &picked.winners[..];
    let mut wins: Vec<Win> = Vec::with_capacity(winners.len());
    let mut best: Option<(&Offer<'_>, Win)> = None;
    for (place, at) in winners.iter().enumerate() {
        let Some(winner) = offers.get(*at) else { continue };
        best = best.filter(|(best, _)| best.imp == winner.imp);
        let is_pod = pick::is_dynamic(terms, winner);
        let apart = if is_pod { winners } else { winners.get(..place).unwrap_or_default() };
        let others = offers
            .iter()
            .enumerate()
            .filter(|(other, _)| !apart.contains(other) && picked.competes(*other, *at));
        let mut win = win(terms, winner, runner_up(winner, others.map(|(_, offer)| offer)));
        match &best {
            None => best = Some((winner, win)),
            Some(_) if is_pod => {}
            // it goes on into another auction: here the best alone is the winner
            Some((best, top)) => win.min_to_win = to_tie(terms, (best, top), &winner.into()),
        }
        wins.push(win);
    }
    wins
}

/// What a winner pays; `next`: what the next offer is worth.
fn win(terms: &Terms<'_>, winner: &Offer<'_>, next: Option<Cpm>) -> Win {
    let clearing = match winner.auction_type {
        AuctionType::FirstPrice => winner.value,
        AuctionType::SecondPrice if winner.soft.is_some_and(|soft| winner.value < soft) => {
            winner.value
        }
        AuctionType::SecondPrice => {
            let over = next.and_then(|value| value.checked_add(Cpm::CENT));
            // alone it pays the floor; where there is none, the step: nothing is given away
            let price =
                over.unwrap_or(if winner.floor > Cpm::ZERO { winner.floor } else { Cpm::CENT });
            price.max(winner.soft.unwrap_or_default())
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
    let to_tie = next.unwrap_or(Cpm::ZERO).max(winner.floor);
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
        net: terms.pricing.take_rate(winner.deal).net(clearing),
        min_to_win: told(terms, winner.at, to_tie).map(|least| least.min(winner.price)),
    }
}

/// The highest worth in the winner's tier, of another bidder or seat, that is not above it, among
/// those that compete with it.
fn runner_up<'o>(winner: &Offer<'_>, others: impl Iterator<Item = &'o Offer<'o>>) -> Option<Cpm> {
    let others = others.filter(|offer| {
        offer.imp == winner.imp
            && offer.tier == winner.tier
            && (offer.bidder, offer.seat) != (winner.bidder, winner.seat)
            && offer.worth() <= winner.worth()
    });
    others.map(Offer::worth).max()
}

/// The price by which a bid would have tied with the one that won its imp, in the bid's currency.
pub fn to_tie(terms: &Terms<'_>, sold: (&Offer<'_>, &Win), bid: &Losing) -> Option<Cpm> {
    let (winner, win) = sold;
    if bid.is_fixed || winner.tier > bid.tier {
        return None;
    }
    let is_there = bid.value.is_some_and(|value| value >= win.clearing);
    let price = match winner.tier < bid.tier {
        true => bid.floor,
        false if is_there => winner.worth(),
        false => win.clearing,
    };
    told(terms, bid.at, price.max(bid.floor))
}

/// A price of the auction in the currency of a bid, rounded so that it is not worth less.
pub fn told(terms: &Terms<'_>, at: BidRef, price: Cpm) -> Option<Cpm> {
    let input = terms.input;
    let currency = input.answers.get(at.answer as usize)?.answer.currency?;
    input.rates.convert_up(price, (terms.currency, currency), terms.currency)
}
