//! What is found in texts and names, and what is left alone.

use super::*;
use crate::capture::form::{PseudonymKey, is_pseudonym};
use crate::capture::pseudonym::Pseudonymiser;
use proptest::prelude::*;

fn found<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
    parts(&[name], text).into_iter().filter_map(|(at, _)| text.get(at)).collect()
}

/// Texts, and what is personal in each.
const TEXTS: &[(&str, &[&str])] = &[
    ("https://a.example/?x=1&uid=abc#t", &["abc"]),
    ("https://a.example/?mail=a.b%40c.example&x=2", &["a.b%40c.example"]),
    ("write to jo.doe@mail.example.", &["jo.doe@mail.example"]),
    ("<img width=300 src=\"https://t.example/p?cb=${CACHEBUSTER}&ip=192.0.2.7\">", &["192.0.2.7"]),
    ("https://a.example/?h=0123456789abcdef01&n=123", &["0123456789abcdef01"]),
    ("https://a.example/#access_token=xyz", &["xyz"]),
    ("https://a.example/?a_parameter_of_a_long_name=0123456789abcdef01", &["0123456789abcdef01"]),
    // encoded, also more than once
    (
        "https://a/?r=https%3A%2F%2Fb%2F%3Fe%3Djo.doe%2540mail.example%26x%3D1",
        &["jo.doe%2540mail.example"],
    ),
    ("https://a/?r=https%3A%2F%2Fb%2F%3Fgclid%3DCjw%26uid%3Du-77", &["Cjw", "u-77"]),
    ("https://a/?r=https%253A%252F%252Fb%252F%253Fuid%253Du-77%2526x%253D1", &["u-77"]),
    ("https%3A%2F%2Fb%2F%3Fe%3Djo.doe%40mail.example", &["jo.doe%40mail.example"]),
    ("https%3A%2F%2F203.0.113.77%2Fx", &["203.0.113.77"]),
    ("https://a/?r=https://b/?uid=u-77&n=1", &["u-77"]),
    ("https://a/?r=https://b/?e=jo@mail.example", &["jo@mail.example"]),
    ("https://a/?from=Jo%20%3Cjo@mail.example%3E", &["Jo%20%3Cjo@mail.example%3E"]),
    ("https://a/?d=%7B%22user%22%3A1%7D", &["%7B%22user%22%3A1%7D"]),
    // macros are no values, and values in braces no macros
    (
        "https://a/?idfa={6d92078a-8246-4ba4-ae5b-76104861e7dc}",
        &["6d92078a-8246-4ba4-ae5b-76104861e7dc"],
    ),
    (
        "https://a/?idfa=%7B6d92078a-8246-4ba4-ae5b-76104861e7dc%7D",
        &["6d92078a-8246-4ba4-ae5b-76104861e7dc"],
    ),
    ("https://a/?idfa=[jo]&uid=${name}", &["jo", "${name}"]),
    ("https://a/?idfa={IDFA}&uid=[USER_ID]&ip=${IP:B64}&key=%%KEY%%&q=%7BQ%7D&tel={A}-{B}", &[]),
    // names with brackets and dots
    (
        "/p?user[id]=u-77&user%5Bphone%5D=4915&x.uid=7&data[0][email][]=a",
        &["u-77", "4915", "7", "a"],
    ),
    ("/p?user[yob]=1980&imp[id]=1&device.geo.lat=48.137154", &["48.137154"]),
    // a query without an address, and cookies
    ("uid=u-77&x=1", &["u-77"]),
    ("x=1; uid=u-77", &["u-77"]),
    ("a/?x=uid%3Du-77%26y=1", &["u-77"]),
    ("text/html;q=0.8, a/b; q=1", &[]),
    // paths
    (
        "https://a/user/6d92078a-8246-4ba4-ae5b-76104861e7dc/profile",
        &["6d92078a-8246-4ba4-ae5b-76104861e7dc"],
    ),
    ("/u/6d92078a-8246-4ba4-ae5b-76104861e7dc.json", &["6d92078a-8246-4ba4-ae5b-76104861e7dc"]),
    ("https://a/u/491511234567?x=1", &["491511234567"]),
    ("https://a/creatives/0123456789abcdef.webp", &[]),
    ("/openrtb2/6d92078a-8246-4ba4-ae5b-76104861e7dc/key", &[]),
    // addresses
    ("203.0.113.77:51234", &["203.0.113.77"]),
    ("203.0.113.77, 198.51.100.9", &["203.0.113.77", "198.51.100.9"]),
    ("203.0.113.0-203.0.113.9", &["203.0.113.0", "203.0.113.9"]),
    ("http://203.0.113.77/x", &["203.0.113.77"]),
    ("https://a/from/203.0.113.77/x", &["203.0.113.77"]),
    ("203.0.113.0/24", &["203.0.113.0"]),
    ("fe80::1%eth0", &["fe80::1"]),
    ("2001:db8::7/64 [2001:db8::8]:443", &["2001:db8::7", "2001:db8::8"]),
    ("ip:2001:db8::7: ::ffff:203.0.113.7.", &["2001:db8::7", "::ffff:203.0.113.7"]),
    ("jo-agent 203.0.113.9.", &["203.0.113.9"]),
    ("jo@203.0.113.9", &["203.0.113.9"]),
    (
        "Visitor 192.0.2.91 Proxy 5.9.12.33 Jo 91.64.12.33",
        &["192.0.2.91", "5.9.12.33", "91.64.12.33"],
    ),
    ("client-91.164.112.233 u_91.164.112.233", &["91.164.112.233", "91.164.112.233"]),
    ("ip/91.64.112.33 091.164.112.233", &["91.64.112.33", "091.164.112.233"]),
    (
        "MyApp 4.12.0.3 (iPhone) Viber 21.5.40.3 Client/4.1.2.3 lib_1.100.3.4 sdk-7.1.2.3 fw/91.64.12.33 1.00.05.12",
        &[],
    ),
    ("Android 9.80.1.2 Roku 12.50.4.41 Chrome/120.0.112.133", &[]),
    // and what looks like one
    ("https://a.example/?v=1.2.3.4&s=ok&appver=1.2.3.4&osv=9.8.7.6", &[]),
    ("https://cdn.example/npm/pkg@1.2.3/x.js https://cdn.example/x/1.2.3.4/x.js", &[]),
    ("Mozilla/5.0 (rv:1.9.2.3) Chrome/120.0.0.0 Opera 9.80.1.2 Foo 99.0.0.0", &[]),
    ("{\"version\":\"1.2.3.4\"} version 1.2.3.4, 1.2.3.4-beta lib-1.2.3.4 1.2.3.4.5", &[]),
    ("std::vector<a> x::before 12:30:45 00:1a:2b", &[]),
    ("https://a.example/?addtl_consent=1~7.12.35.62", &[]),
    ("2~43.46.55.61~dv.70.89.93.108", &[]),
    ("~203.0.113.77", &["203.0.113.77"]),
    // mail addresses
    ("jo.doe%2Btag%40mail.example", &["jo.doe%2Btag%40mail.example"]),
    ("o'brien.jo@mail.example", &["o'brien.jo@mail.example"]),
    ("'jo@mail.example'+'ann@mail.example'", &["jo@mail.example", "ann@mail.example"]),
    ("jo@mail.example.ann@mail.example", &["jo@mail.example.ann"]),
    ("a?b=é@ü.example", &["é@ü.example"]),
    (
        "jo.doe@müller.example and jo.doe%40m%C3%BCller.example",
        &["jo.doe@müller.example", "jo.doe%40m%C3%BCller.example"],
    ),
    (
        "jo.doe&#64;mail.example jo.doe\\u0040mail.example",
        &["jo.doe&#64;mail.example", "jo.doe\\u0040mail.example"],
    ),
    ("jo.doe@[192.0.2.91]", &["jo.doe@[192.0.2.91]"]),
    ("https://jo.doe:pw77@a.example/x", &["jo.doe:pw77@a.example"]),
    ("https%3A%2F%2Fjo.doe%3Apw77%40a.example%2Fx", &["jo.doe%3Apw77%40a.example"]),
    ("https://jo:pw@192.0.2.91/", &["jo:pw@192.0.2.91"]),
    ("https://m.example/@jo https://cdn.example/npm/@scope/pkg@1.2.3 a@b", &[]),
    // positions
    ("48.137154,11.576124", &["48.137154", "11.576124"]),
    ("48.137 -11.576", &["48.137", "-11.576"]),
    ("https://m.example/@48.137154,-11.576124,15z", &["48.137154", "-11.576124"]),
    ("https://m.example/?ll=48.137154%2C-11.576124&z=1", &["48.137154", "-11.576124"]),
    ("48.14,11.58 0.123,0.456 1234.5678,2345.6789", &[]),
    ("N48.137154 E11.575400", &["48.137154", "11.575400"]),
    ("48.137N, 11.575E", &["48.137", "11.575"]),
    ("lat:48.137154,lon:11.575400", &["48.137154", "11.575400"]),
    ("at 48.137154    11.575400", &["48.137154", "11.575400"]),
    ("M48.137154 S11.575400 4.5678S1.2345 scale 1.2345 and 2.3456", &[]),
    // JSON in addresses
    ("%7B%22uid%22%3A%22abc%22%7D", &["%7B%22uid%22%3A%22abc%22%7D"]),
    ("https://a/#%7B%22uid%22%3A%22O'B%22%7D", &["%7B%22uid%22%3A%22O'B%22%7D"]),
    ("https://a/x/%7B%22uid%22%3A1%7D?y=1", &["%7B%22uid%22%3A1%7D?y=1"]),
    ("https://a/?d=%7B%20%22uid%22%3A1%7D&y=1", &["%7B%20%22uid%22%3A1%7D"]),
    ("https://a/?d=%7B+%22uid%22%3A1%7D", &["%7B+%22uid%22%3A1%7D"]),
    ("https://a/?d=%5B1%2C%7B%22uid%22%3A1%7D%5D", &["%5B1%2C%7B%22uid%22%3A1%7D%5D"]),
    ("https://a/?d={%22uid%22:%22abc%22}&y=1", &["{%22uid%22:%22abc%22}"]),
    ("https://a/?d={\"uid\": \"abc\"}&y=1", &["{\"uid\": \"abc\"}"]),
    ("https%3A%2F%2Fa%2F%3Fd%3D%257B%2522uid%2522%253A1%257D", &["%257B%2522uid%2522%253A1%257D"]),
    ("https://a/?s=%5BERRORCODE%5D&n=%5B1%2C2%5D&t=%22a%22&u={\"+x+\"}", &[]),
    ("<a href=\"/x?y={\" class=\"b\">;c={\"w\":1}", &[]),
    // in scripts
    (
        "x(\"https://t.example/p?a=1\\u0026uid=abc\\u0026email=jo\\u0040mail.example\")",
        &["abc", "jo\\u0040mail.example"],
    ),
    ("x('https://t.example/p?a=1\\x26uid\\x3dabc\\x26b=c')", &["abc"]),
    // values of an address that stands alone go on to the next
    ("https://a/?phone=(0170)1234567&x=1", &["(0170)1234567"]),
    ("https://a/?lastname=O'Connor&x=1", &["O'Connor"]),
    ("https://a/?uid=abc;def&x=1", &["abc;def"]),
    ("https://a/?uid=abc;x=1", &["abc"]),
    ("https://a/?q=some words", &["some words"]),
    (
        "<a href='https://a/?uid=abc'>text</a> (https://a/?q=abc) \"https://a/?tel=1;f()\"",
        &["abc", "abc", "1"],
    ),
    (
        "https://a/?em=abc&ph=4917012345&fn=jo&ln=doe&puid=p7&custid=c7&format=x",
        &["abc", "4917012345", "jo", "doe", "p7", "c7"],
    ),
    ("plain", &[]),
];

