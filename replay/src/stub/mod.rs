//! Simulated bidders: HTTP/1.1 servers on loopback that answer bid requests by a seeded model, or
//! as the bidders of a recording did.
//!
//! Owns: their threads and listening sockets. [`spawn`] runs them in this process; `process` in
//! a child of its own, so that what they cost is not counted with what is measured. What each one
//! saw is on `/stats` of every port, and in [`Handle::stats`].

mod answer;
mod model;
pub mod process;
mod read;
pub mod recorded;
mod secure;
mod server;
pub mod spec;
pub mod stats;

use read::Wanted;
use recorded::likeness::Likeness;
use recorded::{Answer, Recorded, RecordedError, Taken};
use rustls::ServerConfig;
use server::Server;
use spec::{SpecError, StubSpec};
use stats::{BidderStats, Counters};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

/// Why simulated bidders cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StubError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("port {port} for bidder {name:?} cannot be had")]
    Bind { name: String, port: u16, source: io::Error },
    #[error("the simulated bidders cannot be set up")]
    SetUp(#[source] io::Error),
    #[error("the recording cannot be answered from")]
    Recorded(#[source] RecordedError),
    #[error("no certificate can be made")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the certificate authority cannot be written to {path}")]
    Authority { path: PathBuf, source: io::Error },
}

/// What the threads share.
struct Shared {
    spec: StubSpec,
    recorded: Recorded,
    counters: Vec<Counters>,
    /// For callers that begin with TLS.
    tls: Option<Arc<ServerConfig>>,
    is_stopped: AtomicBool,
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Relaxed)
    }

    /// What a bidder of the recording said to such a request; none where it is not in one.
    fn recorded_answer(&self, bidder: usize, wanted: &Wanted, body: &[u8]) -> Option<&Answer> {
        let answers = self.recorded.of(&self.spec.bidders.get(bidder)?.name)?;
        // bidders draw apart from each other
        let seed = self.spec.seed.wrapping_add((bidder as u64) << 32);
        let (answer, likeness) = answers.choose(seed, wanted, body)?;
        let counters = self.counters.get(bidder)?;
        let counter = match likeness {
            Likeness::Same => &counters.same,
            Likeness::Alike => &counters.alike,
            Likeness::Offer | Likeness::Any => &counters.drawn,
        };
        Counters::add(counter, 1);
        Some(answer)
    }

    fn stats(&self) -> Vec<BidderStats> {
        let bidders = self.spec.bidders.iter().zip(&self.counters);
        bidders.map(|(bidder, counters)| counters.read(&bidder.name)).collect()
    }
}

/// Running bidders; they end when it is dropped.
pub struct Handle {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// Starts simulated bidders in threads of this process.
pub fn spawn(mut spec: StubSpec) -> Result<Handle, StubError> {
    spec.check()?;
    let recorded = match &spec.recorded {
        Some(path) => Recorded::load(path, &spec).map_err(StubError::Recorded)?,
        None => Recorded::default(),
    };
    spec.complete(recorded.names());
    let mut listeners = Vec::new();
    for bidder in &spec.bidders {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, bidder.port));
        listeners.push(listener.map_err(|source| StubError::Bind {
            name: bidder.name.clone(),
            port: bidder.port,
            source,
        })?);
    }
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>();
    let count = spec.threads;
    let counters = spec.bidders.iter().map(|_| Counters::default()).collect();
    let tls = spec.ca_file.as_deref().map(secure::certify).transpose()?;
    let is_stopped = AtomicBool::new(false);
    let shared = Arc::new(Shared { spec, recorded, counters, tls, is_stopped });
    let mut handle =
        Handle { shared, addresses: addresses.map_err(StubError::SetUp)?, threads: Vec::new() };
    for _ in 0..count {
        let own = listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>();
        let (own, shared) = (own.map_err(StubError::SetUp)?, Arc::clone(&handle.shared));
        let work = move || Server::new(&shared, own)?.run();
        let builder = std::thread::Builder::new().name("stub".to_owned());
        handle.threads.push(builder.spawn(work).map_err(StubError::SetUp)?);
    }
    Ok(handle)
}

impl Handle {
    /// One for each bidder, in the order of the specification.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Their names, in the same order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shared.spec.bidders.iter().map(|bidder| bidder.name.as_str())
    }

    /// What was taken of the recording.
    pub fn taken(&self) -> &Taken {
        &self.shared.recorded.taken
    }

    /// What each bidder has seen.
    pub fn stats(&self) -> Vec<BidderStats> {
        self.shared.stats()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // a thread that failed has nothing left to end
            let _ = thread.join();
        }
    }
}

/// All counters as JSON.
fn stats_json(shared: &Shared) -> String {
    serde_json::to_string(&shared.stats()).unwrap_or_default()
}
