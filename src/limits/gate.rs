//! A count of the whole process (calls open to a bidder), leased to the workers in permits.
//!
//! Owns: [`GateAccount`], what both sides see; [`GateLease`], a worker's side; [`InFlight`], one
//! permit in use; [`GateBook`], the control side. Never: a clock, a lock, a queue of waiters.
//!
//! Invariant: over all workers no more permits are in use than the maximum, at any moment: what
//! one worker loses another gets a tick later, when it can no longer be taken by the first, and
//! permits in use above a worker's share count until they come back.

use super::share::divide;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What one worker and the control side tell each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Block {
    /// Written by the worker.
    in_use: AtomicU64,
    refused: AtomicU64,
    /// Written by the control side: `in_use` may grow to here.
    granted: AtomicU64,
}

/// One limited count, shared by the control side and all workers.
#[derive(Debug)]
pub struct GateAccount {
    max: AtomicU32,
    blocks: Box<[Block]>,
}

/// A worker's side of an account; made on the worker's thread and kept there.
#[derive(Clone, Debug)]
pub struct GateLease(Rc<Seat>);

#[derive(Debug)]
struct Seat {
    account: Arc<GateAccount>,
    worker: usize,
}

/// One permit; it goes back when dropped.
#[derive(Debug)]
pub struct InFlight(Rc<Seat>);

/// The control side of an account.
#[derive(Debug)]
pub struct GateBook {
    account: Arc<GateAccount>,
    turn: usize,
    seen: Vec<Seen>,
}

/// What the control side knows of a worker.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    refused: u64,
    granted: u64,
    /// What it may have in use until the next tick, at most.
    committed: u64,
}

impl GateAccount {
    /// The lease of worker number `worker`; one that is out of range is always refused.
    pub fn lease(self: &Arc<Self>, worker: usize) -> GateLease {
        GateLease(Rc::new(Seat { account: Arc::clone(self), worker }))
    }

    /// The maximum now agreed.
    pub fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    /// Takes effect with the next tick; permits in use stay so.
    pub fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Permits in use over all workers, about now.
    pub fn in_use(&self) -> u64 {
        self.blocks.iter().map(|block| block.in_use.load(Ordering::Relaxed)).sum()
    }
}

impl GateLease {
    /// A permit, or a count of its lack.
    pub fn try_enter(&self) -> Option<InFlight> {
        let block = self.0.block()?;
        let in_use = block.in_use.load(Ordering::Relaxed);
        if in_use < block.granted.load(Ordering::Relaxed) {
            block.in_use.store(in_use + 1, Ordering::Relaxed);
            return Some(InFlight(Rc::clone(&self.0)));
        }
        let refused = block.refused.load(Ordering::Relaxed);
        block.refused.store(refused + 1, Ordering::Relaxed);
        None
    }
}

impl Seat {
    fn block(&self) -> Option<&Block> {
        self.account.blocks.get(self.worker)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(block) = self.0.block() {
            let in_use = block.in_use.load(Ordering::Relaxed);
            block.in_use.store(in_use.saturating_sub(1), Ordering::Relaxed);
        }
    }
}

impl GateBook {
    /// Opens an account of `max` permits for so many workers; the first shares are even.
    pub fn open(max: u32, workers: usize) -> Self {
        let account = Arc::new(GateAccount {
            max: AtomicU32::new(max),
            blocks: (0..workers).map(|_| Block::default()).collect(),
        });
        let mut book = Self { account, turn: 0, seen: vec![Seen::default(); workers] };
        book.rebalance();
        book
    }

    /// What workers take leases of.
    pub fn account(&self) -> &Arc<GateAccount> {
        &self.account
    }

    /// Deals out the shares of the next tick.
    pub fn rebalance(&mut self) {
        let max = u64::from(self.account.max());
        let weights = self.observe(max);
        self.turn = self.turn.wrapping_add(1);
        let targets = divide(max, &weights, self.turn);
        for (seen, target) in self.seen.iter_mut().zip(&targets) {
            seen.granted = seen.granted.min(*target);
        }
        let committed: u64 = self.seen.iter().map(|seen| seen.committed).sum();
        let mut free = max.saturating_sub(committed);
        let workers = self.account.blocks.iter().zip(&mut self.seen).zip(targets);
        for ((block, seen), target) in workers {
            let more = target.saturating_sub(seen.committed).min(free);
            free -= more;
            if target > seen.granted {
                seen.granted = target.min(seen.committed + more);
            }
            block.granted.store(seen.granted, Ordering::Relaxed);
        }
    }

