//! Notices of events that only the stream keeps, taken by whichever replica comes first.
//!
//! Owns: [`Parcel`], the durable consumers that all replicas share: one of events, one of dead
//! notices that are sent again, so that these hold up no event. Never: a try to send one.
//! Invariant: a notice leaves the stream's care only when its bidder has it, or when a message says
//! that it is dead; one that a replica took and did not settle goes to another replica after
//! [`FeedSettings::hold`].
//!
//! What has a place in a journal (a `sequence`) is told by that journal's own sink, and passed over.

use super::dead::{Death, closed_subjects, dead, dead_subjects};
use super::link::Link;
use super::message::event_subjects;
use super::{BrokerFault, Settings};
use crate::clock;
use crate::money_event::EventType;
use crate::money_event::shown::NOTICE_AGAIN;
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

/// How often the stream is asked how many notices it keeps.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// How the consumers are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedSettings {
    /// For so long a notice belongs to the replica that took it.
    pub hold: Duration,
    /// Notices that are with a replica, or wait for another try: of all replicas, for each consumer.
    pub waiting_max: usize,
}

/// A notice that is to be sent.
#[derive(Debug)]
pub struct Parcel {
    pub kind: EventType,
    pub bidder: String,
    pub url: String,
    /// When it was first to be sent, in microseconds since the epoch: when its event came, or when a
    /// dead one was to be sent again.
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
    /// The message's place in the stream.
    origin: u64,
    first_us: u64,
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
    /// Nothing is owed to anybody.
    #[cfg(test)]
    pub fn nobodys() -> Self {
        Self(None)
    }

    /// The bidder has it.
    pub fn delivered(self) {
        self.tell(AckKind::Ack);
    }

    /// It is to be tried again after so long, by anybody.
    pub fn again(self, after: Duration) {
        self.tell(AckKind::Nak(Some(after)));
    }

    /// It is given up: a message says so, and why, before the stream is told that nobody sends it any
    /// more. Where that is interrupted it comes again and is tried once more where its bidder is not
    /// left alone; a bidder that takes it then has a dead notice beside it, else it dies as the same one.
    pub fn dead(mut self, reason: String, tries: u32) {
        let Some(owed) = self.0.take() else { return };
        owed.link.clone().finish(async move {
            let prefix = &owed.link.settings().prefix;
            let died_us = u64::try_from(clock::wall().as_micros()).unwrap_or(u64::MAX);
            let (origin, first_us) = (owed.origin, owed.first_us);
            let death = Death { reason, tries, origin, first_us, died_us };
            let Some(message) = dead(prefix, &owed.payload, &death) else {
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
            () = run(&owner, settings, Source::Events, &queue) => {}
            () = run(&owner, settings, Source::Again, &queue) => {}
            () = count(&owner) => {}
        }
    });
    taken
}

/// What asks for a notice.
#[derive(Clone, Copy, Debug)]
enum Source {
    Events,
    /// Dead notices that people want sent again.
    Again,
}

impl Source {
    const ALL: [Self; 2] = [Self::Events, Self::Again];

    fn subjects(self, prefix: &str) -> String {
        match self {
            Self::Events => event_subjects(prefix),
            Self::Again => closed_subjects(prefix),
        }
    }

