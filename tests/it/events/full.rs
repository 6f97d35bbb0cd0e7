//! A journal that cannot write: what is answered, what stops, and how it goes on.
//!
//! Once with files that cannot grow, which needs no rights; once with a disk that is full, which needs
//! a mount of its own (root) and says where it cannot be had.

use super::{ONE, REQUEST, bidder, events, exported, path, send, write};
use crate::harness::http::{Client, Reply};
use crate::harness::server::Server;
use crate::server::wait_until;
use nix::sched::{CloneFlags, unshare};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const SEGMENT: u64 = 64 << 10;

/// Auctions that are held while there is room; each leaves three events, more together than what
/// two segments hold.
const AUCTIONS: usize = 300;

fn sell(server: &Server) -> Reply {
    let mut client = Client::connect(server.public.unwrap());
    client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap()
}

/// The paths of all three events of what was sold.
fn paths(reply: &Reply) -> [String; 3] {
    let bid: Json = reply.json()["seatbid"][0]["bid"][0].clone();
    ["nurl", "burl", "lurl"].map(|name| path(&bid, name, &[]))
}

fn segments(journal: &Path) -> usize {
    let files = std::fs::read_dir(journal).unwrap().flatten();
    files.filter(|file| file.path().extension().is_some_and(|end| end == "seg")).count()
}

fn is_stopped(server: &Server) -> bool {
    let reply = sell(server);
    let (reason, retry) = (reply.header("x-gavel-reason"), reply.header("retry-after"));
    match reply.status {
        200 => false,
        503 => {
            assert_eq!(reason, Some("nowhere_to_bill"));
            assert!(retry.is_some());
            true
        }
        status => panic!("{status}: {reason:?}"),
    }
}

fn condition(server: &Server) -> u64 {
    server
        .metrics()
        .lines()
        .find_map(|line| line.strip_prefix("gavel_journal_condition "))
        .map_or(u64::MAX, |value| value.parse().unwrap())
}

fn is_one(server: &Server, series: &str) -> bool {
    server.metric(series) >= 1.0
}

/// Sends events until one is refused; gives those that were answered, and that one.
fn until_refused(server: &Server, waiting: &mut Vec<String>) -> (Vec<String>, String) {
    let mut answered = Vec::new();
    while let Some(path) = waiting.pop() {
        let reply = send(server, "GET", &path, "");
        match reply.status {
            204 => answered.push(path),
            503 => {
                assert!(reply.header("retry-after").is_some(), "it is to come again");
                return (answered, path);
            }
            status => panic!("{status} for an event"),
        }
    }
    panic!("all {} events were taken by a full disk", answered.len());
}

