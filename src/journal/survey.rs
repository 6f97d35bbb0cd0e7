//! Looks through all segments of a journal, without a change to any.
//!
//! Owns: [`Survey`], the order of segments, what each of them holds by its own and its neighbours'
//! word. Never: a write. Invariant: every good record is visited exactly once, in order; what is
//! missing between two of them is a [`Hole`] of a segment.

use super::disk::{Disk, DiskFile};
use super::frame::{Class, HEADER_BYTES, HeaderFault, OWN_KINDS, SegmentHeader};
use super::maker::{Name, damaged_name, parse_name, segment_name};
use super::walk::{Bounds, End, Hole, Piece, Walk, Why};
use super::{Dirs, JournalFault, Place};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// Gets each good record that is not the journal's own, and each hole, with its segment's number.
pub type Visit<'v> = dyn FnMut(u64, &Piece<'_>) + 'v;

/// Holes that are kept of one segment; the rest are counted only.
pub const HOLES_KEPT: usize = 1024;

/// Sequence of the first record of a journal.
pub const FIRST: u64 = 1;

/// A file that may be a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    pub place: Place,
    pub ordinal: u64,
    /// Its name says that something in it was lost.
    pub is_named_damaged: bool,
    pub path: PathBuf,
    pub bytes: u64,
}

/// What a segment holds.
#[derive(Clone, Debug)]
pub struct Surveyed {
    pub file: SegmentFile,
    pub header: Result<SegmentHeader, HeaderFault>,
    /// Sequence of its first record, and of the one behind its last.
    pub first: u64,
    pub next: u64,
    /// Where its records begin, and where they end.
    pub offset: u64,
    pub end_offset: u64,
    pub end: End,
    /// A later segment says where this one ends: all of it had been durable. Of one without, the
    /// last commit may not be.
    pub has_limit: bool,
    /// Where its last commit begins.
    pub commit_offset: u64,
    /// Bytes that are not zero stand behind its records.
    pub has_dirt: bool,
    pub holes: Vec<Hole>,
    pub hole_count: u64,
    /// Records that are missing.
    pub lost: u64,
    /// Records that are there, by kind and class, the journal's own included.
    pub counts: BTreeMap<(u8, bool), u64>,
}

impl Surveyed {
    /// Records that are there.
    pub fn records(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Whether the file itself is damaged: a whole file that is missing before it or behind it is
    /// not its fault.
    pub fn is_damaged(&self) -> bool {
        let is_bad = |fault: &HeaderFault| *fault != HeaderFault::Blank;
        self.header.as_ref().is_err_and(is_bad) && self.next > self.first
            || self.holes.iter().any(|hole| hole.why != Why::Missing || hole.end < self.file.bytes)
    }
}

/// All of a journal.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub segments: Vec<Surveyed>,
    /// Files that were never finished.
    pub unfinished: Vec<PathBuf>,
    /// Sequence behind the last record, and number behind the last segment.
    pub next: u64,
    pub next_ordinal: u64,
}

impl Survey {
    /// Records that are there, the journal's own included.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(Surveyed::records).sum()
    }

    /// Records that are missing.
    pub fn lost(&self) -> u64 {
        self.segments.iter().map(|segment| segment.lost).sum()
    }
}

/// The segments of a journal in the order of their numbers, and files that were never finished.
pub fn list(
    disk: &dyn Disk,
    dirs: &Dirs,
) -> Result<(Vec<SegmentFile>, Vec<PathBuf>), JournalFault> {
    let (mut found, mut unfinished) = (BTreeMap::<u64, SegmentFile>::new(), Vec::new());
    for place in dirs.places() {
        let dir = dirs.of(*place);
        for entry in disk.list(dir).map_err(JournalFault::disk("list", dir))? {
            let path = dir.join(&entry.name);
            let (ordinal, is_named_damaged) = match parse_name(&entry.name) {
                Name::Segment(ordinal) => (ordinal, false),
                Name::Damaged(ordinal) => (ordinal, true),
                Name::Unfinished => {
                    unfinished.push(path);
                    continue;
                }
                Name::Other => continue,
            };
            let (place, bytes) = (*place, entry.bytes);
            let file = SegmentFile { place, ordinal, is_named_damaged, path, bytes };
            if let Some(other) = found.insert(ordinal, file) {
                let one = dir.join(&entry.name);
                return Err(JournalFault::Twice { ordinal, one, other: other.path });
            }
        }
    }
    Ok((found.into_values().collect(), unfinished))
}

