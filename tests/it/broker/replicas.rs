//! Three whole replicas and a broker: what is answered is there, whichever of them is lost.

use super::wait_until;
use crate::events::kill::{Audit, Link, id, sell_once};
use crate::events::{ONE, REQUEST, auction, bidder, events, path, send, write};
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::Client;
use crate::harness::nats::Nats;
use crate::harness::server::Server;
use nix::sys::signal::Signal;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Configurations of three replicas that differ in their folders alone.
pub fn configs(dir: &Path, bidder: &Bidder, more: &str) -> Vec<PathBuf> {
    let config = |name| {
        let path = dir.join(format!("{name}.toml"));
        write(
            &path,
            dir.join(name).to_str().unwrap(),
            bidder,
            &format!("{more}{}", events(&[ONE])),
        );
        path
    };
    NAMES.into_iter().map(config).collect()
}

/// The same with the broker's answer instead of the own disk's.
pub fn acknowledged(configs: Vec<PathBuf>) -> Vec<PathBuf> {
    for config in &configs {
        let text = std::fs::read_to_string(config).unwrap();
        std::fs::write(config, text.replace("[events]\n", "[events]\nack = 'broker'\n")).unwrap();
    }
    configs
}

pub fn replicas(configs: &[PathBuf]) -> Vec<Server> {
    configs.iter().map(|config| Server::ready(config)).collect()
}

pub fn is_well(server: &Server) -> bool {
    server.metric("gavel_broker_acknowledging") > 0.5
}

fn counted(server: &Server, result: &str) -> u64 {
    let series = format!("gavel_events_total{{event=\"billing\",result=\"{result}\"}}");
    format!("{}", server.metric(&series)).parse().unwrap()
}

pub fn gavel(arguments: &[&str], paths: &[&Path]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gavel")).args(arguments).args(paths).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out
}

/// What the broker holds, as a file.
pub fn pulled(config: &Path, file: &Path) -> PathBuf {
    gavel(&["events", "pull", "--config", config.to_str().unwrap(), "--out"], &[file]);
    file.to_owned()
}

/// How many sales were billed, by the ledger.
fn billed(sources: &[&Path]) -> u64 {
    let report = gavel(&["ledger", "--format", "json"], sources);
    serde_json::from_str::<Json>(&report).unwrap()["total"]["billed"].as_u64().unwrap()
}

fn ids(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let bills = rows.filter(|row| row["type"] == "billing");
    bills.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Sells so many, and bills each at the server that sold it; answers what was billed.
pub fn sell(server: &Server, count: usize) -> Vec<String> {
    let sell_one = |_| {
        let burl = path(&auction(server, REQUEST), "burl", &[]);
        assert_eq!(send(server, "GET", &burl, "").status, 204);
        burl
    };
    (0..count).map(sell_one).collect()
}

#[test]
fn with_the_brokers_answer_nothing_is_lost_with_a_replica_and_its_disk() {
    let Some(nats) = Nats::start() else { return };
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let configs = acknowledged(configs(dir.path(), &bidder, &nats.config()));
    let mut servers = replicas(&configs);
    wait_until("all replicas have the broker", || servers.iter().all(is_well));
    let bills: Vec<String> = servers.iter().flat_map(|server| sell(server, 10)).collect();
    // repeats, at home and elsewhere
    for server in &servers {
        for bill in &bills {
            assert_eq!(send(server, "GET", bill, "").status, 204);
        }
    }
    for server in &servers {
        assert_eq!((counted(server, "new"), counted(server, "repeat")), (10, 30));
        assert!(server.metric("gavel_journal_off_events") < 0.5, "{}", server.metrics());
        let published = server.metric("gavel_journal_intake_total{end=\"published\"}");
        assert!((published - 10.0).abs() < 0.5, "{}", server.metrics());
    }
    // one replica goes, with its disk, in the middle of more events
    let more = sell(&servers[0], 5);
    servers[0].signal(Signal::SIGKILL);
    servers[0].wait();
    std::fs::remove_dir_all(dir.path().join("a")).unwrap();
    for server in &servers[1..] {
        for bill in more.iter().chain(&bills) {
            assert_eq!(send(server, "GET", bill, "").status, 204);
        }
        assert_eq!(counted(server, "new"), 10);
    }
    for server in &mut servers[1..] {
        assert_eq!(server.terminate(), Some(0));
    }
    let file = pulled(&configs[1], &dir.path().join("pulled.jsonl"));
    let ids = ids(&file);
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (35, 35));
    let [b, c] = ["b", "c"].map(|name| dir.path().join(name));
    assert_eq!(billed(&[&file]), 35);
    assert_eq!(billed(&[&b, &file, &c]), 35);
}

