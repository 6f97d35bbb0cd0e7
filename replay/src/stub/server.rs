//! The loop of one thread of simulated bidders.
//!
//! Owns: its connections and the answers that are not due yet. Never: a thread, a draw. It is
//! written for little CPU, since it shares the machine with what is measured: one epoll, one read
//! and one write a request, no task and no timer each.
//!
//! Invariant: at most one answer per connection is under way; what was sent after it waits.

use super::answer::{self, Written};
use super::model::{self, Act, Decision};
use super::read::{Wanted, read};
use super::recorded::{self, Answer, Played};
use super::secure::{self, Secured};
use super::stats::Counters;
use super::{Shared, stats_json};
use crate::wire::ask::{self, Progress};
use crate::wire::poller::{self, Interest, Nanos, Poller, Ready, nanos};
use socket2::SockRef;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// How often the wish to stop is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Bytes read at once.
const SCRATCH_BYTES: usize = 64 << 10;
/// A dripping answer: so many bytes, so often.
const DRIP_BYTES: usize = 16;
const DRIP_GAP: Duration = Duration::from_millis(20);
/// Connections accepted before those that stand are served again.
const ACCEPTS_PER_TURN: usize = 64;

/// See the file's header.
pub(super) struct Server<'a> {
    shared: &'a Shared,
    listeners: Vec<TcpListener>,
    poller: Poller,
    places: Vec<Place>,
    empty: Vec<usize>,
    /// Answers that are not due yet, the earliest first: when, and the token of their connection.
    due: BinaryHeap<Reverse<(Nanos, u64)>>,
    scratch: Vec<u8>,
    body: Vec<u8>,
}

/// A place for a connection.
#[derive(Default)]
struct Place {
    connection: Option<Connection>,
    /// Counts the connections that stood here, so that what was meant for an old one is known.
    age: u32,
}

struct Connection {
    socket: TcpStream,
    /// Its caller began with TLS.
    secured: Option<Box<Secured>>,
    /// Index of the listener.
    bidder: usize,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// Bytes of the output that may be written by now.
    allowed: usize,
    /// An answer is under way.
    answering: Option<Answering>,
    is_kept_alive: bool,
    is_watched_for_write: bool,
    /// Nothing came yet.
    is_new: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answering {
    Bids(usize),
    NoBid,
    Fault,
    Reset,
    /// With so many bids.
    Drip(usize),
    /// Until the caller hangs up.
    Hang,
    /// Of `/stats`.
    Stats,
}

/// An answer that stands in the output.
struct Planned {
    after: Duration,
    /// Bytes of its head.
    head: usize,
    answering: Answering,
}

/// What serving a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Stays,
    Ends,
}

impl<'a> Server<'a> {
    /// A thread over its own handles of the listening sockets.
    pub fn new(shared: &'a Shared, listeners: Vec<TcpListener>) -> io::Result<Self> {
        let poller = Poller::new()?;
        for (index, listener) in listeners.iter().enumerate() {
            listener.set_nonblocking(true)?;
            poller.add(listener, index as u64, Interest::Accept)?;
        }
        Ok(Self {
            shared,
            listeners,
            poller,
            places: Vec::new(),
            empty: Vec::new(),
            due: BinaryHeap::new(),
            scratch: vec![0; SCRATCH_BYTES],
            body: Vec::new(),
        })
    }

