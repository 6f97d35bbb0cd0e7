//! How many distinct values there were, and how often the most frequent came.
//!
//! Owns: [`Hyper`] (a HyperLogLog) and [`Heavy`] (Misra and Gries). Never: a value, only hashes.
//! Invariant: memory is fixed.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Registers as a power of two: 16 KB, a relative error of 1.04 / 128 = 0.8 %.
const REGISTERS_LOG: u32 = 14;
const REGISTERS: usize = 1 << REGISTERS_LOG;
/// Bits of a hash that are left for the rank, and the highest rank is one more.
const RANKS: u32 = u64::BITS - REGISTERS_LOG;

/// Distinct values, estimated from their hashes.
///
/// The estimator is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches",
/// 2017, algorithm 6): unbiased over the whole range without tables of corrections.
#[derive(Clone, Debug)]
pub(super) struct Hyper(Vec<u8>);

impl Default for Hyper {
    fn default() -> Self {
        Self(vec![0; REGISTERS])
    }
}

impl Hyper {
    /// Counts a value by its hash.
    pub fn add(&mut self, hash: u64) {
        let index = usize::try_from(hash >> RANKS).unwrap_or(0);
        let rank = ((hash << REGISTERS_LOG).leading_zeros() + 1).min(RANKS + 1);
        if let Some(register) = self.0.get_mut(index) {
            *register = (*register).max(u8::try_from(rank).unwrap_or(u8::MAX));
        }
    }

    /// How many there were.
    pub fn count(&self) -> f64 {
        let mut ranks = [0_u32; RANKS as usize + 2];
        for register in &self.0 {
            if let Some(count) = ranks.get_mut(usize::from(*register)) {
                *count += 1;
            }
        }
        let all = REGISTERS as f64;
        let [zeros, middle @ .., full] = ranks;
        let mut sum = all * tau(1.0 - f64::from(full) / all);
        for count in middle.iter().rev() {
            sum = 0.5 * (sum + f64::from(*count));
        }
        sum += all * sigma(f64::from(zeros) / all);
        all * all / (2.0 * std::f64::consts::LN_2) / sum
    }
}

/// What registers that were never hit add; infinite where none was.
fn sigma(mut share: f64) -> f64 {
    if share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut factor, mut sum) = (1.0, share);
    loop {
        share *= share;
        let before = sum;
        sum += share * factor;
        factor += factor;
        if sum <= before {
            return sum;
        }
    }
}

/// What registers at the highest rank take away.
fn tau(mut share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    let (mut factor, mut sum) = (1.0, 1.0 - share);
    loop {
        share = share.sqrt();
        let before = sum;
        factor *= 0.5;
        sum -= (1.0 - share).powi(2) * factor;
        if sum >= before {
            return sum / 3.0;
        }
    }
}

/// Values that are counted at once.
const KEPT: usize = 1_024;

/// How often the most frequent value came: exact up to `KEPT` distinct values, else at most
/// 1 / 1,025 of all values too low.
#[derive(Debug, Default)]
pub(super) struct Heavy(Hashed<u64>);

/// A map whose keys are hashes already.
pub(super) type Hashed<V> = HashMap<u64, V, BuildHasherDefault<AsItIs>>;

impl Heavy {
    /// Counts a value by its hash.
    pub fn take(&mut self, hash: u64) {
        if let Some(count) = self.0.get_mut(&hash) {
            *count += 1;
        } else if self.0.len() < KEPT {
            self.0.insert(hash, 1);
        } else {
            // one round for at least KEPT values that came before: constant on average
            self.0.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// The most frequent (of equals, the smallest), and how often it came.
    pub fn top(&self) -> (u64, u64) {
        let top = self.0.iter().max_by_key(|(hash, count)| (**count, std::cmp::Reverse(**hash)));
        // a value that was counted off came at least once
        top.map_or((0, 1), |(hash, count)| (*hash, *count))
    }
}

/// Hands a hash through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = super::mix::hash(self.0, bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn distinct_values_are_counted_within_three_deviations() {
        let mut random = Random::seeded(1);
        let (mut hyper, mut count) = (Hyper::default(), 0_u32);
        for target in [1, 2, 10, 100, 1_000, 10_000, 50_000, 200_000, 1_000_000] {
            while count < target {
                let hash = random.bits();
                hyper.add(hash);
                hyper.add(hash);
                count += 1;
            }
            let error = (hyper.count() / f64::from(target) - 1.0).abs();
            assert!(error < 0.025, "{target}: {error}");
        }
        assert!(Hyper::default().count().abs() < 1e-9);
    }

    #[test]
    fn the_most_frequent_is_found_among_a_hundred_thousand() {
        let mut random = Random::seeded(2);
        let mut heavy = Heavy::default();
        for number in 0..100_000_u32 {
            heavy.take(if number % 10 == 0 { 7 } else { random.bits() });
        }
        let (value, count) = heavy.top();
        assert!(value == 7 && (9_900..=10_000).contains(&count), "{value}: {count}");
        let mut round = Heavy::default();
        (0..1_000).for_each(|number| round.take(number % 10));
        assert_eq!(round.top(), (0, 100));
    }
}
