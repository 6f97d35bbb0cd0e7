//! Log lines between those who log and whoever reads standard output.
//!
//! Owns: [`Lines`], what waits to be written, and the thread that writes it. Never: what a line says.
//! Invariants: who logs never waits for a reader; lines come out whole and in order; one that does
//! not come out is counted.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Some 16,000 lines: more than a start with the longest of reports has, and little enough to be
/// held twice (what waits, and what is being written).
pub const BYTES_MAX: usize = 4 << 20;

/// What a buffer keeps for the lines to come.
const BYTES_KEPT: usize = 64 << 10;

/// How often an output that takes nothing without waiting is asked again.
const RETRY: Duration = Duration::from_millis(5);

/// What waits to be written.
#[derive(Debug)]
pub struct Lines {
    state: Mutex<State>,
    changed: Condvar,
    bytes_max: usize,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
}

/// Where lines go, and how the last one came out.
struct Outlet<W> {
    out: W,
    /// It ends within a line.
    is_torn: bool,
}

impl Lines {
    /// Nothing yet; at most so many bytes wait.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            bytes_max,
            dropped: AtomicU64::new(0),
        })
    }

    /// Writes to `out` from a thread of its own, for as long as the process lives.
    pub fn write_to(self: &Arc<Self>, out: impl Write + Send + 'static) -> io::Result<()> {
        let lines = Arc::clone(self);
        let mut outlet = Outlet { out, is_torn: false };
        std::thread::Builder::new().name("gavel-log".to_owned()).spawn(move || {
            let mut batch = Vec::new();
            loop {
                lines.take(&mut batch);
                let lost = outlet.put(&batch);
                lines.dropped.fetch_add(lost, Ordering::Relaxed);
                batch.clear();
                batch.shrink_to(BYTES_KEPT);
            }
        })?;
        Ok(())
    }

    /// Lines that did not come out.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all is written, at most for so long.
    pub fn flush(&self, most: Duration) {
        let state = self.state();
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        // too late or not: what comes next does not depend on it
        drop(self.changed.wait_timeout_while(state, most, is_busy));
    }

    /// The next that are to be written, once there are any; those before are.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut state = self.state();
        state.is_writing = false;
        self.changed.notify_all();
        let is_idle = |state: &mut State| state.waiting.is_empty();
        let waited = self.changed.wait_while(state, is_idle);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        std::mem::swap(&mut state.waiting, batch);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A whole number of lines each time, taken or dropped as one.
impl Write for &Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.waiting.len().saturating_add(bytes.len()) > self.bytes_max {
            self.dropped.fetch_add(count(bytes), Ordering::Relaxed);
        } else {
            state.waiting.extend_from_slice(bytes);
            self.changed.notify_all();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Outlet<W> {
    /// Writes lines; gives how many of them did not come out whole.
    fn put(&mut self, batch: &[u8]) -> u64 {
        if self.is_torn && !self.write(b"\n").is_empty() {
            return count(batch);
        }
        let left = self.write(batch);
        let written = batch.strip_suffix(left).and_then(<[u8]>::last);
        self.is_torn = written.is_some_and(|last| *last != b'\n');
        count(left)
    }

    /// Waits for an output that is full; gives what is left where there is an error.
    fn write<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => break,
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
                Err(_) => break,
            }
        }
        bytes
    }
}

fn count(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Says what it is given, and waits to be told how much of it is taken.
    struct Gate(SyncSender<Vec<u8>>, Receiver<usize>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).unwrap();
            self.1.recv().map_err(|_| io::Error::other("closed"))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Answers as is written down, and takes all when that is at its end.
    struct Scripted {
        answers: VecDeque<io::Result<usize>>,
        text: Vec<u8>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.answers.pop_front().unwrap_or(Ok(bytes.len()))?;
            self.text.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_never_waits_and_what_has_no_room_is_counted() {
        let lines = Lines::new(12);
        let (told, given) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        lines.write_to(Gate(told, answers)).unwrap();
        (&*lines).write_all(b"first\n").unwrap();
        assert_eq!(given.recv_timeout(PATIENCE).unwrap(), b"first\n");
        for line in ["one-1\n", "two-2\n", "three\n", "4\n"] {
            (&*lines).write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(lines.dropped(), 2);
        lines.flush(Duration::from_millis(1));
        answer.send(6).unwrap();
        assert_eq!(given.recv_timeout(PATIENCE).unwrap(), b"one-1\ntwo-2\n");
        answer.send(12).unwrap();
        lines.flush(PATIENCE);
        assert_eq!((lines.dropped(), lines.state().waiting.len()), (2, 0));
    }

    #[test]
    fn lines_of_many_threads_come_out_whole_and_each_threads_in_order() {
        let lines = Lines::new(BYTES_MAX);
        let (from, to) = io::pipe().unwrap();
        lines.write_to(to).unwrap();
        let reader = std::thread::spawn(move || {
            let read = io::BufRead::lines(io::BufReader::new(from)).take(4_000);
            read.collect::<io::Result<Vec<String>>>().unwrap()
        });
        std::thread::scope(|scope| {
            for who in 0..4 {
                let lines = &lines;
                scope.spawn(move || {
                    for number in 0..1_000 {
                        (&**lines).write_all(format!("{who} {number:0>50}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let read = reader.join().unwrap();
        for who in 0..4 {
            let expected = (0..1_000).map(|number| format!("{who} {number:0>50}"));
            let own = read.iter().filter(|line| line.starts_with(&who.to_string()));
            assert!(own.eq(&expected.collect::<Vec<_>>()), "{who}");
        }
    }

    #[test]
    fn an_output_with_errors_loses_lines_and_the_next_one_begins_anew() {
        let error = |kind: ErrorKind| Err(io::Error::from(kind));
        for (answers, lost, text) in [
            (vec![], [0, 0], "a\nbc\nd\n"),
            (
                vec![error(ErrorKind::Interrupted), error(ErrorKind::WouldBlock)],
                [0, 0],
                "a\nbc\nd\n",
            ),
            (vec![error(ErrorKind::BrokenPipe)], [2, 0], "d\n"),
            (vec![Ok(2), error(ErrorKind::StorageFull)], [1, 0], "a\nd\n"),
            (vec![Ok(3), error(ErrorKind::StorageFull)], [1, 0], "a\nb\nd\n"),
            (
                vec![Ok(3), error(ErrorKind::StorageFull), error(ErrorKind::StorageFull)],
                [1, 1],
                "a\nb",
            ),
        ] {
            let out = Scripted { answers: answers.into(), text: Vec::new() };
            let mut outlet = Outlet { out, is_torn: false };
            assert_eq!([outlet.put(b"a\nbc\n"), outlet.put(b"d\n")], lost, "{text:?}");
            assert_eq!(String::from_utf8(outlet.out.text).unwrap(), text);
        }
    }
}
