//! Sends the numbers of `/metrics` to an OpenTelemetry collector, about every so often.
//!
//! Owns: when, and what is logged of it. Never: a number, a queue: a message that does not arrive
//! is not kept, since the next one has the same counters and later ones.

use super::status::Status;
use crate::bidder::tls::Tls;
use crate::config::telemetry::PushSettings;
use crate::http::post::{PostFault, post};
use crate::reload::chain;
use bytes::Bytes;
use std::rc::Rc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

/// Where metrics go below the endpoint (OTLP/HTTP).
const METRICS: &str = "/v1/metrics";

/// Numbers on their way; dropped, no more are sent.
pub struct Pushing {
    settings: PushSettings,
    tls: Tls,
    task: JoinHandle<()>,
}

/// `None`: nothing is to be sent, or cannot be, and the log says why. No auction waits for it.
pub fn start(settings: Option<PushSettings>, status: &Rc<Status>) -> Option<Pushing> {
    let settings = settings?;
    let tls = match Tls::new(settings.ca_file.as_deref()) {
        Ok(tls) => tls,
        Err(fault) => {
            error!(fault = chain(&fault), "no metrics are sent to the collector");
            return None;
        }
    };
    let task = spawn_local(push(settings.clone(), tls.clone(), Rc::clone(status)));
    Some(Pushing { settings, tls, task })
}

impl Pushing {
    /// Sends what came since the last message, and ends.
    pub async fn finish(self, status: &Status) {
        self.task.abort();
        if let Err(fault) = once(&self.settings, &self.tls, status).await {
            warn!(fault = chain(&fault), "the last metrics did not arrive at the collector");
        }
    }
}

async fn push(settings: PushSettings, tls: Tls, status: Rc<Status>) {
    let mut tick = tokio::time::interval(settings.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_arriving = true;
    loop {
        tick.tick().await;
        let result = once(&settings, &tls, &status).await;
        match &result {
            Ok(()) if !is_arriving => info!("metrics arrive at the collector again"),
            Err(fault) if is_arriving => {
                warn!(fault = chain(fault), "metrics do not arrive at the collector");
            }
            _ => {}
        }
        is_arriving = result.is_ok();
    }
}

async fn once(settings: &PushSettings, tls: &Tls, status: &Status) -> Result<(), PostFault> {
    let Some(message) = status.otlp(&settings.about) else { return Ok(()) };
    let to = settings.to.below(METRICS);
    post(&to, tls, &settings.headers, Bytes::from(message), settings.time).await
}
