//! What the simulated bidders saw, to reconcile with what gavel says it sent.
//!
//! Owns: one block of counters per bidder, shared by the threads. Never: a decision.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one bidder while it runs.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub requests: AtomicU64,
    pub answers: AtomicU64,
    pub bids: AtomicU64,
    pub no_bids: AtomicU64,
    pub faults: AtomicU64,
    pub hang_ups: AtomicU64,
    pub malformed: AtomicU64,
    pub connections: AtomicU64,
    pub same: AtomicU64,
    pub alike: AtomicU64,
    pub drawn: AtomicU64,
}

/// What one bidder has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BidderStats {
    pub name: String,
    /// Bid requests read to their end.
    pub requests: u64,
    /// Answers with bids whose time came while the connection stood.
    pub answers: u64,
    /// Bids in them, and in dripping answers that were let go to their end.
    pub bids: u64,
    /// 204s, likewise.
    pub no_bids: u64,
    /// Requests answered with a fault (5xx, garbage, reset, huge, drip).
    pub faults: u64,
    /// Requests whose caller closed the connection before it had its answer.
    pub hang_ups: u64,
    /// Bytes that were no bid request.
    pub malformed: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Answered as the same request was in the recording.
    #[serde(default)]
    pub same: u64,
    /// Answered as a request alike was.
    #[serde(default)]
    pub alike: u64,
    /// Answered with a draw from the recording, since no request there was alike.
    #[serde(default)]
    pub drawn: u64,
}

impl Counters {
    /// Adds one.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }

    /// As they stand.
    pub fn read(&self, name: &str) -> BidderStats {
        BidderStats {
            name: name.to_owned(),
            requests: self.requests.load(Relaxed),
            answers: self.answers.load(Relaxed),
            bids: self.bids.load(Relaxed),
            no_bids: self.no_bids.load(Relaxed),
            faults: self.faults.load(Relaxed),
            hang_ups: self.hang_ups.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            connections: self.connections.load(Relaxed),
            same: self.same.load(Relaxed),
            alike: self.alike.load(Relaxed),
            drawn: self.drawn.load(Relaxed),
        }
    }
}
