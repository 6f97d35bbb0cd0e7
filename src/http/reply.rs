//! From what was decided to an HTTP answer: the only file that knows status codes.
//!
//! Owns: every status, every answer header. Never: a decision; text about a fault of ours.
//! Invariant: each [`Refusal`] has one status, and what the caller learns is that and a code of
//! the closed list; whoever is not authorised learns nothing at all.

use crate::exchange::Verdict;
use crate::http::Denial;
use crate::http::events::EventReply;
use crate::negatives::refusal::Refusal;
use crate::partner::{NoBidStyle, ShedStyle};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// An answer, ready to be sent.
pub type Reply = Response<Full<Bytes>>;

const REASON: HeaderName = HeaderName::from_static("x-gavel-reason");
const OPENRTB_VERSION: HeaderName = HeaderName::from_static("x-openrtb-version");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// What a page may send, what it may read, and for how many seconds its browser need not ask again
/// (browsers cut it to their own limit, of one or two hours).
const MAY_SEND: HeaderValue = HeaderValue::from_static(
    "authorization, content-encoding, content-type, x-gavel-key, x-openrtb-version",
);
const MAY_READ: HeaderValue =
    HeaderValue::from_static("retry-after, x-gavel-reason, x-openrtb-version");
const ASKED_FOR_S: HeaderValue = HeaderValue::from_static("7200");
const GIF: HeaderValue = HeaderValue::from_static("image/gif");
const NEVER_STORED: HeaderValue = HeaderValue::from_static("no-store");
const VERSION: HeaderValue = HeaderValue::from_static("2.6");

/// The smallest image there is: one transparent pixel, 43 bytes.
const PIXEL: &[u8; 43] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\
\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// How one partner wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Styles {
    pub no_bid: NoBidStyle,
    pub shed: ShedStyle,
}

/// A request's table of headers, emptied: an answer's go into its memory, and hyper takes it from
/// there for the connection's next request.
#[derive(Debug, Default)]
pub struct Table(HeaderMap);

/// What operators are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    Json(String),
    /// JSON, with the status of something that is not there for now.
    Unavailable(String),
    Text(String),
    Html(Html),
    /// JSON that says what was wrong with what was sent.
    Invalid(String),
    NoRoute,
    /// Another method than `GET`; than `POST`.
    Method,
    PostOnly,
    Unauthorised,
    /// Sent by a page of another site; its code.
    Foreign(&'static str),
    TooLarge,
    TooSlow,
}

/// A page of our own, and what it may load and reach (Content Security Policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Html {
    pub text: &'static str,
    pub policy: &'static str,
}

/// An answer as its reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub status: u16,
    /// Of `x-gavel-reason`; empty where there is none.
    pub reason: String,
    pub content: Bytes,
}

/// Makes answers.
#[derive(Clone, Debug)]
pub struct Replier {
    retry_after: HeaderValue,
}

impl Table {
    /// Lets go of the request's headers.
    pub fn emptied(mut headers: HeaderMap) -> Self {
        headers.clear();
        Self(headers)
    }
}

impl Replier {
    /// `retry_after_s` is said with every 429 and 503.
    pub fn new(retry_after_s: u32) -> Self {
        Self { retry_after: HeaderValue::from(retry_after_s) }
    }

    /// The answer to a request that walked the road.
    pub fn verdict(&self, verdict: Verdict, styles: Styles, table: Table) -> Reply {
        match verdict {
            Verdict::Answered(json) => answered(json, table),
            Verdict::NoBid { nbr, id_json, rule, ext } => {
                let reply = match (ext, styles.no_bid) {
                    (None, NoBidStyle::Empty) => no_content(table),
                    (ext, _) => reason(nbr, &id_json, ext.as_deref(), table),
                };
                match rule {
                    Some(rule) => with_reason(reply, rule.label()),
                    None => reply,
                }
            }
            Verdict::Refused(refusal) => self.refused(refusal, styles.shed, table),
        }
    }

