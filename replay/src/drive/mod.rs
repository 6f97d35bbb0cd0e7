//! The load driver: sends requests at planned moments and measures from those moments.
//!
//! Owns: the order of a run: threads, start, end, one report. Its loop (`shard`) is the only one,
//! whatever the schedule. A request that finds no free connection waits, its latency counting
//! from its planned moment: a server that stalls is charged for every request that it held up.

mod connection;
pub mod live;
pub mod plan;
pub mod report;
pub mod schedule;
mod shard;
pub mod target;

use crate::wire::poller;
use live::Live;
use plan::{Bounds, DriveSettings, Plan, RequestSet};
use report::Report;
use schedule::{Schedule, Share};
use shard::Shard;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use target::Target;

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error("the plan holds no request")]
    NoRequests,
    #[error("the rate must be above 0 and at most 10,000,000 a second, not {0}")]
    Rate(f64),
    #[error("a thread of the driver cannot be started")]
    Thread(#[source] io::Error),
    #[error("waiting for sockets failed")]
    Poll(#[source] io::Error),
    #[error("{0} cannot be reached")]
    Unreachable(std::net::SocketAddr),
    #[error("a thread of the driver panicked")]
    Panic,
}

/// Highest rate that is taken for meant.
const PER_SECOND_MAX: f64 = 10_000_000.0;

/// Makes a run and blocks until it is over; `live` is made for as many threads.
pub fn run(plan: &Plan, live: &Live) -> Result<Report, DriveError> {
    if plan.requests.is_empty() {
        return Err(DriveError::NoRequests);
    }
    if let Some(rate) = plan.schedule.per_second()
        && !(rate > 0.0 && rate <= PER_SECOND_MAX)
    {
        return Err(DriveError::Rate(rate));
    }
    let threads = plan.settings.threads.max(1);
    let mut shards = Vec::new();
    for index in 0..threads {
        shards.push(Shard::open(plan, live, Share { index, of: threads })?);
    }
    let start = poller::now();
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for shard in shards {
            let builder = std::thread::Builder::new().name("drive".to_owned());
            let handle =
                builder.spawn_scoped(scope, move || shard.run(start)).map_err(|error| {
                    live.stop();
                    DriveError::Thread(error)
                })?;
            handles.push(handle);
        }
        let mut whole = Report::default();
        for handle in handles {
            whole.merge(&handle.join().map_err(|_| DriveError::Panic)??);
        }
        Ok(whole)
    })
}

/// Finds what a server can do: as many requests in flight as connections, for so long.
pub fn saturate(
    target: &Target,
    requests: &Arc<RequestSet>,
    connections: u32,
    time: Duration,
) -> Result<Report, DriveError> {
    let settings =
        DriveSettings { connections, connections_max: connections, ..DriveSettings::default() };
    let plan = Plan {
        target: target.clone(),
        requests: Arc::clone(requests),
        schedule: Schedule::Saturate,
        bounds: Bounds { requests_max: u64::MAX, time_max: time },
        settings,
    };
    run(&plan, &Live::new(settings.threads))
}
