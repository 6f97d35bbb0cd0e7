//! What a run is judged by, and what it comes to.
//!
//! Owns: the objectives, assertions and the gate of a run together ([`Judge`]), what is written of
//! them into its result ([`Judged`]) and the verdict. Never: a rule of any of them. Invariant: what
//! was asked for and could not be judged is not passed.

use crate::assertions::inspector::{Inspector, Kept};
use crate::assertions::{Assertion, AssertionSettings, Assertions};
use crate::fingerprint::gate::{AxisFault, GateLimits, gate};
use crate::fingerprint::summary::Summary;
use crate::fingerprint::{Fingerprint, FingerprintSettings};
use crate::inspect::{Exchange, Inspect};
use crate::result::{Invalid, RunResult};
use crate::slo::{Slo, evaluate};
use crate::verdict::{Failure, Verdict};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use void::Refusals;

/// What was judged of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub slos: Vec<evaluate::Verdict>,
    pub assertions: Option<Assertions>,
    /// Diversity of what was recorded, and of what was sent.
    pub recorded: Option<Summary>,
    pub sent: Option<Summary>,
    /// Whether the two were compared, and where the second falls short.
    pub is_gated: bool,
    pub gate: Vec<AxisFault>,
    #[serde(default)]
    pub refusals: Refusals,
}

/// What a run is to be judged by.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct JudgeArgs {
    /// An objective, such as `p99 < 80ms over 10s`, `errors < 0.1%`, `rate >= 0.99 * planned`
    #[arg(long)]
    pub slo: Vec<String>,
    /// The result (JSON) of another run, for objectives that speak of a `baseline`
    #[arg(long)]
    pub baseline: Option<PathBuf>,
    /// What must hold of each answer: `all`, or names such as `floor,currency,mix`
    #[arg(long)]
    pub assert: Option<String>,
    /// Bids that an impression may have: what is agreed with the partner
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub bids_per_imp: u32,
    /// Refuse a run that was less diverse than the recording; with --shard, than its part of it
    #[arg(long)]
    pub gate: bool,
    /// The recording that diversity is held against, where it is not the one that is played; with
    /// synthetic requests there is no other
    #[arg(long, requires = "gate")]
    pub like: Option<PathBuf>,
}

/// The same, read and ready.
#[derive(Debug)]
pub struct Judge {
    slos: Vec<Slo>,
    baseline: Option<RunResult>,
    inspector: Option<Inspector>,
    fingerprint: Fingerprint,
    recorded: Option<Summary>,
    is_gated: bool,
    is_rate_free: bool,
    refusals: Refusals,
}

/// Share of the exchanges that has to be inspected, where anything hangs on it: per mille.
const INSPECTED_MIN: u64 = 990;

impl JudgeArgs {
    /// Reads everything before the run, so that a wrong word does not cost one. `recorded`: the
    /// diversity of the recording, where it is known.
    pub fn prepare(&self, recorded: Option<Summary>) -> Result<Judge, Failure> {
        let slos = read_slos(&self.slo)?;
        let baseline = match &self.baseline {
            Some(path) => Some(RunResult::open(path).map_err(Failure::usage)?),
            None => None,
        };
        if let (None, Some(slo)) = (&baseline, slos.iter().find(|slo| slo.needs_baseline())) {
            return Err(Failure::usage(format!("`{slo}` speaks of a baseline: give --baseline")));
        }
        let settings = AssertionSettings {
            bids_per_imp_max: usize::try_from(self.bids_per_imp).unwrap_or(1),
            ..AssertionSettings::default()
        };
        let inspector = match &self.assert {
            Some(names) => {
                let list = Assertion::parse_list(names).map_err(Failure::usage)?;
                Some(Inspector::new(&list, settings))
            }
            None => None,
        };
        if self.gate && recorded.is_none() {
            return Err(Failure::usage("--gate needs a recording to compare with: give --like"));
        }
        let also_at = recorded.iter().map(|summary| summary.requests).collect();
        let settings = FingerprintSettings { also_at, ..FingerprintSettings::default() };
        Ok(Judge {
            slos,
            baseline,
            inspector,
            fingerprint: Fingerprint::new(settings),
            recorded,
            is_gated: self.gate,
            is_rate_free: false,
            refusals: Refusals::default(),
        })
    }
}

/// Reads objectives.
pub fn read_slos(texts: &[String]) -> Result<Vec<Slo>, Failure> {
    texts.iter().map(|text| Slo::parse(text).map_err(Failure::usage)).collect()
}

