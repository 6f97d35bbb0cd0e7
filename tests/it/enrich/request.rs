//! Facts of requests: which address counts, whose word stands, who is turned away.

use super::{SUMMER, WINTER, databases};
use crate::auction::fixture::partner;
use bytes::Bytes;
use gavel::admit::limits::Limits;
use gavel::admit::{Scratch, admit};
use gavel::arrival::Body;
use gavel::enrich::databases::Databases;
use gavel::enrich::{EnrichScratch, EnrichSettings, facts, traffic};
use gavel::facts::Facts;
use gavel::money::{Currency, Rates};
use gavel::negatives::refusal::Refusal;
use gavel::partner::{BlockList, TrafficBlocks};
use gavel::request::ValidRequest;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

fn request(device: &Value, site: &Value) -> ValidRequest {
    let body = json!({
        "id": "r",
        "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}],
        "site": site,
        "device": device,
    });
    let limits = Limits::default();
    let rates = Rates::new(Currency::USD, []).unwrap();
    let body = Body(Bytes::from(body.to_string()));
    let mut scratch = Scratch::new(&limits);
    admit(body, &partner(), &limits, &rates, &mut scratch).unwrap().request
}

fn scratch() -> EnrichScratch {
    EnrichScratch::new(&EnrichSettings::default())
}

fn look(databases: &Databases, device: &Value) -> (ValidRequest, Facts) {
    let request = request(device, &json!({"domain": "a.example"}));
    let facts = facts(&request, None, databases, &mut scratch(), WINTER);
    (request, facts)
}

/// What would be added, as an object.
fn geo_members(request: &ValidRequest, facts: &Facts) -> Value {
    let members: Vec<&str> = facts.geo_members(request).map(|(_, text)| text).collect();
    serde_json::from_str(&format!("{{{}}}", members.join(","))).unwrap()
}

fn device_members(request: &ValidRequest, facts: &Facts) -> Value {
    let members: Vec<&str> = facts.device_members(request).map(|(_, text)| text).collect();
    serde_json::from_str(&format!("{{{}}}", members.join(","))).unwrap()
}

/// An address whose facts name a city in a country with regions, on a line of a kind.
fn address_of(databases: &Databases, want: impl Fn(&gavel::facts::Geo) -> bool) -> IpAddr {
    (0..512_u32)
        .map(|nth| IpAddr::V4((0xc612_0007 + (nth << 8)).into()))
        .find(|address| want(&databases.geo.find(*address).decode(WINTER)))
        .unwrap()
}

const PHONE: &str = "Mozilla/5.0 (Linux; Android 13; SM-S911B) AppleWebKit/537.36 \
                     (KHTML, like Gecko) Chrome/121.0.0.0 Mobile Safari/537.36";

#[test]
fn an_empty_device_is_filled_whole() {
    let databases = databases();
    let ip = address_of(&databases, |geo| geo.metro.is_some() && geo.is_fixed_line);
    let (request, facts) = look(&databases, &json!({"ip": ip.to_string(), "ua": PHONE}));
    assert_eq!(facts.address, Some(ip));
    assert_eq!(facts.country.unwrap().as_str(), "USA");
    assert_eq!(facts.devicetype, Some(4));
    let geo = geo_members(&request, &facts);
    for key in ["region", "city", "zip", "metro"] {
        assert!(geo[key].is_string(), "{geo}");
    }
    assert_eq!(geo["country"], "USA");
    assert_eq!((&geo["type"], &geo["ipservice"]), (&json!(2), &json!(3)), "{geo}");
    assert_eq!(geo["accuracy"], 10_000);
    assert!(geo["lat"].is_f64() && geo["lon"].is_f64() && geo["utcoffset"].is_i64(), "{geo}");
    let device = device_members(&request, &facts);
    assert_eq!(device["carrier"], "Example Broadband US");
    // a handset behind a fixed line is on WiFi
    assert_eq!(device["connectiontype"], 2);
    assert_eq!(device["make"], "Samsung");
    assert_eq!(device["model"], "SM-S911B");
    assert_eq!((&device["os"], &device["osv"]), (&json!("Android"), &json!("13")));
}

