//! The log where nobody reads it.

use crate::harness::PATIENT;
use crate::harness::http::{Client, get};
use crate::server::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const REQUEST: &str =
    r#"{"id":"r-1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"}}"#;

/// Lines that are longer in all than a pipe holds (64 KiB).
const LINES: usize = 600;

/// A process with a pipe for both of its outputs, from which the lines of its start were read.
struct Process {
    child: Child,
    operations: SocketAddr,
    public: SocketAddr,
    pipe: BufReader<PipeReader>,
    _dir: TempDir,
}

impl Process {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("gavel.toml");
        let text = format!(
            "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
             [telemetry]\nlines_per_second_max = 1000\n{PATIENT}\
             [[partners]]\nname = 'pub'\nopen = true\n"
        );
        std::fs::write(&config, text).unwrap();
        let (from, to) = std::io::pipe().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(["serve", "--operations", "127.0.0.1:0", "--config"])
            .arg(&config)
            .stderr(Stdio::from(to.try_clone().unwrap()))
            .stdout(to)
            .spawn()
            .unwrap();
        let mut pipe = BufReader::new(from);
        let (mut operations, mut public) = (None, None);
        for line in pipe.by_ref().lines() {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            let address = || line["address"].as_str().map(|text| text.parse().unwrap());
            match (line["message"].as_str(), line["listener"].as_str()) {
                (Some("ready"), _) => break,
                (_, Some("operations")) => operations = address(),
                (_, Some("public")) => public = address(),
                _ => {}
            }
        }
        let (operations, public) = (operations.unwrap(), public.unwrap());
        Self { child, operations, public, pipe, _dir: dir }
    }

    /// The status of an answer.
    fn post(&self, partner: &str) -> u16 {
        let path = format!("/openrtb2/{partner}");
        let mut client = Client::connect(self.public);
        client.post(&path, &[], REQUEST.as_bytes()).map_or(0, |reply| reply.status)
    }

    /// Each refusal is a line.
    fn refuse(&self, times: usize) {
        for _ in 0..times {
            assert_eq!(self.post("nobody"), 401);
        }
    }

    fn terminate(&mut self) -> Option<i32> {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_auctions_nor_the_end() {
    let mut process = Process::start();
    process.refuse(LINES);
    assert_eq!(process.post("pub"), 204);
    assert_eq!(process.terminate(), Some(0));
    // what was in the pipe is whole but for the last line, which had no room
    let lines: Vec<_> = process.pipe.by_ref().lines().map(Result::unwrap).collect();
    let (_, whole) = lines.split_last().unwrap();
    assert!(whole.len() > 100, "{}", whole.len());
    for line in whole {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn a_process_with_both_of_its_outputs_broken_serves_and_drains() {
    let mut process = Process::start();
    let (broken, whole) = std::io::pipe().unwrap();
    drop(whole);
    process.pipe = BufReader::new(broken);
    process.refuse(10);
    assert_eq!(process.post("pub"), 204);
    wait_until("lines are counted", || {
        let text = get(process.operations, "/metrics").text();
        let dropped =
            text.lines().find_map(|line| line.strip_prefix("gavel_log_lines_dropped_total "));
        dropped.is_some_and(|count| count != "0")
    });
    assert_eq!(process.terminate(), Some(0));
}
