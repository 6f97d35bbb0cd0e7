//! All cells of the process, and the adding up.
//!
//! Owns: [`Hub`], one a process; [`Sample`], one number with its labels. Never: a text format.
//! Invariant: samples come in the order of the table, those of one instrument together; a pair
//! of labels shows up with its first count and stays.

mod process;

use super::books::BooksState;
use super::budget::Budget;
use super::cells::{Beside, BidderBlock, PartnerBlock, WorkerBlock, WorkerCells};
use super::histogram::{Counts, Histogram, Scale};
use super::meter::Meter;
use super::meters as m;
use super::notices::NoticeState;
use super::slots::Slots;
use super::spans::TraceRoad;
use super::stages::Stage;
use crate::negatives::no_answer::NoAnswer;
use crate::negatives::not_called::NotCalled;
use crate::negatives::refusal::Refusal;
use crate::negatives::rejection::Rejection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How much is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Partners with numbers of their own (1 to 10,000); more share `other`. A name keeps its
    /// place until the process ends.
    pub partners_max: u16,
    /// The same for bidders.
    pub bidders_max: u16,
    /// Log lines a second about single requests: refusals, and as many about bidders' calls that
    /// failed (0 to 1,000, of the process).
    pub lines_per_second_max: u32,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { partners_max: 1_024, bidders_max: 1_024, lines_per_second_max: 5 }
    }
}

/// All cells of the process.
#[derive(Debug)]
pub struct Hub {
    workers: Vec<Arc<WorkerBlock>>,
    partners: Slots,
    bidders: Slots,
    leniencies: &'static [&'static str],
    lines_per_second_max: u32,
    accept_faults: [AtomicU64; m::ACCEPT_FAULTS.len()],
    traces: Option<TraceRoad>,
    traces_sent: AtomicU64,
    traces_lost: AtomicU64,
}

/// Why a connection was turned away before a worker saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFault {
    /// No file descriptor was left.
    NoDescriptor,
    /// As many connections are open as may be.
    TooMany,
    Other,
}

/// What the control side knows of the process at the moment of a reading.
#[derive(Clone, Debug, Default)]
pub struct ProcessState {
    /// Wall clock, since the Unix epoch.
    pub now: Duration,
    pub started: Duration,
    pub version: &'static str,
    /// 0: no snapshot yet.
    pub generation: u64,
    pub listeners: Vec<ListenerState>,
    pub databases: Vec<DatabaseState>,
    /// How old the exchange rates are, where that is known, and whether that is too old.
    pub rates: Option<(Duration, bool)>,
    pub is_degraded: bool,
    pub sources: Vec<SourceState>,
    pub capture: CaptureState,
    pub memory: MemoryNumbers,
    pub silent: Vec<SilentState>,
    pub notices: NoticeState,
    /// `None`: there is no journal.
    pub books: Option<BooksState>,
    pub log_lines_dropped: u64,
}

/// The memory of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryNumbers {
    pub used: u64,
    /// 0: there is none.
    pub limit: u64,
    /// 0 to 3.
    pub pressure: u8,
}

/// One bidder that was wanted.
#[derive(Clone, Debug)]
pub struct SilentState {
    pub bidder: Arc<str>,
    /// Since the first call that got no answer; zero after any answer.
    pub silent: Duration,
    /// Auctions without its bids since then.
    pub auctions: u64,
    /// For longer than is tolerated.
    pub is_long: bool,
}

/// How often a bidder was wanted, and answered.
#[derive(Clone, Debug)]
pub struct BidderVoice {
    pub name: Arc<str>,
    /// Calls, and auctions in which it was not called for its faults before or its network's time.
    pub wanted: u64,
    /// With bids, or without any.
    pub answers: u64,
}

