//! Where a source lies on the disk, and reading all of it in one state.
//!
//! Owns: [`Place`] (a file, a compressed file, or a set of parts), [`Print`] (what tells that it
//! changed, without reading it), [`Raw`]. Never: what the bytes mean.
//!
//! Invariant: nothing here waits for a writer, reads more than it may, or takes bytes whose
//! checksum is wrong. A folder that is swapped by its `..data` link (a ConfigMap's volume) is read
//! through the target that the link had, and the link must still have it afterwards.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::DatabaseError;
use super::manifest::{MANIFEST, MANIFEST_BYTES_MAX, Manifest, Part, hex, is_sha256, sha256};
use crate::enrich::bulk::Bulk;
use crate::enrich::geo::Content;
use crate::lifecycle::spare::GivenUp;
use aws_lc_rs::digest::{Context, SHA256};
use nix::fcntl::OFlag;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest `FILE.sha256`: a line for each of a few dozen files.
const CHECKSUMS_BYTES_MAX: u64 = 16 << 10;

/// What the kubelet swaps.
const DATA_LINK: &str = "..data";

/// Where a source is at this moment.
#[derive(Debug)]
pub struct Place {
    /// As it is set.
    path: PathBuf,
    /// The folder, with the target of its `..data` where there is one.
    folder: PathBuf,
    /// Of the file, or of the manifest.
    name: OsString,
    is_set: bool,
    /// The `..data` link and what it led to.
    link: Option<(PathBuf, PathBuf)>,
}

/// Tells one state of files from another. The time of the last change of the inode stands in it,
/// which no copying tool can set back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Print {
    files: Vec<Stamp>,
    /// Since the Unix epoch: when the latest of them was written to.
    written: Duration,
    /// Whether a half-written state could pass for a whole one.
    is_open_to_doubt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// All bytes of a source.
#[derive(Clone, Debug)]
pub struct Raw {
    pub content: Content,
    /// On the disk, and their SHA-256 in hex.
    pub bytes: u64,
    pub sha256: String,
    pub is_compressed: bool,
    /// Of the manifest.
    pub generation: Option<u64>,
}

/// Each file of a source, by the paths under which it changes; those of a set as its manifest has
/// them now.
pub fn paths(path: &Path, may_be_set: bool) -> Vec<PathBuf> {
    let is_folder = fs::metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let is_manifest = path.extension().is_some_and(|extension| extension == "json");
    if !may_be_set || !(is_folder || is_manifest) {
        let mut sum = path.as_os_str().to_owned();
        sum.push(".sha256");
        return vec![path.to_owned(), sum.into()];
    }
    let main = if is_folder { path.join(MANIFEST) } else { path.to_owned() };
    let folder = main.parent().unwrap_or(Path::new("")).to_owned();
    let manifest = read_plain(&main, MANIFEST_BYTES_MAX).ok();
    let manifest = manifest.and_then(|bytes| Manifest::parse(&bytes).ok());
    let parts = manifest.into_iter().flat_map(|manifest| manifest.parts);
    let parts = parts.map(|part| folder.join(part.file));
    // a file may come in the place of the folder
    let own = is_folder.then(|| path.to_owned());
    own.into_iter().chain([main]).chain(parts).collect()
}

// === impl Place ===

impl Place {
    /// A file; or, where it may be one, a set: a folder, or a manifest by its name.
    pub fn find(path: &Path, may_be_set: bool) -> Result<Self, DatabaseError> {
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        let is_manifest = path.extension().is_some_and(|extension| extension == "json");
        let is_folder = metadata.is_dir();
        let is_set = may_be_set && (is_folder || is_manifest);
        let (folder, name) = match (path.parent(), path.file_name()) {
            _ if is_set && is_folder => (path, OsStr::new(MANIFEST)),
            (Some(parent), Some(name)) if parent.as_os_str().is_empty() => (Path::new("."), name),
            (Some(parent), Some(name)) => (parent, name),
            _ => return Err(not_file(path, metadata.file_type())),
        };
        let link = folder.join(DATA_LINK);
        let pinned = fs::read_link(&link).ok().and_then(|target| {
            let inside = folder.join(&target);
            // a file beside the link, not behind it, is an ordinary file
            fs::symlink_metadata(inside.join(name)).ok().map(|_| (inside, target))
        });
        let (folder, link) = match pinned {
            Some((inside, target)) => (inside, Some((link, target))),
            None => (folder.to_owned(), None),
        };
        Ok(Self { path: path.to_owned(), folder, name: name.to_owned(), is_set, link })
    }

