//! From the journal to the stream, with a broker that dies, sleeps and comes back.

use super::wait_until;
use crate::harness::nats::Nats;
use gavel::broker::command::pull;
use gavel::broker::link::{self, Link};
use gavel::broker::relay::{self, Relay, SINK};
use gavel::broker::{BrokerFault, Settings};
use gavel::clock;
use gavel::journal;
use gavel::journal::disk::real::RealDisk;
use gavel::journal::handle::{Journal, Once};
use gavel::journal::open::{self, Opened, Running};
use gavel::money_event::codec::{identify, write_auction, write_event};
use gavel::money_event::{AuctionRecord, EventType, MoneyEvent, SaleId, kind};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A journal with a relay, as the server has it.
pub struct Replica {
    pub journal: Journal,
    running: Running,
    link: Link,
    parts: (relay::Running, link::Running),
}

impl Replica {
    pub fn open(dir: &Path, settings: Settings) -> Self {
        let settings_of = |dir| journal::Settings {
            segment_bytes: 1 << 20,
            commit_bytes_max: 256 << 10,
            ballast_bytes: 0,
            sinks: vec![SINK.to_owned()],
            ..journal::Settings::new(dir)
        };
        let Opened { journal, running, .. } =
            open::open(settings_of(dir), Arc::new(RealDisk), identify).unwrap();
        let (link, thread) = Link::start(settings).unwrap();
        let relay = Relay::start(&journal, link.clone()).unwrap().unwrap();
        Self { journal, running, link, parts: (relay, thread) }
    }

    fn take(&self, event: &MoneyEvent) {
        take(&self.journal, event);
    }

    /// Waits until the books say that the broker has everything, and gives how much that is.
    pub fn delivered(&self) -> u64 {
        wait_until("everything is at the broker", || outlet(&self.journal).1 == 0);
        outlet(&self.journal).0
    }

    pub fn close(self) {
        self.parts.0.close();
        self.parts.1.close();
        self.running.close();
    }
}

/// Makes an event durable in the journal.
pub fn take(journal: &Journal, event: &MoneyEvent) {
    let mut bytes = Vec::new();
    write_event(event, &mut bytes);
    let once = journal.append_once(event.id, event.expires_s, event.event.kind(), bytes);
    let Once::New(ticket) = once else { panic!("{once:?}") };
    ticket.wait().unwrap();
}

/// Delivered and pending.
pub fn outlet(journal: &Journal) -> (u64, u64) {
    let figures = journal.status().figures;
    assert!(figures.hold(), "{figures:?}");
    (figures.outlets[SINK].delivered, figures.outlets[SINK].pending)
}

/// The events of a sale, in the order in which they come.
pub const STEPS: [EventType; 3] = [EventType::Win, EventType::Billing, EventType::Impression];

pub fn event(sale: u32, event: EventType) -> MoneyEvent {
    let id = SaleId::new(u128::from(sale) << 64);
    MoneyEvent {
        event,
        id: id.event(event),
        partner: format!("pub.{}", sale % 3),
        bidder: "alpha".to_owned(),
        expires_s: clock::wall().as_secs() + 3600,
        received_us: u64::try_from(clock::wall().as_micros()).unwrap(),
        ..MoneyEvent::default()
    }
}

/// Does something with each record of the stream.
fn each(settings: &Settings, mut read: impl FnMut(Json)) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let faults = pull(settings, 1, Some(&file.path().to_owned())).unwrap();
    assert_eq!(faults, Vec::<String>::new());
    for line in BufReader::new(File::open(file.path()).unwrap()).lines() {
        read(serde_json::from_str(&line.unwrap()).unwrap());
    }
}

/// The stream has all events of so many sales, each once, and those of a sale in their order.
#[track_caller]
pub fn all_are_there_once_in_order(settings: &Settings, sales: u32) {
    let mut found = BTreeMap::<String, Vec<EventType>>::new();
    each(settings, |row| {
        let event = EventType::ALL.into_iter().find(|event| row["type"] == event.label());
        let sale = row["id"].as_str().unwrap()[..31].to_owned();
        found.entry(sale).or_default().push(event.unwrap());
    });
    assert_eq!(found.len(), usize::try_from(sales).unwrap());
    for (sale, types) in &found {
        assert_eq!(types[..], STEPS, "{sale}");
    }
}

