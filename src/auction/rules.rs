//! Floor rules: which floor holds for an ad of this kind, here.
//!
//! Owns: [`FloorRule`], as it is configured, and [`FloorIndex`], as it is asked: hash tables, so
//! that thousands of rules cost what a few do. Never: a floor that a request names.
//!
//! A rule names some of: publisher, bundle, domain, size, media, country, device type, channel.
//! It fits where each that it names is one of its values; a domain covers its subdomains. Of the
//! rules that fit one counts, the most specific:
//!
//! 1. a partner's own before those for all partners
//! 2. the one that names more of the eight
//! 3. of as many, the one that names what stands earlier in the list above
//! 4. the one of the longer domain
//! 5. the one that stands first
//!
//! What a request does not say fits no rule that names it. A size is that of a banner.
//!
//! A rule may have a soft floor above its floor. In a second-price auction a bid that does not
//! reach the soft floor pays itself, and one that does never pays less than it. It keeps no bid
//! out; first-price auctions and deals know none.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::facts::Facts;
use crate::money::{Cpm, Currency};
use crate::openrtb::ids::{Channel, Country, Media, PartnerId};
use crate::request::{Size, ValidRequest};
use smallvec::SmallVec;
use std::collections::HashMap;

/// A rule as it is configured. Each empty list: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FloorRule {
    /// Whose it is; `None`: it holds for all partners.
    pub partner: Option<String>,
    pub publishers: Vec<String>,
    /// Lower case.
    pub bundles: Vec<String>,
    /// Lower case.
    pub domains: Vec<String>,
    pub sizes: Vec<(u32, u32)>,
    pub media: Vec<Media>,
    pub countries: Vec<Country>,
    /// `AdCOM` device types.
    pub devicetypes: Vec<u8>,
    pub channels: Vec<Channel>,
    pub level: Level,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Net, in `currency`, as all floors of a publisher.
    pub floor: Cpm,
    /// At least `floor`.
    pub soft: Option<Cpm>,
    pub currency: Currency,
}

/// How many things a rule may name.
const PARTS: usize = 8;

/// Places in a [`Key`], the weightiest first.
const PUBLISHER: usize = 0;
const BUNDLE: usize = 1;
const DOMAIN: usize = 2;
const SIZE: usize = 3;
const MEDIA: usize = 4;
const COUNTRY: usize = 5;
const DEVICETYPE: usize = 6;
const CHANNEL: usize = 7;

/// What a rule names, or what a bid is, as numbers; 0: nothing.
type Key = [u32; PARTS];

/// Domains of one host that rules name, the longest first. Real hosts have up to five labels.
type Domains = SmallVec<[u32; 4]>;

/// Labels of a host that are looked at, from its end.
const LABELS_MAX: usize = 10;

impl FloorRule {
    /// Entries that it takes in the index: one for each combination of its values.
    pub fn entries(&self) -> usize {
        let Self { publishers, bundles, domains, sizes, media, countries, .. } = self;
        let lists = [publishers.len(), bundles.len(), domains.len(), sizes.len(), media.len()];
        let more = [countries.len(), self.devicetypes.len(), self.channels.len()];
        let all = lists.into_iter().chain(more);
        all.fold(1, |product, values| product.saturating_mul(values.max(1)))
    }
}

/// All rules of a snapshot.
#[derive(Debug, Default)]
pub struct FloorIndex {
    /// By `PartnerId`; those without rules of their own are empty.
    own: Vec<Table>,
    all: Table,
}

/// Rules of one partner, or of all.
#[derive(Debug, Default)]
struct Table {
    /// Names that stand in rules, as numbers from 1 on.
    publishers: Names,
    bundles: Names,
    domains: Names,
    /// Rules that name the same things, the most specific first.
    kinds: Vec<Kind>,
}

/// Hashed with a seed: they are compared with what strangers send.
type Names = HashMap<Box<[u8]>, u32>;

