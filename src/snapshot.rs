//! All hot-swappable state at one moment, and the one place that swaps it.
//!
//! Owns: [`Snapshot`], [`Live`] and a worker's [`Latest`]. Invariant: a request takes one [`Held`]
//! snapshot when its headers are complete and sees no other; nothing inside a snapshot changes.

use crate::auction::rules::{FloorIndex, FloorRule};
use crate::bidder::Bidder;
use crate::bidder::roster::{Roster, RosterSettings};
use crate::capture::recorder::Recording;
use crate::enrich::databases::Databases;
use crate::limits::bank::{Bank, Payer};
use crate::limits::rate::RateAccount;
use crate::money::Rates;
use crate::openrtb::ids::{BidderId, PartnerId};
use crate::partner::Partner;
use crate::privacy::PrivacySettings;
use crate::telemetry::hub::Hub;
use crate::telemetry::slots::{OTHER, Slot};
use crate::token::issuer::Issuer;
use arc_swap::ArcSwapOption;
use arc_swap::cache::Cache;
use bytes::Bytes;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One generation of everything that a reload may change.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up from 1 in this process.
    pub generation: u64,
    pub partners: Vec<Partner>,
    pub bidders: Vec<Bidder>,
    pub rates: Arc<Rates>,
    /// The same, once they are too old: nothing is converted.
    rates_stale: Rates,
    /// Which floors hold where, as an index.
    pub floors: FloorIndex,
    pub databases: Arc<Databases>,
    /// What is taken for granted of users where requests do not say it.
    pub privacy: PrivacySettings,
    /// `/sellers.json`, as it is served.
    pub sellers: Option<Bytes>,
    /// Where requests are recorded, while they are.
    pub recording: Option<Arc<Recording>>,
    /// What our notice URLs are made with; `None`: there are none, and no event is taken.
    pub issuer: Option<Arc<Issuer>>,
    /// Who buys what, as an index over `bidders`.
    pub roster: Roster,
    /// By `PartnerId`: agreed requests a second.
    pub partner_rates: Accounts,
    /// By name; its hasher is seeded, for the names in it are compared with what strangers send.
    doors: HashMap<Name, Door>,
    partner_slots: Vec<Slot>,
    bidder_slots: Vec<Slot>,
}

/// Agreed rates by `PartnerId`.
pub type Accounts = Vec<Option<Arc<RateAccount>>>;

/// A partner's name; up to 16 bytes stand in the index itself.
type Name = SmallVec<[u8; 16]>;

/// What decides whether a caller is a partner. It stands in the index beside the name, so that
/// most callers cost one place in memory.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    pub id: PartnerId,
    /// The first of the partner's `key_hashes`; `None`: no key is asked for.
    pub key_hash: Option<[u8; 32]>,
    /// Whether there are more.
    pub has_more_keys: bool,
    /// Whether there are `sources`.
    pub has_sources: bool,
}

/// A line of the processor's cache.
const _: () = assert!(size_of::<(Name, Door)>() <= 64);

/// What a snapshot is put together from.
#[derive(Debug)]
pub struct Parts {
    pub partners: Vec<Partner>,
    pub bidders: Vec<Bidder>,
    pub rates: Arc<Rates>,
    pub floors: Arc<[FloorRule]>,
    pub databases: Arc<Databases>,
    pub privacy: PrivacySettings,
    pub sellers: Option<Bytes>,
    pub roster: RosterSettings,
    pub recording: Option<Arc<Recording>>,
    pub issuer: Option<Arc<Issuer>>,
}

impl Parts {
    /// Without databases, with no currency but US dollars.
    pub fn plain(partners: Vec<Partner>, bidders: Vec<Bidder>) -> Self {
        Self {
            partners,
            bidders,
            rates: Arc::default(),
            floors: Arc::default(),
            databases: Arc::default(),
            privacy: PrivacySettings::default(),
            sellers: None,
            roster: RosterSettings::default(),
            recording: None,
            issuer: None,
        }
    }
}

impl Snapshot {
    /// Puts one together. Of two partners with one name the first is found (configuration has
    /// none). Accounts and metric slots are found again by name, so that what did not change
    /// goes on as it was.
    pub fn new(generation: u64, parts: Parts, bank: &mut Bank, hub: &Hub, now: Instant) -> Self {
        let accounts = Self::accounts(&parts.partners, bank, now);
        Self::put_together(generation, parts, accounts, hub)
    }

    /// By partner: where its agreed rate is kept.
    pub fn accounts(partners: &[Partner], bank: &mut Bank, now: Instant) -> Accounts {
        let rate =
            |one: &Partner| one.qps.map(|qps| bank.rate(Payer::Partner, &one.name, qps, now));
        partners.iter().map(rate).collect()
    }

