//! How many impressions one imp is.
//!
//! Owns: [`Multiplier`] and what so many impressions cost. Never: whose it is.
//!
//! A screen in public is seen by many at once: such an imp is sold once and paid as so many impressions
//! (`OpenRTB` 2.6, 3.2.31). A price stays that of one of them.
//!
//! Rounding: one from the wire is rounded half away from zero to a millionth. A price in micros times
//! millionths of an impression is an amount of whole parts, [`PARTS`] of which are a unit: nothing is
//! rounded but a price that [`Multiplier::times`] gives, which is for estimates.

use super::{Cpm, MICROS, write_decimal};
use std::fmt;

/// Impressions of an imp, in millionths: more than none, at most a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multiplier(i64);

/// Parts of a currency unit in what [`Multiplier::cost`] gives: a thousandth (a price is per thousand) of a
/// micro of a micro.
pub const PARTS: u128 = 1_000 * 1_000_000 * 1_000_000;

impl Multiplier {
    /// Where a request says nothing: an imp is an impression.
    pub const ONE: Self = Self(MICROS);

    /// No screen is seen by more at once; above it the number is a mistake. With a price of 10^15 micros, the
    /// highest that is read, it costs 10^27 parts, of which an `i128` holds 10^11.
    pub const MAX: Self = Self(1_000_000 * MICROS);

    /// From a number on the wire; `None` where it is not finite, above [`Self::MAX`] or, rounded, not above
    /// zero.
    pub fn from_wire(number: f64) -> Option<Self> {
        let micros = (number * MICROS as f64).round();
        if !(1.0..=Self::MAX.0 as f64).contains(&micros) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole, and at most 10^12")]
        let micros = micros as i64;
        Some(Self(micros))
    }

    /// As a number for the wire, which is read back as the same: 10^12 is exact in a double.
    pub fn to_wire(self) -> f64 {
        self.0 as f64 / MICROS as f64
    }

    /// From millionths; `None` where they are not above zero, or above [`Self::MAX`].
    pub fn from_micros(micros: i64) -> Option<Self> {
        (1..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    /// The millionths.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// What so many impressions cost at a price, exactly, in [`PARTS`] of a unit.
    pub fn cost(self, price: Cpm) -> i128 {
        i128::from(price.0) * i128::from(self.0)
    }

    /// The price of one impression that costs as much as so many at `price`, to the nearest micro; the
    /// highest or lowest that there is where it does not fit.
    #[must_use]
    pub fn times(self, price: Cpm) -> Cpm {
        let micros = (self.cost(price) + i128::from(MICROS / 2)).div_euclid(i128::from(MICROS));
        Cpm(i64::try_from(micros).unwrap_or(if micros > 0 { i64::MAX } else { i64::MIN }))
    }

    /// Writes the shortest exact decimal, such as `14.2` or `3`.
    pub fn write_decimal(self, out: &mut Vec<u8>) {
        write_decimal(self.0, MICROS.unsigned_abs(), out);
    }
}

impl Default for Multiplier {
    fn default() -> Self {
        Self::ONE
    }
}

impl fmt::Display for Multiplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Cpm(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn multipliers_are_above_zero_and_at_most_a_million() {
        for (number, micros) in [
            (1.0, Some(1_000_000)),
            (14.2, Some(14_200_000)),
            (0.5, Some(500_000)),
            (1e-6, Some(1)),
            (5e-7, Some(1)),
            (4e-7, None),
            (0.0, None),
            (-0.0, None),
            (-1.0, None),
            (1e6, Some(1_000_000_000_000)),
            (1_000_000.000_001, None),
            (1e300, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (f64::NEG_INFINITY, None),
        ] {
            assert_eq!(Multiplier::from_wire(number).map(Multiplier::micros), micros, "{number}");
        }
        for (micros, is_one) in
            [(i64::MIN, false), (0, false), (1, true), (1_000_000_000_000, true), (i64::MAX, false)]
        {
            assert_eq!(Multiplier::from_micros(micros).is_some(), is_one, "{micros}");
        }
        assert_eq!(Multiplier::from_micros(1_000_000_000_001), None);
        assert_eq!(Multiplier::default(), Multiplier::ONE);
    }

    #[test]
    fn so_many_impressions_cost_so_many_times_the_price() {
        for (micros, price, parts, times) in [
            (1_000_000, 2_500_001, 2_500_001_000_000, 2_500_001),
            (14_200_000, 10_000_000, 142_000_000_000_000, 142_000_000),
            (14_200_000, 1, 14_200_000, 14),
            (500_000, 1, 500_000, 1),
            (499_999, 1, 499_999, 0),
            (1, 1, 1, 0),
            (14_200_000, -10_000_000, -142_000_000_000_000, -142_000_000),
            (1_000_000_000_000, i64::MAX, i128::from(i64::MAX) * 1_000_000_000_000, i64::MAX),
            (1_000_000_000_000, i64::MIN, i128::from(i64::MIN) * 1_000_000_000_000, i64::MIN),
        ] {
            let (many, price) = (Multiplier::from_micros(micros).unwrap(), Cpm(price));
            assert_eq!((many.cost(price), many.times(price)), (parts, Cpm(times)), "{many}");
        }
    }

    #[test]
    fn decimals_are_the_shortest_exact_ones() {
        for (micros, text) in [
            (1, "0.000001"),
            (1_000_000, "1"),
            (14_200_000, "14.2"),
            (1_000_000_000_000, "1000000"),
        ] {
            assert_eq!(Multiplier::from_micros(micros).unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn every_multiplier_survives_the_wire(micros in 1_i64..=1_000_000_000_000) {
            let one = Multiplier::from_micros(micros).unwrap();
            prop_assert_eq!(Multiplier::from_wire(one.to_wire()), Some(one));
            let read: f64 = one.to_string().parse().unwrap();
            prop_assert_eq!(Multiplier::from_wire(read), Some(one));
        }

        #[test]
        fn one_impression_costs_its_price(micros in any::<i64>()) {
            prop_assert_eq!(Multiplier::ONE.times(Cpm(micros)), Cpm(micros));
        }
    }
}