#[derive(Debug)]
struct Kind {
    /// Which places of a key are named.
    named: [bool; PARTS],
    levels: HashMap<Key, Level>,
}

impl Kind {
    /// Orders the most specific first.
    fn order(&self) -> (usize, [bool; PARTS]) {
        let unnamed = self.named.map(|is_named| !is_named);
        (unnamed.iter().filter(|is_unnamed| **is_unnamed).count(), unnamed)
    }
}

impl FloorIndex {
    /// Of partners in the order of their `PartnerId`.
    pub fn compile<'p>(rules: &[FloorRule], partners: impl Iterator<Item = &'p str>) -> Self {
        if rules.is_empty() {
            return Self::default();
        }
        let of = |name: Option<&str>| {
            Table::compile(rules.iter().filter(|rule| rule.partner.as_deref() == name))
        };
        Self { own: partners.map(|name| of(Some(name))).collect(), all: of(None) }
    }

    /// What holds for one request.
    pub fn ask<'a>(
        &'a self,
        request: &ValidRequest,
        facts: &Facts,
        partner: PartnerId,
    ) -> Ruling<'a> {
        let own = self.own.get(usize::from(partner.0));
        let asked = |table: Option<&'a Table>| {
            table.filter(|table| !table.kinds.is_empty()).map(|table| table.ask(request, facts))
        };
        Ruling { own: asked(own), all: asked(Some(&self.all)) }
    }
}

impl Table {
    fn compile<'r>(rules: impl Iterator<Item = &'r FloorRule>) -> Self {
        let mut table = Self::default();
        for rule in rules {
            table.add(rule);
        }
        table.kinds.sort_by_key(Kind::order);
        table
    }

    fn add(&mut self, rule: &FloorRule) {
        let parts: [Vec<u32>; PARTS] = [
            rule.publishers.iter().map(|name| number(&mut self.publishers, name)).collect(),
            rule.bundles.iter().map(|name| number(&mut self.bundles, name)).collect(),
            rule.domains.iter().map(|name| number(&mut self.domains, name)).collect(),
            rule.sizes.iter().map(|(w, h)| of_size(Size { w: *w, h: *h })).collect(),
            rule.media.iter().map(|media| u32::from(media.mtype())).collect(),
            rule.countries.iter().map(|country| of_country(*country)).collect(),
            rule.devicetypes.iter().map(|number| of_devicetype(*number)).collect(),
            rule.channels.iter().map(|channel| of_channel(*channel)).collect(),
        ];
        let named = parts.each_ref().map(|values| !values.is_empty());
        let found = self.kinds.iter().position(|kind| kind.named == named);
        let at = found.unwrap_or(self.kinds.len());
        if found.is_none() {
            self.kinds.push(Kind { named, levels: HashMap::new() });
        }
        let Some(kind) = self.kinds.get_mut(at) else { return };
        let mut keys = vec![Key::default()];
        for (place, values) in parts.iter().enumerate().filter(|(_, values)| !values.is_empty()) {
            let with = |key: &Key| {
                let mut keys = vec![*key; values.len()];
                for (key, value) in keys.iter_mut().zip(values) {
                    if let Some(part) = key.get_mut(place) {
                        *part = *value;
                    }
                }
                keys
            };
            keys = keys.iter().flat_map(with).collect();
        }
        for key in keys {
            kind.levels.entry(key).or_insert(rule.level);
        }
    }

    fn ask<'a>(&'a self, request: &ValidRequest, facts: &Facts) -> Asked<'a> {
        let inventory = &request.view.inventory;
        let mut key = Key::default();
        let parts = [
            (PUBLISHER, self.publishers.get(request.text_bytes(inventory.publisher_id)).copied()),
            (BUNDLE, look_up(&self.bundles, request.text_bytes(inventory.bundle))),
            (COUNTRY, facts.country.map(of_country)),
            (DEVICETYPE, facts.devicetype.map(of_devicetype)),
            (CHANNEL, Some(of_channel(request.view.channel))),
        ];
        for (place, value) in parts {
            if let Some(part) = key.get_mut(place) {
                *part = value.unwrap_or_default();
            }
        }
        Asked { table: self, key, domains: self.domains_of(request) }
    }

    /// Of the domain of the site, or else of its page.
    fn domains_of(&self, request: &ValidRequest) -> Domains {
        if self.domains.is_empty() {
            return Domains::new();
        }
        let (host, _) = request.sites();
        let host = host.bytes();
        let ends = (0..host.len())
            .rev()
            .filter(|at| host.get(*at) == Some(&b'.'))
            .map(|dot| dot.saturating_add(1))
            .take(LABELS_MAX.saturating_sub(1));
        let mut starts: SmallVec<[usize; LABELS_MAX]> = ends.collect();
        starts.push(0);
        let parts = starts.iter().rev().filter_map(|at| host.get(*at..));
        parts.filter_map(|part| look_up(&self.domains, part)).collect()
    }

    fn find(&self, key: Key, domains: &[u32]) -> Option<Level> {
        self.kinds.iter().find_map(|kind| {
            let has_domain = kind.named.get(DOMAIN) == Some(&true);
            let any = [0];
            let domains = if has_domain { domains } else { &any };
            domains.iter().find_map(|domain| {
                let mut key = key;
                if let Some(part) = key.get_mut(DOMAIN) {
                    *part = *domain;
                }
                for (part, is_named) in key.iter_mut().zip(kind.named) {
                    if !is_named {
                        *part = 0;
                    } else if *part == 0 {
                        return None;
                    }
                }
                kind.levels.get(&key).copied()
            })
        })
    }
}

