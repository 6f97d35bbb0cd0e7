//! One request after the other over a kept connection, with status, headers and body.
//!
//! Owns: a connection and the answers on it, un-chunked. Never: load (that is `drive`), TLS, a
//! redirect. Invariant: bounded in time and bytes; a request is sent a second time only where the
//! kept connection ended before the first byte of an answer.

use crate::drive::target::Target;
use crate::wire::answer::{AnswerReader, Progress};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Bounds of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskSettings {
    /// Of connecting, and of each read and write. Milliseconds.
    pub timeout_ms: u64,
    /// Of one answer, head and body. Bytes.
    pub answer_bytes_max: usize,
}

impl Default for AskSettings {
    fn default() -> Self {
        Self { timeout_ms: 5_000, answer_bytes_max: 4 << 20 }
    }
}

/// Header lines that are read.
const HEADERS_MAX: usize = 64;

/// What is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Path and query as recorded; used where the target names none.
    pub path: String,
    /// Content type and such, lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    /// In their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without the transfer's chunks.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{0} cannot be reached")]
    Unreachable(SocketAddr, #[source] std::io::Error),
    #[error("the connection to {0} broke before the answer was complete")]
    Broken(SocketAddr, #[source] std::io::Error),
    #[error("{0} gave no complete answer in time")]
    Timeout(SocketAddr),
    #[error("the answer of {0} is not HTTP/1.1")]
    Malformed(SocketAddr),
    #[error("the answer of {0} is over the limit of {1} bytes")]
    TooLarge(SocketAddr, usize),
}

impl AskError {
    /// The name in reports.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Unreachable(..) => "unreachable",
            Self::Broken(..) => "broken",
            Self::Timeout(_) => "timeout",
            Self::Malformed(_) => "malformed",
            Self::TooLarge(..) => "too_large",
        }
    }
}

/// One server and the connection to it.
#[derive(Debug)]
pub struct Asker {
    target: Target,
    settings: AskSettings,
    socket: Option<TcpStream>,
}

/// Headers that belong to a connection or that this client writes itself.
const OWN_HEADERS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "content-encoding",
    "keep-alive",
    "expect",
    "x-gavel-replay",
];

impl Asker {
    /// For one server; nothing is opened yet.
    pub fn new(target: Target, settings: AskSettings) -> Self {
        Self { target, settings, socket: None }
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.target.address
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, asked: &Asked) -> Result<Answered, AskError> {
        let bytes = self.message(asked);
        if let Some(socket) = self.socket.take() {
            match self.exchange(socket, &bytes) {
                // it was closed while it lay idle
                Err((AskError::Broken(..), true)) => {}
                other => return other.map_err(|(error, _)| error),
            }
        }
        let socket = self.connect()?;
        self.exchange(socket, &bytes).map_err(|(error, _)| error)
    }

    fn connect(&self) -> Result<TcpStream, AskError> {
        let address = self.target.address;
        let timeout = Duration::from_millis(self.settings.timeout_ms.max(1));
        let open = || {
            let socket = TcpStream::connect_timeout(&address, timeout)?;
            socket.set_read_timeout(Some(timeout))?;
            socket.set_write_timeout(Some(timeout))?;
            socket.set_nodelay(true)?;
            Ok(socket)
        };
        open().map_err(|source| AskError::Unreachable(address, source))
    }

    fn message(&self, asked: &Asked) -> Vec<u8> {
        let route = self.target.routes.first();
        let own = route.map(|route| route.path.as_str()).filter(|path| *path != "/");
        let path = own.unwrap_or(if asked.path.is_empty() { "/" } else { &asked.path });
        let host = &self.target.host;
        let mut head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nx-gavel-replay: 1\r\n");
        let ours = route.map(|route| route.headers.as_slice()).unwrap_or_default();
        let is_plain = |text: &str| !text.chars().any(char::is_control);
        let recorded = asked.headers.iter().filter(|(name, value)| {
            !OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own))
                && !ours.iter().any(|(mine, _)| mine.eq_ignore_ascii_case(name))
                && is_plain(name)
                && is_plain(value)
        });
        let mut has_type = false;
        for (name, value) in ours.iter().chain(recorded) {
            has_type |= name.eq_ignore_ascii_case("content-type");
            head.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
        }
        if !has_type {
            head.push_str("content-type: application/json\r\n");
        }
        head.extend(["content-length: ", &asked.body.len().to_string(), "\r\n\r\n"]);
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&asked.body);
        bytes
    }

    /// The flag: not a byte of an answer had come.
    fn exchange(
        &mut self,
        mut socket: TcpStream,
        request: &[u8],
    ) -> Result<Answered, (AskError, bool)> {
        let address = self.target.address;
        let fault = |error: std::io::Error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => AskError::Timeout(address),
            _ => AskError::Broken(address, error),
        };
        // a server may answer and close before it has read all
        let written = socket.write_all(request);
        let (mut reader, mut buffer, mut part) =
            (AnswerReader::default(), Vec::new(), vec![0; 16 << 10]);
        loop {
            let count = match (socket.read(&mut part), &written) {
                (Ok(count), _) => count,
                (Err(error), _) if error.kind() == ErrorKind::Interrupted => continue,
                (Err(error), _) => return Err((fault(error), buffer.is_empty())),
            };
            buffer.extend_from_slice(part.get(..count).unwrap_or_default());
            match reader.read(&buffer, count == 0) {
                Progress::Complete(answer) => {
                    let head = buffer.get(..answer.body.start).unwrap_or_default();
                    let body = buffer.get(answer.body.clone()).unwrap_or_default();
                    let answered = read_answer(answer.status, head, body)
                        .ok_or((AskError::Malformed(address), false))?;
                    let is_whole = answer.len == buffer.len() && count > 0 && written.is_ok();
                    self.socket = (answer.is_reusable && is_whole).then_some(socket);
                    return Ok(answered);
                }
                Progress::More if buffer.len() > self.settings.answer_bytes_max => {
                    let limit = self.settings.answer_bytes_max;
                    return Err((AskError::TooLarge(address, limit), false));
                }
                Progress::More if count > 0 => {}
                _ if count == 0 => {
                    let error = ErrorKind::UnexpectedEof.into();
                    return Err((AskError::Broken(address, error), buffer.is_empty()));
                }
                _ => return Err((AskError::Malformed(address), false)),
            }
        }
    }
}

