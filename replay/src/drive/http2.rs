//! One connection of HTTP/2 with prior knowledge, and the requests that are out on it.
//!
//! Owns: its socket, its streams, both directions of flow control. Never: a clock, a wait, a retry,
//! a table of headers: the peer is told to keep none, and none is kept here. Invariants: never more
//! streams than the peer allows; no body is sent beyond the peer's windows.

use super::link::{Io, Step};
use super::parcel::{Done, Parcel};
use super::report::Fault;
use crate::inspect::End;
use crate::wire::http2::{self as wire, FRAME_BYTES_MAX, Frame, Malformed, flag, kind, setting};
use crate::wire::poller::Nanos;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// Bytes that the peer may send of one answer, and of all, before it hears from us.
const WINDOW: u32 = 16 << 20;
/// What every connection and stream starts with (RFC 9113, 6.9.2).
const WINDOW_FIRST: i64 = 65_535;
/// The window of the connection is filled again when so much of it is used.
const WINDOW_STEP: u32 = WINDOW / 2;
/// The longest block of headers that is put together from several frames.
const BLOCK_BYTES_MAX: usize = 64 << 10;
/// A connection whose streams are used up is replaced (5.1.1).
const STREAM_MAX: u32 = (1 << 31) - 1;
/// RST_STREAM with CANCEL, and the code of a stream that was not touched.
const CANCEL: u32 = 8;
const REFUSED_STREAM: u32 = 7;

/// See the file's header.
pub(super) struct Multiplexed {
    pub socket: TcpStream,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    streams: Vec<Stream>,
    next_id: u32,
    /// The most that we want, and of that what the peer allows.
    streams_most: usize,
    streams_max: usize,
    /// What the peer allows: bytes on the connection, bytes of a new stream.
    window: i64,
    stream_window: i64,
    /// Bytes received since the peer's window was filled.
    received: u32,
    is_going_away: bool,
    /// A block of headers that goes on in the next frame: its stream, whether it ends it, its bytes.
    open_block: Option<(u32, bool)>,
    block: Vec<u8>,
}

struct Stream {
    id: u32,
    parcel: Box<Parcel>,
    /// Bytes of the body that are sent.
    sent: usize,
    window: i64,
    status: Option<u16>,
}

impl Multiplexed {
    /// On a socket that does not block; what is said first waits for it to be open.
    pub fn new(socket: TcpStream, streams_max: u32) -> Self {
        let mut output = wire::PREFACE.to_vec();
        let settings = [
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, WINDOW),
        ];
        wire::put_settings(&mut output, &settings);
        let more = WINDOW - 65_535;
        let streams_most = usize::try_from(streams_max.max(1)).unwrap_or(1);
        wire::put(&mut output, kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        Self {
            socket,
            output,
            written: 0,
            input: Vec::new(),
            streams: Vec::new(),
            next_id: 1,
            streams_most,
            streams_max: streams_most,
            window: WINDOW_FIRST,
            stream_window: WINDOW_FIRST,
            received: 0,
            is_going_away: false,
            open_block: None,
            block: Vec::new(),
        }
    }

    pub fn busy(&self) -> usize {
        self.streams.len()
    }

    pub fn has_room(&self) -> bool {
        self.streams.len() < self.streams_max && !self.is_going_away && self.next_id < STREAM_MAX
    }

    pub fn wants_write(&self) -> bool {
        self.written < self.output.len()
    }

    /// Sends a request, as much of it as the windows take.
    pub fn send(&mut self, parcel: Box<Parcel>, done: &mut Done) -> Step {
        let id = self.next_id;
        self.next_id += 2;
        let mut parts = parcel.head().chunks(FRAME_BYTES_MAX).peekable();
        let mut kind = kind::HEADERS;
        while let Some(part) = parts.next() {
            let mut flags = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
            if kind == kind::HEADERS && parcel.body().is_empty() {
                flags |= flag::END_STREAM;
            }
            wire::put(&mut self.output, kind, flags, id, part);
            kind = kind::CONTINUATION;
        }
        let window = self.stream_window;
        self.streams.push(Stream { id, parcel, sent: 0, window, status: None });
        self.pump();
        self.flush(done)
    }