/// A name's number, a new one where it has none.
fn number(names: &mut Names, name: &str) -> u32 {
    let next = u32::try_from(names.len()).unwrap_or(u32::MAX).saturating_add(1);
    *names.entry(name.as_bytes().into()).or_insert(next)
}

/// The number of a name in any letter case.
fn look_up(names: &Names, name: &[u8]) -> Option<u32> {
    if names.is_empty() || name.is_empty() {
        return None;
    }
    let lower: SmallVec<[u8; 64]> = name.iter().map(u8::to_ascii_lowercase).collect();
    names.get(&*lower).copied()
}

/// Sizes that do not fit are nobody's.
fn of_size(size: Size) -> u32 {
    match (u16::try_from(size.w), u16::try_from(size.h)) {
        (Ok(w), Ok(h)) => u32::from(w) << 16 | u32::from(h),
        _ => 0,
    }
}

fn of_country(Country([a, b, c]): Country) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

fn of_devicetype(devicetype: u8) -> u32 {
    u32::from(devicetype).saturating_add(1)
}

fn of_channel(channel: Channel) -> u32 {
    (channel as u32).saturating_add(1)
}

/// No rule at all.
pub static NO_RULES: Ruling<'static> = Ruling { own: None, all: None };

/// What rules say of one request; empty where there are none.
#[derive(Clone, Debug, Default)]
pub struct Ruling<'a> {
    own: Option<Asked<'a>>,
    all: Option<Asked<'a>>,
}

#[derive(Clone, Debug)]
struct Asked<'a> {
    table: &'a Table,
    /// Without size, media and domain.
    key: Key,
    domains: Domains,
}

impl Ruling<'_> {
    /// Whether no rule can fit.
    pub fn is_idle(&self) -> bool {
        self.own.is_none() && self.all.is_none()
    }

    /// What the rule that counts says of an ad; `size` is a banner's, where it is known.
    pub fn of(&self, media: Media, size: Option<Size>) -> Option<Level> {
        [&self.own, &self.all].into_iter().flatten().find_map(|asked| {
            let mut key = asked.key;
            let parts =
                [(SIZE, size.map(of_size).unwrap_or_default()), (MEDIA, media.mtype().into())];
            for (place, value) in parts {
                if let Some(part) = key.get_mut(place) {
                    *part = value;
                }
            }
            asked.table.find(key, &asked.domains)
        })
    }
}
