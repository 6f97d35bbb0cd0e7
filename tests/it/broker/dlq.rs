//! Dead notices of the stream: nothing of them is lost, and each is closed once.

use super::feed::{event, next, owed};
use super::replicas::{acknowledged, configs, gavel, is_well, pulled, replicas, sell};
use super::{wait_for, wait_until};
use crate::events::send;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::PATIENCE;
use crate::harness::nats::Nats;
use crate::harness::server::Server;
use gavel::broker::Settings;
use gavel::broker::command::pull;
use gavel::broker::consumers::FeedSettings;
use gavel::broker::dead::{Closing, DeadNotice, Death, dead};
use gavel::broker::feed::{self, Parcel};
use gavel::broker::letters::{Found, Letters};
use gavel::broker::link::{Link, Running};
use gavel::broker::message::{Message, of_event};
use nix::sys::signal::Signal;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// Nothing comes again because somebody was slow.
const SETTINGS: FeedSettings =
    FeedSettings { hold: Duration::from_secs(600), ..super::feed::SETTINGS };

/// A replica's connection to a stream with one event, whose notice it has taken.
struct Desk {
    link: Link,
    running: Running,
    parcels: Receiver<Parcel>,
    letters: Letters,
}

impl Desk {
    fn open(settings: Settings) -> Self {
        let (link, running) = Link::start(settings).unwrap();
        wait_until("the broker is there", || link.health().is_well());
        let message = of_event("gavel", &event(1, "https://b.example/1"));
        link.block_on(link.publish(&message)).unwrap();
        let parcels = feed::start(&link, SETTINGS);
        let letters = Letters::open(link.settings()).unwrap();
        Self { link, running, parcels, letters }
    }

    fn next(&mut self) -> Parcel {
        next(&self.link, &mut self.parcels)
    }

    fn publish(&self, message: &Message) {
        assert!(!self.link.block_on(self.link.publish(message)).unwrap().is_repeat);
    }

    /// The dead notices, when there are so many that are open.
    fn dead(&self, count: usize) -> Vec<DeadNotice> {
        let list = || self.letters.list(None).unwrap().open;
        wait_until("so many are dead", || list().len() == count);
        list()
    }

    /// Nobody is to be told of anything any more.
    fn nothing_comes(mut self, url: &str) {
        wait_until("all is settled", || owed(url, "notices") + owed(url, "again") == 0);
        let waiting = self.parcels.try_recv();
        assert!(waiting.is_err(), "{waiting:?}");
        self.running.close();
    }
}

