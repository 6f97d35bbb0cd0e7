//! Outgoing bodies against the declared edit set, computed here a second time.
//!
//! A small tokenizer of its own lists every value by its path, with its raw bytes; which paths may
//! differ is decided by path and settings alone, from the words of the table in `shape`. Nothing
//! here uses the view, the splicer or the disclosure's table.

#![expect(clippy::indexing_slicing, reason = "a test may fail")]

mod tokens;
mod told;

use super::{ShapeScratch, Subject};
use crate::auction::pricing::Pricing;
use crate::auction::rules::NO_RULES;
use crate::bidder::fixture::{self, Dice};
use crate::bidder::{Bidder, ImpSet, Invitation, OpenRtbVersion};
use crate::facts::{Device, Facts, Geo};
use crate::money::margin::TakeRate;
use crate::money::{Cpm, Currency};
use crate::negatives::not_called::NotCalled;
use crate::openrtb::ids::{AuctionType, BidderId};
use crate::partner::{Margin, Partner, SchainNode};
use crate::privacy::disclosure::Disclosure;
use crate::request::Key;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokens::{Node, node, vary};

struct Case {
    partner: Partner,
    bidder: Bidder,
    facts: Facts,
    /// Nothing is withheld, what is strict, or what is strict of a child.
    level: Level,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Full,
    Strict,
    Child,
}

/// A path without the positions in its arrays.
fn numberless(path: &str) -> String {
    let mut is_inside = false;
    let keep = |one: &char| {
        is_inside = *one == '[' || is_inside && *one != ']';
        !is_inside || !one.is_ascii_digit()
    };
    path.chars().filter(keep).collect()
}

/// Whether a floor stands there, of one of the objects.
fn is_floor(path: &str, objects: [&str; 3]) -> bool {
    let names = [".bidfloor", ".mincpmpersec", ".durfloors[].bidfloor"];
    let path = numberless(path);
    objects.iter().any(|object| path.strip_prefix(object).is_some_and(|rest| names.contains(&rest)))
}

