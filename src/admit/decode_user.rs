//! The user.
//!
//! Owns: the reading of `User` (3.2.20) and its `EID`s (3.2.27), in the places of 2.6 and of 2.5
//! (`user.ext.consent`, `user.ext.eids`).

use crate::admit::decode_device::edited;
use crate::admit::decode_prebid::user_prebid;
use crate::admit::decode_regs::{Signal, merged, signal};
use crate::admit::lenient::LenientField as Field;
use crate::admit::read::{Reader, Walk, end, since};
use crate::json::value::{Kind, Members, Value};
use crate::negatives::refusal::Refusal;
use crate::request::{Key, Text};
use smallvec::SmallVec;

/// What stands in `user` or in `user.ext`.
#[derive(Default)]
struct Moved<'d> {
    consent: Signal<'d>,
    eids: Option<Value<'d>>,
}

/// `user`.
pub fn user(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let Some(members) = reader.object(value, Field::User)? else { return Ok(()) };
    let (mut here, mut in_ext) = (Moved::default(), Moved::default());
    let (object, mut walk) = reader.record(members);
    reader.view.objects.user = Some(object);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Id => reader.view.user.id = reader.text(value, Field::UserId)?,
            Key::Buyeruid => reader.view.user.buyeruid = reader.text(value, Field::UserBuyeruid)?,
            Key::Consent => here.consent = signal(reader, value, Field::UserConsent)?,
            Key::Eids => here.eids = Some(value),
            Key::Geo => reader.view.objects.user_geo = edited(reader, value, Field::Geo)?,
            Key::Ext => {
                if let Some(members) = reader.object(value, Field::UserExt)? {
                    in_ext = ext(reader, members)?;
                }
            }
            _ => {}
        }
    }
    reader.view.user.consent = merged(reader, here.consent, in_ext.consent);
    // Nothing else of the user goes into this arena: both lists are one run.
    let first = end(&reader.view.texts);
    let mut uids = Uids::new();
    for list in [here.eids, in_ext.eids].into_iter().flatten() {
        eids(reader, list, &mut uids)?;
    }
    reader.view.user.eid_sources = since(&reader.view.texts, first);
    let first = end(&reader.view.texts);
    reader.view.texts.extend(uids);
    reader.view.user.eid_uids = since(&reader.view.texts, first);
    Ok(())
}

fn ext<'d>(reader: &mut Reader<'_>, members: Members<'d>) -> Result<Moved<'d>, Refusal> {
    let mut moved = Moved::default();
    let (object, mut walk) = reader.record(members);
    reader.view.objects.user_ext = Some(object);
    while let Some(entry) = walk.next(reader)? {
        match entry.key {
            Key::Consent => moved.consent = signal(reader, entry.value, Field::UserConsent)?,
            Key::Eids => moved.eids = Some(entry.value),
            Key::Prebid => user_prebid(reader, entry.value)?,
            _ => {}
        }
    }
    Ok(moved)
}

/// The first uid of each source.
type Uids = SmallVec<[Text; 16]>;

/// Puts the sources of the ids into `View::texts`, and the first uid of each into `uids`.
fn eids(reader: &mut Reader<'_>, list: Value<'_>, uids: &mut Uids) -> Result<(), Refusal> {
    let Some(list) = reader.array(list, Field::UserEids)? else { return Ok(()) };
    if list.len() > reader.limits.eids_max {
        return Err(Refusal::TooManyEids);
    }
    for eid in list {
        let Some(members) = reader.object(eid, Field::UserEids)? else { continue };
        let (mut source, mut uid) = (Text::default(), Text::default());
        let mut walk = Walk::over(members);
        while let Some(entry) = walk.next(reader)? {
            match entry.key {
                Key::Source => source = reader.text(entry.value, Field::UserEids)?,
                Key::Uids => {
                    let Some(mut list) = reader.array(entry.value, Field::UserEids)? else {
                        continue;
                    };
                    if list.len() > reader.limits.uids_max {
                        return Err(Refusal::TooManyEids);
                    }
                    uid = match list.next() {
                        Some(first) => id(reader, first)?,
                        None => Text::default(),
                    };
                }
                _ => {}
            }
        }
        if !source.is_empty() {
            reader.view.texts.push(source);
            uids.push(uid);
        }
    }
    Ok(())
}

/// The `id` of a uid; one that is no text is none.
fn id(reader: &mut Reader<'_>, uid: Value<'_>) -> Result<Text, Refusal> {
    let Kind::Object(members) = uid.kind() else { return Ok(Text::default()) };
    let mut id = Text::default();
    let mut walk = Walk::over(members);
    while let Some(entry) = walk.next(reader)? {
        if let (Key::Id, Kind::Text(_)) = (entry.key, entry.value.kind()) {
            id = entry.value.text();
        }
    }
    Ok(id)
}
