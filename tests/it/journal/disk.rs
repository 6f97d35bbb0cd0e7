//! A file system in memory that loses whatever a real one may lose, by a seed.
//!
//! What was not synced is lost, kept or torn by sectors when the power fails; names that were
//! changed without a sync of their folder are lost from some change on; a failed sync leaves some
//! sectors on the disk and drops the others, though reading still shows them.

use gavel::journal::disk::{Disk, DiskFile, Entry, ReadAt};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// A generator after Steele, Lea and Flood (2014): the same numbers for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cache: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// How often what goes wrong: one in so many (0 for never).
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub sync_eio: u64,
    pub write_eio: u64,
    pub sync_full: u64,
    pub sync_timeout: u64,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: BTreeMap<PathBuf, Vec<Change>>,
    dice: Dice,
    faults: Faults,
    /// Folders in which every write and sync fails.
    broken: BTreeSet<PathBuf>,
    /// Syncs of files that fail from now on, in any folder.
    failing_syncs: u64,
    operations: u64,
    crash_at: Option<u64>,
    is_down: bool,
    room: u64,
    /// Reads and openings to read until one that fails.
    reads_left: Option<u64>,
    /// Syncs of this folder's files do not return.
    hanging: Option<PathBuf>,
}

/// A file system; clones are the same one.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<(Mutex<State>, Condvar)>);

impl SimDisk {
    pub fn new(seed: u64) -> Self {
        let state = State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: BTreeMap::new(),
            dice: Dice(seed),
            faults: Faults::default(),
            broken: BTreeSet::new(),
            failing_syncs: 0,
            operations: 0,
            crash_at: None,
            is_down: false,
            room: u64::MAX,
            reads_left: None,
            hanging: None,
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub fn set_room(&self, bytes: u64) {
        self.state().room = bytes;
    }

    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// The power fails in the middle of the n-th change from now on.
    pub fn crash_after(&self, changes: Option<u64>) {
        let mut state = self.state();
        state.crash_at = changes.map(|changes| state.operations + changes);
    }

    pub fn is_down(&self) -> bool {
        self.state().is_down
    }

    pub fn fail_syncs(&self, count: u64) {
        self.state().failing_syncs = count;
    }

    /// The n-th read or opening to read from now on fails, once.
    pub fn fail_read(&self, nth: u64) {
        self.state().reads_left = Some(nth);
    }

    pub fn is_failing_read_ahead(&self) -> bool {
        self.state().reads_left.is_some()
    }

    pub fn set_broken(&self, dir: &Path, is_broken: bool) {
        let mut state = self.state();
        if is_broken {
            state.broken.insert(dir.to_owned());
        } else {
            state.broken.remove(dir);
        }
    }

    pub fn hang(&self, dir: Option<&Path>) {
        self.state().hanging = dir.map(Path::to_owned);
        self.0.1.notify_all();
    }

    /// The power fails: what is left is what the platters hold, and it is on again.
    pub fn power_cycle(&self) {
        let mut state = self.state();
        state.fail_power();
        state.is_down = false;
        state.crash_at = None;
    }

    /// The bytes of a file, as they are read.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.inodes[state.names[path]].cache.clone()
    }

    /// Puts bytes in the place of a file's, in memory and on the platters.
    pub fn set_bytes(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let at = state.names[path];
        state.inodes[at] =
            Inode { cache: bytes.to_vec(), durable: bytes.to_vec(), dirty: BTreeSet::new() };
    }

    /// Flips bits of one byte.
    pub fn flip(&self, path: &Path, offset: usize, bits: u8) {
        let mut state = self.state();
        let at = state.names[path];
        state.inodes[at].cache[offset] ^= bits;
        state.inodes[at].durable[offset] ^= bits;
    }

    /// Takes all files away, and their bytes: elsewhere those of a removed file stay, for whoever has it
    /// open.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.inodes.clear();
        state.names.clear();
        state.durable_names.clear();
        state.changes.clear();
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    fn file(&self, inode: usize, path: &Path) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), inode, dir: parent(path) })
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap().to_owned()
}

