//! Nothing personal and no secret leaves by the back doors: each such field of a request, of a head
//! and of the configuration holds a mark of its own, everything that the exchange says beside the road
//! is kept, down to its finest log level, and no mark is found in it.
//!
//! Recordings keep pseudonyms in place of what tells who somebody is, and some fields as they are, on
//! purpose (see `gavel::capture::personal`): those must be found there, which also shows that the
//! marks went the whole way.

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::{Client, PATIENCE, get};
use Kept::{Captures, Nowhere};
use gavel::capture::rotate::finished;
use gavel::capture::{Record, read};
use serde_json::{Value, json};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Where a mark may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Nowhere,
    /// In recordings, as it came.
    Captures,
}

/// Members of a request: where, the value (of it the mark), and where the mark may be found.
#[rustfmt::skip]
const MEMBERS: &[(&str, &str, &str, Kept)] = &[
    ("/device/ip", "\"203.0.113.201\"", "203.0.113.201", Nowhere),
    ("/device/ipv6", "\"2001:db8:c0de:cafe:1:2:3:4\"", "cafe:1:2:3:4", Nowhere),
    ("/device/ua", "\"Mozilla/5.0 (Linux; Android 14; canary-agent) Chrome/120.0.0.0\"", "canary-agent", Captures),
    ("/device/ifa", "\"ca9a4701-8246-4ba4-ae5b-76104861e7dc\"", "ca9a4701", Nowhere),
    ("/device/dpidsha1", "\"ca9a470200000000000000000000000000000001\"", "ca9a4702", Nowhere),
    ("/device/didmd5", "\"ca9a4703000000000000000000000001\"", "ca9a4703", Nowhere),
    ("/device/macsha1", "\"ca9a470400000000000000000000000000000001\"", "ca9a4704", Nowhere),
    ("/device/ext/deviceid", "\"canary-device-id\"", "canary-device-id", Nowhere),
    ("/device/ext/idfv", "\"ca9a4705-8246-4ba4-ae5b-76104861e7dc\"", "ca9a4705", Nowhere),
    ("/device/geo/lat", "48.8583771", "48.858", Nowhere),
    ("/device/geo/lon", "2.2944813", "2.2944", Nowhere),
    ("/device/geo/zip", "\"zip-canary\"", "zip-canary", Nowhere),
    ("/device/geo/city", "\"Canarytown\"", "Canarytown", Captures),
    ("/user/id", "\"canary-user-id\"", "canary-user-id", Nowhere),
    ("/user/buyeruid", "\"canary-buyer-id\"", "canary-buyer-id", Nowhere),
    ("/user/yob", "1961", "yob", Captures),
    ("/user/gender", "\"O\"", "gender", Captures),
    ("/user/keywords", "\"canary-keyword\"", "canary-keyword", Captures),
    ("/user/customdata", "\"canary-custom\"", "canary-custom", Nowhere),
    ("/user/consent", "\"CQcanaryTcf2600000000\"", "canaryTcf26", Captures),
    ("/user/geo/lat", "-33.8567844", "-33.856", Nowhere),
    ("/user/geo/zip", "\"nowhere-canary\"", "nowhere-canary", Nowhere),
    ("/user/data/0/segment/0/value", "\"canary-segment\"", "canary-segment", Captures),
    ("/user/eids/0/uids/0/id", "\"canary-eid-26\"", "canary-eid-26", Nowhere),
    ("/user/ext/eids/0/uids/0/id", "\"canary-eid-25\"", "canary-eid-25", Nowhere),
    ("/user/ext/consent", "\"CQcanaryTcf2500000000\"", "canaryTcf25", Captures),
    ("/user/ext/email", "\"canary@mail.example\"", "canary@mail", Nowhere),
    ("/user/ext/sessionid", "\"canary-session\"", "canary-session", Nowhere),
    ("/regs/us_privacy", "\"1canaryUsp\"", "canaryUsp", Captures),
    ("/regs/gpp", "\"DBcanaryGpp\"", "canaryGpp", Captures),
    ("/regs/ext/gdpr", "1", "canaryTcf25", Captures),
    ("/site/page", "\"https://s.example/a?uid=canary-page-id&p=1\"", "canary-page-id", Nowhere),
    ("/site/ref", "\"https://r.example/?email=canary-ref%40mail.example\"", "canary-ref", Nowhere),
    ("/site/search", "\"canary-search\"", "canary-search", Nowhere),
    ("/ext/userid", "\"canary-root-id\"", "canary-root-id", Nowhere),
    ("/imp/0/ext/uid2", "\"canary-imp-id\"", "canary-imp-id", Nowhere),
    ("/source/ext/cookie", "\"canary-source-cookie\"", "canary-source-cookie", Nowhere),
];

