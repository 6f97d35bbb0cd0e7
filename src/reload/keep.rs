//! The last good rules on the disk, for a process that starts where the files are broken.
//!
//! Owns: the one file in the folder of `--keep`. Never: databases (they are large, and an exchange
//! without one still serves: a start on kept rules goes without those that cannot be opened), rules
//! that a process could not start with. Invariant: the file is written whole beside and renamed over.

use crate::config::files::Contents;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Its name.
const NAME: &str = "last-good-rules.json";

/// Larger than any that we write.
const BYTES_MAX: u64 = 256 << 20;

/// What is kept.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    /// Of this layout.
    format: u32,
    /// When it was kept (seconds since the Unix epoch).
    at: u64,
    files: BTreeMap<PathBuf, String>,
}

const FORMAT: u32 = 1;

/// Writes what was read; readable by this user alone, since it may hold a bidder's headers.
pub fn save(folder: &Path, files: &Contents, at: u64) -> io::Result<()> {
    let text = |content: &Vec<u8>| String::from_utf8_lossy(content).into_owned();
    let files = files.iter().map(|(path, content)| (path.clone(), text(content))).collect();
    let json = serde_json::to_vec(&Kept { format: FORMAT, at, files })?;
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!(".{NAME}.{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&json)?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(NAME))?;
    fs::File::open(folder)?.sync_all()
}

/// What was kept, and when.
pub fn load(folder: &Path) -> Result<(Contents, u64), String> {
    let path = folder.join(NAME);
    let files = crate::config::files::Files::on_disk();
    let json = files.read(&path, BYTES_MAX)?;
    let kept: Kept = serde_json::from_slice(&json).map_err(|fault| fault.to_string())?;
    if kept.format != FORMAT {
        return Err(format!("is of format {}, not {FORMAT}", kept.format));
    }
    let files = kept.files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    Ok((files, kept.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_kept_comes_back_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("kept");
        assert!(load(&folder).unwrap_err().contains("cannot be read"));
        let files =
            Contents::from([(PathBuf::from("/a/gavel.toml"), b"a = '\xc3\xa9'\n".to_vec())]);
        save(&folder, &files, 7).unwrap();
        save(&folder, &files, 8).unwrap();
        assert_eq!(load(&folder).unwrap(), (files, 8));
        let mode = fs::metadata(folder.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        fs::write(folder.join(NAME), "{}").unwrap();
        assert!(load(&folder).is_err());
    }
}
