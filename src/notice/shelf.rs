//! Where durable notices are: the journal's records, and the letters that were put aside.
//!
//! Owns: [`Shelf`]. Never: a decision. Invariant: the books of the journal hold after every step. A
//! fault of the disk is logged and answered with `None`: the caller keeps what it has and comes
//! again.

use super::room::Room;
use super::tally::Waiting;
use super::window::Done;
use crate::clock;
use crate::journal::JournalFault;
use crate::journal::dead::known::Known;
use crate::journal::dead::{Change, DeadLetters, Letter, LetterState};
use crate::journal::disk::Disk;
use crate::journal::handle::Journal;
use crate::journal::sink::{Batch, Reader, Sink};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{error, warn};

/// The name of the journal's sink.
pub const SINK: &str = "notices";

/// Records of a batch, and their bytes.
const BATCH_RECORDS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A fault that lasts is logged this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// A letter that waits: its number, bidder, and when it is due.
pub type Pending = (u64, String, u64);

/// Records and letters.
#[derive(Debug)]
pub struct Shelf {
    sink: Sink,
    letters: DeadLetters,
    room: Room,
    /// Reads again what was held.
    again: Reader,
    dir: PathBuf,
    complained: Cell<Option<Instant>>,
}

impl Shelf {
    /// Of an open journal whose settings name [`SINK`]; `None` where they do not.
    pub fn open(
        journal: &Journal,
        disk: Arc<dyn Disk>,
        letters_max: usize,
    ) -> Result<Option<Self>, JournalFault> {
        let Some(sink) = Sink::new(journal, SINK) else { return Ok(None) };
        let letters = DeadLetters::open(disk, journal.settings(), letters_max)?;
        let mut room = Room::new(letters_max);
        for (number, one) in letters.known() {
            room.note(&one.group, number, (None, one.state));
        }
        let shelf = Self {
            again: Reader::from(journal, sink.cursor().next),
            sink,
            letters,
            room,
            dir: journal.settings().dir.clone(),
            complained: Cell::new(None),
        };
        // they are behind the cursor, and yet not delivered
        let next = shelf.sink.cursor().next;
        let is_behind = |one: &Known| one.sink == SINK && one.sequence < next;
        let is_counted = |one: &Known| is_behind(one) && one.state == LetterState::Pending;
        shelf.sink.revive(shelf.letters.known().filter(|(_, one)| is_counted(one)).count() as u64);
        Ok(Some(shelf))
    }

    /// The journal's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Letters that are to be tried.
    pub fn pending(&self) -> Vec<Pending> {
        let known = self.letters.known();
        let ours = known.filter(|(_, one)| one.sink == SINK && one.state == LetterState::Pending);
        ours.map(|(number, one)| (number, one.group.clone(), one.due_us)).collect()
    }

    /// What waits, by bidder.
    pub fn waiting(&self) -> BTreeMap<String, Waiting> {
        let mut waiting = BTreeMap::<String, Waiting>::new();
        for (_, one) in self.letters.known().filter(|(_, one)| one.sink == SINK) {
            if !waiting.contains_key(&one.group) {
                waiting.insert(one.group.clone(), Waiting::default());
            }
            let Some(sum) = waiting.get_mut(&one.group) else { continue };
            if one.state == LetterState::Dead {
                sum.dead += 1;
            } else {
                sum.pending += 1;
                sum.oldest_us =
                    Some(sum.oldest_us.map_or(one.buried_us, |us| us.min(one.buried_us)));
            }
        }
        waiting
    }

    /// The next records; `None` at the end.
    pub fn read(&mut self) -> Option<Batch> {
        if !self.sink.wait(Duration::ZERO) {
            return None;
        }
        match self.sink.read(BATCH_RECORDS_MAX, BATCH_BYTES_MAX) {
            Ok(batch) if batch.records.is_empty() && batch.lost.is_empty() => None,
            Ok(batch) => Some(batch),
            Err(fault) => {
                self.complain("read the journal", &fault);
                None
            }
        }
    }

