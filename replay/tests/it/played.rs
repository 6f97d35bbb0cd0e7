//! `run`, `search`, `calibrate` and `shrink` as one calls them, with their exit codes.

use crate::script;
use replay::calibrate::Reading;
use replay::generate::{GenerateSettings, Generator};
use replay::search::Bound;
use replay::search::command::SearchResult;
use replay::stub::spec::{BidderSpec, StubSpec};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// No test may depend on how busy the machine is.
const PATIENT: [&str; 2] = ["--lateness-max", "1000000000"];

/// What it printed, where it ended as it should.
fn told(arguments: &[&str], code: i32) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gavel-replay")).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
    text
}

fn body(number: u64) -> String {
    let mut body = Vec::new();
    Generator::new(GenerateSettings::default()).write(number, &mut body);
    String::from_utf8(body).unwrap()
}

fn capture(folder: &Path, name: &str, bodies: impl Iterator<Item = String>) -> String {
    let path = folder.join(name);
    script::capture(&path, bodies);
    path.to_str().unwrap().to_owned()
}

/// Bids on nothing.
fn quiet() -> String {
    format!("http://{}", script::serve(|_| (204, String::new())))
}

fn played(capture: &str, target: &str, more: &[&str], code: i32) -> String {
    let line = ["run", capture, "--target", target, "--gate"];
    told(&[&line[..], &PATIENT, more].concat(), code)
}

// === the gate ===

#[test]
fn a_recording_that_is_played_once_passes_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    let recording = capture(folder.path(), "in.cap", (0..600).map(body));
    let target = quiet();
    let text = played(&recording, &target, &[], 0);
    assert!(text.contains("sent 600 of 600 planned") && text.contains("verdict: pass"), "{text}");
    // other requests of the same traffic are as good
    let line = ["run", "--synthetic", "600", "--seed", "9", "--rate", "1000", "--target", &target];
    told(&[&line[..], &PATIENT, &["--gate", "--like", &recording]].concat(), 0);
    let none = told(&[&line[..], &["--gate"]].concat(), 2);
    assert!(none.contains("give --like"), "{none}");
}

/// A name, what makes its bodies, and the axes on which it falls short.
type Dull<'d> = (&'d str, &'d dyn Fn(u64) -> String, &'d [&'d str]);

#[test]
fn one_request_ten_scripted_ones_and_a_template_are_refused_with_the_axis() {
    let folder = tempfile::tempdir().unwrap();
    let target = quiet();
    let recording = capture(folder.path(), "recording.cap", (0..600).map(body));
    let fresh = |number: u64| {
        let text = body(7);
        let (head, rest) = text.split_once(r#""id":""#).unwrap();
        let (_, rest) = rest.split_once('"').unwrap();
        format!(r#"{head}"id":"fresh-{number}"{rest}"#)
    };
    let dull: [Dull<'_>; 3] = [
        ("one.cap", &|_| body(7), &["share of the top body", "distinct bodies", "compression"]),
        ("ten.cap", &|number| body(number % 10), &["distinct bodies"]),
        ("template.cap", &fresh, &["effective combinations", "share of the top combination"]),
    ];
    for (name, make, axes) in dull {
        let dull = capture(folder.path(), name, (0..600).map(make));
        // as its own recording, and as what was sent in place of another
        for more in [&[][..], &["--like", &recording]] {
            let text = played(&dull, &target, more, 3);
            for axis in axes {
                assert!(text.contains(&format!("NOT diverse: {axis}")), "{axis} of {name}: {text}");
            }
            assert!(text.contains("NOT valid: diversity was lost"), "{text}");
        }
    }
}

#[test]
fn a_small_recording_in_a_loop_is_refused_though_its_ids_are_fresh() {
    let folder = tempfile::tempdir().unwrap();
    let recording = capture(folder.path(), "in.cap", (0..200).map(body));
    let text = played(&recording, &quiet(), &["--rate", "1000", "--requests", "600"], 3);
    assert!(text.contains("NOT diverse: loops: sent 3.0"), "{text}");
}

// === damage ===

#[test]
fn of_a_damaged_recording_everything_before_the_damage_is_played_and_the_offset_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let whole = capture(folder.path(), "in.cap", (0..900).map(body));
    let (bytes, target) = (fs::read(&whole).unwrap(), quiet());
    let middle = bytes.len() / 2;
    let mut flipped = bytes.clone();
    flipped[middle] ^= 1;
    for (name, bytes) in [("torn.cap", &bytes[..middle]), ("flipped.cap", &flipped[..])] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let line = ["run", path, "--target", &target, "--rate", "2000"];
        let text = told(&[&line[..], &PATIENT].concat(), 0);
        assert!(text.contains("note: the recording is damaged") && text.contains("byte"), "{text}");
        assert!(!text.contains("sent 0 of"), "{text}");
        let text = told(&["lint", path], 3);
        assert!(text.contains("byte"), "{text}");
        let text = told(&["show", path], 1);
        assert!(text.contains("BROKEN at byte "), "{text}");
    }
    let foreign = folder.path().join("foreign.cap");
    fs::write(&foreign, b"GIF89a and so on").unwrap();
    let foreign = foreign.to_str().unwrap();
    for line in [vec!["run", foreign, "--target", &target], vec!["show", foreign]] {
        assert!(told(&line, 2).contains("not the bytes of a capture"));
    }
}

// === marks ===

#[test]
fn replayed_requests_say_that_they_are_tests_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let recording = capture(folder.path(), "in.cap", (0..5).map(body));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let target = script::serve(move |body| {
        kept.lock().unwrap().push(serde_json::from_slice::<Value>(body).unwrap()["test"].clone());
        (204, String::new())
    });
    let target = format!("http://{target}");
    let line = [&["run", &recording, "--target", &target][..], &PATIENT].concat();
    told(&line, 0);
    assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), vec![Value::from(1); 5]);
    told(&[&line[..], &["--unmarked"]].concat(), 0);
    assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), vec![Value::Null; 5]);
    let far = told(&["run", &recording, "--target", "http://192.0.2.1:9/"], 2);
    assert!(far.contains("needs --allow"), "{far}");
}

