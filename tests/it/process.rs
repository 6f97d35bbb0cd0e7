//! The process as a whole: how it starts, what it says of itself, how it ends.

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::{Client, get};
use crate::harness::server::Server;
use crate::server::wait_until;
use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const REQUEST: &str =
    r#"{"id":"r-1","tmax":5000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"}}"#;

fn write(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("gavel.toml");
    let edge = "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n";
    std::fs::write(&path, format!("{edge}{PATIENT}{text}")).unwrap();
    path
}

fn one_bidder(bidder: &Bidder) -> String {
    format!(
        "[[partners]]\nname = 'pub'\nopen = true\ntmax_default = '5s'\ntmax_max = '9s'\n\
         [[bidders]]\nname = 'alpha'\nurl = 'http://{}/'\n[bidders.time]\nmost = '5s'\n",
        bidder.address
    )
}

fn gavel(arguments: &[&str], config: &Path) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
        .args(arguments)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_faulty_configuration_leaves_it_up_and_not_ready_with_every_fault() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(
        dir.path(),
        "[[partners]]\nname = 'Pub'\n[limits]\nimps_max = 65\n[databases]\ncity = 7\n",
    );
    let mut server = Server::start(&config, &[]);
    server.wait_for(|line| line["fault"].as_str().is_some_and(|text| text.contains("city")));
    let reply = server.readiness();
    assert_eq!(reply.status, 503);
    let text = reply.text();
    for part in [
        "partners[0].name",
        "partners[0].keys",
        "limits.imps_max = 65",
        "1 to 64",
        "databases.city",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(server.terminate(), Some(0));

    let (code, text) = gavel(&["check"], &config);
    assert_eq!(code, 78);
    assert!(text.starts_with("4 faults"), "{text}");
    let (code, _) = gavel(&["serve", "--operations", "127.0.0.1:0", "--exit-on-fault"], &config);
    assert_eq!(code, 78);
}

#[test]
fn a_database_that_is_none_is_a_fault_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("city.mmdb"), "no database").unwrap();
    let config = write(dir.path(), "[databases]\ncity = 'city.mmdb'\nisp = 'missing.mmdb'\n");
    let (code, text) = gavel(&["check"], &config);
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("city.mmdb") && text.contains("missing.mmdb"), "{text}");
}

#[test]
fn check_tells_every_fault_at_once_of_whatever_a_start_reads() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("SUMS"), "").unwrap();
    std::fs::write(dir.path().join("empty.pem"), "").unwrap();
    let own = "wokers = 1\nchecksums = 'SUMS'\n";
    let text = "[network]\nca_file = 'empty.pem'\n[databases]\ncity = 'missing.mmdb'\n\
        [journal]\ndir = 'journal'\nspill_dir = './journal'\n\
        [broker]\nurls = ['nats://127.0.0.1:1']\ncredentials_file = 'no.creds'\n\
        [telemetry.otlp]\nendpoint = 'http://127.0.0.1:1'\nca_file = 'no.pem'\n\
        [capture]\nenabled = true\ndirectory = 'nowhere'\n";
    let config = write(dir.path(), text);
    let rest = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{own}{rest}")).unwrap();
    let (code, told) = gavel(&["check"], &config);
    assert_eq!(code, 78);
    for part in [
        "wokers: must be a known key",
        "gavel.toml: is not in ",
        "network.ca_file: must be",
        "databases.city: cannot read",
        "journal.spill_dir: must be another folder",
        "broker.credentials_file: must be",
        "telemetry.otlp.ca_file: must be",
        "capture.directory: must be",
        "capture.key is missing",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(told.starts_with("9 faults"), "{told}");

    let config = write(dir.path(), "[network]\nca_file = 'empty.pem'\n");
    let (code, told) = gavel(&["check"], &config);
    assert!(code == 78 && told.contains("network.ca_file"), "{told}");
}

#[test]
fn a_taken_address_of_the_admin_listener_is_a_fault_of_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = dir.path().join("gavel.toml");
    let listens = |public: &str| {
        format!("[http]\nlisten = '{public}'\n[admin]\nlisten = '{address}'\n{PATIENT}")
    };
    std::fs::write(&config, listens("127.0.0.1:0")).unwrap();
    let mut server = Server::start(&config, &[]);
    server.wait_for(|line| {
        line["fault"].as_str().is_some_and(|text| text.contains("cannot bind the admin listener"))
    });
    let wanted = format!("cannot bind the admin listener to {address}");
    wait_until("it is said", || server.readiness().text().contains(&wanted));
    let reply = server.readiness();
    assert!(reply.status == 503 && reply.text().contains("\"admin listener\""), "{}", reply.text());
    assert_eq!(server.terminate(), Some(0));

    std::fs::write(&config, listens(&address.to_string())).unwrap();
    let (code, text) = gavel(&["check"], &config);
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("admin.listen") && text.contains("`http.listen`"), "{text}");
}

