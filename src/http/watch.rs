//! What a worker knows of each of its connections, and the sweep that ends those that are due.
//!
//! Owns: [`Watch`], one connection's stage and due times; [`Ledger`], all of a worker's. Never: a
//! byte, a timer per request (that costs 0.5 µs each; a stage change here is a store).
//! Invariant: whatever a peer does or leaves undone, its connection is cut within the time of its
//! stage plus `sweep_every` plus `grace`.

use crate::http::HttpSettings;
use crate::http::lines::Lines;
use crate::lifecycle::Phase;
use crate::telemetry::cells::ConnectionCut;
use std::cell::{Cell, RefCell};
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
    /// When it was told to close.
    grace_due: Cell<Option<Ms>>,
    open: Cell<u32>,
    is_h2: Cell<bool>,
    is_over: Cell<bool>,
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
    write: Ms,
    grace: Ms,
}

/// All connections of a worker.
#[derive(Debug)]
pub struct Ledger {
    clockwork: Rc<Clockwork>,
    age_max: Ms,
    age_jitter_percent: u8,
    watches: RefCell<Vec<Rc<Watch>>>,
    /// As of the last sweep.
    phase: Cell<Phase>,
    cuts: [Cell<u64>; ConnectionCut::ALL.len()],
}

impl Ledger {
    /// An empty ledger.
    pub fn new(settings: &HttpSettings) -> Self {
        let clockwork = Clockwork {
            now: Cell::new(0),
            header: in_ms(settings.header_time),
            idle: in_ms(settings.idle_time),
            write: in_ms(settings.write_time),
            grace: in_ms(settings.grace),
        };
        Self {
            clockwork: Rc::new(clockwork),
            age_max: in_ms(settings.age_max),
            age_jitter_percent: settings.age_jitter_percent,
            watches: RefCell::default(),
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
            grace_due: Cell::new(None),
            open: Cell::new(0),
            is_h2: Cell::new(false),
            is_over: Cell::new(false),
            served: Cell::new(0),
            rate: Cell::new(0),
            lingers: Cell::new(false),
            waker: RefCell::new(None),
            lines: Lines::default(),
        });
        self.watches.borrow_mut().push(Rc::clone(&watch));
        watch
    }

    /// Looks at every connection. `elapsed` is the time since the ledger began.
    pub fn sweep(&self, elapsed: Duration, phase: Phase) {
        let wrapped = elapsed.as_millis() % (u128::from(Ms::MAX) + 1);
        let now = Ms::try_from(wrapped).unwrap_or(0);
        self.clockwork.now.set(now);
        self.phase.set(phase);
        self.watches.borrow_mut().retain(|watch| {
            if watch.is_over.get() {
                return false;
            }
            if let Some(reason) = watch.sweep(now, phase) {
                let cut = &self.cuts[reason as usize];
                cut.set(cut.get() + 1);
            }
            true
        });
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

    /// Whether the process is leaving: a connection that is too young to have been swept is told
    /// with its first answer, too.
    pub fn is_leaving(&self) -> bool {
        self.phase.get() >= Phase::Draining
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
    fn sweep(&self, now: Ms, phase: Phase) -> Option<ConnectionCut> {
        // The mean of about the last eight sweeps, times 1024.
        let rate = self.rate.get();
        self.rate.set(rate - rate / 8 + u64::from(self.served.take()) * 128);
        if self.order.get() == Order::Cut {
            return None;
        }
        let cut = self.cut_reason(now);
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

    fn cut_reason(&self, now: Ms) -> Option<ConnectionCut> {
        let is_past = |due: Option<Ms>| due.is_some_and(|due| is_due(now, due));
        if is_past(self.write_due.get()) {
            Some(ConnectionCut::SlowReader)
        } else if self.stage.get() == Stage::Head && is_due(now, self.due.get()) {
            Some(ConnectionCut::SlowHead)
        } else if is_past(self.grace_due.get()) && self.stage.get() != Stage::Busy {
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
        if order == Order::Close || (order == Order::LastOne && self.is_h2.get()) {
            self.grace_due.set(Some(now.wrapping_add(self.ledger.grace)));
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
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

    /// Bytes came in.
    pub fn has_read(&self) {
        if self.stage.get() == Stage::Idle && !self.is_h2.get() {
            self.stage.set(Stage::Head);
            self.due.set(self.ledger.now.get().wrapping_add(self.ledger.header));
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
        self.due.set(self.ledger.now.get().wrapping_add(self.ledger.idle));
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
        if left == 0 {
            self.0.become_idle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(&HttpSettings { age_jitter_percent: 0, ..HttpSettings::default() })
    }

    fn at(ledger: &Ledger, ms: u64, phase: Phase) {
        ledger.sweep(Duration::from_millis(ms), phase);
    }

    #[test]
    fn a_head_that_dribbles_is_cut_after_its_time_however_many_bytes_come() {
        let ledger = ledger();
        let watch = ledger.add(1);
        for ms in (0..5000).step_by(100) {
            at(&ledger, ms, Phase::Ready);
            watch.has_read();
        }
        assert_eq!(watch.order(), Order::Serve);
        at(&ledger, 5000, Phase::Ready);
        assert_eq!((watch.order(), ledger.take_cuts(ConnectionCut::SlowHead)), (Order::Cut, 1));
    }

    #[test]
    fn an_idle_connection_is_closed_and_one_that_starts_a_head_gets_the_time_of_a_head() {
        let ledger = ledger();
        let (idle, started) = (ledger.add(1), ledger.add(2));
        drop((idle.open(), started.open()));
        at(&ledger, 59_900, Phase::Ready);
        started.has_read();
        at(&ledger, 60_000, Phase::Ready);
        assert_eq!((idle.order(), started.order()), (Order::Close, Order::Serve));
        at(&ledger, 64_900, Phase::Ready);
        assert_eq!(started.order(), Order::Cut);
        at(&ledger, 65_000, Phase::Ready);
        assert_eq!(idle.order(), Order::Cut, "told to close, and still there after the grace");
    }

    #[test]
    fn a_busy_connection_is_not_cut_but_a_peer_that_does_not_read_is() {
        let ledger = ledger();
        let watch = ledger.add(1);
        let open = watch.open();
        at(&ledger, 200_000, Phase::Ready);
        assert_eq!(watch.order(), Order::Serve);
        watch.write_blocked();
        at(&ledger, 201_000, Phase::Ready);
        watch.write_done();
        watch.write_blocked();
        at(&ledger, 202_900, Phase::Ready);
        assert_eq!(watch.order(), Order::Serve);
        at(&ledger, 203_000, Phase::Ready);
        assert_eq!((watch.order(), ledger.take_cuts(ConnectionCut::SlowReader)), (Order::Cut, 1));
        drop(open);
    }

    #[test]
    fn age_and_drain_make_answers_the_last_and_closing_ends_the_idle() {
        let ledger = ledger();
        let (aged, h2) = (ledger.add(1), ledger.add(2));
        h2.speaks_h2();
        let opens = (aged.open(), h2.open());
        at(&ledger, 300_000, Phase::Ready);
        assert_eq!((aged.order(), h2.order()), (Order::LastOne, Order::LastOne));
        drop(opens);
        at(&ledger, 305_000, Phase::Ready);
        assert_eq!((aged.order(), h2.order()), (Order::LastOne, Order::Cut));
        let late = ledger.add(3);
        at(&ledger, 305_100, Phase::Draining);
        assert_eq!(late.order(), Order::LastOne);
        at(&ledger, 305_200, Phase::Closing);
        assert_eq!((late.order(), aged.order()), (Order::Close, Order::Close));
    }

    #[test]
    fn the_connection_nearest_to_the_wanted_share_is_let_go() {
        for (share, picked) in [(500, Some(2)), (250, Some(1)), (60, Some(0)), (20, None)] {
            let ledger = ledger();
            // 5 %, 25 %, 70 % of the requests, and an idle one
            let watches: Vec<_> = [5, 25, 70, 0]
                .into_iter()
                .map(|requests| {
                    let watch = ledger.add(1);
                    (0..requests).for_each(|_| drop(watch.open()));
                    watch
                })
                .collect();
            at(&ledger, 100, Phase::Ready);
            ledger.let_go(share);
            let told = watches.iter().position(|watch| watch.order() == Order::LastOne);
            assert_eq!(told, picked, "{share}");
        }
    }

    #[test]
    fn ended_connections_leave_the_ledger_and_ages_stay_within_the_jitter() {
        let ledger = Ledger::new(&HttpSettings::default());
        let ages: Vec<_> = (0..1000).map(|seed| ledger.add(seed).age_due).collect();
        let (least, most) = (*ages.iter().min().unwrap(), *ages.iter().max().unwrap());
        assert!((270_000..273_000).contains(&least) && (327_000..=330_000).contains(&most));
        for watch in ledger.watches.borrow().iter().skip(1) {
            watch.over();
        }
        at(&ledger, 100, Phase::Ready);
        assert_eq!(ledger.watches.borrow().len(), 1);
    }
}
