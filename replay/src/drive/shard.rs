//! The loop of one thread of a run, the only one that knows the time.
//!
//! Owns: taking up what is due, the account of it, and handing on what has come to its end. The
//! same loop serves every schedule: take up what is due, hand it to a connection or let it wait,
//! read what came, sleep until the next planned moment. Never: a retry, a wait for one connection
//! or for another thread; no allocation, decoding or inspection for a request.
//!
//! Invariant: each planned request is counted in exactly one of `Report`'s ends.

use super::DriveError;
use super::live::{Cell, Live};
use super::parcel::Parcel;
use super::plan::Plan;
use super::pool::Pool;
use super::report::Report;
use super::schedule::Schedule;
use crate::inspect::End;
use crate::result::WINDOW_US;
use crate::wire::poller::{self, Nanos, nanos};
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

/// How often time limits are looked at.
const TICK: Duration = Duration::from_millis(10);
/// How soon the feed is asked again when it had nothing: it is behind.
const STARVED: Duration = Duration::from_micros(100);
/// How long the first connections may take to open.
const OPEN: Duration = Duration::from_secs(5);
/// Requests taken up before sockets are looked at again.
const TAKEN_PER_TURN: usize = 32;

/// The queues that bind a shard to the other threads of a run. All are of fixed length, and the
/// shard waits for none of them.
pub(super) struct Queues {
    /// What is to be sent.
    pub feed: Receiver<Box<Parcel>>,
    /// What has come to its end, where anybody looks at it.
    pub inspect: Option<SyncSender<Box<Parcel>>>,
    /// Back to the feed.
    pub returns: SyncSender<Box<Parcel>>,
    /// Windows that are over, with the offset at which they began; and their like, empty.
    pub windows: SyncSender<(u64, Box<Report>)>,
    pub spares: Receiver<Box<Report>>,
}

/// See the file's header.
pub(super) struct Shard<'a> {
    plan: &'a Plan,
    live: &'a Live,
    cell: Option<&'a Cell>,
    queues: Queues,
    pool: Pool,
    /// The next request of the plan, and whether nothing comes behind it.
    next: Option<Box<Parcel>>,
    is_fed: bool,
    /// Where the feed says that the plan ends.
    ends_at: &'a AtomicU64,
    start: Nanos,
    /// When the plan came to its end, and whether somebody made it end before that.
    end: Option<Nanos>,
    is_cut: bool,
    /// The number of the window under way, and when it ends.
    window: u64,
    window_end: Nanos,
    totals: Totals,
    /// What a chunked answer amounts to, while it is looked at.
    unchunked: Vec<u8>,
}

/// How it ended.
pub(super) struct Ended {
    /// From the start to the end of the plan.
    pub took: Duration,
    /// Whether it was made to end before that.
    pub is_cut: bool,
}

/// Counts since the start, for the progress line.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    planned: u64,
    answered: u64,
    sent: u64,
    wins: u64,
    failed: u64,
}

impl<'a> Shard<'a> {
    /// Opens the first connections.
    pub fn open(
        plan: &'a Plan,
        live: &'a Live,
        index: u32,
        queues: Queues,
        ends_at: &'a AtomicU64,
    ) -> Result<Self, DriveError> {
        let mut pool = Pool::new(plan.target.address, plan.settings).map_err(DriveError::Poll)?;
        let until = poller::now() + nanos(OPEN);
        if !pool.open_first(until).map_err(DriveError::Poll)? {
            return Err(DriveError::Unreachable(plan.target.address));
        }
        Ok(Self {
            plan,
            live,
            cell: live.cell(index),
            queues,
            pool,
            next: None,
            is_fed: false,
            ends_at,
            start: 0,
            end: None,
            is_cut: false,
            window: 0,
            window_end: 0,
            totals: Totals::default(),
            unchunked: Vec::new(),
        })
    }

