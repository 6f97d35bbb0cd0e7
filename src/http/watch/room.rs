//! Who goes where there is no room: for a newcomer, or for answers that nobody takes.
//!
//! Owns: the order in which connections go. Never: how much room there is.
//! Invariant: nobody whose request is being served goes for a newcomer.

use super::{Ledger, Order, Stage, Watch};
use crate::http::delivery::{self, Sent};
use crate::http::reply::{Reply, Shared};
use crate::telemetry::cells::ConnectionCut;
use std::rc::Rc;

impl Ledger {
    /// Ends one connection where there is one too many; `false`: that is the newcomer.
    pub fn makes_room(&self) -> bool {
        let over_cap = &self.clockwork.load.over_cap;
        let over = over_cap.get();
        over_cap.set(over.saturating_sub(1));
        over == 0 || self.evict()
    }

    /// Cuts one connection to make room for a newcomer: the oldest stranger, else the one that has
    /// been idle for longest, else the one whose head is longest begun. A head that began since the
    /// last sweep is most likely on its way. `false`: there is none of them, and no room.
    pub fn evict(&self) -> bool {
        let victim = self
            .oldest_stranger()
            .or_else(|| self.longest(Stage::Idle, 0))
            .or_else(|| self.longest(Stage::Head, 1));
        victim.is_some_and(|watch| {
            self.cut(&watch, ConnectionCut::Evicted);
            true
        })
    }

    /// Gives an answer to a connection. Where those that HTTP/2 peers have not taken had more than
    /// `most` bytes with it (0: any number may be), the connection with the most of them goes; one
    /// answer alone always has room.
    pub fn hand(&self, reply: Reply, watch: &Watch, most: usize) -> Sent {
        let size = delivery::size(&reply);
        let is_shared = || reply.extensions().get::<Shared>().is_some();
        if !watch.is_h2.get() || size == 0 || is_shared() {
            return delivery::plain(reply);
        }
        let waiting = &self.clockwork.waiting;
        let room = most.saturating_sub(size);
        while most > 0 && waiting.get() > room {
            let Some(largest) = self.largest() else { break };
            largest.untaken.write_off();
            self.cut(&largest, ConnectionCut::SlowReader);
        }
        watch.untaken.give(reply, self.clockwork.now.get())
    }

    fn cut(&self, watch: &Watch, why: ConnectionCut) {
        self.count(why);
        watch.give(Order::Cut, self.clockwork.now.get());
    }

    fn oldest_stranger(&self) -> Option<Rc<Watch>> {
        let mut strangers = self.strangers.borrow_mut();
        // Each is taken out once: whoever is passed over is no stranger, or ends already.
        while let Some(watch) = strangers.pop_front() {
            if watch.is_stranger.get() && !watch.is_ending() {
                return Some(watch);
            }
        }
        None
    }

    /// The one that has stood at a stage for longest, and for `least` or more. Looks at all; only
    /// where each connection has a partner behind it.
    fn longest(&self, stage: Stage, least: u32) -> Option<Rc<Watch>> {
        let (now, watches) = (self.clockwork.now.get(), self.watches.borrow());
        let there = watches.iter().filter(|watch| {
            watch.stage.get() == stage
                && watch.untaken.bytes() == 0
                && !watch.is_ending()
                && watch.stands_for(now) >= least
        });
        there.max_by_key(|watch| watch.stands_for(now)).cloned()
    }

    /// The one with the most bytes that it does not take.
    fn largest(&self) -> Option<Rc<Watch>> {
        let watches = self.watches.borrow();
        let holding =
            watches.iter().filter(|watch| watch.untaken.bytes() > 0 && !watch.is_ending());
        holding.max_by_key(|watch| watch.untaken.bytes()).cloned()
    }
}
