//! What a worker remembers of its look-ups.
//!
//! Owns: [`GeoCache`] and [`DeviceCache`], both bounded, both one worker's own. Invariant: a cache
//! gives what its database would give now: it is emptied when another database stands behind it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::device::Agent;
use super::geo::{GeoDatabases, GeoKey};
use crate::facts::{Device, Geo};
use quick_cache::DefaultHashBuilder;
use quick_cache::unsync::Cache;
use std::fmt;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Rendered facts, by address and by [`GeoKey`]: both direct-mapped, so that they are bounded and
/// never move.
pub struct GeoCache {
    /// Asked first: a user's next request costs no walk through a search tree, each step of which
    /// is a memory access that waits for the one before. `None`: no database knows the address.
    by_address: Vec<Option<(IpAddr, Option<Arc<Geo>>)>>,
    /// Of the addresses: seeded, so that nobody outside can aim at a slot.
    hasher: DefaultHashBuilder,
    /// Many addresses are one network: its facts are decoded once.
    by_key: Vec<Option<(GeoKey, Arc<Geo>)>>,
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
    /// Room for `entries` of either kind, rounded up to a power of two.
    pub fn new(entries: usize) -> Self {
        let entries = entries.clamp(1, 1 << 20).next_power_of_two();
        Self {
            by_address: vec![None; entries],
            hasher: DefaultHashBuilder::default(),
            by_key: vec![None; entries],
            valid_for: (0, 0),
        }
    }

    /// The facts of an address: as cached, else as the databases give them at `wall`. `identity`
    /// names the content of the databases.
    pub fn of(
        &mut self,
        address: IpAddr,
        databases: &GeoDatabases,
        identity: u64,
        wall: Duration,
    ) -> Option<Arc<Geo>> {
        let valid_for = (identity, wall.as_secs() / 3600);
        if self.valid_for != valid_for {
            self.by_address.fill(None);
            self.by_key.fill(None);
            self.valid_for = valid_for;
        }
        let at = slot_of(self.hasher.hash_one(address), self.by_address.len());
        if let Some(Some((kept, geo))) = self.by_address.get(at)
            && *kept == address
        {
            return geo.clone();
        }
        let found = databases.find(address);
        let geo = found.key.map(|key| self.of_key(&key, || found.decode(wall)));
        if let Some(slot) = self.by_address.get_mut(at) {
            *slot = Some((address, geo.clone()));
        }
        geo
    }

    fn of_key(&mut self, key: &GeoKey, decode: impl FnOnce() -> Geo) -> Arc<Geo> {
        let at = slot_of(mixed(key), self.by_key.len());
        match self.by_key.get_mut(at) {
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
        f.debug_struct("GeoCache").field("slots", &self.by_key.len()).finish_non_exhaustive()
    }
}

/// Mixes a key by multiplies; the high bits are the good ones.
fn mixed(key: &GeoKey) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |mixed: u64, part: &u32| (mixed.rotate_left(23) ^ u64::from(*part)).wrapping_mul(ODD);
    key.iter().fold(0, mix)
}

/// One of `slots`, a power of two and at most 2^24, by the high half of a hash.
fn slot_of(hash: u64, slots: usize) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0) & slots.saturating_sub(1)
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
        let names = (&device.make, &device.model, &device.os, &device.osv);
        let at = slot_of(hasher.hash_one(names), self.shared.len());
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
