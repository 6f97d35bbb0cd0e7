//! Which files can never change because of how they were mounted.
//!
//! Owns: the reading of `/proc/self/mountinfo` (proc_pid_mountinfo(5)) and the rule.
//! Never: a stat of a mounted file. A table that cannot be read means that nothing is known to
//! be frozen.
//!
//! A volume that is mounted with `subPath` shows the inode, or the version of a ConfigMap, of the
//! moment when the container started, for ever.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Where the kernel tells what is mounted.
const TABLE: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What of its file system is mounted.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
}

/// What is mounted now.
pub fn mounted() -> Vec<Mount> {
    std::fs::read(TABLE).map(|table| mounts(&table)).unwrap_or_default()
}

/// Reads a mount table; a line that is none is passed over.
pub fn mounts(table: &[u8]) -> Vec<Mount> {
    table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            // mount id, parent id, device, root, mount point
            let mut fields = line.split(|byte| *byte == b' ').skip(3);
            Some(Mount { root: path(fields.next()?), point: path(fields.next()?) })
        })
        .collect()
}

/// Whether a file (its real name, no folder) is mounted such that its replacement is never seen.
pub fn is_frozen(file: &Path, mounts: &[Mount]) -> bool {
    // a later mount hides an earlier one at the same place, and `max_by_key` takes the last
    let innermost = mounts
        .iter()
        .filter(|mount| file.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count());
    innermost.is_some_and(|mount| mount.point == file || is_version(&mount.root))
}

/// Whether a path lies in one version of a ConfigMap: a folder such as `..2026_01_31_12_00_00.42`.
fn is_version(root: &Path) -> bool {
    root.components().any(|part| match part {
        Component::Normal(name) => name.as_bytes().starts_with(b".."),
        _ => false,
    })
}

/// Undoes the escapes of spaces, tabs, newlines and backslashes: three octal digits each.
fn path(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'\\').then(|| after.split_at_checked(3)).flatten();
        let read = escaped.and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 8).ok()?, after))
        });
        let (byte, after) = read.unwrap_or((*byte, after));
        plain.push(byte);
        rest = after;
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 0:20 / / rw,relatime - overlay overlay rw
30 21 259:1 /var/lib/kubelet/pods/1d/volumes/kubernetes.io~configmap/whole /etc/whole ro shared:1 - ext4 /dev/nvme0n1p1 rw
31 21 259:1 /var/lib/kubelet/pods/1d/volumes/kubernetes.io~configmap/one/..2026_01_31_12_00_00.42/rules.toml /etc/one/rules.toml ro - ext4 /dev/nvme0n1p1 rw
32 21 0:55 /..2026_01_31_12_00_00.43/tls /etc/keys ro - tmpfs tmpfs rw
33 21 259:1 /srv/a\\040b /mnt/a\\040b\\134c rw - ext4 /dev/nvme0n1p1 rw
34 33 0:56 / /mnt/a\\040b\\134c/deep rw - tmpfs tmpfs rw

not a mount
";

    #[test]
    fn a_file_below_sub_path_is_frozen_and_a_whole_volume_is_not() {
        let mounts = mounts(TABLE.as_bytes());
        for (file, expected) in [
            ("/etc/passwd", false),
            ("/etc/whole/..2026_01_31_12_00_00.41/rules.toml", false),
            ("/etc/one/rules.toml", true),
            ("/etc/one/other.toml", false),
            ("/etc/keys/key.pem", true),
            ("/etc/keys-too/key.pem", false),
            ("/mnt/a b\\c/file", false),
        ] {
            assert_eq!(is_frozen(Path::new(file), &mounts), expected, "{file}");
        }
    }

    #[test]
    fn a_volume_inside_a_frozen_one_is_judged_by_itself() {
        let table = b"1 0 0:1 /..7/sub /m ro - tmpfs t rw\n2 1 0:2 / /m/in ro - tmpfs t rw\n";
        let mounts = mounts(table);
        assert!(is_frozen(Path::new("/m/file"), &mounts));
        assert!(!is_frozen(Path::new("/m/in/file"), &mounts));
    }

    #[test]
    fn escapes_are_undone_and_rubbish_is_passed_over() {
        let read = mounts(TABLE.as_bytes());
        assert_eq!(read.len(), 6);
        let spaced = Mount { root: "/srv/a b".into(), point: "/mnt/a b\\c".into() };
        assert!(read.contains(&spaced));
        assert_eq!(path(br"\04"), Path::new(r"\04"), "too short to be an escape");
        assert_eq!(path(br"\999"), Path::new(r"\999"), "not octal");
        assert!(mounts(b"\0\xff 1 2\n").is_empty());
    }

    #[test]
    fn this_machine_has_a_table() {
        assert!(mounted().iter().any(|mount| mount.point == Path::new("/")));
    }
}