    /// Records from one on that was read before; the batch begins with it, or says that it is lost.
    pub fn read_again(&mut self, from: u64) -> Option<Batch> {
        self.again.go_to(from);
        let read = self.again.read(BATCH_RECORDS_MAX, BATCH_BYTES_MAX);
        read.inspect_err(|fault| self.complain("read the journal again", fault)).ok()
    }

    /// How many more letters of a bidder may be pending, and how many of anybody dead; none where the
    /// longest would find no room on the disk.
    pub fn room_for(&self, bidder: &str) -> (usize, usize) {
        if self.free_bytes() < self.letters.bytes_of_longest() {
            return (0, 0);
        }
        (self.room.for_pending(bidder), self.room.for_dead(0))
    }

    /// Not at each of the tries that follow.
    fn complain(&self, what: &str, fault: &JournalFault) {
        let now = clock::monotonic();
        let is_late = |before: Instant| now.saturating_duration_since(before) > COMPLAIN_EVERY;
        if self.complained.get().is_none_or(is_late) {
            self.complained.set(Some(now));
            error!(%fault, cause = ?fault, "notices wait: cannot {what}");
        }
    }

    /// What became of a record, where it was put aside before.
    pub fn state_of(&self, sequence: u64) -> Option<LetterState> {
        self.letters.state_of(SINK, sequence)
    }

    /// Pending letters that came before this moment: number, bidder, when due.
    pub fn older_than(&self, before_us: u64) -> Vec<Pending> {
        let known = self.letters.known();
        let ours = known.filter(|(_, one)| one.sink == SINK && one.state == LetterState::Pending);
        let old = ours.filter(|(_, one)| one.buried_us < before_us);
        old.map(|(number, one)| (number, one.group.clone(), one.due_us)).collect()
    }

    /// How often a letter has been tried.
    pub fn tries(&self, number: u64) -> u32 {
        self.letters.get(number).map_or(0, |one| one.tries)
    }

    /// The letters of these numbers.
    pub fn fetch(&self, numbers: &[u64]) -> Vec<(u64, Letter)> {
        self.letters.fetch(numbers).unwrap_or_else(|fault| {
            self.complain("read letters", &fault);
            Vec::new()
        })
    }

    /// Puts letters aside, as many as there is room for: those that are due are pending, the others
    /// dead. Answers the pending ones, and takes what it has put out of the list; where the disk
    /// refuses, the list stays.
    pub fn put(&mut self, letters: &mut Vec<Letter>) -> Option<(Vec<Pending>, Vec<Letter>)> {
        let (fits, full) = self.fitting(letters);
        let new = fits.iter().filter(|one| self.state_of(one.sequence).is_none());
        let new: Vec<u64> = new.map(DeadLetters::bytes_of).collect();
        self.make_way(new.len(), new.iter().sum())?;
        let (pending, dead): (Vec<Letter>, Vec<Letter>) =
            fits.iter().cloned().partition(|letter| letter.due_us > 0);
        self.put_as(&dead, LetterState::Dead)?;
        let numbers = self.put_as(&pending, LetterState::Pending)?;
        *letters = full;
        let put = numbers.into_iter().zip(pending);
        let put = put.map(|(number, letter)| (number, letter.group, letter.due_us)).collect();
        Some((put, fits))
    }

    /// Those that there is room for, and the others.
    fn fitting(&self, letters: &[Letter]) -> (Vec<Letter>, Vec<Letter>) {
        let (mut room, mut taken) = (BTreeMap::new(), 0);
        let mut bytes = self.free_bytes();
        letters.iter().cloned().partition(|letter| {
            let left = room
                .entry(letter.group.clone())
                .or_insert_with(|| self.room.for_pending(&letter.group));
            let free = self.room.for_dead(taken);
            let is_there = self.state_of(letter.sequence).is_some();
            let own = DeadLetters::bytes_of(letter);
            let has_turn = letter.due_us == 0 || *left > 0;
            let fits = is_there || free > 0 && has_turn && own <= bytes;
            if fits && !is_there {
                taken += 1;
                bytes -= own;
                *left = left.saturating_sub(usize::from(letter.due_us > 0));
            }
            fits
        })
    }

