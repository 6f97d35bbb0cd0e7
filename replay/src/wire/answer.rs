//! Where an HTTP/1.1 answer ends.
//!
//! Owns: the framing rules of a client (RFC 9112, 6.3) over bytes that arrive piece by piece.
//! Never: a socket, a limit on time. Invariant: total; whatever the bytes, it says complete, more
//! or malformed, and an answer without a body (204, 304) is complete with its head.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::ops::Range;

/// Header lines that are read; gavel sends about six.
const HEADERS_MAX: usize = 64;

/// The longest line of a chunk size with its extension.
const CHUNK_LINE_MAX: usize = 256;

/// A whole answer at the front of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Bytes of the buffer that belong to it.
    pub len: usize,
    /// Where its body is; of a chunked one, with the chunks' framing (see [`unchunk`]).
    pub body: Range<usize>,
    pub is_chunked: bool,
    /// Whether the head of a 204 announces a body, which there it cannot have.
    pub announces: bool,
    /// Whether the connection can be used again.
    pub is_reusable: bool,
}

/// What the bytes so far amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Complete(Answer),
    More,
    Malformed,
}

/// How the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    /// By the end of the connection.
    Close,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    len: usize,
    framing: Framing,
    announces: bool,
    is_kept_alive: bool,
}

/// Reads one answer after the other from a growing buffer.
#[derive(Debug, Default)]
pub struct AnswerReader {
    head: Option<Head>,
    /// Offset of the next chunk-size line.
    chunk_at: usize,
}

impl AnswerReader {
    /// Looks at the buffer again; `is_ended`: the peer sends no more.
    ///
    /// After `Complete` the caller removes `len` bytes, and the reader is ready for the next one.
    pub fn read(&mut self, buffer: &[u8], is_ended: bool) -> Progress {
        let head = match self.head {
            Some(head) => head,
            None => match parse_head(buffer) {
                Ok(Some(head)) => {
                    self.chunk_at = head.len;
                    *self.head.insert(head)
                }
                Ok(None) if is_ended => return Progress::Malformed,
                Ok(None) => return Progress::More,
                Err(()) => return Progress::Malformed,
            },
        };
        let end = match head.framing {
            Framing::Length(len) => head.len.checked_add(len).filter(|end| *end <= buffer.len()),
            Framing::Close => is_ended.then_some(buffer.len()),
            Framing::Chunked => match self.last_chunk(buffer) {
                Ok(end) => end,
                Err(()) => return Progress::Malformed,
            },
        };
        match end {
            Some(end) => {
                *self = Self::default();
                Progress::Complete(Answer {
                    status: head.status,
                    len: end,
                    body: head.len..end,
                    is_chunked: head.framing == Framing::Chunked,
                    announces: head.announces,
                    // what was announced may come after all, where the next answer is awaited
                    is_reusable: head.is_kept_alive
                        && !head.announces
                        && head.framing != Framing::Close,
                })
            }
            None if is_ended => Progress::Malformed,
            None => Progress::More,
        }
    }

    /// Walks the chunks that are there; `Some`: the offset behind the last one and its trailers.
    fn last_chunk(&mut self, buffer: &[u8]) -> Result<Option<usize>, ()> {
        loop {
            let rest = buffer.get(self.chunk_at..).unwrap_or_default();
            let (line, size) = match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Complete(found)) => found,
                Ok(httparse::Status::Partial) if rest.len() > CHUNK_LINE_MAX => return Err(()),
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(_) => return Err(()),
            };
            let data_at = self.chunk_at.checked_add(line).ok_or(())?;
            if size == 0 {
                return Ok(trailers_end(buffer, data_at));
            }
            let size = usize::try_from(size).map_err(|_| ())?;
            let next = data_at.checked_add(size).and_then(|end| end.checked_add(2)).ok_or(())?;
            if next > buffer.len() {
                return Ok(None);
            }
            self.chunk_at = next;
        }
    }
}

/// Appends what a complete chunked body amounts to; a damaged one up to its damage.
pub fn unchunk(body: &[u8], out: &mut Vec<u8>) {
    let mut rest = body;
    while let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(rest) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let end = line.saturating_add(size);
        let Some(data) = rest.get(line..end).filter(|data| !data.is_empty()) else { return };
        out.extend_from_slice(data);
        rest = rest.get(end.saturating_add(2)..).unwrap_or_default();
    }
}

/// Trailers end with an empty line.
fn trailers_end(buffer: &[u8], at: usize) -> Option<usize> {
    let rest = buffer.get(at..)?;
    if rest.starts_with(b"\r\n") {
        return at.checked_add(2);
    }
    let end = rest.windows(4).position(|window| window == b"\r\n\r\n")?;
    at.checked_add(end)?.checked_add(4)
}

/// `None`: not all there. Interim answers (1xx) are passed over.
fn parse_head(buffer: &[u8]) -> Result<Option<Head>, ()> {
    let mut at: usize = 0;
    loop {
        let Some(head) = parse_one_head(buffer.get(at..).unwrap_or_default())? else {
            return Ok(None);
        };
        let end = at.checked_add(head.len).ok_or(())?;
        match head.status {
            101 => return Err(()),
            100..=199 => at = end,
            _ => return Ok(Some(Head { len: end, ..head })),
        }
    }
}

