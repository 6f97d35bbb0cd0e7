//! The request as all bidders of one kind get it, with a few open places.
//!
//! Owns: [`Draft`] and the copying of it into a body. Never: an edit (`walk`), what goes into an
//! open place (`kind`). Invariant: a draft that could not be written whole gives no body.

use super::Subject;
use super::common::Common;
use super::kind::{Fill, Filling, Hole, Kind};
use super::walk::Walk;
use crate::bidder::splice::Splicer;
use crate::request::ValidRequest;
use std::ops::Range;

/// One draft.
#[derive(Debug, Default)]
pub struct Draft {
    kind: Kind,
    bytes: Vec<u8>,
    /// Ascending; none inside an imp.
    holes: Vec<Hole>,
    /// Each element of `imp`, refused ones included.
    imps: Vec<Range<usize>>,
    is_complete: bool,
}

impl Draft {
    /// Whether it was written for this kind of bidder.
    pub fn is_for(&self, kind: &Kind) -> bool {
        self.kind == *kind
    }

    /// Writes it; one that cannot be written gives no body.
    pub fn write(&mut self, (subject, common): (&Subject<'_>, &Common<'_>), kind: Kind) {
        self.kind = kind;
        self.imps.clear();
        self.holes.clear();
        let to = Splicer::new(subject.request.bytes(), std::mem::take(&mut self.bytes));
        let mut walk = Walk::new((subject, common), kind, to, (&mut self.imps, &mut self.holes));
        let is_walked = walk.root().is_some();
        let bytes = walk.to.finish();
        self.is_complete = is_walked && bytes.is_some();
        self.bytes = bytes.unwrap_or_default();
    }

    /// Appends a body to `out`: the draft with some of its imps, and its open places filled.
    pub fn body(&self, request: &ValidRequest, fill: &Fill<'_>, out: &mut Vec<u8>) -> Option<()> {
        if !self.is_complete {
            return None;
        }
        let mut fitting = Fitting { request, fill, sent: 0, out };
        // A `u32` has at most ten digits.
        fitting.out.reserve(self.bytes.len() + 10);
        let imps = request.view.imps.iter().enumerate();
        let mut chosen = imps.filter(|(index, _)| fill.imps.contains(*index));
        fitting.sent = chosen.clone().count();
        let (_, first) = chosen.next()?;
        let first = first.position as usize;
        self.copy(0..self.imps.first()?.start, &mut fitting)?;
        fitting.out.extend_from_slice(self.bytes.get(self.imps.get(first)?.clone())?);
        for (_, imp) in chosen {
            let position = imp.position as usize;
            // The comma in front of it, with the white space that came.
            let before = self.imps.get(position.checked_sub(1)?)?.end;
            fitting.out.extend_from_slice(self.bytes.get(before..self.imps.get(position)?.end)?);
        }
        self.copy(self.imps.last()?.end..self.bytes.len(), &mut fitting)
    }

    /// Copies a part of the draft and fills the holes that are inside.
    fn copy(&self, part: Range<usize>, to: &mut Fitting<'_, '_>) -> Option<()> {
        let mut from = part.start;
        for hole in self.holes.iter().filter(|hole| part.contains(&hole.at.start)) {
            to.out.extend_from_slice(self.bytes.get(from..hole.at.start)?);
            from = if to.fits(hole.what)? { hole.at.end } else { hole.at.start };
        }
        to.out.extend_from_slice(self.bytes.get(from..part.end)?);
        Some(())
    }
}

/// One body being written.
struct Fitting<'f, 'o> {
    request: &'f ValidRequest,
    fill: &'f Fill<'f>,
    /// How many imps go into it.
    sent: usize,
    out: &'o mut Vec<u8>,
}

impl Fitting<'_, '_> {
    /// Fills a hole; `Some(false)`: what stands in it stays.
    fn fits(&mut self, what: Filling) -> Option<bool> {
        match what {
            Filling::Tmax => {
                let mut digits = itoa::Buffer::new();
                self.out.extend_from_slice(digits.format(self.fill.tmax_ms).as_bytes());
            }
            Filling::Allimps if self.sent == self.request.view.imp_elements.len() => {
                return Some(false);
            }
            Filling::Allimps => self.out.push(b'0'),
            Filling::Seats => self.fill.write_seats(self.request, self.out)?,
        }
        Some(true)
    }
}
