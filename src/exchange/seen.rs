//! What is noted of a request on its way, for whoever wants to know: a recording, a trace, the
//! times of stages.
//!
//! Owns: [`Seen`]. Never: a choice of what is recorded or traced by chance (that was made before),
//! a wait. Invariant: of a request that nobody wants to know about nothing is noted, and no clock
//! is read for it.

use super::trace::Trace;
use super::{Outcome, Verdict};
use crate::arrival::Arrival;
use crate::bidder::desk::Permit;
use crate::bidder::{Answer, Outgoing};
use crate::clock;
use crate::correlation::{Correlation, TraceParent};
use crate::snapshot::Snapshot;
use crate::telemetry::cells::WorkerCells;
use crate::telemetry::spans::{AuctionSpan, CallSpan};
use crate::telemetry::stages::{Marks, Stage};
use std::time::Duration;

/// One request's.
#[derive(Debug)]
pub struct Seen {
    /// For a recording.
    pub trace: Option<Box<Trace>>,
    marks: Marks,
    is_traced: bool,
    /// When its bidders were asked, after the arrival.
    asked: Duration,
    calls: Vec<CallSpan>,
}

impl Seen {
    /// Of a request whose body has just been read.
    pub fn begin(snapshot: &Snapshot, arrival: &Arrival) -> Self {
        let correlation = &arrival.correlation;
        let is_traced = correlation.is_traced;
        let mut marks = Marks::begin(arrival.at, correlation.is_timed || is_traced);
        marks.end(Stage::Read, clock::monotonic);
        Self {
            trace: Trace::begin(snapshot),
            marks,
            is_traced,
            asked: Duration::ZERO,
            calls: Vec::new(),
        }
    }

    /// It asks to be explained, and may: it is traced as well, where there is room.
    pub fn explained(&mut self, arrival: &Arrival, cells: &WorkerCells) {
        let has_room = || cells.tracer().is_some_and(|tracer| tracer.has_room(arrival.at));
        if !self.is_traced && has_room() {
            self.is_traced = true;
            self.marks = Marks::begin(arrival.at, true);
        }
    }

    /// A stage has ended.
    pub fn end(&mut self, stage: Stage) {
        self.marks.end(stage, clock::monotonic);
    }

    /// The `traceparent` of the call of this number: its span, sent as a trace or not.
    pub fn parent(&self, arrival: &Arrival, number: usize) -> Box<str> {
        let Correlation { trace, span, .. } = arrival.correlation;
        TraceParent { trace, span: span.child(number), is_sampled: self.is_traced }.header().into()
    }

    /// The bidders are asked now.
    pub fn asks(&mut self, arrival: &Arrival, calls: &[(Permit, Outgoing)]) {
        self.end(Stage::Select);
        if self.trace.is_none() && !self.is_traced {
            return;
        }
        self.asked = clock::monotonic().saturating_duration_since(arrival.at);
        if let Some(trace) = &mut self.trace {
            trace.asks(calls, self.asked);
        }
    }

    /// All bidders have ended.
    pub fn heard(&mut self, snapshot: &Snapshot, arrival: &Arrival, answers: &[Answer]) {
        self.end(Stage::Wait);
        if let Some(trace) = &mut self.trace {
            trace.heard(answers);
        }
        if !self.is_traced {
            return;
        }
        let call = |(number, answer): (usize, &Answer)| {
            let bidder = snapshot.bidder(answer.invitation.bidder);
            CallSpan {
                id: arrival.correlation.span.child(number),
                bidder: bidder.map_or_else(String::new, |bidder| bidder.name.clone()),
                began: self.asked,
                took: answer.took,
                status: answer.status,
                result: answer.result.as_ref().map(|read| read.bids.len()).map_err(|why| *why),
            }
        };
        self.calls = answers.iter().enumerate().map(call).collect();
    }

    /// The road was walked to its end.
    pub fn outcome(
        self,
        (snapshot, arrival): (&Snapshot, &Arrival),
        verdict: Verdict,
        cells: &WorkerCells,
    ) -> Outcome {
        cells.stages(&self.marks);
        if self.is_traced {
            let partner = snapshot.partner(arrival.partner);
            cells.traced(AuctionSpan {
                correlation: arrival.correlation.clone(),
                began: arrival.wall,
                took: clock::monotonic().saturating_duration_since(arrival.at),
                generation: snapshot.generation,
                partner: partner.map_or_else(String::new, |partner| partner.name.clone()),
                result: verdict.label(),
                marks: self.marks,
                calls: self.calls,
            });
        }
        let wins = Vec::new();
        Outcome { generation: snapshot.generation, verdict, wins, trace: self.trace }
    }
}
