//! Sends the numbers of `/metrics` to an OpenTelemetry collector, about every so often.
//!
//! Owns: when, and what is logged of it. Never: a number, a queue: a message that does not arrive
//! is not kept, since the next one has the same counters and later ones.

use super::status::Status;
use super::traces::{self, Tracing};
use crate::bidder::tls::Tls;
use crate::config::fault::chain;
use crate::config::telemetry::{PushSettings, Telling};
use crate::http::post::{PostFault, post};
use crate::telemetry::hub::Hub;
use crate::telemetry::spans::AuctionSpan;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{MissedTickBehavior, timeout};
use tracing::{error, info, warn};

/// Where metrics go below the endpoint (OTLP/HTTP).
const METRICS: &str = "/v1/metrics";

/// For the last of both, whatever `telemetry.otlp.time` is: a process that ends waits no longer for
/// a collector that hangs. A fifth of the slack that a drain has (`app::OVERDUE`).
const LAST: Duration = Duration::from_secs(3);

/// Numbers and traces on their way; dropped, no more are sent.
pub struct Pushing {
    settings: PushSettings,
    tls: Tls,
    task: JoinHandle<()>,
    tracing: Option<Tracing>,
}

/// What the log has been told of a road to the collector: a line for each change.
pub struct Told {
    what: &'static str,
    is_arriving: bool,
}

/// Where the workers' traces come out, and where it is counted what became of them.
type TraceEnd = (Receiver<AuctionSpan>, Arc<Hub>);

/// `None`: nothing is to be sent, or cannot be, and the log says why. No auction waits for it.
pub fn start(telling: &Telling, status: &Rc<Status>, traces: Option<TraceEnd>) -> Option<Pushing> {
    let settings = telling.push.clone()?;
    let tls = match Tls::new(settings.ca_file.as_deref()) {
        Ok(tls) => tls,
        Err(fault) => {
            error!(fault = chain(&fault), "nothing is sent to the collector");
            return None;
        }
    };
    let task = spawn_local(push(settings.clone(), tls.clone(), Rc::clone(status)));
    let tracing = traces.map(|end| traces::start(settings.clone(), tls.clone(), end));
    Some(Pushing { settings, tls, task, tracing })
}

/// Sends what came since the last message, and ends within [`LAST`].
pub async fn finish(pushing: Option<Pushing>, status: &Status) {
    let Some(pushing) = pushing else { return };
    if timeout(LAST, pushing.finish(status)).await.is_err() {
        warn!("the collector was given up: the last metrics or traces did not arrive");
    }
}

impl Pushing {
    /// Both at once: one that hangs does not cost the other.
    async fn finish(self, status: &Status) {
        self.task.abort();
        let traces = async {
            if let Some(tracing) = self.tracing {
                tracing.finish().await;
            }
        };
        let (sent, ()) = tokio::join!(once(&self.settings, &self.tls, status), traces);
        if let Err(fault) = sent {
            warn!(fault = chain(&fault), "the last metrics did not arrive at the collector");
        }
    }
}

impl Told {
    /// So far all is well.
    pub fn new(what: &'static str) -> Self {
        Self { what, is_arriving: true }
    }

    /// A message was sent.
    pub fn tell(&mut self, result: &Result<(), PostFault>) {
        let what = self.what;
        match result {
            Ok(()) if !self.is_arriving => info!("{what} arrive at the collector again"),
            Err(fault) if self.is_arriving => {
                warn!(fault = chain(fault), "{what} do not arrive at the collector");
            }
            _ => {}
        }
        self.is_arriving = result.is_ok();
    }
}

async fn push(settings: PushSettings, tls: Tls, status: Rc<Status>) {
    let mut tick = tokio::time::interval(settings.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Told::new("metrics");
    loop {
        tick.tick().await;
        told.tell(&once(&settings, &tls, &status).await);
    }
}

async fn once(settings: &PushSettings, tls: &Tls, status: &Status) -> Result<(), PostFault> {
    let Some(message) = status.otlp(&settings.about) else { return Ok(()) };
    deliver(settings, tls, METRICS, message).await
}

/// Sends one message to a path below the endpoint.
pub async fn deliver(
    settings: &PushSettings,
    tls: &Tls,
    path: &str,
    message: Vec<u8>,
) -> Result<(), PostFault> {
    let to = settings.to.below(path);
    post(&to, tls, &settings.headers, Bytes::from(message), settings.time).await
}
