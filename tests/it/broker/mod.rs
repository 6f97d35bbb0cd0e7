//! Events over a real broker: the relay, and `events.ack = "broker"`.

mod changed;
mod cluster;
mod dlq;
mod feed;
mod gone;
mod outage;
mod relay;
mod replicas;
mod secure;

use crate::harness::http::PATIENCE;
use gavel::clock;
use std::time::Duration;

fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_for(PATIENCE, what, is_so);
}

fn wait_for(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let until = clock::monotonic() + patience;
    while !is_so() {
        assert!(clock::monotonic() < until, "never came to be: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
