//! What benches of durable events have in common: their flags, and what they compare with, the
//! disk's own time for as many bytes.
//!
//! Owns: [`Flags`], [`Times`], [`disk_alone`]. Never: a journal.

use gavel::clock;
use gavel::journal::disk::Disk;
use gavel::journal::disk::real::RealDisk;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the command line says; with `--test` everything is small.
pub struct Flags {
    arguments: Vec<String>,
    is_test: bool,
}

impl Flags {
    pub fn read() -> Self {
        let arguments: Vec<String> = std::env::args().collect();
        let is_test = arguments.iter().any(|argument| argument == "--test");
        Self { arguments, is_test }
    }

    fn value(&self, name: &str) -> Option<&String> {
        let at = self.arguments.iter().position(|argument| argument == name)?;
        self.arguments.get(at + 1)
    }

    /// As given, else as usual or small.
    pub fn number(&self, name: &str, usual: u64, small: u64) -> u64 {
        let given = self.value(name).and_then(|text| text.parse().ok());
        given.unwrap_or(if self.is_test { small } else { usual })
    }

    /// Where files go (`--dir`).
    pub fn dir(&self) -> PathBuf {
        self.value("--dir").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from)
    }
}

/// How long each of many took.
#[derive(Default)]
pub struct Times(pub Vec<Duration>);

impl Times {
    /// Milliseconds under which so many of a thousand stayed.
    pub fn at(&self, permille: usize) -> f64 {
        let at = (self.0.len() * permille / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    /// As [`Self::at`] and [`Self::text`] want them.
    pub fn sorted(mut self) -> Self {
        self.0.sort_unstable();
        self
    }

    /// For a line.
    pub fn text(&self) -> String {
        let worst = self.0.last().map_or(0.0, |time| time.as_secs_f64() * 1e3);
        let (median, rare) = (self.at(500), self.at(990));
        format!("p50 {median:.2} ms, p99 {rare:.2} ms, worst {worst:.2} ms")
    }
}

/// The disk alone: as many bytes as a commit of all clients has, written and synced in turn.
pub fn disk_alone(dir: &Path, bytes: usize, count: u64) -> Times {
    let path = dir.join("alone");
    let mut file = RealDisk.create(&path).unwrap();
    for piece in 0..16 {
        file.commit(piece << 20, &vec![0; 1 << 20]).unwrap();
    }
    let (chunk, mut times, mut at) = (vec![1; bytes], Times::default(), 0);
    for _ in 0..count {
        let begun = clock::monotonic();
        file.commit(at, &chunk).unwrap();
        times.0.push(clock::monotonic().saturating_duration_since(begun));
        at = (at + bytes as u64) % (15 << 20);
    }
    RealDisk.remove(&path).unwrap();
    times.sorted()
}
