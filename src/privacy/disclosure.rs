//! What a bidder may be sent of the user and the device, as data.
//!
//! Owns: [`Disclosure`], the table that says for each member of each object that it concerns
//! whether it is kept, dropped or coarsened, and the two coarsenings. Never: a splice.
//!
//! Invariant: under [`Disclosure::STRICT`] a member is kept only where it is listed here and is of
//! its own [`Form`]; what is unknown is dropped, and so is an object where a text or a number
//! belongs. `FULL` keeps everything. Outside `user` and `device` nothing is touched but `ext.prebid`.
//!
//! | object | kept when strict | coarsened | dropped |
//! |---|---|---|---|
//! | `user` | `consent` | (`geo`, `ext` by their own rows) | all else: ids, eids, data, keywords, yob, gender, customdata, unknown |
//! | `user.ext` | `consent`; of Google's `ConsentedProvidersSettings` and `consented_providers_settings` (what the user said of vendors that are not in the TCF) the `consented_providers` | | all else, eids first |
//! | `device` | what describes the machine and not its owner, `dnt` and `lmt`; of `sua` the members of 3.2.29 without `ext` | `ip` to /24, `ipv6` to /48 | `ifa`, the hashes of hardware and platform ids, unknown |
//! | `device.ext` | `atts` (what the user told the operating system) | | all else |
//! | `ext.prebid` | all else | | `data` (sources of ids, and who may have them), `page_view_ids` (one a bidder) |
//! | `*.geo` | `type`, `ipservice`, `country`, `region`, `regionfips104`, `metro`, `city`, `utcoffset` | `lat`, `lon` to 2 decimals | `zip` (in some countries a few houses), `accuracy`, `lastfix`, `ext`, unknown |
//!
//! [`Disclosure::CHILD`] is stricter: no `lat`, `lon`, `metro` and `city` either. What tells a
//! child's city is personal by itself (16 CFR 312.2, "geolocation information").
//!
//! An unknown member is told by its raw key, so one that is written with escapes is dropped.

