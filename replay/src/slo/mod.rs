//! Service-level objectives as text: `p99 < 80ms over 10s`, `errors < 0.1%`.
//!
//! Owns: what an objective is ([`Slo`]), its grammar (`parse`) and its judgement (`evaluate`). Never: a clock, a file.
//! Invariant: every text that is read has one meaning; whatever is not understood is refused with
//! its position and what may stand there.
//!
//! | part | what may stand there |
//! |---|---|
//! | times | `p50` `p99.9` `min` `mean` `max`, before them `latency` (the default: from the planned moment), `service` (from sending) or `lateness` (the generator's own) |
//! | numbers of requests | `errors` (5xx, faults, never sent or never answered), `unanswered`, `fill` (answers of 200 with a bid), `status(503)`, `status(5xx)`, `status(400-499)`, `status(502,503)` |
//! | rates | `rate` (answers), `sent`: a second |
//! | comparison | `<` `<=` `>` `>=` `=` |
//! | limit | a time (`80ms`), a number (`0`) or share (`0.1%`), a rate (`5000/s`); `0.99 * planned`; `baseline * 1.05`, `baseline * 1.05 + 1ms` |
//! | window | `over 10s`: holds in every span of 10 s, not only on the whole; against `planned`, answers that are still under way are not missed |

pub mod evaluate;
mod parse;

use std::fmt;
use std::time::Duration;

/// One objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    text: String,
    pub metric: Metric,
    pub comparison: Comparison,
    pub limit: Limit,
    /// Every span of this length is judged on its own; none: the run as a whole.
    pub window: Option<Duration>,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    Time { of: Times, statistic: Statistic },
    Requests(Counted),
    Rate(Rates),
}

/// Which times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// From the planned moment to the end of the answer.
    Latency,
    /// From sending to the end of the answer.
    Service,
    /// From the planned moment to sending: the generator's own.
    Lateness,
}

/// What of the times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    Min,
    Mean,
    Max,
    /// Above 0, below 1.
    Quantile(f64),
}

/// Which requests are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Answers of 5xx, and planned requests without an answer.
    Errors,
    /// Planned requests without an answer, whatever the reason.
    Unanswered,
    /// Answers of 200 with a bid.
    Fill,
    Status(StatusSet),
}

/// Which requests a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rates {
    Answered,
    Sent,
}

/// Ranges of status codes, both ends within.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSet(Vec<(u16, u16)>);

/// How the observed value stands to the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

/// What it is compared with: `base * factor + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    pub base: Base,
    pub unit: Unit,
}

/// Where the limit comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Base {
    /// A figure in the unit (seconds, where it is a time).
    Fixed(f64),
    /// The planned rate of the same span.
    Planned { factor: f64 },
    /// The same figure of another run; `offset` in the unit.
    Baseline { factor: f64, offset: f64 },
}

/// What a figure is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Seconds,
    /// Of 1.
    Share,
    Requests,
    PerSecond,
}

/// A text that is no objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("objective `{text}`, at character {at}: {what}; allowed: {allowed}")]
pub struct SloError {
    pub text: String,
    /// From 1.
    pub at: usize,
    pub what: String,
    pub allowed: &'static str,
}

// === impl Slo ===

impl Slo {
    /// Reads one objective.
    pub fn parse(text: &str) -> Result<Self, SloError> {
        parse::slo(text)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it speaks of another run.
    pub const fn needs_baseline(&self) -> bool {
        matches!(self.limit.base, Base::Baseline { .. })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::str::FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        Self::parse(text)
    }
}

// === impl StatusSet ===

impl StatusSet {
    /// Whether a status is in it.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }
}

// === impl Comparison ===

impl Comparison {
    /// Whether it holds.
    pub fn holds(self, observed: f64, limit: f64) -> bool {
        match self {
            Self::Below => observed < limit,
            Self::AtMost => observed <= limit,
            Self::Above => observed > limit,
            Self::AtLeast => observed >= limit,
            // figures that are compared so are counts, exact in an f64
            Self::Equal => observed.total_cmp(&limit).is_eq(),
        }
    }

    /// Whether small figures are the good ones.
    pub const fn is_ceiling(self) -> bool {
        matches!(self, Self::Below | Self::AtMost)
    }

    /// As it is written.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Equal => "=",
        }
    }
}

// === impl Unit ===

impl Unit {
    /// A figure for people: `81.2 ms`, `0.12 %`, `4,980/s`.
    pub fn show(self, figure: f64) -> String {
        if figure.is_infinite() {
            return "no answer".to_owned();
        }
        match self {
            Self::Seconds if figure.abs() >= 1.0 => format!("{figure:.3} s"),
            Self::Seconds if figure.abs() >= 1e-3 => format!("{:.2} ms", figure * 1e3),
            Self::Seconds => format!("{:.1} µs", figure * 1e6),
            Self::Share if figure.abs() >= 0.1 => format!("{:.1} %", figure * 100.0),
            Self::Share if figure.abs() >= 0.001 => format!("{:.2} %", figure * 100.0),
            Self::Share => format!("{:.4} %", figure * 100.0),
            Self::Requests => format!("{figure:.0}"),
            Self::PerSecond => format!("{figure:.1}/s"),
        }
    }
}