/// Headers of each request: name, value, mark.
const HEADERS: &[(&str, &str, &str, Kept)] = &[
    ("cookie", "sid=canary-cookie", "canary-cookie", Nowhere),
    ("user-agent", "canary-header-agent/1.0", "canary-header-agent", Captures),
    ("x-forwarded-for", "198.51.100.77", "198.51.100.77", Nowhere),
    ("forwarded", "for=198.51.100.78", "198.51.100.78", Nowhere),
    ("x-real-ip", "198.51.100.79", "198.51.100.79", Nowhere),
    ("x-device-ip", "198.51.100.80", "198.51.100.80", Nowhere),
    ("referer", "https://s.example/?token=canary-referer", "canary-referer", Nowhere),
    ("x-gavel-key", KEY, KEY, Nowhere),
];

/// Of the configuration, and of what was sent by strangers and by bidders.
const OTHERS: &[(&str, &str)] = &[
    ("the key of a partner, in a path", "canary-key-in-path"),
    ("the name of a stranger, in a path", "canary-stranger"),
    ("a bearer token that is wrong", "canary-bearer"),
    ("a header to a bidder", "canary-bidder-header"),
    ("a key of sealed prices", "canary-price-key"),
    ("another key of sealed prices", "canary-price-sign"),
    ("a header to the collector", "canary-collector-header"),
    ("the token of the admin listener", TOKEN),
    ("the key of pseudonyms", "canary-capture-key"),
    ("a query of a stranger", "canary-query"),
    ("what is no JSON", "canary-no-json"),
    ("an address that is none", "canary-no-address"),
    ("an id in a bidder's garbage", "canary-garbage"),
    ("a header of a bidder's answer", "canary-answer-cookie"),
    ("an id in a creative", "canary-creative-id"),
];

const KEY: &str = "canary-partner-key";
const TOKEN: &str = "canary-admin-token";

/// The request, with all marks.
fn request() -> Value {
    let mut root = json!({
        "id": "r-1", "tmax": 3000, "test": 1,
        "imp": [{"id": "1", "banner": {"w": 300, "h": 250}, "ext": {}}],
        "site": {"id": "s", "domain": "s.example"},
        "device": {"geo": {}, "ext": {}},
        "user": {"geo": {}, "ext": {"eids": [{"source": "id.example", "uids": [{}]}]},
            "data": [{"segment": [{}]}], "eids": [{"source": "id.example", "uids": [{}]}]},
        "regs": {"ext": {}}, "source": {"ext": {}}, "ext": {}
    });
    for (path, value, ..) in MEMBERS {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let members = root.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        members.insert(name.to_owned(), serde_json::from_str(value).unwrap());
    }
    root
}

/// Without what keeps ids from bidders: they are seen by all of the road.
fn request_with_consent() -> Value {
    let mut root = request();
    root["regs"] = json!({});
    root["user"]["ext"].as_object_mut().unwrap().remove("consent");
    root["user"].as_object_mut().unwrap().remove("consent");
    root
}

struct Stage {
    folder: tempfile::TempDir,
    bidders: Vec<Bidder>,
    collector: Bidder,
}

