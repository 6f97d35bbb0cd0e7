//! Our answer to a partner, and its explanation, for auctions of the fixture.

use super::fixture::{Case, banner, bid, bids};
use super::properties::any_case;
use gavel::auction::offer::AuctionResult;
use gavel::auction::pricing::Pricing;
use gavel::auction::rules::NO_RULES;
use gavel::bidder::answer::{AnswerScratch, read};
use gavel::exchange::explain::{BidderStory, Call, Explanation, explain, is_wanted};
use gavel::exchange::respond::{Response, id_json, write};
use gavel::exchange::sell::Seller;
use gavel::facts::{Facts, Geo};
use gavel::json::scratch::Scratch;
use gavel::json::unique::Unique;
use gavel::json::value::{Kind, Value};
use gavel::negatives::no_answer::NoAnswer;
use gavel::negatives::not_called::NotCalled;
use gavel::negatives::refusal::Refusal;
use gavel::openrtb::ids::{BidderId, Country};
use gavel::token::issuer::Issuer;
use gavel::token::keys::{Key, Keys};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::time::Duration;

fn respond(case: &Case, ext: Option<&[u8]>) -> String {
    let (answers, result) = (case.answered(), case.run());
    let response = Response {
        request: &case.request,
        answers: &answers,
        result: &result,
        bidid: (0x5_a1f0, 1),
        ext,
        seller: Seller::plain(&case.partner),
    };
    String::from_utf8(write(&response)).unwrap()
}

/// Seconds for which a bill of a banner is taken, and the `exp` in our answer, where the imp and the
/// bid name one.
fn lives(imp: &Json, own: &Json) -> (u64, Json) {
    let seconds = Duration::from_secs;
    let keys = || Keys::new(Key::new(1, &"k".repeat(64)), vec![]);
    let issuer = Issuer {
        keys: keys(),
        base: "https://x.example".into(),
        banner_ttl: seconds(60),
        video_ttl: seconds(86_400),
    };
    let request = json!({ "site": {}, "imp": [banner(imp)] });
    let case = Case::new(&request, &[("a", bids(&[bid("x", "1", 2.0, own)]))]);
    let wall = seconds(1_800_000_000);
    let plain = Seller::plain(&case.partner);
    let seller = Seller { issuer: Some(&issuer), secret: &[7; 32], wall, ..plain };
    let answer = case.reply(seller);
    let sold = &answer["seatbid"][0]["bid"][0];
    let (_, token) = sold["burl"].as_str().unwrap().split_once("/e/").unwrap();
    let (token, _) = token.split_once('?').unwrap();
    let mut scratch = Vec::new();
    let claims = keys().accept(token.as_bytes(), wall, &mut scratch).unwrap();
    (claims.expires_s - wall.as_secs(), sold["exp"].clone())
}

#[test]
fn a_sale_that_may_be_shown_late_is_billed_late_and_no_later_than_any() {
    let exp = |exp: Json| json!({ "exp": exp });
    for (imp, own, expected) in [
        (json!(null), json!(null), (60, json!(null))),
        (json!(30), json!(45), (60, json!(45))),
        (json!(null), json!(3600), (3600, json!(3600))),
        (json!(1800), json!(3600), (3600, json!(3600))),
        (json!(1800), json!(null), (1800, json!(null))),
        (json!(86_400), json!(86_400), (86_400, json!(86_400))),
        (json!(null), json!(86_401), (86_400, json!(86_400))),
        (json!(90_000), json!(null), (86_400, json!(86_400))),
    ] {
        assert_eq!(lives(&exp(imp.clone()), &exp(own.clone())), expected, "{imp} {own}");
    }
}

fn two_imps(id: &Json, answers: &[(&str, Json)]) -> Case {
    let imps = json!([{ "id": "1", "banner": {} }, { "id": "2", "banner": {} }]);
    Case::new(&json!({ "id": id, "at": 2, "imp": imps }), answers)
}

/// An answer of the bidder as it wrote it, blanks and escapes included.
fn verbatim(case: &mut Case, name: &str, seatbid: &str) {
    let id = case.request.text(case.request.view.id);
    let body = format!("{{\"id\":\"{id}\",\"seatbid\":{seatbid}}}");
    let answer = read(body.as_bytes(), id, 9, &mut AnswerScratch::new(64)).unwrap();
    case.bidders.push((name.to_owned(), u64::MAX, answer));
}

