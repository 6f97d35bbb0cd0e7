//! The search for a key that an object has twice.
//!
//! Owns: [`Unique`]. A JSON reader behind us may take the first or the last of two members with
//! one name; we must not decide on one while it reads the other.

use crate::json::value::Entry;
use crate::request::Key;
use smallvec::SmallVec;
use std::collections::HashSet;

/// Up to so many unknown names of one object are compared pairwise; more go into a hash set
/// (keyed at random, so that nobody can choose names that collide).
const PAIRWISE_MAX: usize = 12;

/// The names of one object so far.
#[derive(Debug, Default)]
pub struct Unique<'d> {
    /// One bit for each [`Key`].
    known: [u64; 4],
    /// One bit for each length and last byte of an unknown name, mixed: where it is not set, the
    /// name is new, and nothing need be compared.
    seen: u64,
    others: SmallVec<[&'d str; PAIRWISE_MAX]>,
    /// Holds every unknown name once there are too many to compare.
    many: Option<HashSet<&'d str>>,
}

impl<'d> Unique<'d> {
    /// Takes note of a member; `false` where its name was there before.
    #[inline]
    pub fn is_new(&mut self, entry: &Entry<'d>) -> bool {
        if entry.key == Key::Other {
            return self.is_new_name(entry.name);
        }
        let bit = entry.key as u8;
        let Some(word) = self.known.get_mut(usize::from(bit >> 6)) else { return false };
        let mask = 1_u64 << (bit & 63);
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    }

    fn is_new_name(&mut self, name: &'d str) -> bool {
        if let Some(many) = &mut self.many {
            return many.insert(name);
        }
        let last = name.as_bytes().last().copied().unwrap_or_default();
        let mask = 1_u64 << (name.len().wrapping_mul(11).wrapping_add(usize::from(last)) & 63);
        if self.seen & mask != 0 && self.others.contains(&name) {
            return false;
        }
        self.seen |= mask;
        if self.others.len() < PAIRWISE_MAX {
            self.others.push(name);
        } else {
            let many = self.many.insert(self.others.iter().copied().collect());
            many.insert(name);
        }
        true
    }
}
