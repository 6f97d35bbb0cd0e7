//! Where HTTP/1.1 messages end, and what is in them.
//!
//! Owns: [`Framer`], which looks at the bytes of a stream as they come, and [`read`], which takes
//! a whole message apart. Never: a socket, a rule about what is asked. Invariant: total; each byte
//! is looked at a bounded number of times, so that a stream in small pieces costs no more.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::Skip;

/// Most headers of a message.
const HEADERS_MAX: usize = 128;
/// Longest head.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest message: what fits into a record of a capture.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Longest line of a chunk's size.
const SIZE_LINE_MAX: usize = 256;

/// Which side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Request,
    /// To a request with this answer's body left out (HEAD): no.
    Answer,
}

/// What a framer has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    /// The message goes on.
    More,
    /// It ends before this offset.
    Complete(usize),
    /// It ends when the stream does.
    ToTheEnd,
    Fault(Skip),
}

/// Finds the end of the message at the start of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Framer {
    side: Side,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Offset up to which there is no end of the head.
    Head(usize),
    Length(usize),
    /// Offset of the next chunk's size.
    Chunks(usize),
    Trailers(usize),
    ToTheEnd,
}

impl Framer {
    /// At the start of a message.
    pub fn new(side: Side) -> Self {
        Self { side, state: State::Head(0) }
    }

    /// Whether the head is complete.
    pub fn has_head(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    /// Looks at the stream, whose beginning is the message's.
    pub fn look(&mut self, bytes: &[u8]) -> Framed {
        loop {
            let next = match self.state {
                State::Head(seen) => self.head(bytes, seen),
                State::Length(end) if end > MESSAGE_BYTES_MAX => {
                    return Framed::Fault(Skip::TooLarge);
                }
                State::Length(end) if bytes.len() >= end => return Framed::Complete(end),
                State::Length(_) => return Framed::More,
                State::Chunks(at) => chunk(bytes, at),
                State::Trailers(at) => return trailers(bytes, at),
                State::ToTheEnd if bytes.len() > MESSAGE_BYTES_MAX => {
                    return Framed::Fault(Skip::TooLarge);
                }
                State::ToTheEnd => return Framed::ToTheEnd,
            };
            match next {
                Ok(state) => self.state = state,
                Err(Framed::More) if bytes.len() > MESSAGE_BYTES_MAX => {
                    return Framed::Fault(Skip::TooLarge);
                }
                Err(framed) => return framed,
            }
        }
    }

    fn head(&mut self, bytes: &[u8], seen: usize) -> Result<State, Framed> {
        let from = seen.saturating_sub(3);
        let found = memchr::memmem::find(bytes.get(from..).unwrap_or_default(), b"\r\n\r\n");
        let Some(found) = found else {
            if bytes.len() > HEAD_BYTES_MAX || !may_begin(bytes, self.side) {
                return Err(Framed::Fault(Skip::BadHttp));
            }
            self.state = State::Head(bytes.len());
            return Err(Framed::More);
        };
        let end = from.saturating_add(found).saturating_add(4);
        let head =
            read_head(bytes.get(..end).unwrap_or_default(), self.side).map_err(Framed::Fault)?;
        match head.length(self.side).map_err(Framed::Fault)? {
            Length::Of(length) => Ok(State::Length(end.saturating_add(length))),
            Length::Chunked => Ok(State::Chunks(end)),
            Length::ToTheEnd => Ok(State::ToTheEnd),
        }
    }
}

/// Whether these bytes can be the beginning of a message.
pub fn may_begin(bytes: &[u8], side: Side) -> bool {
    let known: &[&[u8]] = match side {
        Side::Answer => &[b"HTTP/1."],
        Side::Request => &[
            b"POST ",
            b"GET ",
            b"PUT ",
            b"HEAD ",
            b"DELETE ",
            b"OPTIONS ",
            b"PATCH ",
            b"CONNECT ",
            b"TRACE ",
        ],
    };
    known.iter().any(|start| {
        let common = start.len().min(bytes.len());
        bytes.get(..common) == start.get(..common)
    })
}

fn chunk(bytes: &[u8], at: usize) -> Result<State, Framed> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', rest) else {
        return Err(if rest.len() > SIZE_LINE_MAX {
            Framed::Fault(Skip::BadHttp)
        } else {
            Framed::More
        });
    };
    let size = chunk_size(rest.get(..end).unwrap_or_default());
    let Some(size) = size else { return Err(Framed::Fault(Skip::BadHttp)) };
    let data = at.saturating_add(end).saturating_add(1);
    if size == 0 {
        return Ok(State::Trailers(data));
    }
    let next = data.saturating_add(size).saturating_add(2);
    if next > MESSAGE_BYTES_MAX {
        return Err(Framed::Fault(Skip::TooLarge));
    }
    if bytes.len() < next { Err(Framed::More) } else { Ok(State::Chunks(next)) }
}

