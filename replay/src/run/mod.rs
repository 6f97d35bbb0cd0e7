//! `gavel-replay run`: a recording, played against a target and judged.
//!
//! Owns: the order of the command: plan, run with its view, judgement, what is printed and written.
//! Never: a socket, a rule of judgement. Invariant: a run whose figures mean nothing ends with the
//! code that says so, whatever the figures are.

pub mod args;
pub(crate) mod failing;
pub mod summary;
pub mod view;

use crate::drive::DriveError;
use crate::drive::plan::Plan;
use crate::drive::schedule::Schedule;
use crate::feed::source::{Rounds, Source};
use crate::fingerprint::summary::Summary;
use crate::fingerprint::{Fingerprint, FingerprintSettings};
use crate::interrupt::Interrupt;
use crate::judge::JudgeArgs;
use crate::report::{ReportArgs, outputs};
use crate::result::RunResult;
use crate::verdict::{Failure, Verdict};
use args::{PaceArgs, PlayArgs};
use gavel::capture::read;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `run` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub play: PlayArgs,
    #[command(flatten)]
    pub pace: PaceArgs,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    pub report: ReportArgs,
    /// Write the requests whose answers broke an assertion as a capture, for `shrink`
    #[arg(long, requires = "assert")]
    pub failing: Option<PathBuf>,
}

/// Plays and judges.
pub fn run(args: &RunArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let interrupt = Interrupt::listen().map_err(Failure::usage)?;
    let outputs = args.report.paths().chain(args.failing.as_deref());
    outputs::check(outputs, &inputs(&args.play, &args.judge))?;
    raise_file_limit();
    take_small_pages();
    let (plan, said) = args.play.plan(&args.pace)?;
    let mut judge = args.judge.prepare(recorded(&plan, &args.judge)?)?;
    let print = |fault: std::io::Error| Failure::usage(fault);
    writeln!(out, "{} -> {}, {}", said.name, args.play.target, plan.schedule).map_err(print)?;
    let outcome = view::play(&plan, &mut [&mut judge], &interrupt, expected(&plan), out);
    let mut result = outcome.map_err(failure)?.into_result(&plan, said);
    let kept = judge.finish(&mut result);
    summary::write(&result, out).map_err(print)?;
    if let Some(peak) = memory_peak() {
        writeln!(out, "memory {:.1} MiB at most", peak as f64 / 1_048_576.0).map_err(print)?;
    }
    args.report.write(&result)?;
    if let Some(path) = &args.failing {
        let (number, shown) = (kept.len(), path.display());
        failing::write(path, &plan.source, kept).map_err(Failure::usage)?;
        writeln!(out, "{number} failing requests in {shown}").map_err(print)?;
    }
    let verdict = verdict(&result);
    writeln!(out, "verdict: {}", verdict.label()).map_err(print)?;
    Ok(verdict)
}

/// Files that a run reads.
pub fn inputs<'a>(play: &'a PlayArgs, judge: &'a JudgeArgs) -> Vec<&'a Path> {
    let all = [&play.capture, &judge.like, &judge.baseline];
    all.into_iter().flatten().map(PathBuf::as_path).collect()
}

/// The diversity that a run is held against, where it is held against any: that of the recording,
/// or, where several processes share the run, of the part of it that falls to this one. A part is
/// less diverse than the whole by being smaller; where no part loses any, neither does the whole.
pub fn recorded(plan: &Plan, judge: &JudgeArgs) -> Result<Option<Summary>, Failure> {
    match (&judge.like, &plan.source) {
        _ if !judge.gate => Ok(None),
        (Some(path), _) => fingerprint(plan, &Source::Capture(path.clone())).map(Some),
        (None, source @ Source::Capture(_)) => fingerprint(plan, source).map(Some),
        (None, _) => Ok(None),
    }
}

