//! What may not be shown: block lists and allow lists of the request and of the partner.

use super::fixture::{Case, banner, bid, bids, check, one_imp};
use gavel::partner::CreativeBlock;
use serde_json::{Value as Json, json};

fn fate(request: &Json, more: &Json) -> String {
    let mut case = one_imp(request, &json!({}), &[bid("x", "1", 2.0, more)]);
    case.partner.bcat = vec!["IAB7".into()];
    let outcome = case.outcome();
    let word = outcome[0].split(' ').nth(1).unwrap();
    if outcome[0].starts_with("1:") { "won".to_owned() } else { word.to_owned() }
}

#[test]
fn the_categories_of_the_partner_are_blocked_whatever_taxonomy_the_request_uses() {
    for (request, more, expected) in [
        (json!({}), json!({ "cat": ["IAB7-1"] }), "category_blocked"),
        (json!({ "cattax": 6, "bcat": ["53"] }), json!({ "cat": ["IAB7-1"] }), "category_blocked"),
        (json!({ "cattax": 6 }), json!({ "cat": ["IAB7"], "cattax": 1 }), "category_blocked"),
        (
            json!({ "cattax": 6, "bcat": ["53"] }),
            json!({ "cat": ["53"], "cattax": 6 }),
            "category_blocked",
        ),
        (json!({ "cattax": 6, "bcat": ["53"] }), json!({ "cat": ["IAB1"] }), "won"),
        // the ids of two taxonomies are not compared
        (json!({}), json!({ "cat": ["IAB7"], "cattax": 6 }), "won"),
        (json!({ "cattax": 6, "bcat": ["53"] }), json!({ "cat": ["53"], "cattax": 7 }), "won"),
    ] {
        assert_eq!(fate(&request, &more), expected, "{request} {more}");
    }
}

#[test]
fn creatives_are_blocked_by_their_id_and_bidder() {
    for (bidder, crids, crid, expected) in [
        (None, &["c2", "c1"][..], json!("c1"), "a/x creative_blocked"),
        (Some("a"), &["c1"], json!("c1"), "a/x creative_blocked"),
        (Some("b"), &["c1"], json!("c1"), "1: a/x 2 USD"),
        (None, &["c1"], json!("C1"), "1: a/x 2 USD"),
        (None, &["7"], json!(7), "a/x creative_blocked"),
        (None, &["c1"], json!(null), "1: a/x 2 USD"),
    ] {
        let offer = bid("x", "1", 2.0, &json!({ "crid": crid }));
        let mut case = one_imp(&json!({}), &json!({}), &[offer]);
        let crids = crids.iter().map(|crid| (*crid).to_owned()).collect();
        case.partner.creatives_blocked = vec![CreativeBlock::new(bidder.map(str::to_owned), crids)];
        assert_eq!(case.outcome(), [expected], "{bidder:?} {crid}");
    }
}

#[test]
fn where_categories_are_listed_as_allowed_a_bid_has_one_of_them() {
    let acat = json!({ "acat": ["IAB2", "IAB3-1"] });
    let other = json!({ "acat": ["53"], "cattax": 6 });
    check(
        "acat",
        &[
            (acat.clone(), json!({}), json!({ "cat": ["IAB2-4"] }), "won"),
            (acat.clone(), json!({}), json!({ "cat": ["IAB9", "iab3-1"] }), "won"),
            (acat.clone(), json!({}), json!({ "cat": ["IAB3"] }), "category_blocked"),
            (acat.clone(), json!({}), json!({}), "category_blocked"),
            (acat, json!({}), json!({ "cat": ["53"], "cattax": 6 }), "won"),
            (other.clone(), json!({}), json!({ "cat": ["53"], "cattax": 6 }), "won"),
            (other.clone(), json!({}), json!({ "cat": ["54"], "cattax": 6 }), "category_blocked"),
            (other.clone(), json!({}), json!({ "cat": ["IAB1"] }), "won"),
            (other, json!({}), json!({}), "category_blocked"),
        ],
    );
}

