//! How many letters there may be, and of whom.
//!
//! Owns: [`Room`]. Never: a letter. Invariants: a bidder's pending letters are never more than what
//! it leaves for others, so that there is room for whoever fails next; a dead one takes no room from
//! a pending one.

use crate::journal::dead::LetterState;
use std::collections::{BTreeMap, BTreeSet};

/// What a letter was, where there was one, and what it is.
pub type States = (Option<LetterState>, LetterState);

/// What there is.
#[derive(Debug, Default)]
pub struct Room {
    most: usize,
    pending: usize,
    dead: usize,
    of: BTreeMap<String, Share>,
}

#[derive(Debug, Default)]
struct Share {
    pending: usize,
    dead: BTreeSet<u64>,
}

impl Room {
    /// For so many letters.
    pub fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// What has become of a letter of a bidder.
    pub fn note(&mut self, bidder: &str, number: u64, (was, is): States) {
        if !self.of.contains_key(bidder) {
            self.of.insert(bidder.to_owned(), Share::default());
        }
        let Some(share) = self.of.get_mut(bidder) else { return };
        match was {
            Some(LetterState::Pending) => {
                (share.pending, self.pending) = (share.pending - 1, self.pending - 1);
            }
            Some(LetterState::Dead) => self.dead -= usize::from(share.dead.remove(&number)),
            _ => {}
        }
        match is {
            LetterState::Pending => {
                (share.pending, self.pending) = (share.pending + 1, self.pending + 1);
            }
            LetterState::Dead => self.dead += usize::from(share.dead.insert(number)),
            LetterState::Delivered | LetterState::Purged => {}
        }
        if share.pending == 0 && share.dead.is_empty() {
            self.of.remove(bidder);
        }
    }

    /// How many more letters of a bidder may be pending.
    pub fn for_pending(&self, bidder: &str) -> usize {
        let own = self.of.get(bidder).map_or(0, |share| share.pending);
        self.most.saturating_sub(self.pending + own).div_ceil(2)
    }

    /// How many more letters may be dead, where so many new ones are pending besides.
    pub fn for_dead(&self, pending: usize) -> usize {
        self.most.saturating_sub(self.pending + pending)
    }

    /// The dead letters that give way to so many new ones, at least so many: of whoever has most of
    /// them, the oldest.
    pub fn give_way(&self, new: usize, least: usize) -> Vec<(String, Vec<u64>)> {
        let mut wanted = (self.pending + self.dead + new).saturating_sub(self.most).max(least);
        if wanted == 0 {
            return Vec::new();
        }
        let mut shares: Vec<_> = self.of.iter().map(|(name, share)| (name, &share.dead)).collect();
        shares.sort_by_key(|(_, dead)| std::cmp::Reverse(dead.len()));
        let mut gone = Vec::new();
        for (bidder, dead) in shares {
            let some: Vec<u64> = dead.iter().take(wanted).copied().collect();
            wanted -= some.len();
            if !some.is_empty() {
                gone.push((bidder.clone(), some));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(room: &mut Room, bidder: &str, from: u64, count: u64, state: LetterState) {
        (from..from + count).for_each(|number| room.note(bidder, number, (None, state)));
    }

    #[test]
    fn whoever_fails_next_has_room_too() {
        let mut room = Room::new(100);
        let mut shares = Vec::new();
        for (nth, bidder) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let mut count = 0;
            while room.for_pending(bidder) > 0 {
                put(&mut room, bidder, nth as u64 * 1000 + count, 1, LetterState::Pending);
                count += 1;
            }
            shares.push(count);
        }
        assert_eq!(shares, [50, 25, 13, 6]);
        room.note("a", 0, (Some(LetterState::Pending), LetterState::Delivered));
        assert!(room.for_pending("e") > 0 && room.for_pending("a") == 0);
    }

    #[test]
    fn dead_letters_give_way_the_oldest_of_whoever_has_most() {
        let mut room = Room::new(100);
        put(&mut room, "a", 0, 70, LetterState::Dead);
        put(&mut room, "b", 100, 30, LetterState::Dead);
        assert_eq!(room.for_pending("c"), 50);
        assert_eq!(room.give_way(0, 0), []);
        assert_eq!(room.give_way(2, 1), [("a".to_owned(), vec![0, 1])]);
        assert_eq!(room.give_way(0, 90)[1], ("b".to_owned(), (100..120).collect()));
    }
}
