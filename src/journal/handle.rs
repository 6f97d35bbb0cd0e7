//! What workers hold of an open journal.
//!
//! Owns: [`Journal`]. Never: a wait for the disk. Invariant: each durable record that is offered ends
//! in exactly one column of the books.

use super::balance::{Book, Exit, Figures};
use super::cursor::Cursors;
use super::dedupe::{Claim, Dedupe};
use super::disk::Disk;
use super::frame::{Class, KINDS, OWN_KINDS};
use super::helper::Chores;
use super::published::Published;
use super::queue::{Item, Queue};
use super::ticket::{Ended, Ticket};
use super::{Condition, Refused, Settings};
use crate::clock::Anchor;
use crate::money_event::EventId;
use std::sync::Arc;
use std::time::Duration;

/// An open journal; clones are the same one.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Parts>);

/// What a journal is made of.
#[derive(Debug)]
pub struct Parts {
    pub settings: Arc<Settings>,
    pub disk: Arc<dyn Disk>,
    pub published: Arc<Published>,
    pub queue: Arc<Queue>,
    pub dedupe: Arc<Dedupe>,
    pub balance: Arc<Book>,
    pub cursors: Arc<Cursors>,
    pub chores: Arc<Chores>,
    /// When it was opened.
    pub start: Anchor,
    /// When the newest segment that was found had been begun, since the epoch; zero without one.
    pub newest: Duration,
}

/// What became of an event that counts once.
#[derive(Debug)]
pub enum Once {
    /// It is being written: 204 when the ticket ends as durable, 503 when it ends as refused.
    New(Ticket),
    /// A repeat of one that is just being written: the same, but it is not a new event.
    InFlight(Echo),
    /// It is durable since before: 204.
    Seen,
    /// Its token ended so long ago that nobody knows whether it was counted: to be treated as
    /// expired. It stands in the books as rejected.
    Forgotten,
    /// 503.
    Refused(Refused),
}

/// What became of an event that counts once and that another place than the journal keeps.
#[derive(Debug)]
pub enum OnceElsewhere {
    /// It is to be kept there now.
    New(Hold),
    /// See [`Once::InFlight`].
    InFlight(Echo),
    /// See [`Once::Seen`].
    Seen,
    /// See [`Once::Forgotten`].
    Forgotten,
}

/// A repeat in hand, of an event that is just being made durable: it ends as that one does, in the
/// books too. Dropping it before says that nobody was told.
#[derive(Debug)]
pub struct Echo {
    journal: Journal,
    ticket: Ticket,
}

impl Echo {
    /// Waits for the end.
    pub async fn ended(self) -> Ended {
        self.ticket.clone().await
    }

    /// Blocks the thread until the end: see [`Ticket::wait`].
    pub fn wait(self) -> Ended {
        self.ticket.wait()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let is_durable = matches!(self.ticket.ended(), Some(Ok(_)));
        let exit = if is_durable { Exit::Duplicate } else { Exit::Refused };
        self.journal.parts().balance.leave(exit, 1);
    }
}

/// An event in hand that is being kept elsewhere. Dropping it refuses the event: a repeat may try
/// again.
#[derive(Debug)]
pub struct Hold {
    journal: Journal,
    id: EventId,
    expires_s: u64,
    ticket: Ticket,
    is_kept: bool,
}

impl Hold {
    /// It is durable there, in this place; `is_repeat`: it had been before. True where it counts as
    /// new: nobody has counted one yet that was there because an earlier hold of it here was given
    /// up too soon.
    pub fn is_kept(mut self, place: u64, is_repeat: bool) -> bool {
        self.is_kept = true;
        let parts = self.journal.parts();
        let is_new = parts.dedupe.settle(self.id, self.expires_s) || !is_repeat;
        parts.balance.leave(if is_new { Exit::Published } else { Exit::Duplicate }, 1);
        self.ticket.end(Ok(place));
        is_new
    }

    /// The journal keeps it after all: its writer ends what the ticket began.
    fn hand_over(mut self) -> Ticket {
        self.is_kept = true;
        self.ticket.clone()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.is_kept {
            let parts = self.journal.parts();
            parts.dedupe.doubt(self.id, self.expires_s);
            parts.balance.leave(Exit::Refused, 1);
            self.ticket.end(Err(Refused::Broker));
        }
    }
}

/// All figures of one moment.
#[derive(Clone, Debug)]
pub struct Status {
    pub condition: Condition,
    /// The sequence behind the last durable record.
    pub durable: u64,
    pub figures: Figures,
    /// Records that wait for the writer, by class.
    pub waiting_durable: usize,
    pub waiting_buffered: usize,
    pub segments: usize,
    pub damaged_segments: usize,
    pub disk_bytes: u64,
    /// Where there are no more auctions, all folders together; `None`: the oldest give way before.
    pub disk_bytes_max: Option<u64>,
    pub ids: usize,
    pub ids_unremembered: u64,
    /// Time of a commit: half of them, and 99 of 100, took at most so long (of powers of two).
    pub commit_p50: Option<Duration>,
    pub commit_p99: Option<Duration>,
}

