//! Opening connections in the background.
//!
//! Owns: [`start`] and [`offer_streams`]. Never: a retry by itself. Invariants: TCP, TLS and the HTTP/2
//! preface together take no longer than the plan's time; a dial whose call has given up goes on,
//! and its connection serves the next one; of several addresses a dead one costs no call.

use crate::bidder::desk::Entry;
use crate::bidder::doubt::Doubts;
use crate::bidder::h2::Link;
use crate::bidder::http1::Connection;
use crate::bidder::line::{Line, count};
use crate::bidder::net::NetSettings;
use crate::bidder::pool::{Carrier, Slot};
use crate::bidder::stream::Stream;
use crate::bidder::tls::{Tls, server_name};
use crate::clock;
use crate::negatives::no_answer::NoAnswer;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use nix::errno::Errno;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Of several addresses, each has this part of the connect time before the next is tried too.
const HEAD_STARTS: u32 = 2;

/// Starts one dial for a line, where its limits allow it; whether it did.
pub fn start(entry: &Rc<Entry>) -> Started {
    let (line, settings) = (&entry.line, &entry.net.settings);
    if line.pool.dialing() >= settings.dial_in_flight_max {
        return Started::Busy;
    }
    let most =
        if line.speaks_http2.get() { settings.h2_connections_max } else { entry.connections_max };
    let Some(slot) = line.pool.slot(most, &entry.net.room) else { return Started::Full };
    line.pool.dial_starts();
    count(&line.counters.dials, 1);
    tokio::task::spawn_local(run(entry.clone(), slot));
    Started::Dialing
}

/// What became of the wish for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    Dialing,
    /// As many dials are under way as may be: one of them may serve.
    Busy,
    /// As many connections are open as may be.
    Full,
}

async fn run(entry: Rc<Entry>, slot: Slot) {
    let line = &entry.line;
    let dialed = timeout(entry.time.connect, dial(&entry, slot)).await;
    line.pool.dial_ends();
    match dialed.unwrap_or(Err(NoAnswer::ConnectTimeout)) {
        Ok(Dialed::Http1(connection)) => {
            line.pool.give(connection, clock::monotonic(), entry.ages());
        }
        Ok(Dialed::Http2(fresh)) => {
            line.add_link(Rc::new(fresh));
            offer_streams(line, &entry.net.settings);
        }
        Err(why) => {
            count(&line.counters.dials_failed, 1);
            line.pool.fail_one(why);
        }
    }
    // calls that came while every dial was busy
    if line.pool.waiting() > line.pool.dialing() as usize {
        start(&entry);
    }
}

/// Gives waiting calls the free streams of all HTTP/2 connections.
pub fn offer_streams(line: &Line, settings: &NetSettings) {
    line.pool.give_each(|| line.stream(settings.h2_streams_max).map(Carrier::Http2));
}

enum Dialed {
    Http1(Connection),
    Http2(Link),
}

async fn dial(entry: &Entry, slot: Slot) -> Result<Dialed, NoAnswer> {
    let stream = connect(entry).await?;
    let endpoint = &entry.line.key.endpoint;
    let (stream, is_http2) = if endpoint.is_tls {
        secure(&entry.net.tls, &endpoint.host, stream, entry.line.key.is_http2).await?
    } else {
        (Stream::Plain(stream), entry.line.key.is_http2)
    };
    entry.line.speaks_http2.set(is_http2);
    let now = clock::monotonic();
    let birth = entry.line.pool.birth(now);
    if is_http2 {
        let streams = entry.line.streams_expected(entry.net.settings.h2_streams_max);
        let link = Link::open(stream, birth, slot, streams).await.map_err(|_| NoAnswer::Broken)?;
        return Ok(Dialed::Http2(link));
    }
    Ok(Dialed::Http1(Connection { stream, birth, idle_since: now, is_used: false, slot }))
}

