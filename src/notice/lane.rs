//! One bidder's notices: what waits, what may go out now.
//!
//! Owns: [`Lane`], [`Job`]. Never: a connection, a file. Invariant: a bidder that fails is left alone
//! but for one try each `probe_every`, and never has more tries than its notices and its budget.

use super::courier::Failure;
use super::schedule::Budget;
use crate::broker::feed::Receipt;
use crate::money_event::EventType;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Limits of one bidder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneSettings {
    /// Tries under way.
    pub in_flight_max: usize,
    /// Notices that wait for their first try; a durable one beyond is put aside, another dropped.
    pub queue_max: usize,
    /// ... and one that waits for longer.
    pub patience: Duration,
    /// So many failures in a row, and the bidder is left alone ...
    pub failures_max: u32,
    /// ... but for one try in about so long.
    pub probe_every: Duration,
    /// Tries beyond the first of a notice that a quiet bidder may have at once.
    pub budget_tries: u32,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self {
            in_flight_max: 32,
            queue_max: 1_000,
            patience: Duration::from_secs(2),
            failures_max: 5,
            probe_every: Duration::from_secs(10),
            budget_tries: 20,
        }
    }
}

/// A notice on its way.
#[derive(Debug)]
pub struct Job {
    pub source: Source,
    pub kind: EventType,
    pub bidder: String,
    pub url: String,
    /// Tries that failed before.
    pub tries: u32,
    /// When it was first to be sent (microseconds since the epoch), and when it came here.
    pub first_us: u64,
    pub since: Instant,
}

/// Where a notice came from, and so what becomes of one that was not delivered.
#[derive(Debug)]
pub enum Source {
    /// Best effort: nothing.
    Loss,
    /// A durable record before which the cursor stands: it is put aside, or held.
    Record { sequence: u64, kind: u8, payload: Vec<u8> },
    /// It was put aside, under this number: it is tried again, or dead.
    Letter(u64),
    /// The broker keeps it: it goes back there.
    Parcel(Receipt),
}

/// What may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// One try, to see whether the bidder is back.
    Probe,
    /// The bidder is left alone.
    Shut,
    /// As many tries are under way as may be.
    Full,
}

/// One bidder.
#[derive(Debug)]
pub struct Lane {
    settings: LaneSettings,
    failures: u32,
    shut_until: Option<Instant>,
    in_flight: usize,
    budget: Budget,
    rested: Instant,
    /// Durable ones that wait for their first try.
    pub queue: VecDeque<Job>,
    /// Others that wait: their turn comes last.
    pub losses: VecDeque<Job>,
    /// Put aside: when it is due (microseconds since the epoch), its number.
    pub aside: BTreeSet<(u64, u64)>,
}

impl Lane {
    /// Of a bidder that nothing is known of.
    pub fn new(settings: LaneSettings, now: Instant) -> Self {
        Self {
            settings,
            failures: 0,
            shut_until: None,
            in_flight: 0,
            budget: Budget::new(settings.budget_tries),
            rested: now,
            queue: VecDeque::new(),
            losses: VecDeque::new(),
            aside: BTreeSet::new(),
        }
    }

    /// What may be started now.
    pub fn gate(&self, now: Instant) -> Gate {
        match self.shut_until {
            _ if self.in_flight >= self.settings.in_flight_max => Gate::Full,
            None => Gate::Open,
            Some(until) if now >= until && self.in_flight == 0 => Gate::Probe,
            Some(_) => Gate::Shut,
        }
    }

    /// Queues a notice for its first try; gives it back where it cannot wait here.
    pub fn queue(&mut self, job: Job, now: Instant) -> Option<Job> {
        self.budget.earn(1);
        let is_shut = matches!(self.gate(now), Gate::Shut);
        let is_loss = matches!(job.source, Source::Loss);
        let queue = if is_loss { &mut self.losses } else { &mut self.queue };
        if is_shut || queue.len() >= self.settings.queue_max {
            return Some(job);
        }
        queue.push_back(job);
        None
    }

    /// Notices that have waited too long, or wait for a bidder that is left alone.
    pub fn overdue(&mut self, now: Instant) -> Vec<Job> {
        let (is_shut, patience) = (self.gate(now) == Gate::Shut, self.settings.patience);
        let is_late = |job: &Job| is_shut || now.duration_since(job.since) > patience;
        let mut overdue = Vec::new();
        for queue in [&mut self.queue, &mut self.losses] {
            let late = queue.iter().take_while(|job| is_late(job)).count();
            overdue.extend(queue.drain(..late));
        }
        overdue
    }

    /// The number of the letter that is due next, where there is one.
    pub fn due(&self, now_us: u64) -> Option<u64> {
        self.aside.first().filter(|(due_us, _)| *due_us <= now_us).map(|(_, number)| *number)
    }