#[test]
fn notices_go_to_http_or_https_and_ids_have_no_ends_of_lines() {
    let url = |length: usize, macros: &str| {
        let start = format!("https://b.example/n?m={macros}&x=");
        format!("{start}{}", "x".repeat(length - start.len()))
    };
    let many = "${AUCTION_PRICE}".repeat(12);
    check(
        "notices and ids",
        &[
            (
                json!({}),
                json!({}),
                json!({ "nurl": "https://b.example/n?p=${AUCTION_PRICE}" }),
                "won",
            ),
            (json!({}), json!({}), json!({ "burl": "HTTP://b.example/b", "lurl": "" }), "won"),
            (json!({}), json!({}), json!({ "nurl": "javascript:alert(1)" }), "notice_invalid"),
            (json!({}), json!({}), json!({ "burl": "file:///etc/hostname" }), "notice_invalid"),
            (json!({}), json!({}), json!({ "lurl": "//b.example/l" }), "notice_invalid"),
            (json!({}), json!({}), json!({ "lurl": "http:b.example" }), "notice_invalid"),
            (
                json!({}),
                json!({}),
                json!({ "nurl": "http://b.example/\r\nx-header: 1" }),
                "notice_invalid",
            ),
            (json!({}), json!({}), json!({ "burl": url(2048, "") }), "won"),
            (json!({}), json!({}), json!({ "burl": url(2049, "") }), "notice_invalid"),
            // a price may be sealed, and has 38 characters then
            (json!({}), json!({}), json!({ "burl": url(2020, "${AUCTION_PRICE}") }), "won"),
            (
                json!({}),
                json!({}),
                json!({ "lurl": url(2048, "${AUCTION_PRICE}") }),
                "notice_invalid",
            ),
            (json!({}), json!({}), json!({ "nurl": url(2010, &many) }), "notice_invalid"),
            (json!({}), json!({}), json!({ "nurl": url(1780, &many) }), "won"),
            (json!({}), json!({}), json!({ "crid": "c\r\nx: 1" }), "id_invalid"),
            (json!({}), json!({}), json!({ "adid": "a\u{0}" }), "id_invalid"),
            (json!({}), json!({}), json!({ "cid": "c\u{7f}" }), "id_invalid"),
            (json!({}), json!({}), json!({ "bundle": "b\n" }), "id_invalid"),
            (json!({}), json!({}), json!({ "crid": "caf\u{e9} 1" }), "won"),
            (json!({}), json!({}), json!({ "adid": "a".repeat(1024) }), "won"),
            (json!({}), json!({}), json!({ "adid": "a".repeat(1025) }), "id_invalid"),
        ],
    );
}

#[test]
fn a_bid_lists_no_more_than_can_be_compared() {
    let names = |count: usize| (0..count).map(|n| format!("a{n}.example")).collect::<Vec<_>>();
    let numbers = |count: usize| (100..).take(count).collect::<Vec<_>>();
    check(
        "lists",
        &[
            (json!({}), json!({}), json!({ "adomain": names(64) }), "won"),
            (json!({}), json!({}), json!({ "adomain": names(65) }), "list_too_long"),
            (json!({}), json!({}), json!({ "adomain": names(64).join(", ") }), "won"),
            (json!({}), json!({}), json!({ "adomain": names(65).join(",") }), "list_too_long"),
            (json!({}), json!({}), json!({ "cat": names(64) }), "won"),
            (json!({}), json!({}), json!({ "cat": names(65) }), "list_too_long"),
            (json!({}), json!({}), json!({ "attr": numbers(64) }), "won"),
            (json!({}), json!({}), json!({ "attr": numbers(65) }), "list_too_long"),
        ],
    );
}

#[test]
fn no_lists_take_time_out_of_proportion() {
    let vast = "<VAST version='4'><Ad id='1'></Ad></VAST>";
    let pod = json!({ "imp": [{ "id": "1", "video": { "mimes": ["x/y"], "poddur": 600 } }] });
    let many =
        |of: &str, count: usize| (0..count).map(|n| format!("{of}{n}.example")).collect::<Vec<_>>();
    let each = ["a", "b"].map(|of| {
        let lists = json!({ "adm": vast, "dur": 15, "adomain": many(of, 100_000), "cat": many(of, 100_000) });
        (of, bids(&[bid("x", "1", 2.0, &lists)]))
    });
    // hours where each is compared with each
    assert_eq!(Case::new(&pod, &each).outcome(), ["a/x list_too_long", "b/x list_too_long"]);

    // 100 bids of 64 domains each for a deal of 2,000 advertisers: compiled once
    let deal = json!({ "id": "d", "wadomain": many("\u{e9}", 2_000) });
    let request = json!({ "imp": [banner(&json!({ "pmp": { "deals": [deal] } }))],
        "badv": many("\u{e8}", 2_000) });
    let named = many("a.\u{e9}", 64);
    let offers: Vec<_> = (0..100)
        .map(|n| bid(&n.to_string(), "1", 2.0, &json!({ "dealid": "d", "adomain": named })))
        .collect();
    let outcome = Case::new(&request, &[("a", bids(&offers))]).outcome();
    assert_eq!((outcome.len(), outcome[0].as_str()), (100, "1: a/0 2 USD"));
}

#[test]
fn an_id_is_used_by_a_bid_that_may_have_it() {
    for more in [0, 8] {
        let mut offers = vec![bid("x", "1", 2.0, &json!({ "crid": "c\n" }))];
        offers.extend((0..more).map(|n| bid(&format!("y{n}"), "1", 1.0, &json!({}))));
        offers.push(bid("x", "1", 3.0, &json!({})));
        offers.push(bid("x", "1", 4.0, &json!({})));
        let case = Case::new(&json!({ "imp": [banner(&json!({}))] }), &[("a", bids(&offers))]);
        let outcome = case.outcome();
        assert_eq!(outcome[..2], ["1: a/x 3 USD", "a/x id_invalid"], "{more}");
        assert_eq!(outcome.last().unwrap(), "a/x id_duplicate", "{more}");
    }
}
