//! HTTP archives, version 1.2.
//!
//! Owns: how an entry becomes a message. Never: a whole archive in memory: entries are read one by
//! one. Invariant: an entry that is not as it should be is skipped, and the ones behind it are read.

use super::input::Input;
use super::sink::Sink;
use super::{Answer, ImportError, Message, Skip};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};

/// Bytes of the request or of the answer of an entry, or of what stands between entries.
const VALUE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one text as it is written; browsers put whole pages and films into an entry. What is beyond is
/// passed over.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Bytes that are passed over at once.
const PASSED_BYTES: usize = 64 << 10;
/// Ends a text that was cut; no body has it.
const CUT: &[u8] = b"\\u0000";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: String,
    /// Milliseconds.
    #[serde(default, deserialize_with = "or_null")]
    time: f64,
    request: Request,
    #[serde(default)]
    response: serde_json::Value,
    connection: Option<String>,
}

/// As many tools write what they do not know.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default, deserialize_with = "or_null")]
    headers: Vec<Named>,
    post_data: Option<Content>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default, deserialize_with = "or_null")]
    status: i64,
    content: Option<Content>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default, deserialize_with = "or_null")]
    value: String,
}

/// `postData` and `content`: decoded of their content's coding already.
#[derive(Deserialize)]
struct Content {
    #[serde(default, deserialize_with = "or_null")]
    text: String,
    encoding: Option<String>,
}

/// Whether a file that begins so is an archive: an object whose members, as far as they are seen, are an
/// object `log` and none of a request.
pub fn is_one(text: &[u8]) -> bool {
    let (mut depth, mut at) = (0_usize, 0_usize);
    while let Some(byte) = text.get(at) {
        at = at.saturating_add(1);
        match byte {
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let rest = text.get(at..).unwrap_or_default();
                let Some(length) = quoted(rest) else { return false };
                let name = rest.get(..length).unwrap_or_default();
                at = at.saturating_add(length).saturating_add(1);
                let behind = text.get(at..).unwrap_or_default().trim_ascii_start();
                let value = behind.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
                match (name, value) {
                    (b"log", Some(value)) if depth == 1 => return value.starts_with(b"{"),
                    (b"imp" | b"id" | b"request" | b"body", Some(_)) if depth == 1 => return false,
                    _ => {}
                }
            }
            _ => {}
        }
        if depth == 0 {
            return false;
        }
    }
    false
}

/// Length of what is before the closing quote.
fn quoted(rest: &[u8]) -> Option<usize> {
    let mut from = 0_usize;
    loop {
        let at = from.saturating_add(memchr::memchr2(b'"', b'\\', rest.get(from..)?)?);
        if rest.get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at.saturating_add(2);
    }
}

/// Reads an archive to its end.
pub fn read<W: Write>(input: &mut Input<'_>, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
    input.pass_mark();
    let offset = Cell::new(input.offset());
    let place = Place { offset, given: Cell::new(0), limit: Cell::new(u64::MAX) };
    let bytes = Bytes { input, place: &place, within: Within::Nothing, rest: &[] };
    let mut archive = Archive { sink, place: &place, entries: 0, write: None };
    // one byte is taken at a time, so that the place is exact
    let mut reader = serde_json::Deserializer::from_reader(bytes);
    let read = Root(&mut archive).deserialize(&mut reader).and_then(|()| reader.end());
    let (entries, write) = (archive.entries, archive.write);
    if let Some(fault) = write {
        return Err(fault);
    }
    let offset = place.offset.get();
    match read {
        Ok(()) => Ok(()),
        Err(fault) if fault.is_io() => Err(ImportError::Read { offset, source: fault.into() }),
        Err(fault) if fault.is_eof() => {
            Err(ImportError::CutShort { offset, what: "an HTTP archive" })
        }
        Err(fault) => {
            let what = format!("no HTTP archive, after {entries} entries: {fault}");
            Err(ImportError::Foreign { offset, what })
        }
    }
}

/// Nanoseconds since 1970 of a moment as RFC 3339 writes it.
pub(super) fn moment_ns(text: &str) -> Option<u64> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(moment.as_nanosecond()).ok()
}