    /// Dead letters go where there is no room for so many new ones.
    fn make_way(&mut self, new: usize, bytes: u64) -> Option<()> {
        loop {
            let short = bytes.saturating_sub(self.letters.room());
            let least = usize::try_from(short.div_ceil(self.letters.mean_bytes()));
            let gone = self.room.give_way(new, least.unwrap_or(usize::MAX));
            if gone.is_empty() {
                return Some(());
            }
            let mut purged = 0;
            for (bidder, numbers) in gone {
                let letters = numbers.len();
                warn!(%bidder, letters, "the oldest dead letters give way: there are too many");
                purged += self.purge(&numbers, "gave way to a newer one")?;
            }
            if purged == 0 {
                return Some(());
            }
        }
    }

    /// What new letters may take: dead ones give way.
    fn free_bytes(&self) -> u64 {
        self.letters.room_without_dead()
    }

    fn put_as(&mut self, letters: &[Letter], state: LetterState) -> Option<Vec<u64>> {
        let were: Vec<_> = letters.iter().map(|one| self.state_of(one.sequence)).collect();
        let put = self.letters.put(letters, state);
        let numbers = put.inspect_err(|fault| self.complain("put letters aside", fault)).ok()?;
        for ((number, letter), was) in numbers.iter().zip(letters).zip(were) {
            self.room.note(&letter.group, *number, (was, state));
        }
        Some(numbers)
    }

    /// What became of letters; answers those that are to be tried again.
    pub fn change(&mut self, changes: &[Change]) -> Option<Vec<Pending>> {
        let about = |change: &Change| {
            let known = self.letters.get(change.number)?;
            Some((change.number, (known.group.clone(), known.state)))
        };
        let mut were: BTreeMap<_, _> = changes.iter().filter_map(about).collect();
        if let Err(fault) = self.letters.change_all(changes) {
            self.complain("write what became of letters", &fault);
            return None;
        }
        for Change { number, state, .. } in changes {
            if let Some((bidder, was)) = were.get_mut(number) {
                self.room.note(bidder, *number, (Some(*was), *state));
                *was = *state;
            }
        }
        let of = |state| changes.iter().filter(move |change| change.state == state);
        let count = |state| of(state).count() as u64;
        self.sink.settle(count(LetterState::Delivered), count(LetterState::Dead));
        let again = of(LetterState::Pending).filter_map(|change| {
            let known = self.letters.get(change.number)?;
            Some((change.number, known.group.clone(), change.due_us))
        });
        Some(again.collect())
    }

    /// Moves the cursor.
    pub fn pass(&mut self, done: &Done) -> bool {
        match self.sink.pass(done.next, done.delivered, done.dead) {
            Ok(()) => true,
            Err(fault) => {
                self.complain("write the cursor", &fault);
                false
            }
        }
    }

    /// Has dead letters tried again (those of the sink); answers them.
    pub fn replay(&mut self, numbers: &[u64], now_us: u64) -> Option<Vec<Pending>> {
        let is_dead = |number: &u64| {
            self.letters.get(*number).is_some_and(|one| one.state == LetterState::Dead)
        };
        let numbers: Vec<u64> = numbers.iter().copied().filter(is_dead).collect();
        let change = |number: &u64| Change {
            number: *number,
            state: LetterState::Pending,
            // its tries, and its day, begin anew
            due_us: now_us,
            since_us: now_us,
            ..Change::default()
        };
        let changes: Vec<Change> = numbers.iter().map(change).collect();
        let again = self.change(&changes)?;
        self.sink.revive(again.len() as u64);
        Some(again)
    }

    /// Gives dead letters up.
    pub fn purge(&mut self, numbers: &[u64], reason: &str) -> Option<usize> {
        let is_dead = |number: &u64| {
            self.letters.get(*number).is_some_and(|one| one.state == LetterState::Dead)
        };
        let change = |number: u64| Change {
            number,
            state: LetterState::Purged,
            reason: reason.to_owned(),
            ..Change::default()
        };
        let changes: Vec<Change> = numbers.iter().copied().filter(is_dead).map(change).collect();
        self.change(&changes).map(|_| changes.len())
    }

    /// Ends in order.
    pub fn close(self, now_us: u64) {
        self.letters.close(now_us);
    }
}
