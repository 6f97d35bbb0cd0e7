//! A folder of capture files: begun, closed by size and age, and the oldest removed by both.
//!
//! Owns: names, the `.part` of a file that is being written, what goes when there is too much or its time is
//! over.
//! Never: what is in a record. Invariant: a file without `.part` is whole (written, synced, then
//! renamed); names sort in the order of their beginning; no file that stands is written over, and only
//! files of the same prefix that nobody writes any more are removed.
//!
//! Whoever writes a `.part` holds its lock. One without is what a process left that was killed, or a disk
//! that was full: it is whole up to its last block, counts as a finished one and goes as such.

use super::Header;
use super::entry::micros;
use super::write::{Writer, WriterSettings};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a finished file ends with.
pub const EXTENSION: &str = "gvcap";
/// What stands behind it until then.
pub const PART: &str = "part";
/// Pseudonyms tell who somebody is as long as their key is known: nobody else reads it.
pub const MODE: u32 = 0o600;
/// How often files are looked through for those that are too old, also where nothing is recorded.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Most files that may begin within one second.
const SEQUENCE_MAX: u32 = 999_999;

/// Where files go, and when the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotateSettings {
    pub directory: PathBuf,
    /// What names begin with: files of several writers in one folder keep apart by it.
    pub prefix: String,
    /// A file is closed at this many bytes (it may exceed them by one block) ...
    pub bytes_max: u64,
    /// ... and at this age.
    pub age_max: Duration,
    /// Files of the prefix that nobody writes any more together; the oldest go.
    pub kept_bytes_max: u64,
    /// ... and those that began longer ago.
    pub kept_for: Duration,
    pub writer: WriterSettings,
}

/// The file under way.
struct Open {
    writer: Writer<File>,
    part: PathBuf,
    path: PathBuf,
    began_us: u64,
}

/// Writes records into a folder.
pub struct Rotation {
    settings: RotateSettings,
    header: Header,
    open: Option<Open>,
    sequence: u32,
    /// The wall clock when it was last told, and when files were last looked through.
    now_us: u64,
    looked_us: u64,
    /// Of files that were closed, or given up.
    closed_bytes: u64,
    closed_files: u64,
    closed_kept: u64,
}

impl Rotation {
    /// `header` is that of every file; nothing is opened before the first record.
    pub const fn new(settings: RotateSettings, header: Header) -> Self {
        Self {
            settings,
            header,
            open: None,
            sequence: 0,
            now_us: 0,
            looked_us: 0,
            closed_bytes: 0,
            closed_files: 0,
            closed_kept: 0,
        }
    }

