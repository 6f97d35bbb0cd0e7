//! The device that will show the ad.
//!
//! Owns: the reading of `Device` (3.2.18), `Geo` (3.2.19) and `UserAgent` (3.2.29).
//! Invariant: a flag that protects the user (`lmt`, `dnt`) is 0, or counts as set, or is refused;
//! an `ext.atts` that cannot be read is a malformed signal.

use crate::admit::lenient::LenientField as Field;
use crate::admit::read::{Reader, Walk, end, since};
use crate::json::value::{Kind, Members, Value};
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::Country;
use crate::request::{Key, Object, Sua, Text};
use std::net::IpAddr;

/// `device`.
pub fn device(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let Some(members) = reader.object(value, Field::Device)? else { return Ok(()) };
    let (object, mut walk) = reader.record(members);
    reader.view.objects.device = Some(object);
    let mut sua_of_ext = None;
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Ua => reader.view.device.ua = reader.text(value, Field::DeviceUa)?,
            Key::Ip => reader.view.device.ip = address(reader, value, Field::DeviceIp)?,
            Key::Ipv6 => reader.view.device.ipv6 = address(reader, value, Field::DeviceIpv6)?,
            Key::Devicetype => {
                reader.view.device.devicetype = reader.known(value, Field::DeviceType)?;
            }
            Key::Make => reader.view.device.make = reader.text(value, Field::DeviceMake)?,
            Key::Model => reader.view.device.model = reader.text(value, Field::DeviceModel)?,
            Key::Os => reader.view.device.os = reader.text(value, Field::DeviceOs)?,
            Key::Osv => reader.view.device.osv = reader.text(value, Field::DeviceOsv)?,
            Key::Language => {
                reader.view.device.language = reader.text(value, Field::DeviceLanguage)?;
            }
            Key::Ifa => reader.view.device.ifa = reader.text(value, Field::DeviceIfa)?,
            Key::Lmt => {
                let flag = reader.flag(value, Field::DeviceLmt)?;
                reader.view.device.is_limited = flag.unwrap_or_default();
            }
            Key::Dnt => {
                let flag = reader.flag(value, Field::DeviceDnt)?;
                reader.view.device.is_do_not_track = flag.unwrap_or_default();
            }
            Key::Connectiontype => {
                reader.view.device.connectiontype =
                    reader.known(value, Field::DeviceConnectiontype)?;
            }
            Key::Geo => device_geo(reader, value)?,
            Key::Sua => {
                reader.view.device.sua = match reader.object(value, Field::Sua)? {
                    Some(members) => Some(user_agent(reader, members)?),
                    None => None,
                }
            }
            Key::Ext => {
                let Some(members) = reader.object(value, Field::DeviceExt)? else { continue };
                let (object, sua) = device_ext(reader, members)?;
                (reader.view.objects.device_ext, sua_of_ext) = (Some(object), sua);
            }
            _ => {}
        }
    }
    let device = &mut reader.view.device;
    device.sua = device.sua.or(sua_of_ext);
    Ok(())
}

/// `device.ext`, with `atts` and the structured user agent, which stood there before 2.6. There it
/// is nobody's rule: one that cannot be read is none.
fn device_ext(
    reader: &mut Reader<'_>,
    members: Members<'_>,
) -> Result<(Object, Option<Sua>), Refusal> {
    let (object, mut walk) = reader.record(members);
    let mut sua = None;
    while let Some(entry) = walk.next(reader)? {
        match (entry.key, entry.value.kind()) {
            (Key::Sua, Kind::Object(members)) => sua = user_agent(reader, members).ok(),
            (Key::Atts, _) => app_tracking(reader, entry.value),
            _ => {}
        }
    }
    Ok((object, sua))
}

