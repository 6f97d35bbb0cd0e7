//! Three servers that keep each message three times: one of them is lost.

use super::relay::{STEPS, all_are_there_once_in_order, event};
use super::wait_until;
use crate::harness::nats::Nats;
use async_nats::jetstream;
use gavel::broker::Settings;
use gavel::broker::link::Link;
use gavel::broker::message::of_event;
use std::time::Duration;

/// Which of the servers leads the stream.
fn leader(url: &str) -> Option<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = jetstream::new(async_nats::connect(url).await.ok()?);
        let stream = context.get_stream("GAVEL").await.ok()?;
        let name = stream.cached_info().cluster.as_ref()?.leader.clone()?;
        name.strip_prefix('n')?.parse().ok()
    })
}

#[test]
fn when_the_leader_of_a_stream_is_killed_events_wait_for_the_next_one_and_none_is_lost() {
    let Some(mut servers) = Nats::cluster() else { return };
    let urls = servers.iter().map(Nats::url).collect();
    let settings = Settings { urls, replicas: 3, ..servers[0].settings() };
    // elections take up to ten seconds, and may have to be held again
    let wait = Duration::from_secs(60);
    let settings = Settings { ack: Settings::default().ack, wait, ..settings };
    let (link, running) = Link::start(settings.clone()).unwrap();
    wait_until("the stream has a leader", || link.health().is_well());
    let publish = |sale: u32| {
        for step in STEPS {
            let message = of_event(&settings.prefix, &event(sale, step));
            let stored = link.block_on(link.publish(&message));
            // one that was stored without an answer is a repeat at the second try
            stored.unwrap_or_else(|fault| panic!("{sale}: {fault}"));
        }
    };
    (0..20).for_each(publish);
    let lost = leader(&servers[0].url()).expect("a leader");
    servers[lost].die();
    (20..40).for_each(publish);
    // two of three are enough, and the third follows when it is back
    servers[lost].come_back();
    (40..60).for_each(publish);
    running.close();
    all_are_there_once_in_order(&settings, 60);
    // nor does an election cost a reading
    let mut lost = None;
    wait_until("the stream has a leader again", || {
        lost = leader(&servers[0].url());
        lost.is_some()
    });
    servers[lost.expect("one is known")].die();
    all_are_there_once_in_order(&settings, 60);
}
