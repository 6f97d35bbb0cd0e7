//! Personal parts of a text, whatever it is encoded in.
//!
//! Owns: what is looked for in a text, encoding in encoding, ids in paths and beside other words. Never: a
//! name. Invariant: time grows with the length of the text and no faster.
#![deny(clippy::indexing_slicing)]

use super::coded::{Decoded, ENCODED_MAX};
use super::looks::{is_long_id, is_uuid};
use super::{is_near_person, is_version_at, mails, numbers, query};
use crate::capture::names::Treat::{self, Email, Id};
use std::cmp::Reverse;
use std::ops::Range;

/// Where in the text, and what it is.
pub type Part = (Range<usize>, Treat);

/// Longest id in a path.
const SEGMENT_BYTES_MAX: usize = 64;
/// Of a UUID.
const UUID_BYTES: usize = 36;
/// Of a UUID, before its first `-`.
const UUID_FRONT_BYTES: usize = 8;

/// What a text has of the bytes that personal parts are made of.
#[derive(Clone, Copy)]
struct Marks(u8);

/// What [`Marks::of_byte`] says of each byte.
#[expect(clippy::indexing_slicing, reason = "runs when this is compiled, over a table of 256")]
static MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    let mut byte = 0;
    while byte < u8::MAX {
        marks[byte as usize] = Marks::of_byte(byte);
        byte += 1;
    }
    marks
};

impl Marks {
    const DOT: u8 = 1;
    const SLASH: u8 = 1 << 1;
    const COLON: u8 = 1 << 2;
    const AT: u8 = 1 << 3;
    const EQUALS: u8 = 1 << 4;
    /// Without one of these nothing is written as a code.
    const CODE: u8 = 1 << 5;
    const DASH: u8 = 1 << 6;

    #[inline]
    const fn of_byte(byte: u8) -> u8 {
        // without a jump: a processor does many at once
        ((byte == b'.') as u8 * Self::DOT)
            | ((byte == b'/') as u8 * Self::SLASH)
            | ((byte == b':') as u8 * Self::COLON)
            | ((byte == b'@') as u8 * Self::AT)
            | ((byte == b'=') as u8 * Self::EQUALS)
            | ((byte == b'%' || byte == b'\\' || byte == b'#') as u8 * Self::CODE)
            | ((byte == b'-') as u8 * Self::DASH)
    }

    fn of(text: &str) -> Self {
        let (many, few) = text.as_bytes().as_chunks::<32>();
        let mut all = [0; 32];
        for chunk in many {
            for (all, byte) in all.iter_mut().zip(chunk) {
                *all |= Self::of_byte(*byte);
            }
        }
        let few = few.iter().filter_map(|byte| MARKS.get(usize::from(*byte)));
        Self(all.iter().chain(few).fold(0, |all, marks| all | marks))
    }

    /// One of these at least.
    const fn has(self, marks: u8) -> bool {
        self.0 & marks != 0
    }
}

/// All parts of a text that stands here.
pub(super) fn find(path: &[&str], text: &str) -> Vec<Part> {
    level(path, text, true, ENCODED_MAX)
}

/// `is_start`: the text has nothing before it.
fn level(path: &[&str], text: &str, is_start: bool, deeper: usize) -> Vec<Part> {
    let marks = Marks::of(text);
    let mut found = Vec::new();
    let is_address = text.starts_with('/') || marks.has(Marks::COLON) && has_scheme(text);
    if marks.has(Marks::AT | Marks::EQUALS | Marks::CODE) {
        let mails = mails::find(text);
        let is_plain = is_address && is_plain_address(text, is_start);
        query::parameters(text, is_start, is_plain, &mails, &mut found);
        found.extend(mails.into_iter().map(|range| (range, Email)));
        if marks.has(Marks::CODE) {
            query::documents(text, is_start, is_plain, &mut found);
        }
    }
    if marks.has(Marks::COLON) {
        numbers::six(text, &mut found);
    }
    if marks.has(Marks::DOT) {
        numbers::find(text, &|| is_version_at(path), is_address, &mut found);
    }
    if is_address {
        segments(text, &mut found);
    }
    if marks.has(Marks::DASH) && is_near_person(path) {
        uuids(text, &mut found);
    }
    if !found.is_empty() {
        apart(&mut found);
    }
    if deeper > 0 && marks.has(Marks::CODE) {
        encoded(path, text, is_start, deeper, &mut found);
    }
    found
}

