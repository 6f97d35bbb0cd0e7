//! What is personal in a request or an answer: one table, by which recordings are written and by
//! which they are checked.
//!
//! Owns: the names of personal members, what a value looks like that is personal wherever it
//! stands, and the walk that meets every value of a document. Never: a key, a replacement.
//! Invariant: whoever writes a recording and whoever checks one ask the same questions here.
#![deny(clippy::indexing_slicing)]

use crate::json::scratch::Document;
use crate::json::tour::{Scalar, Stop, Tour};
use std::net::IpAddr;
use std::ops::Range;

/// What becomes of a personal value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Treat {
    /// A token of the same shape.
    Id,
    /// The network stays, the host becomes a token.
    Ip,
    /// A latitude or longitude: two decimals stay.
    Coordinate,
    /// The first three characters stay.
    Zip,
    /// An address of electronic mail.
    Email,
}

impl Treat {
    /// A word for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Id => "identifier",
            Self::Ip => "IP address",
            Self::Coordinate => "position",
            Self::Zip => "postal code",
            Self::Email => "mail address",
        }
    }
}

/// Where a name is personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Whatever it stands in.
    Anywhere,
    /// Directly in a member of this name (arrays between them do not count).
    In(&'static str),
    /// At any depth below a member of this name.
    Under(&'static str),
}

use Treat::{Coordinate, Email, Id, Ip, Zip};
use Where::{Anywhere, In, Under};

/// Personal members, by name: lower case, without `_` and `-`, sorted. If the value is an object or
/// an array, all that is in it is personal.
///
/// Kept as they are, on purpose: consent strings (without them a replay decides otherwise), `yob`,
/// `gender`, `keywords` and `data` of a user, user agents, ids of requests, imps, deals, sellers.
#[rustfmt::skip]
pub const NAMES: [(&str, Where, Treat); 94] = [
    ("aaid", Anywhere, Id), ("accountid", Under("user"), Id), ("address", Under("user"), Id),
    ("adid", Under("device"), Id), ("advertisingid", Anywhere, Id), ("amxid", Anywhere, Id),
    ("androidid", Anywhere, Id), ("birthdate", Anywhere, Id), ("birthday", Anywhere, Id),
    ("bssid", Anywhere, Id), ("buyerid", Under("user"), Id), ("buyeruid", Anywhere, Id),
    ("buyeruids", Anywhere, Id), ("clientid", Under("user"), Id), ("clientip", Anywhere, Ip),
    ("connectedtvid", Anywhere, Id), ("cookie", Anywhere, Id), ("cookies", Anywhere, Id),
    ("criteoid", Anywhere, Id), ("customdata", In("user"), Id), ("customerid", Anywhere, Id),
    ("deviceid", Anywhere, Id), ("didmd5", Anywhere, Id), ("didsha1", Anywhere, Id),
    ("dob", Anywhere, Id), ("dpidmd5", Anywhere, Id), ("dpidsha1", Anywhere, Id),
    ("email", Anywhere, Id), ("emailhash", Anywhere, Id), ("emailsha256", Anywhere, Id),
    ("externalid", Under("user"), Id), ("firstname", Anywhere, Id), ("forwarded", Anywhere, Id),
    ("fpid", Anywhere, Id), ("fullname", Anywhere, Id), ("gaid", Anywhere, Id),
    ("hashedemail", Anywhere, Id), ("hem", Anywhere, Id), ("iccid", Anywhere, Id),
    ("id", In("user"), Id), ("id", In("uids"), Id), ("id", In("eids"), Id), ("id", In("device"), Id),
    ("id5id", Anywhere, Id), ("idfa", Anywhere, Id), ("idfv", Anywhere, Id),
    ("idl", Under("user"), Id), ("ifa", Anywhere, Id), ("ifv", Anywhere, Id),
    ("imei", Anywhere, Id), ("imsi", Anywhere, Id), ("ip", Anywhere, Ip),
    ("ipaddress", Anywhere, Ip), ("ipv4", Anywhere, Ip), ("ipv6", Anywhere, Ip),
    ("lastname", Anywhere, Id), ("lat", Anywhere, Coordinate), ("latitude", Anywhere, Coordinate),
    ("lng", Anywhere, Coordinate), ("login", Under("user"), Id), ("lon", Anywhere, Coordinate),
    ("longitude", Anywhere, Coordinate), ("mac", Under("device"), Id),
    ("macaddress", Anywhere, Id), ("macmd5", Anywhere, Id), ("macsha1", Anywhere, Id),
    ("mail", Under("user"), Id), ("msisdn", Anywhere, Id), ("name", In("user"), Id),
    ("oaid", Anywhere, Id), ("openudid", Anywhere, Id), ("phone", Anywhere, Id),
    ("phonenumber", Anywhere, Id), ("postal", Under("geo"), Zip), ("postalcode", Anywhere, Zip),
    ("postcode", Anywhere, Zip), ("ppid", Anywhere, Id), ("pubcid", Anywhere, Id),
    ("realip", Anywhere, Ip), ("remoteaddr", Anywhere, Ip), ("search", In("site"), Id),
    ("sessionid", Anywhere, Id), ("sharedid", Anywhere, Id), ("ssid", Under("device"), Id),
    ("tdid", Anywhere, Id), ("udid", Anywhere, Id), ("uid", Anywhere, Id), ("uid2", Anywhere, Id),
    ("userid", Anywhere, Id), ("username", Anywhere, Id), ("vida", Anywhere, Id),
    ("xforwardedfor", Anywhere, Id), ("zip", Anywhere, Zip), ("zipcode", Anywhere, Zip),
];

/// Parameters of addresses (behind `?`, `&`, `;` or `#`) that are personal, beside [`NAMES`] that
/// are so anywhere; as those, sorted.
#[rustfmt::skip]
pub const PARAMETERS: [&str; 38] = [
    "accesstoken", "adid", "auth", "authtoken", "cid", "code", "dclid", "fbclid", "ga", "gbraid",
    "gclid", "gid", "idtoken", "irclickid", "jwt", "key", "lifatid", "mail", "mceid", "msclkid",
    "name", "pass", "password", "pwd", "q", "query", "search", "session", "sid", "sig", "tel",
    "token", "ttclid", "twclid", "user", "visitorid", "wbraid", "yclid",
];

/// Longest name that the tables hold.
const NAME_BYTES_MAX: usize = 16;

/// The names of [`NAMES`] and [`PARAMETERS`] as they are looked for, in the same order.
#[expect(
    clippy::indexing_slicing,
    reason = "runs when this is compiled, over tables of known lengths"
)]
static PLAIN_NAMES: [u128; NAMES.len()] = {
    let mut plain = [0; NAMES.len()];
    let mut at = 0;
    while at < NAMES.len() {
        plain[at] = packed(NAMES[at].0.as_bytes());
        at += 1;
    }
    plain
};
#[expect(
    clippy::indexing_slicing,
    reason = "runs when this is compiled, over tables of known lengths"
)]
static PLAIN_PARAMETERS: [u128; PARAMETERS.len()] = {
    let mut plain = [0; PARAMETERS.len()];
    let mut at = 0;
    while at < PARAMETERS.len() {
        plain[at] = packed(PARAMETERS[at].as_bytes());
        at += 1;
    }
    plain
};

