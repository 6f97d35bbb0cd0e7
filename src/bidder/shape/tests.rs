//! Requests and settings with the exact bytes that a bidder gets.

use super::{ShapeScratch, Subject};
use crate::auction::pricing::Pricing;
use crate::auction::rules::NO_RULES;
use crate::bidder::OpenRtbVersion::{self, V25, V26};
use crate::bidder::{Bidder, ImpSet, Invitation, fixture};
use crate::facts::{Device, Facts, Geo};
use crate::money::{Cpm, Currency};
use crate::negatives::not_called::NotCalled;
use crate::openrtb::ids::{AuctionType, BidderId};
use crate::partner::{Partner, SchainNode};
use crate::privacy::disclosure::Disclosure;
use crate::request::Key;
use std::sync::Arc;

/// What a body is made with; by default nothing that would change it but `tmax` 80.
struct Case {
    partner: Partner,
    facts: Facts,
    version: OpenRtbVersion,
    disclosure: Disclosure,
    imps: u64,
    /// What is configured for the bidder.
    configure: fn(&mut Bidder),
}

impl Default for Case {
    fn default() -> Self {
        Self {
            partner: fixture::partner(),
            facts: Facts::default(),
            version: V26,
            disclosure: Disclosure::FULL,
            imps: u64::MAX,
            configure: |_| (),
        }
    }
}

impl Case {
    fn body(&self, request: &str) -> Result<String, NotCalled> {
        let request = fixture::read_of(request, &self.partner)
            .unwrap_or_else(|refusal| panic!("{refusal:?}"));
        let rates = fixture::rates();
        let pricing = Pricing::new(&request, &self.partner, &rates, &NO_RULES);
        let subject = Subject {
            request: &request,
            facts: &self.facts,
            partner: &self.partner,
            pricing: &pricing,
        };
        let mut imps = ImpSet::default();
        let offered = (0..request.view.imps.len()).filter(|at| ImpSet(self.imps).contains(*at));
        offered.for_each(|at| imps.insert(at));
        let invitation = Invitation { bidder: BidderId(0), imps };
        let mut scratch = ShapeScratch::default();
        let mut shaper = scratch.begin(subject);
        let mut bidder = fixture::bidder(self.version);
        (self.configure)(&mut bidder);
        let (mut body, mut again) = (Vec::new(), Vec::new());
        shaper.shape(&invitation, &bidder, self.disclosure, 80, &mut body)?;
        shaper.shape(&invitation, &bidder, self.disclosure, 80, &mut again)?;
        assert_eq!(body, again, "a draft gives the same body twice");
        Ok(String::from_utf8(body).unwrap())
    }

    /// Checks the rest of a request behind `PREFIX`.
    fn check(&self, request: &str, expected: &str) {
        let whole = |rest: &str| format!("{{{PREFIX}{rest}}}");
        assert_eq!(self.body(&whole(request)), Ok(whole(expected)));
    }
}

/// What every request here starts with, and what does not change in it.
const PREFIX: &str =
    r#""id":"r1","tmax":80,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{}"#;

const IMP: &str = r#"{"id":"1","banner":{"w":300,"h":250}}"#;

fn schain(is_owner: bool) -> Partner {
    let node =
        SchainNode { asi: "gavel.example".into(), sid: "a\"1".into(), is_paid: true, is_owner };
    Partner { schain: Some(node), ..fixture::partner() }
}

const NODE: &str = r#"{"asi":"gavel.example","sid":"a\"1","rid":"r1","hp":1}"#;

#[test]
fn nothing_to_change_changes_nothing() {
    let rest = r#" ,"x" : [ 1.50, "\u0069" ], "ext":{ "a":{}, "b":[] } , "cur":["USD"],"at":1 "#;
    for version in [V25, V26] {
        Case { version, ..Case::default() }.check(rest, rest);
    }
}

