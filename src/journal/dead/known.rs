//! What is known of open letters without reading them.
//!
//! Owns: [`Known`], and how a record changes what is known. Never: a file.

use super::form;
use super::{Change, Letter, LetterState};
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
}

impl Known {
    pub(super) fn of(letter: &Letter, state: LetterState) -> Self {
        Self {
            sink: letter.sink.clone(),
            sequence: letter.sequence,
            state,
            group: letter.group.clone(),
            tries: letter.tries,
            due_us: letter.due_us,
            buried_us: letter.buried_us,
            reason: String::new(),
        }
    }
}

/// Takes in a record that was found.
pub(super) fn note(
    record: &Record<'_>,
    known: &mut BTreeMap<u64, Known>,
    by_record: &mut HashMap<(String, u64), u64>,
) {
    match record.tag.kind {
        LETTER => {
            if let Ok((letter, state)) = form::parse(record.payload) {
                by_record.insert((letter.sink.clone(), letter.sequence), record.sequence);
                known.insert(record.sequence, Known::of(&letter, state));
            }
        }
        LETTER_CLOSED => {
            if let Ok(change) = form::parse_change(record.payload) {
                apply(&change, known, by_record);
            }
        }
        _ => {}
    }
}

/// Takes in what became of a letter.
pub(super) fn apply(
    change: &Change,
    known: &mut BTreeMap<u64, Known>,
    by_record: &mut HashMap<(String, u64), u64>,
) {
    if change.state.is_open() {
        if let Some(one) = known.get_mut(&change.number) {
            (one.state, one.tries, one.due_us) = (change.state, change.tries, change.due_us);
            if change.since_us > 0 {
                one.buried_us = change.since_us;
            }
            if !change.reason.is_empty() {
                one.reason.clone_from(&change.reason);
            }
        }
    } else if let Some(gone) = known.remove(&change.number) {
        by_record.remove(&(gone.sink, gone.sequence));
    }
}
