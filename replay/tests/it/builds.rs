//! `diff` and `shrink` as a user runs them: three exchanges, each a process of its own, before the
//! same simulated bidders.

use crate::script;
use gavel::capture::{Record, read};
use replay::demo::exchange::Exchange;
use replay::diff::DiffResult;
use replay::generate::{GenerateSettings, Generator};
use replay::stub::process::{self, Process};
use replay::stub::spec::{BidderSpec, StubSpec};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gavel-replay");

const REQUESTS: u64 = 1_500;

/// One request in so many is of the partner whose terms the faulty build gets wrong: 2 %.
const RARE: u64 = 50;

/// What the exchanges do not all have in common.
#[derive(Clone, Copy)]
struct Build {
    /// What is kept of the rare partner's sales, in percent.
    take_rate: u32,
    /// Where events come in.
    events: &'static str,
}

const GOOD: Build = Build { take_rate: 10, events: "https://x.example" };

/// Primary, secondary, candidate; they end with this.
struct World {
    folder: TempDir,
    exchanges: [Exchange; 3],
    _bidders: Process,
}

impl World {
    fn start(candidate: Build) -> Self {
        let one = BidderSpec { bid_rate: 0.6, ..BidderSpec::default() };
        let mut command = Command::new(PROGRAM);
        command.args(["stub", "--child"]);
        let spec = StubSpec { seed: 5, ..StubSpec::uniform(3, &one) };
        let bidders = process::spawn(command, &spec).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let builds = [("primary", GOOD), ("secondary", GOOD), ("candidate", candidate)];
        let mut exchanges = builds.map(|(name, build)| {
            let own = folder.path().join(name);
            std::fs::create_dir(&own).unwrap();
            let config = own.join("gavel.toml");
            std::fs::write(&config, configuration(&own, bidders.addresses(), build)).unwrap();
            Exchange::start(Path::new(PROGRAM), &config, &own.join("log")).unwrap()
        });
        for exchange in &mut exchanges {
            exchange.wait_ready().unwrap();
        }
        write_capture(&folder.path().join("in.capture"));
        Self { folder, exchanges, _bidders: bidders }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, at: usize) -> String {
        format!("http://{}", self.exchanges[at].public)
    }

    /// Exit code, what was found and what was shown.
    fn diff(&self, more: &[&str]) -> (Option<i32>, DiffResult, String) {
        let json = self.path("diff.json");
        let output = Command::new(PROGRAM)
            .arg("diff")
            .arg(self.path("in.capture"))
            .args(["--primary", &self.url(0), "--secondary", &self.url(1)])
            .args(["--candidate", &self.url(2), "--seed", "3", "--json"])
            .arg(&json)
            .args(more)
            .output()
            .unwrap();
        let shown = shown(&output);
        let found = std::fs::read(json).unwrap_or_else(|_| panic!("{shown}"));
        (output.status.code(), serde_json::from_slice(&found).unwrap(), shown)
    }
}

