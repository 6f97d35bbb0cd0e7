//! What may not be shown: block lists and allow lists of the request and of the partner.

use super::fixture::{bid, check, one_imp};
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
