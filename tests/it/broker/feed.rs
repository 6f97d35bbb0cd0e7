//! Notices that the stream keeps: whoever takes one settles it, or another gets it.

use super::wait_until;
use crate::harness::http::PATIENCE;
use crate::harness::nats::Nats;
use async_nats::jetstream::consumer::PullConsumer;
use gavel::broker::command::pull;
use gavel::broker::consumers::FeedSettings;
use gavel::broker::feed::{self, Parcel};
use gavel::broker::link::Link;
use gavel::broker::message::{of_event, of_record};
use gavel::journal::frame::Class;
use gavel::money_event::codec::write_event;
use gavel::money_event::{EventType, MoneyEvent, SaleId, kind};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

pub const SETTINGS: FeedSettings = FeedSettings {
    is_sole: true,
    hold: Duration::from_millis(500),
    span: Duration::from_secs(3600),
    many: 1_000,
};

pub fn event(sale: u128, url: &str) -> MoneyEvent {
    MoneyEvent {
        event: EventType::Billing,
        id: SaleId::new(sale << 64).event(EventType::Billing),
        partner: "pub".to_owned(),
        bidder: "alpha".to_owned(),
        url: url.to_owned(),
        received_us: 7,
        ..MoneyEvent::default()
    }
}

pub fn next(link: &Link, feed: &mut Receiver<Parcel>) -> Parcel {
    let next = async { tokio::time::timeout(PATIENCE, feed.recv()).await };
    link.block_on(next).expect("a notice comes").expect("the feed is open")
}

#[test]
fn a_notice_is_there_until_it_is_settled_and_what_a_journal_tells_is_passed_over() {
    let Some(nats) = Nats::start() else { return };
    let (link, running) = Link::start(nats.settings()).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    let prefix = link.settings().prefix.clone();
    let mut relayed = Vec::new();
    write_event(&event(1, "https://b.example/relayed"), &mut relayed);
    let messages = [
        of_record(&prefix, 3, kind::BILLING, Class::Durable, &relayed),
        of_event(&prefix, &event(2, "")),
        of_event(&prefix, &event(3, "https://b.example/3")),
    ];
    for message in &messages {
        link.block_on(link.publish(message)).unwrap();
    }
    let mut first = feed::start(&link, SETTINGS);
    let parcel = next(&link, &mut first);
    assert_eq!((parcel.url.as_str(), parcel.taken), ("https://b.example/3", 0));
    assert_eq!((parcel.bidder.as_str(), parcel.first_us), ("alpha", 7));
    assert_eq!(parcel.kind, EventType::Billing);
    // this replica is lost with the notice in its hands
    std::mem::forget(parcel);
    drop(first);
    running.close();

    let (link, running) = Link::start(nats.settings()).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    let mut second = feed::start(&link, SETTINGS);
    let parcel = next(&link, &mut second);
    assert_eq!((parcel.url.as_str(), parcel.taken), ("https://b.example/3", 1));
    parcel.receipt.again(Duration::from_millis(10));
    let parcel = next(&link, &mut second);
    assert_eq!(parcel.taken, 2);
    // put down unsettled, as at the end of a process: another's at once
    drop(parcel);
    let parcel = next(&link, &mut second);
    assert_eq!(parcel.taken, 3);
    parcel.receipt.dead("status 400".to_owned(), 4);
    let dead = || {
        let file = tempfile::NamedTempFile::new().unwrap();
        pull(link.settings(), 1, Some(&file.path().to_owned())).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let rows =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        rows.filter(|row| row["type"] == "dead_notice").collect::<Vec<_>>()
    };
    wait_until("the stream says that it is dead", || !dead().is_empty());
    let rows = dead();
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["reason"], &rows[0]["tries"]), (&"status 400".into(), &4.into()));
    // the next one is a new one
    link.block_on(link.publish(&of_event(&prefix, &event(4, "https://b.example/4")))).unwrap();
    let parcel = next(&link, &mut second);
    assert_eq!((parcel.url.as_str(), parcel.taken), ("https://b.example/4", 0));
    parcel.receipt.delivered();
    running.close();
    // what was said last is said before the end
    assert_eq!(owed(&nats.url(), "notices"), 0);
}

/// Of a consumer that all replicas share: what nobody has taken, or is not settled.
pub fn owed(url: &str, name: &str) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = async_nats::jetstream::new(async_nats::connect(url).await.unwrap());
        let stream = context.get_stream("GAVEL").await.unwrap();
        let consumer = stream.get_consumer(&format!("gavel-{name}")).await;
        let mut consumer: PullConsumer = consumer.unwrap();
        let info = consumer.info().await.unwrap();
        info.num_pending + info.num_ack_pending as u64
    })
}
