//! The open segment: commits, and where to go on when one fails.
//!
//! Owns: [`Store`]. Never: a thread, a clock, a waiter. Invariant: [`Store::commit`] answers `Ok`
//! only for records that are durable; a file of which a write or a sync failed is never written to
//! or synced again (what a failed `fsync` has dropped, a second one does not report).
//!
//! After a failure the whole commit is written again, under the same sequences, to a new segment.
//! What the failed one holds of it does not count any more: a segment ends where the next begins.

use super::disk::{Disk, DiskFile};
use super::frame::{Class, HEADER_BYTES, MARK, SegmentHeader, Tag, record_bytes, write_record};
use super::maker::{Maker, Prepared, is_full};
use super::published::{Published, Segment};
use super::{Place, Refused, Settings};
use std::io;
use std::mem;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// For so many probes the main folder is left alone after it has failed.
const AWAY_PROBES: u32 = 10;

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub kind: u8,
    pub class: Class,
    /// When the token of its event ends, in seconds since the epoch; else 0.
    pub ends_s: u64,
    pub payload: &'a [u8],
}

/// The segment that is written to.
#[derive(Debug)]
struct Active {
    file: Box<dyn DiskFile>,
    place: Place,
    ordinal: u64,
    path: PathBuf,
    first: u64,
    begun_us: u64,
    ends_s: u64,
    /// Where the next commit goes; 0 before the first.
    offset: u64,
}

/// How often each place may still be given a new segment in one commit.
#[derive(Debug)]
struct Tries {
    main: bool,
    spill: bool,
}

/// The open segment and those made ahead.
#[derive(Debug)]
pub struct Store {
    maker: Maker,
    /// As the maker's, but gives up on what hangs.
    disk: Arc<dyn Disk>,
    active: Option<Active>,
    main_spare: Option<Prepared>,
    spill_spare: Option<Prepared>,
    /// Number of the last segment that was begun: one with a lower number comes too late.
    begun: u64,
    next: u64,
    /// The last record is a mark: nothing to mark.
    is_marked: bool,
    buffer: Vec<u8>,
    /// Files that hold nothing that counts.
    leftovers: Vec<PathBuf>,
    /// Probes until the main folder may be tried again.
    away: u32,
}

impl Store {
    /// Begins behind what is durable, in a new segment. `disk` may give up on a write (`TimedOut`).
    pub fn new(maker: Maker, disk: Arc<dyn Disk>) -> Self {
        let next = maker.published.durable();
        Self {
            maker,
            disk,
            active: None,
            main_spare: None,
            spill_spare: None,
            begun: 0,
            next,
            is_marked: true,
            buffer: Vec::new(),
            leftovers: Vec::new(),
            away: 0,
        }
    }

    fn published(&self) -> &Published {
        &self.maker.published
    }

    fn settings(&self) -> &Settings {
        &self.maker.settings
    }

    /// Where a segment should be made now.
    pub fn wants(&self) -> Option<Place> {
        let has_spill = self.maker.dirs.spill.is_some();
        if self.main_spare.is_none() && self.away == 0 {
            Some(Place::Main)
        } else if has_spill && self.spill_spare.is_none() {
            Some(Place::Spill)
        } else {
            None
        }
    }

    /// Makes segments.
    pub fn maker(&self) -> Maker {
        self.maker.clone()
    }

    /// Takes what was made. Its place works, then: what had failed there may be tried again. Where
    /// this store came to need a segment and made one while this was made, it gets a new number, since
    /// files are in the order of their numbers; and where that one took the last room, it goes.
    pub fn supply(&mut self, prepared: Prepared) {
        if !self.maker.has_room(prepared.place) {
            self.leftovers.push(prepared.path);
            return self.cannot_make(prepared.place);
        }
        let is_late = prepared.ordinal < self.begun;
        let prepared = if is_late { self.maker.renumber(&prepared) } else { Ok(prepared) };
        // what could not get a new number is wanted anew
        let Ok(prepared) = prepared else { return };
        let slot = match prepared.place {
            Place::Main => &mut self.main_spare,
            Place::Spill => &mut self.spill_spare,
        };
        let former = slot.replace(prepared);
        self.leftovers.extend(former.map(|former| former.path));
        self.published().adjust(|parts| {
            parts.is_failed = false;
            parts.has_no_next = false;
        });
    }

