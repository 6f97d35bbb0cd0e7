//! Sorting more than memory holds.
//!
//! Owns: [`Sorter`], [`Merge`]. Never: what an entry means. Invariant: every entry that was pushed
//! comes out once, in the order of its bytes, and equal ones come out as one; memory is bounded by
//! what it was given, whatever the number of entries; its files have no names, so that none is left
//! behind.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest entry.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;
/// Least that a sorter works with: an entry of the longest kind, and a few.
pub const MEMORY_LEAST: usize = 4 << 20;
/// Most: offsets in it have 32 bits.
pub const MEMORY_MOST: usize = 1 << 30;
/// Files that are read at once; with more of them they are first made one.
const RUNS_MAX: usize = 128;
/// What is read of a file at once.
const WINDOW: usize = 32 << 10;
/// Names that are tried for a file.
const NAMES_MAX: u32 = 100;

/// Where an entry stands, with its first bytes, by which most comparisons are decided.
#[derive(Clone, Copy, Debug)]
struct Slot {
    prefix: u128,
    offset: u32,
    length: u32,
}

/// Takes entries.
#[derive(Debug)]
pub struct Sorter {
    dir: PathBuf,
    arena: Vec<u8>,
    arena_max: usize,
    slots: Vec<Slot>,
    slots_max: usize,
    runs: Vec<File>,
    pushed: u64,
}

impl Sorter {
    /// Works in so many bytes of memory and, beyond them, in files of a folder.
    pub fn new(dir: &Path, memory: usize) -> Self {
        let memory = memory.clamp(MEMORY_LEAST, MEMORY_MOST);
        // a quarter for the slots: an entry has at least about a hundred bytes
        let slots_max = memory / 4 / size_of::<Slot>();
        let arena_max = memory - memory / 4;
        Self {
            dir: dir.to_owned(),
            arena: Vec::new(),
            arena_max,
            slots: Vec::new(),
            slots_max,
            runs: Vec::new(),
            pushed: 0,
        }
    }

    /// Takes an entry of at most [`ENTRY_BYTES_MAX`].
    pub fn push(&mut self, entry: &[u8]) -> io::Result<()> {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry is too long"));
        }
        let is_full = self.arena.len() + entry.len() > self.arena_max;
        if is_full || self.slots.len() == self.slots_max {
            self.spill()?;
        }
        if self.arena.capacity() == 0 {
            // once and for all: growing by doubling would take twice as much
            self.arena.reserve_exact(self.arena_max);
            self.slots.reserve_exact(self.slots_max);
        }
        let (offset, length) = (number(self.arena.len())?, number(entry.len())?);
        self.arena.extend_from_slice(entry);
        self.slots.push(Slot { prefix: prefix(entry), offset, length });
        self.pushed += 1;
        Ok(())
    }

    /// Entries that were pushed.
    pub const fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Most bytes that it has held in memory.
    pub const fn held(&self) -> usize {
        self.arena.capacity() + self.slots.capacity() * size_of::<Slot>()
    }

    /// Gives them in order.
    pub fn finish(mut self) -> io::Result<Merge> {
        if self.runs.is_empty() {
            self.sort();
            return Ok(Merge(Source::Memory { arena: self.arena, slots: self.slots, at: 0 }));
        }
        self.spill()?;
        (self.arena, self.slots) = (Vec::new(), Vec::new());
        Files::new(self.runs).map(|files| Merge(Source::Files(files)))
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        let entry = |slot: &Slot| entry_of(arena, *slot);
        self.slots
            .sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| entry(a).cmp(entry(b))));
        self.slots.dedup_by(|a, b| a.prefix == b.prefix && entry(a) == entry(b));
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.runs.len() >= RUNS_MAX {
            let mut files = Files::new(std::mem::take(&mut self.runs))?;
            let mut run = Run::new(&self.dir)?;
            while let Some(entry) = files.step()? {
                run.add(entry)?;
            }
            self.runs.push(run.end()?);
        }
        self.sort();
        let mut run = Run::new(&self.dir)?;
        for slot in &self.slots {
            run.add(entry_of(&self.arena, *slot))?;
        }
        self.runs.push(run.end()?);
        self.arena.clear();
        self.slots.clear();
        Ok(())
    }
}

fn number(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| io::Error::other("more than 32 bits"))
}

fn prefix(entry: &[u8]) -> u128 {
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(entry) {
        *to = *from;
    }
    u128::from_be_bytes(first)
}

fn entry_of(arena: &[u8], slot: Slot) -> &[u8] {
    let start = slot.offset as usize;
    arena.get(start..start + slot.length as usize).unwrap_or_default()
}

/// A file of sorted entries that is being written.
struct Run(BufWriter<File>);

impl Run {
    fn new(dir: &Path) -> io::Result<Self> {
        nameless(dir).map(|file| Self(BufWriter::with_capacity(256 << 10, file)))
    }

    fn add(&mut self, entry: &[u8]) -> io::Result<()> {
        self.0.write_all(&number(entry.len())?.to_le_bytes())?;
        self.0.write_all(entry)
    }

