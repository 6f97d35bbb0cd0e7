//! What waits to be written.
//!
//! Owns: [`Queue`]. Never: a file. Invariant: nobody who adds to it waits for the disk; each bound of
//! the settings holds; durable records are taken in the order in which they were added, and before
//! buffered ones.

use super::frame::Class;
use super::maker::Prepared;
use super::published::lock;
use super::store::entry_bytes;
use super::ticket::Ticket;
use super::{Place, Refused, Settings};
use crate::clock;
use crate::money_event::EventId;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A record on its way.
#[derive(Debug)]
pub struct Item {
    pub kind: u8,
    pub class: Class,
    pub payload: Vec<u8>,
    /// Who waits for it; none for buffered ones.
    pub ticket: Option<Ticket>,
    /// The event that it claims, and when that one's token ends.
    pub event: Option<(EventId, u64)>,
}

/// A line of records, bounded.
#[derive(Debug)]
struct Line {
    items: VecDeque<Item>,
    bytes: usize,
    oldest: Option<Instant>,
    records_max: usize,
    bytes_max: usize,
    wait: Duration,
}

impl Line {
    const fn new(records_max: usize, bytes_max: usize, wait: Duration) -> Self {
        Self { items: VecDeque::new(), bytes: 0, oldest: None, records_max, bytes_max, wait }
    }

    fn push(&mut self, item: Item) -> Result<(), Item> {
        let bytes = entry_bytes(item.payload.len());
        if self.items.len() >= self.records_max || self.bytes + bytes > self.bytes_max {
            return Err(item);
        }
        self.oldest.get_or_insert_with(clock::monotonic);
        self.bytes += bytes;
        self.items.push_back(item);
        Ok(())
    }

    fn take(&mut self, out: &mut Vec<Item>, room: &mut usize) {
        while let Some(item) = self.items.front() {
            let bytes = entry_bytes(item.payload.len());
            if bytes > *room {
                return;
            }
            *room -= bytes;
            self.bytes -= bytes;
            out.extend(self.items.pop_front());
        }
        self.oldest = None;
    }

    fn due_at(&self) -> Option<Instant> {
        self.oldest.map(|oldest| oldest + self.wait)
    }
}

#[derive(Debug)]
struct State {
    durable: Line,
    buffered: Line,
    made: Vec<Result<Prepared, Place>>,
    ticks: u32,
    is_closed: bool,
    is_waiting: bool,
}

/// What the writer is to do.
#[derive(Debug, Default)]
pub struct Work {
    pub items: Vec<Item>,
    /// Segments that were made, and places where none could be.
    pub made: Vec<Result<Prepared, Place>>,
    /// Periods of probing that are over.
    pub ticks: u32,
    /// Nothing came for `mark_after`.
    pub is_idle: bool,
    /// Nothing will come any more.
    pub is_over: bool,
}

/// What waits to be written.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    work: Condvar,
    commit_records: usize,
    commit_bytes_max: usize,
    mark_after: Duration,
}

impl Queue {
    /// Empty.
    pub fn new(settings: &Settings) -> Self {
        let Settings { waiting_records_max, waiting_bytes_max, commit_wait, .. } = *settings;
        let Settings { buffered_records_max, buffered_bytes_max, buffered_wait, .. } = *settings;
        let state = State {
            durable: Line::new(waiting_records_max, waiting_bytes_max, commit_wait),
            buffered: Line::new(buffered_records_max, buffered_bytes_max, buffered_wait),
            made: Vec::new(),
            ticks: 0,
            is_closed: false,
            is_waiting: false,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            commit_records: settings.commit_records,
            commit_bytes_max: settings.commit_bytes_max,
            mark_after: settings.mark_after,
        }
    }

