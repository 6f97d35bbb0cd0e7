//! Which floor rule counts, and what soft floors do.

use super::fixture::{Case, banner, bid, cpm, currency, one_imp, price};
use gavel::auction::pricing::Pricing;
use gavel::auction::rules::{FloorIndex, FloorRule, Level};
use gavel::facts::Facts;
use gavel::money::margin::TakeRate;
use gavel::money::{Cpm, Currency};
use gavel::openrtb::ids::{Channel, Country, Media, PartnerId};
use gavel::partner::Margin;
use gavel::request::Size;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn rule(floor: f64) -> FloorRule {
    let level = Level { floor: cpm(floor), soft: None, currency: Currency::USD };
    FloorRule { level, ..FloorRule::default() }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|one| (*one).to_owned()).collect()
}

fn usa() -> Facts {
    Facts { country: Country::parse("USA"), devicetype: Some(4), ..Facts::default() }
}

/// The floor that counts for a banner of 300x250, in units; none: no rule fits.
fn found(rules: &[FloorRule], request: &Json) -> Option<String> {
    let mut request = request.clone();
    request["imp"] = json!([banner(&json!({}))]);
    let case = Case::new(&request, &[]);
    let index = FloorIndex::compile(rules, ["o", "p"].into_iter());
    let ruling = index.ask(&case.request, &usa(), PartnerId(1));
    let level = ruling.of(Media::Banner, Some(Size { w: 300, h: 250 }));
    level.map(|level| level.floor.to_string())
}

#[test]
fn the_most_specific_rule_that_fits_counts() {
    let asked = json!({ "site": { "domain": "a.news.example", "publisher": { "id": "p1" } } });
    let of = |change: fn(&mut FloorRule), floor| {
        let mut rule = rule(floor);
        change(&mut rule);
        rule
    };
    let country: fn(&mut FloorRule) = |rule| rule.countries = vec![Country(*b"USA")];
    let media: fn(&mut FloorRule) = |rule| rule.media = vec![Media::Banner];
    let publisher: fn(&mut FloorRule) = |rule| rule.publishers = strings(&["p0", "p1"]);
    let both: fn(&mut FloorRule) = |rule| {
        rule.channels = vec![Channel::Site];
        rule.devicetypes = vec![4];
    };
    let size: fn(&mut FloorRule) = |rule| rule.sizes = vec![(728, 90), (300, 250)];
    let domain: fn(&mut FloorRule) = |rule| rule.domains = strings(&["news.example"]);
    let longer: fn(&mut FloorRule) = |rule| rule.domains = strings(&["a.news.example"]);
    let elsewhere: fn(&mut FloorRule) =
        |rule| rule.domains = strings(&["ews.example", "b.news.example"]);
    let own: fn(&mut FloorRule) = |rule| rule.partner = Some("p".into());
    let anothers: fn(&mut FloorRule) = |rule| rule.partner = Some("o".into());
    let canada: fn(&mut FloorRule) = |rule| rule.countries = vec![Country(*b"CAN")];
    let any: fn(&mut FloorRule) = |_| ();
    for (rules, expected) in [
        (vec![], None),
        (vec![of(any, 1.0)], Some("1")),
        (vec![of(canada, 1.0)], None),
        (vec![of(any, 1.0), of(country, 2.0)], Some("2")),
        // more names before weightier ones
        (vec![of(publisher, 1.0), of(both, 2.0)], Some("2")),
        (vec![of(country, 1.0), of(media, 2.0)], Some("2")),
        (vec![of(media, 1.0), of(size, 2.0)], Some("2")),
        (vec![of(size, 1.0), of(domain, 2.0)], Some("2")),
        (vec![of(domain, 1.0), of(publisher, 2.0)], Some("2")),
        // the longer domain, then the first
        (vec![of(domain, 1.0), of(longer, 2.0)], Some("2")),
        (vec![of(elsewhere, 1.0)], None),
        (vec![of(country, 1.0), of(country, 2.0)], Some("1")),
        // a partner's own before all others, and never another's
        (vec![of(both, 1.0), of(own, 2.0)], Some("2")),
        (vec![of(anothers, 1.0)], None),
    ] {
        assert_eq!(found(&rules, &asked).as_deref(), expected, "{rules:?}");
    }
}

