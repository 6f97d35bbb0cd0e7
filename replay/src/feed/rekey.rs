//! Bodies that stay unique when a recording is played again.
//!
//! Owns: which members of a bid request are ids, and how they are changed. Never: a second
//! serialisation: everything else of a body stays byte for byte. Invariants: within a round the
//! same id always becomes the same id and two ids of one form never become one, so that a device seen ten times
//! in the recording is seen ten times in the round; round 0 is the recording as it is.

use crate::random::Random;
use gavel::json::scratch::Scratch;
use gavel::json::value::{Kind, Value};

/// Members that are ids, by their path; `*` is every element of a list. What names a company and no
/// person, as the id of a provider of data does (OpenRTB 2.6, 3.2.21), stays.
const IDS: [&[&str]; 15] = [
    &["id"],
    &["source", "tid"],
    &["imp", "*", "ext", "tid"],
    &["user", "id"],
    &["user", "buyeruid"],
    &["user", "eids", "*", "uids", "*", "id"],
    &["user", "ext", "eids", "*", "uids", "*", "id"],
    &["device", "ifa"],
    &["device", "didsha1"],
    &["device", "didmd5"],
    &["device", "dpidsha1"],
    &["device", "dpidmd5"],
    &["device", "macsha1"],
    &["device", "macmd5"],
    TEST,
];

/// The one path that is no id: whether the request is a test.
const TEST: &[&str] = &["test"];
const TEST_BIT: u32 = 1 << 14;

/// All bits of [`IDS`].
const ALL: u32 = (1 << 15) - 1;

/// Nested deeper, and a body is sent as it is.
const DEPTH_MAX: usize = 64;

/// Letters and digits that an id must have for a shifted one to be new; a shorter one is made
/// longer instead.
const LONG: usize = 12;

/// Digits of a number that fits 64 bits whatever they are.
const NUMBER_DIGITS: usize = 18;

/// Shifts of one round; ids longer than that go round.
const SHIFTS: usize = 64;

/// See the file's header.
pub(crate) struct Rekey {
    seed: u64,
    /// Whether each request says that it is a test.
    marks_tests: bool,
    round: u64,
    shifts: [u8; SHIFTS],
    scratch: Scratch,
    text: Vec<u8>,
    edits: Vec<Edit>,
}

/// A change of one stretch of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edit {
    at: usize,
    end: usize,
    what: What,
    /// It is the id of the request itself: with it new, the request is.
    is_own: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The inside of a string.
    Id,
    /// A number that is an id.
    Number,
    /// The value of `test`.
    Test,
    /// In front of the first member.
    AddTest,
}

/// What came of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Whole,
    /// It has no id that could be changed: in each round it is the same request.
    Stale,
    /// It is no JSON object: it was written as it is.
    Opaque,
}

impl Rekey {
    /// For one run.
    pub fn new(seed: u64, marks_tests: bool) -> Self {
        Self {
            seed,
            marks_tests,
            round: 0,
            shifts: [0; SHIFTS],
            scratch: Scratch::new(DEPTH_MAX),
            text: Vec::new(),
            edits: Vec::new(),
        }
    }

    /// Appends the body as it is in a round.
    pub fn write(&mut self, body: &[u8], round: u64, out: &mut Vec<u8>) -> Written {
        if round == 0 && !self.marks_tests {
            out.extend_from_slice(body);
            return Written::Whole;
        }
        self.turn(round);
        self.edits.clear();
        let Ok(document) = self.scratch.read(body, &mut self.text) else {
            out.extend_from_slice(body);
            return Written::Opaque;
        };
        let root = document.root();
        let Kind::Object(members) = root.kind() else {
            out.extend_from_slice(body);
            return Written::Opaque;
        };
        let paths = match (round, self.marks_tests) {
            (0, _) => TEST_BIT,
            (_, true) => ALL,
            (_, false) => ALL & !TEST_BIT,
        };
        find(root, 0, paths, &mut self.edits);
        let has_test = self.edits.iter().any(|edit| edit.what == What::Test);
        if self.marks_tests && !has_test && members.len() > 0 {
            let at = index(members.open()).saturating_add(1);
            self.edits.push(Edit { at, end: at, what: What::AddTest, is_own: false });
        }
        self.edits.sort_unstable_by_key(|edit| edit.at);
        let mut done = 0;
        let mut is_new = false;
        for edit in &self.edits {
            let Some(value) = body.get(edit.at..edit.end) else { continue };
            out.extend_from_slice(body.get(done..edit.at).unwrap_or_default());
            match edit.what {
                What::Test => out.push(b'1'),
                What::AddTest => out.extend_from_slice(b"\"test\":1,"),
                What::Id => is_new |= shift(value, &self.shifts, round, out) && edit.is_own,
                What::Number => is_new |= shift_number(value, &self.shifts, out) && edit.is_own,
            }
            done = edit.end;
        }
        out.extend_from_slice(body.get(done..).unwrap_or_default());
        if is_new || round == 0 { Written::Whole } else { Written::Stale }
    }

