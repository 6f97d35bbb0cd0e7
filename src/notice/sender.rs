//! The thread that sends notices, and sees to it that durable ones arrive.
//!
//! Owns: [`Sender`]: which notice goes out when, the order of a record's steps. Never: a connection
//! (`courier`), when a try may be (`lane`, `schedule`), a byte of a file (`journal`). Invariants: the
//! cursor passes a record only when its notice is delivered, put aside or buried, durably; whatever
//! ends the process, a notice that was not delivered is sent again; a bidder that is slow or gone
//! holds up nobody else, nor the cursor for longer than its `patience` and one try.
//!
//! A record's road: read ahead from the journal into the window -> its bidder's lane -> a try. Taken:
//! done. Not taken, or no turn in time: a letter, pending, with its tries and when it is due; the
//! window goes on. From the letters it is tried again until it is delivered or dead. Where its bidder
//! has its share of letters it is held: it waits in the journal (`disk`). What the broker
//! keeps instead of the journal comes as a parcel (`parcels`) and goes back there.

mod disk;
mod parcels;

use super::courier::Failure;
use super::held::Held;
use super::lane::{Gate, Job, Lane, LaneSettings, Source};
use super::schedule::{RetrySettings, micros};
use super::shelf::Shelf;
use super::tally::{Result as Ended, Tally, Waiting};
use super::window::Window;
use super::{Notice, orders};
use crate::broker::feed::Parcel;
use crate::clock;
use crate::journal::dead::{Change, Letter, LetterState};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

/// Limits of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderSettings {
    pub lane: LaneSettings,
    pub retry: RetrySettings,
    /// Tries under way, of all bidders.
    pub in_flight_max: usize,
    /// Auctions whose loss notices wait for the thread.
    pub losses_max: usize,
    /// Letters open at once; of more, the oldest dead ones give way, and records are held.
    pub letters_max: usize,
    /// How often the thread looks for what is new or due.
    pub tick: Duration,
}

impl Default for SenderSettings {
    fn default() -> Self {
        Self {
            lane: LaneSettings::default(),
            retry: RetrySettings::default(),
            in_flight_max: 512,
            losses_max: 10_000,
            letters_max: 1_000_000,
            tick: Duration::from_millis(50),
        }
    }
}

/// One try: bidder and URL.
pub type Deliver = Rc<dyn Fn(String, String) -> Trying>;
/// A try under way.
pub type Trying = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// How often the figures of what waits are put together, and orders of people looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often the cursor is written while the window has room; a crash has what came since sent again.
const PASS_EVERY: Duration = Duration::from_millis(250);
/// Letters that are read from the disk at once.
const FETCH_MAX: usize = 64;

/// What the thread works with.
pub struct Sender {
    settings: SenderSettings,
    deliver: Deliver,
    tally: Arc<Tally>,
    /// Where durable notices are; `None`: there is no journal.
    shelf: Option<Shelf>,
    window: Window,
    /// Records that find no room as letters.
    held: Held,
    lanes: BTreeMap<String, Lane>,
    flights: JoinSet<Result<(), Failure>>,
    jobs: HashMap<Id, Job>,
    /// To be written: letters put aside, and what became of others.
    letters: Vec<Letter>,
    changes: Vec<Change>,
    started: (Instant, u64),
    looked: Option<Instant>,
    passed: Option<Instant>,
    chance: u64,
    turns: usize,
}

impl Sender {
    /// On the thread that will run it; `seed` is of the jitter.
    pub fn new(
        settings: SenderSettings,
        deliver: Deliver,
        tally: Arc<Tally>,
        shelf: Option<Shelf>,
        seed: u64,
    ) -> Self {
        let started = (clock::timer(), micros(clock::wall()));
        let mut sender = Self {
            settings,
            deliver,
            tally,
            shelf,
            window: Window::default(),
            held: Held::default(),
            lanes: BTreeMap::new(),
            flights: JoinSet::new(),
            jobs: HashMap::new(),
            letters: Vec::new(),
            changes: Vec::new(),
            started,
            looked: None,
            passed: None,
            chance: seed,
            turns: 0,
        };
        let pending = sender.shelf.as_ref().map(Shelf::pending).unwrap_or_default();
        for (number, bidder, due_us) in pending {
            sender.lane(&bidder).aside.insert((due_us, number));
        }
        sender
    }

