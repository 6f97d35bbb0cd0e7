//! Bids that cannot be read in one way: each is rejected alone.

use super::fixture::{Case, banner, bids, check, request_of};
use gavel::bidder::answer::{AnswerScratch, read};
use gavel::exchange::sell::Seller;
use serde_json::{Value as Json, json};

/// What becomes of bids, as they stand in JSON, on one banner with a floor of 0.5 dollars.
fn fates(bids: &str) -> Vec<String> {
    let mut case = Case::new(&json!({ "imp": [banner(&json!({}))] }), &[]);
    let body = format!(r#"{{"id":"r1","seatbid":[{{"bid":[{bids}]}}]}}"#);
    let answer = read(body.as_bytes(), "r1", 100, &mut AnswerScratch::new(64)).unwrap();
    case.bidders.push(("a".into(), u64::MAX, answer));
    case.outcome()
}

#[test]
fn a_bid_that_cannot_be_judged_costs_no_other() {
    let good = r#"{"id":"g","impid":"1","price":1,"adm":"<p>"}"#;
    for bad in [
        r#""dealid":true"#,
        r#""dealid":["d"]"#,
        r#""dealid":{"id":"d"}"#,
        r#""x":1,"x":2"#,
        r#""price":1"#,
        r#""cr\u0069d":"c","crid":"d""#,
    ] {
        let bid = format!(r#"{{"id":"b","impid":"1","price":9,"adm":"<p>",{bad}}}"#);
        for both in [format!("{bid},{good}"), format!("{good},{bid}")] {
            assert_eq!(fates(&both), ["1: a/g 1 USD", "a/b malformed"], "{bad}");
        }
    }
    for bad in ["null", "1", "\"x\"", "[]"] {
        let fates = fates(&format!("{bad},{good}"));
        assert_eq!(fates, ["1: a/g 1 USD", "a/ malformed"], "{bad}");
    }
}

#[test]
fn a_member_in_other_letters_goes_on_to_nobody() {
    let with =
        |more: &str| fates(&format!(r#"{{"id":"b","impid":"1","price":2,"adm":"<p>",{more}}}"#));
    for more in [
        r#""Price":99"#,
        r#""Adm":"<img src=http://plain/>""#,
        r#""ADomain":["bad.example"]"#,
        r#""Attr":[3]"#,
        r#""Cat":["IAB7"]"#,
        r#""NURL":"https://b.example""#,
        r#""Impid":"2""#,
        r#""dealId":"d""#,
        r#""\u0050rice":99"#,
        "\"cro\":1,\"\u{17f}lotinpod\":1",
        r#""EXT":{}"#,
        r#""IUrl":5"#,
    ] {
        assert_eq!(with(more), ["1: a/b 2 USD"], "{more}");
        let bid = format!(r#"{{"id":"b","impid":"1","price":2,"adm":"<p>",{more}}}"#);
        let bid: Json = serde_json::from_str(&bid).unwrap();
        let imp = json!({ "imp": [banner(&json!({}))] });
        let case = Case::new(&imp, &[("a", bids(&[bid]))]);
        let reply = case.reply(Seller::plain(&case.partner));
        let sold = reply["seatbid"][0]["bid"][0].as_object().unwrap();
        let names: Vec<&str> =
            sold.keys().map(String::as_str).filter(|name| *name != "cro").collect();
        assert_eq!(names, ["adm", "id", "impid", "mtype", "price"], "{more}");
    }
    for more in [r#""priceX":1"#, r#""Vendor":{"Price":1}"#, r#""ext":{"Price":1}"#, r#""Name":1"#]
    {
        assert_eq!(with(more), ["1: a/b 2 USD"], "{more}");
    }
}

#[test]
fn what_ads_are_blocked_by_is_not_absent_where_it_cannot_be_read() {
    let lists = json!({ "badv": ["bad.example"], "bcat": ["IAB7"], "bapp": ["bad"] });
    let imp = json!({ "banner": { "battr": [3] } });
    let row = |more, expected| (lists.clone(), imp.clone(), more, expected);
    let malformed = "malformed";
    check(
        "unreadable",
        &[
            row(json!({ "attr": "3,5" }), malformed),
            row(json!({ "attr": [3.5] }), malformed),
            row(json!({ "attr": [[3]] }), malformed),
            row(json!({ "attr": [] }), "won"),
            row(json!({ "attr": [null, 4, "5"] }), "won"),
            row(json!({ "attr": "" }), "won"),
            row(
                json!({ "adomain": {}, "cat": {}, "attr": {}, "bundle": [], "dealid": false }),
                "won",
            ),
            row(json!({ "adomain": ["good.example", ["bad.example"]] }), malformed),
            row(json!({ "adomain": "bad.example\0" }), malformed),
            row(json!({ "adomain": ["", null, "good.example"] }), "won"),
            row(json!({ "cat": [["IAB7"]] }), malformed),
            row(json!({ "cat": true }), malformed),
            row(json!({ "cat": "IAB7-1", "cattax": 0 }), "category_blocked"),
            row(json!({ "cat": "IAB7-1", "cattax": "one" }), malformed),
            row(json!({ "cat": "IAB7-1", "cattax": -1 }), malformed),
            row(json!({ "cat": "IAB7-1", "cattax": "1" }), "category_blocked"),
            row(json!({ "cat": "IAB8", "cattax": "" }), "won"),
            row(json!({ "bundle": ["bad"] }), malformed),
            row(json!({ "bundle": true }), malformed),
            row(json!({ "crid": ["c"] }), malformed),
        ],
    );
}

#[test]
fn a_malformed_bid_leaves_its_group_incomplete() {
    let imps = r#"{"id":"1","banner":{"w":300,"h":250}},{"id":"2","banner":{"w":300,"h":250}}"#;
    let mut case = Case::new(&json!({ "imp": [banner(&json!({}))] }), &[]);
    case.request = request_of(&format!(r#"{{"id":"r1","at":1,"imp":[{imps}]}}"#));
    let good = r#"{"id":"g","impid":"1","price":1,"adm":"<p>"}"#;
    for bad in ["null", r#"{"id":"","impid":"2","price":1,"adm":"<p>","price":2}"#] {
        let seat = format!(r#"{{"group":1,"bid":[{good},{bad}]}}"#);
        let body = format!(r#"{{"id":"r1","seatbid":[{seat}]}}"#);
        let answer = read(body.as_bytes(), "r1", 100, &mut AnswerScratch::new(64)).unwrap();
        case.bidders = vec![("a".into(), u64::MAX, answer)];
        assert_eq!(case.outcome(), ["a/g group_incomplete", "a/ malformed"], "{bad}");
    }
}
