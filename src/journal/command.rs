//! `gavel journal`: arguments, and what the process answers.
//!
//! Owns: the arguments and exit codes. Never: the texts. Invariant: no command changes a journal.

use super::disk::real::RealDisk;
use super::export::{Choice, ExportFault, Format, export, look};
use super::{Dirs, JournalFault};
use crate::money_event::shown;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

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
}

impl Folders {
    fn dirs(self) -> Dirs {
        Dirs { main: self.dir, spill: self.spill }
    }
}

/// Does it.
pub fn run(command: JournalCommand) -> Result<Told, CommandFault> {
    match command {
        JournalCommand::Inspect { folders, json } => {
            let look = look(&RealDisk, &folders.dirs()).map_err(CommandFault::Journal)?;
            let text = if json { format!("{:#}", look.json()) } else { look.text() };
            Ok(Told { text, faults: Vec::new(), is_well: true })
        }
        JournalCommand::Verify { folders } => {
            let look = look(&RealDisk, &folders.dirs()).map_err(CommandFault::Journal)?;
            let findings = look.findings();
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
            let mut file: Box<dyn Write> = match &out {
                None => Box::new(BufWriter::new(io::stdout().lock())),
                Some(path) => {
                    let file = File::create(path);
                    Box::new(BufWriter::new(file.map_err(|f| CommandFault::Out(path.clone(), f))?))
                }
            };
            let lost = export(&RealDisk, &folders.dirs(), (format, &choice), &mut *file);
            let lost = match lost {
                // whoever closes it (`| head`) has seen enough
                Err(ExportFault::Write(fault)) if fault.kind() == io::ErrorKind::BrokenPipe => 0,
                lost => lost.map_err(CommandFault::Export)?,
            };
            let fault = (lost > 0).then(|| format!("{lost} records are lost within the export"));
            let faults = fault.into_iter().collect();
            Ok(Told { text: String::new(), faults, is_well: lost == 0 })
        }
    }
}
