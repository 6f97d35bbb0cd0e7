//! The command line of the exchange: arguments in, exit code out.
//!
//! Owns: the allocator, the names of the commands and their exit codes. Never: what they do.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

use clap::{Parser, Subcommand};
use gavel::config;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// sysexits.h: something was found in an unconfigured or misconfigured state.
const EX_CONFIG: u8 = 78;

#[derive(Parser)]
#[command(name = "gavel", version, about = "An OpenRTB ad exchange that uses the whole machine")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Report every fault of a configuration; exit 78 where there is one.
    Check {
        /// The main file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Print the configuration reference as markdown.
    Reference,
    /// Read a partner's key from standard input and print the hash for `keys`.
    HashKey,
    /// Print the version.
    Version,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check { config } => check(&config),
        Command::Reference => {
            print!("{}", config::reference::markdown(&config::rows()));
            ExitCode::SUCCESS
        }
        Command::HashKey => hash_key(),
        Command::Version => {
            println!("gavel {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

fn check(path: &std::path::Path) -> ExitCode {
    match config::load(path) {
        Ok(config) => {
            println!(
                "ok: {} partners, {} bidders in {} files",
                config.rules.partners.len(),
                config.rules.bidders.len(),
                config.files.len()
            );
            ExitCode::SUCCESS
        }
        Err(report) => {
            eprint!("{report}");
            ExitCode::from(EX_CONFIG)
        }
    }
}

fn hash_key() -> ExitCode {
    let mut key = String::new();
    if let Err(cause) = std::io::stdin().read_line(&mut key) {
        eprintln!("cannot read a key from standard input: {cause}");
        return ExitCode::FAILURE;
    }
    let key = key.trim_end_matches(['\r', '\n']);
    if key.is_empty() {
        eprintln!("the key is empty");
        return ExitCode::FAILURE;
    }
    println!("blake3:{}", blake3::hash(key.as_bytes()));
    ExitCode::SUCCESS
}