fn has_scheme(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b':', bytes)
        .any(|at| bytes.get(at..).is_some_and(|rest| rest.starts_with(b"://")))
}

/// Whether a text is an address from its start on, and no markup or script that holds some.
fn is_plain_address(text: &str, is_start: bool) -> bool {
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let scheme = text.bytes().take_while(|byte| is_scheme(*byte)).count();
    is_start && text.starts_with('/')
        || scheme > 0 && text.get(scheme..).is_some_and(|rest| rest.starts_with("://"))
}

/// Adds what is found in what is encoded, between what was found already.
fn encoded(path: &[&str], text: &str, is_start: bool, deeper: usize, found: &mut Vec<Part>) {
    let mut within = Vec::new();
    let mut from = 0;
    let ends = found.iter().map(|(range, _)| range.clone());
    for Range { start, end } in ends.chain(std::iter::once(text.len()..text.len())) {
        let gap = text.get(from..start).unwrap_or_default();
        if let Some(decoded) = Decoded::of(gap) {
            let is_start = is_start && from == 0;
            let parts = level(path, &decoded.text, is_start, deeper.saturating_sub(1));
            within.extend(parts.into_iter().map(|(range, treat)| {
                let place = |at| from.saturating_add(decoded.place(at));
                (place(range.start)..place(range.end), treat)
            }));
        }
        from = end;
    }
    if !within.is_empty() {
        found.append(&mut within);
        apart(found);
    }
}

/// In order, and the first of those that overlap.
pub(super) fn apart(found: &mut Vec<Part>) {
    // stable: of two that are the same the parameter comes first
    found.sort_by_key(|(range, _)| (range.start, Reverse(range.end)));
    // a mail address within a parameter's value is of that
    let mut end = 0;
    found.retain(|(range, _)| {
        let is_free = range.start >= end;
        end = if is_free { range.end } else { end };
        is_free
    });
}

/// Ids that are a part of a path: a UUID, or a long id.
fn segments(text: &str, found: &mut Vec<Part>) {
    let bytes = text.as_bytes();
    for slash in memchr::memchr_iter(b'/', bytes) {
        let start = slash.saturating_add(1);
        let is_id = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
        let rest = bytes.get(start..).unwrap_or_default().iter();
        let length = rest.take(SEGMENT_BYTES_MAX.saturating_add(1)).take_while(is_id).count();
        let end = start.saturating_add(length);
        let Some(segment) = text.get(start..end) else { continue };
        let is_whole = match bytes.get(end) {
            Some(b'.') => is_uuid(segment),
            None
            | Some(
                b'/' | b'?' | b'#' | b'&' | b'"' | b'\'' | b'<' | b'>' | b';' | b',' | b')' | b'\\'
                | b'%' | b':' | b' ' | b'\t' | b'\r' | b'\n',
            ) => is_uuid(segment) || is_long_id(segment),
            Some(_) => false,
        };
        // a partner of ours is no person
        let is_partner = text.get(..slash).is_some_and(|front| front.ends_with("/openrtb2"));
        if is_whole && !is_partner {
            found.push((start..end, Id));
        }
    }
}

/// UUIDs beside other words: `gaid:6d92078a-...`, several in a row.
fn uuids(text: &str, found: &mut Vec<Part>) {
    let mut done = 0;
    for dash in memchr::memchr_iter(b'-', text.as_bytes()) {
        let Some(start) = dash.checked_sub(UUID_FRONT_BYTES).filter(|start| *start >= done) else {
            continue;
        };
        let end = start.saturating_add(UUID_BYTES);
        if text.get(start..end).is_some_and(is_uuid) {
            found.push((start..end, Id));
            done = end;
        }
    }
}
