//! What the thread reads from the disk and writes there.
//!
//! Owns: the order of what is written. Never: a try. Invariants: what became of letters is written
//! before new letters, for it makes room; a record that finds no room as a letter is held, and its
//! bidder alone waits for that.

use super::super::held::About;
use super::super::lane::{Gate, Job, Source};
use super::super::schedule::micros;
use super::super::shelf::{SINK, Shelf};
use super::super::tally::Result as Ended;
use super::super::window::job_of_record;
use super::{PASS_EVERY, Sender};
use crate::clock;
use crate::journal::dead::{Change, Letter, LetterState};
use crate::journal::sink::{Batch, Kept};
use crate::money_event::EventType;
use std::collections::HashMap;
use tokio::time::Instant;

/// Records that are held, at some 50 bytes each; with more, nothing new is read.
const HELD_MAX: usize = 2_000_000;
/// Held records of one bidder that are taken up at once, where fewer of it than the next wait.
const TAKE_UP_MAX: usize = 256;
const WAITING_MAX: usize = 32;

impl Sender {
    /// Reads ahead, as far as the window has room.
    pub(super) fn read(&mut self) {
        let now_us = self.now_us();
        while self.window.has_room() && self.letters.is_empty() && self.held.count() < HELD_MAX {
            let Some(batch) = self.shelf.as_mut().and_then(Shelf::read) else { return };
            let store = &self.shelf;
            let known = |sequence| store.as_ref().and_then(|store| store.state_of(sequence));
            let at = (now_us, clock::timer());
            let (jobs, unreadable) = self.window.open(batch, &known, at);
            for letter in unreadable {
                self.bury_unread(letter);
            }
            for job in jobs {
                self.queue(job);
            }
        }
    }

    fn queue(&mut self, job: Job) {
        let bidder = job.bidder.clone();
        if let Some(job) = self.lane(&bidder).queue(job, clock::timer()) {
            self.set_aside(job, "left alone", None);
        }
    }

    /// Reads again what was held, of bidders that may have some of it now.
    pub(super) fn take_up(&mut self) {
        if self.held.count() == 0 || !self.letters.is_empty() {
            return;
        }
        let (now, now_us) = (clock::timer(), self.now_us());
        let mut room = HashMap::new();
        let mut first = u64::MAX;
        for (bidder, sequence, about) in self.held.firsts() {
            let count = self.may_take_up(&bidder, about, (now, now_us));
            if count > 0 {
                first = first.min(sequence);
                room.insert(bidder, count);
            }
        }
        if !room.is_empty()
            && let Some(batch) = self.shelf.as_mut().and_then(|shelf| shelf.read_again(first))
        {
            self.take_up_from(batch, first, &mut room);
        }
    }

    /// How many held records of a bidder may be on their way now.
    fn may_take_up(&mut self, bidder: &str, first: About, (now, now_us): (Instant, u64)) -> usize {
        let retry = self.settings.retry;
        let Some(store) = &self.shelf else { return 0 };
        let (pending, dead) = store.room_for(bidder);
        if retry.is_over(first.first_us, now_us) && dead > 0 {
            return TAKE_UP_MAX;
        }
        let lane = self.lane(bidder);
        if lane.queue.len() >= WAITING_MAX {
            return 0;
        }
        match lane.gate(now) {
            Gate::Open if lane.may_retry(first.tries, now) => TAKE_UP_MAX,
            // it is probed by one of these where none of its letters is due
            Gate::Probe if lane.due(now_us).is_none() && lane.queue.is_empty() => 1,
            Gate::Shut | Gate::Probe => pending.min(TAKE_UP_MAX),
            Gate::Open | Gate::Full => 0,
        }
    }

    fn take_up_from(&mut self, batch: Batch, from: u64, room: &mut HashMap<String, usize>) {
        let now_us = self.now_us();
        let mut wanted = HashMap::new();
        for bidder in room.keys() {
            let held = self.held.within(bidder, from, batch.next);
            wanted.extend(held.into_iter().map(|sequence| (sequence, bidder.clone())));
        }
        for record in batch.records {
            let sequence = record.sequence;
            let Some(bidder) = wanted.remove(&sequence) else { continue };
            let Some(left) = room.get_mut(&bidder).filter(|left| **left > 0) else { continue };
            let Some(about) = self.held.take(&bidder, sequence) else { continue };
            *left -= 1;
            self.window.is_taken_up(sequence);
            self.again(record, about, now_us);
        }
        // the journal no longer has these
        for (sequence, bidder) in wanted {
            if self.held.take(&bidder, sequence).is_some() {
                tracing::error!(%bidder, sequence, "a notice that was held is lost with its record");
                self.window.is_taken_up(sequence);
                self.window.is_set_aside(sequence, true);
            }
        }
    }

