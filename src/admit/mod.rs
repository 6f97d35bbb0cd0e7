//! From the bytes of a body to a request that may be auctioned.
//!
//! Owns: [`admit`], the face of the folder. Never: a clock, a socket, an edited byte.
//!
//! What costs what: a fault in an element of `imp` costs that imp, unless the partner is strict
//! or no imp is left; two exceptions cost the request: a key that comes twice (what we read and
//! what a bidder reads may differ) and an id that two imps share (a bid could mean either).
//! Everything else costs the request.
//!
//! Invariant: no bytes make it panic.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod decode;
mod decode_device;
mod decode_imp;
mod decode_media;
mod decode_prebid;
mod decode_regs;
mod decode_user;
pub mod lenient;
pub mod limits;
mod read;
mod validate;

use crate::arrival::Body;
use crate::json::value::{Kind, Value};
use crate::json::{Fault, scratch};
use crate::money::Rates;
use crate::negatives::refusal::Refusal;
use crate::partner::Partner;
use crate::request::{Imp, ValidRequest, View};
use lenient::{Leniencies, LenientField};
use limits::Limits;
use memchr::memmem;
use read::Reader;
use smallvec::SmallVec;

/// Imps that were turned away: the position in `imp`, and why.
pub type RefusedImps = SmallVec<[(u32, Refusal); 4]>;

/// A request that may be auctioned, and what was overlooked.
#[derive(Debug)]
pub struct Admitted {
    pub request: ValidRequest,
    pub leniencies: Leniencies,
    pub refused_imps: RefusedImps,
}

/// What a worker reuses from request to request.
#[derive(Debug)]
pub struct Scratch {
    outer: scratch::Scratch,
    /// For the documents in `native.request`.
    nested: scratch::Scratch,
    nested_text: Vec<u8>,
    /// Buffers of requests that have ended.
    spares: Vec<(Vec<u8>, Box<View>)>,
    /// Finds an escaped NUL, which has only one spelling inside a JSON string.
    escaped_nul: memmem::Finder<'static>,
}

/// Buffers kept for later requests of a worker; about 20 KB each.
const SPARES_MAX: usize = 64;

/// A buffer beyond this many bytes is not kept.
const SPARE_BYTES_MAX: usize = 64 << 10;

/// Nor is a view with an arena beyond this many entries.
const SPARE_ENTRIES_MAX: usize = 4096;

impl Scratch {
    /// For requests within these limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            outer: scratch::Scratch::new(limits.depth_max),
            nested: scratch::Scratch::new(limits.depth_max),
            nested_text: Vec::new(),
            spares: Vec::new(),
            escaped_nul: memmem::Finder::new(b"\\u0000"),
        }
    }

    /// Takes the buffers of a request that has ended, so that the next needs none of its own.
    pub fn recycle(&mut self, request: ValidRequest) {
        let (text, view) = request.into_buffers();
        self.keep(text, view);
    }

    fn keep(&mut self, mut text: Vec<u8>, mut view: Box<View>) {
        let is_small = text.capacity() <= SPARE_BYTES_MAX
            && view.members.capacity() <= SPARE_ENTRIES_MAX
            && view.texts.capacity() <= SPARE_ENTRIES_MAX
            && view.numbers.capacity() <= SPARE_ENTRIES_MAX
            && view.sizes.capacity() <= SPARE_ENTRIES_MAX
            && view.ratios.capacity() <= SPARE_ENTRIES_MAX
            && view.dur_floors.capacity() <= SPARE_ENTRIES_MAX
            && view.deals.capacity() <= SPARE_ENTRIES_MAX;
        if is_small && self.spares.len() < SPARES_MAX {
            text.clear();
            view.clear();
            self.spares.push((text, view));
        }
    }
}

