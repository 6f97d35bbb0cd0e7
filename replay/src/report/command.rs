//! `gavel-replay compare` and `gavel-replay merge`.
//!
//! Owns: their arguments, what they show, the page of a comparison. Never: the figures.

use super::compare::{Compared, Reading, compare};
use super::html::{Cell, document, escape, section, table};
use super::page::{foot, moment, slos, verdict_box};
use super::{ReportArgs, outputs, write_file};
use crate::judge::{judge_slos, other_load, read_slos};
use crate::result::merge::Gathered;
use crate::result::{Counts, Invalid, RunResult, ShareOf};
use crate::slo::{Slo, evaluate};
use crate::verdict::{Failure, Verdict};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What `compare` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    /// The result (JSON) that is the baseline
    pub before: PathBuf,
    /// The result in question
    pub after: PathBuf,
    /// An objective of the second; one such as `p99 < baseline * 1.05` decides on its figure, where
    /// else any that is worse beyond chance fails
    #[arg(long)]
    pub slo: Vec<String>,
    /// Write a page
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// The draws of the intervals follow from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What `merge` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct MergeArgs {
    /// The results (JSON) of all shards of one run
    #[arg(required = true, num_args = 2..)]
    pub shards: Vec<PathBuf>,
    /// Where the result of the run goes (JSON)
    #[arg(long)]
    pub out: PathBuf,
    /// Objectives of the run as a whole; without any: those that the shards were given
    #[arg(long)]
    pub slo: Vec<String>,
    /// The result of another run, for objectives that speak of a `baseline`
    #[arg(long)]
    pub baseline: Option<PathBuf>,
    /// Write a page with plots
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// Write JUnit XML
    #[arg(long)]
    pub junit: Option<PathBuf>,
    /// Write an HdrHistogram log
    #[arg(long)]
    pub hdr: Option<PathBuf>,
}

impl MergeArgs {
    fn report(&self) -> ReportArgs {
        ReportArgs {
            html: self.html.clone(),
            json: Some(self.out.clone()),
            junit: self.junit.clone(),
            hdr: self.hdr.clone(),
        }
    }
}

fn open(path: &Path) -> Result<RunResult, Failure> {
    RunResult::open(path).map_err(Failure::usage)
}

/// What a comparison comes to.
struct Finding {
    rows: Vec<Compared>,
    slos: Vec<evaluate::Verdict>,
    /// Figures that are worse beyond chance, and no objective says by how much they may be.
    worse: Vec<String>,
    /// In what the runs are of two loads.
    unlike: Vec<String>,
    /// Why it says nothing.
    invalid: Vec<String>,
}

/// Compares, shows and judges.
pub fn run_compare(args: &CompareArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let objectives = read_slos(&args.slo)?;
    outputs::check(args.html.as_deref(), &[&args.before, &args.after])?;
    let (before, after) = (open(&args.before)?, open(&args.after)?);
    let paths = [args.before.as_path(), args.after.as_path()];
    let finding = find(&objectives, paths, [&before, &after], args.seed);
    show(&finding, out).map_err(Failure::usage)?;
    if let Some(path) = &args.html {
        write_file(path, page(paths, [&before, &after], &finding).as_bytes())?;
    }
    Ok(finding.verdict())
}

fn find(objectives: &[Slo], paths: [&Path; 2], runs: [&RunResult; 2], seed: u64) -> Finding {
    let [before, after] = runs;
    let rows = compare(before, after, seed);
    let unlike = after.unlike(before, false);
    let is_worse = |row: &&Compared| {
        row.reading() == Reading::Worse && !objectives.iter().any(|slo| row.is_bounded_by(slo))
    };
    let worse = rows.iter().filter(is_worse).map(|row| row.name.clone()).collect();
    let mut invalid: Vec<String> = Vec::new();
    for (path, run) in paths.into_iter().zip(runs) {
        let why = run.invalid.iter().map(|why| format!("{} is not valid: {why}", path.display()));
        invalid.extend(why);
    }
    invalid.extend(unlike.iter().map(|what| format!("these are runs of two loads: {what}")));
    let is_told = rows.iter().any(|row| row.reading() != Reading::Unknown)
        || objectives.iter().any(Slo::needs_baseline);
    if !is_told {
        invalid.push("nothing was compared: the runs are too short to tell".to_owned());
    }
    Finding { rows, slos: judge_slos(objectives, after, Some(before)), worse, unlike, invalid }
}

