//! What a run of the driver is.
//!
//! Owns: [`Plan`] with its bounds and settings, and [`RequestSet`], the bodies it sends. Never: a
//! socket, a clock. Invariant: a plan is bounded in requests and in time.

use super::schedule::Schedule;
use super::target::Target;
use std::sync::Arc;
use std::time::Duration;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub target: Target,
    pub requests: Arc<RequestSet>,
    pub schedule: Schedule,
    pub bounds: Bounds,
    pub settings: DriveSettings,
}

/// Where a run ends; the first that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests planned.
    pub requests_max: u64,
    /// Time in which requests are planned.
    pub time_max: Duration,
}

/// How a run goes about it. Counts are of the whole run and shared by its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriveSettings {
    /// Threads, each with its part of the schedule and of the connections; 1 to 64.
    pub threads: u32,
    /// Connections opened before the first request; 1 to 65,536.
    pub connections: u32,
    /// Connections open at once; more are opened while requests wait. Not below `connections`.
    pub connections_max: u32,
    /// Requests that wait for a connection, in the order of their planned time; the next is shed
    /// and counted.
    pub queue_max: u32,
    /// For an answer, from sending; and for a connection, from planning. Milliseconds.
    pub timeout_ms: u64,
    /// How long answers are awaited after the last request. Milliseconds.
    pub drain_ms_max: u64,
    /// One answer, head and body. Bytes.
    pub answer_bytes_max: usize,
    /// Busy waiting before a planned moment: exacter, at the price of a core. Microseconds.
    pub spin_us: u64,
    /// A run whose lateness at the 99th percentile is over this is not valid. Microseconds.
    pub lateness_us_max: u64,
}

impl Default for DriveSettings {
    fn default() -> Self {
        Self {
            threads: 1,
            connections: 16,
            connections_max: 512,
            queue_max: 10_000,
            timeout_ms: 2_000,
            drain_ms_max: 2_000,
            answer_bytes_max: 1 << 20,
            spin_us: 0,
            lateness_us_max: 2_000,
        }
    }
}

impl DriveSettings {
    /// The part of a count that falls to one of the threads; at least 1.
    pub(super) fn part(&self, count: u32) -> usize {
        usize::try_from(count.div_ceil(self.threads.max(1)).max(1)).unwrap_or(1)
    }
}

/// Distinct bodies in one piece of memory, sent in turn.
#[derive(Clone, Debug, Default)]
pub struct RequestSet {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RequestSet {
    /// Adds a body that `write` appends.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all bodies.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The body of request `number`: they come round again. Empty where the set is.
    pub fn body(&self, number: u64) -> &[u8] {
        let count = self.ends.len().max(1) as u64;
        let index = usize::try_from(number % count).unwrap_or(0);
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(index).copied().unwrap_or(0);
        self.bytes.get(start.unwrap_or(0)..end).unwrap_or_default()
    }

    /// All, in turn.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len() as u64).map(|number| self.body(number))
    }
}

impl<B: AsRef<[u8]>> FromIterator<B> for RequestSet {
    fn from_iter<I: IntoIterator<Item = B>>(bodies: I) -> Self {
        let mut set = Self::default();
        for body in bodies {
            set.push_with(|bytes| bytes.extend_from_slice(body.as_ref()));
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_round_again() {
        let set: RequestSet = ["a", "", "bcd"].into_iter().collect();
        let seen: Vec<&[u8]> = (0..7).map(|number| set.body(number)).collect();
        assert_eq!(seen, [&b"a"[..], b"", b"bcd", b"a", b"", b"bcd", b"a"]);
        assert_eq!((set.len(), set.bytes()), (3, 4));
        assert_eq!(RequestSet::default().body(4), b"");
    }
}
