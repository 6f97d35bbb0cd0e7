//! `diff` against servers that behave in scripted ways, over the loopback.

use crate::script;
use clap::Parser;
use replay::diff::DiffResult;
use replay::diff::command::{self, DiffArgs};
use replay::random::Random;
use replay::verdict::Verdict;
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: DiffArgs,
}

fn compared(folder: &Path, words: &[&str]) -> (Verdict, DiffResult, String) {
    let (capture, json) = (folder.join("in.cap"), folder.join("diff.json"));
    script::capture(
        &capture,
        (0..300).map(|number| format!(r#"{{"id":"r{number}","n":{number}}}"#)),
    );
    let (capture, json) = (capture.to_str().unwrap(), json.to_str().unwrap());
    let line = ["diff", capture, "--json", json].into_iter().chain(words.iter().copied());
    let mut shown = Vec::new();
    let verdict = command::run(&Line::parse_from(line).args, &mut shown).unwrap();
    let result = serde_json::from_slice(&std::fs::read(folder.join("diff.json")).unwrap()).unwrap();
    (verdict, result, String::from_utf8(shown).unwrap())
}

/// Echoes the id; `price` is noisy in one of twenty answers, and wrong where `wrong` says so.
fn build(wrong: impl Fn(u64) -> bool + Send + Sync + 'static) -> String {
    // one for all builds: no two answers of two builds have a number in common
    static TURNS: AtomicU64 = AtomicU64::new(0);
    let address = script::serve(move |body| {
        let request: Value = serde_json::from_slice(body).unwrap();
        let number = request["n"].as_u64().unwrap();
        let turn = TURNS.fetch_add(1, SeqCst);
        let noise = if Random::for_item(1, turn).chance(0.05) { turn } else { 0 };
        let price = if wrong(number) { 7_000_000 } else { noise };
        let id = &request["id"];
        (
            200,
            format!(
                r#"{{"id":{id},"bidid":"b{turn}","seatbid":[{{"bid":[{{"impid":"1","price":{price}}}]}}]}}"#
            ),
        )
    });
    format!("http://{address}")
}

#[test]
fn a_wrong_price_behind_noise_is_found_over_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let (primary, candidate) = (build(|_| false), build(|number| number % 20 == 3));
    let words = ["--primary", &primary, "--candidate", &candidate, "--ignore", "$.bidid"];
    let (verdict, result, shown) = compared(folder.path(), &words);
    assert_eq!(verdict, Verdict::Failed, "{shown}");
    assert_eq!(result.paths[0].path, "$.seatbid[*].bid[*].price");
    // every request has an id of its own and all three the same: the echo is steady
    assert!(result.paths.iter().all(|path| path.path != "$.id"), "{shown}");
    assert_eq!((result.requests, result.unanswered), (300, [0; 3]));
    assert!(result.paths[0].examples.iter().all(|one| one.request % 20 == 3), "{shown}");
    assert!(
        shown.contains("DIFFERENT beyond the noise") && shown.contains("<- differs"),
        "{shown}"
    );
}

#[test]
fn a_build_against_itself_is_not_different() {
    let folder = tempfile::tempdir().unwrap();
    let (primary, secondary, candidate) = (build(|_| false), build(|_| false), build(|_| false));
    let words = ["--primary", &primary, "--secondary", &secondary, "--candidate", &candidate];
    let (verdict, result, shown) = compared(folder.path(), &words);
    assert_eq!(verdict, Verdict::Pass, "{shown}");
    let rule = result.noise_rules.iter().find(|rule| rule.rule == "$.bidid").unwrap();
    assert_eq!(rule.refused, None);
}

#[test]
fn a_server_that_is_not_there_ends_with_its_own_code() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("in.cap");
    script::capture(&capture, (0..20).map(|_| "{}".to_owned()));
    let primary = build(|_| false);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let candidate = format!("http://{free}");
    let line = |capture: &str, candidate: &str, rule: &str| {
        let words = ["diff", capture, "--primary", &primary, "--candidate", candidate];
        let args = Line::parse_from(words.iter().chain(&["--ignore", rule])).args;
        command::run(&args, &mut Vec::new()).unwrap_err()
    };
    let capture = capture.to_str().unwrap();
    assert_eq!(line(capture, &candidate, "$.x").verdict, Verdict::Unreachable);
    assert_eq!(line(capture, &primary, "$.x[").verdict, Verdict::Usage);
    assert_eq!(line("no-such-file", &primary, "$.x").verdict, Verdict::Usage);
    let far = line(capture, "http://192.0.2.1/", "$.x");
    assert_eq!(far.verdict, Verdict::Usage);
    assert!(far.chain().contains("--allow"), "{}", far.chain());
}