    /// The consumer's name. Another prefix on the same stream is another exchange, with notices of
    /// its own.
    fn consumer(self, prefix: &str) -> String {
        let prefix = prefix.replace('.', "_");
        match self {
            Self::Events => format!("{prefix}-notices"),
            Self::Again => format!("{prefix}-again"),
        }
    }
}

async fn run(link: &Link, settings: FeedSettings, source: Source, queue: &Sender<Parcel>) {
    loop {
        if link.health().is_well()
            && let Err(fault) = take(link, settings, source, queue).await
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
    source: Source,
    queue: &Sender<Parcel>,
) -> Result<(), BrokerFault> {
    let consumer = consumer(link, settings, source).await?;
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
    source: Source,
) -> Result<Consumer<pull::Config>, BrokerFault> {
    let stream = link.context().get_stream(&link.settings().stream).await;
    let stream = stream.map_err(BrokerFault::Ask)?;
    let prefix = &link.settings().prefix;
    let name = source.consumer(prefix);
    let config = pull::Config {
        durable_name: Some(name.clone()),
        filter_subject: source.subjects(prefix),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.hold,
        max_deliver: -1,
        max_ack_pending: i64::try_from(settings.waiting_max).unwrap_or(i64::MAX),
        ..pull::Config::default()
    };
    stream.get_or_create_consumer(&name, config).await.map_err(read)
}

/// Keeps the figures of what waits, for metrics.
async fn count(link: &Link) {
    let mut is_silent = false;
    loop {
        tokio::time::sleep(COUNT_EVERY).await;
        let counts = if link.health().is_well() { kept(link).await.map(Some) } else { Ok(None) };
        let counts = counts.unwrap_or_else(|fault| {
            if !is_silent {
                warn!(%fault, cause = ?fault, "nobody knows how many notices the broker keeps");
            }
            is_silent = true;
            None
        });
        is_silent &= counts.is_none();
        link.health().keeps(counts);
    }
}

/// Notices that are not settled, and dead ones.
async fn kept(link: &Link) -> Result<[u64; 2], BrokerFault> {
    let Settings { stream, prefix, .. } = link.settings();
    let stream = link.context().get_stream(stream).await.map_err(BrokerFault::Ask)?;
    let (mut pending, mut dead) = (0, 0);
    for source in Source::ALL {
        let info = stream.consumer_info(source.consumer(prefix)).await.map_err(read)?;
        pending += info.num_pending + info.num_ack_pending as u64;
    }
    let mut subjects = stream.info_with_subjects(dead_subjects(prefix)).await.map_err(read)?;
    while let Some(counted) = subjects.next().await {
        dead += counted.map_err(read)?.1 as u64;
    }
    Ok([pending, dead])
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
    /// Of a dead one that is sent again: which type its event has, and since when.
    event: String,
    again_us: u64,
}

impl Line {
    /// Of which event it is to be told, and since when; `None`: nobody is to be told.
    fn notice(&self) -> Option<(EventType, u64)> {
        let (kind, first_us) = match self.kind.as_str() {
            NOTICE_AGAIN => (&self.event, self.again_us),
            _ => (&self.kind, self.received_us),
        };
        let is_sent = self.sequence.is_none() && !self.url.is_empty();
        let kind = EventType::ALL.into_iter().find(|event| event.label() == kind);
        kind.filter(|_| is_sent).map(|kind| (kind, first_us))
    }
}

/// A message as a notice; `None`, and settled, where it is none of ours to send.
async fn parcel(keeper: &Link, message: Message) -> Option<Parcel> {
    let (taken, origin) =
        message.info().map_or((1, 0), |info| (info.delivered, info.stream_sequence));
    let line = serde_json::from_slice::<Line>(&message.payload);
    let notice = line.as_ref().ok().and_then(Line::notice);
    let first_us = notice.map_or(0, |(_, first_us)| first_us);
    let (message, acker) = message.split();
    let owed = Owed { link: keeper.clone(), acker, payload: message.payload, origin, first_us };
    let Ok(line) = line else {
        warn!(subject = %message.subject, "a message is no record");
        owed.say(AckKind::Term).await;
        return None;
    };
    let Some((kind, first_us)) = notice else {
        owed.say(AckKind::Ack).await;
        return None;
    };
    Some(Parcel {
        kind,
        bidder: line.bidder,
        url: line.url,
        first_us,
        taken: u32::try_from(taken.saturating_sub(1)).unwrap_or(u32::MAX),
        receipt: Receipt(Some(Box::new(owed))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_a_notice_is_an_event_of_no_journal_or_a_dead_one_that_is_sent_again() {
        for (line, expected) in [
            (r#"{"type":"billing","url":"u","received_us":5}"#, Some((EventType::Billing, 5))),
            (r#"{"type":"billing","url":"u","received_us":5,"sequence":1}"#, None),
            (r#"{"type":"billing","url":"","received_us":5}"#, None),
            (
                r#"{"type":"notice_again","event":"win","url":"u","received_us":5,"again_us":9}"#,
                Some((EventType::Win, 9)),
            ),
            (r#"{"type":"notice_purged","event":"win","url":"u","received_us":5}"#, None),
            (r#"{"type":"dead_notice","event":"win","url":"u","received_us":5}"#, None),
            (r#"{"type":"auction"}"#, None),
        ] {
            let read: Line = serde_json::from_str(line).unwrap();
            assert_eq!(read.notice(), expected, "{line}");
        }
    }
}
