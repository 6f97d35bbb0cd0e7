//! `gavel ledger`: arguments, and what the process answers.
//!
//! Owns: the arguments, the order of a report. Never: the texts. Invariant: nothing that is read is
//! changed; where something of it is damaged, what is there is reported and the report says so.

use super::report::{self, Format};
use super::source::{Faults, Source};
use super::tally::{Tally, Totals};
use super::{Axis, LedgerFault, Moment, Question, Span, when};
use crate::clock;
use crate::journal::disk::real::RealDisk;
use std::io::{self, Write};
use std::path::PathBuf;

/// What was earned by whom, and what does not add up. Money is that of billing events, each once by
/// its id; spend is what bidders pay, revenue what partners get, margin the rest, where both are in
/// one currency. Auctions, bids and sold are counts of auction records, which may be dropped under
/// load: how many were is said.
#[derive(Clone, Debug, clap::Args)]
pub struct LedgerArgs {
    /// Journal folders of all replicas, and exports of them (JSON lines, CSV), in any number; the
    /// same record may be in several.
    #[arg(required = true, value_name = "DIR_OR_FILE")]
    pub sources: Vec<PathBuf>,
    /// What rows are by; several with commas between.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "partner")]
    pub by: Vec<Axis>,
    /// From this moment on: a date (UTC) or a time of RFC 3339.
    #[arg(long, value_parser = when::parse)]
    pub from: Option<u64>,
    /// Up to this moment, without it.
    #[arg(long, value_parser = when::parse)]
    pub to: Option<u64>,
    /// Which time of an event `--from`, `--to` and days go by.
    #[arg(long, value_enum, default_value = "received")]
    pub time: Moment,
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Each thing that does not add up, instead of the totals.
    #[arg(long)]
    pub discrepancies: bool,
    /// A sale whose token ends later may still be billed; now, where it is not given.
    #[arg(long, value_parser = when::parse)]
    pub as_of: Option<u64>,
    /// A journal's spill folder.
    #[arg(long, value_name = "DIR=SPILL")]
    pub spill: Vec<String>,
    /// Memory for sorting, in MiB.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(8..=1024))]
    pub memory: u16,
    /// Where is sorted what does not fit: as much room as the events have.
    #[arg(long)]
    pub temp: Option<PathBuf>,
}

/// Makes the report; answers what was damaged.
pub fn run(args: LedgerArgs, out: &mut dyn Write) -> Result<Vec<String>, LedgerFault> {
    if args.from.zip(args.to).is_some_and(|(from, to)| from >= to) {
        return Err(LedgerFault::Span);
    }
    let sources = Source::all(&args.sources, &args.spill)?;
    let now_us = u64::try_from(clock::wall().as_micros()).unwrap_or(u64::MAX);
    let mut by: Vec<Axis> = Vec::new();
    for axis in args.by {
        if !by.contains(&axis) {
            by.push(axis);
        }
    }
    let question = Question {
        by,
        span: Span { from_us: args.from.unwrap_or(0), to_us: args.to.unwrap_or(u64::MAX) },
        moment: args.time,
        as_of_us: args.as_of.unwrap_or(now_us),
    };
    let temp = args.temp.unwrap_or_else(std::env::temp_dir);
    let memory = usize::from(args.memory) << 20;
    // an export may be of several replicas, or of a stream that has records twice
    let is_alone = matches!(sources.as_slice(), [Source::Journal(_)]);
    let mut tally = Tally::new(question.clone(), &temp, memory, is_alone);
    let mut faults = Faults::default();
    for source in &sources {
        source.read(&RealDisk, &mut faults, &mut |item| tally.take(item))?;
    }
    let totals = if args.discrepancies {
        report::findings_head(args.format, out).map_err(LedgerFault::Write)?;
        tally.finish(&mut |finding| report::finding(args.format, finding, out))?
    } else {
        tally.finish(&mut |_| Ok(()))?
    };
    end(args.format, args.discrepancies, (&question, &totals), &faults, out)?;
    Ok(faults.told)
}

fn end(
    format: Format,
    is_list: bool,
    (question, totals): (&Question, &Totals),
    faults: &Faults,
    out: &mut dyn Write,
) -> Result<(), LedgerFault> {
    let written = if is_list {
        match (format, totals.troubles.values().map(|stake| stake.count).sum::<u64>()) {
            (Format::Table, 0) => writeln!(out, "everything adds up"),
            (Format::Table, count) => writeln!(out, "{count} discrepancies"),
            _ => Ok(()),
        }
    } else {
        report::totals(format, question, totals, &faults.told, out)
    };
    written.and_then(|()| out.flush()).map_err(LedgerFault::Write)
}

/// Whether the report ended early because whoever reads it has seen enough.
pub fn has_seen_enough(fault: &LedgerFault) -> bool {
    matches!(fault, LedgerFault::Write(cause) if cause.kind() == io::ErrorKind::BrokenPipe)
}
