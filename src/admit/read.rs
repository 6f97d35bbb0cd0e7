//! Values of one field each, strictly or leniently.
//!
//! Owns: [`Reader`], the state of reading one request, and its readers of scalars, lists and
//! objects, with every leniency: `300.0` or `"300"` for an integer, `true` or `"1"` for a flag,
//! a number for a string, one value for a list of one, a number that does not fit where a list may
//! grow, `null` (and, for numbers, `""`) for what
//! is absent. Never: which field is read where, a rule of the standard.
//!
//! A type that no leniency covers is `wrong_type`, or `not_an_object` where an object belongs.

use crate::admit::lenient::{Leniencies, LenientField};
use crate::admit::limits::Limits;
use crate::json::unique::Unique;
use crate::json::value::{Elements, Entry, Kind, Members, Value};
use crate::json::{Number, key, scratch};
use crate::money::multiplier::Multiplier;
use crate::money::{Cpm, CpmPerSecond, Currency, Rates};
use crate::negatives::refusal::Refusal;
use crate::request::{Key, List, Member, Object, Text, View};

/// Integers up to here are exact in a double: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The state of reading one request.
#[derive(Debug)]
pub struct Reader<'r> {
    pub view: &'r mut View,
    pub leniencies: Leniencies,
    pub limits: &'r Limits,
    pub rates: &'r Rates,
    /// Whether the body has an escaped NUL anywhere.
    pub has_nul: bool,
    /// For the request in `native.request`.
    pub nested: &'r mut scratch::Scratch,
    pub nested_text: &'r mut Vec<u8>,
}

/// The walk over one object that the road reads: no key may come twice.
#[derive(Debug)]
pub struct Walk<'d> {
    members: Members<'d>,
    unique: Unique<'d>,
    /// Members of this object that have no double in other letters.
    own: &'static [Key],
    /// Where the next member is recorded; `None`: this object is not edited.
    slot: Option<usize>,
}

impl<'d> Walk<'d> {
    /// Over an object that is only read.
    pub fn over(members: Members<'d>) -> Self {
        Self { members, unique: Unique::default(), own: &[], slot: None }
    }

    /// Over an object in which these stand in their own letters or not at all: readers that look at no
    /// letter case would take `BidFloor` for the `bidfloor` that we read, judge by and send anew.
    pub fn of(self, own: &'static [Key]) -> Self {
        Self { own, ..self }
    }

    /// The next member.
    #[inline]
    pub fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<Entry<'d>>, Refusal> {
        let Some(entry) = self.members.next() else { return Ok(None) };
        if !self.unique.is_new(&entry) || (entry.key == Key::Other && self.is_double(entry.name)) {
            return Err(Refusal::DuplicateKey);
        }
        if let Some(slot) = &mut self.slot {
            if let Some(place) = reader.view.members.get_mut(*slot) {
                *place = entry.member();
            }
            *slot = slot.saturating_add(1);
        }
        Ok(Some(entry))
    }

    /// Whether an unknown name is that of a member of this object in other letters.
    fn is_double(&self, name: &str) -> bool {
        !self.own.is_empty() && self.own.contains(&key::in_small(name))
    }
}

/// The end of an arena as an index.
pub fn end<T>(arena: &[T]) -> u32 {
    u32::try_from(arena.len()).unwrap_or(u32::MAX)
}

/// What an arena has got since `first`.
pub fn since<T>(arena: &[T], first: u32) -> List {
    List { first, len: end(arena).saturating_sub(first) }
}

/// An integer of a number or of the text of one, and whether that was lenient.
fn whole(number: Number) -> Result<(i64, bool), Refusal> {
    match number {
        Number::Float(float) if float.abs() > EXACT_MAX => Err(Refusal::NumberOutOfRange),
        Number::Float(float) if float.fract() != 0.0 => Err(Refusal::WrongType),
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        Number::Float(float) => Ok((float as i64, true)),
        exact => exact.as_i64().map(|number| (number, false)).ok_or(Refusal::NumberOutOfRange),
    }
}

