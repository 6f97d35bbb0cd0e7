//! What enrichment costs: a look-up, facts from the cache, facts anew, a user agent anew.
//!
//! `GAVEL_BENCH_CITY` names a City database (see `gavel-replay mmdb --city-60mb`); without it the
//! demo's small one is measured, and the names of the figures say so.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench that panics has failed")]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gavel::arrival::Body;
use gavel::enrich::databases::{DatabaseSettings, Databases};
use gavel::enrich::device::Agent;
use gavel::enrich::{EnrichScratch, EnrichSettings, facts};
use gavel::request::{DeviceFields, Text, ValidRequest, View};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// 2026-07-15.
const WALL: Duration = Duration::from_secs(1_784_116_800);

/// Requests that are walked round and round.
const REQUESTS: u32 = 20_000;

#[expect(clippy::disallowed_methods, reason = "a bench is told by its environment what to measure")]
fn city() -> (&'static str, PathBuf) {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo/geo/demo-city.mmdb");
    std::env::var("GAVEL_BENCH_CITY").map_or(("demo", demo), |path| ("large", PathBuf::from(path)))
}

fn databases(city: PathBuf) -> Databases {
    let device = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo/device");
    let settings = DatabaseSettings {
        city: Some(city),
        device_regexes: Some(device.join("regexes.yaml")),
        device_models: Some(device.join("models.toml")),
        ..DatabaseSettings::default()
    };
    Databases::open(&settings).unwrap()
}

/// Addresses that a database knows, spread by a multiply.
fn addresses(databases: &Databases, count: u32) -> Vec<IpAddr> {
    let known = |address: &IpAddr| databases.geo.find(*address).key.is_some();
    let spread = (0_u32..).map(|nth| nth.wrapping_mul(0x9e37_79b9));
    let large = spread.clone().map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
    if large.clone().take(1000).any(|address| known(&address)) {
        return large.filter(known).take(count as usize).collect();
    }
    spread.map(|bits| IpAddr::V4((0xc612_0000 | bits >> 15).into())).take(count as usize).collect()
}

fn ua(nth: u32) -> String {
    format!(
        "Mozilla/5.0 (Linux; Android {}; SM-G9{:02}B) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/{}.0.0.0 Mobile Safari/537.36",
        8 + nth % 7,
        nth % 90,
        80 + nth % 50
    )
}

fn request(ip: IpAddr, ua: &str) -> ValidRequest {
    let len = u32::try_from(ua.len()).unwrap();
    let device = DeviceFields { ip: Some(ip), ua: Text { at: 0, len }, ..DeviceFields::default() };
    let bytes = Bytes::copy_from_slice(ua.as_bytes());
    ValidRequest::new(Body(bytes), ua.into(), Box::new(View { device, ..View::default() }))
}

fn enrich(c: &mut Criterion) {
    let (name, path) = city();
    let databases = databases(path);
    let addresses = addresses(&databases, REQUESTS);
    let distinct: Vec<ValidRequest> =
        (0..).zip(&addresses).map(|(nth, ip)| request(*ip, &ua(nth))).collect();
    // so few that both caches and the processor's hold them
    let few: Vec<ValidRequest> =
        (0..64).zip(&addresses).map(|(nth, ip)| request(*ip, &ua(nth))).collect();
    let mut group = c.benchmark_group("enrich");
    let mut next = 0;
    let mut turn = |len: usize| {
        next = (next + 1) % len;
        next
    };
    group.bench_function(BenchmarkId::new("lookup", name), |b| {
        b.iter(|| black_box(databases.geo.find(addresses[turn(addresses.len())]).key));
    });
    group.bench_function(BenchmarkId::new("decode_and_render", name), |b| {
        b.iter(|| databases.geo.find(addresses[turn(addresses.len())]).decode(WALL));
    });
    let sizes = [("hit_few", &few, 64_u32), ("hit_20000", &distinct, REQUESTS)];
    for (label, requests, _) in sizes {
        let settings = EnrichSettings { geo_cache_entries: 1 << 18, ..EnrichSettings::default() };
        let mut scratch = EnrichScratch::new(&settings);
        for request in requests {
            facts(request, None, &databases, &mut scratch, WALL);
        }
        group.bench_function(BenchmarkId::new(format!("facts_{label}"), name), |b| {
            b.iter(|| facts(&requests[turn(requests.len())], None, &databases, &mut scratch, WALL));
        });
    }
    group.bench_function(BenchmarkId::new("facts_default_cache_20000", name), |b| {
        let mut scratch = EnrichScratch::new(&EnrichSettings::default());
        b.iter(|| facts(&distinct[turn(distinct.len())], None, &databases, &mut scratch, WALL));
    });
    group.bench_function(BenchmarkId::new("facts_miss", name), |b| {
        let smallest = EnrichSettings { geo_cache_entries: 1, device_cache_entries: 16 };
        let mut scratch = EnrichScratch::new(&smallest);
        b.iter(|| facts(&distinct[turn(distinct.len())], None, &databases, &mut scratch, WALL));
    });
    let device = databases.device.as_ref().unwrap();
    let agents: Vec<String> = (0..512).map(ua).collect();
    group.bench_function("classify", |b| {
        b.iter(|| device.classify(&Agent::new(&agents[turn(agents.len())], None)));
    });
    let hostile = "Mozilla/5.0 (Linux; Android 10; ".to_owned() + &"A-; ".repeat(2048);
    group.bench_function("classify_hostile_8_kb", |b| {
        b.iter(|| device.classify(&Agent::new(&hostile, None)));
    });
    group.finish();
}

criterion_group!(benches, enrich);
criterion_main!(benches);
