//! What a run measured, as one value: all that a report, a comparison and a verdict need.
//!
//! Owns: [`RunResult`] and how it is written and read (JSON, one version). Never: a clock, a
//! socket, an opinion. Invariants: its size is bounded whatever the length of the run
//! ([`WINDOWS_MAX`]); every count of a window is also in the whole; two results of shards of one run
//! add up to the result of the run without loss (`merge`).

pub mod merge;
pub mod packed;
pub mod windows;

use crate::drive::report::{Fault, Report};
use crate::judge::Judged;
use packed::Packed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of the form below. Another one is refused: half of a result would be a wrong result.
pub const VERSION: u32 = 1;

/// Most windows; beyond, their length doubles.
pub const WINDOWS_MAX: usize = 600;

/// The shortest window. Every length is this one times a power of two, so that any two results
/// can be brought to the same. Microseconds.
pub const WINDOW_US: u64 = 100_000;

/// Of a file: 600 windows of three full histograms are far below it. Bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// See the file's header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`VERSION`].
    pub version: u32,
    pub plan: PlanOf,
    /// Wall clock of the start: microseconds since the epoch.
    pub started_us: u64,
    /// From the start to the end of the plan (to the last answer, when saturating). Microseconds.
    pub took_us: u64,
    /// Length of each window. Microseconds.
    pub window_us: u64,
    /// Without a gap from the start on; window `i` begins at `i * window_us`.
    pub windows: Vec<Window>,
    /// The whole run.
    pub whole: Counts,
    /// Why the figures mean nothing; empty: they are valid.
    pub invalid: Vec<Invalid>,
    pub feed: FeedAccount,
    /// Exchanges that were inspected, of [`Counts::planned`]: inspection never holds a run up.
    pub inspected: u64,
    /// Results that were merged into this one, itself included.
    pub shards: u32,
    /// What it was judged by, and what came of that.
    #[serde(default)]
    pub judged: Judged,
}

/// What was planned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanOf {
    /// Where to: `http://HOST:PORT`.
    pub target: String,
    /// In words, such as `constant 500/s` or `recorded x2`.
    pub schedule: String,
    /// In words, such as `16..512`, `recorded` or `churn:1`.
    pub connections: String,
    /// `HTTP/1.1` or `h2c`.
    pub protocol: String,
    /// Of a recorded timing: so many times as fast.
    pub speed: Option<f64>,
    pub seed: u64,
    /// The part of the run that this is; none: written before that was noted.
    #[serde(default)]
    pub share: Option<ShareOf>,
    /// Where it ends, in words, such as `500 requests or 10s`; none: written before that was noted.
    #[serde(default)]
    pub ends: Option<String>,
    /// What was played.
    pub source: SourceOf,
    /// A run whose lateness at the 99th percentile is over this is not valid. Microseconds.
    pub lateness_us_max: u64,
}

/// What was played.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOf {
    /// File name of the capture, or what stood for one.
    pub name: String,
    /// `recorded`, `imported` or `synthetic`.
    pub origin: String,
    /// Wall clock of the recording: microseconds since the epoch; 0 where there was none.
    pub recorded_us: u64,
    /// The capture's own note.
    pub note: String,
    /// Of what is in it: two files of one name need not be one recording. None: written before that
    /// was noted.
    #[serde(default)]
    pub hash: Option<String>,
}

/// Part `index` of `of`; a run that was not split is 0 of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareOf {
    pub index: u32,
    pub of: u32,
}

/// What happened in one stretch of the run. A request is planned, sent and answered in the windows
/// in which that happened, which need not be the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// From the start of the run. Microseconds.
    pub start_us: u64,
    /// Microseconds.
    pub length_us: u64,
    pub counts: Counts,
}

/// Counts and times. `planned = sent + shed + unsent`, `sent = answered + faults + unfinished`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Moments of the schedule that came.
    pub planned: u64,
    pub sent: u64,
    pub answered: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers of 200 with a bid in them; none: nothing was counted, or before that was.
    #[serde(default)]
    pub filled: Option<u64>,
    /// Sent and not answered, by the label of the fault.
    pub faults: BTreeMap<String, u64>,
    /// Not sent: too many waited for a connection.
    pub shed: u64,
    /// Not sent: no connection was free in time.
    pub unsent: u64,
    /// Sent, and the run ended before the answer came.
    pub unfinished: u64,
    pub connects: u64,
    pub connect_faults: u64,
    /// Most requests that waited for a connection at once.
    pub queue_peak: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// From the planned moment to the end of the answer.
    pub latency: Packed,
    /// From sending to the end of the answer.
    pub service: Packed,
    /// From the planned moment to its being taken up: the generator's own fault.
    pub lateness: Packed,
}

