//! Files that a command will write, looked at before it does anything.
//!
//! Owns: whether each can be written, and that none is a file that is read. Invariant: nothing that
//! was there is changed, and nothing that was not is left.

use crate::verdict::Failure;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why a command that writes there is not begun.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("{0} cannot be written")]
    Write(String, #[source] io::Error),
    #[error("{0} is read by this command, and would be overwritten")]
    Input(String),
}

/// Looks at the files that will be written, and those that are read.
pub fn check<'p>(
    outputs: impl IntoIterator<Item = &'p Path>,
    inputs: &[&Path],
) -> Result<(), Failure> {
    for output in outputs {
        if inputs.iter().any(|input| is_same(input, output)) {
            return Err(Failure::usage(OutputError::Input(output.display().to_string())));
        }
        probe(output).map_err(|fault| {
            Failure::usage(OutputError::Write(output.display().to_string(), fault))
        })?;
    }
    Ok(())
}

/// By what it is, not by its name: links lead to the same file.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((place(one), place(other)), (Ok(one), Ok(other)) if one == other)
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
        check([Path::new("/dev/null")], &[]).unwrap();
    }
}