#[test]
fn a_page_names_its_domain_and_what_is_not_said_fits_no_rule() {
    let domains = FloorRule { domains: strings(&["news.example"]), ..rule(1.0) };
    let bundles = FloorRule { bundles: strings(&["com.news"]), ..rule(2.0) };
    let rules = [domains, bundles];
    for (request, expected) in [
        (json!({ "site": { "page": "https://www.News.example/x" } }), Some("1")),
        (json!({ "site": { "domain": "news.example." } }), Some("1")),
        (json!({ "site": { "domain": "other.example", "page": "https://news.example/" } }), None),
        (json!({ "site": {} }), None),
        (json!({ "app": { "bundle": "COM.news" } }), Some("2")),
        (json!({ "app": { "bundle": "com.newspaper" } }), None),
    ] {
        assert_eq!(found(&rules, &request).as_deref(), expected, "{request}");
    }
}

#[test]
fn a_rule_is_a_floor_of_the_publisher_s_for_all_but_deals() {
    let rules = vec![FloorRule { sizes: vec![(300, 250)], ..rule(2.0) }];
    let deals = json!({ "pmp": { "deals": [{ "id": "d", "bidfloor": 0.1 }] } });
    for (offer, expected) in [
        (price(1.999_999), "a/x below_floor"),
        (price(2.0), "1: a/x 2 USD"),
        (bid("x", "1", 0.1, &json!({ "dealid": "d" })), "1: a/x 0.1 USD"),
    ] {
        let mut case = one_imp(&json!({}), &deals, &[offer]);
        case.floors.clone_from(&rules);
        assert_eq!(case.outcome(), [expected]);
    }
    // in euros, of which one is two dollars, and marked up
    let mut case = one_imp(&json!({}), &json!({}), &[price(4.999), price(5.0)]);
    case.floors = rules;
    case.floors[0].level.currency = currency("EUR");
    case.partner.margin =
        Margin::new(TakeRate::from_percent(20.0).unwrap(), TakeRate::NONE, vec![]);
    assert_eq!(case.outcome(), ["1: b/x 5 USD", "a/x below_floor"]);
    assert_eq!(case.run().wins[0].net, cpm(4.0));
}

#[test]
fn a_rule_of_a_size_is_no_concern_of_other_media() {
    let vast = "<VAST version='4'><Ad id='1'></Ad></VAST>";
    let both = json!({ "video": { "mimes": ["x/y"] } });
    let video = |more: Json| {
        let mut video = json!({ "adm": vast, "mtype": 2 });
        video.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        bid("x", "1", 2.0, &video)
    };
    let of_size = |floor| FloorRule { sizes: vec![(300, 250)], ..rule(floor) };
    let of_video = |floor| FloorRule { media: vec![Media::Video], ..rule(floor) };
    let banner = price(2.0);
    let sized = json!({ "w": 300, "h": 250 });
    for (rules, offer, expected) in [
        // neither does a banner's floor let a video pass ...
        (vec![of_size(1.0), of_video(8.0)], video(json!({})), "a/x below_floor"),
        (vec![of_size(1.0), of_video(8.0)], video(sized.clone()), "a/x below_floor"),
        (vec![of_size(1.0), of_video(8.0)], banner.clone(), "1: a/x 2 USD"),
        // ... nor does it keep one out that reaches what was sent
        (vec![of_size(8.0), of_video(1.0)], video(json!({})), "1: a/x 2 USD"),
        (vec![of_size(8.0), of_video(1.0)], video(sized), "1: a/x 2 USD"),
        (vec![of_size(8.0), of_video(1.0)], banner, "a/x below_floor"),
    ] {
        let mut case = one_imp(&json!({}), &both, &[offer]);
        case.floors.clone_from(&rules);
        assert_eq!(case.outcome(), [expected], "{rules:?}");
    }
}

