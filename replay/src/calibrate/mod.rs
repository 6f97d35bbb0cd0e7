//! What this machine's generator can do, as somebody sees it who is not the generator.
//!
//! Owns: `calibrate`: its arguments, the runs at one rate after the other, what is made of the
//! receiver's times ([`Reading`]). Never: a judgement of a target. Invariant: the times are taken by
//! another process, on the clock that both share; what the generator says of itself stands beside
//! them and decides nothing.
//!
//! A request counts as clumped where it comes within a quarter of the planned gap after the one
//! before it: a timer that ticks too slowly sends several at once and then none. The receiver's own
//! wake-up and the way over the loopback are in the figures: they are upper bounds.

mod receiver;

use crate::demo::text::time;
use crate::drive::live::Live;
use crate::drive::plan::{Bounds, DriveSettings, Plan, RequestSet};
use crate::drive::report::{Report, at};
use crate::drive::schedule::Schedule;
use crate::drive::target::{Allow, Route, Target};
use crate::drive::{self, DriveError};
use crate::report::write_file;
use crate::verdict::{Failure, Verdict};
pub use receiver::Arrival;
use receiver::{ARRIVALS_MAX, Receiver};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// What `calibrate` is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct CalibrateArgs {
    /// Requests a second, one run each
    #[arg(long, value_delimiter = ',', default_value = "1000,2000,5000,10000,20000,40000")]
    pub rates: Vec<f64>,
    /// Length of each run
    #[arg(long, default_value = "3s", value_parser = crate::demo::parse_time)]
    pub time: Duration,
    /// Threads that send
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Connections kept alive
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub connections: u32,
    /// Wait busily so long before each planned moment, in microseconds
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub spin: u64,
    /// Bytes of a request's body
    #[arg(long, default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(16..=16_384))]
    pub body: u32,
    /// Let the receiver sleep between requests instead of keeping a core busy: for machines with one
    #[arg(long)]
    pub receiver_sleeps: bool,
    /// Median distance from the plan up to which a rate counts as kept, in microseconds
    #[arg(long, default_value_t = 50)]
    pub median_max: u64,
    /// Share of clumped requests up to which it does, in percent
    #[arg(long, default_value_t = 15.0)]
    pub clumped_max: f64,
    /// Write what was found as JSON
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Be the receiver
    #[arg(long, hide = true)]
    pub receive: bool,
}

/// Distinct bodies: each begins with its number, and the receiver tells which request came as long
/// as none is later than half of them.
const DISTINCT: u64 = 4_096;

/// Digits of that number.
const DIGITS: usize = 8;

/// What the receiver saw of one rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Planned requests a second, and how many in all.
    pub rate: f64,
    pub planned: u64,
    pub arrived: u64,
    /// Requests that came before their planned moment: there can be none.
    pub early: u64,
    /// From the planned moment to the arrival. Nanoseconds.
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
    /// Share of requests that came within a quarter of the planned gap after the one before.
    pub clumped: f64,
    /// What the generator says of itself. Nanoseconds.
    pub own_p50_ns: u64,
    pub own_p99_ns: u64,
}

impl Reading {
    /// From arrivals in any order; `start` and their times are on one clock, in nanoseconds.
    pub fn of(mut arrivals: Vec<Arrival>, start: u64, rate: f64) -> Self {
        arrivals.sort_unstable_by_key(|arrival| arrival.at);
        let mut off: Vec<u64> = Vec::with_capacity(arrivals.len());
        let mut early = 0;
        for (place, arrival) in (0_u64..).zip(&arrivals) {
            let number = number_near(place, arrival.number);
            // as the schedule rounds it: to the nanosecond
            let planned =
                start + crate::wire::poller::nanos(crate::random::seconds(number as f64 / rate));
            early += u64::from(arrival.at < planned);
            off.push(arrival.at.saturating_sub(planned));
        }
        off.sort_unstable();
        let quantile = |percent: usize| {
            let index = off.len().saturating_sub(1) * percent / 100;
            off.get(index).copied().unwrap_or(0)
        };
        let near = 1e9 / rate / 4.0;
        let is_near = |pair: &&[Arrival]| match pair {
            [one, next] => ((next.at - one.at) as f64) < near,
            _ => false,
        };
        let clumped = arrivals.windows(2).filter(is_near).count();
        Self {
            rate,
            planned: 0,
            arrived: arrivals.len() as u64,
            early,
            p50_ns: quantile(50),
            p90_ns: quantile(90),
            p99_ns: quantile(99),
            max_ns: off.last().copied().unwrap_or(0),
            clumped: clumped as f64 / arrivals.len().saturating_sub(1).max(1) as f64,
            own_p50_ns: 0,
            own_p99_ns: 0,
        }
    }

