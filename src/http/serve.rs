//! One worker's front: its public connections, from the first byte to the last.
//!
//! Owns: [`Front`], the order of one HTTP request's life. Never: a status code, a limit of the
//! exchange, the road itself.
//! Invariant: once a request's bidders may have been called, its road is walked to its end,
//! whether or not the client still waits; a panic on the road costs that request only.

use crate::arrival::{Arrival, Body};
use crate::clock;
use crate::coding::Coding;
use crate::exchange::{Outcome, Verdict};
use crate::http::body::{self, Bounds};
use crate::http::gates::Gates;
use crate::http::head::{self, Head};
use crate::http::reply::{self, Replier, Reply, Styles, Table};
use crate::http::watch::{Ledger, Order, Watch};
use crate::http::wire::{Scratch, Wire};
use crate::http::{Ambiguity, Denial, HttpSettings, Road};
use crate::lifecycle::Lifecycle;
use crate::lifecycle::load::Load;
use crate::lifecycle::tasks::Tasks;
use crate::limits::admission::Permit;
use crate::negatives::refusal::Refusal;
use crate::snapshot::{Held, Latest, Live};
use crate::telemetry::cells::{ConnectionCut, HttpDenied};
use crate::telemetry::slots::{Slot, UNKNOWN};
use http::Request;
use http::header::EXPECT;
use http::request::Parts;
use hyper::body::{Body as _, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Where a buyer finds the document that says whose inventory we sell (sellers.json 1.0).
const SELLERS: &str = "/sellers.json";

/// What a front is made of.
#[derive(Debug)]
pub struct FrontParts<R> {
    /// Number of its worker.
    pub worker: usize,
    pub road: R,
    pub live: Arc<Live>,
    pub settings: Arc<HttpSettings>,
    pub tasks: Tasks,
    pub load: Rc<Load>,
    pub lifecycle: Arc<Lifecycle>,
    pub gates: Gates,
}

/// Serves the public connections of one worker.
#[derive(Debug)]
pub struct Front<R> {
    road: Rc<R>,
    latest: Rc<Latest>,
    settings: Arc<HttpSettings>,
    tasks: Tasks,
    load: Rc<Load>,
    gates: Rc<Gates>,
    ledger: Rc<Ledger>,
    replier: Replier,
    h1: http1::Builder,
    h2: http2::Builder<Spawner>,
    serial: Cell<u64>,
    scratch: Rc<Scratch>,
}

/// Spawns HTTP/2 streams on this thread.
#[derive(Clone, Debug)]
struct Spawner(Tasks);

impl<F> Executor<F> for Spawner
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn(future));
    }
}

/// One connection, as each of its requests sees it.
#[derive(Clone, Debug)]
struct Line {
    watch: Rc<Watch>,
    peer: IpAddr,
    is_h2: bool,
}

/// A request that may have its body read.
struct Admitted {
    snapshot: Held,
    arrival: Arrival,
    styles: Styles,
    slot: Slot,
    permit: Permit,
}

