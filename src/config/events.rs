//! `[journal]`, `[broker]` and `[events]`: what is kept of auctions and events, and our own notice URLs.
//!
//! Owns: names, defaults and ranges of their keys, the relations between them, and to the keys that are
//! in force. Never: a folder
//! that is opened, a key that is shown.

use super::fault::{Fault, Found, Place};
use super::files::Files;
use super::reader::Table;
use super::{Config, Report, broker, words};
use crate::journal::{self, JournalFault};
use crate::token::SKEW;
use crate::token::issuer::{BASE_CHARS_MAX, Issuer};
use crate::token::keys::{KEYS_MAX, Key, Keys, SECRET_CHARS_MIN};
use std::path::Path;
use std::time::Duration;
use url::Url;

/// A file with a secret that is larger is a mistake.
const SECRET_FILE_BYTES_MAX: u64 = 4096;
const SECRET_WANTED: &str = "a secret of 32 characters or more";

/// What waits for a restart: where records go, and how events are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// `None`: nothing is kept, no event is taken.
    pub journal: Option<journal::Settings>,
    pub ack: Ack,
    /// Where they go beyond this machine.
    pub broker: Option<crate::broker::Settings>,
    /// Events of one worker that wait to become durable.
    pub in_flight_max: u32,
}

/// Where durability ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// On this machine's disk.
    #[default]
    Local,
    /// With the broker's acknowledgement.
    Broker,
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Both sections; paths are relative to `folder`.
pub fn read(root: &mut Table, folder: &Path, files: &Files) -> (Events, Option<Issuer>) {
    let mut journal = journal(root, folder);
    let broker = broker::read(root, folder);
    if broker.is_some() && journal.is_none() {
        let wanted = "there, where there is a `[broker]`: what it does not have yet waits there";
        root.section("journal").fault_of("dir", wanted, None);
    }
    let mut t = root.section("events");
    let ack = t.choice(
        "ack",
        &[("local", Ack::Local), ("broker", Ack::Broker)],
        "When an event is answered: `local` once it is on this machine's disk, `broker` once the \
         stream of `[broker]` has acknowledged it.",
    );
    let in_flight_max = t.integer(
        "in_flight_max",
        4_096,
        1..=100_000,
        "Events of one worker that wait to become durable; what comes beyond gets 503.",
    );
    let issuer = issuer(&mut t, folder, files);
    let is_present = t.is_present();
    if is_present && journal.is_none() {
        t.fault_of("ack", "there together with `journal.dir`", None);
    }
    if let Some(journal) = &mut journal {
        // what every sink has passed is of no money
        journal.gives_way = ack == Some(Ack::Broker);
    }
    if ack == Some(Ack::Broker) && broker.is_none() {
        t.fault_of("ack", "`broker` only where there is a `[broker]`", None);
    }
    if let (Some(journal), Some(issuer)) = (&journal, &issuer) {
        let longest = issuer.ttl_max() + SKEW;
        if journal.keep_for < longest {
            let wanted =
                "at most `journal.keep_for` less 5 minutes: repeats are told by the journal";
            t.fault_of("video_ttl", wanted, None);
        }
    }
    t.end();
    (Events { journal, ack: ack.unwrap_or_default(), broker, in_flight_max }, issuer)
}

fn issuer(t: &mut Table, folder: &Path, files: &Files) -> Option<Issuer> {
    let base = t.parsed(
        "url",
        "http:// or https:// with a host, perhaps a path, at most 256 characters",
        "Where partners reach us from outside: begins every `nurl`, `burl` and `lurl` of ours. \
         Absent: bids keep those of their bidders, and no event is taken.",
        base,
    );
    let banner_ttl = t.duration(
        "banner_ttl",
        s(3600),
        s(60)..=s(7 * 86_400),
        "How long events of banners and native ads on pages are taken; longer where the `exp` of the bid, or \
         else of the imp, says so, up to the longer of this and `video_ttl`: what `exp` says beyond that is \
         cut in the answer.",
    );
    let video_ttl = t.duration(
        "video_ttl",
        s(86_400),
        s(60)..=s(7 * 86_400),
        "... and of video, audio and whatever is shown in an app; longer as above.",
    );
    let keys = keys(t, folder, files);
    let is_on = base.is_some();
    if is_on && keys.is_none() && !t.has("keys") {
        t.fault_of("keys", "at least one, where there is a `url`", None);
    }
    Some(Issuer { keys: keys?, base: base?, banner_ttl, video_ttl })
}

