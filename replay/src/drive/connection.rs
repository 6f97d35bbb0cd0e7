//! One connection of HTTP/1.1.
//!
//! Owns: its socket, the request that is out on it and how far it is written. Never: a clock, a
//! wait, a retry. Invariant: at most one request is out at a time.

use super::link::{Io, Step};
use super::parcel::{Done, Parcel};
use super::report::Fault;
use crate::inspect::End;
use crate::wire::answer::{AnswerReader, Progress};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// See the file's header.
pub(super) struct Connection {
    pub socket: TcpStream,
    pub parcel: Option<Box<Parcel>>,
    written: usize,
    reader: AnswerReader,
}

impl Connection {
    /// On a socket that does not block.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, parcel: None, written: 0, reader: AnswerReader::default() }
    }

    /// Sends a request.
    pub fn send(&mut self, parcel: Box<Parcel>, done: &mut Done) -> Step {
        self.written = 0;
        self.reader = AnswerReader::default();
        self.parcel = Some(parcel);
        self.flush(done)
    }

    /// Whether some of the request is not written yet.
    pub fn wants_write(&self) -> bool {
        self.parcel.as_ref().is_some_and(|parcel| self.written < parcel.request.len())
    }

    /// Writes what is left.
    pub fn flush(&mut self, done: &mut Done) -> Step {
        let Some(parcel) = &self.parcel else { return Step::Going };
        while let Some(rest) = parcel.request.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return self.fail(Fault::Broken, done),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.fail(Fault::Broken, done),
            }
        }
        Step::Going
    }

    /// Reads once.
    pub fn receive(&mut self, io: &mut Io<'_>) -> Step {
        let count = match self.socket.read(io.scratch) {
            Ok(count) => count,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => Step::Going,
                    _ => self.fail(Fault::Broken, io.done),
                };
            }
        };
        let Some(mut parcel) = self.parcel.take() else {
            // the server closed an idle connection, or sent an answer that nobody asked for
            return Step::Spent;
        };
        parcel.answer.extend_from_slice(io.scratch.get(..count).unwrap_or_default());
        let fault = match self.reader.read(&parcel.answer, count == 0) {
            Progress::Complete(answer) => {
                // more than was asked for: whatever follows, it is not our answer
                let is_clean = parcel.answer.len() == answer.len;
                let is_written = self.written == parcel.request.len();
                parcel.end = End::Answered(answer.status);
                parcel.answer_body = answer.body;
                parcel.is_chunked = answer.is_chunked;
                parcel.announces = answer.announces;
                io.done.push_back(parcel);
                let is_reusable = answer.is_reusable && is_clean && is_written;
                return if is_reusable { Step::Going } else { Step::Spent };
            }
            Progress::More if parcel.answer.len() > io.bytes_max => Fault::TooLarge,
            Progress::More => {
                self.parcel = Some(parcel);
                return Step::Going;
            }
            Progress::Malformed if count == 0 => Fault::Closed,
            Progress::Malformed => Fault::Malformed,
        };
        io.done.push_back(parcel.fail(fault));
        Step::Spent
    }

    fn fail(&mut self, fault: Fault, done: &mut Done) -> Step {
        done.extend(self.parcel.take().map(|parcel| parcel.fail(fault)));
        Step::Spent
    }
}
