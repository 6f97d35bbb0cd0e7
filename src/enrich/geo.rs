//! What the address databases say about an address.
//!
//! Owns: [`GeoDatabases`] and how their records become one [`Geo`]. Never: a file, a
//! request. Several databases may give one fact; the one that is made for it wins:
//! city and place from City, the country from City before Country, the provider's name from ISP
//! before ASN, its number from ISP before ASN.
//!
//! Invariant: a record that does not decode is a record that is not there; nothing here panics,
//! whatever the bytes of a database are.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::country::alpha3;
use super::render::{number, text};
use crate::enrich::bulk::Bulk;
use crate::facts::Geo;
use crate::openrtb::ids::Country;
use crate::request::Key;
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use maxminddb::{LookupResult, MaxMindDbError, Reader};
use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// All bytes of a database, shared with whoever examines them meanwhile.
#[derive(Clone)]
pub struct Content(Arc<Bulk>);

/// A database in memory.
pub type AddressReader = Reader<Content>;

/// Those that are configured, each shared with the generations that have the same one.
#[derive(Default)]
pub struct GeoDatabases {
    pub city: Option<Arc<AddressReader>>,
    pub country: Option<Arc<AddressReader>>,
    pub isp: Option<Arc<AddressReader>>,
    pub asn: Option<Arc<AddressReader>>,
    pub connection_type: Option<Arc<AddressReader>>,
    pub anonymous: Option<Arc<AddressReader>>,
}

/// Where the records of one address are, for all databases: equal keys, equal facts.
pub type GeoKey = [u32; 6];

/// What was found for one address, not yet decoded.
pub struct Found<'a> {
    hits: [Option<LookupResult<'a, Content>>; 6],
    /// `None`: no database knows the address.
    pub key: Option<GeoKey>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CityRecord<'a> {
    #[serde(borrow)]
    country: Coded<'a>,
    #[serde(borrow, deserialize_with = "first")]
    subdivisions: Option<Coded<'a>>,
    #[serde(borrow)]
    city: Named<'a>,
    #[serde(borrow)]
    postal: Postal<'a>,
    #[serde(borrow)]
    location: Location<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CountryRecord<'a> {
    #[serde(borrow)]
    country: Coded<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Coded<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Postal<'a> {
    code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location<'a> {
    latitude: Option<f64>,
    longitude: Option<f64>,
    #[serde(deserialize_with = "whole")]
    accuracy_radius: Option<u32>,
    #[serde(deserialize_with = "whole")]
    metro_code: Option<u32>,
    time_zone: Option<&'a str>,
}

/// ISP and ASN databases share their names.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NetworkRecord<'a> {
    isp: Option<&'a str>,
    autonomous_system_organization: Option<&'a str>,
    #[serde(deserialize_with = "whole")]
    autonomous_system_number: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConnectionRecord<'a> {
    connection_type: Option<&'a str>,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(default)]
struct AnonymousRecord {
    is_anonymous: bool,
    is_anonymous_vpn: bool,
    is_hosting_provider: bool,
    is_public_proxy: bool,
    is_residential_proxy: bool,
    is_tor_exit_node: bool,
}

// === impl Content ===

impl From<Bulk> for Content {
    fn from(bytes: Bulk) -> Self {
        Self(Arc::new(bytes))
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().as_ref()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Content").field(&self.0).finish()
    }
}

// === impl GeoDatabases ===

impl GeoDatabases {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all().iter().all(Option::is_none)
    }

    /// Walks the search trees; decodes nothing.
    pub fn find(&self, address: IpAddr) -> Found<'_> {
        let hits = self.all().map(|reader| {
            let hit = reader.and_then(|reader| reader.lookup(address).ok())?;
            hit.has_data().then_some(hit)
        });
        let key = hits.each_ref().map(|hit| {
            // 0 stands for none; a data section of 4 GiB is over every size limit of ours
            let offset =
                hit.as_ref().and_then(LookupResult::offset).and_then(|at| u32::try_from(at).ok());
            offset.map_or(0, |at| at.saturating_add(1))
        });
        Found { hits, key: (key != GeoKey::default()).then_some(key) }
    }

    /// In the order of [`GeoKey`].
    fn all(&self) -> [Option<&AddressReader>; 6] {
        [
            self.city.as_deref(),
            self.country.as_deref(),
            self.isp.as_deref(),
            self.asn.as_deref(),
            self.connection_type.as_deref(),
            self.anonymous.as_deref(),
        ]
    }
}

