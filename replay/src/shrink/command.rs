//! `gavel-replay shrink`.
//!
//! Owns: its arguments, the capture that comes out, what is printed. Never: the reduction.

use super::check::{Check, Failing, Held};
use super::{Budget, Shrunk, shrink};
use crate::ask::{AskError, AskSettings, Asked, Asker};
use crate::assertions::Assertion;
use crate::demo::parse_time;
use crate::diff::answer::Ignore;
use crate::drive::target::{Allow, Target};
use crate::feed::head::parse_headers;
use crate::report::outputs;
use crate::run::failing::{of_body, write_records};
use crate::sample::{self, Sample};
use crate::verdict::{Failure, Verdict};
use gavel::capture::{Header, Record};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// What `shrink` is asked.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("failing").required(true)))]
pub struct ShrinkArgs {
    /// The requests that fail together, such as `gavel-replay run --failing` writes
    pub capture: PathBuf,
    /// Where they fail, such as `http://127.0.0.1:8080`; a path in it wins over the recorded ones
    #[arg(long)]
    pub target: String,
    /// They fail where an answer breaks one of these rules: `all`, or names such as `floor,currency`
    #[arg(long, group = "failing")]
    pub assert: Option<String>,
    /// They fail where this server answers otherwise than the target, in a path in which that answers
    /// twice alike
    #[arg(long, group = "failing")]
    pub candidate: Option<String>,
    /// They fail where the target gives no answer
    #[arg(long, group = "failing")]
    pub unanswered: bool,
    /// What is not compared with a candidate: JSONPaths, or `header NAME`
    #[arg(long, requires = "candidate")]
    pub ignore: Vec<String>,
    /// A further header, `name: value`
    #[arg(long = "header")]
    pub headers: Vec<String>,
    /// The servers may be on other machines
    #[arg(long)]
    pub allow: bool,
    /// Send requests as recorded: without it each says that it is a test (`test` is 1)
    #[arg(long)]
    pub unmarked: bool,
    /// What fails, fails so many times in a row
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub tries: u32,
    /// How often may be tried whether something smaller still fails
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub checks: u64,
    /// Give an answer up after this time
    #[arg(long, default_value = "2s", value_parser = parse_time)]
    pub timeout: Duration,
    /// How long a target that is gone may take to be started again
    #[arg(long, default_value = "10s", value_parser = parse_time)]
    pub back: Duration,
    /// The capture with the smallest set that fails
    #[arg(long)]
    pub out: PathBuf,
}

/// Requests of a capture that are looked at: the first ones.
const REQUESTS_MAX: usize = 100_000;
/// Requests that are shown.
const SHOWN: usize = 5;

/// Reduces, writes and shows.
pub fn run(args: &ShrinkArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    outputs::check([args.out.as_path()], &[&args.capture])?;
    let mut check = args.check()?;
    let samples =
        sample::take(&args.capture, REQUESTS_MAX, 1, !args.unmarked).map_err(Failure::usage)?;
    let print = |fault: std::io::Error| Failure::usage(fault);
    if let Some(damage) = &samples.damage {
        writeln!(out, "the capture is used up to its damage: {damage}").map_err(print)?;
    }
    let set: Vec<Asked> = samples.requests.iter().map(|sample| sample.asked.clone()).collect();
    let Some(why) = check.failure(&set).map_err(unreachable)? else {
        writeln!(out, "{} requests, and they do not fail", set.len()).map_err(print)?;
        return Ok(Verdict::Invalid);
    };
    writeln!(out, "{} requests fail: {}", set.len(), why.escape_debug()).map_err(print)?;
    check.hold_to(Some(why));
    let mut is_failing = check.fails(&set).map_err(unreachable)?;
    if !is_failing {
        // a price that is drawn anew each time is another reason each time
        check.hold_to(None);
        is_failing = check.fails(&set).map_err(unreachable)?;
    }
    if !is_failing {
        writeln!(out, "but not {} times in a row: nothing can be told from less", check.tries)
            .map_err(print)?;
        return Ok(Verdict::Invalid);
    }
    let mut budget = Budget { left: args.checks, used: 0 };
    let fails = &mut |set: &[Asked]| check.fails(set);
    let shrunk = shrink(&set, &mut budget, !args.unmarked, fails).map_err(unreachable)?;
    write(args, &samples.header, &samples.requests, &shrunk)?;
    let why = check.failure(&shrunk.requests).map_err(unreachable)?;
    show(args, &shrunk, why.as_deref(), out).map_err(print)?;
    Ok(Verdict::Pass)
}

fn unreachable(error: AskError) -> Failure {
    Failure::unreachable(error)
}

impl ShrinkArgs {
    fn check(&self) -> Result<Check, Failure> {
        let allow = if self.allow { Allow::Any } else { Allow::Loopback };
        let headers = parse_headers(&self.headers).map_err(Failure::usage)?;
        let timeout_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let settings = AskSettings { timeout_ms, ..AskSettings::default() };
        let asker = |url: &str| {
            let target = Target::parse(url, allow).and_then(|it| it.with_headers(&headers, allow));
            target.map(|target| Asker::new(target, settings)).map_err(Failure::usage)
        };
        let failing = match (&self.assert, &self.candidate) {
            (Some(names), _) => {
                let rules = Assertion::parse_list(names).map_err(Failure::usage)?;
                Failing::Assertion { rules, reason: None }
            }
            (None, Some(url)) => Failing::Differs {
                candidate: Box::new(asker(url)?),
                ignore: Ignore::parse(&self.ignore).map_err(Failure::usage)?,
                path: Held::Next,
            },
            (None, None) => Failing::Unanswered,
        };
        Ok(Check { target: asker(&self.target)?, failing, tries: self.tries, back: self.back })
    }
}

fn write(
    args: &ShrinkArgs,
    header: &Header,
    samples: &[Sample],
    shrunk: &Shrunk,
) -> Result<(), Failure> {
    let note = "a failing set of requests, reduced; bodies may have lost members";
    let header = Header { note: note.to_owned(), ..header.clone() };
    let records = shrunk.requests.iter().zip(&shrunk.places).map(|(asked, place)| Record {
        partner: samples.get(*place).map(|sample| sample.partner.clone()).unwrap_or_default(),
        path: asked.path.clone(),
        headers: asked.headers.clone(),
        ..of_body(asked.body.clone())
    });
    write_records(&args.out, &header, records).map_err(Failure::usage)
}

fn show(
    args: &ShrinkArgs,
    shrunk: &Shrunk,
    why: Option<&str>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let bytes: usize = shrunk.requests.iter().map(|asked| asked.body.len()).sum();
    writeln!(
        out,
        "{} request(s) with {bytes} bytes are left after {} checks: {}",
        shrunk.requests.len(),
        shrunk.checks,
        if shrunk.is_minimal {
            "nothing less fails"
        } else {
            "NOT minimal, --checks allows no more"
        }
    )?;
    for (asked, place) in shrunk.requests.iter().zip(&shrunk.places).take(SHOWN) {
        let body = String::from_utf8_lossy(&asked.body);
        writeln!(out, "request {place} ({}): {}", asked.path, body.escape_debug())?;
    }
    match why {
        Some(why) => writeln!(out, "it fails: {}", why.escape_debug())?,
        None => writeln!(out, "NOTE: the last time it did not fail")?,
    }
    writeln!(out, "written to {}", args.out.display())
}
