//! What we looked up about a request: beside it, never written into it.
//!
//! Owns: [`Facts`] and its parts, shared by the stages that fill and read them.
//! Invariant: unknown stays `None`; a fact never claims more than its source.

use crate::openrtb::ids::Country;
use std::net::IpAddr;
use std::sync::Arc;

/// Everything that was found out by enrichment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The user's address: `device.ip`/`ipv6` where valid, else the client that called us.
    pub address: Option<IpAddr>,
    /// By address. Shared: it is cached per network and generation.
    pub geo: Option<Arc<Geo>>,
    /// By `sua`, then `ua`. Shared: it is cached per user agent and generation.
    pub device: Option<Arc<Device>>,
    /// Country that pretargeting goes by: the request's own where it is valid, else geo's.
    pub country: Option<Country>,
    /// AdCOM device type that pretargeting goes by: the request's own, else the database's.
    pub devicetype: Option<u8>,
}

/// What the address databases say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Geo {
    pub country: Option<Country>,
    /// ISO 3166-2 without the country prefix, such as `CA` of `US-CA`.
    pub region: Option<String>,
    pub city: Option<String>,
    pub zip: Option<String>,
    pub metro: Option<String>,
    /// Degrees, WGS84, never from a device.
    pub lat_lon: Option<(f64, f64)>,
    /// Radius in km that the database claims for `lat_lon`.
    pub accuracy_km: Option<u16>,
    /// Minutes from UTC of the time zone now, standard time.
    pub utcoffset_min: Option<i16>,
    pub isp: Option<String>,
    pub asn: Option<u32>,
    /// AdCOM "Connection Types" (1 wired ... 7 cellular 5G).
    pub connectiontype: Option<u8>,
    /// A hosting provider, VPN, proxy or Tor exit by the Anonymous-IP database.
    pub is_anonymous: bool,
    /// A data centre by the Anonymous-IP database.
    pub is_hosting: bool,
    /// The members of `device.geo` in JSON without braces, ready to be spliced, each with its
    /// request key so that only absent ones are written: `(key, "\"key\":value")`.
    pub rendered: Vec<(crate::request::Key, String)>,
}

/// What the device database says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device {
    /// AdCOM "Device Types" (1 mobile/tablet general, 2 PC, 3 TV, 4 phone, 5 tablet,
    /// 6 connected device, 7 set top box, 8 OOH).
    pub devicetype: Option<u8>,
    pub make: Option<String>,
    pub model: Option<String>,
    pub os: Option<String>,
    pub osv: Option<String>,
    pub browser: Option<String>,
    pub browser_version: Option<String>,
    /// The user agent names itself a robot.
    pub is_bot: bool,
    /// As `Geo::rendered`, for members of `device`.
    pub rendered: Vec<(crate::request::Key, String)>,
}