impl Inspect for Judge {
    fn exchange(&mut self, exchange: &Exchange<'_>) {
        self.fingerprint.exchange(exchange);
        if let Some(status) = exchange.end.status() {
            self.refusals.note(status, exchange.recorded_status, exchange.request);
        }
        if let Some(inspector) = &mut self.inspector {
            inspector.exchange(exchange);
        }
    }
}

impl Judge {
    /// A baseline may have had another rate.
    #[must_use]
    pub fn at_any_rate(self) -> Self {
        Self { is_rate_free: true, ..self }
    }

    /// Writes what it came to into the result; gives the exchanges that broke an assertion.
    pub fn finish(mut self, result: &mut RunResult) -> Vec<Kept> {
        let sent = self.fingerprint.summary();
        let is_needed = self.inspector.is_some() || self.is_gated;
        let wanted = result.whole.planned.saturating_mul(INSPECTED_MIN) / 1_000;
        if is_needed && result.inspected < wanted {
            let (inspected, of) = (result.inspected, result.whole.planned);
            result.invalid.push(Invalid::Inspection { inspected, of });
        }
        let faults = match (&self.recorded, self.is_gated) {
            (Some(recorded), true) => gate(recorded, &sent, &GateLimits::default()),
            _ => Vec::new(),
        };
        if !faults.is_empty() {
            let axes = faults.iter().map(|fault| fault.axis.label().to_owned()).collect();
            result.invalid.push(Invalid::Diversity { axes });
        }
        let other = self.baseline.as_ref();
        result.invalid.extend(other_load(&self.slos, result, other, self.is_rate_free));
        let (assertions, kept) = self.inspector.map(Inspector::finish).unzip();
        result.judged = Judged {
            slos: judge_slos(&self.slos, result, self.baseline.as_ref()),
            assertions,
            recorded: self.recorded,
            sent: Some(sent),
            is_gated: self.is_gated,
            gate: faults,
            refusals: self.refusals,
        };
        result.settle();
        kept.unwrap_or_default()
    }
}

/// Why a baseline that objectives speak of is none.
pub fn other_load(
    slos: &[Slo],
    result: &RunResult,
    baseline: Option<&RunResult>,
    is_rate_free: bool,
) -> Option<Invalid> {
    slos.iter().find(|slo| slo.needs_baseline())?;
    let unlike = result.unlike(baseline?, is_rate_free);
    (!unlike.is_empty()).then_some(Invalid::Baseline { unlike })
}

/// Judges objectives.
pub fn judge_slos(
    slos: &[Slo],
    result: &RunResult,
    baseline: Option<&RunResult>,
) -> Vec<evaluate::Verdict> {
    slos.iter().map(|slo| slo.evaluate(result, baseline)).collect()
}

impl RunResult {
    /// What the run comes to.
    pub fn verdict(&self) -> Verdict {
        let validity = if self.is_valid() { Verdict::Pass } else { Verdict::Invalid };
        let is_met = self.judged.slos.iter().all(|slo| slo.met)
            && self.judged.assertions.as_ref().is_none_or(Assertions::hold);
        validity.and(if is_met { Verdict::Pass } else { Verdict::Failed })
    }
}

impl Judged {
    /// Adds what was judged of another shard. Objectives hold of the whole only: whoever merges
    /// judges them again. Sketches of diversity of two shards have no sum: what falls short in any
    /// of them falls short.
    pub fn merge(&mut self, other: &Self) {
        self.slos.clear();
        match (&mut self.assertions, &other.assertions) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
            (_, None) => {}
        }
        self.is_gated |= other.is_gated;
        self.gate.extend_from_slice(&other.gate);
        self.refusals.merge(&other.refusals);
        if self.sent != other.sent {
            self.sent = None;
        }
        if self.recorded != other.recorded {
            self.recorded = None;
        }
    }

    /// Lines for a terminal.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.slos.iter().map(evaluate::Verdict::line).collect();
        if let Some(assertions) = &self.assertions {
            for row in assertions.rows.iter().filter(|row| row.failed > 0) {
                let why = row.examples.first().map(|one| one.why.as_str()).unwrap_or_default();
                lines.push(format!(
                    "FAILED: assertion {} in {} of {}: {}",
                    row.name,
                    row.failed,
                    row.judged,
                    why.escape_debug()
                ));
            }
            let judged = assertions.rows.iter().filter(|row| row.judged > 0).count();
            lines.push(format!("{judged} of {} assertions judged", assertions.rows.len()));
            let mix = assertions.mix.as_ref().and_then(|mix| mix.fault.as_ref());
            lines.extend(mix.map(|fault| format!("FAILED: mix: {fault}")));
        }
        lines.extend(self.gate.iter().map(|fault| format!("NOT diverse: {fault}")));
        lines
    }
}

pub mod void;

#[cfg(test)]
mod tests;
