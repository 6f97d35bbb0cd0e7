//! Opening connections in the background.
//!
//! Owns: [`start`] and [`offer_streams`]. Never: a retry by itself. Invariants: TCP, TLS and the HTTP/2
//! preface together take no longer than the plan's time; a dial whose call has given up goes on,
//! and its connection serves the next one.

use crate::bidder::desk::Entry;
use crate::bidder::h2::Link;
use crate::bidder::http1::Connection;
use crate::bidder::line::{Line, count};
use crate::bidder::net::NetSettings;
use crate::bidder::pool::{Carrier, Slot};
use crate::bidder::stream::Stream;
use crate::bidder::tls::{Tls, server_name};
use crate::clock;
use crate::negatives::no_answer::NoAnswer;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Starts one dial for a line, where its limits allow it; whether it did.
pub fn start(entry: &Rc<Entry>) -> Started {
    let (line, settings) = (&entry.line, &entry.net.settings);
    if line.pool.dialing() >= settings.dial_in_flight_max {
        return Started::Busy;
    }
    let most =
        if line.speaks_http2.get() { settings.h2_connections_max } else { entry.connections_max };
    let Some(slot) = line.pool.slot(most) else { return Started::Full };
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
    if is_http2 {
        let streams = entry.line.streams_expected(entry.net.settings.h2_streams_max);
        let link = Link::open(stream, now, slot, streams).await.map_err(|_| NoAnswer::Broken)?;
        return Ok(Dialed::Http2(link));
    }
    Ok(Dialed::Http1(Connection { stream, opened: now, idle_since: now, is_used: false, slot }))
}

/// The first address that takes the connection, from the line's turn on.
async fn connect(entry: &Entry) -> Result<TcpStream, NoAnswer> {
    let (list, turn) = (entry.line.addresses.list(), entry.line.turn());
    let port = entry.line.key.endpoint.port;
    for at in 0..list.len() {
        let Some(ip) = list.get(turn.wrapping_add(at) % list.len()) else { continue };
        let before = clock::monotonic();
        if let Ok(stream) = TcpStream::connect(SocketAddr::new(*ip, port)).await {
            let now = clock::monotonic();
            entry.line.round_trip.connected(now.saturating_duration_since(before), now);
            // only costs latency where it fails
            let _ = stream.set_nodelay(true);
            return Ok(stream);
        }
    }
    Err(NoAnswer::ConnectRefused)
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
