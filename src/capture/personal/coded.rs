//! Characters that are written as a code: `%40`, `\u0040`, `\x40`, `&#64;`.
//!
//! Owns: what a code says, and a text without its codes. Never: what is personal. Invariant: where a
//! byte of a decoded text came from is known.
#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;

/// Encoded so often, one in the other, a text is decoded.
pub(super) const ENCODED_MAX: usize = 6;
/// Longest number of `&#...;`, with the `x` and zeros before it.
const ENTITY_BYTES_MAX: usize = 6;

/// A text whose coded characters of ASCII are decoded, once.
pub(super) struct Decoded {
    pub(super) text: String,
    /// Where each byte, and the end, was.
    places: Vec<u32>,
}

impl Decoded {
    /// `None`: nothing in it is encoded.
    pub(super) fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        memchr::memchr3_iter(b'%', b'\\', b'&', bytes).find(|at| code(bytes, *at).is_some())?;
        let (mut decoded, mut places) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            places.push(u32::try_from(at).ok()?);
            let (code, length) = code(bytes, at).unwrap_or((*byte, 1));
            decoded.push(code);
            at = at.saturating_add(length);
        }
        places.push(u32::try_from(at).ok()?);
        Some(Self { text: String::from_utf8(decoded).ok()?, places })
    }

    pub(super) fn place(&self, at: usize) -> usize {
        self.places.get(at).map_or(0, |place| *place as usize)
    }
}

/// What a text says however it is written.
pub(in crate::capture) fn plain(text: &str) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed(text);
    for _ in 0..ENCODED_MAX {
        match Decoded::of(&plain) {
            Some(decoded) => plain = Cow::Owned(decoded.text),
            None => break,
        }
    }
    plain
}

/// The character of ASCII that a code at this place says, and how long the code is.
fn code(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = bytes.get(at..)?;
    let (byte, length) = match rest {
        [b'%', ..] => (escaped(bytes, at)?, 3),
        [b'\\', b'u', b'0', b'0', high, low, ..] => (hexadecimal(*high, *low)?, 6),
        [b'\\', b'x', high, low, ..] => (hexadecimal(*high, *low)?, 4),
        [b'&', b'#', number @ ..] => {
            let end = number.iter().take(ENTITY_BYTES_MAX).position(|byte| *byte == b';')?;
            let number = std::str::from_utf8(number.get(..end)?).ok()?;
            let byte = match number.strip_prefix(['x', 'X']) {
                Some(number) => u8::from_str_radix(number, 16),
                None => number.parse(),
            };
            (byte.ok()?, end.checked_add(3)?)
        }
        _ => return None,
    };
    byte.is_ascii().then_some((byte, length))
}

/// The byte that `%XX` at this place says.
pub(super) fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = bytes.get(at..at.checked_add(3)?)? else { return None };
    hexadecimal(*high, *low)
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// What stands before a place: a byte, or one that is percent-encoded; and how many bytes that takes.
pub(super) fn unit_before(bytes: &[u8], end: usize) -> Option<(u8, usize)> {
    if let Some(code) = end.checked_sub(3).and_then(|at| escaped(bytes, at)) {
        return Some((code, 3));
    }
    Some((*bytes.get(end.checked_sub(1)?)?, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_a_code_is_read() {
        for (text, expected) in [
            ("a%40b", "a@b"),
            ("a%2540b", "a@b"),
            ("a\\u0040b\\x26c", "a@b&c"),
            ("a&#64;b&#x40;c&#0064;d", "a@b@c@d"),
            (
                "%C3%BC %zz \\u00fc \\n &#300; &amp; &#; &#x;",
                "%C3%BC %zz \\u00fc \\n &#300; &amp; &#; &#x;",
            ),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
        let decoded = Decoded::of("a%40b\\u0040c").unwrap();
        assert_eq!([1, 2, 3, 4, 5].map(|at| decoded.place(at)), [1, 4, 5, 11, 12]);
    }
}
