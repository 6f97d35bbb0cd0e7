//! Late answers, read to their end in the background so that their connections survive.
//!
//! Owns: [`start`], and what a late call says of its bidder's health. Never: a retry, an answer that
//! counts. Invariants: bounded in count, bytes and time (`NetSettings::drain_*`); what exceeds a
//! bound is closed; no bidder takes the places of the others. The call's permit stays until the
//! end: for the bidder the call is still open.
//!
//! An answer that is read to its end says that its bidder is slow; one that does not end within its
//! time, whether or not it began, that it is ill. Where there was no place to wait for it, it was us who
//! closed the connection, and nobody knows.

use crate::bidder::call::{self, End, Step};
use crate::bidder::desk::{Desk, Permit};
use crate::bidder::dial;
use crate::bidder::line::Line;
use crate::clock;
use crate::negatives::no_answer::NoAnswer;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::timeout;

/// Counts one drain of a worker and of a line until it is dropped.
struct Place {
    desk: Rc<Desk>,
    line: Rc<Line>,
}

impl Place {
    /// For a line that has fewer than are free: one bidder gets half of the places at most, several
    /// like it equal parts, and whoever has none finds one.
    fn take(desk: &Rc<Desk>, line: &Rc<Line>) -> Option<Self> {
        let (all, own) = (desk.drains.get(), line.drains.get());
        let free = desk.net.settings.drain_count_max.saturating_sub(all);
        (own < free).then(|| {
            desk.drains.set(all + 1);
            line.drains.set(own + 1);
            Self { desk: desk.clone(), line: line.clone() }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for drains in [&self.desk.drains, &self.line.drains] {
            drains.set(drains.get().saturating_sub(1));
        }
    }
}

/// Goes on with a late call that began at `start`.
pub fn start(desk: &Rc<Desk>, permit: Permit, mut step: Step, start: Instant) {
    let line = &permit.entry.line;
    let Some(place) = Place::take(desk, line) else {
        desk.cells(line).late_abandoned();
        // where nothing is ever read on, silence is all there is to judge by
        if desk.net.settings.drain_count_max == 0 {
            let now = desk.net.millis(clock::monotonic());
            line.ended(now, Err(NoAnswer::Late), !has_bytes(&step));
        }
        drop(step);
        dial::offer_streams(line, &desk.net.settings);
        return;
    };
    let bytes_max = desk.net.settings.drain_bytes_max;
    match &mut step {
        Step::Http1(exchange) => exchange.reading.lower_cap(bytes_max),
        Step::Http2(exchange) => exchange.lower_cap(bytes_max),
        Step::Fresh | Step::Waiting(_) | Step::Done => {}
    }
    tokio::task::spawn_local(run(place, permit, step, start));
}

async fn run(place: Place, permit: Permit, mut step: Step, start: Instant) {
    let desk = &place.desk;
    let most = desk.net.settings.drain_time_max;
    let ended = timeout(most, poll_fn(|cx| poll(desk, &mut step, cx))).await;
    let (now, line) = (clock::monotonic(), &permit.entry.line);
    let Ok(end) = ended else {
        // the connection is closed with the step
        desk.cells(line).late_abandoned();
        line.ended(desk.net.millis(now), Err(NoAnswer::Late), true);
        drop(step);
        dial::offer_streams(line, &desk.net.settings);
        return;
    };
    if end.status == 0 {
        desk.cells(line).late_abandoned();
    } else {
        desk.cells(line).late_read(now.saturating_duration_since(start));
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

/// Whether anything of the answer has come.
fn has_bytes(step: &Step) -> bool {
    match step {
        Step::Http1(exchange) => exchange.reading.has_bytes(),
        Step::Http2(exchange) => exchange.has_bytes(),
        Step::Fresh | Step::Waiting(_) | Step::Done => false,
    }
}
