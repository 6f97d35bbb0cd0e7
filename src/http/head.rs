//! Decides by a request's head alone whether its body is worth reading.
//!
//! Owns: framing and addressing that hyper lets pass, the route, the media type, the declared
//! length, who it is. Never: a byte of the body, a status code.
//! Invariant: a partner is authorised under the snapshot that its request keeps.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::arrival::BrowserSignals;
use crate::coding::Coding;
use crate::http::auth::authenticate;
use crate::http::client_addr::client;
use crate::http::{Ambiguity, Denial, HttpSettings};
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::PartnerId;
use crate::snapshot::Snapshot;
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    DNT, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{Method, Version};
use std::net::IpAddr;

const OPENRTB_VERSION: HeaderName = HeaderName::from_static("x-openrtb-version");
const REPLAY: HeaderName = HeaderName::from_static("x-gavel-replay");
const GPC: HeaderName = HeaderName::from_static("sec-gpc");
const KEY: HeaderName = HeaderName::from_static("x-gavel-key");

/// A well-formed head of a bid request; whose it is has not been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    partner: &'a str,
    key: Option<&'a [u8]>,
}

/// What the head says of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub coding: Coding,
    /// `Content-Length`, where it is there.
    pub declared: Option<usize>,
}

/// Reads for whom it is. What can be read in two ways is denied before anything else is looked at.
pub fn read<'a>(parts: &'a Parts, settings: &HttpSettings) -> Result<Head<'a>, Denial> {
    framing(parts, settings)?;
    let path_and_query = parts.uri.path_and_query().map_or("", |path| path.as_str());
    if path_and_query.len() > settings.uri_bytes_max {
        return Err(Denial::UriTooLong);
    }
    let (partner, key_in_path) = route(parts.uri.path()).ok_or(Denial::NoRoute)?;
    if parts.method != Method::POST {
        return Err(Denial::Method);
    }
    Ok(Head { partner, key: key_of(&parts.headers).or(key_in_path) })
}

/// Whether the body is one that we read. `is_page`: a web page sends it that may.
pub fn content(parts: &Parts, settings: &HttpSettings, is_page: bool) -> Result<Content, Refusal> {
    check_content_type(&parts.headers, is_page)?;
    check_version(&parts.headers)?;
    let codings =
        parts.headers.get_all(CONTENT_ENCODING).into_iter().map(http::HeaderValue::as_bytes);
    let coding = Coding::parse(codings).map_err(super::super::coding::CodingError::refusal)?;
    let is_said_in_query = is_page && coding == Coding::Identity && says_gzip(parts.uri.query());
    let coding = if is_said_in_query { Coding::Gzip } else { coding };
    let declared = declared(&parts.headers)?;
    if declared.is_some_and(|length| length > settings.wire_bytes_max) {
        return Err(Refusal::BodyTooLarge);
    }
    Ok(Content { coding, declared })
}

/// The origin of the web page that sends it, where the partner that the path names takes calls from
/// it. A browser says the origin; nobody else has to, and nothing but what the browser lets its
/// page see depends on it.
pub fn page_of<'a>(parts: &'a Parts, snapshot: &Snapshot) -> Option<&'a HeaderValue> {
    let origin = parts.headers.get(ORIGIN)?;
    let (partner, _) = route(parts.uri.path())?;
    let partner = snapshot.partner(snapshot.door(partner)?.id)?;
    partner.origins.has(origin.as_bytes()).then_some(origin)
}

/// How Prebid.js says that it has packed a body (`endpointCompression`): the header would cost it a
/// preflight.
pub const GZIP_QUERY: &str = "gzip=1";

fn says_gzip(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|part| part == GZIP_QUERY))
}

/// Whether a browser asks whether a page may send what it wants to (Fetch, "CORS-preflight").
pub fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What no request may have, whatever it wants.
pub fn framing(parts: &Parts, settings: &HttpSettings) -> Result<(), Denial> {
    check_host(parts).map_err(Denial::Ambiguous)?;
    check_transfer_encoding(&parts.headers).map_err(Denial::Ambiguous)?;
    if parts.headers.len() > settings.headers_max {
        return Err(Denial::TooManyHeaders);
    }
    Ok(())
}

