//! A broker that is away for hours, in little time: what it costs, and how soon it is made good.

use super::relay::{Replica, STEPS, all_are_there_once_in_order, event, outlet, take};
use super::wait_until;
use crate::events::{ONE, REQUEST, bidder, events, path, send, write};
use crate::harness::http::{Client, PATIENCE};
use crate::harness::nats::Nats;
use crate::harness::server::Server;
use async_nats::jetstream;
use gavel::broker::link::Link;
use gavel::broker::message::of_event;
use gavel::broker::{BrokerFault, Settings};
use gavel::clock;
use gavel::http::events::EventDesk;
use gavel::journal;
use gavel::journal::Refused;
use gavel::journal::disk::real::RealDisk;
use gavel::journal::handle::Once;
use gavel::journal::ticket::Ticket;
use gavel::lifecycle::tasks::Tasks;
use gavel::money_event::codec::{identify, write_event};
use gavel::notice::event_log::{Counted, EventLog};
use gavel::telemetry::hub::{Hub, TelemetrySettings};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Events a second that go on coming while it is caught up.
const LIVE: u32 = 300;

fn is_full() -> bool {
    std::env::var_os("GAVEL_FULL").is_some()
}

/// How long the broker is away at full size: `tests/full.sh broker HOURS`.
fn hours() -> u32 {
    let hours = std::env::var_os("GAVEL_HOURS").map(|hours| hours.to_str().unwrap().parse());
    hours.map_or(1, Result::unwrap)
}

fn wait(tickets: &mut Vec<Ticket>) {
    for ticket in tickets.drain(..) {
        ticket.wait().unwrap();
    }
}

#[test]
fn what_came_while_the_broker_was_away_follows_in_order_at_twice_the_live_rate_and_more() {
    let Some(mut nats) = Nats::start() else { return };
    nats.die();
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { retry_max: Duration::from_millis(500), ..nats.settings() };
    let replica = Replica::open(dir.path(), settings.clone());
    // at the live rate this is a minute (with GAVEL_FULL: hours), as fast as the disk takes it
    let sales = if is_full() { LIVE * 3600 * hours() / 3 } else { LIVE * 60 / 3 };
    let mut tickets = Vec::new();
    for sale in 0..sales {
        for step in STEPS {
            let event = event(sale, step);
            let mut bytes = Vec::new();
            write_event(&event, &mut bytes);
            let kind = event.event.kind();
            match replica.journal.append_once(event.id, event.expires_s, kind, bytes) {
                Once::New(ticket) => tickets.push(ticket),
                other => panic!("{other:?}"),
            }
        }
        if tickets.len() > 5_000 {
            wait(&mut tickets);
        }
    }
    wait(&mut tickets);
    let backlog = u64::from(sales) * 3;
    assert_eq!(outlet(&replica.journal), (0, backlog));
    assert!(replica.journal.may_bill());

    nats.come_back();
    let (is_caught_up, live) = (AtomicBool::new(false), AtomicU32::new(0));
    let (delivered, took) = std::thread::scope(|scope| {
        let (journal, live, stop) = (&replica.journal, &live, &is_caught_up);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let sale = sales + live.fetch_add(1, Ordering::Relaxed);
                for step in STEPS {
                    take(journal, &event(sale, step));
                }
                std::thread::sleep(Duration::from_millis(3_000 / u64::from(LIVE)));
            }
        });
        wait_until("the relay has begun", || outlet(journal).0 > 0);
        let began = clock::monotonic();
        while outlet(journal).0 < backlog {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = (outlet(journal).0, began.elapsed());
        stop.store(true, Ordering::Relaxed);
        ended
    });
    let live = live.load(Ordering::Relaxed);
    let rate = delivered as f64 / took.as_secs_f64();
    let live_rate = f64::from(live * 3) / took.as_secs_f64();
    println!(
        "{backlog} events waited: caught up in {took:.2?} at {rate:.0} a second, {:.1} times the {live_rate:.0} \
         that came meanwhile",
        rate / live_rate
    );
    assert!(rate >= 2.0 * live_rate, "{rate} of {live_rate}");
    assert_eq!(replica.delivered(), u64::from(sales + live) * 3);
    replica.close();
    all_are_there_once_in_order(&settings, sales + live);
}

#[test]
fn an_event_waits_for_a_broker_that_is_back_in_time() {
    let Some(mut nats) = Nats::start() else { return };
    let (link, running) = Link::start(nats.settings()).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    nats.die();
    wait_until("it is missed", || !link.health().is_well());
    let message = of_event("gavel", &event(1, STEPS[0]));
    let stored = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| link.block_on(link.publish(&message)));
        nats.come_back();
        waiting.join().unwrap().unwrap()
    });
    assert!(!stored.is_repeat);
    assert!(link.block_on(link.publish(&message)).unwrap().is_repeat);
    running.close();
}

#[test]
fn a_win_that_follows_from_an_answer_waits_longer_than_an_upstream_would() {
    let Some(mut nats) = Nats::start() else { return };
    let settings = Settings { wait: Duration::from_millis(200), ..nats.settings() };
    let (link, running) = Link::start(settings).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    nats.die();
    wait_until("it is missed", || !link.health().is_well());
    let dir = tempfile::tempdir().unwrap();
    let settings = journal::Settings { ballast_bytes: 0, ..journal::Settings::new(dir.path()) };
    let opened = journal::open::open(settings, Arc::new(RealDisk), identify).unwrap();
    let hub = Hub::new(1, TelemetrySettings::default(), &[]);
    let log = EventLog::Broker(opened.journal.clone(), link.clone());
    let desk = EventDesk::new(log, Rc::new(hub.worker(0).unwrap()), Tasks::default(), 1);
    let won = event(1, STEPS[0]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut kept = std::pin::pin!(desk.keep(vec![won.clone()]));
        let early = tokio::time::timeout(Duration::from_secs(1), &mut kept).await;
        assert!(early.is_err(), "it was given up");
        nats.come_back();
        kept.await;
    });
    let again = link.block_on(link.publish(&of_event("gavel", &won))).unwrap();
    assert!(again.is_repeat, "the stream has it");
    running.close();
    opened.running.close();
}

