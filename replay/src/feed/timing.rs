//! When the records of a source are due.
//!
//! Owns: the offset of each from the start of the run, whatever the schedule. Pure. Invariant:
//! offsets never decrease; the end of a plan is the moment at which the first request that it no
//! longer has would be due, so that what was sent divided by the time is the rate that was asked
//! for, but never later than its time allows, nor than a mean gap behind its last request.

use crate::drive::schedule::{Arrivals, Moment, Schedule, offset};
use crate::wire::poller::nanos;
use std::time::Duration;

/// See the file's header.
pub(super) struct Timing {
    arrivals: Arrivals,
    per_second: Option<f64>,
    speed: f64,
    time_max: Duration,
    /// Time of the first and of the last record of the round; how many.
    first: Option<Duration>,
    latest: Duration,
    count: u32,
    /// Where the round begins.
    base: Duration,
    last: u64,
    /// Requests that were given an offset.
    given: u64,
}

/// Where a record has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// At this offset; without one as soon as a connection is free. Nanoseconds.
    At(Option<u64>),
    /// The plan is over, at this offset. Nanoseconds.
    End(u64),
}

impl Timing {
    pub fn new(schedule: &Schedule, time_max: Duration) -> Self {
        let speed = match schedule {
            Schedule::Recorded { speed } => *speed,
            _ => 1.0,
        };
        Self {
            arrivals: schedule.arrivals(),
            per_second: schedule.per_second(),
            speed,
            time_max,
            first: None,
            latest: Duration::ZERO,
            count: 0,
            base: Duration::ZERO,
            last: 0,
            given: 0,
        }
    }

    /// Of a record with this time. `is_over`: the plan has its requests.
    pub fn next(&mut self, recorded: Duration, is_over: bool) -> Next {
        let Some(moment) = self.arrivals.next() else { return Next::End(self.end()) };
        let offset = match moment {
            Moment::WhenFree if is_over => return Next::End(self.last),
            Moment::WhenFree => return Next::At(None),
            Moment::At(at) => at,
            Moment::Recorded => self.recorded(recorded),
        };
        // the next request may be an hour away
        if is_over {
            return Next::End(self.soon(offset));
        }
        if offset >= self.time_max {
            return Next::End(nanos(self.time_max));
        }
        self.given += 1;
        self.last = nanos(offset);
        Next::At(Some(self.last))
    }

    fn recorded(&mut self, at: Duration) -> Duration {
        let first = *self.first.get_or_insert(at);
        self.latest = self.latest.max(at);
        self.count = self.count.saturating_add(1);
        self.base.saturating_add(self.scaled(at.saturating_sub(first)))
    }

    fn scaled(&self, time: Duration) -> Duration {
        offset(time.as_secs_f64() / self.speed)
    }

    /// The source begins anew: one mean gap after its last record.
    pub fn turn(&mut self) {
        self.base = self.base.saturating_add(self.length());
        self.first = None;
        self.latest = Duration::ZERO;
        self.count = 0;
    }

    /// Of the round so far, with a mean gap behind its last record.
    fn length(&self) -> Duration {
        let span = self.latest.saturating_sub(self.first.unwrap_or_default());
        let gap = span.checked_div(self.count.saturating_sub(1)).unwrap_or(Duration::from_secs(1));
        self.scaled(span.saturating_add(gap))
    }

    /// Of the last record that was given.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Where the plan ends, now that nothing more comes.
    pub fn end(&mut self) -> u64 {
        if let Some(end) = self.arrivals.end() {
            return nanos(end.min(self.time_max));
        }
        match self.arrivals.next() {
            Some(Moment::At(at)) => self.soon(at),
            Some(Moment::Recorded) => self.soon(self.base.saturating_add(self.length_if_any())),
            Some(Moment::WhenFree) | None => self.last,
        }
    }

