//! A listening socket, bound with every option that matters said.
//!
//! Owns: [`bind`], the backlog asked and got. Never: an accept.
//! Invariant: accepted sockets inherit `TCP_NODELAY`, `TCP_USER_TIMEOUT` and keep-alive from
//! the listener (Linux clones them), so that no call is spent on each connection.

use crate::runtime::sock_diag;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How a listening socket is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenSettings {
    /// Connections that may wait to be accepted.
    pub backlog: Backlog,
    /// A peer that acknowledges nothing for this long is gone (1 to 60 s).
    pub user_timeout: Duration,
    /// An idle connection is probed after this (10 to 7200 s), then as often again.
    pub keepalive_after: Duration,
    /// Unanswered probes before the connection is dropped (1 to 10).
    pub keepalive_probes: u32,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            backlog: Backlog::Auto,
            user_timeout: Duration::from_secs(5),
            keepalive_after: Duration::from_secs(30),
            keepalive_probes: 3,
        }
    }
}

/// The length of the accept queue that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backlog {
    /// All that `net.core.somaxconn` allows.
    #[default]
    Auto,
    /// This many (1 to 2^31 - 1); the kernel clamps it to `net.core.somaxconn`.
    Fixed(u32),
}

impl Backlog {
    /// Asked for by `Auto` where somaxconn cannot be read: the kernel takes what it allows.
    pub const UNKNOWN: u32 = 65_535;

    /// What is asked for where the system's limit is `somaxconn`. `Auto` asks for no more: what is
    /// asked and not got is a plan that does not hold, and `Auto` plans nothing.
    pub fn asked(self, somaxconn: Option<u32>) -> u32 {
        let asked = match self {
            Self::Auto => somaxconn.unwrap_or(Self::UNKNOWN).max(1),
            Self::Fixed(asked) => asked.max(1),
        };
        asked.min(i32::MAX.unsigned_abs())
    }
}

/// A bound, listening, non-blocking socket, and what became of its backlog.
#[derive(Debug)]
pub struct Bound {
    /// Whoever holds it keeps it open; the acceptor is to be the last.
    pub listener: Arc<TcpListener>,
    pub address: SocketAddr,
    pub backlog_asked: u32,
    /// From the kernel (socket diagnostics); where it does not say, the smaller of what was asked
    /// and somaxconn.
    pub backlog_effective: u32,
}

/// A socket that could not be set up.
#[derive(Debug, Error)]
pub enum ListenFault {
    #[error("cannot open a socket for {address}")]
    Open { address: SocketAddr, source: io::Error },
    #[error("cannot set {option} on the socket for {address}")]
    Option { address: SocketAddr, option: &'static str, source: io::Error },
    #[error("cannot bind {address}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// Binds and listens.
pub fn bind(address: SocketAddr, settings: &ListenSettings) -> Result<Bound, ListenFault> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
        .map_err(|source| ListenFault::Open { address, source })?;
    set_options(&socket, address, settings)?;
    socket.bind(&address.into()).map_err(|source| ListenFault::Bind { address, source })?;
    let somaxconn = somaxconn();
    let asked = settings.backlog.asked(somaxconn);
    socket
        .listen(i32::try_from(asked).unwrap_or(i32::MAX))
        .map_err(|source| ListenFault::Listen { address, source })?;
    let listener = Arc::new(TcpListener::from(socket));
    let address =
        listener.local_addr().map_err(|source| ListenFault::Listen { address, source })?;
    let told = sock_diag::listen_queue(address).ok().flatten().map(|queue| queue.limit);
    Ok(Bound {
        backlog_effective: told.unwrap_or_else(|| asked.min(somaxconn.unwrap_or(asked))),
        backlog_asked: asked,
        listener,
        address,
    })
}

fn set_options(
    socket: &Socket,
    address: SocketAddr,
    settings: &ListenSettings,
) -> Result<(), ListenFault> {
    let keepalive = TcpKeepalive::new()
        .with_time(settings.keepalive_after)
        .with_interval(settings.keepalive_after)
        .with_retries(settings.keepalive_probes);
    let options = [
        ("SO_REUSEADDR", socket.set_reuse_address(true)),
        ("TCP_NODELAY", socket.set_tcp_nodelay(true)),
        ("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(Some(settings.user_timeout))),
        ("SO_KEEPALIVE", socket.set_tcp_keepalive(&keepalive)),
        ("O_NONBLOCK", socket.set_nonblocking(true)),
        // `::` serves IPv4 too only where that is asked for by its own listener.
        ("IPV6_V6ONLY", if address.is_ipv6() { socket.set_only_v6(true) } else { Ok(()) }),
    ];
    for (option, done) in options {
        done.map_err(|source| ListenFault::Option { address, option, source })?;
    }
    Ok(())
}

/// Whether an accepted socket has what its listener was given.
pub fn inherits_options(stream: &std::net::TcpStream) -> io::Result<bool> {
    let socket = SockRef::from(stream);
    Ok(socket.tcp_nodelay()? && socket.keepalive()? && socket.tcp_user_timeout()?.is_some())
}

/// Listens again on a socket that already does: its accept queue may be longer from now on, and
/// nothing that waits in it is lost (listen(2) on Linux).
pub fn listen_again(listener: &TcpListener, asked: u32) -> io::Result<()> {
    SockRef::from(listener).listen(i32::try_from(asked).unwrap_or(i32::MAX))
}

/// `net.core.somaxconn` of this network namespace.
pub fn somaxconn() -> Option<u32> {
    let text = std::fs::read_to_string(Path::new("/proc/sys/net/core/somaxconn")).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn auto_asks_for_what_the_kernel_allows_and_no_more() {
        for (backlog, somaxconn, asked) in [
            (Backlog::Auto, Some(4096), 4096),
            (Backlog::Auto, Some(1 << 20), 1 << 20),
            (Backlog::Auto, None, 65_535),
            (Backlog::Fixed(128), Some(4096), 128),
            (Backlog::Fixed(0), None, 1),
            (Backlog::Fixed(u32::MAX), None, i32::MAX.unsigned_abs()),
        ] {
            assert_eq!(backlog.asked(somaxconn), asked, "{backlog:?} {somaxconn:?}");
        }
    }

    #[test]
    fn accepted_sockets_inherit_the_options_of_their_listener() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let settings =
                ListenSettings { backlog: Backlog::Fixed(77), ..ListenSettings::default() };
            let bound = match bind(address.parse().unwrap(), &settings) {
                Ok(bound) => bound,
                Err(fault) if address.starts_with('[') => {
                    println!("skipped: no IPv6 here: {fault}");
                    continue;
                }
                Err(fault) => panic!("{fault}"),
            };
            assert_eq!((bound.backlog_asked, bound.backlog_effective), (77, 77));
            let _client = TcpStream::connect(bound.address).unwrap();
            bound.listener.set_nonblocking(false).unwrap();
            let (stream, _) = bound.listener.accept().unwrap();
            assert!(inherits_options(&stream).unwrap());
        }
    }

    #[test]
    fn a_taken_address_is_a_fault_that_names_it() {
        let settings = ListenSettings::default();
        let first = bind("127.0.0.1:0".parse().unwrap(), &settings).unwrap();
        let fault = bind(first.address, &settings).unwrap_err();
        assert!(fault.to_string().contains(&first.address.to_string()), "{fault}");
    }
}
