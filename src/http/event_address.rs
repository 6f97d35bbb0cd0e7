//! What the address of an event says: the token in its path, and what the upstream filled in.
//!
//! Owns: which requests are events, [`Told`]. Never: a token's content. Invariant: total over any path
//! and query.

use crate::money::Cpm;
use http::header::ACCEPT;
use http::request::Parts;
use std::borrow::Cow;

/// Where they come.
pub const PATH: &str = "/e/";

/// Digits of a number in the query.
const NUMBER_BYTES_MAX: usize = 20;

/// What the query says; nothing of it is signed, and no price of ours follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `l`: the loss reason.
    pub loss: Option<u32>,
    /// `m`: what would have won upstream, in the currency of our answer.
    pub min_to_win: Option<Cpm>,
    /// `t`: when the imp was fulfilled, in milliseconds since the epoch.
    pub imp_ts: Option<u64>,
}

/// Whether a request is an event, and not one for a partner.
pub fn is_event(parts: &Parts) -> bool {
    let path = parts.uri.path();
    path.starts_with(PATH) || path.trim_start_matches('/').starts_with(PATH.trim_start_matches('/'))
}

/// A path without what others may do to one on its way, and that means the same (RFC 3986, 6.2.2.2):
/// letters, digits, `-`, `_` and `.` that were encoded.
pub fn plain(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return path.into();
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((front, behind)) = rest.split_once('%') {
        plain.push_str(front);
        let code = behind.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        if let Some(byte) = code.filter(is_plain) {
            plain.push(char::from(byte));
            rest = behind.get(2..).unwrap_or_default();
        } else {
            plain.push('%');
            rest = behind;
        }
    }
    plain.push_str(rest);
    plain.into()
}

/// The token in a path, and whether a pixel is asked for. A slash too many is none of it.
pub fn token_of(path: &str) -> (&str, bool) {
    let path = path.trim_start_matches('/').trim_end_matches('/');
    let token = path.strip_prefix(PATH.trim_start_matches('/')).unwrap_or_default();
    token.strip_suffix(".gif").map_or((token, false), |token| (token, true))
}

/// An `<img>` asks for images first; a server asks for anything or says nothing.
pub fn wants_image(parts: &Parts) -> bool {
    let accept = parts.headers.get(ACCEPT).map_or(&b""[..], |value| value.as_bytes());
    accept.trim_ascii_start().get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"image/"))
}

/// What the upstream filled in; what it left (`${AUCTION_LOSS}`) or wrote otherwise is not known.
pub fn told(query: &str) -> Told {
    let mut told = Told::default();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        if value.len() > NUMBER_BYTES_MAX {
            continue;
        }
        match name {
            // 0 is the code of a win; those of exchanges' own begin at 1000
            "l" => told.loss = value.parse::<u16>().ok().filter(|code| *code != 0).map(u32::from),
            "m" => {
                let units = value.parse::<f64>().ok().filter(|units| *units >= 0.0);
                told.min_to_win = units.and_then(Cpm::from_wire);
            }
            "t" => told.imp_ts = value.parse().ok(),
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_upstream_says_is_read_or_not_known() {
        let cents = |units: i64| Some(Cpm::from_micros(units * 10_000));
        for (query, loss, min_to_win, imp_ts) in [
            ("", None, None, None),
            ("l=102&m=1.25&t=1800000000123", Some(102), cents(125), Some(1_800_000_000_123)),
            ("l=${AUCTION_LOSS}&m=${AUCTION_MIN_TO_WIN}", None, None, None),
            ("l=&m=&t=", None, None, None),
            ("l=-1&m=-1&t=-1", None, None, None),
            ("m=NaN&l=1e3&t=1.5", None, None, None),
            ("m=inf&x=1&&=&l", None, None, None),
            ("m=1e99", None, None, None),
            ("l=000000000000000000000000001", None, None, None),
            // a win's, and no code at all
            ("l=0", None, None, None),
            ("l=4294967295", None, None, None),
        ] {
            assert_eq!(told(query), Told { loss, min_to_win, imp_ts }, "{query}");
        }
    }

    #[test]
    fn a_pixel_is_asked_for_by_its_name_or_by_what_is_taken() {
        for (path, accept, expected) in [
            ("/e/abc", "", ("abc", false)),
            ("/e/abc.gif", "", ("abc", true)),
            ("/e/abc", "image/avif,image/webp,*/*;q=0.8", ("abc", true)),
            ("/e/abc", "*/*", ("abc", false)),
            ("/e/", "", ("", false)),
            ("/e/a%2Db%5fc%2Egif", "", ("a-b_c", true)),
            ("//e/%61bc/", "", ("abc", false)),
            ("/e/a%2Fb%", "", ("a%2Fb%", false)),
        ] {
            let request = http::Request::get(path).header(ACCEPT, accept).body(()).unwrap();
            let parts = request.into_parts().0;
            let path = plain(parts.uri.path());
            let (token, is_gif) = token_of(&path);
            assert!(is_event(&parts));
            assert_eq!((token, is_gif || wants_image(&parts)), expected, "{path} {accept}");
        }
    }
}
