//! The journal with its threads: many writers, disks that fail and come back, sinks, letters.

use super::disk::SimDisk;
use gavel::journal::dead::{DeadLetters, Letter, LetterState};
use gavel::journal::disk::Disk;
use gavel::journal::disk::real::RealDisk;
use gavel::journal::handle::{Journal, Once};
use gavel::journal::open::{Opened, open};
use gavel::journal::sink::{Reader, Sink};
use gavel::journal::{Condition, JournalFault, Refused, Settings};
use gavel::money_event::codec::{identify, write_event};
use gavel::money_event::{EventId, EventType, MoneyEvent};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// For whatever must happen in the end: a machine that compiles six other things is slow.
const PATIENCE: Duration = Duration::from_secs(60);
pub const EXPIRES_S: u64 = 4_000_000_000;
pub const BILLING: u8 = 9;

pub fn small(dir: &Path) -> Settings {
    Settings {
        segment_bytes: 64 << 10,
        commit_bytes_max: 16 << 10,
        record_bytes_max: 4 << 10,
        ballast_bytes: 64 << 10,
        probe_every: Duration::from_millis(10),
        // a slow machine is no slow disk
        stuck_after: PATIENCE,
        slow_after: Duration::from_secs(10),
        sinks: vec!["a".to_owned()],
        ..Settings::new(dir)
    }
}

pub fn on(disk: &SimDisk, settings: &Settings) -> Opened {
    open(settings.clone(), Arc::new(disk.clone()), identify).unwrap()
}

fn payload(id: u128) -> Vec<u8> {
    let event = MoneyEvent {
        event: EventType::Billing,
        id: EventId(id),
        expires_s: EXPIRES_S,
        url: String::new(),
        ..MoneyEvent::default()
    };
    let mut bytes = Vec::new();
    write_event(&event, &mut bytes);
    bytes
}

/// What the event endpoint will do.
pub fn bill(journal: &Journal, id: u128) -> Result<bool, Refused> {
    match journal.append_once(EventId(id), EXPIRES_S, BILLING, payload(id)) {
        Once::New(ticket) => ticket.wait().map(|_| true),
        Once::InFlight(echo) => echo.wait().map(|_| false),
        Once::Seen | Once::Forgotten => Ok(false),
        Once::Refused(refused) => Err(refused),
    }
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = gavel::clock::monotonic() + PATIENCE;
    while !is_so() {
        assert!(gavel::clock::monotonic() < until, "{what}: not within {PATIENCE:?}");
        thread::yield_now();
    }
}

/// All that can be read from a sequence on, lost ones counted.
fn read_all(journal: &Journal, from: u64) -> Vec<u64> {
    let mut reader = Reader::from(journal, from);
    let mut found = Vec::new();
    loop {
        let batch = reader.read(100, 1 << 20).unwrap();
        if batch.records.is_empty() && batch.lost.is_empty() {
            return found;
        }
        assert_eq!(batch.lost, []);
        found.extend(batch.records.iter().map(|record| record.sequence));
    }
}

#[test]
fn many_writers_count_each_event_once_over_starts_and_the_books_hold_at_every_moment() {
    let dir = tempfile::tempdir().unwrap();
    let settings = small(dir.path());
    let (threads, each) = (8_u128, 200_u128);
    for life in 0..3 {
        let Opened { journal, report, running } =
            open(settings.clone(), Arc::new(RealDisk), identify).unwrap();
        assert_eq!(report.records, if life == 0 { 0 } else { 1600 });
        let done = Arc::new(AtomicBool::new(false));
        let auditor = {
            let (journal, done) = (journal.clone(), Arc::clone(&done));
            thread::spawn(move || {
                let mut checks = 0_u64;
                while !done.load(Ordering::Acquire) {
                    let figures = journal.status().figures;
                    assert!(figures.hold(), "{figures:?}");
                    checks += 1;
                }
                checks
            })
        };
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                let journal = journal.clone();
                thread::spawn(move || {
                    // each event comes from two threads
                    let own = (0..each).map(|n| (thread / 2 * 2 + n % 2) * each + n / 2 * 2);
                    own.chain((0..each).map(|n| thread * each + n))
                        .filter(|id| bill(&journal, *id).unwrap())
                        .count()
                })
            })
            .collect();
        let new: usize = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        assert_eq!(new, if life == 0 { 1600 } else { 0 }, "life {life}");
        done.store(true, Ordering::Release);
        assert!(auditor.join().unwrap() > 0);
        let figures = journal.status().figures;
        assert_eq!(figures.intake.received, 3200);
        assert_eq!(figures.outlets["a"].pending, 1600);
        assert_eq!(read_all(&journal, 0).len(), 1600);
        running.close();
    }
}

