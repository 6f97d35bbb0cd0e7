//! What we keep of a price.
//!
//! Owns: [`TakeRate`]. Never: whose it is.
//!
//! Rounding: our margin is rounded down, in the partner's favour: the net of a price is rounded up
//! to a micro. A floor is marked up by exact division, rounded up to a micro: its net is the floor,
//! or a micro more.

use super::{Cpm, CpmPerSecond};

/// Our part of a price, in basis points (hundredths of a percent).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeRate(u16);

impl TakeRate {
    /// Nothing is taken.
    pub const NONE: Self = Self(0);

    /// The most that can be agreed: nine tenths.
    pub const MAX: Self = Self(9_000);

    /// All of a price, in basis points.
    const WHOLE: u16 = 10_000;

    /// From a percentage with at most two decimals, 0 to 90.
    pub fn from_percent(percent: f64) -> Option<Self> {
        let points = percent * 100.0;
        let is_whole = (points - points.round()).abs() < 1e-6;
        if !is_whole || !(0.0..=f64::from(Self::MAX.0)).contains(&points.round()) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and within 0 to 9,000"
        )]
        let points = points.round() as u16;
        Some(Self(points))
    }

    /// Whether nothing is taken.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// What is left to the partner, in basis points: at least a tenth of all.
    fn rest(self) -> i128 {
        i128::from(Self::WHOLE.saturating_sub(self.0.min(Self::MAX.0)))
    }

    /// What the partner gets of a price, rounded up to a micro; never more than the price.
    #[must_use]
    pub fn net(self, gross: Cpm) -> Cpm {
        if self.is_none() || gross <= Cpm::ZERO {
            return gross;
        }
        let parts = i128::from(gross.0) * self.rest() + i128::from(Self::WHOLE - 1);
        // at most the price itself
        Cpm(i64::try_from(parts / i128::from(Self::WHOLE)).unwrap_or(gross.0))
    }

    /// The price of which the partner gets `net`, rounded up to a micro; the highest that there is
    /// where none is high enough.
    #[must_use]
    pub fn mark_up(self, net: Cpm) -> Cpm {
        if self.is_none() || net <= Cpm::ZERO {
            return net;
        }
        let rest = self.rest();
        let gross = (i128::from(net.0) * i128::from(Self::WHOLE) + rest - 1) / rest;
        Cpm(i64::try_from(gross).unwrap_or(i64::MAX))
    }

    /// A floor by the second as it is sent. Rounded up: a bid of it reaches, at each duration, the
    /// marked-up floor of that duration.
    #[must_use]
    pub fn mark_up_by_second(self, net: CpmPerSecond) -> CpmPerSecond {
        if self.is_none() || net.0 <= 0 {
            return net;
        }
        // Whole micros, since a bid is rounded to them: then the product with seconds is exact.
        let rest = self.rest() * 1_000;
        let micros = (i128::from(net.0) * i128::from(Self::WHOLE) + rest - 1) / rest;
        // What a floor of finer parts gains where the price of its duration is rounded up.
        let finer = if net.0 % 1_000 == 0 { 0 } else { self.mark_up(Cpm(1)).0 };
        let nanos = (micros + i128::from(finer)) * 1_000;
        CpmPerSecond(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn take_rates_are_percentages_of_two_decimals() {
        for (percent, points) in [
            (0.0, Some(0)),
            (12.5, Some(1_250)),
            (0.07, Some(7)),
            (90.0, Some(9_000)),
            (90.01, None),
            (-0.01, None),
            (1.005, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(TakeRate::from_percent(percent).map(|rate| rate.0), points, "{percent}");
        }
    }

    #[test]
    fn a_margin_is_rounded_in_the_favour_of_the_partner() {
        let rate = TakeRate::from_percent(15.0).unwrap();
        for (gross, net) in
            [(0, 0), (1, 1), (2, 2), (7, 6), (1_000_000, 850_000), (1_000_001, 850_001)]
        {
            assert_eq!(rate.net(Cpm(gross)), Cpm(net), "{gross}");
        }
        for (net, gross) in [(0, 0), (1, 2), (2, 3), (850_000, 1_000_000), (1_000_000, 1_176_471)] {
            assert_eq!(rate.mark_up(Cpm(net)), Cpm(gross), "{net}");
        }
        assert_eq!(TakeRate::MAX.mark_up(Cpm(i64::MAX)), Cpm(i64::MAX));
        assert_eq!(TakeRate::MAX.mark_up_by_second(CpmPerSecond(i64::MAX)), CpmPerSecond(i64::MAX));
    }

    proptest! {
        #[test]
        fn what_is_left_of_a_marked_up_floor_is_the_floor_or_a_micro_more(
            points in 0u16..=9_000,
            floor in 0i64..=1_000_000_000_000_000,
        ) {
            let (rate, floor) = (TakeRate(points), Cpm(floor));
            let gross = rate.mark_up(floor);
            prop_assert!(gross >= floor);
            let net = rate.net(gross);
            prop_assert!(floor <= net && net.0 - floor.0 <= 1);
            prop_assert!(rate.is_none() || rate.mark_up(net) >= gross);
        }

        #[test]
        fn the_net_is_within_a_micro_of_what_is_agreed_and_grows_with_the_price(
            points in 0u16..=9_000,
            gross in 1i64..=i64::MAX,
        ) {
            let rate = TakeRate(points);
            let net = rate.net(Cpm(gross));
            prop_assert!(net > Cpm::ZERO && net <= Cpm(gross));
            let exact = i128::from(gross) * i128::from(10_000 - points);
            let told = i128::from(net.0) * 10_000;
            prop_assert!(told >= exact && told - exact < 10_000);
            prop_assert!(rate.net(Cpm(gross - 1)) <= net);
        }

        #[test]
        fn a_bid_of_a_marked_up_floor_by_the_second_reaches_that_of_its_duration(
            points in 0u16..=9_000,
            nanos in 0i64..=10_000_000_000,
            seconds in 1u32..7_200,
        ) {
            let (rate, floor) = (TakeRate(points), CpmPerSecond(nanos));
            let bid = rate.mark_up_by_second(floor).over(seconds);
            prop_assert!(bid >= rate.mark_up(floor.over(seconds)));
            prop_assert!(rate.net(bid) >= floor.over(seconds));
        }
    }
}
