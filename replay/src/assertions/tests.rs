use super::inspector::{Inspector, KEPT_MAX};
use super::pair::Pair;
use super::*;
use crate::inspect::{End, Exchange, Inspect};
use proptest::prelude::*;
use serde_json::{Value, json};

fn request() -> Value {
    json!({
        "id": "r1", "tmax": 100, "cur": ["USD", "EUR"], "bcat": ["IAB7-1"], "badv": ["evil.example"],
        "bapp": ["com.evil"], "bseat": ["s9"],
        "imp": [
            {"id": "1", "bidfloor": 1.5, "bidfloorcur": "USD",
             "banner": {"w": 300, "h": 250, "format": [{"w": 728, "h": 90}], "battr": [3]},
             "pmp": {"deals": [{"id": "d1", "bidfloor": 4, "at": 3, "wseat": ["s1"]}]}},
            {"id": 2, "bidfloor": "0.5", "video": {"mimes": ["video/mp4"]}}
        ]
    })
}

fn answer() -> Value {
    json!({"id": "r1", "cur": "USD", "seatbid": [{"seat": "s1", "bid": [
        {"id": "b1", "impid": "1", "price": 2, "adm": "<a>", "w": 300, "h": 250, "mtype": 1,
         "adomain": ["good.example"], "cat": ["IAB1"], "attr": [4], "bundle": "com.good"},
        {"id": "b2", "impid": "2", "price": 0.5, "adm": "<VAST>"}]}]})
}

fn outcome(one: Assertion, request: &Value, status: u16, answer: &str) -> Outcome {
    let request = request.to_string();
    let took = Some(Duration::from_millis(50));
    let pair = Pair::new(request.as_bytes(), status, answer.as_bytes(), took);
    one.check(&pair, &AssertionSettings::default())
}

/// The rule fails where the answer is changed so, and holds where it is not.
fn broken(one: Assertion, at: &str, value: Value) -> String {
    let good = outcome(one, &request(), 200, &answer().to_string());
    assert!(!matches!(good, Outcome::Fails(_)), "{one:?}: {good:?}");
    let mut changed = answer();
    *changed.pointer_mut(at).unwrap() = value;
    match outcome(one, &request(), 200, &changed.to_string()) {
        Outcome::Fails(why) => why,
        other => panic!("{one:?} at {at}: {other:?}"),
    }
}

#[test]
fn a_good_answer_holds_in_every_rule() {
    for one in Assertion::ALL {
        let found = outcome(one, &request(), 200, &answer().to_string());
        let is_judged = !matches!(one, Assertion::Empty | Assertion::Deal | Assertion::Mix);
        let expected = if is_judged { Outcome::Holds } else { Outcome::NotJudged };
        assert_eq!(found, expected, "{one:?}");
    }
}

#[test]
fn each_rule_sees_what_breaks_it() {
    let bid = "/seatbid/0/bid/0";
    for (one, at, value) in [
        (Assertion::Id, "/id".to_owned(), json!("r2")),
        (Assertion::Currency, "/cur".to_owned(), json!("JPY")),
        (Assertion::Shape, "/seatbid".to_owned(), json!([])),
        (Assertion::Shape, "/seatbid/0/bid".to_owned(), json!([])),
        (Assertion::Shape, format!("{bid}/price"), json!(0)),
        (Assertion::Shape, format!("{bid}/price"), json!("2")),
        (Assertion::Shape, format!("{bid}/id"), json!("")),
        (Assertion::Shape, "/seatbid/0/seat".to_owned(), json!(7)),
        (Assertion::Impid, format!("{bid}/impid"), json!("3")),
        (Assertion::OneBid, format!("{bid}/impid"), json!("2")),
        (Assertion::Floor, format!("{bid}/price"), json!(1.49)),
        (Assertion::Floor, "/seatbid/0/bid/1/price".to_owned(), json!(0.49)),
        (Assertion::Category, format!("{bid}/cat"), json!(["IAB7-1"])),
        (Assertion::Advertiser, format!("{bid}/adomain"), json!(["ads.EVIL.example"])),
        (Assertion::App, format!("{bid}/bundle"), json!("com.evil")),
        (Assertion::Attribute, format!("{bid}/attr"), json!([1, 3])),
        (Assertion::Size, format!("{bid}/w"), json!(301)),
        (Assertion::Markup, format!("{bid}/adm"), json!(" ")),
        (Assertion::Seat, "/seatbid/0/seat".to_owned(), json!("s9")),
    ] {
        assert!(!broken(one, &at, value).is_empty());
    }
    assert_eq!(
        broken(Assertion::Floor, "/seatbid/0/bid/0/price", json!(1)),
        "price 1 USD is below the floor of 1.5"
    );
}

