//! From settings to open databases: at the start, and again while they serve.
//!
//! Owns: [`Databases::open`], [`Databases::renew`]. Never: a swap, a wait between two looks.
//! Invariant: a source that cannot be taken stays as it was, and costs its reading once, not at
//! every look.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::accept::Examination;
use super::place::{Place, Print};
use super::{
    Body, DatabaseError, DatabaseInfo, DatabaseSettings, Databases, Memory, RenewCheck, Renewal,
    Role, Seen, Source, SourceResult, Taken, Verdict, accept, agents,
};
use crate::enrich::device::DeviceDatabase;
use crate::enrich::geo::Content;
use crate::enrich::models::Models;
use crate::lifecycle::spare::{self, GivenUp};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often files that move while they are read are read again before that is a fault.
const READS_MAX: usize = 3;

/// The clock of files ticks every 1 to 10 ms, that of a file server may be coarser: a file that
/// was written to within this time may change again and look the same.
const TICK: Duration = Duration::from_secs(2);

/// A source as it is on disk now.
struct Look {
    /// In the order of [`Source::infos`].
    places: Vec<(PathBuf, Place, Print)>,
    print: Print,
}

/// A source's bytes: what they are, before anybody knows what they mean.
type Raws = Vec<(PathBuf, super::place::Raw)>;

// === impl Databases ===

impl Databases {
    /// Opens all that is set; every fault is told, not only the first.
    pub fn open(settings: &DatabaseSettings) -> Result<Self, Vec<DatabaseError>> {
        Self::open_by_key(settings)
            .map_err(|faults| faults.into_iter().map(|(_, fault)| fault).collect())
    }

    /// As [`Databases::open`], each fault with the setting that names the file.
    pub fn open_by_key(
        settings: &DatabaseSettings,
    ) -> Result<Self, Vec<(&'static str, DatabaseError)>> {
        let (databases, faults) = Self::open_what_can_be(settings);
        if faults.is_empty() { Ok(databases) } else { Err(faults) }
    }

    /// What can be opened of all that is set, and what cannot, with the setting that names it.
    pub fn open_what_can_be(
        settings: &DatabaseSettings,
    ) -> (Self, Vec<(&'static str, DatabaseError)>) {
        let mut faults = Vec::new();
        let sources = Role::ALL.map(|role| match role.first(settings) {
            Ok(source) => source.map(Arc::new),
            Err(some) => {
                faults.extend(some.into_iter().map(|fault| (role.key(), fault)));
                None
            }
        });
        (Self::of(sources, Arc::default()), faults)
    }

    /// Whether each file that is set is open; an older state of it is, too.
    pub fn has_all(&self, settings: &DatabaseSettings) -> bool {
        Role::ALL.into_iter().all(|role| {
            let live = self.sources.get(role as usize).and_then(Option::as_ref);
            let open = live.map(|live| live.infos.as_slice()).unwrap_or_default();
            let open = open.iter().map(|info| info.path.as_path());
            open.eq(role.paths(settings))
        })
    }

    /// One address database of any kind, decompressed and examined as a renewal does it.
    pub fn examine(path: &Path, bytes_max: u64) -> Result<(Content, DatabaseInfo), DatabaseError> {
        let settings =
            DatabaseSettings { address_bytes_max: bytes_max, ..DatabaseSettings::default() };
        let raw = Role::City.read(path, &settings)?;
        let mut info = Role::City.info(path, &raw);
        let content = raw.unpacked(path, bytes_max, &GivenUp::default())?;
        let role = accept::role(content.as_ref(), path)?;
        info.role = role.name();
        let (_, info) = accept::open(content.clone(), info, role, Examination::Here)?;
        Ok((content, info))
    }

    /// Opens anew each source whose files changed; a source that cannot be taken stays as it was.
    /// Reads the disk and may compute for seconds: not for a worker's thread.
    pub fn renew(&self, settings: &DatabaseSettings, check: &RenewCheck) -> Renewal {
        let mut results = Vec::new();
        let mut is_changed = false;
        let sources = Role::ALL.map(|role| {
            let live = self.sources.get(role as usize).and_then(Option::as_ref);
            let Some(path) = role.path(settings) else {
                is_changed |= live.is_some();
                return None;
            };
            let work = Work { role, settings, check, live, memory: &self.memory };
            let (result, kept) = match work.renewed() {
                Ok((taken, source)) => {
                    is_changed |= source.is_some();
                    (Ok(taken), source.map(Arc::new).or_else(|| live.map(Arc::clone)))
                }
                Err(fault) => (Err(fault), live.map(Arc::clone)),
            };
            let is_news = work.is_news(&result);
            let path = path.to_owned();
            results.push(SourceResult { role: role.name(), path, result, is_news });
            kept
        });
        let databases = is_changed.then(|| Arc::new(Self::of(sources, Arc::clone(&self.memory))));
        Renewal { databases, results }
    }
}

/// The renewal of one source.
struct Work<'a> {
    role: Role,
    settings: &'a DatabaseSettings,
    check: &'a RenewCheck,
    live: Option<&'a Arc<Source>>,
    memory: &'a Mutex<Memory>,
}