impl fmt::Debug for GeoDatabases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.all().map(|one| one.map(|one| one.metadata().database_type.as_str()));
        f.debug_tuple("GeoDatabases").field(&types).finish()
    }
}

// === impl Found ===

impl Found<'_> {
    /// Reads the records; `wall` says which offset from UTC a time zone has now.
    pub fn decode(&self, wall: Duration) -> Geo {
        let [city, country, isp, asn, connection, anonymous] = &self.hits;
        let mut geo = Geo::default();
        if let Some(record) = decoded::<CityRecord<'_>>(city.as_ref()) {
            place(&mut geo, &record, wall);
        }
        if geo.country.is_none() {
            let record = decoded::<CountryRecord<'_>>(country.as_ref());
            geo.country = record.and_then(|record| record.country.country());
        }
        for hit in [isp, asn] {
            let Some(record) = decoded::<NetworkRecord<'_>>(hit.as_ref()) else { continue };
            let name = record.isp.or(record.autonomous_system_organization);
            geo.isp = geo.isp.or_else(|| name.map(str::to_owned));
            geo.asn = geo.asn.or(record.autonomous_system_number);
        }
        if let Some(record) = decoded::<ConnectionRecord<'_>>(connection.as_ref()) {
            let kind = record.connection_type;
            // 3: cellular of unknown generation; an address cannot tell more
            geo.connectiontype = (kind == Some("Cellular")).then_some(3);
            geo.is_fixed_line = matches!(kind, Some("Cable/DSL" | "Corporate" | "Dialup"));
        }
        if let Some(record) = decoded::<AnonymousRecord>(anonymous.as_ref()) {
            geo.is_hosting = record.is_hosting_provider;
            geo.is_anonymous = record.is_anonymous_vpn
                || record.is_public_proxy
                || record.is_residential_proxy
                || record.is_tor_exit_node
                || (record.is_anonymous && !record.is_hosting_provider);
        }
        render(&mut geo);
        geo
    }
}

// === one fact of one database ===

/// What a database is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    City,
    Country,
    /// Provider or autonomous system.
    Network,
    Connection,
    Anonymous,
}

/// The fact for which a database is kept, as its record tells it; `None`: the record is silent.
pub fn fact<'a, S: AsRef<[u8]>>(
    subject: Subject,
    hit: &LookupResult<'a, S>,
) -> Result<Option<&'a str>, MaxMindDbError> {
    let told = match subject {
        Subject::City => {
            let record: Option<CityRecord<'a>> = hit.decode()?;
            record.and_then(|record| record.country.iso_code)
        }
        Subject::Country => {
            let record: Option<CountryRecord<'a>> = hit.decode()?;
            record.and_then(|record| record.country.iso_code)
        }
        Subject::Network => {
            let record: Option<NetworkRecord<'a>> = hit.decode()?;
            record.and_then(|record| {
                let number = record.autonomous_system_number.map(|_| "numbered");
                record.isp.or(record.autonomous_system_organization).or(number)
            })
        }
        Subject::Connection => {
            let record: Option<ConnectionRecord<'a>> = hit.decode()?;
            record.and_then(|record| record.connection_type)
        }
        Subject::Anonymous => {
            let record: Option<AnonymousRecord> = hit.decode()?;
            record.filter(|record| *record != AnonymousRecord::default()).map(|_| "hidden")
        }
    };
    Ok(told.filter(|told| !told.is_empty()))
}

/// A record, or nothing where there is none or it is damaged.
fn decoded<'a, T: Deserialize<'a>>(hit: Option<&LookupResult<'a, Content>>) -> Option<T> {
    hit.and_then(|hit| hit.decode().ok().flatten())
}

