//! Notices that the broker keeps.
//!
//! Owns: how one is taken, and how it is given back. Never: a message. Invariant: a parcel
//! goes back with a pause, or is dead: when its bidder refuses it for good, or its time is over. The
//! number of its tries decides nothing: the broker counts how often it was taken, by any replica, and
//! not every time was a try.

use super::super::courier::Failure;
use super::super::lane::{Job, Source};
use super::super::tally::Result as Ended;
use super::Sender;
use crate::broker::feed::Parcel;
use crate::clock;
use std::time::Duration;

impl Sender {
    /// One that is to be sent by us: now, or by somebody later.
    pub(super) fn take(&mut self, parcel: Parcel) {
        let now = clock::timer();
        let Parcel { kind, bidder, url, first_us, taken, receipt } = parcel;
        let source = Source::Parcel(receipt);
        let job = Job { source, kind, bidder, url, tries: taken, first_us, since: now };
        // it may have died already, and whoever said so was interrupted before the stream knew
        let is_over = self.settings.retry.is_over(first_us, self.now_us());
        if taken > 0 && is_over {
            return self.give_back(job, "it came back after its time", None);
        }
        let bidder = job.bidder.clone();
        let lane = self.lane(&bidder);
        let left = if lane.may_retry(job.tries, now) { lane.queue(job, now) } else { Some(job) };
        if let Some(job) = left {
            self.set_aside(job, "left alone", None);
        }
    }

    /// One that was not delivered, or had no turn.
    pub(super) fn give_back(&mut self, job: Job, reason: &str, failure: Option<Failure>) {
        let (now_us, chance) = (self.now_us(), self.chance());
        let tries = job.tries.saturating_add(u32::from(failure.is_some()));
        let retry = self.settings.retry;
        let nth = tries.clamp(1, retry.tries_max.saturating_sub(1).max(1));
        let next = match failure {
            Some(failure) if failure.is_final() => None,
            // the last gap again and again, until its time is over
            _ => retry.next(nth, job.first_us, now_us, chance),
        };
        let Source::Parcel(receipt) = job.source else { return };
        if let Some(due_us) = next {
            if failure.is_none() {
                self.tally.count(job.kind, Ended::Aside);
            }
            receipt.again(Duration::from_micros(due_us.saturating_sub(now_us)));
        } else {
            let reason = match failure {
                Some(_) => reason.to_owned(),
                None => format!("not delivered in time ({reason}), taken {tries} times"),
            };
            tracing::warn!(bidder = %job.bidder, tries, %reason, "a notice is dead");
            self.tally.count(job.kind, Ended::Dead);
            receipt.dead(reason, tries);
        }
    }
}
