//! The request as all bidders of one version and disclosure get it, with two open places: which
//! imps, and `tmax`.
//!
//! Owns: [`Draft`], its open places, and the copying of it into a body. Never: an edit (`walk`).
//! Invariant: a draft that could not be written whole gives no body.

use super::Subject;
use super::walk::{Common, Walk};
use crate::bidder::splice::Splicer;
use crate::bidder::{ImpSet, OpenRtbVersion};
use crate::privacy::disclosure::Disclosure;
use crate::request::View;
use std::ops::Range;

/// One draft.
#[derive(Debug, Default)]
pub struct Draft {
    kind: (OpenRtbVersion, Disclosure),
    bytes: Vec<u8>,
    /// Where the value of `tmax` goes; empty where it is inserted.
    tmax_at: usize,
    /// Each element of `imp`, refused ones included.
    imps: Vec<Range<usize>>,
    is_complete: bool,
}

impl Draft {
    /// Whether it was written for this kind of bidder.
    pub fn is_for(&self, version: OpenRtbVersion, disclosure: Disclosure) -> bool {
        self.kind == (version, disclosure)
    }

    /// Writes it; one that cannot be written gives no body.
    pub fn write(
        &mut self,
        (subject, common): (&Subject<'_>, &Common<'_>),
        kind: (OpenRtbVersion, Disclosure),
    ) {
        self.kind = kind;
        self.imps.clear();
        let to = Splicer::new(subject.request.bytes(), std::mem::take(&mut self.bytes));
        let mut walk = Walk::new((subject, common), kind, to, &mut self.imps);
        let is_walked = walk.root().is_some();
        let (bytes, tmax_at) = walk.finish();
        self.is_complete = is_walked && tmax_at.is_some() && bytes.is_some();
        self.tmax_at = tmax_at.unwrap_or_default();
        self.bytes = bytes.unwrap_or_default();
    }

    /// Appends a body to `out`: the draft with some of its imps and a `tmax`.
    pub fn body(&self, view: &View, set: ImpSet, tmax_ms: u32, out: &mut Vec<u8>) -> Option<()> {
        if !self.is_complete {
            return None;
        }
        // A `u32` has at most ten digits.
        out.reserve(self.bytes.len() + 10);
        let mut chosen = view.imps.iter().enumerate().filter(|(index, _)| set.contains(*index));
        let (_, first) = chosen.next()?;
        let first = first.position as usize;
        self.copy(0..self.imps.first()?.start, tmax_ms, out)?;
        out.extend_from_slice(self.bytes.get(self.imps.get(first)?.clone())?);
        for (_, imp) in chosen {
            let position = imp.position as usize;
            // The comma in front of it, with the white space that came.
            let before = self.imps.get(position.checked_sub(1)?)?.end;
            out.extend_from_slice(self.bytes.get(before..self.imps.get(position)?.end)?);
        }
        self.copy(self.imps.last()?.end..self.bytes.len(), tmax_ms, out)
    }

    /// Copies a part of the draft, with `tmax` if that is inside.
    fn copy(&self, part: Range<usize>, tmax_ms: u32, out: &mut Vec<u8>) -> Option<()> {
        if !part.contains(&self.tmax_at) {
            out.extend_from_slice(self.bytes.get(part)?);
            return Some(());
        }
        out.extend_from_slice(self.bytes.get(part.start..self.tmax_at)?);
        out.extend_from_slice(itoa::Buffer::new().format(tmax_ms).as_bytes());
        out.extend_from_slice(self.bytes.get(self.tmax_at..part.end)?);
        Some(())
    }
}
