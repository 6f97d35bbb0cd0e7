//! One table for each rule: what goes in, who wins at what price, and why the others lose.

use super::fixture::{Case, banner, bid, bids, check, cpm, currency, fate, one_imp, pmp, price};
use gavel::money::Currency;
use gavel::openrtb::ids::AuctionType;
use serde_json::{Value as Json, json};

#[test]
fn in_a_first_price_auction_the_highest_bid_wins_and_pays_itself() {
    let case = one_imp(&json!({}), &json!({}), &[price(1.0), price(3.25), price(2.0)]);
    assert_eq!(
        case.outcome(),
        ["1: b/x 3.25 USD", "a/x lost_to_higher_bid", "c/x lost_to_higher_bid"]
    );
    assert_eq!(case.run().losses[0].reason.code(), 102);
}

#[test]
fn in_a_second_price_auction_the_winner_pays_a_cent_over_the_next_or_the_floor() {
    for (prices, expected) in [
        // the worked table of 4.4.1
        (&[1.0, 0.9, 0.8][..], "1: a/x 0.91 USD"),
        (&[1.0], "1: a/x 0.5 USD"),
        (&[1.0, 0.4], "1: a/x 0.5 USD"),
        (&[1.0, 0.995], "1: a/x 1 USD"),
        (&[1.0, 0.5], "1: a/x 0.51 USD"),
    ] {
        let each: Vec<_> = prices.iter().map(|p| price(*p)).collect();
        let case = one_imp(&json!({ "at": 2 }), &json!({}), &each);
        assert_eq!(case.outcome()[0], expected, "{prices:?}");
    }
}

#[test]
fn a_partner_can_force_the_type_of_auction() {
    for (forced, expected) in [
        (None, "1: a/x 0.91 USD"),
        (Some(AuctionType::FirstPrice), "1: a/x 1 USD"),
        (Some(AuctionType::SecondPrice), "1: a/x 0.91 USD"),
    ] {
        let mut case = one_imp(&json!({ "at": 2 }), &json!({}), &[price(1.0), price(0.9)]);
        case.partner.auction_type = forced;
        assert_eq!(case.outcome()[0], expected, "{forced:?}");
    }
}

#[test]
fn a_seat_does_not_raise_its_own_price() {
    let own = |seat: &str, id: &str, price: f64| json!({ "seat": seat, "bid": [bid(id, "1", price, &json!({}))] });
    for (second_seat, expected) in [("s", "1: a/x 0.5 USD"), ("t", "1: a/x 1.91 USD")] {
        let answer = json!({ "seatbid": [own("s", "x", 2.0), own(second_seat, "y", 1.9)] });
        let case = Case::new(&json!({ "at": 2, "imp": [banner(&json!({}))] }), &[("a", answer)]);
        assert_eq!(case.outcome(), [expected, "a/y lost_to_higher_bid"]);
    }
}

#[test]
fn bids_below_the_floor_of_imp_or_partner_are_rejected() {
    for (imp_floor, partner_floor, offered, expected) in [
        (2.0, 0.0, 2.0, "won"),
        (2.0, 0.0, 1.999_999, "below_floor"),
        (0.0, 2.5, 2.0, "below_floor"),
        (0.0, 0.0, 0.000_001, "won"),
    ] {
        let mut case = one_imp(&json!({}), &json!({ "bidfloor": imp_floor }), &[price(offered)]);
        case.partner.floor = cpm(partner_floor);
        let outcome = case.outcome();
        assert_eq!(outcome[0].starts_with("1:"), expected == "won", "{outcome:?}");
        assert!(expected == "won" || outcome[0].ends_with(expected), "{outcome:?}");
    }
}

#[test]
fn prices_that_are_none_are_rejected() {
    check(
        "price",
        &[
            (json!({}), json!({}), json!({ "price": 0 }), "price_missing"),
            (json!({}), json!({}), json!({ "price": 0.000_000_1 }), "price_missing"),
            (json!({}), json!({}), json!({ "price": null }), "price_missing"),
            (json!({}), json!({}), json!({ "price": "abc" }), "price_missing"),
            (json!({}), json!({}), json!({ "price": -1 }), "price_invalid"),
            (json!({}), json!({}), json!({ "price": 1e12 }), "price_invalid"),
            (json!({}), json!({}), json!({ "price": 1000.01 }), "price_invalid"),
            (json!({}), json!({}), json!({ "price": 1000 }), "won"),
            (json!({}), json!({}), json!({ "price": "2.5" }), "won"),
        ],
    );
}

