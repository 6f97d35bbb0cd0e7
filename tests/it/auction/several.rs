//! Several winners of one imp: for header bidding, and in ad pods.

use super::fixture::{Case, banner, bid, bids, cpm};
use super::min_to_win::told;
use super::properties::any_case;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::HashSet;

const VAST: &str = "<VAST version=\"4.0\"><Ad/></VAST>";

fn multibid(at: u8, most: u8, imp: &Json, answers: &[(&str, Json)]) -> Case {
    let mut case = Case::new(&json!({ "at": at, "imp": [banner(imp)] }), answers);
    case.partner.multibid = most;
    case
}

fn of(seat: &str, each: &[Json]) -> Json {
    json!({ "seatbid": [{ "seat": seat, "bid": each }] })
}

#[test]
fn a_partner_with_an_auction_of_its_own_gets_the_best_bids_each_at_its_price() {
    let price = |price: f64| bids(&[bid("x", "1", price, &json!({}))]);
    let three = [("a", price(1.0)), ("b", price(3.0)), ("c", price(2.0))];
    for (at, most, expected) in [
        (1, 1, &["1: b/x 3 USD", "a/x lost_to_higher_bid", "c/x lost_to_higher_bid"][..]),
        (1, 2, &["1: b/x 3 USD", "1: c/x 2 USD", "a/x lost_to_higher_bid"]),
        (1, 5, &["1: b/x 3 USD", "1: c/x 2 USD", "1: a/x 1 USD"]),
        // the second price is of the next, also where that goes along
        (2, 3, &["1: b/x 2.01 USD", "1: c/x 1.01 USD", "1: a/x 0.5 USD"]),
    ] {
        assert_eq!(multibid(at, most, &json!({}), &three).outcome(), expected, "{at} {most}");
    }
}

#[test]
fn of_one_seat_and_creative_only_the_better_bid_goes_along() {
    let with = |id: &str, price: f64, crid: Json| bid(id, "1", price, &json!({ "crid": crid }));
    for (one, other, expected) in [
        (json!("c1"), json!("c1"), &["1: a/x 3 USD", "a/y creative_is_there"][..]),
        (json!("c1"), json!("c2"), &["1: a/x 3 USD", "1: a/y 2 USD"]),
        (json!(null), json!(null), &["1: a/x 3 USD", "1: a/y 2 USD"]),
    ] {
        let each = [with("x", 3.0, one), with("y", 2.0, other)];
        assert_eq!(multibid(1, 3, &json!({}), &[("a", of("s", &each))]).outcome(), expected);
    }
    // an id of a creative means nothing beyond its bidder
    let answers = [
        ("a", of("s", &[with("x", 3.0, json!("c"))])),
        ("b", of("s", &[with("y", 2.0, json!("c"))])),
    ];
    assert_eq!(multibid(1, 3, &json!({}), &answers).outcome(), ["1: a/x 3 USD", "1: b/y 2 USD"]);
}

#[test]
fn deals_go_along_before_open_bids_and_a_loser_is_measured_by_the_last_winner() {
    let imp = json!({ "pmp": { "deals": [{ "id": "d", "bidfloor": 1.0 }] } });
    let answers = [
        ("a", bids(&[bid("x", "1", 9.0, &json!({}))])),
        ("b", bids(&[bid("x", "1", 1.0, &json!({ "dealid": "d" }))])),
        ("c", bids(&[bid("x", "1", 8.0, &json!({}))])),
    ];
    let outcome = multibid(1, 2, &imp, &answers).outcome();
    assert_eq!(outcome, ["1: b/x 1 USD", "1: a/x 9 USD", "c/x lost_to_higher_bid"]);
    assert_eq!(
        multibid(1, 1, &imp, &answers).outcome()[1..],
        ["a/x lost_to_deal", "c/x lost_to_deal"]
    );
}

#[test]
fn section_4_4_1_where_bids_go_on_into_another_auction_one_alone_is_the_winner() {
    let price = |price: f64| bids(&[bid("x", "1", price, &json!({}))]);
    let case =
        multibid(1, 2, &json!({}), &[("a", price(1.0)), ("b", price(0.9)), ("c", price(0.8))]);
    let result = case.run();
    let told: Vec<_> = result.wins.iter().map(|win| win.min_to_win.unwrap()).collect();
    assert_eq!(told, [cpm(0.9), cpm(1.0)]);
    assert_eq!(result.losses[0].min_to_win, Some(cpm(1.0)));
}