/// The path that a segment's file has now: damage renames it.
pub fn path_of(dirs: &Dirs, place: Place, ordinal: u64, is_damaged: bool) -> PathBuf {
    let name = if is_damaged { damaged_name(ordinal) } else { segment_name(ordinal) };
    dirs.of(place).join(name)
}

/// When each segment whose header can be read was begun, in microseconds since the epoch.
pub fn begun(disk: &dyn Disk, dirs: &Dirs) -> Result<Vec<u64>, JournalFault> {
    let (files, _) = list(disk, dirs)?;
    let mut found = Vec::with_capacity(files.len());
    for about in files {
        let path = &about.path;
        let mut start = [0; HEADER_BYTES];
        let file = disk.open_to_read(path).map_err(JournalFault::disk("read", path))?;
        let got = file.read_at(0, &mut start).map_err(JournalFault::disk("read", path))?;
        let header = SegmentHeader::read(start.get(..got).unwrap_or_default());
        found.extend(header.map(|header| header.begun_us));
    }
    Ok(found)
}

struct Opened {
    file: Box<dyn DiskFile>,
    about: SegmentFile,
    header: Result<SegmentHeader, HeaderFault>,
}

/// Looks through everything. `proven`: all before this sequence is known to have been durable (the
/// furthest cursor).
pub fn survey(
    disk: &dyn Disk,
    dirs: &Dirs,
    proven: u64,
    visit: &mut Visit<'_>,
) -> Result<Survey, JournalFault> {
    let (files, unfinished) = list(disk, dirs)?;
    let next_ordinal = files.last().map_or(1, |file| file.ordinal + 1);
    let mut opened = Vec::with_capacity(files.len());
    let mut before = 0;
    for about in files {
        let found = open(disk, about)?;
        if let Ok(header) = &found.header {
            if header.first < before {
                let (path, first) = (found.about.path, header.first);
                return Err(JournalFault::Order { path, first, before });
            }
            before = header.first;
        }
        opened.push(found);
    }
    let behind = behind(&opened, proven);
    let next = begin(&opened)?;
    let mut survey = Survey { unfinished, next, next_ordinal, ..Survey::default() };
    for (opened, behind) in opened.into_iter().zip(behind) {
        let found = look_through(opened, survey.next, behind, visit)?;
        survey.next = found.next;
        survey.segments.push(found);
    }
    Ok(survey)
}

fn open(disk: &dyn Disk, about: SegmentFile) -> Result<Opened, JournalFault> {
    let read = |cause| JournalFault::disk("read", &about.path)(cause);
    let file = disk.open_to_read(&about.path).map_err(read)?;
    let mut start = [0; HEADER_BYTES];
    let got = file.read_at(0, &mut start).map_err(read)?;
    let mut header = SegmentHeader::read(start.get(..got).unwrap_or_default());
    if let Ok(found) = header
        && found.ordinal != about.ordinal
    {
        header = Err(HeaderFault::Ordinal(found.ordinal));
    }
    match header {
        Err(HeaderFault::Version(version)) => {
            Err(JournalFault::Version { path: about.path, version })
        }
        // a lost header is no proof that nothing stands behind it
        Err(HeaderFault::Blank) if !is_blank(&*file, about.bytes).map_err(read)? => {
            Ok(Opened { file, about, header: Err(HeaderFault::Magic) })
        }
        header => Ok(Opened { file, about, header }),
    }
}

fn is_blank(file: &dyn DiskFile, bytes: u64) -> io::Result<bool> {
    let mut room = vec![0; 1 << 20];
    let mut at = 0;
    while at < bytes {
        let got = file.read_at(at, &mut room)?;
        if got == 0 {
            break;
        }
        if room.iter().take(got).any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += got as u64;
    }
    Ok(true)
}

