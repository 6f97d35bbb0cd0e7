//! Where a path leads at this moment, and what lies there.
//!
//! Owns: [`Trace`], the walk along a path link by link, with the identity of the file at its end.
//! Never: opens anything. Every question is an lstat or a readlink, so that a FIFO, a device or
//! an unreadable file at the end of a path costs nothing.
//! Invariant: the folders in a trace are real (no link in them), so that each has one name.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links on one path at most: what Linux follows before it says ELOOP (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// A folder's device and inode.
pub type FolderId = (u64, u64);

/// A name in a real folder: what was looked up on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub folder: PathBuf,
    pub id: FolderId,
    pub name: OsString,
}

/// A symbolic link on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    pub at: Place,
    pub to: PathBuf,
    /// Seconds and nanoseconds.
    pub made: (i64, i64),
}

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// Seconds and nanoseconds of the last change of the bytes.
    pub modified: (i64, i64),
    /// Of the last change of the inode: also where somebody set the time above back.
    pub changed: (i64, i64),
    pub is_folder: bool,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub hops: Vec<Hop>,
    /// The last name that was looked up: the file itself or, where there is none, the first name
    /// that is not there.
    pub end: Place,
    /// `None`: there is nothing, or nothing that may be looked at.
    pub seen: Option<Seen>,
}

impl Seen {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            is_folder: meta.is_dir(),
        }
    }
}

impl Trace {
    /// Follows a path. One that is not absolute starts at the root.
    pub fn of(path: &Path) -> Self {
        let mut walk = Walk::new(path);
        let seen = walk.run();
        Self { hops: walk.hops, end: walk.end, seen }
    }

    /// Every name that this path depends on.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.hops.iter().map(|hop| &hop.at).chain([&self.end])
    }

    /// The file at the end, by its real name.
    pub fn real(&self) -> PathBuf {
        self.end.folder.join(&self.end.name)
    }

    /// Whether it leads through other links than before, and through any at all.
    pub fn is_led_elsewhere(&self, before: &Self) -> bool {
        let links = |trace: &Self| {
            trace
                .hops
                .iter()
                .map(|hop| (hop.at.folder.join(&hop.at.name), hop.to.clone()))
                .collect::<Vec<_>>()
        };
        !self.hops.is_empty() && links(self) != links(before)
    }

    /// Whether the file was there, as it is now, before the newest link that leads to it.
    pub fn is_older_than_its_links(&self) -> bool {
        let newest = self.hops.iter().map(|hop| hop.made).max();
        self.seen.is_some_and(|seen| newest.is_some_and(|newest| seen.modified <= newest))
    }
}

/// One walk.
struct Walk {
    todo: VecDeque<OsString>,
    hops: Vec<Hop>,
    end: Place,
    /// Identities of the folders that lie between the root and here, the root's first.
    ids: Vec<FolderId>,
    here: PathBuf,
}

impl Walk {
    fn new(path: &Path) -> Self {
        let here = PathBuf::from("/");
        let id = here.symlink_metadata().map_or((0, 0), |meta| (meta.dev(), meta.ino()));
        Self {
            todo: names(path).collect(),
            hops: Vec::new(),
            end: Place { folder: here.clone(), id, name: OsString::new() },
            ids: vec![id],
            here,
        }
    }

    fn run(&mut self) -> Option<Seen> {
        let mut seen = None;
        while let Some(name) = self.todo.pop_front() {
            if name == ".." {
                self.here.pop();
                if self.ids.len() > 1 {
                    self.ids.pop();
                }
                continue;
            }
            let id = self.ids.last().copied().unwrap_or_default();
            self.end = Place { folder: self.here.clone(), id, name };
            let at = self.here.join(&self.end.name);
            let meta = at.symlink_metadata().ok()?;
            if meta.is_symlink() {
                self.follow(at.read_link().ok()?, (meta.mtime(), meta.mtime_nsec()))?;
                seen = None;
                continue;
            }
            if !meta.is_dir() && !self.todo.is_empty() {
                return None;
            }
            self.here = at;
            self.ids.push((meta.dev(), meta.ino()));
            seen = Some(Seen::of(&meta));
        }
        seen
    }

    /// Puts where the link leads before what is still to be walked.
    fn follow(&mut self, to: PathBuf, made: (i64, i64)) -> Option<()> {
        if self.hops.len() >= LINKS_MAX {
            return None;
        }
        if to.is_absolute() {
            self.here = PathBuf::from("/");
            self.ids.truncate(1);
        }
        for name in names(&to).collect::<Vec<_>>().into_iter().rev() {
            self.todo.push_front(name);
        }
        self.hops.push(Hop { at: self.end.clone(), to, made });
        Some(())
    }
}

/// The names of a path, `..` among them.
fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        (folder, real)
    }

    #[test]
    fn a_volume_is_walked_link_by_link() {
        let (_guard, root) = folder();
        std::fs::create_dir(root.join("..1")).unwrap();
        std::fs::write(root.join("..1/key"), "12345").unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/key", root.join("key")).unwrap();
        let trace = Trace::of(&root.join("key"));
        let names: Vec<_> = trace.places().map(|place| place.name.to_str().unwrap()).collect();
        assert_eq!(names, ["key", "..data", "key"]);
        assert_eq!(trace.real(), root.join("..1/key"));
        assert_eq!(trace.seen.unwrap().size, 5);
    }

    #[test]
    fn a_walk_ends_at_the_first_name_that_is_not_there() {
        let (_guard, root) = folder();
        let trace = Trace::of(&root.join("no/such/file"));
        assert_eq!((trace.real(), trace.seen), (root.join("no"), None));
        std::fs::write(root.join("no"), "a file").unwrap();
        let trace = Trace::of(&root.join("no/such/file"));
        assert_eq!((trace.real(), trace.seen), (root.join("no"), None), "a file is no folder");
    }

    #[test]
    fn a_loop_ends() {
        let (_guard, root) = folder();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let trace = Trace::of(&root.join("a"));
        assert_eq!((trace.hops.len(), trace.seen), (LINKS_MAX, None));
    }

    #[test]
    fn parents_and_absolute_links_are_followed_as_the_kernel_does() {
        let (_guard, root) = folder();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        symlink(root.join("a/b"), root.join("away")).unwrap();
        let trace = Trace::of(&root.join("./away/../file"));
        assert_eq!(trace.real(), root.join("a/file"));
        assert!(trace.seen.is_some());
        let id = root.join("a").symlink_metadata().map(|meta| (meta.dev(), meta.ino())).unwrap();
        assert_eq!(trace.end.id, id);
    }

    #[test]
    fn another_link_is_told_from_another_file() {
        let (_guard, root) = folder();
        for name in ["1", "2", "plain"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        symlink("1", root.join("link")).unwrap();
        let before = Trace::of(&root.join("link"));
        std::fs::remove_file(root.join("link")).unwrap();
        symlink("2", root.join("link")).unwrap();
        assert!(Trace::of(&root.join("link")).is_led_elsewhere(&before));
        std::fs::remove_file(root.join("link")).unwrap();
        std::fs::write(root.join("link"), "no link any more").unwrap();
        assert!(!Trace::of(&root.join("link")).is_led_elsewhere(&before));
    }
}
