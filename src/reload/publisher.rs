//! From changed files to the next generation.
//!
//! Owns: [`Publisher`], one a process, on a thread of its own that runs at a lower priority than
//! the workers: reads what changed, checks it, puts a snapshot together and swaps it in, once.
//! Never: a socket, a request, readiness.
//! Invariants: a fault leaves in force what was; rules and each database stand for themselves, so
//! that a fault of one does not keep another back; an old snapshot is freed here, not by a worker.

use super::progress::{Progress, RULES};
use super::settle::{Settle, is_swapped_at_once, links, marks};
use super::watch::{Changes, Watch};
use super::{ReloadSettings, keep};
use crate::bidder::desk::Net;
use crate::bidder::resolve::Addresses;
use crate::capture::recorder::Recorder;
use crate::clock;
use crate::config::events::{self, Events};
use crate::config::fault::chain;
use crate::config::files::{Contents, Files};
use crate::config::{self, Config, Report, checksums, rules};
use crate::enrich::databases::{Databases, RenewCheck, Renewal};
use crate::http::admin::AdminAddress;
use crate::lifecycle::spare::Spare;
use crate::limits::bank::Bank;
use crate::snapshot::{Live, Parts, Snapshot};
use crate::telemetry::hub::Hub;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Readings in a row that a swap may come between before the rest waits for the next change.
const READINGS_MAX: u32 = 5;

/// How often an old snapshot is looked at until nobody holds it.
const RETIRE_EVERY: Duration = Duration::from_millis(200);

/// What a publisher works with.
#[derive(Debug)]
pub struct PublisherParts {
    /// The main file.
    pub main: PathBuf,
    pub settings: ReloadSettings,
    pub live: Arc<Live>,
    pub bank: Arc<Mutex<Bank>>,
    pub hub: Arc<Hub>,
    pub recorder: Arc<Recorder>,
    pub net: Arc<Net>,
    pub progress: Arc<Progress>,
    /// Where good rules are kept, if they are.
    pub keep: Option<PathBuf>,
    /// Set when the process stops.
    pub stop: Arc<AtomicBool>,
}

/// What is in force when it starts.
#[derive(Debug)]
pub struct InForce {
    pub config: Config,
    /// Each file of the rules, the main one first.
    pub files: Vec<PathBuf>,
    pub databases: Arc<Databases>,
    /// Of the reading that `config` came from.
    pub identity: [u8; 32],
}

/// One a process.
#[derive(Debug)]
pub struct Publisher {
    parts: PublisherParts,
    now: InForce,
    /// As the process started with them: what of it changes waits for a restart.
    fixed: Vec<(&'static str, String)>,
    generation: u64,
    /// What it opened when it started: addresses and folders that other rules may not get.
    opened: (SocketAddr, AdminAddress, Events),
    /// Whether the rules in force are those on the disk, and not kept ones in their place.
    is_of_disk: bool,
    /// Of the rules in force, until they are kept.
    unkept: Option<Contents>,
    settle: Settle,
    /// Paths that came whole since the last try.
    complete: HashSet<PathBuf>,
    /// Snapshots that requests may still hold.
    retired: Vec<Arc<Snapshot>>,
    /// Holds the bidders' names in the resolver.
    names: Vec<Arc<Addresses>>,
    /// Reads and checks databases.
    spare: Arc<Spare>,
}

/// A new state of the rules.
struct Read {
    files: Files,
    paths: Vec<PathBuf>,
    result: Result<Config, (Report, &'static str)>,
}

impl Publisher {
    /// Takes down what is in force; nothing happens yet.
    pub fn new(parts: PublisherParts, now: InForce) -> Self {
        let mut publisher = Self {
            fixed: fixed(&now.config),
            generation: parts.live.take().map_or(1, |snapshot| snapshot.generation),
            opened: opened(&now.config),
            is_of_disk: false,
            unkept: None,
            settle: Settle::default(),
            complete: HashSet::new(),
            retired: Vec::new(),
            names: Vec::new(),
            spare: Arc::default(),
            parts,
            now,
        };
        let paths = publisher.paths();
        publisher.settle.take(&paths, &marks(&paths));
        publisher.hold_names();
        publisher.tell_taken(true, true);
        publisher
    }