fn down() -> io::Error {
    io::Error::other("the power is off")
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|at| self.inodes[*at].cache.len() as u64).sum()
    }

    /// Counts a change; true where the power fails in the middle of it.
    fn change(&mut self) -> io::Result<bool> {
        if self.is_down {
            return Err(down());
        }
        self.operations += 1;
        Ok(self.crash_at == Some(self.operations))
    }

    fn read(&mut self) -> io::Result<()> {
        self.reads_left = self.reads_left.map(|left| left.saturating_sub(1));
        if self.reads_left.take_if(|left| *left == 0).is_some() { Err(eio()) } else { Ok(()) }
    }

    fn happens(&mut self, one_in: u64) -> bool {
        one_in > 0 && self.dice.one_in(one_in)
    }

    fn settle_some(&mut self, inode: usize) {
        let file = &mut self.inodes[inode];
        let longer = file.cache.len().max(file.durable.len());
        if self.dice.one_in(2) {
            file.durable.resize(file.cache.len(), 0);
        }
        for sector in std::mem::take(&mut file.dirty) {
            if self.dice.one_in(2) {
                let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(longer));
                let to = to.min(file.cache.len()).min(file.durable.len());
                if from < to {
                    file.durable[from..to].copy_from_slice(&file.cache[from..to]);
                }
            }
        }
    }

    fn fail_power(&mut self) {
        for inode in 0..self.inodes.len() {
            self.settle_some(inode);
            let durable = self.inodes[inode].durable.clone();
            self.inodes[inode].cache = durable;
        }
        for (_, changes) in std::mem::take(&mut self.changes) {
            let kept = self.dice.index(changes.len() + 1);
            for change in changes.into_iter().take(kept) {
                apply(&mut self.durable_names, change);
            }
        }
        self.names = self.durable_names.clone();
        self.is_down = true;
    }

    fn rename_or(&mut self, dir: &Path, change: Change) -> io::Result<()> {
        let crashes = self.change()?;
        apply(&mut self.names, change.clone());
        self.changes.entry(dir.to_owned()).or_default().push(change);
        if crashes {
            self.fail_power();
            return Err(down());
        }
        Ok(())
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: Change) {
    match change {
        Change::Link(path, inode) => drop(names.insert(path, inode)),
        Change::Unlink(path) => drop(names.remove(&path)),
        Change::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    dir: PathBuf,
}

impl ReadAt for SimFile {
    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        if state.is_down {
            return Err(down());
        }
        state.read()?;
        state.inodes[self.inode].cache.as_slice().read_at(offset, room)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].cache.len() as u64)
    }
}

impl DiskFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let crashes = state.change()?;
        let faults = state.faults;
        let fails = state.happens(faults.write_eio) || state.broken.contains(&self.dir);
        let from = usize::try_from(offset).unwrap();
        let is_partial = crashes || fails;
        let count = if is_partial { state.dice.index(bytes.len() + 1) } else { bytes.len() };
        let length = state.inodes[self.inode].cache.len();
        let grows = (from + count).saturating_sub(length) as u64;
        if state.used() + grows > state.room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut state.inodes[self.inode];
        file.cache.resize(length.max(from + count), 0);
        file.cache[from..from + count].copy_from_slice(&bytes[..count]);
        if count > 0 {
            file.dirty.extend(from / SECTOR..=(from + count - 1) / SECTOR);
        }
        if crashes {
            state.fail_power();
            return Err(down());
        }
        if fails { Err(eio()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        while state.hanging.as_ref() == Some(&self.dir) {
            state = self.disk.0.1.wait(state).unwrap();
        }
        let crashes = state.change()?;
        if crashes {
            state.fail_power();
            return Err(down());
        }
        let faults = state.faults;
        let fails = state.happens(faults.sync_eio)
            || state.broken.contains(&self.dir)
            || state.failing_syncs > 0;
        state.failing_syncs = state.failing_syncs.saturating_sub(1);
        if fails {
            state.settle_some(self.inode);
            return Err(eio());
        }
        if state.happens(faults.sync_timeout) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if state.happens(faults.sync_full) {
            state.settle_some(self.inode);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut state.inodes[self.inode];
        file.durable.clone_from(&file.cache);
        file.dirty.clear();
        Ok(())
    }

    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let crashes = state.change()?;
        let length = usize::try_from(bytes).unwrap();
        state.inodes[self.inode].cache.resize(length, 0);
        if crashes {
            state.fail_power();
            return Err(down());
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn make_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _dir: &Path) -> io::Result<Box<dyn Debug + Send>> {
        Ok(Box::new(()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        if state.is_down {
            return Err(down());
        }
        let own = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(own
            .map(|(path, inode)| Entry {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                bytes: state.inodes[*inode].cache.len() as u64,
            })
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.broken.contains(&parent(path)) {
            return Err(eio());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.rename_or(&parent(path), Change::Link(path.to_owned(), inode))?;
        Ok(self.file(inode, path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        if state.is_down {
            return Err(down());
        }
        let inode = state.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode, path))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.state().read()?;
        self.open(path)
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut file = match self.open(path) {
            Ok(file) => file,
            Err(_) => self.create(path)?,
        };
        file.write_at(0, &vec![0; usize::try_from(bytes).unwrap()])
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let change = Change::Rename(from.to_owned(), to.to_owned());
        self.state().rename_or(&parent(from), change)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename_or(&parent(path), Change::Unlink(path.to_owned()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let crashes = state.change()?;
        if crashes {
            state.fail_power();
            return Err(down());
        }
        if state.broken.contains(dir) {
            return Err(eio());
        }
        for change in state.changes.remove(dir).unwrap_or_default() {
            apply(&mut state.durable_names, change);
        }
        Ok(())
    }
}
