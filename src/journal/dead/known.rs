//! What is known of open letters without reading them.
//!
//! Owns: [`Known`], `Index`, and how a record changes what is known. Never: a file. Invariants: a
//! record of a sink has one letter; where a letter stands in the folder twice, since it was moved or
//! since somebody was told that it could not be put, the later one counts.

use super::form::{self, Written};
use super::{Change, Letter, LetterState};
use crate::journal::frame::record_bytes;
use crate::journal::walk::Record;
use crate::money_event::kind::{LETTER, LETTER_CLOSED};
use std::collections::{BTreeMap, HashMap};

/// What is known of an open letter without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub sink: String,
    pub sequence: u64,
    pub state: LetterState,
    pub group: String,
    pub tries: u32,
    pub due_us: u64,
    pub buried_us: u64,
    /// Where it is another than the letter's own.
    pub(super) reason: String,
    /// The sequence of the record in which it stands, and what that takes.
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// Where a letter is written: the record's sequence, and the length of its payload.
pub(super) type Place = (u64, usize);

/// All that are open.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the letter's number.
    pub known: BTreeMap<u64, Known>,
    by_record: HashMap<(String, u64), u64>,
    /// Numbers by the sequence of the record in which each stands.
    by_place: BTreeMap<u64, u64>,
    /// Of their records: all, and those that are dead.
    pub bytes: u64,
    pub dead_bytes: u64,
}

impl Index {
    /// The number of a record's letter.
    pub fn number_of(&self, sink: &str, sequence: u64) -> Option<u64> {
        self.by_record.get(&(sink.to_owned(), sequence)).copied()
    }

    /// Where the first of them stands.
    pub fn first_place(&self) -> Option<u64> {
        self.by_place.keys().next().copied()
    }

    /// Those that stand before a sequence.
    pub fn before(&self, sequence: u64) -> Vec<u64> {
        self.by_place.range(..sequence).map(|(_, number)| *number).collect()
    }

    /// A letter stands there now.
    pub fn put(&mut self, number: u64, letter: &Letter, state: LetterState, place: Place) {
        if let Some(before) = self.number_of(&letter.sink, letter.sequence) {
            self.remove(before);
        }
        self.remove(number);
        let known = Known {
            sink: letter.sink.clone(),
            sequence: letter.sequence,
            state,
            group: letter.group.clone(),
            tries: letter.tries,
            due_us: letter.due_us,
            buried_us: letter.buried_us,
            reason: String::new(),
            at: place.0,
            bytes: record_bytes(place.1) as u64,
        };
        self.by_record.insert((letter.sink.clone(), letter.sequence), number);
        self.by_place.insert(known.at, number);
        self.weigh(&known, true);
        self.known.insert(number, known);
    }

    fn remove(&mut self, number: u64) {
        let Some(gone) = self.known.remove(&number) else { return };
        self.weigh(&gone, false);
        self.by_place.remove(&gone.at);
        self.by_record.remove(&(gone.sink, gone.sequence));
    }

    fn weigh(&mut self, known: &Known, is_there: bool) {
        let dead = if known.state == LetterState::Dead { known.bytes } else { 0 };
        for (sum, bytes) in [(&mut self.bytes, known.bytes), (&mut self.dead_bytes, dead)] {
            *sum = if is_there { *sum + bytes } else { sum.saturating_sub(bytes) };
        }
    }

    /// Takes in a record that was found.
    pub fn note(&mut self, record: &Record<'_>) {
        match record.tag.kind {
            LETTER => {
                if let Ok(Written { letter, state, moved }) = form::parse(record.payload) {
                    let place = (record.sequence, record.payload.len());
                    self.put(moved.unwrap_or(record.sequence), &letter, state, place);
                }
            }
            LETTER_CLOSED => {
                if let Ok(change) = form::parse_change(record.payload) {
                    self.apply(&change);
                }
            }
            _ => {}
        }
    }

    /// Takes in what became of a letter.
    pub fn apply(&mut self, change: &Change) {
        if !change.state.is_open() {
            return self.remove(change.number);
        }
        let Some(mut one) = self.known.remove(&change.number) else { return };
        self.weigh(&one, false);
        (one.state, one.tries, one.due_us) = (change.state, change.tries, change.due_us);
        if change.since_us > 0 {
            one.buried_us = change.since_us;
        }
        if !change.reason.is_empty() {
            one.reason.clone_from(&change.reason);
        }
        self.weigh(&one, true);
        self.known.insert(change.number, one);
    }
}
