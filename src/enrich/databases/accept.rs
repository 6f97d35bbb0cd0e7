//! Which address database is taken.
//!
//! Owns: its type, its age, the check of its structure, its canaries. Never: where its bytes come
//! from. Invariant: nothing here panics or runs without a bound, whatever the bytes are.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::structure::Scan;
use super::{DatabaseError, DatabaseInfo, DatabaseSettings, Role};
use crate::enrich::geo::{AddressReader, Content, Subject, fact};
use crate::lifecycle::spare::{GivenUp, Spare};
use maxminddb::{Reader, WithinOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

/// A build this far ahead of our clock is a mistake of somebody's.
const AHEAD_MAX: Duration = Duration::from_secs(48 * 3600);

/// Addresses that are asked of the old and the new database.
const CANARIES: u64 = 100;

/// Of every `STRIDE` records one is decoded for what it tells; of the first as many, all are.
const STRIDE: usize = 61;
const FIRST: usize = 1024;

/// Stands before the metadata.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Zeros between the search tree and the data.
const SEPARATOR: usize = 16;

/// Whether the whole structure is examined, and by whom.
#[derive(Clone, Copy, Debug)]
pub enum Examination<'a> {
    No,
    Here,
    /// In spare time.
    By(&'a Spare),
}

// === impl Role ===

impl Role {
    /// What the type of its database contains, one of these.
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::City => &["City", "Enterprise"],
            Self::Country => &["Country"],
            Self::Isp => &["ISP"],
            Self::Asn => &["ASN"],
            Self::ConnectionType => &["Connection-Type"],
            Self::Anonymous => &["Anonymous"],
            Self::Device => &[],
        }
    }

    /// What is asked of its records.
    fn subject(self) -> Subject {
        match self {
            Self::City | Self::Device => Subject::City,
            Self::Country => Subject::Country,
            Self::Isp | Self::Asn => Subject::Network,
            Self::ConnectionType => Subject::Connection,
            Self::Anonymous => Subject::Anonymous,
        }
    }
}

/// The role that a database can fill by its type.
pub fn role(content: &[u8], path: &Path) -> Result<Role, DatabaseError> {
    let format = |source| DatabaseError::Format { path: path.to_owned(), source };
    let found = Reader::from_source(content).map_err(format)?.metadata().database_type.clone();
    let fits = |role: &Role| role.kinds().iter().any(|kind| found.contains(kind));
    let role = Role::ALL.into_iter().find(fits);
    let expected = "any that is known";
    role.ok_or_else(|| DatabaseError::Type { path: path.to_owned(), found, expected })
}

/// Opens a database of the type that its role asks for.
pub fn open(
    content: Content,
    info: DatabaseInfo,
    role: Role,
    examination: Examination<'_>,
) -> Result<(AddressReader, DatabaseInfo), DatabaseError> {
    let path = info.path.clone();
    let format = |source| DatabaseError::Format { path: path.clone(), source };
    let reader = Reader::from_source(content.clone()).map_err(format)?;
    let metadata = reader.metadata();
    let found = metadata.database_type.clone();
    let kinds = role.kinds();
    if !kinds.iter().any(|kind| found.contains(kind)) {
        let expected = kinds.first().copied().unwrap_or_default();
        return Err(DatabaseError::Type { path, found, expected });
    }
    let info = DatabaseInfo {
        kind: found,
        build_epoch: Some(metadata.build_epoch),
        entries: u64::from(metadata.node_count),
        ..info
    };
    let examine = move |given_up: &GivenUp| {
        let format = |source| DatabaseError::Format { path: path.clone(), source };
        let reader = Reader::from_source(content.as_ref()).map_err(format)?;
        examine(&reader, content.as_ref(), (role, &path), given_up)
    };
    match examination {
        Examination::No => {}
        Examination::Here => examine(&GivenUp::default())?,
        Examination::By(spare) => spare.run(examine)?,
    }
    Ok((reader, info))
}

/// The reader's own verification, then the strict scan of the data with a sample of what the
/// records tell.
fn examine(
    reader: &Reader<&[u8]>,
    content: &[u8],
    (role, path): (Role, &Path),
    given_up: &GivenUp,
) -> Result<(), DatabaseError> {
    let damaged = |source| DatabaseError::Damaged { path: path.to_owned(), source };
    reader.verify().map_err(damaged)?;
    let metadata = reader.metadata();
    let node_bytes = usize::from(metadata.record_size) >> 2;
    let nodes = usize::try_from(metadata.node_count).unwrap_or(usize::MAX);
    let start = nodes.saturating_mul(node_bytes).saturating_add(SEPARATOR);
    let end = memchr::memmem::rfind(content, MARKER).unwrap_or(0);
    let data = content.get(start..end).unwrap_or_default();

    let mut scan = Scan::new(data);
    let (mut records, mut asked, mut known) = (0_usize, 0_usize, 0_usize);
    // verification has bounded this walk
    for hit in reader.networks(WithinOptions::default()).map_err(damaged)? {
        let hit = hit.map_err(damaged)?;
        if given_up.is_so() {
            let source = io::Error::other("given up");
            return Err(DatabaseError::Read { path: path.to_owned(), source });
        }
        let Some(at) = hit.offset() else { continue };
        let wrong = |(at, reason)| DatabaseError::Structure { path: path.to_owned(), at, reason };
        if !scan.record(at).map_err(wrong)? {
            continue;
        }
        records = records.saturating_add(1);
        if records <= FIRST || records.is_multiple_of(STRIDE) {
            asked = asked.saturating_add(1);
            let told = fact(role.subject(), &hit).map_err(damaged)?;
            known = known.saturating_add(usize::from(told.is_some()));
        }
    }
    // Some records tell nothing of what is asked (an anycast network has no country); most do.
    if known.saturating_mul(2) < asked || records == 0 {
        return Err(DatabaseError::Empty { path: path.to_owned(), known, asked });
    }
    Ok(())
}

