//! One HTTP request, blocking: for control pages such as `/ready`, `/metrics` and `/stats`.
//!
//! Owns: a connection for one request. Never: load (that is `drive`), TLS. Invariant: bounded in
//! time and bytes.

use crate::wire::answer::{AnswerReader, Progress};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Of connecting, and of each read and write.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Of one answer.
const BYTES_MAX: usize = 16 << 20;

/// Gets a page: its status and body. The body is not un-chunked.
pub fn get(address: SocketAddr, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    exchange(address, head.as_bytes())
}

/// Sends JSON with further headers (each with its line end) and gives status and body.
pub fn post(
    address: SocketAddr,
    path: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<(u16, Vec<u8>)> {
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    exchange(address, &bytes)
}

fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.write_all(request)?;
    let (mut reader, mut buffer, mut part) = (AnswerReader::default(), Vec::new(), [0; 16 << 10]);
    loop {
        let count = socket.read(&mut part)?;
        buffer.extend_from_slice(part.get(..count).unwrap_or_default());
        match reader.read(&buffer, count == 0) {
            Progress::Complete(answer) => {
                let body = buffer.get(answer.body).unwrap_or_default().to_vec();
                return Ok((answer.status, body));
            }
            Progress::More if count > 0 && buffer.len() <= BYTES_MAX => {}
            Progress::More | Progress::Malformed => return Err(ErrorKind::InvalidData.into()),
        }
    }
}