/// The sequence with which the journal begins, as far as it is still there.
fn begin(opened: &[Opened]) -> Result<u64, JournalFault> {
    for found in opened {
        match found.header {
            Ok(header) => return Ok(header.first),
            Err(HeaderFault::Blank) => {}
            Err(_) => {
                let bytes = found.about.bytes;
                let bounds = Bounds { first: FIRST, limit: u64::MAX, proven: 0, bytes, offset: 0 };
                let sequence = Walk::new(&*found.file, bounds).first_sequence();
                let read = JournalFault::disk("read", &found.about.path);
                if let Some(sequence) = sequence.map_err(read)? {
                    return Ok(sequence);
                }
            }
        }
    }
    Ok(FIRST)
}

/// What the segments behind one say of it.
#[derive(Clone, Copy, Debug)]
struct Behind {
    limit: u64,
    proven: u64,
    is_certain: bool,
}

/// By the word of the next segment one ends where that begins, and was whole up to there. Where
/// that word is lost, the next one whose word is not only says what certainly does not belong to
/// it. Of the last one only cursors (`proven`) know more than itself.
fn behind(opened: &[Opened], proven: u64) -> Vec<Behind> {
    let mut all = Vec::with_capacity(opened.len());
    let mut behind = Behind { limit: u64::MAX, proven, is_certain: false };
    for found in opened.iter().rev() {
        all.push(behind);
        match found.header {
            Ok(SegmentHeader { first, .. }) => {
                behind = Behind { limit: first, proven: first, is_certain: true };
            }
            Err(HeaderFault::Blank) => {}
            Err(_) => behind = Behind { proven: 0, is_certain: false, ..behind },
        }
    }
    all.reverse();
    all
}

/// Whether a segment that has nothing by the word of the one behind it has more than the one commit
/// that failed and was written again there: then what it has was durable.
fn has_commits(file: &dyn DiskFile, bounds: Bounds) -> io::Result<bool> {
    let mut walk = Walk::new(file, Bounds { limit: u64::MAX, proven: 0, ..bounds });
    let mut commits = 0;
    loop {
        match walk.step()? {
            Piece::Record(record) => commits += u32::from(record.tag.opens),
            Piece::Hole(_) => {}
            Piece::End { .. } => return Ok(false),
        }
        if commits > 1 {
            return Ok(true);
        }
    }
}

fn look_through(
    opened: Opened,
    expected: u64,
    behind: Behind,
    visit: &mut Visit<'_>,
) -> Result<Surveyed, JournalFault> {
    let Opened { file, about, header } = opened;
    let read = |cause| JournalFault::disk("read", &about.path)(cause);
    let (first, offset) = match &header {
        Ok(header) => (header.first, HEADER_BYTES as u64),
        Err(HeaderFault::Blank) => (expected, about.bytes),
        Err(_) => (expected, 0),
    };
    let Behind { limit, proven, is_certain } = behind;
    let bounds = Bounds { first, limit, proven, bytes: about.bytes, offset };
    let mut found = Surveyed {
        first,
        next: first,
        offset,
        end_offset: offset,
        end: End::Clean,
        has_limit: is_certain,
        commit_offset: offset,
        has_dirt: false,
        holes: Vec::new(),
        hole_count: 0,
        lost: 0,
        counts: BTreeMap::new(),
        header,
        file: about.clone(),
    };
    let mut walk = Walk::new(&*file, bounds);
    loop {
        let piece = walk.step().map_err(read)?;
        match piece {
            Piece::Record(record) => {
                let is_buffered = record.tag.class == Class::Buffered;
                *found.counts.entry((record.tag.kind, is_buffered)).or_default() += 1;
                if record.tag.opens {
                    found.commit_offset = record.offset;
                }
                if record.tag.kind >= OWN_KINDS {
                    visit(about.ordinal, &piece);
                }
            }
            Piece::Hole(hole) => {
                visit(about.ordinal, &piece);
                found.lost += hole.to - hole.from;
                found.hole_count += 1;
                if found.holes.len() < HOLES_KEPT {
                    found.holes.push(hole);
                }
            }
            Piece::End { end, offset, next } => {
                (found.end, found.end_offset, found.next) = (end, offset, next);
                if next == first && is_certain && has_commits(&*file, bounds).map_err(read)? {
                    return Err(JournalFault::Both { path: about.path, first });
                }
                found.has_dirt = walk.has_dirt().map_err(read)?;
                return Ok(found);
            }
        }
    }
}
