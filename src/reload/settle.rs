//! Whether a changed file is written to its end.
//!
//! Owns: [`Settle`]. A file that came by a rename, or lies behind a swapped link, is complete by
//! construction, and one with a checksum shows by itself whether it is; any other may still be
//! being written, and is left alone until its size and times have stood still for a while.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    device: u64,
    inode: u64,
    /// Of a folder neither this nor the times: what happens in it is not its own change.
    size: u64,
    /// Of the bytes and of the inode, so that a permission that is given is seen (ns).
    modified: i128,
    changed: i128,
}

/// Marks by path.
pub type Marks = HashMap<PathBuf, Option<Mark>>;

/// The marks of these paths now.
pub fn marks(paths: &[PathBuf]) -> Marks {
    paths.iter().map(|path| (path.clone(), mark(path))).collect()
}

/// The mark of what a path leads to; `None`: nothing.
pub fn mark(path: &Path) -> Option<Mark> {
    let meta = std::fs::metadata(path).ok()?;
    let of_itself =
        Mark { device: meta.dev(), inode: meta.ino(), size: 0, modified: 0, changed: 0 };
    if meta.is_dir() {
        return Some(of_itself);
    }
    let ns = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
    Some(Mark {
        size: meta.size(),
        modified: ns(meta.mtime(), meta.mtime_nsec()),
        changed: ns(meta.ctime(), meta.ctime_nsec()),
        ..of_itself
    })
}

/// Since when each changed file has stood still.
#[derive(Debug, Default)]
pub struct Settle {
    /// As they were when they were taken.
    taken: Marks,
    changing: HashMap<PathBuf, (Option<Mark>, Instant)>,
}

impl Settle {
    /// These are in force as they were when `marks` were made: before they were read, so that what
    /// changed since is a change. Whether all of them had a mark: one that had none is still to be
    /// looked at.
    pub fn take(&mut self, paths: &[PathBuf], marks: &Marks) -> bool {
        for path in paths {
            self.changing.remove(path);
            match marks.get(path) {
                Some(mark) => self.taken.insert(path.clone(), *mark),
                None => self.taken.remove(path),
            };
        }
        paths.iter().all(|path| marks.contains_key(path))
    }

    /// Whether any of them is not as it was when it was taken.
    pub fn has_changed(&self, paths: &[PathBuf]) -> bool {
        paths.iter().any(|path| self.taken.get(path) != Some(&mark(path)))
    }

    /// When all of them will have stood still for `still`, if nothing happens; `None`: they have.
    pub fn due(
        &mut self,
        paths: &[PathBuf],
        is_complete: impl Fn(&Path) -> bool,
        still: Duration,
        now: Instant,
    ) -> Option<Instant> {
        let mut due = None;
        for path in paths {
            let mark = mark(path);
            if self.taken.get(path) == Some(&mark) || is_complete(path) {
                self.changing.remove(path);
                continue;
            }
            let seen = self.changing.entry(path.clone()).or_insert((mark, now));
            if seen.0 != mark {
                *seen = (mark, now);
            }
            let quiet = seen.1 + still;
            if quiet > now {
                due = due.max(Some(quiet));
            }
        }
        due
    }
}

/// Whether a path leads through a link as the kubelet makes them: all behind it is swapped at once.
pub fn is_swapped_at_once(path: &Path) -> bool {
    let Some(folder) = path.parent() else { return false };
    let data = folder.join("..data");
    let (Ok(whole), Ok(data)) = (path.canonicalize(), data.canonicalize()) else { return false };
    whole.starts_with(data)
}

/// Where the kubelet's links of these paths lead: a reading is one state only if they lead to the
/// same before and after it.
pub fn links(paths: &[PathBuf]) -> Vec<Option<PathBuf>> {
    paths.iter().map(|path| std::fs::read_link(path.parent()?.join("..data")).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    use super::*;

    #[test]
    fn a_file_is_left_alone_until_it_has_stood_still_unless_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let paths = [path.clone()];
        std::fs::write(&path, "one").unwrap();
        let (start, still) = (Instant::now(), Duration::from_secs(2));
        let mut settle = Settle::default();
        let before = marks(&paths);
        assert!(settle.take(&paths, &before));
        assert!(!settle.has_changed(&paths));
        assert_eq!(settle.due(&paths, |_| false, still, start), None);
        std::fs::write(&path, "three").unwrap();
        assert!(settle.has_changed(&paths));
        assert_eq!(settle.due(&paths, |_| true, still, start), None);
        assert_eq!(settle.due(&paths, |_| false, still, start), Some(start + still));
        let later = start + Duration::from_secs(1);
        assert_eq!(settle.due(&paths, |_| false, still, later), Some(start + still));
        std::fs::write(&path, "three more").unwrap();
        assert_eq!(settle.due(&paths, |_| false, still, later), Some(later + still));
        assert_eq!(settle.due(&paths, |_| false, still, later + still), None);
        assert!(settle.take(&paths, &before));
        assert!(settle.has_changed(&paths), "what changed while it was read has changed");
        assert!(!settle.take(&[dir.path().join("b")], &before), "nobody looked at it before");
        std::fs::remove_file(&path).unwrap();
        assert!(settle.due(&paths, |_| false, still, later + still).is_some());
    }

    #[test]
    fn a_permission_that_is_given_is_a_change_and_what_happens_in_a_folder_is_none() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (file, paths) = (dir.path().join("a"), [dir.path().join("a"), dir.path().to_owned()]);
        std::fs::write(&file, "one").unwrap();
        let mut settle = Settle::default();
        settle.take(&paths, &marks(&paths));
        let before = std::fs::metadata(&file).unwrap();
        let clock_of_files_ticks = || {
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            let now = std::fs::metadata(&file).unwrap();
            (now.ctime(), now.ctime_nsec()) != (before.ctime(), before.ctime_nsec())
        };
        while !clock_of_files_ticks() {}
        assert!(settle.has_changed(&paths[..1]));
        std::fs::write(dir.path().join("b"), "another").unwrap();
        assert!(!settle.has_changed(&paths[1..]));
        std::fs::remove_dir_all(dir.path()).unwrap();
        std::fs::write(dir.path(), "a file in its place").unwrap();
        assert!(settle.has_changed(&paths[1..]));
        std::fs::remove_file(dir.path()).unwrap();
    }

    #[test]
    fn what_lies_behind_a_data_link_is_swapped_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (new, plain) = (dir.path().join("..2026_01_01"), dir.path().join("plain"));
        std::fs::create_dir(&new).unwrap();
        std::fs::write(new.join("a"), "a").unwrap();
        std::fs::write(&plain, "b").unwrap();
        std::os::unix::fs::symlink("..2026_01_01", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a", dir.path().join("a")).unwrap();
        assert!(is_swapped_at_once(&dir.path().join("a")));
        assert!(!is_swapped_at_once(&plain));
        assert_eq!(links(&[plain]), [Some(PathBuf::from("..2026_01_01"))]);
    }
}
