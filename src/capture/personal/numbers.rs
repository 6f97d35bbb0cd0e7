//! IP addresses and positions within a text.
//!
//! Owns: which numbers of a text are an address or a position, and which are versions. Never: a value as a
//! whole. Invariant: each run of digits is looked at once.
#![deny(clippy::indexing_slicing)]

use super::looks::{decimals_of_degrees, four, is_version};
use super::parts::Part;
use crate::capture::names::Treat::{Coordinate, Ip};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Fewest decimals of a position that says more than a region; within a longer text one of the two has
/// one more, for other numbers stand in pairs too.
pub(super) const DECIMALS_MIN: usize = 3;
/// What may stand between two numbers of a position.
const BETWEEN_BYTES_MAX: usize = 16;
/// Between a name and its value.
const JOINT_BYTES_MAX: usize = 4;
/// Longest name that is looked at before a number.
const NAME_BYTES_MAX: usize = 32;
/// Greatest first number of a version of something that nobody here knows.
const MAJOR_MAX: u8 = 31;

/// What has a version behind a blank, in user agents.
const PRODUCTS: [&str; 33] = [
    "android",
    "applewebkit",
    "build",
    "chrome",
    "chromium",
    "crios",
    "dalvik",
    "darwin",
    "edg",
    "edge",
    "exoplayer",
    "firefox",
    "fxios",
    "gecko",
    "ios",
    "ipados",
    "kernel",
    "kodi",
    "linux",
    "macos",
    "mozilla",
    "msie",
    "opera",
    "opr",
    "os",
    "player",
    "release",
    "roku",
    "safari",
    "sdk",
    "tizen",
    "webos",
    "windows",
];
/// Words behind which an address stands, whatever its numbers are.
const ADDRESSED: [&str; 15] = [
    "addr", "address", "client", "from", "gateway", "host", "ip", "ipv4", "peer", "proxy",
    "remote", "server", "user", "via", "visitor",
];

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
            3 => {
                let address = four(run).filter(|address| {
                    is_four(bytes, start..end, *address, is_address)
                        // zeros stand before the numbers of versions, too
                        && (is_surely(*address) || run.parse::<Ipv4Addr>().is_ok())
                        && (is_no_version(*address) || !is_version())
                });
                found.extend(address.map(|_| (start..end, Ip)));
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
    let bytes = text.as_bytes();
    if one.end >= other.start || other.start.saturating_sub(one.end) > BETWEEN_BYTES_MAX {
        return false;
    }
    let between = text.get(one.end..other.start).unwrap_or_default();
    let decimals =
        |range: &Range<usize>| text.get(range.clone()).and_then(decimals_of_degrees).unwrap_or(0);
    let (first, second) = (decimals(one), decimals(other));
    if first.min(second) < DECIMALS_MIN {
        return false;
    }
    // a letter of the compass stands before or behind its number
    let at = |at: Option<usize>| at.and_then(|at| bytes.get(at));
    let before = at(one.start.checked_sub(1));
    let is_before_apart = !is_word(at(one.start.checked_sub(2)));
    let behind = at(Some(other.end)).filter(|byte| byte.is_ascii_alphabetic());
    let is_behind_apart = !is_word(at(other.end.checked_add(1)));
    match axes(before, between, behind) {
        None => false,
        Some(true) => {
            (!is_word(before) || is_before_apart) && (behind.is_none() || is_behind_apart)
        }
        Some(false) => {
            let is_whole = text.trim().len() == other.end.saturating_sub(one.start);
            !is_word(before) && behind.is_none() && (is_whole || first.max(second) > DECIMALS_MIN)
        }
    }
}

