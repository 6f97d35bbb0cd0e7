//! Where a worker's requests are offered to a recording, once they are answered.
//!
//! Owns: [`Tap`], one a worker: its sampler, and what is kept of a head until the answer is there.
//! Never: a key, a cookie, an address of a client (they are not taken down at all), a wait.
//! Invariant: while nothing is recorded, a request costs one look at a flag.

use crate::arrival::BrowserSignals;
use crate::capture::Stratum;
use crate::capture::chunk::Outlet;
use crate::capture::entry::{CallEntry, Entry, OutcomeEntry, TooLong};
use crate::capture::format::RECORD_BYTES_MAX;
use crate::capture::personal::TOKEN_LETTERS_MIN;
use crate::capture::recorder::Recording;
use crate::capture::sampler::{Chosen, Sampler, Seen};
use crate::clock;
use crate::exchange::trace::Trace;
use crate::http::head::{self, GZIP_QUERY, is_preflight};
use crate::http::reply::{Reply, content, refusal_label};
use crate::openrtb::ids::PartnerId;
use crate::snapshot::{Held, Snapshot};
use crate::token::TOKEN_CHARS_MIN;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN, USER_AGENT,
};
use http::request::Parts;
use http::{Method, Uri};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Headers that matter to a replay; no other is ever taken down, but for [`opt_outs`].
static HEADERS: [HeaderName; 6] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    ACCEPT_ENCODING,
    USER_AGENT,
    ORIGIN,
    HeaderName::from_static("x-openrtb-version"),
];
/// Longest value of a header that is kept.
const HEADER_BYTES_MAX: usize = 256;
/// What stands in a path in place of a key, and of a name that is no partner's.
const KEY_SHOWN: &str = "key";
const NOBODY: &str = "unknown";

// a recording knows the tokens of our answers, and replaces them
const _: () = assert!(TOKEN_CHARS_MIN >= TOKEN_LETTERS_MIN);

/// One a worker.
#[derive(Debug)]
pub struct Tap {
    worker: u64,
    is_on: Cell<bool>,
    now: RefCell<Option<Tapped>>,
}

#[derive(Debug)]
struct Tapped {
    outlet: Outlet,
    sampler: Sampler,
}

impl Tapped {
    fn new(recording: &Arc<Recording>, worker: u64) -> Self {
        let seed = u64::try_from(clock::wall().as_nanos()).unwrap_or(0) ^ (worker << 56);
        let sampler = Sampler::new(recording.settings.strata, seed, recording.began);
        Self { outlet: Outlet::new(Arc::clone(recording)), sampler }
    }

