//! Where a worker counts.
//!
//! Owns: [`WorkerCells`], a worker's handle, and the typed methods that fill cells, so that no
//! caller can pair a number with a wrong label. Never: a sum over workers, a text.
//!
//! Invariant: the cells of a worker are written by its thread alone; everybody may read them.
//! A partner's or bidder's block comes into being with its first number.

use super::budget::Budget;
use super::histogram::{Histogram, Scale};
use super::meters::{
    CALL_ENDS, CONNECTION_CUTS, EVENT_ENDS, EVENT_REJECTIONS, EVENTS, HTTP_DENIALS, REQUEST_ENDS,
};
use super::row::{Row, Table, bump};
use super::slots::Slot;
use super::spans::{AuctionSpan, Tracer};
use super::stages::{Marks, Stage};
use crate::money_event::EventType;
use crate::negatives::no_answer::NoAnswer;
use crate::negatives::not_called::NotCalled;
use crate::negatives::refusal::Refusal;
use crate::negatives::rejection::Rejection;
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One worker's cells of one partner.
#[derive(Debug)]
#[repr(align(128))]
pub struct PartnerBlock {
    pub(super) requests: Row<{ REQUEST_ENDS.len() + Refusal::ALL.len() }>,
    pub(super) imps_refused: Row<{ Refusal::ALL.len() }>,
    pub(super) leniencies: Box<[AtomicU64]>,
    /// Micros a thousand, added up.
    pub(super) won: AtomicU64,
}

/// One worker's cells of one bidder.
#[derive(Debug)]
#[repr(align(128))]
pub struct BidderBlock {
    pub(super) calls: Row<{ CALL_ENDS.len() + NoAnswer::ALL.len() }>,
    pub(super) rejected: Row<{ Rejection::ALL.len() }>,
    pub(super) late: Row<2>,
    pub(super) bids: AtomicU64,
    pub(super) wins: AtomicU64,
    /// Micros a thousand, added up.
    pub(super) won: AtomicU64,
    pub(super) answer: Histogram,
}

/// All cells of one worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerBlock {
    pub(super) partners: Box<[OnceLock<Box<PartnerBlock>>]>,
    pub(super) bidders: Box<[OnceLock<Box<BidderBlock>>]>,
    /// By reason and bidder: most bidders of an auction are not called, mostly for few reasons.
    pub(super) not_called: Table<{ NotCalled::ALL.len() }>,
    pub(super) auction: Histogram,
    pub(super) own: Histogram,
    pub(super) stages: [Histogram; Stage::ALL.len()],
    pub(super) traces_dropped: AtomicU64,
    pub(super) parents_malformed: AtomicU64,
    pub(super) denied: Row<{ HTTP_DENIALS.len() }>,
    pub(super) cut: Row<{ CONNECTION_CUTS.len() }>,
    /// By event, then by end.
    pub(super) events: Row<{ EVENTS.len() * EVENT_ENDS.len() }>,
    pub(super) event_rejections: Row<{ EVENT_REJECTIONS.len() }>,
    pub(super) accepted: AtomicU64,
    pub(super) closed: AtomicU64,
    /// Newcomers at the cap for whom nobody could go.
    pub(super) no_room: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) cpu_ns: AtomicU64,
    pub(super) lag_ns: AtomicU64,
    /// In millionths.
    pub(super) shed_ppm: AtomicU64,
    fields: usize,
}

/// Why an HTTP request is no bid request, in the order of [`HTTP_DENIALS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HttpDenied {
    NoRoute,
    Method,
    AmbiguousHost,
    AmbiguousTransferEncoding,
    BareLineFeed,
    TooManyHeaders,
    UriTooLong,
    UnreadableHead,
}

/// What became of an event, in the order of [`EVENT_ENDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventEnd {
    New,
    Repeat,
    Refused,
    Busy,
}

/// Why what came is no event, in the order of [`EVENT_REJECTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventRejected {
    Malformed,
    UnknownKey,
    Forged,
    Expired,
    Early,
}

/// Why a connection was cut, in the order of [`CONNECTION_CUTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectionCut {
    /// Headers not complete in time.
    SlowHead,
    /// An answer that the peer does not take.
    SlowReader,
    /// Told to close, and still there after the grace.
    Grace,
    /// At the cap, for a newcomer.
    Evicted,
}

impl ConnectionCut {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; CONNECTION_CUTS.len()] =
        [Self::SlowHead, Self::SlowReader, Self::Grace, Self::Evicted];
}

