//! So many a second: log lines and traces of one worker.
//!
//! Owns: [`Budget`]. Never: a clock, a wait. Invariant: in no second more are given than the most.

use std::cell::Cell;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// What one worker may do so often.
#[derive(Debug)]
pub struct Budget {
    per_second: u32,
    began: Cell<Option<Instant>>,
    used: Cell<u32>,
    left_out: Cell<u64>,
}

impl Budget {
    /// One worker's part of what the process may do, at least one unless that is none.
    pub fn share(per_second: u32, workers: usize) -> Self {
        let workers = u32::try_from(workers.max(1)).unwrap_or(u32::MAX);
        Self {
            per_second: per_second.div_ceil(workers),
            began: Cell::new(None),
            used: Cell::new(0),
            left_out: Cell::new(0),
        }
    }

    /// Takes one: how many were left out since the last one was given; `None`: none is left.
    pub fn take(&self, at: Instant) -> Option<u64> {
        let is_new =
            self.began.get().is_none_or(|began| at.saturating_duration_since(began) >= SECOND);
        if is_new {
            self.began.set(Some(at));
            self.used.set(0);
        }
        if self.used.get() >= self.per_second {
            self.left_out.set(self.left_out.get().saturating_add(1));
            return None;
        }
        self.used.set(self.used.get() + 1);
        Some(self.left_out.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_second_has_its_share_and_the_next_one_says_what_was_left_out() {
        let start = clock::monotonic();
        let budget = Budget::share(5, 2);
        let taken: Vec<_> = (0..5).map(|_| budget.take(start)).collect();
        assert_eq!(taken, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(budget.take(start + SECOND / 2), None);
        assert_eq!(budget.take(start + SECOND), Some(3));
        assert_eq!(Budget::share(0, 2).take(start), None);
    }
}
