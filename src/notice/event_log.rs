//! Where an event becomes durable, once.
//!
//! Owns: [`EventLog`] and [`Counted`]. Never: an HTTP answer, a token. Invariant: an event that is
//! [`Counted::New`] or [`Counted::Repeat`] is durable when the caller hears of it.

use crate::broker::link::Link;
use crate::broker::message::of_event;
use crate::journal::Refused;
use crate::journal::handle::{Journal, Once, OnceElsewhere};
use crate::money_event::MoneyEvent;
use crate::money_event::codec::write_event;

/// Where durability ends (`events.ack`).
#[derive(Clone, Debug)]
pub enum EventLog {
    /// On this machine's disk.
    Local(Journal),
    /// With the broker's acknowledgement. The journal of this process has records of auctions, and
    /// knows repeats of what it has seen.
    Broker(Journal, Link),
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
    /// Makes an event durable that counts once, and waits for it. Dropping the wait takes nothing
    /// back: the event may be durable, and a repeat is told from it.
    pub async fn count_once(&self, event: &MoneyEvent) -> Counted {
        match self {
            Self::Local(journal) => write_once(journal, event).await,
            Self::Broker(journal, link) => publish_once(journal, link, event).await,
        }
    }

    /// Leaves an event that nobody brings again to the journal of this process, and waits for
    /// nothing: the journal writes it before it ends, and the relay sends it to the broker, at the
    /// next start at the latest. The broker and the ledger know it by its id, whatever of it was on
    /// its way before; its bidder may be told twice where that has come there unacknowledged.
    pub fn leave(&self, event: &MoneyEvent) -> Once {
        match (self, append(self.journal(), event)) {
            // who tries to publish it at this moment may be at its end likewise
            (Self::Broker(journal, _), Once::InFlight(_)) => {
                let written = journal.append_durable(event.event.kind(), bytes(event));
                written.map_or_else(Once::Refused, Once::New)
            }
            (_, once) => once,
        }
    }

    /// Takes down an event that is not worth counting: forged, expired, malformed.
    pub fn reject(&self) {
        self.journal().reject();
    }

    /// Whether the events of an auction that is held now have a place to go.
    pub fn may_bill(&self) -> bool {
        match self {
            Self::Local(journal) => journal.may_bill(),
            Self::Broker(_, link) => link.may_bill(),
        }
    }

    /// The journal of this process: auction records go there wherever events do.
    pub fn journal(&self) -> &Journal {
        match self {
            Self::Local(journal) | Self::Broker(journal, _) => journal,
        }
    }
}

fn bytes(event: &MoneyEvent) -> Vec<u8> {
    let mut payload = Vec::with_capacity(512);
    write_event(event, &mut payload);
    payload
}

fn append(journal: &Journal, event: &MoneyEvent) -> Once {
    journal.append_once(event.id, event.expires_s, event.event.kind(), bytes(event))
}

async fn write_once(journal: &Journal, event: &MoneyEvent) -> Counted {
    match append(journal, event) {
        Once::New(ticket) => ticket.await.map_or_else(Counted::Refused, |_| Counted::New),
        Once::InFlight(echo) => {
            echo.ended().await.map_or_else(Counted::Refused, |_| Counted::Repeat)
        }
        Once::Seen => Counted::Repeat,
        Once::Forgotten => Counted::Forgotten,
        Once::Refused(refused) => Counted::Refused(refused),
    }
}

async fn publish_once(journal: &Journal, link: &Link, event: &MoneyEvent) -> Counted {
    let hold = match journal.hold_once(event.id, event.expires_s) {
        OnceElsewhere::New(hold) => hold,
        OnceElsewhere::InFlight(echo) => {
            return echo.ended().await.map_or_else(Counted::Refused, |_| Counted::Repeat);
        }
        OnceElsewhere::Seen => return Counted::Repeat,
        OnceElsewhere::Forgotten => return Counted::Forgotten,
    };
    match link.publish(&of_event(&link.settings().prefix, event)).await {
        Ok(stored) if hold.is_kept(stored.sequence, stored.is_repeat) => Counted::New,
        Ok(_) => Counted::Repeat,
        // to drop the hold is to refuse the event
        Err(_) => Counted::Refused(Refused::Broker),
    }
}