/// The City record.
fn place(geo: &mut Geo, record: &CityRecord<'_>, wall: Duration) {
    let owned = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    geo.country = record.country.country();
    geo.region = owned(record.subdivisions.as_ref().and_then(|part| part.iso_code));
    geo.city = owned(record.city.names.en);
    geo.zip = owned(record.postal.code);
    let location = &record.location;
    geo.metro = location.metro_code.map(|code| code.to_string());
    geo.lat_lon = location
        .latitude
        .zip(location.longitude)
        .filter(|(lat, lon)| (-90.0..=90.0).contains(lat) && (-180.0..=180.0).contains(lon));
    geo.accuracy_km = location.accuracy_radius.and_then(|km| u16::try_from(km).ok());
    geo.utcoffset_min = location.time_zone.and_then(|zone| utcoffset_min(zone, wall));
}

/// Minutes from UTC that a zone of the IANA database has at a moment.
fn utcoffset_min(zone: &str, wall: Duration) -> Option<i16> {
    let zone = TimeZoneDatabase::bundled().get(zone).ok()?;
    let now = Timestamp::from_second(i64::try_from(wall.as_secs()).ok()?).ok()?;
    i16::try_from(zone.to_offset(now).seconds().checked_div(60)?).ok()
}

/// Fills the rendered members, coarse to fine.
fn render(geo: &mut Geo) {
    let place = [
        geo.country.map(|code| text(Key::Country, code.as_str())),
        geo.region.as_deref().map(|region| text(Key::Region, region)),
        geo.metro.as_deref().map(|metro| text(Key::Metro, metro)),
        geo.city.as_deref().map(|city| text(Key::City, city)),
        geo.zip.as_deref().map(|zip| text(Key::Zip, zip)),
        geo.utcoffset_min.map(|minutes| number(Key::Utcoffset, minutes)),
    ];
    geo.rendered = place.into_iter().flatten().collect();
    if let Some((lat, lon)) = geo.lat_lon {
        geo.rendered_position = vec![
            // two decimals are a kilometre: an address locates nobody better
            number(Key::Lat, format_args!("{lat:.2}")),
            number(Key::Lon, format_args!("{lon:.2}")),
            number(Key::Type, 2),
            number(Key::Ipservice, 3),
        ];
        let metres = geo.accuracy_km.map(|km| u32::from(km).saturating_mul(1000));
        geo.rendered_position.extend(metres.map(|metres| number(Key::Accuracy, metres)));
    }
    geo.rendered_device = [
        geo.isp.as_deref().map(|isp| text(Key::Carrier, isp)),
        geo.connectiontype.map(|kind| number(Key::Connectiontype, kind)),
    ]
    .into_iter()
    .flatten()
    .collect();
}

// === impl Coded ===

impl Coded<'_> {
    fn country(&self) -> Option<Country> {
        self.iso_code.and_then(alpha3)
    }
}

/// A whole number of any width: makers of databases differ in what they write.
fn whole<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<u32>, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = Option<u32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok(u32::try_from(number).ok())
        }

        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok(u32::try_from(number).ok())
        }
    }
    source.deserialize_any(Whole)
}

/// The first element of a sequence; the rest is skipped, never kept.
fn first<'de, D, T>(source: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct First<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for First<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let first = seq.next_element()?;
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }
    source.deserialize_seq(First(PhantomData))
}

// === addresses ===

/// Whether the databases may be asked: not for addresses that are no one's in particular.
///
/// Documentation and benchmarking ranges are asked for: real databases do not know them, and ours
/// for the demo know nothing else.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    let is_shared = a == 100 && (64..128).contains(&b); // carrier-grade NAT, RFC 6598
    let is_local = v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared;
    // 0.0.0.0/8 is "this network"; 224/4 and above are multicast, reserved, broadcast
    !is_local && a != 0 && a < 224
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [first, ..] = v6.segments();
    let is_unique_local = first & 0xfe00 == 0xfc00;
    let is_link_local = first & 0xffc0 == 0xfe80;
    let is_odd = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast();
    !is_unique_local && !is_link_local && !is_odd
}
