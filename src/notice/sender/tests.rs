//! Bidders that are gone, slow or hostile, over a real journal and a paused clock.

use super::*;
use crate::journal::disk::real::RealDisk;
use crate::journal::open::{Opened, open};
use crate::journal::{Settings, handle::Journal};
use crate::money_event::codec::{identify, write_event};
use crate::money_event::{EventId, EventType, MoneyEvent};
use crate::notice::guard::Blocked;
use crate::notice::orders::{Order, place};
use crate::notice::shelf::SINK;
use std::cell::{Cell, RefCell};
use std::path::Path;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

mod full;
mod late;

fn journal(dir: &Path) -> Opened {
    let settings = Settings {
        segment_bytes: 1 << 20,
        commit_bytes_max: 256 << 10,
        ballast_bytes: 0,
        sinks: vec![SINK.to_owned()],
        ..Settings::new(dir)
    };
    open(settings, Arc::new(RealDisk), identify).unwrap()
}

/// Appends billing events of a bidder, durably; answers their URLs.
fn append(journal: &Journal, bidder: &str, from: u128, count: u128) -> Vec<String> {
    let mut urls = Vec::new();
    let mut last = None;
    for number in from..from + count {
        let url = format!("https://{bidder}.example/{number}");
        let event = MoneyEvent {
            event: EventType::Billing,
            id: EventId(number << 4),
            bidder: bidder.to_owned(),
            url: url.clone(),
            ..MoneyEvent::default()
        };
        let mut payload = Vec::new();
        write_event(&event, &mut payload);
        last = Some(journal.append_durable(EventType::Billing.kind(), payload).unwrap());
        urls.push(url);
    }
    last.unwrap().wait().unwrap();
    urls
}

/// What bidders do, and what they got.
#[derive(Default)]
struct World {
    down: RefCell<Vec<&'static str>>,
    slow: RefCell<Vec<&'static str>>,
    poison: RefCell<Option<(String, Failure)>>,
    blocked: RefCell<Vec<&'static str>>,
    tries: Cell<usize>,
    got: RefCell<Vec<String>>,
}

impl World {
    async fn deliver(&self, bidder: &str, url: String) -> Result<(), Failure> {
        self.tries.set(self.tries.get() + 1);
        if self.slow.borrow().contains(&bidder) {
            tokio::time::sleep(Duration::from_secs(3)).await;
            return Err(Failure::Timeout);
        }
        if self.down.borrow().contains(&bidder) {
            return Err(Failure::Connect);
        }
        if self.blocked.borrow().contains(&bidder) {
            return Err(Failure::Blocked(Blocked::Port));
        }
        if let Some((_, failure)) = self.poison.borrow().as_ref().filter(|(bad, _)| *bad == url) {
            return Err(*failure);
        }
        self.got.borrow_mut().push(url);
        Ok(())
    }

    fn has_each(&self, urls: &[String]) -> bool {
        let got = self.got.borrow();
        urls.iter().all(|url| got.contains(url))
    }
}

struct Running {
    task: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    losses: mpsc::Sender<Vec<Notice>>,
}

fn deliver(world: &Rc<World>) -> Deliver {
    let world = Rc::clone(world);
    Rc::new(move |bidder, url| {
        let world = Rc::clone(&world);
        Box::pin(async move { world.deliver(&bidder, url).await })
    })
}

fn start(world: &Rc<World>, journal: &Journal, settings: SenderSettings) -> Running {
    let shelf = Shelf::open(journal, Arc::new(RealDisk), settings.letters_max).unwrap();
    let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
    let (losses, plans) = mpsc::channel(settings.losses_max);
    let deliver = deliver(world);
    let sender = Sender::new(settings, deliver, Arc::clone(&tally), shelf, 7);
    let task = spawn_local(sender.run((plans, tokio::sync::mpsc::channel(1).1), Arc::clone(&stop)));
    Running { task, stop, tally, losses }
}

impl Running {
    async fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.task.await.unwrap();
    }
}

fn on_a_paused_clock(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test);
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = clock::timer();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(3 * 24 * 3600), "never: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn quick() -> SenderSettings {
    SenderSettings { tick: Duration::from_millis(200), ..SenderSettings::default() }
}

fn pending(journal: &Journal) -> u64 {
    let figures = journal.status().figures;
    assert!(figures.hold(), "{figures:?}");
    figures.outlets[SINK].pending
}