    fn with_own(self, report: &Report) -> Self {
        let own = |part| crate::wire::poller::nanos(at(&report.lateness, part));
        Self { planned: report.planned, own_p50_ns: own(0.5), own_p99_ns: own(0.99), ..self }
    }

    /// Whether the rate was kept.
    pub fn is_kept(&self, median_ns_max: u64, clumped_max: f64) -> bool {
        self.planned > 0
            && self.arrived == self.planned
            && self.early == 0
            && self.p50_ns <= median_ns_max
            && self.clumped <= clumped_max
    }
}

/// The number nearest to `place` that leaves `rest`.
fn number_near(place: u64, rest: u64) -> u64 {
    let ahead = (rest + DISTINCT - place % DISTINCT) % DISTINCT;
    if ahead <= DISTINCT / 2 || place + ahead < DISTINCT {
        place + ahead
    } else {
        place + ahead - DISTINCT
    }
}

/// Measures, shows and judges; `program`: this program, which is also the receiver.
pub fn run(
    args: &CalibrateArgs,
    program: Command,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    if args.receive {
        receiver::serve(!args.receiver_sleeps, args.body).map_err(Failure::invalid)?;
        return Ok(Verdict::Pass);
    }
    check(args)?;
    let mut receiver =
        Receiver::start(program, args.body, args.receiver_sleeps).map_err(Failure::invalid)?;
    let print = |fault: std::io::Error| Failure::usage(fault);
    writeln!(
        out,
        "{} connections, {} thread(s), bodies of {} bytes; the receiver is a process of its own{}\n\
         at the receiver, from the planned moment:\n{:>8} {:>9} {:>10} {:>10} {:>10} {:>10} {:>8} \
         {:>24}",
        args.connections,
        args.threads,
        args.body,
        if args.receiver_sleeps { "" } else { " and keeps a core busy" },
        "rate",
        "arrived",
        "p50",
        "p90",
        "p99",
        "max",
        "clumped",
        "the generator says"
    )
    .map_err(print)?;
    let median_max = args.median_max.saturating_mul(1_000);
    let clumped_max = args.clumped_max / 100.0;
    let mut readings = Vec::new();
    for rate in &args.rates {
        let reading = measure(args, *rate, &mut receiver)?;
        let is_kept = reading.is_kept(median_max, clumped_max);
        writeln!(out, "{}{}", line(&reading), if is_kept { "" } else { "   not kept" })
            .map_err(print)?;
        out.flush().map_err(print)?;
        readings.push(reading);
    }
    if let Some(path) = &args.out {
        let text = serde_json::to_string_pretty(&readings).map_err(Failure::usage)?;
        write_file(path, text.as_bytes())?;
    }
    let kept = readings.iter().filter(|reading| reading.is_kept(median_max, clumped_max));
    let best = kept.map(|reading| reading.rate).max_by(f64::total_cmp);
    writeln!(
        out,
        "{}",
        match best {
            Some(rate) => format!(
                "kept up to {rate} a second: median within {} µs of the plan, at most {} % clumped",
                args.median_max, args.clumped_max
            ),
            None => "no rate was kept: what this machine sends now is not what is planned".into(),
        }
    )
    .map_err(print)?;
    Ok(if best.is_some() { Verdict::Pass } else { Verdict::Invalid })
}

fn check(args: &CalibrateArgs) -> Result<(), Failure> {
    for rate in &args.rates {
        let requests = rate * args.time.as_secs_f64();
        let is_rate = *rate > 0.0 && requests >= 2.0 && requests <= ARRIVALS_MAX as f64;
        if !is_rate {
            return Err(Failure::usage(format!(
                "{rate} a second over {:?}: from 2 to {ARRIVALS_MAX} requests are measured",
                args.time
            )));
        }
    }
    Ok(())
}

