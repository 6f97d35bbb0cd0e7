//! When requests are sent.
//!
//! Owns: [`Schedule`], the plan as data, and [`Arrivals`], the moments that follow from it. Pure:
//! no clock; a moment is an offset from the start of the run. Invariant: offsets never decrease.

use crate::random::Random;
use std::fmt;
use std::time::Duration;

/// When requests are sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Open loop, evenly: so many a second.
    Constant { per_second: f64 },
    /// Open loop, with the gaps of independent senders: so many a second on average.
    Poisson { per_second: f64, seed: u64 },
    /// Open loop, at a rate that changes; `poisson`: the seed of independent gaps, else even ones.
    Stages { stages: Vec<Stage>, poisson: Option<u64>, bursts: Vec<Burst> },
    /// Open loop, when the source says that they came, so many times as fast.
    Recorded { speed: f64 },
    /// Closed loop: each connection sends again as soon as it has its answer. It finds the highest
    /// rate; its latencies say nothing about what a partner would see.
    Saturate,
}

/// A stretch in which the rate goes evenly from one value to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// `None`: without end.
    pub time: Option<Duration>,
    pub from: f64,
    pub to: f64,
}

/// Many requests at one moment, again and again; beside the other ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The first one comes after this time, too.
    pub every: Duration,
    pub count: u64,
}

/// When the next request is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long after the start.
    At(Duration),
    /// As soon as a connection is free.
    WhenFree,
    /// When the source says.
    Recorded,
}

/// Highest rate that is taken for meant.
const PER_SECOND_MAX: f64 = 10_000_000.0;

/// Why a schedule is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    #[error("the rate must be above 0 and at most 10,000,000 a second, not {0}")]
    Rate(f64),
    #[error("the speed must be above 0 and at most 1,000, not {0}")]
    Speed(f64),
    #[error("no stage has a rate above 0")]
    NoStage,
    #[error("a burst needs a time above 0 and 1 to 1,000,000 requests")]
    Burst,
}

/// Most requests of one burst.
const BURST_MAX: u64 = 1_000_000;

// === impl Schedule ===

impl Schedule {
    /// The rate that is asked for; `None` where there is none, or more than one.
    pub fn per_second(&self) -> Option<f64> {
        match self {
            Self::Constant { per_second } | Self::Poisson { per_second, .. } => Some(*per_second),
            Self::Stages { .. } | Self::Recorded { .. } | Self::Saturate => None,
        }
    }

    /// Whether it is one.
    pub fn check(&self) -> Result<(), ScheduleError> {
        let is_rate = |rate: f64| rate > 0.0 && rate <= PER_SECOND_MAX;
        match self {
            Self::Constant { per_second } | Self::Poisson { per_second, .. } => {
                is_rate(*per_second).then_some(()).ok_or(ScheduleError::Rate(*per_second))
            }
            Self::Recorded { speed } if !(*speed > 0.0 && *speed <= 1_000.0) => {
                Err(ScheduleError::Speed(*speed))
            }
            Self::Stages { stages, bursts, .. } => {
                for rate in stages.iter().flat_map(|stage| [stage.from, stage.to]) {
                    if !is_rate(rate) && rate.to_bits() != 0 {
                        return Err(ScheduleError::Rate(rate));
                    }
                }
                if !stages.iter().any(|stage| stage.from + stage.to > 0.0) {
                    return Err(ScheduleError::NoStage);
                }
                let is_burst = |burst: &Burst| {
                    !burst.every.is_zero() && (1..=BURST_MAX).contains(&burst.count)
                };
                bursts.iter().all(is_burst).then_some(()).ok_or(ScheduleError::Burst)
            }
            Self::Recorded { .. } | Self::Saturate => Ok(()),
        }
    }

    /// The moments.
    pub fn arrivals(&self) -> Arrivals {
        let forever = |rate| vec![Stage { time: None, from: rate, to: rate }];
        match self {
            Self::Constant { per_second } => {
                Arrivals::Rate(Rate::new(forever(*per_second), None, &[]))
            }
            Self::Poisson { per_second, seed } => {
                Arrivals::Rate(Rate::new(forever(*per_second), Some(*seed), &[]))
            }
            Self::Stages { stages, poisson, bursts } => {
                Arrivals::Rate(Rate::new(stages.clone(), *poisson, bursts))
            }
            Self::Recorded { .. } => Arrivals::Always(Moment::Recorded),
            Self::Saturate => Arrivals::Always(Moment::WhenFree),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant { per_second } => write!(f, "constant {per_second}/s"),
            Self::Poisson { per_second, .. } => write!(f, "poisson {per_second}/s"),
            Self::Recorded { speed } => write!(f, "recorded x{speed}"),
            Self::Saturate => write!(f, "saturate"),
            Self::Stages { stages, poisson, bursts } => {
                let one = |stage: &Stage| match stage.time {
                    None => format!("{}/s", stage.from),
                    Some(time) => format!("{time:?}:{}-{}/s", stage.from, stage.to),
                };
                let stages: Vec<String> = stages.iter().map(one).collect();
                write!(f, "stages {}", stages.join(","))?;
                if poisson.is_some() {
                    write!(f, " poisson")?;
                }
                bursts
                    .iter()
                    .try_for_each(|burst| write!(f, " + every {:?}: {}", burst.every, burst.count))
            }
        }
    }
}

