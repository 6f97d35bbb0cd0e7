//! Reads a bidder's answer: bytes to [`BidAnswer`].
//!
//! Owns: which members of a bid response are read (4.2.1 to 4.2.3), and the leniencies. Never: a
//! judgement of a bid, which is the auction's. Total over any bytes.
//!
//! Lenient where bidders really err: numbers as `300.0` or `"300"`, flags as `true`, ids as
//! numbers, one string for a list of one, native markup as an object and not in a string (4.2.3,
//! Dynamic Native Ads 1.2, 5), `null` for absent. A member of another type counts as
//! absent, which screening then judges; of a size, a duration and an expiry it is marked that something
//! was said. One key twice in the answer or a seat costs the answer. A bid is marked as malformed where
//! it is no object, where a key stands twice in it or in other letters beside its own (we must not
//! decide on one value while the partner reads the other), and where a `dealid` is no id or one of the
//! members by which ads are blocked cannot be read (as absent ones they would pass).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::bid::{Bid, BidAnswer, SeatBid};
use crate::bidder::call::Raw;
use crate::bidder::{CallLimits, Silence};
use crate::coding::{self, Caps, Coding, CodingError};
use crate::json::Number;
use crate::json::scratch::Scratch;
use crate::json::unique::Unique;
use crate::json::value::{Elements, Entry, Kind, Members, Value};
use crate::money::Currency;
use crate::negatives::no_answer::NoAnswer;
use crate::request::{Key, List, Text};

mod passed;

/// What a worker reuses from answer to answer.
#[derive(Debug)]
pub struct AnswerScratch {
    json: Scratch,
    /// Answers whose auctions have ended, emptied.
    spares: Vec<BidAnswer>,
}

/// Answers kept for later auctions of a worker; about 10 KB each.
const SPARES_MAX: usize = 128;

/// An answer with a buffer beyond this many bytes is not kept.
const SPARE_BYTES_MAX: usize = 32 << 10;

/// Nor is one with an arena beyond this many entries.
const SPARE_ENTRIES_MAX: usize = 1024;

impl AnswerScratch {
    /// For answers of at most `depth_max` nested objects and arrays.
    pub fn new(depth_max: usize) -> Self {
        Self { json: Scratch::new(depth_max), spares: Vec::new() }
    }

    /// Takes an answer that is done with, so that the next needs no memory of its own.
    pub fn recycle(&mut self, mut answer: BidAnswer) {
        let is_small = answer.body.capacity().max(answer.text.capacity()) <= SPARE_BYTES_MAX
            && answer.seats.capacity() <= SPARE_ENTRIES_MAX
            && answer.bids.capacity() <= SPARE_ENTRIES_MAX
            && answer.texts.capacity() <= SPARE_ENTRIES_MAX
            && answer.numbers.capacity() <= SPARE_ENTRIES_MAX
            && answer.members.capacity() <= SPARE_ENTRIES_MAX;
        if is_small && self.spares.len() < SPARES_MAX {
            answer.clear();
            self.spares.push(answer);
        }
    }
}

/// Reads what came over HTTP: decodes it within the bidder's limits, then as [`read`].
pub fn read_encoded(
    raw: Raw<'_>,
    request_id: &str,
    limits: &CallLimits,
    scratch: &mut AnswerScratch,
) -> Result<BidAnswer, Silence> {
    if raw.content.is_empty() {
        return Err(NoAnswer::NoBid.into());
    }
    let caps = Caps { body_bytes_max: limits.body_bytes_max, ..Caps::default() };
    let coding = Coding::parse([raw.encoding]).map_err(CodingError::no_answer)?;
    let body = coding::decode(coding, raw.content, &caps).map_err(CodingError::no_answer)?;
    read(&body, request_id, limits.bids_max, scratch)
}

