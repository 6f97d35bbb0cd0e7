//! Whether two builds answer alike, with the noise of the first taken out.
//!
//! Owns: what a comparison found ([`DiffResult`]). Never: a socket (that is `run`). Invariant: the
//! chance that a build is called different from itself, on any path, is at most `alpha`, however
//! noisy it is.
//!
//! Each request goes to three servers, in an order drawn for each: primary (the build that is
//! trusted), secondary (the same build once more) and candidate. Where primary and secondary agree
//! and the candidate does not, it is the odd one out; how often chance alone makes it so is known
//! exactly (`significance`). A request with an odd one out is asked again a few times: a fault that
//! follows from the request comes again, noise does not. Both looks are tested, and the smaller
//! p-value counts twice.
//!
//! How much is needed: see [`significance::detectable`]. With the defaults, 2 % of answers wrong on
//! a field that is noisy in 5 % of the others is found with 2,000 requests in more than 99 of 100
//! runs (tested over seeds), and a build against itself fails in at most one run of a thousand.

pub mod answer;
pub mod command;
pub mod noise;
pub mod run;
pub mod significance;
pub mod tally;
mod token;

use serde::{Deserialize, Serialize};

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffResult {
    /// Where the requests come from.
    pub capture: String,
    pub primary: String,
    /// Equal to `primary`: the same server was asked twice.
    pub secondary: String,
    pub candidate: String,
    pub seed: u64,
    /// Requests that went to all three.
    pub requests: u64,
    /// Of them, those that were asked again.
    pub repeated: u64,
    /// Answers that did not come: primary, secondary, candidate.
    pub unanswered: [u64; 3],
    /// Requests that were not turned away (401, 403, 404, 405) when they were recorded, as far as
    /// that is known, and how often each of the three did so now.
    #[serde(default)]
    pub welcome: u64,
    #[serde(default)]
    pub turned_away: [u64; 3],
    /// The chance of a false alarm over all paths together is at most this.
    pub alpha: f64,
    /// The smallest share of wrong answers on a steady path that so many requests find in nine of
    /// ten runs.
    pub detectable: f64,
    /// Paths that differed at least once, the most significant first.
    pub paths: Vec<PathDiff>,
    /// Paths that never differed.
    pub steady: u64,
    /// Differences on further paths than are kept apart.
    pub beyond: u64,
    /// Rules that were given.
    pub ignored: Vec<String>,
    /// Rules that would quieten noise: proposed, or refused with the reason.
    pub noise_rules: Vec<NoiseRule>,
}

/// One path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PathDiff {
    pub path: String,
    /// Requests whose answers have it.
    pub requests: u64,
    /// Requests in which primary and secondary differ.
    pub noisy: u64,
    /// Requests in which exactly one differs from the other two.
    pub candidate_alone: u64,
    pub primary_alone: u64,
    pub secondary_alone: u64,
    /// Requests asked again in which the same one was alone most of the time.
    pub again_candidate: u64,
    pub again_others: u64,
    /// Of this path alone, and after correction for all paths.
    pub p: f64,
    pub p_adjusted: f64,
    /// Beyond the noise.
    pub is_different: bool,
    /// Share of requests in which the candidate differs beyond what the noise explains.
    pub excess: f64,
    pub examples: Vec<Example>,
}

/// A request in which the candidate was alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Its number in the capture, from 0.
    pub request: u64,
    pub primary: String,
    pub candidate: String,
}

/// A rule for a noisy path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoiseRule {
    /// As `--ignore` takes it.
    pub rule: String,
    /// Why it is not proposed; none: it is.
    pub refused: Option<String>,
}

impl DiffResult {
    /// Whether the candidate differs beyond the noise.
    pub fn is_different(&self) -> bool {
        self.paths.iter().any(|path| path.is_different)
    }

    /// Why the comparison says nothing, where it does not.
    pub fn invalid(&self) -> Option<String> {
        let trusted = self.unanswered[0].saturating_add(self.unanswered[1]);
        if trusted.saturating_mul(20) > self.requests.saturating_mul(2) {
            return Some(format!(
                "primary and secondary left {trusted} of {} requests unanswered: over 5 %",
                self.requests.saturating_mul(2)
            ));
        }
        for (who, turned) in ["the primary", "the secondary"].into_iter().zip(self.turned_away) {
            if turned.saturating_mul(2) > self.welcome {
                return Some(format!(
                    "{who} turned {turned} of {} requests away (401, 403, 404, 405): are the key and \
                     the path right?",
                    self.welcome
                ));
            }
        }
        (self.detectable > 1.0).then(|| {
            format!("{} requests are too few: no difference could be significant", self.requests)
        })
    }
}

#[cfg(test)]
mod tests;
