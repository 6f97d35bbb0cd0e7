//! Where the requests of a run come from.
//!
//! Owns: [`Source`] as data, and its records round by round in the order of their time. Never: the
//! pace, a socket. Invariant: memory does not grow with the length of a source.

use super::FeedError;
use super::order::Order;
use crate::drive::plan::RequestSet;
use crate::generate::Generator;
use bytes::Bytes;
use gavel::capture::read::{self, Reader};
use gavel::capture::{Header, Origin, Record};
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a run plays, round after round.
#[derive(Clone, Debug)]
pub enum Source {
    /// Bodies in memory, without a time of their own.
    Set(Arc<RequestSet>),
    /// The first so many of a generator, each made when it is sent.
    Synthetic { generator: Generator, distinct: u64 },
    /// Records in memory, in whatever order.
    Records(Arc<Vec<Record>>),
    /// A recording, from beginning to end.
    Capture(PathBuf),
}

/// Most connections of a recording whose last request is known beforehand; a further one is
/// closed by the end of the run only. 16 bytes each, and as much for their table.
const CONNECTIONS_MAX: usize = 1 << 18;

/// The records of a source, one round after the other.
pub(crate) struct Rounds {
    source: Source,
    reader: Option<Reader<BufReader<File>>>,
    order: Order,
    /// Of the reader: reused.
    record: Record,
    next: u64,
    /// For each connection the number of its last record in the order of their time.
    lasts: HashMap<u64, u64>,
    /// What broke off the reading of a capture.
    damage: Option<String>,
}

impl Source {
    /// Whether its records have a time of their own.
    pub fn has_times(&self) -> bool {
        matches!(self, Self::Records(_) | Self::Capture(_))
    }

    /// Whether nothing is in it, as far as can be told without reading.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Set(set) => set.is_empty(),
            Self::Synthetic { distinct, .. } => *distinct == 0,
            Self::Records(records) => records.is_empty(),
            Self::Capture(_) => false,
        }
    }

    /// The header of a capture; of anything else what it would be.
    pub fn header(&self) -> Result<Header, FeedError> {
        match self {
            Self::Capture(path) => Ok(open(path)?.header().clone()),
            Self::Set(_) | Self::Synthetic { .. } | Self::Records(_) => Ok(Header {
                origin: Origin::Synthetic,
                started_us: 0,
                writer: String::new(),
                pseudonym_key: None,
                sample_ppm: 1_000_000,
                note: String::new(),
            }),
        }
    }
}

fn open(path: &Path) -> Result<Reader<BufReader<File>>, FeedError> {
    read::open(path).map_err(|source| FeedError::Open { path: path.to_owned(), source })
}

impl Rounds {
    /// `knows_lasts`: reads a capture once beforehand, to know where connections end.
    pub fn open(source: &Source, knows_lasts: bool) -> Result<Self, FeedError> {
        let mut this = Self {
            source: source.clone(),
            reader: None,
            order: Order::default(),
            record: Record::default(),
            next: 0,
            lasts: HashMap::new(),
            damage: None,
        };
        this.rewind()?;
        if knows_lasts && source.has_times() {
            let mut lasts = HashMap::new();
            let mut number = 0;
            while let Some(record) = this.next() {
                if lasts.len() < CONNECTIONS_MAX || lasts.contains_key(&record.connection) {
                    lasts.insert(record.connection, number);
                }
                number += 1;
            }
            this.lasts = lasts;
            this.rewind()?;
        }
        Ok(this)
    }

    /// To the first record.
    pub fn rewind(&mut self) -> Result<(), FeedError> {
        self.next = 0;
        self.order = Order::default();
        if let Source::Capture(path) = &self.source {
            match &mut self.reader {
                Some(reader) => reader
                    .rewind()
                    .map_err(|source| FeedError::Open { path: path.clone(), source })?,
                None => self.reader = Some(open(path)?),
            }
        }
        Ok(())
    }

    /// The next record of the round; `None`: it is over.
    pub fn next(&mut self) -> Option<Record> {
        loop {
            match self.read() {
                Some(record) if !self.source.has_times() => return Some(record),
                Some(record) => {
                    if let Some(record) = self.order.push(record) {
                        return Some(record);
                    }
                }
                None => return self.order.pop(),
            }
        }
    }

    /// Whether the record of this number within its round is the last of its connection.
    pub fn is_last(&self, connection: u64, number: u64) -> bool {
        self.lasts.get(&connection) == Some(&number)
    }

    /// Records that stood beyond the window in which they are put in order, this round.
    pub fn out_of_order(&self) -> u64 {
        self.order.out_of_order()
    }

    /// What broke off the reading of a capture.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    fn read(&mut self) -> Option<Record> {
        let number = self.next;
        self.next += 1;
        match &self.source {
            Source::Set(set) if number < set.len() as u64 => {
                Some(of_body(Bytes::copy_from_slice(set.body(number))))
            }
            Source::Synthetic { generator, distinct } if number < *distinct => {
                let mut body = Vec::new();
                generator.write(number, &mut body);
                Some(of_body(body.into()))
            }
            Source::Records(records) => {
                records.get(usize::try_from(number).unwrap_or(usize::MAX)).cloned()
            }
            Source::Capture(_) => self.read_capture(),
            Source::Set(_) | Source::Synthetic { .. } => None,
        }
    }

    /// What was good before the damage of a file is played.
    fn read_capture(&mut self) -> Option<Record> {
        match self.reader.as_mut()?.next(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(fault) => {
                self.damage = Some(fault.to_string());
                return None;
            }
        }
        let record = &mut self.record;
        let outcome = record.outcome.as_ref().map(|outcome| gavel::capture::RecordedOutcome {
            status: outcome.status,
            ..Default::default()
        });
        Some(Record {
            at: record.at,
            connection: record.connection,
            partner: std::mem::take(&mut record.partner),
            method: std::mem::take(&mut record.method),
            path: std::mem::take(&mut record.path),
            headers: std::mem::take(&mut record.headers),
            // a copy: the body of the reader holds the whole block in which it stands
            body: Bytes::copy_from_slice(&record.body),
            stratum: record.stratum,
            outcome,
            calls: Vec::new(),
        })
    }
}

/// As a partner would send it.
fn of_body(body: Bytes) -> Record {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers =
        vec![header("content-type", "application/json"), header("x-openrtb-version", "2.6")];
    Record { at: Duration::ZERO, headers, body, ..Record::default() }
}
