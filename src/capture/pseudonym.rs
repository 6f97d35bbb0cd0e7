//! Replaces what is personal in a body by pseudonyms.
//!
//! Owns: [`Pseudonymiser`]. Never: what is personal (that is [`super::personal`]), what a pseudonym
//! looks like (that is [`super::form`]). Invariant: bytes outside the values that are replaced stay
//! as they came: order, white space, members that stand twice, numbers as written.
#![deny(clippy::indexing_slicing)]

use super::form::PseudonymKey;
use super::personal::{self, Leaf};
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

/// A value to be replaced, and the bytes that come there.
type Edit = (Element, String);

impl Pseudonymiser {
    /// With a key.
    pub fn new(key: PseudonymKey) -> Self {
        Self { key, scratches: Vec::new() }
    }

    /// The body with pseudonyms; `None`: it is no JSON, and nobody knows what is in it.
    pub fn body(&mut self, body: &Bytes) -> Option<Bytes> {
        let rest = body.strip_prefix(MARK).unwrap_or(body);
        let edits = self.edits(rest, &[], NESTED_MAX)?;
        if edits.is_empty() {
            return Some(body.clone());
        }
        let mark = body.len().saturating_sub(rest.len());
        let mut out = body.get(..mark).unwrap_or_default().to_vec();
        splice(rest, &edits, &mut out);
        Some(out.into())
    }

    /// A text that is no document (a path, a header): its personal parts replaced.
    pub fn text(&self, text: &str) -> String {
        self.parts(text).unwrap_or_else(|| text.to_owned())
    }

    /// `around`: names on the way to the text that holds this document.
    fn edits(&mut self, body: &[u8], around: &[&str], nested: usize) -> Option<Vec<Edit>> {
        let fresh = || (Scratch::new(DEPTH_MAX), Vec::new());
        let (mut scratch, mut text) = self.scratches.pop().unwrap_or_else(fresh);
        let read = scratch.read(body, &mut text);
        let edits = read.ok().map(|document| {
            let mut edits = Vec::new();
            let mut path = around.to_vec();
            let around = personal::by_path(around);
            personal::walk(document.root(), &mut path, around, &mut |path, leaf| {
                if let Some(new) = self.replaced(path, &leaf, nested) {
                    edits.push((leaf.span, new));
                }
            });
            edits
        });
        self.scratches.push((scratch, text));
        edits
    }

    /// What comes in place of a value, as JSON.
    fn replaced(&mut self, path: &[&str], leaf: &Leaf<'_>, nested: usize) -> Option<String> {
        if !leaf.is_text {
            return self.key.replace_number(leaf.treat?, leaf.text);
        }
        let treat = leaf.treat.or_else(|| personal::by_look(path, leaf.text));
        let new = match treat {
            Some(treat) => self.key.replace(treat, leaf.text)?,
            None => self.within(path, leaf.text, nested)?,
        };
        serde_json::to_string(&new).ok()
    }

    fn within(&mut self, path: &[&str], text: &str, nested: usize) -> Option<String> {
        if nested > 0 && text.trim_start().starts_with(['{', '[']) {
            let edits = self.edits(text.as_bytes(), path, nested.saturating_sub(1));
            if let Some(edits) = edits {
                if edits.is_empty() {
                    return None;
                }
                let mut out = Vec::with_capacity(text.len());
                splice(text.as_bytes(), &edits, &mut out);
                return String::from_utf8(out).ok();
            }
        }
        self.parts(text)
    }

    fn parts(&self, text: &str) -> Option<String> {
        let parts = personal::parts(text);
        if parts.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for (range, treat) in parts {
            out.push_str(text.get(from..range.start).unwrap_or_default());
            let old = text.get(range.clone()).unwrap_or_default();
            out.push_str(self.key.replace(treat, old).as_deref().unwrap_or(old));
            from = range.end;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        Some(out)
    }
}

/// Edits come in the order of the document.
fn splice(body: &[u8], edits: &[Edit], out: &mut Vec<u8>) {
    let mut from = 0;
    for (Element { at, end }, new) in edits {
        out.extend_from_slice(body.get(from..*at as usize).unwrap_or_default());
        out.extend_from_slice(new.as_bytes());
        from = *end as usize;
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
}
