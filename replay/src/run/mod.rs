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
use crate::feed::source::Source;
use crate::fingerprint::summary::Summary;
use crate::fingerprint::{Fingerprint, FingerprintSettings};
use crate::interrupt::Interrupt;
use crate::judge::JudgeArgs;
use crate::report::ReportArgs;
use crate::result::RunResult;
use crate::verdict::{Failure, Verdict};
use args::{PaceArgs, PlayArgs};
use gavel::capture::Record;
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
    raise_file_limit();
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

/// The diversity that a run is held against, where it is held against any.
pub fn recorded(plan: &Plan, judge: &JudgeArgs) -> Result<Option<Summary>, Failure> {
    match (&judge.like, &plan.source) {
        _ if !judge.gate => Ok(None),
        (Some(path), _) | (None, Source::Capture(path)) => fingerprint(path).map(Some),
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

/// How diverse a recording is. What stands behind a damage is not played either.
fn fingerprint(path: &Path) -> Result<Summary, Failure> {
    let mut reader = read::open(path).map_err(Failure::usage)?;
    let mut fingerprint = Fingerprint::new(FingerprintSettings::default());
    let mut record = Record::default();
    while let Ok(true) = reader.next(&mut record) {
        fingerprint.observe(record.at, &record.partner, &record.path, &record.body);
    }
    Ok(fingerprint.summary())
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
