//! The books: where each event that came in has gone.
//!
//! Owns: [`Book`] and its [`Figures`]. Never: a decision. Invariant: an event stands in exactly one
//! column at any moment; each step moves it from one to the next under one lock, so that both
//! equations hold whenever they are read:
//!
//! - `received = in_hand + rejected + refused + duplicate + published + appended`
//! - of each sink: `carried + appended = delivered + dead + pending`
//!
//! All figures but `in_hand` and `pending` count from the start of the process and only grow, as
//! metrics do; `carried` is what a sink had before it when the process started. Only durable records
//! are in the books; buffered ones have their own: `offered = queued + dropped + written`.

use super::published::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Events from outside to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    pub received: u64,
    /// Waits to become durable, or is being looked at.
    pub in_hand: u64,
    /// Forged, expired, malformed: whatever [`super::handle::Journal::reject`] was told.
    pub rejected: u64,
    /// Could not be made durable; the sender was told so, and is to come again.
    pub refused: u64,
    pub duplicate: u64,
    /// Durable at the broker instead of here (`events.ack = "broker"`).
    pub published: u64,
    pub appended: u64,
}

/// Events from the disk to a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outlet {
    /// Was there when the process started.
    pub carried: u64,
    pub delivered: u64,
    pub dead: u64,
    pub pending: u64,
}

/// Buffered records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffered {
    pub offered: u64,
    pub queued: u64,
    pub dropped: u64,
    pub written: u64,
}

/// All figures of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub intake: Intake,
    pub outlets: BTreeMap<String, Outlet>,
    pub buffered: Buffered,
}

impl Figures {
    /// By how much each equation is off; all zero while nothing is wrong.
    pub fn differences(&self) -> Vec<i128> {
        let sum = |parts: &[u64]| parts.iter().map(|part| i128::from(*part)).sum::<i128>();
        let Intake { received, in_hand, rejected, refused, duplicate, published, appended } =
            self.intake;
        let Buffered { offered, queued, dropped, written } = self.buffered;
        let ends = [in_hand, rejected, refused, duplicate, published, appended];
        let intake = sum(&[received]) - sum(&ends);
        let buffered = sum(&[offered]) - sum(&[queued, dropped, written]);
        let outlets = self.outlets.values().map(|outlet| {
            let Outlet { carried, delivered, dead, pending } = *outlet;
            sum(&[carried, appended]) - sum(&[delivered, dead, pending])
        });
        [intake, buffered].into_iter().chain(outlets).collect()
    }

    /// Whether every equation holds.
    pub fn hold(&self) -> bool {
        self.differences().into_iter().all(|difference| difference == 0)
    }
}

/// Where an event in hand goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Rejected,
    Refused,
    Duplicate,
    Published,
}

/// The books.
#[derive(Debug, Default)]
pub struct Book(Mutex<Figures>);

impl Book {
    /// Sinks with what each has before it.
    pub fn new(sinks: impl Iterator<Item = (String, u64)>) -> Self {
        let outlet = |pending| Outlet { carried: pending, pending, ..Outlet::default() };
        let outlets = sinks.map(|(name, pending)| (name, outlet(pending))).collect();
        Self(Mutex::new(Figures { outlets, ..Figures::default() }))
    }

    /// All figures of this moment.
    pub fn read(&self) -> Figures {
        lock(&self.0).clone()
    }

    /// Buffered records that were dropped so far.
    pub fn dropped(&self) -> u64 {
        lock(&self.0).buffered.dropped
    }

    /// An event came, and is in hand.
    pub fn receive(&self) {
        let mut figures = lock(&self.0);
        figures.intake.received += 1;
        figures.intake.in_hand += 1;
    }

    /// Events in hand are done with.
    pub fn leave(&self, exit: Exit, count: u64) {
        let intake = &mut lock(&self.0).intake;
        intake.in_hand = intake.in_hand.saturating_sub(count);
        *match exit {
            Exit::Rejected => &mut intake.rejected,
            Exit::Refused => &mut intake.refused,
            Exit::Duplicate => &mut intake.duplicate,
            Exit::Published => &mut intake.published,
        } += count;
    }

    /// Events in hand are durable: every sink has them before it.
    pub fn append(&self, durable: u64, buffered: u64) {
        let mut figures = lock(&self.0);
        figures.intake.in_hand = figures.intake.in_hand.saturating_sub(durable);
        figures.intake.appended += durable;
        for outlet in figures.outlets.values_mut() {
            outlet.pending += durable;
        }
        figures.buffered.queued = figures.buffered.queued.saturating_sub(buffered);
        figures.buffered.written += buffered;
    }

    /// A sink has done with events.
    pub fn settle(&self, sink: &str, delivered: u64, dead: u64) {
        if let Some(outlet) = lock(&self.0).outlets.get_mut(sink) {
            outlet.pending = outlet.pending.saturating_sub(delivered + dead);
            outlet.delivered += delivered;
            outlet.dead += dead;
        }
    }

    /// Dead letters of a sink are to be tried again.
    pub fn revive(&self, sink: &str, count: u64) {
        if let Some(outlet) = lock(&self.0).outlets.get_mut(sink) {
            // a letter that was buried before this start was never counted in `dead`
            let known = count.min(outlet.dead);
            outlet.dead -= known;
            outlet.carried += count - known;
            outlet.pending += count;
        }
    }

    /// A buffered record was offered, and taken or dropped.
    pub fn offer(&self, is_taken: bool) {
        let buffered = &mut lock(&self.0).buffered;
        buffered.offered += 1;
        *if is_taken { &mut buffered.queued } else { &mut buffered.dropped } += 1;
    }

    /// Buffered records that were taken could not be written.
    pub fn drop_queued(&self, count: u64) {
        let buffered = &mut lock(&self.0).buffered;
        buffered.queued = buffered.queued.saturating_sub(count);
        buffered.dropped += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_equations_hold_after_every_step() {
        let book = Book::new([("a".to_owned(), 3), ("b".to_owned(), 0)].into_iter());
        let steps: [&dyn Fn(); 13] = [
            &|| book.receive(),
            &|| book.leave(Exit::Rejected, 1),
            &|| (0..6).for_each(|_| book.receive()),
            &|| book.leave(Exit::Duplicate, 1),
            &|| book.leave(Exit::Refused, 1),
            &|| book.leave(Exit::Published, 1),
            &|| book.offer(true),
            &|| book.offer(false),
            &|| book.append(3, 1),
            &|| book.settle("a", 4, 1),
            &|| book.revive("a", 3),
            &|| book.offer(true),
            &|| book.drop_queued(1),
        ];
        for (number, step) in steps.into_iter().enumerate() {
            step();
            assert!(book.read().hold(), "step {number}: {:?}", book.read());
        }
        let figures = book.read();
        assert_eq!(figures.intake.in_hand, 0);
        let a = Outlet { carried: 5, delivered: 4, dead: 0, pending: 4 };
        assert_eq!(figures.outlets["a"], a);
        assert_eq!(figures.outlets["b"].pending, 3);
    }

    #[test]
    fn a_lost_event_is_seen() {
        let mut figures = Figures::default();
        figures.intake.received = 1;
        assert_eq!(figures.differences(), [1, 0]);
        assert!(!figures.hold());
    }
}
