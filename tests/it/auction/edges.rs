//! Prices, floors, pods and limits at their edges: who pays what, and who is told what.

use super::fixture::{Case, banner, bid, bids, cpm, currency, one_imp, pmp, price};
use super::min_to_win::told;
use gavel::auction::rules::{FloorRule, Level};
use gavel::money::Currency;
use serde_json::{Value as Json, json};

const VAST: &str = "<VAST version=\"4.0\"><Ad/></VAST>";

/// One video imp (floor 1) with members of the video and of the imp, and bids.
fn video(request: &Json, stream: &Json, more: &Json, each: &[Json]) -> Case {
    let mut imp = json!({ "id": "1", "bidfloor": 1.0, "video": { "mimes": ["x/y"] } });
    for (key, value) in stream.as_object().unwrap() {
        imp["video"][key] = value.clone();
    }
    for (key, value) in more.as_object().unwrap() {
        imp[key] = value.clone();
    }
    let mut request = request.clone();
    request["imp"] = json!([imp]);
    let answers: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .zip(each)
        .map(|(name, bid)| (name, bids(std::slice::from_ref(bid))))
        .collect();
    Case::new(&request, &answers)
}

fn spot(price: f64, more: &Json) -> Json {
    let mut all = json!({ "adm": VAST });
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    bid("x", "1", price, &all)
}

fn soft(floor: f64, soft: f64, currency: Currency) -> Vec<FloorRule> {
    let level = Level { floor: cpm(floor), soft: Some(cpm(soft)), currency };
    vec![FloorRule { level, ..FloorRule::default() }]
}

fn three_in_a_pod(at: u8) -> Case {
    let each: Vec<_> = [(3.0, "k"), (2.0, "l"), (1.0, "m")]
        .map(|(price, who)| spot(price, &json!({ "dur": 15, "adomain": [who] })))
        .to_vec();
    video(
        &json!({ "at": at }),
        &json!({ "poddur": 60, "maxseq": 2 }),
        &json!({ "bidfloor": 0.5 }),
        &each,
    )
}

#[test]
fn a_pods_loser_is_told_by_its_last_winner_and_a_winner_by_the_best_loser() {
    assert_eq!(told(&three_in_a_pod(1)), ["a/x 3 1", "b/x 2 1", "c/x - 2"]);
}

#[test]
fn in_a_pod_the_second_price_is_of_the_next_that_does_not_win() {
    assert_eq!(told(&three_in_a_pod(2))[..2], ["a/x 1.01 1", "b/x 1.01 1"]);
}

#[test]
fn ties_are_drawn_anew_for_each_imp_and_each_request() {
    let imps: Vec<_> = (0..16)
        .map(|n| {
            let mut i = banner(&json!({}));
            i["id"] = json!(n.to_string());
            i
        })
        .collect();
    let each: Vec<_> =
        (0..16).map(|n| bid(&format!("x{n}"), &n.to_string(), 1.0, &json!({}))).collect();
    let winners = |id: &str, imps: &[Json]| {
        let case =
            Case::new(&json!({ "id": id, "imp": imps }), &[("a", bids(&each)), ("b", bids(&each))]);
        case.run().wins.iter().map(|win| win.bidder.0).collect::<Vec<_>>()
    };
    let of_one = winners("r1", &imps);
    assert!(of_one.contains(&0) && of_one.contains(&1), "{of_one:?}");
    assert_ne!(of_one, winners("r2", &imps));
}

fn group(one: f64, two: f64) -> Json {
    json!({ "group": 1, "bid": [bid(&format!("x{one}{two}"), "1", one, &json!({})), bid(&format!("y{one}{two}"), "2", two, &json!({}))] })
}

fn two_imps() -> Json {
    json!(["1", "2"].map(|id| {
        let mut i = banner(&json!({}));
        i["id"] = json!(id);
        i
    }))
}

