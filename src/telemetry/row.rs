//! A few counters in a row, written by one thread and read by any.
//!
//! Owns: [`bump`], [`Row`] and [`Table`]. Invariant: one thread writes a cell, so that adding is a plain load
//! and store (under 1 ns) where a locked addition costs 5 to 20.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Adds to a cell that only the calling thread writes.
#[inline]
pub fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// So many counters.
#[derive(Debug)]
pub struct Row<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Row<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Row<N> {
    /// Counts one; an index out of range counts nothing.
    #[inline]
    pub fn count(&self, index: usize) {
        self.add(index, 1);
    }

    /// Counts several.
    #[inline]
    pub fn add(&self, index: usize, by: u64) {
        if let Some(cell) = self.0.get(index) {
            bump(cell, by);
        }
    }

    /// What a cell holds.
    pub fn get(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}

/// Counters in so many rows, of as many columns each; a row comes into being with its first
/// count. Neighbours in a row share a cache line: for what is counted of many at once.
#[derive(Debug)]
pub struct Table<const ROWS: usize> {
    rows: [OnceLock<Box<[AtomicU64]>>; ROWS],
    columns: usize,
}

impl<const ROWS: usize> Table<ROWS> {
    /// Nothing counted.
    pub fn new(columns: usize) -> Self {
        Self { rows: [const { OnceLock::new() }; ROWS], columns }
    }

    /// Counts one; in the first column for one out of range.
    #[inline]
    pub fn count(&self, row: usize, column: usize) {
        let Some(row) = self.rows.get(row) else { return };
        let row = row.get_or_init(|| (0..self.columns).map(|_| AtomicU64::new(0)).collect());
        if let Some(cell) = row.get(column).or_else(|| row.first()) {
            bump(cell, 1);
        }
    }

    /// What a cell holds.
    pub fn get(&self, row: usize, column: usize) -> u64 {
        let cell = self.rows.get(row).and_then(OnceLock::get).and_then(|row| row.get(column));
        cell.map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}
