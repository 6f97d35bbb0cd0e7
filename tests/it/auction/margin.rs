//! What we keep of a price: of which, and what floors become by it.

use super::fixture::{Case, banner, bid, bids, cpm, currency, one_imp, pmp, price};
use gavel::auction::pricing::Pricing;
use gavel::auction::rules::NO_RULES;
use gavel::exchange::explain::{BidderStory, Call, Explanation, explain};
use gavel::facts::Facts;
use gavel::money::margin::TakeRate;
use gavel::money::{Cpm, CpmPerSecond, Currency, Rates};
use gavel::openrtb::ids::BidderId;
use gavel::partner::{DealTerm, DealTerms, Margin};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::time::Duration;

fn rate(percent: f64) -> TakeRate {
    TakeRate::from_percent(percent).unwrap()
}

/// `clearing net` of the only win.
fn sold(case: &Case) -> String {
    let result = case.run();
    assert_eq!(result.wins.len(), 1, "{:?}", case.outcome());
    format!("{} {}", result.wins[0].clearing, result.wins[0].net)
}

#[test]
fn the_partner_gets_what_is_left_of_the_clearing_price() {
    for (at, expected) in [(1, "2 1.7"), (2, "1.01 0.8585")] {
        let mut case = one_imp(&json!({ "at": at }), &json!({}), &[price(2.0), price(1.0)]);
        case.partner.margin = Margin::new(rate(15.0), TakeRate::NONE, vec![]);
        assert_eq!(sold(&case), expected);
    }
}

#[test]
fn a_floor_is_marked_up_so_that_the_partner_gets_it() {
    for (offered, expected) in [(0.624_999, "below_floor"), (0.625, "0.625 0.5")] {
        let mut case = one_imp(&json!({}), &json!({}), &[price(offered)]);
        case.partner.margin = Margin::new(rate(20.0), TakeRate::NONE, vec![]);
        let won = case.run().wins.first().map(|win| format!("{} {}", win.clearing, win.net));
        let lost = case.run().losses.first().map(|loss| loss.reason.label().to_owned());
        assert_eq!(won.or(lost).as_deref(), Some(expected), "{offered}");
    }
    // alone in a second-price auction: the floor, marked up
    let mut case = one_imp(&json!({ "at": 2 }), &json!({}), &[price(2.0)]);
    case.partner.margin = Margin::new(rate(20.0), TakeRate::NONE, vec![]);
    assert_eq!(sold(&case), "0.625 0.5");
}

#[test]
fn nothing_is_kept_of_a_deal_unless_that_is_agreed() {
    let imp =
        pmp(&json!([{ "id": "d", "bidfloor": 2.0 }, { "id": "f", "bidfloor": 2.0, "at": 3 }]), 0);
    let agreed = |id: &str, percent| DealTerm {
        id: id.into(),
        tier: DealTerms::TIER_DEFAULT,
        take_rate: Some(rate(percent)),
    };
    for (on_deals, terms, deal, offered, expected) in [
        (0.0, vec![], "d", 2.0, "2 2"),
        (20.0, vec![], "d", 2.5, "2.5 2"),
        (20.0, vec![agreed("d", 50.0)], "d", 4.0, "4 2"),
        (20.0, vec![agreed("d", 0.0)], "d", 2.0, "2 2"),
        (20.0, vec![agreed("x", 50.0)], "d", 2.5, "2.5 2"),
        // a fixed price is the publisher's: it gets it whole
        (0.0, vec![], "f", 9.0, "2 2"),
        (20.0, vec![], "f", 9.0, "2.5 2"),
    ] {
        let offer = bid("x", "1", offered, &json!({ "dealid": deal }));
        let mut case = one_imp(&json!({}), &imp, &[offer]);
        case.partner.margin = Margin::new(rate(10.0), rate(on_deals), vec![]);
        case.partner.deals = DealTerms::new(terms.clone());
        assert_eq!(sold(&case), expected, "{on_deals} {terms:?} {deal} {offered}");
    }
}

