//! The databases of the demo and of the tests: small, invented, the project's own.
//!
//! Owns: which network lies where. Networks are those that the standards keep free for
//! documentation and benchmarks, so no real address is described. Invariant: all four databases
//! tell one story of a network, and the same story every time.

use super::places::Place;
use super::value::Value;
use super::writer::{Description, Writer, WriterError};
use crate::random::Random;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Decides every draw; a change of it is a change of the committed files.
const SEED: u64 = 0x6761_7665_6c01;

/// Moment of the build that the files claim: 2026-11-01, so that they are the same every time.
const BUILD_EPOCH: u64 = 1_793_491_200;

/// One network and what is told of it.
struct Told {
    address: IpAddr,
    prefix: u8,
    place: Place,
    line: Line,
    anonymiser: Option<Anonymiser>,
}

/// How a network's users are connected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Fixed,
    Cellular,
    Corporate,
    Satellite,
}

/// What a network hides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Anonymiser {
    Hosting,
    Vpn,
    Proxy,
    Tor,
}

/// What a database tells of a network, if anything.
type Teller = fn(&Told) -> Option<Value>;

/// Each file's name and bytes.
pub fn databases() -> Result<Vec<(&'static str, Vec<u8>)>, WriterError> {
    let story: Vec<Told> = networks().into_iter().enumerate().map(tell).collect();
    let kinds: [(&str, &str, Teller); 4] = [
        ("demo-city.mmdb", "gavel-Demo-City", |told| Some(city(told))),
        ("demo-isp.mmdb", "gavel-Demo-ISP", |told| Some(isp(told))),
        ("demo-connection-type.mmdb", "gavel-Demo-Connection-Type", |told| {
            Some(connection_type(told))
        }),
        ("demo-anonymous-ip.mmdb", "gavel-Demo-Anonymous-IP", anonymous),
    ];
    kinds
        .into_iter()
        .map(|(name, database_type, value)| {
            let mut writer = Writer::new(Description {
                database_type: database_type.to_owned(),
                description: "invented facts about documentation networks".to_owned(),
                build_epoch: BUILD_EPOCH,
                record_bits: 24,
            });
            for told in &story {
                if let Some(value) = value(told) {
                    writer.insert(told.address, told.prefix, &value)?;
                }
            }
            Ok((name, writer.finish()?))
        })
        .collect()
}

/// 198.18.0.0/15 by /24, the documentation networks by /28, 2001:db8::/32 by /40.
fn networks() -> Vec<(IpAddr, u8)> {
    let v4 = |base: u32, step: u32, count: u32, prefix: u8| {
        (0..count).map(move |nth| (IpAddr::V4(Ipv4Addr::from(base + nth * step)), prefix))
    };
    let benchmark = v4(u32::from(Ipv4Addr::new(198, 18, 0, 0)), 1 << 8, 512, 24);
    let documentation = [[192, 0, 2, 0], [198, 51, 100, 0], [203, 0, 113, 0]];
    let documentation =
        documentation.into_iter().flat_map(|base| v4(u32::from(Ipv4Addr::from(base)), 16, 16, 28));
    let base = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));
    let wide = (0..256_u128).map(|nth| (IpAddr::V6(Ipv6Addr::from(base + (nth << 88))), 40));
    benchmark.chain(documentation).chain(wide).collect()
}

/// The story of one network.
fn tell((nth, (address, prefix)): (usize, (IpAddr, u8))) -> Told {
    let mut random = Random::for_item(SEED, nth as u64);
    let weights: Vec<f64> = Place::all().map(|place| place.weight).collect();
    let place = Place::at(random.weighted(&weights));
    let anonymiser = match random.weighted(&[0.94, 0.035, 0.015, 0.006, 0.004]) {
        1 => Some(Anonymiser::Hosting),
        2 => Some(Anonymiser::Vpn),
        3 => Some(Anonymiser::Proxy),
        4 => Some(Anonymiser::Tor),
        _ => None,
    };
    let lines = [Line::Fixed, Line::Cellular, Line::Corporate, Line::Satellite];
    let line = match anonymiser {
        Some(Anonymiser::Hosting) => Line::Corporate,
        _ => lines[random.weighted(&[0.56, 0.36, 0.06, 0.02])],
    };
    Told { address, prefix, place, line, anonymiser }
}