/// A name of the tables as a number: its bytes from the highest on, so that numbers sort as names.
#[expect(clippy::indexing_slicing, reason = "runs when this is compiled, over names of the tables")]
const fn packed(name: &[u8]) -> u128 {
    let mut bytes = [0; NAME_BYTES_MAX];
    let mut at = 0;
    while at < name.len() {
        bytes[at] = name[at];
        at += 1;
    }
    u128::from_be_bytes(bytes)
}

/// A name as the tables write it, packed. `None`: longer than any name of the tables.
fn plain(name: &str) -> Option<u128> {
    let mut bytes = [0; NAME_BYTES_MAX];
    let said = name.bytes().filter(|byte| !matches!(byte, b'_' | b'-'));
    for (at, byte) in said.enumerate() {
        *bytes.get_mut(at)? = byte.to_ascii_lowercase();
    }
    Some(u128::from_be_bytes(bytes))
}

/// For each first letter of [`NAMES`], by its low five bits, which are the same in both cases: the last
/// letters that stand with it. Hardly a name of a request is there, and most are told by this alone.
#[expect(
    clippy::indexing_slicing,
    reason = "runs when this is compiled, over tables of known lengths"
)]
static ENDS: [u32; 32] = {
    let mut ends = [0; 32];
    let mut at = 0;
    while at < NAMES.len() {
        let name = NAMES[at].0.as_bytes();
        ends[(name[0] & 31) as usize] |= 1 << (name[name.len() - 1] & 31);
        at += 1;
    }
    ends
};

