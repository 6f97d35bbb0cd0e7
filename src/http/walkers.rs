//! Tasks that walk the road, one request after the other.
//!
//! Owns: [`Walkers`]. Never: what a request is, what becomes of its outcome.
//! Invariants: a request that a walker has begun is walked to its end, whether or not anybody still
//! waits for it; a panic on the road costs that request only.
//!
//! A request has a task of its own while it is on the road, and the task is used again for the
//! next: to make and free one for each cost about 2 µs (its memory is large and aligned to cache
//! lines), and where the road is walked inside the connection's task each bidder's answer wakes
//! all of hyper's.

use crate::arrival::{Arrival, Body};
use crate::exchange::Outcome;
use crate::http::Road;
use crate::snapshot::Held;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use tokio::task::spawn_local;

/// Walkers that stay when there is nothing to do; about 4 KB each.
const IDLE_MAX: usize = 256;

/// A worker's walkers. `H` is what a request holds until it is at its end.
#[derive(Debug)]
pub struct Walkers<R, H> {
    road: Rc<R>,
    /// The one that came back last is sent first: its memory is near.
    idle: Rc<Idle<H>>,
}

type Idle<H> = RefCell<Vec<Rc<Walker<H>>>>;

/// What lies between a walker's task and who waits for it.
#[derive(Debug)]
struct Walker<H> {
    errand: RefCell<Option<Errand<H>>>,
    /// Of its task, while that has nothing to do.
    task: RefCell<Option<Waker>>,
    /// `Err`: the road panicked.
    outcome: RefCell<Option<Result<Outcome, Panicked>>>,
    listener: RefCell<Option<Waker>>,
    state: Cell<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Somebody waits for what it brings.
    Awaited,
    /// Nobody does any more: it comes back by itself.
    Alone,
    /// There are enough others: its task ends.
    Dismissed,
}

/// One request, and what it holds.
#[derive(Debug)]
pub struct Errand<H> {
    pub snapshot: Held,
    pub arrival: Arrival,
    pub body: Body,
    pub held: H,
}

/// The road panicked under the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

impl<R: Road, H: 'static> Walkers<R, H> {
    /// None yet: each is made when it is needed.
    pub fn new(road: Rc<R>) -> Self {
        Self { road, idle: Rc::default() }
    }

    /// Takes a request to its end. Dropped before, it leaves the request on its way.
    pub async fn walk(&self, errand: Errand<H>) -> Result<Outcome, Panicked> {
        let idle = self.idle.borrow_mut().pop();
        let walker = idle.unwrap_or_else(|| self.hire());
        walker.state.set(State::Awaited);
        walker.errand.replace(Some(errand));
        walker.task.take().iter().for_each(Waker::wake_by_ref);
        let waiting = Waiting { walker, idle: &self.idle };
        poll_fn(|cx| waiting.walker.poll_outcome(cx)).await
    }

    /// Spawns one.
    fn hire(&self) -> Rc<Walker<H>> {
        let walker = Rc::new(Walker {
            errand: RefCell::new(None),
            task: RefCell::default(),
            outcome: RefCell::new(None),
            listener: RefCell::default(),
            state: Cell::new(State::Alone),
        });
        spawn_local(serve(Rc::clone(&self.road), Rc::clone(&walker), Rc::downgrade(&self.idle)));
        walker
    }
}

/// The end of a wait, one way or the other.
struct Waiting<'w, H> {
    walker: Rc<Walker<H>>,
    idle: &'w Idle<H>,
}

impl<H> Drop for Waiting<'_, H> {
    fn drop(&mut self) {
        let walker = &self.walker;
        walker.listener.take();
        if walker.is_away() {
            walker.state.set(State::Alone);
        } else {
            walker.outcome.take();
            come_back(walker, self.idle);
        }
    }
}

impl<H> Walker<H> {
    /// Whether it has not brought the outcome yet.
    fn is_away(&self) -> bool {
        self.task.borrow().is_none()
    }

    fn poll_outcome(&self, cx: &Context<'_>) -> Poll<Result<Outcome, Panicked>> {
        if let Some(outcome) = self.outcome.take() {
            return Poll::Ready(outcome);
        }
        keep(&self.listener, cx);
        Poll::Pending
    }

