//! Records in the order of their time.
//!
//! Owns: the window within which records are put in order: a recording is written in the order in
//! which requests ended. Never: a file. Invariants: bounded in records and bytes; times that come
//! out never decrease; a record that stood beyond the window comes out at once, and is counted.

use gavel::capture::Record;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Records that wait for earlier ones: two seconds, which no request takes, at 4,000 a second.
const RECORDS_MAX: usize = 8_192;

/// Bytes of their bodies.
const BYTES_MAX: usize = 8 << 20;

/// See the file's header.
#[derive(Default)]
pub(super) struct Order {
    heap: BinaryHeap<Waiting>,
    bytes: usize,
    /// In which they were read: records of one moment stay in it.
    taken: u64,
    last: Duration,
    beyond: u64,
}

/// Least first.
struct Waiting {
    place: (Duration, u64),
    record: Record,
}

impl Order {
    /// Takes one in; gives one out where the window is full.
    pub fn push(&mut self, record: Record) -> Option<Record> {
        self.bytes += record.body.len();
        self.heap.push(Waiting { place: (record.at, self.taken), record });
        self.taken += 1;
        let is_full = self.heap.len() > RECORDS_MAX || self.bytes > BYTES_MAX;
        if is_full { self.pop() } else { None }
    }

    /// Gives the earliest one out.
    pub fn pop(&mut self) -> Option<Record> {
        let mut record = self.heap.pop()?.record;
        self.bytes -= record.body.len();
        if record.at < self.last {
            self.beyond += 1;
            record.at = self.last;
        }
        self.last = record.at;
        Some(record)
    }

    /// How many stood beyond the window.
    pub fn out_of_order(&self) -> u64 {
        self.beyond
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        other.place.cmp(&self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn play(times: impl Iterator<Item = u64>) -> (Vec<u64>, u64) {
        let mut order = Order::default();
        let mut out = Vec::new();
        for at in times {
            out.extend(order.push(Record { at: Duration::from_micros(at), ..Record::default() }));
        }
        while let Some(record) = order.pop() {
            out.push(record);
        }
        let times = out.iter().map(|record| u64::try_from(record.at.as_micros()).unwrap());
        (times.collect(), order.out_of_order())
    }

    #[test]
    fn records_within_the_window_come_out_in_order() {
        let mut random = Random::seeded(4);
        let times: Vec<u64> =
            (0..30_000).map(|number| number * 10 + random.below(50_000)).collect();
        let (out, out_of_order) = play(times.iter().copied());
        let mut sorted = times;
        sorted.sort_unstable();
        assert_eq!((out, out_of_order), (sorted, 0));
    }

    #[test]
    fn what_stood_beyond_it_comes_at_once_and_is_counted() {
        let late = (1..=20_000).chain([5]).chain(20_001..=40_000);
        let (out, out_of_order) = play(late);
        assert_eq!((out.len(), out_of_order), (40_001, 1));
        assert!(out.is_sorted());
    }
}
