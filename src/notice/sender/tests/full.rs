//! More notices than letters.

use super::*;
use crate::journal::dead::{folder, look::look};

fn few() -> SenderSettings {
    SenderSettings { letters_max: 100, ..quick() }
}

fn letters(dir: &Path, state: LetterState) -> usize {
    let found = look(&RealDisk, dir, 1000).unwrap().list();
    found.iter().filter(|(_, is, _)| *is == state).count()
}

#[test]
fn a_bidder_whose_letters_are_full_stops_nobody_and_gets_all_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.down.borrow_mut().push("a");
        let running = start(&world, &opened.journal, few());
        let mut lost = append(&opened.journal, "a", 0, 400);
        until("some are aside", || letters(dir.path(), LetterState::Pending) > 0).await;
        for round in 0..100 {
            lost.extend(append(&opened.journal, "a", 1_000 + round * 10, 3));
            let others = append(&opened.journal, "b", 10_000 + round * 10, 2);
            let begun = clock::timer();
            until("the other has its own", || world.has_each(&others)).await;
            assert!(begun.elapsed() < Duration::from_secs(3), "{round}: {:?}", begun.elapsed());
        }
        assert!(letters(dir.path(), LetterState::Pending) <= 50);
        until("what waits is told", || {
            running.tally.waiting().get("a").is_some_and(|one| one.pending == 700)
        })
        .await;
        world.down.borrow_mut().clear();
        let back = clock::timer();
        until("all has come", || world.has_each(&lost)).await;
        assert!(back.elapsed() < Duration::from_secs(60), "{:?}", back.elapsed());
        until("the books are even", || pending(&opened.journal) == 0).await;
        assert_eq!(world.got.borrow().len(), lost.len() + 200, "none came twice");
        let figures = opened.journal.status().figures;
        assert_eq!((figures.outlets[SINK].delivered, figures.outlets[SINK].dead), (900, 0));
        running.end().await;
        assert_eq!(look(&RealDisk, dir.path(), 1000).unwrap().list(), []);
    });
}

#[test]
fn what_is_held_is_there_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    let world = Rc::new(World::default());
    world.down.borrow_mut().push("a");
    let urls = append(&opened.journal, "a", 0, 300);
    on_a_paused_clock(async {
        let running = start(&world, &opened.journal, few());
        until("letters are full", || letters(dir.path(), LetterState::Pending) == 50).await;
        running.task.abort();
        let _ = running.task.await;
    });
    opened.running.close();
    let opened = journal(dir.path());
    world.down.borrow_mut().clear();
    on_a_paused_clock(async {
        let running = start(&world, &opened.journal, few());
        until("all is delivered", || pending(&opened.journal) == 0).await;
        assert!(world.has_each(&urls));
        running.end().await;
    });
}

#[test]
fn dead_letters_give_way_to_newer_ones_and_stop_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.blocked.borrow_mut().push("a");
        let running = start(&world, &opened.journal, few());
        let bad = append(&opened.journal, "a", 0, 250);
        let others = append(&opened.journal, "b", 1_000, 10);
        until("the other has its own", || world.has_each(&others)).await;
        until("all are dead", || pending(&opened.journal) == 0).await;
        assert_eq!(opened.journal.status().figures.outlets[SINK].dead, 250);
        // one that fails for a while has room beside them
        world.down.borrow_mut().push("c");
        let late = append(&opened.journal, "c", 2_000, 40);
        until("it has letters", || letters(dir.path(), LetterState::Pending) == 40).await;
        assert_eq!(letters(dir.path(), LetterState::Dead), 60);
        world.down.borrow_mut().clear();
        until("it has all", || world.has_each(&late)).await;
        assert_eq!(world.got.borrow().len(), 50, "{} were bad", bad.len());
        running.end().await;
    });
}

#[test]
fn what_is_held_for_a_bidder_that_never_comes_back_is_dead_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.down.borrow_mut().push("a");
        let mut settings = few();
        settings.retry.span = Duration::from_secs(300);
        let running = start(&world, &opened.journal, settings);
        append(&opened.journal, "a", 0, 300);
        let begun = clock::timer();
        until("all are dead", || pending(&opened.journal) == 0).await;
        let took = begun.elapsed().as_secs();
        assert!((300..330).contains(&took), "{took}");
        assert_eq!(opened.journal.status().figures.outlets[SINK].dead, 300);
        assert_eq!(letters(dir.path(), LetterState::Dead), 100);
        running.end().await;
    });
}

#[test]
fn held_records_are_read_again_each_from_its_own_place_however_far_apart_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    append(&opened.journal, "a", 0, 1_000);
    let mut shelf = Shelf::open(&opened.journal, Arc::new(RealDisk), 100).unwrap().unwrap();
    for from in [1, 700, 5, 300, 999] {
        let batch = shelf.read_again(from).unwrap();
        assert_eq!(batch.records.first().map(|record| record.sequence), Some(from));
        assert!(batch.next > from, "{} behind {from}", batch.next);
    }
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.down.borrow_mut().push("far");
        drop(shelf);
        let running = start(&world, &opened.journal, few());
        let mut urls = append(&opened.journal, "far", 10_000, 60);
        append(&opened.journal, "b", 20_000, 700);
        urls.extend(append(&opened.journal, "far", 30_000, 60));
        let waits = || running.tally.waiting().get("far").map_or(0, |one| one.pending);
        until("it waits, and nobody else", || world.got.borrow().len() == 1_700 && waits() == 120)
            .await;
        world.down.borrow_mut().clear();
        until("all is delivered", || pending(&opened.journal) == 0).await;
        assert!(world.has_each(&urls));
        running.end().await;
    });
}

#[test]
fn letters_that_fill_their_share_of_the_disk_stop_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        segment_bytes: 64 << 10,
        commit_bytes_max: 16 << 10,
        record_bytes_max: 4 << 10,
        disk_bytes_max: 8 << 20,
        ballast_bytes: 0,
        sinks: vec![SINK.to_owned()],
        ..Settings::new(dir.path())
    };
    let opened = open(settings, Arc::new(RealDisk), identify).unwrap();
    let bytes = || -> u64 {
        let files = std::fs::read_dir(folder(dir.path())).unwrap();
        files.map(|file| file.unwrap().metadata().map_or(0, |about| about.len())).sum()
    };
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.blocked.borrow_mut().push("a");
        world.down.borrow_mut().push("c");
        let running = start(&world, &opened.journal, quick());
        append(&opened.journal, "a", 0, 3_000);
        let others = append(&opened.journal, "b", 10_000, 10);
        until("the other has its own", || world.has_each(&others)).await;
        until("all are dead", || pending(&opened.journal) == 0).await;
        assert_eq!(opened.journal.status().figures.outlets[SINK].dead, 3_000);
        let late = append(&opened.journal, "c", 20_000, 4_000);
        let others = append(&opened.journal, "b", 30_000, 10);
        until("the other has its own again", || world.has_each(&others)).await;
        assert!(bytes() <= 17 * (64 << 10), "{}", bytes());
        world.down.borrow_mut().clear();
        until("all has come", || pending(&opened.journal) == 0).await;
        assert_eq!(world.got.borrow().len(), late.len() + 20);
        assert!(world.has_each(&late));
        running.end().await;
        assert!(bytes() <= 17 * (64 << 10), "{}", bytes());
    });
}
