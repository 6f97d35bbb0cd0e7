//! When requests are sent.
//!
//! Owns: [`Schedule`], the plan as data, and [`Arrivals`], the moments that follow from it. Pure:
//! no clock; a moment is an offset from the start of the run. Invariant: offsets never decrease,
//! and the shards of a run together give exactly the moments of the whole.

use crate::random::{Random, seconds};
use std::time::Duration;

/// When requests are sent. Recorded timing, stages and bursts will be further variants.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Open loop, evenly: so many a second.
    Constant { per_second: f64 },
    /// Open loop, with the gaps of independent senders: so many a second on average.
    Poisson { per_second: f64, seed: u64 },
    /// Closed loop: each connection sends again as soon as it has its answer. It finds the highest
    /// rate; its latencies say nothing about what a partner would see.
    Saturate,
}

/// One part of a run that is shared by several threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// `0..of`.
    pub index: u32,
    pub of: u32,
}

/// When the next request is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after the start.
    At(Duration),
    /// As soon as a connection is free.
    WhenFree,
}

/// One request's place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub moment: Moment,
    /// Its number in the whole run, from 0; says which body is sent.
    pub number: u64,
}

/// The moments of one share, one after the other, without end.
#[derive(Clone, Debug)]
pub struct Arrivals {
    kind: Kind,
    share: Share,
    /// How many this share has given.
    given: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    Constant { gap: f64 },
    Poisson { mean: Duration, at: Duration, random: Random },
    Saturate,
}

impl Schedule {
    /// The rate that is asked for; `None` where there is none.
    pub fn per_second(&self) -> Option<f64> {
        match self {
            Self::Constant { per_second } | Self::Poisson { per_second, .. } => Some(*per_second),
            Self::Saturate => None,
        }
    }

    /// The moments of one share.
    pub fn arrivals(&self, share: Share) -> Arrivals {
        let kind = match self {
            Self::Constant { per_second } => Kind::Constant { gap: per_second.recip() },
            // independent streams of a part of the rate add up to one of the whole rate
            Self::Poisson { per_second, seed } => Kind::Poisson {
                mean: seconds(f64::from(share.of) / per_second),
                at: Duration::ZERO,
                random: Random::for_item(*seed, u64::from(share.index)),
            },
            Self::Saturate => Kind::Saturate,
        };
        Arrivals { kind, share, given: 0 }
    }
}

impl Iterator for Arrivals {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let number = u64::from(self.share.index) + self.given * u64::from(self.share.of);
        self.given += 1;
        let moment = match &mut self.kind {
            // from the number, not from the last moment: rounding does not add up
            Kind::Constant { gap } => Moment::At(seconds(number as f64 * *gap)),
            Kind::Poisson { mean, at, random } => {
                *at += random.waiting(*mean);
                Moment::At(*at)
            }
            Kind::Saturate => Moment::WhenFree,
        };
        Some(Planned { moment, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(schedule: &Schedule, share: Share, count: usize) -> Vec<Duration> {
        let at = |planned: Planned| match planned.moment {
            Moment::At(at) => at,
            Moment::WhenFree => unreachable!("an open loop"),
        };
        schedule.arrivals(share).take(count).map(at).collect()
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        let schedule = Schedule::Constant { per_second: 3_000.0 };
        let whole = Share { index: 0, of: 1 };
        let last = offsets(&schedule, whole, 3_000_001).pop().unwrap();
        assert!(last.abs_diff(Duration::from_secs(1_000)) < Duration::from_micros(1), "{last:?}");
    }

    #[test]
    fn shares_of_a_constant_rate_interleave_to_the_whole() {
        let schedule = Schedule::Constant { per_second: 1_000.0 };
        let whole = offsets(&schedule, Share { index: 0, of: 1 }, 30);
        let mut parts: Vec<Duration> =
            (0..3).flat_map(|index| offsets(&schedule, Share { index, of: 3 }, 10)).collect();
        parts.sort();
        assert_eq!(whole, parts);
        let mut numbers: Vec<u64> = (0..3)
            .flat_map(|index| schedule.arrivals(Share { index, of: 3 }).take(10))
            .map(|planned| planned.number)
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() {
        let schedule = Schedule::Poisson { per_second: 1_000.0, seed: 5 };
        let moments = offsets(&schedule, Share { index: 0, of: 1 }, 100_000);
        assert!(moments.is_sorted());
        let gaps: Vec<f64> = moments
            .windows(2)
            .map(|pair| (pair[1].saturating_sub(pair[0])).as_secs_f64() * 1e3)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "mean {mean}");
        assert!((spread.sqrt() - 1.0).abs() < 0.03, "deviation {}", spread.sqrt());
        assert_eq!(moments, offsets(&schedule, Share { index: 0, of: 1 }, 100_000));
    }
}
