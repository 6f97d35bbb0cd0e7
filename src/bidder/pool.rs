//! The connections of one bidder on one worker, and the calls that wait for one.
//!
//! Owns: [`Pool`], [`Room`], [`Slot`], [`Waiter`]. Never: a dial, a byte of HTTP. Invariants: every
//! open connection and every dial under way holds one `Slot`, so their number is bounded, on a line
//! and in the process; a connection that is handed out was quiet a moment before.
//!
//! Idle connections form a stack: the one used last is the most likely to be alive, and the ones
//! below it grow old and are closed when they are not needed.

use crate::bidder::h2::Handle;
use crate::bidder::http1::Connection;
use crate::negatives::no_answer::NoAnswer;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Ages of connections differ by one part in so many: such as were opened at once do not all end
/// at once.
const AGE_SPREAD: u32 = 10;

/// How long connections live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    pub idle_max: Duration,
    pub age_max: Duration,
}

impl Ages {
    /// Whether a connection is so old that it ends with its call.
    pub fn is_old(self, birth: Birth, now: Instant) -> bool {
        // an upper part of a word as a fraction: 2^32 is one
        let spread = (self.age_max / AGE_SPREAD).as_nanos() * u128::from(birth.sooner);
        let sooner = Duration::from_nanos(u64::try_from(spread >> 32).unwrap_or_default());
        now.saturating_duration_since(birth.at) >= self.age_max.saturating_sub(sooner)
    }
}

/// When a connection was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    at: Instant,
    /// How much sooner than at `Ages::age_max` it is old, of the most that ages differ by (2^32).
    sooner: u32,
}

/// The connections to bidders that the process has, and how many it may have.
#[derive(Debug)]
pub struct Room {
    open: AtomicU32,
    most: u32,
}

impl Room {
    /// For so many.
    pub fn new(most: u32) -> Arc<Self> {
        Arc::new(Self { open: AtomicU32::new(0), most })
    }

