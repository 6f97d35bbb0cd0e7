//! Damage to what had been durable: every byte, every length.
//!
//! `GAVEL_FULL=1` goes through all bytes of 1 MiB, in the part `GAVEL_PART` of 8 (0 to 7).

use super::disk::SimDisk;
use gavel::journal::disk::{Disk, ReadAt};
use gavel::journal::export::Look;
use gavel::journal::frame::Class;
use gavel::journal::maker::Maker;
use gavel::journal::open::recover;
use gavel::journal::published::Published;
use gavel::journal::store::{Entry, Store};
use gavel::journal::survey::survey;
use gavel::journal::walk::{Bounds, Piece, Walk};
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
    let recovered = recover(&disk, &settings, &mut |_| {}).unwrap();
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
            .map(|payload| Entry { kind: 9, class: Class::Durable, payload })
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

impl Written {
    /// What can be read, how much is said to be lost, and whether anything is said of damage.
    fn examine(&self) -> (Records, u64, bool) {
        let (mut found, mut lost) = (Records::new(), 0);
        let survey = survey(&self.disk, &self.settings.dirs(), 0, &mut |_, piece| match piece {
            Piece::Record(record) => drop(found.insert(record.sequence, record.payload.to_vec())),
            Piece::Hole(hole) => lost += hole.to - hole.from,
            Piece::End { .. } => {}
        })
        .unwrap();
        let findings = Look { survey, cursors: BTreeMap::new() }.findings();
        (found, lost, !findings.faults.is_empty() || !findings.notes.is_empty())
    }

    fn read(&self) -> (Records, u64) {
        let (found, lost, _) = self.examine();
        (found, lost)
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
        let whole = (written.records.clone(), 0, false);
        assert_eq!(written.examine(), whole);
        let path = &written.segments[at];
        let bytes = written.disk.bytes(path).len();
        let mut flips = 0;
        for offset in offsets(bytes) {
            let bits = 1 << (offset % 8);
            written.disk.flip(path, offset, bits);
            let (found, lost, is_seen) = written.examine();
            for (sequence, payload) in &found {
                assert_eq!(
                    written.records.get(sequence),
                    Some(payload),
                    "byte {offset} changed it"
                );
            }
            assert!(found.len() + 5 >= written.records.len(), "byte {offset} cost {lost}, not one");
            assert!(is_seen, "byte {offset} of {} was missed", path.display());
            // of the closed segment's last mark nothing else depends on it
            let is_record_lost = found.len() < written.records.len();
            assert!(!is_record_lost || lost > 0, "byte {offset}: a record is lost silently");
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
        let mut found = Records::new();
        let result = recover(&written.disk, &written.settings, &mut |record| {
            found.insert(record.sequence, record.payload.to_vec());
        });
        let recovered = result.unwrap();
        let whole = found.len();
        let expected: Records = written.records.clone().into_iter().take(whole).collect();
        assert_eq!(found, expected, "cut to {length} bytes");
        let next_end =
            written.records.values().take(whole + 1).map(|p| 17 + p.len()).sum::<usize>();
        assert!(
            whole == written.records.len() || 64 + next_end > length,
            "cut to {length} bytes: a whole record is missing"
        );
        assert_eq!(recovered.report.lost, 0);
        // a start behind it goes on with the next sequence, and the same is found again
        let again = recover(&written.disk, &written.settings, &mut |_| {}).unwrap();
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
    let recovered = recover(&written.disk, &written.settings, &mut |_| {}).unwrap();
    assert_eq!((recovered.report.damaged, recovered.report.lost), (1, 1));
    let damaged = path.with_extension("damaged");
    assert!(written.disk.paths().contains(&damaged) && !written.disk.paths().contains(path));
    assert!(recovered.table.segments[0].is_damaged);
    let (found, lost) = written.read();
    assert_eq!((found.len(), lost), (written.records.len() - 1, 1));
    assert!(!found.contains_key(&21));
    // and again after the next start
    let again = recover(&written.disk, &written.settings, &mut |_| {}).unwrap();
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
    let (found, lost) = written.read();
    assert_eq!((found.len(), lost), (all - 2, 0));
    written.disk.flip(path, newest + 5, 1);
    // one of the commit before: the last one proves that it was durable
    let before = offset_of(&bytes, all - 6);
    written.disk.flip(path, before + 5, 1);
    let (found, lost) = written.read();
    assert_eq!((found.len(), lost), (all - 1, 1));
    // a cursor proves it too
    written.disk.flip(path, before + 5, 1);
    written.disk.flip(path, newest + 5, 1);
    let at = cursor::Cursor { next: all as u64 + 1, delivered: 0, dead: 0 };
    cursor::save(&written.disk, Path::new("/main"), "a", at).unwrap();
    let recovered = recover(&written.disk, &written.settings, &mut |_| {}).unwrap();
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
    let (found, lost) = written.read();
    assert!(lost > 0);
    assert_eq!(found.len() as u64 + lost, written.records.len() as u64);
}

#[test]
fn a_segment_that_is_gone_is_a_gap() {
    let written = written(64 << 10, 3, true);
    written.disk.remove(&written.segments[1]).unwrap();
    let (found, lost) = written.read();
    assert!(lost > 0);
    assert_eq!(found.len() as u64 + lost, written.records.len() as u64);
    let recovered = recover(&written.disk, &written.settings, &mut |_| {}).unwrap();
    assert_eq!(recovered.report.lost, lost);
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
        assert_eq!(written.examine(), (written.records.clone(), 0, true), "{segments} segments");
        let recovered = recover(&written.disk, &written.settings, &mut |_| {}).unwrap();
        assert!(recovered.table.segments[0].is_damaged);
        assert_eq!(written.read(), (written.records.clone(), 0));
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
