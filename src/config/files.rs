//! The files that a configuration is read from.
//!
//! Owns: [`Files`]: each file is read once, from the disk or from a copy, and what was read can be
//! asked afterwards. Never: what stands in them. Invariant: nothing but regular files is opened (a
//! pipe would block the reader for ever), and never more of one than its limit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Contents by path.
pub type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// One file's bytes, or what is wrong with it.
type Reading = Result<Vec<u8>, String>;

/// A reading of files.
#[derive(Debug, Default)]
pub struct Files {
    /// In place of the disk.
    copy: Option<Contents>,
    /// What was asked for, in order, and what came of it.
    read: RefCell<Vec<(PathBuf, Reading)>>,
}

impl Files {
    /// Those on the disk.
    pub fn on_disk() -> Self {
        Self::default()
    }

    /// A copy: nothing is read from the disk.
    pub fn of(copy: Contents) -> Self {
        Self { copy: Some(copy), ..Self::default() }
    }

    /// A whole file, or what is wrong with it.
    pub fn read(&self, path: &Path, bytes_max: u64) -> Reading {
        let known =
            self.read.borrow().iter().find(|(known, _)| known == path).map(|(_, r)| r.clone());
        if let Some(known) = known {
            return known;
        }
        let result = match &self.copy {
            Some(copy) => copy.get(path).cloned().ok_or_else(|| "is not in the copy".to_owned()),
            None => from_disk(path, bytes_max),
        };
        self.read.borrow_mut().push((path.to_owned(), result.clone()));
        result
    }

    /// Each path that was asked for, also where there was no file.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.read.borrow().iter().map(|(path, _)| path.clone()).collect()
    }

    /// What was read.
    pub fn contents(&self) -> Contents {
        let read = self.read.borrow();
        read.iter().filter_map(|(path, one)| Some((path.clone(), one.clone().ok()?))).collect()
    }

    /// Equal for equal readings, faults included.
    pub fn identity(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (path, result) in &*self.read.borrow() {
            let (kind, bytes) = match result {
                Ok(content) => (0u8, content.as_slice()),
                Err(fault) => (1, fault.as_bytes()),
            };
            let path = path.as_os_str().as_encoded_bytes();
            for part in [path, &[kind], bytes] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        hasher.finalize().into()
    }
}

fn from_disk(path: &Path, bytes_max: u64) -> Reading {
    let unreadable = |cause: std::io::Error| format!("cannot be read: {cause}");
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let too_large = |size: u64| format!("is {size} bytes; at most {bytes_max} are read");
    if meta.len() > bytes_max {
        return Err(too_large(meta.len()));
    }
    let mut content = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    // it may have grown since it was asked
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut content).map_err(unreadable)?;
    let size = content.len() as u64;
    if size > bytes_max { Err(too_large(size)) } else { Ok(content) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_and_a_copy_stands_in_for_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        std::fs::write(&path, "one").unwrap();
        let files = Files::on_disk();
        assert_eq!(files.read(&path, 3).unwrap(), b"one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(files.read(&path, 3).unwrap(), b"one", "as it was when it was asked first");
        let again = Files::on_disk();
        again.read(&path, 3).unwrap();
        assert_ne!(files.identity(), again.identity());
        let copy = Files::of(files.contents());
        assert_eq!(copy.read(&path, 3).unwrap(), b"one");
        assert_eq!(copy.identity(), files.identity());
        assert!(copy.read(dir.path(), 3).is_err());
    }

    #[test]
    fn what_is_no_file_of_its_size_is_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let looped = dir.path().join("loop");
        std::os::unix::fs::symlink("loop", &looped).unwrap();
        std::fs::write(dir.path().join("long"), "long").unwrap();
        for (name, wanted) in [
            ("pipe", "regular file"),
            (".", "regular file"),
            ("loop", "cannot be read"),
            ("none", "cannot be read"),
            ("long", "is 4 bytes; at most 3"),
        ] {
            let files = Files::on_disk();
            let fault = files.read(&dir.path().join(name), 3).unwrap_err();
            assert!(fault.contains(wanted), "{name}: {fault}");
            assert_eq!(files.paths().len(), 1, "it is watched all the same");
        }
    }
}
