//! The road of one bid request: the only file that knows its order.
//!
//! Owns: [`Exchange`], one a worker, and [`Outcome`]. Never: a status code, a socket, a rule.

pub mod explain;
pub mod respond;

use crate::arrival::{Arrival, Body};
use crate::negatives::refusal::Refusal;
use crate::snapshot::Snapshot;
use bytes::Bytes;
use std::sync::Arc;

/// How a request ended.
#[derive(Debug)]
pub struct Outcome {
    /// Generation of the snapshot that decided.
    pub generation: u64,
    pub verdict: Verdict,
}

/// What the partner is told.
#[derive(Debug)]
pub enum Verdict {
    /// A bid response with at least one bid (or an explanation): JSON.
    Answered(Bytes),
    /// Valid, auctioned or refused by rule, and no win: `nbr` and the request's id as it stood in
    /// JSON (quotes included).
    NoBid { nbr: u16, id_json: Bytes },
    /// Turned away.
    Refused(Refusal),
}

/// The road; lives on one worker.
#[derive(Debug, Default)]
pub struct Exchange {}

impl Exchange {
    /// Takes a request to its end.
    pub async fn hold(&self, snapshot: Arc<Snapshot>, _arrival: Arrival, _body: Body) -> Outcome {
        std::future::ready(()).await;
        Outcome { generation: snapshot.generation, verdict: Verdict::Refused(Refusal::NotReady) }
    }
}
