//! What has become of notices, for whoever reads metrics.
//!
//! Owns: [`Tally`]. Never: a decision.

use super::courier::Failure;
use super::guard::Blocked;
use crate::money_event::EventType;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What became of a notice, or of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    /// The bidder has it.
    Delivered,
    /// A try failed; another will follow where it is durable.
    Failed,
    /// Put aside without a try: its bidder is left alone, or has too many before it.
    Aside,
    /// Given up, and kept as a dead letter.
    Dead,
    /// A loss notice beyond what may wait.
    Dropped,
}

impl Result {
    pub const ALL: [Self; 5] =
        [Self::Delivered, Self::Failed, Self::Aside, Self::Dead, Self::Dropped];

    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Aside => "aside",
            Self::Dead => "dead",
            Self::Dropped => "dropped",
        }
    }
}

const KINDS: usize = EventType::ALL.len();

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Tally {
    results: [[AtomicU64; Result::ALL.len()]; KINDS],
    failures: [AtomicU64; Failure::LABELS.len()],
    blocked: [AtomicU64; Blocked::ALL.len()],
    waiting: Mutex<BTreeMap<String, Waiting>>,
}

/// Durable notices of one bidder that it does not have yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub pending: u64,
    pub dead: u64,
    /// When the oldest pending one was first to be sent; microseconds since the epoch.
    pub oldest_us: Option<u64>,
}

impl Tally {
    /// One more.
    pub fn count(&self, kind: EventType, result: Result) {
        let at = EventType::ALL.iter().position(|one| *one == kind).unwrap_or(0);
        if let Some(cell) = self.results.get(at).and_then(|row| row.get(result as usize)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A try failed.
    pub fn failed(&self, failure: Failure) {
        if let Some(cell) = self.failures.get(failure.index()) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        if let Failure::Blocked(rule) = failure
            && let Some(cell) = self.blocked.get(rule as usize)
        {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By kind and result.
    pub fn results(&self) -> Vec<(&'static str, &'static str, u64)> {
        let each = EventType::ALL.iter().zip(&self.results).flat_map(|(kind, row)| {
            let cells = Result::ALL.iter().zip(row);
            cells.map(|(result, cell)| (kind.label(), result.label(), load(cell)))
        });
        each.collect()
    }

    /// Failed tries, by why.
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        Failure::LABELS.iter().zip(&self.failures).map(|(why, cell)| (*why, load(cell))).collect()
    }

    /// Tries that a rule stopped, by rule.
    pub fn blocked(&self) -> Vec<(&'static str, u64)> {
        let rules = Blocked::ALL.iter().zip(&self.blocked);
        rules.map(|(rule, cell)| (rule.label(), load(cell))).collect()
    }

    /// By bidder, as of about a second ago.
    pub fn waiting(&self) -> BTreeMap<String, Waiting> {
        self.lock().clone()
    }

    /// It is so now. A bidder that has had something waiting stays listed, with zero.
    pub fn is_waiting(&self, now: BTreeMap<String, Waiting>) {
        let mut waiting = self.lock();
        waiting.values_mut().for_each(|one| *one = Waiting::default());
        waiting.extend(now);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::words::{NOTICE_FAILED, NOTICE_KINDS, NOTICE_RESULTS, NOTICE_RULES};

    #[test]
    fn the_labels_are_those_of_the_table_of_instruments() {
        assert_eq!(EventType::ALL.map(EventType::label), *NOTICE_KINDS);
        assert_eq!(Result::ALL.map(Result::label), *NOTICE_RESULTS);
        assert_eq!(Failure::LABELS, *NOTICE_FAILED);
        assert_eq!(Blocked::ALL.map(Blocked::label), *NOTICE_RULES);
    }

    #[test]
    fn a_bidder_that_has_everything_again_is_shown_with_zero() {
        let tally = Tally::default();
        let some = Waiting { pending: 2, dead: 1, oldest_us: Some(5) };
        tally.is_waiting([("a".to_owned(), some)].into());
        assert_eq!(tally.waiting()["a"], some);
        tally.is_waiting(BTreeMap::new());
        assert_eq!(tally.waiting()["a"], Waiting::default());
    }
}
