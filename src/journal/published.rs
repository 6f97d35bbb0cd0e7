//! What the writer lets others see: which records are durable, and how the journal is.
//!
//! Owns: [`Published`], its table of segments, the [`Condition`]. Never: a file. Invariant: nothing
//! stands in the table that is not durable; its segments are in order and without overlap.

use super::walk::Bounds;
use super::{Condition, Place};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Takes a lock. Nothing that runs under the journal's locks leaves them half done when it panics.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One segment with durable records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub place: Place,
    pub ordinal: u64,
    /// Sequence of its first record, and of the first one behind it.
    pub first: u64,
    pub next: u64,
    /// Bytes that may be read, and that the file has on the disk.
    pub bytes: u64,
    pub file_bytes: u64,
    /// Where its records begin: 0 where the header is lost and they must be searched.
    pub offset: u64,
    pub begun_us: u64,
    /// When the last of its events' tokens ends, in seconds since the epoch.
    pub ends_s: u64,
    /// Something in it was lost; it is kept until somebody has looked at it.
    pub is_damaged: bool,
}

impl Segment {
    /// How it is to be walked.
    pub const fn bounds(&self) -> Bounds {
        Bounds {
            first: self.first,
            limit: self.next,
            proven: self.next,
            bytes: self.bytes,
            offset: self.offset,
        }
    }
}

/// All durable records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub segments: Vec<Segment>,
    /// The sequence behind the last durable record.
    pub next: u64,
}

impl Table {
    /// Bytes that all of them have on the disk.
    pub fn file_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.file_bytes).sum()
    }
}

/// What makes up the condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub is_failed: bool,
    pub has_no_next: bool,
    pub is_spilling: bool,
    pub has_no_ballast: bool,
    pub is_slow: bool,
}

impl Parts {
    const fn condition(self) -> Condition {
        if self.is_failed {
            Condition::Failed
        } else if self.has_no_next {
            Condition::Last
        } else if self.is_spilling {
            Condition::Spilling
        } else if self.has_no_ballast {
            Condition::Low
        } else if self.is_slow {
            Condition::Slow
        } else {
            Condition::Sound
        }
    }
}

/// Counts since the start that only grow.
#[derive(Debug, Default)]
pub struct Counts {
    pub commits: AtomicU64,
    pub committed_records: AtomicU64,
    pub committed_bytes: AtomicU64,
    /// Commits that the disk refused, that it did not answer in time, and for want of room.
    pub faults: AtomicU64,
    pub timeouts: AtomicU64,
    pub full: AtomicU64,
    /// Segments that had to be made while a commit waited.
    pub stalls: AtomicU64,
    /// Segments that retention has removed.
    pub removed: AtomicU64,
    /// Holes that were met, at the start or by a sink, and the records in them.
    pub holes: AtomicU64,
    pub lost_records: AtomicU64,
}

/// Times of commits: bucket `n` holds those below 2^n * 64 µs, the last one all others.
#[derive(Debug, Default)]
pub struct Times([AtomicU64; 20]);

impl Times {
    const FIRST_US: u128 = 64;

    fn add(&self, took: Duration) {
        let above = (took.as_micros() / Self::FIRST_US).checked_ilog2().map_or(0, |log| log + 1);
        let last = self.0.len() - 1;
        let at = usize::try_from(above).unwrap_or(last).min(last);
        if let Some(bucket) = self.0.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Upper bound (none of the last) and count of each bucket.
    pub fn read(&self) -> Vec<(Option<Duration>, u64)> {
        let last = self.0.len() - 1;
        let bound = |at: usize| (at < last).then(|| Duration::from_micros(64 << at));
        self.0.iter().enumerate().map(|(at, n)| (bound(at), n.load(Ordering::Relaxed))).collect()
    }

    /// The bound under which at least `permille` of a thousand commits stayed; `None` without
    /// commits, and where it is the last bucket.
    pub fn at_permille(&self, permille: u64) -> Option<Duration> {
        let buckets = self.read();
        let all: u64 = buckets.iter().map(|(_, count)| count).sum();
        let mut below = 0;
        buckets.into_iter().find_map(|(bound, count)| {
            below += count;
            (all > 0 && below * 1000 >= all * permille).then_some(bound)
        })?
    }
}

/// What others see.
#[derive(Debug)]
pub struct Published {
    state: Mutex<(Table, Parts)>,
    changed: Condvar,
    condition: AtomicU8,
    durable: AtomicU64,
    /// Of all segments in the table, on the disk.
    file_bytes: AtomicU64,
    ordinals: AtomicU64,
    pub counts: Counts,
    pub times: Times,
}

impl Published {
    /// What was found at the start; `ordinal` is the number of the next segment.
    pub fn new(table: Table, ordinal: u64) -> Self {
        Self {
            durable: AtomicU64::new(table.next),
            file_bytes: AtomicU64::new(table.file_bytes()),
            state: Mutex::new((table, Parts::default())),
            changed: Condvar::new(),
            condition: AtomicU8::new(0),
            ordinals: AtomicU64::new(ordinal),
            counts: Counts::default(),
            times: Times::default(),
        }
    }