/// Whether it says that it is played again, as `gavel-replay` does.
pub fn is_replay(parts: &Parts) -> bool {
    parts.headers.contains_key(REPLAY)
}

/// What the browser says that sends it.
pub fn browser(parts: &Parts) -> BrowserSignals {
    let says = |name: &HeaderName| {
        let mut values = parts.headers.get_all(name).into_iter();
        values.any(|value| is_opt_out(name.as_str(), value.as_bytes()))
    };
    BrowserSignals { is_gpc: says(&GPC), is_do_not_track: says(&DNT) }
}

/// Whether a header of a browser says that its user does not want to be followed. `Sec-GPC` knows 1 alone
/// (Global Privacy Control, 3.2); behind the 1 of `DNT` more may stand (Tracking Preference Expression, 5.2).
pub fn is_opt_out(name: &str, value: &[u8]) -> bool {
    let value = value.trim_ascii();
    match name {
        "sec-gpc" => value == b"1",
        "dnt" => value.first() == Some(&b'1'),
        _ => false,
    }
}

/// Who sends it; asked under the snapshot that the request keeps.
pub fn identify(
    head: &Head<'_>,
    snapshot: &Snapshot,
    client: IpAddr,
) -> Result<PartnerId, Refusal> {
    authenticate(snapshot, head.partner, head.key, client)
}

/// The client's address.
pub fn client_of(parts: &Parts, peer: IpAddr, settings: &HttpSettings) -> IpAddr {
    client(peer, &parts.headers, &settings.trusted_proxies, settings.client_header)
}

/// HTTP/1.1 wants exactly one `Host`, and a valid one (RFC 9112, 3.2); a target in absolute form,
/// or the authority of HTTP/2, may not name another.
fn check_host(parts: &Parts) -> Result<(), Ambiguity> {
    let mut hosts = parts.headers.get_all(HOST).into_iter();
    let (host, second) = (hosts.next(), hosts.next());
    let is_missing = host.is_none() && parts.version == Version::HTTP_11;
    let is_foreign = match (parts.uri.authority(), host) {
        (Some(target), Some(host)) => {
            !target.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes())
        }
        _ => false,
    };
    let target = || parts.uri.authority().is_none_or(|target| is_host(target.as_str()));
    let is_valid = host.map_or_else(target, |host| host.to_str().is_ok_and(is_host));
    if is_missing || is_foreign || !is_valid || second.is_some() {
        return Err(Ambiguity::Host);
    }
    Ok(())
}

/// `uri-host [ ":" port ]` (RFC 9110, 7.2), and so nobody's name and password. Empty is a host that
/// is not said, in one way. A name is held to its characters (RFC 3986, 3.2.2), and so is what
/// stands in brackets.
fn is_host(value: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (value, ""),
    };
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match literal {
        Some(inside) => {
            !inside.is_empty() && inside.bytes().all(|byte| is_name(byte) || byte == b':')
        }
        None => host.bytes().all(is_name),
    };
    is_host && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// hyper takes `gzip, chunked` and repeated headers; both hide a body from the next reader.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Ambiguity> {
    let mut values = headers.get_all(TRANSFER_ENCODING).into_iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Ambiguity::TransferEncoding),
    }
}

/// `/openrtb2/{partner}` or `/openrtb2/{partner}/{key}`.
fn route(path: &str) -> Option<(&str, Option<&[u8]>)> {
    let rest = path.strip_prefix("/openrtb2/")?;
    let (partner, key) = match rest.split_once('/') {
        Some((partner, key)) => (partner, Some(key)),
        None => (rest, None),
    };
    let is_good =
        !partner.is_empty() && key.is_none_or(|key| !key.is_empty() && !key.contains('/'));
    is_good.then_some((partner, key.map(str::as_bytes)))
}

