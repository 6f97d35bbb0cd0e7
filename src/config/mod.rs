//! From files to settings and rules, with every fault in one report.
//!
//! Owns: the face [`load`], which drives its children. Never: a reload (that watches and calls
//! [`load`] again), a clock.

mod bidders;
pub mod broker;
pub mod checksums;
pub mod cold;
pub mod edge;
mod elsewhere;
pub mod engine;
pub mod events;
pub mod fault;
pub mod files;
mod floors;
mod lists;
mod memory;
pub mod notices;
mod partners;
pub mod reader;
mod recording;
pub mod reference;
pub mod rules;
mod secrets;
pub mod telemetry;
mod units;
mod words;

use crate::enrich::databases::DatabaseSettings;
use crate::http::admin::AdminAddress;
use crate::lifecycle::pressure::PressureSettings;
use cold::Cold;
use edge::Edge;
use elsewhere::Elsewhere;
use engine::Engine;
use events::Events;
use fault::{Fault, Found};
use files::Files;
use reader::{Findings, Table};
use rules::{Draft, Rules};
use std::cell::RefCell;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Telling;

/// A configuration file larger than this is a mistake.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Everything that the files say.
#[derive(Clone, Debug)]
pub struct Config {
    pub edge: Edge,
    pub engine: Engine,
    pub rules: Rules,
    /// Where records go and events are taken, where that is so.
    pub events: Events,
    /// When memory runs short.
    pub memory: PressureSettings,
    /// What the process tells of itself, and where to.
    pub telling: Telling,
    /// Each file that was read, the main one first.
    pub files: Vec<PathBuf>,
    /// A list of SHA-256 sums, as `sha256sum` writes it, that all of `files` must stand in.
    pub checksums: Option<PathBuf>,
    /// What is opened at the start.
    pub cold: Cold,
    /// Each key with its default and what the files say, secrets left out.
    pub rows: Vec<reader::Row>,
}

impl Config {
    /// What is no fault at this moment, but hardly meant.
    pub fn warnings(&self, wall: Duration) -> Vec<&'static str> {
        let Rules { partners, bidders, rates, .. } = &self.rules;
        let mut warnings = Vec::new();
        if partners.is_empty() {
            warnings.push("no partner: nobody can send a request");
        }
        if bidders.is_empty() {
            warnings.push("no bidder: every auction ends without a bid");
        }
        if rates.are_stale(wall) {
            warnings.push(
                "`rates.as_of` is older than `rates.age_max`, or of a day to come: no rate is used",
            );
        }
        warnings
    }
}

/// What the main file names beside the rules, as far as it could be read: also of one with faults,
/// where a faulty key counts as its default. To be looked at; what is in force is a [`Config`].
#[derive(Clone, Debug)]
pub struct Named {
    /// The main file.
    pub file: String,
    pub admin: AdminAddress,
    pub checksums: Option<PathBuf>,
    pub databases: DatabaseSettings,
    pub cold: Cold,
}

/// What one reading came to.
#[derive(Debug)]
pub struct Reading {
    pub result: Result<Config, Report>,
    /// `None`: the main file is none.
    pub named: Option<Named>,
}

/// Every fault of one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report(pub Vec<Fault>);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "{count} fault{} in the configuration:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|fault| writeln!(f, "  {fault}"))
    }
}

/// Reads the main file and what it includes from the disk.
pub fn load(main: &Path) -> Result<Config, Report> {
    let files = Files::on_disk();
    let config = load_from(main, &files)?;
    checksums::check(config.checksums.as_deref(), &files)?;
    Ok(config)
}

/// Reads the main file and what it includes; checksums are another matter.
pub fn load_from(main: &Path, files: &Files) -> Result<Config, Report> {
    read_from(main, files).result
}

