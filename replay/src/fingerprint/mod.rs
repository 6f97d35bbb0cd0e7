//! How diverse traffic is, and whether what was sent was as diverse as what was recorded.
//!
//! Owns: [`Fingerprint`], which takes one request after the other and keeps counts, never bodies.
//! Never: a file, a clock, chance. Invariants: the same requests in the same order give the same
//! [`Summary`] on every machine; memory does not depend on how many there are (some 20 MB with the
//! default settings); both sides of a comparison are measured in the same way.
//!
//! | file | owns |
//! |---|---|
//! | `mix` | the hash that every axis uses |
//! | `ids` | what of a body only says which request it is |
//! | `features` | what kind of request it is |
//! | `counted` | distinct values (HyperLogLog), the share of the most frequent |
//! | `spread` | the effective number of combinations |
//! | `reuse` | how soon a value comes again: what caches of each size would have held |
//! | `squeeze` | how much a compressor with a long window finds again |
//! | `buckets` | sizes and gaps |
//! | `summary` | what is kept of a run |
//! | `gate` | two summaries -> what is wrong with the second |
//!
//! Axes grow or shrink with the number of requests (more requests hold more combinations), so
//! they are noted at 64, 96, 128, 192 ... requests and at the end, and two runs are compared at
//! the largest number that both have.

pub(crate) mod buckets;
mod counted;
pub mod features;
pub mod gate;
pub mod ids;
pub mod mix;
mod reuse;
mod spread;
mod squeeze;
pub mod summary;
#[cfg(test)]
mod tests;

use crate::inspect::{Exchange, Inspect};
use buckets::Buckets;
use counted::{Heavy, Hyper};
use features::Features;
use gavel::json::scratch::Scratch;
use ids::Cut;
use reuse::Reuse;
use spread::Spread;
use squeeze::Squeeze;
use std::time::Duration;
use summary::{Axes, Distinct, Reused, Summary};

/// The first number of requests at which the axes are noted: fewer say nothing.
pub const FIRST_NOTE: u64 = 64;

/// Deepest nesting that is read; gavel's own bound for requests is below it.
const DEPTH_MAX: usize = 64;

/// How a fingerprint is taken. Two summaries can be compared where these are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FingerprintSettings {
    /// Window of the compressor as a power of two of bytes, 10 to 27: 23 (8 MiB) sees some 4,000
    /// requests of 2 KB back. Memory is about 1.5 times that.
    pub window_log: u32,
    /// Requests among which a value that comes again is found; 64 bytes each.
    pub reuse_window: u32,
    /// Further numbers of requests at which the axes are noted: the length of the recording that
    /// this run will be compared with.
    pub also_at: Vec<u64>,
}

impl Default for FingerprintSettings {
    fn default() -> Self {
        Self { window_log: 23, reuse_window: 1 << 16, also_at: Vec::new() }
    }
}

/// Takes requests; see the module.
#[derive(Debug)]
pub struct Fingerprint {
    settings: FingerprintSettings,
    requests: u64,
    bytes: u64,
    unreadable: u64,
    first: Option<Duration>,
    last: Duration,
    scratch: Scratch,
    text: Vec<u8>,
    cut: Cut,
    distinct: Sketches,
    combinations: Spread,
    bodies: Heavy,
    body_reuse: Reuse,
    agent_reuse: Reuse,
    squeeze: Squeeze,
    sizes: Buckets,
    gaps: Buckets,
    notes: Vec<Axes>,
}

#[derive(Debug, Default)]
struct Sketches {
    bodies: Hyper,
    agents: Hyper,
    addresses: Hyper,
    places: Hyper,
    placements: Hyper,
}

impl Fingerprint {
    /// An empty one.
    pub fn new(settings: FingerprintSettings) -> Self {
        Self {
            requests: 0,
            bytes: 0,
            unreadable: 0,
            first: None,
            last: Duration::ZERO,
            scratch: Scratch::new(DEPTH_MAX),
            text: Vec::new(),
            cut: Cut::default(),
            distinct: Sketches::default(),
            combinations: Spread::default(),
            bodies: Heavy::default(),
            body_reuse: Reuse::new(settings.reuse_window),
            agent_reuse: Reuse::new(settings.reuse_window),
            squeeze: Squeeze::new(settings.window_log),
            sizes: Buckets::default(),
            gaps: Buckets::default(),
            notes: Vec::new(),
            settings,
        }
    }

