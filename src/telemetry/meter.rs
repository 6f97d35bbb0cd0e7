//! What an instrument is.
//!
//! Owns: [`Meter`], its kind and its labels, and how a label's values are written for people.
//! Never: an instrument (`meters` has the table).

/// How an instrument moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
    /// Counts in buckets of seconds.
    Histogram,
}

/// One instrument.
#[derive(Debug, PartialEq, Eq)]
pub struct Meter {
    /// As Prometheus wants it: unit last, `_total` behind a counter.
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    pub labels: &'static [Label],
}

/// One label of an instrument.
#[derive(Debug, PartialEq, Eq)]
pub struct Label {
    pub name: &'static str,
    pub values: Values,
}

/// What a label may say.
#[derive(Debug, PartialEq, Eq)]
pub enum Values {
    /// Configured partner names, `unknown` (no partner yet), `other` (beyond the cap).
    Partners,
    /// Configured bidder names, `other`.
    Bidders,
    /// Worker numbers.
    Workers,
    /// `public`, `operations`, `admin`.
    Listeners,
    /// Names of loaded databases.
    Databases,
    /// `rules` and the names of databases.
    Sources,
    /// The labels of `negatives`, behind these.
    Refusals(&'static [&'static str]),
    NotCalled,
    NoAnswers(&'static [&'static str]),
    Rejections,
    /// Fields that are read leniently.
    Leniencies,
    /// These.
    Fixed(&'static [&'static str]),
    /// The version of this build.
    Version,
}

impl Kind {
    /// The word of Prometheus' text format.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Values {
    /// As a person reads them.
    pub fn write_markdown(&self, out: &mut String) {
        let list = |out: &mut String, words: &[&str]| {
            let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            out.push_str(&quoted.join(", "));
        };
        match self {
            Self::Partners => out.push_str("partner names, `unknown`, `other`"),
            Self::Bidders => out.push_str("bidder names, `other`"),
            Self::Workers => out.push_str("worker numbers"),
            Self::Listeners => list(out, &["public", "operations", "admin"]),
            Self::Databases => out.push_str("database names"),
            Self::Sources => out.push_str("`rules` and database names"),
            Self::Refusals([]) => out.push_str("refusals"),
            Self::Refusals(before) => {
                list(out, before);
                out.push_str(", refusals");
            }
            Self::NotCalled => out.push_str("reasons not to call"),
            Self::NoAnswers(before) => {
                list(out, before);
                out.push_str(", reasons of no answer");
            }
            Self::Rejections => out.push_str("rejections"),
            Self::Leniencies => out.push_str("field names"),
            Self::Fixed(words) => list(out, words),
            Self::Version => out.push_str("the version"),
        }
    }
}
