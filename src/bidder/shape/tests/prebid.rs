//! What Prebid.js addresses to single bidders. The bidder here is `b`.

use super::*;

/// A bidder whose ids of users are those of the source `one.example`.
fn synced(bidder: &mut Bidder) {
    bidder.wire.buyeruid_source = Some("one.example".into());
}

#[test]
fn what_is_set_for_single_bidders_goes_to_nobody() {
    let config = r#""bidderconfig":[{"bidders":["b"],"config":{"ortb2":{"user":{"id":"x"}}}}]"#;
    for (given, expected) in [
        (r"{CONFIG}", "{}"),
        (r#"{ CONFIG , "a":[1.0]}"#, r#"{ "a":[1.0]}"#),
        (r#"{"a":1, CONFIG}"#, r#"{"a":1}"#),
        (r#"{"a":1 , CONFIG ,"b":2}"#, r#"{"a":1 ,"b":2}"#),
        (r#"{"a":{"bidderconfig":1}}"#, r#"{"a":{"bidderconfig":1}}"#),
    ] {
        let ext = |prebid: &str| format!(r#","ext":{{"z":1, "prebid":{prebid},"y":[]}},"q":1"#);
        let given = ext(&given.replace("CONFIG", config));
        for disclosure in [Disclosure::FULL, Disclosure::STRICT, Disclosure::CHILD] {
            Case { disclosure, ..Case::default() }.check(&given, &ext(expected));
        }
    }
    for ext in
        [r#"{"prebid":null}"#, r#"{"prebid":"bidderconfig"}"#, r#"{"a":{"prebid":{}}}"#, "[]"]
    {
        Case::default().check(&format!(r#","ext":{ext}"#), &format!(r#","ext":{ext}"#));
    }
}

#[test]
fn a_restricted_request_has_no_data_and_no_page_views_of_prebid() {
    let given = concat!(
        r#","ext":{"prebid":{"data":{"eidpermissions":[]},"channel":{"name":"web"},"#,
        r#""page_view_ids":{"b":"x"}}}"#,
    );
    Case::default().check(given, given);
    for disclosure in [Disclosure::STRICT, Disclosure::CHILD] {
        let strict = Case { disclosure, ..Case::default() };
        strict.check(given, r#","ext":{"prebid":{"channel":{"name":"web"}}}"#);
    }
}

#[test]
fn a_bidder_is_told_its_own_buyeruid_alone() {
    for (given, expected) in [
        (r#"{"buyeruids":{"a":"1","b": "2" ,"c":"3"},"x":1}"#, Some(r#"{"buyeruids":{"b": "2"}}"#)),
        (r#"{"buyeruids":{"B":"2"}}"#, Some(r#"{"buyeruids":{"B":"2"}}"#)),
        (r#"{"buyeruids":{"a":"1"},"x":1}"#, None),
        (r#"{"buyeruids":{}}"#, None),
        (r#"{"buyeruids":"2"}"#, None),
        (r#"{"x":1}"#, Some(r#"{"x":1}"#)),
        ("null", Some("null")),
    ] {
        let user = |prebid: Option<&str>| {
            let prebid = prebid.map(|prebid| format!(r#","prebid":{prebid}"#)).unwrap_or_default();
            format!(r#","user":{{"id":"u","ext":{{"x":0{prebid},"y":1}}}}"#)
        };
        for version in [V25, V26] {
            let case = Case { version, ..Case::default() };
            case.check(&user(Some(given)), &user(expected));
            let strict = Case { disclosure: Disclosure::STRICT, ..case };
            strict.check(&user(Some(given)), r#","user":{"ext":{}}"#);
        }
    }
}

#[test]
fn an_id_goes_to_those_that_its_source_permits() {
    let [one, two, odd] = [
        r#"{"source":"one.example","uids":[{"id":"1"}]}"#,
        r#"{ "uids":[{"id":"2"}],"source":"two.example"}"#,
        r#"{"uids":[]}"#,
    ];
    let all = format!("[{one}, {two},{odd}]");
    let only = |list: &[&str]| format!("[{}]", list.join(","));
    for (rules, told) in [
        ("[]", all.clone()),
        ("null", all.clone()),
        (r#"[{"source":"one.example","bidders":["x","b"]}]"#, all.clone()),
        (r#"[{"source":"one.example","bidders":["*"]}]"#, all.clone()),
        (r#"[{"source":"one.example","bidders":["B"]}]"#, all.clone()),
        (r#"[{"source":"other.example","bidders":[]}]"#, all.clone()),
        (r#"[{"source":"one.example","bidders":["x"]}]"#, only(&[two, odd])),
        (r#"[{"source":"One.Example"}]"#, only(&[two, odd])),
        (r#"[{"source":"two.example","bidders":"b"}]"#, only(&[one, odd])),
        (
            r#"[{"source":"one.example","bidders":["b"]},{"source":"one.example","bidders":["x"]}]"#,
            only(&[two, odd]),
        ),
        (r#"[{"inserter":"i","bidders":["x"]}]"#, "[]".to_owned()),
    ] {
        let ext = format!(r#","ext":{{"prebid":{{"data":{{"eidpermissions":{rules}}}}}}}"#);
        for (version, given, expected) in [
            (V26, r#","user":{"eids":E,"id":"u"}"#, r#","user":{"eids":E,"id":"u"}"#),
            (V26, r#","user":{"ext":{"eids":E}}"#, r#","user":{"ext":{},"eids":E}"#),
            (V26, r#","user":{"eids":E,"ext":{"eids":E}}"#, r#","user":{"eids":E,"ext":{}}"#),
            (V25, r#","user":{"eids":E,"id":"u"}"#, r#","user":{"id":"u","ext":{"eids":E}}"#),
            (V25, r#","user":{"ext":{"y":1,"eids":E}}"#, r#","user":{"ext":{"y":1,"eids":E}}"#),
        ] {
            let case = Case { version, ..Case::default() };
            let (given, expected) = (given.replace('E', &all), expected.replace('E', &told));
            case.check(&format!("{given}{ext}"), &format!("{expected}{ext}"));
            case.check(&format!("{ext}{given}"), &format!("{ext}{expected}"));
        }
    }
}

#[test]
fn lists_that_differ_keep_their_places_without_what_is_withheld() {
    let ext = r#","ext":{"prebid":{"data":{"eidpermissions":[{"source":"s","bidders":["x"]}]}}}"#;
    let given =
        r#","user":{"eids":[{"source":"s"}],"ext":{"eids":[{"source":"t"},{"source":"s"}]}}"#;
    let told = r#","user":{"eids":[],"ext":{"eids":[{"source":"t"}]}}"#;
    for version in [V25, V26] {
        let case = Case { version, ..Case::default() };
        case.check(&format!("{given}{ext}"), &format!("{told}{ext}"));
    }
}

#[test]
fn an_id_that_is_withheld_is_not_told_as_the_bidders_own_either() {
    let case = Case { configure: synced, ..Case::default() };
    let user = r#","user":{"eids":[{"source":"one.example","uids":[{"id":"1"}]}]}"#;
    let rule = |name: &str| {
        let rules = format!(r#"[{{"source":"one.example","bidders":["{name}"]}}]"#);
        format!(r#","ext":{{"prebid":{{"data":{{"eidpermissions":{rules}}}}}}}"#)
    };
    let known = user.replace("]}]}", r#"]}],"buyeruid":"1"}"#);
    case.check(&format!("{user}{}", rule("b")), &format!("{known}{}", rule("b")));
    case.check(&format!("{user}{}", rule("x")), &format!(r#","user":{{"eids":[]}}{}"#, rule("x")));
}
