//! Numbers that look random and follow from a seed.
//!
//! Owns: the generator (SplitMix64) and the few distributions that the package draws from. Never:
//! entropy of the machine. Invariant: the same seed gives the same numbers on every machine, so
//! whatever a run drew can be drawn again. Not for secrets.

use std::time::Duration;

/// The state of one stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Odd constant of SplitMix64: the golden ratio in 64 bits.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// A stream from a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(mix(seed ^ STEP))
    }

    /// The stream of one item of many: streams of different items have nothing in common.
    pub fn for_item(seed: u64, item: u64) -> Self {
        Self(mix(mix(seed ^ STEP).wrapping_add(item.wrapping_mul(STEP))))
    }

    /// The stream of an item that is known by its bytes, such as a request id.
    pub fn for_bytes(seed: u64, bytes: &[u8]) -> Self {
        // FNV-1a: short keys, and no one gains by a collision here
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self::for_item(seed, hash)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Evenly from `0..count`; 0 where `count` is 0.
    pub fn below(&mut self, count: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(count);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Evenly from `0..count` as an index.
    pub fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// Evenly from `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Evenly from `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        // 53 bits: what an f64 holds exactly
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of a list that is never empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// An index drawn by weights; the last where rounding leaves a rest.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut rest = self.unit() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            rest -= weight;
            if rest < 0.0 {
                return index;
            }
        }
        weights.len().saturating_sub(1)
    }

    /// Normal with mean 0 and deviation 1 (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Log-normal by its median and the deviation of its logarithm.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// A waiting time with this mean (the gaps of a Poisson process).
    pub fn waiting(&mut self, mean: Duration) -> Duration {
        seconds(-(1.0 - self.unit()).ln() * mean.as_secs_f64())
    }
}

/// Seconds as a duration; nonsense (negative, not finite, too large) is zero.
pub fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

/// The finaliser of SplitMix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed, item| {
            let mut random = Random::for_item(seed, item);
            (0..4).map(|_| random.bits()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 3), draw(7, 3));
        assert_ne!(draw(7, 3), draw(7, 4));
        assert_ne!(draw(7, 3), draw(8, 3));
    }

    #[test]
    fn distributions_have_the_moments_that_their_names_promise() {
        let mut random = Random::seeded(1);
        let count = 100_000;
        let normal: f64 = (0..count).map(|_| random.normal()).sum::<f64>() / f64::from(count);
        assert!(normal.abs() < 0.02, "{normal}");
        let mean = Duration::from_millis(10);
        let waited: Duration = (0..count).map(|_| random.waiting(mean)).sum();
        let waited_ms = waited.as_secs_f64() * 1e3 / f64::from(count);
        assert!((waited_ms - 10.0).abs() < 0.2, "{waited_ms}");
        let mut medians: Vec<f64> = (0..9_999).map(|_| random.lognormal(2.0, 0.5)).collect();
        medians.sort_by(f64::total_cmp);
        assert!((medians[5_000] - 2.0).abs() < 0.1, "{}", medians[5_000]);
        let weighted = (0..count).filter(|_| random.weighted(&[1.0, 3.0]) == 1).count();
        assert!((74_000..76_000).contains(&weighted), "{weighted}");
    }

    #[test]
    fn ranges_hold_both_ends_and_nothing_else() {
        let mut random = Random::seeded(2);
        let mut seen = [0; 4];
        (0..1_000).for_each(|_| seen[random.index(4)] += 1);
        assert!(seen.iter().all(|count| *count > 200), "{seen:?}");
        assert!((0..100).all(|_| (3..=5).contains(&random.between(3, 5))));
        assert_eq!(random.below(0), 0);
    }
}
