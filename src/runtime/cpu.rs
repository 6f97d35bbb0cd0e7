//! How many workers: the CPU time that the process may really use.
//!
//! Owns: reading cgroup v1 and v2 quotas and the CPU affinity. Never: `available_parallelism`
//! (it rounds a quota of 2.5 CPUs down to 2).
//! Invariant: at least one worker, never more than the affinity allows unless set by hand.

use crate::runtime::cgroup::folders;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::path::Path;

/// How the number of workers is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSettings {
    /// Worker threads (1 to 1024). `None`: the quota rounded up, capped by the affinity.
    pub workers: Option<u16>,
}

/// The number of workers and where it comes from; logged at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerCount {
    pub count: usize,
    pub because: Because,
    /// The tightest quota on the way up the cgroup tree, in thousandths of a CPU.
    pub quota_milli: Option<u64>,
    /// CPUs that the process may be scheduled on.
    pub affinity: usize,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    Setting,
    Quota,
    Affinity,
}

impl Because {
    /// For logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Setting => "setting",
            Self::Quota => "cgroup quota",
            Self::Affinity => "cpu affinity",
        }
    }
}

/// Reads the machine and decides.
pub fn worker_count(settings: CpuSettings) -> WorkerCount {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    decide(settings, quota_milli(read), affinity())
}

fn decide(settings: CpuSettings, quota_milli: Option<u64>, affinity: usize) -> WorkerCount {
    let affinity = affinity.max(1);
    let by_quota = quota_milli
        .map(|milli| usize::try_from(milli.div_ceil(1000)).unwrap_or(usize::MAX).max(1))
        .filter(|count| *count < affinity);
    let (count, because) = match (settings.workers, by_quota) {
        (Some(set), _) => (usize::from(set).max(1), Because::Setting),
        (None, Some(count)) => (count, Because::Quota),
        (None, None) => (affinity, Because::Affinity),
    };
    WorkerCount { count, because, quota_milli, affinity }
}

/// CPUs in the affinity mask; where it cannot be read, what the standard library thinks.
fn affinity() -> usize {
    let counted = sched_getaffinity(Pid::from_raw(0))
        .map(|set| (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count());
    match counted {
        Ok(count) if count > 0 => count,
        _ => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// The tightest quota that holds for this process, in thousandths of a CPU.
fn quota_milli(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = folders("cpu", &read);
    let v2 = groups.v2.iter().filter_map(|folder| v2_quota(&read(&folder.join("cpu.max"))?));
    let v1 = groups.v1.iter().filter_map(|folder| {
        let text = |name: &str| read(&folder.join(name));
        v1_quota(&text("cpu.cfs_quota_us")?, &text("cpu.cfs_period_us")?)
    });
    v2.chain(v1).min()
}

/// `150000 100000` or `max 100000`.
fn v2_quota(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    milli(words.next()?, words.next()?)
}

/// `-1` means none.
fn v1_quota(quota: &str, period: &str) -> Option<u64> {
    milli(quota.trim(), period.trim())
}

fn milli(quota: &str, period: &str) -> Option<u64> {
    let (quota, period) = (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?);
    quota.checked_mul(1000)?.checked_div(period).filter(|milli| *milli > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    const V1_MOUNT: &str = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         33 23 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct";

    const V2: &str = "/sys/fs/cgroup";
    const V1: &str = "/sys/fs/cgroup/cpu,cpuacct";

    /// The quota where `/proc/self/cgroup` says `group` and the files below `top` are `files`.
    fn quota(group: &str, mounts: &str, top: &str, files: &[(&str, &str)]) -> Option<u64> {
        quota_milli(|path| match path.to_str()? {
            "/proc/self/cgroup" => Some(group.to_owned()),
            "/proc/self/mountinfo" => Some(mounts.to_owned()),
            _ => {
                let found = files.iter().find(|(name, _)| Path::new(top).join(name) == path);
                found.map(|(_, text)| (*text).to_owned())
            }
        })
    }

    #[test]
    fn v2_quotas_are_read_as_the_kernel_writes_them() {
        let nested = [
            ("kube/pod/app/cpu.max", "400000 100000"),
            ("kube/pod/cpu.max", "150000 100000"),
            ("kube/cpu.max", "max 100000"),
        ];
        for (name, group, mounts, files, expected) in [
            (
                "own group at the top",
                "0::/\n",
                V2_MOUNT,
                &[("cpu.max", "250000 100000\n")][..],
                Some(2500),
            ),
            ("no limit", "0::/\n", V2_MOUNT, &[("cpu.max", "max 100000\n")], None),
            ("the parent is tighter", "0::/kube/pod/app\n", V2_MOUNT, &nested, Some(1500)),
            ("not mounted", "0::/\n", "", &[("cpu.max", "250000 100000\n")], None),
            ("rubbish", "0::/\n", V2_MOUNT, &[("cpu.max", "12x 0")], None),
            ("no file", "0::/\n", V2_MOUNT, &[], None),
        ] {
            assert_eq!(quota(group, mounts, V2, files), expected, "{name}");
        }
        assert_eq!(quota_milli(|_| None), None, "no /proc");
    }

    #[test]
    fn v1_quotas_are_read_as_the_kernel_writes_them() {
        let group = "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n";
        let inner = "4:cpu,cpuacct:/docker/abc/inner\n0::/x\n";
        let (quota_file, period_file) = ("cpu.cfs_quota_us", "cpu.cfs_period_us");
        let half = [(quota_file, "50000\n"), (period_file, "100000\n")];
        let unlimited = [(quota_file, "-1\n"), (period_file, "100000\n")];
        let nested = [
            ("inner/cpu.cfs_quota_us", "300000"),
            ("inner/cpu.cfs_period_us", "100000"),
            (quota_file, "200000"),
            (period_file, "100000"),
        ];
        for (name, group, files, expected) in [
            ("a container that sees the host's path", group, &half[..], Some(500)),
            ("no limit", group, &unlimited, None),
            ("below the container", inner, &nested, Some(2000)),
        ] {
            assert_eq!(quota(group, V1_MOUNT, V1, files), expected, "{name}");
        }
    }

    #[test]
    fn the_quota_is_rounded_up_and_capped_by_the_affinity() {
        for (set, milli, affinity, count, because) in [
            (None, None, 4, 4, Because::Affinity),
            (None, Some(2500), 8, 3, Because::Quota),
            (None, Some(500), 8, 1, Because::Quota),
            (None, Some(1500), 8, 2, Because::Quota),
            (None, Some(2000), 8, 2, Because::Quota),
            // a cpuset of two under a quota of three: the set decides
            (None, Some(3000), 2, 2, Because::Affinity),
            (None, Some(64_000), 8, 8, Because::Affinity),
            (None, Some(1), 0, 1, Because::Affinity),
            (Some(6), Some(2500), 2, 6, Because::Setting),
            (Some(0), None, 2, 1, Because::Setting),
        ] {
            let got = decide(CpuSettings { workers: set }, milli, affinity);
            assert_eq!((got.count, got.because), (count, because), "{set:?} {milli:?} {affinity}");
        }
    }

    #[test]
    fn this_machine_has_at_least_one_worker() {
        assert!(worker_count(CpuSettings::default()).count >= 1);
    }
}
