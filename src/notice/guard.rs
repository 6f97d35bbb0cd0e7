//! Which URLs of bidders we call, and which addresses we dial for them.
//!
//! Owns: [`Guard`], [`Permission`], [`Target`], [`Blocked`]. Never: a query, a socket. Invariants:
//! one parser reads a URL, and what is dialled is what it read; where one of a name's addresses may
//! not be reached, none is; an address that was not checked is not dialled.
//!
//! A notice's URL is written by whoever bids. The rules stand in `ARCHITECTURE.md`, "Whom notices
//! reach".
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::address;
use crate::bidder::Bidder;
use crate::clock;
use crate::partner::Network;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::{Host, Url};

/// The addresses of the machine are asked for again after this.
const OWN_AGE_MAX: Duration = Duration::from_secs(10);
/// Longest name of a host (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// What holds for the notices of every bidder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// Ports that may be called.
    pub ports: Vec<u16>,
    /// Ranges that may be reached although they are not of the Internet at large.
    pub allowed: Vec<Network>,
    /// Ranges that may not be reached, whatever else says so.
    pub denied: Vec<Network>,
    /// Longest URL.
    pub url_bytes_max: usize,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            ports: vec![80, 443],
            allowed: Vec::new(),
            denied: Vec::new(),
            url_bytes_max: crate::money_event::URL_BYTES_MAX,
        }
    }
}

/// Why a URL is not called, or an address not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blocked {
    /// The bidder is not (or no longer) configured.
    Bidder,
    /// Longer than `url_bytes_max`.
    Length,
    /// A byte that is not visible ASCII, or a backslash.
    Characters,
    /// Not `scheme://host...`, or no host that a name could be.
    Form,
    /// Neither https nor, where the bidder may use it, http.
    Scheme,
    /// A user or password, empty ones too.
    User,
    Fragment,
    Port,
    /// No domain of the bidder's.
    Domain,
    /// Not of the Internet at large, and not allowed by `networks_allowed`.
    Address,
    /// An address of this machine.
    OwnAddress,
    /// In `networks_denied`.
    Network,
    /// The connection leads to another address than the one that was dialled.
    Peer,
}

impl Blocked {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 13] = [
        Self::Bidder,
        Self::Length,
        Self::Characters,
        Self::Form,
        Self::Scheme,
        Self::User,
        Self::Fragment,
        Self::Port,
        Self::Domain,
        Self::Address,
        Self::OwnAddress,
        Self::Network,
        Self::Peer,
    ];

    /// Short stable code: metric label, reason of a dead letter.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bidder => "bidder",
            Self::Length => "length",
            Self::Characters => "characters",
            Self::Form => "form",
            Self::Scheme => "scheme",
            Self::User => "user",
            Self::Fragment => "fragment",
            Self::Port => "port",
            Self::Domain => "domain",
            Self::Address => "address",
            Self::OwnAddress => "own_address",
            Self::Network => "network",
            Self::Peer => "peer",
        }
    }

    /// Whether the URL itself is at fault: another try would end the same.
    pub const fn is_final(self) -> bool {
        !matches!(
            self,
            Self::Bidder | Self::Address | Self::OwnAddress | Self::Network | Self::Peer
        )
    }
}

/// Where the notices of one bidder may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    hosts: Vec<Allowed>,
    allows_http: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    /// The domain and everything under it.
    Domain(String),
    /// This host alone.
    Host(String),
    Address(IpAddr),
}

impl Permission {
    /// Of a bidder: the domains that are configured for it, else that of its endpoint.
    pub fn of(bidder: &Bidder) -> Self {
        let rules = &bidder.notices;
        let hosts = if rules.domains.is_empty() {
            vec![Allowed::of_endpoint(&bidder.endpoint.host)]
        } else {
            rules.domains.iter().map(|domain| Allowed::listed(domain)).collect()
        };
        Self { hosts, allows_http: rules.allows_http.unwrap_or(!bidder.endpoint.is_tls) }
    }

    fn has_name(&self, name: &str) -> bool {
        self.hosts.iter().any(|allowed| match allowed {
            Allowed::Domain(domain) => {
                let rest = name.strip_suffix(domain.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Allowed::Host(host) => host == name,
            Allowed::Address(_) => false,
        })
    }

    fn has_address(&self, address: IpAddr) -> bool {
        self.hosts.contains(&Allowed::Address(address))
    }
}

impl Allowed {
    fn listed(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Domain(text.to_owned()), Self::Address)
    }

    /// The registrable domain of a host. Where its suffix is on no list (`cluster.local`, a name
    /// without a dot) nobody says who else is under it: the host alone.
    fn of_endpoint(host: &str) -> Self {
        if let Ok(address) = host.parse() {
            return Self::Address(address);
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match psl::domain(host.as_bytes()).filter(|domain| domain.suffix().is_known()) {
            Some(domain) => Self::Domain(String::from_utf8_lossy(domain.as_bytes()).into_owned()),
            None => Self::Host(host),
        }
    }
}

/// Whether a text may stand in a bidder's list of domains: a domain in lower case that somebody
/// can own, or an address.
pub fn is_domain(text: &str) -> bool {
    // `co.uk` is under nobody's own domain
    let is_owned = || is_host(text) && psl::domain(text.as_bytes()).is_some();
    text.parse::<IpAddr>().is_ok() || is_owned()
}

/// A URL that may be called, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub origin: Origin,
    /// Path and query, as sent.
    pub path: String,
}

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub is_tls: bool,
    /// In lower case, without brackets and without a dot at the end.
    pub host: String,
    /// Where the host is an address.
    pub address: Option<IpAddr>,
    pub port: u16,
}