/// Where the reader is, and where a value must have ended.
struct Place {
    offset: Cell<u64>,
    /// Bytes without those that were cut.
    given: Cell<u64>,
    limit: Cell<u64>,
}

impl Place {
    fn bound(&self) {
        self.limit.set(self.given.get().saturating_add(VALUE_BYTES_MAX));
    }

    /// For what is passed over and not held.
    fn unbound(&self) {
        self.limit.set(u64::MAX);
    }
}

/// What the next byte is in.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    Nothing,
    /// A text of which so many bytes were given; and bytes of an escape that are still to come.
    Text(usize, u8),
    /// The rest of one that is too long; whether the byte before escapes this one.
    Passed(bool),
}

struct Bytes<'i, 'f, 'p> {
    input: &'i mut Input<'f>,
    place: &'p Place,
    within: Within,
    /// Given before anything else.
    rest: &'static [u8],
}

impl Bytes<'_, '_, '_> {
    /// Gives how many bytes of the file that took, and how many it gave.
    fn fill(&mut self, room: &mut [u8]) -> (usize, usize) {
        let (mut taken, mut count) = (0, 0);
        while count < room.len() && self.rest.is_empty() {
            let held = self.input.want(taken + 1).get(taken).copied();
            // what is passed over is not held either
            let Some(byte) = held.filter(|_| taken < PASSED_BYTES) else { break };
            taken += 1;
            if self.pass(byte) {
                if let Some(to) = room.get_mut(count) {
                    *to = byte;
                }
                count += 1;
            }
        }
        (taken, count)
    }

    /// Whether a byte is given.
    fn pass(&mut self, byte: u8) -> bool {
        self.within = match (self.within, byte) {
            (Within::Nothing, b'"') => Within::Text(0, 0),
            (Within::Nothing, _) | (Within::Text(_, 0) | Within::Passed(false), b'"') => {
                Within::Nothing
            }
            (Within::Text(count, 0), _) if count >= TEXT_BYTES_MAX => {
                self.rest = CUT;
                Within::Passed(byte == b'\\')
            }
            (Within::Text(count, 0), b'\\') => Within::Text(count.saturating_add(1), 1),
            // `\uXXXX`
            (Within::Text(count, 1), b'u') => Within::Text(count.saturating_add(1), 4),
            (Within::Text(count, left), _) => {
                Within::Text(count.saturating_add(1), left.saturating_sub(1))
            }
            (Within::Passed(false), b'\\') => Within::Passed(true),
            (Within::Passed(_), _) => Within::Passed(false),
        };
        !matches!(self.within, Within::Passed(_))
    }
}

impl Read for Bytes<'_, '_, '_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.place.given.get() >= self.place.limit.get() {
            let what = format!("a value of an entry has more than {VALUE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let mut count = 0;
        let mut taken = 1;
        while count == 0 && taken > 0 {
            if let Some((first, rest)) = self.rest.split_first() {
                self.rest = rest;
                room.iter_mut().take(1).for_each(|to| *to = *first);
                count = room.len().min(1);
                break;
            }
            (taken, count) = self.fill(room);
            self.input.consume(taken);
        }
        self.place.offset.set(self.input.offset());
        self.place.given.set(self.place.given.get().saturating_add(count as u64));
        Ok(count)
    }
}

struct Archive<'a, 's, 'w, W: Write> {
    sink: &'a mut Sink<'w, W>,
    place: &'s Place,
    entries: u64,
    write: Option<ImportError>,
}

