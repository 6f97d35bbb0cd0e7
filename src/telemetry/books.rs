//! The numbers of the journal, and of the broker.
//!
//! Owns: [`BooksState`] and how it is shown. Never: a count of its own. Invariant: all of one state are
//! of one moment, so that whoever adds them up finds the equations to hold.

use super::hub::Value;
use super::meter::Meter;
use super::meters::money as m;
use super::words::{BROKER_ENDS, INTAKE_ENDS, KEPT_NOTICES, OUTLET_STATES, RECORD_ENDS};
use std::time::Duration;

/// What the journal holds, and where each event that came has gone.
#[derive(Clone, Debug, Default)]
pub struct BooksState {
    pub received: u64,
    pub in_hand: u64,
    /// In the order of `INTAKE_ENDS`.
    pub intake: [u64; 5],
    /// By sink, in the order of `OUTLET_STATES`.
    pub outlets: Vec<(String, [u64; 4])>,
    pub queued: u64,
    /// Records of auctions, in the order of `RECORD_ENDS`.
    pub records: [u64; 3],
    /// By how much the equations are off, in all.
    pub off: u64,
    pub condition: u8,
    pub disk_bytes: u64,
    /// 0: none.
    pub disk_bytes_max: u64,
    pub segments: u64,
    pub damaged_segments: u64,
    /// Half of the commits, and 99 of 100, took at most so long; `None` before the first.
    pub commit: Option<[Duration; 2]>,
    /// `None`: there is no broker.
    pub broker: Option<BrokerState>,
}

/// How the broker is.
#[derive(Clone, Copy, Debug, Default)]
pub struct BrokerState {
    pub is_well: bool,
    /// In the order of `BROKER_ENDS`.
    pub messages: [u64; 3],
    pub lag: Duration,
    /// In the order of `KEPT_NOTICES`; `None`: the broker keeps none.
    pub notices: Option<[u64; 2]>,
    /// Whether they are taken from it; `None`: there is no consumer of them.
    pub is_fed: Option<bool>,
}

/// Gives every number to `emit`.
pub(super) fn emit_books(
    books: &BooksState,
    emit: &mut dyn FnMut(&'static Meter, &[&str], Value<'static>),
) {
    emit(&m::JOURNAL_RECEIVED, &[], Value::Whole(books.received));
    emit(&m::JOURNAL_IN_HAND, &[], Value::Whole(books.in_hand));
    for (end, count) in INTAKE_ENDS.iter().zip(books.intake) {
        emit(&m::JOURNAL_INTAKE, &[end], Value::Whole(count));
    }
    for (sink, counts) in &books.outlets {
        for (state, count) in OUTLET_STATES.iter().zip(counts) {
            emit(&m::JOURNAL_OUTLETS, &[sink, state], Value::Whole(*count));
        }
    }
    emit(&m::JOURNAL_QUEUED, &[], Value::Whole(books.queued));
    for (end, count) in RECORD_ENDS.iter().zip(books.records) {
        emit(&m::JOURNAL_RECORDS, &[end], Value::Whole(count));
    }
    emit(&m::JOURNAL_OFF, &[], Value::Whole(books.off));
    emit(&m::JOURNAL_CONDITION, &[], Value::Whole(u64::from(books.condition)));
    emit(&m::JOURNAL_DISK, &[], Value::Whole(books.disk_bytes));
    emit(&m::JOURNAL_DISK_MAX, &[], Value::Whole(books.disk_bytes_max));
    emit(&m::JOURNAL_SEGMENTS, &[], Value::Whole(books.segments));
    emit(&m::JOURNAL_DAMAGED, &[], Value::Whole(books.damaged_segments));
    for (part, time) in m::COMMIT_PARTS.iter().zip(books.commit.iter().flatten()) {
        emit(&m::JOURNAL_COMMIT, &[part], Value::Real(time.as_secs_f64()));
    }
    if let Some(broker) = &books.broker {
        emit(&m::BROKER_WELL, &[], Value::Whole(u64::from(broker.is_well)));
        for (end, count) in BROKER_ENDS.iter().zip(broker.messages) {
            emit(&m::BROKER_MESSAGES, &[end], Value::Whole(count));
        }
        emit(&m::BROKER_LAG, &[], Value::Whole(broker.lag.as_secs()));
        for (state, count) in KEPT_NOTICES.iter().zip(broker.notices.iter().flatten()) {
            emit(&m::BROKER_NOTICES, &[state], Value::Whole(*count));
        }
        if let Some(is_fed) = broker.is_fed {
            emit(&m::BROKER_FED, &[], Value::Whole(u64::from(is_fed)));
        }
    }
}
