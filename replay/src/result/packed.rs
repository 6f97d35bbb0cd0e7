//! A histogram of times as text.
//!
//! Owns: [`Packed`], which takes some hundred bytes where the histogram itself takes 150 KB, so
//! that a result can hold one for each window. Never: a clock. Invariants: loss-free; what exists
//! was checked when it was made, whoever wrote it, so that unpacking cannot fail.

use crate::drive::report::{LONGEST_NS, SHORTEST_NS, SIGNIFICANT, histogram};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Times in nanoseconds, from a microsecond to a minute with three digits: the V2 format of
/// HdrHistogram (not deflated) in base64 without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Packed(String);

/// Why a text is no histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackedError {
    #[error("not base64 without padding")]
    Base64,
    #[error("not a V2 histogram of 1,000 to 60,000,000,000 ns with three digits")]
    Header,
    #[error("the counts of the histogram are damaged")]
    Counts,
}

/// Bytes before the counts: cookie, length, offset, digits, lowest, highest, ratio.
const HEADER_BYTES: usize = 4 + 4 + 4 + 4 + 8 + 8 + 8;

impl Packed {
    /// Packs it.
    pub fn new(histogram: &Histogram<u64>) -> Self {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(histogram, &mut bytes)
            .unwrap_or_else(|_| unreachable!("counts of requests are far below 2^63"));
        Self(STANDARD_NO_PAD.encode(bytes))
    }

    /// The histogram again.
    pub fn histogram(&self) -> Histogram<u64> {
        unpack(&self.0).unwrap_or_else(|_| unreachable!("checked when it was made"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Adds the times of another one.
    pub fn add(&mut self, other: &Histogram<u64>) {
        if other.is_empty() {
            return;
        }
        let mut sum = self.histogram();
        sum.add(other).unwrap_or_else(|_| unreachable!("equal bounds"));
        *self = Self::new(&sum);
    }

    /// The value at a quantile (0 to 1).
    pub fn at(&self, quantile: f64) -> Duration {
        crate::drive::report::at(&self.histogram(), quantile)
    }
}

impl Default for Packed {
    fn default() -> Self {
        Self::new(&histogram())
    }
}

impl From<Packed> for String {
    fn from(packed: Packed) -> Self {
        packed.0
    }
}

impl TryFrom<String> for Packed {
    type Error = PackedError;

    fn try_from(text: String) -> Result<Self, PackedError> {
        unpack(&text)?;
        Ok(Self(text))
    }
}

/// Reads only histograms of our own bounds: a stranger's header could ask for any memory.
fn unpack(text: &str) -> Result<Histogram<u64>, PackedError> {
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| PackedError::Base64)?;
    let payload = bytes.len().checked_sub(HEADER_BYTES).ok_or(PackedError::Header)?;
    let number = |from: usize, len: usize| {
        let part = bytes.get(from..from + len).unwrap_or_default();
        part.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let is_ours = number(4, 4) == payload as u64
        && number(12, 4) == u64::from(SIGNIFICANT)
        && number(16, 8) == SHORTEST_NS
        && number(24, 8) == LONGEST_NS;
    if !is_ours {
        return Err(PackedError::Header);
    }
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|_| PackedError::Counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_packed_comes_out_as_it_went_in() {
        let mut times = histogram();
        for step in 0..10_000u64 {
            times.saturating_record(step * step * 977);
        }
        let packed = Packed::new(&times);
        assert_eq!(packed.histogram(), times);
        let text = serde_json::to_string(&packed).unwrap();
        assert_eq!(serde_json::from_str::<Packed>(&text).unwrap(), packed);
        assert_eq!(Packed::default().histogram(), histogram());
        assert!(Packed::default().as_str().len() < 100);
    }

    #[test]
    fn sums_of_packed_times_lose_nothing() {
        let (mut one, mut two, mut both) = (histogram(), histogram(), histogram());
        for step in 0..500u64 {
            one.saturating_record(step * 10_007);
            two.saturating_record(step * 3_000_017);
            both.saturating_record(step * 10_007);
            both.saturating_record(step * 3_000_017);
        }
        let mut packed = Packed::new(&one);
        packed.add(&two);
        assert_eq!(packed.histogram(), both);
    }

    #[test]
    fn a_foreign_histogram_is_refused() {
        let foreign = Histogram::<u64>::new_with_bounds(1, u64::MAX / 2, 5).unwrap();
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&foreign, &mut bytes).unwrap();
        let text = STANDARD_NO_PAD.encode(bytes);
        assert_eq!(Packed::try_from(text), Err(PackedError::Header));
        assert_eq!(Packed::try_from("?".to_owned()), Err(PackedError::Base64));
    }

    proptest! {
        #[test]
        fn a_damaged_one_is_refused_or_harmless(at in 0usize..200, bit in 0u32..8) {
            let mut times = histogram();
            (0..100u64).for_each(|step| times.saturating_record(step * 1_000_003));
            let mut bytes = STANDARD_NO_PAD.decode(Packed::new(&times).as_str()).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = Packed::try_from(STANDARD_NO_PAD.encode(&bytes));
            bytes.truncate(at);
            prop_assert!(Packed::try_from(STANDARD_NO_PAD.encode(&bytes)).is_err());
        }
    }
}
