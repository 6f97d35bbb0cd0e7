//! What operators are told: `/ready`, `/metrics`, `/snapshot`, and what the console shows of them.
//!
//! Owns: [`Status`]. Never: a secret. It exists before anything is loaded, so that a fault at the
//! start can be read.

use super::health::SilentList;
use super::log::Log;
use super::memory::MemoryState;
use super::team::Vitals;
use crate::capture::Stratum;
use crate::capture::recorder::{Counters, Dropped};
use crate::clock;
use crate::enrich::databases::DatabaseInfo;
use crate::http::ops::OpsRoutes;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::pressure::Pressure;
use crate::notice::tally::Tally;
use crate::reload::progress::{Progress, Source};
use crate::runtime::queue::QueueState;
use crate::snapshot::{Live, Snapshot};
use crate::telemetry::hub::{
    CaptureState, DatabaseState, ListenerState, MemoryNumbers, ProcessState, Sample, SilentState,
    SourceState,
};
use crate::telemetry::notices::NoticeState;
use crate::telemetry::{otlp, render};
use serde_json::{Value, json};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What is known of the process.
#[derive(Debug)]
pub struct Status {
    lifecycle: Arc<Lifecycle>,
    started: Duration,
    vitals: OnceCell<Vitals>,
    faults: RefCell<Vec<String>>,
    progress: Arc<Progress>,
    memory: MemoryState,
    silent: SilentList,
    log: Log,
}

impl Status {
    /// Of a process that has just started.
    pub fn new(lifecycle: Arc<Lifecycle>, progress: Arc<Progress>, log: Log) -> Self {
        Self {
            lifecycle,
            started: clock::wall(),
            vitals: OnceCell::new(),
            faults: RefCell::default(),
            progress,
            memory: MemoryState::default(),
            silent: SilentList::default(),
            log,
        }
    }

    /// Where the watches of memory and bidders write what they see.
    pub fn watched(&self) -> (MemoryState, SilentList) {
        (Rc::clone(&self.memory), Rc::clone(&self.silent))
    }

    /// The team is up.
    pub fn runs(&self, vitals: Vitals) {
        // Said once.
        let _ = self.vitals.set(vitals);
    }

    /// The start failed, and why.
    pub fn is_faulty(&self, faults: Vec<String>) {
        *self.faults.borrow_mut() = faults;
    }

    /// For the operations listener.
    pub fn routes(self: &Rc<Self>) -> OpsRoutes {
        let (metrics, detail) = (Rc::clone(self), Rc::clone(self));
        OpsRoutes {
            lifecycle: Arc::clone(&self.lifecycle),
            metrics: Box::new(move || metrics.metrics()),
            detail: Box::new(move || detail.detail()),
        }
    }

    fn metrics(&self) -> String {
        let Some(vitals) = self.vitals.get() else { return String::new() };
        render::prometheus(&vitals.hub, &self.process(vitals))
    }

    /// The numbers for a collector; `None` before the team is up.
    pub fn otlp(&self, about: &[(String, String)]) -> Option<Vec<u8>> {
        let vitals = self.vitals.get()?;
        Some(otlp::metrics(&vitals.hub, &self.process(vitals), about))
    }