impl<W: Write> Archive<'_, '_, '_, W> {
    fn entry(&mut self, value: serde_json::Value, offset: u64) -> Result<(), ImportError> {
        self.entries += 1;
        let Ok(entry) = serde_json::from_value::<Entry>(value) else {
            self.sink.skip(Skip::BadRecord, offset);
            return Ok(());
        };
        let Some(at_ns) = moment_ns(&entry.started_date_time) else {
            self.sink.skip(Skip::BadRecord, offset);
            return Ok(());
        };
        let body = match content(entry.request.post_data) {
            Ok(body) => body,
            Err(skip) => {
                self.sink.skip(skip, offset);
                return Ok(());
            }
        };
        // an answer that cannot be read costs itself alone
        let response =
            serde_json::from_value::<Option<Response>>(entry.response).unwrap_or_default();
        let mut headers = named(entry.request.headers);
        // the body stands here without it
        headers.retain(|(name, _)| name != "content-encoding");
        let answer = response.filter(|response| response.status > 0).map(|response| Answer {
            status: u16::try_from(response.status).unwrap_or(0),
            took_ns: nanoseconds(entry.time),
            headers: Vec::new(),
            body: content(response.content).unwrap_or_default(),
        });
        self.sink.take(Message {
            offset,
            at_ns: Some(at_ns),
            connection: entry.connection.and_then(|name| name.parse().ok()).unwrap_or(0),
            method: entry.request.method,
            target: entry.request.url,
            headers,
            body,
            answer,
            no_answer: None,
        })
    }
}

/// Of milliseconds.
fn nanoseconds(milliseconds: f64) -> u64 {
    let took = crate::random::seconds(milliseconds / 1e3);
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

fn named(headers: Vec<Named>) -> Vec<(String, String)> {
    headers.into_iter().map(|header| (header.name.to_ascii_lowercase(), header.value)).collect()
}

fn content(content: Option<Content>) -> Result<Vec<u8>, Skip> {
    let Some(content) = content else { return Ok(Vec::new()) };
    if content.text.len() >= TEXT_BYTES_MAX / 6 && content.text.ends_with('\0') {
        return Err(Skip::TooLarge);
    }
    match content.encoding.as_deref() {
        Some("base64") => BASE64_STANDARD.decode(content.text.trim()).map_err(|_| Skip::BadCoding),
        Some("" | "utf-8" | "UTF-8") | None => Ok(content.text.into_bytes()),
        Some(_) => Err(Skip::BadCoding),
    }
}

/// `{"log": {"entries": [...]}}`, with anything beside it.
struct Root<'a, 'b, 's, 'w, W: Write>(&'a mut Archive<'b, 's, 'w, W>);

struct Log<'a, 'b, 's, 'w, W: Write>(&'a mut Archive<'b, 's, 'w, W>);

struct Entries<'a, 'b, 's, 'w, W: Write>(&'a mut Archive<'b, 's, 'w, W>);

impl<'de, W: Write> DeserializeSeed<'de> for Root<'_, '_, '_, '_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Root<'_, '_, '_, '_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `log`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut is_found = false;
        while let Some(name) = members.next_key::<String>()? {
            if name == "log" {
                is_found = true;
                members.next_value_seed(Log(&mut *self.0))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        is_found.then_some(()).ok_or_else(|| serde::de::Error::missing_field("log"))
    }
}

impl<'de, W: Write> DeserializeSeed<'de> for Log<'_, '_, '_, '_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Log<'_, '_, '_, '_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `entries`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if name == "entries" {
                members.next_value_seed(Entries(&mut *self.0))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de, W: Write> DeserializeSeed<'de> for Entries<'_, '_, '_, '_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Entries<'_, '_, '_, '_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let archive = self.0;
        loop {
            let offset = archive.place.offset.get();
            let Some(value) = entries.next_element_seed(Fields(archive.place))? else { break };
            if let Err(fault) = archive.entry(value, offset) {
                archive.write = Some(fault);
                return Err(serde::de::Error::custom("the capture cannot be written"));
            }
        }
        Ok(())
    }
}

/// The members of an entry that are needed; all others are passed over. Whatever else stands there is no
/// entry, and nothing is kept of it.
struct Fields<'s>(&'s Place);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = serde_json::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = serde_json::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = serde_json::Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let is_needed = ["startedDateTime", "time", "request", "response", "connection"]
                .contains(&name.as_str());
            if is_needed {
                self.0.bound();
                found.insert(name, members.next_value()?);
                self.0.unbound();
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(serde_json::Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }
}
