//! One call to one bidder, as a machine that `fanout` polls.
//!
//! Owns: [`Call`] and what a status means. Never: a timer, a task. Invariants: a call ends once,
//! in an `Answer`; what is left of a late one goes to `drain` whole, permit and all.

use crate::bid::BidAnswer;
use crate::bidder::desk::{Desk, Entry, Permit};
use crate::bidder::dial::{self, Started};
use crate::bidder::drain;
use crate::bidder::h2::{Exchange2, Whole};
use crate::bidder::http1::Exchange1;
use crate::bidder::line::count;
use crate::bidder::pool::{Carrier, Waiter};
use crate::bidder::response::Fault;
use crate::bidder::shelf::Packet;
use crate::bidder::{Answer, Invitation, Outgoing, Silence};
use crate::negatives::no_answer::NoAnswer;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// An answer of status 200, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// The value of `Content-Encoding`; empty where there is none, no coding at all where there
    /// are two.
    pub encoding: &'a [u8],
    pub content: &'a [u8],
}

/// How far a call is.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every call is over HTTP/1.1: a box there would cost each an allocation"
)]
pub enum Step {
    /// Nothing has happened; the packet is in the call.
    Fresh,
    Waiting(Rc<Waiter>),
    Http1(Exchange1),
    Http2(Exchange2),
    /// Ended, with the answer's status and result kept beside.
    Done,
}

/// What came of the bytes of one call.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub status: u16,
    pub retry_after_s: Option<u32>,
    pub result: Result<(), NoAnswer>,
}

/// A call and its permit.
#[derive(Debug)]
pub struct Call {
    invitation: Invitation,
    /// Until the call ends.
    permit: Option<Permit>,
    /// Until it is sent.
    packet: Option<Packet>,
    parent: Option<Box<str>>,
    step: Step,
    /// When it is late, and when it must have a connection.
    due: Instant,
    connect_due: Instant,
    took: Duration,
    status: u16,
    result: Result<BidAnswer, NoAnswer>,
    nbr: Option<u16>,
}

impl Call {
    /// Nothing happens before the first poll.
    pub fn new(permit: Permit, outgoing: Outgoing, now: Instant, deadline: Instant) -> Self {
        let time = permit.entry.time;
        let due = deadline.min(now + time.most);
        Self {
            invitation: outgoing.invitation,
            permit: Some(permit),
            packet: Some(outgoing.packet),
            parent: outgoing.parent,
            step: Step::Fresh,
            due,
            connect_due: due.min(now + time.connect),
            took: Duration::ZERO,
            status: 0,
            result: Err(NoAnswer::Late),
            nbr: None,
        }
    }

