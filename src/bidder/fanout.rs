//! All calls of one auction at once, under one watch.
//!
//! Owns: [`fan_out`]. Never: a task or an allocation for each call while connections are warm; a
//! retry; a redirect. Invariants: as many answers as calls, in their order; nothing is waited for
//! after the deadline.
//!
//! The calls live in one task. Each wake polls those that have not ended: with few bidders that
//! costs less than a task and a waker for each.
//!
//! To be awaited to its end. Dropped before, it closes the connections of open calls and gives
//! their permits back.

use crate::bid::BidAnswer;
use crate::bidder::alarm::Watch;
use crate::bidder::call::{Call, Raw};
use crate::bidder::desk::{Desk, Permit};
use crate::bidder::{Answer, Invitation, Outgoing, Silence};
use crate::clock;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// Calls all bidders and gives what came by the deadline. `read` makes a bid response of an
/// answer with status 200; it runs while the others are still under way.
pub async fn fan_out<R>(
    desk: &Rc<Desk>,
    calls: Vec<(Permit, Outgoing)>,
    deadline: Instant,
    mut read: R,
) -> Vec<Answer>
where
    R: FnMut(&Invitation, Raw<'_>) -> Result<BidAnswer, Silence>,
{
    let start = clock::monotonic();
    let mut watch = desk.alarm.watch();
    let mut open: Vec<Call> = Vec::with_capacity(calls.len());
    let mut fresh = calls.into_iter();
    poll_fn(|cx| {
        for call in open.iter_mut().filter(|call| !call.is_done()) {
            call.poll(desk, cx, start, &mut read);
        }
        // the first time: each is sent before the next is begun, while its bytes are near
        for (permit, outgoing) in fresh.by_ref() {
            open.push(Call::new(permit, outgoing, start, deadline));
            if let Some(call) = open.last_mut() {
                call.poll(desk, cx, start, &mut read);
            }
        }
        expire(desk, &mut open, &mut watch, start, cx)
    })
    .await;
    open.into_iter().map(Call::into_answer).collect()
}

/// Ends the calls whose time is over; ready when none is open.
fn expire(
    desk: &Rc<Desk>,
    open: &mut [Call],
    watch: &mut Watch<'_>,
    start: Instant,
    cx: &Context<'_>,
) -> Poll<()> {
    while let Some(due) = next_due(open) {
        ready!(watch.poll(cx, due));
        for call in open.iter_mut().filter(|call| !call.is_done() && call.due() <= due) {
            call.expire(desk, start, due);
        }
    }
    Poll::Ready(())
}

fn next_due(open: &[Call]) -> Option<Instant> {
    open.iter().filter(|call| !call.is_done()).map(Call::due).min()
}
