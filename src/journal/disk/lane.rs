//! A disk that answers in time, or not at all.
//!
//! Owns: [`Patient`], which has the writes to each file done by a thread of their own and gives up
//! on one that takes too long (`TimedOut`). Never: a decision what then. Invariant: a file that was
//! given up on is not touched again by whoever gave up; what its thread still does to it changes
//! nothing that counts, because its successor says where it ends.
//!
//! Why: an `fdatasync` on a failing disk can hang for minutes and cannot be called back. The
//! journal must be able to go on elsewhere meanwhile.

use super::{Disk, DiskFile, Entry, ReadAt};
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// Threads that hang on a disk and were given up on; with so many, no new file is begun.
pub const HANGING_MAX: usize = 8;

/// Gives up on writes that take longer than `patience`.
#[derive(Clone, Debug)]
pub struct Patient {
    disk: Arc<dyn Disk>,
    patience: Duration,
    hanging: Arc<AtomicUsize>,
}

impl Patient {
    /// Around another disk.
    pub fn new(disk: Arc<dyn Disk>, patience: Duration) -> Self {
        Self { disk, patience, hanging: Arc::default() }
    }

    /// Files that were given up on and whose threads still hang.
    pub fn hanging(&self) -> usize {
        self.hanging.load(Ordering::Acquire)
    }

    fn lane(&self, file: Box<dyn DiskFile>) -> io::Result<Box<dyn DiskFile>> {
        if self.hanging() >= HANGING_MAX {
            let text = format!("{HANGING_MAX} writes hang on this disk");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        let (jobs, todo) = sync_channel(1);
        let (done, answers) = sync_channel(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let (own, hanging) = (Arc::clone(&given_up), Arc::clone(&self.hanging));
        thread::Builder::new().name("gavel-disk".to_owned()).spawn(move || {
            work(file, &todo, &done);
            if own.load(Ordering::Acquire) {
                hanging.fetch_sub(1, Ordering::AcqRel);
            }
        })?;
        let (patience, hanging) = (self.patience, Arc::clone(&self.hanging));
        Ok(Box::new(Lane { jobs, answers, patience, given_up, hanging }))
    }
}

enum Job {
    Write(u64, Vec<u8>, bool),
    Sync,
    SetLength(u64),
    Read(u64, usize),
    Length,
}

enum Answer {
    Done,
    Bytes(Vec<u8>),
    Length(u64),
}

fn work(mut file: Box<dyn DiskFile>, todo: &Receiver<Job>, done: &SyncSender<io::Result<Answer>>) {
    while let Ok(job) = todo.recv() {
        let answer = match job {
            Job::Write(offset, bytes, true) => file.commit(offset, &bytes).map(|()| Answer::Done),
            Job::Write(offset, bytes, false) => {
                file.write_at(offset, &bytes).map(|()| Answer::Done)
            }
            Job::Sync => file.sync().map(|()| Answer::Done),
            Job::SetLength(bytes) => file.set_length(bytes).map(|()| Answer::Done),
            Job::Read(offset, count) => {
                let mut bytes = vec![0; count];
                file.read_at(offset, &mut bytes).map(|count| {
                    bytes.truncate(count);
                    Answer::Bytes(bytes)
                })
            }
            Job::Length => file.length().map(Answer::Length),
        };
        if done.send(answer).is_err() {
            return;
        }
    }
}

/// A file whose work another thread does.
#[derive(Debug)]
struct Lane {
    jobs: SyncSender<Job>,
    answers: Receiver<io::Result<Answer>>,
    patience: Duration,
    given_up: Arc<AtomicBool>,
    hanging: Arc<AtomicUsize>,
}

impl Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("job")
    }
}

impl Lane {
    fn ask(&self, job: Job) -> io::Result<Answer> {
        // what a hanging job answers in the end must not be taken for this one's answer
        if self.given_up.load(Ordering::Acquire) || self.jobs.try_send(job).is_err() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a former write hangs"));
        }
        match self.answers.recv_timeout(self.patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                self.hanging.fetch_add(1, Ordering::AcqRel);
                self.given_up.store(true, Ordering::Release);
                let text = format!("no answer within {} ms", self.patience.as_millis());
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the thread of this file has ended"))
            }
        }
    }
}

impl ReadAt for Lane {
    fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        match self.ask(Job::Read(offset, room.len()))? {
            Answer::Bytes(bytes) => bytes.as_slice().read_at(0, room),
            _ => Ok(0),
        }
    }

    fn length(&self) -> io::Result<u64> {
        match self.ask(Job::Length)? {
            Answer::Length(bytes) => Ok(bytes),
            _ => Ok(0),
        }
    }
}

impl DiskFile for Lane {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.ask(Job::Write(offset, bytes.to_vec(), false)).map(drop)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.ask(Job::Sync).map(drop)
    }

    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.ask(Job::SetLength(bytes)).map(drop)
    }

    fn commit(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.ask(Job::Write(offset, bytes.to_vec(), true)).map(drop)
    }
}

impl Disk for Patient {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.make_dir(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Debug + Send>> {
        self.disk.lock(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(path).and_then(|file| self.lane(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path).and_then(|file| self.lane(file))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open_to_read(path)
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.disk.reserve(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}
