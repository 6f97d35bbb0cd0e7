//! Connections: requests and their answers.
//!
//! Owns: which side asks, which answer belongs to which request, what is given up where packets
//! are missing. Never: bytes out of order (that is `stream`). Invariants: requests are joined with
//! answers only where none of either was missed; what is held is bounded in connections, requests
//! and bytes.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::file::Captured;
use super::packet::Segment;
use super::stream::{Given, Stream};
use crate::import::http::{self, Framed, Framer, Side};
use crate::import::sink::Sink;
use crate::import::{Answer, ImportError, Message, NoAnswer, Skip};
use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::SocketAddr;

/// Connections at once; beyond, those that were silent for longest are ended.
const FLOWS_MAX: usize = 32_768;

/// Bytes that all connections hold together.
const BYTES_MAX: usize = 64 << 20;

/// Requests of a connection that wait for their answers; and where there was no answer so far.
const WAITING_MAX: usize = 1_024;
const WAITING_UNHEARD_MAX: usize = 8;

/// All connections of a file.
#[derive(Debug, Default)]
pub struct Flows {
    open: HashMap<(SocketAddr, SocketAddr), Flow>,
    /// Of the next connection.
    number: u64,
    segments: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Flow {
    client: SocketAddr,
    number: u64,
    requests: Way,
    answers: Way,
    waiting: VecDeque<Message>,
    /// The answer to the request under way, that of a server which did not wait for its end, and
    /// where in the file it ended.
    early: Option<(Answer, u64)>,
    /// Some request or answer was missed: how that came.
    parted: Option<NoAnswer>,
    /// Not HTTP/1.1, counted, and passed over.
    is_foreign: bool,
    /// Which side has ended its stream: a FIN may come again.
    fins: Fins,
    used: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fins {
    client: bool,
    server: bool,
}

/// One direction.
#[derive(Debug)]
struct Way {
    side: Side,
    /// Sequence of its SYN.
    began: Option<u32>,
    stream: Stream,
    framer: Framer,
    /// When the head of the message under way was complete.
    head_ns: Option<u64>,
    /// Its place in its messages is not known: passed over up to the next beginning.
    is_lost: bool,
    is_heard: bool,
}

impl Way {
    fn new(side: Side) -> Self {
        let (stream, framer) = (Stream::default(), Framer::new(side));
        Self { side, began: None, stream, framer, head_ns: None, is_lost: true, is_heard: false }
    }

    /// The same SYN again begins nothing.
    fn begin(&mut self, sequence: u32) {
        if self.began == Some(sequence) {
            return;
        }
        *self = Self { began: Some(sequence), is_lost: false, ..Self::new(self.side) };
        self.stream.begin(sequence);
    }

    /// Whether a message begins with these bytes.
    fn is_beginning(side: Side, bytes: &[u8]) -> bool {
        bytes.len() >= 8 && http::may_begin(bytes, side)
    }

    /// Takes what came; gives what is wrong with it.
    fn take(&mut self, segment: &Segment<'_>) -> Option<Skip> {
        if self.is_lost {
            if !Self::is_beginning(self.side, segment.payload) {
                return foreign(segment.payload).filter(|_| !self.is_heard);
            }
            self.stream = Stream::default();
            self.reset();
        }
        self.is_heard = true;
        let given = self.stream.take(segment.sequence, segment.payload);
        if segment.missing > 0 {
            self.is_lost = true;
            self.reset_message();
            return Some(Skip::BadPacket);
        }
        if given == Given::Gap {
            let side = self.side;
            self.reset_message();
            self.is_lost = !self.stream.skip_gap(|bytes| Self::is_beginning(side, bytes));
            return Some(Skip::Gap);
        }
        None
    }

    fn reset(&mut self) {
        self.is_lost = false;
        self.reset_message();
    }

    fn reset_message(&mut self) {
        self.framer = Framer::new(self.side);
        self.head_ns = None;
    }

    /// The messages that are complete, each with the time of its head; or what is there instead.
    fn messages(&mut self, now_ns: u64) -> (Vec<(u64, http::Parsed)>, Option<Skip>) {
        let (mut found, mut at, mut fault) = (Vec::new(), 0_usize, None);
        loop {
            let rest = self.stream.ready.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let framed = self.framer.look(rest);
            if self.framer.has_head() {
                self.head_ns.get_or_insert(now_ns);
            }
            match framed {
                Framed::More | Framed::ToTheEnd => break,
                Framed::Complete(end) => {
                    let bytes = rest.get(..end).unwrap_or_default();
                    match http::read(bytes, self.side) {
                        Ok(parsed) => found.push((self.head_ns.unwrap_or(now_ns), parsed)),
                        Err(skip) => fault = Some(skip),
                    }
                    at = at.saturating_add(end);
                    self.reset_message();
                }
                Framed::Fault(skip) => {
                    fault = Some(foreign(rest).unwrap_or(skip));
                    break;
                }
            }
            if fault.is_some() {
                break;
            }
        }
        self.stream.consume(at);
        (found, fault)
    }

    /// The message that ends with its stream.
    fn last(&mut self) -> Option<http::Parsed> {
        let is_open = self.framer.look(&self.stream.ready) == Framed::ToTheEnd;
        let whole = is_open && !self.is_lost && !self.stream.has_gap();
        let ready = std::mem::take(&mut self.stream.ready);
        http::read(&ready, self.side).ok().filter(|_| whole)
    }
}

/// What else speaks over TCP, as far as it is known by its first bytes.
fn foreign(bytes: &[u8]) -> Option<Skip> {
    match bytes {
        [0x14..=0x17, 0x03, 0x00..=0x04, ..] => Some(Skip::Encrypted),
        _ if bytes.starts_with(b"PRI * HTTP/2") => Some(Skip::Http2),
        _ => None,
    }
}

impl Flow {
    fn weight(&self) -> usize {
        let waiting = self.waiting.iter().map(|message| message.body.len().saturating_add(512));
        let early = self.early.as_ref().map_or(0, |(answer, _)| answer.body.len());
        waiting
            .chain([self.requests.stream.weight(), self.answers.stream.weight(), early])
            .fold(0, usize::saturating_add)
    }

    fn take<W: Write>(
        &mut self,
        segment: &Segment<'_>,
        captured: &Captured,
        sink: &mut Sink<'_, W>,
    ) -> Result<(), ImportError> {
        let is_request = segment.from == self.client;
        if segment.syn {
            let way = if is_request { &mut self.requests } else { &mut self.answers };
            way.begin(segment.sequence);
        }
        if self.is_foreign || segment.payload.is_empty() && segment.missing == 0 {
            return Ok(());
        }
        let way = if is_request { &mut self.requests } else { &mut self.answers };
        let mut fault = way.take(segment);
        if fault == Some(Skip::Gap) || fault == Some(Skip::BadPacket) {
            self.parted = self.parted.or(Some(NoAnswer::Gap));
        }
        // nothing of a message that is lost is looked at
        let way = if is_request { &mut self.requests } else { &mut self.answers };
        if !way.is_lost {
            let (messages, found) = way.messages(captured.at_ns);
            fault = fault.or(found);
            self.is_foreign = found.is_some();
            for (head_ns, parsed) in messages {
                if is_request {
                    self.asked(captured.offset, head_ns, parsed, sink)?;
                } else {
                    self.answered(captured, parsed, sink)?;
                }
            }
        }
        if let Some(skip) = fault {
            self.is_foreign |= matches!(skip, Skip::Encrypted | Skip::Http2);
            sink.skip(skip, captured.offset);
        }
        self.let_go(sink)
    }

    fn asked<W: Write>(
        &mut self,
        offset: u64,
        head_ns: u64,
        parsed: http::Parsed,
        sink: &mut Sink<'_, W>,
    ) -> Result<(), ImportError> {
        // its answer has a length and no body: what follows cannot be told apart
        if parsed.method == "HEAD" {
            self.parted = self.parted.or(Some(NoAnswer::Other));
        }
        let message = Message {
            offset,
            at_ns: Some(head_ns),
            connection: self.number,
            method: parsed.method,
            target: parsed.target,
            headers: parsed.headers,
            body: parsed.body,
            ..Message::default()
        };
        if self.parted.is_none()
            && let Some((answer, _)) = self.early.take()
        {
            return sink.take(Message { answer: Some(answer), ..message });
        }
        self.waiting.push_back(message);
        Ok(())
    }

    fn answered<W: Write>(
        &mut self,
        captured: &Captured,
        parsed: http::Parsed,
        sink: &mut Sink<'_, W>,
    ) -> Result<(), ImportError> {
        if matches!(parsed.status, 100..=199) {
            self.is_foreign |= parsed.status == 101;
            return Ok(());
        }
        let message = self.take_joined();
        let asked_ns = message.as_ref().map_or(self.requests.head_ns, |message| message.at_ns);
        let answer = Answer {
            status: parsed.status,
            took_ns: captured.at_ns.saturating_sub(asked_ns.unwrap_or(captured.at_ns)),
            headers: parsed.headers,
            body: parsed.body,
        };
        match message {
            Some(message) => return sink.take(Message { answer: Some(answer), ..message }),
            None if self.is_asking() => self.early = Some((answer, captured.offset)),
            None => {
                // where a request was seen, or none was missed, this answer should have had one
                let requests = &self.requests;
                let is_known = requests.began.is_some() || requests.is_heard;
                let has_gap = requests.stream.has_gap();
                let why = if has_gap { NoAnswer::Gap } else { NoAnswer::Other };
                self.parted = self.parted.or(is_known.then_some(why));
                sink.skip(Skip::Orphan, captured.offset);
            }
        }
        Ok(())
    }

    /// Whether a request is under way, and has no answer yet.
    fn is_asking(&self) -> bool {
        let requests = &self.requests;
        let is_under_way = !requests.is_lost && !requests.stream.ready.is_empty();
        is_under_way && self.parted.is_none() && self.early.is_none()
    }

    /// The request that the next answer belongs to.
    fn take_joined(&mut self) -> Option<Message> {
        if self.parted.is_some() { None } else { self.waiting.pop_front() }
    }

    /// Gives on requests that no answer can be found for.
    fn let_go<W: Write>(&mut self, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
        let foreign = self.is_foreign.then_some(NoAnswer::Other);
        let most = match (self.parted.or(foreign), self.answers.is_heard) {
            (Some(_), _) => 0,
            (None, false) => WAITING_UNHEARD_MAX,
            (None, true) => WAITING_MAX,
        };
        let why = self.parted.or(foreign).unwrap_or(NoAnswer::Full);
        while self.waiting.len() > most {
            self.parted = Some(why); // an answer may come yet: it is not the next one's
            match self.waiting.pop_front() {
                Some(message) => sink.take(Message { no_answer: Some(why), ..message })?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn end<W: Write>(
        mut self,
        captured: Option<&Captured>,
        why: NoAnswer,
        sink: &mut Sink<'_, W>,
    ) -> Result<(), ImportError> {
        if let (Some(captured), Some(parsed)) = (captured, self.answers.last()) {
            self.answered(captured, parsed, sink)?;
        }
        if let Some((_, offset)) = self.early.take() {
            sink.skip(Skip::Orphan, offset);
        }
        let rest = self.requests.stream.weight() > 0 && !self.is_foreign && !self.requests.is_lost;
        if rest {
            sink.skip(Skip::Gap, captured.map_or(0, |captured| captured.offset));
        }
        let no_answer = Some(self.parted.unwrap_or(why));
        for message in std::mem::take(&mut self.waiting) {
            sink.take(Message { no_answer, ..message })?;
        }
        Ok(())
    }
}

impl Flows {
    /// Takes a segment.
    pub fn take<W: Write>(
        &mut self,
        segment: &Segment<'_>,
        captured: &Captured,
        sink: &mut Sink<'_, W>,
    ) -> Result<(), ImportError> {
        self.segments = self.segments.saturating_add(1);
        let key = if segment.from < segment.to {
            (segment.from, segment.to)
        } else {
            (segment.to, segment.from)
        };
        let is_new = segment.syn && !segment.ack;
        if is_new && let Some(old) = self.open.get(&key) {
            // the same SYN again is no new connection
            let is_other = old.requests.began != Some(segment.sequence);
            if old.client != segment.from || old.requests.is_heard && is_other {
                self.close(key, Some(captured), NoAnswer::Closed, sink)?;
            }
        }
        if !self.open.contains_key(&key) {
            let Some(client) = client(segment) else { return Ok(()) };
            self.number = self.number.saturating_add(1);
            self.open.insert(key, Flow::new(client, self.number));
        }
        let Some(flow) = self.open.get_mut(&key) else { return Ok(()) };
        flow.used = self.segments;
        let before = flow.weight();
        flow.take(segment, captured, sink)?;
        self.bytes = self.bytes.saturating_sub(before).saturating_add(flow.weight());
        let is_client = segment.from == flow.client;
        flow.fins.client |= segment.fin && is_client;
        flow.fins.server |= segment.fin && !is_client;
        if segment.rst || flow.fins.client && flow.fins.server {
            let why = if segment.rst { NoAnswer::Reset } else { NoAnswer::Closed };
            self.close(key, Some(captured), why, sink)?;
        }
        if self.open.len() > FLOWS_MAX || self.bytes > BYTES_MAX {
            self.make_room(sink)?;
        }
        Ok(())
    }

    /// Ends all connections.
    pub fn end<W: Write>(mut self, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
        let mut rest: Vec<Flow> = std::mem::take(&mut self.open).into_values().collect();
        rest.sort_by_key(|flow| flow.number);
        rest.into_iter().try_for_each(|flow| flow.end(None, NoAnswer::FileEnd, sink))
    }

    fn close<W: Write>(
        &mut self,
        key: (SocketAddr, SocketAddr),
        captured: Option<&Captured>,
        why: NoAnswer,
        sink: &mut Sink<'_, W>,
    ) -> Result<(), ImportError> {
        let Some(flow) = self.open.remove(&key) else { return Ok(()) };
        self.bytes = self.bytes.saturating_sub(flow.weight());
        flow.end(captured, why, sink)
    }

    /// Ends the half of the connections that were silent for longest.
    fn make_room<W: Write>(&mut self, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
        let mut by_use: Vec<_> = self.open.iter().map(|(key, flow)| (flow.used, *key)).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        let half = by_use.len().div_ceil(2);
        for (_, key) in by_use.into_iter().take(half) {
            self.close(key, None, NoAnswer::Full, sink)?;
        }
        Ok(())
    }
}

impl Flow {
    fn new(client: SocketAddr, number: u64) -> Self {
        Self {
            client,
            number,
            requests: Way::new(Side::Request),
            answers: Way::new(Side::Answer),
            waiting: VecDeque::new(),
            early: None,
            parted: None,
            is_foreign: false,
            fins: Fins::default(),
            used: 0,
        }
    }
}

/// Who asks: who opened the connection, or, where that was not seen, who speaks like it. `None`:
/// nobody can say yet.
fn client(segment: &Segment<'_>) -> Option<SocketAddr> {
    if segment.syn {
        return Some(if segment.ack { segment.to } else { segment.from });
    }
    if Way::is_beginning(Side::Request, segment.payload) || foreign(segment.payload).is_some() {
        return Some(segment.from);
    }
    Way::is_beginning(Side::Answer, segment.payload).then_some(segment.to)
}
