//! Replaces what is personal in a body by pseudonyms.
//!
//! Owns: [`Pseudonymiser`]. Never: what is personal (that is [`super::personal`]), what a pseudonym
//! looks like (that is [`super::form`]). Invariant: bytes outside the values that are replaced stay
//! as they came: order, white space, members that stand twice, numbers as written.
#![deny(clippy::indexing_slicing)]

use super::form::{PseudonymKey, is_pseudonym};
use super::names::Treat;
use super::personal::{self, Leaf, Look, NO_VERSION};
use crate::json::Fault;
use crate::json::scratch::Scratch;
use crate::request::Element;
use bytes::Bytes;

/// Documents that are nested deeper are taken for unreadable.
pub const DEPTH_MAX: usize = 128;
/// Texts that are JSON themselves are opened this often, one in the other.
pub const NESTED_MAX: usize = 8;
/// What was replaced in a text is looked at again so often: a pseudonym may look like something else
/// where it stands.
const AGAIN_MAX: usize = 2;
/// Names on the way to a value, usually no more.
const NAMES_USUAL: usize = 12;
/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Makes bodies fit to be kept; one a thread.
#[derive(Debug)]
pub struct Pseudonymiser {
    key: PseudonymKey,
    /// One for each level of JSON in JSON.
    desks: Vec<Desk>,
}

/// What reading and rewriting one document needs.
#[derive(Debug)]
struct Desk {
    scratch: Scratch,
    text: Vec<u8>,
    /// What comes in place of the value at hand.
    new: Vec<u8>,
}

/// What a value becomes.
enum Becomes {
    Number(Treat),
    Text(Treat),
    /// Parts of it are replaced.
    Other(String),
    /// Nobody can read it.
    Opaque,
}

/// A document that is written anew, from its start to its end.
struct Rewritten<'b> {
    body: &'b [u8],
    /// Up to where it was written.
    from: usize,
    out: &'b mut Vec<u8>,
    new: &'b mut Vec<u8>,
}

impl Pseudonymiser {
    /// With a key.
    pub const fn new(key: PseudonymKey) -> Self {
        Self { key, desks: Vec::new() }
    }

    /// The body with pseudonyms; `None`: it is no JSON, and nobody knows what is in it.
    pub fn body(&mut self, body: &Bytes) -> Option<Bytes> {
        let mut new = Vec::with_capacity(body.len());
        // what did not change is not held twice
        let is_new = self.append(body, &mut new)?;
        Some(if is_new { new.into() } else { body.clone() })
    }

    /// As [`Self::body`], behind what is in `out`: whether anything was replaced. `None`: nothing
    /// was written.
    pub fn append(&mut self, body: &[u8], out: &mut Vec<u8>) -> Option<bool> {
        let start = out.len();
        let rest = body.strip_prefix(MARK).unwrap_or(body);
        // pseudonyms are hardly longer than what they replace
        out.reserve(body.len().saturating_add(body.len() / 8));
        out.extend_from_slice(
            body.get(..body.len().saturating_sub(rest.len())).unwrap_or_default(),
        );
        let is_new = self.rewrite(rest, &[], NESTED_MAX, out).ok();
        if is_new.is_none() {
            out.truncate(start);
        }
        is_new
    }

    /// A text that is no document (a path), its personal parts replaced; `None`: there are none in it.
    pub fn text(&self, text: &str) -> Option<String> {
        self.parts(&[], text)
    }

    /// The value of a header, as [`Self::text`]; one that is to be a version is one, or says nothing.
    pub fn header(&self, name: &str, value: &str) -> Option<String> {
        if personal::is_misused(name, value) {
            return Some(NO_VERSION.to_owned());
        }
        self.text(value)
    }

    fn parts(&self, path: &[&str], text: &str) -> Option<String> {
        let mut new = self.replaced(text, personal::parts(path, text))?;
        for _ in 0..AGAIN_MAX {
            let mut left = personal::parts(path, &new);
            left.retain(|(range, treat)| {
                new.get(range.clone()).is_some_and(|part| !is_pseudonym(*treat, part))
            });
            match self.replaced(&new, left) {
                None => return Some(new),
                Some(better) => new = better,
            }
        }
        // rather nothing of it than something that a check finds
        let mut opaque = Vec::new();
        self.key.opaque(text, &mut opaque);
        String::from_utf8(opaque).ok()
    }

