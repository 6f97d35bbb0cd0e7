//! The ids of a worker's requests, from their heads, and back into their answers.
//!
//! Owns: [`Correlator`], one a worker: what of a head is believed, which requests are timed and
//! traced. Never: an id of another form than `correlation` allows.
//! Invariant: every answer of the public side names its request, whatever came of it.

use crate::correlation::{Correlation, Mint, RequestId, TraceParent};
use crate::http::reply::{Reply, refusal_label};
use crate::telemetry::cells::WorkerCells;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::cell::RefCell;
use std::num::NonZeroU32;
use std::time::Instant;
use tracing::info;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// One a worker.
#[derive(Debug)]
pub struct Correlator {
    mint: RefCell<Mint>,
    /// One request in so many has its stages timed; `None`: none.
    timed_of: Option<NonZeroU32>,
}

impl Correlator {
    /// Times the stages of one request in `timed_of`; 0: of none.
    pub fn new(timed_of: u32) -> Self {
        Self { mint: RefCell::default(), timed_of: NonZeroU32::new(timed_of) }
    }

    /// The ids of the request that came at `at` as the worker's `serial`th.
    pub fn of(
        &self,
        headers: &HeaderMap,
        (serial, at): (u64, Instant),
        cells: &WorkerCells,
    ) -> Correlation {
        let id = only(headers, &REQUEST_ID).filter(|id| RequestId::is_sane(id));
        let parent = only(headers, &TRACE_PARENT).and_then(TraceParent::parse);
        if parent.is_none() && headers.contains_key(&TRACE_PARENT) {
            cells.parent_malformed();
        }
        let made = self.mint.borrow_mut().correlate(id, parent);
        let is_traced = cells.tracer().is_some_and(|tracer| tracer.chooses(&made, parent, at));
        let is_timed = self.timed_of.is_some_and(|of| serial % u64::from(of.get()) == 0);
        Correlation { is_traced, is_timed, ..made }
    }
}

/// The value of a header that may stand only once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}

/// A line of the log for a request that was refused, as far as there is room. It has no `partner`
/// where that was not known yet. Nothing of the request's own words stands in it.
pub fn tell(reply: &Reply, of: (&Correlation, Option<&str>), cells: &WorkerCells, at: Instant) {
    let reason = refusal_label(reply);
    if reason.is_empty() {
        return;
    }
    let Some(left_out) = cells.beside().refusals.take(at) else { return };
    let (correlation, partner) = of;
    info!(
        request_id = correlation.request_id.as_str(),
        partner,
        reason,
        status = reply.status().as_u16(),
        left_out,
        "request refused"
    );
}

/// Writes the request's id into its answer.
pub fn name(reply: &mut Reply, id: &RequestId) {
    // plain ASCII by construction: it always is a value
    if let Ok(value) = HeaderValue::from_maybe_shared(id.bytes()) {
        reply.headers_mut().insert(REQUEST_ID, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::telemetry::hub::{Hub, ProcessState, TelemetrySettings};
    use crate::telemetry::render;
    use crate::telemetry::spans::{TraceRoad, TraceSettings};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        list.iter().map(pair).collect()
    }

    #[test]
    fn a_request_is_named_by_its_sender_its_trace_or_us() {
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let (cells, correlator) = (hub.worker(0).unwrap(), Correlator::new(16));
        let id = |list: &[_]| {
            let made = correlator.of(&headers(list), (1, clock::monotonic()), &cells);
            (made.request_id.as_str().to_owned(), made.parent.is_some())
        };
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736".to_owned();
        assert_eq!(id(&[("x-request-id", "a-1")]), ("a-1".to_owned(), false));
        assert_eq!(id(&[("traceparent", PARENT)]), (trace, true));
        for list in [
            &[][..],
            &[("x-request-id", "jo@mail.example")],
            &[("x-request-id", "a"), ("x-request-id", "b")],
            &[("traceparent", "00-junk")],
            &[("traceparent", PARENT), ("traceparent", PARENT)],
        ] {
            let (own, has_parent) = id(list);
            assert_eq!((own.len(), has_parent), (32, false), "{list:?}");
        }
        let text = render::prometheus(&hub, &ProcessState::default());
        assert!(text.contains("gavel_traceparent_malformed_total 2\n"), "{text}");
    }

    #[test]
    fn one_request_in_sixteen_is_timed_and_none_is_traced_without_a_collector() {
        let (cells, correlator) = {
            let hub = Hub::new(1, TelemetrySettings::default(), &[]);
            (hub.worker(0).unwrap(), Correlator::new(16))
        };
        let list = headers(&[("traceparent", PARENT)]);
        let made: Vec<_> = (0..160)
            .map(|serial| correlator.of(&list, (serial, clock::monotonic()), &cells))
            .collect();
        assert_eq!(made.iter().filter(|one| one.is_timed).count(), 10);
        assert!(made.iter().all(|one| !one.is_traced));
        let (road, _end) = TraceRoad::new(TraceSettings::default(), 1);
        let hub = Hub::new(1, TelemetrySettings::default(), &[]).with_traces(Some(road));
        let traced = correlator.of(&list, (1, clock::monotonic()), &hub.worker(0).unwrap());
        assert!(traced.is_traced, "its sender traces it");
    }
}
