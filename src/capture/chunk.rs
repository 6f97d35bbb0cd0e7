//! From a worker to the thread that writes: records as they are written down, many at once.
//!
//! Owns: [`Chunk`], [`Outlet`] (one a worker). Never: a choice of what is kept, a wait.
//! Invariant: what a worker has is handed over or counted as dropped, whatever ends it.
//!
//! A record is written behind the one before it, in memory that goes round between worker and thread:
//! what a worker allocates for a request it frees itself, at once, and has for the next one.

use super::entry::TooLong;
use super::recorder::{Dropped, Recording};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A chunk is handed over at this many bytes ...
const BYTES: usize = 64 << 10;
/// ... or at this part of what may wait, so that one that finds no room costs no more than that.
const PART: usize = 8;
/// Empty chunks that are kept for workers, and the room of one that is kept.
const SPARE_CHUNKS_MAX: usize = 16;
const SPARE_BYTES_MAX: usize = 256 << 10;

/// Records one behind the other, each after its length, as a file's block has them; nothing personal
/// in them is replaced.
#[derive(Debug, Default)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    pub records: usize,
}

/// What waits of one recording, and chunks that were written, to be filled again.
#[derive(Debug, Default)]
pub(super) struct Room {
    records: AtomicUsize,
    bytes: AtomicUsize,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Room {
    /// Gives what waited before.
    pub(super) fn enter(&self, records: usize, bytes: usize) -> (usize, usize) {
        let waiting = self.records.fetch_add(records, Ordering::Relaxed);
        (waiting, self.bytes.fetch_add(bytes, Ordering::Relaxed))
    }

    pub(super) fn leave(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// An empty one. Nobody waits for somebody who is just at the others.
    pub(super) fn take(&self) -> Chunk {
        let bytes = self.spare.try_lock().ok().and_then(|mut spare| spare.pop());
        Chunk { bytes: bytes.unwrap_or_default(), records: 0 }
    }

    /// One that was written, or could not be.
    pub(super) fn put(&self, Chunk { mut bytes, .. }: Chunk) {
        bytes.clear();
        if bytes.capacity() <= SPARE_BYTES_MAX
            && let Ok(mut spare) = self.spare.try_lock()
            && spare.len() < SPARE_CHUNKS_MAX
        {
            spare.push(bytes);
        }
    }
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
        let start = self.chunk.bytes.len();
        if append(&mut self.chunk.bytes).is_err() {
            return self.recording.count_drops(Dropped::TooLarge, 1);
        }
        let settings = &self.recording.settings;
        let bytes_most = BYTES.min(settings.queue_bytes_max / PART);
        let records_most = settings.queue_records / PART;
        if self.chunk.bytes.len().saturating_sub(start) >= bytes_most {
            // a large one goes alone: should it find no room, the others still may
            let alone = self.chunk.bytes.split_off(start);
            // what waits is counted by its bytes, and holds no room that a large one made
            self.chunk.bytes.shrink_to_fit();
            self.hand_over();
            self.chunk.bytes = alone;
        }
        self.chunk.records += 1;
        if self.chunk.bytes.len() >= bytes_most || self.chunk.records >= records_most {
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