/// A worker's handle. It may move to its thread, not be shared.
#[derive(Debug)]
pub struct WorkerCells {
    block: Arc<WorkerBlock>,
    beside: Beside,
    not_sync: PhantomData<Cell<()>>,
}

/// What a worker may tell of single requests.
#[derive(Debug)]
pub struct Beside {
    /// Who decides what is traced; `None`: nothing is.
    pub tracer: Option<Tracer>,
    /// Log lines about refusals.
    pub refusals: Budget,
    /// Log lines about calls that failed.
    pub calls: Budget,
}

/// A partner's cells on one worker.
#[derive(Clone, Copy, Debug)]
pub struct PartnerCells<'a>(&'a PartnerBlock);

/// A bidder's cells on one worker.
#[derive(Clone, Copy, Debug)]
pub struct BidderCells<'a>(&'a BidderBlock);

impl WorkerBlock {
    /// Empty, with room for so many slots and leniency fields.
    pub(super) fn new(partners: usize, bidders: usize, fields: usize) -> Self {
        Self {
            partners: (0..partners).map(|_| OnceLock::new()).collect(),
            bidders: (0..bidders).map(|_| OnceLock::new()).collect(),
            not_called: Table::new(bidders),
            auction: Histogram::new(Scale::FINE),
            own: Histogram::new(Scale::FINE),
            stages: [(); Stage::ALL.len()].map(|()| Histogram::new(Scale::FINE)),
            traces_dropped: AtomicU64::new(0),
            parents_malformed: AtomicU64::new(0),
            denied: Row::default(),
            cut: Row::default(),
            events: Row::default(),
            event_rejections: Row::default(),
            accepted: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            no_room: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            lag_ns: AtomicU64::new(0),
            shed_ppm: AtomicU64::new(0),
            fields,
        }
    }

    #[cold]
    fn new_partner(&self) -> Box<PartnerBlock> {
        Box::new(PartnerBlock {
            requests: Row::default(),
            imps_refused: Row::default(),
            leniencies: (0..self.fields).map(|_| AtomicU64::new(0)).collect(),
            won: AtomicU64::new(0),
        })
    }

    #[cold]
    fn new_bidder() -> Box<BidderBlock> {
        Box::new(BidderBlock {
            calls: Row::default(),
            rejected: Row::default(),
            late: Row::default(),
            bids: AtomicU64::new(0),
            wins: AtomicU64::new(0),
            won: AtomicU64::new(0),
            answer: Histogram::new(Scale::COARSE),
        })
    }
}

impl WorkerCells {
    pub(super) fn new(block: Arc<WorkerBlock>, beside: Beside) -> Self {
        Self { block, beside, not_sync: PhantomData }
    }

    /// Who decides what is traced; `None`: nothing is.
    pub fn tracer(&self) -> Option<&Tracer> {
        self.beside.tracer.as_ref()
    }

    /// What may be told of single requests.
    pub fn beside(&self) -> &Beside {
        &self.beside
    }

    /// The trace of one request is complete.
    pub fn traced(&self, span: AuctionSpan) {
        let is_taken = self.tracer().is_some_and(|tracer| tracer.send(span));
        bump(&self.block.traces_dropped, u64::from(!is_taken));
    }

    /// A `traceparent` could not be read.
    pub fn parent_malformed(&self) {
        bump(&self.block.parents_malformed, 1);
    }

    /// What the stages of one request took, where that was measured.
    pub fn stages(&self, marks: &Marks) {
        for (stage, took) in marks.ended() {
            if let Some(histogram) = self.block.stages.get(stage as usize) {
                histogram.record(took);
            }
        }
    }

