//! The accept queue of a listening socket, watched while the process runs.
//!
//! Owns: [`QueueWatch`], its look at the kernel's figures, listening again where the system's limit
//! has changed. Never: a clock, a thread, a log line (`app` has them). Invariant: a look that cannot
//! be made leaves the figures as they were; nothing that waits in the queue is ever lost by it.

use crate::runtime::listener::{self, Backlog, Bound};
use crate::runtime::sock_diag;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

/// What was last seen. Counters are of the whole network namespace since it exists: the kernel
/// keeps none for a single socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    pub asked: u32,
    pub effective: u32,
    /// Whether all is asked for that the system allows.
    pub is_auto: bool,
    /// Connections that are complete and wait to be accepted.
    pub waiting: u32,
    /// `None` where the kernel does not say.
    pub drops: Option<ListenDrops>,
}

/// Connections that the kernel gave up because of a listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenDrops {
    /// The accept queue was full (`TcpExt: ListenOverflows`).
    pub overflows: u64,
    /// For whatever reason, a full queue included (`TcpExt: ListenDrops`).
    pub drops: u64,
}

/// Where others read what was last seen.
#[derive(Debug, Default)]
pub struct QueueCell {
    asked: AtomicU32,
    effective: AtomicU32,
    is_auto: bool,
    waiting: AtomicU32,
    overflows: AtomicU64,
    drops: AtomicU64,
    /// Set once the kernel has told its counters.
    is_counted: OnceLock<()>,
}

impl QueueCell {
    /// What was last seen. Two fields may be one look apart.
    pub fn read(&self) -> QueueState {
        let drops = ListenDrops {
            overflows: self.overflows.load(Relaxed),
            drops: self.drops.load(Relaxed),
        };
        QueueState {
            asked: self.asked.load(Relaxed),
            effective: self.effective.load(Relaxed),
            is_auto: self.is_auto,
            waiting: self.waiting.load(Relaxed),
            drops: self.is_counted.get().map(|()| drops),
        }
    }

    fn write(&self, state: &QueueState) {
        self.asked.store(state.asked, Relaxed);
        self.effective.store(state.effective, Relaxed);
        self.waiting.store(state.waiting, Relaxed);
        if let Some(drops) = state.drops {
            self.overflows.store(drops.overflows, Relaxed);
            self.drops.store(drops.drops, Relaxed);
            // it stays set
            let _ = self.is_counted.set(());
        }
    }
}

/// What a look brought that somebody should be told of.
#[derive(Debug, Default)]
pub struct Look {
    /// It was listened again: the effective length before, and what came of it.
    pub again: Option<(u32, io::Result<u32>)>,
    /// Connections that overflowed since the last look.
    pub overflowed: u64,
}

/// One socket under watch.
#[derive(Debug)]
pub struct QueueWatch {
    /// Never what keeps it open: the acceptor closes it at the moment of its choice, so that no
    /// connection comes to wait where nobody will accept it.
    listener: Weak<TcpListener>,
    address: SocketAddr,
    backlog: Backlog,
    somaxconn: Option<u32>,
    state: QueueState,
    cell: Arc<QueueCell>,
}

impl QueueWatch {
    /// From the moment of its binding on.
    pub fn new(bound: &Bound, backlog: Backlog) -> Self {
        let state = QueueState {
            asked: bound.backlog_asked,
            effective: bound.backlog_effective,
            is_auto: backlog == Backlog::Auto,
            waiting: 0,
            drops: listen_drops(),
        };
        let cell = Arc::new(QueueCell { is_auto: state.is_auto, ..QueueCell::default() });
        cell.write(&state);
        Self {
            listener: Arc::downgrade(&bound.listener),
            address: bound.address,
            backlog,
            somaxconn: listener::somaxconn(),
            state,
            cell,
        }
    }

    /// Where the figures can be read.
    pub fn cell(&self) -> Arc<QueueCell> {
        Arc::clone(&self.cell)
    }

    /// What was seen last.
    pub fn state(&self) -> QueueState {
        self.state
    }

