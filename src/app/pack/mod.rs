//! `gavel pack-db`: a database as a set of parts, for where no file of its size fits.
//!
//! Owns: [`pack`], the order of its writes, what it tells. Never: a connection to a cluster.
//! Invariant: the parts go to the slot that the manifest in use does not name, and the manifest is
//! written last, so that whoever reads meanwhile finds one whole set or the other.

mod configmaps;

use crate::enrich::databases::manifest::{
    FORMAT, MANIFEST, MANIFEST_BYTES_MAX, Manifest, PARTS_MAX, Part, Slot, sha256,
};
use crate::enrich::databases::{DatabaseError, DatabaseSettings, Databases};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Most bytes of a ConfigMap, by the API server's validation (`MaxSecretSize`, of the values as
/// they are, not as base64).
pub const CONFIGMAP_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a part: leaves room for names, and a request with it in base64 (1.2 MB) stays under
/// the 1.5 MiB that etcd takes.
pub const PART_BYTES: u64 = 900_000;

/// Shortest part that is asked for: less would be thousands of files.
const PART_BYTES_MIN: u64 = 1024;

/// 66 MB take seconds; higher levels take a minute for 5 % less.
const LEVEL: i32 = 12;

/// Longest name of a set: a label holds 63 characters, and a ConfigMap's name is longer.
const NAME_BYTES_MAX: usize = 50;

/// What the command line says.
#[derive(Clone, Debug, clap::Args)]
pub struct PackArgs {
    /// The database: .mmdb, .mmdb.zst, or a set of parts.
    pub file: PathBuf,
    /// Where parts and manifest go.
    #[arg(long)]
    pub out: PathBuf,
    /// Bytes of a part, 1024 to 1048576.
    #[arg(long, default_value_t = PART_BYTES)]
    pub part_bytes: u64,
    /// Write ConfigMaps too, whose names start with this.
    #[arg(long, value_name = "NAME")]
    pub configmaps: Option<String>,
    /// The namespace of the ConfigMaps.
    #[arg(long)]
    pub namespace: Option<String>,
    /// The manifest in use, whose slot is left alone (default: the one in `--out`).
    #[arg(long, value_name = "MANIFEST")]
    pub in_use: Option<PathBuf>,
}

/// Nothing, or nothing whole, was written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("{} cannot be packed", path.display())]
    Database { path: PathBuf, source: Box<DatabaseError> },
    #[error("--part-bytes {0} is not {PART_BYTES_MIN} to {CONFIGMAP_BYTES_MAX}")]
    PartBytes(u64),
    #[error("{0} parts are more than {PARTS_MAX}: raise --part-bytes")]
    Parts(usize),
    #[error(
        "`{0}` cannot begin the names of ConfigMaps: 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -, not at an end"
    )]
    Name(String),
    #[error("`{0}` is no namespace: 1 to 63 of a-z, 0-9 and -, not at an end")]
    Namespace(String),
    #[error("--namespace is of use with --configmaps only")]
    NamespaceAlone,
    #[error("cannot compress {}", path.display())]
    Compress { path: PathBuf, source: io::Error },
    #[error("{} is no manifest: {reason}", path.display())]
    InUse { path: PathBuf, reason: String },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write the manifest")]
    Manifest(#[source] serde_json::Error),
    #[error("what was written in {} does not open", path.display())]
    Unsound { path: PathBuf, source: Box<DatabaseError> },
}

/// Packs; gives what to tell the operator.
pub fn pack(args: &PackArgs) -> Result<String, PackError> {
    check(args)?;
    let bytes_max = DatabaseSettings::default().address_bytes_max;
    let fault = |fault| PackError::Database { path: args.file.clone(), source: Box::new(fault) };
    let (content, info) = Databases::examine(&args.file, bytes_max).map_err(fault)?;
    let compressed = zstd::bulk::compress(content.as_ref(), LEVEL)
        .map_err(|source| PackError::Compress { path: args.file.clone(), source })?;
    drop(content);

    fs::create_dir_all(&args.out).map_err(|source| writing(&args.out, source))?;
    let in_use = in_use(args)?;
    let slot = in_use.as_ref().and_then(|one| one.slot).map_or(Slot::A, Slot::other);
    let generation = in_use.as_ref().map_or(1, |one| one.generation.saturating_add(1));
    let set = Set::of(&compressed, args, slot, generation)?;
    for (part, bytes) in set.parts() {
        replace(&args.out.join(&part.file), bytes)?;
    }
    if let Some(name) = &args.configmaps {
        configmaps::write(&set, name, args)?;
    }
    let manifest = set.manifest.to_json().map_err(PackError::Manifest)?;
    replace(&args.out.join(MANIFEST), manifest.as_bytes())?;
    sweep(&args.out, &set)?;
    Databases::examine(&args.out, bytes_max)
        .map_err(|fault| PackError::Unsound { path: args.out.clone(), source: Box::new(fault) })?;

    let mut text = format!(
        "{} ({}, built at {}): generation {generation} in slot {}, {} parts, {} bytes\n",
        args.file.display(),
        info.kind,
        info.build_epoch.unwrap_or(0),
        slot.name(),
        set.manifest.parts.len(),
        set.manifest.bytes,
    );
    match &args.configmaps {
        Some(name) => text += &configmaps::advice(&set, name, args),
        None => {
            // writing to a text cannot fail
            let _ = writeln!(text, "databases.{} = '{}'", info.role, args.out.display());
        }
    }
    Ok(text)
}

