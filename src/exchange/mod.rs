//! The road of one bid request: the only module that knows its order.
//!
//! Owns: [`Exchange`], one a worker, and [`Outcome`]. Never: a status code, a socket, a rule of a
//! stage. Invariant: a request sees one snapshot from its first step to its last. What it did to
//! bidders and imps is counted here, whether or not its client still waits; how it ended where it is
//! answered.
//!
//! This file is the folder's face: it drives its children, and each other module's one verb.

pub mod explain;
mod record;
pub mod respond;
mod seen;
pub mod sell;
mod story;
pub mod trace;
mod turn;

use crate::admit::limits::Limits;
use crate::admit::{self, Admitted, RefusedImps};
use crate::arrival::{Arrival, Body};
use crate::auction;
use crate::auction::offer::{
    Answered, AuctionInput, AuctionResult, AuctionSettings, BuyRules, SeatRules,
};
use crate::auction::pricing::Pricing;
use crate::bidder::answer::{self, AnswerScratch};
use crate::bidder::desk::{Desk, Permit};
use crate::bidder::fanout::fan_out;
use crate::bidder::roster::{Ask, RosterScratch};
use crate::bidder::shape::{ShapeScratch, ShapeSettings, Subject};
use crate::bidder::{Answer, Outgoing};
use crate::clock;
use crate::deadline::Deadline;
use crate::enrich::{self, EnrichScratch, EnrichSettings};
use crate::facts::Facts;
use crate::journal::handle::Journal;
use crate::money_event::MoneyEvent;
use crate::negatives::no_answer::NoAnswer;
use crate::negatives::not_called::NotCalled;
use crate::negatives::refusal::Refusal;
use crate::notice::plan::{self, Outbox};
use crate::openrtb::codes::nbr;
use crate::openrtb::ids::BidderId;
use crate::partner::Partner;
use crate::privacy;
use crate::request::ValidRequest;
use crate::snapshot::{Held, Snapshot};
use crate::telemetry::cells::WorkerCells;
use crate::telemetry::stages::Stage;
use bytes::Bytes;
use seen::Seen;
use sell::Seller;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use trace::Trace;

/// How a request ended.
#[derive(Debug)]
pub struct Outcome {
    /// Generation of the snapshot that decided.
    pub generation: u64,
    pub verdict: Verdict,
    /// Wins that the answer itself brings about, to be made durable when it is given.
    pub wins: Vec<MoneyEvent>,
    /// What a recording is told; none where nothing is recorded.
    pub trace: Option<Box<Trace>>,
}

/// What the partner is told.
#[derive(Debug)]
pub enum Verdict {
    /// A bid response with at least one bid: JSON.
    Answered(Bytes),
    /// Valid, and no win: `nbr`, the request's id as it stood in JSON (quotes included), the rule by
    /// which no bidder was asked, where there is one, and its explanation, where that was wanted:
    /// a JSON object for `ext`.
    NoBid { nbr: u16, id_json: Bytes, rule: Option<Refusal>, ext: Option<Bytes> },
    /// Turned away.
    Refused(Refusal),
}

/// Limits of the stages.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExchangeSettings {
    pub limits: Limits,
    pub enrich: EnrichSettings,
    pub shape: ShapeSettings,
    pub auction: AuctionSettings,
}

/// The road; lives on one worker.
#[derive(Debug)]
pub struct Exchange {
    settings: ExchangeSettings,
    desk: Rc<Desk>,
    cells: Rc<WorkerCells>,
    scratch: RefCell<Scratch>,
    /// Of this process and worker: what ids of sales are cut from.
    secret: [u8; 32],
    /// Where auctions are recorded; `None`: nowhere.
    journal: Option<Journal>,
    outbox: Option<Outbox>,
}

/// Buffers that each request uses in turn; never borrowed across a wait.
#[derive(Debug)]
struct Scratch {
    admit: admit::Scratch,
    enrich: EnrichScratch,
    roster: RosterScratch,
    shape: ShapeScratch,
    answer: AnswerScratch,
}

/// A request on its way to the bidders, with all that is needed when they have answered.
struct Asked {
    request: ValidRequest,
    refused_imps: RefusedImps,
    facts: Facts,
    deadline: Deadline,
    not_called: Vec<(BidderId, NotCalled)>,
}

/// What came of asking.
struct Settled<'a> {
    answers: &'a [Answer],
    /// Those of them that can be auctioned.
    answered: &'a [Answered<'a>],
    result: &'a AuctionResult,
    pricing: Pricing<'a>,
}

/// A request that ends before any bidder is asked.
enum Early {
    Refused(Refusal),
    /// Valid, and refused by a rule for the traffic: the partner gets a no-bid.
    NoBid {
        id_json: Bytes,
        rule: Refusal,
        ext: Option<Bytes>,
    },
}

