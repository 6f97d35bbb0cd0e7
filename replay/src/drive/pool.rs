//! The connections of one thread of a run.
//!
//! Owns: which connection takes which request, when connections are opened and closed. Never: the
//! plan, a retry, a wait for one connection. Invariant: each parcel that was placed comes back
//! exactly once, in `done`, with its end.

use super::link::{Io, Link, Step};
use super::parcel::{Done, Parcel};
use super::plan::{DriveSettings, Pool as Mode};
use super::report::Report;
use crate::inspect::End;
use crate::wire::poller::{self, Interest, Nanos, Poller, Ready, nanos};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// No new connection is tried for so long after one failed.
const REOPEN: Duration = Duration::from_millis(20);
/// Bytes read at once.
const SCRATCH_BYTES: usize = 64 << 10;
/// Places looked at in one turn of checking times: with more of them, a time limit is noticed so
/// much later.
const CHECKED_PER_TURN: usize = 1_024;

/// See the file's header.
pub(super) struct Pool {
    settings: DriveSettings,
    address: SocketAddr,
    poller: Poller,
    slots: Vec<Slot>,
    /// Slots without a connection and without a key.
    empty: Vec<usize>,
    /// Slots that had room when they were put here; checked when taken out.
    free: VecDeque<usize>,
    waiting: VecDeque<Box<Parcel>>,
    /// The slot of each connection of the recording that is in use.
    by_key: HashMap<u64, usize>,
    /// Requests that wait for one certain connection.
    pending: usize,
    /// Slots with a connection, opening ones included; opening ones.
    pub open: usize,
    opening: usize,
    /// Requests that are out.
    pub busy: usize,
    reopen_at: Nanos,
    checked: usize,
    scratch: Vec<u8>,
    /// Parcels that have come to their end.
    pub done: Done,
    /// Of the window under way.
    pub report: Box<Report>,
}

/// A place for a connection.
#[derive(Default)]
struct Slot {
    link: Option<Link>,
    /// Counts the connections that stood here, so that a late event of an old one is known.
    age: u32,
    is_open: bool,
    watches_write: bool,
    /// Requests sent on this connection.
    uses: u32,
    /// Whether it stands in `free`.
    is_listed: bool,
    /// The connection of the recording that it is, and what waits for it.
    key: Option<u64>,
    pending: VecDeque<Box<Parcel>>,
    /// The recording has nothing more for it.
    is_last: bool,
}

impl Pool {
    /// Without any connection yet.
    pub fn new(address: SocketAddr, settings: DriveSettings) -> io::Result<Self> {
        let first = settings.part(settings.connections);
        let most = settings.part(settings.connections_max).max(first);
        Ok(Self {
            address,
            poller: Poller::new()?,
            slots: (0..most).map(|_| Slot::default()).collect(),
            empty: (0..most).rev().collect(),
            free: VecDeque::new(),
            waiting: VecDeque::with_capacity(settings.part(settings.queue_max)),
            by_key: HashMap::new(),
            pending: 0,
            open: 0,
            opening: 0,
            busy: 0,
            reopen_at: 0,
            checked: 0,
            scratch: vec![0; SCRATCH_BYTES],
            done: Done::new(),
            report: Box::default(),
            settings,
        })
    }

    /// Opens the first connections; `false`: none came to stand.
    pub fn open_first(&mut self, until: Nanos) -> io::Result<bool> {
        let count = match self.settings.pool {
            Mode::Keep => self.settings.part(self.settings.connections),
            Mode::Churn { .. } | Mode::Recorded => 1,
        };
        for _ in 0..count {
            self.connect_one();
        }
        let mut ready = Vec::new();
        while self.opening > 0 && poller::now() < until {
            self.wait(until, &mut ready)?;
        }
        let is_open = self.open > self.opening;
        if self.settings.pool == Mode::Recorded {
            // it has shown that the target is there; those of the recording follow
            (0..self.slots.len()).for_each(|index| self.close(index));
        }
        Ok(is_open)
    }

