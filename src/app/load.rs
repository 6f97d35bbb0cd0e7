//! Configuration and databases, from the disk and off the control runtime.
//!
//! Owns: [`start`] and [`StartFault`]. Never: a thread that serves.

use crate::config::{self, Config, Report};
use crate::enrich::databases::Databases;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the exchange cannot serve: every fault that was found, one a line.
#[derive(Clone, Debug)]
pub struct StartFault {
    pub lines: Vec<String>,
}

impl From<Report> for StartFault {
    fn from(report: Report) -> Self {
        Self { lines: report.0.iter().map(ToString::to_string).collect() }
    }
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.lines.len();
        writeln!(f, "{count} fault{}:", if count == 1 { "" } else { "s" })?;
        self.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl StartFault {
    /// From lines.
    pub fn new(lines: Vec<String>) -> Self {
        Self { lines }
    }
}

/// Reads both on a thread of its own: `/ready` answers meanwhile.
pub async fn start(main: PathBuf) -> Result<(Config, Arc<Databases>), StartFault> {
    let (told, read) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("gavel-load".to_owned()).spawn(move || {
        // Nobody waits any more where the process is being stopped.
        let _ = told.send(load(&main));
    });
    if let Err(fault) = thread {
        return Err(StartFault::new(vec![format!("cannot start a thread: {fault}")]));
    }
    read.await.unwrap_or_else(|_| Err(StartFault::new(vec!["the loading thread died".to_owned()])))
}

/// The configuration, and the databases that it names.
pub fn load(main: &Path) -> Result<(Config, Arc<Databases>), StartFault> {
    let config = config::load(main)?;
    let databases = Databases::open(&config.engine.databases)
        .map_err(|faults| StartFault::new(faults.iter().map(|fault| chain(fault)).collect()))?;
    Ok((config, Arc::new(databases)))
}

/// A fault with its causes, in one line.
pub fn chain(fault: &dyn Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(fault) = cause {
        text = format!("{text}: {fault}");
        cause = fault.source();
    }
    text
}
