//! Reading what is durable, and remembering how far.
//!
//! Owns: [`Reader`], [`Sink`]. Never: where records are sent. Invariant: a reader gives every durable
//! record once and in order, and says so where some are lost; a sink's cursor never passes a record
//! that its batch did not hold.

use super::cursor::{Cursor, save};
use super::disk::DiskFile;
use super::frame::{Class, OWN_KINDS};
use super::handle::Journal;
use super::published::Segment;
use super::survey::{FIRST, path_of};
use super::walk::{Piece, Walk};
use super::{Dirs, JournalFault};
use std::io;
use std::time::Duration;

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub sequence: u64,
    pub kind: u8,
    pub class: Class,
    pub payload: Vec<u8>,
}

/// Records in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub records: Vec<Kept>,
    /// Sequences that are lost: from, and the first that is not.
    pub lost: Vec<(u64, u64)>,
    /// The first sequence behind it.
    pub next: u64,
}

impl Batch {
    /// Durable records in it.
    pub fn durable(&self) -> u64 {
        self.records.iter().filter(|record| record.class == Class::Durable).count() as u64
    }
}

/// Reads durable records from a sequence on. Keeps nothing back: a reader that is no sink may find
/// that what it has not read is gone, and is told so ([`Batch::lost`]).
#[derive(Debug)]
pub struct Reader {
    journal: Journal,
    dirs: Dirs,
    next: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    ordinal: u64,
    file: Box<dyn DiskFile>,
    /// Where the walk goes on.
    offset: u64,
    next: u64,
}

impl Reader {
    /// From a sequence on.
    pub fn from(journal: &Journal, sequence: u64) -> Self {
        let dirs = journal.settings().dirs();
        Self { journal: journal.clone(), dirs, next: sequence.max(FIRST), open: None }
    }

    /// Goes on from a sequence; forwards within what is open, it walks on from where it is.
    pub fn go_to(&mut self, sequence: u64) {
        if sequence < self.next {
            self.open = None;
        }
        self.next = sequence.max(FIRST);
    }

    /// Blocks until there is something to read, or the time is over.
    pub fn wait(&self, patience: Duration) -> bool {
        self.journal.published().wait_for(self.next, patience)
    }

    /// What there is, up to so many records and bytes (one record at least); empty at the end. A
    /// fault behind some of it ends the batch there, and is answered by the next read, if it lasts;
    /// after a fault the reader is where it was.
    pub fn read(&mut self, records_max: usize, bytes_max: usize) -> Result<Batch, JournalFault> {
        let mut batch = Batch { next: self.next, ..Batch::default() };
        let mut room = bytes_max;
        while batch.records.len() < records_max && room > 0 {
            let Some(segment) = self.journal.published().segment_of(self.next) else { break };
            if self.next < segment.first {
                batch.lost.push((self.next, segment.first));
                self.next = segment.first;
            }
            let path = path_of(&self.dirs, segment.place, segment.ordinal, segment.is_damaged);
            let Err(fault) = self.walk(segment, &mut batch, records_max, &mut room) else {
                continue;
            };
            self.open = None;
            let is_listed = || self.journal.published().segment_of(self.next) == Some(segment);
            if fault.kind() == io::ErrorKind::NotFound && !is_listed() {
                // retention was quicker: the next round finds what is there
                continue;
            }
            if batch.records.is_empty() && batch.lost.is_empty() {
                self.next = batch.next;
                return Err(JournalFault::disk("read", &path)(fault));
            }
            // whoever asked has to get these: what comes next is behind them
            break;
        }
        batch.next = self.next;
        Ok(batch)
    }

