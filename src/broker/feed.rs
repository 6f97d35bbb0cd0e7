//! Notices of events that only the stream keeps, taken by whichever replica comes first.
//!
//! Owns: [`Parcel`], the durable consumer that all replicas share. Never: a try to send one.
//! Invariant: a notice leaves the stream's care only when its bidder has it, or when a message says
//! that it is dead; one that a replica took and did not settle goes to another replica after
//! [`FeedSettings::hold`].
//!
//! What has a place in a journal (a `sequence`) is told by that journal's own sink, and passed over.

use super::BrokerFault;
use super::link::Link;
use super::message::{dead, event_subjects};
use crate::money_event::EventType;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::{error, warn};

/// Notices that are fetched ahead.
const AHEAD_MAX: usize = 64;

/// Pause before the consumer is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// A dead notice that cannot be said so is tried again after so long.
const DEAD_AGAIN: Duration = Duration::from_secs(30);

/// How the consumer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedSettings {
    /// For so long a notice belongs to the replica that took it.
    pub hold: Duration,
    /// Notices that are with a replica, or wait for another try: of all replicas.
    pub waiting_max: usize,
}

/// A notice that is to be sent.
#[derive(Debug)]
pub struct Parcel {
    pub kind: EventType,
    pub bidder: String,
    pub url: String,
    /// When its event came, in microseconds since the epoch.
    pub first_us: u64,
    /// How often it was taken before.
    pub taken: u32,
    pub receipt: Receipt,
}

/// What is owed to the stream for a notice; dropped, the notice is another replica's at once.
#[derive(Debug)]
pub struct Receipt(Option<Box<Owed>>);

struct Owed {
    link: Link,
    acker: Acker,
    payload: Bytes,
}

impl std::fmt::Debug for Owed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Owed")
    }
}

impl Owed {
    async fn say(&self, kind: AckKind) {
        if let Err(fault) = self.acker.ack_with(kind).await {
            // it comes again when its time with us is over
            warn!(%fault, "the broker was not told of a notice");
        }
    }
}

impl Receipt {
    /// The bidder has it.
    pub fn delivered(self) {
        self.tell(AckKind::Ack);
    }

    /// It is to be tried again after so long, by anybody.
    pub fn again(self, after: Duration) {
        self.tell(AckKind::Nak(Some(after)));
    }

    /// It is given up: a message says so, and why.
    pub fn dead(mut self, reason: String, tries: u32) {
        let Some(owed) = self.0.take() else { return };
        owed.link.clone().finish(async move {
            let prefix = &owed.link.settings().prefix;
            let Some(message) = dead(prefix, &owed.payload, &reason, tries) else {
                return owed.say(AckKind::Term).await;
            };
            match owed.link.publish(&message).await {
                Ok(_) => owed.say(AckKind::Term).await,
                Err(_) => owed.say(AckKind::Nak(Some(DEAD_AGAIN))).await,
            }
        });
    }

    fn tell(mut self, kind: AckKind) {
        if let Some(owed) = self.0.take() {
            tell(owed, kind);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(owed) = self.0.take() {
            tell(owed, AckKind::Nak(None));
        }
    }
}

fn tell(owed: Box<Owed>, kind: AckKind) {
    owed.link.clone().finish(async move { owed.say(kind).await });
}

/// Begins to take notices; ends when nobody takes them from the queue any more.
pub fn start(link: &Link, settings: FeedSettings) -> Receiver<Parcel> {
    let (queue, taken) = channel(AHEAD_MAX);
    let owner = link.clone();
    link.run(async move {
        tokio::select! {
            () = queue.closed() => {}
            () = run(&owner, settings, &queue) => {}
        }
    });
    taken
}

async fn run(link: &Link, settings: FeedSettings, queue: &Sender<Parcel>) {
    loop {
        if link.health().is_well()
            && let Err(fault) = take(link, settings, queue).await
        {
            error!(%fault, cause = ?fault, "notices cannot be taken from the broker");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn read(fault: impl std::error::Error + Send + Sync + 'static) -> BrokerFault {
    BrokerFault::Read(Box::new(fault))
}

/// Takes notices until the consumer has to be asked for again.
async fn take(
    link: &Link,
    settings: FeedSettings,
    queue: &Sender<Parcel>,
) -> Result<(), BrokerFault> {
    let consumer = consumer(link, settings).await?;
    let batches = consumer.stream().max_messages_per_batch(AHEAD_MAX);
    let mut messages = batches.messages().await.map_err(read)?;
    while let Some(message) = messages.next().await {
        if let Some(parcel) = parcel(link, message.map_err(read)?).await
            && queue.send(parcel).await.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

async fn consumer(
    link: &Link,
    settings: FeedSettings,
) -> Result<Consumer<pull::Config>, BrokerFault> {
    let stream = link.context().get_stream(&link.settings().stream).await;
    let stream = stream.map_err(BrokerFault::Ask)?;
    // another prefix on the same stream is another exchange, with notices of its own
    let name = format!("{}-notices", link.settings().prefix.replace('.', "_"));
    let config = pull::Config {
        durable_name: Some(name.clone()),
        filter_subject: event_subjects(&link.settings().prefix),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.hold,
        max_deliver: -1,
        max_ack_pending: i64::try_from(settings.waiting_max).unwrap_or(i64::MAX),
        ..pull::Config::default()
    };
    stream.get_or_create_consumer(&name, config).await.map_err(read)
}

/// What of a message a notice needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    sequence: Option<u64>,
    #[serde(rename = "type")]
    kind: String,
    bidder: String,
    url: String,
    received_us: u64,
}

/// A message as a notice; `None`, and settled, where it is none of ours to send.
async fn parcel(keeper: &Link, message: Message) -> Option<Parcel> {
    let taken = message.info().map_or(1, |info| info.delivered).saturating_sub(1);
    let line = serde_json::from_slice::<Line>(&message.payload);
    let (message, acker) = message.split();
    let owed = Owed { link: keeper.clone(), acker, payload: message.payload };
    let Ok(line) = line else {
        warn!(subject = %message.subject, "a message is no record");
        owed.say(AckKind::Term).await;
        return None;
    };
    let kind = EventType::ALL.into_iter().find(|event| event.label() == line.kind);
    let (Some(kind), None, false) = (kind, line.sequence, line.url.is_empty()) else {
        owed.say(AckKind::Ack).await;
        return None;
    };
    Some(Parcel {
        kind,
        bidder: line.bidder,
        url: line.url,
        first_us: line.received_us,
        taken: u32::try_from(taken).unwrap_or(u32::MAX),
        receipt: Receipt(Some(Box::new(owed))),
    })
}