    /// As [`Snapshot::new`], without the bank: this takes a while, and workers wait for the bank.
    pub fn put_together(generation: u64, parts: Parts, accounts: Accounts, hub: &Hub) -> Self {
        let Parts {
            partners,
            bidders,
            rates,
            floors,
            databases,
            privacy,
            sellers,
            roster,
            recording,
            issuer,
        } = parts;
        let mut doors = HashMap::with_capacity(partners.len());
        for (id, partner) in (0..=u16::MAX).zip(&partners) {
            let name = Name::from_slice(partner.name.as_bytes());
            doors.entry(name).or_insert_with(|| Door::of(PartnerId(id), partner));
        }
        Self {
            generation,
            roster: Roster::compile(&bidders, &partners, roster),
            partner_slots: partners.iter().map(|one| hub.partners().slot(&one.name)).collect(),
            bidder_slots: bidders.iter().map(|one| hub.bidders().slot(&one.name)).collect(),
            floors: FloorIndex::compile(&floors, partners.iter().map(|one| one.name.as_str())),
            partners,
            bidders,
            rates_stale: rates.stale(),
            rates,
            databases,
            privacy,
            sellers,
            recording,
            issuer,
            partner_rates: accounts,
            doors,
        }
    }

    /// How the partner that goes by `name` is told from others.
    pub fn door(&self, name: &str) -> Option<&Door> {
        self.doors.get(name.as_bytes())
    }

    /// The rates at a moment: too old, they convert nothing.
    pub fn rates_at(&self, wall: Duration) -> &Rates {
        if self.rates.are_stale(wall) { &self.rates_stale } else { &self.rates }
    }

    /// A partner by its index.
    pub fn partner(&self, id: PartnerId) -> Option<&Partner> {
        self.partners.get(usize::from(id.0))
    }

    /// A bidder by its index.
    pub fn bidder(&self, id: BidderId) -> Option<&Bidder> {
        self.bidders.get(usize::from(id.0))
    }

    /// Where a partner is counted.
    pub fn partner_slot(&self, id: PartnerId) -> Slot {
        self.partner_slots.get(usize::from(id.0)).copied().unwrap_or(OTHER)
    }

    /// Where a bidder is counted.
    pub fn bidder_slot(&self, id: BidderId) -> Slot {
        self.bidder_slots.get(usize::from(id.0)).copied().unwrap_or(OTHER)
    }
}

impl Door {
    fn of(id: PartnerId, partner: &Partner) -> Self {
        Self {
            id,
            key_hash: partner.key_hashes.first().copied(),
            has_more_keys: partner.key_hashes.len() > 1,
            has_sources: !partner.sources.is_empty(),
        }
    }
}

/// The snapshot that new requests take. Empty until the first good one.
#[derive(Debug, Default)]
pub struct Live(Arc<ArcSwapOption<Snapshot>>);

/// One worker's reading of [`Live`]: a request that takes a snapshot writes nothing that other
/// workers read.
#[derive(Debug)]
pub struct Latest(RefCell<Reading>);

#[derive(Debug)]
struct Reading {
    shared: Cache<Arc<ArcSwapOption<Snapshot>>, Option<Arc<Snapshot>>>,
    /// What `shared` held when it was asked last.
    held: Option<Held>,
}

/// A request's snapshot, counted on its worker alone.
#[derive(Clone, Debug)]
#[expect(clippy::redundant_allocation, reason = "the outer count is the worker's, the inner all's")]
pub struct Held(Rc<Arc<Snapshot>>);

impl Live {
    /// Makes `snapshot` the one that new requests take; gives back the one before.
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        self.0.swap(Some(snapshot))
    }

    /// The snapshot of this moment.
    pub fn take(&self) -> Option<Arc<Snapshot>> {
        self.0.load_full()
    }

    /// For one worker.
    pub fn latest(&self) -> Latest {
        let shared = Cache::new(Arc::clone(&self.0));
        Latest(RefCell::new(Reading { shared, held: None }))
    }
}

impl Latest {
    /// The snapshot of this moment. The one before is let go of: a worker that takes none for long
    /// keeps an old one in memory.
    pub fn take(&self) -> Option<Held> {
        let Reading { shared, held } = &mut *self.0.borrow_mut();
        let now = shared.load().as_ref();
        let is_same = match (&*held, now) {
            (Some(held), Some(now)) => Arc::ptr_eq(&held.0, now),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            *held = now.map(|now| Held(Rc::new(Arc::clone(now))));
        }
        held.clone()
    }
}

impl Deref for Held {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::limits::rate::LeaseSettings;
    use crate::telemetry::hub::TelemetrySettings;

    fn snapshot(generation: u64) -> Arc<Snapshot> {
        let mut bank = Bank::new(1, LeaseSettings::default());
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let parts = Parts::plain(Vec::new(), Vec::new());
        Arc::new(Snapshot::new(generation, parts, &mut bank, &hub, clock::monotonic()))
    }

    #[test]
    fn a_worker_takes_the_snapshot_of_the_moment_and_lets_go_of_the_one_before() {
        let live = Live::default();
        let latest = live.latest();
        assert!(latest.take().is_none());
        live.publish(snapshot(1));
        let first = latest.take().unwrap();
        assert_eq!((first.generation, latest.take().unwrap().generation), (1, 1));
        let replaced = live.publish(snapshot(2)).unwrap();
        assert_eq!(latest.take().unwrap().generation, 2);
        // this test's own, and that of the request which goes on under it
        assert_eq!((first.generation, Arc::strong_count(&replaced)), (1, 2));
        drop(first);
        assert_eq!(Arc::strong_count(&replaced), 1);
    }
}
