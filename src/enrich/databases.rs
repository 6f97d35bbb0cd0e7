//! Opening database files.
//!
//! Owns: [`Databases`], [`DatabaseSettings`], what `gavel debug` tells of them. Never: a watch, a
//! swap. Files are read into memory whole (a map of a file that is rewritten in place would kill
//! the process), under a size limit, and are taken only if their type is the expected one.
//!
//! Invariant: a [`Databases`] that exists opened all that was asked for.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::device::DeviceDatabase;
use super::geo::{AddressReader, GeoDatabases};
use super::models::{Models, ModelsError};
use maxminddb::{MaxMindDbError, Reader};
use serde::Serialize;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use ua_parser::{Extractor, Regexes};

/// Which files, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// MaxMind DB with cities (type `...City...` or `...Enterprise...`), `.mmdb` or `.mmdb.zst`.
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
    /// Check the whole structure of each address database when it is opened (0.9 s for 60 MB).
    pub is_verified: bool,
}

/// All databases of one generation.
#[derive(Debug, Default)]
pub struct Databases {
    pub geo: GeoDatabases,
    pub device: Option<DeviceDatabase>,
    infos: Vec<DatabaseInfo>,
    /// By content: equal for equal files, so that a reload that changes none keeps caches warm.
    geo_identity: u64,
    device_identity: u64,
}

/// What an operator asks about a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DatabaseInfo {
    /// The setting that names it.
    pub role: &'static str,
    pub path: PathBuf,
    /// `database_type` of an address database, else the format.
    pub kind: String,
    /// Seconds since the Unix epoch; `None` where the format does not tell.
    pub build_epoch: Option<u64>,
    /// Nodes of the search tree, or regexes, or models.
    pub entries: u64,
    /// Of the file as it lies on disk.
    pub bytes: u64,
    /// BLAKE3 of the file, in hex.
    pub blake3: String,
}

/// A database that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has more than {bytes_max} bytes", path.display())]
    TooLarge { path: PathBuf, bytes_max: u64 },
    #[error("{} is no MaxMind database", path.display())]
    Format { path: PathBuf, source: MaxMindDbError },
    #[error("{} is of type `{found}`, not `{expected}`", path.display())]
    Type { path: PathBuf, found: String, expected: &'static str },
    #[error("{} is damaged", path.display())]
    Damaged { path: PathBuf, source: MaxMindDbError },
    #[error("{} is not in the format of uap-core", path.display())]
    Regexes { path: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error("{} holds no table of models", path.display())]
    Models { path: PathBuf, source: ModelsError },
    #[error("device_models is set without device_regexes")]
    ModelsAlone,
}

/// A file in memory.
struct Loaded {
    content: Vec<u8>,
    bytes: u64,
    hash: blake3::Hash,
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
        }
    }
}

// === impl Databases ===

impl Databases {
    /// Opens all that is set; every fault is told, not only the first.
    pub fn open(settings: &DatabaseSettings) -> Result<Self, Vec<DatabaseError>> {
        let mut opening = Opening { settings, infos: Vec::new(), faults: Vec::new() };
        let geo = GeoDatabases {
            city: opening.address("city", settings.city.as_deref(), &["City", "Enterprise"]),
            country: opening.address("country", settings.country.as_deref(), &["Country"]),
            isp: opening.address("isp", settings.isp.as_deref(), &["ISP"]),
            asn: opening.address("asn", settings.asn.as_deref(), &["ASN"]),
            connection_type: opening.address(
                "connection_type",
                settings.connection_type.as_deref(),
                &["Connection-Type"],
            ),
            anonymous: opening.address("anonymous", settings.anonymous.as_deref(), &["Anonymous"]),
        };
        let geo_identity = identity(&opening.infos);
        let addresses = opening.infos.len();
        let device = opening.device();
        let device_identity = identity(opening.infos.get(addresses..).unwrap_or_default());
        if opening.faults.is_empty() {
            Ok(Self { geo, device, infos: opening.infos, geo_identity, device_identity })
        } else {
            Err(opening.faults)
        }
    }

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
}

/// The work of [`Databases::open`].
struct Opening<'a> {
    settings: &'a DatabaseSettings,
    infos: Vec<DatabaseInfo>,
    faults: Vec<DatabaseError>,
}

