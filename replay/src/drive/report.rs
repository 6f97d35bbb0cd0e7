//! What came of a run.
//!
//! Owns: [`Report`] and its merging. Never: a clock, a socket. Invariants: its size does not grow
//! with the number of requests; `planned = sent + shed + unsent` and
//! `sent = answered + faults + unfinished`.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// A sent request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The server closed the connection before the answer was complete.
    Closed,
    /// The connection was reset, or broke otherwise.
    Broken,
    /// Not HTTP.
    Malformed,
    /// Over `answer_bytes_max`.
    TooLarge,
    /// No complete answer within `timeout_ms`.
    Timeout,
    /// The server ended the one request (HTTP/2 only).
    Reset,
    /// The server will not handle it, and says so: it is going away (HTTP/2 only).
    Refused,
}

impl Fault {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 7] = [
        Self::Closed,
        Self::Broken,
        Self::Malformed,
        Self::TooLarge,
        Self::Timeout,
        Self::Reset,
        Self::Refused,
    ];

    /// The name in reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Refused => "refused",
        }
    }
}

/// Whether the figures of a run mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Valid,
    /// The generator itself was late: the load was not the one that was asked for.
    LateGenerator {
        lateness_p99: Duration,
    },
    /// Requests were shed: more waited for a connection than `queue_max`.
    Shed {
        requests: u64,
    },
}

/// What came of a run. Histograms are in nanoseconds.
#[derive(Clone, Debug)]
pub struct Report {
    /// Moments of the schedule that came.
    pub planned: u64,
    pub sent: u64,
    pub answered: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers of 200 with a bid in them.
    pub filled: u64,
    /// Sent and not answered, by `Fault`.
    pub faults: [u64; Fault::ALL.len()],
    /// Not sent: the queue was full.
    pub shed: u64,
    /// Not sent: no connection was free in time.
    pub unsent: u64,
    /// Sent, and the run ended before the answer came.
    pub unfinished: u64,
    /// Connections opened, and attempts that failed.
    pub connects: u64,
    pub connect_faults: u64,
    /// Most requests that ever waited for a connection.
    pub queue_peak: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Planned requests of the first round through the source, and rounds of which any was planned.
    pub records: u64,
    pub rounds: u64,
    /// From the planned moment to the end of the answer.
    pub latency: Histogram<u64>,
    /// From sending to the end of the answer: what a closed loop would have called latency.
    pub service: Histogram<u64>,
    /// From the planned moment to the driver's taking it up: the driver's own fault.
    pub lateness: Histogram<u64>,
    /// From the start to the last planned moment (to the last answer, when saturating).
    pub took: Duration,
}

/// The shortest time told apart: a microsecond.
pub const SHORTEST_NS: u64 = 1_000;
/// The longest time told apart: a minute.
pub const LONGEST_NS: u64 = 60_000_000_000;
/// Digits of a time that are kept.
pub const SIGNIFICANT: u8 = 3;

/// A histogram of nanoseconds with three digits, from a microsecond to a minute.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, SIGNIFICANT)
        .unwrap_or_else(|_| unreachable!("constant bounds that the crate's documentation allows"))
}

impl Default for Report {
    fn default() -> Self {
        Self {
            planned: 0,
            sent: 0,
            answered: 0,
            statuses: BTreeMap::new(),
            filled: 0,
            faults: [0; Fault::ALL.len()],
            shed: 0,
            unsent: 0,
            unfinished: 0,
            connects: 0,
            connect_faults: 0,
            queue_peak: 0,
            bytes_sent: 0,
            bytes_received: 0,
            records: 0,
            rounds: 0,
            latency: histogram(),
            service: histogram(),
            lateness: histogram(),
            took: Duration::ZERO,
        }
    }
}

impl Report {
    /// Adds what the same thread counted since.
    pub fn follow(&mut self, later: &Self) {
        let peak = self.queue_peak.max(later.queue_peak);
        self.merge(later);
        self.queue_peak = peak;
    }

    /// Counts nothing any more; its memory stays.
    pub fn reset(&mut self) {
        let mut statuses = std::mem::take(&mut self.statuses);
        for count in statuses.values_mut() {
            *count = 0;
        }
        for histogram in [&mut self.latency, &mut self.service, &mut self.lateness] {
            histogram.reset();
        }
        (self.planned, self.sent, self.answered, self.filled) = (0, 0, 0, 0);
        (self.shed, self.unsent, self.unfinished) = (0, 0, 0);
        (self.connects, self.connect_faults, self.queue_peak) = (0, 0, 0);
        (self.bytes_sent, self.bytes_received) = (0, 0);
        (self.records, self.rounds) = (0, 0);
        self.faults = [0; Fault::ALL.len()];
        self.statuses = statuses;
    }

    /// Adds the part of another thread.
    pub fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        self.sent += other.sent;
        self.answered += other.answered;
        for (status, count) in other.statuses.iter().filter(|(_, count)| **count > 0) {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.filled += other.filled;
        for (mine, theirs) in self.faults.iter_mut().zip(other.faults) {
            *mine += theirs;
        }
        self.shed += other.shed;
        self.unsent += other.unsent;
        self.unfinished += other.unfinished;
        self.connects += other.connects;
        self.connect_faults += other.connect_faults;
        self.queue_peak += other.queue_peak;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.records += other.records;
        self.rounds = self.rounds.max(other.rounds);
        for (mine, theirs) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.lateness, &other.lateness),
        ] {
            // cannot fail: all have the same bounds
            mine.add(theirs).unwrap_or_else(|_| unreachable!("equal bounds"));
        }
        self.took = self.took.max(other.took);
    }

    /// Sent and not answered, for whatever reason but the end of the run.
    pub fn faulty(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// How often this fault came.
    pub fn fault(&self, fault: Fault) -> u64 {
        self.faults.get(fault as usize).copied().unwrap_or(0)
    }

    /// Answers with this status.
    pub fn status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Answers a second.
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Sent requests a second.
    pub fn sent_per_second(&self) -> f64 {
        self.sent as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Whether the load was the one that was asked for.
    pub fn validity(&self, lateness_us_max: u64) -> Validity {
        let lateness_p99 = at(&self.lateness, 0.99);
        if lateness_p99 > Duration::from_micros(lateness_us_max) {
            Validity::LateGenerator { lateness_p99 }
        } else if self.shed > 0 {
            Validity::Shed { requests: self.shed }
        } else {
            Validity::Valid
        }
    }
}

/// The value of a histogram at a quantile (0 to 1).
pub fn at(histogram: &Histogram<u64>, quantile: f64) -> Duration {
    Duration::from_nanos(histogram.value_at_quantile(quantile))
}