    /// What its files look like from outside. A set's manifest is read for it, and no part.
    pub fn print(&self) -> Result<Print, DatabaseError> {
        let main = self.folder.join(&self.name);
        let mut print = Print::default();
        let (_, metadata) = open_plain(&main)?;
        print.add(&metadata);
        if self.is_set {
            for part in self.manifest()?.parts {
                let path = self.folder.join(&part.file);
                let metadata = fs::metadata(&path).map_err(|source| absent(&path, source))?;
                print.add(&metadata);
            }
        } else if let Ok(metadata) = fs::metadata(self.checksum_path()) {
            print.add(&metadata);
        } else {
            print.is_open_to_doubt = self.link.is_none();
        }
        Ok(print)
    }

    /// Everything, if it still is as `print` says when it has been read.
    pub fn read(
        &self,
        print: &Print,
        bytes_max: u64,
        given_up: &GivenUp,
    ) -> Result<Raw, DatabaseError> {
        let raw = if self.is_set {
            self.read_set(bytes_max, given_up)
        } else {
            self.read_file(bytes_max, given_up)
        };
        // A fault of files that moved meanwhile says nothing of either state.
        if self.is_pinned() && self.print().is_ok_and(|now| now == *print) {
            raw
        } else if let Err(fault @ DatabaseError::TooLarge { .. }) = raw {
            Err(fault)
        } else {
            Err(DatabaseError::Changing { path: self.path.clone() })
        }
    }

    /// Whether the link leads where it led.
    fn is_pinned(&self) -> bool {
        self.link
            .as_ref()
            .is_none_or(|(link, target)| fs::read_link(link).is_ok_and(|now| now == *target))
    }

    fn checksum_path(&self) -> PathBuf {
        let mut name = self.name.clone();
        name.push(".sha256");
        self.folder.join(name)
    }

    fn manifest(&self) -> Result<Manifest, DatabaseError> {
        let path = self.folder.join(&self.name);
        let bytes = read_plain(&path, MANIFEST_BYTES_MAX)?;
        Manifest::parse(&bytes).map_err(|reason| DatabaseError::Manifest { path, reason })
    }

    fn read_file(&self, bytes_max: u64, given_up: &GivenUp) -> Result<Raw, DatabaseError> {
        let content = read_until(&self.folder.join(&self.name), bytes_max, given_up)?;
        let found = sha256(content.as_ref());
        if let Some(expected) = self.checksum()?
            && expected != found
        {
            return Err(DatabaseError::Checksum { path: self.path.clone(), found, expected });
        }
        Ok(Raw {
            bytes: content.bytes(),
            content: content.into(),
            sha256: found,
            is_compressed: is_compressed(&self.name),
            generation: None,
        })
    }

