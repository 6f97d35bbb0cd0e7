//! The load driver: sends requests at planned moments and measures from those moments.
//!
//! Owns: the order of a run: threads, queues, start, end, one outcome. Its loop (`shard`) is the
//! only one, whatever the schedule. A request that finds no free connection waits, its latency
//! counting from its planned moment: a server that stalls is charged for every request that it
//! held up.
//!
//! Threads: one `feed` reads ahead, each shard keeps the time, one inspects what is done, and the
//! caller's collects what was counted. The queues between them are of fixed length and their
//! buffers go round.

mod collect;
mod connection;
mod filled;
mod http2;
mod link;
pub mod live;
pub(crate) mod parcel;
pub mod plan;
mod pool;
pub mod report;
pub mod schedule;
mod shard;
pub mod target;
mod watch;

use crate::feed::{Feed, FeedError};
use crate::inspect::Inspect;
use crate::judge::Judged;
use crate::result::windows::Windows;
use crate::result::{Counts, FeedAccount, Invalid, PlanOf, RunResult, ShareOf, SourceOf, VERSION};
use crate::wire::poller::{self, Nanos, nanos};
use collect::{Collector, Line};
use live::Live;
use parcel::Parcel;
use plan::{Bounds, DriveSettings, Keys, Plan, Pool, Protocol, RequestSet, Share};
use report::{Report, Validity};
use schedule::{Schedule, ScheduleError};
use shard::{Queues, Shard};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;
use target::Target;
use watch::Watch;

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error("the plan holds no request")]
    NoRequests,
    #[error("the schedule cannot be kept")]
    Schedule(#[from] ScheduleError),
    #[error("recorded timing and recorded connections need a recording")]
    NoTimes,
    #[error("nothing can be fed")]
    Feed(#[from] FeedError),
    #[error("a thread of the driver cannot be started")]
    Thread(#[source] io::Error),
    #[error("waiting for sockets failed")]
    Poll(#[source] io::Error),
    #[error("{0} cannot be reached")]
    Unreachable(std::net::SocketAddr),
    #[error("a thread of the driver panicked")]
    Panic,
}

/// Requests that the feed is ahead of each shard: 50 ms at 20,000 a second, some 5 MB.
const AHEAD: usize = 1_024;
/// Exchanges that may wait for their inspection, likewise.
const INSPECT_QUEUE: usize = 1_024;
/// Windows of a shard that may wait to be collected.
const WINDOWS: usize = 4;
/// Buffers beyond those that the queues and connections hold: one in each thread's hand.
const IN_HAND: usize = 128;
/// From everything being ready to the first planned moment: threads need to start.
const LEAD: Duration = Duration::from_millis(5);

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub report: Report,
    pub windows: Windows,
    pub feed: FeedAccount,
    /// Exchanges that were shown to the inspections.
    pub inspected: u64,
    /// Whether it was made to end before its plan did.
    pub is_cut: bool,
    /// Wall clock of the start: microseconds since the epoch.
    pub started_us: u64,
    /// The start on the clock of the run. Nanoseconds of `CLOCK_MONOTONIC`.
    pub start: Nanos,
}

/// Makes a run and blocks until it is over; `live` is made for as many threads.
pub fn run(
    plan: &Plan,
    live: &Live,
    inspections: &mut [&mut dyn Inspect],
) -> Result<Outcome, DriveError> {
    check(plan)?;
    let rounds = Feed::open(plan)?;
    let (ends_at, is_ready) = (AtomicU64::new(0), AtomicU64::new(0));
    let channels = Channels::new(plan, !inspections.is_empty());
    let mut shards = Vec::new();
    for (index, queues) in (0u32..).zip(channels.queues) {
        shards.push(Shard::open(plan, live, index, queues, &ends_at)?);
    }
    let feed = Feed {
        plan,
        live,
        shards: channels.feeds,
        returns: channels.returned,
        parcels_max: channels.parcels_max,
        ends_at: &ends_at,
        is_ready: &is_ready,
    };
    std::thread::scope(|scope| {
        let feed = spawn(scope, live, "feed", move || feed.run(rounds))?;
        while is_ready.load(Acquire) == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        let start = poller::now() + nanos(LEAD);
        let started_us = micros(gavel::clock::wall() + LEAD);
        let watch = match channels.watch {
            Some(watch) => {
                Some(spawn(scope, live, "inspect", move || watch.run(start, inspections))?)
            }
            None => None,
        };
        let mut threads = Vec::new();
        for shard in shards {
            threads.push(spawn(scope, live, "drive", move || shard.run(start))?);
        }
        let (windows, mut report) = Collector::new(live).run(&channels.lines);
        let mut is_cut = false;
        for thread in threads {
            let ended = joined(thread)??;
            report.took = report.took.max(ended.took);
            is_cut |= ended.is_cut;
        }
        let inspected = watch.map_or(Ok(0), joined)?;
        // the feed is ahead of what was taken up
        let (records, loops) = (report.records, report.rounds);
        let feed = FeedAccount { records, loops, ..joined(feed)? };
        Ok(Outcome { report, windows, feed, inspected, is_cut, started_us, start })
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn check(plan: &Plan) -> Result<(), DriveError> {
    plan.schedule.check()?;
    let needs_times =
        matches!(plan.schedule, Schedule::Recorded { .. }) || plan.settings.pool == Pool::Recorded;
    if plan.source.is_empty() {
        return Err(DriveError::NoRequests);
    }
    if needs_times && !plan.source.has_times() {
        return Err(DriveError::NoTimes);
    }
    Ok(())
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    live: &Live,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, DriveError> {
    Builder::new().name(name.to_owned()).spawn_scoped(scope, work).map_err(|error| {
        // those that run already must not wait for it
        live.stop();
        DriveError::Thread(error)
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T, DriveError> {
    thread.join().map_err(|_| DriveError::Panic)
}

/// The queues of a run, one end each for whoever holds it.
struct Channels {
    feeds: Vec<SyncSender<Box<Parcel>>>,
    returned: Receiver<Box<Parcel>>,
    queues: Vec<Queues>,
    lines: Vec<Line>,
    watch: Option<Watch>,
    parcels_max: usize,
}

impl Channels {
    fn new(plan: &Plan, is_inspected: bool) -> Self {
        let settings = &plan.settings;
        let threads = usize::try_from(settings.threads.max(1)).unwrap_or(1);
        let streams = match settings.protocol {
            Protocol::Http1 => 1,
            Protocol::Http2 => settings.streams_max,
        };
        let out = settings.connections_max.max(settings.connections).saturating_mul(streams);
        let counts = [settings.queue_max, out.min(1 << 20)];
        let parcels_max =
            counts.map(|count| usize::try_from(count).unwrap_or(0)).iter().sum::<usize>()
                + threads * AHEAD
                + INSPECT_QUEUE
                + IN_HAND;
        let (returns, returned) = sync_channel(parcels_max);
        let (inspect, inspected) = sync_channel(INSPECT_QUEUE);
        let (mut feeds, mut queues, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..threads {
            let (to_shard, feed) = sync_channel(AHEAD);
            let (to_collector, windows) = sync_channel(WINDOWS);
            let (to_spares, spares) = sync_channel(WINDOWS);
            // two at once are enough: one is filled while the other is collected
            let _ = to_spares.try_send(Box::default());
            feeds.push(to_shard);
            let inspect = is_inspected.then(|| inspect.clone());
            let returns = returns.clone();
            queues.push(Queues { feed, inspect, returns, windows: to_collector, spares });
            lines.push(Line { windows, spares: to_spares });
        }
        let watch = is_inspected.then_some(Watch { queue: inspected, returns });
        Self { feeds, returned, queues, lines, watch, parcels_max }
    }
}

impl Outcome {
    /// As the value that reports, comparisons and verdicts are made of.
    pub fn into_result(self, plan: &Plan, source: SourceOf) -> RunResult {
        let mut whole = Counts::default();
        whole.add_report(&self.report);
        let limit_us = plan.settings.lateness_us_max;
        let late = match self.report.validity(limit_us) {
            Validity::LateGenerator { lateness_p99 } => {
                let lateness_p99_us = micros(lateness_p99);
                Some(Invalid::LateGenerator { lateness_p99_us, limit_us })
            }
            Validity::Valid | Validity::Shed { .. } => None,
        };
        let shed = (self.report.shed > 0).then_some(Invalid::Shed { requests: self.report.shed });
        let cut = self.is_cut.then_some(Invalid::Interrupted);
        let (window_us, windows) = self.windows.finish();
        let speed = match plan.schedule {
            Schedule::Recorded { speed } => Some(speed),
            _ => None,
        };
        RunResult {
            version: VERSION,
            plan: PlanOf {
                target: format!("http://{}", plan.target.host),
                schedule: plan.schedule.to_string(),
                connections: plan.settings.connections_text(),
                protocol: plan.settings.protocol.to_string(),
                speed,
                seed: plan.seed,
                share: Some(ShareOf { index: plan.share.index, of: plan.share.of }),
                ends: Some(plan.bounds.to_string()),
                source,
                lateness_us_max: limit_us,
            },
            started_us: self.started_us,
            took_us: micros(self.report.took),
            window_us,
            windows,
            whole,
            invalid: late.into_iter().chain(shed).chain(cut).collect(),
            feed: self.feed,
            inspected: self.inspected,
            shards: 1,
            judged: Judged::default(),
        }
    }
}

/// Finds what a server can do: as many requests in flight as connections, for so long.
pub fn saturate(
    target: &Target,
    requests: &Arc<RequestSet>,
    connections: u32,
    time: Duration,
) -> Result<Report, DriveError> {
    let settings = DriveSettings {
        connections,
        connections_max: connections,
        is_unique: false,
        ..DriveSettings::default()
    };
    let plan = Plan {
        schedule: Schedule::Saturate,
        bounds: Bounds { time_max: time, ..Bounds::default() },
        settings,
        ..Plan::of_set(target.clone(), Arc::clone(requests))
    };
    Ok(run(&plan, &Live::new(settings.threads), &mut [])?.report)
}

impl Plan {
    /// Bodies in memory, sent in a closed loop without an end: to be changed by the caller.
    pub fn of_set(target: Target, requests: Arc<RequestSet>) -> Self {
        Self {
            target,
            source: crate::feed::source::Source::Set(requests),
            schedule: Schedule::Saturate,
            bounds: Bounds::default(),
            settings: DriveSettings::default(),
            keys: Keys::default(),
            seed: 1,
            share: Share::WHOLE,
        }
    }
}
