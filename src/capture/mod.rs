//! Recordings of traffic: what a record is, and the file that holds records.
//!
//! Owns: [`Record`] and its parts. Never: a socket, a rule of sampling (the server's part), a rule
//! of replay (`gavel-replay`'s part). The format is shared by both: it is written here only.
//!
//! This file is the folder's vocabulary: it imports none of its children.
//!
//! # The file
//! Numbers are little-endian. Every part has a checksum (CRC-32C) over all of its bytes.
//!
//! | part | bytes |
//! |---|---|
//! | start | magic (8), major (2), minor (2), length of the header (4), checksum (4), the header as JSON |
//! | block, any number | magic (4), packed length (4), raw length (4), records (4), earliest and latest time in microseconds (8, 8), checksum of the packed bytes (4), checksum of this head (4), one zstd frame |
//! | index | magic (4), number of blocks (4), for each its offset (8), earliest time (8) and records (4), checksum (4) |
//! | end | offset of the index (8), records in the file (8), checksum (4), magic (4) |
//!
//! A block holds records, each behind its length; a record is fields of tag, length and value, all
//! numbers in them LEB128. A reader passes over tags that it does not know: they come with a later
//! minor version. Anything else that changes, a new [`Stratum`] too, is a new major version.

pub mod chunk;
pub mod disguise;
pub mod entry;
pub mod form;
pub mod format;
pub mod names;
pub mod personal;
pub mod pseudonym;
pub mod read;
pub mod recorder;
pub mod rotate;
pub mod sampler;
mod shape;
pub mod write;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What stands at the head of a capture file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Where the records come from.
    pub origin: Origin,
    /// Wall clock of the moment from which records count their time: microseconds since the epoch.
    pub started_us: u64,
    /// The program that wrote it, with its version.
    pub writer: String,
    /// Whether personal fields were replaced before they were written, and a name for the key with
    /// which (never the key): two files of one key can be joined.
    pub pseudonym_key: Option<String>,
    /// Requests kept of a million that came by chance alone; strata are kept beside them.
    pub sample_ppm: u32,
    /// Free text: what somebody who finds the file should know.
    pub note: String,
}

/// Where the records of a file come from. Generated traffic is never called recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A running server wrote down what its partners sent.
    Recorded,
    /// Converted from another tool's file.
    Imported,
    /// Made by the generator.
    Synthetic,
}

/// One request as it came, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When its head was complete, from [`Header::started_us`] on. Not in order within a file:
    /// a record is written when its request has ended. In a file all times are whole microseconds.
    pub at: Duration,
    /// The client's connection: a number of no further meaning.
    pub connection: u64,
    /// The partner's name; empty where none was known.
    pub partner: String,
    pub method: String,
    /// Path and query, a key in it replaced.
    pub path: String,
    /// Headers that matter to a replay (content type, encoding, `x-openrtb-version` ...), lower
    /// case. Never a key, a cookie or an address.
    pub headers: Vec<(String, String)>,
    /// The decoded body, with pseudonyms.
    pub body: Bytes,
    /// Why it was kept.
    pub stratum: Stratum,
    /// What became of it; none in imported and synthetic files.
    pub outcome: Option<RecordedOutcome>,
    /// The bidders that were asked; empty where they are not recorded.
    pub calls: Vec<RecordedCall>,
}

/// Why a record was kept. The first that holds, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stratum {
    /// By chance.
    #[default]
    Sample = 0,
    /// It could not be read, or a rule refused it.
    Refused = 1,
    /// One of the first of its cell of features.
    Novel = 2,
    /// Among the slowest of its minute.
    Slow = 3,
    /// Among the largest of its minute.
    Large = 4,
}

impl Stratum {
    /// In the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Sample, Self::Refused, Self::Novel, Self::Slow, Self::Large];

    /// By its number.
    pub fn of(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// A word for people and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Refused => "refused",
            Self::Novel => "novel",
            Self::Slow => "slow",
            Self::Large => "large",
        }
    }
}

/// What a request was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedOutcome {
    pub status: u16,
    /// Label of the refusal, where there was one.
    pub reason: String,
    /// From the complete head to the finished answer.
    pub took: Duration,
    /// Generation of the snapshot that decided.
    pub generation: u64,
    /// The body of the answer, with pseudonyms.
    pub body: Bytes,
}

/// One bidder's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedCall {
    pub bidder: String,
    /// When it was sent, from the request's arrival on.
    pub sent: Duration,
    /// From sending to the end of its answer, or to giving up.
    pub took: Duration,
    /// HTTP status; 0 where none came.
    pub status: u16,
    /// Label of why there was no answer; empty where there was one.
    pub no_answer: String,
    /// What it was sent and what it said; empty where bodies of bidders are not recorded.
    pub request: Bytes,
    pub answer: Bytes,
}
