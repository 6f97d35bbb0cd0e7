//! Letters that could not be delivered, or not yet.
//!
//! Owns: [`DeadLetters`], a folder of segments of its own. Never: when a letter is tried again (the
//! sink's rule). Invariant: a letter that was buried is listed until it is purged or delivered,
//! whatever ends the process; burying the same record of the same sink twice makes one letter.
//!
//! A letter is a record; what becomes of it is another record behind it. Segments go from the
//! oldest on when all their letters are done with, or moved (`room`).

pub mod form;
pub mod known;
pub mod look;
mod room;

use super::disk::{Disk, ReadAt};
use super::frame::{Class, record_bytes};
use super::maker::Maker;
use super::open::recover;
use super::published::Published;
use super::store::{Entry, Store};
use super::survey::path_of;
use super::walk::{Bounds, Piece, Record, Walk};
use super::{JournalFault, Refused, Settings};
use crate::money_event::kind::{LETTER, LETTER_CLOSED};
use form::Written;
use known::{Index, Known};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Room for what a letter says beside its record's payload.
const ABOUT_BYTES_MAX: usize = 1024;

/// A record that could not be delivered, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    pub sink: String,
    pub reason: String,
    pub tries: u32,
    /// Microseconds since the epoch.
    pub buried_us: u64,
    /// Of the record in the journal.
    pub sequence: u64,
    pub kind: u8,
    pub payload: Vec<u8>,
    /// Whom it is for, as the sink names it.
    pub group: String,
    /// When it is to be tried, of one that is pending; microseconds since the epoch.
    pub due_us: u64,
}

/// What becomes of a letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LetterState {
    /// Waits for a person.
    #[default]
    Dead,
    /// To be tried again by its sink.
    Pending,
    /// Gone: delivered in the end.
    Delivered,
    /// Gone: given up by a person.
    Purged,
}

impl LetterState {
    /// A word for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Purged => "purged",
        }
    }

    /// Whether it may still be delivered.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Dead | Self::Pending)
    }
}

/// Something that became of a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub number: u64,
    pub state: LetterState,
    pub tries: u32,
    /// Of one that is pending.
    pub due_us: u64,
    /// When its time began anew, of one that is tried again by a person; 0: it did not.
    pub since_us: u64,
    pub reason: String,
}

/// The letters of a journal. Used by one thread at a time; each change is durable when it returns.
#[derive(Debug)]
pub struct DeadLetters {
    disk: Arc<dyn Disk>,
    settings: Arc<Settings>,
    published: Arc<Published>,
    store: Store,
    letters_max: usize,
    /// Only those that are not gone.
    index: Index,
    /// Something could not be removed or moved, and it has been said.
    is_untidy: bool,
    /// Steps until a segment is made ahead again.
    pause: u32,
    _lock: Vec<Box<dyn Debug + Send>>,
}

impl DeadLetters {
    /// Opens the letters of the journal in a folder; at most so many may be open at once.
    pub fn open(
        disk: Arc<dyn Disk>,
        journal: &Settings,
        letters_max: usize,
    ) -> Result<Self, JournalFault> {
        let settings = Arc::new(settings(journal));
        let mut index = Index::default();
        let recovered = recover(&*disk, &settings, &mut |_, record| index.note(record))?;
        let published = Arc::new(Published::new(recovered.table, recovered.next_ordinal));
        let maker = Maker {
            disk: Arc::clone(&disk),
            settings: Arc::clone(&settings),
            dirs: Arc::new(settings.dirs()),
            published: Arc::clone(&published),
        };
        let store = Store::new(maker, Arc::clone(&disk));
        Ok(Self {
            disk,
            settings,
            published,
            store,
            letters_max,
            index,
            is_untidy: false,
            pause: 0,
            _lock: recovered.lock,
        })
    }

    /// Letters that are dead, and that wait to be tried again.
    pub fn counts(&self) -> (usize, usize) {
        let dead = self.index.known.values().filter(|one| one.state == LetterState::Dead).count();
        (dead, self.index.known.len() - dead)
    }

    /// Buries a record, and answers the letter's number. Where there are too many letters it is
    /// refused: the sink must stop then, not go on without it.
    pub fn bury(&mut self, letter: &Letter) -> Result<u64, JournalFault> {
        self.put(std::slice::from_ref(letter), LetterState::Dead).map(|numbers| {
            // one letter, one number
            numbers.first().copied().unwrap_or_default()
        })
    }

