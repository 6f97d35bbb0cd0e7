//! The public side: from a connection to an `Outcome` and back to bytes; and the two listeners
//! for operators.
//!
//! This file is the folder's vocabulary: its settings, the seam to the road, and what can be
//! wrong with a request before it is a bid request. It imports none of its children.

pub mod admin;
pub mod auth;
pub mod body;
pub mod client_addr;
mod connection;
pub mod console;
mod correlate;
mod delivery;
pub mod event_address;
pub mod events;
pub mod gates;
pub mod head;
mod hold;
mod lines;
pub mod ops;
pub mod own;
pub mod post;
pub mod reply;
pub mod serve;
mod sweep;
mod tap;
pub mod trial;
mod walkers;
mod watch;
mod wire;

use crate::arrival::{Arrival, Body};
use crate::coding::Caps;
use crate::exchange::{Exchange, Outcome};
use crate::negatives::refusal::Refusal;
use crate::partner::{Network, ShedStyle};
use crate::snapshot::Held;
use std::time::Duration;

/// Limits and times of public connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// From a request's first byte (on a new connection: from its start) to the end of its
    /// headers (100 ms to 60 s).
    pub header_time: Duration,
    /// Between two requests of a connection (1 to 600 s).
    pub idle_time: Duration,
    /// In place of a longer `idle_time`, while no request of the connection has been authorised or
    /// where its last answer was 401 or 404 (1 to 600 s).
    pub stranger_idle_time: Duration,
    /// From the end of the headers to the end of the body (10 ms to 10 s).
    pub body_time: Duration,
    /// From the first byte of an answer that the peer does not take to its last (100 ms to 60 s).
    pub write_time: Duration,
    /// A connection that was told to end gets this long to do so (100 ms to 60 s).
    pub grace: Duration,
    /// A connection older than this gets `Connection: close` or GOAWAY (1 s to 24 h), so that
    /// load evens out over workers and replicas.
    pub age_max: Duration,
    /// Each connection's age limit differs from `age_max` by up to this many per cent (0 to 50).
    pub age_jitter_percent: u8,
    /// How often the times above (but `body_time`) are looked at (5 to 1000 ms).
    pub sweep_every: Duration,
    /// Bytes of a request body on the wire (1 KiB to 4 MiB), and what it may decode to.
    pub wire_bytes_max: usize,
    /// Caps of a decoded body.
    pub caps: Caps,
    /// Bytes of a request line and headers, which is also the read buffer (8 KiB to 256 KiB).
    pub header_bytes_max: usize,
    /// Headers of a request (8 to 100).
    pub headers_max: usize,
    /// Bytes of a request's path and query (256 to 65534).
    pub uri_bytes_max: usize,
    /// Bytes that are read and dropped after an answer that did not wait for the body, so that
    /// the answer is not lost to a reset (0 to 16 MiB), and for how long (0 to 5 s).
    pub linger_bytes_max: usize,
    pub linger_time: Duration,
    /// `Retry-After` of 429 and 503, in seconds (1 to 3600).
    pub retry_after_s: u32,
    /// One request in so many has its stages timed (0: none, to 65,536): five readings of the
    /// clock, 110 ns.
    pub timed_of: u32,
    /// HTTP/2.
    pub h2: H2Settings,
    /// Proxies whose `Forwarded` or `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Which of the two they write.
    pub client_header: ClientHeader,
}

