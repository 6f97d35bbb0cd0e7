//! What ties a request to its answer, its log lines, its trace and its records.
//!
//! Owns: [`RequestId`], [`TraceParent`] (W3C Trace Context, level 1) and [`Correlation`], which
//! travels with a request; [`Mint`], which makes ids. Never: a clock, a decision what is traced.
//! Invariant: an id that came from outside is of a closed set of characters and short, so that it
//! can stand in a header, in JSON and in a terminal as it is.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use bytes::{Bytes, BytesMut};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;

/// Longest id of a request that is taken over from its sender, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// Ids are written into one piece of memory of this size until it is full: about one allocation
/// for a hundred requests.
const CHUNK_BYTES: usize = 4096;

/// Name of one request: its sender's, else the trace's as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RequestId(Bytes);

/// Name of a trace; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceId(pub u128);

/// Name of a span; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SpanId(pub u64);

/// What a `traceparent` header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: TraceId,
    pub span: SpanId,
    pub is_sampled: bool,
}

/// One request's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Correlation {
    pub request_id: RequestId,
    pub trace: TraceId,
    /// Of our span, and of those of its calls (counted up from here).
    pub span: SpanId,
    /// The span that called us.
    pub parent: Option<SpanId>,
    /// A trace of it is sent.
    pub is_traced: bool,
    /// The time of its stages is taken.
    pub is_timed: bool,
}

/// Makes the ids of one worker.
#[derive(Debug)]
pub struct Mint {
    /// Differs by process and worker, and cannot be guessed.
    run: u64,
    made: u64,
    chunk: BytesMut,
}

impl RequestId {
    /// As text.
    pub fn as_str(&self) -> &str {
        // only ever made of ASCII
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes, shared.
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// Whether a sender's id is taken over: 1 to 64 letters, digits, `.`, `_` and `-`. An e-mail
    /// address is none, nor is anything that a log or a terminal would act upon.
    pub fn is_sane(text: &[u8]) -> bool {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        (1..=REQUEST_ID_BYTES_MAX).contains(&text.len()) && text.iter().all(is_word)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl SpanId {
    /// The id of the `number`th call of this span; never zero.
    #[must_use]
    pub fn child(self, number: usize) -> Self {
        let number = u64::try_from(number).unwrap_or(0).wrapping_add(1);
        Self(self.0.wrapping_add(number).max(1))
    }
}

impl TraceParent {
    /// Length of version 00, and the least of any later one.
    const BYTES: usize = 55;

    /// Reads the header; `None`: it is malformed, and the trace begins here (3.2.2.3, 4.3).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(Self::BYTES)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let (version, trace) = (parts.next()?, parts.next()?);
        let (span, flags) = (parts.next()?, parts.next()?);
        if parts.next().is_some() || (version.len(), trace.len(), span.len()) != (2, 32, 16) {
            return None;
        }
        let version = hex(version)?;
        // later versions may append fields behind a dash; ff is forbidden (3.2.2.1)
        let is_whole = if version == 0 { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
        let (trace, span, flags) = (hex(trace)?, u64::try_from(hex(span)?).ok()?, hex(flags)?);
        let is_valid = is_whole && version != 0xff && trace != 0 && span != 0;
        is_valid.then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            is_sampled: flags & 1 == 1,
        })
    }

    /// As the header has it.
    pub fn header(&self) -> String {
        let flags = u8::from(self.is_sampled);
        format!("00-{:032x}-{:016x}-{flags:02x}", self.trace.0, self.span.0)
    }
}

/// Lower-case hexadecimal digits, as the specification wants them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit.wrapping_sub(b'0'),
            b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
            _ => return None,
        };
        Some(sum << 4 | u128::from(value))
    })
}

impl Default for Mint {
    fn default() -> Self {
        Self::new()
    }
}

impl Mint {
    /// Of one worker. The randomness is that which the standard library seeds its tables with.
    pub fn new() -> Self {
        let run = RandomState::new().hash_one(0_u64);
        Self { run, made: 0, chunk: BytesMut::new() }
    }

    /// The ids of one request, from what its sender says of it: a request id that
    /// [is sane](RequestId::is_sane), and a parent.
    pub fn correlate(&mut self, id: Option<&[u8]>, parent: Option<TraceParent>) -> Correlation {
        self.made = self.made.wrapping_add(1);
        let (high, low) = (mixed(self.run ^ self.made), mixed(self.run.wrapping_add(self.made)));
        let own = (u128::from(self.run) << 64 | u128::from(high)).max(1);
        let trace = parent.map_or(TraceId(own), |parent| parent.trace);
        let request_id = match id {
            Some(id) => self.write(id),
            None => self.write_hex(trace),
        };
        Correlation {
            request_id,
            trace,
            // room for its children's numbers, which count up from here
            span: SpanId((low & !0xffff).max(1 << 16)),
            parent: parent.map(|parent| parent.span),
            is_traced: false,
            is_timed: false,
        }
    }

