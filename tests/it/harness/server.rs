//! The real binary in its own process, on ports that the system picks.

use super::http::{PATIENCE, Reply, get};
use rustix::process::{Resource, Rlimit};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

/// A running exchange; ended when dropped.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    pub operations: SocketAddr,
    pub public: Option<SocketAddr>,
    /// Everything that it logged so far.
    pub log: Vec<String>,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub fn ready(config: &Path) -> Self {
        Self::start(config, &[]).serving()
    }

    /// The same, of a process that gets an error where a file would grow over
    /// [`limit_files`](Self::limit_files), and not the signal that ends it.
    pub fn ready_for_a_full_disk(config: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_gavel")]);
        Self::launch(command.args(Self::words(config))).serving()
    }

    /// Waits until it is ready.
    pub fn serving(mut self) -> Self {
        self.public = Some(self.listening("public"));
        self.wait_log("ready");
        self
    }

    /// Starts it and waits for the operations listener only.
    pub fn start(config: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gavel"));
        Self::launch(command.args(Self::words(config)).args(arguments))
    }

    /// What it is started with.
    pub fn words(config: &Path) -> [&OsStr; 5] {
        let word = OsStr::new;
        [
            word("serve"),
            word("--config"),
            config.as_os_str(),
            word("--operations"),
            word("127.0.0.1:0"),
        ]
    }

    /// Starts it by a command that ends in it, and waits for the operations listener only.
    pub fn launch(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        // As many lines as any test makes; a reader that falls behind only slows the writer.
        let (send, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, lines, operations: nowhere, public: None, log: Vec::new() };
        server.operations = server.listening("operations");
        server
    }

    /// Waits for the line that says where a listener is.
    pub fn listening(&mut self, listener: &str) -> SocketAddr {
        let line =
            self.wait_for(|line| line["message"] == "listening" && line["listener"] == listener);
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// Waits for a log line with this message.
    pub fn wait_log(&mut self, message: &str) -> serde_json::Value {
        self.wait_for(|line| line["message"] == message)
    }

    /// Waits for a log line.
    pub fn wait_for(&mut self, is_it: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let parse = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap_or_else(|cause| panic!("a log line is not JSON: {cause}: {line}"))
        };
        if let Some(line) = self.log.iter().map(|line| parse(line)).find(|line| is_it(line)) {
            return line;
        }
        loop {
            let line = parse(self.wait_more());
            if is_it(&line) {
                return line;
            }
        }
    }

    /// Waits for the next log line, whatever it says.
    pub fn wait_more(&mut self) -> &str {
        let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!("the line never came; log so far:\n{}", self.log.join("\n"))
        });
        self.log.push(line);
        self.log.last().expect("one was pushed")
    }

    /// `/metrics` as text.
    pub fn metrics(&self) -> String {
        get(self.operations, "/metrics").text()
    }

    /// One value of `/metrics`, by its name with labels as written there; 0 where it is absent.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        let row = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        row.map_or(0.0, |value| value.parse().unwrap())
    }

    /// `/ready`.
    pub fn readiness(&self) -> Reply {
        get(self.operations, "/ready")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to look at its files (SIGHUP).
    pub fn hang_up(&self) {
        self.signal(nix::sys::signal::Signal::SIGHUP);
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.nix_pid(), signal).unwrap();
    }

    /// Stops it until it gets a `SIGCONT`.
    pub fn halt(&self) {
        super::halt(self.nix_pid());
    }

    fn nix_pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// From now on no file of it can grow over so many bytes; `None`: as large as before.
    pub fn limit_files(&self, bytes: Option<u64>) {
        self.limit(Resource::Fsize, bytes);
    }

    /// From now on it can open nothing whose descriptor is not below this; `None`: as many as this
    /// process may.
    pub fn limit_descriptors(&self, below: Option<u64>) {
        self.limit(Resource::Nofile, below);
    }

    fn limit(&self, resource: Resource, most: Option<u64>) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let own = rustix::process::getrlimit(resource);
        let limit = Rlimit { current: most.or(own.current), maximum: own.maximum };
        rustix::process::prlimit(pid, resource, limit).unwrap();
    }

    /// Asks it to end (SIGTERM) and gives its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.wait()
    }

    /// Waits for its end and gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