/// A base that needs no escaping, where it is looked at and where it is written.
fn base(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let url = Url::parse(text).ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
    let is_good = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && text.len() <= BASE_CHARS_MAX
        && text.bytes().all(is_plain);
    is_good.then(|| text.to_owned())
}

/// Whether a process that started with `opened`, and now has `in_force`, may take a configuration while
/// it runs. What is written of `journal` counts from its next start, so the rest has to go with the
/// journal that it has.
pub fn check_reload(
    config: &Config,
    (in_force, opened): (&Config, &Events),
    main: &Path,
) -> Result<(), Report> {
    let place = |path: &str| Place { file: main.display().to_string(), path: path.to_owned() };
    let replaced = replaced_key(config, in_force, &place("events.keys"));
    let faults = match &opened.journal {
        Some(journal) => too_long(config, journal, &place("events.video_ttl")),
        None => awarded(config, &place("partners")),
    };
    let faults: Vec<Fault> = replaced.into_iter().chain(faults).collect();
    if faults.is_empty() { Ok(()) } else { Err(Report(faults)) }
}

/// Repeats are told by the journal that is open: no token may live for longer than that remembers.
fn too_long(config: &Config, journal: &journal::Settings, place: &Place) -> Option<Fault> {
    let issuer = config.rules.issuer.as_ref()?;
    let longest = issuer.ttl_max();
    if longest + SKEW <= journal.keep_for {
        return None;
    }
    let most = shown_time(journal.keep_for.saturating_sub(SKEW));
    let wanted = format!(
        "until a restart at most {most}, `banner_ttl` too: the journal that is open keeps records for {}, \
         and repeats are told by it",
        shown_time(journal.keep_for)
    );
    Some(place.fault(Found::text(&shown_time(longest)), wanted, None))
}

