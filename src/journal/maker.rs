//! Makes segments ahead of need, and gives up the ballast when there is no room for one.
//!
//! Owns: [`Maker`], names of files. Never: which segment is written to. Invariant: a segment that
//! was made has its full size on the disk, all zeros, durable, under its own name.

use super::disk::Disk;
use super::published::Published;
use super::{Dirs, Place, Settings};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Zeros are written in pieces, each made durable, so that the commits of the open segment never
/// wait behind a whole one.
const PIECE: usize = 1 << 20;

/// Name of the file that is given up when the disk is full.
pub const BALLAST: &str = "ballast";

/// What the name of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Segment(u64),
    Damaged(u64),
    /// Was being made when the process ended.
    Unfinished,
    Other,
}

/// Name of a segment.
pub fn segment_name(ordinal: u64) -> String {
    format!("{ordinal:016}.seg")
}

/// Name of a segment with damage.
pub fn damaged_name(ordinal: u64) -> String {
    format!("{ordinal:016}.damaged")
}

/// What a name says.
pub fn parse_name(name: &str) -> Name {
    let Some((stem, kind)) = name.rsplit_once('.') else { return Name::Other };
    let number = |stem: &str| {
        let is_number = stem.len() == 16 && stem.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| stem.parse().ok()).flatten()
    };
    match (kind, number(stem)) {
        ("seg", Some(ordinal)) => Name::Segment(ordinal),
        ("damaged", Some(ordinal)) => Name::Damaged(ordinal),
        ("tmp", _) => Name::Unfinished,
        _ => Name::Other,
    }
}

/// A segment that nothing has been written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub place: Place,
    pub ordinal: u64,
    pub path: PathBuf,
}

/// Makes segments; used by the helper's thread and, in need, by the writer's.
#[derive(Clone, Debug)]
pub struct Maker {
    pub disk: Arc<dyn Disk>,
    pub settings: Arc<Settings>,
    pub dirs: Arc<Dirs>,
    pub published: Arc<Published>,
}

impl Maker {
    /// A new segment in a folder.
    pub fn make(&self, place: Place) -> io::Result<Prepared> {
        match self.try_make(place) {
            Err(fault) if is_full(&fault) => {
                self.published.counts.full.fetch_add(1, Ordering::Relaxed);
                if place == Place::Main && self.release_ballast() {
                    self.try_make(place)
                } else {
                    Err(fault)
                }
            }
            result => result,
        }
    }

    fn try_make(&self, place: Place) -> io::Result<Prepared> {
        let size = self.settings.segment_bytes;
        if !self.has_room(place) {
            let text = format!("disk_bytes_max of {}", self.settings.disk_bytes_max);
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        let dir = self.dirs.of(place);
        let ordinal = self.published.take_ordinal();
        let path = dir.join(segment_name(ordinal));
        let beside = path.with_extension("tmp");
        let made = self.fill(&beside, size).and_then(|()| self.disk.rename(&beside, &path));
        if let Err(fault) = made.and_then(|()| self.disk.sync_dir(dir)) {
            // what is left of it takes room that somebody may need
            for half in [&beside, &path] {
                let _ = self.disk.remove(half);
            }
            return Err(fault);
        }
        Ok(Prepared { place, ordinal, path })
    }

    /// Whether one more segment is within the limit of a folder.
    pub fn has_room(&self, place: Place) -> bool {
        let Settings { segment_bytes, disk_bytes_max, .. } = *self.settings;
        self.published.bytes_in(place).saturating_add(segment_bytes) <= disk_bytes_max
    }

    /// The same segment under the next number. Where that fails, neither name is to be used.
    pub fn renumber(&self, prepared: &Prepared) -> io::Result<Prepared> {
        let (place, dir) = (prepared.place, self.dirs.of(prepared.place));
        let ordinal = self.published.take_ordinal();
        let path = dir.join(segment_name(ordinal));
        let renamed =
            self.disk.rename(&prepared.path, &path).and_then(|()| self.disk.sync_dir(dir));
        if let Err(fault) = renamed {
            for either in [&prepared.path, &path] {
                let _ = self.disk.remove(either);
            }
            return Err(fault);
        }
        Ok(Prepared { place, ordinal, path })
    }

    fn fill(&self, path: &Path, size: u64) -> io::Result<()> {
        let mut file = self.disk.create(path)?;
        let zeros = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
        let mut at = 0;
        while at < size {
            let left = usize::try_from(size - at).unwrap_or(PIECE);
            let piece = zeros.get(..left.min(zeros.len())).unwrap_or_default();
            file.commit(at, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Puts the ballast where it is missing; false where it cannot be had.
    pub fn load_ballast(&self) -> bool {
        if self.settings.ballast_bytes == 0 {
            return true;
        }
        let path = self.dirs.main.join(BALLAST);
        let is_there = self.disk.reserve(&path, self.settings.ballast_bytes).is_ok();
        if !is_there {
            // a part of it is no use, and takes the room
            let _ = self.disk.remove(&path);
        }
        self.published.adjust(|parts| parts.has_no_ballast = !is_there);
        is_there
    }

    /// Gives the ballast up; false where there is none any more.
    fn release_ballast(&self) -> bool {
        if self.settings.ballast_bytes == 0 || self.published.parts().has_no_ballast {
            return false;
        }
        self.published.adjust(|parts| parts.has_no_ballast = true);
        self.disk.remove(&self.dirs.main.join(BALLAST)).is_ok()
    }
}

/// Whether an operation failed for want of room.
pub fn is_full(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        for (name, expected) in [
            (segment_name(7).as_str(), Name::Segment(7)),
            (damaged_name(12).as_str(), Name::Damaged(12)),
            ("0000000000000001.tmp", Name::Unfinished),
            ("cursor-a.tmp", Name::Unfinished),
            ("1.seg", Name::Other),
            ("+000000000000001.seg", Name::Other),
            ("cursor-a", Name::Other),
            ("lock", Name::Other),
        ] {
            assert_eq!(parse_name(name), expected, "{name}");
        }
    }
}
