//! Names that are personal: of members of a document, and of parameters of an address.
//!
//! Owns: the two tables, how a name is compared with them, [`Treat`]. Never: a value. Invariant: a name is the
//! same in either case, and with or without `_` and `-`.
#![deny(clippy::indexing_slicing)]

/// What becomes of a personal value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Treat {
    /// A token of the same shape.
    Id,
    /// The network stays, the host becomes a token.
    Ip,
    /// A latitude or longitude: two decimals stay.
    Coordinate,
    /// The first three characters stay.
    Zip,
    /// An address of electronic mail.
    Email,
}

impl Treat {
    /// A word for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Id => "identifier",
            Self::Ip => "IP address",
            Self::Coordinate => "position",
            Self::Zip => "postal code",
            Self::Email => "mail address",
        }
    }
}

/// Where a name is personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// Whatever it stands in.
    Anywhere,
    /// Directly in a member of this name (arrays between them do not count).
    In(&'static str),
    /// At any depth below a member of this name.
    Under(&'static str),
}

use Treat::{Coordinate, Id, Ip, Zip};
use Where::{Anywhere, In, Under};

/// Personal members, by name: lower case, without `_` and `-`, sorted. If the value is an object or
/// an array, all that is in it is personal.
///
/// Kept as they are, on purpose: consent strings (without them a replay decides otherwise), `yob`,
/// `gender`, `keywords` and `data` of a user, user agents, ids of requests, imps, deals, sellers.
#[rustfmt::skip]
const NAMES: [(&str, Where, Treat); 148] = [
    ("aaid", Anywhere, Id), ("accountid", Under("user"), Id), ("address", Under("user"), Id),
    ("adid", Under("device"), Id), ("advertisingid", Anywhere, Id), ("afai", Anywhere, Id),
    ("amxid", Anywhere, Id), ("androidid", Anywhere, Id), ("birthdate", Anywhere, Id),
    ("birthday", Anywhere, Id), ("bssid", Anywhere, Id), ("buyerid", Under("user"), Id),
    ("buyeruid", Anywhere, Id), ("buyeruids", Anywhere, Id), ("clientid", Under("user"), Id),
    ("clientip", Anywhere, Ip), ("connectedtvid", Anywhere, Id), ("cookie", Anywhere, Id),
    ("cookies", Anywhere, Id), ("coordinates", Anywhere, Coordinate),
    ("coords", Anywhere, Coordinate), ("criteoid", Anywhere, Id), ("customdata", In("user"), Id),
    ("customerid", Anywhere, Id), ("dateofbirth", Anywhere, Id), ("deviceid", Anywhere, Id),
    ("didmd5", Anywhere, Id), ("didsha1", Anywhere, Id), ("dob", Anywhere, Id),
    ("dpid", Under("device"), Id), ("dpidmd5", Anywhere, Id), ("dpidsha1", Anywhere, Id),
    ("dpuuid", Anywhere, Id), ("email", Anywhere, Id), ("emailhash", Anywhere, Id),
    ("emailmd5", Anywhere, Id), ("emailsha1", Anywhere, Id), ("emailsha256", Anywhere, Id),
    ("euid", Anywhere, Id), ("externalid", Under("user"), Id), ("familyname", Anywhere, Id),
    ("firstname", Anywhere, Id), ("forwarded", Anywhere, Id), ("fpid", Anywhere, Id),
    ("fullname", Anywhere, Id), ("gaid", Anywhere, Id), ("gaidmd5", Anywhere, Id),
    ("gaidsha1", Anywhere, Id), ("geohash", Anywhere, Zip), ("geolat", Anywhere, Coordinate),
    ("geolng", Anywhere, Coordinate), ("geolon", Anywhere, Coordinate), ("givenname", Anywhere, Id),
    ("hashedemail", Anywhere, Id), ("hashedemailmd5", Anywhere, Id),
    ("hashedemailsha1", Anywhere, Id), ("hem", Anywhere, Id), ("hwid", Under("device"), Id),
    ("iccid", Anywhere, Id), ("id", In("user"), Id), ("id", In("uids"), Id),
    ("id", In("device"), Id), ("id", Under("eids"), Id), ("id5id", Anywhere, Id),
    ("idfa", Anywhere, Id), ("idfamd5", Anywhere, Id), ("idfasha1", Anywhere, Id),
    ("idfv", Anywhere, Id), ("idl", Under("user"), Id), ("idlenv", Anywhere, Id),
    ("ifa", Anywhere, Id), ("ifv", Anywhere, Id), ("imei", Anywhere, Id), ("imsi", Anywhere, Id),
    ("ip", Anywhere, Ip), ("ipaddress", Anywhere, Ip), ("ipv4", Anywhere, Ip),
    ("ipv6", Anywhere, Ip), ("lastname", Anywhere, Id), ("lat", Anywhere, Coordinate),
    ("late6", Anywhere, Coordinate), ("late7", Anywhere, Coordinate),
    ("latitude", Anywhere, Coordinate), ("latitudedeg", Anywhere, Coordinate),
    ("lgudid", Anywhere, Id), ("lipbid", Anywhere, Id), ("lng", Anywhere, Coordinate),
    ("lnge6", Anywhere, Coordinate), ("lnge7", Anywhere, Coordinate), ("login", Under("user"), Id),
    ("lon", Anywhere, Coordinate), ("lone6", Anywhere, Coordinate), ("lone7", Anywhere, Coordinate),
    ("longitude", Anywhere, Coordinate), ("longitudedeg", Anywhere, Coordinate),
    ("mac", Under("device"), Id), ("macaddress", Anywhere, Id), ("macmd5", Anywhere, Id),
    ("macsha1", Anywhere, Id), ("mail", Under("user"), Id), ("meid", Anywhere, Id),
    ("mobile", Under("user"), Id), ("mobilephone", Anywhere, Id), ("msisdn", Anywhere, Id),
    ("name", In("user"), Id), ("netid", Under("user"), Id), ("oaid", Anywhere, Id),
    ("openudid", Anywhere, Id), ("phone", Anywhere, Id), ("phonenumber", Anywhere, Id),
    ("plz", Anywhere, Zip), ("postal", Under("geo"), Zip), ("postalcode", Anywhere, Zip),
    ("postcode", Anywhere, Zip), ("ppid", Anywhere, Id), ("pubcid", Anywhere, Id),
    ("rampid", Anywhere, Id), ("realip", Anywhere, Ip), ("remoteaddr", Anywhere, Ip),
    ("rida", Anywhere, Id), ("search", In("site"), Id), ("serial", Under("device"), Id),
    ("serialnumber", Under("device"), Id), ("sessionid", Anywhere, Id), ("sharedid", Anywhere, Id),
    ("ssid", Under("device"), Id), ("street", Under("user"), Id), ("street", Under("geo"), Id),
    ("streetaddress", Anywhere, Id), ("surname", Anywhere, Id), ("tdid", Anywhere, Id),
    ("tel", Under("user"), Id), ("telephone", Anywhere, Id), ("tifa", Anywhere, Id),
    ("udid", Anywhere, Id), ("uid", Anywhere, Id), ("uid2", Anywhere, Id),
    ("uid2token", Anywhere, Id), ("userid", Anywhere, Id), ("username", Anywhere, Id),
    ("uuid", Under("device"), Id), ("uuid", Under("user"), Id), ("vida", Anywhere, Id),
    ("x", Under("geo"), Coordinate), ("xforwardedfor", Anywhere, Id),
    ("y", Under("geo"), Coordinate), ("zip", Anywhere, Zip), ("zipcode", Anywhere, Zip),
];

/// Parameters of addresses (behind `?`, `&`, `;` or `#`) that are personal, beside [`NAMES`] that
/// are so anywhere; as those, sorted.
#[rustfmt::skip]
const PARAMETERS: [&str; 45] = [
    "accesstoken", "adid", "auth", "authtoken", "cid", "code", "custid", "dclid", "dpid", "em",
    "fbclid", "fn", "ga", "gbraid", "gclid", "gid", "idtoken", "irclickid", "jwt", "key", "lifatid",
    "ln", "mail", "mceid", "msclkid", "name", "pass", "password", "ph", "puid", "pwd", "q", "query",
    "search", "session", "sid", "sig", "tel", "token", "ttclid", "twclid", "user", "visitorid",
    "wbraid", "yclid",
];

/// What holds ids, and the members of such that are none: whatever else stands directly in it is one.
const HOLDERS: [(&str, &[&str]); 2] = [
    ("eids", &["source", "uids", "inserter", "matcher", "mm", "atype", "provider", "ext"]),
    ("uids", &["atype", "ext"]),
];

/// Names of what may be an array of degrees; of its numbers those that are as exact as a position.
const POSITIONS: [&str; 13] = [
    "center", "geo", "geopoint", "gps", "latlng", "latlon", "latlong", "ll", "lnglat", "loc",
    "location", "lonlat", "point",
];

/// Longest of [`POSITIONS`].
const POSITION_BYTES_MAX: usize = 8;

/// Longest name that the tables hold.
const NAME_BYTES_MAX: usize = 16;

/// The names of the tables as they are looked for, in the same order.
#[expect(
    clippy::indexing_slicing,
    reason = "runs when this is compiled, over tables of known lengths"
)]
static PLAIN_NAMES: [u128; NAMES.len()] = {
    let mut plain = [0; NAMES.len()];
    let mut at = 0;
    while at < NAMES.len() {
        plain[at] = packed(NAMES[at].0.as_bytes());
        at += 1;
    }
    plain
};
static PLAIN_PARAMETERS: [u128; PARAMETERS.len()] = packed_all(&PARAMETERS);
static PLAIN_POSITIONS: [u128; POSITIONS.len()] = packed_all(&POSITIONS);

