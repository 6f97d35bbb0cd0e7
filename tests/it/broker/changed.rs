//! What somebody changes at the broker while it is used.

use super::feed::event;
use super::wait_until;
use crate::harness::nats::Nats;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context};
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
