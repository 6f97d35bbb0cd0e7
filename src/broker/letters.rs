//! The dead notices of a stream, for people.
//!
//! Owns: [`Letters`], the order of the steps that close one. Never: a try to send one, a text for
//! people. Invariants: what becomes of a dead notice the stream decides, once: it takes one closing
//! of it and no second; only then the dead notice goes. Whatever interrupts that, the same done
//! again ends it, and a closed one is not listed meanwhile.
//!
//! The server that leads the stream is asked for one message after the other: it alone knows all of
//! them, and what has been removed.

use super::dead::{Closing, DeadNotice, dead_subject, dead_subjects};
use super::message::Message;
use super::{BrokerFault, Settings, dial};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Context};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use tokio::runtime::Runtime;

/// Most that are listed at once; the oldest of them.
pub const LETTERS_MAX: usize = 100_000;

/// A connection to the stream for as long as a command takes. Blocks.
#[derive(Debug)]
pub struct Letters {
    runtime: Runtime,
    desk: Desk,
}

#[derive(Debug)]
struct Desk {
    context: Context,
    stream: Stream,
    prefix: String,
}

/// What the stream holds of dead notices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// In the order in which they died.
    pub open: Vec<DeadNotice>,
    /// Closed, and not removed: whoever did it was interrupted.
    pub left: Vec<DeadNotice>,
}

impl Letters {
    /// Connects; the stream must be there.
    pub fn open(settings: &Settings) -> Result<Self, BrokerFault> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().map_err(BrokerFault::Thread)?;
        let desk = runtime.block_on(async {
            let options = dial::options(settings)?;
            let client = options.connect(&settings.urls[..]).await.map_err(BrokerFault::Connect)?;
            let context = jetstream::new(client);
            let stream = context.get_stream(&settings.stream).await.map_err(BrokerFault::Ask)?;
            Ok::<_, BrokerFault>(Desk { context, stream, prefix: settings.prefix.clone() })
        })?;
        Ok(Self { runtime, desk })
    }

    /// All that died before now, at most [`LETTERS_MAX`]; of one bidder where one is named, and then
    /// no other is asked for.
    pub fn list(&self, bidder: Option<&str>) -> Result<Found, BrokerFault> {
        self.runtime.block_on(self.desk.list(bidder))
    }

    /// Closes one, and removes it; `false`: it had been closed otherwise, which it stays.
    /// [`BrokerFault::Remove`]: it is closed, and cannot be removed.
    pub fn close(
        &self,
        dead: &DeadNotice,
        closing: &Closing,
        now_us: u64,
    ) -> Result<bool, BrokerFault> {
        let message = dead.closed(&self.desk.prefix, closing, now_us);
        self.runtime.block_on(async {
            let is_so = self.desk.decide(&message).await?;
            self.desk.remove(dead).await?;
            Ok(is_so)
        })
    }

    /// Removes one that is closed. Where that does not go it is not listed all the same.
    pub fn remove(&self, dead: &DeadNotice) -> Result<(), BrokerFault> {
        self.runtime.block_on(self.desk.remove(dead))
    }
}

fn read(fault: impl Error + Send + Sync + 'static) -> BrokerFault {
    BrokerFault::Read(Box::new(fault))
}

impl Desk {
    async fn list(&self, bidder: Option<&str>) -> Result<Found, BrokerFault> {
        let last = self.stream.get_info().await.map_err(read)?.state.last_sequence;
        let mut dead = BTreeMap::<u64, DeadNotice>::new();
        let mut numbers = BTreeMap::<String, u64>::new();
        let all = || dead_subjects(&self.prefix);
        let subjects = bidder.map_or_else(all, |bidder| dead_subject(&self.prefix, bidder));
        let mut at = 1;
        while dead.len() < LETTERS_MAX
            && let Some(message) = self.next(&subjects, at).await?
            && message.sequence <= last
        {
            at = message.sequence + 1;
            let Some(one) = DeadNotice::read(message.sequence, &message.payload) else { continue };
            let number = *numbers.entry(one.key()).or_insert(message.sequence);
            dead.entry(number)
                .and_modify(|known| known.places.push(message.sequence))
                .or_insert(one);
        }
        let mut found = Found::default();
        for one in dead.into_values() {
            let is_closed = self.closing(&one.closed_subject(&self.prefix)).await?.is_some();
            if is_closed { found.left.push(one) } else { found.open.push(one) }
        }
        Ok(found)
    }

    /// What became of a dead notice.
    async fn closing(&self, subject: &str) -> Result<Option<StreamMessage>, BrokerFault> {
        there(self.stream.get_last_raw_message_by_subject(subject).await)
    }

    async fn next(&self, subjects: &str, from: u64) -> Result<Option<StreamMessage>, BrokerFault> {
        let asked = self.stream.raw_message_builder().sequence(from).next_by_subject(subjects);
        there(asked.send().await)
    }

    /// Whether the stream has this closing, now or before, and not another one.
    async fn decide(&self, closing: &Message) -> Result<bool, BrokerFault> {
        let publish = PublishMessage::build()
            .payload(closing.payload.clone())
            .message_id(&closing.id)
            .expected_stream(&self.stream.cached_info().config.name)
            .expected_last_subject_sequence(0);
        let sent = self.context.send_publish(closing.subject.clone(), publish).await;
        let stored = match sent {
            Ok(sent) => sent.await,
            Err(fault) => Err(fault),
        };
        match stored {
            Ok(_) => Ok(true),
            Err(fault) if fault.kind() == PublishErrorKind::WrongLastSequence => {
                // one that nobody can show decides nothing
                let known = self.closing(&closing.subject).await?;
                let known = known.ok_or(BrokerFault::Refused(fault))?;
                Ok(kind(&known.payload) == kind(&closing.payload))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn remove(&self, dead: &DeadNotice) -> Result<(), BrokerFault> {
        for place in &dead.places {
            if let Err(fault) = self.stream.delete_message(*place).await
                && there(self.stream.get_raw_message(*place).await)?.is_some()
            {
                return Err(BrokerFault::Remove(*place, Box::new(fault)));
            }
        }
        Ok(())
    }
}

fn there(
    asked: Result<StreamMessage, RawMessageError>,
) -> Result<Option<StreamMessage>, BrokerFault> {
    match asked {
        Ok(message) => Ok(Some(message)),
        Err(fault) if fault.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(fault) => Err(read(fault)),
    }
}

fn kind(payload: &[u8]) -> Option<String> {
    let line: Value = serde_json::from_slice(payload).ok()?;
    line.get("type").and_then(Value::as_str).map(str::to_owned)
}
