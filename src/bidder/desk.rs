//! The worker's desk: who may be called now, and the warm lines to all bidders.
//!
//! Owns: [`Net`], what the process shares; [`Desk`], one a worker; [`Entry`], one bidder of one
//! snapshot on one worker; [`Permit`], the right to one call. Never: a byte to a bidder.
//! Invariants: time, in-flight, budget and breaker are asked in this order; an open call is
//! counted until its permit is dropped; a line lives as long as a snapshot in use names it or a
//! call is open on it.

use crate::bidder::alarm::Alarm;
use crate::bidder::breaker::{self, View};
use crate::bidder::dial;
use crate::bidder::h2::Prelude2;
use crate::bidder::http1::Prelude;
use crate::bidder::line::{Line, LineKey};
use crate::bidder::net::NetSettings;
use crate::bidder::pool::{Ages, Room};
use crate::bidder::resolve::Resolver;
use crate::bidder::response::ReadLimits;
use crate::bidder::shelf::{Packet, ShelfLimits, Shelves};
use crate::bidder::tls::{Tls, TlsFault};
use crate::bidder::{Bidder, CallTime};
use crate::clock;
use crate::coding::Gzip;
use crate::limits::bank::{Bank, Payer};
use crate::limits::gate::{GateLease, InFlight};
use crate::limits::rate::RateLease;
use crate::negatives::not_called::NotCalled;
use crate::openrtb::ids::BidderId;
use crate::telemetry::cells::{BidderCells, WorkerCells};
use crate::telemetry::hub::Hub;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Snapshots that a worker may use at once: the live one, and one that requests still hold.
const TABLES: usize = 2;

/// How often idle connections are looked after.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What all workers share.
#[derive(Debug)]
pub struct Net {
    pub settings: NetSettings,
    pub tls: Tls,
    pub resolver: Arc<Resolver>,
    pub room: Arc<Room>,
    /// Where the limits of the whole process are leased from.
    bank: Arc<Mutex<Bank>>,
    breakers: Mutex<HashMap<LineKey, std::sync::Weak<breaker::Shared>>>,
    workers: u32,
    /// Milliseconds count from here.
    start: Instant,
}

impl Net {
    /// For so many workers, as the bank has. `resolver.run()` and the bank's ticks are to be
    /// started on the control runtime.
    pub fn new(
        settings: NetSettings,
        workers: u32,
        bank: Arc<Mutex<Bank>>,
    ) -> Result<Self, TlsFault> {
        Ok(Self {
            tls: Tls::new(settings.ca_file.as_deref())?,
            resolver: Arc::new(Resolver::new(settings.resolve.clone())),
            room: Room::new(settings.connections_max),
            bank,
            breakers: Mutex::default(),
            workers: workers.max(1),
            start: clock::monotonic(),
            settings,
        })
    }

    /// Milliseconds since the start, for the breakers.
    pub fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis())
            .unwrap_or(u64::MAX >> 3)
    }

    /// How a bidder may be called, for operators; `None`: nobody has called it yet.
    pub fn phase(&self, bidder: &Bidder) -> Option<&'static str> {
        let breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = breakers.get(&LineKey::of(bidder))?.upgrade()?;
        Some(shared.label())
    }

    /// The breaker that all workers share for a line.
    fn breaker(&self, key: &LineKey) -> Arc<breaker::Shared> {
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = breakers.get(key).and_then(std::sync::Weak::upgrade) {
            return known;
        }
        breakers.retain(|_, shared| shared.strong_count() > 0);
        let fresh = Arc::new(breaker::Shared::new(self.settings.breaker.clone()));
        breakers.insert(key.clone(), Arc::downgrade(&fresh));
        fresh
    }
}

/// One bidder as one snapshot has it, on its line.
#[derive(Debug)]
pub struct Entry {
    pub line: Rc<Line>,
    pub net: Arc<Net>,
    pub time: CallTime,
    pub limits: ReadLimits,
    pub prelude: Prelude,
    pub prelude2: Prelude2,
    pub is_gzip: bool,
    /// This worker's share.
    pub connections_max: u32,
    age_max: Duration,
    /// This worker's leases; `None`: as many calls a second as come.
    rate: Option<RateLease>,
    gate: GateLease,
}

impl Entry {
    /// How long its connections live.
    pub fn ages(&self) -> Ages {
        Ages { idle_max: self.net.settings.idle_max, age_max: self.age_max }
    }
}

