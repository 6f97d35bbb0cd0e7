//! The loop of one thread of a run.
//!
//! Owns: its part of the schedule, of the connections and of the report. The same loop serves
//! every schedule: take up what is due, hand it to a free connection or let it wait, read what
//! came, sleep until the next planned moment. Never: a retry, a wait for one connection.
//!
//! Invariant: each planned request is counted in exactly one of `Report`'s ends.

use super::DriveError;
use super::connection::{Connection, Received};
use super::live::{Cell, Live};
use super::plan::Plan;
use super::report::{Fault, Report, histogram};
use super::schedule::{Arrivals, Moment, Planned, Share};
use crate::wire::poller::{self, Interest, Nanos, Poller, Ready, nanos};
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often time limits are looked at.
const TICK: Duration = Duration::from_millis(10);
/// How often figures are published for the progress line.
const PUBLISH: Duration = Duration::from_millis(250);
/// How long the first connections may take to open.
const OPEN: Duration = Duration::from_secs(5);
/// No new connection is tried for so long after one failed.
const REOPEN: Duration = Duration::from_millis(20);
/// Requests taken up before sockets are looked at again.
const TAKEN_PER_TURN: usize = 32;
/// Bytes read at once.
const SCRATCH_BYTES: usize = 64 << 10;

/// See the file's header.
pub(super) struct Shard<'a> {
    plan: &'a Plan,
    live: &'a Live,
    cell: Option<&'a Cell>,
    heads: Vec<Vec<u8>>,
    arrivals: Arrivals,
    /// The next request of the plan; `None`: there is none.
    next: Option<Planned>,
    start: Nanos,
    /// When the plan came to its end.
    end: Nanos,
    poller: Poller,
    slots: Vec<Slot>,
    /// Slots that were free when they were put here; checked when taken out.
    free: VecDeque<usize>,
    waiting: VecDeque<Work>,
    /// Slots with a connection, opening ones included.
    open: usize,
    busy: usize,
    reopen_at: Nanos,
    report: Report,
    /// Latencies since the last publication.
    recent: Histogram<u64>,
    scratch: Vec<u8>,
}

/// A request that was taken up.
#[derive(Clone, Copy, Debug)]
struct Work {
    planned_at: Nanos,
    number: u64,
}

/// A place for a connection.
#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// Counts the connections that stood here, so that a late event of an old one is known.
    age: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Empty,
    Opening,
    Free,
    Busy {
        work: Work,
        sent_at: Nanos,
    },
}

impl<'a> Shard<'a> {
    /// Opens the first connections.
    pub fn open(plan: &'a Plan, live: &'a Live, share: Share) -> Result<Self, DriveError> {
        let settings = &plan.settings;
        let first = settings.part(settings.connections);
        let most = settings.part(settings.connections_max).max(first);
        let mut this = Self {
            plan,
            live,
            cell: live.cell(share.index),
            heads: plan.target.heads(),
            arrivals: plan.schedule.arrivals(share),
            next: None,
            start: 0,
            end: 0,
            poller: Poller::new().map_err(DriveError::Poll)?,
            slots: (0..most).map(|_| Slot::default()).collect(),
            free: VecDeque::new(),
            waiting: VecDeque::new(),
            open: 0,
            busy: 0,
            reopen_at: 0,
            report: Report::default(),
            recent: histogram(),
            scratch: vec![0; SCRATCH_BYTES],
        };
        for index in 0..first {
            this.connect(index);
        }
        let until = poller::now() + nanos(OPEN);
        let mut ready = Vec::new();
        while this.slots.iter().any(|slot| matches!(slot.state, State::Opening))
            && poller::now() < until
        {
            this.poller.wait(until, &mut ready).map_err(DriveError::Poll)?;
            for event in &ready {
                this.handle(*event);
            }
        }
        if this.open == 0 {
            return Err(DriveError::Unreachable(plan.target.address));
        }
        Ok(this)
    }

    /// Sends what is planned and gives the account of it.
    pub fn run(mut self, start: Nanos) -> Result<Report, DriveError> {
        self.start = start;
        self.advance();
        let settings = &self.plan.settings;
        let (spin, drain) = (
            settings.spin_us.saturating_mul(1_000),
            settings.drain_ms_max.saturating_mul(1_000_000),
        );
        let (mut tick_at, mut publish_at) = (start, start);
        let mut ready = Vec::new();
        loop {
            let now = self.take_up();
            if now >= tick_at {
                self.check_times(now);
                tick_at = now + nanos(TICK);
            }
            if now >= publish_at {
                self.publish();
                publish_at = now + nanos(PUBLISH);
            }
            let is_quiet = self.busy == 0 && self.waiting.is_empty();
            if self.next.is_none() && (is_quiet || now > self.end + drain) {
                break;
            }
            let due = self.due().unwrap_or(Nanos::MAX);
            let until = tick_at.min(due.saturating_sub(spin));
            self.poller.wait(until, &mut ready).map_err(DriveError::Poll)?;
            for event in &ready {
                self.handle(*event);
            }
            self.hand_out();
            if spin > 0 && due.saturating_sub(spin) <= poller::now() {
                while poller::now() < due {
                    std::hint::spin_loop();
                }
            }
        }
        self.report.unsent += self.waiting.len() as u64;
        self.report.unfinished += self.busy as u64;
        self.report.took = Duration::from_nanos(self.end.saturating_sub(start));
        self.waiting.clear();
        self.publish();
        Ok(self.report)
    }

