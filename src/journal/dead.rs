//! Letters that could not be delivered.
//!
//! Owns: [`DeadLetters`], a folder of segments of its own. Never: when a letter is tried again (the
//! sink's rule). Invariant: a letter that was buried is listed until it is purged or delivered,
//! whatever ends the process; burying the same record of the same sink twice makes one letter.
//!
//! A letter is a record; what becomes of it is another record behind it. Segments go from the
//! oldest on when all their letters are done with.

use super::disk::{Disk, ReadAt};
use super::frame::Class;
use super::maker::Maker;
use super::open::recover;
use super::published::Published;
use super::store::{Entry, Store};
use super::survey::path_of;
use super::walk::{Bounds, Piece, Record, Walk};
use super::{JournalFault, Refused, Settings};
use crate::money_event::kind::{LETTER, LETTER_CLOSED};
use crate::tlv::{TlvFault, capped, field_bytes, field_number, fields};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Longest reason that is kept; the rest is cut.
const REASON_BYTES_MAX: usize = 512;
/// Room for what a letter says beside its record's payload.
const ABOUT_BYTES_MAX: usize = 1024;

mod tag {
    pub const SINK: u64 = 1;
    pub const REASON: u64 = 2;
    pub const TRIES: u64 = 3;
    pub const BURIED_US: u64 = 4;
    pub const SEQUENCE: u64 = 5;
    pub const KIND: u64 = 6;
    pub const PAYLOAD: u64 = 7;
}

mod closed_tag {
    pub const LETTER: u64 = 1;
    pub const STATE: u64 = 2;
}

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
}

/// What becomes of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterState {
    /// Waits for a person.
    Dead,
    /// To be tried again by its sink.
    Pending,
    /// Gone: delivered in the end.
    Delivered,
    /// Gone: given up by a person.
    Purged,
}

impl LetterState {
    const fn number(self) -> u64 {
        match self {
            Self::Dead => 0,
            Self::Pending => 1,
            Self::Delivered => 2,
            Self::Purged => 3,
        }
    }

    const fn of(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Dead,
            1 => Self::Pending,
            2 => Self::Delivered,
            3 => Self::Purged,
            _ => return None,
        })
    }

    /// Whether it may still be delivered.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Dead | Self::Pending)
    }
}

#[derive(Debug)]
struct Known {
    sink: String,
    sequence: u64,
    state: LetterState,
}

