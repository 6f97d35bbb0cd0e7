//! Enrichment from outside: real file formats, damaged files, requests with their facts.

mod broken;
mod corpus;
mod damage;
mod files;
mod parts;
mod renew;
mod request;

use gavel::enrich::databases::{DatabaseSettings, Databases};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// 2026-01-15 and 2026-07-15, noon UTC.
const WINTER: Duration = Duration::from_secs(1_768_478_400);
const SUMMER: Duration = Duration::from_secs(1_784_116_800);

/// The demo's folder of a kind.
fn demo(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo").join(kind)
}

/// All databases of the demo.
fn settings() -> DatabaseSettings {
    let geo = |name: &str| Some(demo("geo").join(name));
    DatabaseSettings {
        city: geo("demo-city.mmdb"),
        isp: geo("demo-isp.mmdb"),
        connection_type: geo("demo-connection-type.mmdb"),
        anonymous: geo("demo-anonymous-ip.mmdb"),
        device_regexes: Some(demo("device").join("regexes.yaml")),
        device_models: Some(demo("device").join("models.toml")),
        is_verified: true,
        ..DatabaseSettings::default()
    }
}

fn databases() -> Databases {
    Databases::open(&settings()).unwrap()
}
