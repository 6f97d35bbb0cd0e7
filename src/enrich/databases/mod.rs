//! Opening database files, and opening them anew while they serve.
//!
//! Owns: the vocabulary: [`Databases`], [`DatabaseSettings`], [`DatabaseError`], [`Renewal`], what
//! `gavel debug` tells of them. Never: a watch, a swap. Files are read into memory whole (a map of
//! a file that is rewritten in place would kill the process), under a size limit.
//!
//! Invariant: a [`Databases`] that exists opened all that was asked for, and never changes; a
//! renewal makes another one, which shares with it what did not change.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod accept;
mod agents;
pub mod manifest;
mod open;
mod place;
mod structure;

use super::device::DeviceDatabase;
use super::geo::{AddressReader, GeoDatabases};
use super::models::ModelsError;
use crate::lifecycle::spare::Spare;
use maxminddb::MaxMindDbError;
use serde::Serialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Which files, and how much of them.
///
/// An address database is a file `.mmdb` or `.mmdb.zst`, or a set of parts: a folder with a
/// `manifest.json`, or the path of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// MaxMind DB with cities (type `...City...` or `...Enterprise...`).
    pub city: Option<PathBuf>,
    /// MaxMind DB with countries; its country counts where `city` has none.
    pub country: Option<PathBuf>,
    /// MaxMind DB with providers.
    pub isp: Option<PathBuf>,
    /// MaxMind DB with autonomous systems; counts where `isp` is silent.
    pub asn: Option<PathBuf>,
    /// MaxMind DB with connection types.
    pub connection_type: Option<PathBuf>,
    /// MaxMind DB with anonymisers and hosting providers.
    pub anonymous: Option<PathBuf>,
    /// Regexes in the format of uap-core (YAML).
    pub device_regexes: Option<PathBuf>,
    /// Models and rules beside the regexes (TOML).
    pub device_models: Option<PathBuf>,
    /// Bytes of one address database, decompressed. 1 MiB to 4 GiB.
    pub address_bytes_max: u64,
    /// Bytes of the regexes and of the table of models, each. 64 KiB to 64 MiB.
    pub device_bytes_max: u64,
    /// Check the whole structure of each address database when the process starts (0.9 s for
    /// 60 MB). A renewal always does.
    pub is_verified: bool,
    /// Let a renewal go back to an address database that was built before the one in use.
    pub allow_older: bool,
    /// Of 100 addresses that the address database in use knows, how many must be in the same
    /// country by a new one (where it tells no countries: must still be known). 0 to 100.
    pub canary_percent: u8,
}

/// All databases of one generation.
#[derive(Debug, Default)]
pub struct Databases {
    pub geo: GeoDatabases,
    pub device: Option<Arc<DeviceDatabase>>,
    /// By [`Role`].
    sources: [Option<Arc<Source>>; Role::ALL.len()],
    infos: Vec<DatabaseInfo>,
    /// By content: equal for equal files, so that a reload that changes none keeps caches warm.
    geo_identity: u64,
    device_identity: u64,
    /// Handed on from generation to generation.
    memory: Arc<Mutex<Memory>>,
}

/// What an operator asks about a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseInfo {
    /// The setting that names it.
    pub role: &'static str,
    pub path: PathBuf,
    /// `database_type` of an address database, else the format.
    pub kind: String,
    /// Of the manifest, where the source is a set of parts.
    pub generation: Option<u64>,
    /// Seconds since the Unix epoch; `None` where the format does not tell.
    pub build_epoch: Option<u64>,
    /// Nodes of the search tree, or regexes, or models.
    pub entries: u64,
    /// Of the file as it lies on disk, or of the parts together.
    pub bytes: u64,
    /// SHA-256 of the same, in hex.
    pub sha256: String,
}

/// A thing that is opened, kept and refused as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    City,
    Country,
    Isp,
    Asn,
    ConnectionType,
    Anonymous,
    /// The regexes with the table of models.
    Device,
}

/// One of [`Role`], open.
#[derive(Debug)]
struct Source {
    /// One for each file.
    infos: Vec<DatabaseInfo>,
    body: Body,
}

/// What a source is asked through.
#[derive(Clone)]
enum Body {
    Address(Arc<AddressReader>),
    Device(Arc<DeviceDatabase>),
}

/// What was found on disk and need not be read again.
#[derive(Debug, Default)]
struct Memory {
    seen: BTreeMap<Role, Seen>,
    /// Each source's last refusal, so that it is news once.
    refusals: BTreeMap<Role, Arc<DatabaseError>>,
}

/// The last look at a source.
#[derive(Debug)]
struct Seen {
    settings: DatabaseSettings,
    print: place::Print,
    verdict: Verdict,
}

/// What a look found.
#[derive(Clone, Debug)]
enum Verdict {
    /// Files of this content, by their SHA-256; whether it is taken is another question.
    Content(Vec<String>),
    Refused(Arc<DatabaseError>),
}

// === renewals ===

