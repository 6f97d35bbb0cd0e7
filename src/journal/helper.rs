//! The thread that does what nobody should wait for.
//!
//! Owns: making segments ahead, probing what failed, removing what is done with. Never: a record.
//! Invariant: a segment is removed only when every sink has passed it, it is older than `keep_for`
//! (or in the way, where the journal gives way), and nothing in it is damaged. Neither that nor what
//! is forgotten follows a jump of the wall clock.

use super::Place;
use super::Settings;
use super::age::Ages;
use super::handle::Journal;
use super::maker::Maker;
use super::published::{Segment, Table, lock};
use super::survey::path_of;
use crate::clock::{self, Anchor, Steady, Turn};
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// So many probes pass before the ballast is put back after the disk was full.
const BALLAST_PROBES: u32 = 30;

/// No token lives longer: 7 days at most, or less than `keep_for`, and they may be early and late. After so
/// long with the wall clock somewhere else none of before is alive.
const LIFE_MAX: Duration = Duration::from_secs(8 * 86_400);

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
pub fn start(journal: Journal, maker: Maker, ages: Ages) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("gavel-segments".to_owned())
        .spawn(move || Helper::new(journal, maker, ages).run())
}

struct Helper {
    journal: Journal,
    maker: Maker,
    barred: Barred,
    /// Probes since the ballast was last missing.
    calm: u32,
    /// How often the disk had been full when it was last looked at.
    full: u64,
    steady: Steady,
    ages: Ages,
    /// Whether buffered records were written when this was last looked at.
    keeps_buffered: bool,
}

impl Helper {
    fn new(journal: Journal, maker: Maker, ages: Ages) -> Self {
        let believe_after = maker.settings.keep_for.min(LIFE_MAX);
        let steady = Steady::since(journal.parts().newest, journal.parts().start, believe_after);
        let (barred, keeps_buffered) = (Barred::default(), true);
        Self { journal, maker, barred, calm: 0, full: 0, steady, ages, keeps_buffered }
    }

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
                self.probe(Anchor::now());
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