fn shown(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// A machine that is busy must not make a bidder late, nor have a request shed. With events, so
/// that answers carry tokens, which no two servers have in common.
fn configuration(folder: &Path, bidders: &[SocketAddr], build: Build) -> String {
    let mut text = format!(
        "[admin]\nlisten = '127.0.0.1:0'\n[runtime]\nworkers = 1\n\
         [admission]\nlag_target = '100ms'\nburst_time = '1h'\nburst_lag = '1h'\n\
         [journal]\ndir = '{}'\nballast_bytes = '0B'\nkeep_for = '49h'\n\
         [events]\nurl = '{}'\n\
         [[events.keys]]\nid = 1\nsecret = 'a secret of this test and of nobody else'\n\
         [rates.per_base]\nEUR = 0.9\nGBP = 0.8\nJPY = 150.0\nAUD = 1.5\nCAD = 1.4\n",
        folder.join("journal").display(),
        build.events
    );
    for (name, take_rate) in [("demo", GOOD.take_rate), ("rare", build.take_rate)] {
        write!(
            text,
            "[[partners]]\nname = '{name}'\nopen = true\nfloor = 0.01\ntake_rate = {take_rate}\n\
             allow_unknown_channel = true\nblock = {{ bots = false }}\n\
             tmax_default = '5s'\ntmax_max = '5s'\n\
             schain = {{ asi = 'gavel.example', sid = '{name}' }}\n"
        )
        .unwrap();
    }
    for (number, address) in bidders.iter().enumerate() {
        write!(
            text,
            "[[bidders]]\nname = 'b{number}'\nurl = 'http://{address}/bid'\n\
             [bidders.time]\nmost = '5s'\n"
        )
        .unwrap();
    }
    text
}

/// Distinct requests that have time.
fn write_capture(path: &Path) {
    let requests = Generator::new(GenerateSettings { seed: 7, broken: 0.0 }).set(REQUESTS);
    let requests = (0..).zip(requests.iter()).map(|(number, body)| {
        let mut body: Value = serde_json::from_slice(body).unwrap();
        body["tmax"] = 5_000.into();
        (if is_rare(number) { "rare" } else { "demo" }, body.to_string())
    });
    script::capture_of(path, requests);
}

fn is_rare(number: u64) -> bool {
    number % RARE == 3
}

/// Paths that differ beyond the noise.
fn different(found: &DiffResult) -> Vec<&str> {
    found.paths.iter().filter(|it| it.is_different).map(|it| it.path.as_str()).collect()
}

#[test]
fn a_build_is_not_different_from_itself_although_ids_and_tokens_are_new_each_time() {
    let world = World::start(GOOD);
    // a test has no notices of ours, and what is sent as recorded has them
    for more in [&[][..], &["--unmarked"]] {
        let (code, found, shown) = world.diff(more);
        assert_eq!(
            (code, found.requests, found.unanswered),
            (Some(0), REQUESTS, [0; 3]),
            "{shown}"
        );
        assert!(found.invalid().is_none(), "{shown}");
        let noisy: Vec<&str> = found.paths.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(noisy, ["$.bidid"], "nothing else differs from itself\n{shown}");
        assert_eq!(found.noise_rules[0].rule, "$.bidid");
    }
}

#[test]
fn terms_that_are_wrong_for_two_answers_of_a_hundred_are_found_named_and_reduced_to_one_request() {
    let world = World::start(Build { take_rate: 15, ..GOOD });
    let [failing, small] = ["failing.capture", "small.capture"].map(|name| world.path(name));
    let (code, found, shown) = world.diff(&["--unmarked", "--failing", failing.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{shown}");
    assert_eq!(different(&found), ["$.seatbid[*].bid[*].price"], "{shown}");
    assert!(found.paths[0].examples.iter().all(|example| is_rare(example.request)), "{shown}");

    let output = Command::new(PROGRAM)
        .arg("shrink")
        .arg(&failing)
        .args(["--target", &world.url(0), "--candidate", &world.url(2), "--out"])
        .arg(&small)
        .output()
        .unwrap();
    let shown = self::shown(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let mut reader = read::open(&small).unwrap();
    let (mut record, mut records) = (Record::default(), Vec::new());
    while reader.next(&mut record).unwrap() {
        records.push((record.path.clone(), record.body.clone()));
    }
    let [(path, body)] = &records[..] else { panic!("{} requests\n{shown}", records.len()) };
    assert_eq!(path, "/openrtb2/rare", "{shown}");
    let body: Value = serde_json::from_slice(body).unwrap();
    assert!(body.get("user").is_none() && body["imp"][0].get("id").is_some(), "{body}");
    assert!(shown.contains("it fails: the candidate answers otherwise"), "{shown}");
}

#[test]
fn a_wrong_host_of_notices_is_found_behind_their_tokens() {
    let world = World::start(Build { events: "https://y.example", ..GOOD });
    let (code, found, shown) = world.diff(&["--unmarked", "--requests", "300"]);
    assert_eq!(code, Some(1), "{shown}");
    let mut paths = different(&found);
    paths.sort_unstable();
    let of = |name: &str| format!("$.seatbid[*].bid[*].{name}");
    assert_eq!(paths, ["burl", "lurl", "nurl"].map(of), "{shown}");
}
