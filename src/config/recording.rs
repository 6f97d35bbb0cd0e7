//! `[capture]`: the recording of traffic.
//!
//! Owns: names, defaults and ranges of its keys, and the relations between them. Never: a folder
//! that is opened: whether it can be written is found out by whoever writes.

use super::files::Files;
use super::reader::Table;
use super::words;
use crate::capture::form::PseudonymKey;
use crate::capture::recorder::{Bidders, CaptureSettings};
use crate::capture::rotate::RotateSettings;
use crate::capture::sampler::StrataSettings;
use crate::capture::write::{LEVEL_OF_SERVER, LEVELS, WriterSettings};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A shorter secret can be guessed.
const KEY_CHARS_MIN: usize = 16;
/// A file with a key that is larger is a mistake.
const KEY_FILE_BYTES_MAX: u64 = 4096;
const KEY_WANTED: &str = "a secret of 16 characters or more";

/// What is to be recorded, and where; `None`: nothing. The folder is known also where there are
/// faults. Paths are relative to `folder`.
pub fn read(
    root: &mut Table,
    folder: &Path,
    files: &Files,
) -> (Option<CaptureSettings>, Option<PathBuf>) {
    let mut t = root.section("capture");
    let is_on = t.flag("enabled", false, "Record traffic; taken by a reload.");
    let directory = t.parsed(
        "directory",
        "a path to a folder that is there",
        "Where files go. Needed where recording is on.",
        |text| words::text(text).map(|text| folder.join(text)),
    );
    let key = key(&mut t, folder, files);
    let strata = strata(&mut t);
    let files = rotation(&mut t);
    let queue_records = t.integer(
        "queue_records",
        1_024,
        1..=65_536,
        "Records that wait for the writing thread, to which workers hand over up to an eighth of it at once; \
         what comes beyond is dropped and counted.",
    );
    let queue_bytes_max = t.bytes(
        "queue_bytes_max",
        32 << 20,
        64 << 10..=1 << 30,
        "Their bytes, as `queue_records`.",
    );
    let bidders = t.choice(
        "bidders",
        &[("times", Bidders::Times), ("none", Bidders::None), ("bodies", Bidders::Bodies)],
        "What of the calls to bidders is recorded: when and with what status, nothing, or also what \
         was sent and said (it costs a copy of each, kept or not).",
    );
    let keeps_unreadable = t.flag(
        "keep_unreadable",
        false,
        "Keep bodies that are no JSON as they came: nobody can say what is personal in them. \
         Without it: their length and the kind of their first byte.",
    );
    let missing = |key, value: bool| {
        if is_on && !value {
            t.fault_of(key, "there where `enabled = true`", None);
        }
    };
    missing("directory", directory.is_some());
    missing("key", key.is_some());
    t.end();
    let bidders = bidders.unwrap_or_default();
    let settings = directory.clone().zip(key).map(|(directory, key)| CaptureSettings {
        files: RotateSettings { directory, ..files },
        key,
        strata,
        queue_records,
        queue_bytes_max,
        bidders,
        keeps_unreadable,
    });
    (settings.filter(|_| is_on), directory.filter(|_| is_on))
}

/// The secret, from the file or from a file beside it.
fn key(t: &mut Table, folder: &Path, files: &Files) -> Option<PseudonymKey> {
    let good = |text: &str| {
        let text = text.trim();
        (text.chars().count() >= KEY_CHARS_MIN).then(|| PseudonymKey::new(text))
    };
    let own = t.parsed(
        "key",
        KEY_WANTED,
        "By which personal values become pseudonyms: with the same key always the same ones. This or \
         `key_file` is needed where recording is on.",
        good,
    );
    let path = t.parsed("key_file", "a path to a file", "A file with the key.", |text| {
        words::text(text).map(|text| folder.join(text))
    });
    let Some(path) = path else { return own };
    if own.is_some() {
        t.fault_of("key_file", "absent where there is a `key`", None);
    }
    let read = files.read(&path, KEY_FILE_BYTES_MAX);
    let read = read.map(|bytes| String::from_utf8(bytes).ok().as_deref().and_then(good));
    match read {
        Ok(Some(key)) => return Some(key),
        Ok(None) => t.fault_of("key_file", &format!("a file with {KEY_WANTED}"), None),
        Err(fault) => t.fault_of("key_file", &format!("a file that can be read: {fault}"), None),
    }
    own
}

