//! How loaded each worker is, as it says itself.
//!
//! Owns: [`Load`], the counts that one worker keeps for itself, and [`LoadCell`], where it
//! publishes them about every 50 ms. Never: a decision (`runtime::balance` decides).
//! Invariant: nothing shared is written per request; only the publishing writes the cell.

use super::pressure::Pressure;
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// One worker's own counts.
#[derive(Debug, Default)]
pub struct Load {
    /// Requests being served.
    pub in_flight: Cell<u32>,
    /// Open connections.
    pub connections: Cell<u32>,
    /// Those of them of which no request has been authorised.
    pub strangers: Cell<u32>,
    /// Connections taken over since the start.
    pub taken: Cell<u32>,
    /// CPU time of the thread when it was last published.
    pub cpu: Cell<Duration>,
    /// A connection with about this part of the load, in thousandths, is to be let go; 0: none.
    pub let_go: Cell<u32>,
    /// Newcomers over the cap that have been taken over: for each a connection must end.
    pub over_cap: Cell<u32>,
    /// How short of memory the process is.
    pub pressure: Cell<Pressure>,
}

/// One worker's published counts, and what it is asked for. Each field has one writer.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LoadCell {
    in_flight: AtomicU32,
    connections: AtomicU32,
    strangers: AtomicU32,
    taken: AtomicU32,
    cpu_ns: AtomicU64,
    at_ns: AtomicU64,
    let_go: AtomicU32,
    pressure: AtomicU8,
}

/// What a worker last published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    pub in_flight: u32,
    pub connections: u32,
    pub strangers: u32,
    pub taken: u32,
    /// CPU time of its thread since the thread began.
    pub cpu: Duration,
    /// When, since the workers' common start.
    pub at: Duration,
}

impl LoadCell {
    /// Publishes; only the worker itself calls it.
    pub fn publish(&self, load: &Load, at: Duration) {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.in_flight.store(load.in_flight.get(), Ordering::Relaxed);
        self.connections.store(load.connections.get(), Ordering::Relaxed);
        self.strangers.store(load.strangers.get(), Ordering::Relaxed);
        self.taken.store(load.taken.get(), Ordering::Relaxed);
        self.cpu_ns.store(ns(load.cpu.get()), Ordering::Relaxed);
        self.at_ns.store(ns(at), Ordering::Release);
        load.pressure.set(Pressure::of(self.pressure.load(Ordering::Relaxed)));
        let asked = self.let_go.swap(0, Ordering::Relaxed);
        if asked > 0 {
            load.let_go.set(asked);
        }
    }

    /// Asks the worker to let a connection go that carries about `share` thousandths of its load.
    pub fn ask_to_let_go(&self, share: u32) {
        self.let_go.store(share, Ordering::Relaxed);
    }

    /// Tells the worker how short of memory the process is.
    pub fn press(&self, pressure: Pressure) {
        self.pressure.store(pressure as u8, Ordering::Relaxed);
    }

    /// What was last published. Two fields may be one publishing apart: a hint, not a ledger.
    pub fn read(&self) -> Published {
        let at = Duration::from_nanos(self.at_ns.load(Ordering::Acquire));
        Published {
            in_flight: self.in_flight.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            strangers: self.strangers.load(Ordering::Relaxed),
            taken: self.taken.load(Ordering::Relaxed),
            cpu: Duration::from_nanos(self.cpu_ns.load(Ordering::Relaxed)),
            at,
        }
    }
}
