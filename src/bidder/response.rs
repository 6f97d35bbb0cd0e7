//! Reading one HTTP/1.1 answer out of the bytes of a connection.
//!
//! Owns: [`Reading`]: the buffer, the head, the framing. Never: a socket, a clock, a decision
//! about what a status means. Invariants: total over all bytes; the result does not depend on how
//! the bytes were split; memory stays under the caps of [`ReadLimits`]; an answer after which the
//! connection's state is not certain is never reusable.
//!
//! Framing is read as RFC 9112 wants it from a recipient that must not be split: two lengths that
//! differ, a length beside a transfer coding, and any transfer coding but exactly `chunked` are
//! refused. Content is moved together in place, so an answer is one slice in one buffer.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::bidder::chunked::{Chunks, Taken};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Header fields of an answer.
const HEADERS_MAX: usize = 64;

/// Content that gets its room with its head (bytes); for more of it there is room when bytes of it have
/// come, since a length is only a promise.
const AT_ONCE: usize = 16 << 10;

/// What every HTTP/1 answer starts with.
const START: &[u8] = b"HTTP/1.";

/// Caps of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    pub head_bytes_max: usize,
    pub interim_max: u32,
    /// Content with its framing, as on the wire.
    pub wire_bytes_max: usize,
}

/// Why an answer cannot be read. The connection is then worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not HTTP/1.1 as we take it.
    Http,
    /// Over `wire_bytes_max`.
    TooLarge,
    /// The connection ended inside the answer, or before it.
    Broken,
}

/// The parts of a head that we use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// `Retry-After` in seconds; a date is not read.
    pub retry_after_s: Option<u32>,
    /// Whether the sender keeps the connection.
    is_kept: bool,
    /// Where the value of `Content-Encoding` stands; a second one makes it unreadable.
    encoding: Range<usize>,
    is_encoding_double: bool,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    Empty,
    Length(u64),
    Chunked,
    Close,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Head,
    Length {
        end: usize,
    },
    Chunked {
        chunks: Chunks,
        /// Raw content bytes seen.
        wire: usize,
    },
    Close,
    Done,
}

/// One answer while it arrives.
#[derive(Debug)]
pub struct Reading {
    limits: ReadLimits,
    /// Initialised throughout; `filled` bytes count.
    buffer: Vec<u8>,
    filled: usize,
    /// Where the content starts and ends.
    body: Range<usize>,
    head: Head,
    phase: Phase,
    interim: u32,
    /// Bytes came behind the answer.
    has_leftover: bool,
    has_bytes: bool,
}

impl Reading {
    /// Before the first byte. `buffer` is scratch: its content does not matter.
    pub fn new(limits: ReadLimits, buffer: Vec<u8>) -> Self {
        Self {
            limits,
            buffer,
            filled: 0,
            body: 0..0,
            head: Head::default(),
            phase: Phase::Head,
            interim: 0,
            has_leftover: false,
            has_bytes: false,
        }
    }

    /// Whether there is a buffer to read into.
    pub fn has_buffer(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Takes a buffer: scratch, whose content does not matter.
    pub fn lend(&mut self, buffer: Vec<u8>) {
        if !self.has_buffer() {
            self.buffer = buffer;
        }
    }

    /// Gives the buffer back while nothing is in it.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        (!self.has_bytes && self.has_buffer()).then(|| std::mem::take(&mut self.buffer))
    }

