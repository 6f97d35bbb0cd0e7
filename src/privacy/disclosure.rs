//! What a bidder may be sent of the user and the device, as data.
//!
//! Owns: [`Disclosure`], the table that says for each member of each object that it concerns
//! whether it is kept, dropped or coarsened, and the two coarsenings. Never: a splice.
//!
//! Invariant: under [`Disclosure::STRICT`] a member is kept only where it is listed here; what is
//! unknown is dropped. `FULL` keeps everything. Nothing outside `user` and `device` is touched.
//!
//! | object | kept when strict | coarsened | dropped |
//! |---|---|---|---|
//! | `user` | `consent` | (`geo`, `ext` by their own rows) | all else: ids, eids, data, keywords, yob, gender, customdata, unknown |
//! | `user.ext` | `consent` | | all else, eids first |
//! | `device` | what describes the machine and not its owner, `dnt` and `lmt` | `ip` to /24, `ipv6` to /48 | `ifa`, the hashes of hardware and platform ids, unknown |
//! | `device.ext` | `atts` (what the user told the operating system) | | all else |
//! | `*.geo` | `type`, `ipservice`, `country`, `region`, `regionfips104`, `metro`, `city`, `utcoffset` | `lat`, `lon` to 2 decimals | `zip` (in some countries a few houses), `accuracy`, `lastfix`, `ext`, unknown |
//!
//! An unknown member is told by its raw key, so one that is written with escapes is dropped.

use crate::request::Key;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How much of the user a bidder may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disclosure {
    is_strict: bool,
}

/// An object that the disclosure has rules for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    User,
    UserExt,
    Device,
    DeviceExt,
    /// `user.geo` or `device.geo`.
    Geo,
}

/// What becomes of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As it came.
    Keep,
    /// Not sent.
    Drop,
    /// An object with rules of its own; where it is none, it is dropped.
    Enter,
    /// A coordinate, to two decimals: about a kilometre.
    Round,
    /// An address, without its low bits.
    Truncate,
}

/// Members of `device` without a [`Key`] that describe the machine.
const DEVICE_KEPT: [&[u8]; 7] =
    [b"ppi", b"pxratio", b"js", b"geofetch", b"flashver", b"langb", b"mccmnc"];

impl Disclosure {
    /// Everything, as it came.
    pub const FULL: Self = Self { is_strict: false };

    /// The strictest reading.
    pub const STRICT: Self = Self { is_strict: true };

    /// Whether nothing is withheld.
    pub fn is_full(self) -> bool {
        !self.is_strict
    }

    /// What becomes of a member; `raw_key` is the key as it stands between its quotes.
    pub fn fate(self, place: Place, key: Key, raw_key: &[u8]) -> Fate {
        if !self.is_strict {
            return Fate::Keep;
        }
        match place {
            Place::User => Self::user(key),
            Place::UserExt => keep_if(key == Key::Consent),
            Place::Device => Self::device(key, raw_key),
            Place::DeviceExt => keep_if(raw_key == b"atts"),
            Place::Geo => Self::geo(key, raw_key),
        }
    }

    fn user(key: Key) -> Fate {
        match key {
            Key::Geo | Key::Ext => Fate::Enter,
            _ => keep_if(key == Key::Consent),
        }
    }

    fn device(key: Key, raw_key: &[u8]) -> Fate {
        match key {
            Key::Geo | Key::Ext => Fate::Enter,
            Key::Ip | Key::Ipv6 => Fate::Truncate,
            Key::Dnt
            | Key::Lmt
            | Key::Ua
            | Key::Sua
            | Key::Devicetype
            | Key::Make
            | Key::Model
            | Key::Os
            | Key::Osv
            | Key::Hwv
            | Key::H
            | Key::W
            | Key::Language
            | Key::Carrier
            | Key::Connectiontype => Fate::Keep,
            Key::Other => keep_if(DEVICE_KEPT.contains(&raw_key)),
            _ => Fate::Drop,
        }
    }

    fn geo(key: Key, raw_key: &[u8]) -> Fate {
        match key {
            Key::Lat | Key::Lon => Fate::Round,
            Key::Type
            | Key::Ipservice
            | Key::Country
            | Key::Region
            | Key::Metro
            | Key::City
            | Key::Utcoffset => Fate::Keep,
            _ => keep_if(raw_key == b"regionfips104"),
        }
    }
}

fn keep_if(is_kept: bool) -> Fate {
    if is_kept { Fate::Keep } else { Fate::Drop }
}