    /// The answer to a request that did not get that far.
    pub fn denial(&self, denial: Denial) -> Reply {
        match denial {
            Denial::NoRoute => empty(StatusCode::NOT_FOUND),
            Denial::Method => not_allowed("POST"),
            Denial::Ambiguous(what) => with_reason(empty(StatusCode::BAD_REQUEST), what.label()),
            Denial::TooManyHeaders => empty(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Denial::UriTooLong => empty(StatusCode::URI_TOO_LONG),
            Denial::Refused(refusal, shed) => self.refused(refusal, shed, Table::default()),
        }
    }

    /// The answer to an event: the same for one that counts and for one that does not.
    pub fn event(&self, event: EventReply, table: Table) -> Reply {
        let mut reply = match event {
            EventReply::Done => empty_in(table, StatusCode::NO_CONTENT),
            EventReply::Pixel => {
                let mut reply = empty_in(table, StatusCode::OK);
                *reply.body_mut() = Full::new(Bytes::from_static(PIXEL));
                reply.headers_mut().insert(CONTENT_TYPE, GIF);
                reply
            }
            EventReply::Later => {
                let mut reply = empty_in(table, StatusCode::SERVICE_UNAVAILABLE);
                reply.headers_mut().insert(RETRY_AFTER, self.retry_after.clone());
                reply
            }
            EventReply::Method => return not_allowed("GET, POST"),
            EventReply::TooLong => return empty(StatusCode::URI_TOO_LONG),
        };
        reply.headers_mut().insert(CACHE_CONTROL, NEVER_STORED);
        reply
    }

    fn refused(&self, refusal: Refusal, shed: ShedStyle, table: Table) -> Reply {
        let status = status(refusal, shed);
        let mut reply = empty_in(table, status);
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            reply.headers_mut().insert(RETRY_AFTER, self.retry_after.clone());
        }
        if refusal == Refusal::Unauthorised {
            return reply;
        }
        reply.headers_mut().insert(OPENRTB_VERSION, VERSION);
        with_reason(reply, refusal.label())
    }
}

/// The status of a refusal.
fn status(refusal: Refusal, shed: ShedStyle) -> StatusCode {
    match refusal {
        Refusal::Unauthorised => StatusCode::UNAUTHORIZED,
        Refusal::PartnerQps | Refusal::Overload | Refusal::NowhereToBill
            if shed == ShedStyle::NoBid =>
        {
            StatusCode::NO_CONTENT
        }
        Refusal::PartnerQps => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Overload | Refusal::NotReady | Refusal::NowhereToBill => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Refusal::BodyTooLarge | Refusal::ExpansionRatio => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::ContentEncoding | Refusal::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        // Valid requests that we do not want: no bids (nbr 3, 4, 5, 7 and 15), not faults.
        Refusal::KnownSpider
        | Refusal::DataCenter
        | Refusal::BlockedInventory
        | Refusal::NoTimeLeft => StatusCode::NO_CONTENT,
        Refusal::Panic => StatusCode::INTERNAL_SERVER_ERROR,
        Refusal::BodyBroken
        | Refusal::EncodingBroken
        | Refusal::ZstdWindow
        | Refusal::OpenRtbVersion
        | Refusal::NotJson
        | Refusal::NotAnObject
        | Refusal::TooDeep
        | Refusal::DuplicateKey
        | Refusal::NumberOutOfRange
        | Refusal::WrongType
        | Refusal::StringTooLong
        | Refusal::StringNul
        | Refusal::TooManyImps
        | Refusal::TooManyDeals
        | Refusal::TooManyEids
        | Refusal::TooManySchainNodes
        | Refusal::IdMissing
        | Refusal::ImpMissing
        | Refusal::ImpIdMissing
        | Refusal::ImpIdDuplicate
        | Refusal::ImpNoMedia
        | Refusal::InventoryConflict
        | Refusal::InventoryMissing
        | Refusal::BannerSize
        | Refusal::VideoMimes
        | Refusal::VideoDuration
        | Refusal::AudioMimes
        | Refusal::AudioDuration
        | Refusal::NativeRequest
        | Refusal::Bidfloor
        | Refusal::BidfloorCurrency
        | Refusal::QtyMultiplier
        | Refusal::DealIdMissing
        | Refusal::DealIdDuplicate
        | Refusal::DealAuctionType
        | Refusal::AuctionTypeUnknown
        | Refusal::CurrencyUnknown
        | Refusal::DeviceAddress
        | Refusal::RegsValue
        | Refusal::ChannelNotAllowed
        | Refusal::MediaNotAllowed => StatusCode::BAD_REQUEST,
    }
}

/// Says of an answer that its bytes are the process's own, whoever asks for them: they take no memory,
/// however long a peer takes.
#[derive(Clone, Copy, Debug)]
pub struct Shared;

/// The document of our sellers, to anybody who asks with `GET` or `HEAD`.
pub fn sellers(method: &Method, json: Bytes) -> Reply {
    if *method != Method::GET && *method != Method::HEAD {
        return not_allowed("GET, HEAD");
    }
    let length = HeaderValue::from(json.len());
    // HTTP/2 would send the bytes all the same.
    let body = if *method == Method::HEAD { Bytes::new() } else { json };
    let mut reply = Response::new(Full::new(body));
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply.headers_mut().insert(CONTENT_LENGTH, length);
    reply.extensions_mut().insert(Shared);
    reply
}

