//! Recording of a running exchange: switched on and off by a reload, read back as it was sent but
//! for the person, and no harm where the disk is gone.

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::{Client, PATIENCE};
use crate::harness::server::Server;
use gavel::capture::rotate::finished;
use gavel::capture::{Record, Stratum, read};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Instant;

const BODY: &str = r#"{"id":"r-1" ,"tmax":3000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s","page":"https://s.example/?uid=u-77&p=1"},"device":{"ip":"203.0.113.200","ifa":"6d92078a-8246-4ba4-ae5b-76104861e7dc"},"user":{"id":"u-1","yob":1980}}"#;

const ANSWER: &str = r#"{"id":"r-1","seatbid":[{"bid":[{"id":"b","impid":"1","price":1.5,"adm":"<a>","adomain":["x.example"],"crid":"c","w":300,"h":250}]}]}"#;

#[expect(clippy::disallowed_methods, reason = "a test measures")]
fn now() -> Instant {
    Instant::now()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

struct Stage {
    folder: tempfile::TempDir,
    bidder: Bidder,
}

impl Stage {
    fn new() -> Self {
        let script = Script { status: 200, body: ANSWER.into(), ..Script::default() };
        Self { folder: tempfile::tempdir().unwrap(), bidder: Bidder::start(script) }
    }

    fn captures(&self) -> PathBuf {
        self.folder.path().join("captures")
    }

    /// Puts the configuration in place at once; `capture` is the section.
    fn write(&self, capture: &str) -> PathBuf {
        let path = self.folder.path().join("gavel.toml");
        let text = format!(
            "{PATIENT}[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
             [runtime]\nworkers = 1\n{capture}\n[[partners]]\nname = 'pub'\nopen = true\n\
             tmax_default = '3s'\ntmax_max = '5s'\n[[bidders]]\nname = 'alpha'\nurl = 'http://{}/'\n\
             [bidders.time]\nmost = '5s'\n",
            self.bidder.address
        );
        let beside = self.folder.path().join("next");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, &path).unwrap();
        path
    }

    fn on(&self, more: &str) -> String {
        format!(
            "[capture]\nenabled = true\ndirectory = '{}'\nkey = 'a key of the tests'\n{more}",
            self.captures().display()
        )
    }

    fn records(&self) -> Vec<Record> {
        let mut found = Vec::new();
        for (path, _) in finished(&self.captures(), "gavel").unwrap() {
            let mut reader = read::open(&path).unwrap();
            let mut record = Record::default();
            while reader.next(&mut record).unwrap() {
                found.push(record.clone());
            }
        }
        found
    }
}

fn post(client: &mut Client, body: &str) -> u16 {
    client
        .post("/openrtb2/pub", &[("x-forwarded-for", "203.0.113.201")], body.as_bytes())
        .unwrap()
        .status
}

fn reload(server: &mut Server, generation: u64) {
    server.hang_up();
    server.wait_for(|line| line["message"] == "published" && line["generation"] == generation);
}