#[test]
fn deals_have_their_own_price_and_seats() {
    let with = |deal: &str, price: f64, seat: &str| {
        let mut changed = answer();
        changed["seatbid"][0]["seat"] = json!(seat);
        changed["seatbid"][0]["bid"][0]["dealid"] = json!(deal);
        changed["seatbid"][0]["bid"][0]["price"] = json!(price);
        let changed = changed.to_string();
        [Assertion::Deal, Assertion::Floor, Assertion::Seat]
            .map(|one| matches!(outcome(one, &request(), 200, &changed), Outcome::Fails(_)))
    };
    assert_eq!(with("d1", 4.0, "s1"), [false, false, false]);
    // above the impression's floor and not the deal's price
    assert_eq!(with("d1", 5.0, "s1"), [true, false, false]);
    assert_eq!(with("d1", 2.0, "s1"), [true, true, false]);
    assert_eq!(with("d2", 2.0, "s1"), [true, false, false]);
    assert_eq!(with("d1", 4.0, "s2"), [false, false, true]);
}

#[test]
fn prices_are_rounded_to_a_millionth_and_currencies_have_no_case() {
    let judged = |one, floor: f64, price: f64, at: u8| {
        let (mut asked, mut answered) = (request(), answer());
        asked["imp"][0]["bidfloor"] = json!(floor);
        asked["imp"][0]["pmp"]["deals"][0] = json!({"id": "d1", "bidfloor": floor, "at": at});
        let bid = &mut answered["seatbid"][0]["bid"][0];
        bid["price"] = json!(price);
        if one == Assertion::Deal {
            bid["dealid"] = json!("d1");
        }
        outcome(one, &asked, 200, &answered.to_string())
    };
    for one in [Assertion::Floor, Assertion::Deal] {
        assert_eq!(judged(one, 0.123_456_7, 0.123_456, 3), Outcome::Holds, "{one:?}");
        assert!(matches!(judged(one, 0.123_456_7, 0.123_454, 3), Outcome::Fails(_)), "{one:?}");
        assert_eq!(judged(one, 1_000.0, 999.999_5, 3), Outcome::Holds, "{one:?}");
    }
    let mut asked = request();
    asked["cur"] = json!(["usd"]);
    asked["imp"][0]["bidfloorcur"] = json!("usd");
    let text = answer().to_string();
    assert_eq!(outcome(Assertion::Currency, &asked, 200, &text), Outcome::Holds);
    asked["imp"][0]["bidfloor"] = json!(3);
    assert!(matches!(outcome(Assertion::Floor, &asked, 200, &text), Outcome::Fails(_)));
}

#[test]
fn statuses_bodies_and_time_are_judged_without_bids() {
    let fails = |one, status, body: &str| {
        matches!(outcome(one, &request(), status, body), Outcome::Fails(_))
    };
    for (status, expected) in [
        (200, false),
        (204, false),
        (400, false),
        (429, false),
        (503, false),
        (500, true),
        (502, true),
        (302, true),
    ] {
        assert_eq!(fails(Assertion::Status, status, ""), expected, "{status}");
    }
    assert!(fails(Assertion::Empty, 204, " ") && !fails(Assertion::Empty, 204, ""));
    let announcing = Pair { announces: true, ..Pair::new(b"{}", 204, b"", None) };
    let found = Assertion::Empty.check(&announcing, &AssertionSettings::default());
    assert!(matches!(found, Outcome::Fails(_)), "{found:?}");
    for body in ["", "null", "[]", "{}", "{\"seatbid\":", "<html>"] {
        assert!(fails(Assertion::Parses, 200, body), "{body}");
    }
    assert!(!fails(Assertion::Parses, 200, "{\"nbr\":2}"));
    let late = |ms| {
        let request = request().to_string();
        let pair = Pair::new(request.as_bytes(), 204, b"", Some(Duration::from_millis(ms)));
        matches!(Assertion::Tmax.check(&pair, &AssertionSettings::default()), Outcome::Fails(_))
    };
    assert!(!late(110) && late(111));
}