fn types(settings: &Settings) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let faults = pull(settings, 1, Some(&file.path().to_owned())).unwrap();
    assert_eq!(faults, Vec::<String>::new());
    let text = std::fs::read_to_string(file.path()).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    rows.map(|row| row["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_dead_notice_is_sent_again_once_and_may_die_again_until_it_is_given_up() {
    let Some(nats) = Nats::start() else { return };
    let mut desk = Desk::open(nats.settings());
    let parcel = desk.next();
    parcel.receipt.dead("status 400".to_owned(), 3);
    let first = desk.dead(1).remove(0);
    assert_eq!((first.text("reason"), first.whole("tries")), ("status 400", 3));
    let of = |bidder| desk.letters.list(Some(bidder)).unwrap().open;
    assert_eq!((of("alpha").len(), of("beta").len()), (1, 0));
    assert_eq!((first.text("event"), first.whole("first_us")), ("billing", 7));
    assert!(first.whole("died_us") > 7, "{first:?}");

    // the same asked for twice, the second time by somebody who has an old list
    for _ in 0..2 {
        assert!(desk.letters.close(&first, &Closing::Again, 1_000).unwrap());
    }
    let purge = Closing::Purged("no more".to_owned());
    assert!(!desk.letters.close(&first, &purge, 1_000).unwrap(), "it is sent again");
    assert_eq!(desk.letters.list(None).unwrap(), Found::default());
    let parcel = desk.next();
    assert_eq!((parcel.url.as_str(), parcel.bidder.as_str()), ("https://b.example/1", "alpha"));
    assert_eq!((parcel.first_us, parcel.taken), (1_000, 0), "its day begins anew");
    // within the window of repeats, and yet another dead notice
    parcel.receipt.dead("status 500".to_owned(), 12);
    let second = desk.dead(1).remove(0);
    assert_eq!((second.text("reason"), second.whole("first_us")), ("status 500", 1_000));
    assert_ne!(second.key(), first.key());
    assert!(desk.letters.close(&second, &purge, 2_000).unwrap());
    assert_eq!(desk.letters.list(None).unwrap(), Found::default());
    let settings = desk.link.settings().clone();
    desk.nothing_comes(&nats.url());
    assert_eq!(types(&settings), ["billing", "notice_again", "notice_purged"]);
}

#[test]
fn a_process_that_ends_between_the_steps_of_a_death_leaves_one_dead_notice() {
    let Some(nats) = Nats::start() else { return };
    let mut desk = Desk::open(nats.settings());
    let parcel = desk.next();
    // the probe is the first message of the stream, the event the second
    let death = Death { reason: "status 400".to_owned(), origin: 2, ..Death::default() };
    let said = dead("gavel", &of_event("gavel", &event(1, "https://b.example/1")).payload, &death);
    // longer ago than the stream knows a repeat
    desk.publish(&Message { id: "forgotten".to_owned(), ..said.unwrap() });
    // said, and not settled: another replica gets it, which ends the same
    drop(parcel);
    let parcel = desk.next();
    assert_eq!(parcel.taken, 1);
    parcel.receipt.dead("status 400".to_owned(), 4);
    wait_until("both are there", || {
        desk.letters.list(None).unwrap().open.first().is_some_and(|one| one.places.len() == 2)
    });
    let open = desk.dead(1);
    assert!(desk.letters.close(&open[0], &Closing::Again, 1_000).unwrap());
    assert_eq!(desk.letters.list(None).unwrap(), Found::default(), "both are gone");
    desk.next().receipt.delivered();
    let settings = desk.link.settings().clone();
    desk.nothing_comes(&nats.url());
    assert_eq!(types(&settings), ["billing", "notice_again"]);
}

#[test]
fn a_command_that_ends_between_the_steps_of_a_closing_is_ended_by_the_next_one() {
    for closing in [Closing::Again, Closing::Purged("too old".to_owned())] {
        let Some(nats) = Nats::start() else { return };
        let mut desk = Desk::open(nats.settings());
        desk.next().receipt.dead("status 400".to_owned(), 3);
        let one = desk.dead(1).remove(0);
        // decided, and the dead notice is still there
        let decided = one.closed("gavel", &closing, 1_000);
        desk.publish(&Message { id: "forgotten".to_owned(), ..decided });
        let found = desk.letters.list(None).unwrap();
        assert_eq!((found.open.len(), found.left.len()), (0, 1), "it is not listed");
        assert!(desk.letters.close(&found.left[0], &closing, 2_000).unwrap());
        assert_eq!(desk.letters.list(None).unwrap(), Found::default());
        if closing == Closing::Again {
            desk.next().receipt.delivered();
        }
        let settings = desk.link.settings().clone();
        desk.nothing_comes(&nats.url());
        assert_eq!(types(&settings), ["billing", closing.kind()]);
    }
}

#[test]
fn a_stream_whose_last_message_was_removed_is_read_to_its_end() {
    let Some(nats) = Nats::start() else { return };
    let mut desk = Desk::open(nats.settings());
    desk.next().receipt.dead("status 400".to_owned(), 3);
    let one = desk.dead(1).remove(0);
    assert!(desk.letters.close(&one, &Closing::Purged("a test".to_owned()), 1_000).unwrap());
    // said once more by somebody who was held up meanwhile
    let late = of_event("gavel", &event(1, "https://b.example/1")).payload;
    let death = Death { origin: one.whole("origin"), ..Death::default() };
    let late = dead("gavel", &late, &death).unwrap();
    desk.publish(&Message { id: "late".to_owned(), ..late });
    assert_eq!(types(desk.link.settings()), ["billing", "notice_purged", "dead_notice"]);
    let found = desk.letters.list(None).unwrap();
    assert_eq!((found.open.len(), found.left.len()), (0, 1), "it stays closed");
    assert!(!desk.letters.close(&found.left[0], &Closing::Again, 2_000).unwrap());
    assert_eq!(types(desk.link.settings()), ["billing", "notice_purged"]);
    desk.nothing_comes(&nats.url());
}

#[test]
fn three_servers_that_keep_a_dead_notice_take_one_closing_of_it_too() {
    let Some(servers) = Nats::cluster() else { return };
    let urls = servers.iter().map(Nats::url).collect();
    let mut desk = Desk::open(Settings { urls, replicas: 3, ..servers[0].settings() });
    desk.next().receipt.dead("status 400".to_owned(), 3);
    let one = desk.dead(1).remove(0);
    let purge = Closing::Purged("no more".to_owned());
    assert!(desk.letters.close(&one, &purge, 1_000).unwrap());
    assert!(!desk.letters.close(&one, &Closing::Again, 2_000).unwrap());
    assert_eq!(desk.letters.list(None).unwrap(), Found::default());
    desk.nothing_comes(&servers[0].url());
}

/// A bidder whose bills go to another place, which is answered as is said.
fn billing(told: &Bidder) -> Bidder {
    let body = format!(
        r#"{{"id":"r-1","seatbid":[{{"bid":[{{"id":"1","impid":"i-1","price":2.5,"w":300,"h":250,"mtype":1,"adm":"<p>ad</p>","burl":"http://{}/billed?p=${{AUCTION_PRICE}}"}}]}}]}}"#,
        told.address
    );
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Bidder::start(Script { status: 200, headers, body: body.into_bytes(), ..Script::default() })
}

fn dlq(config: &Path, arguments: &[&str]) -> String {
    let all = [&["dlq"], arguments, &["--config"]].concat();
    gavel(&all, &[config]).trim().to_owned()
}

/// Events of the dead notices that the stream keeps.
fn listed(config: &Path) -> Vec<String> {
    let text = dlq(config, &["list", "--json"]);
    let rows = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    rows.map(|row| row["event"].as_str().unwrap().to_owned()).collect()
}

fn counted(servers: &[Server], result: &str) -> f64 {
    let series = format!("gavel_notices_total{{kind=\"billing\",result=\"{result}\"}}");
    servers.iter().map(|server| server.metric(&series)).sum()
}

#[test]
fn of_replicas_that_are_killed_every_notice_is_dead_once_and_then_delivered() {
    let Some(nats) = Nats::start() else { return };
    let (dir, told) =
        (tempfile::tempdir().unwrap(), Bidder::start(Script { status: 204, ..Script::default() }));
    let bidder = billing(&told);
    // what may not be called at all is dead at once
    let notices = |port: u16| {
        format!(
            "[notices]\nports = [{port}]\nnetworks_allowed = ['127.0.0.0/8']\n{}",
            nats.config()
        )
    };
    let made = |port| acknowledged(configs(dir.path(), &bidder, &notices(port)));
    let paths = made(1);
    let mut servers = replicas(&paths);
    wait_until("all replicas have the broker", || servers.iter().all(is_well));
    let mut bills = Vec::new();
    for lost in 0..servers.len() {
        let other = (lost + 1) % servers.len();
        let sold = sell(&servers[other], 10);
        // in the middle of what became of them
        servers[lost].signal(Signal::SIGKILL);
        servers[lost].wait();
        servers[lost] = Server::ready(&paths[lost]);
        bills.extend(sold);
    }
    // what a killed one had taken is another's a quarter of a minute later
    wait_for(3 * PATIENCE, "all are dead", || listed(&paths[0]).len() == bills.len());
    let events = listed(&paths[0]);
    assert_eq!(events.iter().collect::<BTreeSet<_>>().len(), bills.len(), "{events:?}");
    wait_until("all are settled", || owed(&nats.url(), "notices") == 0);
    assert_eq!(told.seen().len(), 0);
    let kept =
        |state: &str| servers[0].metric(&format!("gavel_broker_notices{{state=\"{state}\"}}"));
    wait_until("a replica shows it", || {
        (kept("dead") - bills.len() as f64).abs() < 0.5 && kept("pending") < 0.5
    });

    for server in &mut servers {
        assert_eq!(server.terminate(), Some(0));
    }
    let paths = made(told.address.port());
    // nobody is there who could send them
    let one = dlq(&paths[0], &["replay", "--event", &events[0]]);
    assert_eq!(one, "1 letters are tried again");
    let mut servers = replicas(&paths);
    wait_until("the bidder was told of one", || told.seen().len() == 1);
    let all = dlq(&paths[0], &["replay", "--bidder", "alpha"]);
    assert_eq!(all, format!("{} letters are tried again", bills.len() - 1));
    wait_until("the bidder was told of all", || {
        (counted(&servers, "delivered") - bills.len() as f64).abs() < 0.5
    });
    assert_eq!(told.seen().len(), bills.len());
    assert_eq!(listed(&paths[0]), Vec::<String>::new());
    assert_eq!(dlq(&paths[0], &["replay", "--all"]), "0 letters are tried again");
    // a repeat of the event is no other notice
    for bill in &bills {
        assert_eq!(send(&servers[0], "GET", bill, "").status, 204);
    }
    for server in &mut servers {
        assert_eq!(server.terminate(), Some(0));
    }
    assert_eq!(owed(&nats.url(), "notices") + owed(&nats.url(), "again"), 0);
    assert_eq!(told.seen().len(), bills.len());
}

#[test]
fn a_notice_that_nobody_takes_in_its_time_is_dead_and_is_given_up_for_a_reason() {
    let Some(nats) = Nats::start() else { return };
    let (dir, told) =
        (tempfile::tempdir().unwrap(), Bidder::start(Script { status: 500, ..Script::default() }));
    let bidder = billing(&told);
    let notices = format!(
        "[notices]\nports = [{}]\nnetworks_allowed = ['127.0.0.0/8']\nretry_gap = '10ms'\nretry_for = '1s'\n",
        told.address.port()
    );
    let more = format!("{notices}{}", nats.config());
    let paths = acknowledged(configs(dir.path(), &bidder, &more));
    let mut servers = [Server::ready(&paths[0])];
    wait_until("the broker is there", || is_well(&servers[0]));
    sell(&servers[0], 2);
    wait_until("both are dead", || listed(&paths[0]).len() == 2);
    let text = dlq(&paths[0], &["list"]);
    // the last try, or that there was none because it had failed too often
    let has_why = |row: &&str| row.contains("status 500") || row.contains("not delivered in time");
    assert_eq!(text.lines().filter(has_why).count(), 2, "{text}");
    assert!(text.ends_with("2 dead, 0 pending"), "{text}");
    let (dead, delivered) = (counted(&servers, "dead"), counted(&servers, "delivered"));
    assert!((dead - 2.0).abs() < 0.5 && delivered < 0.5, "{dead} {delivered}");
    assert_eq!(dlq(&paths[0], &["list", "--older", "60"]).lines().count(), 2, "a head and a sum");
    let open = pulled(&paths[0], &dir.path().join("open.jsonl"));
    let purge = ["purge", "--all", "--reason", "the bidder is gone"];
    assert_eq!(dlq(&paths[0], &purge), "2 letters are given up");
    assert_eq!(listed(&paths[0]), Vec::<String>::new());
    let closed = pulled(&paths[0], &dir.path().join("closed.jsonl"));
    let text = std::fs::read_to_string(&closed).unwrap();
    assert_eq!(text.matches("\"purged_for\":\"the bidder is gone\"").count(), 2, "{text}");
    let undelivered = |files: &[&Path]| {
        let told = gavel(&["ledger", "--discrepancies", "--format", "json"], files);
        told.matches("\"undelivered\"").count()
    };
    assert_eq!((undelivered(&[&open]), undelivered(&[&closed])), (2, 0));
    assert_eq!(undelivered(&[&closed, &open]), 0, "in any order");
    assert_eq!(servers[0].terminate(), Some(0));
}
