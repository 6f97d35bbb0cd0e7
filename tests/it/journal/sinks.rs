//! Sinks and readers on a disk that does not always answer.

use super::disk::SimDisk;
use super::threads::{BILLING, on, small};
use gavel::journal::Settings;
use gavel::journal::handle::Journal;
use gavel::journal::open::Opened;
use gavel::journal::sink::{Reader, Sink};
use std::path::Path;
use std::time::Duration;

const RECORDS: u64 = 1_200;

/// A journal of some segments, each longer than what is read at once.
fn filled(disk: &SimDisk) -> Opened {
    let settings = Settings { segment_bytes: 1 << 20, ..small(Path::new("/main")) };
    let opened = on(disk, &settings);
    let mut last = None;
    for _ in 0..RECORDS {
        last = Some(opened.journal.append_durable(BILLING, vec![7; 2_000]).unwrap());
    }
    last.unwrap().wait().unwrap();
    opened
}

/// As both sinks read: a fault is followed by another try, and nothing is rewound. The sequences
/// that were read before the cursor passed them.
fn drain(journal: &Journal) -> (Vec<u64>, u64) {
    let mut sink = Sink::new(journal, "a").unwrap();
    let (mut found, mut next) = (Vec::new(), 0);
    while sink.wait(Duration::ZERO) {
        let Ok(batch) = sink.read(300, 1 << 20) else { continue };
        assert_eq!(batch.lost, []);
        found.extend(batch.records.iter().map(|record| record.sequence));
        next = batch.next;
    }
    (found, next)
}

#[test]
fn a_read_that_fails_once_takes_no_record_from_a_sink() {
    let disk = SimDisk::new(31);
    let Opened { journal, running, .. } = filled(&disk);
    let (all, _) = drain(&journal);
    assert_eq!(all.len() as u64, RECORDS);
    for nth in 1.. {
        disk.fail_read(nth);
        let (found, next) = drain(&journal);
        assert_eq!(found, all, "the read {nth} failed");
        assert!(next > all[all.len() - 1]);
        if disk.is_failing_read_ahead() {
            assert!(nth > 10, "only {nth} reads");
            break;
        }
    }
    running.close();
}

#[test]
fn a_reader_goes_to_any_record_and_reads_from_there() {
    let disk = SimDisk::new(32);
    let Opened { journal, running, .. } = filled(&disk);
    let mut reader = Reader::from(&journal, 1);
    for sequence in [1, 900, 901, 20, 1_150, 600] {
        reader.go_to(sequence);
        let batch = reader.read(10, 1 << 20).unwrap();
        let found: Vec<u64> = batch.records.iter().map(|record| record.sequence).collect();
        assert_eq!(found, (sequence..sequence + 10).collect::<Vec<_>>());
        assert_eq!((batch.next, batch.lost), (sequence + 10, Vec::new()));
    }
    running.close();
}