#[test]
fn a_winner_is_copied_byte_for_byte_but_for_price_imp_and_media() {
    let mut case = two_imps(&json!("r\u{e9}\"1"), &[]);
    case.request = {
        let body =
            r#"{"id":"r\u00e9\"1","at":2,"imp":[{"id":"\u0031","banner":{"w":300,"h":250}}]}"#;
        super::fixture::request_of(body)
    };
    let id = case.request.text(case.request.view.id).to_owned();
    let seatbid = r#"[{"seat":"s \"1\"","bid":[{ "id" : "b\/1","impid":"1","price":1.50,
        "adm":"<p title=\"\u00e9\">\n<\/p>", "ext":{"a":[1.0,{"b":null}],"a2":1e2},"mtype":null,"nurl":"https://b.example/w?p=${AUCTION_PRICE}","x":[ ] }]}]"#;
    let body = format!("{{\"id\":{},\"seatbid\":{seatbid}}}", Json::String(id.clone()));
    let answer = read(body.as_bytes(), &id, 9, &mut AnswerScratch::new(64)).unwrap();
    case.bidders.push(("a".into(), u64::MAX, answer));
    assert_eq!(id_json(&case.request), br#""r\u00e9\"1""#);
    assert_eq!(
        respond(&case, None),
        concat!(
            r#"{"id":"r\u00e9\"1","seatbid":[{"seat":"s \"1\"","bid":[{"id" : "b\/1","impid":"\u0031","price":0.01,"#,
            r#""adm":"<p title=\"\u00e9\">\n<\/p>","ext":{"a":[1.0,{"b":null}],"a2":1e2},"#,
            r#""nurl":"https://b.example/w?p=0.01","x":[ ],"mtype":1}]}],"bidid":"5a1f0-1","cur":"USD"}"#
        )
    );
}

#[test]
fn ids_and_native_markup_become_the_strings_that_they_have_to_be() {
    let imp = json!([{ "id": "1", "native": {} }]);
    let mut case = Case::new(&json!({ "imp": imp }), &[]);
    let bid = r#"{"id":7,"impid":"1","price":1,"adid" : -8,"cid":"9","crid":1.50,
        "adm":{"native":{"assets":[{"title":{"text":"a \"b\" \u00e9"}}]}}}"#;
    verbatim(&mut case, "a", &format!("[{{\"bid\":[{bid}]}}]"));
    assert_eq!(case.outcome(), ["1: a/7 1 USD"]);
    assert_eq!(
        respond(&case, None),
        concat!(
            r#"{"id":"r1","seatbid":[{"seat":"a","bid":[{"id":"7","impid":"1","price":1,"adid" : "-8","cid":"9","crid":"1.50","#,
            r#""adm":"{\"native\":{\"assets\":[{\"title\":{\"text\":\"a \\\"b\\\" \\u00e9\"}}]}}","mtype":4}]}],"bidid":"5a1f0-1","cur":"USD"}"#
        )
    );
    // an object is the markup of no other media
    let mut banner = two_imps(&json!("r1"), &[]);
    verbatim(
        &mut banner,
        "a",
        r#"[{"bid":[{"id":7,"impid":"1","price":1,"adm":{"assets":[1]}}]}]"#,
    );
    assert_eq!(banner.outcome(), ["a/7 markup_invalid"]);
}

