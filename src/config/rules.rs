//! The rules of the exchange: partners, bidders and rates, with the relations between them.
//!
//! Owns: [`Rules`], [`Draft`] and the checks that need more than one table. Never: a file's path or bytes.

use super::Report;
use super::fault::{Fault, Found, Place, nearest};
use super::files::Files;
use super::floors::{self, FLOOR_ENTRIES_MAX};
use super::reader::Table;
use super::secrets::told;
use super::{bidders, partners, words};
use crate::auction::rules::FloorRule;
use crate::bidder::Bidder;
use crate::capture::recorder::CaptureSettings;
use crate::macros::seal::PriceKeys;
use crate::money::{Currency, Rates};
use crate::partner::Partner;
use crate::privacy::{GDPR_COUNTRIES, PrivacySettings};
use crate::token::issuer::Issuer;
use bytes::Bytes;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
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
    /// Of all partners and of single ones, in the order of the files.
    pub floors: Arc<[FloorRule]>,
    /// What is taken for granted of users.
    pub privacy: PrivacySettings,
    /// `/sellers.json`, checked to be JSON.
    pub sellers: Option<Bytes>,
    /// What is recorded, where something is.
    pub capture: Option<CaptureSettings>,
    /// What our notice URLs are made with, where there are any.
    pub issuer: Option<Arc<Issuer>>,
}

/// Whether a process that runs by `in_force` may take `new`: a file that was emptied by mistake reads
/// like one that takes everybody away.
pub fn check_reload(new: &Rules, in_force: &Rules, main: &Path) -> Result<(), Report> {
    let lost = [
        ("partners", new.partners.is_empty() && !in_force.partners.is_empty()),
        ("bidders", new.bidders.is_empty() && !in_force.bidders.is_empty()),
    ];
    let faults: Vec<Fault> = lost
        .into_iter()
        .filter(|(_, is_lost)| *is_lost)
        .map(|(path, _)| {
            let place = Place { file: main.display().to_string(), path: path.to_owned() };
            let wanted =
                "there, one at least, as long as the process runs: to take all away, restart it";
            place.fault(Found::Nothing, wanted, None)
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Report(faults)) }
}

/// A document of sellers larger than this is a mistake.
const SELLERS_BYTES_MAX: u64 = 64 << 20;

/// Rates that are older than three days are a fault of whoever brings them.
const AGE_MAX: Duration = Duration::from_secs(3 * 24 * 3_600);

/// What a rate may be.
const RATE: &str = "a rate, 10^-9 to 10^9";

const HOUR: Duration = Duration::from_secs(3_600);

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
    rules.privacy = privacy(root);
}

/// `[privacy]`.
fn privacy(root: &mut Table) -> PrivacySettings {
    let mut table = root.section("privacy");
    let countries = table.list_or(
        "gdpr_countries",
        GDPR_COUNTRIES,
        "an ISO 3166-1 alpha-3 code",
        "Where the GDPR applies to a request that has neither `gdpr` nor `gpp_sid`: it is treated as \
         `gdpr` 1 where `device.geo.country` (where that is absent, the address's) is one of these. \
         `[]`: nowhere.",
        words::country,
    );
    table.end();
    PrivacySettings::new(countries)
}

fn read_json(path: &Path, files: &Files) -> Result<Bytes, String> {
    let json = files.read(path, SELLERS_BYTES_MAX)?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&json).map_err(|fault| fault.to_string())?;
    Ok(json.into())
}

/// Rules while they are read, and where each of them stands.
#[derive(Debug, Default)]
pub struct Draft {
    pub rules: Rules,
    /// Beside `rules.partners`.
    partners_at: Vec<Place>,
    /// Beside `rules.bidders`.
    bidders_at: Vec<Place>,
    /// Each name that is there, also of an entry that has faults otherwise.
    names: Names,
    rates_at: Option<Place>,
    /// What becomes `rules.floors`.
    floors: Vec<FloorRule>,
    /// Beside `floors`.
    floors_at: Vec<Place>,
}

/// Names, and where they stand first.
#[derive(Debug, Default)]
struct Names {
    partners: HashMap<String, Place>,
    bidders: HashMap<String, Place>,
}

// === impl Draft ===

impl Draft {
    /// All rules of one file.
    pub fn read(&mut self, root: &mut Table) {
        self.read_partners(root);
        self.read_bidders(root);
        self.read_floors(root);
        self.read_rates(root);
    }

    fn read_floors(&mut self, root: &mut Table) {
        for (index, rule) in floors::read(root, None).into_iter().enumerate() {
            self.floors.push(rule);
            self.floors_at.push(root.place(&format!("floors[{index}]")));
        }
    }

