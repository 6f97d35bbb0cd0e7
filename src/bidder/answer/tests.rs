//! Answers as bidders send them, and as they should not.

#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::io::Write;

fn read_text(body: &str) -> Result<BidAnswer, NoAnswer> {
    read(body.as_bytes(), "r1", 3, &mut AnswerScratch::new(64)).map_err(|silence| silence.why)
}

fn one_bid(bid: &serde_json::Value) -> Result<BidAnswer, NoAnswer> {
    read_text(&json!({ "id": "r1", "seatbid": [{ "bid": [bid] }] }).to_string())
}

#[test]
fn a_full_answer_is_read_with_every_member_of_its_bids() {
    let body = r#"{"id":"r1","bidid":"x","cur":"eur","seatbid":[
        {"seat":"s\u00e91","group":1,"bid":[{"id":"b1","impid":"1","price":1.25,"adm":"<b>\"\n</b>",
          "adomain":["a.example","b.example"],"cat":["IAB1"],"cattax":1,"attr":[1,2],"mtype":1,"w":300,
          "h":250,"dealid":"d","crid":"c","exp":60,"dur":15,"nurl":"https://example.com/n","unknown":[1]}]},
        {"bid":[{"id":"b2","impid":"2","price":2}]}]}"#;
    let answer = read_text(body).unwrap();
    assert_eq!((answer.text(answer.id), answer.text(answer.bidid)), ("r1", "x"));
    assert_eq!(answer.currency, Currency::parse("EUR"));
    assert_eq!(answer.seats.len(), 2);
    let seat = &answer.seats[0];
    assert_eq!((answer.text(seat.seat), seat.is_group), ("sé1", true));
    let bid = &answer.bids(seat)[0];
    assert_eq!(answer.text(bid.adm), "<b>\"\n</b>");
    assert_eq!(bid.price, Some(1.25));
    assert_eq!(answer.texts_bytes(bid.adomain).collect::<Vec<_>>(), [b"a.example", b"b.example"]);
    assert_eq!(answer.numbers(bid.attr), [1, 2]);
    assert_eq!(
        (bid.mtype, bid.w, bid.h, bid.exp, bid.dur),
        (Some(1), Some(300), Some(250), Some(60), Some(15))
    );
    assert_eq!(answer.members(bid).len(), 17);
    assert_eq!(answer.value(answer.members(bid).last().unwrap()), b"[1]");
    assert_eq!(&answer.body[bid.open as usize..][..1], b"{");
    assert_eq!(&answer.body[bid.close as usize..][..1], b"}");
    let second = &answer.bids(&answer.seats[1])[0];
    assert_eq!(answer.text(second.id), "b2");
    assert_eq!(answer.text(answer.seats[1].seat), "");
}

