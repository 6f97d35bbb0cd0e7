//! The exchange in a process of its own.
//!
//! Owns: starting it, waiting until it is ready, and ending it. Never: a sleep in place of a
//! state; it is ready when `/ready` says so. Invariant: the child ends when its standard input
//! does, so it never outlives its parent, however that ends.

use crate::client;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How long the exchange may take until it is ready, and until it has ended.
const READY: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(20);
/// How often it is asked.
const ASK: Duration = Duration::from_millis(10);
/// Lines of its log that are shown when it fails.
const LOG_LINES: usize = 12;

/// What the child is told.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// The main configuration file
    #[arg(long)]
    pub config: PathBuf,
    /// Where bid requests come in
    #[arg(long)]
    pub public: SocketAddr,
    /// Where `/ready` and `/metrics` are
    #[arg(long)]
    pub operations: SocketAddr,
}

/// The exchange is not there.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("the exchange cannot be started: {0}")]
    Start(#[source] io::Error),
    #[error("the exchange ended by itself; its last lines:\n{0}")]
    Ended(String),
    #[error("the exchange was not ready within {READY:?}; it says: {0}")]
    NotReady(String),
    #[error("the exchange does not show its metrics: {0}")]
    Metrics(#[source] io::Error),
}

/// A running exchange; it is ended when this is dropped.
pub struct Exchange {
    child: Child,
    log: PathBuf,
    pub public: SocketAddr,
    pub operations: SocketAddr,
}

impl Exchange {
    /// Starts `gavel-replay`, whose path is `program`, as the exchange, on free ports.
    pub fn start(program: &Path, config: &Path, log: &Path) -> Result<Self, ExchangeError> {
        let (public, operations) = free_ports().map_err(ExchangeError::Start)?;
        let lines = File::create(log).map_err(ExchangeError::Start)?;
        let errors = lines.try_clone().map_err(ExchangeError::Start)?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(config)
            .args(["--public", &public.to_string(), "--operations", &operations.to_string()])
            .stdin(Stdio::piped())
            .stdout(lines)
            .stderr(errors)
            // a Ctrl-C is for the parent, which ends its children in order
            .process_group(0)
            .spawn()
            .map_err(ExchangeError::Start)?;
        Ok(Self { child, log: log.to_owned(), public, operations })
    }

    /// Waits until it takes bid requests.
    pub fn wait_ready(&mut self) -> Result<Duration, ExchangeError> {
        let start = gavel::clock::monotonic();
        let mut said = String::from("nothing");
        while start.elapsed() < READY {
            self.check()?;
            match client::get(self.operations, "/ready") {
                Ok((200, _)) => return Ok(start.elapsed()),
                Ok((_, body)) => said = String::from_utf8_lossy(&body).into_owned(),
                Err(_) => {}
            }
            std::thread::sleep(ASK);
        }
        Err(ExchangeError::NotReady(said))
    }

    /// Whether it still runs.
    pub fn check(&mut self) -> Result<(), ExchangeError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(ExchangeError::Ended(self.last_lines())),
            Err(error) => Err(ExchangeError::Start(error)),
        }
    }

    /// The text of its metrics.
    pub fn metrics(&self) -> Result<String, ExchangeError> {
        let (_, body) = client::get(self.operations, "/metrics").map_err(ExchangeError::Metrics)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Ends it in good order; `false`: it had to be killed.
    fn end(&mut self) -> bool {
        drop(self.child.stdin.take());
        let start: Instant = gavel::clock::monotonic();
        while start.elapsed() < END {
            if let Ok(Some(_)) | Err(_) = self.child.try_wait() {
                return true;
            }
            std::thread::sleep(ASK);
        }
        // it is ours, and it had its time
        let _ = self.child.kill();
        let _ = self.child.wait();
        false
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end();
    }
}

/// Two ports that were free a moment ago. Both are held until both are known, so they differ.
fn free_ports() -> io::Result<(SocketAddr, SocketAddr)> {
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((one.local_addr()?, other.local_addr()?))
}

/// The child's part: serves until its standard input ends or it is asked to stop.
pub fn serve(args: &ServeArgs) -> ExitCode {
    // the parent blocks the signals that it waits for, and a child inherits that
    if SigSet::all().thread_unblock().is_err() {
        return ExitCode::FAILURE;
    }
    let watch = || {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        // as an operator would stop it
        let _ = kill(Pid::this(), Signal::SIGTERM);
    };
    if std::thread::Builder::new().name("parent".to_owned()).spawn(watch).is_err() {
        return ExitCode::FAILURE;
    }
    gavel::app::serve(&gavel::app::ServeArgs {
        config: args.config.clone(),
        operations: args.operations,
        listen: Some(args.public),
        keep: None,
        exit_on_fault: true,
    })
}
