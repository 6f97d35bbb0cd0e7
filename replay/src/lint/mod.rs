//! Whether a recording holds anything personal that is no pseudonym.
//!
//! Owns: [`Lint`] and [`Finding`]. Never: a repair, a value that is shown (a report must not
//! spread what it found). Invariant: every text and number of every body is looked at, in JSON that
//! stands in texts too; what cannot be read is a finding.
//!
//! What is personal is asked of the table by which recordings are written
//! ([`gavel::capture::personal`]); what a pseudonym looks like, of [`gavel::capture::form`]. What that
//! table does not know may still look like an id: `suspect` asks that.

pub mod command;
mod suspect;

use gavel::capture::form::is_pseudonym;
use gavel::capture::names::Treat;
use gavel::capture::personal::{self, Leaf, Look};
use gavel::capture::pseudonym::{DEPTH_MAX, NESTED_MAX};
use gavel::capture::{Record, RecordedCall};
use gavel::json::scratch::Scratch;

/// Headers that are never recorded.
const HEADERS_NEVER: [&str; 10] = [
    "authorization",
    "cookie",
    "set-cookie",
    "forwarded",
    "proxy-authorization",
    "true-client-ip",
    "x-client-ip",
    "x-forwarded-for",
    "x-gavel-key",
    "x-real-ip",
];

/// Something that should not be in a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Counted from 0, in the order of the file.
    pub record: u64,
    /// Where: `body`, `response`, `calls[2].request`, a header ...
    pub part: String,
    /// Names from the root of a body, `a.b.c`, those that are personal themselves as `*`; empty where
    /// there is none.
    pub path: String,
    pub what: What,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A value of this kind that is no pseudonym.
    Personal(Treat),
    /// A part of a text is such a value.
    Within(Treat),
    /// A name of a member is such a value, or holds one.
    Name,
    /// It is no JSON, so that nobody knows what is in it.
    Unreadable,
    /// It should not have been written at all.
    Header,
    /// A header that names a version, and this is none.
    NoVersion,
    /// Nothing says that it is personal, but it stands with a person and looks drawn.
    Suspect,
}

impl What {
    /// Words for people.
    pub fn text(self) -> String {
        match self {
            Self::Personal(treat) => format!("{} as it came", treat.label()),
            Self::Within(treat) => format!("{} as it came, within a text", treat.label()),
            Self::Name => "something personal as a name".to_owned(),
            Self::Unreadable => "not JSON: it may hold anything".to_owned(),
            Self::Header => "a header that is never recorded".to_owned(),
            Self::NoVersion => "no version: it may be anything".to_owned(),
            Self::Suspect => "looks like an id, of a name that nobody knows".to_owned(),
        }
    }
}

/// Looks at records, one after the other.
#[derive(Debug, Default)]
pub struct Lint {
    record: u64,
    scratches: Vec<(Scratch, Vec<u8>)>,
}

/// Where findings of one part go.
struct Into<'a> {
    record: u64,
    part: &'a str,
    found: &'a mut Vec<Finding>,
}

impl Into<'_> {
    fn add(&mut self, path: &[&str], what: What) {
        let shown = |(at, name): (usize, &&str)| {
            let above = path.get(..at).unwrap_or_default();
            if is_name_fit(above, name) { (*name).to_owned() } else { "*".to_owned() }
        };
        let path = path.iter().enumerate().map(shown).collect::<Vec<_>>().join(".");
        let part = self.part.to_owned();
        self.found.push(Finding { record: self.record, part, path, what });
    }
}

impl Lint {
    /// Adds what is wrong with the next record to `found`.
    pub fn record(&mut self, record: &Record, found: &mut Vec<Finding>) {
        let number = self.record;
        self.record += 1;
        let mut at = |part: &str, check: &mut dyn FnMut(&mut Into<'_>)| {
            check(&mut Into { record: number, part, found });
        };
        at("path", &mut |into| within(&[], &record.path, into));
        for (name, value) in &record.headers {
            at(&format!("header {name}"), &mut |into| {
                if HEADERS_NEVER.contains(&name.as_str()) {
                    into.add(&[], What::Header);
                }
                if personal::is_misused(name, value) {
                    into.add(&[], What::NoVersion);
                }
                within(&[], value, into);
            });
        }
        at("body", &mut |into| self.body(&record.body, into));
        if let Some(outcome) = &record.outcome {
            at("response", &mut |into| self.body(&outcome.body, into));
        }
        for (index, RecordedCall { request, answer, .. }) in record.calls.iter().enumerate() {
            at(&format!("calls[{index}].request"), &mut |into| self.body(request, into));
            at(&format!("calls[{index}].answer"), &mut |into| self.body(answer, into));
        }
    }

