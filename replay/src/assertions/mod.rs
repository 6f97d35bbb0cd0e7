//! What must hold of an exchange's answer, by the rules of the domain.
//!
//! Owns: the list of assertions ([`Assertion`]) and what came of them ([`Assertions`]). Never: the
//! exchange's own code (it would agree with itself): each rule is written again here, from the
//! request and the answer alone. Invariant: a rule that cannot be judged from the two is counted as
//! not judged, never as held.
//!
//! | name | holds where |
//! |---|---|
//! | `status` | 200, 204, or a refusal that a client can mean (4xx), or 503 |
//! | `empty` | 204 has no body, and announces none |
//! | `parses` | 200 is a JSON object with bids or a reason for none |
//! | `id` | the answer repeats the request's id |
//! | `shape` | every seat has bids; every bid has an id, an impid and a price above 0 |
//! | `impid` | every bid is for an impression of the request |
//! | `one_bid` | no impression has more bids than were agreed |
//! | `floor` | no price is below the impression's floor, or the deal's |
//! | `deal` | every deal was offered, and one of a fixed price has that price |
//! | `seat` | `wseat` and `bseat` are kept |
//! | `currency` | the answer's currency is one of those that were asked for |
//! | `category` `advertiser` `app` `attribute` | nothing that was blocked comes back |
//! | `size` | a banner has a size that was offered |
//! | `markup` | a bid has markup, or a notice that fetches it |
//! | `tmax` | the answer came within `tmax` |
//! | `mix` | the share of bids is that of the recording, as far as chance allows |

mod checks;
pub mod inspector;
mod mix;
pub mod pair;

pub use mix::{Mix, MixRow};

use pair::Pair;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One rule. `mix` is of the run as a whole and is judged by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assertion {
    Status,
    Empty,
    Parses,
    Id,
    Shape,
    Impid,
    OneBid,
    Floor,
    Deal,
    Seat,
    Currency,
    Category,
    Advertiser,
    App,
    Attribute,
    Size,
    Markup,
    Tmax,
    Mix,
}

/// What a rule says of one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Holds,
    /// It does not apply, or the two bodies do not say.
    NotJudged,
    /// Why, in a few words and with the figures.
    Fails(String),
}

/// What the rules may assume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AssertionSettings {
    /// Bids an impression may have: what is agreed with the partner.
    pub bids_per_imp_max: usize,
    /// Over `tmax`, before an answer counts as late: the way to the client and back. Milliseconds.
    pub tmax_slack_ms: u64,
    /// How far the share of answers with bids may lie from the recording's, where chance does not
    /// explain it.
    pub mix_distance_max: f64,
}

impl Default for AssertionSettings {
    fn default() -> Self {
        Self { bids_per_imp_max: 1, tmax_slack_ms: 10, mix_distance_max: 0.05 }
    }
}

/// What came of all rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assertions {
    pub rows: Vec<Row>,
    pub mix: Option<Mix>,
    /// Rules that were asked for by name, and so have to be judged; empty: all that apply.
    #[serde(default)]
    pub named: Vec<String>,
}

/// What came of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    /// Exchanges in which it was judged.
    pub judged: u64,
    pub failed: u64,
    /// Requests in which it failed first.
    pub examples: Vec<Failing>,
}

/// An exchange in which a rule failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Its place in the plan, from 0.
    pub number: u64,
    pub why: String,
}

/// A name that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no assertion; allowed: all, {}", Assertion::names())]
pub struct NoSuchAssertion {
    pub name: String,
}

// === impl Assertion ===

impl Assertion {
    pub const ALL: [Self; 19] = [
        Self::Status,
        Self::Empty,
        Self::Parses,
        Self::Id,
        Self::Shape,
        Self::Impid,
        Self::OneBid,
        Self::Floor,
        Self::Deal,
        Self::Seat,
        Self::Currency,
        Self::Category,
        Self::Advertiser,
        Self::App,
        Self::Attribute,
        Self::Size,
        Self::Markup,
        Self::Tmax,
        Self::Mix,
    ];

    /// As it is asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Empty => "empty",
            Self::Parses => "parses",
            Self::Id => "id",
            Self::Shape => "shape",
            Self::Impid => "impid",
            Self::OneBid => "one_bid",
            Self::Floor => "floor",
            Self::Deal => "deal",
            Self::Seat => "seat",
            Self::Currency => "currency",
            Self::Category => "category",
            Self::Advertiser => "advertiser",
            Self::App => "app",
            Self::Attribute => "attribute",
            Self::Size => "size",
            Self::Markup => "markup",
            Self::Tmax => "tmax",
            Self::Mix => "mix",
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// `all`, or names with commas between them.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, NoSuchAssertion> {
        let mut found = Vec::new();
        for name in text.split(',').map(str::trim) {
            if name == "all" {
                return Ok(Self::ALL.to_vec());
            }
            let one = Self::ALL.into_iter().find(|one| one.name() == name);
            found.push(one.ok_or_else(|| NoSuchAssertion { name: name.to_owned() })?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Judges one exchange.
    pub fn check(self, pair: &Pair<'_>, settings: &AssertionSettings) -> Outcome {
        checks::check(self, pair, settings)
    }
}

// === impl Assertions ===

impl Assertions {
    /// Whether none fails. Whether enough was judged is another question: `RunResult::settle`.
    pub fn hold(&self) -> bool {
        self.rows.iter().all(|row| row.failed == 0)
            && self.mix.as_ref().is_none_or(|mix| mix.fault.is_none())
    }

    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        for theirs in &other.rows {
            match self.rows.iter_mut().find(|mine| mine.name == theirs.name) {
                Some(mine) => {
                    mine.judged = mine.judged.saturating_add(theirs.judged);
                    mine.failed = mine.failed.saturating_add(theirs.failed);
                    mine.examples.extend_from_slice(&theirs.examples);
                    mine.examples.truncate(inspector::EXAMPLES_MAX);
                }
                None => self.rows.push(theirs.clone()),
            }
        }
        match (&mut self.mix, &other.mix) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
            (_, None) => {}
        }
    }
}

/// How long an answer took from sending, where it was sent.
pub(crate) fn service(
    planned: Duration,
    sent: Option<Duration>,
    latency: Duration,
) -> Option<Duration> {
    let waited = sent?.saturating_sub(planned);
    Some(latency.saturating_sub(waited))
}

#[cfg(test)]
mod tests;
