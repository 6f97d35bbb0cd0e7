//! What a value is that looks like something.
//!
//! Owns: addresses, ids, versions, macros, JSON, each as a whole value. Never: a part of a text.
#![deny(clippy::indexing_slicing)]

use super::Look;
use std::net::{IpAddr, Ipv4Addr};

pub(super) fn is_ip(text: &str) -> bool {
    let is_short = (2..=45).contains(&text.len());
    is_short
        && text.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':'))
        && text.bytes().any(|byte| matches!(byte, b'.' | b':'))
        && text.parse::<IpAddr>().is_ok()
}

pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether a text may be one of these, by its length; one in braces, or in quotes of such, by its first byte.
#[inline]
pub(super) fn may_be_id(text: &str) -> bool {
    matches!(text.len(), 32 | 36 | 40 | 64) || text.starts_with(['{', '[', '%'])
}

/// As long as an MD5, SHA-1 or SHA-256 in hexadecimal.
pub(super) fn is_digest(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Sixteen or more of hexadecimal digits, letters and digits mixed: nobody's word. Twelve or more
/// digits: a telephone, an account.
pub(super) fn is_long_id(value: &str) -> bool {
    if value.len() < 12 || !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    (value.len() >= 16 && digits > 0) || digits == value.len()
}

/// An address of version 4, whose numbers may have zeros before them.
pub(in crate::capture) fn four(text: &str) -> Option<Ipv4Addr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (mut octets, mut count) = ([0; 4], 0_usize);
    for number in text.split('.') {
        let is_number =
            (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        *octets.get_mut(count)? = number.parse().ok().filter(|_| is_number)?;
        count = count.saturating_add(1);
    }
    (count == octets.len()).then(|| Ipv4Addr::from(octets))
}

/// Whether a value says that there is no id: nothing, or zeros only, also in braces.
pub fn is_void(text: &str) -> bool {
    unwrapped(text).bytes().all(|byte| matches!(byte, b'0' | b'-'))
}

/// What a name of a version is made of beside `ver`, `version` or `v`, where it is written in one.
const VERSIONED: [&str; 35] = [
    "adapter",
    "android",
    "api",
    "app",
    "browser",
    "build",
    "bundle",
    "client",
    "config",
    "content",
    "core",
    "creative",
    "device",
    "displaymanager",
    "engine",
    "firmware",
    "framework",
    "fw",
    "hw",
    "ios",
    "kernel",
    "lib",
    "model",
    "omid",
    "omidp",
    "os",
    "package",
    "platform",
    "player",
    "plugin",
    "protocol",
    "r",
    "schema",
    "sdk",
    "ua",
];

/// Names of versions, whose four numbers are no address: `osv`, `appver`, `sdk_version`,
/// `appVersion`; not `driver`, nor `delivery_ip`.
pub(super) fn is_version(name: &str) -> bool {
    let mut has_version = false;
    for word in words(name) {
        if ["ip", "ipv4", "addr", "address", "host"]
            .iter()
            .any(|end| word.eq_ignore_ascii_case(end))
        {
            return false;
        }
        has_version |= is_version_word(&word.to_ascii_lowercase());
    }
    has_version
}

fn is_version_word(word: &str) -> bool {
    let fronts =
        ["versions", "version", "ver", "v"].iter().filter_map(|end| word.strip_suffix(end));
    // of two letters: `av`, `sv`
    fronts.into_iter().any(|front| {
        front.is_empty() || VERSIONED.contains(&front) || front.len() == 1 && word.len() == 2
    })
}

/// Parts of a name: between marks, and where a capital follows a small letter.
fn words(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let bytes = rest.as_bytes();
        let ends = |at: usize| {
            let pair = (bytes.get(at.wrapping_sub(1)), bytes.get(at));
            match pair {
                (Some(before), Some(byte)) => {
                    !byte.is_ascii_alphanumeric()
                        || byte.is_ascii_uppercase() && before.is_ascii_lowercase()
                }
                _ => false,
            }
        };
        let end = (1..bytes.len()).find(|at| ends(*at)).unwrap_or(bytes.len());
        let (word, behind) = (rest.get(..end)?, rest.get(end..)?);
        rest = behind;
        (!word.is_empty()).then_some(word)
    })
}