/// What was read in order to be played.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedAccount {
    /// Records that were taken up to be sent, in the first round.
    pub records: u64,
    /// Rounds through the source that were begun.
    pub loops: u64,
    /// Records that stood too late in the file to be played in their order: they were played when
    /// they were read.
    pub out_of_order: u64,
    /// Records that cannot be sent, such as one of another method than POST.
    pub skipped: u64,
    /// Requests that could not be made unique: no JSON object, or without an id that can be changed.
    pub opaque: u64,
    /// What broke off the reading of a capture; what was good before it was played.
    pub damage: Option<String>,
}

/// Why a run means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Invalid {
    /// The generator itself was late: the load was not the one that was asked for.
    LateGenerator { lateness_p99_us: u64, limit_us: u64 },
    /// Requests were shed: more waited for a connection than the queue holds.
    Shed { requests: u64 },
    /// What was sent was less diverse than what was recorded; the axes by name.
    Diversity { axes: Vec<String> },
    /// Too few exchanges were looked at for what was asked of them.
    Inspection { inspected: u64, of: u64 },
    /// It was ended before its plan was.
    Interrupted,
    /// An objective speaks of a baseline that was another load; in which way.
    Baseline { unlike: Vec<String> },
    /// No request of the plan fell to this run.
    Nothing,
    /// Not one request was answered.
    Unanswered { requests: u64 },
    /// The target turned most requests away (3xx, 400, 401, 403, 404, 405, 415), and not so in the
    /// recording.
    Refused { refused: u64, answered: u64 },
    /// Assertions that were named and never judged; empty: of all of them, not one that reads an
    /// answer of 200 or 204.
    NotJudged { rules: Vec<String> },
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LateGenerator { lateness_p99_us, limit_us } => write!(
                f,
                "the generator was late by {lateness_p99_us} µs at p99, {limit_us} µs are allowed"
            ),
            Self::Shed { requests } => {
                write!(f, "{requests} requests were shed: too many waited for a connection")
            }
            Self::Inspection { inspected, of } => {
                write!(f, "only {inspected} of {of} exchanges were inspected")
            }
            Self::Diversity { axes } => write!(f, "diversity was lost: {}", axes.join(", ")),
            Self::Baseline { unlike } => {
                write!(f, "the baseline was another load: {}", unlike.join("; "))
            }
            Self::Interrupted => f.write_str("it was ended before its plan was"),
            Self::Nothing => f.write_str("nothing was sent: no request was planned"),
            Self::Unanswered { requests } => {
                write!(f, "none of {requests} requests was answered")
            }
            Self::Refused { refused, answered } => write!(
                f,
                "{refused} of {answered} answers turn the request away (3xx, 400, 401, 403, 404, 405, \
                 415): are the key, the path and the headers right?"
            ),
            Self::NotJudged { rules } if rules.is_empty() => {
                f.write_str("no assertion was judged that reads an answer of 200 or 204")
            }
            Self::NotJudged { rules } => {
                write!(f, "assertions that were never judged: {}", rules.join(", "))
            }
        }
    }
}

/// Why a result cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    #[error("{path} cannot be read")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} has more than {FILE_BYTES_MAX} bytes, which no result has")]
    TooLarge { path: PathBuf },
    #[error("{path} is no result of a run")]
    Form { path: PathBuf, source: serde_json::Error },
    #[error("{path} is a result of version {version}; this program reads version {VERSION}")]
    Version { path: PathBuf, version: u32 },
    #[error("{path} contradicts itself: {what}")]
    Contradiction { path: PathBuf, what: &'static str },
}

// === impl ShareOf ===

impl std::fmt::Display for ShareOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.of {
            0 | 1 => f.write_str("the whole"),
            of => write!(f, "{}/{of}", self.index),
        }
    }
}

// === impl RunResult ===

