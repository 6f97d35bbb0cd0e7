//! `gavel-replay diff`.
//!
//! Owns: its arguments and how it shows what was found. Never: the comparison itself.

use super::answer::Ignore;
use super::run::{self, DiffError, DiffSettings, Servers};
use super::{DiffResult, PathDiff};
use crate::drive::target::{Allow, Target};
use crate::feed::head::parse_headers;
use crate::report::{diff_page, outputs, write_file};
use crate::run::failing;
use crate::sample::{self, Samples};
use crate::verdict::{Failure, Verdict};
use gavel::capture::{Header, Record};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What `diff` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct DiffArgs {
    /// The requests
    pub capture: PathBuf,
    /// The build that is trusted, such as `http://127.0.0.1:8080` (the recorded paths are used)
    #[arg(long)]
    pub primary: String,
    /// The build in question
    #[arg(long)]
    pub candidate: String,
    /// The trusted build once more, best as a process of its own; without it the primary is asked
    /// twice
    #[arg(long)]
    pub secondary: Option<String>,
    /// At most so many requests, drawn from all
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub requests: u32,
    /// What is not compared: RFC 9535 JSONPaths such as `$.seatbid[*].bid[*].id`, or `header NAME`
    #[arg(long)]
    pub ignore: Vec<String>,
    /// Chance of a false alarm over all paths together
    #[arg(long, default_value_t = DiffSettings::default().alpha, value_parser = parse_alpha)]
    pub alpha: f64,
    /// Further looks at a request in which one of the three differs
    #[arg(long, default_value_t = DiffSettings::default().repeats, value_parser = clap::value_parser!(u64).range(0..=20))]
    pub repeats: u64,
    /// Requests in flight
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// A further header for all three, `name: value`
    #[arg(long = "header")]
    pub headers: Vec<String>,
    /// Send the recorded request ids instead of fresh ones
    #[arg(long)]
    pub keep_ids: bool,
    /// Everything that is drawn follows from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Send requests as recorded: without it each says that it is a test (`test` is 1), so that
    /// nobody bills it
    #[arg(long)]
    pub unmarked: bool,
    /// The targets may be on other machines
    #[arg(long)]
    pub allow: bool,
    /// Write what was found as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write a page
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// Write the examples of paths that differ as a capture, which `shrink` reduces
    #[arg(long)]
    pub failing: Option<PathBuf>,
}

fn parse_alpha(text: &str) -> Result<f64, String> {
    let alpha: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if alpha > 0.0 && alpha <= 0.1 {
        return Ok(alpha);
    }
    Err("above 0, at most 0.1".to_owned())
}

/// Compares, shows and judges.
pub fn run(args: &DiffArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let outputs = [&args.json, &args.html, &args.failing];
    outputs::check(outputs.into_iter().flatten().map(PathBuf::as_path), &[&args.capture])?;
    let ignore = Ignore::parse(&args.ignore).map_err(Failure::usage)?;
    let allow = if args.allow { Allow::Any } else { Allow::Loopback };
    let headers = parse_headers(&args.headers).map_err(Failure::usage)?;
    let target = |url: &str| {
        let target = Target::parse(url, allow).and_then(|it| it.with_headers(&headers, allow));
        target.map_err(Failure::usage)
    };
    let secondary = args.secondary.as_ref().unwrap_or(&args.primary);
    let servers = Servers {
        primary: target(&args.primary)?,
        secondary: target(secondary)?,
        candidate: target(&args.candidate)?,
    };
    let count = usize::try_from(args.requests).unwrap_or(usize::MAX);
    let samples =
        sample::take(&args.capture, count, args.seed, !args.unmarked).map_err(Failure::usage)?;
    if let Some(damage) = &samples.damage {
        writeln!(out, "the capture is used up to its damage: {damage}").map_err(output)?;
    }
    let settings = DiffSettings {
        threads: usize::try_from(args.threads).unwrap_or(1),
        repeats: args.repeats,
        alpha: args.alpha,
        seed: args.seed,
        fresh_ids: !args.keep_ids,
        ..DiffSettings::default()
    };
    let tally = run::run(&servers, &samples.requests, &ignore, &settings).map_err(failure)?;
    let result = DiffResult {
        capture: args.capture.display().to_string(),
        primary: args.primary.clone(),
        secondary: secondary.clone(),
        candidate: args.candidate.clone(),
        seed: args.seed,
        ignored: args.ignore.clone(),
        ..tally.result(args.alpha)
    };
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&result).map_err(Failure::usage)?;
        write_file(path, text.as_bytes())?;
    }
    if let Some(path) = &args.html {
        write_file(path, diff_page::page(&result).as_bytes())?;
    }
    if let Some(path) = &args.failing {
        write_failing(path, &samples, &result).map_err(Failure::usage)?;
    }
    show(&result, out).map_err(output)?;
    Ok(verdict(&result))
}

