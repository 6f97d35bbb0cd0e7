//! One worker's limits as a request meets them: its partner's rate, then the worker's own room.
//!
//! Owns: [`Gates`], the worker's leases of partner rates (taken anew with each generation), which
//! answers are kept back under overload, the pulse that measures the worker's lag and compares its clocks, and the count of how each request
//! ended.
//! Never: an account (the control side keeps them), a status code.
//! Invariant: each bid request ends in exactly one count, also one whose client does not wait for
//! its answer ([`Owed`]), and so does a stranger's.

use crate::clock::{self, Anchor};
use crate::exchange::Verdict;
use crate::http::hold::Holds;
use crate::http::{Ambiguity, Denial};
use crate::lifecycle::load::Load;
use crate::lifecycle::pressure::Pressure;
use crate::limits::admission::{Admission, AdmissionSettings, Permit};
use crate::limits::rate::RateLease;
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::PartnerId;
use crate::snapshot::Snapshot;
use crate::telemetry::cells::{HttpDenied, WorkerCells};
use crate::telemetry::slots::{Slot, UNKNOWN};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::{Instant as TokioInstant, sleep_until};

/// What gates are made of.
pub struct GatesParts {
    /// Number of the worker.
    pub worker: usize,
    pub admission: AdmissionSettings,
    pub cells: Rc<WorkerCells>,
    pub load: Rc<Load>,
}

/// The limits of one worker.
pub struct Gates {
    worker: usize,
    known: RefCell<Known>,
    admission: Admission,
    holds: Holds,
    settings: AdmissionSettings,
    cells: Rc<WorkerCells>,
    load: Rc<Load>,
    /// Set anew with each pulse.
    anchor: Cell<Anchor>,
}

/// The leases of one generation.
#[derive(Default)]
struct Known {
    generation: u64,
    partners: Vec<(Slot, Option<RateLease>)>,
}

/// The count of one request that was let in. It is made once: by how the request ended, or, dropped
/// before, as one whose client had gone.
#[derive(Debug)]
pub struct Owed {
    gates: Rc<Gates>,
    slot: Slot,
    is_made: Cell<bool>,
}

impl Owed {
    /// The request was walked to its end, and its answer is given.
    pub fn ended(&self, verdict: &Verdict) {
        self.is_made.set(true);
        self.gates.count(self.slot, verdict);
    }

    /// It is turned away after all.
    pub fn refused(&self, refusal: Refusal) {
        self.is_made.set(true);
        self.gates.count_refusal(self.slot, refusal);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if !self.is_made.get() {
            self.gates.cells.partner(self.slot).client_gone();
        }
    }
}

