//! The smaller command: `stub`.
//!
//! Owns: its arguments and how it shows what came of it. Never: what it does; that is in the module
//! of the same name.

use crate::stub::spec::{BidderSpec, StubSpec};
use nix::sys::signal::{SigSet, Signal};
use std::error::Error;
use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

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
    /// Speak TLS, too, on the same ports, and write the certificate of the authority to this file, for
    /// the exchange's `network.ca_file`
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// Take the specification from standard input, and end with it
    #[arg(long, hide = true)]
    pub child: bool,
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
    let scheme = if spec.ca_file.is_some() { "https" } else { "http" };
    let handle = crate::stub::spawn(spec)?;
    for (name, address) in handle.names().zip(handle.addresses()) {
        writeln!(out, "{name} {scheme}://{address}/bid")?;
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
    if args.ca_file.is_some() {
        spec.ca_file.clone_from(&args.ca_file);
    }
    spec.seed = args.seed.unwrap_or(spec.seed);
    Ok(spec)
}
