//! A journal beside a broker that has the events: it gives way.

use super::disk::SimDisk;
use super::threads::{bill, on, small, wait_until};
use gavel::journal::open::Opened;
use gavel::journal::Settings;
use std::path::Path;
use std::sync::atomic::Ordering;

#[test]
fn where_it_gives_way_a_full_disk_costs_the_oldest_segments_and_ends_nothing() {
    let disk = SimDisk::new(15);
    let sinks = Vec::new();
    let settings = Settings { gives_way: true, sinks, ..small(Path::new("/main")) };
    let Opened { journal, running, .. } = on(&disk, &settings);
    let mut ids = 0..;
    let mut take = || bill(&journal, ids.next().unwrap());
    wait_until("there are some", || {
        assert_eq!(take(), Ok(true));
        journal.status().segments > 5
    });
    // somebody else has filled it, far below what our segments may have
    let room = disk.used();
    disk.set_room(room);
    let removed = || journal.published().counts.removed.load(Ordering::Relaxed);
    wait_until("one after the other gives way", || {
        let _ = take();
        removed() > 10
    });
    wait_until("it is taken, still", || take() == Ok(true) && journal.may_bill());
    running.close();
    let figures = journal.status().figures;
    assert!(figures.hold(), "{figures:?}");
    assert!(disk.used() <= room);
}