    fn probe(&mut self, now: Anchor) {
        self.barred = Barred::default();
        self.journal.parts().queue.tell_tick();
        let (time, turn) = self.steady.look(now);
        if let Some(turn) = turn {
            tell(turn);
        }
        self.journal.parts().dedupe.forget(time.as_secs());
        self.retain(now.monotonic(), time);
        self.tell_of_buffered();
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

    /// `time` is since the epoch.
    fn retain(&mut self, now: Instant, time: Duration) {
        let table = self.maker.published.table();
        self.ages.note(&table, now);
        let least = self.journal.parts().cursors.least();
        let most = self.bytes_max(&table);
        let age = |ordinal| self.ages.of(ordinal, now);
        let bounds = (least, most, time.as_secs());
        let done = done_with(&table, &self.maker.settings, bounds, age);
        let (Some(oldest), Some(newest)) = (done.first(), done.last()) else { return };
        let (segments, from, to) = (done.len(), oldest.first, newest.next);
        tracing::info!(segments, from, to, "journal: segments that are done with are removed");
        let ordinals: Vec<u64> = done.iter().map(|segment| segment.ordinal).collect();
        self.maker.published.forget(&ordinals);
        let dirs = &self.maker.dirs;
        for segment in done {
            let path = path_of(dirs, segment.place, segment.ordinal, false);
            if let Err(fault) = self.maker.disk.remove(&path) {
                tracing::warn!(path = %path.display(), %fault, "journal: cannot remove a segment");
            }
            self.maker.published.counts.removed.fetch_add(1, Ordering::Relaxed);
        }
        for place in dirs.places() {
            let _ = self.maker.disk.sync_dir(dirs.of(*place));
        }
    }

    fn tell_of_buffered(&mut self) {
        let keeps = self.journal.keeps_buffered();
        if mem::replace(&mut self.keeps_buffered, keeps) == keeps {
            return;
        }
        if keeps {
            tracing::info!("journal: records of auctions are written again");
        } else {
            tracing::warn!(
                "journal: the room that is left is for events; records of auctions are dropped"
            );
        }
    }

    /// Bytes that segments may have where the journal gives way: no more than now when the disk had
    /// no room for another since this was last asked, whoever has filled it.
    fn bytes_max(&mut self, table: &Table) -> u64 {
        let full = self.maker.published.counts.full.load(Ordering::Relaxed);
        let was_full = full > mem::replace(&mut self.full, full);
        let settings = &self.maker.settings;
        // rather older records give way than new ones are dropped
        let most = match settings.buffered_bytes_max() {
            0 => settings.disk_bytes_max,
            buffered => buffered,
        };
        if was_full { most.min(table.file_bytes()) } else { most }
    }
}

fn tell(turn: Turn) {
    match turn {
        Turn::Ahead(by) => tracing::warn!(
            seconds = by.as_secs(),
            "journal: the wall clock jumped ahead; nothing is forgotten or removed for that"
        ),
        Turn::Behind(by) => {
            tracing::warn!(seconds = by.as_secs(), "journal: the wall clock jumped back");
        }
        Turn::Back => tracing::info!("journal: the wall clock is back where it should be"),
        Turn::Believed => tracing::info!("journal: the wall clock has stayed, and is believed"),
    }
}

/// The segments that may go: from the oldest on, all that every sink has passed (`least`) and that
/// are older than `keep_for`, while the rest is at least `keep_bytes`, and no token of an event in
/// them lives (`now_s`): not even one that was given out under a longer `keep_for`. Damaged ones stay. Where the
/// journal gives way, also younger ones: the one in use and the one made ahead always have room in
/// `most` bytes. `age_of` says how long ago the segment of a number was begun.
pub fn done_with(
    table: &Table,
    settings: &Settings,
    (least, most, now_s): (u64, u64, u64),
    age_of: impl Fn(u64) -> Duration,
) -> Vec<Segment> {
    let mut rest = table.file_bytes();
    let mut done = Vec::new();
    for pair in table.segments.windows(2) {
        let [segment, behind] = pair else { break };
        // its last record is older than the first one of the next
        let age = age_of(behind.ordinal);
        let left = rest.saturating_sub(segment.file_bytes);
        let has_room = rest.saturating_add(settings.segment_bytes.saturating_mul(2)) <= most;
        // a later end was written by a clock that was wrong
        let is_alive = (now_s..now_s + LIFE_MAX.as_secs()).contains(&segment.ends_s);
        let is_wanted = age < settings.keep_for || left < settings.keep_bytes || is_alive;
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
    use crate::journal::disk::real::RealDisk;
    use crate::journal::frame::{HEADER_BYTES, SegmentHeader};
    use crate::journal::handle::Once;
    use crate::journal::open::{Opened, open};
    use crate::money_event::codec::{identify, write_event};
    use crate::money_event::{EventId, EventType, MoneyEvent};
    use std::sync::Arc;

    const HOUR_S: u64 = 3_600;

    fn opened(settings: &Settings) -> Opened {
        open(settings.clone(), Arc::new(RealDisk), identify).unwrap()
    }

    /// A helper whose time is the test's; the journal's own does not probe within a minute.
    fn helper(journal: &Journal) -> Helper {
        let parts = journal.parts();
        let maker = Maker {
            disk: Arc::clone(&parts.disk),
            settings: Arc::clone(&parts.settings),
            dirs: Arc::new(parts.settings.dirs()),
            published: Arc::clone(&parts.published),
        };
        let found = parts.published.table();
        let ages = Ages::new(&found, parts.settings.keep_for, parts.start.monotonic());
        Helper::new(journal.clone(), maker, ages)
    }

    /// Takes an event; whether it is new (or not, or forgotten).
    fn bill(journal: &Journal, id: u128, expires_s: u64) -> Option<bool> {
        let event = EventType::Billing;
        let event = MoneyEvent { event, id: EventId(id), expires_s, ..MoneyEvent::default() };
        let mut payload = Vec::new();
        write_event(&event, &mut payload);
        match journal.append_once(event.id, expires_s, event.event.kind(), payload) {
            Once::New(ticket) => ticket.wait().map(|_| true).ok(),
            Once::Seen => Some(false),
            _ => None,
        }
    }

    /// So long after the start, with the wall clock so far ahead.
    fn after(journal: &Journal, at_s: u64, jump_s: u64) -> Anchor {
        let (start, at) = (journal.parts().start, Duration::from_secs(at_s));
        Anchor::of(start.monotonic() + at, start.wall() + at + Duration::from_secs(jump_s))
    }

    #[test]
    fn a_jump_of_the_wall_clock_costs_no_record_and_no_event() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            segment_bytes: 64 << 10,
            commit_bytes_max: 16 << 10,
            record_bytes_max: 4 << 10,
            ballast_bytes: 0,
            probe_every: Duration::from_secs(60),
            ..Settings::new(dir.path())
        };
        let Opened { journal, running, .. } = opened(&settings);
        let end_s = journal.parts().start.wall().as_secs() + HOUR_S;
        assert_eq!(bill(&journal, 1, end_s), Some(true));
        for _ in 0..60 {
            journal.append_durable(9, vec![7; 4_000]).unwrap().wait().unwrap();
        }
        let segments = journal.status().segments;
        assert!(segments > 3);
        let mut one = helper(&journal);
        for (at_s, jump_s) in [(1, 0), (2, 72 * HOUR_S), (3, 72 * HOUR_S), (4, 0), (5, 0)] {
            one.probe(after(&journal, at_s, jump_s));
            assert_eq!(journal.status().segments, segments, "{at_s}");
            assert_eq!(bill(&journal, 1, end_s), Some(false), "{at_s}");
            assert_eq!(bill(&journal, u128::from(at_s) * 10, end_s), Some(true), "{at_s}");
        }
        running.close();

        let Opened { journal, running, .. } = opened(&settings);
        let mut one = helper(&journal);
        one.probe(after(&journal, 1, 0));
        assert_eq!(bill(&journal, 20, end_s), Some(false));
        assert_eq!(bill(&journal, 2, end_s), Some(true));
        // it goes on by the time that goes by, and nothing is counted twice
        one.probe(after(&journal, 49 * HOUR_S, 0));
        assert!(journal.status().segments < segments);
        for id in [1, 2, 3] {
            assert_eq!(bill(&journal, id, end_s), None);
        }
        assert_eq!(bill(&journal, 4, end_s + 50 * HOUR_S), Some(true));
        running.close();
    }

