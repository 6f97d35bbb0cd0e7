//! From files to settings and rules, with every fault in one report.
//!
//! Owns: the face [`load`], which drives its children. Never: a reload (that watches and calls
//! [`load`] again), a clock.

mod bidders;
pub mod edge;
pub mod engine;
pub mod fault;
mod partners;
pub mod reader;
pub mod reference;
pub mod rules;
mod units;
mod words;

use edge::Edge;
use engine::Engine;
use fault::Fault;
use reader::{Findings, Table};
use rules::Rules;
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration file larger than this is a mistake.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Everything that the files say.
#[derive(Clone, Debug)]
pub struct Config {
    pub edge: Edge,
    pub engine: Engine,
    pub rules: Rules,
    /// Each file that was read, the main one first.
    pub files: Vec<PathBuf>,
    /// Each key with its default and what the files say, secrets left out.
    pub rows: Vec<reader::Row>,
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

/// Reads the main file and what it includes.
pub fn load(main: &Path) -> Result<Config, Report> {
    let findings = RefCell::new(Findings::default());
    let mut rules = Rules::default();
    let mut files = vec![main.to_owned()];
    let mut settings = None;
    if let Some(values) = &parse(main, &findings) {
        let name = shown(main);
        let folder = main.parent().unwrap_or(Path::new(""));
        let mut root = Table::root(&name, Some(values), &findings);
        let includes = includes(&mut root);
        settings = Some((edge::read(&mut root), engine::read(&mut root, folder)));
        read_rules(&mut root, &mut rules);
        for include in includes {
            let path = folder.join(include);
            read_include(&path, &findings, &mut rules);
            files.push(path);
        }
        rules::read_whole(&mut root, folder, &mut rules);
        rules::check(&rules, &root);
        root.end();
    }
    let Findings { faults, rows, .. } = findings.into_inner();
    match settings {
        Some((edge, engine)) if faults.is_empty() => {
            Ok(Config { edge, engine, rules, files, rows })
        }
        _ => Err(Report(faults)),
    }
}

/// One row for each key of the configuration, in the order of reading.
pub fn rows() -> Vec<reader::Row> {
    let findings = RefCell::new(Findings::documenting());
    let mut root = Table::root("", None, &findings);
    let mut rules = Rules::default();
    includes(&mut root);
    edge::read(&mut root);
    engine::read(&mut root, Path::new(""));
    read_rules(&mut root, &mut rules);
    rules::read_whole(&mut root, Path::new(""), &mut rules);
    findings.into_inner().rows
}

fn includes(root: &mut Table) -> Vec<PathBuf> {
    root.list(
        "include",
        "a file beside this one",
        "Files with more `partners`, `bidders` and `rates`.",
        |text| (!text.is_empty()).then(|| PathBuf::from(text)),
    )
}

fn read_rules(root: &mut Table, rules: &mut Rules) {
    rules::read_partners(root, &mut rules.partners);
    rules::read_bidders(root, &mut rules.bidders);
    if let Some(rates) = rules::read_rates(root) {
        rules.rates = Arc::new(rates);
    }
}

fn read_include(path: &Path, findings: &RefCell<Findings>, rules: &mut Rules) {
    let Some(values) = parse(path, findings) else { return };
    let name = shown(path);
    let mut root = Table::root(&name, Some(&values), findings);
    read_rules(&mut root, rules);
    root.end();
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn parse(path: &Path, findings: &RefCell<Findings>) -> Option<toml::Table> {
    let name = shown(path);
    let fault = |wanted: String| {
        findings.borrow_mut().faults.push(Fault::of_file(&name, wanted));
    };
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => fault("is not a regular file".to_owned()),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            fault(format!("is {} bytes; at most {FILE_BYTES_MAX} are read", meta.len()));
        }
        Ok(_) => match std::fs::read_to_string(path) {
            Ok(text) => match text.parse() {
                Ok(table) => return Some(table),
                Err(cause) => fault(format!("is not TOML: {cause}")),
            },
            Err(cause) => fault(format!("cannot be read: {cause}")),
        },
        Err(cause) => fault(format!("cannot be read: {cause}")),
    }
    None
}

#[cfg(test)]
mod tests;
