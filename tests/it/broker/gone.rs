//! What goes on beside a broker, and is not waited for: its own disk.

use super::replicas::{acknowledged, configs, is_well};
use super::wait_until;
use crate::events::{REQUEST, auction, bidder, path, send};
use crate::harness::bidder::Bidder;
use crate::harness::nats::Nats;
use crate::harness::server::Server;
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