#[test]
fn a_bidder_that_was_down_for_ten_minutes_gets_everything_for_a_tenth_more_tries() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.down.borrow_mut().push("a");
        let running = start(&world, &opened.journal, quick());
        let (mut urls, mut others) = (Vec::new(), Vec::new());
        for round in 0..60 {
            urls.extend(append(&opened.journal, "a", round * 100, 20));
            others.extend(append(&opened.journal, "b", round * 100 + 50, 2));
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert!(world.has_each(&others), "round {round}: one bidder's failure is its own");
        }
        assert!(!world.has_each(&urls[..1]));
        world.down.borrow_mut().clear();
        let back = clock::timer();
        until("all has come", || world.has_each(&urls)).await;
        assert!(back.elapsed() < Duration::from_secs(60), "{:?}", back.elapsed());
        let (tries, notices) = (world.tries.get(), urls.len() + others.len());
        assert!(tries * 10 <= notices * 11, "{tries} tries of {notices} notices");
        until("the books are even", || pending(&opened.journal) == 0).await;
        assert_eq!(world.got.borrow().len(), notices, "each once");
        running.end().await;
    });
}

#[test]
fn a_bidder_that_is_slow_holds_up_neither_the_others_nor_the_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.slow.borrow_mut().push("slow");
        let running = start(&world, &opened.journal, quick());
        append(&opened.journal, "slow", 0, 500);
        let urls = append(&opened.journal, "fast", 1_000, 500);
        let begun = clock::timer();
        until("the others have all", || world.has_each(&urls)).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        let behind = || opened.journal.status().figures.outlets[SINK].delivered;
        until("the cursor is behind all", || behind() == 500).await;
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        assert_eq!(pending(&opened.journal), 500);
        assert!(world.tries.get() < 600, "{}", world.tries.get());
        running.end().await;
    });
}

#[test]
fn a_notice_that_is_never_taken_is_a_dead_letter_and_arrives_when_a_person_has_it_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        let running = start(&world, &opened.journal, quick());
        let urls = append(&opened.journal, "a", 0, 10);
        *world.poison.borrow_mut() = Some((urls[3].clone(), Failure::Status(404)));
        let begun = clock::timer();
        let dead = |tally: &Tally| tally.waiting().get("a").map_or(0, |one| one.dead);
        until("it is dead", || dead(&running.tally) == 1).await;
        let took = begun.elapsed();
        assert!(
            took > Duration::from_secs(3600) && took < Duration::from_secs(25 * 3600),
            "{took:?}"
        );
        assert!((10..=21).contains(&world.tries.get()), "{}", world.tries.get());
        assert_eq!(world.got.borrow().len(), 9);
        let figures = opened.journal.status().figures;
        assert_eq!((figures.outlets[SINK].dead, figures.outlets[SINK].pending), (1, 0));
        let found = crate::journal::dead::look::look(&RealDisk, dir.path(), 1000).unwrap().list();
        let [(number, LetterState::Dead, letter)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((letter.reason.as_str(), letter.group.as_str()), ("status 404", "a"));

        *world.poison.borrow_mut() = None;
        let order = place(dir.path(), &Order::Replay { letters: vec![*number, 99] }).unwrap();
        until("the order is obeyed", || !order.exists()).await;
        until("it has come", || world.has_each(&urls)).await;
        until("the books are even", || pending(&opened.journal) == 0).await;
        assert_eq!(opened.journal.status().figures.outlets[SINK].dead, 0);
        running.end().await;
        assert_eq!(
            crate::journal::dead::look::look(&RealDisk, dir.path(), 1000).unwrap().list(),
            []
        );
    });
}

#[test]
fn a_url_that_a_rule_stops_is_dead_at_once_and_can_be_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        let bad = "https://a.example/0".to_owned();
        *world.poison.borrow_mut() = Some((bad, Failure::Blocked(Blocked::Port)));
        let running = start(&world, &opened.journal, quick());
        append(&opened.journal, "a", 0, 1);
        until("it is dead", || pending(&opened.journal) == 0).await;
        assert_eq!(world.tries.get(), 1);
        let found = crate::journal::dead::look::look(&RealDisk, dir.path(), 1000).unwrap().list();
        let order = Order::Purge { letters: vec![found[0].0], reason: "a test".to_owned() };
        let order = place(dir.path(), &order).unwrap();
        until("the order is obeyed", || !order.exists()).await;
        assert_eq!(
            crate::journal::dead::look::look(&RealDisk, dir.path(), 1000).unwrap().list(),
            []
        );
        assert!(opened.journal.status().figures.hold());
        running.end().await;
    });
}

