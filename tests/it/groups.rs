//! Real control groups: how many workers a quota makes, and a memory limit under too much load.
//!
//! `GAVEL_FULL=1` (`tests/full.sh memory`): 256 MiB, and three times what the process can do, for a
//! minute; without it, less of everything. Where no group can be made, each says so.

#![expect(clippy::print_stdout, reason = "what cannot be tested here is said")]

use crate::harness::bidder::{Bidder, Script};
use crate::harness::group::{Group, Limits};
use crate::harness::http::Client;
use crate::harness::server::Server;
use gavel::clock::monotonic;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A group, or the reason why there is none.
fn group(limits: Limits) -> Option<Group> {
    Group::make(limits).map_err(|why| println!("NOT RUN: no control group: {why}")).ok()
}

fn config(folder: &Path, rest: &str) -> PathBuf {
    let path = folder.join("gavel.toml");
    let edge = "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n";
    std::fs::write(&path, format!("{edge}{rest}")).unwrap();
    path
}

#[test]
fn a_quota_makes_as_many_workers_as_are_documented() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let affinity = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count();
    for (cpu_milli, rounded_up) in [(500, 1), (1_500, 2), (2_000, 2)] {
        let Some(group) = group(Limits { cpu_milli: Some(cpu_milli), ..Limits::default() }) else {
            return;
        };
        let mut server = group.serve(&config);
        let said = server.wait_log("workers counted");
        let expected = rounded_up.min(affinity);
        assert_eq!(said["quota_milli"], cpu_milli, "{said}");
        assert_eq!(said["workers"], expected, "{said}");
        println!(
            "a quota of {cpu_milli} thousandths of a CPU on {affinity} CPUs: {expected} workers"
        );
        assert_eq!(server.terminate(), Some(0));
    }
}

/// A request of about so many bytes, as one with a long list of blocked advertisers is.
fn request(bytes: usize) -> Vec<u8> {
    let mut text = String::from(
        r#"{"id":"r-1","tmax":3000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"},"badv":["a.example""#,
    );
    for number in 0.. {
        if text.len() + 3 > bytes {
            break;
        }
        text.push_str(&format!(",\"advertiser-{number}.example\""));
    }
    text.push_str("]}");
    text.into_bytes()
}

/// What came of a load.
#[derive(Debug, Default)]
struct Tally {
    auctioned: AtomicU64,
    shed: AtomicU64,
    /// Connections that ended without an answer: idle ones are closed when memory is short.
    closed: AtomicU64,
}

impl Tally {
    fn count(&self, status: Option<u16>) {
        let cell = match status {
            Some(200 | 204) => &self.auctioned,
            Some(503 | 408) => &self.shed,
            None => &self.closed,
            Some(other) => panic!("answered with {other}"),
        };
        cell.fetch_add(1, Ordering::Relaxed);
    }

    fn auctioned(&self) -> u64 {
        self.auctioned.load(Ordering::Relaxed)
    }

    fn all(&self) -> u64 {
        [&self.auctioned, &self.shed, &self.closed]
            .iter()
            .map(|cell| cell.load(Ordering::Relaxed))
            .sum()
    }
}

/// Ends a load also where what goes on meanwhile panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends while something goes on, each client on its own connection: its next request `gap` after
/// the last one was due, whatever became of that.
fn load<T>(
    (to, body): (SocketAddr, &[u8]),
    (clients, gap): (u32, Duration),
    tally: &Tally,
    meanwhile: impl FnOnce() -> T,
) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        for client in 0..clients {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut kept = None;
                let mut due = monotonic() + gap * client / clients;
                while !is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(due.saturating_duration_since(monotonic()));
                    due += gap;
                    kept = ask(kept.take(), to, body, tally);
                }
            });
        }
        meanwhile()
    })
}

fn ask(kept: Option<Client>, to: SocketAddr, body: &[u8], tally: &Tally) -> Option<Client> {
    let mut client = kept.or_else(|| Client::try_connect(to).ok())?;
    let reply = client.try_post("/openrtb2/pub", body);
    tally.count(reply.as_ref().map(|reply| reply.status));
    (reply?.header("connection") != Some("close")).then_some(client)
}

/// How long, how much memory, and how many clients.
struct Size {
    memory_bytes: u64,
    for_time: Duration,
    clients: u32,
}

