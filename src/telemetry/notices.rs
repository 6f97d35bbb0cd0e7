//! The numbers of notices to bidders.
//!
//! Owns: [`NoticeState`] and how it is shown. Never: a count of its own.

use super::hub::Value;
use super::meters::{self as m, Meter};
use std::time::Duration;

/// What has become of notices to bidders.
#[derive(Clone, Debug, Default)]
pub struct NoticeState {
    /// By kind and result.
    pub results: Vec<(&'static str, &'static str, u64)>,
    pub failures: Vec<(&'static str, u64)>,
    pub blocked: Vec<(&'static str, u64)>,
    /// By bidder: pending, dead, age of the oldest pending one.
    pub waiting: Vec<(String, u64, u64, Duration)>,
}

/// Gives every number to `emit`.
pub(super) fn emit_notices(
    notices: &NoticeState,
    emit: &mut dyn FnMut(&'static Meter, &[&str], Value<'static>),
) {
    for (kind, result, count) in notices.results.iter().filter(|one| one.2 > 0) {
        emit(&m::NOTICES, &[kind, result], Value::Whole(*count));
    }
    for (why, count) in &notices.failures {
        emit(&m::NOTICE_FAILURES, &[why], Value::Whole(*count));
    }
    for (rule, count) in &notices.blocked {
        emit(&m::NOTICES_BLOCKED, &[rule], Value::Whole(*count));
    }
    for (bidder, pending, ..) in &notices.waiting {
        emit(&m::NOTICES_PENDING, &[bidder], Value::Whole(*pending));
    }
    for (bidder, _, dead, _) in &notices.waiting {
        emit(&m::NOTICES_DEAD, &[bidder], Value::Whole(*dead));
    }
    for (bidder, _, _, oldest) in &notices.waiting {
        emit(&m::NOTICES_OLDEST, &[bidder], Value::Whole(oldest.as_secs()));
    }
}
