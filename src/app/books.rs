//! The journal of this process, and the broker behind it: opened before anybody is served, closed
//! after the last one was.
//!
//! Owns: [`Books`], its log lines, and what readiness is told of it: of the journal alone, and only
//! where events end there. A broker is the same for all replicas: where it is gone, another replica
//! is no better place. Never: a record.

use crate::broker::link::{self, Link};
use crate::broker::relay::{self, Relay};
use crate::clock;
use crate::config::events::{Ack, Events};
use crate::config::fault::chain;
use crate::journal::balance::Intake;
use crate::journal::disk::real::RealDisk;
use crate::journal::handle::{Journal, Status};
use crate::journal::open::{self, Opened, Running};
use crate::journal::{Condition, Settings};
use crate::lifecycle::{Lifecycle, ReadyHandle};
use crate::money_event::codec::identify;
use crate::notice::event_log::EventLog;
use crate::notice::shelf::SINK;
use crate::telemetry::books::{BooksState, BrokerState};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

/// How often its condition is looked at: a failure shows on `/ready` within a second.
const LOOK: Duration = Duration::from_millis(250);

/// So long the end waits for the broker to take what is in the journal, and how often it looks.
const SEND_ON_MAX: Duration = Duration::from_secs(3);
const SEND_ON_LOOK: Duration = Duration::from_millis(10);

/// What is kept while the process serves.
#[derive(Debug, Default)]
pub struct Books {
    log: Option<EventLog>,
    running: Option<Running>,
    /// The broker, and the relay to it.
    link: Option<(Link, link::Running)>,
    relay: Option<relay::Running>,
}

impl Books {
    /// Where events go; `None`: nowhere, and none is taken.
    pub fn log(&self) -> Option<EventLog> {
        self.log.clone()
    }

    /// The journal, also where events go elsewhere.
    pub fn journal(&self) -> Option<Journal> {
        self.log.as_ref().map(|log| log.journal().clone())
    }

    /// The broker.
    pub fn link(&self) -> Option<Link> {
        self.link.as_ref().map(|(link, _)| link.clone())
    }

    /// Writes what waits, with an fsync, and ends. Blocks.
    pub fn close(self) {
        self.send_on();
        if let Some(relay) = self.relay {
            relay.close();
        }
        if let Some((_, running)) = self.link {
            running.close();
        }
        if let Some(running) = self.running {
            running.close();
        }
    }
}

impl Books {
    /// Where events end at the broker, nobody may start on this journal again: what was left to it at
    /// the last goes on while there is time.
    fn send_on(&self) {
        let Some(EventLog::Broker(journal, link)) = &self.log else { return };
        let waiting = || {
            let figures = journal.status().figures;
            let outlet = figures.outlets.get(relay::SINK).map_or(0, |outlet| outlet.pending);
            outlet + figures.intake.in_hand
        };
        let until = clock::monotonic() + SEND_ON_MAX;
        while waiting() > 0 && link.health().is_well() && clock::monotonic() < until {
            std::thread::sleep(SEND_ON_LOOK);
        }
        let events = waiting();
        if events > 0 {
            error!(events, "the broker does not have these: they are in the journal alone");
        }
    }
}

/// Recovers the journal, on a thread of its own: `/ready` answers meanwhile. The error is a line
/// for the report.
pub async fn open(events: &Events) -> Result<Books, String> {
    let Some(mut settings) = events.journal.clone() else { return Ok(Books::default()) };
    // what bidders have not been told yet holds its records back
    settings.sinks.push(SINK.to_owned());
    if events.broker.is_some() {
        settings.sinks.push(relay::SINK.to_owned());
    }
    let dir = settings.dir.display().to_string();
    let Opened { journal, report, running } =
        opened(settings).await.map_err(|fault| format!("journal.dir: {fault}"))?;
    info!(
        dir,
        segments = report.segments,
        records = report.records,
        bytes = report.bytes,
        damaged = report.damaged,
        lost = report.lost,
        millis = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "journal recovered"
    );
    if report.lost > 0 {
        error!(lost = report.lost, "records of the journal are lost: see `gavel journal verify`");
    }
    // whatever fails from here on leaves no thread: dropped, the journal ends, and its folder is free
    let broker = events.broker.as_ref().map(|settings| Link::start(settings.clone()));
    let link = broker.transpose().map_err(|fault| format!("broker: {}", chain(&fault)))?;
    let relay = link.as_ref().and_then(|(link, _)| Relay::start(&journal, link.clone()));
    let relay = match relay.transpose() {
        Ok(relay) => relay,
        Err(fault) => {
            if let Some((_, running)) = link {
                running.close();
            }
            return Err(format!("cannot start a thread: {fault}"));
        }
    };
    let log = match (events.ack, &link) {
        (Ack::Broker, Some((link, _))) => EventLog::Broker(journal, link.clone()),
        _ => EventLog::Local(journal),
    };
    Ok(Books { log: Some(log), running: Some(running), link, relay })
}

