//! What was earned: totals of the records of any number of replicas, and what does not add up.
//!
//! Owns: the words of a report (this file), reading, sorting, judging, adding up, the texts. Never:
//! a change to what it reads, a rate of exchange, a guess. Invariant: money comes from durable
//! billing events alone, each counted once by its id whatever it was read from and in whatever
//! order; a sum is exact; what could not be read is named, and what could be is counted.
//!
//! This file is the folder's vocabulary; it imports none of its children.
//!
//! # Units
//! A price is in micros per thousand; one impression costs a thousandth of it, and an event is as many as
//! its multiplier says, in millionths. So a sum of prices times multipliers *is* the amount in parts of a
//! currency unit, 10^15 to one: it is kept as an integer of 128 bits and written with the decimals that it
//! has, up to nine where each event is one impression. Nothing is divided, nothing is rounded, so that rows
//! as they are shown add up to the total that is shown.
//!
//! # Memory
//! Events are sorted by id on the disk where they do not fit: `memory` bounds what is held of them,
//! whatever their number. Beside it there is one row for each group of the report (at most
//! [`ROWS_MAX`]), each dead letter that is open (at most [`LETTERS_MAX`] a journal), each dead notice
//! of an export (as many), and the name of each that was closed (at most [`CLOSINGS_MAX`] an export).

pub mod command;
pub mod csv;
pub mod import;
pub mod report;
pub mod sale;
pub mod sort;
pub mod source;
pub mod sums;
pub mod tally;
pub mod when;

use crate::journal::JournalFault;
use std::io;
use std::path::PathBuf;

/// Most rows of a report.
pub const ROWS_MAX: usize = 1_000_000;

/// Most open dead letters that are read of one journal, and dead notices of one export.
pub const LETTERS_MAX: usize = 100_000;

/// Most closed notices that are read of one export. A stream keeps what closed one as long as it keeps
/// events: there are more of them than of open ones, and each takes some 50 bytes.
pub const CLOSINGS_MAX: usize = 5_000_000;

/// Faults that are told of one source; the rest are counted.
pub const FAULTS_TOLD: usize = 20;

/// What rows are by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Axis {
    /// Who sent the bid request.
    Partner,
    /// Who was called for bids.
    Bidder,
    /// The deal that the bid named; `(open)` for none.
    Deal,
    /// The day in UTC.
    Day,
}

impl Axis {
    /// The name of its column.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Partner => "partner",
            Self::Bidder => "bidder",
            Self::Deal => "deal",
            Self::Day => "day",
        }
    }
}

/// Which time of an event decides about its day, and whether it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Moment {
    /// When it came first: a day that is over does not change any more.
    #[default]
    Received,
    /// When the auction was held: all events of a sale are on one day.
    Auction,
}

impl Moment {
    /// Its word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Auction => "auction",
        }
    }
}

/// From a moment on, up to but without another (microseconds since the epoch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from_us: u64,
    pub to_us: u64,
}

impl Span {
    /// All there is.
    pub const ALL: Self = Self { from_us: 0, to_us: u64::MAX };

    /// Whether a moment is in it.
    pub const fn holds(self, at_us: u64) -> bool {
        self.from_us <= at_us && (at_us < self.to_us || self.to_us == u64::MAX)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub by: Vec<Axis>,
    pub span: Span,
    pub moment: Moment,
    /// A sale whose token ends later may still be billed.
    pub as_of_us: u64,
}

/// A report that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LedgerFault {
    #[error("cannot read the journal in {}", .0.display())]
    Journal(PathBuf, #[source] JournalFault),
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{} is neither a journal's folder nor an export: {why}", .path.display())]
    Strange { path: PathBuf, why: &'static str },
    #[error("--spill {0:?}: DIR=SPILL, where DIR is one of the folders that are given")]
    Spill(String),
    #[error("--from is not before --to: nothing lies between them")]
    Span,
    #[error("cannot sort in {}: --temp names another folder", .0.display())]
    Sort(PathBuf, #[source] io::Error),
    #[error("the report would have more than {ROWS_MAX} rows: group it by less")]
    Rows,
    #[error("cannot write the report")]
    Write(#[source] io::Error),
}
