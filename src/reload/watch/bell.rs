//! What was heard, until somebody looks.
//!
//! Owns: [`Bell`], which the thread of notify and the wakers ring and the watching thread waits
//! at; the reading of notify's events. Never: a look at a file.
//! Invariant: it remembers names that somebody asked for and no others, so that a folder in which
//! very much happens fills no memory.

use crate::clock::monotonic;
use notify::event::{AccessKind, AccessMode, Flag, ModifyKind, RenameMode};
use notify::{Event, EventKind};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a file came to be as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// At once: by a rename, or behind a younger link that leads elsewhere.
    Whole,
    /// Perhaps byte by byte; perhaps it is not there any more.
    Touched,
}

/// When what was heard is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// It has been quiet for this long,
    pub debounce: Duration,
    /// or it has not been quiet for this long.
    pub burst_max: Duration,
}

/// Why the watching thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    Asked,
    /// Something was heard, and then it was quiet for long enough.
    Heard,
    /// The time of the poll.
    Poll,
    /// The caller's time.
    Until,
}

/// Something happened at `first` and, most lately, at `last`.
#[derive(Clone, Copy, Debug)]
struct Stir {
    first: Instant,
    last: Instant,
}

impl Stir {
    /// When to look.
    fn due(self, pace: Pace) -> Instant {
        (self.last + pace.debounce).min(self.first + pace.burst_max)
    }
}

/// What somebody wants to hear of.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Files and links.
    pub names: HashSet<PathBuf>,
    /// The folders that hold them.
    pub folders: HashSet<PathBuf>,
}

/// What was heard since the last look.
#[derive(Debug, Default)]
pub struct Heard {
    /// The latest of each name.
    pub ways: HashMap<PathBuf, Way>,
    /// Folders that are not where they were: their watches are dead.
    pub gone: HashSet<PathBuf>,
    /// Something was lost.
    pub has_overflowed: bool,
}

#[derive(Debug, Default)]
struct State {
    wanted: Wanted,
    heard: Heard,
    stir: Option<Stir>,
    is_asked: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

impl Bell {
    /// From now on these are heard. What was heard of others is forgotten at the next look.
    pub fn want(&self, wanted: Wanted) {
        self.state().wanted = wanted;
    }

    /// What was heard, and forgets it.
    pub fn take(&self) -> Heard {
        std::mem::take(&mut self.state().heard)
    }

    /// Somebody asks for a look now.
    pub fn ask(&self) {
        self.state().is_asked = true;
        self.rung.notify_all();
    }

    /// A look is due once it has been quiet.
    pub fn stir(&self, now: Instant) {
        let mut state = self.state();
        let is_first = state.stir.is_none();
        let first = state.stir.map_or(now, |stir| stir.first);
        state.stir = Some(Stir { first, last: now });
        drop(state);
        // during a burst the other side sleeps to the end of the quiet time and asks again then
        if is_first {
            self.rung.notify_all();
        }
    }

    /// Waits for the first of all that may be waited for.
    pub fn wait(&self, until: Option<Instant>, poll: Instant, pace: Pace) -> Woken {
        let mut state = self.state();
        loop {
            if std::mem::take(&mut state.is_asked) {
                state.stir = None;
                return Woken::Asked;
            }
            let now = monotonic();
            let heard = state.stir.map(|stir| (stir.due(pace), Woken::Heard));
            // a look after what was heard does for the poll too
            let next = heard.unwrap_or((poll, Woken::Poll));
            if next.0 <= now {
                if next.1 == Woken::Heard {
                    state.stir = None;
                }
                return next.1;
            }
            let until = until.unwrap_or(next.0);
            if until <= now {
                return Woken::Until;
            }
            let left = until.min(next.0).saturating_duration_since(now);
            let waited = self.rung.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One event of notify. It runs on notify's thread and blocks for nothing but a short lock.
    pub fn hear(&self, event: notify::Result<Event>) {
        let Ok(event) = event else { return self.lose() };
        if event.attrs.flag() == Some(Flag::Rescan) {
            return self.lose();
        }
        let Some(said) = said(event.kind) else { return };
        let Some(path) = event.paths.into_iter().next() else { return };
        if self.state().note(path, said) {
            self.stir(monotonic());
        }
    }

    /// The kernel's queue ran over, or notify failed: anything may have happened.
    fn lose(&self) {
        self.state().heard.has_overflowed = true;
        self.stir(monotonic());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Remembers what was said of a path; whether anybody wants to know.
    fn note(&mut self, path: PathBuf, said: Said) -> bool {
        let is_folder = self.wanted.folders.contains(&path);
        if is_folder && matches!(said, Said::Gone) {
            self.heard.gone.insert(path.clone());
        }
        if !self.wanted.names.contains(&path) {
            return is_folder && !matches!(said, Said::Way(_));
        }
        match said {
            Said::Way(way) => drop(self.heard.ways.insert(path, way)),
            Said::Gone => drop(self.heard.ways.insert(path, Way::Touched)),
            Said::Look => {}
        }
        true
    }
}

/// What an event says of its first path.
#[derive(Clone, Copy, Debug)]
enum Said {
    Way(Way),
    /// Deleted, or moved elsewhere.
    Gone,
    /// Look: owner, mode or times. A writer that sets times after its rename unmakes nothing.
    Look,
}

fn said(kind: EventKind) -> Option<Said> {
    match kind {
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Said::Way(Way::Whole)),
        // the same once more, with the old name first
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => None,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => Some(Said::Gone),
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Said::Look),
        EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Said::Way(Way::Touched)),
        // others read, and so do we
        EventKind::Access(_) | EventKind::Any | EventKind::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind};

