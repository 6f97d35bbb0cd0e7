//! The disk seam: all that the journal asks of a file system.
//!
//! Owns: [`Disk`], [`DiskFile`], [`ReadAt`]. Never: what a file means, a retry.
//!
//! What an implementation promises, and the simulation of the tests takes away wherever it may:
//! - bytes that were written are durable after [`DiskFile::sync`] has answered `Ok`, not before;
//! - a created, renamed or removed name is durable after [`Disk::sync_dir`] of its folder;
//! - after a failed `sync` nothing is known of what was written since the one before: the journal
//!   never asks that file again.
//!
//! This file is the folder's vocabulary; it imports none of its children.

pub mod lane;
pub mod real;

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// Reading at an offset.
pub trait ReadAt {
    /// Fills from the front of `room` what there is at `offset`; fewer bytes than asked for only at
    /// the end.
    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize>;

    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: ReadAt + Debug + Send {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable (`fdatasync`, which includes a changed length).
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts or lengthens (with zeros, which may have no place on the disk yet).
    fn set_length(&mut self, bytes: u64) -> io::Result<()>;

    /// Writes and makes durable.
    fn commit(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_at(offset, bytes)?;
        self.sync()
    }
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub bytes: u64,
}

/// A file system.
pub trait Disk: Debug + Send + Sync {
    /// Makes a folder and those above it, where missing.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Keeps other processes away from a folder until the answer is dropped; `WouldBlock` where
    /// one of them is there.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Debug + Send>>;

    /// The files of a folder, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;

    /// Makes a new file, empty, or empties one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to read and write.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to read.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Takes place on the disk for `bytes` of a file whose content does not matter.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// Gives a file another name in the same folder, over what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names of a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = self.get(from..).unwrap_or_default();
        let count = there.len().min(room.len());
        if let (Some(room), Some(there)) = (room.get_mut(..count), there.get(..count)) {
            room.copy_from_slice(there);
        }
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A whole small file; `InvalidData` where it is longer than `most`.
pub fn read_whole(disk: &dyn Disk, path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let file = disk.open_to_read(path)?;
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    if length > most {
        let text = format!("the file has {length} bytes, at most {most} allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = vec![0; length];
    let count = file.read_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Puts a small file in the place of another, so that at any moment one whole of both is there:
/// written beside it, made durable, renamed, the folder made durable.
pub fn replace(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!("{name}.tmp"));
    disk.create(&beside)?.commit(0, bytes)?;
    disk.rename(&beside, &dir.join(name))?;
    disk.sync_dir(dir)
}
