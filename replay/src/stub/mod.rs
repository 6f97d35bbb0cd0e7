//! Simulated bidders: HTTP/1.1 servers on loopback that answer bid requests by a seeded model.
//!
//! Owns: their threads and listening sockets. [`spawn`] runs them in this process; `process` in
//! a child of its own, so that what they cost is not counted with what is measured. What each one
//! saw is on `/stats` of every port, and in [`Handle::stats`].

mod answer;
mod model;
pub mod process;
mod read;
mod server;
pub mod spec;
pub mod stats;

use server::Server;
use spec::StubSpec;
use stats::{BidderStats, Counters};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

/// Why simulated bidders cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StubError {
    #[error("port {port} for bidder {name:?} cannot be had")]
    Bind { name: String, port: u16, source: io::Error },
    #[error("the simulated bidders cannot be set up")]
    SetUp(#[source] io::Error),
}

/// What the threads share.
struct Shared {
    spec: StubSpec,
    counters: Vec<Counters>,
    is_stopped: AtomicBool,
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Relaxed)
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
pub fn spawn(spec: StubSpec) -> Result<Handle, StubError> {
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
    let count = spec.threads.max(1);
    let counters = spec.bidders.iter().map(|_| Counters::default()).collect();
    let shared = Arc::new(Shared { spec, counters, is_stopped: AtomicBool::new(false) });
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
