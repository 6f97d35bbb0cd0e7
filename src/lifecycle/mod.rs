//! Where the process stands between its start and its end, and whether it may be sent traffic.
//!
//! Owns: [`Phase`], [`Lifecycle`], [`ReadyHandle`]. Never: a socket, a task, a signal handler
//! (`app` installs it and calls [`Lifecycle::advance`]).
//! Invariant: a phase never goes back. Readiness may come and go inside [`Phase::Ready`].

pub mod load;
pub mod pressure;
pub mod spare;
pub mod tasks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How a stop goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleSettings {
    /// After the signal, new connections are still accepted for this long (0 to 300 s): load
    /// balancers learn late that the process is leaving.
    pub drain_min: Duration,
    /// What is in flight once the listeners are closed gets this long (100 ms to 300 s).
    pub drain_max: Duration,
}

impl Default for LifecycleSettings {
    fn default() -> Self {
        Self { drain_min: Duration::ZERO, drain_max: Duration::from_secs(10) }
    }
}

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not everything that is needed has been ready yet.
    Starting,
    /// Everything has been ready at least once.
    Ready,
    /// Asked to stop: not ready, still accepting, every answer closes its connection.
    Draining,
    /// Listeners closed, idle connections closed, finishing what is in flight.
    Closing,
    /// Nothing is served any more.
    Stopped,
}

impl Phase {
    /// For `/ready` and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Closing => "closing",
            Self::Stopped => "stopped",
        }
    }
}

/// One part that the process needs before it may be sent traffic.
#[derive(Debug)]
struct Part {
    name: &'static str,
    /// Why it is not ready; `None`: it is.
    missing: Option<String>,
}

/// What `/ready` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub is_ready: bool,
    pub phase: Phase,
    /// Part and reason of each that is not ready.
    pub missing: Vec<(&'static str, String)>,
}

/// The phase and the parts of one process.
#[derive(Debug)]
pub struct Lifecycle {
    phase: watch::Sender<Phase>,
    parts: Mutex<Vec<Part>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { phase: watch::Sender::new(Phase::Starting), parts: Mutex::new(Vec::new()) }
    }
}

impl Lifecycle {
    /// The phase of this moment.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The phase as it changes.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes on to `phase`; a phase that lies behind is ignored.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let is_later = phase > *now;
            if is_later {
                *now = phase;
            }
            is_later
        });
    }

    /// Adds a part that is needed. It is missing until its handle says otherwise.
    pub fn needs(self: &Arc<Self>, name: &'static str) -> ReadyHandle {
        let mut parts = self.parts();
        parts.push(Part { name, missing: Some("not started".to_owned()) });
        ReadyHandle { lifecycle: Arc::clone(self), index: parts.len() - 1 }
    }

    /// Whether traffic may be sent, and if not, why.
    pub fn readiness(&self) -> Readiness {
        let phase = self.phase();
        let missing: Vec<_> = self
            .parts()
            .iter()
            .filter_map(|part| part.missing.clone().map(|why| (part.name, why)))
            .collect();
        Readiness { is_ready: phase == Phase::Ready && missing.is_empty(), phase, missing }
    }

    /// Waits until the process is at `phase` or past it.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives in `self`: the wait cannot fail.
        let _ = self.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// The clean stop: announce, keep accepting for `drain_min`, then let the workers finish.
    /// The caller joins the threads and says [`Phase::Stopped`].
    pub async fn wind_down(&self, settings: &LifecycleSettings) {
        self.advance(Phase::Draining);
        tokio::time::sleep(settings.drain_min).await;
        self.advance(Phase::Closing);
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, index: usize, missing: Option<String>) {
        let mut parts = self.parts();
        if let Some(part) = parts.get_mut(index) {
            part.missing = missing;
        }
        let is_complete = parts.iter().all(|part| part.missing.is_none());
        drop(parts);
        if is_complete {
            self.advance(Phase::Ready);
        }
    }
}

/// One part's say in readiness. Dropped, the part is missing.
#[derive(Debug)]
pub struct ReadyHandle {
    lifecycle: Arc<Lifecycle>,
    index: usize,
}

impl ReadyHandle {
    /// The part is there.
    pub fn ready(&self) {
        self.lifecycle.set(self.index, None);
    }

    /// The part is missing, and why.
    pub fn missing(&self, why: impl Into<String>) {
        self.lifecycle.set(self.index, Some(why.into()));
    }
}

impl Drop for ReadyHandle {
    fn drop(&mut self) {
        self.lifecycle.set(self.index, Some("gone".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_every_part_is_and_only_then() {
        let lifecycle = Arc::new(Lifecycle::default());
        let (config, workers) = (lifecycle.needs("config"), lifecycle.needs("workers"));
        config.ready();
        assert_eq!(lifecycle.phase(), Phase::Starting);
        assert_eq!(
            lifecycle.readiness().missing,
            [("workers", "not started".to_owned())],
            "the other is named"
        );
        workers.ready();
        assert!(lifecycle.readiness().is_ready);
        config.missing("rates are stale");
        assert!(!lifecycle.readiness().is_ready);
        assert_eq!(lifecycle.phase(), Phase::Ready, "a phase never goes back");
        config.ready();
        drop(workers);
        assert_eq!(lifecycle.readiness().missing, [("workers", "gone".to_owned())]);
    }

    #[test]
    fn a_phase_never_goes_back() {
        let lifecycle = Lifecycle::default();
        lifecycle.advance(Phase::Draining);
        lifecycle.advance(Phase::Ready);
        assert_eq!(lifecycle.phase(), Phase::Draining);
        assert!(!lifecycle.readiness().is_ready);
    }
}
