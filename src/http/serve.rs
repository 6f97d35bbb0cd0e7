//! One worker's front: its public requests, from the complete head to the answer.
//!
//! Owns: [`Front`], the order of one HTTP request's life. Never: a connection's life (that is
//! `connection`), whether a request is let in (that is `door`), a status code, a limit of the
//! exchange, the road itself.
//! Invariant: once a request's bidders may have been called, its road is walked to its end,
//! whether or not the client still waits; a panic on the road costs that request only.

mod door;

use crate::arrival::Body;
use crate::clock;
use crate::exchange::{Outcome, Verdict};
use crate::http::body::{self, Bounds};
use crate::http::connection::{Connections, Line};
use crate::http::correlate::{self, Correlator};
use crate::http::delivery::Sent;
use crate::http::event_address::is_event;
use crate::http::events::{EventDesk, Taken};
use crate::http::gates::Gates;
use crate::http::head::{self, Content};
use crate::http::reply::{self, Replier, Reply, Table};
use crate::http::serve::door::{Admitted, Asked, Judged, Turned};
use crate::http::sweep::{Swept, sweep};
use crate::http::tap::{Noted, Tap};
use crate::http::walkers::{Errand, Panicked, Walkers};
use crate::http::watch::{Ledger, Order};
use crate::http::{Denial, HttpSettings, Road};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::load::Load;
use crate::lifecycle::tasks::{Counted, Tasks};
use crate::limits::admission::Permit;
use crate::negatives::refusal::Refusal;
use crate::snapshot::{Latest, Live};
use http::Request;
use http::header::EXPECT;
use http::request::Parts;
use hyper::body::Incoming;
use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

/// What a front is made of.
#[derive(Debug)]
pub struct FrontParts<R> {
    /// Number of its worker.
    pub worker: usize,
    pub road: Rc<R>,
    pub live: Arc<Live>,
    pub settings: Arc<HttpSettings>,
    pub tasks: Tasks,
    pub load: Rc<Load>,
    pub lifecycle: Arc<Lifecycle>,
    pub gates: Gates,
    /// Where events are taken; `None`: nowhere.
    pub events: Option<EventDesk>,
}

/// Serves the public connections of one worker.
#[derive(Debug)]
pub struct Front<R> {
    walkers: Walkers<R, OnRoad>,
    latest: Rc<Latest>,
    settings: Arc<HttpSettings>,
    tasks: Tasks,
    load: Rc<Load>,
    gates: Rc<Gates>,
    ledger: Rc<Ledger>,
    replier: Replier,
    tap: Rc<Tap>,
    events: Option<EventDesk>,
    connections: Connections,
    serial: Cell<u64>,
    correlator: Correlator,
}

/// A body that is of no use.
#[derive(Clone, Copy, Debug)]
struct Broken {
    refusal: Refusal,
    /// It was read to its end, behind which the connection goes on.
    is_read: bool,
}

impl Broken {
    const fn read(refusal: Refusal) -> Self {
        Self { refusal, is_read: true }
    }
}

/// What says that a request is on the road, until it is at its end.
type OnRoad = (Counted, Flying, Permit);

/// Counts one request as in flight.
#[derive(Debug)]
struct Flying(Rc<Load>);

