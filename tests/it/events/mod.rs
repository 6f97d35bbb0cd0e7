//! Events through the real server: from an auction over its URLs to the journal.

mod always;
mod award;
mod full;
pub mod kill;
mod multiplied;
mod reload;

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::{Client, Reply};
use crate::harness::server::Server;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const REQUEST: &str = r#"{"id":"r-1","at":1,"tmax":5000,"imp":[{"id":"i-1","banner":{"w":300,"h":250}}],"site":{"id":"s"}}"#;
pub const ONE: &str =
    "[[events.keys]]\nid = 1\nsecret = 'the first secret of this test, long enough'\n";
const TWO: &str =
    "[[events.keys]]\nid = 2\nsecret = 'the second secret of this test, long enough'\n";

/// A bidder that bids 2.5 with notices and markup of its own.
pub fn bidder() -> Bidder {
    let adm = r#"<img src=\"https://b.example/i?p=${AUCTION_PRICE}&m=${AUCTION_MIN_TO_WIN}&l=${AUCTION_LOSS}\">"#;
    let notice = |name: &str| {
        format!(
            "\"{name}\":\"https://b.example/{name}?i=${{AUCTION_IMP_ID}}&l=${{AUCTION_LOSS}}&m=${{AUCTION_MIN_TO_WIN}}\""
        )
    };
    let notices = ["nurl", "burl", "lurl"].map(notice).join(",");
    let body = format!(
        "{{\"id\":\"r-1\",\"bidid\":\"b-7\",\"seatbid\":[{{\"seat\":\"s-1\",\"bid\":[{{\"id\":\"1\",\"impid\":\"i-1\",\
         \"price\":2.5,\"w\":300,\"h\":250,\"mtype\":1,\"adm\":\"{adm}\",{notices}}}]}}]}}"
    );
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Bidder::start(Script { status: 200, headers, body: body.into_bytes(), ..Script::default() })
}

pub fn config(dir: &Path, name: &str, bidder: &Bidder, events: &str) -> PathBuf {
    let path = dir.join(format!("{name}.toml"));
    write(&path, dir.join(name).to_str().unwrap(), bidder, events);
    path
}

pub fn write(path: &Path, journal: &str, bidder: &Bidder, events: &str) {
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [[partners]]\nname = 'pub'\nopen = true\ntmax_default = '5s'\ntmax_max = '9s'\n\
         [[bidders]]\nname = 'alpha'\nurl = 'http://{}/'\n[bidders.time]\nmost = '5s'\n\
         [journal]\ndir = '{journal}'\nsegment_bytes = '1MiB'\ncommit_bytes_max = '256KiB'\n\
         ballast_bytes = 0\n{events}",
        bidder.address
    );
    std::fs::write(path, text).unwrap();
}

pub fn events(keys: &[&str]) -> String {
    format!("[events]\nurl = 'https://x.example/gavel'\n{}", keys.concat())
}

pub fn auction(server: &Server, request: &str) -> Json {
    let mut client = Client::connect(server.public.unwrap());
    let called = ("x-request-id", "of-the-test-1");
    let reply = client.post("/openrtb2/pub", &[called], request.as_bytes()).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["seatbid"][0]["bid"][0].clone()
}

/// The path and query of one of our URLs, as an upstream would fill it in.
pub fn path(bid: &Json, name: &str, filled: &[(&str, &str)]) -> String {
    let url = bid[name].as_str().unwrap_or_else(|| panic!("{name} is not in {bid}"));
    let path = url.strip_prefix(BASE).unwrap_or_else(|| panic!("{url}"));
    filled.iter().fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
}

pub fn send(server: &Server, method: &str, path: &str, headers: &str) -> Reply {
    let mut client = Client::connect(server.public.unwrap());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x.example\r\ncontent-length: 0\r\n{headers}\r\n"
    );
    client.send(head.as_bytes());
    client.receive().expect("an event is answered")
}

/// What the path of one of our URLs begins with.
pub const BASE: &str = "https://x.example/gavel";

