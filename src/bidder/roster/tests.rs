//! The index against a loop over bidders that knows nothing of it, and cases for single rules.

#![expect(clippy::indexing_slicing, reason = "a test may fail")]

use super::{Ask, Roster, RosterScratch, RosterSettings};
use crate::auction::pricing::Pricing;
use crate::auction::rules::NO_RULES;
use crate::bidder::fixture::{self, Dice};
use crate::bidder::{Bidder, ImpSet, OpenRtbVersion};
use crate::facts::Facts;
use crate::money::Cpm;
use crate::negatives::not_called::NotCalled;
use crate::openrtb::ids::{BidderId, Channel, Country, Media, PartnerId};
use crate::partner::Partner;
use crate::privacy::{PrivacySettings, decide};
use proptest::prelude::*;
use serde_json::{Value, json};

const COUNTRIES: &[&str] = &["USA", "DEU", "FRA"];
const REGIONS: &[&str] = &["CA", "NY", "BY"];
const OS: &[&str] = &["ios", "android", "tizen"];
const NAMES: &[&str] = &["a", "b", "c"];
const DOMAINS: &[&str] = &["x.example", "a.x.example", "y.example", "example"];
const BUNDLES: &[&str] = &["com.a", "com.b", "123"];
const SEATS: &[&str] = &["s1", "s2", "s3"];
const SIZES: [(u32, u32); 3] = [(300, 250), (728, 90), (320, 50)];

fn bidder(dice: &mut Dice) -> Bidder {
    let mut bidder = fixture::bidder(OpenRtbVersion::V26);
    let country = |dice: &mut Dice| Country::parse(dice.pick(COUNTRIES)).unwrap();
    let countries = |names: Vec<String>| names.iter().filter_map(|n| Country::parse(n)).collect();
    let own = &mut bidder.targeting;
    own.channels = Channel::ALL.into_iter().filter(|_| dice.one_in(6)).collect();
    own.media = Media::ALL.into_iter().filter(|_| dice.one_in(3)).collect();
    own.sizes = SIZES.into_iter().filter(|_| dice.one_in(6)).collect();
    own.countries = countries(dice.some(COUNTRIES));
    own.countries_blocked = countries(dice.some(COUNTRIES));
    if dice.one_in(5) {
        own.regions = vec![(country(dice), dice.pick(REGIONS).to_owned())];
    }
    own.devicetypes = [2, 4, 5].into_iter().filter(|_| dice.one_in(6)).collect();
    own.os = dice.some(OS);
    own.partners = dice.some(NAMES);
    own.partners_blocked = dice.some(NAMES);
    own.publishers = dice.some(NAMES);
    own.publishers_blocked = dice.some(NAMES);
    own.domains = dice.some(DOMAINS);
    own.domains_blocked = dice.some(DOMAINS);
    own.bundles = dice.some(BUNDLES);
    own.bundles_blocked = dice.some(BUNDLES);
    own.deals = dice.some(NAMES);
    own.is_deal_only = dice.one_in(8);
    own.is_consent_needed = dice.one_in(6);
    own.is_matched_only = dice.one_in(6);
    own.eid_sources = dice.some(NAMES);
    bidder.wire.buyeruid_source = dice.one_in(3).then(|| dice.pick(NAMES).to_owned());
    own.floor_ceiling =
        dice.one_in(4).then(|| Cpm::from_micros(i64::try_from(dice.roll(5)).unwrap() * 500_000));
    bidder.seats.allowed = dice.some(SEATS);
    bidder.seats.blocked = dice.some(SEATS);
    bidder
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn imp(dice: &mut Dice, id: u64) -> Value {
    let mut imp = json!({"id": id.to_string(), "bidfloor": dice.roll(5) as f64 / 2.0});
    if dice.one_in(2) {
        imp["bidfloorcur"] = "EUR".into();
    }
    let has_banner = dice.one_in(2);
    if has_banner {
        let sizes = SIZES.into_iter().filter(|_| dice.one_in(2));
        let format: Vec<Value> = sizes.map(|(w, h)| json!({"w": w, "h": h})).collect();
        imp["instl"] = u8::from(format.is_empty()).into();
        imp["banner"] = if format.is_empty() { json!({}) } else { json!({"format": format}) };
    }
    if !has_banner || dice.one_in(3) {
        imp["video"] = json!({"mimes": ["video/mp4"]});
    }
    if dice.one_in(2) {
        let mut deals: Vec<Value> = Vec::new();
        for id in NAMES {
            if dice.one_in(2) {
                let floor = dice.roll(5) as f64 / 2.0;
                deals.push(json!({"id": id, "bidfloor": floor, "wseat": dice.some(SEATS)}));
            }
        }
        imp["pmp"] = json!({"private_auction": dice.roll(2), "deals": deals});
    }
    imp
}

fn request(dice: &mut Dice) -> Value {
    let imps: Vec<Value> = (0..=dice.roll(3)).map(|id| imp(dice, id)).collect();
    let place = json!({
        "domain": dice.pick(&["", "X.example.", "b.a.x.example", " y.example", "z.invalid"]),
        "bundle": dice.pick(&["", "com.a", "COM.B"]),
        "page": dice.pick(&["https://u@A.x.example:8080/p?q", "https://y.example", "c.z.invalid/p", ""]),
        "publisher": {"id": dice.pick(&["", "a", "b", "d"])},
    });
    json!({
        "id": "r", "imp": imps, (dice.pick(&["site", "app", "dooh"])): place,
        "device": {
            "os": dice.pick(&["", "iOS", "android", "Fuchsia"]),
            "geo": {"region": dice.pick(&["", "ca", "US-NY", "BY"])},
        },
        "user": {
            "buyeruid": dice.pick(&["", "", "u"]),
            "eids": dice.some(&["a", "B", "c", "C"]).iter()
                .map(|source| json!({"source": source, "uids": [{"id": "1"}]}))
                .collect::<Vec<_>>(),
        },
        "regs": {"coppa": u8::from(dice.one_in(4))},
        "wseat": dice.some(SEATS), "bseat": dice.some(SEATS),
    })
}

/// One bidder at a time, from the JSON; no word of it is shared with the index.
struct Naive<'a> {
    request: &'a Value,
    facts: &'a Facts,
    partner: &'a Partner,
}

