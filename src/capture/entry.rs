//! A record as it is written down: borrowed from whoever has its parts, and encoded at once.
//!
//! Owns: [`Entry`], the encoding of a record. Never: an allocation of its own, what is personal.
//! Invariant: what breaks a cap of [`super::format`] leaves nothing behind.

use super::format::{self, CALLS_MAX, FIELDS_MAX, HEADERS_MAX, RECORD_BYTES_MAX};
use super::{Record, Stratum};
use crate::tlv::{field_bytes, field_number, number};
use std::io;
use std::time::Duration;

/// Bytes of a length that is known only afterwards: LEB128 with more zeros than it needs.
const LENGTH_BYTES: usize = 4;
const _: () = assert!(RECORD_BYTES_MAX < 1 << (7 * LENGTH_BYTES));
const _: () = assert!(FIELDS_MAX > HEADERS_MAX + CALLS_MAX + 16);

/// A [`Record`] whose parts are elsewhere: `H` gives its headers, `C` its calls.
#[derive(Debug)]
pub struct Entry<'a, H, C> {
    pub at: Duration,
    pub connection: u64,
    pub partner: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub headers: H,
    pub body: &'a [u8],
    pub stratum: Stratum,
    pub outcome: Option<OutcomeEntry<'a>>,
    pub calls: C,
}

/// A [`super::RecordedOutcome`].
#[derive(Clone, Copy, Debug)]
pub struct OutcomeEntry<'a> {
    pub status: u16,
    pub reason: &'a str,
    pub took: Duration,
    pub generation: u64,
    pub body: &'a [u8],
}

/// A [`super::RecordedCall`].
#[derive(Clone, Copy, Debug)]
pub struct CallEntry<'a> {
    pub bidder: &'a str,
    pub sent: Duration,
    pub took: Duration,
    pub status: u16,
    pub no_answer: &'a str,
    pub request: &'a [u8],
    pub answer: &'a [u8],
}

/// A record breaks a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {value}, at most {max} allowed")]
pub struct TooLong {
    pub what: &'static str,
    pub value: usize,
    pub max: usize,
}

impl TooLong {
    /// Holds a count against its cap.
    pub const fn check(what: &'static str, value: usize, max: usize) -> Result<(), Self> {
        if value > max { Err(Self { what, value, max }) } else { Ok(()) }
    }
}

impl From<TooLong> for io::Error {
    fn from(fault: TooLong) -> Self {
        Self::new(io::ErrorKind::InvalidInput, fault)
    }
}

impl<'a, H, C> Entry<'a, H, C>
where
    H: Iterator<Item = (&'a str, &'a str)>,
    C: Iterator<Item = CallEntry<'a>>,
{
    /// Writes it behind what is in `out`, as it stands in a block: after its length.
    pub fn append(self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        append(out, |out| {
            let (headers, calls) = self.encode(out);
            TooLong::check("the list of headers", headers, HEADERS_MAX)?;
            TooLong::check("the list of bidders", calls, CALLS_MAX)
        })
    }

    /// Gives how many headers and calls there were.
    fn encode(self, out: &mut Vec<u8>) -> (usize, usize) {
        use format::record::{
            AT, BODY, CALL, CONNECTION, HEADER, METHOD, OUTCOME, PARTNER, PATH, STRATUM,
        };
        field_number(out, AT, micros(self.at));
        field_number(out, CONNECTION, self.connection);
        field_bytes(out, PARTNER, self.partner.as_bytes());
        field_bytes(out, METHOD, self.method.as_bytes());
        field_bytes(out, PATH, self.path.as_bytes());
        let (mut headers, mut calls) = (0, 0);
        for (name, value) in self.headers {
            field(out, HEADER, |out| header(name, value, out));
            headers += 1;
        }
        field_bytes(out, BODY, self.body);
        field_number(out, STRATUM, self.stratum as u64);
        if let Some(outcome) = self.outcome {
            field(out, OUTCOME, |out| outcome.encode(out));
        }
        for call in self.calls {
            field(out, CALL, |out| call.encode(out));
            calls += 1;
        }
        (headers, calls)
    }
}

impl OutcomeEntry<'_> {
    fn encode(self, out: &mut Vec<u8>) {
        use format::outcome::{BODY, GENERATION, REASON, STATUS, TOOK};
        field_number(out, STATUS, u64::from(self.status));
        field_bytes(out, REASON, self.reason.as_bytes());
        field_number(out, TOOK, micros(self.took));
        field_number(out, GENERATION, self.generation);
        field_bytes(out, BODY, self.body);
    }
}

impl CallEntry<'_> {
    fn encode(self, out: &mut Vec<u8>) {
        use format::call::{ANSWER, BIDDER, NO_ANSWER, REQUEST, SENT, STATUS, TOOK};
        field_bytes(out, BIDDER, self.bidder.as_bytes());
        field_number(out, SENT, micros(self.sent));
        field_number(out, TOOK, micros(self.took));
        field_number(out, STATUS, u64::from(self.status));
        field_bytes(out, NO_ANSWER, self.no_answer.as_bytes());
        field_bytes(out, REQUEST, self.request);
        field_bytes(out, ANSWER, self.answer);
    }
}

/// Writes a record that is kept whole.
pub fn append_record(record: &Record, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let outcome = record.outcome.as_ref().map(|outcome| OutcomeEntry {
        status: outcome.status,
        reason: &outcome.reason,
        took: outcome.took,
        generation: outcome.generation,
        body: &outcome.body,
    });
    let calls = record.calls.iter().map(|call| CallEntry {
        bidder: &call.bidder,
        sent: call.sent,
        took: call.took,
        status: call.status,
        no_answer: &call.no_answer,
        request: &call.request,
        answer: &call.answer,
    });
    let entry = Entry {
        at: record.at,
        connection: record.connection,
        partner: &record.partner,
        method: &record.method,
        path: &record.path,
        headers: record.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        body: &record.body,
        stratum: record.stratum,
        outcome,
        calls,
    };
    entry.append(out)
}

/// What `write` writes is a record, and stands behind its length, unless it breaks a cap.
pub(super) fn append<T, E: From<TooLong>>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
) -> Result<T, E> {
    let start = out.len();
    let written = part(out, write).and_then(|told| {
        let length = out.len() - start - LENGTH_BYTES;
        Ok(TooLong::check("the record", length, RECORD_BYTES_MAX).map(|()| told)?)
    });
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// A header.
pub(super) fn header(name: &str, value: &str, out: &mut Vec<u8>) {
    field_bytes(out, format::header::NAME, name.as_bytes());
    field_bytes(out, format::header::VALUE, value.as_bytes());
}

/// A field that holds what `write` writes.
pub(super) fn field<T>(out: &mut Vec<u8>, tag: u64, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    number(out, tag);
    part(out, write)
}

/// What `write` writes, behind its length, which is put there afterwards: so nothing is written twice.
fn part<T>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let at = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let written = write(out);
    let mut length = out.len() - at - LENGTH_BYTES;
    for byte in out.iter_mut().skip(at).take(LENGTH_BYTES) {
        *byte = (length & 0x7f).to_le_bytes()[0] | 0x80;
        length >>= 7;
    }
    // the last has nothing behind it
    if let Some(last) = out.get_mut(at + LENGTH_BYTES - 1) {
        *last &= 0x7f;
    }
    written
}

/// Whole microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
