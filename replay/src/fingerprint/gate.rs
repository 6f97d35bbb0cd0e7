//! Whether what was sent was as diverse as what was recorded.
//!
//! Owns: [`gate`], its limits and its faults. Never: a measurement. Invariant: a run that cannot
//! be judged (nothing recorded, too few requests, measured otherwise) is a fault, never a pass.
//!
//! Two things are compared: the axes at the largest number of requests that both noted (so that a
//! short run is held against the beginning of a long recording, and a long run's beginning
//! against the whole of a short one), and, for what must not get worse later, the end of the run.
//! A comparison of two samples of one traffic has noise; each limit is widened by
//! `deviations` of it, which is next to nothing from some thousand requests on.
//!
//! A recording that is itself one request repeated, or ten scripted ones, would let anything pass. So
//! there are absolute limits too, for what was sent, whatever the recording is. Some grow with the
//! number of requests: ten of anything are few among thousands, and many among a hundred.

use super::summary::{Axes, Summary};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is still diverse enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateLimits {
    /// Effective combinations, for each recorded one; at least.
    pub effective_min: f64,
    /// Shares of the most frequent body and combination, for the recorded share; at most.
    pub top_max: f64,
    /// Compression ratio for the recorded one; at most.
    pub squeezed_max: f64,
    /// Hit rate of a cache may differ from the recorded one by this.
    pub hit_rate_off_max: f64,
    /// Distinct agents, addresses, places and placements, for each recorded one; at least.
    pub distinct_min: f64,
    /// How often each body is sent, for each time that it was recorded; at most. A recording that
    /// is played once has 1, played again 2.
    pub loops_max: f64,
    /// By how many standard deviations of sampling noise limits are widened.
    pub deviations: f64,
    /// For what was sent, whatever was recorded.
    pub absolute: AbsoluteLimits,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            effective_min: 0.8,
            top_max: 1.5,
            squeezed_max: 1.5,
            hit_rate_off_max: 0.05,
            distinct_min: 0.8,
            // once, and a quarter for the noise of estimates and a recording that begins again
            loops_max: 1.25,
            deviations: 3.0,
            absolute: AbsoluteLimits::default(),
        }
    }
}

/// Least diversity of anything that is called traffic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AbsoluteLimits {
    /// Fewer requests cannot be judged; not below 64, where the first axes are noted.
    pub requests_min: u64,
    /// One template has one. Recorded traffic of one small exchange whose requests say little has
    /// four, so this is no more than what tells traffic from a template.
    pub effective_min: f64,
    /// From so many requests on it is this: ten scripted requests whose prices are drawn have some
    /// more than ten.
    pub many: u64,
    pub effective_min_of_many: f64,
    /// Distinct agents for each doubling of the requests beyond 16: 4 of the first 64, 12 of 1,024, 32
    /// of a million. The recording of a browser on 24 sites has 65 of 690 requests. Places and placements
    /// have no such least number: the traffic of one site is traffic.
    pub distinct_per_doubling: f64,
    /// Few scripted requests in a round have few.
    pub bodies_min: f64,
    pub top_body_max: f64,
    pub top_combination_max: f64,
    /// Recorded traffic has some 7 to 80; one request repeated has thousands.
    pub squeezed_max: f64,
}

impl Default for AbsoluteLimits {
    fn default() -> Self {
        Self {
            requests_min: super::FIRST_NOTE,
            effective_min: 2.0,
            many: 1_000,
            effective_min_of_many: 16.0,
            distinct_per_doubling: 2.0,
            bodies_min: 32.0,
            top_body_max: 0.25,
            top_combination_max: 0.9,
            squeezed_max: 500.0,
        }
    }
}

impl AbsoluteLimits {
    /// Of so many requests.
    fn effective_min(&self, requests: u64) -> f64 {
        if requests >= self.many { self.effective_min_of_many } else { self.effective_min }
    }