impl fmt::Debug for Gates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gates").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Gates {
    /// Gates that let everything in that is within its rate.
    pub fn new(parts: GatesParts) -> Self {
        Self {
            worker: parts.worker,
            known: RefCell::default(),
            admission: Admission::new(parts.admission, clock::monotonic()),
            holds: Holds::default(),
            settings: parts.admission,
            cells: parts.cells,
            load: parts.load,
            anchor: Cell::new(Anchor::now()),
        }
    }

    /// The wall clock at a moment.
    pub fn wall_at(&self, at: Instant) -> Duration {
        self.anchor.get().wall_at(at)
    }

    /// Memory, the partner's rate, then the worker's room.
    pub fn enter(
        &self,
        snapshot: &Snapshot,
        partner: PartnerId,
        now: Instant,
    ) -> Result<Permit, Refusal> {
        if self.load.pressure.get() >= Pressure::Shed {
            return Err(Refusal::Overload);
        }
        let may = self.with(snapshot, partner, |(_, lease)| {
            lease.as_ref().is_none_or(|lease| lease.try_take(now))
        });
        if may == Some(false) {
            return Err(Refusal::PartnerQps);
        }
        self.admission.try_enter(now).ok_or(Refusal::Overload)
    }

    /// Takes in that a request is turned away. Whether its answer is to be kept back: the worker is
    /// overloaded, and what was asked for cost it something before anything could shed it.
    pub fn is_to_wait(&self, denial: Denial, now: Instant) -> bool {
        is_beyond_shedding(denial) && self.admission.is_to_wait(now)
    }

    /// Keeps an answer back. `false`: its connection is to end with it instead.
    pub async fn hold(&self) -> bool {
        self.holds.hold().await
    }

    /// Where a partner is counted.
    pub fn slot(&self, snapshot: &Snapshot, partner: PartnerId) -> Slot {
        self.with(snapshot, partner, |(slot, _)| *slot).unwrap_or(UNKNOWN)
    }

    /// What is to be counted of a request that is let in.
    pub fn owe(self: &Rc<Self>, slot: Slot) -> Owed {
        Owed { gates: Rc::clone(self), slot, is_made: Cell::new(false) }
    }

    /// Counts how a request ended.
    fn count(&self, slot: Slot, verdict: &Verdict) {
        let cells = self.cells.partner(slot);
        match verdict {
            Verdict::Answered(_) => cells.answered(),
            Verdict::NoBid { rule: None, .. } => cells.no_bid(),
            Verdict::NoBid { rule: Some(refusal), .. } | Verdict::Refused(refusal) => {
                cells.refused(*refusal);
            }
        }
    }

    /// Counts a request that was turned away.
    pub fn count_refusal(&self, slot: Slot, refusal: Refusal) {
        self.cells.partner(slot).refused(refusal);
    }

    /// Counts what is no bid request; a refusal has been counted where it was made.
    pub fn count_denial(&self, denial: Denial) {
        let why = match denial {
            Denial::NoRoute => HttpDenied::NoRoute,
            Denial::Method => HttpDenied::Method,
            Denial::Ambiguous(Ambiguity::Host) => HttpDenied::AmbiguousHost,
            Denial::Ambiguous(Ambiguity::TransferEncoding) => HttpDenied::AmbiguousTransferEncoding,
            Denial::Ambiguous(Ambiguity::BareLineFeed) => HttpDenied::BareLineFeed,
            Denial::TooManyHeaders => HttpDenied::TooManyHeaders,
            Denial::UriTooLong => HttpDenied::UriTooLong,
            Denial::Refused(..) => return,
        };
        self.cells.http_denied(why);
    }

    /// Bytes of answers that may wait for their peers: as many as bodies may have. 0: any number.
    pub fn answer_bytes_max(&self) -> usize {
        self.settings.body_bytes_max
    }

    /// For what else is counted.
    pub fn cells(&self) -> &WorkerCells {
        &self.cells
    }

    /// Measures the lag of the event loop until it is dropped: how late this task runs is how long
    /// a ready request waits.
    pub async fn pulse(self: Rc<Self>) {
        let mut due = clock::monotonic() + self.settings.lag_tick;
        loop {
            sleep_until(TokioInstant::from_std(due)).await;
            self.anchor.set(Anchor::now());
            let now = clock::monotonic();
            let lag = now.saturating_duration_since(due);
            self.admission.observe_lag(now, lag);
            let (in_flight, shed) = (self.admission.in_flight(), self.admission.shed_part());
            self.cells.pulse(lag, self.load.cpu.get(), in_flight, shed);
            due = now + self.settings.lag_tick;
        }
    }

    fn with<T>(
        &self,
        snapshot: &Snapshot,
        partner: PartnerId,
        read: impl FnOnce(&(Slot, Option<RateLease>)) -> T,
    ) -> Option<T> {
        let mut known = self.known.borrow_mut();
        if known.generation != snapshot.generation {
            let leases = snapshot.partner_rates.iter().zip(0..=u16::MAX).map(|(rate, id)| {
                let slot = snapshot.partner_slot(PartnerId(id));
                (slot, rate.as_ref().map(|account| account.lease(self.worker)))
            });
            *known = Known { generation: snapshot.generation, partners: leases.collect() };
        }
        known.partners.get(usize::from(partner.0)).map(read)
    }
}

/// Whether it is answered without having met the worker's room.
const fn is_beyond_shedding(denial: Denial) -> bool {
    match denial {
        Denial::Refused(refusal, _) => {
            matches!(refusal, Refusal::Unauthorised | Refusal::PartnerQps)
        }
        Denial::NoRoute
        | Denial::Method
        | Denial::Ambiguous(_)
        | Denial::TooManyHeaders
        | Denial::UriTooLong => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::hub::{Hub, TelemetrySettings};

    #[test]
    fn who_cannot_be_shed_waits_while_the_worker_is_overloaded_and_no_longer() {
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let admission = AdmissionSettings::default();
        let gates = Gates::new(GatesParts {
            worker: 0,
            admission,
            cells: Rc::new(hub.worker(0).unwrap()),
            load: Rc::default(),
        });
        let denials = [
            (Denial::from(Refusal::PartnerQps), true),
            (Denial::from(Refusal::Unauthorised), true),
            (Denial::NoRoute, true),
            (Denial::Method, true),
            (Denial::Ambiguous(Ambiguity::Host), true),
            // these it has met, or it is our fault
            (Denial::from(Refusal::Overload), false),
            (Denial::from(Refusal::ContentType), false),
            (Denial::from(Refusal::NowhereToBill), false),
        ];
        let mut at = clock::monotonic();
        for lag in [0, 20, 0].map(Duration::from_millis) {
            for _ in 0..1000 {
                at += admission.lag_tick;
                gates.admission.observe_lag(at, lag);
            }
            for (denial, may_wait) in denials {
                let waits = gates.is_to_wait(denial, at);
                assert_eq!(waits, may_wait && !lag.is_zero(), "{denial:?} {lag:?}");
            }
        }
    }
}