#[test]
fn a_second_process_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let settings = small(dir.path());
    let first = open(settings.clone(), Arc::new(RealDisk), identify).unwrap();
    let second = open(settings.clone(), Arc::new(RealDisk), identify);
    assert!(matches!(second, Err(JournalFault::Locked(_))));
    first.running.close();
    open(settings, Arc::new(RealDisk), identify).unwrap();
}

#[test]
fn a_failed_sync_costs_nothing_but_a_segment() {
    let disk = SimDisk::new(1);
    let Opened { journal, running, .. } = on(&disk, &small(Path::new("/main")));
    assert_eq!(bill(&journal, 1), Ok(true));
    let segments = journal.status().segments;
    disk.fail_syncs(1);
    // the helper may be the one that meets it: it makes another segment then
    wait_until("a sync has failed", || {
        let id = u128::from(journal.status().durable) + 100;
        assert_eq!(bill(&journal, id), Ok(true));
        journal.published().counts.faults.load(Ordering::Relaxed) > 0
            || journal.status().segments > segments
    });
    assert_eq!(journal.condition(), Condition::Sound);
    let count = journal.status().figures.intake.appended;
    assert_eq!(read_all(&journal, 0).len() as u64, count);
    running.close();
    disk.power_cycle();
    let again = on(&disk, &small(Path::new("/main")));
    assert_eq!((again.report.records, again.report.lost), (count, 0));
}

#[test]
fn a_dead_disk_refuses_and_recovers_without_a_start() {
    let disk = SimDisk::new(2);
    let settings = small(Path::new("/main"));
    let Opened { journal, running, .. } = on(&disk, &settings);
    assert_eq!(bill(&journal, 1), Ok(true));
    disk.set_broken(&settings.dir, true);
    wait_until("it has failed", || {
        let refused = bill(&journal, 2);
        assert_eq!(refused, Err(Refused::Failed));
        journal.condition() == Condition::Failed
    });
    assert!(!journal.may_bill());
    assert!(journal.status().figures.hold());
    disk.set_broken(&settings.dir, false);
    wait_until("it works again", || bill(&journal, 2) == Ok(true));
    assert!(journal.may_bill());
    // the refused event was not counted, and is now
    assert_eq!(bill(&journal, 2), Ok(false));
    running.close();
    disk.power_cycle();
    assert_eq!(on(&disk, &settings).report.records, 2);
}

#[test]
fn a_failing_folder_is_left_for_the_spill_folder_and_returned_to() {
    let disk = SimDisk::new(3);
    let settings = Settings { spill_dir: Some("/spill".into()), ..small(Path::new("/main")) };
    let Opened { journal, running, .. } = on(&disk, &settings);
    assert_eq!(bill(&journal, 1), Ok(true));
    disk.set_broken(&settings.dir, true);
    assert_eq!(bill(&journal, 2), Ok(true));
    assert_eq!(journal.condition(), Condition::Spilling);
    assert!(journal.may_bill());
    disk.set_broken(&settings.dir, false);
    let mut id = 3;
    wait_until("it is back", || {
        id += 1;
        assert_eq!(bill(&journal, id), Ok(true));
        journal.condition() == Condition::Sound
    });
    let count = journal.status().figures.intake.appended;
    assert_eq!(read_all(&journal, 0).len() as u64, count);
    running.close();
    let again = on(&disk, &settings);
    assert_eq!((again.report.records, again.report.lost), (count, 0));
}

#[test]
fn a_commit_that_hangs_is_written_elsewhere() {
    let disk = SimDisk::new(4);
    let settings = Settings {
        spill_dir: Some("/spill".into()),
        stuck_after: Duration::from_millis(50),
        slow_after: Duration::from_millis(10),
        ..small(Path::new("/main"))
    };
    let Opened { journal, running, .. } = on(&disk, &settings);
    assert_eq!(bill(&journal, 1), Ok(true));
    disk.hang(Some(&settings.dir));
    assert_eq!(bill(&journal, 2), Ok(true));
    assert_eq!(journal.condition(), Condition::Spilling);
    assert!(journal.published().parts().is_slow);
    disk.hang(None);
    let mut id = 3;
    wait_until("it is back", || {
        id += 1;
        assert_eq!(bill(&journal, id), Ok(true));
        !journal.published().parts().is_spilling
    });
    let count = journal.status().figures.intake.appended;
    assert_eq!(read_all(&journal, 0).len() as u64, count);
    running.close();
    assert_eq!(on(&disk, &settings).report.records, count);
}