async fn opened(settings: Settings) -> Result<Opened, String> {
    let (told, read) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("gavel-recover".to_owned()).spawn(move || {
        let opened = open::open(settings, Arc::new(RealDisk), identify);
        // Nobody waits any more where the process is being stopped.
        let _ = told.send(opened.map_err(|fault| chain(&fault)));
    });
    thread.map_err(|fault| format!("cannot start a thread: {fault}"))?;
    read.await.unwrap_or_else(|_| Err("the recovering thread died".to_owned()))
}

/// Closes them on a thread of its own, and waits for it.
pub async fn close(books: Books) {
    let (told, closed) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("gavel-close".to_owned()).spawn(move || {
        books.close();
        // the receiver waits for it
        let _ = told.send(());
    });
    match thread {
        // an error: it panicked, and what it had is dropped
        Ok(_) => closed.await.unwrap_or_default(),
        Err(fault) => error!(%fault, "the journal is not closed"),
    }
}

/// Tells readiness how the journal is, for as long as the process runs. Where it takes nothing,
/// another replica must take the events; where it only has no room for more auctions, events still
/// come here. Where a broker acknowledges them nothing needs this disk, and only the log is told.
pub async fn watch(log: Option<EventLog>, lifecycle: Arc<Lifecycle>) {
    let Some(log) = log else { return };
    let is_needed = matches!(log, EventLog::Local(_));
    let part = is_needed.then(|| lifecycle.needs("journal"));
    let mut known = Condition::Sound;
    tell(part.as_ref(), known);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let now = log.journal().condition();
        if now != known {
            if now > known {
                warn!(before = known.label(), now = now.label(), "the journal is worse");
            } else {
                info!(before = known.label(), now = now.label(), "the journal is better");
            }
            tell(part.as_ref(), now);
            known = now;
        }
    }
}

fn tell(part: Option<&ReadyHandle>, condition: Condition) {
    let Some(part) = part else { return };
    match condition {
        Condition::Failed => part.missing("nothing can be made durable"),
        _ => part.ready(),
    }
}

/// What the journal's figures are called outside.
pub fn numbers(status: &Status, link: Option<&Link>) -> BooksState {
    let Intake { received, in_hand, rejected, refused, duplicate, published, appended } =
        status.figures.intake;
    let outlets = status
        .figures
        .outlets
        .iter()
        .map(|(sink, one)| (sink.clone(), [one.carried, one.delivered, one.dead, one.pending]));
    let buffered = status.figures.buffered;
    let off = status.figures.differences().iter().map(|one| one.unsigned_abs()).sum::<u128>();
    BooksState {
        received,
        in_hand,
        intake: [rejected, refused, duplicate, published, appended],
        outlets: outlets.collect(),
        queued: buffered.queued,
        records: [buffered.offered, buffered.dropped, buffered.written],
        off: u64::try_from(off).unwrap_or(u64::MAX),
        condition: status.condition as u8,
        disk_bytes: status.disk_bytes,
        disk_bytes_max: status.disk_bytes_max.unwrap_or(0),
        segments: status.segments as u64,
        damaged_segments: status.damaged_segments as u64,
        commit: status.commit_p50.zip(status.commit_p99).map(|(half, most)| [half, most]),
        broker: link.map(|link| BrokerState {
            is_well: link.health().is_well(),
            messages: link.health().ends(),
            lag: link.health().behind(clock::wall()),
            notices: link.health().kept(),
            is_fed: link.health().is_fed(),
        }),
    }
}