    /// Sends until it is told to stop; what is under way then is sent again by the next start.
    pub async fn run(
        mut self,
        (mut losses, mut parcels): (Receiver<Vec<Notice>>, Receiver<Parcel>),
        stop: Arc<AtomicBool>,
    ) {
        let (mut is_open, mut is_fed) = (true, true);
        while !stop.load(Ordering::Acquire) {
            self.turn();
            tokio::select! {
                Some(ended) = self.flights.join_next_with_id() => self.land(ended),
                plan = losses.recv(), if is_open => match plan {
                    Some(plan) => self.lose(plan),
                    None => is_open = false,
                },
                parcel = parcels.recv(), if is_fed => match parcel {
                    Some(parcel) => self.take(parcel),
                    None => is_fed = false,
                },
                () = tokio::time::sleep(self.settings.tick) => {}
            }
            while let Some(ended) = self.flights.try_join_next_with_id() {
                self.land(ended);
            }
            while let Ok(plan) = losses.try_recv() {
                self.lose(plan);
            }
            while let Ok(parcel) = parcels.try_recv() {
                self.take(parcel);
            }
        }
        self.finish().await;
    }

    async fn finish(mut self) {
        while let Some(ended) = self.flights.join_next_with_id().await {
            self.land(ended);
        }
        self.passed = None;
        self.write();
        if let Some(store) = self.shelf.take() {
            store.close(self.now_us());
        }
    }

    /// Everything that can be done without waiting.
    fn turn(&mut self) {
        self.look();
        self.read();
        self.take_up();
        self.start();
        self.write();
    }

    fn now_us(&self) -> u64 {
        let (began, wall_us) = self.started;
        wall_us.saturating_add(micros(began.elapsed()))
    }

    fn lane(&mut self, bidder: &str) -> &mut Lane {
        if !self.lanes.contains_key(bidder) {
            let lane = Lane::new(self.settings.lane, clock::timer());
            self.lanes.insert(bidder.to_owned(), lane);
        }
        self.lanes.get_mut(bidder).expect("it has just been put there")
    }

    /// The next number of a sequence that looks like chance (splitmix64).
    fn chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Orders of people, and the figures.
    fn look(&mut self) {
        let now = clock::timer();
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        let now_us = self.now_us();
        let Some(store) = &mut self.shelf else { return };
        for (number, bidder, due_us) in orders::obey(store, now_us) {
            self.lane(&bidder).aside.insert((due_us, number));
        }
        self.give_up(now_us);
        let mut waiting = self.shelf.as_ref().map(Shelf::waiting).unwrap_or_default();
        for job in self.lanes.values().flat_map(|lane| &lane.queue).chain(self.jobs.values()) {
            if let Source::Record { .. } | Source::Parcel(_) = job.source {
                let one: &mut Waiting = waiting.entry(job.bidder.clone()).or_default();
                one.pending += 1;
                one.oldest_us = Some(one.oldest_us.map_or(job.first_us, |us| us.min(job.first_us)));
            }
        }
        self.held.add_to(&mut waiting);
        self.tally.is_waiting(waiting);
    }

    /// Loss notices of an auction: now or never.
    fn lose(&mut self, plan: Vec<Notice>) {
        let (now, first_us) = (clock::timer(), self.now_us());
        for Notice { kind, bidder, url } in plan {
            let job =
                Job { source: Source::Loss, kind, bidder, url, tries: 0, first_us, since: now };
            let bidder = job.bidder.clone();
            if self.lane(&bidder).queue(job, now).is_some() {
                self.tally.count(kind, Ended::Dropped);
            }
        }
    }

    /// Starts what may be started.
    fn start(&mut self) {
        let (now, now_us) = (clock::timer(), self.now_us());
        let mut bidders: Vec<String> = self.lanes.keys().cloned().collect();
        // nobody is always the first to take what room there is
        self.turns = self.turns.wrapping_add(1);
        let first = self.turns.checked_rem(bidders.len()).unwrap_or(0);
        bidders.rotate_left(first);
        for bidder in bidders {
            for job in self.lane(&bidder).overdue(now) {
                match job.source {
                    Source::Loss => self.tally.count(job.kind, Ended::Dropped),
                    _ => self.set_aside(job, "no turn in time", None),
                }
            }
            self.start_waiting(&bidder, now, |lane| &mut lane.queue);
            self.start_letters(&bidder, now, now_us);
            self.start_waiting(&bidder, now, |lane| &mut lane.losses);
            // a bidder that is left alone, and has nothing aside, is probed by what is new
            let lane = self.lane(&bidder);
            if lane.gate(now) == Gate::Probe
                && let Some(job) = lane.queue.pop_front().or_else(|| lane.losses.pop_front())
            {
                self.fly(job);
            }
        }
    }

    /// What waits in one of a bidder's queues.
    fn start_waiting(
        &mut self,
        bidder: &str,
        now: Instant,
        queue: fn(&mut Lane) -> &mut VecDeque<Job>,
    ) {
        while self.jobs.len() < self.settings.in_flight_max {
            let lane = self.lane(bidder);
            if lane.gate(now) != Gate::Open {
                return;
            }
            let Some(job) = queue(lane).pop_front() else { return };
            self.fly(job);
        }
    }