/// What a renewal goes by, beside the settings.
#[derive(Clone, Debug, Default)]
pub struct RenewCheck {
    /// Since the Unix epoch.
    pub wall: Duration,
    /// A file without a checksum that was written to less than this ago may be half-written and
    /// waits. Zero where the caller knows that files are swapped whole.
    pub settle: Duration,
    /// Does what takes long; `None`: the caller's thread does.
    pub spare: Option<Arc<Spare>>,
}

/// What came of [`Databases::renew`].
#[derive(Debug)]
pub struct Renewal {
    /// `None`: nothing changed.
    pub databases: Option<Arc<Databases>>,
    /// One for each source that is set.
    pub results: Vec<SourceResult>,
}

/// What came of one source.
#[derive(Clone, Debug)]
pub struct SourceResult {
    /// The setting that names it; `device` for regexes and models together.
    pub role: &'static str,
    pub path: PathBuf,
    pub result: Result<Taken, Arc<DatabaseError>>,
    /// Whether this is worth a line: not a refusal that was told before.
    pub is_news: bool,
}

/// A source without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A new one.
    Ok,
    Unchanged,
    /// Something was written a moment ago: ask again after [`RenewCheck::settle`].
    Settling,
}

/// Results of renewals, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewLabel {
    Ok,
    Unchanged,
    /// Absent, no permission, no plain file, an error of the disk.
    Unreadable,
    TooLarge,
    /// Not what the checksum beside it says.
    Checksum,
    /// Parts of two sets, or files that change while they are read.
    Inconsistent,
    /// Read well, and not what it should be.
    Invalid,
    /// Valid, and at odds with what is in use.
    Canary,
    Older,
}

/// A database that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is {kind}, not a file", path.display())]
    NotFile { path: PathBuf, kind: &'static str },
    #[error("{} has more than {bytes_max} bytes", path.display())]
    TooLarge { path: PathBuf, bytes_max: u64 },
    #[error("{} changes while it is read", path.display())]
    Changing { path: PathBuf },
    #[error("{} has the sha256 {found}, not {expected}", path.display())]
    Checksum { path: PathBuf, found: String, expected: String },
    #[error("{} holds no sha256", path.display())]
    ChecksumFile { path: PathBuf },
    #[error("{} is no manifest: {reason}", path.display())]
    Manifest { path: PathBuf, reason: String },
    #[error("{} does not fit its manifest: {reason}", path.display())]
    Part { path: PathBuf, reason: String },
    #[error("{} cannot be decompressed", path.display())]
    Compression { path: PathBuf, source: io::Error },
    #[error("{} is no MaxMind database", path.display())]
    Format { path: PathBuf, source: MaxMindDbError },
    #[error("{} is of type `{found}`, not `{expected}`", path.display())]
    Type { path: PathBuf, found: String, expected: &'static str },
    #[error("{} is damaged", path.display())]
    Damaged { path: PathBuf, source: MaxMindDbError },
    #[error("{} is damaged at byte {at} of its data: {reason}", path.display())]
    Structure { path: PathBuf, at: usize, reason: &'static str },
    #[error("{} answers nothing that is asked of it: {known} of {asked} records", path.display())]
    Empty { path: PathBuf, known: usize, asked: usize },
    #[error("{} was built at {built}, before the one in use ({in_use})", path.display())]
    Older { path: PathBuf, built: u64, in_use: u64 },
    #[error("{} was built at {built}, which is yet to come", path.display())]
    Future { path: PathBuf, built: u64 },
    #[error("{} agrees with the one in use on {agreed} of {asked} canaries", path.display())]
    Canary { path: PathBuf, agreed: usize, asked: usize },
    #[error("{} is not in the format of uap-core", path.display())]
    Regexes { path: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error("{} holds no table of models", path.display())]
    Models { path: PathBuf, source: ModelsError },
    #[error("device_models is set without device_regexes")]
    ModelsAlone,
}

// === impl DatabaseSettings ===

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            city: None,
            country: None,
            isp: None,
            asn: None,
            connection_type: None,
            anonymous: None,
            device_regexes: None,
            device_models: None,
            address_bytes_max: 512 << 20,
            device_bytes_max: 8 << 20,
            is_verified: false,
            allow_older: false,
            canary_percent: 95,
        }
    }
}

impl DatabaseSettings {
    /// Each file whose change can matter, checksums, manifests and parts of sets included.
    pub fn paths(&self) -> Vec<PathBuf> {
        let addresses = [
            &self.city,
            &self.country,
            &self.isp,
            &self.asn,
            &self.connection_type,
            &self.anonymous,
        ];
        let devices = [&self.device_regexes, &self.device_models].into_iter().flatten();
        let addresses = addresses.into_iter().flatten().flat_map(|path| place::paths(path, true));
        addresses.chain(devices.flat_map(|path| place::paths(path, false))).collect()
    }
}

// === impl Databases ===

impl Databases {
    /// What is open.
    pub fn describe(&self) -> &[DatabaseInfo] {
        &self.infos
    }