impl Finding {
    /// Figures of two loads say nothing about a target, whichever way they differ.
    fn verdict(&self) -> Verdict {
        let validity = if self.invalid.is_empty() { Verdict::Pass } else { Verdict::Invalid };
        let is_held = self.worse.is_empty() && self.slos.iter().all(|one| one.met);
        validity.and(if is_held { Verdict::Pass } else { Verdict::Failed })
    }

    fn title(&self) -> &'static str {
        match self.verdict() {
            Verdict::Pass => "The second run holds",
            Verdict::Failed => "The second run falls short",
            _ if !self.unlike.is_empty() => "Two loads, side by side",
            _ => "The runs cannot be compared",
        }
    }

    /// Why, in a few sentences.
    fn reasons(&self) -> Vec<String> {
        let mut reasons = self.invalid.clone();
        let missed = self.slos.iter().filter(|one| !one.met).count();
        if missed > 0 {
            reasons.push(format!("{missed} of {} objectives not met", self.slos.len()));
        }
        if !self.worse.is_empty() {
            reasons.push(format!("worse beyond chance: {}", self.worse.join(", ")));
        }
        let count = |wanted: Reading| self.rows.iter().filter(|it| it.reading() == wanted).count();
        reasons.push(format!(
            "{} figures worse, {} better, {} without a clear difference, {} unknown",
            count(Reading::Worse),
            count(Reading::Better),
            count(Reading::Unclear),
            count(Reading::Unknown)
        ));
        reasons
    }
}

fn show(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<14} {:>14} {:>14} {:>32}  reading",
        "", "before", "after", "99.5 % of the difference"
    )?;
    for row in &finding.rows {
        let figure = |value: Option<f64>| value.map_or("none".to_owned(), |it| row.unit.show(it));
        writeln!(
            out,
            "{:<14} {:>14} {:>14} {:>32}  {}",
            row.name,
            figure(row.before),
            figure(row.after),
            interval(row),
            reading(row).1
        )?;
    }
    for one in &finding.slos {
        writeln!(out, "{}", one.line())?;
    }
    if !finding.worse.is_empty() {
        writeln!(out, "FAILED: worse beyond chance: {}", finding.worse.join(", "))?;
    }
    for why in &finding.invalid {
        writeln!(out, "NOT valid: {why}")?;
    }
    writeln!(out, "verdict: {}", finding.verdict().label())
}

fn interval(row: &Compared) -> String {
    if row.before.is_none() || row.after.is_none() {
        return "not known of both".to_owned();
    }
    let Some((low, high)) = row.interval else { return "too short to tell".to_owned() };
    let sign =
        |it: f64| if it >= 0.0 { format!("+{}", row.unit.show(it)) } else { row.unit.show(it) };
    format!("{} to {}", sign(low), sign(high))
}

fn reading(row: &Compared) -> (&'static str, &'static str) {
    match row.reading() {
        Reading::Better => ("good", "better"),
        Reading::Worse => ("bad", "worse"),
        Reading::Unclear => ("quiet", "no clear difference"),
        Reading::Unknown => ("quiet", "unknown"),
    }
}

