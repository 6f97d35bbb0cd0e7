//! What kind of request a bid request is.
//!
//! Owns: [`Features`], read in one walk. Never: a rule of OpenRTB; whatever is there is taken as
//! it is, and what is missing is empty. Invariant: total.
//!
//! Their combination is what diversity is counted by: two requests of one combination take about
//! the same way through an exchange.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::mix;
use gavel::json::Number;
use gavel::json::value::{Kind, Members, Value};
use gavel::request::Key;

/// Where an ad is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Channel {
    #[default]
    Unknown,
    Site,
    App,
    Dooh,
}

/// Of all imps together, and whether there is a deal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Formats {
    pub banner: bool,
    pub video: bool,
    pub audio: bool,
    pub native: bool,
}

/// What privacy signals there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Privacy {
    pub gdpr: Option<bool>,
    pub consent: bool,
    /// `us_privacy` is there, and it opts out.
    pub us: Option<bool>,
    pub gpp: bool,
    pub coppa: bool,
    /// `lmt` or `dnt`.
    pub limited: bool,
}

/// See the module. Strings are as in the request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Features<'d> {
    pub channel: Channel,
    pub formats: Formats,
    pub imps: usize,
    /// Width and height of the first imp's first size; 0 where there is none.
    pub size: (u64, u64),
    pub deals: usize,
    pub interstitial: bool,
    pub rewarded: bool,
    pub device_type: u64,
    pub connection_type: u64,
    pub os: &'d str,
    pub country: &'d str,
    pub privacy: Privacy,
    pub eids: bool,
    pub first_price: bool,
    pub agent: &'d str,
    pub address: &'d str,
    /// Domain, bundle or, without them, id of the site, app or screen.
    pub place: &'d str,
    /// `tagid` of the first imp.
    pub placement: &'d str,
}

impl<'d> Features<'d> {
    /// Of a request.
    pub fn of(root: Value<'d>) -> Self {
        let mut features = Self::default();
        for member in members(root) {
            let value = member.value;
            match member.key {
                Key::Imp => features.read_imps(value),
                Key::Site => features.read_place(Channel::Site, value),
                Key::App => features.read_place(Channel::App, value),
                Key::Dooh => features.read_place(Channel::Dooh, value),
                Key::Device => features.read_device(value),
                Key::User => features.read_user(value),
                Key::Regs => features.read_regs(value),
                Key::At => features.first_price = number(value) == 1,
                _ => {}
            }
        }
        features
    }

    /// A hash of what the combination is made of: everything but the agent, the address, the place
    /// and the placement, which have axes of their own.
    pub fn combination(&self) -> u64 {
        let privacy = &self.privacy;
        let tristate = |flag: Option<bool>| flag.map_or(0, |flag| if flag { 2 } else { 1 });
        let flags = [
            self.formats.banner,
            self.formats.video,
            self.formats.audio,
            self.formats.native,
            self.interstitial,
            self.rewarded,
            privacy.consent,
            privacy.gpp,
            privacy.coppa,
            privacy.limited,
            self.eids,
            self.first_price,
        ];
        let flags = flags.iter().fold(0, |bits, flag| bits << 1 | u64::from(*flag));
        // more than four deals, or more than eight imps, are many
        let counts = [
            self.channel as u64,
            self.imps.min(9) as u64,
            self.deals.min(5) as u64,
            self.size.0,
            self.size.1,
            self.device_type,
            self.connection_type,
            tristate(privacy.gdpr),
            tristate(privacy.us),
        ];
        let hash = counts.iter().fold(flags, |hash, count| mix::pair(hash, *count));
        mix::hash(mix::hash(hash, self.os.as_bytes()), self.country.as_bytes())
    }

    fn read_imps(&mut self, imps: Value<'d>) {
        let Kind::Array(imps) = imps.kind() else { return };
        self.imps = imps.len();
        for (index, imp) in imps.enumerate() {
            for member in members(imp) {
                let value = member.value;
                match member.key {
                    Key::Banner => self.formats.banner = true,
                    Key::Video => self.formats.video = true,
                    Key::Audio => self.formats.audio = true,
                    Key::Native => self.formats.native = true,
                    Key::Instl => self.interstitial |= is_set(value),
                    Key::Rwdd => self.rewarded |= is_set(value),
                    Key::Pmp => self.read_deals(value),
                    _ if index == 0 && member.name == "tagid" => self.placement = value.written(),
                    _ => {}
                }
                if index == 0 && self.size == (0, 0) {
                    self.size = size(member.key, value);
                }
            }
        }
    }

