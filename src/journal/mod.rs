//! What must not be lost: records that are on the disk before anybody is told that they are.
//!
//! Owns: the words of the journal (this file), its files, its threads. Never: what a record means
//! (`money_event`), who sends it on, tokio. Invariant: a record whose [`ticket::Ticket`] has said
//! durable is read back, the same and in its place, whatever happens to process, machine or (with
//! an alarm and an explicit gap instead) disk.
//!
//! This file is the folder's vocabulary; it imports none of its children.
//!
//! # Use
//! - [`open::open`] recovers a folder and starts its threads: an [`open::Opened`] with the
//!   [`handle::Journal`] (cheap to clone, for every worker) and the report of what was found.
//! - The event endpoint: [`handle::Journal::append_once`] with the event's id and expiry. It
//!   answers at once with a [`handle::Once`]; of a new event the [`ticket::Ticket`] in it is a
//!   future (or blocks, with [`ticket::Ticket::wait`]) that ends when the record is durable: 204
//!   then, and only then. A repeat while the first is still being written gets the same ticket.
//!   [`Refused`] is a 503. What is not worth an append is counted with
//!   [`handle::Journal::reject`].
//! - The auction's record: [`handle::Journal::append_buffered`]; never waits, may be dropped.
//! - Before an auction: [`handle::Journal::may_bill`].
//! - A sink: a thread of its own with [`sink::Sink`] (reads batches of durable records from its
//!   cursor on, commits the cursor, buries in [`dead::DeadLetters`] what cannot be delivered).
//! - Metrics: [`handle::Journal::status`], all figures at one moment, with the two equations.
//!
//! # On the disk
//! `DIR/0000000000000001.seg` ... segments ([`frame`]), `.damaged` where something in the middle of
//! one was lost, `DIR/cursor-NAME` a sink's place, `DIR/dead/` dead letters (again segments),
//! `DIR/ballast` room that is given up when the disk is full, `DIR/lock`. Segments of the spill
//! folder are of the same series; `DIR/spill-folder` says which it is ([`pair`]).

pub mod age;
pub mod balance;
pub mod command;
pub mod cursor;
pub mod dead;
pub mod dedupe;
pub mod disk;
pub mod export;
pub mod frame;
pub mod handle;
pub mod helper;
pub mod maker;
pub mod open;
pub mod pair;
pub mod published;
pub mod queue;
pub mod sink;
pub mod store;
pub mod survey;
pub mod ticket;
pub mod vital;
pub mod walk;
pub mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where its files are.
    pub dir: PathBuf,
    /// Where it goes on when `dir` fails, hangs or is full: another disk.
    pub spill_dir: Option<PathBuf>,
    /// Size of a segment (64 KiB to 1 GiB).
    pub segment_bytes: u64,
    /// Longest payload (64 bytes to 256 KiB).
    pub record_bytes_max: usize,
    /// A commit begins when its first record has waited for so long (0 to 1 s) ...
    pub commit_wait: Duration,
    /// ... or when so many wait (1 to 65,536).
    pub commit_records: usize,
    /// Most bytes of a commit (4 KiB to 16 MiB, at most half a segment).
    pub commit_bytes_max: usize,
    /// Most durable records that wait to be written (1 to 10,000,000); more are refused.
    pub waiting_records_max: usize,
    /// Most bytes of them.
    pub waiting_bytes_max: usize,
    /// Most buffered records that wait; more are dropped and counted.
    pub buffered_records_max: usize,
    /// Most bytes of them.
    pub buffered_bytes_max: usize,
    /// Buffered records alone are written when the first has waited for so long (1 ms to 10 s).
    pub buffered_wait: Duration,
    /// After so long without a commit the last one is marked as durable (10 ms to 1 h).
    pub mark_after: Duration,
    /// A commit that takes longer is an alarm (1 ms to 10 s).
    pub slow_after: Duration,
    /// A commit that takes longer is given up, and its records written elsewhere (10 ms to 60 s).
    pub stuck_after: Duration,
    /// How often a failed folder is tried again, and retention runs (10 ms to 60 s).
    pub probe_every: Duration,
    /// Room that is kept for the moment when the disk is full (0 for none).
    pub ballast_bytes: u64,
    /// Most bytes of segments in each of the folders.
    pub disk_bytes_max: u64,
    /// Buffered records are written while all segments have less than this part of it (0 to 100),
    /// in percent: the rest is for durable ones.
    pub buffered_percent: u64,
    /// Segments are kept for so long, also where every sink has passed them: for the index of
    /// duplicates (at least as long as a token lives) and for the ledger. The time in which no journal
    /// is open counts in part only: see [`age`].
    pub keep_for: Duration,
    /// ... and beyond it while all segments together are smaller than this.
    pub keep_bytes: u64,
    /// The oldest segments that every sink has passed go before the disk is full, also when they are
    /// younger than `keep_for`: where events are kept elsewhere, and a full disk must end nothing.
    pub gives_way: bool,
    /// Names of the sinks whose cursors hold segments back.
    pub sinks: Vec<String>,
    /// Most event ids that are remembered (1,000 to 1,000,000,000; 48 bytes each).
    pub ids_max: usize,
    /// Ids are forgotten in steps of so long (1 s to 1 h).
    pub id_step: Duration,
}