#[test]
fn a_member_of_another_type_is_written_in_its_own_or_left_out() {
    let case = |bid: &str| {
        let mut case = two_imps(&json!("r1"), &[]);
        verbatim(&mut case, "a", &format!("[{{\"bid\":[{bid}]}}]"));
        case
    };
    let bid = r#"{"id":7,"impid":"1","price":"1","adm":"<p>","w":"300","h":250.0,"adomain":"x.example","cat":["IAB1",null,"IAB\u0032"],
        "attr" : "1","cattax":"1","exp":"60","dur":15.0,"slotinpod":"0","bundle":5,"language":["en"],"iurl":5,"apis":[1,"2"],
        "api":3,"protocol":"2","tactic":"t","ext":[],"qagmediarating":1.5,"langb":"en","vendor":[1.0]}"#;
    assert_eq!(
        respond(&case(bid), None),
        concat!(
            r#"{"id":"r1","seatbid":[{"seat":"a","bid":[{"id":"7","impid":"1","price":0.01,"adm":"<p>","w":300,"h":250,"#,
            r#""adomain":["x.example"],"cat":["IAB1","IAB2"],"attr" : [1],"cattax":1,"exp":60,"dur":15,"slotinpod":0,"bundle":"5","#,
            r#""api":3,"tactic":"t","langb":"en","vendor":[1.0],"mtype":1}]}],"bidid":"5a1f0-1","cur":"USD"}"#
        )
    );
    // what says nothing is not said
    let bid = r#"{"id":"7","impid":"1","price":1,"adm":"<p>","nurl":5,"burl":null,"lurl":[],"adid":{},"cid":true,"crid":null,
        "dealid":null,"adomain":[],"cat":null,"attr":[null],"cattax":0,"exp":"an hour","dur":[],"wratio":null,"ext":null,"iurl":null}"#;
    assert_eq!(
        respond(&case(bid), None),
        concat!(
            r#"{"id":"r1","seatbid":[{"seat":"a","bid":[{"id":"7","impid":"1","price":0.01,"adm":"<p>","mtype":1}]}],"#,
            r#""bidid":"5a1f0-1","cur":"USD"}"#
        )
    );
}

#[test]
fn winners_stand_under_their_seats_and_seats_of_two_bidders_stay_apart() {
    let offer = |id: &str, imp: &str, price: f64| bid(id, imp, price, &json!({}));
    let mut case = two_imps(&json!("r1"), &[]);
    verbatim(&mut case, "a", &json!([{ "seat": "s", "bid": [offer("x", "1", 3.0)] }]).to_string());
    verbatim(&mut case, "b", &json!([{ "seat": "s", "bid": [offer("y", "2", 3.0)] }]).to_string());
    let seats = |case: &Case| -> Vec<(String, usize, Json)> {
        let answer: Json = serde_json::from_str(&respond(case, None)).unwrap();
        let seats = answer["seatbid"].as_array().unwrap().iter();
        seats
            .map(|s| {
                (
                    s["seat"].as_str().unwrap().to_owned(),
                    s["bid"].as_array().unwrap().len(),
                    s["group"].clone(),
                )
            })
            .collect()
    };
    assert_eq!(seats(&case), [("s".to_owned(), 1, Json::Null), ("s".to_owned(), 1, Json::Null)]);

    let mut case = two_imps(&json!("r1"), &[]);
    let split = json!([{ "seat": "s", "bid": [offer("x", "1", 3.0)] }, { "seat": "s", "bid": [offer("y", "2", 3.0)] }]);
    verbatim(&mut case, "a", &split.to_string());
    assert_eq!(seats(&case), [("s".to_owned(), 2, Json::Null)]);

    let mut case = two_imps(&json!("r1"), &[]);
    let group = json!([{ "group": 1, "bid": [offer("x", "1", 3.0), offer("y", "2", 3.0)] }]);
    verbatim(&mut case, "a", &group.to_string());
    assert_eq!(seats(&case), [("a".to_owned(), 2, json!(1))]);
}