#[expect(
    clippy::indexing_slicing,
    reason = "runs when this is compiled, over tables of known lengths"
)]
const fn packed_all<const ROWS: usize>(names: &[&str; ROWS]) -> [u128; ROWS] {
    let mut plain = [0; ROWS];
    let mut at = 0;
    while at < ROWS {
        plain[at] = packed(names[at].as_bytes());
        at += 1;
    }
    plain
}

/// A name of the tables as a number: its bytes from the highest on, so that numbers sort as names.
#[expect(clippy::indexing_slicing, reason = "runs when this is compiled, over names of the tables")]
const fn packed(name: &[u8]) -> u128 {
    let mut bytes = [0; NAME_BYTES_MAX];
    let mut at = 0;
    while at < name.len() {
        bytes[at] = name[at];
        at += 1;
    }
    u128::from_be_bytes(bytes)
}

/// A name as the tables write it, packed. `None`: longer than any name of the tables.
fn plain(name: &str) -> Option<u128> {
    let mut bytes = [0; NAME_BYTES_MAX];
    match bytes.get_mut(..name.len()) {
        Some(room) if !name.bytes().any(is_padding) => room.copy_from_slice(name.as_bytes()),
        _ => {
            for (at, byte) in name.bytes().filter(|byte| !is_padding(*byte)).enumerate() {
                *bytes.get_mut(at)? = byte;
            }
        }
    }
    bytes.make_ascii_lowercase();
    Some(u128::from_be_bytes(bytes))
}

