//! A run while it lasts.
//!
//! Owns: the figures that the threads of a run publish a few times a second, and the wish to
//! stop. Never: a lock that a shard could meet; each thread writes its own cell, a reader adds them
//! up.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// How a run stands.
#[derive(Debug)]
pub struct Live {
    cells: Vec<Cell>,
    is_stopped: AtomicBool,
    /// Written by the collector, a few times a second.
    statuses: Mutex<BTreeMap<u16, u64>>,
    p50_us: AtomicU64,
    p99_us: AtomicU64,
    lateness_p99_us: AtomicU64,
}

/// What one thread has published.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub planned: AtomicU64,
    pub sent: AtomicU64,
    pub answered: AtomicU64,
    pub wins: AtomicU64,
    pub failed: AtomicU64,
    pub waiting: AtomicU64,
    pub open: AtomicU64,
}

/// The sum over all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub planned: u64,
    pub sent: u64,
    pub answered: u64,
    /// Answers of 200 with a bid.
    pub wins: u64,
    /// Faults, shed and unsent requests, and answers of 5xx.
    pub failed: u64,
    /// Requests that wait for a connection.
    pub waiting: u64,
    /// Connections open.
    pub open: u64,
    /// Latency of the last half second.
    pub p50_us: u64,
    pub p99_us: u64,
    /// Lateness of the generator in it.
    pub lateness_p99_us: u64,
}

impl Live {
    /// For a run of so many threads.
    pub fn new(threads: u32) -> Self {
        let cells = (0..threads.max(1)).map(|_| Cell::default()).collect();
        Self {
            cells,
            is_stopped: AtomicBool::new(false),
            statuses: Mutex::default(),
            p50_us: AtomicU64::new(0),
            p99_us: AtomicU64::new(0),
            lateness_p99_us: AtomicU64::new(0),
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let mut sum = Standing {
            p50_us: self.p50_us.load(Relaxed),
            p99_us: self.p99_us.load(Relaxed),
            lateness_p99_us: self.lateness_p99_us.load(Relaxed),
            ..Standing::default()
        };
        for cell in &self.cells {
            sum.planned += cell.planned.load(Relaxed);
            sum.sent += cell.sent.load(Relaxed);
            sum.answered += cell.answered.load(Relaxed);
            sum.wins += cell.wins.load(Relaxed);
            sum.failed += cell.failed.load(Relaxed);
            sum.waiting += cell.waiting.load(Relaxed);
            sum.open += cell.open.load(Relaxed);
        }
        sum
    }

    /// Plans no further request; those in flight are still awaited.
    pub fn stop(&self) {
        self.is_stopped.store(true, Relaxed);
    }

    /// Answers by status so far.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        self.statuses.lock().map(|statuses| statuses.clone()).unwrap_or_default()
    }

    pub(super) fn add_statuses(&self, more: &BTreeMap<u16, u64>) {
        if let Ok(mut statuses) = self.statuses.lock() {
            for (status, count) in more.iter().filter(|(_, count)| **count > 0) {
                *statuses.entry(*status).or_default() += count;
            }
        }
    }

    pub(super) fn show(&self, p50_us: u64, p99_us: u64, lateness_p99_us: u64) {
        self.p50_us.store(p50_us, Relaxed);
        self.p99_us.store(p99_us, Relaxed);
        self.lateness_p99_us.store(lateness_p99_us, Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Relaxed)
    }

    pub(super) fn cell(&self, index: u32) -> Option<&Cell> {
        self.cells.get(usize::try_from(index).unwrap_or(usize::MAX))
    }
}