/// Whether a build is too far ahead of the clock.
pub fn is_ahead(built: u64, wall: Duration) -> bool {
    built > wall.saturating_add(AHEAD_MAX).as_secs()
}

/// Whether the age of a new database lets it follow the one in use.
pub fn age(
    new: &DatabaseInfo,
    live: Option<&DatabaseInfo>,
    settings: &DatabaseSettings,
    wall: Duration,
) -> Result<(), DatabaseError> {
    let Some(built) = new.build_epoch else { return Ok(()) };
    if is_ahead(built, wall) {
        return Err(DatabaseError::Future { path: new.path.clone(), built });
    }
    let in_use = live.and_then(|live| live.build_epoch).unwrap_or(0);
    if built < in_use && !settings.allow_older {
        return Err(DatabaseError::Older { path: new.path.clone(), built, in_use });
    }
    Ok(())
}

/// Whether a new database agrees with the one in use on addresses of the latter.
pub fn canaries(
    live: &AddressReader,
    new: &AddressReader,
    role: Role,
    (path, percent): (&Path, u8),
) -> Result<(), DatabaseError> {
    // Who hides an address changes within days: nothing follows from that.
    if role == Role::Anonymous {
        return Ok(());
    }
    let is_named = matches!(role, Role::City | Role::Country);
    let (mut asked, mut agreed) = (0_usize, 0_usize);
    for address in draw(live) {
        let told = |reader: &AddressReader| {
            let hit = reader.lookup(address).ok()?;
            fact(role.subject(), &hit).ok().flatten().map(str::to_owned)
        };
        let Some(old) = told(live) else { continue };
        let new = told(new);
        let is_same = if is_named { new.as_ref() == Some(&old) } else { new.is_some() };
        asked = asked.saturating_add(1);
        agreed = agreed.saturating_add(usize::from(is_same));
    }
    if agreed.saturating_mul(100) < asked.saturating_mul(usize::from(percent)) {
        return Err(DatabaseError::Canary { path: path.to_owned(), agreed, asked });
    }
    Ok(())
}

/// Addresses from a database's own networks, the same ones every time: two thirds IPv4 where
/// there are both.
fn draw(reader: &AddressReader) -> Vec<IpAddr> {
    let v4 = Net { bits: 0, prefix: 0, width: 32 };
    let v6 = Net { bits: 0b001 << 125, prefix: 3, width: 128 };
    let has = |net: &Net| net.has_data(reader);
    let nets: Vec<Net> = match (has(&v4), has(&v6)) {
        (true, true) => vec![v4, v4, v6],
        (true, false) => vec![v4],
        (false, true) => vec![v6],
        (false, false) => Vec::new(),
    };
    (0..CANARIES)
        .zip(nets.iter().cycle())
        .map(|(nth, net)| {
            net.descend(reader, &mut Steps(nth.wrapping_mul(STEP).wrapping_add(STEP)))
        })
        .collect()
}

/// A prefix of either width.
#[derive(Clone, Copy, Debug)]
struct Net {
    /// From the highest of `width` bits on.
    bits: u128,
    prefix: u32,
    width: u32,
}

/// Pseudo-random bits (SplitMix64).
struct Steps(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

// === impl Net ===

impl Net {
    fn address(self) -> IpAddr {
        match u32::try_from(self.bits) {
            Ok(bits) if self.width == 32 => IpAddr::V4(Ipv4Addr::from(bits)),
            _ => IpAddr::V6(Ipv6Addr::from(self.bits)),
        }
    }

    /// Empty branches of a search tree are cut off, so that data, if there is any, is near.
    fn has_data(self, reader: &AddressReader) -> bool {
        let Ok(net) = format!("{}/{}", self.address(), self.prefix).parse() else { return false };
        let found = reader.within(net, WithinOptions::default());
        found.is_ok_and(|mut found| found.next().is_some_and(|hit| hit.is_ok()))
    }

    /// Half of it.
    fn half(self, is_upper: bool) -> Self {
        let prefix = self.prefix.saturating_add(1);
        let shift = self.width.saturating_sub(prefix);
        let bit = u128::from(is_upper).checked_shl(shift).unwrap_or(0);
        Self { bits: self.bits | bit, prefix, ..self }
    }

    /// An address below, by random turns that avoid empty halves.
    fn descend(self, reader: &AddressReader, steps: &mut Steps) -> IpAddr {
        let mut net = self;
        while net.prefix < net.width {
            let turn = steps.next_bit();
            let half = net.half(turn);
            net = if half.has_data(reader) { half } else { net.half(!turn) };
        }
        net.address()
    }
}

// === impl Steps ===

impl Steps {
    fn next_bit(&mut self) -> bool {
        self.0 = self.0.wrapping_add(STEP);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed >> 63 == 1
    }
}