fn read_answer(status: u16, head: &[u8], body: &[u8]) -> Option<Answered> {
    let (mut rest, mut headers) = (head, Vec::new());
    // interim answers (1xx) stand before the last head
    while !rest.is_empty() {
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut lines);
        let Ok(httparse::Status::Complete(len)) = answer.parse(rest) else { return None };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let pair = |line: &httparse::Header<'_>| (line.name.to_ascii_lowercase(), text(line.value));
        headers = answer.headers.iter().map(pair).collect::<Vec<_>>();
        rest = rest.get(len..)?;
    }
    let is_chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
    let body = if is_chunked { unchunk(body)? } else { body.to_vec() };
    Some(Answered { status, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(rest) else {
            return None;
        };
        if size == 0 {
            return Some(body);
        }
        let data = rest.get(line..)?;
        let size = usize::try_from(size).ok()?;
        body.extend_from_slice(data.get(..size)?);
        rest = data.get(size.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::target::Allow;
    use std::net::TcpListener;

    /// A server that gives these answers, one a request, and says how many connections it saw.
    fn server(answers: Vec<&'static str>) -> (SocketAddr, std::thread::JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let handle = std::thread::spawn(move || {
            let (mut answers, mut connections) = (answers.into_iter().peekable(), 0);
            while answers.peek().is_some() {
                let mut socket = listener.accept().unwrap().0;
                connections += 1;
                let (mut seen, mut part) = (Vec::new(), [0; 1024]);
                loop {
                    while !seen.ends_with(b"body") {
                        match socket.read(&mut part) {
                            Ok(0) | Err(_) => break,
                            Ok(len) => seen.extend_from_slice(&part[..len]),
                        }
                    }
                    if seen.is_empty() {
                        break;
                    }
                    seen.clear();
                    let Some(answer) = answers.next() else { break };
                    if answer.is_empty() {
                        break;
                    }
                    socket.write_all(answer.as_bytes()).unwrap();
                }
            }
            connections
        });
        (address, handle)
    }

    #[test]
    fn answers_are_read_one_after_the_other_over_one_connection() {
        let (address, handle) = server(vec![
            "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            // closed while idle: the next request goes over a new connection
            "",
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        ]);
        let target = Target::parse(&format!("http://{address}/x"), Allow::Loopback).unwrap();
        let mut client = Asker::new(target, AskSettings::default());
        let asked = Asked { body: b"body".to_vec(), ..Asked::default() };
        let first = client.ask(&asked).unwrap();
        assert_eq!((first.status, first.headers), (204, vec![("x-a".to_owned(), "1".to_owned())]));
        assert_eq!(client.ask(&asked).unwrap().body, b"abcde");
        let third = client.ask(&asked).unwrap();
        assert_eq!((third.status, third.body.as_slice()), (200, &b"hi"[..]));
        assert_eq!(client.ask(&asked).unwrap().status, 503);
        drop(client);
        assert_eq!(handle.join().unwrap(), 2);
    }

    #[test]
    fn what_is_no_answer_is_named() {
        let (address, handle) = server(vec!["SSH-2.0-x\r\n\r\n"]);
        let target = Target::parse(&format!("http://{address}"), Allow::Loopback).unwrap();
        let mut client = Asker::new(target.clone(), AskSettings::default());
        let asked = Asked { body: b"body".to_vec(), ..Asked::default() };
        assert_eq!(client.ask(&asked).unwrap_err().label(), "malformed");
        drop(client);
        handle.join().unwrap();
        let mut client = Asker::new(target, AskSettings::default());
        assert_eq!(client.ask(&asked).unwrap_err().label(), "unreachable");
    }

    #[test]
    fn what_belongs_to_the_recorded_connection_is_not_sent() {
        let target = Target::parse("http://127.0.0.1:9/", Allow::Loopback).unwrap();
        let target =
            target.with_headers(&[("X-Key".to_owned(), "k".to_owned())], Allow::Loopback).unwrap();
        let client = Asker::new(target, AskSettings::default());
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let asked = Asked {
            path: "/openrtb2/demo".to_owned(),
            headers: vec![
                header("content-encoding", "gzip"),
                header("x-key", "recorded"),
                header("x-bad", "a\r\nb"),
                header("x-openrtb-version", "2.6"),
            ],
            body: b"{}".to_vec(),
        };
        assert_eq!(
            String::from_utf8(client.message(&asked)).unwrap(),
            "POST /openrtb2/demo HTTP/1.1\r\nHost: 127.0.0.1:9\r\nx-gavel-replay: 1\r\nX-Key: k\r\n\
             x-openrtb-version: 2.6\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
}