impl Flying {
    fn new(load: &Rc<Load>) -> Self {
        load.in_flight.set(load.in_flight.get() + 1);
        Self(Rc::clone(load))
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

impl<R: Road> Front<R> {
    /// Builds a front on its worker's thread, inside its runtime, and starts its sweep.
    pub fn new(parts: FrontParts<R>) -> Rc<Self> {
        let settings = parts.settings;
        let ledger = Rc::new(Ledger::new(&settings, Rc::clone(&parts.load)));
        let (latest, load) = (Rc::new(parts.live.latest()), Rc::clone(&parts.load));
        let (every, gates) = (settings.sweep_every, Rc::new(parts.gates));
        let tap = Rc::new(Tap::new(parts.worker));
        if let Some(snapshot) = latest.take() {
            tap.follow(&snapshot);
        }
        let swept = Swept {
            road: Rc::clone(&parts.road),
            tap: Rc::clone(&tap),
            ledger: Rc::clone(&ledger),
            load,
            latest: Rc::clone(&latest),
            gates: Rc::clone(&gates),
        };
        let connections = Connections::new(
            Rc::clone(&ledger),
            Rc::clone(&gates),
            Arc::clone(&settings),
            parts.tasks.clone(),
        );
        spawn_local(sweep(swept, parts.lifecycle, every));
        spawn_local(Rc::clone(&gates).pulse());
        let correlator = Correlator::new(settings.timed_of);
        Rc::new(Self {
            gates,
            walkers: Walkers::new(parts.road),
            latest,
            replier: Replier::new(settings.retry_after_s),
            tap,
            events: parts.events,
            connections,
            settings,
            tasks: parts.tasks,
            load: parts.load,
            ledger,
            // The worker's number on top keeps serials apart within a process.
            serial: Cell::new(u64::try_from(parts.worker).unwrap_or(0) << 48),
            correlator,
        })
    }

    /// Serves one connection to its end.
    pub async fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let serial = self.next_serial();
        let front = Rc::clone(&self);
        let answer = move |request, line| Rc::clone(&front).answer(request, line);
        self.connections.serve(stream, peer, serial, answer).await;
    }

    /// One HTTP request, from its complete head to its answer. An event is taken and any other head
    /// looked at at once: of a client that has closed already the future is dropped before it is
    /// polled.
    fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        line: Line,
    ) -> impl Future<Output = Result<Sent, Infallible>> {
        let at = clock::monotonic();
        let (parts, body) = request.into_parts();
        let asked = match self.desk_of(&parts, &line) {
            Some(desk) => {
                let snapshot = self.latest.take();
                Err(snapshot.map(|now| desk.take(&parts, &now, self.gates.wall_at(at))))
            }
            None => Ok(self.ask(&parts, at, &line)),
        };
        async move {
            let open = line.watch.open();
            let reply = match asked {
                Ok(asked) => self.request(asked, parts, body, (at, &line)).await,
                // boxed: what is rare must not make the future of each request larger
                Err(taken) => Box::pin(self.event(taken, parts, body, &line)).await,
            };
            let sent = self.finish(reply, &line);
            drop(open);
            Ok(sent)
        }
    }

    /// Where an event is taken; `None`: it is none, or one that could be read in two ways.
    fn desk_of(&self, parts: &Parts, line: &Line) -> Option<&EventDesk> {
        let is_one = is_event(parts)
            && line.watch.lines.ambiguity().is_none()
            && head::framing(parts, &self.settings).is_ok();
        self.events.as_ref().filter(|_| is_one)
    }

    /// What a partner sends, or anybody.
    async fn request(
        &self,
        asked: Asked,
        parts: Parts,
        body: Incoming,
        (at, line): (Instant, &Line),
    ) -> Reply {
        let Asked { page, correlation, known, judged } = asked;
        let mut noted = self.tap.note(&parts, at, line.serial);
        if let Some(noted) = &mut noted {
            noted.held.clone_from(&known);
        }
        let mut reply = match judged {
            Judged::Admitted(mut admitted) => {
                let Parts { headers, .. } = parts;
                let table = Table::emptied(headers);
                match self.take_in(body, &admitted.content).await {
                    Ok(body) if !admitted.permit.takes(body.0.len()) => {
                        self.broken_off(Broken::read(Refusal::Overload), &admitted, line)
                    }
                    Ok(body) => self.walk(admitted, body, table, &mut noted).await,
                    Err(broken) => self.broken_off(broken, &admitted, line),
                }
            }
            Judged::Turned(turned) => Box::pin(self.turn_away(turned, &parts, body, line)).await,
        };
        if let Some(origin) = page {
            reply::let_read(&mut reply, origin);
        }
        if let Some(noted) = noted {
            self.tap.offer(&noted, &reply);
        }
        let partner = known.as_ref().and_then(|(snapshot, id)| snapshot.partner(*id));
        let partner = partner.map(|partner| partner.name.as_str());
        correlate::tell(&reply, (&correlation, partner), self.gates.cells(), at);
        correlate::name(&mut reply, &correlation.request_id);
        reply
    }