fn strata(t: &mut Table) -> StrataSettings {
    let d = StrataSettings::default();
    StrataSettings {
        sample_ppm: t.integer(
            "sample_ppm",
            d.sample_ppm,
            0..=1_000_000,
            "Requests of a million that are kept by chance.",
        ),
        novel_per_cell: t.integer(
            "novel_per_cell",
            d.novel_per_cell,
            0..=100,
            "The first of each new mix of ad format, device type, country, channel, consent and \
             deal that are kept, by each worker.",
        ),
        novel_per_second: t.integer(
            "novel_per_second",
            d.novel_per_second,
            0..=10_000,
            "No more of such in a second, by each worker: after a start almost everything is new. What \
             finds no room stays new.",
        ),
        cells_max: t.integer(
            "cells_max",
            d.cells_max,
            16..=1 << 20,
            "Such mixes that are told apart.",
        ),
        slow_per_minute: t.integer(
            "slow_per_minute",
            d.slow_per_minute,
            0..=100,
            "The slowest of each minute that are kept, by each worker.",
        ),
        large_per_minute: t.integer(
            "large_per_minute",
            d.large_per_minute,
            0..=100,
            "The largest, as `slow_per_minute`.",
        ),
        refused_per_second: t.integer(
            "refused_per_second",
            d.refused_per_second,
            0..=10_000,
            "Refused and unreadable ones that are kept, by each worker.",
        ),
    }
}

/// All but the folder.
fn rotation(t: &mut Table) -> RotateSettings {
    let (s, mib) = (Duration::from_secs, 1_usize << 20);
    let name = t.parsed(
        "name",
        "1 to 40 letters, digits, `-` and `_`",
        "What the names of files begin with: processes that share a folder need one each. Default \
         gavel.",
        |text| {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let is_good = (1..=40).contains(&text.len()) && text.bytes().all(is_name);
            is_good.then(|| text.to_owned())
        },
    );
    let file =
        t.bytes("file_bytes", 64 * mib, mib..=4096 * mib, "A file is finished at this size ...");
    let age = t.duration("file_age", s(900), s(1)..=s(86_400), "... or at this age.");
    let disk = t.bytes(
        "disk_bytes_max",
        1024 * mib,
        mib..=(1 << 20) * mib,
        "Files of this name that are not being written together, also what a process left that was \
         killed: the oldest are removed.",
    );
    let kept_for = t.duration(
        "keep_for",
        s(30 * 86_400),
        s(3_600)..=s(3_650 * 86_400),
        "Files of this name that began longer ago are removed while recording is on.",
    );
    let level = t.integer(
        "zstd_level",
        LEVEL_OF_SERVER,
        *LEVELS.start()..=*LEVELS.end(),
        "How hard files are packed: the lower, the less time a record takes and the larger it is; \
         0 counts as 1.",
    );
    if disk < file {
        t.fault_of("disk_bytes_max", "not less than `file_bytes`", None);
    }
    if kept_for < age {
        t.fault_of("keep_for", "not shorter than `file_age`", None);
    }
    RotateSettings {
        directory: PathBuf::new(),
        prefix: name.unwrap_or_else(|| "gavel".to_owned()),
        bytes_max: file as u64,
        age_max: age,
        kept_bytes_max: disk as u64,
        kept_for,
        writer: WriterSettings { level, ..WriterSettings::default() },
    }
}
