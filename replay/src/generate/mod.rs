//! Synthetic bid requests, seeded.
//!
//! Owns: the order of a request's parts and [`Features`], by which diversity is counted. What it
//! makes is fitted to the figures in `data/traffic.toml` and says of itself that it is synthetic
//! (`ext.synthetic`); it is never called recorded. Invariant: request `n` of a seed is the same
//! bytes everywhere, whichever others were made.

mod broken;
pub mod command;
mod consent;
pub mod device;
pub mod imp;
pub mod inventory;
mod json;
pub mod measure;
pub mod mix;
pub mod people;
mod places;

use crate::drive::plan::RequestSet;
use crate::random::Random;
use device::Kind;
use imp::{Context, Shape};
use inventory::Channel;
use json::Json;
use mix::{Mix, TRAFFIC};
use people::Consent;
use places::{PLACES, Place};

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerateSettings {
    /// Everything follows from it.
    pub seed: u64,
    /// Share of requests that are broken on purpose; 0 to 1.
    pub broken: f64,
}

impl Default for GenerateSettings {
    fn default() -> Self {
        Self { seed: 1, broken: 0.0 }
    }
}

/// What kind of request it is: the combination by which diversity is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    pub channel: Channel,
    pub device: Kind,
    pub consent: Consent,
    /// ISO 3166-1 alpha-3 of where the user is meant to be.
    pub country: &'static str,
    /// Of the first imp.
    pub shape: Shape,
    pub imps: usize,
    pub is_26: bool,
}

/// First tiers whose second tiers publishers block.
const SENSITIVE: [u64; 9] = [7, 8, 9, 14, 19, 23, 24, 25, 26];

/// Makes requests.
#[derive(Clone, Debug)]
pub struct Generator {
    settings: GenerateSettings,
    mix: &'static Mix,
    weights: Vec<f64>,
}

impl Generator {
    /// For a seed.
    pub fn new(settings: GenerateSettings) -> Self {
        let weights = PLACES.iter().map(|place| place.weight).collect();
        Self { settings, mix: &TRAFFIC.mix, weights }
    }

    /// The first `count` requests.
    pub fn set(&self, count: u64) -> RequestSet {
        let mut set = RequestSet::default();
        for number in 0..count {
            set.push_with(|bytes| {
                self.write(number, bytes);
            });
        }
        set
    }

    /// Appends request `number`.
    pub fn write(&self, number: u64, out: &mut Vec<u8>) -> Features {
        let random = &mut Random::for_item(self.settings.seed, number);
        let is_broken = random.chance(self.settings.broken);
        if !is_broken {
            return self.write_valid(random, out);
        }
        let mut body = Vec::new();
        let features = self.write_valid(random, &mut body);
        broken::spoil(random, &mut body);
        out.extend_from_slice(&body);
        features
    }

    fn write_valid(&self, random: &mut Random, out: &mut Vec<u8>) -> Features {
        let mix = self.mix;
        let place = &PLACES[random.weighted(&self.weights)];
        let channel = inventory::CHANNELS[random.weighted(&mix.channel)];
        let kind = match channel {
            Channel::Dooh => Kind::Television,
            _ => device::KINDS[random.weighted(&mix.device)],
        };
        let is_26 = channel == Channel::Dooh || random.chance(mix.openrtb_26);
        let consent = people::draw(random, mix, place);
        let imps = 1 + random.weighted(&mix.imps);
        let context = Context {
            mix,
            place,
            is_26,
            is_app: channel == Channel::App,
            is_dooh: channel == Channel::Dooh,
        };
        let device = device::draw(random, kind);
        let mut shape = None;
        Json(out).document(|json| {
            let (high, low) = (random.bits(), random.bits());
            json.format("id", format_args!("{high:016x}{low:016x}"));
            json.array("imp", |json| {
                for number in 0..imps {
                    let media = imp::MEDIA[random.weighted(&mix.media)];
                    let this = imp::write(json, random, &context, media, number);
                    shape.get_or_insert(this);
                }
            });
            inventory::write(json, random, mix, channel, place);
            let is_limited = random.chance(mix.lmt);
            device::write(json, random, mix, &device, place, is_limited);
            if random.chance(mix.user) || consent == Consent::GdprGiven {
                people::write_user(json, random, mix, consent, is_26);
            }
            people::write_regs(json, random, consent, is_26);
            people::write_source(json, random, mix, is_26);
            write_terms(json, random, mix, place);
            json.object("ext", |json| json.flag("synthetic", true));
        });
        let shape = shape.unwrap_or_else(|| unreachable!("at least one imp"));
        Features { channel, device: kind, consent, country: place.country, shape, imps, is_26 }
    }
}

/// Writes the terms of the auction: `at`, `tmax`, `cur` and the block lists.
fn write_terms(json: &mut Json, random: &mut Random, mix: &Mix, place: &Place) {
    if random.chance(mix.at) {
        json.number("at", if random.chance(mix.first_price) { 1 } else { 2 });
    }
    if random.chance(mix.tmax) {
        json.number("tmax", random.pick(&[120, 150, 200, 200, 250, 300, 500, 1_000]));
    }
    if random.chance(mix.cur) {
        let is_local = place.currency != "USD" && random.chance(0.4);
        json.texts("cur", ["USD"].into_iter().chain(is_local.then_some(place.currency)));
    }
    if random.chance(mix.bcat) {
        let (start, count) = (random.below(90), random.between(6, 18));
        json.array("bcat", |json| {
            for step in 0..count {
                // 7 and 90 have no common factor: no category comes twice
                let number = (start + step * 7) % 90;
                let tier = SENSITIVE[usize::try_from(number % 9).unwrap_or(0)];
                json.element_format(format_args!("IAB{tier}-{}", 1 + number / 9));
            }
            if random.chance(0.05) {
                json.element_format(format_args!("IAB{}", random.between(1, 22)));
            }
        });
    }
    if random.chance(mix.badv) {
        let start = random.below(2_000);
        json.array("badv", |json| {
            for step in 0..random.between(1, 20) {
                // some of them are advertisers that the simulated bidders have
                let brand = (start + step * 13) % 2_000;
                json.element_format(format_args!("brand-{brand}.example"));
            }
        });
    }
    if random.chance(mix.bapp) {
        let app = random.below(6_000);
        json.array("bapp", |json| json.element_format(format_args!("com.example.blocked{app}")));
    }
}