    /// Likewise. Logarithmic: agents do not grow with traffic as combinations do, and the recording
    /// of a small exchange is traffic, too.
    fn distinct_min(&self, requests: u64) -> f64 {
        self.distinct_per_doubling * (requests as f64 / 16.0).log2().max(0.0)
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// How many requests were sent: too few cannot be judged.
    Requests,
    /// The two were not measured in the same way.
    Measure,
    EffectiveCombinations,
    TopCombination,
    TopBody,
    Bodies,
    Squeezed,
    BodyHitRate,
    AgentHitRate,
    Agents,
    Addresses,
    Places,
    Placements,
    Loops,
}

impl Axis {
    /// Its name, for reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Measure => "measure",
            Self::EffectiveCombinations => "effective combinations",
            Self::TopCombination => "share of the top combination",
            Self::TopBody => "share of the top body",
            Self::Bodies => "distinct bodies",
            Self::Squeezed => "compression ratio",
            Self::BodyHitRate => "hit rate of a cache of bodies",
            Self::AgentHitRate => "hit rate of a cache of user agents",
            Self::Agents => "distinct user agents",
            Self::Addresses => "distinct addresses",
            Self::Places => "distinct sites and apps",
            Self::Placements => "distinct placements",
            Self::Loops => "loops",
        }
    }
}

/// Where a limit comes from, and which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// From the recording.
    AtLeast,
    AtMost,
    /// For anything that is called traffic.
    AbsoluteAtLeast,
    AbsoluteAtMost,
}

/// One axis on which what was sent falls short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AxisFault {
    pub axis: Axis,
    /// At how many requests.
    pub requests: u64,
    /// Entries of the cache, where the axis is a hit rate.
    pub cache: Option<u32>,
    pub recorded: f64,
    pub sent: f64,
    pub limit: f64,
    pub bound: Bound,
    /// Requests from a body to the same again, where that explains it.
    pub loop_length: Option<u64>,
}

impl AxisFault {
    /// Of [`floor`]: there is a recording only.
    pub fn of_recording(&self) -> String {
        let bound = match self.bound {
            Bound::AtLeast | Bound::AbsoluteAtLeast => "at least",
            Bound::AtMost | Bound::AbsoluteAtMost => "at most",
        };
        let (axis, limit) = (self.axis.label(), Figure(self.limit));
        format!("{axis}: {}, any traffic has {bound} {limit}", Figure(self.recorded))
    }
}

impl fmt::Display for AxisFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, recorded, limit) =
            (Figure(self.sent), Figure(self.recorded), Figure(self.limit));
        if self.axis == Axis::Measure {
            return write!(
                f,
                "measure: the recording was measured in another way (version, window or settings); \
                 take its fingerprint again"
            );
        }
        f.write_str(self.axis.label())?;
        if let Some(cache) = self.cache {
            write!(f, " ({cache} entries)")?;
        }
        write!(f, ": sent {sent}, recorded {recorded}, ")?;
        f.write_str(match self.bound {
            Bound::AtLeast => "at least",
            Bound::AtMost => "at most",
            Bound::AbsoluteAtLeast => "any traffic has at least",
            Bound::AbsoluteAtMost => "any traffic has at most",
        })?;
        write!(f, " {limit}, at {} requests", self.requests)?;
        match self.loop_length {
            Some(1) => write!(f, "; the same body again and again"),
            Some(length) => write!(f, "; the same bodies come again after {length} requests"),
            None => Ok(()),
        }
    }
}

/// A number with four digits that matter.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            size if size >= 1_000.0 => write!(f, "{:.0}", self.0),
            size if size >= 10.0 => write!(f, "{:.1}", self.0),
            size if size >= 0.1 || size <= 0.0 => write!(f, "{:.3}", self.0),
            _ => write!(f, "{:.5}", self.0),
        }
    }
}

