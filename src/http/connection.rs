//! A public connection's life: from its first byte, over its requests, to its last.
//!
//! Owns: [`Connections`], what hyper is told of limits and times, how a connection ends. Never: a
//! request's life (that is `serve`), a status code.
//! Invariant: a connection obeys its watch's order at every moment at which it waits.

use crate::http::HttpSettings;
use crate::http::delivery::Sent;
use crate::http::gates::Gates;
use crate::http::watch::{Ledger, Order, Watch};
use crate::http::wire::{Scratch, Wire};
use crate::lifecycle::tasks::Tasks;
use crate::telemetry::cells::HttpDenied;
use futures_util::TryFutureExt as _;
use futures_util::future::Either;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio::time::timeout;

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
pub struct Line {
    pub watch: Rc<Watch>,
    pub peer: IpAddr,
    pub is_h2: bool,
    /// A number of no further meaning.
    pub serial: u64,
}

/// Serves a worker's connections.
#[derive(Debug)]
pub struct Connections {
    ledger: Rc<Ledger>,
    gates: Rc<Gates>,
    settings: Arc<HttpSettings>,
    h1: http1::Builder,
    h2: http2::Builder<Spawner>,
    scratch: Rc<Scratch>,
}

impl Connections {
    /// None yet.
    pub fn new(
        ledger: Rc<Ledger>,
        gates: Rc<Gates>,
        settings: Arc<HttpSettings>,
        tasks: Tasks,
    ) -> Self {
        Self {
            ledger,
            gates,
            h1: http1_builder(&settings),
            h2: http2_builder(&settings, tasks),
            scratch: Rc::new(RefCell::new(vec![0; settings.header_bytes_max].into())),
            settings,
        }
    }

    /// Serves one connection to its end, unless it is one too many; `answer` is asked for each of
    /// its requests.
    pub async fn serve<A, F>(&self, stream: TcpStream, peer: SocketAddr, serial: u64, answer: A)
    where
        A: Fn(Request<Incoming>, Line) -> F,
        F: Future<Output = Result<Sent, Infallible>> + 'static,
    {
        if !self.ledger.makes_room() {
            self.gates.cells().no_room();
            return;
        }
        let watch = self.ledger.add(serial);
        self.gates.cells().connection_opened();
        let _over = Over(Rc::clone(&watch), Rc::clone(&self.gates));
        let mut wire = Wire::new(stream, Rc::clone(&watch), Rc::clone(&self.scratch));
        let Some(Ok(is_h2)) = until(&watch, Order::Close, wire.is_h2()).await else { return };
        let line = Line { watch, peer: peer.ip(), is_h2, serial };
        if is_h2 {
            self.serve_h2(wire, line, answer).await;
        } else {
            self.serve_h1(wire, line, answer).await;
        }
    }

    async fn serve_h1<A, F>(&self, wire: Wire, line: Line, answer: A)
    where
        A: Fn(Request<Incoming>, Line) -> F,
        F: Future<Output = Result<Sent, Infallible>> + 'static,
    {
        let watch = Rc::clone(&line.watch);
        let service = service_fn(move |request| answer(request, line.clone()));
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
            let stream = connection.into_parts().io.into_stream();
            until(&watch, Order::Cut, linger(&stream, &self.settings)).await;
        }
    }

    async fn serve_h2<A, F>(&self, wire: Wire, line: Line, answer: A)
    where
        A: Fn(Request<Incoming>, Line) -> F,
        F: Future<Output = Result<Sent, Infallible>> + 'static,
    {
        let watch = Rc::clone(&line.watch);
        watch.speaks_h2();
        let service = service_fn(move |request| {
            if line.watch.takes_streams() {
                let answer = answer(request, line.clone());
                return Either::Left(answer.map_err(|never| match never {}));
            }
            // It may be sent again elsewhere: nobody has looked at it.
            Either::Right(ready(Err(h2::Error::from(h2::Reason::REFUSED_STREAM))))
        });
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
