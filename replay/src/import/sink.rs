//! Messages become records of a capture.
//!
//! Owns: what is filtered, how a message becomes a record, the account of an import. Never: a
//! format of input, the format of a capture. Invariants: what is neither imported nor skipped is
//! never lost silently: `read = imported + skipped requests`; headers that could tell who asked
//! (cookies, keys, addresses) do not reach the capture.

use super::http::{self, MESSAGE_BYTES_MAX};
use super::{Answer, ImportError, Message, NoAnswer, Skip};
use bytes::Bytes;
use gavel::capture::pseudonym::Pseudonymiser;
use gavel::capture::write::{Writer, WriterSettings};
use gavel::capture::{Header, Record, RecordedOutcome, Stratum};
use gavel::coding::{self, Caps, Coding};
use gavel::http::head::{GZIP_QUERY, is_opt_out};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

/// Headers that a replay sends again, beside those by which a browser opts out.
const KEPT: [&str; 7] = [
    "accept",
    "accept-encoding",
    "content-encoding",
    "content-type",
    "expect",
    "origin",
    "x-openrtb-version",
];

/// How a body begins that is packed with gzip, and no JSON does (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Records that wait until it is known which is the earliest of them: files are in order but for
/// what came at nearly the same time.
const WAITING_MAX: usize = 256;

/// What the path of a request for a bid begins with.
const ROOT: &str = "openrtb2";

/// Path where a file has none and no partner is named: that of `cargo demo`.
const PARTNER: &str = "demo";

/// What is taken, and as what.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkSettings {
    pub path_prefix: Option<String>,
    pub host: Option<String>,
    /// Written instead of each path.
    pub set_path: Option<String>,
    /// Written as the partner; without it: the one that the path names.
    pub partner: Option<String>,
    /// Requests a second, where a file has no times.
    pub rate: f64,
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self { path_prefix: None, host: None, set_path: None, partner: None, rate: 100.0 }
    }
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub imported: u64,
    /// Imported requests whose answer is in the file too.
    pub answered: u64,
    /// Imported requests without, where it is known why.
    pub unanswered: BTreeMap<NoAnswer, u64>,
    /// By reason: how many, and where the first was.
    pub skipped: BTreeMap<Skip, (u64, u64)>,
    /// Requests from before the first 256: written as if they had come at the start.
    pub early: u64,
    /// From the first request to the last.
    pub took: Duration,
}

/// Where an import goes to.
pub struct Sink<'w, W: Write> {
    settings: &'w SinkSettings,
    header: Header,
    /// None: what is personal is written as it came.
    pseudonyms: Option<Pseudonymiser>,
    out: Out<W>,
    account: Account,
    waiting: Vec<(u64, Record)>,
    /// Since the time of the file.
    start_ns: Option<u64>,
    last_ns: u64,
    taken: u64,
}

enum Out<W> {
    /// Nothing was written yet.
    Closed(Option<W>),
    Open(Box<Writer<W>>),
}

impl<'w, W: Write> Sink<'w, W> {
    /// Writes to `out`, once there is something to write; the start is set in the header then.
    pub fn new(
        out: W,
        header: Header,
        settings: &'w SinkSettings,
        pseudonyms: Option<Pseudonymiser>,
    ) -> Self {
        Self {
            settings,
            header,
            pseudonyms,
            out: Out::Closed(Some(out)),
            account: Account::default(),
            waiting: Vec::new(),
            start_ns: None,
            last_ns: 0,
            taken: 0,
        }
    }

    /// Counts a record that is not used.
    pub fn skip(&mut self, skip: Skip, offset: u64) {
        self.account.skipped.entry(skip).or_insert((0, offset)).0 += 1;
    }