    /// Puts records aside, dead or to be tried again, a few to each commit; answers the letters'
    /// numbers. A record that is there already keeps its letter, which takes the state.
    pub fn put(
        &mut self,
        letters: &[Letter],
        state: LetterState,
    ) -> Result<Vec<u64>, JournalFault> {
        let is_new = |one: &&Letter| !self.has(one);
        let fresh: Vec<&Letter> = letters.iter().filter(is_new).collect();
        let room = self.letters_max.saturating_sub(self.index.known.len());
        if fresh.len() > room {
            return Err(JournalFault::LettersFull(self.index.known.len(), self.letters_max));
        }
        let write = |letter: &&Letter| form::write(letter, state, None);
        let payloads: Vec<Vec<u8>> = fresh.iter().map(write).collect();
        let now_us = letters.iter().map(|letter| letter.buried_us).max().unwrap_or_default();
        let numbers = self.append_all(LETTER, &payloads, now_us)?;
        for ((number, letter), payload) in numbers.into_iter().zip(fresh).zip(&payloads) {
            self.index.put(number, letter, state, (number, payload.len()));
        }
        let find = |letter: &Letter| self.index.number_of(&letter.sink, letter.sequence);
        let numbers: Vec<u64> = letters.iter().filter_map(find).collect();
        let changes = numbers.iter().zip(letters).filter_map(|(number, letter)| {
            let is_other = self.index.known.get(number)?.state != state;
            let (tries, due_us) = (letter.tries, letter.due_us);
            let change = Change { number: *number, state, tries, due_us, ..Change::default() };
            is_other.then_some(change)
        });
        let changes: Vec<Change> = changes.collect();
        self.change_all(&changes)?;
        Ok(numbers)
    }

    fn has(&self, letter: &Letter) -> bool {
        self.index.number_of(&letter.sink, letter.sequence).is_some()
    }

    /// What is known of each open letter, by number.
    pub fn known(&self) -> impl Iterator<Item = (u64, &Known)> {
        self.index.known.iter().map(|(number, known)| (*number, known))
    }

    /// What became of a record of a sink, where it has an open letter.
    pub fn state_of(&self, sink: &str, sequence: u64) -> Option<LetterState> {
        let number = self.index.number_of(sink, sequence)?;
        self.get(number).map(|known| known.state)
    }

    /// What is known of one.
    pub fn get(&self, number: u64) -> Option<&Known> {
        self.index.known.get(&number)
    }

    /// The letters of these numbers (in order); one that is gone or lost to damage is left out.
    pub fn fetch(&self, numbers: &[u64]) -> Result<Vec<(u64, Letter)>, JournalFault> {
        let read = self.read(numbers)?;
        Ok(read.into_iter().map(|(number, _, letter)| (number, letter)).collect())
    }

    /// The letters from a number on that are not gone.
    pub fn list(
        &self,
        from: u64,
        most: usize,
    ) -> Result<Vec<(u64, LetterState, Letter)>, JournalFault> {
        let wanted: Vec<u64> = self.index.known.range(from..).take(most).map(|(n, _)| *n).collect();
        self.read(&wanted)
    }

    /// Letters of a sink that are to be tried again.
    pub fn pending(&self, sink: &str, most: usize) -> Result<Vec<(u64, Letter)>, JournalFault> {
        let is_wanted = |one: &Known| one.state == LetterState::Pending && one.sink == sink;
        let ours = self.known().filter(|(_, one)| is_wanted(one));
        let wanted: Vec<u64> = ours.take(most).map(|(number, _)| number).collect();
        Ok(self.read(&wanted)?.into_iter().map(|(number, _, letter)| (number, letter)).collect())
    }

    /// Has a dead letter tried again; answers its sink, for the books. A letter that is already
    /// waiting for it is left as it is.
    pub fn replay(&mut self, number: u64) -> Result<Option<String>, JournalFault> {
        self.change(number, LetterState::Pending)
    }

    /// A letter that was tried again was delivered.
    pub fn delivered(&mut self, number: u64) -> Result<Option<String>, JournalFault> {
        self.change(number, LetterState::Delivered)
    }

    /// Gives a letter up for ever.
    pub fn purge(&mut self, number: u64) -> Result<Option<String>, JournalFault> {
        self.change(number, LetterState::Purged)
    }

    /// Answers the sink where something changed.
    fn change(&mut self, number: u64, state: LetterState) -> Result<Option<String>, JournalFault> {
        let known = self.index.known.get(&number).ok_or(JournalFault::NoLetter(number))?;
        if known.state == state {
            return Ok(None);
        }
        let sink = known.sink.clone();
        // whoever is to be tried again has all its tries before it
        let tries = if state == LetterState::Pending { 0 } else { known.tries };
        let change = Change { number, state, tries, ..Change::default() };
        self.change_all(&[change]).map(|()| Some(sink))
    }

    /// Makes changes durable, a few to each commit; one of a letter that is gone is passed over.
    pub fn change_all(&mut self, changes: &[Change]) -> Result<(), JournalFault> {
        let changes: Vec<&Change> =
            changes.iter().filter(|change| self.index.known.contains_key(&change.number)).collect();
        let payloads: Vec<_> = changes.iter().map(|change| form::write_change(change)).collect();
        self.append_all(LETTER_CLOSED, &payloads, 0)?;
        for change in changes {
            self.index.apply(change);
        }
        self.tidy();
        Ok(())
    }

