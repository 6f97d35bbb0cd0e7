//! Starts the thread that reloads, and lets SIGHUP ask for it.
//!
//! Owns: [`Reloading`]. Never: what is reloaded.

use super::ServeArgs;
use super::team::Team;
use crate::reload::ReloadSettings;
use crate::reload::progress::Progress;
use crate::reload::publisher::{InForce, Publisher, PublisherParts};
use crate::reload::watch::{Waker, Watch, WatchSettings};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::Signal;
use tokio::task::{JoinHandle, spawn_local};
use tracing::{error, warn};

/// How much nicer than the workers the thread is: beside a busy worker it gets a quarter of a core.
const NICE: i32 = 5;

/// Reloads until it is dropped.
#[derive(Debug)]
pub struct Reloading {
    stop: Arc<AtomicBool>,
    waker: Waker,
    asker: JoinHandle<()>,
}

impl Drop for Reloading {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        self.asker.abort();
    }
}

/// From what is in force on; `None`: nothing will be reloaded, and the log says why.
pub fn start(
    args: &ServeArgs,
    team: &Team,
    (in_force, hangup): (InForce, Signal),
    progress: &Arc<Progress>,
) -> Option<Reloading> {
    let stop = Arc::new(AtomicBool::new(false));
    let parts = PublisherParts {
        main: args.config.clone(),
        settings: ReloadSettings::default(),
        live: team.live(),
        bank: team.bank(),
        hub: team.vitals().hub,
        recorder: team.vitals().recorder,
        net: team.net(),
        progress: Arc::clone(progress),
        keep: args.keep.clone(),
        stop: Arc::clone(&stop),
    };
    let publisher = Publisher::new(parts, in_force);
    let watch = Watch::new(WatchSettings::default(), &publisher.paths());
    if let Some(why) = watch.deaf() {
        warn!(why, "changes of files are seen by the poll only");
    }
    let frozen = watch.frozen();
    if !frozen.is_empty() {
        warn!(paths = ?frozen, "mounted by subPath: they never change under a running process");
    }
    progress.state().frozen = frozen;
    progress.state().is_polled = watch.deaf().is_some();
    let waker = watch.waker();
    let thread = std::thread::Builder::new().name("gavel-reload".to_owned()).spawn(move || {
        // On Linux the niceness is the thread's own.
        if let Err(fault) = rustix::process::nice(NICE) {
            warn!(%fault, "reloading runs at the workers' priority");
        }
        publisher.run(watch);
    });
    if let Err(fault) = thread {
        error!(%fault, "nothing will be reloaded");
        return None;
    }
    let asker = spawn_local(ask_by_signal(hangup, waker.clone()));
    Some(Reloading { stop, waker, asker })
}

/// SIGHUP asks to look now.
async fn ask_by_signal(mut hangup: Signal, waker: Waker) {
    while hangup.recv().await.is_some() {
        waker.wake();
    }
}