#[test]
fn a_full_disk_gives_up_its_ballast_then_stops_auctions_then_refuses() {
    let disk = SimDisk::new(5);
    let settings = small(Path::new("/main"));
    let Opened { journal, running, .. } = on(&disk, &settings);
    assert_eq!(bill(&journal, 0), Ok(true));
    wait_until("the spare and the ballast are there", || disk.used() >= 3 * (64 << 10));
    disk.set_room(disk.used());
    let mut seen = Vec::new();
    let mut id = 0;
    let refused = loop {
        id += 1;
        match bill(&journal, id) {
            Ok(_) => {}
            Err(refused) => break refused,
        }
        let condition = journal.condition();
        if seen.last() != Some(&condition) {
            seen.push(condition);
        }
    };
    assert_eq!(refused, Refused::Failed);
    assert!(seen.contains(&Condition::Last), "{seen:?}");
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(!journal.may_bill());
    disk.set_room(u64::MAX);
    wait_until("there is room again", || bill(&journal, id) == Ok(true));
    wait_until("the ballast is back", || journal.condition() == Condition::Sound);
    running.close();
    assert_eq!(on(&disk, &settings).report.records, u64::try_from(id).unwrap() + 1);
}

#[test]
fn too_many_that_wait_are_refused_and_never_block() {
    let disk = SimDisk::new(6);
    let settings =
        Settings { waiting_records_max: 10, buffered_records_max: 5, ..small(Path::new("/main")) };
    let Opened { journal, running, .. } = on(&disk, &settings);
    assert_eq!(bill(&journal, 1), Ok(true));
    disk.hang(Some(&settings.dir));
    let mut tickets = Vec::new();
    let refused = loop {
        match journal.append_durable(BILLING, vec![1]) {
            Ok(ticket) => tickets.push(ticket),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Refused::Busy);
    let taken = (0..50).filter(|_| journal.append_buffered(16, vec![2])).count();
    assert!(taken < 50);
    disk.hang(None);
    for ticket in &tickets {
        assert!(ticket.wait().is_ok());
    }
    wait_until("all is written", || journal.status().waiting_buffered == 0);
    running.close();
    let figures = journal.status().figures;
    assert!(figures.hold(), "{figures:?}");
    assert_eq!(figures.buffered.dropped, 50 - taken as u64);
    assert_eq!(figures.buffered.written, taken as u64);
    assert_eq!(journal.append_durable(BILLING, vec![1]).unwrap_err(), Refused::Closed);
}

#[test]
fn what_a_record_may_not_be_is_refused() {
    let disk = SimDisk::new(7);
    let Opened { journal, .. } = on(&disk, &small(Path::new("/main")));
    let refused = |kind, bytes| journal.append_durable(kind, vec![0; bytes]).map(drop).unwrap_err();
    assert_eq!(refused(BILLING, 5000), Refused::TooLong);
    assert_eq!(refused(0, 1), Refused::Kind);
    assert_eq!(refused(64, 1), Refused::Kind);
    assert!(journal.status().figures.hold());
}

#[test]
fn a_sink_goes_on_where_it_was_and_what_it_has_passed_is_removed() {
    let disk = SimDisk::new(8);
    let settings = Settings { keep_for: Duration::ZERO, ..small(Path::new("/main")) };
    let Opened { journal, running, .. } = on(&disk, &settings);
    for id in 0..1000 {
        journal.append_durable(BILLING, vec![7; 500]).unwrap();
        if id % 100 == 0 {
            assert_eq!(bill(&journal, id), Ok(true));
        }
    }
    assert_eq!(bill(&journal, 9999), Ok(true));
    let segments = journal.status().segments;
    assert!(segments > 5);
    let mut sink = Sink::new(&journal, "a").unwrap();
    assert!(Sink::new(&journal, "other").is_none());
    let first = sink.read(300, 1 << 20).unwrap();
    let second = sink.read(300, 1 << 20).unwrap();
    assert_eq!((first.durable(), second.durable()), (300, 300));
    sink.commit(&first, 2).unwrap();
    running.close();

    let Opened { journal, report, running } = on(&disk, &settings);
    assert_eq!(report.lost, 0);
    let mut sink = Sink::new(&journal, "a").unwrap();
    assert_eq!((sink.cursor().delivered, sink.cursor().dead), (298, 2));
    // the second batch was not committed: it comes again
    let again = sink.read(300, 1 << 20).unwrap();
    assert_eq!(again.records, second.records);
    sink.commit(&again, 0).unwrap();
    let figures = journal.status().figures;
    assert!(figures.hold(), "{figures:?}");
    assert_eq!(figures.outlets["a"].pending, 1011 - 600);
    wait_until("retention has run", || journal.status().segments < segments - 2);
    // what has not been passed is all there
    let (rest, lost) = (sink.read(1000, 1 << 20).unwrap(), 0);
    assert_eq!((rest.durable(), rest.lost.len()), (1011 - 600, lost));
    assert!(!sink.wait(Duration::from_millis(1)));
    assert_eq!(bill(&journal, 10_000), Ok(true));
    assert!(sink.wait(PATIENCE));
    running.close();
}

#[test]
fn letters_are_kept_until_somebody_is_done_with_them() {
    let disk = SimDisk::new(9);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let settings = small(Path::new("/main"));
    let letter = |sequence: u64| Letter {
        sink: "a".to_owned(),
        reason: "answered 400".to_owned(),
        tries: 12,
        buried_us: 5,
        sequence,
        kind: BILLING,
        payload: vec![3; 3000],
        ..Letter::default()
    };
    let mut letters = DeadLetters::open(Arc::clone(&shared), &settings, 100).unwrap();
    let numbers: Vec<u64> = (0..100).map(|n| letters.bury(&letter(n)).unwrap()).collect();
    assert_eq!(letters.bury(&letter(5)).unwrap(), numbers[5]);
    assert!(matches!(letters.bury(&letter(100)), Err(JournalFault::LettersFull(100, 100))));
    assert_eq!(letters.replay(numbers[7]).unwrap().as_deref(), Some("a"));
    assert_eq!(letters.replay(numbers[7]).unwrap(), None);
    letters.purge(numbers[8]).unwrap();
    drop(letters);
    disk.power_cycle();

    let mut letters = DeadLetters::open(Arc::clone(&shared), &settings, 100).unwrap();
    assert_eq!(letters.counts(), (98, 1));
    // tried again by a person: its tries begin anew
    let again = Letter { tries: 0, ..letter(7) };
    assert_eq!(letters.pending("a", 10).unwrap(), [(numbers[7], again)]);
    assert_eq!(letters.pending("b", 10).unwrap(), []);
    letters.delivered(numbers[7]).unwrap();
    let listed = letters.list(numbers[6], 2).unwrap();
    assert_eq!(
        listed,
        [(numbers[6], LetterState::Dead, letter(6)), (numbers[9], LetterState::Dead, letter(9))]
    );
    assert!(matches!(letters.purge(numbers[8]), Err(JournalFault::NoLetter(_))));
    let files = || disk.paths().iter().filter(|path| path.starts_with("/main/dead")).count();
    let before = files();
    for number in &numbers[9..90] {
        letters.purge(*number).unwrap();
    }
    for number in &numbers[..7] {
        letters.purge(*number).unwrap();
    }
    assert!(files() < before, "{} of {before}", files());
    assert_eq!(letters.counts(), (10, 0));
    letters.close(6);
    let letters = DeadLetters::open(shared, &settings, 100).unwrap();
    assert_eq!(letters.list(0, 100).unwrap().len(), 10);
}

#[test]
fn a_journal_that_gives_way_goes_on_for_ever_on_a_small_disk() {
    /// Several times what the disk holds.
    const RECORDS: u64 = 600;
    let dir = tempfile::tempdir().unwrap();
    for gives_way in [true, false] {
        let folder = dir.path().join(gives_way.to_string());
        let disk_bytes_max = 6 * (64 << 10);
        let settings = Settings {
            disk_bytes_max,
            ballast_bytes: 0,
            gives_way,
            sinks: Vec::new(),
            ..small(&folder)
        };
        let Opened { journal, running, .. } = open(settings, Arc::new(RealDisk), identify).unwrap();
        let mut written = 0;
        while written < RECORDS && journal.condition() != Condition::Failed {
            // as fast as the disk takes them and no faster: none is dropped for want of time
            let taken = journal.append_durable(BILLING, vec![7; 4_000]);
            written += u64::from(taken.is_ok_and(|ticket| ticket.wait().is_ok()));
            let status = journal.status();
            assert!(status.disk_bytes <= disk_bytes_max, "{}", status.disk_bytes);
            if gives_way {
                wait_until("there is room", || journal.condition() < Condition::Last);
            }
        }
        assert_eq!(written == RECORDS, gives_way, "{written} of {RECORDS}");
        drop(journal);
        running.close();
    }
}
