//! What is written is read back by maxminddb.

use super::value::Value;
use super::writer::{Description, Writer, WriterError};
use maxminddb::Reader;
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Debug, Deserialize, PartialEq)]
struct Back {
    id: u32,
    flag: bool,
    share: f64,
    names: BTreeMap<String, String>,
    list: Vec<u16>,
}

fn description(record_bits: u16) -> Description {
    Description {
        database_type: "Test".to_owned(),
        description: "a test".to_owned(),
        build_epoch: 1_750_000_000,
        record_bits,
    }
}

fn value(id: u32) -> Value {
    Value::Map(vec![
        ("id", Value::U32(id)),
        ("flag", Value::Bool(id % 2 == 1)),
        ("share", Value::Double(f64::from(id) / 8.0)),
        ("names", Value::Map(vec![("en", Value::Text(format!("name {}", id % 3)))])),
        ("list", Value::Array(vec![Value::U16(7), Value::U16(300)])),
    ])
}

fn back(id: u32) -> Back {
    Back {
        id,
        flag: id % 2 == 1,
        share: f64::from(id) / 8.0,
        names: BTreeMap::from([("en".to_owned(), format!("name {}", id % 3))]),
        list: vec![7, 300],
    }
}

/// A network of a family, its rest cleared.
fn network(is_v4: bool, bits: u128, prefix: u8) -> (IpAddr, u8) {
    if is_v4 {
        let prefix = 1 + prefix % 32;
        let mask = u32::MAX << (32 - prefix);
        let bits = u32::try_from(bits >> 96).unwrap() & mask;
        (IpAddr::V4(Ipv4Addr::from(bits)), prefix)
    } else {
        let prefix = 1 + prefix % 128;
        // outside ::/96, where IPv4 lives
        let bits = (bits | 1 << 127) & (u128::MAX << (128 - prefix));
        (IpAddr::V6(Ipv6Addr::from(bits)), prefix)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_inserted_network_is_found(
        seeds in prop::collection::vec((any::<bool>(), any::<u128>(), any::<u8>()), 1..40),
        record_bits in prop::sample::select(vec![24_u16, 28, 32]),
    ) {
        let mut networks: BTreeMap<(u8, IpAddr), u32> = BTreeMap::new();
        for (id, (is_v4, bits, prefix)) in (0..).zip(seeds) {
            let (address, prefix) = network(is_v4, bits, prefix);
            networks.insert((prefix, address), id);
        }
        let mut writer = Writer::new(description(record_bits));
        for ((prefix, address), id) in &networks {
            writer.insert(*address, *prefix, &value(*id)).unwrap();
        }
        let bytes = writer.finish().unwrap();
        prop_assert_eq!(&bytes, &writer.finish().unwrap());
        let reader = Reader::from_source(bytes).unwrap();
        reader.verify().unwrap();
        for (_, address) in networks.keys() {
            // the narrowest network that starts there and holds it
            let holds = |(prefix, start): &&(u8, IpAddr)| match (start, address) {
                (IpAddr::V4(start), IpAddr::V4(ip)) => {
                    (u32::from(*start) ^ u32::from(*ip)).leading_zeros() >= u32::from(*prefix)
                }
                (IpAddr::V6(start), IpAddr::V6(ip)) => {
                    (u128::from(*start) ^ u128::from(*ip)).leading_zeros() >= u32::from(*prefix)
                }
                _ => false,
            };
            let narrowest = networks.keys().filter(holds).max_by_key(|(prefix, _)| *prefix).unwrap();
            let found: Back = reader.lookup(*address).unwrap().decode().unwrap().unwrap();
            prop_assert_eq!(found, back(networks[narrowest]));
        }
    }
}

#[test]
fn what_is_no_network_is_refused() {
    let mut writer = Writer::new(description(24));
    let v4 = |text: &str| text.parse::<IpAddr>().unwrap();
    for (address, prefix) in [("192.0.2.1", 24), ("192.0.2.0", 33), ("2001:db8::", 129), ("::", 0)]
    {
        let refused = writer.insert(v4(address), prefix, &value(1));
        assert_eq!(refused, Err(WriterError::Network(v4(address), prefix)));
    }
    writer.insert(v4("192.0.2.128"), 25, &value(1)).unwrap();
    let wide = writer.insert(v4("192.0.2.0"), 24, &value(2));
    assert_eq!(wide, Err(WriterError::Order(v4("192.0.2.0"), 24)));
    assert_eq!(Writer::new(description(25)).finish(), Err(WriterError::RecordBits(25)));
}

#[test]
fn an_empty_database_is_valid_and_knows_nothing() {
    let bytes = Writer::new(description(28)).finish().unwrap();
    let reader = Reader::from_source(bytes).unwrap();
    reader.verify().unwrap();
    assert!(!reader.lookup("192.0.2.1".parse().unwrap()).unwrap().has_data());
}