    /// Appends in commits of at most `commit_bytes_max`; answers the sequences.
    fn append_all(
        &mut self,
        kind: u8,
        payloads: &[Vec<u8>],
        now_us: u64,
    ) -> Result<Vec<u64>, JournalFault> {
        let most = self.settings.commit_bytes_max;
        let (mut numbers, mut rest) = (Vec::with_capacity(payloads.len()), payloads);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|payload| {
                bytes += record_bytes(payload.len());
                bytes <= most
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            let range = self.append(kind, now, now_us)?;
            numbers.extend(range);
            rest = later;
        }
        Ok(numbers)
    }

    fn append(
        &mut self,
        kind: u8,
        payloads: &[Vec<u8>],
        now_us: u64,
    ) -> Result<Range<u64>, JournalFault> {
        if self.published.parts().is_failed {
            // no helper probes for this store: each append does
            self.probe()?;
        }
        let entry = |payload| Entry { kind, class: Class::Durable, ends_s: 0, payload };
        let entries: Vec<Entry<'_>> = payloads.iter().map(|payload| entry(payload)).collect();
        let range = self.store.commit(&entries, now_us).map_err(|refused| self.fault(refused))?;
        for path in self.store.take_leftovers() {
            let _ = self.disk.remove(&path);
        }
        Ok(range)
    }

    fn probe(&mut self) -> Result<(), JournalFault> {
        for path in self.store.take_leftovers() {
            let _ = self.disk.remove(&path);
        }
        let Some(place) = self.store.wants() else { return Ok(()) };
        let made = self.store.maker().make(place);
        self.store.supply(made.map_err(JournalFault::disk("write to", &self.settings.dir))?);
        Ok(())
    }

    fn fault(&self, refused: Refused) -> JournalFault {
        JournalFault::disk("write to", &self.settings.dir)(io::Error::other(refused.to_string()))
    }

    /// The letters of these numbers, in order; one that is lost to damage is left out.
    fn read(&self, numbers: &[u64]) -> Result<Vec<(u64, LetterState, Letter)>, JournalFault> {
        let about = |number: &u64| self.get(*number).map(|one| (one.at, (*number, one.state)));
        // in the order of the folder
        let mut wanted: BTreeMap<u64, (u64, LetterState)> =
            numbers.iter().filter_map(about).collect();
        let mut found = Vec::with_capacity(wanted.len());
        for segment in self.published.table().segments {
            if wanted.range(segment.first..segment.next).next().is_none() {
                continue;
            }
            let dirs = self.settings.dirs();
            let path = path_of(&dirs, segment.place, segment.ordinal, segment.is_damaged);
            let read = |cause| JournalFault::disk("read", &path)(cause);
            let file = self.disk.open_to_read(&path).map_err(read)?;
            each_record(&*file, segment.bounds(), &mut |record| {
                if let Some((number, state)) = wanted.remove(&record.sequence)
                    && let Ok(Written { letter, .. }) = form::parse(record.payload)
                {
                    found.push((number, state, self.as_known(number, letter)));
                }
            })
            .map_err(read)?;
        }
        found.sort_by_key(|(number, ..)| *number);
        Ok(found)
    }

    /// As it is by now.
    fn as_known(&self, number: u64, mut letter: Letter) -> Letter {
        if let Some(known) = self.index.known.get(&number) {
            (letter.tries, letter.due_us) = (known.tries, known.due_us);
            letter.buried_us = known.buried_us;
            if !known.reason.is_empty() {
                letter.reason.clone_from(&known.reason);
            }
        }
        letter
    }

    /// Ends in order.
    pub fn close(mut self, now_us: u64) {
        self.store.close(now_us);
        for path in self.store.take_leftovers() {
            let _ = self.disk.remove(&path);
        }
    }
}

fn each_record<S: ReadAt + ?Sized>(
    file: &S,
    bounds: Bounds,
    take: &mut dyn FnMut(&Record<'_>),
) -> io::Result<()> {
    let mut walk = Walk::new(file, bounds);
    loop {
        match walk.step()? {
            Piece::Record(record) => take(&record),
            Piece::Hole(_) => {}
            Piece::End { .. } => return Ok(()),
        }
    }
}

/// Letters are few and long: small segments, and room for a record of the journal in each.
fn settings(journal: &Settings) -> Settings {
    let payload = journal.record_bytes_max + ABOUT_BYTES_MAX;
    let segment_bytes = journal.segment_bytes.min(4 << 20).max(4 * payload as u64).max(64 << 10);
    Settings {
        segment_bytes,
        disk_bytes_max: room::limit(journal.disk_bytes_max, segment_bytes),
        record_bytes_max: payload.min(256 << 10),
        commit_bytes_max: (payload + ABOUT_BYTES_MAX).max(4 << 10),
        ballast_bytes: 0,
        sinks: Vec::new(),
        spill_dir: None,
        ..Settings { dir: folder(&journal.dir), ..journal.clone() }
    }
}

/// Where the dead letters of a journal are.
pub fn folder(journal: &Path) -> std::path::PathBuf {
    journal.join("dead")
}
