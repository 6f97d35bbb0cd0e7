//! Which two folders belong together: a journal's, and the one that it spills to.
//!
//! Owns: the marks in both, and what is refused where one of the two is not there. Never: a segment.
//! Invariants: as long as the spill folder may hold records there is a mark in the journal's folder; it
//! goes when a journal without such is closed, or when it is seen that there are none. A journal that
//! began without half of its records would give their sequences a second time, and count again what
//! they say was counted.

use super::disk::{Disk, read_whole, replace};
use super::published::Table;
use super::survey::survey;
use super::{Dirs, JournalFault, Place};
use crate::clock;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// In the journal's folder, and in the one that it spills to.
const OURS: &str = "spill-folder";
const THEIRS: &str = "spill-of";

const TITLE: &str = "gavel journal spill 1";
const BYTES_MAX: usize = 16 << 10;

/// Says in each folder which the other one is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    id: String,
    other: PathBuf,
}

impl Mark {
    fn write(&self) -> String {
        format!("{TITLE}\n{}\n{}\n", self.id, self.other.display())
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (title, rest) = text.split_once('\n')?;
        let (id, other) = rest.strip_suffix('\n')?.split_once('\n')?;
        (title == TITLE).then(|| Self { id: id.to_owned(), other: PathBuf::from(other) })
    }

    /// `None`: there is none in the folder.
    fn load(disk: &dyn Disk, dir: &Path, name: &str) -> Result<Option<Self>, JournalFault> {
        let found = disk.list(dir).map_err(JournalFault::disk("list", dir))?;
        if !found.iter().any(|entry| entry.name == name) {
            return Ok(None);
        }
        let path = dir.join(name);
        let mark = read_whole(disk, &path, BYTES_MAX).and_then(|bytes| {
            let fault = || io::Error::new(io::ErrorKind::InvalidData, "it says something else");
            Self::read(&bytes).ok_or_else(fault)
        });
        mark.map(Some).map_err(JournalFault::disk("read", &path))
    }
}

/// Why what is in `dirs` is not all of a journal; `None` where it is.
pub fn missing(disk: &dyn Disk, dirs: &Dirs) -> Result<Option<JournalFault>, JournalFault> {
    let ours = Mark::load(disk, &dirs.main, OURS)?;
    let theirs = match &dirs.spill {
        Some(spill) => Mark::load(disk, spill, THEIRS)?,
        None => None,
    };
    let fault = match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours.id == theirs.id => None,
        (Some(ours), _) if holds_none(disk, &ours) => None,
        (Some(ours), _) => Some(JournalFault::NoSpill {
            mark: dirs.main.join(OURS),
            spill: ours.other,
            given: dirs.spill.clone(),
        }),
        (None, Some(theirs)) if is_alone(disk, dirs)? => Some(JournalFault::NoMain {
            mark: dirs.of(Place::Spill).join(THEIRS),
            main: theirs.other,
            given: dirs.main.clone(),
        }),
        (None, _) => None,
    };
    Ok(fault)
}

/// Whether the folder that is not among those that were given is where it was, without a record.
fn holds_none(disk: &dyn Disk, ours: &Mark) -> bool {
    let theirs = Mark::load(disk, &ours.other, THEIRS).ok().flatten();
    let is_it = theirs.is_some_and(|theirs| theirs.id == ours.id);
    is_it && has_records(disk, &ours.other).is_ok_and(|has_some| !has_some)
}

/// Whether there is more than segments that were made ahead.
fn has_records(disk: &dyn Disk, dir: &Path) -> Result<bool, JournalFault> {
    let alone = Dirs { main: dir.to_owned(), spill: None };
    Ok(survey(disk, &alone, 0, &mut |_, _| {})?.records() > 0)
}

/// Whether only the spill folder has records.
fn is_alone(disk: &dyn Disk, dirs: &Dirs) -> Result<bool, JournalFault> {
    Ok(!has_records(disk, &dirs.main)? && has_records(disk, dirs.of(Place::Spill))?)
}

/// Before a journal is opened: refuses where records are missing, and marks the two folders. Where
/// they have no room for that, it goes on without.
pub fn tie(disk: &dyn Disk, dirs: &Dirs) -> Result<(), JournalFault> {
    if let Some(fault) = missing(disk, dirs)? {
        return Err(fault);
    }
    let Some(spill) = &dirs.spill else {
        untie(disk, dirs);
        return Ok(());
    };
    let id = |mark: Option<Mark>| mark.map(|mark| mark.id);
    let ours = id(Mark::load(disk, &dirs.main, OURS)?);
    let theirs = id(Mark::load(disk, spill, THEIRS)?);
    if ours.is_some() && ours == theirs {
        return Ok(());
    }
    let (time, chance) =
        (clock::wall().as_nanos(), RandomState::new().hash_one(dirs.main.as_os_str()));
    let id = format!("{time:032x}{chance:016x}");
    let marks = [(spill, THEIRS, &dirs.main), (&dirs.main, OURS, spill)];
    for (dir, name, other) in marks {
        let other = std::path::absolute(other).unwrap_or_else(|_| other.clone());
        let text = Mark { id: id.clone(), other }.write();
        if let Err(fault) = replace(disk, dir, name, text.as_bytes()) {
            let path = dir.join(name);
            tracing::warn!(path = %path.display(), %fault, "journal: cannot say which its spill folder is");
            break;
        }
    }
    Ok(())
}

/// A journal that is closed and has nothing in the spill folder may begin without it.
pub fn untie_empty(disk: &dyn Disk, dirs: &Dirs, table: &Table) {
    if table.segments.iter().all(|segment| segment.place == Place::Main) {
        untie(disk, dirs);
    }
}

/// What cannot be removed is found by the next start, and says no wrong thing.
fn untie(disk: &dyn Disk, dirs: &Dirs) {
    let marks = [Some((&dirs.main, OURS)), dirs.spill.as_ref().map(|spill| (spill, THEIRS))];
    for (dir, name) in marks.into_iter().flatten() {
        let is_there = disk.list(dir).is_ok_and(|all| all.iter().any(|entry| entry.name == name));
        if is_there && (disk.remove(&dir.join(name)).is_err() || disk.sync_dir(dir).is_err()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_nothing_else_is_one() {
        let mark = Mark { id: "0123".to_owned(), other: PathBuf::from("/a b/c") };
        assert_eq!(Mark::read(mark.write().as_bytes()), Some(mark));
        for text in ["", "gavel journal spill 2\nid\n/a\n", "gavel journal spill 1\nid\n", "\u{0}"]
        {
            assert_eq!(Mark::read(text.as_bytes()), None, "{text:?}");
        }
    }
}
