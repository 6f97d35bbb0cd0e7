//! Damage to the data of an address database that its reader takes for data.
//!
//! Owns: [`Scan`]. The reader is lenient: zeros decode as empty maps, a text may hold any
//! character, values may overlap. No writer writes that. So each value that is reachable is
//! decoded here by the strict reading of the format: type bytes in their only form, numbers and
//! texts as they are written, no byte in two values. What stays unseen is damage that leaves
//! another valid value behind, such as another letter in a name.
//!
//! Never: what a value means. Invariant: each value is marked once, so that the work is bounded by
//! the size of the data (times the depth of nesting), and the memory by a quarter of it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Nested maps and arrays; real databases have five.
const DEPTH_MAX: usize = 16;

/// What is wrong, and where in the data section.
pub type Wrong = (usize, &'static str);

/// One pass over a data section.
#[derive(Debug)]
pub struct Scan<'a> {
    data: &'a [u8],
    /// Where values start.
    starts: Bits,
    /// Bytes that belong to a value.
    taken: Bits,
    /// Where pointers lead.
    pending: Vec<usize>,
}

#[derive(Debug)]
struct Bits(Vec<u64>);

/// Type, size and where the payload starts.
struct Head {
    kind: u8,
    size: usize,
    next: usize,
}

// Type numbers of the format.
const POINTER: u8 = 1;
const TEXT: u8 = 2;
const DOUBLE: u8 = 3;
const BYTES: u8 = 4;
const U16: u8 = 5;
const U32: u8 = 6;
const MAP: u8 = 7;
const I32: u8 = 8;
const U64: u8 = 9;
const U128: u8 = 10;
const ARRAY: u8 = 11;
const BOOL: u8 = 14;
const FLOAT: u8 = 15;

// === impl Scan ===

