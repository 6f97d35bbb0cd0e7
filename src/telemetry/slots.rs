//! Stable numbers for the names that become labels.
//!
//! Owns: [`Slots`]. Never: a name from the network: only configured names are asked for.
//! Invariant: a name keeps its slot as long as the process lives, over all reloads; there are
//! never more than the cap, and names beyond it share `other`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The slot of names beyond the cap.
pub const OTHER: Slot = Slot(0);
/// The slot of what has no name yet.
pub const UNKNOWN: Slot = Slot(1);
const RESERVED: usize = 2;

/// Index of a partner's or bidder's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Names and their slots; used where snapshots are built and where numbers are shown, never on
/// the road.
#[derive(Debug)]
pub struct Slots {
    names_max: u16,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<Arc<str>, Slot>,
    names: Vec<Arc<str>>,
}

impl Slots {
    /// Room for so many names.
    pub fn new(names_max: u16) -> Self {
        let reserved: [(Arc<str>, Slot); RESERVED] =
            [("other".into(), OTHER), ("unknown".into(), UNKNOWN)];
        let names = reserved.iter().map(|(name, _)| Arc::clone(name)).collect();
        // a partner of such a name shares the slot: a label stands once
        let by_name = HashMap::from(reserved);
        Self { names_max: names_max.min(u16::MAX - 2), known: Mutex::new(Known { by_name, names }) }
    }

    /// The slot of a configured name; a new name takes the next free one.
    pub fn slot(&self, name: &str) -> Slot {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = known.by_name.get(name) {
            return *slot;
        }
        let Some(next) = u16::try_from(known.names.len()).ok().filter(|next| *next < self.end())
        else {
            return OTHER;
        };
        let name: Arc<str> = name.into();
        known.names.push(Arc::clone(&name));
        known.by_name.insert(name, Slot(next));
        Slot(next)
    }

    /// All names that have a slot, in the order of the slots; the first two are `other` and
    /// `unknown`.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).names.clone()
    }

    /// How many slots there may be.
    pub fn capacity(&self) -> usize {
        usize::from(self.end())
    }

    fn end(&self) -> u16 {
        self.names_max.saturating_add(u16::try_from(RESERVED).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_slot_and_names_beyond_the_cap_share_one() {
        let slots = Slots::new(2);
        let (a, b) = (slots.slot("a"), slots.slot("b"));
        assert_eq!((a.index(), b.index(), slots.capacity()), (2, 3, 4));
        assert_eq!((slots.slot("other"), slots.slot("unknown")), (OTHER, UNKNOWN));
        assert_eq!(slots.slot("c"), OTHER);
        assert_eq!((slots.slot("a"), slots.slot("b"), slots.slot("d")), (a, b, OTHER));
        let names = slots.names();
        assert_eq!(
            names.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["other", "unknown", "a", "b"]
        );
    }
}
