//! Through one segment, record by record, over whatever stands in it.
//!
//! Owns: [`Walk`], the only reader of segments: start-up, sinks, `verify` and `export` all go by it.
//! Never: a change to a file, an alarm. Invariant: each sequence from the first to the last is
//! answered for exactly once and in order, by its record or inside a [`Hole`]; total over any
//! bytes; memory is bounded by one record, time by the segment (see `Walk::find`).
//!
//! # Torn or damaged
//! Where a record does not hold, two things can have happened. The writer was interrupted before
//! it had made the record durable: nobody was told that it is, and it is cut ([`End::Torn`]). Or the
//! record had been durable, and the disk lost it: that is damage ([`Hole`]). It had been durable
//! where a later segment begins behind it ([`Bounds::limit`]), where a later record opens a commit,
//! or where a sink has already been given it ([`Bounds::proven`]).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::disk::ReadAt;
use super::frame::{HEAD_BYTES, HEADER_BYTES, Head, PAYLOAD_BYTES_MAX, Tag, record_bytes};
use std::io;

/// Least that is read at once.
const WINDOW: usize = 256 << 10;
/// Bytes that may be summed in search of a record behind damage, as a multiple of the segment:
/// forged sequences could otherwise make it quadratic.
const SEARCH_FACTOR: u64 = 64;

/// What is known of a segment before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Sequence of its first record.
    pub first: u64,
    /// From this sequence on nothing counts: a later segment has it. `u64::MAX` for the last one.
    pub limit: u64,
    /// All before this sequence is known to have been durable, and to be in this segment.
    pub proven: u64,
    /// Bytes of the file that may be read.
    pub bytes: u64,
    /// Where to begin: behind the header, but where it cannot be read.
    pub offset: u64,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub sequence: u64,
    pub tag: Tag,
    pub payload: &'a [u8],
    /// Where it stands in its segment.
    pub offset: u64,
}

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("the checksum does not hold")]
    Checksum,
    #[error("the length is beyond the limit or the file")]
    Length,
    #[error("a record of sequence {0} stands there")]
    Sequence(u64),
    #[error("nothing is written there")]
    Missing,
}

/// Records that had been durable and are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// First sequence that is missing, and the first that is not.
    pub from: u64,
    pub to: u64,
    /// Where in the segment it begins and ends.
    pub offset: u64,
    pub end: u64,
    pub why: Why,
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its last record, or with zeros behind it.
    Clean,
    /// With bytes behind it that were never acknowledged.
    Torn(Why),
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Record(Record<'a>),
    Hole(Hole),
    /// Behind `offset` nothing counts; `next` is the sequence that would have come.
    End {
        end: End,
        offset: u64,
        next: u64,
    },
}

enum At {
    Good(Head),
    Bad(Why),
}

/// Through one segment.
#[derive(Debug)]
pub struct Walk<'s, S: ReadAt + ?Sized> {
    window: Window<'s, S>,
    bounds: Bounds,
    offset: u64,
    next: u64,
    /// Whether `bounds.proven` takes the records behind the first bad one into account.
    is_proven: bool,
    search_left: u64,
}

impl<'s, S: ReadAt + ?Sized> Walk<'s, S> {
    /// From the first record on.
    pub fn new(source: &'s S, bounds: Bounds) -> Self {
        Self {
            window: Window { source, base: 0, bytes: Vec::new(), end: bounds.bytes },
            bounds,
            offset: bounds.offset,
            next: bounds.first,
            is_proven: bounds.proven >= bounds.limit,
            search_left: bounds.bytes.saturating_mul(SEARCH_FACTOR),
        }
    }

    /// From a record on that is known to stand at an offset.
    pub fn resume(source: &'s S, bounds: Bounds, offset: u64, next: u64) -> Self {
        let mut walk = Self::new(source, bounds);
        (walk.offset, walk.next) = (offset, next);
        walk
    }

    /// Offset and sequence of what comes next.
    pub const fn place(&self) -> (u64, u64) {
        (self.offset, self.next)
    }