#[test]
fn what_the_bodies_do_not_say_is_not_judged() {
    let bare = json!({"id": "r1", "imp": [{"id": "1", "banner": {}, "video": {}}]});
    let answer = json!({"id": "r1", "cur": "EUR", "seatbid": [{"bid": [
        {"id": "b", "impid": "1", "price": 0.01, "w": 1, "h": 1, "adm": "x"}]}]});
    for one in [
        Assertion::Floor,
        Assertion::Deal,
        Assertion::Seat,
        Assertion::Currency,
        Assertion::Category,
        Assertion::Advertiser,
        Assertion::App,
        Assertion::Attribute,
        Assertion::Size,
        Assertion::Tmax,
    ] {
        assert_eq!(outcome(one, &bare, 200, &answer.to_string()), Outcome::NotJudged, "{one:?}");
    }
    // a floor in another currency
    let mut other = request();
    other["imp"][0]["bidfloorcur"] = json!("JPY");
    other["imp"][1]["bidfloorcur"] = json!("JPY");
    let answer = self::answer().to_string();
    assert_eq!(outcome(Assertion::Floor, &other, 200, &answer), Outcome::NotJudged);
}

fn exchange<'a>(
    number: u64,
    request: &'a [u8],
    status: u16,
    answer: &'a [u8],
    recorded: u16,
) -> Exchange<'a> {
    Exchange {
        number,
        round: 0,
        connection: 0,
        planned: Duration::from_millis(1),
        sent: Some(Duration::from_millis(2)),
        latency: Duration::from_millis(5),
        partner: "",
        path: "/openrtb2/demo",
        request,
        end: End::Answered(status),
        answer,
        announces: false,
        recorded_status: Some(recorded),
    }
}

#[test]
fn counts_examples_and_failing_pairs_are_bounded() {
    let (request, bad) = (request().to_string(), answer().to_string().replace("\"r1\"", "\"x\""));
    let mut inspector = Inspector::new(&Assertion::ALL, AssertionSettings::default());
    for number in 0..200 {
        inspector.exchange(&exchange(number, request.as_bytes(), 200, bad.as_bytes(), 200));
    }
    let (found, kept) = inspector.finish();
    let row = found.rows.iter().find(|row| row.name == "id").unwrap();
    assert_eq!((row.judged, row.failed, row.examples.len()), (200, 200, 5));
    assert_eq!(kept.len(), KEPT_MAX);
    assert_eq!((kept[0].assertion, kept[0].number), (Assertion::Id, 0));
    assert!(!found.hold());
    let mut twice = found.clone();
    twice.merge(&found);
    assert_eq!(twice.rows.iter().find(|row| row.name == "id").unwrap().failed, 400);
    let text = serde_json::to_string(&twice).unwrap();
    assert_eq!(serde_json::from_str::<Assertions>(&text).unwrap(), twice);
}

#[test]
fn a_mix_that_moved_is_a_fault_and_chance_is_none() {
    let mixed = |now: &dyn Fn(u64) -> u16| {
        let mut inspector = Inspector::new(&[Assertion::Mix], AssertionSettings::default());
        for number in 0..400 {
            let recorded = if number % 2 == 0 { 200 } else { 204 };
            inspector.exchange(&exchange(number, b"{}", now(number), b"", recorded));
        }
        inspector.finish().0.mix.unwrap()
    };
    assert_eq!(mixed(&|number| if number % 2 == 0 { 200 } else { 204 }).fault, None);
    // as many won as lost: the same mix of other requests
    assert_eq!(mixed(&|number| if number % 4 < 2 { 200 } else { 204 }).fault, None);
    let moved = mixed(&|number| if number % 4 == 0 { 200 } else { 204 });
    assert!(moved.fault.unwrap().contains("100 of 400 requests have a bid, 200 had one"));
    let rows: Vec<_> = moved.rows.iter().map(|row| (row.recorded, row.now.clone())).collect();
    assert_eq!(rows, [(200, [(200, 100), (204, 100)].into()), (204, [(204, 200)].into())]);
}

#[test]
fn names_are_read_or_refused_with_the_list() {
    assert_eq!(Assertion::parse_list("all").unwrap().len(), 19);
    let found = Assertion::parse_list("floor, id,floor").unwrap();
    assert_eq!(found, [Assertion::Id, Assertion::Floor]);
    let error = Assertion::parse_list("flor").unwrap_err().to_string();
    assert!(error.contains("`flor`") && error.contains("floor, deal"), "{error}");
}

proptest! {
    #[test]
    fn no_answer_makes_a_rule_panic(
        at in 0usize..400, byte in any::<u8>(), cut in 0usize..500, status in 100u16..600
    ) {
        let mut body = answer().to_string().into_bytes();
        let mut ask = request().to_string().into_bytes();
        let place = at % body.len();
        body[place] = byte;
        let place = at % ask.len();
        ask[place] = byte;
        body.truncate(cut);
        let pair = Pair::new(&ask, status, &body, None);
        for one in Assertion::ALL {
            one.check(&pair, &AssertionSettings::default());
        }
    }
}
