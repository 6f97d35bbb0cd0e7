//! The one place that reads a clock.
//!
//! Owns: the two readings that the edges take (`monotonic`, `wall`), and the [`Anchor`] that
//! gives one from the other. Never: a timer, a sleep.
//! Stages that compute take an instant as a parameter instead; `.clippy.toml` bans the
//! readings of the standard library everywhere else.
#![expect(clippy::disallowed_methods, reason = "this file is what the ban points to")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock: deadlines, latencies, rates.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The monotonic clock as timers see it: a test may stop it, and let it run ahead.
pub fn timer() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The wall clock as time since the Unix epoch: records, tokens, ages of files.
///
/// A clock set before 1970 reads as the epoch itself: an age is then too large, never negative.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// One moment on both clocks. The wall clock of moments soon after follows from it, so that a
/// request reads one clock instead of two.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    monotonic: Instant,
    wall: Duration,
}

impl Anchor {
    /// This moment.
    pub fn now() -> Self {
        Self { monotonic: monotonic(), wall: wall() }
    }

    /// The wall clock at a moment not before this one. Where the clock was set meanwhile, that
    /// shows with the next anchor.
    pub fn wall_at(self, moment: Instant) -> Duration {
        self.wall + moment.saturating_duration_since(self.monotonic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_goes_on_from_its_anchor() {
        let anchor = Anchor::now();
        let later = Duration::from_millis(1_500);
        assert_eq!(anchor.wall_at(anchor.monotonic), anchor.wall);
        assert_eq!(anchor.wall_at(anchor.monotonic + later), anchor.wall + later);
    }
}
