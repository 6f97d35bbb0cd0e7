//! Starts into a fault, and SIGHUP at any time: the process waits, and serves once it can.

use crate::harness::PATIENT;
use crate::harness::server::Server;
use crate::server::wait_until;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

const GOOD: &str = "[[partners]]\nname = 'pub'\nopen = true\n";

fn edge(public: &str) -> String {
    format!("[http]\nlisten = '{public}'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}")
}

/// Writes a file as a tool does that knows its trade: beside, and renamed over.
fn put(path: &Path, text: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

fn config(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("gavel.toml");
    put(&path, format!("{}{text}", edge("127.0.0.1:0")));
    path
}

/// Waits for a line of a fault.
fn wait_fault(server: &mut Server, part: &str) {
    server.wait_for(|line| line["fault"].as_str().is_some_and(|text| text.contains(part)));
}

/// How often it said so.
fn said(server: &Server, part: &str) -> usize {
    server.log.iter().filter(|line| line.contains(part)).count()
}

fn is_well(server: &Server) {
    let reply = server.readiness();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!reply.text().contains("fault"), "{}", reply.text());
}

#[test]
fn a_start_into_broken_rules_serves_once_they_are_mended() {
    let dir = tempfile::tempdir().unwrap();
    let path = config(dir.path(), "[[partners]]\nname = 7\n");
    let mut server = Server::start(&path, &[]);
    wait_fault(&mut server, "partners[0].name");
    wait_until("it is said", || server.readiness().text().contains("partners[0].name"));
    put(&path, format!("{}[[partners]]\nname = 'pub'\nopen = 7\n", edge("127.0.0.1:0")));
    wait_fault(&mut server, "partners[0].open");
    assert!(!server.readiness().text().contains("partners[0].name"), "that one is mended");
    config(dir.path(), GOOD);
    let mut server = server.serving();
    is_well(&server);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_start_without_a_file_serves_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules/gavel.toml");
    let mut server = Server::start(&path, &[]);
    wait_fault(&mut server, "cannot be read");
    std::fs::create_dir(dir.path().join("rules")).unwrap();
    let city = "[databases]\ncity = '../geo/city.mmdb'\n";
    put(&path, format!("{}{GOOD}{city}", edge("127.0.0.1:0")));
    wait_fault(&mut server, "databases.city");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo/geo/demo-city.mmdb");
    std::fs::create_dir(dir.path().join("geo")).unwrap();
    put(&dir.path().join("geo/city.mmdb"), std::fs::read(demo).unwrap());
    is_well(&server.serving());
}

#[test]
fn a_port_that_is_free_again_is_taken_and_nothing_of_the_failed_try_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = dir.path().join("gavel.toml");
    let public = taken.local_addr().unwrap().to_string();
    // small: the default writes hundreds of MB before it serves
    let journal = "[journal]\ndir = 'journal'\nsegment_bytes = '1MiB'\n\
                   commit_bytes_max = '256KiB'\nballast_bytes = 0\n";
    put(&path, format!("{}{GOOD}{journal}", edge(&public)));
    let mut server = Server::start(&path, &[]);
    wait_fault(&mut server, &public);
    drop(taken);
    // it would look again by itself, half a minute later
    server.hang_up();
    is_well(&server.serving());
}

#[test]
fn a_hangup_ends_nothing_and_has_a_faulty_start_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = config(dir.path(), "workers = 7\n");
    let mut server = Server::start(&path, &[]);
    // before the fault, or behind it: both are nothing to die of
    server.hang_up();
    for count in 1..4 {
        while said(&server, "cannot serve") < count {
            server.wait_more();
        }
        server.hang_up();
    }
    assert_eq!(server.readiness().status, 503);
    assert_eq!(server.terminate(), Some(0));
}
