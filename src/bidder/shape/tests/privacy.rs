//! What a user keeps for himself, and what his browser says beside the request.

use super::*;

use crate::arrival::BrowserSignals;
use std::net::IpAddr;

fn seen(address: &str) -> Facts {
    Facts { address: Some(address.parse().unwrap()), ..Facts::default() }
}

fn direct() -> Partner {
    Partner { is_direct: true, ..fixture::partner() }
}

#[test]
fn of_a_child_no_city_and_no_position_is_told_also_none_that_was_looked_up() {
    let child = Case { disclosure: Disclosure::CHILD, ..Case::default() };
    let geo = concat!(
        r#"{"lat":52.123456,"lon":13.654321,"city":"C","metro":"501","zip":"1","country":"DEU","#,
        r#""region":"BE","regionfips104":"GM16","utcoffset":60,"type":1,"accuracy":5}"#,
    );
    let told = r#"{"country":"DEU","region":"BE","regionfips104":"GM16","utcoffset":60,"type":1}"#;
    for object in ["user", "device"] {
        let with = |geo| format!(r#","{object}":{{"geo":{geo}}}"#);
        child.check(&with(geo), &with(told));
    }
    child.check(r#","device":{"ip":"192.0.2.77","ifa":"i"}"#, r#","device":{"ip":"192.0.2.0"}"#);
    let filled = Case { facts: looked_up(), ..child };
    for given in ["", r#","device":{}"#, r#","device":{"geo":null}"#] {
        let body = filled.body(&format!("{{{PREFIX}{given}}}")).unwrap();
        let sent: serde_json::Value = serde_json::from_str(&body).unwrap();
        let expected = serde_json::json!({"country": "USA", "type": 2});
        assert_eq!(sent["device"]["geo"], expected, "{given}");
    }
}

#[test]
fn a_kept_member_is_withheld_where_it_is_of_another_type() {
    let strict = Case { disclosure: Disclosure::STRICT, ..Case::default() };
    for (given, expected) in [
        (
            r#","device":{"js":{"id":"x"},"hwv":["x"],"w":"f81d4fae","h":{"x":1},"carrier":{"x":1}}"#,
            r#","device":{}"#,
        ),
        (
            r#","device":{"dnt":"","w":"320","h":1.0,"ppi":null,"osv":17,"mccmnc":"310-005"}"#,
            r#","device":{"dnt":"","w":"320","h":1.0,"ppi":null,"osv":17,"mccmnc":"310-005"}"#,
        ),
        (
            r#","device":{"geo":{"city":{"id":"x"},"country":"DEU","region":"BE","lat":[1],"metro":["x"]}}"#,
            r#","device":{"geo":{"country":"DEU","region":"BE"}}"#,
        ),
        (
            r#","user":{"geo":{"city":["x"],"type":{"id":"x"},"utcoffset":"f81d4fae","metro":"5"}}"#,
            r#","user":{"geo":{"metro":"5"}}"#,
        ),
        (r#","user":{"consent":{"id":"x"}}"#, r#","user":{}"#),
        (r#","device":{"ext":{"atts":{"id":"x"}}}"#, r#","device":{"ext":{}}"#),
        (r#","device":{"ext":{"atts":"2"}}"#, r#","device":{"ext":{"atts":"2"}}"#),
    ] {
        strict.check(given, expected);
        Case::default().check(given, given);
    }
    strict.check(r#","user":{"ext":{"consent":{"id":"x"}}}"#, r#","user":{"ext":{}}"#);
    let old = Case { version: V25, ..strict };
    old.check(r#","user":{"consent":{"id":"x"}}"#, r#","user":{}"#);
    old.check(r#","user":{"consent":"C"}"#, r#","user":{"ext":{"consent":"C"}}"#);
}

#[test]
fn a_structured_user_agent_is_told_without_what_it_does_not_have() {
    let strict = Case { disclosure: Disclosure::STRICT, ..Case::default() };
    let plain = concat!(
        r#"{"browsers":[{"brand":"Chromium","version":["120","0"]},{"brand":"x"}],"#,
        r#""platform":{"brand":"Android","version":["13"]},"mobile":1,"architecture":"arm","#,
        r#""bitness":"64","model":"Pixel 7","source":2}"#,
    );
    let marked = concat!(
        r#"{ "browsers" : [ {"brand":"Chromium","version":["120",{"id":"x"},"0"],"ext":{"id":"x"}},"#,
        r#"{"brand":"x","uid":"x"}],"platform":{"brand":"Android","version":["13"],"ext":{}},"#,
        r#""mobile":1,"architecture":"arm","bitness":"64","id":"x","model":"Pixel 7","source":2,"#,
        r#""ext":{"id":"x"}}"#,
    );
    let with = |sua: &str| format!(r#","device":{{"ifa":"i","sua":{sua},"os":"x"}}"#);
    let told = format!(r#","device":{{"sua":{plain},"os":"x"}}"#);
    strict.check(&with(plain), &told);
    strict.check(&with(marked), &told);
    strict.check(&with("null"), r#","device":{"sua":null,"os":"x"}"#);
    Case::default().check(&with(marked), &with(marked));
}

#[test]
fn what_the_user_said_of_other_vendors_is_told() {
    let strict = Case { disclosure: Disclosure::STRICT, ..Case::default() };
    let both = concat!(
        r#""ConsentedProvidersSettings":{"consented_providers":"1~2072.70"},"#,
        r#""consented_providers_settings":{"consented_providers":[2072,70]}"#,
    );
    strict.check(
        &format!(r#","user":{{"id":"u","ext":{{"eids":[],{both}}}}}"#),
        &format!(r#","user":{{"ext":{{{both}}}}}"#),
    );
    strict.check(
        concat!(
            r#","user":{"ext":{"ConsentedProvidersSettings":{"id":"x","consented_providers":{"id":"x"}},"#,
            r#""consented_providers_settings":{"consented_providers":[1,{"id":"x"}]}}}"#,
        ),
        concat!(
            r#","user":{"ext":{"ConsentedProvidersSettings":{},"#,
            r#""consented_providers_settings":{"consented_providers":[1]}}}"#,
        ),
    );
    let odd = r#","user":{"ext":{"ConsentedProvidersSettings":"x","consented_providers_settings":["x"]}}"#;
    strict.check(odd, r#","user":{"ext":{}}"#);
}

#[test]
fn what_the_browser_says_is_told_in_the_request() {
    let says = |is_gpc, is_do_not_track| Facts {
        browser: BrowserSignals { is_gpc, is_do_not_track },
        ..Facts::default()
    };
    let case =
        |facts, version| Case { facts, version, disclosure: Disclosure::STRICT, ..Case::default() };
    for version in [V25, V26] {
        let gpc = case(says(true, false), version);
        for (given, expected) in [
            ("", r#","regs":{"ext":{"gpc":"1"}}"#),
            (r#","regs":null"#, r#","regs":{"ext":{"gpc":"1"}}"#),
            (r#","regs":{}"#, r#","regs":{"ext":{"gpc":"1"}}"#),
            (r#","regs":{"coppa":0}"#, r#","regs":{"coppa":0,"ext":{"gpc":"1"}}"#),
            (r#","regs":{"ext":null}"#, r#","regs":{"ext":{"gpc":"1"}}"#),
            (r#","regs":{"ext":{"x":1}}"#, r#","regs":{"ext":{"x":1,"gpc":"1"}}"#),
            (r#","regs":{"ext":{"gpc":"0"}}"#, r#","regs":{"ext":{"gpc":"1"}}"#),
        ] {
            gpc.check(given, expected);
        }
        let dnt = case(says(false, true), version);
        for (given, expected) in [
            ("", r#","device":{"dnt":1}"#),
            (r#","device":null"#, r#","device":{"dnt":1}"#),
            (r#","device":{"dnt":0,"os":"x"}"#, r#","device":{"dnt":1,"os":"x"}"#),
            (r#","device":{"os":"x"}"#, r#","device":{"os":"x","dnt":1}"#),
        ] {
            dnt.check(given, expected);
        }
    }
    let moved = r#","regs":{"gdpr":0}"#;
    case(says(true, false), V25).check(moved, r#","regs":{"ext":{"gdpr":0,"gpc":"1"}}"#);
    case(says(true, false), V26).check(moved, r#","regs":{"gdpr":0,"ext":{"gpc":"1"}}"#);
}

#[test]
fn what_was_looked_up_stands_beside_the_address_that_it_is_of() {
    let v4 = Case { partner: direct(), facts: seen("192.0.2.77"), ..Case::default() };
    let v6 = Case { partner: direct(), facts: seen("2001:db8:1:2::3"), ..Case::default() };
    for (case, given, expected) in [
        (&v4, r#"{"ip":"198.51.100.9"}"#, r#"{"ip":"192.0.2.77"}"#),
        (&v4, r#"{"ip":"10.0.0.1","h":1}"#, r#"{"ip":"192.0.2.77","h":1}"#),
        (&v4, r#"{"ipv6":"2001:db8::9","h":1}"#, r#"{"h":1,"ip":"192.0.2.77"}"#),
        (&v4, r#"{"ip":"198.51.100.9","ipv6":"2001:db8::9"}"#, r#"{"ip":"192.0.2.77"}"#),
        (&v6, r#"{"ip":"198.51.100.9"}"#, r#"{"ipv6":"2001:db8:1:2::3"}"#),
        (&v6, r#"{"ip":"2001:db8::9"}"#, r#"{"ipv6":"2001:db8:1:2::3"}"#),
        // One that is named is the user's own word, and so is the other.
        (
            &v4,
            r#"{"ip":"192.0.2.77","ipv6":"2001:db8::9"}"#,
            r#"{"ip":"192.0.2.77","ipv6":"2001:db8::9"}"#,
        ),
        (&v4, r#"{"ip":"::ffff:192.0.2.77"}"#, r#"{"ip":"::ffff:192.0.2.77"}"#),
        (&v6, r#"{"ip":"2001:db8:1:2:0::3"}"#, r#"{"ip":"2001:db8:1:2:0::3"}"#),
    ] {
        case.check(&format!(r#","device":{given}"#), &format!(r#","device":{expected}"#));
    }
    let strict = Case { disclosure: Disclosure::STRICT, ..v4 };
    strict.check(
        r#","device":{"ip":"198.51.100.9","ipv6":"2001:db8::9"}"#,
        r#","device":{"ip":"192.0.2.0"}"#,
    );
    // Not direct: whoever calls is not the user.
    let given = r#","device":{"ip":"198.51.100.9"}"#;
    Case { facts: seen("192.0.2.77"), ..Case::default() }.check(given, given);
    let private: IpAddr = "10.0.0.1".parse().unwrap();
    let facts = Facts { address: Some(private), ..Facts::default() };
    Case { partner: direct(), facts, ..Case::default() }.check(given, given);
}