fn shown_time(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

/// An answer that is an award is an event, and without a journal none is taken.
fn awarded(config: &Config, place: &Place) -> Option<Fault> {
    let partner = config.rules.partners.iter().find(|partner| partner.awards_by_answer)?;
    let wanted = format!(
        "`upstream` for {:?} until a restart: this process started without a `[journal]`, and takes no events",
        partner.name
    );
    Some(place.of("win_notice").fault(Found::text("answer"), wanted, None))
}

/// Whether the tokens that are out are no longer taken: each names its key by a number, under which there
/// is one secret for as long as a process runs.
fn replaced_key(config: &Config, in_force: &Config, place: &Place) -> Option<Fault> {
    let issuers = config.rules.issuer.as_ref().zip(in_force.rules.issuer.as_ref());
    let replaced = issuers.and_then(|(new, old)| new.keys.replaced(&old.keys));
    let id = replaced?;
    let wanted = format!(
        "a new `id` with a new secret: tokens that the present secret of {id} has signed are out"
    );
    Some(place.fault(Found::Value(format!("another secret for id {id}")), wanted, None))
}

fn keys(t: &mut Table, folder: &Path, files: &Files) -> Option<Keys> {
    let (mut read, mut ids): (Vec<Key>, Vec<u8>) = Default::default();
    for mut one in t.sections("keys") {
        let (id, secret) = key(&mut one, folder, files);
        if id.is_some_and(|id| ids.contains(&id)) {
            one.fault_of("id", "a number that no other key has", None);
        }
        one.end();
        ids.extend(id);
        read.extend(id.zip(secret).map(|(id, secret)| Key::new(id, &secret)));
    }
    if read.len() > KEYS_MAX {
        t.fault_of("keys", &format!("at most {KEYS_MAX}"), None);
    }
    let mut read = read.into_iter();
    Some(Keys::new(read.next()?, read.collect()))
}

/// One key: its id, and the secret from the file or from a file beside it.
fn key(t: &mut Table, folder: &Path, files: &Files) -> (Option<u8>, Option<String>) {
    let id = t.integer_optional(
        "id",
        0..=255_u8,
        "Stands in each token that the key signs. The first key of the list signs, all are taken: \
         a new one goes behind the old one, then before it, and the old one goes when its last \
         token has ended. Another secret under a number that is in force is not taken.",
    );
    let good = |text: &str| {
        let text = text.trim();
        (text.chars().count() >= SECRET_CHARS_MIN).then(|| text.to_owned())
    };
    let own = t.parsed(
        "secret",
        SECRET_WANTED,
        "The secret; all replicas have the same. This or `secret_file` is needed.",
        good,
    );
    let path = t.parsed("secret_file", "a path to a file", "A file with the secret.", |text| {
        words::text(text).map(|text| folder.join(text))
    });
    let secret = match (own, path) {
        (Some(_), Some(_)) => {
            t.fault_of("secret_file", "absent where there is a `secret`", None);
            None
        }
        (Some(own), None) => Some(own),
        (None, Some(path)) => {
            let read = files.read(&path, SECRET_FILE_BYTES_MAX);
            let read = read.map(|bytes| String::from_utf8(bytes).ok().as_deref().and_then(good));
            let fault = match &read {
                Ok(Some(_)) => None,
                Ok(None) => Some(format!("a file with {SECRET_WANTED}")),
                Err(fault) => Some(format!("a file that can be read: {fault}")),
            };
            if let Some(fault) = fault {
                t.fault_of("secret_file", &fault, None);
            }
            read.ok().flatten()
        }
        (None, None) => {
            if !t.has("secret") && !t.has("secret_file") {
                t.fault_of("secret", SECRET_WANTED, None);
            }
            None
        }
    };
    if !t.has("id") {
        t.fault_of("id", "a number, 0 to 255", None);
    }
    (id, secret)
}

fn journal(root: &mut Table, folder: &Path) -> Option<journal::Settings> {
    let mut t = root.section("journal");
    let path = |text: &str| words::text(text).map(|text| folder.join(text));
    let dir = t.parsed(
        "dir",
        "a path to a folder",
        "Where records of auctions and events are kept; made where it is not there. One process, \
         one folder. Absent: nothing is kept, and no event is taken.",
        path,
    );
    let spill_dir = t.parsed(
        "spill_dir",
        "a path to a folder",
        "Where it goes on when `dir` fails, hangs or is full: another disk, which lives as long as `dir`. A \
         journal that was not ended in order, or has records here, does not begin without it: a file \
         `spill-folder` in `dir` says which it is, and is removed by whoever knows that it is lost.",
        path,
    );
    let d = journal::Settings::new(dir.clone().unwrap_or_default());
    let d = times(&mut t, d);
    let d = sizes(&mut t, d);
    let d = room(&mut t, d);
    let settings = journal::Settings { spill_dir, ..d };
    if t.has("dir")
        && let Err(fault) = settings.check()
    {
        apart(&mut t, &settings, &fault);
    }
    if dir.is_none() && t.is_present() && !t.has("dir") {
        t.fault_of("dir", "there where there is a `[journal]`", None);
    }
    t.end();
    dir.map(|_| settings)
}

/// Sizes that are good alone and do not go together: the fault is of one that is written in the file.
fn apart(t: &mut Table, settings: &journal::Settings, fault: &JournalFault) {
    let (key, wanted) = match fault {
        JournalFault::Setting { key: "commit_bytes_max", most, .. } => {
            if t.has("commit_bytes_max") {
                ("commit_bytes_max", format!("at most half of `segment_bytes`: {most}"))
            } else {
                let twice = settings.commit_bytes_max.saturating_mul(2);
                ("segment_bytes", format!("at least twice `commit_bytes_max`: {twice}"))
            }
        }
        JournalFault::Setting { key: "record_bytes_max", value, .. } => {
            if t.has("record_bytes_max") {
                ("record_bytes_max", format!("with its head ({value}) within `commit_bytes_max`"))
            } else {
                ("commit_bytes_max", format!("at least a record with its head: {value}"))
            }
        }
        other => ("dir", format!("with limits that go together: {other}")),
    };
    t.fault_of(key, &wanted, None);
}

fn times(t: &mut Table, d: journal::Settings) -> journal::Settings {
    let ms = Duration::from_millis;
    journal::Settings {
        commit_wait: t.duration(
            "commit_wait",
            d.commit_wait,
            ms(0)..=s(1),
            "A commit begins when its first record has waited for so long ...",
        ),
        slow_after: t.duration(
            "slow_after",
            d.slow_after,
            ms(1)..=s(10),
            "A commit that takes longer is an alarm.",
        ),
        stuck_after: t.duration(
            "stuck_after",
            d.stuck_after,
            ms(10)..=s(60),
            "A commit that takes longer is given up, and its records written elsewhere.",
        ),
        keep_for: t.duration(
            "keep_for",
            d.keep_for,
            s(60)..=s(400 * 86_400),
            "Records are kept for so long, also where they have been delivered: for telling \
             repeats, and for the ledger.",
        ),
        ..d
    }
}

fn sizes(t: &mut Table, d: journal::Settings) -> journal::Settings {
    let (kib, mib) = (1_usize << 10, 1_usize << 20);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    journal::Settings {
        segment_bytes: t.bytes(
            "segment_bytes",
            size(d.segment_bytes),
            64 * kib..=1024 * mib,
            "Size of its files, written full of zeros beforehand.",
        ) as u64,
        commit_records: t.integer(
            "commit_records",
            d.commit_records,
            1..=65_536,
            "... or when so many records wait.",
        ),
        commit_bytes_max: t.bytes(
            "commit_bytes_max",
            d.commit_bytes_max,
            4 * kib..=16 * mib,
            "Most bytes of a commit, at most half a segment.",
        ),
        record_bytes_max: t.bytes(
            "record_bytes_max",
            d.record_bytes_max,
            8 * kib..=256 * kib,
            "Longest record, at most a commit.",
        ),
        waiting_records_max: t.integer(
            "waiting_records_max",
            d.waiting_records_max,
            1..=10_000_000,
            "Events that wait for the disk; what comes beyond gets 503.",
        ),
        buffered_records_max: t.integer(
            "buffered_records_max",
            d.buffered_records_max,
            1..=10_000_000,
            "Records of auctions that wait; what comes beyond is dropped and counted.",
        ),
        ..d
    }
}

/// What it may take of its disks, and of memory.
fn room(t: &mut Table, d: journal::Settings) -> journal::Settings {
    let mib = 1_usize << 20;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    journal::Settings {
        ballast_bytes: t.bytes(
            "ballast_bytes",
            size(d.ballast_bytes),
            0..=64 * 1024 * mib,
            "Room that is kept for the moment when the disk is full.",
        ) as u64,
        disk_bytes_max: t.bytes(
            "disk_bytes_max",
            size(d.disk_bytes_max),
            mib..=(64 << 20) * mib,
            "Most bytes in each of the folders: beyond it there are no auctions.",
        ) as u64,
        buffered_percent: t.integer(
            "auctions_percent",
            d.buffered_percent,
            0..=100,
            "Part of `disk_bytes_max` in percent: where the journal has filled it, records of auctions \
             are dropped and counted, and what is left is for events; as where the disk was full. 0: \
             there are none at all.",
        ),
        keep_bytes: t.bytes(
            "keep_bytes",
            size(d.keep_bytes),
            0..=(64 << 20) * mib,
            "Records are kept beyond `keep_for` while they are smaller than this.",
        ) as u64,
        ids_max: t.integer(
            "ids_max",
            d.ids_max,
            1_000..=1_000_000_000,
            "Events that are remembered for telling repeats (48 bytes each).",
        ),
        ..d
    }
}
