//! A process that runs short of memory sheds requests for bids, closes what is idle, and lives.

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::Client;
use crate::harness::server::Server;
use crate::server::wait_until;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Duration;

const REQUEST: &str =
    r#"{"id":"r-1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"}}"#;

/// One worker: each is told by itself, within 50 ms.
fn config(folder: &Path, memory: &str) -> PathBuf {
    let path = folder.join("gavel.toml");
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [runtime]\nworkers = 1\n[memory]\n{memory}\n[[partners]]\nname = 'pub'\nopen = true\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_process_over_its_memory_sheds_bids_and_closes_what_is_idle() {
    let folder = tempfile::tempdir().unwrap();
    // any process has more resident
    let mut server = Server::ready(&config(folder.path(), "limit = '1MiB'"));
    let said = server.wait_for(|line| line["level"] == "WARN" && line["limit"] == 1 << 20);
    assert!(said["message"].as_str().unwrap().starts_with("memory runs short"), "{said}");
    assert!((server.metric("gavel_memory_pressure") - 3.0).abs() < 0.5);
    assert!(server.metric("gavel_memory_used_bytes") > 1e6);
    wait_until("bids are shed", || {
        let mut client = Client::connect(server.public.unwrap());
        let reply = client.post("/openrtb2/pub", &[], REQUEST.as_bytes());
        reply.is_some_and(|reply| {
            reply.status == 503 && reply.header("x-gavel-reason") == Some("overload")
        })
    });
    // sooner than an idle partner is closed otherwise (60 s): a read that times out is an error
    let mut idle = Client::connect(server.public.unwrap());
    assert_eq!(idle.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 503);
    assert_eq!(idle.reader().fill_buf().unwrap(), b"", "closed");
    assert_eq!(server.readiness().status, 200, "it stays in service");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn bodies_under_way_have_a_bound_together() {
    let bidder =
        Bidder::start(Script { status: 204, after: Duration::from_secs(2), ..Script::default() });
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "limit = '100GiB'");
    let text = std::fs::read_to_string(&path).unwrap();
    let bound = format!("[admission]\nbody_bytes_max = {}\n", 2 * REQUEST.len() - 1);
    let text = format!(
        "{}tmax_default = '5s'\ntmax_max = '5s'\n[[bidders]]\nname = 'alpha'\nurl = 'http://{}/'\n\
         [bidders.time]\nmost = '4s'\n",
        text.replace("[admission]\n", &bound),
        bidder.address
    );
    std::fs::write(&path, text).unwrap();
    let mut server = Server::ready(&path);
    let to = server.public.unwrap();
    let first = std::thread::spawn(move || {
        Client::connect(to).post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap()
    });
    bidder.wait_for_one();
    let mut second = Client::connect(to);
    let reply = second.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap();
    assert_eq!((reply.status, reply.header("x-gavel-reason")), (503, Some("overload")));
    assert_eq!(first.join().unwrap().status, 204);
    // its connection is as good as before, and so is the room
    assert_eq!(second.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 204);
    drop(second);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_process_with_enough_memory_serves() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::ready(&config(folder.path(), "limit = '100GiB'"));
    let mut client = Client::connect(server.public.unwrap());
    assert_eq!(client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 204);
    wait_until("a look was taken", || server.metric("gavel_memory_limit_bytes") > 1e9);
    assert!(server.metric("gavel_memory_pressure").abs() < 0.5);
    drop(client);
    assert_eq!(server.terminate(), Some(0));
}
