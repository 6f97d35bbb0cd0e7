//! From records to totals and findings.
//!
//! Owns: [`Tally`], [`Totals`]. Never: a text, a file's format. Invariant: whatever the order in
//! which sources are read, and however often one record is among them, the result is the same.

use super::sale::{Finding, Sale, Trouble};
use super::sort::{Merge, Sorter};
use super::source::{DeadNotice, Death, Item};
use super::sums::{Rows, moment};
use super::{LedgerFault, Question};
use crate::journal::dead::{Letter, LetterState};
use crate::money::Currency;
use crate::money_event::codec::{
    read_auction, read_drops, read_event, write_auction, write_drops, write_event,
};
use crate::money_event::{EventId, EventType, MoneyEvent, kind};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of an entry before the record itself: id or sum, time, kind.
const HEAD_BYTES: usize = 16 + 8 + 1;

/// Takes records.
#[derive(Debug)]
pub struct Tally {
    question: Question,
    dir: PathBuf,
    events: Sorter,
    /// What has no id of its own goes by the sum of its bytes.
    others: Sorter,
    rows: Rows,
    /// One source cannot hold a record twice: what has no id is then added up at once.
    is_alone: bool,
    letters: BTreeMap<EventId, Undelivered>,
    /// What streams say; in which order is not known before all is read.
    dead: BTreeMap<Death, Undelivered>,
    closed: BTreeSet<Death>,
    entry: Vec<u8>,
}

/// A notice that its bidder has not got.
#[derive(Clone, Debug)]
struct Undelivered {
    event: MoneyEvent,
    note: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub rows: Rows,
    pub troubles: BTreeMap<Trouble, Stake>,
    /// Events that were read; records of them that were there more than once.
    pub events: u64,
    pub copies: u64,
}

/// Findings of one kind: how many, and the gross of the events that they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stake {
    pub count: u64,
    pub gross: BTreeMap<Currency, i128>,
}

/// Takes findings, in the order of their sales.
pub type Show<'s> = dyn FnMut(&Finding<'_>) -> io::Result<()> + 's;

impl Tally {
    /// For a question, in so many bytes of memory and files of a folder. `is_alone`: all
    /// is of one journal, which has no record twice.
    pub fn new(question: Question, dir: &Path, memory: usize, is_alone: bool) -> Self {
        let others = if is_alone { 0 } else { memory / 2 };
        Self {
            question,
            dir: dir.to_owned(),
            events: Sorter::new(dir, memory - others),
            others: Sorter::new(dir, others),
            rows: Rows::default(),
            is_alone,
            letters: BTreeMap::new(),
            dead: BTreeMap::new(),
            closed: BTreeSet::new(),
            entry: Vec::new(),
        }
    }

    /// A record.
    pub fn take(&mut self, item: Item) -> Result<(), LedgerFault> {
        match item {
            Item::Event(event) => self.take_event(event),
            Item::Auction(record) if self.is_alone => {
                self.rows.add_auction(&record, &self.question)
            }
            Item::Auction(record) => {
                self.take_other(kind::AUCTION, record.at_us, |out| write_auction(&record, out))
            }
            Item::Dropped(count) if self.is_alone => {
                self.rows.add_drops(count, &self.question);
                Ok(())
            }
            Item::Dropped(count) => {
                self.take_other(kind::DROPPED, count.to_us, |out| write_drops(count, out))
            }
            Item::Letter(state, letter) => {
                self.take_letter(state, &letter);
                Ok(())
            }
            Item::Dead(notice) => {
                self.take_dead(notice);
                Ok(())
            }
            Item::Closed(death) => {
                self.closed.insert(death);
                Ok(())
            }
        }
    }

    fn take_event(&mut self, mut event: MoneyEvent) -> Result<(), LedgerFault> {
        // long, and of no account here
        event.url.clear();
        self.entry.clear();
        self.entry.extend_from_slice(&event.id.0.to_be_bytes());
        self.entry.extend_from_slice(&event.received_us.to_be_bytes());
        self.entry.push(event.event.kind());
        write_event(&event, &mut self.entry);
        self.events.push(&self.entry).map_err(|cause| LedgerFault::Sort(self.dir.clone(), cause))
    }

    fn take_other(
        &mut self,
        kind: u8,
        at_us: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), LedgerFault> {
        self.entry.clear();
        self.entry.resize(16, 0);
        self.entry.extend_from_slice(&at_us.to_be_bytes());
        self.entry.push(kind);
        write(&mut self.entry);
        let sum = blake3::hash(self.entry.get(16..).unwrap_or_default());
        for (to, from) in self.entry.iter_mut().zip(sum.as_bytes().iter().take(16)) {
            *to = *from;
        }
        self.others.push(&self.entry).map_err(|cause| LedgerFault::Sort(self.dir.clone(), cause))
    }

