//! Other tools' recordings as captures.
//!
//! Owns: the vocabulary of an import: [`Message`], what is skipped and why, what ends it. Never: a
//! parser, the capture that is written. It imports none of its children.
//!
//! | file | owns |
//! |---|---|
//! | `command` | `gavel-replay import`; which format a file has |
//! | `input` | bytes of a file with their offsets, gzip undone |
//! | `http` | where HTTP/1.1 messages end, and what is in them |
//! | `sink` | messages -> records of the capture, filtered and counted |
//! | `gor` | GoReplay's files |
//! | `har` | HTTP archives 1.2 |
//! | `lines` | JSON lines: bid requests, or requests with their circumstances |
//! | `ammo` | Yandex.Tank's ammunition: phantom and uripost |
//! | `pcap` | packets of plain HTTP/1.1 |
//!
//! Invariants: no file makes an import panic, or use memory that grows with the file; a record
//! that cannot be used is skipped, counted by its reason and located; a file that ends badly gives
//! an error with its offset, and what came before is in the capture.

pub mod ammo;
pub mod command;
pub mod gor;
pub mod har;
pub mod http;
pub mod input;
pub mod lines;
pub mod pcap;
pub mod sink;
#[cfg(test)]
mod tests;

use std::io;

/// One request as a file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where it begins in the file (of a gzip file: in what is packed there).
    pub offset: u64,
    /// Nanoseconds; the first of a file is where its time begins. `None`: the file has no times.
    pub at_ns: Option<u64>,
    /// Any number; 0: unknown.
    pub connection: u64,
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without the transfer's chunks, in the coding of the content that the headers name.
    pub body: Vec<u8>,
    pub answer: Option<Answer>,
    /// Why there is none, where the file says so.
    pub no_answer: Option<NoAnswer>,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoAnswer {
    /// Its connection was closed before.
    Closed,
    /// Its connection was reset before.
    Reset,
    /// The file ends before.
    FileEnd,
    /// Packets are missing, so that answers cannot be told apart any more.
    Gap,
    /// More waited, or were held, than is kept.
    Full,
    /// The connection went on with what is no HTTP/1.1, or nobody can say where an answer ends.
    Other,
}

impl NoAnswer {
    /// In words, for a report.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "the connection was closed before",
            Self::Reset => "the connection was reset before",
            Self::FileEnd => "the file ends before",
            Self::Gap => "packets missing",
            Self::Full => "too many waited",
            Self::Other => "answers cannot be told apart",
        }
    }
}

/// What it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub took_ns: u64,
    pub headers: Vec<(String, String)>,
    /// As the request's.
    pub body: Vec<u8>,
}

/// Why a record of a file is not in the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// `--path-prefix`.
    OtherPath,
    /// `--host`.
    OtherHost,
    /// Not POST.
    OtherMethod,
    /// No bid request has no body.
    EmptyBody,
    /// Not JSON, where every line should be.
    NotJson,
    /// JSON, and neither a bid request nor a request.
    NotARequest,
    /// The head of the record, as this format has it, cannot be read.
    BadRecord,
    /// Not JSON, so that nobody knows what is personal in it.
    Opaque,
    BadHttp,
    /// Chunks, compression or base64 that cannot be undone.
    BadCoding,
    /// The body is not as long as its head says.
    OtherLength,
    TooLarge,
    /// A replayed answer: the answer of another server.
    Replayed,
    /// An answer without its request.
    Orphan,
    /// A stream with packets missing: up to the next request.
    Gap,
    /// A packet that is cut short, or not of IP and TCP as they should be.
    BadPacket,
    Encrypted,
    Http2,
}

impl Skip {
    /// In words, for a report.
    pub const fn label(self) -> &'static str {
        match self {
            Self::OtherPath => "other path",
            Self::OtherHost => "other host",
            Self::OtherMethod => "method is not POST",
            Self::EmptyBody => "empty body",
            Self::NotJson => "not JSON",
            Self::NotARequest => "JSON, but no request",
            Self::BadRecord => "head of the record cannot be read",
            Self::Opaque => "not JSON, what is personal in it is not known",
            Self::BadHttp => "no HTTP/1.1 message",
            Self::BadCoding => "coding cannot be undone",
            Self::OtherLength => "length is not the one that its head says",
            Self::TooLarge => "too large",
            Self::Replayed => "replayed answer",
            Self::Orphan => "answer without its request",
            Self::Gap => "packets missing",
            Self::BadPacket => "damaged packet",
            Self::Encrypted => "encrypted connection",
            Self::Http2 => "HTTP/2 connection",
        }
    }
}

/// What ends an import before the end of the file.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the file cannot be read at byte {offset}")]
    Read { offset: u64, source: io::Error },
    #[error("the file breaks off at byte {offset}, in {what}")]
    CutShort { offset: u64, what: &'static str },
    #[error("byte {offset}: {what}")]
    Foreign { offset: u64, what: String },
    #[error("the capture cannot be written")]
    Write { source: io::Error },
}
