//! HTTP content codings: from the bytes on the wire to the bytes of a body, and gzip back.
//!
//! Owns: [`Coding`], [`decode`] and [`Gzip`]. Never: a socket, a header map, a status code.
//! Invariant: nothing grows past the caps, whatever the bytes claim about themselves, and room is
//! made as output comes, never ahead of it.
//!
//! One layer: a second `Content-Encoding` is refused, and so is a second zstd frame, and bytes
//! behind the end. gzip may have several members (RFC 1952, 2.2). `deflate` means zlib (RFC 9110, 8.4.1.2), but real clients
//! send the raw stream under that name, so both are taken; the two header bytes of zlib tell.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::negatives::no_answer::NoAnswer;
use crate::negatives::refusal::Refusal;
use flate2::{
    Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status as FlateStatus,
};
use std::borrow::Cow;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe;

/// 2^15 bytes: the window of gzip and of zlib's default.
const WINDOW_BITS: u8 = 15;
/// The first room made for output lies between these.
const ROOM_LEAST: usize = 1 << 10;
const ROOM_FIRST_MAX: usize = 64 << 10;
/// Most members of one gzip body: each costs a decoder, even an empty one of 20 bytes.
const MEMBERS_MAX: usize = 64;

/// A content coding that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Coding {
    #[default]
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

/// What a body may grow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of a decoded body.
    pub body_bytes_max: usize,
    /// Decoded bytes for each byte on the wire, once `ratio_free_bytes` have come out.
    pub ratio_max: usize,
    /// Decoded bytes before the ratio counts: a short text of one letter is no bomb.
    pub ratio_free_bytes: usize,
    /// Largest zstd window, as a power of two (10 to 23): what a frame may make the decoder reserve.
    pub zstd_window_log_max: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 << 10,
            ratio_max: 50,
            ratio_free_bytes: 64 << 10,
            // 8 MiB: what a sender may use over HTTP (RFC 9659, 3), and does where it streams
            zstd_window_log_max: 23,
        }
    }
}

/// Why a body was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    #[error("the content coding is not one of identity, gzip, deflate and zstd, or not alone")]
    Unsupported,
    #[error("the coded bytes are corrupt, cut short or followed by more")]
    Broken,
    #[error("the zstd frame wants a larger window than its limit")]
    Window,
    #[error("the body is larger than its limit")]
    TooLarge,
    #[error("the body grows more than any honest one")]
    Ratio,
}

impl CodingError {
    /// What a partner is told.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::Unsupported => Refusal::ContentEncoding,
            Self::Broken => Refusal::EncodingBroken,
            Self::Window => Refusal::ZstdWindow,
            Self::TooLarge => Refusal::BodyTooLarge,
            Self::Ratio => Refusal::ExpansionRatio,
        }
    }

    /// What a bidder's answer counts as.
    pub const fn no_answer(self) -> NoAnswer {
        match self {
            Self::Unsupported | Self::Broken | Self::Window => NoAnswer::Encoding,
            Self::TooLarge | Self::Ratio => NoAnswer::TooLarge,
        }
    }
}

impl Coding {
    /// What may be offered in `Accept-Encoding`.
    pub const OFFER: &'static str = "gzip, deflate, zstd";

    /// From the values of all `Content-Encoding` headers; none is identity.
    ///
    /// `identity` in a list is no layer (RFC 9110, 8.4.1 reserves the name), nor is an empty
    /// element (5.6.1); two layers are an error.
    pub fn parse<'a>(
        header_values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, CodingError> {
        let names = header_values.into_iter().flat_map(|value| value.split(|byte| *byte == b','));
        let mut found = Self::Identity;
        for name in names.map(<[u8]>::trim_ascii) {
            let layer = Self::from_name(name)?;
            if layer == Self::Identity {
                continue;
            }
            if found != Self::Identity {
                return Err(CodingError::Unsupported);
            }
            found = layer;
        }
        Ok(found)
    }

