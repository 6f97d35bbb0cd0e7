//! Letters that come and go beside some that stay, and power that fails meanwhile.

use super::disk::SimDisk;
use super::threads::{BILLING, small};
use gavel::journal::dead::look::look;
use gavel::journal::dead::{Change, DeadLetters, Letter, LetterState};
use gavel::journal::disk::Disk;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const DIR: &str = "/main";
/// More than are ever open.
const MANY: usize = 100_000;

fn open(disk: &SimDisk) -> DeadLetters {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    DeadLetters::open(shared, &small(Path::new(DIR)), MANY).unwrap()
}

fn letter(sequence: u64) -> Letter {
    Letter {
        sink: "a".to_owned(),
        reason: "answered 400".to_owned(),
        buried_us: 5,
        sequence,
        kind: BILLING,
        payload: vec![3; 3000],
        group: "bidder".to_owned(),
        ..Letter::default()
    }
}

fn files(disk: &SimDisk) -> usize {
    disk.paths().iter().filter(|path| path.starts_with("/main/dead")).count()
}

#[test]
fn an_old_letter_that_stays_open_holds_back_nothing_that_is_done_with() {
    let disk = SimDisk::new(21);
    let mut letters = open(&disk);
    let stays = letters.bury(&letter(0)).unwrap();
    let tried = letters.put(&[letter(1)], LetterState::Pending).unwrap()[0];
    let failed = Change {
        number: tried,
        state: LetterState::Pending,
        tries: 3,
        due_us: 77,
        since_us: 9,
        reason: "answered 503".to_owned(),
    };
    letters.change_all(&[failed]).unwrap();
    let expected = letters.list(0, 10).unwrap();
    for sequence in 2..1_500 {
        let number = letters.put(&[letter(sequence)], LetterState::Pending).unwrap()[0];
        letters.delivered(number).unwrap();
        assert!(files(&disk) <= 7, "{} after {sequence}", files(&disk));
    }
    assert_eq!(letters.list(0, 10).unwrap(), expected);
    assert_eq!(look(&disk, Path::new(DIR), 10).unwrap().list(), expected);
    letters.close(6);
    disk.power_cycle();

    let mut letters = open(&disk);
    assert_eq!(letters.list(0, 10).unwrap(), expected);
    // a record has one letter still, under the number that people know
    assert_eq!(letters.bury(&letter(0)).unwrap(), stays);
    letters.purge(stays).unwrap();
    letters.delivered(tried).unwrap();
    drop(letters);
    assert_eq!(open(&disk).counts(), (0, 0));
    assert!(look(&disk, Path::new(DIR), 10).unwrap().list().is_empty());
}

#[test]
fn power_that_fails_while_letters_are_moved_loses_none_and_opens_none_again() {
    /// Letters of the folder at the moment from which on it fails, and those that are put then.
    const BEFORE: u64 = 78;
    const THEN: u64 = 30;
    for crash in 1.. {
        let disk = SimDisk::new(crash);
        let mut letters = open(&disk);
        let mut stay = BTreeSet::new();
        let mut unsure = None;
        for sequence in 0..BEFORE + THEN {
            if sequence == BEFORE {
                disk.crash_after(Some(crash));
            }
            let is_done = letters.bury(&letter(sequence)).is_ok_and(|number| {
                let stays = sequence % 10 == 0;
                if stays {
                    stay.insert((number, sequence));
                }
                stays || letters.purge(number).is_ok()
            });
            if !is_done {
                unsure = Some(sequence);
                break;
            }
            if disk.is_down() {
                break;
            }
        }
        let has_failed = disk.is_down();
        drop(letters);
        disk.power_cycle();
        let letters = open(&disk);
        let listed = letters.list(0, 1_000).unwrap();
        let found: BTreeSet<(u64, u64)> = listed
            .iter()
            .map(|(number, _, letter)| (*number, letter.sequence))
            .filter(|(_, sequence)| unsure != Some(*sequence))
            .collect();
        assert_eq!(found, stay, "crash {crash}");
        for (_, state, found) in listed {
            assert_eq!((state, &found), (LetterState::Dead, &letter(found.sequence)));
        }
        if !has_failed {
            let first = stay.first().unwrap().0;
            assert!(crash > 100, "only {crash}");
            assert!(files(&disk) < 6 && first == 1, "{} files: some were moved", files(&disk));
            return;
        }
    }
}
