//! What Prebid.js addresses to single bidders.
//!
//! Owns: the reading of `ext.prebid` and `user.ext.prebid` ("Prebid Server", `OpenRTB` extensions),
//! as far as they say who may have what of the user. Never: who is told what.
//!
//! Invariant: a list of permissions that cannot be read is a malformed signal; a rule without a
//! source is of every source, and one without bidders permits nobody.

use crate::admit::read::{Reader, Walk, end, since};
use crate::json::value::{Kind, Value};
use crate::negatives::refusal::Refusal;
use crate::request::prebid::{Eid, EidRule};
use crate::request::{Key, Object, Text};

/// Most rules: `shape` has a bit for each.
const RULES_MAX: usize = 64;

/// Most names of bidders in all rules: each is compared with each bidder that is called.
const NAMES_MAX: usize = 1024;

/// `ext` of the request.
pub fn root_ext(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let Kind::Object(members) = value.kind() else { return Ok(()) };
    let mut found = members.filter(|entry| entry.key == Key::Prebid);
    let Some(prebid) = found.next() else { return Ok(()) };
    if found.next().is_some() {
        return Err(Refusal::DuplicateKey);
    }
    let Kind::Object(members) = prebid.value.kind() else { return Ok(()) };
    let (object, mut walk) = reader.record(members);
    reader.view.prebid.ext = Some(object);
    while let Some(entry) = walk.next(reader)? {
        if let (Key::Data, Kind::Object(members)) = (entry.key, entry.value.kind()) {
            let mut walk = Walk::over(members);
            while let Some(entry) = walk.next(reader)? {
                if entry.key == Key::Eidpermissions {
                    let is_read = permissions(reader, entry.value)?;
                    reader.view.regs.is_malformed |= !is_read;
                }
            }
        }
    }
    Ok(())
}

/// Gives back whether they could be read.
fn permissions(reader: &mut Reader<'_>, value: Value<'_>) -> Result<bool, Refusal> {
    let rules = match value.kind() {
        Kind::Array(rules) if rules.len() <= RULES_MAX => rules,
        Kind::Null => return Ok(true),
        _ => return Ok(false),
    };
    let before = reader.view.texts.len();
    for rule in rules {
        let Kind::Object(members) = rule.kind() else { return Ok(false) };
        let (mut source, first) = (Text::default(), end(&reader.view.texts));
        let mut walk = Walk::over(members);
        while let Some(entry) = walk.next(reader)? {
            match (entry.key, entry.value.kind()) {
                (Key::Source, _) => source = scalar(entry.value),
                (Key::Bidders, Kind::Array(names)) => {
                    reader.view.texts.extend(names.map(scalar));
                }
                _ => {}
            }
        }
        let bidders = since(&reader.view.texts, first);
        reader.view.prebid.eid_rules.push(EidRule { source, bidders });
    }
    Ok(reader.view.texts.len().saturating_sub(before) <= NAMES_MAX)
}

/// A text, or leniently a number; what is neither is empty.
fn scalar(value: Value<'_>) -> Text {
    match value.kind() {
        Kind::Text(_) | Kind::Number(_) => value.text(),
        _ => Text::default(),
    }
}

/// `user.ext.prebid`.
pub fn user_prebid(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let Kind::Object(members) = value.kind() else { return Ok(()) };
    let mut walk = Walk::over(members);
    while let Some(entry) = walk.next(reader)? {
        if entry.key != Key::Buyeruids {
            continue;
        }
        let Kind::Object(members) = entry.value.kind() else {
            reader.view.prebid.buyeruids = Some(Object::default());
            continue;
        };
        let (object, mut walk) = reader.record(members);
        while walk.next(reader)?.is_some() {}
        reader.view.prebid.buyeruids = Some(object);
    }
    Ok(())
}

/// Where each id of the user stands: only for requests that say who may have which.
pub fn eids(reader: &mut Reader<'_>, user: Option<Value<'_>>) {
    if reader.view.prebid.eid_rules.is_empty() {
        return;
    }
    let Some(Kind::Object(members)) = user.map(Value::kind) else { return };
    for entry in members {
        match (entry.key, entry.value.kind()) {
            (Key::Eids, _) => places(reader, entry.value),
            (Key::Ext, Kind::Object(members)) => {
                let lists = members.filter(|entry| entry.key == Key::Eids);
                lists.for_each(|entry| places(reader, entry.value));
            }
            _ => {}
        }
    }
}

fn places(reader: &mut Reader<'_>, list: Value<'_>) {
    let Kind::Array(list) = list.kind() else { return };
    for eid in list {
        let mut source = Text::default();
        if let Kind::Object(members) = eid.kind() {
            let sources = members.filter(|entry| entry.key == Key::Source);
            sources.for_each(|entry| source = scalar(entry.value));
        }
        reader.view.prebid.eids.push(Eid { at: eid.span(), source });
    }
}
