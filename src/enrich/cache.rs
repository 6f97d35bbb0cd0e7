//! What a worker remembers of its look-ups.
//!
//! Owns: [`GeoCache`] and [`DeviceCache`], both bounded, both one worker's own. Invariant: a cache
//! gives what its database would give now, and never empties itself at once: when another database
//! stands behind it, what it holds is passed over and goes piece by piece as it is displaced. To
//! free some ten thousand facts takes milliseconds, in which the worker would answer nobody.
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
    by_address: Vec<Slot<IpAddr, Option<Arc<Geo>>>>,
    /// Of the addresses: seeded, so that nobody outside can aim at a slot.
    hasher: DefaultHashBuilder,
    /// Many addresses are one network: its facts are decoded once.
    by_key: Vec<Slot<GeoKey, Arc<Geo>>>,
    /// Which databases, and which hour of the wall clock (a time zone may change its offset).
    valid_for: (u64, u64),
    /// Counts the changes of it.
    era: u32,
}

/// A place for one thing that was asked, with the answer.
type Slot<T, A> = Option<(Asked<T>, A)>;

/// What was asked, and in which era of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked<T> {
    what: T,
    era: u32,
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
            era: 0,
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
            self.valid_for = valid_for;
            // a billion reloads later an entry that was never displaced could pass for a new one
            self.era = self.era.wrapping_add(1);
        }
        let asked = Asked { what: address, era: self.era };
        let at = slot_of(self.hasher.hash_one(address), self.by_address.len());
        if let Some(Some((kept, geo))) = self.by_address.get(at)
            && *kept == asked
        {
            return geo.clone();
        }
        let found = databases.find(address);
        let geo = found.key.map(|key| self.of_key(&key, || found.decode(wall)));
        if let Some(slot) = self.by_address.get_mut(at) {
            *slot = Some((asked, geo.clone()));
        }
        geo
    }

    fn of_key(&mut self, key: &GeoKey, decode: impl FnOnce() -> Geo) -> Arc<Geo> {
        let asked = Asked { what: *key, era: self.era };
        let at = slot_of(mixed(key), self.by_key.len());
        match self.by_key.get_mut(at) {
            Some(Some((kept, geo))) if *kept == asked => Arc::clone(geo),
            Some(slot) => {
                let geo = Arc::new(decode());
                *slot = Some((asked, Arc::clone(&geo)));
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
        }
    }

    /// The device of an agent: as cached, else as `classify` gives it. `identity` names the content
    /// of the database.
    pub fn get_or(
        &mut self,
        agent: &Agent<'_>,
        identity: u64,
        classify: impl FnOnce() -> Device,
    ) -> Arc<Device> {
        let [one, two] = &self.hashers;
        let key = (one.hash_one((identity, agent)), two.hash_one((identity, agent)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::databases::{DatabaseSettings, Databases};
    use std::net::Ipv4Addr;
    use std::path::Path;

    #[test]
    fn another_database_is_asked_anew_and_nothing_is_freed_at_once() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo/geo/demo-city.mmdb");
        let settings = DatabaseSettings { city: Some(demo), ..DatabaseSettings::default() };
        let databases = Databases::open(&settings).unwrap();
        let mut cache = GeoCache::new(1 << 12);
        let address = |last| IpAddr::V4(Ipv4Addr::new(198, 18, 0, last));
        let noon = Duration::from_secs(1_800_000_000);
        let mut ask = |last, identity, wall| {
            cache.of(address(last), &databases.geo, identity, wall).expect("the demo knows it")
        };
        let (first, other) = (ask(1, 7, noon), ask(2, 7, noon));
        assert!(Arc::ptr_eq(&first, &ask(1, 7, noon)));
        let held = Arc::strong_count(&other);
        let renewed = ask(1, 8, noon);
        assert!(!Arc::ptr_eq(&first, &renewed) && first == renewed);
        let next_hour = ask(1, 8, noon + Duration::from_secs(3_600));
        assert!(!Arc::ptr_eq(&renewed, &next_hour));
        // its slots were not looked at, unless it shares one with the other address
        assert!(Arc::ptr_eq(&first, &other) || Arc::strong_count(&other) == held);
        // what was before does not come back with the name that it had
        assert!(!Arc::ptr_eq(&first, &ask(1, 7, noon)));
    }

    #[test]
    fn another_device_database_is_asked_anew() {
        let mut cache = DeviceCache::new(64);
        let agent = Agent::new("an agent", None);
        let device = |os: &str| Device { os: Some(os.to_owned()), ..Device::default() };
        let mut ask = |identity, os| cache.get_or(&agent, identity, || device(os)).os.clone();
        assert_eq!(ask(1, "one").as_deref(), Some("one"));
        assert_eq!(ask(1, "not asked").as_deref(), Some("one"));
        assert_eq!(ask(2, "two").as_deref(), Some("two"));
    }
}