/// The right to one call; the call is counted as open until this is dropped.
#[derive(Debug)]
pub struct Permit {
    pub entry: Rc<Entry>,
    /// What the network takes of the time that is left: to be kept back from the `tmax` that is
    /// sent, beside `CallTime::margin`. It leaves the bidder `CallTime::least`.
    pub round_trip: Duration,
    _in_flight: InFlight,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let open = &self.entry.line.open_calls;
        open.set(open.get().saturating_sub(1));
    }
}

/// The bidders of one snapshot, by their index there.
#[derive(Debug)]
pub struct Table {
    generation: u64,
    entries: Vec<Rc<Entry>>,
    used: Cell<Instant>,
}

impl Table {
    /// Whether a bidder may be called, with `left` until the deadline. What costs something to
    /// ask, a probe of the breaker and a token of the budget, comes last: neither is spent on a
    /// call that something else forbids. A measured round trip that leaves too little time is
    /// put to the test now and then by a call: it is an estimate, and calls put it right.
    pub fn admit(&self, id: BidderId, now: Instant, left: Duration) -> Result<Permit, NotCalled> {
        let entry = self.entries.get(usize::from(id.0)).ok_or(NotCalled::Rendering)?;
        let (time, measured) = (&entry.time, &entry.line.round_trip);
        let spare = left.min(time.most).checked_sub(time.margin + time.least);
        let spare = spare.ok_or(NotCalled::NoTime)?;
        let is_short = spare < measured.get();
        if is_short && !measured.may_try(now) {
            return Err(NotCalled::RoundTrip);
        }
        let in_flight = entry.gate.try_enter().ok_or(NotCalled::InFlight)?;
        if entry.rate.as_ref().is_some_and(|rate| !rate.has(now)) {
            return Err(NotCalled::Budget);
        }
        if !entry.line.breaker.may_call(entry.net.millis(now)) {
            return Err(NotCalled::BreakerOpen);
        }
        if let Some(rate) = &entry.rate {
            rate.take();
        }
        if is_short {
            measured.tries(now);
        }
        let open = &entry.line.open_calls;
        open.set(open.get() + 1);
        let round_trip = measured.get().min(spare);
        Ok(Permit { entry: entry.clone(), round_trip, _in_flight: in_flight })
    }

    /// A bidder's entry, for its counters.
    pub fn entries(&self) -> &[Rc<Entry>] {
        &self.entries
    }
}

/// Where a worker counts what no auction waits for: its cells, and the slots of bidders in them.
#[derive(Debug)]
pub struct Counts {
    pub hub: Arc<Hub>,
    pub cells: Rc<WorkerCells>,
}

/// One a worker.
#[derive(Debug)]
pub struct Desk {
    pub net: Arc<Net>,
    pub counts: Counts,
    worker: usize,
    /// The live one first.
    tables: RefCell<Vec<Rc<Table>>>,
    lines: RefCell<HashMap<LineKey, Weak<Line>>>,
    pub shelves: Shelves,
    /// Made when the first bidder wants it.
    gzip: RefCell<Option<Gzip>>,
    /// Late answers that are read in the background.
    pub drains: Cell<u32>,
    /// When calls are late.
    pub alarm: Rc<Alarm>,
}

impl Desk {
    /// On the own thread of worker number `worker` (from 0), inside its runtime: idle connections
    /// are swept from here on.
    ///
    /// # Panics
    /// Where the system gives no timer.
    pub fn new(net: Arc<Net>, worker: usize, counts: Counts) -> Rc<Self> {
        let shelves = Shelves::new(ShelfLimits {
            bytes: net.settings.buffer_bytes,
            bytes_max: net.settings.buffer_kept_bytes_max,
            kept_max: net.settings.buffers_kept_max,
        });
        let desk = Rc::new(Self {
            net,
            counts,
            worker,
            gzip: RefCell::default(),
            tables: RefCell::default(),
            lines: RefCell::default(),
            shelves,
            drains: Cell::default(),
            // without it nobody would notice that a bidder is late: better not to serve
            alarm: Alarm::new().expect("the system gives a timer"),
        });
        tokio::task::spawn_local(sweep(Rc::downgrade(&desk)));
        desk
    }

    /// The table of a generation. The first request of a generation builds it from its bidders:
    /// some microseconds each.
    pub fn table(&self, generation: u64, bidders: &[Bidder], now: Instant) -> Rc<Table> {
        let known = self.tables.borrow().iter().find(|t| t.generation == generation).cloned();
        let table = known.unwrap_or_else(|| self.build(generation, bidders, now));
        table.used.set(now);
        table
    }