impl<'a> Scan<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        let bits = || Bits(vec![0; data.len().div_ceil(64)]);
        Self { data, starts: bits(), taken: bits(), pending: Vec::new() }
    }

    /// A record that the search tree leads to: a map. Whether it was new.
    pub fn record(&mut self, at: usize) -> Result<bool, Wrong> {
        if self.starts.get(at) {
            return Ok(false);
        }
        if self.head(at)?.kind != MAP {
            return Err((at, "a record is no map"));
        }
        self.value(at, 0)?;
        while let Some(at) = self.pending.pop() {
            if self.starts.get(at) {
                continue;
            }
            self.value(at, 0)?;
        }
        Ok(true)
    }

    /// Marks a value with all that is in it; gives where it ends. A value that is marked already
    /// (a pointer led to it before) is walked through.
    fn value(&mut self, at: usize, depth: usize) -> Result<usize, Wrong> {
        if depth > DEPTH_MAX {
            return Err((at, "values are nested too deeply"));
        }
        let head = self.head(at)?;
        let is_container = matches!(head.kind, MAP | ARRAY);
        let payload = if is_container || head.kind == BOOL { 0 } else { head.size };
        let end = head.next.saturating_add(payload);
        let bytes = self.data.get(head.next..end).ok_or((at, "a value passes the end"))?;
        check(&head, bytes).map_err(|reason| (at, reason))?;
        if !self.starts.get(at) {
            if !self.taken.take(at, end) {
                return Err((at, "two values overlap"));
            }
            self.starts.take(at, at.saturating_add(1));
        }
        match head.kind {
            POINTER => {
                self.pointer(at)?;
                Ok(end)
            }
            MAP => self.members(head.next, head.size, depth),
            ARRAY => {
                (0..head.size).try_fold(head.next, |at, _| self.value(at, depth.saturating_add(1)))
            }
            _ => Ok(end),
        }
    }

    fn members(&mut self, at: usize, count: usize, depth: usize) -> Result<usize, Wrong> {
        let depth = depth.saturating_add(1);
        let mut next = at;
        for _ in 0..count {
            self.key(next)?;
            next = self.value(next, depth)?;
            next = self.value(next, depth)?;
        }
        Ok(next)
    }

    /// A key is a text, or a pointer to one.
    fn key(&self, at: usize) -> Result<(), Wrong> {
        let mut head = self.head(at)?;
        if head.kind == POINTER {
            head = self.head(self.target(at, &head)?)?;
        }
        let text = self.data.get(head.next..head.next.saturating_add(head.size));
        let is_word = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
        if head.kind == TEXT && text.is_some_and(is_word) {
            Ok(())
        } else {
            Err((at, "a key is no word"))
        }
    }

    fn pointer(&mut self, at: usize) -> Result<(), Wrong> {
        let target = self.target(at, &self.head(at)?)?;
        if self.starts.get(target) {
            return Ok(());
        }
        if self.head(target)?.kind == POINTER {
            return Err((at, "a pointer leads to a pointer"));
        }
        self.pending.push(target);
        Ok(())
    }

    fn target(&self, at: usize, head: &Head) -> Result<usize, Wrong> {
        let end = head.next.saturating_add(head.size);
        let bytes = self.data.get(head.next..end).ok_or((at, "a pointer passes the end"))?;
        let control = self.data.get(at).copied().unwrap_or_default();
        let low = if head.size == 4 { 0 } else { usize::from(control & 7) };
        let base = match head.size {
            2 => 2048,
            3 => 526_336,
            _ => 0,
        };
        let number = bytes.iter().fold(low, |number, byte| (number << 8) | usize::from(*byte));
        Some(number.saturating_add(base))
            .filter(|target| *target < self.data.len())
            .ok_or((at, "a pointer leads out of the data"))
    }

    /// Control bytes and size.
    fn head(&self, at: usize) -> Result<Head, Wrong> {
        let cut = (at, "a value passes the end");
        let byte = |at: usize| self.data.get(at).copied().ok_or(cut);
        let control = byte(at)?;
        let mut next = at.saturating_add(1);
        let mut kind = control >> 5;
        if kind == POINTER {
            return Ok(Head {
                kind,
                size: usize::from((control >> 3) & 3).saturating_add(1),
                next,
            });
        }
        if kind == 0 {
            // types up to 7 have their own form; zeros would be maps in this one
            kind = byte(next)?.checked_add(7).filter(|kind| *kind > 7).ok_or((at, "no type"))?;
            next = next.saturating_add(1);
        }
        let low = usize::from(control & 31);
        let width = low.saturating_sub(28);
        let (base, width) = match width {
            1 => (29, 1),
            2 => (285, 2),
            3 => (65_821, 3),
            _ => (low, 0),
        };
        let end = next.saturating_add(width);
        let more = self.data.get(next..end).ok_or(cut)?;
        let more = more.iter().fold(0_usize, |number, byte| (number << 8) | usize::from(*byte));
        Ok(Head { kind, size: more.saturating_add(base), next: end })
    }
}

/// Whether a value is as a writer writes it.
fn check(head: &Head, bytes: &[u8]) -> Result<(), &'static str> {
    let unsigned = |width: usize| {
        // leading zeros are left out
        let is_short = bytes.first().is_none_or(|first| *first != 0);
        (bytes.len() <= width && is_short).then_some(()).ok_or("a number is too wide")
    };
    let float = |number: f64| number.is_finite().then_some(()).ok_or("a number is none");
    match head.kind {
        POINTER | BYTES | MAP | ARRAY => Ok(()),
        TEXT => {
            let text = std::str::from_utf8(bytes).map_err(|_| "a text is no UTF-8")?;
            let is_clean = !text.chars().any(char::is_control);
            is_clean.then_some(()).ok_or("a text has control characters")
        }
        DOUBLE => {
            let number = <[u8; 8]>::try_from(bytes).map_err(|_| "a number has no 8 bytes")?;
            float(f64::from_be_bytes(number))
        }
        FLOAT => {
            let number = <[u8; 4]>::try_from(bytes).map_err(|_| "a number has no 4 bytes")?;
            float(f64::from(f32::from_be_bytes(number)))
        }
        U16 => unsigned(2),
        U32 => unsigned(4),
        U64 => unsigned(8),
        U128 => unsigned(16),
        I32 => (bytes.len() <= 4).then_some(()).ok_or("a number is too wide"),
        BOOL => (head.size <= 1).then_some(()).ok_or("a flag is neither yes nor no"),
        _ => Err("no type"),
    }
}

