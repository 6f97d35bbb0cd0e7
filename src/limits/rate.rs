//! A rate of the whole process (requests a second of a partner, calls a second to a bidder),
//! leased to the workers in whole tokens.
//!
//! Owns: [`RateAccount`], what both sides see; [`RateLease`], a worker's side; [`RateBook`], the
//! control side. Never: a clock, a lock, a map.
//!
//! Every tick the control side counts what was taken, and grants each worker a share of what is
//! left by its recent demand. Invariant: over any time the workers take no more than
//! rate x time + [`RateBook::overshoot`], however demand moves among them; what was taken in the
//! instant between counting and granting is paid back in the next tick. When the control side is
//! late, each worker goes on at its last share of the rate, so that a stall refuses nobody.

use super::share::divide;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Nanotokens in a token: rate (1/s) x time (ns) without a division.
const NANO: i128 = 1_000_000_000;

/// How leases are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// How often shares are dealt out anew (10 ms to 1 s).
    pub tick: Duration,
    /// The allowance of this much time may be out at once: what bursts may be (`tick` to 10 s).
    pub burst: Duration,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self { tick: Duration::from_millis(100), burst: Duration::from_millis(200) }
    }
}

/// What one worker and the control side tell each other; two cache lines of its own, for x86
/// fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Block {
    /// Written by the worker: tokens taken, and tokens that it would have liked to take.
    taken: AtomicU64,
    refused: AtomicU64,
    /// Written by the control side: `taken` may go up to here ...
    granted: AtomicU64,
    /// ... and on by so many nanotokens a tick, once the grant is a tick old.
    share_nano: AtomicU64,
    granted_at_ns: AtomicU64,
}

/// One limited rate, shared by the control side and all workers.
#[derive(Debug)]
pub struct RateAccount {
    per_second: AtomicU32,
    start: Instant,
    tick: Duration,
    blocks: Box<[Block]>,
}

/// A worker's side of an account.
///
/// It may move to its thread but not be shared: all leases of one worker stay on one thread.
#[derive(Debug)]
pub struct RateLease {
    account: Arc<RateAccount>,
    worker: usize,
    not_sync: PhantomData<Cell<()>>,
}

/// The control side of an account.
#[derive(Debug)]
pub struct RateBook {
    account: Arc<RateAccount>,
    settings: LeaseSettings,
    /// Not yet granted or granted but not taken, in nanotokens; below zero it is a debt.
    pool_nano: i128,
    last: Instant,
    turn: usize,
    seen: Vec<Seen>,
}

/// What the control side knows of a worker.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    taken: u64,
    refused: u64,
    /// Recent demand: what was asked in the last tick, and a fading rest of those before.
    demand: u64,
}

impl RateAccount {
    /// The lease of worker number `worker`; one that is out of range is always refused.
    pub fn lease(self: &Arc<Self>, worker: usize) -> RateLease {
        RateLease { account: Arc::clone(self), worker, not_sync: PhantomData }
    }

    /// The rate now agreed.
    pub fn per_second(&self) -> u32 {
        self.per_second.load(Ordering::Relaxed)
    }

    /// Takes effect with the next tick.
    pub fn set_per_second(&self, per_second: u32) {
        self.per_second.store(per_second, Ordering::Relaxed);
    }

    fn since_start_ns(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.start))
    }
}

impl RateLease {
    /// Takes one token, or counts that there was none.
    pub fn try_take(&self, now: Instant) -> bool {
        let has = self.has(now);
        if has {
            self.take();
        }
        has
    }

