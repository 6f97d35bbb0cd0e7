//! Damaged address databases: an error or an answer, never a panic.

use super::{WINTER, demo};
use gavel::enrich::bulk::Bulk;
use gavel::enrich::databases::{DatabaseSettings, Databases};
use gavel::enrich::geo::{Content, GeoDatabases};
use maxminddb::Reader;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Asks for addresses all over; gives how many were known.
fn ask(bytes: Vec<u8>) -> Option<usize> {
    let mut bulk = Bulk::with_room(bytes.len()).ok()?;
    bulk.read_all(std::io::Cursor::new(bytes)).ok()?;
    let reader = Reader::from_source(Content::from(bulk)).ok()?;
    let geo = GeoDatabases { city: Some(Arc::new(reader)), ..GeoDatabases::default() };
    let v4 = (0..512_u32).map(|nth| IpAddr::V4(Ipv4Addr::from(0xc612_0000 + (nth << 8))));
    let spread = (0..64_u32).map(|nth| IpAddr::V4(Ipv4Addr::from(nth << 26 | 1)));
    let base = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));
    let v6 = (0..64_u128).map(|nth| IpAddr::V6(Ipv6Addr::from(base + (nth << 90))));
    let known = v4.chain(spread).chain(v6).filter(|address| {
        let found = geo.find(*address);
        let decoded = found.decode(WINTER);
        found.key.is_some() && decoded.country.is_some()
    });
    Some(known.count())
}

fn intact() -> Vec<u8> {
    std::fs::read(demo("geo").join("demo-city.mmdb")).unwrap()
}

#[test]
fn every_truncation_is_an_error_or_an_answer() {
    let intact = intact();
    assert_eq!(ask(intact.clone()), Some(512 + 64));
    for cut in (0..intact.len()).step_by(97).chain(intact.len() - 300..intact.len()) {
        ask(intact[..cut].to_vec());
    }
    for cut in (1..intact.len()).step_by(997) {
        ask(intact[cut..].to_vec());
    }
}

#[test]
fn a_zeroed_tree_is_caught_by_verification() {
    // zeros in the data section are empty maps, which no structure can tell from real ones
    let mut middle = intact();
    let at = middle.len() / 2;
    middle[at - 2000..at + 2000].fill(0);
    ask(middle);
    let mut zeroed = intact();
    zeroed[1200..2400].fill(0);
    ask(zeroed.clone());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.mmdb");
    std::fs::write(&path, zeroed).unwrap();
    let settings =
        DatabaseSettings { city: Some(path), is_verified: true, ..DatabaseSettings::default() };
    assert!(Databases::open(&settings).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn flipped_bytes_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
    ) {
        let mut bytes = intact();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
        }
        ask(bytes);
    }

    #[test]
    fn flipped_metadata_never_panics(
        flips in prop::collection::vec((0..220_usize, any::<u8>()), 1..4),
    ) {
        let mut bytes = intact();
        let end = bytes.len();
        for (back, byte) in flips {
            bytes[end - 1 - back] = byte;
        }
        ask(bytes);
    }
}
