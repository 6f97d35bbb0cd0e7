//! `[[floors]]` and `[[partners.floors]]`: from a table to a [`FloorRule`].
//!
//! Owns: names, defaults and ranges of the rules' keys. Never: which rule counts (`auction::rules`).

use super::reader::Table;
use super::words::{channel, country, currency, domain, lower, media, price, size, text};
use crate::auction::rules::{FloorRule, Level};

/// Most combinations of what rules name in all: the index has an entry for each.
pub const FLOOR_ENTRIES_MAX: usize = 1 << 18;

const PRICE: &str = "a price from 0 to 10^9";

/// All rules of a table; `partner`: whose they are.
pub fn read(table: &mut Table, partner: Option<&str>) -> Vec<FloorRule> {
    table.sections("floors").into_iter().map(|rule| one(rule, partner)).collect()
}

fn one(mut table: Table, partner: Option<&str>) -> FloorRule {
    let t = &mut table;
    let rule = FloorRule {
        partner: partner.map(str::to_owned),
        publishers: t.list(
            "publishers",
            "an id",
            "`publisher.id`; empty, here and below: any.",
            text,
        ),
        bundles: t.list("bundles", "a bundle", "Apps.", lower),
        domains: t.list("domains", "a domain", "Sites; with their subdomains.", domain),
        sizes: t.list("sizes", "WIDTHxHEIGHT", "Of banners.", small),
        media: t.list("media", "banner, video, audio or native", "Of the bid.", media),
        countries: t.list("countries", "an ISO 3166-1 alpha-3 code", "Of the user.", country),
        devicetypes: t.numbers("devicetypes", 1..=8, "AdCOM device types."),
        channels: t.list("channels", "site, app or dooh", "Of the request.", channel),
        level: Level {
            floor: t
                .decimal("floor", PRICE, "What the partner gets at least, per thousand.", price)
                .unwrap_or_default(),
            soft: t.decimal(
                "soft_floor",
                PRICE,
                "In second-price auctions: a bid below it pays itself, others at least this.",
                price,
            ),
            currency: t
                .parsed("currency", "an ISO 4217 code", "Of both. Default USD.", currency)
                .unwrap_or_default(),
        },
    };
    if !t.has("floor") {
        t.fault_of("floor", PRICE, None);
    }
    if rule.level.soft.is_some_and(|soft| soft < rule.level.floor) {
        t.fault_of("soft_floor", "at least `floor`", None);
    }
    table.end();
    rule
}

/// A size that fits the index.
fn small(text: &str) -> Option<(u32, u32)> {
    size(text).filter(|(w, h)| w.max(h) <= &u32::from(u16::MAX))
}