#[test]
fn a_publisher_may_have_a_margin_of_its_own() {
    for (site, expected) in [
        (json!({ "publisher": { "id": "p1" } }), "2 1.9"),
        (json!({ "publisher": { "id": "p2" } }), "2 2"),
        (json!({ "publisher": { "id": "p3" } }), "2 1.6"),
        (json!({}), "2 1.6"),
    ] {
        let mut case = one_imp(&json!({ "site": site }), &json!({}), &[price(2.0)]);
        let own = vec![("p2".to_owned(), rate(0.0)), ("p1".to_owned(), rate(5.0))];
        case.partner.margin = Margin::new(rate(20.0), TakeRate::NONE, own);
        assert_eq!(sold(&case), expected, "{site}");
    }
}

#[test]
fn deals_of_an_earlier_tier_come_first_and_within_a_tier_the_higher_price() {
    let imp = pmp(&json!([{ "id": "a" }, { "id": "b" }, { "id": "c" }]), 0);
    let tier = |id: &str, tier| DealTerm { id: id.into(), tier, take_rate: None };
    let under = |deal: &str, price: f64| bid("x", "1", price, &json!({ "dealid": deal }));
    for (each, expected) in [
        (
            vec![under("a", 1.5), under("b", 9.0), price(20.0)],
            &["1: a/x 1.5 USD", "b/x lost_to_deal", "c/x lost_to_deal"][..],
        ),
        (vec![under("b", 3.0), under("b", 4.0)], &["1: b/x 4 USD", "a/x lost_to_higher_bid"]),
        // a deal that is not listed is in the middle
        (vec![under("c", 2.0), under("b", 9.0)], &["1: a/x 2 USD", "b/x lost_to_deal"]),
        (vec![under("c", 9.0), under("a", 2.0)], &["1: b/x 2 USD", "a/x lost_to_deal"]),
    ] {
        let mut case = one_imp(&json!({}), &imp, &each);
        case.partner.deals = DealTerms::new(vec![tier("b", 7), tier("a", 1)]);
        assert_eq!(case.outcome(), expected);
    }
    // the second price is one of the same tier
    let mut case = one_imp(&json!({ "at": 2 }), &imp, &[under("a", 9.0), under("b", 8.0)]);
    case.partner.deals = DealTerms::new(vec![tier("b", 7), tier("a", 1)]);
    assert_eq!(case.outcome()[0], "1: a/x 1 USD");
}

#[test]
fn an_explanation_has_no_price_before_our_margin() {
    let answer = json!({ "cur": "EUR", "seatbid": [{ "bid": [
        bid("x", "1", 4.0, &json!({})), bid("y", "1", 0.1, &json!({})) ] }] });
    let mut case = Case::new(&json!({ "test": 1, "imp": [banner(&json!({}))] }), &[("a", answer)]);
    case.partner.margin = Margin::new(rate(25.0), TakeRate::NONE, vec![]);
    let (answers, result) = (case.answered(), case.run());
    let call = Call::Made { imps: 1, took: Duration::ZERO, status: 200, answer: Ok(()), nbr: None };
    let ext = explain(&Explanation {
        generation: 1,
        request: &case.request,
        pricing: Pricing::new(&case.request, &case.partner, &case.rates, &NO_RULES),
        facts: &Facts::default(),
        browser: None,
        tmax: Duration::ZERO,
        took: Duration::ZERO,
        imps_refused: &[],
        bidders: &[BidderStory { bidder: BidderId(0), name: "a", call }],
        answers: &answers,
        result: &result,
    });
    let told: Json = serde_json::from_slice(&ext).unwrap();
    let bids = &told["gavel"]["bidders"][0]["bids"];
    // 4 euros are 8 dollars, of which 6 are the partner's
    let [price, value, clearing] = ["price", "value", "clearing"].map(|key| &bids[0][key]);
    assert_eq!((price, value, clearing), (&json!(3.0), &json!(6.0), &json!(6.0)));
    assert_eq!(bids[1]["price"], json!(0.075));
}

/// Dollars, and euros and yen at any rate.
fn any_rates() -> impl Strategy<Value = Rates> {
    (0.01f64..100.0, 0.01f64..1000.0).prop_map(|(eur, jpy)| {
        Rates::new(Currency::USD, [(currency("EUR"), eur), (currency("JPY"), jpy)]).unwrap()
    })
}

const CURRENCIES: [&str; 3] = ["USD", "EUR", "JPY"];