#[test]
fn personal_parts_of_texts_are_found() {
    let mut wrong = Vec::new();
    for (text, expected) in TEXTS {
        let (text, expected) = (*text, *expected);
        let found = found("page", text);
        if found != expected {
            wrong.push((text, found));
        }
    }
    assert_eq!(wrong, []);
    assert_eq!(found("app_version", "1.2.3.4 (5)"), [""; 0]);
    assert_eq!(found("v", "91.164.112.233"), ["91.164.112.233"]);
    assert_eq!(found("v", "91.164.112.33"), [""; 0]);
    let id = "6d92078a-8246-4ba4-ae5b-76104861e7dc";
    for text in
        [format!("gaid:{id},x"), format!("u-{id}"), format!("x/{id}_{id}"), format!("%2C{id}")]
    {
        let count = text.matches(id).count();
        assert_eq!(found("user", &text), vec![id; count], "{text}");
        assert_eq!(found("site", &text), [""; 0], "{text}");
    }
}

#[test]
fn no_text_takes_time_out_of_proportion() {
    for piece in [
        "-=",
        "a=",
        "=",
        "a=a@p.invalid",
        "%25",
        "%2525",
        "a@b.cd",
        "@",
        "%40",
        "[address]",
        "a/203.0.113.77 ",
        "1.",
        "1.2345,",
        "::",
        "a:",
        "/",
        "{A}",
        "http://",
        "uid=[",
        "6d92078a-",
        "'a",
        "?a=%3Fb%3D",
        "?uid=",
        "&d={\"a\":",
        "{%22",
        "%5B%5B%22",
        "\\u0026",
        "&#64;",
        "://a:b@",
        "uid={A};",
        "N1.2345 E1.2345",
    ] {
        let text = piece.repeat((256 << 10) / piece.len());
        for text in [format!("{text}=1"), format!("https://a/?{text}@p.invalid")] {
            // a second at most where all is well, hours where each of many looks at all
            let _parts = parts(&[], &text);
        }
    }
}

