//! The gate of CI: a recording, played against the exchange with its five simulated bidders, judged
//! by assertions, objectives and diversity; and what the gate must not let pass.
//!
//! Nothing here depends on how fast the machine is: an exchange that sheds or bidders that are late
//! are no faults, a wrong answer is one.

use gavel::clock;
use replay::demo::exchange::Exchange;
use replay::demo::files::{Files, STUB};
use replay::stub::process::{self, Process};
use replay::stub::spec::StubSpec;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gavel-replay");

/// Made by `gavel-replay generate --count 700 --rate 100 --seed 11 --capture`, then `pack`.
fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/gate.capture")
}

/// The exchange of the demo and its bidders, in processes of their own.
struct Running {
    exchange: Exchange,
    _stubs: Process,
    _files: Files,
}

fn start() -> Running {
    let mut spec: StubSpec = toml::from_str(STUB).unwrap();
    spec.bidders.iter_mut().for_each(|bidder| bidder.port = 0);
    let mut command = Command::new(PROGRAM);
    command.args(["stub", "--child"]);
    let stubs = process::spawn(command, &spec).unwrap();
    let names = spec.bidders.iter().map(|bidder| bidder.name.as_str());
    let bidders: Vec<_> = names.zip(stubs.addresses().iter().copied()).collect();
    let files = Files::write(&bidders).unwrap();
    let mut exchange = Exchange::start(Path::new(PROGRAM), &files.main(), &files.log()).unwrap();
    exchange.wait_ready().unwrap();
    Running { exchange, _stubs: stubs, _files: files }
}

impl Running {
    /// Runs a command on it; exit code and what was printed.
    fn told(&self, before: &[&str], more: &[&str]) -> (Option<i32>, String) {
        let url = format!("http://{}", self.exchange.public);
        let urls: Vec<&str> = before
            .iter()
            .map(|word| word.strip_suffix("URL").map_or(*word, |_| url.as_str()))
            .collect();
        let output = Command::new(PROGRAM).args(urls).args(more).output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    }
}

/// Rules of the answer that this traffic is judged by, each of them: a named one that never is makes
/// the run invalid. `tmax` and `mix` are of the machine's speed.
const RULES: &str = "parses,id,shape,impid,one_bid,floor,deal,seat,currency,category,advertiser,\
                     size,markup";

#[test]
fn the_recording_passes_the_gate_and_two_runs_of_one_build_are_alike() {
    let begun = clock::monotonic();
    let running = start();
    let folder = tempfile::tempdir().unwrap();
    let [html, json, junit] = ["run.html", "run.json", "run.xml"]
        .map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let capture = recording();
    let capture = capture.to_str().unwrap();
    let play = ["run", capture, "--target", "URL", "--key", "demo-key", "--rate", "100"];
    let patient = ["--timeout", "20s", "--lateness-max", "1000000000"];
    let judge = ["--gate", "--assert", RULES, "--slo", "unanswered = 0", "--slo", "p99 < 20s"];
    let more = ["--slo", "status(400-499) < 10%", "--slo", "status(500-502) = 0"];
    let files = ["--html", &html, "--out", &json, "--junit", &junit];
    let (code, text) = running.told(&play, &[&patient[..], &judge, &more, &files].concat());
    println!("{text}");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("sent 700 of 700 planned") && text.contains("200: "), "{text}");
    assert!(fs::read_to_string(&html).unwrap().contains("<svg"));
    assert!(fs::read_to_string(&junit).unwrap().contains("<testcase"));

    // an objective that does not hold is exit 1, part of the recording in a loop exit 3
    let (code, text) = running
        .told(&play, &[&patient[..], &["--requests", "30", "--slo", "fill > 100%"]].concat());
    assert_eq!(code, Some(1), "{text}");
    let short = folder.path().join("short.cap");
    let short = short.to_str().unwrap();
    let (code, text) = running.told(&["generate", "--count", "80", "--capture", short], &[]);
    assert_eq!(code, Some(0), "{text}");
    let looped = ["run", short, "--target", "URL", "--key", "demo-key", "--rate", "200"];
    let (code, text) =
        running.told(&looped, &[&patient[..], &["--requests", "240", "--gate"]].concat());
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("NOT diverse: loops"), "{text}");

    // the build against itself
    let diff = ["diff", capture, "--primary", "URL", "--candidate", "URL"];
    let more = ["--header", "x-gavel-key: demo-key", "--requests", "150", "--repeats", "1"];
    let (code, text) = running.told(&diff, &more);
    println!("{text}");
    assert_eq!(code, Some(0), "{text}");
    println!("{:?}", begun.elapsed());
}