// === impl Bits ===

impl Bits {
    fn get(&self, at: usize) -> bool {
        self.0.get(at >> 6).is_some_and(|word| word & (1 << (at & 63)) != 0)
    }

    /// Sets a range; whether none of it was set before.
    fn take(&mut self, from: usize, to: usize) -> bool {
        let mut at = from;
        while at < to {
            let low = at & 63;
            let count = (64_usize.saturating_sub(low)).min(to.saturating_sub(at));
            let ones = u64::MAX >> 64_usize.saturating_sub(count).min(63);
            let mask = ones << low;
            let Some(word) = self.0.get_mut(at >> 6) else { return false };
            if *word & mask != 0 {
                return false;
            }
            *word |= mask;
            at = at.saturating_add(count);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// {"a": "xy", "b": [1, {"a": true}]}, with a pointer for the second "a".
    const RECORD: [u8; 18] = [
        0xe2, 0x41, b'a', 0x42, b'x', b'y', 0x41, b'b', 0x02, 0x04, 0xa1, 0x01, 0xe1, 0x20, 0x01,
        0x01, 0x07, 0xe0,
    ];

    #[test]
    fn a_record_is_scanned_once_with_all_that_is_in_it() {
        let mut scan = Scan::new(&RECORD);
        assert_eq!(scan.record(0), Ok(true));
        assert_eq!(scan.record(0), Ok(false));
        // a map inside another record is a value too
        assert_eq!(scan.record(12), Ok(false));
        assert_eq!(scan.record(17), Ok(true));
        // the other way round
        let mut scan = Scan::new(&RECORD);
        assert_eq!((scan.record(12), scan.record(0)), (Ok(true), Ok(true)));
        // what starts inside a value is none
        assert!(scan.record(16).is_err() && scan.record(99).is_err());
    }

    #[test]
    fn what_no_writer_writes_is_damage() {
        // (where, what stands there instead, what is said of it)
        let cases: [(usize, &[u8], &str); 11] = [
            (3, &[0, 0, 0], "no type"),
            (4, &[0], "a text has control characters"),
            (4, &[0xff], "a text is no UTF-8"),
            (1, &[0x40], "a key is no word"),
            (2, b" ", "a key is no word"),
            (3, &[0x5f], "a value passes the end"),
            (8, &[0x02, 0x05], "no type"),
            (10, &[0xa1, 0x00], "a number is too wide"),
            (13, &[0x27, 0xff], "a pointer leads out of the data"),
            (13, &[0x20, 0x0d], "a key is no word"),
            (15, &[0x02], "no type"),
        ];
        for (at, bytes, reason) in cases {
            let mut data = RECORD;
            data.iter_mut().skip(at).zip(bytes).for_each(|(old, new)| *old = *new);
            match Scan::new(&data).record(0) {
                Err((_, found)) if at != 15 => assert_eq!(found, reason, "{at}"),
                result => assert!(result.is_err(), "{at} {result:?}"),
            }
        }
        let deep = [0x01, 0x04].repeat(100);
        assert!(Scan::new(&[&[0xe1, 0x41, b'a'], &deep[..]].concat()).record(0).is_err());
        assert!(Scan::new(&[]).record(0).is_err() && Scan::new(&RECORD).record(1).is_err());
    }

    #[test]
    fn bits_are_taken_once() {
        let mut bits = Bits(vec![0; 4]);
        assert!(bits.take(60, 200) && bits.get(60) && bits.get(199));
        assert!(!bits.get(59) && !bits.get(200) && !bits.take(199, 201));
        assert!(bits.take(200, 256) && bits.take(0, 60) && !bits.take(255, 257));
    }
}