#[test]
fn an_explanation_names_every_bidder_and_every_bid() {
    let request =
        json!({ "test": 1, "at": 2, "imp": [{ "id": "1", "banner": {}, "bidfloor": 1 }] });
    let high = bid("x", "1", 3.5, &json!({ "crid": "c" }));
    let answers = [
        ("alpha", bids(&[high, bid("y", "1", 0.5, &json!({}))])),
        ("beta", bids(&[bid("z", "1", 2.0, &json!({}))])),
    ];
    let case = Case::new(&request, &answers);
    assert!(is_wanted(&case.request, &case.partner, false));
    let (answered, result) = (case.answered(), case.run());
    let took = Duration::from_micros(1_500);
    let made = |answer, status, nbr| Call::Made { imps: 1, took, status, answer, nbr };
    let story = |number, name, call| BidderStory { bidder: BidderId(number), name, call };
    let bidders = [
        story(0, "alpha", made(Ok(()), 200, None)),
        story(1, "beta", made(Ok(()), 200, None)),
        story(2, "gamma", made(Err(NoAnswer::Late), 0, None)),
        story(3, "delta", Call::Not(NotCalled::Country)),
        story(4, "epsilon", made(Err(NoAnswer::NoBid), 200, Some(8))),
    ];
    let geo = Geo { region: Some("BY".into()), city: Some("Town".into()), ..Geo::default() };
    let facts = Facts {
        address: Some([192, 0, 2, 1].into()),
        country: Country::parse("DEU"),
        geo: Some(geo.into()),
        ..Facts::default()
    };
    let ext = explain(&Explanation {
        generation: 7,
        request: &case.request,
        pricing: Pricing::new(&case.request, &case.partner, &case.rates, &NO_RULES),
        facts: &facts,
        browser: None,
        tmax: Duration::from_millis(250),
        took: Duration::from_millis(12),
        imps_refused: &[(1, Refusal::BannerSize)],
        bidders: &bidders,
        answers: &answered,
        result: &result,
    });
    let told: Json = serde_json::from_slice(&ext).unwrap();
    assert_eq!(
        told,
        json!({ "gavel": {
            "generation": 7, "at": 2, "cur": "USD", "tmax_ms": 250.0, "took_ms": 12.0,
            "facts": { "country": "DEU", "region": "BY", "anonymous": false, "hosting": false },
            "imps_refused": [{ "position": 1, "reason": "banner_size" }],
            "bidders": [
                { "name": "alpha", "called": true, "imps": ["1"], "ms": 1.5, "status": 200, "bids": [
                    { "id": "x", "impid": "1", "seat": "alpha", "price": 3.5, "cur": "USD", "crid": "c",
                      "result": "won", "media": "banner", "value": 3.5, "clearing": 2.01, "clearing_cur": "USD" },
                    { "id": "y", "impid": "1", "seat": "alpha", "price": 0.5, "cur": "USD",
                      "result": "rejected", "reason": "below_floor", "loss": 100, "nonbid": 301 }] },
                { "name": "beta", "called": true, "imps": ["1"], "ms": 1.5, "status": 200, "bids": [
                    { "id": "z", "impid": "1", "seat": "beta", "price": 2.0, "cur": "USD",
                      "result": "lost", "reason": "lost_to_higher_bid", "loss": 102 }] },
                { "name": "gamma", "called": true, "imps": ["1"], "ms": 1.5, "status": 0,
                  "reason": "late", "nonbid": 101 },
                { "name": "delta", "called": false, "reason": "country", "nonbid": 203 },
                { "name": "epsilon", "called": true, "imps": ["1"], "ms": 1.5, "status": 200,
                  "reason": "no_bid", "nonbid": 0, "nbr": 8 }] } })
    );
    let mut quiet = case;
    quiet.partner.may_debug = false;
    assert!(!is_wanted(&quiet.request, &quiet.partner, false));
    assert!(is_wanted(&quiet.request, &quiet.partner, true), "an operator may always");
}

fn has_unique_keys(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::Object(members) => {
            let mut unique = Unique::default();
            members.into_iter().all(|entry| unique.is_new(&entry) && has_unique_keys(entry.value))
        }
        Kind::Array(mut elements) => elements.all(has_unique_keys),
        _ => true,
    }
}

proptest! {
    #[test]
    fn an_answer_has_each_winner_once_at_its_net_price_and_no_key_twice(case in any_case()) {
        let result: AuctionResult = case.run();
        let written = respond(&case, None);
        let mut text = Vec::new();
        prop_assert!(has_unique_keys(Scratch::new(64).read(written.as_bytes(), &mut text).unwrap().root()));
        let answer: Json = serde_json::from_str(&written).unwrap();
        let seats = answer["seatbid"].as_array().cloned().unwrap_or_default();
        let mut prices: Vec<_> = seats.iter()
            .flat_map(|seat| seat["bid"].as_array().unwrap())
            .map(|bid| (bid["impid"].as_str().unwrap().to_owned(), bid["price"].as_f64().unwrap()))
            .collect();
        prices.sort_by(|one, other| one.0.cmp(&other.0));
        let expected: Vec<_> = result.wins.iter().map(|win| {
            let imp = &case.request.view.imps[win.imp as usize];
            (case.request.text(imp.id).to_owned(), win.net.to_string().parse().unwrap())
        }).collect();
        prop_assert_eq!(prices, expected);
    }
}