/// Ends the clients, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Small here; `tests/full.sh broker` sets `GAVEL_FULL`.
#[test]
fn what_was_answered_is_there_once_though_replicas_lose_their_disks_and_the_broker_dies() {
    let Some(mut nats) = Nats::start() else { return };
    let rounds = if std::env::var_os("GAVEL_FULL").is_some() { 50 } else { 3 };
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let broker = format!("{}wait = '1s'\n", nats.config());
    let configs = acknowledged(configs(dir.path(), &bidder, &broker));
    let mut servers = replicas(&configs);
    let audit = Mutex::<Audit>::default();
    let answered = || audit.lock().unwrap().answered.len();
    for round in 0..rounds {
        let lost = round % NAMES.len();
        wait_until("all replicas have the broker", || servers.iter().all(is_well));
        let gone = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (audit, stop) = (&audit, Stop(&gone));
            for server in servers.iter().chain(&servers) {
                let (address, gone) = (server.public.unwrap(), stop.0);
                scope.spawn(move || {
                    let mut link = Link::open(address).unwrap();
                    while !gone.load(Ordering::Relaxed) && sell_once(&mut link, audit).is_some() {}
                });
            }
            let before = answered();
            wait_until("events are answered", || answered() > before + 20);
            servers[lost].signal(Signal::SIGKILL);
            let before = answered();
            wait_until("others go on", || answered() > before + 20);
            nats.die();
            nats.come_back();
            wait_until("the broker is back", || {
                (0..NAMES.len()).filter(|at| *at != lost).all(|at| is_well(&servers[at]))
            });
        });
        servers[lost].wait();
        std::fs::remove_dir_all(dir.path().join(NAMES[lost])).unwrap();
        servers[lost] = Server::ready(&configs[lost]);
    }
    for server in &mut servers {
        assert_eq!(server.terminate(), Some(0));
    }
    let audit = audit.into_inner().unwrap();
    let file = pulled(&configs[0], &dir.path().join("pulled.jsonl"));
    let ids = ids(&file);
    let held: BTreeSet<&String> = ids.iter().collect();
    let lost = audit.answered.iter().filter(|path| !held.contains(&id(path))).count();
    let sent: BTreeSet<String> = audit.sent.iter().map(|path| id(path)).collect();
    let foreign = held.iter().filter(|id| !sent.contains(**id)).count();
    println!(
        "{rounds} replicas with their disks and as many brokers killed: {} events answered, {} sent, {} \
         held; {lost} lost, {} twice",
        audit.answered.len(),
        sent.len(),
        held.len(),
        ids.len() - held.len(),
    );
    assert_eq!((lost, foreign, ids.len()), (0, 0, held.len()));
    assert_eq!(billed(&[&file]), held.len() as u64);
}

#[test]
fn with_the_own_disks_answer_what_the_broker_has_outlives_a_disk_and_repeats_count_once() {
    let Some(mut nats) = Nats::start() else { return };
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let configs = configs(dir.path(), &bidder, &nats.config());
    let mut servers = replicas(&configs);
    let bills: Vec<String> = servers.iter().flat_map(|server| sell(server, 10)).collect();
    // a replica does not know what another has counted: the ledger does
    for bill in &bills {
        assert_eq!(send(&servers[1], "GET", bill, "").status, 204);
    }
    assert_eq!((counted(&servers[1], "new"), counted(&servers[1], "repeat")), (30, 10));
    let pending = "gavel_journal_outlet_events{sink=\"broker\",state=\"pending\"}";
    wait_until("all is at the broker", || servers.iter().all(|one| one.metric(pending) < 0.5));
    // the broker goes, and events are taken as before; then a replica with its disk
    nats.die();
    let own = sell(&servers[0], 5);
    let kept = sell(&servers[2], 5);
    servers[0].signal(Signal::SIGKILL);
    servers[0].wait();
    std::fs::remove_dir_all(dir.path().join("a")).unwrap();
    nats.come_back();
    wait_until("all is at the broker", || servers[1..].iter().all(|one| one.metric(pending) < 0.5));
    for server in &mut servers[1..] {
        assert_eq!(server.terminate(), Some(0));
    }
    let file = pulled(&configs[1], &dir.path().join("pulled.jsonl"));
    let ids = ids(&file);
    let unique = ids.iter().collect::<BTreeSet<_>>().len();
    assert_eq!((ids.len(), unique), (35, 35), "once each, for all the repeats");
    // what only the lost disk had is lost: that is what `local` means
    assert_eq!((own.len(), kept.len()), (5, 5));
    let [b, c] = ["b", "c"].map(|name| dir.path().join(name));
    assert_eq!(billed(&[&file, &b, &c]), 35);
}

