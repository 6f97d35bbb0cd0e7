//! What is personal in a request or an answer: the same for who writes a recording and for who checks one.
//!
//! Owns: what is asked of each name and value of a document, and the walk that meets them all. Never: a
//! name (those are in [`super::names`]), a key, a replacement.
//! Invariant: whoever writes a recording and whoever checks one ask the same questions here.
//!
//! | file | owns |
//! |---|---|
//! | `looks` | what a value is that looks like something |
//! | `parts` | personal parts of a text, whatever it is encoded in |
//! | `query` | parameters of addresses |
//! | `mails` | mail addresses, and who is named before the host of a URL |
//! | `numbers` | IP addresses and positions within a text |
//! | `tokens` | tokens in the URLs of our own events |
//! | `coded` | characters that are written as a code, such as `%40` |
//! | `pairs` | a name and its value that stand beside each other |
#![deny(clippy::indexing_slicing)]

pub(super) mod coded;
pub(super) mod looks;
mod mails;
mod numbers;
mod pairs;
mod parts;
mod query;
mod tokens;

use super::names::Treat::{self, Coordinate, Id, Ip};
use super::names::{by_path, holder_of_ids, may_hold_position};
use crate::json::scratch::Document;
use crate::json::tour::{Scalar, Stop, Tour};
use looks::{json_like, unwrapped};
use pairs::Pairs;

/// Longest value that looks like something: a SHA-256 in braces.
const LOOK_BYTES_MAX: usize = 66;
/// Shortest name that says something of a person: `1.2.3.4`.
const ODD_NAME_BYTES_MIN: usize = 7;
/// A token of ours has more letters. It is known by them and by the path before it, `/e/`: the rest of our
/// URLs is a setting, which whoever checks a recording has not.
pub const TOKEN_LETTERS_MIN: usize = 128;

pub use looks::{is_void, unmarked};

/// A value whose name says nothing: whether it is personal as a whole by what it looks like.
pub fn by_look(path: &[&str], text: &str) -> Option<Treat> {
    if text.len() > LOOK_BYTES_MAX {
        return None;
    }
    if looks::is_ip(text) && !is_version_at(path) {
        return Some(Ip);
    }
    if !looks::may_be_id(text) {
        return None;
    }
    let is_id = |text: &str| looks::is_uuid(text) || looks::is_digest(text);
    (is_id(unwrapped(text)) && is_near_person(path)).then_some(Id)
}

/// Whether ids that stand here are a person's, or a device's.
fn is_near_person(path: &[&str]) -> bool {
    path.iter().any(|name| matches!(*name, "user" | "device"))
}

fn is_version_at(path: &[&str]) -> bool {
    path.last().is_some_and(|name| looks::is_version(name))
}

/// A text or a number, or the name of a member.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'d> {
    pub value: Scalar<'d>,
    /// What its name, or that of something around it, says.
    pub treat: Option<Treat>,
    /// It is a name itself.
    pub is_name: bool,
}

/// What is to be done with a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Nothing,
    /// It is personal as a whole.
    Whole(Treat),
    /// It is JSON; if it cannot be read, nobody knows what is in it.
    Json,
    /// It may be JSON; if it is none, it is a text.
    MaybeJson,
    /// [`parts`] of it may be personal.
    Text,
}

/// `path`: the names on the way to the leaf, without its own if it is a name.
pub fn look(path: &[&str], leaf: &Leaf<'_>) -> Look {
    let Some(text) = leaf.value.text() else {
        let position = || is_position(path, leaf).then_some(Coordinate);
        return leaf.treat.or_else(position).map_or(Look::Nothing, Look::Whole);
    };
    match leaf.treat.or_else(|| by_look(path, text)) {
        Some(treat) => Look::Whole(treat),
        None if leaf.is_name => Look::Text,
        None => match json_like(text) {
            // what holds ids and is no document holds them all the same
            Look::MaybeJson if is_holder(path) => Look::Json,
            look => look,
        },
    }
}

/// A number of an array that is called a position, and is as exact as one.
fn is_position(path: &[&str], leaf: &Leaf<'_>) -> bool {
    path.last().is_some_and(|name| may_hold_position(name))
        && looks::decimals_of_degrees(leaf.value.written())
            .is_some_and(|decimals| decimals >= numbers::DECIMALS_MIN)
}

/// Personal parts of a text that is not personal as a whole. In order, apart from each other.
pub fn parts(path: &[&str], text: &str) -> Vec<parts::Part> {
    let mut found = parts::find(path, text);
    let tokens = tokens::find(text);
    if !tokens.is_empty() {
        found.extend(tokens.into_iter().map(|range| (range, Id)));
        parts::apart(&mut found);
    }
    found
}

/// What stands in place of a version that is none: an exchange refuses it as it did the other.
pub const NO_VERSION: &str = "?";

/// Whether a header says anything but what it is for.
pub fn is_misused(header: &str, value: &str) -> bool {
    header == "x-openrtb-version" && value != NO_VERSION && !looks::is_openrtb_version(value)
}

/// Gives every text and number of a document to `see`, and the names that may say something, with the
/// names on the way to it: those in `path` come first, and what they say holds for all of it.
pub fn walk<'d>(
    document: &'d Document<'d>,
    path: &mut Vec<&'d str>,
    see: &mut dyn FnMut(&[&'d str], Leaf<'d>),
) {
    let around = by_path(path);
    step(&mut Tour::new(document), path, around, see);
}

/// Recursion ends at the depth that the document was read with.
fn step<'d>(
    tour: &mut Tour<'d>,
    path: &mut Vec<&'d str>,
    around: Option<Treat>,
    see: &mut dyn FnMut(&[&'d str], Leaf<'d>),
) {
    match tour.stop() {
        Some(Stop::Scalar(value)) => {
            let treat = around.or_else(|| is_held(path, value).then_some(Id));
            see(path, Leaf { value, treat, is_name: false });
        }
        Some(Stop::Array(elements)) => (0..elements).for_each(|_| step(tour, path, around, see)),
        Some(Stop::Object(members)) => {
            let others = path.last().and_then(|name| holder_of_ids(name));
            let mut pairs = Pairs::new(*tour, members);
            for _ in 0..members {
                let Some((name, value)) = tour.name() else { return };
                if is_odd(name) {
                    see(path, Leaf { value, treat: None, is_name: true });
                }
                path.push(name);
                // a name in a personal thing may say more about what it is
                let treat = by_path(path).or(around).or_else(|| {
                    let is_held = others.is_some_and(|others| !others.contains(&name));
                    if is_held { Some(Id) } else { pairs.says(path) }
                });
                step(tour, path, treat, see);
                path.pop();
            }
        }
        Some(Stop::Word) | None => {}
    }
}

fn is_holder(path: &[&str]) -> bool {
    path.last().is_some_and(|name| holder_of_ids(name).is_some())
}

/// Whether this stands directly in what holds ids, and is no JSON of its own.
fn is_held(path: &[&str], value: Scalar<'_>) -> bool {
    let may_be_json =
        |text: &str| text.trim_start().starts_with(['[', '{', '"']) && text.contains('"');
    is_holder(path) && !value.text().is_some_and(may_be_json)
}

/// Whether a name may be more than one; most are told by their length alone.
#[inline]
fn is_odd(name: &str) -> bool {
    let is_mark = |byte: u8| matches!(byte, b'.' | b':' | b'@' | b'%' | b'=' | b'-');
    name.len() >= ODD_NAME_BYTES_MIN && (name.len() >= 32 || name.bytes().any(is_mark))
}

#[cfg(test)]
mod tests;