#[test]
fn of_groups_of_equal_worth_one_goes_whatever_the_order_of_answers() {
    let mut answers = vec![
        ("a", json!({ "seatbid": [group(3.0, 1.0)] })),
        ("b", json!({ "seatbid": [group(1.0, 3.0)] })),
    ];
    for _ in 0..2 {
        let case = Case::new(&json!({ "imp": two_imps() }), &answers);
        assert_eq!(case.outcome()[..2], ["1: b/x13 1 USD", "2: b/y13 3 USD"]);
        answers.reverse();
    }
}

#[test]
fn each_group_of_one_answer_is_worth_its_own() {
    let answer = json!({ "seatbid": [group(3.0, 1.0), group(1.0, 2.0)] });
    let case = Case::new(&json!({ "imp": two_imps() }), &[("a", answer)]);
    assert_eq!(case.outcome()[..2], ["1: a/x31 3 USD", "2: a/y31 1 USD"]);
}

fn is_sold(case: &Case) -> bool {
    case.outcome()[0].starts_with("1:")
}

#[test]
fn a_bid_without_dur_may_be_any_of_the_exact_durations() {
    let stream = json!({ "rqddurs": [15, 30], "durfloors": [
        { "maxdur": 20, "bidfloor": 5 }, { "mindur": 21, "bidfloor": 2 }] });
    for (price, expected) in [(4.99, false), (5.0, true)] {
        let case = video(&json!({}), &stream, &json!({}), &[spot(price, &json!({}))]);
        assert_eq!(is_sold(&case), expected, "{price}");
    }
}

#[test]
fn the_partners_own_floor_counts_beside_a_lower_rule() {
    for (offer, expected) in [(price(2.99), "a/x below_floor"), (price(3.0), "1: a/x 3 USD")] {
        let mut case = one_imp(&json!({}), &json!({}), &[offer]);
        case.partner.floor = cpm(3.0);
        let level = Level { floor: cpm(1.0), soft: None, currency: Currency::USD };
        case.floors = vec![FloorRule { level, ..FloorRule::default() }];
        assert_eq!(case.outcome(), [expected]);
    }
}

#[test]
fn below_the_imps_floor_a_bid_under_a_silent_range_is_not_below_the_deals() {
    let more = json!({ "pmp": { "deals": [{ "id": "d", "durfloors": [{ "maxdur": 15, "bidfloor": 4 }] }] } });
    let case =
        video(&json!({}), &json!({}), &more, &[spot(0.9, &json!({ "dur": 20, "dealid": "d" }))]);
    assert_eq!(case.outcome(), ["a/x below_floor"]);
}

#[test]
fn a_soft_floor_is_no_concern_of_a_deal() {
    let under = |price: f64| bid("x", "1", price, &json!({ "dealid": "d" }));
    let mut case =
        one_imp(&json!({ "at": 2 }), &pmp(&json!([{ "id": "d" }]), 0), &[under(1.5), under(1.2)]);
    case.floors = soft(1.0, 2.0, Currency::USD);
    assert_eq!(case.outcome()[0], "1: a/x 1.21 USD");
}

#[test]
fn a_bid_without_dur_may_be_outside_of_all_ranges() {
    let stream = json!({ "durfloors": [{ "maxdur": 10, "bidfloor": 0.5 }] });
    let case = video(&json!({}), &stream, &json!({}), &[spot(0.9, &json!({}))]);
    assert_eq!(case.outcome(), ["a/x below_floor"]);
}

#[test]
fn outside_of_a_deals_ranges_its_own_bidfloor_counts_and_not_the_imps() {
    let more = json!({ "bidfloor": 5.0, "pmp": { "deals": [
        { "id": "d", "bidfloor": 1, "durfloors": [{ "maxdur": 15, "bidfloor": 2 }] }] } });
    let case =
        video(&json!({}), &json!({}), &more, &[spot(1.0, &json!({ "dur": 20, "dealid": "d" }))]);
    assert_eq!(case.outcome(), ["1: a/x 1 USD"]);
}

#[test]
fn a_soft_floor_is_in_the_currency_of_its_rule() {
    let mut case = one_imp(&json!({ "at": 2 }), &json!({}), &[price(5.0)]);
    case.floors = soft(1.0, 2.0, currency("EUR"));
    assert_eq!(case.outcome(), ["1: a/x 4 USD"]);
}