    /// One that was held goes on its way, or is dead.
    fn again(&mut self, record: Kept, about: About, now_us: u64) {
        let (tries, first_us) = (about.tries, about.first_us);
        match job_of_record(record, (tries, first_us), clock::timer()) {
            Ok(job) if self.settings.retry.is_over(first_us, now_us) => {
                let Job { source: Source::Record { sequence, kind, payload }, bidder, .. } = job
                else {
                    return;
                };
                self.tally.count(job.kind, Ended::Dead);
                self.bury(Letter {
                    sink: SINK.to_owned(),
                    reason: format!("not delivered in time, after {tries} tries"),
                    tries,
                    buried_us: first_us,
                    sequence,
                    kind,
                    payload,
                    group: bidder,
                    due_us: 0,
                });
            }
            Ok(job) => self.queue(job),
            Err(letter) => self.bury_unread(*letter),
        }
    }

    /// Letters whose time is over without a turn are dead, too.
    pub(super) fn give_up(&mut self, now_us: u64) {
        let Some(store) = &self.shelf else { return };
        let end_us = now_us.saturating_sub(micros(self.settings.retry.span));
        for (number, bidder, due_us) in store.older_than(end_us) {
            let tries = store.tries(number);
            // one that is under way is judged when it ends
            let lane = self.lanes.get_mut(&bidder);
            if lane.is_some_and(|lane| lane.forget(due_us, number)) {
                let reason = format!("not delivered in time, after {tries} tries");
                tracing::warn!(%bidder, number, %reason, "a notice is dead");
                let state = LetterState::Dead;
                self.changes.push(Change { number, state, tries, reason, ..Change::default() });
            }
        }
    }

    fn bury_unread(&mut self, letter: Letter) {
        self.tally.count(EventType::default(), Ended::Dead);
        self.bury(letter);
    }

    pub(super) fn bury(&mut self, letter: Letter) {
        let (bidder, reason) = (&letter.group, &letter.reason);
        tracing::warn!(%bidder, sequence = letter.sequence, %reason, "a notice is dead");
        self.letters.push(Letter { due_us: 0, ..letter });
    }

    /// Makes durable what has come of notices: of letters, then new letters, then the cursor.
    pub(super) fn write(&mut self) {
        if !self.write_changes() || !self.write_letters() {
            return;
        }
        let now = clock::timer();
        let is_due = self.passed.is_none_or(|passed| now.duration_since(passed) >= PASS_EVERY);
        if (is_due || !self.window.has_room())
            && let Some(store) = &mut self.shelf
            && let Some(done) = self.window.done()
            && store.pass(&done)
        {
            self.passed = Some(now);
            self.window.passed(&done);
        }
    }

    fn write_changes(&mut self) -> bool {
        let Some(store) = self.shelf.as_mut().filter(|_| !self.changes.is_empty()) else {
            return true;
        };
        let Some(pending) = store.change(&self.changes) else { return false };
        self.changes.clear();
        for (number, bidder, due_us) in pending {
            self.lane(&bidder).aside.insert((due_us, number));
        }
        true
    }

    /// As many as there is room for; records that find none are held.
    fn write_letters(&mut self) -> bool {
        let Some(store) = self.shelf.as_mut().filter(|_| !self.letters.is_empty()) else {
            return true;
        };
        let Some((pending, put)) = store.put(&mut self.letters) else { return false };
        for Letter { sequence, due_us, .. } in put {
            self.window.is_set_aside(sequence, due_us == 0);
        }
        for (number, bidder, due_us) in pending {
            self.lane(&bidder).aside.insert((due_us, number));
        }
        for Letter { group, sequence, buried_us: first_us, tries, .. } in self.letters.drain(..) {
            self.window.is_held(sequence);
            self.held.add(&group, sequence, About { first_us, tries });
        }
        true
    }
}
