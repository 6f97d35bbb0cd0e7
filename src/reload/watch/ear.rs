//! The folders that the kernel tells us about.
//!
//! Owns: the one notify watcher and the list of folders that it watches. Never: a file, for a
//! watch on a file (or on `..data`) dies with the inode at the first update and is silent then.
//! Invariant: one folder is watched under one name, however many lead to it: inotify knows
//! inodes, and notify would forget all but the last name.

use super::bell::{Bell, Wanted};
use super::trace::{FolderId, Place, Trace};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Ear {
    watcher: Result<RecommendedWatcher, String>,
    /// What is watched now.
    armed: BTreeMap<PathBuf, FolderId>,
    /// The one name of each folder that is to be watched.
    names: BTreeMap<FolderId, PathBuf>,
    /// What could not be watched, and why.
    unheard: BTreeMap<PathBuf, String>,
    bell: Arc<Bell>,
}

impl Ear {
    pub fn new(bell: Arc<Bell>) -> Self {
        let mut ear = Self {
            watcher: Err(String::new()),
            armed: BTreeMap::new(),
            names: BTreeMap::new(),
            unheard: BTreeMap::new(),
            bell,
        };
        ear.open();
        ear
    }

    /// Why nothing is heard, if so.
    pub fn deaf(&self) -> Option<&str> {
        self.watcher.as_ref().err().map(String::as_str)
    }

    /// Folders of which nothing is heard, and why.
    pub fn unheard(&self) -> &BTreeMap<PathBuf, String> {
        &self.unheard
    }

    /// The name under which something in a folder is heard.
    pub fn name(&self, place: &Place) -> PathBuf {
        self.names.get(&place.id).unwrap_or(&place.folder).join(&place.name)
    }

    /// Watches what these traces depend on and nothing else. True: a folder is watched that was
    /// not before, so that what happened in it meanwhile was not heard.
    pub fn arm(&mut self, traces: &[Trace], gone: &HashSet<PathBuf>) -> bool {
        self.names.clear();
        for place in traces.iter().flat_map(Trace::places) {
            let name = self.names.entry(place.id).or_insert_with(|| place.folder.clone());
            if place.folder < *name {
                name.clone_from(&place.folder);
            }
        }
        let wanted = traces.iter().flat_map(Trace::places).map(|place| self.name(place)).collect();
        // before the watches: what they say at once is to be understood
        self.bell.want(Wanted { names: wanted, folders: self.names.values().cloned().collect() });
        self.open();
        let Ok(watcher) = &mut self.watcher else { return false };
        self.armed.retain(|folder, id| {
            let is_kept = self.names.get(id) == Some(folder) && !gone.contains(folder);
            if !is_kept {
                // where the folder is gone, so is its watch
                let _ = watcher.unwatch(folder);
            }
            is_kept
        });
        self.unheard.clear();
        let mut is_new = false;
        for (id, folder) in &self.names {
            // also those that are watched: where the folder was replaced unheard, this helps,
            // and where it was not, it changes nothing
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => is_new |= self.armed.insert(folder.clone(), *id).is_none(),
                Err(fault) => {
                    self.armed.remove(folder);
                    self.unheard.insert(folder.clone(), fault.to_string());
                }
            }
        }
        is_new
    }

    /// Takes an inotify instance, if there is none yet: another process may have given one back.
    fn open(&mut self) {
        if self.watcher.is_err() {
            let bell = Arc::clone(&self.bell);
            self.watcher = notify::recommended_watcher(move |event| bell.hear(event))
                .map_err(|fault| fault.to_string());
        }
    }
}
