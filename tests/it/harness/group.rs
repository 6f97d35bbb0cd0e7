//! Control groups of the test's own, of cgroup v1 or v2, whichever this machine has.

use super::server::Server;
use gavel::runtime::cgroup::folders;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Moves the shell into each group, then becomes the server.
const ENTER: &str =
    r#"while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@""#;

/// What a group may use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub memory_bytes: Option<u64>,
    /// Thousandths of a CPU.
    pub cpu_milli: Option<u64>,
}

/// Its folders; removed when dropped, after whatever ran in it.
#[derive(Debug)]
pub struct Group {
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
}

impl Group {
    /// Makes it; the error says why this machine does not let us.
    pub fn make(limits: Limits) -> Result<Self, String> {
        let mut group = Self { memory: None, cpu: None };
        if let Some(bytes) = limits.memory_bytes {
            let folder = group.memory.insert(folder("memory")?);
            let name = if is_v2(folder) { "memory.max" } else { "memory.limit_in_bytes" };
            write(&folder.join(name), &bytes.to_string())?;
            // what is swapped out would not count; a machine without swap has no such file
            let _ = write(&folder.join("memory.swap.max"), "0");
            let _ = write(&folder.join("memory.swappiness"), "0");
        }
        if let Some(milli) = limits.cpu_milli {
            let folder = group.cpu.insert(folder("cpu")?);
            let quota = milli * 100;
            if is_v2(folder) {
                write(&folder.join("cpu.max"), &format!("{quota} 100000"))?;
            } else {
                write(&folder.join("cpu.cfs_period_us"), "100000")?;
                write(&folder.join("cpu.cfs_quota_us"), &quota.to_string())?;
            }
        }
        Ok(group)
    }

    /// Starts a server in it and waits until it is ready.
    pub fn serve(&self, config: &Path) -> Server {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", ENTER, "enter"]).args(self.folders()).arg("--");
        command.arg(env!("CARGO_BIN_EXE_gavel")).args(Server::words(config));
        Server::launch(&mut command).serving()
    }

    /// Processes that the kernel killed in it for want of memory.
    pub fn killed(&self) -> u64 {
        let folder = self.memory.as_ref().unwrap();
        let name = if is_v2(folder) { "memory.events" } else { "memory.oom_control" };
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap()
    }

    /// The most that was used in it so far, files included; `None` where the kernel does not say.
    pub fn peak_bytes(&self) -> Option<u64> {
        let folder = self.memory.as_ref()?;
        let name = if is_v2(folder) { "memory.peak" } else { "memory.max_usage_in_bytes" };
        std::fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.memory, &self.cpu].into_iter().flatten()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in self.folders() {
            // a server that a failing test left is still ending
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn is_v2(folder: &Path) -> bool {
    folder.join("cgroup.controllers").exists()
}

/// A new group below ours, or where v2 allows one.
fn folder(controller: &str) -> Result<PathBuf, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let known = folders(controller, &|path| std::fs::read_to_string(path).ok());
    let is_shared = |folder: &&PathBuf| {
        let text = std::fs::read_to_string(folder.join("cgroup.subtree_control"));
        text.is_ok_and(|text| text.split_whitespace().any(|word| word == controller))
    };
    let above = known.v1.first().or_else(|| known.v2.iter().find(is_shared));
    let above =
        above.ok_or_else(|| format!("there is no controller `{controller}` for a group"))?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = above.join(format!("gavel-test-{}-{number}", std::process::id()));
    std::fs::create_dir(&folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
    Ok(folder)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|fault| format!("{}: {fault}", path.display()))
}