#[test]
fn a_broker_that_is_killed_in_the_middle_has_everything_once_and_in_order_when_it_is_back() {
    let Some(mut nats) = Nats::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { ack: Duration::from_secs(1), window: 64, ..nats.settings() };
    let replica = Replica::open(dir.path(), settings.clone());
    let sales = 300;
    std::thread::scope(|scope| {
        let journal = &replica.journal;
        // each sale has its events one after the other; sales are side by side
        for thread in 0..4 {
            scope.spawn(move || {
                for sale in (thread..sales).step_by(4) {
                    for step in STEPS {
                        take(journal, &event(sale, step));
                    }
                }
            });
        }
        for part in 1..=3 {
            wait_until("a part is there", || outlet(&replica.journal).0 > part * 100);
            nats.die();
            // the books go on while it is away
            let before = replica.journal.status().durable;
            wait_until("more is durable", || {
                let durable = replica.journal.status().durable;
                durable > before + 20 || durable > u64::from(sales) * 3
            });
            nats.come_back();
        }
    });
    assert_eq!(replica.delivered(), u64::from(sales) * 3);
    // the relay says so once its place is written, which is when nothing is pending
    wait_until("nothing is behind", || replica.link.health().behind(clock::wall()).is_zero());
    replica.close();
    all_are_there_once_in_order(&settings, sales);
}

#[test]
fn a_relay_that_begins_again_sends_what_was_not_acknowledged_and_the_stream_knows_repeats() {
    let Some(mut nats) = Nats::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let settings = nats.settings();
    let replica = Replica::open(dir.path(), settings.clone());
    (0..40).for_each(|sale| replica.take(&event(sale, EventType::Win)));
    assert_eq!(replica.delivered(), 40);
    nats.die();
    for step in [EventType::Billing, EventType::Impression] {
        (0..40).for_each(|sale| replica.take(&event(sale, step)));
    }
    replica.close();
    // a crash of the machine may cost the last cursor: all of it comes again
    std::fs::remove_file(dir.path().join(format!("cursor-{SINK}"))).unwrap();
    nats.come_back();
    let replica = Replica::open(dir.path(), settings.clone());
    assert_eq!(replica.delivered(), 120);
    let [stored, repeats, _] = replica.link.health().ends();
    // and the one that asks whether the stream takes anything
    assert_eq!((stored, repeats), (80 + 1, 40));
    replica.close();
    all_are_there_once_in_order(&settings, 40);
}

#[test]
fn a_broker_that_sleeps_holds_up_nothing_but_its_own_sink() {
    let Some(nats) = Nats::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { ack: Duration::from_millis(300), ..nats.settings() };
    let replica = Replica::open(dir.path(), settings.clone());
    replica.take(&event(0, EventType::Win));
    assert_eq!(replica.delivered(), 1);
    nats.freeze(true);
    for step in [EventType::Billing, EventType::Impression] {
        replica.take(&event(0, step));
    }
    wait_until("a message is late", || replica.link.health().ends()[2] > 0);
    assert!(!replica.link.health().is_well());
    assert!(replica.journal.may_bill());
    assert_eq!(outlet(&replica.journal), (1, 2));
    nats.freeze(false);
    assert_eq!(replica.delivered(), 3);
    replica.close();
    // the late message and the one that was sent after it are the same
    all_are_there_once_in_order(&settings, 1);
}

#[test]
fn records_of_auctions_go_along_where_that_is_wanted() {
    let Some(nats) = Nats::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { has_auctions: true, ..nats.settings() };
    let replica = Replica::open(dir.path(), settings.clone());
    let record =
        AuctionRecord { partner: "pub".into(), outcome: "won".into(), ..Default::default() };
    let mut bytes = Vec::new();
    write_auction(&record, &mut bytes);
    assert!(replica.journal.append_buffered(kind::AUCTION, bytes));
    wait_until("it is written", || replica.journal.status().figures.buffered.written == 1);
    replica.take(&event(0, EventType::Win));
    assert_eq!(replica.delivered(), 1);
    replica.close();
    let mut types = Vec::new();
    each(&settings, |row| types.push(row["type"].as_str().unwrap().to_owned()));
    types.sort();
    assert_eq!(types, ["auction", "win"]);
}

#[test]
fn a_stream_that_is_not_there_is_named_with_what_makes_it_and_waited_for() {
    let Some(nats) = Nats::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { creates: false, ..nats.settings() };
    let replica = Replica::open(dir.path(), settings.clone());
    replica.take(&event(0, EventType::Win));
    let fault = pull(&settings, 1, None).unwrap_err();
    assert!(fault.to_string().contains("cannot be asked for"), "{fault}");
    assert!(!replica.link.may_bill());
    assert_eq!(outlet(&replica.journal), (0, 1));
    // somebody makes it
    let (maker, running) = Link::start(nats.settings()).unwrap();
    wait_until("the stream is there", || maker.health().is_well());
    running.close();
    assert_eq!(replica.delivered(), 1);
    assert!(replica.link.may_bill());
    replica.close();
}

#[test]
fn credentials_that_cannot_be_read_are_a_fault_of_the_start() {
    let settings = Settings { credentials: Some("/nowhere/x.creds".into()), ..Settings::default() };
    let fault = Link::start(settings).unwrap_err();
    assert!(matches!(fault, BrokerFault::Credentials(..)), "{fault}");
}