    /// Every line that is alive, for counters and for the operator.
    pub fn each_line(&self, mut look: impl FnMut(&Line)) {
        let lines = self.lines.borrow();
        lines.values().filter_map(Weak::upgrade).for_each(|line| look(&line));
    }

    /// Where a line's bidder is counted.
    pub fn cells(&self, line: &Line) -> BidderCells<'_> {
        self.counts.cells.bidder(line.slot)
    }

    /// A request's body as it goes out.
    pub fn pack(&self, packet: Packet, is_gzip: bool) -> Packet {
        if !is_gzip {
            return packet;
        }
        let mut zipped = Vec::new();
        let mut gzip = self.gzip.borrow_mut();
        // from memory into memory: cannot fail, and an empty body only costs this call
        if gzip.get_or_insert_default().encode(packet.body(), &mut zipped).is_err() {
            zipped.clear();
        }
        Packet::of(&zipped)
    }

    /// Closes what is old; lets go of the table of a snapshot that nobody uses any more.
    pub fn sweep(&self, now: Instant) {
        let mut tables = self.tables.borrow_mut();
        let live = tables.first().map(|table| table.generation);
        tables.retain(|table| {
            Some(table.generation) == live
                || now.saturating_duration_since(table.used.get()) < SWEEP_EVERY * 5
        });
        for entry in tables.iter().flat_map(|table| &table.entries) {
            entry.line.sweep(now, entry.ages());
        }
        drop(tables);
        self.lines.borrow_mut().retain(|_, line| line.strong_count() > 0);
    }

    fn build(&self, generation: u64, bidders: &[Bidder], now: Instant) -> Rc<Table> {
        let entries = bidders.iter().map(|bidder| self.entry(bidder, now)).collect();
        let table = Rc::new(Table { generation, entries, used: Cell::new(now) });
        let mut tables = self.tables.borrow_mut();
        tables.push(table.clone());
        // a request may still hold an older snapshot: its table must not push out the live one
        tables.sort_by_key(|table| std::cmp::Reverse(table.generation));
        tables.truncate(TABLES);
        table
    }

    fn entry(&self, bidder: &Bidder, now: Instant) -> Rc<Entry> {
        let net = &self.net;
        let (line, is_new) = self.line(bidder);
        let (limits, settings) = (&bidder.limits, &net.settings);
        let (rate, gate) = self.leases(bidder, now);
        let entry = Rc::new(Entry {
            rate,
            gate,
            net: net.clone(),
            time: bidder.time,
            limits: ReadLimits {
                head_bytes_max: settings.head_bytes_max,
                interim_max: settings.interim_max,
                wire_bytes_max: limits.wire_bytes_max,
            },
            prelude: Prelude::new(bidder),
            prelude2: Prelude2::new(bidder),
            is_gzip: bidder.wire.is_gzip,
            connections_max: (limits.connections_max / net.workers).max(1),
            age_max: limits.connection_age_max,
            line,
        });
        if is_new && !entry.line.addresses.list().is_empty() {
            (0..settings.warm_connections).for_each(|_| {
                dial::start(&entry);
            });
        }
        entry
    }

    fn leases(&self, bidder: &Bidder, now: Instant) -> (Option<RateLease>, GateLease) {
        let mut bank = self.net.bank.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = bidder.limits.qps.map(|qps| bank.rate(Payer::Bidder, &bidder.name, qps, now));
        let gate = bank.in_flight(&bidder.name, bidder.limits.in_flight_max);
        (rate.map(|rate| rate.lease(self.worker)), gate.lease(self.worker))
    }

    fn line(&self, bidder: &Bidder) -> (Rc<Line>, bool) {
        let key = LineKey::of(bidder);
        let mut lines = self.lines.borrow_mut();
        if let Some(line) = lines.get(&key).and_then(Weak::upgrade) {
            return (line, false);
        }
        let breaker = View::new(self.net.breaker(&key));
        let addresses = self.net.resolver.watch(&bidder.endpoint.host);
        let slot = self.counts.hub.bidders().slot(&bidder.name);
        let line = Rc::new(Line::new((key.clone(), slot), breaker, addresses, self.worker));
        lines.insert(key, Rc::downgrade(&line));
        (line, true)
    }
}

async fn sweep(desk: Weak<Desk>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(desk) = desk.upgrade() else { return };
        desk.sweep(clock::monotonic());
    }
}
