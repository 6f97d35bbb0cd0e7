//! One try to deliver one notice.
//!
//! Owns: [`Courier`], its connections, [`Failure`]. Never: a second try, a redirect, a cookie.
//! Invariants: nothing is dialled that [`super::guard`] has not judged; a try takes `total` at most,
//! and of its answer no more than `answer_bytes_max` are kept or waited for.
//!
//! Who delivers a durable event from a broker calls [`Courier::deliver`] as the sender does.

use super::guard::{Blocked, Guard, Origin, Permission, Target};
use crate::bidder::net::ResolveSettings;
use crate::bidder::resolve::Lookup;
use crate::bidder::response::{Fault, ReadLimits, Reading};
use crate::bidder::stream::Stream;
use crate::bidder::tls::{Tls, server_name};
use crate::clock;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Limits of a try and of the connections behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CourierSettings {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the first step to the end of the answer.
    pub total: Duration,
    /// Of the content of an answer; the rest is not waited for.
    pub answer_bytes_max: usize,
    /// Connections that are kept for another notice, and for how long.
    pub idle_connections_max: usize,
    pub idle_max: Duration,
    /// Addresses of a name that are tried.
    pub dials_max: usize,
    /// Names whose addresses are remembered.
    pub names_max: usize,
    pub resolve: ResolveSettings,
}

impl Default for CourierSettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            total: Duration::from_secs(3),
            answer_bytes_max: 4 << 10,
            idle_connections_max: 256,
            idle_max: Duration::from_secs(15),
            dials_max: 4,
            names_max: 1024,
            resolve: ResolveSettings::default(),
        }
    }
}

/// Why a notice was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// By a rule.
    Blocked(Blocked),
    /// The name has no address.
    NoName,
    /// No address takes a connection.
    Connect,
    Tls,
    Timeout,
    /// The connection ended before the answer, or the answer is none of HTTP.
    Broken,
    /// Another status than 200 to 299.
    Status(u16),
}

impl Failure {
    /// Labels of all, in the order of [`Self::index`].
    pub const LABELS: [&'static str; 7] =
        ["blocked", "no_name", "connect", "tls", "timeout", "broken", "status"];

    /// Position in [`Self::LABELS`].
    pub const fn index(self) -> usize {
        match self {
            Self::Blocked(_) => 0,
            Self::NoName => 1,
            Self::Connect => 2,
            Self::Tls => 3,
            Self::Timeout => 4,
            Self::Broken => 5,
            Self::Status(_) => 6,
        }
    }

    /// Whether another try would end the same.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Blocked(rule) if rule.is_final())
    }

    /// Whether it says something of the bidder as a whole, not of this URL.
    pub const fn is_of_bidder(self) -> bool {
        !matches!(self, Self::Blocked(_) | Self::Status(400..=428 | 430..=499))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(rule) => write!(f, "blocked: {}", rule.label()),
            Self::Status(status) => write!(f, "status {status}"),
            other => f.write_str(Self::LABELS.get(other.index()).copied().unwrap_or_default()),
        }
    }
}

/// Where the notices of a bidder may go; `None`: it is not configured. Asked for each try, so that
/// a reload counts at once.
pub type Permissions = Box<dyn Fn(&str) -> Option<Permission> + Send>;

/// Delivers.
pub struct Courier {
    guard: Guard,
    permissions: Permissions,
    settings: CourierSettings,
    tls: Tls,
    lookup: Lookup,
    names: RefCell<HashMap<String, (Vec<IpAddr>, Instant)>>,
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    origin: Origin,
    stream: Stream,
    until: Instant,
}

impl Courier {
    /// On the thread that will use it.
    pub fn new(
        guard: Guard,
        permissions: Permissions,
        settings: CourierSettings,
        tls: Tls,
    ) -> Self {
        let lookup = Lookup::new(settings.resolve.clone());
        let (names, idle) = (RefCell::default(), RefCell::default());
        Self { guard, permissions, settings, tls, lookup, names, idle }
    }

    /// One try: delivered where the answer's status is of 200 to 299.
    pub async fn deliver(&self, bidder: &str, url: &str) -> Result<(), Failure> {
        let permission = (self.permissions)(bidder).ok_or(Failure::Blocked(Blocked::Bidder))?;
        let target = self.guard.target(url, &permission).map_err(Failure::Blocked)?;
        let tried = timeout(self.settings.total, self.send(&target)).await;
        match tried.unwrap_or(Err(Failure::Timeout))? {
            200..=299 => Ok(()),
            status => Err(Failure::Status(status)),
        }
    }

