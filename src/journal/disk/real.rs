//! The file system of the machine.
//!
//! Owns: [`RealDisk`]. Never: a retry. Invariant: `sync` is `fdatasync`, `sync_dir` is `fsync`.

use super::{Disk, DiskFile, Entry, ReadAt};
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Events and prices are nobody else's business.
const MODE: u32 = 0o600;

/// Name of the file that is locked.
pub const LOCK: &str = "lock";

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl ReadAt for File {
    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let (mut rest, mut at, mut count) = (room, offset, 0);
        while !rest.is_empty() {
            match FileExt::read_at(self, rest, at) {
                Ok(0) => break,
                Ok(got) => {
                    count += got;
                    at += got as u64;
                    rest = rest.get_mut(got..).unwrap_or_default();
                }
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(count)
    }

    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|data| data.len())
    }
}

impl DiskFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(MODE);
    options
}

impl Disk for RealDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(dir)?;
        // the name of the new folder stands in the one above
        match dir.parent().filter(|above| !above.as_os_str().is_empty()) {
            Some(above) => self.sync_dir(above),
            None => Ok(()),
        }
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Debug + Send>> {
        let file = options().create(true).truncate(false).open(dir.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(fault)) => Err(fault),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let data = match entry.metadata() {
                Ok(data) => data,
                // removed meanwhile: retention, or a rename
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
                Err(fault) => return Err(fault),
            };
            if let (true, Ok(name)) = (data.is_file(), entry.file_name().into_string()) {
                found.push(Entry { name, bytes: data.len() });
            }
        }
        Ok(found)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(options().create(true).truncate(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(options().open(path)?))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = options().create(true).truncate(false).open(path)?;
        let length = i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        nix::fcntl::posix_fallocate(&file, 0, length)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}