// === the moments ===

/// The moments of a schedule, one after the other; it ends where the last stage does.
#[derive(Clone, Debug)]
pub enum Arrivals {
    Rate(Rate),
    Always(Moment),
}

/// The moments of a rate that changes. The `n`th request comes when the rate, added up from the
/// start, reaches `n` (with even gaps) or the `n`th moment of a Poisson process of rate 1: so
/// rounding does not add up, and a ramp is exact.
#[derive(Clone, Debug)]
pub struct Rate {
    stages: Vec<Stage>,
    stage: usize,
    /// The rate added up over all stages before this one, and when this one begins in seconds.
    before: f64,
    begins: f64,
    /// Requests given, and where the Poisson process stands.
    given: u64,
    poisson: Option<(Random, f64)>,
    next: Option<Duration>,
    /// When the last stage does; `None`: never.
    ends: Option<Duration>,
    bursts: Vec<Recurring>,
}

#[derive(Clone, Copy, Debug)]
struct Recurring {
    burst: Burst,
    /// When the next one comes, and how many of it are left.
    at: Duration,
    left: u64,
}

impl Iterator for Arrivals {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        match self {
            Self::Rate(rate) => rate.next().map(Moment::At),
            Self::Always(moment) => Some(*moment),
        }
    }
}

impl Arrivals {
    /// When the last stage ends; `None`: never.
    pub fn end(&self) -> Option<Duration> {
        match self {
            Self::Rate(rate) => rate.ends,
            Self::Always(_) => None,
        }
    }
}

impl Rate {
    fn new(stages: Vec<Stage>, poisson: Option<u64>, bursts: &[Burst]) -> Self {
        let recurring =
            |burst: &Burst| Recurring { burst: *burst, at: burst.every, left: burst.count };
        let mut this = Self {
            ends: stages.iter().map(|stage| stage.time).sum(),
            stages,
            stage: 0,
            before: 0.0,
            begins: 0.0,
            given: 0,
            poisson: poisson.map(|seed| (Random::seeded(seed), 0.0)),
            next: None,
            bursts: bursts.iter().map(recurring).collect(),
        };
        this.next = this.smooth();
        this
    }

    /// The next moment, bursts aside.
    fn smooth(&mut self) -> Option<Duration> {
        let unit = match &mut self.poisson {
            None => self.given as f64,
            Some((random, sum)) => {
                *sum -= (1.0 - random.unit()).ln();
                *sum
            }
        };
        self.given += 1;
        loop {
            let stage = self.stages.get(self.stage)?;
            let rest = unit - self.before;
            let Some(time) = stage.time.map(|time| time.as_secs_f64()) else {
                return Some(offset(self.begins + rest / stage.from));
            };
            let area = f64::midpoint(stage.from, stage.to) * time;
            if rest < area {
                let slope = (stage.to - stage.from) / time;
                // the root of slope/2 t² + from t = rest, in the form that does not cancel
                let root = (stage.from * stage.from + 2.0 * slope * rest).max(0.0).sqrt();
                let inside = if rest > 0.0 { 2.0 * rest / (stage.from + root) } else { 0.0 };
                return Some(offset(self.begins + inside));
            }
            self.before += area;
            self.begins += time;
            self.stage += 1;
        }
    }
}

/// An offset in seconds; what is beyond every clock never comes, and is not due at once.
pub(crate) fn offset(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(if seconds > 0.0 {
        Duration::MAX
    } else {
        Duration::ZERO
    })
}

