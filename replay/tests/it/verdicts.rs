//! What must never pass: traffic that is turned away or not answered, a run that sent nothing or was
//! ended, an end that never comes.

use crate::script;
use gavel::clock::monotonic;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use replay::generate::{GenerateSettings, Generator};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gavel-replay");

/// No test may depend on how busy the machine is.
const PATIENT: [&str; 2] = ["--lateness-max", "1000000000"];

/// What it printed, where it ended as it should.
fn told(arguments: &[&str], code: i32) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
    text
}

fn recording(folder: &Path, count: u64) -> String {
    let path = folder.join("in.cap");
    let bodies = Generator::new(GenerateSettings::default()).set(count);
    script::capture(&path, bodies.iter().map(|body| String::from_utf8(body.to_vec()).unwrap()));
    path.to_str().unwrap().to_owned()
}

fn answering(status: u16) -> String {
    format!("http://{}", script::serve(move |_| (status, String::new())))
}

fn hanging() -> String {
    let never = |_: &[u8]| loop {
        std::thread::park();
    };
    format!("http://{}", script::serve(never))
}

// === traffic that is turned away, or not answered ===

#[test]
fn a_run_that_is_turned_away_or_not_answered_is_invalid_whatever_it_is_judged_by() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path(), 200);
    let slo = ["--slo", "p99 < 500s", "--slo", "errors < 100%"];
    let all = ["--assert", "all"];
    let (refused, empty, hangs) = (answering(401), answering(204), hanging());
    let short = ["--timeout", "300ms"];
    for (target, more, code, expected) in [
        (&refused, &[][..], 3, "NOT valid: 200 of 200 answers turn the request away"),
        (&refused, &slo, 3, "turn the request away"),
        (&refused, &all, 3, "NOT valid: no assertion was judged that reads an answer"),
        (&hangs, &short, 3, "NOT valid: none of 200 requests was answered"),
        (&hangs, &[&short[..], &all].concat(), 3, "latency   none"),
        (&empty, &[&slo[..], &all].concat(), 1, "FAILED: mix"),
        (&empty, &slo, 0, "verdict: pass"),
        (&empty, &["--assert", "empty,tmax"], 0, "verdict: pass"),
        (&empty, &["--assert", "empty,floor,deal"], 3, "never judged: floor, deal"),
        (&answering(400), &slo, 3, "NOT valid: 200 of 200 answers turn the request away"),
        (&answering(302), &slo, 3, "NOT valid: 200 of 200 answers turn the request away"),
        (&answering(429), &slo, 0, "verdict: pass"),
    ] {
        let line = ["run", &recording, "--target", target, "--rate", "2000"];
        let text = told(&[&line[..], &PATIENT, more].concat(), code);
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn an_answer_without_a_bid_is_no_fill() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path(), 50);
    for (body, code) in
        [(r#"{"id":"1","nbr":2}"#, 1), (r#"{"seatbid":[{"bid":[{"id":"2","price":1}]}]}"#, 0)]
    {
        let target = format!("http://{}", script::serve(move |_| (200, body.to_owned())));
        let line = ["run", &recording, "--target", &target, "--slo", "fill > 10%"];
        told(&[&line[..], &PATIENT].concat(), code);
    }
}

#[test]
fn no_rate_holds_where_everything_is_turned_away_or_nothing_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path(), 50);
    let slo = ["--slo", "errors < 100%"];
    let pace = ["--from", "100", "--to", "200", "--step", "200ms", "--confirm", "200ms"];
    let times = ["--repeats", "1", "--confirmations", "1", "--rest", "1ms", "--timeout", "300ms"];
    for (target, expected) in
        [(answering(404), "turn the request away"), (hanging(), "none of 20 requests was answered")]
    {
        let line = ["search", &recording, "--target", &target];
        let text = told(&[&line[..], &slo, &pace, &times, &PATIENT].concat(), 1);
        assert!(text.contains("nothing found: not even 100 a second"), "{text}");
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn two_targets_that_turn_everything_away_are_not_called_alike() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path(), 50);
    let (refused, served) = (answering(401), answering(204));
    for (primary, candidate, code, expected) in [
        (&refused, &refused, 3, "INVALID: the primary turned 50 of 50 requests away"),
        (&refused, &served, 3, "INVALID: the primary turned 50 of 50 requests away"),
        (&served, &refused, 1, "DIFFERENT"),
        (&served, &served, 0, "no difference"),
    ] {
        let line = ["diff", &recording, "--primary", primary, "--candidate", candidate];
        let text = told(&line, code);
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

// === a run that sends nothing ===

#[test]
fn a_run_that_has_nothing_to_send_does_not_pass() {
    let folder = tempfile::tempdir().unwrap();
    let whole = recording(folder.path(), 300);
    let target = answering(204);
    let torn = folder.path().join("torn.cap");
    fs::write(&torn, &fs::read(&whole).unwrap()[..1_000]).unwrap();
    let torn = torn.to_str().unwrap();
    let text = told(&["run", torn, "--target", &target], 2);
    assert!(text.contains("has no request that can be sent, and is damaged: "), "{text}");
    let text = told(&["search", torn, "--target", &target, "--slo", "errors < 1%"], 2);
    assert!(text.contains("has no request that can be sent"), "{text}");
    let empty = folder.path().join("empty.cap");
    script::capture(&empty, std::iter::empty());
    let text = told(&["run", empty.to_str().unwrap(), "--target", &target], 2);
    assert!(text.contains("has no request that can be sent\n"), "{text}");
    // of a run of one request nothing falls to the second of two
    let one = [&["run", &whole, "--target", &target, "--requests", "1"][..], &PATIENT].concat();
    told(&[&one[..], &["--shard", "0/2"]].concat(), 0);
    let text = told(&[&one[..], &["--shard", "1/2"]].concat(), 3);
    assert!(text.contains("NOT valid: nothing was sent"), "{text}");
}

// === the end ===

/// Starts a run, ends it by a signal when its target has seen so many requests; exit code, what was
/// printed.
fn interrupted(recording: &str, pace: &[&str], seen: u64) -> (Option<i32>, String) {
    let (tell, heard) = sync_channel(64);
    let target = script::serve(move |_| {
        // nobody listens any more after the first ones
        let _ = tell.try_send(());
        (204, String::new())
    });
    let target = format!("http://{target}");
    let child = Command::new(PROGRAM)
        .args(["run", recording, "--target", &target])
        .args(pace)
        .args(PATIENT)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // a run that fails at once is told by what it printed
    let _ = (0..seen).try_for_each(|_| heard.recv_timeout(Duration::from_secs(60)));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_run_that_is_ended_before_its_plan_is_invalid_and_says_what_it_took_up() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path(), 300);
    let (code, text) = interrupted(&recording, &["--rate", "20", "--duration", "10m"], 3);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("NOT valid: it was ended before its plan was"), "{text}");
    let sent = text.split("sent ").last().unwrap().split(' ').next().unwrap();
    assert!(text.contains(&format!("read {sent} records, 1 round(s)")), "{text}");
    // nothing more is due, and the end of the plan is an hour away
    let (code, text) = interrupted(&recording, &["--rate", "0.0001", "--duration", "60m"], 1);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("sent 1 of 1 planned"), "{text}");
}

