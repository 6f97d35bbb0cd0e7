//! What a worker knows of each of its connections, and the sweep that ends those that are due.
//!
//! Owns: [`Watch`], one connection's stage and due times; [`Ledger`], all of a worker's. Never: a
//! byte, a timer per request (that costs 0.5 µs each; a stage change here is a store).
//! Invariant: whatever a peer does or leaves undone, its connection is cut within the time of its
//! stage plus `sweep_every` plus `grace`; and where it takes nothing of its answers, within
//! `write_time` plus `sweep_every`.

use crate::http::HttpSettings;
use crate::http::delivery::{Untaken, Waiting};
use crate::http::lines::Lines;
use crate::lifecycle::Phase;
use crate::lifecycle::load::Load;
use crate::lifecycle::pressure::Pressure;
use crate::telemetry::cells::ConnectionCut;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

/// What a connection is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    #[default]
    Serve,
    /// Answer what comes, but say that each answer is the last (HTTP/2: GOAWAY).
    LastOne,
    /// End as soon as nothing is open.
    Close,
    /// End now.
    Cut,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Between two requests.
    Idle,
    /// A head has begun, or the connection is new.
    Head,
    /// At least one request is being served.
    Busy,
}

/// Milliseconds since the ledger began; good for 49 days at a time, compared by difference.
type Ms = u32;

fn is_due(now: Ms, due: Ms) -> bool {
    now.wrapping_sub(due) < Ms::MAX / 2
}

fn in_ms(time: Duration) -> Ms {
    Ms::try_from(time.as_millis()).unwrap_or(Ms::MAX / 4).min(Ms::MAX / 4)
}

/// One connection.
#[derive(Debug)]
pub struct Watch {
    ledger: Rc<Clockwork>,
    order: Cell<Order>,
    stage: Cell<Stage>,
    due: Cell<Ms>,
    age_due: Ms,
    write_due: Cell<Option<Ms>>,
    /// Its answers that flow control holds back (HTTP/2): the socket does not show them.
    untaken: Rc<Untaken>,
    /// By when it is to have ended, once it was told to.
    grace_due: Cell<Option<Ms>>,
    open: Cell<u32>,
    is_h2: Cell<bool>,
    is_over: Cell<bool>,
    /// No request of it has been authorised yet.
    is_stranger: Cell<bool>,
    /// The last thing that it asked for was not to be had, or not for it (404, 401).
    is_turned_away: Cell<bool>,
    /// The next request has begun behind the one that was done last.
    is_begun: Cell<bool>,
    /// Requests since the last sweep, and their recent rate in no particular unit.
    served: Cell<u32>,
    rate: Cell<u64>,
    lingers: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// What its heads look like, byte by byte.
    pub lines: Lines,
}

/// The coarse time that all connections of a worker share, and the times in milliseconds.
#[derive(Debug)]
struct Clockwork {
    now: Cell<Ms>,
    header: Ms,
    idle: Ms,
    /// In place of `idle` for who has shown no right to be here.
    idle_strange: Ms,
    write: Ms,
    grace: Ms,
    waiting: Waiting,
    load: Rc<Load>,
}

/// All connections of a worker.
#[derive(Debug)]
pub struct Ledger {
    clockwork: Rc<Clockwork>,
    age_max: Ms,
    age_jitter_percent: u8,
    watches: RefCell<Vec<Rc<Watch>>>,
    /// Those of them that came as strangers, the oldest first; who is none any more goes with the
    /// next sweep, so that finding whom to evict costs the same however many there are.
    strangers: RefCell<VecDeque<Rc<Watch>>>,
    /// As of the last sweep.
    phase: Cell<Phase>,
    cuts: [Cell<u64>; ConnectionCut::ALL.len()],
}