/// What is known when a rule stops a request.
#[derive(Clone, Copy)]
struct Stop<'a> {
    snapshot: &'a Snapshot,
    partner: &'a Partner,
    arrival: &'a Arrival,
    refused_imps: &'a RefusedImps,
}

impl Verdict {
    /// For traces: how the request ended.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::NoBid { rule: None, .. } => "no_bid",
            Self::NoBid { rule: Some(refusal), .. } | Self::Refused(refusal) => refusal.label(),
        }
    }
}

impl Exchange {
    /// On the worker's own thread.
    ///
    /// # Panics
    /// Where the system gives no random numbers.
    pub fn new(settings: ExchangeSettings, desk: Rc<Desk>, cells: Rc<WorkerCells>) -> Self {
        let scratch = Scratch {
            admit: admit::Scratch::new(&settings.limits),
            enrich: EnrichScratch::new(&settings.enrich),
            roster: RosterScratch::default(),
            shape: ShapeScratch::new(settings.shape),
            answer: AnswerScratch::new(settings.limits.depth_max),
        };
        let mut secret = [0; 32];
        // without it ids could be guessed, and two processes could give the same: better not to serve
        aws_lc_rs::rand::fill(&mut secret).expect("the system gives random numbers");
        Self {
            settings,
            desk,
            cells,
            scratch: RefCell::new(scratch),
            secret,
            journal: None,
            outbox: None,
        }
    }

    /// Records its auctions there.
    #[must_use]
    pub fn recording_in(self, journal: Option<Journal>) -> Self {
        Self { journal, ..self }
    }

    /// Leaves the notices of bids that lost there; without it they get none.
    #[must_use]
    pub fn with_outbox(mut self, outbox: Outbox) -> Self {
        self.outbox = Some(outbox);
        self
    }

    /// Forgets all look-ups, and remembers an eighth of them while memory is short.
    pub fn remember(&self, is_short: bool) {
        let all = self.settings.enrich;
        let few = EnrichSettings {
            geo_cache_entries: all.geo_cache_entries.div_ceil(8),
            device_cache_entries: all.device_cache_entries.div_ceil(8),
        };
        let enrich = EnrichScratch::new(if is_short { &few } else { &all });
        self.scratch.borrow_mut().enrich = enrich;
    }

    /// Takes a request to its end.
    pub async fn hold(&self, snapshot: Held, arrival: Arrival, body: Body) -> Outcome {
        let generation = snapshot.generation;
        let Some(partner) = snapshot.partner(arrival.partner) else {
            let verdict = Verdict::Refused(Refusal::Unauthorised);
            return Outcome { generation, verdict, wins: Vec::new(), trace: None };
        };
        let mut seen = Seen::begin(&snapshot, &arrival);
        let mut wins = Vec::new();
        let verdict = match self.ask(&snapshot, partner, &arrival, body, &mut seen) {
            Ok((asked, calls)) => {
                if !calls.is_empty() {
                    turn::step_aside().await;
                }
                seen.asks(&arrival, &calls);
                let answers = self.await_bidders(&asked, &snapshot, calls, &mut seen.trace).await;
                seen.heard(&snapshot, &arrival, &answers);
                let settled =
                    self.settle((&snapshot, partner), &arrival, asked, answers, &mut seen);
                wins = settled.1;
                settled.0
            }
            Err(Early::Refused(refusal)) => Verdict::Refused(refusal),
            Err(Early::NoBid { id_json, rule, ext }) => {
                Verdict::NoBid { nbr: rule.nbr(), id_json, rule: Some(rule), ext }
            }
        };
        Outcome { wins, ..seen.outcome((&snapshot, &arrival), verdict, &self.cells) }
    }

