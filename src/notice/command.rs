//! `gavel dlq`: the dead letters of notices, for people.
//!
//! Owns: the arguments, the choice of letters, the texts. Never: what a server does with a letter.
//! Invariant: a change of a journal's letters goes through the one process that has them: this one
//! where no server runs, else the server, by an order ([`super::orders`]). Those of a stream
//! (`streamed`) are anybody's.

mod streamed;

use super::orders::{self, Order};
use crate::broker::{self, BrokerFault};
use crate::clock;
use crate::journal::dead::look::{Found, look};
use crate::journal::dead::{Change, DeadLetters, LetterState};
use crate::journal::disk::real::RealDisk;
use crate::journal::{JournalFault, Settings};
use crate::money_event::codec::read_event;
use crate::money_event::shown::tame;
use crate::money_event::{EventType, MoneyEvent};
use serde_json::{Value, json};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take to obey.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often its order is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where the letters are.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// The journal's folder.
    dir: Option<PathBuf>,
    /// The main file: with `events.ack = "broker"` letters of the stream that its `[broker]` names, else
    /// those of its journal.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Who has the letters.
#[derive(Clone, Debug)]
pub enum Keeper {
    Journal(PathBuf),
    Stream(Box<broker::Settings>),
}

/// Which letters.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Choice {
    /// A letter's number (may be given more than once).
    #[arg(long = "letter", value_name = "NUMBER")]
    letters: Vec<u64>,
    /// An event's id.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// A bidder's letters.
    #[arg(long)]
    bidder: Option<String>,
    /// Letters whose notice was first to be sent so many minutes ago, or longer.
    #[arg(long, value_name = "MINUTES")]
    older: Option<u64>,
}