impl Ledger {
    /// An empty ledger; strangers are counted in `load`.
    pub fn new(settings: &HttpSettings, load: Rc<Load>) -> Self {
        let clockwork = Clockwork {
            now: Cell::new(0),
            header: in_ms(settings.header_time),
            idle: in_ms(settings.idle_time),
            idle_strange: in_ms(settings.stranger_idle_time.min(settings.idle_time)),
            write: in_ms(settings.write_time),
            grace: in_ms(settings.grace),
            waiting: Waiting::default(),
            load,
        };
        Self {
            clockwork: Rc::new(clockwork),
            age_max: in_ms(settings.age_max),
            age_jitter_percent: settings.age_jitter_percent,
            watches: RefCell::default(),
            strangers: RefCell::default(),
            phase: Cell::new(Phase::Starting),
            cuts: Default::default(),
        }
    }

    /// Starts to watch a new connection; `seed` decides its age within the jitter.
    pub fn add(&self, seed: u64) -> Rc<Watch> {
        let now = self.clockwork.now.get();
        let age = jittered(self.age_max, self.age_jitter_percent, seed);
        let watch = Rc::new(Watch {
            ledger: Rc::clone(&self.clockwork),
            order: Cell::new(Order::Serve),
            stage: Cell::new(Stage::Head),
            due: Cell::new(now.wrapping_add(self.clockwork.header)),
            age_due: now.wrapping_add(age),
            write_due: Cell::new(None),
            untaken: Untaken::new(&self.clockwork.waiting),
            grace_due: Cell::new(None),
            open: Cell::new(0),
            is_h2: Cell::new(false),
            is_over: Cell::new(false),
            is_stranger: Cell::new(true),
            is_turned_away: Cell::new(false),
            is_begun: Cell::new(false),
            served: Cell::new(0),
            rate: Cell::new(0),
            lingers: Cell::new(false),
            waker: RefCell::new(None),
            lines: Lines::default(),
        });
        let strangers = &self.clockwork.load.strangers;
        strangers.set(strangers.get() + 1);
        self.strangers.borrow_mut().push_back(Rc::clone(&watch));
        self.watches.borrow_mut().push(Rc::clone(&watch));
        watch
    }

    /// Looks at every connection. `elapsed` is the time since the ledger began.
    pub fn sweep(&self, elapsed: Duration, phase: Phase) {
        let wrapped = elapsed.as_millis() % (u128::from(Ms::MAX) + 1);
        let now = Ms::try_from(wrapped).unwrap_or(0);
        self.clockwork.now.set(now);
        self.phase.set(phase);
        let is_short = self.clockwork.load.pressure.get() >= Pressure::Shed;
        self.watches.borrow_mut().retain(|watch| {
            if watch.is_over.get() {
                return false;
            }
            if let Some(reason) = watch.sweep(now, phase, is_short) {
                self.count(reason);
            }
            true
        });
        self.strangers.borrow_mut().retain(|watch| watch.is_stranger.get());
    }

    /// Lets one connection go: the one whose part of the requests is nearest to `share`
    /// thousandths. One with twice as much would only make another worker too busy.
    pub fn let_go(&self, share: u32) {
        let watches = self.watches.borrow();
        let sum: u64 = watches.iter().map(|watch| watch.rate.get()).sum();
        let wanted = sum * u64::from(share) / 1000;
        let candidates = watches.iter().filter(|watch| {
            let rate = watch.rate.get();
            watch.order.get() == Order::Serve && rate > 0 && rate < wanted * 2
        });
        if let Some(watch) = candidates.min_by_key(|watch| watch.rate.get().abs_diff(wanted)) {
            watch.give(Order::LastOne, self.clockwork.now.get());
        }
    }

    /// Closes what nobody uses at the moment: each connection holds buffers.
    pub fn close_idle(&self) {
        let (now, watches) = (self.clockwork.now.get(), self.watches.borrow());
        let idle = watches
            .iter()
            .filter(|watch| watch.stage.get() == Stage::Idle && watch.order.get() < Order::Close);
        idle.for_each(|watch| watch.give(Order::Close, now));
    }