/// `atts`, what iOS lets the app do (`skadnetwork.md`): 0 not determined, 1 restricted, 2 denied,
/// 3 authorised. Only the last allows anything (there, "DNT, LMT and App Tracking Transparency
/// Guidance"). One that is none of these is a signal that cannot be read.
fn app_tracking(reader: &mut Reader<'_>, value: Value<'_>) {
    let is_empty = matches!(value.kind(), Kind::Text(""));
    match reader.integer(value, Field::DeviceAtts) {
        Ok(status) if !is_empty && matches!(status, None | Some(0..=3)) => {
            reader.view.device.is_tracking_denied = matches!(status, Some(0..=2));
        }
        _ => reader.view.regs.is_malformed = true,
    }
}

/// An object of which nothing is read, but whose members may be taken out.
pub fn edited(
    reader: &mut Reader<'_>,
    value: Value<'_>,
    field: Field,
) -> Result<Option<Object>, Refusal> {
    let Some(members) = reader.object(value, field)? else { return Ok(None) };
    let (object, mut walk) = reader.record(members);
    while walk.next(reader)?.is_some() {}
    Ok(Some(object))
}

/// `ip` or `ipv6`: either takes either family, as partners mix them up.
fn address(
    reader: &mut Reader<'_>,
    value: Value<'_>,
    field: Field,
) -> Result<Option<IpAddr>, Refusal> {
    match value.kind() {
        Kind::Text("") => Ok(None),
        Kind::Text(text) => text.parse().map(Some).map_err(|_| Refusal::DeviceAddress),
        Kind::Null => Ok(reader.absent(field)),
        Kind::Number(_) => Err(Refusal::DeviceAddress),
        _ => Err(Refusal::WrongType),
    }
}

fn device_geo(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let Some(members) = reader.object(value, Field::Geo)? else { return Ok(()) };
    let (object, mut walk) = reader.record(members);
    reader.view.objects.device_geo = Some(object);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Country => {
                // What is no alpha-3 code is unknown to us; the bidder sees it as it came.
                reader.text(value, Field::GeoCountry)?;
                reader.view.device.country = Country::parse(value.written());
            }
            Key::Region => reader.view.device.region = reader.text(value, Field::GeoRegion)?,
            Key::Type => reader.view.device.geo_type = reader.known(value, Field::GeoType)?,
            _ => {}
        }
    }
    Ok(())
}

/// `device.sua`.
fn user_agent(reader: &mut Reader<'_>, members: Members<'_>) -> Result<Sua, Refusal> {
    let mut sua = Sua::default();
    let mut walk = Walk::over(members);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Mobile => sua.is_mobile = reader.flag(value, Field::SuaMobile)?,
            Key::Model => sua.model = reader.text(value, Field::SuaModel)?,
            Key::Platform => {
                let Some(members) = reader.object(value, Field::SuaPlatform)? else { continue };
                let mut walk = Walk::over(members);
                while let Some(entry) = walk.next(reader)? {
                    match entry.key {
                        Key::Brand => {
                            sua.platform = reader.text(entry.value, Field::SuaPlatform)?;
                        }
                        Key::Version => {
                            sua.platform_version = reader.texts(entry.value, Field::SuaPlatform)?;
                        }
                        _ => {}
                    }
                }
            }
            Key::Browsers => {
                let Some(browsers) = reader.array(value, Field::SuaBrowsers)? else { continue };
                let first = end(&reader.view.texts);
                for browser in browsers {
                    let brand = brand(reader, browser)?;
                    reader.view.texts.extend((!brand.is_empty()).then_some(brand));
                }
                sua.browsers = since(&reader.view.texts, first);
            }
            _ => {}
        }
    }
    Ok(sua)
}

/// The name in a `BrandVersion` (3.2.30).
fn brand(reader: &mut Reader<'_>, value: Value<'_>) -> Result<Text, Refusal> {
    let Some(members) = reader.object(value, Field::SuaBrowsers)? else {
        return Ok(Text::default());
    };
    let mut brand = Text::default();
    let mut walk = Walk::over(members);
    while let Some(entry) = walk.next(reader)? {
        if entry.key == Key::Brand {
            brand = reader.text(entry.value, Field::SuaBrowsers)?;
        }
    }
    Ok(brand)
}
