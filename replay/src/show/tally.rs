//! Counts by name, by size and over time.
//!
//! Owns: [`Tally`], [`Sizes`], [`Over`]. Invariant: each is bounded, whatever is counted.

use crate::fingerprint::summary::quantile;
use serde::Serialize;
use std::collections::HashMap;

/// Names that are counted by themselves.
const NAMES_MAX: usize = 4_096;

/// Longest name that is kept; the rest of a longer one is cut off.
const NAME_MAX: usize = 120;

/// Counts by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    counts: HashMap<String, u64>,
    /// Those whose name came when there were too many.
    others: u64,
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, name: &str) {
        let name: String = name.chars().take(NAME_MAX).collect();
        if let Some(count) = self.counts.get_mut(&name) {
            *count += 1;
        } else if self.counts.len() < NAMES_MAX {
            self.counts.insert(name, 1);
        } else {
            self.others += 1;
        }
    }

    /// The most frequent, and how many others there are in all.
    pub fn top(&self, most: usize) -> (Vec<(&str, u64)>, u64) {
        let mut all: Vec<(&str, u64)> =
            self.counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        all.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        let rest = all.iter().skip(most).map(|(_, count)| count).sum::<u64>() + self.others;
        all.truncate(most);
        (all, rest)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// A distribution, to an eighth.
#[derive(Clone, Debug, Default)]
pub struct Sizes(crate::fingerprint::buckets::Buckets);

impl Sizes {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        self.0.add(value);
    }

    /// The value that this share does not exceed; none where nothing was counted.
    pub fn at(&self, share: f64) -> Option<u64> {
        quantile(&self.0.list(), share)
    }
}

impl Serialize for Sizes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.list().serialize(serializer)
    }
}

/// Stretches of time that are kept; a power of two.
const STRETCHES: usize = 128;

/// Counts over time, in stretches of equal length that become longer as time goes on.
#[derive(Clone, Debug, Serialize)]
pub struct Over {
    /// Length of each, in microseconds.
    pub stretch_us: u64,
    pub counts: Vec<u64>,
}

impl Default for Over {
    fn default() -> Self {
        Self { stretch_us: 1_000, counts: Vec::new() }
    }
}

impl Over {
    /// Counts one at this moment.
    pub fn add(&mut self, at_us: u64) {
        while at_us / self.stretch_us >= STRETCHES as u64 {
            self.counts = self.counts.chunks(2).map(|pair| pair.iter().sum()).collect();
            self.stretch_us = self.stretch_us.saturating_mul(2);
        }
        let index = usize::try_from(at_us / self.stretch_us).unwrap_or(0);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
        }
    }

    /// A line of at most 64 blocks, the highest for the stretch with the most.
    pub fn sparkline(&self) -> String {
        let wide = self.counts.len().div_ceil(STRETCHES / 2).max(1);
        let counts: Vec<u64> = self.counts.chunks(wide).map(|part| part.iter().sum()).collect();
        let highest = counts.iter().copied().max().unwrap_or(0).max(1);
        counts.iter().map(|count| block(*count, highest)).collect()
    }
}

/// Blank for nothing, else one of eight heights.
fn block(count: u64, highest: u64) -> char {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = usize::try_from(count.saturating_mul(8).div_ceil(highest)).unwrap_or(8);
    height.checked_sub(1).and_then(|index| HEIGHTS.get(index)).copied().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_over_time_stay_bounded_and_complete() {
        let mut over = Over::default();
        for second in 0..10_000_u64 {
            over.add(second * 1_000_000);
        }
        assert!(over.counts.len() <= STRETCHES);
        assert_eq!(over.counts.iter().sum::<u64>(), 10_000);
        assert!(over.sparkline().chars().count() <= 64, "{}", over.sparkline());
        over.add(u64::MAX);
        assert_eq!(over.counts.iter().sum::<u64>(), 10_001);
        assert_eq!(Over::default().sparkline(), "");
    }

    #[test]
    fn names_are_bounded_and_the_most_frequent_come_first() {
        let mut tally = Tally::default();
        for number in 0..10_000 {
            tally.add(&format!("{}", number % 5_000));
            tally.add("often");
        }
        let (top, rest) = tally.top(2);
        assert_eq!(top[0], ("often", 10_000));
        assert_eq!(rest + top[1].1, 10_000);
    }
}
