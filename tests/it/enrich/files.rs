//! Opening databases: what is taken, what is refused, what is told.

use super::{WINTER, databases, demo, settings};
use gavel::enrich::databases::{DatabaseError, DatabaseSettings, Databases};
use gavel::enrich::lookup_ip;

#[test]
fn what_is_open_can_be_told() {
    let open = databases();
    let roles: Vec<_> = open.describe().iter().map(|info| info.role).collect();
    let all = ["city", "isp", "connection_type", "anonymous", "device_models", "device_regexes"];
    assert_eq!(roles, all);
    let city = &open.describe()[0];
    assert_eq!(city.kind, "gavel-Demo-City");
    assert!(city.entries > 500 && city.bytes > 1000 && city.sha256.len() == 64, "{city:?}");
    assert!(city.build_epoch.is_some());
    let answer = lookup_ip(&open, "198.18.7.7".parse().unwrap(), WINTER);
    assert!(answer["geo"]["country"].is_string(), "{answer}");
    let private = lookup_ip(&open, "10.0.0.1".parse().unwrap(), WINTER);
    assert!(private["geo"].is_null() && private["is_public"] == false, "{private}");
}

#[test]
fn a_compressed_database_is_the_same_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.mmdb.zst");
    let plain = std::fs::read(demo("geo").join("demo-city.mmdb")).unwrap();
    std::fs::write(&path, zstd::encode_all(plain.as_slice(), 3).unwrap()).unwrap();
    let only = |city| DatabaseSettings { city: Some(city), ..DatabaseSettings::default() };
    let compressed = Databases::open(&only(path.clone())).unwrap();
    let plain = Databases::open(&only(demo("geo").join("demo-city.mmdb"))).unwrap();
    for address in ["198.18.7.7", "192.0.2.99", "2001:db8:1200::1"] {
        let address = address.parse().unwrap();
        let seen = lookup_ip(&compressed, address, WINTER);
        assert_eq!(seen, lookup_ip(&plain, address, WINTER));
        assert!(seen["geo"]["country"].is_string());
    }
    let capped = DatabaseSettings { address_bytes_max: 10_000, ..only(path) };
    let faults = Databases::open(&capped).unwrap_err();
    assert!(matches!(faults[..], [DatabaseError::TooLarge { .. }]), "{faults:?}");
}

#[test]
fn equal_files_have_one_identity() {
    let (one, two) = (databases(), databases());
    assert_eq!(one.geo_identity(), two.geo_identity());
    let fewer = DatabaseSettings { isp: None, ..settings() };
    let fewer = Databases::open(&fewer).unwrap();
    assert_ne!(one.geo_identity(), fewer.geo_identity());
    assert_eq!(one.device_identity(), fewer.device_identity());
}

#[test]
fn every_fault_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let wrong = DatabaseSettings {
        city: Some(folder.path().join("absent.mmdb")),
        country: Some(demo("geo").join("demo-city.mmdb")),
        isp: write("isp.mmdb", "no database"),
        asn: write("asn.mmdb.zst", "no zstd"),
        device_regexes: write("regexes.yaml", "user_agent_parsers: [{regex: '('}]"),
        device_models: write("models.toml", "[[made]]"),
        ..DatabaseSettings::default()
    };
    let faults = Databases::open(&wrong).unwrap_err();
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(
        matches!(
            faults[..],
            [
                DatabaseError::Read { .. },
                DatabaseError::Type { .. },
                DatabaseError::Format { .. },
                DatabaseError::Compression { .. },
                DatabaseError::Models { .. },
                DatabaseError::Regexes { .. },
            ]
        ),
        "{told:#?}"
    );
    assert!(told[1].contains("`gavel-Demo-City`, not `Country`"), "{}", told[1]);
}

#[test]
fn regexes_that_are_none_are_refused_without_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("regexes.yaml");
    let lists = "user_agent_parsers: []\nos_parsers: []\ndevice_parsers:\n";
    for text in [
        "",
        "- a\n- b",
        "user_agent_parsers: 7",
        &format!("{lists}  - regex: '(unclosed'\n    device_replacement: x"),
        &format!("{lists}  - regex: 'a{{1000000}}'\n    device_replacement: x"),
        &"[".repeat(100_000),
        "a: &a [*a, *a]",
        "\u{0}\u{1}\u{2}",
    ] {
        std::fs::write(&path, text).unwrap();
        let settings =
            DatabaseSettings { device_regexes: Some(path.clone()), ..DatabaseSettings::default() };
        let faults = Databases::open(&settings).unwrap_err();
        assert!(matches!(faults[..], [DatabaseError::Regexes { .. }]), "{faults:?}");
    }
}
