//! Which address a request comes from, behind proxies that may be believed.
//!
//! Owns: [`client`]. Never: believing a header from anyone else, nor two headers at once (a proxy
//! that appends to one passes the other on as the client wrote it).
//! Invariant: the answer is the peer, or a hop that a believed proxy vouches for.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::http::ClientHeader;
use crate::partner::Network;
use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use std::net::{IpAddr, SocketAddr};

/// Hops that are walked at most.
const HOPS_MAX: usize = 32;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client of a request that `peer` sent: `peer` itself, or the right-most hop that is not
/// trusted. A hop that cannot be read ends the walk at the one before it.
pub fn client(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
    header: ClientHeader,
) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match header {
        ClientHeader::XForwardedFor => (X_FORWARDED_FOR, address),
        ClientHeader::Forwarded => (FORWARDED, forwarded_for),
    };
    let values = headers.get_all(name).into_iter().rev();
    let hops = values.flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
    for hop in hops.take(HOPS_MAX) {
        match read(hop.trim()) {
            Some(ip) => client = ip.to_canonical(),
            None => return client,
        }
        if !is_trusted(client) {
            return client;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The `for` of one element of `Forwarded`: `for="[2001:db8::1]:80";proto=https`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| address(value.trim_matches('"'))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: [&str; 3] = ["192.0.2.0/24", "2001:db8:ffff::/48", "198.51.100.7"];

    fn run(header: ClientHeader, cases: &[(&str, &[&str], &str)]) {
        let trusted: Vec<_> = TRUSTED.iter().map(|range| Network::parse(range).unwrap()).collect();
        for (peer, values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in *values {
                let name = match header {
                    ClientHeader::XForwardedFor => X_FORWARDED_FOR,
                    ClientHeader::Forwarded => FORWARDED,
                };
                headers.append(name, value.parse().unwrap());
            }
            // What the other header says is never looked at.
            headers.append(
                if header == ClientHeader::Forwarded { X_FORWARDED_FOR } else { FORWARDED },
                "for=203.0.113.66".parse().unwrap(),
            );
            let got = client(peer.parse().unwrap(), &headers, &trusted, header);
            assert_eq!(got, expected.parse::<IpAddr>().unwrap(), "{peer} {values:?}");
        }
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_no_trusted_proxy_owns() {
        let proxy = "192.0.2.1";
        run(
            ClientHeader::XForwardedFor,
            &[
                ("203.0.113.9", &[], "203.0.113.9"),
                ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
                ("203.0.113.9", &["192.0.2.1"], "203.0.113.9"),
                (proxy, &[], proxy),
                (proxy, &["203.0.113.9"], "203.0.113.9"),
                (proxy, &["203.0.113.9:4711"], "203.0.113.9"),
                (proxy, &["  203.0.113.9  "], "203.0.113.9"),
                (proxy, &["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
                (proxy, &["198.51.100.1,203.0.113.9,192.0.2.77"], "203.0.113.9"),
                (proxy, &["203.0.113.9, 192.0.2.7, 198.51.100.7"], "203.0.113.9"),
                (proxy, &["203.0.113.9", "192.0.2.7"], "203.0.113.9"),
                (proxy, &["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
                (proxy, &["192.0.2.9, 192.0.2.8"], "192.0.2.9"),
                (proxy, &["2001:db8::5"], "2001:db8::5"),
                (proxy, &["[2001:db8::5]"], "2001:db8::5"),
                (proxy, &["[2001:db8::5]:443"], "2001:db8::5"),
                (proxy, &["::ffff:203.0.113.9"], "203.0.113.9"),
                (proxy, &["2001:db8::5, 2001:db8:ffff::1"], "2001:db8::5"),
                ("::ffff:192.0.2.1", &["203.0.113.9"], "203.0.113.9"),
                ("2001:db8:ffff::2", &["203.0.113.9"], "203.0.113.9"),
                (proxy, &["unknown"], proxy),
                (proxy, &["203.0.113.9, unknown"], proxy),
                (proxy, &["203.0.113.9, unknown, 192.0.2.5"], "192.0.2.5"),
                (proxy, &["unknown, 203.0.113.9"], "203.0.113.9"),
                (proxy, &[""], proxy),
                (proxy, &["203.0.113.9,"], proxy),
                (proxy, &["203.0.113.999"], proxy),
                (proxy, &["203.0.113.9 198.51.100.1"], proxy),
                (proxy, &["<script>"], proxy),
                (proxy, &["0x7f.1"], proxy),
                (proxy, &["\u{e9}"], proxy),
            ],
        );
        let long = ["192.0.2.2,"; 100].concat();
        run(
            ClientHeader::XForwardedFor,
            &[(proxy, &[&format!("203.0.113.9,{long}192.0.2.3")], "192.0.2.2")],
        );
    }

    #[test]
    fn the_forwarded_header_is_read_as_rfc_7239_writes_it() {
        let proxy = "198.51.100.7";
        run(
            ClientHeader::Forwarded,
            &[
                (proxy, &["for=203.0.113.9"], "203.0.113.9"),
                (proxy, &["For=\"203.0.113.9:80\";proto=https"], "203.0.113.9"),
                (proxy, &["proto=http;for=203.0.113.9;by=192.0.2.1"], "203.0.113.9"),
                (proxy, &["for=\"[2001:db8::5]:4711\""], "2001:db8::5"),
                (proxy, &["for=203.0.113.9, for=192.0.2.60"], "203.0.113.9"),
                (proxy, &["for=_hidden, for=192.0.2.60"], "192.0.2.60"),
                (proxy, &["proto=https"], proxy),
                (proxy, &["203.0.113.9"], proxy),
                ("203.0.113.1", &["for=192.0.2.60"], "203.0.113.1"),
            ],
        );
    }
}