#[test]
fn what_is_printed_into_a_closed_pipe_ends_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let config = write(dir.path(), "");
    let config = config.to_str().unwrap();
    for arguments in [
        &["debug", "config", "--config", config][..],
        &["check", "--config", config],
        &["reference"],
        &["version"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(arguments)
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn a_stop_finishes_the_auction_that_is_in_flight() {
    let answer = r#"{"id":"r-1","seatbid":[{"bid":[{"id":"b","impid":"1","price":1,"adm":"<p>","w":300,"h":250}]}]}"#;
    let bidder = Bidder::start(Script {
        status: 200,
        body: answer.into(),
        after: Duration::from_millis(400),
        ..Script::default()
    });
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::ready(&write(dir.path(), &one_bidder(&bidder)));
    let mut client = Client::connect(server.public.unwrap());
    let asking = std::thread::spawn(move || {
        client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).expect("an answer")
    });
    bidder.wait_for_one();
    assert_eq!(server.terminate(), Some(0));
    let reply = asking.join().unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("connection"), Some("close"));
}

#[test]
fn each_request_is_counted_once_by_partner_and_result() {
    let bidder = Bidder::start(Script { status: 204, ..Script::default() });
    let dir = tempfile::tempdir().unwrap();
    let config = one_bidder(&bidder).replacen("name = 'pub'", "name = 'pub'\ndebug = true", 1);
    let server = Server::ready(&write(dir.path(), &config));
    // one that is explained is answered with a body, and is no sale for that
    let explained = REQUEST.replacen('{', "{\"test\":1,", 1);
    let mut client = Client::connect(server.public.unwrap());
    for (path, body, status) in [
        ("/openrtb2/pub", REQUEST, 204),
        ("/openrtb2/pub", REQUEST, 204),
        ("/openrtb2/pub", &explained, 200),
        ("/openrtb2/pub", "{", 400),
        ("/openrtb2/nobody", REQUEST, 401),
        ("/elsewhere", REQUEST, 404),
    ] {
        assert_eq!(client.post(path, &[], body.as_bytes()).unwrap().status, status, "{path}");
    }
    for (series, count) in [
        ("gavel_requests_total{partner=\"pub\",result=\"no_bid\"}", 3.0),
        ("gavel_requests_total{partner=\"pub\",result=\"answered\"}", 0.0),
        ("gavel_requests_total{partner=\"pub\",result=\"not_json\"}", 1.0),
        ("gavel_requests_total{partner=\"unknown\",result=\"unauthorised\"}", 1.0),
        ("gavel_bidder_calls_total{bidder=\"alpha\",result=\"no_bid\"}", 3.0),
        ("gavel_auction_seconds_count", 3.0),
        ("gavel_snapshot_generation", 1.0),
    ] {
        assert!((server.metric(series) - count).abs() < 0.5, "{series}:\n{}", server.metrics());
    }
    assert_eq!(server.readiness().status, 200);
}

#[test]
fn an_answer_that_came_late_is_counted_and_its_time_measured() {
    let after = Duration::from_millis(300);
    let bidder = Bidder::start(Script { status: 204, after, ..Script::default() });
    let dir = tempfile::tempdir().unwrap();
    let server = Server::ready(&write(dir.path(), &one_bidder(&bidder)));
    let mut client = Client::connect(server.public.unwrap());
    let hurried = REQUEST.replace("5000", "150");
    assert_eq!(client.post("/openrtb2/pub", &[], hurried.as_bytes()).unwrap().status, 204);
    let is = |series: &str, count: f64| (server.metric(series) - count).abs() < 0.5;
    wait_until("the late answer was read", || {
        is("gavel_late_answers_total{bidder=\"alpha\",result=\"read\"}", 1.0)
    });
    assert!(is("gavel_late_answers_total{bidder=\"alpha\",result=\"abandoned\"}", 0.0));
    assert!(is("gavel_bidder_calls_total{bidder=\"alpha\",result=\"late\"}", 1.0));
    assert!(is("gavel_bidder_answer_seconds_count{bidder=\"alpha\"}", 1.0));
    let took = server.metric("gavel_bidder_answer_seconds_sum{bidder=\"alpha\"}");
    assert!(took >= after.as_secs_f64(), "{took}");
}

