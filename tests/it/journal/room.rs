//! What records of auctions may take of the disk, so that they never end the auctions.

use super::disk::SimDisk;
use super::threads::{bill, on, small, wait_until};
use gavel::journal::handle::Journal;
use gavel::journal::open::Opened;
use gavel::journal::{Condition, Settings};
use std::path::Path;

const AUCTION: u8 = 16;

/// Offers a record of an auction and waits until it has come to its end; whether it was taken.
fn offer(journal: &Journal) -> bool {
    let is_taken = journal.append_buffered(AUCTION, vec![7; 4_000]);
    wait_until("none waits", || journal.status().figures.buffered.queued == 0);
    is_taken
}

/// Offers records of auctions until one is dropped; how many were taken.
fn fill(journal: &Journal) -> usize {
    (0..1_000).take_while(|_| offer(journal)).count()
}

#[test]
fn records_of_auctions_leave_the_rest_of_the_room_to_events() {
    for (buffered_percent, segments) in [(50, 4), (100, 8), (0, 0)] {
        let disk = SimDisk::new(21);
        let disk_bytes_max = 8 * (64 << 10);
        let settings = Settings {
            disk_bytes_max,
            buffered_percent,
            ballast_bytes: 0,
            ..small(Path::new("/main"))
        };
        let Opened { journal, running, .. } = on(&disk, &settings);
        let taken = fill(&journal);
        assert_eq!(journal.status().segments, segments, "{buffered_percent}: {taken}");
        assert_eq!(taken > 0, buffered_percent > 0);
        // with all of the room to them there is none left for the events of an auction
        assert_eq!(bill(&journal, 1).is_ok() && journal.may_bill(), buffered_percent < 100);
        assert!(!offer(&journal));
        running.close();
        let figures = journal.status().figures;
        assert!(figures.buffered.dropped >= 2 && figures.hold(), "{figures:?}");
    }
}

#[test]
fn where_the_journal_gives_way_old_records_go_and_new_ones_are_written() {
    let disk = SimDisk::new(22);
    let settings = Settings {
        disk_bytes_max: 16 * (64 << 10),
        gives_way: true,
        sinks: Vec::new(),
        ..small(Path::new("/main"))
    };
    let Opened { journal, running, .. } = on(&disk, &settings);
    let mut taken = 0_u64;
    wait_until("several times what the disk holds were written", || {
        taken += u64::from(offer(&journal));
        taken > 4 * 16 * 16
    });
    assert!(journal.status().disk_bytes <= settings.buffered_bytes_max() + settings.segment_bytes);
    running.close();
}

#[test]
fn what_is_left_of_a_full_disk_is_for_events() {
    let disk = SimDisk::new(23);
    let settings = Settings { ballast_bytes: 1 << 20, ..small(Path::new("/main")) };
    let Opened { journal, running, .. } = on(&disk, &settings);
    wait_until("the ballast is there", || disk.used() > 1 << 20);
    assert!(offer(&journal));
    // somebody else has filled it
    disk.set_room(disk.used());
    wait_until("the ballast was given up", || {
        assert_eq!(bill(&journal, journal.status().durable.into()), Ok(true));
        journal.condition() == Condition::Low
    });
    assert!(!offer(&journal));
    assert_eq!(bill(&journal, 1 << 64), Ok(true));
    assert!(journal.may_bill());
    running.close();
}
