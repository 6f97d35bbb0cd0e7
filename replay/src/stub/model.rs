//! What a simulated bidder does with a request.
//!
//! Owns: the draws. Pure. Invariant: they follow from the seed, the bidder and the request's id
//! alone, so the same request gets the same answer after the same time in every run.

use super::read::{Imp, Offer, Wanted};
use super::spec::{BidderSpec, FaultSpec};
use crate::random::{Random, seconds};
use std::time::Duration;

/// What is done, and when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    pub after: Duration,
    pub act: Act,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// 204.
    NoBid,
    Bids(Vec<Bid>),
    /// A status of the 5xx.
    Status(u16),
    Garbage,
    Reset,
    Huge,
    /// The same as `Bids`, a few bytes at a time.
    Drip(Vec<Bid>),
    /// Nothing, until the caller hangs up.
    Hang,
}

/// A bid on one imp.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bid {
    /// Index of the imp.
    pub imp: usize,
    pub price: f64,
    pub takes_deal: bool,
    /// Chooses the advertiser and the creative.
    pub creative: u64,
}

/// Advertisers that the bidders bid for, all of them together.
pub(super) const BRANDS: u64 = 200;

/// Creatives that one bidder has.
const CREATIVES: u64 = 5_000;

/// A bid is this much over the floor at least, as a factor: bidders do not offer the floor itself.
const OVER_FLOOR: f64 = 1.01;

/// What a bidder that fails says.
const STATUSES: [u16; 3] = [500, 502, 503];

/// Draws what happens to a request. `number`: of the bidder, so that equal ones differ.
pub(super) fn decide(spec: &BidderSpec, seed: u64, number: usize, wanted: &Wanted) -> Decision {
    let mut random = Random::for_bytes(seed.wrapping_add((number as u64) << 32), wanted.id);
    let fault = draw_fault(&spec.faults, random.unit());
    let mut after_ms = match spec.latency_sigma {
        sigma if sigma > 0.0 => random.lognormal(spec.latency_ms, sigma),
        _ => spec.latency_ms,
    };
    if fault == Some(Fault::Slow) {
        after_ms += spec.faults.slow_ms;
    }
    let bids = |random: &mut Random| draw_bids(spec, random, wanted);
    let act = match fault {
        Some(Fault::Status) => Act::Status(*random.pick(&STATUSES)),
        Some(Fault::Garbage) => Act::Garbage,
        Some(Fault::Reset) => Act::Reset,
        Some(Fault::Huge) => Act::Huge,
        Some(Fault::Hang) => Act::Hang,
        Some(Fault::Drip) => Act::Drip(bids(&mut random)),
        Some(Fault::Slow) | None => match bids(&mut random) {
            bids if bids.is_empty() => Act::NoBid,
            bids => Act::Bids(bids),
        },
    };
    Decision { after: seconds(after_ms / 1e3), act }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Slow,
    Status,
    Garbage,
    Reset,
    Huge,
    Drip,
    Hang,
}

fn draw_fault(spec: &FaultSpec, mut unit: f64) -> Option<Fault> {
    for (share, fault) in [
        (spec.slow, Fault::Slow),
        (spec.status, Fault::Status),
        (spec.garbage, Fault::Garbage),
        (spec.reset, Fault::Reset),
        (spec.huge, Fault::Huge),
        (spec.drip, Fault::Drip),
        (spec.hang, Fault::Hang),
    ] {
        unit -= share;
        if unit < 0.0 {
            return Some(fault);
        }
    }
    None
}

/// Whether to bid is drawn once a request; an imp whose floor is over the price drawn for it is
/// passed over.
fn draw_bids(spec: &BidderSpec, random: &mut Random, wanted: &Wanted) -> Vec<Bid> {
    if !random.chance(spec.bid_rate) {
        return Vec::new();
    }
    let bid = |(index, imp): (usize, &Imp)| {
        let price = random.lognormal(spec.price, spec.price_sigma);
        let creative = random.below(CREATIVES);
        let takes_deal = random.chance(spec.deal_rate) && imp.deal.is_some();
        let floor = match (&imp.deal, takes_deal) {
            (Some(deal), true) => deal.floor,
            _ => imp.floor,
        };
        // whoever takes a deal pays its price
        let price = if takes_deal { price.max(floor * OVER_FLOOR) } else { price };
        let is_worth_it = price >= floor * OVER_FLOOR && imp.offer != Offer::Nothing;
        is_worth_it.then_some(Bid { imp: index, price, takes_deal, creative })
    };
    wanted.imps.iter().enumerate().filter_map(bid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> Vec<u8> {
        format!(r#"{{"id":"{id}","imp":[{{"id":"1","bidfloor":1,"banner":{{"w":3,"h":2}}}}]}}"#)
            .into_bytes()
    }

    fn decision(spec: &BidderSpec, id: usize) -> Decision {
        let bytes = request(&format!("r{id}"));
        decide(spec, 9, 0, &super::super::read::read(&bytes).unwrap())
    }

    #[test]
    fn the_same_request_always_gets_the_same_answer() {
        let spec = BidderSpec { latency_ms: 5.0, latency_sigma: 0.5, ..BidderSpec::default() };
        for id in 0..100 {
            assert_eq!(decision(&spec, id), decision(&spec, id));
        }
        assert_ne!(decision(&spec, 1), decision(&spec, 2));
        let bytes = request("r1");
        let wanted = super::super::read::read(&bytes).unwrap();
        assert_ne!(decide(&spec, 9, 0, &wanted), decide(&spec, 9, 1, &wanted));
        assert_ne!(decide(&spec, 9, 0, &wanted), decide(&spec, 8, 0, &wanted));
    }

    #[test]
    fn faults_come_as_often_as_they_were_asked_for() {
        let faults = FaultSpec {
            slow: 0.1,
            slow_ms: 100.0,
            status: 0.1,
            garbage: 0.1,
            reset: 0.1,
            huge: 0.1,
            drip: 0.1,
            hang: 0.1,
        };
        let spec = BidderSpec { faults, ..BidderSpec::default() };
        let mut seen = [0; 8];
        for id in 0..10_000 {
            let decision = decision(&spec, id);
            let kind = match decision.act {
                Act::Status(_) => 1,
                Act::Garbage => 2,
                Act::Reset => 3,
                Act::Huge => 4,
                Act::Drip(_) => 5,
                Act::Hang => 6,
                _ if decision.after > Duration::from_millis(50) => 0,
                _ => 7,
            };
            seen[kind] += 1;
        }
        assert!(seen[..7].iter().all(|count| (880..1_120).contains(count)), "{seen:?}");
    }

    #[test]
    fn a_bidder_never_bids_below_the_floor() {
        let spec = BidderSpec { bid_rate: 0.8, ..BidderSpec::default() };
        let mut bids = 0;
        for id in 0..10_000 {
            if let Act::Bids(list) = decision(&spec, id).act {
                assert!(list.iter().all(|bid| bid.price > 1.0));
                bids += list.len();
            }
        }
        // 0.8, times the chance that a log-normal of median 1.5 and sigma 0.6 is over 1.01: 0.745
        assert!((5_700..6_200).contains(&bids), "{bids}");
    }
}