#[test]
fn bidders_are_told_the_lowest_floor_that_rules_have_for_what_an_imp_offers() {
    let rules = [
        rule(3.0),
        FloorRule { sizes: vec![(300, 250)], ..rule(2.0) },
        FloorRule { sizes: vec![(728, 90)], ..rule(1.0) },
    ];
    for (formats, expected) in [
        (json!([{ "w": 300, "h": 250 }]), "2"),
        (json!([{ "w": 300, "h": 250 }, { "w": 728, "h": 90 }]), "1"),
        (json!([{ "w": 300, "h": 600 }]), "3"),
    ] {
        let imp = banner(&json!({ "banner": { "format": formats } }));
        let case = Case::new(&json!({ "imp": [imp] }), &[]);
        let index = FloorIndex::compile(&rules, ["p"].into_iter());
        let ruling = index.ask(&case.request, &case.facts, PartnerId(0));
        let pricing = Pricing::new(&case.request, &case.partner, &case.rates, &ruling);
        let sent = pricing.sent_for(&case.request.view.imps[0], Currency::USD);
        assert_eq!(sent.unwrap().to_string(), expected, "{formats}");
    }
}

#[test]
fn below_a_soft_floor_a_bid_pays_itself_and_from_it_on_no_less_than_it() {
    for (at, prices, expected) in [
        // alone: itself, the soft floor, the soft floor
        (2, &[1.5][..], "1: a/x 1.5 USD"),
        (2, &[2.0], "1: a/x 2 USD"),
        (2, &[5.0], "1: a/x 2 USD"),
        // the next bid counts where it is higher
        (2, &[5.0, 1.5], "1: a/x 2 USD"),
        (2, &[5.0, 3.0], "1: a/x 3.01 USD"),
        (2, &[1.9, 1.5], "1: a/x 1.9 USD"),
        (2, &[2.0, 1.999], "1: a/x 2 USD"),
        (2, &[0.9], "a/x below_floor"),
        (1, &[5.0, 1.5], "1: a/x 5 USD"),
    ] {
        let each: Vec<_> = prices.iter().map(|p| price(*p)).collect();
        let mut case = one_imp(&json!({ "at": at }), &json!({}), &each);
        let level = Level { floor: cpm(1.0), soft: Some(cpm(2.0)), currency: Currency::USD };
        case.floors = vec![FloorRule { level, ..FloorRule::default() }];
        assert_eq!(case.outcome()[0], expected, "{at} {prices:?}");
    }
    // marked up like a floor: 2 is 2.5 with our margin
    let mut case = one_imp(&json!({ "at": 2 }), &json!({}), &[price(5.0)]);
    let level = Level { floor: cpm(1.0), soft: Some(cpm(2.0)), currency: Currency::USD };
    case.floors = vec![FloorRule { level, ..FloorRule::default() }];
    case.partner.margin =
        Margin::new(TakeRate::from_percent(20.0).unwrap(), TakeRate::NONE, vec![]);
    let win = case.run().wins[0];
    assert_eq!((win.clearing, win.net), (cpm(2.5), cpm(2.0)));
}

/// None to two of a list.
fn some<T: Clone + std::fmt::Debug + 'static>(
    list: &[T],
) -> impl Strategy<Value = Vec<T>> + use<T> {
    prop::sample::subsequence(list.to_vec(), 0..=list.len().min(2))
}

fn any_rule() -> impl Strategy<Value = FloorRule> {
    let names = (
        some(&strings(&["p1", "p2"])),
        some(&strings(&["com.a", "com.b"])),
        some(&strings(&["example", "a.example", "b.a.example"])),
        some(&[(300, 250), (728, 90)]),
    );
    let more = (
        some(&[Media::Banner, Media::Video]),
        some(&[Country(*b"USA"), Country(*b"CAN")]),
        some(&[2u8, 4]),
        some(&[Channel::Site, Channel::App]),
    );
    let partner = prop_oneof![Just(None), Just(Some("p".to_owned())), Just(Some("o".to_owned()))];
    (partner, names, more, 1u8..100).prop_map(|(partner, names, more, floor)| FloorRule {
        partner,
        publishers: names.0,
        bundles: names.1,
        domains: names.2,
        sizes: names.3,
        media: more.0,
        countries: more.1,
        devicetypes: more.2,
        channels: more.3,
        ..rule(f64::from(floor))
    })
}