#[test]
fn names_of_versions_are_known_by_whole_words() {
    for (name, is_version) in [
        ("ver", true),
        ("v", true),
        ("osv", true),
        ("hwv", true),
        ("displaymanagerver", true),
        ("omidpv", true),
        ("appVersion", true),
        ("sdk_version", true),
        ("AppVer", true),
        ("av", true),
        ("rv", true),
        ("driver", false),
        ("delivery_ip", false),
        ("server", false),
        ("srv", false),
        ("verified", false),
        ("version_ip", false),
        ("conversion", false),
        ("", false),
        ("é", false),
    ] {
        assert_eq!(looks::is_version(name), is_version, "{name}");
    }
}

#[test]
fn what_a_value_looks_like_is_the_same_in_braces() {
    let id = "6d92078a-8246-4ba4-ae5b-76104861e7dc";
    for (path, text, expected) in [
        (&["device", "x"][..], id.to_owned(), Some(Id)),
        (&["user", "x"], format!("{{{id}}}"), Some(Id)),
        (&["imp", "x"], id.to_owned(), None),
        (&["device", "driver"], "203.0.113.7".to_owned(), Some(Ip)),
        (&["device", "osv"], "1.2.3.4".to_owned(), None),
    ] {
        assert_eq!(by_look(path, &text), expected, "{path:?} {text}");
    }
    for (version, expected) in [
        ("2", true),
        ("2.6", true),
        ("2.6-202309", true),
        ("203.0.113.7", false),
        ("2.junk", false),
        ("", false),
        ("jo doe", false),
        ("4915112345678", false),
    ] {
        assert_eq!(is_misused("x-openrtb-version", version), !expected, "{version}");
    }
}

