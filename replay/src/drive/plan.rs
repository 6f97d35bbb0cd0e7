//! What a run of the driver is.
//!
//! Owns: [`Plan`] with its bounds and settings, and [`RequestSet`], bodies in memory. Never: a
//! socket, a clock. Invariant: a plan is bounded in requests and in time.

use super::schedule::Schedule;
use super::target::Target;
use crate::feed::source::Source;
use gavel::capture::Record;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub target: Target,
    pub source: Source,
    pub schedule: Schedule,
    pub bounds: Bounds,
    pub settings: DriveSettings,
    pub keys: Keys,
    /// Ids of later rounds follow from it.
    pub seed: u64,
    /// The part of the run that falls to this process.
    pub share: Share,
}

impl Plan {
    /// Whether the record of this number, in the order of the run, falls to this process, where
    /// several share the run.
    pub fn is_ours(&self, record: &Record, number: u64) -> bool {
        let key = self.key(record, number);
        self.share.of <= 1 || key % u64::from(self.share.of) == u64::from(self.share.index)
    }

    /// By what shards and threads are chosen: a connection of the recording stays together.
    pub fn key(&self, record: &Record, number: u64) -> u64 {
        match self.settings.pool {
            // neighbouring numbers must not fall together whatever the number of threads
            Pool::Recorded => record.connection.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20,
            Pool::Keep | Pool::Churn { .. } => number,
        }
    }
}

/// Where a run ends; the first that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests planned.
    pub requests_max: u64,
    /// Time in which requests are planned.
    pub time_max: Duration,
    /// Rounds through the source.
    pub rounds_max: u64,
}

impl Default for Bounds {
    /// None: whoever makes a plan sets at least one.
    fn default() -> Self {
        Self { requests_max: u64::MAX, time_max: Duration::MAX, rounds_max: u64::MAX }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: u64, what: &str| (count < u64::MAX).then(|| format!("{count} {what}"));
        let time = (self.time_max < Duration::MAX).then(|| format!("{:?}", self.time_max));
        let all = [of(self.requests_max, "requests"), time, of(self.rounds_max, "rounds")];
        let told: Vec<String> = all.into_iter().flatten().collect();
        f.write_str(&told.join(" or "))
    }
}

/// One part of a run that several processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// `0..of`.
    pub index: u32,
    pub of: u32,
}

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };
}

/// How a partner of the recording, whose key is not in it, shows who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The header that takes the key.
    pub header: String,
    pub of_partner: BTreeMap<String, String>,
    /// For partners without one of their own.
    pub of_others: Option<String>,
}

/// How connections come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// They are kept alive; whichever is free takes the next request.
    Keep,
    /// Each is closed after so many requests.
    Churn { requests: u32 },
    /// As in the recording: each of its connections is one here, opened for its first request and
    /// closed after its last.
    Recorded,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// With prior knowledge (RFC 9113, 3.3).
    Http2,
}

/// How a run goes about it. Counts are of the whole run and shared by its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriveSettings {
    /// Threads, each with its part of the requests and of the connections; 1 to 64.
    pub threads: u32,
    pub pool: Pool,
    pub protocol: Protocol,
    /// Connections opened before the first request; 1 to 65,536. With [`Pool::Keep`] only.
    pub connections: u32,
    /// Connections open at once; more are opened while requests wait. Not below `connections`.
    pub connections_max: u32,
    /// Requests at once on one connection of HTTP/2; 1 to 1,000. The server may allow fewer.
    pub streams_max: u32,
    /// Requests that wait for a connection, in the order of their planned time; the next is shed
    /// and counted.
    pub queue_max: u32,
    /// For an answer, from sending; and for a connection, from planning. Milliseconds.
    pub timeout_ms: u64,
    /// How long answers are awaited after the last request. Milliseconds.
    pub drain_ms_max: u64,
    /// One answer, head and body. Bytes.
    pub answer_bytes_max: usize,
    /// Busy waiting before a planned moment: exacter, at the price of a core. Microseconds.
    pub spin_us: u64,
    /// A run whose lateness at the 99th percentile is over this is not valid. Microseconds.
    pub lateness_us_max: u64,
    /// Whether ids of later rounds are new ones.
    pub is_unique: bool,
    /// Rounds that were played before this run: ids of its rounds are those that come after.
    pub rounds_before: u64,
    /// Whether each request says of itself that it is a test (`test` is 1).
    pub marks_tests: bool,
}

