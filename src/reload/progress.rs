//! What operators are told of reloads: per source what is in force, and what came of the last try.
//!
//! Owns: [`Progress`], shared by the publisher (which writes) and the listeners (which read).
//! Never: a secret, a decision. Invariant: results are of the closed list
//! [`crate::telemetry::words::RELOAD_RESULTS`].

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
        source.result = result;
        source.faults = faults;
        source.tried = at;
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