    /// Sends what is planned.
    pub fn run(mut self, start: Nanos) -> Result<Ended, DriveError> {
        self.start = start;
        self.window_end = start + WINDOW_US * 1_000;
        let settings = &self.plan.settings;
        let (spin, drain) = (
            settings.spin_us.saturating_mul(1_000),
            settings.drain_ms_max.saturating_mul(1_000_000),
        );
        let mut tick_at = start;
        let mut ready = Vec::new();
        loop {
            let now = self.take_up();
            if now >= tick_at {
                self.pool.check_times(now, self.end.is_some());
                self.publish();
                tick_at = now + nanos(TICK);
            }
            self.finish(now);
            let is_quiet = self.pool.busy == 0 && self.pool.waiting() == 0;
            if self.end.is_some_and(|end| now >= end && (is_quiet || now > end + drain)) {
                break;
            }
            let due = self.due(now);
            self.pool
                .wait(tick_at.min(due.saturating_sub(spin)), &mut ready)
                .map_err(DriveError::Poll)?;
            self.pool.hand_out();
            self.finish(poller::now());
            if spin > 0 && due.saturating_sub(spin) <= poller::now() {
                while poller::now() < due {
                    std::hint::spin_loop();
                }
            }
        }
        self.pool.abandon();
        let now = poller::now();
        self.finish(now);
        self.publish();
        self.hand_over_last();
        let took = Duration::from_nanos(self.end.unwrap_or(now).saturating_sub(start));
        Ok(Ended { took, is_cut: self.is_cut })
    }

    /// When there will be something to do for the plan.
    fn due(&self, now: Nanos) -> Nanos {
        match (&self.next, self.end) {
            _ if now < self.start => self.start,
            (_, Some(end)) => {
                if end > now {
                    end
                } else {
                    Nanos::MAX
                }
            }
            (Some(parcel), None) => {
                parcel.at.map_or(Nanos::MAX, |at| self.start.saturating_add(at))
            }
            (None, None) => now + nanos(STARVED),
        }
    }

    /// Takes up what is due, and says what time it is then.
    fn take_up(&mut self) -> Nanos {
        let mut now = poller::now();
        self.heed_stop(now);
        for _ in 0..TAKEN_PER_TURN {
            self.turn_window(now);
            if self.end.is_some() || now < self.start {
                break;
            }
            if self.is_past_time(now) {
                self.end = Some(now);
                break;
            }
            if self.next.is_none() && !self.fetch(now) {
                break;
            }
            let Some(mut parcel) = self.next.take() else { break };
            let due = parcel.at.map(|at| self.start.saturating_add(at));
            let is_due = match due {
                Some(due) => due <= now,
                // closed loop: only as many as there are free connections
                None => self.pool.waiting() == 0 && self.pool.has_free(),
            };
            if !is_due {
                self.next = Some(parcel);
                break;
            }
            parcel.planned_at = due.unwrap_or(now);
            self.pool.report.planned += 1;
            self.pool.report.records += u64::from(parcel.round == 0);
            self.pool.report.rounds = self.pool.report.rounds.max(parcel.round + 1);
            self.pool.report.lateness.saturating_record(now - parcel.planned_at);
            self.totals.planned += 1;
            if let Err(parcel) = self.pool.place(parcel) {
                self.end_one(parcel, End::Shed, now);
            }
            now = poller::now();
        }
        now
    }

    /// Ends the plan where somebody asked for that, also while its end is only waited for.
    fn heed_stop(&mut self, now: Nanos) {
        if self.live.is_stopped() && self.end.is_none_or(|end| now < end) {
            self.end = Some(now.max(self.start));
            self.is_cut = true;
        }
    }

    /// Fetches the next request; `false`: there is none now, or none any more.
    fn fetch(&mut self, now: Nanos) -> bool {
        if self.is_fed {
            return false;
        }
        match self.queues.feed.try_recv() {
            Ok(parcel) => {
                self.next = Some(parcel);
                true
            }
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => {
                self.is_fed = true;
                // an open loop ends when the first request that it no longer sends would be due
                let end = self.start.saturating_add(self.ends_at.load(Acquire));
                self.end = Some(if self.is_closed_loop() { now } else { end });
                false
            }
        }
    }

    fn is_closed_loop(&self) -> bool {
        self.plan.schedule == Schedule::Saturate
    }

    /// Whether the time of a closed loop is over; that of an open one is over where the feed ends.
    fn is_past_time(&self, now: Nanos) -> bool {
        self.is_closed_loop() && now.saturating_sub(self.start) >= nanos(self.plan.bounds.time_max)
    }

    /// Accounts for what has come to its end.
    fn finish(&mut self, now: Nanos) {
        self.turn_window(now);
        if self.pool.done.is_empty() {
            return;
        }
        let mut done = std::mem::take(&mut self.pool.done);
        for parcel in done.drain(..) {
            let end = parcel.end;
            self.end_one(parcel, end, now);
        }
        // its memory is used again
        self.pool.done = done;
    }

