//! From the bytes of a block to records.
//!
//! Owns: fields and numbers. Never: a file, a checksum. Invariant: total over any bytes; reserves
//! nothing by a length that was only claimed; a body is a piece of the block, not a copy.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::CaptureErrorKind as Fault;
use crate::capture::format::{self, CALLS_MAX, FIELDS_MAX, HEADERS_MAX};
use crate::capture::{Record, RecordedCall, RecordedOutcome, Stratum};
use bytes::Bytes;
use std::time::Duration;

/// A place in a block, and an end before which to stay.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    block: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(block: &'a Bytes, at: usize, end: usize) -> Self {
        Self { block, at, end: end.min(block.len()) }
    }

    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// LEB128, at most ten bytes.
    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self
                .block
                .get(self.at..self.end)
                .and_then(<[u8]>::first)
                .ok_or(Fault::Content("a number of a record"))?;
            self.at = self.at.saturating_add(1);
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.checked_shl(shift).unwrap_or_default();
            if shifted.checked_shr(shift) != Some(bits) {
                break; // more than 64 bits
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Content("a number of a record"))
    }

    /// The next `length` bytes.
    pub(super) fn part(&mut self, length: u64) -> Result<Self, Fault> {
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length))
            .filter(|end| *end <= self.end)
            .ok_or(Fault::Content("the length of a field"))?;
        let part = Self { block: self.block, at: self.at, end };
        self.at = end;
        Ok(part)
    }

    fn bytes(self) -> Bytes {
        if self.at < self.end { self.block.slice(self.at..self.end) } else { Bytes::new() }
    }

    fn text(self, out: &mut String) -> Result<(), Fault> {
        let bytes = self.block.get(self.at..self.end).unwrap_or_default();
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::Content("a text of a record"))?;
        out.clear();
        out.push_str(text);
        Ok(())
    }

    /// A number that is the whole of the part.
    fn only(mut self) -> Result<u64, Fault> {
        let value = self.number()?;
        if self.at == self.end { Ok(value) } else { Err(Fault::Content("a number of a record")) }
    }

    fn micros(self) -> Result<Duration, Fault> {
        self.only().map(Duration::from_micros)
    }

    fn status(self) -> Result<u16, Fault> {
        u16::try_from(self.only()?).map_err(|_| Fault::Content("a status"))
    }
}

/// Makes `record` what it is without any field; keeps the room of its texts.
pub(super) fn clear(record: &mut Record) {
    record.at = Duration::ZERO;
    record.connection = 0;
    record.partner.clear();
    record.method.clear();
    record.path.clear();
    record.headers.clear();
    record.body = Bytes::new();
    record.stratum = Stratum::Sample;
    record.outcome = None;
    record.calls.clear();
}

/// Each field of `part` in turn.
fn fields<'a>(
    mut part: Cursor<'a>,
    mut take: impl FnMut(u64, Cursor<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut count = 0_usize;
    while part.at < part.end {
        count = count.saturating_add(1);
        limit("the number of fields", count, FIELDS_MAX)?;
        let tag = part.number()?;
        let length = part.number()?;
        take(tag, part.part(length)?)?;
    }
    Ok(())
}

fn limit(what: &'static str, value: usize, max: usize) -> Result<(), Fault> {
    if value > max {
        return Err(Fault::Limit { what, value: value as u64, max: max as u64 });
    }
    Ok(())
}

/// Fills a cleared record.
pub(super) fn record(part: Cursor<'_>, out: &mut Record) -> Result<(), Fault> {
    use format::record as tag;
    fields(part, |tag, value| {
        match tag {
            tag::AT => out.at = value.micros()?,
            tag::CONNECTION => out.connection = value.only()?,
            tag::PARTNER => value.text(&mut out.partner)?,
            tag::METHOD => value.text(&mut out.method)?,
            tag::PATH => value.text(&mut out.path)?,
            tag::HEADER => {
                limit("the number of headers", out.headers.len(), HEADERS_MAX.saturating_sub(1))?;
                out.headers.push(header(value)?);
            }
            tag::BODY => out.body = value.bytes(),
            tag::STRATUM => {
                let known = Stratum::of(value.only()?);
                out.stratum = known.ok_or(Fault::Content("the stratum of a record"))?;
            }
            tag::OUTCOME => out.outcome = Some(outcome(value)?),
            tag::CALL => {
                limit("the number of bidders", out.calls.len(), CALLS_MAX.saturating_sub(1))?;
                out.calls.push(call(value)?);
            }
            _ => {}
        }
        Ok(())
    })
}

fn header(part: Cursor<'_>) -> Result<(String, String), Fault> {
    let (mut name, mut text) = (String::new(), String::new());
    fields(part, |tag, value| match tag {
        format::header::NAME => value.text(&mut name),
        format::header::VALUE => value.text(&mut text),
        _ => Ok(()),
    })?;
    Ok((name, text))
}

fn outcome(part: Cursor<'_>) -> Result<RecordedOutcome, Fault> {
    use format::outcome as tag;
    let mut out = RecordedOutcome::default();
    fields(part, |tag, value| {
        match tag {
            tag::STATUS => out.status = value.status()?,
            tag::REASON => value.text(&mut out.reason)?,
            tag::TOOK => out.took = value.micros()?,
            tag::GENERATION => out.generation = value.only()?,
            tag::BODY => out.body = value.bytes(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn call(part: Cursor<'_>) -> Result<RecordedCall, Fault> {
    use format::call as tag;
    let mut out = RecordedCall::default();
    fields(part, |tag, value| {
        match tag {
            tag::BIDDER => value.text(&mut out.bidder)?,
            tag::SENT => out.sent = value.micros()?,
            tag::TOOK => out.took = value.micros()?,
            tag::STATUS => out.status = value.status()?,
            tag::NO_ANSWER => value.text(&mut out.no_answer)?,
            tag::REQUEST => out.request = value.bytes(),
            tag::ANSWER => out.answer = value.bytes(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}
