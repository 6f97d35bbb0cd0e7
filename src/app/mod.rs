//! The composition root: puts the parts together, waits, and takes them down.
//!
//! Owns: the order of a start and of a stop. Never: a rule, a byte of a request.
//! Invariant: a fault at the start does not end the process (unless asked to): it stays up, not
//! ready, with the whole report on `/ready`, where an operator finds it, and serves once the fault
//! is gone.

pub mod ask;
mod books;
mod console;
mod health;
pub mod load;
mod log;
mod lookout;
mod memory;
mod notices;
pub mod pack;
mod push;
mod queue;
mod rates;
mod reload;
mod start;
mod status;
mod team;
mod traces;

use crate::clock;
use crate::config::Config;
use crate::http::admin::{self, Admin, AdminRoutes};
use crate::http::ops::{self, OpsSettings};
use crate::http::trial::TrialDesk;
use crate::lifecycle::{Lifecycle, Phase};
use crate::reload::progress::Progress;
use crate::runtime::listener;
use books::Books;
use console::{Console, ConsoleParts, ConsoleSettings};
use log::Log;
use start::Up;
use status::Status;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use team::Team;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_local};
use tracing::{error, info, warn};

/// sysexits.h: something is not configured as it must be.
pub const EX_CONFIG: u8 = 78;

/// What is in flight when a second signal comes gets this long.
const HURRY: Duration = Duration::from_secs(1);

/// A drain that takes so much longer than it may hangs. Within the 30 s that a pod gets by default
/// with the default drain of 10 s.
const OVERDUE: Duration = Duration::from_secs(15);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct ServeArgs {
    pub config: PathBuf,
    /// Where `/ready` and `/metrics` are; not in the file, so that a fault of the file can be
    /// seen there.
    pub operations: SocketAddr,
    /// Where partners call, instead of the file's `http.listen`.
    pub listen: Option<SocketAddr>,
    /// Where good rules are kept, for a start into broken ones.
    pub keep: Option<PathBuf>,
    /// End with [`EX_CONFIG`] instead of staying up, not ready.
    pub exit_on_fault: bool,
}