    /// The moment of the next request, where it has one.
    fn due(&self) -> Option<Nanos> {
        match self.next?.moment {
            Moment::At(offset) => Some(self.start.saturating_add(nanos(offset))),
            Moment::WhenFree => None,
        }
    }

    /// Takes up what is due, and says what time it is then.
    fn take_up(&mut self) -> Nanos {
        let mut now = poller::now();
        for _ in 0..TAKEN_PER_TURN {
            let Some(planned) = self.next else { break };
            let due = self.due();
            let is_due = due.is_none_or(|due| due <= now);
            // an open loop ends when the first request that it no longer sends would be due:
            // what was sent divided by the time is then the rate that was asked for
            if self.live.is_stopped() || (is_due && self.is_past_bounds(planned, now)) {
                self.next = None;
                self.end = now;
                break;
            }
            let planned_at = match due {
                Some(due) if is_due => due,
                Some(_) => break,
                // closed loop: only as many as there are free connections
                None if self.waiting.is_empty() && self.has_free() => now,
                None => {
                    self.open_more(now);
                    break;
                }
            };
            self.report.planned += 1;
            self.report.lateness.saturating_record(now - planned_at);
            self.advance();
            let work = Work { planned_at, number: planned.number };
            if self.waiting.len() >= self.plan.settings.part(self.plan.settings.queue_max) {
                self.report.shed += 1;
            } else {
                self.waiting.push_back(work);
                self.hand_out();
            }
            now = poller::now();
        }
        now
    }

    fn advance(&mut self) {
        self.next = self.arrivals.next();
    }

    fn is_past_bounds(&self, planned: Planned, now: Nanos) -> bool {
        let bounds = &self.plan.bounds;
        let offset = match planned.moment {
            Moment::At(offset) => offset,
            Moment::WhenFree => Duration::from_nanos(now.saturating_sub(self.start)),
        };
        planned.number >= bounds.requests_max || offset >= bounds.time_max
    }

    /// Gives waiting requests to free connections, the longest planned first.
    fn hand_out(&mut self) {
        while !self.waiting.is_empty() {
            if !self.has_free() {
                let now = poller::now();
                self.open_more(now);
                break;
            }
            let (Some(index), Some(work)) = (self.free.pop_front(), self.waiting.pop_front())
            else {
                break;
            };
            self.send(index, work);
        }
        self.report.queue_peak = self.report.queue_peak.max(self.waiting.len() as u64);
    }

    /// Whether a connection is free; forgets those at the front that no longer are.
    fn has_free(&mut self) -> bool {
        while let Some(index) = self.free.front() {
            if self.slots.get(*index).is_some_and(|slot| matches!(slot.state, State::Free)) {
                return true;
            }
            self.free.pop_front();
        }
        false
    }

    fn send(&mut self, index: usize, work: Work) {
        let route = usize::try_from(work.number % self.heads.len() as u64).unwrap_or(0);
        let (Some(slot), Some(head)) = (self.slots.get_mut(index), self.heads.get(route)) else {
            return;
        };
        let Some(connection) = &mut slot.connection else { return };
        let result = connection.send(head, self.plan.requests.body(work.number));
        self.report.sent += 1;
        self.report.bytes_sent += connection.request_bytes() as u64;
        self.busy += 1;
        slot.state = State::Busy { work, sent_at: poller::now() };
        let is_under_way = match result {
            Ok(true) => true,
            Ok(false) => {
                let token = token(index, slot.age);
                self.poller.change(&connection.socket, token, Interest::Write).is_ok()
            }
            Err(_) => false,
        };
        if !is_under_way {
            self.fail(index, Fault::Broken);
        }
    }

    /// A further connection, where requests wait and the cap allows it.
    fn open_more(&mut self, now: Nanos) {
        let opening = self.open - self.busy;
        if opening >= self.waiting.len() || self.open == self.slots.len() || now < self.reopen_at {
            return;
        }
        self.connect_one();
    }

    /// Opens a connection in the first empty slot.
    fn connect_one(&mut self) {
        let is_empty = |slot: &Slot| matches!(slot.state, State::Empty);
        if let Some(index) = self.slots.iter().position(is_empty) {
            self.connect(index);
        }
    }

