//! The last minutes in steps: how many requests ended how, how long auctions took, who waited.
//!
//! Owns: [`History`]. Never: a number by partner or bidder: its size is that of its steps alone.
//! Invariant: steps are numbered from 1 without a gap; the oldest go first.

use super::reading::{Reading, sparse};
use crate::telemetry::meters as m;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Requests that ended so were shed: there was no room or no right to more.
const SHED: [&str; 3] = ["overload", "partner_qps", "not_ready"];

/// What happened between two readings.
#[derive(Clone, Debug, Default, PartialEq)]
struct Step {
    seq: u64,
    /// When it ended, in seconds since the Unix epoch, and how long it was.
    at: f64,
    seconds: f64,
    answered: u64,
    no_bid: u64,
    shed: u64,
    refused: u64,
    client_gone: u64,
    calls: u64,
    bids: u64,
    wins: u64,
    overflows: u64,
    cpu_seconds: f64,
    /// At its end.
    in_flight: u64,
    waiting: u64,
    /// Auctions by the buckets of their time.
    auctions: Vec<(usize, u64)>,
}

/// Steps, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    steps: VecDeque<Step>,
    steps_max: usize,
    seq: u64,
}

impl History {
    /// Without steps.
    pub fn new(steps_max: usize) -> Self {
        Self { steps: VecDeque::new(), steps_max, seq: 0 }
    }

    /// The number of the last step; 0: none yet.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// What happened from one reading to the next.
    pub fn push(&mut self, before: &Reading, after: &Reading) {
        self.seq += 1;
        self.steps.push_back(Step { seq: self.seq, ..step(before, after) });
        while self.steps.len() > self.steps_max {
            self.steps.pop_front();
        }
    }

    /// Those after `since`.
    pub fn json(&self, since: u64) -> Vec<Value> {
        self.steps.iter().filter(|step| step.seq > since).map(Step::json).collect()
    }
}

fn step(before: &Reading, after: &Reading) -> Step {
    let grew = |meter, passes: &dyn Fn(&[Box<str>]) -> bool| {
        after.sum(meter, passes).saturating_sub(before.sum(meter, passes))
    };
    let all = |meter| grew(meter, &|_| true);
    let ended = |of: &dyn Fn(&str) -> bool| {
        grew(&m::REQUESTS, &|labels| labels.last().is_some_and(|result| of(result)))
    };
    let (answered, no_bid) = (ended(&|end| end == "answered"), ended(&|end| end == "no_bid"));
    let shed = ended(&|end| SHED.contains(&end));
    let client_gone = ended(&|end| end == "client_gone");
    let (now, then) = (after.buckets(&m::AUCTION_SECONDS), before.buckets(&m::AUCTION_SECONDS));
    Step {
        seq: 0,
        at: after.wall.as_secs_f64(),
        seconds: after.at.saturating_duration_since(before.at).as_secs_f64(),
        answered,
        no_bid,
        shed,
        refused: all(&m::REQUESTS).saturating_sub(answered + no_bid + shed + client_gone),
        client_gone,
        calls: all(&m::CALLS),
        bids: all(&m::BIDS),
        wins: all(&m::WINS),
        overflows: all(&m::LISTEN_OVERFLOWS),
        cpu_seconds: (after.real(&m::CPU_SECONDS) - before.real(&m::CPU_SECONDS)).max(0.0),
        in_flight: after.sum(&m::IN_FLIGHT, |_| true),
        waiting: after.sum(&m::QUEUE, |_| true),
        auctions: sparse(now.iter().zip(then).map(|(now, then)| now.saturating_sub(*then))),
    }
}

impl Step {
    fn json(&self) -> Value {
        json!({
            "seq": self.seq,
            "at": self.at,
            "seconds": self.seconds,
            "answered": self.answered,
            "no_bid": self.no_bid,
            "shed": self.shed,
            "refused": self.refused,
            "client_gone": self.client_gone,
            "calls": self.calls,
            "bids": self.bids,
            "wins": self.wins,
            "overflows": self.overflows,
            "cpu_seconds": self.cpu_seconds,
            "in_flight": self.in_flight,
            "waiting": self.waiting,
            "auctions": self.auctions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::negatives::refusal::Refusal;
    use crate::telemetry::hub::{Hub, ProcessState, TelemetrySettings};
    use crate::telemetry::slots::UNKNOWN;
    use std::time::Duration;

    fn read(hub: &Hub) -> Reading {
        let mut reading = Reading::new(clock::monotonic(), clock::wall());
        hub.collect(&ProcessState::default(), &mut |sample| reading.take(sample));
        reading
    }

    #[test]
    fn a_step_holds_what_happened_in_it_and_every_request_once() {
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let (cells, slot) = (hub.worker(0).unwrap(), hub.partners().slot("a"));
        let bidder = hub.bidders().slot("b");
        cells.partner(slot).answered();
        let before = read(&hub);
        cells.partner(slot).answered();
        cells.partner(slot).no_bid();
        cells.partner(slot).client_gone();
        cells.partner(slot).refused(Refusal::Overload);
        cells.partner(slot).refused(Refusal::PartnerQps);
        cells.partner(slot).refused(Refusal::NotJson);
        cells.partner(UNKNOWN).refused(Refusal::Unauthorised);
        cells.bidder(bidder).answered(Duration::from_millis(3), 2);
        cells.bidder(bidder).won();
        cells.auction(Duration::from_millis(4), Duration::from_micros(10));
        let step = step(&before, &read(&hub));
        assert_eq!((step.answered, step.no_bid, step.client_gone), (1, 1, 1));
        assert_eq!((step.shed, step.refused), (2, 2));
        assert_eq!((step.calls, step.bids, step.wins), (1, 2, 1));
        assert_eq!(step.auctions.iter().map(|(_, count)| count).sum::<u64>(), 1);
    }

    #[test]
    fn the_oldest_steps_go_and_only_new_ones_are_told_twice() {
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let reading = read(&hub);
        let mut history = History::new(3);
        (0..5).for_each(|_| history.push(&reading, &reading));
        let seqs = |since| -> Vec<u64> {
            history.json(since).iter().map(|step| step["seq"].as_u64().unwrap()).collect()
        };
        assert_eq!((history.seq(), seqs(0), seqs(4), seqs(5)), (5, vec![3, 4, 5], vec![5], vec![]));
    }
}
