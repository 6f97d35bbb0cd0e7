//! HTTP/2 towards a bidder, through hyper.
//!
//! Owns: [`Link`], one connection; [`Handle`], the right to one stream on it; [`Whole`], an answer
//! read to its end. Never: a pool's policy, a timer but HTTP/2's own pings. Invariants: an answer
//! never grows past its cap, whatever the flow-control window allows; no more calls are given to
//! hyper than the bidder takes at once: the others would wait there, and be sent when nobody waits
//! for their answers any more.

use crate::bidder::Bidder;
use crate::bidder::http1::{host_field, version_field};
use crate::bidder::pool::{Birth, Slot};
use crate::bidder::response::Fault;
use crate::bidder::stream::Stream;
use crate::coding::Coding;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// Between two pings while calls are open, and how long a pong may take: a dead connection costs
/// the calls of three seconds at most.
const PING_EVERY: Duration = Duration::from_secs(2);
const PONG_MAX: Duration = Duration::from_secs(1);

/// Header list of an answer (bytes); as much as HTTP/1 heads may have.
const HEADER_LIST_MAX: u32 = 16 << 10;

/// Runs hyper's connection tasks on this worker.
#[derive(Clone, Copy, Debug)]
struct OnThisWorker;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for OnThisWorker {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

type Carried = Connection<TokioIo<Stream>, Full<Bytes>, OnThisWorker>;

/// One HTTP/2 connection.
pub struct Link {
    send: SendRequest<Full<Bytes>>,
    /// To be asked what the other side allows; gone with the connection.
    connection: Weak<RefCell<Carried>>,
    pub birth: Birth,
    streams: Cell<u32>,
    /// Streams that it began with, and whether an answer has come since: behind what the other
    /// side allows, which it says first.
    streams_first: u32,
    is_heard: Cell<bool>,
    _slot: Slot,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl Link {
    /// Speaks the preface on a fresh stream. `streams_first`: what the other side is taken to
    /// allow until it says so.
    pub async fn open(
        stream: Stream,
        birth: Birth,
        slot: Slot,
        streams_first: u32,
    ) -> Result<Self, hyper::Error> {
        let (send, connection) = Builder::new(OnThisWorker)
            .initial_max_send_streams(streams_first as usize)
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_MAX)
            .max_header_list_size(HEADER_LIST_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        let connection = Rc::new(RefCell::new(connection));
        let asked = Rc::downgrade(&connection);
        // ends by itself when the last sender is gone or the connection breaks
        tokio::task::spawn_local(async move {
            let _ = poll_fn(|cx| Pin::new(&mut *connection.borrow_mut()).poll(cx)).await;
        });
        Ok(Self {
            send,
            connection: asked,
            birth,
            streams: Cell::new(0),
            streams_first,
            is_heard: Cell::new(false),
            _slot: slot,
        })
    }

    /// Streams that the other side allows at once, as it last said; `None` while it may not have.
    pub fn streams_allowed(&self) -> Option<u32> {
        let allowed = self.connection.upgrade()?.borrow().current_max_send_streams();
        let allowed = u32::try_from(allowed).unwrap_or(u32::MAX);
        (self.is_heard.get() || allowed != self.streams_first).then_some(allowed)
    }

    /// The right to one stream, while there are fewer than `streams_max`.
    pub fn handle(self: &Rc<Self>, streams_max: u32) -> Option<Handle> {
        let is_free = self.streams.get() < streams_max && !self.is_closed();
        is_free.then(|| {
            self.streams.set(self.streams.get() + 1);
            Handle(self.clone())
        })
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.send.is_closed()
    }
}

/// The right to one stream; given back on drop.
#[derive(Debug)]
pub struct Handle(Rc<Link>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
    }
}

/// What does not change between the requests to one bidder.
#[derive(Clone, Debug)]
pub struct Prelude2 {
    uri: Uri,
    headers: HeaderMap,
}

impl Prelude2 {
    /// For a bidder. What cannot be written in HTTP/2 is left out: address, path and headers were
    /// checked at load.
    pub fn new(bidder: &Bidder) -> Self {
        let scheme = if bidder.endpoint.is_tls { "https" } else { "http" };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(host_field(bidder))
            .path_and_query(bidder.endpoint.path.as_str())
            .build()
            .unwrap_or_default();
        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::with_capacity(8 + bidder.wire.headers.len());
        headers.insert(header::CONTENT_TYPE, json.clone());
        headers.insert(header::ACCEPT, json);
        let version = HeaderValue::from_static(version_field(bidder.wire.version));
        headers.insert(HeaderName::from_static("x-openrtb-version"), version);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(Coding::OFFER));
        if bidder.wire.is_gzip {
            let gzip = HeaderValue::from_static("gzip");
            headers.insert(header::CONTENT_ENCODING, gzip);
        }
        for (name, value) in &bidder.wire.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                headers.append(name, value);
            }
        }
        Self { uri, headers }
    }
}

