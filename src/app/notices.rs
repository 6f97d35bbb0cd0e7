//! Starts the thread that sends notices, and ends it.
//!
//! Owns: [`Sending`]. Never: what is sent. Invariant: the thread runs for as long as the process
//! does: where it panics, the process ends, and the next one sends what was not sent.

use crate::bidder::tls::Tls;
use crate::broker::consumers::FeedSettings;
use crate::broker::feed;
use crate::broker::link::Link;
use crate::config::Config;
use crate::config::fault::chain;
use crate::config::notices::NoticeSettings;
use crate::journal::disk::real::RealDisk;
use crate::journal::vital::Vital;
use crate::notice::courier::{Courier, Permissions};
use crate::notice::event_log::EventLog;
use crate::notice::guard::{Guard, Permission};
use crate::notice::plan::Outbox;
use crate::notice::sender::{Deliver, Sender};
use crate::notice::shelf::Shelf;
use crate::notice::tally::Tally;
use crate::snapshot::Live;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::channel;
use tracing::{error, warn};

/// How much nicer than the workers the thread is.
const NICE: i32 = 5;

/// What a notice of the broker may take beside its wait and its try.
const HOLD_MORE: Duration = Duration::from_secs(10);

/// The thread.
#[derive(Debug)]
pub struct Sending {
    outbox: Outbox,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Sending {
    /// Starts it. With a log of events it sends what is durable, too, and with a broker what only that
    /// has. The error is a line for the report.
    pub fn start(
        config: &Config,
        live: Arc<Live>,
        (log, link): (Option<&EventLog>, Option<&Link>),
    ) -> Result<Self, String> {
        let settings = config.engine.notices.clone();
        let shelf = match log.map(EventLog::journal) {
            Some(journal) => Shelf::open(journal, Arc::new(RealDisk), settings.sender.letters_max)
                .map_err(|fault| chain(&fault))?,
            None => None,
        };
        let tls = Tls::new(config.engine.net.ca_file.as_deref()).map_err(|fault| chain(&fault))?;
        let (queue, losses) = channel(settings.sender.losses_max);
        let is_sole = matches!(log, Some(EventLog::Broker(..)));
        let parcels = match link {
            Some(link) => feed::start(link, feed_settings(&settings, is_sole)),
            // nobody has the other end: it ends at once
            None => channel(1).1,
        };
        let (tally, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let outbox = Outbox::new(queue, Arc::clone(&tally));
        let (counts, ending) = (Arc::clone(&tally), Arc::clone(&stop));
        let resolve = config.engine.net.resolve.clone();
        let thread = std::thread::Builder::new().name("gavel-notices".to_owned());
        let thread = thread.spawn(move || {
            let _vital = Vital("notices");
            // On Linux the niceness is the thread's own.
            if let Err(fault) = rustix::process::nice(NICE) {
                warn!(%fault, "notices are sent at the workers' priority");
            }
            let mut builder = Builder::new_current_thread();
            let runtime = match builder.enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(fault) => {
                    error!(%fault, "no notices are sent");
                    return;
                }
            };
            runtime.block_on(async move {
                let courier = settings.courier;
                let courier = crate::notice::courier::CourierSettings { resolve, ..courier };
                let guard = Guard::new(settings.guard);
                let courier = Rc::new(Courier::new(guard, permissions(live), courier, tls));
                let deliver: Deliver = Rc::new(move |bidder, url| {
                    let courier = Rc::clone(&courier);
                    Box::pin(async move { courier.deliver(&bidder, &url).await })
                });
                let seed = u64::try_from(crate::clock::wall().as_nanos()).unwrap_or(1);
                Sender::new(settings.sender, deliver, counts, shelf, seed)
                    .run((losses, parcels), ending)
                    .await;
            });
        });
        let thread = thread.map_err(|fault| fault.to_string())?;
        Ok(Self { outbox, tally, stop, thread: Some(thread) })
    }

    /// For the workers.
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// For metrics.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Ends it, after the tries that are under way. Blocks; dropping does the same and does not.
    pub fn end(mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // no error: where it panics, the process ends
            let _ = thread.join();
        }
    }
}

/// Nobody else takes a notice while we may be sending it.
fn feed_settings(settings: &NoticeSettings, is_sole: bool) -> FeedSettings {
    let hold = settings.sender.lane.patience + settings.courier.total + HOLD_MORE;
    let span = settings.sender.retry.span;
    FeedSettings { is_sole, hold, span, many: settings.sender.letters_max }
}

/// Of the rules in force at the moment of a try.
fn permissions(live: Arc<Live>) -> Permissions {
    Box::new(move |name| {
        let snapshot = live.take()?;
        snapshot.bidders.iter().find(|bidder| bidder.name == name).map(Permission::of)
    })
}