    /// `None`: there are no parts.
    fn replaced(&self, text: &str, parts: Vec<(std::ops::Range<usize>, Treat)>) -> Option<String> {
        if parts.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(text.len());
        let mut from = 0;
        for (range, treat) in parts {
            out.extend_from_slice(text.get(from..range.start).unwrap_or_default().as_bytes());
            let old = text.get(range.clone()).unwrap_or_default();
            if !self.key.write(treat, old, &mut out) {
                out.extend_from_slice(old.as_bytes());
            }
            from = range.end;
        }
        out.extend_from_slice(text.get(from..).unwrap_or_default().as_bytes());
        String::from_utf8(out).ok()
    }

    /// `around`: names on the way to the text that holds this document. Gives whether anything in it
    /// is personal.
    fn rewrite(
        &mut self,
        body: &[u8],
        around: &[&str],
        nested: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, Fault> {
        let mut desk = self.desks.pop().unwrap_or_default();
        let Desk { scratch, text, new } = &mut desk;
        let is_new = scratch.read(body, text).map(|document| {
            let mut rewritten = Rewritten { body, from: 0, out, new };
            let mut path = Vec::with_capacity(NAMES_USUAL);
            path.extend_from_slice(around);
            personal::walk(&document, &mut path, &mut |path, leaf| {
                if let Some(becomes) = self.becomes(path, &leaf, nested) {
                    let Leaf { value, .. } = leaf;
                    let write = |out: &mut Vec<u8>| self.write(&becomes, value.written(), out);
                    rewritten.replace(value.span(), write);
                }
            });
            rewritten.end()
        });
        self.desks.push(desk);
        is_new
    }

    /// `None`: nothing of it is personal.
    fn becomes(&mut self, path: &[&str], leaf: &Leaf<'_>, nested: usize) -> Option<Becomes> {
        let text = leaf.value.text();
        match (personal::look(path, leaf), text) {
            (Look::Nothing, _) => None,
            (Look::Whole(treat), None) => Some(Becomes::Number(treat)),
            (Look::Whole(treat), Some(_)) => Some(Becomes::Text(treat)),
            (look, text) => self.within(path, text?, look, nested),
        }
    }

    /// A text whose parts are personal; `None`: there are none such.
    fn within(&mut self, path: &[&str], text: &str, look: Look, nested: usize) -> Option<Becomes> {
        if nested > 0 && matches!(look, Look::Json | Look::MaybeJson) {
            let json = personal::unmarked(text);
            let before = text.len().saturating_sub(json.len());
            let mut new = text.as_bytes().get(..before).unwrap_or_default().to_vec();
            let read = self.rewrite(json.as_bytes(), path, nested.saturating_sub(1), &mut new);
            if let Ok(is_new) = read {
                return is_new.then(|| String::from_utf8(new).ok()).flatten().map(Becomes::Other);
            }
        }
        if look == Look::Json {
            return Some(Becomes::Opaque);
        }
        self.parts(path, text).map(Becomes::Other)
    }

    /// As JSON; `false`: it stays as it is.
    fn write(&self, becomes: &Becomes, old: &str, out: &mut Vec<u8>) -> bool {
        match becomes {
            Becomes::Number(treat) => self.key.write_number(*treat, old, out),
            Becomes::Other(new) => serde_json::to_writer(out, new).is_ok(),
            Becomes::Opaque => {
                out.push(b'"');
                self.key.opaque(old, out);
                out.push(b'"');
                true
            }
            // what stays of a postal code is as it came
            Becomes::Text(Treat::Zip) => {
                let new = self.key.replace(Treat::Zip, old);
                new.is_some_and(|new| serde_json::to_writer(out, &new).is_ok())
            }
            // there is nothing to escape in any other pseudonym
            Becomes::Text(treat) => {
                out.push(b'"');
                let is_new = self.key.write(*treat, old, out);
                out.push(b'"');
                is_new
            }
        }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self { scratch: Scratch::new(DEPTH_MAX), text: Vec::new(), new: Vec::new() }
    }
}

impl Rewritten<'_> {
    /// Values come in the order of the document. What `write` leaves is of no account where it
    /// says that the value stays: such a value costs nothing but itself, however many there are.
    fn replace(&mut self, span: Element, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        self.new.clear();
        if !write(self.new) {
            return;
        }
        let before = self.body.get(self.from..span.at as usize);
        self.out.extend_from_slice(before.unwrap_or_default());
        self.out.extend_from_slice(self.new);
        self.from = span.end as usize;
    }