fn measure(args: &CalibrateArgs, rate: f64, receiver: &mut Receiver) -> Result<Reading, Failure> {
    let body = usize::try_from(args.body).unwrap_or(DIGITS).max(DIGITS);
    let bodies = (0..DISTINCT).map(|number| format!("{number:0DIGITS$}{:.<1$}", "", body - DIGITS));
    let requests: Arc<RequestSet> = Arc::new(bodies.collect());
    let route = Route { path: "/calibrate".to_owned(), headers: Vec::new() };
    let target = Target::at(receiver.address(), vec![route], Allow::Loopback);
    let plan = Plan {
        schedule: Schedule::Constant { per_second: rate },
        bounds: Bounds { time_max: args.time, ..Bounds::default() },
        settings: DriveSettings {
            threads: args.threads,
            connections: args.connections,
            connections_max: args.connections.max(512),
            spin_us: args.spin,
            is_unique: false,
            ..DriveSettings::default()
        },
        ..Plan::of_set(target.map_err(Failure::usage)?, requests)
    };
    let fault = |fault: DriveError| crate::run::failure(fault);
    let outcome = drive::run(&plan, &Live::new(args.threads), &mut []).map_err(fault)?;
    let arrivals = receiver.take().map_err(Failure::invalid)?;
    Ok(Reading::of(arrivals, outcome.start, rate).with_own(&outcome.report))
}

fn line(reading: &Reading) -> String {
    let ns = |ns| time(Duration::from_nanos(ns));
    format!(
        "{:>8} {:>9} {:>10} {:>10} {:>10} {:>10} {:>7.1}% {:>24}",
        reading.rate,
        format!("{:.1}%", 100.0 * reading.arrived as f64 / reading.planned.max(1) as f64),
        ns(reading.p50_ns),
        ns(reading.p90_ns),
        ns(reading.p99_ns),
        ns(reading.max_ns),
        100.0 * reading.clumped,
        format!("p50 {} p99 {}", ns(reading.own_p50_ns), ns(reading.own_p99_ns)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(count: u64, at: impl Fn(u64) -> u64) -> Vec<Arrival> {
        (0..count).map(|n| Arrival { number: n % DISTINCT, at: at(n) }).collect()
    }

    #[test]
    fn what_comes_as_planned_is_neither_late_nor_clumped() {
        let reading = Reading::of(arrivals(20_000, |n| 7 + n * 200_000 + 9_000), 7, 5_000.0);
        assert_eq!((reading.p50_ns, reading.max_ns, reading.early), (9_000, 9_000, 0));
        assert!(reading.clumped.abs() < 1e-9 && reading.arrived == 20_000);
    }

    #[test]
    fn a_timer_that_ticks_too_slowly_is_late_and_clumps() {
        // five at each millisecond, 1 µs apart
        let tick = |n: u64| n / 5 * 1_000_000 + 1_000_000 + n % 5 * 1_000;
        let reading = Reading::of(arrivals(5_000, tick), 0, 5_000.0);
        assert!((0.79..0.81).contains(&reading.clumped), "{reading:?}");
        assert!(reading.p50_ns > 500_000, "{reading:?}");
        assert!(!Reading { planned: 5_000, ..reading }.is_kept(50_000, 0.15));
    }

    #[test]
    fn requests_that_overtake_each_other_are_told_by_their_numbers() {
        let swap = |n: u64| (n ^ 1) * 200_000 + 400_000;
        let reading = Reading::of(arrivals(9_000, swap), 0, 5_000.0);
        assert_eq!((reading.early, reading.max_ns), (0, 600_000), "{reading:?}");
        for place in [0, 1, 4_095, 4_096, 10_000, 1 << 40] {
            for away in 0..100 {
                let number = place + away;
                assert_eq!(number_near(place, number % DISTINCT), number);
                let number = place.saturating_sub(away);
                assert_eq!(number_near(place, number % DISTINCT), number);
            }
        }
    }

    #[test]
    fn a_rate_that_lost_a_request_or_was_early_is_not_kept() {
        let good = Reading { planned: 10, arrived: 10, p50_ns: 1, ..Reading::default() };
        assert!(good.is_kept(20_000, 0.15));
        assert!(!Reading { arrived: 9, ..good.clone() }.is_kept(20_000, 0.15));
        assert!(!Reading { early: 1, ..good.clone() }.is_kept(20_000, 0.15));
        assert!(!Reading { clumped: 0.2, ..good.clone() }.is_kept(20_000, 0.15));
        assert!(!Reading { planned: 0, arrived: 0, ..good }.is_kept(20_000, 0.15));
    }
}
