//! The smaller commands: `drive`, `generate`, `stub`.
//!
//! Owns: their arguments and how they show what came of it. Never: what they do; that is in the
//! modules of the same names.

use crate::demo::parse_time;
use crate::drive::live::Live;
use crate::drive::plan::{Bounds, DriveSettings, Plan};
use crate::drive::report::{Report, Validity, at};
use crate::drive::schedule::Schedule;
use crate::drive::target::{Allow, Target};
use crate::generate::{GenerateSettings, Generator};
use crate::stub::spec::{BidderSpec, StubSpec};
use nix::sys::signal::{SigSet, Signal};
use std::error::Error;
use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What `drive` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct DriveArgs {
    /// Where to, such as `http://127.0.0.1:8080/openrtb2/demo`
    pub url: String,
    /// Requests a second; without it: as many as the connections carry
    #[arg(long)]
    pub rate: Option<f64>,
    /// Gaps of independent senders instead of even ones
    #[arg(long, requires = "rate")]
    pub poisson: bool,
    /// How long, such as 10s or 2m
    #[arg(long = "for", default_value = "10s", value_parser = parse_time)]
    pub time: Duration,
    /// Distinct synthetic requests
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub distinct: u64,
    /// Share of requests that are broken on purpose
    #[arg(long, default_value_t = 0.0)]
    pub broken: f64,
    /// Connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub connections: u32,
    /// Threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// A further header, `name: value`
    #[arg(long = "header")]
    pub headers: Vec<String>,
    /// Everything that is drawn follows from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The target may be another machine
    #[arg(long)]
    pub allow: bool,
}

/// What `generate` is asked.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct GenerateArgs {
    /// How many
    #[arg(long, default_value_t = 1_000)]
    pub count: u64,
    /// Everything that is drawn follows from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Share of requests that are broken on purpose
    #[arg(long, default_value_t = 0.0)]
    pub broken: f64,
}

/// What `stub` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct StubArgs {
    /// The bidders as TOML, such as `configs/demo/stub.toml`; without it: `--bidders` equal ones
    #[arg(long)]
    pub spec: Option<PathBuf>,
    /// A capture that has the exchanges with bidders: they answer as they did there (ids of the
    /// request at hand in place of the recorded ones; the recorded delays, statuses and faults).
    /// With `--spec` the bidders of that file that are in the capture do, by their names
    #[arg(long)]
    pub recorded: Option<PathBuf>,
    /// How many, on free ports
    #[arg(long, default_value_t = 5, conflicts_with = "recorded")]
    pub bidders: u32,
    /// Everything that is drawn follows from it; without it: the specification's
    #[arg(long)]
    pub seed: Option<u64>,
    /// Median time to an answer, in milliseconds
    #[arg(long, default_value_t = 0.0)]
    pub latency_ms: f64,
    /// Take the specification from standard input, and end with it
    #[arg(long, hide = true)]
    pub child: bool,
}

/// Sends load; `false`: the run is not valid, or requests were lost.
pub fn drive(args: &DriveArgs, out: &mut dyn Write) -> Result<bool, Box<dyn Error>> {
    let allow = if args.allow { Allow::Any } else { Allow::Loopback };
    let headers: Vec<(String, String)> = args
        .headers
        .iter()
        .map(|line| line.split_once(':').ok_or("a header is `name: value`"))
        .map(|pair| pair.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())))
        .collect::<Result<_, _>>()?;
    let target = Target::parse(&args.url, allow)?.with_headers(&headers, allow)?;
    let generator = Generator::new(GenerateSettings { seed: args.seed, broken: args.broken });
    let schedule = match args.rate {
        None => Schedule::Saturate,
        Some(per_second) if args.poisson => Schedule::Poisson { per_second, seed: args.seed },
        Some(per_second) => Schedule::Constant { per_second },
    };
    let plan = Plan {
        target,
        requests: Arc::new(generator.set(args.distinct)),
        schedule,
        bounds: Bounds { requests_max: u64::MAX, time_max: args.time },
        settings: DriveSettings {
            threads: args.threads,
            connections: args.connections,
            connections_max: args.connections.max(DriveSettings::default().connections_max),
            ..DriveSettings::default()
        },
    };
    let report = crate::drive::run(&plan, &Live::new(args.threads))?;
    show(&report, out)?;
    let validity = report.validity(plan.settings.lateness_us_max);
    if validity != Validity::Valid {
        writeln!(out, "NOT valid: {validity:?}")?;
    }
    Ok(validity == Validity::Valid && report.faulty() + report.unsent + report.unfinished == 0)
}

fn show(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "sent {} in {:.2?} ({:.0}/s), answered {}, statuses {:?}, faults {}, shed {}, unsent {}, \
         unfinished {}",
        report.sent,
        report.took,
        report.sent_per_second(),
        report.answered,
        report.statuses,
        report.faulty(),
        report.shed,
        report.unsent,
        report.unfinished
    )?;
    for (name, histogram) in
        [("latency", &report.latency), ("service", &report.service), ("lateness", &report.lateness)]
    {
        let at = |quantile| at(histogram, quantile);
        writeln!(
            out,
            "{name:<9} p50 {:.1?}  p90 {:.1?}  p99 {:.1?}  p99.9 {:.1?}  max {:.1?}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0)
        )?;
    }
    Ok(())
}

/// Writes requests, one a line.
pub fn generate(args: &GenerateArgs, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let generator = Generator::new(GenerateSettings { seed: args.seed, broken: args.broken });
    let mut line = Vec::new();
    let mut out = std::io::BufWriter::new(out);
    for number in 0..args.count {
        line.clear();
        generator.write(number, &mut line);
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(out.flush()?)
}

/// Runs bidders until somebody at a terminal ends them, or SIGTERM or SIGINT: in the background
/// standard input is often empty, which says nothing.
pub fn stub(args: &StubArgs, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let is_at_terminal = std::io::stdin().is_terminal();
    let mut signals = SigSet::empty();
    if !is_at_terminal {
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        // before any other thread is there, so that none is ended by them
        signals.thread_block()?;
    }
    let spec = stub_spec(args)?;
    let handle = crate::stub::spawn(spec)?;
    for (name, address) in handle.names().zip(handle.addresses()) {
        writeln!(out, "{name} http://{address}/bid")?;
    }
    if args.recorded.is_some() {
        let taken = handle.taken();
        writeln!(
            out,
            "{} recorded answers; left out: {} of which only the status is known, {} beyond the memory \
             allowed",
            taken.answers, taken.unknown, taken.beyond
        )?;
        if let Some(damage) = &taken.damage {
            writeln!(out, "the rest of the capture is not used: {damage}")?;
        }
    }
    let how = if is_at_terminal { "Ctrl-D or Ctrl-C" } else { "SIGTERM or SIGINT" };
    writeln!(out, "end with {how}")?;
    out.flush()?;
    if is_at_terminal {
        std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    } else {
        signals.wait()?;
    }
    Ok(())
}

fn stub_spec(args: &StubArgs) -> Result<StubSpec, Box<dyn Error>> {
    let mut spec: StubSpec = if let Some(path) = &args.spec {
        toml::from_str(&fs::read_to_string(path)?)?
    } else if args.recorded.is_some() {
        StubSpec::default()
    } else {
        let one = BidderSpec { latency_ms: args.latency_ms, ..BidderSpec::default() };
        StubSpec::uniform(args.bidders, &one)
    };
    if args.recorded.is_some() {
        spec.recorded.clone_from(&args.recorded);
    }
    spec.seed = args.seed.unwrap_or(spec.seed);
    Ok(spec)
}