    fn from_name(name: &[u8]) -> Result<Self, CodingError> {
        for (known, coding) in [
            (&b""[..], Self::Identity),
            (b"identity", Self::Identity),
            (b"gzip", Self::Gzip),
            (b"x-gzip", Self::Gzip),
            (b"deflate", Self::Deflate),
            (b"zstd", Self::Zstd),
        ] {
            if name.eq_ignore_ascii_case(known) {
                return Ok(coding);
            }
        }
        Err(CodingError::Unsupported)
    }
}

/// The body of `wire`; borrowed where nothing is coded.
pub fn decode<'a>(
    coding: Coding,
    wire: &'a [u8],
    caps: &Caps,
) -> Result<Cow<'a, [u8]>, CodingError> {
    match coding {
        Coding::Identity if wire.len() > caps.body_bytes_max => Err(CodingError::TooLarge),
        Coding::Identity => Ok(Cow::Borrowed(wire)),
        Coding::Gzip => gunzip(wire, caps).map(Cow::Owned),
        Coding::Deflate => inflate(Decompress::new(is_zlib(wire)), wire, caps).map(Cow::Owned),
        Coding::Zstd => unzstd(wire, caps).map(Cow::Owned),
    }
}

/// Whether the first two bytes are a zlib header (RFC 1950, 2.2: method 8, and a multiple of 31).
fn is_zlib(wire: &[u8]) -> bool {
    match wire {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => true,
    }
}

fn inflate(engine: Decompress, wire: &[u8], caps: &Caps) -> Result<Vec<u8>, CodingError> {
    let mut out = first_room(wire.len(), caps);
    let end = stream(engine, (wire, 0), &mut out, caps)?;
    ended(out, end == wire.len())
}

/// One member after the other; the caps are those of the whole.
fn gunzip(wire: &[u8], caps: &Caps) -> Result<Vec<u8>, CodingError> {
    let mut out = first_room(wire.len(), caps);
    let mut end = 0;
    for _ in 0..MEMBERS_MAX {
        end = stream(Decompress::new_gzip(WINDOW_BITS), (wire, end), &mut out, caps)?;
        if end == wire.len() {
            return Ok(out);
        }
    }
    Err(CodingError::Broken)
}

/// One stream, from `start` on; gives where it ends in `wire`.
fn stream(
    mut engine: Decompress,
    (wire, start): (&[u8], usize),
    out: &mut Vec<u8>,
    caps: &Caps,
) -> Result<usize, CodingError> {
    loop {
        make_room(out, caps)?;
        let rest = wire.get(start.saturating_add(read_by(&engine))..).unwrap_or_default();
        let status = engine
            .decompress_vec(rest, out, FlushDecompress::None)
            .map_err(|_| CodingError::Broken)?;
        let end = start.saturating_add(read_by(&engine));
        check(out.len(), end, caps)?;
        if matches!(status, FlateStatus::StreamEnd) {
            return Ok(end);
        }
        if out.len() < out.capacity() {
            return Err(CodingError::Broken); // it wants more than there is
        }
    }
}

fn read_by(engine: &Decompress) -> usize {
    usize::try_from(engine.total_in()).unwrap_or(usize::MAX)
}

fn unzstd(wire: &[u8], caps: &Caps) -> Result<Vec<u8>, CodingError> {
    let mut engine = Decoder::new().map_err(|_| CodingError::Broken)?;
    engine
        .set_parameter(DParameter::WindowLogMax(caps.zstd_window_log_max))
        .map_err(|_| CodingError::Broken)?;
    let mut input = InBuffer::around(wire);
    let mut out = first_room(wire.len(), caps);
    loop {
        make_room(&mut out, caps)?;
        let written = out.len();
        let left = engine
            .run(&mut input, &mut OutBuffer::around_pos(&mut out, written))
            .map_err(|_| zstd_fault(wire, caps))?;
        check(out.len(), input.pos(), caps)?;
        if left == 0 {
            return ended(out, input.pos() == wire.len());
        }
        if out.len() < out.capacity() && input.pos() == wire.len() {
            return Err(CodingError::Broken); // it wants more than there is
        }
    }
}