/// A connection to one of the line's addresses.
async fn connect(entry: &Entry) -> Result<TcpStream, NoAnswer> {
    let line = &entry.line;
    let ways = line.ways(clock::monotonic());
    let port = line.key.endpoint.port;
    let head_start = entry.time.connect / HEAD_STARTS;
    let reached = reach(&ways, port, head_start, &line.doubts).await;
    let (stream, took) = reached?;
    line.round_trip.connected(took, clock::monotonic());
    // only costs latency where it fails
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The first connection that any of the addresses takes, and how long that took. An address has a
/// head start before the next one is tried beside it; one that needs longer, or fails, is doubted.
/// Where it was each time us who had nothing to connect with, that is no fault of the bidder's.
async fn reach(
    ways: &[IpAddr],
    port: u16,
    head_start: Duration,
    doubts: &Doubts,
) -> Result<(TcpStream, Duration), NoAnswer> {
    let mut is_ours = !ways.is_empty();
    let mut ways = ways.iter();
    let mut latest = None;
    let mut under_way = FuturesUnordered::new();
    loop {
        if let Some(ip) = ways.next() {
            latest = Some(*ip);
            under_way.push(attempt(*ip, port));
        }
        match timeout(head_start, under_way.next()).await {
            Ok(Some((ip, Ok(reached)))) => {
                doubts.end(ip);
                return Ok(reached);
            }
            Ok(Some((_, Err(fault)))) if is_shortage(&fault) => {}
            Ok(Some((ip, Err(_)))) => {
                is_ours = false;
                doubts.add(ip, clock::monotonic());
            }
            Ok(None) if is_ours => return Err(NoAnswer::PoolFull),
            Ok(None) => return Err(NoAnswer::ConnectRefused),
            Err(_) => latest.into_iter().for_each(|ip| doubts.add(ip, clock::monotonic())),
        }
    }
}

/// Whether this machine is out of what a connection takes: descriptors, local ports, memory.
fn is_shortage(fault: &io::Error) -> bool {
    matches!(
        fault.raw_os_error().map(Errno::from_raw),
        Some(Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL | Errno::ENOBUFS | Errno::ENOMEM)
    )
}

async fn attempt(ip: IpAddr, port: u16) -> (IpAddr, io::Result<(TcpStream, Duration)>) {
    let before = clock::monotonic();
    let connected = TcpStream::connect(SocketAddr::new(ip, port)).await;
    let took = clock::monotonic().saturating_duration_since(before);
    (ip, connected.map(|stream| (stream, took)))
}

/// The handshake, and whether HTTP/2 was agreed on.
async fn secure(
    tls: &Tls,
    host: &str,
    stream: TcpStream,
    wants_http2: bool,
) -> Result<(Stream, bool), NoAnswer> {
    let name = server_name(host).ok_or(NoAnswer::Tls)?;
    let stream =
        tls.connector(wants_http2).connect(name, stream).await.map_err(|_| NoAnswer::Tls)?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Stream::Tls(Box::new(stream)), is_http2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[tokio::test]
    async fn an_address_that_is_dead_or_refuses_stands_in_nobodys_way() {
        let ips = [1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last));
        let [good, silent, refusing] = ips.map(IpAddr::from);
        // the first listens, the second swallows what comes, nobody is at the third
        let listener = TcpListener::bind((good, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::new(silent, port).into()).unwrap();
        full.listen(0).unwrap();
        let at = SocketAddr::new(silent, port);
        let wait = Duration::from_millis(200);
        let _fill: Vec<_> =
            (0..2).filter_map(|_| std::net::TcpStream::connect_timeout(&at, wait).ok()).collect();
        let (doubts, head_start) = (Doubts::default(), Duration::from_millis(20));
        let ways = [silent, refusing, good];
        let before = clock::monotonic();
        let (stream, took) = reach(&ways, port, head_start, &doubts).await.unwrap();
        let whole = clock::monotonic().saturating_duration_since(before);
        assert_eq!(stream.peer_addr().unwrap().ip(), good);
        assert!(took + head_start <= whole, "its own time alone: {took:?} of {whole:?}");
        let order = doubts.order(&ways, 0, clock::monotonic());
        assert_eq!(order, [good, silent, refusing]);
        assert!(reach(&[refusing], port, head_start, &doubts).await.is_err());
    }

    #[test]
    fn what_this_machine_is_out_of_is_no_fault_of_a_bidder() {
        for (errno, is_ours) in [
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::EADDRNOTAVAIL, true),
            (Errno::ENOBUFS, true),
            (Errno::ENOMEM, true),
            (Errno::ECONNREFUSED, false),
            (Errno::ECONNRESET, false),
            (Errno::ENETUNREACH, false),
            (Errno::EHOSTUNREACH, false),
            (Errno::ETIMEDOUT, false),
        ] {
            assert_eq!(is_shortage(&errno.into()), is_ours, "{errno}");
        }
        assert!(!is_shortage(&io::ErrorKind::Other.into()));
    }
}