    /// Where the next bytes go; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        if self.filled >= self.buffer.len() {
            let double = self.buffer.len().saturating_mul(2);
            if let Phase::Length { end } = self.phase {
                self.grow(double.min(end.saturating_add(1)));
            } else {
                // double, up to what the caps allow and one byte over
                let most = self.limits.head_bytes_max.saturating_add(self.limits.wire_bytes_max);
                self.grow(double.min(most).max(self.filled).saturating_add(64));
            }
        }
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// `count` bytes were put into `space`; whether the answer is complete.
    pub fn received(&mut self, count: usize) -> Result<bool, Fault> {
        let from = self.filled;
        self.filled = from.saturating_add(count).min(self.buffer.len());
        self.has_bytes |= count > 0;
        if matches!(self.phase, Phase::Head) {
            return self.read_head(from);
        }
        self.read_body(from)
    }

    /// The other side has sent its last byte.
    pub fn ended(&mut self) -> Result<(), Fault> {
        match self.phase {
            Phase::Done => Ok(()),
            Phase::Close => {
                self.body.end = self.filled;
                self.phase = Phase::Done;
                Ok(())
            }
            Phase::Head => match parse(self.head_bytes()) {
                Err(fault) if self.filled > 0 => Err(fault),
                _ => Err(Fault::Broken),
            },
            Phase::Length { .. } | Phase::Chunked { .. } => Err(Fault::Broken),
        }
    }

    /// The head; meaningful once the answer is complete.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The content as it came, without framing.
    pub fn content(&self) -> &[u8] {
        self.buffer.get(self.body.clone()).unwrap_or_default()
    }

    /// The value of `Content-Encoding`; empty where there is none.
    pub fn encoding(&self) -> &[u8] {
        if self.head.is_encoding_double {
            return b"more than one";
        }
        self.buffer.get(self.head.encoding.clone()).unwrap_or_default()
    }

    /// Whether another request may follow on the connection.
    pub fn is_reusable(&self) -> bool {
        matches!(self.phase, Phase::Done) && self.head.is_kept && !self.has_leftover
    }

    /// Whether anything at all has come.
    pub fn has_bytes(&self) -> bool {
        self.has_bytes
    }

    /// From now on a smaller answer is too large.
    pub fn lower_cap(&mut self, wire_bytes_max: usize) {
        self.limits.wire_bytes_max = self.limits.wire_bytes_max.min(wire_bytes_max);
    }

    /// The buffer, for the next answer.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    fn grow(&mut self, to: usize) {
        if self.buffer.len() < to {
            self.buffer.resize(to, 0);
        }
    }

    fn head_bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled.min(self.limits.head_bytes_max)).unwrap_or_default()
    }

    /// Parses only when a line has ended, so that dripped bytes cost a parse a line.
    fn read_head(&mut self, from: usize) -> Result<bool, Fault> {
        let mut fresh = from;
        loop {
            let here = self.head_bytes();
            if !here.iter().zip(START).all(|(got, want)| got == want) {
                return Err(Fault::Http);
            }
            let new = self.buffer.get(fresh..self.filled).unwrap_or_default();
            let is_full = self.filled >= self.limits.head_bytes_max;
            if !is_full && memchr::memchr(b'\n', new).is_none() {
                return Ok(false);
            }
            let (head, len) = match parse(here)? {
                Some(parsed) => parsed,
                None if is_full => return Err(Fault::Http),
                None => return Ok(false),
            };
            if !(100..200).contains(&head.status) {
                self.head = head;
                return self.start_body(len);
            }
            // an interim answer: drop it. 101 would change the protocol, which nobody asked for
            self.interim = self.interim.saturating_add(1);
            if head.status == 101 || self.interim > self.limits.interim_max {
                return Err(Fault::Http);
            }
            self.buffer.copy_within(len..self.filled, 0);
            self.filled = self.filled.saturating_sub(len);
            fresh = 0;
        }
    }

    fn start_body(&mut self, at: usize) -> Result<bool, Fault> {
        self.body = at..at;
        match self.head.framing {
            Framing::Empty => {
                self.has_leftover = self.filled > at;
                self.phase = Phase::Done;
                return Ok(true);
            }
            Framing::Length(length) => {
                let length = usize::try_from(length)
                    .ok()
                    .filter(|length| *length <= self.limits.wire_bytes_max)
                    .ok_or(Fault::TooLarge)?;
                let end = at.saturating_add(length);
                // one byte more than the answer: the read that ends it also sees a leftover
                self.grow(end.min(at.saturating_add(AT_ONCE)).saturating_add(1));
                self.phase = Phase::Length { end };
            }
            Framing::Chunked => {
                self.phase = Phase::Chunked { chunks: Chunks::start(), wire: 0 };
            }
            Framing::Close => self.phase = Phase::Close,
        }
        self.read_body(at)
    }

    fn read_body(&mut self, from: usize) -> Result<bool, Fault> {
        match self.phase {
            Phase::Length { end } => {
                // the cap may have been lowered since the head was read
                if end.saturating_sub(self.body.start) > self.limits.wire_bytes_max {
                    return Err(Fault::TooLarge);
                }
                if self.filled < end {
                    return Ok(false);
                }
                self.body.end = end;
                self.has_leftover = self.filled > end;
                self.phase = Phase::Done;
                Ok(true)
            }
            Phase::Chunked { chunks, wire } => self.read_chunks(chunks, wire, from),
            Phase::Close => {
                let content = self.filled.saturating_sub(self.body.start);
                if content > self.limits.wire_bytes_max { Err(Fault::TooLarge) } else { Ok(false) }
            }
            Phase::Head | Phase::Done => {
                self.has_leftover |= self.filled > from;
                Ok(matches!(self.phase, Phase::Done))
            }
        }
    }

    /// Takes the raw bytes from `at` on; content moves up to `body.end`, framing vanishes.
    fn read_chunks(&mut self, mut chunks: Chunks, wire: usize, from: usize) -> Result<bool, Fault> {
        let (mut at, mut wire) = (from, wire);
        while at < self.filled && !chunks.is_end() {
            let room = self.limits.wire_bytes_max.saturating_sub(wire);
            let stop = self.filled.min(at.saturating_add(room));
            let run = self.buffer.get(at..stop).unwrap_or_default();
            if run.is_empty() {
                return Err(Fault::TooLarge);
            }
            let taken = match chunks.take(run).map_err(|_| Fault::Http)? {
                Taken::End => break,
                Taken::Framing(count) => count,
                Taken::Content(count) => {
                    self.buffer.copy_within(at..at.saturating_add(count), self.body.end);
                    self.body.end = self.body.end.saturating_add(count);
                    count
                }
            };
            at = at.saturating_add(taken);
            wire = wire.saturating_add(taken);
        }
        if chunks.is_end() {
            self.has_leftover = at < self.filled;
            self.phase = Phase::Done;
            return Ok(true);
        }
        self.filled = self.body.end;
        self.phase = Phase::Chunked { chunks, wire };
        Ok(false)
    }
}

