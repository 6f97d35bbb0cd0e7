//! How a command ends.
//!
//! Owns: the exit codes of `gavel-replay` and which one wins where several hold. Never: a reason
//! (each module names its own). Invariant: a command that could not judge never says that all was
//! well.
//!
//! | code | verdict | when |
//! |---|---|---|
//! | 0 | pass | it ran, and everything that was asked holds |
//! | 1 | failed | an objective, an assertion or a comparison does not hold |
//! | 3 | invalid | the figures mean nothing: late or ended early, not diverse, not answered or judged |
//! | 4 | unreachable | the target could not be reached |
//! | 2 | usage | the command line, an input file or a file to write is wrong; nothing was run |
//!
//! From top to bottom the worse one wins: a run whose figures mean nothing cannot fail an
//! objective, a target that was never there cannot make a run invalid.

use std::error::Error;
use std::process::ExitCode;

/// See the file's header; the order is that of the table.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    #[default]
    Pass,
    Failed,
    Invalid,
    Unreachable,
    Usage,
}

impl Verdict {
    /// For the shell.
    pub const fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Unreachable => 4,
        }
    }

    /// In a word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Invalid => "invalid",
            Self::Unreachable => "unreachable",
        }
    }

    /// The worse of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(verdict.code())
    }
}

/// Why a command could not do its work, with the code that it ends with.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct Failure {
    pub verdict: Verdict,
    pub source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// The command line or an input file is wrong.
    pub fn usage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { verdict: Verdict::Usage, source: source.into() }
    }

    /// A target could not be reached.
    pub fn unreachable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { verdict: Verdict::Unreachable, source: source.into() }
    }

    /// It ran, and came to nothing that can be judged.
    pub fn invalid(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { verdict: Verdict::Invalid, source: source.into() }
    }

    /// For one line of text: the chain of causes, each once.
    pub fn chain(&self) -> String {
        let mut text = self.source.to_string();
        let mut source = self.source.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_verdict_wins_and_each_has_its_code() {
        let all = [
            Verdict::Pass,
            Verdict::Failed,
            Verdict::Invalid,
            Verdict::Unreachable,
            Verdict::Usage,
        ];
        assert_eq!(all.map(Verdict::code), [0, 1, 3, 4, 2]);
        for (place, verdict) in all.into_iter().enumerate() {
            for (other_place, other) in all.into_iter().enumerate() {
                assert_eq!(verdict.and(other), all[place.max(other_place)]);
            }
        }
    }

    #[test]
    fn a_failure_tells_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot write")]
        struct Write(#[source] std::io::Error);
        let cause = std::io::Error::other("no disk");
        assert_eq!(Failure::usage(Write(cause)).chain(), "cannot write: no disk");
    }
}
