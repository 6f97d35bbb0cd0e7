//! The dead letters of a journal as a reader sees them, while a server may be writing more.
//!
//! Owns: [`open_letters`]. Never: a lock, a change (`dead` has both). Invariant: a letter that is
//! gone is not among them; what the folder has lost is said.

use super::Dirs;
use super::JournalFault;
use super::dead::{Letter, LetterState, folder, parse, parse_closed};
use super::disk::Disk;
use super::survey::survey;
use super::walk::Piece;
use crate::money_event::kind::{LETTER, LETTER_CLOSED};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

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

/// The letters of the journal in a folder that are not gone, at most so many; none where it has
/// no such folder.
pub fn open_letters(disk: &dyn Disk, journal: &Path, most: usize) -> Result<Letters, JournalFault> {
    let main = folder(journal);
    match disk.list(&main) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(Letters::default()),
        other => drop(other.map_err(JournalFault::disk("list", &main))?),
    }
    let mut found = Letters::default();
    let dirs = Dirs { main, spill: None };
    survey(disk, &dirs, 0, &mut |_, piece| match piece {
        Piece::Record(record) if record.tag.kind == LETTER => match parse(record.payload) {
            Ok(_) if found.open.len() >= most => found.is_cut = true,
            Ok(letter) => {
                found.open.insert(record.sequence, (LetterState::Dead, letter));
            }
            Err(_) => found.lost += 1,
        },
        Piece::Record(record) if record.tag.kind == LETTER_CLOSED => {
            match parse_closed(record.payload) {
                Ok((number, state)) if state.is_open() => {
                    if let Some(letter) = found.open.get_mut(&number) {
                        letter.0 = state;
                    }
                }
                Ok((number, _)) => drop(found.open.remove(&number)),
                Err(_) => found.lost += 1,
            }
        }
        Piece::Hole(hole) => found.lost += hole.to - hole.from,
        _ => {}
    })?;
    Ok(found)
}
