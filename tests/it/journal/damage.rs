//! Damage to what had been durable: every byte, every length.
//!
//! `GAVEL_FULL=1` goes through all bytes of 1 MiB, in the part `GAVEL_PART` of 8 (0 to 7).

use super::disk::SimDisk;
use gavel::journal::disk::{Disk, ReadAt};
use gavel::journal::export::Look;
use gavel::journal::frame::Class;
use gavel::journal::maker::Maker;
use gavel::journal::open::{Recovered, recover};
use gavel::journal::published::Published;
use gavel::journal::store::{Entry, Store};
use gavel::journal::survey::survey;
use gavel::journal::walk::{Bounds, Piece, Record, Walk};
use gavel::journal::{Settings, cursor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Records = BTreeMap<u64, Vec<u8>>;

struct Written {
    disk: SimDisk,
    settings: Settings,
    records: Records,
    /// In the order of their records.
    segments: Vec<PathBuf>,
}

/// A journal of so many segments, closed or left as after a kill.
fn written(segment_bytes: u64, segments: usize, is_closed: bool) -> Written {
    let disk = SimDisk::new(7);
    let settings = Settings {
        segment_bytes,
        commit_bytes_max: 16 << 10,
        record_bytes_max: 8 << 10,
        ballast_bytes: 0,
        sinks: vec!["a".to_owned()],
        ..Settings::new("/main")
    };
    let recovered = recover(&disk, &settings, &mut |_, _| {}).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let published = Arc::new(Published::new(recovered.table, recovered.next_ordinal));
    let maker = Maker {
        disk: Arc::clone(&shared),
        settings: Arc::new(settings.clone()),
        dirs: Arc::new(settings.dirs()),
        published: Arc::clone(&published),
    };
    let mut store = Store::new(maker, shared);
    let (mut records, mut counter) = (BTreeMap::new(), 0_u64);
    // up to half of the last segment
    while published.table().segments.len() < segments
        || published.table().segments[segments - 1].bytes < segment_bytes / 2
    {
        let payloads: Vec<Vec<u8>> = (0..5)
            .map(|_| {
                counter += 1;
                let length = usize::try_from(counter * 37 % 700).unwrap();
                counter.to_le_bytes().into_iter().cycle().take(length).collect()
            })
            .collect();
        let entries: Vec<Entry<'_>> = payloads
            .iter()
            .map(|payload| Entry { kind: 9, class: Class::Durable, ends_s: 0, payload })
            .collect();
        let sequences = store.commit(&entries, 1).unwrap();
        records.extend(sequences.zip(payloads));
    }
    if is_closed {
        store.close(1);
    }
    let own = disk.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "seg"));
    let segments = own.collect();
    Written { disk, settings, records, segments }
}

/// What can be read of a journal, beside what was written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Records that are as they were written.
    count: usize,
    missing: Vec<u64>,
    /// What is not as it was written: by this sequence nothing was, or something else.
    changed: Vec<u64>,
    /// How much is said to be lost, and whether anything is said of damage.
    lost: u64,
    is_seen: bool,
}

type Expected<'a> = std::iter::Peekable<std::collections::btree_map::Iter<'a, u64, Vec<u8>>>;

impl Found {
    /// Each comes once, and in order: so they are compared as they come, and nothing is kept.
    fn take(&mut self, expected: &mut Expected<'_>, record: &Record<'_>) {
        while let Some((sequence, _)) = expected.next_if(|(known, _)| **known < record.sequence) {
            self.missing.push(*sequence);
        }
        match expected.next_if(|(known, _)| **known == record.sequence) {
            Some((_, payload)) if payload == record.payload => self.count += 1,
            _ => self.changed.push(record.sequence),
        }
    }

    fn end(&mut self, expected: Expected<'_>) {
        self.missing.extend(expected.map(|(sequence, _)| *sequence));
    }

    fn all(count: usize) -> Self {
        Self { count, ..Self::default() }
    }
}

impl Written {
    fn examine(&self) -> Found {
        let (mut found, mut expected) = (Found::default(), self.records.iter().peekable());
        let survey = survey(&self.disk, &self.settings.dirs(), 0, &mut |_, piece| match piece {
            Piece::Record(record) => found.take(&mut expected, record),
            Piece::Hole(hole) => found.lost += hole.to - hole.from,
            Piece::End { .. } => {}
        })
        .unwrap();
        found.end(expected);
        let findings = Look { survey, cursors: BTreeMap::new() }.findings();
        found.is_seen = !findings.faults.is_empty() || !findings.notes.is_empty();
        found
    }