/// Reads a decoded body; an empty one is a no-bid (2.6, section 4). An answer that is `Ok` has at least one bid and at most `bids_max`.
pub fn read(
    body: &[u8],
    request_id: &str,
    bids_max: u32,
    scratch: &mut AnswerScratch,
) -> Result<BidAnswer, Silence> {
    if body.trim_ascii().is_empty() {
        return Err(NoAnswer::NoBid.into());
    }
    let mut answer = scratch.spares.pop().unwrap_or_default();
    let mut text = std::mem::take(&mut answer.text);
    let result = fill(&mut answer, &mut text, body, (request_id, bids_max), &mut scratch.json);
    answer.text = text;
    match result {
        Ok(()) => {
            answer.text.truncate(body.len());
            answer.body.extend_from_slice(body);
            append_objects(&mut answer);
            Ok(answer)
        }
        Err(why) => {
            let nbr = answer.nbr.filter(|_| why == NoAnswer::NoBid);
            scratch.recycle(answer);
            Err(Silence { why, nbr })
        }
    }
}

/// Puts each `adm` that came as an object behind the un-escaped text, as it is written: inside that
/// text its strings are un-escaped, so that it could not be read again.
fn append_objects(answer: &mut BidAnswer) {
    let BidAnswer { bids, body, text, .. } = answer;
    for bid in bids {
        let Some(span) = bid.adm_object else { continue };
        let written = body.get(span.at as usize..span.end as usize).unwrap_or_default();
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        bid.adm = Text { at: narrow(text.len()), len: narrow(written.len()) };
        text.extend_from_slice(written);
    }
}

/// Fills all but the two buffers of `answer`, of which `text` stands beside it.
fn fill(
    answer: &mut BidAnswer,
    text: &mut Vec<u8>,
    body: &[u8],
    (request_id, bids_max): (&str, u32),
    scratch: &mut Scratch,
) -> Result<(), NoAnswer> {
    let document = scratch.read(body, text).map_err(|_| NoAnswer::NotJson)?;
    let Kind::Object(members) = document.root().kind() else { return Err(NoAnswer::NotJson) };
    Reader { body, answer, bids_max }.response(members, request_id)
}

struct Reader<'b> {
    body: &'b [u8],
    answer: &'b mut BidAnswer,
    bids_max: u32,
}