#[test]
fn a_fixed_price_has_no_other_floor() {
    let imp = pmp(&json!([{ "id": "d", "bidfloor": 2.0, "at": 3 }]), 0);
    let mut case = one_imp(&json!({}), &imp, &[bid("x", "1", 2.5, &json!({ "dealid": "d" }))]);
    case.partner.floor = cpm(3.0);
    assert_eq!(case.outcome(), ["1: a/x 2 USD"]);
}

#[test]
fn a_dynamic_pod_is_filled_by_ads_of_its_best_ones_media() {
    let more = json!({ "audio": { "mimes": ["x/y"], "poddur": 60 } });
    let each = [
        spot(3.0, &json!({ "mtype": 2, "dur": 15, "adomain": ["k"] })),
        spot(2.0, &json!({ "mtype": 3, "dur": 15, "adomain": ["l"] })),
    ];
    let case = video(&json!({}), &json!({ "poddur": 60 }), &more, &each);
    assert_eq!(case.outcome(), ["1: a/x 3 USD", "b/x no_room"]);
}

#[test]
fn a_pod_has_no_more_ads_than_the_settings_allow() {
    let mut case = three_in_a_pod(1);
    case.settings.pod_ads_max = 1;
    assert_eq!(case.outcome().len() - case.run().losses.len(), 1);
}

#[test]
fn one_creative_of_two_seats_goes_along_twice() {
    let with = |id: &str, price: f64| bid(id, "1", price, &json!({ "crid": "c" }));
    let answer = json!({ "seatbid": [
        { "seat": "s", "bid": [with("x", 3.0)] }, { "seat": "t", "bid": [with("y", 2.0)] }] });
    let mut case = Case::new(&json!({ "imp": [banner(&json!({}))] }), &[("a", answer)]);
    case.partner.multibid = 3;
    assert_eq!(case.outcome(), ["1: a/x 3 USD", "1: a/y 2 USD"]);
}

#[test]
fn a_dur_of_zero_is_none() {
    let each = [
        spot(3.0, &json!({ "dur": 0, "adomain": ["k"] })),
        spot(2.0, &json!({ "dur": 15, "adomain": ["l"] })),
    ];
    let case = video(&json!({}), &json!({ "poddur": 30, "maxseq": 3 }), &json!({}), &each);
    assert_eq!(case.outcome(), ["1: a/x 3 USD", "b/x no_room"]);
}

/// Two imps of one pod, each with its `poddedupe`; one bidder's ads.
fn slots(one: &Json, two: &Json, ads: [Json; 2]) -> Vec<String> {
    let slot = |id: &str, dedupe: &Json| json!({ "id": id, "bidfloor": 0.5, "video": { "mimes": ["x/y"], "podid": "p", "poddedupe": dedupe } });
    let [mut first, mut second] = ads;
    for (ad, id) in [(&mut first, "x"), (&mut second, "y")] {
        ad["adm"] = json!(VAST);
        let _ = id;
    }
    let answer = bids(&[bid("x", "1", 3.0, &first), bid("y", "2", 2.0, &second)]);
    Case::new(&json!({ "imp": [slot("1", one), slot("2", two)] }), &[("a", answer)]).outcome()
}

#[test]
fn what_either_imp_of_a_pod_keeps_apart_is_kept_apart() {
    let ad = |domain: &str, cat: &str, crid: &str| json!({ "adomain": [domain], "cat": [cat], "crid": crid });
    for (one, two, other, why) in [
        (json!([1]), json!([5]), ad("k", "IAB9", "2"), "a/y advertiser_is_there"),
        (json!([5]), json!([1]), ad("k", "IAB9", "2"), "a/y advertiser_is_there"),
        (json!([2]), json!([5]), ad("l", "IAB7", "2"), "a/y category_is_there"),
        (json!([3]), json!([5]), ad("l", "IAB9", "1"), "a/y creative_is_there"),
    ] {
        assert_eq!(
            slots(&one, &two, [ad("k", "IAB7", "1"), other]),
            ["1: a/x 3 USD", why],
            "{one} {two}"
        );
    }
}