    fn body(&mut self, body: &[u8], into: &mut Into<'_>) {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if !body.is_empty() && !self.document(body, &[], NESTED_MAX, into) {
            into.add(&[], What::Unreadable);
        }
    }

    /// `false`: it is no JSON.
    fn document(
        &mut self,
        body: &[u8],
        around: &[&str],
        nested: usize,
        into: &mut Into<'_>,
    ) -> bool {
        let fresh = || (Scratch::new(DEPTH_MAX), Vec::new());
        let (mut scratch, mut text) = self.scratches.pop().unwrap_or_else(fresh);
        let is_read = match scratch.read(body, &mut text) {
            Err(_) => false,
            Ok(document) => {
                let mut path = around.to_vec();
                personal::walk(&document, &mut path, &mut |path, leaf| {
                    self.leaf(path, &leaf, nested, into);
                });
                true
            }
        };
        self.scratches.push((scratch, text));
        is_read
    }

    fn leaf(&mut self, path: &[&str], leaf: &Leaf<'_>, nested: usize, into: &mut Into<'_>) {
        let text = leaf.value.written();
        if leaf.is_name {
            if !is_name_fit(path, text) {
                into.add(&[path, &[text]].concat(), What::Name);
            }
            return;
        }
        match personal::look(path, leaf) {
            Look::Whole(treat) if !is_pseudonym(treat, text) => {
                into.add(path, What::Personal(treat));
            }
            Look::Whole(_) | Look::Nothing => {}
            look => {
                let may_open = nested > 0 && matches!(look, Look::Json | Look::MaybeJson);
                let json = personal::unmarked(text).as_bytes();
                if may_open && self.document(json, path, nested - 1, into) {
                    return;
                }
                if look == Look::Json {
                    into.add(path, What::Unreadable);
                }
                within(path, text, into);
            }
        }
    }
}

/// Whether a name below `above` may stand in a recording.
fn is_name_fit(above: &[&str], name: &str) -> bool {
    match personal::by_look(above, name) {
        Some(treat) => is_pseudonym(treat, name),
        None => personal::parts(above, name)
            .into_iter()
            .all(|(range, treat)| is_pseudonym(treat, name.get(range).unwrap_or_default())),
    }
}