#[test]
fn tmax_is_replaced_or_inserted_once() {
    let case = Case::default();
    for (tmax, expected) in [
        (r#""tmax":5000,"#, r#""tmax":80,"#),
        (r#""tm\u0061x" : "120" ,"#, r#""tm\u0061x" : 80 ,"#),
        (r#""tmax":null,"#, r#""tmax":80,"#),
    ] {
        let body = case.body(&format!(r#"{{{tmax}"id":"r","imp":[{IMP}],"site":{{}}}}"#));
        assert_eq!(body, Ok(format!(r#"{{{expected}"id":"r","imp":[{IMP}],"site":{{}}}}"#)));
    }
    let body = case.body(&format!(r#"{{"id":"r","imp":[{IMP}],"site":{{}} }}"#));
    assert_eq!(body, Ok(format!(r#"{{"id":"r","imp":[{IMP}],"site":{{}},"tmax":80 }}"#)));
}

#[test]
fn only_offered_and_admitted_imps_are_sent() {
    let imp = |id: &str| format!(r#"{{"id":"{id}","banner":{{"w":1,"h":1}}}}"#);
    let (a, b, c) = (imp("a"), imp("b"), imp("c"));
    let request = |imps: &str| format!(r#"{{"id":"r","imp":[ {imps} ],"tmax":80,"site":{{}}}}"#);
    let all = format!("{a} ,{b}, {c}");
    for (imps, expected) in [
        (0b111, all.clone()),
        (0b001, a.clone()),
        (0b010, b.clone()),
        (0b100, c.clone()),
        (0b101, format!("{a}, {c}")),
        (0b110, format!("{b}, {c}")),
        (0b011, format!("{a} ,{b}")),
    ] {
        let case = Case { imps, ..Case::default() };
        assert_eq!(case.body(&request(&all)), Ok(request(&expected)), "{imps:b}");
    }
    let case = Case { imps: 0, ..Case::default() };
    assert_eq!(case.body(&request(&all)), Err(NotCalled::Rendering));
    let refused = format!(r#"{{"id":"x"}} , {a},{{"id":"y"}} ,{c},{{"id":"z"}}"#);
    assert_eq!(Case::default().body(&request(&refused)), Ok(request(&format!("{a} ,{c}"))));
}

#[test]
fn floors_are_raised_to_the_partners_and_never_lowered() {
    let partner = Partner {
        floor: Cpm::from_micros(500_000),
        currency: Currency::parse("EUR").unwrap(),
        ..fixture::partner()
    };
    let case = Case { partner, ..Case::default() };
    let request = |floor: &str| {
        format!(
            r#"{{"id":"r","imp":[{{"id":"1","banner":{{"w":1,"h":1}}{floor}}}],"tmax":80,"site":{{}}}}"#
        )
    };
    for (floor, expected) in [
        ("", r#","bidfloor":1"#),
        (r#","bidfloor":0.50"#, r#","bidfloor":1"#),
        (r#","bidfloor":1.00"#, r#","bidfloor":1.00"#),
        (r#","bidfloor":2,"bidfloorcur":"USD""#, r#","bidfloor":2,"bidfloorcur":"USD""#),
        (r#","bidfloorcur":"EUR""#, r#","bidfloorcur":"EUR","bidfloor":0.5"#),
        (r#","bidfloor": 0.1 ,"bidfloorcur":"EUR""#, r#","bidfloor": 0.5 ,"bidfloorcur":"EUR""#),
    ] {
        assert_eq!(case.body(&request(floor)), Ok(request(expected)));
    }
}

#[test]
fn floors_that_prices_cannot_say_are_sent_rounded_up() {
    let case = Case::default();
    let request = |imp: [&str; 4]| {
        let [floor, second, range, deal] = imp;
        format!(
            r#"{{"id":"r","imp":[{{"id":"1","bidfloor":{floor},"video":{{"mimes":["v/m"],"mincpmpersec":{second},"durfloors":[{{"bidfloor":{range}}}]}},"pmp":{{"deals":[{{"id":"d","bidfloor":{deal}}}]}}}}],"tmax":80,"site":{{}}}}"#
        )
    };
    let floors = ["0.0123454", "0.0003333334", "0.05000000074505806", "1.0000001"];
    let sent = ["0.012346", "0.000333334", "0.050001", "1.000001"];
    assert_eq!(case.body(&request(floors)), Ok(request(sent)));
    // as they came: a bid of these reaches what they are rounded to
    let exact = ["0.0123456", "0.0003333336", "0.30", "2.5e0"];
    assert_eq!(case.body(&request(exact)), Ok(request(exact)));
}

#[test]
fn a_bid_of_the_floor_that_was_sent_reaches_the_partners() {
    let yen = Currency::parse("JPY").unwrap();
    let partner =
        Partner { floor: Cpm::from_micros(50_000_000), currency: yen, ..fixture::partner() };
    let case = Case { partner, ..Case::default() };
    let body = case.body(&format!(r#"{{"id":"r","imp":[{IMP}],"tmax":80,"site":{{}}}}"#));
    assert!(body.unwrap().contains(r#","bidfloor":0.333334}"#));
}

#[test]
fn a_forced_auction_type_is_written_where_it_differs() {
    let partner = Partner { auction_type: Some(AuctionType::FirstPrice), ..fixture::partner() };
    let case = Case { partner, ..Case::default() };
    case.check("", r#","at":1"#);
    case.check(r#","at":2"#, r#","at":1"#);
    case.check(r#","at":null"#, r#","at":1"#);
    case.check(r#","at":1"#, r#","at":1"#);
}

#[test]
fn block_lists_are_merged_without_doubles() {
    let partner = Partner {
        bcat: vec!["IAB25".into(), "IAB26".into()],
        badv: vec!["a.example".into()],
        ..fixture::partner()
    };
    let case = Case { partner, ..Case::default() };
    case.check("", r#","bcat":["IAB25","IAB26"],"badv":["a.example"]"#);
    case.check(
        r#","bcat":[ "iab25" ],"badv":[ ]"#,
        r#","bcat":[ "iab25" ,"IAB26"],"badv":[ "a.example"]"#,
    );
    case.check(
        r#","badv":["A.EXAMPLE"],"bcat":null"#,
        r#","badv":["A.EXAMPLE"],"bcat":["IAB25","IAB26"]"#,
    );
    case.check(
        r#","cattax":7,"bcat":["596"],"badv":["a.example"]"#,
        r#","cattax":7,"bcat":["596"],"badv":["a.example"]"#,
    );
}

#[test]
fn members_move_to_where_the_bidders_version_has_them() {
    let old = Case { version: V25, ..Case::default() };
    let new = Case::default();
    for (in_26, in_25) in [
        (
            r#","regs":{"coppa":0,"gdpr":0},"user":{"id":"u","consent":"C \u0061"}"#,
            r#","regs":{"coppa":0,"ext":{"gdpr":0}},"user":{"id":"u","ext":{"consent":"C \u0061"}}"#,
        ),
        (
            r#","regs":{"ext":{"x":1},"us_privacy":"1---"}"#,
            r#","regs":{"ext":{"x":1,"us_privacy":"1---"}}"#,
        ),
        (
            r#","source":{"tid":"t","ext":{},"schain":{"complete":1,"nodes":[]}}"#,
            r#","source":{"tid":"t","ext":{"schain":{"complete":1,"nodes":[]}}}"#,
        ),
        (
            r#","user":{"ext":{},"eids":[{"source":"s","uids":[{"id":"1"}]}]}"#,
            r#","user":{"ext":{"eids":[{"source":"s","uids":[{"id":"1"}]}]}}"#,
        ),
    ] {
        old.check(in_26, in_25);
        old.check(in_25, in_25);
        new.check(in_26, in_26);
    }
    new.check(r#","regs":{"ext":{"gdpr":0,"x":1}}"#, r#","regs":{"ext":{"x":1},"gdpr":0}"#);
    new.check(r#","regs":{"gdpr":null,"ext":{"gdpr":0}}"#, r#","regs":{"gdpr":0,"ext":{}}"#);
    old.check(r#","regs":{"gdpr":0,"ext":null}"#, r#","regs":{"ext":{"gdpr":0}}"#);
    old.check(r#","regs":{"gdpr":0,"ext":{"gdpr":null}}"#, r#","regs":{"ext":{"gdpr":0}}"#);
    // The same value twice stands once; two values are not ours to choose from.
    new.check(r#","regs":{"gdpr":0,"ext":{"gdpr":0}}"#, r#","regs":{"gdpr":0,"ext":{}}"#);
    old.check(r#","regs":{"gdpr":0,"ext":{"gdpr":0}}"#, r#","regs":{"ext":{"gdpr":0}}"#);
    let two = r#","user":{"consent":"A","ext":{"consent":"B"}}"#;
    old.check(two, two);
    new.check(two, two);
}

#[test]
fn rewarded_moves_within_the_imp() {
    let request = |rest: &str| {
        format!(
            r#"{{"id":"r","imp":[{{"id":"1",{rest}"banner":{{"w":1,"h":1}}}}],"tmax":80,"site":{{}}}}"#
        )
    };
    let old = Case { version: V25, ..Case::default() };
    let body = old.body(&request(r#""rwdd":1,"ext":{"a":1},"#));
    assert_eq!(body, Ok(request(r#""ext":{"a":1,"rwdd":1},"#)));
    let body = Case::default().body(&request(r#""ext":{"rwdd":1},"#));
    let expected = request(r#""ext":{},"#).replace("}}],", r#"},"rwdd":1}],"#);
    assert_eq!(body, Ok(expected));
}

#[test]
fn our_node_ends_the_supply_chain() {
    let case = Case { partner: schain(false), ..Case::default() };
    let old = Case { partner: schain(false), version: V25, ..Case::default() };
    let start = format!(r#"{{"ver":"1.0","complete":0,"nodes":[{NODE}]}}"#);
    case.check("", &format!(r#","source":{{"schain":{start}}}"#));
    old.check("", &format!(r#","source":{{"ext":{{"schain":{start}}}}}"#));
    case.check(r#","source":null"#, &format!(r#","source":{{"schain":{start}}}"#));
    case.check(r#","source":{}"#, &format!(r#","source":{{"schain":{start}}}"#));
    old.check(
        r#","source":{"fd":1}"#,
        &format!(r#","source":{{"fd":1,"ext":{{"schain":{start}}}}}"#),
    );
    let owner = Case { partner: schain(true), ..Case::default() };
    owner.check("", &format!(r#","source":{{"schain":{}}}"#, start.replace(":0,", ":1,")));
    let chain = r#"{ "complete":1, "nodes":[ {"asi":"x.example","sid":"7"} ], "ver":"1.0" }"#;
    let grown = chain.replace("} ]", &format!("}} ,{NODE}]"));
    for given in [
        format!(r#","source":{{"schain":{chain}}}"#),
        format!(r#","source":{{"schain":{chain},"ext":{{"schain":{chain}}}}}"#),
    ] {
        let whole = format!("{{{PREFIX}{given}}}");
        let new = case.body(&whole).unwrap();
        assert!(new.contains(&format!(r#""source":{{"schain":{grown}"#)), "{new}");
        assert_eq!(new.matches("gavel.example").count(), 1);
        assert_eq!(new.matches("x.example").count(), 1);
        let old = old.body(&whole).unwrap();
        assert!(old.contains(&format!(r#""ext":{{"schain":{grown}}}"#)), "{old}");
        assert_eq!(old.matches("x.example").count(), 1);
    }
    case.check(
        &format!(r#","source":{{"ext":{{"schain":{chain},"y":1}}}}"#),
        &format!(r#","source":{{"ext":{{"y":1}},"schain":{grown}}}"#),
    );
}

#[test]
fn a_chain_at_its_limit_is_not_resold() {
    let nodes = |count: usize| vec![r#"{"asi":"x.example","sid":"7"}"#; count].join(",");
    let request = |count| {
        format!(r#"{{{PREFIX},"source":{{"schain":{{"complete":1,"nodes":[{}]}}}}}}"#, nodes(count))
    };
    let case = Case { partner: schain(false), ..Case::default() };
    assert_eq!(case.body(&request(20)), Err(NotCalled::Rendering));
    assert!(case.body(&request(19)).is_ok());
    assert!(Case::default().body(&request(20)).is_ok());
}

fn looked_up() -> Facts {
    let member = |key, text: &str| (key, text.to_owned());
    Facts {
        geo: Some(Arc::new(Geo {
            rendered: vec![
                member(Key::Country, r#""country":"USA""#),
                member(Key::City, r#""city":"Waltham""#),
                member(Key::Zip, r#""zip":"02451""#),
            ],
            rendered_position: vec![
                member(Key::Lat, r#""lat":42.3765"#),
                member(Key::Lon, r#""lon":-71.2356"#),
                member(Key::Type, r#""type":2"#),
                member(Key::Accuracy, r#""accuracy":5000"#),
            ],
            ..Geo::default()
        })),
        device: Some(Arc::new(Device {
            rendered: vec![member(Key::Os, r#""os":"iOS""#)],
            ..Device::default()
        })),
        ..Facts::default()
    }
}

#[test]
fn looked_up_members_fill_what_is_absent() {
    let case = Case { facts: looked_up(), ..Case::default() };
    let geo = concat!(
        r#""country":"USA","city":"Waltham","zip":"02451","#,
        r#""lat":42.3765,"lon":-71.2356,"type":2,"accuracy":5000"#,
    );
    case.check("", &format!(r#","device":{{"os":"iOS","geo":{{{geo}}}}}"#));
    case.check(r#","device":null"#, &format!(r#","device":{{"os":"iOS","geo":{{{geo}}}}}"#));
    case.check(r#","device":{}"#, &format!(r#","device":{{"os":"iOS","geo":{{{geo}}}}}"#));
    case.check(
        r#","device":{"geo":null, "os":"x"}"#,
        &format!(r#","device":{{"geo":{{{geo}}}, "os":"x"}}"#),
    );
    case.check(
        r#","device":{"geo":{ "country" : "USA" },"os":"x"}"#,
        &format!(
            r#","device":{{"geo":{{ "country" : "USA",{} }},"os":"x"}}"#,
            geo.strip_prefix(r#""country":"USA","#).unwrap()
        ),
    );
    Case::default().check(r#","device":null"#, r#","device":null"#);
}

#[test]
fn a_strict_disclosure_withholds_what_came_and_what_was_looked_up() {
    let strict = Case { disclosure: Disclosure::STRICT, ..Case::default() };
    strict.check(
        concat!(
            r#","user":{"id":"u","consent":"C","eids":[],"geo":{"lat":1.239,"zip":"1","x":1},"#,
            r#""ext":{"consent":"C","eids":[],"y":2}}"#,
        ),
        r#","user":{"consent":"C","geo":{"lat":1.24},"ext":{}}"#,
    );
    strict.check(
        concat!(
            r#","device":{"ifa":"i" , "ua":"x","ip":"192.0.2.77","ipv6":"2001:db8:1:2::3","#,
            r#""geo":{"lastfix":3,"lat":"9.876","lon":-0.5},"js":1,"idfa":"i","ext":{"atts":3,"x":1}}"#,
        ),
        concat!(
            r#","device":{"ua":"x","ip":"192.0.2.0","ipv6":"2001:db8:1::","#,
            r#""geo":{"lat":9.88,"lon":-0.5},"js":1,"ext":{"atts":3}}"#,
        ),
    );
    strict.check(r#","user":{"id":"u"}"#, r#","user":{}"#);
    strict.check(r#","user":{"data":[],"ext":null}"#, r#","user":{"ext":null}"#);
    let filled = Case { facts: looked_up(), ..strict };
    filled.check(
        r#","device":{"geo":{"zip":"9"},"ifa":"i"}"#,
        r#","device":{"geo":{"country":"USA","city":"Waltham"},"os":"iOS"}"#,
    );
    filled.check(
        "",
        concat!(
            r#","device":{"os":"iOS","geo":{"country":"USA","city":"Waltham","#,
            r#""lat":42.38,"lon":-71.24,"type":2}}"#,
        ),
    );
    let old = Case { version: V25, ..filled };
    old.check(
        r#","user":{"consent":"C","id":"u"},"device":{"os":"x","geo":{"type":1}}"#,
        r#","user":{"ext":{"consent":"C"}},"device":{"os":"x","geo":{"type":1,"country":"USA"}}"#,
    );
}

mod own;
mod prebid;
mod privacy;
