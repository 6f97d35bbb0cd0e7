//! The one place that reads a clock.
//!
//! Owns: the two readings that the edges take (`monotonic`, `wall`). Never: a timer, a sleep.
//! Stages that compute take an instant as a parameter instead; `.clippy.toml` bans the
//! readings of the standard library everywhere else.
#![expect(clippy::disallowed_methods, reason = "this file is what the ban points to")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock: deadlines, latencies, rates.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The wall clock as time since the Unix epoch: records, tokens, ages of files.
///
/// A clock set before 1970 reads as the epoch itself: an age is then too large, never negative.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}