#[test]
fn creatives_and_names_that_say_nothing_keep_nothing_apart() {
    let both = ["1: a/x 3 USD", "2: a/y 2 USD"];
    let ad = |domain: &str, crid: Json| json!({ "adomain": [domain], "crid": crid });
    let none = json!(null);
    assert_eq!(slots(&none, &none, [ad("k", json!("c")), ad("l", json!("c"))]), both);
    assert_eq!(
        slots(&json!([3]), &json!([3]), [ad("k", none.clone()), ad("l", none.clone())]),
        both
    );
    assert_eq!(slots(&none, &none, [ad("", json!("c")), ad("", json!("d"))]), both);
}

#[test]
fn a_second_price_is_not_below_the_winners_own_floor() {
    let imp = pmp(&json!([{ "id": "d", "bidfloor": 3.0 }, { "id": "e", "bidfloor": 1.0 }]), 0);
    let under = |deal: &str, price: f64| bid("x", "1", price, &json!({ "dealid": deal }));
    let case = one_imp(&json!({ "at": 2 }), &imp, &[under("d", 5.0), under("e", 1.5)]);
    assert_eq!(case.outcome()[0], "1: a/x 3 USD");
}

#[test]
fn a_winner_is_never_told_more_than_it_bid() {
    let of =
        || json!({ "cur": "JPY", "seatbid": [{ "bid": [bid("x", "1", 1.000_001, &json!({}))] }] });
    let request = json!({ "imp": [banner(&json!({ "bidfloor": 0.000_001 }))] });
    let case = Case::new(&request, &[("a", of()), ("b", of())]);
    let win = case.run().wins[0];
    assert_eq!(win.min_to_win, Some(win.price));
}

#[test]
fn an_equal_bid_of_another_is_the_second_price() {
    let case = one_imp(&json!({ "at": 2 }), &json!({}), &[price(2.0), price(2.0)]);
    assert!(case.outcome()[0].ends_with(" 2 USD"), "{:?}", case.outcome());
}

#[test]
fn a_loser_that_bid_just_the_clearing_price_is_told_what_the_winner_is_worth() {
    let own = bids(&[bid("x", "1", 2.0, &json!({})), bid("y", "1", 0.5, &json!({}))]);
    let case = Case::new(&json!({ "at": 2, "imp": [banner(&json!({}))] }), &[("a", own)]);
    assert_eq!(told(&case), ["a/x 0.5 0.5", "a/y - 2"]);
}

#[test]
fn a_bid_below_its_floor_is_told_no_less_than_that() {
    let imp = pmp(&json!([{ "id": "d", "bidfloor": 3.0 }, { "id": "e", "bidfloor": 1.0 }]), 0);
    let under = |deal: &str, price: f64| bid("x", "1", price, &json!({ "dealid": deal }));
    let case = one_imp(&json!({ "at": 2 }), &imp, &[under("e", 5.0), under("d", 2.0)]);
    assert_eq!(told(&case), ["a/x 1 1", "b/x - 3"]);
}

#[test]
fn what_would_have_won_is_rounded_up() {
    let request = json!({ "imp": [banner(&json!({ "bidfloor": 2.0, "bidfloorcur": "JPY" }))] });
    let answer = json!({ "cur": "USD", "seatbid": [{ "bid": [bid("x", "1", 1.0, &json!({}))] }] });
    let mut case = Case::new(&request, &[("a", answer)]);
    case.partner.currency = currency("JPY");
    case.partner.bid_max = None;
    // 0.013333 dollars are 1.99995 yen
    assert_eq!(told(&case), ["a/x 1 0.013334"]);
}

#[test]
fn no_id_that_goes_on_has_an_end_of_line() {
    let one = bid("x", "1", 2.0, &json!({}));
    for answer in [
        json!({ "seatbid": [{ "seat": "s\n", "bid": [one] }] }),
        json!({ "bidid": "b\n", "seatbid": [{ "bid": [one] }] }),
    ] {
        let case = Case::new(&json!({ "imp": [banner(&json!({}))] }), &[("a", answer)]);
        assert_eq!(case.outcome(), ["a/x id_invalid"]);
    }
}