#[test]
fn a_process_without_descriptors_does_not_take_its_bidders_for_ill() {
    let bidder = Bidder::start(Script { status: 204, ..Script::default() });
    let dir = tempfile::tempdir().unwrap();
    let server = Server::ready(&write(dir.path(), &one_bidder(&bidder)));
    let mut client = Client::connect(server.public.unwrap());
    assert_eq!(client.post("/elsewhere", &[], b"{}").unwrap().status, 404);
    server.limit_descriptors(Some(3));
    // more than make a breaker's evidence
    for _ in 0..30 {
        assert_eq!(client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 204);
    }
    assert_eq!(bidder.connections(), 0);
    server.limit_descriptors(None);
    assert_eq!(client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 204);
    for (result, count) in [("pool_full", 30.0), ("no_bid", 1.0), ("connect_refused", 0.0)] {
        let row = format!("gavel_bidder_calls_total{{bidder=\"alpha\",result=\"{result}\"}}");
        assert!((server.metric(&row) - count).abs() < 0.5, "{row}:\n{}", server.metrics());
    }
}

#[test]
fn the_document_of_sellers_is_served_to_anybody_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sellers.json"), "{\"sellers\": []}").unwrap();
    let without = Server::ready(&write(dir.path(), ""));
    assert_eq!(get(without.public.unwrap(), "/sellers.json").status, 404);
    let main = write(dir.path(), "");
    let text = std::fs::read_to_string(&main).unwrap();
    std::fs::write(&main, format!("sellers_json = 'sellers.json'\n{text}")).unwrap();
    let server = Server::ready(&main);
    let address = server.public.unwrap();
    let reply = get(address, "/sellers.json");
    assert_eq!((reply.status, reply.text().as_str()), (200, "{\"sellers\": []}"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let mut client = Client::connect(address);
    client.send(b"HEAD /sellers.json HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let mut head = String::new();
    client.reader().read_to_string(&mut head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("content-length: 15\r\n"), "{head}");
    let reply = Client::connect(address).post("/sellers.json", &[], b"{}").unwrap();
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(get(address, "/nowhere").status, 404);
    let denied = server.metric("gavel_http_denied_total{reason=\"no_route\"}");
    assert!((denied - 1.0).abs() < 1e-9, "{denied}");
}

#[test]
fn a_packed_database_is_checked_and_told_like_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo/geo/demo-city.mmdb");
    let set = dir.path().join("set");
    let config = write(
        dir.path(),
        "[[partners]]\nname = 'pub'\nopen = true\n[databases]\ncity = 'set'\nverify = true\n",
    );
    let pack = |file: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(["pack-db", "--part-bytes", "4096", "--out"])
            .args([&set, file])
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()))
    };
    let (code, text) = gavel(&["check"], &config);
    assert!(code == 78 && text.contains("cannot read"), "{text}");
    let (code, text) = pack(&demo);
    assert!(code == 0 && text.unwrap().contains("generation 1 in slot a"));
    let (code, text) = gavel(&["check"], &config);
    assert!(code == 0 && text.contains("1 databases"), "{text}");
    let (_, text) = gavel(&["debug", "databases"], &config);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told[0]["kind"], "gavel-Demo-City");
    assert_eq!(told[0]["generation"], 1);
    let (code, text) = pack(&config);
    let text = text.unwrap();
    assert!(code == 1 && text.contains("cannot be packed: "), "{text}");
}

/// Whether another process of the same user may read the memory of this one: what may not belongs
/// to root in `/proc`, whoever runs it.
fn is_open(server: &Server) -> bool {
    let meta = std::fs::metadata(format!("/proc/{}/environ", server.pid())).unwrap();
    meta.uid() != 0
}

#[test]
fn the_process_leaves_no_core_dump_and_shows_nobody_its_memory() {
    /// Anybody but root.
    const NOBODY: u32 = 65_534;
    let dir = tempfile::tempdir().unwrap();
    let config = write(dir.path(), "");
    let program = dir.path().join("gavel");
    std::fs::copy(env!("CARGO_BIN_EXE_gavel"), &program).unwrap();
    for path in [dir.path(), &program] {
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    for (argument, expected) in [(None, false), (Some("--dumpable"), true)] {
        let mut command = Command::new(&program);
        command.args(Server::words(&config)).args(argument);
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut server = Server::launch(&mut command).serving();
        assert_eq!(is_open(&server), expected, "{argument:?}");
        assert_eq!(server.terminate(), Some(0));
    }
}