    /// What a start reads of it.
    fn start(&self) -> (Recovered, Found) {
        let (mut found, mut expected) = (Found::default(), self.records.iter().peekable());
        let recovered = recover(&self.disk, &self.settings, &mut |_, record| {
            found.take(&mut expected, record);
        });
        found.end(expected);
        (recovered.unwrap(), found)
    }
}

/// Which bytes are flipped: in CI each 97th, so that over the runs of a year's changes to the
/// format no residue is special.
fn offsets(bytes: usize) -> impl Iterator<Item = usize> {
    let is_full = std::env::var_os("GAVEL_FULL").is_some();
    let part = std::env::var_os("GAVEL_PART").and_then(|part| part.into_string().ok());
    let part = part.and_then(|part| part.parse::<usize>().ok());
    let (first, step) = match (is_full, part) {
        (true, Some(part)) => (part, 8),
        (true, None) => (0, 1),
        (false, _) => (13, 97),
    };
    (first..bytes).step_by(step)
}

fn full() -> bool {
    std::env::var_os("GAVEL_FULL").is_some()
}

#[test]
fn each_flipped_byte_of_a_segment_is_seen_and_no_record_is_changed() {
    let size = if full() { 1 << 20 } else { 64 << 10 };
    // a full segment with one behind it; and the last one, closed
    for (segments, at) in [(2, 0), (1, 0)] {
        let written = written(size, segments, true);
        let whole = Found::all(written.records.len());
        assert_eq!(written.examine(), whole);
        let path = &written.segments[at];
        let bytes = written.disk.bytes(path).len();
        let mut flips = 0;
        for offset in offsets(bytes) {
            let bits = 1 << (offset % 8);
            written.disk.flip(path, offset, bits);
            let found = written.examine();
            assert!(found.changed.is_empty(), "byte {offset} changed it");
            assert!(found.missing.len() <= 5, "byte {offset} cost {}, not one", found.lost);
            assert!(found.is_seen, "byte {offset} of {} was missed", path.display());
            // of the closed segment's last mark nothing else depends on it
            let is_silent = !found.missing.is_empty() && found.lost == 0;
            assert!(!is_silent, "byte {offset}: a record is lost silently");
            written.disk.flip(path, offset, bits);
            flips += 1;
        }
        println!("{flips} bytes of {bytes} flipped");
        assert_eq!(written.examine(), whole);
    }
}

#[test]
fn of_each_truncation_the_prefix_survives() {
    let size = if full() { 1 << 20 } else { 64 << 10 };
    let written = written(size, 1, false);
    let path = &written.segments[0];
    let bytes = written.disk.bytes(path);
    for length in offsets(bytes.len()) {
        written.disk.set_bytes(path, &bytes[..length]);
        let (recovered, found) = written.start();
        let whole = found.count;
        assert!(found.changed.is_empty(), "cut to {length} bytes");
        let behind = written.records.keys().skip(whole);
        assert!(found.missing.iter().eq(behind), "cut to {length} bytes: not its prefix");
        let next_end =
            written.records.values().take(whole + 1).map(|p| 17 + p.len()).sum::<usize>();
        assert!(
            whole == written.records.len() || 64 + next_end > length,
            "cut to {length} bytes: a whole record is missing"
        );
        assert_eq!(recovered.report.lost, 0);
        // a start behind it goes on with the next sequence, and the same is found again
        let again = recover(&written.disk, &written.settings, &mut |_, _| {}).unwrap();
        assert_eq!(again.table.next, recovered.table.next);
        written.disk.wipe();
        written.disk.create(path).unwrap();
    }
}

/// The offset of the n-th record of a segment.
fn offset_of(bytes: &[u8], number: usize) -> usize {
    let bounds =
        Bounds { first: 1, limit: u64::MAX, proven: 0, bytes: bytes.length().unwrap(), offset: 64 };
    let mut walk = Walk::new(bytes, bounds);
    for _ in 0..number {
        walk.step().unwrap();
    }
    usize::try_from(walk.place().0).unwrap()
}

#[test]
fn damage_in_the_middle_is_kept_apart_and_said_and_the_rest_is_read() {
    let written = written(64 << 10, 2, false);
    let path = &written.segments[0];
    let bytes = written.disk.bytes(path);
    written.disk.flip(path, offset_of(&bytes, 20) + 30, 1);
    let recovered = recover(&written.disk, &written.settings, &mut |_, _| {}).unwrap();
    assert_eq!((recovered.report.damaged, recovered.report.lost), (1, 1));
    let damaged = path.with_extension("damaged");
    assert!(written.disk.paths().contains(&damaged) && !written.disk.paths().contains(path));
    assert!(recovered.table.segments[0].is_damaged);
    let found = written.examine();
    assert_eq!((found.missing, found.changed, found.lost), (vec![21], Vec::new(), 1));
    // and again after the next start
    let again = recover(&written.disk, &written.settings, &mut |_, _| {}).unwrap();
    assert_eq!((again.report.damaged, again.report.lost), (1, 1));
    assert_eq!(again.table.next, recovered.table.next);
}

