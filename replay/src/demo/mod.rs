//! `cargo demo`: the exchange, five simulated bidders and a load, in one command.
//!
//! Owns: the order of the show. Exchange and bidders run in processes of their own, started from
//! this same program; whatever happens to this process, they end with it. The pieces (driver,
//! judgement of diversity, generator, simulated bidders) are those of the replay harness.

pub mod exchange;
pub mod files;
mod outcome;
pub mod scrape;
pub mod text;

use crate::drive::plan::{Bounds, DriveSettings, Plan, RequestSet};
use crate::drive::report::Report;
use crate::drive::schedule::Schedule;
use crate::drive::target::{Allow, Route, Target};
use crate::fingerprint::{Fingerprint, FingerprintSettings};
use crate::generate::{GenerateSettings, Generator};
use crate::interrupt::Interrupt;
use crate::judge::{JudgeArgs, Judged};
use crate::random::seconds;
use crate::result::SourceOf;
use crate::run::view;
use crate::stub::process::{self, Process};
use crate::stub::spec::StubSpec;
use exchange::Exchange;
use files::Files;
use outcome::{DISTINCT_MIN, Outcome};
use scrape::Scrape;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use text::time;

/// Path and key of the demo's partner, as in `configs/demo/partners.toml`.
const PATH: &str = "/openrtb2/demo";
const KEY: (&str, &str) = ("x-gavel-key", "demo-key");

/// Most distinct requests that are kept in memory; a longer run plays them again.
const DISTINCT_MAX: u64 = 50_000;

/// The driver of a demo shares the machine with all that it drives: late by more than this at the
/// 99th percentile, and it was not the load that was asked for.
const LATENESS_US_MAX: u64 = 10_000;

/// Between two looks at the children.
const LOOK: Duration = Duration::from_millis(250);

/// How long counts may take to come to rest after the last answer: late answers are still read.
const REST: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Requests a second
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// How long, such as 10s or 2m
    #[arg(long = "for", default_value = "10s", value_parser = parse_time)]
    pub time: Duration,
    /// End after the run; the exit code is 0 only if all was well
    #[arg(long)]
    pub exit: bool,
    /// Everything that is drawn follows from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// A time such as `500ms`, `10s`, `2m` or `24h`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err("must end in ms, s, m or h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "must be a number with a unit".to_owned())?;
    let time = seconds(number * factor);
    let is_good = time > Duration::ZERO && time <= Duration::from_secs(86_400);
    is_good.then_some(time).ok_or_else(|| "must be above 0 and at most a day (24h)".to_owned())
}

/// Runs the demo; `Ok(false)`: it ran, and not all was well.
pub fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<bool, Box<dyn Error>> {
    let interrupt = Interrupt::listen()?;
    let spec: StubSpec = toml::from_str(files::STUB)?;
    let stubs = start_stubs(&spec)?;
    let names = spec.bidders.iter().map(|bidder| bidder.name.as_str());
    let bidders: Vec<_> = names.zip(stubs.addresses().iter().copied()).collect();
    let files = Files::write(&bidders)?;
    let mut exchange = Exchange::start(&std::env::current_exe()?, &files.main(), &files.log())?;
    let ready = exchange.wait_ready()?;
    writeln!(out, "\n  gavel     http://{}{PATH}, ready in {}", exchange.public, time(ready))?;
    writeln!(out, "            http://{}/metrics", exchange.operations)?;
    let listed: Vec<String> =
        bidders.iter().map(|(name, address)| format!("{name} :{}", address.port())).collect();
    writeln!(out, "  bidders   {} (simulated)\n", listed.join(", "))?;

    let (plan, requests) = plan(args, &exchange)?;
    let (report, judged) = play(&plan, &requests, &interrupt, out)?;
    exchange.check()?;
    let (metrics, seen) = settle(&exchange, &stubs)?;
    let outcome = Outcome {
        report: &report,
        judged: &judged,
        metrics: &metrics,
        bidders: &seen,
        distinct: requests.len(),
        per_second: args.rate,
        lateness_us_max: plan.settings.lateness_us_max,
    };
    writeln!(out, "{}", outcome.text())?;
    let is_well = write_checks(&outcome, out)?;
    if !args.exit && !interrupt.is_asked() {
        stay(&requests, &files, &mut exchange, &interrupt, out)?;
    }
    Ok(is_well)
}

fn start_stubs(spec: &StubSpec) -> Result<Process, Box<dyn Error>> {
    let mut spec = spec.clone();
    for bidder in &mut spec.bidders {
        bidder.port = 0;
    }
    let mut command = Command::new(std::env::current_exe()?);
    // a Ctrl-C is for this process, which ends its children in order
    command.args(["stub", "--child"]).process_group(0);
    Ok(process::spawn(command, &spec)?)
}