#[test]
fn a_notice_may_not_grow_too_long_by_any_macro() {
    let long = "i".repeat(900);
    let refused = |name: &str, request: &Json, impid: &str, answer: &dyn Fn(Json) -> Json| {
        let nurl = format!("https://b.example/{}", format!("${{AUCTION_{name}}}").repeat(12));
        let mut imp = banner(&json!({}));
        imp["id"] = json!(impid);
        let mut request = request.clone();
        request["imp"] = json!([imp]);
        let one = bid(
            "x",
            impid,
            2.0,
            &json!({ "nurl": nurl, "adid": if name == "AD_ID" { json!(long) } else { json!("a") } }),
        );
        Case::new(&request, &[("a", answer(one))]).outcome()
    };
    let plain = |one: Json| bids(&[one]);
    let of_seat = |one: Json| json!({ "seatbid": [{ "seat": long, "bid": [one] }] });
    let of_answer = |one: Json| json!({ "bidid": long, "seatbid": [{ "bid": [one] }] });
    let _ = &of_answer;
    assert_eq!(refused("AD_ID", &json!({}), "1", &plain), ["a/x notice_invalid"]);
    assert_eq!(refused("SEAT_ID", &json!({}), "1", &of_seat), ["a/x notice_invalid"]);
    assert_eq!(refused("BID_ID", &json!({}), "1", &of_answer), ["a/x notice_invalid"]);
    let id = json!({ "id": "i".repeat(250) });
    let named = |one: Json| json!({ "seatbid": [{ "bid": [one] }] });
    let outcome = refused("ID", &id, "1", &named);
    assert_eq!(outcome, ["a/x notice_invalid"]);
    assert_eq!(refused("IMP_ID", &json!({}), &"i".repeat(250), &plain), ["a/x notice_invalid"]);
}

#[test]
fn a_seat_that_the_bidders_settings_block_is_not_taken() {
    let answer = json!({ "seatbid": [{ "seat": "s", "bid": [price(2.0)] }] });
    let case = Case::new(&json!({ "imp": [banner(&json!({}))] }), &[("a", answer)]);
    let list = ["s".to_owned()];
    let mut answers = case.answered();
    answers[0].seats.blocked = &list;
    assert_eq!(case.describe(&answers, &case.run_with(&answers)), ["a/x seat_not_allowed"]);
}

#[test]
fn without_markup_and_without_nurl_there_is_nothing_to_show() {
    let mut case = one_imp(&json!({}), &json!({}), &[bid("x", "1", 2.0, &json!({ "adm": null }))]);
    case.partner.allows_nurl_markup = true;
    assert_eq!(case.outcome(), ["a/x markup_missing"]);
}

#[test]
fn markup_is_as_long_as_its_media_may_be() {
    let mut case = video(&json!({}), &json!({}), &json!({}), &[spot(2.0, &json!({}))]);
    case.settings.vast_bytes_max = VAST.len() - 1;
    assert_eq!(case.outcome(), ["a/x markup_too_large"]);
    let native = json!({ "id": "1", "native": {} });
    let one = bid(
        "x",
        "1",
        2.0,
        &json!({ "adm": "{\"native\":{\"assets\":[{\"id\":1,\"title\":{\"text\":\"t\"}}],\"link\":{\"url\":\"https://k.example\"}}}" }),
    );
    let mut case = Case::new(&json!({ "imp": [native] }), &[("a", bids(&[one]))]);
    case.settings.native_bytes_max = 20;
    assert_eq!(case.outcome(), ["a/x markup_too_large"]);
}

#[test]
fn what_is_worth_nothing_in_the_auctions_currency_does_not_win() {
    let answer =
        json!({ "cur": "JPY", "seatbid": [{ "bid": [bid("x", "1", 0.000_05, &json!({}))] }] });
    let case = Case::new(&json!({ "imp": [banner(&json!({ "bidfloor": 0 }))] }), &[("a", answer)]);
    assert!(case.run().wins.is_empty(), "{:?}", case.outcome());
}