    /// From bytes to the bytes for each bidder.
    fn ask(
        &self,
        snapshot: &Snapshot,
        partner: &Partner,
        arrival: &Arrival,
        body: Body,
        seen: &mut Seen,
    ) -> Result<(Asked, Vec<(Permit, Outgoing)>), Early> {
        let scratch = &mut *self.scratch.borrow_mut();
        let rates = snapshot.rates_at(arrival.wall);
        let admitted =
            admit::admit(body, partner, &self.settings.limits, rates, &mut scratch.admit)
                .map_err(Early::Refused)?;
        record::admitted(&self.cells, snapshot, arrival.partner, &admitted);
        let Admitted { mut request, refused_imps, .. } = admitted;
        request.view.is_test |= arrival.is_replay;
        if explain::is_wanted(&request, partner, arrival.is_trial) {
            seen.explained(arrival, &self.cells);
        }
        let stop = Stop { snapshot, partner, arrival, refused_imps: &refused_imps };

        seen.end(Stage::Admit);
        let now = clock::monotonic();
        let tmax = request.view.tmax_ms;
        let Some(deadline) = Deadline::new(arrival.at, now, tmax, &partner.deadline) else {
            return Err(stop.by(Refusal::NoTimeLeft, (request, None), &mut scratch.admit));
        };
        let client = partner.is_direct.then_some(arrival.client);
        let databases = &snapshot.databases;
        let mut facts =
            enrich::facts(&request, client, databases, &mut scratch.enrich, arrival.wall);
        facts.browser = arrival.browser;
        if let Err(refusal) = enrich::traffic(&request, &facts, partner) {
            return Err(stop.by(refusal, (request, Some(&facts)), &mut scratch.admit));
        }
        let consent = privacy::decide(&request, &facts, &snapshot.privacy);
        if let Some(trace) = &mut seen.trace {
            trace.known(&request, &facts, consent);
        }
        seen.end(Stage::Enrich);
        let ruling = snapshot.floors.ask(&request, &facts, arrival.partner);
        let pricing = &Pricing::new(&request, partner, rates, &ruling);
        let ask =
            Ask { request: &request, facts: &facts, consent, partner: arrival.partner, pricing };
        let roll = snapshot.roster.eligible(&ask, &mut scratch.roster);
        let mut not_called =
            Vec::with_capacity(roll.not_called.len().saturating_add(roll.invitations.len()));
        not_called.extend_from_slice(roll.not_called);

        let disclosure = consent.disclosure();
        let table = self.desk.table(snapshot.generation, &snapshot.bidders, now);
        let mut shaper =
            scratch.shape.begin(Subject { request: &request, facts: &facts, partner, pricing });
        let mut calls = Vec::with_capacity(roll.invitations.len());
        for invitation in roll.invitations {
            let id = invitation.bidder;
            let Some(bidder) = snapshot.bidder(id) else { continue };
            let left = deadline.left(now);
            let call = table.admit(id, now, left).and_then(|permit| {
                let tmax_ms = bidder.time.tmax_ms(left, permit.round_trip);
                let mut packet = self.desk.shelves.packet();
                shaper.shape(invitation, bidder, disclosure, tmax_ms, packet.body_mut())?;
                let parent = bidder.wire.tells_trace.then(|| seen.parent(arrival, calls.len()));
                Ok((permit, Outgoing { invitation: *invitation, packet, parent }))
            });
            match call {
                Ok(call) => calls.push(call),
                Err(reason) => not_called.push((id, reason)),
            }
        }
        Ok((Asked { request, refused_imps, facts, deadline, not_called }, calls))
    }

    /// All bidders at once, until the deadline; their answers are read as they come.
    async fn await_bidders(
        &self,
        asked: &Asked,
        snapshot: &Snapshot,
        calls: Vec<(Permit, Outgoing)>,
        trace: &mut Option<Box<Trace>>,
    ) -> Vec<Answer> {
        let request_id = asked.request.text(asked.request.view.id);
        fan_out(&self.desk, calls, asked.deadline.at(), |invitation, raw| {
            let limits = &snapshot.bidder(invitation.bidder).ok_or(NoAnswer::Broken)?.limits;
            if let Some(trace) = trace {
                trace.hears(invitation.bidder, raw, limits.body_bytes_max);
            }
            let scratch = &mut self.scratch.borrow_mut().answer;
            answer::read_encoded(raw, request_id, limits, scratch)
        })
        .await
    }