/// What names are compared without.
const fn is_padding(byte: u8) -> bool {
    matches!(byte, b'_' | b'-')
}

/// What is known of the names of [`NAMES`] that begin with a letter.
#[derive(Clone, Copy)]
struct Begun {
    /// Their last letters, a bit each.
    ends: u32,
    /// How long they are, a bit each.
    lengths: u32,
}

/// For each first letter, by its low five bits, which are the same in both cases. Hardly a name of a request
/// is there, and most are told by this alone.
#[expect(
    clippy::indexing_slicing,
    reason = "runs when this is compiled, over tables of known lengths"
)]
static BEGUN: [Begun; 32] = {
    let mut begun = [Begun { ends: 0, lengths: 0 }; 32];
    let mut at = 0;
    while at < NAMES.len() {
        let name = NAMES[at].0.as_bytes();
        let row = &mut begun[(name[0] & 31) as usize];
        row.ends |= 1 << (name[name.len() - 1] & 31);
        row.lengths |= 1 << name.len();
        at += 1;
    }
    begun
};

/// Whether a name may be one of [`NAMES`].
#[inline]
fn may_be_named(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let Some(Begun { ends, lengths }) = BEGUN.get(usize::from(first & 31)) else { return false };
    let has_end = ends >> (last & 31) & 1 == 1;
    let has_length = bytes.len() < 32 && lengths >> bytes.len() & 1 == 1;
    (has_end && has_length)
        || ((has_end || is_padding(*last) || is_padding(*first))
            && bytes.iter().any(|byte| is_padding(*byte)))
}

/// By its names from the root on: whether a member is personal.
#[inline]
pub fn by_path(path: &[&str]) -> Option<Treat> {
    let (name, above) = path.split_last()?;
    if may_be_named(name) { by_name(name, above) } else { None }
}

