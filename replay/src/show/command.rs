//! `gavel-replay show`.
//!
//! Owns: its arguments and how it ends. Never: what is shown.

use super::{Overview, record, text};
use crate::verdict::{Failure, Verdict};
use gavel::capture::read;
use std::io::Write;
use std::path::PathBuf;

/// What `show` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// The capture
    pub capture: PathBuf,
    /// One record, from 0
    #[arg(long, value_name = "N")]
    pub record: Option<u64>,
    /// How diverse it is, axis by axis
    #[arg(long, conflicts_with = "record")]
    pub fingerprint: bool,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// Shows a capture; one that is damaged fails, after what is good in it.
pub fn run(args: &ShowArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let name = args.capture.display();
    let failed = |fault: read::CaptureError| Failure::usage(format!("{name}: {fault}"));
    let mut reader = read::open(&args.capture).map_err(failed)?;
    let written = |source: std::io::Error| Failure::usage(source);
    if let Some(number) = args.record {
        let found = record::find(&mut reader, number).map_err(failed)?;
        let header = reader.header();
        let Some(found) = found else {
            let fault = format!("{name} has no record {number} (the first is 0)");
            return Err(Failure::usage(fault));
        };
        if args.json {
            let value = record::as_json(header, number, &found);
            writeln!(out, "{value:#}").map_err(written)?;
        } else {
            write!(out, "{}", record::text(header, number, &found)).map_err(written)?;
        }
        return Ok(Verdict::Pass);
    }
    let overview = Overview::of(&mut reader, args.fingerprint);
    if args.json {
        let json = serde_json::to_string_pretty(&overview).map_err(Failure::usage)?;
        writeln!(out, "{json}").map_err(written)?;
    } else {
        write!(out, "{}", text::text(&overview)).map_err(written)?;
    }
    Ok(if overview.broken.is_some() { Verdict::Failed } else { Verdict::Pass })
}