    /// Every number of this moment; `false` before the team is up.
    pub fn numbers(&self, sink: &mut dyn FnMut(&Sample<'_>)) -> bool {
        let Some(vitals) = self.vitals.get() else { return false };
        vitals.hub.collect(&self.process(vitals), sink);
        true
    }

    /// What is in force.
    pub fn live(&self) -> Option<Arc<Snapshot>> {
        self.vitals.get()?.live.take()
    }

    /// The accept queue of the public listener, when last looked.
    pub fn queue(&self) -> Option<QueueState> {
        self.vitals.get().map(|vitals| vitals.queue.read())
    }

    /// What the process is and how it is, for the console.
    pub fn about(&self) -> Value {
        let readiness = self.lifecycle.readiness();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started": self.started.as_secs_f64(),
            "phase": readiness.phase.label(),
            "is_ready": readiness.is_ready,
            "missing": readiness.missing,
            "reloads": self.progress.state().json(clock::wall()),
        })
    }

    fn process(&self, vitals: &Vitals) -> ProcessState {
        let live = vitals.live.take();
        let databases = live.as_ref().map(|snapshot| {
            let infos = snapshot.databases.describe().iter();
            infos.filter_map(database_state).collect()
        });
        let now = clock::wall();
        let rates = live.as_ref().and_then(|snapshot| {
            let rates = &snapshot.rates;
            rates.age(now).map(|age| (age, rates.are_stale(now)))
        });
        let reloads = self.progress.state().clone();
        ProcessState {
            now,
            rates,
            started: self.started,
            version: env!("CARGO_PKG_VERSION"),
            generation: live.as_ref().map_or(0, |snapshot| snapshot.generation),
            listeners: vec![listener_state(&vitals.queue.read())],
            databases: databases.unwrap_or_default(),
            is_degraded: reloads.degraded.is_some(),
            sources: reloads.sources.iter().map(source_state).collect(),
            capture: capture_state(&vitals.recorder.counters()),
            memory: self.memory_numbers(),
            silent: self.silent.borrow().clone(),
            log_lines_dropped: self.log.dropped(),
            notices: notice_state(&vitals.notices, clock::wall()),
            books: vitals
                .journal
                .as_ref()
                .map(|journal| super::books::numbers(&journal.status(), vitals.broker.as_ref())),
        }
    }

    fn detail(&self) -> Option<String> {
        let faults = self.faults.borrow();
        if !faults.is_empty() {
            return Some(json!({ "faults": *faults }).to_string());
        }
        let mut detail = serde_json::Map::new();
        if let Some(why) = &self.progress.state().degraded {
            detail.insert("degraded".to_owned(), json!(why));
        }
        let silent: Vec<_> =
            self.silent.borrow().iter().filter(|one| one.is_long).map(told).collect();
        if !silent.is_empty() {
            detail.insert("bidders_silent".to_owned(), json!(silent));
        }
        let (_, pressure) = self.memory.get();
        if pressure > Pressure::None {
            detail.insert("memory_pressure".to_owned(), json!(pressure.label()));
        }
        (!detail.is_empty()).then(|| serde_json::Value::from(detail).to_string())
    }

    fn memory_numbers(&self) -> MemoryNumbers {
        let (seen, pressure) = self.memory.get();
        MemoryNumbers { used: seen.used, limit: seen.limit.unwrap_or(0), pressure: pressure as u8 }
    }
}

/// Information, never readiness: an exchange is not to blame for a bidder.
fn told(one: &SilentState) -> serde_json::Value {
    json!({
        "bidder": *one.bidder,
        "seconds": one.silent.as_secs(),
        "auctions_without_its_bids": one.auctions,
    })
}

fn listener_state(queue: &QueueState) -> ListenerState {
    ListenerState {
        name: "public",
        backlog_asked: queue.asked,
        backlog_effective: queue.effective,
        waiting: queue.waiting,
        overflows_and_drops: queue.drops.map(|seen| (seen.overflows, seen.drops)),
    }
}

/// `None` where the format does not tell when it was built: such a one has no age.
fn database_state(info: &DatabaseInfo) -> Option<DatabaseState> {
    let built = Duration::from_secs(info.build_epoch?);
    Some(DatabaseState { name: info.role.to_owned(), built })
}

fn source_state((name, source): (&&'static str, &Source)) -> SourceState {
    let is_refused = source.is_tried().then_some(source.is_refused);
    SourceState { name, taken: source.taken, results: source.results(), is_refused }
}

fn capture_state(counters: &Counters) -> CaptureState {
    let records = Stratum::ALL.map(|one| (one.label(), counters.records(one)));
    let dropped = Dropped::ALL.map(|why| (why.label(), counters.dropped(why)));
    CaptureState {
        records: records.to_vec(),
        dropped: dropped.to_vec(),
        bytes: counters.bytes(),
        files: counters.files(),
        queued: counters.queued(),
    }
}

fn notice_state(tally: &Tally, now: Duration) -> NoticeState {
    let age = |us: u64| now.saturating_sub(Duration::from_micros(us));
    let waiting = tally.waiting().into_iter().map(|(bidder, one)| {
        (bidder, one.pending, one.dead, one.oldest_us.map_or(Duration::ZERO, age))
    });
    NoticeState {
        results: tally.results(),
        failures: tally.failures(),
        blocked: tally.blocked(),
        waiting: waiting.collect(),
    }
}

/// For the admin listener.
pub fn snapshot(live: Arc<Live>, progress: Arc<Progress>) -> Box<dyn Fn() -> String> {
    Box::new(move || snapshot_json(&live, &progress))
}

fn snapshot_json(live: &Live, progress: &Progress) -> String {
    let mut shown = progress.state().json(clock::wall());
    if let (Some(snapshot), Some(into)) = (live.take(), shown.as_object_mut()) {
        into.insert("generation".to_owned(), json!(snapshot.generation));
        into.insert("partners".to_owned(), json!(snapshot.partners.len()));
        into.insert("bidders".to_owned(), json!(snapshot.bidders.len()));
        into.insert("databases".to_owned(), json!(snapshot.databases.describe()));
    }
    shown.to_string()
}
