//! Records whose notices wait in the journal, since their bidder's letters are full.
//!
//! Owns: [`Held`]. Never: a record. Invariant: what is held is behind no cursor: the journal keeps it,
//! and a start after a crash finds it there.

use super::tally::Waiting;
use std::collections::BTreeMap;

/// What is known of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// When it was first to be sent (microseconds since the epoch), and its tries that failed.
    pub first_us: u64,
    pub tries: u32,
}

/// By bidder, then by their places in the journal.
#[derive(Debug, Default)]
pub struct Held {
    of: BTreeMap<String, BTreeMap<u64, About>>,
    count: usize,
}

impl Held {
    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn add(&mut self, bidder: &str, sequence: u64, about: About) {
        if !self.of.contains_key(bidder) {
            self.of.insert(bidder.to_owned(), BTreeMap::new());
        }
        let of = self.of.get_mut(bidder).and_then(|of| of.insert(sequence, about));
        self.count += usize::from(of.is_none());
    }

    /// Takes it out.
    pub fn take(&mut self, bidder: &str, sequence: u64) -> Option<About> {
        let of = self.of.get_mut(bidder)?;
        let about = of.remove(&sequence)?;
        if of.is_empty() {
            self.of.remove(bidder);
        }
        self.count -= 1;
        Some(about)
    }

    /// Who has some, and the first of them.
    pub fn firsts(&self) -> Vec<(String, u64, About)> {
        let first = |(bidder, of): (&String, &BTreeMap<u64, About>)| {
            of.first_key_value().map(|(sequence, about)| (bidder.clone(), *sequence, *about))
        };
        self.of.iter().filter_map(first).collect()
    }

    /// Those of a bidder within a stretch of the journal.
    pub fn within(&self, bidder: &str, from: u64, to: u64) -> Vec<u64> {
        let of = self.of.get(bidder);
        let places = from..to.max(from);
        of.map(|of| of.range(places).map(|(sequence, _)| *sequence).collect()).unwrap_or_default()
    }

    /// They are pending, too.
    pub fn add_to(&self, waiting: &mut BTreeMap<String, Waiting>) {
        for (bidder, of) in &self.of {
            let one = waiting.entry(bidder.clone()).or_default();
            one.pending += of.len() as u64;
            let first_us = of.values().next().map(|about| about.first_us);
            one.oldest_us = [one.oldest_us, first_us].into_iter().flatten().min();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_a_stretch_that_ends_before_it_begins_is_none() {
        let mut held = Held::default();
        for sequence in [3, 7, 900] {
            held.add("a", sequence, About { first_us: 1, tries: 0 });
        }
        assert_eq!(held.within("a", 3, 900), [3, 7]);
        assert!(held.within("a", 900, 257).is_empty());
        assert!(held.within("b", 0, 1_000).is_empty());
    }
}