#[test]
fn a_group_goes_along_whole_or_not_at_all() {
    let request = json!({ "imp": [banner(&json!({})), banner(&json!({ "id": "2" }))] });
    let group = json!({ "seatbid": [{ "group": 1, "bid": [
        bid("x", "1", 1.0, &json!({})), bid("y", "2", 1.0, &json!({})) ] }] });
    let single = bids(&[bid("z", "2", 2.0, &json!({}))]);
    let case = |most| {
        let mut case = Case::new(&request, &[("a", group.clone()), ("b", single.clone())]);
        case.partner.multibid = most;
        case.outcome()
    };
    assert_eq!(case(1), ["2: b/z 2 USD", "a/x group_incomplete", "a/y group_incomplete"]);
    assert_eq!(case(2), ["1: a/x 1 USD", "2: b/z 2 USD", "2: a/y 1 USD"]);
}

/// A pod on one imp, and bids of `(price, seconds, advertiser)`.
fn pod(video: &Json, each: &[(f64, Option<u32>, &str)]) -> Vec<String> {
    let mut imp = json!({ "id": "1", "bidfloor": 0.5, "video": { "mimes": ["x/y"] } });
    for (key, value) in video.as_object().unwrap() {
        imp["video"][key] = value.clone();
    }
    let names = ["a", "b", "c", "d"];
    let answers: Vec<_> = names
        .into_iter()
        .zip(each)
        .map(|(name, (price, dur, advertiser))| {
            let more = json!({ "adm": VAST, "dur": dur, "adomain": [advertiser] });
            (name, bids(&[bid("x", "1", *price, &more)]))
        })
        .collect();
    Case::new(&json!({ "imp": [imp] }), &answers).outcome()
}

#[test]
fn a_dynamic_pod_takes_the_best_ads_that_fit_its_time_and_number() {
    let pod_of = |seconds: u32, ads: Json| json!({ "poddur": seconds, "maxseq": ads });
    for (video, each, expected) in [
        (
            pod_of(60, json!(3)),
            vec![(3.0, Some(30), "k"), (2.0, Some(15), "l"), (1.0, Some(15), "m")],
            &["1: a/x 3 USD", "1: b/x 2 USD", "1: c/x 1 USD"][..],
        ),
        // one that does not fit leaves room for the next
        (
            pod_of(45, json!(3)),
            vec![(3.0, Some(30), "k"), (2.0, Some(30), "l"), (1.0, Some(15), "m")],
            &["1: a/x 3 USD", "1: c/x 1 USD", "b/x no_room"],
        ),
        (
            pod_of(60, json!(2)),
            vec![(3.0, Some(15), "k"), (2.0, Some(15), "l"), (1.0, Some(15), "m")],
            &["1: a/x 3 USD", "1: b/x 2 USD", "c/x lost_to_higher_bid"],
        ),
        // no two of one advertiser
        (
            pod_of(60, json!(null)),
            vec![(3.0, Some(15), "k"), (2.0, Some(15), "K"), (1.0, Some(15), "m")],
            &["1: a/x 3 USD", "1: c/x 1 USD", "b/x advertiser_is_there"],
        ),
        // one that does not say how long it lasts may last for all of it
        (
            pod_of(60, json!(3)),
            vec![(3.0, None, "k"), (2.0, Some(15), "l")],
            &["1: a/x 3 USD", "b/x no_room"],
        ),
        (
            json!({ "poddur": 60, "maxseq": 3, "maxduration": 30 }),
            vec![(3.0, None, "k"), (2.0, Some(15), "l")],
            &["1: a/x 3 USD", "1: b/x 2 USD"],
        ),
        // an ad that is longer than the pod
        (pod_of(20, json!(3)), vec![(3.0, Some(30), "k")], &["a/x duration_mismatch"]),
        (
            json!({ "poddur": 20, "rqddurs": [15, 30] }),
            vec![(3.0, Some(30), "k"), (2.0, Some(15), "l")],
            &["1: b/x 2 USD", "a/x duration_mismatch"],
        ),
    ] {
        assert_eq!(pod(&video, &each), expected, "{video}");
    }
}

#[test]
fn in_the_imps_of_one_pod_no_advertiser_stands_twice() {
    let slot = |id: &str, pod: &str| json!({ "id": id, "bidfloor": 0.5, "video": { "mimes": ["x/y"], "podid": pod } });
    let ad = |id: &str, imp: &str, price: f64, advertiser: &str| {
        bid(id, imp, price, &json!({ "adm": VAST, "adomain": [advertiser] }))
    };
    for (pods, expected) in [
        (("p", "p"), &["1: a/x 3 USD", "2: b/z 1 USD", "a/y advertiser_is_there"][..]),
        (("p", "q"), &["1: a/x 3 USD", "2: a/y 2 USD", "b/z lost_to_higher_bid"]),
    ] {
        let request = json!({ "imp": [slot("1", pods.0), slot("2", pods.1)] });
        let answers = [
            ("a", bids(&[ad("x", "1", 3.0, "k"), ad("y", "2", 2.0, "k")])),
            ("b", bids(&[ad("z", "2", 1.0, "m")])),
        ];
        assert_eq!(Case::new(&request, &answers).outcome(), expected);
    }
}

