//! Character references in attribute values and text: `&#104;`, `&#x68;`, `&colon;`.
//!
//! Owns: [`decoded`] and [`may_hide_a_scheme`]. Never: the names of letters outside ASCII, which
//! no scheme is written with.
//! Invariant: what is decoded is not decoded again.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use memchr::{memchr, memchr_iter};
use std::borrow::Cow;

/// Names of ASCII characters (HTML, 13.5), but for letters and digits, which have none.
const NAMED: [(&[u8], u8); 45] = [
    (b"Tab;", b'\t'),
    (b"NewLine;", b'\n'),
    (b"excl;", b'!'),
    (b"quot;", b'"'),
    (b"QUOT;", b'"'),
    (b"num;", b'#'),
    (b"dollar;", b'$'),
    (b"percnt;", b'%'),
    (b"amp;", b'&'),
    (b"AMP;", b'&'),
    (b"apos;", b'\''),
    (b"lpar;", b'('),
    (b"rpar;", b')'),
    (b"ast;", b'*'),
    (b"midast;", b'*'),
    (b"plus;", b'+'),
    (b"comma;", b','),
    (b"period;", b'.'),
    (b"sol;", b'/'),
    (b"colon;", b':'),
    (b"semi;", b';'),
    (b"lt;", b'<'),
    (b"LT;", b'<'),
    (b"equals;", b'='),
    (b"gt;", b'>'),
    (b"GT;", b'>'),
    (b"quest;", b'?'),
    (b"commat;", b'@'),
    (b"lsqb;", b'['),
    (b"lbrack;", b'['),
    (b"bsol;", b'\\'),
    (b"rsqb;", b']'),
    (b"rbrack;", b']'),
    (b"Hat;", b'^'),
    (b"lowbar;", b'_'),
    (b"UnderBar;", b'_'),
    (b"grave;", b'`'),
    (b"DiacriticalGrave;", b'`'),
    (b"lcub;", b'{'),
    (b"lbrace;", b'{'),
    (b"verbar;", b'|'),
    (b"vert;", b'|'),
    (b"VerticalLine;", b'|'),
    (b"rcub;", b'}'),
    (b"rbrace;", b'}'),
];

/// Names that count without their semicolon too.
const LEGACY: [(&[u8], u8); 8] = [
    (b"amp", b'&'),
    (b"AMP", b'&'),
    (b"lt", b'<'),
    (b"LT", b'<'),
    (b"gt", b'>'),
    (b"GT", b'>'),
    (b"quot", b'"'),
    (b"QUOT", b'"'),
];

/// The value with its references replaced; borrowed where it has none.
pub fn decoded(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'&', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, [_, behind @ ..])) =
        memchr(b'&', rest).and_then(|at| rest.split_at_checked(at))
    {
        out.extend_from_slice(before);
        if let Some((letter, behind)) = reference(behind) {
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            rest = behind;
        } else {
            out.push(b'&');
            rest = behind;
        }
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// Whether there is a reference that a scheme can be written with, which is rare: most `&` stand
/// in queries.
pub fn may_hide_a_scheme(text: &[u8]) -> bool {
    memchr_iter(b'&', text).any(|at| {
        let behind = text.get(at..).and_then(|rest| rest.get(1..)).unwrap_or_default();
        [&b"#"[..], b"colon;", b"Tab;", b"NewLine;", b"amp;#", b"amp;colon;"]
            .iter()
            .any(|start| behind.starts_with(start))
    })
}

/// The letter that a reference stands for, and what follows it; `text` begins behind the `&`.
fn reference(text: &[u8]) -> Option<(char, &[u8])> {
    if let Some(number) = text.strip_prefix(b"#") {
        return numeric(number);
    }
    let named = NAMED.iter().find_map(|(name, byte)| Some((*byte, text.strip_prefix(*name)?)));
    let legacy = || {
        let (byte, rest) =
            LEGACY.iter().find_map(|(name, byte)| Some((*byte, text.strip_prefix(*name)?)))?;
        // `&lt=1` is a parameter of a query and no reference
        let goes_on =
            rest.first().is_some_and(|byte| *byte == b'=' || byte.is_ascii_alphanumeric());
        (!goes_on).then_some((byte, rest))
    };
    named.or_else(legacy).map(|(byte, rest)| (char::from(byte), rest))
}

fn numeric(number: &[u8]) -> Option<(char, &[u8])> {
    let (radix, digits) = match number {
        [b'x' | b'X', digits @ ..] => (16, digits),
        digits => (10, digits),
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(radix);
    let len = digits.iter().take_while(|byte| digit(byte).is_some()).count();
    let (digits, rest) = digits.split_at_checked(len).filter(|(digits, _)| !digits.is_empty())?;
    let code = digits
        .iter()
        .filter_map(digit)
        .fold(0_u32, |code, digit| code.saturating_mul(radix).saturating_add(digit));
    let letter = char::from_u32(code).filter(|letter| *letter != '\0');
    let rest = rest.strip_prefix(b";").unwrap_or(rest);
    Some((letter.unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_once_and_other_ampersands_left() {
        for (text, expected) in [
            ("plain", "plain"),
            ("&#104;ttp&#x3a;&sol;&#X2F;a", "http://a"),
            ("&#104ttp", "http"),
            ("ht&Tab;tp&colon;&NewLine;", "ht\ttp:\n"),
            ("&quot;&#39;&apos;", "\"''"),
            ("a?b=1&c=2&lt=3&copy=4", "a?b=1&c=2&lt=3&copy=4"),
            ("&amp;#104;", "&#104;"),
            ("&lt b&gt", "< b>"),
            ("&#0;&#x110000;&#99999999999;", "\u{fffd}\u{fffd}\u{fffd}"),
            ("&#;&#x;&;&", "&#;&#x;&;&"),
            ("&#228;", "\u{e4}"),
        ] {
            let got = decoded(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&got), expected, "{text}");
            assert_eq!(matches!(got, Cow::Borrowed(_)), !text.contains('&'));
        }
    }
}