/// What can be said before anything is read.
fn check(args: &PackArgs) -> Result<(), PackError> {
    if !(PART_BYTES_MIN..=CONFIGMAP_BYTES_MAX).contains(&args.part_bytes) {
        return Err(PackError::PartBytes(args.part_bytes));
    }
    if let Some(name) = args.configmaps.as_ref().filter(|name| !is_label(name, NAME_BYTES_MAX)) {
        return Err(PackError::Name(name.clone()));
    }
    match &args.namespace {
        Some(_) if args.configmaps.is_none() => Err(PackError::NamespaceAlone),
        Some(name) if !is_label(name, 63) => Err(PackError::Namespace(name.clone())),
        _ => Ok(()),
    }
}

/// A label of RFC 1123.
fn is_label(name: &str, bytes_max: usize) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=bytes_max).contains(&name.len())
        && name.chars().all(is_word)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The manifest whose parts must stay; a first set has none.
fn in_use(args: &PackArgs) -> Result<Option<Manifest>, PackError> {
    let path = args.in_use.clone().unwrap_or_else(|| args.out.join(MANIFEST));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound && args.in_use.is_none() => {
            return Ok(None);
        }
        Err(source) => return Err(PackError::Read { path, source }),
    };
    let mut bytes = Vec::new();
    if let Err(source) = file.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes) {
        return Err(PackError::Read { path, source });
    }
    Manifest::parse(&bytes).map(Some).map_err(|reason| PackError::InUse { path, reason })
}

fn writing(path: &Path, source: io::Error) -> PackError {
    PackError::Write { path: path.to_owned(), source }
}

/// Puts a whole file in the place of what is there.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), PackError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| writing(path, source))
}

/// Removes what a longer set left in this slot.
fn sweep(folder: &Path, set: &Set<'_>) -> Result<(), PackError> {
    let Some((start, _)) = set.manifest.parts.first().and_then(|part| part.file.rsplit_once('.'))
    else {
        return Ok(());
    };
    let fault = |source| writing(folder, source);
    for entry in fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name.strip_prefix(start).and_then(|rest| rest.strip_prefix('.'));
        let is_part = number.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        if is_part && set.manifest.parts.iter().all(|part| part.file != name) {
            fs::remove_file(&path).map_err(|source| writing(&path, source))?;
        }
    }
    Ok(())
}

/// A set that is about to be written.
#[derive(Debug)]
struct Set<'a> {
    manifest: Manifest,
    slot: Slot,
    chunks: Vec<&'a [u8]>,
}

// === impl Set ===

impl<'a> Set<'a> {
    fn of(
        compressed: &'a [u8],
        args: &PackArgs,
        slot: Slot,
        generation: u64,
    ) -> Result<Self, PackError> {
        let size = usize::try_from(args.part_bytes).unwrap_or(usize::MAX);
        let chunks: Vec<&[u8]> = compressed.chunks(size).collect();
        if chunks.len() > PARTS_MAX {
            return Err(PackError::Parts(chunks.len()));
        }
        let stem = stem(&args.file);
        let part = |(nth, chunk): (usize, &&[u8])| Part {
            file: format!("{stem}-{}.mmdb.zst.{nth:03}", slot.name()),
            bytes: chunk.len() as u64,
            sha256: sha256(chunk),
        };
        let manifest = Manifest {
            format: FORMAT,
            name: format!("{stem}.mmdb.zst"),
            generation,
            slot: Some(slot),
            bytes: compressed.len() as u64,
            sha256: sha256(compressed),
            parts: chunks.iter().enumerate().map(part).collect(),
        };
        Ok(Self { manifest, slot, chunks })
    }

    fn parts(&self) -> impl Iterator<Item = (&Part, &'a [u8])> {
        self.manifest.parts.iter().zip(self.chunks.iter().copied())
    }
}

/// What the parts are called after: the file's name without its endings, in letters that keys of
/// ConfigMaps may have.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let name = name.split('.').next().unwrap_or_default();
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let stem: String = name.chars().map(word).take(100).collect();
    if stem.is_empty() { "database".to_owned() } else { stem }
}
