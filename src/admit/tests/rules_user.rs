//! Rules about the device, the regulations and the user: bodies in, outcomes out.

use super::request;
use super::rules::{admitted, roots};
use crate::negatives::refusal::Refusal::*;

#[test]
fn device_addresses_parse() {
    roots(&[
        (r#""device":{"ip":"192.0.2.1","ipv6":"2001:db8::1"}"#, None),
        (r#""device":{"ip":"2001:db8::1"}"#, None),
        (r#""device":{"ip":"","ipv6":null}"#, None),
        (r#""device":{"ip":"192.0.2"}"#, Some(DeviceAddress)),
        (r#""device":{"ip":"192.0.2.256"}"#, Some(DeviceAddress)),
        (r#""device":{"ip":"192.0.2.x"}"#, Some(DeviceAddress)),
        (r#""device":{"ipv6":"2001:db8::/32"}"#, Some(DeviceAddress)),
        (r#""device":{"ip":3221225985}"#, Some(DeviceAddress)),
        (r#""device":{"ip":[]}"#, Some(WrongType)),
        (r#""device":[]"#, Some(NotAnObject)),
        (r#""device":{"geo":5}"#, Some(NotAnObject)),
        (r#""device":{"devicetype":300}"#, None),
        (r#""device":{"devicetype":18446744073709551616}"#, None),
    ]);
}

#[test]
fn a_structured_user_agent_is_read_in_both_places_and_that_of_2_6_counts() {
    for (device, platform) in [
        (r#"{"sua":{"platform":{"brand":"A"}}}"#, Some("A")),
        (r#"{"ext":{"sua":{"platform":{"brand":"B"}}}}"#, Some("B")),
        (
            r#"{"ext":{"sua":{"platform":{"brand":"B"}}},"sua":{"platform":{"brand":"A"}}}"#,
            Some("A"),
        ),
        (r#"{"sua":null,"ext":{"sua":{"platform":{"brand":"B"}}}}"#, Some("B")),
        (r#"{"ext":{"sua":{"platform":5}}}"#, None),
        (r#"{"ext":{"sua":"B"}}"#, None),
    ] {
        let request = admitted(&request(&format!("\"device\":{device}"), ""));
        let sua = request.view.device.sua;
        assert_eq!(sua.map(|sua| request.text(sua.platform)), platform, "{device}");
    }
}

#[test]
fn regs_are_zero_or_one_in_either_place() {
    for place in [r#""regs":{M}"#, r#""regs":{"ext":{M}}"#] {
        for key in ["coppa", "gdpr"] {
            for (value, expected) in [
                ("0", None),
                ("1", None),
                ("\"1\"", None),
                ("true", None),
                ("1.0", None),
                ("null", None),
                ("2", Some(RegsValue)),
                ("-1", Some(RegsValue)),
                ("0.5", Some(RegsValue)),
                ("\"\"", Some(RegsValue)),
                ("\"yes\"", Some(RegsValue)),
                ("[]", Some(RegsValue)),
                ("18446744073709551616", Some(RegsValue)),
            ] {
                let member = format!("\"{key}\":{value}");
                roots(&[(&place.replace('M', &member), expected)]);
            }
        }
    }
}

#[test]
fn signals_are_read_in_both_places_and_the_strictest_counts() {
    for (root, coppa, gdpr, us_privacy, malformed) in [
        (r#""regs":{"coppa":1,"gdpr":0,"us_privacy":"1YNN"}"#, true, Some(false), "1YNN", false),
        (r#""regs":{"ext":{"gdpr":1,"us_privacy":"1YNN"}}"#, false, Some(true), "1YNN", false),
        (r#""regs":{"gdpr":1,"ext":{"gdpr":1}}"#, false, Some(true), "", false),
        (r#""regs":{"gdpr":0,"ext":{"gdpr":1}}"#, false, Some(true), "", true),
        (r#""regs":{"ext":{"gdpr":0},"gdpr":1}"#, false, Some(true), "", true),
        (r#""regs":{"us_privacy":"1---","ext":{"us_privacy":"1---"}}"#, false, None, "1---", false),
        (r#""regs":{"us_privacy":"1---","ext":{"us_privacy":"1YYY"}}"#, false, None, "1---", true),
        (r#""regs":{"us_privacy":{}}"#, false, None, "", true),
        (r#""regs":{"gpp":[]}"#, false, None, "", true),
        (r#""regs":{"gpp_sid":"x"}"#, false, None, "", true),
        (r#""regs":{"gpp_sid":[7],"ext":{"gpp_sid":[7]}}"#, false, None, "", false),
        (r#""regs":{"gpp_sid":[7],"ext":{"gpp_sid":[8]}}"#, false, None, "", true),
        (r#""user":{"consent":"a","ext":{"consent":"a"}}"#, false, None, "", false),
        (r#""user":{"consent":"a","ext":{"consent":"b"}}"#, false, None, "", true),
        (r#""user":{"consent":"a","ext":{"consent":"b"}},"regs":{}"#, false, None, "", true),
        (r#""user":{"ext":{"consent":[]}}"#, false, None, "", true),
    ] {
        let request = admitted(&request(root, ""));
        let regs = request.view.regs;
        assert_eq!(
            (regs.is_coppa, regs.gdpr, request.text(regs.us_privacy), regs.is_malformed),
            (coppa, gdpr, us_privacy, malformed),
            "{root}"
        );
    }
}

#[test]
fn global_privacy_control_is_a_string_of_one_digit_in_either_place() {
    for place in [r#""regs":{M}"#, r#""regs":{"ext":{M}}"#] {
        for (value, is_gpc, is_malformed) in [
            (r#""1""#, true, false),
            ("1", true, false),
            (r#""0""#, false, false),
            ("0", false, false),
            ("null", false, false),
            (r#""""#, false, true),
            (r#"" 1""#, false, true),
            (r#""yes""#, false, true),
            ("2", false, true),
            ("-1", false, true),
            ("1.0", false, true),
            ("true", false, true),
            ("[1]", false, true),
            ("{}", false, true),
        ] {
            let root = place.replace('M', &format!("\"gpc\":{value}"));
            let regs = admitted(&request(&root, "")).view.regs;
            assert_eq!((regs.is_gpc, regs.is_malformed), (is_gpc, is_malformed), "{root}");
        }
    }
    for regs in [r#"{"gpc":"0","ext":{"gpc":"1"}}"#, r#"{"gpc":"1","ext":{"gpc":"0"}}"#] {
        assert!(admitted(&request(&format!("\"regs\":{regs}"), "")).view.regs.is_gpc, "{regs}");
    }
    assert!(!admitted(&request("", "")).view.regs.is_gpc);
}

#[test]
fn an_app_may_track_by_one_status_of_four_alone() {
    for (value, is_denied, is_malformed) in [
        ("0", true, false),
        ("1", true, false),
        ("2", true, false),
        ("3", false, false),
        (r#""0""#, true, false),
        (r#""2""#, true, false),
        (r#""3""#, false, false),
        ("2.0", true, false),
        ("null", false, false),
        (r#""""#, false, true),
        ("4", false, true),
        ("-1", false, true),
        ("1.5", false, true),
        (r#""denied""#, false, true),
        ("true", false, true),
        ("[2]", false, true),
        (r#"{"id":"x"}"#, false, true),
        ("18446744073709551616", false, true),
    ] {
        for rest in ["", r#","regs":{"coppa":0}"#] {
            let root = format!(r#""device":{{"ext":{{"atts":{value}}}}}{rest}"#);
            let view = admitted(&request(&root, "")).view;
            let read = (view.device.is_tracking_denied, view.regs.is_malformed);
            assert_eq!(read, (is_denied, is_malformed), "{root}");
        }
    }
}

#[test]
fn an_id_is_read_where_it_stands_once() {
    let eids =
        |uid: &str| format!(r#""user":{{"eids":[{{"source":"a.example","uids":[{uid}]}}]}}"#);
    roots(&[
        (&eids(r#"{"id":"1","atype":1}"#), None),
        (&eids(r#"{"id":"1","id":"2"}"#), Some(DuplicateKey)),
        (&eids(r#"{"id":"1","ext":{},"ext":{}}"#), Some(DuplicateKey)),
        (&eids(r#"{"id":"1","\u0069d":"2"}"#), Some(DuplicateKey)),
        // of this one nothing is read
        (&eids(r#"{"id":"1"},{"id":"2","id":"3"}"#), None),
        (&eids(r#""1""#), None),
    ]);
    let request = admitted(&request(&eids(r#"{"atype":1,"id":"u"}"#), ""));
    let uid = request.view.texts[request.view.user.eid_uids.range()][0];
    assert_eq!(request.text(uid), "u");
}

#[test]
fn eids_and_schain_are_read_in_both_places_within_limits() {
    let list = |count: usize, one: &str| vec![one; count].join(",");
    let eids = |count| format!("\"eids\":[{}]", list(count, r#"{"source":"a.example"}"#));
    let uids = |count| format!(r#""eids":[{{"uids":[{}]}}]"#, list(count, "{}"));
    for place in [r#""user":{M}"#, r#""user":{"ext":{M}}"#] {
        roots(&[
            (&place.replace('M', &eids(100)), None),
            (&place.replace('M', &eids(101)), Some(TooManyEids)),
            (&place.replace('M', &uids(50)), None),
            (&place.replace('M', &uids(51)), Some(TooManyEids)),
            (&place.replace('M', "\"eids\":{}"), Some(WrongType)),
        ]);
        let request = admitted(&request(&place.replace('M', &eids(2)), ""));
        assert_eq!(request.texts(request.view.user.eid_sources).count(), 2);
    }
    let nodes = |count| format!("\"schain\":{{\"nodes\":[{}]}}", list(count, "{}"));
    for place in [r#""source":{M}"#, r#""source":{"ext":{M}}"#] {
        roots(&[
            (&place.replace('M', &nodes(20)), None),
            (&place.replace('M', &nodes(21)), Some(TooManySchainNodes)),
            (&place.replace('M', "\"schain\":5"), Some(NotAnObject)),
            (&place.replace('M', "\"schain\":{\"nodes\":5}"), Some(WrongType)),
        ]);
        let request = admitted(&request(&place.replace('M', &nodes(2)), ""));
        let (element, count) = request.view.objects.schain_nodes.unwrap();
        let nodes = &request.bytes()[element.at as usize..element.end as usize];
        assert_eq!((nodes, count), (&b"[{},{}]"[..], 2));
    }
    let both = r#""source":{"ext":{"schain":{"ver":"ext"}},"schain":{"ver":"own"}}"#;
    let request = admitted(&request(both, ""));
    let member = request.members(&request.view.objects.schain.unwrap())[0];
    assert_eq!(request.value(&member), b"\"own\"");
}

#[test]
fn permissions_for_ids_that_cannot_be_read_are_a_malformed_signal() {
    let many = |count: usize, rule: &str| format!("[{}]", vec![rule; count].join(","));
    let names = |count: usize| format!(r#"[{{"bidders":[{}]}}]"#, vec!["\"b\""; count].join(","));
    for (rules, read) in [
        ("[]".to_owned(), Some(0)),
        ("null".to_owned(), Some(0)),
        (r#"[{"source":"s","bidders":["b"]},{"source":7},{}]"#.to_owned(), Some(3)),
        (many(64, "{}"), Some(64)),
        (names(1024), Some(1)),
        (many(65, "{}"), None),
        (names(1025), None),
        ("{}".to_owned(), None),
        (r#""s""#.to_owned(), None),
        (r#"["s"]"#.to_owned(), None),
    ] {
        let ext = format!(r#""ext":{{"prebid":{{"data":{{"eidpermissions":{rules}}}}}}}"#);
        for root in [ext.clone(), format!("{ext},\"regs\":{{}}"), format!("\"regs\":{{}},{ext}")] {
            let view = admitted(&request(&root, "")).view;
            assert_eq!(view.regs.is_malformed, read.is_none(), "{root}");
            assert!(read.is_none_or(|count| view.prebid.eid_rules.len() == count), "{root}");
        }
    }
}

#[test]
fn what_prebid_addresses_to_bidders_has_no_key_twice() {
    roots(&[
        (r#""ext":{"prebid":{},"prebid":{}}"#, Some(DuplicateKey)),
        (r#""ext":{"prebid":{},"\u0070rebid":1}"#, Some(DuplicateKey)),
        (r#""ext":{"prebid":{"data":{},"data":{}}}"#, Some(DuplicateKey)),
        (r#""ext":{"prebid":{"bidderconfig":1,"bidderconfig":2}}"#, Some(DuplicateKey)),
        (r#""user":{"ext":{"prebid":{"buyeruids":{"b":"1","b":"2"}}}}"#, Some(DuplicateKey)),
        (r#""ext":{"a":1,"a":2},"user":{"ext":{"prebid":[{},{}]}}"#, None),
        (r#""ext":{"prebid":[1,1]}"#, None),
    ]);
}
