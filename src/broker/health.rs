//! How the broker is, for whoever holds auctions and reads metrics.
//!
//! Owns: [`Health`]. Never: a connection. Invariant: it is well only after an acknowledgement that no
//! failure followed; before the first one it never was.

use crate::clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Well since the last acknowledgement.
const WELL: u64 = u64::MAX;
/// Never well so far.
const NEVER: u64 = 0;

/// What became of messages since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Stored,
    /// The stream had it.
    Repeat,
    /// Not acknowledged; it is sent again, or its sender was told so.
    Failed,
}

impl End {
    pub const ALL: [Self; 3] = [Self::Stored, Self::Repeat, Self::Failed];

    /// For metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Repeat => "repeat",
            Self::Failed => "failed",
        }
    }
}

/// Counts, and since when nothing is acknowledged.
#[derive(Debug)]
pub struct Health {
    began: Instant,
    /// Milliseconds since `began`, plus one; or [`WELL`] or [`NEVER`].
    failing: AtomicU64,
    ends: [AtomicU64; End::ALL.len()],
    /// When the oldest record came that the relay has not passed, in microseconds since the epoch;
    /// 0: it has passed all.
    behind_us: AtomicU64,
    /// Notices that the stream keeps, of all replicas: pending ones and dead ones; [`UNKNOWN`].
    notices: [AtomicU64; 2],
    /// Of each consumer of notices: 1 where they are taken, 0 where they cannot be; [`UNKNOWN`].
    feeds: [AtomicU64; 2],
}

/// Nobody has asked the stream so far.
const UNKNOWN: u64 = u64::MAX;

impl Default for Health {
    fn default() -> Self {
        Self {
            began: clock::monotonic(),
            failing: AtomicU64::new(NEVER),
            ends: Default::default(),
            behind_us: AtomicU64::new(0),
            notices: [UNKNOWN; 2].map(AtomicU64::new),
            feeds: [UNKNOWN; 2].map(AtomicU64::new),
        }
    }
}

impl Health {
    /// A message has come to its end.
    pub fn count(&self, end: End) {
        if let Some(cell) = self.ends.get(end as usize) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        if end == End::Failed {
            self.fails();
        } else {
            self.failing.store(WELL, Ordering::Release);
        }
    }

    /// Something else than a message failed.
    pub fn fails(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 2);
        // since the first failure, not the last
        let _ = self.failing.compare_exchange(
            WELL,
            millis.saturating_add(1),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
    }

    /// Whether the last that is known was good; one load.
    pub fn is_well(&self) -> bool {
        self.failing.load(Ordering::Acquire) == WELL
    }

    /// Whether nothing has been acknowledged for longer than this, or ever; one load while it is well.
    pub fn is_lost(&self, patience: Duration) -> bool {
        match self.failing.load(Ordering::Acquire) {
            WELL => false,
            NEVER => true,
            since => {
                self.began.elapsed().saturating_sub(Duration::from_millis(since - 1)) >= patience
            }
        }
    }

    /// In the order of [`End::ALL`].
    pub fn ends(&self) -> [u64; End::ALL.len()] {
        End::ALL.map(|end| self.ends.get(end as usize).map_or(0, |n| n.load(Ordering::Relaxed)))
    }

    /// The relay is at a record that came then (microseconds since the epoch); 0: at the end.
    pub fn is_at(&self, came_us: u64) {
        self.behind_us.store(came_us, Ordering::Relaxed);
    }

    /// The stream keeps so many notices that are not settled, and so many dead ones; `None`: it does
    /// not say.
    pub fn keeps(&self, notices: Option<[u64; 2]>) {
        for (cell, count) in self.notices.iter().zip(notices.unwrap_or([UNKNOWN; 2])) {
            cell.store(count, Ordering::Relaxed);
        }
    }

    /// Pending notices and dead ones, as of some seconds ago; `None` where nobody asks for them.
    pub fn kept(&self) -> Option<[u64; 2]> {
        let counts = self.notices.each_ref().map(|cell| cell.load(Ordering::Relaxed));
        (!counts.contains(&UNKNOWN)).then_some(counts)
    }

    /// Whether notices are taken from a consumer; `None`: nobody has it.
    pub fn feeds(&self, consumer: usize, is_fed: Option<bool>) {
        if let Some(cell) = self.feeds.get(consumer) {
            cell.store(is_fed.map_or(UNKNOWN, u64::from), Ordering::Relaxed);
        }
    }

    /// Whether notices are taken from all consumers; `None` where there is none.
    pub fn is_fed(&self) -> Option<bool> {
        let least = self.feeds.iter().map(|cell| cell.load(Ordering::Relaxed)).min();
        least.filter(|least| *least != UNKNOWN).map(|least| least > 0)
    }

    /// How old the oldest record is that the relay has not passed.
    pub fn behind(&self, wall: Duration) -> Duration {
        match self.behind_us.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            came_us => wall.saturating_sub(Duration::from_micros(came_us)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::words::BROKER_ENDS;

    #[test]
    fn it_is_lost_until_the_first_acknowledgement_and_some_time_after_the_last() {
        let (health, hour) = (Health::default(), Duration::from_secs(3600));
        assert!(health.is_lost(hour) && !health.is_well());
        health.count(End::Failed);
        assert!(health.is_lost(hour), "a failure is no beginning");
        health.count(End::Repeat);
        assert!(!health.is_lost(Duration::ZERO) && health.is_well());
        health.count(End::Failed);
        assert!(!health.is_lost(hour) && health.is_lost(Duration::ZERO) && !health.is_well());
        health.count(End::Stored);
        assert!(health.is_well());
        assert_eq!(health.ends(), [1, 1, 2]);
    }

    #[test]
    fn the_labels_are_those_of_the_table_of_instruments() {
        assert_eq!(End::ALL.map(End::label), *BROKER_ENDS);
    }

    #[test]
    fn what_the_stream_keeps_is_unknown_until_it_was_asked() {
        let health = Health::default();
        assert_eq!(health.kept(), None);
        health.keeps(Some([0, 3]));
        assert_eq!(health.kept(), Some([0, 3]));
        health.keeps(None);
        assert_eq!(health.kept(), None);
    }

    #[test]
    fn one_consumer_that_gives_nothing_shows() {
        let health = Health::default();
        assert_eq!(health.is_fed(), None);
        health.feeds(0, Some(true));
        assert_eq!(health.is_fed(), Some(true));
        health.feeds(1, Some(false));
        assert_eq!(health.is_fed(), Some(false));
        health.feeds(1, None);
        assert_eq!(health.is_fed(), Some(true));
    }

    #[test]
    fn the_lag_is_the_age_of_the_oldest_record() {
        let (health, wall) = (Health::default(), Duration::from_secs(100));
        assert_eq!(health.behind(wall), Duration::ZERO);
        health.is_at(40_000_000);
        assert_eq!(health.behind(wall), Duration::from_secs(60));
        health.is_at(0);
        assert_eq!(health.behind(wall), Duration::ZERO);
    }
}