#[test]
fn an_imp_of_a_pod_is_sold_although_its_best_bid_may_not_stand_there() {
    let imps = json!([
        { "id": "1", "bidfloor": 0.5, "video": { "mimes": ["x/y"], "podid": "p" } },
        { "id": "2", "bidfloor": 0.5, "video": { "mimes": ["x/y"], "podid": "p" },
          "audio": { "mimes": ["x/y"] }, "banner": { "format": [{ "w": 300, "h": 250 }] } },
    ]);
    let video = |id: &str, imp: &str, price: f64, advertiser: &str| {
        bid(id, imp, price, &json!({ "adm": VAST, "mtype": 2, "adomain": [advertiser] }))
    };
    let banner = bid("z", "2", 1.0, &json!({ "mtype": 1, "w": 300, "h": 250 }));
    let answers = [
        ("a", bids(&[video("x", "1", 3.0, "k"), video("y", "2", 2.0, "k")])),
        ("b", bids(&[banner])),
    ];
    assert_eq!(
        Case::new(&json!({ "imp": imps }), &answers).outcome(),
        ["1: a/x 3 USD", "2: b/z 1 USD", "a/y advertiser_is_there"]
    );
    let alone = [("a", bids(&[video("x", "1", 3.0, "k"), video("y", "2", 2.0, "k")]))];
    assert_eq!(
        Case::new(&json!({ "imp": imps }), &alone).outcome(),
        ["1: a/x 3 USD", "a/y advertiser_is_there"]
    );
}

/// Bids for a pod of a minute, each of 15 s, with the members of each.
fn placed(video: &Json, each: &[(f64, Json)]) -> Case {
    let mut imp = banner(&json!({ "bidfloor": 0.5 }));
    imp.as_object_mut().unwrap().remove("banner");
    imp["video"] = json!({ "mimes": ["x/y"], "poddur": 60, "maxseq": 4 });
    for (key, value) in video.as_object().unwrap() {
        imp["video"][key] = value.clone();
    }
    let answers: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .zip(each)
        .map(|(name, (price, members))| {
            let mut more =
                json!({ "adm": VAST, "dur": 15, "adomain": [format!("{name}.example")] });
            for (key, value) in members.as_object().unwrap() {
                more[key] = value.clone();
            }
            (name, bids(&[bid("x", "1", *price, &more)]))
        })
        .collect();
    Case::new(&json!({ "imp": [imp] }), &answers)
}

#[test]
fn a_place_in_a_pod_is_sold_once_and_only_where_the_seller_guarantees_it() {
    let wants = |slot: i32| json!({ "slotinpod": slot });
    let three =
        |slots: [i32; 3]| [(3.0, wants(slots[0])), (2.0, wants(slots[1])), (1.0, wants(slots[2]))];
    for (video, slots, expected) in [
        (json!({}), [1, 0, -1], &["1: b/x 2 USD", "a/x no_room", "c/x no_room"][..]),
        (json!({ "slotinpod": 1 }), [1, 1, 0], &["1: a/x 3 USD", "1: c/x 1 USD", "b/x no_room"]),
        (json!({ "slotinpod": 2 }), [2, -1, 2], &["1: a/x 3 USD", "1: b/x 2 USD", "c/x no_room"]),
        (json!({ "slotinpod": 2 }), [0, 0, 0], &["1: a/x 3 USD", "1: b/x 2 USD", "1: c/x 1 USD"]),
        // one ad of a structured pod, whose imp says where it is
        (
            json!({ "podid": "p", "poddur": 0, "slotinpod": 1 }),
            [-1, 1, 0],
            &["1: b/x 2 USD", "a/x no_room", "c/x lost_to_higher_bid"],
        ),
        (
            json!({ "podid": "p", "poddur": 0 }),
            [1, -1, 2],
            &["a/x no_room", "b/x no_room", "c/x no_room"],
        ),
        // what is no pod has no places
        (
            json!({ "poddur": 0 }),
            [1, -1, 2],
            &["1: a/x 3 USD", "b/x lost_to_higher_bid", "c/x lost_to_higher_bid"],
        ),
    ] {
        assert_eq!(placed(&video, &three(slots)).outcome(), expected, "{video} {slots:?}");
    }
}

