//! How much of a bidder this worker may use: its share of calls a second and of open calls.
//!
//! Owns: [`Quota`] and [`Held`]. Never: a clock. Invariant: a `Held` that exists is counted.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use crate::bidder::CallLimits;

/// Nanoseconds in a second.
const NANO: u128 = 1_000_000_000;

/// A worker's share of a bidder's limits.
#[derive(Debug)]
pub struct Quota {
    rate: Option<Rate>,
    open_max: u32,
    open: Rc<Cell<u32>>,
}

/// A bucket that holds a tenth of a second, one call at least.
#[derive(Debug)]
struct Rate {
    per_second: u128,
    /// In calls times `NANO`.
    left: Cell<u128>,
    filled: Cell<Instant>,
}

/// One open call; counted until it is dropped.
#[derive(Debug)]
pub struct Held(Rc<Cell<u32>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Quota {
    /// An even share among `workers`; `open` counts on over a reload.
    pub fn new(limits: &CallLimits, workers: u32, open: Rc<Cell<u32>>, now: Instant) -> Self {
        let workers = workers.max(1);
        let rate = limits.qps.map(|qps| Rate {
            per_second: u128::from(qps.div_ceil(workers)),
            left: Cell::new(NANO),
            filled: Cell::new(now),
        });
        Self { rate, open_max: (limits.in_flight_max / workers).max(1), open }
    }

    /// Takes one call from the rate.
    pub fn try_take(&self, now: Instant) -> bool {
        let Some(rate) = &self.rate else { return true };
        let passed = now.saturating_duration_since(rate.filled.get()).as_nanos();
        let most = (rate.per_second * NANO / 10).max(NANO);
        let left = rate.left.get().saturating_add(passed * rate.per_second).min(most);
        rate.filled.set(now);
        let has_one = left >= NANO && rate.per_second > 0;
        rate.left.set(if has_one { left - NANO } else { left });
        has_one
    }

    /// Opens a call, where one more may be open.
    pub fn try_open(&self) -> Option<Held> {
        (self.open.get() < self.open_max).then(|| {
            self.open.set(self.open.get() + 1);
            Held(self.open.clone())
        })
    }
}
