//! Mail addresses within a text, and whoever is named before the host of a URL.
//!
//! Owns: where such begin and end. Never: what is done with them. Invariant: they are found in order
//! and apart from each other.
#![deny(clippy::indexing_slicing)]

use super::coded::{escaped, unit_before};
use std::ops::Range;

/// Longest `[...]` in place of a host.
const LITERAL_BYTES_MAX: usize = 52;
/// Most characters of who is named before a host.
const USER_UNITS_MAX: usize = 64;

/// Mail addresses, `@` written as such or as `%40`; and `user:password@host` behind `://`, which is none
/// but may be one.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found: Vec<Range<usize>> = Vec::new();
    for at in memchr::memchr2_iter(b'@', b'%', bytes) {
        let length = match bytes.get(at) {
            Some(b'@') => 1,
            _ if escaped(bytes, at) == Some(b'@') => 3,
            _ => continue,
        };
        let behind = at.saturating_add(length);
        let host = host(text, behind);
        let end = behind.saturating_add(host.len());
        // what the address before took is of that
        let least = found.last().map_or(0, |last| last.end);
        let local = || is_domain(host).then(|| local_start(bytes, at, least));
        let Some(start) = user_start(bytes, at, least).or_else(local) else { continue };
        if start < at && text.is_char_boundary(start) && text.is_char_boundary(end) {
            found.push(start..end);
        }
    }
    found
}

/// What may be a host, from here on.
fn host(text: &str, start: usize) -> &str {
    let bytes = text.as_bytes();
    let rest = bytes.get(start..).unwrap_or_default();
    if rest.first() == Some(&b'[') {
        let is_literal =
            |byte: &&u8| !matches!(byte, b']' | b'[' | b'@') && byte.is_ascii_graphic();
        let inner = rest.iter().skip(1).take(LITERAL_BYTES_MAX).take_while(is_literal).count();
        let end = start.saturating_add(inner).saturating_add(2);
        return text.get(start..end).filter(|host| host.ends_with(']')).unwrap_or_default();
    }
    let mut end = start;
    while let Some(byte) = bytes.get(end) {
        let length = match byte {
            b'.' | b'-' | 0x80.. => 1,
            b'%' if escaped(bytes, end).is_some_and(|byte| !byte.is_ascii()) => 3,
            _ if byte.is_ascii_alphanumeric() => 1,
            _ => break,
        };
        end = end.saturating_add(length);
    }
    text.get(start..end).unwrap_or_default().trim_end_matches(['.', '-'])
}

/// Whether mail may be sent there: `mail.example`, one of other letters, or an address in brackets.
fn is_domain(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[') {
        return literal.contains(['.', ':'])
            && literal.contains(|digit: char| digit.is_ascii_digit());
    }
    host.rsplit_once('.').is_some_and(|(front, top)| {
        let is_letter = |byte: u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
        let is_top = |top: &str| top.len() >= 2 && top.bytes().all(is_letter);
        !front.is_empty() && (is_top(top) || top.starts_with("xn--") || top.contains('%'))
    })
}

/// Where what stands before an `@` begins, not before `least`.
fn local_start(bytes: &[u8], at: usize, least: usize) -> usize {
    let mut start = at;
    while let Some((byte, length)) = unit_before(bytes, start).filter(|_| start > least) {
        let before = start.saturating_sub(length);
        // the others of RFC 5322 also end a word of a script: they count between letters only
        let is_between = || {
            let is_letter = |at: Option<usize>| {
                at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric)
            };
            is_letter(before.checked_sub(1)) && is_letter(Some(start))
        };
        let is_local = byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'_' | b'+' | b'-' | 0x80..)
            || matches!(byte, b'\'' | b'!' | b'*' | b'^' | b'~') && is_between();
        if !is_local || before < least {
            break;
        }
        start = before;
    }
    start
}

/// Where `user:password` before an `@` begins: behind `://`, and nowhere else.
fn user_start(bytes: &[u8], at: usize, least: usize) -> Option<usize> {
    let mut start = at;
    for _ in 0..USER_UNITS_MAX {
        let (byte, length) = unit_before(bytes, start)?;
        let before = start.saturating_sub(length);
        match byte {
            b'/' if start < at => {
                let (slash, length) = unit_before(bytes, before)?;
                let (colon, _) = unit_before(bytes, before.saturating_sub(length))?;
                return (slash == b'/' && colon == b':').then_some(start);
            }
            b'.'
            | b'_'
            | b'-'
            | b'~'
            | b'!'
            | b'$'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'='
            | b':'
            | b'%'
            | 0x80.. => {}
            _ if byte.is_ascii_alphanumeric() => {}
            _ => return None,
        }
        if before < least {
            return None;
        }
        start = before;
    }
    None
}
