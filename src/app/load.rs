//! Configuration and databases, from the disk and off the control runtime.
//!
//! Owns: [`start`] and [`StartFault`]. Never: a thread that serves.

use crate::config::files::Files;
use crate::config::{self, Config, Report, checksums};
use crate::enrich::databases::Databases;
use crate::reload::chain;
use crate::reload::keep;
use crate::reload::publisher::InForce;
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

/// What a start came to.
#[derive(Debug)]
pub struct Started {
    pub in_force: InForce,
    /// Why the rules are those that were kept, where they are.
    pub degraded: Option<String>,
}

/// Reads both on a thread of its own: `/ready` answers meanwhile. Where the configuration is
/// broken and `keep` has rules that were good, those count.
pub async fn start(main: PathBuf, keep: Option<PathBuf>) -> Result<Started, StartFault> {
    let (told, read) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("gavel-load".to_owned()).spawn(move || {
        let started = open(&main, &Files::on_disk(), None).or_else(|fault| {
            let Some(folder) = keep else { return Err(fault) };
            kept(&main, &folder, fault)
        });
        // Nobody waits any more where the process is being stopped.
        let _ = told.send(started);
    });
    if let Err(fault) = thread {
        return Err(StartFault::new(vec![format!("cannot start a thread: {fault}")]));
    }
    read.await.unwrap_or_else(|_| Err(StartFault::new(vec!["the loading thread died".to_owned()])))
}

/// The configuration, and the databases that it names.
pub fn load(main: &Path) -> Result<(Config, Arc<Databases>), StartFault> {
    open(main, &Files::on_disk(), None).map(|started| {
        let InForce { config, databases, .. } = started.in_force;
        (config, databases)
    })
}

fn open(main: &Path, files: &Files, degraded: Option<String>) -> Result<Started, StartFault> {
    let config = config::load_from(main, files)?;
    checksums::check(&config, files)?;
    let databases = Databases::open_by_key(&config.engine.databases).map_err(|faults| {
        let file = main.display();
        let lines = faults.iter();
        let lines = lines.map(|(key, fault)| format!("{file}: databases.{key}: {}", chain(fault)));
        StartFault::new(lines.collect())
    })?;
    let (identity, databases) = (files.identity(), Arc::new(databases));
    let in_force = InForce { config, files: files.paths(), databases, identity };
    Ok(Started { in_force, degraded })
}

/// The rules that were kept, in place of such as are broken.
fn kept(main: &Path, folder: &Path, fault: StartFault) -> Result<Started, StartFault> {
    let (files, at) = match keep::load(folder) {
        Ok(kept) => kept,
        Err(why) => {
            let mut lines = fault.lines;
            lines.push(format!("nothing is kept in {}: {why}", folder.display()));
            return Err(StartFault::new(lines));
        }
    };
    let why = format!("rules kept at {at} (Unix time) are in force: {}", fault.lines.join("; "));
    open(main, &Files::of(files), Some(why)).map_err(|also| {
        let lines = fault.lines.iter().chain(&also.lines);
        StartFault::new(lines.cloned().collect())
    })
}
