//! The thread that does what nobody should wait for.
//!
//! Owns: making segments ahead, probing what failed, removing what is done with. Never: a record.
//! Invariant: a segment is removed only when every sink has passed it, it is older than `keep_for`
//! (or in the way, where the journal gives way), and nothing in it is damaged.

use super::Place;
use super::Settings;
use super::handle::Journal;
use super::maker::Maker;
use super::published::{Segment, Table, lock};
use super::survey::path_of;
use crate::clock;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// So many probes pass before the ballast is put back after the disk was full.
const BALLAST_PROBES: u32 = 30;

#[derive(Debug, Default)]
struct Asked {
    wanted: Option<Place>,
    leftovers: Vec<PathBuf>,
    is_over: bool,
}

/// What the writer asks of the helper.
#[derive(Debug, Default)]
pub struct Chores {
    asked: Mutex<Asked>,
    changed: Condvar,
}

impl Chores {
    /// Asks for a segment, and for files to be removed.
    pub fn ask(&self, wanted: Option<Place>, leftovers: Vec<PathBuf>) {
        let mut asked = lock(&self.asked);
        let is_news = asked.wanted != wanted || !leftovers.is_empty();
        asked.wanted = wanted;
        asked.leftovers.extend(leftovers);
        drop(asked);
        if is_news {
            self.changed.notify_one();
        }
    }

    /// The writer has ended.
    pub fn stop(&self) {
        lock(&self.asked).is_over = true;
        self.changed.notify_one();
    }

    /// Waits until something is asked that may be done now, or the time is over.
    fn next(&self, until: Instant, barred: Barred) -> Asked {
        let may_make = |asked: &Asked| asked.wanted.filter(|place| !barred.contains(*place));
        let has_none = |asked: &mut Asked| {
            !asked.is_over && asked.leftovers.is_empty() && may_make(asked).is_none()
        };
        let patience = until.saturating_duration_since(clock::monotonic());
        let (mut asked, _) = self
            .changed
            .wait_timeout_while(lock(&self.asked), patience, has_none)
            .unwrap_or_else(PoisonError::into_inner);
        Asked {
            wanted: may_make(&asked),
            leftovers: mem::take(&mut asked.leftovers),
            is_over: asked.is_over,
        }
    }
}

/// Places that failed in this period of probing.
#[derive(Clone, Copy, Debug, Default)]
struct Barred {
    main: bool,
    spill: bool,
}

impl Barred {
    const fn contains(self, place: Place) -> bool {
        match place {
            Place::Main => self.main,
            Place::Spill => self.spill,
        }
    }
}

/// Starts it.
pub fn start(journal: Journal, maker: Maker) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("gavel-segments".to_owned())
        .spawn(move || Helper { journal, maker, barred: Barred::default(), calm: 0 }.run())
}

struct Helper {
    journal: Journal,
    maker: Maker,
    barred: Barred,
    /// Probes since the ballast was last missing.
    calm: u32,
}

impl Helper {
    fn run(mut self) {
        self.maker.load_ballast();
        let every = self.maker.settings.probe_every;
        let mut probe_at = clock::monotonic() + every;
        loop {
            let asked = self.journal.parts().chores.next(probe_at, self.barred);
            for path in &asked.leftovers {
                // what cannot be removed now is removed at the next start
                let _ = self.maker.disk.remove(path);
            }
            if asked.is_over {
                return;
            }
            if let Some(place) = asked.wanted {
                self.make(place);
            }
            let now = clock::monotonic();
            if now >= probe_at {
                probe_at = now + every;
                self.probe();
            }
        }
    }

    fn make(&mut self, place: Place) {
        let made = self.maker.make(place);
        if let Err(fault) = &made {
            *match place {
                Place::Main => &mut self.barred.main,
                Place::Spill => &mut self.barred.spill,
            } = true;
            tracing::error!(?place, %fault, "journal: cannot make a segment");
        }
        let parts = self.journal.parts();
        parts.queue.tell_made(made.map_err(|_| place));
        // the writer asks anew once it has been told; it must not have been served twice
        lock(&parts.chores.asked).wanted.take_if(|wanted| *wanted == place);
    }

    fn probe(&mut self) {
        self.barred = Barred::default();
        self.journal.parts().queue.tell_tick();
        let wall = clock::wall();
        self.journal.parts().dedupe.forget(wall.as_secs());
        self.retain(wall);
        if self.maker.published.parts().has_no_ballast {
            self.calm += 1;
            if self.calm >= BALLAST_PROBES {
                self.calm = 0;
                self.maker.load_ballast();
            }
        } else {
            self.calm = 0;
        }
    }