    fn write(&mut self, text: &[u8]) -> RequestId {
        self.make_room(text.len());
        self.chunk.extend_from_slice(text);
        RequestId(self.chunk.split().freeze())
    }

    fn write_hex(&mut self, TraceId(trace): TraceId) -> RequestId {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.make_room(32);
        for shift in (0..32_u32).rev() {
            let digit =
                usize::try_from(trace.wrapping_shr(shift.wrapping_mul(4)) & 0xf).unwrap_or(0);
            self.chunk.extend_from_slice(DIGITS.get(digit..=digit).unwrap_or_default());
        }
        RequestId(self.chunk.split().freeze())
    }

    fn make_room(&mut self, bytes: usize) {
        if self.chunk.capacity() < bytes {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
    }
}

/// One to one, and no bit of the result tells a bit of what went in (the finaliser of SplitMix64).
const fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_as_the_specification_wants_it_or_not_at_all() {
        let parent = TraceParent::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(parent.trace, TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
        assert_eq!(parent.span, SpanId(0x00f0_67aa_0ba9_02b7));
        assert!(parent.is_sampled);
        assert_eq!(parent.header(), GOOD);
        let is_sampled = |text: &str| TraceParent::parse(text.as_bytes()).map(|p| p.is_sampled);
        let tail = "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";
        for (text, expected) in [
            (format!("00{tail}00"), Some(false)),
            (format!("00{tail}03"), Some(true)),
            (format!("cc{tail}01"), Some(true)),
            (format!("cc{tail}01-what-comes-later"), Some(true)),
            (format!("cc{tail}01.what"), None),
            (format!("00{tail}01-more"), None),
            (format!("ff{tail}01"), None),
            (format!("00{tail}1"), None),
            (format!("0g{tail}01"), None),
            (GOOD.to_uppercase(), None),
            (GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), None),
            (GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)), None),
            (GOOD.replace('-', "_"), None),
            (format!(" {GOOD}"), None),
            (String::new(), None),
        ] {
            assert_eq!(is_sampled(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_parent_survives_any_bytes() {
        for at in 0..GOOD.len() {
            let (front, back) = GOOD.as_bytes().split_at(at);
            assert_eq!(TraceParent::parse(front), None, "{at} bytes");
            for value in [0, b'-', b'.', b'z', 0xff] {
                let spoilt = [front, &[value], back.get(1..).unwrap_or_default()].concat();
                let is_same = spoilt == GOOD.as_bytes();
                assert_eq!(TraceParent::parse(&spoilt).is_some(), is_same, "{value} at {at}");
            }
        }
    }

    #[test]
    fn only_plain_words_are_taken_over_as_ids() {
        for (text, is_sane) in [
            ("7c1f-AB_2.3", true),
            ("", false),
            ("jo@mail.example", false),
            ("a b", false),
            ("a\u{1b}[31m", false),
            ("a\"b", false),
            ("é", false),
        ] {
            assert_eq!(RequestId::is_sane(text.as_bytes()), is_sane, "{text:?}");
        }
        assert!(RequestId::is_sane(&[b'x'; REQUEST_ID_BYTES_MAX]));
        assert!(!RequestId::is_sane(&[b'x'; REQUEST_ID_BYTES_MAX + 1]));
    }

    #[test]
    fn a_request_without_an_id_gets_that_of_its_trace() {
        let mut mint = Mint::new();
        let parent = TraceParent::parse(GOOD.as_bytes());
        let ours = mint.correlate(None, None);
        assert_eq!(ours.request_id.as_str(), format!("{:?}", ours.trace));
        assert_eq!((ours.request_id.as_str().len(), ours.parent), (32, None));
        let theirs = mint.correlate(Some(b"their-own"), parent);
        assert_eq!(theirs.request_id.as_str(), "their-own");
        assert_eq!((theirs.trace, theirs.parent), parent.map(|p| (p.trace, Some(p.span))).unwrap());
        let traced = mint.correlate(None, parent);
        assert_eq!(traced.request_id.as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(theirs.span, traced.span);
    }

    #[test]
    fn no_two_ids_are_the_same() {
        let mut seen = HashSet::new();
        for mut mint in [Mint::new(), Mint::new()] {
            for _ in 0..5_000 {
                let made = mint.correlate(None, None);
                assert!(seen.insert(made.trace.0), "a trace twice");
                assert!(made.span.0 != 0 && made.span.child(64).0 != 0);
            }
        }
    }
}
