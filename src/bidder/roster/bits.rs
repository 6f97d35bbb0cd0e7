//! Sets of bidders, one bit each, as wide as the roster.
//!
//! Owns: [`Bits`] and the few operations on them. Never: a meaning.

#![deny(clippy::indexing_slicing)]

use std::ops::Deref;

/// A set of bidders by their index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(Vec<u64>);

impl Deref for Bits {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl Bits {
    /// None of `bidders` bidders.
    pub fn none(bidders: usize) -> Self {
        Self(vec![0; bidders.div_ceil(64)])
    }

    /// Those of `bidders` bidders for which `is_in` holds.
    pub fn of(bidders: usize, mut is_in: impl FnMut(usize) -> bool) -> Self {
        let mut bits = Self::none(bidders);
        (0..bidders).filter(|index| is_in(*index)).for_each(|index| bits.insert(index));
        bits
    }

    /// Adds one.
    pub fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// Makes it a copy of `other`, in the memory that it has.
    pub fn copy(&mut self, other: &[u64]) {
        self.0.clear();
        self.0.extend_from_slice(other);
    }

    /// Makes it empty, as wide as `words`.
    pub fn clear(&mut self, words: usize) {
        self.0.clear();
        self.0.resize(words, 0);
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &[u64]) {
        self.0.iter_mut().zip(other).for_each(|(own, other)| *own |= other);
    }

    /// Keeps what is in `other` too.
    pub fn keep(&mut self, other: &[u64]) {
        self.0.iter_mut().zip(other).for_each(|(own, other)| *own &= other);
    }

    /// Takes out all of `other`.
    pub fn remove(&mut self, other: &[u64]) {
        self.0.iter_mut().zip(other).for_each(|(own, other)| *own &= !other);
    }

    /// Keeps what is in `other` too, and calls `lost` with each that was taken out, ascending.
    pub fn sift(&mut self, other: &[u64], mut lost: impl FnMut(usize)) {
        for (at, (own, other)) in self.0.iter_mut().zip(other).enumerate() {
            each_in(at, *own & !other, &mut lost);
            *own &= other;
        }
    }

    /// Takes out what is in `other` and not in `but`.
    pub fn remove_but(&mut self, other: &[u64], but: &[u64]) {
        let words = self.0.iter_mut().zip(other.iter().zip(but));
        words.for_each(|(own, (other, but))| *own &= !other | but);
    }

    /// Takes out one.
    pub fn take(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// Whether a bidder is in.
pub fn has(bits: &[u64], index: usize) -> bool {
    bits.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
}

/// Calls `take` with each bidder that is in, ascending. (A plain loop: as an iterator it costs
/// several times as much.)
pub fn each(bits: &[u64], mut take: impl FnMut(usize)) {
    for (at, word) in bits.iter().enumerate() {
        each_in(at, *word, &mut take);
    }
}

/// As [`each`], for the word at `at`.
fn each_in(at: usize, mut word: u64, take: &mut impl FnMut(usize)) {
    while word != 0 {
        take(at * 64 + word.trailing_zeros() as usize);
        // Clears the lowest bit.
        word &= word - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(bits: &[u64]) -> Vec<usize> {
        let mut out = Vec::new();
        each(bits, |index| out.push(index));
        out
    }

    #[test]
    fn members_come_back_in_order_over_words() {
        let mut bits = Bits::none(200);
        for index in [199, 0, 64, 63, 5] {
            bits.insert(index);
        }
        assert_eq!(listed(&bits), [0, 5, 63, 64, 199]);
        assert!(has(&bits, 199) && !has(&bits, 198) && !has(&bits, 4000));
        bits.remove(&Bits::of(200, |index| index < 64));
        assert_eq!(listed(&bits), [64, 199]);
        let mut lost = Vec::new();
        bits.sift(&Bits::of(200, |index| index > 100), |index| lost.push(index));
        assert_eq!((listed(&bits), lost), (vec![199], vec![64]));
    }
}