    /// What was held is to be kept.
    fn keep(&mut self, held: Vec<Vec<u8>>) {
        for record in held {
            self.outlet.keep(|out| {
                out.extend_from_slice(&record);
                Ok(())
            });
        }
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        let held = self.sampler.drain();
        self.keep(held);
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct Noted {
    at: Instant,
    connection: u64,
    method: Method,
    uri: Uri,
    headers: SmallVec<[(usize, HeaderValue); 4]>,
    /// Of the headers that say so, which may hold more, only whether they do.
    browser: BrowserSignals,
    /// Known once it was let in.
    pub held: Option<(Held, PartnerId)>,
    pub body: Bytes,
    pub trace: Option<Box<Trace>>,
}

impl Tap {
    /// Of a worker, by its number.
    pub fn new(worker: usize) -> Self {
        Self { worker: worker as u64, is_on: Cell::new(false), now: RefCell::default() }
    }

    /// Records what the snapshot says.
    pub fn follow(&self, snapshot: &Snapshot) {
        if snapshot.recording.is_none() && !self.is_on.get() {
            return;
        }
        let now = &mut *self.now.borrow_mut();
        let known = now.as_ref().map(|tapped| tapped.outlet.recording().number);
        if known == snapshot.recording.as_ref().map(|recording| recording.number) {
            return;
        }
        let recording = snapshot.recording.as_ref();
        *now = recording.map(|recording| Tapped::new(recording, self.worker));
        self.is_on.set(now.is_some());
    }

    /// Takes down the head of a request for a bid; `None`: nothing is recorded.
    pub fn note(&self, parts: &Parts, at: Instant, connection: u64) -> Option<Noted> {
        let is_asked = parts.uri.path().starts_with("/openrtb2/") && !is_preflight(parts);
        if !self.is_on.get() || !is_asked {
            return None;
        }
        let header = |(index, name): (usize, &HeaderName)| {
            let value = parts.headers.get(name)?;
            (value.len() <= HEADER_BYTES_MAX).then(|| (index, value.clone()))
        };
        Some(Noted {
            at,
            connection,
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: HEADERS.iter().enumerate().filter_map(header).collect(),
            browser: head::browser(parts),
            held: None,
            body: Bytes::new(),
            trace: None,
        })
    }

    /// A request was answered.
    pub fn offer(&self, noted: &Noted, reply: &Reply) {
        let Some(Tapped { outlet, sampler }) = &mut *self.now.borrow_mut() else { return };
        let now = clock::monotonic();
        let answer = Answered {
            reply,
            reason: refusal_label(reply),
            took: now.saturating_duration_since(noted.at),
            began: outlet.recording().began,
        };
        let seen = Seen {
            now,
            is_refused: !answer.reason.is_empty(),
            cell: noted.trace.as_ref().and_then(|trace| trace.cell),
            took: answer.took,
            bytes: noted.body.len(),
        };
        match sampler.see(&seen) {
            None => {}
            Some(Chosen::Now(stratum)) => outlet.keep(|out| noted.append(&answer, stratum, out)),
            Some(Chosen::Perhaps(stratum)) => {
                let mut record = Vec::new();
                match noted.append(&answer, stratum, &mut record) {
                    Ok(()) => {
                        record.shrink_to_fit();
                        sampler.hold(stratum, &seen, record);
                    }
                    Err(fault) => outlet.keep(|_| Err(fault)),
                }
            }
        }
    }

    /// From time to time: what a minute left, and whatever waits for more.
    pub fn sweep(&self, now: Instant) {
        if let Some(tapped) = &mut *self.now.borrow_mut() {
            let held = tapped.sampler.ended(now);
            tapped.keep(held);
            tapped.outlet.hand_over();
        }
    }
}

/// What became of a request.
struct Answered<'a> {
    reply: &'a Reply,
    reason: &'a str,
    took: Duration,
    /// When the recording began.
    began: Instant,
}

impl Noted {
    /// Writes it down as a record.
    fn append(
        &self,
        answer: &Answered<'_>,
        stratum: Stratum,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        let snapshot = self.held.as_ref().map(|(snapshot, _)| &**snapshot);
        let partner = self.held.as_ref().and_then(|(snapshot, id)| snapshot.partner(*id));
        let partner = partner.map_or("", |partner| partner.name.as_str());
        let name = |index: usize| HEADERS.get(index).map_or("", HeaderName::as_str);
        let headers = self.headers.iter();
        let bidder = |id| snapshot.and_then(|snapshot| snapshot.bidder(id));
        let calls = self.trace.iter().flat_map(|trace| &trace.calls);
        let body = content(answer.reply);
        let of_calls = calls.clone().map(|call| call.request.len() + call.answer.len());
        let bytes = self.body.len() + body.len() + of_calls.sum::<usize>();
        // before any of it is copied
        TooLong::check("the record", bytes, RECORD_BYTES_MAX)?;
        let entry = Entry {
            at: self.at.saturating_duration_since(answer.began),
            connection: self.connection,
            partner,
            method: self.method.as_str(),
            path: &path(&self.uri, partner),
            headers: headers
                .filter_map(|(index, value)| Some((name(*index), value.to_str().ok()?)))
                .chain(opt_outs(self.browser)),
            body: &self.body,
            stratum,
            outcome: Some(OutcomeEntry {
                status: answer.reply.status().as_u16(),
                reason: answer.reason,
                took: answer.took,
                generation: snapshot.map_or(0, |snapshot| snapshot.generation),
                body: &body,
            }),
            calls: calls.map(|call| CallEntry {
                bidder: bidder(call.bidder).map_or("", |bidder| &bidder.name),
                sent: call.sent,
                took: call.took,
                status: call.status,
                no_answer: call.no_answer,
                request: &call.request,
                answer: &call.answer,
            }),
        };
        entry.append(out)
    }
}

/// As headers: without them a replay would tell bidders more than the request did.
fn opt_outs<'a>(browser: BrowserSignals) -> impl Iterator<Item = (&'a str, &'a str)> {
    let said = [(browser.is_gpc, "sec-gpc"), (browser.is_do_not_track, "dnt")];
    said.into_iter().filter(|(is_said, _)| *is_said).map(|(_, name)| (name, "1"))
}

