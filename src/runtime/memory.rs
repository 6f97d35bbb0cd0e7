//! How much of its memory the process uses, as the kernel's out-of-memory killer counts it.
//!
//! Owns: [`MemoryWatch`], its look at cgroup v1 and v2 and at the process's own figure. Never: a
//! decision (`lifecycle::pressure` decides), a clock, a thread.
//! Invariant: the tightest group on the way up counts; files that nobody has used of late do not,
//! the kernel drops them first.

use crate::runtime::cgroup::{Folders, folders};
use std::path::{Path, PathBuf};

/// A v1 group without a limit says a number near 2^63.
const NO_LIMIT: u64 = 1 << 60;

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemorySeen {
    /// Bytes that count against the limit.
    pub used: u64,
    /// `None`: there is no limit.
    pub limit: Option<u64>,
    /// Part of the last ten seconds in which everything waited for memory (PSI `full avg10`);
    /// `None` where the kernel does not say.
    pub stalled: Option<f64>,
}

impl MemorySeen {
    /// The part of the limit that is used; 0 without a limit.
    pub fn part(&self) -> f64 {
        self.limit.map_or(0.0, |limit| self.used as f64 / limit.max(1) as f64)
    }
}

/// Where to look.
#[derive(Debug)]
pub struct MemoryWatch {
    folders: Folders,
    /// Instead of what the groups allow: bytes of this process alone.
    limit: Option<u64>,
}

/// Text of a file.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

impl MemoryWatch {
    /// `limit`: instead of the groups' own, for machines without groups.
    pub fn new(limit: Option<u64>) -> Self {
        Self { folders: folders("memory", &read), limit }
    }

    /// Looks. A limit that is changed while the process runs is seen.
    pub fn look(&self) -> MemorySeen {
        match self.limit {
            Some(limit) => MemorySeen {
                used: read(Path::new("/proc/self/statm"))
                    .and_then(|text| resident(&text))
                    .unwrap_or(0),
                limit: Some(limit),
                stalled: None,
            },
            None => look(&self.folders, &read),
        }
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The group that is fullest.
fn look(folders: &Folders, read: Read<'_>) -> MemorySeen {
    let v2 = folders.v2.iter().filter_map(|folder| v2_group(folder, read));
    let v1 = folders.v1.iter().filter_map(|folder| v1_group(folder, read));
    let fullest = v2.chain(v1).max_by(|a, b| a.part().total_cmp(&b.part()));
    let own = folders.v2.first().map(|folder| folder.join("memory.pressure"));
    let stalled = own.and_then(|path: PathBuf| stalled(&read(&path)?));
    MemorySeen { stalled, ..fullest.unwrap_or_default() }
}

/// `memory.max`, or `memory.high` where that is lower: above it the kernel slows everything down.
fn v2_group(folder: &Path, read: Read<'_>) -> Option<MemorySeen> {
    let number = |name: &str| read(&folder.join(name))?.trim().parse::<u64>().ok();
    let limit = number("memory.max").into_iter().chain(number("memory.high")).min()?;
    let idle = read(&folder.join("memory.stat")).and_then(|text| field(&text, "inactive_file"));
    let used = number("memory.current")?.saturating_sub(idle.unwrap_or(0));
    Some(MemorySeen { used, limit: Some(limit), stalled: None })
}

fn v1_group(folder: &Path, read: Read<'_>) -> Option<MemorySeen> {
    let number = |name: &str| read(&folder.join(name))?.trim().parse::<u64>().ok();
    let limit = number("memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT)?;
    let stat = read(&folder.join("memory.stat"));
    let idle = stat.and_then(|text| field(&text, "total_inactive_file"));
    let used = number("memory.usage_in_bytes")?.saturating_sub(idle.unwrap_or(0));
    Some(MemorySeen { used, limit: Some(limit), stalled: None })
}

/// A line `NAME NUMBER`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// `full avg10=1.23 avg60=...` in per cent.
fn stalled(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("full "))?;
    let word = line.split(' ').find_map(|word| word.strip_prefix("avg10="))?;
    Some(word.parse::<f64>().ok()? / 100.0)
}

/// Pages that are in memory: the second number of `statm`.
fn resident(statm: &str) -> Option<u64> {
    const PAGE: u64 = 4096;
    statm.split(' ').nth(1)?.parse::<u64>().ok()?.checked_mul(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn seen(v2: &[&str], v1: &[&str], files: &[(&str, &str)]) -> MemorySeen {
        let list = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        look(&Folders { v2: list(v2), v1: list(v1) }, &|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn v2_groups_are_read_as_the_kernel_writes_them() {
        let files = [
            ("/c/pod/memory.max", "268435456\n"),
            ("/c/pod/memory.high", "max\n"),
            ("/c/pod/memory.current", "230686720\n"),
            ("/c/pod/memory.stat", "anon 5\nfile 9\ninactive_file 20971520\nactive_file 3\n"),
            (
                "/c/pod/memory.pressure",
                "some avg10=3.00 avg60=0 avg300=0 total=1\nfull avg10=1.50 avg60=0.00 avg300=0.00 total=1\n",
            ),
            ("/c/memory.max", "max\n"),
            ("/c/memory.current", "900000000\n"),
        ];
        let got = seen(&["/c/pod", "/c"], &[], &files);
        assert_eq!((got.used, got.limit), (200 * MIB, Some(256 * MIB)), "no idle files");
        assert!((got.stalled.unwrap() - 0.015).abs() < 1e-9);
        assert!((got.part() - 0.78125).abs() < 1e-9);
        let mut lower = files;
        lower[1].1 = "209715200\n";
        assert_eq!(seen(&["/c/pod"], &[], &lower).limit, Some(200 * MIB), "memory.high");
        lower[5].1 = "910000000\n";
        let parent = seen(&["/c/pod", "/c"], &[], &lower);
        assert_eq!(parent.limit, Some(200 * MIB), "100 % of the own beats 99 % of the parent");
        lower[2].1 = "31457280\n";
        assert_eq!(seen(&["/c/pod", "/c"], &[], &lower).used, 900_000_000, "the parent is fuller");
    }

    #[test]
    fn v1_groups_are_read_as_the_kernel_writes_them() {
        let files = [
            ("/m/pod/memory.limit_in_bytes", "268435456\n"),
            ("/m/pod/memory.usage_in_bytes", "230686720\n"),
            ("/m/pod/memory.stat", "inactive_file 1\ntotal_inactive_file 20971520\n"),
            ("/m/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/m/memory.usage_in_bytes", "9000000000\n"),
        ];
        let got = seen(&[], &["/m/pod", "/m"], &files);
        assert_eq!((got.used, got.limit, got.stalled), (200 * MIB, Some(256 * MIB), None));
        assert_eq!(seen(&[], &["/m"], &files), MemorySeen::default(), "no limit");
    }

    #[test]
    fn rubbish_and_absence_are_no_limit() {
        for files in [
            &[][..],
            &[("/c/memory.max", "x"), ("/c/memory.current", "1")],
            &[("/c/memory.max", "100")],
            &[("/c/memory.current", "100")],
        ] {
            let got = seen(&["/c"], &["/c"], files);
            assert!(got.part().abs() < 1e-9, "{files:?}");
        }
        assert_eq!(resident("2000 300 4 5"), Some(300 * 4096));
        assert_eq!(resident(""), None);
        assert_eq!(stalled("some avg10=1"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let seen = MemoryWatch::new(Some(MIB)).look();
        assert!(seen.used > MIB && seen.part() > 1.0, "{seen:?}");
        let _ = MemoryWatch::new(None).look();
    }
}
