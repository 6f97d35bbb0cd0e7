//! What bidders buy, turned round: for each value of a dimension, the bidders that take it.
//!
//! Owns: the tables and how they are compiled. Never: a request (`roster` asks them).
//!
//! Invariant: keys come from configuration only, so what a request holds cannot grow a table.

#![deny(clippy::indexing_slicing)]

use super::bits::Bits;
use crate::bidder::{Bidder, Targeting};
use crate::openrtb::ids::Country;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A table whose keys are configured.
///
/// Its hash is quick and not keyed: a request cannot add a key, so the worst that a hostile value
/// can find is the longest chain that our own keys make.
pub type Table<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;

/// Multiplies and folds, eight bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.write_u64(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        // The golden ratio in 64 bits: odd, and without pattern.
        let product =
            u128::from(self.0 ^ word ^ 0x243f_6a88_85a3_08d3).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bytes = product.to_le_bytes();
        let (low, high) = bytes.split_at(8);
        let half = |part: &[u8]| part.try_into().map_or(0, u64::from_le_bytes);
        self.0 = half(low) ^ half(high);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A dimension in which a request has at most one value.
#[derive(Debug)]
pub struct Dimension<K> {
    /// Who takes a value that nobody lists, or none at all: those without an allow list.
    others: Bits,
    listed: Table<K, Bits>,
}

impl<K: Eq + Hash> Dimension<K> {
    /// From each bidder's allowed (empty: all) and blocked values.
    pub fn compile(
        bidders: &[Bidder],
        lists: impl Fn(&Bidder) -> (Vec<K>, Vec<K>),
    ) -> Dimension<K> {
        let count = bidders.len();
        let lists: Vec<(Vec<K>, Vec<K>)> = bidders.iter().map(lists).collect();
        let others =
            Bits::of(count, |at| lists.get(at).is_some_and(|(allowed, _)| allowed.is_empty()));
        let mut blocks: Table<K, Bits> = Table::default();
        let mut listed: Table<K, Bits> = Table::default();
        for (at, (allowed, blocked)) in lists.into_iter().enumerate() {
            for value in allowed {
                listed.entry(value).or_insert_with(|| others.clone()).insert(at);
            }
            for value in blocked {
                blocks.entry(value).or_insert_with(|| Bits::none(count)).insert(at);
            }
        }
        for (value, blocked) in blocks {
            listed.entry(value).or_insert_with(|| others.clone()).remove(&blocked);
        }
        Dimension { others, listed }
    }

    /// Whether no bidder cares, so that the request need not be asked.
    pub fn is_idle(&self) -> bool {
        // A bidder with an allow list of its own has listed a value.
        self.listed.is_empty()
    }

    /// Who takes this value.
    pub fn of<Q>(&self, value: Option<&Q>) -> &[u64]
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        value.and_then(|value| self.listed.get(value)).unwrap_or(&self.others)
    }
}

/// Countries with their regions.
///
/// A country that a bidder names only with regions counts as listed; where it names regions of a
/// country, one of them must match.
#[derive(Debug)]
pub struct Places {
    countries: Dimension<Country>,
    /// By country: who names regions of it, and for each region who names that.
    regions: Table<Country, (Bits, Vec<(String, Bits)>)>,
}

impl Places {
    pub fn compile(bidders: &[Bidder]) -> Self {
        let countries = Dimension::compile(bidders, |bidder| {
            let targeting = &bidder.targeting;
            let of_regions = targeting.regions.iter().map(|(country, _)| *country);
            let allowed = targeting.countries.iter().copied().chain(of_regions).collect();
            (allowed, targeting.countries_blocked.clone())
        });
        let mut regions: Table<Country, (Bits, Vec<(String, Bits)>)> = Table::default();
        for (at, bidder) in bidders.iter().enumerate() {
            for (country, region) in &bidder.targeting.regions {
                let none = || Bits::none(bidders.len());
                let (narrowed, named) =
                    regions.entry(*country).or_insert_with(|| (none(), Vec::new()));
                narrowed.insert(at);
                match named.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(region)) {
                    Some((_, bits)) => bits.insert(at),
                    None => named.push((region.clone(), Bits::of(bidders.len(), |own| own == at))),
                }
            }
        }
        Self { countries, regions }
    }

    /// Whether no bidder cares.
    pub fn is_idle(&self) -> bool {
        self.countries.is_idle()
    }

    /// Who buys there, in `out`. `region` without the country's prefix, of any letter case.
    pub fn of(&self, country: Option<Country>, region: &str, out: &mut Bits) {
        out.copy(self.countries.of(country.as_ref()));
        let Some((narrowed, named)) = country.and_then(|country| self.regions.get(&country)) else {
            return;
        };
        let found = named.iter().find(|(name, _)| name.eq_ignore_ascii_case(region));
        match found {
            Some((_, here)) => out.remove_but(narrowed, here),
            None => out.remove(narrowed),
        }
    }
}