fn page(paths: [&Path; 2], runs: [&RunResult; 2], finding: &Finding) -> String {
    let cells: Vec<Vec<Cell>> = finding
        .rows
        .iter()
        .map(|row| {
            let figure =
                |value: Option<f64>| value.map_or("none".to_owned(), |it| row.unit.show(it));
            let (class, word) = reading(row);
            vec![
                Cell::Badge(class, word.to_owned()),
                Cell::Text(row.name.clone()),
                Cell::Figure(figure(row.before)),
                Cell::Figure(figure(row.after)),
                Cell::Figure(interval(row)),
            ]
        })
        .collect();
    let kicker: Vec<String> = paths
        .into_iter()
        .zip(runs)
        .map(|(path, run)| format!("{} ({})", path.display(), moment(run.started_us)))
        .collect();
    let lead = "The interval is of the difference, from drawing stretches of about a second of both \
                runs anew, so that a pause of the target counts once and not once a request.";
    let title = finding.title();
    let body = [
        format!("<p class=\"kicker\">{}</p>", escape(&kicker.join(" \u{2192} "))),
        verdict_box(finding.verdict(), title, &finding.reasons()),
        section(
            "Figures",
            lead,
            &table(&["", "", "Before", "After", "99.5 % of the difference"], &cells),
        ),
        section("Objectives", "", &slos(&finding.slos)),
        section(
            "Measured",
            "",
            &format!("<div class=\"plots\">{}</div>", super::plots::both(runs[0], runs[1])),
        ),
        foot(),
    ];
    document(&format!("{title} \u{b7} gavel-replay"), &body.concat())
}

/// Joins shards, judges the whole.
pub fn run_merge(args: &MergeArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let inputs: Vec<&Path> =
        args.shards.iter().chain(&args.baseline).map(PathBuf::as_path).collect();
    outputs::check(args.report().paths(), &inputs)?;
    let baseline = args.baseline.as_deref().map(open).transpose()?;
    let mut whole: Option<RunResult> = None;
    let mut texts = args.slo.clone();
    let mut seen: Vec<(u64, Counts)> = Vec::new();
    let mut gathered = Gathered::default();
    for path in &args.shards {
        let shard = open(path)?;
        if args.slo.is_empty() {
            let given = shard.judged.slos.iter().map(|one| one.slo.clone());
            let new: Vec<String> = given.filter(|text| !texts.contains(text)).collect();
            texts.extend(new);
        }
        // two shards never have every time and every count in common
        let is_known =
            |(at, counts): &(u64, Counts)| *at == shard.started_us && *counts == shard.whole;
        if seen.iter().any(is_known) {
            return Err(Failure::usage(format!("{}: the same shard twice", path.display())));
        }
        seen.push((shard.started_us, shard.whole.clone()));
        let fault = |fault| Failure::usage(format!("{}: {fault}", path.display()));
        gathered.take(shard.plan.share).map_err(fault)?;
        match &mut whole {
            None => whole = Some(shard),
            Some(whole) => whole.merge(&shard).map_err(fault)?,
        }
    }
    gathered.check().map_err(Failure::usage)?;
    let mut whole = whole.ok_or_else(|| Failure::usage("there is no shard"))?;
    whole.plan.share = Some(ShareOf { index: 0, of: 1 });
    let objectives = read_slos(&texts)?;
    if let (None, Some(slo)) = (&baseline, objectives.iter().find(|slo| slo.needs_baseline())) {
        return Err(Failure::usage(format!("`{slo}` speaks of a baseline: give --baseline")));
    }
    whole.judged.slos = judge_slos(&objectives, &whole, baseline.as_ref());
    // what a shard was held against is nothing that the whole is
    whole.invalid.retain(|why| !matches!(why, Invalid::Baseline { .. }));
    whole.invalid.extend(other_load(&objectives, &whole, baseline.as_ref(), false));
    args.report().write(&whole)?;
    let verdict = whole.verdict();
    let lines = whole.judged.lines();
    let shown = format!(
        "{} shards, {} planned, {} answered: {}",
        whole.shards,
        whole.whole.planned,
        whole.whole.answered,
        verdict.label()
    );
    for line in lines.iter().chain([&shown]) {
        writeln!(out, "{line}").map_err(Failure::usage)?;
    }
    for why in &whole.invalid {
        writeln!(out, "NOT valid: {why}").map_err(Failure::usage)?;
    }
    Ok(verdict)
}
