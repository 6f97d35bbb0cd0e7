//! Who goes where there is no room for a newcomer.
//!
//! Owns: the order in which connections go. Never: how much room there is.
//! Invariant: nobody whose request is being served goes for a newcomer.

use super::{Ledger, Order, Stage, Watch};
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
            watch.stage.get() == stage && !watch.is_ending() && watch.stands_for(now) >= least
        });
        there.max_by_key(|watch| watch.stands_for(now)).cloned()
    }
}
