//! Names of bidders as addresses, kept fresh off the road.
//!
//! Owns: [`Resolver`], the task on the control runtime; [`Addresses`], what the dials of a bidder
//! read. Never: a query on the road, `getaddrinfo`. Invariants: a dial never waits for DNS; after
//! a failure the last addresses serve for `stale_max` more, then the name has none.
//!
//! Address literals and `localhost` are never queried.

use crate::bidder::net::ResolveSettings;
use crate::clock;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// With nothing due, the task looks again after this.
const ROUND_MAX: Duration = Duration::from_secs(5);

/// The addresses of one name.
#[derive(Debug)]
pub struct Addresses {
    host: String,
    state: Mutex<State>,
}

/// What is known of a name, and until when.
#[derive(Debug)]
struct State {
    list: Arc<[IpAddr]>,
    /// `None`: never, the name is a literal.
    due: Option<Instant>,
    /// When the last good answer ran out.
    stale_since: Option<Instant>,
}

impl Addresses {
    fn new(host: &str, now: Instant) -> Self {
        let fixed = fixed(host);
        let state = State {
            due: fixed.is_none().then_some(now),
            list: fixed.unwrap_or_default(),
            stale_since: None,
        };
        Self { host: host.to_owned(), state: Mutex::new(state) }
    }

    /// The addresses of the moment; empty while there are none.
    pub fn list(&self) -> Arc<[IpAddr]> {
        self.lock().list.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // the state is whole after every assignment, so a panic elsewhere leaves nothing broken
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A query ended: with addresses and a time to live, or not.
    fn settle(
        &mut self,
        now: Instant,
        found: Option<(Vec<IpAddr>, Duration)>,
        settings: &ResolveSettings,
    ) {
        match found {
            Some((mut list, ttl)) if !list.is_empty() => {
                let until = now + ttl.clamp(settings.ttl_min, settings.ttl_max);
                list.truncate(settings.addresses_max);
                // an answer in another order is no change
                list.sort_unstable();
                if list[..] != self.list[..] {
                    self.list = list.into();
                }
                self.due = Some(until);
                self.stale_since = Some(until);
            }
            _ => {
                self.due = Some(now + settings.retry_after_failure);
                let is_over = |since| now.saturating_duration_since(since) > settings.stale_max;
                if self.stale_since.is_none_or(is_over) {
                    self.list = Arc::default();
                }
            }
        }
    }
}

/// Keeps the addresses of every watched name fresh.
#[derive(Debug)]
pub struct Resolver {
    settings: ResolveSettings,
    names: Mutex<HashMap<String, Arc<Addresses>>>,
    news: Notify,
    queries: AtomicU64,
    failures: AtomicU64,
}

impl Resolver {
    /// Nothing is queried before [`Self::run`].
    pub fn new(settings: ResolveSettings) -> Self {
        Self {
            settings,
            names: Mutex::default(),
            news: Notify::new(),
            queries: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// The addresses of a name, which is watched as long as somebody holds them. Over
    /// `names_max` a new name is given addresses that stay empty.
    pub fn watch(&self, host: &str) -> Arc<Addresses> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(host) {
            return known.clone();
        }
        let fresh = Arc::new(Addresses::new(host, clock::monotonic()));
        if names.len() < self.settings.names_max {
            names.insert(host.to_owned(), fresh.clone());
            self.news.notify_one();
        }
        fresh
    }

    /// Queries made and queries failed, since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.queries.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// Refreshes what is due, for ever; runs on the control runtime.
    pub async fn run(self: Arc<Self>) {
        let source = source(&self.settings);
        if source.is_none() {
            tracing::error!("no name servers are configured: bidders need address literals");
        }
        loop {
            let (due, next) = self.due(clock::monotonic());
            if !due.is_empty() {
                self.refresh(due, source.as_ref()).await;
                continue;
            }
            let wait = next.map_or(ROUND_MAX, |next| {
                next.saturating_duration_since(clock::monotonic()).min(ROUND_MAX)
            });
            // either way there is something to look at
            let _ = tokio::time::timeout(wait, self.news.notified()).await;
        }
    }

    async fn refresh(&self, due: Vec<Arc<Addresses>>, source: Option<&TokioResolver>) {
        let mut queries = JoinSet::new();
        for addresses in due {
            let Some(source) = source.cloned() else {
                self.settle(&addresses, None);
                continue;
            };
            let time = self.settings.query_time_max;
            queries.spawn(async move {
                let found = tokio::time::timeout(time, query(&source, &addresses.host)).await;
                (addresses, found.ok().flatten())
            });
        }
        while let Some(done) = queries.join_next().await {
            if let Ok((addresses, found)) = done {
                self.settle(&addresses, found);
            }
        }
    }

    fn settle(&self, addresses: &Addresses, found: Option<(Vec<IpAddr>, Duration)>) {
        self.queries.fetch_add(1, Ordering::Relaxed);
        if found.is_none() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        addresses.lock().settle(clock::monotonic(), found, &self.settings);
    }

    /// Names to query now, at most `queries_max`, and when the next one is due. Names that nobody
    /// holds any more are forgotten.
    fn due(&self, now: Instant) -> (Vec<Arc<Addresses>>, Option<Instant>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, addresses| Arc::strong_count(addresses) > 1);
        let (mut due, mut next) = (Vec::new(), None);
        for addresses in names.values() {
            let Some(at) = addresses.lock().due else { continue };
            if at <= now && due.len() < self.settings.queries_max {
                due.push(addresses.clone());
            } else {
                next = Some(next.map_or(at, |next: Instant| next.min(at)));
            }
        }
        (due, next)
    }
}

/// One query at a time, for whoever may wait for its answer.
#[derive(Debug)]
pub struct Lookup {
    source: Option<TokioResolver>,
    settings: ResolveSettings,
}

impl Lookup {
    /// With the same settings as the table's.
    pub fn new(settings: ResolveSettings) -> Self {
        Self { source: source(&settings), settings }
    }

    /// All addresses of a name, whatever their number, and how long they hold.
    pub async fn ask(&self, host: &str) -> Option<(Vec<IpAddr>, Duration)> {
        let source = self.source.as_ref()?;
        let asked = tokio::time::timeout(self.settings.query_time_max, query(source, host)).await;
        let (list, ttl) = asked.ok().flatten()?;
        Some((list, ttl.clamp(self.settings.ttl_min, self.settings.ttl_max)))
    }
}

fn source(settings: &ResolveSettings) -> Option<TokioResolver> {
    let mut builder = if settings.servers.is_empty() {
        TokioResolver::builder_tokio().ok()?
    } else {
        let servers = settings.servers.iter().map(server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    // our own table is the cache, with its own rules
    options.cache_size = 0;
    options.attempts = 1;
    builder.build().ok()
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

async fn query(source: &TokioResolver, host: &str) -> Option<(Vec<IpAddr>, Duration)> {
    let found = source.lookup_ip(host).await.ok()?;
    let list: Vec<IpAddr> = found.iter().collect();
    let ttl = found.valid_until().saturating_duration_since(clock::monotonic());
    (!list.is_empty()).then_some((list, ttl))
}

/// Names that need no query.
fn fixed(host: &str) -> Option<Arc<[IpAddr]>> {
    if let Ok(literal) = host.parse::<IpAddr>() {
        return Some([literal].into());
    }
    host.eq_ignore_ascii_case("localhost")
        .then(|| [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].into())
}

#[cfg(test)]
mod tests;
