//! Configuration and databases, from the disk and off the control runtime.
//!
//! Owns: [`start`], [`kept`], [`check`] and [`StartFault`]. Never: a thread that serves.

use crate::config::cold::Cold;
use crate::config::fault::Fault;
use crate::config::fault::chain;
use crate::config::files::Files;
use crate::config::{self, Config, Reading, Report, checksums};
use crate::enrich::databases::{DatabaseError, DatabaseSettings, Databases};
use crate::reload::keep;
use crate::reload::publisher::InForce;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the exchange cannot serve.
#[derive(Clone, Debug)]
pub struct StartFault {
    /// Every fault that was found, one a line.
    pub lines: Vec<String>,
    /// Files whose change is a reason to try again.
    pub paths: Vec<PathBuf>,
}

impl From<Report> for StartFault {
    fn from(report: Report) -> Self {
        Self::new(report.0.iter().map(ToString::to_string).collect())
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
        Self { lines, paths: Vec::new() }
    }
}

/// What a start came to.
#[derive(Debug)]
pub struct Started {
    pub in_force: InForce,
    /// Why the rules are those that were kept, where they are.
    pub degraded: Option<String>,
    /// Each file that was looked at.
    pub paths: Vec<PathBuf>,
}

/// Reads both on a thread of its own: `/ready` answers meanwhile.
pub async fn start(main: PathBuf) -> Result<Started, StartFault> {
    apart(move || open(&main, &Files::on_disk(), Cold::needed)).await
}

/// The rules that were kept in `folder`, in place of such as lead to `fault`. Of their databases
/// those that can be opened: an exchange without one still serves.
pub async fn kept(
    main: PathBuf,
    folder: PathBuf,
    fault: StartFault,
) -> Result<Started, StartFault> {
    apart(move || open_kept(&main, &folder, fault)).await
}

async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartFault> + Send + 'static,
) -> Result<T, StartFault> {
    let (told, read) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("gavel-load".to_owned()).spawn(move || {
        // Nobody waits any more where the process is being stopped.
        let _ = told.send(work());
    });
    if let Err(fault) = thread {
        return Err(StartFault::new(vec![format!("cannot start a thread: {fault}")]));
    }
    read.await.unwrap_or_else(|_| Err(StartFault::new(vec!["the loading thread died".to_owned()])))
}

/// The configuration, and the databases that it names.
pub fn load(main: &Path) -> Result<(Config, Arc<Databases>), StartFault> {
    plainly(main, |_, _| Vec::new())
}

/// As [`load`], and whether all that is opened at the start can be.
pub fn check(main: &Path) -> Result<(Config, Arc<Databases>), StartFault> {
    plainly(main, Cold::faults)
}

fn plainly(main: &Path, glance: Glance) -> Result<(Config, Arc<Databases>), StartFault> {
    open(main, &Files::on_disk(), glance).map(|started| {
        let InForce { config, databases, .. } = started.in_force;
        (config, databases)
    })
}

/// What of the files that are opened at the start is looked at; the text is the main file's name.
type Glance = fn(&Cold, &str) -> Vec<Fault>;

/// All of it; every fault is told, of whatever part.
fn open(main: &Path, files: &Files, glance: Glance) -> Result<Started, StartFault> {
    let Reading { result, named } = config::read_from(main, files);
    let mut lines = Vec::new();
    let config = result.map_err(|report| tell(&mut lines, &report.0)).ok();
    let mut databases = None;
    let mut paths = files.paths();
    if let Some(named) = &named {
        if let Err(report) = checksums::check(named.checksums.as_deref(), files) {
            tell(&mut lines, &report.0);
        }
        tell(&mut lines, &glance(&named.cold, &named.file));
        let (opened, faults) = Databases::open_what_can_be(&named.databases);
        lines.extend(faults.iter().map(|fault| of_database(&named.file, fault)));
        databases = Some(opened);
        paths = all_paths(files, &named.databases, &named.cold);
    }
    match (config, databases) {
        (Some(config), Some(databases)) if lines.is_empty() => {
            Ok(started(config, databases, files, paths))
        }
        _ => Err(StartFault { lines, paths }),
    }
}

fn open_kept(main: &Path, folder: &Path, fault: StartFault) -> Result<Started, StartFault> {
    let StartFault { mut lines, paths } = fault;
    let (files, at) = match keep::load(folder) {
        Ok((files, at)) => (Files::of(files), at),
        Err(why) => {
            lines.push(format!("nothing is kept in {}: {why}", folder.display()));
            return Err(StartFault { lines, paths });
        }
    };
    let why = format!("rules kept at {at} (Unix time) are in force: {}", lines.join("; "));
    let read = config::load_from(main, &files);
    let read = read
        .and_then(|config| checksums::check(config.checksums.as_deref(), &files).map(|()| config));
    let config = match read {
        Ok(config) => config,
        Err(report) => {
            tell(&mut lines, &report.0);
            return Err(StartFault { lines, paths });
        }
    };
    let (databases, faults) = Databases::open_what_can_be(&config.engine.databases);
    let main = main.display().to_string();
    let closed = faults.iter().map(|fault| format!("; without {}", of_database(&main, fault)));
    let why = closed.fold(why, |why, closed| why + &closed);
    // what is mended may be of either
    let own = all_paths(&files, &config.engine.databases, &config.cold);
    let paths = paths.into_iter().chain(own).collect();
    Ok(Started { degraded: Some(why), ..started(config, databases, &files, paths) })
}

fn started(config: Config, databases: Databases, files: &Files, paths: Vec<PathBuf>) -> Started {
    let (identity, databases) = (files.identity(), Arc::new(databases));
    let in_force = InForce { config, files: files.paths(), databases, identity };
    Started { in_force, degraded: None, paths }
}

fn all_paths(files: &Files, databases: &DatabaseSettings, cold: &Cold) -> Vec<PathBuf> {
    files.paths().into_iter().chain(databases.paths()).chain(cold.paths()).collect()
}

fn tell(lines: &mut Vec<String>, faults: &[Fault]) {
    // one that two readings found is one
    for line in faults.iter().map(ToString::to_string) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
}

fn of_database(file: &str, (key, fault): &(&'static str, DatabaseError)) -> String {
    format!("{file}: databases.{key}: {}", chain(fault))
}