    fn end_one(&mut self, mut parcel: Box<Parcel>, end: End, now: Nanos) {
        parcel.end = end;
        parcel.ended_at = now;
        let report = &mut self.pool.report;
        report.bytes_received += parcel.answer.len() as u64;
        self.pool.busy -= usize::from(end.is_sent());
        match end {
            End::Answered(status) => {
                report.latency.saturating_record(now.saturating_sub(parcel.planned_at));
                report.service.saturating_record(now.saturating_sub(parcel.sent_at));
                report.answered += 1;
                *report.statuses.entry(status).or_default() += 1;
                let filled = u64::from(parcel.is_filled(&mut self.unchunked));
                report.filled += filled;
                self.totals.answered += 1;
                self.totals.wins += filled;
                self.totals.failed += u64::from(status >= 500);
            }
            End::Fault(fault) => {
                if let Some(count) = report.faults.get_mut(fault as usize) {
                    *count += 1;
                }
            }
            End::Unfinished => report.unfinished += 1,
            End::Shed => report.shed += 1,
            End::Unsent => report.unsent += 1,
        }
        self.totals.sent += u64::from(end.is_sent());
        self.totals.failed += u64::from(end.status().is_none());
        self.hand_on(parcel);
    }

    /// To whoever looks at it; where that one is too slow, back to the feed, unseen.
    fn hand_on(&mut self, parcel: Box<Parcel>) {
        let parcel = match &self.queues.inspect {
            Some(inspect) => match inspect.try_send(parcel) {
                Ok(()) => return,
                Err(TrySendError::Full(parcel) | TrySendError::Disconnected(parcel)) => parcel,
            },
            None => parcel,
        };
        // a full queue of buffers has enough of them
        let _ = self.queues.returns.try_send(parcel);
    }

    /// Hands over the window under way once it is over, before anything is counted that came after
    /// it, where there is an empty one to go on with; else it goes on.
    fn turn_window(&mut self, now: Nanos) {
        if now < self.window_end {
            return;
        }
        let length = WINDOW_US * 1_000;
        if let Ok(spare) = self.queues.spares.try_recv() {
            let full = std::mem::replace(&mut self.pool.report, spare);
            // the queue holds as many as there are
            let _ = self.queues.windows.try_send((self.window * WINDOW_US, full));
            self.window = (now - self.start) / length;
        }
        self.window_end = self.start + ((now - self.start) / length + 1) * length;
    }

    fn hand_over_last(&mut self) {
        let full = std::mem::take(&mut self.pool.report);
        // the plan is over: this one may wait
        let _ = self.queues.windows.send((self.window * WINDOW_US, full));
    }

    fn publish(&mut self) {
        let Some(cell) = self.cell else { return };
        let totals = self.totals;
        let put = |cell: &AtomicU64, value: u64| cell.store(value, Relaxed);
        put(&cell.planned, totals.planned);
        put(&cell.sent, totals.sent + self.pool.busy as u64);
        put(&cell.answered, totals.answered);
        put(&cell.wins, totals.wins);
        put(&cell.failed, totals.failed);
        put(&cell.waiting, self.pool.waiting() as u64);
        put(&cell.open, self.pool.open as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::{Allow, Target};
    use super::*;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn a_request_is_counted_in_no_window_that_was_over_before_it_was_due() {
        // it takes connections and never answers
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("http://{}/x", listener.local_addr().unwrap());
        let target = Target::parse(&target, Allow::Loopback).unwrap();
        let mut plan = Plan::of_set(target, Arc::new(["body"].into_iter().collect()));
        plan.schedule = Schedule::Constant { per_second: 10.0 };
        plan.settings.drain_ms_max = 0;
        let (live, ends_at) = (Live::new(1), AtomicU64::new(3 * WINDOW_US * 1_000));
        let (to_shard, feed) = sync_channel(8);
        let (returns, _returned) = sync_channel(8);
        let (to_collector, windows) = sync_channel(16);
        let (to_spares, spares) = sync_channel(16);
        (0..16).for_each(|_| to_spares.send(Box::default()).unwrap());
        for number in 0..3 {
            let at = Some(number * WINDOW_US * 1_000);
            to_shard.send(Box::new(Parcel { number, at, ..Parcel::default() })).unwrap();
        }
        drop(to_shard);
        let queues = Queues { feed, inspect: None, returns, windows: to_collector, spares };
        let shard = Shard::open(&plan, &live, 0, queues, &ends_at).unwrap();
        shard.run(poller::now()).unwrap();
        let mut planned = 0;
        for (start_us, report) in windows {
            planned += report.planned;
            assert!(planned <= start_us / WINDOW_US + 1, "{planned} of them by {start_us} us");
        }
        assert_eq!(planned, 3);
    }
}