    /// From the bidders' answers to ours, and to the wins that follow from it.
    fn settle(
        &self,
        (snapshot, partner): (&Snapshot, &Partner),
        arrival: &Arrival,
        asked: Asked,
        answers: Vec<Answer>,
        seen: &mut Seen,
    ) -> (Verdict, Vec<MoneyEvent>) {
        let answered: Vec<Answered> =
            answers.iter().filter_map(|answer| as_answered(snapshot, answer)).collect();
        let rates = snapshot.rates_at(arrival.wall);
        let ruling = snapshot.floors.ask(&asked.request, &asked.facts, arrival.partner);
        let result = auction::run(&AuctionInput {
            request: &asked.request,
            partner,
            rates,
            rules: &ruling,
            settings: &self.settings.auction,
            answers: &answered,
        });
        seen.end(Stage::Auction);
        let pricing = Pricing::new(&asked.request, partner, rates, &ruling);
        let settled = Settled { answers: &answers, answered: &answered, result: &result, pricing };
        let seller = Seller {
            partner,
            bidders: &snapshot.bidders,
            hides_prices: answers.iter().any(|answer| {
                let bidder = snapshot.bidder(answer.invitation.bidder);
                bidder.is_some_and(|bidder| bidder.notices.price_keys.is_some())
            }),
            issuer: snapshot.issuer.as_deref().filter(|_| !arrival.is_trial),
            secret: &self.secret,
            serial: arrival.serial,
            generation: snapshot.generation,
            wall: arrival.wall,
        };
        let verdict = verdict(snapshot, arrival, &asked, &settled, seller);
        let wins = seller.won(&asked.request, &answered, &result);

        seen.end(Stage::Respond);
        let whole = clock::monotonic().saturating_duration_since(arrival.at);
        self.cells.auction(whole, whole.saturating_sub(slowest(&answers)));
        record::failed(&self.cells, snapshot, arrival, &answers);
        record::settled(&self.cells, snapshot, &asked.not_called, &settled);
        if !asked.request.view.is_test {
            record::won(&self.cells, snapshot, arrival.partner, &asked.request, &result);
        }
        // a test is no auction that anybody is paid for
        if let Some(journal) =
            self.journal.as_ref().filter(|_| !asked.request.view.is_test && !arrival.is_trial)
        {
            record::keep(journal, (snapshot, partner), (arrival, whole), &asked, &settled);
        }
        if let Some(outbox) =
            self.outbox.as_ref().filter(|_| !asked.request.view.is_test && !arrival.is_trial)
        {
            outbox.offer(plan::losses(&asked.request, &answered, &result));
        }
        let scratch = &mut *self.scratch.borrow_mut();
        scratch.admit.recycle(asked.request);
        let read = answers.into_iter().filter_map(|answer| answer.result.ok());
        read.for_each(|answer| scratch.answer.recycle(answer));
        (verdict, wins)
    }
}

impl Stop<'_> {
    /// The end of a request by a rule, explained where it asks for that and its partner may.
    fn by(
        self,
        rule: Refusal,
        (request, facts): (ValidRequest, Option<&Facts>),
        scratch: &mut admit::Scratch,
    ) -> Early {
        let id_json = Bytes::copy_from_slice(respond::id_json(&request));
        let ext = explain::is_wanted(&request, self.partner, self.arrival.is_trial).then(|| {
            Bytes::from(explain::stopped(&explain::Stopped {
                generation: self.snapshot.generation,
                browser: facts.and_then(|_| enrich::browser(&request, &self.snapshot.databases)),
                facts,
                took: clock::monotonic().saturating_duration_since(self.arrival.at),
                imps_refused: self.refused_imps,
                rule,
            }))
        });
        scratch.recycle(request);
        Early::NoBid { id_json, rule, ext }
    }
}

/// What the partner is told of an auction.
fn verdict(
    snapshot: &Snapshot,
    arrival: &Arrival,
    asked: &Asked,
    settled: &Settled<'_>,
    seller: Seller<'_>,
) -> Verdict {
    let explanation = explain::is_wanted(&asked.request, seller.partner, arrival.is_trial)
        .then(|| story::tell(snapshot, arrival, asked, settled, clock::monotonic()));
    if settled.result.wins.is_empty() {
        let id_json = Bytes::copy_from_slice(respond::id_json(&asked.request));
        let ext = explanation.map(Bytes::from);
        return Verdict::NoBid { nbr: nbr::UNKNOWN_ERROR, id_json, rule: None, ext };
    }
    let arrived_us = u64::try_from(arrival.wall.as_micros()).unwrap_or(u64::MAX);
    Verdict::Answered(Bytes::from(respond::write(&respond::Response {
        request: &asked.request,
        answers: settled.answered,
        result: settled.result,
        bidid: (arrived_us, arrival.serial),
        ext: explanation.as_deref(),
        seller,
    })))
}

/// A bidder that takes part in the auction: one that sent bids.
fn as_answered<'a>(snapshot: &'a Snapshot, answer: &'a Answer) -> Option<Answered<'a>> {
    let bidder = snapshot.bidder(answer.invitation.bidder)?;
    Some(Answered {
        bidder: answer.invitation.bidder,
        name: &bidder.name,
        seats: SeatRules {
            allowed: &bidder.seats.allowed,
            blocked: &bidder.seats.blocked,
            default: bidder.seats.default.as_deref(),
        },
        buys: BuyRules {
            deals: &bidder.targeting.deals,
            is_deal_only: bidder.targeting.is_deal_only,
            media: bidder.targeting.media,
        },
        currency: bidder.wire.currency,
        imps: answer.invitation.imps.0,
        answer: answer.result.as_ref().ok()?,
    })
}

/// The time that nobody can be blamed for but the bidders: that of the slowest awaited one.
fn slowest(answers: &[Answer]) -> Duration {
    answers.iter().map(|answer| answer.took).max().unwrap_or_default()
}
