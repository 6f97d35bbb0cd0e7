//! What the law says about this user, as far as the request tells.
//!
//! Owns: the reading of `Regs` (3.2.3) in the places of 2.6 and of 2.5 (`regs.ext`), and how a
//! signal that stands in both places becomes one. Never: what a signal permits (`privacy`).
//!
//! Invariant: a signal that cannot be read, or that is two different ones, never makes a request
//! look freer: it is marked as malformed, for which the strictest reading applies.

use crate::admit::lenient::LenientField as Field;
use crate::admit::read::{Reader, Walk};
use crate::json::Number;
use crate::json::value::{Kind, Value};
use crate::negatives::refusal::Refusal;
use crate::request::{Key, List, Text};

/// A string that tells the user's choice: where it is, and what it says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signal<'d> {
    place: Text,
    text: &'d str,
}

/// The signals of one place.
#[derive(Clone, Copy, Debug, Default)]
struct Signals<'d> {
    coppa: Option<bool>,
    is_gpc: bool,
    gdpr: Option<bool>,
    us_privacy: Signal<'d>,
    gpp: Signal<'d>,
    gpp_sid: List,
    /// `regs.ext`, where this is `regs`.
    ext: Option<Value<'d>>,
}

/// `regs`.
pub fn regs(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let Some(members) = reader.object(value, Field::Regs)? else { return Ok(()) };
    let (object, walk) = reader.record(members);
    reader.view.objects.regs = Some(object);
    let here = signals(reader, walk)?;
    let mut in_ext = Signals::default();
    if let Some(value) = here.ext
        && let Some(members) = reader.object(value, Field::RegsExt)?
    {
        let (object, walk) = reader.record(members);
        reader.view.objects.regs_ext = Some(object);
        in_ext = signals(reader, walk)?;
    }

    reader.view.regs.is_coppa = here.coppa == Some(true) || in_ext.coppa == Some(true);
    reader.view.regs.is_gpc = here.is_gpc || in_ext.is_gpc;
    reader.view.regs.gdpr = match (here.gdpr, in_ext.gdpr) {
        (Some(one), Some(other)) if one != other => {
            reader.view.regs.is_malformed = true;
            Some(true)
        }
        (one, other) => one.or(other),
    };
    reader.view.regs.us_privacy = merged(reader, here.us_privacy, in_ext.us_privacy);
    reader.view.regs.gpp = merged(reader, here.gpp, in_ext.gpp);
    reader.view.regs.gpp_sid = merged_lists(reader, here.gpp_sid, in_ext.gpp_sid);
    Ok(())
}

fn signals<'d>(reader: &mut Reader<'_>, mut walk: Walk<'d>) -> Result<Signals<'d>, Refusal> {
    let mut read = Signals::default();
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Coppa => read.coppa = zero_or_one(reader, value, Field::RegsCoppa)?,
            Key::Gpc => read.is_gpc = global_privacy_control(reader, value),
            Key::Gdpr => read.gdpr = zero_or_one(reader, value, Field::RegsGdpr)?,
            Key::UsPrivacy => read.us_privacy = signal(reader, value, Field::RegsUsPrivacy)?,
            Key::Gpp => read.gpp = signal(reader, value, Field::RegsGpp)?,
            Key::GppSid => match reader.numbers(value, Field::RegsGppSid) {
                Ok(numbers) => read.gpp_sid = numbers,
                Err(_) => reader.view.regs.is_malformed = true,
            },
            Key::Ext => read.ext = Some(value),
            _ => {}
        }
    }
    Ok(read)
}

/// `coppa` or `gdpr`: 0 or 1, or leniently what can mean nothing else.
fn zero_or_one(
    reader: &mut Reader<'_>,
    value: Value<'_>,
    field: Field,
) -> Result<Option<bool>, Refusal> {
    match value.kind() {
        Kind::Number(Number::Unsigned(number @ (0 | 1))) => Ok(Some(number == 1)),
        Kind::Text("") => Err(Refusal::RegsValue),
        Kind::Bool(_) | Kind::Text("true" | "false") => reader.flag(value, field),
        _ => match reader.integer(value, field) {
            Ok(None) => Ok(None),
            Ok(Some(number @ (0 | 1))) => Ok(Some(number == 1)),
            Ok(Some(_)) | Err(_) => Err(Refusal::RegsValue),
        },
    }
}

/// `gpc`: what the user's browser said in `Sec-GPC`, a string (`gpc.md` of the official
/// extensions to 2.x, which has it in `regs.ext`; read in both places, like all others).
fn global_privacy_control(reader: &mut Reader<'_>, value: Value<'_>) -> bool {
    match value.kind() {
        Kind::Text(flag @ ("0" | "1")) => return flag == "1",
        Kind::Number(Number::Unsigned(number @ (0 | 1))) => {
            reader.leniencies.note(Field::RegsGpc);
            return number == 1;
        }
        Kind::Null => reader.leniencies.note(Field::RegsGpc),
        _ => reader.view.regs.is_malformed = true,
    }
    false
}

/// A string that tells the user's choice; of another type it is malformed, not absent.
pub fn signal<'d>(
    reader: &mut Reader<'_>,
    value: Value<'d>,
    field: Field,
) -> Result<Signal<'d>, Refusal> {
    match reader.text(value, field) {
        Ok(place) if place.is_empty() => Ok(Signal::default()),
        Ok(place) => Ok(Signal { place, text: value.written() }),
        Err(Refusal::WrongType) => {
            reader.view.regs.is_malformed = true;
            Ok(Signal::default())
        }
        Err(refusal) => Err(refusal),
    }
}

/// One signal of two places.
pub fn merged(reader: &mut Reader<'_>, here: Signal<'_>, in_ext: Signal<'_>) -> Text {
    match (here.place.is_empty(), in_ext.place.is_empty()) {
        (true, _) => in_ext.place,
        (false, true) => here.place,
        (false, false) => {
            reader.view.regs.is_malformed |= here.text != in_ext.text;
            here.place
        }
    }
}

fn merged_lists(reader: &mut Reader<'_>, here: List, in_ext: List) -> List {
    if here.is_empty() || in_ext.is_empty() {
        return if here.is_empty() { in_ext } else { here };
    }
    let of = |list: List| reader.view.numbers.get(list.range()).unwrap_or_default();
    let is_same = of(here) == of(in_ext);
    reader.view.regs.is_malformed |= !is_same;
    here
}