/// What the recording of traffic has come to.
#[derive(Clone, Debug, Default)]
pub struct CaptureState {
    /// Written, by why they were kept.
    pub records: Vec<(&'static str, u64)>,
    pub dropped: Vec<(&'static str, u64)>,
    pub bytes: u64,
    pub files: u64,
    pub queued: u64,
}

/// One bound socket.
#[derive(Clone, Debug)]
pub struct ListenerState {
    pub name: &'static str,
    pub backlog_asked: u32,
    pub backlog_effective: u32,
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// Of its network namespace, where the kernel says.
    pub overflows_and_drops: Option<(u64, u64)>,
}

/// One loaded database that says when it was built.
#[derive(Clone, Debug)]
pub struct DatabaseState {
    pub name: String,
    /// Since the Unix epoch.
    pub built: Duration,
}

/// Something that is reloaded by itself.
#[derive(Clone, Debug)]
pub struct SourceState {
    pub name: &'static str,
    /// When what is in force was taken, since the Unix epoch.
    pub taken: Duration,
    /// How often which result came.
    pub results: Vec<(&'static str, u64)>,
    /// Whether the last state that was seen was not taken; `None`: it is tried as a part of
    /// something else.
    pub is_refused: Option<bool>,
}

/// One number.
#[derive(Debug)]
pub struct Sample<'a> {
    pub meter: &'static Meter,
    /// Values of the meter's labels, in their order.
    pub labels: &'a [&'a str],
    pub value: Value<'a>,
}

/// A number's kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Whole(u64),
    Real(f64),
    Buckets(&'a Counts),
}

impl Hub {
    /// Cells for so many workers; `leniencies` names the fields that may be read leniently.
    pub fn new(
        workers: usize,
        settings: TelemetrySettings,
        leniencies: &'static [&'static str],
    ) -> Self {
        let partners = Slots::new(settings.partners_max);
        let bidders = Slots::new(settings.bidders_max);
        let block = || WorkerBlock::new(partners.capacity(), bidders.capacity(), leniencies.len());
        Self {
            workers: (0..workers).map(|_| Arc::new(block())).collect(),
            partners,
            bidders,
            leniencies,
            lines_per_second_max: settings.lines_per_second_max,
            accept_faults: [const { AtomicU64::new(0) }; m::ACCEPT_FAULTS.len()],
            traces: None,
            traces_sent: AtomicU64::new(0),
            traces_lost: AtomicU64::new(0),
        }
    }

    /// The same, with traces going this way; before any worker's handle is taken.
    #[must_use]
    pub fn with_traces(self, road: Option<TraceRoad>) -> Self {
        Self { traces: road, ..self }
    }

    /// The handle of a worker; to be given to its thread, once.
    pub fn worker(&self, worker: usize) -> Option<WorkerCells> {
        let tracer = self.traces.as_ref().map(TraceRoad::tracer);
        let lines = || Budget::share(self.lines_per_second_max, self.workers.len());
        let beside = Beside { tracer, refusals: lines(), calls: lines() };
        self.workers.get(worker).map(|block| WorkerCells::new(Arc::clone(block), beside))
    }

    /// So many traces were sent; whether they arrived.
    pub fn traces_sent(&self, count: u64, is_there: bool) {
        let cell = if is_there { &self.traces_sent } else { &self.traces_lost };
        cell.fetch_add(count, Ordering::Relaxed);
    }

    /// Slots of partner names.
    pub fn partners(&self) -> &Slots {
        &self.partners
    }

    /// Slots of bidder names.
    pub fn bidders(&self) -> &Slots {
        &self.bidders
    }