impl Reader<'_> {
    /// The root (4.2.1).
    fn response(&mut self, members: Members<'_>, request_id: &str) -> Result<(), NoAnswer> {
        let mut unique = Unique::default();
        let mut seatbid = None;
        let mut is_ours = false;
        self.answer.currency = Some(Currency::USD);
        for entry in members {
            if !unique.is_new(&entry) {
                return Err(NoAnswer::DuplicateKey);
            }
            let value = entry.value;
            match entry.key {
                Key::Id => {
                    self.answer.id = text(value);
                    is_ours = self.is_id(value, request_id);
                }
                Key::Bidid => self.answer.bidid = text(value),
                Key::Nbr => self.answer.nbr = integer(value),
                Key::Cur if !value.is_null() => {
                    self.answer.currency = match value.kind() {
                        Kind::Text(code) => Currency::parse(code),
                        _ => None,
                    };
                }
                Key::Seatbid => seatbid = elements(value)?,
                _ => {}
            }
        }
        let Some(seatbid) = seatbid.filter(|seats| seats.len() > 0) else {
            return Err(NoAnswer::NoBid);
        };
        if !is_ours {
            return Err(NoAnswer::WrongId);
        }
        for seat in seatbid {
            let Kind::Object(members) = seat.kind() else { return Err(NoAnswer::Invalid) };
            self.seat(members)?;
        }
        if self.answer.bids.is_empty() { Err(NoAnswer::NoBid) } else { Ok(()) }
    }

    /// One `seatbid` (4.2.2).
    fn seat(&mut self, members: Members<'_>) -> Result<(), NoAnswer> {
        let mut unique = Unique::default();
        let mut seat = SeatBid::default();
        let mut bids = None;
        for entry in members {
            if !unique.is_new(&entry) {
                return Err(NoAnswer::DuplicateKey);
            }
            match entry.key {
                Key::Seat => seat.seat = text(entry.value),
                Key::Group => seat.is_group = flag(entry.value),
                Key::Bid => bids = elements(entry.value)?,
                _ => {}
            }
        }
        let first = self.answer.bids.len();
        for bid in bids.into_iter().flatten() {
            if self.answer.bids.len() >= self.bids_max as usize {
                return Err(NoAnswer::TooManyBids);
            }
            let bid = match bid.kind() {
                Kind::Object(members) => self.bid(members),
                _ => Bid { is_malformed: true, ..Bid::default() },
            };
            self.answer.bids.push(bid);
        }
        seat.bids = run(first, self.answer.bids.len());
        self.answer.seats.push(seat);
        Ok(())
    }

    /// One bid (4.2.3).
    fn bid(&mut self, members: Members<'_>) -> Bid {
        let mut unique = Unique::default();
        let mut bid = Bid { open: members.open(), close: members.close(), ..Bid::default() };
        let first = self.answer.members.len();
        self.answer.members.reserve(members.len());
        for entry in members {
            if !unique.is_new(&entry) {
                bid.is_malformed = true;
                continue;
            }
            let fate = self.member(&mut bid, &entry);
            bid.is_malformed |= fate == Fate::Malformed;
            if fate == Fate::Passed {
                self.answer.members.push(entry.member());
            }
        }
        bid.members = run(first, self.answer.members.len());
        bid
    }

    /// One member of it.
    fn member(&mut self, bid: &mut Bid, entry: &Entry<'_>) -> Fate {
        let value = entry.value;
        let unreadable = &mut bid.unreadable;
        match entry.key {
            Key::Id => bid.id = text(value),
            Key::Impid => bid.impid = text(value),
            Key::Price => bid.price = number(value).map(Number::as_f64),
            Key::Adm => match value.kind() {
                Kind::Object(_) => bid.adm_object = Some(value.span()),
                _ => bid.adm = string(value),
            },
            Key::Adid => bid.adid = text(value),
            Key::Cid => bid.cid = text(value),
            Key::Crid => return put(&mut bid.crid, id(value)),
            Key::Dealid => return put(&mut bid.dealid, id(value)),
            Key::Bundle => return put(&mut bid.bundle, id(value)),
            Key::Adomain => return put(&mut bid.adomain, self.texts(value)),
            Key::Cat => return put(&mut bid.cat, self.texts(value)),
            Key::Attr => return put(&mut bid.attr, self.numbers(value)),
            Key::Cattax => {
                let is_said = !is_silent(value);
                // 0 is no taxonomy, and what many have where they set none
                let read = integer(value).map(|cattax: u16| (cattax != 0).then_some(cattax));
                return put(&mut bid.cattax, read.or((!is_said).then_some(None)));
            }
            Key::Nurl => bid.nurl = string(value),
            Key::Burl => bid.burl = string(value),
            Key::Lurl => bid.lurl = string(value),
            Key::Mtype => bid.mtype = integer(value),
            Key::W => bid.w = or_mark(value, &mut unreadable.size),
            Key::H => bid.h = or_mark(value, &mut unreadable.size),
            Key::Wratio => bid.wratio = or_mark(value, &mut unreadable.size),
            Key::Hratio => bid.hratio = or_mark(value, &mut unreadable.size),
            Key::Dur => bid.dur = or_mark(value, &mut unreadable.dur),
            Key::Exp => bid.exp = or_mark(value, &mut unreadable.exp),
            Key::Slotinpod => bid.slotinpod = integer(value).unwrap_or_default(),
            _ => return passed::fate(entry),
        }
        Fate::Passed
    }

    /// Whether a value is the id, as a string or as the number that it is written like.
    fn is_id(&self, value: Value<'_>, id: &str) -> bool {
        match value.kind() {
            Kind::Text(text) => text == id,
            Kind::Number(_) => {
                let span = value.span();
                self.body.get(span.at as usize..span.end as usize) == Some(id.as_bytes())
            }
            _ => false,
        }
    }

    /// A list of strings, or one; `None`: one of them is none, or has a NUL, behind which some read on
    /// and some do not.
    fn texts(&mut self, value: Value<'_>) -> Option<List> {
        let first = self.answer.texts.len();
        let mut is_readable = true;
        each(value, |one| match one.kind() {
            Kind::Text(text) if text.contains('\0') => is_readable = false,
            Kind::Text(_) | Kind::Number(_) => self.answer.texts.push(one.text()),
            _ => is_readable = false,
        });
        is_readable.then(|| run(first, self.answer.texts.len()))
    }

    /// A list of integers, or one; `None`: one of them is none.
    fn numbers(&mut self, value: Value<'_>) -> Option<List> {
        let first = self.answer.numbers.len();
        let mut is_readable = true;
        each(value, |one| {
            let number = integer::<i32>(one);
            is_readable &= number.is_some();
            self.answer.numbers.extend(number);
        });
        is_readable.then(|| run(first, self.answer.numbers.len()))
    }
}

