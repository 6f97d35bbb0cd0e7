//! Simulated bidders over their sockets.

use gavel::capture::write::{Writer, WriterSettings};
use gavel::capture::{Header, Origin, Record, RecordedCall};
use replay::client;
use replay::drive::plan::RequestSet;
use replay::drive::target::{Allow, Target};
use replay::drive::{self, report::Report};
use replay::stub::spec::{BidderSpec, FaultSpec, StubSpec};
use replay::stub::stats::BidderStats;
use replay::stub::{self, Handle};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

fn request(id: usize) -> Vec<u8> {
    format!(r#"{{"id":"r{id}","imp":[{{"id":"1","banner":{{"w":300,"h":250}}}}]}}"#).into_bytes()
}

fn one(spec: BidderSpec) -> Handle {
    stub::spawn(StubSpec { bidders: vec![spec], ..StubSpec::default() }).unwrap()
}

fn load(handle: &Handle, requests: usize) -> Report {
    let set: RequestSet = (0..requests).map(request).collect();
    let url = format!("http://{}/bid", handle.addresses()[0]);
    let target = Target::parse(&url, Allow::Loopback).unwrap();
    let plan = drive::plan::Plan {
        bounds: drive::plan::Bounds {
            requests_max: requests as u64,
            time_max: Duration::from_secs(20),
            ..drive::plan::Bounds::default()
        },
        ..drive::plan::Plan::of_set(target, Arc::new(set))
    };
    drive::run(&plan, &drive::live::Live::new(1), &mut []).unwrap().report
}

#[test]
fn two_runs_of_one_seed_answer_alike_and_count_what_they_saw() {
    let spec = BidderSpec { bid_rate: 0.4, ..BidderSpec::default() };
    let runs: Vec<BidderStats> = (0..2)
        .map(|_| {
            let handle = one(spec.clone());
            let report = load(&handle, 2_000);
            let mut stats = handle.stats();
            let stats = stats.pop().unwrap();
            assert_eq!(stats.requests, 2_000);
            assert_eq!((stats.answers, stats.no_bids), (report.status(200), report.status(204)));
            assert_eq!((stats.bids, stats.hang_ups, stats.malformed), (stats.answers, 0, 0));
            stats
        })
        .collect();
    assert_eq!(runs[0], runs[1]);
    assert!((700..900).contains(&runs[0].bids), "{:?}", runs[0]);
}

#[test]
fn answers_wait_for_their_time_and_drip_to_their_end() {
    let faults = FaultSpec { drip: 0.05, ..FaultSpec::default() };
    let handle = one(BidderSpec { latency_ms: 3.0, faults, ..BidderSpec::default() });
    let report = load(&handle, 100);
    assert_eq!((report.answered, report.faulty()), (100, 0));
    assert!(report.service.min() >= 2_900_000, "{}", report.service.min());
    let stats = &handle.stats()[0];
    assert_eq!(stats.answers + stats.faults, 100);
    assert_eq!(stats.bids, 100);
    assert!(stats.faults > 0);
}

#[test]
fn resets_are_seen_as_broken_connections() {
    let faults = FaultSpec { reset: 0.5, ..FaultSpec::default() };
    let handle = one(BidderSpec { faults, ..BidderSpec::default() });
    let report = load(&handle, 50);
    assert_eq!(report.answered + report.faulty(), 50);
    assert_eq!(handle.stats()[0].faults, report.faulty());
}

#[test]
fn a_bidder_that_hangs_says_nothing_until_its_caller_goes() {
    let faults = FaultSpec { hang: 1.0, ..FaultSpec::default() };
    let handle = one(BidderSpec { faults, ..BidderSpec::default() });
    let mut socket = TcpStream::connect(handle.addresses()[0]).unwrap();
    let body = request(1);
    write!(socket, "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    socket.write_all(&body).unwrap();
    while handle.stats()[0].requests == 0 {
        std::thread::yield_now();
    }
    drop(socket);
    while handle.stats()[0].hang_ups == 0 {
        std::thread::yield_now();
    }
    let stats = &handle.stats()[0];
    assert_eq!((stats.faults, stats.answers, stats.no_bids), (1, 0, 0));
}

#[test]
fn bidders_of_a_recording_answer_as_they_did_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.capture");
    let header = Header {
        origin: Origin::Recorded,
        started_us: 0,
        writer: "test".to_owned(),
        pseudonym_key: None,
        sample_ppm: 1_000_000,
        note: String::new(),
    };
    let call = |bidder: &str, status, no_answer: &str, answer: &'static str| RecordedCall {
        bidder: bidder.to_owned(),
        status,
        no_answer: no_answer.to_owned(),
        request: request(1).into(),
        answer: answer.into(),
        ..RecordedCall::default()
    };
    let said = r#"{"id":"r1","seatbid":[{"bid":[{"id":"9","impid":"1","price":2.5}]}]}"#;
    let calls = vec![call("known", 200, "", said), call("failing", 502, "server_status", "")];
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = Writer::new(file, &header, WriterSettings::default()).unwrap();
    writer.push(&Record { calls, ..Record::default() }).unwrap();
    writer.finish().unwrap();

    let modelled = BidderSpec { name: "modelled".to_owned(), ..BidderSpec::default() };
    let spec = StubSpec { recorded: Some(path), bidders: vec![modelled], ..StubSpec::default() };
    let handle = stub::spawn(spec).unwrap();
    assert_eq!(handle.names().collect::<Vec<_>>(), ["modelled", "failing", "known"]);
    let ask = |bidder: usize, id| {
        let (status, body) =
            client::post(handle.addresses()[bidder], "/bid", "", &request(id)).unwrap();
        (status, String::from_utf8(body).unwrap())
    };
    assert_eq!(ask(2, 1), (200, said.to_owned()));
    assert_eq!(ask(2, 7), (200, said.replace("r1", "r7")));
    assert_eq!(ask(1, 1), (502, String::new()));
    assert_eq!(ask(0, 1).0, 200);
    let stats = handle.stats();
    assert_eq!((stats[2].same, stats[2].alike, stats[2].drawn), (1, 1, 0));
    assert_eq!((stats[2].bids, stats[1].faults, stats[0].same), (2, 1, 0));
}

