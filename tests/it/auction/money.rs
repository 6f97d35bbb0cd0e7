//! What a bid is worth and what it has to reach, where that is not its price and `bidfloor`.

use super::fixture::{Case, banner, bid, cpm, currency, one_imp, pmp, price};
use serde_json::json;

#[test]
fn a_bid_under_a_fixed_price_is_worth_that_price_whatever_it_bids() {
    let deals = json!([
        { "id": "first", "bidfloor": 1.0, "at": 1 },
        { "id": "second", "bidfloor": 1.0, "at": 2 },
        { "id": "fixed", "bidfloor": 2.0, "at": 3 },
        { "id": "dear", "bidfloor": 30.0, "at": 3 },
        { "id": "free", "at": 3 },
    ]);
    let under = |deal: &str, price: f64| bid("x", "1", price, &json!({ "dealid": deal }));
    for (each, expected) in [
        (
            vec![under("fixed", 50.0), under("first", 20.0)],
            &["1: b/x 20 USD", "a/x lost_to_higher_bid"][..],
        ),
        (
            vec![under("second", 20.0), under("fixed", 15.0)],
            &["1: a/x 2.01 USD", "b/x lost_to_higher_bid"],
        ),
        (
            vec![under("dear", 50.0), under("first", 20.0)],
            &["1: a/x 30 USD", "b/x lost_to_higher_bid"],
        ),
        (
            vec![under("free", 50.0), under("first", 20.0)],
            &["1: a/x 50 USD", "b/x lost_to_higher_bid"],
        ),
        (vec![under("fixed", 2.0), price(50.0)], &["1: a/x 2 USD", "b/x lost_to_deal"]),
    ] {
        assert_eq!(one_imp(&json!({}), &pmp(&deals, 0), &each).outcome(), expected);
    }
}

#[test]
fn a_group_is_worth_what_it_would_pay() {
    let imp = pmp(&json!([{ "id": "fixed", "bidfloor": 2.0, "at": 3 }, { "id": "open" }]), 0);
    let imps: Vec<_> = ["1", "2"]
        .into_iter()
        .map(|id| {
            let mut one = banner(&imp);
            one["id"] = json!(id);
            one
        })
        .collect();
    let group = |deal: &str, one: f64, two: f64| {
        let offer = |id: &str, imp: &str, price| bid(id, imp, price, &json!({ "dealid": deal }));
        json!({ "seatbid": [{ "group": 1, "bid": [offer("x", "1", one), offer("y", "2", two)] }] })
    };
    // each of the two wins one imp; the fixed price makes 50 + 50 worth no more than 2 + 2
    let mut answers = vec![("a", group("fixed", 50.0, 50.0)), ("b", group("open", 3.0, 1.5))];
    for _ in 0..2 {
        let case = Case::new(&json!({ "imp": imps }), &answers);
        let outcome = case.outcome();
        assert_eq!(outcome[..2], ["1: b/x 3 USD", "2: b/y 1.5 USD"], "{outcome:?}");
        answers.reverse();
    }
}

#[test]
fn a_price_is_sane_up_to_a_thousand_dollars_in_any_currency() {
    let yen =
        |price| json!({ "cur": "JPY", "seatbid": [{ "bid": [bid("x", "1", price, &json!({}))] }] });
    for (max, price, expected) in [
        (None, 1_200.0, "1: a/x 1200 JPY"),
        (None, 150_000.0, "1: a/x 150000 JPY"),
        (None, 150_001.0, "a/x price_invalid"),
        (Some(cpm(1_000.0)), 1_000.0, "1: a/x 1000 JPY"),
        (Some(cpm(1_000.0)), 1_200.0, "a/x price_invalid"),
    ] {
        let imp = banner(&json!({}));
        let mut case = Case::new(&json!({ "imp": [imp] }), &[("a", yen(price))]);
        case.partner.currency = currency("JPY");
        case.partner.bid_max = max;
        assert_eq!(case.outcome(), [expected], "{max:?} {price}");
    }
    // stale rates make no price, and say well enough what is a mistake
    let imp = banner(&json!({ "bidfloorcur": "JPY" }));
    let in_yen = json!({ "cur": ["JPY"], "imp": [imp] });
    for (max, price, expected) in [
        (None, 150_000.0, "1: a/x 150000 JPY"),
        (None, 150_001.0, "a/x price_invalid"),
        (Some(cpm(10.0)), 1_500.0, "1: a/x 1500 JPY"),
        (Some(cpm(10.0)), 1_501.0, "a/x price_invalid"),
    ] {
        let mut case = Case::new(&in_yen, &[("a", yen(price))]);
        case.partner.bid_max = max;
        case.rates = case.rates.stale();
        assert_eq!(case.outcome(), [expected], "{max:?} {price}");
    }
    // where dollars have no rate, nobody can say what a mistake is
    let mut case = Case::new(
        &json!({ "cur": ["JPY"], "imp": [banner(&json!({ "bidfloorcur": "JPY" }))] }),
        &[("a", yen(1_200.0)), ("b", yen(900.0))],
    );
    case.partner.currency = currency("JPY");
    case.partner.bid_max = None;
    case.rates = gavel::money::Rates::new(currency("JPY"), []).unwrap();
    assert_eq!(case.outcome(), ["1: a/x 1200 JPY", "b/x lost_to_higher_bid"]);
}