#[test]
fn prices_are_compared_in_the_currency_of_the_answer() {
    let in_currency = |cur: &str, price: f64| json!({ "cur": cur, "seatbid": [{ "bid": [bid("x", "1", price, &json!({}))] }] });
    let answers = [
        ("a", in_currency("USD", 3.0)),
        ("b", in_currency("EUR", 2.0)),
        ("c", in_currency("JPY", 300.0)),
    ];
    for (cur, partner, expected) in [
        (
            json!([]),
            "USD",
            &["1: b/x 4 USD", "a/x lost_to_higher_bid", "c/x lost_to_higher_bid"][..],
        ),
        (json!([]), "EUR", &["1: b/x 2 EUR", "a/x lost_to_higher_bid", "c/x lost_to_higher_bid"]),
        (
            json!(["USD", "EUR"]),
            "EUR",
            &["1: b/x 2 EUR", "a/x lost_to_higher_bid", "c/x currency_unknown"],
        ),
        (
            json!(["XXX", "JPY", "USD"]),
            "EUR",
            &["1: a/x 450 JPY", "b/x currency_unknown", "c/x lost_to_higher_bid"],
        ),
        (json!(["USD"]), "EUR", &["1: a/x 3 USD", "b/x currency_unknown", "c/x currency_unknown"]),
    ] {
        let mut case = Case::new(&json!({ "cur": cur, "imp": [banner(&json!({}))] }), &answers);
        case.partner.currency = currency(partner);
        case.partner.bid_max = Some(cpm(100_000.0));
        assert_eq!(case.outcome(), expected, "{cur} {partner}");
    }
    let unknown =
        Case::new(&json!({ "imp": [banner(&json!({}))] }), &[("a", in_currency("CHF", 3.0))]);
    assert_eq!(unknown.outcome(), ["a/x currency_unknown"]);
}

#[test]
fn what_is_paid_is_told_in_the_currency_of_the_bid_too() {
    let euro = json!({ "cur": "EUR", "seatbid": [{ "bid": [bid("x", "1", 2.0, &json!({}))] }] });
    let case = Case::new(
        &json!({ "at": 2, "imp": [banner(&json!({}))] }),
        &[("a", euro), ("b", bids(&[price(3.0)]))],
    );
    let win = case.run().wins[0];
    assert_eq!((win.price, win.value), (cpm(2.0), cpm(4.0)));
    assert_eq!((win.clearing, win.clearing_in_bid_currency), (cpm(3.01), cpm(1.505)));
    assert_eq!(case.run().currency, Currency::USD);
}

#[test]
fn deals_outrank_the_open_auction_and_have_their_own_floors() {
    let imp = pmp(&json!([{ "id": "d", "bidfloor": 2.0 }, { "id": "e", "bidfloor": 0.1 }]), 0);
    let deal = |price: f64, id: &str| bid("x", "1", price, &json!({ "dealid": id }));
    for (at, each, expected) in [
        (1, vec![price(9.0), deal(2.5, "d")], &["1: b/x 2.5 USD", "a/x lost_to_deal"][..]),
        (1, vec![price(9.0), deal(1.9, "d")], &["1: a/x 9 USD", "b/x below_deal_floor"]),
        (1, vec![price(0.9), deal(0.1, "e")], &["1: b/x 0.1 USD", "a/x below_floor"]),
        (1, vec![price(9.0), deal(3.0, "x")], &["1: a/x 9 USD", "b/x deal_unknown"]),
        // the second price is one of the same tier, else the deal's floor
        (2, vec![price(9.0), deal(5.0, "d")], &["1: b/x 2 USD", "a/x lost_to_deal"]),
        (
            2,
            vec![price(9.0), deal(5.0, "d"), deal(4.0, "e")],
            &["1: b/x 4.01 USD", "a/x lost_to_deal", "c/x lost_to_higher_bid"],
        ),
    ] {
        let case = one_imp(&json!({ "at": at }), &imp, &each);
        assert_eq!(case.outcome(), expected);
    }
}

