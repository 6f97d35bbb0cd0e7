//! Events are taken whatever becomes of auctions: overload, little memory, a drain, other keys.

use super::{
    ONE, REQUEST, TWO, auction, bidder, config, count, events, exported, path, send, write,
};
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::Client;
use crate::harness::server::Server;
use crate::server::wait_until;
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Rounds of the keys under load.
const ROTATIONS: usize = 12;

/// A replica with the same keys and something that keeps it from auctions.
fn hindered(dir: &Path, bidder: &Bidder, change: impl Fn(&str) -> String) -> PathBuf {
    let path = config(dir, "hindered", bidder, &events(&[ONE]));
    let text = change(&std::fs::read_to_string(&path).unwrap());
    std::fs::write(&path, text).unwrap();
    path
}

/// Paths of events of so many auctions, which another replica held.
fn sold_elsewhere(dir: &Path, auctions: usize) -> Vec<String> {
    let bidder = bidder();
    let server = Server::ready(&config(dir, "seller", &bidder, &events(&[ONE])));
    (0..auctions).map(|_| path(&auction(&server, REQUEST), "burl", &[])).collect()
}

fn refused_as(server: &Server) -> Option<String> {
    let mut client = Client::connect(server.public.unwrap());
    let reply = client.post("/openrtb2/pub", &[], REQUEST.as_bytes())?;
    (reply.status == 503).then(|| reply.header("x-gavel-reason").unwrap_or("none").to_owned())
}

#[test]
fn a_worker_that_is_full_of_auctions_takes_events_by_permits_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let sold = sold_elsewhere(dir.path(), 3);
    let silent = Bidder::start(Script { after: Duration::from_secs(3600), ..Script::default() });
    let config = hindered(dir.path(), &silent, |text| {
        let one = "[runtime]\nworkers = 1\n[admission]\nin_flight_max = 1\n";
        let text = text.replace("[admission]\n", one).replace("'5s'", "'9s'");
        format!("{text}\n")
    });
    let server = Server::ready(&config);
    let mut waits = Client::connect(server.public.unwrap());
    let head = format!(
        "POST /openrtb2/pub HTTP/1.1\r\nhost: x.example\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{}",
        REQUEST.len(),
        REQUEST.replace("5000", "9000")
    );
    waits.send(head.as_bytes());
    silent.wait_for_one();
    assert_eq!(refused_as(&server).as_deref(), Some("overload"));
    for path in &sold {
        assert_eq!(send(&server, "GET", path, "").status, 204);
    }
    let new = r#"gavel_events_total{event="billing",result="new"}"#;
    assert!((server.metric(new) - 3.0).abs() < f64::EPSILON, "{}", server.metrics());
}

#[test]
fn a_process_short_of_memory_sheds_auctions_and_takes_events() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let sold = sold_elsewhere(dir.path(), 3);
    // any process has more resident: the worst pressure there is
    // and each worker takes to it at a moment of its own
    let config = hindered(dir.path(), &bidder, |text| {
        format!("[memory]\nlimit = '1MiB'\n[runtime]\nworkers = 1\n{text}")
    });
    let mut server = Server::ready(&config);
    wait_until("bids are shed", || refused_as(&server).as_deref() == Some("overload"));
    let asked = bidder.seen().len();
    for path in &sold {
        assert_eq!(send(&server, "GET", path, "").status, 204);
    }
    // a connection may be closed before its request is read: it was idle
    for _ in 0..20 {
        wait_until("bids are still shed", || refused_as(&server).as_deref() == Some("overload"));
    }
    assert_eq!(bidder.seen().len(), asked, "and none was let through");
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(count(&exported(&dir.path().join("hindered")), "billing"), 3);
}

#[test]
fn events_are_taken_while_the_process_drains() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let config = hindered(dir.path(), &bidder, |text| format!("[drain]\nmin = '5m'\n{text}"));
    let mut server = Server::ready(&config);
    let bid = auction(&server, REQUEST);
    server.signal(Signal::SIGTERM);
    server.wait_log("draining");
    assert_eq!(server.readiness().status, 503);
    for name in ["nurl", "burl", "lurl"] {
        assert_eq!(send(&server, "GET", &path(&bid, name, &[]), "").status, 204, "{name}");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(), Some(0));
    let rows = exported(&dir.path().join("hindered"));
    assert_eq!(["win", "billing", "loss"].map(|kind| count(&rows, kind)), [1, 1, 1], "{rows:?}");
}

/// Sells and bills until it is told to stop.
fn trade(address: SocketAddr, is_over: &AtomicBool, billed: &AtomicUsize) {
    let mut client = Client::connect(address);
    while !is_over.load(Ordering::Acquire) {
        let reply = client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let burl = path(&reply.json()["seatbid"][0]["bid"][0], "burl", &[]);
        let head = format!("GET {burl} HTTP/1.1\r\nhost: x.example\r\n\r\n");
        client.send(head.as_bytes());
        assert_eq!(client.receive().expect("an answer").status, 204);
        billed.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn keys_that_are_rotated_under_load_cost_no_event() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let (config, journal) = (dir.path().join("gavel.toml"), dir.path().join("j"));
    let put = |keys: &[&str]| {
        // a rename is a change that is complete at once
        let beside = dir.path().join("beside");
        write(&beside, journal.to_str().unwrap(), &bidder, &events(keys));
        std::fs::rename(&beside, &config).unwrap();
    };
    put(&[ONE]);
    let mut server = Server::ready(&config);
    let (is_over, billed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = server.public.unwrap();
    std::thread::scope(|scope| {
        let clients = [(); 4].map(|()| scope.spawn(|| trade(address, &is_over, &billed)));
        // as the README says: the new one second, then first, and so on with the next
        for round in 0..ROTATIONS {
            put(if round % 2 == 0 { &[ONE, TWO] } else { &[TWO, ONE] });
            server.hang_up();
            let wanted = f64::from(u32::try_from(round).unwrap() + 2);
            wait_until("the keys are taken", || {
                server.metric("gavel_snapshot_generation") >= wanted
            });
            let before = billed.load(Ordering::Acquire);
            while billed.load(Ordering::Acquire) < before + 10 {
                assert!(clients.iter().all(|client| !client.is_finished()), "a client gave up");
                std::thread::yield_now();
            }
        }
        is_over.store(true, Ordering::Release);
        for client in clients {
            client.join().unwrap();
        }
    });
    let metrics = server.metrics();
    let rejected = metrics.lines().filter(|line| line.starts_with("gavel_events_rejected_total{"));
    for line in rejected {
        assert!(line.ends_with(" 0"), "{line}");
    }
    assert_eq!(server.terminate(), Some(0));
    let billed = billed.into_inner();
    println!("{ROTATIONS} rotations, {billed} events, none refused");
    assert_eq!(count(&exported(&journal), "billing"), billed);
}
