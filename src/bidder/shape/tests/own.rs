//! What depends on the bidder's own settings, and on which imps it is sent.

use super::*;

use crate::money::margin::TakeRate;
use crate::openrtb::ids::Media;
use crate::partner::{DealTerm, DealTerms, Margin};

fn imp(rest: &str) -> String {
    format!(
        r#"{{"id":"r","tmax":80,"imp":[{{"id":"1","banner":{{"w":1,"h":1}}{rest}}}],"site":{{}}"#
    )
}

#[test]
fn allimps_says_so_only_to_a_bidder_that_is_sent_all() {
    let request = |allimps: &str, imps: &str| {
        format!(r#"{{"allimps":{allimps},"id":"r","imp":[{imps}],"tmax":80,"site":{{}}}}"#)
    };
    let two = format!("{IMP},{}", IMP.replace("\"1\"", "\"2\""));
    for (imps, allimps, expected) in [
        (0b11, "1", "1"),
        (0b01, "1", "0"),
        (0b01, " \"1\" ", " 0 "),
        (0b01, "true", "0"),
        (0b01, "0", "0"),
        (0b01, "null", "null"),
    ] {
        let sent = if imps == 0b11 { two.clone() } else { IMP.to_owned() };
        let case = Case { imps, ..Case::default() };
        assert_eq!(case.body(&request(allimps, &two)), Ok(request(expected, &sent)));
    }
    // One that was refused is one that the bidder does not see.
    let refused = format!(r#"{IMP},{{"id":"x"}}"#);
    assert_eq!(Case::default().body(&request("1", &refused)), Ok(request("0", IMP)));
}

#[test]
fn secure_inventory_is_said_to_be_secure() {
    let partner = Partner { is_secure: true, ..fixture::partner() };
    let case = Case { partner, ..Case::default() };
    for (given, expected) in [
        ("", r#","secure":1"#),
        (r#","secure":null"#, r#","secure":1"#),
        (r#","secure":0"#, r#","secure":0"#),
        (r#","secure":1"#, r#","secure":1"#),
    ] {
        assert_eq!(case.body(&(imp(given) + "}")), Ok(imp(expected) + "}"));
        assert_eq!(Case::default().body(&(imp(given) + "}")), Ok(imp(given) + "}"));
        let read = fixture::read_of(&(imp(given) + "}"), &case.partner).unwrap();
        assert_eq!(read.view.imps[0].is_secure, Some(!given.ends_with('0')), "{given}");
    }
}

#[test]
fn a_bidder_with_a_currency_gets_its_floors_and_cur_in_it() {
    let partner = Partner { floor: Cpm::from_micros(1_000_000), ..fixture::partner() };
    let yen = |bidder: &mut Bidder| bidder.wire.currency = Currency::parse("JPY");
    let case = Case { partner, configure: yen, ..Case::default() };
    let cur = r#","cur":["JPY","USD"]}"#;
    for (given, expected) in [
        ("", r#","bidfloor":150,"bidfloorcur":"JPY""#),
        (r#","bidfloor":2.00"#, r#","bidfloor":300,"bidfloorcur":"JPY""#),
        (r#","bidfloor":2,"bidfloorcur":"EUR""#, r#","bidfloor":600,"bidfloorcur":"JPY""#),
        (r#","bidfloorcur":"JPY","bidfloor":7"#, r#","bidfloorcur":"JPY","bidfloor":150"#),
        (r#","bidfloorcur":"JPY","bidfloor":151.0"#, r#","bidfloorcur":"JPY","bidfloor":151.0"#),
    ] {
        assert_eq!(case.body(&(imp(given) + "}")), Ok(imp(expected) + cur));
    }
    let by_duration = r#","bidfloor":2,"video":{"mimes":["video/mp4"],"mincpmpersec":0.1}"#;
    // all in dollars, as the floor by the second
    let beside = by_duration.replace("0.1", r#"0.1,"durfloors":[{"mindur":0,"bidfloor":1}]"#);
    assert_eq!(case.body(&(imp(by_duration) + "}")), Ok(imp(&beside) + cur));
    let free = Case { configure: yen, ..Case::default() };
    assert_eq!(free.body(&(imp("") + "}")), Ok(imp("") + cur));
    for (given, expected) in [
        (r#"["EUR"]"#, r#"["JPY","EUR"]"#),
        (r#"["USD","JPY","XXX"]"#, r#"["JPY","USD"]"#),
        ("null", r#"["JPY","USD"]"#),
    ] {
        free.check(&format!(r#","cur":{given}"#), &format!(r#","cur":{expected}"#));
    }
}

#[test]
fn floors_are_marked_up_where_they_stand_and_those_of_deals_where_that_is_agreed() {
    let percent = |percent| TakeRate::from_percent(percent).unwrap();
    let video = |flat: &str, second: &str, range: &str| {
        format!(
            r#","bidfloor":{flat},"video":{{"mimes":["video/mp4"],"mincpmpersec": {second} ,"durfloors":[{{"maxdur":15,"bidfloor":{range},"ext":{{"x":[1]}}}},{{"bidfloor":0}}]}}"#
        )
    };
    let deals = |flat: &str, own: &str| {
        format!(
            r#","pmp":{{"deals":[{{"bidfloor":{flat},"id":"d","ext":{{}}}},{{"id":"e","bidfloor": {own},"bidfloorcur":"EUR","at":3}}]}}"#
        )
    };
    let given = video("2.00", "0.1", "1") + &deals("2.0", "4");
    for (open, on_deals, own, expected) in [
        (0.0, 0.0, None, given.clone()),
        (20.0, 0.0, None, video("2.5", "0.125", "1.25") + &deals("2.0", "4")),
        (20.0, 50.0, None, video("2.5", "0.125", "1.25") + &deals("4", "8")),
        (0.0, 20.0, Some(0.0), video("2.00", "0.1", "1") + &deals("2.5", "4")),
        (0.0, 0.0, Some(50.0), video("2.00", "0.1", "1") + &deals("2.0", "8")),
    ] {
        let take_rate = own.map(percent);
        let term = DealTerm { id: "e".into(), tier: DealTerms::TIER_DEFAULT, take_rate };
        let partner = Partner {
            margin: Margin::new(percent(open), percent(on_deals), vec![]),
            deals: DealTerms::new(vec![term]),
            ..fixture::partner()
        };
        let case = Case { partner, ..Case::default() };
        assert_eq!(case.body(&(imp(&given) + "}")), Ok(imp(&expected) + "}"));
    }
}

#[test]
fn floors_by_duration_are_raised_to_the_partner_s() {
    let partner = Partner { floor: Cpm::from_micros(3_000_000), ..fixture::partner() };
    let case = Case { partner, ..Case::default() };
    for (given, expected) in [
        (
            r#""durfloors":[{"bidfloor":2.0,"maxdur":15},{"mindur":16,"bidfloor":0},{"bidfloor":3.50}]"#,
            r#""durfloors":[{"bidfloor":3,"maxdur":15},{"mindur":16,"bidfloor":3},{"bidfloor":3.50}]"#,
        ),
        (
            r#""mincpmpersec": 0.10 "#,
            r#""mincpmpersec": 0.1,"durfloors":[{"mindur":0,"bidfloor":3}] "#,
        ),
        // no name twice
        (r#""durfloors":[],"mincpmpersec":0.10"#, r#""durfloors":[],"mincpmpersec":0.10"#),
    ] {
        let video = |floors: &str| {
            imp(&format!(r#","bidfloor":3,"video":{{"mimes":["v/m"],{floors}}}"#)) + "}"
        };
        assert_eq!(case.body(&video(given)), Ok(video(expected)));
    }
    // those of a deal were agreed
    let deal = imp(r#","bidfloor":3,"pmp":{"deals":[{"id":"d","durfloors":[{"bidfloor":1}]}]}"#);
    assert_eq!(case.body(&(deal.clone() + "}")), Ok(deal + "}"));
}

#[test]
fn media_that_the_partner_may_not_sell_are_left_out() {
    let media = [Media::Banner].into_iter().collect();
    let floor = Cpm::from_micros(3_000_000);
    let case = Case { partner: Partner { media, floor, ..fixture::partner() }, ..Case::default() };
    let request = |video: &str| imp(&format!(r#","bidfloor":3{video}"#)) + "}";
    let video = r#","video":{"mimes":["v/m"],"durfloors":[{"bidfloor":1}]}"#;
    assert_eq!(case.body(&request(video)), Ok(request("")));
    assert_eq!(case.body(&request("")), Ok(request("")));
}

#[test]
fn a_bidder_is_told_the_seats_that_both_sides_take() {
    type Set = fn(&mut Bidder);
    let allowed: Set = |bidder| bidder.seats.allowed = vec!["a".into(), "b\"".into()];
    let blocked: Set = |bidder| bidder.seats.blocked = vec!["a".into(), "x".into()];
    let both: Set = |bidder| {
        bidder.seats.allowed = vec!["a".into(), "b".into()];
        bidder.seats.blocked = vec!["a".into()];
    };
    for (configure, given, expected) in [
        (allowed, "", r#","wseat":["a","b\""]"#),
        (allowed, r#","wseat":["c","a"]"#, r#","wseat":["a"]"#),
        (allowed, r#","bseat":["a"]"#, r#","wseat":["b\""]"#),
        (allowed, r#","wseat":null,"bseat":[]"#, r#","wseat":["a","b\""]"#),
        (allowed, r#","wseat":"a","at":1"#, r#","at":1,"wseat":["a"]"#),
        (blocked, "", r#","bseat":["a","x"]"#),
        (blocked, r#","bseat":["c","a"]"#, r#","bseat":["c","a","x"]"#),
        (blocked, r#","wseat":["a","c"],"bseat":["d"]"#, r#","wseat":["c"]"#),
        (both, "", r#","wseat":["b"]"#),
    ] {
        Case { configure, ..Case::default() }.check(given, expected);
    }
    let rest = r#","wseat":["c"],"bseat":["d"]"#;
    Case::default().check(rest, rest);
    let nobody = format!(r#"{{{PREFIX},"wseat":["c"]}}"#);
    let case = Case { configure: allowed, ..Case::default() };
    assert_eq!(case.body(&nobody), Err(NotCalled::Rendering));
}

#[test]
fn a_bidder_gets_its_own_id_of_the_user_from_the_eids() {
    let configure =
        |bidder: &mut Bidder| bidder.wire.buyeruid_source = Some("id.example".to_owned());
    let case = Case { configure, ..Case::default() };
    let eids = r#""eids":[{"source":"x.example","uids":[{"id":"7"}]},{"source":"ID.example","uids":[{"atype":1,"id":"u\"1"},{"id":"2"}]}]"#;
    for (given, expected) in [
        (eids.to_owned(), format!(r#"{eids},"buyeruid":"u\"1""#)),
        (format!(r#""buyeruid":"",{eids}"#), format!(r#""buyeruid":"u\"1",{eids}"#)),
        (format!(r#""buyeruid":"b",{eids}"#), format!(r#""buyeruid":"u\"1",{eids}"#)),
        (r#""buyeruid":"b","id":"u""#.to_owned(), r#""id":"u""#.to_owned()),
        (r#""id":"u","buyeruid":"""#.to_owned(), r#""id":"u","buyeruid":"""#.to_owned()),
        (r#""id":"u""#.to_owned(), r#""id":"u""#.to_owned()),
    ] {
        let user = |inside: &str| format!(r#","user":{{{inside}}}"#);
        case.check(&user(&given), &user(&expected));
        Case::default().check(&user(&given), &user(&given));
    }
    let strict = Case { disclosure: Disclosure::STRICT, ..case };
    strict.check(&format!(r#","user":{{{eids}}}"#), r#","user":{}"#);
    let none = r#","user":{"eids":[{"source":"id.example","uids":[]},{"source":"id.example"}]}"#;
    Case { disclosure: Disclosure::FULL, ..strict }.check(none, none);
}

#[test]
fn categories_are_not_blocked_beside_those_that_are_allowed() {
    let partner = Partner { bcat: vec!["IAB25".into()], ..fixture::partner() };
    let case = Case { partner, ..Case::default() };
    let rest = r#","acat":["IAB1"],"bcat":["IAB2"]"#;
    case.check(rest, rest);
    case.check(r#","acat":["IAB1"]"#, r#","acat":["IAB1"]"#);
    case.check(r#","acat":[]"#, r#","acat":[],"bcat":["IAB25"]"#);
}

#[test]
fn a_direct_partners_user_is_sent_with_the_address_that_was_seen() {
    let seen =
        |address: &str| Facts { address: Some(address.parse().unwrap()), ..Facts::default() };
    let partner = Partner { is_direct: true, ..fixture::partner() };
    let v4 = Case { partner: partner.clone(), facts: seen("192.0.2.77"), ..Case::default() };
    let v6 = Case { partner: partner.clone(), facts: seen("2001:db8:1:2::3"), ..Case::default() };
    for (case, given, expected) in [
        (&v4, "", r#","device":{"ip":"192.0.2.77"}"#),
        (&v4, r#","device":null"#, r#","device":{"ip":"192.0.2.77"}"#),
        (&v4, r#","device":{"ua":"x"}"#, r#","device":{"ua":"x","ip":"192.0.2.77"}"#),
        (&v4, r#","device":{"ip":null}"#, r#","device":{"ip":"192.0.2.77"}"#),
        (&v6, r#","device":{"h":1}"#, r#","device":{"h":1,"ipv6":"2001:db8:1:2::3"}"#),
    ] {
        case.check(given, expected);
    }
    let strict = Disclosure::STRICT;
    Case { disclosure: strict, ..v4 }.check("", r#","device":{"ip":"192.0.2.0"}"#);
    Case { disclosure: strict, ..v6 }
        .check(r#","device":{"ifa":"i"}"#, r#","device":{"ipv6":"2001:db8:1::"}"#);
    let device = r#","device":{"h":1}"#;
    Case { partner, facts: seen("10.0.0.1"), ..Case::default() }.check(device, device);
    Case { facts: seen("192.0.2.77"), ..Case::default() }.check(device, device);
}