/// Counts one request as in flight.
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
        let ledger = Rc::new(Ledger::new(&settings));
        let watched = Rc::clone(&ledger);
        let every = settings.sweep_every;
        let (latest, load) = (Rc::new(parts.live.latest()), Rc::clone(&parts.load));
        let gates = Rc::new(parts.gates);
        let swept =
            Swept { ledger: watched, load, latest: Rc::clone(&latest), gates: gates.clone() };
        spawn_local(sweep(swept, parts.lifecycle, every));
        spawn_local(Rc::clone(&gates).pulse());
        Rc::new(Self {
            gates,
            road: Rc::new(parts.road),
            latest,
            replier: Replier::new(settings.retry_after_s),
            h1: http1_builder(&settings),
            h2: http2_builder(&settings, parts.tasks.clone()),
            scratch: Rc::new(RefCell::new(vec![0; settings.header_bytes_max].into())),
            settings,
            tasks: parts.tasks,
            load: parts.load,
            ledger,
            // The worker's number on top keeps serials apart within a process.
            serial: Cell::new(u64::try_from(parts.worker).unwrap_or(0) << 48),
        })
    }

    /// Serves one connection to its end.
    pub async fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        let watch = self.ledger.add(self.next_serial());
        self.gates.cells().connection_opened();
        let _over = Over(Rc::clone(&watch), Rc::clone(&self.gates));
        let mut wire = Wire::new(stream, Rc::clone(&watch), Rc::clone(&self.scratch));
        let Some(Ok(is_h2)) = until(&watch, Order::Close, wire.is_h2()).await else { return };
        let line = Line { watch, peer: peer.ip(), is_h2 };
        if is_h2 { self.serve_h2(wire, line).await } else { self.serve_h1(wire, line).await }
    }

    async fn serve_h1(self: Rc<Self>, wire: Wire, line: Line) {
        let watch = Rc::clone(&line.watch);
        let front = Rc::clone(&self);
        let service = service_fn(move |request| Rc::clone(&front).answer(request, line.clone()));
        let mut connection = self.h1.serve_connection(wire, service);
        let mut is_told = false;
        let ended = poll_fn(|cx| {
            let order = watch.order();
            if order == Order::Cut {
                return Poll::Ready(None);
            }
            if order == Order::Close && !is_told {
                is_told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            watch.wake_by(cx.waker());
            Pin::new(&mut connection).poll(cx).map(Some)
        });
        let is_unread = match ended.await {
            None => return,
            Some(Ok(())) => watch.lingers(),
            Some(Err(fault)) => {
                if fault.is_parse() {
                    self.gates.cells().http_denied(HttpDenied::UnreadableHead);
                }
                fault.is_parse()
            }
        };
        if is_unread {
            linger(&connection.into_parts().io.into_stream(), &self.settings).await;
        }
    }

    async fn serve_h2(self: Rc<Self>, wire: Wire, line: Line) {
        let watch = Rc::clone(&line.watch);
        watch.speaks_h2();
        let front = Rc::clone(&self);
        let service = service_fn(move |request| Rc::clone(&front).answer(request, line.clone()));
        let mut connection = pin!(self.h2.serve_connection(wire, service));
        let mut is_told = false;
        poll_fn(|cx| {
            let order = watch.order();
            if order == Order::Cut {
                return Poll::Ready(());
            }
            if order >= Order::LastOne && !is_told {
                is_told = true;
                connection.as_mut().graceful_shutdown();
            }
            watch.wake_by(cx.waker());
            // A broken connection is the peer's business; its requests have had their answers.
            connection.as_mut().poll(cx).map(drop)
        })
        .await;
    }

    /// One HTTP request, from its complete head to its answer.
    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        line: Line,
    ) -> Result<Reply, Infallible> {
        let at = clock::monotonic();
        let open = line.watch.open();
        let (parts, body) = request.into_parts();
        let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let judged = if line.watch.lines.is_bare() {
            Err(Denial::Ambiguous(Ambiguity::BareLineFeed))
        } else {
            self.judge(&parts, at, &line)
        };
        let mut reply = match judged {
            Ok((admitted, coding, declared)) => {
                let Parts { headers, .. } = parts;
                let table = Table::emptied(headers);
                match self.take_in(body, coding, declared).await {
                    Ok(body) => self.walk(admitted, body, table).await,
                    Err(refusal) => self.broken_off(refusal, &admitted, &line),
                }
            }
            Err(denial) => self.turn_away(denial, &parts, body, &line).await,
        };
        let is_last = line.watch.order() >= Order::LastOne || self.ledger.is_leaving();
        if is_last && !line.is_h2 {
            reply::close_after(&mut reply);
        }
        line.watch.lines.done(length);
        drop(open);
        Ok(reply)
    }

    /// Whether the body is worth reading; counts who is refused.
    fn judge(
        &self,
        parts: &Parts,
        at: Instant,
        line: &Line,
    ) -> Result<(Admitted, Coding, Option<usize>), Denial> {
        match head::read(parts, &self.settings) {
            Ok(head) => {
                let admitted = self.admit(parts, &head, at, line.peer)?;
                Ok((admitted, head.coding, head.declared))
            }
            Err(Denial::Refused(refusal, _)) => Err(self.stranger(refusal)),
            Err(denial) => Err(denial),
        }
    }

    /// Snapshot, partner, key, source range, QPS, permit; in this order, and before the body.
    fn admit(
        &self,
        parts: &Parts,
        head: &Head<'_>,
        at: Instant,
        peer: IpAddr,
    ) -> Result<Admitted, Denial> {
        let snapshot = self.latest.take().ok_or_else(|| self.stranger(Refusal::NotReady))?;
        let client = head::client_of(parts, peer, &self.settings);
        let partner = head::identify(head, &snapshot, client).map_err(|why| self.stranger(why))?;
        let styles = snapshot.partner(partner).map_or(Styles::default(), |partner| Styles {
            no_bid: partner.no_bid,
            shed: partner.shed,
        });
        let slot = self.gates.slot(&snapshot, partner);
        let permit = self.gates.enter(&snapshot, partner, at).map_err(|refusal| {
            self.gates.count_refusal(slot, refusal);
            Denial::Refused(refusal, styles.shed)
        })?;
        let wall = self.gates.wall_at(at);
        let arrival = Arrival { at, wall, client, partner, serial: self.next_serial() };
        Ok(Admitted { snapshot, arrival, styles, slot, permit })
    }

    /// Counts a refusal of somebody whom we do not know.
    fn stranger(&self, refusal: Refusal) -> Denial {
        self.gates.count_refusal(UNKNOWN, refusal);
        refusal.into()
    }

    async fn take_in(
        &self,
        body: Incoming,
        coding: Coding,
        declared: Option<usize>,
    ) -> Result<Body, Refusal> {
        let wire = body::read(body, declared, self.bounds()).await?;
        body::decoded(coding, wire, &self.settings.caps)
    }

    /// Walks the road in a task of its own: a client that goes away drops the HTTP request, not
    /// the auction, and a panic ends here.
    async fn walk(&self, admitted: Admitted, body: Body, table: Table) -> Reply {
        let Admitted { snapshot, arrival, styles, slot, permit } = admitted;
        let flying = Flying::new(&self.load);
        let road = Rc::clone(&self.road);
        let held = (self.tasks.enter(), flying, permit);
        let walked = spawn_local(async move {
            let _held = held;
            road.hold(snapshot, arrival, body).await
        });
        let verdict = match walked.await {
            Ok(Outcome { verdict, .. }) => verdict,
            Err(fault) if fault.is_panic() => Verdict::Refused(Refusal::Panic),
            // The runtime ends under it.
            Err(_) => Verdict::Refused(Refusal::NotReady),
        };
        self.gates.count(slot, &verdict);
        self.replier.verdict(verdict, styles, table)
    }

    /// Answers without the body, which is read past so that the connection can be used again;
    /// where that does not go, the answer is the connection's last.
    async fn turn_away(&self, denial: Denial, parts: &Parts, body: Incoming, line: &Line) -> Reply {
        let sellers = if denial == Denial::NoRoute { self.sellers(parts) } else { None };
        let mut reply = sellers.unwrap_or_else(|| {
            self.gates.count_denial(denial);
            self.replier.denial(denial)
        });
        if line.is_h2 {
            return reply;
        }
        // Who waits for "100 Continue" has not sent the body, and will not.
        let may_drain = !matches!(denial, Denial::Ambiguous(_))
            && denial != Denial::from(Refusal::BodyTooLarge)
            && !parts.headers.contains_key(EXPECT);
        if !(may_drain && body::drain(body, self.bounds()).await) {
            reply::close_after(&mut reply);
            line.watch.linger();
        }
        reply
    }

    /// `/sellers.json`, where there is one.
    fn sellers(&self, parts: &Parts) -> Option<Reply> {
        if parts.uri.path() != SELLERS {
            return None;
        }
        Some(reply::sellers(&parts.method, self.latest.take()?.sellers.clone()?))
    }

    /// Answers a request whose body was not read to its end, or does not decode.
    fn broken_off(&self, refusal: Refusal, admitted: &Admitted, line: &Line) -> Reply {
        self.gates.count_refusal(admitted.slot, refusal);
        let verdict = Verdict::Refused(refusal);
        let mut reply = self.replier.verdict(verdict, admitted.styles, Table::default());
        let is_unread =
            matches!(refusal, Refusal::BodyTooLarge | Refusal::BodyTooSlow | Refusal::BodyBroken);
        if is_unread && !line.is_h2 {
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

/// Says that a connection has ended, however it ended.
struct Over(Rc<Watch>, Rc<Gates>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over();
        self.1.cells().connection_closed();
    }
}

/// Waits for `future` unless an order of `limit` or more comes first.
async fn until<F: Future>(watch: &Watch, limit: Order, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if watch.order() >= limit {
            return Poll::Ready(None);
        }
        watch.wake_by(cx.waker());
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Reads on for a while: closing with unread bytes resets the connection, and the peer may lose
/// the answer that it has not read yet.
async fn linger(stream: &TcpStream, settings: &HttpSettings) {
    let mut left = settings.linger_bytes_max;
    let read_past = async {
        while left > 0 && stream.readable().await.is_ok() {
            match stream.try_read(&mut [0; 4096]) {
                Ok(0) => break,
                Ok(count) => left = left.saturating_sub(count),
                Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    };
    // Whoever sends for longer loses the answer.
    let _ = timeout(settings.linger_time, read_past).await;
}

/// What the sweep looks after.
struct Swept {
    ledger: Rc<Ledger>,
    load: Rc<Load>,
    latest: Rc<Latest>,
    gates: Rc<Gates>,
}

async fn sweep(swept: Swept, lifecycle: Arc<Lifecycle>, every: Duration) {
    let Swept { ledger, load, latest, gates } = swept;
    let began = clock::monotonic();
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        ledger.sweep(clock::monotonic().saturating_duration_since(began), lifecycle.phase());
        for why in ConnectionCut::ALL {
            gates.cells().connections_cut(why, ledger.take_cuts(why));
        }
        let share = load.let_go.take();
        if share > 0 {
            ledger.let_go(share);
        }
        // A worker without requests lets go of a replaced snapshot here.
        drop(latest.take());
    }
}

/// No timer: the sweep ends what dribbles or idles, at no cost per request. No `max_headers`:
/// hyper would allocate its header table per request (the head counts them), and refuses more
/// than 100 by itself.
///
/// Answers are copied behind their head: for the usual 2 KiB that takes less than a gathering
/// write. The end of the stream is looked for while a request waits (no half-closed streams): a
/// client that goes away frees its connection, though not its auction.
fn http1_builder(settings: &HttpSettings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .half_close(false)
        .writev(false)
        .max_buf_size(settings.header_bytes_max);
    builder
}

fn http2_builder(settings: &HttpSettings, tasks: Tasks) -> http2::Builder<Spawner> {
    let h2 = &settings.h2;
    let mut builder = http2::Builder::new(Spawner(tasks));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(h2.streams_max)
        .max_header_list_size(h2.header_list_bytes_max)
        .max_pending_accept_reset_streams(h2.pending_resets_max)
        .max_local_error_reset_streams(h2.local_resets_max)
        .initial_stream_window_size(h2.stream_window_bytes)
        .initial_connection_window_size(h2.connection_window_bytes)
        .max_send_buf_size(h2.send_buffer_bytes_max)
        .keep_alive_interval(h2.ping_every)
        .keep_alive_timeout(h2.ping_time);
    builder
}
