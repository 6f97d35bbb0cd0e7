//! Block lists: the partner's entries that the request's list does not have yet.
//!
//! Owns: the comparison and the text of what is appended. Never: which lists are merged.

use crate::bidder::splice::{Splicer, write_string};
use crate::request::{List, Member, ValidRequest};
use smallvec::SmallVec;

/// The partner's entries that are missing in the request's list, in their order.
pub struct Missing<'a>(SmallVec<[&'a str; 16]>);

impl<'a> Missing<'a> {
    /// Compares without letter case; an entry that the partner lists twice is taken once.
    pub fn of(request: &ValidRequest, list: List, ours: &'a [String]) -> Self {
        let mut missing = SmallVec::<[&str; 16]>::new();
        for entry in ours {
            if !missing.iter().any(|known| known.eq_ignore_ascii_case(entry)) {
                missing.push(entry);
            }
        }
        if !missing.is_empty() {
            for theirs in request.view.texts.get(list.range()).unwrap_or_default() {
                let is_known = |entry: &str| {
                    entry.len() == theirs.len as usize
                        && entry.as_bytes().eq_ignore_ascii_case(request.text_bytes(*theirs))
                };
                if missing.iter().any(|entry| is_known(entry)) {
                    missing.retain(|entry| !is_known(entry));
                }
            }
        }
        Self(missing)
    }

    /// Whether the request has them all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends to the array that is `member`'s value, or writes one in the place of a `null`. A
    /// value that is neither stays: the auction blocks for itself.
    pub fn append(&self, request: &ValidRequest, member: &Member, to: &mut Splicer<'_>) {
        match request.value(member) {
            b"null" => {
                to.cut(member.value_at, member.value_end);
                self.write_array(&mut to.out);
            }
            [b'[', inside @ .., b']'] => {
                let has_entry = inside.iter().any(|byte| !byte.is_ascii_whitespace());
                to.advance(member.value_end.saturating_sub(1));
                if has_entry {
                    to.out.push(b',');
                }
                self.write_entries(&mut to.out);
            }
            _ => {}
        }
    }

    /// Writes an array of them.
    pub fn write_array(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        self.write_entries(out);
        out.push(b']');
    }

    fn write_entries(&self, out: &mut Vec<u8>) {
        for (index, entry) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(entry, out);
        }
    }
}
