//! Addresses that nobody outside may make us call.
//!
//! Owns: [`is_global`], the ranges behind it, [`own`]. Never: a name, a connection. Invariant: an
//! IPv6 address that carries an IPv4 one is judged by both, so that no range can be reached by
//! another spelling of it.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 ranges that are not of the Internet at large (IANA special-purpose registry, RFC 6890).
const DENIED_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // metadata of clouds among them
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Where global unicast is at all: outside of it lie `::`, `::1`, `100::/64`, `5f00::/16`,
/// `fc00::/7`, `fe80::/10`, `fec0::/10`, `ff00::/8`, `64:ff9b:1::/48` and whatever comes.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// ... and what of it is for protocols and documents.
const DENIED_V6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address is one of the Internet at large.
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => match unwrapped(v6) {
            Some((v4, is_own_kind)) => is_global_v4(v4) && (is_own_kind || is_global_v6(v6)),
            None => is_global_v6(v6),
        },
    }
}

/// The IPv4 address within an address: itself, or what an IPv6 one carries.
pub fn v4_within(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(_) => Some(address),
        IpAddr::V6(v6) => unwrapped(v6).map(|(v4, _)| IpAddr::V4(v4)),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !DENIED_V4.iter().any(|(net, prefix)| {
        let low = 32_u32.saturating_sub(u32::from(*prefix));
        u32::from(*net).checked_shr(low) == u32::from(address).checked_shr(low)
    })
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let is_in = |(net, prefix): (Ipv6Addr, u8)| {
        let low = 128_u32.saturating_sub(u32::from(prefix));
        u128::from(net).checked_shr(low) == u128::from(address).checked_shr(low)
    };
    is_in(GLOBAL_V6) && !DENIED_V6.into_iter().any(is_in)
}

/// What an IPv6 address carries, and whether that alone says where it leads.
fn unwrapped(address: Ipv6Addr) -> Option<(Ipv4Addr, bool)> {
    let joined = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // mapped, compatible (`::` and `::1` too: both are in 0/8), NAT64
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some((joined(high, low), true))
        }
        // 6to4
        [0x2002, high, low, ..] => Some((joined(high, low), false)),
        _ => None,
    }
}

/// The addresses of this machine's interfaces, as they are now; empty where it does not tell.
pub fn own() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    addresses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn both_ends_of_each_denied_range_are_denied_and_their_neighbours_are_not() {
        for (first, last, below, above) in [
            ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
            ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
            ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
            ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
            ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
            ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
            ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
            ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0")),
            ("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0")),
            ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
            ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
            ("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0")),
            ("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0")),
            ("224.0.0.0", "255.255.255.255", Some("223.255.255.255"), None),
        ] {
            for denied in [first, last] {
                assert!(!is_global(ip(denied)), "{denied}");
                for wrapped in [format!("::ffff:{denied}"), format!("::{denied}")] {
                    assert!(!is_global(ip(&wrapped)), "{wrapped}");
                }
                assert!(!is_global(ip(&format!("64:ff9b::{denied}"))), "NAT64 of {denied}");
            }
            for good in [below, above].into_iter().flatten() {
                assert!(is_global(ip(good)), "{good}");
                assert!(is_global(ip(&format!("::ffff:{good}"))), "{good}");
                assert!(is_global(ip(&format!("64:ff9b::{good}"))), "{good}");
            }
        }
    }

    #[test]
    fn six_is_denied_outside_global_unicast_and_where_it_carries_what_is_denied() {
        for denied in [
            "::",
            "::1",
            "100::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "64:ff9b:1::1",
            "64:ff9b:1:a00::1",
            "::ffff:0:127.0.0.1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(!is_global(ip(denied)), "{denied}");
        }
        for good in ["2000::1", "2001:200::1", "2002:909:909::1", "2620:fe::fe", "3ffe:ffff::1"] {
            assert!(is_global(ip(good)), "{good}");
        }
    }

    #[test]
    fn this_machine_knows_its_loopback() {
        assert!(own().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
