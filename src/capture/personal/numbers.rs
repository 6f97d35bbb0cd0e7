//! IP addresses and positions within a text.
//!
//! Owns: which numbers of a text are an address or a position, and which are versions. Never: a value as a
//! whole. Invariant: each run of digits is looked at once.
#![deny(clippy::indexing_slicing)]

use super::looks::{decimals_of_degrees, is_version};
use super::parts::Part;
use crate::capture::names::Treat::{Coordinate, Ip};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Fewest decimals of a position that says more than a region; within a longer text one of the two has
/// one more, for other numbers stand in pairs too.
pub(super) const DECIMALS_MIN: usize = 3;
/// What may stand between two numbers of a position.
const BETWEEN_BYTES_MAX: usize = 3;
/// Between a name and its value.
const JOINT_BYTES_MAX: usize = 4;

/// Adds addresses of version 4 and positions. `is_version`: no four numbers of it are an address;
/// `is_address`: it holds a URL.
pub(super) fn find(
    text: &str,
    is_version: &dyn Fn() -> bool,
    is_address: bool,
    found: &mut Vec<Part>,
) {
    let bytes = text.as_bytes();
    let mut done = 0;
    let mut last: Option<Range<usize>> = None;
    for dot in memchr::memchr_iter(b'.', bytes) {
        let is_digit =
            |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        if dot < done || !is_digit(dot.checked_sub(1)) || !is_digit(dot.checked_add(1)) {
            continue;
        }
        let is_number = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
        let before = bytes.get(done..dot).unwrap_or_default();
        let start = dot.saturating_sub(before.iter().rev().take_while(is_number).count());
        let behind = bytes.get(dot..).unwrap_or_default();
        let end = dot.saturating_add(behind.iter().take_while(is_number).count());
        done = end;
        let Some(run) = text.get(start..end) else { continue };
        let run = run.trim_end_matches('.');
        let end = start.saturating_add(run.len());
        match run.bytes().filter(|byte| *byte == b'.').count() {
            3 if is_four(bytes, start..end, run, is_address) && !is_version() => {
                found.push((start..end, Ip));
            }
            1 => {
                let number = signed(bytes, start)..end;
                if let Some(before) = last.replace(number.clone())
                    && is_position(text, &before, &number)
                {
                    found.extend([(before, Coordinate), (number, Coordinate)]);
                    last = None;
                }
            }
            _ => {}
        }
    }
}

fn signed(bytes: &[u8], start: usize) -> usize {
    let is_signed = start.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b'-');
    start.saturating_sub(usize::from(is_signed))
}

/// Whether two decimal numbers, one behind the other, are a latitude and a longitude.
fn is_position(text: &str, one: &Range<usize>, other: &Range<usize>) -> bool {
    let between = text.get(one.end..other.start).unwrap_or_default();
    let is_joined = between.len() <= BETWEEN_BYTES_MAX
        && between
            .bytes()
            .all(|byte| matches!(byte, b',' | b';' | b'|' | b'/' | b':' | b'+' | b' '))
        && one.end < other.end;
    let decimals =
        |range: &Range<usize>| text.get(range.clone()).and_then(decimals_of_degrees).unwrap_or(0);
    let (first, second) = (decimals(one), decimals(other));
    let is_whole = text.trim().len() == other.end.saturating_sub(one.start);
    is_joined
        && !text.as_bytes().get(other.end).is_some_and(u8::is_ascii_alphabetic)
        && first.min(second) >= DECIMALS_MIN
        && (is_whole || first.max(second) > DECIMALS_MIN)
        && !is_word(one.start.checked_sub(1).and_then(|at| text.as_bytes().get(at)))
}

const fn is_word(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.'))
}

/// Whether what ends here goes on as a word; a full stop may stand behind it.
fn is_end(bytes: &[u8], end: usize) -> bool {
    match bytes.get(end) {
        Some(b'.') => !bytes.get(end.saturating_add(1)).is_some_and(u8::is_ascii_alphanumeric),
        next => !is_word(next),
    }
}

