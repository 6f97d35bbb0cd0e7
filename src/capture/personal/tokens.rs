//! Tokens in the URLs of our own events: whoever reads one in a recording could have its sale billed.
//!
//! Owns: where they stand in a text. Never: a key, whether one is good. Invariant: time grows with the
//! length of the text and no faster; of a text without runs of letters as long as a token's, less than one
//! byte in a hundred is looked at.
#![deny(clippy::indexing_slicing)]

use super::TOKEN_LETTERS_MIN;
use std::ops::Range;

/// A slash may be encoded in so many letters that stand before a token as if they were of it: `%252525252F`.
const CODE_CHARS_MAX: usize = 10;

/// In order, apart from each other.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let is_letter = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let mut found = Vec::new();
    // no run that is long enough stands between two places that are looked at
    let mut at = TOKEN_LETTERS_MIN.saturating_sub(1);
    while let Some((before, behind)) = bytes.split_at_checked(at).filter(|_| at < bytes.len()) {
        let length = behind.iter().take_while(is_letter).count();
        let end = at.saturating_add(length);
        if length > 0 {
            let start = at.saturating_sub(before.iter().rev().take_while(is_letter).count());
            let mut starts = start..=start.saturating_add(CODE_CHARS_MAX);
            let start = starts.find(|start| is_behind_path(bytes.get(..*start)));
            let token = start.map(|start| start..end);
            found.extend(token.filter(|token| token.len() >= TOKEN_LETTERS_MIN));
        }
        at = end.saturating_add(TOKEN_LETTERS_MIN);
    }
    found
}

/// Whether a text ends with the path of events, `/e/`.
fn is_behind_path(text: Option<&[u8]>) -> bool {
    let letter = text.and_then(without_slash).and_then(|text| text.strip_suffix(b"e"));
    letter.is_some_and(|text| without_slash(text).is_some())
}

/// The text before the slash at its end, which may be written as `\/`, `%2F`, `%252F`, `\u002F`, `\x2F` or
/// `&#x2F;`.
fn without_slash(text: &[u8]) -> Option<&[u8]> {
    let ends = |code: &&&[u8]| {
        let at = text.len().saturating_sub(code.len());
        text.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(code))
    };
    let codes = [&b"/"[..], b"\\u002f", b"\\x2f", b"&#x2f;", b"&#47;"];
    if let Some(code) = codes.iter().find(ends) {
        return text.get(..text.len().saturating_sub(code.len())).map(without_backslashes);
    }
    let mut front = text.strip_suffix(b"2F").or_else(|| text.strip_suffix(b"2f"))?;
    while let Some(less) = front.strip_suffix(b"25") {
        front = less;
    }
    front.strip_suffix(b"%")
}

fn without_backslashes(mut text: &[u8]) -> &[u8] {
    while let Some(less) = text.strip_suffix(b"\\") {
        text = less;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::parts;
    use super::*;
    use crate::capture::form::{PseudonymKey, is_pseudonym};
    use crate::capture::names::Treat;
    use crate::capture::pseudonym::Pseudonymiser;

    #[test]
    fn tokens_are_replaced_however_their_path_is_written() {
        let token = "AQEJ4M2riWdFIwHvzauJZ0-_".repeat(8);
        let pseudonymiser = Pseudonymiser::new(PseudonymKey::new("a secret of the tests"));
        for (before, behind) in [
            ("https://x.example/e/", "?m=${AUCTION_MIN_TO_WIN}"),
            ("https://x.example/a/path/e/", ""),
            ("<img src=\"//x.example/e/", ".gif\">"),
            (r#"{a:"https:\/\/x.example\/e\/"#, "\"}"),
            (r"var a = 'https\x3a\x2f\x2fx.example\x2fe\x2f", "';"),
            (r"var a = 'https:\u002F\u002Fx.example\u002Fe\u002F", r"\u003fm=1';"),
            (r#"{"a":"{\"b\":\"https:\\/\\/x.example\\/e\\/"#, r#"\"}"}"#),
            ("<img src=\"https:&#x2F;&#x2F;x.example&#x2F;e&#x2F;", "&quot;>"),
            ("https://a.example/c?to=https%3A%2F%2Fx.example%2Fe%2F", "%3Fm%3D1&x=1"),
            ("https://a.example/c?to=https%253a%252f%252fx.example%252fe%252f", ""),
        ] {
            let text = format!("{before}{token}{behind} {before}{token}{behind}");
            let new = pseudonymiser.text(&text).unwrap();
            assert_eq!(new.len(), text.len(), "{new}");
            assert!(!new.contains(&token), "{new}");
            assert!(new.starts_with(before) && new.ends_with(behind), "{new}");
            let found = parts(&[], &new);
            assert_eq!(found.len(), 2, "{new}");
            for (range, treat) in found {
                assert!(is_pseudonym(treat, new.get(range).unwrap()), "{new}");
            }
        }
    }

    #[test]
    fn what_is_no_token_stays() {
        let long = "a".repeat(TOKEN_LETTERS_MIN);
        let short = "a".repeat(TOKEN_LETTERS_MIN - 1);
        for text in [
            format!("https://x.example/{long}"),
            format!("https://x.example/e/{short}"),
            format!("https://x.example/e/x/{long}"),
            format!("https://x.example/me/{long}"),
            format!("{long} {long} {short}"),
            long,
        ] {
            assert!(find(&text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_token_is_found_wherever_it_stands_and_once() {
        let token = "b".repeat(TOKEN_LETTERS_MIN);
        for front in 0..2 * TOKEN_LETTERS_MIN {
            let text = format!("{}/e/{token} {}", "a".repeat(front), "a".repeat(front));
            let start = front + 3;
            let found: Vec<_> =
                find(&text).into_iter().map(|token| (token.start, token.end)).collect();
            assert_eq!(found, [(start, start + TOKEN_LETTERS_MIN)], "{front}");
        }
        // what is personal as a whole has none besides
        let text = format!("https://a.example/?uid=https://x.example/e/{token}&x=1");
        assert_eq!(parts(&[], &text), [(23..text.len() - 4, Treat::Id)]);
    }
}