/// The most memory that this process has held so far, in bytes; none where the system does not say.
fn memory_peak() -> Option<u64> {
    // not `getrusage`: its figure is carried over `exec` from the process that started this one
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let row = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = row.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// A target that answered nothing and refused connections was not there.
pub fn verdict(result: &RunResult) -> Verdict {
    if result.whole.planned > 0 && result.whole.answered == 0 && result.whole.connect_faults > 0 {
        return Verdict::Unreachable;
    }
    result.verdict()
}

/// The code of a run that could not be made.
pub fn failure(fault: DriveError) -> Failure {
    match fault {
        DriveError::Unreachable(_) => Failure::unreachable(fault),
        DriveError::Thread(_) | DriveError::Poll(_) | DriveError::Panic => Failure::invalid(fault),
        DriveError::NoRequests
        | DriveError::Schedule(_)
        | DriveError::NoTimes
        | DriveError::Feed(_) => Failure::usage(fault),
    }
}

/// How long the plan takes, where that is known beforehand.
pub fn expected(plan: &Plan) -> Option<Duration> {
    let by_time = Some(plan.bounds.time_max).filter(|time| *time < Duration::MAX);
    let by_count = match plan.schedule.per_second() {
        Some(rate) if plan.bounds.requests_max < u64::MAX => {
            Some(crate::random::seconds(plan.bounds.requests_max as f64 / rate))
        }
        _ => None,
    };
    let by_stages = plan.schedule.arrivals().end();
    let by_recording = match (&plan.source, &plan.schedule) {
        (Source::Capture(path), Schedule::Recorded { speed }) if plan.bounds.rounds_max == 1 => {
            length(path).map(|length| crate::random::seconds(length.as_secs_f64() / speed))
        }
        _ => None,
    };
    [by_time, by_count, by_stages, by_recording].into_iter().flatten().min()
}

/// Roughly, from the times at which its blocks begin.
fn length(path: &Path) -> Option<Duration> {
    let index = read::open(path).ok()?.index().ok()?;
    let times = || index.blocks.iter().map(|block| block.first_us);
    Some(Duration::from_micros(times().max()?.saturating_sub(times().min()?)))
        .filter(|length| !length.is_zero())
}

/// How diverse this process's part of a recording is, in the order in which it is played. What
/// stands behind a damage is not played either.
fn fingerprint(plan: &Plan, source: &Source) -> Result<Summary, Failure> {
    let mut rounds = Rounds::open(source, false).map_err(Failure::usage)?;
    let mut fingerprint = Fingerprint::new(FingerprintSettings::default());
    let mut number = 0;
    while let Some(record) = rounds.next() {
        if plan.is_ours(&record, number) {
            fingerprint.observe(record.at, &record.partner, &record.path, &record.body);
        }
        number += 1;
    }
    Ok(fingerprint.summary())
}

/// Without pages of 2 MiB, each of which counts in whole as soon as one byte of it is used: they make
/// a run no faster, and a third larger. Where the kernel refuses, it is only larger.
fn take_small_pages() {
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// A run may hold more connections than a shell allows at first.
pub fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // without it the run has what it had, and counts the connections that it cannot open
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::gate::{GateLimits, gate};
    use crate::generate::{GenerateSettings, Generator};
    use clap::Parser;
    use std::sync::Arc;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    /// Every other request is one of few that come again and again.
    fn lopsided(path: &Path) {
        let generator = Generator::new(GenerateSettings::default());
        let bodies = (0..1_024).map(|number| {
            let mut body = Vec::new();
            let number = if number % 2 == 0 { number % 128 } else { number };
            generator.write(number, &mut body);
            body
        });
        let header = Source::Records(Arc::default()).header().unwrap();
        failing::write_records(path, &header, bodies.map(failing::of_body)).unwrap();
    }

    fn held_against(capture: &str, shard: &str) -> Summary {
        let line = ["run", capture, "--target", "http://127.0.0.1:9", "--gate", "--shard", shard];
        let args = Line::try_parse_from(line).unwrap().args;
        let (plan, _) = args.play.plan(&args.pace).unwrap();
        recorded(&plan, &args.judge).unwrap().unwrap()
    }

    #[test]
    fn a_shard_is_held_against_its_own_part_of_the_recording() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lopsided.capture");
        lopsided(&path);
        let path = path.to_str().unwrap();
        let whole = held_against(path, "0/1");
        let parts = ["0/2", "1/2"].map(|shard| held_against(path, shard));
        assert_eq!(parts.iter().map(|part| part.requests).sum::<u64>(), whole.requests);
        for part in &parts {
            // all that the part has, sent once
            let faults = gate(part, part, &GateLimits::default());
            assert!(faults.is_empty(), "{faults:?}");
        }
        let faults = gate(&whole, &parts[0], &GateLimits::default());
        assert!(!faults.is_empty(), "it alone is less than the whole");
    }
}
