//! The demo as a user starts it.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gavel-replay"));
    command.arg("demo").args(args);
    command
}

/// Not asked here: the exit code. A test machine that is busy enough makes the exchange shed.
#[test]
fn driver_exchange_and_bidders_count_the_same_and_the_demo_ends_by_itself() {
    let output = demo(&["--rate", "100", "--for", "2s", "--exit"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    for bidder in ["amber", "birch", "cedar", "dune", "ember"] {
        let line = format!("✓ {bidder}: gavel counted");
        assert!(text.contains(&line), "no {line:?} in\n{text}{errors}");
    }
    assert!(text.contains("✓ 0 requests without an answer"), "{text}");
    assert!(text.contains("✓ gavel counted 200 requests, 200 were sent"), "{text}");
}

#[test]
fn whatever_ends_the_demo_its_children_end_too() {
    // a parent that is killed cannot remove its files
    let folder = tempfile::tempdir().unwrap();
    let mut command = demo(&["--rate", "50", "--for", "60s"]);
    command.env("TMPDIR", folder.path()).stdout(Stdio::piped());
    let mut parent = command.spawn().unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for line in lines.by_ref().map(Result::unwrap) {
        if let Some((_, rest)) = line.split_once("http://") {
            addresses.push(rest.split('/').next().unwrap().parse().unwrap());
        }
        if let Some((_, port)) = line.split_once("amber :") {
            let port = port.split(',').next().unwrap().parse().unwrap();
            addresses.push(SocketAddr::from(([127, 0, 0, 1], port)));
            break;
        }
    }
    assert_eq!(addresses.len(), 3, "exchange, its operations and a bidder");
    assert!(addresses.iter().all(|address| TcpStream::connect(*address).is_ok()));
    parent.kill().unwrap();
    parent.wait().unwrap();
    let start = gavel::clock::monotonic();
    while addresses.iter().any(|address| TcpStream::connect(*address).is_ok()) {
        assert!(start.elapsed() < Duration::from_secs(30), "a child outlived its parent");
        std::thread::yield_now();
    }
}
