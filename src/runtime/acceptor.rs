//! Accepts connections and hands each to the least loaded worker.
//!
//! Owns: one thread per listening socket, the connection cap, what happens when descriptors run
//! out. Never: a byte of a connection.
//! Invariant: an accept error never makes it spin, and a connection that cannot be served is
//! closed at once rather than left to wait in the queue. At the cap a newcomer takes another's
//! place, so that nobody locks the others out by holding connections.

use crate::clock;
use crate::lifecycle::load::LoadCell;
use crate::lifecycle::{Lifecycle, Phase};
use crate::runtime::balance::{Follower, Release, WorkerLoad, pick, release};
use crate::runtime::{Accepted, Slot};
use crate::telemetry::hub::{AcceptFault, Hub};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How many connections the process takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptSettings {
    /// Open inbound connections of the whole process (1 to 1,000,000). `None`: half of the
    /// descriptors that the process may open, less 64. At that many a newcomer takes the place of
    /// another.
    pub connections_max: Option<u32>,
    /// How often the workers' loads and the phase are looked at (10 to 1000 ms).
    pub look_every: Duration,
    /// How long nothing is accepted after an error that closing one descriptor did not cure
    /// (1 to 1000 ms).
    pub pause: Duration,
    /// How often at most a worker that is much busier than the others is asked to let one of its
    /// connections go (500 ms to 1 h).
    pub release_every: Duration,
}

impl Default for AcceptSettings {
    fn default() -> Self {
        Self {
            connections_max: None,
            look_every: Duration::from_millis(50),
            pause: Duration::from_millis(20),
            release_every: Duration::from_secs(2),
        }
    }
}

/// What an acceptor works with; several acceptors share it.
#[derive(Clone, Debug)]
pub struct AcceptorParts {
    /// The ways to the workers; must not be empty.
    pub outlets: Vec<Outlet>,
    /// The common start of the workers' published times.
    pub started: Instant,
    pub lifecycle: Arc<Lifecycle>,
    /// Where connections that were turned away are counted.
    pub hub: Arc<Hub>,
    /// Connections open now, over all acceptors.
    pub open: Arc<AtomicU32>,
    pub settings: AcceptSettings,
}

/// The way to one worker.
#[derive(Clone, Debug)]
pub struct Outlet {
    pub inbox: mpsc::Sender<Accepted>,
    pub load: Arc<LoadCell>,
}

/// Lets the process open as many descriptors as its hard limit allows; gives the limit that holds.
pub fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// The cap on connections: the setting, but never half or more of the descriptors.
fn connections_max(settings: &AcceptSettings, descriptors: u64) -> u32 {
    let half = (descriptors / 2).saturating_sub(64).max(1);
    let most = u32::try_from(half).unwrap_or(u32::MAX);
    settings.connections_max.map_or(most, |set| set.min(most)).max(1)
}

/// Connections to bidders that the process may have: what the inbound ones, those over their cap
/// included, leave of the descriptors, less a reserve.
pub fn outbound_max(settings: &AcceptSettings, descriptors: u64, workers: usize) -> u32 {
    let inbound = over_cap(connections_max(settings, descriptors));
    let reserve = RESERVE.saturating_add(RESERVE_OF_WORKER.saturating_mul(workers as u64));
    let left = descriptors.saturating_sub(u64::from(inbound)).saturating_sub(reserve).max(1);
    u32::try_from(left).unwrap_or(u32::MAX)
}

/// The most that the cap lets in, with the few that take the place of others.
fn over_cap(most: u32) -> u32 {
    most.saturating_add(most / OVER_CAP_PART).saturating_add(1)
}

/// Starts the thread that accepts from `listener` (non-blocking) until the process is closing.
/// What is queued at that moment is still accepted.
pub fn spawn(listener: Arc<TcpListener>, parts: AcceptorParts) -> io::Result<JoinHandle<()>> {
    let handing = Handing {
        followers: vec![Follower::default(); parts.outlets.len()],
        most: connections_max(&parts.settings, descriptors()),
        released_at: Duration::ZERO,
        spare: File::open("/dev/null").ok(),
        parts,
    };
    std::thread::Builder::new()
        .name("gavel-accept".to_owned())
        .spawn(move || run(&listener, handing))
}