#[test]
fn the_end_is_where_the_time_or_the_last_request_is_and_not_where_the_next_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path(), 20);
    let target = answering(204);
    for pace in [
        &["--rate", "0.001", "--duration", "200ms"][..],
        &["--rate", "1e-9", "--duration", "200ms"],
        // records are a millisecond apart; slower, the eleventh is 1,000 s away
        &["--speed", "0.000001", "--requests", "1", "--duration", "200ms"],
        &["--stages", "1s:0,60m:0-0.001", "--duration", "200ms", "--burst", "100ms:3"],
    ] {
        let begun = monotonic();
        told(&[&["run", &recording, "--target", &target][..], pace, &PATIENT].concat(), 0);
        assert!(begun.elapsed() < Duration::from_secs(60), "{pace:?}: {:?}", begun.elapsed());
    }
}

// === files and pipes ===

#[test]
fn files_that_cannot_be_written_or_are_read_are_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path(), 100);
    let before = fs::read(&recording).unwrap();
    let target = script::serve(|_| panic!("nothing may be sent"));
    let target = format!("http://{target}");
    let nowhere = folder.path().join("nodir/x.json").to_str().unwrap().to_owned();
    let run = ["run", &recording, "--target", &target, "--assert", "id"];
    let search = ["search", &recording, "--target", &target, "--slo", "errors = 0"];
    let diff = ["diff", &recording, "--primary", &target, "--candidate", &target];
    let shrink = ["shrink", &recording, "--target", &target, "--assert", "id"];
    let import = ["import", &recording, "--no-pseudonyms", "--force"];
    let lines: [(&[&str], &[&str]); 5] = [
        (&run, &["--out", "--html", "--junit", "--hdr", "--failing"]),
        (&search, &["--out"]),
        (&diff, &["--json", "--html", "--failing"]),
        (&shrink, &["--out"]),
        (&import, &["--out"]),
    ];
    for (line, options) in lines {
        for option in options {
            let text = told(&[line, &[option, &nowhere]].concat(), 2);
            assert!(text.contains("x.json cannot be written"), "{text}");
            let text = told(&[line, &[option, &recording]].concat(), 2);
            assert!(text.contains("in.cap is read by this command"), "{text}");
        }
    }
    assert_eq!(fs::read(&recording).unwrap(), before);
}

#[test]
fn a_reader_that_goes_does_not_decide_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path(), 20);
    for (status, code) in [(204, 0), (401, 3)] {
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        let ended = Command::new(PROGRAM)
            .args(["run", &recording, "--target", &answering(status)])
            .args(PATIENT)
            .stdout(write)
            .status()
            .unwrap();
        assert_eq!(ended.code(), Some(code), "{status}");
    }
}

#[test]
fn an_answer_of_204_that_announces_a_body_fails_its_rule_over_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recording(folder.path(), 20);
    let target = format!("http://{}", script::serve(|_| (204, "hello".to_owned())));
    let line = ["run", &recording, "--target", &target, "--assert", "empty"];
    let text = told(&[&line[..], &PATIENT].concat(), 1);
    assert!(text.contains("FAILED: assertion empty in 20 of 20"), "{text}");
}
