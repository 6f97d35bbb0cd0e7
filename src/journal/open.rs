//! Brings a journal back, and starts it.
//!
//! Owns: [`recover`], [`open`], the report of both. Never: a record's meaning. Invariant: only what
//! was never acknowledged is cut; damage is renamed, reported and kept; whatever step is interrupted,
//! the next start does it again.

use super::age::Ages;
use super::balance::Book;
use super::cursor::{self, Cursor, Cursors};
use super::dedupe::Dedupe;
use super::disk::lane::Patient;
use super::disk::{Disk, real};
use super::frame::{Class, HEADER_BYTES};
use super::handle::{Journal, Parts};
use super::maker::Maker;
use super::published::{Published, Segment, Table};
use super::queue::Queue;
use super::store::Store;
use super::survey::{Survey, Surveyed, begun, path_of, survey};
use super::walk::{End, Piece, Record};
use super::{Dirs, JournalFault, Settings, helper, pair, writer};
use crate::clock::{self, Anchor};
use crate::money_event::EventId;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Which event a record is, and until when (seconds since the epoch) a repeat of it is a duplicate;
/// `None` for records that do not repeat. See [`crate::money_event::codec::identify`].
pub type Identify = fn(kind: u8, payload: &[u8]) -> Option<(EventId, u64)>;

/// What was found at the start.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Segments with records, and good records (the journal's own are not counted).
    pub segments: usize,
    pub records: u64,
    pub bytes: u64,
    /// Sequence of the next record.
    pub next: u64,
    /// Segments in which something is lost, and the records that are.
    pub damaged: usize,
    pub lost: u64,
    /// Bytes of an unfinished commit that were cut from the end.
    pub cut: Option<(u64, u64)>,
    /// Cursors that could not be read: their sinks begin anew.
    pub lost_cursors: Vec<String>,
    /// Cursors of sinks that the settings do not name: they hold nothing back.
    pub unknown_cursors: Vec<String>,
    pub took: Duration,
}

/// A journal's folder, in order, and what stands in it.
#[derive(Debug)]
pub struct Recovered {
    pub table: Table,
    pub next_ordinal: u64,
    /// Of the sinks that the settings name, and how many durable records each has before it.
    pub cursors: BTreeMap<String, Cursor>,
    pub pending: Vec<u64>,
    pub report: Report,
    /// Keeps other processes away.
    pub lock: Vec<Box<dyn Debug + Send>>,
}

/// Brings the folders in order; `visit` gets each record that is there, and its segment's number.
pub fn recover(
    disk: &dyn Disk,
    settings: &Settings,
    visit: &mut dyn FnMut(u64, &Record<'_>),
) -> Result<Recovered, JournalFault> {
    settings.check()?;
    let dirs = settings.dirs();
    let mut lock = Vec::new();
    for place in dirs.places() {
        let dir = dirs.of(*place);
        disk.make_dir(dir).map_err(JournalFault::disk("make", dir))?;
        lock.push(disk.lock(dir).map_err(|cause| match cause.kind() {
            io::ErrorKind::WouldBlock => JournalFault::Locked(dir.join(real::LOCK)),
            _ => JournalFault::disk("lock", dir)(cause),
        })?);
    }
    pair::tie(disk, &dirs)?;
    let known = cursor::load_all(disk, &dirs.main)?;
    let proven = known.values().flatten().map(|cursor| cursor.next).max().unwrap_or(0);
    let mut records = 0;
    let mut report = Report::default();
    let cursors = sort_cursors(settings, known, &mut report);
    let mut pending: Vec<(&Cursor, u64)> = cursors.values().map(|cursor| (cursor, 0)).collect();
    let mut count = |ordinal: u64, piece: &Piece<'_>| {
        let Piece::Record(record) = piece else { return };
        records += 1;
        if record.tag.class == Class::Durable {
            for (cursor, pending) in &mut pending {
                *pending += u64::from(record.sequence >= cursor.next);
            }
        }
        visit(ordinal, record);
    };
    let survey = survey(disk, &dirs, proven, &mut count)?;
    let pending = pending.into_iter().map(|(_, pending)| pending).collect();
    report.records = records;
    let segments = settle(disk, &dirs, &survey, &mut report)?;
    report.segments = segments.len();
    report.bytes = segments.iter().map(|segment| segment.bytes).sum();
    let table = Table { segments, next: survey.next.max(proven) };
    report.next = table.next;
    Ok(Recovered { table, next_ordinal: survey.next_ordinal, cursors, pending, report, lock })
}

