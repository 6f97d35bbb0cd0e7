//! A journal beside a broker that has the events: it gives way, and still knows repeats.

use super::disk::SimDisk;
use super::threads::{EXPIRES_S, bill, on, small, wait_until};
use gavel::journal::balance::Intake;
use gavel::journal::handle::OnceElsewhere;
use gavel::journal::open::Opened;
use gavel::journal::{Refused, Settings};
use gavel::money_event::EventId;
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

#[test]
fn a_repeat_ends_as_what_it_waits_for_in_the_books_too() {
    let disk = SimDisk::new(16);
    let Opened { journal, running, .. } = on(&disk, &small(Path::new("/main")));
    let offer = || journal.hold_once(EventId(7), EXPIRES_S);
    let intake = || {
        let figures = journal.status().figures;
        assert!(figures.hold(), "{figures:?}");
        let Intake { in_hand, refused, duplicate, published, .. } = figures.intake;
        [in_hand, refused, duplicate, published]
    };
    let (OnceElsewhere::New(hold), OnceElsewhere::InFlight(echo)) = (offer(), offer()) else {
        panic!("the first is in hand")
    };
    assert_eq!(intake(), [2, 0, 0, 0]);
    drop(hold);
    assert_eq!(echo.wait(), Err(Refused::Broker));
    assert_eq!(intake(), [0, 2, 0, 0]);
    let (OnceElsewhere::New(hold), OnceElsewhere::InFlight(echo)) = (offer(), offer()) else {
        panic!("it may come again")
    };
    // what was refused had come there all the same, and nobody has counted it
    assert!(hold.is_kept(3, true));
    assert_eq!(echo.wait(), Ok(3));
    assert_eq!(intake(), [0, 2, 1, 1]);
    let OnceElsewhere::New(hold) = journal.hold_once(EventId(8), EXPIRES_S) else {
        panic!("another event")
    };
    assert!(!hold.is_kept(4, true), "somebody else counted it");
    assert_eq!(intake(), [0, 2, 2, 1]);
    running.close();
}