fn descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

fn run(listener: &TcpListener, mut handing: Handing) {
    let settings = handing.parts.settings;
    let wait = PollTimeout::try_from(settings.look_every).unwrap_or(PollTimeout::MAX);
    let mut looked = None;
    while handing.parts.lifecycle.phase() < Phase::Closing {
        let mut wanted = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if let Err(fault) = poll(&mut wanted, wait)
            && fault != Errno::EINTR
        {
            tracing::error!(%fault, "the acceptor cannot wait for its socket");
            std::thread::sleep(settings.pause);
        }
        let now = clock::monotonic().saturating_duration_since(handing.parts.started);
        if looked.is_none_or(|then| now.saturating_sub(then) >= settings.look_every) {
            looked = Some(now);
            handing.look(now);
        }
        if handing.accept_burst(|| accept(listener)) == Burst::Stuck {
            std::thread::sleep(settings.pause);
        }
    }
    while handing.accept_burst(|| accept(listener)) == Burst::More {}
}

fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream, peer))
}

/// How a round of accepting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Burst {
    /// The queue is empty.
    Empty,
    /// The round was long enough; there may be more.
    More,
    /// An error that will be there again at once.
    Stuck,
}

/// Newcomers over the cap that may wait for others to end, as a part of the cap: an eighth. The
/// descriptors that the cap leaves free have room for them.
const OVER_CAP_PART: u32 = 8;

/// Descriptors for all but partners and bidders: operators, files, the journal, notices, the
/// databases of a reload; and for each worker those of its event loop.
const RESERVE: u64 = 96;
const RESERVE_OF_WORKER: u64 = 8;

/// Connections accepted before the loads are looked at again.
const BURST_MAX: usize = 64;

struct Handing {
    parts: AcceptorParts,
    followers: Vec<Follower>,
    most: u32,
    /// When a worker was last asked to let a connection go.
    released_at: Duration,
    /// Given up for a moment when descriptors run out, to accept and close the newcomer.
    spare: Option<File>,
}

impl Handing {
    fn look(&mut self, now: Duration) {
        for (follower, outlet) in self.followers.iter_mut().zip(&self.parts.outlets) {
            follower.see(outlet.load.read(), now);
        }
        if now.saturating_sub(self.released_at) >= self.parts.settings.release_every {
            self.release(now);
        }
    }

    /// Asks a worker that has come to carry too much to let a connection go.
    fn release(&mut self, now: Duration) {
        let loads: Vec<_> = self.followers.iter().map(Follower::load).collect();
        if let Some(Release { worker, share }) = release(&loads)
            && let Some(outlet) = self.parts.outlets.get(worker)
        {
            outlet.load.ask_to_let_go(share);
            self.released_at = now;
        }
    }

    fn accept_burst(
        &mut self,
        mut accept: impl FnMut() -> io::Result<(TcpStream, SocketAddr)>,
    ) -> Burst {
        for _ in 0..BURST_MAX {
            match accept() {
                Ok((stream, peer)) => self.hand(stream, peer),
                Err(error) => {
                    if let Some(burst) = self.after(&error, &mut accept) {
                        return burst;
                    }
                }
            }
        }
        Burst::More
    }