use crate::privacy::form::Form;
use crate::request::Key;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How much of the user a bidder may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disclosure {
    level: Level,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Level {
    #[default]
    Full,
    Strict,
    Child,
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
    /// The root's `ext.prebid`.
    Prebid,
}

/// What becomes of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As it came.
    Keep,
    /// As it came, as far as it is of this form; else it is dropped.
    As(Form),
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
const DEVICE_KEPT: [(&[u8], Form); 7] = [
    (b"ppi", Form::Number),
    (b"pxratio", Form::Number),
    (b"js", Form::Number),
    (b"geofetch", Form::Number),
    (b"flashver", Form::Text),
    (b"langb", Form::Text),
    (b"mccmnc", Form::Text),
];

/// `BrandVersion` (3.2.30).
const BRAND: Form = Form::Object(&[("brand", Form::Text), ("version", Form::List(&Form::Text))]);

/// `UserAgent` (3.2.29).
const AGENT: Form = Form::Object(&[
    ("browsers", Form::List(&BRAND)),
    ("platform", BRAND),
    ("mobile", Form::Number),
    ("architecture", Form::Text),
    ("bitness", Form::Text),
    ("model", Form::Text),
    ("source", Form::Number),
]);

/// Google's list of vendors: the Additional Consent string, or numbers.
const PROVIDERS: Form = Form::Object(&[("consented_providers", Form::List(&Form::Text))]);

impl Fate {
    /// Whether a member that we write ourselves is told as it is.
    pub fn keeps_ours(self) -> bool {
        matches!(self, Self::Keep | Self::As(_))
    }

    /// Whether a value is told as it came.
    pub fn keeps(self, value: &[u8]) -> bool {
        match self {
            Self::Keep => true,
            Self::As(form) => form.holds(value) && form.is_whole(value),
            _ => false,
        }
    }
}

impl Disclosure {
    /// Everything, as it came.
    pub const FULL: Self = Self { level: Level::Full };

    /// The strictest reading.
    pub const STRICT: Self = Self { level: Level::Strict };

    /// Of a child: the strictest reading, and no place that is finer than a region.
    pub const CHILD: Self = Self { level: Level::Child };

    /// Whether nothing is withheld.
    pub fn is_full(self) -> bool {
        self.level == Level::Full
    }

    /// What becomes of a member; `raw_key` is the key as it stands between its quotes.
    pub fn fate(self, place: Place, key: Key, raw_key: &[u8]) -> Fate {
        if self.is_full() {
            return Fate::Keep;
        }
        match place {
            Place::User => Self::user(key),
            Place::UserExt => Self::user_ext(key, raw_key),
            Place::Device => Self::device(key, raw_key),
            Place::DeviceExt if key == Key::Atts => Fate::As(Form::Number),
            Place::DeviceExt => Fate::Drop,
            Place::Geo => self.geo(key, raw_key),
            Place::Prebid if matches!(key, Key::Data | Key::PageViewIds) => Fate::Drop,
            Place::Prebid => Fate::Keep,
        }
    }

    fn user(key: Key) -> Fate {
        match key {
            Key::Geo | Key::Ext => Fate::Enter,
            Key::Consent => Fate::As(Form::Text),
            _ => Fate::Drop,
        }
    }

    fn user_ext(key: Key, raw_key: &[u8]) -> Fate {
        match (key, raw_key) {
            (Key::Consent, _) => Fate::As(Form::Text),
            (Key::Other, b"ConsentedProvidersSettings" | b"consented_providers_settings") => {
                Fate::As(PROVIDERS)
            }
            _ => Fate::Drop,
        }
    }

    fn device(key: Key, raw_key: &[u8]) -> Fate {
        match key {
            Key::Geo | Key::Ext => Fate::Enter,
            Key::Ip | Key::Ipv6 => Fate::Truncate,
            Key::Sua => Fate::As(AGENT),
            Key::Dnt | Key::Lmt | Key::Devicetype | Key::H | Key::W | Key::Connectiontype => {
                Fate::As(Form::Number)
            }
            Key::Ua
            | Key::Make
            | Key::Model
            | Key::Os
            | Key::Osv
            | Key::Hwv
            | Key::Language
            | Key::Carrier => Fate::As(Form::Text),
            Key::Other => {
                let kept = DEVICE_KEPT.iter().find(|(name, _)| *name == raw_key);
                kept.map_or(Fate::Drop, |(_, form)| Fate::As(*form))
            }
            _ => Fate::Drop,
        }
    }

    fn geo(self, key: Key, raw_key: &[u8]) -> Fate {
        match key {
            Key::Lat | Key::Lon | Key::Metro | Key::City if self.level == Level::Child => {
                Fate::Drop
            }
            Key::Lat | Key::Lon => Fate::Round,
            Key::Type | Key::Ipservice | Key::Utcoffset => Fate::As(Form::Number),
            Key::Country | Key::Region | Key::Metro | Key::City => Fate::As(Form::Text),
            _ if raw_key == b"regionfips104" => Fate::As(Form::Text),
            _ => Fate::Drop,
        }
    }
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

/// The first 16 bits of an address that has an IPv4 address in the next 32 (6to4: RFC 3056, 2).
const SIX_TO_FOUR: u16 = 0x2002;

/// The address without its low bits: an IPv4 address's /24, an IPv6 address's /48. An IPv4 address
/// that is written as IPv6 loses all: its bits are the low ones. Of a 6to4 address a /48 would be
/// the whole IPv4 address: that keeps its /24.
pub fn truncated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            let c = if a == SIX_TO_FOUR { c & 0xff00 } else { c };
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
            (Place::User, Key::Consent, "consent", Fate::As(Form::Text)),
            (Place::User, Key::Geo, "geo", Fate::Enter),
            (Place::User, Key::Ext, "ext", Fate::Enter),
            (Place::UserExt, Key::Consent, "consent", Fate::As(Form::Text)),
            (Place::UserExt, Key::Other, "ConsentedProvidersSettings", Fate::As(PROVIDERS)),
            (Place::UserExt, Key::Other, "consented_providers_settings", Fate::As(PROVIDERS)),
            (Place::UserExt, Key::Other, "consentedProvidersSettings", Fate::Drop),
            (Place::UserExt, Key::Eids, "eids", Fate::Drop),
            (Place::UserExt, Key::Other, "nex_eth", Fate::Drop),
            (Place::Device, Key::Ifa, "ifa", Fate::Drop),
            (Place::Device, Key::Didsha1, "didsha1", Fate::Drop),
            (Place::Device, Key::Macmd5, "macmd5", Fate::Drop),
            (Place::Device, Key::Ip, "ip", Fate::Truncate),
            (Place::Device, Key::Ua, "ua", Fate::As(Form::Text)),
            (Place::Device, Key::Sua, "sua", Fate::As(AGENT)),
            (Place::Device, Key::Lmt, "lmt", Fate::As(Form::Number)),
            (Place::Device, Key::Other, "js", Fate::As(Form::Number)),
            (Place::Device, Key::Other, "idfa", Fate::Drop),
            (Place::Device, Key::Other, "j\\u0073", Fate::Drop),
            (Place::DeviceExt, Key::Atts, "atts", Fate::As(Form::Number)),
            (Place::Device, Key::Atts, "atts", Fate::Drop),
            (Place::DeviceExt, Key::Ifa, "ifa", Fate::Drop),
            (Place::Geo, Key::Lat, "lat", Fate::Round),
            (Place::Geo, Key::Zip, "zip", Fate::Drop),
            (Place::Geo, Key::City, "city", Fate::As(Form::Text)),
            (Place::Geo, Key::Ext, "ext", Fate::Drop),
            (Place::Geo, Key::Other, "regionfips104", Fate::As(Form::Text)),
            (Place::Geo, Key::Other, "street", Fate::Drop),
            (Place::Prebid, Key::Data, "data", Fate::Drop),
            (Place::Prebid, Key::PageViewIds, "page_view_ids", Fate::Drop),
            (Place::Prebid, Key::Other, "channel", Fate::Keep),
        ] {
            let got = Disclosure::STRICT.fate(place, key, raw.as_bytes());
            assert_eq!(got, fate, "{place:?}.{raw}");
        }
    }

    #[test]
    fn of_a_child_no_place_is_told_that_is_finer_than_a_region() {
        for (key, raw) in [
            (Key::Lat, "lat"),
            (Key::Lon, "lon"),
            (Key::Metro, "metro"),
            (Key::City, "city"),
            (Key::Zip, "zip"),
            (Key::Accuracy, "accuracy"),
        ] {
            let got = Disclosure::CHILD.fate(Place::Geo, key, raw.as_bytes());
            assert_eq!(got, Fate::Drop, "{raw}");
        }
        for (place, key, raw) in [
            (Place::Geo, Key::Country, "country"),
            (Place::Geo, Key::Region, "region"),
            (Place::Geo, Key::Other, "regionfips104"),
            (Place::Geo, Key::Utcoffset, "utcoffset"),
            (Place::User, Key::Consent, "consent"),
            (Place::User, Key::Id, "id"),
            (Place::Device, Key::Ip, "ip"),
            (Place::Device, Key::Sua, "sua"),
            (Place::Device, Key::Ifa, "ifa"),
        ] {
            let [child, strict] = [Disclosure::CHILD, Disclosure::STRICT]
                .map(|disclosure| disclosure.fate(place, key, raw.as_bytes()));
            assert_eq!(child, strict, "{place:?}.{raw}");
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
            ("2002:c000:24d:1::5", "2002:c000:200::"),
            ("2003:c000:24d:1::5", "2003:c000:24d::"),
        ] {
            let mut out = Vec::new();
            write_truncated(address.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{expected}\""));
        }
    }
}