    /// All that is watched.
    pub fn paths(&self) -> Vec<PathBuf> {
        let config = &self.now.config;
        let others = config.engine.databases.paths().into_iter().chain(config.cold.paths());
        self.now.files.iter().cloned().chain(others).collect()
    }

    /// Publishes what changes until the process stops; blocks its thread.
    pub fn run(mut self, mut watch: Watch) {
        // What changed between the first reading and the first look is seen by this one.
        let mut due = self.look(&Changes { is_asked: true, ..Changes::default() });
        while !self.parts.stop.load(Ordering::Acquire) {
            let changes = watch.wait(due);
            self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
            due = self.look(&changes);
            watch.set(&self.paths());
            if !self.retired.is_empty() {
                let soon = clock::monotonic() + RETIRE_EVERY;
                due = Some(due.map_or(soon, |due| soon.min(due)));
            }
        }
    }

    /// Takes what is new; gives when to look again although nothing changes.
    fn look(&mut self, changes: &Changes) -> Option<Instant> {
        self.complete.extend(changes.renamed.iter().cloned());
        let (rules, rules_due) = self.rules(changes.is_asked);
        let (renewal, databases_due) = self.databases(rules.as_ref(), changes.is_asked);
        let has_rules = rules.is_some();
        if let Some((config, files)) = rules {
            self.warn_of_fixed(&config);
            for warning in config.warnings(clock::wall()) {
                warn!(warning, "configuration");
            }
            self.is_of_disk = true;
            self.unkept = Some(files.contents());
            self.now.identity = files.identity();
            self.now.config = config;
        }
        let has_databases = renewal.is_some();
        if let Some(databases) = renewal {
            self.now.databases = databases;
        }
        if has_rules || has_databases {
            self.publish(has_rules, has_databases);
        }
        self.keep(has_rules);
        [rules_due, databases_due].into_iter().flatten().min()
    }

    /// New rules that are good, and when to look again at such as are still being written.
    fn rules(&mut self, is_asked: bool) -> (Option<(Config, Files)>, Option<Instant>) {
        let known = self.now.files.clone();
        if !is_asked && !self.settle.has_changed(&known) {
            return (None, None);
        }
        let before = marks(&known);
        let Some(Read { files, paths, result }) = self.read() else {
            return (None, Some(clock::monotonic() + self.parts.settings.settle));
        };
        let is_summed = result.as_ref().is_ok_and(|config| config.checksums.is_some());
        if !is_summed && let Some(due) = self.still_changing(&paths) {
            return (None, Some(due));
        }
        // A file that is new among them may have changed since it was read.
        let again = (!self.settle.take(&paths, &before)).then(clock::monotonic);
        self.complete.retain(|path| !paths.contains(path));
        // What could not be read is watched too: it may come.
        self.now.files = paths;
        let is_known = files.identity() == self.now.identity;
        match result {
            Ok(_) if is_known => {
                if !self.is_of_disk {
                    self.is_of_disk = true;
                    self.unkept = Some(files.contents());
                }
                self.tell(RULES, "unchanged", Vec::new(), false);
                (None, again)
            }
            Ok(config) => (Some((config, files)), again),
            // also where they are broken as before: a fault is told for as long as it is there
            Err((report, label)) => {
                let faults: Vec<String> = report.0.iter().map(ToString::to_string).collect();
                self.now.identity = files.identity();
                self.tell(RULES, label, faults, is_asked || !is_known);
                (None, again)
            }
        }
    }

    /// Keeps the rules in force once a process could start with them, and is degraded no longer
    /// then. `is_new`: they are taken just now.
    fn keep(&mut self, is_new: bool) {
        let is_degraded = self.parts.progress.state().degraded.is_some();
        let is_due = is_degraded || (self.unkept.is_some() && self.parts.keep.is_some());
        if !self.is_of_disk || !is_due {
            return;
        }
        if !self.is_good_for_a_start() {
            if is_new {
                warn!("the new rules are not kept yet: not all that they name could be opened");
            }
            return;
        }
        self.parts.progress.state().degraded = None;
        let (Some(folder), Some(files)) = (&self.parts.keep, self.unkept.take()) else { return };
        if let Err(fault) = keep::save(folder, &files, clock::wall().as_secs()) {
            warn!(folder = %folder.display(), %fault, "good rules are not kept");
        }
    }