impl Journal {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.0
    }

    /// Appends an event that counts once: `id` says which, and `expires_s` (seconds since the
    /// epoch) until when a repeat is its duplicate. The kind and payload are those of
    /// [`crate::money_event`].
    pub fn append_once(&self, id: EventId, expires_s: u64, kind: u8, payload: Vec<u8>) -> Once {
        match self.hold_once(id, expires_s) {
            OnceElsewhere::Seen => Once::Seen,
            OnceElsewhere::InFlight(echo) => Once::InFlight(echo),
            OnceElsewhere::Forgotten => Once::Forgotten,
            OnceElsewhere::New(hold) => {
                let ticket = hold.hand_over();
                match self.push(kind, payload, &ticket, Some((id, expires_s))) {
                    Ok(()) => Once::New(ticket),
                    Err(refused) => Once::Refused(refused),
                }
            }
        }
    }

    /// Takes an event that counts once and that the caller keeps elsewhere: see
    /// [`Self::append_once`].
    pub fn hold_once(&self, id: EventId, expires_s: u64) -> OnceElsewhere {
        let parts = self.parts();
        parts.balance.receive();
        match parts.dedupe.claim(id, expires_s) {
            Claim::Seen => {
                parts.balance.leave(Exit::Duplicate, 1);
                OnceElsewhere::Seen
            }
            Claim::InFlight(ticket) => {
                OnceElsewhere::InFlight(Echo { journal: self.clone(), ticket })
            }
            Claim::Forgotten => {
                parts.balance.leave(Exit::Rejected, 1);
                OnceElsewhere::Forgotten
            }
            Claim::New(ticket) => {
                let journal = self.clone();
                OnceElsewhere::New(Hold { journal, id, expires_s, ticket, is_kept: false })
            }
        }
    }

    /// Appends a record that must not be lost, and that may come more than once.
    pub fn append_durable(&self, kind: u8, payload: Vec<u8>) -> Result<Ticket, Refused> {
        self.parts().balance.receive();
        let ticket = Ticket::default();
        self.push(kind, payload, &ticket, None).map(|()| ticket)
    }

    fn push(
        &self,
        kind: u8,
        payload: Vec<u8>,
        ticket: &Ticket,
        event: Option<(EventId, u64)>,
    ) -> Result<(), Refused> {
        let ticket = Some(ticket.clone());
        let item = Item { kind, class: Class::Durable, payload, ticket, event };
        let (item, refused) = match self.check(&item) {
            Err(refused) => (item, refused),
            Ok(()) => match self.parts().queue.push(item) {
                Ok(()) => return Ok(()),
                Err(left) => left,
            },
        };
        self.refuse(&item, refused);
        Err(refused)
    }

    fn check(&self, item: &Item) -> Result<(), Refused> {
        if item.payload.len() > self.parts().settings.record_bytes_max {
            Err(Refused::TooLong)
        } else if item.kind < OWN_KINDS || item.kind >= KINDS {
            Err(Refused::Kind)
        } else if self.condition() == Condition::Failed {
            Err(Refused::Failed)
        } else {
            Ok(())
        }
    }

    /// A durable record that has been received is not written: everybody who waits is told.
    pub(super) fn refuse(&self, item: &Item, refused: Refused) {
        if let Some((id, _)) = item.event {
            self.parts().dedupe.release(id);
        }
        self.parts().balance.leave(Exit::Refused, 1);
        if let Some(ticket) = &item.ticket {
            ticket.end(Err(refused));
        }
    }

    /// Whether records that may be lost are written: not where the room that is left is for those
    /// that may not. Two loads.
    pub fn keeps_buffered(&self) -> bool {
        let Parts { published, settings, .. } = self.parts();
        let has_room = published.file_bytes() < settings.buffered_bytes_max();
        has_room && published.condition() != Condition::Low
    }

    /// Offers a record that may be lost; false where it was dropped (and counted).
    pub fn append_buffered(&self, kind: u8, payload: Vec<u8>) -> bool {
        let item = Item { kind, class: Class::Buffered, payload, ticket: None, event: None };
        let parts = self.parts();
        // the offer stands in the books before the writer can have written it
        parts.balance.offer(true);
        let is_wanted = self.keeps_buffered() && self.check(&item).is_ok();
        let is_taken = is_wanted && parts.queue.push(item).is_ok();
        if !is_taken {
            parts.balance.drop_queued(1);
        }
        is_taken
    }

    /// Counts an event that is not worth an append: forged, expired, malformed.
    pub fn reject(&self) {
        self.parts().balance.receive();
        self.parts().balance.leave(Exit::Rejected, 1);
    }

    /// How it is; one load.
    pub fn condition(&self) -> Condition {
        self.parts().published.condition()
    }

    /// Whether events of an auction that is held now have a place to go; one load. Where not, no
    /// auction should be held; events are still taken as long as they can be.
    pub fn may_bill(&self) -> bool {
        self.condition() < Condition::Last
    }

    /// The settings that it was opened with.
    pub fn settings(&self) -> &Settings {
        &self.parts().settings
    }

    /// Counts since the start, and times of commits.
    pub fn published(&self) -> &Published {
        &self.parts().published
    }

    /// All figures of this moment.
    pub fn status(&self) -> Status {
        let parts = self.parts();
        let (waiting_durable, waiting_buffered) = parts.queue.waiting();
        let table = parts.published.table();
        let settings = self.settings();
        let folders = 1 + u64::from(settings.spill_dir.is_some());
        let disk_bytes_max = settings.disk_bytes_max.saturating_mul(folders);
        Status {
            condition: self.condition(),
            durable: table.next,
            figures: parts.balance.read(),
            waiting_durable,
            waiting_buffered,
            segments: table.segments.len(),
            damaged_segments: table.segments.iter().filter(|one| one.is_damaged).count(),
            disk_bytes: table.file_bytes(),
            disk_bytes_max: (!settings.gives_way).then_some(disk_bytes_max),
            ids: parts.dedupe.len(),
            ids_unremembered: parts.dedupe.unremembered(),
            commit_p50: parts.published.times.at_permille(500),
            commit_p99: parts.published.times.at_permille(990),
        }
    }

    /// Begins the end: what waits is still written.
    pub(super) fn stop(&self) {
        self.parts().queue.close();
    }
}