// === impl Work ===

impl Work<'_> {
    /// `None` beside the result: the one in use stays.
    fn renewed(&self) -> Result<(Taken, Option<Source>), Arc<DatabaseError>> {
        let mut reads = 1;
        loop {
            match self.try_renewed() {
                Err(fault)
                    if reads < READS_MAX && matches!(*fault, DatabaseError::Changing { .. }) =>
                {
                    reads = reads.saturating_add(1);
                }
                result => return result,
            }
        }
    }

    fn try_renewed(&self) -> Result<(Taken, Option<Source>), Arc<DatabaseError>> {
        let look = Arc::new(self.role.look(self.settings)?);
        let live = self.live.map(|live| live.content()).unwrap_or_default();
        match self.remembered(&look.print) {
            Some(Verdict::Refused(fault)) if !self.is_due(&fault) => return Err(fault),
            Some(Verdict::Content(content)) if content == live => {
                return Ok((Taken::Unchanged, self.moved(&look)));
            }
            _ => {}
        }
        if look.print.is_settling(self.check.wall, self.check.settle) {
            return Ok((Taken::Settling, None));
        }
        let taken = self.taken(&look, &live).map_err(Arc::new);
        match &taken {
            Ok((_, Some(source))) => self.remember(&look.print, Verdict::Content(source.content())),
            Ok((_, None)) => self.remember(&look.print, Verdict::Content(live)),
            // read or written meanwhile: there is nothing to remember of such files
            Err(fault)
                if matches!(
                    **fault,
                    DatabaseError::Changing { .. } | DatabaseError::Read { .. }
                ) => {}
            Err(fault) => self.remember(&look.print, Verdict::Refused(Arc::clone(fault))),
        }
        taken
    }

    fn taken(
        &self,
        look: &Arc<Look>,
        live: &[String],
    ) -> Result<(Taken, Option<Source>), DatabaseError> {
        let spare = self.check.spare.as_deref();
        let (read, bytes_max) = (Arc::clone(look), self.role.bytes_max(self.settings));
        let raws = spare::run(spare, move |given_up| read.read(bytes_max, given_up))?;
        if raws.iter().map(|(_, raw)| &raw.sha256).eq(live) {
            return Ok((Taken::Unchanged, self.moved(look)));
        }
        let examination = spare.map_or(Examination::Here, Examination::By);
        let source = self.role.opened(raws, self.settings, examination)?;
        let path = self.role.path(self.settings).unwrap_or(Path::new(""));
        let live = self.live.map(Arc::as_ref);
        if let Some(new) = source.infos.first() {
            let in_use = live.and_then(|live| live.infos.first());
            accept::age(new, in_use, self.settings, self.check.wall)?;
        }
        match (live.map(|live| &live.body), &source.body) {
            (Some(Body::Address(live)), Body::Address(new)) => {
                accept::canaries(live, new, self.role, (path, self.settings.canary_percent))?;
            }
            (Some(Body::Device(live)), Body::Device(new)) => agents::canaries(live, new, path)?,
            _ => {}
        }
        Ok((Taken::Ok, Some(source)))
    }

    /// The one in use under other names, where the same content lies elsewhere now.
    fn moved(&self, look: &Look) -> Option<Source> {
        let live = self.live?;
        let paths = || look.places.iter().map(|(path, ..)| path);
        if live.infos.iter().map(|info| &info.path).eq(paths()) {
            return None;
        }
        let infos = live.infos.iter().zip(paths());
        let infos = infos.map(|(info, path)| DatabaseInfo { path: path.clone(), ..info.clone() });
        Some(Source { infos: infos.collect(), body: live.body.clone() })
    }

    /// A refusal that time alone may lift.
    fn is_due(&self, fault: &DatabaseError) -> bool {
        match fault {
            DatabaseError::Future { built, .. } => !accept::is_ahead(*built, self.check.wall),
            _ => false,
        }
    }

    fn remembered(&self, print: &Print) -> Option<Verdict> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = memory.seen.get(&self.role)?;
        (seen.print == *print && seen.settings == *self.settings).then(|| seen.verdict.clone())
    }

    fn remember(&self, print: &Print, verdict: Verdict) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if print.is_fresh(self.check.wall, TICK) {
            memory.seen.remove(&self.role);
        } else {
            let (settings, print) = (self.settings.clone(), print.clone());
            memory.seen.insert(self.role, Seen { settings, print, verdict });
        }
    }

    /// Whether a result is worth a line.
    fn is_news(&self, result: &Result<Taken, Arc<DatabaseError>>) -> bool {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(taken) => {
                let was_refused = memory.refusals.remove(&self.role).is_some();
                was_refused || *taken == Taken::Ok
            }
            Err(fault) => {
                let is_seen = |seen: &Seen| matches!(&seen.verdict, Verdict::Refused(own) if Arc::ptr_eq(own, fault));
                let is_kept = memory.seen.get(&self.role).is_some_and(is_seen);
                let before = memory.refusals.insert(self.role, Arc::clone(fault));
                // a fault that is not kept is made anew at each look: it is told by its words
                !before.is_some_and(|before| {
                    Arc::ptr_eq(&before, fault)
                        || (!is_kept && format!("{before:?}") == format!("{fault:?}"))
                })
            }
        }
    }
}

