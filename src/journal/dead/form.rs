//! Letters and what becomes of them, to bytes and back.
//!
//! Owns: the tags. Never: a file. Invariant: a tag is never given a second meaning; reading is total
//! over any bytes.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Change, Letter, LetterState};
use crate::tlv::{TlvFault, capped, field_bytes, field_number, fields};

/// Longest reason that is kept; the rest is cut.
const REASON_BYTES_MAX: usize = 512;

mod tag {
    pub const SINK: u64 = 1;
    pub const REASON: u64 = 2;
    pub const TRIES: u64 = 3;
    pub const BURIED_US: u64 = 4;
    pub const SEQUENCE: u64 = 5;
    pub const KIND: u64 = 6;
    pub const PAYLOAD: u64 = 7;
    pub const GROUP: u64 = 8;
    pub const DUE_US: u64 = 9;
    /// Absent: dead.
    pub const STATE: u64 = 10;
    /// Of one that was moved, its number; absent: the record's own sequence.
    pub const NUMBER: u64 = 11;
}

mod closed_tag {
    pub const LETTER: u64 = 1;
    pub const STATE: u64 = 2;
    pub const TRIES: u64 = 3;
    pub const DUE_US: u64 = 4;
    pub const REASON: u64 = 5;
    pub const SINCE_US: u64 = 6;
}

impl LetterState {
    const fn number(self) -> u64 {
        match self {
            Self::Dead => 0,
            Self::Pending => 1,
            Self::Delivered => 2,
            Self::Purged => 3,
        }
    }

    const fn of(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Dead,
            1 => Self::Pending,
            2 => Self::Delivered,
            3 => Self::Purged,
            _ => return None,
        })
    }
}

/// A letter as it stands in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub letter: Letter,
    pub state: LetterState,
    /// Its number, where that is another than the record's sequence: it was moved.
    pub moved: Option<u64>,
}

/// A letter's payload; with its number where it is moved.
pub fn write(letter: &Letter, state: LetterState, moved: Option<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    let reason = capped(&letter.reason, REASON_BYTES_MAX);
    field_bytes(&mut out, tag::SINK, letter.sink.as_bytes());
    field_bytes(&mut out, tag::REASON, reason.as_bytes());
    field_number(&mut out, tag::TRIES, u64::from(letter.tries));
    field_number(&mut out, tag::BURIED_US, letter.buried_us);
    field_number(&mut out, tag::SEQUENCE, letter.sequence);
    field_number(&mut out, tag::KIND, u64::from(letter.kind));
    field_bytes(&mut out, tag::PAYLOAD, &letter.payload);
    field_bytes(&mut out, tag::GROUP, letter.group.as_bytes());
    field_number(&mut out, tag::DUE_US, letter.due_us);
    field_number(&mut out, tag::STATE, state.number());
    if let Some(number) = moved {
        field_number(&mut out, tag::NUMBER, number);
    }
    out
}

/// Reads a letter's payload.
pub fn parse(bytes: &[u8]) -> Result<Written, TlvFault> {
    let (mut letter, mut state, mut moved) = (Letter::default(), 0, None);
    fields(bytes, |tag, value| {
        match tag {
            tag::SINK => value.text()?.clone_into(&mut letter.sink),
            tag::REASON => value.text()?.clone_into(&mut letter.reason),
            tag::TRIES => letter.tries = value.small("tries")?,
            tag::BURIED_US => letter.buried_us = value.number()?,
            tag::SEQUENCE => letter.sequence = value.number()?,
            tag::KIND => {
                let kind = u8::try_from(value.number()?);
                letter.kind = kind.map_err(|_| TlvFault::Value("kind"))?;
            }
            tag::PAYLOAD => letter.payload = value.bytes().to_vec(),
            tag::GROUP => value.text()?.clone_into(&mut letter.group),
            tag::DUE_US => letter.due_us = value.number()?,
            tag::STATE => state = value.number()?,
            tag::NUMBER => moved = Some(value.number()?),
            _ => {}
        }
        Ok(())
    })?;
    let state = LetterState::of(state).ok_or(TlvFault::Value("state"))?;
    Ok(Written { letter, state, moved })
}

/// The payload of what became of a letter.
pub fn write_change(change: &Change) -> Vec<u8> {
    let mut out = Vec::new();
    let reason = capped(&change.reason, REASON_BYTES_MAX);
    field_number(&mut out, closed_tag::LETTER, change.number);
    field_number(&mut out, closed_tag::STATE, change.state.number());
    field_number(&mut out, closed_tag::TRIES, u64::from(change.tries));
    field_number(&mut out, closed_tag::DUE_US, change.due_us);
    field_number(&mut out, closed_tag::SINCE_US, change.since_us);
    field_bytes(&mut out, closed_tag::REASON, reason.as_bytes());
    out
}

/// Reads it.
pub fn parse_change(bytes: &[u8]) -> Result<Change, TlvFault> {
    let (mut change, mut state) = (Change::default(), 0);
    fields(bytes, |tag, value| {
        match tag {
            closed_tag::LETTER => change.number = value.number()?,
            closed_tag::STATE => state = value.number()?,
            closed_tag::TRIES => change.tries = value.small("tries")?,
            closed_tag::DUE_US => change.due_us = value.number()?,
            closed_tag::SINCE_US => change.since_us = value.number()?,
            closed_tag::REASON => value.text()?.clone_into(&mut change.reason),
            _ => {}
        }
        Ok(())
    })?;
    change.state = LetterState::of(state).ok_or(TlvFault::Value("state"))?;
    Ok(change)
}
