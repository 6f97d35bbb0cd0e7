//! The rules against a corpus of hostile URLs, and against what bidders really send.
#![expect(clippy::arithmetic_side_effects, reason = "a test may panic")]

use super::*;
use crate::bidder::{OpenRtbVersion, fixture};
use std::collections::BTreeMap;

/// What the names of the corpus resolve to; any other name of it is a global address.
fn resolve(host: &str) -> Vec<IpAddr> {
    let text: &[&str] = match host {
        "localhost" => &["127.0.0.1", "::1"],
        "loop.bidder.example" => &["127.0.0.1"],
        "loop6.bidder.example" => &["::1"],
        "mapped.bidder.example" => &["::ffff:10.0.0.1"],
        "private.bidder.example" => &["10.2.3.4"],
        "metadata.bidder.example" => &["169.254.169.254"],
        "one-of-two.bidder.example" => &["127.0.0.1", "9.9.9.9"],
        "two-of-two.bidder.example" => &["9.9.9.9", "2620:fe::fe", "fe80::1"],
        "nat64.bidder.example" => &["64:ff9b::10.0.0.1"],
        "six-to-four.bidder.example" => &["2002:a00:1::1"],
        "denied.bidder.example" => &["9.9.9.10"],
        "denied-in-six.bidder.example" => &["::ffff:9.9.9.10"],
        "self.bidder.example" => &["9.9.9.11"],
        "v6.bidder.example" => &["2620:fe::fe"],
        "both.bidder.example" => &["9.9.9.9", "2620:fe::fe"],
        "in-cluster.bidder.example" => &["10.9.8.7"],
        _ => &["9.9.9.9"],
    };
    text.iter().map(|one| one.parse().unwrap()).collect()
}

fn guard() -> Guard {
    let net = |text: &str| Network::parse(text).unwrap();
    let guard = Guard::new(GuardSettings {
        allowed: vec![net("10.9.8.0/24")],
        denied: vec![net("9.9.9.10")],
        ..GuardSettings::default()
    });
    let asked = Some(clock::monotonic() + Duration::from_secs(3600));
    *guard.own.lock().unwrap() = Own { addresses: vec!["9.9.9.11".parse().unwrap()], asked };
    guard
}

fn permission(domains: &[&str]) -> Permission {
    let hosts = domains.iter().map(|domain| Allowed::listed(domain)).collect();
    Permission { hosts, allows_http: true }
}

/// All that stands between a URL and a connection.
fn judge(guard: &Guard, url: &str, permission: &Permission) -> Result<Vec<SocketAddr>, Blocked> {
    let Target { origin, .. } = guard.target(url, permission)?;
    let found = origin.address.map_or_else(|| resolve(&origin.host), |literal| vec![literal]);
    guard.addresses(&found, origin.port)
}

/// As if the host of the URL were the bidder's.
fn own_host(url: &str) -> Permission {
    let host = Url::parse(url).unwrap().host().unwrap().to_owned();
    let allowed = match host {
        Host::Domain(name) => Allowed::Host(name.trim_end_matches('.').to_owned()),
        Host::Ipv4(v4) => Allowed::Address(v4.into()),
        Host::Ipv6(v6) => Allowed::Address(v6.into()),
    };
    Permission { hosts: vec![allowed], allows_http: true }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("# ") && !line.is_empty())
}

/// `\u{...}` as the character.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (digits, rest) = part.split_once('}').unwrap();
        out.push(char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap());
        out.push_str(rest);
    }
    out
}

#[test]
fn each_hostile_url_is_stopped_by_the_rule_that_is_meant_for_it() {
    let guard = guard();
    let usual = permission(&["bidder.example"]);
    let mut by_rule = BTreeMap::<&str, usize>::new();
    for line in lines(include_str!("hostile.txt")) {
        let (rule, url) = line.split_once(' ').unwrap();
        let url = unescaped(url);
        let is_by_address = matches!(rule, "address" | "network" | "own_address");
        let allowed = if is_by_address { own_host(&url) } else { usual.clone() };
        let blocked = judge(&guard, &url, &allowed).expect_err(&url);
        assert_eq!(blocked.label(), rule, "{url}");
        // and whatever stops it, nothing lets it through
        judge(&guard, &url, &usual).expect_err(&url);
        *by_rule.entry(rule).or_default() += 1;
    }
    assert!(by_rule.values().sum::<usize>() >= 120, "{by_rule:?}");
    let tested_below = [Blocked::Bidder, Blocked::Length, Blocked::Peer];
    for rule in Blocked::ALL.iter().filter(|rule| !tested_below.contains(rule)) {
        assert!(by_rule.contains_key(rule.label()), "nothing tries {rule:?}");
    }
}

#[test]
fn no_good_url_is_stopped() {
    let guard = guard();
    let permission =
        permission(&["bidder.example", "partner-of-bidder.example", "9.9.9.9", "2620:fe::fe"]);
    let mut count = 0;
    for url in lines(include_str!("good.txt")) {
        let dialled =
            judge(&guard, url, &permission).unwrap_or_else(|why| panic!("{url}: {why:?}"));
        assert!(!dialled.is_empty(), "{url}");
        count += 1;
    }
    assert!(count >= 50, "{count}");
}