// === memory ===

/// Peak of a run of so many requests, in MiB.
fn memory(target: &str, requests: u64) -> f64 {
    let requests = requests.to_string();
    let line = ["run", "--synthetic", &requests, "--saturate", "--target", target];
    let text = told(&[&line[..], &PATIENT].concat(), 0);
    assert!(!text.contains("without answer"), "{text}");
    let (_, rest) = text.split_once("memory ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

/// `GAVEL_FULL=1`: a million.
#[test]
fn memory_does_not_grow_with_the_number_of_requests() {
    let bidder = BidderSpec { bid_rate: 0.0, ..BidderSpec::default() };
    let stub = replay::stub::spawn(StubSpec::uniform(1, &bidder)).unwrap();
    let target = format!("http://{}/bid", stub.addresses()[0]);
    let full = std::env::var_os("GAVEL_FULL").is_some();
    let (few, many) = if full { (100_000, 1_000_000) } else { (12_000, 36_000) };
    let [few, many] = [few, many].map(|requests| memory(&target, requests));
    println!("{few} MiB, then {many} MiB");
    // of a program with its symbols and without optimisation, its own pages are a third
    let most = if cfg!(debug_assertions) { 110.0 } else { 60.0 };
    assert!(many <= most, "{many} MiB");
    // what the buffers that go round need is reached with the few
    assert!(many - few <= 8.0, "{few} MiB became {many}");
}

// === calibrate ===

/// `GAVEL_FULL=1`, on a machine that does nothing else: the figures that are promised.
#[test]
fn a_receiver_of_its_own_sees_every_request_and_none_before_its_moment() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json");
    let full = std::env::var_os("GAVEL_FULL").is_some();
    let rates = if full { "5000,20000" } else { "300,600" };
    let mut line = vec!["calibrate", "--rates", rates, "--time", "1s", "--out"];
    line.push(out.to_str().unwrap());
    // a sleeper is woken some 20 µs late by a virtual machine: what is promised is for a core that waits
    line.extend(if full { &["--spin", "60"][..] } else { &["--receiver-sleeps"] });
    let output = Command::new(env!("CARGO_BIN_EXE_gavel-replay")).args(&line).output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    // how near to its plan a busy machine comes is not asked
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    let readings: Vec<Reading> = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(readings.len(), 2);
    for reading in &readings {
        assert_eq!((reading.arrived, reading.early), (reading.planned, 0), "{reading:?}");
        assert!((reading.planned as f64 - reading.rate).abs() < 1.5, "{reading:?}");
        assert!(reading.p50_ns > 0 && reading.p50_ns <= reading.p99_ns, "{reading:?}");
    }
    if full {
        let [slow, fast] = &readings[..] else { panic!() };
        assert!(slow.is_kept(20_000, 0.15), "{slow:?}");
        assert!(fast.is_kept(50_000, 1.0), "{fast:?}");
    }
}

// === search ===

fn searched(target: &str, folder: &Path, code: i32) -> SearchResult {
    let out = folder.join("search.json");
    let out = out.to_str().unwrap();
    let line = ["search", "--synthetic", "200", "--target", target, "--slo", "errors = 0"];
    let pace = ["--from", "50", "--to", "200", "--step", "200ms", "--confirm", "300ms"];
    let times = ["--repeats", "1", "--confirmations", "2", "--rest", "1ms", "--out", out];
    told(&[&line[..], &pace, &times, &PATIENT].concat(), code);
    serde_json::from_slice(&fs::read(out).unwrap()).unwrap()
}

#[test]
fn a_search_finds_what_holds_with_requests_that_are_never_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let ids = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&ids);
    let target = script::serve(move |body| {
        kept.lock().unwrap().push(serde_json::from_slice::<Value>(body).unwrap()["id"].to_string());
        (204, String::new())
    });
    let result = searched(&format!("http://{target}"), folder.path(), 0);
    assert_eq!((result.found.rate, result.found.bound), (Some(200.0), Bound::Asked));
    assert_eq!((result.found.held, result.found.of, result.runs.len()), (3, 3, 5));
    let ids = ids.lock().unwrap();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len());
}

