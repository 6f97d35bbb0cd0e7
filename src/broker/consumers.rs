//! The consumers of notices, which all replicas share.
//!
//! Owns: [`Source`], how its consumer is made, and what of one that is there is put right. Never: a
//! notice. Invariants: one that is there is never weakened; what waits for one bidder takes no room from
//! another: a consumer hands out all it has, and each process keeps what it takes within its own bounds.
//!
//! So what is not settled is bounded by the events of a `notices.retry.span` alone. The servers keep some
//! 400 bytes of memory for each; [`FeedSettings::many`] says from how many on they complain.

use super::BrokerFault;
use super::dead::closed_subjects;
use super::link::Link;
use super::message::event_subjects;
use crate::clock;
use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, FromConsumer, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use std::time::Duration;
use tracing::{error, info};

/// Events that came while the first start makes the consumer are no older.
const YOUNG: Duration = Duration::from_secs(60);

/// Whose consumers they are, and how they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedSettings {
    /// Events go to the stream alone (`events.ack = "broker"`): a consumer that is not there is made.
    /// Otherwise one is there where events did so before, and what is left of them is sent.
    pub is_sole: bool,
    /// For so long a notice belongs to the replica that took it.
    pub hold: Duration,
    /// For so long a notice is tried: where nobody knows what was settled, older ones are.
    pub span: Duration,
    /// More of them that are not settled are too many.
    pub many: usize,
}

/// What asks for a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Events,
    /// Dead notices that people want sent again.
    Again,
}

impl Source {
    pub const ALL: [Self; 2] = [Self::Events, Self::Again];

    fn subjects(self, prefix: &str) -> String {
        match self {
            Self::Events => event_subjects(prefix),
            Self::Again => closed_subjects(prefix),
        }
    }

    /// The consumer's name. Another prefix on the same stream is another exchange, with notices of
    /// its own.
    pub fn consumer(self, prefix: &str) -> String {
        let prefix = prefix.replace('.', "_");
        match self {
            Self::Events => format!("{prefix}-notices"),
            Self::Again => format!("{prefix}-again"),
        }
    }
}

/// As it should be.
fn wanted(prefix: &str, source: Source, hold: Duration) -> pull::Config {
    pull::Config {
        durable_name: Some(source.consumer(prefix)),
        filter_subject: source.subjects(prefix),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: hold,
        max_deliver: -1,
        max_ack_pending: -1,
        ..pull::Config::default()
    }
}

/// The consumer, put right where it was made otherwise; `None`: it is not there, and not ours to make.
pub async fn open(
    link: &Link,
    settings: FeedSettings,
    source: Source,
) -> Result<Option<Consumer<pull::Config>>, BrokerFault> {
    let stream = link.context().get_stream(&link.settings().stream).await;
    let stream = stream.map_err(BrokerFault::Ask)?;
    let wanted = wanted(&link.settings().prefix, source, settings.hold);
    let name = source.consumer(&link.settings().prefix);
    let info = match stream.consumer_info(&name).await {
        Ok(info) => info,
        Err(fault) if matches!(fault.kind(), ConsumerInfoErrorKind::NotFound) => {
            if !settings.is_sole {
                return Ok(None);
            }
            return make(&stream, &name, wanted, settings.span).await.map(Some);
        }
        Err(fault) => return Err(BrokerFault::read(fault)),
    };
    let known = pull::Config::try_from_consumer_config(info.config.clone());
    let known = known.map_err(BrokerFault::Read)?;
    if known.filter_subject != wanted.filter_subject || known.ack_policy != wanted.ack_policy {
        error!(%name, subject = %known.filter_subject, "the consumer is none of ours: notices may be lost");
    }
    if let Some(better) = raised(&known, &wanted) {
        match stream.create_consumer(better).await {
            Ok(consumer) => return Ok(Some(consumer)),
            Err(fault) => error!(%name, %fault, "the consumer of notices stays as it was made"),
        }
    }
    Ok(Some(Consumer::new(known, info, link.context().clone())))
}

/// Where there are events already, nobody knows any more which of their notices were delivered.
async fn make(
    stream: &Stream,
    name: &str,
    mut wanted: pull::Config,
    span: Duration,
) -> Result<Consumer<pull::Config>, BrokerFault> {
    let first = stream.raw_message_builder().sequence(1).next_by_subject(&wanted.filter_subject);
    match first.send().await {
        Ok(first) => {
            let now = clock::wall();
            let since = now.saturating_sub(span);
            if first.time < DateTime::UNIX_EPOCH + now.saturating_sub(YOUNG) {
                error!(
                    %name,
                    since_s = since.as_secs(),
                    "a consumer of notices was not there, and the stream has events: those since then are told, perhaps again"
                );
            }
            let start_time = DateTime::UNIX_EPOCH + since;
            wanted.deliver_policy = DeliverPolicy::ByStartTime { start_time };
        }
        Err(fault) if fault.kind() == RawMessageErrorKind::NoMessageFound => {
            info!(%name, "made a consumer of notices at the broker");
        }
        Err(fault) => return Err(BrokerFault::read(fault)),
    }
    stream.create_consumer(wanted).await.map_err(BrokerFault::read)
}

/// With what was less than wanted as it is wanted; `None`: nothing was.
fn raised(known: &pull::Config, wanted: &pull::Config) -> Option<pull::Config> {
    let unbounded = |count: i64| if count < 0 { count } else { -1 };
    let better = pull::Config {
        ack_wait: known.ack_wait.max(wanted.ack_wait),
        max_deliver: unbounded(known.max_deliver),
        max_ack_pending: unbounded(known.max_ack_pending),
        ..known.clone()
    };
    (better != *known).then_some(better)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_that_is_there_is_raised_and_never_weakened() {
        let wanted = wanted("g", Source::Events, Duration::from_secs(17));
        assert_eq!(raised(&wanted, &wanted), None);
        let long = pull::Config { ack_wait: Duration::from_secs(60), ..wanted.clone() };
        assert_eq!(raised(&long, &wanted), None);
        for known in [
            pull::Config { ack_wait: Duration::from_secs(5), ..wanted.clone() },
            pull::Config { max_ack_pending: 100, ..wanted.clone() },
            pull::Config { max_deliver: 3, ..wanted.clone() },
        ] {
            assert_eq!(raised(&known, &wanted), Some(wanted.clone()), "{known:?}");
        }
    }
}
