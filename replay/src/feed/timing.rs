//! When the records of a source are due.
//!
//! Owns: the offset of each from the start of the run, whatever the schedule. Pure. Invariant:
//! offsets never decrease; the end of a plan is the moment at which the first request that it no
//! longer has would be due, so that what was sent divided by the time is the rate that was asked
//! for.

use crate::drive::schedule::{Arrivals, Moment, Schedule};
use crate::random::seconds;
use crate::wire::poller::nanos;
use std::time::Duration;

/// See the file's header.
pub(super) struct Timing {
    arrivals: Arrivals,
    speed: f64,
    time_max: Duration,
    /// Time of the first and of the last record of the round; how many.
    first: Option<Duration>,
    latest: Duration,
    count: u32,
    /// Where the round begins.
    base: Duration,
    last: u64,
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
            speed,
            time_max,
            first: None,
            latest: Duration::ZERO,
            count: 0,
            base: Duration::ZERO,
            last: 0,
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
        if is_over || offset >= self.time_max {
            // a recording may have a gap of an hour here
            let is_recorded = moment == Moment::Recorded;
            return Next::End(nanos(if is_recorded { offset.min(self.time_max) } else { offset }));
        }
        self.last = nanos(offset);
        Next::At(Some(self.last))
    }

    fn recorded(&mut self, at: Duration) -> Duration {
        let first = *self.first.get_or_insert(at);
        self.latest = self.latest.max(at);
        self.count = self.count.saturating_add(1);
        self.base + self.scaled(at.saturating_sub(first))
    }

    fn scaled(&self, time: Duration) -> Duration {
        seconds(time.as_secs_f64() / self.speed)
    }

    /// The source begins anew: one mean gap after its last record.
    pub fn turn(&mut self) {
        self.base += self.length();
        self.first = None;
        self.latest = Duration::ZERO;
        self.count = 0;
    }

    /// Of the round so far, with a mean gap behind its last record.
    fn length(&self) -> Duration {
        let span = self.latest.saturating_sub(self.first.unwrap_or_default());
        let gap = span.checked_div(self.count.saturating_sub(1)).unwrap_or(Duration::from_secs(1));
        self.scaled(span + gap)
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
            Some(Moment::At(at)) => nanos(at.min(self.time_max)),
            Some(Moment::Recorded) => nanos((self.base + self.length_if_any()).min(self.time_max)),
            Some(Moment::WhenFree) | None => self.last,
        }
    }

    fn length_if_any(&self) -> Duration {
        if self.count == 0 { Duration::ZERO } else { self.length() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(timing.next(DAY, false), Next::End(nanos(ms(300))));
        let mut timing = Timing::new(&constant, DAY);
        assert_eq!(timing.next(DAY, false), at(0));
        assert_eq!(timing.next(DAY, true), Next::End(nanos(ms(100))));
        let mut timing = Timing::new(&Schedule::Recorded { speed: 1.0 }, ms(50));
        assert_eq!(timing.next(ms(0), false), at(0));
        assert_eq!(timing.next(DAY, false), Next::End(nanos(ms(50))));
    }
}
