//! The control side of all leased limits: which accounts there are, and the tick that deals out.
//!
//! Owns: [`Bank`]. Never: a clock, a timer, a worker's side.
//! Invariant: an account lives by its stable name as long as a snapshot or a worker holds it, so
//! that a reload that does not change a limit does not refill it; afterwards it is closed.

use super::gate::{GateAccount, GateBook};
use super::rate::{LeaseSettings, RateAccount, RateBook};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Whose rate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payer {
    Partner,
    Bidder,
}

/// All accounts. There are at most as many as configuration names partners and bidders, in the
/// generations that are still in use.
#[derive(Debug)]
pub struct Bank {
    workers: usize,
    settings: LeaseSettings,
    rates: HashMap<(Payer, String), RateBook>,
    in_flight: HashMap<String, GateBook>,
}

impl Bank {
    /// A bank without accounts, for so many workers.
    pub fn new(workers: usize, settings: LeaseSettings) -> Self {
        Self { workers, settings, rates: HashMap::new(), in_flight: HashMap::new() }
    }

    /// The account of a rate; opened where there is none, at the new rate where there is one.
    pub fn rate(
        &mut self,
        payer: Payer,
        name: &str,
        per_second: u32,
        now: Instant,
    ) -> Arc<RateAccount> {
        let (workers, settings) = (self.workers, self.settings);
        let book = self
            .rates
            .entry((payer, name.to_owned()))
            .or_insert_with(|| RateBook::open(per_second, workers, settings, now));
        book.account().set_per_second(per_second);
        Arc::clone(book.account())
    }

    /// The account of a bidder's open calls, in the same way.
    pub fn in_flight(&mut self, bidder_name: &str, max: u32) -> Arc<GateAccount> {
        let workers = self.workers;
        let book = self
            .in_flight
            .entry(bidder_name.to_owned())
            .or_insert_with(|| GateBook::open(max, workers));
        book.account().set_max(max);
        Arc::clone(book.account())
    }

    /// Calls open to a bidder, over all workers, about now.
    pub fn calls_open(&self, bidder_name: &str) -> u64 {
        self.in_flight.get(bidder_name).map_or(0, |book| book.account().in_use())
    }

    /// Closes the accounts that nobody holds, and deals out the shares of all others. To be
    /// called every `LeaseSettings::tick`.
    pub fn rebalance(&mut self, now: Instant) {
        self.rates.retain(|_, book| Arc::strong_count(book.account()) > 1);
        self.in_flight.retain(|_, book| Arc::strong_count(book.account()) > 1);
        self.rates.values_mut().for_each(|book| book.rebalance(now));
        self.in_flight.values_mut().for_each(GateBook::rebalance);
    }

    /// Accounts that are open.
    pub fn len(&self) -> usize {
        self.rates.len() + self.in_flight.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_account_lives_by_its_name_while_it_is_held() {
        let now = Instant::now();
        let mut bank = Bank::new(2, LeaseSettings::default());
        let first = bank.rate(Payer::Partner, "a", 100, now);
        assert!(Arc::ptr_eq(&first, &bank.rate(Payer::Partner, "a", 200, now)));
        assert_eq!(first.per_second(), 200);
        assert!(!Arc::ptr_eq(&first, &bank.rate(Payer::Bidder, "a", 200, now)));
        let calls = bank.in_flight("a", 10);
        bank.rebalance(now + Duration::from_millis(100));
        assert_eq!(bank.len(), 2, "the bidder's rate is held by nobody");
        drop((first, calls));
        bank.rebalance(now + Duration::from_millis(200));
        assert!(bank.is_empty());
    }
}