    /// Takes the token that [`Self::has`] saw: nobody but this worker takes of its share.
    pub fn take(&self) {
        let Some(block) = self.account.blocks.get(self.worker) else { return };
        block.taken.store(block.taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Whether there is a token; counts that there was none.
    pub fn has(&self, now: Instant) -> bool {
        let Some(block) = self.account.blocks.get(self.worker) else { return false };
        let taken = block.taken.load(Ordering::Relaxed);
        let granted = block.granted.load(Ordering::Acquire);
        if taken < granted || taken < granted.saturating_add(self.overdue(block, now)) {
            return true;
        }
        let refused = block.refused.load(Ordering::Relaxed);
        block.refused.store(refused + 1, Ordering::Relaxed);
        false
    }

    /// What the worker may take beyond its grant because the next one is late.
    #[cold]
    fn overdue(&self, block: &Block, now: Instant) -> u64 {
        let tick_ns = nanos(self.account.tick).max(1);
        let age_ns = self
            .account
            .since_start_ns(now)
            .saturating_sub(block.granted_at_ns.load(Ordering::Relaxed));
        let late_ns = u128::from(age_ns.saturating_sub(tick_ns));
        let share_nano = u128::from(block.share_nano.load(Ordering::Relaxed));
        let nano = share_nano * late_ns / u128::from(tick_ns);
        u64::try_from(nano / NANO.unsigned_abs()).unwrap_or(u64::MAX)
    }
}

impl RateBook {
    /// Opens an account of `per_second` for so many workers; the first shares are even.
    pub fn open(per_second: u32, workers: usize, settings: LeaseSettings, now: Instant) -> Self {
        let account = Arc::new(RateAccount {
            per_second: AtomicU32::new(per_second),
            start: now,
            tick: settings.tick,
            blocks: (0..workers).map(|_| Block::default()).collect(),
        });
        let seen = vec![Seen::default(); workers];
        let mut book = Self { account, settings, pool_nano: i128::MAX, last: now, turn: 0, seen };
        book.rebalance(now);
        book
    }

    /// What workers take leases of.
    pub fn account(&self) -> &Arc<RateAccount> {
        &self.account
    }

    /// The most that can be taken over rate x time: the allowance of `burst`, or one token a
    /// worker where that is more (else a low rate could not be used by all); nothing at rate 0.
    pub fn overshoot(&self) -> u64 {
        u64::try_from(self.pool_max() / NANO).unwrap_or(0)
    }

    /// Deals out the shares of the next tick.
    pub fn rebalance(&mut self, now: Instant) {
        let taken = self.observe();
        let rate = i128::from(self.account.per_second());
        let elapsed = now.saturating_duration_since(self.last);
        self.last = now;
        self.pool_nano = self
            .pool_nano
            .saturating_add(rate.saturating_mul(i128::from(nanos(elapsed))))
            .saturating_sub(i128::from(taken).saturating_mul(NANO))
            .min(self.pool_max());
        let whole = u64::try_from(self.pool_nano / NANO).unwrap_or(0);
        self.grant(whole, now);
    }

    /// Counts what the workers took and asked for since the last time; gives what they took.
    fn observe(&mut self) -> u64 {
        let mut taken_by_all = 0;
        for (block, seen) in self.account.blocks.iter().zip(&mut self.seen) {
            let taken = block.taken.load(Ordering::Relaxed);
            let refused = block.refused.load(Ordering::Relaxed);
            let asked = (taken - seen.taken) + (refused - seen.refused);
            taken_by_all += taken - seen.taken;
            *seen = Seen { taken, refused, demand: seen.demand / 8 + asked };
        }
        taken_by_all
    }

    fn grant(&mut self, whole: u64, now: Instant) {
        let weights: Vec<u64> = self.seen.iter().map(|seen| seen.demand).collect();
        self.turn = self.turn.wrapping_add(1);
        let rate = u64::from(self.account.per_second());
        let tick_nano = rate.saturating_mul(nanos(self.settings.tick));
        let now_ns = self.account.since_start_ns(now);
        let grants = divide(whole, &weights, self.turn);
        let shares = divide(tick_nano, &weights, self.turn);
        let workers = self.account.blocks.iter().zip(&self.seen);
        for ((block, seen), (grant, share)) in workers.zip(grants.into_iter().zip(shares)) {
            block.granted_at_ns.store(now_ns, Ordering::Relaxed);
            block.share_nano.store(share, Ordering::Relaxed);
            // Last, and with release: a worker that sees this grant also sees its age.
            block.granted.store(seen.taken + grant, Ordering::Release);
        }
    }

    fn pool_max(&self) -> i128 {
        let rate = i128::from(self.account.per_second());
        if rate == 0 {
            return 0;
        }
        let one_a_worker = i128::try_from(self.seen.len()).unwrap_or(0).saturating_mul(NANO);
        let burst = rate.saturating_mul(i128::from(nanos(self.settings.burst)));
        burst.max(one_a_worker)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    const WORKERS: usize = 16;

    /// Plays `millis` of demand, a tick every `tick_every` ms; gives what was taken in each
    /// millisecond, and fails where any stretch of time took more than it may.
    fn play(
        per_second: u32,
        millis: u64,
        tick_every: impl Fn(u64) -> bool,
        demand: impl Fn(u64, usize) -> u64,
    ) -> Vec<u64> {
        let start = Instant::now();
        let mut book = RateBook::open(per_second, WORKERS, LeaseSettings::default(), start);
        let leases: Vec<_> = (0..WORKERS).map(|worker| book.account().lease(worker)).collect();
        let mut taken = Vec::new();
        // Taken minus rate x time, in thousandths; its rise over its lowest point is the overshoot.
        let (mut over, mut lowest) = (0i64, 0i64);
        for ms in 0..millis {
            let now = start + Duration::from_millis(ms);
            if ms > 0 && tick_every(ms) {
                book.rebalance(now);
            }
            let mut this_ms = 0;
            for (worker, lease) in leases.iter().enumerate() {
                let tries = (0..demand(ms, worker)).filter(|_| lease.try_take(now)).count();
                this_ms += u64::try_from(tries).unwrap();
            }
            over += i64::try_from(this_ms * 1000).unwrap();
            let above = u64::try_from(over - lowest).unwrap() / 1000;
            assert!(above <= book.overshoot(), "{above} over the rate at {ms} ms");
            over -= i64::from(per_second);
            lowest = lowest.min(over);
            taken.push(this_ms);
        }
        taken
    }

    fn every_100(ms: u64) -> bool {
        ms.is_multiple_of(100)
    }

    fn served_after_two_ticks(taken: &[u64]) -> u64 {
        taken.iter().skip(200).sum()
    }

    #[test]
    fn all_demand_on_one_worker_gets_the_whole_rate() {
        for per_second in [20, 400, 10_000, 250_000] {
            let demand = |_, worker| if worker == 11 { u64::from(per_second) / 400 + 1 } else { 0 };
            let served = served_after_two_ticks(&play(per_second, 10_200, every_100, demand));
            let due = u64::from(per_second) * 10;
            assert!(served * 10 >= due * 9, "{served} of {due} at {per_second}/s");
        }
    }

    #[test]
    fn demand_that_jumps_from_worker_to_worker_gets_nine_tenths() {
        for (every_ms, per_second) in [(300, 10_000), (500, 10_000), (1000, 800), (1700, 50_000)] {
            let demand = |ms: u64, worker| {
                let hot = (ms / every_ms * 7) % 16;
                if hot == u64::try_from(worker).unwrap() { u64::from(per_second) / 400 } else { 0 }
            };
            let served = served_after_two_ticks(&play(per_second, 20_200, every_100, demand));
            let due = u64::from(per_second) * 20;
            assert!(served * 10 >= due * 9, "{served} of {due}, a jump every {every_ms} ms");
        }
    }

    #[test]
    fn even_demand_below_the_rate_is_never_refused() {
        let served = play(8_000, 5_000, every_100, |ms, worker| {
            u64::from((ms + u64::try_from(worker).unwrap()).is_multiple_of(4))
        });
        assert_eq!(served.iter().sum::<u64>(), 16 * 5_000 / 4);
    }

    #[test]
    fn a_late_control_side_refuses_nobody_and_lets_no_more_in() {
        let stalled = |ms: u64| every_100(ms) && !(1_000..6_000).contains(&ms);
        let taken = play(10_000, 10_000, stalled, |_, worker| if worker < 2 { 20 } else { 0 });
        let in_stall: u64 = taken.iter().skip(1_200).take(4_800).sum();
        assert!(in_stall >= 10_000 * 48 / 10 * 8 / 10, "{in_stall} in the stall");
    }

    #[test]
    fn a_new_rate_holds_from_the_next_tick() {
        let start = Instant::now();
        let mut book = RateBook::open(1_000, 2, LeaseSettings::default(), start);
        let lease = book.account().lease(0);
        let mut take_for = |from_ms: u64, to_ms: u64, rate: u32| {
            book.account().set_per_second(rate);
            let mut taken = 0;
            for ms in from_ms..to_ms {
                let now = start + Duration::from_millis(ms);
                if every_100(ms) {
                    book.rebalance(now);
                }
                taken += (0..50).filter(|_| lease.try_take(now)).count();
            }
            taken
        };
        take_for(0, 1_000, 1_000);
        let at_new = take_for(1_000, 2_000, 5_000);
        assert!((4_000..=6_000).contains(&at_new), "{at_new}");
        take_for(2_000, 2_100, 0);
        assert_eq!(take_for(2_100, 3_000, 0), 0);
    }

    #[test]
    fn a_worker_out_of_range_is_refused() {
        let now = Instant::now();
        let book = RateBook::open(1_000, 2, LeaseSettings::default(), now);
        assert!(!book.account().lease(2).try_take(now));
    }

    #[test]
    fn threads_that_take_while_shares_move_stay_under_the_rate() {
        let start = Instant::now();
        let mut book = RateBook::open(100_000, 4, LeaseSettings::default(), start);
        let (stop, ticks) = (std::sync::atomic::AtomicBool::new(false), 200u32);
        let total: u64 = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|worker| {
                    let (lease, stop) = (book.account().lease(worker), &stop);
                    scope.spawn(move || {
                        let mut taken = 0u64;
                        while !stop.load(Ordering::Relaxed) {
                            taken += u64::from(lease.try_take(start));
                        }
                        taken
                    })
                })
                .collect();
            for tick in 1..=ticks {
                book.rebalance(start + tick * Duration::from_millis(100));
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        // One tick's grants may be out twice for an instant.
        let most = u64::from(ticks) * 10_000 + 2 * book.overshoot();
        assert!(total <= most, "{total} of at most {most}");
    }
}