#[test]
fn what_is_no_usable_answer_says_why() {
    for (body, why) in [
        ("", NoAnswer::NoBid),
        (" \r\n", NoAnswer::NoBid),
        ("[]", NoAnswer::NotJson),
        ("null", NoAnswer::NotJson),
        ("{\"id\":\"r1\"", NoAnswer::NotJson),
        ("{}", NoAnswer::NoBid),
        (r#"{"id":"r1","nbr":8}"#, NoAnswer::NoBid),
        (r#"{"id":"r1","seatbid":null}"#, NoAnswer::NoBid),
        (r#"{"id":"r1","seatbid":[]}"#, NoAnswer::NoBid),
        (r#"{"id":"r1","seatbid":[{}]}"#, NoAnswer::NoBid),
        (r#"{"id":"r1","seatbid":[{"bid":[]}]}"#, NoAnswer::NoBid),
        (r#"{"id":"r2","seatbid":[{"bid":[{}]}]}"#, NoAnswer::WrongId),
        (r#"{"seatbid":[{"bid":[{}]}]}"#, NoAnswer::WrongId),
        (r#"{"id":"r1","seatbid":{}}"#, NoAnswer::Invalid),
        (r#"{"id":"r1","seatbid":[1]}"#, NoAnswer::Invalid),
        (r#"{"id":"r1","seatbid":[{"bid":{}}]}"#, NoAnswer::Invalid),
        (
            r#"{"id":"r1","seatbid":[{"seat":"a","bid":[{}],"se\u0061t":"b"}]}"#,
            NoAnswer::DuplicateKey,
        ),
        (r#"{"id":"r2","id":"r1","seatbid":[{"bid":[{}]}]}"#, NoAnswer::DuplicateKey),
        (r#"{"id":"r1","seatbid":[{"bid":[{},{}]},{"bid":[{},{}]}]}"#, NoAnswer::TooManyBids),
    ] {
        assert_eq!(read_text(body).err(), Some(why), "{body}");
    }
}

#[test]
fn a_bidder_s_own_reason_for_no_bid_is_kept() {
    for (body, nbr) in [
        (r#"{"id":"r1","nbr":8}"#, Some(8)),
        (r#"{"nbr":"15","seatbid":[]}"#, Some(15)),
        (r#"{"id":"r1","nbr":2,"seatbid":[{"bid":[]}]}"#, Some(2)),
        (r#"{"id":"r1","nbr":null}"#, None),
        ("{}", None),
        ("", None),
        // no no-bid
        (r#"{"id":"r2","nbr":8,"seatbid":[{"bid":[{}]}]}"#, None),
    ] {
        let silence = read(body.as_bytes(), "r1", 3, &mut AnswerScratch::new(64)).unwrap_err();
        assert_eq!(silence.nbr, nbr, "{body}");
    }
}

#[test]
fn native_markup_may_be_an_object() {
    let body = r#"{"id":"r1","seatbid":[{"bid":[{"id":"a","adm": {"x":"\u00e9\n"} },{"id":"b\u00e9","adm":"<p>"},{"adm":{}}]}]}"#;
    let mut scratch = AnswerScratch::new(64);
    for _ in 0..2 {
        let answer = read(body.as_bytes(), "r1", 3, &mut scratch).unwrap();
        let adm: Vec<_> = answer.bids.iter().map(|bid| answer.text(bid.adm)).collect();
        assert_eq!(adm, [r#"{"x":"\u00e9\n"}"#, "<p>", "{}"]);
        let objects: Vec<_> = answer.bids.iter().map(|bid| bid.adm_object.is_some()).collect();
        assert_eq!(objects, [true, false, true]);
        assert_eq!(answer.text(answer.bids[1].id), "bé");
        scratch.recycle(answer);
    }
}

#[test]
fn scalars_are_read_as_bidders_write_them() {
    let bid = json!({ "id": 7, "impid": 1, "price": "2.50", "w": "300", "h": 250.0, "mtype": 2.5,
        "attr": ["3", 4, null, ""], "adomain": "a.example", "cat": null, "dealid": 5, "adm": 1, "dur": -1 });
    let answer = one_bid(&bid).unwrap();
    let bid = &answer.bids[0];
    assert_eq!(
        (answer.text(bid.id), answer.text(bid.impid), answer.text(bid.dealid)),
        ("7", "1", "5")
    );
    assert_eq!(bid.price, Some(2.5));
    assert_eq!((bid.w, bid.h, bid.mtype, bid.dur), (Some(300), Some(250), None, None));
    assert_eq!(answer.numbers(bid.attr), [3, 4]);
    assert_eq!(answer.texts_bytes(bid.adomain).collect::<Vec<_>>(), [b"a.example"]);
    assert!(bid.cat.is_empty() && bid.adm.is_empty());
    for price in [json!(null), json!("NaN"), json!("x"), json!([1]), json!(true)] {
        assert_eq!(one_bid(&json!({ "price": price })).unwrap().bids[0].price, None, "{price}");
    }
}

#[test]
fn what_cannot_be_judged_marks_its_bid_alone() {
    for (bid, is_malformed) in [
        ("4", true),
        ("null", true),
        (r#"{"price":1,"price":2}"#, true),
        (r#"{"price":1,"Price":2}"#, false),
        (r#"{"dealid":{"id":"d"}}"#, true),
        (r#"{"cat":[{"id":"IAB1"}]}"#, true),
        (r#"{"dealid":{},"cat":[{}],"attr":false}"#, false),
        (r#"{"cat":[null],"name":1,"Name":2,"ext":4}"#, false),
    ] {
        let answer = read_text(&format!(r#"{{"id":"r1","seatbid":[{{"bid":[{bid},{{}}]}}]}}"#));
        let answer = answer.unwrap();
        let marks: Vec<_> = answer.bids.iter().map(|bid| bid.is_malformed).collect();
        assert_eq!(marks, [is_malformed, false], "{bid}");
    }
}

#[test]
fn currency_is_dollars_where_absent_and_unknown_where_it_is_no_code() {
    for (cur, currency) in [
        ("", Some(Currency::USD)),
        (r#""cur":null,"#, Some(Currency::USD)),
        (r#""cur":"jpy","#, Currency::parse("JPY")),
        (r#""cur":"dollars","#, None),
        (r#""cur":["USD"],"#, None),
    ] {
        let body = format!(r#"{{{cur}"id":"r1","seatbid":[{{"bid":[{{}}]}}]}}"#);
        assert_eq!(read_text(&body).unwrap().currency, currency, "{body}");
    }
}

#[test]
fn a_numeric_request_id_is_echoed_either_way() {
    for id in ["12", "\"12\""] {
        let body = format!(r#"{{"id":{id},"seatbid":[{{"bid":[{{}}]}}]}}"#);
        assert!(read(body.as_bytes(), "12", 3, &mut AnswerScratch::new(64)).is_ok(), "{id}");
    }
}

#[test]
fn a_coded_answer_is_decoded_within_its_caps() {
    let body =
        json!({ "id": "r1", "seatbid": [{ "bid": [{ "adm": " ".repeat(9_000) }] }] }).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    let wire = gzip.finish().unwrap();
    let read = |content: &[u8], encoding: &[u8], body_bytes_max| {
        let limits = CallLimits { body_bytes_max, ..CallLimits::default() };
        let raw = Raw { encoding, content };
        let read = read_encoded(raw, "r1", &limits, &mut AnswerScratch::new(64));
        read.map(|answer| answer.body).map_err(|silence| silence.why)
    };
    assert_eq!(read(b"", b"gzip", 20_000), Err(NoAnswer::NoBid));
    assert_eq!(read(&wire, b"gzip", 20_000), Ok(body.clone().into_bytes()));
    assert_eq!(read(&wire, b"gzip", 5_000), Err(NoAnswer::TooLarge));
    assert_eq!(read(&wire, b"", 20_000), Err(NoAnswer::NotJson));
    assert_eq!(read(body.as_bytes(), b"", 5_000), Err(NoAnswer::TooLarge));
    assert_eq!(read(body.as_bytes(), b"gzip", 20_000), Err(NoAnswer::Encoding));
    assert_eq!(read(body.as_bytes(), b"br", 20_000), Err(NoAnswer::Encoding));
}

#[test]
fn what_was_read_before_into_the_same_buffers_leaves_no_trace() {
    let full = r#"{"id":"r1","bidid":"x","cur":"EUR","nbr":3,"seatbid":[{"seat":"s","group":1,"bid":[
        {"id":"b","impid":"1","price":2,"adm":"\u003cb>","adomain":["a.example"],"attr":[1]}]}]}"#;
    let least = r#"{"id":"r1","seatbid":[{"bid":[{}]}]}"#;
    let broken = r#"{"id":"r1","bidid":"y","cur":"x","seatbid":[{"seat":"t","bid":[{"id":"c","cat":["d"]},4]}]}"#;
    let mut scratch = AnswerScratch::new(64);
    for body in [full, least, broken, least, "{", least, full, broken, full] {
        let read_again =
            read(body.as_bytes(), "r1", 3, &mut scratch).map_err(|silence| silence.why);
        assert_eq!(format!("{read_again:?}"), format!("{:?}", read_text(body)), "{body}");
        if let Ok(answer) = read_again {
            scratch.recycle(answer);
        }
        assert_eq!(scratch.spares.len(), 1);
    }
}

#[test]
fn only_a_few_small_answers_are_kept() {
    let mut scratch = AnswerScratch::new(64);
    scratch.recycle(BidAnswer {
        body: Vec::with_capacity(SPARE_BYTES_MAX + 1),
        ..BidAnswer::default()
    });
    assert_eq!(scratch.spares.len(), 0);
    (0..=SPARES_MAX).for_each(|_| scratch.recycle(BidAnswer::default()));
    assert_eq!(scratch.spares.len(), SPARES_MAX);
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(
        body in r#"(\{|\}|\[|\]|,|:|"id":"r1"|"seatbid":\[\{"bid":\[\{|"(price|adm|attr|group|cur|mtype|dealid)":|"[a-z]{0,3}"|-?[0-9]{1,25}(\.[0-9]{1,3})?|1e30[0-9]|true|null|\\|\PC){0,40}"#,
    ) {
        let _ = read_text(&body);
        let framed = format!(r#"{{"id":"r1","seatbid":[{{"bid":[{{{body}}}]}}]}}"#);
        let _ = read_text(&framed);
    }

    #[test]
    fn any_value_of_any_member_is_read(
        name in "(id|impid|price|adm|adomain|cat|attr|mtype|w|exp|dur|cattax|bundle|nurl|x)",
        value in "(\"[^\"\\\\\\x00-\\x1f]{0,9}\"|-?[1-9][0-9]{0,25}(\\.[0-9]{1,3}(e-?[0-9]{1,2})?)?|true|null|\\{\\}|\\[1,\"a\",\\[\\],null\\])",
    ) {
        let body = format!(r#"{{"id":"r1","seatbid":[{{"bid":[{{"{name}":{value}}}]}}]}}"#);
        let answer = read_text(&body).unwrap();
        let bid = &answer.bids[0];
        match answer.members(bid) {
            [member] => prop_assert_eq!(answer.value(member), value.as_bytes()),
            members => prop_assert!(members.is_empty() && bid.is_malformed),
        }
    }
}