fn size() -> Size {
    let is_full = std::env::var_os("GAVEL_FULL").is_some();
    let (mib, seconds, clients) = if is_full { (256, 60, 1_200) } else { (128, 3, 300) };
    Size { memory_bytes: mib * MIB, for_time: Duration::from_secs(seconds), clients }
}

/// A server in a group, with a bidder that thinks for a second.
fn in_a_group(folder: &Path, memory_bytes: u64, bidder: &Bidder) -> Option<(Group, Server)> {
    let group = group(Limits { memory_bytes: Some(memory_bytes), cpu_milli: Some(500) })?;
    let rules = format!(
        "[[partners]]\nname = 'pub'\nopen = true\ntmax_max = '3s'\n\
         [[bidders]]\nname = 'alpha'\nurl = 'http://{}/'\n[bidders.time]\nmost = '2s'\n",
        bidder.address
    );
    let server = group.serve(&config(folder, &rules));
    Some((group, server))
}

fn thinking() -> Bidder {
    let after = Duration::from_secs(1);
    Bidder::start(Script { status: 204, after, is_forgetful: true, ..Script::default() })
}

/// What was seen while a load went on.
#[derive(Debug, Default)]
struct Seen {
    pressure: f64,
    used_bytes: f64,
}

fn watch(server: &Server, for_time: Duration) -> Seen {
    let (begun, mut seen) = (monotonic(), Seen::default());
    while begun.elapsed() < for_time {
        seen.pressure = seen.pressure.max(server.metric("gavel_memory_pressure"));
        seen.used_bytes = seen.used_bytes.max(server.metric("gavel_memory_used_bytes"));
        std::thread::sleep(Duration::from_millis(50));
    }
    seen
}

#[test]
fn a_group_of_little_memory_is_not_overrun_by_three_times_the_load() {
    let Size { memory_bytes, for_time, clients } = size();
    let (folder, bidder) = (tempfile::tempdir().unwrap(), thinking());
    let Some((group, mut server)) = in_a_group(folder.path(), memory_bytes, &bidder) else {
        return;
    };
    let (to, body) = (server.public.unwrap(), request(20_000));
    let calm = Tally::default();
    let calm_for = for_time / 6;
    load((to, &body), (clients, Duration::ZERO), &calm, || std::thread::sleep(calm_for));
    let a_second = (calm.auctioned() as f64 / calm_for.as_secs_f64()).max(1.0);
    let gap = Duration::from_secs_f64(f64::from(3 * clients) / (3.0 * a_second));
    let tally = Tally::default();
    let seen = load((to, &body), (3 * clients, gap), &tally, || watch(&server, for_time));
    let offered = tally.all() as f64 / for_time.as_secs_f64();
    let peak = group.peak_bytes();
    println!(
        "{memory_bytes} bytes, half a CPU: can do {a_second:.0}/s, was asked {offered:.0}/s for {for_time:?}: \
         {tally:?}, {seen:?}, peak {peak:?}, {} killed",
        group.killed()
    );
    assert_eq!(group.killed(), 0);
    assert!(tally.auctioned() > 0 && tally.shed.load(Ordering::Relaxed) > 0, "{tally:?}");
    assert_eq!(server.readiness().status, 200, "it stays in service");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn bodies_that_come_at_once_and_are_more_than_the_memory_do_not_end_the_process() {
    let Size { memory_bytes, for_time, clients } = size();
    let (folder, bidder) = (tempfile::tempdir().unwrap(), thinking());
    let Some((group, mut server)) = in_a_group(folder.path(), memory_bytes, &bidder) else {
        return;
    };
    let (to, body) = (server.public.unwrap(), request(250_000));
    let tally = Tally::default();
    let seen = load((to, &body), (clients, Duration::ZERO), &tally, || watch(&server, for_time));
    let (peak, killed) = (group.peak_bytes(), group.killed());
    println!(
        "{memory_bytes} bytes, {clients} bodies of {} at once: {tally:?}, {seen:?}, peak {peak:?}, {killed} killed",
        body.len()
    );
    assert_eq!(killed, 0);
    assert!(tally.shed.load(Ordering::Relaxed) > 0, "{tally:?}");
    assert_eq!(server.readiness().status, 200, "it stays in service");
    assert_eq!(server.terminate(), Some(0));
}
