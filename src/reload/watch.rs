//! Which of some files have changed.
//!
//! Owns: [`Watch`], on which a thread of its own waits. Never: the content of a file, nor an open
//! one (a path may be a FIFO); what a change means (the Publisher reads, checks and decides).
//!
//! Files change in five ways, and each is seen every time: a ConfigMap volume (the kubelet renames
//! a link onto `..data`), a projected volume (the same, several ConfigMaps in one), a rename over
//! the file, delete and create, and a rewrite in place. So it is folders that are watched: of the
//! path itself and of every link on the way. Events say when to look and how a file came; what
//! changed is decided by comparing where each path leads, and what lies there, with the last look.
//! A poll looks even if nothing was heard: NFS tells nobody, limits of inotify are reached, and a
//! folder further up than the path's own may be moved.
//!
//! Invariant: a change that happens after [`Watch::new`] or [`Watch::set`] began is reported, by
//! the next poll at the latest. So: first watch, then read.

mod bell;
mod ear;
pub mod mounts;
pub mod trace;

use crate::clock::monotonic;
use bell::{Bell, Pace, Way, Woken};
use ear::Ear;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trace::{Place, Trace};

/// Walks along all paths in one look at most, while folders keep coming to light.
const WALKS_MAX: usize = 4;

/// How files are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchSettings {
    /// A change is reported once nothing more has happened for this long (10 ms to 10 s).
    pub debounce: Duration,
    /// It is reported after this long even if things go on happening (debounce to 60 s).
    pub burst_max: Duration,
    /// All paths are looked at this often, whatever was heard (1 s to 1 h).
    pub poll: Duration,
    /// Whether the kernel is asked to tell; else there is the poll only.
    pub is_listening: bool,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(500),
            // 4 times the debounce
            burst_max: Duration::from_secs(2),
            poll: Duration::from_secs(30),
            is_listening: true,
        }
    }
}

/// What changed. Paths are as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Came whole, by construction: renamed onto the path, or behind a link that leads elsewhere
    /// and is younger than the file.
    pub renamed: BTreeSet<PathBuf>,
    /// May be half written, or may be gone: wait until size and time have been stable.
    pub touched: BTreeSet<PathBuf>,
    /// Events were lost: look at everything.
    pub has_overflowed: bool,
    /// Somebody used a [`Waker`].
    pub is_asked: bool,
}

impl Changes {
    /// Whether there is nothing to do: the caller's time has come.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Ends a wait, from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Bell>);

impl Waker {
    /// The wait that is under way, or else the next one, ends at once.
    pub fn wake(&self) {
        self.0.ask();
    }
}

/// Watches files.
#[derive(Debug)]
pub struct Watch {
    settings: WatchSettings,
    /// Each path with what the last look saw; `None`: nobody has looked yet.
    watched: BTreeMap<PathBuf, Option<Trace>>,
    ear: Option<Ear>,
    bell: Arc<Bell>,
    /// Seen, not yet reported.
    seen: BTreeMap<PathBuf, Way>,
    has_overflowed: bool,
    next_poll: Instant,
}

// === impl Watch ===

impl Watch {
    /// Watches these paths; what is not absolute is so from the working directory. None of them
    /// needs to exist. It cannot fail: without inotify there is the poll ([`Watch::deaf`]).
    pub fn new(settings: WatchSettings, paths: &[PathBuf]) -> Self {
        let bell = Arc::new(Bell::default());
        let mut watch = Self {
            settings,
            watched: paths.iter().map(|path| (path.clone(), None)).collect(),
            ear: settings.is_listening.then(|| Ear::new(Arc::clone(&bell))),
            bell,
            seen: BTreeMap::new(),
            has_overflowed: false,
            next_poll: monotonic(),
        };
        watch.look();
        watch
    }

    /// Other paths from now on. One that is new is reported once, as touched: it may have changed
    /// since whoever named it read it.
    pub fn set(&mut self, paths: &[PathBuf]) {
        let mut known = std::mem::take(&mut self.watched);
        self.seen.retain(|path, _| paths.contains(path));
        for path in paths {
            if self.watched.contains_key(path) {
                continue;
            }
            let trace = known.remove(path).flatten();
            if trace.is_none() {
                self.seen.insert(path.clone(), Way::Touched);
            }
            self.watched.insert(path.clone(), trace);
        }
        self.look();
        if self.has_news() {
            self.bell.stir(monotonic());
        }
    }