    /// The rules, whole.
    pub fn finish(mut self) -> Rules {
        self.rules.floors = self.floors.into();
        self.rules
    }

    fn read_partners(&mut self, root: &mut Table) {
        let into = &mut self.rules.partners;
        for (index, table) in root.sections("partners").into_iter().enumerate() {
            let at = root.place(&format!("partners[{index}]"));
            take_name(&mut self.names.partners, &table, root, &at);
            let Some((partner, floors)) = partners::read(table) else { continue };
            self.floors_at.extend(floors.iter().map(|_| at.clone()));
            self.floors.extend(floors);
            into.push(partner);
            self.partners_at.push(at);
        }
        if into.len() > PARTNERS_MAX {
            let wanted = format!("at most {PARTNERS_MAX}, and with these they are {}", into.len());
            root.add(root.place("partners").fault(Found::Hidden, wanted, None));
        }
    }

    fn read_bidders(&mut self, root: &mut Table) {
        let into = &mut self.rules.bidders;
        for (index, table) in root.sections("bidders").into_iter().enumerate() {
            let at = root.place(&format!("bidders[{index}]"));
            take_name(&mut self.names.bidders, &table, root, &at);
            let Some(bidder) = bidders::read(table) else { continue };
            into.push(bidder);
            self.bidders_at.push(at);
        }
        if into.len() > BIDDERS_MAX {
            let wanted = format!("at most {BIDDERS_MAX}, and with these they are {}", into.len());
            root.add(root.place("bidders").fault(Found::Hidden, wanted, None));
        }
    }

    /// Two tables of rates are a fault and not merged: which of two rates of a currency would
    /// count is nothing that an order of files should decide.
    fn read_rates(&mut self, root: &mut Table) {
        let Some(rates) = rates(root) else { return };
        let at = root.place("rates");
        if let Some(first) = &self.rates_at {
            let wanted = format!("in one place only, and {first} is there already");
            root.add(at.fault(Found::Hidden, wanted, None));
            return;
        }
        self.rules.rates = Arc::new(rates);
        self.rates_at = Some(at);
    }

    /// Relations between partners, bidders and rates; faults go to `root`'s report.
    pub fn check(&self, root: &Table) {
        self.check_names(root);
        self.check_keys(root);
        let Rules { partners, bidders, rates, .. } = &self.rules;
        let check = |at: &Place, currency: Currency| {
            if !rates.knows(currency) {
                let found = Found::text(currency.as_str());
                root.add(at.of("currency").fault(found, "a currency that has a rate", None));
            }
        };
        for (bidder, at) in bidders.iter().zip(&self.bidders_at) {
            bidder.wire.currency.into_iter().for_each(|currency| check(at, currency));
        }
        for (partner, at) in partners.iter().zip(&self.partners_at) {
            check(at, partner.currency);
        }
        for (partner, at) in partners.iter().zip(&self.partners_at) {
            if partner.awards_by_answer && self.rules.issuer.is_none() {
                let wanted = "`upstream` where no event is taken: see `[events]`";
                root.add(at.of("win_notice").fault(Found::text("answer"), wanted, None));
            }
        }
        for (rule, at) in self.floors.iter().zip(&self.floors_at) {
            check(at, rule.level.currency);
        }
        let entries = self.floors.iter().map(FloorRule::entries).fold(0, usize::saturating_add);
        if entries > FLOOR_ENTRIES_MAX {
            let wanted = format!(
                "at most {FLOOR_ENTRIES_MAX} combinations of what rules name, and these are {entries}"
            );
            root.add(root.place("floors").fault(Found::Hidden, wanted, None));
        }
    }

    /// Whether each key is one partner's: with a shared one either could call as the other.
    fn check_keys(&self, root: &Table) {
        let mut owners = HashMap::new();
        for (partner, at) in self.rules.partners.iter().zip(&self.partners_at) {
            for hash in &partner.key_hashes {
                let (owner, first) = *owners.entry(hash).or_insert((&partner.name, at));
                if first == at {
                    continue;
                }
                let wanted = format!(
                    "keys of {:?} alone, and {first}, {owner:?}, has one of them too",
                    partner.name
                );
                root.add(at.of("keys").fault(Found::Hidden, wanted, None));
                break;
            }
        }
    }