    /// Requests that wait for a connection.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.pending
    }

    /// Waits for sockets, at most until a moment, and does what they are ready for.
    pub fn wait(&mut self, until: Nanos, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.poller.wait(until, ready)?;
        for event in ready.iter() {
            self.handle(*event);
        }
        Ok(())
    }

    /// Takes a request; it comes back where too many wait.
    pub fn place(&mut self, parcel: Box<Parcel>) -> Result<(), Box<Parcel>> {
        if self.waiting() >= self.settings.part(self.settings.queue_max) {
            return Err(parcel);
        }
        self.waiting.push_back(parcel);
        self.hand_out();
        Ok(())
    }

    /// Gives waiting requests to connections, the longest planned first.
    pub fn hand_out(&mut self) {
        while !self.waiting.is_empty() {
            let is_given = match self.settings.pool {
                Mode::Recorded => self.hand_to_own(),
                Mode::Keep | Mode::Churn { .. } => self.hand_to_any(),
            };
            if !is_given {
                break;
            }
        }
        self.report.queue_peak = self.report.queue_peak.max(self.waiting() as u64);
    }

    fn hand_to_any(&mut self) -> bool {
        if !self.has_free() {
            self.open_more(poller::now());
            return false;
        }
        let (Some(index), Some(parcel)) = (self.free.pop_front(), self.waiting.pop_front()) else {
            return false;
        };
        if let Some(slot) = self.slots.get_mut(index) {
            slot.is_listed = false;
        }
        self.send(index, parcel);
        true
    }

    /// Gives the first that waits to the connection that is its own.
    fn hand_to_own(&mut self) -> bool {
        let Some(key) = self.waiting.front().map(|parcel| parcel.connection) else { return false };
        let Some(index) = self.by_key.get(&key).copied().or_else(|| self.place_for(key)) else {
            return false;
        };
        if let (Some(slot), Some(parcel)) = (self.slots.get_mut(index), self.waiting.pop_front()) {
            slot.pending.push_back(parcel);
            self.pending += 1;
        }
        self.pump(index);
        true
    }

    /// An empty place for a connection of the recording; where there is none, that of an idle one.
    fn place_for(&mut self, key: u64) -> Option<usize> {
        if self.empty.is_empty() {
            let is_idle = |slot: &Slot| {
                slot.is_open
                    && slot.pending.is_empty()
                    && slot.link.as_ref().is_some_and(|link| link.busy() == 0)
            };
            let idle = self.slots.iter().position(is_idle)?;
            self.release(idle);
        }
        let index = self.empty.pop()?;
        let slot = self.slots.get_mut(index)?;
        slot.key = Some(key);
        self.by_key.insert(key, index);
        Some(index)
    }

    /// Sends what waits for a certain connection, which is opened where it is not.
    fn pump(&mut self, index: usize) {
        loop {
            let Some(slot) = self.slots.get_mut(index) else { return };
            let Some(link) = &slot.link else {
                if !slot.pending.is_empty() && poller::now() >= self.reopen_at {
                    self.connect(index);
                }
                return;
            };
            if !slot.is_open || !link.has_room() {
                return;
            }
            let Some(parcel) = slot.pending.pop_front() else { return };
            self.pending -= 1;
            slot.is_last |= parcel.is_last;
            self.send(index, parcel);
        }
    }

    /// Whether a connection is free; forgets those at the front that no longer are.
    pub fn has_free(&mut self) -> bool {
        while let Some(index) = self.free.front().copied() {
            let Some(slot) = self.slots.get_mut(index) else { return false };
            if slot.is_open && slot.link.as_ref().is_some_and(Link::has_room) {
                return true;
            }
            slot.is_listed = false;
            self.free.pop_front();
        }
        false
    }

    fn send(&mut self, index: usize, mut parcel: Box<Parcel>) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(link) = &mut slot.link else { return };
        self.report.sent += 1;
        self.report.bytes_sent += parcel.request.len() as u64;
        self.busy += 1;
        slot.uses = slot.uses.saturating_add(1);
        parcel.sent_at = poller::now();
        let step = link.send(parcel, &mut self.done);
        self.settle(index, step);
    }

    /// A further connection, where requests wait and the cap allows it.
    pub fn open_more(&mut self, now: Nanos) {
        let is_wanted = self.opening < self.waiting.len();
        if is_wanted && self.settings.pool != Mode::Recorded && now >= self.reopen_at {
            self.connect_one();
        }
    }

    /// Opens a connection in an empty place.
    fn connect_one(&mut self) {
        if let Some(index) = self.empty.pop() {
            self.connect(index);
        }
    }

    fn connect(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.age = slot.age.wrapping_add(1);
        let token = token(index, slot.age);
        let opened = Link::open(self.address, &self.settings).and_then(|link| {
            self.poller.add(link.socket(), token, Interest::Write)?;
            Ok(link)
        });
        if let Ok(link) = opened {
            slot.link = Some(link);
            (slot.is_open, slot.watches_write, slot.uses) = (false, true, 0);
            self.open += 1;
            self.opening += 1;
        } else {
            if slot.key.is_none() {
                self.empty.push(index);
            }
            self.refused();
        }
    }

    fn refused(&mut self) {
        self.report.connect_faults += 1;
        self.reopen_at = poller::now() + nanos(REOPEN);
    }

    fn handle(&mut self, event: Ready) {
        let index = usize::try_from(event.token & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(link) = &mut slot.link else { return };
        if u64::from(slot.age) != event.token >> 32 {
            return;
        }
        let step = if slot.is_open {
            let bytes_max = self.settings.answer_bytes_max;
            let mut io = Io { scratch: &mut self.scratch, bytes_max, done: &mut self.done };
            link.handle(event, &mut io)
        } else {
            let Ok(step) = link.check_open(&mut self.done) else {
                self.refused();
                return self.close(index);
            };
            slot.is_open = true;
            self.opening -= 1;
            self.report.connects += 1;
            step
        };
        self.settle(index, step);
        self.pump(index);
    }

    /// What becomes of a connection after something was done on it.
    fn settle(&mut self, index: usize, step: Step) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(link) = &slot.link else { return };
        let is_worn = match self.settings.pool {
            Mode::Keep => false,
            Mode::Churn { requests } => slot.uses >= requests,
            Mode::Recorded => slot.is_last && slot.pending.is_empty(),
        };
        if step == Step::Spent || (is_worn && link.busy() == 0) {
            let is_kept = self.settings.pool == Mode::Keep && step == Step::Spent;
            self.close(index);
            // a server that closes its connections gets them back at once
            if is_kept && poller::now() >= self.reopen_at {
                self.connect_one();
            }
            return;
        }
        let wants_write = link.wants_write();
        if slot.watches_write != wants_write {
            slot.watches_write = wants_write;
            let interest = if wants_write { Interest::Write } else { Interest::Read };
            // cannot fail on a socket that is watched; if it did, the time limit ends it
            let _ = self.poller.change(link.socket(), token(index, slot.age), interest);
        }
        if !slot.is_listed && !is_worn && link.has_room() && slot.key.is_none() {
            slot.is_listed = true;
            self.free.push_back(index);
        }
    }

    /// Closes a connection; what waits for it goes on waiting, and a place for which nothing waits
    /// is empty.
    fn close(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        // dropping the socket takes it out of the poller
        let Some(mut link) = slot.link.take() else { return };
        link.abandon(&mut self.done);
        self.open -= 1;
        self.opening -= usize::from(!slot.is_open);
        slot.is_open = false;
        if slot.pending.is_empty() {
            self.release(index);
        }
    }

    /// Makes a place empty.
    fn release(&mut self, index: usize) {
        if self.slots.get(index).is_some_and(|slot| slot.link.is_some()) {
            // comes back here
            return self.close(index);
        }
        let Some(slot) = self.slots.get_mut(index) else { return };
        if let Some(key) = slot.key.take() {
            self.by_key.remove(&key);
        }
        slot.is_last = false;
        self.empty.push(index);
    }

    /// Ends what has waited too long: for an answer, or (`done` has it as not sent) for a
    /// connection. Opens what is missing; `is_over`: nothing new will come.
    pub fn check_times(&mut self, now: Nanos, is_over: bool) {
        let before = now.saturating_sub(self.settings.timeout_ms.saturating_mul(1_000_000));
        for _ in 0..CHECKED_PER_TURN.min(self.slots.len()) {
            self.checked = (self.checked + 1) % self.slots.len();
            self.check_slot(self.checked, before);
        }
        while let Some(parcel) = pop_before(&mut self.waiting, before) {
            self.done.push_back(parcel);
        }
        // a closed loop, or one whose connections the server closed, gets them back here
        let is_short = self.open < self.settings.part(self.settings.connections);
        if self.settings.pool == Mode::Keep && is_short && !is_over && now >= self.reopen_at {
            self.connect_one();
        }
    }

    fn check_slot(&mut self, index: usize, before: Nanos) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        while let Some(parcel) = pop_before(&mut slot.pending, before) {
            self.pending -= 1;
            self.done.push_back(parcel);
        }
        match &mut slot.link {
            Some(link) if slot.is_open && link.busy() > 0 => {
                let step = link.expire(before, &mut self.done);
                self.settle(index, step);
            }
            Some(_) => {}
            None if slot.key.is_some() && slot.pending.is_empty() => self.release(index),
            None => self.pump(index),
        }
    }

    /// The run is over: whatever is out or waits comes back.
    pub fn abandon(&mut self) {
        for slot in &mut self.slots {
            if let Some(mut link) = slot.link.take() {
                link.abandon(&mut self.done);
            }
            self.done.extend(slot.pending.drain(..));
        }
        self.done.extend(self.waiting.drain(..));
        (self.pending, self.open, self.opening) = (0, 0, 0);
        for parcel in self.done.iter_mut().filter(|parcel| parcel.sent_at == 0) {
            parcel.end = End::Unsent;
        }
    }
}

/// The first of a queue, where it was planned before a moment.
fn pop_before(queue: &mut VecDeque<Box<Parcel>>, before: Nanos) -> Option<Box<Parcel>> {
    let is_before = queue.front().is_some_and(|parcel| parcel.planned_at < before);
    if is_before { queue.pop_front() } else { None }
}

/// What the poller calls a connection.
fn token(index: usize, age: u32) -> u64 {
    u64::from(age) << 32 | index as u64
}
