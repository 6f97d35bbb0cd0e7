//! `gavel dlq` of a stream: dead notices of events that only the broker has.
//!
//! Owns: their rows, the order in which letters are closed. Never: a message. Invariant: each letter
//! is closed by itself; where one cannot be, those before it are, and the same command goes on.

use super::{Choice, DlqCommand, DlqFault, Row, lines, table};
use crate::broker::dead::{Closing, DeadNotice};
use crate::broker::letters::{Found, LETTERS_MAX, Letters};
use crate::broker::{BrokerFault, Settings};
use crate::journal::dead::LetterState;
use std::fmt::Write;

pub fn run(command: DlqCommand, settings: &Settings, now_us: u64) -> Result<String, DlqFault> {
    match command {
        DlqCommand::List { choice, json, .. } => {
            let found = Letters::open(settings)?.list(choice.bidder.as_deref())?;
            let is_all = is_all(&found);
            let mut rows: Vec<Row> = found.open.iter().map(row).collect();
            rows.retain(|row| choice.takes(row, now_us));
            let (mut text, more) = if json {
                (lines(&rows), "{\"more\":true}".to_owned())
            } else {
                (table(&rows, now_us), format!("of the oldest {LETTERS_MAX}: there are more"))
            };
            if !is_all {
                let _ = writeln!(text, "{more}");
            }
            if !json && !found.left.is_empty() {
                let left = found.left.len();
                let _ = writeln!(text, "{left} more are closed: a replay or a purge removes them");
            }
            Ok(text)
        }
        DlqCommand::Replay { choice, all, .. } => {
            let closed = close(settings, &choice, all, &Closing::Again, now_us)?;
            Ok(closed.text("tried again", "given up"))
        }
        DlqCommand::Purge { choice, all, reason, .. } => {
            let closed = close(settings, &choice, all, &Closing::Purged(reason), now_us)?;
            Ok(closed.text("given up", "tried again"))
        }
    }
}

fn is_all(found: &Found) -> bool {
    found.open.len() + found.left.len() < LETTERS_MAX
}

/// How many letters were closed as was asked, and how many somebody had closed otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Closed {
    as_asked: usize,
    otherwise: usize,
    /// Closed ones that could not be removed.
    stay: usize,
    is_all: bool,
}

impl Closed {
    /// What became of one: whether it is closed as was asked. One that nobody may remove is closed all
    /// the same, and holds up no other.
    fn count(&mut self, done: Result<Option<bool>, BrokerFault>) -> Result<(), BrokerFault> {
        match done {
            Ok(None) => {}
            Ok(Some(true)) => self.as_asked += 1,
            Ok(Some(false)) => self.otherwise += 1,
            Err(BrokerFault::Remove(..)) => self.stay += 1,
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn text(self, asked: &str, other: &str) -> String {
        let mut text = format!("{} letters are {asked}", self.as_asked);
        if self.otherwise > 0 {
            let _ = write!(text, ", {} had been {other} before", self.otherwise);
        }
        if self.stay > 0 {
            let _ =
                write!(text, "; {} closed ones cannot be removed, and are not listed", self.stay);
        }
        if !self.is_all {
            let _ = write!(text, "; of the oldest {LETTERS_MAX}, there are more");
        }
        text
    }
}

fn close(
    settings: &Settings,
    choice: &Choice,
    all: bool,
    closing: &Closing,
    now_us: u64,
) -> Result<Closed, DlqFault> {
    if choice.is_empty() && !all {
        return Err(DlqFault::NoChoice);
    }
    let letters = Letters::open(settings)?;
    let found = letters.list(choice.bidder.as_deref())?;
    let mut closed = Closed { is_all: is_all(&found), ..Closed::default() };
    for left in &found.left {
        closed.count(letters.remove(left).map(|()| None))?;
    }
    for dead in found.open.iter().filter(|dead| choice.takes(&row(dead), now_us)) {
        closed.count(letters.close(dead, closing, now_us).map(Some))?;
    }
    Ok(closed)
}

fn row(dead: &DeadNotice) -> Row {
    let text = |key: &str| Some(dead.text(key).to_owned());
    // one of an older build says only when its event came
    let since_us = match dead.whole("first_us") {
        0 => dead.whole("received_us"),
        first_us => first_us,
    };
    Row {
        number: dead.number(),
        state: LetterState::Dead,
        kind: dead.text("event").to_owned(),
        event: text("id"),
        auction: text("auction_id"),
        url: text("url"),
        bidder: dead.text("bidder").to_owned(),
        tries: u32::try_from(dead.whole("tries")).unwrap_or(u32::MAX),
        reason: dead.text("reason").to_owned(),
        since_us,
        due_us: 0,
        died_us: Some(dead.whole("died_us")).filter(|us| *us > 0),
        sequence: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_is_told_in_one_line() {
        for (as_asked, otherwise, stay, is_all, expected) in [
            (3, 0, 0, true, "3 letters are tried again"),
            (1, 2, 0, true, "1 letters are tried again, 2 had been given up before"),
            (0, 0, 0, false, "0 letters are tried again; of the oldest 100000, there are more"),
            (
                2,
                0,
                3,
                true,
                "2 letters are tried again; 3 closed ones cannot be removed, and are not listed",
            ),
        ] {
            let closed = Closed { as_asked, otherwise, stay, is_all };
            assert_eq!(closed.text("tried again", "given up"), expected);
        }
    }

    #[test]
    fn one_that_cannot_be_removed_holds_up_no_other_and_any_other_fault_does() {
        let stuck = || Err(BrokerFault::Remove(7, "not permitted".into()));
        let mut closed = Closed::default();
        for done in [stuck(), Ok(Some(true)), stuck(), Ok(Some(false)), Ok(None)] {
            closed.count(done).unwrap();
        }
        assert_eq!((closed.as_asked, closed.otherwise, closed.stay), (1, 1, 2));
        assert!(closed.count(Err(BrokerFault::Late)).is_err());
    }

    #[test]
    fn a_row_is_what_the_dead_notice_says() {
        let line = br#"{"type":"dead_notice","event":"win","id":"0a","bidder":"b","url":"u",
            "auction_id":"x","tries":4,"reason":"status 400","received_us":5,"died_us":9}"#;
        let row = row(&DeadNotice::read(8, line).unwrap());
        assert_eq!((row.number, row.tries, row.since_us, row.died_us), (8, 4, 5, Some(9)));
        let told = [row.kind.as_str(), row.bidder.as_str(), row.reason.as_str()];
        assert_eq!(told, ["win", "b", "status 400"]);
        // what is counted is not tries
        let line: serde_json::Value =
            serde_json::from_str(&lines(std::slice::from_ref(&row))).unwrap();
        assert_eq!((&line["taken"], &line["tries"]), (&4.into(), &serde_json::Value::Null));
        assert!(table(std::slice::from_ref(&row), 9).lines().next().unwrap().contains(" taken "));
        let told = [row.event, row.auction, row.url].map(Option::unwrap);
        assert_eq!(told, ["0a", "x", "u"]);
    }
}