    /// Whether all that the rules in force name could be opened: databases are, files that are
    /// read at the start can be, and addresses and folders are those that this process has.
    fn is_good_for_a_start(&self) -> bool {
        let InForce { config, databases, .. } = &self.now;
        databases.has_all(&config.engine.databases)
            && opened(config) == self.opened
            && config.cold.needed("").is_empty()
    }

    /// Reads the rules as one state: none where they were swapped under each reading.
    fn read(&self) -> Option<Read> {
        (0..READINGS_MAX).find_map(|_| {
            let files = Files::on_disk();
            let before = links(&self.now.files);
            let result = match config::load_from(&self.parts.main, &files) {
                Ok(config) => self.check(&config, &files).map(|()| config),
                Err(report) => {
                    let is_read = files.contents().len() == files.paths().len();
                    Err((report, if is_read { "invalid" } else { "unreadable" }))
                }
            };
            let paths = files.paths();
            (links(&self.now.files) == before).then_some(Read { files, paths, result })
        })
    }

    /// Whether this process may go over to rules that are good by themselves.
    fn check(&self, config: &Config, files: &Files) -> Result<(), (Report, &'static str)> {
        let (main, in_force) = (&self.parts.main, &self.now.config);
        checksums::check(config.checksums.as_deref(), files)
            .map_err(|report| (report, "checksum"))?;
        rules::check_reload(&config.rules, &in_force.rules, main)
            .map_err(|report| (report, "canary"))?;
        events::check_reload(config, (in_force, &self.opened.2), main)
            .map_err(|report| (report, "invalid"))
    }

    /// Databases of which at least one is new.
    fn databases(
        &mut self,
        rules: Option<&(Config, Files)>,
        is_asked: bool,
    ) -> (Option<Arc<Databases>>, Option<Instant>) {
        let config = rules.map_or(&self.now.config, |(config, _)| config);
        let settings = config.engine.databases.clone();
        let paths = settings.paths();
        let is_other = settings != self.now.config.engine.databases;
        if !is_asked && !is_other && !self.settle.has_changed(&paths) {
            return (None, None);
        }
        if let Some(due) = self.still_changing(&paths) {
            return (None, Some(due));
        }
        self.settle.take(&paths, &marks(&paths));
        self.complete.retain(|path| !paths.contains(path));
        // what is still being written was sorted out above
        let spare = Some(Arc::clone(&self.spare));
        let check = RenewCheck { wall: clock::wall(), settle: Duration::ZERO, spare };
        let Renewal { databases, results } = self.now.databases.renew(&settings, &check);
        for one in &results {
            let faults = one.result.as_ref().err().map(|fault| chain(&**fault));
            self.tell(one.role, one.label().label(), faults.into_iter().collect(), one.is_news);
        }
        let configured: Vec<_> = results.iter().map(|one| one.role).collect();
        self.parts.progress.state().keep_faults_of(&configured);
        (databases, None)
    }

    fn still_changing(&mut self, paths: &[PathBuf]) -> Option<Instant> {
        let complete = &self.complete;
        let is_complete =
            |path: &std::path::Path| complete.contains(path) || is_swapped_at_once(path);
        self.settle.due(paths, is_complete, self.parts.settings.settle, clock::monotonic())
    }

    fn publish(&mut self, has_rules: bool, has_databases: bool) {
        let start = clock::monotonic();
        self.generation += 1;
        self.hold_names();
        let snapshot = self.snapshot();
        if let Some(old) = self.parts.live.publish(Arc::new(snapshot)) {
            self.retired.push(old);
        }
        self.tell_taken(has_rules, has_databases);
        info!(
            generation = self.generation,
            rules = has_rules,
            databases = has_databases,
            micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
            "published"
        );
    }

