//! What this worker knows of one bidder, over all snapshots that keep it: the warm state.
//!
//! Owns: [`Line`] and its counters. Never: configuration (that is a snapshot's; see `desk`).
//! Invariant: keyed by [`LineKey`]; a bidder that is renamed or moves starts cold.

use crate::bidder::breaker::View;
use crate::bidder::doubt::Doubts;
use crate::bidder::h2::{Handle, Link};
use crate::bidder::pool::{Ages, Pool};
use crate::bidder::resolve::Addresses;
use crate::bidder::round_trip::RoundTrip;
use crate::bidder::{Bidder, Endpoint, HttpVersion};
use crate::negatives::no_answer::NoAnswer;
use crate::telemetry::slots::Slot;
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Streams of an HTTP/2 connection before its bidder has ever said how many it allows: so few that
/// hardly anybody refuses one of them.
const STREAMS_UNSAID: u32 = 4;

/// Who a line leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineKey {
    pub name: String,
    pub endpoint: Endpoint,
    pub is_http2: bool,
}

impl LineKey {
    /// Of a bidder.
    pub fn of(bidder: &Bidder) -> Self {
        Self {
            name: bidder.name.clone(),
            endpoint: bidder.endpoint.clone(),
            is_http2: bidder.wire.http == HttpVersion::Http2,
        }
    }
}

/// The warm state of a bidder on a worker.
#[derive(Debug)]
pub struct Line {
    pub key: LineKey,
    /// Where its bidder is counted.
    pub slot: Slot,
    pub pool: Pool,
    pub breaker: View,
    pub addresses: Arc<Addresses>,
    /// Which of them are tried last.
    pub doubts: Doubts,
    pub counters: Counters,
    pub round_trip: RoundTrip,
    /// Calls that are open, late ones in the background included.
    pub open_calls: Cell<u32>,
    /// Of these, late ones whose answers are read in the background.
    pub drains: Cell<u32>,
    /// Whether the other side took HTTP/2 where it is configured.
    pub speaks_http2: Cell<bool>,
    links: RefCell<Vec<Rc<Link>>>,
    /// Streams that the bidder last said to allow on an HTTP/2 connection.
    streams_allowed: Cell<Option<u32>>,
    next_address: Cell<usize>,
}

/// What has happened on a line since it exists.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls given to `fan_out`.
    pub calls: Cell<u64>,
    pub dials: Cell<u64>,
    pub dials_failed: Cell<u64>,
    /// Calls over a connection that had carried one before.
    pub reused: Cell<u64>,
    /// Of these, calls that found it broken.
    pub reused_broken: Cell<u64>,
    /// Calls that were not answered at the deadline.
    pub late: Cell<u64>,
}

/// Adds to a counter.
pub fn count(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get().wrapping_add(by));
}

impl Line {
    /// Cold, on a worker.
    pub fn new(
        (key, slot): (LineKey, Slot),
        breaker: View,
        addresses: Arc<Addresses>,
        worker: usize,
    ) -> Self {
        let seed = BuildHasherDefault::<DefaultHasher>::default().hash_one((&key, worker));
        Self {
            speaks_http2: Cell::new(key.is_http2),
            key,
            slot,
            pool: Pool::new(u32::try_from(seed >> 32).unwrap_or_default()),
            breaker,
            addresses,
            doubts: Doubts::default(),
            counters: Counters::default(),
            round_trip: RoundTrip::default(),
            open_calls: Cell::default(),
            drains: Cell::default(),
            links: RefCell::default(),
            streams_allowed: Cell::default(),
            next_address: Cell::default(),
        }
    }

    /// The addresses in the order in which a dial tries them: they take turns.
    pub fn ways(&self, now: Instant) -> Vec<IpAddr> {
        let turn = self.next_address.get();
        self.next_address.set(turn.wrapping_add(1));
        self.doubts.order(&self.addresses.list(), turn, now)
    }

    /// A stream on one of the HTTP/2 connections, the fullest that has room: so the others can
    /// become idle. There are `streams_max` on each, and no more than the bidder allows. Those
    /// that were closed give their places back.
    pub fn stream(&self, streams_max: u32) -> Option<Handle> {
        let mut links = self.links.borrow_mut();
        links.retain(|link| !link.is_closed());
        links.iter().find_map(|link| {
            let allowed = link.streams_allowed().or(self.streams_allowed.get());
            self.streams_allowed.set(allowed);
            link.handle(self.streams_expected(streams_max))
        })
    }

    /// Streams of an HTTP/2 connection that the bidder is taken to allow: as many as it last said.
    pub fn streams_expected(&self, streams_max: u32) -> u32 {
        streams_max.min(self.streams_allowed.get().unwrap_or(STREAMS_UNSAID))
    }

    /// Whether room for a call may come within a round trip: a dial is under way, or the bidder
    /// has not yet said how many calls it takes on a connection that is up.
    pub fn is_opening(&self) -> bool {
        let is_unsaid = || self.streams_allowed.get().is_none() && self.links() > 0;
        self.pool.dialing() > 0 || is_unsaid()
    }

    /// A new HTTP/2 connection.
    pub fn add_link(&self, link: Rc<Link>) {
        self.links.borrow_mut().push(link);
    }

    /// HTTP/2 connections that are up.
    pub fn links(&self) -> usize {
        self.links.borrow().iter().filter(|link| !link.is_closed()).count()
    }

    /// Forgets closed and old connections; calls on them go on.
    pub fn sweep(&self, now: Instant, ages: Ages) {
        self.pool.sweep(now, ages);
        let mut links = self.links.borrow_mut();
        links.retain(|link| !link.is_closed() && !ages.is_old(link.birth, now));
    }

    /// A call ended without an answer that counts; the breaker hears of it, unless it never had
    /// anything to do with the bidder.
    pub fn ended(&self, now_ms: u64, result: Result<(), NoAnswer>, is_endless: bool) {
        if result == Err(NoAnswer::PoolFull) {
            return;
        }
        let is_failure =
            result.is_err_and(|why| crate::bidder::breaker::is_failure(why, is_endless));
        self.breaker.record(now_ms, is_failure);
    }
}