    /// Takes a message.
    pub fn take(&mut self, message: Message) -> Result<(), ImportError> {
        let offset = message.offset;
        if let Some(skip) = self.filter(&message) {
            self.skip(skip, offset);
            return Ok(());
        }
        let at_ns = message.at_ns.unwrap_or_else(|| self.evenly());
        let no_answer = message.no_answer;
        let record = match self.record(message) {
            Ok(record) => record,
            Err(skip) => {
                self.skip(skip, offset);
                return Ok(());
            }
        };
        self.taken += 1;
        self.account.answered += u64::from(record.outcome.is_some());
        if let Some(why) = no_answer.filter(|_| record.outcome.is_none()) {
            *self.account.unanswered.entry(why).or_default() += 1;
        }
        if self.start_ns.is_none() {
            self.waiting.push((at_ns, record));
            if self.waiting.len() >= WAITING_MAX {
                self.begin()?;
            }
            return Ok(());
        }
        self.write(at_ns, record)
    }

    /// Ends the capture; what was written stands also where the file ended badly.
    pub fn finish(mut self) -> Result<(Account, Option<W>), ImportError> {
        self.begin()?;
        self.account.took = Duration::from_nanos(self.last_ns);
        let written = match self.out {
            Out::Closed(_) => None,
            Out::Open(writer) => {
                Some(writer.finish().map_err(|source| ImportError::Write { source })?)
            }
        };
        Ok((self.account, written))
    }

    /// The time of the next request at the rate that was asked for.
    fn evenly(&self) -> u64 {
        let at = crate::random::seconds(self.taken as f64 / self.settings.rate.max(1e-9));
        u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
    }

    fn filter(&self, message: &Message) -> Option<Skip> {
        if message.method != "POST" {
            return Some(Skip::OtherMethod);
        }
        let settings = self.settings;
        if settings.path_prefix.as_ref().is_some_and(|start| !message.target.starts_with(start)) {
            return Some(Skip::OtherPath);
        }
        let host = http::value(&message.headers, "host");
        if settings.host.as_deref().is_some_and(|wanted| host != Some(wanted)) {
            return Some(Skip::OtherHost);
        }
        None
    }

    fn record(&mut self, message: Message) -> Result<Record, Skip> {
        let (target, says_gzip) = without_gzip(without_origin(&message.target));
        let said = if says_gzip && message.body.starts_with(&GZIP_MAGIC) {
            Coding::Gzip
        } else {
            Coding::Identity
        };
        let body = decoded(&message.headers, message.body, said)?;
        if body.is_empty() {
            return Err(Skip::EmptyBody);
        }
        let named = self.settings.partner.clone();
        let path = match &self.settings.set_path {
            Some(path) => path.clone(),
            None if message.target.is_empty() => {
                format!("/openrtb2/{}", named.as_deref().unwrap_or(PARTNER))
            }
            None => target,
        };
        let mut body = Bytes::from(body);
        let mut path = without_key(path);
        let mut headers = kept(message.headers);
        let mut outcome = message.answer.map(outcome);
        if let Some(pseudonyms) = &mut self.pseudonyms {
            body = pseudonyms.body(&body).ok_or(Skip::Opaque)?;
            path = pseudonyms.text(&path).unwrap_or(path);
            for (name, value) in &mut headers {
                if let Some(new) = pseudonyms.header(name, value) {
                    *value = new;
                }
            }
            if let Some(outcome) = &mut outcome {
                // of an answer that is no JSON the status is kept
                outcome.body = pseudonyms.body(&outcome.body).unwrap_or_default();
            }
        }
        Ok(Record {
            at: Duration::ZERO,
            connection: message.connection,
            partner: named.unwrap_or_else(|| partner_of(&path).to_owned()),
            method: message.method,
            path,
            headers,
            body,
            stratum: Stratum::Sample,
            outcome,
            calls: Vec::new(),
        })
    }

