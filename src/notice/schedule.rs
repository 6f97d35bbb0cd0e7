//! When a notice that was not taken is sent again, and how many tries there may be in all.
//!
//! Owns: [`RetrySettings`], [`Budget`]. Never: a clock, a source of chance: both are handed in.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

/// The tries of one notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Tries of one notice, the first included.
    pub tries_max: u32,
    /// So many gaps are `steady_gap` long; those behind them grow fourfold each, to fill `span`.
    pub steady_gaps: u32,
    pub steady_gap: Duration,
    /// After so long a notice that is not delivered is dead, however few its tries were.
    pub span: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            tries_max: 12,
            steady_gaps: 6,
            steady_gap: Duration::from_secs(10),
            span: Duration::from_secs(24 * 3600),
        }
    }
}

/// By how much each gap behind the steady ones is longer than the one before.
const GROWTH: u64 = 4;

/// So long before its time is over a notice comes once more.
const LAST_BEFORE: Duration = Duration::from_secs(10);

impl RetrySettings {
    /// The gap behind so many failed tries, before chance is added.
    pub fn gap(&self, tries: u32) -> Duration {
        let steady = self.steady_gaps.min(self.tries_max.saturating_sub(1));
        let growing = self.tries_max.saturating_sub(1).saturating_sub(steady);
        let Some(nth) = tries.checked_sub(steady.saturating_add(1)) else {
            return self.steady_gap;
        };
        let weight = |nth: u32| GROWTH.saturating_pow(nth.min(20));
        let sum = (0..growing).fold(0_u64, |sum, nth| sum.saturating_add(weight(nth))).max(1);
        let used = self.steady_gap.saturating_mul(steady);
        let left = millis(self.span.saturating_sub(used));
        Duration::from_millis(left.saturating_mul(weight(nth)).checked_div(sum).unwrap_or(left))
    }

    /// When the next try is, in microseconds since the epoch, after so many failed ones; `None`
    /// where there is none. Full jitter: anywhere from now to twice the gap, so that what failed
    /// together does not come again together.
    pub fn next(&self, tries: u32, first_us: u64, now_us: u64, chance: u64) -> Option<u64> {
        if tries >= self.tries_max || self.is_over(first_us, now_us) {
            return None;
        }
        let most = micros(self.gap(tries)).saturating_mul(2).saturating_add(1);
        let wait = chance.checked_rem(most).unwrap_or(0);
        Some(now_us.saturating_add(wait).min(first_us.saturating_add(micros(self.span))))
    }

    /// The gap behind a failed try of a notice that is so old, where nobody has counted its tries: as
    /// if each gap so far had been as long as it is on average.
    pub fn gap_at(&self, age: Duration) -> Duration {
        let mut end = Duration::ZERO;
        let mut gaps = (1..self.tries_max).map(|tries| self.gap(tries));
        let gap = gaps.find(|gap| {
            end = end.saturating_add(*gap);
            age < end
        });
        gap.unwrap_or_else(|| self.gap(self.tries_max.saturating_sub(1).max(1)))
    }

    /// When one whose tries nobody has counted comes again: after the gap on average, and once more
    /// shortly before its time is over. `None`: it is over.
    pub fn again(&self, gap: Duration, first_us: u64, now_us: u64, chance: u64) -> Option<u64> {
        if self.is_over(first_us, now_us) {
            return None;
        }
        let end_us = first_us.saturating_add(micros(self.span));
        let last_us = end_us
            .saturating_sub(micros(LAST_BEFORE.min(self.span.checked_div(10).unwrap_or_default())));
        let most = micros(gap).saturating_mul(2).saturating_add(1);
        let due_us = now_us.saturating_add(chance.checked_rem(most).unwrap_or(0));
        Some(due_us.min(if now_us < last_us { last_us } else { end_us }))
    }

    /// Whether no try begins any more.
    pub fn is_over(&self, first_us: u64, now_us: u64) -> bool {
        now_us >= first_us.saturating_add(micros(self.span))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As records have it.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Thousandths of a try that a new notice earns: a tenth.
const EARNED: u64 = 100;
/// ... that a second earns, so that a bidder with few notices is tried again at all.
const EARNED_A_SECOND: u64 = 100;
/// ... that a failed try costs.
const COST: u64 = 1000;

/// How many tries of one bidder may fail: a tenth of its notices, and a few. With none left a notice
/// that has failed before waits; one that is taken costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    milli: u64,
    most: u64,
}

impl Budget {
    /// Full, with room for so many tries.
    pub fn new(tries: u32) -> Self {
        let most = u64::from(tries).saturating_mul(COST);
        Self { milli: most, most }
    }

