//! What stands before a body on the wire.
//!
//! Owns: the head of a request, of HTTP/1.1 as text and of HTTP/2 as a block of headers. Never: a
//! body, a socket. Invariants: no header of the recording that says how the body was framed or
//! coded is kept, for it is framed anew; each request says that it is a replayed one.

use super::FeedError;
use crate::drive::plan::Protocol;
use gavel::capture::Record;
use std::io::Write;

/// Headers that belong to a connection, to a framing or to us.
const OURS: [&str; 14] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "transfer-encoding",
    "content-length",
    "content-encoding",
    "accept-encoding",
    "x-gavel-replay",
    "http2-settings",
];

/// Marks a replayed request, so that nobody bills it.
const MARK: (&str, &str) = ("x-gavel-replay", "1");

/// Writes heads.
pub(super) struct Heads {
    pub protocol: Protocol,
    pub host: String,
}

impl Heads {
    /// Appends the head of a request with a body of `body_len` bytes. `headers`: those of the plan
    /// win over recorded ones of the same name.
    pub fn write<'h>(
        &self,
        record: &'h Record,
        path: &str,
        headers: &(impl Iterator<Item = (&'h str, &'h str)> + Clone),
        body_len: usize,
        out: &mut Vec<u8>,
    ) {
        let method = if record.method.is_empty() { "POST" } else { record.method.as_str() };
        let recorded =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(
                |(name, _)| {
                    let is_same = |other: &str| name.eq_ignore_ascii_case(other);
                    !OURS.iter().any(|other| is_same(other))
                        && !headers.clone().any(|(other, _)| is_same(other))
                },
            );
        let all = recorded.chain(headers.clone()).chain([MARK]);
        match self.protocol {
            Protocol::Http1 => self.text(method, path, all, body_len, out),
            Protocol::Http2 => self.block(method, path, all, body_len, out),
        }
    }

    fn text<'h>(
        &self,
        method: &str,
        path: &str,
        headers: impl Iterator<Item = (&'h str, &'h str)>,
        body_len: usize,
        out: &mut Vec<u8>,
    ) {
        // writing to a Vec cannot fail, here and below
        let _ = write!(out, "{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        if body_len > 0 || method == "POST" {
            let _ = write!(out, "Content-Length: {body_len}\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Fields without index and without Huffman coding (RFC 7541, 6.2.2): longer, but nobody needs
    /// a state for them.
    fn block<'h>(
        &self,
        method: &str,
        path: &str,
        headers: impl Iterator<Item = (&'h str, &'h str)>,
        body_len: usize,
        out: &mut Vec<u8>,
    ) {
        match method {
            "POST" => out.push(0x83),
            "GET" => out.push(0x82),
            other => field(2, "", other, out),
        }
        out.push(0x86);
        field(4, "", path, out);
        field(1, "", &self.host, out);
        for (name, value) in headers {
            field(0, name, value, out);
        }
        if body_len > 0 || method == "POST" {
            field(0, "content-length", &body_len.to_string(), out);
        }
    }
}

/// A field whose name is an entry of the static table, or (0) stands in full, in lower case.
fn field(index: u8, name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(index);
    if index == 0 {
        length(name.len(), out);
        out.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
    length(value.len(), out);
    out.extend_from_slice(value.as_bytes());
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn length(len: usize, out: &mut Vec<u8>) {
    let Some(mut rest) = len.checked_sub(127) else {
        return out.push(u8::try_from(len).unwrap_or(0));
    };
    out.push(127);
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

/// Whether what a record says about its request can stand in a head.
pub(super) fn is_sendable(record: &Record, path: &str) -> bool {
    let is_text = |text: &str| !text.contains(|c: char| c.is_control());
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    (record.method.is_empty() || is_token(&record.method))
        && path.starts_with('/')
        && is_text(path)
        && !path.contains(' ')
        && record.headers.iter().all(|(name, value)| is_token(name) && is_text(value))
}

/// Headers that somebody gave by hand.
pub fn parse_headers(lines: &[String]) -> Result<Vec<(String, String)>, FeedError> {
    lines.iter().map(|line| parse_header(line)).collect()
}

/// One of them, `name: value`.
pub fn parse_header(line: &str) -> Result<(String, String), FeedError> {
    let fault = || FeedError::Header(line.to_owned());
    let (name, value) = line.split_once(':').ok_or_else(fault)?;
    let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
    if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
        return Err(FeedError::Ours(name));
    }
    let record = Record { headers: vec![(name.clone(), value.clone())], ..Record::default() };
    is_sendable(&record, "/").then_some((name, value)).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, record: &Record) -> Vec<u8> {
        let heads = Heads { protocol, host: "h:1".to_owned() };
        let mut out = Vec::new();
        heads.write(record, "/p?q", &[("X-Key", "k")].into_iter(), 130, &mut out);
        out
    }

    fn record() -> Record {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("transfer-encoding", "chunked"),
            ("x-key", "old"),
            ("x-openrtb-version", "2.6"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Record { headers: headers.map(owned).to_vec(), ..Record::default() }
    }

    #[test]
    fn a_head_has_the_recorded_headers_but_for_framing_and_what_is_overridden() {
        assert_eq!(
            String::from_utf8(written(Protocol::Http1, &record())).unwrap(),
            "POST /p?q HTTP/1.1\r\nHost: h:1\r\ncontent-type: application/json\r\n\
             x-openrtb-version: 2.6\r\nX-Key: k\r\nx-gavel-replay: 1\r\nContent-Length: 130\r\n\r\n"
        );
    }

    #[test]
    fn a_block_of_headers_is_what_a_server_of_http2_reads() {
        let block = written(Protocol::Http2, &record());
        assert!(block.starts_with(b"\x83\x86\x04\x04/p?q\x01\x03h:1\x00\x0ccontent-type\x10"));
        assert!(block.windows(9).any(|part| part == b"\x00\x05x-key\x01k"));
        assert!(block.ends_with(b"\x00\x0econtent-length\x03130"));
        let mut long = Vec::new();
        length(127, &mut long);
        length(1_337 + 96, &mut long);
        assert_eq!(long, [127, 0, 127, 0x9a, 10]);
    }

    #[test]
    fn what_cannot_stand_in_a_head_is_not_sent() {
        let with = |method: &str, name: &str, value: &str| Record {
            method: method.to_owned(),
            headers: vec![(name.to_owned(), value.to_owned())],
            ..Record::default()
        };
        assert!(is_sendable(&with("PUT", "a", "b c"), "/x"));
        for (record, path) in [
            (with("P T", "a", "b"), "/x"),
            (with("", "a b", "b"), "/x"),
            (with("", "a", "b\r\nc: d"), "/x"),
            (with("", "a", "b"), "x"),
            (with("", "a", "b"), "/x y"),
            (with("", "a", "b"), "/x\r\n"),
        ] {
            assert!(!is_sendable(&record, path), "{record:?} {path:?}");
        }
        assert!(parse_header("no colon").is_err());
        for ours in ["content-length: 3", "Host: other", "Transfer-Encoding: chunked"] {
            let fault = parse_header(ours).unwrap_err();
            assert!(matches!(fault, FeedError::Ours(_)), "{ours}: {fault}");
        }
        assert!(parse_header("content-type: application/json").is_ok());
        assert_eq!(parse_header(" a : b ").unwrap(), ("a".to_owned(), "b".to_owned()));
    }
}
