//! The numbers of the capture format: magics, versions, tags, caps.
//!
//! Owns: what reader and writer must agree on. Never: a file. Invariant: a file that keeps to the
//! caps can be read with bounded memory, and the writer writes no other.

/// First bytes of a file: not text (the first byte), and an end of line, which a transfer as text
/// would spoil.
pub const MAGIC: [u8; 8] = *b"\x89GVLCAP\n";
/// First bytes of a block.
pub const BLOCK: [u8; 4] = *b"GBLK";
/// First bytes of the index.
pub const INDEX: [u8; 4] = *b"GIDX";
/// Last bytes of a file.
pub const END: [u8; 4] = *b"GEND";

/// A reader reads files of its own major version only.
pub const MAJOR: u16 = 1;
/// A later minor version adds fields.
pub const MINOR: u16 = 0;

/// Magic, versions, length and checksum.
pub const START_BYTES: usize = 20;
/// See the table in [`crate::capture`].
pub const BLOCK_HEAD_BYTES: usize = 40;
/// An offset, a time, a count.
pub const INDEX_ENTRY_BYTES: usize = 20;
/// See the table in [`crate::capture`].
pub const END_BYTES: usize = 24;

/// Longest header, as JSON.
pub const HEADER_BYTES_MAX: usize = 64 << 10;
/// Longest record, as written into a block.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// Longest block, unpacked: one longest record, and what stood before it.
pub const BLOCK_RAW_MAX: usize = 16 << 20;
/// Longest block, packed: zstd's bound for bytes that do not compress (1/256 more), rounded up.
pub const BLOCK_PACKED_MAX: usize = BLOCK_RAW_MAX + (BLOCK_RAW_MAX >> 7);
/// Most records of a block.
pub const BLOCK_RECORDS_MAX: u32 = 1 << 20;
/// Most blocks of a file: at the default block of 512 KiB, half a tebibyte of records.
pub const BLOCKS_MAX: usize = 1 << 20;
/// Most headers of a record.
pub const HEADERS_MAX: usize = 128;
/// Most bidders of a record.
pub const CALLS_MAX: usize = 1024;
/// Most fields of a record or of a part of one, unknown ones included.
pub const FIELDS_MAX: usize = 4096;

/// Tags of [`crate::capture::Record`].
pub mod record {
    pub const AT: u64 = 1;
    pub const CONNECTION: u64 = 2;
    pub const PARTNER: u64 = 3;
    pub const METHOD: u64 = 4;
    pub const PATH: u64 = 5;
    pub const HEADER: u64 = 6;
    pub const BODY: u64 = 7;
    pub const STRATUM: u64 = 8;
    pub const OUTCOME: u64 = 9;
    pub const CALL: u64 = 10;
}

/// Tags of a header.
pub mod header {
    pub const NAME: u64 = 1;
    pub const VALUE: u64 = 2;
}

/// Tags of [`crate::capture::RecordedOutcome`].
pub mod outcome {
    pub const STATUS: u64 = 1;
    pub const REASON: u64 = 2;
    pub const TOOK: u64 = 3;
    pub const GENERATION: u64 = 4;
    pub const BODY: u64 = 5;
}

/// Tags of [`crate::capture::RecordedCall`].
pub mod call {
    pub const BIDDER: u64 = 1;
    pub const SENT: u64 = 2;
    pub const TOOK: u64 = 3;
    pub const STATUS: u64 = 4;
    pub const NO_ANSWER: u64 = 5;
    pub const REQUEST: u64 = 6;
    pub const ANSWER: u64 = 7;
}
