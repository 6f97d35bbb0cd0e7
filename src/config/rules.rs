//! The rules of the exchange: partners, bidders and rates, with the relations between them.
//!
//! Owns: [`Rules`] and the checks that need more than one table. Never: a file's path or bytes.

use super::files::Files;
use super::reader::Table;
use super::{bidders, partners, words};
use crate::bidder::Bidder;
use crate::money::{Currency, Rates};
use crate::partner::Partner;
use bytes::Bytes;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use toml::Value;

/// Most partners and bidders of one snapshot: metric blocks and bitsets are sized by it.
pub const PARTNERS_MAX: usize = 1024;
/// See [`PARTNERS_MAX`].
pub const BIDDERS_MAX: usize = 1024;

/// What a reload may change, but for databases.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub partners: Vec<Partner>,
    pub bidders: Vec<Bidder>,
    pub rates: Arc<Rates>,
    /// `/sellers.json`, checked to be JSON.
    pub sellers: Option<Bytes>,
}

/// A document of sellers larger than this is a mistake.
const SELLERS_BYTES_MAX: u64 = 64 << 20;

/// Most processes that share one limit.
const REPLICAS_MAX: u32 = 10_000;

/// What holds for all partners and bidders; paths are relative to `folder`. To be read behind
/// them: rates that are agreed with the whole are cut to this process's part.
pub fn read_whole(root: &mut Table, folder: &Path, files: &Files, rules: &mut Rules) {
    let replicas = root.integer(
        "replicas",
        1,
        1..=REPLICAS_MAX,
        "Processes like this one that share the traffic: each takes its part of every `qps`.",
    );
    let part = |qps: u32| (qps / replicas).max(1);
    rules.partners.iter_mut().for_each(|one| one.qps = one.qps.map(part));
    rules.bidders.iter_mut().for_each(|one| one.limits.qps = one.limits.qps.map(part));
    let path = root.parsed(
        "sellers_json",
        "a path to a JSON file",
        "Served to anybody as `/sellers.json` where partners call.",
        |text| (!text.is_empty()).then(|| folder.join(text)),
    );
    if let Some(path) = path {
        match read_json(&path, files) {
            Ok(json) => rules.sellers = Some(json),
            Err(fault) => root.fault_of("sellers_json", &format!("a JSON file: {fault}"), None),
        }
    }
}

fn read_json(path: &Path, files: &Files) -> Result<Bytes, String> {
    let json = files.read(path, SELLERS_BYTES_MAX)?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&json).map_err(|fault| fault.to_string())?;
    Ok(json.into())
}

/// `[[partners]]` of one file.
pub fn read_partners(root: &mut Table, into: &mut Vec<Partner>) {
    for (index, table) in root.sections("partners").into_iter().enumerate() {
        let Some(partner) = partners::read(table) else { continue };
        if into.iter().any(|known| known.name == partner.name) {
            root.fault_of(&format!("partners[{index}].name"), "a name of its own", None);
        }
        into.push(partner);
    }
    if into.len() > PARTNERS_MAX {
        root.fault_of("partners", &format!("at most {PARTNERS_MAX}"), None);
    }
}

/// `[[bidders]]` of one file.
pub fn read_bidders(root: &mut Table, into: &mut Vec<Bidder>) {
    for (index, table) in root.sections("bidders").into_iter().enumerate() {
        let Some(bidder) = bidders::read(table) else { continue };
        if into.iter().any(|known| known.name == bidder.name) {
            root.fault_of(&format!("bidders[{index}].name"), "a name of its own", None);
        }
        into.push(bidder);
    }
    if into.len() > BIDDERS_MAX {
        root.fault_of("bidders", &format!("at most {BIDDERS_MAX}"), None);
    }
}

/// `[rates]`: `base` and one rate a currency (how many units one unit of the base buys).
pub fn read_rates(root: &mut Table) -> Option<Rates> {
    let mut table = root.section("rates");
    let is_present = table.is_present();
    let base = table.parsed(
        "base",
        "an ISO 4217 code",
        "Currency that the rates are against. Default USD.",
        words::currency,
    );
    let mut per_base = table.section("per_base");
    let mut rates = Vec::new();
    for (code, value) in per_base.entries() {
        let rate = match value {
            Value::Float(rate) => Some(*rate),
            #[expect(clippy::cast_precision_loss, reason = "a rate over 2^53 is refused below")]
            Value::Integer(rate) => Some(*rate as f64),
            _ => None,
        };
        let rate = rate.filter(|rate| rate.is_finite() && (1e-9..=1e9).contains(rate));
        match (Currency::parse(code), rate) {
            (Some(code), Some(rate)) => rates.push((code, rate)),
            (None, _) => per_base.fault_of(code, "named by an ISO 4217 code", None),
            (_, None) => per_base.fault_of(code, "a rate, 10^-9 to 10^9", None),
        }
    }
    table.end();
    let base = base.unwrap_or_default();
    is_present.then(|| Rates::new(base, rates).ok()).flatten()
}

/// Relations between partners, bidders and rates.
pub fn check(rules: &Rules, root: &Table) {
    let partners: HashSet<&str> = rules.partners.iter().map(|one| one.name.as_str()).collect();
    let names: Vec<&str> = partners.iter().copied().collect();
    for bidder in &rules.bidders {
        let listed = [
            ("partners", &bidder.targeting.partners),
            ("partners_blocked", &bidder.targeting.partners_blocked),
        ];
        for (key, list) in listed {
            for name in list.iter().filter(|name| !partners.contains(name.as_str())) {
                let path = format!("bidders({}).targeting.{key}: {name:?}", bidder.name);
                root.fault_of(&path, "a partner", super::fault::nearest(name, &names));
            }
        }
    }
    let bidders: Vec<&str> = rules.bidders.iter().map(|one| one.name.as_str()).collect();
    for partner in &rules.partners {
        let blocks = partner.creatives_blocked.iter().filter_map(|block| block.bidder.as_deref());
        for name in blocks.filter(|name| !bidders.contains(name)) {
            let path = format!("partners({}).creatives_blocked.bidder: {name:?}", partner.name);
            root.fault_of(&path, "a bidder", super::fault::nearest(name, &bidders));
        }
    }
    for bidder in &rules.bidders {
        if let Some(currency) = bidder.wire.currency.filter(|one| !rules.rates.knows(*one)) {
            let path = format!("bidders({}).currency: {currency}", bidder.name);
            root.fault_of(&path, "a currency that has a rate", None);
        }
    }
    for partner in rules.partners.iter().filter(|one| !rules.rates.knows(one.currency)) {
        let path = format!("partners({}).currency: {}", partner.name, partner.currency);
        root.fault_of(&path, "a currency that has a rate", None);
    }
}