    /// The sequence of the first good record, whatever it is: where the header is lost and no
    /// segment before it says what comes next.
    pub fn first_sequence(&mut self) -> io::Result<Option<u64>> {
        self.find(0, (1, u64::MAX), false).map(|found| found.map(|(_, sequence)| sequence))
    }

    /// The next piece; after [`Piece::End`] the same again.
    pub fn step(&mut self) -> io::Result<Piece<'_>> {
        if self.next >= self.bounds.limit {
            return Ok(Piece::End { end: End::Clean, offset: self.offset, next: self.next });
        }
        match self.at(self.offset)? {
            At::Good(head) if head.sequence == self.next => self.take(head),
            At::Good(head) => self.broken(Why::Sequence(head.sequence)),
            At::Bad(why) => self.broken(why),
        }
    }

    fn take(&mut self, head: Head) -> io::Result<Piece<'_>> {
        let offset = self.offset;
        let bytes = record_bytes(head.length);
        self.offset = offset.saturating_add(bytes as u64);
        self.next = self.next.saturating_add(1);
        let whole = self.window.part(offset, bytes)?.unwrap_or_default();
        let payload = whole.get(HEAD_BYTES..).unwrap_or_default();
        Ok(Piece::Record(Record { sequence: head.sequence, tag: head.tag, payload, offset }))
    }

    /// What stands at an offset; `Missing` at the end and over zeros.
    fn at(&mut self, offset: u64) -> io::Result<At> {
        let Some(head) = self.window.part(offset, HEAD_BYTES)?.and_then(Head::read) else {
            let rest = self.window.rest(offset)?;
            let is_blank = rest.iter().all(|byte| *byte == 0);
            return Ok(At::Bad(if is_blank { Why::Missing } else { Why::Length }));
        };
        if head.is_blank() {
            return Ok(At::Bad(Why::Missing));
        }
        if head.length > PAYLOAD_BYTES_MAX {
            return Ok(At::Bad(Why::Length));
        }
        Ok(match self.window.part(offset, record_bytes(head.length))? {
            None => At::Bad(Why::Length),
            Some(bytes) if head.holds(bytes.get(HEAD_BYTES..).unwrap_or_default()) => {
                At::Good(head)
            }
            Some(_) => At::Bad(Why::Checksum),
        })
    }

    fn broken(&mut self, why: Why) -> io::Result<Piece<'_>> {
        if !self.is_proven {
            self.is_proven = true;
            self.prove()?;
        }
        let (from, offset) = (self.next, self.offset);
        let Bounds { limit, proven, .. } = self.bounds;
        // the record that proves the others is itself there
        let (last, high) = (proven.min(limit), proven.saturating_add(1).min(limit));
        if from >= last {
            let end = if why == Why::Missing && self.is_blank_from(offset)? {
                End::Clean
            } else {
                End::Torn(why)
            };
            self.bounds.limit = from;
            return Ok(Piece::End { end, offset, next: from });
        }
        let found = self.find(offset.saturating_add(1), (from, high), false)?;
        let (to, end) = match found {
            Some((end, sequence)) => (sequence, end),
            None => (last, self.bounds.bytes),
        };
        (self.next, self.offset) = (to, end);
        if from == to {
            // only what stood before it is lost: the header
            return self.step();
        }
        Ok(Piece::Hole(Hole { from, to, offset, end, why }))
    }

    /// Looks behind the first bad record for one that opened a commit.
    fn prove(&mut self) -> io::Result<()> {
        let plausible = self.bounds.bytes.div_ceil(HEAD_BYTES as u64);
        let mut from = self.offset.saturating_add(1);
        let above = self.next.saturating_add(1);
        let beyond = self.next.saturating_add(plausible).min(self.bounds.limit);
        while let Some((offset, sequence)) = self.find(from, (above, beyond), true)? {
            self.bounds.proven = self.bounds.proven.max(sequence);
            from = offset.saturating_add(1);
        }
        Ok(())
    }

    /// The first good record at or behind `from` with a sequence from `low` to below `high`.
    /// Each candidate is summed; what that may cost in all is bounded, so that a forged segment
    /// is given up (its rest is a hole) instead of being searched for hours.
    fn find(
        &mut self,
        from: u64,
        (low, high): (u64, u64),
        opens: bool,
    ) -> io::Result<Option<(u64, u64)>> {
        let mut at = from.max(HEADER_BYTES as u64);
        loop {
            let ahead = self.window.ahead(at)?;
            if ahead.len() < HEAD_BYTES {
                return Ok(None);
            }
            let is_blank = ahead.iter().all(|byte| *byte == 0);
            let searched = if is_blank { &[] } else { ahead };
            let candidate = searched.windows(HEAD_BYTES).enumerate().find_map(|(step, bytes)| {
                let head = Head::read(bytes)?;
                let is_one = head.sequence >= low
                    && head.sequence < high
                    && head.length <= PAYLOAD_BYTES_MAX
                    && (head.tag.opens || !opens);
                is_one.then_some((step, head))
            });
            let Some((step, head)) = candidate else {
                let passed = ahead.len().saturating_sub(HEAD_BYTES).saturating_add(1);
                at = at.saturating_add(passed as u64);
                continue;
            };
            at = at.saturating_add(step as u64);
            let end = at.saturating_add(record_bytes(head.length) as u64);
            if end > self.bounds.bytes {
                at = at.saturating_add(1);
                continue;
            }
            self.search_left = self.search_left.saturating_sub(record_bytes(head.length) as u64);
            if self.search_left == 0 {
                return Ok(None);
            }
            if let At::Good(head) = self.at(at)? {
                return Ok(Some((at, head.sequence)));
            }
            at = at.saturating_add(1);
        }
    }

    /// Whether only zeros stand from here to the end.
    fn is_blank_from(&mut self, offset: u64) -> io::Result<bool> {
        let mut at = offset;
        loop {
            let ahead = self.window.ahead(at)?;
            if ahead.is_empty() {
                return Ok(true);
            }
            if ahead.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at = at.saturating_add(ahead.len() as u64);
        }
    }

    /// Whether bytes stand behind the last record that are not zero: what a commit left that
    /// failed, or a flipped bit that cost nothing.
    pub fn has_dirt(&mut self) -> io::Result<bool> {
        self.is_blank_from(self.offset).map(|is_blank| !is_blank)
    }
}

