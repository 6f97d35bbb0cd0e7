//! Seats, and what bidders ask of a single imp: media, sizes, deals, ceilings.
//!
//! Owns: the tables and how they are compiled. Never: a request (`roster` asks them).

#![deny(clippy::indexing_slicing)]

use super::bits::Bits;
use super::index::{Dimension, Table, listed};
use crate::bidder::{Bidder, Targeting};
use crate::money::Cpm;
use crate::openrtb::ids::Media;
use std::collections::BTreeSet;

/// Seats by which bidders may bid.
#[derive(Debug)]
pub struct Seating {
    seats: Dimension<String>,
    /// Who has a seat at all.
    any: Bits,
    /// By bidder: the seats that it is bound to, blocked ones taken out; empty where it is free.
    bound: Vec<Vec<String>>,
    is_idle: bool,
}

impl Seating {
    pub fn compile(bidders: &[Bidder]) -> Self {
        let bound: Vec<Vec<String>> = bidders
            .iter()
            .map(|bidder| {
                let (allowed, blocked) = (&bidder.seats.allowed, &bidder.seats.blocked);
                allowed.iter().filter(|seat| !blocked.contains(seat)).cloned().collect()
            })
            .collect();
        let any = Bits::of(bidders.len(), |at| {
            let is_free = bidders.get(at).is_some_and(|bidder| bidder.seats.allowed.is_empty());
            is_free || bound.get(at).is_some_and(|seats| !seats.is_empty())
        });
        let seats = Dimension::compile(bidders, |bidder| {
            (bidder.seats.allowed.clone(), bidder.seats.blocked.clone())
        });
        let is_idle = any == Bits::of(bidders.len(), |_| true);
        Self { seats, any, bound, is_idle }
    }

    /// Whether every bidder has a seat as long as a request says nothing of seats.
    pub fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Who may bid for one of `wanted` (`wseat`) seats that is not in `blocked` (`bseat`), in
    /// `out`; `wanted` `None`: for any.
    pub fn of<'t>(
        &self,
        wanted: Option<impl Iterator<Item = &'t str>>,
        blocked: &(impl Iterator<Item = &'t str> + Clone),
        out: &mut Bits,
    ) {
        let is_blocked = |seat: &str| blocked.clone().any(|one| one == seat);
        if let Some(wanted) = wanted {
            out.clear(self.any.len());
            wanted
                .filter(|seat| !is_blocked(seat))
                .for_each(|seat| out.add(self.seats.of(Some(seat))));
            return;
        }
        out.copy(&self.any);
        if blocked.clone().next().is_none() {
            return;
        }
        // Only bidders that are bound to seats can lose them all.
        for (at, seats) in self.bound.iter().enumerate() {
            if !seats.is_empty() && seats.iter().all(|seat| is_blocked(seat)) {
                out.take(at);
            }
        }
    }
}

/// What bidders ask of a single imp.
#[derive(Debug)]
pub struct Wants {
    /// By medium, in the order of `Media::ALL`.
    media: [Bits; Media::ALL.len()],
    /// Who names no size, and who names which.
    any_size: Bits,
    sizes: Table<(u32, u32), Bits>,
    /// Who buys by deals only; who takes any deal; who names which.
    pub deal_only: Bits,
    any_deal: Bits,
    deals: Table<String, Bits>,
    /// Ascending; each with all bidders whose ceiling is this or lower.
    ceilings: Vec<(Cpm, Bits)>,
}

impl Wants {
    pub fn compile(bidders: &[Bidder]) -> Self {
        let count = bidders.len();
        let who = |is_in: &dyn Fn(&Targeting) -> bool| {
            Bits::of(count, |at| bidders.get(at).is_some_and(|bidder| is_in(&bidder.targeting)))
        };
        let media =
            Media::ALL.map(|one| who(&|own| own.media.is_empty() || own.media.contains(one)));
        let mut sizes: Table<(u32, u32), Bits> = Table::default();
        for (at, bidder) in bidders.iter().enumerate() {
            for size in &bidder.targeting.sizes {
                sizes.entry(*size).or_insert_with(|| Bits::none(count)).insert(at);
            }
        }
        let ceilings: BTreeSet<Cpm> =
            bidders.iter().filter_map(|bidder| bidder.targeting.floor_ceiling).collect();
        let ceilings = ceilings
            .into_iter()
            .map(|most| {
                (most, who(&|own| own.floor_ceiling.is_some_and(|ceiling| ceiling <= most)))
            })
            .collect();
        Self {
            media,
            any_size: who(&|own| own.sizes.is_empty()),
            sizes,
            deal_only: who(&|own| own.is_deal_only),
            any_deal: who(&|own| own.deals.is_empty()),
            deals: listed(bidders, |own| &own.deals),
            ceilings,
        }
    }

    /// Adds those that buy one of these media.
    pub fn add_media(&self, media: impl Fn(Media) -> bool, out: &mut Bits) {
        for (one, bits) in Media::ALL.into_iter().zip(&self.media) {
            if media(one) {
                out.add(bits);
            }
        }
    }

    /// Whether some bidder names sizes.
    pub fn has_sizes(&self) -> bool {
        !self.sizes.is_empty()
    }

    /// Adds those that name no size, or one of these.
    pub fn add_sizes(&self, sizes: impl Iterator<Item = (u32, u32)>, out: &mut Bits) {
        out.add(&self.any_size);
        sizes.filter_map(|size| self.sizes.get(&size)).for_each(|bits| out.add(bits));
    }

    /// Those that would bid on this deal, in `out`.
    pub fn of_deal(&self, id: &str, out: &mut Bits) {
        out.copy(&self.any_deal);
        if let Some(bits) = self.deals.get(id) {
            out.add(bits);
        }
    }

    /// Whether some bidder has a ceiling.
    pub fn has_ceilings(&self) -> bool {
        !self.ceilings.is_empty()
    }

    /// Those for whom a floor (in USD) is too high.
    pub fn priced_out(&self, floor: Cpm) -> Option<&[u64]> {
        let lower = self.ceilings.partition_point(|(ceiling, _)| *ceiling < floor);
        self.ceilings.get(lower.checked_sub(1)?).map(|(_, bits)| &bits[..])
    }
}
