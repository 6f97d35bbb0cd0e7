//! The device database: the regexes with their table of models.
//!
//! Owns: how it is opened, and the canaries that a new one must know. Never: how an agent is
//! classified. Invariant: work is bounded by the size of the files, which is bounded by a setting,
//! and by the budgets of the YAML reader and of the regex compiler.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::place::Raw;
use super::{DatabaseError, DatabaseInfo};
use crate::enrich::device::{Agent, DeviceDatabase};
use crate::enrich::models::Models;
use std::error::Error;
use std::path::Path;
use ua_parser::{Extractor, Regexes};

/// Of what the database in use knows of the canaries, how much a new one must know, in percent.
/// There are few of them, and a maker of regexes may think better of one.
const KNOWN_PERCENT: usize = 75;

/// Agents that any database of devices knows.
const CANARIES: [&str; 12] = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
     Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Version/16.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/124.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 12; SM-X200) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/122.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0 \
     Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 \
     Safari/537.36",
    "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.5) AppleWebKit/537.36 (KHTML, like Gecko) \
     SamsungBrowser/4.0 Chrome/85.0.4183.93 TV Safari/537.36",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];

/// The regexes.
pub fn regexes(
    raw: &Raw,
    path: &Path,
) -> Result<(Extractor<'static>, DatabaseInfo), DatabaseError> {
    let (extractor, count) = compile(raw.content.as_ref())
        .map_err(|source| DatabaseError::Regexes { path: path.to_owned(), source })?;
    Ok((extractor, info(raw, "device_regexes", path, count)))
}

/// The table.
pub fn models(raw: &Raw, path: &Path) -> Result<(Models, DatabaseInfo), DatabaseError> {
    let text = String::from_utf8_lossy(raw.content.as_ref());
    let models = Models::parse(&text)
        .map_err(|source| DatabaseError::Models { path: path.to_owned(), source })?;
    let info = info(raw, "device_models", path, models.len() as u64);
    Ok((models, info))
}

/// Whether `new` may stand in for `live`, judged by what both say of common agents.
pub fn canaries(
    live: &DeviceDatabase,
    new: &DeviceDatabase,
    path: &Path,
) -> Result<(), DatabaseError> {
    let (mut asked, mut agreed) = (0_usize, 0_usize);
    for ua in CANARIES {
        let agent = Agent::new(ua, None);
        let (live, new) = (live.classify(&agent), new.classify(&agent));
        let facts = [
            (live.devicetype.is_some(), new.devicetype.is_some()),
            (live.os.is_some(), new.os.is_some()),
            (live.is_bot, new.is_bot),
        ];
        for (is_known, is_still) in facts {
            asked = asked.saturating_add(usize::from(is_known));
            agreed = agreed.saturating_add(usize::from(is_known && is_still));
        }
    }
    if agreed.saturating_mul(100) < asked.saturating_mul(KNOWN_PERCENT) {
        return Err(DatabaseError::Canary { path: path.to_owned(), agreed, asked });
    }
    Ok(())
}

fn info(raw: &Raw, role: &'static str, path: &Path, entries: u64) -> DatabaseInfo {
    DatabaseInfo {
        role,
        path: path.to_owned(),
        kind: role.to_owned(),
        generation: None,
        build_epoch: None,
        entries,
        bytes: raw.bytes,
        sha256: raw.sha256.clone(),
    }
}

/// Reads and compiles regexes; gives how many there are.
fn compile(content: &[u8]) -> Result<(Extractor<'static>, u64), Box<dyn Error + Send + Sync>> {
    let text = std::str::from_utf8(content)?;
    let regexes: Regexes<'static> = serde_saphyr::from_str(text)?;
    let parsers =
        [regexes.user_agent_parsers.len(), regexes.os_parsers.len(), regexes.device_parsers.len()];
    let extractor = Extractor::try_from(regexes).map_err(|fault| fault.to_string())?;
    Ok((extractor, parsers.iter().sum::<usize>() as u64))
}