/// A moving part of a file.
#[derive(Debug)]
struct Window<'s, S: ReadAt + ?Sized> {
    source: &'s S,
    base: u64,
    bytes: Vec<u8>,
    end: u64,
}

impl<S: ReadAt + ?Sized> Window<'_, S> {
    /// `count` bytes at an offset; `None` where they are beyond the end.
    fn part(&mut self, offset: u64, count: usize) -> io::Result<Option<&[u8]>> {
        let Some(to) = offset.checked_add(count as u64).filter(|to| *to <= self.end) else {
            return Ok(None);
        };
        let have = self.base.saturating_add(self.bytes.len() as u64);
        if offset < self.base || to > have {
            self.load(offset, count)?;
        }
        let from = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..from.saturating_add(count)))
    }

    /// Some bytes from an offset on, at least a head where there is one; none at the end.
    fn ahead(&mut self, offset: u64) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.part(offset, left.min(HEAD_BYTES))?;
        let from = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..).unwrap_or_default())
    }

    /// The last bytes, fewer than a head.
    fn rest(&mut self, offset: u64) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        Ok(self.part(offset, left.min(HEAD_BYTES))?.unwrap_or_default())
    }

    fn load(&mut self, offset: u64, count: usize) -> io::Result<()> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.bytes.resize(count.max(WINDOW).min(left), 0);
        self.base = offset;
        let got = self.source.read_at(offset, &mut self.bytes)?;
        self.bytes.truncate(got);
        Ok(())
    }
}
