//! What the network takes of a call's time: an estimate that mends itself.
//!
//! Owns: [`RoundTrip`]. Never: a clock. Invariants: a connect that took too long, whatever held it
//! up, counts for nothing beside a quicker one; no answer is quicker than the estimate; whoever is
//! not called because of it is tried all the same, once in a while.
//!
//! A connect is one round trip, and what this machine and the other were busy with beside: lost
//! packets, a worker with much to do. So the quickest of the last connects is what counts.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Connects of so long a time are one lot; the quickest of the last two lots counts.
const LOT: Duration = Duration::from_secs(60);

/// Where too little time seems to be left, one call in so long is made all the same.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The network's time between a worker and a bidder.
#[derive(Debug, Default)]
pub struct RoundTrip {
    /// Quickest connect of this lot and of the one before.
    recent: Cell<Option<Duration>>,
    before: Cell<Option<Duration>>,
    /// When this lot began.
    since: Cell<Option<Instant>>,
    tried: Cell<Option<Instant>>,
}

impl RoundTrip {
    /// The estimate; zero before the first connect.
    pub fn get(&self) -> Duration {
        let lots = [self.recent.get(), self.before.get()];
        lots.into_iter().flatten().min().unwrap_or_default()
    }

    /// A connect ended, and took so long.
    pub fn connected(&self, took: Duration, now: Instant) {
        if is_over(self.since.get(), LOT, now) {
            self.before.set(self.recent.take());
            self.since.set(Some(now));
        }
        self.recent.set(Some(self.recent.get().map_or(took, |quickest| quickest.min(took))));
    }

    /// A call was answered after so long, which the network had a part in: it lowers an estimate
    /// and makes none, since how much of it was the bidder's own time nobody knows.
    pub fn answered(&self, took: Duration) {
        for lot in [&self.recent, &self.before] {
            lot.set(lot.get().map(|quickest| quickest.min(took)));
        }
    }

    /// Whether a call may be made that has too little time by the estimate.
    pub fn may_try(&self, now: Instant) -> bool {
        is_over(self.tried.get(), TRY_EVERY, now)
    }

    /// Such a call is made.
    pub fn tries(&self, now: Instant) {
        self.tried.set(Some(now));
    }
}

fn is_over(since: Option<Instant>, time: Duration, now: Instant) -> bool {
    since.is_none_or(|since| now.saturating_duration_since(since) >= time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_quickest_connect_of_the_last_two_lots_counts() {
        let (start, trip) = (crate::clock::monotonic(), RoundTrip::default());
        assert_eq!(trip.get(), Duration::ZERO);
        // (seconds since the start, connect, estimate)
        for (at, took, estimate) in [
            (0, 2_000, 2_000),
            (1, 3, 3),
            (59, 900, 3),
            (61, 40, 3),
            (100, 50, 3),
            // a minute after the lot of 61 began: that of 0 is forgotten
            (125, 45, 40),
            (500, 60, 45),
            (900, 70, 60),
        ] {
            trip.connected(MS(took), start + Duration::from_secs(at));
            assert_eq!(trip.get(), MS(estimate), "at {at} s");
        }
    }

    #[test]
    fn an_answer_lowers_the_estimate_and_makes_none() {
        let (now, trip) = (crate::clock::monotonic(), RoundTrip::default());
        trip.answered(MS(5));
        assert_eq!(trip.get(), Duration::ZERO);
        trip.connected(MS(2_000), now);
        trip.connected(MS(1_000), now + LOT);
        trip.answered(MS(5_000));
        assert_eq!(trip.get(), MS(1_000));
        trip.answered(MS(30));
        trip.answered(MS(40));
        assert_eq!(trip.get(), MS(30));
    }

    #[test]
    fn too_little_time_is_tried_at_once_and_then_once_a_second() {
        let (now, trip) = (crate::clock::monotonic(), RoundTrip::default());
        assert!(trip.may_try(now));
        trip.tries(now);
        assert!(!trip.may_try(now + MS(999)));
        assert!(trip.may_try(now + MS(1_000)));
    }
}
