//! The parts of a file around its records: start, heads of blocks, index, end.
//!
//! Owns: their bytes and checksums. Never: a seek, a record. Invariant: a length is held against its
//! cap before anything is reserved by it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{BlockEntry, CaptureErrorKind as Fault};
use crate::capture::Header;
use crate::capture::format::{
    BLOCK, BLOCK_HEAD_BYTES, BLOCK_PACKED_MAX, BLOCK_RAW_MAX, BLOCK_RECORDS_MAX, BLOCKS_MAX, END,
    END_BYTES, HEADER_BYTES_MAX, INDEX, INDEX_ENTRY_BYTES, MAGIC, MAJOR, START_BYTES,
};
use std::io::{self, Read};

/// The head of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    pub(super) packed_bytes: usize,
    pub(super) raw_bytes: usize,
    pub(super) count: u32,
    pub(super) first_us: u64,
    pub(super) checksum: u32,
}

/// Reads until `buffer` is full or the input ends; gives how much came.
pub(super) fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Fault> {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(Fault::Io(fault)),
        }
    }
    Ok(filled)
}

fn fill_whole(input: &mut impl Read, buffer: &mut [u8], what: &'static str) -> Result<(), Fault> {
    if fill(input, buffer)? == buffer.len() { Ok(()) } else { Err(Fault::Truncated(what)) }
}

/// Takes fixed numbers off the front of a head, whose length its type proves.
struct Head<'a>(&'a [u8]);

impl Head<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((first, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *first
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

fn within(what: &'static str, value: u32, max: usize) -> Result<usize, Fault> {
    match usize::try_from(value) {
        Ok(value) if value <= max => Ok(value),
        _ => Err(Fault::Limit { what, value: u64::from(value), max: max as u64 }),
    }
}

/// Gives the header and where the first block begins.
pub(super) fn read_start(input: &mut impl Read) -> Result<(Header, u64), Fault> {
    let mut start = [0; START_BYTES];
    let count = fill(input, &mut start)?;
    let mut head = Head(&start);
    // what is too short for a magic is foreign, unless it begins as one does
    if !MAGIC.starts_with(start.get(..count.min(MAGIC.len())).unwrap_or_default()) || count == 0 {
        return Err(Fault::Foreign("the first bytes of a file"));
    }
    if count < START_BYTES {
        return Err(Fault::Truncated("the start"));
    }
    let _magic: [u8; 8] = head.take();
    let major = u16::from_le_bytes(head.take());
    if major > MAJOR {
        return Err(Fault::Newer(major));
    }
    if major != MAJOR {
        return Err(Fault::Foreign("a version from 1 on"));
    }
    let _minor: [u8; 2] = head.take();
    let length = within("the length of the header", head.u32(), HEADER_BYTES_MAX)?;
    let expected = head.u32();
    let mut json = vec![0; length];
    fill_whole(input, &mut json, "the header")?;
    let summed = start.get(..START_BYTES.saturating_sub(4)).unwrap_or_default();
    if crc32c::crc32c_append(crc32c::crc32c(summed), &json) != expected {
        return Err(Fault::Checksum("the header"));
    }
    let header = serde_json::from_slice(&json).map_err(|_| Fault::Content("the header"))?;
    Ok((header, (START_BYTES as u64).saturating_add(length as u64)))
}

/// What stands behind the magic of a block.
pub(super) fn read_block_head(input: &mut impl Read, magic: [u8; 4]) -> Result<BlockHead, Fault> {
    if magic != BLOCK {
        return Err(Fault::Foreign("the first bytes of a block"));
    }
    let mut bytes = [0; BLOCK_HEAD_BYTES - 4];
    fill_whole(input, &mut bytes, "the head of a block")?;
    let (summed, _) = bytes.split_at(bytes.len().saturating_sub(4));
    let sum = crc32c::crc32c_append(crc32c::crc32c(&magic), summed);
    let mut head = Head(&bytes);
    let (packed, raw, count) = (head.u32(), head.u32(), head.u32());
    let (first_us, _last_us, checksum) = (head.u64(), head.u64(), head.u32());
    if head.u32() != sum {
        return Err(Fault::Checksum("the head of a block"));
    }
    within("the number of records of a block", count, BLOCK_RECORDS_MAX as usize)?;
    Ok(BlockHead {
        packed_bytes: within("the packed length of a block", packed, BLOCK_PACKED_MAX)?,
        raw_bytes: within("the length of a block", raw, BLOCK_RAW_MAX)?,
        count,
        first_us,
        checksum,
    })
}

/// What stands behind the magic of the index, and the end: blocks, and the number of records.
pub(super) fn read_index(
    input: &mut impl Read,
    offset: u64,
) -> Result<(Vec<BlockEntry>, u64), Fault> {
    let mut count_bytes = [0; 4];
    fill_whole(input, &mut count_bytes, "the index")?;
    let count = within("the number of blocks", u32::from_le_bytes(count_bytes), BLOCKS_MAX)?;
    let mut sum = crc32c::crc32c_append(crc32c::crc32c(&INDEX), &count_bytes);
    let mut blocks = Vec::new(); // grows as the entries come: the count may lie
    for _ in 0..count {
        let mut entry = [0; INDEX_ENTRY_BYTES];
        fill_whole(input, &mut entry, "the index")?;
        sum = crc32c::crc32c_append(sum, &entry);
        let mut head = Head(&entry);
        let (offset, first_us, count) = (head.u64(), head.u64(), head.u32());
        blocks.push(BlockEntry { offset, first_us, count });
    }
    let mut checksum = [0; 4];
    fill_whole(input, &mut checksum, "the index")?;
    if u32::from_le_bytes(checksum) != sum {
        return Err(Fault::Checksum("the index"));
    }
    let mut end = [0; END_BYTES];
    fill_whole(input, &mut end, "the end")?;
    let (index_offset, records) = parse_end(&end)?;
    if index_offset != offset {
        return Err(Fault::Content("the end: the index is elsewhere"));
    }
    Ok((blocks, records))
}

/// Where the index begins, and how many records there are.
pub(super) fn parse_end(end: &[u8; END_BYTES]) -> Result<(u64, u64), Fault> {
    let mut head = Head(end);
    let (offset, records, checksum) = (head.u64(), head.u64(), head.u32());
    let magic: [u8; 4] = head.take();
    let summed = end.get(..16).unwrap_or_default();
    if magic != END || crc32c::crc32c(summed) != checksum {
        return Err(Fault::Checksum("the end"));
    }
    Ok((offset, records))
}
