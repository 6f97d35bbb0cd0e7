//! How soon values come again.
//!
//! Owns: [`Reuse`]. Never: a value, only hashes. Invariant: memory is that of the window.
//!
//! For each value that comes again it finds how many *distinct* others came in between: a cache
//! that evicts the least recently used and holds more than that would have held it. So one pass
//! gives the hit rate of caches of every size (Mattson's stack distance, with a Fenwick tree over
//! the last `window` requests). It also notes how many requests lay in between: in a loop always
//! the same number.

use super::buckets::Buckets;
use super::counted::{Hashed, Heavy};

/// Sizes of cache for which hits are counted.
pub const CACHES: [u32; 5] = [16, 128, 1_024, 8_192, 32_768];

/// See the module.
#[derive(Debug)]
pub(super) struct Reuse {
    /// Values so far.
    taken: u64,
    window: u64,
    /// When a value came last, if that is in the window.
    last: Hashed<u64>,
    /// What came at a moment, by the moment modulo the window; `None` once it came again.
    ring: Vec<Option<u64>>,
    /// Over the ring: 1 for each entry that is some.
    tree: Vec<u32>,
    marked: u32,
    /// Hits by size of cache.
    hits: [u64; CACHES.len()],
    intervals: Buckets,
    frequent: Heavy,
    again: u64,
}

impl Reuse {
    /// Looks back over so many values.
    pub fn new(window: u32) -> Self {
        let window = usize::try_from(window.clamp(1, 1 << 24)).unwrap_or(1);
        Self {
            taken: 0,
            window: window as u64,
            last: Hashed::default(),
            ring: vec![None; window],
            tree: vec![0; window + 1],
            marked: 0,
            hits: [0; CACHES.len()],
            intervals: Buckets::default(),
            frequent: Heavy::default(),
            again: 0,
        }
    }

    /// Takes the next value.
    pub fn take(&mut self, hash: u64) {
        let now = self.taken;
        self.taken += 1;
        let slot = self.slot(now);
        if let Some(old) = self.ring.get_mut(slot).and_then(Option::take) {
            self.last.remove(&old);
            self.mark(slot, false);
        }
        if let Some(before) = self.last.insert(hash, now) {
            let from = self.slot(before);
            let between = self.marked_after(from, slot);
            for (hits, size) in self.hits.iter_mut().zip(CACHES) {
                *hits += u64::from(between < size);
            }
            self.again += 1;
            self.intervals.add(now - before);
            self.frequent.take(now - before);
            if let Some(entry) = self.ring.get_mut(from) {
                *entry = None;
            }
            self.mark(from, false);
        }
        if let Some(entry) = self.ring.get_mut(slot) {
            *entry = Some(hash);
        }
        self.mark(slot, true);
    }

    /// Share of the values that a cache of each size would have held.
    pub fn hit_rates(&self) -> [f64; CACHES.len()] {
        self.hits.map(|hits| hits as f64 / self.taken.max(1) as f64)
    }

    /// Share of the values that came before, within the window.
    pub fn share(&self) -> f64 {
        self.again as f64 / self.taken.max(1) as f64
    }

    /// Median of the requests from a value to the same again; `None` where none came again.
    pub fn median_interval(&self) -> Option<u64> {
        self.intervals.quantile(0.5)
    }

    /// The interval of more than half of what came again, exactly: the length of a loop, where one
    /// is played.
    pub fn loop_length(&self) -> Option<u64> {
        let (interval, count) = self.frequent.top();
        (self.again > 0 && count * 2 > self.again).then_some(interval)
    }

    fn slot(&self, moment: u64) -> usize {
        usize::try_from(moment % self.window).unwrap_or(0)
    }

    /// Entries behind `from` and before `to`, round the ring.
    fn marked_after(&self, from: usize, to: usize) -> u32 {
        let (before_to, up_to_from) = (self.sum(to), self.sum(from + 1));
        if from < to {
            before_to.saturating_sub(up_to_from)
        } else {
            (self.marked + before_to).saturating_sub(up_to_from)
        }
    }

    /// Entries in the first `count` slots.
    fn sum(&self, count: usize) -> u32 {
        let (mut at, mut sum) = (count, 0);
        while at > 0 {
            sum += self.tree.get(at).copied().unwrap_or(0);
            at &= at - 1;
        }
        sum
    }

    fn mark(&mut self, slot: usize, is_set: bool) {
        let change = |count: &mut u32| {
            *count = if is_set { count.wrapping_add(1) } else { count.wrapping_sub(1) };
        };
        change(&mut self.marked);
        let mut at = slot + 1;
        while let Some(count) = self.tree.get_mut(at) {
            change(count);
            at += at & at.wrapping_neg();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::collections::VecDeque;

    /// A cache that is written down as one would by hand.
    struct Lru(usize, VecDeque<u64>);

    impl Lru {
        fn has(&mut self, value: u64) -> bool {
            let found = self.1.iter().position(|held| *held == value);
            if let Some(at) = found {
                self.1.remove(at);
            }
            self.1.push_front(value);
            self.1.truncate(self.0);
            found.is_some()
        }
    }

    #[test]
    fn hit_rates_are_those_of_real_caches() {
        let mut random = Random::seeded(3);
        let (mut reuse, mut caches) = (
            Reuse::new(3_000),
            [Lru(16, VecDeque::new()), Lru(128, VecDeque::new()), Lru(1_024, VecDeque::new())],
        );
        let mut hits = [0_u64; 3];
        let count = 20_000_u32;
        for _ in 0..count {
            let value = (random.unit().powi(3) * 2_000.0).floor().to_bits();
            reuse.take(value);
            for (hits, cache) in hits.iter_mut().zip(&mut caches) {
                *hits += u64::from(cache.has(value));
            }
        }
        for (ours, real) in reuse.hit_rates().iter().zip(hits) {
            let real = real as f64 / f64::from(count);
            // values that come again behind the window of 3,000 requests are not found
            assert!((ours - real).abs() < 0.005 && *ours <= real, "{ours} for {real}");
        }
    }

    #[test]
    fn the_interval_is_the_length_of_a_loop() {
        for length in [1, 10, 500, 4_000] {
            let mut reuse = Reuse::new(1 << 13);
            (0..20_000).for_each(|number| reuse.take(number % length));
            let median = reuse.median_interval().unwrap();
            assert!(median >= length && median <= length + length / 8, "{median} for {length}");
            assert_eq!(reuse.loop_length(), Some(length));
        }
        let mut fresh = Reuse::new(100);
        (0..1_000).for_each(|number| fresh.take(number));
        assert_eq!((fresh.median_interval(), fresh.loop_length()), (None, None));
    }
}
