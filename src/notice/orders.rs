//! What people want done with dead letters, while a server holds them.
//!
//! Owns: [`Order`], its file, [`place`] and [`obey`]. Never: a letter. Invariant: an order is there as
//! a whole or not at all, is obeyed once it is there, and goes when what it wants is durable; obeying
//! it twice does no harm.
//!
//! The letters of a journal belong to the process that has it open. `gavel dlq` leaves its order in
//! `DIR/orders/`, and that process looks there every other second: no port, no key, only the
//! folder's permissions.

use super::shelf::{Pending, Shelf};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tracing::{error, info};

/// A longer file is no order.
const BYTES_MAX: u64 = 16 << 20;
/// Orders that are obeyed at one look.
const AT_ONCE_MAX: usize = 16;
const FOLDER: &str = "orders";
const ENDING: &str = "order";

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Try these dead letters again.
    Replay { letters: Vec<u64> },
    /// Give these up.
    Purge { letters: Vec<u64>, reason: String },
}

/// Leaves an order; answers its file, which goes when it has been obeyed.
pub fn place(dir: &Path, order: &Order) -> io::Result<PathBuf> {
    let folder = dir.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let mut file = tempfile_in(&folder)?;
    file.1.write_all(&serde_json::to_vec(order)?)?;
    file.1.sync_all()?;
    let path = file.0.with_extension(ENDING);
    fs::rename(&file.0, &path)?;
    File::open(&folder)?.sync_all()?;
    Ok(path)
}

/// A file that no other process has.
fn tempfile_in(folder: &Path) -> io::Result<(PathBuf, File)> {
    let wall = crate::clock::wall().as_nanos();
    let path = folder.join(format!("{wall:030}-{}.new", std::process::id()));
    Ok((path.clone(), File::create_new(&path)?))
}

/// Does what is wanted; answers the letters that are to be tried again.
pub fn obey(shelf: &mut Shelf, now_us: u64) -> Vec<Pending> {
    let mut again = Vec::new();
    for path in waiting(shelf.dir()) {
        match read(&path) {
            Ok(Order::Replay { letters }) => {
                let Some(revived) = shelf.replay(&letters, now_us) else { return again };
                info!(letters = revived.len(), "dead letters are tried again");
                again.extend(revived);
            }
            Ok(Order::Purge { letters, reason }) => {
                let Some(count) = shelf.purge(&letters, &reason) else { return again };
                info!(letters = count, reason, "dead letters are given up");
            }
            Err(fault) => {
                error!(%fault, path = %path.display(), "an order for dead letters cannot be read");
            }
        }
        if let Err(fault) = fs::remove_file(&path) {
            error!(%fault, path = %path.display(), "an order that was obeyed cannot be removed");
            return again;
        }
    }
    again
}

fn waiting(dir: &Path) -> Vec<PathBuf> {
    // there is no such folder before the first order
    let Ok(entries) = fs::read_dir(dir.join(FOLDER)) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut orders: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == ENDING)).collect();
    orders.sort();
    orders.truncate(AT_ONCE_MAX);
    orders
}

fn read(path: &Path) -> io::Result<Order> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::from)
}
