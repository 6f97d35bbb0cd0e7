//! Batches that were read from the journal and are not done with.
//!
//! Owns: [`Window`], and what a record's notice is. Never: a file. Invariant: batches are passed in
//! their order, each when all of its records are done with. One of which only held records are left
//! (`held`) takes no room: what is behind it is read, but not passed.

use super::lane::{Job, Source};
use super::shelf::SINK;
use crate::journal::dead::{Letter, LetterState};
use crate::journal::frame::Class;
use crate::journal::sink::{Batch, Kept};
use crate::money_event::EventType;
use crate::money_event::codec::read_event;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Batches that may be open.
const BATCHES_MAX: usize = 64;

/// Records of neighbours that are kept as one where they wait for held records.
const TOGETHER_MAX: u64 = 16_384;

/// The batches.
#[derive(Debug, Default)]
pub struct Window {
    /// By the first sequence behind each.
    open: BTreeMap<u64, Open>,
    /// Those with records that are on their way.
    busy: usize,
    last: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Open {
    from: u64,
    left: u64,
    /// Of those that are left: not on their way.
    held: u64,
    delivered: u64,
    dead: u64,
}

impl Open {
    fn is_busy(&self) -> bool {
        self.left > self.held
    }

    fn with(self, later: Self) -> Self {
        Self {
            from: self.from,
            left: self.left + later.left,
            held: self.held + later.held,
            delivered: self.delivered + later.delivered,
            dead: self.dead + later.dead,
        }
    }
}

/// What a cursor may pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub next: u64,
    pub delivered: u64,
    pub dead: u64,
}

impl Window {
    /// Whether another batch may be read.
    pub fn has_room(&self) -> bool {
        let done = self.open.values().take_while(|open| open.left == 0);
        self.busy + done.take(BATCHES_MAX).count() < BATCHES_MAX
    }

    /// Takes a batch: its notices, and records that nobody can read.
    /// `known` says what became of a record that had been put aside before the last stop.
    pub fn open(
        &mut self,
        batch: Batch,
        known: &dyn Fn(u64) -> Option<LetterState>,
        (now_us, now): (u64, Instant),
    ) -> (Vec<Job>, Vec<Letter>) {
        let mut open = Open { from: self.last, ..Open::default() };
        let (mut jobs, mut unreadable) = (Vec::new(), Vec::new());
        for record in batch.records.into_iter().filter(|record| record.class == Class::Durable) {
            // what is no event, or wants no notice, is done
            if EventType::of_kind(record.kind).is_none() {
                open.delivered += 1;
                continue;
            }
            if let Some(state) = known(record.sequence) {
                open.dead += u64::from(state == LetterState::Dead);
                continue;
            }
            match job_of_record(record, (0, now_us), now) {
                Ok(job) if job.url.is_empty() => open.delivered += 1,
                Ok(job) => {
                    open.left += 1;
                    jobs.push(job);
                }
                Err(letter) => {
                    open.left += 1;
                    unreadable.push(*letter);
                }
            }
        }
        self.last = batch.next;
        self.busy += usize::from(open.is_busy());
        self.open.insert(batch.next, open);
        if !open.is_busy() {
            self.join(batch.next);
        }
        (jobs, unreadable)
    }

    fn change(&mut self, sequence: u64, change: impl FnOnce(&mut Open)) {
        let mut behind = self.open.range_mut(sequence.saturating_add(1)..);
        let Some((next, open)) = behind.next() else { return };
        let (next, was_busy) = (*next, open.is_busy());
        change(open);
        match (was_busy, open.is_busy()) {
            (true, false) => {
                self.busy -= 1;
                self.join(next);
            }
            (false, true) => self.busy += 1,
            _ => {}
        }
    }

    /// Makes one of a batch and its neighbours, where none of them is busy and none can be passed:
    /// there may be as many as the journal has.
    fn join(&mut self, next: u64) {
        if self.open.values().next().is_none_or(|open| open.left == 0) {
            return;
        }
        let Some(open) = self.open.get(&next).copied() else { return };
        let (mut key, mut joined) = (next, open);
        if let Some((before, one)) =
            self.open.range(..next).next_back().map(|(at, one)| (*at, *one))
            && !one.is_busy()
            && next - one.from <= TOGETHER_MAX
        {
            self.open.remove(&before);
            joined = one.with(joined);
        }
        let behind = self.open.range(next + 1..).next().map(|(at, one)| (*at, *one));
        if let Some((after, one)) = behind
            && !one.is_busy()
            && after - joined.from <= TOGETHER_MAX
        {
            self.open.remove(&next);
            (key, joined) = (after, joined.with(one));
        }
        self.open.insert(key, joined);
    }

    /// A record is delivered.
    pub fn delivered(&mut self, sequence: u64) {
        self.change(sequence, |open| {
            open.left = open.left.saturating_sub(1);
            open.delivered += 1;
        });
    }

    /// A record is a letter, pending or dead; it is written.
    pub fn is_set_aside(&mut self, sequence: u64, is_dead: bool) {
        self.change(sequence, |open| {
            open.left = open.left.saturating_sub(1);
            open.dead += u64::from(is_dead);
        });
    }

    /// A record that was on its way is held.
    pub fn is_held(&mut self, sequence: u64) {
        self.change(sequence, |open| open.held += 1);
    }

    /// One that was held is on its way.
    pub fn is_taken_up(&mut self, sequence: u64) {
        self.change(sequence, |open| open.held = open.held.saturating_sub(1));
    }

    /// What the cursor may pass now.
    pub fn done(&self) -> Option<Done> {
        let ready = self.open.iter().take_while(|(_, open)| open.left == 0);
        ready.fold(None, |sum, (next, open)| {
            let sum = sum.unwrap_or(Done::default());
            Some(Done {
                next: *next,
                delivered: sum.delivered + open.delivered,
                dead: sum.dead + open.dead,
            })
        })
    }

    /// It has passed it.
    pub fn passed(&mut self, done: &Done) {
        self.open = self.open.split_off(&(done.next + 1));
    }
}

/// A record of the journal as a notice, with its tries so far and when it was first to be sent; the
/// letter of one that nobody can read.
pub fn job_of_record(
    record: Kept,
    (tries, first_us): (u32, u64),
    now: Instant,
) -> Result<Job, Box<Letter>> {
    let Kept { sequence, kind, payload, .. } = record;
    let letter = Letter {
        sink: SINK.to_owned(),
        reason: "cannot be read".to_owned(),
        tries,
        buried_us: first_us,
        sequence,
        kind,
        payload,
        ..Letter::default()
    };
    let source = Source::Record { sequence, kind, payload: Vec::new() };
    let Some(mut job) = job_of(source, &letter, now) else { return Err(Box::new(letter)) };
    if let Source::Record { payload, .. } = &mut job.source {
        *payload = letter.payload;
    }
    Ok(job)
}

/// The notice of an event; `None` where the record cannot be read.
pub fn job_of(source: Source, letter: &Letter, now: Instant) -> Option<Job> {
    let kind = EventType::of_kind(letter.kind)?;
    let event = read_event(kind, &letter.payload).ok()?;
    let (bidder, url) = (event.bidder, event.url);
    let (tries, first_us) = (letter.tries, letter.buried_us);
    Some(Job { source, kind, bidder, url, tries, first_us, since: now })
}