impl RunResult {
    /// From a file.
    pub fn open(path: &Path) -> Result<Self, ResultError> {
        let fault = |source| ResultError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(fault)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fault)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ResultError::TooLarge { path: path.to_owned() });
        }
        Self::parse(&bytes, path)
    }

    /// From the bytes of a file of that name.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, ResultError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let form = |source| ResultError::Form { path: path.to_owned(), source };
        let Versioned { version } = serde_json::from_slice(bytes).map_err(form)?;
        if version != VERSION {
            return Err(ResultError::Version { path: path.to_owned(), version });
        }
        let result: Self = serde_json::from_slice(bytes).map_err(form)?;
        match result.contradiction() {
            Some(what) => Err(ResultError::Contradiction { path: path.to_owned(), what }),
            None => Ok(result),
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .unwrap_or_else(|_| unreachable!("maps with text or numbers as keys, nothing fallible"))
    }

    /// Whether the figures mean anything.
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }

    /// In what the load of this run is another than that of an earlier one, in words: figures of two
    /// loads say nothing about a target.
    pub fn unlike(&self, before: &Self, is_rate_free: bool) -> Vec<String> {
        let (mine, theirs) = (&self.plan, &before.plan);
        let mut found = Vec::new();
        let mut compare = |what: &str, is_same: bool, before: &str, now: &str| {
            if !is_same {
                found.push(format!("{what} was `{before}` before and is `{now}` now"));
            }
        };
        let (source, other) = (&mine.source, &theirs.source);
        // a file may have been renamed
        let is_same = match (&source.hash, &other.hash) {
            (Some(one), Some(two)) => one == two,
            _ => source.name == other.name,
        };
        let is_named = source.name == other.name;
        let what = if is_named { "what is in the source" } else { "the source" };
        let hash = |of: &SourceOf| of.hash.clone().unwrap_or_default();
        let (then, now) = if is_named {
            (hash(other), hash(source))
        } else {
            (other.name.clone(), source.name.clone())
        };
        compare(what, is_same, &then, &now);
        let is_paced = is_rate_free || mine.schedule == theirs.schedule;
        compare("the schedule", is_paced, &theirs.schedule, &mine.schedule);
        compare("the protocol", mine.protocol == theirs.protocol, &theirs.protocol, &mine.protocol);
        // of an older result it is not known
        if let (Some(now), Some(then)) = (mine.share, theirs.share) {
            let (then, now) = (then.to_string(), now.to_string());
            compare("the part of the run", then == now, &then, &now);
        }
        found
    }

    /// The time of the run.
    pub fn took(&self) -> Duration {
        Duration::from_micros(self.took_us)
    }

    /// Sent requests a second.
    pub fn sent_per_second(&self) -> f64 {
        self.whole.sent as f64 / self.took().as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// What the parts of the program rely on, and a file need not keep to.
    fn contradiction(&self) -> Option<&'static str> {
        let is_step = |us: u64| us.is_multiple_of(WINDOW_US) && (us / WINDOW_US).is_power_of_two();
        if !is_step(self.window_us) {
            return Some("the length of a window is not 100 ms times a power of two");
        }
        if self.windows.len() > WINDOWS_MAX {
            return Some("it has more than 600 windows");
        }
        let is_in_place = |(index, window): (usize, &Window)| {
            window.length_us == self.window_us
                && Some(window.start_us) == (index as u64).checked_mul(self.window_us)
        };
        if !self.windows.iter().enumerate().all(is_in_place) {
            return Some("its windows do not follow each other");
        }
        let planned = |counts: &Counts| counts.planned;
        let sum = self.windows.iter().map(|window| u128::from(planned(&window.counts))).sum();
        (u128::from(self.whole.planned) != sum)
            .then_some("its windows and the whole have different numbers of requests")
    }
}

// === impl Counts ===

impl Counts {
    /// Adds what a driver counted.
    pub fn add_report(&mut self, report: &Report) {
        self.add_numbers(&Self {
            planned: report.planned,
            sent: report.sent,
            answered: report.answered,
            filled: Some(report.filled),
            statuses: nonzero(report.statuses.iter().map(|(status, count)| (*status, *count))),
            faults: nonzero(
                Fault::ALL.iter().map(|fault| (fault.label().to_owned(), report.fault(*fault))),
            ),
            shed: report.shed,
            unsent: report.unsent,
            unfinished: report.unfinished,
            connects: report.connects,
            connect_faults: report.connect_faults,
            queue_peak: report.queue_peak,
            bytes_sent: report.bytes_sent,
            bytes_received: report.bytes_received,
            ..Self::default()
        });
        self.latency.add(&report.latency);
        self.service.add(&report.service);
        self.lateness.add(&report.lateness);
    }

    /// Sent and not answered, for whatever reason but the end of the run.
    pub fn faulty(&self) -> u64 {
        self.faults.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Answers with this status.
    pub fn status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Requests that got no answer below 500, of those that were planned.
    pub fn failed(&self) -> u64 {
        let broken = self.statuses.range(500..).map(|(_, count)| *count);
        let lost = [self.faulty(), self.shed, self.unsent, self.unfinished];
        broken.chain(lost).fold(0, u64::saturating_add)
    }
}

fn nonzero<K: Ord>(counts: impl Iterator<Item = (K, u64)>) -> BTreeMap<K, u64> {
    counts.filter(|(_, count)| *count > 0).collect()
}