    /// Puts what the windows allow of bodies behind each other.
    fn pump(&mut self) {
        for stream in &mut self.streams {
            while let Some(rest) = stream.parcel.body().get(stream.sent..) {
                let window = usize::try_from(self.window.min(stream.window)).unwrap_or(0);
                let len = rest.len().min(window).min(FRAME_BYTES_MAX);
                if len == 0 {
                    break;
                }
                let flags = if len == rest.len() { flag::END_STREAM } else { 0 };
                let part = rest.get(..len).unwrap_or_default();
                wire::put(&mut self.output, kind::DATA, flags, stream.id, part);
                stream.sent += len;
                let used = i64::try_from(len).unwrap_or(i64::MAX);
                stream.window -= used;
                self.window -= used;
            }
        }
    }

    /// Writes what is left.
    pub fn flush(&mut self, done: &mut Done) -> Step {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return self.break_off(Fault::Broken, done),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Going,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.break_off(Fault::Broken, done),
            }
        }
        self.output.clear();
        self.written = 0;
        Step::Going
    }

    /// Reads once and does what the frames say.
    pub fn receive(&mut self, io: &mut Io<'_>) -> Step {
        let count = match self.socket.read(io.scratch) {
            Ok(0) => return self.break_off(Fault::Closed, io.done),
            Ok(count) => count,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => Step::Going,
                    _ => self.break_off(Fault::Broken, io.done),
                };
            }
        };
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(io.scratch.get(..count).unwrap_or_default());
        let mut rest = input.as_slice();
        let result = loop {
            match wire::cut(rest) {
                Ok(None) => break Ok(()),
                Ok(Some((frame, behind))) => {
                    rest = behind;
                    if let Err(fault) = self.take(&frame, io) {
                        break Err(fault);
                    }
                }
                Err(fault) => break Err(fault),
            }
        };
        let used = input.len() - rest.len();
        input.drain(..used);
        self.input = input;
        if result.is_err() {
            return self.break_off(Fault::Malformed, io.done);
        }
        self.refill();
        self.pump();
        match self.flush(io.done) {
            Step::Going if self.is_going_away && self.streams.is_empty() => Step::Spent,
            step => step,
        }
    }

    fn take(&mut self, frame: &Frame<'_>, io: &mut Io<'_>) -> Result<(), Malformed> {
        if self.open_block.is_some() && frame.kind != kind::CONTINUATION {
            return Err(Malformed);
        }
        let is_end = frame.has(flag::END_STREAM);
        match frame.kind {
            kind::DATA => {
                // the whole frame counts, its padding included
                let len = u32::try_from(frame.payload.len()).unwrap_or(0);
                self.received = self.received.saturating_add(len);
                self.take_data(frame.stream, frame.content()?, is_end, io);
            }
            kind::HEADERS => {
                self.block.clear();
                self.block.extend_from_slice(frame.content()?);
                self.open_block = Some((frame.stream, is_end));
                self.end_block(frame, io)?;
            }
            kind::CONTINUATION => {
                let is_open = self.open_block.is_some_and(|(stream, _)| stream == frame.stream);
                if !is_open || self.block.len() > BLOCK_BYTES_MAX {
                    return Err(Malformed);
                }
                self.block.extend_from_slice(frame.payload);
                self.end_block(frame, io)?;
            }
            kind::RST_STREAM => {
                let refused = frame.number()? == REFUSED_STREAM;
                let fault = if refused { Fault::Refused } else { Fault::Reset };
                self.end_stream(frame.stream, End::Fault(fault), io.done);
            }
            kind::SETTINGS if !frame.has(flag::ACK) => {
                self.apply(frame);
                wire::put(&mut self.output, kind::SETTINGS, flag::ACK, 0, &[]);
            }
            kind::PING if !frame.has(flag::ACK) => {
                wire::put(&mut self.output, kind::PING, flag::ACK, 0, frame.payload);
            }
            kind::GOAWAY => self.go_away(frame.number()?, io.done),
            kind::WINDOW_UPDATE => self.widen(frame.stream, frame.number()?)?,
            kind::PUSH_PROMISE => return Err(Malformed),
            _ => {}
        }
        Ok(())
    }

    fn take_data(&mut self, id: u32, data: &[u8], is_end: bool, io: &mut Io<'_>) {
        // of a stream that was given up more may come
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) else { return };
        stream.parcel.answer.extend_from_slice(data);
        let status = stream.status;
        if stream.parcel.answer.len() > io.bytes_max {
            wire::put(&mut self.output, kind::RST_STREAM, 0, id, &CANCEL.to_be_bytes());
            self.end_stream(id, End::Fault(Fault::TooLarge), io.done);
        } else if is_end {
            let end = status.map_or(End::Fault(Fault::Malformed), End::Answered);
            self.end_stream(id, end, io.done);
        }
    }

    /// Takes a block of headers once it is whole.
    fn end_block(&mut self, frame: &Frame<'_>, io: &mut Io<'_>) -> Result<(), Malformed> {
        if !frame.has(flag::END_HEADERS) {
            return Ok(());
        }
        let Some((id, is_end)) = self.open_block.take() else { return Err(Malformed) };
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) else {
            return Ok(());
        };
        if stream.status.is_none() {
            // an interim answer is followed by another; trailers have no status
            stream.status = Some(wire::status(&self.block)?).filter(|status| *status >= 200);
        }
        if let (true, Some(status)) = (is_end, stream.status) {
            self.end_stream(id, End::Answered(status), io.done);
        }
        Ok(())
    }

    fn end_stream(&mut self, id: u32, end: End, done: &mut Done) {
        if let Some(index) = self.streams.iter().position(|stream| stream.id == id) {
            let mut parcel = self.streams.swap_remove(index).parcel;
            parcel.end = end;
            parcel.answer_body = 0..parcel.answer.len();
            done.push_back(parcel);
        }
    }

    fn apply(&mut self, frame: &Frame<'_>) {
        for (id, value) in frame.settings() {
            match id {
                setting::MAX_CONCURRENT_STREAMS => {
                    let allowed = usize::try_from(value).unwrap_or(usize::MAX);
                    self.streams_max = self.streams_most.min(allowed);
                }
                setting::INITIAL_WINDOW_SIZE => {
                    let change = i64::from(value) - self.stream_window;
                    self.stream_window += change;
                    self.streams.iter_mut().for_each(|stream| stream.window += change);
                }
                _ => {}
            }
        }
    }

    fn widen(&mut self, id: u32, by: u32) -> Result<(), Malformed> {
        let window = match self.streams.iter_mut().find(|stream| stream.id == id) {
            _ if id == 0 => &mut self.window,
            Some(stream) => &mut stream.window,
            None => return Ok(()),
        };
        *window += i64::from(by);
        if *window > i64::from(u32::MAX >> 1) { Err(Malformed) } else { Ok(()) }
    }

    /// The peer takes nothing beyond `last` any more, and has not looked at what is.
    fn go_away(&mut self, last: u32, done: &mut Done) {
        self.is_going_away = true;
        while let Some(id) = self.streams.iter().map(|stream| stream.id).find(|id| *id > last) {
            self.end_stream(id, End::Fault(Fault::Refused), done);
        }
    }

    fn refill(&mut self) {
        if self.received >= WINDOW_STEP {
            let bytes = std::mem::take(&mut self.received).to_be_bytes();
            wire::put(&mut self.output, kind::WINDOW_UPDATE, 0, 0, &bytes);
        }
    }

    /// Ends requests that were sent before this moment; the connection lives on.
    pub fn expire(&mut self, before: Nanos, done: &mut Done) -> Step {
        let is_late = |stream: &&Stream| stream.parcel.sent_at < before;
        while let Some(id) = self.streams.iter().find(is_late).map(|stream| stream.id) {
            wire::put(&mut self.output, kind::RST_STREAM, 0, id, &CANCEL.to_be_bytes());
            self.end_stream(id, End::Fault(Fault::Timeout), done);
        }
        self.flush(done)
    }

    /// Gives back what is out.
    pub fn abandon(&mut self, done: &mut Done) {
        done.extend(self.streams.drain(..).map(|stream| stream.parcel));
    }

    fn break_off(&mut self, fault: Fault, done: &mut Done) -> Step {
        done.extend(self.streams.drain(..).map(|stream| stream.parcel.fail(fault)));
        Step::Spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_peer_may_lower_and_raise_how_many_streams_there_are_up_to_our_own_number() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut link = Multiplexed::new(socket, 100);
        for (allowed, expected) in [(1, 1), (0, 0), (50, 50), (1_000, 100), (u32::MAX, 100)] {
            let mut bytes = Vec::new();
            wire::put_settings(&mut bytes, &[(setting::MAX_CONCURRENT_STREAMS, allowed)]);
            link.apply(&wire::cut(&bytes).unwrap().unwrap().0);
            assert_eq!((link.streams_max, link.has_room()), (expected, expected > 0), "{allowed}");
        }
    }
}