    /// Letters that are due, in what room their bidder has left.
    fn start_letters(&mut self, bidder: &str, now: Instant, now_us: u64) {
        let room = self.settings.in_flight_max.saturating_sub(self.jobs.len()).min(FETCH_MAX);
        let most = self.settings.lane.in_flight_max;
        let lane = self.lane(bidder);
        let room = match lane.gate(now) {
            Gate::Open => room.min(most.saturating_sub(lane.in_flight())),
            Gate::Probe => room.min(1),
            Gate::Shut | Gate::Full => 0,
        };
        let due = lane.aside.iter().take_while(|(due_us, _)| *due_us <= now_us).take(room);
        let due: HashMap<u64, u64> = due.map(|(due_us, number)| (*number, *due_us)).collect();
        let mut numbers: Vec<u64> = due.keys().copied().collect();
        numbers.sort_unstable();
        let Some(store) = self.shelf.as_ref().filter(|_| !numbers.is_empty()) else { return };
        for (number, letter) in store.fetch(&numbers) {
            let lane = self.lane(bidder);
            if !lane.may_retry(letter.tries, now) {
                continue;
            }
            let due_us = due.get(&number).copied().unwrap_or_default();
            lane.aside.remove(&(due_us, number));
            match super::window::job_of(Source::Letter(number), &letter, now) {
                Some(job) => self.fly(job),
                None => self.changes.push(closed(number, LetterState::Dead, &letter)),
            }
        }
    }

    fn fly(&mut self, job: Job) {
        self.lane(&job.bidder).starts();
        let trying = (self.deliver)(job.bidder.clone(), job.url.clone());
        let id = self.flights.spawn_local(trying).id();
        self.jobs.insert(id, job);
    }

    /// A try has ended.
    fn land(&mut self, ended: Result<(Id, Result<(), Failure>), tokio::task::JoinError>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(fault) => {
                tracing::error!(%fault, "a try to send a notice panicked");
                (fault.id(), Err(Failure::Broken))
            }
        };
        let Some(job) = self.jobs.remove(&id) else { return };
        let chance = self.chance();
        let at = (clock::timer(), self.now_us());
        self.lane(&job.bidder).ended(result, at, chance);
        match result {
            Ok(()) => {
                self.tally.count(job.kind, Ended::Delivered);
                self.delivered(job);
            }
            Err(failure) => {
                self.tally.count(job.kind, Ended::Failed);
                self.tally.failed(failure);
                self.set_aside(job, &failure.to_string(), Some(failure));
            }
        }
    }

    fn delivered(&mut self, job: Job) {
        match job.source {
            Source::Loss => {}
            Source::Parcel(receipt) => receipt.delivered(),
            Source::Record { sequence, .. } => self.window.delivered(sequence),
            Source::Letter(number) => {
                let state = LetterState::Delivered;
                self.changes.push(Change { number, state, ..Change::default() });
            }
        }
    }

    /// A durable notice that was not delivered now: it is tried again later, or is dead.
    fn set_aside(&mut self, job: Job, reason: &str, failure: Option<Failure>) {
        if let Source::Parcel(_) = job.source {
            return self.give_back(job, reason, failure);
        }
        let tries = job.tries + u32::from(failure.is_some());
        let (now_us, chance) = (self.now_us(), self.chance());
        let next = match failure {
            Some(failure) if failure.is_final() => None,
            Some(_) => self.settings.retry.next(tries, job.first_us, now_us, chance),
            None => Some(now_us),
        };
        let state = if next.is_some() { LetterState::Pending } else { LetterState::Dead };
        match (state, failure) {
            _ if matches!(job.source, Source::Loss) => return,
            (LetterState::Dead, _) => self.tally.count(job.kind, Ended::Dead),
            (_, None) => self.tally.count(job.kind, Ended::Aside),
            _ => {}
        }
        let (due_us, reason) = (next.unwrap_or(0), reason.to_owned());
        match job.source {
            Source::Loss | Source::Parcel(_) => {}
            Source::Letter(number) => {
                if state == LetterState::Dead {
                    tracing::warn!(bidder = %job.bidder, number, %reason, "a notice is dead");
                }
                self.changes.push(Change { number, state, tries, due_us, since_us: 0, reason });
            }
            Source::Record { sequence, kind, payload } => {
                let letter = Letter {
                    sink: super::shelf::SINK.to_owned(),
                    reason,
                    tries,
                    buried_us: job.first_us,
                    sequence,
                    kind,
                    payload,
                    group: job.bidder,
                    due_us,
                };
                match state {
                    LetterState::Dead => self.bury(letter),
                    _ => self.letters.push(letter),
                }
            }
        }
    }
}

fn closed(number: u64, state: LetterState, letter: &Letter) -> Change {
    let reason = "cannot be read".to_owned();
    Change { number, state, tries: letter.tries, reason, ..Change::default() }
}

#[cfg(test)]
mod tests;