#[test]
fn a_search_finds_nothing_where_nothing_holds() {
    let folder = tempfile::tempdir().unwrap();
    let target = script::serve(|_| (500, String::new()));
    let result = searched(&format!("http://{target}"), folder.path(), 1);
    assert_eq!((result.found.rate, result.runs.len()), (None, 1));
    assert!(result.runs[0].why[0].contains("errors = 0"), "{:?}", result.runs);
    let line = ["search", "--synthetic", "9", "--target", "http://127.0.0.1:9"];
    assert!(told(&line, 2).contains("nothing has to hold"));
}

// === shrink ===

/// Bids on an impression that nobody asked for where `n` is 77.
fn faulty(body: &[u8]) -> (u16, String) {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let impid = if request["n"] == 77 { "2" } else { "1" };
    let id = request["id"].as_str().unwrap_or_default();
    let bid = format!(r#"{{"id":"b","impid":"{impid}","price":1.0,"adm":"x"}}"#);
    (200, format!(r#"{{"id":"{id}","seatbid":[{{"seat":"s","bid":[{bid}]}}]}}"#))
}

fn numbered(folder: &Path) -> String {
    let body = |n: u64| {
        format!(
            r#"{{"id":"r{n}","n":{n},"imp":[{{"id":"1","secure":1}}],"site":{{"id":"a long one"}}}}"#
        )
    };
    capture(folder, "numbered.cap", (0..200).map(body))
}

#[test]
fn a_run_keeps_what_fails_and_it_is_reduced_to_what_matters() {
    let folder = tempfile::tempdir().unwrap();
    let [failing, small] = ["failing.cap", "small.cap"]
        .map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let recording = numbered(folder.path());
    let target = format!("http://{}", script::serve(faulty));
    let line = ["run", &recording, "--target", &target, "--assert", "impid", "--failing", &failing];
    let text = told(&[&line[..], &PATIENT].concat(), 1);
    assert!(text.contains("1 failing requests in"), "{text}");
    for from in [&failing, &recording] {
        let line = ["shrink", from, "--target", &target, "--assert", "impid", "--out", &small];
        let text = told(&line, 0);
        assert!(text.contains("1 request(s)") && text.contains("nothing less fails"), "{text}");
        let shown = told(&["show", &small, "--json", "--record", "0"], 0);
        let record: Value = serde_json::from_str(&shown).unwrap();
        let body = &record["body"];
        assert_eq!((&body["n"], &body["test"]), (&77.into(), &1.into()), "{text}");
        assert!(body.get("site").is_none(), "{text}");
    }
    // what does not fail is not reduced
    let line = ["shrink", &recording, "--target", &target, "--assert", "empty", "--out", &small];
    assert!(told(&line, 3).contains("they do not fail"));
}

#[test]
fn a_request_that_two_builds_answer_otherwise_or_one_not_at_all_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let recording = numbered(folder.path());
    let small = folder.path().join("small.cap").to_str().unwrap().to_owned();
    let target = format!("http://{}", script::serve(|_| (204, String::new())));
    let build = script::serve(|body| {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        (if request["n"] == 123 { 400 } else { 204 }, String::new())
    });
    let build = format!("http://{build}");
    let line = ["shrink", &recording, "--target", &target, "--candidate", &build, "--out", &small];
    let text = told(&line, 0);
    assert!(text.contains("1 request(s)") && text.contains("123"), "{text}");
    // a panic of the answering thread is a connection that breaks
    let broken = script::serve(|body| {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        assert!(request["n"] != 5 || request["imp"].is_null(), "the server breaks");
        (204, String::new())
    });
    let broken = format!("http://{broken}");
    let line = ["shrink", &recording, "--target", &broken, "--unanswered", "--out", &small];
    let text = told(&line, 0);
    assert!(text.contains("1 request(s)") && text.contains("broke"), "{text}");
    let record = told(&["show", &small, "--json", "--record", "0"], 0);
    let record: Value = serde_json::from_str(&record).unwrap();
    let expected = serde_json::json!({"n": 5, "imp": [], "test": 1});
    assert_eq!(record["body"], expected);
}