/// Whether a name may be one of [`NAMES`].
#[inline]
fn may_be_named(name: &str) -> bool {
    let (Some(first), Some(last)) = (name.bytes().next(), name.bytes().next_back()) else {
        return false;
    };
    let is_padded = |byte| matches!(byte, b'_' | b'-');
    let ends = ENDS.get(usize::from(first & 31)).copied().unwrap_or_default();
    ends >> (last & 31) & 1 == 1 || is_padded(first) || is_padded(last)
}

/// By its names from the root on: whether a member is personal.
#[inline]
pub fn by_path(path: &[&str]) -> Option<Treat> {
    let (name, above) = path.split_last()?;
    if may_be_named(name) { by_name(name, above) } else { None }
}

fn by_name(name: &str, above: &[&str]) -> Option<Treat> {
    let plain = plain(name)?;
    let first = PLAIN_NAMES.partition_point(|known| *known < plain);
    let same = PLAIN_NAMES.get(first..)?.iter().take_while(|known| **known == plain);
    let holds = |place: Where| match place {
        Anywhere => true,
        In(parent) => above.last().is_some_and(|name| name.eq_ignore_ascii_case(parent)),
        Under(parent) => above.iter().any(|name| name.eq_ignore_ascii_case(parent)),
    };
    let rows = same.zip(NAMES.get(first..)?).map(|(_, row)| row);
    rows.into_iter().find(|(_, place, _)| holds(*place)).map(|(.., treat)| *treat)
}

/// Longest value that looks like something: a SHA-256.
const LOOK_BYTES_MAX: usize = 64;

/// A value whose name says nothing: whether it is personal as a whole by what it looks like.
pub fn by_look(path: &[&str], text: &str) -> Option<Treat> {
    if text.len() > LOOK_BYTES_MAX {
        return None;
    }
    if is_ip(text) && !path.last().is_some_and(|name| is_version(name)) {
        return Some(Ip);
    }
    let is_near = |name: &&str| matches!(*name, "user" | "device");
    ((is_uuid(text) || is_digest(text)) && path.iter().any(is_near)).then_some(Id)
}

/// Names of versions, whose four numbers are no address.
fn is_version(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("ver") || name.ends_with('v')
}

fn is_ip(text: &str) -> bool {
    let is_short = (2..=45).contains(&text.len());
    is_short
        && text.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':'))
        && text.bytes().any(|byte| matches!(byte, b'.' | b':'))
        && text.parse::<IpAddr>().is_ok()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// As long as an MD5, SHA-1 or SHA-256 in hexadecimal.
fn is_digest(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a value says that there is no id: nothing, or zeros only.
pub fn is_void(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0' | b'-'))
}

/// A text or a number.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'d> {
    pub value: Scalar<'d>,
    /// What its name, or that of something around it, says.
    pub treat: Option<Treat>,
}

/// Gives every text and number of a document to `see`, with the names on the way to it: those in
/// `path` come first, and what they say holds for all of it.
pub fn walk<'d>(
    document: &'d Document<'d>,
    path: &mut Vec<&'d str>,
    see: &mut dyn FnMut(&[&'d str], Leaf<'d>),
) {
    let around = by_path(path);
    step(&mut Tour::new(document), path, around, see);
}

