//! What operators are told: `/ready`, `/metrics`, `/snapshot`.
//!
//! Owns: [`Status`]. Never: a secret. It exists before anything is loaded, so that a fault at the
//! start can be read.

use super::team::Vitals;
use crate::clock;
use crate::config::Config;
use crate::http::admin::SnapshotJson;
use crate::http::ops::OpsRoutes;
use crate::lifecycle::Lifecycle;
use crate::snapshot::Live;
use crate::telemetry::hub::{DatabaseState, ListenerState, ProcessState};
use crate::telemetry::render;
use serde_json::json;
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
}

impl Status {
    /// Of a process that has just started.
    pub fn new(lifecycle: Arc<Lifecycle>) -> Self {
        Self {
            lifecycle,
            started: clock::wall(),
            vitals: OnceCell::new(),
            faults: RefCell::default(),
        }
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
        let live = vitals.live.take();
        let databases = live.as_ref().map(|snapshot| {
            let infos = snapshot.databases.describe().iter();
            infos
                .map(|info| DatabaseState {
                    name: info.role.to_string(),
                    built: Duration::from_secs(info.build_epoch.unwrap_or(0)),
                })
                .collect()
        });
        let process = ProcessState {
            now: clock::wall(),
            started: self.started,
            version: env!("CARGO_PKG_VERSION"),
            generation: live.as_ref().map_or(0, |snapshot| snapshot.generation),
            listeners: vec![ListenerState {
                name: "public",
                backlog_asked: vitals.backlog_asked,
                backlog_effective: vitals.backlog_effective,
            }],
            databases: databases.unwrap_or_default(),
        };
        render::prometheus(&vitals.hub, &process)
    }

    fn detail(&self) -> Option<String> {
        let faults = self.faults.borrow();
        (!faults.is_empty()).then(|| json!({ "faults": *faults }).to_string())
    }
}

/// For the admin listener.
pub fn snapshot(live: Arc<Live>, config: &Config) -> SnapshotJson {
    let files: Vec<String> = config.files.iter().map(|path| path.display().to_string()).collect();
    Rc::new(move || snapshot_json(&live, &files))
}

fn snapshot_json(live: &Live, files: &[String]) -> String {
    let Some(snapshot) = live.take() else { return json!({ "generation": 0 }).to_string() };
    json!({
        "generation": snapshot.generation,
        "files": files,
        "partners": snapshot.partners.len(),
        "bidders": snapshot.bidders.len(),
        "databases": snapshot.databases.describe(),
    })
    .to_string()
}