    /// Adds a record, or says at once that it cannot.
    pub fn push(&self, item: Item) -> Result<(), (Item, Refused)> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err((item, Refused::Closed));
        }
        let line = match item.class {
            Class::Durable => &mut state.durable,
            Class::Buffered => &mut state.buffered,
        };
        line.push(item).map_err(|item| (item, Refused::Busy))?;
        // The writer looks by itself when the first one's time has come; it must be told of a first
        // one, and that there are enough.
        let (durable, buffered) = (state.durable.items.len(), state.buffered.items.len());
        let is_news = durable == 1 || buffered == 1 || durable == self.commit_records;
        if is_news && state.is_waiting {
            drop(state);
            self.work.notify_one();
        }
        Ok(())
    }

    /// Tells the writer how the making of a segment went.
    pub fn tell_made(&self, made: Result<Prepared, Place>) {
        lock(&self.state).made.push(made);
        self.work.notify_one();
    }

    /// Tells the writer that a period of probing is over.
    pub fn tell_tick(&self) {
        lock(&self.state).ticks += 1;
        self.work.notify_one();
    }

    /// Nothing is taken any more; what waits is still written.
    pub fn close(&self) {
        lock(&self.state).is_closed = true;
        self.work.notify_one();
    }

    /// Durable and buffered records that wait.
    pub fn waiting(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.durable.items.len(), state.buffered.items.len())
    }

    /// Waits for something to do. `last`: when the last commit ended.
    pub fn next(&self, last: Instant) -> Work {
        let mut state = lock(&self.state);
        loop {
            let now = clock::monotonic();
            let idle_at = last + self.mark_after;
            let due = [state.durable.due_at(), state.buffered.due_at()];
            let due_at = due.into_iter().flatten().min();
            let is_enough = state.durable.items.len() >= self.commit_records
                || state.durable.bytes + state.buffered.bytes >= self.commit_bytes_max;
            let is_due = is_enough || state.is_closed || due_at.is_some_and(|at| at <= now);
            let has_news = !state.made.is_empty() || state.ticks > 0;
            let is_idle = due_at.is_none() && idle_at <= now;
            if is_due || has_news || is_idle {
                return self.take(&mut state, is_due, is_idle);
            }
            let until = due_at.unwrap_or(idle_at);
            state.is_waiting = true;
            let patience = until.saturating_duration_since(now);
            (state, _) =
                self.work.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            state.is_waiting = false;
        }
    }

    fn take(&self, state: &mut State, is_due: bool, is_idle: bool) -> Work {
        let mut work = Work {
            made: std::mem::take(&mut state.made),
            ticks: std::mem::take(&mut state.ticks),
            is_idle,
            ..Work::default()
        };
        if is_due {
            let mut room = self.commit_bytes_max;
            state.durable.take(&mut work.items, &mut room);
            state.buffered.take(&mut work.items, &mut room);
        }
        let is_empty = state.durable.items.is_empty() && state.buffered.items.is_empty();
        work.is_over = state.is_closed && is_empty;
        work
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(class: Class, payload: usize) -> Item {
        Item { kind: 9, class, payload: vec![0; payload], ticket: None, event: None }
    }

    #[test]
    fn more_than_its_bounds_is_refused_at_once() {
        let settings =
            Settings { waiting_records_max: 2, buffered_bytes_max: 100, ..Settings::new("unused") };
        let queue = Queue::new(&settings);
        assert!(queue.push(item(Class::Durable, 1)).is_ok());
        assert!(queue.push(item(Class::Durable, 1)).is_ok());
        let (_, refused) = queue.push(item(Class::Durable, 1)).unwrap_err();
        assert_eq!(refused, Refused::Busy);
        assert!(queue.push(item(Class::Buffered, 60)).is_ok());
        assert!(queue.push(item(Class::Buffered, 60)).is_err());
        assert_eq!(queue.waiting(), (2, 1));
        queue.close();
        let (_, refused) = queue.push(item(Class::Durable, 1)).unwrap_err();
        assert_eq!(refused, Refused::Closed);
    }

    #[test]
    fn a_commit_takes_durable_records_first_and_no_more_than_its_bytes() {
        let settings = Settings { commit_bytes_max: 4096, ..Settings::new("unused") };
        let queue = Queue::new(&settings);
        for _ in 0..4 {
            queue.push(item(Class::Buffered, 500)).unwrap();
            queue.push(item(Class::Durable, 1500)).unwrap();
        }
        queue.close();
        let taken = |work: &Work| -> Vec<Class> { work.items.iter().map(|i| i.class).collect() };
        let work = queue.next(clock::monotonic());
        let (durable, buffered) = (Class::Durable, Class::Buffered);
        assert_eq!(taken(&work), [durable, durable, buffered, buffered]);
        assert!(!work.is_over);
        let work = queue.next(clock::monotonic());
        assert_eq!(taken(&work), [durable, durable, buffered, buffered]);
        assert!(work.is_over);
    }
}