/// On which axes what was sent falls short of what was recorded; empty: it is as diverse.
pub fn gate(recorded: &Summary, sent: &Summary, limits: &GateLimits) -> Vec<AxisFault> {
    let measure = |summary: &Summary| (summary.version, summary.window_log, summary.reuse_window);
    let mut gate = Gate { limits, faults: Vec::new(), loop_length: loop_length(sent) };
    let least = limits.absolute.requests_min.max(super::FIRST_NOTE);
    let common = sent.notes.iter().rev().find_map(|axes| {
        let same = recorded.at(axes.requests)?;
        (axes.requests >= least).then_some((same, axes))
    });
    if measure(recorded) != measure(sent) {
        gate.fault(sent.requests, Axis::Measure, (0.0, 0.0), (0.0, Bound::AtLeast));
        return gate.faults;
    }
    let (Some((then, now)), Some(end)) = (common, sent.end()) else {
        let counts = (recorded.requests as f64, sent.requests as f64);
        let limit = (least as f64, Bound::AbsoluteAtLeast);
        gate.fault(sent.requests, Axis::Requests, counts, limit);
        return gate.faults;
    };
    gate.compare(then, now);
    gate.compare_lasting(then, now);
    if end.requests > now.requests
        && let Some(then) = recorded.up_to(end.requests)
    {
        gate.compare_lasting(then, end);
    }
    gate.compare_loops(recorded, sent, end);
    gate.absolute(then, now, end);
    gate.faults
}

/// What is too little in a recording itself, whatever is sent of it.
pub fn floor(recorded: &Summary, limits: &GateLimits) -> Vec<AxisFault> {
    let mut gate = Gate { limits, faults: Vec::new(), loop_length: loop_length(recorded) };
    let least = limits.absolute.requests_min.max(super::FIRST_NOTE);
    match recorded.end() {
        Some(end) if end.requests >= least => gate.absolute(end, end, end),
        _ => {
            let (requests, count) = (recorded.requests, recorded.requests as f64);
            let limit = (least as f64, Bound::AbsoluteAtLeast);
            gate.fault(requests, Axis::Requests, (count, count), limit);
        }
    }
    gate.faults
}

/// Known where more than half of the bodies came before, and after the same number of requests.
fn loop_length(sent: &Summary) -> Option<u64> {
    let bodies = &sent.end()?.bodies;
    bodies.loop_length.filter(|_| bodies.share > 0.5)
}

struct Gate<'a> {
    limits: &'a GateLimits,
    faults: Vec<AxisFault>,
    loop_length: Option<u64>,
}