/// JSON, with any parameters. Absent is taken for JSON: partners forget it, and the body is
/// checked anyway. From a page also plain text, which is how a browser sends JSON without asking
/// first.
fn check_content_type(headers: &HeaderMap, is_page: bool) -> Result<(), Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let is = |name: &[u8]| kind.trim_ascii().eq_ignore_ascii_case(name);
    if is(b"application/json") || (is_page && is(b"text/plain")) {
        Ok(())
    } else {
        Err(Refusal::ContentType)
    }
}

/// The version that the body is written in (2.6, 2.1 "Transport"): of 2.x we read all; absent is
/// taken for one of them.
fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(value) = headers.get(OPENRTB_VERSION) else { return Ok(()) };
    match value.as_bytes().trim_ascii() {
        b"2" => Ok(()),
        // 2.6, or with its edition: 2.6-202309
        [b'2', b'.', minor @ ..]
            if minor.first().is_some_and(u8::is_ascii_digit)
                && minor
                    .iter()
                    .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-')) =>
        {
            Ok(())
        }
        _ => Err(Refusal::OpenRtbVersion),
    }
}

/// hyper has checked that it is one number; one that does not fit is too large.
fn declared(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or(Refusal::BodyTooLarge)
}

/// `X-Gavel-Key`, or a bearer token.
fn key_of(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get(KEY) {
        return Some(key.as_bytes());
    }
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::bank::Bank;
    use crate::limits::rate::LeaseSettings;
    use crate::partner::{Origins, Partner};
    use crate::snapshot;
    use crate::telemetry::hub::{Hub, TelemetrySettings};
    use http::Request;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::post(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn outcome(target: &str, headers: &[(&str, &str)]) -> Result<(), Denial> {
        let mut all = vec![("host", "gavel.example")];
        all.extend(headers);
        read(&parts(target, &all), &HttpSettings::default()).map(|_| ())
    }

    #[test]
    fn routes_are_the_partner_and_perhaps_its_key() {
        for (path, expected) in [
            ("/openrtb2/acme", Some(("acme", None))),
            ("/openrtb2/acme/secret", Some(("acme", Some(&b"secret"[..])))),
            ("/openrtb2/acme/", None),
            ("/openrtb2/acme/secret/more", None),
            ("/openrtb2/", None),
            ("/openrtb2", None),
            ("/openrtb2//secret", None),
            ("/OPENRTB2/acme", None),
            ("//openrtb2/acme", None),
            ("/", None),
            ("/metrics", None),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_denied() {
        let host = Err(Denial::Ambiguous(Ambiguity::Host));
        let coding = Err(Denial::Ambiguous(Ambiguity::TransferEncoding));
        for (target, headers, expected) in [
            ("/openrtb2/a", &[][..], Ok(())),
            ("/openrtb2/a", &[("host", "gavel.example")], host),
            ("/openrtb2/a", &[("host", "other.example")], host),
            ("http://gavel.example/openrtb2/a", &[], Ok(())),
            ("http://GAVEL.example/openrtb2/a", &[], Ok(())),
            ("http://evil.example/openrtb2/a", &[], host),
            ("http://gavel.example:81/openrtb2/a", &[], host),
            ("http://me@gavel.example/openrtb2/a", &[], host),
            ("/openrtb2/a", &[("transfer-encoding", "chunked")], Ok(())),
            ("/openrtb2/a", &[("transfer-encoding", "Chunked")], Ok(())),
            ("/openrtb2/a", &[("transfer-encoding", "gzip, chunked")], coding),
            ("/openrtb2/a", &[("transfer-encoding", "chunked, chunked")], coding),
            ("/openrtb2/a", &[("transfer-encoding", "identity")], coding),
            (
                "/openrtb2/a",
                &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                coding,
            ),
        ] {
            assert_eq!(outcome(target, headers), expected, "{target} {headers:?}");
        }
        let hostless = parts("/openrtb2/a", &[]);
        let denied = read(&hostless, &HttpSettings::default()).unwrap_err();
        assert_eq!(denied, Denial::Ambiguous(Ambiguity::Host));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for (host, is_good) in [
            ("gavel.example", true),
            ("gavel.example:8080", true),
            ("gavel.example:", true),
            ("192.0.2.1:80", true),
            ("[2001:db8::1]", true),
            ("[2001:db8::1]:8080", true),
            ("", true),
            ("a b", false),
            ("a,b", true),
            ("me@gavel.example", false),
            ("gavel.example/x", false),
            ("gavel.example?x", false),
            ("gavel.example#x", false),
            ("gavel.example:80:80", false),
            ("gavel.example:http", false),
            ("2001:db8::1", false),
            ("[2001:db8::1", false),
            ("2001:db8::1]", false),
            ("[]", false),
            ("[2001:db8::1]x", false),
            ("\"gavel.example\"", false),
            ("gav\tel", false),
        ] {
            let parts = parts("/openrtb2/a", &[("host", host)]);
            let read = read(&parts, &HttpSettings::default());
            assert_eq!(read.is_ok(), is_good, "{host:?}");
        }
    }

    #[test]
    fn a_browser_says_what_its_user_wants_with_a_1() {
        for (name, value, is_gpc, is_do_not_track) in [
            ("sec-gpc", "1", true, false),
            ("sec-gpc", " 1 ", true, false),
            ("sec-gpc", "0", false, false),
            ("sec-gpc", "10", false, false),
            ("sec-gpc", "", false, false),
            ("dnt", "1", false, true),
            ("dnt", "1xyz", false, true),
            ("dnt", "0", false, false),
            ("dnt", "", false, false),
            ("x", "1", false, false),
        ] {
            let said = browser(&parts("/openrtb2/a", &[(name, value)]));
            assert_eq!(said, BrowserSignals { is_gpc, is_do_not_track }, "{name}: {value}");
        }
        let twice = parts("/openrtb2/a", &[("sec-gpc", "0"), ("sec-gpc", "1"), ("dnt", "1")]);
        assert_eq!(browser(&twice), BrowserSignals { is_gpc: true, is_do_not_track: true });
    }

    #[test]
    fn types_codings_lengths_and_counts_are_checked() {
        for (name, value, expected) in [
            ("content-type", "application/json", Ok(())),
            ("content-type", "application/JSON; charset=utf-8", Ok(())),
            ("content-type", "text/plain", Err(Refusal::ContentType)),
            ("content-type", "application/jsonp", Err(Refusal::ContentType)),
            ("x-openrtb-version", "2.6-202309", Ok(())),
            ("x-openrtb-version", "2", Ok(())),
            ("x-openrtb-version", "2.junk", Err(Refusal::OpenRtbVersion)),
            ("x-openrtb-version", "2.6x", Err(Refusal::OpenRtbVersion)),
            ("x-openrtb-version", "2.", Err(Refusal::OpenRtbVersion)),
            ("x-openrtb-version", "3.0", Err(Refusal::OpenRtbVersion)),
            ("x-openrtb-version", "20.1", Err(Refusal::OpenRtbVersion)),
            ("content-encoding", "gzip", Ok(())),
            ("content-encoding", "br", Err(Refusal::ContentEncoding)),
            ("content-encoding", "gzip, gzip", Err(Refusal::ContentEncoding)),
            ("content-length", "262144", Ok(())),
            ("content-length", "262145", Err(Refusal::BodyTooLarge)),
            ("content-length", "99999999999999999999999", Err(Refusal::BodyTooLarge)),
        ] {
            let headers = [("host", "gavel.example"), (name, value)];
            let read = content(&parts("/openrtb2/a", &headers), &HttpSettings::default(), false);
            assert_eq!(read.map(|_| ()), expected, "{name}: {value}");
            assert_eq!(outcome("/openrtb2/a", &[(name, value)]), Ok(()), "whose it is comes first");
        }
        let long = format!("/openrtb2/a?{}", "x".repeat(9000));
        assert_eq!(outcome(&long, &[]), Err(Denial::UriTooLong));
        assert_eq!(outcome("/openrtb2/a", &[("x", "y"); 64]), Err(Denial::TooManyHeaders));
        assert_eq!(outcome("/openrtb2/a", &[("x", "y"); 63]), Ok(()));
    }

    #[test]
    fn plain_text_is_json_where_a_page_sends_it() {
        for (kind, is_page, is_taken) in [
            ("text/plain", true, true),
            ("Text/Plain;charset=UTF-8", true, true),
            ("text/plain", false, false),
            ("text/html", true, false),
            ("application/json", true, true),
        ] {
            let parts = parts("/openrtb2/a", &[("host", "gavel.example"), ("content-type", kind)]);
            let read = content(&parts, &HttpSettings::default(), is_page);
            assert_eq!(read.is_ok(), is_taken, "{kind} {is_page}");
        }
    }

    #[test]
    fn a_page_may_say_in_the_query_that_its_body_is_packed() {
        for (query, header, is_page, coding) in [
            ("?gzip=1", "identity", true, Coding::Gzip),
            ("?a=b&gzip=1", "identity", true, Coding::Gzip),
            ("?gzip=1", "zstd", true, Coding::Zstd),
            ("?gzip=1", "identity", false, Coding::Identity),
            ("?gzip=10&xgzip=1", "identity", true, Coding::Identity),
            ("", "identity", true, Coding::Identity),
        ] {
            let headers = [("host", "gavel.example"), ("content-encoding", header)];
            let parts = parts(&format!("/openrtb2/a{query}"), &headers);
            let read = content(&parts, &HttpSettings::default(), is_page).unwrap();
            assert_eq!(read.coding, coding, "{query} {header} {is_page}");
        }
    }

    #[test]
    fn only_the_pages_of_a_partner_are_its_pages() {
        let mut acme = Partner::new("acme");
        acme.origins = Origins::new(["https://a.example".to_owned()]);
        let contents = snapshot::Parts::plain(vec![acme, Partner::new("server")], Vec::new());
        let mut bank = Bank::new(1, LeaseSettings::default());
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let snapshot = Snapshot::new(1, contents, &mut bank, &hub, crate::clock::monotonic());
        for (target, origin, is_page) in [
            ("/openrtb2/acme", "https://a.example", true),
            ("/openrtb2/acme/key", "https://a.example", true),
            ("/openrtb2/acme", "https://b.example", false),
            ("/openrtb2/acme", "null", false),
            ("/openrtb2/server", "https://a.example", false),
            ("/openrtb2/nobody", "https://a.example", false),
            ("/sellers.json", "https://a.example", false),
        ] {
            let head = parts(target, &[("origin", origin)]);
            assert_eq!(page_of(&head, &snapshot).is_some(), is_page, "{target} {origin}");
        }
        let server = parts("/openrtb2/acme", &[]);
        assert_eq!(page_of(&server, &snapshot), None);
    }

    #[test]
    fn the_key_is_taken_from_its_header_then_bearer_then_path() {
        for (target, headers, key) in [
            ("/openrtb2/a", &[][..], None),
            ("/openrtb2/a/p", &[], Some("p")),
            ("/openrtb2/a/p", &[("authorization", "Bearer b")], Some("b")),
            ("/openrtb2/a/p", &[("authorization", "bearer b"), ("x-gavel-key", "k")], Some("k")),
            ("/openrtb2/a", &[("authorization", "Basic b")], None),
            ("/openrtb2/a", &[("authorization", "Bearer")], None),
        ] {
            let parts = parts(target, &[headers, &[("host", "gavel.example")]].concat());
            let head = read(&parts, &HttpSettings::default()).unwrap();
            assert_eq!(head.key, key.map(str::as_bytes), "{target} {headers:?}");
        }
    }
}
