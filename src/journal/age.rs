//! How old segments are.
//!
//! Owns: [`Ages`]. Never: the wall clock. Invariant: no segment grows older faster than the monotonic
//! clock goes, and what was the newest at the start begins anew with it.
//!
//! A jump of the wall clock would make records old that are not. So the age of a segment that this
//! process began is measured. Of the ones before there is only what stands in their headers: the time
//! between two of them counts, where one is later than the other, and as at most half of `keep_for`,
//! for nobody knows whether a clock was set between them. That keeps records longer, never shorter,
//! than a clock that was wrong at one start and right at the next would.

use super::published::{Segment, Table};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Since when segments are there.
#[derive(Debug)]
pub struct Ages {
    /// By number: its age at a moment.
    known: BTreeMap<u64, (Duration, Instant)>,
}

impl Ages {
    /// Of the segments that were found at the start.
    pub fn new(found: &Table, keep_for: Duration, start: Instant) -> Self {
        let mut known = BTreeMap::new();
        let mut age = Duration::ZERO;
        let mut behind: Option<&Segment> = None;
        for segment in found.segments.iter().rev() {
            let gap = behind.map_or(0, |next| next.begun_us.saturating_sub(segment.begun_us));
            age = age.saturating_add(Duration::from_micros(gap).min(keep_for / 2));
            known.insert(segment.ordinal, (age, start));
            behind = Some(segment);
        }
        Self { known }
    }

    /// Takes note of segments that are new, and of those that are gone.
    pub fn note(&mut self, table: &Table, now: Instant) {
        let known = |ordinal| self.known.get(&ordinal).copied().unwrap_or((Duration::ZERO, now));
        let all = table.segments.iter().map(|segment| (segment.ordinal, known(segment.ordinal)));
        self.known = all.collect();
    }

    /// How long ago it was begun.
    pub fn of(&self, ordinal: u64, now: Instant) -> Duration {
        self.known.get(&ordinal).map_or(Duration::ZERO, |(age, at)| {
            age.saturating_add(now.saturating_duration_since(*at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::journal::Place;

    fn table(begun_s: &[u64]) -> Table {
        let segment = |(ordinal, begun_s): (u64, &u64)| Segment {
            place: Place::Main,
            ordinal,
            first: ordinal,
            next: ordinal + 1,
            bytes: 1,
            file_bytes: 1,
            offset: 0,
            begun_us: begun_s * 1_000_000,
            ends_s: 0,
            is_damaged: false,
        };
        Table { segments: (1..).zip(begun_s).map(segment).collect(), next: 100 }
    }

    #[test]
    fn segments_age_by_the_time_between_them_then_by_the_monotonic_clock() {
        let (start, s) = (clock::monotonic(), Duration::from_secs);
        let mut ages = Ages::new(&table(&[1_000, 1_010, 1_060]), s(100), start);
        let of = |ages: &Ages, at: u64| {
            [1, 2, 3, 4].map(|ordinal| ages.of(ordinal, start + s(at)).as_secs())
        };
        assert_eq!(of(&ages, 0), [60, 50, 0, 0]);
        // one that was begun meanwhile, whatever the wall clock said
        ages.note(&table(&[1_000, 1_010, 1_060, 9_999_999]), start + s(7));
        assert_eq!(of(&ages, 8), [68, 58, 8, 1]);
        let mut rest = table(&[1_000, 1_010, 1_060, 9_999_999]);
        rest.segments.remove(1);
        ages.note(&rest, start + s(9));
        assert_eq!(of(&ages, 9), [69, 0, 9, 2]);
    }

    #[test]
    fn a_clock_that_was_wrong_at_a_start_makes_nothing_old() {
        let (start, year) = (clock::monotonic(), 365 * 86_400);
        for (begun_s, expected) in [
            // ahead, corrected; behind, corrected; ahead for two starts; never corrected
            ([50 * year, 54 * year, 50 * year + 60], [50, 0, 0]),
            ([50 * year, 1, 50 * year + 60], [50, 50, 0]),
            ([50 * year, 54 * year, 54 * year + 20], [70, 20, 0]),
            ([50 * year, 50 * year + 10, 54 * year], [60, 50, 0]),
        ] {
            let ages = Ages::new(&table(&begun_s), Duration::from_secs(100), start);
            let found = [1, 2, 3].map(|ordinal| ages.of(ordinal, start).as_secs());
            assert_eq!(found, expected, "{begun_s:?}");
        }
    }
}
