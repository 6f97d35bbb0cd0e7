//! The worker threads: each a current-thread runtime with its own connections.
//!
//! Owns: the threads, their inboxes, the publishing of their load, how they end. Never: what a
//! connection speaks (the caller's `main` builds that on the worker's own thread).
//! Invariant: a connection's slot and count live exactly as long as its task.

use crate::clock;
use crate::lifecycle::Lifecycle;
use crate::lifecycle::load::{Load, LoadCell};
use crate::lifecycle::tasks::Tasks;
use crate::runtime::Accepted;
use crate::runtime::acceptor::Outlet;
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Connections that may wait for one worker to take them (1 to 65536).
    pub inbox_max: usize,
    /// How often a worker publishes its load (10 to 1000 ms).
    pub publish_every: Duration,
    /// What is in flight once the listeners are closed gets this long; from `LifecycleSettings`.
    pub drain_max: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            inbox_max: 1024,
            publish_every: Duration::from_millis(50),
            drain_max: Duration::from_secs(10),
        }
    }
}

/// What a worker's `main` gets to build itself with, on its own thread.
#[derive(Debug)]
pub struct Seat {
    /// From 0.
    pub index: usize,
    /// For everything that a drain must wait for.
    pub tasks: Tasks,
    pub load: Rc<Load>,
    pub lifecycle: Arc<Lifecycle>,
}

/// Workers that could not be started.
#[derive(Debug, Error)]
pub enum WorkerFault {
    #[error("cannot start the thread of worker {index}")]
    Thread { index: usize, source: io::Error },
    #[error("cannot build the runtime of worker {index}")]
    Runtime { index: usize, source: io::Error },
    #[error("worker {index} ended while it was being built")]
    Gone { index: usize },
}

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<usize>>,
    cells: Vec<Arc<LoadCell>>,
    inboxes: Vec<mpsc::Sender<Accepted>>,
    started: Instant,
}

/// How the workers ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Tasks that the drain's bound cut off.
    pub cut: usize,
    /// Threads that ended by a panic.
    pub panicked: usize,
}

/// Starts `count` workers. `main` is called once on each worker's thread and gives what serves
/// a connection there; the future that it gives for each connection runs as a task of its own.
pub fn spawn<M, S, F>(
    count: usize,
    settings: WorkerSettings,
    lifecycle: &Arc<Lifecycle>,
    main: M,
) -> Result<Workers, WorkerFault>
where
    M: Fn(Seat) -> S + Send + Sync + 'static,
    S: Fn(TcpStream, SocketAddr) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let started = clock::monotonic();
    let main = Arc::new(main);
    let mut workers =
        Workers { threads: Vec::new(), cells: Vec::new(), inboxes: Vec::new(), started };
    for index in 0..count {
        let (inbox, receiver) = mpsc::channel(settings.inbox_max);
        let cell = Arc::new(LoadCell::default());
        let post = Post { index, settings, started, inbox: receiver, cell: Arc::clone(&cell) };
        let (main, lifecycle) = (Arc::clone(&main), Arc::clone(lifecycle));
        let (told, built) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("gavel-w{index}"))
            .spawn(move || {
                let runtime = match runtime() {
                    Ok(runtime) => runtime,
                    Err(source) => {
                        let _ = told.send(Err(source));
                        return 0;
                    }
                };
                runtime.block_on(post.run(lifecycle, &*main, || drop(told.send(Ok(())))))
            })
            .map_err(|source| WorkerFault::Thread { index, source })?;
        match built.recv() {
            Ok(Ok(())) => {}
            Ok(Err(source)) => return Err(WorkerFault::Runtime { index, source }),
            Err(_) => return Err(WorkerFault::Gone { index }),
        }
        workers.threads.push(thread);
        workers.cells.push(cell);
        workers.inboxes.push(inbox);
    }
    Ok(workers)
}

fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default())
}

impl Workers {
    /// The common start of the workers' published times.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The ways to the workers, one set for each acceptor.
    pub fn outlets(&self) -> Vec<Outlet> {
        let pairs = self.inboxes.iter().zip(&self.cells);
        pairs.map(|(inbox, load)| Outlet { inbox: inbox.clone(), load: Arc::clone(load) }).collect()
    }

    /// Where each worker publishes its load.
    pub fn cells(&self) -> &[Arc<LoadCell>] {
        &self.cells
    }

    /// Waits for the workers to end, which they do once the acceptors are gone and their
    /// connections have ended or `drain_max` has passed. Blocks: call it from a plain thread.
    pub fn join(self) -> Ended {
        drop(self.inboxes);
        let mut ended = Ended::default();
        for thread in self.threads {
            match thread.join() {
                Ok(cut) => ended.cut += cut,
                Err(_) => ended.panicked += 1,
            }
        }
        ended
    }
}

/// One worker's own part.
struct Post {
    index: usize,
    settings: WorkerSettings,
    started: Instant,
    inbox: mpsc::Receiver<Accepted>,
    cell: Arc<LoadCell>,
}

impl Post {
    /// Serves until the inbox is closed and nothing is left, or the drain's bound; gives the
    /// number of tasks that were cut off.
    async fn run<S, F>(
        mut self,
        lifecycle: Arc<Lifecycle>,
        main: &impl Fn(Seat) -> S,
        built: impl FnOnce(),
    ) -> usize
    where
        S: Fn(TcpStream, SocketAddr) -> F,
        F: Future<Output = ()> + 'static,
    {
        let (tasks, load) = (Tasks::default(), Rc::new(Load::default()));
        let seat =
            Seat { index: self.index, tasks: tasks.clone(), load: Rc::clone(&load), lifecycle };
        let serve = main(seat);
        built();
        let mut publish = tokio::time::interval(self.settings.publish_every);
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = publish.tick() => self.publish(&load),
                accepted = self.inbox.recv() => match accepted {
                    Some(accepted) => take(accepted, &serve, &tasks, &load),
                    None => break,
                },
            }
        }
        // Bounded: whoever has not ended by then is cut off with the runtime.
        let _ = tokio::time::timeout(self.settings.drain_max, tasks.none_left()).await;
        tasks.count()
    }

    fn publish(&self, load: &Load) {
        let cpu =
            clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Into::into);
        let at = clock::monotonic().saturating_duration_since(self.started);
        load.cpu.set(cpu);
        self.cell.publish(load, at);
    }
}

/// Counts one connection for as long as it lives.
struct Connected(Rc<Load>);

impl Connected {
    fn new(load: &Rc<Load>) -> Self {
        load.taken.set(load.taken.get().wrapping_add(1));
        load.connections.set(load.connections.get() + 1);
        Self(Rc::clone(load))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get().saturating_sub(1));
    }
}

fn take<S, F>(accepted: Accepted, serve: &S, tasks: &Tasks, load: &Rc<Load>)
where
    S: Fn(TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + 'static,
{
    let connected = Connected::new(load);
    let Accepted { stream, peer, slot, is_over_cap } = accepted;
    if is_over_cap {
        load.over_cap.set(load.over_cap.get() + 1);
    }
    // Fails only where the runtime cannot watch one more descriptor: the peer sees a close.
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let connection = serve(stream, peer);
    tasks.spawn(async move {
        let _held = (connected, slot);
        connection.await;
    });
}
