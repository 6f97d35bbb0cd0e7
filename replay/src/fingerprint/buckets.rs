//! A histogram over all of `u64` with eight buckets an octave.
//!
//! Owns: the buckets. Invariant: a value lies at most 12.5 % below the upper end of its bucket;
//! the number of buckets is fixed.

/// Buckets an octave, as a power of two.
const FINE: u32 = 3;
const COUNT: usize = (64 - FINE as usize + 1) << FINE;

/// Counts by size.
#[derive(Clone, Debug)]
pub struct Buckets(Vec<u64>);

impl Default for Buckets {
    fn default() -> Self {
        Self(vec![0; COUNT])
    }
}

impl Buckets {
    /// Counts one value.
    pub fn add(&mut self, value: u64) {
        if let Some(count) = self.0.get_mut(index(value)) {
            *count += 1;
        }
    }

    /// The largest value of each bucket that has any, with its count; smallest first.
    pub fn list(&self) -> Vec<(u64, u64)> {
        let counts = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(index, count)| (upper(index), *count)).collect()
    }

    /// The value that this share of the values does not exceed, as exactly as buckets are.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        super::summary::quantile(&self.list(), share)
    }
}

fn index(value: u64) -> usize {
    let octave = (value >> FINE).checked_ilog2().map_or(0, |log| log + 1);
    let shift = octave.saturating_sub(1);
    let fine = usize::try_from(value >> shift).unwrap_or(0);
    // the first octave holds 0 to 7 exactly; each further one has its top bit in `fine`
    let shift = usize::try_from(shift).unwrap_or(0);
    (shift << FINE) + fine
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let octave = index >> FINE;
    if octave <= 1 {
        return index as u64;
    }
    let shift = octave - 1;
    let fine = (index - (shift << FINE)) as u64;
    (((u128::from(fine) + 1) << shift) - 1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_at_most_an_eighth_below_the_upper_end_of_its_bucket() {
        let mut before = None;
        for value in (0..70_000).chain([1 << 40, (1 << 41) - 1, u64::MAX - 1, u64::MAX]) {
            let bucket = index(value);
            assert!(bucket < COUNT, "{value}");
            let end = upper(bucket);
            assert!(end >= value && end - value <= value / 8, "{value} in a bucket up to {end}");
            assert!(before.is_none_or(|before| before <= bucket), "{value}");
            before = Some(bucket);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut buckets = Buckets::default();
        (1..=1_000).for_each(|value| buckets.add(value));
        assert!((500..=560).contains(&buckets.quantile(0.5).unwrap()));
        assert!((990..=1_120).contains(&buckets.quantile(0.99).unwrap()));
        assert_eq!(Buckets::default().quantile(0.5), None);
    }
}
