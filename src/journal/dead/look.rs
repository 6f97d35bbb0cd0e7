//! Letters, looked at from outside.
//!
//! Owns: [`look`]. Never: a change, a lock: letters may be looked at while they are written.

use super::{Letter, LetterState, folder, form};
use crate::journal::disk::Disk;
use crate::journal::survey::survey;
use crate::journal::walk::Piece;
use crate::journal::{Dirs, JournalFault};
use crate::money_event::kind::{LETTER, LETTER_CLOSED};
use std::collections::BTreeMap;
use std::path::Path;

/// A letter, its number and its state.
pub type Found = (u64, LetterState, Letter);

/// The open letters of the journal in a folder, without a lock: also while another process has it.
pub fn look(disk: &dyn Disk, journal: &Path) -> Result<Vec<Found>, JournalFault> {
    let dirs = Dirs { main: folder(journal), spill: None };
    let mut found = BTreeMap::<u64, (LetterState, Letter)>::new();
    survey(disk, &dirs, 0, &mut |_, piece| {
        let Piece::Record(record) = piece else { return };
        if record.tag.kind == LETTER
            && let Ok((letter, state)) = form::parse(record.payload)
        {
            found.insert(record.sequence, (state, letter));
        } else if record.tag.kind == LETTER_CLOSED
            && let Ok(change) = form::parse_change(record.payload)
            && let Some((state, letter)) = found.get_mut(&change.number)
        {
            (*state, letter.tries, letter.due_us) = (change.state, change.tries, change.due_us);
            if change.since_us > 0 {
                letter.buried_us = change.since_us;
            }
            if !change.reason.is_empty() {
                letter.reason = change.reason;
            }
        }
    })?;
    found.retain(|_, (state, _)| state.is_open());
    Ok(found.into_iter().map(|(number, (state, letter))| (number, state, letter)).collect())
}
