//! What an auction costs, in CPU time of the serving process, against two yardsticks.
//!
//! One run alternates between three servers over the same simulated bidders (a process of their
//! own) and the same distinct requests:
//!
//! - `gavel`: the exchange with everything on;
//! - `null`: hyper's server and gavel's own client, forwarding the body to five bidders unread and
//!   answering with one of the bodies: what the machinery costs without an exchange in it;
//! - `legacy`: a fan-out of stock parts (work-stealing runtime, hyper-util's pooled client).
//!
//! `cargo bench --bench limit -- [--seconds N] [--rounds N] [--requests N] [--connections N]
//! [--city FILE] [--gavel FILE [--before FILE]] [--open-loop RATE] [--capture | --telemetry | --reload RATE]`. Absolute figures
//! drift with the machine; the ratios of one run do not. `--gavel` measures a binary as it is shipped, such as
//! the one that `.ci/dist` makes, beside the yardsticks as they are compiled here; with `--before` beside
//! another binary instead, by turns: what a change saves.
//!
//! With `--capture` the servers are four of gavel's instead: recording off, at its default sample,
//! of every request, and of every request with all that bidders were sent and said. What recording
//! costs counts as a whole, its writing thread too; what was dropped is shown, since a drop is cheap.
//!
//! With `--reload RATE` it is gavel alone, by turns left in peace and given another City database as
//! soon as it has taken the one before: what that does to the latency of answers, and to memory. The
//! files lie ready, so that their writing counts for nothing.
//!
//! With `--telemetry` they are three: without times of stages, log lines of requests and a
//! collector; with all of that as it comes, sent each second; and with the stages of every request
//! and a trace of one in a hundred.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench prints, and one that panics has failed"
)]

mod legacy;
mod measure;
mod null;
mod world;

use clap::Parser;
use measure::Row;
use replay::generate::{GenerateSettings, Generator};
use replay::stub;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use world::World;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bidders that are called for each request.
pub const CALLED: usize = 5;

#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often each server is measured, in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Distinct requests.
    #[arg(long, default_value_t = 20_000)]
    requests: u64,
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// A City database to measure with; else one of 60 MB is generated.
    #[arg(long)]
    city: Option<PathBuf>,
    /// Send at this rate instead of saturating, with bidders that take 20 ms.
    #[arg(long)]
    open_loop: Option<u32>,
    /// Twice what gavel was seen to serve: shows the goodput under overload.
    #[arg(long)]
    overload: bool,
    /// Compare gavel with recording off, sampled and in full instead.
    #[arg(long, conflicts_with = "overload")]
    capture: bool,
    /// Compare gavel with itself at this rate (bidders take 20 ms), while its City database is
    /// replaced by the same again and again, and while it is not.
    #[arg(long, conflicts_with_all = ["overload", "capture", "telemetry"])]
    reload: Option<u32>,
    /// Compare gavel with telemetry off, as it comes, and with ten times the traces instead.
    #[arg(long, conflicts_with_all = ["overload", "capture"])]
    telemetry: bool,
    /// Measure this `gavel` instead of the one that is compiled in here: the binary that is shipped.
    #[arg(long)]
    gavel: Option<PathBuf>,
    /// Compare it with this one instead of the yardsticks.
    #[arg(long, requires = "gavel", conflicts_with_all = ["capture", "telemetry", "reload", "overload"])]
    before: Option<PathBuf>,
    /// Run once, shortly: that it works, not what it costs.
    #[arg(long)]
    test: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
    /// Which part a child process plays.
    #[arg(long, hide = true)]
    part: Option<String>,
    #[arg(long, hide = true)]
    listen: Option<SocketAddr>,
    #[arg(long, hide = true)]
    config: Option<PathBuf>,
    #[arg(long, hide = true)]
    operations: Option<SocketAddr>,
    #[arg(long, hide = true, value_delimiter = ',')]
    bidders: Vec<SocketAddr>,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    if let Some(part) = &arguments.part {
        return play(part, &arguments);
    }
    if arguments.test {
        arguments = Arguments { seconds: 1, rounds: 1, requests: 500, ..arguments };
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("limit: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// A child's part; it ends with its parent.
fn play(part: &str, arguments: &Arguments) -> ExitCode {
    if part == "stub" {
        return stub::process::serve();
    }
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        // Nothing here is worth an orderly end.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    });
    let listen = arguments.listen.unwrap();
    let bidders = &arguments.bidders;
    match part {
        "gavel" => {
            world::serve(arguments.config.clone().unwrap(), listen, arguments.operations.unwrap());
        }
        "null" => null::serve(listen, bidders),
        _ => legacy::serve(listen, bidders).unwrap(),
    }
    ExitCode::SUCCESS
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let is_paced = arguments.open_loop.or(arguments.reload).is_some();
    let latency_ms = if is_paced { 20.0 } else { 0.0 };
    let contest = match arguments {
        Arguments { capture: true, .. } => &world::CAPTURE,
        Arguments { telemetry: true, .. } => &world::TELEMETRY,
        Arguments { reload: Some(_), .. } => &world::RELOAD,
        Arguments { before: Some(_), .. } => &world::BUILDS,
        _ => &world::YARDSTICKS,
    };
    let world = World::build(contest, arguments, latency_ms)?;
    let generator = Generator::new(GenerateSettings { seed: 7, broken: 0.0 });
    let requests = Arc::new(generator.set(arguments.requests));
    println!("{}", world.describe(&requests));
    println!(
        "{} distinct requests, {} B on average; {} connections",
        requests.len(),
        requests.bytes() / requests.len(),
        arguments.connections
    );
    if let Some(rate) = arguments.reload {
        return measure::reloads(&world, &requests, rate, arguments);
    }
    let mut rows: Vec<Row> = Vec::new();
    for round in 0..=arguments.rounds {
        for server in &world.servers {
            let row = measure::once(&world, server, &requests, arguments)?;
            // The first round warms pools, caches and the branch predictor's memory.
            if round > 0 {
                println!("{row}");
                rows.push(row);
            }
        }
    }
    measure::summary(&rows, contest);
    world.report_drops()?;
    if arguments.overload {
        measure::overload(&world, &requests, &rows, arguments)?;
    }
    Ok(())
}
