//! All hot-swappable state at one moment, and the one place that swaps it.
//!
//! Owns: [`Snapshot`] and [`Live`]. Invariant: a request takes one `Arc<Snapshot>` when its
//! headers are complete and sees no other; nothing inside a snapshot changes.

use crate::bidder::Bidder;
use crate::money::Rates;
use crate::openrtb::ids::{BidderId, PartnerId};
use crate::partner::Partner;
use arc_swap::ArcSwapOption;
use std::collections::HashMap;
use std::sync::Arc;

/// One generation of everything that a reload may change.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up from 1 in this process.
    pub generation: u64,
    pub partners: Vec<Partner>,
    pub bidders: Vec<Bidder>,
    pub rates: Arc<Rates>,
    /// By name; its hasher is seeded, for the names in it are compared with what strangers send.
    partner_index: HashMap<String, PartnerId>,
}

impl Snapshot {
    /// Puts one together. Of two partners with one name the first is found (configuration has
    /// none); partners beyond the ids' range are not found at all.
    pub fn new(
        generation: u64,
        partners: Vec<Partner>,
        bidders: Vec<Bidder>,
        rates: Arc<Rates>,
    ) -> Self {
        let mut partner_index = HashMap::with_capacity(partners.len());
        for (id, partner) in (0..=u16::MAX).zip(&partners) {
            partner_index.entry(partner.name.clone()).or_insert(PartnerId(id));
        }
        Self { generation, partners, bidders, rates, partner_index }
    }

    /// The partner that goes by `name`.
    pub fn partner_named(&self, name: &str) -> Option<PartnerId> {
        self.partner_index.get(name).copied()
    }

    /// A partner by its index.
    pub fn partner(&self, id: PartnerId) -> Option<&Partner> {
        self.partners.get(usize::from(id.0))
    }

    /// A bidder by its index.
    pub fn bidder(&self, id: BidderId) -> Option<&Bidder> {
        self.bidders.get(usize::from(id.0))
    }
}

/// The snapshot that new requests take. Empty until the first good one.
#[derive(Debug, Default)]
pub struct Live(ArcSwapOption<Snapshot>);

impl Live {
    /// Makes `snapshot` the one that new requests take; gives back the one before.
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        self.0.swap(Some(snapshot))
    }

    /// The snapshot of this moment.
    pub fn take(&self) -> Option<Arc<Snapshot>> {
        self.0.load_full()
    }
}