    /// A connection was turned away; any acceptor may say so.
    pub fn accept_fault(&self, why: AcceptFault) {
        if let Some(cell) = self.accept_faults.get(why as usize) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was heard of each bidder so far.
    pub fn voices(&self) -> Vec<BidderVoice> {
        let voice = |(slot, name): (usize, Arc<str>)| {
            let mut voice = BidderVoice { name, wanted: 0, answers: 0 };
            for block in self.bidder_blocks(slot) {
                let calls = |index| block.calls.get(index);
                let ends = m::CALL_ENDS.len() + NoAnswer::ALL.len();
                voice.wanted += (0..ends).map(calls).sum::<u64>();
                voice.answers += calls(0) + calls(m::CALL_ENDS.len() + NoAnswer::NoBid.index());
            }
            for shut in [NotCalled::BreakerOpen, NotCalled::RoundTrip].map(NotCalled::index) {
                let counts = self.workers.iter().map(|one| one.not_called.get(shut, slot));
                voice.wanted += counts.sum::<u64>();
            }
            voice
        };
        let voices = self.bidders.names().into_iter().enumerate().map(voice);
        voices.filter(|voice| voice.wanted > 0).collect()
    }

    /// Gives every number to `sink`.
    pub fn collect(&self, process: &ProcessState, sink: &mut dyn FnMut(&Sample<'_>)) {
        self.collect_partners(sink);
        self.collect_bidders(sink);
        self.collect_times(sink);
        self.collect_workers(sink);
        self.collect_process(process, sink);
    }

    fn collect_partners(&self, sink: &mut dyn FnMut(&Sample<'_>)) {
        let names = self.partners.names();
        let refusals = Refusal::ALL.iter().map(|why| why.label());
        let ends: Vec<_> = m::REQUEST_ENDS.iter().copied().chain(refusals.clone()).collect();
        let refusals: Vec<_> = refusals.collect();
        let mut by_partner = |meter, words: &[&str], read: &dyn Fn(&PartnerBlock, usize) -> u64| {
            for (slot, name) in names.iter().enumerate() {
                let blocks: Vec<_> = self.partner_blocks(slot).collect();
                for (index, word) in words.iter().enumerate() {
                    let sum = blocks.iter().map(|block| read(block, index)).sum();
                    emit_counted(sink, meter, &[name, word], sum);
                }
            }
        };
        by_partner(&m::REQUESTS, &ends, &|block, index| block.requests.get(index));
        by_partner(&m::IMPS_REFUSED, &refusals, &|block, index| block.imps_refused.get(index));
        by_partner(&m::LENIENCIES, self.leniencies, &|block, index| {
            block.leniencies.get(index).map_or(0, load)
        });
    }

    fn collect_bidders(&self, sink: &mut dyn FnMut(&Sample<'_>)) {
        type Sink<'s> = &'s mut dyn FnMut(&Sample<'_>);
        type Read<'r> = &'r dyn Fn(&BidderBlock, usize) -> u64;
        let names = self.bidders.names();
        let by_bidder = |sink: Sink<'_>, meter, words: &[&str], read: Read<'_>| {
            for (slot, name) in names.iter().enumerate() {
                let blocks: Vec<_> = self.bidder_blocks(slot).collect();
                for (index, word) in words.iter().enumerate() {
                    let sum = blocks.iter().map(|block| read(block, index)).sum();
                    let labels = [&**name, *word];
                    let used = if word.is_empty() { &labels[..1] } else { &labels[..] };
                    emit_counted(sink, meter, used, sum);
                }
            }
        };
        let no_answers = NoAnswer::ALL.iter().map(|why| why.label());
        let ends: Vec<_> = m::CALL_ENDS.iter().copied().chain(no_answers).collect();
        by_bidder(sink, &m::CALLS, &ends, &|block, index| block.calls.get(index));
        self.collect_not_called(sink);
        by_bidder(sink, &m::LATE, m::LATE_ENDS, &|block, index| block.late.get(index));
        by_bidder(sink, &m::BIDS, &[""], &|block, _| load(&block.bids));
        let rejections: Vec<_> = Rejection::ALL.iter().map(|why| why.label()).collect();
        by_bidder(sink, &m::BIDS_REJECTED, &rejections, &|block, index| block.rejected.get(index));
        by_bidder(sink, &m::WINS, &[""], &|block, _| load(&block.wins));
        self.collect_won(sink);
    }

    /// A price is for a thousand, and in micros.
    fn collect_won(&self, sink: &mut dyn FnMut(&Sample<'_>)) {
        let mut emit = |meter, name: &str, sum: u64| {
            if sum > 0 {
                let value = Value::Real(sum as f64 / 1e9);
                sink(&Sample { meter, labels: &[name], value });
            }
        };
        for (slot, name) in self.bidders.names().iter().enumerate() {
            let won = self.bidder_blocks(slot).map(|block| load(&block.won));
            emit(&m::WON_GROSS, name, won.sum());
        }
        for (slot, name) in self.partners.names().iter().enumerate() {
            let won = self.partner_blocks(slot).map(|block| load(&block.won));
            emit(&m::WON_NET, name, won.sum());
        }
    }

    fn collect_not_called(&self, sink: &mut dyn FnMut(&Sample<'_>)) {
        for (slot, name) in self.bidders.names().iter().enumerate() {
            for why in NotCalled::ALL {
                let counts = self.workers.iter().map(|one| one.not_called.get(why.index(), slot));
                emit_counted(sink, &m::NOT_CALLED, &[name, why.label()], counts.sum());
            }
        }
    }

    fn collect_times(&self, sink: &mut dyn FnMut(&Sample<'_>)) {
        let mut times =
            |meter, labels: &[&str], scale, of: &mut dyn Iterator<Item = &Histogram>| {
                let mut total = Counts::new(scale);
                of.for_each(|one| one.add_to(&mut total));
                if labels.is_empty() || total.count() > 0 {
                    sink(&Sample { meter, labels, value: Value::Buckets(&total) });
                }
            };
        let workers = || self.workers.iter();
        times(&m::AUCTION_SECONDS, &[], Scale::FINE, &mut workers().map(|block| &block.auction));
        times(&m::OWN_SECONDS, &[], Scale::FINE, &mut workers().map(|block| &block.own));
        for stage in Stage::ALL {
            let mut each = workers().filter_map(|block| block.stages.get(stage as usize));
            times(&m::STAGE_SECONDS, &[stage.label()], Scale::FINE, &mut each);
        }
        for (slot, name) in self.bidders.names().iter().enumerate() {
            let mut answers = self.bidder_blocks(slot).map(|block| &block.answer);
            times(&m::ANSWER_SECONDS, &[name], Scale::COARSE, &mut answers);
        }
    }

    fn collect_workers(&self, sink: &mut dyn FnMut(&Sample<'_>)) {
        let seconds = |cell: &AtomicU64| Value::Real(load(cell) as f64 / 1e9);
        let mut by_worker = |meter, read: &dyn Fn(&WorkerBlock) -> Value<'static>| {
            for (number, block) in self.workers.iter().enumerate() {
                sink(&Sample { meter, labels: &[&number.to_string()], value: read(block) });
            }
        };
        by_worker(&m::IN_FLIGHT, &|block| Value::Whole(load(&block.in_flight)));
        by_worker(&m::SHED_PART, &|block| Value::Real(load(&block.shed_ppm) as f64 / 1e6));
        by_worker(&m::CPU_SECONDS, &|block| seconds(&block.cpu_ns));
        by_worker(&m::LAG_SECONDS, &|block| seconds(&block.lag_ns));
        by_worker(&m::CONNECTIONS_ACCEPTED, &|block| Value::Whole(load(&block.accepted)));
        by_worker(&m::CONNECTIONS_CLOSED, &|block| Value::Whole(load(&block.closed)));
        by_worker(&m::CONNECTIONS_OPEN, &|block| {
            // `closed` first: what closes between the two readings must not turn it negative.
            let closed = load(&block.closed);
            Value::Whole(load(&block.accepted).saturating_sub(closed))
        });
    }

    fn partner_blocks(&self, slot: usize) -> impl Iterator<Item = &PartnerBlock> {
        self.workers.iter().filter_map(move |block| block.partners.get(slot)?.get().map(|b| &**b))
    }

    fn bidder_blocks(&self, slot: usize) -> impl Iterator<Item = &BidderBlock> {
        self.workers.iter().filter_map(move |block| block.bidders.get(slot)?.get().map(|b| &**b))
    }
}

fn load(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

fn emit_counted(
    sink: &mut dyn FnMut(&Sample<'_>),
    meter: &'static Meter,
    labels: &[&str],
    sum: u64,
) {
    if sum > 0 {
        sink(&Sample { meter, labels, value: Value::Whole(sum) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bidder_is_wanted_where_its_faults_or_its_network_keep_it_out() {
        let hub = Hub::new(2, TelemetrySettings::default(), &[]);
        for worker in 0..2 {
            let cells = hub.worker(worker).unwrap();
            for why in NotCalled::ALL {
                cells.not_called(hub.bidders().slot(why.label()), why);
            }
            let slot = hub.bidders().slot("late");
            cells.bidder(slot).no_answer(NoAnswer::Late, Duration::from_millis(80));
        }
        let mut voices: Vec<_> = hub
            .voices()
            .into_iter()
            .map(|it| (it.name.to_string(), it.wanted, it.answers))
            .collect();
        voices.sort();
        let expected = ["breaker_open", "late", "round_trip"];
        assert_eq!(voices, expected.map(|name| (name.to_owned(), 2, 0)));
    }
}
