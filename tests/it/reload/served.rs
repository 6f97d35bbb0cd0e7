//! Reloads of a running exchange, under load: what is good becomes a generation, what is broken
//! changes nothing, and no request notices.
//!
//! Small here; `tests/full.sh reload` sets `GAVEL_FULL` and runs them at their full size.
//! `GAVEL_STYLES` chooses the ways of writing, such as `rename,rewrite`.

#![expect(clippy::print_stdout, reason = "figures for a person")]

use super::kubelet::{Payload, Volume};
use super::styles::{Folder, Style};
use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::{Client, PATIENCE};
use crate::harness::server::Server;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const REQUEST: &str = r#"{"id":"r-1","tmax":3000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"},"device":{"ip":"203.0.113.9"}}"#;

/// How often at the full size, and here.
fn times(full: u32, small: u32) -> u32 {
    let is_full = std::env::var_os("GAVEL_FULL").is_some();
    if is_full { full } else { small }
}

/// Requests one after the other, from a thread of their own.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, sent): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(address);
            let mut failed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                match client.post("/openrtb2/pub", &[], REQUEST.as_bytes()) {
                    Some(reply) if matches!(reply.status, 200 | 204) => {
                        if reply.header("connection") == Some("close") {
                            client = Client::connect(address);
                        }
                    }
                    other => {
                        failed.push(format!("{other:?}"));
                        client = Client::connect(address);
                    }
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            failed
        });
        Self { stop, sent, thread: Some(thread) }
    }

    /// Waits until the bidder's connections are those of a steady load; says how many.
    fn warm(&self, bidder: &Bidder) -> usize {
        let sent = self.sent.load(Ordering::Relaxed);
        wait_until("requests", || self.sent.load(Ordering::Relaxed) > sent + 20);
        bidder.connections()
    }

    /// Ends it: every request must have been answered well.
    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.thread.take().unwrap().join().unwrap();
        let sent = self.sent.load(Ordering::Relaxed);
        println!("{sent} requests meanwhile, {} of them failed", failed.len());
        assert!(sent > 0 && failed.is_empty(), "{:?}", failed.first());
    }
}

/// Waits for a level and says how long it took.
fn wait_until(what: &str, is_so: impl Fn() -> bool) -> Duration {
    let start = now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
    start.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "a test measures")]
fn now() -> Instant {
    Instant::now()
}

/// The main file; `version` shows in the chain that bidders are sent. One worker: with more, a
/// connection that is moved to another one opens new ones to the bidder there.
fn main_file(version: u32, city: &Path, extra: &str) -> String {
    format!(
        "include = ['bidders.toml']\n{extra}[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
         {PATIENT}[runtime]\nworkers = 1\n[databases]\ncity = '{}'\n\
         [[partners]]\nname = 'pub'\nopen = true\ntmax_default = '3s'\ntmax_max = '5s'\n\
         schain = {{ asi = 'gavel.example', sid = 'v{version}' }}\n",
        city.display()
    )
}

fn bidders_file(version: u32, bidder: &Bidder) -> String {
    format!(
        "[[bidders]]\nname = 'alpha'\nurl = 'http://{}/'\nheaders = ['x-rules: v{version}']\n\
         [bidders.time]\nmost = '5s'\n[bidders.limits]\nconnection_age_max = '24h'\n",
        bidder.address
    )
}

fn demo_city() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo/geo/demo-city.mmdb")
}

fn silent_bidder() -> Bidder {
    Bidder::start(Script { status: 204, ..Script::default() })
}