/// From an auction to an event that is refused, and back; `fill` leaves no room for another
/// segment, `free` gives it back.
fn auctions_stop_first_and_events_last_and_both_start_again(
    dir: &Path,
    fill: impl Fn(&Server),
    free: impl Fn(&Server),
) {
    let bidder = bidder();
    let (config, journal) = (dir.join("gavel.toml"), dir.join("j"));
    write(&config, journal.to_str().unwrap(), &bidder, &events(&[ONE]));
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replace("'1MiB'", "'64KiB'")
        .replace("'256KiB'", "'32KiB'\nrecord_bytes_max = '8KiB'\nstuck_after = '1m'");
    std::fs::write(&config, text).unwrap();

    let mut server = Server::ready_for_a_full_disk(&config);
    let mut waiting: Vec<String> = Vec::new();
    for _ in 0..AUCTIONS {
        waiting.extend(paths(&sell(&server)));
    }
    wait_until("a segment is made ahead", || segments(&journal) >= 2);
    fill(&server);
    let mut answered = Vec::new();
    while !is_stopped(&server) {
        let path = waiting.pop().expect("events fill a segment");
        assert_eq!(send(&server, "GET", &path, "").status, 204);
        answered.push(path);
    }
    assert_eq!(condition(&server), 4);
    assert!(is_one(&server, r#"gavel_requests_total{partner="pub",result="nowhere_to_bill"}"#));
    assert_eq!(server.readiness().status, 200, "events still come here");
    server.wait_for(|line| line["message"] == "the journal is worse" && line["now"] == "last");

    // the auctions that were held before have room for what follows from them
    let before = answered.len();
    let (taken, refused) = until_refused(&server, &mut waiting);
    answered.extend(taken);
    assert!(answered.len() > before, "no event was taken after the last auction");
    wait_until("another replica is to take them", || server.readiness().status == 503);
    assert!(server.readiness().text().contains("nothing can be made durable"));
    assert_eq!(condition(&server), 5);
    assert!(is_stopped(&server));
    assert!(
        is_one(&server, r#"gavel_events_total{event="loss",result="refused"}"#)
            || is_one(&server, r#"gavel_events_total{event="billing",result="refused"}"#)
            || is_one(&server, r#"gavel_events_total{event="win",result="refused"}"#)
    );
    let again = answered.last().unwrap();
    assert_eq!(
        send(&server, "GET", again, "").status,
        204,
        "a repeat of what is durable needs no disk"
    );

    free(&server);
    wait_until("the disk is tried again", || server.readiness().status == 200);
    wait_until("auctions are held again", || !is_stopped(&server));
    waiting.push(refused);
    for path in waiting {
        assert_eq!(send(&server, "GET", &path, "").status, 204);
        answered.push(path);
    }
    assert!(condition(&server) <= 1, "sound, or slow where the machine is busy");
    assert!(server.metric("gavel_journal_off_events").abs() < 0.5, "{}", server.metrics());
    assert_eq!(server.terminate(), Some(0));

    each_is_there_once(&journal, answered.len());
}

fn each_is_there_once(journal: &Path, answered: usize) {
    let rows = exported(journal);
    let is_event = |row: &&Json| ["win", "billing", "loss"].iter().any(|kind| row["type"] == *kind);
    let ids: Vec<&str> =
        rows.iter().filter(is_event).map(|row| row["id"].as_str().unwrap()).collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!((ids.len(), distinct.len()), (answered, answered), "each once");
}

#[test]
fn where_files_cannot_grow_auctions_stop_before_events() {
    let dir = tempfile::tempdir().unwrap();
    // what is there has its size; another cannot be made
    let fill = |server: &Server| server.limit_files(Some(SEGMENT - 1));
    let free = |server: &Server| server.limit_files(None);
    auctions_stop_first_and_events_last_and_both_start_again(dir.path(), fill, free);
}

/// A file system of a megabyte, seen by this thread and what it starts; why not, where not.
fn small_disk(at: &Path) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|fault| format!("no mounts of its own: {fault}"))?;
    std::fs::create_dir(at).unwrap();
    let at = at.to_str().unwrap();
    for arguments in
        [&["--make-rprivate", "/"][..], &["-t", "tmpfs", "-o", "size=1m", "gavel-test", at]]
    {
        let output = Command::new("mount").args(arguments).output();
        let output = output.map_err(|fault| format!("mount: {fault}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    Ok(())
}

#[test]
fn where_the_disk_is_full_auctions_stop_before_events() {
    let ran = std::thread::spawn(|| {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("j");
        if let Err(why) = small_disk(&journal) {
            println!("NOT RUN: {why}");
            return;
        }
        let filler = journal.join("filler");
        let fill = |_: &Server| {
            let mut file = std::fs::File::create(&filler).unwrap();
            while file.write_all(&[1; 4096]).is_ok() {}
        };
        let free = |_: &Server| std::fs::remove_file(&filler).unwrap();
        auctions_stop_first_and_events_last_and_both_start_again(dir.path(), fill, free);
        // else its folder could not be removed
        assert!(Command::new("umount").arg(&journal).status().unwrap().success());
    });
    if let Err(panic) = ran.join() {
        std::panic::resume_unwind(panic);
    }
}
