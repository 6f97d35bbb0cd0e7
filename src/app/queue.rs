//! Looks at the accept queue about every second, and says what an operator should hear.
//!
//! Owns: when it is looked, and the words. Never: the figures (`runtime::queue`).

use crate::clock;
use crate::runtime::queue::{Look, QueueState, QueueWatch};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Between two warnings of overflows: the counter has all of them.
const WARN: Duration = Duration::from_secs(60);

/// Watches until it is aborted. SIGHUP has it listen again at once; else it does so when the
/// system's limit has changed.
pub async fn watch(mut queue: QueueWatch) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut overflows = Overflows::default();
    loop {
        let is_asked = tokio::select! {
            _ = look.tick() => false,
            () = asked(hangup.as_mut()) => true,
        };
        let seen = queue.look(is_asked);
        tell_again(&seen);
        overflows.tell(seen.overflowed, &queue.state(), clock::monotonic());
    }
}

/// When somebody sends SIGHUP; never where that cannot be heard.
async fn asked(hangup: Option<&mut Signal>) {
    match hangup {
        Some(hangup) => drop(hangup.recv().await),
        None => std::future::pending().await,
    }
}

fn tell_again(seen: &Look) {
    match &seen.again {
        None => {}
        Some((before, Ok(after))) if before == after => {}
        Some((before, Ok(after))) => info!(before, after, "the accept queue has another length"),
        Some((_, Err(fault))) => error!(%fault, "cannot listen again for another accept queue"),
    }
}

/// Overflows that nobody was told of yet.
#[derive(Debug, Default)]
struct Overflows {
    untold: u64,
    told_at: Option<Instant>,
}

impl Overflows {
    fn tell(&mut self, more: u64, queue: &QueueState, now: Instant) {
        self.untold = self.untold.saturating_add(more);
        let is_time = self.told_at.is_none_or(|at| now.duration_since(at) >= WARN);
        if self.untold == 0 || !is_time {
            return;
        }
        warn!(
            connections = self.untold,
            waiting = queue.waiting,
            effective = queue.effective,
            asked = queue.asked,
            "connections were dropped at a full accept queue: {}",
            remedy(queue)
        );
        self.untold = 0;
        self.told_at = Some(now);
    }
}

/// What helps.
fn remedy(queue: &QueueState) -> &'static str {
    if queue.is_auto || queue.effective < queue.asked {
        "raise net.core.somaxconn of this network namespace (in a pod: securityContext.sysctls, on \
         nodes that allow it); the new limit is taken without a restart"
    } else {
        "raise listener.backlog, or let more processes share the connections"
    }
}