/// What is wrong with a frame that the decoder gave up on. It tells by a text only, so the head of
/// the frame is read here (RFC 8878, 3.1.1.1).
fn zstd_fault(wire: &[u8], caps: &Caps) -> CodingError {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = wire else { return CodingError::Broken };
    let window = if descriptor & 0x20 == 0 {
        let byte = rest.first().copied().unwrap_or_default();
        let base = 1_u64.checked_shl(u32::from(byte >> 3).saturating_add(10)).unwrap_or(u64::MAX);
        base.saturating_add((base >> 3).saturating_mul(u64::from(byte & 7)))
    } else {
        // one segment: the content is its own window
        let content = zstd_safe::get_frame_content_size(wire).ok().flatten().unwrap_or_default();
        if content > caps.body_bytes_max as u64 {
            return CodingError::TooLarge;
        }
        content
    };
    let most = 1_u64.checked_shl(caps.zstd_window_log_max).unwrap_or(u64::MAX);
    if window > most { CodingError::Window } else { CodingError::Broken }
}

fn ended(out: Vec<u8>, is_all_read: bool) -> Result<Vec<u8>, CodingError> {
    if is_all_read { Ok(out) } else { Err(CodingError::Broken) }
}

/// Room for four times the wire: what JSON usually grows by.
fn first_room(wire_len: usize, caps: &Caps) -> Vec<u8> {
    let guess = wire_len.saturating_mul(4).clamp(ROOM_LEAST, ROOM_FIRST_MAX);
    Vec::with_capacity(guess.min(room_max(caps)))
}

/// One byte more than the cap: the byte that shows that there is more.
fn room_max(caps: &Caps) -> usize {
    caps.body_bytes_max.saturating_add(1)
}

fn make_room(out: &mut Vec<u8>, caps: &Caps) -> Result<(), CodingError> {
    if out.len() < out.capacity() {
        return Ok(());
    }
    let target = out.capacity().saturating_mul(2).max(ROOM_LEAST).min(room_max(caps));
    let more = target.saturating_sub(out.len());
    if more == 0 {
        return Err(CodingError::TooLarge);
    }
    out.reserve_exact(more);
    Ok(())
}

fn check(decoded: usize, read: usize, caps: &Caps) -> Result<(), CodingError> {
    if decoded > caps.ratio_free_bytes && decoded > read.saturating_mul(caps.ratio_max) {
        return Err(CodingError::Ratio);
    }
    if decoded > caps.body_bytes_max {
        return Err(CodingError::TooLarge);
    }
    Ok(())
}

/// A gzip encoder that is used again and again (its state is some 300 KB): one a worker.
#[derive(Debug)]
pub struct Gzip(Compress);

impl Default for Gzip {
    fn default() -> Self {
        Self::new(Self::LEVEL)
    }
}

impl Gzip {
    /// Speed over size: a request crosses a data centre's network once.
    pub const LEVEL: u32 = 1;

    /// With zlib's levels, 1 to 9.
    pub fn new(level: u32) -> Self {
        Self(Compress::new_gzip(Compression::new(level.clamp(1, 9)), WINDOW_BITS))
    }

    /// Appends `bytes` as one gzip member to `out`.
    pub fn encode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        self.0.reset();
        out.reserve(bytes.len().checked_div(2).unwrap_or(0).saturating_add(64));
        loop {
            let read = usize::try_from(self.0.total_in()).unwrap_or(usize::MAX);
            let rest = bytes.get(read..).unwrap_or_default();
            let status = self
                .0
                .compress_vec(rest, out, FlushCompress::Finish)
                .map_err(|_| CodingError::Broken)?;
            if matches!(status, FlateStatus::StreamEnd) {
                return Ok(());
            }
            out.reserve(out.len().max(ROOM_LEAST));
        }
    }
}

#[cfg(test)]
mod tests;