#[test]
fn what_may_not_stand_twice_in_a_pod_the_request_says_or_the_partner() {
    let one = json!({ "adomain": ["k.example"], "cat": ["IAB7-39"], "crid": "1" });
    let other = |key: &str, value: Json| {
        let mut ad = json!({ "adomain": ["l.example"], "cat": ["IAB9"], "crid": "2" });
        ad[key] = value;
        ad
    };
    let brand = other("adomain", json!(["K.example"]));
    let kind = other("cat", json!(["IAB7"]));
    let foreign = {
        let mut ad = kind.clone();
        ad["cattax"] = json!(6);
        ad
    };
    let both = &["1: a/x 3 USD", "1: b/x 2 USD"][..];
    let one_brand = &["1: a/x 3 USD", "b/x advertiser_is_there"][..];
    let one_kind = &["1: a/x 3 USD", "b/x category_is_there"][..];
    let written = other("adomain", json!(["https://www.K.example/ads"]));
    for (dedupe, separates, ad, expected) in [
        (json!(null), false, &brand, one_brand),
        (json!(null), false, &written, one_brand),
        (json!(null), false, &kind, both),
        (json!(null), true, &kind, one_kind),
        (json!(null), true, &brand, one_brand),
        (json!(null), true, &foreign, both),
        (json!([1, 2]), false, &kind, one_kind),
        (json!([1, 2]), false, &brand, one_brand),
        (json!([2]), false, &brand, both),
        (json!([1]), true, &kind, both),
        (json!([5]), true, &brand, both),
    ] {
        let mut case =
            placed(&json!({ "poddedupe": dedupe }), &[(3.0, one.clone()), (2.0, ad.clone())]);
        case.partner.separates_categories = separates;
        assert_eq!(case.outcome(), expected, "{dedupe} {separates} {ad}");
    }
    // a creative is one of its bidder's
    let own = |id: &str, price: f64, imp: &str| {
        let more = json!({ "adm": VAST, "adomain": [format!("{id}.example")], "crid": "c" });
        bid(id, imp, price, &more)
    };
    let slot = |id: &str, dedupe: Json| json!({ "id": id, "bidfloor": 0.5, "video": { "mimes": ["x/y"], "podid": "p", "poddedupe": dedupe } });
    for (dedupe, expected) in [
        (json!([3]), &["1: a/x 3 USD", "2: b/z 1 USD", "a/y creative_is_there"][..]),
        (json!([1]), &["1: a/x 3 USD", "2: a/y 2 USD", "b/z lost_to_higher_bid"]),
    ] {
        let request = json!({ "imp": [slot("1", dedupe.clone()), slot("2", dedupe.clone())] });
        let answers = [
            ("a", bids(&[own("x", 3.0, "1"), own("y", 2.0, "2")])),
            ("b", bids(&[own("z", 1.0, "2")])),
        ];
        assert_eq!(Case::new(&request, &answers).outcome(), expected, "{dedupe}");
    }
}

/// What each bid pays and is told, and what became of it.
fn paid(case: &Case) -> Vec<String> {
    let result = case.run();
    let wins = result.wins.iter().map(|_| "won");
    let ends = wins.chain(result.losses.iter().map(|loss| loss.reason.label()));
    told(case).iter().zip(ends).map(|(told, end)| format!("{told} {end}")).collect()
}

/// An ad of 15 s for a place in a pod, of an advertiser of its own.
fn ad(id: &str, imp: &str, price: f64, more: &Json) -> Json {
    let mut all = json!({ "adm": VAST, "dur": 15, "adomain": [format!("{id}.example")] });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bid(id, imp, price, &all)
}

/// An imp of the pod.
fn slot(id: &str, video: &Json) -> Json {
    let mut imp = json!({ "id": id, "video": { "mimes": ["x/y"], "podid": "p" } });
    imp["video"].as_object_mut().unwrap().extend(video.as_object().unwrap().clone());
    imp
}

/// A second-price auction of the imps; each bid is of a bidder of its own.
fn second_price(imps: &[Json], each: &[Json]) -> Vec<String> {
    let answers = each.iter().map(|one| bids(std::slice::from_ref(one)));
    let answers: Vec<_> = ["a", "b", "c", "d"].into_iter().zip(answers).collect();
    paid(&Case::new(&json!({ "at": 2, "imp": imps }), &answers))
}

