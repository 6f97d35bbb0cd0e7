//! `gavel-replay lint`: its arguments and what it prints.

use super::{Finding, Lint, What};
use crate::verdict::{Failure, Verdict};
use gavel::capture::{Origin, Record, read};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// What `lint` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct LintArgs {
    /// Capture files
    #[arg(required = true)]
    pub captures: Vec<PathBuf>,
    /// Findings that are listed one by one
    #[arg(long, default_value_t = 20)]
    pub show: usize,
    /// Fail for what looks like an id of a name that nobody knows, too
    #[arg(long)]
    pub strict: bool,
}

/// Looks at files; failed: something personal is in one of them. A file that is damaged is looked at
/// as far as it is good, and then judges nothing.
pub fn run(args: &LintArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let mut verdict = Verdict::Pass;
    for path in &args.captures {
        let shown = path.display();
        let mut reader =
            read::open(path).map_err(|fault| Failure::usage(format!("{shown}: {fault}")))?;
        let (mut lint, mut record) = (Lint::default(), Record::default());
        let (mut found, mut kinds) = (Vec::new(), BTreeMap::new());
        let mut left = args.show;
        let ended = loop {
            match reader.next(&mut record) {
                Ok(true) => lint.record(&record, &mut found),
                Ok(false) => break Ok(()),
                Err(fault) => break Err(Failure::invalid(format!("{shown}: {fault}"))),
            }
            for finding in found.drain(..) {
                let Finding { record, part, path, what } = finding;
                if left > 0 {
                    left -= 1;
                    let what = what.text();
                    writeln!(out, "{shown}: record {record}, {part}: {path}: {what}")
                        .map_err(unsaid)?;
                }
                *kinds.entry((part, path, what)).or_insert(0_u64) += 1;
            }
        };
        summarise(&shown.to_string(), reader.given(), &kinds, out).map_err(unsaid)?;
        if reader.header().origin == Origin::Synthetic && !kinds.is_empty() {
            writeln!(out, "{shown}: generated, not recorded: nobody stands behind these values")
                .map_err(unsaid)?;
        }
        if kinds.keys().any(|(.., what)| args.strict || *what != What::Suspect) {
            verdict = verdict.and(Verdict::Failed);
        }
        ended?;
    }
    Ok(verdict)
}

fn unsaid(fault: std::io::Error) -> Failure {
    Failure::invalid(fault)
}

/// Findings by place and kind, most often first.
fn summarise(
    shown: &str,
    records: u64,
    kinds: &BTreeMap<(String, String, What), u64>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let suspects: u64 =
        kinds.iter().filter(|((.., what), _)| *what == What::Suspect).map(|(_, count)| count).sum();
    let total = kinds.values().sum::<u64>() - suspects;
    if kinds.is_empty() {
        return writeln!(out, "{shown}: {records} records, nothing personal found");
    }
    let mut rows: Vec<_> = kinds.iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for ((part, path, what), count) in rows.into_iter().take(50) {
        writeln!(out, "{count:>9}  {part}: {path}: {}", what.text())?;
    }
    write!(out, "{shown}: {records} records, {total} findings")?;
    if suspects > 0 {
        write!(out, ", {suspects} suspects")?;
    }
    writeln!(out)
}
