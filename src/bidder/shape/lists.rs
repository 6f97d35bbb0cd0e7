//! Block lists: the partner's entries that the request's list does not have yet.
//!
//! Owns: the comparison and the text of what is appended. Never: which lists are merged.

use crate::bidder::splice::{Splicer, write_string};
use crate::request::{List, Member, ValidRequest};

/// The partner's entries that are missing in the request's list, in their order.
#[derive(Debug)]
pub struct Missing<'m> {
    ours: &'m [String],
    /// Positions in `ours`.
    missing: &'m [u16],
}

impl<'m> Missing<'m> {
    /// Compares without letter case; every entry of one list with every entry of the other, by
    /// length first. What the partner lists twice is sent twice.
    pub fn of(
        request: &ValidRequest,
        list: List,
        ours: &'m [String],
        missing: &'m mut Vec<u16>,
    ) -> Self {
        missing.clear();
        let entry = |at: u16| ours.get(usize::from(at)).map_or("", String::as_str);
        missing.extend((0u16..).zip(ours).map(|(at, _)| at));
        for theirs in request.view.texts.get(list.range()).unwrap_or_default() {
            if missing.is_empty() {
                break;
            }
            let is_same = |at: u16| {
                let one = entry(at).as_bytes();
                one.len() == theirs.len as usize
                    && one.eq_ignore_ascii_case(request.text_bytes(*theirs))
            };
            if let Some(known) = missing.iter().position(|at| is_same(*at)) {
                missing.remove(known);
            }
        }
        Self { ours, missing }
    }

    /// Whether the request has them all.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
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
        let entries = self.missing.iter().filter_map(|at| self.ours.get(usize::from(*at)));
        for (index, entry) in entries.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(entry, out);
        }
    }
}