    fn read_deals(&mut self, pmp: Value<'d>) {
        for member in members(pmp) {
            if let (Key::Deals, Kind::Array(deals)) = (member.key, member.value.kind()) {
                self.deals = self.deals.saturating_add(deals.len());
            }
        }
    }

    fn read_place(&mut self, channel: Channel, place: Value<'d>) {
        self.channel = channel;
        for member in members(place) {
            match member.key {
                Key::Domain | Key::Bundle => self.place = member.value.written(),
                Key::Id if self.place.is_empty() => self.place = member.value.written(),
                _ => {}
            }
        }
    }

    fn read_device(&mut self, device: Value<'d>) {
        for member in members(device) {
            let value = member.value;
            match member.key {
                Key::Ua => self.agent = value.written(),
                Key::Ip => self.address = value.written(),
                Key::Ipv6 if self.address.is_empty() => self.address = value.written(),
                Key::Os => self.os = value.written(),
                Key::Devicetype => self.device_type = number(value),
                Key::Connectiontype => self.connection_type = number(value),
                Key::Lmt | Key::Dnt => self.privacy.limited |= is_set(value),
                Key::Geo => self.read_geo(value),
                _ => {}
            }
        }
    }

    fn read_geo(&mut self, geo: Value<'d>) {
        for member in members(geo) {
            if member.key == Key::Country && self.country.is_empty() {
                self.country = member.value.written();
            }
        }
    }

    /// `consent` and `eids` stand in `user` or, before OpenRTB 2.6, in `user.ext`.
    fn read_user(&mut self, user: Value<'d>) {
        for member in members(user) {
            match member.key {
                Key::Consent => self.privacy.consent |= !member.value.written().is_empty(),
                Key::Eids => self.eids |= !member.value.is_null(),
                Key::Geo => self.read_geo(member.value),
                Key::Ext => self.read_user(member.value),
                _ => {}
            }
        }
    }

    /// `gdpr`, `us_privacy` and `gpp` stand in `regs` or, before OpenRTB 2.6, in `regs.ext`.
    fn read_regs(&mut self, regs: Value<'d>) {
        let privacy = &mut self.privacy;
        for member in members(regs) {
            let value = member.value;
            match member.key {
                Key::Gdpr => privacy.gdpr = Some(is_set(value)),
                Key::UsPrivacy => {
                    let opt_out = value.written().as_bytes().get(2);
                    privacy.us = Some(opt_out.is_some_and(|sign| b"Yy".contains(sign)));
                }
                Key::Gpp => privacy.gpp |= !value.written().is_empty(),
                Key::Coppa => privacy.coppa |= is_set(value),
                Key::Ext => {
                    self.read_regs(value);
                    return;
                }
                _ => {}
            }
        }
    }
}

/// Of a media object: `w` and `h`, or those of its first format.
fn size(media: Key, value: Value<'_>) -> (u64, u64) {
    if !matches!(media, Key::Banner | Key::Video) {
        return (0, 0);
    }
    let (mut size, mut first) = ((0, 0), (0, 0));
    for member in members(value) {
        match member.key {
            Key::W => size.0 = number(member.value),
            Key::H => size.1 = number(member.value),
            Key::Format => {
                if let Kind::Array(mut formats) = member.value.kind() {
                    first = formats.next().map_or((0, 0), sides);
                }
            }
            _ => {}
        }
    }
    if size == (0, 0) { first } else { size }
}

fn sides(format: Value<'_>) -> (u64, u64) {
    let mut size = (0, 0);
    for member in members(format) {
        match member.key {
            Key::W => size.0 = number(member.value),
            Key::H => size.1 = number(member.value),
            _ => {}
        }
    }
    size
}

/// The members of an object; none of anything else.
fn members<'d>(value: Value<'d>) -> impl Iterator<Item = gavel::json::value::Entry<'d>> {
    let members: Option<Members<'d>> = match value.kind() {
        Kind::Object(members) => Some(members),
        _ => None,
    };
    members.into_iter().flatten()
}

