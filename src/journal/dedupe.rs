//! Which events have been counted.
//!
//! Owns: [`Dedupe`]. Never: a file (it is built anew from the journal at the start), a clock.
//! Invariant: while an id's token lives, [`Dedupe::claim`] answers `New` for it once, unless that
//! claim was released (its record was refused), or the index was full (counted; the ledger then
//! still counts the event once, by its id).
//!
//! Ids are kept by the step of time in which their token ends: the same token always ends in the
//! same step, so that one look suffices, and a step is dropped whole. What was dropped, or not kept at
//! the start, is never counted again. It is that, and not what a clock says, that refuses an event: a
//! step from which nothing was dropped is open, however late it is.

use super::published::lock;
use super::ticket::Ticket;
use crate::money_event::EventId;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Ids are spread over so many locks.
const SHARDS: usize = 16;

/// Ids are cut from a keyed hash: they are spread already, and nobody can choose them.
#[derive(Clone, Copy, Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, id: u128) {
        let [low, high] = [id, id >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)));
        // the multiplier of a linear congruential generator (Knuth, MMIX), for ids of a test
        self.0 = (low.unwrap_or(0) ^ high.unwrap_or(0)).wrapping_mul(6_364_136_223_846_793_005);
    }
}

type Hashing = BuildHasherDefault<IdHasher>;

#[derive(Debug, Default)]
struct Shard {
    /// By the number of the step in which they end.
    steps: BTreeMap<u64, HashSet<u128, Hashing>>,
    /// Claimed, not yet durable.
    pending: HashMap<u128, Ticket, Hashing>,
    /// Refused without knowing that they are not durable elsewhere, by their steps.
    doubted: BTreeMap<u64, HashSet<u128, Hashing>>,
    /// Steps below are forgotten, and nothing in them is counted any more.
    forgotten: u64,
}

/// What an event is.
#[derive(Clone, Debug)]
pub enum Claim {
    /// It was not there. Its record is to be appended with this ticket, then settled or released.
    New(Ticket),
    /// It is just being written.
    InFlight(Ticket),
    /// It was counted.
    Seen,
    /// Its token ended so long ago that nobody knows any more.
    Forgotten,
}

/// Ids of events whose tokens live.
#[derive(Debug)]
pub struct Dedupe {
    shards: Vec<Mutex<Shard>>,
    count: AtomicUsize,
    most: usize,
    unremembered: AtomicU64,
    step_s: u64,
}

