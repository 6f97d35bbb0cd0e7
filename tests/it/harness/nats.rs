//! A real `nats-server` on loopback, where one is installed.

use super::http::PATIENCE;
use gavel::broker::Settings;
use gavel::clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Addresses of this process that were given away.
static GIVEN: AtomicU8 = AtomicU8::new(1);

/// A server with JetStream in files; ended when dropped. After a kill it comes back at the same
/// address, with what it had stored.
pub struct Nats {
    address: SocketAddr,
    store: TempDir,
    child: Option<Child>,
    restarts: usize,
    arguments: Vec<String>,
}

impl Nats {
    /// Starts one; `None`, and a line that no test hides, where none is installed.
    pub fn start() -> Option<Self> {
        Self::start_with(|_| Vec::new())
    }

    /// Starts one with more arguments, made when its address is known.
    pub fn start_with(arguments: impl FnOnce(Ipv4Addr) -> Vec<String>) -> Option<Self> {
        let address = address(GIVEN.fetch_add(1, Ordering::Relaxed));
        let mut nats = Self::start_at(address, arguments(address))?;
        nats.wait();
        Some(nats)
    }

    fn start_at(address: Ipv4Addr, arguments: Vec<String>) -> Option<Self> {
        let is_there = Command::new("nats-server")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !is_there {
            // not println: the harness of tests keeps that to itself where a test does not fail
            let line = "SKIPPED: no nats-server on PATH: what goes over a broker was not tested\n";
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        }
        let store = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((address, 4222));
        let mut nats = Self { address, store, child: None, restarts: 0, arguments };
        nats.launch();
        Some(nats)
    }

    /// Starts three that are one cluster, each message of which is kept by all.
    pub fn cluster() -> Option<Vec<Self>> {
        let first = GIVEN.fetch_add(3, Ordering::Relaxed);
        let addresses = [first, first + 1, first + 2].map(address);
        let routes = addresses.map(|address| format!("nats://{address}:6222")).join(",");
        let arguments = |at: usize| {
            let name = format!("--server_name=n{at}");
            let own = format!("--cluster=nats://{}:6222", addresses[at]);
            vec![name, own, "--cluster_name=gavel".to_owned(), format!("--routes={routes}")]
        };
        let start = |at: usize| Self::start_at(addresses[at], arguments(at));
        // a server of a cluster is ready when it has a leader: not before the others are there
        let mut all: Vec<Self> = (0..3).map(start).collect::<Option<_>>()?;
        all.iter_mut().for_each(Self::wait);
        Some(all)
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Settings with a stream that is made, and short times.
    pub fn settings(&self) -> Settings {
        Settings {
            urls: vec![self.url()],
            creates: true,
            replicas: 1,
            ack: Duration::from_secs(5),
            wait: PATIENCE,
            ..Settings::default()
        }
    }

    /// The section of a configuration that says the same.
    pub fn config(&self) -> String {
        format!("[broker]\nurls = ['{}']\ncreate = true\nreplicas = 1\nack = '5s'\n", self.url())
    }

    /// Kills it, as a crash would.
    pub fn die(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill(pid(&child), Signal::SIGKILL).unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it from running, and lets it run again: a broker that is slow, not gone.
    pub fn freeze(&self, is_frozen: bool) {
        let pid = pid(self.child.as_ref().unwrap());
        if is_frozen { super::halt(pid) } else { kill(pid, Signal::SIGCONT).unwrap() }
    }

    /// As [`Nats::come_back`], with other arguments.
    pub fn come_back_with(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|&one| one.to_owned()).collect();
        self.come_back();
    }

    /// Starts it again, and waits until JetStream answers.
    pub fn come_back(&mut self) {
        self.launch();
        self.wait();
    }

    fn log(&self) -> PathBuf {
        self.store.path().join(format!("log-{}", self.restarts))
    }

    fn launch(&mut self) {
        self.restarts += 1;
        let log = self.log();
        let child = Command::new("nats-server")
            .args(["-a", &self.address.ip().to_string(), "-p", "4222", "-js", "-sd"])
            .arg(self.store.path())
            .arg("-l")
            .arg(&log)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn wait(&mut self) {
        let (log, until) = (self.log(), clock::monotonic() + PATIENCE);
        while !(self.greets() && says(&log, "Server is ready")) {
            assert!(clock::monotonic() < until, "{}", std::fs::read_to_string(&log).unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn greets(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return false };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).is_ok() && &word == b"INFO "
    }
}

/// An address of 127.64/10 that no other process has: the port can stay the same over restarts.
fn address(last: u8) -> Ipv4Addr {
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), low, last)
}

fn says(log: &Path, what: &str) -> bool {
    std::fs::read_to_string(log).is_ok_and(|text| text.contains(what))
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.die();
    }
}
