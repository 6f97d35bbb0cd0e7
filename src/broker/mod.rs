//! Where events go beyond this machine: a stream of NATS JetStream.
//!
//! Owns: the words of the broker (this file), the connection, what a message is, the relay that
//! empties the journal into the stream, the reading of a stream, its dead notices. Never: an HTTP
//! answer, a notice that is sent. Invariant: a message that [`link::Link::publish`] calls stored has
//! been acknowledged by the stream that the settings name; one that comes twice has the same
//! `Nats-Msg-Id`.
//!
//! This file is the folder's vocabulary; it imports none of its children.

pub mod command;
pub mod complaint;
pub mod consumers;
pub mod dead;
pub mod dial;
pub mod feed;
pub mod health;
pub mod letters;
pub mod link;
pub mod message;
pub mod relay;
pub mod stream;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use std::path::PathBuf;
use std::time::Duration;

/// How a broker is reached, and what is expected of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `nats://` or `tls://` with host and port; any of them leads to the cluster.
    pub urls: Vec<String>,
    pub stream: String,
    /// Begins every subject.
    pub prefix: String,
    /// A file with a JWT and a key (`.creds`).
    pub credentials: Option<PathBuf>,
    /// A user, and the file with its password.
    pub user: Option<(String, PathBuf)>,
    /// Never without TLS, whatever the URLs say.
    pub is_tls: bool,
    /// Authorities instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Make the stream where it is not there.
    pub creates: bool,
    /// Copies of each message that the stream is expected to keep.
    pub replicas: usize,
    /// For how long the stream is expected to know a repeat.
    pub repeat_window: Duration,
    /// To connect, TLS included.
    pub connect: Duration,
    /// For the stream's acknowledgement of one message; then it is sent again.
    pub ack: Duration,
    /// For the acknowledgement of an event that is to be answered, all tries together.
    pub wait: Duration,
    /// Messages of the relay that wait for their acknowledgement.
    pub window: usize,
    /// Longest pause before what was not acknowledged is sent again.
    pub retry_max: Duration,
    /// No auctions are held when nothing was acknowledged for so long (`events.ack = "broker"`).
    pub patience: Duration,
    /// Records of auctions are relayed, too.
    pub has_auctions: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            stream: "GAVEL".to_owned(),
            prefix: "gavel".to_owned(),
            credentials: None,
            user: None,
            is_tls: false,
            ca_file: None,
            identity: None,
            creates: false,
            replicas: 3,
            repeat_window: Duration::from_secs(600),
            connect: Duration::from_secs(2),
            ack: Duration::from_secs(2),
            wait: Duration::from_secs(10),
            window: 512,
            retry_max: Duration::from_secs(5),
            patience: Duration::from_secs(15),
            has_auctions: false,
        }
    }
}

/// Why a message is not in the stream, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum BrokerFault {
    #[error("there is no connection to the broker")]
    Unreachable,
    #[error("the broker did not acknowledge in time")]
    Late,
    #[error("more messages wait for an acknowledgement than may")]
    Full,
    #[error("the broker refused a message")]
    Refused(#[source] PublishError),
    #[error("cannot read {}", .0.display())]
    Credentials(PathBuf, #[source] std::io::Error),
    #[error("{} holds no credentials", .0.display())]
    NoCredentials(PathBuf),
    #[error("cannot connect to the broker")]
    Connect(#[source] async_nats::ConnectError),
    #[error("cannot start a thread for the broker")]
    Thread(#[source] std::io::Error),
    #[error("the stream cannot be asked for")]
    Ask(#[source] async_nats::jetstream::context::GetStreamError),
    #[error("the stream cannot be made")]
    Make(#[source] async_nats::jetstream::context::CreateStreamError),
    #[error("there is no stream {stream}; make it with: {make}")]
    NoStream { stream: String, make: String },
    #[error("the stream {stream} is no place for money: {why}")]
    Unfit { stream: String, why: String },
    #[error("the stream has no leader")]
    Leaderless,
    #[error("the stream reaches to {last}, and gives nothing behind {at}")]
    Short { at: u64, last: u64 },
    #[error("more than {0} notices wait there (`notices.letters_max`)")]
    Many(usize),
    #[error("the stream cannot be read")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("message {0} of the stream cannot be removed; what became of it stands in the stream")]
    Remove(u64, #[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<PublishError> for BrokerFault {
    fn from(fault: PublishError) -> Self {
        match fault.kind() {
            PublishErrorKind::TimedOut => Self::Late,
            PublishErrorKind::BrokenPipe => Self::Unreachable,
            PublishErrorKind::MaxAckPending => Self::Full,
            _ => Self::Refused(fault),
        }
    }
}

impl BrokerFault {
    /// Something else than a message could not be had.
    fn read(fault: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Read(Box::new(fault))
    }

    /// Whether the same may be taken a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable | Self::Late | Self::Full => true,
            // nobody answers for the stream: its next leader is being chosen
            Self::Refused(fault) => fault.kind() == PublishErrorKind::StreamNotFound,
            _ => false,
        }
    }
}
