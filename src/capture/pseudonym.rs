//! Replaces what is personal in a body by pseudonyms.
//!
//! Owns: [`Pseudonymiser`]. Never: what is personal (that is [`super::personal`]), what a pseudonym
//! looks like (that is [`super::form`]). Invariant: bytes outside the values that are replaced stay
//! as they came: order, white space, members that stand twice, numbers as written.
#![deny(clippy::indexing_slicing)]

use super::form::PseudonymKey;
use super::personal::{self, Leaf, Treat};
use crate::json::Fault;
use crate::json::scratch::Scratch;
use crate::request::Element;
use bytes::Bytes;

/// Documents that are nested deeper are taken for unreadable.
pub const DEPTH_MAX: usize = 128;
/// Texts that are JSON themselves are opened this often, one in the other.
const NESTED_MAX: usize = 3;
/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Makes bodies fit to be kept; one a thread.
#[derive(Debug)]
pub struct Pseudonymiser {
    key: PseudonymKey,
    /// One for each level of JSON in JSON.
    scratches: Vec<(Scratch, Vec<u8>)>,
}

/// What a value becomes.
enum Becomes {
    Number(Treat),
    Text(Treat),
    /// Parts of it are replaced.
    Other(String),
}

/// A document that is written anew, from its start to its end.
struct Rewritten<'b> {
    body: &'b [u8],
    /// Up to where it was written.
    from: usize,
    out: Vec<u8>,
    /// What comes in place of the value at hand.
    new: Vec<u8>,
}

impl Pseudonymiser {
    /// With a key.
    pub fn new(key: PseudonymKey) -> Self {
        Self { key, scratches: Vec::new() }
    }

    /// The body with pseudonyms; `None`: it is no JSON, and nobody knows what is in it.
    pub fn body(&mut self, body: &Bytes) -> Option<Bytes> {
        let rest = body.strip_prefix(MARK);
        let new = match self.rewritten(rest.unwrap_or(body), &[], NESTED_MAX).ok()? {
            None => return Some(body.clone()),
            Some(new) if rest.is_some() => [MARK, &new].concat(),
            Some(new) => new,
        };
        Some(new.into())
    }

    /// A text that is no document (a path, a header), its personal parts replaced; `None`: there
    /// are none in it.
    pub fn text(&self, text: &str) -> Option<String> {
        let parts = personal::parts(text);
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

    /// `around`: names on the way to the text that holds this document. `None`: nothing in it is
    /// personal.
    fn rewritten(
        &mut self,
        body: &[u8],
        around: &[&str],
        nested: usize,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let fresh = || (Scratch::new(DEPTH_MAX), Vec::new());
        let (mut scratch, mut text) = self.scratches.pop().unwrap_or_else(fresh);
        let new = scratch.read(body, &mut text).map(|document| {
            let mut new = Rewritten { body, from: 0, out: Vec::new(), new: Vec::new() };
            let mut path = around.to_vec();
            personal::walk(&document, &mut path, &mut |path, leaf| {
                if let Some(becomes) = self.becomes(path, &leaf, nested) {
                    let Leaf { value, .. } = leaf;
                    new.replace(value.span(), |out| self.write(&becomes, value.written(), out));
                }
            });
            new.end()
        });
        self.scratches.push((scratch, text));
        new
    }

    /// `None`: nothing of it is personal.
    fn becomes(&mut self, path: &[&str], leaf: &Leaf<'_>, nested: usize) -> Option<Becomes> {
        let Some(text) = leaf.value.text() else { return leaf.treat.map(Becomes::Number) };
        match leaf.treat.or_else(|| personal::by_look(path, text)) {
            Some(treat) => Some(Becomes::Text(treat)),
            None => self.within(path, text, nested).map(Becomes::Other),
        }
    }

    fn within(&mut self, path: &[&str], text: &str, nested: usize) -> Option<String> {
        if nested > 0
            && text.trim_start().starts_with(['{', '['])
            && let Ok(new) = self.rewritten(text.as_bytes(), path, nested.saturating_sub(1))
        {
            return String::from_utf8(new?).ok();
        }
        self.text(text)
    }

    /// As JSON; `false`: it stays as it is.
    fn write(&self, becomes: &Becomes, old: &str, out: &mut Vec<u8>) -> bool {
        match becomes {
            Becomes::Number(treat) => self.key.write_number(*treat, old, out),
            Becomes::Other(new) => serde_json::to_writer(out, new).is_ok(),
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

impl Rewritten<'_> {
    /// Values come in the order of the document. What `write` leaves is of no account where it
    /// says that the value stays: such a value costs nothing but itself, however many there are.
    fn replace(&mut self, span: Element, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        self.new.clear();
        if !write(&mut self.new) {
            return;
        }
        if self.out.is_empty() {
            // pseudonyms are hardly longer than what they replace
            self.out.reserve(self.body.len().saturating_add(self.body.len() / 8));
        }
        let before = self.body.get(self.from..span.at as usize);
        self.out.extend_from_slice(before.unwrap_or_default());
        self.out.extend_from_slice(&self.new);
        self.from = span.end as usize;
    }

    /// `None`: nothing was replaced.
    fn end(mut self) -> Option<Vec<u8>> {
        if self.from == 0 {
            return None;
        }
        self.out.extend_from_slice(self.body.get(self.from..).unwrap_or_default());
        Some(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_stays_moves_nothing_else() {
        let body = br#"{"uid":["0",1],"b":2}"#;
        let mut new = Rewritten { body, from: 0, out: Vec::new(), new: Vec::new() };
        new.replace(Element { at: 8, end: 11 }, |out| {
            out.extend_from_slice(b"\"");
            false
        });
        // nothing was copied: a hundred thousand of these cost no more than their number
        assert_eq!((new.from, new.out.capacity()), (0, 0));
        new.replace(Element { at: 12, end: 13 }, |out| {
            out.push(b'9');
            true
        });
        assert_eq!(new.end().unwrap(), br#"{"uid":["0",9],"b":2}"#);
    }
}
