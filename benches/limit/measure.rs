//! One measurement of one server, and what a table makes of many.

use crate::world::{Contest, Server, World};
use crate::{Arguments, CALLED};
use replay::drive::plan::{Bounds, DriveSettings, Plan, RequestSet};
use replay::drive::report::{Report, at};
use replay::drive::schedule::Schedule;
use replay::drive::{self, live::Live};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What one server did in one stretch of time.
#[derive(Clone, Debug)]
pub struct Row {
    pub server: &'static str,
    pub per_second: f64,
    /// CPU time of the process for each five calls that reached the bidders.
    pub cpu_us: f64,
    pub p50: Duration,
    pub p99: Duration,
    answered: u64,
    faulty: u64,
    /// Calls for each answer; the bench means five.
    calls: f64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>7}  {:>7.0}/s  {:>6.1} CPU-µs an auction  p50 {:>8.2?}  p99 {:>8.2?}  {} answers, {} faults, {:.2} calls each",
            self.server,
            self.per_second,
            self.cpu_us,
            self.p50,
            self.p99,
            self.answered,
            self.faulty,
            self.calls
        )
    }
}

/// Measures one server once.
pub fn once(
    world: &World,
    server: &Server,
    requests: &Arc<RequestSet>,
    arguments: &Arguments,
) -> Result<Row, Box<dyn Error>> {
    let time = Duration::from_secs(arguments.seconds);
    let (calls, cpu) = (world.calls()?, cpu_time(server.id())?);
    let report = match arguments.open_loop {
        None => drive::saturate(&server.target, requests, arguments.connections, time)?,
        Some(rate) => at_rate(server, requests, rate, (arguments.connections, time))?,
    };
    let cpu = cpu_time(server.id())?.saturating_sub(cpu);
    let calls = world.calls()? - calls;
    let auctions = calls as f64 / CALLED as f64;
    Ok(Row {
        server: server.name,
        per_second: report.per_second(),
        cpu_us: cpu.as_secs_f64() * 1e6 / auctions,
        p50: at(&report.latency, 0.5),
        p99: at(&report.latency, 0.99),
        answered: report.answered,
        faulty: report.faulty(),
        calls: calls as f64 / report.answered.max(1) as f64,
    })
}

fn at_rate(
    server: &Server,
    requests: &Arc<RequestSet>,
    rate: u32,
    (connections, time): (u32, Duration),
) -> Result<Report, Box<dyn Error>> {
    let settings = DriveSettings { connections, is_unique: false, ..DriveSettings::default() };
    let plan = Plan {
        schedule: Schedule::Poisson { per_second: f64::from(rate), seed: 3 },
        bounds: Bounds { time_max: time, ..Bounds::default() },
        settings,
        ..Plan::of_set(server.target.clone(), Arc::clone(requests))
    };
    Ok(drive::run(&plan, &Live::new(settings.threads), &mut [])?.report)
}

/// CPU time of all threads of a process, by the scheduler's own account.
fn cpu_time(id: u32) -> std::io::Result<Duration> {
    let mut sum = 0u64;
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(sum))
}

/// Medians, and the ratios of the contest's pairs, round by round.
pub fn summary(rows: &[Row], contest: &Contest) {
    let of = |server: &str, read: fn(&Row) -> f64| -> Vec<f64> {
        rows.iter().filter(|row| row.server == server).map(read).collect()
    };
    println!("\n medians      auctions/s   CPU-µs an auction");
    for server in contest.names() {
        println!(
            "{server:>8} {:>14.0} {:>19.1}",
            median(of(server, |row| row.per_second)),
            median(of(server, |row| row.cpu_us))
        );
    }
    for (above, below) in contest.pairs {
        let (top, bottom) = (of(above, |row| row.cpu_us), of(below, |row| row.cpu_us));
        let ratios: Vec<f64> = top.iter().zip(&bottom).map(|(top, bottom)| top / bottom).collect();
        let (low, high) = ratios
            .iter()
            .fold((f64::MAX, 0.0f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
        println!(
            "{:>15}: {:.3} (median of pairs; {low:.3} to {high:.3})",
            format!("{above} / {below}"),
            median(ratios)
        );
    }
}

/// What is still answered when twice as much comes as gavel can serve.
pub fn overload(
    world: &World,
    requests: &Arc<RequestSet>,
    rows: &[Row],
    arguments: &Arguments,
) -> Result<(), Box<dyn Error>> {
    let server = &world.servers[0];
    let peak = rows
        .iter()
        .filter(|row| row.server == server.name)
        .map(|row| row.per_second)
        .fold(0.0, f64::max);
    let time = Duration::from_secs(arguments.seconds);
    for factor in [1.0, 2.0] {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate of requests, far below 2^32"
        )]
        let rate = (peak * factor) as u32;
        let report = at_rate(server, requests, rate, (arguments.connections, time))?;
        let good = report.status(200) + report.status(204);
        println!(
            "\noverload {factor}x: {rate}/s sent, {:.0}/s answered well ({:.0} % of the peak), {} refused, p99 {:?}, {} faults",
            good as f64 / report.took.as_secs_f64(),
            good as f64 / report.took.as_secs_f64() / peak * 100.0,
            report.status(503),
            at(&report.latency, 0.99),
            report.faulty()
        );
    }
    Ok(())
}

