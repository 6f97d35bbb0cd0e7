//! What somebody changes at the broker while it is used.

use super::feed::{SETTINGS, event, next};
use super::wait_until;
use crate::harness::nats::Nats;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use gavel::broker::consumers::FeedSettings;
use gavel::broker::feed;
use gavel::broker::health::End;
use gavel::broker::link::{Link, Running};
use gavel::broker::message::of_event;
use gavel::broker::{BrokerFault, Settings};
use gavel::money_event::MoneyEvent;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Whoever looks after the broker.
struct Keeper {
    runtime: Runtime,
    context: Context,
}

impl Keeper {
    fn of(nats: &Nats) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let context = runtime.block_on(async {
            let client = async_nats::connect(nats.url()).await.unwrap();
            jetstream::new(client)
        });
        Self { runtime, context }
    }

    /// Changes the stream, given its configuration and the bytes it has.
    fn edit(&self, change: impl FnOnce(&mut Config, u64)) {
        self.runtime.block_on(async {
            let stream = self.context.get_stream("GAVEL").await.unwrap();
            let info = stream.cached_info();
            let mut config = info.config.clone();
            change(&mut config, info.state.bytes);
            self.context.update_stream(config).await.unwrap();
        });
    }

    fn make(&self, storage: StorageType) {
        let (name, subjects) = ("GAVEL".to_owned(), vec!["gavel.>".to_owned()]);
        let config = Config { name, subjects, storage, ..Config::default() };
        self.runtime.block_on(self.context.create_stream(config)).unwrap();
    }

    /// Makes the stream anew; what it had is gone.
    fn make_anew(&self, storage: StorageType) {
        self.runtime.block_on(self.context.delete_stream("GAVEL")).unwrap();
        self.make(storage);
    }

    fn make_consumer(&self, config: pull::Config) {
        self.runtime.block_on(async {
            let stream = self.context.get_stream("GAVEL").await.unwrap();
            stream.create_consumer(config).await.unwrap();
        });
    }

    fn delete_consumer(&self) {
        self.runtime.block_on(async {
            let stream = self.context.get_stream("GAVEL").await.unwrap();
            stream.delete_consumer("gavel-notices").await.unwrap();
        });
    }

    /// The consumer of events, where it is there.
    fn consumer(&self) -> Option<jetstream::consumer::Config> {
        self.runtime.block_on(async {
            let stream = self.context.get_stream("GAVEL").await.unwrap();
            stream.consumer_info("gavel-notices").await.ok().map(|info| info.config)
        })
    }
}

fn connected(settings: Settings) -> (Link, Running) {
    let (link, running) = Link::start(settings).unwrap();
    wait_until("the broker is there", || link.health().is_well());
    (link, running)
}

fn publish(link: &Link, event: &MoneyEvent) -> Result<(), BrokerFault> {
    link.block_on(link.publish(&of_event("gavel", event))).map(drop)
}

fn notice(sale: u128) -> MoneyEvent {
    event(sale, &format!("https://b.example/{sale}"))
}

#[test]
fn a_stream_that_becomes_no_place_for_money_is_not_written_to_until_it_is_one_again() {
    let Some(nats) = Nats::start() else { return };
    let keeper = Keeper::of(&nats);
    keeper.make(StorageType::File);
    // nobody but the keeper makes one
    let wait = Duration::from_secs(2);
    let (link, running) = connected(Settings { creates: false, wait, ..nats.settings() });
    keeper.edit(|config, _| config.max_messages_per_subject = 1);
    wait_until("that is seen", || !link.health().is_well());
    assert!(matches!(publish(&link, &notice(1)), Err(BrokerFault::Unreachable)));
    keeper.edit(|config, _| config.max_messages_per_subject = -1);
    wait_until("all is well again", || link.health().is_well());
    publish(&link, &notice(2)).unwrap();
    keeper.make_anew(StorageType::Memory);
    wait_until("that is seen, too", || !link.health().is_well());
    assert!(matches!(publish(&link, &notice(3)), Err(BrokerFault::Unreachable)));
    keeper.make_anew(StorageType::File);
    wait_until("it is one in files", || link.health().is_well());
    keeper.edit(|config, _| config.max_message_size = 256);
    wait_until("it takes small messages only", || !link.health().is_well());
    running.close();
}