    /// What `FILE.sha256` says, if there is one: as `sha256sum` writes it, or the digits alone.
    fn checksum(&self) -> Result<Option<String>, DatabaseError> {
        let path = self.checksum_path();
        let bytes = match read_plain(&path, CHECKSUMS_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(DatabaseError::Read { source, .. }) if is_absent(&source) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let name = self.name.to_string_lossy();
        let is_ours = |line: &&str| {
            let told = line.split_whitespace().nth(1).unwrap_or_default();
            Path::new(told.trim_start_matches('*')).file_name() == Some(OsStr::new(&*name))
        };
        let own = lines.clone().find(is_ours);
        let only = lines.next().filter(|_| lines.next().is_none());
        let digits = own.or(only).and_then(|line| line.split_whitespace().next());
        let digits = digits.map(str::to_ascii_lowercase).filter(|digits| is_sha256(digits));
        digits.map(Some).ok_or(DatabaseError::ChecksumFile { path })
    }

    fn read_set(&self, bytes_max: u64, given_up: &GivenUp) -> Result<Raw, DatabaseError> {
        let manifest = self.manifest()?;
        if manifest.bytes > bytes_max {
            return Err(DatabaseError::TooLarge { path: self.path.clone(), bytes_max });
        }
        let room = usize::try_from(manifest.bytes).unwrap_or(0);
        let unreadable = |source| unreadable(&self.path, source);
        let mut content = Bulk::with_room(room).map_err(unreadable)?;
        let mut whole = Context::new(&SHA256);
        for part in &manifest.parts {
            let bytes = self.read_part(part, given_up)?;
            whole.update(bytes.as_ref());
            content.write_all(bytes.as_ref()).map_err(unreadable)?;
        }
        let found = hex(whole.finish().as_ref());
        if found != manifest.sha256 {
            let reason = format!("the parts together have the sha256 {found}");
            return Err(DatabaseError::Part { path: self.path.clone(), reason });
        }
        Ok(Raw {
            bytes: content.bytes(),
            content: content.into(),
            sha256: found,
            is_compressed: is_compressed(&manifest.name),
            generation: Some(manifest.generation),
        })
    }

    fn read_part(&self, part: &Part, given_up: &GivenUp) -> Result<Bulk, DatabaseError> {
        let path = self.folder.join(&part.file);
        let wrong = |reason| DatabaseError::Part { path: path.clone(), reason };
        let bytes = match read_until(&path, part.bytes, given_up) {
            Ok(bytes) => bytes,
            Err(DatabaseError::Read { source, .. }) => return Err(absent(&path, source)),
            Err(DatabaseError::TooLarge { .. }) => {
                return Err(wrong(format!("it has more than {} bytes", part.bytes)));
            }
            Err(fault) => return Err(fault),
        };
        if bytes.bytes() != part.bytes {
            return Err(wrong(format!("it has {} bytes, not {}", bytes.bytes(), part.bytes)));
        }
        let found = sha256(bytes.as_ref());
        if found != part.sha256 {
            return Err(wrong(format!("its sha256 is {found}")));
        }
        Ok(bytes)
    }
}

// === impl Print ===

impl Print {
    fn add(&mut self, metadata: &Metadata) {
        self.files.push(Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        });
        let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
        let nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
        self.written = self.written.max(Duration::new(seconds, nanos.min(999_999_999)));
    }

    /// Both, as one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        self.written = self.written.max(other.written);
        self.is_open_to_doubt |= other.is_open_to_doubt;
        self
    }

    /// Whether a writer may still be at it. A clock that is behind the files' does not hold them
    /// up for longer than `settle` either.
    pub fn is_settling(&self, wall: Duration, settle: Duration) -> bool {
        self.is_open_to_doubt && self.is_fresh(wall, settle)
    }

    /// Whether it was written to within `span` of `wall`: the clock of files ticks every few
    /// milliseconds, so that two writes within one tick look the same from outside.
    pub fn is_fresh(&self, wall: Duration, span: Duration) -> bool {
        wall.abs_diff(self.written) < span
    }
}

// === impl Raw ===

impl Raw {
    /// The content, decompressed where it is compressed.
    pub fn unpacked(
        &self,
        path: &Path,
        bytes_max: u64,
        given_up: &GivenUp,
    ) -> Result<Content, DatabaseError> {
        if !self.is_compressed {
            return Ok(self.content.clone());
        }
        let fault = |source| DatabaseError::Compression { path: path.to_owned(), source };
        let raw = self.content.as_ref();
        // what the frame says may be a lie, so it decides over room only
        let told = zstd::zstd_safe::get_frame_content_size(raw).ok().flatten().unwrap_or(0);
        let decoder = zstd::Decoder::with_buffer(raw).map_err(fault)?;
        let decoder = Until { source: decoder, given_up };
        let content = read_capped(decoder, told, bytes_max).map_err(fault)?;
        let too_large = || DatabaseError::TooLarge { path: path.to_owned(), bytes_max };
        content.map(Content::from).ok_or_else(too_large)
    }
}

