//! The moments at which calls are late: one timer of the kernel's for all auctions of a worker.
//!
//! tokio's timers go by whole milliseconds, and its wait for the network rounds them up once more: a
//! bidder that is late would keep its auction up to two milliseconds beyond the deadline, which a partner
//! that keeps to its `tmax` does not forgive. This one goes by the kernel's clock.
//!
//! Owns: [`Alarm`], one a worker, and [`Watch`], one an auction. Never: what is done about it.
//! Invariants: nobody is woken before the moment that it waits for; a watch that is dropped wakes
//! nobody. The timer is set again only for an earlier moment, or when it has gone off: auctions that end
//! in time, which are nearly all, cost no system call.

use crate::clock;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// The kernel takes zero for never.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// A moment, and a number that tells those who wait for the same one apart.
type Key = (Instant, u64);

/// Wakes tasks of its worker when their time has come.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    waiting: RefCell<BTreeMap<Key, Waker>>,
    number: Cell<u64>,
    /// When the timer goes off.
    set_for: Cell<Option<Instant>>,
    /// All that waited for this moment or an earlier one have been woken.
    come: Cell<Instant>,
}

/// One task's: what it waits for.
#[derive(Debug)]
pub struct Watch<'a> {
    alarm: &'a Alarm,
    entry: Option<(Key, Waker)>,
}

impl Alarm {
    /// On the worker's own thread, inside its runtime.
    pub fn new() -> io::Result<Rc<Self>> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let told = told_of(&timer)?;
        let alarm = Rc::new(Self {
            timer,
            waiting: RefCell::default(),
            number: Cell::default(),
            set_for: Cell::default(),
            come: Cell::new(clock::monotonic()),
        });
        tokio::task::spawn_local(listen(told, Rc::downgrade(&alarm)));
        Ok(alarm)
    }

    /// One that waits for nothing yet.
    pub const fn watch(&self) -> Watch<'_> {
        Watch { alarm: self, entry: None }
    }

    /// `None`: that moment has come.
    fn enter(&self, due: Instant, waker: &Waker) -> Option<Key> {
        if self.set_for.get().is_none_or(|set_for| due < set_for) {
            let now = clock::monotonic();
            if due <= now || !self.set(due, now) {
                return None;
            }
        }
        let key = (due, self.number.get());
        self.number.set(key.1.wrapping_add(1));
        self.waiting.borrow_mut().insert(key, waker.clone());
        Some(key)
    }

    /// `false`: the kernel would not, which it has no reason for; nobody may wait for it then.
    fn set(&self, due: Instant, now: Instant) -> bool {
        let left = due.saturating_duration_since(now).max(AT_ONCE);
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        let is_set = self.timer.set(once, TimerSetTimeFlags::empty()).is_ok();
        self.set_for.set(is_set.then_some(due));
        is_set
    }

    /// Wakes all whose time has come, and is set for the next.
    fn ring(&self, now: Instant) {
        self.come.set(now);
        self.set_for.set(None);
        let mut later = self.waiting.borrow_mut().split_off(&(now, u64::MAX));
        let next = later.first_key_value().map(|((due, _), _)| *due);
        if next.is_none_or(|due| self.set(due, now)) {
            std::mem::swap(&mut *self.waiting.borrow_mut(), &mut later);
            later.into_values().for_each(Waker::wake);
        } else {
            self.come.set(later.last_key_value().map_or(now, |((due, _), _)| *due));
            let come = std::mem::take(&mut *self.waiting.borrow_mut());
            come.into_values().chain(later.into_values()).for_each(Waker::wake);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // whoever listens ends
        let now = clock::monotonic();
        self.set(now, now);
    }
}

#[expect(
    deprecated,
    reason = "what is new about its successor is `unsafe`: an `OwnedFd` keeps to what that asks"
)]
fn told_of(timer: &TimerFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(timer.as_fd().try_clone_to_owned()?)
}

async fn listen(told: AsyncFd<OwnedFd>, alarm: Weak<Alarm>) {
    // how often it went off is of no account: that it is set again forgets it
    while let Ok(mut guard) = told.readable().await {
        guard.clear_ready();
        let Some(alarm) = alarm.upgrade() else { return };
        alarm.ring(clock::monotonic());
    }
}