#[test]
fn a_bid_that_no_price_brings_into_a_pod_raises_no_price_there() {
    let plain = json!({});
    // a place that the seller does not guarantee
    let wants = json!({ "slotinpod": 1 });
    assert_eq!(
        second_price(&[slot("1", &plain)], &[ad("x", "1", 4.0, &wants), ad("y", "1", 5.0, &plain)]),
        ["b/y 0.01 0 won", "a/x - none no_room"]
    );
    assert_eq!(
        second_price(&[slot("1", &wants)], &[ad("x", "1", 4.0, &wants), ad("y", "1", 5.0, &plain)]),
        ["b/y 4.01 4 won", "a/x - 4.01 lost_to_higher_bid"]
    );
    // an advertiser that stands elsewhere in the pod
    let brand = json!({ "adomain": ["k.example"] });
    assert_eq!(
        second_price(
            &[slot("1", &plain), slot("2", &plain)],
            &[
                ad("x", "1", 3.0, &brand),
                ad("y", "2", 2.0, &plain),
                ad("z", "2", 1.5, &brand),
                ad("v", "2", 1.0, &plain),
            ],
        ),
        [
            "a/x 0.01 0 won",
            "b/y 1.01 1 won",
            "c/z - none advertiser_is_there",
            "d/v - 1.01 lost_to_higher_bid",
        ]
    );
}

#[test]
fn in_a_dynamic_pod_a_bid_competes_with_the_one_in_whose_place_it_could_stand() {
    let (plain, brand) = (json!({}), json!({ "adomain": ["k.example"] }));
    // beside one winner of a dynamic pod it may stand, and in the place of the other
    let two = json!({ "poddur": 60, "maxseq": 2 });
    assert_eq!(
        second_price(
            &[slot("1", &two)],
            &[
                ad("x", "1", 6.0, &brand),
                ad("y", "1", 5.0, &plain),
                ad("z", "1", 4.98, &brand),
                ad("v", "1", 1.0, &plain),
            ],
        ),
        [
            "a/x 4.99 4.98 won",
            "b/y 1.01 1 won",
            "c/z - 5 lost_to_higher_bid",
            "d/v - 1.01 lost_to_higher_bid",
        ]
    );
}

#[test]
fn a_group_takes_every_place_in_a_pod_that_it_bids_for_or_none() {
    let ad = |id: &str, price: f64| ad(id, "1", price, &json!({}));
    let pod = |ads: u32| {
        json!({ "imp": [{ "id": "1", "bidfloor": 0.5,
        "video": { "mimes": ["x/y"], "poddur": 60, "maxseq": ads } }] })
    };
    let group = json!({ "seatbid": [{ "group": 1, "bid": [ad("x", 3.0), ad("y", 1.0)] }] });
    let answers = [("a", group.clone()), ("b", bids(&[ad("z", 2.0)]))];
    for (most, expected) in [
        (3, &["1: a/x 3 USD", "1: b/z 2 USD", "1: a/y 1 USD"][..]),
        (2, &["1: b/z 2 USD", "a/x group_incomplete", "a/y group_incomplete"]),
    ] {
        assert_eq!(Case::new(&pod(most), &answers).outcome(), expected, "{most}");
    }
    // one that may not take part is no less of it
    let short = json!({ "seatbid": [{ "group": 1, "bid": [ad("x", 3.0), ad("y", 0.1)] }] });
    assert_eq!(
        Case::new(&pod(3), &[("a", short)]).outcome(),
        ["a/x group_incomplete", "a/y below_floor"]
    );
}

proptest! {
    #[test]
    fn several_winners_are_the_best_ones_and_every_bid_still_ends_once(
        case in any_case(),
        most in 1..=4u8,
    ) {
        let mut case = case;
        case.partner.multibid = most;
        let result = case.run();
        let answers = case.answered();
        let ends: Vec<_> = result.wins.iter().map(|win| win.at)
            .chain(result.losses.iter().map(|loss| loss.at)).collect();
        prop_assert_eq!(ends.iter().collect::<HashSet<_>>().len(), ends.len());
        let all: usize = answers.iter().map(|answered| answered.answer.bids.len()).sum();
        prop_assert_eq!(ends.len(), all);
        let mut imps: Vec<u32> = result.wins.iter().map(|win| win.imp).collect();
        prop_assert!(imps.is_sorted());
        imps.dedup();
        for imp in imps {
            let wins: Vec<_> = result.wins.iter().filter(|win| win.imp == imp).collect();
            prop_assert!(wins.len() <= usize::from(most));
            // deals before the open auction, as long as there is room
            prop_assert!(wins.is_sorted_by_key(|win| !win.is_deal));
        }
        for win in &result.wins {
            prop_assert!(win.net <= win.clearing && win.clearing <= win.value);
            prop_assert!(win.clearing_in_bid_currency <= win.price);
        }
    }
}
