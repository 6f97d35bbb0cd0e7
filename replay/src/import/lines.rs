//! JSON lines.
//!
//! Owns: what a line may be: a bid request; `{"request": {...}}` with anything beside it, as the
//! public corpora have; or a request with its circumstances, `{"at": seconds or RFC 3339, "path":
//! .., "method": .., "host": .., "headers": {..}, "body": object or text}` (also with `uri` for
//! `path`: a line of Yandex.Tank's JSON ammunition). Bodies are taken byte for byte. Never: what
//! a bid request must be.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::http::MESSAGE_BYTES_MAX;
use super::input::Input;
use super::sink::Sink;
use super::{ImportError, Message, Skip};
use gavel::json::scratch::Scratch;
use gavel::json::value::{Entry, Kind, Value};
use std::io::Write;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;

/// Bytes in which a file shows what it begins with.
const BEGIN_BYTES: usize = 256;

/// What is wrong with a list of requests.
pub const ARRAY: &str =
    "a JSON array, and not a request on each line: `jq -c '.[]' FILE` makes lines of it";

/// Whether a file that begins so is such a list.
pub fn is_array(bytes: &[u8]) -> bool {
    let inner = bytes.trim_ascii_start().strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    inner.is_some_and(|inner| matches!(inner.first(), Some(b'{' | b'[' | b'"' | b']')))
}

/// Reads a file to its end.
pub fn read<W: Write>(input: &mut Input<'_>, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
    let (mut scratch, mut text) = (Scratch::new(DEPTH_MAX), Vec::new());
    input.pass_mark();
    let held = input.want(BEGIN_BYTES);
    if held.trim_ascii_start().starts_with(b"[") {
        return Err(ImportError::Foreign { offset: input.offset(), what: ARRAY.to_owned() });
    }
    loop {
        let offset = input.offset();
        let Some((line, is_whole)) = input.line(MESSAGE_BYTES_MAX) else { return Ok(()) };
        if !is_whole {
            sink.skip(Skip::TooLarge, offset);
            while let Some((_, false)) = input.line(MESSAGE_BYTES_MAX) {}
            continue;
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match message(line, &mut scratch, &mut text) {
            Ok(message) => sink.take(Message { offset, ..message })?,
            Err(skip) => sink.skip(skip, offset),
        }
    }
}

/// Of one line.
fn message(line: &[u8], scratch: &mut Scratch, text: &mut Vec<u8>) -> Result<Message, Skip> {
    let document = scratch.read(line, text).map_err(|_| Skip::NotJson)?;
    let Kind::Object(members) = document.root().kind() else { return Err(Skip::NotARequest) };
    let mut message = Message { method: "POST".to_owned(), ..Message::default() };
    let mut body = None;
    let (mut has_id, mut has_imp) = (false, false);
    for member in members {
        match member.name {
            "imp" => has_imp = true,
            "id" => has_id = true,
            "body" => body = body_of(line, member.value),
            "request" => body = body.or(body_of(line, member.value)),
            _ => circumstance(&mut message, member)?,
        }
    }
    if has_imp || body.is_none() && has_id {
        let whole = Message { method: "POST".to_owned(), ..Message::default() };
        return Ok(Message { body: line.to_vec(), ..whole });
    }
    message.body = body.ok_or(Skip::NotARequest)?;
    Ok(message)
}

/// An object byte for byte; a text as what it says.
fn body_of(line: &[u8], value: Value<'_>) -> Option<Vec<u8>> {
    match value.kind() {
        Kind::Object(_) | Kind::Array(_) => {
            let span = value.span();
            let at = usize::try_from(span.at).ok()?;
            line.get(at..usize::try_from(span.end).ok()?).map(<[u8]>::to_vec)
        }
        Kind::Text(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

fn circumstance(message: &mut Message, member: Entry<'_>) -> Result<(), Skip> {
    let written = member.value.written();
    match member.name {
        "at" => message.at_ns = Some(time(member.value).ok_or(Skip::BadRecord)?),
        "path" | "uri" | "url" => written.clone_into(&mut message.target),
        "method" => message.method = written.to_ascii_uppercase(),
        "host" => message.headers.push(("host".to_owned(), written.to_owned())),
        "connection" => message.connection = written.parse().unwrap_or_default(),
        "headers" => {
            if let Kind::Object(headers) = member.value.kind() {
                message.headers.extend(headers.map(|header| {
                    (header.name.to_ascii_lowercase(), header.value.written().to_owned())
                }));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Seconds, or a moment as RFC 3339 writes it; in nanoseconds.
fn time(value: Value<'_>) -> Option<u64> {
    match value.kind() {
        Kind::Number(seconds) => {
            let at = std::time::Duration::try_from_secs_f64(seconds.as_f64()).ok()?;
            u64::try_from(at.as_nanos()).ok()
        }
        Kind::Text(text) => super::har::moment_ns(text),
        _ => None,
    }
}
