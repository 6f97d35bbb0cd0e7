//! Each rule: a request that breaks it and nothing else, and one that just keeps it.

use super::{BANNER, admit_text, admit_with, partner, request};
use crate::money::Currency;
use crate::money::multiplier::Multiplier;
use crate::negatives::refusal::Refusal::{self, *};
use crate::openrtb::ids::{AuctionType, Channel, Media, MediaSet};
use crate::request::{Ratio, Size, ValidRequest};

fn check(cases: &[(String, Option<Refusal>)]) {
    for (body, expected) in cases {
        let outcome = admit_text(body).map(|admitted| admitted.refused_imps);
        match (outcome, expected) {
            (Ok(refused), None) => assert!(refused.is_empty(), "{body}: {refused:?}"),
            (Err(refusal), Some(expected)) => assert_eq!(refusal, *expected, "{body}"),
            (outcome, expected) => panic!("{body}: {outcome:?}, not {expected:?}"),
        }
    }
}

pub fn roots(cases: &[(&str, Option<Refusal>)]) {
    let cases: Vec<_> =
        cases.iter().map(|(root, expected)| (request(root, ""), *expected)).collect();
    check(&cases);
}

pub fn imps(cases: &[(&str, Option<Refusal>)]) {
    let cases: Vec<_> = cases.iter().map(|(imp, expected)| (request("", imp), *expected)).collect();
    check(&cases);
}

pub fn admitted(body: &str) -> ValidRequest {
    admit_text(body).unwrap_or_else(|refusal| panic!("{body}: {refusal:?}")).request
}

