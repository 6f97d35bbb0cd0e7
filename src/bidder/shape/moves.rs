//! Which members change their place between OpenRTB 2.5 and 2.6, as changes of two objects.
//!
//! Owns: the rule of "Moves" in `shape`. Never: a byte written.

use crate::bidder::OpenRtbVersion;
use crate::openrtb::ids::Media;
use crate::request::{Key, Member, Object, ValidRequest};
use smallvec::SmallVec;

/// A member's key, and its name as we write it.
pub type Name = (Key, &'static str);

/// The members that stand in an object in 2.6 and in its `ext` in 2.5.
pub const REGS: &[Name] = &[
    (Key::Gdpr, "\"gdpr\":"),
    (Key::UsPrivacy, "\"us_privacy\":"),
    (Key::Gpp, "\"gpp\":"),
    (Key::GppSid, "\"gpp_sid\":"),
];
pub const EIDS: &Name = &(Key::Eids, "\"eids\":");
pub const USER: &[Name] = &[(Key::Consent, "\"consent\":"), *EIDS];
pub const SCHAIN: &Name = &(Key::Schain, "\"schain\":");
pub const SOURCE: &[Name] = &[*SCHAIN];
pub const BIDFLOOR: &Name = &(Key::Bidfloor, "\"bidfloor\":");
pub const BIDFLOORCUR: &Name = &(Key::Bidfloorcur, "\"bidfloorcur\":");
pub const SECURE: &Name = &(Key::Secure, "\"secure\":");
pub const BUYERUID: &Name = &(Key::Buyeruid, "\"buyeruid\":");
pub const IP: &Name = &(Key::Ip, "\"ip\":");
pub const IPV6: &Name = &(Key::Ipv6, "\"ipv6\":");
pub const DNT: &Name = &(Key::Dnt, "\"dnt\":");
/// What an imp can show.
pub const MEDIA: [(Media, &Name); 4] = [
    (Media::Banner, &(Key::Banner, "\"banner\":")),
    (Media::Video, &(Key::Video, "\"video\":")),
    (Media::Audio, &(Key::Audio, "\"audio\":")),
    (Media::Native, &(Key::Native, "\"native\":")),
];
/// Of `regs.ext` in any version.
pub const GPC: &Name = &(Key::Gpc, "\"gpc\":");
/// Of `user.ext`.
pub const PREBID: &Name = &(Key::Prebid, "\"prebid\":");
pub const IMP: &[Name] = &[(Key::Rwdd, "\"rwdd\":")];

/// What becomes of one member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Change<'v> {
    pub name: &'static Name,
    /// `None`: the member is left out. Else it is set, whether it is there or not.
    pub value: Option<&'v [u8]>,
}

/// Changes of one object: no more than the longest table and one, an imp's four or a device's three. An imp
/// that loses media has more of them.
pub type Changes<'v> = SmallVec<[Change<'v>; 5]>;

/// Changes of an object and of its `ext`.
#[derive(Clone, Debug, Default)]
pub struct Moves<'v> {
    pub own: Changes<'v>,
    pub ext: Changes<'v>,
}

impl<'v> Moves<'v> {
    /// Sets a member in the place of `version` and leaves it out of the other.
    pub fn set(&mut self, version: OpenRtbVersion, name: &'static Name, value: &'v [u8]) {
        let (there, here) = (Change { name, value: Some(value) }, Change { name, value: None });
        match version {
            OpenRtbVersion::V25 => {
                self.ext.push(there);
                self.own.push(here);
            }
            OpenRtbVersion::V26 => {
                self.own.push(there);
                self.ext.push(here);
            }
        }
    }

    /// Moves those of `names` that stand in the other version's place and that a bidder may see.
    pub fn relocate(
        &mut self,
        request: &'v ValidRequest,
        (object, ext): (&Object, &Object),
        version: OpenRtbVersion,
        names: &'static [Name],
        is_kept: impl Fn(Key, &[u8]) -> bool,
    ) {
        let (right, wrong) = match version {
            OpenRtbVersion::V25 => (ext, object),
            OpenRtbVersion::V26 => (object, ext),
        };
        for member in request.members(wrong) {
            let Some(name) = names.iter().find(|name| name.0 == member.key) else { continue };
            let value = present(request, member).filter(|value| is_kept(name.0, value));
            let Some(value) = value else { continue };
            let other = request.member(right, name.0).and_then(|other| present(request, other));
            if other.is_none_or(|other| other == value) {
                self.set(version, name, value);
            }
        }
    }
}

/// A member's value, unless it is `null`.
fn present<'v>(request: &'v ValidRequest, member: &Member) -> Option<&'v [u8]> {
    Some(request.value(member)).filter(|value| *value != b"null")
}

/// Whether the object's `ext` can take members: it is an object, absent or `null`.
pub fn takes_members(request: &ValidRequest, object: &Object, ext: Option<&Object>) -> bool {
    ext.is_some()
        || request.member(object, Key::Ext).is_none_or(|member| request.value(member) == b"null")
}