/// Serves until SIGTERM or SIGINT; gives the exit code of the process.
pub fn serve(args: &ServeArgs) -> ExitCode {
    let log = match log::init() {
        Ok(log) => log,
        Err(fault) => {
            // where this cannot be said either, the exit code says it
            let _ = writeln!(io::stderr(), "cannot log: {fault}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(args, &log)),
        Err(fault) => Err(fault),
    };
    let code = result.unwrap_or_else(|fault| {
        error!(%fault, "cannot start");
        ExitCode::FAILURE
    });
    log.end();
    code
}

async fn run(args: &ServeArgs, log: &Log) -> io::Result<ExitCode> {
    let mut stop = Stop::install()?;
    // from here on it ends nothing, however early it comes
    let mut hangup = signal(SignalKind::hangup())?;
    let lifecycle = Arc::new(Lifecycle::default());
    let progress = Arc::new(Progress::default());
    let status = Status::new(Arc::clone(&lifecycle), Arc::clone(&progress), log.clone());
    let status = Rc::new(status);
    let parts = start::Parts::of(&lifecycle);
    let operations = open_operations(args.operations, &status)?;
    info!(listener = "operations", address = %operations, "listening");

    let up = tokio::select! {
        up = start::up(args, (&lifecycle, &parts), &status, &mut hangup) => up,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    let Some(up) = up else { return Ok(ExitCode::from(EX_CONFIG)) };
    let Up { config, in_force, degraded, admin, books, mut team, queue } = up;
    if let Some(why) = &degraded {
        error!(%why, "degraded");
    }
    progress.state().degraded = degraded;
    for warning in config.warnings(clock::wall()) {
        warn!(warning, "configuration");
    }
    announce(&config, &team);
    info!(listener = "admin", address = %admin.address(), "listening");
    let [admin, console] = open_admin(admin, &team, &status, &progress);
    let reloading = reload::start(args, &team, (in_force, hangup), &progress);
    let beside = [
        admin,
        console,
        spawn_local(queue::watch(queue)),
        spawn_local(books::watch(books.log(), Arc::clone(&lifecycle))),
        spawn_local(team::rebalance(team.bank(), config.edge.lease.tick)),
    ];
    let pushing = push::start(&config.telling, &status, team.take_traces());
    let watching = watch_over(&config, &team, &status);
    status.runs(team.vitals());
    parts.ready();
    info!(workers = team.workers(), "ready");

    stop.asked().await;
    let is_hurried = leave((&lifecycle, &config), log, &mut stop).await;
    drop(reloading);
    lifecycle.advance(Phase::Closing);
    let ended = end((team, books), is_hurried, &mut stop).await;
    push::finish(pushing, &status).await;
    beside.iter().chain(&watching).for_each(JoinHandle::abort);
    lifecycle.advance(Phase::Stopped);
    info!(cut = ended.cut, panicked = ended.panicked, "stopped");
    Ok(if ended.panicked == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says that it goes, and takes what still comes, for as long as is configured; `true`: a second
/// signal wants it to go at once.
async fn leave((lifecycle, config): (&Lifecycle, &Config), log: &Log, stop: &mut Stop) -> bool {
    info!("draining");
    let settings = &config.edge.lifecycle;
    end_at_last(settings.drain_min + settings.drain_max + OVERDUE, log.clone());
    tokio::select! {
        () = lifecycle.wind_down(settings) => false,
        () = stop.asked() => {
            warn!("asked to stop twice: no more connections are taken");
            true
        }
    }
}

/// Waits for what is in flight; for a second at most once a second signal has come.
async fn end(
    (team, books): (Team, Books),
    is_hurried: bool,
    stop: &mut Stop,
) -> crate::runtime::workers::Ended {
    let hurry = async {
        if !is_hurried {
            stop.asked().await;
        }
        tokio::time::sleep(HURRY).await;
    };
    tokio::select! {
        ended = join(team, books) => ended,
        () = hurry => {
            warn!("asked to stop twice: what is in flight is cut off");
            crate::runtime::workers::Ended::default()
        }
    }
}

/// Ends the process where a drain hangs: an orchestrator would kill it later, and say less.
fn end_at_last(after: Duration, log: Log) {
    let watchdog = std::thread::Builder::new().name("gavel-end".to_owned()).spawn(move || {
        std::thread::sleep(after);
        error!(after_s = after.as_secs(), "the drain hangs: ended by force");
        log.end();
        #[expect(clippy::exit, reason = "nothing else is left that could end it")]
        std::process::exit(1)
    });
    if let Err(fault) = watchdog {
        warn!(%fault, "nobody will end a drain that hangs");
    }
}

fn open_operations(address: SocketAddr, status: &Rc<Status>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let routes = status.routes();
    spawn_local(async move {
        if let Err(fault) = ops::serve(listener, routes, OpsSettings::default()).await {
            error!(%fault, "the operations listener ended");
        }
    });
    Ok(address)
}

fn open_admin(
    admin: Admin,
    team: &Team,
    status: &Rc<Status>,
    progress: &Arc<Progress>,
) -> [JoinHandle<()>; 2] {
    let settings = OpsSettings::default();
    let console = Console::new(ConsoleParts {
        status: Rc::clone(status),
        net: team.net(),
        bank: team.bank(),
        settings: ConsoleSettings::default(),
    });
    let shown = Rc::clone(&console);
    let routes = AdminRoutes {
        snapshot: status::snapshot(team.live(), Arc::clone(progress)),
        console: Box::new(move |since| shown.json(since)),
        trials: TrialDesk::new(team.live(), team.trials(), settings.trial_time),
    };
    [spawn_local(admin::serve(admin, routes, settings)), spawn_local(console.run())]
}

fn announce(config: &Config, team: &Team) {
    let queue = team.vitals().queue.read();
    info!(
        listener = "public",
        address = %team.address(),
        backlog_asked = queue.asked,
        backlog_effective = queue.effective,
        "listening"
    );
    let is_fixed = matches!(config.edge.listener.backlog, listener::Backlog::Fixed(_));
    if is_fixed && queue.effective < queue.asked {
        let (asked, effective) = (queue.asked, queue.effective);
        warn!(asked, effective, "the accept queue is shorter than asked: raise net.core.somaxconn");
    }
}

/// Looks after what goes wrong slowly: memory that fills, bidders that fall silent.
fn watch_over(config: &Config, team: &Team, status: &Status) -> [JoinHandle<()>; 3] {
    let (memory, silent) = status.watched();
    let hub = team.vitals().hub;
    [
        spawn_local(memory::watch(config.memory, team.loads(), memory)),
        spawn_local(health::watch(hub, config.telling.silent_after, silent)),
        spawn_local(rates::watch(team.live())),
    ]
}

/// Joins the threads from a plain thread, and closes the journal behind the last of them: both
/// block.
async fn join(team: Team, books: Books) -> crate::runtime::workers::Ended {
    let (told, ended) = tokio::sync::oneshot::channel();
    let joiner = std::thread::Builder::new().name("gavel-join".to_owned()).spawn(move || {
        let ended = team.join();
        books.close();
        // The receiver waits for it.
        let _ = told.send(ended);
    });
    match joiner {
        Ok(_) => ended.await.unwrap_or_default(),
        Err(fault) => {
            error!(%fault, "cannot wait for the workers");
            crate::runtime::workers::Ended::default()
        }
    }
}

/// SIGTERM and SIGINT.
struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    fn install() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