// === impl Role ===

impl Role {
    /// The setting's value; of the device database the regexes, without which there is none.
    fn path(self, settings: &DatabaseSettings) -> Option<&Path> {
        match self {
            Self::City => settings.city.as_deref(),
            Self::Country => settings.country.as_deref(),
            Self::Isp => settings.isp.as_deref(),
            Self::Asn => settings.asn.as_deref(),
            Self::ConnectionType => settings.connection_type.as_deref(),
            Self::Anonymous => settings.anonymous.as_deref(),
            Self::Device => {
                settings.device_regexes.as_deref().or(settings.device_models.as_deref())
            }
        }
    }

    fn bytes_max(self, settings: &DatabaseSettings) -> u64 {
        match self {
            Self::Device => settings.device_bytes_max,
            _ => settings.address_bytes_max,
        }
    }

    /// Its files.
    fn paths(self, settings: &DatabaseSettings) -> Vec<&Path> {
        match self {
            Self::Device => [&settings.device_models, &settings.device_regexes]
                .into_iter()
                .filter_map(|path| path.as_deref())
                .collect(),
            _ => self.path(settings).into_iter().collect(),
        }
    }

    /// At the start: each file of a source is looked at, so that all faults are told.
    fn first(self, settings: &DatabaseSettings) -> Result<Option<Source>, Vec<DatabaseError>> {
        let mut raws = Vec::new();
        let mut faults = Vec::new();
        let paths = self.paths(settings);
        for path in &paths {
            match self.read(path, settings) {
                Ok(raw) => raws.push(((*path).to_owned(), raw)),
                Err(fault) => faults.push(fault),
            }
        }
        if paths.is_empty() {
            return Ok(None);
        }
        if self == Self::Device {
            return first_device(&raws, settings, faults).map(Some);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let examination = if settings.is_verified { Examination::Here } else { Examination::No };
        self.opened(raws, settings, examination).map(Some).map_err(|fault| vec![fault])
    }

    fn read(
        self,
        path: &Path,
        settings: &DatabaseSettings,
    ) -> Result<super::place::Raw, DatabaseError> {
        let mut reads = 1;
        loop {
            let place = Place::find(path, self != Self::Device)?;
            let print = place.print()?;
            match place.read(&print, self.bytes_max(settings), &GivenUp::default()) {
                Err(DatabaseError::Changing { .. }) if reads < READS_MAX => {
                    reads = reads.saturating_add(1);
                }
                result => return result,
            }
        }
    }

    fn look(self, settings: &DatabaseSettings) -> Result<Look, DatabaseError> {
        let mut look = Look { places: Vec::new(), print: Print::default() };
        if self == Self::Device && settings.device_regexes.is_none() {
            return Err(DatabaseError::ModelsAlone);
        }
        for path in self.paths(settings) {
            let place = Place::find(path, self != Self::Device)?;
            let print = place.print()?;
            look.print = look.print.and(print.clone());
            look.places.push((path.to_owned(), place, print));
        }
        Ok(look)
    }

    /// What is known before a database is open.
    fn info(self, path: &Path, raw: &super::place::Raw) -> DatabaseInfo {
        DatabaseInfo {
            role: self.name(),
            path: path.to_owned(),
            kind: String::new(),
            generation: raw.generation,
            build_epoch: None,
            entries: 0,
            bytes: raw.bytes,
            sha256: raw.sha256.clone(),
        }
    }

    /// From bytes to something that can be asked.
    fn opened(
        self,
        raws: Raws,
        settings: &DatabaseSettings,
        examination: Examination<'_>,
    ) -> Result<Source, DatabaseError> {
        let spare = match examination {
            Examination::By(spare) => Some(spare),
            Examination::Here | Examination::No => None,
        };
        if self == Self::Device {
            let settings = settings.clone();
            return spare::run(spare, move |_| first_device(&raws, &settings, Vec::new()))
                .map_err(|faults| faults.into_iter().next().unwrap_or(DatabaseError::ModelsAlone));
        }
        let Some((path, raw)) = raws.into_iter().next() else {
            let fault = std::io::ErrorKind::NotFound.into();
            return Err(DatabaseError::Read { path: PathBuf::new(), source: fault });
        };
        let info = self.info(&path, &raw);
        let bytes_max = settings.address_bytes_max;
        // compressed bytes are let go of before what was in them is examined, but by a job given up
        let content = if raw.is_compressed {
            spare::run(spare, move |given_up| raw.unpacked(&path, bytes_max, given_up))?
        } else {
            raw.content
        };
        let (reader, info) = accept::open(content, info, self, examination)?;
        Ok(Source { infos: vec![info], body: Body::Address(Arc::new(reader)) })
    }
}

/// The regexes with their table, from what could be read of them.
fn first_device(
    raws: &Raws,
    settings: &DatabaseSettings,
    mut faults: Vec<DatabaseError>,
) -> Result<Source, Vec<DatabaseError>> {
    let of = |path: &Option<PathBuf>| {
        let path = path.as_ref()?;
        raws.iter().find(|(own, _)| own == path).map(|(path, raw)| (raw, path.as_path()))
    };
    if settings.device_regexes.is_none() {
        faults.push(DatabaseError::ModelsAlone);
    }
    let mut infos = Vec::new();
    let mut table = Models::default();
    match of(&settings.device_models).map(|(raw, path)| agents::models(raw, path)) {
        Some(Ok((models, info))) => {
            table = models;
            infos.push(info);
        }
        Some(Err(fault)) => faults.push(fault),
        None => {}
    }
    match of(&settings.device_regexes).map(|(raw, path)| agents::regexes(raw, path)) {
        Some(Ok((extractor, info))) if faults.is_empty() => {
            infos.push(info);
            let database = DeviceDatabase::new(extractor, table);
            return Ok(Source { infos, body: Body::Device(Arc::new(database)) });
        }
        Some(Err(fault)) => faults.push(fault),
        _ => {}
    }
    Err(faults)
}

// === impl Look ===

impl Look {
    fn read(&self, bytes_max: u64, given_up: &GivenUp) -> Result<Raws, DatabaseError> {
        let mut raws = Vec::new();
        for (path, place, print) in &self.places {
            raws.push((path.clone(), place.read(print, bytes_max, given_up)?));
        }
        Ok(raws)
    }
}
