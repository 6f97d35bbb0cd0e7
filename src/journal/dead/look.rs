//! Letters, looked at from outside.
//!
//! Owns: [`look`]. Never: a change, a lock: letters may be looked at while they are written.
//! Invariant: a letter that is gone is not among them; what the folder has lost is said.

use super::form::{self, Written};
use super::{Letter, LetterState, folder};
use crate::journal::disk::Disk;
use crate::journal::survey::survey;
use crate::journal::walk::{Piece, Record};
use crate::journal::{Dirs, JournalFault};
use crate::money_event::kind::{LETTER, LETTER_CLOSED};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// A letter, its number and its state.
pub type Found = (u64, LetterState, Letter);

/// What the folder of dead letters holds.
#[derive(Debug, Default)]
pub struct Letters {
    /// By number.
    pub open: BTreeMap<u64, (LetterState, Letter)>,
    /// Records of the folder that are lost, and letters that cannot be read.
    pub lost: u64,
    /// There are more open letters than were asked for.
    pub is_cut: bool,
}

/// The letters of the journal in a folder that are not gone, at most so many, without a lock: also
/// while another process has it. None where the journal has no such folder.
pub fn look(disk: &dyn Disk, journal: &Path, most: usize) -> Result<Letters, JournalFault> {
    let main = folder(journal);
    match disk.list(&main) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Letters::default()),
        other => drop(other.map_err(JournalFault::disk("list", &main))?),
    }
    let mut found = Letters::default();
    let dirs = Dirs { main, spill: None };
    survey(disk, &dirs, 0, &mut |_, piece| match piece {
        Piece::Record(record) if record.tag.kind == LETTER => found.meet(record, most),
        Piece::Record(record) if record.tag.kind == LETTER_CLOSED => found.change(record.payload),
        Piece::Hole(hole) => found.lost += hole.to - hole.from,
        _ => {}
    })?;
    Ok(found)
}

impl Letters {
    /// In the order of their numbers.
    pub fn list(self) -> Vec<Found> {
        let open = self.open.into_iter();
        open.map(|(number, (state, letter))| (number, state, letter)).collect()
    }

    fn meet(&mut self, record: &Record<'_>, most: usize) {
        match form::parse(record.payload) {
            Ok(Written { letter, state, moved }) => {
                let number = moved.unwrap_or(record.sequence);
                if self.open.len() < most || self.open.contains_key(&number) {
                    self.open.insert(number, (state, letter));
                } else {
                    self.is_cut = true;
                }
            }
            Err(_) => self.lost += 1,
        }
    }

    fn change(&mut self, payload: &[u8]) {
        let Ok(change) = form::parse_change(payload) else {
            self.lost += 1;
            return;
        };
        if !change.state.is_open() {
            self.open.remove(&change.number);
        } else if let Some((state, letter)) = self.open.get_mut(&change.number) {
            (*state, letter.tries, letter.due_us) = (change.state, change.tries, change.due_us);
            if change.since_us > 0 {
                letter.buried_us = change.since_us;
            }
            if !change.reason.is_empty() {
                letter.reason = change.reason;
            }
        }
    }
}