fn plan(args: &DemoArgs, exchange: &Exchange) -> Result<(Plan, Arc<RequestSet>), Box<dyn Error>> {
    let planned = seconds(args.rate * args.time.as_secs_f64()).as_secs();
    let generator = Generator::new(GenerateSettings { seed: args.seed, broken: 0.0 });
    let requests = Arc::new(generator.set(planned.clamp(DISTINCT_MIN as u64, DISTINCT_MAX)));
    let (name, value) = KEY;
    let route = Route { path: PATH.to_owned(), headers: vec![(name.to_owned(), value.to_owned())] };
    let target = Target::at(exchange.public, vec![route], Allow::Loopback)?;
    let plan = Plan {
        schedule: Schedule::Constant { per_second: args.rate },
        bounds: Bounds { time_max: args.time, ..Bounds::default() },
        settings: DriveSettings {
            connections: 32,
            lateness_us_max: LATENESS_US_MAX,
            timeout_ms: 5_000,
            drain_ms_max: 5_000,
            ..DriveSettings::default()
        },
        ..Plan::of_set(target, Arc::clone(&requests))
    };
    Ok((plan, requests))
}

/// Plays the plan with the view of a run; what was sent is held against what was planned.
fn play(
    plan: &Plan,
    requests: &RequestSet,
    interrupt: &Interrupt,
    out: &mut dyn Write,
) -> Result<(Report, Judged), Box<dyn Error>> {
    let mut planned = Fingerprint::new(FingerprintSettings::default());
    for (number, body) in (0_u32..).zip(requests.iter()) {
        planned.observe(Duration::from_millis(number.into()), "demo", PATH, body);
    }
    let asked = JudgeArgs { gate: true, ..JudgeArgs::default() };
    let mut judge = asked.prepare(Some(planned.summary()))?;
    let time = Some(plan.bounds.time_max);
    let outcome = view::play(plan, &mut [&mut judge], interrupt, time, out)?;
    let report = outcome.report.clone();
    let mut result = outcome.into_result(plan, SourceOf::default());
    judge.finish(&mut result);
    Ok((report, result.judged))
}

/// Reads the counts of exchange and bidders once they no longer move.
fn settle(
    exchange: &Exchange,
    stubs: &Process,
) -> Result<(Scrape, Vec<crate::stub::stats::BidderStats>), Box<dyn Error>> {
    const COUNTS: [&str; 3] =
        ["gavel_requests_total", "gavel_bidder_calls_total", "gavel_bids_received_total"];
    let start = gavel::clock::monotonic();
    let mut before = None;
    loop {
        let (metrics, seen) = (Scrape::parse(&exchange.metrics()?), stubs.stats()?);
        let counts = COUNTS.map(|name| metrics.count(name, &[]));
        let now = Some((counts, seen.clone()));
        if now == before || start.elapsed() > REST {
            return Ok((metrics, seen));
        }
        before = now;
        std::thread::sleep(LOOK);
    }
}

fn write_checks(outcome: &Outcome, out: &mut dyn Write) -> std::io::Result<bool> {
    let checks = outcome.checks();
    for check in &checks {
        writeln!(out, "  {} {}", if check.is_good { "✓" } else { "✗" }, check.text)?;
    }
    let is_well = checks.iter().all(|check| check.is_good);
    writeln!(out, "\n  {}", if is_well { "all was well" } else { "NOT all was well" })?;
    Ok(is_well)
}

/// Leaves everything running until Ctrl-C.
fn stay(
    requests: &RequestSet,
    files: &Files,
    exchange: &mut Exchange,
    interrupt: &Interrupt,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let example = files.folder().join("request.json");
    fs::write(&example, explained(requests)?)?;
    let (name, value) = KEY;
    writeln!(
        out,
        "\n  everything is still running; ask it yourself (test=1 explains each bid):\n"
    )?;
    writeln!(
        out,
        "  curl -s -H '{name}: {value}' -H 'content-type: application/json' \\\n    \
         --data @{} http://{}{PATH}\n",
        example.display(),
        exchange.public
    )?;
    writeln!(out, "  Ctrl-C ends it")?;
    out.flush()?;
    while !interrupt.is_asked() {
        exchange.check()?;
        std::thread::sleep(LOOK);
    }
    writeln!(out)?;
    Ok(())
}

/// The first request as a test that asks for an explanation.
fn explained(requests: &RequestSet) -> Result<String, serde_json::Error> {
    let mut request: serde_json::Value = serde_json::from_slice(requests.body(0))?;
    if let Some(request) = request.as_object_mut() {
        request.insert("test".to_owned(), 1.into());
    }
    serde_json::to_string_pretty(&request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_units() {
        for (text, expected) in [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("1.5s", Some(1_500)),
            ("3", Some(3_000)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("0s", None),
            ("24h", Some(86_400_000)),
            ("25h", None),
            ("2d", None),
            ("1e9m", None),
        ] {
            assert_eq!(parse_time(text).ok(), expected.map(Duration::from_millis), "{text:?}");
        }
    }
}
