//! Yandex.Tank's ammunition: phantom (`size [tag]`, then that many bytes of a raw request) and
//! uripost (`[Header: value]` lines, then `size path [tag]` and that many bytes of a body).
//!
//! Owns: their framing. Never: times; the files have none. Invariant: what a size says is checked
//! against what is there.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::http::{self, MESSAGE_BYTES_MAX, Side};
use super::input::Input;
use super::sink::Sink;
use super::{ImportError, Message, Skip};
use std::io::Write;

/// Longest line between requests.
const LINE_MAX: usize = 16 << 10;

/// Most headers that a uripost file sets.
const HEADERS_MAX: usize = 64;

/// Whether a file that begins so may be ammunition.
pub fn is_one(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    header(line).is_some() || size(line).is_some()
}

/// Reads a file to its end.
pub fn read<W: Write>(input: &mut Input<'_>, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let offset = input.offset();
        let Some((line, is_whole)) = input.line(LINE_MAX) else { return Ok(()) };
        if line.trim_ascii().is_empty() {
            continue;
        }
        if let Some((name, value)) = header(&line) {
            headers.retain(|(known, _)| *known != name);
            if headers.len() < HEADERS_MAX {
                headers.push((name, value));
            }
            continue;
        }
        let Some((count, path)) = size(&line).filter(|_| is_whole) else {
            let what = "a line `size [tag]`, `size path [tag]` or `[Header: value]` should stand \
                        here";
            return Err(ImportError::Foreign { offset, what: what.to_owned() });
        };
        if count == 0 {
            return Ok(()); // that is how a file may end
        }
        let Some(count) = usize::try_from(count).ok().filter(|count| *count <= MESSAGE_BYTES_MAX)
        else {
            sink.skip(Skip::TooLarge, offset);
            input.pass(count);
            continue;
        };
        let held = input.want(count);
        let Some(bytes) = held.get(..count).map(<[u8]>::to_vec) else {
            input.consume(usize::MAX);
            return Err(ImportError::CutShort { offset, what: "a request" });
        };
        input.consume(count);
        match message(&bytes, path, &headers) {
            Ok(message) => sink.take(Message { offset, ..message })?,
            Err(skip) => sink.skip(skip, offset),
        }
    }
}

fn message(
    bytes: &[u8],
    path: Option<String>,
    headers: &[(String, String)],
) -> Result<Message, Skip> {
    if http::may_begin(bytes, Side::Request) {
        let parsed = http::read(bytes, Side::Request)?;
        return Ok(Message {
            method: parsed.method,
            target: parsed.target,
            headers: parsed.headers,
            body: parsed.body,
            ..Message::default()
        });
    }
    Ok(Message {
        method: "POST".to_owned(),
        target: path.ok_or(Skip::BadHttp)?,
        headers: headers.to_vec(),
        body: bytes.to_vec(),
        ..Message::default()
    })
}

/// `[Name: value]`.
fn header(line: &[u8]) -> Option<(String, String)> {
    let inside = line.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    let (name, value) = std::str::from_utf8(inside).ok()?.split_once(':')?;
    Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// A size, and a path where the word behind it is one.
fn size(line: &[u8]) -> Option<(u64, Option<String>)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let size = words.next()?.parse().ok()?;
    let path = words.next().filter(|word| word.starts_with('/') || word.starts_with("http"));
    Some((size, path.map(str::to_owned)))
}