#[test]
fn http_and_long_urls_are_stopped_where_they_are_not_allowed() {
    let guard = guard();
    let mut strict = permission(&["bidder.example"]);
    strict.allows_http = false;
    assert_eq!(guard.target("http://bidder.example/", &strict), Err(Blocked::Scheme));
    let of_length = |length: usize| {
        let head = "https://bidder.example/";
        format!("{head}{}", "a".repeat(length - head.len()))
    };
    assert!(guard.target(&of_length(2048), &strict).is_ok());
    assert_eq!(guard.target(&of_length(2049), &strict), Err(Blocked::Length));
}

#[test]
fn a_target_is_what_the_one_parser_read() {
    let guard = guard();
    let permission = permission(&["bidder.example", "2620:fe::fe"]);
    for (url, host, port, field, path) in [
        ("https://N.Bidder.Example./a/../b?c", "n.bidder.example", 443, "n.bidder.example", "/b?c"),
        ("http://bidder.example", "bidder.example", 80, "bidder.example", "/"),
        ("http://bidder.example:443/", "bidder.example", 443, "bidder.example:443", "/"),
        ("https://[2620:fe::fe]/x", "2620:fe::fe", 443, "[2620:fe::fe]", "/x"),
    ] {
        let target = guard.target(url, &permission).unwrap();
        let Target { origin, path: read } = &target;
        assert_eq!((origin.host.as_str(), origin.port), (host, port), "{url}");
        assert_eq!((origin.host_field().as_str(), read.as_str()), (field, path), "{url}");
    }
}

#[test]
fn a_bidder_may_be_called_where_its_endpoint_is_and_where_it_is_said() {
    let mut bidder = Bidder { name: "alpha".into(), ..fixture::bidder(OpenRtbVersion::V26) };
    for (endpoint, good, bad) in [
        ("rtb.ads.co.uk", "https://n.ads.co.uk/", "https://other.co.uk/"),
        ("RTB.Ads.Com.", "https://ads.com/", "https://ads.org/"),
        // a suffix under which strangers live is nobody's domain
        ("me.s3.amazonaws.com", "https://me.s3.amazonaws.com/", "https://you.s3.amazonaws.com/"),
        (
            "a.ns.svc.cluster.local",
            "https://a.ns.svc.cluster.local/",
            "https://b.ns.svc.cluster.local/",
        ),
        ("bidder", "https://bidder/", "https://other/"),
        ("9.9.9.9", "https://9.9.9.9/", "https://9.9.9.8/"),
    ] {
        endpoint.clone_into(&mut bidder.endpoint.host);
        bidder.endpoint.is_tls = true;
        let permission = Permission::of(&bidder);
        assert!(guard().target(good, &permission).is_ok(), "{endpoint}: {good}");
        assert_eq!(guard().target(bad, &permission), Err(Blocked::Domain), "{endpoint}: {bad}");
        let plain = good.replace("https:", "http:");
        assert_eq!(guard().target(&plain, &permission), Err(Blocked::Scheme), "{plain}");
    }
    bidder.endpoint.is_tls = false;
    bidder.notices.domains = vec!["tracker.example".to_owned()];
    let permission = Permission::of(&bidder);
    assert!(guard().target("http://n.tracker.example/", &permission).is_ok());
    assert_eq!(guard().target("http://9.9.9.9/", &permission), Err(Blocked::Domain));
    bidder.notices.allows_http = Some(false);
    let permission = Permission::of(&bidder);
    assert_eq!(guard().target("http://tracker.example/", &permission), Err(Blocked::Scheme));
}

#[test]
fn a_domain_in_a_list_is_one_that_somebody_owns() {
    for good in ["ads.com", "n.ads.com", "ads.co.uk", "me.s3.amazonaws.com", "a.example", "9.9.9.9"]
    {
        assert!(is_domain(good), "{good}");
    }
    for bad in
        ["com", "co.uk", "s3.amazonaws.com", "Ads.com", "ads.com.", ".ads.com", "a b.com", ""]
    {
        assert!(!is_domain(bad), "{bad}");
    }
}

#[test]
fn a_connection_that_leads_elsewhere_is_dropped() {
    let at = |text: &str| text.parse::<SocketAddr>().unwrap();
    let guard = guard();
    assert_eq!(guard.peer(at("9.9.9.9:443"), at("9.9.9.9:443")), Ok(()));
    assert_eq!(guard.peer(at("[::ffff:9.9.9.9]:443"), at("9.9.9.9:443")), Ok(()));
    for other in ["127.0.0.1:443", "9.9.9.9:80", "[::1]:443"] {
        assert_eq!(guard.peer(at("9.9.9.9:443"), at(other)), Err(Blocked::Peer), "{other}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_the_bytes_a_target_is_under_the_bidders_domain(text in "[ -~]{0,40}", at in 0..3) {
        let url = match at {
            0 => text,
            1 => format!("https://{text}bidder.example/"),
            _ => format!("https://bidder.example{text}"),
        };
        if let Ok(target) = guard().target(&url, &permission(&["bidder.example"])) {
            let host = &target.origin.host;
            proptest::prop_assert!(host == "bidder.example" || host.ends_with(".bidder.example"));
            proptest::prop_assert!(target.path.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