    /// Serves until the stop is asked for.
    pub fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while !self.shared.is_stopped() {
            let tick = poller::now() + nanos(TICK);
            let until = self.due.peek().map_or(tick, |Reverse((at, _))| tick.min(*at));
            self.poller.wait(until, &mut ready)?;
            for event in &ready {
                self.handle(*event);
            }
            let now = poller::now();
            while let Some(Reverse((at, token))) = self.due.peek().copied()
                && at <= now
            {
                self.due.pop();
                self.answer_due(token, now);
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Ready) {
        match usize::try_from(event.token) {
            Ok(listener) if listener < self.listeners.len() => self.accept(listener),
            _ => self.serve(event.token, event.is_readable),
        }
    }

    fn accept(&mut self, bidder: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(bidder) else { return };
            // out of descriptors or nothing there: the poller will say so again
            let Ok((socket, _)) = listener.accept() else { return };
            let open = self.places.len() - self.empty.len();
            if open >= self.shared.spec.connections_max {
                continue;
            }
            if socket.set_nonblocking(true).is_err() || socket.set_nodelay(true).is_err() {
                continue;
            }
            Counters::add(&self.shared.counters[bidder].connections, 1);
            let index = self.empty.pop().unwrap_or_else(|| {
                self.places.push(Place::default());
                self.places.len() - 1
            });
            let place = &mut self.places[index];
            place.age = place.age.wrapping_add(1).max(1);
            if self.poller.add(&socket, token(index, place.age), Interest::Read).is_ok() {
                place.connection = Some(Connection::new(socket, bidder));
            } else {
                self.empty.push(index);
            }
        }
    }

    /// The place that a token names, if its connection still stands.
    fn place(&self, token: u64) -> Option<usize> {
        let index = usize::try_from(token & u64::from(u32::MAX)).ok()?;
        let place = self.places.get(index)?;
        (u64::from(place.age) == token >> 32 && place.connection.is_some()).then_some(index)
    }

    fn serve(&mut self, token: u64, is_readable: bool) {
        let Some(index) = self.place(token) else { return };
        let mut served = Served::Stays;
        if is_readable {
            served = self.receive(index);
        }
        if served == Served::Stays {
            served = self.proceed(index, token);
        }
        if served == Served::Ends {
            self.close(index);
        }
    }