    async fn send(&self, target: &Target) -> Result<u16, Failure> {
        if let Some(stream) = self.take_idle(&target.origin) {
            match self.exchange(target, stream).await {
                // closed by the other side while it was idle, before it read anything
                Err((_, false)) => {}
                ended => return ended.map_err(|(failure, _)| failure),
            }
        }
        let dialled = timeout(self.settings.connect, self.connect(&target.origin)).await;
        let stream = dialled.unwrap_or(Err(Failure::Timeout))?;
        self.exchange(target, stream).await.map_err(|(failure, _)| failure)
    }

    fn take_idle(&self, origin: &Origin) -> Option<Stream> {
        let now = clock::monotonic();
        let mut idle = self.idle.borrow_mut();
        idle.retain(|one| one.until > now);
        let at = idle.iter().position(|one| one.origin == *origin)?;
        let mut taken = idle.swap_remove(at);
        taken.stream.is_quiet().then_some(taken.stream)
    }

    async fn connect(&self, origin: &Origin) -> Result<Stream, Failure> {
        let found = self.resolve(origin).await.ok_or(Failure::NoName)?;
        let allowed = self.guard.addresses(&found, origin.port).map_err(Failure::Blocked)?;
        let stream = self.dial(&allowed).await?;
        if !origin.is_tls {
            return Ok(Stream::Plain(stream));
        }
        let name = server_name(&origin.host).ok_or(Failure::Tls)?;
        let secured = self.tls.connector(false).connect(name, stream).await;
        secured.map(|stream| Stream::Tls(Box::new(stream))).map_err(|_| Failure::Tls)
    }

    async fn dial(&self, allowed: &[SocketAddr]) -> Result<TcpStream, Failure> {
        for address in allowed.iter().take(self.settings.dials_max) {
            let Ok(stream) = TcpStream::connect(*address).await else { continue };
            let peer = stream.peer_addr().map_err(|_| Failure::Broken)?;
            self.guard.peer(*address, peer).map_err(Failure::Blocked)?;
            return Ok(stream);
        }
        Err(Failure::Connect)
    }

    async fn resolve(&self, origin: &Origin) -> Option<Vec<IpAddr>> {
        if let Some(literal) = origin.address {
            return Some(vec![literal]);
        }
        let now = clock::monotonic();
        let known = self.names.borrow().get(&origin.host).cloned();
        if let Some((list, _)) = known.filter(|(_, until)| *until > now) {
            return Some(list);
        }
        // a public name is asked for as it is, whatever the search list of the machine
        let is_public = psl::domain(origin.host.as_bytes()).is_some_and(|d| d.suffix().is_known());
        let name = if is_public { format!("{}.", origin.host) } else { origin.host.clone() };
        let (list, ttl) = self.lookup.ask(&name).await?;
        let mut names = self.names.borrow_mut();
        if names.len() >= self.settings.names_max {
            names.clear();
        }
        names.insert(origin.host.clone(), (list.clone(), now + ttl));
        Some(list)
    }

    /// The status; or why there is none, and whether the other side had said anything.
    async fn exchange(&self, target: &Target, mut stream: Stream) -> Result<u16, (Failure, bool)> {
        let message = format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: gavel\r\naccept: */*\r\n\r\n",
            target.path,
            target.origin.host_field()
        );
        let limits = ReadLimits {
            head_bytes_max: 16 << 10,
            interim_max: 8,
            wire_bytes_max: self.settings.answer_bytes_max,
        };
        let mut reading = Reading::new(limits, vec![0; 1 << 10]);
        let ended = talk(&mut stream, message.as_bytes(), &mut reading).await;
        let status = reading.head().status;
        match ended {
            Ok(()) => {
                if reading.is_reusable() {
                    self.keep(&target.origin, stream);
                }
                Ok(status)
            }
            // too long: what was to be known stands in the head
            Err(Fault::TooLarge) => Ok(status),
            Err(_) => Err((Failure::Broken, reading.has_bytes())),
        }
    }

    fn keep(&self, origin: &Origin, stream: Stream) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.settings.idle_connections_max {
            let until = clock::monotonic() + self.settings.idle_max;
            idle.push(Idle { origin: origin.clone(), stream, until });
        }
    }
}

/// Sends and reads to the end of the answer.
async fn talk(stream: &mut Stream, message: &[u8], reading: &mut Reading) -> Result<(), Fault> {
    let mut sent = 0;
    poll_fn(|cx| {
        while let Some(rest @ [_, ..]) = message.get(sent..) {
            match ready!(stream.poll_write_some(cx, rest)) {
                Ok(count @ 1..) => sent += count,
                _ => return Poll::Ready(Err(Fault::Broken)),
            }
        }
        stream.poll_push(cx).map_err(|_| Fault::Broken)
    })
    .await?;
    loop {
        let count = poll_fn(|cx| stream.poll_read_some(cx, reading.space())).await;
        match count.map_err(|_| Fault::Broken)? {
            0 => return reading.ended(),
            count if reading.received(count)? => return Ok(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
