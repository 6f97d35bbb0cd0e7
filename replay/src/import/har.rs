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

/// Bytes of one entry, or of what stands between them; browsers put whole pages into an entry.
const ENTRY_BYTES_MAX: u64 = 16 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: String,
    /// Milliseconds.
    #[serde(default)]
    time: f64,
    request: Request,
    response: Option<Response>,
    connection: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Named>,
    post_data: Option<Content>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    status: i64,
    content: Option<Content>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    value: String,
}

/// `postData` and `content`: decoded of their content's coding already.
#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    text: String,
    encoding: Option<String>,
}

/// Reads an archive to its end.
pub fn read<W: Write>(input: &mut Input<'_>, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
    let place = Place { offset: Cell::new(input.offset()), limit: Cell::new(ENTRY_BYTES_MAX) };
    let bytes = Bytes { input, place: &place };
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

/// Where the reader is, and where the entry must have ended.
struct Place {
    offset: Cell<u64>,
    limit: Cell<u64>,
}

struct Bytes<'i, 'f, 'p> {
    input: &'i mut Input<'f>,
    place: &'p Place,
}

impl Read for Bytes<'_, '_, '_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.place.offset.get() >= self.place.limit.get() {
            let what = format!("an entry has more than {ENTRY_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let held = self.input.want(1).map_err(io::Error::other)?;
        let count = held.len().min(room.len());
        for (to, from) in room.iter_mut().zip(held) {
            *to = *from;
        }
        self.input.consume(count);
        self.place.offset.set(self.input.offset());
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
        let Ok(body) = content(entry.request.post_data) else {
            self.sink.skip(Skip::BadCoding, offset);
            return Ok(());
        };
        let mut headers = named(entry.request.headers);
        // the body stands here without it
        headers.retain(|(name, _)| name != "content-encoding");
        let answer = entry.response.filter(|response| response.status > 0).map(|response| Answer {
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
            archive.place.limit.set(offset.saturating_add(ENTRY_BYTES_MAX));
            let Some(value) = entries.next_element::<serde_json::Value>()? else { break };
            if let Err(fault) = archive.entry(value, offset) {
                archive.write = Some(fault);
                return Err(serde::de::Error::custom("the capture cannot be written"));
            }
        }
        let offset = archive.place.offset.get();
        archive.place.limit.set(offset.saturating_add(ENTRY_BYTES_MAX));
        Ok(())
    }
}
