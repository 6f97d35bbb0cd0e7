//! Letters in the shape of a value, drawn from a keyed stream, and the checksum in their last four.
//!
//! Owns: [`Draw`], what a token is made of and known by. Never: a key, what becomes a token.
//! Invariant: what is drawn is letters and digits of ASCII and what may stand between them, none of
//! which JSON escapes.
#![deny(clippy::indexing_slicing)]

use smallvec::SmallVec;

/// Letters and digits of the shortest token: fewer could not keep many users apart.
const TOKEN_LEAST: usize = 16;
/// Digits of a checksum.
const CHECK_DIGITS: usize = 4;
/// Bytes that the stream makes at once.
const BLOCK: usize = blake3::BLOCK_LEN;

/// Bytes of a keyed stream, as letters. They are taken from it in whole blocks: the stream works
/// out a block anew for each call, however few bytes that asks for.
pub(super) struct Draw {
    stream: blake3::OutputReader,
    block: [u8; BLOCK],
    /// Of the next byte of `block`.
    at: usize,
}

impl Draw {
    pub(super) const fn new(stream: blake3::OutputReader) -> Self {
        Self { stream, block: [0; BLOCK], at: BLOCK }
    }

    pub(super) fn byte(&mut self) -> u8 {
        if self.at >= BLOCK {
            self.stream.fill(&mut self.block);
            self.at = 0;
        }
        let byte = self.block.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        byte
    }

    fn one(&mut self, alphabet: &[u8]) -> u8 {
        // of 65,536 values: no letter is favoured by more than a thousandth
        let number = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
        let at = number.checked_rem(alphabet.len()).unwrap_or_default();
        alphabet.get(at).copied().unwrap_or(b'x')
    }
}

/// What letters become.
struct Alphabets {
    lower: &'static [u8],
    upper: &'static [u8],
    fill: &'static [u8],
}

const DIGITS: &[u8] = b"0123456789";
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

impl Alphabets {
    fn of(shape: &str) -> Self {
        let lower = || shape.bytes().any(|byte| byte.is_ascii_lowercase());
        let is = |test: fn(&u8) -> bool| shape.bytes().all(|byte| test(&byte) || byte == b'-');
        if is(u8::is_ascii_digit) {
            Self { lower: DIGITS, upper: DIGITS, fill: DIGITS }
        } else if is(u8::is_ascii_hexdigit) {
            let (small, large) = (b"0123456789abcdef", b"0123456789ABCDEF");
            Self { lower: small, upper: large, fill: if lower() { small } else { large } }
        } else {
            let large = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
            Self { lower: LOWER, upper: large, fill: if lower() { LOWER } else { large } }
        }
    }

    fn of_letter(&self, letter: char) -> &'static [u8] {
        let is_hex = self.lower.len() == 16;
        match letter {
            '0'..='9' if is_hex => self.fill,
            '0'..='9' => DIGITS,
            _ if letter.is_ascii_uppercase() => self.upper,
            _ => self.lower,
        }
    }
}

/// Appends something of the shape of `shape`, and long enough.
pub(super) fn draw(draw: &mut Draw, shape: &str, out: &mut Vec<u8>) {
    let alphabets = Alphabets::of(shape);
    let mut count = 0;
    for letter in shape.chars() {
        let drawn = match letter {
            _ if letter.is_ascii_alphanumeric() => draw.one(alphabets.of_letter(letter)),
            '-' | '_' | '.' | ':' | '+' | '/' | '=' | '~' | '|' | '*' => {
                u8::try_from(letter).unwrap_or(b'_')
            }
            _ if letter.is_alphabetic() => draw.one(LOWER),
            _ => b'_',
        };
        count += usize::from(drawn.is_ascii_alphanumeric());
        out.push(drawn);
    }
    while count < TOKEN_LEAST {
        out.push(draw.one(alphabets.fill));
        count += 1;
    }
}

/// Replaces the last letters and digits by the checksum of those before.
pub(super) fn seal(token: &mut [u8]) {
    let mut check = checksum(token).unwrap_or_default();
    let places = token.iter_mut().rev().filter(|byte| byte.is_ascii_alphanumeric());
    for place in places.take(CHECK_DIGITS) {
        *place = b'0' + u8::try_from(check % 10).unwrap_or_default();
        check /= 10;
    }
}

/// Of all letters and digits but the last four.
fn checksum(token: &[u8]) -> Option<u32> {
    let plain: SmallVec<[u8; 128]> = token
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(u8::to_ascii_lowercase)
        .collect();
    let summed = plain.get(..plain.len().checked_sub(CHECK_DIGITS)?)?;
    Some(crc32c::crc32c(summed) % 10_000)
}

/// Whether a text is one that was drawn and sealed.
pub(super) fn is_token(text: &str) -> bool {
    let count = text.bytes().filter(u8::is_ascii_alphanumeric).count();
    let mut last: Vec<u8> =
        text.bytes().rev().filter(u8::is_ascii_alphanumeric).take(CHECK_DIGITS).collect();
    last.reverse();
    let claimed =
        String::from_utf8(last).ok().filter(|last| last.bytes().all(|b| b.is_ascii_digit()));
    count >= TOKEN_LEAST
        && !text.contains('@')
        && claimed.and_then(|claimed| claimed.parse().ok()) == checksum(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> blake3::OutputReader {
        blake3::Hasher::new_keyed(&[7; 32]).update(b"a value").finalize_xof()
    }

    #[test]
    fn bytes_are_those_of_the_stream_one_after_the_other() {
        let mut expected = [0; 3 * BLOCK + 5];
        stream().fill(&mut expected);
        let mut draw = Draw::new(stream());
        assert!(expected.iter().all(|byte| draw.byte() == *byte));
    }

    #[test]
    fn what_is_sealed_is_known_and_a_changed_letter_is_seen() {
        for shape in [
            "7",
            "6d92078a-8246-4ba4-ae5b-76104861e7dc",
            "A.b_c+1234567890123456",
            "\u{e9}\u{4e2d} x",
        ] {
            let mut token = Vec::new();
            draw(&mut Draw::new(stream()), shape, &mut token);
            seal(&mut token);
            let text = String::from_utf8(token).unwrap();
            assert!(text.is_ascii() && is_token(&text), "{shape}: {text}");
            let changed = text.replacen(|letter: char| letter.is_ascii_alphanumeric(), "~", 1);
            assert!(!is_token(&changed), "{shape}: {changed}");
        }
    }
}