/// Makes files what the survey says they are.
fn settle(
    disk: &dyn Disk,
    dirs: &Dirs,
    survey: &Survey,
    report: &mut Report,
) -> Result<Vec<Segment>, JournalFault> {
    let mut kept = Vec::new();
    for path in &survey.unfinished {
        disk.remove(path).map_err(JournalFault::disk("remove", path))?;
    }
    for found in &survey.segments {
        report.lost += found.lost;
        report.damaged += usize::from(found.hole_count > 0);
        let path = &found.file.path;
        if found.next == found.first {
            if let End::Torn(_) = found.end {
                report.cut = Some((found.first, found.file.bytes));
            }
            disk.remove(path).map_err(JournalFault::disk("remove", path))?;
            continue;
        }
        let mut file_bytes = found.file.bytes;
        if !found.has_limit {
            if let End::Torn(_) = found.end {
                report.cut = Some((found.next, file_bytes.saturating_sub(found.end_offset)));
            }
            file_bytes = found.end_offset.min(file_bytes);
            anchor(disk, found, file_bytes)?;
        }
        let is_damaged = found.is_damaged() || found.file.is_named_damaged;
        if is_damaged && !found.file.is_named_damaged {
            let to = path_of(dirs, found.file.place, found.file.ordinal, true);
            disk.rename(path, &to).map_err(JournalFault::disk("rename", path))?;
        }
        kept.push(Segment {
            place: found.file.place,
            ordinal: found.file.ordinal,
            first: found.first,
            next: found.next,
            bytes: found.end_offset.min(found.file.bytes),
            file_bytes,
            offset: found.offset,
            begun_us: found.header.map_or(0, |header| header.begun_us),
            ends_s: 0,
            is_damaged,
        });
    }
    for place in dirs.places() {
        let dir = dirs.of(*place);
        disk.sync_dir(dir).map_err(JournalFault::disk("sync", dir))?;
    }
    Ok(kept)
}

/// Makes the last commit durable, and cuts what stands behind it. The bytes are written again: what
/// was read may be in memory only, and after a failed `fsync` of the process before, another one
/// would say `Ok` without having written them.
fn anchor(disk: &dyn Disk, found: &Surveyed, end: u64) -> Result<(), JournalFault> {
    let path = &found.file.path;
    let begin = found.commit_offset.min(end);
    let again = || -> io::Result<()> {
        let mut file = disk.open(path)?;
        let mut header = vec![0; HEADER_BYTES.min(usize::try_from(end).unwrap_or(HEADER_BYTES))];
        file.read_at(0, &mut header)?;
        let mut commit = vec![0; usize::try_from(end - begin).unwrap_or(0)];
        file.read_at(begin, &mut commit)?;
        file.write_at(0, &header)?;
        file.write_at(begin, &commit)?;
        file.set_length(end)?;
        file.sync()
    };
    again().map_err(JournalFault::disk("make durable", path))
}

/// The cursor of each sink that the settings name; a new sink begins with what there is.
fn sort_cursors(
    settings: &Settings,
    known: BTreeMap<String, Option<Cursor>>,
    report: &mut Report,
) -> BTreeMap<String, Cursor> {
    let mut cursors: BTreeMap<String, Cursor> =
        settings.sinks.iter().map(|name| (name.clone(), Cursor::default())).collect();
    for (name, cursor) in known {
        match (cursors.get_mut(&name), cursor) {
            (None, _) => report.unknown_cursors.push(name),
            (Some(_), None) => report.lost_cursors.push(name),
            (Some(slot), Some(cursor)) => *slot = cursor,
        }
    }
    cursors
}

/// An open journal.
#[derive(Debug)]
pub struct Opened {
    pub journal: Journal,
    pub report: Report,
    /// Keeps its threads; closing it ends them in order.
    pub running: Running,
}

/// The threads of a journal.
#[derive(Debug)]
pub struct Running {
    journal: Journal,
    threads: Vec<std::thread::JoinHandle<()>>,
    lock: Vec<Box<dyn Debug + Send>>,
}