#[test]
fn a_deal_may_say_how_it_is_priced() {
    let deals = json!([
        { "id": "first", "bidfloor": 2.0, "at": 1 },
        { "id": "second", "bidfloor": 2.0, "at": 2 },
        { "id": "fixed", "bidfloor": 2.0, "at": 3 },
        { "id": "free", "at": 3 },
        { "id": "euro", "bidfloor": 2.0, "bidfloorcur": "EUR", "at": 3 },
        { "id": "own", "bidfloor": 2.0, "at": 500 },
    ]);
    for (at, deal, expected) in [
        (2, "first", "1: a/x 5 USD"),
        (1, "second", "1: a/x 2 USD"),
        (1, "fixed", "1: a/x 2 USD"),
        (1, "free", "1: a/x 5 USD"),
        (1, "euro", "1: a/x 4 USD"),
        (1, "own", "a/x deal_type_unknown"),
    ] {
        let offer = bid("x", "1", 5.0, &json!({ "dealid": deal }));
        let case = one_imp(&json!({ "at": at }), &pmp(&deals, 0), &[offer]);
        assert_eq!(case.outcome(), [expected], "{deal}");
    }
}

#[test]
fn a_private_auction_takes_bids_under_its_deals_only() {
    let imp = pmp(&json!([{ "id": "d", "wseat": ["s"], "wadomain": ["brand.example"] }]), 1);
    let with = |more: Json| (json!({}), imp.clone(), more);
    let rows = [
        (json!({}), "deal_required"),
        (json!({ "dealid": "d" }), "seat_not_allowed"),
        (json!({ "dealid": "z" }), "deal_unknown"),
    ];
    for (more, expected) in rows {
        let (request, imp, more) = with(more);
        assert_eq!(fate(&request, &imp, &more), expected);
    }
    for (adomain, expected) in [
        (json!(["www.brand.example"]), "1: a/x 2 USD"),
        (json!(["brand.example", "other.example"]), "a/x advertiser_not_in_deal"),
        (json!([]), "a/x advertiser_not_in_deal"),
    ] {
        let offer = bid("x", "1", 2.0, &json!({ "dealid": "d", "adomain": adomain }));
        let answer = json!({ "seatbid": [{ "seat": "s", "bid": [offer] }] });
        let case = Case::new(&json!({ "imp": [banner(&imp)] }), &[("a", answer)]);
        assert_eq!(case.outcome(), [expected], "{adomain}");
    }
}

#[test]
fn seats_are_allowed_by_the_bidder_and_by_the_request() {
    for (request, allowed, seat, expected) in [
        (json!({}), vec![], Some("s"), "won"),
        (json!({ "wseat": ["s"] }), vec![], Some("s"), "won"),
        (json!({ "wseat": ["s"] }), vec![], Some("S"), "seat_not_allowed"),
        (json!({ "bseat": ["s"] }), vec![], Some("s"), "seat_not_allowed"),
        (json!({ "bseat": ["a"] }), vec![], None, "seat_not_allowed"),
        (json!({}), vec!["s".to_owned()], Some("t"), "seat_not_allowed"),
        (json!({}), vec!["a".to_owned()], None, "won"),
    ] {
        let mut seatbid = json!({ "bid": [price(2.0)] });
        if let Some(seat) = seat {
            seatbid["seat"] = json!(seat);
        }
        let mut request = request.clone();
        request["imp"] = json!([banner(&json!({}))]);
        let mut case = Case::new(&request, &[("a", json!({ "seatbid": [seatbid] }))]);
        case.seats_allowed = allowed;
        let outcome = case.outcome();
        assert_eq!(outcome[0].starts_with("1:"), expected == "won", "{request} {outcome:?}");
    }
}