/// Limits of HTTP/2 connections (prior knowledge, on the same port).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2Settings {
    /// Streams open at once (1 to 1000).
    pub streams_max: u32,
    /// Bytes of a decoded header list (4 KiB to 64 KiB).
    pub header_list_bytes_max: u32,
    /// Streams that the peer opened and reset before we looked at them (1 to 1000): rapid reset.
    /// As many as may be open at once: a partner that gives up on a time-out resets all of them
    /// together, and that is no attack.
    pub pending_resets_max: usize,
    /// Streams that the peer makes us reset (1 to 1000): MadeYouReset.
    pub local_resets_max: usize,
    /// Unread bytes of one stream: one body of the largest size (64 KiB to 4 MiB).
    pub stream_window_bytes: u32,
    /// Unread bytes of a connection (64 KiB to 16 MiB).
    pub connection_window_bytes: u32,
    /// Bytes of answers that wait in one stream (16 KiB to 1 MiB).
    pub send_buffer_bytes_max: usize,
    /// How often the peer is pinged, and how long its answer may take (1 to 300 s).
    pub ping_every: Duration,
    pub ping_time: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            header_time: Duration::from_secs(5),
            idle_time: Duration::from_secs(60),
            stranger_idle_time: Duration::from_secs(5),
            body_time: Duration::from_millis(250),
            write_time: Duration::from_secs(2),
            grace: Duration::from_secs(5),
            age_max: Duration::from_secs(300),
            age_jitter_percent: 10,
            sweep_every: Duration::from_millis(100),
            wire_bytes_max: 256 << 10,
            caps: Caps::default(),
            header_bytes_max: 32 << 10,
            headers_max: 64,
            uri_bytes_max: 8 << 10,
            linger_bytes_max: 1 << 20,
            linger_time: Duration::from_millis(500),
            retry_after_s: 1,
            timed_of: 16,
            h2: H2Settings::default(),
            trusted_proxies: Vec::new(),
            client_header: ClientHeader::default(),
        }
    }
}

impl Default for H2Settings {
    fn default() -> Self {
        Self {
            streams_max: 100,
            header_list_bytes_max: 16 << 10,
            pending_resets_max: 100,
            local_resets_max: 100,
            stream_window_bytes: 320 << 10,
            connection_window_bytes: 2 << 20,
            send_buffer_bytes_max: 256 << 10,
            ping_every: Duration::from_secs(20),
            ping_time: Duration::from_secs(10),
        }
    }
}

/// The header that the trusted proxies write; the other one is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientHeader {
    /// `X-Forwarded-For`: addresses, the last hop last.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The seam to the road, so that the server can be tested, and measured, without an exchange.
pub trait Road: 'static {
    /// Takes a request to its end. It is never dropped half-way for a client that went away.
    fn hold(&self, snapshot: Held, arrival: Arrival, body: Body) -> impl Future<Output = Outcome>;

    /// Makes what it remembers small while memory is short, and large again.
    fn remember(&self, is_short: bool) {
        let _ = is_short;
    }
}

impl Road for Exchange {
    fn hold(&self, snapshot: Held, arrival: Arrival, body: Body) -> impl Future<Output = Outcome> {
        self.hold(snapshot, arrival, body)
    }

    fn remember(&self, is_short: bool) {
        self.remember(is_short);
    }
}

/// Why a request is answered without having walked the road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No such path.
    NoRoute,
    /// Not a POST.
    Method,
    /// Framing or addressing that two readers could read differently; the connection ends.
    Ambiguous(Ambiguity),
    /// More headers than the limit.
    TooManyHeaders,
    /// A longer path than the limit.
    UriTooLong,
    /// By a rule of the exchange, and how this partner wants to be told of shedding.
    Refused(Refusal, ShedStyle),
}

/// What could be read in two ways (request smuggling).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// HTTP/1.1 without exactly one `Host`, or one that is none, or differs from the request's target.
    Host,
    /// A `Transfer-Encoding` other than one `chunked`, or one beside a `Content-Length`.
    TransferEncoding,
    /// A line of the head that ends with a bare LF.
    BareLineFeed,
}

impl Ambiguity {
    /// For `x-gavel-reason` and the counter.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Host => "ambiguous_host",
            Self::TransferEncoding => "ambiguous_transfer_encoding",
            Self::BareLineFeed => "bare_line_feed",
        }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, ShedStyle::Status)
    }
}