    fn retain(&self, now: Duration) {
        let table = self.maker.published.table();
        let least = self.journal.parts().cursors.least();
        let done = done_with(&table, &self.maker.settings, least, now);
        if done.is_empty() {
            return;
        }
        let ordinals: Vec<u64> = done.iter().map(|segment| segment.ordinal).collect();
        self.maker.published.forget(&ordinals);
        let dirs = &self.maker.dirs;
        for segment in done {
            let path = path_of(dirs, segment.place, segment.ordinal, false);
            if let Err(fault) = self.maker.disk.remove(&path) {
                tracing::warn!(path = %path.display(), %fault, "journal: cannot remove a segment");
            }
            self.maker.published.counts.removed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        for place in dirs.places() {
            let _ = self.maker.disk.sync_dir(dirs.of(*place));
        }
    }
}

/// The segments that may go: from the oldest on, all that every sink has passed (`least`) and that
/// are older than `keep_for`, while the rest is at least `keep_bytes`. Damaged ones stay. Where the
/// journal gives way, also younger ones: the one in use and the one made ahead always have room.
pub fn done_with(table: &Table, settings: &Settings, least: u64, now: Duration) -> Vec<Segment> {
    let mut rest: u64 = table.segments.iter().map(|segment| segment.file_bytes).sum();
    let mut done = Vec::new();
    for pair in table.segments.windows(2) {
        let [segment, behind] = pair else { break };
        // its last record is older than the first one of the next
        let age = now.saturating_sub(Duration::from_micros(behind.begun_us));
        let left = rest.saturating_sub(segment.file_bytes);
        let has_room = rest.saturating_add(settings.segment_bytes.saturating_mul(2))
            <= settings.disk_bytes_max;
        let is_wanted = age < settings.keep_for || left < settings.keep_bytes;
        if segment.next > least || (is_wanted && (has_room || !settings.gives_way)) {
            break;
        }
        if !segment.is_damaged {
            rest = left;
            done.push(*segment);
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let segment = |ordinal: u64| Segment {
            place: Place::Main,
            ordinal,
            first: ordinal * 10,
            next: ordinal * 10 + 10,
            bytes: 100,
            file_bytes: 100,
            offset: 64,
            begun_us: ordinal * 1_000_000,
            is_damaged: ordinal == 2,
        };
        Table { segments: (1..=5).map(segment).collect(), next: 60 }
    }

    #[test]
    fn a_segment_goes_when_it_is_passed_and_old_and_not_damaged() {
        let settings = Settings { keep_for: Duration::from_secs(10), ..Settings::new("unused") };
        let gone = |least, now_s, keep_bytes| -> Vec<u64> {
            let settings = Settings { keep_bytes, ..settings.clone() };
            let done = done_with(&table(), &settings, least, Duration::from_secs(now_s));
            done.into_iter().map(|segment| segment.ordinal).collect()
        };
        assert_eq!(gone(u64::MAX, 1_000, 0), [1, 3, 4]);
        assert_eq!(gone(40, 1_000, 0), [1, 3]);
        assert_eq!(gone(39, 1_000, 0), [1]);
        assert_eq!(gone(u64::MAX, 14, 0), [1, 3]);
        assert_eq!(gone(u64::MAX, 11, 0), [0; 0]);
        assert_eq!(gone(u64::MAX, 1_000, 400), [1]);
        assert_eq!(gone(0, 1_000, 0), [0; 0]);
    }

    #[test]
    fn where_the_journal_gives_way_young_segments_go_before_the_disk_is_full() {
        let gone = |disk_bytes_max, gives_way, least| -> Vec<u64> {
            let settings = Settings {
                segment_bytes: 100,
                disk_bytes_max,
                gives_way,
                ..Settings::new("unused")
            };
            let done = done_with(&table(), &settings, least, Duration::from_secs(10));
            done.into_iter().map(|segment| segment.ordinal).collect()
        };
        // five of 100 bytes, and room for two more is wanted; the second is damaged
        assert_eq!(gone(700, true, u64::MAX), [0; 0]);
        assert_eq!(gone(699, true, u64::MAX), [1]);
        assert_eq!(gone(500, true, u64::MAX), [1, 3]);
        assert_eq!(gone(100, true, u64::MAX), [1, 3, 4], "never the last");
        assert_eq!(gone(100, true, 20), [1], "nor what a sink has not passed");
        assert_eq!(gone(100, false, u64::MAX), [0; 0]);
    }
}
