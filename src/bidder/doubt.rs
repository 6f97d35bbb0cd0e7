//! Addresses of a bidder that did not take a connection a short while ago.
//!
//! Owns: [`Doubts`]. Never: a clock, a dial. Invariant: a doubt changes the order in which addresses
//! are tried and leaves none out; it is over after a while, and with the first connection.

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// An address that failed is tried after the others for so long.
const LASTS: Duration = Duration::from_secs(30);

/// What is held against single addresses.
#[derive(Debug, Default)]
pub struct Doubts(RefCell<Vec<(IpAddr, Instant)>>);

impl Doubts {
    /// An address failed, or keeps everybody waiting.
    pub fn add(&self, address: IpAddr, now: Instant) {
        let mut doubts = self.0.borrow_mut();
        // those of addresses that a name has no more go too
        doubts.retain(|(other, since)| *other != address && is_fresh(*since, now));
        doubts.push((address, now));
    }

    /// An address took a connection.
    pub fn end(&self, address: IpAddr) {
        self.0.borrow_mut().retain(|(other, _)| *other != address);
    }

    /// All of `list`, those in doubt last; else from the one at `turn` on.
    pub fn order(&self, list: &[IpAddr], turn: usize, now: Instant) -> Vec<IpAddr> {
        let doubts = self.0.borrow();
        let is_doubted = |address: &IpAddr| {
            doubts.iter().any(|(other, since)| other == address && is_fresh(*since, now))
        };
        let first = turn.checked_rem(list.len()).unwrap_or_default();
        let mut order: Vec<_> = list.iter().cycle().skip(first).take(list.len()).copied().collect();
        order.sort_by_key(is_doubted);
        order
    }
}

fn is_fresh(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < LASTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn addresses_take_turns_and_those_in_doubt_come_last() {
        let now = crate::clock::monotonic();
        let at = |last| IpAddr::from(Ipv4Addr::new(192, 0, 2, last));
        let (list, doubts) = ([1, 2, 3].map(at), Doubts::default());
        let order = |turn, now| doubts.order(&list, turn, now);
        assert!(doubts.order(&[], 7, now).is_empty());
        assert_eq!(order(0, now), [1, 2, 3].map(at));
        assert_eq!(order(4, now), [2, 3, 1].map(at));
        doubts.add(at(2), now);
        assert_eq!(order(0, now), [1, 3, 2].map(at));
        assert_eq!(order(1, now), [3, 1, 2].map(at));
        assert_eq!(order(1, now + LASTS), [2, 3, 1].map(at), "over after a while");
        doubts.add(at(3), now);
        doubts.add(at(3), now);
        assert_eq!(order(1, now), [1, 2, 3].map(at));
        doubts.end(at(2));
        assert_eq!(order(1, now), [2, 1, 3].map(at));
    }
}