    /// The next errand; `None`: there will be none.
    fn poll_errand(&self, cx: &Context<'_>) -> Poll<Option<Errand<H>>> {
        if let Some(errand) = self.errand.take() {
            return Poll::Ready(Some(errand));
        }
        if self.state.get() == State::Dismissed {
            return Poll::Ready(None);
        }
        keep(&self.task, cx);
        Poll::Pending
    }

    fn bring(&self, outcome: Result<Outcome, Panicked>) {
        self.outcome.replace(Some(outcome));
        if let Some(listener) = self.listener.take() {
            listener.wake();
        }
    }
}

fn keep(place: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut kept = place.borrow_mut();
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(cx.waker())) {
        *kept = Some(cx.waker().clone());
    }
}

/// Into the row of those without an errand, where that is not full.
fn come_back<H>(walker: &Rc<Walker<H>>, idle: &Idle<H>) {
    let mut idle = idle.borrow_mut();
    if idle.len() < IDLE_MAX {
        idle.push(Rc::clone(walker));
    } else {
        walker.state.set(State::Dismissed);
        if let Some(task) = walker.task.take() {
            task.wake();
        }
    }
}

/// Whoever waits hears of a panic that nobody catches, one in a `Drop`, which ends the walker.
struct Owes<'w, H>(Option<&'w Walker<H>>);

impl<H> Drop for Owes<'_, H> {
    fn drop(&mut self) {
        if let Some(walker) = self.0 {
            walker.bring(Err(Panicked));
        }
    }
}