    /// Writes the head of the capture and what waits.
    fn begin(&mut self) -> Result<(), ImportError> {
        let Some(start) = self.waiting.iter().map(|(at, _)| *at).min() else { return Ok(()) };
        self.start_ns = Some(start);
        for (at, record) in std::mem::take(&mut self.waiting) {
            self.write(at, record)?;
        }
        Ok(())
    }

    fn write(&mut self, at_ns: u64, mut record: Record) -> Result<(), ImportError> {
        let start = self.start_ns.unwrap_or(at_ns);
        self.account.early += u64::from(at_ns < start);
        let since = at_ns.saturating_sub(start);
        self.last_ns = self.last_ns.max(since);
        record.at = Duration::from_nanos(since);
        let push = |writer: &mut Writer<W>| match writer.push(&record) {
            Err(fault) if fault.kind() == io::ErrorKind::InvalidInput => Ok(false),
            other => other.map(|()| true),
        };
        let pushed = match &mut self.out {
            Out::Open(writer) => push(writer),
            Out::Closed(out) => {
                let Some(out) = out.take() else { return Ok(()) };
                self.header.started_us = start / 1_000;
                Writer::new(out, &self.header, WriterSettings::default()).and_then(|mut writer| {
                    let pushed = push(&mut writer);
                    self.out = Out::Open(Box::new(writer));
                    pushed
                })
            }
        };
        match pushed {
            Ok(true) => self.account.imported += 1,
            // beyond what a capture holds; its offset is not known any more
            Ok(false) => self.skip(Skip::TooLarge, 0),
            Err(source) => return Err(ImportError::Write { source }),
        }
        Ok(())
    }
}

/// A body without the coding of its content, or without the one `said` elsewhere where no header
/// names one.
fn decoded(headers: &[(String, String)], body: Vec<u8>, said: Coding) -> Result<Vec<u8>, Skip> {
    let caps = Caps { body_bytes_max: MESSAGE_BYTES_MAX, ..Caps::default() };
    let names = headers.iter().filter(|(name, _)| name == "content-encoding");
    let coding =
        Coding::parse(names.map(|(_, value)| value.as_bytes())).map_err(|_| Skip::BadCoding)?;
    let coding = if coding == Coding::Identity { said } else { coding };
    if coding == Coding::Identity {
        return Ok(body);
    }
    let decoded = coding::decode(coding, &body, &caps).map_err(|_| Skip::BadCoding)?;
    Ok(decoded.into_owned())
}

fn outcome(answer: Answer) -> RecordedOutcome {
    RecordedOutcome {
        status: answer.status,
        reason: String::new(),
        took: Duration::from_nanos(answer.took_ns),
        generation: 0,
        // an answer that cannot be read still has its status
        body: Bytes::from(
            decoded(&answer.headers, answer.body, Coding::Identity).unwrap_or_default(),
        ),
    }
}

fn kept(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let kept = |(name, value): (String, String)| {
        if is_opt_out(&name, value.as_bytes()) {
            // whatever stands behind it
            return Some((name, "1".to_owned()));
        }
        KEPT.contains(&name.as_str()).then_some((name, value))
    };
    headers.into_iter().filter_map(kept).collect()
}

/// Path and query of a target that may name its origin too, as those in HTTP archives do; not the
/// address that a query may hold.
fn without_origin(target: &str) -> &str {
    if target.starts_with('/') {
        return target;
    }
    let rest = target.split_once("://").map(|(_, rest)| rest);
    rest.map_or(target, |rest| {
        let path = rest.find(['/', '?', '#']).and_then(|at| rest.get(at..));
        path.filter(|path| path.starts_with('/')).unwrap_or("/")
    })
}

/// Without the word of Prebid.js on a coding, which is undone; and whether it was there.
fn without_gzip(path: &str) -> (String, bool) {
    let (start, query) = path.split_once('?').unwrap_or((path, ""));
    let is_other = |part: &&str| *part != GZIP_QUERY;
    if query.split('&').all(|part| is_other(&part)) {
        return (path.to_owned(), false);
    }
    let rest: Vec<&str> = query.split('&').filter(is_other).collect();
    let sign = if rest.is_empty() { "" } else { "?" };
    (format!("{start}{sign}{}", rest.join("&")), true)
}