impl Opening<'_> {
    /// One address database whose type contains one of `kinds`.
    fn address(
        &mut self,
        role: &'static str,
        path: Option<&Path>,
        kinds: &[&'static str],
    ) -> Option<AddressReader> {
        match open_address(path?, kinds, self.settings) {
            Ok((reader, mut info)) => {
                info.role = role;
                self.infos.push(info);
                Some(reader)
            }
            Err(fault) => {
                self.faults.push(fault);
                None
            }
        }
    }

    /// The regexes with their table.
    fn device(&mut self) -> Option<DeviceDatabase> {
        let settings = self.settings;
        let models = settings.device_models.as_deref().map(|path| self.models(path));
        let extractor = settings.device_regexes.as_deref().map(|path| self.regexes(path));
        let models = match models {
            Some(Ok(_)) if extractor.is_none() => {
                self.faults.push(DatabaseError::ModelsAlone);
                return None;
            }
            Some(Ok(models)) => models,
            Some(Err(fault)) => {
                self.faults.push(fault);
                Models::default()
            }
            None => Models::default(),
        };
        match extractor? {
            Ok(extractor) => Some(DeviceDatabase::new(extractor, models)),
            Err(fault) => {
                self.faults.push(fault);
                None
            }
        }
    }

    fn models(&mut self, path: &Path) -> Result<Models, DatabaseError> {
        let loaded = load(path, self.settings.device_bytes_max)?;
        let text = String::from_utf8_lossy(&loaded.content);
        let models = Models::parse(&text)
            .map_err(|source| DatabaseError::Models { path: path.to_owned(), source })?;
        self.infos.push(loaded.info("device_models", path, models.len() as u64));
        Ok(models)
    }

    fn regexes(&mut self, path: &Path) -> Result<Extractor<'static>, DatabaseError> {
        let fault = |source: Box<dyn Error + Send + Sync>| DatabaseError::Regexes {
            path: path.to_owned(),
            source,
        };
        let loaded = load(path, self.settings.device_bytes_max)?;
        let (extractor, count) = compile(&loaded.content).map_err(fault)?;
        self.infos.push(loaded.info("device_regexes", path, count));
        Ok(extractor)
    }
}

// === impl Loaded ===

impl Loaded {
    fn info(&self, role: &'static str, path: &Path, entries: u64) -> DatabaseInfo {
        DatabaseInfo {
            role,
            path: path.to_owned(),
            kind: role.to_owned(),
            build_epoch: None,
            entries,
            bytes: self.bytes,
            blake3: self.hash.to_hex().to_string(),
        }
    }
}

/// Opens and checks one address database.
fn open_address(
    path: &Path,
    kinds: &[&'static str],
    settings: &DatabaseSettings,
) -> Result<(AddressReader, DatabaseInfo), DatabaseError> {
    let loaded = load(path, settings.address_bytes_max)?;
    let mut info = loaded.info("", path, 0);
    let reader = Reader::from_source(loaded.content)
        .map_err(|source| DatabaseError::Format { path: path.to_owned(), source })?;
    let metadata = reader.metadata();
    let found = metadata.database_type.clone();
    if !kinds.iter().any(|kind| found.contains(kind)) {
        let expected = kinds.first().copied().unwrap_or_default();
        return Err(DatabaseError::Type { path: path.to_owned(), found, expected });
    }
    if settings.is_verified {
        let damaged = |source| DatabaseError::Damaged { path: path.to_owned(), source };
        reader.verify().map_err(damaged)?;
    }
    info.kind = found;
    info.build_epoch = Some(metadata.build_epoch);
    info.entries = u64::from(metadata.node_count);
    Ok((reader, info))
}

/// Reads and compiles regexes; gives how many there are.
fn compile(content: &[u8]) -> Result<(Extractor<'static>, u64), Box<dyn Error + Send + Sync>> {
    let text = std::str::from_utf8(content)?;
    let regexes: Regexes<'static> = serde_saphyr::from_str(text)?;
    let parsers =
        [regexes.user_agent_parsers.len(), regexes.os_parsers.len(), regexes.device_parsers.len()];
    let extractor = Extractor::try_from(regexes).map_err(|fault| fault.to_string())?;
    Ok((extractor, parsers.iter().sum::<usize>() as u64))
}

/// Reads a file of at most `bytes_max` bytes; a name that ends in `.zst` is decompressed.
fn load(path: &Path, bytes_max: u64) -> Result<Loaded, DatabaseError> {
    let fault = |source| DatabaseError::Read { path: path.to_owned(), source };
    let too_large = || DatabaseError::TooLarge { path: path.to_owned(), bytes_max };
    let file = File::open(path).map_err(fault)?;
    let told = file.metadata().map_err(fault)?.len();
    let raw = read_capped(file, told, bytes_max).map_err(fault)?.ok_or_else(too_large)?;
    let (bytes, hash) = (raw.len() as u64, blake3::hash(&raw));
    let content = if path.extension().is_some_and(|extension| extension == "zst") {
        let decoder = zstd::Decoder::with_buffer(raw.as_slice()).map_err(fault)?;
        read_capped(decoder, 0, bytes_max).map_err(fault)?.ok_or_else(too_large)?
    } else {
        raw
    };
    Ok(Loaded { content, bytes, hash })
}

/// All of a source, or `None` where it is longer than `bytes_max`. `told` is how long it says it
/// is: a buffer of that size need not grow, which would leave as much memory behind again.
fn read_capped(source: impl Read, told: u64, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    // One byte more shows the end without another growth.
    let room = usize::try_from(told.min(bytes_max).saturating_add(1)).unwrap_or(0);
    let mut content = Vec::with_capacity(room);
    source.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
    if told == 0 {
        content.shrink_to_fit();
    }
    Ok((content.len() as u64 <= bytes_max).then_some(content))
}

/// Names a set of files by their content.
fn identity(infos: &[DatabaseInfo]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for info in infos {
        hasher.update(info.role.as_bytes());
        hasher.update(info.blake3.as_bytes());
    }
    let mut name = [0; 8];
    hasher.finalize_xof().fill(&mut name);
    u64::from_le_bytes(name)
}