fn parse_one_head(buffer: &[u8]) -> Result<Option<Head>, ()> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let len = match answer.parse(buffer) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(()),
    };
    let status = answer.code.ok_or(())?;
    let mut is_kept_alive = answer.version == Some(1);
    let mut framing = Framing::Close;
    for header in answer.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let len = std::str::from_utf8(header.value).map_err(|_| ())?.trim();
            if framing != Framing::Chunked {
                framing = Framing::Length(len.parse().map_err(|_| ())?);
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !has_token(header.value, b"chunked") {
                return Err(());
            }
            framing = Framing::Chunked;
        } else if header.name.eq_ignore_ascii_case("connection") {
            is_kept_alive = (is_kept_alive && !has_token(header.value, b"close"))
                || has_token(header.value, b"keep-alive");
        }
    }
    // the length of a 304 is that of what is not sent
    let announces = status == 204 && !matches!(framing, Framing::Close | Framing::Length(0));
    if matches!(status, 100..=199 | 204 | 304) {
        framing = Framing::Length(0);
    }
    Ok(Some(Head { status, len, framing, announces, is_kept_alive }))
}

/// Whether a comma-separated list has the token.
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(status: u16, len: usize, body: Range<usize>, is_reusable: bool) -> Progress {
        Progress::Complete(Answer {
            status,
            len,
            body,
            is_chunked: false,
            announces: false,
            is_reusable,
        })
    }

    #[test]
    fn answers_end_where_the_standard_says() {
        let close = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc";
        for (bytes, is_ended, expected) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", false, whole(204, 27, 27..27, true)),
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
                false,
                whole(204, 46, 46..46, true),
            ),
            ("HTTP/1.1 304 Not Modified\r\n\r\n", false, whole(304, 29, 29..29, true)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP",
                false,
                whole(200, 40, 38..40, true),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", false, Progress::More),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", true, Progress::Malformed),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, whole(200, 38, 38..38, false)),
            (close, false, Progress::More),
            (close, true, whole(200, 41, 38..41, false)),
            ("HTTP/1.1 200", false, Progress::More),
            ("HTTP/1.1 200", true, Progress::Malformed),
            ("nonsense\r\n\r\n", false, Progress::Malformed),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, Progress::Malformed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, Progress::Malformed),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                false,
                whole(204, 52, 52..52, true),
            ),
        ] {
            let progress = AnswerReader::default().read(bytes.as_bytes(), is_ended);
            assert_eq!(progress, expected, "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_without_a_body_that_announces_one_says_so() {
        for (head, announces) in [
            ("204 X\r\nContent-Length: 5", true),
            ("204 X\r\nTransfer-Encoding: chunked", true),
            ("204 X\r\nContent-Length: 0", false),
            ("204 X", false),
            ("304 X\r\nContent-Length: 5", false),
        ] {
            let bytes = format!("HTTP/1.1 {head}\r\n\r\n");
            let found = AnswerReader::default().read(bytes.as_bytes(), false);
            let Progress::Complete(answer) = found else { panic!("{head}: {found:?}") };
            assert_eq!((answer.announces, answer.is_reusable), (announces, !announces), "{head}");
            assert!(answer.body.is_empty());
        }
    }

    #[test]
    fn chunked_answers_are_found_however_they_are_cut() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for tail in ["3\r\nabc\r\n0\r\n\r\n", "1;x=y\r\na\r\n2\r\nbc\r\n0\r\nX: y\r\n\r\n"] {
            let bytes = format!("{head}{tail}");
            let mut reader = AnswerReader::default();
            for end in 0..bytes.len() {
                let part = bytes.get(..end).unwrap();
                assert_eq!(reader.read(part.as_bytes(), false), Progress::More, "{part:?}");
            }
            let body = head.len()..bytes.len();
            let mut whole = Vec::new();
            unchunk(bytes.as_bytes().get(body.clone()).unwrap(), &mut whole);
            assert_eq!(whole, b"abc");
            let len = bytes.len();
            let expected = Answer {
                status: 200,
                len,
                body,
                is_chunked: true,
                announces: false,
                is_reusable: true,
            };
            assert_eq!(reader.read(bytes.as_bytes(), false), Progress::Complete(expected));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer_within_the_buffer(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            is_ended: bool,
            is_chunked: bool,
        ) {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut buffer = if is_chunked { head.to_vec() } else { Vec::new() };
            buffer.extend_from_slice(&bytes);
            if let Progress::Complete(answer) = AnswerReader::default().read(&buffer, is_ended) {
                prop_assert!(answer.len <= buffer.len());
                prop_assert!(answer.body.end <= buffer.len());
                let mut whole = Vec::new();
                unchunk(buffer.get(answer.body).unwrap(), &mut whole);
                prop_assert!(whole.len() <= buffer.len());
            }
        }
    }
}