#[test]
fn whatever_step_the_process_ends_at_no_notice_is_lost() {
    // the sender is torn down after so many tries, without a word to anybody
    for cut in [0, 1, 7, 40, 60] {
        let dir = tempfile::tempdir().unwrap();
        let opened = journal(dir.path());
        let urls = append(&opened.journal, "a", 0, 50);
        let world = Rc::new(World::default());
        on_a_paused_clock(async {
            let bad = (urls[5].clone(), Failure::Status(503));
            *world.poison.borrow_mut() = Some(bad);
            let running = start(&world, &opened.journal, quick());
            until("enough tries", || world.tries.get() >= cut).await;
            running.task.abort();
            let _ = running.task.await;
        });
        opened.running.close();
        let opened = journal(dir.path());
        *world.poison.borrow_mut() = None;
        on_a_paused_clock(async {
            let running = start(&world, &opened.journal, quick());
            until("all is delivered", || pending(&opened.journal) == 0).await;
            assert!(world.has_each(&urls), "cut {cut}");
            running.end().await;
        });
    }
}

#[test]
fn tries_survive_a_restart_and_a_restart_makes_no_storm() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.down.borrow_mut().push("a");
        let running = start(&world, &opened.journal, quick());
        append(&opened.journal, "a", 0, 400);
        tokio::time::sleep(Duration::from_secs(60)).await;
        running.end().await;
    });
    let found = crate::journal::dead::look::look(&RealDisk, dir.path(), 1000).unwrap().list();
    assert_eq!(found.len(), 400);
    let tries: u32 = found.iter().map(|(_, _, letter)| letter.tries).sum();
    opened.running.close();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.down.borrow_mut().push("a");
        let running = start(&world, &opened.journal, quick());
        assert_eq!(pending(&opened.journal), 400);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(world.tries.get() <= 50, "{}", world.tries.get());
        running.end().await;
    });
    let found = crate::journal::dead::look::look(&RealDisk, dir.path(), 1000).unwrap().list();
    let later: u32 = found.iter().map(|(_, _, letter)| letter.tries).sum();
    assert!(tries > 0 && later > tries, "{tries} {later}");
}

#[test]
fn the_cursor_waits_for_the_disk_a_few_times_a_second_and_for_a_full_window() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { journal, running, .. } = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        let tick = Duration::from_millis(1);
        let sender = start(&world, &journal, SenderSettings { tick, ..SenderSettings::default() });
        let (mut passes, mut before) = (0, 0);
        for number in 0..200 {
            let (urls, begun) = (append(&journal, "b", number, 1), clock::timer());
            while !world.has_each(&urls) {
                tokio::time::sleep(tick).await;
            }
            // not even where the window is full
            assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
            let waits = pending(&journal);
            passes += u32::from(waits < before);
            // as many batches as are open at once, and the one at hand
            assert!(waits <= 65, "{waits}");
            before = waits;
        }
        assert!((1..=10).contains(&passes), "{passes}");
        let urls = append(&journal, "b", 200, 1);
        until("the last has arrived", || world.has_each(&urls)).await;
        sender.end().await;
        assert_eq!(pending(&journal), 0);
    });
    running.close();
}

#[test]
fn loss_notices_go_once_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let opened = journal(dir.path());
    on_a_paused_clock(async {
        let world = Rc::new(World::default());
        world.down.borrow_mut().push("b");
        let running = start(&world, &opened.journal, quick());
        let loss = |bidder: &str, number: usize| Notice {
            kind: EventType::Loss,
            bidder: bidder.to_owned(),
            url: format!("https://{bidder}.example/lost/{number}"),
        };
        let plan = (0..20).flat_map(|number| [loss("a", number), loss("b", number)]).collect();
        running.losses.send(plan).await.unwrap();
        until("those that can be taken are", || world.got.borrow().len() == 20).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        let counts = running.tally.results();
        let of = |result: &str| {
            counts.iter().find(|one| one.0 == "loss" && one.1 == result).map_or(0, |one| one.2)
        };
        assert_eq!((of("delivered"), of("failed") + of("dropped")), (20, 20));
        assert_eq!(pending(&opened.journal), 0);
        running.end().await;
    });
}