    const PACE: Pace =
        Pace { debounce: Duration::from_millis(500), burst_max: Duration::from_secs(2) };
    const TO: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const DATA: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const TIMES: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const DELETED: EventKind = EventKind::Remove(RemoveKind::File);
    const OPENED: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));

    /// A bell that wants `/d/f`, after events of a name in `/d`.
    fn after(name: &str, kinds: &[EventKind]) -> Bell {
        let bell = Bell::default();
        bell.want(Wanted { names: [path("/d/f")].into(), folders: [path("/d")].into() });
        for kind in kinds {
            bell.hear(Ok(Event::new(*kind).add_path(path(name))));
        }
        bell
    }

    fn path(name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    #[test]
    fn the_last_event_says_how_a_file_came() {
        for (kinds, expected) in [
            (&[TO][..], Some(Way::Whole)),
            (&[DATA, TO], Some(Way::Whole)),
            (&[TO, TIMES], Some(Way::Whole)),
            (&[TO, OPENED], Some(Way::Whole)),
            (&[TO, DATA], Some(Way::Touched)),
            (&[DELETED, CREATED], Some(Way::Touched)),
            (&[FROM], Some(Way::Touched)),
            (&[OPENED], None),
        ] {
            let heard = after("/d/f", kinds).take();
            assert_eq!(heard.ways.get(&path("/d/f")).copied(), expected, "{kinds:?}");
        }
    }

    #[test]
    fn names_that_nobody_wants_ring_nothing() {
        let bell = after("/d/other", &[CREATED, DATA, TO, FROM, DELETED, TIMES]);
        assert!(bell.state().stir.is_none());
        assert!(bell.take().ways.is_empty());
    }

    #[test]
    fn a_folder_that_goes_is_remembered() {
        for kind in [FROM, DELETED] {
            let bell = after("/d", &[kind]);
            assert!(bell.state().stir.is_some());
            assert!(bell.take().gone.contains(&path("/d")));
        }
    }

    #[test]
    fn an_overflow_is_told() {
        let bell = after("/d/f", &[]);
        bell.hear(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(bell.state().stir.is_some());
        assert!(bell.take().has_overflowed);
    }

    #[test]
    fn a_look_is_due_after_quiet_but_a_burst_is_bounded() {
        let first = monotonic();
        let at = |ms| first + Duration::from_millis(ms);
        for (last, due) in [(0, 500), (1_000, 1_500), (1_500, 2_000), (9_000, 2_000)] {
            assert_eq!(Stir { first, last: at(last) }.due(PACE), at(due), "{last}");
        }
    }

    #[test]
    fn what_was_heard_outlives_a_wait_that_ends_before_its_quiet_time() {
        let bell = after("/d/f", &[TO]);
        let now = monotonic();
        let far = now + Duration::from_secs(3_600);
        assert_eq!(bell.wait(Some(now), far, PACE), Woken::Until);
        assert_eq!(bell.wait(None, far, PACE), Woken::Heard);
        assert_eq!(bell.wait(Some(far), now, PACE), Woken::Poll);
        bell.ask();
        assert_eq!(bell.wait(None, far, PACE), Woken::Asked);
    }
}