/// Path and query, without a key, without a word on a coding that has been undone, and without what a stranger put in the place of a name.
fn path(uri: &Uri, partner: &str) -> String {
    let mut parts = uri.path().split('/').skip(3);
    let has_key = parts.next().is_some();
    let name = if partner.is_empty() { NOBODY } else { partner };
    let mut path = format!("/openrtb2/{name}");
    if has_key {
        path.push('/');
        path.push_str(KEY_SHOWN);
    }
    let query = uri.query().filter(|_| !partner.is_empty()).unwrap_or_default();
    let parts = query.split('&').filter(|part| !part.is_empty() && *part != GZIP_QUERY);
    for (sign, part) in iter::once('?').chain(iter::repeat('&')).zip(parts) {
        path.push(sign);
        path.push_str(part);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::disguise::Disguise;
    use crate::capture::form::PseudonymKey;
    use crate::money_event::EventType;
    use crate::tlv::take_part;
    use crate::token::Claims;
    use crate::token::issuer::Issuer;
    use crate::token::keys::{Key, Keys};

    fn entry<'a>(outcome: &'a [u8], out: &mut Vec<u8>) {
        let entry = Entry {
            at: Duration::ZERO,
            connection: 1,
            partner: "pub",
            method: "POST",
            path: "/openrtb2/pub",
            headers: iter::empty::<(&str, &str)>(),
            body: b"{}",
            stratum: Stratum::Sample,
            outcome: Some(OutcomeEntry {
                status: 200,
                reason: "",
                took: Duration::ZERO,
                generation: 1,
                body: outcome,
            }),
            calls: iter::empty::<CallEntry<'a>>(),
        };
        entry.append(out).unwrap();
    }

    #[test]
    fn no_token_of_an_answer_can_be_taken_out_of_a_recording() {
        let keys = Keys::new(Key::new(1, "a secret that nobody of the tests guesses"), Vec::new());
        let (ttl, base) = (Duration::from_secs(60), "https://x.example/a".to_owned());
        let issuer = Issuer { keys, base, banner_ttl: ttl, video_ttl: ttl };
        let urls = EventType::ALL.map(|event| {
            let mut url = Vec::new();
            let now = clock::wall();
            let auction_us = u64::try_from(now.as_micros()).unwrap();
            let expires_s = now.as_secs() + 60;
            let claims = Claims { event, auction_us, expires_s, ..Claims::default() };
            issuer.write_url(&claims, &mut Vec::new(), &mut url);
            String::from_utf8(url).unwrap()
        });
        let [win, billing, loss, impression] = &urls;
        let (mut raw, mut out) = (Vec::new(), Vec::new());
        let image = format!("<img src=\\\"{impression}.gif\\\">");
        let escaped = billing.replace('/', "\\/");
        let body =
            format!(r#"{{"nurl":"{win}","burl":"{escaped}","lurl":"{loss}","adm":"{image}"}}"#);
        entry(body.as_bytes(), &mut raw);
        let key = PseudonymKey::new("a secret of the tests");
        let mut written = raw.as_slice();
        let record = take_part(&mut written).unwrap();
        Disguise::new(key, false).append(record, &mut out).unwrap();
        assert_eq!(out.len(), raw.len(), "the same lengths");
        let shown = String::from_utf8_lossy(&out).replace('\\', "");
        let is_taken = |token: &str| {
            issuer.keys.accept(token.as_bytes(), clock::wall(), &mut Vec::new()).is_ok()
        };
        let tokens: Vec<&str> = shown.split("/e/").skip(1).collect();
        assert_eq!(tokens.len(), urls.len(), "{shown}");
        for token in tokens {
            let token = token.split(['?', '.', '"']).next().unwrap();
            assert!(!is_taken(token), "{token}");
        }
        for url in urls {
            let token = url.split("/e/").nth(1).and_then(|url| url.split('?').next()).unwrap();
            assert!(is_taken(token) && !shown.contains(token), "{url}");
        }
    }

    #[test]
    fn what_a_browser_said_is_kept_and_nothing_else_of_its_headers() {
        let tap = Tap::new(0);
        tap.is_on.set(true);
        for (name, value, expected) in [
            ("sec-gpc", "1", Some(("sec-gpc", "1"))),
            ("dnt", "1", Some(("dnt", "1"))),
            ("dnt", "1 jo.doe", Some(("dnt", "1"))),
            ("sec-gpc", "jo.doe", None),
            ("dnt", "0", None),
            ("cookie", "1", None),
        ] {
            let request = http::Request::post("/openrtb2/acme").header(name, value).body(());
            let (parts, ()) = request.unwrap().into_parts();
            let noted = tap.note(&parts, clock::monotonic(), 1).unwrap();
            assert!(noted.headers.is_empty(), "{name}");
            assert_eq!(opt_outs(noted.browser).next(), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_path_has_neither_key_nor_the_words_of_strangers() {
        for (uri, partner, expected) in [
            ("/openrtb2/acme", "acme", "/openrtb2/acme"),
            ("/openrtb2/acme?x=1", "acme", "/openrtb2/acme?x=1"),
            ("/openrtb2/acme/secret", "acme", "/openrtb2/acme/key"),
            ("/openrtb2/acme?gzip=1", "acme", "/openrtb2/acme"),
            ("/openrtb2/acme?x=1&gzip=1&y", "acme", "/openrtb2/acme?x=1&y"),
            ("/openrtb2/jo@mail.example/secret?k=v", "", "/openrtb2/unknown/key"),
        ] {
            assert_eq!(path(&uri.parse().unwrap(), partner), expected, "{uri}");
        }
    }
}