/// `/openrtb2/{partner}/{key}` without the key, wherever a gateway puts it; the query stays.
fn without_key(target: String) -> String {
    let (path, query) = target.split_at(target.find(['?', '#']).unwrap_or(target.len()));
    let mut parts = path.split('/');
    let front: Vec<&str> = parts.by_ref().take_while(|part| *part != ROOT).collect();
    match (parts.next(), parts.next()) {
        (Some(partner), Some(_)) => {
            format!("{}/{ROOT}/{partner}/key{query}", front.join("/"))
        }
        _ => target,
    }
}

/// `/openrtb2/{partner}`, as gavel's own paths are; empty for any other.
fn partner_of(path: &str) -> &str {
    let name = path.strip_prefix("/openrtb2/").unwrap_or_default();
    name.split(['/', '?']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_origin_and_name_their_partner() {
        for (target, path, partner) in [
            ("/openrtb2/acme?x=1", "/openrtb2/acme?x=1", "acme"),
            ("https://exchange.example/openrtb2/acme/key", "/openrtb2/acme/key", "acme"),
            ("http://exchange.example", "/", ""),
            ("http://exchange.example?r=http://a/b", "/", ""),
            (
                "/openrtb2/acme?page=https://a.example/b",
                "/openrtb2/acme?page=https://a.example/b",
                "acme",
            ),
            (
                "https://exchange.example/openrtb2/acme?page=https://a.example/b",
                "/openrtb2/acme?page=https://a.example/b",
                "acme",
            ),
            ("/bid", "/bid", ""),
        ] {
            assert_eq!(without_origin(target), path);
            assert_eq!(partner_of(path), partner);
        }
        for (path, rest, is_said) in [
            ("/openrtb2/acme?gzip=1", "/openrtb2/acme", true),
            ("/openrtb2/acme?x=1&gzip=1&y", "/openrtb2/acme?x=1&y", true),
            ("/openrtb2/acme?x=gzip=1", "/openrtb2/acme?x=gzip=1", false),
            ("/openrtb2/acme?gzip=0&&y", "/openrtb2/acme?gzip=0&&y", false),
            ("/openrtb2/acme", "/openrtb2/acme", false),
        ] {
            assert_eq!(without_gzip(path), (rest.to_owned(), is_said));
        }
        for (target, expected) in [
            ("/openrtb2/acme/s3cret", "/openrtb2/acme/key"),
            ("/openrtb2/acme/s3cret?x=1", "/openrtb2/acme/key?x=1"),
            ("/openrtb2/acme?x=1", "/openrtb2/acme?x=1"),
            (
                "/openrtb2/acme?page=https://a.example/b&x=1",
                "/openrtb2/acme?page=https://a.example/b&x=1",
            ),
            ("/rtb/openrtb2/acme/s3cret", "/rtb/openrtb2/acme/key"),
            ("//openrtb2/acme/s3cret", "//openrtb2/acme/key"),
            ("/bid/a/b", "/bid/a/b"),
            ("/bid?r=/openrtb2/a/b", "/bid?r=/openrtb2/a/b"),
            ("/openrtb2", "/openrtb2"),
        ] {
            assert_eq!(without_key(target.to_owned()), expected);
        }
    }

    #[test]
    fn of_a_browser_that_opts_out_only_that_is_kept() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![
            header("sec-gpc", "1"),
            header("dnt", "1 jo.doe"),
            header("dnt", "0 jo.doe"),
            header("cookie", "1"),
            header("origin", "https://a.example"),
        ];
        let expected =
            [header("sec-gpc", "1"), header("dnt", "1"), header("origin", "https://a.example")];
        assert_eq!(kept(headers), expected);
    }
}
