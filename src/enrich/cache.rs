//! What a worker remembers of its look-ups.
//!
//! Owns: [`GeoCache`] and [`DeviceCache`], both bounded, both one worker's own. Invariant: a cache
//! gives what its database would give now: it is emptied when another database stands behind it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::device::Agent;
use super::geo::GeoKey;
use crate::facts::{Device, Geo};
use quick_cache::DefaultHashBuilder;
use quick_cache::unsync::Cache;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Rendered facts by [`GeoKey`]: direct-mapped, so it is bounded and never moves.
pub struct GeoCache {
    slots: Vec<Option<(GeoKey, Arc<Geo>)>>,
    /// Which databases, and which hour of the wall clock (a time zone may change its offset).
    valid_for: (u64, u64),
}

/// Devices by a hash of what the user agent and its hints say.
pub struct DeviceCache {
    by_agent: Cache<(u64, u64), Arc<Device>>,
    /// Seeded by this process: nobody outside can aim at a slot. Two of them make a key of
    /// 128 bits, so that agents need not be kept to be told apart.
    hashers: [DefaultHashBuilder; 2],
    /// Many agents are one device: its facts are kept once where this direct-mapped table
    /// remembers them.
    shared: Vec<Option<Arc<Device>>>,
    valid_for: u64,
    entries: usize,
}

// === impl GeoCache ===

impl GeoCache {
    /// Room for `entries`, rounded up to a power of two.
    pub fn new(entries: usize) -> Self {
        let entries = entries.clamp(1, 1 << 20).next_power_of_two();
        Self { slots: vec![None; entries], valid_for: (0, 0) }
    }

    /// The facts of a key: as cached, else as `decode` gives them.
    pub fn get_or(
        &mut self,
        key: &GeoKey,
        valid_for: (u64, u64),
        decode: impl FnOnce() -> Geo,
    ) -> Arc<Geo> {
        if self.valid_for != valid_for {
            self.slots.fill(None);
            self.valid_for = valid_for;
        }
        let at = slot_of(key, self.slots.len());
        match self.slots.get_mut(at) {
            Some(Some((kept, geo))) if kept == key => Arc::clone(geo),
            Some(slot) => {
                let geo = Arc::new(decode());
                *slot = Some((*key, Arc::clone(&geo)));
                geo
            }
            None => Arc::new(decode()),
        }
    }
}

impl fmt::Debug for GeoCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeoCache").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

/// Spreads keys over a power of two of slots by a multiply and its high bits.
fn slot_of(key: &GeoKey, slots: usize) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = key
        .iter()
        .fold(0_u64, |mixed, part| (mixed.rotate_left(23) ^ u64::from(*part)).wrapping_mul(ODD));
    // at most 2^20 slots: 32 high bits are enough and fit
    usize::try_from(mixed >> 32).unwrap_or(0) & slots.saturating_sub(1)
}

// === impl DeviceCache ===

impl DeviceCache {
    /// Room for about `entries` agents.
    pub fn new(entries: usize) -> Self {
        let entries = entries.clamp(16, 1 << 24);
        Self {
            by_agent: Cache::new(entries),
            hashers: [DefaultHashBuilder::default(), DefaultHashBuilder::default()],
            shared: vec![None; (entries / 8).next_power_of_two()],
            valid_for: 0,
            entries,
        }
    }

    /// The device of an agent: as cached, else as `classify` gives it.
    pub fn get_or(
        &mut self,
        agent: &Agent<'_>,
        valid_for: u64,
        classify: impl FnOnce() -> Device,
    ) -> Arc<Device> {
        if self.valid_for != valid_for {
            self.by_agent = Cache::new(self.entries);
            self.shared.fill(None);
            self.valid_for = valid_for;
        }
        let [one, two] = &self.hashers;
        let key = (one.hash_one(agent), two.hash_one(agent));
        if let Some(device) = self.by_agent.get(&key) {
            return Arc::clone(device);
        }
        let device = self.share(classify());
        self.by_agent.insert(key, Arc::clone(&device));
        device
    }

    /// The one that is kept already, where there is an equal one.
    fn share(&mut self, device: Device) -> Arc<Device> {
        let [hasher, _] = &self.hashers;
        let names = (&device.make, &device.model, &device.os, &device.osv, &device.browser_version);
        let mixed = hasher.hash_one(names);
        let at = usize::try_from(mixed >> 32).unwrap_or(0) & self.shared.len().saturating_sub(1);
        match self.shared.get_mut(at) {
            Some(Some(kept)) if **kept == device => Arc::clone(kept),
            Some(slot) => Arc::clone(slot.insert(Arc::new(device))),
            None => Arc::new(device),
        }
    }
}

impl fmt::Debug for DeviceCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCache").field("agents", &self.by_agent.len()).finish_non_exhaustive()
    }
}
