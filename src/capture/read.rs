//! Reads capture files, whoever wrote them.
//!
//! Owns: [`Reader`], [`CaptureError`], the index. Never: a write. Invariant: no byte that is read
//! makes it panic or reserve more than the caps of [`super::format`] allow; a record is given out
//! only where the checksum of its block holds, so what stands before damage is good.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::format::{BLOCK_HEAD_BYTES, BLOCKS_MAX, END_BYTES, INDEX, MAJOR, RECORD_BYTES_MAX};
use super::{Header, Record};
use bytes::{Bytes, BytesMut};
use decode::Cursor;
use parts::{fill, parse_end, read_block_head, read_index, read_start};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use zstd::bulk::Decompressor;

mod decode;
mod parts;

/// What is wrong with a file, where, and how much of it is good.
#[derive(Debug, thiserror::Error)]
#[error("{kind}, at byte {offset}, after {good} good records")]
pub struct CaptureError {
    pub kind: CaptureErrorKind,
    /// Where the part begins that cannot be used.
    pub offset: u64,
    /// Records that this reader gave before.
    pub good: u64,
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum CaptureErrorKind {
    #[error("the capture cannot be read: {0}")]
    Io(#[source] io::Error),
    /// It is no capture, or something else stands where a block should.
    #[error("these are not the bytes of a capture file ({0} expected)")]
    Foreign(&'static str),
    #[error("the capture has format {0}, this program reads format {MAJOR}: use a newer program")]
    Newer(u16),
    /// Cut off while it was written or copied; also where only the index is missing.
    #[error("the capture is cut short in {0}")]
    Truncated(&'static str),
    #[error("the capture is damaged: the checksum of {0} does not hold")]
    Checksum(&'static str),
    #[error("{what} is {value}, at most {max} allowed")]
    Limit { what: &'static str, value: u64, max: u64 },
    /// The checksum holds, but not what is written there: another program wrote it.
    #[error("{0} makes no sense")]
    Content(&'static str),
    #[error("there is more behind the end of the capture")]
    Trailing,
}

/// Room for a block comes in steps of this many bytes.
const ROOM_STEP: usize = 64 << 10;

/// A fault without its place.
type Fault = CaptureErrorKind;

/// One block, for those who seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Where it begins in the file.
    pub offset: u64,
    /// Earliest time of its records, in microseconds.
    pub first_us: u64,
    pub count: u32,
}

/// The blocks of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub blocks: Vec<BlockEntry>,
    /// It was missing or damaged, and the heads of the blocks were read instead, up to the first
    /// that does not hold.
    pub is_rebuilt: bool,
}

impl Index {
    /// Records of all blocks.
    pub fn records(&self) -> u64 {
        self.blocks.iter().fold(0, |sum, block| sum.saturating_add(u64::from(block.count)))
    }
}

/// Reads one file.
///
/// A body that is kept keeps the block that it stands in (at most 16 MiB, usually half of one):
/// who keeps few bodies for long should copy them.
pub struct Reader<R> {
    input: R,
    header: Header,
    unpacker: Decompressor<'static>,
    packed: Vec<u8>,
    /// The records of the block under way, and where the next begins.
    raw: Bytes,
    at: usize,
    left_in_block: u32,
    /// Of the next byte of `input`.
    offset: u64,
    /// Of the block under way.
    block_offset: u64,
    first_block: u64,
    given: u64,
    /// Records and blocks since the start, where none was sought: what the end must agree with.
    seen: Option<(u64, usize)>,
    is_ended: bool,
}

/// Opens a file.
pub fn open(path: &Path) -> Result<Reader<BufReader<File>>, CaptureError> {
    let file = File::open(path).map_err(|fault| CaptureError {
        kind: CaptureErrorKind::Io(fault),
        offset: 0,
        good: 0,
    })?;
    Reader::new(BufReader::new(file))
}

impl<R: Read> Reader<R> {
    /// Reads the head of the file.
    pub fn new(mut input: R) -> Result<Self, CaptureError> {
        let start = |kind| CaptureError { kind, offset: 0, good: 0 };
        let (header, first_block) = read_start(&mut input).map_err(start)?;
        let unpacker = Decompressor::new().map_err(Fault::Io).map_err(start)?;
        Ok(Self {
            input,
            header,
            unpacker,
            packed: Vec::new(),
            raw: Bytes::new(),
            at: 0,
            left_in_block: 0,
            offset: first_block,
            block_offset: first_block,
            first_block,
            given: 0,
            seen: Some((0, 0)),
            is_ended: false,
        })
    }

    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Records given since the start or the last rewind.
    pub const fn given(&self) -> u64 {
        self.given
    }

    /// Writes the next record over `record`; `false` at the end of a whole file.
    ///
    /// A file that is cut off gives all its whole blocks, then [`CaptureErrorKind::Truncated`].
    /// After an error every further call gives `false`.
    pub fn next(&mut self, record: &mut Record) -> Result<bool, CaptureError> {
        if self.is_ended {
            return Ok(false);
        }
        decode::clear(record); // lets go of the block, whose room is used again
        let found = self.advance(record);
        match found {
            Ok(true) => self.given = self.given.saturating_add(1),
            Ok(false) | Err(_) => self.is_ended = true,
        }
        found.map_err(|kind| CaptureError { kind, offset: self.block_offset, good: self.given })
    }

    fn advance(&mut self, record: &mut Record) -> Result<bool, Fault> {
        while self.left_in_block == 0 {
            if self.at != self.raw.len() {
                return Err(Fault::Content("what stands behind the last record of a block"));
            }
            if !self.read_block()? {
                return Ok(false);
            }
        }
        let mut cursor = Cursor::new(&self.raw, self.at, self.raw.len());
        let length = cursor.number()?;
        let limit = RECORD_BYTES_MAX as u64;
        if length > limit {
            return Err(Fault::Limit { what: "the length of a record", value: length, max: limit });
        }
        let part = cursor.part(length)?;
        self.at = cursor.position();
        self.left_in_block = self.left_in_block.saturating_sub(1);
        decode::record(part, record)?;
        Ok(true)
    }

    /// `false`: that was the last.
    fn read_block(&mut self) -> Result<bool, Fault> {
        self.block_offset = self.offset;
        let mut magic = [0; 4];
        match fill(&mut self.input, &mut magic)? {
            0 => return Err(Fault::Truncated("the list of blocks: the index is missing")),
            4 => {}
            _ => return Err(Fault::Truncated("the first bytes of a block")),
        }
        if magic == INDEX {
            self.read_end()?;
            return Ok(false);
        }
        let head = read_block_head(&mut self.input, magic)?;
        self.packed.clear();
        let mut limited = (&mut self.input).take(head.packed_bytes as u64);
        limited.read_to_end(&mut self.packed).map_err(Fault::Io)?;
        if self.packed.len() != head.packed_bytes {
            return Err(Fault::Truncated("a block"));
        }
        if crc32c::crc32c(&self.packed) != head.checksum {
            return Err(Fault::Checksum("a block"));
        }
        self.unpack(head.raw_bytes)?;
        self.left_in_block = head.count;
        self.offset = self
            .offset
            .saturating_add(BLOCK_HEAD_BYTES as u64)
            .saturating_add(head.packed_bytes as u64);
        self.seen = self.seen.map(|(records, blocks)| {
            (records.saturating_add(u64::from(head.count)), blocks.saturating_add(1))
        });
        Ok(true)
    }

    /// Into the room of the last block, where nobody holds it any more.
    fn unpack(&mut self, raw_bytes: usize) -> Result<(), Fault> {
        let mut room = std::mem::take(&mut self.raw).try_into_mut().unwrap_or_default();
        self.at = 0;
        room.clear();
        // blocks differ a little: not a new room for each that is the largest yet
        room.reserve(raw_bytes.next_multiple_of(ROOM_STEP));
        room.resize(raw_bytes, 0);
        let unpacked = self.unpacker.decompress_to_buffer(&self.packed, &mut room[..]);
        if !unpacked.is_ok_and(|bytes| bytes == raw_bytes) {
            return Err(Fault::Content("the packed text of a block"));
        }
        self.raw = BytesMut::freeze(room);
        Ok(())
    }

    /// What stands behind the last block must agree with what was read.
    fn read_end(&mut self) -> Result<(), Fault> {
        let (entries, records) = read_index(&mut self.input, self.offset)?;
        if let Some((seen, blocks)) = self.seen
            && (seen != records || blocks != entries.len())
        {
            return Err(Fault::Content("the index: it counts other records than there are"));
        }
        match fill(&mut self.input, &mut [0])? {
            0 => Ok(()),
            _ => Err(Fault::Trailing),
        }
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Back to the first record.
    pub fn rewind(&mut self) -> Result<(), CaptureError> {
        self.go_to(self.first_block)?;
        self.given = 0;
        self.seen = Some((0, 0));
        Ok(())
    }

    /// To the first record of a block.
    pub fn seek(&mut self, block: &BlockEntry) -> Result<(), CaptureError> {
        self.go_to(block.offset)?;
        self.seen = None;
        Ok(())
    }

    /// The blocks: from the index, or, where it is missing or damaged, from their heads.
    pub fn index(&mut self) -> Result<Index, CaptureError> {
        let back = self.offset;
        let found = match self.index_at_end() {
            Ok(Some(index)) => Ok(index),
            Ok(None) => self.scan(),
            Err(fault) => Err(fault),
        };
        let returned = self.input.seek(SeekFrom::Start(back)).map_err(Fault::Io);
        found.and_then(|index| returned.map(|_| index)).map_err(|kind| self.fault(kind))
    }

    fn fault(&self, kind: Fault) -> CaptureError {
        CaptureError { kind, offset: self.offset, good: self.given }
    }

    fn go_to(&mut self, offset: u64) -> Result<(), CaptureError> {
        let sought = self.input.seek(SeekFrom::Start(offset)).map_err(Fault::Io);
        sought.map_err(|kind| self.fault(kind))?;
        self.offset = offset;
        self.block_offset = offset;
        self.at = self.raw.len();
        self.left_in_block = 0;
        self.is_ended = false;
        Ok(())
    }

    /// `None`: there is none that holds.
    fn index_at_end(&mut self) -> Result<Option<Index>, Fault> {
        let length = self.input.seek(SeekFrom::End(0)).map_err(Fault::Io)?;
        let Some(end_offset) = length.checked_sub(END_BYTES as u64) else { return Ok(None) };
        self.input.seek(SeekFrom::Start(end_offset)).map_err(Fault::Io)?;
        let mut end = [0; END_BYTES];
        if fill(&mut self.input, &mut end)? != END_BYTES {
            return Ok(None);
        }
        let Ok((offset, _)) = parse_end(&end) else { return Ok(None) };
        if offset < self.first_block || offset >= end_offset {
            return Ok(None);
        }
        self.input.seek(SeekFrom::Start(offset)).map_err(Fault::Io)?;
        let mut magic = [0; 4];
        if fill(&mut self.input, &mut magic)? != 4 || magic != INDEX {
            return Ok(None);
        }
        let fits = |blocks: &[BlockEntry]| {
            blocks.iter().all(|block| block.offset >= self.first_block && block.offset < offset)
        };
        match read_index(&mut self.input, offset) {
            Ok((blocks, _)) if fits(&blocks) => Ok(Some(Index { blocks, is_rebuilt: false })),
            Err(Fault::Io(fault)) => Err(Fault::Io(fault)),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    fn scan(&mut self) -> Result<Index, Fault> {
        let length = self.input.seek(SeekFrom::End(0)).map_err(Fault::Io)?;
        let mut index = Index { blocks: Vec::new(), is_rebuilt: true };
        let mut offset = self.first_block;
        while index.blocks.len() < BLOCKS_MAX {
            self.input.seek(SeekFrom::Start(offset)).map_err(Fault::Io)?;
            let mut magic = [0; 4];
            fill(&mut self.input, &mut magic)?;
            let head = match read_block_head(&mut self.input, magic) {
                Ok(head) => head,
                Err(Fault::Io(fault)) => return Err(Fault::Io(fault)),
                Err(_) => break,
            };
            let next = offset
                .saturating_add(BLOCK_HEAD_BYTES as u64)
                .saturating_add(head.packed_bytes as u64);
            if next > length {
                break;
            }
            index.blocks.push(BlockEntry { offset, first_us: head.first_us, count: head.count });
            offset = next;
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests;