/// Whether a path is that of a place or of something in it.
fn is_under(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Whether a partner's floor may stand there: where one stood, and in `durfloors` of its own.
fn may_be_raised(path: &str, is_in_input: bool) -> bool {
    let streams = [".imp[].video", ".imp[].audio"];
    let in_ranges =
        |stream: &str| path.strip_prefix(stream).is_some_and(|rest| rest.starts_with(".durfloors"));
    path == ".imp[].bidfloor"
        || is_floor(path, [streams[0], streams[1], streams[0]])
        || !is_in_input && streams.into_iter().any(in_ranges)
}

const MOVES: [(&str, &[&str]); 4] = [
    (".regs", &["gdpr", "us_privacy", "gpp", "gpp_sid"]),
    (".user", &["consent", "eids"]),
    (".source", &["schain"]),
    (".imp[]", &["rwdd"]),
];

/// Objects in which something may change, so that their own raw text may.
const FRAMES: [&str; 29] = [
    ".imp",
    ".imp[]",
    ".imp[].ext",
    ".imp[].video",
    ".imp[].video.durfloors",
    ".imp[].video.durfloors[]",
    ".imp[].audio",
    ".imp[].audio.durfloors",
    ".imp[].audio.durfloors[]",
    ".imp[].pmp",
    ".imp[].pmp.deals",
    ".imp[].pmp.deals[]",
    ".imp[].pmp.deals[].durfloors",
    ".regs",
    ".regs.ext",
    ".user",
    ".user.ext",
    ".user.geo",
    ".source",
    ".source.ext",
    ".device",
    ".device.ext",
    ".device.geo",
    ".ext",
    ".ext.prebid",
    ".bcat",
    ".badv",
    ".bapp",
    "",
];

impl Case {
    fn random(dice: &mut Dice) -> Self {
        let lists = |dice: &mut Dice| dice.some(&["IAB25", "a.example", "com.x", "q\"\\\u{1}"]);
        let node = SchainNode {
            asi: "gavel.example".into(),
            sid: "7".into(),
            is_paid: dice.one_in(2),
            is_owner: dice.one_in(2),
        };
        let partner = Partner {
            floor: Cpm::from_micros(i64::try_from(dice.roll(3)).unwrap() * 500_000),
            margin: Margin::new(
                TakeRate::from_percent(if dice.one_in(3) { 20.0 } else { 0.0 }).unwrap(),
                TakeRate::from_percent(if dice.one_in(3) { 50.0 } else { 0.0 }).unwrap(),
                Vec::new(),
            ),
            auction_type: dice.one_in(3).then_some(AuctionType::FirstPrice),
            bcat: lists(dice),
            badv: lists(dice),
            bapp: lists(dice),
            schain: dice.one_in(2).then_some(node),
            is_secure: dice.one_in(2),
            is_direct: dice.one_in(2),
            ..fixture::partner()
        };
        let member = |key, text: &str| (key, text.to_owned());
        let geo = Geo {
            rendered: vec![
                member(Key::Country, r#""country":"USA""#),
                member(Key::Zip, r#""zip":"1""#),
            ],
            rendered_position: vec![
                member(Key::Lat, r#""lat":1.2345"#),
                member(Key::Lon, r#""lon":2"#),
            ],
            ..Geo::default()
        };
        let rendered =
            vec![member(Key::Os, r#""os":"iOS""#), member(Key::Devicetype, r#""devicetype":4"#)];
        let facts = Facts {
            geo: dice.one_in(2).then(|| Arc::new(geo)),
            address: dice.one_in(2).then(|| "192.0.2.77".parse().unwrap()),
            device: dice.one_in(2).then(|| Arc::new(Device { rendered, ..Device::default() })),
            ..Facts::default()
        };
        let version = if dice.one_in(2) { OpenRtbVersion::V25 } else { OpenRtbVersion::V26 };
        let mut bidder = fixture::bidder(version);
        dice.pick(&["b", "c"]).clone_into(&mut bidder.name);
        bidder.seats.allowed = dice.some(&["a", "b", "c\"\u{1}"]);
        bidder.seats.blocked = dice.some(&["b", "d"]);
        bidder.wire.currency =
            dice.one_in(3).then(|| Currency::parse(dice.pick(&["USD", "EUR", "JPY"])).unwrap());
        bidder.wire.buyeruid_source = dice.one_in(2).then(|| "e".to_owned());
        let level = match dice.roll(4) {
            0 | 1 => Level::Full,
            2 => Level::Strict,
            _ => Level::Child,
        };
        Self { partner, bidder, facts, level }
    }

    fn is_strict(&self) -> bool {
        self.level != Level::Full
    }

    fn has_seats(&self) -> bool {
        !self.bidder.seats.allowed.is_empty() || !self.bidder.seats.blocked.is_empty()
    }

    /// Whether the value at a path is told to nobody under a strict disclosure.
    fn is_withheld(&self, path: &str) -> bool {
        let geo = [".user.geo", ".device.geo"].iter().find_map(|geo| path.strip_prefix(geo));
        match geo {
            Some(rest) => {
                let kept =
                    [".type", ".ipservice", ".country", ".region", ".regionfips104", ".utcoffset"];
                let is_kept = kept.contains(&rest)
                    || self.level == Level::Strict && [".metro", ".city"].contains(&rest);
                !rest.is_empty() && !is_kept
            }
            None if path.starts_with(".user.") => {
                !is_under(path, ".user.consent")
                    && !is_under(path, ".user.ext.consent")
                    && path != ".user.ext"
            }
            None if path.starts_with(".device.ext.") => !is_under(path, ".device.ext.atts"),
            None => path.strip_prefix(".device.").is_some_and(|rest| {
                let kept = concat!(
                    " dnt lmt ua devicetype make model os osv hwv h w language carrier ",
                    "connectiontype ppi pxratio js geofetch flashver langb mccmnc ext geo ",
                );
                let first = rest.split(['.', '[']).next().unwrap();
                !kept.contains(&format!(" {first} "))
            }),
        }
    }

    /// Whether the value at a path may be added, removed or rewritten; `imp[3]` reads `imp[]`.
    fn may_change(&self, path: &str, is_in_input: bool) -> bool {
        let under = |place: &str| is_under(path, place);
        let moves = MOVES.iter().any(|(object, names)| {
            names.iter().any(|name| {
                under(&format!("{object}.{name}")) || under(&format!("{object}.ext.{name}"))
            })
        });
        let lists = [
            (".bcat", &self.partner.bcat),
            (".badv", &self.partner.badv),
            (".bapp", &self.partner.bapp),
        ];
        let grows = lists.iter().any(|(at, ours)| {
            !ours.is_empty() && !is_in_input && path.starts_with(&format!("{at}["))
        });
        let filled = [
            ".device.geo.country",
            ".device.geo.zip",
            ".device.geo.lat",
            ".device.geo.lon",
            ".device.os",
            ".device.devicetype",
        ];
        let strict = self.is_withheld(path);
        let strict_prebid =
            [".ext.prebid.data", ".ext.prebid.page_view_ids"].into_iter().any(under);
        path == ".tmax"
            || under(".ext.prebid.bidderconfig")
            || under(".user.ext.prebid")
            || self.is_strict() && strict_prebid
            || moves
            || grows
            || path == ".at" && self.partner.auction_type.is_some()
            || self.partner.floor > Cpm::ZERO && may_be_raised(path, is_in_input)
            || !self.partner.margin.open.is_none()
                && is_floor(path, [".imp[]", ".imp[].video", ".imp[].audio"])
            || !self.partner.margin.on_deals.is_none() && is_floor(path, [".imp[].pmp.deals[]"; 3])
            || [".device.ip", ".device.ipv6"].contains(&path) && self.partner.is_direct
            || path == ".imp[].secure" && self.partner.is_secure
            || path == ".allimps"
            || self.has_seats() && (under(".wseat") || under(".bseat"))
            || self.bidder.wire.currency.is_some()
                && (under(".cur") || [".imp[].bidfloor", ".imp[].bidfloorcur"].contains(&path))
            || path == ".user.buyeruid" && self.bidder.wire.buyeruid_source.is_some()
            || !is_in_input && filled.contains(&path)
            || self.is_strict() && strict
    }

    fn check(&self, text: &str, dice: &mut Dice) -> Option<()> {
        let request = fixture::read_of(text, &self.partner).ok()?;
        let offered: Vec<usize> =
            (0..request.view.imps.len()).filter(|_| !dice.one_in(3)).collect();
        let mut imps = ImpSet::default();
        for at in &offered {
            imps.insert(*at);
        }
        let rates = fixture::rates();
        let pricing = Pricing::new(&request, &self.partner, &rates, &NO_RULES);
        let subject = Subject {
            request: &request,
            facts: &self.facts,
            partner: &self.partner,
            pricing: &pricing,
        };
        let disclosure = match self.level {
            Level::Full => Disclosure::FULL,
            Level::Strict => Disclosure::STRICT,
            Level::Child => Disclosure::CHILD,
        };
        let mut scratch = ShapeScratch::default();
        let mut body = Vec::new();
        let shaped = scratch.begin(subject).shape(
            &Invitation { bidder: BidderId(0), imps },
            &self.bidder,
            disclosure,
            77,
            &mut body,
        );
        let told: Value = serde_json::from_str(text).unwrap();
        if offered.is_empty() || self.has_seats() && told::seats(self, &told).is_none() {
            assert_eq!(shaped, Err(NotCalled::Rendering));
            return None;
        }
        assert_eq!(shaped, Ok(()));
        let body = String::from_utf8(body).unwrap();
        let sent: Value = serde_json::from_str(&body).unwrap();
        let positions: Vec<usize> =
            offered.iter().map(|at| request.view.imps[*at].position as usize).collect();
        let (before, after) = (node(text, &mut 0), node(&body, &mut 0));
        assert!(before.has_double_key() || !after.has_double_key(), "a key twice: {body}");
        assert_eq!(after.get("tmax").unwrap().raw, "77");
        self.compare(&before, &after, &positions);
        let withholds = told::prebid(self, &told, &sent);
        self.check_moves(&before, &after, withholds);
        told::check(self, &told, &sent, &positions);
        Some(())
    }

    fn compare(&self, before: &Node<'_>, after: &Node<'_>, positions: &[usize]) {
        let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
        let all: Vec<usize> = (0..1000).collect();
        before.list("", &all, &mut old);
        after.list("", positions, &mut new);
        let place = |path: &str| match path.strip_prefix(".imp[") {
            Some(rest) => {
                let (number, rest) = rest.split_once(']').unwrap();
                (Some(number.parse::<usize>().unwrap()), format!(".imp[]{rest}"))
            }
            None => (None, path.to_owned()),
        };
        for path in old.keys().chain(new.keys()) {
            let (imp, plain) = place(path);
            let is_offered = imp.is_none_or(|imp| positions.contains(&imp));
            if !is_offered {
                assert!(!new.contains_key(path), "{path} is not offered");
                continue;
            }
            let is_frame = FRAMES.contains(&numberless(&plain).as_str());
            if !is_frame && !self.may_change(&plain, old.contains_key(path)) {
                assert_eq!(old.get(path), new.get(path), "{path}");
            } else if is_frame && !self.is_strict() && old.contains_key(path) {
                assert!(new.contains_key(path), "{path} is gone");
            }
        }
    }

    /// A value that moves stands once, in the right place, as it came; ids but for what is withheld.
    fn check_moves(&self, before: &Node<'_>, after: &Node<'_>, withholds: bool) {
        let at = |root: &Node<'_>, object: &str, ext: bool, name: &str| {
            let object = root.get(object)?;
            let value = if ext { object.get("ext")?.get(name) } else { object.get(name) };
            value.map(|value| value.raw.to_owned()).filter(|raw| raw != "null")
        };
        for (object, names) in MOVES {
            let object = object.trim_start_matches('.');
            for name in names.iter().filter(|name| **name != "rwdd") {
                if self.is_strict() && *name == "eids" {
                    assert_eq!(at(after, "user", false, "eids"), None);
                    assert_eq!(at(after, "user", true, "eids"), None);
                    continue;
                }
                if withholds && *name == "eids" {
                    continue;
                }
                let came = [at(before, object, false, name), at(before, object, true, name)];
                let went = [at(after, object, false, name), at(after, object, true, name)];
                let is_v25 = self.bidder.wire.version == OpenRtbVersion::V25;
                let [right, wrong] =
                    if is_v25 { [&went[1], &went[0]] } else { [&went[0], &went[1]] };
                if *name == "schain" && self.partner.schain.is_some() {
                    assert_eq!(wrong, &None);
                    assert_eq!(right.as_ref().unwrap().matches("gavel.example").count(), 1);
                    continue;
                }
                match &came {
                    [Some(one), Some(other)] if one != other => assert_eq!(came, went),
                    [Some(value), _] | [None, Some(value)] => {
                        assert_eq!((right.as_ref(), wrong.as_ref()), (Some(value), None), "{name}");
                    }
                    [None, None] => assert_eq!(went, [None, None]),
                }
            }
        }
    }
}

const SYNTHETIC: &str = r#"{"id":"s","imp":[{"id":"1","banner":{"w":300,"h":250},"bidfloor":0.3},
    {"id":"2"},{"id":"3","video":{"mimes":["video/mp4"]},"ext":{"a":1}}],"site":{"id":"x","ext":{}},
    "device":{"ua":"a","ip":"192.0.2.9","ifa":"i","geo":{"country":"USA","zip":"9"},"ext":{"atts":1}},
    "user":{"id":"u","eids":[{"source":"e","uids":[{"id":"1"}]},{"source":"f"}],"geo":{},
        "ext":{"consent":"C","prebid":{"buyeruids":{"x":"0","b":"1"},"y":2}}},
    "ext":{"a":[1.0],"prebid":{"bidderconfig":[{"bidders":["b"]}],"channel":{"name":"n"},"data":{
        "eidpermissions":[{"source":"e","bidders":["c"]},{"source":"f","bidders":["*","x"]}]},
        "page_view_ids":{"b":"1"}}},
    "regs":{"ext":{"gdpr":0}},"source":{"tid":"t","ext":{"schain":{"complete":1,"nodes":[{}]}}}}"#;

/// The synthetic request with seats, written as members of its root.
fn seated(seats: &str) -> String {
    SYNTHETIC.replacen('{', &format!("{{{seats}"), 1)
}

#[test]
fn random_settings_change_nothing_outside_the_declared_edit_set() {
    let seed = 0x6761_7665;
    let mut dice = Dice(seed);
    let seats = ["", r#""wseat":[1,"b"],"#, r#""bseat":["b",2],"wseat":[],"#];
    let mut requests: Vec<String> = (0..300).map(|at| seated(seats[at % 3])).collect();
    let (files, found) = corpus();
    for text in &files {
        for line in text.lines() {
            let line = node(line, &mut 0);
            requests.push(line.get("request").unwrap().raw.to_owned());
        }
    }
    let mut checked = 0u32;
    for (number, request) in requests.iter().enumerate() {
        let tree = node(request, &mut 0);
        for round in 0..if number < 300 { 4 } else { 2 } {
            let mut text = request.clone();
            if round > 0 {
                text.clear();
                vary(&tree, "", &mut dice, &mut text);
            }
            let at = dice.0;
            let case = Case::random(&mut dice);
            let result = std::panic::catch_unwind(|| case.check(&text, &mut Dice(at)).is_some());
            let is_checked = result.unwrap_or_else(|_| {
                panic!("seed {seed:#x}, request {number}, round {round}, dice {at}:\n{text}")
            });
            checked += u32::from(is_checked);
        }
    }
    println!("seed {seed:#x}: {checked} bodies checked, corpus files {found}");
    assert!(checked > 300, "only {checked} bodies were checked");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the corpus stands beside the repository, or where this says"
)]
fn corpus() -> (Vec<String>, usize) {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus").to_owned();
    let named = std::env::var("GAVEL_CORPUS").ok();
    let folders = [Some(beside), named];
    let mut files = Vec::new();
    for name in ["requests-rtb4free.jsonl", "requests-iab-converter.jsonl"] {
        let mut paths = folders.iter().flatten().map(|folder| format!("{folder}/{name}"));
        match paths.find_map(|path| std::fs::read_to_string(path).ok()) {
            Some(text) => files.push(text),
            None => println!("SKIPPED: no {name} beside the repository nor in GAVEL_CORPUS"),
        }
    }
    let found = files.len();
    (files, found)
}