    /// Looks at the kernel's figures; listens again where the system's limit is another one than
    /// before, or where `is_asked`.
    pub fn look(&mut self, is_asked: bool) -> Look {
        let mut look = Look::default();
        let somaxconn = listener::somaxconn();
        if is_asked || (somaxconn.is_some() && somaxconn != self.somaxconn) {
            self.somaxconn = somaxconn;
            let before = self.state.effective;
            look.again = Some((before, self.listen_again()));
        }
        if let Ok(Some(queue)) = sock_diag::listen_queue(self.address) {
            self.state.waiting = queue.waiting;
            self.state.effective = queue.limit;
        }
        if let Some(drops) = listen_drops() {
            let before = self.state.drops.unwrap_or(drops);
            look.overflowed = drops.overflows.saturating_sub(before.overflows);
            self.state.drops = Some(drops);
        }
        self.cell.write(&self.state);
        look
    }

    fn listen_again(&mut self) -> io::Result<u32> {
        let asked = self.backlog.asked(self.somaxconn);
        let listener = self.listener.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        listener::listen_again(&listener, asked)?;
        self.state.asked = asked;
        self.state.effective = asked.min(self.somaxconn.unwrap_or(asked));
        Ok(self.state.effective)
    }
}

/// The counters of this network namespace; `None` where there are none to read.
fn listen_drops() -> Option<ListenDrops> {
    read_drops(&fs::read_to_string("/proc/net/netstat").ok()?)
}

/// Finds them in the text of `/proc/net/netstat`: pairs of lines, one of names, one of values.
fn read_drops(text: &str) -> Option<ListenDrops> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value_of = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some(ListenDrops { overflows: value_of("ListenOverflows")?, drops: value_of("ListenDrops")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::listener::{ListenSettings, bind};

    #[test]
    fn the_counters_are_found_by_their_names() {
        let both = Some(ListenDrops { overflows: 7, drops: 12 });
        for (text, expected) in [
            ("TcpExt: A ListenOverflows B ListenDrops\nTcpExt: 1 7 2 12\n", both),
            (
                "IpExt: ListenOverflows\nIpExt: 9\nTcpExt: ListenDrops ListenOverflows\nTcpExt: 12 7",
                both,
            ),
            ("TcpExt: ListenOverflows ListenDrops\nTcpExt: 7\n", None),
            ("TcpExt: ListenOverflows ListenDrops\nTcpExt: 7 x\n", None),
            ("TcpExt: ListenOverflows ListenDrops\n", None),
            ("", None),
        ] {
            assert_eq!(read_drops(text), expected, "{text:?}");
        }
    }

    #[test]
    fn auto_gets_what_it_asks_for() {
        let bound = bind("127.0.0.1:0".parse().unwrap(), &ListenSettings::default()).unwrap();
        let mut watch = QueueWatch::new(&bound, Backlog::Auto);
        for _ in 0..2 {
            let seen = watch.cell().read();
            assert_eq!(seen.asked, seen.effective, "{seen:?}");
            assert!(seen.is_auto);
            watch.look(true).again.unwrap().1.unwrap();
        }
    }

    #[test]
    fn a_socket_that_is_asked_to_listens_again_and_loses_nobody() {
        let settings = ListenSettings { backlog: Backlog::Fixed(3), ..ListenSettings::default() };
        let bound = bind("127.0.0.1:0".parse().unwrap(), &settings).unwrap();
        let waiting = std::net::TcpStream::connect(bound.address).unwrap();
        let mut watch = QueueWatch::new(&bound, Backlog::Fixed(9));
        assert_eq!(watch.cell().read().effective, 3);
        assert!(watch.look(false).again.is_none(), "nothing has changed");
        let (before, after) = watch.look(true).again.unwrap();
        assert_eq!((before, after.unwrap()), (3, 9));
        let seen = watch.cell().read();
        assert_eq!((seen.asked, seen.effective), (9, 9));
        if sock_diag::listen_queue(bound.address).is_ok() {
            assert_eq!(seen.waiting, 1, "it still waits");
        }
        bound.listener.set_nonblocking(false).unwrap();
        let (taken, _) = bound.listener.accept().unwrap();
        assert_eq!(taken.peer_addr().unwrap(), waiting.local_addr().unwrap());
    }
}