    fn turn(&mut self, round: u64) {
        if self.round != round {
            self.round = round;
            let mut random = Random::for_item(self.seed, round);
            // 1 to 156: below the common multiple of 10, 26 and 6 and never 0 in all of them
            self.shifts.fill_with(|| u8::try_from(random.between(1, 156)).unwrap_or(1));
        }
    }
}

fn index(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Collects what is to be changed below a value; `paths`: those that lead here, a bit each.
fn find(value: Value<'_>, depth: usize, paths: u32, edits: &mut Vec<Edit>) {
    let leading = |name: &str| {
        let leads = |path: &&[&str]| path.get(depth).is_some_and(|step| *step == name);
        let bits = IDS.iter().enumerate().filter(|(_, path)| leads(path));
        bits.fold(0u32, |bits, (bit, _)| bits | 1 << bit) & paths
    };
    match value.kind() {
        Kind::Object(members) => {
            for member in members {
                let bits = leading(member.name);
                if bits != 0 {
                    visit(member.value, depth, bits, edits);
                }
            }
        }
        Kind::Array(elements) => {
            let bits = leading("*");
            if bits != 0 {
                elements.for_each(|element| visit(element, depth, bits, edits));
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
    }
}

/// A value that some paths lead to: it is an edit where one of them ends.
fn visit(value: Value<'_>, depth: usize, bits: u32, edits: &mut Vec<Edit>) {
    let is_end = |(bit, path): (usize, &&[&str])| {
        bits & 1 << bit != 0 && path.len() == depth.saturating_add(1)
    };
    let span = value.span();
    let (at, end) = (index(span.at), index(span.end));
    if IDS.iter().enumerate().any(is_end) {
        // the first of the paths
        let is_own = depth == 0 && bits & 1 != 0;
        let mut add = |at, end, what| edits.push(Edit { at, end, what, is_own });
        match value.kind() {
            _ if bits & TEST_BIT != 0 => add(at, end, What::Test),
            Kind::Text(_) if end >= at.saturating_add(2) => {
                add(at.saturating_add(1), end.saturating_sub(1), What::Id);
            }
            Kind::Number(_) => add(at, end, What::Number),
            _ => {}
        }
    }
    find(value, depth.saturating_add(1), bits, edits);
}

/// Bytes of the escape that stands here; 0: none does. What is within one is no letter of the id.
fn escape(rest: &[u8]) -> usize {
    match rest {
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        _ => 0,
    }
}

/// The bytes of an id, each with its place, and whether it is of an escape.
fn letters(id: &[u8]) -> impl Iterator<Item = (usize, u8, bool)> {
    let mut escaped = 0_usize;
    id.iter().enumerate().map(move |(place, byte)| {
        if escaped == 0 {
            escaped = escape(id.get(place..).unwrap_or_default());
        }
        let is_escaped = escaped > 0;
        escaped = escaped.saturating_sub(1);
        (place, *byte, is_escaped)
    })
}

/// Appends the id that an id becomes: each digit, hexadecimal digit and letter moves within its
/// kind by the shift of its place, which no two ids of one form can share; a short one gets the
/// round behind it. Empty ones and zeros stay, and so do escapes. Gives whether it is another.
fn shift(id: &[u8], shifts: &[u8; SHIFTS], round: u64, out: &mut Vec<u8>) -> bool {
    let plain = || letters(id).filter(|(_, _, is_escaped)| !is_escaped).map(|(_, byte, _)| byte);
    let moving = plain().filter(u8::is_ascii_alphanumeric).count();
    if id.iter().all(|byte| matches!(byte, b'0' | b'-' | b' ')) {
        out.extend_from_slice(id);
        return false;
    }
    if moving < LONG {
        out.extend_from_slice(id);
        out.extend_from_slice(format!("-r{round}").as_bytes());
        return true;
    }
    let is_hex = plain().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_uuid = is_hex && id.len() == 36 && id.get(14).is_some_and(u8::is_ascii_digit);
    for (place, byte, is_escaped) in letters(id) {
        // version and variant of a UUID say what kind it is
        if is_escaped || is_uuid && matches!(place, 14 | 19) {
            out.push(byte);
            continue;
        }
        let by = shifts.get(place % SHIFTS).copied().unwrap_or(1);
        let (first, count) = match byte {
            b'0'..=b'9' => (b'0', 10),
            b'a'..=b'z' if is_hex => (b'a', 6),
            b'A'..=b'Z' if is_hex => (b'A', 6),
            b'a'..=b'z' => (b'a', 26),
            b'A'..=b'Z' => (b'A', 26),
            other => {
                out.push(other);
                continue;
            }
        };
        out.push(moved(byte, first, count, by));
    }
    true
}

/// Within `count` letters from `first` on.
fn moved(byte: u8, first: u8, count: u16, by: u8) -> u8 {
    let moved = (u16::from(byte.saturating_sub(first)) + u16::from(by)) % count;
    first.saturating_add(u8::try_from(moved).unwrap_or(0))
}

/// As [`shift`], for a number: one of as many digits, which has no zero in front. Its first digit always
/// becomes another. Only whole numbers are ids.
fn shift_number(number: &[u8], shifts: &[u8; SHIFTS], out: &mut Vec<u8>) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    if digits == b"0" || !digits.iter().all(u8::is_ascii_digit) {
        out.extend_from_slice(number);
        return false;
    }
    out.extend_from_slice(number.get(..number.len().saturating_sub(digits.len())).unwrap_or(b""));
    // only what has the first digits of the largest of 64 bits may come to be beyond it
    let still = if digits.len() > NUMBER_DIGITS { digits.len().saturating_sub(LONG) } else { 0 };
    for (place, byte) in digits.iter().enumerate() {
        let by = shifts.get(place % SHIFTS).copied().unwrap_or(1);
        out.push(match place {
            _ if place < still => *byte,
            // 1 to 8 of the 9 that may stand in front
            0 => moved(*byte, b'1', 9, by % 8 + 1),
            _ => moved(*byte, b'0', 10, by),
        });
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;
    use std::collections::{BTreeMap, BTreeSet};

    const BODY: &str = r#"{ "id": "9f0c1a2b3c4d5e6f","imp":[{"id":"1","ext":{"tid":"a-1"}}],
        "user":{"id":"00000000-0000-0000-0000-000000000000","consent":"CPabc","eids":[
        {"source":"x.example","uids":[{"id":"AbCdEfGhIjKlMnOp","atype":1}]}],
        "data":[{"id":"provider.example","segment":[{"id":"1234567890123"}]}]},
        "device":{"ifa":"3b9e2c1d-7f60-4a5b-8c7d-112233445566","ip":"192.0.2.7"},"at" : 1 }"#;

    fn write(body: &str, round: u64) -> String {
        let mut out = Vec::new();
        assert_eq!(Rekey::new(7, false).write(body.as_bytes(), round, &mut out), Written::Whole);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_ids_change_and_the_rest_stays_to_the_byte() {
        assert_eq!(write(BODY, 0), BODY);
        let again = write(BODY, 1);
        let (old, new): (Json, Json) =
            (serde_json::from_str(BODY).unwrap(), serde_json::from_str(&again).unwrap());
        for path in ["/id", "/imp/0/ext/tid", "/user/eids/0/uids/0/id", "/device/ifa"] {
            assert_ne!(old.pointer(path).unwrap(), new.pointer(path).unwrap(), "{path}");
        }
        assert_eq!(new["imp"][0]["ext"]["tid"], "a-1-r1");
        let ifa = new["device"]["ifa"].as_str().unwrap();
        assert_eq!((ifa.len(), ifa.as_bytes()[14], ifa.as_bytes()[19]), (36, b'4', b'8'));
        assert!(ifa.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'));
        let mut restored = new;
        for path in ["/id", "/imp/0/ext/tid", "/user/eids/0/uids/0/id", "/device/ifa"] {
            *restored.pointer_mut(path).unwrap() = old.pointer(path).unwrap().clone();
        }
        assert_eq!(restored, old);
        assert_eq!(again.len(), BODY.len() + "-r1".len());
    }

    #[test]
    fn rounds_differ_and_a_device_stays_one_within_a_round() {
        let body = |number: u64| {
            let (mut id, mut device) =
                (Random::for_item(1, number), Random::for_item(2, number % 40));
            let (time, low) = (device.bits(), device.bits());
            format!(
                r#"{{"id":"{:016x}","device":{{"ifa":"{:08x}-{:04x}-4000-8000-{:012x}"}}}}"#,
                id.bits(),
                time >> 32,
                time & 0xffff,
                low >> 16
            )
        };
        let mut requests = BTreeSet::new();
        let mut devices: BTreeMap<(u64, String), String> = BTreeMap::new();
        let mut new_devices: BTreeMap<(u64, String), String> = BTreeMap::new();
        let mut rekey = Rekey::new(1, false);
        for round in 0..4 {
            for number in 0..300 {
                let (body, mut out) = (body(number % 150), Vec::new());
                assert_eq!(rekey.write(body.as_bytes(), round, &mut out), Written::Whole);
                let old: Json = serde_json::from_str(&body).unwrap();
                let new: Json = serde_json::from_slice(&out).unwrap();
                requests.insert(new["id"].as_str().unwrap().to_owned());
                let from = old["device"]["ifa"].as_str().unwrap();
                let to = new["device"]["ifa"].as_str().unwrap();
                let before = devices.insert((round, from.to_owned()), to.to_owned());
                assert!(before.is_none_or(|before| before == to), "one device became two");
                let before = new_devices.insert((round, to.to_owned()), from.to_owned());
                assert!(before.is_none_or(|before| before == from), "two devices became one");
            }
        }
        assert_eq!(requests.len(), 4 * 150);
        assert_eq!((devices.len(), new_devices.len()), (4 * 40, 4 * 40));
    }

    #[test]
    fn ids_with_escapes_and_ids_that_are_numbers_become_new_in_each_round() {
        let shape = |text: &str| -> String {
            let class = |letter: char| match letter {
                '0'..='9' => '9',
                _ if letter.is_ascii_alphabetic() => 'a',
                _ => letter,
            };
            text.chars().map(class).collect()
        };
        for (body, same) in [
            (r#"{"id":"req\/000001\/12345678=="}"#, true),
            (r#"{"id":"\u0061\/00000100000100\u00e9\\\""}"#, true),
            (r#"{"id":"a\/1"}"#, false),
            (r#"{"id":1000001}"#, true),
            (r#"{"id":7}"#, true),
            (r#"{"id":-19}"#, true),
            (r#"{"id":999999999999999999}"#, true),
            (r#"{"id":17446744073709551615}"#, true),
            (r#"{"user":{"id":9000000},"id":"0123456789abcd00"}"#, false),
        ] {
            let mut seen = BTreeSet::from([body.to_owned()]);
            for round in 1..4 {
                let new = write(body, round);
                let json: Json = serde_json::from_str(&new).unwrap();
                assert!(!json["id"].is_f64(), "{new}");
                assert!(!same || shape(&new) == shape(body), "{body} {new}");
                seen.insert(new);
            }
            let escapes = ["\\u0061\\/", "\\u00e9\\\\\\\""];
            let has = |text: &str| escapes.map(|escape| text.contains(escape));
            assert!(seen.iter().all(|new| has(new) == has(body)), "{body}: {seen:?}");
            assert!(seen.len() == 4 || body.len() < 9 + 2, "{body}: {seen:?}");
        }
    }

    #[test]
    fn a_request_that_stays_the_same_is_told() {
        for (body, expected) in [
            (r#"{"id":"a"}"#, Written::Whole),
            (r#"{"id":12}"#, Written::Whole),
            (r#"{"id":"0000"}"#, Written::Stale),
            (r#"{"id":0}"#, Written::Stale),
            (r#"{"id":1.5}"#, Written::Stale),
            (r#"{"id":1e9}"#, Written::Stale),
            (r#"{"id":null}"#, Written::Stale),
            (r#"{"user":{"id":"a"}}"#, Written::Stale),
            ("[]", Written::Opaque),
        ] {
            assert_eq!(Rekey::new(1, false).write(body.as_bytes(), 1, &mut Vec::new()), expected);
            assert_ne!(
                Rekey::new(1, false).write(body.as_bytes(), 0, &mut Vec::new()),
                Written::Stale
            );
        }
    }

    #[test]
    fn requests_are_marked_as_tests_on_demand() {
        let mut rekey = Rekey::new(1, true);
        for (body, expected) in [
            (r#"{"id":"a"}"#, r#"{"test":1,"id":"a"}"#),
            (r#" { "id":"a","test": 0}"#, r#" { "id":"a","test": 1}"#),
            (r"{}", r"{}"),
        ] {
            let mut out = Vec::new();
            assert_eq!(rekey.write(body.as_bytes(), 0, &mut out), Written::Whole);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_request_is_sent_as_it_is() {
        for body in ["", "{", "[1]", "no", "{\"id\":\"abc\"", "\"id\""] {
            let mut out = Vec::new();
            assert_eq!(Rekey::new(1, true).write(body.as_bytes(), 3, &mut out), Written::Opaque);
            assert_eq!(out, body.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..200), round: u64) {
            let mut out = Vec::new();
            Rekey::new(1, true).write(&body, round, &mut out);
        }

        #[test]
        fn a_round_of_ids_can_be_told_apart(one in "[0-9a-z]{14}", two in "[0-9a-z]{14}") {
            prop_assume!(one != two);
            let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
            prop_assume!(is_hex(&one) == is_hex(&two));
            let shifted = |id: &str| {
                let mut rekey = Rekey::new(1, false);
                rekey.turn(5);
                let mut out = Vec::new();
                shift(id.as_bytes(), &rekey.shifts, 5, &mut out);
                out
            };
            let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
            prop_assume!(!is_zero(&one) && !is_zero(&two));
            prop_assert_ne!(shifted(&one), shifted(&two));
        }
    }
}
