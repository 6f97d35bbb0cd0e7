//! From a worker to the thread that writes: records as they are written down, many at once.
//!
//! Owns: [`Chunk`], [`Outlet`] (one a worker). Never: a choice of what is kept, a wait.
//! Invariant: what a worker has is handed over or counted as dropped, whatever ends it.
//!
//! A record is written behind the one before it, in memory that goes round between worker and thread:
//! nothing that a worker allocates for a request is freed by another thread, or kept from its next one.

use super::entry::TooLong;
use super::recorder::{Dropped, Recording};
use std::sync::Arc;

/// A chunk is handed over at this many bytes ...
const BYTES: usize = 64 << 10;
/// ... or at this part of what may wait, so that one that finds no room costs no more than that.
const PART: usize = 8;

/// Records one behind the other, each after its length, as a file's block has them; nothing personal
/// in them is replaced.
#[derive(Debug, Default)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    pub records: usize,
}

/// Where a worker leaves what is kept.
#[derive(Debug)]
pub struct Outlet {
    recording: Arc<Recording>,
    chunk: Chunk,
}

impl Outlet {
    pub fn new(recording: Arc<Recording>) -> Self {
        Self { recording, chunk: Chunk::default() }
    }

    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Keeps the record that `append` puts behind what is there.
    pub fn keep(&mut self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLong>) {
        if append(&mut self.chunk.bytes).is_err() {
            return self.recording.count_drops(Dropped::TooLarge, 1);
        }
        self.chunk.records += 1;
        let settings = &self.recording.settings;
        if self.chunk.bytes.len() >= BYTES.min(settings.queue_bytes_max / PART)
            || self.chunk.records >= settings.queue_records / PART
        {
            self.hand_over();
        }
    }

    /// Does not wait for the chunk to be full.
    pub fn hand_over(&mut self) {
        if self.chunk.records > 0 {
            let empty = self.recording.empty_chunk();
            self.recording.offer(std::mem::replace(&mut self.chunk, empty));
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if self.chunk.records > 0 {
            self.recording.offer(std::mem::take(&mut self.chunk));
        }
    }
}
