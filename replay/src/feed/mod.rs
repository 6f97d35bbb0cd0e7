//! What is played: records read ahead of the clock, made unique, made ready to be written.
//!
//! Owns: the thread that feeds the shards. It knows the plan and no clock: it keeps a queue of
//! fixed length full and sleeps while it is. Never: a socket, a measurement. Invariant: what it
//! makes follows from source, plan and seed alone.

pub mod head;
mod order;
pub(crate) mod rekey;
pub mod source;
mod timing;

use crate::drive::live::Live;
use crate::drive::parcel::Parcel;
use crate::drive::plan::{Plan, Pool};
use crate::result::FeedAccount;
use gavel::capture::Record;
use gavel::capture::read::CaptureError;
use head::Heads;
use rekey::{Rekey, Written};
use source::{Rounds, Source};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Release};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;
use timing::{Next, Timing};

/// Why nothing can be fed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("{} cannot be read", path.display())]
    Open { path: PathBuf, source: CaptureError },
    #[error("{} has no request that can be sent{}", path.display(), behind(damage.as_deref()))]
    Nothing { path: PathBuf, damage: Option<String> },
    #[error("{0:?} is no header of the form `name: value`")]
    Header(String),
    #[error("the header {0:?} is gavel-replay's own to write, as it sends each request anew")]
    Ours(String),
}

/// What stands before a damage was not enough.
fn behind(damage: Option<&str>) -> String {
    damage.map_or(String::new(), |damage| format!(", and is damaged: {damage}"))
}

/// How long the feed sleeps while there is nothing to do for it.
const NAP: Duration = Duration::from_millis(1);

/// What the feed needs beside the plan.
pub(crate) struct Feed<'a> {
    pub plan: &'a Plan,
    pub live: &'a Live,
    /// One for each shard.
    pub shards: Vec<SyncSender<Box<Parcel>>>,
    /// Buffers that come back.
    pub returns: Receiver<Box<Parcel>>,
    /// Buffers that may be under way at once.
    pub parcels_max: usize,
    /// Offset at which the plan ends, once it is known.
    pub ends_at: &'a AtomicU64,
    /// Set once the shards have something to begin with.
    pub is_ready: &'a AtomicU64,
}

/// The state of the thread.
struct Work<'a> {
    feed: Feed<'a>,
    rounds: Rounds,
    rekey: Rekey,
    heads: Heads,
    made: usize,
    account: FeedAccount,
    body: Vec<u8>,
}

impl<'a> Feed<'a> {
    /// Whether there is anything to play. Reads no further than to the first request that can be
    /// sent.
    pub fn check(plan: &Plan) -> Result<(), FeedError> {
        let Source::Capture(path) = &plan.source else { return Ok(()) };
        let mut rounds = Rounds::open(&plan.source, false)?;
        while let Some(record) = rounds.next() {
            if head::is_sendable(&record, plan.route(&record, 0).path) {
                return Ok(());
            }
        }
        let damage = rounds.damage().map(str::to_owned);
        Err(FeedError::Nothing { path: path.clone(), damage })
    }

    /// Reads what must be known beforehand.
    pub fn open(plan: &'a Plan) -> Result<Rounds, FeedError> {
        Rounds::open(&plan.source, plan.settings.pool == Pool::Recorded)
    }

    /// Feeds until the plan is over or nobody takes anything any more.
    pub fn run(self, rounds: Rounds) -> FeedAccount {
        let plan = self.plan;
        let heads = Heads { protocol: plan.settings.protocol, host: plan.target.host.clone() };
        let mut work = Work {
            rekey: Rekey::new(plan.seed, plan.settings.marks_tests),
            feed: self,
            rounds,
            heads,
            made: 0,
            account: FeedAccount::default(),
            body: Vec::new(),
        };
        let end = work.play();
        work.feed.ends_at.store(end, Release);
        work.feed.is_ready.store(1, Release);
        work.account.damage = work.rounds.damage().map(str::to_owned);
        work.account
    }
}

impl Work<'_> {
    /// Plays round after round; gives the offset at which the plan ends.
    fn play(&mut self) -> u64 {
        let plan = self.feed.plan;
        let mut timing = Timing::new(&plan.schedule, plan.bounds.time_max);
        let mut number = 0;
        for round in 0..plan.bounds.rounds_max {
            let mut within = 0;
            while let Some(record) = self.rounds.next() {
                let at = match timing.next(record.at, number >= plan.bounds.requests_max) {
                    Next::At(at) => at,
                    Next::End(end) => return end,
                };
                if plan.is_ours(&record, number) && !self.give(&record, (number, round, within), at)
                {
                    return timing.last();
                }
                number += 1;
                within += 1;
            }
            self.account.out_of_order += self.rounds.out_of_order();
            // a source with nothing in it would go round for ever
            let is_over = within == 0 || self.feed.live.is_stopped();
            if is_over || self.rounds.rewind().is_err() {
                break;
            }
            timing.turn();
        }
        timing.end()
    }

    /// Makes a parcel and hands it over; `false`: nobody takes it any more.
    fn give(&mut self, record: &Record, place: (u64, u64, u64), at: Option<u64>) -> bool {
        let (number, round, within) = place;
        let plan = self.feed.plan;
        let shares = u64::from(plan.share.of.max(1));
        let threads = self.feed.shards.len().max(1) as u64;
        let shard = usize::try_from(plan.key(record, number) / shares % threads).unwrap_or(0);
        let route = plan.route(record, number);
        if !head::is_sendable(record, route.path) {
            self.account.skipped += 1;
            return true;
        }
        let Some(mut parcel) = self.parcel() else { return false };
        parcel.number = number;
        parcel.round = round;
        parcel.at = at;
        parcel.connection = record.connection;
        parcel.is_last = self.rounds.is_last(record.connection, within);
        parcel.partner.push_str(&record.partner);
        parcel.path.push_str(route.path);
        parcel.recorded_status = record.outcome.as_ref().map(|outcome| outcome.status);
        self.body.clear();
        let settings = &plan.settings;
        let rekeyed =
            if settings.is_unique { settings.rounds_before.saturating_add(round) } else { 0 };
        if self.rekey.write(&record.body, rekeyed, &mut self.body) != Written::Whole {
            self.account.opaque += 1;
        }
        let headers = route.headers();
        self.heads.write(record, route.path, &headers, self.body.len(), &mut parcel.request);
        parcel.head_len = parcel.request.len();
        parcel.request.extend_from_slice(&self.body);
        self.hand_over(shard, parcel)
    }

    /// A buffer: one that came back, or a new one. `None`: the run is over.
    fn parcel(&mut self) -> Option<Box<Parcel>> {
        loop {
            match self.feed.returns.try_recv() {
                Ok(mut parcel) => {
                    parcel.clear();
                    return Some(parcel);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return None,
            }
            if self.made < self.feed.parcels_max {
                self.made += 1;
                return Some(Box::default());
            }
            self.nap()?;
        }
    }

    fn hand_over(&mut self, shard: usize, mut parcel: Box<Parcel>) -> bool {
        loop {
            let Some(queue) = self.feed.shards.get(shard) else { return false };
            match queue.try_send(parcel) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => parcel = back,
            }
            if self.nap().is_none() {
                return false;
            }
        }
    }

    /// Waits a little, for now the shards have enough; `None`: the run is over.
    fn nap(&self) -> Option<()> {
        self.feed.is_ready.store(1, Release);
        if self.feed.live.is_stopped() {
            return None;
        }
        std::thread::sleep(NAP);
        Some(())
    }
}
