//! Notices that the broker keeps.
//!
//! Owns: how one is taken, and how it is given back. Never: a message. Invariant: a parcel
//! goes back with a pause, or is dead: when its bidder refuses it for good, or its time is over. The
//! number of its tries decides nothing: the broker counts how often it was taken, by any replica, and
//! not every time was a try. So gaps follow from its age; one that was not tried, or whose bidder is
//! left alone, comes again soon, whatever its number.

use super::super::courier::Failure;
use super::super::lane::{Gate, Job, Source};
use super::super::tally::Result as Ended;
use super::Sender;
use crate::broker::feed::Parcel;
use crate::clock;
use std::time::Duration;

/// The longest pause of one that waits for its bidder, on average.
const PAUSE_MAX: Duration = Duration::from_secs(600);

impl Sender {
    /// One that is to be sent by us: now, or by somebody later.
    pub(super) fn take(&mut self, parcel: Parcel) {
        let now = clock::timer();
        let Parcel { kind, bidder, url, first_us, taken, receipt } = parcel;
        let source = Source::Parcel(receipt);
        let job = Job { source, kind, bidder, url, tries: taken, first_us, since: now };
        // it may have waited for its bidder alone: where that is back it is tried a last time. It may
        // have died, too, and whoever said so was interrupted: what is taken then has a dead one beside it
        let is_over = self.settings.retry.is_over(first_us, self.now_us());
        let bidder = job.bidder.clone();
        let lane = self.lane(&bidder);
        if taken > 0 && is_over && lane.gate(now) == Gate::Shut {
            return self.give_back(job, "it came back after its time", None);
        }
        let may_try = is_over || lane.may_retry(job.tries, now);
        let left = if may_try { lane.queue(job, now) } else { Some(job) };
        if let Some(job) = left {
            self.set_aside(job, "left alone", None);
        }
    }

    /// One that was not delivered, or had no turn.
    pub(super) fn give_back(&mut self, job: Job, reason: &str, failure: Option<Failure>) {
        let (now_us, chance) = (self.now_us(), self.chance());
        // this time, too
        let taken = job.tries.saturating_add(1);
        let retry = self.settings.retry;
        let age = Duration::from_micros(now_us.saturating_sub(job.first_us));
        let is_alone = self.lane(&job.bidder).is_shut();
        let gap = match failure {
            Some(_) if !is_alone => retry.gap_at(age),
            _ => pause(age, self.settings.lane.probe_every),
        };
        let is_final = failure.is_some_and(Failure::is_final);
        let next = if is_final { None } else { retry.again(gap, job.first_us, now_us, chance) };
        let Source::Parcel(receipt) = job.source else { return };
        if let Some(due_us) = next {
            if failure.is_none() {
                self.tally.count(job.kind, Ended::Aside);
            }
            receipt.again(Duration::from_micros(due_us.saturating_sub(now_us)));
        } else {
            let reason = match failure {
                Some(_) => reason.to_owned(),
                None => format!("not delivered in time ({reason}), taken {taken} times"),
            };
            tracing::warn!(bidder = %job.bidder, taken, %reason, "a notice is dead");
            self.tally.count(job.kind, Ended::Dead);
            receipt.dead(reason, taken);
        }
    }
}

/// How long one waits for its bidder: about as long as that is left alone, and in a longer outage an
/// eighth of it, so that the broker is not asked all the time.
fn pause(age: Duration, probe_every: Duration) -> Duration {
    (age / 8).clamp(probe_every, PAUSE_MAX.max(probe_every))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_waits_for_its_bidder_comes_again_soon_after_that_is_back() {
        let probe_every = Duration::from_secs(10);
        let paused = |age| pause(Duration::from_secs(age), probe_every).as_secs();
        assert_eq!([0, 80, 800, 80_000].map(paused), [10, 10, 100, 600]);
        let seldom = Duration::from_secs(900);
        assert_eq!(pause(Duration::from_secs(80_000), seldom), seldom);
    }
}
