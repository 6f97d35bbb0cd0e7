//! Whether a stream is a place for money.
//!
//! Owns: what is asked of a stream, the command that makes one. Never: a message. Invariant: a stream
//! that would lose what it acknowledged, acknowledges nothing, or takes no large event, is no place; one that is
//! only weaker than asked for is written to, and said so. Whether the broker syncs its disk before
//! it acknowledges (`sync_interval: always`) it does not tell.

use super::message::{MESSAGE_BYTES_MAX, subjects};
use super::{BrokerFault, Settings};
use async_nats::datetime::DateTime;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

/// A stream that may be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it lacks of what was asked for.
    pub weaknesses: Vec<String>,
    /// When it was made: another one of the same name has another time.
    pub made: DateTime,
}

/// Looks at the stream, makes it where that is wanted.
pub async fn ensure(context: &Context, settings: &Settings) -> Result<Place, BrokerFault> {
    let name = &settings.stream;
    let info = match context.get_stream(name).await {
        Ok(stream) => stream.cached_info().clone(),
        Err(fault) => match fault.kind() {
            GetStreamErrorKind::JetStream(cause)
                if cause.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                if !settings.creates {
                    let (stream, make) = (name.clone(), command(settings));
                    return Err(BrokerFault::NoStream { stream, make });
                }
                let made = context.create_stream(wanted(settings)).await;
                let made = made.map_err(BrokerFault::Make)?;
                tracing::info!(stream = %name, "made a stream at the broker");
                made.cached_info().clone()
            }
            _ => return Err(BrokerFault::Ask(fault)),
        },
    };
    let too_small = || small(&info.config, context.client().max_payload());
    match unfit(&info.config, settings).or_else(too_small) {
        Some(why) => Err(BrokerFault::Unfit { stream: name.clone(), why }),
        None => Ok(Place { weaknesses: weaknesses(&info.config, settings), made: info.created }),
    }
}

/// As it should be.
fn wanted(settings: &Settings) -> Config {
    Config {
        name: settings.stream.clone(),
        subjects: vec![subjects(&settings.prefix)],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        num_replicas: settings.replicas,
        duplicate_window: settings.repeat_window,
        ..Config::default()
    }
}

/// What makes such a stream.
fn command(settings: &Settings) -> String {
    format!(
        "nats stream add {} --subjects '{}' --storage file --replicas {} --retention limits \
         --discard new --dupe-window {}s --defaults",
        settings.stream,
        subjects(&settings.prefix),
        settings.replicas,
        settings.repeat_window.as_secs()
    )
}

/// Why nothing may be written to it.
fn unfit(config: &Config, settings: &Settings) -> Option<String> {
    let subjects = subjects(&settings.prefix);
    let is_covered = config.subjects.iter().any(|one| *one == subjects || one == ">");
    if !is_covered {
        return Some(format!("its subjects are {:?}, not '{subjects}'", config.subjects));
    }
    if config.storage != StorageType::File {
        return Some("it is kept in memory, not in files".to_owned());
    }
    if config.retention != RetentionPolicy::Limits {
        return Some("its retention is not `limits`: what a reader has taken goes".to_owned());
    }
    if config.max_messages_per_subject > 0 {
        let most = config.max_messages_per_subject;
        return Some(format!(
            "it keeps {most} messages of a subject (`max_msgs_per_subject`): newer ones push older ones out"
        ));
    }
    config.no_ack.then(|| "it acknowledges nothing (`no_ack`)".to_owned())
}

/// Why it would take small events only; the server has a bound of its own.
fn small(config: &Config, payload_max: usize) -> Option<String> {
    let message_max = usize::try_from(config.max_message_size).ok().filter(|most| *most > 0);
    let (key, most) = match message_max {
        Some(most) if most < payload_max => ("max_msg_size", most),
        _ => ("the server's max_payload", payload_max),
    };
    (most < MESSAGE_BYTES_MAX).then(|| {
        format!(
            "it takes messages of {most} bytes (`{key}`), and an event may have {MESSAGE_BYTES_MAX}"
        )
    })
}

/// What it lacks of what was asked for.
fn weaknesses(config: &Config, settings: &Settings) -> Vec<String> {
    let mut found = Vec::new();
    if config.num_replicas < settings.replicas {
        let (have, want) = (config.num_replicas, settings.replicas);
        found.push(format!("it keeps {have} copies of a message, `broker.replicas` is {want}"));
    }
    let is_bounded = config.max_bytes > 0 || config.max_messages > 0;
    if is_bounded && config.discard == DiscardPolicy::Old {
        found.push("when it is full it drops the oldest messages (discard old)".to_owned());
    }
    if !config.max_age.is_zero() {
        found.push(format!(
            "it drops messages after {} s (`max_age`), read or not",
            config.max_age.as_secs()
        ));
    }
    if config.duplicate_window < settings.repeat_window {
        let (have, want) = (config.duplicate_window.as_secs(), settings.repeat_window.as_secs());
        found.push(format!(
            "it knows a repeat for {have} s, `broker.repeat_window` is {want} s: later ones stand in \
             it twice"
        ));
    }
    if config.deny_delete {
        found
            .push("it lets nobody remove a message: dead notices that were closed stay".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_made_is_what_is_wanted() {
        let settings = Settings::default();
        let made = wanted(&settings);
        assert_eq!(unfit(&made, &settings), None);
        assert_eq!(weaknesses(&made, &settings), Vec::<String>::new());
        let command = command(&settings);
        for part in ["add GAVEL", "'gavel.>'", "--replicas 3", "--dupe-window 600s"] {
            assert!(command.contains(part), "{command}");
        }
    }

    #[test]
    fn a_stream_that_may_lose_what_it_acknowledged_is_told_from_a_weak_one() {
        let settings = Settings::default();
        let good = || wanted(&settings);
        for (bad, word) in [
            (Config { storage: StorageType::Memory, ..good() }, "memory"),
            (Config { subjects: vec!["gavel.event.>".to_owned()], ..good() }, "subjects"),
            (Config { retention: RetentionPolicy::WorkQueue, ..good() }, "retention"),
            (Config { no_ack: true, ..good() }, "no_ack"),
            (Config { max_messages_per_subject: 1, ..good() }, "max_msgs_per_subject"),
        ] {
            let why = unfit(&bad, &settings).unwrap();
            assert!(why.contains(word), "{why}");
        }
        for (weak, word) in [
            (Config { num_replicas: 1, ..good() }, "copies"),
            (Config { max_bytes: 1, discard: DiscardPolicy::Old, ..good() }, "oldest"),
            (Config { max_age: Duration::from_secs(8), ..good() }, "max_age"),
            (Config { duplicate_window: Duration::from_secs(120), ..good() }, "repeat"),
        ] {
            assert_eq!(unfit(&weak, &settings), None);
            let found = weaknesses(&weak, &settings);
            assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        }
        assert_eq!(unfit(&Config { subjects: vec![">".to_owned()], ..good() }, &settings), None);
    }

    #[test]
    fn a_stream_that_takes_no_large_event_is_no_place() {
        let made = |most| Config { max_message_size: most, ..wanted(&Settings::default()) };
        for (most, payload_max, word) in [
            (256, 1 << 20, "max_msg_size"),
            (-1, 1 << 10, "max_payload"),
            (0, 1 << 10, "max_payload"),
        ] {
            let why = small(&made(most), payload_max).unwrap();
            assert!(why.contains(word), "{why}");
        }
        for most in [-1, 0, 64 << 10] {
            assert_eq!(small(&made(most), 1 << 20), None, "{most}");
        }
    }
}