/// A whole number; 0 for anything else.
fn number(value: Value<'_>) -> u64 {
    match value.kind() {
        Kind::Number(Number::Unsigned(number)) => number,
        Kind::Number(Number::Float(float)) if (0.0..1e9).contains(&float) => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in range, and 300.0 is 300"
            )]
            let whole = float as u64;
            whole
        }
        _ => 0,
    }
}

/// 1, or `true`.
fn is_set(value: Value<'_>) -> bool {
    number(value) == 1 || matches!(value.kind(), Kind::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gavel::json::scratch::Scratch;

    fn with<R>(body: &str, look: impl FnOnce(Features<'_>) -> R) -> R {
        let (mut scratch, mut text) = (Scratch::new(64), Vec::new());
        let document = scratch.read(body.as_bytes(), &mut text).unwrap();
        look(Features::of(document.root()))
    }

    #[test]
    fn features_are_read_from_both_places_where_versions_put_them() {
        let old = r#"{"id":"1","at":1,"imp":[{"id":"1","tagid":"t","banner":{"format":[{"w":300.0,"h":250}]},
            "pmp":{"deals":[{"id":"a"},{"id":"b"}]}},{"id":"2","video":{},"instl":1}],
            "app":{"id":"x","bundle":"com.example.app"},
            "device":{"ua":"agent","ip":"192.0.2.1","os":"iOS","devicetype":4,"geo":{"country":"DEU"},"lmt":1},
            "user":{"ext":{"consent":"CP","eids":[{}]}},"regs":{"coppa":1,"ext":{"gdpr":1,"us_privacy":"1YYN"}}}"#;
        with(old, |features| {
            assert_eq!(
                features,
                Features {
                    channel: Channel::App,
                    formats: Formats { banner: true, video: true, ..Formats::default() },
                    imps: 2,
                    size: (300, 250),
                    deals: 2,
                    interstitial: true,
                    rewarded: false,
                    device_type: 4,
                    connection_type: 0,
                    os: "iOS",
                    country: "DEU",
                    privacy: Privacy {
                        gdpr: Some(true),
                        consent: true,
                        us: Some(true),
                        gpp: false,
                        coppa: true,
                        limited: true,
                    },
                    eids: true,
                    first_price: true,
                    agent: "agent",
                    address: "192.0.2.1",
                    place: "com.example.app",
                    placement: "t",
                }
            );
        });
        let new = r#"{"user":{"consent":"CP","eids":[]},"regs":{"gdpr":0,"gpp":"DB"},"device":{"ipv6":"2001:db8::1"}}"#;
        with(new, |features| {
            assert!(features.privacy.consent && features.privacy.gpp && features.eids);
            assert_eq!(features.privacy.gdpr, Some(false));
            assert_eq!(features.address, "2001:db8::1");
        });
    }

    #[test]
    fn a_combination_changes_with_each_feature_and_with_nothing_else() {
        let of = |body: &str| with(body, |features| features.combination());
        let base = r#"{"imp":[{"banner":{"w":300,"h":250}}],"site":{"domain":"a.example"},"device":{"os":"iOS","ua":"x"}}"#;
        for (from, to) in [
            ("300", "320"),
            ("250", "50"),
            ("banner", "video"),
            ("site", "app"),
            ("iOS", "Android"),
            (r#""os""#, r#""devicetype":2,"os""#),
            (r#""os""#, r#""geo":{"country":"FRA"},"os""#),
            (r#""os""#, r#""dnt":1,"os""#),
            (r#"{"imp""#, r#"{"at":1,"imp""#),
            (r#"{"imp""#, r#"{"regs":{"gdpr":0},"imp""#),
            (r#"{"imp""#, r#"{"user":{"consent":"x"},"imp""#),
        ] {
            let other = base.replacen(from, to, 1);
            assert_ne!(of(base), of(&other), "{other}");
        }
        for (from, to) in
            [("a.example", "b.example"), (r#""x""#, r#""y""#), ("{\"imp", "{\"id\":\"1\",\"imp")]
        {
            assert_eq!(of(base), of(&base.replacen(from, to, 1)), "{from} to {to}");
        }
    }

    #[test]
    fn anything_that_is_json_has_features() {
        for body in ["1", "[]", "null", r#"{"imp":1,"device":[],"user":"x","regs":{"ext":[{}]}}"#] {
            with(body, |features| assert_eq!(features.agent, "", "{body}"));
        }
    }
}
