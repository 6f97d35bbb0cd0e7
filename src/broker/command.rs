//! `gavel events`: what the stream holds, for people and other programs.
//!
//! Owns: the arguments and the order of a reading. Never: a change to the stream. Invariant: every
//! record that the stream held when the reading began is written, as `gavel journal export` writes
//! it; what is no record is said.

use super::message::{self, probe_subject};
use super::{BrokerFault, Settings, dial};
use crate::clock;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Context, Message as Taken};
use futures_util::StreamExt;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Without a message for so long the stream is not read any further.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Pause before a stream without a leader is asked again.
const LEADER_AGAIN: Duration = Duration::from_millis(100);

/// What can be asked of the stream, also while it is written.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum EventsCommand {
    /// Write all records of the stream as JSON lines, as `gavel journal export` does; `gavel ledger`
    /// reads them.
    Pull {
        /// The main file: its `[broker]` says where the stream is.
        #[arg(long)]
        config: PathBuf,
        /// First sequence of the stream.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        from: u64,
        /// A file instead of standard output.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// Why nothing could be read, or written.
#[derive(Debug, thiserror::Error)]
pub enum PullFault {
    #[error("cannot start")]
    Start(#[source] io::Error),
    #[error(transparent)]
    Broker(#[from] BrokerFault),
    #[error("cannot write {0}")]
    Write(String, #[source] io::Error),
}

/// Writes the stream; answers what in it is no record.
pub fn pull(
    settings: &Settings,
    from: u64,
    out: Option<&PathBuf>,
) -> Result<Vec<String>, PullFault> {
    let name = out.map_or("standard output".to_owned(), |path| path.display().to_string());
    let cannot = |cause| PullFault::Write(name.clone(), cause);
    let mut file: Box<dyn Write> = match out {
        None => Box::new(BufWriter::new(io::stdout().lock())),
        Some(path) => Box::new(BufWriter::new(File::create(path).map_err(cannot)?)),
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().map_err(PullFault::Start)?;
    let written = runtime.block_on(read(settings, from, &mut *file));
    match written {
        Ok(faults) => file.flush().map_err(cannot).map(|()| faults),
        Err(Ended::Broker(fault)) => Err(fault.into()),
        // whoever closes it (`| head`) has seen enough
        Err(Ended::Write(fault)) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(Vec::new()),
        Err(Ended::Write(fault)) => Err(cannot(fault)),
    }
}

enum Ended {
    Broker(BrokerFault),
    Write(io::Error),
}

fn unread(fault: impl Error + Send + Sync + 'static) -> Ended {
    Ended::Broker(BrokerFault::Read(Box::new(fault)))
}

/// The stream as one of its servers sees it that knows its leader: another one may have been away, and
/// does not know yet what it lacks.
async fn led(context: &Context, name: &str) -> Result<Stream, BrokerFault> {
    let until = clock::timer() + SILENCE_MAX;
    let mut why = BrokerFault::Leaderless;
    while clock::timer() < until {
        match context.get_stream(name).await {
            Ok(stream) => {
                let cluster = stream.cached_info().cluster.as_ref();
                if cluster.is_none_or(|cluster| cluster.leader.is_some()) {
                    return Ok(stream);
                }
                why = BrokerFault::Leaderless;
            }
            // nobody may lead those who would answer
            Err(fault) if fault.kind() == GetStreamErrorKind::Request => {
                why = BrokerFault::Ask(fault);
            }
            Err(fault) => return Err(BrokerFault::Ask(fault)),
        }
        tokio::time::sleep(LEADER_AGAIN).await;
    }
    Err(why)
}

/// The last message within bounds that has not been removed, as dead notices are when they are closed.
async fn last_there(stream: &Stream, from: u64, last: u64) -> Result<Option<u64>, Ended> {
    for at in (from..=last).rev() {
        match stream.get_raw_message(at).await {
            Ok(_) => return Ok(Some(at)),
            Err(fault) if fault.kind() == RawMessageErrorKind::NoMessageFound => {}
            Err(fault) => return Err(unread(fault)),
        }
    }
    Ok(None)
}

async fn read(settings: &Settings, from: u64, out: &mut dyn Write) -> Result<Vec<String>, Ended> {
    let options = dial::options(settings).map_err(Ended::Broker)?;
    let client = options.connect(&settings.urls[..]).await;
    let client = client.map_err(|fault| Ended::Broker(BrokerFault::Connect(fault)))?;
    let stream = led(&jetstream::new(client), &settings.stream).await.map_err(Ended::Broker)?;
    let state = &stream.cached_info().state;
    let at = from.max(state.first_sequence).saturating_sub(1);
    let mut pull = Pull { at, last: state.last_sequence, out, faults: Vec::new() };
    let mut until = clock::timer() + SILENCE_MAX;
    loop {
        let before = pull.at;
        match pull.go_on(&stream, &settings.prefix).await {
            Ok(()) => return Ok(pull.faults),
            // an election costs a question or a consumer, not the rest of the stream
            Err(Ended::Broker(BrokerFault::Read(_)))
                if pull.at > before || clock::timer() < until =>
            {
                if pull.at > before {
                    until = clock::timer() + SILENCE_MAX;
                }
                tokio::time::sleep(LEADER_AGAIN).await;
            }
            Err(ended) => return Err(ended),
        }
    }
}

/// How far the stream is written.
struct Pull<'o> {
    /// Place of the last message that is written, and of the last that is to be.
    at: u64,
    last: u64,
    out: &'o mut dyn Write,
    faults: Vec<String>,
}

impl Pull<'_> {
    /// Writes what is behind `at`, until `last` or a fault.
    async fn go_on(&mut self, stream: &Stream, prefix: &str) -> Result<(), Ended> {
        let Some(mut last) = last_there(stream, self.at + 1, self.last).await? else {
            return Ok(());
        };
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.at + 1 },
            replay_policy: ReplayPolicy::Instant,
            ..OrderedConfig::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(unread)?;
        let mut messages = consumer.messages().await.map_err(unread)?;
        // not until nothing is pending: the server that reads for us may be behind the stream's leader
        while self.at < last {
            let next = tokio::time::timeout(SILENCE_MAX, messages.next()).await;
            let Ok(Some(message)) = next else {
                // a dead notice may have been closed meanwhile
                match last_there(stream, self.at + 1, last).await? {
                    Some(there) if there == last => {
                        return Err(Ended::Broker(BrokerFault::Short { at: self.at, last }));
                    }
                    Some(there) => last = there,
                    None => break,
                }
                continue;
            };
            self.take(&message.map_err(unread)?, prefix)?;
        }
        Ok(())
    }

    fn take(&mut self, message: &Taken, prefix: &str) -> Result<(), Ended> {
        let info = message.info().map_err(|fault| Ended::Broker(BrokerFault::Read(fault)))?;
        let sequence = info.stream_sequence;
        match message::line(sequence, &message.payload) {
            Some(line) => writeln!(self.out, "{line}").map_err(Ended::Write)?,
            None if *message.subject == *probe_subject(prefix) => {}
            None => {
                let subject = &message.subject;
                self.faults.push(format!("message {sequence} ({subject}) is no record"));
            }
        }
        self.at = sequence;
        Ok(())
    }
}