#[test]
fn blocked_categories_advertisers_apps_and_attributes_are_rejected() {
    let bcat = json!({ "bcat": ["IAB26", "IAB7-3"] });
    let badv = json!({ "badv": ["rival.example"] });
    let battr = json!({ "banner": { "format": [{ "w": 300, "h": 250 }], "battr": [1, 3] } });
    check(
        "blocks",
        &[
            (bcat.clone(), json!({}), json!({ "cat": ["IAB26-1"] }), "category_blocked"),
            (bcat.clone(), json!({}), json!({ "cat": ["IAB1", "iab7-3"] }), "category_blocked"),
            (bcat.clone(), json!({}), json!({ "cat": ["IAB7"] }), "won"),
            (bcat.clone(), json!({}), json!({ "cat": ["IAB26"], "cattax": 6 }), "won"),
            (bcat, json!({}), json!({}), "won"),
            (
                json!({ "bcat": ["53"], "cattax": 6 }),
                json!({}),
                json!({ "cat": ["53"], "cattax": 6 }),
                "category_blocked",
            ),
            (json!({ "bcat": ["53"], "cattax": 6 }), json!({}), json!({ "cat": ["53"] }), "won"),
            (
                badv.clone(),
                json!({}),
                json!({ "adomain": ["shop.RIVAL.example"] }),
                "advertiser_blocked",
            ),
            (badv, json!({}), json!({ "adomain": ["notrival.example"] }), "won"),
            (
                json!({ "bapp": ["com.rival"] }),
                json!({}),
                json!({ "bundle": "com.Rival" }),
                "app_blocked",
            ),
            (json!({}), battr.clone(), json!({ "attr": [2, 3] }), "attribute_blocked"),
            (json!({}), battr, json!({ "attr": [2] }), "won"),
        ],
    );
    let mut case = one_imp(
        &json!({}),
        &json!({}),
        &[bid("x", "1", 2.0, &json!({ "adomain": ["rival.example"] }))],
    );
    case.partner.badv = vec!["rival.example".into()];
    assert_eq!(case.outcome(), ["a/x advertiser_blocked"]);
}

#[test]
fn a_banner_has_one_of_the_sizes_that_were_offered() {
    let sizes = |list: &[(u32, u32)]| {
        let list: Vec<_> = list.iter().map(|(w, h)| json!({ "w": w, "h": h })).collect();
        json!({ "banner": { "format": list } })
    };
    let two = sizes(&[(300, 250), (728, 90)]);
    let ratio = json!({ "wratio": 4, "hratio": 3, "wmin": 100 });
    let flexible = json!({ "banner": { "format": [{ "w": 1, "h": 1 }, ratio] } });
    let ratio = json!({ "banner": { "format": [ratio] } });
    let ranged = json!({ "banner": { "format": null, "wmax": 300, "hmax": 250 } });
    let anything = json!({ "banner": { "format": [] }, "instl": 1 });
    let mut interstitial = two.clone();
    interstitial["instl"] = json!(1);
    check(
        "size",
        &[
            (json!({}), two.clone(), json!({ "w": 728, "h": 90 }), "won"),
            (json!({}), two.clone(), json!({ "w": 728, "h": 250 }), "size_mismatch"),
            (json!({}), two.clone(), json!({}), "size_mismatch"),
            (json!({}), two.clone(), json!({ "w": 300 }), "won"),
            (json!({}), sizes(&[(300, 250), (300, 600)]), json!({ "w": 300 }), "size_mismatch"),
            (json!({}), sizes(&[(300, 250), (300, 250)]), json!({}), "won"),
            (json!({}), sizes(&[(300, 250)]), json!({ "w": 0, "h": 0 }), "won"),
            (json!({}), sizes(&[(300, 250)]), json!({ "w": -300, "h": 250 }), "size_mismatch"),
            (json!({}), sizes(&[(300, 250)]), json!({ "w": 300.5 }), "size_mismatch"),
            (json!({}), sizes(&[(300, 250)]), json!({ "h": 1_u64 << 40 }), "size_mismatch"),
            (json!({}), anything, json!({ "w": 5, "h": 5 }), "won"),
            (json!({}), ranged, json!({ "w": 5, "h": 5 }), "won"),
            (json!({}), flexible.clone(), json!({ "w": 1, "h": 1 }), "won"),
            (json!({}), flexible.clone(), json!({ "w": 400, "h": 300 }), "won"),
            (json!({}), flexible.clone(), json!({ "w": 333, "h": 250 }), "won"),
            (json!({}), flexible.clone(), json!({ "w": 300, "h": 250 }), "size_mismatch"),
            (json!({}), flexible.clone(), json!({ "w": 80, "h": 60 }), "size_mismatch"),
            (json!({}), flexible.clone(), json!({ "wratio": 8, "hratio": 6 }), "won"),
            (json!({}), flexible.clone(), json!({ "wratio": 16, "hratio": 9 }), "size_mismatch"),
            (
                json!({}),
                flexible.clone(),
                json!({ "wratio": 4, "hratio": 3, "w": 99, "h": 74 }),
                "size_mismatch",
            ),
            (json!({}), flexible, json!({}), "size_mismatch"),
            (json!({}), ratio, json!({}), "won"),
            (json!({}), interstitial, json!({ "w": 320, "h": 480 }), "won"),
        ],
    );
}