/// What a browser is told that asks whether a page may call; [`let_read`] says the rest.
pub fn preflight() -> Reply {
    let mut reply = empty(StatusCode::NO_CONTENT);
    let headers = reply.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, MAY_SEND);
    headers.insert(ACCESS_CONTROL_MAX_AGE, ASKED_FOR_S);
    reply
}

/// Has the browser give the answer to the page of this origin (Fetch, "CORS protocol"). With
/// credentials, since clients such as Prebid.js ask so; none is ever looked at.
pub fn let_read(reply: &mut Reply, origin: HeaderValue) {
    let headers = reply.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, MAY_READ);
    headers.insert(VARY, HeaderValue::from(ORIGIN));
}

/// An answer to an operator.
pub fn page(page: Page) -> Reply {
    let (status, kind, body) = match page {
        Page::Json(body) => (StatusCode::OK, JSON, body),
        Page::Unavailable(body) => (StatusCode::SERVICE_UNAVAILABLE, JSON, body),
        Page::Text(body) => (StatusCode::OK, TEXT, body),
        Page::Html(html) => return own_page(html),
        Page::Invalid(body) => (StatusCode::BAD_REQUEST, JSON, body),
        Page::NoRoute => return empty(StatusCode::NOT_FOUND),
        Page::Method => return not_allowed("GET"),
        Page::PostOnly => return not_allowed("POST"),
        Page::Unauthorised => return empty(StatusCode::UNAUTHORIZED),
        Page::Foreign(reason) => return with_reason(empty(StatusCode::FORBIDDEN), reason),
        Page::TooLarge => return empty(StatusCode::PAYLOAD_TOO_LARGE),
        Page::TooSlow => return empty(StatusCode::REQUEST_TIMEOUT),
    };
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.extend(GUARDED);
    reply
}

/// Of every answer with something in it: never kept, never guessed at, never embedded elsewhere.
const GUARDED: [(HeaderName, HeaderValue); 3] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

fn own_page(html: Html) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from_static(html.text.as_bytes())));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(html.policy));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.extend(GUARDED);
    reply
}

/// What the reader of an answer sees of it.
pub fn told(reply: &Reply) -> Told {
    Told {
        status: reply.status().as_u16(),
        reason: refusal_label(reply).to_owned(),
        content: content(reply),
    }
}

/// The label of a refusal; empty where there is none. Whoever is not authorised is not told.
pub fn refusal_label(reply: &Reply) -> &str {
    match reply.status() {
        StatusCode::OK => "",
        StatusCode::UNAUTHORIZED => Refusal::Unauthorised.label(),
        _ => {
            let label = reply.headers().get(REASON).and_then(|value| value.to_str().ok());
            label.unwrap_or_default()
        }
    }
}

/// The body of an answer.
pub fn content(reply: &Reply) -> Bytes {
    let mut body = reply.body().clone();
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(&mut body).poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    }
}

/// Says that the connection ends with this answer (HTTP/1 only).
pub fn close_after(reply: &mut Reply) {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

fn answered(json: Bytes, Table(mut headers): Table) -> Reply {
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(OPENRTB_VERSION, VERSION);
    let mut reply = Response::new(Full::new(json));
    *reply.headers_mut() = headers;
    reply
}

fn no_content(table: Table) -> Reply {
    let mut reply = empty_in(table, StatusCode::NO_CONTENT);
    reply.headers_mut().insert(OPENRTB_VERSION, VERSION);
    reply
}

/// A bid response without bids: `nbr` says why, and `ext` explains it.
fn reason(nbr: u16, id_json: &[u8], ext: Option<&[u8]>, table: Table) -> Reply {
    let id = if id_json.is_empty() { b"\"\"" } else { id_json };
    let nbr = nbr.to_string();
    let (before, ext) = ext.map_or((&b""[..], &b""[..]), |ext| (b",\"ext\":", ext));
    let json = [b"{\"id\":", id, b",\"nbr\":", nbr.as_bytes(), before, ext, b"}"].concat();
    answered(json.into(), table)
}

fn not_allowed(methods: &'static str) -> Reply {
    let mut reply = empty(StatusCode::METHOD_NOT_ALLOWED);
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    reply
}

fn empty(status: StatusCode) -> Reply {
    empty_in(Table::default(), status)
}

fn empty_in(Table(headers): Table, status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}

fn with_reason(mut reply: Reply, label: &'static str) -> Reply {
    reply.headers_mut().insert(REASON, HeaderValue::from_static(label));
    reply
}

#[cfg(test)]
mod tests;