    /// Where the plan ends whose next request would be due then: within the time, and a mean gap
    /// behind the last request at most.
    fn soon(&self, due: Duration) -> u64 {
        let gap = match (self.per_second, self.given.saturating_sub(1)) {
            (Some(rate), _) => nanos(offset(1.0 / rate)),
            // one request alone has no gap: as if it were one a second
            (None, 0) => nanos(self.scaled(Duration::from_secs(1))),
            (None, gaps) => self.last / gaps,
        };
        nanos(due.min(self.time_max)).min(self.last.saturating_add(gap))
    }

    fn length_if_any(&self) -> Duration {
        if self.count == 0 { Duration::ZERO } else { self.length() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::schedule::Stage;

    const DAY: Duration = Duration::from_secs(86_400);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(at_ms: u64) -> Next {
        Next::At(Some(nanos(ms(at_ms))))
    }

    #[test]
    fn recorded_times_count_from_the_first_one_and_rounds_follow_each_other() {
        let mut timing = Timing::new(&Schedule::Recorded { speed: 2.0 }, DAY);
        for round in 0..3 {
            let base = round * 150;
            assert_eq!(timing.next(ms(1_000), false), at(base));
            assert_eq!(timing.next(ms(1_000), false), at(base));
            assert_eq!(timing.next(ms(1_200), false), at(base + 100));
            timing.turn();
        }
        assert_eq!(timing.end(), nanos(ms(450)));
    }

    #[test]
    fn a_plan_ends_when_its_next_request_would_be_due() {
        let constant = Schedule::Constant { per_second: 10.0 };
        let mut timing = Timing::new(&constant, ms(250));
        for at_ms in [0, 100, 200] {
            assert_eq!(timing.next(DAY, false), at(at_ms));
        }
        assert_eq!(timing.next(DAY, false), Next::End(nanos(ms(250))));
        let mut timing = Timing::new(&constant, DAY);
        assert_eq!(timing.next(DAY, false), at(0));
        assert_eq!(timing.next(DAY, true), Next::End(nanos(ms(100))));
        let mut timing = Timing::new(&Schedule::Recorded { speed: 1.0 }, ms(50));
        assert_eq!(timing.next(ms(0), false), at(0));
        assert_eq!(timing.next(DAY, false), Next::End(nanos(ms(50))));
    }

    #[test]
    fn a_plan_never_ends_later_than_its_time_or_a_mean_gap_behind_its_last_request() {
        let constant = |per_second| Schedule::Constant { per_second };
        let stages = |from| {
            let stage =
                |secs, rate| Stage { time: Some(Duration::from_secs(secs)), from: rate, to: rate };
            let stages = vec![stage(1, from), stage(86_400, 0.0), stage(1, 10.0)];
            Schedule::Stages { stages, poisson: None, bursts: Vec::new() }
        };
        let recorded = Schedule::Recorded { speed: 1.0 };
        // schedule, milliseconds that are allowed, requests, latest end in milliseconds
        for (schedule, time_max, requests, end) in [
            (constant(0.1), 2_000, u64::MAX, 2_000),
            (constant(1e-9), 1_000, u64::MAX, 1_000),
            (constant(1e-300), 1_000, u64::MAX, 1_000),
            (Schedule::Poisson { per_second: 1e-9, seed: 1 }, 1_000, u64::MAX, 1_000),
            (Schedule::Poisson { per_second: 10.0, seed: 1 }, u64::MAX, 1, 1_000),
            (stages(10.0), 3_000, u64::MAX, 3_000),
            (stages(10.0), u64::MAX, 10, 1_000),
            (recorded.clone(), u64::MAX, 10, 1_000),
            (recorded.clone(), u64::MAX, 1, 1_000),
            (recorded, 2_500, u64::MAX, 2_500),
        ] {
            let mut timing = Timing::new(&schedule, Duration::from_millis(time_max));
            let mut given = 0;
            // ten records 100 ms apart, and one a day later
            let found = loop {
                let record = if given < 10 { ms(100 * given) } else { DAY };
                match timing.next(record, given >= requests) {
                    Next::At(_) => given += 1,
                    Next::End(end) => break end,
                }
            };
            assert!(found <= nanos(ms(end)), "{schedule}: {found}, {end} ms are allowed");
        }
    }
}
