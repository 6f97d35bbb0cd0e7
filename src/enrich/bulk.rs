//! Memory for what is large and comes and goes as a whole.
//!
//! Owns: [`Bulk`]. Never: what the bytes mean. Invariant: it is taken from the system and goes back
//! there the moment that nobody holds it. The allocator keeps what it is given back until a thread
//! that has ended would need it again: a database that was replaced would stay resident for ever.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use memmap2::MmapMut;
use std::fmt;
use std::io::{self, Read, Write};

/// Room that is made where nobody knows how much is to come.
const ROOM_BYTES_MIN: usize = 64 << 10;

/// Bytes that were written one behind the other. Pages are the system's own, no file's.
pub struct Bulk {
    pages: MmapMut,
    len: usize,
}

impl Bulk {
    /// Room for so many bytes; more make it grow. What is not written to takes no memory.
    pub fn with_room(bytes: usize) -> io::Result<Self> {
        Ok(Self { pages: MmapMut::map_anon(bytes.max(ROOM_BYTES_MIN))?, len: 0 })
    }

    /// How many were written.
    pub fn bytes(&self) -> u64 {
        self.len as u64
    }

    /// All that a source gives.
    pub fn read_all(&mut self, mut source: impl Read) -> io::Result<()> {
        loop {
            if self.len == self.pages.len() {
                self.grow(self.len.saturating_mul(2))?;
            }
            let room = self.pages.get_mut(self.len..).unwrap_or_default();
            match source.read(room) {
                Ok(0) => return Ok(()),
                Ok(count) => self.len = self.len.saturating_add(count),
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    fn grow(&mut self, bytes: usize) -> io::Result<()> {
        let mut grown = Self::with_room(bytes)?;
        grown.write_all(self.as_ref())?;
        *self = grown;
        Ok(())
    }
}

impl Write for Bulk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.len.saturating_add(bytes.len());
        if end > self.pages.len() {
            self.grow(end.max(self.len.saturating_mul(2)))?;
        }
        if let Some(room) = self.pages.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
            self.len = end;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsRef<[u8]> for Bulk {
    fn as_ref(&self) -> &[u8] {
        self.pages.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk").field("bytes", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_written_or_read_is_there_however_much_room_was_made() {
        let bytes: Vec<u8> = (0..5 * ROOM_BYTES_MIN).map(|at| at.to_le_bytes()[1]).collect();
        for room in [0, 1, bytes.len() - 1, bytes.len(), 2 * bytes.len()] {
            let mut read = Bulk::with_room(room).unwrap();
            read.read_all(&bytes[..]).unwrap();
            assert!(read.as_ref() == bytes, "{room}");
            let mut written = Bulk::with_room(room).unwrap();
            for piece in bytes.chunks(10_007) {
                written.write_all(piece).unwrap();
            }
            assert!(written.as_ref() == bytes, "{room}");
        }
        assert!(Bulk::with_room(7).unwrap().as_ref().is_empty());
    }

    const LARGE: usize = 512 << 20;

    #[test]
    fn it_is_given_back_at_once() {
        // of this process, in pages; others of its threads take and give some
        let resident = || {
            let statm = fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let mut bulk = Bulk::with_room(LARGE).unwrap();
        bulk.read_all(io::repeat(1).take(LARGE as u64)).unwrap();
        assert!(resident() > before + LARGE / 2);
        drop(bulk);
        assert!(resident() < before + LARGE / 2);
    }
}
