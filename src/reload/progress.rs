//! What operators are told of reloads: per source what is in force, and what came of the last try.
//!
//! Owns: [`Progress`], shared by the publisher (which writes) and the listeners (which read).
//! Never: a secret, a decision. Invariant: results are of the closed list
//! [`RELOAD_RESULTS`].

use crate::telemetry::words::RELOAD_RESULTS;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The rules' name among the sources.
pub const RULES: &str = "rules";

/// Shared by threads.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub generation: u64,
    /// Why the process runs on rules that were kept, where it does.
    pub degraded: Option<String>,
    /// Sections that changed and wait for a restart.
    pub waits_for_restart: Vec<&'static str>,
    /// Paths that never change under this process: mounted by `subPath`.
    pub frozen: Vec<PathBuf>,
    /// Whether only the poll sees changes.
    pub is_polled: bool,
    /// By name.
    pub sources: BTreeMap<&'static str, Source>,
}

/// One thing that is reloaded by itself.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub paths: Vec<PathBuf>,
    /// Names the content in force.
    pub checksum: String,
    /// When it was built, where it says so (since the Unix epoch).
    pub built: Option<Duration>,
    /// The generation that brought it, and when.
    pub generation: u64,
    pub taken: Duration,
    /// What came of the last try, and when.
    pub result: &'static str,
    pub tried: Duration,
    /// What was wrong with it.
    pub faults: Vec<String>,
    /// Whether the last state that was seen is not in force, since it could not be taken.
    pub is_refused: bool,
    /// How often which result came.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Progress {
    /// To read or to write.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes down what came of a try.
    pub fn tried(
        &mut self,
        name: &'static str,
        result: &'static str,
        faults: Vec<String>,
        at: Duration,
    ) {
        let source = self.sources.entry(name).or_default();
        *source.counts.entry(result).or_default() += 1;
        source.is_refused = match result {
            "ok" => false,
            // a database is compared with the one in force, rules with what was read last
            "unchanged" => source.is_refused && name == RULES,
            _ => true,
        };
        source.result = result;
        source.faults = faults;
        source.tried = at;
    }

    /// These databases are configured, and no others: what was wrong with one that is named no
    /// longer is nobody's concern.
    pub fn keep_faults_of(&mut self, databases: &[&'static str]) {
        for (name, source) in &mut self.sources {
            source.is_refused &= *name == RULES || databases.contains(name);
        }
    }

    /// For people; times are since the Unix epoch, ages since `now`.
    pub fn json(&self, now: Duration) -> Value {
        let sources: serde_json::Map<String, Value> = self
            .sources
            .iter()
            .map(|(name, source)| ((*name).to_owned(), source.json(now)))
            .collect();
        json!({
            "generation": self.generation,
            "degraded": self.degraded,
            "waits_for_restart": self.waits_for_restart,
            "frozen": self.frozen,
            "is_polled": self.is_polled,
            "sources": sources,
        })
    }
}

impl Source {
    /// How often each result came, also those that never did: a count that is there from the
    /// start shows its first rise. Of what is tried as a part of something else, nothing.
    pub fn results(&self) -> Vec<(&'static str, u64)> {
        let counted = |result| self.counts.get(result).copied().unwrap_or(0);
        let all = RELOAD_RESULTS.iter().map(|result| (*result, counted(result)));
        all.filter(|_| self.is_tried()).collect()
    }

    /// Whether it is tried by itself.
    pub fn is_tried(&self) -> bool {
        !self.counts.is_empty()
    }

    fn json(&self, now: Duration) -> Value {
        json!({
            "paths": self.paths,
            "checksum": self.checksum,
            "built": self.built.map(|built| built.as_secs()),
            "generation": self.generation,
            "taken": self.taken.as_secs(),
            "age_seconds": now.saturating_sub(self.taken).as_secs(),
            "last": {
                "result": self.result,
                "at": self.tried.as_secs(),
                "faults": self.faults,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_was_not_taken_is_one_until_another_was() {
        for (name, results, is_refused) in [
            (RULES, &["ok"][..], false),
            (RULES, &["ok", "invalid"], true),
            (RULES, &["ok", "invalid", "unchanged"], true),
            (RULES, &["ok", "unreadable", "checksum", "ok"], false),
            (RULES, &["ok", "invalid", "ok", "unchanged"], false),
            ("city", &["unchanged"], false),
            ("city", &["unchanged", "older"], true),
            ("city", &["canary", "canary"], true),
            // the one in force has come back
            ("city", &["unchanged", "invalid", "unchanged"], false),
        ] {
            let mut state = State::default();
            for result in results {
                state.tried(name, result, Vec::new(), Duration::ZERO);
            }
            assert_eq!(state.sources[name].is_refused, is_refused, "{name} {results:?}");
        }
    }

    #[test]
    fn a_database_that_is_named_no_longer_has_no_fault() {
        let mut state = State::default();
        for name in [RULES, "city", "isp"] {
            state.tried(name, "invalid", Vec::new(), Duration::ZERO);
        }
        state.keep_faults_of(&["isp"]);
        let refused = state.sources.iter().filter(|(_, source)| source.is_refused);
        assert_eq!(refused.map(|(name, _)| *name).collect::<Vec<_>>(), ["isp", RULES]);
    }

    #[test]
    fn every_result_is_counted_from_the_first_try_on() {
        let mut state = State::default();
        state.tried(RULES, "ok", Vec::new(), Duration::ZERO);
        let results = state.sources[RULES].results();
        assert_eq!(results.len(), RELOAD_RESULTS.len());
        assert!(results.contains(&("ok", 1)) && results.contains(&("invalid", 0)), "{results:?}");
        // regexes and models are tried together, as `device`
        state.sources.entry("device_models").or_default();
        assert_eq!(state.sources["device_models"].results(), []);
    }
}
