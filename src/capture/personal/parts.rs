//! Personal parts of a text, whatever it is encoded in.
//!
//! Owns: what is looked for in a text, percent-encoding in percent-encoding, mail addresses, ids in paths.
//! Never: a name. Invariant: time grows with the length of the text and no faster.
#![deny(clippy::indexing_slicing)]

use super::looks::{is_long_id, is_uuid};
use super::{numbers, query};
use crate::capture::names::Treat::{self, Email, Id};
use std::ops::Range;

/// Where in the text, and what it is.
pub type Part = (Range<usize>, Treat);

/// Encoded so often, one in the other, a text is decoded.
const ENCODED_MAX: usize = 6;
/// Longest id in a path.
const SEGMENT_BYTES_MAX: usize = 64;

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
    const PERCENT: u8 = 1 << 5;

    #[inline]
    const fn of_byte(byte: u8) -> u8 {
        // without a jump: a processor does many at once
        ((byte == b'.') as u8 * Self::DOT)
            | ((byte == b'/') as u8 * Self::SLASH)
            | ((byte == b':') as u8 * Self::COLON)
            | ((byte == b'@') as u8 * Self::AT)
            | ((byte == b'=') as u8 * Self::EQUALS)
            | ((byte == b'%') as u8 * Self::PERCENT)
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

/// All parts. `is_version`: four numbers in it are no address; asked only where there are such.
pub(super) fn find(text: &str, is_version: impl Fn() -> bool) -> Vec<Part> {
    level(text, true, &is_version, ENCODED_MAX)
}

/// `is_start`: the text has nothing before it.
fn level(text: &str, is_start: bool, is_version: &dyn Fn() -> bool, deeper: usize) -> Vec<Part> {
    let marks = Marks::of(text);
    let mut found = Vec::new();
    if marks.has(Marks::AT | Marks::EQUALS | Marks::PERCENT) {
        let mails = mails(text);
        query::parameters(text, is_start, &mails, &mut found);
        found.extend(mails.into_iter().map(|range| (range, Email)));
    }
    if marks.has(Marks::COLON) {
        numbers::six(text, &mut found);
    }
    let is_address = text.starts_with('/') || marks.has(Marks::COLON) && has_scheme(text);
    if marks.has(Marks::DOT) {
        numbers::find(text, is_version, is_address, &mut found);
    }
    if is_address {
        segments(text, &mut found);
    }
    if !found.is_empty() {
        apart(&mut found);
    }
    if deeper > 0 && marks.has(Marks::PERCENT) {
        encoded(text, is_start, is_version, deeper, &mut found);
    }
    found
}

fn has_scheme(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b':', bytes)
        .any(|at| bytes.get(at..).is_some_and(|rest| rest.starts_with(b"://")))
}

/// Adds what is found in what is encoded, between what was found already.
fn encoded(
    text: &str,
    is_start: bool,
    is_version: &dyn Fn() -> bool,
    deeper: usize,
    found: &mut Vec<Part>,
) {
    let mut within = Vec::new();
    let mut from = 0;
    let ends = found.iter().map(|(range, _)| range.clone());
    for Range { start, end } in ends.chain(std::iter::once(text.len()..text.len())) {
        let gap = text.get(from..start).unwrap_or_default();
        if let Some(decoded) = Decoded::of(gap) {
            let is_start = is_start && from == 0;
            let parts = level(&decoded.text, is_start, is_version, deeper.saturating_sub(1));
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
    // stable: of two that begin together the parameter comes first
    found.sort_by_key(|(range, _)| range.start);
    // a mail address within a parameter's value is of that
    let mut end = 0;
    found.retain(|(range, _)| {
        let is_free = range.start >= end;
        end = if is_free { range.end } else { end };
        is_free
    });
}

/// A text whose percent-encoded characters of ASCII are decoded, once.
struct Decoded {
    text: String,
    /// Where each byte, and the end, was.
    places: Vec<u32>,
}

impl Decoded {
    /// `None`: nothing in it is encoded.
    fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_coded = |at: usize| escaped(bytes, at).is_some_and(|byte| byte.is_ascii());
        memchr::memchr_iter(b'%', bytes).find(|at| is_coded(*at))?;
        let (mut decoded, mut places) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            places.push(u32::try_from(at).ok()?);
            let code = escaped(bytes, at).filter(u8::is_ascii);
            decoded.push(code.unwrap_or(*byte));
            at = at.saturating_add(if code.is_some() { 3 } else { 1 });
        }
        places.push(u32::try_from(at).ok()?);
        Some(Self { text: String::from_utf8(decoded).ok()?, places })
    }

    fn place(&self, at: usize) -> usize {
        self.places.get(at).map_or(0, |place| *place as usize)
    }
}

/// The byte that `%XX` at this place says.
pub(super) fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = bytes.get(at..at.checked_add(3)?)? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// What stands before a place: a byte, or one that is encoded; and how many bytes that takes.
pub(super) fn unit_before(bytes: &[u8], end: usize) -> Option<(u8, usize)> {
    if let Some(code) = end.checked_sub(3).and_then(|at| escaped(bytes, at)) {
        return Some((code, 3));
    }
    Some((*bytes.get(end.checked_sub(1)?)?, 1))
}

/// Mail addresses, `@` written as such or as `%40`.
fn mails(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found: Vec<Range<usize>> = Vec::new();
    for at in memchr::memchr2_iter(b'@', b'%', bytes) {
        let length = match bytes.get(at) {
            Some(b'@') => 1,
            _ if escaped(bytes, at) == Some(b'@') => 3,
            _ => continue,
        };
        let behind = at.saturating_add(length);
        let rest = bytes.get(behind..).unwrap_or_default();
        let is_host = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let host = rest.iter().take_while(is_host).count();
        let host = text.get(behind..behind.saturating_add(host)).unwrap_or_default();
        let host = host.trim_end_matches(['.', '-']);
        if !is_domain(host) {
            continue;
        }
        // what the address before took is of that
        let least = found.last().map_or(0, |last| last.end);
        let start = local_start(bytes, at, least);
        if start < at && text.is_char_boundary(start) {
            found.push(start..behind.saturating_add(host.len()));
        }
    }
    found
}

fn is_domain(host: &str) -> bool {
    host.rsplit_once('.').is_some_and(|(front, top)| {
        let is_top =
            |top: &str| top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
        !front.is_empty() && (is_top(top) || top.starts_with("xn--"))
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
