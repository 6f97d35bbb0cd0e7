//! A test request that an operator sends through the exchange for a partner, from the console.
//!
//! Owns: [`TrialDesk`], the control side; [`serve`], the worker's; [`marked`], which makes a request
//! a test. Never: a route of the public listener, a key, a count among the partner's own requests.
//!
//! It walks the real road of a worker: the partner's rules, the snapshot of the moment, the bidders.
//! It is not asked for the partner's key or rate, for whoever is at the admin listener is the
//! operator. Invariants: its `test` is 1, so that nothing of it is billable; one at a time on each
//! worker; only a request that came this way has `Arrival::is_trial`.

use crate::arrival::{Arrival, Body, BrowserSignals};
use crate::clock;
use crate::correlation::Mint;
use crate::exchange::Verdict;
use crate::http::Road;
use crate::http::reply::{self, Replier, Styles, Table, Told};
use crate::lifecycle::tasks::Tasks;
use crate::negatives::refusal::Refusal;
use crate::snapshot::Live;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Trials that may wait for one worker.
const INBOX_MAX: usize = 4;

/// Where a trial seems to come from, unless it says: an address of nobody (RFC 5737).
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Serials of trials start here, apart from those of any worker.
const SERIALS: u64 = 0xffff << 48;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct TrialAsk {
    /// Its configured name.
    pub partner: String,
    /// The address of the client; counts for partners through which users call us themselves.
    pub client: Option<IpAddr>,
    /// The bid request.
    pub body: Bytes,
}

/// One of them on its way to a worker.
#[derive(Debug)]
pub struct Trial {
    ask: TrialAsk,
    told: oneshot::Sender<Trialled>,
}

/// What came of it.
#[derive(Debug)]
struct Trialled {
    worker: usize,
    generation: u64,
    took: Duration,
    told: Told,
}

/// Why it was not held.
#[derive(Debug, Error)]
pub enum TrialFault {
    #[error("not a JSON object: {0}")]
    NotJson(#[source] serde_json::Error),
    #[error("`test` is {0}: only 1 is sent from here (or leave it out)")]
    NotATest(Value),
    #[error("there is no partner `{0}`")]
    Partner(String),
    #[error("too many test requests at once: try again")]
    Busy,
    #[error("no answer within {0:?}")]
    Slow(Duration),
}

/// The control side: the way to each worker.
#[derive(Debug)]
pub struct TrialDesk {
    live: Arc<Live>,
    outlets: Vec<mpsc::Sender<Trial>>,
    turn: Cell<usize>,
    time: Duration,
}

/// What a worker holds trials with.
#[derive(Debug)]
pub struct TrialSeat<R> {
    pub worker: usize,
    pub road: Rc<R>,
    pub live: Arc<Live>,
    pub tasks: Tasks,
    /// Bytes of a bid request; more is refused as it is for a partner.
    pub body_bytes_max: usize,
}

/// The way to one worker, and its end.
pub fn way() -> (mpsc::Sender<Trial>, mpsc::Receiver<Trial>) {
    mpsc::channel(INBOX_MAX)
}

/// The request with `"test":1`, and every other byte as it came.
pub fn marked(body: &Bytes) -> Result<Bytes, TrialFault> {
    let (Body(body), _) = Body(body.clone()).without_mark();
    let root: Map<String, Value> = serde_json::from_slice(&body).map_err(TrialFault::NotJson)?;
    match root.get("test") {
        Some(value) if value.as_u64() == Some(1) => return Ok(body),
        Some(value) => return Err(TrialFault::NotATest(value.clone())),
        None => {}
    }
    // it is an object: nothing but white space stands before its brace
    let brace = body.iter().position(|byte| *byte == b'{').unwrap_or(0);
    let (before, after) = body.split_at(brace.saturating_add(1).min(body.len()));
    let member: &[u8] = if root.is_empty() { b"\"test\":1" } else { b"\"test\":1," };
    let mut whole = BytesMut::with_capacity(body.len().saturating_add(member.len()));
    for part in [before, member, after] {
        whole.extend_from_slice(part);
    }
    Ok(whole.freeze())
}

impl TrialDesk {
    /// With the ways to all workers; an answer may take so long.
    pub fn new(live: Arc<Live>, outlets: Vec<mpsc::Sender<Trial>>, time: Duration) -> Self {
        Self { live, outlets, turn: Cell::default(), time }
    }

