//! Hot reload: what changes on the disk becomes the next generation.
//!
//! Owns: [`ReloadSettings`]. Its parts: `watch` says that something changed, `settle` whether it is
//! written to its end, `publisher` reads, checks and swaps, `keep` has the last good rules on the
//! disk, `progress` what operators are told.

pub mod keep;
pub mod progress;
pub mod publisher;
pub mod settle;
pub mod watch;

use std::time::Duration;

/// How files are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadSettings {
    /// A file that is rewritten in place, without a checksum, is read when its size and times have
    /// stood still for so long (100 ms to 60 s).
    pub settle: Duration,
}

impl Default for ReloadSettings {
    fn default() -> Self {
        Self { settle: Duration::from_secs(2) }
    }
}