/// Domains and bundles: one allow list and one block list of either kind.
///
/// A bidder with an allow list of either kind takes what is on one of them; a block wins.
#[derive(Debug)]
pub struct Shelves {
    others: Bits,
    /// `(allowed, blocked)`.
    domains: Table<String, (Bits, Bits)>,
    bundles: Table<String, (Bits, Bits)>,
}

impl Shelves {
    pub fn compile(bidders: &[Bidder]) -> Self {
        let others = Bits::of(bidders.len(), |at| {
            let targeting = bidders.get(at).map(|bidder| &bidder.targeting);
            targeting.is_some_and(|own| own.domains.is_empty() && own.bundles.is_empty())
        });
        let table = |lists: fn(&Targeting) -> (&[String], &[String])| {
            let mut table: Table<String, (Bits, Bits)> = Table::default();
            for (at, bidder) in bidders.iter().enumerate() {
                let (allowed, blocked) = lists(&bidder.targeting);
                let none = || (Bits::none(bidders.len()), Bits::none(bidders.len()));
                for name in allowed {
                    table.entry(name.clone()).or_insert_with(none).0.insert(at);
                }
                for name in blocked {
                    table.entry(name.clone()).or_insert_with(none).1.insert(at);
                }
            }
            table
        };
        let domains = table(|own| (&own.domains, &own.domains_blocked));
        let bundles = table(|own| (&own.bundles, &own.bundles_blocked));
        Self { others, domains, bundles }
    }

    /// Whether no bidder cares.
    pub fn is_idle(&self) -> bool {
        self.domains.is_empty() && self.bundles.is_empty()
    }

    /// Who buys there, in `out` (`blocked` is spare); a domain, that of the page beside it, which
    /// only block lists judge, and a bundle, in lower case, empty where unknown. A listed domain
    /// covers its subdomains; names with more than `labels_max` labels are judged by their last
    /// ones.
    pub fn of(
        &self,
        ((domain, page), bundle): ((&str, &str), &str),
        labels_max: usize,
        out: &mut Bits,
        blocked: &mut Bits,
    ) {
        out.copy(&self.others);
        blocked.clear(self.others.len());
        let mut found = |(allows, blocks): &(Bits, Bits)| {
            out.add(allows);
            blocked.add(blocks);
        };
        self.listed(domain, labels_max).for_each(&mut found);
        self.bundles.get(bundle).into_iter().for_each(&mut found);
        if page != domain {
            self.listed(page, labels_max).for_each(|(_, blocks)| blocked.add(blocks));
        }
        out.remove(blocked);
    }

    /// Who names the domain, or one that it is below.
    fn listed(&self, domain: &str, labels_max: usize) -> impl Iterator<Item = &(Bits, Bits)> {
        let ends = domain.rmatch_indices('.').map(|(at, _)| at + 1).chain([0]).take(labels_max);
        let is_idle = self.domains.is_empty();
        ends.filter(move |_| !is_idle).filter_map(|at| self.domains.get(domain.get(at..)?))
    }
}

/// For each value that a bidder lists, who does.
pub fn listed(bidders: &[Bidder], list: impl Fn(&Targeting) -> &[String]) -> Table<String, Bits> {
    let mut table: Table<String, Bits> = Table::default();
    for (at, bidder) in bidders.iter().enumerate() {
        for value in list(&bidder.targeting) {
            let none = || Bits::none(bidders.len());
            table.entry(value.clone()).or_insert_with(none).insert(at);
        }
    }
    table
}
