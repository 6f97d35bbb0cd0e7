//! `gavel journal`: arguments, and what the process answers.
//!
//! Owns: the arguments and exit codes. Never: the texts. Invariant: no command changes a journal.

use super::disk::real::RealDisk;
use super::export::{Choice, ExportFault, Format, export, look};
use super::survey::list;
use super::{Dirs, JournalFault, pair};
use crate::money_event::shown;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Where a journal is.
#[derive(Clone, Debug, clap::Args)]
pub struct Folders {
    /// The journal's folder.
    pub dir: PathBuf,
    /// The folder that it spills to, where it has one.
    #[arg(long)]
    pub spill: Option<PathBuf>,
}

/// What can be asked of a journal, also while it is written.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum JournalCommand {
    /// Segments, sequences, counts by type, cursors.
    Inspect {
        #[command(flatten)]
        folders: Folders,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Check every record; exit 1 where one is lost, with its offset.
    Verify {
        #[command(flatten)]
        folders: Folders,
    },
    /// Write records as JSON lines or CSV; exit 1 where some of them are lost.
    Export {
        #[command(flatten)]
        folders: Folders,
        /// How.
        #[arg(long, value_enum, default_value = "jsonl")]
        format: Format,
        /// First sequence.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Last sequence.
        #[arg(long, default_value_t = u64::MAX)]
        to: u64,
        /// Types, by word or number: win, billing, loss, impression, auction; money for the first
        /// four. All where none is given.
        #[arg(long = "type", value_name = "TYPE", value_parser = kinds)]
        types: Vec<Kinds>,
        /// A file instead of standard output.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// What one `--type` stands for.
#[derive(Clone, Debug)]
pub struct Kinds(Vec<u8>);

fn kinds(word: &str) -> Result<Kinds, String> {
    shown::kinds(word).map(Kinds).ok_or_else(|| {
        "allowed are win, billing, loss, impression, auction, money, and 0 to 63".to_owned()
    })
}

/// What to print, and whether all is well.
#[derive(Debug, Default)]
pub struct Told {
    pub text: String,
    /// For standard error.
    pub faults: Vec<String>,
    pub is_well: bool,
}

/// Why nothing could be told.
#[derive(Debug, thiserror::Error)]
pub enum CommandFault {
    #[error("cannot read the journal")]
    Journal(#[source] JournalFault),
    #[error("cannot export the journal")]
    Export(#[source] ExportFault),
    #[error("cannot write {}", .0.display())]
    Out(PathBuf, #[source] io::Error),
    #[error("{} is no folder of a journal: there is no segment in it", .0.display())]
    NoSegment(PathBuf),
    #[error("{} is within the journal, where nobody else writes", .0.display())]
    OutWithin(PathBuf),
}

impl Folders {
    /// Refuses a folder that is no journal's: of that nobody can say that all is well.
    fn dirs(self) -> Result<Dirs, CommandFault> {
        let dirs = Dirs { main: self.dir, spill: self.spill };
        let (segments, _) = list(&RealDisk, &dirs).map_err(CommandFault::Journal)?;
        if segments.is_empty() { Err(CommandFault::NoSegment(dirs.main)) } else { Ok(dirs) }
    }
}

/// The fault that a part of the journal is not in these folders.
fn missing(dirs: &Dirs) -> Result<Vec<String>, CommandFault> {
    let missing = pair::missing(&RealDisk, dirs).map_err(CommandFault::Journal)?;
    Ok(missing.iter().map(|fault| format!("{fault}; see --spill")).collect())
}

/// Makes the file for what is exported, which must not be one of the journal's.
fn create(path: PathBuf, dirs: &Dirs) -> Result<File, CommandFault> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // where it leads to if it is a link
    let real = path.canonicalize().or_else(|_| folder.canonicalize());
    let is_within = |dir: &PathBuf| match (&real, dir.canonicalize()) {
        (Ok(real), Ok(dir)) => real.starts_with(dir),
        _ => false,
    };
    if std::iter::once(&dirs.main).chain(&dirs.spill).any(is_within) {
        return Err(CommandFault::OutWithin(path));
    }
    File::create(&path).map_err(|fault| CommandFault::Out(path, fault))
}

/// Does it.
pub fn run(command: JournalCommand) -> Result<Told, CommandFault> {
    match command {
        JournalCommand::Inspect { folders, json } => {
            let dirs = folders.dirs()?;
            let (look, faults) = (look(&RealDisk, &dirs), missing(&dirs)?);
            let look = look.map_err(CommandFault::Journal)?;
            let text = if json { format!("{:#}", look.json()) } else { look.text() };
            Ok(Told { text, is_well: faults.is_empty(), faults })
        }
        JournalCommand::Verify { folders } => {
            let dirs = folders.dirs()?;
            let look = look(&RealDisk, &dirs).map_err(CommandFault::Journal)?;
            let mut findings = look.findings();
            findings.faults.extend(missing(&dirs)?);
            let records: u64 = look.survey.records();
            let mut lines: Vec<String> =
                findings.notes.iter().map(|note| format!("note: {note}")).collect();
            let (segments, lost) = (look.survey.segments.len(), look.survey.lost());
            let faults = findings.faults.len();
            lines.push(format!(
                "{records} records in {segments} segments; {lost} lost; {faults} faults"
            ));
            let is_well = faults == 0;
            Ok(Told { text: lines.join("\n"), faults: findings.faults, is_well })
        }
        JournalCommand::Export { folders, format, from, to, types, out } => {
            let kinds: Vec<u8> = types.into_iter().flat_map(|Kinds(kinds)| kinds).collect();
            let kinds = (!kinds.is_empty()).then_some(kinds);
            let choice = Choice { from, to, kinds };
            let dirs = folders.dirs()?;
            let mut file: Box<dyn Write> = match out {
                None => Box::new(BufWriter::new(io::stdout().lock())),
                Some(path) => Box::new(BufWriter::new(create(path, &dirs)?)),
            };
            let lost = export(&RealDisk, &dirs, (format, &choice), &mut *file);
            let lost = match lost {
                // whoever closes it (`| head`) has seen enough
                Err(ExportFault::Write(fault)) if fault.kind() == io::ErrorKind::BrokenPipe => 0,
                lost => lost.map_err(CommandFault::Export)?,
            };
            let mut faults = missing(&dirs)?;
            faults.extend((lost > 0).then(|| format!("{lost} records are lost within the export")));
            Ok(Told { text: String::new(), is_well: faults.is_empty(), faults })
        }
    }
}
