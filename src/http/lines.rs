//! Finds heads that another reader in front of us may read in another way, which is a way to smuggle
//! a request, and of which hyper shows nothing: lines that end with a bare LF (RFC 9112, 2.2 allows
//! it), and a length beside a transfer coding, which hyper takes out (6.3 lets a server refuse it).
//! And tells whether the beginning of a next request came with the end of the last.
//!
//! Owns: [`Lines`], fed with every byte of an HTTP/1 connection. Never: a rewritten byte, a
//! judgement of anything else: what hyper does not take never gets further.
//! Invariant: a head is judged only where it is known to begin, which is followed over bodies by
//! what their heads say (RFC 9112, 6.3), however many requests are sent ahead. Where that cannot be
//! read, nothing is judged any more: better a bare LF that passes than an honest body that is taken
//! for a head.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::http::Ambiguity;
use memchr::memchr;
use std::cell::Cell;

/// A header line that tells how long a body is has no more bytes than this, where it comes in
/// pieces: the longer name, and 20 digits with some white space. A longer one is not read.
const PIECE_BYTES_MAX: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head(Head),
    /// So many bytes of a body are still to come.
    Body(u64),
    /// In the line that says how long a chunk is (RFC 9112, 7.1).
    Size {
        size: u64,
        /// The digits are over.
        is_said: bool,
    },
    /// So many bytes of a chunk are still to come, with its line end.
    Chunk(u64),
    /// In the lines behind the last chunk, and so many bytes into one of them.
    Trailer(usize),
    /// Nobody knows.
    Lost,
}

/// In a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// Bytes of the current line so far, and the last of them.
    line: usize,
    last: u8,
    /// A line that is not empty has come: the next empty one ends the head.
    has_line: bool,
    /// What its lines have said of the body so far.
    body: Option<Body>,
}

/// What stands behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Bytes(u64),
    Chunked,
    /// So long as a line says that could not be read.
    Unknown,
}

const START: At = At::Head(Head { line: 0, last: 0, has_line: false, body: None });
const SIZE: At = At::Size { size: 0, is_said: false };

/// Follows the heads of one connection.
#[derive(Debug)]
pub struct Lines {
    at: Cell<At>,
    /// Heads that have ended, and requests that are done.
    ended: Cell<u32>,
    done: Cell<u32>,
    /// The first head that can be read in two ways, counted as those that have ended.
    ambiguous: Cell<Option<(u32, Ambiguity)>>,
    /// The beginning of a line that came in pieces.
    piece: Cell<[u8; PIECE_BYTES_MAX]>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            at: Cell::new(START),
            ended: Cell::new(0),
            done: Cell::new(0),
            ambiguous: Cell::new(None),
            piece: Cell::new([0; PIECE_BYTES_MAX]),
        }
    }
}

impl Lines {
    /// Takes in what was read.
    pub fn feed(&self, mut bytes: &[u8]) {
        let mut at = self.at.get();
        while !bytes.is_empty() && at != At::Lost {
            (at, bytes) = match at {
                At::Head(head) => self.head(head, bytes),
                At::Body(left) => {
                    let (left, rest) = skip(left, bytes);
                    (if left == 0 { START } else { At::Body(left) }, rest)
                }
                At::Size { size, is_said } => chunk_size(size, is_said, bytes),
                At::Chunk(left) => {
                    let (left, rest) = skip(left, bytes);
                    (if left == 0 { SIZE } else { At::Chunk(left) }, rest)
                }
                At::Trailer(line) => trailer(line, bytes),
                At::Lost => (At::Lost, bytes),
            };
        }
        self.at.set(at);
    }

