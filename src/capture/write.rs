//! Writes capture files.
//!
//! Owns: the encoding of a record, blocks, the index. Never: where the bytes go, what is personal.
//! Invariant: what was written up to the last whole block can be read, whenever the writing ends;
//! no file breaks the caps of [`super::format`].

use super::format::{
    self, BLOCK, BLOCK_HEAD_BYTES, BLOCK_RAW_MAX, BLOCK_RECORDS_MAX, BLOCKS_MAX, CALLS_MAX, END,
    END_BYTES, FIELDS_MAX, HEADER_BYTES_MAX, HEADERS_MAX, INDEX, INDEX_ENTRY_BYTES, MAGIC, MAJOR,
    MINOR, RECORD_BYTES_MAX, START_BYTES,
};
use super::{Header, Record, RecordedCall, RecordedOutcome};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::time::Duration;
use zstd::bulk::Compressor;

/// Bytes of a length that is known only afterwards: LEB128 with more zeros than it needs.
const LENGTH_BYTES: usize = 4;
const _: () = assert!(RECORD_BYTES_MAX < 1 << (7 * LENGTH_BYTES));
const _: () = assert!(FIELDS_MAX > HEADERS_MAX + CALLS_MAX + 16);

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
        if json.len() > HEADER_BYTES_MAX {
            return Err(too_long("the header", json.len(), HEADER_BYTES_MAX));
        }
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
        if record.headers.len() > HEADERS_MAX {
            return Err(too_long("the list of headers", record.headers.len(), HEADERS_MAX));
        }
        if record.calls.len() > CALLS_MAX {
            return Err(too_long("the list of bidders", record.calls.len(), CALLS_MAX));
        }
        let start = self.raw.len();
        part(&mut self.raw, |raw| encode(record, raw));
        let length = self.raw.len() - start - LENGTH_BYTES;
        if length > RECORD_BYTES_MAX {
            self.raw.truncate(start);
            return Err(too_long("the record", length, RECORD_BYTES_MAX));
        }
        let at = micros(record.at);
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
        if self.blocks == BLOCKS_MAX {
            return Err(too_long("the list of blocks", BLOCKS_MAX + 1, BLOCKS_MAX));
        }
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

fn too_long(what: &str, value: usize, max: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{what} has {value}, at most {max} allowed"),
    )
}

/// A length that is far below 2^32 by the caps.
fn length(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Whole microseconds.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn encode(record: &Record, out: &mut Vec<u8>) {
    use format::record::{
        AT, BODY, CALL, CONNECTION, HEADER, METHOD, OUTCOME, PARTNER, PATH, STRATUM,
    };
    field_number(out, AT, micros(record.at));
    field_number(out, CONNECTION, record.connection);
    field_bytes(out, PARTNER, record.partner.as_bytes());
    field_bytes(out, METHOD, record.method.as_bytes());
    field_bytes(out, PATH, record.path.as_bytes());
    for (name, value) in &record.headers {
        field_part(out, HEADER, |out| {
            field_bytes(out, format::header::NAME, name.as_bytes());
            field_bytes(out, format::header::VALUE, value.as_bytes());
        });
    }
    field_bytes(out, BODY, &record.body);
    field_number(out, STRATUM, record.stratum as u64);
    if let Some(outcome) = &record.outcome {
        field_part(out, OUTCOME, |out| encode_outcome(outcome, out));
    }
    for call in &record.calls {
        field_part(out, CALL, |out| encode_call(call, out));
    }
}

fn encode_outcome(outcome: &RecordedOutcome, out: &mut Vec<u8>) {
    use format::outcome::{BODY, GENERATION, REASON, STATUS, TOOK};
    field_number(out, STATUS, u64::from(outcome.status));
    field_bytes(out, REASON, outcome.reason.as_bytes());
    field_number(out, TOOK, micros(outcome.took));
    field_number(out, GENERATION, outcome.generation);
    field_bytes(out, BODY, &outcome.body);
}

fn encode_call(call: &RecordedCall, out: &mut Vec<u8>) {
    use format::call::{ANSWER, BIDDER, NO_ANSWER, REQUEST, SENT, STATUS, TOOK};
    field_bytes(out, BIDDER, call.bidder.as_bytes());
    field_number(out, SENT, micros(call.sent));
    field_number(out, TOOK, micros(call.took));
    field_number(out, STATUS, u64::from(call.status));
    field_bytes(out, NO_ANSWER, call.no_answer.as_bytes());
    field_bytes(out, REQUEST, &call.request);
    field_bytes(out, ANSWER, &call.answer);
}

/// LEB128.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Nothing for 0: it is what a reader starts from.
fn field_number(out: &mut Vec<u8>, tag: u64, value: u64) {
    if value == 0 {
        return;
    }
    let bits = u64::from(64 - value.leading_zeros());
    number(out, tag);
    number(out, bits.div_ceil(7));
    number(out, value);
}

/// Nothing for an empty value.
fn field_bytes(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    if !value.is_empty() {
        number(out, tag);
        number(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

fn field_part(out: &mut Vec<u8>, tag: u64, write: impl FnOnce(&mut Vec<u8>)) {
    number(out, tag);
    part(out, write);
}

/// What `write` writes, behind its length, which is put there afterwards: so nothing is written twice.
fn part(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    write(out);
    let mut length = out.len() - at - LENGTH_BYTES;
    for byte in out.iter_mut().skip(at).take(LENGTH_BYTES) {
        *byte = (length & 0x7f).to_le_bytes()[0] | 0x80;
        length >>= 7;
    }
    // the last has nothing behind it
    if let Some(last) = out.get_mut(at + LENGTH_BYTES - 1) {
        *last &= 0x7f;
    }
}
