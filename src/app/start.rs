//! A start, from the files to threads that serve, tried until it succeeds.
//!
//! Owns: [`Up`], the order of its parts, what `/ready` says while one of them fails. Never: a stop.
//! Invariant: a try that fails leaves nothing behind that keeps the next one from succeeding: no
//! port, no lock, no thread.

use super::ServeArgs;
use super::books::{self, Books};
use super::load::{self, StartFault, Started};
use super::lookout::{self, Lookout, Reason};
use super::status::Status;
use super::team::Team;
use crate::config::Config;
use crate::config::fault::chain;
use crate::http::admin::{self, Admin};
use crate::lifecycle::{Lifecycle, ReadyHandle};
use crate::reload::publisher::InForce;
use crate::runtime::queue::QueueWatch;
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tracing::{error, info};

/// Everything that serves, and what it was made of.
pub struct Up {
    /// As the command line has it.
    pub config: Config,
    pub in_force: InForce,
    /// Why the rules are those that were kept, where they are.
    pub degraded: Option<String>,
    pub admin: Admin,
    pub books: Books,
    pub team: Team,
    pub queue: QueueWatch,
}

/// A try that failed, and at which part.
struct Failed {
    part: usize,
    fault: StartFault,
}

/// The parts of a start, in their order.
const PARTS: [&str; 3] = ["configuration", "admin listener", "public listener"];
const RULES: usize = 0;
const ADMIN: usize = 1;
const PUBLIC: usize = 2;

/// What readiness is told of a start.
#[derive(Debug)]
pub struct Parts([ReadyHandle; PARTS.len()]);

impl Parts {
    /// None of them is there.
    pub fn of(lifecycle: &Arc<Lifecycle>) -> Self {
        Self(PARTS.map(|name| lifecycle.needs(name)))
    }

    /// The start is over: traffic may come.
    pub fn ready(&self) {
        self.0.iter().for_each(ReadyHandle::ready);
    }

    /// It came as far as to this one.
    fn failed(&self, failed: usize, count: usize) {
        for (index, part) in self.0.iter().enumerate() {
            match index.cmp(&failed) {
                std::cmp::Ordering::Less => part.ready(),
                std::cmp::Ordering::Equal => {
                    part.missing(format!("{count} faults, see `faults`"));
                }
                std::cmp::Ordering::Greater => part.missing("not started"),
            }
        }
    }
}

/// Tries until it serves: again when a file has changed, at SIGHUP, and from time to time. `None`:
/// it failed, and is not to be tried again.
pub async fn up(
    args: &ServeArgs,
    (lifecycle, parts): (&Arc<Lifecycle>, &Parts),
    status: &Status,
    hangup: &mut Signal,
) -> Option<Up> {
    let mut lookout: Option<Lookout> = None;
    let (mut told, mut reason) = (Vec::new(), Reason::Asked);
    loop {
        let Failed { part, fault } = match once(args, lifecycle).await {
            Ok(up) => {
                if lookout.is_some() {
                    info!("the fault of the start is gone");
                }
                status.is_faulty(Vec::new());
                return Some(up);
            }
            Err(failed) => failed,
        };
        let StartFault { lines, paths } = fault;
        // before anybody is told: whoever mends a file at once is seen
        if !args.exit_on_fault {
            match &lookout {
                Some(lookout) => lookout.set(paths),
                None => lookout = Lookout::start(paths),
            }
        }
        parts.failed(part, lines.len());
        status.is_faulty(lines.clone());
        if reason == Reason::Asked || lines != told {
            for line in &lines {
                error!(fault = %line, "cannot serve");
            }
        }
        if args.exit_on_fault {
            return None;
        }
        told = lines;
        let asked = async {
            hangup.recv().await;
        };
        reason = lookout::reason(lookout.as_mut(), asked).await;
    }
}

/// One try: with the rules on the disk and, where that fails at whatever part, with those that were
/// kept.
async fn once(args: &ServeArgs, lifecycle: &Arc<Lifecycle>) -> Result<Up, Failed> {
    let started = load::start(args.config.clone()).await;
    let failed = match started.map_err(|fault| Failed { part: RULES, fault }) {
        Ok(started) => match serve(args, started, lifecycle).await {
            Ok(up) => return Ok(up),
            Err(failed) => failed,
        },
        Err(failed) => failed,
    };
    let Some(folder) = args.keep.clone() else { return Err(failed) };
    let Failed { part, fault } = failed;
    let mut lines = fault.lines.clone();
    let started = load::kept(args.config.clone(), folder, fault).await;
    let started = started.map_err(|fault| Failed { part, fault })?;
    serve(args, started, lifecycle).await.map_err(|mut also| {
        also.fault.lines.retain(|line| !lines.contains(line));
        lines.append(&mut also.fault.lines);
        Failed { part, fault: StartFault { lines, paths: also.fault.paths } }
    })
}

/// Everything behind the files.
async fn serve(
    args: &ServeArgs,
    started: Started,
    lifecycle: &Arc<Lifecycle>,
) -> Result<Up, Failed> {
    let Started { in_force, degraded, paths } = started;
    let failed = |part, line| Failed { part, fault: StartFault { lines: vec![line], paths } };
    let mut config = in_force.config.clone();
    config.edge.listen = args.listen.unwrap_or(config.edge.listen);
    let admin = match admin::bind(config.edge.admin.clone()) {
        Ok(admin) => admin,
        Err(fault) => return Err(failed(ADMIN, chain(&fault))),
    };
    let books = match books::open(&config.events).await {
        Ok(books) => books,
        Err(line) => return Err(failed(PUBLIC, line)),
    };
    let databases = Arc::clone(&in_force.databases);
    match Team::start(&config, databases, lifecycle, &books) {
        Ok((team, queue)) => Ok(Up { config, in_force, degraded, admin, books, team, queue }),
        Err(line) => {
            // the next try needs its folder
            books::close(books).await;
            Err(failed(PUBLIC, line))
        }
    }
}