#[test]
fn media_and_markup_agree_with_the_imp() {
    let video = json!({ "banner": null, "video": { "minduration": 5, "maxduration": 30 } });
    let both = json!({ "video": { "rqddurs": [15, 30] }, "native": {} });
    let vast = "<VAST version=\"4.0\"><Ad/></VAST>";
    let native = "{\"native\":{\"assets\":[{}]}}";
    let long = "x".repeat((64 << 10) + 1);
    // short enough as it is, and not once the prices stand in it
    let grows = "${AUCTION_PRICE}".repeat(4000);
    check(
        "media",
        &[
            (json!({}), video.clone(), json!({ "adm": vast }), "won"),
            (json!({}), video.clone(), json!({ "adm": "<p>" }), "markup_invalid"),
            (json!({}), video.clone(), json!({ "adm": vast, "mtype": 1 }), "media_mismatch"),
            (json!({}), video.clone(), json!({ "adm": vast, "mtype": 9 }), "media_mismatch"),
            (json!({}), video.clone(), json!({ "adm": vast, "dur": 31 }), "duration_mismatch"),
            (json!({}), video.clone(), json!({ "adm": vast, "dur": 30 }), "won"),
            (json!({}), video.clone(), json!({ "adm": vast, "dur": "30.0" }), "won"),
            (json!({}), video.clone(), json!({ "adm": vast, "dur": null }), "won"),
            // something is said, and nobody can read what
            (json!({}), video.clone(), json!({ "adm": vast, "dur": 45.5 }), "duration_mismatch"),
            (json!({}), video.clone(), json!({ "adm": vast, "dur": "45s" }), "duration_mismatch"),
            (json!({}), video.clone(), json!({ "adm": vast, "dur": -5 }), "duration_mismatch"),
            (json!({}), video, json!({ "adm": vast, "dur": 8e9 }), "duration_mismatch"),
            (json!({}), both.clone(), json!({ "adm": vast }), "won"),
            (json!({}), both.clone(), json!({ "adm": vast, "dur": 20 }), "duration_mismatch"),
            (json!({}), both.clone(), json!({ "adm": native }), "won"),
            (json!({}), both.clone(), json!({ "adm": "{}" }), "markup_invalid"),
            (json!({}), both.clone(), json!({ "adm": "<p>", "w": 1, "h": 1 }), "size_mismatch"),
            (json!({}), both, json!({ "adm": null }), "media_mismatch"),
            (json!({}), json!({}), json!({ "adm": null }), "markup_missing"),
            (
                json!({}),
                json!({}),
                json!({ "adm": " ", "nurl": "https://x.example" }),
                "markup_missing",
            ),
            (json!({}), json!({}), json!({ "adm": long }), "markup_too_large"),
            (json!({}), json!({}), json!({ "adm": grows }), "markup_too_large"),
            (json!({}), json!({ "exp": 60 }), json!({ "exp": 59 }), "expiry_too_short"),
            (json!({}), json!({ "exp": 60 }), json!({ "exp": 60 }), "won"),
            (json!({}), json!({ "exp": 60 }), json!({ "exp": "an hour" }), "expiry_too_short"),
            (json!({}), json!({}), json!({ "exp": "an hour" }), "won"),
        ],
    );
    for (imp, adm, nurl, expected) in [
        (json!({}), json!(null), "https://x.example", "1: a/x 2 USD"),
        (json!({}), json!(null), "http://x.example", "1: a/x 2 USD"),
        (json!({ "secure": 1 }), json!(" "), "https://x.example", "1: a/x 2 USD"),
        (json!({ "secure": 1 }), json!(null), "HTTP://x.example", "a/x not_secure"),
    ] {
        let by_nurl = bid("x", "1", 2.0, &json!({ "adm": adm, "nurl": nurl }));
        let mut case = one_imp(&json!({}), &imp, &[by_nurl]);
        case.partner.allows_nurl_markup = true;
        assert_eq!(case.outcome(), [expected], "{imp} {adm} {nurl}");
    }
}

#[test]
fn a_secure_imp_takes_no_markup_that_loads_by_plain_http() {
    let plain = json!({ "adm": "<img src=\"http://ads.example/a.gif\">" });
    let click = json!({ "adm": "<a href=\"http://ads.example\"><img src=\"https://ads.example/a.gif\"></a>" });
    check(
        "secure",
        &[
            (json!({}), json!({ "secure": 1 }), plain.clone(), "not_secure"),
            (json!({}), json!({ "secure": 0 }), plain.clone(), "won"),
            (json!({}), json!({}), plain, "won"),
            (json!({}), json!({ "secure": 1 }), click, "won"),
        ],
    );
}