    /// Whether anything was replaced.
    fn end(self) -> bool {
        self.out.extend_from_slice(self.body.get(self.from..).unwrap_or_default());
        self.from > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_stays_moves_nothing_else() {
        let body = br#"{"uid":["0",1],"b":2}"#;
        let (mut out, mut new) = (Vec::new(), Vec::new());
        let mut rewritten = Rewritten { body, from: 0, out: &mut out, new: &mut new };
        rewritten.replace(Element { at: 8, end: 11 }, |out| {
            out.extend_from_slice(b"\"");
            false
        });
        // nothing was copied: a hundred thousand of these cost no more than their number
        assert_eq!((rewritten.from, rewritten.out.capacity()), (0, 0));
        rewritten.replace(Element { at: 12, end: 13 }, |out| {
            out.push(b'9');
            true
        });
        assert!(rewritten.end());
        assert_eq!(out, br#"{"uid":["0",9],"b":2}"#);
    }

    #[test]
    fn texts_that_were_meant_as_json_keep_nobody() {
        let mut pseudonymiser = Pseudonymiser::new(PseudonymKey::new("a secret of the tests"));
        let mut new = |text: &str| {
            let body = serde_json::json!({"ext": {"s": text}}).to_string();
            let mut out = Vec::new();
            pseudonymiser.append(body.as_bytes(), &mut out).unwrap();
            let new: serde_json::Value = serde_json::from_slice(&out).unwrap();
            new.pointer("/ext/s").unwrap().as_str().unwrap().to_owned()
        };
        for text in [
            r#"[1,{"user":{"id":"abcxyz77"#,
            r#"[{user:{id:"abcxyz77"}}]"#,
            r#"[ 1, "abcxyz77", {"uid":"abcxyz77"}, ]"#,
            r#"{user:{id:"abcxyz77",email:'jo'}}"#,
            "{'user':{'id':'abcxyz77'}}",
            r#"{/*c*/"uid":"abcxyz77"}"#,
            r#"{1:2,"uid":"abcxyz77"}"#,
        ] {
            let opaque = new(text);
            assert_eq!(opaque.len(), text.len(), "{opaque}");
            assert!(opaque.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{opaque}");
        }
        let marked = new("\u{feff} {\"a\":1,\"uid\":\"abcxyz77\"}");
        assert!(marked.starts_with("\u{feff} {\"a\":1,\"uid\":\""), "{marked}");
        assert!(!marked.contains("abcxyz77"), "{marked}");
        for text in ["{IDFA}", "[MACRO]", "{{ name }}", "[1] note", "\u{feff}text"] {
            assert_eq!(new(text), text);
        }
    }

    #[test]
    fn what_cannot_be_read_leaves_nothing_behind() {
        let mut pseudonymiser = Pseudonymiser::new(PseudonymKey::new("a secret of the tests"));
        let mut out = b"before".to_vec();
        assert_eq!(pseudonymiser.append(b"\xef\xbb\xbf{\"user\":{\"id\":\"u-1\"}", &mut out), None);
        assert_eq!(out, b"before");
        assert_eq!(pseudonymiser.append(b"\xef\xbb\xbf{\"a\":1} ", &mut out), Some(false));
        assert_eq!(out, b"before\xef\xbb\xbf{\"a\":1} ");
    }
}
