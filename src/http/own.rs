//! Whether a request to the admin listener comes from its own page or from a tool on this machine.
//!
//! Owns: [`check`], which no foreign page in an operator's browser gets past. Never: who is
//! authorised (that is the token's).
//!
//! Three ways are shut. A name that a stranger's DNS points at this machine (rebinding): without a
//! token the `Host` must be this machine's. A page of another site that sends a form or a script's
//! request: browsers say where from, in `Origin` and `Sec-Fetch-Site`, and neither may be foreign.
//! A browser that says neither cannot set the header that each write needs without asking first,
//! which is never answered.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use http::HeaderMap;
use http::header::{HOST, HeaderName, ORIGIN};
use std::net::IpAddr;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why it is taken for a stranger's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Several hosts, or one that is not this machine where there is no token.
    Host,
    /// A script or form of another site.
    Origin,
}

impl Foreign {
    /// For `x-gavel-reason`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Host => "foreign_host",
            Self::Origin => "foreign_origin",
        }
    }
}

/// Lets pass what this machine's tools and the console itself send. `has_token`: whoever may come
/// is told by a token, which a page on another name does not have.
pub fn check(headers: &HeaderMap, has_token: bool) -> Result<(), Foreign> {
    let mut hosts = headers.get_all(HOST).into_iter();
    let (host, second) = (hosts.next(), hosts.next());
    let host = host.map(|value| value.to_str().map_err(|_| Foreign::Host)).transpose()?;
    // HTTP/1.0 may leave it out; browsers do not
    let is_ours = host.is_none_or(|host| has_token || is_this_machine(host));
    if second.is_some() || !is_ours {
        return Err(Foreign::Host);
    }
    let is_same = |origin: &http::HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        let after = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        after.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
    };
    let is_foreign_origin = !headers.get_all(ORIGIN).into_iter().all(is_same);
    let comes_from = |site: &http::HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    if is_foreign_origin || !headers.get_all(FETCH_SITE).into_iter().all(comes_from) {
        return Err(Foreign::Origin);
    }
    Ok(())
}

/// `localhost` or a loopback address, with or without a port.
fn is_this_machine(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address, port),
            None => return false,
        },
        None => match host.find(':') {
            Some(colon) => host.split_at(colon),
            None => (host, ""),
        },
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok());
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    is_port && (name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        };
        let mut all = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            all.append(name, value);
        }
        all
    }

    #[test]
    fn without_a_token_only_this_machines_own_names_are_hosts() {
        for (host, is_ours) in [
            ("localhost", true),
            ("LOCALHOST:9091", true),
            ("127.0.0.1:9091", true),
            ("127.8.8.8", true),
            ("[::1]:9091", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("", false),
            ("evil.example", false),
            ("evil.example:9091", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:9091", false),
            ("localhost:9091.evil.example", false),
            ("localhost:", false),
            ("localhost:99999", false),
            ("user@localhost", false),
            ("[::1", false),
            ("[localhost.evil.example]", false),
            ("192.0.2.1:9091", false),
            ("0.0.0.0:9091", false),
            ("2130706433", false),
        ] {
            let got = check(&headers(&[("host", host)]), false);
            assert_eq!(got, if is_ours { Ok(()) } else { Err(Foreign::Host) }, "{host}");
            assert_eq!(check(&headers(&[("host", host)]), true), Ok(()), "{host} with a token");
        }
        assert_eq!(check(&headers(&[]), false), Ok(()), "HTTP/1.0");
        let two = headers(&[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(check(&two, true), Err(Foreign::Host));
    }

    #[test]
    fn what_another_site_has_a_browser_send_is_foreign() {
        let foreign = Err(Foreign::Origin);
        for (name, value, expected) in [
            ("origin", "http://localhost:9091", Ok(())),
            ("origin", "https://LOCALHOST:9091", Ok(())),
            ("origin", "http://localhost", foreign),
            ("origin", "http://localhost:9092", foreign),
            ("origin", "http://evil.example", foreign),
            ("origin", "null", foreign),
            ("origin", "file://", foreign),
            ("origin", "", foreign),
            ("sec-fetch-site", "same-origin", Ok(())),
            ("sec-fetch-site", "none", Ok(())),
            ("sec-fetch-site", "same-site", foreign),
            ("sec-fetch-site", "cross-site", foreign),
            ("sec-fetch-site", "", foreign),
        ] {
            for has_token in [false, true] {
                let got = check(&headers(&[("host", "localhost:9091"), (name, value)]), has_token);
                assert_eq!(got, expected, "{name}: {value}");
            }
        }
        assert_eq!(check(&headers(&[("origin", "http://localhost")]), false), foreign);
    }
}