    /// Adds the record that `push` gives a writer to the file under way; begins one where there is
    /// none. `now_us` is the wall clock in microseconds. A record that breaks a cap is `InvalidInput`,
    /// and the file goes on; after any other error the file under way is left as `.part`, whole up to
    /// its last block.
    pub fn push(
        &mut self,
        now_us: u64,
        push: impl FnOnce(&mut Writer<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.tick(now_us)?;
        if self.open.is_none() {
            self.open = Some(self.begin(now_us)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let pushed = push(&mut open.writer);
        let is_full = open.writer.bytes() >= self.settings.bytes_max;
        match pushed {
            Ok(()) if is_full => self.close(),
            Err(fault) if fault.kind() != io::ErrorKind::InvalidInput => {
                self.give_up();
                Err(fault)
            }
            other => other,
        }
    }

    /// Closes the file under way once it is old enough, and from time to time removes those that are too old.
    pub fn tick(&mut self, now_us: u64) -> io::Result<()> {
        self.now_us = now_us;
        let age_max = micros(self.settings.age_max);
        match &self.open {
            Some(open) if now_us.saturating_sub(open.began_us) >= age_max => self.close(),
            _ if now_us.saturating_sub(self.looked_us) >= micros(LOOK_EVERY) => {
                self.remove_oldest()
            }
            _ => Ok(()),
        }
    }

    /// Brings what there is to the disk, so that a reader of the `.part` finds it.
    pub fn flush(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let flushed = open.writer.flush_block();
        if flushed.is_err() {
            self.give_up();
        }
        flushed
    }

    /// Leaves the file under way as it is; one without a block says nothing, and goes.
    fn give_up(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.closed_kept += open.writer.kept();
        if open.writer.kept() == 0 {
            let _ = fs::remove_file(open.part);
        }
    }

    /// Finishes the file under way: written, synced, renamed; then the oldest go.
    pub fn close(&mut self) -> io::Result<()> {
        self.flush()?;
        let Some(open) = self.open.take() else { return Ok(()) };
        self.closed_kept += open.writer.kept();
        let file = open.writer.finish()?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        drop(file);
        fs::rename(&open.part, &open.path)?;
        self.closed_bytes += bytes;
        self.closed_files += 1;
        self.remove_oldest()
    }

    /// Where files go.
    pub fn directory(&self) -> &Path {
        &self.settings.directory
    }

    /// Bytes written, those of the file under way included.
    pub fn bytes(&self) -> u64 {
        self.closed_bytes + self.open.as_ref().map_or(0, |open| open.writer.bytes())
    }

    /// Records that the disk has taken.
    pub fn kept(&self) -> u64 {
        self.closed_kept + self.open.as_ref().map_or(0, |open| open.writer.kept())
    }

    /// Files finished.
    pub const fn files(&self) -> u64 {
        self.closed_files
    }

    fn begin(&mut self, now_us: u64) -> io::Result<Open> {
        // processes that are killed again and again leave no more than one that lives
        self.remove_oldest()?;
        for _ in 0..SEQUENCE_MAX {
            self.sequence = self.sequence % SEQUENCE_MAX + 1;
            let name = name(&self.settings.prefix, now_us, self.sequence);
            let path = self.settings.directory.join(&name);
            let part = self.settings.directory.join(format!("{name}.{PART}"));
            if path.try_exists()? {
                continue;
            }
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(MODE);
            let file = match options.open(&part) {
                Ok(file) => file,
                Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(fault) => return Err(fault),
            };
            // where a file system has no locks nobody takes one, and no `.part` is removed
            let _ = file.try_lock();
            let begun = Writer::new(file, &self.header, self.settings.writer);
            if begun.is_err() {
                let _ = fs::remove_file(&part);
            }
            return begun.map(|writer| Open { writer, part, path, began_us: now_us });
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "every name of this second is taken"))
    }

    fn remove_oldest(&mut self) -> io::Result<()> {
        self.looked_us = self.now_us;
        let (directory, prefix) = (&self.settings.directory, &self.settings.prefix);
        let began_us = self.now_us.saturating_sub(micros(self.settings.kept_for));
        let first_kept = directory.join(name(prefix, began_us, 0));
        let mut files = finished(directory, prefix)?;
        let parts = named(directory, prefix, &format!(".{PART}"))?;
        files.extend(parts.into_iter().filter(|(path, _)| is_left(path)));
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        for (path, bytes) in files {
            if total <= self.settings.kept_bytes_max && path >= first_kept {
                break;
            }
            fs::remove_file(path)?;
            total -= bytes;
        }
        Ok(())
    }
}

/// `prefix-20261122T051500Z-000001.gvcap`.
fn name(prefix: &str, now_us: u64, sequence: u32) -> String {
    let seconds = i64::try_from(now_us / 1_000_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    format!("{prefix}-{}-{sequence:06}.{EXTENSION}", time.strftime("%Y%m%dT%H%M%SZ"))
}

/// Finished files of a prefix with their sizes, oldest first.
pub fn finished(directory: &Path, prefix: &str) -> io::Result<Vec<(PathBuf, u64)>> {
    named(directory, prefix, "")
}

/// Whether nobody writes a `.part` any more.
fn is_left(part: &Path) -> bool {
    File::open(part).is_ok_and(|file| file.try_lock().is_ok())
}

fn named(directory: &Path, prefix: &str, suffix: &str) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let plain = name.to_str().and_then(|name| name.strip_suffix(suffix));
        let is_ours = plain.is_some_and(|name| is_name(prefix, name));
        if is_ours && entry.file_type()?.is_file() {
            files.push((entry.path(), entry.metadata()?.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file's name is one that [`name`] makes: nothing else is ever removed.
fn is_name(prefix: &str, name: &str) -> bool {
    const SHAPE: &[u8] = b"-00000000T000000Z-000000.gvcap";
    let Some(rest) = name.strip_prefix(prefix) else { return false };
    rest.len() == SHAPE.len()
        && rest.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            shape => byte == *shape,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Origin, Record, read};
    use std::os::unix::fs::PermissionsExt;

    const SECOND: u64 = 1_000_000;

    fn settings(directory: &Path) -> RotateSettings {
        RotateSettings {
            directory: directory.to_owned(),
            prefix: "t".to_owned(),
            bytes_max: 1 << 20,
            age_max: Duration::from_secs(60),
            kept_bytes_max: 1 << 30,
            kept_for: Duration::from_secs(3_600),
            writer: WriterSettings { block_bytes: 4096, level: 1 },
        }
    }

    fn header() -> Header {
        Header {
            origin: Origin::Recorded,
            started_us: 0,
            writer: "test".to_owned(),
            pseudonym_key: None,
            sample_ppm: 0,
            note: String::new(),
        }
    }

    fn push(rotation: &mut Rotation, number: u64, now_us: u64) -> io::Result<()> {
        let record =
            Record { connection: number, body: vec![b'x'; 512].into(), ..Record::default() };
        rotation.push(now_us, |writer| writer.push(&record))
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_a_part_until_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut rotation = Rotation::new(settings(folder.path()), header());
        assert!(names(folder.path()).is_empty(), "nothing before the first record");
        push(&mut rotation, 1, 1_763_788_500 * SECOND).unwrap();
        assert_eq!(names(folder.path()), ["t-20251122T051500Z-000001.gvcap.part"]);
        rotation.close().unwrap();
        assert_eq!(names(folder.path()), ["t-20251122T051500Z-000001.gvcap"]);
        let mut reader = read::open(&folder.path().join(&names(folder.path())[0])).unwrap();
        let mut found = Record::default();
        assert!(reader.next(&mut found).unwrap());
        assert_eq!(found.connection, 1);
        assert!(!reader.next(&mut found).unwrap());
    }

    #[test]
    fn the_next_begins_by_age_and_by_size_and_names_sort() {
        let folder = tempfile::tempdir().unwrap();
        let mut rotation = Rotation::new(settings(folder.path()), header());
        push(&mut rotation, 1, 0).unwrap();
        push(&mut rotation, 2, 59 * SECOND).unwrap();
        assert_eq!(rotation.files(), 0);
        push(&mut rotation, 3, 60 * SECOND).unwrap();
        assert_eq!(rotation.files(), 1, "by age");
        rotation.tick(120 * SECOND).unwrap();
        assert_eq!(rotation.files(), 2, "also without a record");

        let small = RotateSettings { bytes_max: 300, ..settings(folder.path()) };
        let mut rotation = Rotation::new(small, header());
        for number in 0..64 {
            push(&mut rotation, number, 121 * SECOND).unwrap();
        }
        rotation.close().unwrap();
        assert!(rotation.files() > 2, "{} files by size", rotation.files());
        let mut connections = Vec::new();
        for (path, _) in finished(folder.path(), "t").unwrap() {
            let mut reader = read::open(&path).unwrap();
            let mut found = Record::default();
            while reader.next(&mut found).unwrap() {
                connections.push(found.connection);
            }
        }
        let expected: Vec<u64> = [1, 2, 3].into_iter().chain(0..64).collect();
        assert_eq!(connections, expected, "in the order of their names");
    }

    #[test]
    fn the_oldest_finished_files_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let others = [
            "t-notes.gvcap",
            "u-20251122T051500Z-000001.gvcap",
            "u-20251122T051500Z-000001.gvcap.part",
            "t-19700101T000000Z-000008.gvcap.part",
        ];
        let dead = "t-19700101T000000Z-000009.gvcap.part";
        for name in others.into_iter().chain([dead]) {
            fs::write(folder.path().join(name), [0; 4096]).unwrap();
        }
        let is_written = File::open(folder.path().join(others[3])).unwrap();
        is_written.lock().unwrap();
        let tight = RotateSettings { kept_bytes_max: 600, ..settings(folder.path()) };
        let mut rotation = Rotation::new(tight, header());
        for number in 0..10 {
            push(&mut rotation, number, number * 60 * SECOND).unwrap();
        }
        rotation.close().unwrap();
        assert_eq!(rotation.files(), 10);
        let left = finished(folder.path(), "t").unwrap();
        let total: u64 = left.iter().map(|(_, bytes)| bytes).sum();
        assert!(total <= 600 && !left.is_empty(), "{left:?}");
        assert!(left.last().unwrap().0.to_str().unwrap().contains("000900Z"), "{left:?}");
        for name in others {
            assert!(folder.path().join(name).exists(), "{name} is not ours to remove");
        }
        assert!(!folder.path().join(dead).exists(), "nobody writes it any more");
    }

    #[test]
    fn files_go_when_their_time_is_over_also_without_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut rotation = Rotation::new(settings(folder.path()), header());
        let start = 1_763_788_500;
        for later in [0, 600, 1_200] {
            push(&mut rotation, 1, (start + later) * SECOND).unwrap();
        }
        let dead = "t-20251122T051501Z-000009.gvcap.part";
        fs::write(folder.path().join(dead), [0; 64]).unwrap();
        let left = |rotation: &mut Rotation, later: u64| {
            rotation.tick((start + later) * SECOND).unwrap();
            names(folder.path())
        };
        let files = left(&mut rotation, 3_600);
        assert_eq!(files.len(), 4, "an hour is not over: {files:?}");
        let files = left(&mut rotation, 3_630);
        assert_eq!(files.len(), 4, "it is not looked at every time: {files:?}");
        let files = left(&mut rotation, 3_660);
        assert_eq!(files, ["t-20251122T052500Z-000002.gvcap", "t-20251122T053500Z-000003.gvcap"]);
        assert_eq!(left(&mut rotation, 4_800).len(), 1);
        assert_eq!(left(&mut rotation, 4_861), [""; 0]);
    }

    #[test]
    fn nobody_but_the_owner_reads_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut rotation = Rotation::new(settings(folder.path()), header());
        let mode = || {
            let [name] = &names(folder.path())[..] else { panic!("one file") };
            fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777
        };
        push(&mut rotation, 1, 0).unwrap();
        assert_eq!(mode(), MODE, "while it is written");
        rotation.close().unwrap();
        assert_eq!(mode(), MODE);
    }

    #[test]
    fn a_disk_that_takes_nothing_leaves_no_empty_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut rotation = Rotation::new(settings(folder.path()), header());
        let fails = |_: &mut Writer<File>| Err(io::ErrorKind::StorageFull.into());
        for _ in 0..3 {
            push(&mut rotation, 1, 0).unwrap();
            assert!(rotation.push(0, fails).is_err());
        }
        assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
        push(&mut rotation, 1, 0).unwrap();
        rotation.flush().unwrap();
        assert!(rotation.push(0, fails).is_err());
        assert_eq!(names(folder.path()).len(), 1, "it has a block");
    }

    #[test]
    fn a_file_that_stands_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let mut rotation = Rotation::new(settings(folder.path()), header());
            push(&mut rotation, 1, 0).unwrap();
            rotation.close().unwrap();
        }
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error_and_may_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let later = folder.path().join("later");
        let mut rotation = Rotation::new(settings(&later), header());
        assert_eq!(push(&mut rotation, 1, 0).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir(&later).unwrap();
        push(&mut rotation, 2, 0).unwrap();
        rotation.close().unwrap();
        assert_eq!(finished(&later, "t").unwrap().len(), 1);
    }
}