/// Recursion ends at the depth that the document was read with.
fn step<'d>(
    tour: &mut Tour<'d>,
    path: &mut Vec<&'d str>,
    around: Option<Treat>,
    see: &mut dyn FnMut(&[&'d str], Leaf<'d>),
) {
    match tour.stop() {
        Some(Stop::Scalar(value)) => see(path, Leaf { value, treat: around }),
        Some(Stop::Array(elements)) => (0..elements).for_each(|_| step(tour, path, around, see)),
        Some(Stop::Object(members)) => {
            for _ in 0..members {
                let Some(name) = tour.name() else { return };
                path.push(name);
                // a name in a personal thing may say more about what it is
                let treat = by_path(path).or(around);
                step(tour, path, treat, see);
                path.pop();
            }
        }
        Some(Stop::Word) | None => {}
    }
}

/// Personal parts of a text that is not personal as a whole: mail addresses, and parameters of
/// addresses that are named so or look so. In order, apart from each other.
pub fn parts(text: &str) -> Vec<(Range<usize>, Treat)> {
    if memchr::memchr3(b'@', b'=', b'%', text.as_bytes()).is_none() {
        return Vec::new();
    }
    let mut found = parameters(text);
    found.extend(mails(text).into_iter().map(|range| (range, Email)));
    // stable: of two that begin together the parameter comes first
    found.sort_by_key(|(range, _)| range.start);
    // a mail address within a parameter's value is of that
    let mut end = 0;
    found.retain(|(range, _)| {
        let is_free = range.start >= end;
        end = if is_free { range.end } else { end };
        is_free
    });
    found
}

fn parameters(text: &str) -> Vec<(Range<usize>, Treat)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut from = 0;
    for equals in memchr::memchr_iter(b'=', bytes) {
        if equals < from {
            continue; // within the value before
        }
        let before = bytes.get(from..equals).unwrap_or_default();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let length = before.iter().rev().take_while(|byte| is_name(byte)).count();
        let name_at = equals.saturating_sub(length);
        let opener = name_at.checked_sub(1).and_then(|at| bytes.get(at));
        if length == 0 || !matches!(opener, Some(b'?' | b'&' | b';' | b'#')) {
            continue;
        }
        let start = equals.saturating_add(1);
        let rest = bytes.get(start..).unwrap_or_default();
        let end = start.saturating_add(rest.iter().take_while(|byte| is_value(**byte)).count());
        let (Some(name), Some(value)) = (text.get(name_at..equals), text.get(start..end)) else {
            continue;
        };
        if let Some(treat) = parameter(name, value) {
            found.push((start..end, treat));
        }
        from = end;
    }
    found
}

/// Bytes of a parameter's value; it may stand in JSON, in markup or in text.
fn is_value(byte: u8) -> bool {
    !matches!(byte, b'&' | b'#' | b';' | b'"' | b'\'' | b'<' | b'>' | b'\\' | b'(' | b')')
        && !byte.is_ascii_whitespace()
        && !byte.is_ascii_control()
}

fn parameter(name: &str, value: &str) -> Option<Treat> {
    let is_macro = ["${", "{", "[", "%24%7B", "%%"].iter().any(|start| value.starts_with(start));
    if is_void(value) || is_macro {
        return None;
    }
    if !mails(value).is_empty() {
        return Some(Email);
    }
    if is_ip(value) {
        return (!is_version(name)).then_some(Ip);
    }
    if let Some(treat) = by_path(&[name]) {
        // what is no number cannot be a coordinate, and so on: then it is taken for an id
        return Some(if treat == Ip { Id } else { treat });
    }
    let is_named = PLAIN_PARAMETERS.binary_search(&plain(name)?).is_ok();
    (is_named || is_uuid(value) || is_long_id(value)).then_some(Id)
}

/// Sixteen or more of hexadecimal digits, letters and digits mixed: nobody's word. Twelve or more
/// digits: a telephone, an account.
fn is_long_id(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = value.bytes().all(|byte| byte.is_ascii_hexdigit());
    (value.len() >= 16 && is_hex && digits > 0) || (digits >= 12 && digits == value.len())
}

