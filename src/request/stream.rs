//! What lasts: video and audio, and the floors that depend on how long.
//!
//! Owns: the part of the view that is about time. Never: a rule over it.

use super::{Element, List, Text};
use crate::money::{Cpm, CpmPerSecond};

/// The floor of creatives that last between two durations, in seconds, both included (3.2.35).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurFloor {
    pub least: u32,
    pub most: u32,
    pub bidfloor: Cpm,
}

/// Floors that depend on how long a creative lasts.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByDuration {
    /// `mincpmpersec`; zero where absent.
    pub per_second: CpmPerSecond,
    /// `durfloors`, in `View::dur_floors`.
    pub ranges: List,
}

impl ByDuration {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.per_second == CpmPerSecond::default() && self.ranges.is_empty()
    }
}

/// `imp.video` or `imp.audio`, as far as the road reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// In `View::texts`; never empty.
    pub mimes: List,
    pub minduration: Option<u32>,
    pub maxduration: Option<u32>,
    /// Seconds beyond `maxduration` that are allowed; -1: any number.
    pub maxextended: i32,
    /// In `View::numbers`; exclusive with `minduration` and `maxduration`.
    pub rqddurs: List,
    /// `None`: not in a pod.
    pub pod: Option<Pod>,
    pub battr: List,
    /// In the imp's `bidfloorcur`.
    pub floors: ByDuration,
}

/// What a video or an audio says of the pod that it is in, or that it is (3.2.7, 3.2.8).
#[derive(Clone, Copy, Debug, Default)]
pub struct Pod {
    /// `podid`: imps of one pod have one; empty where absent.
    pub id: Text,
    /// `poddur`: the imp is a dynamic pod of so many seconds; 0: it is one ad.
    pub seconds: u32,
    /// `maxseq`: most ads of a dynamic pod; 0 where absent.
    pub ads: u32,
    /// `slotinpod`: the places that the seller guarantees.
    pub slots: Slots,
    /// `poddedupe`, in `View::numbers`; empty where absent.
    pub dedupe: List,
}

/// Places in a pod that can be told from the others (AdCOM, Slot Position in Pod).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    pub first: bool,
    pub last: bool,
}

impl Slots {
    /// 1: the first; -1: the last; 2: both, or either; 0, and what is on no list: none.
    pub const fn of(code: i32) -> Self {
        Self { first: matches!(code, 1 | 2), last: matches!(code, -1 | 2) }
    }
}

/// Where a floor stands that is not the imp's `bidfloor`, for an edit.
#[derive(Clone, Copy, Debug)]
pub struct PriceSpot {
    pub at: Element,
    pub price: SpotPrice,
    /// What came lies below it: between two micros, nearer to the lower one.
    pub is_raised: bool,
    /// Index in `View::deals` of the deal that it is of; `None`: the imp's.
    pub deal: Option<u32>,
}

/// What stands in a [`PriceSpot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpotPrice {
    Flat(Cpm),
    BySecond(CpmPerSecond),
}