    /// The number of a new segment, given once.
    pub fn take_ordinal(&self) -> u64 {
        self.ordinals.fetch_add(1, Ordering::Relaxed)
    }

    /// The sequence behind the last durable record.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Bytes that all segments have on the disk; one load.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Ordering::Acquire)
    }

    /// How the journal is.
    pub fn condition(&self) -> Condition {
        let at = usize::from(self.condition.load(Ordering::Acquire));
        Condition::ALL.get(at).copied().unwrap_or(Condition::Failed)
    }

    /// A copy of the table.
    pub fn table(&self) -> Table {
        lock(&self.state).0.clone()
    }

    /// The segment that holds a sequence, or the first one behind it.
    pub fn segment_of(&self, sequence: u64) -> Option<Segment> {
        let state = lock(&self.state);
        state.0.segments.iter().find(|segment| segment.next > sequence).copied()
    }

    /// Bytes that segments have on the disk in a folder.
    pub fn bytes_in(&self, place: Place) -> u64 {
        let state = lock(&self.state);
        let own = state.0.segments.iter().filter(|segment| segment.place == place);
        own.map(|segment| segment.file_bytes).sum()
    }

    /// Waits until there is a durable record at or behind `sequence`, or the time is over.
    pub fn wait_for(&self, sequence: u64, patience: Duration) -> bool {
        let state = lock(&self.state);
        let is_short = |state: &mut (Table, Parts)| state.0.next <= sequence;
        let (state, _) = self
            .changed
            .wait_timeout_while(state, patience, is_short)
            .unwrap_or_else(PoisonError::into_inner);
        state.0.next > sequence
    }

    /// Wakes whoever waits for records: the journal closes.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// A commit is durable: the last segment reaches so far.
    pub fn extend(&self, segment: Segment) {
        let mut state = lock(&self.state);
        match state.0.segments.last_mut() {
            Some(last) if last.ordinal == segment.ordinal => *last = segment,
            _ => {
                state.0.segments.push(segment);
                self.weigh(&state.0);
            }
        }
        state.0.next = segment.next;
        self.durable.store(segment.next, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    /// The last segment has been cut to what it holds.
    pub fn shorten(&self, ordinal: u64, file_bytes: u64) {
        let mut state = lock(&self.state);
        if let Some(found) = state.0.segments.iter_mut().find(|known| known.ordinal == ordinal) {
            found.file_bytes = file_bytes;
        }
        self.weigh(&state.0);
    }

    /// Takes segments out of sight that are about to be removed.
    pub fn forget(&self, ordinals: &[u64]) {
        let mut state = lock(&self.state);
        state.0.segments.retain(|segment| !ordinals.contains(&segment.ordinal));
        self.weigh(&state.0);
    }

    /// Segments have come, gone or shrunk.
    fn weigh(&self, table: &Table) {
        self.file_bytes.store(table.file_bytes(), Ordering::Release);
    }

    /// Changes what makes up the condition; true where the condition is another now.
    pub fn adjust(&self, change: impl FnOnce(&mut Parts)) -> bool {
        let mut state = lock(&self.state);
        change(&mut state.1);
        let condition = state.1.condition() as u8;
        self.condition.swap(condition, Ordering::AcqRel) != condition
    }

    /// What makes up the condition.
    pub fn parts(&self) -> Parts {
        lock(&self.state).1
    }

    /// Counts a commit.
    pub fn committed(&self, took: Duration, records: u64, bytes: u64) {
        self.times.add(took);
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        self.counts.committed_records.fetch_add(records, Ordering::Relaxed);
        self.counts.committed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a hole.
    pub fn met_hole(&self, records: u64) {
        self.counts.holes.fetch_add(1, Ordering::Relaxed);
        self.counts.lost_records.fetch_add(records, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_in_powers_of_two() {
        let times = Times::default();
        for us in [1, 63, 64, 127, 128, 700_000_000] {
            times.add(Duration::from_micros(us));
        }
        let counts: Vec<u64> = times.read().into_iter().map(|(_, count)| count).collect();
        assert_eq!(&counts[..4], &[2, 2, 1, 0]);
        assert_eq!(counts.last(), Some(&1));
        assert_eq!(times.at_permille(500), Some(Duration::from_micros(128)));
        assert_eq!(times.at_permille(1000), None);
        assert_eq!(Times::default().at_permille(1), None);
    }

    #[test]
    fn the_worst_part_is_the_condition() {
        let published = Published::new(Table::default(), 1);
        assert!(published.adjust(|parts| parts.is_slow = true));
        assert_eq!(published.condition(), Condition::Slow);
        assert!(published.adjust(|parts| parts.is_failed = true));
        assert!(!published.adjust(|parts| parts.is_slow = false));
        assert_eq!(published.condition(), Condition::Failed);
        assert!(published.adjust(|parts| parts.is_failed = false));
        assert_eq!(published.condition(), Condition::Sound);
    }
}