    #[test]
    fn a_clock_that_is_ahead_at_a_start_has_nothing_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { ballast_bytes: 0, ..Settings::new(dir.path()) };
        let Opened { journal, running, .. } = opened(&settings);
        let yesterday_s = journal.parts().start.wall().as_secs() - 24 * HOUR_S;
        let end_s = yesterday_s + HOUR_S;
        assert_eq!(bill(&journal, 1, end_s), Some(true));
        running.close();
        // as if it had been begun yesterday: or the clock is a day ahead now
        let path = path_of(&settings.dirs(), Place::Main, 1, false);
        let mut bytes = std::fs::read(&path).unwrap();
        let start = bytes.first_chunk_mut::<HEADER_BYTES>().unwrap();
        let begun_us = yesterday_s * 1_000_000;
        *start = SegmentHeader { begun_us, ..SegmentHeader::read(start).unwrap() }.write();
        std::fs::write(&path, bytes).unwrap();

        let Opened { journal, running, .. } = opened(&settings);
        let mut one = helper(&journal);
        for at_s in [1, 2] {
            one.probe(after(&journal, at_s, 0));
            assert_eq!(bill(&journal, 1, end_s), Some(false));
            assert_eq!(bill(&journal, u128::from(at_s) * 10, end_s), Some(true));
        }
        // until it has stayed so for longer than a token lives
        one.probe(after(&journal, 48 * HOUR_S, 0));
        assert_eq!(bill(&journal, 3, end_s), None);
        running.close();
    }

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
            ends_s: ordinal,
            is_damaged: ordinal == 2,
        };
        Table { segments: (1..=5).map(segment).collect(), next: 60 }
    }

    /// Each was begun at the second of its number.
    fn begun_before(now_s: u64) -> impl Fn(u64) -> Duration {
        move |ordinal| Duration::from_secs(now_s.saturating_sub(ordinal))
    }

    #[test]
    fn a_segment_goes_when_it_is_passed_and_old_and_not_damaged() {
        let settings = Settings { keep_for: Duration::from_secs(10), ..Settings::new("unused") };
        let gone = |least, now_s, keep_bytes| -> Vec<u64> {
            let settings = Settings { keep_bytes, ..settings.clone() };
            let most = settings.disk_bytes_max;
            let bounds = (least, most, now_s);
            let done = done_with(&table(), &settings, bounds, begun_before(now_s));
            done.into_iter().map(|segment| segment.ordinal).collect()
        };
        assert_eq!(gone(u64::MAX, 1_000, 0), [1, 3, 4]);
        assert_eq!(gone(40, 1_000, 0), [1, 3]);
        assert_eq!(gone(39, 1_000, 0), [1]);
        assert_eq!(gone(u64::MAX, 14, 0), [1, 3]);
        assert_eq!(gone(u64::MAX, 11, 0), [0; 0]);
        assert_eq!(gone(u64::MAX, 1_000, 400), [1]);
        assert_eq!(gone(0, 1_000, 0), [0; 0]);
        // the token of an event in the third and later ones lives; by a clock that was wrong: for ever
        for (ends_s, expected) in [(1_003, &[1][..]), (u64::MAX, &[1, 3, 4])] {
            let mut table = table();
            for segment in table.segments.iter_mut().filter(|one| one.ordinal > 2) {
                segment.ends_s = ends_s;
            }
            let bounds = (u64::MAX, settings.disk_bytes_max, 1_002);
            let done = done_with(&table, &settings, bounds, begun_before(1_002));
            let done: Vec<u64> = done.into_iter().map(|segment| segment.ordinal).collect();
            assert_eq!(done, expected, "{ends_s}");
        }
    }

    #[test]
    fn where_the_journal_gives_way_young_segments_go_before_the_disk_is_full() {
        let gone = |disk_bytes_max, gives_way, least| -> Vec<u64> {
            let settings = Settings { segment_bytes: 100, gives_way, ..Settings::new("unused") };
            let bounds = (least, disk_bytes_max, 10);
            let done = done_with(&table(), &settings, bounds, begun_before(10));
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