/// Of the line before a chunk, extensions passed over.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn trailers(bytes: &[u8], mut at: usize) -> Framed {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', rest) else {
            let is_long = rest.len() > HEAD_BYTES_MAX;
            return if is_long { Framed::Fault(Skip::BadHttp) } else { Framed::More };
        };
        at = at.saturating_add(end).saturating_add(1);
        if rest.get(..end).unwrap_or_default().trim_ascii().is_empty() {
            return Framed::Complete(at);
        }
    }
}

/// A message without its framing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Of a request.
    pub method: String,
    pub target: String,
    /// Of an answer.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Parsed {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }
}

/// The first value of a header, by its name in lower case.
pub fn value<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

enum Length {
    Of(usize),
    Chunked,
    ToTheEnd,
}

struct Head {
    parsed: Parsed,
    /// Offset of the body.
    end: usize,
}

impl Head {
    /// RFC 9112, 6.3; a message with both lengths, or with lengths that differ, is refused.
    fn length(&self, side: Side) -> Result<Length, Skip> {
        let bodiless = matches!(self.parsed.status, 100..=199 | 204 | 304);
        if side == Side::Answer && bodiless {
            return Ok(Length::Of(0));
        }
        let mut lengths = Vec::new();
        let mut is_chunked = false;
        for (name, value) in &self.parsed.headers {
            match name.as_str() {
                "content-length" => {
                    lengths.extend(value.split(',').map(|one| one.trim().to_owned()));
                }
                "transfer-encoding" if value.trim().eq_ignore_ascii_case("chunked") => {
                    is_chunked = true;
                }
                "transfer-encoding" => return Err(Skip::BadCoding),
                _ => {}
            }
        }
        match (lengths.first(), is_chunked) {
            (None, true) => Ok(Length::Chunked),
            (Some(first), false) if lengths.iter().all(|one| one == first) => {
                first.parse().map(Length::Of).map_err(|_| Skip::BadHttp)
            }
            (Some(_), _) => Err(Skip::BadHttp),
            (None, false) if side == Side::Answer => Ok(Length::ToTheEnd),
            (None, false) => Ok(Length::Of(0)),
        }
    }
}

/// Takes a whole message apart; `bytes` must hold it and nothing behind it, unless its length is
/// chunked.
pub fn read(bytes: &[u8], side: Side) -> Result<Parsed, Skip> {
    let Head { mut parsed, end } = read_head(bytes, side)?;
    let rest = bytes.get(end..).unwrap_or_default();
    let length = Head { parsed: parsed.clone(), end }.length(side)?;
    parsed.body = match length {
        Length::Of(length) if length == rest.len() => rest.to_vec(),
        Length::Of(_) => return Err(Skip::OtherLength),
        Length::ToTheEnd => rest.to_vec(),
        Length::Chunked => unchunk(rest)?,
    };
    Ok(parsed)
}