#[test]
fn ids_are_needed_once_and_imps_must_have_been_offered() {
    let request = json!({ "imp": [banner(&json!({})), banner(&json!({ "id": "2" }))] });
    let answer = bids(&[
        bid("", "1", 2.0, &json!({})),
        bid("x", "1", 3.0, &json!({})),
        bid("x", "1", 9.0, &json!({})),
        bid("y", "3", 2.0, &json!({})),
        bid("z", "2", 2.0, &json!({})),
    ]);
    let mut case = Case::new(&request, &[("a", answer)]);
    case.bidders[0].1 = 1;
    assert_eq!(
        case.outcome(),
        ["1: a/x 3 USD", "a/ id_missing", "a/x id_duplicate", "a/y imp_unknown", "a/z imp_unknown"]
    );
    let many: Vec<_> =
        (0..20).map(|n| bid(&format!("b{}", n % 10), "1", 2.0, &json!({}))).collect();
    let case = Case::new(&request, &[("a", bids(&many))]);
    let duplicates = case.outcome().iter().filter(|line| line.ends_with("id_duplicate")).count();
    assert_eq!(duplicates, 10);
}

#[test]
fn each_imp_has_its_own_winner() {
    let request = json!({ "imp": [banner(&json!({})), banner(&json!({ "id": "2" })), banner(&json!({ "id": "3" }))] });
    let both = |one: f64, two: f64| {
        bids(&[bid("x", "1", one, &json!({})), bid("y", "2", two, &json!({}))])
    };
    let case = Case::new(&request, &[("a", both(3.0, 1.0)), ("b", both(2.0, 4.0))]);
    assert_eq!(
        case.outcome(),
        ["1: a/x 3 USD", "2: b/y 4 USD", "a/y lost_to_higher_bid", "b/x lost_to_higher_bid"]
    );
}

#[test]
fn ties_are_drawn_by_the_request_and_favour_nobody() {
    let mut wins = [0; 2];
    for number in 0..400 {
        let request = json!({ "id": format!("r{number}") });
        let case = one_imp(&request, &json!({}), &[price(2.0), price(2.0)]);
        let outcome = case.outcome();
        assert_eq!(outcome, case.outcome());
        wins[usize::from(outcome[0].starts_with("1: b/"))] += 1;
    }
    assert!(wins.iter().all(|count| (150..=250).contains(count)), "{wins:?}");
}

#[test]
fn a_group_wins_all_of_its_imps_or_none() {
    let request = json!({ "imp": [banner(&json!({})), banner(&json!({ "id": "2" }))] });
    let group = |one: f64, two: f64| json!({ "seatbid": [{ "group": 1, "bid": [bid("x", "1", one, &json!({})), bid("y", "2", two, &json!({}))] }] });
    let single = |price: f64| bids(&[bid("z", "2", price, &json!({}))]);
    for (answers, expected) in [
        (
            vec![("a", group(3.0, 3.0)), ("b", single(2.0))],
            &["1: a/x 3 USD", "2: a/y 3 USD", "b/z lost_to_higher_bid"][..],
        ),
        (
            vec![("a", group(3.0, 1.0)), ("b", single(2.0))],
            &["2: b/z 2 USD", "a/x group_incomplete", "a/y group_incomplete"],
        ),
        (
            vec![("a", group(3.0, 0.1)), ("b", single(2.0))],
            &["2: b/z 2 USD", "a/x group_incomplete", "a/y below_floor"],
        ),
        // of two groups in each other's way the one of less worth goes
        (
            vec![("a", group(5.0, 1.0)), ("b", group(1.0, 4.0))],
            &["1: a/x 5 USD", "2: a/y 1 USD", "b/x group_incomplete", "b/y group_incomplete"],
        ),
    ] {
        let case = Case::new(&request, &answers);
        assert_eq!(case.outcome(), expected);
    }
    let mut case = Case::new(&request, &[("a", group(5.0, 1.0)), ("b", group(1.0, 4.0))]);
    case.settings.group_rounds_max = 0;
    assert!(case.outcome().iter().all(|line| line.ends_with("group_incomplete")));
}
