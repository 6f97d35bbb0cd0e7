//! Each end has its status, and says no more than it may.

use super::*;
use crate::http::Ambiguity;
use http_body_util::BodyExt;

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// As it comes from a request.
fn table() -> Table {
    let asked = [(CONTENT_TYPE, "text/asked"), (RETRY_AFTER, "9"), (REASON, "asked")];
    let headers = asked.map(|(name, value)| (name, HeaderValue::from_static(value)));
    Table::emptied(headers.into_iter().collect())
}

#[test]
fn every_refusal_has_its_status_and_says_its_code() {
    let replier = Replier::new(1);
    for refusal in Refusal::ALL {
        let reply = replier.verdict(Verdict::Refused(refusal), Styles::default(), table());
        let expected = match refusal {
            Refusal::Unauthorised => 401,
            Refusal::PartnerQps => 429,
            Refusal::Overload | Refusal::NotReady | Refusal::NowhereToBill => 503,
            Refusal::BodyTooLarge | Refusal::ExpansionRatio => 413,
            Refusal::BodyTooSlow => 408,
            Refusal::ContentEncoding | Refusal::ContentType => 415,
            Refusal::Panic => 500,
            other if other.nbr() == 2 => 400,
            _ => 204,
        };
        assert_eq!(reply.status().as_u16(), expected, "{refusal:?}");
        let reason = if expected == 401 { "" } else { refusal.label() };
        assert_eq!(header(&reply, "x-gavel-reason"), reason);
        let version = if expected == 401 { "" } else { "2.6" };
        assert_eq!(header(&reply, "x-openrtb-version"), version);
        let is_shed = matches!(expected, 429 | 503);
        assert_eq!(header(&reply, "retry-after"), if is_shed { "1" } else { "" }, "{refusal:?}");
        let is_empty = hyper::body::Body::is_end_stream(reply.body());
        assert!(is_empty, "{refusal:?} has an empty body");
    }
}

#[test]
fn shedding_is_a_no_bid_for_partners_that_prefer_it() {
    let styles = Styles { shed: ShedStyle::NoBid, ..Styles::default() };
    for (refusal, status) in [
        (Refusal::PartnerQps, 204),
        (Refusal::Overload, 204),
        (Refusal::NowhereToBill, 204),
        (Refusal::NotReady, 503),
        (Refusal::Unauthorised, 401),
        (Refusal::NotJson, 400),
    ] {
        let reply = Replier::new(1).verdict(Verdict::Refused(refusal), styles, table());
        assert_eq!(reply.status().as_u16(), status, "{refusal:?}");
    }
}

#[tokio::test]
async fn no_bids_are_empty_or_say_their_reason() {
    let replier = Replier::new(1);
    let verdict = || Verdict::NoBid {
        nbr: 3,
        id_json: Bytes::from_static(b"\"a\\\"b\""),
        rule: Some(Refusal::KnownSpider),
        ext: None,
    };
    let reply = replier.verdict(verdict(), Styles::default(), table());
    assert_eq!(header(&reply, "x-gavel-reason"), "known_spider");
    assert_eq!((reply.status().as_u16(), header(&reply, "content-type")), (204, ""));
    assert_eq!(header(&reply, "x-openrtb-version"), "2.6");
    let styles = Styles { no_bid: NoBidStyle::Reason, ..Styles::default() };
    let reply = replier.verdict(verdict(), styles, table());
    assert_eq!(
        (reply.status().as_u16(), header(&reply, "content-type")),
        (200, "application/json")
    );
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], br#"{"id":"a\"b","nbr":3}"#);
}

#[test]
fn what_is_no_bid_request_has_its_status_too() {
    for (denial, status, name, value) in [
        (Denial::NoRoute, 404, "x-gavel-reason", ""),
        (Denial::Method, 405, "allow", "POST"),
        (Denial::TooManyHeaders, 431, "x-gavel-reason", ""),
        (Denial::UriTooLong, 414, "x-gavel-reason", ""),
        (Denial::Ambiguous(Ambiguity::Host), 400, "x-gavel-reason", "ambiguous_host"),
        (Refusal::NotReady.into(), 503, "retry-after", "7"),
    ] {
        let reply = Replier::new(7).denial(denial);
        assert_eq!((reply.status().as_u16(), header(&reply, name)), (status, value));
    }
}

#[test]
fn an_answer_is_json_and_names_the_version() {
    let verdict = Verdict::Answered("{}".into());
    let reply = Replier::new(1).verdict(verdict, Styles::default(), table());
    assert_eq!(reply.status().as_u16(), 200);
    assert_eq!(header(&reply, "content-type"), "application/json");
    assert_eq!(header(&reply, "x-openrtb-version"), "2.6");
}