/// Reads and checks a request.
pub fn admit(
    body: Body,
    partner: &Partner,
    limits: &Limits,
    rates: &Rates,
    scratch: &mut Scratch,
) -> Result<Admitted, Refusal> {
    // RFC 8259, 8.1: it may be ignored. It goes before anything is read, so that offsets hold.
    let (body, has_mark) = body.without_mark();
    let (mut text, mut view) = scratch.spares.pop().unwrap_or_else(fresh);
    let rules = Rules { partner, limits, rates };
    match read(&body, &mut text, &mut view, scratch, rules) {
        Ok((mut leniencies, refused_imps)) => {
            if has_mark {
                leniencies.note(LenientField::ByteOrderMark);
            }
            text.truncate(body.as_slice().len());
            let request = ValidRequest::new(body, text, view);
            Ok(Admitted { request, leniencies, refused_imps })
        }
        Err(refusal) => {
            scratch.keep(text, view);
            Err(refusal)
        }
    }
}

/// Buffers with room for a common request, so that few of them grow.
fn fresh() -> (Vec<u8>, Box<View>) {
    let view = View {
        texts: Vec::with_capacity(64),
        numbers: Vec::with_capacity(32),
        members: Vec::with_capacity(128),
        ..View::default()
    };
    (Vec::new(), Box::new(view))
}

/// What a request is held to.
struct Rules<'r> {
    partner: &'r Partner,
    limits: &'r Limits,
    rates: &'r Rates,
}

/// Fills `text` and `view`.
fn read(
    body: &Body,
    text: &mut Vec<u8>,
    view: &mut View,
    scratch: &mut Scratch,
    Rules { partner, limits, rates }: Rules<'_>,
) -> Result<(Leniencies, RefusedImps), Refusal> {
    let Scratch { outer, nested, nested_text, escaped_nul, .. } = scratch;
    let document = outer.read(body.as_slice(), text).map_err(|fault| match fault {
        Fault::NotJson => Refusal::NotJson,
        Fault::TooDeep => Refusal::TooDeep,
    })?;
    let mut reader = Reader {
        view,
        leniencies: Leniencies::default(),
        limits,
        rates,
        has_nul: escaped_nul.find(body.as_slice()).is_some(),
        nested,
        nested_text,
    };
    let Kind::Object(members) = document.root().kind() else { return Err(Refusal::NotAnObject) };
    let root = decode::root(&mut reader, members)?;
    validate::request(reader.view, &root, partner)?;
    let refused_imps = imps(&mut reader, root.imp, partner)?;
    Ok((reader.leniencies, refused_imps))
}

/// Reads and checks each imp; at least one is left.
fn imps(
    reader: &mut Reader<'_>,
    imps: Option<Value<'_>>,
    partner: &Partner,
) -> Result<RefusedImps, Refusal> {
    let Some(Kind::Array(elements)) = imps.map(Value::kind) else {
        return Err(Refusal::WrongType);
    };
    if elements.len() > reader.limits.imps_max {
        return Err(Refusal::TooManyImps);
    }
    let mut refused = RefusedImps::new();
    let mut ids: SmallVec<[&str; 8]> = SmallVec::new();
    for (position, element) in (0..).zip(elements) {
        reader.view.imp_elements.push(element.span());
        reader.view.imps_received = reader.view.imps_received.saturating_add(1);
        let id = decode_imp::id(element);
        if !id.is_empty() && ids.contains(&id) {
            return Err(Refusal::ImpIdDuplicate);
        }
        ids.push(id);
        match imp(reader, element, position, partner) {
            Ok(imp) => reader.view.imps.push(imp),
            Err(Refusal::DuplicateKey) => return Err(Refusal::DuplicateKey),
            Err(refusal) if partner.is_strict => return Err(refusal),
            Err(refusal) => refused.push((position, refusal)),
        }
    }
    match (reader.view.imps.is_empty(), refused.first()) {
        (true, Some((_, first))) => Err(*first),
        (true, None) => Err(Refusal::ImpMissing),
        (false, _) => Ok(refused),
    }
}

fn imp(
    reader: &mut Reader<'_>,
    element: Value<'_>,
    position: u32,
    partner: &Partner,
) -> Result<Imp, Refusal> {
    let mut imp = decode_imp::imp(reader, element, position)?;
    validate::imp(reader.view, &mut imp, partner)?;
    Ok(imp)
}

#[cfg(test)]
mod tests;