fn within(path: &[&str], text: &str, into: &mut Into<'_>) {
    let is_near = suspect::is_near_person(path) && !is_pseudonym(Treat::Id, text);
    let (mut from, mut is_suspect) = (0, false);
    let mut gap = |from: usize, end: usize| {
        is_suspect |= is_near && suspect::holds_drawn(text.get(from..end).unwrap_or_default());
    };
    for (range, treat) in personal::parts(path, text) {
        gap(from, range.start);
        from = range.end;
        let part = text.get(range).unwrap_or_default();
        if !is_pseudonym(treat, part) {
            into.add(path, What::Within(treat));
        }
    }
    gap(from, text.len());
    if is_suspect {
        into.add(path, What::Suspect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(record: &Record) -> Vec<(String, String, What)> {
        let mut found = Vec::new();
        Lint::default().record(record, &mut found);
        found.into_iter().map(|one| (one.part, one.path, one.what)).collect()
    }

    fn in_body(body: &str) -> Vec<(String, What)> {
        let record = Record { body: body.to_owned().into(), ..Record::default() };
        findings(&record).into_iter().map(|(_, path, what)| (path, what)).collect()
    }

    #[test]
    fn values_as_they_came_are_found_wherever_they_stand() {
        use What::{Name, Personal, Unreadable, Within};
        for (body, path, what) in [
            (r#"{"user":{"id":"u-1"}}"#, "user.id", Personal(Treat::Id)),
            (r#"{"user":{"id":77}}"#, "user.id", Personal(Treat::Id)),
            (r#"{"user":{"\u0069d":"u-1"}}"#, "user.id", Personal(Treat::Id)),
            (r#"{"device":{"ip":"203.0.113.200"}}"#, "device.ip", Personal(Treat::Ip)),
            (r#"{"x":{"peer":"2001:db8::7"}}"#, "x.peer", Personal(Treat::Ip)),
            (
                r#"{"device":{"geo":{"lat":48.13715}}}"#,
                "device.geo.lat",
                Personal(Treat::Coordinate),
            ),
            (
                r#"{"device":{"ext":{"a":"6d92078a-8246-4ba4-ae5b-76104861e7dc"}}}"#,
                "device.ext.a",
                Personal(Treat::Id),
            ),
            (r#"{"ext":{"a":["mail jo@mail.example"]}}"#, "ext.a", Within(Treat::Email)),
            (r#"{"site":{"page":"https://a.example/?uid=7x"}}"#, "site.page", Within(Treat::Id)),
            (
                r#"{"ext":{"s":"{\"user\":{\"id\":\"u-1\"}}"}}"#,
                "ext.s.user.id",
                Personal(Treat::Id),
            ),
            (
                r#"{"user":{"ext":{"buyeruids":{"b":["x"]}}}}"#,
                "user.ext.buyeruids.b",
                Personal(Treat::Id),
            ),
            (r#"{"ext":{"jo@mail.example":1}}"#, "ext.*", Name),
            (r#"{"user":{"ext":{"6d92078a-8246-4ba4-ae5b-76104861e7dc":{}}}}"#, "user.ext.*", Name),
            (r#"{"seen":{"203.0.113.77":{"a":1}}}"#, "seen.*", Name),
            (
                r#"{"ext":{"s":"\"{\\\"user\\\":{\\\"id\\\":\\\"u-1\\\"}}\""}}"#,
                "ext.s.user.id",
                Personal(Treat::Id),
            ),
            (r#"{"ext":{"s":"{\"user\":{\"id\":\"u-1\""}}"#, "ext.s", Unreadable),
            (r#"{"geo":{"ll":[48.137154,11.5]}}"#, "geo.ll", Personal(Treat::Coordinate)),
            ("jo@mail.example", "", Unreadable),
            (r#"{"ext":{"s":"{user:{id:'u-1'}}"}}"#, "ext.s", Unreadable),
            (r#"{"ext":{"s":"[1,{\"uid\":\"u-1\""}}"#, "ext.s", Unreadable),
            (
                "{\"ext\":{\"s\":\"\u{feff}{\\\"uid\\\":\\\"u-1\\\"}\"}}",
                "ext.s.uid",
                Personal(Treat::Id),
            ),
            (
                r#"{"device":{"ext":{"delivery_ip":"203.0.113.200"}}}"#,
                "device.ext.delivery_ip",
                Personal(Treat::Ip),
            ),
            (r#"{"ext":{"driver":"203.0.113.200"}}"#, "ext.driver", Personal(Treat::Ip)),
        ] {
            assert_eq!(in_body(body), [(path.to_owned(), what)], "{body}");
        }
    }

    #[test]
    fn tokens_by_which_money_is_made_are_found() {
        let body = format!(r#"{{"burl":"https://x.example/e/{}?m=1"}}"#, "AQEJ0_".repeat(30));
        assert_eq!(in_body(&body), [("burl".to_owned(), What::Within(Treat::Id))]);
    }

    #[test]
    fn what_looks_drawn_is_a_suspect_where_it_may_be_somebodys() {
        for (body, expected) in [
            (r#"{"user":{"ext":{"newid":"A4AAABlh7Sm1rVcb"}}}"#, Some("user.ext.newid")),
            (r#"{"device":{"ext":{"s":["C39XK0ABCDEF"]}}}"#, Some("device.ext.s")),
            (r#"{"user":{"keywords":"a,9774d56d682e549c"}}"#, Some("user.keywords")),
            (r#"{"imp":[{"ext":{"crid":"A4AAABlh7Sm1rVcb"}}]}"#, None),
            (r#"{"user":{"ext":{"consented_providers":"A4AAABlh7Sm1rVcb"}}}"#, None),
            (r#"{"device":{"model":"C39XK0ABCDEF","ext":{"a":"iPhone15ProMax"}}}"#, None),
        ] {
            let expected: Vec<_> =
                expected.map(|path| (path.to_owned(), What::Suspect)).into_iter().collect();
            assert_eq!(in_body(body), expected, "{body}");
        }
    }

    #[test]
    fn ids_are_found_where_they_are_not_called_so() {
        use What::Personal;
        for (body, path) in [
            (r#"{"user":{"eids":[{"source":"a.example","uids":["u-1"]}]}}"#, "user.eids.uids"),
            (r#"{"user":{"eids":[{"source":"a.example","uids":[7]}]}}"#, "user.eids.uids"),
            (r#"{"user":{"ext":{"eids":{"a.example":"u-1"}}}}"#, "user.ext.eids.a.example"),
            (r#"{"ext":{"uids":{"a":"u-1"}}}"#, "ext.uids.a"),
            (r#"{"user":{"ext":{"ids":[{"name":"gaid","value":"u-1"}]}}}"#, "user.ext.ids.value"),
            (r#"{"ext":{"ids":[{"v":"u-1","x":{"y":[1]},"k":"gaid"}]}}"#, "ext.ids.v"),
            (r#"{"user":{"ext":{"x":[{"id":"u-1","type":"idfa"}]}}}"#, "user.ext.x.id"),
        ] {
            assert_eq!(in_body(body), [(path.to_owned(), Personal(Treat::Id))], "{body}");
        }
        for body in [
            r#"{"user":{"eids":[{"source":"a.example","inserter":"b.example","mm":3,"uids":[{"id":"","atype":1,"ext":{"stype":"x"}}]}]}}"#,
            r#"{"user":{"data":[{"id":"12","name":"email","segment":[{"id":"u-1","name":"x","value":"y"}]}]}}"#,
            r#"{"imp":[{"native":{"assets":[{"id":7,"data":{"type":2,"value":"x"}}]}}],"ext":{"name":"gaid","x":"u-1"}}"#,
            r#"{"device":{"sua":{"mobile":1}},"imp":[{"x":1.2345,"banner":{"y":1.2345}}],"app":{"ext":{"serial":"u-1"}}}"#,
        ] {
            assert_eq!(in_body(body), [], "{body}");
        }
    }

    #[test]
    fn what_says_nothing_of_a_person_is_no_finding() {
        for body in [
            r#"{"id":"6d92078a-8246-4ba4-ae5b-76104861e7dc","app":{"ver":"1.2.3.4"}}"#,
            r#"{"ext":{"s":"[Ad] {x}","t":"[1] note","u":"\"a\" b","appVersion":"1.2.3.4","osv":"9.8.7.6"}}"#,
            r#"{"device":{"ua":"Mozilla/5.0 Chrome/126.0.0.0","ifa":"00000000-0000-0000-0000-000000000000"}}"#,
            r#"{"user":{"yob":1980,"gender":"F","ext":{"consent":"CQEN6IAQEN6IACIAJCENEoEASP_AALsAAAYg"}}}"#,
            r#"{"device":{"geo":{"lat":48.14,"lon":-0.5,"zip":"941"}},"regs":{"us_privacy":"1YNN"}}"#,
            "",
        ] {
            assert_eq!(in_body(body), [], "{body}");
        }
    }

    #[test]
    fn paths_headers_answers_and_bidders_are_looked_at() {
        let body = bytes::Bytes::from_static(br#"{"device":{"ifa":"x"}}"#);
        let call =
            RecordedCall { request: body.clone(), answer: body.clone(), ..Default::default() };
        let record = Record {
            path: "/openrtb2/p?mail=jo@mail.example".to_owned(),
            headers: [
                ("cookie", "a"),
                ("user-agent", "jo-agent 203.0.113.9"),
                ("x-openrtb-version", "jo doe"),
                ("x-openrtb-version", "2.6-202309"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            outcome: Some(gavel::capture::RecordedOutcome { body, ..Default::default() }),
            calls: vec![call],
            ..Record::default()
        };
        let parts: Vec<String> = findings(&record).into_iter().map(|(part, ..)| part).collect();
        assert_eq!(
            parts,
            [
                "path",
                "header cookie",
                "header user-agent",
                "header x-openrtb-version",
                "response",
                "calls[0].request",
                "calls[0].answer",
            ]
        );
    }
}
