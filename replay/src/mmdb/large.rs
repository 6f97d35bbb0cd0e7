//! A City database as large as a real one, for measurements where there is no real one.
//!
//! Owns: its shape. A real one of 66 MB (late 2026) has 6.1 million nodes and 23 MB of data; so has
//! this. Networks and towns are invented. Invariant: the same seed gives the same bytes.

use super::places::Place;
use super::value::Value;
use super::writer::{Description, Writer, WriterError};
use crate::random::Random;
use std::net::{IpAddr, Ipv4Addr};

/// Nodes of the tree of a whole one.
pub const NODES: usize = 5_600_000;

/// Distinct records: towns with a place on the map.
const TOWNS: usize = 240_000;

/// First and last address that gets a network: all of unicast IPv4.
const FIRST: u32 = 0x0100_0000;
const LAST: u32 = 0xdfff_ffff;

/// Chances of each prefix length from /18 on; the mean size fills the space at about [`NODES`].
const LENGTHS: [f64; 11] = [1.0, 1.5, 3.0, 5.0, 9.0, 14.0, 26.0, 16.0, 11.0, 8.0, 5.5];

/// Its bytes; it ends at `nodes_max` nodes, or with the last address ([`NODES`] is where both meet).
pub fn city(seed: u64, nodes_max: usize) -> Result<Vec<u8>, WriterError> {
    let mut writer = Writer::new(Description {
        database_type: "gavel-Synthetic-City".to_owned(),
        description: "invented towns, as many as in a real one".to_owned(),
        build_epoch: 1_793_491_200,
        record_bits: 28,
    });
    let mut random = Random::seeded(seed);
    let places: Vec<Place> = Place::all().collect();
    let weights: Vec<f64> = places.iter().map(|place| place.weight).collect();
    let mut towns = vec![None; TOWNS];
    let mut next = FIRST;
    while next < LAST && writer.nodes() < nodes_max {
        let prefix = 18 + u32::try_from(random.weighted(&LENGTHS)).unwrap_or(0);
        // a network starts at a multiple of its size
        let prefix = prefix.max(32 - next.trailing_zeros().min(32));
        let town = random.index(TOWNS);
        let stored = if let Some(stored) = towns[town] {
            stored
        } else {
            let mut of_town = Random::for_item(seed, town as u64);
            let place = &places[of_town.weighted(&weights)];
            writer.store(&record(place, town, &mut of_town))?
        };
        towns[town] = Some(stored);
        let depth = u8::try_from(prefix).unwrap_or(32);
        writer.insert_stored(IpAddr::V4(Ipv4Addr::from(next)), depth, stored)?;
        next = next.saturating_add(1 << (32 - prefix));
    }
    writer.finish()
}

/// The record of a town: near its place, with names of its own.
fn record(place: &Place, town: usize, random: &mut Random) -> Value {
    let names = |name: &str| ("names", Value::Map(vec![("en", Value::text(name))]));
    let near = |degrees: f64, shift: f64| Value::Double(((degrees + shift) * 1e4).round() / 1e4);
    let region = vec![("iso_code", Value::text(place.region)), names(place.region_name)];
    let mut location = vec![
        ("accuracy_radius", Value::U16([5, 10, 20, 50, 100][random.index(5)])),
        ("latitude", near(place.lat, random.unit() - 0.5)),
        ("longitude", near(place.lon, random.unit() - 0.5)),
    ];
    if place.metro > 0 {
        location.push(("metro_code", Value::U16(place.metro)));
    }
    location.push(("time_zone", Value::text(place.time_zone)));
    Value::Map(vec![
        ("city", Value::Map(vec![names(&format!("{} Town {town}", place.city))])),
        (
            "country",
            Value::Map(vec![("iso_code", Value::text(place.country)), names(place.country_name)]),
        ),
        ("location", Value::Map(location)),
        ("postal", Value::Map(vec![("code", Value::Text(format!("{:05}", random.below(99_999))))])),
        ("subdivisions", Value::Array(vec![Value::Map(region)])),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use maxminddb::{Reader, geoip2};

    #[test]
    fn a_part_of_it_is_valid_and_the_same_every_time() {
        let bytes = city(60, 20_000).unwrap();
        assert!(bytes == city(60, 20_000).unwrap());
        assert!(bytes != city(61, 20_000).unwrap());
        let reader = Reader::from_source(bytes).unwrap();
        reader.verify().unwrap();
        let found = reader.lookup(IpAddr::V4(Ipv4Addr::from(FIRST))).unwrap();
        let record: geoip2::City = found.decode().unwrap().unwrap();
        assert!(record.city.names.english.unwrap().contains(" Town "));
        assert!(record.location.time_zone.is_some());
    }
}