/// What can be asked of dead letters.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum DlqCommand {
    /// Notices that were put aside: dead ones, and those that are still tried.
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        choice: Choice,
        /// As JSON lines, with their URLs.
        #[arg(long)]
        json: bool,
    },
    /// Have dead ones tried again: their tries, and their day, begin anew.
    Replay {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        choice: Choice,
        /// All dead letters, where nothing else chooses.
        #[arg(long)]
        all: bool,
    },
    /// Give dead ones up for ever.
    Purge {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        choice: Choice,
        /// All dead letters, where nothing else chooses.
        #[arg(long)]
        all: bool,
        /// Why, for the log.
        #[arg(long)]
        reason: String,
    },
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum DlqFault {
    #[error("{} is no folder of a journal", .0.display())]
    Folder(PathBuf),
    #[error("cannot read the letters")]
    Letters(#[source] JournalFault),
    #[error("cannot leave an order for the server that has the journal")]
    Order(#[source] io::Error),
    #[error("choose letters: --letter, --event, --bidder, --older, or --all")]
    NoChoice,
    #[error(transparent)]
    Broker(#[from] BrokerFault),
    #[error("the server that has the journal has not obeyed in {} s; {} is left for it", PATIENCE.as_secs(), .0.display())]
    Patience(PathBuf),
}

impl DlqCommand {
    /// The main file, where that says who has the letters; else the journal's folder.
    pub fn place(&self) -> Result<&Path, PathBuf> {
        let (Self::List { place, .. } | Self::Replay { place, .. } | Self::Purge { place, .. }) =
            self;
        match &place.config {
            Some(config) => Ok(config),
            None => Err(place.dir.clone().unwrap_or_default()),
        }
    }
}

/// A letter as it is shown, wherever it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    number: u64,
    state: LetterState,
    kind: String,
    event: Option<String>,
    auction: Option<String>,
    url: Option<String>,
    bidder: String,
    tries: u32,
    reason: String,
    since_us: u64,
    due_us: u64,
    /// When it was given up, where that is known.
    died_us: Option<u64>,
    /// Of its record in a journal.
    sequence: Option<u64>,
}

impl Row {
    fn of((number, state, letter): &Found) -> Self {
        let kind = EventType::of_kind(letter.kind);
        let event = kind.and_then(|kind| read_event(kind, &letter.payload).ok());
        let part = |of: fn(&MoneyEvent) -> String| event.as_ref().map(of);
        Self {
            number: *number,
            state: *state,
            kind: kind.map_or("?", EventType::label).to_owned(),
            event: part(|event| event.id.to_string()),
            auction: part(|event| event.auction_id.clone()),
            url: part(|event| event.url.clone()),
            bidder: letter.group.clone(),
            tries: letter.tries,
            reason: letter.reason.clone(),
            since_us: letter.buried_us,
            due_us: letter.due_us,
            died_us: None,
            sequence: Some(letter.sequence),
        }
    }
}

impl Row {
    /// What its number of tries is: the broker counts how often a notice was taken, and not every time
    /// was a try.
    fn counted(&self) -> &'static str {
        if self.sequence.is_some() { "tries" } else { "taken" }
    }
}

impl Choice {
    fn is_empty(&self) -> bool {
        let Self { letters, event, bidder, older } = self;
        letters.is_empty() && event.is_none() && bidder.is_none() && older.is_none()
    }

    fn takes(&self, row: &Row, now_us: u64) -> bool {
        let is_older = |minutes: u64| now_us.saturating_sub(row.since_us) / 60_000_000 >= minutes;
        (self.letters.is_empty() || self.letters.contains(&row.number))
            && (self.event.is_none() || self.event == row.event)
            && self.bidder.as_ref().is_none_or(|bidder| row.bidder == *bidder)
            && self.older.is_none_or(is_older)
    }
}

/// Does it; the text is for standard output.
pub fn run(command: DlqCommand, keeper: &Keeper) -> Result<String, DlqFault> {
    let now_us = super::schedule::micros(clock::wall());
    let dir = match keeper {
        Keeper::Journal(dir) => dir,
        Keeper::Stream(settings) => return streamed::run(command, settings, now_us),
    };
    match command {
        DlqCommand::List { choice, json, .. } => {
            let found = found(dir, &choice, now_us)?;
            Ok(if json { lines(&found) } else { table(&found, now_us) })
        }
        DlqCommand::Replay { choice, all, .. } => {
            let letters = dead(dir, &choice, all, now_us)?;
            let count = letters.len();
            change(dir, &Order::Replay { letters }, now_us)?;
            Ok(format!("{count} letters are tried again"))
        }
        DlqCommand::Purge { choice, all, reason, .. } => {
            let letters = dead(dir, &choice, all, now_us)?;
            let count = letters.len();
            change(dir, &Order::Purge { letters, reason }, now_us)?;
            Ok(format!("{count} letters are given up"))
        }
    }
}

fn found(dir: &Path, choice: &Choice, now_us: u64) -> Result<Vec<Row>, DlqFault> {
    if !dir.is_dir() {
        return Err(DlqFault::Folder(dir.to_owned()));
    }
    let found = look(&RealDisk, dir, usize::MAX).map_err(DlqFault::Letters)?.list();
    let mut rows: Vec<Row> = found.iter().map(Row::of).collect();
    rows.retain(|row| choice.takes(row, now_us));
    Ok(rows)
}

fn dead(dir: &Path, choice: &Choice, all: bool, now_us: u64) -> Result<Vec<u64>, DlqFault> {
    if choice.is_empty() && !all {
        return Err(DlqFault::NoChoice);
    }
    let found = found(dir, choice, now_us)?;
    let dead = found.iter().filter(|row| row.state == LetterState::Dead);
    Ok(dead.map(|row| row.number).collect())
}

fn change(dir: &Path, order: &Order, now_us: u64) -> Result<(), DlqFault> {
    let (Order::Replay { letters } | Order::Purge { letters, .. }) = order;
    if letters.is_empty() {
        return Ok(());
    }
    match DeadLetters::open(Arc::new(RealDisk), &Settings::new(dir), usize::MAX) {
        Ok(mut open) => {
            let changed = open.change_all(&changes(order, now_us));
            open.close(now_us);
            changed.map_err(DlqFault::Letters)
        }
        Err(JournalFault::Locked(_)) => {
            let path = orders::place(dir, order).map_err(DlqFault::Order)?;
            let until = clock::monotonic() + PATIENCE;
            while path.exists() {
                if clock::monotonic() > until {
                    return Err(DlqFault::Patience(path));
                }
                std::thread::sleep(LOOK_EVERY);
            }
            Ok(())
        }
        Err(fault) => Err(DlqFault::Letters(fault)),
    }
}

fn changes(order: &Order, now_us: u64) -> Vec<Change> {
    let change = |number: &u64| match order {
        Order::Replay { .. } => Change {
            number: *number,
            state: LetterState::Pending,
            due_us: now_us,
            since_us: now_us,
            ..Change::default()
        },
        Order::Purge { reason, .. } => Change {
            number: *number,
            state: LetterState::Purged,
            reason: reason.clone(),
            ..Change::default()
        },
    };
    let (Order::Replay { letters } | Order::Purge { letters, .. }) = order;
    letters.iter().map(change).collect()
}

fn lines(rows: &[Row]) -> String {
    let line = |row: &Row| -> Value {
        json!({
            "letter": row.number,
            "state": row.state.label(),
            "bidder": row.bidder,
            (row.counted()): row.tries,
            "reason": row.reason,
            "since_us": row.since_us,
            "due_us": (row.due_us > 0).then_some(row.due_us),
            "died_us": row.died_us,
            "sequence": row.sequence,
            "event": row.event,
            "type": row.event.as_ref().map(|_| &row.kind),
            "auction": row.auction,
            "url": row.url,
        })
    };
    let mut out = String::new();
    for row in rows {
        let _ = writeln!(out, "{}", tame(&line(row).to_string()));
    }
    out
}

fn table(rows: &[Row], now_us: u64) -> String {
    let mut out = format!(
        "{:>8} {:<8} {:<8} {:<32} {:<20} {:>5} {:>9} {}\n",
        "letter",
        "state",
        "type",
        "event",
        "bidder",
        rows.first().map_or("tries", Row::counted),
        "minutes",
        "reason"
    );
    for row in rows {
        let _ = writeln!(
            out,
            "{:>8} {:<8} {:<8} {:<32} {:<20} {:>5} {:>9} {}",
            row.number,
            row.state.label(),
            tame(&row.kind),
            tame(row.event.as_deref().unwrap_or_default()),
            tame(&row.bidder),
            row.tries,
            now_us.saturating_sub(row.since_us) / 60_000_000,
            tame(&row.reason)
        );
    }
    let dead = rows.iter().filter(|row| row.state == LetterState::Dead).count();
    let _ = writeln!(out, "{dead} dead, {} pending", rows.len() - dead);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::dead::Letter;
    use crate::money_event::EventId;
    use crate::money_event::codec::write_event;

    fn letters(dir: &Path) -> Vec<u64> {
        let mut open = DeadLetters::open(Arc::new(RealDisk), &Settings::new(dir), 100).unwrap();
        let letter = |sequence: u64| {
            let event = MoneyEvent {
                event: EventType::Billing,
                id: EventId(u128::from(sequence) << 4),
                url: format!("https://bidder.example/{sequence}"),
                ..MoneyEvent::default()
            };
            let mut payload = Vec::new();
            write_event(&event, &mut payload);
            Letter {
                sink: super::super::shelf::SINK.to_owned(),
                reason: "status 500".to_owned(),
                tries: 12,
                buried_us: 1,
                sequence,
                kind: EventType::Billing.kind(),
                payload,
                group: if sequence.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
                due_us: 0,
            }
        };
        let all: Vec<Letter> = (0..6).map(letter).collect();
        let numbers = open.put(&all, LetterState::Dead).unwrap();
        open.close(0);
        numbers
    }

    fn tried(command: DlqCommand) -> Result<String, DlqFault> {
        let keeper = Keeper::Journal(command.place().unwrap_err());
        run(command, &keeper)
    }

    fn said(command: DlqCommand) -> String {
        tried(command).unwrap()
    }

    fn at(dir: &Path) -> Place {
        Place { dir: Some(dir.to_owned()), config: None }
    }

    fn bidder(name: &str) -> Choice {
        Choice { bidder: Some(name.to_owned()), ..Choice::default() }
    }

    #[test]
    fn letters_are_listed_replayed_and_purged_by_what_is_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_owned();
        let numbers = letters(&dir);
        let list = |choice, json| said(DlqCommand::List { place: at(&dir), choice, json });
        assert!(list(Choice::default(), false).ends_with("6 dead, 0 pending\n"));
        assert_eq!(list(bidder("odd"), true).lines().count(), 3);
        let event = EventId(3 << 4).to_string();
        let one = list(Choice { event: Some(event.clone()), ..Choice::default() }, true);
        let one: Value = serde_json::from_str(&one).unwrap();
        assert_eq!((&one["letter"], &one["event"]), (&json!(numbers[3]), &json!(event)));
        assert_eq!(one["url"], "https://bidder.example/3");
        let recent = Choice { older: Some(u64::MAX), ..Choice::default() };
        assert!(list(recent, false).ends_with("0 dead, 0 pending\n"));

        let none = DlqCommand::Replay { place: at(&dir), choice: Choice::default(), all: false };
        assert!(matches!(tried(none), Err(DlqFault::NoChoice)));
        said(DlqCommand::Replay { place: at(&dir), choice: bidder("odd"), all: false });
        assert!(list(Choice::default(), false).ends_with("3 dead, 3 pending\n"));
        let choice = Choice { letters: vec![numbers[0], numbers[1]], ..Choice::default() };
        let reason = "a test".to_owned();
        let purge = DlqCommand::Purge { place: at(&dir), choice, all: false, reason };
        // of the two one is pending: only dead ones are given up
        assert_eq!(said(purge), "1 letters are given up");
        assert!(list(Choice::default(), false).ends_with("2 dead, 3 pending\n"));
    }

    #[test]
    fn a_folder_without_letters_has_none_and_no_folder_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let choice = Choice::default();
        let list =
            |dir: &Path| DlqCommand::List { place: at(dir), choice: choice.clone(), json: false };
        assert!(said(list(folder.path())).ends_with("0 dead, 0 pending\n"));
        assert!(!crate::journal::dead::folder(folder.path()).exists());
        assert!(matches!(tried(list(&folder.path().join("no"))), Err(DlqFault::Folder(_))));
    }
}