impl Origin {
    /// `Host`.
    pub fn host_field(&self) -> String {
        let host = match self.address {
            Some(IpAddr::V6(v6)) => format!("[{v6}]"),
            _ => self.host.clone(),
        };
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

/// The rules.
#[derive(Debug)]
pub struct Guard {
    settings: GuardSettings,
    own: Mutex<Own>,
}

/// The addresses of the machine, and when they were asked for.
#[derive(Debug, Default)]
struct Own {
    addresses: Vec<IpAddr>,
    asked: Option<Instant>,
}

impl Guard {
    /// With these settings.
    pub fn new(settings: GuardSettings) -> Self {
        Self { settings, own: Mutex::default() }
    }

    /// A URL that the bidder may have called, taken apart.
    pub fn target(&self, text: &str, permission: &Permission) -> Result<Target, Blocked> {
        if text.len() > self.settings.url_bytes_max {
            return Err(Blocked::Length);
        }
        // the parser would drop or mend these, and another reader might not
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(Blocked::Characters);
        }
        let (scheme, rest) = text.split_once("://").ok_or(Blocked::Form)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" if permission.allows_http => false,
            _ => return Err(Blocked::Scheme),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return Err(Blocked::Form);
        }
        if authority.contains('@') {
            return Err(Blocked::User);
        }
        let url = Url::parse(text).map_err(|_| Blocked::Form)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Blocked::User);
        }
        if url.fragment().is_some() {
            return Err(Blocked::Fragment);
        }
        let port = url.port_or_known_default().ok_or(Blocked::Port)?;
        if !self.settings.ports.contains(&port) {
            return Err(Blocked::Port);
        }
        let (host, address) = host(&url, permission)?;
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Target { origin: Origin { is_tls, host, address, port }, path })
    }

    /// What may be dialled of all the addresses of a host: all of them, or none.
    pub fn addresses(&self, found: &[IpAddr], port: u16) -> Result<Vec<SocketAddr>, Blocked> {
        for address in found {
            self.judge(*address)?;
        }
        Ok(found.iter().map(|address| SocketAddr::new(*address, port)).collect())
    }

    /// Whether a connection leads where it was dialled to.
    pub fn peer(&self, dialled: SocketAddr, peer: SocketAddr) -> Result<(), Blocked> {
        let is_same = dialled.ip().to_canonical() == peer.ip().to_canonical();
        if is_same && dialled.port() == peer.port() { Ok(()) } else { Err(Blocked::Peer) }
    }

    fn judge(&self, address: IpAddr) -> Result<(), Blocked> {
        let within = address::v4_within(address);
        let is_in = |nets: &[Network], one: IpAddr| nets.iter().any(|net| net.contains(one));
        let spellings = [Some(address), within];
        if spellings.into_iter().flatten().any(|one| is_in(&self.settings.denied, one)) {
            return Err(Blocked::Network);
        }
        if is_in(&self.settings.allowed, address) {
            return Ok(());
        }
        if !address::is_global(address) {
            return Err(Blocked::Address);
        }
        if spellings.into_iter().flatten().any(|one| self.is_own(one)) {
            return Err(Blocked::OwnAddress);
        }
        Ok(())
    }

    fn is_own(&self, address: IpAddr) -> bool {
        let now = clock::monotonic();
        // the list is whole after every assignment
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |asked: Instant| now.saturating_duration_since(asked) < OWN_AGE_MAX;
        if !own.asked.is_some_and(is_fresh) {
            *own = Own { addresses: address::own(), asked: Some(now) };
        }
        own.addresses.contains(&address)
    }
}

fn host(url: &Url, permission: &Permission) -> Result<(String, Option<IpAddr>), Blocked> {
    let address = match url.host().ok_or(Blocked::Form)? {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            if !is_host(name) {
                return Err(Blocked::Form);
            }
            let is_allowed = permission.has_name(name);
            return if is_allowed { Ok((name.to_owned(), None)) } else { Err(Blocked::Domain) };
        }
        Host::Ipv4(v4) => IpAddr::V4(v4),
        Host::Ipv6(v6) => IpAddr::V6(v6),
    };
    if permission.has_address(address) {
        Ok((address.to_string(), Some(address)))
    } else {
        Err(Blocked::Domain)
    }
}

/// Whether a name is one that a host may have: labels of a-z, 0-9, `-` and `_`.
fn is_host(name: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_plain);
    name.len() <= HOST_BYTES_MAX && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
