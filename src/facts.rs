//! What we looked up about a request: beside it, never written into it.
//!
//! Owns: [`Facts`] and its parts, shared by the stages that fill and read them.
//! Invariant: unknown stays `None`; a fact never claims more than its source.

use crate::arrival::BrowserSignals;
use crate::openrtb::ids::Country;
use crate::request::{Key, Object, ValidRequest};
use std::net::IpAddr;
use std::sync::Arc;

/// Members that speak of the position: one thought, so they are written together or not at all.
const POSITION: [Key; 6] =
    [Key::Lat, Key::Lon, Key::Type, Key::Ipservice, Key::Accuracy, Key::Lastfix];

/// `device.connectiontype` of a handset behind a fixed line.
const WIFI: &str = "\"connectiontype\":2";

/// Everything that was found out by enrichment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The user's address: the client's, where users call us themselves and it is public; else
    /// the first public one of `device.ip` and `ipv6`.
    pub address: Option<IpAddr>,
    /// What the user's browser said beside the body, where it calls us itself.
    pub browser: BrowserSignals,
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
    /// AdCOM "Connection Types" (1 wired ... 7 cellular 5G), where the address alone tells it.
    pub connectiontype: Option<u8>,
    /// The line is a cable, DSL, dial-up or company one: behind it, an address cannot tell WiFi
    /// from a wire.
    pub is_fixed_line: bool,
    /// A VPN, proxy or Tor exit by the Anonymous-IP database (a mere hosting provider is not).
    pub is_anonymous: bool,
    /// A data centre by the Anonymous-IP database.
    pub is_hosting: bool,
    /// Members of `device.geo` that name the place, coarse to fine, each with its request key and
    /// ready to be spliced: `(key, "\"key\":value")`. [`Facts::geo_members`] says which to write.
    pub rendered: Vec<(Key, String)>,
    /// As `rendered`: `lat`, `lon`, `type`, `ipservice`, `accuracy`.
    pub rendered_position: Vec<(Key, String)>,
    /// As `rendered`, for members of `device` that follow from the address: `carrier`,
    /// `connectiontype`.
    pub rendered_device: Vec<(Key, String)>,
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
    /// What the model is sold as.
    pub name: Option<String>,
    /// Year of its release.
    pub released: Option<u16>,
    /// Physical pixels, portrait width and height.
    pub screen: Option<(u16, u16)>,
    /// The user agent names itself a robot.
    pub is_bot: bool,
    /// As `Geo::rendered`, for members of `device`: `devicetype`, `make`, `model`, `os`, `osv`.
    /// [`Facts::device_members`] says which to write.
    pub rendered: Vec<(Key, String)>,
}

impl Facts {
    /// What may be added to `device.geo`: members that the request does not have (not even as
    /// `null`), as `"key":value`.
    ///
    /// The request's own word always stands. A finer member is added only where each coarser one
    /// that the request has agrees with ours, so that no place is named that does not exist; under
    /// GPS or the user's word (`type` 1, 3) only the country; and a position only where the
    /// request has no part of one.
    pub fn geo_members<'a>(
        &'a self,
        request: &'a ValidRequest,
    ) -> impl Iterator<Item = (Key, &'a str)> {
        let own = request.view.objects.device_geo.as_ref();
        let (place, position) = self.geo.as_deref().map_or((&[][..], &[][..]), |geo| {
            let place = geo.place_for(request, own);
            (place, geo.position_for(request, own, place.len()))
        });
        place
            .iter()
            .chain(position)
            .filter(move |(key, _)| lacks(request, own, *key))
            .map(|(key, text)| (*key, text.as_str()))
    }

    /// What may be added to `device`, as [`Facts::geo_members`]: a `model` only beside a `make`
    /// that is ours or absent, an `osv` only beside such an `os`.
    pub fn device_members<'a>(
        &'a self,
        request: &'a ValidRequest,
    ) -> impl Iterator<Item = (Key, &'a str)> {
        let own = request.view.objects.device.as_ref();
        let by_agent = self.device.as_deref().map_or(&[][..], |device| &device.rendered);
        let by_address = self.geo.as_deref().map_or(&[][..], |geo| &geo.rendered_device);
        by_agent
            .iter()
            .filter(move |(key, _)| match key {
                Key::Model => agrees(request, own, by_agent, Key::Make),
                Key::Osv => agrees(request, own, by_agent, Key::Os),
                _ => true,
            })
            .chain(by_address)
            .map(|(key, text)| (*key, text.as_str()))
            .chain(self.is_on_wifi().then_some((Key::Connectiontype, WIFI)))
            .filter(move |(key, _)| lacks(request, own, *key))
    }

    /// A handset has no socket for a wire: behind a fixed line it is on WiFi.
    fn is_on_wifi(&self) -> bool {
        matches!(self.devicetype, Some(1 | 4 | 5))
            && self.geo.as_deref().is_some_and(|geo| geo.is_fixed_line)
    }
}

impl Geo {
    /// The members of the place up to the first that the request contradicts.
    fn place_for(&self, request: &ValidRequest, own: Option<&Object>) -> &[(Key, String)] {
        let by_user = matches!(request.view.device.geo_type, Some(1 | 3));
        let end = self
            .rendered
            .iter()
            .position(|(key, _)| {
                // a local time that differs names no other place
                let is_ours = *key == Key::Utcoffset || agrees(request, own, &self.rendered, *key);
                (by_user && *key != Key::Country) || !is_ours
            })
            .unwrap_or(self.rendered.len());
        self.rendered.get(..end).unwrap_or_default()
    }

    /// All of the position, or nothing; `agreed` is how many members of the place agree.
    fn position_for(
        &self,
        request: &ValidRequest,
        own: Option<&Object>,
        agreed: usize,
    ) -> &[(Key, String)] {
        let is_here = agreed == self.rendered.len();
        let is_free = || POSITION.iter().all(|key| lacks(request, own, *key));
        if is_here && is_free() { &self.rendered_position } else { &[] }
    }
}

/// Whether the request has no such member.
fn lacks(request: &ValidRequest, own: Option<&Object>, key: Key) -> bool {
    own.and_then(|object| request.member(object, key)).is_none()
}

/// Whether the request has no such member, or has ours (letter case aside).
fn agrees(
    request: &ValidRequest,
    own: Option<&Object>,
    rendered: &[(Key, String)],
    key: Key,
) -> bool {
    let Some(theirs) = own.and_then(|object| request.member(object, key)) else { return true };
    let theirs = request.value(theirs);
    let ours = rendered.iter().find(|(ours, _)| *ours == key).map(|(_, text)| text.as_bytes());
    ours.is_some_and(|ours| {
        // A few bytes: a search for the colon that is made for long texts takes longer.
        let name = ours.iter().take_while(|byte| **byte != b':').count();
        ours.get(name.saturating_add(1)..).is_some_and(|value| value.eq_ignore_ascii_case(theirs))
    })
}
