//! The assertions beside a run.
//!
//! Owns: counting over exchanges, and the failing ones that are kept. Never: a rule. Invariant:
//! bounded in memory ([`KEPT_MAX`], [`KEPT_BYTES_MAX`]).

use super::pair::Pair;
use super::{Assertion, AssertionSettings, Assertions, Failing, Mix, Outcome, Row, service};
use crate::inspect::{Exchange, Inspect};
use std::collections::BTreeMap;

/// Examples named a rule.
pub const EXAMPLES_MAX: usize = 5;

/// Failing requests that are kept with their bodies.
pub const KEPT_MAX: usize = 64;

/// Of their bodies. Bytes.
pub const KEPT_BYTES_MAX: usize = 4 << 20;

/// A request whose answer broke a rule, kept for `shrink`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub number: u64,
    pub assertion: Assertion,
    pub partner: String,
    pub path: String,
    pub request: Vec<u8>,
    pub status: u16,
    pub answer: Vec<u8>,
}

/// See the file's header.
#[derive(Debug)]
pub struct Inspector {
    settings: AssertionSettings,
    counts: Vec<(Assertion, Row)>,
    mix: BTreeMap<(u16, u16), u64>,
    kept: Vec<Kept>,
    kept_bytes: usize,
}

impl Inspector {
    /// Judges by these rules.
    pub fn new(assertions: &[Assertion], settings: AssertionSettings) -> Self {
        let row = |one: &Assertion| {
            let name = one.name().to_owned();
            (*one, Row { name, judged: 0, failed: 0, examples: Vec::new() })
        };
        Self {
            settings,
            counts: assertions.iter().map(row).collect(),
            mix: BTreeMap::new(),
            kept: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// What came of it, and the failing exchanges.
    pub fn finish(self) -> (Assertions, Vec<Kept>) {
        let is_all = self.counts.len() == Assertion::ALL.len();
        let asked = self.counts.iter().map(|(one, _)| one.name().to_owned());
        let named = if is_all { Vec::new() } else { asked.collect() };
        let has_mix = self.counts.iter().any(|(one, _)| *one == Assertion::Mix);
        let mix = (has_mix && !self.mix.is_empty())
            .then(|| Mix::new(&self.mix, self.settings.mix_distance_max));
        let rows = self
            .counts
            .into_iter()
            .filter(|(one, _)| *one != Assertion::Mix)
            .map(|(_, row)| row)
            .collect();
        (Assertions { rows, mix, named }, self.kept)
    }

    fn keep(&mut self, exchange: &Exchange<'_>, assertion: Assertion, status: u16) {
        let bytes = exchange.request.len().saturating_add(exchange.answer.len());
        let is_kept = self.kept.iter().any(|one| one.number == exchange.number);
        if is_kept
            || self.kept.len() >= KEPT_MAX
            || self.kept_bytes.saturating_add(bytes) > KEPT_BYTES_MAX
        {
            return;
        }
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        self.kept.push(Kept {
            number: exchange.number,
            assertion,
            partner: exchange.partner.to_owned(),
            path: exchange.path.to_owned(),
            request: exchange.request.to_vec(),
            status,
            answer: exchange.answer.to_vec(),
        });
    }
}

impl Inspect for Inspector {
    fn exchange(&mut self, exchange: &Exchange<'_>) {
        let status = exchange.end.status();
        if let Some(recorded) = exchange.recorded_status
            && exchange.end.is_sent()
        {
            *self.mix.entry((recorded, status.unwrap_or(0))).or_default() += 1;
        }
        let Some(status) = status else { return };
        let took = service(exchange.planned, exchange.sent, exchange.latency);
        let pair = Pair {
            announces: exchange.announces,
            ..Pair::new(exchange.request, status, exchange.answer, took)
        };
        let mut failed = None;
        for (assertion, row) in &mut self.counts {
            match assertion.check(&pair, &self.settings) {
                Outcome::NotJudged => {}
                Outcome::Holds => row.judged += 1,
                Outcome::Fails(why) => {
                    row.judged += 1;
                    row.failed += 1;
                    failed = failed.or(Some(*assertion));
                    if row.examples.len() < EXAMPLES_MAX {
                        row.examples.push(Failing { number: exchange.number, why });
                    }
                }
            }
        }
        if let Some(assertion) = failed {
            self.keep(exchange, assertion, status);
        }
    }
}