    /// Counts what each worker uses, and gives what it would use were there no limit.
    fn observe(&mut self, max: u64) -> Vec<u64> {
        let workers = self.account.blocks.iter().zip(&mut self.seen);
        let demand = workers.map(|(block, seen)| {
            let in_use = block.in_use.load(Ordering::Relaxed);
            let refused = block.refused.load(Ordering::Relaxed);
            let missed = refused - seen.refused;
            seen.refused = refused;
            seen.committed = in_use.max(seen.granted);
            in_use + missed.min(max)
        });
        demand.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKERS: usize = 16;

    /// Tries once for each permit that is wanted and not held; gives how many are held.
    fn fill(lease: &GateLease, held: &mut Vec<InFlight>, want: usize) -> usize {
        let missing = want.saturating_sub(held.len());
        held.extend((0..missing).filter_map(|_| lease.try_enter()));
        held.len()
    }

    #[test]
    fn demand_on_one_worker_gets_eight_tenths_after_three_ticks_wherever_it_moves() {
        let mut book = GateBook::open(1_000, WORKERS);
        let leases: Vec<_> = (0..WORKERS).map(|worker| book.account().lease(worker)).collect();
        let mut held: Vec<Vec<InFlight>> = (0..WORKERS).map(|_| Vec::new()).collect();
        for hot in [3, 9, 0, 15] {
            held.iter_mut().for_each(Vec::clear);
            for _ in 0..3 {
                fill(&leases[hot], &mut held[hot], 2_000);
                assert!(book.account().in_use() <= 1_000);
                book.rebalance();
            }
            let got = fill(&leases[hot], &mut held[hot], 2_000);
            assert!(got >= 800, "{got} on worker {hot}: an eighth is spread evenly");
        }
    }

    #[test]
    fn no_more_than_the_maximum_is_ever_in_use() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below).unwrap()
        };
        for max in [1, 4, 50, 1_000] {
            let mut book = GateBook::open(max, WORKERS);
            let leases: Vec<_> = (0..WORKERS).map(|worker| book.account().lease(worker)).collect();
            let mut held: Vec<Vec<InFlight>> = (0..WORKERS).map(|_| Vec::new()).collect();
            for _ in 0..3_000 {
                let worker = random(16);
                let want = random(u64::from(max) * 2);
                held[worker].truncate(want);
                fill(&leases[worker], &mut held[worker], want);
                let in_use: usize = held.iter().map(Vec::len).sum();
                assert!(in_use <= usize::try_from(max).unwrap(), "{in_use} of {max}");
                assert_eq!(book.account().in_use(), u64::try_from(in_use).unwrap());
                if random(4) == 0 {
                    book.rebalance();
                }
            }
        }
    }

    #[test]
    fn a_lowered_maximum_is_reached_as_permits_come_back() {
        let mut book = GateBook::open(100, 2);
        let lease = book.account().lease(0);
        let mut held = Vec::new();
        for _ in 0..3 {
            fill(&lease, &mut held, 100);
            book.rebalance();
        }
        assert!(held.len() > 80);
        book.account().set_max(10);
        book.rebalance();
        assert!(lease.try_enter().is_none());
        held.clear();
        book.rebalance();
        book.rebalance();
        let other = book.account().lease(1);
        let mut others = Vec::new();
        assert!(fill(&lease, &mut held, 100) + fill(&other, &mut others, 100) <= 10);
        assert_eq!(book.account().in_use(), u64::try_from(held.len() + others.len()).unwrap());
    }

    #[test]
    fn a_single_permit_finds_the_worker_that_asks() {
        let mut book = GateBook::open(1, WORKERS);
        let lease = book.account().lease(5);
        let got = (0..4).find_map(|_| {
            let permit = lease.try_enter();
            book.rebalance();
            permit
        });
        assert!(got.is_some());
    }
}
