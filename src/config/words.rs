//! The words that configuration values are made of.
//!
//! Owns: each text's way into its type. Never: which key wants which word.

use crate::bidder::Endpoint;
use crate::domain::Host;
use crate::money::margin::TakeRate;
use crate::money::{Cpm, Currency};
use crate::openrtb::ids::{Channel, Country, Media};
use crate::partner::Network;

/// Longest name of a partner or bidder: it is a metric label and a path segment.
const NAME_MAX: usize = 64;

/// A name: 1 to 64 of `a-z`, `0-9`, `-`, `_`, `.`.
pub fn name(text: &str) -> Option<String> {
    let fits = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
    };
    ((1..=NAME_MAX).contains(&text.len()) && text.bytes().all(fits)).then(|| text.to_owned())
}

/// Any text but the empty one, in lower case.
pub fn lower(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_lowercase())
}

/// A domain, or what names one, as the DNS has it and in lower case.
pub fn domain(text: &str) -> Option<String> {
    lower(Host::of(text.as_bytes()).text())
}

/// Any text but the empty one.
pub fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// `blake3:` and 64 hexadecimal digits.
pub fn hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("blake3:")?;
    blake3::Hash::from_hex(digits).ok().map(Into::into)
}

/// An address or a range.
pub fn network(text: &str) -> Option<Network> {
    Network::parse(text)
}

/// `site`, `app` or `dooh`.
pub fn channel(text: &str) -> Option<Channel> {
    Channel::ALL.into_iter().find(|one| *one != Channel::Unknown && one.label() == text)
}

/// `banner`, `video`, `audio` or `native`.
pub fn media(text: &str) -> Option<Media> {
    Media::ALL.into_iter().find(|one| one.label() == text)
}

/// An ISO 4217 code.
pub fn currency(text: &str) -> Option<Currency> {
    Currency::parse(text)
}

/// An ISO 3166-1 alpha-3 code.
pub fn country(text: &str) -> Option<Country> {
    Country::parse(text)
}

/// `USA/CA`: a country and the region in it.
pub fn region(text: &str) -> Option<(Country, String)> {
    let (country, region) = text.split_once('/')?;
    (!region.is_empty()).then_some(())?;
    Some((Country::parse(country)?, region.to_ascii_uppercase()))
}

/// `300x250`.
pub fn size(text: &str) -> Option<(u32, u32)> {
    let (w, h) = text.split_once('x')?;
    let (w, h): (u32, u32) = (w.parse().ok()?, h.parse().ok()?);
    (w > 0 && h > 0).then_some((w, h))
}

/// A price per thousand that is not below zero.
pub fn price(units: f64) -> Option<Cpm> {
    Cpm::from_wire(units).filter(|price| *price >= Cpm::ZERO)
}

/// Our part of a price: a percentage, such as 12.5.
pub fn percent(percent: f64) -> Option<TakeRate> {
    TakeRate::from_percent(percent)
}

/// `http://host[:port]/path` or `https://...`, without user, password and fragment.
pub fn endpoint(text: &str) -> Option<Endpoint> {
    let url = url::Url::parse(text).ok()?;
    let is_tls = match url.scheme() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return None;
    }
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Some(Endpoint { is_tls, host, port: url.port_or_known_default()?, path })
}

/// `Name: value` of an extra request header; those that the client writes itself are refused.
pub fn header(text: &str) -> Option<(String, String)> {
    const OWN: [&str; 12] = [
        "accept-encoding",
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "upgrade",
        "te",
        "traceparent",
        "x-openrtb-version",
        "expect",
    ];
    let (name, value) = text.split_once(':')?;
    let name: http::HeaderName = name.trim().parse().ok()?;
    let value: http::HeaderValue = value.trim().parse().ok()?;
    if OWN.contains(&name.as_str()) {
        return None;
    }
    Some((name.to_string(), value.to_str().ok()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_keep_scheme_host_port_and_path() {
        for (text, wanted) in [
            ("http://bidder.example/bid", Some((false, "bidder.example", 80, "/bid"))),
            ("https://bidder.example:8443", Some((true, "bidder.example", 8443, "/"))),
            ("http://[2001:db8::1]:81/a?b=c", Some((false, "2001:db8::1", 81, "/a?b=c"))),
            ("ftp://bidder.example/", None),
            ("https://user@bidder.example/", None),
            ("https://bidder.example/#x", None),
            ("bidder.example", None),
        ] {
            let read = endpoint(text);
            let read = read.as_ref().map(|e| (e.is_tls, e.host.as_str(), e.port, e.path.as_str()));
            assert_eq!(read, wanted, "{text}");
        }
    }

    #[test]
    fn words_that_do_not_fit_are_refused() {
        for bad in ["", "A", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(name(bad), None, "{bad}");
        }
        for bad in ["300", "0x250", "300x", "x"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        for bad in ["X: a\r\nb: c", "Host: x", "no colon", "a b: c", "Content-Length: 1"] {
            assert_eq!(header(bad), None, "{bad}");
        }
        assert_eq!(header("X-Seat: 7"), Some(("x-seat".to_owned(), "7".to_owned())));
        assert_eq!(hash("blake3:12"), None);
        assert_eq!(region("USA/ca"), Some((Country(*b"USA"), "CA".to_owned())));
        assert_eq!(price(-1.0), None);
    }
}
