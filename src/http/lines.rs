//! Finds heads whose lines end with a bare LF, which hyper takes (RFC 9112, 2.2 allows it) and
//! another reader in front of us may not: a way to smuggle a request. And tells whether the
//! beginning of a next request came with the end of the last.
//!
//! Owns: [`Lines`], fed with every byte of an HTTP/1 connection. Never: a rewritten byte.
//! Invariant: a head is judged only where it is known to begin. Where requests are sent ahead
//! that is not known any more and nothing is judged, until all that came ends as a head or a
//! chunked body does and nothing is open: better a bare LF that passes than an honest body that
//! is taken for a head.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use memchr::memchr;
use std::cell::Cell;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a head.
    Head {
        /// Bytes of the current line so far, and the last of them.
        line: usize,
        last: u8,
        /// A line that is not empty has come: the next empty one ends the head.
        has_line: bool,
    },
    /// So many bytes behind the end of a head, and the last four that came.
    Behind(usize, u32),
    /// With the last four bytes that came.
    Lost(u32),
}

/// How a head ends, and a chunked body. The beginning of a head that has not ended never does.
const BLANK: u32 = u32::from_be_bytes(*b"\r\n\r\n");

/// The last four bytes, once these have come.
fn tail(before: u32, bytes: &[u8]) -> u32 {
    let new = bytes.get(bytes.len().saturating_sub(4)..).unwrap_or_default();
    new.iter().fold(before, |tail, byte| (tail << 8) | u32::from(*byte))
}

const START: At = At::Head { line: 0, last: 0, has_line: false };

/// Follows the heads of one connection.
#[derive(Debug)]
pub struct Lines {
    at: Cell<At>,
    is_bare: Cell<bool>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { at: Cell::new(START), is_bare: Cell::new(false) }
    }
}

impl Lines {
    /// Takes in what was read.
    pub fn feed(&self, bytes: &[u8]) {
        match self.at.get() {
            At::Head { line, last, has_line } => self.feed_head(bytes, line, last, has_line),
            At::Behind(seen, last) => {
                self.at.set(At::Behind(seen.saturating_add(bytes.len()), tail(last, bytes)));
            }
            At::Lost(last) => self.at.set(At::Lost(tail(last, bytes))),
        }
    }

    fn feed_head(&self, mut bytes: &[u8], mut line: usize, mut last: u8, mut has_line: bool) {
        while let Some((text, rest)) =
            memchr(b'\n', bytes).and_then(|end| bytes.split_at_checked(end))
        {
            let before = text.last().copied().unwrap_or(last);
            let has_return = before == b'\r' && line.saturating_add(text.len()) > 0;
            if !has_return {
                self.is_bare.set(true);
            }
            let is_empty = line.saturating_add(text.len()) == usize::from(has_return);
            bytes = rest.get(1..).unwrap_or_default();
            (line, last) = (0, 0);
            if is_empty && has_line {
                return self.at.set(At::Behind(bytes.len(), tail(BLANK, bytes)));
            }
            has_line |= !is_empty;
        }
        line = line.saturating_add(bytes.len());
        last = bytes.last().copied().unwrap_or(last);
        self.at.set(At::Head { line, last, has_line });
    }

    /// Whether the head that has just come to its end had a bare LF.
    pub fn is_bare(&self) -> bool {
        self.is_bare.get()
    }

    /// A request with a body of so many bytes is done; `None`: it was not said how many. Gives
    /// whether more than that request has come: a beginning of the next, as far as can be told.
    pub fn done(&self, body_bytes: Option<usize>) -> bool {
        self.is_bare.set(false);
        let last = match self.at.get() {
            At::Behind(seen, _) if Some(seen) == body_bytes => {
                self.at.set(START);
                return false;
            }
            At::Behind(_, last) | At::Lost(last) => last,
            At::Head { .. } => 0,
        };
        self.at.set(At::Lost(last));
        last != BLANK
    }

    /// Nothing is open and more is about to come: where all so far has its end, a head begins.
    pub fn settle(&self) {
        if self.at.get() == At::Lost(BLANK) {
            self.at.set(START);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text whole, and byte by byte: both must be judged alike.
    fn judge(text: &str) -> (bool, bool) {
        let (whole, single) = (Lines::default(), Lines::default());
        whole.feed(text.as_bytes());
        text.as_bytes().iter().for_each(|byte| single.feed(&[*byte]));
        assert_eq!(
            (whole.at.get(), whole.is_bare()),
            (single.at.get(), single.is_bare()),
            "{text:?}"
        );
        (whole.is_bare(), matches!(whole.at.get(), At::Behind(..)))
    }

    #[test]
    fn bare_line_feeds_are_found_in_heads_and_only_there() {
        for (text, is_bare, is_over) in [
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", false, true),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n{\n\n}\n", false, true),
            ("\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n", false, true),
            ("POST / HTTP/1.1\nHost: a\r\n\r\n", true, true),
            ("POST / HTTP/1.1\r\nHost: a\n\r\n", true, true),
            ("POST / HTTP/1.1\r\nHost: a\r\n\n", true, true),
            ("POST / HTTP/1.1\n\n", true, true),
            ("POST / HTTP/1.1\r\nHost: a\r\n", false, false),
            ("POST / HTTP/1.1\r\nHost: a\r", false, false),
            ("\nPOST / HTTP/1.1\r\n\r\n", true, true),
        ] {
            assert_eq!(judge(text), (is_bare, is_over), "{text:?}");
        }
    }

    #[test]
    fn heads_are_followed_over_requests_while_their_begin_is_known() {
        let lines = Lines::default();
        lines.feed(b"POST / HTTP/1.1\r\n\r\nabc");
        assert!(!lines.done(Some(3)));
        lines.feed(b"POST / HTTP/1.1\n\r\n");
        assert!(lines.is_bare());
        assert!(!lines.done(Some(0)));
        assert!(!lines.is_bare());
        lines.feed(b"POST / HTTP/1.1\r\n\r\nabcPOST / HTTP/1.1\r\n");
        assert!(lines.done(Some(3)));
        lines.settle();
        lines.feed(b"X: y\n\r\n");
        assert!(!lines.is_bare(), "sent ahead: where the head began is not known");
        assert!(lines.done(Some(0)));
        lines.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n");
        lines.feed(b"\r\n");
        assert!(!lines.done(None), "the end of a chunked body, and nothing behind it");
        lines.settle();
        lines.feed(b"POST / HTTP/1.1\n\r\n");
        assert!(lines.is_bare(), "it is known again where a head begins");
    }

    #[test]
    fn what_came_behind_a_request_is_the_beginning_of_the_next() {
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        for (text, body_bytes, is_begun) in [
            ("GET / HTTP/1.1\r\n\r\n", Some(0), false),
            ("GET / HTTP/1.1\r\n\r\nP", Some(0), true),
            ("GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n", Some(0), true),
            ("POST / HTTP/1.1\r\n\r\nabc", Some(3), false),
            ("POST / HTTP/1.1\r\n\r\nabcP", Some(3), true),
            (chunked, None, false),
            (&format!("{chunked}POST"), None, true),
        ] {
            for step in [1, 3, 1000] {
                let lines = Lines::default();
                text.as_bytes().chunks(step).for_each(|bytes| lines.feed(bytes));
                assert_eq!(lines.done(body_bytes), is_begun, "{text:?}");
            }
        }
    }
}