/// `2`, `2.6`, `2.6-202309`.
pub(super) fn is_openrtb_version(value: &str) -> bool {
    let (version, edition) = value.split_once('-').unwrap_or((value, "202309"));
    let is_number =
        |text: &str| matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
    version.split('.').count() <= 3
        && version.split('.').all(is_number)
        && edition.len() == 6
        && edition.bytes().all(|byte| byte.is_ascii_digit())
}

/// Pairs that stand around a value, plain and encoded.
const AROUND: [(&str, &str); 4] = [("{", "}"), ("[", "]"), ("%7B", "%7D"), ("%5B", "%5D")];

/// Without the braces around it.
pub(in crate::capture) fn unwrapped(text: &str) -> &str {
    if !text.starts_with(['{', '[', '%']) {
        return text;
    }
    inside(text).unwrap_or(text)
}

fn inside(text: &str) -> Option<&str> {
    AROUND.iter().find_map(|(open, close)| {
        let front = text.get(..open.len())?;
        let end = text.len().checked_sub(close.len())?;
        let is_around =
            front.eq_ignore_ascii_case(open) && text.get(end..)?.eq_ignore_ascii_case(close);
        text.get(open.len()..end).filter(|_| is_around)
    })
}

/// Nothing but macros that somebody else was to fill in: `{NAME}`, `[NAME]`, `${NAME}`, `%%NAME%%`, in
/// capitals. Anything else in braces is a value.
pub(super) fn is_macro(value: &str) -> bool {
    let mut rest = value;
    while !rest.is_empty() {
        let Some(behind) = behind_macro(rest) else { return false };
        rest = behind.trim_start_matches(['-', '_', '.', ',', '|', '/']);
    }
    !value.is_empty()
}

fn behind_macro(text: &str) -> Option<&str> {
    let (front, close) = [
        ("${", "}"),
        ("{{", "}}"),
        ("{", "}"),
        ("[[", "]]"),
        ("[", "]"),
        ("%24%7B", "%7D"),
        ("%7B", "%7D"),
        ("%5B", "%5D"),
        ("%%", "%%"),
    ]
    .into_iter()
    .find(|(open, _)| {
        text.get(..open.len()).is_some_and(|front| front.eq_ignore_ascii_case(open))
    })?;
    let inner = text.get(front.len()..)?;
    let length = inner
        .bytes()
        .take_while(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b':' | b'.')
        })
        .count();
    let begins = inner.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase());
    let name = inner.get(..length)?;
    let rest = inner.get(length..)?;
    let is_close = rest.get(..close.len()).is_some_and(|end| end.eq_ignore_ascii_case(close));
    // an id in capitals is an id
    (begins && is_close && !is_long_id(name)).then(|| rest.get(close.len()..))?
}

/// Decimals of a number that may be a latitude or a longitude.
pub(super) fn decimals_of_degrees(written: &str) -> Option<usize> {
    let (_, decimals) = written.split_once('.')?;
    let number: f64 = written.parse().ok()?;
    (number.abs() <= 180.0).then_some(decimals.len())
}

/// A text from where JSON may begin: nobody who reads JSON reads a byte order mark.
pub fn unmarked(text: &str) -> &str {
    text.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}')
}