/// One walker's life.
async fn serve<R: Road, H>(road: Rc<R>, walker: Rc<Walker<H>>, idle: Weak<Idle<H>>) {
    while let Some(errand) = poll_fn(|cx| walker.poll_errand(cx)).await {
        let Errand { snapshot, arrival, body, held } = errand;
        let mut owes = Owes(Some(&walker));
        let outcome = {
            let mut road = pin!(road.hold(snapshot, arrival, body));
            // what the road leaves behind in a panic are buffers, which each request overwrites
            poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| road.as_mut().poll(cx))) {
                Ok(polled) => polled.map(Ok),
                Err(_) => Poll::Ready(Err(Panicked)),
            })
            .await
        };
        drop(held);
        owes.0 = None;
        if walker.state.get() == State::Awaited {
            walker.bring(outcome);
        } else if let Some(idle) = idle.upgrade() {
            come_back(&walker, &idle);
        } else {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrival::BrowserSignals;
    use crate::clock;
    use crate::correlation::Correlation;
    use crate::exchange::Verdict;
    use crate::limits::bank::Bank;
    use crate::limits::rate::LeaseSettings;
    use crate::negatives::refusal::Refusal;
    use crate::openrtb::ids::PartnerId;
    use crate::snapshot::{Live, Parts, Snapshot};
    use crate::telemetry::hub::{Hub, TelemetrySettings};
    use bytes::Bytes;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::runtime::{Builder, LocalOptions};
    use tokio::sync::Notify;
    use tokio::task::yield_now;

    /// Waits until it is let go; its body says how it ends.
    #[derive(Default)]
    struct Gate {
        open: Notify,
        walked: Cell<u32>,
    }

    impl Road for Gate {
        async fn hold(&self, snapshot: Held, _: Arrival, body: Body) -> Outcome {
            self.open.notified().await;
            assert_eq!(body.as_slice(), b"good", "on purpose");
            self.walked.set(self.walked.get() + 1);
            Outcome {
                generation: snapshot.generation,
                verdict: Verdict::Refused(Refusal::NoTimeLeft),
                wins: Vec::new(),
                trace: None,
            }
        }
    }

    fn snapshot() -> Held {
        let mut bank = Bank::new(1, LeaseSettings::default());
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let parts = Parts::plain(Vec::new(), Vec::new());
        let live = Live::default();
        live.publish(Arc::new(Snapshot::new(7, parts, &mut bank, &hub, clock::monotonic())));
        live.latest().take().unwrap()
    }

    fn errand<H: Clone>(body: &'static str, held: &H) -> Errand<H> {
        let arrival = Arrival {
            at: clock::monotonic(),
            wall: Duration::ZERO,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            partner: PartnerId(0),
            serial: 1,
            is_trial: false,
            is_replay: false,
            browser: BrowserSignals::default(),
            correlation: Correlation::default(),
        };
        Errand {
            snapshot: snapshot(),
            arrival,
            body: Body(Bytes::from_static(body.as_bytes())),
            held: held.clone(),
        }
    }

    /// Runs a test with walkers, their road, and what each request holds.
    fn with(test: impl AsyncFnOnce(Rc<Walkers<Gate, Rc<()>>>, Rc<Gate>, Rc<()>)) {
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let road = Rc::new(Gate::default());
            test(Rc::new(Walkers::new(Rc::clone(&road))), road, Rc::new(())).await;
        });
    }

    /// Until nothing more happens without help: the runtime polls some sixty tasks between two polls
    /// of the test.
    async fn settle() {
        for _ in 0..64 {
            yield_now().await;
        }
    }

    #[test]
    fn one_walker_serves_one_request_after_the_other() {
        with(async |walkers, road, held| {
            for _ in 0..3 {
                road.open.notify_one();
                let outcome = walkers.walk(errand("good", &held)).await;
                assert_eq!(outcome.map(|outcome| outcome.generation), Ok(7));
                assert_eq!((walkers.idle.borrow().len(), Rc::strong_count(&held)), (1, 1));
            }
        });
    }

    #[test]
    fn a_panic_costs_its_own_request_only() {
        with(async |walkers, road, held| {
            for (body, is_good) in [("good", true), ("bad", false), ("good", true)] {
                road.open.notify_one();
                let outcome = walkers.walk(errand(body, &held)).await;
                assert_eq!(outcome.is_ok(), is_good, "{body}");
                assert_eq!((walkers.idle.borrow().len(), Rc::strong_count(&held)), (1, 1));
            }
        });
    }

    /// Panics when it goes.
    #[derive(Clone)]
    struct Bomb(Rc<Cell<bool>>);

    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0.replace(false), "on purpose");
        }
    }

    #[test]
    fn a_panic_at_the_very_end_is_heard_of_too_and_costs_the_walker() {
        with(async |_, road, _| {
            let walkers = Walkers::new(Rc::clone(&road));
            let is_armed = Rc::new(Cell::new(false));
            let bomb = Bomb(Rc::clone(&is_armed));
            for (arms, stay) in [(false, 1), (true, 0), (false, 1)] {
                let errand = errand("good", &bomb);
                is_armed.set(arms);
                road.open.notify_one();
                assert_eq!(walkers.walk(errand).await.is_ok(), !arms);
                assert_eq!(walkers.idle.borrow().len(), stay);
            }
        });
    }

    #[test]
    fn a_request_that_nobody_waits_for_is_walked_to_its_end() {
        with(async |walkers, road, held| {
            // dropped before its walker has begun, while that waits, and when that has come back
            for (number, steps) in [0, 1, 2].into_iter().enumerate() {
                let own = Rc::clone(&walkers);
                let errand = errand("good", &held);
                let waiting = spawn_local(async move { own.walk(errand).await });
                settle().await;
                if steps == 2 {
                    road.open.notify_one();
                }
                waiting.abort();
                settle().await;
                if steps < 2 {
                    assert_eq!(walkers.idle.borrow().len(), 0, "{number}");
                    road.open.notify_one();
                    settle().await;
                }
                assert_eq!(road.walked.get() as usize, number + 1);
                assert_eq!((walkers.idle.borrow().len(), Rc::strong_count(&held)), (1, 1));
            }
        });
    }

    #[test]
    fn no_more_than_some_stay() {
        with(async |walkers, road, held| {
            let many = IDLE_MAX + 3;
            let walk = |_| {
                let (own, errand) = (Rc::clone(&walkers), errand("good", &held));
                spawn_local(async move { own.walk(errand).await.is_ok() })
            };
            let waiting: Vec<_> = (0..many).map(walk).collect();
            settle().await;
            road.open.notify_waiters();
            for one in waiting {
                assert!(one.await.unwrap());
            }
            settle().await;
            assert_eq!(walkers.idle.borrow().len(), IDLE_MAX);
            // the others are gone, and their tasks with them
            assert_eq!(Rc::strong_count(&road), IDLE_MAX + 2);
        });
    }
}
