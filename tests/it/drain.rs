//! Rolling updates: the process is told to end under load, and nobody may notice.
//!
//! What a load balancer does is part of the test: it asks `/ready`, and sends nothing more to a
//! process that says no. Each sold ad is billed, and what was answered must be in the journal.
//! `GAVEL_FULL=1`: twenty ends instead of two.

use crate::events::kill::id;
use crate::events::{BASE, ONE, billed, events};
use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::{Client, Reply, get};
use crate::harness::server::Server;
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const REQUEST: &str =
    r#"{"id":"r-1","tmax":5000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"}}"#;
const ANSWER: &str = r#"{"id":"r-1","seatbid":[{"bid":[{"id":"b","impid":"1","price":1,"adm":"<p>","w":300,"h":250}]}]}"#;

/// Clients of each kind.
const CLIENTS: usize = 4;

/// Requests that have been answered before the process is told to end.
const BEFORE: u64 = 200;

/// Within the grace period of a pod: the drain of 2 s, what is in flight, and room for a machine
/// that does other things as well.
const END_MAX: Duration = Duration::from_secs(30);

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One connection until it is told to close it.
    KeepAlive,
    /// A connection for each request.
    New,
}

fn config(folder: &Path, bidder: &Bidder) -> PathBuf {
    let path = folder.join("gavel.toml");
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [drain]\nmin = '2s'\n\
         [[partners]]\nname = 'pub'\nopen = true\ntmax_default = '5s'\ntmax_max = '9s'\n\
         [[bidders]]\nname = 'alpha'\nurl = 'http://{}/'\n[bidders.time]\nmost = '5s'\n\
         [journal]\ndir = 'j'\nsegment_bytes = '1MiB'\ncommit_bytes_max = '256KiB'\n\
         ballast_bytes = 0\n{}",
        bidder.address,
        events(&[ONE])
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// What clients and the one who ends the process know of each other.
#[derive(Default)]
struct Shared {
    is_out: AtomicBool,
    answered: AtomicU64,
    /// Paths of events that were answered.
    billed: Mutex<Vec<String>>,
}

/// Asks and bills until the load balancer has taken the process out; whatever goes wrong panics.
fn ask(to: SocketAddr, kind: Kind, shared: &Shared) {
    let mut line = Line { to, kind, kept: None };
    while !shared.is_out.load(Ordering::Acquire) {
        let reply = line.exchange(|client| client.post("/openrtb2/pub", &[], REQUEST.as_bytes()));
        assert_eq!(reply.status, 200, "{kind:?}: {}", reply.text());
        shared.answered.fetch_add(1, Ordering::Relaxed);
        let json = reply.json();
        let burl = json["seatbid"][0]["bid"][0]["burl"].as_str().unwrap();
        let path = burl.strip_prefix(BASE).unwrap();
        let reply = line.exchange(|client| {
            client.send(format!("GET {path} HTTP/1.1\r\nhost: gavel.test\r\n\r\n").as_bytes());
            client.receive()
        });
        assert_eq!(reply.status, 204, "{kind:?}: {}", reply.text());
        shared.billed.lock().unwrap().push(path.to_owned());
    }
}

/// A client's way to the process.
struct Line {
    to: SocketAddr,
    kind: Kind,
    kept: Option<Client>,
}

impl Line {
    fn exchange(&mut self, send: impl FnOnce(&mut Client) -> Option<Reply>) -> Reply {
        let mut client = self.kept.take().unwrap_or_else(|| Client::connect(self.to));
        let reply = send(&mut client);
        let reply = reply.unwrap_or_else(|| panic!("{:?}: closed without an answer", self.kind));
        let is_told = reply.header("connection") == Some("close");
        self.kept = (matches!(self.kind, Kind::KeepAlive) && !is_told).then_some(client);
        reply
    }
}

/// One process from its start to its end under load; gives the requests answered after the signal,
/// and adds the events that were answered.
fn one_end(folder: &Path, bidder: &Bidder, billed: &mut Vec<String>) -> u64 {
    let mut server = Server::ready(&config(folder, bidder));
    let (to, operations) = (server.public.unwrap(), server.operations);
    let shared = Shared::default();
    let Shared { is_out, answered, .. } = &shared;
    let after = std::thread::scope(|scope| {
        let clients: Vec<_> = [Kind::KeepAlive, Kind::New]
            .into_iter()
            .flat_map(|kind| [kind; CLIENTS])
            .map(|kind| {
                let shared = &shared;
                scope.spawn(move || ask(to, kind, shared))
            })
            .collect();
        // one that was idle all the time must be answered too, and told to go
        let mut idle = Client::connect(to);
        assert_eq!(idle.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 200);
        while answered.load(Ordering::Relaxed) < BEFORE {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client gave up");
            std::thread::yield_now();
        }
        let before = answered.load(Ordering::Relaxed);
        let told_at = gavel::clock::monotonic();
        server.signal(Signal::SIGTERM);
        let reply = loop {
            let reply = get(operations, "/ready");
            if reply.status != 200 {
                break reply;
            }
        };
        assert_eq!(reply.status, 503);
        assert!(reply.text().contains("draining"), "{}", reply.text());
        // within a sweep of the connections it is told
        loop {
            let reply = idle.post("/openrtb2/pub", &[], REQUEST.as_bytes()).expect("an answer");
            assert_eq!(reply.status, 200, "{}", reply.text());
            if reply.header("connection") == Some("close") {
                break;
            }
        }
        is_out.store(true, Ordering::Release);
        for client in clients {
            client.join().unwrap();
        }
        let after = answered.load(Ordering::Relaxed) - before;
        assert_eq!(server.wait(), Some(0), "a clean end");
        assert!(told_at.elapsed() < END_MAX, "it took {:?}", told_at.elapsed());
        after
    });
    billed.append(&mut shared.billed.into_inner().unwrap());
    after
}

#[test]
fn a_process_that_ends_under_load_refuses_resets_and_fails_nobody() {
    let ends = if std::env::var_os("GAVEL_FULL").is_some() { 20 } else { 2 };
    let bidder = Bidder::start(Script {
        status: 200,
        body: ANSWER.into(),
        after: Duration::from_millis(5),
        ..Script::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let mut answered = Vec::new();
    let after: u64 = (0..ends).map(|_| one_end(folder.path(), &bidder, &mut answered)).sum();
    let counted = billed(&folder.path().join("j"));
    let once = |path: &&String| counted.get(&id(path)) == Some(&1);
    let lost = answered.len() - answered.iter().filter(once).count();
    println!(
        "{ends} ends: 0 refused, 0 reset, 0 failed; {after} answered after the signal; {} events \
         answered, {lost} of them lost or counted twice",
        answered.len()
    );
    assert_eq!((lost, counted.len()), (0, answered.len()));
}

/// A server whose drain lasts for minutes, and a request that a bidder keeps for longer than a
/// second signal lets it live; joined, it gives what the client was answered.
fn held_up(folder: &Path, bidder: &Bidder, min: &str) -> (Server, JoinHandle<Option<Reply>>) {
    let path = config(folder, bidder);
    let text = std::fs::read_to_string(&path).unwrap();
    let drain = format!("min = '{min}'\nmax = '5m'");
    std::fs::write(&path, text.replace("min = '2s'", &drain)).unwrap();
    let server = Server::ready(&path);
    let mut client = Client::connect(server.public.unwrap());
    let asking = std::thread::spawn(move || client.post("/openrtb2/pub", &[], REQUEST.as_bytes()));
    bidder.wait_for_one();
    (server, asking)
}

#[test]
fn a_second_signal_ends_a_drain_by_force() {
    // told twice while it still takes connections, and while it finishes what is in flight
    for (min, told) in [
        ("5m", "asked to stop twice: no more connections are taken"),
        ("0s", "asked to stop twice: what is in flight is cut off"),
    ] {
        let bidder = Bidder::start(Script {
            status: 204,
            after: Duration::from_secs(60),
            ..Script::default()
        });
        let folder = tempfile::tempdir().unwrap();
        let (mut server, asking) = held_up(folder.path(), &bidder, min);
        server.signal(Signal::SIGTERM);
        server.wait_log("draining");
        server.signal(Signal::SIGTERM);
        server.wait_log(told);
        server.wait_log("asked to stop twice: what is in flight is cut off");
        assert_eq!(server.wait(), Some(0), "drain.min {min}");
        assert!(asking.join().unwrap().is_none(), "drain.min {min}: cut, and not answered late");
    }
}

#[test]
fn one_signal_cuts_nobody_off() {
    let after = Duration::from_secs(2);
    let bidder = Bidder::start(Script { status: 204, after, ..Script::default() });
    let folder = tempfile::tempdir().unwrap();
    let (mut server, asking) = held_up(folder.path(), &bidder, "0s");
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(asking.join().unwrap().unwrap().status, 204);
}
