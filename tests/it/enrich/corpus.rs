//! MaxMind's own test databases against the source they were made from.

use super::{SUMMER, WINTER};
use gavel::enrich::databases::{DatabaseSettings, Databases};
use gavel::enrich::geo::is_public;
use gavel::facts::Geo;
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the test databases are, if they are.
#[expect(clippy::disallowed_methods, reason = "a test finds the corpus by its environment")]
#[expect(clippy::print_stdout, reason = "a test that skips says so")]
fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let named = std::env::var("GAVEL_CORPUS").map(PathBuf::from);
    let places = [Some(beside), named.ok()].into_iter().flatten();
    let found = places.map(|path| path.join("mmdb")).find(|path| path.is_dir());
    if found.is_none() {
        println!("SKIPPED: no corpus beside the project, and GAVEL_CORPUS names none");
    }
    found
}

/// A source file: the first address of each network, with the narrowest record that holds it.
fn expected(folder: &Path, name: &str) -> Vec<(IpAddr, Value)> {
    let text = std::fs::read_to_string(folder.join(format!("{name}.source.json"))).unwrap();
    let source: Vec<serde_json::Map<String, Value>> = serde_json::from_str(&text).unwrap();
    let networks: Vec<(u128, u32, Value)> = source
        .into_iter()
        .flatten()
        .map(|(network, record)| {
            let (start, prefix) = network.split_once('/').unwrap();
            let prefix: u32 = prefix.parse().unwrap();
            // IPv4 is ::/96
            match start.parse().unwrap() {
                IpAddr::V4(v4) => (u128::from(u32::from(v4)), prefix + 96, record),
                IpAddr::V6(v6) => (u128::from(v6), prefix, record),
            }
        })
        .collect();
    let holder = |address: u128| {
        let holds = |net: &&(u128, u32, Value)| (net.0 ^ address).leading_zeros() >= net.1;
        networks.iter().filter(holds).max_by_key(|net| net.1).unwrap().2.clone()
    };
    let address = |bits: u128| match u32::try_from(bits) {
        Ok(v4) => IpAddr::V4(v4.into()),
        Err(_) => IpAddr::V6(bits.into()),
    };
    networks.iter().map(|net| (address(net.0), holder(net.0))).collect()
}

fn open(settings: &DatabaseSettings) -> Databases {
    Databases::open(&DatabaseSettings { is_verified: true, ..settings.clone() }).unwrap()
}

fn decode(databases: &Databases, address: IpAddr, wall: Duration) -> Geo {
    databases.geo.find(address).decode(wall)
}

