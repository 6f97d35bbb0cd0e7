//! One keep-alive connection of the driver.
//!
//! Owns: its socket, the bytes not yet written and not yet understood. Never: a clock, a wait,
//! a retry. Invariant: at most one request is out at a time.

use super::report::Fault;
use crate::wire::answer::{AnswerReader, Progress};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// See the file's header.
pub(super) struct Connection {
    pub socket: TcpStream,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    reader: AnswerReader,
}

/// What reading brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Not all of it yet.
    Part,
    Answer {
        status: u16,
        bytes: usize,
        is_reusable: bool,
    },
    /// The connection is of no more use.
    Fault(Fault),
}

impl Connection {
    /// Starts to connect; the socket becomes writable when that is done.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Self {
            socket: socket.into(),
            output: Vec::new(),
            written: 0,
            input: Vec::new(),
            reader: AnswerReader::default(),
        })
    }

    /// Whether it came to stand, once the socket is writable.
    pub fn check_open(&self) -> io::Result<()> {
        self.socket.take_error()?.map_or(Ok(()), Err)
    }

    /// Sends a request; `false`: the kernel did not take all of it yet.
    pub fn send(&mut self, head: &[u8], body: &[u8]) -> io::Result<bool> {
        self.output.clear();
        self.written = 0;
        self.output.extend_from_slice(head);
        // writing to a Vec cannot fail
        let _ = write!(self.output, "{}\r\n\r\n", body.len());
        self.output.extend_from_slice(body);
        self.flush()
    }

    /// Bytes of the request that is out.
    pub fn request_bytes(&self) -> usize {
        self.output.len()
    }

    /// Writes what is left; `false`: there is still some.
    pub fn flush(&mut self) -> io::Result<bool> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads once. `bytes_max`: of one answer.
    pub fn receive(&mut self, scratch: &mut [u8], bytes_max: usize) -> Received {
        let count = match self.socket.read(scratch) {
            Ok(count) => count,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => Received::Part,
                    _ => Received::Fault(Fault::Broken),
                };
            }
        };
        let is_nothing = self.input.is_empty() && count == 0;
        self.input.extend_from_slice(scratch.get(..count).unwrap_or_default());
        match self.reader.read(&self.input, count == 0) {
            Progress::Complete(answer) => {
                // more than was asked for: whatever follows, it is not our answer
                let is_clean = self.input.len() == answer.len;
                self.input.clear();
                Received::Answer {
                    status: answer.status,
                    bytes: answer.len,
                    is_reusable: answer.is_reusable && is_clean && self.is_written(),
                }
            }
            Progress::More if self.input.len() > bytes_max => Received::Fault(Fault::TooLarge),
            Progress::More => Received::Part,
            Progress::Malformed if is_nothing || count == 0 => Received::Fault(Fault::Closed),
            Progress::Malformed => Received::Fault(Fault::Malformed),
        }
    }

    fn is_written(&self) -> bool {
        self.written == self.output.len()
    }
}