    /// Has a worker hold it; they take turns. What came of it, as JSON for the console.
    pub async fn hold(&self, mut ask: TrialAsk) -> Result<String, TrialFault> {
        ask.body = marked(&ask.body)?;
        let known = self.live.take().is_some_and(|live| live.door(&ask.partner).is_some());
        if !known {
            return Err(TrialFault::Partner(ask.partner));
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let outlet = turn.checked_rem(self.outlets.len()).and_then(|at| self.outlets.get(at));
        let (told, answer) = oneshot::channel();
        outlet
            .ok_or(TrialFault::Busy)?
            .try_send(Trial { ask, told })
            .map_err(|_| TrialFault::Busy)?;
        let answer = timeout(self.time, answer).await.map_err(|_| TrialFault::Slow(self.time))?;
        // the worker ends under it: the process stops
        answer.map(|trialled| shown(&trialled)).map_err(|_| TrialFault::Busy)
    }
}

fn shown(trialled: &Trialled) -> String {
    let Trialled { worker, generation, took, told } = trialled;
    let answer = serde_json::from_slice::<Value>(&told.content).unwrap_or_default();
    json!({
        "worker": worker,
        "generation": generation,
        "took_ms": took.as_micros() as f64 / 1000.0,
        "status": told.status,
        "reason": told.reason,
        "answer": answer,
    })
    .to_string()
}

/// Holds what comes in, one after the other, until the control side is gone.
pub async fn serve<R: Road>(mut inbox: mpsc::Receiver<Trial>, seat: TrialSeat<R>) {
    let worker = seat.worker;
    let mut serial = SERIALS;
    while let Some(Trial { ask, told }) = inbox.recv().await {
        serial = serial.wrapping_add(1);
        let at = clock::monotonic();
        let (generation, verdict, styles) = seat.walk(ask, at, serial).await;
        let took = clock::monotonic().saturating_duration_since(at);
        let reply = Replier::new(1).verdict(verdict, styles, Table::default());
        // Nobody waits any more where the operator has gone.
        let _ = told.send(Trialled { worker, generation, took, told: reply::told(&reply) });
    }
}

impl<R: Road> TrialSeat<R> {
    /// The generation that decided, what it decided, and how the partner would be told.
    async fn walk(&self, ask: TrialAsk, at: Instant, serial: u64) -> (u64, Verdict, Styles) {
        // not kept: it would hold back a replaced snapshot
        let Some(snapshot) = self.live.latest().take() else {
            return (0, Verdict::Refused(Refusal::NotReady), Styles::default());
        };
        let generation = snapshot.generation;
        let known = snapshot.door(&ask.partner).map(|door| door.id);
        let Some((id, partner)) = known.and_then(|id| Some((id, snapshot.partner(id)?))) else {
            return (generation, Verdict::Refused(Refusal::Unauthorised), Styles::default());
        };
        let styles = Styles { no_bid: partner.no_bid, shed: partner.shed };
        if ask.body.len() > self.body_bytes_max {
            return (generation, Verdict::Refused(Refusal::BodyTooLarge), styles);
        }
        let client = ask.client.unwrap_or(CLIENT);
        let (wall, correlation) = (clock::wall(), Mint::new().correlate(None, None));
        let partner = id;
        let arrival = Arrival {
            at,
            wall,
            client,
            partner,
            serial,
            correlation,
            is_trial: true,
            is_replay: false,
            browser: BrowserSignals::default(),
        };
        let (road, body) = (Rc::clone(&self.road), Body(ask.body));
        // in a task of its own: a panic ends there, and a drain waits for it
        let walked =
            self.tasks.spawn(async move { road.hold(snapshot, arrival, body).await.verdict });
        (generation, walked.await.unwrap_or(Verdict::Refused(Refusal::Panic)), styles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_becomes_a_test_and_keeps_every_other_byte() {
        for (body, expected) in [
            (r#"{"id":"1"}"#, Some(r#"{"test":1,"id":"1"}"#)),
            ("{}", Some(r#"{"test":1}"#)),
            (" \n{ \"id\" : 1 }\n", Some(" \n{\"test\":1, \"id\" : 1 }\n")),
            (r#"{"id":"1","test":1}"#, Some(r#"{"id":"1","test":1}"#)),
            // one below the root is another
            (r#"{"ext":{"test":0}}"#, Some(r#"{"test":1,"ext":{"test":0}}"#)),
            ("\u{feff}{\"id\":\"1\"}", Some(r#"{"test":1,"id":"1"}"#)),
            (
                r#"{"n":1e2,"big":18446744073709551617}"#,
                Some(r#"{"test":1,"n":1e2,"big":18446744073709551617}"#),
            ),
            (r#"{"test":0}"#, None),
            (r#"{"test":true}"#, None),
            (r#"{"test":"1"}"#, None),
            (r#"{"test":null}"#, None),
            (r#"{"test":1,"test":0}"#, None),
            ("[1]", None),
            ("[\"test\",1]", None),
            ("", None),
            ("{", None),
            ("{\"id\":1} x", None),
        ] {
            let got = marked(&Bytes::from(body)).ok();
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{body}");
        }
        // as whoever typed it can find it
        let fault = marked(&Bytes::from("{\n \"id\": }")).unwrap_err().to_string();
        assert!(fault.contains("line 2"), "{fault}");
    }

    #[test]
    fn a_request_that_nests_without_end_is_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(marked(&Bytes::from(deep)).is_err());
    }
}