    fn head<'b>(&self, mut head: Head, mut bytes: &'b [u8]) -> (At, &'b [u8]) {
        while let Some((text, rest)) =
            memchr(b'\n', bytes).and_then(|end| bytes.split_at_checked(end))
        {
            let before = text.last().copied().unwrap_or(head.last);
            let length = head.line.saturating_add(text.len());
            let has_return = before == b'\r' && length > 0;
            if !has_return {
                self.found(Ambiguity::BareLineFeed);
            }
            let is_empty = length == usize::from(has_return);
            bytes = rest.get(1..).unwrap_or_default();
            if is_empty && head.has_line {
                self.ended.set(self.ended.get().wrapping_add(1));
                return (behind(head.body), bytes);
            }
            if let Some(line) = self.body_of(head.line, text).filter(|_| head.has_line) {
                head.body = Some(self.said(head.body, line));
            }
            head = Head { line: 0, last: 0, has_line: head.has_line || !is_empty, ..head };
        }
        self.keep(head.line, bytes);
        head.line = head.line.saturating_add(bytes.len());
        head.last = bytes.last().copied().unwrap_or(head.last);
        (At::Head(head), &[])
    }

    /// What the head that has not ended yet is.
    fn found(&self, ambiguity: Ambiguity) {
        if self.ambiguous.get().is_none() {
            self.ambiguous.set(Some((self.ended.get(), ambiguity)));
        }
    }

    /// Chunks win over a length (RFC 9112, 6.3), wherever it is followed at all; two lengths that
    /// differ hyper does not take.
    fn said(&self, before: Option<Body>, line: Body) -> Body {
        let before = before.unwrap_or(line);
        if (before == Body::Chunked) != (line == Body::Chunked) {
            self.found(Ambiguity::TransferEncoding);
        }
        if before == Body::Chunked { before } else { line }
    }

    /// Keeps a line, of which so many bytes have been kept, for when its rest comes.
    fn keep(&self, line: usize, bytes: &[u8]) {
        let mut piece = self.piece.get();
        let room = piece.get_mut(line.min(PIECE_BYTES_MAX)..).unwrap_or_default();
        room.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
        self.piece.set(piece);
    }

    /// What a line says of the body; so many bytes of it came before `text`.
    fn body_of(&self, line: usize, text: &[u8]) -> Option<Body> {
        if line == 0 {
            return body_of(text);
        }
        self.keep(line, text);
        let (piece, length) = (self.piece.get(), line.saturating_add(text.len()));
        let told = body_of(piece.get(..length.min(PIECE_BYTES_MAX)).unwrap_or_default());
        let is_cut = length > PIECE_BYTES_MAX && told != Some(Body::Chunked);
        told.map(|body| if is_cut { Body::Unknown } else { body })
    }

    /// How the head that is asked about, of the oldest request that is not done, could be read in
    /// two ways.
    pub fn ambiguity(&self) -> Option<Ambiguity> {
        let (head, ambiguity) = self.ambiguous.get()?;
        (head == self.done.get()).then_some(ambiguity)
    }

    /// A request is done. Gives whether more than that request has come: a beginning of the next.
    pub fn done(&self) -> bool {
        self.done.set(self.done.get().wrapping_add(1));
        let is_open = matches!(self.at.get(), At::Head(head) if head.line > 0 || head.has_line);
        is_open || (self.ended.get() != self.done.get() && self.at.get() != At::Lost)
    }
}

/// What of `bytes` stands behind `left` bytes, and how many of these are missing.
fn skip(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    let left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    (left, bytes.get(count..).unwrap_or_default())
}

/// Where the bytes behind a head belong.
fn behind(body: Option<Body>) -> At {
    match body {
        None | Some(Body::Bytes(0)) => START,
        Some(Body::Bytes(length)) => At::Body(length),
        Some(Body::Chunked) => SIZE,
        Some(Body::Unknown) => At::Lost,
    }
}

/// What a header line, without its LF, says of the body.
fn body_of(line: &[u8]) -> Option<Body> {
    if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
        return None;
    }
    let value = |name: &[u8]| {
        let (own, value) = line.split_at_checked(name.len())?;
        own.eq_ignore_ascii_case(name).then_some(value)
    };
    if value(b"transfer-encoding:").is_some() {
        return Some(Body::Chunked);
    }
    let length = value(b"content-length:")?.trim_ascii();
    let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
    Some(length.map_or(Body::Unknown, Body::Bytes))
}

/// Hexadecimal digits, and perhaps extensions, up to the end of the line.
fn chunk_size(mut size: u64, mut is_said: bool, mut bytes: &[u8]) -> (At, &[u8]) {
    while let Some((byte, rest)) = bytes.split_first() {
        bytes = rest;
        if *byte == b'\n' {
            // two more for the CRLF behind the chunk
            let next = if size == 0 { At::Trailer(0) } else { At::Chunk(size.saturating_add(2)) };
            return (next, bytes);
        }
        let digit = char::from(*byte).to_digit(16).filter(|_| !is_said);
        is_said = digit.is_none();
        size = digit.map_or(size, |digit| size.saturating_mul(16).saturating_add(digit.into()));
    }
    (At::Size { size, is_said }, bytes)
}