    fn walk(
        &mut self,
        segment: Segment,
        batch: &mut Batch,
        records_max: usize,
        room: &mut usize,
    ) -> io::Result<()> {
        let mut open = match self.open.take().filter(|open| open.ordinal == segment.ordinal) {
            Some(open) => open,
            None => self.begin(segment)?,
        };
        let mut walk = Walk::resume(&*open.file, segment.bounds(), open.offset, open.next);
        while batch.records.len() < records_max && *room > 0 {
            match walk.step()? {
                Piece::Record(record) => {
                    let is_own = record.tag.kind < OWN_KINDS;
                    if record.sequence >= self.next && !is_own {
                        *room = room.saturating_sub(record.payload.len().max(1));
                        batch.records.push(Kept {
                            sequence: record.sequence,
                            kind: record.tag.kind,
                            class: record.tag.class,
                            payload: record.payload.to_vec(),
                        });
                    }
                    self.next = self.next.max(record.sequence + 1);
                }
                Piece::Hole(hole) => {
                    if hole.to > self.next {
                        let lost = (hole.from.max(self.next), hole.to);
                        batch.lost.push(lost);
                        self.next = hole.to;
                        if !segment.is_damaged {
                            self.journal.published().met_hole(lost.1 - lost.0);
                        }
                        let (from, to, offset) = (lost.0, lost.1, hole.offset);
                        let ordinal = segment.ordinal;
                        tracing::error!(from, to, ordinal, offset, "journal: records are lost");
                    }
                }
                Piece::End { next, .. } => {
                    self.next = self.next.max(next);
                    break;
                }
            }
        }
        (open.offset, open.next) = walk.place();
        self.open = Some(open);
        Ok(())
    }

    fn begin(&self, segment: Segment) -> io::Result<Open> {
        let path = path_of(&self.dirs, segment.place, segment.ordinal, segment.is_damaged);
        let file = self.journal.parts().disk.open_to_read(&path)?;
        let bounds = segment.bounds();
        Ok(Open { ordinal: segment.ordinal, file, offset: bounds.offset, next: bounds.first })
    }
}

/// A reader whose place is kept on the disk, and before which no segment is removed.
#[derive(Debug)]
pub struct Sink {
    reader: Reader,
    name: String,
    cursor: Cursor,
}

impl Sink {
    /// One of those that the settings name; `None` for another.
    pub fn new(journal: &Journal, name: &str) -> Option<Self> {
        let cursor = journal.parts().cursors.get(name)?;
        Some(Self { reader: Reader::from(journal, cursor.next), name: name.to_owned(), cursor })
    }

    /// How far it is.
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Blocks until there is something to read, or the time is over.
    pub fn wait(&self, patience: Duration) -> bool {
        self.reader.wait(patience)
    }

    /// The next batch; batches may be read ahead of their commits.
    pub fn read(&mut self, records_max: usize, bytes_max: usize) -> Result<Batch, JournalFault> {
        self.reader.read(records_max, bytes_max)
    }

    /// A batch is done with: all of it was delivered but for `dead` durable records, which have
    /// been buried. After a crash before this everything in it comes again: what it is delivered to
    /// must know a repeat by the event's id. Commits go in the order of the batches.
    pub fn commit(&mut self, batch: &Batch, dead: u64) -> Result<(), JournalFault> {
        let durable = batch.durable();
        let delivered = durable.saturating_sub(dead);
        self.pass(batch.next, delivered, durable - delivered)
    }

    /// As [`Self::commit`], up to a sequence, for a sink that puts records aside and delivers them
    /// later ([`super::dead`]): those stay pending in the books until [`Self::settle`].
    pub fn pass(&mut self, next: u64, delivered: u64, dead: u64) -> Result<(), JournalFault> {
        let cursor = Cursor {
            next: next.max(self.cursor.next),
            delivered: self.cursor.delivered + delivered,
            dead: self.cursor.dead + dead,
        };
        let parts = self.reader.journal.parts();
        save(&*parts.disk, &parts.settings.dir, &self.name, cursor)?;
        parts.cursors.set(&self.name, cursor);
        parts.balance.settle(&self.name, delivered, dead);
        self.cursor = cursor;
        Ok(())
    }

    /// Records that had been put aside are delivered or dead now: for the books.
    pub fn settle(&self, delivered: u64, dead: u64) {
        self.reader.journal.parts().balance.settle(&self.name, delivered, dead);
    }

    /// Records behind the cursor wait (again) to be delivered: for the books.
    pub fn revive(&self, count: u64) {
        self.reader.journal.parts().balance.revive(&self.name, count);
    }
}
