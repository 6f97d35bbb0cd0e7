//! Parameters of addresses.
//!
//! Owns: where a parameter's name and value begin and end, and whether it is personal. Never: what is
//! encoded once more (that is `parts`).
#![deny(clippy::indexing_slicing)]

use super::looks::{is_ip, is_long_id, is_macro, is_uuid, is_version, is_void, unwrapped};
use super::parts::{Part, unit_before};
use crate::capture::form::is_pseudonym;
use crate::capture::names::Treat::{self, Email, Id, Ip};
use crate::capture::names::{by_path, is_parameter};
use smallvec::SmallVec;
use std::ops::Range;

/// Longest value that is looked at from its start to its end once for each `=` in it.
const LOOK_BYTES_MAX: usize = 512;
/// Parts of a name, from its end.
const PARTS_MAX: usize = 16;

/// Adds the personal ones. `mails`: the mail addresses of the text, in order; `is_start`: it has nothing
/// before it, so that a query may begin with it.
pub(super) fn parameters(
    text: &str,
    is_start: bool,
    mails: &[Range<usize>],
    found: &mut Vec<Part>,
) {
    let bytes = text.as_bytes();
    let mut from = 0;
    // the end of a value is that of the values within it
    let mut value_end = 0;
    for equals in memchr::memchr_iter(b'=', bytes) {
        if equals < from {
            continue; // within the value before
        }
        let name_at = name_start(bytes, equals, from);
        let Some(name) = text.get(name_at..equals).filter(|name| !name.is_empty()) else {
            continue;
        };
        if !(is_opened(bytes, name_at) || name_at == 0 && is_start) {
            continue;
        }
        let start = equals.saturating_add(1);
        if value_end < start {
            let rest = bytes.get(start..).unwrap_or_default();
            let length = rest.iter().take_while(|byte| is_value(**byte)).count();
            value_end = start.saturating_add(length);
        }
        let Some(value) = text.get(start..value_end) else { continue };
        let mail = mails.partition_point(|mail| mail.end <= start);
        let has_mail = mails.get(mail).is_some_and(|mail| mail.start < value_end);
        if let Some(treat) = parameter(name, value, has_mail) {
            // the same id with and without braces is one
            let inner = unwrapped(value);
            let front = value.len().saturating_sub(inner.len()) / 2;
            let start = start.saturating_add(front);
            found.push((start..start.saturating_add(inner.len()), treat));
            from = value_end;
        }
    }
}

/// Letters, `_`, `-`, and what parts a name: brackets, encoded or not, and dots.
fn name_start(bytes: &[u8], equals: usize, least: usize) -> usize {
    let mut start = equals;
    while let Some((byte, length)) = unit_before(bytes, start) {
        let is_name =
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']');
        let before = start.saturating_sub(length);
        if !is_name || before < least {
            break;
        }
        start = before;
    }
    start
}

/// Whether a parameter begins here.
fn is_opened(bytes: &[u8], name_at: usize) -> bool {
    match unit_before(bytes, name_at) {
        // the value of another may be a query itself
        Some((b'?' | b'&' | b';' | b'#' | b'=', _)) => true,
        Some((b' ', length)) => {
            let before = name_at.saturating_sub(length);
            matches!(unit_before(bytes, before), Some((b';', _)))
        }
        _ => false,
    }
}

/// Bytes of a parameter's value; it may stand in JSON, in markup or in text.
fn is_value(byte: u8) -> bool {
    !matches!(byte, b'&' | b'#' | b';' | b'"' | b'\'' | b'<' | b'>' | b'\\' | b'(' | b')')
        && !byte.is_ascii_whitespace()
        && !byte.is_ascii_control()
}

fn parameter(name: &str, value: &str, has_mail: bool) -> Option<Treat> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let says_nothing = value.len() <= LOOK_BYTES_MAX && !value.bytes().any(is_letter);
    if says_nothing || is_void(unwrapped(value)) || is_macro(value) || is_weight(name, value) {
        return None;
    }
    if has_mail {
        // of an address or a query in it only what is personal there
        let is_ours = || value.len() <= LOOK_BYTES_MAX && is_pseudonym(Email, value);
        let is_whole = !is_structured(value) || is_ours();
        if is_whole {
            return Some(Email);
        }
    }
    if is_ip(value) {
        return (!is_version(name)).then_some(Ip);
    }
    if let Some(treat) = by_name(name) {
        // what is no number cannot be a coordinate, and so on: then it is taken for an id
        return Some(if treat == Ip { Id } else { treat });
    }
    let inner = unwrapped(value);
    (is_uuid(inner) || is_long_id(inner) || is_json(value)).then_some(Id)
}

/// By the parts of a name such as `user[id]` or `device.geo.lat`.
fn by_name(name: &str) -> Option<Treat> {
    if !name.bytes().any(|byte| matches!(byte, b'[' | b']' | b'.' | b'%')) {
        return by_path(&[name]).or_else(|| is_parameter(name).then_some(Id));
    }
    let plain =
        name.replace("%5B", "[").replace("%5b", "[").replace("%5D", "]").replace("%5d", "]");
    let is_part = |part: &&str| !part.is_empty() && !part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = plain.rsplit(['[', ']', '.', '%']).filter(is_part).take(PARTS_MAX);
    let mut parts: SmallVec<[&str; PARTS_MAX]> = parts.collect();
    parts.reverse();
    let last = parts.len().saturating_sub(1);
    let is_person = |(at, part): (usize, &&str)| {
        is_parameter(part) && (at == last || !part.eq_ignore_ascii_case("user"))
    };
    (1..=parts.len())
        .rev()
        .find_map(|end| by_path(parts.get(..end)?))
        .or_else(|| parts.iter().enumerate().any(is_person).then_some(Id))
}

/// `q=0.8` of a header: how much one of several is wanted.
fn is_weight(name: &str, value: &str) -> bool {
    let value = value.trim_end_matches(',');
    name == "q"
        && value.len() <= 5
        && value.starts_with(['0', '1'])
        && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Whether a value holds parameters of its own.
fn is_structured(value: &str) -> bool {
    value.contains(['=', '?'])
        || ["%3D", "%3F", "%26", "%25", "%3d", "%3f"].iter().any(|code| value.contains(code))
}

/// JSON that is encoded: nobody looks into it.
fn is_json(value: &str) -> bool {
    let front = value.get(..6).unwrap_or_default();
    ["%7B%22", "%5B%7B", "%5B%22"].iter().any(|json| front.eq_ignore_ascii_case(json))
}