/// Up to the end of a line; the empty one, of no more than a CR, is the last.
fn trailer(line: usize, bytes: &[u8]) -> (At, &[u8]) {
    let Some((text, rest)) = memchr(b'\n', bytes).and_then(|end| bytes.split_at_checked(end))
    else {
        return (At::Trailer(line.saturating_add(bytes.len())), &[]);
    };
    let is_last = line.saturating_add(text.len()) <= 1;
    (if is_last { START } else { At::Trailer(0) }, rest.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text whole, byte by byte and in pieces between: all must be judged alike.
    fn judge(text: &str) -> Lines {
        let whole = Lines::default();
        whole.feed(text.as_bytes());
        for step in [1, 2, 3, 7, 20] {
            let pieces = Lines::default();
            text.as_bytes().chunks(step).for_each(|bytes| pieces.feed(bytes));
            assert_eq!(
                (whole.at.get(), whole.ended.get(), whole.ambiguous.get()),
                (pieces.at.get(), pieces.ended.get(), pieces.ambiguous.get()),
                "{text:?} by {step}"
            );
        }
        whole
    }

    #[test]
    fn bare_line_feeds_are_found_in_heads_and_only_there() {
        for (text, is_bare, is_over) in [
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", false, true),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n{\n\n}\n", false, true),
            ("\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n", false, true),
            ("POST / HTTP/1.1\nHost: a\r\n\r\n", true, true),
            ("POST / HTTP/1.1\r\nHost: a\n\r\n", true, true),
            ("POST / HTTP/1.1\r\nHost: a\r\n\n", true, true),
            ("POST / HTTP/1.1\n\n", true, true),
            ("POST / HTTP/1.1\r\nHost: a\r\n", false, false),
            ("POST / HTTP/1.1\r\nHost: a\r", false, false),
            ("\nPOST / HTTP/1.1\r\n\r\n", true, true),
        ] {
            let lines = judge(text);
            let found = is_bare.then_some(Ambiguity::BareLineFeed);
            assert_eq!((lines.ambiguity(), lines.ended.get() == 1), (found, is_over), "{text:?}");
        }
    }

    #[test]
    fn every_head_is_judged_however_many_are_sent_ahead() {
        let chunked = "POST / HTTP/1.1\r\ntransfer-ENCODING: chunked\r\nHost: a\r\n\r\n\
            a;x=1\r\n0\n\r\n5\r\n\r\n9\r\n0\r\nX: y\r\n\r\n";
        let sized = "POST / HTTP/1.1\r\nContent-length:  4 \r\nHost: a\r\n\r\n\n\r\n\n";
        let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let bare = "POST / HTTP/1.1\r\nHost: a\nContent-Length: 2\r\n\r\n{}";
        for ahead in [
            String::new(),
            sized.to_owned(),
            format!("{plain}{sized}"),
            format!("{sized}\r\n{sized}{plain}"),
            chunked.to_owned(),
            format!("{chunked}{sized}{chunked}"),
        ] {
            let text = format!("{ahead}{bare}{sized}");
            let lines = judge(&text);
            let count = ahead.matches("HTTP/1.1").count();
            for _ in 0..count {
                assert_eq!(lines.ambiguity(), None, "{text:?}");
                assert!(lines.done(), "more was sent ahead");
            }
            assert_eq!(lines.ambiguity(), Some(Ambiguity::BareLineFeed), "{text:?}");
            assert!(lines.done());
            assert_eq!(lines.ambiguity(), None, "{text:?}");
            assert!(!lines.done());
        }
    }

    #[test]
    fn a_length_beside_a_transfer_coding_is_found_in_either_order() {
        let sized = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        let (chunked, end) = ("Transfer-Encoding: chunked\r\n", "\r\n0\r\n\r\n");
        for (lines, is_found) in [
            (chunked.to_owned(), false),
            (format!("{chunked}Content-Type: 3\r\n"), false),
            (format!("{chunked}Content-Length: 3\r\n"), true),
            (format!("content-length: 0\r\nHost: a\r\n{chunked}"), true),
            (format!("Content-Length: x\r\n{chunked}"), true),
        ] {
            let text = format!("{sized}POST / HTTP/1.1\r\n{lines}{end}{sized}");
            let lines = judge(&text);
            assert!(lines.ambiguity().is_none() && lines.done(), "{text:?}");
            let found = is_found.then_some(Ambiguity::TransferEncoding);
            assert_eq!(lines.ambiguity(), found, "{text:?}");
            assert!(lines.done(), "{text:?}");
            assert!(lines.ambiguity().is_none() && !lines.done(), "{text:?}");
        }
        assert_eq!(judge(&format!("{sized}{sized}")).ambiguous.get(), None, "lengths alone");
    }

    #[test]
    fn a_body_that_nobody_can_measure_ends_the_judging() {
        for length in ["x", "18446744073709551616", "4, 4"] {
            let text = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{{}}\n\n");
            let lines = judge(&text);
            assert_eq!((lines.at.get(), lines.ambiguity()), (At::Lost, None), "{length}");
            assert!(!lines.done());
        }
        let long = format!("POST / HTTP/1.1\r\nContent-Length: {}4\r\n\r\n", " ".repeat(60));
        let lines = Lines::default();
        long.as_bytes().chunks(5).for_each(|bytes| lines.feed(bytes));
        assert_eq!(lines.at.get(), At::Lost);
    }

    #[test]
    fn what_came_behind_a_request_is_the_beginning_of_the_next() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let sized = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        let plain = "GET / HTTP/1.1\r\n\r\n";
        for (text, behind, is_begun) in [
            (plain, "", false),
            (plain, "P", true),
            (plain, "POST / HTTP/1.1\r\n", true),
            (plain, plain, true),
            (sized, "", false),
            (sized, "P", true),
            (chunked, "", false),
            (chunked, "POST", true),
        ] {
            let lines = judge(&format!("{text}{behind}"));
            assert_eq!(lines.done(), is_begun, "{text:?} {behind:?}");
        }
    }
}
