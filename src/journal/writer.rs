//! The thread that writes.
//!
//! Owns: the order of a commit: on the disk, in the books, in the index, told. Never: a file (the
//! store's). Invariant: nobody is told that a record is durable before it is; a panic here ends the
//! process, since nothing could be made durable any more.

use super::Refused;
use super::frame::Class;
use super::handle::Journal;
use super::queue::{Item, Work};
use super::store::{Entry, Store};
use super::vital::Vital;
use crate::clock;
use crate::money_event::{DropCount, codec::write_drops, kind};
use std::io;
use std::ops::Range;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// So many quick commits in a row end the alarm of a slow one.
const QUICK_COMMITS: u32 = 32;

/// Starts it.
pub fn start(journal: Journal, store: Store) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("gavel-journal".to_owned()).spawn(move || {
        let _vital = Vital("journal");
        Writer { journal, store, quick: QUICK_COMMITS, drops: Drops::since(now_us()) }.run();
    })
}

struct Writer {
    journal: Journal,
    store: Store,
    /// Quick commits since the last slow one.
    quick: u32,
    drops: Drops,
}

/// Which drops of buffered records stand in the journal itself: the books end with the process.
#[derive(Clone, Copy, Debug)]
struct Drops {
    told: u64,
    told_us: u64,
}

impl Drops {
    const fn since(now_us: u64) -> Self {
        Self { told: 0, told_us: now_us }
    }

    /// The record to write, where there are new ones; at most one in `every`.
    fn record(self, dropped: u64, now_us: u64, every: Duration) -> Option<Vec<u8>> {
        let is_due = u128::from(now_us.saturating_sub(self.told_us)) >= every.as_micros();
        let new = dropped.saturating_sub(self.told);
        (is_due && new > 0).then(|| {
            let mut bytes = Vec::new();
            let count = DropCount { from_us: self.told_us, to_us: now_us, dropped: new };
            write_drops(count, &mut bytes);
            bytes
        })
    }
}

impl Writer {
    fn run(mut self) {
        self.make_first();
        let mut last = clock::monotonic();
        self.ask_helper();
        loop {
            let work = self.journal.parts().queue.next(last);
            let is_over = work.is_over;
            let is_commit = !work.items.is_empty() || work.is_idle;
            self.work(work);
            self.ask_helper();
            if is_over {
                break;
            }
            if is_commit {
                last = clock::monotonic();
            }
        }
        self.commit(&[], Duration::ZERO);
        self.store.close(self.steady_us());
        self.ask_helper();
        self.journal.parts().chores.stop();
        self.journal.parts().published.wake();
    }

    /// Shows at once whether there is a place to write to.
    fn make_first(&mut self) {
        if let Some(place) = self.store.wants() {
            match self.store.maker().make(place) {
                Ok(prepared) => self.store.supply(prepared),
                Err(fault) => {
                    tracing::error!(?place, %fault, "journal: cannot make a segment");
                    self.store.cannot_make(place);
                }
            }
        }
    }

    fn work(&mut self, work: Work) {
        let before = self.journal.condition();
        for made in work.made {
            match made {
                Ok(prepared) => self.store.supply(prepared),
                Err(place) => self.store.cannot_make(place),
            }
        }
        (0..work.ticks).for_each(|_| self.store.tick());
        if !work.items.is_empty() || work.is_idle {
            self.commit(&work.items, self.journal.parts().settings.mark_after);
        }
        if work.is_idle {
            let _ = self.store.mark(self.steady_us());
        }
        let after = self.journal.condition();
        if after > before {
            tracing::error!(condition = after.label(), before = before.label(), "journal");
        } else if after < before {
            tracing::info!(condition = after.label(), before = before.label(), "journal");
        }
    }

    /// Writes records, and how many others were dropped, where so much time has gone by since that
    /// was last said.
    fn commit(&mut self, items: &[Item], every: Duration) {
        let (dropped, at_us) = (self.journal.parts().balance.dropped(), now_us());
        let drops = self.drops.record(dropped, at_us, every);
        if items.is_empty() && drops.is_none() {
            return;
        }
        let drops = drops.as_deref();
        let count =
            |payload| Entry { kind: kind::DROPPED, class: Class::Buffered, ends_s: 0, payload };
        let entries: Vec<Entry<'_>> = items
            .iter()
            .map(|item| Entry {
                kind: item.kind,
                class: item.class,
                ends_s: item.event.map_or(0, |(_, ends_s)| ends_s),
                payload: &item.payload,
            })
            .chain(drops.map(count))
            .collect();
        let begun = clock::monotonic();
        let result = self.store.commit(&entries, self.steady_us());
        let took = clock::monotonic().saturating_duration_since(begun);
        let bytes = items.iter().map(|item| item.payload.len() as u64).sum();
        self.judge(took);
        match result {
            Ok(sequences) => {
                if drops.is_some() {
                    self.drops = Drops { told: dropped, told_us: at_us };
                }
                self.journal.parts().published.committed(took, items.len() as u64, bytes);
                self.tell(items, sequences);
            }
            Err(refused) => self.refuse(items, refused),
        }
    }

    fn tell(&self, items: &[Item], sequences: Range<u64>) {
        let parts = self.journal.parts();
        let durable = items.iter().filter(|item| item.class == Class::Durable).count() as u64;
        parts.balance.append(durable, items.len() as u64 - durable);
        for item in items {
            if let Some((id, expires_s)) = item.event {
                parts.dedupe.settle(id, expires_s);
            }
        }
        for (item, sequence) in items.iter().zip(sequences) {
            if let Some(ticket) = &item.ticket {
                ticket.end(Ok(sequence));
            }
        }
    }

    fn refuse(&self, items: &[Item], refused: Refused) {
        for item in items {
            match item.class {
                Class::Durable => self.journal.refuse(item, refused),
                Class::Buffered => self.journal.parts().balance.drop_queued(1),
            }
        }
    }

    fn judge(&mut self, took: Duration) {
        let parts = self.journal.parts();
        if took > parts.settings.slow_after {
            self.quick = 0;
            parts.published.adjust(|parts| parts.is_slow = true);
        } else if self.quick < QUICK_COMMITS {
            self.quick += 1;
            if self.quick == QUICK_COMMITS {
                parts.published.adjust(|parts| parts.is_slow = false);
            }
        }
    }

    /// What a segment's header says of when it was begun: the time between two of them is right
    /// whatever the wall clock does meanwhile.
    fn steady_us(&self) -> u64 {
        micros(self.journal.parts().start.wall_at(clock::monotonic()))
    }

    fn ask_helper(&mut self) {
        let leftovers = self.store.take_leftovers();
        self.journal.parts().chores.ask(self.store.wants(), leftovers);
    }
}

fn now_us() -> u64 {
    micros(clock::wall())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
