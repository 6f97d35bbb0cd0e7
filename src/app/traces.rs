//! Sends the traces of requests to an OpenTelemetry collector, some at a time.
//!
//! Owns: when, and what is counted of it. Never: a choice of what is traced (the workers have made
//! it), a second try: what does not arrive is counted and gone, it is a sample anyway.
//! Invariant: whatever the collector does, workers never wait for it.

use super::push::{Told, deliver};
use crate::bidder::tls::Tls;
use crate::config::telemetry::PushSettings;
use crate::telemetry::hub::Hub;
use crate::telemetry::otlp_traces;
use crate::telemetry::spans::AuctionSpan;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;

/// Where traces go below the endpoint (OTLP/HTTP).
const TRACES: &str = "/v1/traces";
/// Traces in one message: with five calls each about 300 KB.
const BATCH_MAX: usize = 256;
/// From the first trace to the message, so that several share one.
const LINGER: Duration = Duration::from_secs(1);

/// Traces on their way.
pub struct Tracing {
    task: JoinHandle<()>,
    stop: Rc<Notify>,
}

impl Drop for Tracing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends what comes out of `road`.
pub fn start(
    settings: PushSettings,
    tls: Tls,
    (road, hub): (Receiver<AuctionSpan>, Arc<Hub>),
) -> Tracing {
    let stop = Rc::new(Notify::new());
    let task = spawn_local(send(Sending { settings, tls, hub }, road, Rc::clone(&stop)));
    Tracing { task, stop }
}

impl Tracing {
    /// Sends what is still there, and ends; dropped meanwhile, it ends at once.
    pub async fn finish(mut self) {
        self.stop.notify_one();
        // an error: it panicked, and there is nothing more to wait for
        let _ = (&mut self.task).await;
    }
}

struct Sending {
    settings: PushSettings,
    tls: Tls,
    hub: Arc<Hub>,
}

async fn send(sending: Sending, mut road: Receiver<AuctionSpan>, stop: Rc<Notify>) {
    let mut told = Told::new("traces");
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut is_last = false;
    while !is_last {
        is_last = tokio::select! {
            count = road.recv_many(&mut batch, BATCH_MAX) => count == 0,
            () = stop.notified() => true,
        };
        if !is_last && batch.len() < BATCH_MAX {
            // a stop ends the wait and is heard
            is_last = timeout(LINGER, stop.notified()).await.is_ok();
        }
        while let Ok(span) = road.try_recv() {
            batch.push(span);
            if batch.len() >= BATCH_MAX {
                sending.once(&mut batch, &mut told).await;
            }
        }
        sending.once(&mut batch, &mut told).await;
    }
}

impl Sending {
    async fn once(&self, batch: &mut Vec<AuctionSpan>, told: &mut Told) {
        if batch.is_empty() {
            return;
        }
        let version = env!("CARGO_PKG_VERSION");
        let message = otlp_traces::traces(batch, version, &self.settings.about);
        let result = deliver(&self.settings, &self.tls, TRACES, message).await;
        self.hub.traces_sent(batch.len() as u64, result.is_ok());
        told.tell(&result);
        batch.clear();
    }
}
