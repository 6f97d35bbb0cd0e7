//! Counts of durations in fixed buckets, written by one thread.
//!
//! Owns: [`Scale`], which durations share a bucket, and [`Histogram`]. Never: a quantile.
//! Invariant: a scale's buckets never change while the process lives, so that workers add up.
//!
//! Buckets are log-linear: each power of two of microseconds is cut into equal parts, so that
//! the relative error is the same everywhere and finding a bucket is two shifts.

use super::row::bump;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Which durations share a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Up to 2^first µs all share one bucket.
    first: u32,
    /// Over 2^last µs all share one bucket.
    last: u32,
    /// Each power of two between is cut into 2^cuts; at most `first`.
    cuts: u32,
}

impl Scale {
    /// 16 µs to 4.2 s, four a power of two: what gavel itself does. Error at most 1/8.
    pub const FINE: Self = Self { first: 4, last: 22, cuts: 2 };
    /// 256 µs to 4.2 s, one a power of two: one for each bidder.
    pub const COARSE: Self = Self { first: 8, last: 22, cuts: 0 };

    /// How many buckets there are.
    pub const fn len(self) -> usize {
        (((self.last - self.first) << self.cuts) + 2) as usize
    }

    /// Never.
    pub const fn is_empty(self) -> bool {
        false
    }

    /// The bucket of a duration; buckets include their upper bound, as Prometheus' `le` does.
    pub fn bucket(self, took: Duration) -> usize {
        let below = nanos(took).div_ceil(1000).saturating_sub(1);
        if below < 1 << self.first {
            return 0;
        }
        let power = below.ilog2();
        if power >= self.last {
            return self.len() - 1;
        }
        let part = (below >> (power - self.cuts)) - (1 << self.cuts);
        let whole = u64::from((power - self.first) << self.cuts);
        usize::try_from(1 + whole + part).unwrap_or(0)
    }

    /// The upper bound of a bucket in microseconds; `None` for the last one.
    pub fn bound_us(self, bucket: usize) -> Option<u64> {
        let Some(step) = bucket.checked_sub(1).and_then(|step| u64::try_from(step).ok()) else {
            return Some(1 << self.first);
        };
        let (power, part) = (step >> self.cuts, step & ((1 << self.cuts) - 1));
        let power = u32::try_from(power).ok()?.checked_add(self.first)?;
        let bound = (part + 1 + (1 << self.cuts)) << (power - self.cuts);
        (power < self.last).then_some(bound)
    }
}

/// One thread's counts.
#[derive(Debug)]
pub struct Histogram {
    scale: Scale,
    buckets: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

/// Counts of several threads, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    pub scale: Scale,
    /// Not cumulative.
    pub buckets: Vec<u64>,
    pub sum_ns: u64,
}

impl Histogram {
    /// Empty.
    pub fn new(scale: Scale) -> Self {
        let buckets = (0..scale.len()).map(|_| AtomicU64::new(0)).collect();
        Self { scale, buckets, sum_ns: AtomicU64::new(0) }
    }

    /// Counts one duration. To be called by the owning thread only.
    pub fn record(&self, took: Duration) {
        if let Some(bucket) = self.buckets.get(self.scale.bucket(took)) {
            bump(bucket, 1);
        }
        bump(&self.sum_ns, nanos(took));
    }

    /// Adds these counts to `total`, which must be of the same scale.
    pub fn add_to(&self, total: &mut Counts) {
        for (cell, sum) in self.buckets.iter().zip(&mut total.buckets) {
            *sum += cell.load(Ordering::Relaxed);
        }
        total.sum_ns = total.sum_ns.wrapping_add(self.sum_ns.load(Ordering::Relaxed));
    }
}

/// Without a division of 128 bits; 584 years and more are one.
fn nanos(took: Duration) -> u64 {
    let whole = took.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(took.subsec_nanos()))
}

impl Counts {
    /// Nothing yet.
    pub fn new(scale: Scale) -> Self {
        Self { scale, buckets: vec![0; scale.len()], sum_ns: 0 }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_rise_and_belong_to_their_own_bucket() {
        for scale in [Scale::FINE, Scale::COARSE] {
            let mut before = 0;
            for bucket in 0..scale.len() - 1 {
                let bound = scale.bound_us(bucket).unwrap();
                assert!(bound > before, "{bound} after {before}");
                assert_eq!(scale.bucket(Duration::from_micros(bound)), bucket);
                assert_eq!(scale.bucket(Duration::from_nanos(bound * 1000 + 1)), bucket + 1);
                before = bound;
            }
            assert_eq!(before, 1 << scale.last);
            assert_eq!(scale.bound_us(scale.len() - 1), None);
            assert_eq!(scale.bucket(Duration::MAX), scale.len() - 1);
            assert_eq!(scale.bucket(Duration::ZERO), 0);
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_at_most_its_buckets_bound(nanos in 0u64..10_000_000_000) {
            for scale in [Scale::FINE, Scale::COARSE] {
                let bucket = scale.bucket(Duration::from_nanos(nanos));
                if let Some(bound) = scale.bound_us(bucket) {
                    prop_assert!(nanos <= bound * 1000);
                }
                if let Some(lower) = bucket.checked_sub(1).and_then(|below| scale.bound_us(below)) {
                    prop_assert!(nanos > lower * 1000);
                }
            }
        }
    }
}