fn city(told: &Told) -> Value {
    let place = &told.place;
    let names = |name: &str| ("names", Value::Map(vec![("en", Value::text(name))]));
    let mut members = vec![];
    // a mobile carrier's gateway tells the country, seldom the town
    let is_local = told.line != Line::Satellite;
    if is_local {
        members.push(("city", Value::Map(vec![names(place.city)])));
    }
    let country = vec![("iso_code", Value::text(place.country)), names(place.country_name)];
    members.push(("country", Value::Map(country)));
    let radius = match told.line {
        Line::Fixed | Line::Corporate => 10,
        Line::Cellular => 50,
        Line::Satellite => 1000,
    };
    let mut location = vec![
        ("accuracy_radius", Value::U16(radius)),
        ("latitude", Value::Double(place.lat)),
        ("longitude", Value::Double(place.lon)),
    ];
    if place.metro > 0 && is_local {
        location.push(("metro_code", Value::U16(place.metro)));
    }
    location.push(("time_zone", Value::text(place.time_zone)));
    members.push(("location", Value::Map(location)));
    if is_local && !place.zip.is_empty() {
        members.push(("postal", Value::Map(vec![("code", Value::text(place.zip))])));
    }
    if is_local && !place.region.is_empty() {
        let region = vec![("iso_code", Value::text(place.region)), names(place.region_name)];
        members.push(("subdivisions", Value::Array(vec![Value::Map(region)])));
    }
    Value::Map(members)
}

/// Providers are invented; their numbers are those kept for documentation (RFC 5398).
fn isp(told: &Told) -> Value {
    let (name, asn) = match (told.anonymiser, told.line) {
        (Some(Anonymiser::Hosting), _) => ("Example Hosting", 64_496),
        (Some(_), _) => ("Example Tunnel", 64_497),
        (None, Line::Fixed) => ("Example Broadband", 64_498),
        (None, Line::Cellular) => ("Example Mobile", 64_499),
        (None, Line::Corporate) => ("Example Works", 64_500),
        (None, Line::Satellite) => ("Example Orbit", 64_501),
    };
    let name = format!("{name} {}", told.place.country);
    Value::Map(vec![
        ("autonomous_system_number", Value::U32(asn)),
        ("autonomous_system_organization", Value::text(&name)),
        ("isp", Value::text(&name)),
        ("organization", Value::text(&name)),
    ])
}

fn connection_type(told: &Told) -> Value {
    let name = match told.line {
        Line::Fixed => "Cable/DSL",
        Line::Cellular => "Cellular",
        Line::Corporate => "Corporate",
        Line::Satellite => "Satellite",
    };
    Value::Map(vec![("connection_type", Value::text(name))])
}

fn anonymous(told: &Told) -> Option<Value> {
    let flag = match told.anonymiser? {
        Anonymiser::Hosting => "is_hosting_provider",
        Anonymiser::Vpn => "is_anonymous_vpn",
        Anonymiser::Proxy => "is_public_proxy",
        Anonymiser::Tor => "is_tor_exit_node",
    };
    Some(Value::Map(vec![("is_anonymous", Value::Bool(true)), (flag, Value::Bool(true))]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use maxminddb::{Reader, geoip2};
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "BLESS=1 rewrites what a test compares with")]
    fn the_committed_files_are_what_is_generated() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/demo/geo");
        for (name, bytes) in databases().unwrap() {
            if std::env::var("BLESS").is_ok() {
                std::fs::write(folder.join(name), &bytes).unwrap();
            }
            let committed = std::fs::read(folder.join(name)).unwrap();
            assert!(committed == bytes, "{name} differs: BLESS=1 rewrites it");
            assert!(bytes.len() < 64 * 1024, "{name}: {} bytes", bytes.len());
            Reader::from_source(bytes).unwrap().verify().unwrap();
        }
    }

    #[test]
    fn every_network_is_found_with_its_story() {
        let files = databases().unwrap();
        let open = |nth: usize| Reader::from_source(files[nth].1.as_slice()).unwrap();
        let (city, anonymous) = (open(0), open(3));
        let mut countries = BTreeSet::new();
        let mut hidden = 0;
        for (nth, network) in networks().into_iter().enumerate() {
            let told = tell((nth, network));
            let found: geoip2::City = city.lookup(network.0).unwrap().decode().unwrap().unwrap();
            assert_eq!(found.country.iso_code, Some(told.place.country));
            assert_eq!(found.location.time_zone, Some(told.place.time_zone));
            countries.insert(told.place.country);
            let is_hidden = anonymous.lookup(network.0).unwrap().has_data();
            assert_eq!(is_hidden, told.anonymiser.is_some());
            hidden += usize::from(is_hidden);
        }
        assert!(countries.len() >= 25, "{countries:?}");
        assert!((20..100).contains(&hidden), "{hidden}");
        assert!(!city.lookup("192.0.3.1".parse().unwrap()).unwrap().has_data());
    }
}