    /// Takes one request, in the order in which they were sent: when (from any fixed moment on),
    /// the partner, the path and the body.
    pub fn observe(&mut self, at: Duration, partner: &str, path: &str, body: &[u8]) {
        self.requests += 1;
        self.bytes += body.len() as u64;
        self.sizes.add(body.len() as u64);
        if self.first.is_some() {
            let gap = at.saturating_sub(self.last).as_nanos();
            self.gaps.add(u64::try_from(gap).unwrap_or(u64::MAX));
        }
        self.first.get_or_insert(at);
        self.last = self.last.max(at);
        let combination = if let Ok(document) = self.scratch.read(body, &mut self.text) {
            let root = document.root();
            self.cut.without_ids(body, root);
            let features = Features::of(root);
            self.distinct.take(&features);
            self.agent_reuse.take(mix::hash(0, features.agent.as_bytes()));
            features.combination()
        } else {
            self.unreadable += 1;
            self.cut.whole(body);
            // what cannot be read differs by its size at most
            mix::hash(u64::from(body.len().max(1).ilog2()), b"unreadable")
        };
        let partner = mix::hash(mix::hash(0, partner.as_bytes()), before_query(path));
        self.combinations.take(mix::pair(partner, combination));
        let body = mix::hash(partner, self.cut.bytes());
        self.distinct.bodies.add(body);
        self.bodies.take(body);
        self.body_reuse.take(body);
        self.squeeze.take(self.cut.bytes());
        if is_noted(self.requests) || self.settings.also_at.contains(&self.requests) {
            let axes = self.axes();
            self.notes.push(axes);
        }
    }

    /// What came so far.
    pub fn summary(&mut self) -> Summary {
        let mut notes = self.notes.clone();
        if notes.last().is_none_or(|axes| axes.requests < self.requests) && self.requests > 0 {
            notes.push(self.axes());
        }
        Summary {
            version: Summary::VERSION,
            window_log: self.settings.window_log,
            reuse_window: self.settings.reuse_window,
            requests: self.requests,
            bytes: self.bytes,
            unreadable: self.unreadable,
            took_ns: self
                .first
                .map_or(0, |first| self.last.saturating_sub(first).as_nanos())
                .try_into()
                .unwrap_or(u64::MAX),
            notes,
            sizes: self.sizes.list(),
            gaps_ns: self.gaps.list(),
        }
    }

    /// The axes as they stand now.
    fn axes(&mut self) -> Axes {
        let count = self.requests.max(1) as f64;
        let distinct = &self.distinct;
        let axes = Axes {
            requests: self.requests,
            effective_combinations: self.combinations.effective(),
            top_combination: self.combinations.top() as f64 / count,
            top_body: self.bodies.top().1 as f64 / count,
            squeezed: self.squeeze.ratio(),
            distinct: Distinct {
                bodies: distinct.bodies.count(),
                agents: distinct.agents.count(),
                addresses: distinct.addresses.count(),
                places: distinct.places.count(),
                placements: distinct.placements.count(),
            },
            bodies: Reused::of(&self.body_reuse),
            agents: Reused::of(&self.agent_reuse),
        };
        axes.rounded()
    }
}

impl Sketches {
    fn take(&mut self, features: &Features<'_>) {
        for (sketch, value) in [
            (&mut self.agents, features.agent),
            (&mut self.addresses, features.address),
            (&mut self.places, features.place),
        ] {
            if !value.is_empty() {
                sketch.add(mix::hash(0, value.as_bytes()));
            }
        }
        if !features.placement.is_empty() {
            let place = mix::hash(0, features.place.as_bytes());
            self.placements.add(mix::hash(place, features.placement.as_bytes()));
        }
    }
}

/// What was really sent, when it was; what was planned and not sent is not diverse either.
impl Inspect for Fingerprint {
    fn exchange(&mut self, exchange: &Exchange<'_>) {
        if let Some(sent) = exchange.sent.filter(|_| exchange.end.is_sent()) {
            self.observe(sent, exchange.partner, exchange.path, exchange.request);
        }
    }
}

/// A key in the query is nobody's feature.
fn before_query(path: &str) -> &[u8] {
    path.as_bytes().split(|byte| *byte == b'?').next().unwrap_or_default()
}

/// Powers of two and halfway between them.
fn is_noted(requests: u64) -> bool {
    requests >= FIRST_NOTE
        && (requests.is_power_of_two()
            || requests.is_multiple_of(3) && (requests / 3).is_power_of_two())
}
