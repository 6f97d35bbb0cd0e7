//! What came of a run or a comparison, as files for people and machines.
//!
//! Owns: the page (one file, nothing from elsewhere), JUnit, the HdrHistogram log, the comparison of
//! two runs and the joining of shards. Never: a measurement. Invariant: everything that came from
//! traffic is escaped where it is written.

pub mod command;
pub mod compare;
pub mod diff_page;
pub mod hdr;
pub mod html;
pub mod junit;
pub mod outputs;
pub mod page;
mod plots;
mod svg;

use crate::result::RunResult;
use crate::verdict::Failure;
use std::path::{Path, PathBuf};

/// The files that a run is written to.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ReportArgs {
    /// Write a page with plots
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// Write the result as JSON, for `compare`, `merge` and `--baseline`
    #[arg(long = "out", alias = "json")]
    pub json: Option<PathBuf>,
    /// Write JUnit XML: a test case for each objective, assertion and gate
    #[arg(long)]
    pub junit: Option<PathBuf>,
    /// Write an HdrHistogram log: an interval for each window
    #[arg(long)]
    pub hdr: Option<PathBuf>,
}

impl ReportArgs {
    /// Where they go.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let all = [&self.html, &self.json, &self.junit, &self.hdr];
        all.into_iter().flatten().map(PathBuf::as_path)
    }

    /// Writes what was asked for.
    pub fn write(&self, run: &RunResult) -> Result<(), Failure> {
        type Make = fn(&RunResult) -> String;
        let all: [(&Option<PathBuf>, Make); 4] = [
            (&self.html, page::page),
            (&self.json, RunResult::to_json),
            (&self.junit, junit::xml),
            (&self.hdr, hdr::log),
        ];
        for (path, make) in all {
            if let Some(path) = path {
                write_file(path, make(run).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Writes a file of a report.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::usage(format!("{} cannot be written: {error}", path.display())))
}