#[test]
fn requests_sent_ahead_are_answered_in_turn() {
    let handle = one(BidderSpec { latency_ms: 1.0, ..BidderSpec::default() });
    let mut socket = TcpStream::connect(handle.addresses()[0]).unwrap();
    let mut bytes = Vec::new();
    for id in 0..3 {
        let body = request(id);
        write!(bytes, "POST / HTTP/1.1\r\nContent-Length: {}\r\n", body.len()).unwrap();
        if id == 2 {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
    }
    socket.write_all(&bytes).unwrap();
    let mut answers = String::new();
    socket.read_to_string(&mut answers).unwrap();
    let at = |id: &str| answers.find(id).unwrap();
    assert!(at("\"r0\"") < at("\"r1\"") && at("\"r1\"") < at("\"r2\""));
}

#[test]
fn what_was_seen_can_be_asked_for() {
    let handle = stub::spawn(StubSpec::uniform(3, &BidderSpec::default())).unwrap();
    let (status, _) = client::post(handle.addresses()[1], "/bid", "", &request(1)).unwrap();
    assert_eq!(status, 200);
    let (status, body) = client::get(handle.addresses()[2], "/stats").unwrap();
    assert_eq!(status, 200);
    let bidders: Vec<BidderStats> = serde_json::from_slice(&body).unwrap();
    let requests: Vec<u64> = bidders.iter().map(|one| one.requests).collect();
    assert_eq!(requests, [0, 1, 0]);
}

#[test]
fn bytes_that_are_no_request_end_the_connection_only() {
    let handle = one(BidderSpec::default());
    for bytes in ["x\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n[]"] {
        let mut socket = TcpStream::connect(handle.addresses()[0]).unwrap();
        socket.write_all(bytes.as_bytes()).unwrap();
        assert_eq!(socket.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
    assert_eq!(handle.stats()[0].malformed, 2);
    assert_eq!(load(&handle, 10).status(200), 10);
}

#[test]
fn a_process_of_its_own_serves_counts_and_ends_with_its_parent() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gavel-replay"));
    command.args(["stub", "--child"]);
    let spec = StubSpec::uniform(2, &BidderSpec::default());
    let process = stub::process::spawn(command, &spec).unwrap();
    let address = process.addresses()[1];
    let (status, _) = client::post(address, "/bid", "", &request(1)).unwrap();
    assert_eq!(status, 200);
    let seen = process.stats().unwrap();
    assert_eq!((seen[0].requests, seen[1].requests), (0, 1));
    // waits for the child
    drop(process);
    TcpStream::connect(address).unwrap_err();
}

#[test]
fn in_the_background_it_serves_until_it_is_asked_to_end() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_gavel-replay"))
        .args(["stub", "--bidders", "1"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let address = first.split_once("http://").unwrap().1.strip_suffix("/bid").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "end with SIGTERM or SIGINT");
    for id in 0..20 {
        let answer = client::post(address.parse().unwrap(), "/bid", "", &request(id));
        assert_eq!(answer.unwrap().0, 200);
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