    fn snapshot(&self) -> Snapshot {
        let config = &self.now.config;
        let parts = Parts {
            partners: config.rules.partners.clone(),
            bidders: config.rules.bidders.clone(),
            rates: Arc::clone(&config.rules.rates),
            floors: Arc::clone(&config.rules.floors),
            databases: Arc::clone(&self.now.databases),
            privacy: config.rules.privacy.clone(),
            sellers: config.rules.sellers.clone(),
            roster: config.engine.roster,
            recording: self.parts.recorder.apply(config.rules.capture.as_ref()),
            // an event that nobody could take: bids keep the notices of their bidders
            issuer: config.rules.issuer.clone().filter(|_| self.has_journal()),
        };
        // The workers lease from the bank: it is held for the accounts only.
        let rates = {
            let mut bank = self.parts.bank.lock().unwrap_or_else(PoisonError::into_inner);
            Snapshot::accounts(&parts.partners, &mut bank, clock::monotonic())
        };
        Snapshot::put_together(self.generation, parts, rates, &self.parts.hub)
    }

    /// Whether events have where to go, for as long as the process runs.
    fn has_journal(&self) -> bool {
        self.opened.2.journal.is_some()
    }

    fn hold_names(&mut self) {
        let hosts = self.now.config.rules.bidders.iter().map(|bidder| &bidder.endpoint.host);
        self.names = hosts.map(|host| self.parts.net.resolver.watch(host)).collect();
    }

    /// Says what of a new configuration has to wait.
    fn warn_of_fixed(&self, config: &Config) {
        let mut sections: Vec<&'static str> = fixed(config)
            .into_iter()
            .zip(&self.fixed)
            .filter(|(new, old)| new != *old)
            .map(|((name, _), _)| name)
            .collect();
        if config.rules.issuer.is_some() && !self.has_journal() {
            sections.push("events");
        }
        if !sections.is_empty() {
            warn!(?sections, "these sections changed and need a restart to count");
        }
        self.parts.progress.state().waits_for_restart = sections;
    }

    /// Takes down what came of a try; logs its faults where they are news.
    fn tell(&self, name: &'static str, result: &'static str, faults: Vec<String>, is_news: bool) {
        for fault in faults.iter().filter(|_| is_news) {
            error!(source = name, result, %fault, "not taken: the last good one stays in force");
        }
        self.parts.progress.state().tried(name, result, faults, clock::wall());
    }

    fn tell_taken(&self, has_rules: bool, has_databases: bool) {
        let now = clock::wall();
        let mut state = self.parts.progress.state();
        state.generation = self.generation;
        if has_rules {
            state.tried(RULES, "ok", Vec::new(), now);
            let rules = state.sources.entry(RULES).or_default();
            rules.checksum = blake3::Hash::from_bytes(self.now.identity).to_hex().to_string();
            rules.paths.clone_from(&self.now.files);
            (rules.generation, rules.taken) = (self.generation, now);
        }
        if !has_databases {
            return;
        }
        for info in self.now.databases.describe() {
            let source = state.sources.entry(info.role).or_default();
            if source.checksum != info.sha256 {
                source.checksum.clone_from(&info.sha256);
                (source.generation, source.taken) = (self.generation, now);
            }
            source.paths = vec![info.path.clone()];
            source.built = info.build_epoch.map(Duration::from_secs);
            if source.result.is_empty() {
                (source.result, source.tried) = ("ok", now);
            }
        }
    }
}

/// What others may have taken when the next process starts.
fn opened(config: &Config) -> (SocketAddr, AdminAddress, Events) {
    (config.edge.listen, config.edge.admin.address.clone(), config.events.clone())
}

/// What a running process does not take anew, by section.
fn fixed(config: &Config) -> Vec<(&'static str, String)> {
    let (edge, engine) = (&config.edge, &config.engine);
    vec![
        ("http, admin, admission, workers, drain", format!("{edge:?}")),
        ("limits", format!("{:?} {:?}", engine.limits, engine.shape)),
        ("databases.cache", format!("{:?}", engine.enrich)),
        ("auction", format!("{:?}", engine.auction)),
        ("network", format!("{:?}", engine.net)),
        ("notices", format!("{:?}", engine.notices)),
        ("journal, events.ack, events.in_flight_max", format!("{:?}", config.events)),
        ("memory", format!("{:?}", config.memory)),
        ("telemetry", format!("{:?}", config.telling)),
    ]
}
