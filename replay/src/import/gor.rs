//! GoReplay's files.
//!
//! Owns: their framing. Never: what is done with a message. A record is a line
//! `type id time [latency]` (times in nanoseconds), the bytes of a message, and a line of three
//! monkeys. Nothing is escaped and no length is given, so a body may hold what ends a record: the
//! end is where HTTP says it is, and the monkeys are searched for only where HTTP cannot say. The
//! last record may lack them.
//!
//! An id of 24 digits holds the client's port, the server's port and the client's address: what is
//! taken from it is which requests came over one connection, and no id leaves this file.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::http::{self, Framed, Framer, Side};
use super::input::Input;
use super::sink::Sink;
use super::{Answer, ImportError, Message, Skip};
use std::collections::{HashMap, VecDeque};
use std::io::Write;

/// Ends a record.
pub const SEPARATOR: &[u8] = "\n🐵🙈🙉\n".as_bytes();

/// Longest line at the head of a record.
const LINE_MAX: usize = 256;
/// Requests that wait for their answers; and the bytes of their bodies.
const WAITING_MAX: usize = 4_096;
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Connections that are told apart; beyond, requests have none.
const CONNECTIONS_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Answer,
    Replayed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    kind: Kind,
    id: String,
    time_ns: u64,
}

/// Whether a file that begins so is one of GoReplay.
pub fn is_one(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    bytes.len() > line.len() && read_line(line).is_some()
}

/// Reads a file to its end.
pub fn read<W: Write>(input: &mut Input<'_>, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
    let mut waiting = Waiting::default();
    let read = read_records(input, sink, &mut waiting);
    waiting.let_go(0, sink)?;
    read
}

fn read_records<W: Write>(
    input: &mut Input<'_>,
    sink: &mut Sink<'_, W>,
    waiting: &mut Waiting,
) -> Result<(), ImportError> {
    let mut is_first = true;
    while !input.want(1).is_empty() {
        let offset = input.offset();
        let Some(line) = head_line(input) else {
            if is_first {
                let what =
                    "no GoReplay record begins here: a line `type id time` should".to_owned();
                return Err(ImportError::Foreign { offset, what });
            }
            sink.skip(Skip::BadRecord, offset);
            resync(input);
            continue;
        };
        is_first = false;
        let side = if line.kind == Kind::Request { Side::Request } else { Side::Answer };
        match payload(input, side, offset)? {
            Err(skip) => sink.skip(skip, offset),
            Ok(bytes) => match (line.kind, http::read(&bytes, side)) {
                (_, Err(skip)) => sink.skip(skip, offset),
                (Kind::Replayed, Ok(_)) => sink.skip(Skip::Replayed, offset),
                (Kind::Request, Ok(parsed)) => {
                    waiting.push(&line, message(offset, line.time_ns, parsed));
                }
                (Kind::Answer, Ok(parsed)) => {
                    if !waiting.join(&line, parsed) {
                        sink.skip(Skip::Orphan, offset);
                    }
                }
            },
        }
        waiting.let_go(WAITING_MAX, sink)?;
    }
    Ok(())
}

fn message(offset: u64, time_ns: u64, parsed: http::Parsed) -> Message {
    Message {
        offset,
        at_ns: Some(time_ns),
        connection: 0,
        method: parsed.method,
        target: parsed.target,
        headers: parsed.headers,
        body: parsed.body,
        ..Message::default()
    }
}

/// `None`: it is none; then nothing is consumed but what was looked at.
fn head_line(input: &mut Input<'_>) -> Option<Line> {
    let held = input.want(LINE_MAX);
    let held = held.get(..LINE_MAX).unwrap_or(held);
    let end = memchr::memchr(b'\n', held)?;
    let line = held.get(..end).and_then(read_line);
    if line.is_some() {
        input.consume(end.saturating_add(1));
    }
    line
}

fn read_line(line: &[u8]) -> Option<Line> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let kind = match words.next()? {
        "1" => Kind::Request,
        "2" => Kind::Answer,
        "3" => Kind::Replayed,
        _ => return None,
    };
    let id = words.next().filter(|id| {
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })?;
    let time_ns = words.next()?.parse().ok()?;
    words.next().is_none_or(|latency| latency.parse::<i64>().is_ok()).then_some(())?;
    words.next().is_none().then(|| Line { kind, id: id.to_owned(), time_ns })
}

/// The bytes of a message, and its end consumed; `Err` inside: why it is no message.
fn payload(
    input: &mut Input<'_>,
    side: Side,
    offset: u64,
) -> Result<Result<Vec<u8>, Skip>, ImportError> {
    let mut framer = Framer::new(side);
    let skip = loop {
        match framer.look(input.held()) {
            Framed::More if input.more() => {}
            Framed::Complete(end) => match take_to(input, end) {
                Some(bytes) => return Ok(Ok(bytes)),
                None => break Skip::OtherLength,
            },
            // it ends where the file does, or it says that it is longer than it is
            Framed::More if separator(input.held(), 0, true).is_some() => break Skip::OtherLength,
            Framed::More => {
                input.consume(usize::MAX);
                return Err(ImportError::CutShort { offset, what: "a GoReplay record" });
            }
            Framed::ToTheEnd => match separator(input.held(), 0, false) {
                Some(end) => {
                    return Ok(take_to(input, end).ok_or(Skip::OtherLength));
                }
                None if input.more() => {}
                None => {
                    let rest = input.held().to_vec();
                    input.consume(rest.len());
                    return Ok(Ok(rest));
                }
            },
            Framed::Fault(skip) => break skip,
        }
    };
    resync(input);
    Ok(Err(skip))
}