impl Iterator for Rate {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let (next, ends) = (self.next, self.ends);
        // bursts go on also where the rate has come to nothing, until the last stage ends
        let is_first = |at: Duration| match next {
            Some(next) => at <= next,
            None => ends.is_some_and(|ends| at < ends),
        };
        let burst = self.bursts.iter_mut().min_by_key(|burst| burst.at);
        if let Some(burst) = burst.filter(|burst| is_first(burst.at)) {
            let at = burst.at;
            burst.left -= 1;
            if burst.left == 0 {
                burst.at += burst.burst.every;
                burst.left = burst.burst.count;
            }
            return Some(at);
        }
        if next.is_some() {
            self.next = self.smooth();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(schedule: &Schedule, count: usize) -> Vec<Duration> {
        let at = |moment| match moment {
            Moment::At(at) => at,
            Moment::WhenFree | Moment::Recorded => unreachable!("an open loop with a rate"),
        };
        schedule.arrivals().take(count).map(at).collect()
    }

    fn stage(seconds: u64, from: f64, to: f64) -> Stage {
        Stage { time: Some(Duration::from_secs(seconds)), from, to }
    }

    #[test]
    fn a_constant_rate_does_not_drift() {
        let schedule = Schedule::Constant { per_second: 3_000.0 };
        let last = offsets(&schedule, 3_000_001).pop().unwrap();
        assert!(last.abs_diff(Duration::from_secs(1_000)) < Duration::from_micros(1), "{last:?}");
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() {
        let schedule = Schedule::Poisson { per_second: 1_000.0, seed: 5 };
        let moments = offsets(&schedule, 100_000);
        assert!(moments.is_sorted());
        let gaps: Vec<f64> = moments
            .windows(2)
            .map(|pair| (pair[1].saturating_sub(pair[0])).as_secs_f64() * 1e3)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "mean {mean}");
        assert!((spread.sqrt() - 1.0).abs() < 0.03, "deviation {}", spread.sqrt());
        assert_eq!(moments, offsets(&schedule, 100_000));
    }

    #[test]
    fn stages_ramp_evenly_and_end() {
        let stages = vec![stage(10, 100.0, 100.0), stage(10, 0.0, 200.0), stage(1, 50.0, 0.0)];
        let schedule = Schedule::Stages { stages, poisson: None, bursts: Vec::new() };
        schedule.check().unwrap();
        let moments = offsets(&schedule, 10_000);
        assert_eq!(moments.len(), 1_000 + 1_000 + 25);
        assert!(moments.is_sorted());
        let within = |from: u64, to: u64| {
            let range = Duration::from_secs(from)..Duration::from_secs(to);
            moments.iter().filter(|at| range.contains(*at)).count()
        };
        assert_eq!((within(0, 10), within(10, 15), within(15, 20)), (1_000, 250, 750));
        assert_eq!(schedule.arrivals().end(), Some(Duration::from_secs(21)));
    }

    #[test]
    fn bursts_come_beside_the_rate_and_all_at_once() {
        let schedule = Schedule::Stages {
            stages: vec![stage(5, 10.0, 10.0)],
            poisson: None,
            bursts: vec![Burst { every: Duration::from_secs(2), count: 30 }],
        };
        let moments = offsets(&schedule, 1_000);
        assert_eq!(moments.len(), 50 + 60);
        assert!(moments.is_sorted());
        let at = |seconds| moments.iter().filter(|at| **at == Duration::from_secs(seconds)).count();
        assert_eq!((at(1), at(2), at(4)), (1, 31, 31));
    }

    #[test]
    fn bursts_go_on_where_the_rate_has_come_to_nothing() {
        let bursts = vec![Burst { every: Duration::from_secs(1), count: 10 }];
        for (stages, poisson) in [
            (vec![stage(1, 5.0, 5.0), stage(4, 0.0, 0.0)], None),
            (vec![stage(1, 0.0, 10.0), stage(4, 0.0, 0.0)], Some(3)),
        ] {
            let schedule = Schedule::Stages { stages, poisson, bursts: bursts.clone() };
            let moments = offsets(&schedule, 1_000);
            assert!(moments.is_sorted());
            let late = moments.iter().filter(|at| **at >= Duration::from_secs(1));
            assert_eq!(late.count(), 40, "{schedule}");
            let last = moments.last().copied();
            assert_eq!(last, Some(Duration::from_secs(4)), "none at the end itself");
            let mut arrivals = schedule.arrivals();
            assert_eq!(arrivals.by_ref().count(), moments.len());
            assert_eq!(arrivals.next(), None, "it has ended");
        }
    }

    #[test]
    fn a_schedule_that_is_none_is_refused() {
        let stages = |stages| Schedule::Stages { stages, poisson: None, bursts: Vec::new() };
        for schedule in [
            Schedule::Constant { per_second: 0.0 },
            Schedule::Constant { per_second: f64::NAN },
            Schedule::Poisson { per_second: -1.0, seed: 1 },
            Schedule::Recorded { speed: 0.0 },
            stages(vec![]),
            stages(vec![stage(1, 0.0, 0.0)]),
            stages(vec![stage(1, 5.0, f64::INFINITY)]),
        ] {
            assert!(schedule.check().is_err(), "{schedule:?}");
        }
        stages(vec![stage(1, 0.0, 0.0), stage(1, 0.0, 9.0)]).check().unwrap();
    }
}