    /// Names the content of the address databases.
    pub fn geo_identity(&self) -> u64 {
        self.geo_identity
    }

    /// Names the content of the device database.
    pub fn device_identity(&self) -> u64 {
        self.device_identity
    }

    /// Puts open sources together.
    fn of(sources: [Option<Arc<Source>>; Role::ALL.len()], memory: Arc<Mutex<Memory>>) -> Self {
        let addresses = |role: Role| {
            let source = sources.get(role as usize)?.as_ref()?;
            source.address().map(Arc::clone)
        };
        let geo = GeoDatabases {
            city: addresses(Role::City),
            country: addresses(Role::Country),
            isp: addresses(Role::Isp),
            asn: addresses(Role::Asn),
            connection_type: addresses(Role::ConnectionType),
            anonymous: addresses(Role::Anonymous),
        };
        let (mut geo_infos, mut device_infos, mut device) = (Vec::new(), Vec::new(), None);
        for source in sources.iter().flatten() {
            match &source.body {
                Body::Address(_) => geo_infos.extend_from_slice(&source.infos),
                Body::Device(database) => {
                    device = Some(Arc::clone(database));
                    device_infos.extend_from_slice(&source.infos);
                }
            }
        }
        let (geo_identity, device_identity) = (identity(&geo_infos), identity(&device_infos));
        let infos = [geo_infos, device_infos].concat();
        Self { geo, device, sources, infos, geo_identity, device_identity, memory }
    }
}

/// Names a set of files by their content.
fn identity(infos: &[DatabaseInfo]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for info in infos {
        hasher.update(info.role.as_bytes());
        hasher.update(info.sha256.as_bytes());
    }
    let mut name = [0; 8];
    hasher.finalize_xof().fill(&mut name);
    u64::from_le_bytes(name)
}

// === impl Role ===

impl Role {
    const ALL: [Self; 7] = [
        Self::City,
        Self::Country,
        Self::Isp,
        Self::Asn,
        Self::ConnectionType,
        Self::Anonymous,
        Self::Device,
    ];

    /// In metrics, and the setting that names it but for devices.
    fn name(self) -> &'static str {
        match self {
            Self::City => "city",
            Self::Country => "country",
            Self::Isp => "isp",
            Self::Asn => "asn",
            Self::ConnectionType => "connection_type",
            Self::Anonymous => "anonymous",
            Self::Device => "device",
        }
    }

    /// The key under `[databases]`, as a report names it.
    fn key(self) -> &'static str {
        match self {
            Self::Device => "device_regexes, device_models",
            other => other.name(),
        }
    }
}

// === impl Source ===

impl Source {
    fn address(&self) -> Option<&Arc<AddressReader>> {
        match &self.body {
            Body::Address(reader) => Some(reader),
            Body::Device(_) => None,
        }
    }

    /// What its files hold, in their order.
    fn content(&self) -> Vec<String> {
        self.infos.iter().map(|info| info.sha256.clone()).collect()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Address(_) => "Address",
            Self::Device(_) => "Device",
        })
    }
}

// === impl RenewLabel ===

impl RenewLabel {
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Unchanged,
        Self::Unreadable,
        Self::TooLarge,
        Self::Checksum,
        Self::Inconsistent,
        Self::Invalid,
        Self::Canary,
        Self::Older,
    ];

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// For metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unchanged => "unchanged",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Checksum => "checksum",
            Self::Inconsistent => "inconsistent",
            Self::Invalid => "invalid",
            Self::Canary => "canary",
            Self::Older => "older",
        }
    }
}

// === impl SourceResult ===

impl SourceResult {
    /// For metrics.
    pub fn label(&self) -> RenewLabel {
        match &self.result {
            Ok(Taken::Ok) => RenewLabel::Ok,
            Ok(Taken::Unchanged | Taken::Settling) => RenewLabel::Unchanged,
            Err(fault) => fault.label(),
        }
    }
}

// === impl DatabaseError ===

impl DatabaseError {
    /// For metrics.
    pub fn label(&self) -> RenewLabel {
        match self {
            Self::Read { .. } | Self::NotFile { .. } => RenewLabel::Unreadable,
            Self::TooLarge { .. } => RenewLabel::TooLarge,
            Self::Checksum { .. } | Self::ChecksumFile { .. } => RenewLabel::Checksum,
            Self::Changing { .. } | Self::Part { .. } => RenewLabel::Inconsistent,
            Self::Manifest { .. }
            | Self::Compression { .. }
            | Self::Format { .. }
            | Self::Type { .. }
            | Self::Damaged { .. }
            | Self::Structure { .. }
            | Self::Empty { .. }
            | Self::Future { .. }
            | Self::Regexes { .. }
            | Self::Models { .. }
            | Self::ModelsAlone => RenewLabel::Invalid,
            Self::Canary { .. } => RenewLabel::Canary,
            Self::Older { .. } => RenewLabel::Older,
        }
    }
}