#[test]
fn damage_in_the_last_segment_is_told_from_a_torn_tail_by_the_commit_behind_it() {
    let written = written(64 << 10, 1, false);
    let path = &written.segments[0];
    let bytes = written.disk.bytes(path);
    let all = written.records.len();
    // a record of the last commit: nobody can know whether it was acknowledged
    let newest = offset_of(&bytes, all - 2);
    written.disk.flip(path, newest + 5, 1);
    let found = written.examine();
    assert_eq!((found.count, found.changed, found.lost), (all - 2, Vec::new(), 0));
    written.disk.flip(path, newest + 5, 1);
    // one of the commit before: the last one proves that it was durable
    let before = offset_of(&bytes, all - 6);
    written.disk.flip(path, before + 5, 1);
    let found = written.examine();
    assert_eq!((found.count, found.changed, found.lost), (all - 1, Vec::new(), 1));
    // a cursor proves it too
    written.disk.flip(path, before + 5, 1);
    written.disk.flip(path, newest + 5, 1);
    let at = cursor::Cursor { next: all as u64 + 1, delivered: 0, dead: 0 };
    cursor::save(&written.disk, Path::new("/main"), "a", at).unwrap();
    let recovered = recover(&written.disk, &written.settings, &mut |_, _| {}).unwrap();
    assert_eq!((recovered.report.lost, recovered.report.cut), (1, None));
    assert_eq!(recovered.table.next, all as u64 + 1);
}

#[test]
fn a_sector_of_zeros_in_the_middle_is_a_gap_and_not_an_end() {
    let written = written(64 << 10, 1, false);
    let path = &written.segments[0];
    let mut bytes = written.disk.bytes(path);
    bytes[8192..8704].fill(0);
    written.disk.set_bytes(path, &bytes);
    let found = written.examine();
    assert!(found.lost > 0 && found.changed.is_empty());
    assert_eq!(found.count as u64 + found.lost, written.records.len() as u64);
}

#[test]
fn a_segment_that_is_gone_is_a_gap() {
    let written = written(64 << 10, 3, true);
    written.disk.remove(&written.segments[1]).unwrap();
    let found = written.examine();
    assert!(found.lost > 0 && found.changed.is_empty());
    assert_eq!(found.count as u64 + found.lost, written.records.len() as u64);
    let recovered = recover(&written.disk, &written.settings, &mut |_, _| {}).unwrap();
    assert_eq!(recovered.report.lost, found.lost);
    // its neighbours are whole
    assert!(recovered.table.segments.iter().all(|segment| !segment.is_damaged));
}

#[test]
fn a_lost_header_costs_no_record() {
    for segments in [1, 2] {
        let written = written(64 << 10, segments, true);
        let path = &written.segments[0];
        let mut bytes = written.disk.bytes(path);
        bytes[..64].fill(if segments == 1 { 0 } else { 0x5a });
        written.disk.set_bytes(path, &bytes);
        let all = Found { is_seen: true, ..Found::all(written.records.len()) };
        assert_eq!(written.examine(), all, "{segments} segments");
        let recovered = recover(&written.disk, &written.settings, &mut |_, _| {}).unwrap();
        assert!(recovered.table.segments[0].is_damaged);
        let found = written.examine();
        let expected = (written.records.len(), Vec::new(), 0);
        assert_eq!((found.count, found.changed, found.lost), expected);
    }
}

#[test]
fn a_forged_segment_is_given_up_instead_of_searched_for_hours() {
    // heads with plausible sequences and long lengths at every byte
    let mut bytes = vec![0_u8; 1 << 20];
    for at in (64..bytes.len() - 17).step_by(17) {
        bytes[at..at + 4].copy_from_slice(&1_000_000_u32.to_le_bytes());
        bytes[at + 8..at + 16].copy_from_slice(&50_u64.to_le_bytes());
    }
    let bounds = Bounds { first: 1, limit: 100, proven: 100, bytes: 1 << 20, offset: 64 };
    let mut walk = Walk::new(bytes.as_slice(), bounds);
    let first = walk.step().unwrap();
    assert!(matches!(first, Piece::Hole(hole) if (hole.from, hole.to) == (1, 100)), "{first:?}");
    assert!(matches!(walk.step().unwrap(), Piece::End { next: 100, .. }));
}
