//! Whether the one who calls is the partner that the path names.
//!
//! Owns: [`authenticate`]. Never: a header, a rate, a log line with a key.
//! Invariant: whoever does not know a partner's key learns nothing, neither from the answer nor
//! from its time: an unknown name, a wrong key and a wrong address cost one hash and the same
//! comparisons, and get one refusal.
//!
//! Keys are random (see the configuration's reference), so that one BLAKE3 and no slow hash is
//! enough: what is stored cannot be guessed back.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::PartnerId;
use crate::snapshot::{Door, Snapshot};
use std::iter;
use std::net::IpAddr;
use subtle::{Choice, ConstantTimeEq};

/// A longer key than this is none of ours: it is not hashed.
pub const KEY_BYTES_MAX: usize = 256;

/// What an unknown partner's key is compared with; no known input hashes to it.
const NO_HASH: [u8; 32] = [0; 32];

/// The partner, where the presented key and the client's address are its own.
///
/// A partner without keys is taken at its name (a mesh or the source ranges protect it).
pub fn authenticate(
    snapshot: &Snapshot,
    partner_name: &str,
    presented_key: Option<&[u8]>,
    client: IpAddr,
) -> Result<PartnerId, Refusal> {
    let door = snapshot.door(partner_name);
    let first = door.and_then(|door| door.key_hash.as_ref());
    // Most partners have one key and no ranges: nothing of them but the door is looked at.
    let partner = |door: &Door| snapshot.partner(door.id);
    let rotating = door.filter(|door| door.has_more_keys).and_then(partner);
    let others = rotating.and_then(|partner| partner.key_hashes.get(1..)).unwrap_or_default();
    let is_keyless = door.is_some_and(|door| door.key_hash.is_none());
    let hashes = iter::once(first.unwrap_or(&NO_HASH)).chain(others);
    let is_key_good = is_one_of(hashes, presented_key.unwrap_or_default());
    match door {
        Some(door) if (is_keyless | is_key_good) & is_inside(door, snapshot, client) => Ok(door.id),
        _ => Err(Refusal::Unauthorised),
    }
}

/// How a key is stored.
pub fn hash_key(key: &[u8]) -> [u8; 32] {
    *blake3::hash(key).as_bytes()
}

fn is_one_of<'h>(hashes: impl Iterator<Item = &'h [u8; 32]>, key: &[u8]) -> bool {
    let is_usable = !key.is_empty() && key.len() <= KEY_BYTES_MAX;
    let presented = hash_key(if is_usable { key } else { &[] });
    let compare = |any, known: &[u8; 32]| any | known.ct_eq(&presented);
    let any = hashes.fold(Choice::from(0), compare);
    is_usable & bool::from(any)
}

/// Whether the partner behind the door may call from there.
fn is_inside(door: &Door, snapshot: &Snapshot, client: IpAddr) -> bool {
    let sources = || snapshot.partner(door.id).map_or(&[][..], |partner| &partner.sources);
    !door.has_sources || sources().iter().any(|network| network.contains(client))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::limits::bank::Bank;
    use crate::limits::rate::LeaseSettings;

    use crate::partner::{Network, Partner};
    use crate::snapshot::Parts;
    use crate::telemetry::hub::{Hub, TelemetrySettings};

    fn partner(name: &str, keys: &[&str], sources: &[&str]) -> Partner {
        Partner {
            key_hashes: keys.iter().map(|key| hash_key(key.as_bytes())).collect(),
            sources: sources.iter().map(|range| Network::parse(range).unwrap()).collect(),
            ..Partner::new(name)
        }
    }

    fn snapshot() -> Snapshot {
        let partners = vec![
            partner("rotating", &["old-key", "new-key"], &[]),
            partner("ranged", &["key"], &["192.0.2.0/24", "2001:db8::/32"]),
            partner("meshed", &[], &["198.51.100.7"]),
            partner("open", &[], &[]),
            partner("open", &["hidden by the first of its name"], &[]),
        ];
        holding(partners)
    }

    fn holding(partners: Vec<Partner>) -> Snapshot {
        let mut bank = Bank::new(1, LeaseSettings::default());
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let parts = Parts::plain(partners, Vec::new());
        Snapshot::new(1, parts, &mut bank, &hub, crate::clock::monotonic())
    }

    #[test]
    fn only_the_right_key_from_the_right_place_is_let_in() {
        let snapshot = snapshot();
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for (name, key, client, id) in [
            ("rotating", Some("old-key"), "203.0.113.1", Some(0)),
            ("rotating", Some("new-key"), "203.0.113.1", Some(0)),
            ("rotating", Some("new-key "), "203.0.113.1", None),
            ("rotating", Some(""), "203.0.113.1", None),
            ("rotating", Some(long.as_str()), "203.0.113.1", None),
            ("rotating", None, "203.0.113.1", None),
            ("rotating", Some("key"), "203.0.113.1", None),
            ("ranged", Some("key"), "192.0.2.200", Some(1)),
            ("ranged", Some("key"), "::ffff:192.0.2.200", Some(1)),
            ("ranged", Some("key"), "2001:db8::9", Some(1)),
            ("ranged", Some("key"), "192.0.3.1", None),
            ("ranged", None, "192.0.2.200", None),
            ("meshed", None, "198.51.100.7", Some(2)),
            ("meshed", Some("whatever"), "198.51.100.7", Some(2)),
            ("meshed", None, "198.51.100.8", None),
            ("open", None, "203.0.113.1", Some(3)),
            ("Open", None, "203.0.113.1", None),
            ("nobody", Some("key"), "192.0.2.200", None),
            ("", None, "192.0.2.200", None),
        ] {
            let expected = id.map(PartnerId).ok_or(Refusal::Unauthorised);
            let key = key.map(str::as_bytes);
            let got = authenticate(&snapshot, name, key, client.parse().unwrap());
            assert_eq!(got, expected, "{name} {key:?} {client}");
        }
    }

    #[test]
    fn without_partners_every_name_is_unauthorised() {
        let snapshot = holding(Vec::new());
        for key in [None, Some(&b"key"[..])] {
            let got = authenticate(&snapshot, "open", key, "192.0.2.1".parse().unwrap());
            assert_eq!(got, Err(Refusal::Unauthorised));
        }
    }
}