    /// Learns that a place has no room or does not work.
    pub fn cannot_make(&mut self, place: Place) {
        let is_last = place == Place::Spill || self.maker.dirs.spill.is_none();
        if !is_last {
            // the spill folder's turn: until it has failed too, nothing is at its end
            self.away = 1;
        }
        let has_none = self.main_spare.is_none() && self.spill_spare.is_none();
        self.published().adjust(|parts| {
            parts.has_no_next = has_none && (is_last || parts.has_no_next);
        });
    }

    /// One period of probing is over.
    pub fn tick(&mut self) {
        self.away = self.away.saturating_sub(1);
    }

    /// Files to be removed: nothing in them counts.
    pub fn take_leftovers(&mut self) -> Vec<PathBuf> {
        mem::take(&mut self.leftovers)
    }

    /// Makes records durable, all or none, and answers their sequences. Together they are no
    /// longer than `commit_bytes_max`.
    pub fn commit(&mut self, entries: &[Entry<'_>], now_us: u64) -> Result<Range<u64>, Refused> {
        let first = self.next;
        if entries.is_empty() {
            return Ok(first..first);
        }
        self.encode(entries);
        let mut tries = Tries { main: true, spill: self.maker.dirs.spill.is_some() };
        if self.published().parts().is_failed {
            // tried again by the helper, not by each commit
            return Err(Refused::Failed);
        }
        self.roll_if_due();
        loop {
            if self.active.is_none() && !self.activate(&mut tries, now_us) {
                self.fail();
                return Err(Refused::Failed);
            }
            let ends_s = entries.iter().map(|entry| entry.ends_s).max().unwrap_or(0);
            match self.write(entries.len() as u64, ends_s) {
                Ok(next) => {
                    self.next = next;
                    self.is_marked = entries.iter().all(|entry| entry.kind == MARK);
                    return Ok(first..next);
                }
                Err(fault) => self.seal(&fault, &mut tries),
            }
        }
    }

    /// Says on the disk that the last commit is durable, so that damage to it is told from a torn
    /// tail. For idle moments.
    pub fn mark(&mut self, now_us: u64) -> Result<(), Refused> {
        if self.is_marked || self.active.is_none() {
            return Ok(());
        }
        let entry = Entry { kind: MARK, class: Class::Buffered, ends_s: 0, payload: &[] };
        self.commit(&[entry], now_us).map(drop)
    }

    /// Ends in order: the last commit marked, the segment cut to what it holds, no spare left.
    pub fn close(&mut self, now_us: u64) {
        let _ = self.mark(now_us);
        if let Some(mut active) = self.active.take() {
            // what cannot be cut is cut at the next start
            if active.file.set_length(active.offset).and_then(|()| active.file.sync()).is_ok() {
                self.published().shorten(active.ordinal, active.offset);
            }
        }
        let spares = [self.main_spare.take(), self.spill_spare.take()];
        self.leftovers.extend(spares.into_iter().flatten().map(|spare| spare.path));
    }

    /// Nothing is taken until a segment that is made from now on shows that a disk works.
    fn fail(&mut self) {
        let spares = [self.main_spare.take(), self.spill_spare.take()];
        self.leftovers.extend(spares.into_iter().flatten().map(|spare| spare.path));
        self.away = 0;
        self.published().adjust(|parts| parts.is_failed = true);
    }

    fn encode(&mut self, entries: &[Entry<'_>]) {
        self.buffer.clear();
        // room for the header, should this be the first commit of a segment
        self.buffer.resize(HEADER_BYTES, 0);
        for (sequence, entry) in (self.next..).zip(entries) {
            let opens = sequence == self.next;
            let tag = Tag { kind: entry.kind, class: entry.class, opens };
            write_record(&mut self.buffer, sequence, tag, entry.payload);
        }
    }

    /// Leaves a segment that has no room for this commit, or that is only a refuge.
    fn roll_if_due(&mut self) {
        let Some(active) = &self.active else { return };
        let bytes = self.buffer.len() as u64;
        let is_full = active.offset.saturating_add(bytes) > self.settings().segment_bytes;
        let may_go_home = active.place == Place::Spill && self.main_spare.is_some();
        if is_full || may_go_home {
            self.active = None;
        }
    }

    /// Opens a new segment; false where no place has one.
    fn activate(&mut self, tries: &mut Tries, now_us: u64) -> bool {
        loop {
            let main_first = self.away == 0 || !tries.spill;
            let place = match (tries.main, tries.spill) {
                (true, _) if main_first => Place::Main,
                (_, true) => Place::Spill,
                (true, false) => Place::Main,
                (false, false) => return false,
            };
            *match place {
                Place::Main => &mut tries.main,
                Place::Spill => &mut tries.spill,
            } = false;
            let Some(prepared) = self.spare(place) else { continue };
            match self.disk.open(&prepared.path) {
                Ok(file) => {
                    self.begin(file, prepared, now_us);
                    return true;
                }
                Err(_) => self.leftovers.push(prepared.path),
            }
        }
    }

    fn begin(&mut self, file: Box<dyn DiskFile>, prepared: Prepared, now_us: u64) {
        let Prepared { place, ordinal, path } = prepared;
        self.begun = ordinal;
        for spare in [&mut self.main_spare, &mut self.spill_spare] {
            if let Some(late) = spare.take_if(|spare| spare.ordinal < ordinal) {
                self.leftovers.push(late.path);
            }
        }
        if place == Place::Main {
            self.away = 0;
        }
        self.published().adjust(|parts| parts.is_spilling = place == Place::Spill);
        let (first, begun_us) = (self.next, now_us);
        self.active =
            Some(Active { file, place, ordinal, path, first, begun_us, ends_s: 0, offset: 0 });
    }

    fn spare(&mut self, place: Place) -> Option<Prepared> {
        let slot = match place {
            Place::Main => &mut self.main_spare,
            Place::Spill => &mut self.spill_spare,
        };
        if let Some(prepared) = slot.take() {
            return Some(prepared);
        }
        self.published().counts.stalls.fetch_add(1, Ordering::Relaxed);
        self.maker.make(place).ok()
    }

    /// Writes the buffer; answers the sequence behind it.
    fn write(&mut self, records: u64, ends_s: u64) -> io::Result<u64> {
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("no segment is open"));
        };
        let bytes = if active.offset == 0 {
            let Active { ordinal, first, begun_us, .. } = *active;
            let header = SegmentHeader { ordinal, first, begun_us }.write();
            if let Some(room) = self.buffer.first_chunk_mut::<HEADER_BYTES>() {
                *room = header;
            }
            self.buffer.as_slice()
        } else {
            self.buffer.get(HEADER_BYTES..).unwrap_or_default()
        };
        active.file.commit(active.offset, bytes)?;
        active.offset += bytes.len() as u64;
        active.ends_s = active.ends_s.max(ends_s);
        let next = self.next + records;
        let segment = Segment {
            place: active.place,
            ordinal: active.ordinal,
            first: active.first,
            next,
            bytes: active.offset,
            file_bytes: self.maker.settings.segment_bytes,
            offset: HEADER_BYTES as u64,
            begun_us: active.begun_us,
            ends_s: active.ends_s,
            is_damaged: false,
        };
        self.maker.published.extend(segment);
        Ok(next)
    }

    /// Leaves a segment of which a commit has failed, for ever.
    fn seal(&mut self, fault: &io::Error, tries: &mut Tries) {
        let Some(active) = self.active.take() else { return };
        let counts = &self.maker.published.counts;
        let (counter, is_final) = match fault.kind() {
            io::ErrorKind::TimedOut => (&counts.timeouts, true),
            _ if is_full(fault) => (&counts.full, true),
            _ => (&counts.faults, false),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if is_final {
            // a new file would hang or be full likewise
            match active.place {
                Place::Main => tries.main = false,
                Place::Spill => tries.spill = false,
            }
        }
        if active.place == Place::Main && self.maker.dirs.spill.is_some() && !tries.main {
            self.away = AWAY_PROBES;
            let spare = self.main_spare.take();
            self.leftovers.extend(spare.map(|spare| spare.path));
        }
        if active.first == self.next {
            self.leftovers.push(active.path);
        }
    }
}

/// Bytes that an entry takes in a segment.
pub const fn entry_bytes(payload: usize) -> usize {
    record_bytes(payload)
}