#[test]
fn a_reload_switches_recording_on_and_off_and_all_but_the_person_is_kept() {
    let stage = Stage::new();
    std::fs::create_dir(stage.captures()).unwrap();
    let mut server = Server::ready(&stage.write(""));
    let mut client = Client::connect(server.public.unwrap());
    assert_eq!(post(&mut client, BODY), 200);
    stage.write(&stage.on("sample_ppm = 1000000\nbidders = 'bodies'"));
    reload(&mut server, 2);
    for number in 0..10 {
        let body = BODY.replace("1980", &format!("{}", 1980 + number));
        assert_eq!(post(&mut client, &body), 200);
    }
    wait_until("ten records", || {
        server.metric("gavel_capture_records_total{stratum=\"sample\"}") >= 10.0
    });
    stage.write("");
    reload(&mut server, 3);
    assert_eq!(post(&mut client, BODY), 200);
    wait_until("a file", || server.metric("gavel_capture_files_total") >= 1.0);

    let records = stage.records();
    assert_eq!(records.len(), 10, "none before, none behind");
    let strings = |record: &Record| String::from_utf8(record.body.to_vec()).unwrap();
    for (number, record) in records.iter().enumerate() {
        let (written, sent) =
            (strings(record), BODY.replace("1980", &format!("{}", 1980 + number)));
        let mut expected = sent.clone();
        let new: Value = serde_json::from_str(&written).unwrap();
        let old: Value = serde_json::from_str(&sent).unwrap();
        for path in ["/device/ip", "/device/ifa", "/user/id", "/site/page"] {
            let pair = [&old, &new].map(|root| root.pointer(path).unwrap().as_str().unwrap());
            assert_ne!(pair[0], pair[1], "{path}");
            expected = expected.replace(&format!("\"{}\"", pair[0]), &format!("\"{}\"", pair[1]));
        }
        assert_eq!(written, expected, "byte for byte but for the four");
        assert!(new["device"]["ip"].as_str().unwrap().starts_with("203.0.113."));
        assert_eq!((record.partner.as_str(), record.path.as_str()), ("pub", "/openrtb2/pub"));
        assert_eq!(record.headers, [("content-type".to_owned(), "application/json".to_owned())]);
        let outcome = record.outcome.as_ref().unwrap();
        assert_eq!((outcome.status, outcome.generation, outcome.reason.as_str()), (200, 2, ""));
        assert!(serde_json::from_slice::<Value>(&outcome.body).unwrap()["seatbid"].is_array());
        let [call] = &record.calls[..] else { panic!("{:?}", record.calls) };
        assert_eq!((call.bidder.as_str(), call.status), ("alpha", 200));
        assert_eq!(call.answer, ANSWER);
        let asked: Value = serde_json::from_slice(&call.request).unwrap();
        assert_eq!(asked["device"]["ifa"], new["device"]["ifa"], "the same device");
    }
    let first = strings(&records[0]);
    let whole = format!("{records:?}");
    for secret in ["6d92078a-8246", "203.0.113.201", "u-77", "\"u-1\""] {
        assert!(!first.contains(secret) && !whole.contains(secret), "{secret}");
    }
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn refusals_are_recorded_with_their_reason_and_without_what_cannot_be_read() {
    let stage = Stage::new();
    std::fs::create_dir(stage.captures()).unwrap();
    let strata = "sample_ppm = 0\nnovel_per_cell = 1\nslow_per_minute = 0\nlarge_per_minute = 0\n\
                  refused_per_second = 1000";
    let mut server = Server::ready(&stage.write(&stage.on(strata)));
    let mut client = Client::connect(server.public.unwrap());
    assert_eq!(post(&mut client, "{broken jo@mail.example"), 400);
    let kind = [("content-type", "text/plain")];
    let reply = client.post("/openrtb2/pub", &kind, BODY.as_bytes()).unwrap();
    assert_eq!(reply.status, 415);
    (0..3).for_each(|_| assert_eq!(post(&mut client, BODY), 200));
    assert_eq!(client.post("/openrtb2/who/s3cret", &[], b"{}").unwrap().status, 401);
    assert_eq!(server.terminate(), Some(0), "what waits is written at the end");

    let mut seen: Vec<_> = stage
        .records()
        .into_iter()
        .map(|record| {
            let outcome = record.outcome.unwrap();
            (record.stratum, outcome.status, outcome.reason, record.path, record.body.len())
        })
        .collect();
    seen.sort();
    let path = || "/openrtb2/pub".to_owned();
    let expected = [
        (Stratum::Refused, 400, "not_json".to_owned(), path(), 0),
        (Stratum::Refused, 401, "unauthorised".to_owned(), "/openrtb2/unknown/key".to_owned(), 0),
        (Stratum::Refused, 415, "content_type".to_owned(), path(), 0),
    ];
    assert_eq!(seen[..3], expected);
    assert_eq!(seen.len(), 4, "one of three alike is new: {seen:?}");
    assert_eq!((seen[3].0, seen[3].1), (Stratum::Novel, 200));
}

#[test]
fn a_folder_that_is_not_there_is_said_and_the_exchange_goes_on() {
    let stage = Stage::new();
    let mut server = Server::ready(&stage.write(&stage.on("sample_ppm = 1000000")));
    let mut client = Client::connect(server.public.unwrap());
    (0..5).for_each(|_| assert_eq!(post(&mut client, BODY), 200));
    let line = server.wait_log("cannot record: records are dropped until it can");
    assert!(line["directory"].as_str().unwrap().ends_with("captures"), "{line}");
    assert!(line["fault"].as_str().unwrap().contains("No such file"), "{line}");
    wait_until("drops", || server.metric("gavel_capture_dropped_total{reason=\"write\"}") >= 5.0);
    assert_eq!(post(&mut client, BODY), 200);
    assert_eq!(server.readiness().status, 200);
}

#[test]
fn what_a_recording_needs_is_asked_for_in_one_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gavel.toml");
    let report = |text: &str| {
        std::fs::write(&path, text).unwrap();
        gavel::config::load(&path).map_err(|report| report.to_string())
    };
    let hasty = "file_age = '2h'\nkeep_for = '1h'\n";
    let text = format!("[capture]\nenabled = true\nkey = 'short'\nfile_bytes = '2GiB'\n{hasty}");
    let said = report(&text).unwrap_err();
    for part in [
        "capture.key = (secret): must be a secret of 16 characters or more",
        "capture.directory is missing: must be there where `enabled = true`",
        "capture.disk_bytes_max is missing: must be not less than `file_bytes`",
        "must be not shorter than `file_age`",
    ] {
        assert!(said.contains(part), "{said}");
    }
    std::fs::write(folder.path().join("secret"), "a secret of the tests\n").unwrap();
    let on = "[capture]\nenabled = true\ndirectory = 'c'\nkey_file = 'secret'\n";
    let config = report(on).unwrap();
    let capture = config.rules.capture.unwrap();
    assert_eq!(capture.files.directory, Path::new(&folder.path().join("c")));
    assert!(
        config.files.iter().any(|file| file.ends_with("secret")),
        "watched, so that it may change"
    );
    let both = format!("{on}key = 'another secret of the tests'\n");
    assert!(report(&both).unwrap_err().contains("capture.key_file"), "one of the two");
    assert!(report("[capture]\ndirectory = 'c'\n").unwrap().rules.capture.is_none(), "off");
}
