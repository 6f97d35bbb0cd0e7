//! Simulated bidders in a process of their own.
//!
//! Owns: the words that parent and child exchange: the specification goes in as one line of JSON
//! on standard input, the addresses come out as one line on standard output. Never: which program
//! the child is; [`serve`] is to be called by whoever is started. Invariant: the child ends when
//! its standard input does, so it never outlives its parent, however that ends.

use super::spec::StubSpec;
use super::stats::BidderStats;
use crate::client;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};

/// Why a child is not there.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("the simulated bidders cannot be started")]
    Start(#[source] io::Error),
    #[error("the simulated bidders gave no addresses")]
    Addresses(#[source] io::Error),
    #[error("the simulated bidders cannot be asked what they saw")]
    Stats(#[source] io::Error),
}

/// A child that serves bidders; it is ended when this is dropped.
pub struct Process {
    child: Child,
    addresses: Vec<SocketAddr>,
}

/// Starts `command`, which must come to call [`serve`].
pub fn spawn(mut command: Command, spec: &StubSpec) -> Result<Process, ProcessError> {
    let line = serde_json::to_string(spec).map_err(|error| ProcessError::Start(error.into()))?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.spawn().map_err(ProcessError::Start)?;
    let mut process = Process { child, addresses: Vec::new() };
    if let Some(input) = &mut process.child.stdin {
        writeln!(input, "{line}").map_err(ProcessError::Start)?;
    }
    let mut answer = String::new();
    if let Some(output) = process.child.stdout.take() {
        BufReader::new(output).read_line(&mut answer).map_err(ProcessError::Addresses)?;
    }
    process.addresses =
        serde_json::from_str(&answer).map_err(|error| ProcessError::Addresses(error.into()))?;
    Ok(process)
}

impl Process {
    /// One for each bidder, in the order of the specification.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Of the process, to read its CPU time.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What each bidder has seen.
    pub fn stats(&self) -> Result<Vec<BidderStats>, ProcessError> {
        let Some(address) = self.addresses.first() else { return Ok(Vec::new()) };
        let (_, body) = client::get(*address, "/stats").map_err(ProcessError::Stats)?;
        serde_json::from_slice(&body).map_err(|error| ProcessError::Stats(error.into()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // the end of its input is the child's sign to go
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The child's part: serves until standard input ends.
pub fn serve() -> ExitCode {
    match serve_until_end() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_until_end() -> Result<(), Box<dyn std::error::Error>> {
    let mut input = io::stdin().lock();
    let mut line = String::new();
    input.read_line(&mut line)?;
    let spec: StubSpec = serde_json::from_str(&line)?;
    let handle = super::spawn(spec)?;
    let addresses = serde_json::to_string(handle.addresses())?;
    let mut output = io::stdout().lock();
    writeln!(output, "{addresses}")?;
    output.flush()?;
    input.read_to_end(&mut Vec::new())?;
    Ok(())
}