    fn connect(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.age = slot.age.wrapping_add(1);
        let opened = Connection::open(self.plan.target.address).and_then(|connection| {
            self.poller.add(&connection.socket, token(index, slot.age), Interest::Write)?;
            Ok(connection)
        });
        if let Ok(connection) = opened {
            slot.connection = Some(connection);
            slot.state = State::Opening;
            self.open += 1;
        } else {
            self.report.connect_faults += 1;
            self.reopen_at = poller::now() + nanos(REOPEN);
        }
    }

    fn handle(&mut self, event: Ready) {
        let index = usize::try_from(event.token & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(connection) = &mut slot.connection else { return };
        if u64::from(slot.age) != event.token >> 32 {
            return;
        }
        if let State::Opening = slot.state {
            let is_open = connection.check_open().is_ok()
                && self.poller.change(&connection.socket, event.token, Interest::Read).is_ok();
            if is_open {
                slot.state = State::Free;
                self.free.push_back(index);
                self.report.connects += 1;
            } else {
                self.report.connect_faults += 1;
                self.reopen_at = poller::now() + nanos(REOPEN);
                self.close(index);
            }
            return;
        }
        if event.is_writable {
            match connection.flush() {
                Ok(true) => {
                    // cannot fail on a socket that is watched; if it did, the time limit ends it
                    let _ = self.poller.change(&connection.socket, event.token, Interest::Read);
                }
                Ok(false) => {}
                Err(_) => return self.fail(index, Fault::Broken),
            }
        }
        if event.is_readable {
            self.receive(index);
        }
    }

    fn receive(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(connection) = &mut slot.connection else { return };
        let bytes_max = self.plan.settings.answer_bytes_max;
        match connection.receive(&mut self.scratch, bytes_max) {
            Received::Part => {}
            Received::Fault(fault) => self.fail(index, fault),
            Received::Answer { status, bytes, is_reusable } => {
                let State::Busy { work, sent_at } = slot.state else {
                    // an answer that nobody asked for
                    return self.close(index);
                };
                let now = poller::now();
                let latency = now.saturating_sub(work.planned_at);
                self.report.latency.saturating_record(latency);
                self.recent.saturating_record(latency);
                self.report.service.saturating_record(now.saturating_sub(sent_at));
                self.report.answered += 1;
                self.report.bytes_received += bytes as u64;
                *self.report.statuses.entry(status).or_default() += 1;
                self.busy -= 1;
                slot.state = State::Free;
                if is_reusable {
                    self.free.push_back(index);
                } else {
                    self.close(index);
                    self.connect(index);
                }
            }
        }
    }

    /// Ends a connection, and what was out on it.
    fn fail(&mut self, index: usize, fault: Fault) {
        let state = self.slots.get(index).map(|slot| slot.state);
        if let Some(State::Busy { .. }) = state {
            self.busy -= 1;
            if let Some(count) = self.report.faults.get_mut(fault as usize) {
                *count += 1;
            }
        }
        self.close(index);
    }

    fn close(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            // dropping the socket takes it out of the poller
            self.open -= usize::from(slot.connection.take().is_some());
            slot.state = State::Empty;
        }
    }

    fn check_times(&mut self, now: Nanos) {
        let timeout = self.plan.settings.timeout_ms.saturating_mul(1_000_000);
        for index in 0..self.slots.len() {
            if let Some(Slot { state: State::Busy { sent_at, .. }, .. }) = self.slots.get(index)
                && now.saturating_sub(*sent_at) > timeout
            {
                self.fail(index, Fault::Timeout);
            }
        }
        while self.waiting.front().is_some_and(|work| now - work.planned_at > timeout) {
            self.waiting.pop_front();
            self.report.unsent += 1;
        }
        // a closed loop, or one whose connections the server closed, gets them back here
        if self.open < self.plan.settings.part(self.plan.settings.connections)
            && self.next.is_some()
            && now >= self.reopen_at
        {
            self.connect_one();
        }
    }

    fn publish(&mut self) {
        let Some(cell) = self.cell else { return };
        let report = &self.report;
        let put = |cell: &AtomicU64, value: u64| cell.store(value, Relaxed);
        let server_faults: u64 = report.statuses.range(500..).map(|(_, count)| *count).sum();
        put(&cell.planned, report.planned);
        put(&cell.sent, report.sent);
        put(&cell.answered, report.answered);
        put(&cell.wins, report.status(200));
        put(&cell.failed, report.faulty() + report.shed + report.unsent + server_faults);
        put(&cell.waiting, self.waiting.len() as u64);
        put(&cell.open, self.open as u64);
        if !self.recent.is_empty() {
            put(&cell.p50_us, self.recent.value_at_quantile(0.50) / 1_000);
            put(&cell.p99_us, self.recent.value_at_quantile(0.99) / 1_000);
            self.recent.reset();
        }
    }
}

/// What the poller calls a connection.
fn token(index: usize, age: u32) -> u64 {
    u64::from(age) << 32 | index as u64
}