    /// What an error of accept means; `None`: go on.
    fn after(
        &mut self,
        error: &io::Error,
        accept: &mut impl FnMut() -> io::Result<(TcpStream, SocketAddr)>,
    ) -> Option<Burst> {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EWOULDBLOCK) => Some(Burst::Empty),
            // The peer gave up while it waited: its own business.
            Some(Errno::ECONNABORTED | Errno::EINTR) => None,
            Some(Errno::EMFILE | Errno::ENFILE) => {
                self.parts.hub.accept_fault(AcceptFault::NoDescriptor);
                // Without a spare the newcomer stays in the queue until one is free again.
                let had_spare = self.spare.take().is_some();
                let shed = had_spare && accept().is_ok();
                self.spare = File::open("/dev/null").ok();
                (!shed).then_some(Burst::Stuck)
            }
            _ => {
                self.parts.hub.accept_fault(AcceptFault::Other);
                tracing::warn!(%error, "accept failed");
                Some(Burst::Stuck)
            }
        }
    }

    /// A place under the cap, or one of the few over it.
    fn slot(&self) -> Option<(Slot, bool)> {
        let (open, most) = (&self.parts.open, self.most);
        Slot::take(open, most)
            .map(|slot| (slot, false))
            .or_else(|| Slot::take(open, over_cap(most)).map(|slot| (slot, true)))
    }

    /// To the least loaded worker whose inbox has room.
    fn hand(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Some((slot, is_over_cap)) = self.slot() else {
            self.parts.hub.accept_fault(AcceptFault::TooMany);
            return;
        };
        let mut loads: Vec<_> = self.followers.iter().map(Follower::load).collect();
        if is_over_cap {
            only_with_strangers(&self.followers, &mut loads);
        }
        let mut accepted = Accepted { stream, peer, slot, is_over_cap };
        while let Some(at) = pick(&loads) {
            let Some(outlet) = self.parts.outlets.get(at) else { break };
            match outlet.inbox.try_send(accepted) {
                Ok(()) => {
                    self.followers.iter_mut().skip(at).take(1).for_each(Follower::handed);
                    return;
                }
                Err(refused) => accepted = refused.into_inner(),
            }
            // Full: out of this choice. When all are, the newcomer is closed.
            if loads.iter().all(|load| load.busy == u32::MAX) {
                break;
            }
            loads.iter_mut().skip(at).take(1).for_each(|load| load.busy = u32::MAX);
        }
        self.parts.hub.accept_fault(AcceptFault::TooMany);
    }
}