// === files ===

fn unreadable(path: &Path, source: io::Error) -> DatabaseError {
    DatabaseError::Read { path: path.to_owned(), source }
}

/// A part that the manifest names and that is not there does not fit it; other faults are faults.
fn absent(path: &Path, source: io::Error) -> DatabaseError {
    if is_absent(&source) {
        DatabaseError::Part { path: path.to_owned(), reason: "it is not there".to_owned() }
    } else {
        unreadable(path, source)
    }
}

fn is_compressed(name: impl AsRef<Path>) -> bool {
    name.as_ref().extension().is_some_and(|end| end == "zst")
}

fn is_absent(fault: &io::Error) -> bool {
    fault.kind() == io::ErrorKind::NotFound
}

fn not_file(path: &Path, kind: FileType) -> DatabaseError {
    let kind = match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "something else",
    };
    DatabaseError::NotFile { path: path.to_owned(), kind }
}

/// Opens a plain file and nothing else. Asked for its kind before (to open a device may do
/// something) and after (it may be another by then), and never waits for the writer of a pipe.
fn open_plain(path: &Path) -> Result<(File, Metadata), DatabaseError> {
    let fault = |source| unreadable(path, source);
    let before = fs::metadata(path).map_err(fault)?;
    if !before.is_file() {
        return Err(not_file(path, before.file_type()));
    }
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fault)?;
    let metadata = file.metadata().map_err(fault)?;
    if !metadata.is_file() {
        return Err(not_file(path, metadata.file_type()));
    }
    Ok((file, metadata))
}

/// All of a plain file of at most `bytes_max` bytes; a small one.
fn read_plain(path: &Path, bytes_max: u64) -> Result<Vec<u8>, DatabaseError> {
    Ok(read_until(path, bytes_max, &GivenUp::default())?.as_ref().to_vec())
}

/// As [`read_plain`], as long as anybody waits for it.
fn read_until(path: &Path, bytes_max: u64, given_up: &GivenUp) -> Result<Bulk, DatabaseError> {
    let (file, metadata) = open_plain(path)?;
    let too_large = || DatabaseError::TooLarge { path: path.to_owned(), bytes_max };
    let told = metadata.len();
    if told > bytes_max {
        return Err(too_large());
    }
    let source = Until { source: file, given_up };
    let content =
        read_capped(source, told, bytes_max).map_err(|source| unreadable(path, source))?;
    content.ok_or_else(too_large)
}

/// All of a source, or `None` where it is longer than `bytes_max`. `told` is how long it says it
/// is: room of that size need not grow, which would take twice as much meanwhile.
fn read_capped(source: impl Read, told: u64, bytes_max: u64) -> io::Result<Option<Bulk>> {
    // One byte more shows the end without another growth.
    let room = usize::try_from(told.min(bytes_max).saturating_add(1)).unwrap_or(0);
    let mut content = Bulk::with_room(room)?;
    content.read_all(source.take(bytes_max.saturating_add(1)))?;
    Ok((content.bytes() <= bytes_max).then_some(content))
}

/// A source that fails once nobody waits for it any more.
struct Until<'a, R> {
    source: R,
    given_up: &'a GivenUp,
}

/// What is read between two looks: some 0.2 ms.
const READ_BYTES: usize = 512 << 10;

impl<R: Read> Read for Until<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given_up.is_so() {
            return Err(io::Error::other("given up"));
        }
        let room = into.len().min(READ_BYTES);
        self.source.read(into.get_mut(..room).unwrap_or_default())
    }
}