impl Settings {
    /// Defaults in a folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            spill_dir: None,
            segment_bytes: 64 << 20,
            record_bytes_max: 64 << 10,
            commit_wait: Duration::from_millis(1),
            commit_records: 256,
            commit_bytes_max: 4 << 20,
            waiting_records_max: 100_000,
            waiting_bytes_max: 64 << 20,
            buffered_records_max: 100_000,
            buffered_bytes_max: 64 << 20,
            buffered_wait: Duration::from_millis(50),
            mark_after: Duration::from_secs(1),
            slow_after: Duration::from_millis(250),
            stuck_after: Duration::from_secs(2),
            probe_every: Duration::from_secs(1),
            ballast_bytes: 256 << 20,
            disk_bytes_max: 64 << 30,
            buffered_percent: 75,
            keep_for: Duration::from_secs(48 * 3600),
            keep_bytes: 0,
            gives_way: false,
            sinks: Vec::new(),
            ids_max: 10_000_000,
            id_step: Duration::from_secs(600),
        }
    }

    /// What is out of its range, or does not go together.
    pub fn check(&self) -> Result<(), JournalFault> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let rules: [(&'static str, u64, u64, u64); 13] = [
            ("segment_bytes", self.segment_bytes, 64 << 10, 1 << 30),
            ("record_bytes_max", self.record_bytes_max as u64, 64, 256 << 10),
            ("commit_wait_ms", millis(self.commit_wait), 0, 1_000),
            ("commit_records", self.commit_records as u64, 1, 65_536),
            ("commit_bytes_max", self.commit_bytes_max as u64, 4 << 10, 16 << 20),
            ("waiting_records_max", self.waiting_records_max as u64, 1, 10_000_000),
            ("buffered_wait_ms", millis(self.buffered_wait), 1, 10_000),
            ("mark_after_ms", millis(self.mark_after), 10, 3_600_000),
            ("slow_after_ms", millis(self.slow_after), 1, 10_000),
            ("stuck_after_ms", millis(self.stuck_after), 10, 60_000),
            ("probe_every_ms", millis(self.probe_every), 10, 60_000),
            ("buffered_percent", self.buffered_percent, 0, 100),
            ("ids_max", self.ids_max as u64, 1_000, 1_000_000_000),
        ];
        for (key, value, least, most) in rules {
            if value < least || value > most {
                return Err(JournalFault::Setting { key, value, least, most });
            }
        }
        let half = self.segment_bytes / 2;
        let commit = self.commit_bytes_max as u64;
        if commit > half {
            let (key, value, least, most) = ("commit_bytes_max", commit, 0, half);
            return Err(JournalFault::Setting { key, value, least, most });
        }
        let (value, most) = (frame::record_bytes(self.record_bytes_max) as u64, commit);
        if value > most {
            let key = "record_bytes_max";
            return Err(JournalFault::Setting { key, value, least: 0, most });
        }
        match self.sinks.iter().find(|name| !cursor::is_name(name)) {
            Some(name) => Err(JournalFault::SinkName(name.clone())),
            None => Ok(()),
        }
    }

    /// Bytes of segments from which on there are no buffered records.
    pub fn buffered_bytes_max(&self) -> u64 {
        self.disk_bytes_max / 100 * self.buffered_percent
    }

    /// The folders.
    pub fn dirs(&self) -> Dirs {
        Dirs { main: self.dir.clone(), spill: self.spill_dir.clone() }
    }
}