/// Latency with and without reloads, by turns, and what memory came to.
pub fn reloads(
    world: &World,
    requests: &Arc<RequestSet>,
    rate: u32,
    arguments: &Arguments,
) -> Result<(), Box<dyn Error>> {
    let time = Duration::from_secs(arguments.seconds);
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    let mut taken = Vec::new();
    world.prepare_cities()?;
    at_rate(&world.servers[0], requests, rate, (arguments.connections, time))?;
    let (_, before) = world.generation()?;
    for round in 0..arguments.rounds {
        for is_busy in [false, true] {
            let is_over = AtomicBool::new(false);
            let report = std::thread::scope(|scope| -> Result<Report, Box<dyn Error>> {
                let replacing = scope.spawn(|| replace_until(&is_over, is_busy, world));
                let report =
                    at_rate(&world.servers[0], requests, rate, (arguments.connections, time));
                is_over.store(true, Ordering::Relaxed);
                let replaced = replacing.join().map_err(|_| "the replacing thread ended")?;
                taken.extend(replaced?);
                report
            })?;
            let (p50, p99) = (at(&report.latency, 0.5), at(&report.latency, 0.99));
            let what = if is_busy { "reloads" } else { "in peace" };
            println!("{round} {what:>9}: p50 {p50:.2?}, p99 {p99:.2?}, {} faults", report.faulty());
            let list = if is_busy { &mut busy } else { &mut quiet };
            list.push(p99.as_secs_f64() * 1e3);
        }
    }
    let ratios: Vec<f64> = busy.iter().zip(&quiet).map(|(busy, quiet)| busy / quiet).collect();
    let (low, high) = ratios
        .iter()
        .fold((f64::MAX, 0.0f64), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
    let (_, after) = world.generation()?;
    taken.sort();
    let took = |part: usize| taken.get(taken.len() * part / 100).copied().unwrap_or_default();
    println!(
        "p99 {:.2} ms in peace, {:.2} ms under {} reloads: {:.3} (median of pairs; {low:.3} to {high:.3}); resident {before} MB, then {after} MB",
        median(quiet),
        median(busy),
        taken.len(),
        median(ratios)
    );
    println!("a reload took {:.2?}, p95 {:.2?}", took(50), took(95));
    Ok(())
}

/// How often gavel is asked for its generation, in both of what is compared: the asking costs.
const ASKED_EVERY: Duration = Duration::from_millis(50);

/// How long the last database may take.
const LAST_ONE_MAX: Duration = Duration::from_secs(60);

/// Replaces the database as soon as the one before is in force, if that is wanted; how long each
/// took. In peace it only asks as often.
fn replace_until(
    is_over: &AtomicBool,
    is_wanted: bool,
    world: &World,
) -> Result<Vec<Duration>, String> {
    let generation = || world.generation().map(|(one, _)| one).map_err(|fault| fault.to_string());
    let replace = || world.replace_city().map_err(|fault| fault.to_string());
    let mut taken = Vec::new();
    let (mut before, mut start) = (generation()?, gavel::clock::monotonic());
    if is_wanted {
        replace()?;
    }
    // the last one is waited for, so that none is taken in peace
    let mut left = LAST_ONE_MAX;
    while !is_over.load(Ordering::Relaxed) || (is_wanted && generation()? == before) {
        std::thread::sleep(ASKED_EVERY);
        if is_over.load(Ordering::Relaxed) {
            left = left.checked_sub(ASKED_EVERY).ok_or("the last database was never taken")?;
        }
        let now = generation()?;
        if !is_wanted || now == before {
            continue;
        }
        taken.push(start.elapsed());
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        (before, start) = (now, gavel::clock::monotonic());
        replace()?;
    }
    Ok(taken)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
