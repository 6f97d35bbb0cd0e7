//! One HTTP/1.1 call over a connection of our own: write the request, read the answer.
//!
//! Owns: [`Connection`], [`Prelude`] and [`Exchange1`]. Never: a timer, a pool, a retry, a
//! redirect. Invariants: a request goes out in one system call where the kernel takes it; a
//! connection comes back only when its state is certain.
//!
//! The head of a bidder's requests never changes but for `content-length`, and `traceparent` where
//! a bidder wants that, which therefore stand last: a request is that head, a number and a body in
//! one buffer.
//! A call holds a buffer only while it must: that of the request until it is sent, that of the
//! answer from its first byte.

use crate::bidder::pool::{Birth, Slot};
use crate::bidder::response::{Fault, ReadLimits, Reading};
use crate::bidder::shelf::{Packet, Shelves};
use crate::bidder::stream::Stream;
use crate::bidder::{Bidder, OpenRtbVersion};
use crate::coding::Coding;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// What ends the value of `content-length` and the head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// What stands between the value of `content-length` and that of a `traceparent`.
const PARENT: &[u8] = b"\r\ntraceparent: ";

/// A connection that can carry one call at a time.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    pub birth: Birth,
    /// When it was last given back.
    pub idle_since: Instant,
    /// Whether it has carried a call.
    pub is_used: bool,
    /// Its place among the line's connections.
    pub slot: Slot,
}

/// The head of every request to one bidder, up to the value of `content-length`.
#[derive(Debug)]
pub struct Prelude(Box<[u8]>);

impl Prelude {
    /// For a bidder; its header names and values were checked at load.
    pub fn new(bidder: &Bidder) -> Self {
        let mut head = Vec::with_capacity(512);
        let mut put = |parts: &[&str]| parts.iter().for_each(|part| head.extend(part.as_bytes()));
        put(&["POST ", &bidder.endpoint.path, " HTTP/1.1\r\nhost: "]);
        put(&[&host_field(bidder), "\r\ncontent-type: application/json\r\n"]);
        put(&["accept: application/json\r\nx-openrtb-version: "]);
        put(&[version_field(bidder.wire.version), "\r\naccept-encoding: ", Coding::OFFER, "\r\n"]);
        if bidder.wire.is_gzip {
            put(&["content-encoding: gzip\r\n"]);
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
    /// The whole request, one piece: a gathering write costs the kernel more than the copying of
    /// 2 KB. Empty once it is sent.
    message: Vec<u8>,
    /// Where what is not sent yet begins.
    sent: usize,
    is_pushed: bool,
    pub reading: Reading,
}

impl Exchange1 {
    /// Nothing is sent before the first poll. `parent`: the value of `traceparent`.
    pub fn new(
        connection: Connection,
        (prelude, parent): (&Prelude, Option<&str>),
        packet: Packet,
        limits: ReadLimits,
    ) -> Self {
        let mut length = itoa::Buffer::new();
        let length = length.format(packet.body().len()).as_bytes();
        let (name, parent) = parent.map_or((&b""[..], &b""[..]), |it| (PARENT, it.as_bytes()));
        let (message, sent) = packet.into_message(&[&prelude.0, length, name, parent, HEAD_END]);
        let reading = Reading::new(limits, Vec::new());
        Self { connection, message, sent, is_pushed: false, reading }
    }

    /// Goes as far as it can without waiting; ready when the answer is complete.
    pub fn poll(&mut self, cx: &mut Context<'_>, shelves: &Shelves) -> Poll<Result<(), Fault>> {
        if !self.is_pushed && self.poll_send(cx).map_err(|_| Fault::Broken)?.is_ready() {
            self.is_pushed = true;
            shelves.messages.keep(std::mem::take(&mut self.message));
        }
        // an answer may come before the request is out: a refusal of its size, for one
        loop {
            if !self.reading.has_buffer() {
                self.reading.lend(shelves.reads.take());
            }
            let space = self.reading.space();
            let Poll::Ready(read) = self.connection.stream.poll_read_some(cx, space) else {
                self.reading.reclaim().into_iter().for_each(|buffer| shelves.reads.keep(buffer));
                return Poll::Pending;
            };
            let Ok(count) = read else { return Poll::Ready(Err(Fault::Broken)) };
            if count == 0 {
                return Poll::Ready(self.reading.ended());
            }
            if self.reading.received(count)? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The connection where it may carry another call; the buffers go back.
    pub fn finish(mut self, shelves: &Shelves) -> Option<Connection> {
        self.connection.is_used = true;
        let is_reusable = self.is_pushed && self.reading.is_reusable();
        shelves.reads.keep(self.reading.into_buffer());
        shelves.messages.keep(self.message);
        is_reusable.then_some(self.connection)
    }

    /// Whether the connection had carried a call before this one.
    pub fn is_reused(&self) -> bool {
        self.connection.is_used
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.message.get(self.sent..) {
            match ready!(self.connection.stream.poll_write_some(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.connection.stream.poll_push(cx)
    }
}
