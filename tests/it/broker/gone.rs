//! Whoever does not wait for a broker that is away: clients, the process, its own disk.

use super::replicas::{acknowledged, configs, gavel, is_well, pulled};
use super::wait_until;
use crate::events::{REQUEST, auction, bidder, path, send};
use crate::harness::bidder::Bidder;
use crate::harness::http::Client;
use crate::harness::nats::Nats;
use crate::harness::server::Server;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// A process that has events acknowledged by the broker, with a changed configuration.
fn configured(dir: &Path, nats: &Nats, bidder: &Bidder, change: fn(&str) -> String) -> PathBuf {
    let broker = format!("{}wait = '60s'\n[runtime]\nworkers = 1\n", nats.config());
    let config = acknowledged(configs(dir, bidder, &broker)).remove(0);
    let text = change(&std::fs::read_to_string(&config).unwrap());
    std::fs::write(&config, text).unwrap();
    config
}

fn is(server: &Server, series: &str, value: f64) -> bool {
    (server.metric(series) - value).abs() < 0.5
}

fn counted(event: &str, result: &str) -> String {
    format!("gavel_events_total{{event=\"{event}\",result=\"{result}\"}}")
}

const IN_HAND: &str = "gavel_journal_in_hand_events";
const OPEN: &str = "gavel_connections_open{worker=\"0\"}";

/// Sends an event, and does not wait for the answer.
fn ask(server: &Server, path: &str) -> Client {
    let mut client = Client::connect(server.public.unwrap());
    client.send(format!("GET {path} HTTP/1.1\r\nhost: x.example\r\n\r\n").as_bytes());
    client
}

#[test]
fn an_event_whose_client_has_gone_is_there_when_the_broker_is_back() {
    let Some(mut nats) = Nats::start() else { return };
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let config = configured(dir.path(), &nats, &bidder, str::to_owned);
    let mut server = Server::ready(&config);
    wait_until("the broker is there", || is_well(&server));
    let [bid, other] = [(); 2].map(|()| auction(&server, REQUEST));
    wait_until("nobody else is connected", || is(&server, OPEN, 0.0));
    nats.die();
    wait_until("it is missed", || !is_well(&server));
    let burl = path(&bid, "burl", &[]);
    let leaves = ask(&server, &burl);
    wait_until("the event is in hand", || is(&server, IN_HAND, 1.0));
    drop(leaves);
    wait_until("the client has gone", || is(&server, OPEN, 0.0));
    // one that brings it again has the same end
    let mut stays = ask(&server, &burl);
    wait_until("both are in hand", || is(&server, IN_HAND, 2.0));
    // one that does not wait at all
    drop(ask(&server, &path(&other, "burl", &[])));
    wait_until("another event is in hand", || is(&server, IN_HAND, 3.0));
    nats.come_back();
    assert_eq!(stays.receive().unwrap().status, 204);
    wait_until("all are at their end", || is(&server, IN_HAND, 0.0));
    for (result, count) in [("new", 2.0), ("repeat", 1.0), ("refused", 0.0)] {
        assert!(is(&server, &counted("billing", result), count), "{}", server.metrics());
    }
    assert!(is(&server, "gavel_journal_off_events", 0.0), "{}", server.metrics());
    assert_eq!(server.terminate(), Some(0));
    let rows = rows(&config, dir.path());
    assert_eq!(rows.iter().filter(|row| row["type"] == "billing").count(), 2, "{rows:?}");
}

fn rows(config: &Path, dir: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(pulled(config, &dir.join("pulled.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_win_by_our_answer_outlives_a_process_that_ends_while_the_broker_is_away() {
    let Some(mut nats) = Nats::start() else { return };
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let config = configured(dir.path(), &nats, &bidder, |text| {
        let text = text.replace("open = true\n", "open = true\nwin_notice = 'answer'\n");
        format!("{text}[drain]\nmax = '100ms'\n")
    });
    let mut server = Server::ready(&config);
    wait_until("the broker is there", || is_well(&server));
    nats.die();
    wait_until("it is missed", || !is_well(&server));
    auction(&server, REQUEST);
    wait_until("the win is in hand", || is(&server, IN_HAND, 1.0));
    assert_eq!(server.terminate(), Some(0));
    let kept = gavel(&["journal", "export"], &[&dir.path().join("a")]);
    assert_eq!(kept.matches("\"type\":\"win\"").count(), 1, "{kept}");

    nats.come_back();
    let mut server = Server::ready(&config);
    let delivered = "gavel_journal_outlet_events{sink=\"broker\",state=\"delivered\"}";
    wait_until("the relay has sent it", || is(&server, delivered, 1.0));
    assert!(is(&server, "gavel_journal_off_events", 0.0), "{}", server.metrics());
    assert_eq!(server.terminate(), Some(0));
    let rows = rows(&config, dir.path());
    assert_eq!(rows.iter().filter(|row| row["type"] == "win").count(), 1, "{rows:?}");
}

#[test]
fn a_journal_that_takes_nothing_ends_nothing_where_the_broker_has_the_events() {
    let Some(nats) = Nats::start() else { return };
    let (dir, bidder) = (tempfile::tempdir().unwrap(), bidder());
    let config = configured(dir.path(), &nats, &bidder, |text| {
        let small = "'32KiB'\nrecord_bytes_max = '8KiB'\nstuck_after = '1m'";
        text.replace("'1MiB'", "'64KiB'").replace("'256KiB'", small)
    });
    let mut server = Server::ready_for_a_full_disk(&config);
    wait_until("the broker is there", || is_well(&server));
    // what is there has its size; another cannot be made
    server.limit_files(Some((64 << 10) - 1));
    wait_until("records of auctions have filled it", || {
        (0..20).for_each(|_| drop(auction(&server, REQUEST)));
        is(&server, "gavel_journal_condition", 5.0)
    });
    server.wait_for(|line| line["message"] == "the journal is worse" && line["now"] == "failed");
    assert_eq!(server.readiness().status, 200, "{}", server.readiness().text());
    let burl = path(&auction(&server, REQUEST), "burl", &[]);
    assert_eq!(send(&server, "GET", &burl, "").status, 204);
    assert!(is(&server, &counted("billing", "new"), 1.0), "{}", server.metrics());
    server.limit_files(None);
    assert_eq!(server.terminate(), Some(0));
}