impl Dedupe {
    /// Remembers at most so many ids, and forgets them in such steps.
    pub fn new(most: usize, step: Duration) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            most,
            unremembered: AtomicU64::new(0),
            step_s: step.as_secs().max(1),
        }
    }

    fn shard(&self, id: EventId) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::try_from((id.0 >> 124) & (SHARDS as u128 - 1)).unwrap_or(0))
    }

    /// Asks for an event whose token ends at `expires_s` (seconds since the epoch).
    pub fn claim(&self, id: EventId, expires_s: u64) -> Claim {
        let Some(shard) = self.shard(id) else { return Claim::Forgotten };
        let shard = &mut *lock(shard);
        let step = expires_s / self.step_s;
        if step < shard.forgotten {
            return Claim::Forgotten;
        }
        if shard.steps.get(&step).is_some_and(|ids| ids.contains(&id.0)) {
            return Claim::Seen;
        }
        match shard.pending.entry(id.0) {
            Entry::Occupied(ticket) => Claim::InFlight(ticket.get().clone()),
            Entry::Vacant(slot) => Claim::New(slot.insert(Ticket::default()).clone()),
        }
    }

    /// A claimed event is durable; true where an earlier claim of it was in doubt.
    pub fn settle(&self, id: EventId, expires_s: u64) -> bool {
        let Some(shard) = self.shard(id) else { return false };
        let shard = &mut *lock(shard);
        shard.pending.remove(&id.0);
        let doubted = shard.doubted.get_mut(&(expires_s / self.step_s));
        let was_doubted = doubted.is_some_and(|ids| ids.remove(&id.0));
        self.count.fetch_sub(usize::from(was_doubted), Ordering::Relaxed);
        self.keep(shard, id, expires_s);
        was_doubted
    }

    /// A claimed event was refused, and may be durable elsewhere all the same: it may come again.
    /// Where the index is full nobody knows of the doubt.
    pub fn doubt(&self, id: EventId, expires_s: u64) {
        let Some(shard) = self.shard(id) else { return };
        let shard = &mut *lock(shard);
        shard.pending.remove(&id.0);
        let has_room = self.len() < self.most;
        if has_room && shard.doubted.entry(expires_s / self.step_s).or_default().insert(id.0) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A claimed event was refused: it may come again.
    pub fn release(&self, id: EventId) {
        if let Some(shard) = self.shard(id) {
            lock(shard).pending.remove(&id.0);
        }
    }

    /// An event was found in the journal. One that is over is not kept, and never counts again.
    pub fn remember(&self, id: EventId, expires_s: u64, now_s: u64) {
        let Some(shard) = self.shard(id) else { return };
        let shard = &mut *lock(shard);
        let step = expires_s / self.step_s;
        if self.is_over(step, now_s) {
            shard.forgotten = shard.forgotten.max(step + 1);
        } else {
            self.keep(shard, id, expires_s);
        }
    }

    fn keep(&self, shard: &mut Shard, id: EventId, expires_s: u64) {
        let step = expires_s / self.step_s;
        if step < shard.forgotten {
            return;
        }
        if self.count.load(Ordering::Relaxed) >= self.most {
            self.unremembered.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if shard.steps.entry(step).or_default().insert(id.0) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_over(&self, step: u64, now_s: u64) -> bool {
        (step + 1).saturating_mul(self.step_s) <= now_s
    }

    /// Nothing whose token ended before this counts: records of it may have been removed.
    pub fn close_before(&self, end_s: u64) {
        for shard in &self.shards {
            let shard = &mut *lock(shard);
            shard.forgotten = shard.forgotten.max(end_s / self.step_s);
        }
    }

    /// Drops the steps that are over. `now_s` must not jump forward: an event whose step was dropped
    /// is refused, also where its token lives by the clock that is set right.
    pub fn forget(&self, now_s: u64) {
        for shard in &self.shards {
            let mut dropped = Vec::new();
            let shard = &mut *lock(shard);
            while let Some(entry) = shard.steps.first_entry()
                && self.is_over(*entry.key(), now_s)
            {
                shard.forgotten = shard.forgotten.max(entry.key() + 1);
                dropped.push(entry.remove());
            }
            while let Some(entry) = shard.doubted.first_entry()
                && self.is_over(*entry.key(), now_s)
            {
                dropped.push(entry.remove());
            }
            let count = dropped.iter().map(HashSet::len).sum();
            self.count.fetch_sub(count, Ordering::Relaxed);
        }
    }

    /// Ids that are remembered.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events since the start that could not be remembered because the index was full.
    pub fn unremembered(&self) -> u64 {
        self.unremembered.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EventId = EventId(0xf000_0000_0000_0000_0000_0000_0000_0001);

    fn index() -> Dedupe {
        Dedupe::new(3, Duration::from_secs(10))
    }

    #[test]
    fn an_event_is_new_once() {
        let index = index();
        assert!(matches!(index.claim(ID, 100), Claim::New(_)));
        assert!(matches!(index.claim(ID, 100), Claim::InFlight(_)));
        index.settle(ID, 100);
        assert!(matches!(index.claim(ID, 100), Claim::Seen));
    }

    #[test]
    fn a_refused_event_may_come_again() {
        let index = index();
        assert!(matches!(index.claim(ID, 100), Claim::New(_)));
        index.release(ID);
        assert!(matches!(index.claim(ID, 100), Claim::New(_)));
    }

    #[test]
    fn one_that_was_in_doubt_is_known_for_it_once_and_to_the_end_of_its_step() {
        let index = index();
        for id in [ID, EventId(1), EventId(2), EventId(3)] {
            index.doubt(id, 100);
            assert!(matches!(index.claim(id, 100), Claim::New(_)));
        }
        assert_eq!(index.len(), 3);
        assert!(index.settle(ID, 100));
        assert_eq!(index.len(), 3, "it takes the place of the doubt");
        assert!(!index.settle(EventId(3), 100), "there was no room");
        index.forget(110);
        assert!(index.is_empty());
        assert!(!index.settle(EventId(1), 100));
    }

    #[test]
    fn it_is_known_to_the_end_of_its_step_and_never_counted_after() {
        let index = index();
        index.remember(ID, 100, 99);
        index.forget(109);
        assert!(matches!(index.claim(ID, 100), Claim::Seen));
        index.forget(110);
        assert_eq!(index.len(), 0);
        assert!(matches!(index.claim(ID, 100), Claim::Forgotten));
        // also where the clock is set back
        index.forget(50);
        assert!(matches!(index.claim(ID, 109), Claim::Forgotten));
        assert!(matches!(index.claim(ID, 110), Claim::New(_)));
    }

    #[test]
    fn one_that_was_over_at_the_start_is_not_kept_and_not_counted_again() {
        let index = index();
        index.remember(ID, 100, 110);
        assert!(index.is_empty());
        assert!(matches!(index.claim(ID, 100), Claim::Forgotten));
        // also by a clock that was far ahead then: what was not counted before is open
        index.forget(1_000_000);
        assert!(matches!(index.claim(ID, 100), Claim::Forgotten));
        assert!(matches!(index.claim(ID, 110), Claim::New(_)));
    }

    #[test]
    fn what_ended_before_the_newest_segment_is_not_counted() {
        let index = index();
        index.close_before(115);
        assert!(matches!(index.claim(ID, 109), Claim::Forgotten));
        assert!(matches!(index.claim(ID, 110), Claim::New(_)));
    }

    #[test]
    fn its_memory_is_bounded_and_what_does_not_fit_is_counted() {
        let index = index();
        for id in 0..5 {
            index.remember(EventId(id), 100, 0);
        }
        assert_eq!((index.len(), index.unremembered()), (3, 2));
    }
}
