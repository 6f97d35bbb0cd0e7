//! Where an event becomes durable, once.
//!
//! Owns: [`EventLog`] and [`Counted`]. Never: an HTTP answer, a token. Invariant: an event that is
//! [`Counted::New`] or [`Counted::Repeat`] is durable when the caller hears of it.

use crate::journal::Refused;
use crate::journal::handle::{Journal, Once};
use crate::money_event::MoneyEvent;
use crate::money_event::codec::write_event;

/// Where durability ends (`events.ack`).
#[derive(Clone, Debug)]
pub enum EventLog {
    /// On this machine's disk.
    Local(Journal),
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It counts, and is durable.
    New,
    /// It had been counted, and is durable since.
    Repeat,
    /// Its token ended so long ago that nobody knows whether it was counted: as if expired.
    Forgotten,
    /// It could not be made durable: whoever brought it is to come again.
    Refused(Refused),
}

impl EventLog {
    /// Makes an event durable that counts once, and waits for it. Dropping the wait stops nothing.
    pub async fn count_once(&self, event: &MoneyEvent) -> Counted {
        let Self::Local(journal) = self;
        let mut payload = Vec::with_capacity(512);
        write_event(event, &mut payload);
        let kind = event.event.kind();
        match journal.append_once(event.id, event.expires_s, kind, payload) {
            Once::New(ticket) => ticket.await.map_or_else(Counted::Refused, |_| Counted::New),
            Once::InFlight(ticket) => {
                ticket.await.map_or_else(Counted::Refused, |_| Counted::Repeat)
            }
            Once::Seen => Counted::Repeat,
            Once::Forgotten => Counted::Forgotten,
            Once::Refused(refused) => Counted::Refused(refused),
        }
    }

    /// Takes down an event that is not worth counting: forged, expired, malformed.
    pub fn reject(&self) {
        let Self::Local(journal) = self;
        journal.reject();
    }

    /// Whether the events of an auction that is held now have a place to go.
    pub fn may_bill(&self) -> bool {
        let Self::Local(journal) = self;
        journal.may_bill()
    }

    /// The journal of this process: auction records go there wherever events do.
    pub fn journal(&self) -> &Journal {
        let Self::Local(journal) = self;
        journal
    }
}
