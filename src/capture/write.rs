//! Writes capture files.
//!
//! Owns: blocks, the index. Never: the encoding of a record, where the bytes go, what is personal.
//! Invariant: what was written up to the last whole block can be read, whenever the writing ends;
//! no file breaks the caps of [`super::format`].

use super::entry::{self, TooLong};
use super::format::{
    BLOCK, BLOCK_HEAD_BYTES, BLOCK_RAW_MAX, BLOCK_RECORDS_MAX, BLOCKS_MAX, END, END_BYTES,
    HEADER_BYTES_MAX, INDEX, INDEX_ENTRY_BYTES, MAGIC, MAJOR, MINOR, RECORD_BYTES_MAX, START_BYTES,
};
use super::{Header, Record};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use zstd::bulk::Compressor;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterSettings {
    /// A block is closed at this many bytes of records (4 KiB to 8 MiB).
    pub block_bytes: usize,
    /// Level of zstd, one of [`LEVELS`].
    pub level: i32,
}

/// Levels of zstd: below 1 it looks for less and less that repeats. 0 is none of them (zstd takes it
/// for 3) and counts as 1.
pub const LEVELS: RangeInclusive<i32> = -7..=19;

/// The level of a server: two thirds of the time of level 1, for files half as large again.
pub const LEVEL_OF_SERVER: i32 = -5;

const fn level(level: i32) -> i32 {
    match level {
        0 => 1,
        ..-7 => *LEVELS.start(),
        20.. => *LEVELS.end(),
        _ => level,
    }
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self { block_bytes: 512 << 10, level: 1 }
    }
}

/// Writes one file.
pub struct Writer<W> {
    out: W,
    block_bytes: usize,
    packer: Compressor<'static>,
    /// Records of the block that is not full yet.
    raw: Vec<u8>,
    packed: Vec<u8>,
    open: Span,
    index: Vec<u8>,
    blocks: usize,
    records: u64,
    bytes: u64,
}

/// What the open block holds.
#[derive(Clone, Copy, Debug)]
struct Span {
    count: u32,
    first_us: u64,
    last_us: u64,
}

impl Span {
    const EMPTY: Self = Self { count: 0, first_us: u64::MAX, last_us: 0 };
}

impl<W: Write> Writer<W> {
    /// Writes the head of the file.
    pub fn new(mut out: W, header: &Header, settings: WriterSettings) -> io::Result<Self> {
        let json = serde_json::to_vec(header)?;
        TooLong::check("the header", json.len(), HEADER_BYTES_MAX)?;
        let mut start = Vec::with_capacity(START_BYTES + json.len());
        start.extend_from_slice(&MAGIC);
        start.extend_from_slice(&MAJOR.to_le_bytes());
        start.extend_from_slice(&MINOR.to_le_bytes());
        start.extend_from_slice(&length(json.len()).to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&start), &json);
        start.extend_from_slice(&checksum.to_le_bytes());
        start.extend_from_slice(&json);
        out.write_all(&start)?;
        Ok(Self {
            out,
            block_bytes: settings.block_bytes.clamp(4 << 10, BLOCK_RAW_MAX - RECORD_BYTES_MAX),
            packer: Compressor::new(level(settings.level))?,
            raw: Vec::new(),
            packed: Vec::new(),
            open: Span::EMPTY,
            index: Vec::new(),
            blocks: 0,
            records: 0,
            bytes: start.len() as u64,
        })
    }

    /// Adds a record. One that breaks a cap is refused (`InvalidInput`), and the file stays good;
    /// after any other error the file is to be given up.
    pub fn push(&mut self, record: &Record) -> io::Result<()> {
        self.push_with(|raw| entry::append_record(record, raw).map(|()| entry::micros(record.at)))
    }

    /// As [`Self::push`], for a record that `append` puts behind what is there, after its length. It
    /// says of which time it is, in microseconds; where it refuses it leaves nothing.
    pub(super) fn push_with<E: Into<io::Error>>(
        &mut self,
        append: impl FnOnce(&mut Vec<u8>) -> Result<u64, E>,
    ) -> io::Result<()> {
        let at = append(&mut self.raw).map_err(Into::into)?;
        self.open.count += 1;
        self.open.first_us = self.open.first_us.min(at);
        self.open.last_us = self.open.last_us.max(at);
        self.records += 1;
        if self.raw.len() >= self.block_bytes || self.open.count == BLOCK_RECORDS_MAX {
            self.flush_block()?;
        }
        Ok(())
    }

    /// Closes the open block before it is full, so that what it holds can be read.
    pub fn flush_block(&mut self) -> io::Result<()> {
        if self.open.count == 0 {
            return Ok(());
        }
        TooLong::check("the list of blocks", self.blocks + 1, BLOCKS_MAX)?;
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(self.raw.len()));
        self.packer.compress_to_buffer(&self.raw, &mut self.packed)?;
        let mut head = [0_u8; BLOCK_HEAD_BYTES];
        let mut rest = &mut head[..];
        rest.write_all(&BLOCK)?;
        for value in [length(self.packed.len()), length(self.raw.len()), self.open.count] {
            rest.write_all(&value.to_le_bytes())?;
        }
        rest.write_all(&self.open.first_us.to_le_bytes())?;
        rest.write_all(&self.open.last_us.to_le_bytes())?;
        rest.write_all(&crc32c::crc32c(&self.packed).to_le_bytes())?;
        let (summed, checksum) = head.split_at_mut(BLOCK_HEAD_BYTES - 4);
        checksum.copy_from_slice(&crc32c::crc32c(summed).to_le_bytes());
        self.out.write_all(&head)?;
        self.out.write_all(&self.packed)?;

        self.index.extend_from_slice(&self.bytes.to_le_bytes());
        self.index.extend_from_slice(&self.open.first_us.to_le_bytes());
        self.index.extend_from_slice(&self.open.count.to_le_bytes());
        self.blocks += 1;
        self.bytes += (head.len() + self.packed.len()) as u64;
        self.raw.clear();
        self.open = Span::EMPTY;
        Ok(())
    }

    /// Bytes of the file so far, without the open block.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records so far, without those of the open block.
    pub fn kept(&self) -> u64 {
        self.records - u64::from(self.open.count)
    }

    /// Records so far, with those of the open block.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Where the bytes go.
    pub const fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Writes what is left, the index and the end, and gives the destination back.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush_block()?;
        let mut tail = Vec::with_capacity(self.blocks * INDEX_ENTRY_BYTES + 12 + END_BYTES);
        tail.extend_from_slice(&INDEX);
        tail.extend_from_slice(&length(self.blocks).to_le_bytes());
        tail.extend_from_slice(&self.index);
        tail.extend_from_slice(&crc32c::crc32c(&tail).to_le_bytes());
        let mut end = Vec::with_capacity(END_BYTES);
        end.extend_from_slice(&self.bytes.to_le_bytes());
        end.extend_from_slice(&self.records.to_le_bytes());
        end.extend_from_slice(&crc32c::crc32c(&end).to_le_bytes());
        end.extend_from_slice(&END);
        tail.extend_from_slice(&end);
        self.out.write_all(&tail)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A length that is far below 2^32 by the caps.
fn length(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
