//! Address databases of the project's own: a writer of MaxMind's format and what is written with it.
//!
//! Owns: the command `gavel-replay mmdb`. Never: a real network, a downloaded fact. Invariant: every
//! file is the same whenever it is written.

pub mod large;
pub mod places;
pub mod small;
#[cfg(test)]
mod tests;
pub mod value;
pub mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use writer::WriterError;

/// What to write; one of the two.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct MmdbArgs {
    /// Write the demo's databases (City, ISP, Connection-Type, Anonymous-IP) into this folder
    #[arg(long, value_name = "DIR")]
    pub small: Option<PathBuf>,
    /// Write a synthetic City database of about 60 MB to this file
    #[arg(long = "city-60mb", value_name = "FILE")]
    pub city_60mb: Option<PathBuf>,
}

/// A database was not written.
#[derive(Debug, thiserror::Error)]
pub enum MmdbError {
    #[error("cannot build the database")]
    Build(#[from] WriterError),
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Seed of the large database: figures of different days are about the same bytes.
pub const LARGE_SEED: u64 = 60;

/// Writes what is asked for; gives each file with its size in bytes.
pub fn run(args: &MmdbArgs) -> Result<Vec<(PathBuf, usize)>, MmdbError> {
    let mut written = Vec::new();
    if let Some(folder) = &args.small {
        for (name, bytes) in small::databases()? {
            written.push(write(&folder.join(name), &bytes)?);
        }
    }
    if let Some(path) = &args.city_60mb {
        written.push(write(path, &large::city(LARGE_SEED, large::NODES)?)?);
    }
    Ok(written)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(PathBuf, usize), MmdbError> {
    let fault = |source| MmdbError::Write { path: path.to_owned(), source };
    fs::write(path, bytes).map_err(fault)?;
    Ok((path.to_owned(), bytes.len()))
}