fn generation(server: &Server) -> u64 {
    whole(server.metric("gavel_snapshot_generation"))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// Tries of a source so far, whatever came of them.
fn tries(server: &Server, source: &str) -> u64 {
    let row = format!("gavel_reloads_total{{source=\"{source}\",");
    let text = server.metrics();
    let values = text.lines().filter(|line| line.starts_with(&row));
    whole(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// Times of reloads, for a person.
fn show(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    println!(
        "{what}: {} times, p50 {:.2?}, p95 {:.2?}, max {:.2?}",
        took.len(),
        at(50),
        at(95),
        at(100)
    );
}

#[test]
fn each_way_of_changing_a_file_becomes_a_generation_and_no_request_is_lost() {
    for style in Style::chosen() {
        let dir = TempDir::new().unwrap();
        let bidder = silent_bidder();
        let mut rules = Folder::new(style, &dir.path().join("rules"));
        rules.update("bidders.toml", bidders_file(0, &bidder).as_bytes());
        rules.update("gavel.toml", main_file(0, &demo_city(), "").as_bytes());
        let server = Server::ready(&rules.path("gavel.toml"));
        let load = Load::start(server.public.unwrap());
        let opened = load.warm(&bidder);
        let mut took = Vec::new();
        for version in 1..=times(200, 2) {
            let before = generation(&server);
            rules.update("gavel.toml", main_file(version, &demo_city(), "").as_bytes());
            took.push(wait_until("a new generation", || generation(&server) > before));
        }
        let sid = format!("\"sid\":\"v{}\"", times(200, 2));
        wait_until("a request under the last rules", || {
            bidder.last().is_some_and(|last| String::from_utf8_lossy(&last.body).contains(&sid))
        });
        load.end();
        show(&format!("{style:?}, rules"), took);
        // a late answer keeps its connection for a while, and the next call takes another
        let late = server.metric("gavel_bidder_calls_total{bidder=\"alpha\",result=\"late\"}");
        let most = opened + usize::try_from(whole(late)).unwrap();
        assert!(bidder.connections() <= most, "what did not change keeps its connections");
    }
}

#[test]
fn a_database_that_changes_becomes_a_generation_in_each_way() {
    change_a_database(&demo_city(), times(200, 2));
}

/// With a City database of the operator's own: one of 60 MB is verified, not the demo's.
#[test]
fn a_large_database_that_changes_becomes_a_generation_in_each_way() {
    match std::env::var_os("GAVEL_CITY") {
        Some(city) => change_a_database(Path::new(&city), times(40, 2)),
        None => println!("SKIPPED: GAVEL_CITY names no database"),
    }
}

/// What a process has in memory.
fn resident_mb(pid: u32) -> u64 {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages = pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    pages * 4096 / 1_000_000
}

fn change_a_database(city: &Path, times: u32) {
    for style in Style::chosen() {
        let dir = TempDir::new().unwrap();
        let bidder = silent_bidder();
        let mut geo = Folder::new(style, &dir.path().join("geo"));
        let good = std::fs::read(city).unwrap();
        geo.update("city.mmdb", &good);
        let config = dir.path().join("gavel.toml");
        std::fs::write(dir.path().join("bidders.toml"), bidders_file(0, &bidder)).unwrap();
        std::fs::write(&config, main_file(0, &geo.path("city.mmdb"), "")).unwrap();
        let server = Server::ready(&config);
        let load = Load::start(server.public.unwrap());
        let mut took = Vec::new();
        let mut memory = Vec::new();
        for version in 1..=times {
            let before = generation(&server);
            // bytes behind the metadata mean nothing to a reader, and are another file
            let other = [&good[..], format!("v{version}").as_bytes()].concat();
            geo.update("city.mmdb", &other);
            took.push(wait_until("a new generation", || generation(&server) > before));
            memory.push(resident_mb(server.pid()));
        }
        load.end();
        show(&format!("{style:?}, database of {} MB", good.len() / 1_000_000), took);
        let [first, half, last] = [0, 50, 100].map(|part| memory[(memory.len() - 1) * part / 100]);
        println!("resident after the first, half of them, all: {first}, {half}, {last} MB");
    }
}

#[test]
fn no_request_sees_two_generations() {
    let dir = TempDir::new().unwrap();
    let bidder = silent_bidder();
    let mut volume = Volume::new(&dir.path().join("rules"));
    let payload = |version| {
        let main = main_file(version, &demo_city(), "").into_bytes();
        let bidders = bidders_file(version, &bidder).into_bytes();
        Payload::from([("gavel.toml".to_owned(), main), ("bidders.toml".to_owned(), bidders)])
    };
    volume.write(&payload(0));
    let server = Server::ready(&volume.path("gavel.toml"));
    let load = Load::start(server.public.unwrap());
    for version in 1..=times(100, 3) {
        let before = generation(&server);
        volume.write(&payload(version));
        server.hang_up();
        wait_until("a new generation", || generation(&server) > before);
    }
    load.end();
    for message in bidder.seen() {
        let (_, version) = message.headers.iter().find(|(name, _)| name == "x-rules").unwrap();
        let body = String::from_utf8_lossy(&message.body);
        assert!(body.contains(&format!("\"sid\":\"{version}\"")), "{version}: {body}");
    }
}

#[test]
fn asking_for_a_reload_of_what_is_the_same_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let bidder = silent_bidder();
    let config = dir.path().join("gavel.toml");
    std::fs::write(dir.path().join("bidders.toml"), bidders_file(0, &bidder)).unwrap();
    std::fs::write(&config, main_file(0, &demo_city(), "")).unwrap();
    let server = Server::ready(&config);
    let load = Load::start(server.public.unwrap());
    let opened = load.warm(&bidder);
    for _ in 0..times(200, 10) {
        let before = tries(&server, "rules");
        server.hang_up();
        wait_until("a try", || tries(&server, "rules") > before);
    }
    load.end();
    assert_eq!((generation(&server), bidder.connections()), (1, opened));
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }
}

/// Damage of every kind that a file comes to.
fn damaged(good: &[u8], random: &mut Random) -> (&'static str, Vec<u8>) {
    let mut bytes = good.to_vec();
    let at = random.below(bytes.len());
    let kind = match random.below(6) {
        0 => {
            bytes.truncate(at);
            "cut"
        }
        1 => {
            bytes[at] ^= 1 << random.below(8);
            "a bit"
        }
        2 => {
            let end = (at + 1 + random.below(bytes.len() / 4)).min(bytes.len());
            bytes[at..end].fill(0);
            "zeros"
        }
        3 => {
            bytes.clear();
            "empty"
        }
        4 => {
            let end = (at + 64).min(bytes.len());
            bytes.drain(at..end);
            "a gap"
        }
        _ => {
            bytes.iter_mut().skip(at).for_each(|byte| *byte = byte.wrapping_add(1));
            "garbage"
        }
    };
    (kind, bytes)
}

/// Puts broken states of one key into a volume, has each looked at, and gives how many were taken.
fn break_it(server: &Server, source: &str, times: u32, mut put: impl FnMut(u32)) -> u64 {
    let load = Load::start(server.public.unwrap());
    let first = generation(server);
    for number in 0..times {
        let before = tries(server, source);
        put(number);
        server.hang_up();
        wait_until("a try", || tries(server, source) > before);
        assert_eq!(server.readiness().status, 200, "readiness never falls because of a reload");
    }
    load.end();
    generation(server) - first
}

#[test]
fn broken_rules_change_nothing() {
    for is_summed in [true, false] {
        let dir = TempDir::new().unwrap();
        let bidder = silent_bidder();
        let mut volume = Volume::new(&dir.path().join("rules"));
        let extra = if is_summed { "checksums = 'SHA256SUMS'\n" } else { "" };
        let main = main_file(0, &demo_city(), extra).into_bytes();
        let bidders = bidders_file(0, &bidder).into_bytes();
        let sums = format!("{}  gavel.toml\n{}  bidders.toml\n", sha256(&main), sha256(&bidders));
        let payload = |bidders: Vec<u8>| {
            Payload::from([
                ("gavel.toml".to_owned(), main.clone()),
                ("bidders.toml".to_owned(), bidders),
                ("SHA256SUMS".to_owned(), sums.clone().into_bytes()),
            ])
        };
        volume.write(&payload(bidders.clone()));
        let server = Server::ready(&volume.path("gavel.toml"));
        let (mut random, count) = (Random(7), times(1000, 12));
        let taken = break_it(&server, "rules", count, |_| {
            let (_, bad) = damaged(&bidders, &mut random);
            volume.write(&payload(bad));
        });
        println!("{count} broken rules, sums: {is_summed}: {taken} taken");
        assert!(!is_summed || taken == 0, "{taken} broken states were taken against their sums");
    }
}

#[test]
fn broken_databases_change_nothing() {
    for is_summed in [true, false] {
        let dir = TempDir::new().unwrap();
        let bidder = silent_bidder();
        let mut volume = Volume::new(&dir.path().join("geo"));
        let good = std::fs::read(demo_city()).unwrap();
        let sums = format!("{}  city.mmdb\n", sha256(&good)).into_bytes();
        let payload = |city: Vec<u8>| {
            let mut payload = Payload::from([("city.mmdb".to_owned(), city)]);
            if is_summed {
                payload.insert("city.mmdb.sha256".to_owned(), sums.clone());
            }
            payload
        };
        volume.write(&payload(good.clone()));
        let config = dir.path().join("gavel.toml");
        std::fs::write(dir.path().join("bidders.toml"), bidders_file(0, &bidder)).unwrap();
        std::fs::write(&config, main_file(0, &volume.path("city.mmdb"), "")).unwrap();
        let server = Server::ready(&config);
        let (mut random, count) = (Random(7), times(1000, 12));
        let taken = break_it(&server, "city", count, |_| {
            let (_, bad) = damaged(&good, &mut random);
            volume.write(&payload(bad));
        });
        println!("{count} broken databases, sums: {is_summed}: {taken} taken");
        assert!(!is_summed || taken == 0, "{taken} broken states were taken against their sums");
    }
}

#[test]
fn a_start_into_broken_rules_runs_on_those_that_were_kept() {
    let dir = TempDir::new().unwrap();
    let bidder = silent_bidder();
    let (config, keep) = (dir.path().join("gavel.toml"), dir.path().join("kept"));
    let more = dir.path().join("bidders.toml");
    std::fs::write(&more, bidders_file(0, &bidder)).unwrap();
    std::fs::write(&config, main_file(0, &demo_city(), "")).unwrap();
    let keep = keep.to_str().unwrap();
    let mut server = Server::start(&config, &["--keep", keep]);
    server.wait_log("ready");
    let kept = Path::new(keep).join("last-good-rules.json");
    wait_until("rules are kept", || kept.exists());
    server.terminate();
    std::fs::write(&more, "[[bidders]]\nname = 7\n").unwrap();
    let mut server = Server::start(&config, &["--keep", keep]);
    server.public = Some(server.listening("public"));
    server.wait_log("ready");
    assert!(server.readiness().text().contains("degraded"), "{}", server.readiness().text());
    wait_until("the metric", || server.metric("gavel_degraded") > 0.5);
    let mut client = Client::connect(server.public.unwrap());
    let reply = client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap();
    assert_eq!(reply.status, 204);
    std::fs::write(&more, bidders_file(1, &bidder)).unwrap();
    wait_until("good rules end it", || server.metric("gavel_degraded") < 0.5);
    assert!(!server.readiness().text().contains("degraded"));
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn an_operator_sees_what_is_in_force_and_why_the_last_state_was_not_taken() {
    let dir = TempDir::new().unwrap();
    let bidder = silent_bidder();
    let (config, more) = (dir.path().join("gavel.toml"), dir.path().join("bidders.toml"));
    let admin = format!("unix:{}", dir.path().join("admin.sock").display());
    let main =
        main_file(0, &demo_city(), "").replace("127.0.0.1:0'\n[admission]", "X'\n[admission]");
    let main = main.replace("[admin]\nlisten = 'X'", &format!("[admin]\nlisten = '{admin}'"));
    std::fs::write(&more, bidders_file(0, &bidder)).unwrap();
    std::fs::write(&config, main).unwrap();
    let server = Server::ready(&config);
    let ask = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(["debug", "snapshot", "--admin", admin.trim_start_matches("unix:"), "--config"])
            .arg(&config)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|_| {
            panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
        })
    };
    let before = ask();
    assert_eq!((&before["generation"], &before["bidders"]), (&1.into(), &1.into()));
    let (invalid, refused) = (
        "gavel_reloads_total{source=\"rules\",result=\"invalid\"}",
        "gavel_source_refused{source=\"rules\"}",
    );
    // there from the start, so that the first fault is a rise
    for row in [invalid, refused] {
        assert!(server.metrics().contains(&format!("\n{row} 0\n")), "{row}");
    }
    assert_eq!(before["sources"]["city"]["last"]["faults"], serde_json::json!([]));
    std::fs::write(&more, "[[bidders]]\nname = 'alpha'\nurl = 7\n").unwrap();
    wait_until("the fault", || server.metric(invalid) > 0.5 && server.metric(refused) > 0.5);
    let after = ask();
    assert_eq!((&after["generation"], &after["bidders"]), (&1.into(), &1.into()));
    let last = &after["sources"]["rules"]["last"];
    assert_eq!(last["result"], "invalid");
    assert!(last["faults"][0].as_str().unwrap().contains("bidders[0].url"), "{last}");
    assert_eq!(after["sources"]["rules"]["checksum"], before["sources"]["rules"]["checksum"]);
    std::fs::write(&more, bidders_file(0, &bidder)).unwrap();
    wait_until("good rules end it", || server.metric(refused) < 0.5);
}