/// A number in a string: plain decimal digits with sign, point and exponent.
fn number_of(text: &str) -> Option<Number> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(Number::Signed(number));
    }
    // The standard library also takes `inf` and `nan`, which are no numbers here.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return None;
    }
    text.parse::<f64>().ok().filter(|float| float.is_finite()).map(Number::Float)
}

impl Reader<'_> {
    /// A walk that records each member for edits, and the object.
    pub fn record<'d>(&mut self, members: Members<'d>) -> (Object, Walk<'d>) {
        let first = self.view.members.len();
        let empty = Member { key: Key::Other, key_at: 0, value_at: 0, value_end: 0 };
        // The slots are taken at once, so that objects inside this one come behind them.
        self.view.members.resize(first.saturating_add(members.len()), empty);
        let object = Object {
            open: members.open(),
            close: members.close(),
            members: since(&self.view.members, u32::try_from(first).unwrap_or(u32::MAX)),
        };
        (object, Walk { slot: Some(first), ..Walk::over(members) })
    }

    /// An object.
    pub fn object<'d>(
        &mut self,
        value: Value<'d>,
        field: LenientField,
    ) -> Result<Option<Members<'d>>, Refusal> {
        match value.kind() {
            Kind::Object(members) => Ok(Some(members)),
            Kind::Null => Ok(self.absent(field)),
            _ => Err(Refusal::NotAnObject),
        }
    }

    /// An array of anything.
    pub fn array<'d>(
        &mut self,
        value: Value<'d>,
        field: LenientField,
    ) -> Result<Option<Elements<'d>>, Refusal> {
        match value.kind() {
            Kind::Array(elements) => Ok(Some(elements)),
            Kind::Null => Ok(self.absent(field)),
            _ => Err(Refusal::WrongType),
        }
    }

    /// An integer.
    pub fn integer(
        &mut self,
        value: Value<'_>,
        field: LenientField,
    ) -> Result<Option<i64>, Refusal> {
        let (number, is_lenient) = match value.kind() {
            Kind::Number(number) => whole(number)?,
            Kind::Text("") | Kind::Null => return Ok(self.absent(field)),
            Kind::Text(text) => (whole(number_of(text).ok_or(Refusal::WrongType)?)?.0, true),
            _ => return Err(Refusal::WrongType),
        };
        if is_lenient {
            self.leniencies.note(field);
        }
        Ok(Some(number))
    }

    /// An integer that fits `T`.
    pub fn narrow<T: TryFrom<i64>>(
        &mut self,
        value: Value<'_>,
        field: LenientField,
    ) -> Result<Option<T>, Refusal> {
        let number = self.integer(value, field)?;
        number.map(|number| T::try_from(number).map_err(|_| Refusal::NumberOutOfRange)).transpose()
    }

    /// An integer of a list that may grow: one that does not fit is one that we do not know, and
    /// counts as absent.
    pub fn known<T: TryFrom<i64>>(
        &mut self,
        value: Value<'_>,
        field: LenientField,
    ) -> Result<Option<T>, Refusal> {
        match self.narrow(value, field) {
            Err(Refusal::NumberOutOfRange) => Ok(self.absent(field)),
            read => read,
        }
    }

    /// A flag: 0 or 1; any other number counts as 1.
    pub fn flag(&mut self, value: Value<'_>, field: LenientField) -> Result<Option<bool>, Refusal> {
        let flag = match value.kind() {
            Kind::Number(Number::Unsigned(number @ (0 | 1))) => return Ok(Some(number == 1)),
            Kind::Bool(flag) => Some(flag),
            Kind::Text("true") => Some(true),
            Kind::Text("false") => Some(false),
            _ => self.integer(value, field)?.map(|number| number != 0),
        };
        self.leniencies.note(field);
        Ok(flag)
    }

    /// A string.
    pub fn text(&mut self, value: Value<'_>, field: LenientField) -> Result<Text, Refusal> {
        self.text_within(value, field, self.limits.string_bytes_max)
    }

    /// A string with a limit of its own.
    pub fn text_within(
        &mut self,
        value: Value<'_>,
        field: LenientField,
        bytes_max: usize,
    ) -> Result<Text, Refusal> {
        match value.kind() {
            Kind::Text(text) if text.len() > bytes_max => Err(Refusal::StringTooLong),
            Kind::Text(text) if self.has_nul && text.contains('\0') => Err(Refusal::StringNul),
            Kind::Text(_) => Ok(value.text()),
            Kind::Number(_) => {
                self.leniencies.note(field);
                Ok(value.text())
            }
            Kind::Null => Ok(self.absent(field).unwrap_or_default()),
            _ => Err(Refusal::WrongType),
        }
    }

    /// A list of strings, without the empty ones.
    pub fn texts(&mut self, value: Value<'_>, field: LenientField) -> Result<List, Refusal> {
        let first = end(&self.view.texts);
        if let Kind::Array(elements) = value.kind() {
            for element in elements {
                let text = self.text(element, field)?;
                self.view.texts.extend((!text.is_empty()).then_some(text));
            }
        } else {
            let text = self.text(value, field)?;
            self.leniencies.note(field);
            self.view.texts.extend((!text.is_empty()).then_some(text));
        }
        Ok(since(&self.view.texts, first))
    }

    /// A list of integers.
    pub fn numbers(&mut self, value: Value<'_>, field: LenientField) -> Result<List, Refusal> {
        let first = end(&self.view.numbers);
        if let Kind::Array(elements) = value.kind() {
            for element in elements {
                let number = self.narrow::<i32>(element, field)?;
                self.view.numbers.extend(number);
            }
        } else {
            let number = self.narrow::<i32>(value, field)?;
            self.leniencies.note(field);
            self.view.numbers.extend(number);
        }
        Ok(since(&self.view.numbers, first))
    }

    /// A floor (3.2.4, 3.2.12), and whether a bid of what came is below it, for it lies between two micros.
    /// Strict, because it is money: a number, 0 and above.
    pub fn floor(&mut self, value: Value<'_>, field: LenientField) -> Result<(Cpm, bool), Refusal> {
        self.price(value, field, Cpm::floor_from_wire)
    }

    /// A floor by the second (3.2.7, 3.2.8, 3.2.12), as strict.
    pub fn floor_per_second(
        &mut self,
        value: Value<'_>,
        field: LenientField,
    ) -> Result<(CpmPerSecond, bool), Refusal> {
        self.price(value, field, CpmPerSecond::floor_from_wire)
    }

    fn price<P: Default>(
        &mut self,
        value: Value<'_>,
        field: LenientField,
        read: impl Fn(f64) -> Option<(P, bool)>,
    ) -> Result<(P, bool), Refusal> {
        match value.kind() {
            Kind::Number(number) => read(number.as_f64()).filter(|_| number.as_f64() >= 0.0),
            Kind::Null => Some(self.absent(field).unwrap_or_default()),
            _ => return Err(Refusal::WrongType),
        }
        .ok_or(Refusal::Bidfloor)
    }

    /// The currency of a floor: one that has a rate; USD where absent (3.2.4, 3.2.12).
    pub fn floor_currency(
        &mut self,
        value: Value<'_>,
        field: LenientField,
    ) -> Result<Currency, Refusal> {
        match value.kind() {
            Kind::Null => Ok(self.absent(field).unwrap_or_default()),
            Kind::Text("") => Ok(Currency::USD),
            Kind::Text(code) => Currency::parse(code)
                .filter(|currency| self.rates.knows(*currency))
                .ok_or(Refusal::BidfloorCurrency),
            _ => Err(Refusal::WrongType),
        }
    }

    /// How many impressions an imp is (3.2.31). As strict, and no `null`: it is what `qty` is there for.
    pub fn multiplier(value: Value<'_>) -> Result<Multiplier, Refusal> {
        match value.kind() {
            Kind::Number(number) => Multiplier::from_wire(number.as_f64()),
            _ => None,
        }
        .ok_or(Refusal::QtyMultiplier)
    }

    /// Takes note of a `null` (or an empty string) that stands for nothing.
    pub fn absent<T>(&mut self, field: LenientField) -> Option<T> {
        self.leniencies.note(field);
        None
    }
}