    /// Whether the process is leaving: a connection that is too young to have been swept is told
    /// with its first answer, too.
    pub fn is_leaving(&self) -> bool {
        self.phase.get() >= Phase::Draining
    }

    fn count(&self, reason: ConnectionCut) {
        let cut = &self.cuts[reason as usize];
        cut.set(cut.get() + 1);
    }

    /// How many connections were cut for `reason` since this was last asked.
    pub fn take_cuts(&self, reason: ConnectionCut) -> u64 {
        self.cuts[reason as usize].take()
    }
}

/// `age`, up to `percent` less or more.
fn jittered(age: Ms, percent: u8, seed: u64) -> Ms {
    // Fibonacci hashing: the upper bits of the product spread consecutive seeds evenly.
    let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let width = u64::from(age) * u64::from(percent.min(50)) / 50;
    let least = u64::from(age) - width / 2;
    Ms::try_from(least + ((width * spread) >> 32)).unwrap_or(age)
}

impl Watch {
    /// Gives a new order where one is due; the reason where it is to be cut.
    fn sweep(&self, now: Ms, phase: Phase, is_short: bool) -> Option<ConnectionCut> {
        // The mean of about the last eight sweeps, times 1024.
        let rate = self.rate.get();
        self.rate.set(rate - rate / 8 + u64::from(self.served.take()) * 128);
        if self.order.get() == Order::Cut {
            return None;
        }
        let cut = self.cut_reason(now, is_short);
        let order = if cut.is_some() {
            Order::Cut
        } else if self.is_idle_over(now) || (phase >= Phase::Closing) {
            Order::Close
        } else if is_due(now, self.age_due) || phase >= Phase::Draining {
            Order::LastOne
        } else {
            Order::Serve
        };
        if order > self.order.get() {
            self.give(order, now);
        }
        cut
    }

    /// `is_short`: memory is, and answers may wait for a quarter of the time.
    fn cut_reason(&self, now: Ms, is_short: bool) -> Option<ConnectionCut> {
        let is_past = |due: Option<Ms>| due.is_some_and(|due| is_due(now, due));
        let patience = if is_short { self.ledger.write / 4 } else { self.ledger.write };
        let untaken_due = self.untaken.since(now).map(|since| since.wrapping_add(patience));
        if is_past(self.write_due.get()) || is_past(untaken_due) {
            Some(ConnectionCut::SlowReader)
        } else if self.stage.get() == Stage::Head
            && self.write_due.get().is_none()
            && is_due(now, self.due.get())
        {
            // While an answer is not taken the next head is not read, and that is not its fault.
            Some(ConnectionCut::SlowHead)
        } else if is_past(self.grace_due.get()) && self.stage.get() != Stage::Busy {
            // What is being served ends soon: no stream has come since.
            Some(ConnectionCut::Grace)
        } else {
            None
        }
    }

    fn is_idle_over(&self, now: Ms) -> bool {
        self.stage.get() == Stage::Idle && is_due(now, self.due.get())
    }