/// What a comparison comes to.
pub fn verdict(result: &DiffResult) -> Verdict {
    let validity = if result.invalid().is_some() { Verdict::Invalid } else { Verdict::Pass };
    validity.and(if result.is_different() { Verdict::Failed } else { Verdict::Pass })
}

pub(crate) fn output(error: io::Error) -> Failure {
    Failure::usage(error)
}

fn failure(error: DiffError) -> Failure {
    match error {
        DiffError::Unreachable(_) => Failure::unreachable(error),
        DiffError::NoRequests | DiffError::Panic => Failure::usage(error),
    }
}

/// The requests that are shown for what differs, once each.
fn write_failing(
    path: &Path,
    samples: &Samples,
    result: &DiffResult,
) -> Result<(), failing::Fault> {
    let different = result.paths.iter().filter(|path| path.is_different);
    let wanted: BTreeSet<u64> =
        different.flat_map(|path| &path.examples).map(|example| example.request).collect();
    let note = "requests that two builds answered otherwise";
    let header = Header { note: note.to_owned(), ..samples.header.clone() };
    let requests = samples.requests.iter().filter(|sample| wanted.contains(&sample.number));
    let records = requests.map(|sample| Record {
        partner: sample.partner.clone(),
        path: sample.asked.path.clone(),
        headers: sample.asked.headers.clone(),
        ..failing::of_body(sample.asked.body.clone())
    });
    failing::write_records(path, &header, records)
}

fn show(result: &DiffResult, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{} requests, {} looked at again; {} paths steady, {} differed; unanswered: primary {}, \
         secondary {}, candidate {}",
        result.requests,
        result.repeated,
        result.steady,
        result.paths.len(),
        result.unanswered[0],
        result.unanswered[1],
        result.unanswered[2]
    )?;
    writeln!(
        out,
        "a fault in {:.2} % of answers is found in nine of ten runs; chance of a false alarm {}",
        100.0 * result.detectable,
        result.alpha
    )?;
    if !result.paths.is_empty() {
        let head = ["n", "noisy", "cand.", "prim.", "sec.", "again", "p adj."];
        writeln!(
            out,
            "{:>8} {:>7} {:>7} {:>7} {:>7} {:>9} {:>10}  path",
            head[0], head[1], head[2], head[3], head[4], head[5], head[6]
        )?;
    }
    for path in &result.paths {
        show_path(path, out)?;
    }
    for rule in &result.noise_rules {
        match &rule.refused {
            None => writeln!(out, "noise: --ignore '{}' would hide nothing else", rule.rule)?,
            Some(why) => writeln!(out, "noise: {} is not proposed: {why}", rule.rule)?,
        }
    }
    if result.beyond > 0 {
        writeln!(out, "{} differences on further paths are only counted", result.beyond)?;
    }
    match result.invalid() {
        Some(why) => writeln!(out, "INVALID: {why}"),
        None if result.is_different() => writeln!(out, "DIFFERENT beyond the noise"),
        None => writeln!(out, "no difference beyond the noise"),
    }
}

fn show_path(path: &PathDiff, out: &mut dyn Write) -> io::Result<()> {
    let mark = if path.is_different { " <- differs" } else { "" };
    writeln!(
        out,
        "{:>8} {:>7} {:>7} {:>7} {:>7} {:>9} {:>10.2e}  {}{mark}",
        path.requests,
        path.noisy,
        path.candidate_alone,
        path.primary_alone,
        path.secondary_alone,
        format!("{}/{}", path.again_candidate, path.again_candidate + path.again_others),
        path.p_adjusted,
        path.path
    )?;
    if path.is_different {
        for example in &path.examples {
            writeln!(
                out,
                "         request {}: {} became {}",
                example.request,
                example.primary.escape_debug(),
                example.candidate.escape_debug()
            )?;
        }
    }
    Ok(())
}