/// Where any worker has strangers, the others are out of the choice: a newcomer costs no partner
/// its connection while somebody else can go.
fn only_with_strangers(followers: &[Follower], loads: &mut [WorkerLoad]) {
    if followers.iter().any(|follower| follower.strangers() > 0) {
        for (load, follower) in loads.iter_mut().zip(followers) {
            if follower.strangers() == 0 {
                load.busy = u32::MAX;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::hub::TelemetrySettings;
    use std::collections::VecDeque;
    use std::sync::atomic::Ordering;

    fn open(handing: &Handing) -> u32 {
        handing.parts.open.load(Ordering::Relaxed)
    }

    fn handing(workers: usize, room: usize, most: u32) -> (Handing, Vec<mpsc::Receiver<Accepted>>) {
        let mut inboxes = Vec::new();
        let outlets: Vec<_> = (0..workers)
            .map(|_| {
                let (inbox, receiver) = mpsc::channel(room);
                inboxes.push(receiver);
                Outlet { inbox, load: Arc::default() }
            })
            .collect();
        let parts = AcceptorParts {
            outlets,
            started: clock::monotonic(),
            lifecycle: Arc::default(),
            hub: Arc::new(Hub::new(workers, TelemetrySettings::default(), &[])),
            open: Arc::default(),
            settings: AcceptSettings::default(),
        };
        let handing = Handing {
            followers: vec![Follower::default(); workers],
            parts,
            released_at: Duration::ZERO,
            most,
            spare: File::open("/dev/null").ok(),
        };
        (handing, inboxes)
    }

    /// A listener of which each accept first gives the next of `errors`.
    fn scripted(errors: &[Errno]) -> (TcpListener, VecDeque<Errno>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        (listener, errors.iter().copied().collect())
    }

    #[test]
    fn out_of_descriptors_the_newcomer_is_closed_and_the_spare_comes_back() {
        let (mut handing, _inboxes) = handing(1, 4, 10);
        let (listener, mut errors) = scripted(&[Errno::EMFILE]);
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let burst = handing.accept_burst(|| match errors.pop_front() {
            Some(errno) => Err(errno.into()),
            None => accept(&listener),
        });
        assert_eq!(burst, Burst::Empty);
        assert_eq!(open(&handing), 0);
        assert!(handing.spare.is_some());
        // The newcomer was closed, not left in the queue.
        let mut byte = [0; 1];
        assert_eq!(io::Read::read(&mut &client, &mut byte).unwrap_or(0), 0);
    }

    #[test]
    fn errors_that_stay_make_it_pause_and_those_of_a_peer_do_not() {
        for (errors, burst) in [
            (vec![Errno::EMFILE, Errno::EMFILE], Burst::Stuck),
            (vec![Errno::ENFILE, Errno::ENFILE], Burst::Stuck),
            (vec![Errno::ENOMEM], Burst::Stuck),
            (vec![Errno::ECONNABORTED, Errno::EINTR, Errno::EWOULDBLOCK], Burst::Empty),
        ] {
            let (mut handing, _inboxes) = handing(1, 4, 10);
            let mut script: VecDeque<_> = errors.iter().copied().collect();
            let got = handing.accept_burst(|| Err(script.pop_front().unwrap().into()));
            assert_eq!(got, burst, "{errors:?}");
        }
    }

    #[test]
    fn the_cap_and_full_inboxes_close_newcomers_and_slots_come_back() {
        let (mut handing, mut inboxes) = handing(2, 1, 3);
        let (listener, _) = scripted(&[]);
        let clients: Vec<_> =
            (0..5).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        assert_eq!(handing.accept_burst(|| accept(&listener)), Burst::Empty);
        // Two inboxes of one place each; the cap of three is never reached.
        assert_eq!(open(&handing), 2);
        for inbox in &mut inboxes {
            drop(inbox.try_recv().unwrap());
        }
        assert_eq!(open(&handing), 0, "a slot comes back with its connection's end");
        drop(clients);
    }

    #[test]
    fn over_the_cap_newcomers_go_in_small_numbers_to_workers_that_have_strangers() {
        let (mut handing, mut inboxes) = handing(3, 8, 9);
        let (listener, _) = scripted(&[]);
        let connect = |count: usize| {
            let address = listener.local_addr().unwrap();
            (0..count).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>()
        };
        let clients = connect(9);
        handing.accept_burst(|| accept(&listener));
        let mut taken = Vec::new();
        let mut ages = [5, 0, 4].into_iter();
        for (inbox, outlet) in inboxes.iter_mut().zip(&handing.parts.outlets) {
            let load = crate::lifecycle::load::Load::default();
            while let Ok(accepted) = inbox.try_recv() {
                assert!(!accepted.is_over_cap);
                load.taken.set(load.taken.get() + 1);
                taken.push(accepted);
            }
            load.strangers.set(ages.next().unwrap());
            outlet.load.publish(&load, Duration::from_millis(50));
        }
        handing.look(Duration::from_millis(50));
        let more = connect(5);
        handing.accept_burst(|| accept(&listener));
        // 9, an eighth of it, and one.
        assert_eq!(open(&handing), 11);
        for (inbox, count) in inboxes.iter_mut().zip([1, 0, 1]) {
            let over: Vec<_> = std::iter::from_fn(|| inbox.try_recv().ok()).collect();
            assert_eq!(over.len(), count);
            assert!(over.iter().all(|accepted| accepted.is_over_cap));
        }
        drop((clients, more, taken));
    }

    #[test]
    fn the_cap_stays_below_half_of_the_descriptors() {
        for (set, descriptors, most) in
            [(None, 1024, 448), (Some(100), 1024, 100), (Some(9000), 1024, 448), (None, 10, 1)]
        {
            let settings = AcceptSettings { connections_max: set, ..AcceptSettings::default() };
            assert_eq!(connections_max(&settings, descriptors), most);
        }
    }

    #[test]
    fn both_sides_together_leave_descriptors_for_the_rest() {
        for (set, descriptors, workers, outbound) in [
            (None, 1024, 2, 1024 - 505 - 112),
            (Some(100), 1024, 2, 1024 - 113 - 112),
            (None, 1 << 20, 16, 458_599),
            (None, 128, 4, 1),
        ] {
            let settings = AcceptSettings { connections_max: set, ..AcceptSettings::default() };
            assert_eq!(outbound_max(&settings, descriptors, workers), outbound);
        }
    }
}