    /// Says that the connection ends, where it does, and gives the answer to it.
    fn finish(&self, mut reply: Reply, line: &Line) -> Sent {
        let is_last = line.watch.order() >= Order::LastOne || self.ledger.is_leaving();
        if is_last && !line.is_h2 {
            reply::close_after(&mut reply);
        }
        line.watch.done();
        self.ledger.hand(reply, &line.watch, self.gates.answer_bytes_max())
    }

    /// The answer to an event from upstream: neither a partner's limits nor the worker's admission hold it back.
    async fn event(
        &self,
        taken: Option<Taken>,
        parts: Parts,
        body: Incoming,
        line: &Line,
    ) -> Reply {
        let Some(taken) = taken else {
            let denial = Refusal::NotReady.into();
            let turned = Turned { denial, reply: self.replier.denial(denial), is_to_wait: false };
            return self.turn_away(turned, &parts, body, line).await;
        };
        // nobody says anything in it; an event is worth more than a connection
        let is_read = body::drain(body, self.bounds()).await || line.is_h2;
        let told = taken.reply().await;
        let mut reply = self.replier.event(told, Table::emptied(parts.headers));
        if !is_read {
            reply::close_after(&mut reply);
            line.watch.linger();
        }
        reply
    }

    async fn take_in(&self, body: Incoming, content: &Content) -> Result<Body, Broken> {
        let wire = body::read(body, content.declared, self.bounds()).await;
        let wire = wire.map_err(|refusal| Broken { refusal, is_read: false })?;
        body::decoded(content.coding, wire, &self.settings.caps).map_err(Broken::read)
    }

    /// Walks the road in another task: a client that goes away drops the HTTP request, and what is
    /// kept of an answer that is given, not the auction.
    async fn walk(
        &self,
        admitted: Admitted,
        body: Body,
        table: Table,
        noted: &mut Option<Noted>,
    ) -> Reply {
        if let Some(noted) = noted {
            noted.body = body.0.clone();
        }
        let Admitted { snapshot, arrival, styles, owed, permit, .. } = admitted;
        let held = (self.tasks.enter(), Flying::new(&self.load), permit);
        let errand = Errand { snapshot, arrival, body, held };
        let verdict = match self.walkers.walk(errand).await {
            Ok(Outcome { verdict, trace, wins, .. }) => {
                if let Some(desk) = self.events.as_ref().filter(|_| !wins.is_empty()) {
                    self.tasks.spawn(desk.keep(wins));
                }
                if let Some(noted) = noted {
                    noted.trace = trace;
                }
                verdict
            }
            Err(Panicked) => Verdict::Refused(Refusal::Panic),
        };
        owed.ended(&verdict);
        self.replier.verdict(verdict, styles, table)
    }

    /// Answers without the body, which is read past so that the connection can be used again;
    /// where that does not go, the answer is the connection's last.
    async fn turn_away(&self, turned: Turned, parts: &Parts, body: Incoming, line: &Line) -> Reply {
        let Turned { denial, mut reply, is_to_wait } = turned;
        if is_to_wait && !self.gates.hold().await {
            line.watch.part();
        }
        if line.is_h2 {
            return reply;
        }
        // Who waits for "100 Continue" has not sent the body, and will not.
        let is_past_it =
            matches!(denial, Denial::Ambiguous(_) | Denial::Refused(Refusal::BodyTooLarge, _));
        let may_drain = !is_past_it && !parts.headers.contains_key(EXPECT);
        if !(may_drain && body::drain(body, self.bounds()).await) {
            reply::close_after(&mut reply);
            line.watch.linger();
        }
        reply
    }

    /// Answers a request whose body was not read to its end, or does not decode.
    fn broken_off(&self, broken: Broken, admitted: &Admitted, line: &Line) -> Reply {
        admitted.owed.refused(broken.refusal);
        let verdict = Verdict::Refused(broken.refusal);
        let mut reply = self.replier.verdict(verdict, admitted.styles, Table::default());
        if !broken.is_read && !line.is_h2 {
            reply::close_after(&mut reply);
            line.watch.linger();
        }
        reply
    }

    fn bounds(&self) -> Bounds {
        Bounds { bytes_max: self.settings.wire_bytes_max, time: self.settings.body_time }
    }

    fn next_serial(&self) -> u64 {
        let serial = self.serial.get().wrapping_add(1);
        self.serial.set(serial);
        serial
    }
}
