//! The kubelet's way of putting ConfigMaps into a pod: operations and order as in Kubernetes 1.30
//! and later (`pkg/volume/util/atomic_writer.go`, described there; nothing is taken from it).
//!
//! Payload compared first; a new folder `..YYYY_MM_DD_HH_MM_SS.random`; its files; a link
//! `..data_tmp` renamed onto `..data`; links for new keys; gone keys' links deleted; the old
//! folder deleted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Keys and their bytes.
pub type Payload = BTreeMap<String, Vec<u8>>;

/// A moment between two operations, at which a test may look, or stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The new folder and its files are there; nothing leads to them.
    Written,
    /// `..data` leads to the new folder; new keys have no links yet.
    Swapped,
    /// New keys have their links; gone keys still have theirs.
    Linked,
    /// Gone keys have none any more; the old folder is still there.
    Pruned,
}

/// One volume of a pod.
pub struct Volume {
    root: PathBuf,
    /// Versions so far: makes names of folders.
    versions: u32,
}

impl Volume {
    /// An empty volume in a folder, which is made.
    pub fn new(root: &Path) -> Self {
        fs::create_dir_all(root).unwrap();
        Self { root: root.to_owned(), versions: 0 }
    }

    /// Where a key is to be read.
    pub fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Brings the volume to a payload. False: it was there already, and nothing was done.
    pub fn write(&mut self, payload: &Payload) -> bool {
        self.write_in_steps(payload, |_| {})
    }

    /// The same; `at` is called between the operations.
    pub fn write_in_steps(&mut self, payload: &Payload, mut at: impl FnMut(Step)) -> bool {
        let data = self.root.join("..data");
        let old = fs::read_link(&data).ok().map(|link| self.root.join(link));
        let before = old.as_deref().map(read).unwrap_or_default();
        if old.is_some() && before == *payload {
            return false;
        }
        let name = self.write_version(payload);
        at(Step::Written);
        let link = self.root.join("..data_tmp");
        symlink(name, &link).unwrap();
        fs::rename(link, data).unwrap();
        at(Step::Swapped);
        for key in payload.keys().filter(|key| fs::read_link(self.path(key)).is_err()) {
            symlink(Path::new("..data").join(key), self.path(key)).unwrap();
        }
        at(Step::Linked);
        for key in before.keys().filter(|key| !payload.contains_key(*key)) {
            fs::remove_file(self.path(key)).unwrap();
        }
        at(Step::Pruned);
        if let Some(old) = old {
            fs::remove_dir_all(old).unwrap();
        }
        true
    }

    /// Writes a folder with the files and gives its name.
    fn write_version(&mut self, payload: &Payload) -> String {
        self.versions += 1;
        let number = self.versions;
        let name =
            format!("..2026_01_31_12_{:02}_{:02}.{number:09}", number / 60 % 60, number % 60);
        let folder = self.root.join(&name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        for (key, bytes) in payload {
            let file = folder.join(key);
            fs::write(&file, bytes).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        name
    }
}

/// What a folder of a volume holds.
fn read(folder: &Path) -> Payload {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_volume_goes_from_version_to_version() {
    let folder = tempfile::tempdir().unwrap();
    let mut volume = Volume::new(&folder.path().join("volume"));
    let payload = |keys: &[(&str, &str)]| -> Payload {
        keys.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec())).collect()
    };
    let names = || {
        let mut names: Vec<String> = fs::read_dir(folder.path().join("volume"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert!(volume.write(&payload(&[("a", "1"), ("b", "1")])));
    assert_eq!(names(), ["..2026_01_31_12_00_01.000000001", "..data", "a", "b"]);
    assert!(!volume.write(&payload(&[("a", "1"), ("b", "1")])), "nothing changed");
    let mut seen = Vec::new();
    let at = |step| {
        let read = |key| fs::read_to_string(folder.path().join("volume").join(key)).ok();
        seen.push((step, read("a"), read("b"), read("c")));
    };
    assert!(volume.write_in_steps(&payload(&[("a", "2"), ("c", "2")]), at));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        seen,
        [
            (Step::Written, text("1"), text("1"), None),
            (Step::Swapped, text("2"), None, None),
            (Step::Linked, text("2"), None, text("2")),
            (Step::Pruned, text("2"), None, text("2")),
        ]
    );
    assert_eq!(names(), ["..2026_01_31_12_00_02.000000002", "..data", "a", "c"]);
}