/// How often each event of billing stands in a journal, by its id.
pub fn billed(dir: &Path) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for row in exported(dir).iter().filter(|row| row["type"] == "billing") {
        *counted.entry(row["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counted
}

fn exported(dir: &Path) -> Vec<Json> {
    let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
        .args(["journal", "export"])
        .arg(dir)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn count(rows: &[Json], kind: &str) -> usize {
    rows.iter().filter(|row| row["type"] == kind).count()
}

#[test]
fn an_auctions_urls_become_events_that_are_there_once_after_any_start() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let config = config(dir.path(), "j", &bidder, &events(&[ONE]));
    let mut server = Server::ready(&config);
    let bid = auction(&server, REQUEST);
    assert_eq!(
        bid["adm"],
        r#"<img src="https://b.example/i?p=2.5&m=0&l=">"#.replace("m=0", &min(&bid))
    );
    let burl = path(&bid, "burl", &[("${AUCTION_MIN_TO_WIN}", "1"), ("${AUCTION_IMP_TS}", "5")]);
    let lurl = path(&bid, "lurl", &[("${AUCTION_LOSS}", "102"), ("${AUCTION_MIN_TO_WIN}", "3")]);
    assert_eq!(send(&server, "GET", &burl, "").status, 204);
    assert_eq!(send(&server, "POST", &burl, "").status, 204);
    let pixel = send(&server, "GET", &lurl, "accept: image/webp,*/*\r\n");
    assert_eq!((pixel.status, pixel.body.len()), (200, 43));
    assert_eq!(pixel.header("content-type"), Some("image/gif"));
    assert_eq!(server.terminate(), Some(0));

    let mut server = Server::ready(&config);
    assert_eq!(send(&server, "GET", &burl, "").status, 204);
    assert_eq!(send(&server, "GET", &path(&bid, "nurl", &[]), "").status, 204);
    let series = |event: &str, end: &str| {
        format!("gavel_events_total{{event=\"{event}\",result=\"{end}\"}}")
    };
    assert!((server.metric(&series("billing", "repeat")) - 1.0).abs() < f64::EPSILON);
    assert!((server.metric(&series("win", "new")) - 1.0).abs() < f64::EPSILON);
    assert_eq!(send(&server, "GET", "/e/forged", "").status, 204);
    the_books_hold(&server.metrics(), [3, 1, 0, 1, 1]);
    assert_eq!(server.terminate(), Some(0));

    let rows = exported(&dir.path().join("j"));
    let counts = ["win", "billing", "loss"].map(|kind| count(&rows, kind));
    assert_eq!(counts, [1, 1, 1], "{rows:?}");
    let billing = rows.iter().find(|row| row["type"] == "billing").unwrap();
    for (key, value) in [
        ("auction_id", Json::from("r-1")),
        ("imp_id", "i-1".into()),
        ("partner", "pub".into()),
        ("bidder", "alpha".into()),
        ("seat", "s-1".into()),
        ("gross_micros", 2_500_000.into()),
    ] {
        assert_eq!(billing[key], value, "{key} of {billing}");
    }
    let auction = rows.iter().find(|row| row["type"] == "auction").unwrap();
    assert_eq!(
        (&auction["auction_id"], &auction["request_id"]),
        (&"r-1".into(), &"of-the-test-1".into())
    );
    let loss = rows.iter().find(|row| row["type"] == "loss").unwrap();
    assert_eq!(loss["loss_reason"], 102, "{loss}");
}

/// The equations of the journal, in what anybody can read; and what came, and where it went:
/// received, rejected, refused, duplicate, appended.
fn the_books_hold(metrics: &str, expected: [u64; 5]) {
    let value = |series: &str| -> u64 {
        let row = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        row.unwrap_or_else(|| panic!("no {series} in {metrics}")).parse().unwrap()
    };
    let ends = ["rejected", "refused", "duplicate", "appended"]
        .map(|end| value(&format!("gavel_journal_intake_total{{end=\"{end}\"}}")));
    let received = value("gavel_journal_received_total");
    assert_eq!(received, value("gavel_journal_in_hand_events") + ends.iter().sum::<u64>());
    let [rejected, refused, duplicate, appended] = ends;
    assert_eq!([received, rejected, refused, duplicate, appended], expected);
    let outlet = |state: &str| {
        value(&format!("gavel_journal_outlet_events{{sink=\"notices\",state=\"{state}\"}}"))
    };
    let gone = ["delivered", "dead", "pending"].map(outlet).iter().sum::<u64>();
    assert_eq!(outlet("carried") + appended, gone, "{metrics}");
    assert_eq!(value("gavel_journal_off_events"), 0, "{metrics}");
}

/// What the markup was told as `MIN_TO_WIN`.
fn min(bid: &Json) -> String {
    let adm = bid["adm"].as_str().unwrap();
    let told = adm.split("m=").nth(1).unwrap().split('&').next().unwrap();
    assert!(told.parse::<f64>().is_ok(), "{adm}");
    format!("m={told}")
}

#[test]
fn what_is_no_event_of_ours_gets_the_same_answer_and_leaves_nothing() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let config = config(dir.path(), "j", &bidder, &events(&[ONE]));
    let mut server = Server::ready(&config);
    let good = path(&auction(&server, REQUEST), "burl", &[]);
    let (token, _) = good.split_once('?').unwrap();
    let mut forged = token.to_owned();
    let last = forged.pop().unwrap();
    forged.pop();
    forged.push_str(if last == 'A' { "gw" } else { "AA" });
    for bad in [forged.as_str(), "/e/", "/e/x", "/e/../x", &format!("{token}A")] {
        let reply = send(&server, "GET", bad, "");
        assert_eq!((reply.status, reply.body.len()), (204, 0), "{bad}");
        assert_eq!(reply.header("x-gavel-reason"), None);
        assert_eq!(send(&server, "GET", &format!("{bad}.gif"), "").body.len(), 43, "{bad}");
    }
    let reply = send(&server, "DELETE", token, "");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, POST")));
    assert_eq!(send(&server, "GET", &format!("/e/{}", "A".repeat(8200)), "").status, 414);
    let rejected = server.metrics();
    assert!(rejected.contains(r#"gavel_events_rejected_total{reason="malformed"}"#), "{rejected}");
    assert_eq!(server.terminate(), Some(0));
    let rows = exported(&dir.path().join("j"));
    assert_eq!(["win", "billing", "loss"].map(|kind| count(&rows, kind)), [0, 0, 0], "{rows:?}");
}

#[test]
fn a_test_is_not_billable_and_keeps_the_bidders_own_notices() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let server = Server::ready(&config(dir.path(), "j", &bidder, &events(&[ONE])));
    let request = REQUEST.replacen('{', "{\"test\":1,", 1);
    let bid = auction(&server, &request);
    let burl = bid["burl"].as_str().unwrap();
    assert!(burl.starts_with("https://b.example/burl?i=i-1&l="), "{burl}");
}

#[test]
fn replayed_traffic_is_a_test_for_a_partner_that_agreed_to_it() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let config = config(dir.path(), "j", &bidder, &events(&[ONE]));
    let text = std::fs::read_to_string(&config).unwrap();
    let two = "[[partners]]\nname = 'replays'\nopen = true\nhonour_replay = true\n\
               tmax_default = '5s'\ntmax_max = '9s'\n[[partners]]\n";
    std::fs::write(&config, text.replace("[[partners]]\n", two)).unwrap();
    let mut server = Server::ready(&config);
    let mut client = Client::connect(server.public.unwrap());
    let mut owner = |partner: &str, headers: &[(&str, &str)]| {
        let path = format!("/openrtb2/{partner}");
        let bid = client.post(&path, headers, REQUEST.as_bytes()).unwrap().json();
        let burl = bid["seatbid"][0]["bid"][0]["burl"].as_str().unwrap().to_owned();
        if burl.starts_with("https://x.example/gavel/e/") { "ours" } else { "the bidder's" }
    };
    let mark = [("x-gavel-replay", "1")];
    assert_eq!(owner("replays", &mark), "the bidder's", "nothing of it is billed");
    assert_eq!(owner("replays", &[]), "ours");
    assert_eq!(owner("pub", &mark), "ours", "not agreed");
    drop(client);
    assert_eq!(server.terminate(), Some(0));
    let rows = exported(&dir.path().join("j"));
    assert_eq!(count(&rows, "auction"), 2, "{rows:?}");
}

#[test]
fn another_secret_under_a_key_that_is_out_is_not_taken() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let file = config(dir.path(), "one", &bidder, &events(&[ONE]));
    let mut server = Server::ready(&file);
    let sold = path(&auction(&server, REQUEST), "burl", &[]);
    let journal = dir.path().join("one");
    let other = ONE.replace("first", "other");
    write(&file, journal.to_str().unwrap(), &bidder, &events(&[&other]));
    server.hang_up();
    let told = server.wait_log("not taken: the last good one stays in force");
    let fault = told["fault"].as_str().unwrap();
    assert!(fault.contains("events.keys") && fault.contains("another secret for id 1"), "{fault}");
    assert!(!fault.contains("secret of this test"), "{fault}");
    assert_eq!(send(&server, "GET", &sold, "").status, 204);
    let new = r#"gavel_events_total{event="billing",result="new"}"#;
    assert!((server.metric(new) - 1.0).abs() < f64::EPSILON, "{}", server.metrics());
    // a number of its own is what it needs
    let other = other.replace("id = 1", "id = 3");
    write(&file, journal.to_str().unwrap(), &bidder, &events(&[&other, ONE]));
    server.hang_up();
    server.wait_log("published");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn keys_are_rotated_by_a_reload_and_either_replica_takes_either_token() {
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let (one, two) =
        (dir.path().join("one.toml"), config(dir.path(), "two", &bidder, &events(&[TWO, ONE])));
    write(&one, dir.path().join("one").to_str().unwrap(), &bidder, &events(&[ONE, TWO]));
    let (mut first, mut second) = (Server::ready(&one), Server::ready(&two));
    let old = path(&auction(&first, REQUEST), "burl", &[]);
    let new = path(&auction(&second, REQUEST), "burl", &[]);
    assert_ne!(old, new);
    // the first replica signs with the other key from now on, and still takes the old one
    write(&one, dir.path().join("one").to_str().unwrap(), &bidder, &events(&[TWO, ONE]));
    first.hang_up();
    first.wait_log("published");
    for (server, token) in [(&first, &old), (&first, &new), (&second, &old), (&second, &new)] {
        assert_eq!(send(server, "GET", token, "").status, 204);
    }
    let new = r#"gavel_events_total{event="billing",result="new"}"#;
    assert!((first.metric(new) - 2.0).abs() < f64::EPSILON, "{}", first.metrics());
    assert!((second.metric(new) - 2.0).abs() < f64::EPSILON, "{}", second.metrics());
    assert_eq!((first.terminate(), second.terminate()), (Some(0), Some(0)));
}