/// Whether a member goes on to the partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passed,
    /// Of another type than its own: a partner that reads by type could not read our answer.
    LeftOut,
    /// Nor does its bid.
    Malformed,
}

/// Puts what was read where it belongs.
fn put<T>(place: &mut T, read: Option<T>) -> Fate {
    let Some(read) = read else { return Fate::Malformed };
    *place = read;
    Fate::Passed
}

/// What says nothing: also as writers have it that know one kind of empty table.
fn is_silent(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::Null | Kind::Text("") | Kind::Bool(false) => true,
        Kind::Array(mut elements) => elements.next().is_none(),
        Kind::Object(members) => members.count() == 0,
        _ => false,
    }
}

/// A run of an arena from `first` up to its end. Arenas are shorter than the body, whose offsets
/// fit.
fn run(first: usize, end: usize) -> List {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    List { first: narrow(first), len: narrow(end.saturating_sub(first)) }
}

/// The elements of an array; `None` where it is absent.
fn elements(value: Value<'_>) -> Result<Option<Elements<'_>>, NoAnswer> {
    match value.kind() {
        Kind::Array(elements) => Ok(Some(elements)),
        Kind::Null => Ok(None),
        _ => Err(NoAnswer::Invalid),
    }
}

/// Each that says something, of an array or alone.
fn each<'d>(value: Value<'d>, take: impl FnMut(Value<'d>)) {
    match value.kind() {
        Kind::Array(elements) => elements.filter(|one| !is_silent(*one)).for_each(take),
        _ => Some(value).into_iter().filter(|one| !is_silent(*one)).for_each(take),
    }
}

/// A string, or a number as it is written.
fn text(value: Value<'_>) -> Text {
    match value.kind() {
        Kind::Text(_) | Kind::Number(_) => value.text(),
        _ => Text::default(),
    }
}

/// A string alone: a number is no markup and no address.
fn string(value: Value<'_>) -> Text {
    if let Kind::Text(_) = value.kind() { value.text() } else { Text::default() }
}

/// An id that rules are about; `None`: something is said that is none.
fn id(value: Value<'_>) -> Option<Text> {
    let is_id = matches!(value.kind(), Kind::Text(_) | Kind::Number(_)) || is_silent(value);
    is_id.then(|| text(value))
}

/// A number, also one in a string.
fn number(value: Value<'_>) -> Option<Number> {
    match value.kind() {
        Kind::Number(number) => Some(number),
        Kind::Text(text) => {
            let text = text.trim_ascii();
            let whole = text.parse().ok().map(Number::Signed);
            whole.or_else(|| text.parse().ok().filter(|n: &f64| n.is_finite()).map(Number::Float))
        }
        _ => None,
    }
}

/// An integer that is there, or a mark that it cannot be read.
fn or_mark<T: TryFrom<i64>>(value: Value<'_>, is_unreadable: &mut bool) -> Option<T> {
    let found = integer(value);
    *is_unreadable |= found.is_none() && !value.is_null();
    found
}

/// An integer, also one as `300.0`; `None` where it does not fit.
fn integer<T: TryFrom<i64>>(value: Value<'_>) -> Option<T> {
    /// Below it every integer is exact in a double.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let number = number(value)?;
    let whole = match number {
        Number::Float(float) if float.fract() == 0.0 && float.abs() < EXACT_MAX => {
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            let whole = float as i64;
            whole
        }
        other => other.as_i64()?,
    };
    T::try_from(whole).ok()
}

fn flag(value: Value<'_>) -> bool {
    match value.kind() {
        Kind::Bool(flag) => flag,
        Kind::Text("true") => true,
        _ => integer::<i64>(value) == Some(1),
    }
}

#[cfg(test)]
mod tests;