    /// One more for a line that has fewer than are free: a bidder whose calls pile up leaves room for
    /// the others. Two workers may take the last place both: what else needs descriptors has some left.
    fn take(&self, own: u32) -> bool {
        let free = self.most.saturating_sub(self.open.load(Ordering::Relaxed));
        if own < free {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        own < free
    }
}

/// One of the connections that a line and the process may have; given back on drop.
#[derive(Debug)]
pub struct Slot(Rc<Cell<u32>>, Arc<Room>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
        self.1.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What carries a call.
#[derive(Debug)]
pub enum Carrier {
    Http1(Connection),
    Http2(Handle),
}

/// A call that waits for a connection.
#[derive(Debug, Default)]
pub struct Waiter {
    got: RefCell<Option<Result<Carrier, NoAnswer>>>,
    waker: RefCell<Option<Waker>>,
}

impl Waiter {
    /// Ready with a connection, or with why there is none.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Carrier, NoAnswer>> {
        if let Some(got) = self.got.take() {
            return Poll::Ready(got);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|kept| kept.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn settle(&self, what: Result<Carrier, NoAnswer>) {
        *self.got.borrow_mut() = Some(what);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Idle connections and those who wait for one.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<Vec<Connection>>,
    open: Rc<Cell<u32>>,
    dialing: Cell<u32>,
    waiters: RefCell<VecDeque<Rc<Waiter>>>,
    /// What the ages of the next connections are drawn from.
    seed: Cell<u32>,
}

impl Pool {
    /// Empty. Pools with other seeds let their connections go at other times.
    pub fn new(seed: u32) -> Self {
        Self {
            idle: RefCell::default(),
            open: Rc::default(),
            dialing: Cell::default(),
            waiters: RefCell::default(),
            seed: Cell::new(seed),
        }
    }

    /// Of a connection that opens now.
    pub fn birth(&self, now: Instant) -> Birth {
        // steps of the golden ratio spread any number of them evenly
        self.seed.set(self.seed.get().wrapping_add(0x9e37_79b9));
        Birth { at: now, sooner: self.seed.get() }
    }

    /// The connection used last that is young and quiet; others on the way to it are closed.
    pub fn take(&self, now: Instant, ages: Ages) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut connection) = idle.pop() {
            if is_young(&connection, now, ages) && connection.stream.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Hands the connection to whoever waits longest, or keeps it; one that is too old is closed.
    pub fn give(&self, mut connection: Connection, now: Instant, ages: Ages) {
        connection.idle_since = now;
        // a fresh one has a call coming to it, however short lives are
        if connection.is_used && !is_young(&connection, now, ages) {
            return;
        }
        match self.next_waiter() {
            Some(waiter) => waiter.settle(Ok(Carrier::Http1(connection))),
            None => self.idle.borrow_mut().push(connection),
        }
    }

    /// Lets the longest waiting call know that its connection will not come.
    pub fn fail_one(&self, why: NoAnswer) {
        if let Some(waiter) = self.next_waiter() {
            waiter.settle(Err(why));
        }
    }

    /// Gives waiting calls what `carrier` makes, until it makes no more.
    pub fn give_each(&self, mut carrier: impl FnMut() -> Option<Carrier>) {
        while self.waiting() > 0 {
            let Some(one) = carrier() else { return };
            if let Some(waiter) = self.next_waiter() {
                waiter.settle(Ok(one));
            }
        }
    }

    /// A new place in the queue.
    pub fn wait(&self) -> Rc<Waiter> {
        let waiter = Rc::new(Waiter::default());
        self.waiters.borrow_mut().push_back(waiter.clone());
        waiter
    }

    /// Calls that still wait; those that gave up are forgotten.
    pub fn waiting(&self) -> usize {
        let mut waiters = self.waiters.borrow_mut();
        waiters.retain(|waiter| Rc::strong_count(waiter) > 1);
        waiters.len()
    }

    /// Room for one more connection, dials under way included.
    pub fn slot(&self, connections_max: u32, room: &Arc<Room>) -> Option<Slot> {
        let own = self.open.get();
        (own < connections_max && room.take(own)).then(|| {
            self.open.set(own + 1);
            Slot(self.open.clone(), room.clone())
        })
    }

    /// Counts a dial that starts.
    pub fn dial_starts(&self) {
        self.dialing.set(self.dialing.get() + 1);
    }

    /// Counts a dial that is over.
    pub fn dial_ends(&self) {
        self.dialing.set(self.dialing.get().saturating_sub(1));
    }

    /// Dials under way.
    pub fn dialing(&self) -> u32 {
        self.dialing.get()
    }

    /// Connections open, dials under way included.
    pub fn open(&self) -> u32 {
        self.open.get()
    }

    /// Connections that wait for work.
    pub fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Closes what is too old, idle for too long, or dead.
    pub fn sweep(&self, now: Instant, ages: Ages) {
        self.idle.borrow_mut().retain_mut(|connection| {
            is_young(connection, now, ages) && connection.stream.is_quiet()
        });
    }

    /// The first that has not given up: the queue's own reference is then not the only one.
    fn next_waiter(&self) -> Option<Rc<Waiter>> {
        let mut waiters = self.waiters.borrow_mut();
        while let Some(waiter) = waiters.pop_front() {
            if Rc::strong_count(&waiter) > 1 {
                return Some(waiter);
            }
        }
        None
    }
}

fn is_young(connection: &Connection, now: Instant, ages: Ages) -> bool {
    !ages.is_old(connection.birth, now)
        && now.saturating_duration_since(connection.idle_since) < ages.idle_max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_were_opened_at_once_end_one_after_the_other() {
        let (now, s) = (crate::clock::monotonic(), Duration::from_secs);
        let ages = Ages { idle_max: s(30), age_max: s(300) };
        let pool = Pool::new(7);
        let births: Vec<_> = (0..100).map(|_| pool.birth(now)).collect();
        let old = |at: u64| births.iter().filter(|birth| ages.is_old(**birth, now + s(at))).count();
        assert_eq!((old(269), old(300)), (0, 100));
        for second in 270..300 {
            let ended = old(second + 1) - old(second);
            assert!((1..=6).contains(&ended), "{ended} in second {second}");
        }
        assert_ne!(Pool::new(8).birth(now), Pool::new(7).birth(now));
    }
}