/// What texts are made of.
#[rustfmt::skip]
const PIECES: [&str; 81] = [
    "https://a.example/", "?", "&", "=", "uid=", "user[id]=", "user%5Bid%5D=", "r=", "mail=", "%3F",
    "%26", "%3D", "%2540", "%40", "@", "jo.doe", "o'brien", "mail.example", "203.0.113.77", ":443",
    "2001:db8::7", "fe80::1%eth0", "/64", ", ", "; ", " ", "/", "%2F", "%252F", "%3A%2F%2F", "{",
    "}", "[", "]", "\"", "'", "\\", "48.137154", ",", "%2C", "6d92078a-8246-4ba4-ae5b-76104861e7dc",
    "0123456789abcdef01", "v=", "Chrome/", "1.2.3.4", "-", "%7B%22", "é", "x", "7", "lat=", "zip=",
    "94103", "+", "%2B", "${A}", "#", "q=", "%", "25", "::", ".", "\\u0026", "\\x3d", "\\u0022",
    "&#64;", "{\"a\":", "{%22a%22:", "%5B1%2C", "jo:pw", "@[", "lastname=", ";b=", "N", " E",
    "11.576124", "Visitor ", "ip/", "_", "091.164.112.233", "C%3%BC",
];

fn piece() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(&PIECES[..]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,6}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_replaced_is_found_no_more(pieces in proptest::collection::vec(piece(), 0..14)) {
        let text = pieces.concat();
        let pseudonymiser = Pseudonymiser::new(PseudonymKey::new("a secret of the tests"));
        let new = pseudonymiser.text(&text).unwrap_or_else(|| text.clone());
        for (range, treat) in parts(&[], &new) {
            let part = new.get(range).unwrap();
            prop_assert!(is_pseudonym(treat, part), "{treat:?} {part:?} of {new:?} was {text:?}");
        }
    }

    #[test]
    fn parts_are_in_order_and_apart(text in ".{0,60}") {
        let mut end = 0;
        for (range, _) in parts(&[], &text) {
            prop_assert!(range.start >= end && text.get(range.clone()).is_some());
            end = range.end;
        }
    }
}