/// So many bytes, where a record ends behind them; its end is consumed too.
fn take_to(input: &mut Input<'_>, end: usize) -> Option<Vec<u8>> {
    let held = input.want(end.saturating_add(SEPARATOR.len()));
    let behind = held.get(end..).unwrap_or_default();
    let length = if behind.starts_with(SEPARATOR) {
        SEPARATOR.len()
    } else if behind.len() < SEPARATOR.len() && behind.trim_ascii().is_empty() {
        behind.len() // the last record
    } else {
        return None;
    };
    let bytes = held.get(..end).unwrap_or_default().to_vec();
    input.consume(end.saturating_add(length));
    Some(bytes)
}

/// Offset of the next end of a record: behind it stands a further record, or nothing.
fn separator(bytes: &[u8], from: usize, is_all: bool) -> Option<usize> {
    let searched = bytes.get(from..)?;
    memchr::memmem::find_iter(searched, SEPARATOR).map(|at| from.saturating_add(at)).find(|at| {
        let behind = bytes.get(at.saturating_add(SEPARATOR.len())..).unwrap_or_default();
        let end = memchr::memchr(b'\n', behind);
        match end {
            Some(end) => behind.get(..end).is_some_and(|line| read_line(line).is_some()),
            // not all of the line is there: as long as it may be one
            None => behind.len() < LINE_MAX && (is_all || behind.is_empty()) || behind.is_empty(),
        }
    })
}

/// Passes over everything up to the next record.
fn resync(input: &mut Input<'_>) {
    loop {
        let is_more = input.more();
        let held = input.held();
        if let Some(at) = separator(held, 0, !is_more) {
            input.consume(at.saturating_add(SEPARATOR.len()));
            return;
        }
        // what may be the beginning of a separator and of the line behind it stays
        let kept = if is_more { SEPARATOR.len().saturating_add(LINE_MAX) } else { 0 };
        input.consume(held.len().saturating_sub(kept));
        if !is_more {
            return;
        }
    }
}

/// Requests that wait for their answers, in their order.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    /// By id, the number of the message.
    numbers: HashMap<String, u64>,
    ids: VecDeque<String>,
    /// Number of the first of `messages`.
    first: u64,
    bytes: usize,
    /// What an id says of its connection -> a number.
    connections: HashMap<String, u64>,
}

impl Waiting {
    fn push(&mut self, line: &Line, mut message: Message) {
        message.connection = self.connection(&line.id);
        self.bytes = self.bytes.saturating_add(message.body.len());
        let number = self.first.saturating_add(self.messages.len() as u64);
        self.numbers.insert(line.id.clone(), number);
        self.ids.push_back(line.id.clone());
        self.messages.push_back(message);
    }

    /// Whether the request of this answer waits.
    fn join(&mut self, line: &Line, parsed: http::Parsed) -> bool {
        let index = self.numbers.get(&line.id).and_then(|number| number.checked_sub(self.first));
        let index = index.and_then(|index| usize::try_from(index).ok());
        let Some(message) = index.and_then(|index| self.messages.get_mut(index)) else {
            return false;
        };
        if message.answer.is_some() {
            return false;
        }
        self.bytes = self.bytes.saturating_add(parsed.body.len());
        message.answer = Some(Answer {
            status: parsed.status,
            took_ns: line.time_ns.saturating_sub(message.at_ns.unwrap_or_default()),
            headers: parsed.headers,
            body: parsed.body,
        });
        true
    }

    /// Gives on what is answered, and the oldest where too many wait.
    fn let_go<W: Write>(&mut self, most: usize, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
        while let Some(message) = self.messages.front() {
            let is_full = self.messages.len() > most || self.bytes > WAITING_BYTES_MAX;
            if message.answer.is_none() && !is_full {
                return Ok(());
            }
            let Some(message) = self.messages.pop_front() else { return Ok(()) };
            if let Some(id) = self.ids.pop_front()
                && self.numbers.get(&id) == Some(&self.first)
            {
                self.numbers.remove(&id);
            }
            self.first = self.first.saturating_add(1);
            let answer = message.answer.as_ref().map_or(0, |answer| answer.body.len());
            self.bytes = self.bytes.saturating_sub(message.body.len()).saturating_sub(answer);
            sink.take(message)?;
        }
        Ok(())
    }

    /// 0 where the id does not say.
    fn connection(&mut self, id: &str) -> u64 {
        let Some(stream) = id.get(..16).filter(|_| id.len() == 24) else { return 0 };
        let next = (self.connections.len() as u64).saturating_add(1);
        match self.connections.get(stream) {
            Some(known) => *known,
            None if self.connections.len() < CONNECTIONS_MAX => {
                self.connections.insert(stream.to_owned(), next);
                next
            }
            None => 0,
        }
    }
}