impl Watch<'_> {
    /// Whether a moment has come; the task is woken then at the latest.
    pub fn poll(&mut self, cx: &Context<'_>, due: Instant) -> Poll<()> {
        let come = self.alarm.come.get();
        if due <= come {
            return Poll::Ready(());
        }
        // one that is woken too early asks again
        let is_entered = self.entry.as_ref().is_some_and(|((at, _), waker)| {
            *at > come && *at <= due && waker.will_wake(cx.waker())
        });
        if !is_entered {
            self.leave();
            let Some(key) = self.alarm.enter(due, cx.waker()) else { return Poll::Ready(()) };
            self.entry = Some((key, cx.waker().clone()));
        }
        Poll::Pending
    }

    fn leave(&mut self) {
        if let Some((key, _)) = self.entry.take() {
            self.alarm.waiting.borrow_mut().remove(&key);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, mpsc};
    use std::task::Wake;
    use tokio::runtime::{Builder, LocalOptions};

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn get(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn two() -> ([Arc<Self>; 2], [Waker; 2]) {
            let counts: [Arc<Self>; 2] = Default::default();
            let wakers = counts.each_ref().map(|count| Waker::from(count.clone()));
            (counts, wakers)
        }
    }

    /// Without tokio's own timers: nothing else ends a wait, and one that nothing ends fails.
    fn on_worker(test: impl AsyncFnOnce(Rc<Alarm>) + Send + 'static) {
        let (ended, wait) = mpsc::sync_channel(1);
        let worker = std::thread::spawn(move || {
            let mut builder = Builder::new_current_thread();
            let runtime = builder.enable_io().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(async { test(Alarm::new().unwrap()).await });
            ended.send(()).unwrap();
        });
        let end = wait.recv_timeout(Duration::from_secs(60));
        assert_ne!(end, Err(mpsc::RecvTimeoutError::Timeout), "nobody was woken");
        worker.join().unwrap();
    }

    const MS: Duration = Duration::from_millis(1);
    /// However slow the machine is, it does not come.
    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn each_is_woken_and_not_before_its_moment_in_whatever_order_they_came() {
        on_worker(async |alarm| {
            let start = clock::monotonic();
            let tasks = [700_u32, 30, 5, 30, 90, 0].map(|after| {
                let alarm = alarm.clone();
                tokio::task::spawn_local(async move {
                    let (due, mut watch) = (start + MS * after / 10, alarm.watch());
                    poll_fn(|cx| watch.poll(cx, due)).await;
                    assert!(clock::monotonic() >= due);
                })
            });
            for task in tasks {
                task.await.unwrap();
            }
            assert!(alarm.waiting.borrow().is_empty());
        });
    }

    #[test]
    fn who_is_gone_or_has_another_moment_is_not_woken_for_the_old_one() {
        on_worker(async |alarm| {
            let ([gone, stays], wakers) = Count::two();
            let [of_gone, of_stays] = wakers.each_ref().map(Context::from_waker);
            let now = clock::monotonic();
            let (soon, later, latest) = (now + HOUR, now + HOUR * 2, now + HOUR * 3);
            let mut first = alarm.watch();
            let mut second = alarm.watch();
            assert!(first.poll(&of_gone, soon).is_pending());
            assert!(second.poll(&of_stays, latest).is_pending());
            assert_eq!(alarm.set_for.get(), Some(soon));
            // a later moment than the one it is entered for changes nothing, an earlier one does
            assert!(second.poll(&of_stays, latest + MS).is_pending());
            assert_eq!(alarm.waiting.borrow().last_key_value().unwrap().0.0, latest);
            assert!(second.poll(&of_stays, later).is_pending());
            assert_eq!(alarm.waiting.borrow().len(), 2);
            drop(first);
            // it goes off for the one that is gone, and is set for the one that is left
            alarm.ring(soon);
            assert_eq!((gone.get(), stays.get()), (0, 0));
            assert_eq!(alarm.set_for.get(), Some(later));
            assert!(second.poll(&of_stays, later).is_pending());
            alarm.ring(later);
            assert_eq!((gone.get(), stays.get()), (0, 1));
            assert!(second.poll(&of_stays, later).is_ready());
            assert_eq!(alarm.set_for.get(), None);
            // beyond that it is entered anew
            assert!(second.poll(&of_stays, latest).is_pending());
            assert_eq!(alarm.set_for.get(), Some(latest));
            drop(second);
            assert!(alarm.waiting.borrow().is_empty());
        });
    }

    #[test]
    fn another_task_takes_the_place_of_the_one_that_asked_before() {
        on_worker(async |alarm| {
            let ([one, other], wakers) = Count::two();
            let [of_one, of_other] = wakers.each_ref().map(Context::from_waker);
            let due = clock::monotonic() + HOUR;
            let mut watch = alarm.watch();
            assert!(watch.poll(&of_one, due).is_pending());
            assert!(watch.poll(&of_other, due).is_pending());
            alarm.ring(due);
            assert_eq!((one.get(), other.get()), (0, 1));
        });
    }

    #[test]
    fn nobody_listens_to_one_that_is_gone() {
        on_worker(async |alarm| {
            let told = told_of(&alarm.timer).unwrap();
            let listens = tokio::task::spawn_local(listen(told, Rc::downgrade(&alarm)));
            tokio::task::yield_now().await;
            drop(alarm);
            listens.await.unwrap();
        });
    }
}
