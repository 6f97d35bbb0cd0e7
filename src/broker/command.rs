//! `gavel events`: what the stream holds, for people and other programs.
//!
//! Owns: the arguments and the order of a reading. Never: a change to the stream. Invariant: every
//! record that the stream held when the reading began is written, as `gavel journal export` writes
//! it; what is no record is said.

use super::message::{self, probe_subject};
use super::{BrokerFault, Settings, dial};
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy};
use async_nats::jetstream::{self, stream::Stream};
use futures_util::StreamExt;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Without a message for so long the stream is not read any further.
const SILENCE_MAX: Duration = Duration::from_secs(30);

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

async fn read(settings: &Settings, from: u64, out: &mut dyn Write) -> Result<Vec<String>, Ended> {
    let options = dial::options(settings).await.map_err(Ended::Broker)?;
    let client = options.connect(&settings.urls[..]).await;
    let client = client.map_err(|fault| Ended::Broker(BrokerFault::Connect(fault)))?;
    let stream = jetstream::new(client).get_stream(&settings.stream).await;
    let stream: Stream = stream.map_err(|fault| Ended::Broker(BrokerFault::Ask(fault)))?;
    let state = stream.cached_info().state.clone();
    let mut faults = Vec::new();
    if state.messages == 0 || state.last_sequence < from {
        return Ok(faults);
    }
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
        replay_policy: ReplayPolicy::Instant,
        ..OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(unread)?;
    let mut messages = consumer.messages().await.map_err(unread)?;
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, messages.next()).await;
        let Some(message) = next.map_err(|_| Ended::Broker(BrokerFault::Late))? else {
            return Err(Ended::Broker(BrokerFault::Unreachable));
        };
        let message = message.map_err(unread)?;
        let info = message.info().map_err(|fault| Ended::Broker(BrokerFault::Read(fault)))?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        match message::line(sequence, &message.payload) {
            Some(line) => writeln!(out, "{line}").map_err(Ended::Write)?,
            None if *message.subject == *probe_subject(&settings.prefix) => {}
            None => faults.push(format!("message {sequence} ({}) is no record", message.subject)),
        }
        if sequence >= state.last_sequence || pending == 0 {
            return Ok(faults);
        }
    }
}