proptest! {
    #[test]
    fn a_bid_of_the_floor_that_is_sent_wins_and_leaves_the_publisher_its_floor(
        rates in any_rates(),
        (percent, floor) in (0u16..=9_000, 1i64..=5_000_000),
        (imp_cur, own, sent_cur) in (0usize..3, 0usize..3, 0usize..3),
    ) {
        let (imp_cur, sent_cur) = (CURRENCIES[imp_cur], CURRENCIES[sent_cur]);
        let floor = Cpm::from_micros(floor);
        let bidfloor: f64 = floor.to_string().parse().unwrap();
        let request = json!({ "imp": [banner(&json!({ "bidfloor": bidfloor, "bidfloorcur": imp_cur }))] });
        let mut case = Case::new(&request, &[]);
        case.partner.currency = currency(CURRENCIES[own]);
        case.partner.bid_max = Some(cpm(1e9));
        case.partner.margin = Margin::new(rate(f64::from(percent) / 100.0), TakeRate::NONE, vec![]);
        case.rates = rates;
        let pricing = Pricing::new(&case.request, &case.partner, &case.rates, &NO_RULES);
        let sent = pricing.sent_for(&case.request.view.imps[0], currency(sent_cur)).unwrap();
        let units: f64 = sent.to_string().parse().unwrap();
        let answer = json!({ "cur": sent_cur, "seatbid": [{ "bid": [bid("x", "1", units, &json!({}))] }] });
        case.bidders = vec![("a".into(), u64::MAX, super::fixture::answer(&answer))];
        let result = case.run();
        let published = case.rates.convert(floor, currency(imp_cur), case.partner.currency).unwrap();
        // what is less than half a micro in the auction's currency is no price there
        prop_assume!(published > Cpm::ZERO);
        prop_assert_eq!(result.wins.len(), 1);
        prop_assert!(result.wins[0].net >= published && result.wins[0].net <= result.wins[0].clearing);
    }

    #[test]
    fn a_bid_of_the_floor_by_the_second_that_is_sent_wins_and_leaves_the_publisher_its_floor(
        rates in any_rates(),
        (percent, floor, seconds) in (0u16..=9_000, 0.001f64..5.0, 1u32..120),
        (imp_cur, own) in (0usize..3, 0usize..3),
    ) {
        let imp_cur = CURRENCIES[imp_cur];
        let imp = json!({ "id": "1", "bidfloorcur": imp_cur, "video": { "mimes": ["x/y"], "mincpmpersec": floor } });
        let mut case = Case::new(&json!({ "imp": [imp] }), &[]);
        case.partner.currency = currency(CURRENCIES[own]);
        case.partner.bid_max = Some(cpm(1e9));
        case.partner.margin = Margin::new(rate(f64::from(percent) / 100.0), TakeRate::NONE, vec![]);
        case.rates = rates;
        let pricing = Pricing::new(&case.request, &case.partner, &case.rates, &NO_RULES);
        let floor = CpmPerSecond::from_wire(floor).unwrap();
        let sent = pricing.sent_by_second(floor, currency(imp_cur), pricing.open);
        let units: f64 = sent.over(seconds).to_string().parse().unwrap();
        let more = json!({ "dur": seconds, "adm": "<VAST version=\"4.0\"><Ad/></VAST>" });
        let answer = json!({ "cur": imp_cur, "seatbid": [{ "bid": [bid("x", "1", units, &more)] }] });
        case.bidders = vec![("a".into(), u64::MAX, super::fixture::answer(&answer))];
        let result = case.run();
        let published =
            case.rates.convert(floor.over(seconds), currency(imp_cur), case.partner.currency).unwrap();
        prop_assert_eq!(result.wins.len(), 1, "{:?}", case.outcome());
        prop_assert!(result.wins[0].net >= published);
    }
}

#[test]
fn bids_of_one_request_are_charged_alike_whoever_makes_them() {
    let answer = bids(&[bid("x", "1", 3.0, &json!({}))]);
    let mut case = Case::new(
        &json!({ "imp": [banner(&json!({}))], "at": 2 }),
        &[("a", answer), ("b", bids(&[price(2.0)]))],
    );
    case.partner.margin = Margin::new(rate(10.0), TakeRate::NONE, vec![]);
    assert_eq!(sold(&case), "2.01 1.809");
}
