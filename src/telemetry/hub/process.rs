//! What the hub tells of the process as a whole.
//!
//! Owns: which part of [`ProcessState`] goes into which instrument, and in which order. Never: a
//! worker's counter of requests.

use super::super::books::emit_books;
use super::super::cells::WorkerBlock;
use super::super::meter::Meter;
use super::super::meters as m;
use super::super::notices::emit_notices;
use super::{AcceptFault, Hub, ProcessState, Sample, Value, load};
use std::sync::atomic::AtomicU64;

impl Hub {
    /// What is the process's: its listeners, sources, databases, memory, recording, notices, events.
    pub(super) fn collect_process(
        &self,
        process: &ProcessState,
        sink: &mut dyn FnMut(&Sample<'_>),
    ) {
        let mut emit = |meter: &'static Meter, labels: &[&str], value: Value<'static>| {
            sink(&Sample { meter, labels, value });
        };
        let all =
            |of: fn(&WorkerBlock) -> &AtomicU64| self.workers.iter().map(|b| load(of(b))).sum();
        let no_room: u64 = all(|block| &block.no_room);
        for (at, (why, cell)) in m::ACCEPT_FAULTS.iter().zip(&self.accept_faults).enumerate() {
            let by_workers = if at == AcceptFault::TooMany as usize { no_room } else { 0 };
            emit(&m::ACCEPT_FAULTS_SEEN, &[why], Value::Whole(load(cell) + by_workers));
        }
        let denied = |at| self.workers.iter().map(|block| block.denied.get(at)).sum();
        for (at, why) in m::HTTP_DENIALS.iter().enumerate() {
            emit(&m::HTTP_DENIED, &[why], Value::Whole(denied(at)));
        }
        let cut = |at| self.workers.iter().map(|block| block.cut.get(at)).sum();
        for (at, why) in m::CONNECTION_CUTS.iter().enumerate() {
            emit(&m::CONNECTIONS_CUT, &[why], Value::Whole(cut(at)));
        }
        let dropped = all(|block| &block.traces_dropped);
        let ends = [load(&self.traces_sent), dropped, load(&self.traces_lost)];
        for (end, count) in m::TRACE_ENDS.iter().zip(ends) {
            emit(&m::TRACES, &[end], Value::Whole(count));
        }
        emit(&m::PARENTS_MALFORMED, &[], Value::Whole(all(|block| &block.parents_malformed)));
        for listener in &process.listeners {
            let sizes = [listener.backlog_asked, listener.backlog_effective];
            for (word, size) in m::BACKLOGS.iter().zip(sizes) {
                emit(&m::BACKLOG, &[listener.name, word], Value::Whole(u64::from(size)));
            }
        }
        for listener in &process.listeners {
            emit(&m::QUEUE, &[listener.name], Value::Whole(u64::from(listener.waiting)));
        }
        // the kernel counts them for the network namespace: once, however many listeners
        let lost = process.listeners.iter().find_map(|listener| listener.overflows_and_drops);
        if let Some((overflows, drops)) = lost {
            emit(&m::LISTEN_OVERFLOWS, &[], Value::Whole(overflows));
            emit(&m::LISTEN_DROPS, &[], Value::Whole(drops));
        }
        emit(&m::GENERATION, &[], Value::Whole(process.generation));
        emit(&m::DEGRADED, &[], Value::Whole(u64::from(process.is_degraded)));
        for source in &process.sources {
            for (result, count) in &source.results {
                emit(&m::RELOADS, &[source.name, result], Value::Whole(*count));
            }
        }
        for source in &process.sources {
            if let Some(is_refused) = source.is_refused {
                emit(&m::REFUSED, &[source.name], Value::Whole(u64::from(is_refused)));
            }
        }
        for source in &process.sources {
            emit(&m::RELOADED, &[source.name], Value::Whole(source.taken.as_secs()));
        }
        for base in &process.databases {
            emit(&m::DATABASE_BUILT, &[&base.name], Value::Whole(base.built.as_secs()));
        }
        for base in &process.databases {
            let age = process.now.saturating_sub(base.built).as_secs();
            emit(&m::DATABASE_AGE, &[&base.name], Value::Whole(age));
        }
        self.collect_state(process, sink);
    }

    fn collect_state(&self, process: &ProcessState, sink: &mut dyn FnMut(&Sample<'_>)) {
        let mut emit = |meter: &'static Meter, labels: &[&str], value: Value<'static>| {
            sink(&Sample { meter, labels, value });
        };
        let memory = process.memory;
        emit(&m::MEMORY_USED, &[], Value::Whole(memory.used));
        emit(&m::MEMORY_LIMIT, &[], Value::Whole(memory.limit));
        emit(&m::MEMORY_PRESSURE, &[], Value::Whole(u64::from(memory.pressure)));
        for silent in &process.silent {
            emit(&m::SILENT, &[&silent.bidder], Value::Real(silent.silent.as_secs_f64()));
        }
        if let Some((age, is_stale)) = process.rates {
            emit(&m::RATES_AGE, &[], Value::Whole(age.as_secs()));
            emit(&m::RATES_STALE, &[], Value::Whole(u64::from(is_stale)));
        }
        for (stratum, count) in &process.capture.records {
            emit(&m::CAPTURED, &[stratum], Value::Whole(*count));
        }
        for (why, count) in &process.capture.dropped {
            emit(&m::CAPTURE_DROPPED, &[why], Value::Whole(*count));
        }
        emit(&m::CAPTURE_BYTES, &[], Value::Whole(process.capture.bytes));
        emit(&m::CAPTURE_FILES, &[], Value::Whole(process.capture.files));
        emit(&m::CAPTURE_QUEUE, &[], Value::Whole(process.capture.queued));
        self.collect_rest(process, sink);
    }

    /// Events, the journal, notices, and the process itself.
    fn collect_rest(&self, process: &ProcessState, sink: &mut dyn FnMut(&Sample<'_>)) {
        let mut emit = |meter, labels: &[&str], value| sink(&Sample { meter, labels, value });
        let events = |at| self.workers.iter().map(|block| block.events.get(at)).sum();
        for (row, event) in m::EVENTS.iter().enumerate() {
            for (at, end) in m::EVENT_ENDS.iter().enumerate() {
                let count = events(row * m::EVENT_ENDS.len() + at);
                emit(&m::EVENTS_TAKEN, &[event, end], Value::Whole(count));
            }
        }
        let rejected = |at| self.workers.iter().map(|block| block.event_rejections.get(at)).sum();
        for (at, why) in m::EVENT_REJECTIONS.iter().enumerate() {
            emit(&m::EVENTS_REJECTED, &[why], Value::Whole(rejected(at)));
        }
        if let Some(books) = &process.books {
            emit_books(books, &mut emit);
        }
        emit_notices(&process.notices, &mut emit);
        emit(&m::LOG_DROPPED, &[], Value::Whole(process.log_lines_dropped));
        emit(&m::STARTED, &[], Value::Whole(process.started.as_secs()));
        emit(&m::BUILD, &[process.version], Value::Whole(1));
    }
}