impl Stage {
    fn new() -> Self {
        let bid = r#"{"id":"r-1","seatbid":[{"bid":[{"id":"b","impid":"1","price":1.5,"adm":"<img src='https://x.example/?uid=canary-creative-id'>","adomain":["x.example"],"crid":"c","w":300,"h":250}]}]}"#;
        let cookie = vec![("set-cookie".to_owned(), "id=canary-answer-cookie".to_owned())];
        let script = |status, body: &str| Script {
            status,
            headers: cookie.clone(),
            body: body.into(),
            ..Script::default()
        };
        let scripts = [
            script(200, bid),
            script(200, r#"{"id":"canary-garbage","uid":"canary-garbage""#),
            script(500, "canary-garbage canary-user-id"),
            script(
                200,
                r#"{"id":"another","seatbid":[{"bid":[{"id":"b-1","impid":"of-no-imp","price":-1,"nurl":"ftp://x.example/?uid=canary-garbage"}]}]}"#,
            ),
        ];
        Self {
            folder: tempfile::tempdir().unwrap(),
            bidders: scripts.map(Bidder::start).into(),
            collector: Bidder::start(Script { status: 200, ..Script::default() }),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> PathBuf {
        let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex();
        let captures = self.path("captures");
        std::fs::create_dir(&captures).unwrap();
        let mut text = format!(
            "{PATIENT}[http]\nlisten = '127.0.0.1:0'\ntrusted_proxies = ['127.0.0.1']\n\
             [admin]\nlisten = '127.0.0.1:0'\ntoken = 'blake3:{}'\n[runtime]\nworkers = 1\n\
             [telemetry.otlp]\nendpoint = 'http://{}'\nevery = '1s'\n\
             headers = ['x-key: canary-collector-header']\n\
             [capture]\nenabled = true\ndirectory = '{}'\nkey = 'canary-capture-key'\n\
             sample_ppm = 1000000\nbidders = 'bodies'\nkeep_unreadable = false\n\
             [[partners]]\nname = 'pub'\nkeys = ['blake3:{}', 'blake3:{}']\ndebug = true\n\
             tmax_default = '3s'\ntmax_max = '5s'\n",
            hash(TOKEN),
            self.collector.address,
            captures.display(),
            hash(KEY),
            hash("canary-key-in-path"),
        );
        for (number, bidder) in self.bidders.iter().enumerate() {
            text.push_str(&format!(
                "[[bidders]]\nname = 'b{number}'\nurl = 'http://{}/'\n\
                 headers = ['x-token: canary-bidder-header']\n[bidders.time]\nmost = '5s'\n\
                 [bidders.notices]\nencryption_key = '{:A<43}'\nintegrity_key = '{:A<43}'\n",
                bidder.address,
                format!("canary-price-key-{number}"),
                format!("canary-price-sign-{number}"),
            ));
        }
        let path = self.path("gavel.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn output(&self) -> String {
        let read = |name| std::fs::read_to_string(self.path(name)).unwrap();
        read("stdout") + &read("stderr")
    }

    fn captures(&self) -> String {
        let mut out = String::new();
        for (path, _) in finished(&self.path("captures"), "gavel").unwrap() {
            let (mut reader, mut record) = (read::open(&path).unwrap(), Record::default());
            while reader.next(&mut record).unwrap() {
                // bodies as text, so that a mark is found as it stands
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                out.push_str(&text(&record.body));
                out.push_str(&text(&record.outcome.as_ref().unwrap().body));
                for call in &record.calls {
                    out.push_str(&text(&call.request));
                    out.push_str(&text(&call.answer));
                }
                out.push_str(&format!("{record:?}\n"));
            }
        }
        out
    }
}

/// The process, with its output in files.
struct Running {
    child: Child,
    public: SocketAddr,
    operations: SocketAddr,
    admin: SocketAddr,
}

impl Running {
    fn start(stage: &Stage, config: &Path) -> Self {
        let file = |name| File::create(stage.path(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(["serve", "--operations", "127.0.0.1:0", "--config"])
            .arg(config)
            .env("RUST_LOG", "trace")
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        let lines = || -> Vec<Value> {
            stage.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        wait_until("it is ready", || lines().iter().any(|line| line["message"] == "ready"));
        let lines = lines();
        let listening = |name: &str| {
            let line = lines.iter().find(|line| line["listener"] == name).unwrap();
            line["address"].as_str().unwrap().parse().unwrap()
        };
        Self {
            child,
            public: listening("public"),
            operations: listening("operations"),
            admin: listening("admin"),
        }
    }

    fn terminate(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test waits for a level")]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

/// Sends everything that may go wrong, and what goes right; gives what `ext.gavel` explained.
fn traffic(running: &Running) -> String {
    let headers: Vec<(&str, &str)> =
        HEADERS.iter().map(|(name, value, ..)| (*name, *value)).collect();
    let post = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        Client::connect(running.public).post(path, headers, body).unwrap()
    };
    let (marked, consented) = (request().to_string(), request_with_consent().to_string());
    let mut explained = String::new();
    for body in [&marked, &consented] {
        let reply = post("/openrtb2/pub", &headers, body.as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.text());
        explained.push_str(&reply.json()["ext"]["gavel"].to_string());
        explained.push_str(&format!("{:?}", reply.headers));
    }
    assert!(explained.contains("b1"), "bidders are explained: {explained}");
    let without_key: Vec<(&str, &str)> =
        headers.iter().copied().filter(|(name, _)| *name != "x-gavel-key").collect();
    let reply = post("/openrtb2/pub/canary-key-in-path", &without_key, marked.as_bytes());
    assert_eq!(reply.status, 200);
    let half = marked.get(..marked.len() / 2).unwrap();
    let no_address = marked.replace("203.0.113.201", "canary-no-address");
    let bearer = [&without_key[..], &[("authorization", "Bearer canary-bearer")]].concat();
    let plain = [&headers[..], &[("content-type", "text/plain")]].concat();
    let large = format!("{marked}{}", " ".repeat(300 << 10));
    for (path, headers, body, status) in [
        ("/openrtb2/pub", &headers, half, 400),
        ("/openrtb2/pub", &headers, "canary-no-json canary-user-id", 400),
        ("/openrtb2/pub", &headers, &no_address, 400),
        ("/openrtb2/pub", &plain, &marked, 415),
        ("/openrtb2/pub", &headers, &large, 413),
        ("/openrtb2/pub", &bearer, &marked, 401),
        ("/openrtb2/canary-stranger/canary-bearer?uid=canary-query", &without_key, &marked, 401),
        ("/nowhere/canary-stranger?uid=canary-query", &headers, &marked, 404),
    ] {
        let reply = post(path, headers, body.as_bytes());
        assert_eq!(reply.status, status, "{path}: {}", body.get(..20).unwrap());
        explained.push_str(&format!("{:?}{}", reply.headers, reply.text()));
    }
    let mut client = Client::connect(running.public);
    client.send(b"POST /openrtb2/pub HTTP/1.1\nhost: canary-stranger\ncookie: canary-cookie\n\n");
    explained.push_str(&format!("{:?}", client.receive()));
    explained
}

#[test]
fn no_mark_of_a_person_and_no_secret_is_found_outside_the_road() {
    let stage = Stage::new();
    let config = stage.config();
    let running = Running::start(&stage, &config);
    let explained = traffic(&running);
    wait_until("records", || {
        get(running.operations, "/metrics").text().lines().any(|line| {
            line.starts_with("gavel_capture_records_total{stratum=\"sample\"} ")
                && !line.ends_with(" 0")
        })
    });
    stage.collector.wait_for_one();
    let mut admin = Client::connect(running.admin);
    admin.send(
        format!("GET /snapshot HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n\r\n")
            .as_bytes(),
    );
    let snapshot = admin.receive().unwrap();
    assert_eq!(snapshot.status, 200);
    let pages = ["/metrics", "/ready"].map(|path| get(running.operations, path).text());
    let debug = |what: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_gavel"))
            .args(["debug", what, "--config"])
            .arg(&config)
            .output()
            .unwrap();
        assert!(output.status.success(), "{what}: {output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let (settings, databases) = (debug("config"), debug("databases"));
    assert!(settings.contains("b3") && pages[0].contains("gavel_auction_seconds"));
    assert_eq!(running.terminate(), Some(0));

    let pushed: Vec<u8> = stage.collector.seen().into_iter().flat_map(|one| one.body).collect();
    let captures = stage.captures();
    let places = [
        ("the log", stage.output()),
        ("what is explained", explained),
        ("/metrics", pages[0].clone()),
        ("/ready", pages[1].clone()),
        ("/snapshot", snapshot.text()),
        ("gavel debug config", settings),
        ("gavel debug databases", databases),
        ("the collector", String::from_utf8_lossy(&pushed).into_owned()),
    ];
    let mut found = Vec::new();
    let rows = MEMBERS.iter().map(|(what, _, mark, kept)| (*what, *mark, *kept));
    let rows = rows.chain(HEADERS.iter().map(|(what, _, mark, kept)| (*what, *mark, *kept)));
    let rows = rows.chain(OTHERS.iter().map(|(what, mark)| (*what, *mark, Nowhere)));
    for (what, mark, kept) in rows {
        for (place, text) in &places {
            if let Some(at) = text.find(mark) {
                let around = text.get(at.saturating_sub(60)..).unwrap_or(text);
                let around: String = around.chars().take(160).collect();
                found.push(format!("{what}: `{mark}` is in {place}: {around}"));
            }
        }
        let is_there = captures.contains(mark);
        if is_there != (kept == Captures) {
            let how = if is_there { "is in a recording" } else { "has not come into a recording" };
            found.push(format!("{what}: `{mark}` {how}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