#[test]
fn the_publishers_word_stands() {
    let databases = databases();
    let ip = address_of(&databases, |geo| geo.metro.is_some());
    let with = |geo: Value| {
        let (request, facts) = look(&databases, &json!({"ip": ip.to_string(), "geo": geo}));
        (geo_members(&request, &facts), facts)
    };
    // a position is one thought: no half of it
    for own in
        [json!({"lat": 1.5}), json!({"lon": 1.5}), json!({"type": 2}), json!({"accuracy": 9})]
    {
        let (added, _) = with(own);
        let is_clean =
            ["lat", "lon", "type", "ipservice", "accuracy"].iter().all(|key| added[key].is_null());
        assert!(is_clean && added["city"].is_string(), "{added}");
    }
    // what a device or a user said is finer than an address: only the country is added
    for kind in [1, 3] {
        let (added, _) = with(json!({"lat": 1.5, "lon": 1.5, "type": kind}));
        assert_eq!(added, json!({"country": "USA"}));
    }
    // another country is another place
    let (added, facts) = with(json!({"country": "DEU"}));
    assert_eq!(added, json!({}));
    assert_eq!(facts.country.unwrap().as_str(), "DEU");
    // the same country, in any letter case, is the same place
    let (added, _) = with(json!({"country": "usa"}));
    assert!(added["city"].is_string() && added["lat"].is_f64() && added["country"].is_null());
    // another region: no town of ours in it
    let (added, _) = with(json!({"country": "USA", "region": "ZZ"}));
    assert_eq!(added, json!({}));
    // another local time contradicts nothing, and stays
    let (added, _) = with(json!({"utcoffset": 7}));
    assert!(added["utcoffset"].is_null() && added["city"].is_string(), "{added}");
    // even a null is not written beside
    let (added, _) = with(json!({"city": null, "zip": null}));
    assert!(added["city"].is_null() && added["zip"].is_null(), "{added}");
}

#[test]
fn a_model_is_not_given_to_another_maker() {
    let databases = databases();
    let with = |more: Value| {
        let mut device = json!({"ua": PHONE});
        device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (request, facts) = look(&databases, &device);
        device_members(&request, &facts)
    };
    let other = with(json!({"make": "Apple", "os": "iOS"}));
    assert_eq!(other, json!({"devicetype": 4}));
    let same = with(json!({"make": "samsung", "os": "ANDROID"}));
    assert_eq!(same, json!({"devicetype": 4, "model": "SM-S911B", "osv": "13"}));
}