impl Gate<'_> {
    fn fault(&mut self, requests: u64, axis: Axis, values: (f64, f64), limit: (f64, Bound)) {
        let ((recorded, sent), (limit, bound)) = (values, limit);
        let is_repetition = matches!(
            axis,
            Axis::TopBody | Axis::Bodies | Axis::Squeezed | Axis::BodyHitRate | Axis::Loops
        );
        let loop_length = self.loop_length.filter(|_| is_repetition);
        self.faults.push(AxisFault {
            axis,
            requests,
            cache: None,
            recorded,
            sent,
            limit,
            bound,
            loop_length,
        });
    }

    /// A fault where the value is beyond the limit; an axis has one fault, the first.
    fn check(&mut self, requests: u64, axis: Axis, values: (f64, f64), limit: (f64, Bound)) {
        let sent = values.1;
        let is_beyond = match limit.1 {
            Bound::AtLeast | Bound::AbsoluteAtLeast => sent < limit.0,
            Bound::AtMost | Bound::AbsoluteAtMost => sent > limit.0,
        };
        // a value that is no number is beyond every limit
        if (is_beyond || !sent.is_finite()) && self.faults.iter().all(|fault| fault.axis != axis) {
            self.fault(requests, axis, values, limit);
        }
    }

    /// What depends on the number of requests, which is the same here.
    fn compare(&mut self, then: &Axes, now: &Axes) {
        let limits = self.limits;
        let squeezed = |axes: &Axes| axes.squeezed.unwrap_or(f64::NAN);
        let requests = now.requests;
        let limit = (limits.squeezed_max * squeezed(then), Bound::AtMost);
        self.check(now.requests, Axis::Squeezed, (squeezed(then), squeezed(now)), limit);
        for (axis, then, now) in [
            (Axis::Agents, then.distinct.agents, now.distinct.agents),
            (Axis::Addresses, then.distinct.addresses, now.distinct.addresses),
            (Axis::Places, then.distinct.places, now.distinct.places),
            (Axis::Placements, then.distinct.placements, now.distinct.placements),
        ] {
            let limit = limits.distinct_min * then - limits.deviations * then.sqrt();
            self.check(requests, axis, (then, now), (limit, Bound::AtLeast));
        }
        for (axis, recorded, sent) in [
            (Axis::BodyHitRate, &then.bodies, &now.bodies),
            (Axis::AgentHitRate, &then.agents, &now.agents),
        ] {
            for ((size, then_rate), (_, rate)) in recorded.hit_rates.iter().zip(&sent.hit_rates) {
                let noise = limits.deviations * rate_noise(*then_rate, now.requests);
                let off = limits.hit_rate_off_max + noise;
                let limit = if rate > then_rate {
                    (then_rate + off, Bound::AtMost)
                } else {
                    (then_rate - off, Bound::AtLeast)
                };
                let before = self.faults.len();
                self.check(now.requests, axis, (*then_rate, *rate), limit);
                if let Some(fault) = self.faults.get_mut(before) {
                    fault.cache = Some(*size);
                }
            }
        }
    }

    /// What must hold at the end as well, however much longer the run was than the recording.
    fn compare_lasting(&mut self, then: &Axes, now: &Axes) {
        let limits = self.limits;
        let values = (then.effective_combinations, now.effective_combinations);
        let limit = (limits.effective_min * values.0, Bound::AtLeast);
        self.check(now.requests, Axis::EffectiveCombinations, values, limit);
        for (axis, then, now_share) in [
            (Axis::TopCombination, then.top_combination, now.top_combination),
            (Axis::TopBody, then.top_body, now.top_body),
        ] {
            // counts are as noisy as their root, a count of one by one
            let count = now.requests as f64;
            let noise = limits.deviations * ((then * count).sqrt() + 1.0) / count;
            let limit = (limits.top_max * then + noise, Bound::AtMost);
            self.check(now.requests, axis, (then, now_share), limit);
        }
    }

    fn compare_loops(&mut self, recorded: &Summary, sent: &Summary, end: &Axes) {
        let Some(then) = recorded.up_to(sent.requests) else { return };
        let loops = Summary::times_each(end) / Summary::times_each(then);
        let limit = (self.limits.loops_max, Bound::AtMost);
        self.check(end.requests, Axis::Loops, (1.0, loops), limit);
    }

    fn absolute(&mut self, then: &Axes, now: &Axes, end: &Axes) {
        let least = self.limits.absolute;
        let distinct = (least.distinct_min(end.requests), Bound::AbsoluteAtLeast);
        for (axis, get, limit) in [
            (
                Axis::EffectiveCombinations,
                (|axes| axes.effective_combinations) as fn(&Axes) -> f64,
                (least.effective_min(end.requests), Bound::AbsoluteAtLeast),
            ),
            (Axis::Bodies, |axes| axes.distinct.bodies, (least.bodies_min, Bound::AbsoluteAtLeast)),
            (Axis::Agents, |axes| axes.distinct.agents, distinct),
            (
                Axis::TopCombination,
                |axes| axes.top_combination,
                (least.top_combination_max, Bound::AbsoluteAtMost),
            ),
            (Axis::TopBody, |axes| axes.top_body, (least.top_body_max, Bound::AbsoluteAtMost)),
        ] {
            self.check(end.requests, axis, (get(then), get(end)), limit);
        }
        let squeezed = |axes: &Axes| axes.squeezed.unwrap_or(f64::NAN);
        let limit = (least.squeezed_max, Bound::AbsoluteAtMost);
        self.check(now.requests, Axis::Squeezed, (squeezed(then), squeezed(now)), limit);
    }
}

/// Standard deviation of the difference of two rates over so many requests each.
fn rate_noise(rate: f64, requests: u64) -> f64 {
    (2.0 * rate * (1.0 - rate).max(0.0) / requests.max(1) as f64).sqrt()
}