#[test]
fn cities_are_read_as_their_source_says() {
    let Some(folder) = folder() else { return };
    let city = Some(folder.join("GeoIP2-City-Test.mmdb"));
    let databases = open(&DatabaseSettings { city, ..DatabaseSettings::default() });
    let mut compared = 0;
    for (address, record) in expected(&folder, "GeoIP2-City-Test") {
        let geo = decode(&databases, address, SUMMER);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let first = &record["subdivisions"][0];
        assert_eq!(geo.city, text(&record["city"]["names"]["en"]), "{address}");
        assert_eq!(geo.region, text(&first["iso_code"]), "{address}");
        assert_eq!(geo.zip, text(&record["postal"]["code"]), "{address}");
        let location = &record["location"];
        let lat_lon = location["latitude"].as_f64().zip(location["longitude"].as_f64());
        assert_eq!(geo.lat_lon, lat_lon, "{address}");
        let radius = location["accuracy_radius"].as_u64();
        assert_eq!(geo.accuracy_km.map(u64::from), radius, "{address}");
        let metro = location["metro_code"].as_u64().map(|code| code.to_string());
        assert_eq!(geo.metro, metro, "{address}");
        assert_eq!(geo.utcoffset_min.is_some(), location["time_zone"].is_string(), "{address}");
        let code = record["country"]["iso_code"].as_str().filter(|code| *code != "XK");
        assert_eq!(geo.country.is_some(), code.is_some(), "{address}");
        let members: Vec<&str> =
            geo.rendered.iter().chain(&geo.rendered_position).map(|(_, text)| &**text).collect();
        serde_json::from_str::<Value>(&format!("{{{}}}", members.join(","))).unwrap();
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn providers_and_anonymisers_are_read_as_their_source_says() {
    let Some(folder) = folder() else { return };
    let databases = open(&DatabaseSettings {
        isp: Some(folder.join("GeoIP2-ISP-Test.mmdb")),
        anonymous: Some(folder.join("GeoIP2-Anonymous-IP-Test.mmdb")),
        ..DatabaseSettings::default()
    });
    for (address, record) in expected(&folder, "GeoIP2-ISP-Test") {
        let geo = decode(&databases, address, WINTER);
        let name = record.get("isp").or(record.get("autonomous_system_organization"));
        assert_eq!(geo.isp.as_deref(), name.and_then(Value::as_str), "{address}");
        let asn = record["autonomous_system_number"].as_u64();
        assert_eq!(geo.asn.map(u64::from), asn, "{address}");
    }
    for (address, record) in expected(&folder, "GeoIP2-Anonymous-IP-Test") {
        let geo = decode(&databases, address, WINTER);
        let flag = |name: &str| record[name].as_bool().unwrap_or(false);
        assert_eq!(geo.is_hosting, flag("is_hosting_provider"), "{address}");
        let hidden = ["is_anonymous_vpn", "is_public_proxy", "is_residential_proxy"];
        let is_hidden = hidden.iter().any(|name| flag(name)) || flag("is_tor_exit_node");
        let is_anonymous = is_hidden || (flag("is_anonymous") && !flag("is_hosting_provider"));
        assert_eq!(geo.is_anonymous, is_anonymous, "{address}");
    }
}

#[test]
fn countries_agree_and_the_more_special_database_wins() {
    let Some(folder) = folder() else { return };
    let country = Some(folder.join("GeoIP2-Country-Test.mmdb"));
    let alone = open(&DatabaseSettings { country: country.clone(), ..DatabaseSettings::default() });
    let mut known = 0;
    for (address, record) in expected(&folder, "GeoIP2-Country-Test") {
        let geo = decode(&alone, address, WINTER);
        let code = record["country"]["iso_code"].as_str().filter(|code| *code != "XK");
        assert_eq!(geo.country.is_some(), code.is_some(), "{address}");
        assert!(geo.city.is_none() && geo.rendered_position.is_empty());
        known += usize::from(geo.country.is_some());
    }
    assert!(known > 100, "{known}");
    let all = open(&DatabaseSettings {
        city: Some(folder.join("GeoIP2-City-Test.mmdb")),
        country,
        isp: Some(folder.join("GeoIP2-ISP-Test.mmdb")),
        asn: Some(folder.join("GeoLite2-ASN-Test.mmdb")),
        connection_type: Some(folder.join("GeoIP2-Connection-Type-Test.mmdb")),
        anonymous: Some(folder.join("GeoIP2-Anonymous-IP-Test.mmdb")),
        ..DatabaseSettings::default()
    });
    let geo = decode(&all, "81.2.69.160".parse().unwrap(), WINTER);
    assert_eq!(geo.country.unwrap().as_str(), "GBR");
    assert_eq!(geo.city.as_deref(), Some("London"));
    // ISP names the provider, ASN only where it does not
    let by_isp = decode(&all, "1.128.0.0".parse().unwrap(), WINTER);
    assert_eq!(by_isp.isp.as_deref(), Some("Telstra Internet"));
    assert_eq!(by_isp.asn, Some(1221));
    for address in expected(&folder, "GeoIP2-City-Test").into_iter().map(|(address, _)| address) {
        // whatever the address, looking at it is safe
        let _ = (is_public(address), decode(&all, address, SUMMER));
    }
}
