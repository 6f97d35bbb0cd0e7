//! What is in a capture.
//!
//! Owns: [`Overview`], taken in one pass. Never: a change to a capture, a judgement. Invariants:
//! memory does not grow with the capture; of a damaged capture what is good is shown, and where it
//! breaks. What strangers wrote into a capture is shown without its control characters.
//!
//! | file | owns |
//! |---|---|
//! | `command` | `gavel-replay show` |
//! | `tally` | counts by name, and over time |
//! | `text` | the overview for people |
//! | `record` | one record for people and as JSON |
//! | `pretty` | JSON with line ends |

pub mod command;
pub mod pretty;
pub mod record;
pub mod tally;
pub mod text;

use crate::fingerprint::features::{Channel, Features};
use crate::fingerprint::summary::Summary;
use crate::fingerprint::{Fingerprint, FingerprintSettings};
use gavel::capture::read::{CaptureError, Reader};
use gavel::capture::{Header, Record, Stratum};
use gavel::json::scratch::Scratch;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Read;
use tally::{Over, Sizes, Tally};

/// All about a capture.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    pub header: Header,
    pub records: u64,
    /// Where it breaks, if it does.
    pub broken: Option<Broken>,
    pub first_us: Option<u64>,
    pub last_us: Option<u64>,
    /// Requests over time.
    pub over_time: Over,
    pub partners: Tally,
    pub strata: Tally,
    pub statuses: Tally,
    pub reasons: Tally,
    /// Bodies of requests, in bytes.
    pub sizes: Sizes,
    /// From the head to the answer, in microseconds.
    pub took_us: Sizes,
    pub bidders: BTreeMap<String, Bidder>,
    /// Bodies that are no JSON.
    pub unreadable: u64,
    /// By feature, its values.
    pub features: BTreeMap<&'static str, Tally>,
    pub fingerprint: Option<Summary>,
}

/// Where a capture breaks.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    pub what: String,
    pub offset: u64,
    pub good_records: u64,
}

/// One bidder's part in all records.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Bidder {
    pub calls: u64,
    pub outcomes: Tally,
    pub took_us: Sizes,
}

/// Most bidders that are told apart.
const BIDDERS_MAX: usize = 256;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;

impl Overview {
    /// Of a capture, to its end or to where it breaks.
    pub fn of<R: Read>(reader: &mut Reader<R>, with_fingerprint: bool) -> Self {
        let mut overview = Self::empty(reader.header().clone());
        let settings = FingerprintSettings::default();
        let mut fingerprint = with_fingerprint.then(|| Fingerprint::new(settings));
        let (mut scratch, mut text) = (Scratch::new(DEPTH_MAX), Vec::new());
        let mut record = Record::default();
        loop {
            match reader.next(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    overview.broken = Some(broken(&fault));
                    break;
                }
            }
            overview.take(&record);
            match scratch.read(&record.body, &mut text) {
                Ok(document) => overview.take_features(&Features::of(document.root())),
                Err(_) => overview.unreadable += 1,
            }
            if let Some(fingerprint) = &mut fingerprint {
                fingerprint.observe(record.at, &record.partner, &record.path, &record.body);
            }
        }
        overview.fingerprint = fingerprint.map(|mut fingerprint| fingerprint.summary());
        overview
    }

    fn empty(header: Header) -> Self {
        Self {
            header,
            records: 0,
            broken: None,
            first_us: None,
            last_us: None,
            over_time: Over::default(),
            partners: Tally::default(),
            strata: Tally::default(),
            statuses: Tally::default(),
            reasons: Tally::default(),
            sizes: Sizes::default(),
            took_us: Sizes::default(),
            bidders: BTreeMap::new(),
            unreadable: 0,
            features: BTreeMap::new(),
            fingerprint: None,
        }
    }

    fn take(&mut self, record: &Record) {
        self.records += 1;
        let at = u64::try_from(record.at.as_micros()).unwrap_or(u64::MAX);
        self.first_us = Some(self.first_us.map_or(at, |first| first.min(at)));
        self.last_us = Some(self.last_us.map_or(at, |last| last.max(at)));
        self.over_time.add(at);
        self.partners.add(if record.partner.is_empty() { "(unknown)" } else { &record.partner });
        self.strata.add(stratum(record.stratum));
        self.sizes.add(record.body.len() as u64);
        if let Some(outcome) = &record.outcome {
            self.statuses.add(&outcome.status.to_string());
            if !outcome.reason.is_empty() {
                self.reasons.add(&outcome.reason);
            }
            self.took_us.add(micros(outcome.took));
        }
        for call in &record.calls {
            if self.bidders.len() >= BIDDERS_MAX && !self.bidders.contains_key(&call.bidder) {
                continue;
            }
            let bidder = self.bidders.entry(call.bidder.clone()).or_default();
            bidder.calls += 1;
            bidder.took_us.add(micros(call.took));
            if call.no_answer.is_empty() {
                bidder.outcomes.add(&call.status.to_string());
            } else {
                bidder.outcomes.add(&call.no_answer);
            }
        }
    }

    fn take_features(&mut self, features: &Features<'_>) {
        let channel = match features.channel {
            Channel::Site => "site",
            Channel::App => "app",
            Channel::Dooh => "dooh",
            Channel::Unknown => "(none)",
        };
        let formats = features.formats;
        let named = [
            ("banner", formats.banner),
            ("video", formats.video),
            ("audio", formats.audio),
            ("native", formats.native),
        ];
        let formats: Vec<&str> =
            named.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
        let privacy = features.privacy;
        let consent = match (privacy.gdpr, privacy.us, privacy.gpp) {
            (Some(true), _, _) if privacy.consent => "gdpr, with consent string",
            (Some(true), _, _) => "gdpr, without consent string",
            (_, Some(true), _) => "us opt-out",
            (_, Some(false), _) => "us_privacy",
            (_, _, true) => "gpp",
            _ => "(none)",
        };
        for (feature, value) in [
            ("channel", channel.to_owned()),
            ("formats", formats.join("+")),
            ("imps", features.imps.to_string()),
            ("size", format!("{}x{}", features.size.0, features.size.1)),
            ("device type", features.device_type.to_string()),
            ("os", features.os.to_owned()),
            ("country", features.country.to_owned()),
            ("privacy", consent.to_owned()),
            ("deals", features.deals.to_string()),
        ] {
            let value = if value.is_empty() || value == "0x0" { "(none)" } else { &value };
            self.features.entry(feature).or_default().add(value);
        }
    }
}

fn broken(fault: &CaptureError) -> Broken {
    Broken { what: fault.kind.to_string(), offset: fault.offset, good_records: fault.good }
}

/// In whole microseconds.
fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Why a record was kept, in a word.
pub(crate) const fn stratum(stratum: Stratum) -> &'static str {
    match stratum {
        Stratum::Sample => "sample",
        Stratum::Refused => "refused",
        Stratum::Novel => "novel",
        Stratum::Slow => "slow",
        Stratum::Large => "large",
    }
}

/// Text of strangers for a terminal: control characters are written out.
pub(crate) fn harmless(text: &str) -> String {
    let is_plain = |sign: char| !sign.is_control() || sign == '\n';
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        if is_plain(sign) {
            out.push(sign);
        } else {
            out.extend(sign.escape_unicode());
        }
    }
    out
}
