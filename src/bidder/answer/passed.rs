//! Members of a bid that no rule of ours is about, and that a partner reads all the same.
//!
//! Owns: of which type each of them is (4.2.3), and the search for a name that stands for a member of
//! a bid in other letters. Never: a value. A member that the standard does not know passes as it came.

use super::Fate;
use crate::json::Number;
use crate::json::key::{self, NAME_BYTES_MAX};
use crate::json::value::{Entry, Kind, Value};
use crate::request::Key;

#[derive(Clone, Copy, Debug)]
enum Type {
    Text,
    Integer,
    Integers,
    Object,
}

/// Those that have no [`Key`].
const NAMED: [(&str, Type); 6] = [
    ("apis", Type::Integers),
    ("iurl", Type::Text),
    ("langb", Type::Text),
    ("protocol", Type::Integer),
    ("qagmediarating", Type::Integer),
    ("tactic", Type::Text),
];

/// Whether a member that is not read goes on to the partner.
pub(super) fn fate(entry: &Entry<'_>) -> Fate {
    let known = match entry.key {
        Key::Ext => Some(Type::Object),
        Key::Language => Some(Type::Text),
        Key::Api => Some(Type::Integer),
        Key::Other => named(entry.name.as_bytes()),
        _ => None,
    };
    match known {
        Some(known) if known.is_of(entry.value) => Fate::Passed,
        Some(_) => Fate::LeftOut,
        // no reader takes it for the one that we write
        None if entry.key == Key::Other && is_double(entry.name) => Fate::LeftOut,
        None => Fate::Passed,
    }
}

fn named(name: &[u8]) -> Option<Type> {
    NAMED.iter().find(|(own, _)| own.as_bytes() == name).map(|(_, known)| *known)
}

/// Whether an unknown name is that of a member of a bid in other letters.
fn is_double(name: &str) -> bool {
    let mut letters = [0; NAME_BYTES_MAX];
    let small = key::small(name, &mut letters);
    small.is_some_and(|small| is_of_bid(key::of(small)) || named(small).is_some())
}

/// Whether a bid has a member of that name.
#[rustfmt::skip]
fn is_of_bid(key: Key) -> bool {
    matches!(
        key,
        Key::Id | Key::Impid | Key::Price | Key::Nurl | Key::Burl | Key::Lurl | Key::Adm
            | Key::Adid | Key::Adomain | Key::Bundle | Key::Cid | Key::Crid | Key::Cattax
            | Key::Cat | Key::Attr | Key::Api | Key::Language | Key::Dealid | Key::W | Key::H
            | Key::Wratio | Key::Hratio | Key::Exp | Key::Dur | Key::Mtype | Key::Slotinpod | Key::Ext
    )
}

impl Type {
    fn is_of(self, value: Value<'_>) -> bool {
        let is_integer = |value: Value<'_>| {
            matches!(value.kind(), Kind::Number(Number::Unsigned(_) | Number::Signed(_)))
        };
        match (self, value.kind()) {
            (Self::Text, Kind::Text(_)) | (Self::Object, Kind::Object(_)) => true,
            (Self::Integer, _) => is_integer(value),
            (Self::Integers, Kind::Array(mut elements)) => elements.all(is_integer),
            _ => false,
        }
    }
}