impl Running {
    /// Writes what waits, refuses what comes, and ends; dropping does the same.
    pub fn close(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.journal.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal has panicked");
            }
        }
        if !self.lock.is_empty() {
            let parts = self.journal.parts();
            let table = parts.published.table();
            pair::untie_empty(&*parts.disk, &parts.settings.dirs(), &table);
        }
        self.lock.clear();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Recovers a journal and starts it.
pub fn open(
    settings: Settings,
    disk: Arc<dyn Disk>,
    identify: Identify,
) -> Result<Opened, JournalFault> {
    let start = Anchor::now();
    let dedupe = Dedupe::new(settings.ids_max, settings.id_step);
    // a clock that is wrong at a start has nothing forgotten
    let newest = newest(&*disk, &settings.dirs(), start)?;
    let mut ends = BTreeMap::<u64, u64>::new();
    let mut recovered = recover(&*disk, &settings, &mut |ordinal, record| {
        if record.tag.class == Class::Durable
            && let Some((id, expires_s)) = identify(record.tag.kind, record.payload)
        {
            dedupe.remember(id, expires_s, newest.as_secs());
            let end = ends.entry(ordinal).or_default();
            *end = expires_s.max(*end);
        }
    })?;
    for segment in &mut recovered.table.segments {
        segment.ends_s = ends.get(&segment.ordinal).copied().unwrap_or(0);
    }
    let mut report = recovered.report;
    report.took = clock::monotonic().saturating_duration_since(start.monotonic());
    dedupe.close_before(newest.as_secs());
    let ages = Ages::new(&recovered.table, settings.keep_for, start.monotonic());
    let balance = Book::new(recovered.cursors.keys().cloned().zip(recovered.pending));
    let settings = Arc::new(settings);
    let published = Arc::new(Published::new(recovered.table, recovered.next_ordinal));
    for _ in 0..report.damaged {
        published.met_hole(0);
    }
    published.met_hole(report.lost);
    let maker = Maker {
        disk: Arc::clone(&disk),
        settings: Arc::clone(&settings),
        dirs: Arc::new(settings.dirs()),
        published: Arc::clone(&published),
    };
    let patient = Arc::new(Patient::new(Arc::clone(&disk), settings.stuck_after));
    let store = Store::new(maker.clone(), patient);
    let queue = Arc::new(Queue::new(&settings));
    let parts = Parts {
        settings,
        disk,
        published,
        queue,
        dedupe: Arc::new(dedupe),
        balance: Arc::new(balance),
        cursors: Arc::new(Cursors::new(recovered.cursors)),
        chores: Arc::default(),
        start,
        newest,
    };
    let journal = Journal::new(parts);
    let threads = vec![
        writer::start(journal.clone(), store).map_err(JournalFault::Thread)?,
        helper::start(journal.clone(), maker, ages).map_err(JournalFault::Thread)?,
    ];
    log(&report);
    let running = Running { journal: journal.clone(), threads, lock: recovered.lock };
    Ok(Opened { journal, report, running })
}

/// When the newest segment was begun; one that says later than now was begun by a wrong clock.
fn newest(disk: &dyn Disk, dirs: &Dirs, now: Anchor) -> Result<Duration, JournalFault> {
    for place in dirs.places() {
        let dir = dirs.of(*place);
        disk.make_dir(dir).map_err(JournalFault::disk("make", dir))?;
    }
    let begun = begun(disk, dirs)?.into_iter().map(Duration::from_micros);
    Ok(begun.filter(|begun| *begun <= now.wall()).max().unwrap_or_default())
}

fn log(report: &Report) {
    let took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX);
    let Report { segments, records, bytes, next, .. } = *report;
    tracing::info!(segments, records, bytes, next, took_ms, "journal open");
    if let Some((sequence, bytes)) = report.cut {
        tracing::warn!(sequence, bytes, "journal: cut an unfinished commit, never acknowledged");
    }
    if report.lost > 0 {
        let (damaged, lost) = (report.damaged, report.lost);
        tracing::error!(damaged, lost, "journal: records are lost; see gavel journal verify");
    }
    for name in &report.lost_cursors {
        tracing::error!(sink = %name, "journal: the cursor is damaged, the sink begins anew");
    }
    for name in &report.unknown_cursors {
        tracing::warn!(sink = %name, "journal: a cursor of no sink in the settings");
    }
}