fn unchunk(bytes: &[u8]) -> Result<Vec<u8>, Skip> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let line = memchr::memchr(b'\n', rest).ok_or(Skip::OtherLength)?;
        let size = chunk_size(rest.get(..line).unwrap_or_default()).ok_or(Skip::BadHttp)?;
        if size == 0 {
            return Ok(body);
        }
        let data = line.saturating_add(1);
        let end = data.saturating_add(size);
        body.extend_from_slice(rest.get(data..end).ok_or(Skip::OtherLength)?);
        at = at.saturating_add(end).saturating_add(2);
    }
}

fn read_head(bytes: &[u8], side: Side) -> Result<Head, Skip> {
    let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = Parsed::default();
    let (end, headers) = match side {
        Side::Request => {
            let mut request = httparse::Request::new(&mut slots);
            let status = request.parse(bytes).map_err(|_| Skip::BadHttp)?;
            request.method.unwrap_or_default().clone_into(&mut parsed.method);
            request.path.unwrap_or_default().clone_into(&mut parsed.target);
            (status, &*request.headers)
        }
        Side::Answer => {
            let mut answer = httparse::Response::new(&mut slots);
            let status = answer.parse(bytes).map_err(|_| Skip::BadHttp)?;
            parsed.status = answer.code.unwrap_or_default();
            (status, &*answer.headers)
        }
    };
    let httparse::Status::Complete(end) = end else { return Err(Skip::BadHttp) };
    parsed.headers = headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value).into_owned();
            (header.name.to_ascii_lowercase(), value)
        })
        .collect();
    Ok(Head { parsed, end })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests {
    use super::*;

    /// The end of the message at the start, where the stream comes in pieces of `step` bytes.
    fn framed(bytes: &[u8], side: Side, step: usize) -> Framed {
        let mut framer = Framer::new(side);
        let mut last = Framed::More;
        for end in (step..bytes.len() + step).step_by(step) {
            last = framer.look(&bytes[..end.min(bytes.len())]);
            if last != Framed::More {
                return last;
            }
        }
        last
    }

    #[test]
    fn the_end_is_found_whatever_the_pieces() {
        let length = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloPOST /";
        let chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\nGET";
        let empty = b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        for step in 1..60 {
            assert_eq!(framed(length, Side::Request, step), Framed::Complete(length.len() - 6));
            assert_eq!(framed(chunked, Side::Request, step), Framed::Complete(chunked.len() - 3));
            assert_eq!(framed(empty, Side::Request, step), Framed::Complete(18));
            let answer = b"HTTP/1.1 200 OK\r\n\r\nuntil the end";
            assert_eq!(framed(answer, Side::Answer, step), Framed::ToTheEnd);
            let none = b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\nHTTP";
            assert_eq!(framed(none, Side::Answer, step), Framed::Complete(none.len() - 4));
        }
        let parsed = read(&chunked[..chunked.len() - 3], Side::Request).unwrap();
        assert_eq!((parsed.method.as_str(), parsed.target.as_str()), ("POST", "/a"));
        assert_eq!(parsed.body, b"hello");
        assert_eq!(read(&length[..length.len() - 6], Side::Request).unwrap().body, b"hello");
    }

    #[test]
    fn what_is_no_message_is_a_fault() {
        for (bytes, skip) in [
            (&b"\x16\x03\x01\x02\x00"[..], Skip::BadHttp),
            (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", Skip::BadHttp),
            (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Skip::BadHttp),
            (
                b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Skip::BadHttp,
            ),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", Skip::BadCoding),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Skip::BadHttp),
            (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", Skip::TooLarge),
        ] {
            assert_eq!(
                framed(bytes, Side::Request, 7),
                Framed::Fault(skip),
                "{}",
                bytes.escape_ascii()
            );
        }
        let short = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab";
        assert_eq!(read(short, Side::Request), Err(Skip::OtherLength));
    }
}