/// An answer read to its end.
#[derive(Debug)]
pub struct Whole {
    pub status: u16,
    pub retry_after_s: Option<u32>,
    /// `Content-Encoding`; empty where there is none.
    pub encoding: Vec<u8>,
    pub content: Vec<u8>,
}

/// A call under way.
pub struct Exchange2 {
    call: Pin<Box<dyn Future<Output = Result<Whole, Fault>>>>,
    state: Rc<State>,
}

/// What a call and its holder tell each other.
#[derive(Debug)]
struct State {
    has_bytes: Cell<bool>,
    wire_bytes_max: Cell<usize>,
}

impl std::fmt::Debug for Exchange2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange2").finish_non_exhaustive()
    }
}

impl Exchange2 {
    /// Nothing is sent before the first poll. `parent`: the value of `traceparent`.
    pub fn new(
        handle: Handle,
        (prelude, parent): (&Prelude2, Option<&str>),
        body: &[u8],
        wire_bytes_max: usize,
    ) -> Self {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = prelude.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = prelude.headers.clone();
        if let Some(Ok(parent)) = parent.map(HeaderValue::from_str) {
            request.headers_mut().insert(HeaderName::from_static("traceparent"), parent);
        }
        let state =
            State { has_bytes: Cell::new(false), wire_bytes_max: Cell::new(wire_bytes_max) };
        let state = Rc::new(state);
        let call = Box::pin(call(handle, request, state.clone()));
        Self { call, state }
    }

    /// Goes as far as it can without waiting.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Whole, Fault>> {
        self.call.as_mut().poll(cx)
    }

    /// Whether at least a head has come.
    pub fn has_bytes(&self) -> bool {
        self.state.has_bytes.get()
    }

    /// From now on a smaller answer is too large.
    pub fn lower_cap(&self, wire_bytes_max: usize) {
        let most = &self.state.wire_bytes_max;
        most.set(most.get().min(wire_bytes_max));
    }
}

async fn call(
    handle: Handle,
    request: Request<Full<Bytes>>,
    state: Rc<State>,
) -> Result<Whole, Fault> {
    let mut send = handle.0.send.clone();
    send.ready().await.map_err(|_| Fault::Broken)?;
    let response = send.send_request(request).await.map_err(|_| Fault::Broken)?;
    state.has_bytes.set(true);
    handle.0.is_heard.set(true);
    let (head, mut body) = response.into_parts();
    let mut codings = head.headers.get_all(header::CONTENT_ENCODING).iter();
    let encoding = codings.next().map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    let encoding = if codings.next().is_some() { b"more than one".to_vec() } else { encoding };
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Fault::Broken)?.into_data() else { continue };
        if content.len() + data.len() > state.wire_bytes_max.get() {
            return Err(Fault::TooLarge);
        }
        content.extend_from_slice(&data);
    }
    let retry_after_s = head
        .headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    Ok(Whole { status: head.status.as_u16(), retry_after_s, encoding, content })
}
