//! Notices of events that only the stream keeps, taken by whichever replica comes first.
//!
//! Owns: [`Parcel`], the reading of both consumers: one of events, one of dead notices that are sent
//! again, so that these hold up no event. Never: a try to send one, how a consumer is made (`consumers`).
//! Invariant: a notice leaves the stream's care only when its bidder has it, or when a message says
//! that it is dead; one that a replica took and did not settle goes to another replica after
//! [`FeedSettings::hold`].
//!
//! What has a place in a journal (a `sequence`) is told by that journal's own sink, and passed over.

use super::complaint::Complaint;
use super::consumers::{self, FeedSettings, Source};
use super::dead::{Death, dead, dead_subjects};
use super::link::Link;
use super::{BrokerFault, Settings};
use crate::clock;
use crate::money_event::EventType;
use crate::money_event::shown::NOTICE_AGAIN;
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::{error, info, warn};

/// Notices that are fetched ahead.
const AHEAD_MAX: usize = 64;

/// Pause before the consumer is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// ... and where it is not there, and not ours to make.
const ABSENT_AGAIN: Duration = Duration::from_secs(60);

/// A dead notice that cannot be said so is tried again after so long.
const DEAD_AGAIN: Duration = Duration::from_secs(30);

/// How often the stream is asked how many notices it keeps.
const COUNT_EVERY: Duration = Duration::from_secs(10);

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
            () = count(&owner, settings) => {}
        }
    });
    taken
}

/// How the reading of a consumer ended.
enum Ended {
    /// The consumer has to be asked for again.
    Over,
    /// It is not there.
    Absent,
}

async fn run(link: &Link, settings: FeedSettings, source: Source, queue: &Sender<Parcel>) {
    let mut complaint = Complaint::default();
    loop {
        let mut pause = AGAIN;
        if link.health().is_well() {
            match take(link, settings, source, queue).await {
                Ok(Ended::Over) => complaint.ends(),
                Ok(Ended::Absent) => pause = ABSENT_AGAIN,
                Err(fault) => {
                    link.health().feeds(source as usize, Some(false));
                    link.look_again();
                    if complaint.is_due(&fault) {
                        error!(%fault, cause = ?fault, "notices cannot be taken from the broker");
                    }
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// Takes notices until the consumer has to be asked for again.
async fn take(
    link: &Link,
    settings: FeedSettings,
    source: Source,
    queue: &Sender<Parcel>,
) -> Result<Ended, BrokerFault> {
    let Some(consumer) = consumers::open(link, settings, source).await? else {
        link.health().feeds(source as usize, None);
        return Ok(Ended::Absent);
    };
    let batches = consumer.stream().max_messages_per_batch(AHEAD_MAX);
    let mut messages = batches.messages().await.map_err(BrokerFault::read)?;
    link.health().feeds(source as usize, Some(true));
    if !settings.is_sole {
        info!(name = %consumer.cached_info().name, "notices of events that only the stream has are sent, too; remove the consumer when none is pending");
    }
    while let Some(message) = messages.next().await {
        if let Some(parcel) = parcel(link, message.map_err(BrokerFault::read)?).await
            && queue.send(parcel).await.is_err()
        {
            break;
        }
    }
    Ok(Ended::Over)
}

/// Keeps the figures of what waits, for metrics, and says when it is much.
async fn count(link: &Link, settings: FeedSettings) {
    let (mut unknown, mut many) = (Complaint::default(), Complaint::default());
    loop {
        tokio::time::sleep(COUNT_EVERY).await;
        let counts = if link.health().is_well() { kept(link, settings).await } else { Ok(None) };
        let counts = counts.unwrap_or_else(|fault| {
            if unknown.is_due(&fault) {
                warn!(%fault, cause = ?fault, "nobody knows how many notices the broker keeps");
            }
            None
        });
        if let Some(Kept { waiting, .. }) = counts {
            unknown.ends();
            let fault = BrokerFault::Many(settings.many);
            if waiting <= settings.many {
                many.ends();
            } else if many.is_due(&fault) {
                error!(%fault, waiting, "a bidder takes no notices for long, and the broker's memory grows");
            }
        }
        link.health().keeps(counts.map(|kept| [kept.pending, kept.dead]));
    }
}

/// Notices of the stream.
#[derive(Clone, Copy, Default)]
struct Kept {
    /// Not settled, and events that nobody has looked at.
    pending: u64,
    /// Of these, what a process has, or waits for another try.
    waiting: usize,
    dead: u64,
}

/// `None`: they are in the care of journals.
async fn kept(link: &Link, settings: FeedSettings) -> Result<Option<Kept>, BrokerFault> {
    let Settings { stream, prefix, .. } = link.settings();
    let stream = link.context().get_stream(stream).await.map_err(BrokerFault::Ask)?;
    let mut kept = Kept::default();
    for source in Source::ALL {
        match stream.consumer_info(source.consumer(prefix)).await {
            Ok(info) => {
                kept.pending += info.num_pending + info.num_ack_pending as u64;
                kept.waiting += info.num_ack_pending;
            }
            Err(fault)
                if !settings.is_sole && matches!(fault.kind(), ConsumerInfoErrorKind::NotFound) =>
            {
                return Ok(None);
            }
            Err(fault) => return Err(BrokerFault::read(fault)),
        }
    }
    let subjects = stream.info_with_subjects(dead_subjects(prefix)).await;
    let mut subjects = subjects.map_err(BrokerFault::read)?;
    while let Some(counted) = subjects.next().await {
        kept.dead += counted.map_err(BrokerFault::read)?.1 as u64;
    }
    Ok(Some(kept))
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
