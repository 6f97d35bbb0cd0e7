//! The command line of the replay package: arguments in, exit code out.
//!
//! Owns: the allocator, the names of the commands and their exit codes. Never: what they do.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

use clap::{Parser, Subcommand};
use replay::calibrate::{self, CalibrateArgs};
use replay::demo::exchange::ServeArgs;
use replay::demo::{self, DemoArgs};
use replay::diff::command::DiffArgs;
use replay::generate::command::GenerateArgs;
use replay::import::command::ImportArgs;
use replay::lint::command::{self as lint, LintArgs};
use replay::mmdb::{self, MmdbArgs};
use replay::pack::{self, PackArgs};
use replay::printed::Printed;
use replay::report::command::{self as report, CompareArgs, MergeArgs};
use replay::run::{self, RunArgs};
use replay::search::command::SearchArgs;
use replay::show::command::ShowArgs;
use replay::shrink::command::ShrinkArgs;
use replay::verdict::{Failure, Verdict};
use replay::{commands, diff, generate, import, search, show, shrink, stub};
use std::error::Error;
use std::io;
use std::process::{self, ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "gavel-replay",
    version,
    about = "OpenRTB traffic for gavel: made, played, judged"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the exchange, five simulated bidders and a load, and show what came of it
    Demo(DemoArgs),
    /// Play a recording against a server, measure from the planned moments, and judge
    Run(Box<RunArgs>),
    /// Find the highest rate that holds an objective, and how sure that is
    Search(Box<SearchArgs>),
    /// Show what this machine's generator can do, by a receiver that is not part of it
    Calibrate(CalibrateArgs),
    /// Reduce a failing set of requests to the smallest that still fails
    Shrink(ShrinkArgs),
    /// Write synthetic bid requests, one a line or as a capture
    Generate(GenerateArgs),
    /// Turn another tool's recording into a capture
    Import(ImportArgs),
    /// Look into a capture
    Show(ShowArgs),
    /// Send the same requests to two builds and show where the second differs beyond the noise
    Diff(DiffArgs),
    /// Join the files of a recording into one, as small as it can be
    Pack(PackArgs),
    /// Look for personal values in captures that are no pseudonyms
    Lint(LintArgs),
    /// Two runs side by side, with what chance may have done
    Compare(CompareArgs),
    /// Join the results of the shards of one run
    Merge(MergeArgs),
    /// Run simulated bidders
    Stub(commands::StubArgs),
    /// Write address databases of the project's own
    Mmdb(MmdbArgs),
    /// What `demo` starts as the exchange
    #[command(hide = true)]
    Serve(ServeArgs),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo(args) => ended(demo::run(&args, &mut io::stdout())),
        Command::Run(args) => judged(run::run(&args, &mut printed())),
        Command::Search(args) => judged(search::command::run(&args, &mut printed())),
        Command::Calibrate(args) => judged(calibrated(&args)),
        Command::Shrink(args) => judged(shrink::command::run(&args, &mut printed())),
        Command::Compare(args) => judged(report::run_compare(&args, &mut printed())),
        Command::Merge(args) => judged(report::run_merge(&args, &mut printed())),
        Command::Diff(args) => judged(diff::command::run(&args, &mut printed())),
        Command::Generate(args) => {
            ended(generate::command::run(&args, &mut io::stdout()).map(|()| true))
        }
        Command::Pack(args) => judged(pack::run(&args, &mut io::stdout())),
        Command::Lint(args) => judged(lint::run(&args, &mut io::stdout())),
        Command::Import(args) => judged(import::command::run(&args, &mut io::stdout())),
        Command::Show(args) => judged(show::command::run(&args, &mut io::stdout())),
        Command::Stub(args) if args.child => stub::process::serve(),
        Command::Stub(args) => ended(commands::stub(&args, &mut io::stdout()).map(|()| true)),
        Command::Mmdb(args) => match mmdb::run(&args) {
            Ok(written) => {
                for (path, bytes) in written {
                    println!("{} ({bytes} bytes)", path.display());
                }
                ExitCode::SUCCESS
            }
            Err(error) => ended(Err(error.into())),
        },
        Command::Serve(args) => demo::exchange::serve(&args),
    }
}

/// The receiver is this program in a process of its own.
fn calibrated(args: &CalibrateArgs) -> Result<Verdict, Failure> {
    let program = std::env::current_exe().map_err(Failure::usage)?;
    calibrate::run(args, process::Command::new(program), &mut printed())
}

/// Of what a command tells while it works; what it makes goes to standard output itself.
fn printed() -> Printed<io::Stdout> {
    Printed::new(io::stdout())
}

/// The verdict's code; why there is none is printed.
fn judged(result: Result<Verdict, Failure>) -> ExitCode {
    match result {
        Ok(verdict) => verdict.into(),
        Err(failure) => {
            eprintln!("gavel-replay: {}", failure.chain());
            failure.verdict.into()
        }
    }
}

/// 0: all was well; 1: it ran, and not all was well, or it could not run (the chain of causes is
/// printed).
fn ended(result: Result<bool, Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprint!("gavel-replay: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}
