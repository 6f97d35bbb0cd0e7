//! Batches that were read from the journal and are not done with.
//!
//! Owns: [`Window`], and what a record's notice is. Never: a file. Invariant: batches are passed in
//! their order, each when all of its records are done with.

use super::lane::{Job, Source};
use super::shelf::SINK;
use crate::journal::dead::{Letter, LetterState};
use crate::journal::frame::Class;
use crate::journal::sink::Batch;
use crate::money_event::EventType;
use crate::money_event::codec::read_event;
use std::collections::VecDeque;
use tokio::time::Instant;

/// Batches that may be open.
const BATCHES_MAX: usize = 64;

/// The batches, oldest first.
#[derive(Debug, Default)]
pub struct Window {
    open: VecDeque<Open>,
    /// Number of the first of them.
    first: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Open {
    next: u64,
    left: u64,
    delivered: u64,
    dead: u64,
}

/// What a cursor may pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub next: u64,
    pub delivered: u64,
    pub dead: u64,
    batches: usize,
}

impl Window {
    /// Whether another batch may be read.
    pub fn has_room(&self) -> bool {
        self.open.len() < BATCHES_MAX
    }

    /// Takes a batch: its number, its notices, and records that nobody can read.
    /// `known` says what became of a record that had been put aside before the last stop.
    pub fn open(
        &mut self,
        batch: Batch,
        known: &dyn Fn(u64) -> Option<LetterState>,
        (now_us, now): (u64, Instant),
    ) -> (u64, Vec<Job>, Vec<Letter>) {
        let id = self.first + self.open.len() as u64;
        let mut open = Open { next: batch.next, ..Open::default() };
        let (mut jobs, mut unreadable) = (Vec::new(), Vec::new());
        for record in batch.records.into_iter().filter(|record| record.class == Class::Durable) {
            let (sequence, kind) = (record.sequence, record.kind);
            let letter = Letter {
                sink: SINK.to_owned(),
                reason: "cannot be read".to_owned(),
                buried_us: now_us,
                sequence,
                kind,
                payload: record.payload,
                ..Letter::default()
            };
            // what is no event, or wants no notice, is done
            if EventType::of_kind(kind).is_none() {
                open.delivered += 1;
                continue;
            }
            if let Some(state) = known(sequence) {
                open.dead += u64::from(state == LetterState::Dead);
                continue;
            }
            let source = Source::Record { batch: id, sequence, kind, payload: Vec::new() };
            match job_of(source, &letter, now) {
                Some(job) if job.url.is_empty() => open.delivered += 1,
                Some(mut job) => {
                    if let Source::Record { payload, .. } = &mut job.source {
                        *payload = letter.payload;
                    }
                    open.left += 1;
                    jobs.push(job);
                }
                None => {
                    open.left += 1;
                    unreadable.push(letter);
                }
            }
        }
        self.open.push_back(open);
        (id, jobs, unreadable)
    }

    fn get(&mut self, batch: u64) -> Option<&mut Open> {
        let at = usize::try_from(batch.checked_sub(self.first)?).ok()?;
        self.open.get_mut(at)
    }

    /// A record of the batch is delivered.
    pub fn delivered(&mut self, batch: u64) {
        if let Some(open) = self.get(batch) {
            open.left = open.left.saturating_sub(1);
            open.delivered += 1;
        }
    }

    /// A record of the batch is a letter (as soon as that is written), pending or dead.
    pub fn is_set_aside(&mut self, batch: u64, is_dead: bool) {
        if let Some(open) = self.get(batch) {
            open.left = open.left.saturating_sub(1);
            open.dead += u64::from(is_dead);
        }
    }

    /// What the cursor may pass now.
    pub fn done(&self) -> Option<Done> {
        let ready = self.open.iter().take_while(|open| open.left == 0);
        let done = ready.fold(Done::default(), |sum, open| Done {
            next: open.next,
            delivered: sum.delivered + open.delivered,
            dead: sum.dead + open.dead,
            batches: sum.batches + 1,
        });
        (done.batches > 0).then_some(done)
    }

    /// It has passed it.
    pub fn passed(&mut self) {
        let done = self.open.iter().take_while(|open| open.left == 0).count();
        self.open.drain(..done);
        self.first += done as u64;
    }
}

/// The notice of an event; `None` where the record cannot be read.
pub fn job_of(source: Source, letter: &Letter, now: Instant) -> Option<Job> {
    let kind = EventType::of_kind(letter.kind)?;
    let event = read_event(kind, &letter.payload).ok()?;
    let (bidder, url) = (event.bidder, event.url);
    let (tries, first_us) = (letter.tries, letter.buried_us);
    Some(Job { source, kind, bidder, url, tries, first_us, since: now })
}