#[test]
fn a_broker_that_has_room_for_a_probe_alone_is_not_well() {
    let Some(nats) = Nats::start() else { return };
    let keeper = Keeper::of(&nats);
    let settings = Settings { patience: Duration::ZERO, ..nats.settings() };
    let (link, running) = connected(settings);
    keeper.edit(|config, bytes| {
        config.max_bytes = i64::try_from(bytes).unwrap() + 500;
        config.discard = DiscardPolicy::New;
    });
    let large = MoneyEvent { deal: "d".repeat(700), ..notice(1) };
    assert!(matches!(publish(&link, &large), Err(BrokerFault::Refused(_))));
    let refused = || link.health().ends()[End::Failed as usize];
    wait_until("it was tried some times more", || refused() >= 3 || link.may_bill());
    assert!(!link.may_bill());
    keeper.edit(|config, _| config.max_bytes = -1);
    wait_until("there is room again", || link.may_bill());
    publish(&link, &large).unwrap();
    running.close();
}

#[test]
fn what_waits_for_one_bidder_takes_no_room_from_another_at_an_old_consumer_either() {
    let Some(nats) = Nats::start() else { return };
    let keeper = Keeper::of(&nats);
    let (link, running) = connected(nats.settings());
    // as one that was made with a bound, and a shorter hold
    keeper.make_consumer(pull::Config {
        durable_name: Some("gavel-notices".to_owned()),
        filter_subject: "gavel.event.>".to_owned(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(5),
        max_deliver: -1,
        max_ack_pending: 1,
        ..pull::Config::default()
    });
    let hold = Duration::from_secs(60);
    let mut feed = feed::start(&link, FeedSettings { hold, ..SETTINGS });
    publish(&link, &notice(1)).unwrap();
    publish(&link, &notice(2)).unwrap();
    let first = next(&link, &mut feed);
    assert_eq!(first.url, "https://b.example/1");
    first.receipt.again(Duration::from_secs(3600));
    let second = next(&link, &mut feed);
    assert_eq!(second.url, "https://b.example/2");
    second.receipt.delivered();
    let config = keeper.consumer().unwrap();
    assert_eq!((config.ack_wait, config.max_ack_pending), (hold, -1));
    assert_eq!(link.health().is_fed(), Some(true));
    running.close();
}

#[test]
fn a_consumer_that_is_gone_is_made_for_what_is_not_too_old() {
    let Some(nats) = Nats::start() else { return };
    let keeper = Keeper::of(&nats);
    let (link, running) = connected(nats.settings());
    let mut feed = feed::start(&link, FeedSettings { span: Duration::ZERO, ..SETTINGS });
    wait_until("there is a consumer", || keeper.consumer().is_some());
    publish(&link, &notice(1)).unwrap();
    let first = next(&link, &mut feed);
    assert_eq!(first.url, "https://b.example/1");
    first.receipt.delivered();
    keeper.delete_consumer();
    wait_until("there is another one", || keeper.consumer().is_some());
    publish(&link, &notice(2)).unwrap();
    assert_eq!(next(&link, &mut feed).url, "https://b.example/2");
    running.close();
}

#[test]
fn what_only_the_stream_has_is_taken_where_journals_have_what_is_new() {
    let Some(nats) = Nats::start() else { return };
    let keeper = Keeper::of(&nats);
    let (link, running) = connected(nats.settings());
    let local = FeedSettings { is_sole: false, ..SETTINGS };
    // there is no consumer, and none is made
    let idle = feed::start(&link, local);
    let feed = feed::start(&link, SETTINGS);
    wait_until("there is a consumer", || keeper.consumer().is_some());
    drop((idle, feed));
    running.close();
    let (link, running) = connected(nats.settings());
    publish(&link, &notice(1)).unwrap();
    let mut feed = feed::start(&link, local);
    assert_eq!(next(&link, &mut feed).url, "https://b.example/1");
    running.close();
}