/// What a request and an ad are, as rules see it.
#[derive(Debug)]
struct Shown {
    publisher: &'static str,
    bundle: &'static str,
    domain: &'static str,
    size: Option<(u32, u32)>,
    media: Media,
    facts: Facts,
}

/// The rule that counts, by the words of `rules` alone: each in turn, all of its names.
fn naive(rules: &[FloorRule], shown: &Shown) -> Option<Cpm> {
    let channel = if shown.bundle.is_empty() { Channel::Site } else { Channel::App };
    let suffix = |list: &[String]| {
        let covers = |one: &&String| {
            shown.domain == one.as_str() || shown.domain.ends_with(&format!(".{one}"))
        };
        list.iter().filter(covers).map(String::len).max()
    };
    let fits = |rule: &&FloorRule| {
        let has =
            |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
        has(&rule.publishers, shown.publisher)
            && has(&rule.bundles, shown.bundle)
            && (rule.domains.is_empty() || suffix(&rule.domains).is_some())
            && (rule.sizes.is_empty() || shown.size.is_some_and(|size| rule.sizes.contains(&size)))
            && (rule.media.is_empty() || rule.media.contains(&shown.media))
            && (rule.countries.is_empty()
                || shown.facts.country.is_some_and(|one| rule.countries.contains(&one)))
            && (rule.devicetypes.is_empty()
                || shown.facts.devicetype.is_some_and(|one| rule.devicetypes.contains(&one)))
            && (rule.channels.is_empty() || rule.channels.contains(&channel))
            && rule.partner.as_deref().is_none_or(|one| one == "p")
    };
    let order = |rule: &FloorRule| {
        let named = [
            !rule.publishers.is_empty(),
            !rule.bundles.is_empty(),
            !rule.domains.is_empty(),
            !rule.sizes.is_empty(),
            !rule.media.is_empty(),
            !rule.countries.is_empty(),
            !rule.devicetypes.is_empty(),
            !rule.channels.is_empty(),
        ];
        let count = named.iter().filter(|is_named| **is_named).count();
        (rule.partner.is_some(), count, named, suffix(&rule.domains))
    };
    // of equals the first: `max_by_key` gives the last
    rules.iter().rev().filter(fits).max_by_key(|rule| order(rule)).map(|rule| rule.level.floor)
}

proptest! {
    #[test]
    fn the_index_finds_what_reading_all_rules_finds(
        rules in prop::collection::vec(any_rule(), 0..12),
        publisher in prop::sample::select(vec!["", "p1", "p2", "p3"]),
        (is_app, bundle) in (any::<bool>(), prop::sample::select(vec!["com.a", "com.c"])),
        domain in prop::sample::select(vec!["", "example", "x.a.example", "c.b.a.example", "b.example"]),
        (w, is_video) in (prop::sample::select(vec![300u32, 728, 1]), any::<bool>()),
        country in prop::sample::select(vec!["USA", "CAN", "MEX", ""]),
        devicetype in prop::sample::select(vec![None, Some(2u8), Some(4)]),
    ) {
        let (bundle, domain) = if is_app { (bundle, "") } else { ("", domain) };
        let inventory = json!({ "publisher": { "id": publisher }, "bundle": bundle, "domain": domain });
        let request = json!({ if is_app { "app" } else { "site" }: inventory, "imp": [banner(&json!({}))] });
        let case = Case::new(&request, &[]);
        let facts = Facts { country: Country::parse(country), devicetype, ..Facts::default() };
        let media = if is_video { Media::Video } else { Media::Banner };
        let size = (w > 1).then_some((w, if w == 300 { 250 } else { 90 }));
        let shown = Shown { publisher, bundle, domain, size, media, facts };
        let index = FloorIndex::compile(&rules, ["p"].into_iter());
        let ruling = index.ask(&case.request, &shown.facts, PartnerId(0));
        let level = ruling.of(media, size.map(|(w, h)| Size { w, h }));
        prop_assert_eq!(level.map(|level| level.floor), naive(&rules, &shown), "{:?}", shown);
    }
}