/// Which of the two folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Main,
    Spill,
}

/// The folders of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    pub main: PathBuf,
    pub spill: Option<PathBuf>,
}

impl Dirs {
    /// The folder of a place; without a spill folder all is in the one.
    pub fn of(&self, place: Place) -> &Path {
        match (place, &self.spill) {
            (Place::Spill, Some(spill)) => spill,
            _ => &self.main,
        }
    }

    /// The places there are.
    pub fn places(&self) -> &'static [Place] {
        if self.spill.is_some() { &[Place::Main, Place::Spill] } else { &[Place::Main] }
    }
}

/// How the journal is, from good to bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// As it should be.
    #[default]
    Sound,
    /// A recent commit took longer than `slow_after`.
    Slow,
    /// The disk was full, and the ballast has been given up.
    Low,
    /// The main folder fails; the spill folder is written to.
    Spilling,
    /// There is no place for another segment: what is left of the open one is for events of
    /// auctions that have been held. No auction should be held now.
    Last,
    /// Nothing can be made durable; durable appends are refused. Tried again by itself.
    Failed,
}

impl Condition {
    /// From good to bad.
    pub const ALL: [Self; 6] =
        [Self::Sound, Self::Slow, Self::Low, Self::Spilling, Self::Last, Self::Failed];

    /// A word for people and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Slow => "slow",
            Self::Low => "low",
            Self::Spilling => "spilling",
            Self::Last => "last",
            Self::Failed => "failed",
        }
    }
}

/// Why a record was not taken, or not made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too many records wait for the disk")]
    Busy,
    #[error("the disk takes nothing")]
    Failed,
    #[error("the journal is closed")]
    Closed,
    #[error("the record is longer than record_bytes_max")]
    TooLong,
    #[error("the kind is the journal's own or above 63")]
    Kind,
    #[error("the broker did not acknowledge it")]
    Broker,
}

/// A journal cannot be opened, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    #[error("{key} is {value}, allowed are {least} to {most}")]
    Setting { key: &'static str, value: u64, least: u64, most: u64 },
    #[error("a sink's name is 1 to 64 of a-z 0-9 - _, not {0:?}")]
    SinkName(String),
    #[error("another process has the journal in {}", .0.display())]
    Locked(PathBuf),
    #[error("cannot {what} {}", .path.display())]
    Disk {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{}: version {version}, this program reads version {}", .path.display(), frame::VERSION)]
    Version { path: PathBuf, version: u16 },
    #[error("{} begins at sequence {first}, the segment before it at {before}: files of two journals", .path.display())]
    Order { path: PathBuf, first: u64, before: u64 },
    #[error("{} and the segment behind it both have records from sequence {first} on: files of two journals", .path.display())]
    Both { path: PathBuf, first: u64 },
    #[error(
        "the journal may have gone on in {}, and {} is not that folder, or a new one: bring it back (or, where it \
         is lost for good, with the events that may be in it, remove {})",
        .spill.display(),
        .given.as_ref().map_or("nothing".to_owned(), |given| given.display().to_string()),
        .mark.display()
    )]
    NoSpill { mark: PathBuf, spill: PathBuf, given: Option<PathBuf> },
    #[error(
        "the spill folder has records of the journal in {}, and {} has none: bring it back (or, where it is \
         lost for good, and the events in it, remove {})",
        .main.display(),
        .given.display(),
        .mark.display()
    )]
    NoMain { mark: PathBuf, main: PathBuf, given: PathBuf },
    #[error("segment {ordinal} is there twice, in {} and {}", .one.display(), .other.display())]
    Twice { ordinal: u64, one: PathBuf, other: PathBuf },
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("there are {0} dead letters, at most {1} allowed")]
    LettersFull(usize, usize),
    #[error("there is no dead letter {0}")]
    NoLetter(u64),
}

impl JournalFault {
    /// What could not be done to a file.
    pub fn disk(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Disk { what, path, cause }
    }
}
