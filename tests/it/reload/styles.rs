//! The five ways in which files change, behind one face.

use super::kubelet::{Payload, Volume};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How somebody writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One ConfigMap as a volume.
    ConfigMap,
    /// Several ConfigMaps in one projected volume; each key has one of its own.
    Projected,
    /// A new file beside the old one, synced, then renamed over it.
    RenameOver,
    /// The old file deleted, then a new one made.
    DeleteCreate,
    /// The old file cut to nothing and filled again.
    Rewrite,
}

impl Style {
    pub const ALL: [Self; 5] =
        [Self::ConfigMap, Self::Projected, Self::RenameOver, Self::DeleteCreate, Self::Rewrite];

    /// As `GAVEL_STYLES` names it.
    fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Projected => "projected",
            Self::RenameOver => "rename",
            Self::DeleteCreate => "delete_create",
            Self::Rewrite => "rewrite",
        }
    }

    /// Those that `GAVEL_STYLES` names, with commas between them; all where it is not set.
    pub fn chosen() -> Vec<Self> {
        let Some(names) = std::env::var_os("GAVEL_STYLES") else { return Self::ALL.to_vec() };
        Self::named(names.to_str().unwrap())
    }

    fn named(names: &str) -> Vec<Self> {
        let find = |name: &str| Self::ALL.into_iter().find(|style| style.name() == name.trim());
        let found = |name| find(name).unwrap_or_else(|| panic!("no style is named {name:?}"));
        names.split(',').map(found).collect()
    }

    /// Whether a reader sees the old bytes or the new ones and nothing else.
    pub fn is_atomic(self) -> bool {
        matches!(self, Self::ConfigMap | Self::Projected | Self::RenameOver)
    }
}

/// A folder with files that are written in one style.
pub struct Folder {
    style: Style,
    root: PathBuf,
    volume: Option<Volume>,
    /// What the kubelet last knew.
    payload: Payload,
    /// A key that another ConfigMap of the same projected volume holds changes with every update:
    /// it makes names of versions differ even where the caller's keys do not.
    updates: u32,
}

impl Folder {
    /// An empty folder, which is made.
    pub fn new(style: Style, root: &Path) -> Self {
        fs::create_dir_all(root).unwrap();
        let volume =
            matches!(style, Style::ConfigMap | Style::Projected).then(|| Volume::new(root));
        Self { style, root: root.to_owned(), volume, payload: Payload::new(), updates: 0 }
    }

    /// Where a file is to be read.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Brings a file to these bytes.
    pub fn update(&mut self, name: &str, bytes: &[u8]) {
        self.update_in_halves(name, bytes, || {});
    }

    /// The same; `between` is called when half of the bytes are written, wherever they are.
    pub fn update_in_halves(&mut self, name: &str, bytes: &[u8], between: impl FnOnce()) {
        let path = self.path(name);
        match self.style {
            Style::ConfigMap | Style::Projected => {
                between();
                self.sync(name, bytes);
            }
            Style::RenameOver => {
                let beside = self.path(&format!(".{name}.part"));
                write_in_halves(&mut File::create(&beside).unwrap(), bytes, between);
                fs::rename(beside, path).unwrap();
            }
            Style::DeleteCreate => {
                if path.exists() {
                    fs::remove_file(&path).unwrap();
                }
                write_in_halves(&mut File::create_new(path).unwrap(), bytes, between);
            }
            Style::Rewrite => write_in_halves(&mut File::create(path).unwrap(), bytes, between),
        }
    }

    /// The kubelet's next round.
    fn sync(&mut self, name: &str, bytes: &[u8]) {
        self.updates += 1;
        self.payload.insert(name.to_owned(), bytes.to_vec());
        if self.style == Style::Projected {
            let other = format!("{}\n", self.updates);
            self.payload.insert("of-another-configmap".to_owned(), other.into_bytes());
        }
        self.volume.as_mut().unwrap().write(&self.payload);
    }
}

fn write_in_halves(file: &mut File, bytes: &[u8], between: impl FnOnce()) {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first).unwrap();
    between();
    file.write_all(second).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn styles_are_chosen_by_name() {
    let named = Style::named("delete_create, rewrite");
    assert_eq!(named, [Style::DeleteCreate, Style::Rewrite]);
    assert_eq!(Style::named(&Style::ALL.map(Style::name).join(",")), Style::ALL);
}

#[test]
fn every_style_leaves_the_bytes_and_only_some_show_a_half() {
    for style in Style::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Folder::new(style, &folder.path().join("files"));
        files.update("file", b"old and longer");
        let path = files.path("file");
        let mut between = Vec::new();
        files.update_in_halves("file", b"new!", || between = fs::read(&path).unwrap());
        let expected: &[u8] = if style.is_atomic() { b"old and longer" } else { b"ne" };
        assert_eq!(between, expected, "{style:?}");
        assert_eq!(fs::read(&path).unwrap(), b"new!", "{style:?}");
    }
}