    /// Takes a letter out; false where it is not there (but under way). One that was brought forward
    /// stands elsewhere.
    pub fn forget(&mut self, due_us: u64, number: u64) -> bool {
        let is_it = |one: &&(u64, u64)| one.1 == number;
        self.aside.remove(&(due_us, number))
            || self.aside.iter().find(is_it).copied().is_some_and(|one| self.aside.remove(&one))
    }

    /// Whether a letter may be tried (again) now: a first try always, another from the budget.
    pub fn may_retry(&mut self, tries: u32, now: Instant) -> bool {
        self.budget.rest(now.duration_since(self.rested));
        self.rested = now;
        tries == 0 || self.budget.has_one()
    }

    /// A try begins.
    pub fn starts(&mut self) {
        self.in_flight += 1;
    }

    /// A try ended; `chance` is any number. Of a bidder that is back, all that was put aside is due.
    pub fn ended(
        &mut self,
        result: Result<(), Failure>,
        (now, now_us): (Instant, u64),
        chance: u64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if result.is_err() {
            self.budget.spend();
        }
        match result {
            Ok(()) => {
                self.failures = 0;
                if self.shut_until.take().is_some() {
                    let aside = std::mem::take(&mut self.aside).into_iter();
                    self.aside =
                        aside.map(|(due_us, number)| (due_us.min(now_us), number)).collect();
                }
            }
            Err(failure) if failure.is_of_bidder() => {
                self.failures = self.failures.saturating_add(1);
                let is_again = self.shut_until.is_some();
                if is_again || self.failures >= self.settings.failures_max {
                    // from half of it to half more, so that bidders do not come together
                    let half = self.settings.probe_every / 2;
                    let span = u64::try_from(self.settings.probe_every.as_millis()).unwrap_or(1);
                    let wait = half + Duration::from_millis(chance % span.max(1));
                    self.shut_until = Some(now + wait);
                }
            }
            Err(_) => {}
        }
    }

    /// Whether the bidder is left alone.
    pub fn is_shut(&self) -> bool {
        self.shut_until.is_some()
    }

    /// Tries under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn job(since: Instant) -> Job {
        let (bidder, url) = ("b".to_owned(), String::new());
        let source = Source::Letter(1);
        Job { source, kind: EventType::Win, bidder, url, tries: 0, first_us: 0, since }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bidder_that_fails_is_left_alone_but_for_one_probe_at_a_time() {
        let now = clock::timer();
        let mut lane = Lane::new(LaneSettings::default(), now);
        for number in 0..5 {
            assert_eq!(lane.gate(now), Gate::Open, "{number}");
            lane.starts();
            lane.ended(Err(Failure::Timeout), (now, 0), 0);
        }
        assert_eq!(lane.gate(now), Gate::Shut);
        assert!(lane.queue(job(now), now).is_some());
        let later = now + Duration::from_secs(5);
        assert_eq!(lane.gate(later), Gate::Probe);
        lane.starts();
        assert_eq!(lane.gate(later), Gate::Shut, "one at a time");
        lane.ended(Err(Failure::Status(503)), (later, 0), 9_999);
        assert_eq!(lane.gate(later + Duration::from_millis(14_998)), Gate::Shut);
        assert_eq!(lane.gate(later + Duration::from_millis(14_999)), Gate::Probe);
        lane.starts();
        lane.aside.insert((90, 1));
        lane.ended(Ok(()), (later, 50), 0);
        assert_eq!(lane.gate(later), Gate::Open);
        assert_eq!(lane.due(50), Some(1), "a bidder that is back is sent all");
    }

    #[tokio::test(start_paused = true)]
    async fn urls_that_are_refused_or_blocked_say_nothing_of_the_bidder() {
        use crate::notice::guard::Blocked;
        let now = clock::timer();
        let mut lane = Lane::new(LaneSettings::default(), now);
        for failure in [Failure::Status(404), Failure::Blocked(Blocked::Port)].repeat(10) {
            lane.starts();
            lane.ended(Err(failure), (now, 0), 0);
        }
        assert_eq!(lane.gate(now), Gate::Open);
        for _ in 0..5 {
            lane.ended(Err(Failure::Status(429)), (now, 0), 0);
        }
        assert_eq!(lane.gate(now), Gate::Shut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_is_too_many_does_not_hold_up_the_others() {
        let now = clock::timer();
        let settings = LaneSettings { queue_max: 2, ..LaneSettings::default() };
        let mut lane = Lane::new(settings, now);
        assert!(lane.queue(job(now), now).is_none());
        assert!(lane.queue(job(now + Duration::from_secs(1)), now).is_none());
        assert!(lane.queue(job(now), now).is_some());
        assert_eq!(lane.overdue(now + Duration::from_secs(2)).len(), 0);
        assert_eq!(lane.overdue(now + Duration::from_millis(2_001)).len(), 1);
        assert_eq!(lane.queue.len(), 1);
    }
}