    /// Whether the partners and bidders that are named exist.
    fn check_names(&self, root: &Table) {
        let Rules { partners, bidders, .. } = &self.rules;
        let names: Vec<&str> = self.names.partners.keys().map(String::as_str).collect();
        for (bidder, at) in bidders.iter().zip(&self.bidders_at) {
            let targeting = &bidder.targeting;
            let lists = [
                ("targeting.partners", &targeting.partners),
                ("targeting.partners_blocked", &targeting.partners_blocked),
            ];
            for (key, list) in lists {
                for name in list.iter().filter(|name| !self.names.partners.contains_key(*name)) {
                    let hint = nearest(name, &names);
                    root.add(at.of(key).fault(Found::text(name), "a partner's name", hint));
                }
            }
        }
        self.check_price_keys(root);
        let names: Vec<&str> = self.names.bidders.keys().map(String::as_str).collect();
        for (partner, at) in partners.iter().zip(&self.partners_at) {
            for (index, block) in partner.creatives_blocked.iter().enumerate() {
                let Some(name) = block.bidder.as_deref().filter(|name| !names.contains(name))
                else {
                    continue;
                };
                let at = at.of(&format!("creatives_blocked[{index}].bidder"));
                root.add(at.fault(Found::text(name), "a bidder's name", nearest(name, &names)));
            }
        }
    }

    /// Bidders with the same keys would read each other's prices.
    fn check_price_keys(&self, root: &Table) {
        let mut seen: Vec<(&PriceKeys, &Place)> = Vec::new();
        for (bidder, at) in self.rules.bidders.iter().zip(&self.bidders_at) {
            let Some(keys) = &bidder.notices.price_keys else { continue };
            if let Some((_, first)) = seen.iter().find(|(known, _)| *known == keys) {
                let wanted = format!("of its own, and {first} has the same two keys");
                root.add(at.of("notices.encryption_key").fault(Found::Hidden, wanted, None));
            }
            seen.push((keys, at));
        }
    }
}

/// Takes down an entry's name, whatever else is wrong with it; a second one is a fault.
fn take_name(taken: &mut HashMap<String, Place>, table: &Table, root: &Table, at: &Place) {
    let Some(name) = table.text("name") else { return };
    let Some(first) = taken.get(name) else {
        taken.insert(name.to_owned(), at.clone());
        return;
    };
    let wanted = format!("a name of its own, and {first} has it already");
    root.add(at.of("name").fault(Found::text(name), wanted, None));
}

/// `[rates]`: `base` and one rate a currency (how many units one unit of the base buys).
fn rates(root: &mut Table) -> Option<Rates> {
    let mut table = root.section("rates");
    let is_present = table.is_present();
    let base = table.parsed(
        "base",
        "an ISO 4217 code",
        "Currency that the rates are against. Default USD.",
        words::currency,
    );
    // a base that is no currency is one fault, and no reason for others
    let is_base_known = base.is_some() || !table.has("base");
    let base = base.unwrap_or_default();
    let mut per_base = table.section("per_base");
    let mut seen: Vec<(Currency, &str)> = Vec::new();
    let mut rates = Vec::new();
    let entries = per_base.entries(
        "CURRENCY",
        "number",
        RATE,
        "How many units of the currency of this ISO 4217 code one unit of `base` buys: `EUR = 0.92`.",
    );
    for (code, value) in entries {
        let at = per_base.place(code);
        let fault = |wanted: &str| {
            per_base.add(at.fault(told(code, value), wanted, None));
        };
        let Some(currency) = Currency::parse(code) else {
            per_base.add(at.fault(Found::Hidden, "named by an ISO 4217 code", None));
            continue;
        };
        if let Some((_, first)) = seen.iter().find(|(known, _)| *known == currency) {
            let first = per_base.place(first);
            fault(&format!("the only rate of {currency}, and {first} is one already"));
            continue;
        }
        seen.push((currency, code));
        let Some(rate) = rate(value) else {
            fault(RATE);
            continue;
        };
        #[expect(clippy::float_cmp, reason = "a rate of the base to itself is exactly 1")]
        if is_base_known && currency == base && rate != 1.0 {
            fault(&format!("1: {currency} is the base, by {}", table.place("base")));
            continue;
        }
        rates.push((currency, rate));
    }
    let as_of = table.moment(
        "as_of",
        "When the rates held. Older than 24 h they are complained of; older than `age_max`, or more than \
         24 h ahead, they are not used.",
    );
    let age_max = table.duration(
        "age_max",
        AGE_MAX,
        HOUR..=HOUR * 24 * 31,
        "Older rates convert nothing: only bids and floors of the auction's currency count.",
    );
    table.end();
    let rates = is_present.then(|| Rates::new(base, rates).ok()).flatten()?;
    Some(match as_of {
        Some(as_of) => rates.dated(as_of, age_max),
        None => rates,
    })
}

fn rate(value: &Value) -> Option<f64> {
    let rate = match value {
        Value::Float(rate) => *rate,
        #[expect(clippy::cast_precision_loss, reason = "a rate over 2^53 is refused below")]
        Value::Integer(rate) => *rate as f64,
        _ => return None,
    };
    (rate.is_finite() && (1e-9..=1e9).contains(&rate)).then_some(rate)
}