#[test]
fn documents_that_are_no_request_are_refused() {
    let cases = [
        ("", NotJson),
        ("{", NotJson),
        ("\u{feff}{", NotJson),
        ("\u{feff}\u{feff}{}", NotJson),
        (r#"{"id":"r"} x"#, NotJson),
        (r#"{"id":"\ud800"}"#, NotJson),
        (r#"{"x":1e400}"#, NotJson),
        ("[]", NotAnObject),
        ("\"r\"", NotAnObject),
        ("null", NotAnObject),
        ("{}", IdMissing),
        (r#"{"id":"","imp":[{"id":"1"}]}"#, IdMissing),
        (r#"{"id":null,"imp":[{"id":"1"}]}"#, IdMissing),
        (r#"{"id":"r","site":{}}"#, ImpMissing),
        (r#"{"id":"r","site":{},"imp":null}"#, ImpMissing),
        (r#"{"id":"r","site":{},"imp":[]}"#, ImpMissing),
        (r#"{"id":"r","site":{},"imp":{}}"#, WrongType),
        (r#"{"id":{},"site":{},"imp":[]}"#, WrongType),
        (r#"{"id":true,"site":{},"imp":[]}"#, WrongType),
        (r#"{"id":"r","site":[],"imp":[{"id":"1"}]}"#, NotAnObject),
        (r#"{"id":"r","site":{},"imp":[[]]}"#, NotAnObject),
    ];
    check(&cases.map(|(body, refusal)| (body.to_owned(), Some(refusal))));
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| format!("\"ext\":{}{}", "[".repeat(depth), "]".repeat(depth));
    for (depth, expected) in
        [(62, None), (63, None), (64, Some(TooDeep)), (1_000_000, Some(TooDeep))]
    {
        check(&[(request(&nested(depth), ""), expected)]);
    }
}

#[test]
fn at_most_one_channel_is_offered_and_one_that_the_partner_may_send() {
    let with =
        |inventory: &str| format!(r#"{{"id":"r"{inventory},"imp":[{{"id":"1",{BANNER}}}]}}"#);
    check(&[
        (with(r#","app":{}"#), None),
        (with(r#","dooh":{}"#), None),
        (with(r#","site":null,"app":{}"#), None),
        (with(r#","site":{},"app":{}"#), Some(InventoryConflict)),
        (with(r#","dooh":{},"app":{}"#), Some(InventoryConflict)),
        (with(""), Some(InventoryMissing)),
        (with(r#","site":null"#), Some(InventoryMissing)),
    ]);
    let mut partner = partner();
    partner.allows_unknown_channel = true;
    partner.channels = [true, false, false, false];
    let channel = |inventory| {
        admit_with(&with(inventory), &partner).map(|admitted| admitted.request.view.channel)
    };
    assert_eq!(channel(r#","site":{}"#), Ok(Channel::Site));
    assert_eq!(channel(r#","app":{}"#), Err(ChannelNotAllowed));
    assert_eq!(channel(""), Ok(Channel::Unknown));
}

#[test]
fn imps_have_ids_and_media() {
    let with = |imps: &str| format!(r#"{{"id":"r","site":{{}},"imp":[{imps}]}}"#);
    let one = |id: &str| format!("{{\"id\":{id},{BANNER}}}");
    check(&[
        (with(&format!("{{{BANNER}}}")), Some(ImpIdMissing)),
        (with(&one("\"\"")), Some(ImpIdMissing)),
        (with(&one("null")), Some(ImpIdMissing)),
        (with(&format!("{},{}", one("\"a\""), one("\"b\""))), None),
        (with(&format!("{},{}", one("\"a\""), one("\"a\""))), Some(ImpIdDuplicate)),
        (with(&format!("{},{}", one("\"1\""), one("1"))), Some(ImpIdDuplicate)),
        (with(&format!("{},{{\"id\":\"a\"}}", one("\"a\""))), Some(ImpIdDuplicate)),
        (with(r#"{"id":"1"}"#), Some(ImpNoMedia)),
        (with(r#"{"id":"1","banner":null}"#), Some(ImpNoMedia)),
        (with(r#"{"id":"1","metric":[{"type":"viewability","value":0.5}]}"#), Some(ImpNoMedia)),
    ]);
    let many = |count: usize| {
        let imps: Vec<_> = (0..count).map(|id| one(&format!("\"{id}\""))).collect();
        with(&imps.join(","))
    };
    check(&[(many(50), None), (many(51), Some(TooManyImps))]);
}

#[test]
fn banners_have_a_size() {
    imps(&[
        (r#""banner":{}"#, Some(BannerSize)),
        (r#""banner":{"w":300}"#, Some(BannerSize)),
        (r#""banner":{"w":0,"h":0}"#, Some(BannerSize)),
        (r#""banner":{"w":-300,"h":250}"#, Some(BannerSize)),
        (r#""banner":{"w":99999999999,"h":250}"#, Some(BannerSize)),
        (r#""banner":{"w":"x","h":250}"#, Some(WrongType)),
        (r#""banner":{"format":[]}"#, Some(BannerSize)),
        (r#""banner":{"format":[{}]}"#, Some(BannerSize)),
        (r#""banner":{"format":[{"w":300,"h":250},{"w":1}]}"#, Some(BannerSize)),
        (r#""banner":{"format":[{"w":0,"h":0}]},"instl":1"#, Some(BannerSize)),
        (r#""banner":{"format":[5]}"#, Some(NotAnObject)),
        (r#""banner":[]"#, Some(NotAnObject)),
        (r#""banner":{},"instl":1"#, None),
        (r#""instl":1,"banner":{"w":0,"h":0}"#, None),
        (r#""banner":{"format":[],"w":1,"h":1}"#, None),
        (r#""banner":{"format":[{"wratio":16,"hratio":9}]}"#, None),
        (r#""banner":{"wmax":300,"hmax":250}"#, None),
    ]);
    let request = admitted(&request(
        "",
        r#""banner":{"w":1,"h":2,"format":[{"w":300,"h":250},{"wratio":4,"hratio":3,"wmin":100},{"w":7,"h":8}]}"#,
    ));
    let banner = &request.view.imps[0].banner;
    assert_eq!(request.sizes(banner.sizes), [Size { w: 300, h: 250 }, Size { w: 7, h: 8 }]);
    assert_eq!(request.ratios(banner.ratios), [Ratio { w: 4, h: 3, wmin: 100 }]);
    assert!(!banner.is_ranged);
}

#[test]
fn video_and_audio_have_mimes_and_coherent_durations() {
    for (media, mimes, duration) in
        [("video", VideoMimes, VideoDuration), ("audio", AudioMimes, AudioDuration)]
    {
        let with = |members: &str| request("", &format!("\"{media}\":{{{members}}}"));
        let m = r#""mimes":["x/y"]"#;
        check(&[
            (with(""), Some(mimes)),
            (with(r#""mimes":[]"#), Some(mimes)),
            (with(r#""mimes":[""]"#), Some(mimes)),
            (with(r#""mimes":null"#), Some(mimes)),
            (with(r#""mimes":{}"#), Some(WrongType)),
            (with(m), None),
            (with(&format!("{m},\"minduration\":5,\"maxduration\":30")), None),
            (with(&format!("{m},\"minduration\":30,\"maxduration\":30")), None),
            (with(&format!("{m},\"minduration\":31,\"maxduration\":30")), Some(duration)),
            (with(&format!("{m},\"minduration\":-1")), Some(duration)),
            (with(&format!("{m},\"rqddurs\":[15,30]")), None),
            (with(&format!("{m},\"rqddurs\":[15,0]")), Some(duration)),
            (with(&format!("{m},\"rqddurs\":[15],\"maxduration\":15")), Some(duration)),
            (with(&format!("{m},\"rqddurs\":[15],\"minduration\":0")), Some(duration)),
            (with(&format!("{m},\"rqddurs\":[],\"minduration\":0")), None),
            (with(&format!("{m},\"maxduration\":99999999999")), Some(NumberOutOfRange)),
        ]);
    }
}

#[test]
fn native_requests_parse_and_ask_for_assets() {
    imps(&[
        (r#""native":{}"#, Some(NativeRequest)),
        (r#""native":{"request":""}"#, Some(NativeRequest)),
        (r#""native":{"request":null}"#, Some(NativeRequest)),
        (r#""native":{"request":5}"#, Some(NativeRequest)),
        (r#""native":{"request":"{"}"#, Some(NativeRequest)),
        (r#""native":{"request":"{}"}"#, Some(NativeRequest)),
        (r#""native":{"request":"{\"assets\":[]}"}"#, Some(NativeRequest)),
        (
            r#""native":{"request":"{\"native\":{\"assets\":[{}],\"assets\":[]}}"}"#,
            Some(NativeRequest),
        ),
        (
            r#""native":{"request":{"native":{"assets":[{}],"ver":"1","ver":"2"}}}"#,
            Some(NativeRequest),
        ),
        (r#""native":{"request":"{\"native\":{}}"}"#, Some(NativeRequest)),
        (
            r#""native":{"request":"{\"native\":{\"assets\":[{}]},\"native\":1}"}"#,
            Some(NativeRequest),
        ),
        (r#""native":{"request":"{\"assets\":[{\"id\":1}]}"}"#, None),
        (r#""native":{"request":"{\"native\":{\"ver\":\"1.0\",\"assets\":[{\"id\":1}]}}"}"#, None),
        (r#""native":{"request":{"assets":[{"id":1}]}}"#, None),
        (r#""native":{"request":{"assets":[]}}"#, Some(NativeRequest)),
    ]);
    let long = |bytes: usize| {
        let pad = "a".repeat(bytes - r#"{"assets":[{}],"x":""}"#.len());
        format!(r#""native":{{"request":"{{\"assets\":[{{}}],\"x\":\"{pad}\"}}"}}"#)
    };
    imps(&[(&long(64 << 10), None), (&long((64 << 10) + 1), Some(StringTooLong))]);
    let request = admitted(&request("", r#""native":{"request":"{\"assets\":[{\"id\":1}]}"}"#));
    assert_eq!(request.text(request.view.imps[0].native.request), r#"{"assets":[{"id":1}]}"#);
}

#[test]
fn floors_are_numbers_of_a_known_currency() {
    let with = |more: &str| format!("{BANNER},{more}");
    for (members, expected) in [
        (r#""mincpmpersec":0.5"#, None),
        (r#""mincpmpersec":null"#, None),
        (r#""mincpmpersec":-0.5"#, Some(Bidfloor)),
        (r#""mincpmpersec":"0.5""#, Some(WrongType)),
        (r#""durfloors":[{"maxdur":15,"bidfloor":5},{"mindur":16}]"#, None),
        (r#""durfloors":[{"mindur":-1,"bidfloor":5}]"#, Some(NumberOutOfRange)),
        (r#""durfloors":[{"bidfloor":-5}]"#, Some(Bidfloor)),
        (r#""durfloors":[{"bidfloor":1,"bidfloor":5}]"#, Some(DuplicateKey)),
        (r#""durfloors":[5]"#, Some(NotAnObject)),
        (r#""durfloors":{}"#, Some(WrongType)),
    ] {
        let video = format!(r#""video":{{"mimes":["video/mp4"],{members}}}"#);
        let deal = with(&format!(r#""pmp":{{"deals":[{{"id":"d",{members}}}]}}"#));
        imps(&[(&video, expected), (&deal, expected)]);
    }
    for (members, expected) in [
        (r#""bidfloor":0"#, None),
        (r#""bidfloor":1.25,"bidfloorcur":"EUR""#, None),
        (r#""bidfloor":-0.01"#, Some(Bidfloor)),
        (r#""bidfloor":1e300"#, Some(Bidfloor)),
        (r#""bidfloor":123456789012345678901234567890"#, Some(Bidfloor)),
        (r#""bidfloor":"1.25""#, Some(WrongType)),
        (r#""bidfloor":true"#, Some(WrongType)),
        (r#""bidfloor":null"#, None),
        (r#""bidfloorcur":"XXX""#, Some(BidfloorCurrency)),
        (r#""bidfloorcur":"dollars""#, Some(BidfloorCurrency)),
        (r#""bidfloorcur":7"#, Some(WrongType)),
        (r#""bidfloorcur":"eur""#, None),
    ] {
        imps(&[(&with(members), expected)]);
        imps(&[(&with(&format!(r#""pmp":{{"deals":[{{"id":"d",{members}}}]}}"#)), expected)]);
    }
}

#[test]
fn a_quantity_has_a_multiplier_above_zero_and_up_to_a_million() {
    let with = |qty: &str| format!("{BANNER},\"qty\":{qty}");
    for (number, micros) in [
        ("1", 1_000_000),
        ("14.2", 14_200_000),
        ("0.5", 500_000),
        ("1.42e1", 14_200_000),
        ("0.0000005", 1),
        ("14.2000004", 14_200_000),
        ("1000000", 1_000_000_000_000),
    ] {
        let qty = format!(r#"{{"multiplier":{number},"sourcetype":1,"vendor":"v","ext":{{}}}}"#);
        let request = admitted(&request("", &with(&qty)));
        let read = request.view.imps[0].multiplier.map(Multiplier::micros);
        assert_eq!(read, Some(micros), "{number}");
    }
    for number in ["0", "-0.0", "-1", "0.0000004", "1000000.1", "1e300", "18446744073709551616"] {
        imps(&[(&with(&format!("{{\"multiplier\":{number}}}")), Some(QtyMultiplier))]);
    }
    for other in [r#""14.2""#, "null", "true", "[14.2]", "{}"] {
        imps(&[(&with(&format!("{{\"multiplier\":{other}}}")), Some(QtyMultiplier))]);
    }
    imps(&[
        (&with("{}"), Some(QtyMultiplier)),
        (&with(r#"{"sourcetype":1}"#), Some(QtyMultiplier)),
        (&with("14.2"), Some(NotAnObject)),
        (&with("[]"), Some(NotAnObject)),
        (&with(r#"{"multiplier":1,"multiplier":1}"#), Some(DuplicateKey)),
        (&with(r#"{"multiplier":1,"multiplie\u0072":2}"#), Some(DuplicateKey)),
        (&format!("{},\"qty\":null", with(r#"{"multiplier":2}"#)), Some(DuplicateKey)),
    ]);
    for absent in [BANNER.to_owned(), with("null")] {
        assert_eq!(admitted(&request("", &absent)).view.imps[0].multiplier, None, "{absent}");
    }
}

#[test]
fn an_imp_of_an_unknown_quantity_costs_itself_alone() {
    let body = format!(
        r#"{{"id":"r","dooh":{{}},"imp":[{{"id":"a",{BANNER},"qty":{{"multiplier":0}}}},{{"id":"b",{BANNER},"qty":{{"multiplier":3}}}}]}}"#
    );
    let admitted = admit_text(&body).unwrap();
    assert_eq!(admitted.refused_imps[..], [(0, QtyMultiplier)]);
    assert_eq!(admitted.request.view.imps[0].multiplier, Multiplier::from_wire(3.0));
}

#[test]
fn deals_have_unique_ids_and_a_known_auction_type() {
    let with = |deals: &str| format!(r#"{BANNER},"pmp":{{"deals":[{deals}]}}"#);
    imps(&[
        (&with(""), None),
        (&with("{}"), Some(DealIdMissing)),
        (&with(r#"{"id":""}"#), Some(DealIdMissing)),
        (&with(r#"{"id":"a"},{"id":"b"}"#), None),
        (&with(r#"{"id":"a"},{"id":"b"},{"id":"a"}"#), Some(DealIdDuplicate)),
        (&with(r#"{"id":"a","at":1},{"id":"b","at":2},{"id":"c","at":3}"#), None),
        (&with(r#"{"id":"a","at":0}"#), Some(DealAuctionType)),
        (&with(r#"{"id":"a","at":4}"#), Some(DealAuctionType)),
        (&with(r#"{"id":"a","at":499}"#), Some(DealAuctionType)),
        (&with(r#"{"id":"a","at":500}"#), None),
        (&with("5"), Some(NotAnObject)),
        (&format!(r#"{BANNER},"pmp":5"#), Some(NotAnObject)),
        (&format!(r#"{BANNER},"pmp":{{"deals":5}}"#), Some(WrongType)),
    ]);
    let many = |count: usize| {
        let deals: Vec<_> = (0..count).map(|id| format!("{{\"id\":\"{id}\"}}")).collect();
        with(&deals.join(","))
    };
    imps(&[(&many(100), None), (&many(101), Some(TooManyDeals))]);

    let deal = r#"{"id":"a","bidfloor":2,"at":3,"wseat":["s"],"wadomain":["a.example"]}"#;
    let request = admitted(&request("", &format!("{},\"bidfloorcur\":\"EUR\"", with(deal))));
    let deal = &request.deals(request.view.imps[0].deals)[0];
    assert_eq!(deal.bidfloorcur, Currency::USD, "it does not inherit (3.2.12)");
    assert_eq!(deal.at, Some(AuctionType::Fixed));
    assert_eq!(request.texts(deal.wadomain).collect::<Vec<_>>(), ["a.example"]);
}

#[test]
fn what_the_root_says_is_known() {
    roots(&[
        (r#""at":1"#, None),
        (r#""at":2"#, None),
        (r#""at":3"#, Some(AuctionTypeUnknown)),
        (r#""at":0"#, Some(AuctionTypeUnknown)),
        (r#""at":500"#, Some(AuctionTypeUnknown)),
        (r#""at":18446744073709551616"#, Some(NumberOutOfRange)),
        (r#""cur":["USD"]"#, None),
        (r#""cur":["XXX","EUR"]"#, None),
        (r#""cur":[]"#, None),
        (r#""cur":["XXX"]"#, Some(CurrencyUnknown)),
        (r#""cur":["",7]"#, Some(WrongType)),
        (r#""cattax":1"#, None),
        (r#""cattax":9"#, None),
        (r#""cattax":500"#, None),
        (r#""cattax":10"#, None),
        (r#""cattax":65535"#, None),
        (r#""cattax":"x""#, Some(WrongType)),
        (r#""bcat":["IAB1",5]"#, None),
        (r#""bcat":[["IAB1"]]"#, Some(WrongType)),
        (r#""test":[]"#, Some(WrongType)),
    ]);
    let view = |root: &str| admitted(&request(root, "")).view;
    assert_eq!(view(r#""at":1"#).auction_type, AuctionType::FirstPrice);
    assert!(!view("").has_auction_type);
    assert_eq!(view(r#""cur":["XXX","EUR"]"#).currencies, [Currency::parse("EUR").unwrap()]);
}

#[test]
fn tmax_is_never_a_reason_to_refuse() {
    let tmax = |root: &str| admitted(&request(root, "")).view.tmax_ms;
    for (root, expected) in [
        ("", None),
        (r#""tmax":120"#, Some(120)),
        (r#""tmax":"120""#, Some(120)),
        (r#""tmax":0"#, Some(0)),
        (r#""tmax":-5"#, None),
        (r#""tmax":99999999999999999999999"#, None),
        (r#""tmax":"soon""#, None),
        (r#""tmax":{}"#, None),
        (r#""tmax":null"#, None),
    ] {
        assert_eq!(tmax(root), expected, "{root}");
    }
}
#[test]
fn strings_are_limited_and_have_no_nul() {
    let ua = |text: &str| format!("\"device\":{{\"ua\":\"{text}\"}}");
    roots(&[
        (&ua(&"a".repeat(8192)), None),
        (&ua(&"a".repeat(8193)), Some(StringTooLong)),
        (&ua("\\u0041b"), None),
        (&ua("a\\u0000b"), Some(StringNul)),
        (r#""ext":{"x":"a\u0000b"},"device":{"ua":"\\u0000"}"#, None),
    ]);
}

#[test]
fn a_key_that_comes_twice_costs_the_request_wherever_we_read_or_edit() {
    let twice = r#""x":1,"x":2"#;
    let known = r#""id":"1","id":"2""#;
    for both in [twice, known] {
        for root in [
            r#""device":{M}"#,
            r#""device":{"ext":{M}}"#,
            r#""device":{"geo":{M}}"#,
            r#""device":{"sua":{M}}"#,
            r#""device":{"sua":{"platform":{M}}}"#,
            r#""device":{"sua":{"browsers":[{M}]}}"#,
            r#""user":{M}"#,
            r#""user":{"ext":{M}}"#,
            r#""user":{"geo":{M}}"#,
            r#""user":{"eids":[{M}]}"#,
            r#""user":{"ext":{"eids":[{M}]}}"#,
            r#""regs":{M}"#,
            r#""regs":{"ext":{M}}"#,
            r#""source":{M}"#,
            r#""source":{"ext":{M}}"#,
            r#""source":{"schain":{M}}"#,
            r#""source":{"ext":{"schain":{M}}}"#,
        ] {
            roots(&[(&root.replace('M', both), Some(DuplicateKey))]);
        }
        for imp in [
            r#""banner":{M}"#,
            r#""banner":{"format":[{M}]}"#,
            r#""video":{"mimes":["a/b"],M}"#,
            r#""audio":{"mimes":["a/b"],M}"#,
            r#""native":{M}"#,
            r#""pmp":{M}"#,
            r#""pmp":{"deals":[{M}]}"#,
            r#""ext":{M}"#,
            r#""qty":{"multiplier":1,M}"#,
            twice,
        ] {
            imps(&[(&imp.replace('M', both), Some(DuplicateKey))]);
        }
        // Nobody reads or edits these.
        roots(&[(&r#""ext":{M}"#.replace('M', both), None)]);
        imps(&[(&format!("{BANNER},\"metric\":[{{{both}}}]"), None)]);
    }
    roots(&[(twice, Some(DuplicateKey)), (r#""id":"again""#, Some(DuplicateKey))]);
    check(&[
        (r#"{"id":"r","site":{"x":1,"x":2},"imp":[]}"#.to_owned(), Some(DuplicateKey)),
        (
            r#"{"id":"r","app":{"publisher":{"id":"a","i\u0064":"b"}},"imp":[]}"#.to_owned(),
            Some(DuplicateKey),
        ),
    ]);
}

#[test]
fn an_invalid_imp_costs_itself_unless_the_partner_is_strict() {
    let body = format!(
        r#"{{"id":"r","site":{{}},"imp":[{{"id":"a"}}, {{"id":"b",{BANNER}}} ,{{"id":"c","video":{{}}}}]}}"#
    );
    let admitted = admit_text(&body).unwrap();
    assert_eq!(admitted.refused_imps[..], [(0, ImpNoMedia), (2, VideoMimes)]);
    let view = &admitted.request.view;
    assert_eq!((view.imps.len(), view.imps[0].position, view.imps_received), (1, 1, 3));
    let texts: Vec<_> = view
        .imp_elements
        .iter()
        .map(|element| &body[element.at as usize..element.end as usize])
        .collect();
    assert_eq!(texts[0], r#"{"id":"a"}"#);
    assert_eq!(texts[1], format!(r#"{{"id":"b",{BANNER}}}"#));

    let mut strict = partner();
    strict.is_strict = true;
    assert_eq!(admit_with(&body, &strict).unwrap_err(), ImpNoMedia);
    let none = r#"{"id":"r","site":{},"imp":[{"id":"c","video":{}},{"id":"a"}]}"#;
    assert_eq!(admit_text(none).unwrap_err(), VideoMimes);
}

#[test]
fn media_that_the_partner_may_not_send_are_not_offered() {
    let mut partner = partner();
    partner.media = [Media::Banner].into_iter().collect();
    let video = r#""video":{"mimes":["video/mp4"]}"#;
    let both = admit_with(&request("", &format!("{BANNER},{video}")), &partner).unwrap();
    let banner: MediaSet = [Media::Banner].into_iter().collect();
    assert_eq!(both.request.view.imps[0].media, banner);
    assert_eq!(admit_with(&request("", video), &partner).unwrap_err(), MediaNotAllowed);
}

#[test]
fn numbers_that_nobody_reads_may_be_of_any_size() {
    let root = r#""ext":{"n":[123456789012345678901234567890,-99999999999999999999,1e308,0.1]}"#;
    let body = request(root, &format!("{BANNER},\"ext\":{{\"big\":18446744073709551616}}"));
    assert_eq!(admitted(&body).bytes(), body.as_bytes());
}