#[test]
fn without_the_broker_events_are_to_come_again_and_no_auctions_are_held() {
    let Some(mut nats) = Nats::start() else { return };
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let broker = format!("{}patience = '100ms'\nwait = '500ms'\n", nats.config());
    let config = acknowledged(configs(dir.path(), &bidder, &broker)).remove(0);
    let mut server = Server::ready(&config);
    wait_until("the broker is there", || is_well(&server));
    let burl = path(&auction(&server, REQUEST), "burl", &[]);
    nats.die();
    assert_eq!(send(&server, "GET", &burl, "").status, 503);
    let ask = |server: &Server| {
        let mut client = Client::connect(server.public.unwrap());
        let reply = client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap();
        (reply.status, reply.header("x-gavel-reason").map(str::to_owned))
    };
    wait_until("auctions are refused", || ask(&server).0 != 200);
    assert_eq!(ask(&server).1.as_deref(), Some("nowhere_to_bill"));
    // another replica would be no better: it stays ready
    assert_eq!(server.readiness().status, 200);
    assert_eq!(counted(&server, "refused"), 1);
    nats.come_back();
    wait_until("the broker is back", || is_well(&server));
    assert_eq!(send(&server, "GET", &burl, "").status, 204);
    assert_eq!(ask(&server).0, 200);
    // the first try may have been on its way when the broker died, and arrived after all
    assert_eq!(counted(&server, "new") + counted(&server, "repeat"), 1);
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(ids(&pulled(&config, &dir.path().join("pulled.jsonl"))).len(), 1);
}

#[test]
fn a_notice_of_an_event_that_the_broker_keeps_is_sent_once_by_one_of_the_replicas() {
    let Some(nats) = Nats::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let told = Bidder::start(Script { status: 204, ..Script::default() });
    let body = format!(
        r#"{{"id":"r-1","seatbid":[{{"bid":[{{"id":"1","impid":"i-1","price":2.5,"w":300,"h":250,"mtype":1,"adm":"<p>ad</p>","burl":"http://{}/billed?p=${{AUCTION_PRICE}}"}}]}}]}}"#,
        told.address
    );
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let bidder = Bidder::start(Script {
        status: 200,
        headers,
        body: body.into_bytes(),
        ..Script::default()
    });
    let notices = format!(
        "[notices]\nports = [{}]\nnetworks_allowed = ['127.0.0.0/8']\n",
        told.address.port()
    );
    let more = format!("{notices}{}", nats.config());
    let configs = acknowledged(configs(dir.path(), &bidder, &more));
    let mut servers = replicas(&configs);
    wait_until("all replicas have the broker", || servers.iter().all(is_well));
    let bills = sell(&servers[0], 6);
    for bill in &bills {
        assert_eq!(send(&servers[1], "GET", bill, "").status, 204);
    }
    wait_until("the bidder was told of all", || told.seen().len() >= bills.len());
    let delivered = "gavel_notices_total{kind=\"billing\",result=\"delivered\"}";
    wait_until("all are settled", || {
        servers.iter().map(|server| server.metric(delivered)).sum::<f64>() > 5.5
    });
    for server in &mut servers {
        assert_eq!(server.terminate(), Some(0));
    }
    assert_eq!(told.seen().len(), bills.len());
    assert!(told.seen()[0].first_line.starts_with("GET /billed?p=2.5 "), "{:?}", told.seen()[0]);
}
