//! Where each sink is.
//!
//! Owns: [`Cursor`], its file. Never: a sink. Invariant: whenever the process ends, the file holds
//! one whole cursor that was committed; a cursor only goes forward.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::disk::{Disk, read_whole, replace};
use super::published::lock;
use super::{JournalFault, survey};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

const PREFIX: &str = "cursor-";
const MAGIC: [u8; 8] = *b"\x89GVLCUR\n";
const BYTES: usize = 36;

/// How far a sink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The first sequence that it has not done with.
    pub next: u64,
    /// Durable records that it has delivered, and that it has buried, since its first start.
    pub delivered: u64,
    pub dead: u64,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { next: survey::FIRST, delivered: 0, dead: 0 }
    }
}

impl Cursor {
    fn write(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.next, self.delivered, self.dead] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (summed, checksum) = bytes.split_last_chunk::<4>()?;
        let (magic, rest) = summed.split_first_chunk::<8>()?;
        let (next, rest) = rest.split_first_chunk::<8>()?;
        let (delivered, rest) = rest.split_first_chunk::<8>()?;
        let (dead, rest) = rest.split_first_chunk::<8>()?;
        let is_whole =
            rest.is_empty() && *magic == MAGIC && crc32c::crc32c(summed).to_le_bytes() == *checksum;
        is_whole.then(|| Self {
            next: u64::from_le_bytes(*next),
            delivered: u64::from_le_bytes(*delivered),
            dead: u64::from_le_bytes(*dead),
        })
    }
}

/// Whether a sink may be called so: the name is a part of a file's.
pub fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
}

/// All cursors of a folder; `None` for one that is damaged.
pub fn load_all(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<BTreeMap<String, Option<Cursor>>, JournalFault> {
    let mut found = BTreeMap::new();
    for entry in disk.list(dir).map_err(JournalFault::disk("list", dir))? {
        let Some(name) = entry.name.strip_prefix(PREFIX).filter(|name| is_name(name)) else {
            continue;
        };
        let path = dir.join(&entry.name);
        let cursor = match read_whole(disk, &path, BYTES) {
            Ok(bytes) => Cursor::read(&bytes),
            Err(fault) if fault.kind() == std::io::ErrorKind::InvalidData => None,
            Err(fault) => return Err(JournalFault::disk("read", &path)(fault)),
        };
        found.insert(name.to_owned(), cursor);
    }
    Ok(found)
}

/// Makes a cursor durable.
pub fn save(disk: &dyn Disk, dir: &Path, name: &str, cursor: Cursor) -> Result<(), JournalFault> {
    let file = format!("{PREFIX}{name}");
    replace(disk, dir, &file, &cursor.write()).map_err(JournalFault::disk("write", &dir.join(file)))
}

/// The cursors of the sinks, as they are on the disk.
#[derive(Debug)]
pub struct Cursors(Mutex<BTreeMap<String, Cursor>>);

impl Cursors {
    /// As they were found.
    pub const fn new(found: BTreeMap<String, Cursor>) -> Self {
        Self(Mutex::new(found))
    }

    /// A sink's cursor; `None` where the settings do not name the sink.
    pub fn get(&self, name: &str) -> Option<Cursor> {
        lock(&self.0).get(name).copied()
    }

    /// A cursor is durable.
    pub fn set(&self, name: &str, cursor: Cursor) {
        if let Some(slot) = lock(&self.0).get_mut(name) {
            *slot = cursor;
        }
    }

    /// All before this sequence every sink has done with; `u64::MAX` without sinks.
    pub fn least(&self) -> u64 {
        lock(&self.0).values().map(|cursor| cursor.next).min().unwrap_or(u64::MAX)
    }

    /// A copy.
    pub fn all(&self) -> BTreeMap<String, Cursor> {
        lock(&self.0).clone()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_no_flipped_bit_is_missed() {
        let cursor = Cursor { next: 9, delivered: 5, dead: 3 };
        let bytes = cursor.write();
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(Cursor::read(&bytes), Some(cursor));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Cursor::read(&bad), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Cursor::read(&bytes[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_name_can_stand_in_a_path() {
        assert!(is_name("nats-1"));
        for bad in ["", "a/b", "..", "A", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