impl Default for DriveSettings {
    fn default() -> Self {
        Self {
            threads: 1,
            pool: Pool::Keep,
            protocol: Protocol::Http1,
            connections: 16,
            connections_max: 512,
            streams_max: 100,
            queue_max: 10_000,
            timeout_ms: 2_000,
            drain_ms_max: 2_000,
            answer_bytes_max: 1 << 20,
            spin_us: 0,
            lateness_us_max: 2_000,
            is_unique: true,
            rounds_before: 0,
            marks_tests: false,
        }
    }
}

/// How one request is addressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Routed<'a> {
    pub path: &'a str,
    fixed: &'a [(String, String)],
    key: Option<(&'a str, &'a str)>,
}

impl<'a> Routed<'a> {
    /// Headers that win over recorded ones.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let fixed = self.fixed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        fixed.chain(self.key)
    }
}

impl Plan {
    /// Where a record goes: to the routes in turn where it has no path of its own or the target
    /// names one.
    pub(crate) fn route<'a>(&'a self, record: &'a Record, number: u64) -> Routed<'a> {
        let count = self.target.routes.len().max(1) as u64;
        let index = usize::try_from(number % count).unwrap_or(0);
        let (path, fixed) = self
            .target
            .routes
            .get(index)
            .map_or(("/", &[][..]), |route| (route.path.as_str(), route.headers.as_slice()));
        let is_own = path == "/" && !record.path.is_empty();
        let key = self.keys.of_partner.get(&record.partner).or(self.keys.of_others.as_ref());
        Routed {
            path: if is_own { &record.path } else { path },
            fixed,
            key: key.map(|key| (self.keys.header.as_str(), key.as_str())),
        }
    }
}

impl DriveSettings {
    /// The connections in words.
    pub fn connections_text(&self) -> String {
        match self.pool {
            Pool::Keep if self.connections == self.connections_max => self.connections.to_string(),
            Pool::Keep => format!("{}..{}", self.connections, self.connections_max),
            Pool::Churn { requests } => format!("churn:{requests}"),
            Pool::Recorded => "recorded".to_owned(),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "h2c",
        })
    }
}

impl DriveSettings {
    /// The part of a count that falls to one of the threads; at least 1.
    pub(super) fn part(&self, count: u32) -> usize {
        usize::try_from(count.div_ceil(self.threads.max(1)).max(1)).unwrap_or(1)
    }
}

/// Distinct bodies in one piece of memory, sent in turn.
#[derive(Clone, Debug, Default)]
pub struct RequestSet {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RequestSet {
    /// Adds a body that `write` appends.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all bodies.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The body of request `number`: they come round again. Empty where the set is.
    pub fn body(&self, number: u64) -> &[u8] {
        let count = self.ends.len().max(1) as u64;
        let index = usize::try_from(number % count).unwrap_or(0);
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(index).copied().unwrap_or(0);
        self.bytes.get(start.unwrap_or(0)..end).unwrap_or_default()
    }

    /// All, in turn.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len() as u64).map(|number| self.body(number))
    }
}

impl<B: AsRef<[u8]>> FromIterator<B> for RequestSet {
    fn from_iter<I: IntoIterator<Item = B>>(bodies: I) -> Self {
        let mut set = Self::default();
        for body in bodies {
            set.push_with(|bytes| bytes.extend_from_slice(body.as_ref()));
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_round_again() {
        let set: RequestSet = ["a", "", "bcd"].into_iter().collect();
        let seen: Vec<&[u8]> = (0..7).map(|number| set.body(number)).collect();
        assert_eq!(seen, [&b"a"[..], b"", b"bcd", b"a", b"", b"bcd", b"a"]);
        assert_eq!((set.len(), set.bytes()), (3, 4));
        assert_eq!(RequestSet::default().body(4), b"");
    }
}