    fn take_letter(&mut self, state: LetterState, letter: &Letter) {
        let Some(event) = EventType::of_kind(letter.kind) else { return };
        let Ok(event) = read_event(event, &letter.payload) else { return };
        let (sink, tries, reason) = (&letter.sink, letter.tries, &letter.reason);
        let waits = if state == LetterState::Pending { "; to be tried again" } else { "" };
        let note = format!("{sink}: {tries} tries: {reason}{waits}");
        self.letters.insert(event.id, Undelivered { event, note });
    }

    fn take_dead(&mut self, notice: DeadNotice) {
        let DeadNotice { mut event, origin, tries, reason } = notice;
        event.url.clear();
        let note = format!("stream: {tries} tries: {reason}");
        self.dead.insert((event.id, origin), Undelivered { event: *event, note });
    }

    /// All is read: adds up, and shows what does not add up.
    pub fn finish(mut self, show: &mut Show<'_>) -> Result<Totals, LedgerFault> {
        for (death, undelivered) in std::mem::take(&mut self.dead) {
            if !self.closed.contains(&death) {
                self.letters.insert(death.0, undelivered);
            }
        }
        let sort = |cause| LedgerFault::Sort(self.dir.clone(), cause);
        let events = self.events.pushed();
        let mut report = Report {
            question: self.question,
            totals: Totals { rows: self.rows, events, ..Totals::default() },
        };
        let mut others = self.others.finish().map_err(sort)?;
        while let Some(entry) = others.step().map_err(sort)? {
            report.add_other(entry)?;
        }
        drop(others);
        let merge = self.events.finish().map_err(sort)?;
        let kept = report.add_events(merge, &sort, show)?;
        report.totals.copies = events - kept;
        for letter in self.letters.into_values() {
            let Undelivered { event, note } = &letter;
            let note = note.clone();
            report.find(&Finding { trouble: Trouble::Undelivered, event, note }, show)?;
        }
        Ok(report.totals)
    }

    /// Most bytes that are held of events and of other records.
    pub const fn held(&self) -> usize {
        self.events.held() + self.others.held()
    }
}

struct Report {
    question: Question,
    totals: Totals,
}

impl Report {
    fn add_other(&mut self, entry: &[u8]) -> Result<(), LedgerFault> {
        let bytes = entry.get(HEAD_BYTES..).unwrap_or_default();
        // these are our own bytes: what does not hold here was never written
        if entry.get(HEAD_BYTES - 1) == Some(&kind::DROPPED) {
            let count = read_drops(bytes).unwrap_or_default();
            self.totals.rows.add_drops(count, &self.question);
            return Ok(());
        }
        match read_auction(bytes) {
            Ok(record) => self.totals.rows.add_auction(&record, &self.question),
            Err(_) => Ok(()),
        }
    }

    /// Answers how many there were, each record once.
    fn add_events(
        &mut self,
        mut merge: Merge,
        sort: &dyn Fn(io::Error) -> LedgerFault,
        show: &mut Show<'_>,
    ) -> Result<u64, LedgerFault> {
        let (mut sale, mut kept) = (Sale::default(), 0);
        while let Some(entry) = merge.step().map_err(sort)? {
            let Some(event) = event_of(entry) else { continue };
            kept += 1;
            if event.id.sale() != sale.id() {
                self.close(&sale, show)?;
                sale = Sale::new(event.id.sale());
            }
            sale.add(event);
        }
        self.close(&sale, show)?;
        Ok(kept)
    }

    fn close(&mut self, sale: &Sale, show: &mut Show<'_>) -> Result<(), LedgerFault> {
        self.totals.rows.add_sale(sale, &self.question)?;
        let findings = sale.judge(&self.question);
        findings.iter().try_for_each(|finding| self.find(finding, show))
    }

    fn find(&mut self, finding: &Finding<'_>, show: &mut Show<'_>) -> Result<(), LedgerFault> {
        let event = finding.event;
        if !self.question.span.holds(moment(event, self.question.moment)) {
            return Ok(());
        }
        let stake = self.totals.troubles.entry(finding.trouble).or_default();
        stake.count += 1;
        *stake.gross.entry(event.gross.currency).or_default() +=
            event.multiplier.cost(event.gross.price);
        show(finding).map_err(LedgerFault::Write)
    }
}

fn event_of(entry: &[u8]) -> Option<MoneyEvent> {
    let event = EventType::of_kind(*entry.get(HEAD_BYTES - 1)?)?;
    read_event(event, entry.get(HEAD_BYTES..)?).ok()
}