/// What stands around two numbers: whether it names their axes (`N` and `E`, `lat` and `lon`). `None`:
/// it keeps them apart, or names something else.
fn axes(before: Option<&u8>, between: &str, behind: Option<&u8>) -> Option<bool> {
    let is_compass = |byte: &&u8| matches!(byte, b'N' | b'S' | b'E' | b'W');
    let (mut has_lat, mut has_lon) = (false, false);
    for word in between.split(|letter: char| !letter.is_ascii_alphabetic()) {
        match word.to_ascii_lowercase().as_str() {
            "" => {}
            "n" | "s" => has_lat = true,
            "e" | "w" => has_lon = true,
            "lat" | "latitude" | "lon" | "lng" | "long" | "longitude" => {
                (has_lat, has_lon) = (true, true);
            }
            _ => return None,
        }
    }
    let has_word = has_lat || has_lon;
    if has_word {
        for byte in before.into_iter().chain(behind).filter(is_compass) {
            has_lat |= matches!(byte, b'N' | b'S');
            has_lon |= matches!(byte, b'E' | b'W');
        }
    }
    let is_joint = |byte: u8| {
        matches!(byte, b',' | b';' | b'|' | b'/' | b':' | b'+' | b' ')
            || has_word
                && (byte.is_ascii_alphabetic()
                    || matches!(byte, b'=' | b'"' | b'\'' | b'_' | 0x80..))
    };
    let is_named = has_lat && has_lon;
    (between.bytes().all(is_joint) && has_word == is_named).then_some(is_named)
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
fn is_four(
    bytes: &[u8],
    Range { start, end }: Range<usize>,
    address: Ipv4Addr,
    is_address: bool,
) -> bool {
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
        Some(b'-') if quad_before(bytes, start.saturating_sub(1)) => true,
        Some(b'-' | b'_') => is_surely(address) && !is_version(word_before(bytes, start)),
        // numbers of providers, in Google's Additional Consent: `2~43.46.55.61~dv.`
        Some(b'~') if at(2).is_some_and(|byte| byte.is_ascii_digit()) => false,
        Some(b'/') => match at(2) {
            // `Chrome/120.0.0.0`; a part of a path where it cannot be one
            Some(before)
                if before.is_ascii_alphanumeric() || matches!(before, b')' | b'-' | b'_') =>
            {
                let word = word_before(bytes, start.saturating_sub(1));
                let is_said = is_addressed(word)
                    && (!may_be_version(address) || word.to_ascii_lowercase().starts_with("ip"));
                is_said || is_address && is_surely(address)
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

/// Three of three digits: not even what is called a version has such.
fn is_no_version(address: Ipv4Addr) -> bool {
    address.octets().iter().filter(|octet| **octet >= 100).count() >= 3
}

/// Numbers as versions of anything have them.
fn may_be_version(address: Ipv4Addr) -> bool {
    let [first, rest @ ..] = address.octets();
    first <= MAJOR_MAX && rest.iter().all(|octet| *octet < 100)
}

fn is_addressed(word: &str) -> bool {
    ADDRESSED.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// The word that ends here.
fn word_before(bytes: &[u8], end: usize) -> &str {
    let before = bytes.get(..end).unwrap_or_default();
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let length = before.iter().rev().take(NAME_BYTES_MAX).take_while(is_name).count();
    let word = before.get(before.len().saturating_sub(length)..).unwrap_or_default();
    std::str::from_utf8(word).unwrap_or_default()
}

/// Whether the word before says that this is a version: `rv:`, `v=`, `"version":"`, `Opera `.
fn is_said_version(bytes: &[u8], start: usize, byte: Option<u8>, address: Ipv4Addr) -> bool {
    let before = bytes.get(..start).unwrap_or_default();
    let is_joint =
        |byte: &&u8| matches!(byte, b' ' | b'"' | b'\'' | b':' | b'=' | b'\\' | b'/' | b'.' | b'(');
    let joint = before.iter().rev().take(JOINT_BYTES_MAX).take_while(is_joint).count();
    let word = word_before(bytes, before.len().saturating_sub(joint));
    if word.is_empty() || joint == 0 || is_no_version(address) {
        return false;
    }
    let [first, rest @ ..] = address.octets();
    let is_known = || PRODUCTS.iter().any(|known| word.eq_ignore_ascii_case(known));
    // the name of a product, and numbers as versions have them
    let is_product = byte == Some(b' ')
        && word.starts_with(|letter: char| letter.is_ascii_uppercase())
        && !is_addressed(word)
        && (may_be_version(address)
            || is_known() && first < 200 && rest.iter().all(|octet| *octet < 100));
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
