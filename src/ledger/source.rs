//! What is read: journals of replicas, and exports of them.
//!
//! Owns: [`Source`], [`Item`], [`Faults`], the walk through a journal. Never: a lock, a change: a
//! journal may be written meanwhile. Invariant: what is lost or cannot be read is a fault with its
//! place; what is there is given on.

use super::import;
use super::{FAULTS_TOLD, LETTERS_MAX, LedgerFault};
use crate::journal::Dirs;
use crate::journal::cursor;
use crate::journal::dead::look::look;
use crate::journal::dead::{Letter, LetterState, folder};
use crate::journal::disk::Disk;
use crate::journal::export::{Look, furthest};
use crate::journal::pair;
use crate::journal::survey::survey;
use crate::journal::walk::{Piece, Record};
use crate::money_event::codec::{read_auction, read_drops, read_event};
use crate::money_event::{AuctionRecord, DropCount, EventId, EventType, MoneyEvent, kind};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// One record that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Event(MoneyEvent),
    Auction(AuctionRecord<'static>),
    Dropped(DropCount),
    /// A notice that its bidder has not got.
    Letter(LetterState, Letter),
    /// The same, as a stream says it.
    Dead(DeadNotice),
    /// A stream says that it has come to an end: sent again, or given up by a person.
    Closed(Death),
}

/// One death of a notice: its event, and the place of what had asked for it. What is sent again may
/// die again.
pub type Death = (EventId, u64);

/// A notice that a stream says was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadNotice {
    pub event: Box<MoneyEvent>,
    pub origin: u64,
    pub tries: u32,
    pub reason: String,
}

/// Takes what is read.
pub type Take<'t> = dyn FnMut(Item) -> Result<(), LedgerFault> + 't;

/// What could not be read: told up to a bound, counted beyond it.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub told: Vec<String>,
    told_of_source: usize,
    pub count: u64,
}

impl Faults {
    /// One more.
    pub fn add(&mut self, fault: impl FnOnce() -> String) {
        self.count += 1;
        if self.told_of_source < FAULTS_TOLD {
            self.told_of_source += 1;
            self.told.push(fault());
        }
    }

    /// The next source begins; says how many of this one were not told.
    fn close(&mut self, path: &Path, before: u64) {
        let more = (self.count - before).saturating_sub(self.told_of_source as u64);
        if more > 0 {
            self.told.push(format!("{}: {more} more faults", path.display()));
        }
        self.told_of_source = 0;
    }
}

/// Where records are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Journal(Dirs),
    Export(PathBuf),
}

impl Source {
    /// A folder is a journal, with its spill folder where one is named (`DIR=SPILL`); anything else
    /// is an export.
    pub fn all(paths: &[PathBuf], spills: &[String]) -> Result<Vec<Self>, LedgerFault> {
        let mut spill_of = Vec::new();
        for text in spills {
            let (dir, spill) =
                text.split_once('=').ok_or_else(|| LedgerFault::Spill(text.clone()))?;
            if !paths.iter().any(|path| path == Path::new(dir)) {
                return Err(LedgerFault::Spill(text.clone()));
            }
            spill_of.push((PathBuf::from(dir), PathBuf::from(spill)));
        }
        let source = |path: &PathBuf| {
            let spill = spill_of.iter().find(|(dir, _)| dir == path);
            if path.is_dir() {
                let spill = spill.map(|(_, spill)| spill.clone());
                Self::Journal(Dirs { main: path.clone(), spill })
            } else {
                Self::Export(path.clone())
            }
        };
        Ok(paths.iter().map(source).collect())
    }

    /// Reads all of it.
    pub fn read(
        &self,
        disk: &dyn Disk,
        faults: &mut Faults,
        take: &mut Take<'_>,
    ) -> Result<(), LedgerFault> {
        let before = faults.count;
        let path = match self {
            Self::Journal(dirs) => {
                read_journal(disk, dirs, faults, take)?;
                &dirs.main
            }
            Self::Export(path) => {
                import::read(path, faults, take)?;
                path
            }
        };
        faults.close(path, before);
        Ok(())
    }
}

