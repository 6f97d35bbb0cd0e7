//! Simulated bidders over their sockets.

use gavel::capture::write::{Writer, WriterSettings};
use gavel::capture::{Header, Origin, Record, RecordedCall};
use replay::client;
use replay::demo::exchange::Exchange;
use replay::demo::files::{Files, STUB};
use replay::demo::scrape::Scrape;
use replay::drive::plan::{Bounds, Plan, RequestSet};
use replay::drive::target::{Allow, Route, Target};
use replay::drive::{self, report::Report};
use replay::generate::{GenerateSettings, Generator};
use replay::stub::spec::{BidderSpec, FaultSpec, StubSpec};
use replay::stub::stats::BidderStats;
use replay::stub::{self, Handle};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
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
    let plan = Plan {
        bounds: Bounds {
            requests_max: requests as u64,
            time_max: Duration::from_secs(20),
            ..Bounds::default()
        },
        ..Plan::of_set(target, Arc::new(set))
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

// === TLS ===

/// What trusts the authority of `file`.
fn trusting(file: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn secure(handle: &Handle, trust: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let socket = TcpStream::connect(handle.addresses()[0]).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(trust), name).unwrap(), socket)
}

/// One request; status and length of what is answered.
fn ask(stream: &mut (impl Read + Write), body: &[u8]) -> (String, usize) {
    let length = body.len();
    write!(stream, "POST /bid HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").unwrap();
    stream.write_all(body).unwrap();
    stream.flush().unwrap();
    let mut reader = BufReader::with_capacity(1, stream);
    let (mut lines, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "hung up after {lines:?}");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(told) = line.strip_prefix("content-length:") {
            length = told.trim().parse().unwrap();
        }
        lines.push(line);
    }
    let mut answer = vec![0; length];
    reader.read_exact(&mut answer).unwrap();
    (lines.swap_remove(0), answer.len())
}

fn with_tls(spec: BidderSpec, file: &Path) -> Handle {
    let ca_file = Some(file.to_owned());
    stub::spawn(StubSpec { bidders: vec![spec], ca_file, ..StubSpec::default() }).unwrap()
}

#[test]
fn a_port_speaks_tls_to_who_begins_with_it_and_plainly_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let handle = with_tls(BidderSpec { bid_rate: 1.0, ..BidderSpec::default() }, &file);
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("BEGIN CERTIFICATE") && !written.contains("PRIVATE"), "{written}");

    let trust = trusting(&file);
    let mut stream = secure(&handle, &trust);
    let mut plain = TcpStream::connect(handle.addresses()[0]).unwrap();
    for number in 0..50 {
        // a body over several TLS records now and then
        let mut body = request(number);
        body.resize(body.len() + number % 3 * 20_000, b' ');
        let [over_tls, plainly] = [ask(&mut stream, &body), ask(&mut plain, &body)];
        assert_eq!(over_tls, plainly);
        assert!(over_tls.0.contains(" 200 ") && over_tls.1 > 0, "{over_tls:?}");
    }
    let stats = &handle.stats()[0];
    assert_eq!((stats.requests, stats.connections, stats.malformed), (100, 2, 0));
}

#[test]
fn who_does_not_trust_the_authority_or_breaks_off_costs_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, other] = ["ours.pem", "other.pem"].map(|name| folder.path().join(name));
    let handle = with_tls(BidderSpec::default(), &ours);
    let _other = with_tls(BidderSpec::default(), &other);
    let mut stream = secure(&handle, &trusting(&other));
    let refused = stream.flush().unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");

    for bytes in [&b"\x16\x03\x01\xff\xff garbage"[..], b"\x16", b"\x16\x16\x16\x16\x16\x16\x16"] {
        let mut broken = TcpStream::connect(handle.addresses()[0]).unwrap();
        broken.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        broken.write_all(bytes).unwrap();
        if bytes.len() == 1 {
            // more could come
            broken.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut rest = Vec::new();
        // an alert or nothing, and the end
        assert!(broken.read_to_end(&mut rest).is_ok());
        assert!(rest.len() < 16, "{rest:?}");
    }
    let (status, _) = ask(&mut secure(&handle, &trusting(&ours)), &request(1));
    assert!(status.contains(" 20"), "{status}");
    assert_eq!(handle.stats()[0].requests, 1);
}

#[test]
fn the_exchange_asks_bidders_over_tls_as_it_asks_others() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    let mut spec: StubSpec = toml::from_str(STUB).unwrap();
    spec.bidders = spec
        .bidders
        .iter()
        .map(|one| BidderSpec { port: 0, name: one.name.clone(), ..BidderSpec::default() })
        .collect();
    spec.ca_file = Some(authority.clone());
    let handle = stub::spawn(spec).unwrap();
    let bidders: Vec<_> = handle.names().zip(handle.addresses().iter().copied()).collect();
    let files = Files::write(&bidders).unwrap();
    let change = |name: &str, by: &dyn Fn(String) -> String| {
        let path = files.folder().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, by(text)).unwrap();
    };
    change("bidders.toml", &|text| {
        assert_eq!(text.matches("http://").count(), handle.addresses().len());
        text.replace("http://", "https://")
    });
    change("gavel.toml", &|text| format!("{text}\n[network]\nca_file = {authority:?}\n"));
    let program = Path::new(env!("CARGO_BIN_EXE_gavel-replay"));
    let mut exchange = Exchange::start(program, &files.main(), &files.log()).unwrap();
    exchange.wait_ready().unwrap();

    let headers = vec![("x-gavel-key".to_owned(), "demo-key".to_owned())];
    let route = Route { path: "/openrtb2/demo".to_owned(), headers };
    let target = Target::at(exchange.public, vec![route], Allow::Loopback).unwrap();
    let set = Generator::new(GenerateSettings::default()).set(200);
    let bounds =
        Bounds { requests_max: 200, time_max: Duration::from_secs(20), ..Bounds::default() };
    let plan = Plan { bounds, ..Plan::of_set(target, Arc::new(set)) };
    let report = drive::run(&plan, &drive::live::Live::new(1), &mut []).unwrap().report;
    assert!(report.status(200) > 0, "{report:?}");
    let metrics = exchange.metrics().unwrap();
    let scrape = Scrape::parse(&metrics);
    let bids: u64 = handle.stats().iter().map(|bidder| bidder.bids).sum();
    assert!(bids > 0 && scrape.count("gavel_bids_received_total", &[]) > 0, "{bids}\n{metrics}");
}