    fn give(&self, order: Order, now: Ms) {
        self.order.set(order);
        // On HTTP/2 the last one is a GOAWAY: the peer knows at once and can be held to it. An
        // HTTP/1 peer learns with its next answer, so that it is never cut while it sends.
        let is_told = order == Order::Close || (order == Order::LastOne && self.is_h2.get());
        if is_told && self.grace_due.get().is_none() {
            self.grace_due.set(Some(now.wrapping_add(self.ledger.grace)));
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether it may open another HTTP/2 stream. One that was told to end and does not say that it
    /// knows (RFC 9113, 6.8) is never told its last stream, and could go on for ever.
    pub fn takes_streams(&self) -> bool {
        self.grace_due.get().is_none_or(|due| !is_due(self.ledger.now.get(), due))
    }

    /// What the connection is to do now.
    pub fn order(&self) -> Order {
        self.order.get()
    }

    /// Whom to wake when the order changes.
    pub fn wake_by(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        match &mut *kept {
            Some(kept) => kept.clone_from(waker),
            None => *kept = Some(waker.clone()),
        }
    }

    /// It speaks HTTP/2: frames come at any time, so that only whole requests count.
    pub fn speaks_h2(&self) {
        self.is_h2.set(true);
        self.become_idle();
    }

    /// Bytes came in (HTTP/1).
    pub fn has_read(&self, bytes: &[u8]) {
        if self.stage.get() == Stage::Idle && !bytes.is_empty() {
            self.begin_head();
        }
        self.lines.feed(bytes);
    }

    fn begin_head(&self) {
        self.stage.set(Stage::Head);
        self.due.set(self.ledger.now.get().wrapping_add(self.ledger.header));
    }

    /// A request is done.
    pub fn done(&self) {
        // HTTP/2 has frames, not lines.
        if !self.is_h2.get() {
            self.is_begun.set(self.lines.done());
        }
    }

    /// The peer does not take what we send.
    pub fn write_blocked(&self) {
        if self.write_due.get().is_none() {
            self.write_due.set(Some(self.ledger.now.get().wrapping_add(self.ledger.write)));
        }
    }

    /// Everything that was to be sent is with the kernel.
    pub fn write_done(&self) {
        if self.write_due.get().is_some() {
            self.write_due.set(None);
        }
    }

    /// A request's head is complete; it is open until the guard goes.
    pub fn open(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        self.served.set(self.served.get().saturating_add(1));
        self.stage.set(Stage::Busy);
        Open(Rc::clone(self))
    }

    fn become_idle(&self) {
        self.stage.set(Stage::Idle);
        self.due.set(self.ledger.now.get().wrapping_add(self.idle_time()));
    }

    fn idle_time(&self) -> Ms {
        let is_strange = self.is_stranger.get() || self.is_turned_away.get();
        if is_strange { self.ledger.idle_strange } else { self.ledger.idle }
    }

    /// How long it has been at its stage, where that has a time.
    fn stands_for(&self, now: Ms) -> Ms {
        let time = match self.stage.get() {
            Stage::Idle => self.idle_time(),
            Stage::Head => self.ledger.header,
            Stage::Busy => return 0,
        };
        now.wrapping_sub(self.due.get().wrapping_sub(time))
    }

    fn is_ending(&self) -> bool {
        self.is_over.get() || self.order.get() == Order::Cut
    }

    /// A request of it was authorised.
    pub fn was_authorised(&self) {
        self.is_turned_away.set(false);
        self.no_stranger();
    }

    /// Its request was for nothing that there is, or that it may have.
    pub fn turned_away(&self) {
        self.is_turned_away.set(true);
    }

    fn no_stranger(&self) {
        if self.is_stranger.replace(false) {
            let strangers = &self.ledger.load.strangers;
            strangers.set(strangers.get().saturating_sub(1));
        }
    }

    /// The answer that it gets now is the last, as when it is too old.
    pub fn part(&self) {
        if self.order.get() < Order::LastOne {
            self.give(Order::LastOne, self.ledger.now.get());
        }
    }

    /// The answer goes out before the body is in: read on for a while before closing.
    pub fn linger(&self) {
        self.lingers.set(true);
    }

    /// Whether to read on for a while before closing.
    pub fn lingers(&self) -> bool {
        self.lingers.get()
    }

    /// The connection has ended.
    pub fn over(&self) {
        self.is_over.set(true);
        self.no_stranger();
        self.waker.take();
    }
}

/// One open request of a connection.
#[derive(Debug)]
pub struct Open(Rc<Watch>);

impl Drop for Open {
    fn drop(&mut self) {
        let left = self.0.open.get().saturating_sub(1);
        self.0.open.set(left);
        if left == 0 && self.0.is_begun.take() {
            self.0.begin_head();
        } else if left == 0 {
            self.0.become_idle();
        }
    }
}

mod room;
#[cfg(test)]
mod tests;