    fn receive(&mut self, index: usize) -> Served {
        let Some(connection) = &mut self.places[index].connection else { return Served::Ends };
        match connection.socket.read(&mut self.scratch) {
            Ok(0) => Served::Ends,
            Ok(count) => {
                let bytes = self.scratch.get(..count).unwrap_or_default();
                match connection.take(bytes, self.shared) {
                    Ok(()) => Served::Stays,
                    Err(_) => Served::Ends,
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Served::Stays,
            Err(error) if error.kind() == ErrorKind::Interrupted => Served::Stays,
            Err(_) => Served::Ends,
        }
    }

    /// Does what can be done now: writes what may be written, reads the next request.
    fn proceed(&mut self, index: usize, token: u64) -> Served {
        loop {
            let Some(connection) = &mut self.places[index].connection else { return Served::Ends };
            match connection.write() {
                Ok(true) => {}
                Ok(false) => return self.watch(index, token),
                Err(_) => return Served::Ends,
            }
            if connection.answering.is_none() {
                match self.take_request(index, token) {
                    Some(Served::Stays) => return self.watch(index, token),
                    Some(Served::Ends) => return Served::Ends,
                    None => continue,
                }
            }
            if connection.written < connection.output.len() || connection.output.is_empty() {
                // not due yet
                return self.watch(index, token);
            }
            if self.finish(index) == Served::Ends {
                return Served::Ends;
            }
        }
    }

    /// Watches for writing exactly while something may be written and was not.
    fn watch(&mut self, index: usize, token: u64) -> Served {
        let Some(connection) = &mut self.places[index].connection else { return Served::Ends };
        let wants_write = connection.wants_write();
        if wants_write == connection.is_watched_for_write {
            return Served::Stays;
        }
        connection.is_watched_for_write = wants_write;
        let interest = if wants_write { Interest::Write } else { Interest::Read };
        match self.poller.change(&connection.socket, token, interest) {
            Ok(()) => Served::Stays,
            Err(_) => Served::Ends,
        }
    }

    /// An answer is out to its last byte.
    fn finish(&mut self, index: usize) -> Served {
        let Some(connection) = &mut self.places[index].connection else { return Served::Ends };
        connection.answering = None;
        connection.output.clear();
        connection.written = 0;
        connection.allowed = 0;
        if connection.is_kept_alive { Served::Stays } else { Served::Ends }
    }

    /// Takes a request from the input; `None`: its answer is under way.
    fn take_request(&mut self, index: usize, token: u64) -> Option<Served> {
        let Some(connection) = &mut self.places[index].connection else {
            return Some(Served::Ends);
        };
        let (shared, bidder) = (self.shared, connection.bidder);
        let counters = &shared.counters[bidder];
        let ask = match ask::read(&connection.input) {
            Progress::Complete(ask) => ask,
            Progress::More(bytes) if bytes <= shared.spec.request_bytes_max => {
                return Some(Served::Stays);
            }
            Progress::More(_) | Progress::Malformed => {
                Counters::add(&counters.malformed, 1);
                return Some(Served::Ends);
            }
        };
        connection.is_kept_alive = ask.is_kept_alive;
        let len = ask.len;
        if ask.path == "/stats" {
            let json = stats_json(shared);
            let length = json.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
            let text = format!("{head}\r\nContent-Length: {length}\r\n\r\n{json}");
            connection.output.extend_from_slice(text.as_bytes());
            connection.allowed = connection.output.len();
            connection.answering = Some(Answering::Stats);
            connection.input.drain(..len);
            return None;
        }
        let Some(wanted) = read(ask.body) else {
            Counters::add(&counters.malformed, 1);
            return Some(Served::Ends);
        };
        Counters::add(&counters.requests, 1);
        let out = &mut connection.output;
        let planned = if let Some(answer) = shared.recorded_answer(bidder, &wanted, ask.body) {
            as_recorded(out, answer, &wanted)
        } else {
            by_model(out, &mut self.body, shared, bidder, &wanted)
        };
        connection.input.drain(..len);
        connection.answering = Some(planned.answering);
        if !matches!(planned.answering, Answering::NoBid | Answering::Bids(_)) {
            Counters::add(&counters.faults, 1);
        }
        if planned.answering == Answering::Hang {
            return Some(Served::Stays);
        }
        let after = planned.after;
        if after.is_zero() && planned.answering != Answering::Reset {
            connection.allow(planned.head, counters);
            if connection.allowed == connection.output.len() {
                return None;
            }
        }
        self.due.push(Reverse((poller::now() + nanos(after), token)));
        Some(Served::Stays)
    }

    /// The moment of an answer, or of the next drop of a dripping one, has come.
    fn answer_due(&mut self, token: u64, now: Nanos) {
        let Some(index) = self.place(token) else { return };
        let Some(connection) = &mut self.places[index].connection else { return };
        if connection.answering == Some(Answering::Reset) {
            connection.answering = None;
            // a close with nothing lingering is a reset; should it fail, a plain close is as good
            let _ = SockRef::from(&connection.socket).set_linger(Some(Duration::ZERO));
            return self.close(index);
        }
        let counters = &self.shared.counters[connection.bidder];
        match connection.answering {
            Some(Answering::Drip(bids)) if connection.allowed > 0 => {
                connection.allowed = (connection.allowed + DRIP_BYTES).min(connection.output.len());
                if connection.allowed == connection.output.len() {
                    Counters::add(&counters.bids, bids as u64);
                }
            }
            _ => {
                let head = find_head(&connection.output);
                connection.allow(head, counters);
            }
        }
        if connection.allowed < connection.output.len() {
            self.due.push(Reverse((now + nanos(DRIP_GAP), token)));
        }
        self.serve(token, false);
    }

    fn close(&mut self, index: usize) {
        if let Some(connection) = self.places[index].connection.take() {
            let is_owed = !matches!(connection.answering, None | Some(Answering::Stats));
            if is_owed {
                Counters::add(&self.shared.counters[connection.bidder].hang_ups, 1);
            }
            self.empty.push(index);
        }
    }
}

impl Connection {
    fn new(socket: TcpStream, bidder: usize) -> Self {
        Self {
            socket,
            secured: None,
            bidder,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            allowed: 0,
            answering: None,
            is_kept_alive: true,
            is_watched_for_write: false,
            is_new: true,
        }
    }

    /// Takes bytes from the socket. The first of all tell whether it is TLS.
    fn take(&mut self, bytes: &[u8], shared: &Shared) -> io::Result<()> {
        if let Some(config) = shared.tls.as_ref()
            && self.secured.is_none()
            && self.is_new
            && secure::is_wanted(bytes)
        {
            self.secured = Some(Box::new(Secured::new(config)?));
        }
        self.is_new = false;
        let Some(secured) = &mut self.secured else {
            self.input.extend_from_slice(bytes);
            return Ok(());
        };
        let received = secured.receive(bytes, &mut self.input);
        // a handshake is answered before there is any request, and what is wrong with it is said
        match secured.flush(&mut self.socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => received,
        }
    }

    fn wants_write(&self) -> bool {
        let is_waiting = self.secured.as_ref().is_some_and(|secured| secured.is_waiting());
        self.written < self.allowed || is_waiting
    }

    /// The moment of the answer has come: all of it may go, of a dripping one the head. Counted
    /// before it is written, so that whoever has an answer finds it counted.
    fn allow(&mut self, head: usize, counters: &Counters) {
        match self.answering {
            Some(Answering::Bids(bids)) => {
                Counters::add(&counters.answers, 1);
                Counters::add(&counters.bids, bids as u64);
            }
            Some(Answering::NoBid) => Counters::add(&counters.no_bids, 1),
            _ => {}
        }
        let is_dripping = matches!(self.answering, Some(Answering::Drip(_)));
        self.allowed = if is_dripping { head } else { self.output.len() };
    }

    /// Writes what may be written; `false`: the kernel takes no more now.
    fn write(&mut self) -> io::Result<bool> {
        while self.wants_write() {
            let rest = self.output.get(self.written..self.allowed).unwrap_or_default();
            let taken = match &mut self.secured {
                None => self.socket.write(rest).and_then(|count| match count {
                    0 => Err(ErrorKind::WriteZero.into()),
                    _ => Ok(count),
                }),
                Some(secured) => {
                    secured.send(rest)?;
                    self.written += rest.len();
                    secured.flush(&mut self.socket).map(|()| 0)
                }
            };
            match taken {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn answering(act: &Act, written: Written) -> Answering {
    match act {
        Act::NoBid => Answering::NoBid,
        Act::Bids(_) => Answering::Bids(written.bids),
        Act::Status(_) | Act::Garbage | Act::Huge => Answering::Fault,
        Act::Reset => Answering::Reset,
        Act::Hang => Answering::Hang,
        Act::Drip(_) => Answering::Drip(written.bids),
    }
}

/// Writes what the bidder's model says.
fn by_model(
    out: &mut Vec<u8>,
    body: &mut Vec<u8>,
    shared: &Shared,
    bidder: usize,
    wanted: &Wanted,
) -> Planned {
    let spec = &shared.spec.bidders[bidder];
    let Decision { after, act } = model::decide(spec, shared.spec.seed, bidder, wanted);
    let written = answer::write(out, body, spec, wanted, &act);
    Planned { after, head: written.head, answering: answering(&act, written) }
}

/// Writes what the bidder of the recording said.
fn as_recorded(out: &mut Vec<u8>, answer: &Answer, wanted: &Wanted) -> Planned {
    let written = recorded::write(out, &answer.act, wanted);
    let answering = match &answer.act {
        Played::Reset => Answering::Reset,
        Played::Says(200, _) => Answering::Bids(written.bids),
        Played::Says(204, _) => Answering::NoBid,
        Played::Says(..) | Played::Garbage(_) | Played::Huge => Answering::Fault,
    };
    Planned { after: answer.after, head: written.head, answering }
}

/// Bytes of the head of an answer of ours.
fn find_head(output: &[u8]) -> usize {
    output.windows(4).position(|window| window == b"\r\n\r\n").map_or(output.len(), |at| at + 4)
}

/// What the poller calls a connection; ages start at 1, so that no listener's index is one.
fn token(index: usize, age: u32) -> u64 {
    u64::from(age) << 32 | index as u64
}
