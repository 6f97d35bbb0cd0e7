//! Where a worker's requests are offered to a recording, once they are answered.
//!
//! Owns: [`Tap`], one a worker: its sampler, and what is kept of a head until the answer is there.
//! Never: a key, a cookie, an address of a client (they are not taken down at all), a wait.
//! Invariant: while nothing is recorded, a request costs one look at a flag.

use crate::capture::recorder::Recording;
use crate::capture::sampler::{Sampler, Seen};
use crate::capture::{Record, RecordedCall, RecordedOutcome};
use crate::clock;
use crate::exchange::trace::Trace;
use crate::http::head::{GZIP_QUERY, is_preflight};
use crate::http::reply::{Reply, content, refusal_label};
use crate::openrtb::ids::PartnerId;
use crate::snapshot::{Held, Snapshot};
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

/// Headers that matter to a replay; no other is ever taken down.
const HEADERS: [HeaderName; 6] = [
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

/// One a worker.
#[derive(Debug)]
pub struct Tap {
    worker: u64,
    is_on: Cell<bool>,
    now: RefCell<Option<Tapped>>,
}

#[derive(Debug)]
struct Tapped {
    recording: Arc<Recording>,
    sampler: Sampler,
}

/// A request that is under way.
#[derive(Debug)]
pub struct Noted {
    at: Instant,
    connection: u64,
    method: Method,
    uri: Uri,
    headers: SmallVec<[(usize, HeaderValue); 4]>,
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
        let known = now.as_ref().map(|tapped| tapped.recording.number);
        if known == snapshot.recording.as_ref().map(|recording| recording.number) {
            return;
        }
        if let Some(mut old) = now.take() {
            old.sampler.drain().into_iter().for_each(|record| old.recording.offer(record));
        }
        *now = snapshot.recording.as_ref().map(|recording| Tapped {
            recording: Arc::clone(recording),
            sampler: self.sampler(recording),
        });
        self.is_on.set(now.is_some());
    }

    fn sampler(&self, recording: &Recording) -> Sampler {
        let seed = u64::try_from(clock::wall().as_nanos()).unwrap_or(0) ^ (self.worker << 56);
        Sampler::new(recording.settings.strata, seed, recording.began)
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
            held: None,
            body: Bytes::new(),
            trace: None,
        })
    }

    /// A request was answered.
    pub fn offer(&self, noted: Noted, reply: &Reply) {
        let Some(Tapped { recording, sampler }) = &mut *self.now.borrow_mut() else { return };
        let now = clock::monotonic();
        let took = now.saturating_duration_since(noted.at);
        let reason = refusal_label(reply).to_owned();
        let seen = Seen {
            now,
            is_refused: !reason.is_empty(),
            cell: noted.trace.as_ref().and_then(|trace| trace.cell),
            took,
            bytes: noted.body.len(),
        };
        let began = recording.began;
        let kept = sampler.see(&seen, |stratum| {
            let record = noted.into_record(began, (reply, reason, took));
            Record { stratum, ..record }
        });
        if let Some(record) = kept {
            recording.offer(record);
        }
    }

    /// From time to time: what a minute left.
    pub fn sweep(&self, now: Instant) {
        if let Some(Tapped { recording, sampler }) = &mut *self.now.borrow_mut() {
            sampler.ended(now).into_iter().for_each(|record| recording.offer(record));
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(Tapped { recording, sampler }) = self.now.get_mut() {
            sampler.drain().into_iter().for_each(|record| recording.offer(record));
        }
    }
}

impl Noted {
    fn into_record(self, began: Instant, answer: (&Reply, String, Duration)) -> Record {
        let (reply, reason, took) = answer;
        let snapshot = self.held.as_ref().map(|(snapshot, _)| &**snapshot);
        let partner = self.held.as_ref().and_then(|(snapshot, id)| snapshot.partner(*id));
        let partner = partner.map_or("", |partner| partner.name.as_str());
        let name = |index: usize| HEADERS.get(index).map_or("", HeaderName::as_str).to_owned();
        let headers = self
            .headers
            .iter()
            .filter_map(|(index, value)| Some((name(*index), value.to_str().ok()?.to_owned())));
        let calls = self.trace.map(|trace| trace.calls).unwrap_or_default();
        let bidder = |id| snapshot.and_then(|snapshot| snapshot.bidder(id));
        let calls = calls.into_iter().map(|call| RecordedCall {
            bidder: bidder(call.bidder).map_or_else(String::new, |bidder| bidder.name.clone()),
            sent: call.sent,
            took: call.took,
            status: call.status,
            no_answer: call.no_answer.to_owned(),
            request: call.request,
            answer: call.answer,
        });
        Record {
            at: self.at.saturating_duration_since(began),
            connection: self.connection,
            path: path(&self.uri, partner),
            method: self.method.to_string(),
            headers: headers.collect(),
            calls: calls.collect(),
            body: self.body,
            outcome: Some(RecordedOutcome {
                status: reply.status().as_u16(),
                reason,
                took,
                generation: snapshot.map_or(0, |snapshot| snapshot.generation),
                body: content(reply),
            }),
            partner: partner.to_owned(),
            ..Record::default()
        }
    }
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