    /// New notices came.
    pub fn earn(&mut self, notices: u64) {
        self.add(notices.saturating_mul(EARNED));
    }

    /// Time went by.
    pub fn rest(&mut self, time: Duration) {
        let earned = millis(time).saturating_mul(EARNED_A_SECOND).checked_div(1000);
        self.add(earned.unwrap_or(0));
    }

    fn add(&mut self, milli: u64) {
        self.milli = self.milli.saturating_add(milli).min(self.most);
    }

    /// Whether a try beyond the first of a notice may be made.
    pub fn has_one(&self) -> bool {
        self.milli >= COST
    }

    /// A try has failed.
    pub fn spend(&mut self) {
        self.milli = self.milli.saturating_sub(COST);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "a test may panic")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn six_gaps_of_ten_seconds_then_growing_ones_until_a_day_is_over() {
        let retry = RetrySettings::default();
        let gaps: Vec<u64> = (1..12).map(|tries| retry.gap(tries).as_secs()).collect();
        assert_eq!(gaps, [10, 10, 10, 10, 10, 10, 253, 1012, 4051, 16204, 64818]);
        let whole: u64 = (1..12).map(|tries| millis(retry.gap(tries))).sum();
        assert!((86_399_000..=86_400_000).contains(&whole), "{whole}");
    }

    #[test]
    fn there_is_no_try_beyond_the_twelfth_or_the_day() {
        let retry = RetrySettings::default();
        let day = 86_400_000_000;
        assert_eq!(retry.next(12, 0, 1, 0), None);
        assert_eq!(retry.next(1, 0, day, 0), None);
        assert_eq!(retry.next(1, 0, day - 1, u64::MAX / 2 + 1), Some(day));
        assert_eq!(retry.next(11, 0, 5, 7), Some(12));
    }

    #[test]
    fn where_tries_are_not_counted_the_age_says_how_long_the_gap_is() {
        let retry = RetrySettings::default();
        let gaps = [0, 59, 60, 312, 314, 30_000, 90_000].map(|age| {
            let gap = retry.gap_at(Duration::from_secs(age));
            gap.as_secs()
        });
        assert_eq!(gaps, [10, 10, 253, 253, 1012, 64818, 64818]);
        let once = RetrySettings { tries_max: 1, ..retry };
        assert_eq!(once.gap_at(Duration::ZERO), once.span);
    }

    #[test]
    fn what_waits_comes_once_more_before_its_time_is_over() {
        let retry = RetrySettings { span: Duration::from_secs(60), ..RetrySettings::default() };
        let (gap, late) = (Duration::from_secs(40), 80_000_000);
        assert_eq!(retry.again(gap, 0, 5, 7), Some(12));
        assert_eq!(retry.again(gap, 0, 5, late), Some(54_000_000));
        assert_eq!(retry.again(gap, 0, 54_000_000, late), Some(60_000_000));
        assert_eq!(retry.again(gap, 0, 60_000_000, 0), None);
    }

    proptest! {
        #[test]
        fn the_next_try_is_within_twice_the_gap(
            tries in 1_u32..12, now in 0_u64..86_400_000_000, chance in any::<u64>(),
        ) {
            let retry = RetrySettings::default();
            let next = retry.next(tries, 0, now, chance).unwrap();
            prop_assert!(next >= now && next <= now + 2 * micros(retry.gap(tries)));
        }
    }

    #[test]
    fn a_budget_is_a_tenth_of_the_notices_and_what_it_began_with() {
        let mut budget = Budget::new(5);
        let spent = |budget: &mut Budget| {
            (0..1000).filter(|_| budget.has_one().then(|| budget.spend()).is_some()).count()
        };
        assert_eq!(spent(&mut budget), 5);
        budget.earn(29);
        assert_eq!(spent(&mut budget), 2);
        budget.rest(Duration::from_secs(31));
        assert_eq!(spent(&mut budget), 4, "9 tenths were left, 31 came");
        budget.earn(1_000_000);
        assert_eq!(spent(&mut budget), 5);
    }
}
