//! Where an HTTP/1.1 request ends, for the simulated bidders.
//!
//! Owns: just enough of a server's reading. Never: chunked requests (gavel sends lengths), a
//! socket. Invariant: total over any bytes.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Header lines that are read; gavel sends about ten.
const HEADERS_MAX: usize = 64;

/// A whole request at the front of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    pub path: &'a str,
    pub body: &'a [u8],
    /// Bytes of the buffer that belong to it.
    pub len: usize,
    pub is_kept_alive: bool,
}

/// What the bytes so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    Complete(Ask<'a>),
    /// At least so many bytes in all are needed before it is worth looking again.
    More(usize),
    /// Not HTTP/1.1, or a coding that is not served.
    Malformed,
}

/// Looks at the front of the buffer.
pub fn read(buffer: &[u8]) -> Progress<'_> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut ask = httparse::Request::new(&mut headers);
    let head = match ask.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Progress::More(buffer.len().saturating_add(1)),
        Err(_) => return Progress::Malformed,
    };
    let (Some(path), version) = (ask.path, ask.version) else { return Progress::Malformed };
    let mut is_kept_alive = version == Some(1);
    let mut length = 0usize;
    for header in ask.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let Some(value) = std::str::from_utf8(header.value).ok().and_then(|n| n.parse().ok())
            else {
                return Progress::Malformed;
            };
            length = value;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding")
            || header.name.eq_ignore_ascii_case("content-encoding")
        {
            return Progress::Malformed;
        } else if header.name.eq_ignore_ascii_case("connection") {
            is_kept_alive &= !header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let Some(len) = head.checked_add(length) else { return Progress::Malformed };
    match buffer.get(head..len) {
        Some(body) => Progress::Complete(Ask { path, body, len, is_kept_alive }),
        None => Progress::More(len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_is_complete_with_its_last_byte() {
        let bytes = b"POST /bid?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST";
        let whole = bytes.len() - 4;
        for end in 0..whole {
            let part = bytes.get(..end).unwrap();
            assert!(matches!(read(part), Progress::More(need) if need > end));
        }
        let expected = Ask { path: "/bid?x=1", body: b"abc", len: whole, is_kept_alive: true };
        assert_eq!(read(bytes), Progress::Complete(expected));
    }

    #[test]
    fn what_is_not_served_is_malformed() {
        for bytes in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Encoding: gzip\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            assert_eq!(read(bytes.as_bytes()), Progress::Malformed, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Progress::Complete(ask) = read(&bytes) {
                prop_assert!(ask.len <= bytes.len());
            }
        }
    }
}