    /// Takes a connection, or a place in the queue for one.
    fn start(&mut self, desk: &Desk, now: Instant) {
        let Some(entry) = self.permit.as_ref().map(|permit| permit.entry.clone()) else { return };
        count(&entry.line.counters.calls, 1);
        match take(&entry, now) {
            Ok(Taken::Carrier(carrier)) => self.begin(desk, &entry, carrier),
            Ok(Taken::Waiter(waiter)) => self.step = Step::Waiting(waiter),
            Err(why) => self.end(desk, now, Duration::ZERO, Err(why)),
        }
    }

    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        matches!(self.step, Step::Done)
    }

    /// When something has to happen to it at the latest.
    pub fn due(&self) -> Instant {
        if matches!(self.step, Step::Waiting(_)) { self.connect_due } else { self.due }
    }

    /// What came of it.
    pub fn into_answer(self) -> Answer {
        Answer {
            invitation: self.invitation,
            took: self.took,
            status: self.status,
            result: self.result,
            nbr: self.nbr,
        }
    }

    /// Goes as far as it can without waiting. `clock` is read only when it ends.
    pub fn poll<R>(&mut self, desk: &Desk, cx: &mut Context<'_>, start: Instant, read: &mut R)
    where
        R: FnMut(&Invitation, Raw<'_>) -> Result<BidAnswer, Silence>,
    {
        if let Step::Fresh = &self.step {
            self.start(desk, start);
        }
        if let Step::Waiting(waiter) = &self.step {
            let Poll::Ready(got) = waiter.poll(cx) else { return };
            let Some(entry) = self.permit.as_ref().map(|permit| permit.entry.clone()) else {
                return;
            };
            match got {
                Ok(carrier) => self.begin(desk, &entry, carrier),
                Err(why) => {
                    let now = crate::clock::monotonic();
                    return self.end(desk, now, now.saturating_duration_since(start), Err(why));
                }
            }
        }
        let (end, answer) = match &mut self.step {
            Step::Http1(exchange) => {
                let Poll::Ready(result) = exchange.poll(cx, &desk.shelves) else { return };
                let end = end_http1(exchange, result);
                let (encoding, content) = (exchange.reading.encoding(), exchange.reading.content());
                let raw = Raw { encoding, content };
                let answer = end.result.map_err(Silence::from);
                (end, answer.and_then(|()| read(&self.invitation, raw)))
            }
            Step::Http2(exchange) => {
                let Poll::Ready(result) = exchange.poll(cx) else { return };
                let end = end_http2(result.as_ref().map_err(|fault| *fault));
                let answer = end.result.map_err(Silence::from).and_then(|()| {
                    let whole = result.as_ref().map_err(|fault| no_answer(*fault))?;
                    read(
                        &self.invitation,
                        Raw { encoding: &whole.encoding, content: &whole.content },
                    )
                });
                (end, answer)
            }
            Step::Fresh | Step::Waiting(_) | Step::Done => return,
        };
        let now = crate::clock::monotonic();
        let took = now.saturating_duration_since(start);
        self.status = end.status;
        if let Some(permit) = &self.permit {
            if end.status > 0 {
                permit.entry.line.round_trip.answered(took);
            }
            let step = std::mem::replace(&mut self.step, Step::Done);
            release(desk, &permit.entry, step, now, end);
        }
        self.nbr = answer.as_ref().err().and_then(|silence| silence.nbr);
        let answer = answer.map_err(|silence| silence.why);
        self.end(desk, now, took, answer);
    }

    /// Its time is over: it is late, and what is under way goes on in the background.
    pub fn expire(&mut self, desk: &Rc<Desk>, start: Instant, at: Instant) {
        let took = at.saturating_duration_since(start);
        if matches!(self.step, Step::Waiting(_)) {
            let pool = self.permit.as_ref().map(|permit| &permit.entry.line.pool);
            let is_full = pool.is_some_and(|pool| pool.dialing() == 0);
            // with no dial under way it waited for room, and not for the network
            let why = if is_full { NoAnswer::PoolFull } else { NoAnswer::ConnectTimeout };
            return self.end(desk, at, took, Err(why));
        }
        let step = std::mem::replace(&mut self.step, Step::Done);
        self.took = took;
        if let Some(permit) = self.permit.take() {
            count(&permit.entry.line.counters.late, 1);
            drain::start(desk, permit, step, start);
        }
    }

    fn begin(&mut self, desk: &Desk, entry: &Entry, carrier: Carrier) {
        let Some(packet) = self.packet.take() else { return };
        let packet = desk.pack(packet, entry.is_gzip);
        let parent = self.parent.take();
        let parent = parent.as_deref();
        self.step = match carrier {
            Carrier::Http1(connection) => {
                if connection.is_used {
                    count(&entry.line.counters.reused, 1);
                }
                let prelude = &entry.prelude;
                Step::Http1(Exchange1::new(connection, (prelude, parent), packet, entry.limits))
            }
            Carrier::Http2(handle) => {
                let most = entry.limits.wire_bytes_max;
                let prelude = &entry.prelude2;
                Step::Http2(Exchange2::new(handle, (prelude, parent), packet.body(), most))
            }
        };
    }

    /// The breaker hears only what the transport says: an answer that is no bid response is none
    /// of its business.
    fn end(
        &mut self,
        desk: &Desk,
        now: Instant,
        took: Duration,
        result: Result<BidAnswer, NoAnswer>,
    ) {
        self.step = Step::Done;
        self.took = took;
        if let Some(permit) = self.permit.take() {
            let transport = result.as_ref().map(|_| ()).map_err(|why| *why);
            permit.entry.line.ended(desk.net.millis(now), transport, true);
        }
        self.result = result;
    }
}

enum Taken {
    Carrier(Carrier),
    Waiter(Rc<Waiter>),
}

/// A connection that is there, or a place in the queue behind a dial.
fn take(entry: &Rc<Entry>, now: Instant) -> Result<Taken, NoAnswer> {
    let line = &entry.line;
    if let Some(connection) = line.pool.take(now, entry.ages()) {
        return Ok(Taken::Carrier(Carrier::Http1(connection)));
    }
    if line.key.is_http2
        && let Some(handle) = line.stream(entry.net.settings.h2_streams_max)
    {
        return Ok(Taken::Carrier(Carrier::Http2(handle)));
    }
    if line.addresses.list().is_empty() {
        // not resolved (yet): the road does not wait for DNS
        return Err(NoAnswer::ConnectRefused);
    }
    let may_wait = match dial::start(entry) {
        Started::Dialing | Started::Busy => true,
        Started::Full => line.speaks_http2.get() && line.is_opening(),
    };
    if may_wait { Ok(Taken::Waiter(line.pool.wait())) } else { Err(NoAnswer::PoolFull) }
}

/// Gives back what carried a call, and lets the breaker know of a wish to be left alone.
pub fn release(desk: &Desk, entry: &Entry, step: Step, now: Instant, end: End) {
    let line = &entry.line;
    match step {
        Step::Http1(exchange) => {
            let is_dead = end.result == Err(NoAnswer::Broken) && !exchange.reading.has_bytes();
            if exchange.is_reused() && is_dead {
                count(&line.counters.reused_broken, 1);
            }
            if let Some(connection) = exchange.finish(&desk.shelves) {
                line.pool.give(connection, now, entry.ages());
            }
        }
        Step::Http2(exchange) => {
            drop(exchange);
            dial::offer_streams(line, &entry.net.settings);
        }
        Step::Fresh | Step::Waiting(_) | Step::Done => {}
    }
    if let (429 | 503, Some(seconds @ 1..)) = (end.status, end.retry_after_s) {
        line.breaker.hold(entry.net.millis(now), Duration::from_secs(u64::from(seconds)));
    }
}

/// What an HTTP/1.1 exchange came to.
pub fn end_http1(exchange: &Exchange1, result: Result<(), Fault>) -> End {
    match result {
        Ok(()) => {
            let head = exchange.reading.head();
            end(head.status, head.retry_after_s)
        }
        Err(fault) => End { status: 0, retry_after_s: None, result: Err(no_answer(fault)) },
    }
}

/// What an HTTP/2 exchange came to.
pub fn end_http2(result: Result<&Whole, Fault>) -> End {
    match result {
        Ok(whole) => end(whole.status, whole.retry_after_s),
        Err(fault) => End { status: 0, retry_after_s: None, result: Err(no_answer(fault)) },
    }
}

fn end(status: u16, retry_after_s: Option<u32>) -> End {
    let result = match status {
        200 => Ok(()),
        204 => Err(NoAnswer::NoBid),
        300..400 => Err(NoAnswer::Redirect),
        429 => Err(NoAnswer::TooManyRequests),
        400..500 => Err(NoAnswer::ClientStatus),
        500..600 => Err(NoAnswer::ServerStatus),
        _ => Err(NoAnswer::OtherStatus),
    };
    End { status, retry_after_s, result }
}

const fn no_answer(fault: Fault) -> NoAnswer {
    match fault {
        Fault::Http => NoAnswer::Http,
        Fault::TooLarge => NoAnswer::TooLarge,
        Fault::Broken => NoAnswer::Broken,
    }
}