impl Naive<'_> {
    fn judge(&self, bidder: &Bidder) -> Result<u64, NotCalled> {
        let own = &bidder.targeting;
        let listed = |allow: &[String], block: &[String], value: &str| {
            let is_in = |list: &[String]| list.iter().any(|one| one == value);
            (allow.is_empty() || is_in(allow)) && !is_in(block)
        };
        let check = |is_good: bool, reason| if is_good { Ok(()) } else { Err(reason) };
        let channel =
            ["site", "app", "dooh"].iter().position(|name| self.request[*name].is_object());
        let channel = Channel::ALL[channel.unwrap()];
        let place = &self.request[channel.label()];
        let text = |value: &Value| value.as_str().unwrap().to_lowercase();
        check(
            listed(&own.partners, &own.partners_blocked, &self.partner.name),
            NotCalled::Partner,
        )?;
        check(own.channels.is_empty() || own.channels.contains(&channel), NotCalled::Channel)?;
        check(self.is_country(bidder), NotCalled::Country)?;
        let devicetype = self.facts.devicetype;
        let is_type = devicetype.is_some_and(|one| own.devicetypes.contains(&one));
        check(own.devicetypes.is_empty() || is_type, NotCalled::DeviceType)?;
        check(listed(&own.os, &[], &text(&self.request["device"]["os"])), NotCalled::Os)?;
        let publisher = place["publisher"]["id"].as_str().unwrap();
        check(listed(&own.publishers, &own.publishers_blocked, publisher), NotCalled::Publisher)?;
        let page = match place["page"].as_str().unwrap() {
            "" => "",
            page if page.contains("x.example") => "a.x.example",
            page if page.contains("y.example") => "y.example",
            _ => "c.z.invalid",
        };
        let domain = match text(&place["domain"]) {
            empty if empty.is_empty() => page.to_owned(),
            domain => domain.trim_matches(['.', ' ']).to_owned(),
        };
        let bundle = text(&place["bundle"]);
        let covers = |list: &[String], domain: &str| {
            list.iter().any(|one| domain == *one || domain.ends_with(&format!(".{one}")))
        };
        let is_free = own.domains.is_empty() && own.bundles.is_empty();
        let is_allowed = is_free || covers(&own.domains, &domain) || own.bundles.contains(&bundle);
        let is_blocked = covers(&own.domains_blocked, &domain)
            || covers(&own.domains_blocked, page)
            || own.bundles_blocked.contains(&bundle);
        check(is_allowed && !is_blocked, NotCalled::Inventory)?;
        check(!own.is_consent_needed || self.request["regs"]["coppa"] == 0, NotCalled::Privacy)?;
        check(!own.is_matched_only || self.is_known(bidder), NotCalled::UnmatchedUser)?;
        let (wanted, blocked) = (strings(&self.request["wseat"]), strings(&self.request["bseat"]));
        check(Self::has_seat(bidder, &wanted, &blocked), NotCalled::Seat)?;
        self.imps(bidder)
    }

    fn is_country(&self, bidder: &Bidder) -> bool {
        let own = &bidder.targeting;
        let Some(country) = self.facts.country else {
            return own.countries.is_empty() && own.regions.is_empty();
        };
        let of_country: Vec<&String> =
            own.regions.iter().filter(|(c, _)| *c == country).map(|(_, region)| region).collect();
        let region = self.request["device"]["geo"]["region"].as_str().unwrap().to_uppercase();
        let region = region.rsplit('-').next().unwrap();
        let is_named = own.countries.contains(&country) || !of_country.is_empty();
        let is_free = own.countries.is_empty() && own.regions.is_empty();
        (is_free || is_named)
            && (of_country.is_empty() || of_country.iter().any(|one| *one == region))
            && !own.countries_blocked.contains(&country)
    }

    fn is_known(&self, bidder: &Bidder) -> bool {
        let user = &self.request["user"];
        let eids = user["eids"].as_array().unwrap().iter();
        let mut sources = eids.filter_map(|eid| eid["source"].as_str());
        self.request["regs"]["coppa"] == 0
            && (user["buyeruid"] != "" && bidder.wire.buyeruid_source.is_none()
                || sources.any(|one| {
                    let mut own = bidder.targeting.eid_sources.iter();
                    own.any(|own| *own == one.to_lowercase())
                }))
    }

    /// `"*"` stands for a seat that nobody names.
    fn has_seat(bidder: &Bidder, wanted: &[&str], blocked: &[&str]) -> bool {
        SEATS.iter().chain(&["*"]).any(|seat| {
            let (allowed, own_blocked) = (&bidder.seats.allowed, &bidder.seats.blocked);
            (allowed.is_empty() || allowed.iter().any(|one| one == seat))
                && !own_blocked.iter().any(|one| one == seat)
                && (wanted.is_empty() || wanted.contains(seat))
                && !blocked.contains(seat)
        })
    }

    fn imps(&self, bidder: &Bidder) -> Result<u64, NotCalled> {
        type Rule = fn(&Naive<'_>, &Bidder, &Value) -> bool;
        let rules: [(Rule, NotCalled); 4] = [
            (|_, bidder, imp| Self::media(bidder, imp).count() > 0, NotCalled::Media),
            (|_, bidder, imp| Self::is_size(bidder, imp), NotCalled::Size),
            (|_, bidder, imp| Self::is_deal(bidder, imp), NotCalled::DealOnly),
            (|naive, bidder, imp| naive.is_cheap(bidder, imp), NotCalled::FloorCeiling),
        ];
        let imps = self.request["imp"].as_array().unwrap();
        let mut left: Vec<usize> = (0..imps.len()).collect();
        for (rule, reason) in rules {
            left.retain(|at| rule(self, bidder, &imps[*at]));
            if left.is_empty() {
                return Err(reason);
            }
        }
        Ok(left.iter().map(|at| 1u64 << at).sum())
    }

    fn media<'v>(bidder: &'v Bidder, imp: &'v Value) -> impl Iterator<Item = Media> + 'v {
        let own = bidder.targeting.media;
        Media::ALL
            .into_iter()
            .filter(|media| imp[media.label()].is_object())
            .filter(move |media| own.is_empty() || own.contains(*media))
    }

    fn is_size(bidder: &Bidder, imp: &Value) -> bool {
        let Some(format) = imp["banner"]["format"].as_array() else { return true };
        let is_listed = format.iter().any(|one| {
            let side = |name| u32::try_from(one[name].as_u64().unwrap()).unwrap();
            bidder.targeting.sizes.contains(&(side("w"), side("h")))
        });
        let buys_other = Self::media(bidder, imp).any(|media| media != Media::Banner);
        bidder.targeting.sizes.is_empty() || is_listed || buys_other
    }

    fn is_deal(bidder: &Bidder, imp: &Value) -> bool {
        let own = &bidder.targeting;
        let is_private = imp["pmp"]["private_auction"] == 1;
        let mut deals = imp["pmp"]["deals"].as_array().into_iter().flatten();
        let has_deal = deals.any(|deal| {
            let is_ours = own.deals.is_empty() || own.deals.iter().any(|one| deal["id"] == **one);
            let wanted = strings(&deal["wseat"]);
            is_ours && (wanted.is_empty() || Self::has_seat(bidder, &wanted, &[]))
        });
        has_deal || !(is_private || own.is_deal_only)
    }

    fn is_cheap(&self, bidder: &Bidder, imp: &Value) -> bool {
        let Some(ceiling) = bidder.targeting.floor_ceiling else { return true };
        let ceiling = ceiling.micros() as f64 / 1e6;
        let rate = if imp["bidfloorcur"] == "EUR" { 2.0 } else { 1.0 };
        // A partner's floor is in USD here, a deal's too: it has no currency of its own.
        let own = imp["bidfloor"].as_f64().unwrap() * rate;
        let own = own.max(self.partner.floor.micros() as f64 / 1e6);
        let deals = imp["pmp"]["deals"].as_array().into_iter().flatten();
        let floor = |deal: &Value| deal["bidfloor"].as_f64().filter(|floor| *floor > 0.0);
        let mut floors: Vec<f64> = deals.map(|deal| floor(deal).unwrap_or(own)).collect();
        if imp["pmp"]["private_auction"] != 1 {
            floors.push(own);
        }
        floors.iter().any(|floor| *floor <= ceiling)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_index_judges_as_a_loop_over_bidders_does(seed in any::<u64>(), count in 1usize..150) {
        let mut dice = Dice(seed);
        let bidders: Vec<Bidder> = (0..count).map(|_| bidder(&mut dice)).collect();
        let floor = Cpm::from_micros(i64::try_from(dice.roll(3)).unwrap() * 500_000);
        let partners: Vec<Partner> = NAMES
            .iter()
            .map(|name| Partner { name: (*name).into(), floor, ..fixture::partner() })
            .collect();
        let roster = Roster::compile(&bidders, &partners, RosterSettings::default());
        let mut scratch = RosterScratch::default();
        for _ in 0..4 {
            let json = request(&mut dice);
            let read = fixture::read(&json.to_string()).unwrap();
            let partner = u16::try_from(dice.roll(3)).unwrap();
            let facts = Facts {
                country: Country::parse(dice.pick(&["", "USA", "DEU", "JPN"])),
                devicetype: [None, Some(2), Some(4)][usize::try_from(dice.roll(3)).unwrap()],
                ..Facts::default()
            };
            let rates = fixture::rates();
            let own = &partners[usize::from(partner)];
            let pricing = Pricing::new(&read, own, &rates, &NO_RULES);
            let ask = Ask {
                request: &read,
                facts: &facts,
                consent: decide(&read, &facts, &PrivacySettings::new(Vec::new())),
                partner: PartnerId(partner),
                pricing: &pricing,
            };
            let naive =
                Naive { request: &json, facts: &facts, partner: &partners[usize::from(partner)] };
            let roll = roster.eligible(&ask, &mut scratch);
            prop_assert_eq!(roll.invitations.len() + roll.not_called.len(), count);
            for (at, bidder) in bidders.iter().enumerate() {
                let id = BidderId(u16::try_from(at).unwrap());
                let invited = roll.invitations.iter().find(|one| one.bidder == id);
                let reason = roll.not_called.iter().find(|(one, _)| *one == id);
                let got = invited.map(|one| one.imps).ok_or_else(|| reason.unwrap().1);
                let expected = naive.judge(bidder).map(ImpSet);
                prop_assert_eq!(got, expected, "{}\n{:?}\n{:?}", json, bidder, facts);
            }
        }
    }
}