/// Writes a coordinate, a JSON number (or, leniently, one in a string), to two decimals; `false`
/// and nothing written where it is none.
pub fn write_rounded(value: &[u8], out: &mut Vec<u8>) -> bool {
    let bare = value.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(value);
    let degrees = std::str::from_utf8(bare).ok().and_then(|text| text.trim().parse::<f64>().ok());
    let Some(degrees) = degrees.filter(|degrees| degrees.abs() <= 180.0) else { return false };
    // `+ 0.0` makes -0 a plain 0.
    let rounded = (degrees * 100.0).round() / 100.0 + 0.0;
    out.extend_from_slice(ryu::Buffer::new().format_finite(rounded).as_bytes());
    true
}

/// The address without its low bits: an IPv4 address's /24, an IPv6 address's /48. An IPv4 address
/// that is written as IPv6 loses all: its bits are the low ones.
pub fn truncated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// Writes [`truncated`] as a JSON string.
pub fn write_truncated(address: IpAddr, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    let _ = write!(out, "\"{}\"", truncated(address));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disclosure_keeps_everything() {
        for place in [Place::User, Place::UserExt, Place::Device, Place::DeviceExt, Place::Geo] {
            for key in [Key::Id, Key::Ifa, Key::Lat, Key::Ip, Key::Other, Key::Ext] {
                assert_eq!(Disclosure::FULL.fate(place, key, b"x"), Fate::Keep);
            }
        }
    }

    #[test]
    fn strict_disclosure_keeps_only_what_is_listed() {
        for (place, key, raw, fate) in [
            (Place::User, Key::Id, "id", Fate::Drop),
            (Place::User, Key::Buyeruid, "buyeruid", Fate::Drop),
            (Place::User, Key::Eids, "eids", Fate::Drop),
            (Place::User, Key::Data, "data", Fate::Drop),
            (Place::User, Key::Other, "uid2", Fate::Drop),
            (Place::User, Key::Consent, "consent", Fate::Keep),
            (Place::User, Key::Geo, "geo", Fate::Enter),
            (Place::User, Key::Ext, "ext", Fate::Enter),
            (Place::UserExt, Key::Consent, "consent", Fate::Keep),
            (Place::UserExt, Key::Eids, "eids", Fate::Drop),
            (Place::UserExt, Key::Other, "nex_eth", Fate::Drop),
            (Place::Device, Key::Ifa, "ifa", Fate::Drop),
            (Place::Device, Key::Didsha1, "didsha1", Fate::Drop),
            (Place::Device, Key::Macmd5, "macmd5", Fate::Drop),
            (Place::Device, Key::Ip, "ip", Fate::Truncate),
            (Place::Device, Key::Ua, "ua", Fate::Keep),
            (Place::Device, Key::Lmt, "lmt", Fate::Keep),
            (Place::Device, Key::Other, "js", Fate::Keep),
            (Place::Device, Key::Other, "idfa", Fate::Drop),
            (Place::Device, Key::Other, "j\\u0073", Fate::Drop),
            (Place::DeviceExt, Key::Other, "atts", Fate::Keep),
            (Place::DeviceExt, Key::Ifa, "ifa", Fate::Drop),
            (Place::Geo, Key::Lat, "lat", Fate::Round),
            (Place::Geo, Key::Zip, "zip", Fate::Drop),
            (Place::Geo, Key::City, "city", Fate::Keep),
            (Place::Geo, Key::Ext, "ext", Fate::Drop),
            (Place::Geo, Key::Other, "regionfips104", Fate::Keep),
            (Place::Geo, Key::Other, "street", Fate::Drop),
        ] {
            let got = Disclosure::STRICT.fate(place, key, raw.as_bytes());
            assert_eq!(got, fate, "{place:?}.{raw}");
        }
    }

    #[test]
    fn coordinates_keep_two_decimals() {
        for (value, expected) in [
            ("42.378", Some("42.38")),
            ("-71.227", Some("-71.23")),
            ("42", Some("42.0")),
            ("-0.001", Some("0.0")),
            ("1e1", Some("10.0")),
            ("\"25.829544\"", Some("25.83")),
            ("181.0", None),
            ("\"x\"", None),
            ("true", None),
            ("[1]", None),
            ("\"NaN\"", None),
        ] {
            let mut out = Vec::new();
            let got = write_rounded(value.as_bytes(), &mut out);
            assert_eq!(got.then(|| String::from_utf8(out).unwrap()).as_deref(), expected);
        }
    }

    #[test]
    fn addresses_lose_their_low_bits() {
        for (address, expected) in [
            ("192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::ffff:192.0.2.77", "::"),
        ] {
            let mut out = Vec::new();
            write_truncated(address.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{expected}\""));
        }
    }
}
