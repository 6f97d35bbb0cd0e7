//! Parameters of addresses.
//!
//! Owns: where a parameter's name and value begin and end, whether it is personal, and JSON that stands in
//! an address. Never: what is encoded once more (that is `parts`).
#![deny(clippy::indexing_slicing)]

use super::coded::{escaped, unit_before};
use super::looks::{is_ip, is_long_id, is_macro, is_uuid, is_version, is_void, unwrapped};
use super::parts::Part;
use crate::capture::form::is_pseudonym;
use crate::capture::names::Treat::{self, Email, Id, Ip};
use crate::capture::names::{by_path, is_parameter};
use smallvec::SmallVec;
use std::ops::Range;

/// Longest value that is looked at from its start to its end once for each `=` in it.
const LOOK_BYTES_MAX: usize = 512;
/// Parts of a name, from its end.
const PARTS_MAX: usize = 16;
/// What stands before the first quote of JSON: brackets, blanks, numbers.
const OPENING_UNITS_MAX: usize = 16;
/// Longest text that is looked for at the beginning of JSON.
const QUOTED_BYTES_MAX: usize = 64;

/// Where values end: that of the values within it.
#[derive(Default)]
struct Ends {
    /// Of one that may stand in markup or in a script.
    near: usize,
    /// Of one that stands in nothing but an address.
    far: usize,
}

impl Ends {
    /// Of the value that begins at `start`.
    fn of(&mut self, bytes: &[u8], start: usize, is_far: bool) -> usize {
        let end = if is_far { &mut self.far } else { &mut self.near };
        if *end < start {
            *end = if is_far { far_end(bytes, start) } else { near_end(bytes, start) };
        }
        *end
    }
}

/// Adds the personal ones. `mails`: the mail addresses of the text, in order; `is_start`: it has nothing
/// before it, so that a query may begin with it; `is_plain`: it is an address and nothing else.
pub(super) fn parameters(
    text: &str,
    is_start: bool,
    is_plain: bool,
    mails: &[Range<usize>],
    found: &mut Vec<Part>,
) {
    let bytes = text.as_bytes();
    let mut from = 0;
    let mut ends = Ends::default();
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
        if let Some(end) = raw_document(bytes, name_at, start) {
            found.push((start..end, Id));
            from = end;
            continue;
        }
        let named = by_name(name);
        let end = ends.of(bytes, start, is_plain && named.is_some());
        let Some(value) = text.get(start..end) else { continue };
        let mail = mails.partition_point(|mail| mail.end <= start);
        let has_mail = mails.get(mail).is_some_and(|mail| mail.start < end);
        if let Some(treat) = parameter(name, value, has_mail, named) {
            // the same id with and without braces is one
            let inner = unwrapped(value);
            let front = value.len().saturating_sub(inner.len()) / 2;
            let start = start.saturating_add(front);
            found.push((start..start.saturating_add(inner.len()), treat));
            from = end;
        }
    }
}

/// Adds JSON whose quotes are encoded, as those of an address are: nobody looks into it.
pub(super) fn documents(text: &str, is_start: bool, is_plain: bool, found: &mut Vec<Part>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for at in memchr::memchr_iter(b'%', bytes) {
        if at < done || escaped(bytes, at) != Some(b'"') {
            continue;
        }
        if let Some(start) = opening(bytes, at, done) {
            let is_far = is_plain || is_start && start == 0;
            done = if is_far { far_end(bytes, at) } else { near_end(bytes, at) }.max(at);
            found.push((start..done, Id));
        }
    }
}

/// Where JSON begins whose first quote is at `quote`.
fn opening(bytes: &[u8], quote: usize, least: usize) -> Option<usize> {
    let (mut start, mut opened) = (quote, None);
    for _ in 0..OPENING_UNITS_MAX {
        let Some((byte, length)) = unit_before(bytes, start) else { break };
        let before = start.saturating_sub(length);
        let is_bracket = matches!(byte, b'{' | b'[');
        // a name stands at once behind its bracket
        let is_before = is_bracket
            || matches!(byte, b' ' | b'+' | b'\t' | b'\r' | b'\n')
            || opened.is_some() && (byte.is_ascii_digit() || matches!(byte, b',' | b'-' | b'.'));
        if !is_before || before < least {
            break;
        }
        start = before;
        opened = if is_bracket { Some(start) } else { opened };
    }
    opened
}

/// Where JSON ends that is the value of a parameter and not encoded; `None`: it is none.
fn raw_document(bytes: &[u8], name_at: usize, start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    let is_ours =
        name_at == 0 || matches!(unit_before(bytes, name_at), Some((b'?' | b'&' | b'#', _)));
    if !is_ours || !matches!(rest.first(), Some(b'{' | b'[')) {
        return None;
    }
    let is_opening =
        |byte: &u8| matches!(byte, b'{' | b'[' | b',' | b' ' | b'+' | b'-' | b'.' | b'0'..=b'9');
    let quote = rest.iter().take(OPENING_UNITS_MAX).position(|byte| !is_opening(byte))?;
    let mut quoted = rest.get(quote..)?.iter().take(QUOTED_BYTES_MAX);
    if quoted.next() != Some(&b'"') {
        return None;
    }
    quoted.by_ref().find(|byte| **byte == b'"')?;
    let behind = quoted.find(|byte| **byte != b' ');
    matches!(behind, Some(b':' | b',' | b']')).then(|| start.saturating_add(document_length(rest)))
}

/// Up to where what is opened is closed; all, if it is not.
fn document_length(bytes: &[u8]) -> usize {
    let (mut depth, mut is_quoted, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'{' | b'[' if !is_quoted => depth = depth.saturating_add(1),
            b'}' | b']' if !is_quoted => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at.saturating_add(1);
                }
            }
            _ => {}
        }
    }
    bytes.len()
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

/// Where a value ends that may stand in JSON, in markup or in text.
fn near_end(bytes: &[u8], start: usize) -> usize {
    let is_value = |byte: &&u8| {
        !matches!(byte, b'&' | b'#' | b';' | b'"' | b'\'' | b'<' | b'>' | b'\\' | b'(' | b')')
            && !byte.is_ascii_whitespace()
            && !byte.is_ascii_control()
    };
    let rest = bytes.get(start..).unwrap_or_default();
    start.saturating_add(rest.iter().take_while(is_value).count())
}

/// Where a value ends in an address that stands alone: before the next, at a `;` only if one follows.
fn far_end(bytes: &[u8], start: usize) -> usize {
    let is_end = |at: usize| match bytes.get(at) {
        Some(b'&' | b'#' | b'"' | b'<') | None => true,
        Some(b';') => {
            let rest = bytes.get(at.saturating_add(1)..).unwrap_or_default();
            let is_name =
                |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' ');
            let name = rest.iter().take(QUOTED_BYTES_MAX).take_while(is_name).count();
            name > 0 && rest.get(name) == Some(&b'=')
        }
        Some(_) => false,
    };
    (start..bytes.len()).find(|at| is_end(*at)).unwrap_or(bytes.len())
}

/// `named`: what its name says.
fn parameter(name: &str, value: &str, has_mail: bool, named: Option<Treat>) -> Option<Treat> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    let says_nothing = value.len() <= LOOK_BYTES_MAX && !value.bytes().any(is_letter);
    if says_nothing || is_void(value) || is_macro(value) || is_weight(name, value) {
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
    if let Some(treat) = named {
        // what is no number cannot be a coordinate, and so on: then it is taken for an id
        return Some(if treat == Ip { Id } else { treat });
    }
    let inner = unwrapped(value);
    (is_uuid(inner) || is_long_id(inner)).then_some(Id)
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
