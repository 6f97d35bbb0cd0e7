//! What is personal in a request or an answer: the same for who writes a recording and for who checks one.
//!
//! Owns: what a value looks like that is personal wherever it stands, personal parts of texts, and the
//! walk that meets every value of a document. Never: a name (those are in [`super::names`]), a key, a
//! replacement.
//! Invariant: whoever writes a recording and whoever checks one ask the same questions here.
#![deny(clippy::indexing_slicing)]

use super::names::Treat::{self, Email, Id, Ip};
use super::names::{by_path, is_parameter};
use crate::json::scratch::Document;
use crate::json::tour::{Scalar, Stop, Tour};
use std::net::IpAddr;
use std::ops::Range;

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
    (is_parameter(name) || is_uuid(value) || is_long_id(value)).then_some(Id)
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
            (
                "https://a.example/?a_parameter_of_a_long_name=0123456789abcdef01",
                &["0123456789abcdef01"],
            ),
            ("plain", &[]),
        ] {
            let found: Vec<&str> =
                parts(text).into_iter().filter_map(|(at, _)| text.get(at)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
