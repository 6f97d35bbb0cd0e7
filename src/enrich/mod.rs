//! Looks up what a request does not say itself: by its address and by its user agent.
//!
//! Owns: [`facts`], the order in which sources are asked, and [`EnrichScratch`], a worker's
//! memory of it. Never: a change to the request, a wait. Invariant: unknown stays unknown; the
//! request's own country and device type outrank ours.

pub mod bulk;
pub mod cache;
pub mod country;
pub mod databases;
pub mod device;
pub mod geo;
pub mod models;
mod render;
mod traffic;

use crate::facts::{Device, Facts, Geo};
use crate::request::ValidRequest;
use cache::{DeviceCache, GeoCache};
use databases::Databases;
use device::{Agent, Hints};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a worker may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrichSettings {
    /// Addresses, and as many decoded records of address databases, per worker (about 1 KB each;
    /// twice that where the addresses remember records that others have displaced). 1 to
    /// 1,048,576.
    pub geo_cache_entries: usize,
    /// User agents, per worker (about 60 B each, and 1 KB for each distinct device). 16 to
    /// 16,777,216.
    pub device_cache_entries: usize,
}

/// A worker's memory of look-ups.
#[derive(Debug)]
pub struct EnrichScratch {
    geo: GeoCache,
    device: DeviceCache,
}

// === impl EnrichSettings ===

impl Default for EnrichSettings {
    fn default() -> Self {
        Self { geo_cache_entries: 8_192, device_cache_entries: 50_000 }
    }
}

// === impl EnrichScratch ===

impl EnrichScratch {
    /// Empty.
    pub fn new(settings: &EnrichSettings) -> Self {
        Self {
            geo: GeoCache::new(settings.geo_cache_entries),
            device: DeviceCache::new(settings.device_cache_entries),
        }
    }
}

/// Everything that the databases say about a request.
///
/// `client` is the address that the user was seen to call from: `None` where the caller is a
/// partner's server, which is no user. `wall` (since the Unix epoch) decides which
/// offset from UTC a time zone has.
pub fn facts(
    request: &ValidRequest,
    client: Option<IpAddr>,
    databases: &Databases,
    scratch: &mut EnrichScratch,
    wall: Duration,
) -> Facts {
    let own = &request.view.device;
    let address = address(own.ip, own.ipv6, client);
    let geo = address.and_then(|address| geo(address, databases, &mut scratch.geo, wall));
    let device = device(&agent(request), databases, &mut scratch.device);
    Facts {
        address,
        country: own.country.or_else(|| geo.as_deref()?.country),
        devicetype: own.devicetype.or_else(|| device.as_deref()?.devicetype),
        geo,
        device,
        ..Facts::default()
    }
}

/// Whether the request may go on, by the partner's `blocks`: see [`crate::partner::TrafficBlocks`].
pub fn traffic(
    request: &ValidRequest,
    facts: &Facts,
    partner: &crate::partner::Partner,
) -> Result<(), crate::negatives::refusal::Refusal> {
    traffic::check(request, facts, partner)
}

/// The browser of a request's user, for an explanation.
pub fn browser(request: &ValidRequest, databases: &Databases) -> Option<String> {
    databases.device.as_ref()?.browser(&agent(request)).family
}

/// What an operator sees of an address.
pub fn lookup_ip(databases: &Databases, address: IpAddr, wall: Duration) -> Value {
    let mut cache = GeoCache::new(1);
    // a version 4 address is the same in the clothes of version 6, as it is on the road
    let address = address.to_canonical();
    let geo = geo(address, databases, &mut cache, wall);
    json!({
        "address": address.to_string(),
        "is_public": geo::is_public(address),
        "geo": geo.as_deref().map(|geo| json!({
            "country": geo.country.map(|country| country.as_str().to_owned()),
            "region": geo.region,
            "city": geo.city,
            "zip": geo.zip,
            "metro": geo.metro,
            "lat_lon": geo.lat_lon,
            "accuracy_km": geo.accuracy_km,
            "utcoffset_min": geo.utcoffset_min,
            "isp": geo.isp,
            "asn": geo.asn,
            "connectiontype": geo.connectiontype,
            "is_fixed_line": geo.is_fixed_line,
            "is_anonymous": geo.is_anonymous,
            "is_hosting": geo.is_hosting,
        })),
    })
}

/// What an operator sees of a user agent.
pub fn lookup_ua(databases: &Databases, ua: &str) -> Value {
    let mut cache = DeviceCache::new(1);
    let agent = Agent::new(ua, None);
    let device = device(&agent, databases, &mut cache);
    let browser = databases.device.as_ref().map(|database| database.browser(&agent));
    let browser = browser.unwrap_or_default();
    json!({
        "ua": ua,
        "device": device.as_deref().map(|device| json!({
            "devicetype": device.devicetype,
            "make": device.make,
            "model": device.model,
            "name": device.name,
            "released": device.released,
            "screen": device.screen,
            "os": device.os,
            "osv": device.osv,
            "browser": browser.family,
            "browser_version": browser.version,
            "is_bot": device.is_bot,
        })),
    })
}

/// Whose address counts: the client's, where users call us themselves and it is public: what a
/// client writes of itself may be anything. Else the first public one of the request; one that is
/// named but private stands for a user of whom nothing is known.
fn address(ip: Option<IpAddr>, ipv6: Option<IpAddr>, client: Option<IpAddr>) -> Option<IpAddr> {
    let mut all = [client, ip, ipv6].into_iter().flatten();
    let public = all.find(|address| geo::is_public(*address));
    public.or(ip).or(ipv6).or(client).map(|address| address.to_canonical())
}

fn geo(
    address: IpAddr,
    databases: &Databases,
    cache: &mut GeoCache,
    wall: Duration,
) -> Option<Arc<Geo>> {
    if databases.geo.is_empty() || !geo::is_public(address) {
        return None;
    }
    cache.of(address, &databases.geo, databases.geo_identity(), wall)
}

fn device(
    agent: &Agent<'_>,
    databases: &Databases,
    cache: &mut DeviceCache,
) -> Option<Arc<Device>> {
    let database = databases.device.as_ref()?;
    if agent.is_empty() {
        return None;
    }
    Some(cache.get_or(agent, databases.device_identity(), || database.classify(agent)))
}

/// What the request says of its software.
fn agent(request: &ValidRequest) -> Agent<'_> {
    let own = &request.view.device;
    let hints = own.sua.map(|sua| Hints {
        platform: request.text(sua.platform),
        platform_version: request.texts(sua.platform_version).take(4).collect(),
        browsers: request.texts(sua.browsers).take(4).collect(),
        is_mobile: sua.is_mobile,
        model: request.text(sua.model),
    });
    Agent::new(request.text(own.ua), hints)
}

#[cfg(test)]
mod device_tests;