    /// Blocks the calling thread until something changed and it was quiet then, or somebody woke
    /// it, or `until` passed (the changes are empty then, and what is under way is kept).
    pub fn wait(&mut self, until: Option<Instant>) -> Changes {
        let pace = Pace { debounce: self.settings.debounce, burst_max: self.settings.burst_max };
        loop {
            match self.bell.wait(until, self.next_poll, pace) {
                Woken::Until => return Changes::default(),
                Woken::Asked => {
                    self.look();
                    return self.report(true);
                }
                Woken::Heard => {
                    self.look();
                    if self.has_news() {
                        return self.report(false);
                    }
                }
                Woken::Poll => {
                    self.look();
                    // as if it had been heard: the poll may have come in the midst of it
                    if self.has_news() {
                        self.bell.stir(monotonic());
                    }
                }
            }
        }
    }

    /// Ends waits: for signals and for the end.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.bell))
    }

    /// Why only the poll sees changes, where it was not asked for (limits of inotify).
    pub fn deaf(&self) -> Option<&str> {
        self.ear.as_ref().and_then(Ear::deaf)
    }

    /// Folders in which only the poll sees changes, and why.
    pub fn unheard(&self) -> BTreeMap<PathBuf, String> {
        self.ear.as_ref().map(|ear| ear.unheard().clone()).unwrap_or_default()
    }

    /// Paths whose replacement is never seen, because of how they were mounted (`subPath`).
    pub fn frozen(&self) -> Vec<PathBuf> {
        let mounts = mounts::mounted();
        let is_frozen = |trace: &Trace| {
            trace.seen.is_some_and(|seen| !seen.is_folder)
                && mounts::is_frozen(&trace.real(), &mounts)
        };
        self.watched
            .iter()
            .filter(|(_, trace)| trace.as_ref().is_some_and(is_frozen))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Compares everything with the last look.
    fn look(&mut self) {
        // first the events, so that none is forgotten whose effect is not seen below
        let heard = self.bell.take();
        let traces = self.walk(&heard.gone);
        self.has_overflowed |= heard.has_overflowed;
        for ((path, before), now) in self.watched.iter_mut().zip(traces) {
            let said = |place: &Place| {
                let ear = self.ear.as_ref()?;
                heard.ways.get(&ear.name(place)).copied()
            };
            let way = before.as_ref().and_then(|before| verdict(before, &now, said));
            match way {
                // what was lost may have been a write after the rename
                Some(_) if heard.has_overflowed => self.seen.insert(path.clone(), Way::Touched),
                Some(way) => self.seen.insert(path.clone(), way),
                None => None,
            };
            *before = Some(now);
        }
        self.next_poll = monotonic() + self.settings.poll;
    }

    /// Walks along all paths, once more whenever a folder has only now come to be watched.
    fn walk(&mut self, gone: &HashSet<PathBuf>) -> Vec<Trace> {
        let walk = |watched: &BTreeMap<PathBuf, Option<Trace>>| {
            let absolute = |path| std::path::absolute(path).unwrap_or_default();
            watched.keys().map(|path| Trace::of(&absolute(path))).collect::<Vec<_>>()
        };
        let mut traces = walk(&self.watched);
        let Some(ear) = &mut self.ear else { return traces };
        let mut is_new = ear.arm(&traces, gone);
        for _ in 1..WALKS_MAX {
            if !is_new {
                return traces;
            }
            traces = walk(&self.watched);
            is_new = ear.arm(&traces, &HashSet::new());
        }
        if is_new {
            self.bell.stir(monotonic());
        }
        traces
    }

    fn has_news(&self) -> bool {
        self.has_overflowed || !self.seen.is_empty()
    }

    fn report(&mut self, is_asked: bool) -> Changes {
        let has_overflowed = std::mem::take(&mut self.has_overflowed);
        let mut changes = Changes { has_overflowed, is_asked, ..Changes::default() };
        for (path, way) in std::mem::take(&mut self.seen) {
            match way {
                Way::Whole => changes.renamed.insert(path),
                Way::Touched => changes.touched.insert(path),
            };
        }
        changes
    }
}

/// Whether a path changed between two looks, and how it came to be as it is; `said` is what was
/// heard of a name in between.
fn verdict(before: &Trace, now: &Trace, said: impl Fn(&Place) -> Option<Way>) -> Option<Way> {
    let Some(seen) = now.seen else {
        return before.seen.map(|_| Way::Touched);
    };
    // what was heard of names that the path no longer leads through tells nothing: the kubelet
    // deletes the old files after the new ones are there
    if let Some(way) = said(&now.end) {
        return Some(way);
    }
    let is_swapped = now.hops.iter().any(|hop| said(&hop.at) == Some(Way::Whole));
    if is_swapped || now.is_led_elsewhere(before) {
        // what is written after the link that leads to it may be half written
        return Some(if now.is_older_than_its_links() { Way::Whole } else { Way::Touched });
    }
    (before.seen != Some(seen)).then_some(Way::Touched)
}
