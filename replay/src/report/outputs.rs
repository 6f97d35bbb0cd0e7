//! Files that a command will write, looked at before it does anything.
//!
//! Owns: whether each can be written, and that none is a file that is read; how one with a capture is opened.
//! Invariant: nothing that was there is changed by a look, and nothing that was not is left.

use crate::verdict::Failure;
use gavel::capture::rotate;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a command that writes there is not begun.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("{0} cannot be written")]
    Write(String, #[source] io::Error),
    #[error("{0} is read by this command, and would be overwritten")]
    Input(String),
    #[error("{0} is to be written twice: each file takes one thing")]
    Twice(String),
}

/// Looks at the files that will be written, and those that are read.
pub fn check<'p>(
    outputs: impl IntoIterator<Item = &'p Path>,
    inputs: &[&Path],
) -> Result<(), Failure> {
    let mut seen: Vec<Place> = Vec::new();
    for output in outputs {
        let place = place(output);
        if place.as_ref().is_some_and(|place| seen.contains(place)) {
            return Err(Failure::usage(OutputError::Twice(output.display().to_string())));
        }
        seen.extend(place);
        if inputs.iter().any(|input| is_same(input, output)) {
            return Err(Failure::usage(OutputError::Input(output.display().to_string())));
        }
        probe(output).map_err(|fault| {
            Failure::usage(OutputError::Write(output.display().to_string(), fault))
        })?;
    }
    Ok(())
}

/// A capture to write: its owner alone reads it. Of one that is there nothing is left, where that is `forced`.
pub fn capture(path: &Path, is_forced: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(rotate::MODE);
    options.create(is_forced).truncate(is_forced).create_new(!is_forced).open(path)
}

/// What a path leads to: links lead to the same file.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    There { device: u64, number: u64 },
    New(PathBuf),
}

/// None: nothing that holds what is written, such as a pipe, or nowhere.
fn place(path: &Path) -> Option<Place> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {
            Some(Place::There { device: found.dev(), number: found.ino() })
        }
        Ok(_) => None,
        Err(_) => {
            let folder = match path.parent()? {
                here if here.as_os_str().is_empty() => Path::new("."),
                folder => folder,
            };
            Some(Place::New(folder.canonicalize().ok()?.join(path.file_name()?)))
        }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let is_there = |place: &Place| matches!(place, Place::There { .. });
    place(one).filter(is_there).is_some_and(|one| place(other) == Some(one))
}

fn probe(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => OpenOptions::new().append(true).open(path).map(|_| ()),
        // to open a pipe would be to wait for its reader
        Ok(_) => Ok(()),
        Err(_) => {
            OpenOptions::new().write(true).create_new(true).open(path)?;
            fs::remove_file(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_for_its_owner_alone_and_written_over_where_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.capture");
        let _file = capture(&path, false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(capture(&path, false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::write(&path, "before").unwrap();
        let file = capture(&path, true).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
    }

    #[test]
    fn what_cannot_be_written_or_is_read_is_refused_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("in.cap"), "recorded").unwrap();
        fs::write(at("old.json"), "old").unwrap();
        std::os::unix::fs::symlink(at("in.cap"), at("link.cap")).unwrap();
        for (name, expected) in [
            ("new.json", None),
            ("old.json", None),
            ("nodir/x.json", Some("x.json cannot be written")),
            ("", Some("cannot be written")),
            ("in.cap", Some("in.cap is read by this command")),
            ("link.cap", Some("link.cap is read by this command")),
        ] {
            let path = at(name);
            let found = check([path.as_path()], &[&at("in.cap"), &at("no.cap")]);
            match (found, expected) {
                (Ok(()), None) => {}
                (Err(fault), Some(expected)) => {
                    assert!(fault.chain().contains(expected), "{}", fault.chain());
                }
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
        assert!(!at("new.json").exists());
        assert_eq!(fs::read_to_string(at("old.json")).unwrap(), "old");
        assert_eq!(fs::read_to_string(at("in.cap")).unwrap(), "recorded");
        check([Path::new("/dev/null"); 2], &[]).unwrap();
        check([at("a.json").as_path(), &at("b.json"), &at("old.json")], &[]).unwrap();
        std::os::unix::fs::symlink(at("old.json"), at("link.json")).unwrap();
        for (one, other) in
            [("a.json", "a.json"), ("a.json", "./a.json"), ("old.json", "link.json")]
        {
            let fault = check([at(one).as_path(), &at(other)], &[]).unwrap_err().chain();
            assert!(fault.contains("written twice"), "{one} {other}: {fault}");
        }
    }
}