    fn end(self) -> io::Result<File> {
        let mut file = self.0.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

/// A file without a name, for its owner only.
fn nameless(dir: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut fault = io::Error::other("no name is free");
    for _ in 0..NAMES_MAX {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(".gavel-ledger-{}-{number}", std::process::id()));
        match options.open(&path) {
            Ok(file) => return fs::remove_file(&path).map(|()| file),
            Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => fault = taken,
            Err(other) => return Err(other),
        }
    }
    Err(fault)
}

/// Entries in order, equal ones once.
#[derive(Debug)]
pub struct Merge(Source);

#[derive(Debug)]
enum Source {
    Memory { arena: Vec<u8>, slots: Vec<Slot>, at: usize },
    Files(Files),
}

impl Merge {
    /// The next entry.
    pub fn step(&mut self) -> io::Result<Option<&[u8]>> {
        match &mut self.0 {
            Source::Files(files) => files.step(),
            Source::Memory { arena, slots, at } => {
                let slot = slots.get(*at).copied();
                *at += 1;
                Ok(slot.map(|slot| entry_of(arena, slot)))
            }
        }
    }
}

#[derive(Debug)]
struct Files {
    sources: Vec<BufReader<File>>,
    /// The next entry of each file that has one.
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
    last: Option<Vec<u8>>,
    /// A buffer to use again.
    spare: Vec<u8>,
}

impl Files {
    fn new(runs: Vec<File>) -> io::Result<Self> {
        let sources = runs.into_iter().map(|run| BufReader::with_capacity(WINDOW, run)).collect();
        let mut files = Self { sources, heads: BinaryHeap::new(), last: None, spare: Vec::new() };
        for source in 0..files.sources.len() {
            files.refill(source)?;
        }
        Ok(files)
    }

    fn refill(&mut self, source: usize) -> io::Result<()> {
        let Some(reader) = self.sources.get_mut(source) else { return Ok(()) };
        let mut length = [0; 4];
        if reader.read(&mut length[..1])? == 0 {
            return Ok(());
        }
        reader.read_exact(&mut length[1..])?;
        let mut entry = std::mem::take(&mut self.spare);
        entry.resize(u32::from_le_bytes(length) as usize, 0);
        reader.read_exact(&mut entry)?;
        self.heads.push(Reverse((entry, source)));
        Ok(())
    }

    fn step(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            let Some(Reverse((entry, source))) = self.heads.pop() else { return Ok(None) };
            let is_new = self.last.as_ref() != Some(&entry);
            let former = if is_new { self.last.replace(entry) } else { Some(entry) };
            self.spare = former.unwrap_or_default();
            self.refill(source)?;
            if is_new {
                return Ok(self.last.as_deref());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn drain(sorter: Sorter) -> Vec<Vec<u8>> {
        let mut merge = sorter.finish().unwrap();
        let mut found = Vec::new();
        while let Some(entry) = merge.step().unwrap() {
            found.push(entry.to_vec());
        }
        found
    }

    /// With room for a few entries only, so that there are many files.
    fn small(dir: &Path) -> Sorter {
        Sorter { arena_max: 64, slots_max: 4, ..Sorter::new(dir, 0) }
    }

    proptest! {
        #[test]
        fn entries_come_out_in_order_and_equal_ones_once(
            entries in prop::collection::vec(prop::collection::vec(0_u8..4, 0..20), 0..200),
            is_small in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut sorter = if is_small { small(dir.path()) } else { Sorter::new(dir.path(), 0) };
            for entry in &entries {
                sorter.push(entry).unwrap();
            }
            let expected: BTreeSet<Vec<u8>> = entries.into_iter().collect();
            prop_assert_eq!(drain(sorter), expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn more_files_than_are_read_at_once_are_made_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = small(dir.path());
        let entries = u32::try_from(RUNS_MAX).unwrap() * 9;
        for number in (0..entries).rev() {
            sorter.push(&number.to_be_bytes()).unwrap();
        }
        assert!(sorter.runs.len() <= RUNS_MAX);
        let found = drain(sorter);
        assert_eq!(found, (0..entries).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
    }

    #[test]
    fn memory_stays_within_what_it_was_given_and_no_file_stays_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(dir.path(), MEMORY_LEAST);
        for number in 0..100_000_u64 {
            let mut entry = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec();
            entry.resize(150, 7);
            sorter.push(&entry).unwrap();
            assert!(sorter.held() <= MEMORY_LEAST);
        }
        assert!(sorter.runs.len() > 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(drain(sorter).len(), 100_000);
    }

    #[test]
    fn what_is_too_long_is_refused_and_a_folder_that_is_not_there_is_a_fault() {
        let mut sorter = Sorter::new(Path::new("/nowhere/at/all"), 0);
        assert!(sorter.push(&vec![0; ENTRY_BYTES_MAX + 1]).is_err());
        sorter.slots_max = 1;
        sorter.push(&[1]).unwrap();
        assert_eq!(sorter.push(&[2]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