#[test]
fn what_came_there_though_it_was_refused_counts_when_it_comes_again() {
    let Some(nats) = Nats::start() else { return };
    let settings = Settings { wait: Duration::from_millis(200), ..nats.settings() };
    let (link, running) = Link::start(settings).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    let dir = tempfile::tempdir().unwrap();
    let settings = journal::Settings { ballast_bytes: 0, ..journal::Settings::new(dir.path()) };
    let opened = journal::open::open(settings, Arc::new(RealDisk), identify).unwrap();
    let log = EventLog::Broker(opened.journal.clone(), link.clone());
    let event = event(1, STEPS[0]);
    let count = || link.block_on(log.count_once(&event));
    nats.freeze(true);
    assert_eq!(count(), Counted::Refused(Refused::Broker));
    nats.freeze(false);
    let mut last = count();
    wait_until("it is acknowledged", || {
        let is_there = !matches!(last, Counted::Refused(_));
        if !is_there {
            last = count();
        }
        is_there
    });
    assert_eq!((last, count()), (Counted::New, Counted::Repeat));
    let figures = opened.journal.status().figures;
    assert_eq!((figures.intake.published, figures.intake.duplicate), (1, 1));
    assert!(figures.hold(), "{figures:?}");
    running.close();
    opened.running.close();
}

#[test]
fn the_end_of_a_process_does_not_wait_for_a_broker_that_sleeps() {
    let Some(nats) = Nats::start() else { return };
    let settings = Settings { ack: Duration::from_secs(1), ..nats.settings() };
    let (link, running) =
        Link::start(Settings { wait: Duration::from_secs(300), ..settings }).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    nats.freeze(true);
    let message = of_event("gavel", &event(1, STEPS[0]));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            link.block_on(async {
                tokio::time::timeout(Duration::from_secs(2), link.publish(&message)).await
            })
        });
        assert!(waiting.join().unwrap().is_err(), "nobody acknowledges");
    });
    // by now it is asked again and again whether it takes anything
    let began = clock::monotonic();
    running.close();
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    nats.freeze(false);
}

#[test]
fn a_stream_that_is_full_is_no_place_to_bill_until_there_is_room_again() {
    let Some(nats) = Nats::start() else { return };
    let settings = Settings { patience: Duration::ZERO, ..nats.settings() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let context = runtime.block_on(async {
        let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
        let config = jetstream::stream::Config {
            name: settings.stream.clone(),
            subjects: vec!["gavel.>".to_owned()],
            max_messages: 2,
            discard: jetstream::stream::DiscardPolicy::New,
            ..jetstream::stream::Config::default()
        };
        context.create_stream(config).await.unwrap();
        context
    });
    let (link, running) = Link::start(settings).unwrap();
    // the question whether it takes anything is the first message
    wait_until("the broker is there", || link.may_bill());
    let publish = |sale| link.block_on(link.publish(&of_event("gavel", &event(sale, STEPS[0]))));
    publish(1).unwrap();
    assert!(matches!(publish(2), Err(BrokerFault::Refused(_))));
    assert!(!link.may_bill());
    runtime.block_on(async {
        context.get_stream("GAVEL").await.unwrap().purge().await.unwrap();
    });
    wait_until("there is room", || link.may_bill());
    publish(2).unwrap();
    running.close();
}

/// Half of them took at most so long, and 99 of 100.
fn parts(mut times: Vec<Duration>) -> [Duration; 2] {
    times.sort();
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

#[test]
fn auctions_are_as_quick_while_the_broker_sleeps() {
    let Some(nats) = Nats::start() else { return };
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let config = dir.path().join("a.toml");
    let broker = nats.config().replace("ack = '5s'", "ack = '300ms'");
    let more = format!("{broker}{}", events(&[ONE]));
    write(&config, dir.path().join("a").to_str().unwrap(), &bidder, &more);
    let mut server = Server::ready(&config);
    // one that waited for the broker would take some hundred times as long
    let (rounds, auctions, most) = if is_full() { (20, 200, 2) } else { (6, 50, 20) };
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        // by turns, so that whatever else the machine does meets both
        let is_asleep = round % 2 == 1;
        nats.freeze(is_asleep);
        let mut client = Client::connect(server.public.unwrap());
        for _ in 0..auctions {
            let began = clock::monotonic();
            let reply = client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap();
            times[usize::from(is_asleep)].push(began.elapsed());
            assert_eq!(reply.status, 200, "{}", reply.text());
            let burl = path(&reply.json()["seatbid"][0]["bid"][0], "burl", &[]);
            assert_eq!(send(&server, "GET", &burl, "").status, 204);
        }
    }
    nats.freeze(false);
    let pending = "gavel_journal_outlet_events{sink=\"broker\",state=\"pending\"}";
    wait_until("all is at the broker", || server.metric(pending) < 0.5);
    wait_until("nothing is late", || server.metric("gavel_broker_lag_seconds") < 0.5);
    assert_eq!(server.terminate(), Some(0));
    let [awake, asleep] = times.map(parts);
    println!("an auction: {awake:.2?} (half, 99 of 100), while the broker sleeps {asleep:.2?}");
    assert!(asleep[0] < awake[0] * most, "{asleep:?} of {awake:?}");
}