/// The letters of a journal. Used by one thread at a time; each change is durable when it returns.
#[derive(Debug)]
pub struct DeadLetters {
    disk: Arc<dyn Disk>,
    settings: Arc<Settings>,
    published: Arc<Published>,
    store: Store,
    letters_max: usize,
    /// By the letter's own sequence; only those that are not gone.
    known: BTreeMap<u64, Known>,
    by_record: HashMap<(String, u64), u64>,
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
        let (mut known, mut by_record) = (BTreeMap::new(), HashMap::new());
        let recovered =
            recover(&*disk, &settings, &mut |record| note(record, &mut known, &mut by_record))?;
        let published = Arc::new(Published::new(recovered.table, recovered.next_ordinal));
        let maker = Maker {
            disk: Arc::clone(&disk),
            settings: Arc::clone(&settings),
            dirs: Arc::new(settings.dirs()),
            published: Arc::clone(&published),
        };
        let store = Store::new(maker, Arc::clone(&disk));
        let lock = recovered.lock;
        Ok(Self { disk, settings, published, store, letters_max, known, by_record, _lock: lock })
    }

    /// Letters that are dead, and that wait to be tried again.
    pub fn counts(&self) -> (usize, usize) {
        let dead = self.known.values().filter(|one| one.state == LetterState::Dead).count();
        (dead, self.known.len() - dead)
    }

    /// Buries a record, and answers the letter's number. Where there are too many letters it is
    /// refused: the sink must stop then, not go on without it.
    pub fn bury(&mut self, letter: &Letter) -> Result<u64, JournalFault> {
        let record = (letter.sink.clone(), letter.sequence);
        if let Some(number) = self.by_record.get(&record) {
            let number = *number;
            return self.change(number, LetterState::Dead).map(|_| number);
        }
        if self.known.len() >= self.letters_max {
            return Err(JournalFault::LettersFull(self.known.len(), self.letters_max));
        }
        let mut bytes = Vec::new();
        write(letter, &mut bytes);
        let number = self.append(LETTER, &bytes, letter.buried_us)?;
        let state = LetterState::Dead;
        let known = Known { sink: letter.sink.clone(), sequence: letter.sequence, state };
        self.known.insert(number, known);
        self.by_record.insert(record, number);
        Ok(number)
    }

    /// The letters from a number on that are not gone.
    pub fn list(
        &self,
        from: u64,
        most: usize,
    ) -> Result<Vec<(u64, LetterState, Letter)>, JournalFault> {
        let wanted: Vec<(u64, LetterState)> =
            self.known.range(from..).take(most).map(|(number, one)| (*number, one.state)).collect();
        self.read(&wanted)
    }

    /// Letters of a sink that are to be tried again.
    pub fn pending(&self, sink: &str, most: usize) -> Result<Vec<(u64, Letter)>, JournalFault> {
        let is_wanted = |one: &Known| one.state == LetterState::Pending && one.sink == sink;
        let wanted: Vec<(u64, LetterState)> = self
            .known
            .iter()
            .filter(|(_, one)| is_wanted(one))
            .take(most)
            .map(|(number, one)| (*number, one.state))
            .collect();
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
        let known = self.known.get(&number).ok_or(JournalFault::NoLetter(number))?;
        if known.state == state {
            return Ok(None);
        }
        let sink = known.sink.clone();
        let mut bytes = Vec::new();
        field_number(&mut bytes, closed_tag::LETTER, number);
        field_number(&mut bytes, closed_tag::STATE, state.number());
        self.append(LETTER_CLOSED, &bytes, 0)?;
        apply(number, state, &mut self.known, &mut self.by_record);
        if !state.is_open() {
            self.trim()?;
        }
        Ok(Some(sink))
    }

    fn append(&mut self, kind: u8, payload: &[u8], now_us: u64) -> Result<u64, JournalFault> {
        if self.published.parts().is_failed {
            // no helper probes for this store: each append does
            self.probe()?;
        }
        let entry = Entry { kind, class: Class::Durable, payload };
        let range = self.store.commit(&[entry], now_us).map_err(|refused| self.fault(refused))?;
        for path in self.store.take_leftovers() {
            let _ = self.disk.remove(&path);
        }
        Ok(range.start)
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

    /// Removes the oldest segments that hold no open letter.
    fn trim(&mut self) -> Result<(), JournalFault> {
        let oldest = self.known.keys().next().copied().unwrap_or(u64::MAX);
        let segments = self.published.table().segments;
        let gone: Vec<_> = segments
            .iter()
            .take(segments.len().saturating_sub(1))
            .take_while(|segment| segment.next <= oldest)
            .filter(|segment| !segment.is_damaged)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let ordinals: Vec<u64> = gone.iter().map(|segment| segment.ordinal).collect();
        self.published.forget(&ordinals);
        for segment in gone {
            let path = path_of(&self.settings.dirs(), segment.place, segment.ordinal, false);
            self.disk.remove(&path).map_err(JournalFault::disk("remove", &path))?;
        }
        let dir = &self.settings.dir;
        self.disk.sync_dir(dir).map_err(JournalFault::disk("sync", dir))
    }

    /// The letters of these numbers, in order; one that is lost to damage is left out.
    fn read(
        &self,
        wanted: &[(u64, LetterState)],
    ) -> Result<Vec<(u64, LetterState, Letter)>, JournalFault> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut wanted = wanted.iter().copied().peekable();
        for segment in self.published.table().segments {
            if wanted.peek().is_none_or(|(number, _)| *number >= segment.next) {
                continue;
            }
            let dirs = self.settings.dirs();
            let path = path_of(&dirs, segment.place, segment.ordinal, segment.is_damaged);
            let read = |cause| JournalFault::disk("read", &path)(cause);
            let file = self.disk.open_to_read(&path).map_err(read)?;
            each_record(&*file, segment.bounds(), &mut |record| {
                while wanted.peek().is_some_and(|(number, _)| *number < record.sequence) {
                    wanted.next();
                }
                if let Some((number, state)) = wanted.next_if(|(one, _)| *one == record.sequence)
                    && let Ok(letter) = parse(record.payload)
                {
                    found.push((number, state, letter));
                }
            })
            .map_err(read)?;
        }
        Ok(found)
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
    Settings {
        segment_bytes: journal.segment_bytes.min(4 << 20).max(4 * payload as u64).max(64 << 10),
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

fn note(
    record: &Record<'_>,
    known: &mut BTreeMap<u64, Known>,
    by_record: &mut HashMap<(String, u64), u64>,
) {
    match record.tag.kind {
        LETTER => {
            if let Ok(letter) = parse(record.payload) {
                by_record.insert((letter.sink.clone(), letter.sequence), record.sequence);
                let (sink, sequence, state) = (letter.sink, letter.sequence, LetterState::Dead);
                known.insert(record.sequence, Known { sink, sequence, state });
            }
        }
        LETTER_CLOSED => {
            if let Ok((number, state)) = parse_closed(record.payload) {
                apply(number, state, known, by_record);
            }
        }
        _ => {}
    }
}

fn apply(
    number: u64,
    state: LetterState,
    known: &mut BTreeMap<u64, Known>,
    by_record: &mut HashMap<(String, u64), u64>,
) {
    if state.is_open() {
        if let Some(one) = known.get_mut(&number) {
            one.state = state;
        }
    } else if let Some(gone) = known.remove(&number) {
        by_record.remove(&(gone.sink, gone.sequence));
    }
}

fn write(letter: &Letter, out: &mut Vec<u8>) {
    let reason = capped(&letter.reason, REASON_BYTES_MAX);
    field_bytes(out, tag::SINK, letter.sink.as_bytes());
    field_bytes(out, tag::REASON, reason.as_bytes());
    field_number(out, tag::TRIES, u64::from(letter.tries));
    field_number(out, tag::BURIED_US, letter.buried_us);
    field_number(out, tag::SEQUENCE, letter.sequence);
    field_number(out, tag::KIND, u64::from(letter.kind));
    field_bytes(out, tag::PAYLOAD, &letter.payload);
}

/// Reads a letter's payload.
pub fn parse(bytes: &[u8]) -> Result<Letter, TlvFault> {
    let mut letter = Letter::default();
    fields(bytes, |tag, value| {
        match tag {
            tag::SINK => value.text()?.clone_into(&mut letter.sink),
            tag::REASON => value.text()?.clone_into(&mut letter.reason),
            tag::TRIES => letter.tries = value.small("tries")?,
            tag::BURIED_US => letter.buried_us = value.number()?,
            tag::SEQUENCE => letter.sequence = value.number()?,
            tag::KIND => {
                let kind = u8::try_from(value.number()?);
                letter.kind = kind.map_err(|_| TlvFault::Value("kind"))?;
            }
            tag::PAYLOAD => letter.payload = value.bytes().to_vec(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(letter)
}

/// Reads what became of a letter: its number and its state.
pub fn parse_closed(bytes: &[u8]) -> Result<(u64, LetterState), TlvFault> {
    let (mut number, mut state) = (0, 0);
    fields(bytes, |tag, value| {
        match tag {
            closed_tag::LETTER => number = value.number()?,
            closed_tag::STATE => state = value.number()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((number, LetterState::of(state).ok_or(TlvFault::Value("state"))?))
}