/// Whether a text is JSON, as far as its beginning says, or was meant as such: what begins so and cannot be
/// read is as likely to have somebody in it as what can.
pub(super) fn json_like(text: &str) -> Look {
    // most begin with a letter
    if text.bytes().next().is_none_or(|byte| byte.is_ascii_alphanumeric()) {
        return Look::Text;
    }
    let text = unmarked(text);
    if !text.starts_with(['{', '[', '"']) {
        return Look::Text;
    }
    // also what is quoted, once or more often
    let skipped = |letter: char| letter.is_whitespace() || matches!(letter, '[' | '"' | '\\');
    let inner = text.trim_start_matches(skipped);
    let before = text.get(..text.len().saturating_sub(inner.len())).unwrap_or_default();
    let is_json = if inner.starts_with('{') {
        !is_placeholder(inner)
    } else {
        let behind = before.split_once('[').map(|(_, behind)| behind);
        behind.is_some_and(|behind| behind.contains('"') || is_element(inner))
    };
    if is_json { Look::Json } else { Look::MaybeJson }
}

/// Whether what stands in braces names no value: `{IDFA}`, `{{ name }}`, `{sponsored}`.
fn is_placeholder(text: &str) -> bool {
    let inner = text.trim_start_matches('{');
    let is_mark =
        |letter: char| matches!(letter, '}' | ':' | ',' | '=' | '"' | '\'' | '{' | '[' | '\\');
    let end = inner.find(is_mark).and_then(|at| inner.get(at..));
    end.is_some_and(|end| end.starts_with('}')) || behind_macro(text).is_some()
}

/// Whether a list may begin so, as those who write JSON by hand write it too; `[1] note` is a text.
fn is_element(text: &str) -> bool {
    let is_number =
        text.strip_prefix('-').unwrap_or(text).starts_with(|c: char| c.is_ascii_digit());
    let rest = if is_number {
        let of_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        text.trim_start_matches(of_number)
    } else {
        let word = ["true", "false", "null"].iter().find_map(|word| text.strip_prefix(word));
        word.unwrap_or(text)
    };
    let rest = rest.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ']');
    let goes_on = rest.starts_with(',') || rest.is_empty() && !text.is_empty();
    goes_on || text.starts_with('\'') || text.starts_with("/*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_as_json_is_told_from_texts_in_brackets() {
        for text in [
            r#"{"user":{"id":"u-1"}}"#,
            r#"[1,{"user":{"id":"u-1""#,
            r#"[{user:{id:"u-1"}}]"#,
            r#"[ 1, "u-1", {"uid":"u-1"}, ]"#,
            r#"[-1.5e3 , {"uid":"u-1"}"#,
            r#"[[1], {"uid":"u-1"}"#,
            r#"[[], {"uid":"u-1"}"#,
            r#"[null,{"uid":"u-1""#,
            r#"{user:{id:"u-1",email:'jo'}}"#,
            "{uid:u-1}",
            "{ uid",
            "{'user':{'id':'u-1'}}",
            "['u-1']",
            r#"{/*c*/"uid":"u-1"}"#,
            r#"[/*c*/"u-1"]"#,
            r#"{1:2,"uid":"u-1"}"#,
            "{u-1, u-2}",
            r#"{{"uid":"u-1"}}"#,
            "\u{feff}{\"uid\":\"u-1\"}",
            " \u{feff} [{\"uid\":\"u-1\"}]",
            r#""{\"uid\":\"u-1\"""#,
            r#""[\"u-1\", {"#,
        ] {
            assert_eq!(json_like(text), Look::Json, "{text}");
        }
        for text in [
            "[Ad] {x}",
            "[1] note",
            "[1] [2] notes",
            "[12:30] news",
            "[1X1_PIXEL]",
            "[",
            "\"a\" b",
            "{sponsored} text",
            "{IDFA}",
            "{NAME:B64}x",
            "{{ name }}",
            "{{NAME}} text",
            "[MACRO]",
            "[[CONTENT]]",
            "{6d92078a-8246-4ba4-ae5b-76104861e7dc}",
        ] {
            assert_eq!(json_like(text), Look::MaybeJson, "{text}");
        }
        for text in ["", "text", "7", "%%MACRO%%", "${MACRO}", "<a>", "(note)"] {
            assert_eq!(json_like(text), Look::Text, "{text}");
        }
    }
}