#[test]
fn the_address_of_the_user_counts_not_that_of_the_caller() {
    let databases = databases();
    let client: IpAddr = "198.18.9.9".parse().unwrap();
    let address = |device: Value, client: Option<IpAddr>| {
        let request = request(&device, &json!({}));
        let facts = facts(&request, client, &databases, &mut scratch(), WINTER);
        (facts.address.map(|address| address.to_string()), facts.geo.is_some())
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(address(json!({}), Some(client)), (text("198.18.9.9"), true));
    assert_eq!(address(json!({}), None), (None, false));
    // what a client writes of itself counts less than where it was seen, if that tells anything
    assert_eq!(address(json!({"ip": "192.0.2.9"}), Some(client)), (text("198.18.9.9"), true));
    assert_eq!(address(json!({"ip": "10.1.1.1"}), Some(client)), (text("198.18.9.9"), true));
    let both = json!({"ip": "192.168.1.1", "ipv6": "2001:db8::9"});
    for unseen in [None, Some("10.9.9.9".parse().unwrap())] {
        assert_eq!(address(json!({"ip": "192.0.2.9"}), unseen), (text("192.0.2.9"), true));
        assert_eq!(address(both.clone(), unseen), (text("2001:db8::9"), true));
        // a private user is an unknown one
        assert_eq!(address(json!({"ip": "10.1.1.1"}), unseen), (text("10.1.1.1"), false));
    }
    let mapped = json!({"ipv6": "::ffff:192.0.2.9"});
    assert_eq!(address(mapped, None), (text("192.0.2.9"), true));
}

#[test]
fn caches_give_what_the_databases_give() {
    let databases = databases();
    let mut scratch =
        EnrichScratch::new(&EnrichSettings { geo_cache_entries: 4, device_cache_entries: 16 });
    let requests: Vec<ValidRequest> = (0..300_u32)
        .map(|nth| {
            let ip = IpAddr::V4((0xc612_0000 + (nth % 97) * 0x301).into()).to_string();
            let ua = PHONE.replace("13", &(nth % 31).to_string());
            request(&json!({"ip": ip, "ua": ua}), &json!({}))
        })
        .collect();
    for request in requests.iter().chain(&requests) {
        let cached = facts(request, None, &databases, &mut scratch, WINTER);
        let fresh = facts(request, None, &databases, &mut self::scratch(), WINTER);
        assert_eq!(cached.geo, fresh.geo);
        assert_eq!(cached.device, fresh.device);
    }
    // a hit is the same allocation; other databases, or another hour, are another look-up
    let again = |scratch: &mut EnrichScratch, databases: &Databases, wall| {
        facts(&requests[0], None, databases, scratch, wall).geo.unwrap()
    };
    let mut scratch = self::scratch();
    let first = again(&mut scratch, &databases, WINTER);
    assert!(Arc::ptr_eq(&first, &again(&mut scratch, &databases, WINTER)));
    let summer = again(&mut scratch, &databases, SUMMER);
    assert!(!Arc::ptr_eq(&first, &summer));
    let fewer = super::settings();
    let fewer = Databases::open(&gavel::enrich::databases::DatabaseSettings { isp: None, ..fewer })
        .unwrap();
    assert!(again(&mut scratch, &fewer, SUMMER).isp.is_none());
}

#[test]
fn the_hour_of_a_zone_follows_the_season() {
    let databases = databases();
    let ip = address_of(&databases, |geo| geo.city.as_deref() == Some("New York"));
    let offset = |wall| databases.geo.find(ip).decode(wall).utcoffset_min;
    assert_eq!((offset(WINTER), offset(SUMMER)), (Some(-300), Some(-240)));
}

#[test]
fn unwanted_traffic_is_refused_where_a_rule_says_so() {
    let databases = databases();
    let hosting = address_of(&databases, |geo| geo.is_hosting).to_string();
    let hidden = address_of(&databases, |geo| geo.is_anonymous).to_string();
    let list = |name: &str| BlockList::new([name.to_owned()]);
    let bots = TrafficBlocks { bots: true, ..TrafficBlocks::default() };
    let centers = TrafficBlocks { data_centers: true, ..TrafficBlocks::default() };
    let anonymous = TrafficBlocks { anonymous: true, ..TrafficBlocks::default() };
    let domains = TrafficBlocks { domains: list("Bad.Example"), ..TrafficBlocks::default() };
    let publishers = TrafficBlocks { publishers: list("P-1"), ..TrafficBlocks::default() };
    let bot = json!({"ua": "Mozilla/5.0 (compatible; Googlebot/2.1)"});
    let plain = json!({"ua": PHONE, "ip": "198.18.0.1"});
    let site = json!({"domain": "good.example", "publisher": {"id": "p-1"}});
    let page = json!({"page": "https://x.BAD.example:443/p?q"});
    let sub = json!({"domain": "www.bad.example"});
    for (device, site, blocks, expected) in [
        (&bot, &site, &bots, Err(Refusal::KnownSpider)),
        (&bot, &site, &centers, Ok(())),
        (&plain, &site, &bots, Ok(())),
        (&json!({"ip": hosting}), &site, &centers, Err(Refusal::DataCenter)),
        (&json!({"ip": hosting}), &site, &anonymous, Ok(())),
        (&json!({"ip": hidden}), &site, &anonymous, Err(Refusal::DataCenter)),
        (&json!({"ip": hidden}), &site, &centers, Ok(())),
        (&plain, &sub, &domains, Err(Refusal::BlockedInventory)),
        (&plain, &page, &domains, Err(Refusal::BlockedInventory)),
        (&plain, &site, &domains, Ok(())),
        (&plain, &site, &publishers, Err(Refusal::BlockedInventory)),
    ] {
        let request = request(device, site);
        let facts = facts(&request, None, &databases, &mut scratch(), WINTER);
        let mut partner = partner();
        partner.blocks = blocks.clone();
        assert_eq!(traffic(&request, &facts, &partner), expected, "{device} {site} {blocks:?}");
    }
}