/// As [`load_from`], with what can be looked at all the same where there are faults.
pub fn read_from(main: &Path, files: &Files) -> Reading {
    let findings = RefCell::new(Findings::default());
    let mut draft = Draft::default();
    let (mut settings, mut named) = (None, None);
    if let Some(values) = &parse(main, files, &findings) {
        let name = shown(main);
        let folder = main.parent().unwrap_or(Path::new(""));
        let mut root = Table::root(&name, Some(values), &findings);
        let includes = includes(&mut root);
        let checksums = checksums::read(&mut root, folder);
        let (edge, engine) = (edge::read(&mut root), engine::read(&mut root, folder));
        let (events, issuer) = events::read(&mut root, folder, files);
        draft.rules.issuer = issuer.map(Arc::new);
        let short = memory::read(&mut root);
        let telling = telemetry::read(&mut root, folder);
        draft.read(&mut root);
        let mut seen = vec![plain(main)];
        for include in includes {
            let path = folder.join(&include);
            if seen.contains(&plain(&path)) {
                let found = Found::text(&shown(&include));
                let wanted = "a list of other files than this one, each of them once";
                root.add(root.place("include").fault(found, wanted, None));
                continue;
            }
            seen.push(plain(&path));
            read_include(&path, files, &findings, &mut draft);
        }
        rules::read_whole(&mut root, folder, files, &mut draft.rules);
        let (capture, recording) = recording::read(&mut root, folder, files);
        draft.rules.capture = capture;
        draft.check(&root);
        let cold = Cold::of(&engine, &events, &telling, recording);
        named = Some(Named {
            file: name.clone(),
            admin: edge.admin.address.clone(),
            checksums: checksums.clone(),
            databases: engine.databases.clone(),
            cold: cold.clone(),
        });
        settings = Some((edge, engine, events, (short, telling), (checksums, cold)));
        root.end();
    }
    let Findings { faults, rows, .. } = findings.into_inner();
    let result = match settings {
        Some((mut edge, engine, events, (memory, telling), (checksums, cold)))
            if faults.is_empty() =>
        {
            edge.http.timed_of = telling.stages_of;
            let (rules, files) = (draft.finish(), files.paths());
            Ok(Config {
                edge,
                engine,
                rules,
                events,
                memory,
                telling,
                files,
                checksums,
                cold,
                rows,
            })
        }
        _ => Err(Report(faults)),
    };
    Reading { result, named }
}

/// One row for each key of the configuration, in the order of reading.
pub fn rows() -> Vec<reader::Row> {
    let findings = RefCell::new(Findings::documenting());
    let mut root = Table::root("", None, &findings);
    let mut draft = Draft::default();
    includes(&mut root);
    checksums::read(&mut root, Path::new(""));
    edge::read(&mut root);
    engine::read(&mut root, Path::new(""));
    events::read(&mut root, Path::new(""), &Files::on_disk());
    memory::read(&mut root);
    telemetry::read(&mut root, Path::new(""));
    draft.read(&mut root);
    rules::read_whole(&mut root, Path::new(""), &Files::on_disk(), &mut draft.rules);
    recording::read(&mut root, Path::new(""), &Files::on_disk());
    findings.into_inner().rows
}

fn includes(root: &mut Table) -> Vec<PathBuf> {
    root.list(
        "include",
        "a file beside this one",
        "Files with more `partners`, `bidders`, `floors` and `rates`.",
        |text| (!text.is_empty()).then(|| PathBuf::from(text)),
    )
}

fn read_include(path: &Path, files: &Files, findings: &RefCell<Findings>, draft: &mut Draft) {
    let Some(values) = parse(path, files, findings) else { return };
    let name = shown(path);
    let mut root = Table::root(&name, Some(&values), findings);
    draft.read(&mut root);
    root.end();
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn parse(path: &Path, files: &Files, findings: &RefCell<Findings>) -> Option<toml::Table> {
    let table = files.read(path, FILE_BYTES_MAX).and_then(|content| {
        let text = String::from_utf8(content).map_err(|fault| {
            let at = fault.utf8_error().valid_up_to();
            not_toml(fault.as_bytes(), Some(at), "not UTF-8")
        })?;
        text.parse().map_err(|fault: toml::de::Error| {
            not_toml(text.as_bytes(), fault.span().map(|span| span.start), fault.message())
        })
    });
    let fault = |wanted| findings.borrow_mut().faults.push(Fault::of_file(&shown(path), wanted));
    let mut table: toml::Table = table.map_err(fault).ok()?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let elsewhere = Elsewhere { folder, files, variable: &elsewhere::variable };
    findings.borrow_mut().faults.extend(elsewhere.resolve(&shown(path), &mut table));
    Some(table)
}

/// Where a file stops to be TOML and why, without a byte of it: there may be secrets in the line.
fn not_toml(text: &[u8], at: Option<usize>, why: &str) -> String {
    let read = at.and_then(|at| text.get(..at)).unwrap_or_default();
    let line = memchr::memchr_iter(b'\n', read).count() + 1;
    let column = read.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len) + 1;
    let why = why.replace('\n', ", ");
    format!(
        "is not TOML in line {line}, column {column}: {why}; the rest of the file was not looked at"
    )
}

/// Without `.` and `..`, as far as the path itself tells.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