fn by_name(name: &str, above: &[&str]) -> Option<Treat> {
    let plain = plain(name)?;
    let first = PLAIN_NAMES.partition_point(|known| *known < plain);
    let same = PLAIN_NAMES.get(first..)?.iter().take_while(|known| **known == plain);
    let holds = |place: Where| match place {
        Anywhere => true,
        In(parent) => above.last().is_some_and(|name| name.eq_ignore_ascii_case(parent)),
        Under(parent) => above.iter().any(|name| name.eq_ignore_ascii_case(parent)),
    };
    let rows = same.zip(NAMES.get(first..)?).map(|(_, row)| row);
    rows.into_iter().find(|(_, place, _)| holds(*place)).map(|(.., treat)| *treat)
}

/// Whether a parameter of this name is personal where it stands.
pub fn is_parameter(name: &str) -> bool {
    plain(name).is_some_and(|plain| PLAIN_PARAMETERS.binary_search(&plain).is_ok())
}

/// What stands directly in a member of this name is an id, but for members of the names given.
#[inline]
pub fn holder_of_ids(name: &str) -> Option<&'static [&'static str]> {
    let is_same = |(holder, _): &&(&str, _)| name.eq_ignore_ascii_case(holder);
    HOLDERS.iter().find(is_same).map(|(_, others)| *others)
}

/// Whether numbers in a member of this name may be degrees.
pub fn may_hold_position(name: &str) -> bool {
    let mut bytes = [0; NAME_BYTES_MAX];
    match bytes.get_mut(..name.len()) {
        Some(room) if name.len() <= POSITION_BYTES_MAX => room.copy_from_slice(name.as_bytes()),
        _ => return false,
    }
    bytes.make_ascii_lowercase();
    PLAIN_POSITIONS.contains(&u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_written_as_they_are_compared() {
        assert!(NAMES.is_sorted_by_key(|row| row.0));
        assert!(PARAMETERS.is_sorted());
        for name in NAMES.iter().map(|row| row.0).chain(PARAMETERS) {
            assert_eq!(plain(name), Some(packed(name.as_bytes())), "{name}");
        }
        for (name, ..) in NAMES {
            let (front, back) = name.split_at(1);
            let parted = format!("{front}_{back}");
            for written in [name.to_owned(), name.to_uppercase(), format!("_{name}-"), parted] {
                assert!(may_be_named(&written), "{written}");
            }
        }
        assert!(["banner", "format", "w", "ext", ""].iter().all(|name| !may_be_named(name)));
    }

    #[test]
    fn names_are_personal_where_they_name_a_person() {
        for (path, expected) in [
            ("user.id", Some(Id)),
            ("user.ext.eids.uids.id", Some(Id)),
            ("user.data.segment.id", None),
            ("imp.id", None),
            ("id", None),
            ("source.tid", None),
            ("device.ip", Some(Ip)),
            ("device.IFA", Some(Id)),
            ("device.ext.adid", Some(Id)),
            ("seatbid.bid.adid", None),
            ("device.geo.lat", Some(Coordinate)),
            ("user.geo.zip", Some(Zip)),
            ("user.yob", None),
            ("user.ext.consent", None),
            ("ext.user_id", Some(Id)),
            ("app.ext.session-id", Some(Id)),
            ("site.search", Some(Id)),
            // of the trade, and what is called so elsewhere
            ("user.ext.idl_env", Some(Id)),
            ("user.ext.uid2_token", Some(Id)),
            ("user.ext.netId", Some(Id)),
            ("user.ext.lipb.lipbid", Some(Id)),
            ("user.uuid", Some(Id)),
            ("app.ext.uuid", None),
            ("device.ext.serialNumber", Some(Id)),
            ("device.ext.serial", Some(Id)),
            ("app.ext.serial", None),
            ("device.ext.rida", Some(Id)),
            ("user.ext.mobile", Some(Id)),
            ("device.sua.mobile", None),
            ("user.ext.date_of_birth", Some(Id)),
            ("device.geo.ext.geohash", Some(Zip)),
            ("device.geo.ext.latE7", Some(Coordinate)),
            ("device.geo.ext.x", Some(Coordinate)),
            ("imp.banner.ext.x", None),
            ("eids.ext.ids.id", Some(Id)),
        ] {
            let names: Vec<&str> = path.split('.').collect();
            assert_eq!(by_path(&names), expected, "{path}");
        }
    }
}