/// A complete head and its length; `None` while it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut fields,
    );
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Fault::Http),
    };
    let is_1_1 = response.version == Some(1);
    let status = response.code.filter(|status| *status >= 100).ok_or(Fault::Http)?;
    let mut head = Head { status, is_kept: is_1_1, ..Head::default() };
    let mut length: Option<u64> = None;
    let mut is_chunked = false;
    let mut is_closing = false;
    for field in response.headers.iter() {
        // compared by length first: nearly every field is none of ours
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let value = decimal(field.value).ok_or(Fault::Http)?;
                if length.is_some_and(|before| before != value) {
                    return Err(Fault::Http);
                }
                length = Some(value);
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                if is_chunked || !is_1_1 || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Http);
                }
                is_chunked = true;
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                // a later keep-alive does not undo a close
                is_closing |= has_token(field.value, b"close");
                head.is_kept |= has_token(field.value, b"keep-alive");
            }
            16 if field.name.eq_ignore_ascii_case("content-encoding") => {
                head.is_encoding_double |= !head.encoding.is_empty();
                head.encoding = span(bytes, field.value);
            }
            11 if field.name.eq_ignore_ascii_case("retry-after") => {
                head.retry_after_s = decimal(field.value).and_then(|s| u32::try_from(s).ok());
            }
            _ => {}
        }
    }
    if is_chunked && length.is_some() {
        return Err(Fault::Http);
    }
    head.is_kept &= !is_closing;
    let has_body = !matches!(status, 100..200 | 204 | 304);
    head.framing = match (has_body, is_chunked, length) {
        // a 204 or 304 ends with its head; one that claims content may yet send it
        (false, _, _) => {
            head.is_kept &= !is_chunked && (length.unwrap_or(0) == 0 || status == 304);
            Framing::Empty
        }
        (true, true, _) => Framing::Chunked,
        (true, false, Some(length)) => Framing::Length(length),
        (true, false, None) => {
            head.is_kept = false;
            Framing::Close
        }
    };
    Ok(Some((head, len)))
}

/// Digits only: no sign, no list, no white space inside.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// Where `part` stands in `whole`, of which it is a slice.
fn span(whole: &[u8], part: &[u8]) -> Range<usize> {
    let at = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    at..at.saturating_add(part.len())
}

#[cfg(test)]
mod tests;
