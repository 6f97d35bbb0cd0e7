//! One direction of a connection: its bytes in order.
//!
//! Owns: [`Stream`]. Never: what the bytes mean. Invariants: a byte is given once, the first copy
//! of it that came; bytes that came too early are bounded in number and in pieces.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

/// Bytes that wait for others before them.
const EARLY_BYTES_MAX: usize = 1 << 20;

/// Segments that wait.
const EARLY_MAX: usize = 512;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of the next byte; `None` before the first segment.
    next: Option<u32>,
    /// By position from the start of the stream, so that numbers that wrap stay in order.
    early: BTreeMap<u64, Vec<u8>>,
    early_bytes: usize,
    /// Position of the next byte.
    position: u64,
    /// In order, not yet taken.
    pub ready: Vec<u8>,
}

/// What came of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Bytes were added, or it was a copy, or it waits.
    Fine,
    /// Too much waits for bytes that are missing: [`Stream::skip_gap`] gives them up.
    Gap,
}

impl Stream {
    /// The number of the first byte, from a SYN.
    pub fn begin(&mut self, sequence: u32) {
        *self = Self { next: Some(sequence.wrapping_add(1)), ..Self::default() };
    }

    /// Takes a segment.
    pub fn take(&mut self, sequence: u32, payload: &[u8]) -> Given {
        if payload.is_empty() {
            return Given::Fine;
        }
        let next = *self.next.get_or_insert(sequence);
        // the distance is what is less than half of the numbers
        let ahead = sequence.wrapping_sub(next);
        let at = if ahead < 1 << 31 {
            self.position.saturating_add(u64::from(ahead))
        } else {
            let behind = u64::from(next.wrapping_sub(sequence));
            let old = usize::try_from(behind).unwrap_or(usize::MAX);
            let Some(fresh) = payload.get(old..).filter(|fresh| !fresh.is_empty()) else {
                return Given::Fine; // sent again
            };
            self.push(fresh);
            self.drain();
            return Given::Fine;
        };
        if at == self.position {
            self.push(payload);
            self.drain();
            return Given::Fine;
        }
        let known = self.early.get(&at).map_or(0, Vec::len);
        if known < payload.len() {
            self.early_bytes = self.early_bytes.saturating_add(payload.len()).saturating_sub(known);
            self.early.insert(at, payload.to_vec());
        }
        if self.early_bytes > EARLY_BYTES_MAX || self.early.len() > EARLY_MAX {
            return Given::Gap;
        }
        Given::Fine
    }

    /// Whether bytes wait for others that never came.
    pub fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// Gives up what is missing, and goes on with the first segment behind it that begins as it
    /// should; `false`: none does, and nothing waits any more.
    pub fn skip_gap(&mut self, is_beginning: impl Fn(&[u8]) -> bool) -> bool {
        self.ready.clear();
        while let Some((at, bytes)) = self.early.pop_first() {
            self.early_bytes = self.early_bytes.saturating_sub(bytes.len());
            if !is_beginning(&bytes) {
                continue;
            }
            let missing = at.saturating_sub(self.position) & u64::from(u32::MAX);
            let missing = u32::try_from(missing).unwrap_or(0);
            self.next = self.next.map(|next| next.wrapping_add(missing));
            self.position = at;
            self.push(&bytes);
            self.drain();
            return true;
        }
        false
    }

    /// Bytes that are held.
    pub fn weight(&self) -> usize {
        self.ready.len().saturating_add(self.early_bytes)
    }

    /// Takes away bytes that were read.
    pub fn consume(&mut self, count: usize) {
        self.ready.drain(..count.min(self.ready.len()));
    }

    fn push(&mut self, bytes: &[u8]) {
        self.ready.extend_from_slice(bytes);
        self.position = self.position.saturating_add(bytes.len() as u64);
        let count = u32::try_from(bytes.len()).unwrap_or(0);
        self.next = self.next.map(|next| next.wrapping_add(count));
    }

    /// Adds what waited for the bytes that are there now.
    fn drain(&mut self) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.position {
                return;
            }
            let (at, bytes) = entry.remove_entry();
            self.early_bytes = self.early_bytes.saturating_sub(bytes.len());
            let old = usize::try_from(self.position.saturating_sub(at)).unwrap_or(usize::MAX);
            if let Some(fresh) = bytes.get(old..).filter(|fresh| !fresh.is_empty()) {
                self.push(fresh);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn bytes_come_in_order_whatever_the_order_of_the_segments() {
        let text: Vec<u8> = (0..20_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        for seed in 0..40 {
            let mut random = Random::seeded(seed);
            // numbers that wrap in the middle
            let first = u32::MAX - 9_000;
            let mut stream = Stream::default();
            stream.begin(first.wrapping_sub(1));
            let mut segments = Vec::new();
            let mut at = 0;
            while at < text.len() {
                let end = (at + 1 + random.index(900)).min(text.len());
                // some overlap what came before, some come twice
                let from = at.saturating_sub(random.index(200));
                segments.push((from, end));
                if random.chance(0.2) {
                    segments.push((from, end));
                }
                at = end;
            }
            for _ in 0..segments.len() {
                let (one, other) = (random.index(segments.len()), random.index(6));
                let other = (one + other).min(segments.len() - 1);
                segments.swap(one, other);
            }
            for (from, end) in segments {
                let sequence = first.wrapping_add(u32::try_from(from).unwrap());
                assert_eq!(stream.take(sequence, &text[from..end]), Given::Fine);
            }
            assert!(stream.ready == text && !stream.has_gap(), "seed {seed}");
        }
    }

    #[test]
    fn a_gap_is_given_up_when_too_much_waits() {
        let mut stream = Stream::default();
        stream.begin(0);
        assert_eq!(stream.take(1, b"abc"), Given::Fine);
        let mut sequence = 10_u32;
        while stream.take(sequence, &[b'x'; 10]) == Given::Fine {
            sequence += 10;
        }
        assert_eq!(stream.ready, b"abc");
        assert!(stream.skip_gap(|bytes| bytes.starts_with(b"x")));
        assert_eq!(stream.ready.len(), usize::try_from(sequence).unwrap());
        assert!(!stream.has_gap());
        stream.take(sequence.wrapping_add(50), b"abc");
        assert!(!stream.skip_gap(|bytes| bytes.starts_with(b"x")) && !stream.has_gap());
    }
}