/// Whether four numbers are an address, and no version.
fn is_four(bytes: &[u8], Range { start, end }: Range<usize>, run: &str, is_address: bool) -> bool {
    let Ok(address) = run.parse::<Ipv4Addr>() else { return false };
    let is_behind_fit = match bytes.get(end) {
        // a range of addresses, or a version's further number
        Some(b'-') => is_quad(bytes, end.saturating_add(1)),
        _ => is_end(bytes, end),
    };
    if !is_behind_fit {
        return false;
    }
    let at = |back: usize| start.checked_sub(back).and_then(|at| bytes.get(at)).copied();
    match at(1) {
        Some(b'-') => quad_before(bytes, start.saturating_sub(1)),
        // numbers of providers, in Google's Additional Consent: `2~43.46.55.61~dv.`
        Some(b'~') if at(2).is_some_and(|byte| byte.is_ascii_digit()) => false,
        Some(b'/') => match at(2) {
            // `Chrome/120.0.0.0`; a part of a path where it cannot be one
            Some(before)
                if before.is_ascii_alphanumeric() || matches!(before, b')' | b'-' | b'_') =>
            {
                is_address && is_surely(address)
            }
            _ => true,
        },
        byte if is_word(byte.as_ref()) => false,
        byte => !is_said_version(bytes, start, byte, address),
    }
}

/// Four numbers from here on.
fn is_quad(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').take(16);
    let quad = rest.get(..length.count()).unwrap_or_default();
    std::str::from_utf8(quad)
        .is_ok_and(|quad| quad.trim_end_matches('.').parse::<Ipv4Addr>().is_ok())
}

/// Four numbers up to here.
fn quad_before(bytes: &[u8], end: usize) -> bool {
    let before = bytes.get(..end).unwrap_or_default();
    let is_number = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let length = before.iter().rev().take(16).take_while(is_number).count();
    is_quad(before, end.saturating_sub(length))
}

/// Two of three digits: no version has such.
fn is_surely(address: Ipv4Addr) -> bool {
    address.octets().iter().filter(|octet| **octet >= 100).count() >= 2
}

/// Whether the word before says that this is a version: `rv:`, `v=`, `"version":"`, `Opera `.
fn is_said_version(bytes: &[u8], start: usize, byte: Option<u8>, address: Ipv4Addr) -> bool {
    let before = bytes.get(..start).unwrap_or_default();
    let is_joint =
        |byte: &&u8| matches!(byte, b' ' | b'"' | b'\'' | b':' | b'=' | b'\\' | b'/' | b'.' | b'(');
    let joint = before.iter().rev().take(JOINT_BYTES_MAX).take_while(is_joint).count();
    let before = before.get(..before.len().saturating_sub(joint)).unwrap_or_default();
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = before.iter().rev().take(32).take_while(is_name).count();
    let word = before.get(before.len().saturating_sub(length)..).unwrap_or_default();
    let word = std::str::from_utf8(word).unwrap_or_default();
    if word.is_empty() || joint == 0 {
        return false;
    }
    let [first, rest @ ..] = address.octets();
    // the name of a product, and numbers as versions have them
    let is_product = byte == Some(b' ')
        && word.starts_with(|letter: char| letter.is_ascii_uppercase())
        && !["IP", "Ip", "Address", "Addr", "Host", "From", "Client", "Peer", "Remote"]
            .contains(&word)
        && first < 200
        && rest.iter().all(|octet| *octet < 100);
    is_version(word) || is_product || matches!(rest, [_, 0, 0]) && byte == Some(b' ')
}

/// Adds addresses of version 6.
pub(super) fn six(text: &str, found: &mut Vec<Part>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for colon in memchr::memchr_iter(b':', bytes) {
        let is_six = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        let next = bytes.get(colon.saturating_add(1));
        if colon < done || !next.as_ref().is_some_and(is_six) {
            continue;
        }
        let before = bytes.get(done..colon).unwrap_or_default();
        let start = colon.saturating_sub(before.iter().rev().take_while(is_six).count());
        let behind = bytes.get(colon..).unwrap_or_default();
        done = colon.saturating_add(behind.iter().take_while(is_six).count());
        let Some(run) = text.get(start..done) else { continue };
        let trimmed = match run.strip_prefix(':') {
            Some(rest) if !rest.starts_with(':') => rest,
            _ => run,
        };
        let start = done.saturating_sub(trimmed.len());
        let trimmed = trimmed.trim_end_matches('.');
        let trimmed = match trimmed.strip_suffix(':') {
            Some(rest) if !rest.ends_with(':') => rest,
            _ => trimmed,
        };
        let end = start.saturating_add(trimmed.len());
        let is_apart = |at: Option<&u8>| !is_word(at) && at != Some(&b'-');
        if (2..=45).contains(&trimmed.len())
            && trimmed.bytes().any(|byte| byte.is_ascii_digit())
            && trimmed.parse::<Ipv6Addr>().is_ok()
            && is_apart(start.checked_sub(1).and_then(|at| bytes.get(at)))
            && is_end(bytes, end)
        {
            found.push((start..end, Ip));
        }
    }
}