/// Mail addresses, `@` written as such or as `%40`.
fn mails(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let plain = memchr::memchr_iter(b'@', bytes).map(|at| (at, 1));
    let is_coded = |at: &usize| bytes.get(*at..).is_some_and(|rest| rest.starts_with(b"%40"));
    let coded = memchr::memchr_iter(b'%', bytes).filter(is_coded).map(|at| (at, 3));
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut signs: Vec<(usize, usize)> = plain.chain(coded).collect();
    signs.sort_unstable();
    for (at, length) in signs {
        let is_local = |byte: &&u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-' | 0x80..)
        };
        let before = bytes.get(..at).unwrap_or_default();
        let local = before.iter().rev().take_while(is_local).count();
        let behind = at.saturating_add(length);
        let rest = bytes.get(behind..).unwrap_or_default();
        let is_host = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let host = rest.iter().take_while(is_host).count();
        let host = text.get(behind..behind.saturating_add(host)).unwrap_or_default();
        let host = host.trim_end_matches(['.', '-']);
        let is_domain = host.rsplit_once('.').is_some_and(|(front, top)| {
            !front.is_empty()
                && top.len() >= 2
                && top.bytes().all(|byte| byte.is_ascii_alphabetic())
        });
        let start = at.saturating_sub(local);
        let is_behind = found.last().is_none_or(|last| last.end <= start);
        if local > 0 && is_domain && is_behind && text.is_char_boundary(start) {
            found.push(start..behind.saturating_add(host.len()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_written_as_they_are_compared() {
        assert!(NAMES.is_sorted_by_key(|row| row.0));
        assert!(PARAMETERS.is_sorted());
        for name in NAMES.iter().map(|row| row.0).chain(PARAMETERS) {
            assert_eq!(plain(name), Some(packed(name.as_bytes())), "{name}");
        }
        for (name, ..) in NAMES {
            for written in [name.to_owned(), name.to_uppercase(), format!("_{name}-")] {
                assert!(may_be_named(&written), "{written}");
            }
        }
        assert!(["banner", "format", "w", "ext", ""].iter().all(|name| !may_be_named(name)));
    }

    #[test]
    fn names_are_personal_where_they_name_a_person() {
        for (path, expected) in [
            ("user.id", Some(Id)),
            ("user.ext.eids.uids.id", Some(Id)),
            ("user.data.segment.id", None),
            ("imp.id", None),
            ("id", None),
            ("source.tid", None),
            ("device.ip", Some(Ip)),
            ("device.IFA", Some(Id)),
            ("device.ext.adid", Some(Id)),
            ("seatbid.bid.adid", None),
            ("device.geo.lat", Some(Coordinate)),
            ("user.geo.zip", Some(Zip)),
            ("user.yob", None),
            ("user.ext.consent", None),
            ("ext.user_id", Some(Id)),
            ("app.ext.session-id", Some(Id)),
            ("site.search", Some(Id)),
        ] {
            let names: Vec<&str> = path.split('.').collect();
            assert_eq!(by_path(&names), expected, "{path}");
        }
    }

    #[test]
    fn personal_parts_of_texts_are_found() {
        for (text, expected) in [
            ("https://a.example/?x=1&uid=abc#t", &["abc"][..]),
            ("https://a.example/?mail=a.b%40c.example&x=2", &["a.b%40c.example"]),
            ("write to jo.doe@mail.example.", &["jo.doe@mail.example"]),
            ("https://cdn.example/npm/pkg@1.2.3/x.js", &[]),
            (
                "<img width=300 src=\"https://t.example/p?cb=${CACHEBUSTER}&ip=192.0.2.7\">",
                &["192.0.2.7"],
            ),
            ("https://a.example/?v=1.2.3.4&s=ok", &[]),
            ("https://a.example/?h=0123456789abcdef01&n=123", &["0123456789abcdef01"]),
            ("a?b=é@ü.example", &[]),
            ("https://a.example/#access_token=xyz", &["xyz"]),
            ("plain", &[]),
        ] {
            let found: Vec<&str> =
                parts(text).into_iter().filter_map(|(at, _)| text.get(at)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
