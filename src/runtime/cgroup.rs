//! Where the control groups of this process are.
//!
//! Owns: [`folders`]: reading `/proc/self/cgroup` and `mountinfo`, of cgroup v1 and v2, nested and
//! in containers. Never: a limit or a figure of a group (`cpu` and `memory` read those).

use std::path::{Path, PathBuf};

/// The groups that hold for this process, its own first, up to what is mounted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Folders {
    pub v2: Vec<PathBuf>,
    pub v1: Vec<PathBuf>,
}

/// Where a hierarchy is mounted, and which of its directories that mount shows.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    root: String,
    point: PathBuf,
}

/// The folders of `controller` (`cpu`, `memory`); `read` gives the text of a file.
pub fn folders(controller: &str, read: &dyn Fn(&Path) -> Option<String>) -> Folders {
    let cgroup = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mounts = read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let v2 = v2_path(&cgroup).and_then(|path| {
        let mount = mount_of(&mounts, |kind, _| kind == "cgroup2")?;
        Some(upwards(&mount, path))
    });
    let v1 = v1_path(&cgroup, controller).and_then(|path| {
        let has_it = |options: &str| options.split(',').any(|option| option == controller);
        let mount = mount_of(&mounts, |kind, options| kind == "cgroup" && has_it(options))?;
        Some(upwards(&mount, path))
    });
    Folders { v2: v2.unwrap_or_default(), v1: v1.unwrap_or_default() }
}

/// From the process's group up to the mount.
fn upwards(mount: &Mount, path: &str) -> Vec<PathBuf> {
    // Inside a container the mount's root is the container's own group; the path may or may not
    // be shown relative to it.
    let inner = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or("");
    let mut folder = mount.point.join(inner.trim_start_matches('/'));
    let mut found = Vec::new();
    while folder.starts_with(&mount.point) {
        found.push(folder.clone());
        if !folder.pop() {
            break;
        }
    }
    found
}

/// `0::/path`.
fn v2_path(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// `7:cpu,cpuacct:/path`.
fn v1_path<'a>(cgroup: &'a str, controller: &str) -> Option<&'a str> {
    cgroup.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

/// A line of mountinfo: `36 35 98:0 /root /point options - kind source super-options`.
fn mount_of(mounts: &str, fits: impl Fn(&str, &str) -> bool) -> Option<Mount> {
    mounts.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut tail = tail.split(' ');
        let (kind, options) = (tail.next()?, tail.nth(1).unwrap_or(""));
        if !fits(kind, options) {
            return None;
        }
        let mut head = head.split(' ').skip(3);
        Some(Mount { root: head.next()?.to_owned(), point: head.next()?.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_from_the_own_one_up_to_the_mount() {
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate";
        let v1 = "31 23 0:27 / /c/memory rw - cgroup cgroup rw,memory\n\
                  33 23 0:29 /docker/abc /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct";
        for (cgroup, mounts, controller, expected) in [
            (
                "0::/kube/pod\n",
                v2,
                "memory",
                ["/sys/fs/cgroup/kube/pod", "/sys/fs/cgroup/kube", "/sys/fs/cgroup"].as_slice(),
            ),
            ("0::/\n", v2, "cpu", &["/sys/fs/cgroup"]),
            ("9:memory:/a\n0::/x\n", v1, "memory", &["/c/memory/a", "/c/memory"]),
            ("4:cpu,cpuacct:/docker/abc\n", v1, "cpu", &["/c/cpu,cpuacct"]),
            ("4:cpu,cpuacct:/docker/abc/in\n", v1, "cpu", &["/c/cpu,cpuacct/in", "/c/cpu,cpuacct"]),
            ("4:cpu,cpuacct:/docker/abc\n", v1, "pids", &[]),
            ("0::/\n", "", "cpu", &[]),
            ("rubbish", v2, "cpu", &[]),
        ] {
            let got = folders(controller, &|path| match path.to_str()? {
                "/proc/self/cgroup" => Some(cgroup.to_owned()),
                _ => Some(mounts.to_owned()),
            });
            let all: Vec<_> = got.v2.iter().chain(&got.v1).collect();
            assert_eq!(all, expected.iter().map(Path::new).collect::<Vec<_>>(), "{cgroup}");
        }
        assert_eq!(folders("cpu", &|_| None), Folders::default(), "no /proc");
    }
}