    /// The cells of a partner.
    #[inline]
    pub fn partner(&self, slot: Slot) -> PartnerCells<'_> {
        let slots = &self.block.partners;
        // A slot comes from the registry that sized the table; the first one is `other`.
        let cell = slots.get(slot.index()).unwrap_or(&slots[0]);
        PartnerCells(cell.get_or_init(|| self.block.new_partner()))
    }

    /// The cells of a bidder.
    #[inline]
    pub fn bidder(&self, slot: Slot) -> BidderCells<'_> {
        let slots = &self.block.bidders;
        let cell = slots.get(slot.index()).unwrap_or(&slots[0]);
        BidderCells(cell.get_or_init(WorkerBlock::new_bidder))
    }

    /// A bidder was not called.
    #[inline]
    pub fn not_called(&self, slot: Slot, why: NotCalled) {
        self.block.not_called.count(why.index(), slot.index());
    }

    /// One auction: its whole time, and that less the wait for the slowest awaited bidder.
    pub fn auction(&self, whole: Duration, own: Duration) {
        self.block.auction.record(whole);
        self.block.own.record(own);
    }

    /// A connection was taken on.
    pub fn connection_opened(&self) {
        bump(&self.block.accepted, 1);
    }

    /// It ended.
    pub fn connection_closed(&self) {
        bump(&self.block.closed, 1);
    }

    /// A newcomer was turned away at the cap.
    pub fn no_room(&self) {
        bump(&self.block.no_room, 1);
    }

    /// An HTTP request was no bid request.
    pub fn http_denied(&self, why: HttpDenied) {
        self.block.denied.count(why as usize);
    }

    /// An event with a good token came to its end.
    pub fn event(&self, event: EventType, end: EventEnd) {
        let row = EventType::ALL.iter().position(|one| *one == event).unwrap_or(0);
        self.block.events.count(row * EVENT_ENDS.len() + end as usize);
    }

    /// What came is no event.
    pub fn event_rejected(&self, why: EventRejected) {
        self.block.event_rejections.count(why as usize);
    }

    /// So many connections were cut.
    pub fn connections_cut(&self, why: ConnectionCut, count: u64) {
        self.block.cut.add(why as usize, count);
    }

    /// The state of the worker, as read by its ticker.
    pub fn pulse(&self, lag: Duration, cpu: Duration, in_flight: u32, shed_part: f64) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0 to 10^6"
        )]
        let shed_ppm = (shed_part.clamp(0.0, 1.0) * 1e6) as u64;
        self.block.lag_ns.store(nanos(lag), Ordering::Relaxed);
        self.block.cpu_ns.store(nanos(cpu), Ordering::Relaxed);
        self.block.in_flight.store(u64::from(in_flight), Ordering::Relaxed);
        self.block.shed_ppm.store(shed_ppm, Ordering::Relaxed);
    }
}

impl PartnerCells<'_> {
    /// A request was answered with at least one bid.
    #[inline]
    pub fn answered(self) {
        self.0.requests.count(0);
    }

    /// A request was auctioned without a win.
    #[inline]
    pub fn no_bid(self) {
        self.0.requests.count(1);
    }

    /// The client of a request did not wait for its answer.
    pub fn client_gone(self) {
        self.0.requests.count(2);
    }

    /// A request was turned away.
    #[inline]
    pub fn refused(self, why: Refusal) {
        self.0.requests.count(REQUEST_ENDS.len() + why.index());
    }

    /// A bid won, of which so many micros a thousand (US dollars) are the partner's.
    #[inline]
    pub fn earned(self, micros: u64) {
        bump(&self.0.won, micros);
    }

    /// One imp of a request was left out.
    #[inline]
    pub fn imp_refused(self, why: Refusal) {
        self.0.imps_refused.count(why.index());
    }

    /// A field was read leniently; its index in the hub's list.
    #[inline]
    pub fn lenient(self, field: usize) {
        if let Some(cell) = self.0.leniencies.get(field) {
            bump(cell, 1);
        }
    }
}

impl BidderCells<'_> {
    /// A call gave bids.
    #[inline]
    pub fn answered(self, took: Duration, bids: u64) {
        self.0.calls.count(0);
        self.0.answer.record(took);
        bump(&self.0.bids, bids);
    }

    /// A call gave nothing usable.
    ///
    /// Its time is recorded where an answer came: a late one's by [`Self::late_read`].
    #[inline]
    pub fn no_answer(self, why: NoAnswer, took: Duration) {
        self.0.calls.count(CALL_ENDS.len() + why.index());
        if why == NoAnswer::NoBid {
            self.0.answer.record(took);
        }
    }

    /// A bid was dropped.
    #[inline]
    pub fn rejected(self, why: Rejection) {
        self.0.rejected.count(why.index());
    }

    /// A bid won.
    #[inline]
    pub fn won(self) {
        bump(&self.0.wins, 1);
    }

    /// A bid won, for so many micros a thousand (US dollars).
    #[inline]
    pub fn owes(self, micros: u64) {
        bump(&self.0.won, micros);
    }

    /// A late answer was read to its end, so long after its call began.
    pub fn late_read(self, took: Duration) {
        self.0.late.count(0);
        self.0.answer.record(took);
    }

    /// A late answer was given up, and its connection with it.
    pub fn late_abandoned(self) {
        self.0.late.count(1);
    }
}