fn read_journal(
    disk: &dyn Disk,
    dirs: &Dirs,
    faults: &mut Faults,
    take: &mut Take<'_>,
) -> Result<(), LedgerFault> {
    let journal = |cause| LedgerFault::Journal(dirs.main.clone(), cause);
    let cursors = cursor::load_all(disk, &dirs.main).map_err(journal)?;
    let mut taken = Ok(());
    let mut unread = Faults::default();
    let survey = survey(disk, dirs, furthest(&cursors), &mut |ordinal, piece| {
        if let (Piece::Record(record), Ok(())) = (piece, &taken) {
            match item(record) {
                Some(Ok(item)) => taken = take(item),
                Some(Err(why)) => unread.add(|| unreadable(&dirs.main, ordinal, record, &why)),
                None => {}
            }
        }
    })
    .map_err(journal)?;
    taken?;
    if survey.segments.is_empty() {
        let (path, why) = (dirs.main.clone(), "there is no segment in it");
        return Err(LedgerFault::Strange { path, why });
    }
    if let Some(fault) = pair::missing(disk, dirs).map_err(journal)? {
        faults.add(|| format!("{fault}; see --spill"));
    }
    // a cursor that is lost costs repeats to a sink, not money
    for fault in (Look { survey, cursors: BTreeMap::new() }).findings().faults {
        faults.add(|| fault);
    }
    faults.count += unread.count - unread.told.len() as u64;
    for fault in unread.told {
        faults.add(|| fault);
    }
    let letters = look(disk, &dirs.main, LETTERS_MAX).map_err(journal)?;
    let dead = folder(&dirs.main);
    if letters.lost > 0 {
        faults.add(|| format!("{}: {} records are lost", dead.display(), letters.lost));
    }
    if letters.is_cut {
        faults.add(|| format!("{}: only {LETTERS_MAX} letters are read", dead.display()));
    }
    for (state, letter) in letters.open.into_values() {
        take(Item::Letter(state, letter))?;
    }
    Ok(())
}

fn unreadable(dir: &Path, ordinal: u64, record: &Record<'_>, why: &str) -> String {
    let (sequence, kind) = (record.sequence, record.tag.kind);
    format!("{}: segment {ordinal}: sequence {sequence}: kind {kind}: {why}", dir.display())
}

/// A record that counts; `None` for one of another kind.
fn item(record: &Record<'_>) -> Option<Result<Item, String>> {
    let (kind, bytes) = (record.tag.kind, record.payload);
    let read = match (EventType::of_kind(kind), kind) {
        (Some(event), _) => read_event(event, bytes).map(Item::Event),
        (None, kind::AUCTION) => read_auction(bytes).map(Item::Auction),
        (None, kind::DROPPED) => read_drops(bytes).map(Item::Dropped),
        _ => return None,
    };
    Some(read.map_err(|fault| fault.to_string()).and_then(checked))
}

/// An event whose id is not of its type would be taken for another one.
pub fn checked(item: Item) -> Result<Item, String> {
    let event = match &item {
        Item::Event(event) => event,
        Item::Dead(notice) => &*notice.event,
        _ => return Ok(item),
    };
    if event.id.sale().event(event.event) == event.id {
        return Ok(item);
    }
    Err(format!("the id {} is not that of a {}", event.id, event.event.label()))
}

/// A file or pipe to read, with its name in a fault.
pub fn open(path: &Path) -> Result<Box<dyn io::BufRead>, LedgerFault> {
    let file = std::fs::File::open(path);
    let file = file.map_err(|cause| LedgerFault::Read(path.to_owned(), cause))?;
    Ok(Box::new(io::BufReader::with_capacity(256 << 10, file)))
}
