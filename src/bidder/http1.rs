//! One HTTP/1.1 call over a connection of our own: write the request, read the answer.
//!
//! Owns: [`Connection`], [`Prelude`] and [`Exchange1`]. Never: a timer, a pool, a retry, a
//! redirect. Invariants: a request goes out in one system call where the kernel takes it; a
//! connection comes back only when its state is certain.
//!
//! The head of a bidder's requests never changes but for `content-length`, which therefore
//! stands last and is written beside it.

use crate::bidder::pool::Slot;
use crate::bidder::response::{Fault, Reading};
use crate::bidder::stream::Stream;
use crate::bidder::{Bidder, OpenRtbVersion};
use crate::coding::Coding;
use std::io::{self, IoSlice, Write};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// Digits of a length and the end of the head.
const LENGTH_BYTES: usize = 24;

/// A connection that can carry one call at a time.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    pub opened: Instant,
    /// When it was last given back.
    pub idle_since: Instant,
    /// Whether it has carried a call.
    pub is_used: bool,
    /// Its place among the line's connections.
    pub slot: Slot,
}

/// The head of every request to one bidder, up to the value of `content-length`.
#[derive(Debug)]
pub struct Prelude(Rc<[u8]>);

impl Prelude {
    /// For a bidder; its header names and values were checked at load.
    pub fn new(bidder: &Bidder) -> Self {
        let mut head = Vec::with_capacity(512);
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| head.extend(part.as_bytes()));
        put(&["POST ", &bidder.endpoint.path, " HTTP/1.1\r\nhost: "]);
        put(&[&host_field(bidder), "\r\ncontent-type: application/json\r\n"]);
        put(&["accept: application/json\r\nx-openrtb-version: "]);
        put(&[version_field(bidder.wire.version), "\r\n"]);
        if bidder.wire.is_gzip {
            put(&["accept-encoding: ", Coding::OFFER, "\r\ncontent-encoding: gzip\r\n"]);
        }
        for (name, value) in &bidder.wire.headers {
            put(&[name, ": ", value, "\r\n"]);
        }
        put(&["content-length: "]);
        Self(head.into())
    }
}

/// `Host` or `:authority`: the port stands there where it is not the scheme's own.
pub fn host_field(bidder: &Bidder) -> String {
    let endpoint = &bidder.endpoint;
    let is_v6 = endpoint.host.contains(':');
    let host = if is_v6 { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
    let usual = if endpoint.is_tls { 443 } else { 80 };
    if endpoint.port == usual { host } else { format!("{host}:{}", endpoint.port) }
}

/// `x-openrtb-version`.
pub const fn version_field(version: OpenRtbVersion) -> &'static str {
    match version {
        OpenRtbVersion::V25 => "2.5",
        OpenRtbVersion::V26 => "2.6",
    }
}

/// A call under way: owns its connection until the end.
#[derive(Debug)]
pub struct Exchange1 {
    connection: Connection,
    prelude: Rc<[u8]>,
    length: [u8; LENGTH_BYTES],
    length_len: usize,
    body: Vec<u8>,
    sent: usize,
    is_pushed: bool,
    pub reading: Reading,
}

impl Exchange1 {
    /// Nothing is sent before the first poll.
    pub fn new(connection: Connection, prelude: &Prelude, body: Vec<u8>, reading: Reading) -> Self {
        let mut length = [0u8; LENGTH_BYTES];
        let mut rest = length.as_mut_slice();
        // cannot fail: 20 digits and 4 bytes fit
        let _ = write!(rest, "{}\r\n\r\n", body.len());
        let length_len = LENGTH_BYTES - rest.len();
        Self {
            connection,
            prelude: prelude.0.clone(),
            length,
            length_len,
            body,
            sent: 0,
            is_pushed: false,
            reading,
        }
    }

    /// Goes as far as it can without waiting; ready when the answer is complete.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if !self.is_pushed && self.poll_send(cx).map_err(|_| Fault::Broken)?.is_ready() {
            self.is_pushed = true;
        }
        // an answer may come before the request is out: a refusal of its size, for one
        loop {
            let space = self.reading.space();
            let Ok(count) = ready!(self.connection.stream.poll_read_some(cx, space)) else {
                return Poll::Ready(Err(Fault::Broken));
            };
            if count == 0 {
                return Poll::Ready(self.reading.ended());
            }
            if self.reading.received(count)? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The connection where it may carry another call, and the read buffer.
    pub fn into_parts(mut self) -> (Option<Connection>, Vec<u8>) {
        self.connection.is_used = true;
        let is_reusable = self.is_pushed && self.reading.is_reusable();
        (is_reusable.then_some(self.connection), self.reading.into_buffer())
    }

    /// Whether the connection had carried a call before this one.
    pub fn is_reused(&self) -> bool {
        self.connection.is_used
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let parts = [&self.prelude, self.length.get(..self.length_len).unwrap_or(&[]), &self.body];
        let total: usize = parts.iter().map(|part| part.len()).sum();
        while self.sent < total {
            let mut skip = self.sent;
            let left = parts.map(|part| {
                let skipped = skip.min(part.len());
                skip -= skipped;
                IoSlice::new(part.get(skipped..).unwrap_or(&[]))
            });
            match ready!(self.connection.stream.poll_write_some(cx, &left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.connection.stream.poll_push(cx)
    }
}
