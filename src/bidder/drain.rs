//! Late answers, read to their end in the background so that their connections survive.
//!
//! Owns: [`start`]. Never: a retry, an answer that counts. Invariant: bounded in count, bytes and
//! time (`NetSettings::drain_*`); what exceeds a bound is closed. The call's permit stays until
//! the end: for the bidder the call is still open.

use crate::bidder::call::{self, End, Step};
use crate::bidder::desk::{Desk, Permit};
use crate::bidder::line::count;
use crate::clock;
use crate::negatives::no_answer::NoAnswer;
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::timeout;

/// Counts one drain of a worker until it is dropped.
struct Place(Rc<Desk>);

impl Place {
    fn take(desk: &Rc<Desk>) -> Option<Self> {
        let drains: &Cell<u32> = &desk.drains;
        (drains.get() < desk.net.settings.drain_count_max).then(|| {
            drains.set(drains.get() + 1);
            Self(desk.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.drains.set(self.0.drains.get().saturating_sub(1));
    }
}

/// Goes on with a late call that began at `start`.
pub fn start(desk: &Rc<Desk>, permit: Permit, mut step: Step, start: Instant) {
    let Some(place) = Place::take(desk) else {
        give_up(desk, &permit, &step);
        return;
    };
    if let Step::Http1(exchange) = &mut step {
        exchange.reading.lower_cap(desk.net.settings.drain_bytes_max);
    }
    tokio::task::spawn_local(run(place, permit, step, start));
}

async fn run(place: Place, permit: Permit, mut step: Step, start: Instant) {
    let desk = &place.0;
    let most = desk.net.settings.drain_time_max;
    let Ok(end) = timeout(most, poll_fn(|cx| poll(desk, &mut step, cx))).await else {
        give_up(desk, &permit, &step);
        return;
    };
    let (now, line) = (clock::monotonic(), &permit.entry.line);
    if end.status == 0 {
        count(&line.counters.late_dropped, 1);
    } else {
        let took = now.saturating_duration_since(start).as_micros();
        count(&line.counters.late_read, 1);
        count(&line.counters.late_read_us, u64::try_from(took).unwrap_or(u64::MAX));
    }
    call::release(desk, &permit.entry, step, now, end);
    line.ended(desk.net.millis(now), end.result, false);
}

fn poll(desk: &Desk, step: &mut Step, cx: &mut Context<'_>) -> Poll<End> {
    match step {
        Step::Http1(exchange) => {
            exchange.poll(cx, &desk.shelves).map(|result| call::end_http1(exchange, result))
        }
        Step::Http2(exchange) => {
            exchange.poll(cx).map(|result| call::end_http2(result.as_ref().map_err(|f| *f)))
        }
        // never given to a drain
        Step::Fresh | Step::Waiting(_) | Step::Done => {
            Poll::Ready(End { status: 0, retry_after_s: None, result: Err(NoAnswer::Late) })
        }
    }
}

/// The connection is closed with the step; silence speaks against the bidder.
fn give_up(desk: &Desk, permit: &Permit, step: &Step) {
    let line = &permit.entry.line;
    count(&line.counters.late_dropped, 1);
    let has_bytes = match step {
        Step::Http1(exchange) => exchange.reading.has_bytes(),
        Step::Http2(exchange) => exchange.has_bytes(),
        Step::Fresh | Step::Waiting(_) | Step::Done => false,
    };
    line.ended(desk.net.millis(clock::monotonic()), Err(NoAnswer::Late), !has_bytes);
}
