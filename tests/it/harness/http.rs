//! The least HTTP/1.1 that a test needs, over blocking sockets: no library hides what was sent.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Nothing in a test may wait longer: a hang is a failure, not a pause.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// A header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `Null` where it is empty.
    pub fn json(&self) -> serde_json::Value {
        if self.body.is_empty() {
            return serde_json::Value::Null;
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|cause| panic!("{cause}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One message of either direction: its first line, its headers and its body.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub first_line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Reads one message; `None` where the peer closed before it.
pub fn read_message(from: &mut impl BufRead) -> Option<Message> {
    let mut first_line = String::new();
    if from.read_line(&mut first_line).ok()? == 0 {
        return None;
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)];
    from.read_exact(&mut body).ok()?;
    Some(Message { first_line: first_line.trim_end().to_owned(), headers, body })
}

/// A kept connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// The fault: nobody takes the connection.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// For what is no message of its own.
    pub fn reader(&mut self) -> &mut impl BufRead {
        &mut self.reader
    }

    /// The next answer; `None` where the connection was closed instead.
    pub fn receive(&mut self) -> Option<Reply> {
        let message = read_message(&mut self.reader)?;
        let status = message.first_line.split(' ').nth(1)?.parse().ok()?;
        Some(Reply { status, headers: message.headers, body: message.body })
    }

    /// A POST of JSON and its answer.
    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Reply> {
        self.send(&posted(path, headers, body));
        self.receive()
    }

    /// The same; also `None` where the connection ends while it is being sent.
    pub fn try_post(&mut self, path: &str, body: &[u8]) -> Option<Reply> {
        self.reader.get_mut().write_all(&posted(path, &[], body)).ok()?;
        self.receive()
    }
}

/// The bytes of a POST of JSON.
fn posted(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nhost: gavel.test\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        head.push_str("content-type: application/json\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

/// A GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Reply {
    let mut client = Client::connect(address);
    client.send(format!("GET {path} HTTP/1.1\r\nhost: gavel.test\r\n\r\n").as_bytes());
    client.receive().unwrap_or_default()
}
