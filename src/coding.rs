//! HTTP content codings: from the bytes on the wire to the bytes of a body, and gzip back.
//!
//! Owns: [`Coding`], [`decode`] and [`Gzip`]. Never: a socket, a header map, a status code.
//! Invariant: nothing grows past the caps, whatever the bytes claim about themselves, and room is
//! made as output comes, never ahead of it.
//!
//! One layer, one member: a second `Content-Encoding`, a second gzip member or zstd frame, and
//! bytes behind the end are refused. `deflate` means zlib (RFC 9110, 8.4.1.2), but real clients
//! send the raw stream under that name, so both are taken; the two header bytes of zlib tell.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::negatives::no_answer::NoAnswer;
use crate::negatives::refusal::Refusal;
use flate2::{
    Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status as FlateStatus,
};
use std::borrow::Cow;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// 2^15 bytes: the window of gzip and of zlib's default.
const WINDOW_BITS: u8 = 15;
/// The first room made for output lies between these.
const ROOM_LEAST: usize = 1 << 10;
const ROOM_FIRST_MAX: usize = 64 << 10;

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
    /// Largest zstd window, as a power of two (10 to 23): the memory that a frame may ask for.
    pub zstd_window_log_max: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 << 10,
            ratio_max: 50,
            ratio_free_bytes: 64 << 10,
            zstd_window_log_max: 20,
        }
    }
}

/// Why a body was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    #[error("the content coding is not one of identity, gzip, deflate and zstd, or not alone")]
    Unsupported,
    #[error("the coded bytes are corrupt, cut short, followed by more, or want too large a window")]
    Broken,
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
            Self::TooLarge => Refusal::BodyTooLarge,
            Self::Ratio => Refusal::ExpansionRatio,
        }
    }

    /// What a bidder's answer counts as.
    pub const fn no_answer(self) -> NoAnswer {
        match self {
            Self::Unsupported | Self::Broken => NoAnswer::Encoding,
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
        Coding::Gzip => inflate(Decompress::new_gzip(WINDOW_BITS), wire, caps).map(Cow::Owned),
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

fn inflate(mut engine: Decompress, wire: &[u8], caps: &Caps) -> Result<Vec<u8>, CodingError> {
    let mut out = first_room(wire.len(), caps);
    loop {
        make_room(&mut out, caps)?;
        let rest = wire.get(read_by(&engine)..).unwrap_or_default();
        let status = engine
            .decompress_vec(rest, &mut out, FlushDecompress::None)
            .map_err(|_| CodingError::Broken)?;
        check(out.len(), read_by(&engine), caps)?;
        if matches!(status, FlateStatus::StreamEnd) {
            return ended(out, read_by(&engine) == wire.len());
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
            .map_err(|_| CodingError::Broken)?;
        check(out.len(), input.pos(), caps)?;
        if left == 0 {
            return ended(out, input.pos() == wire.len());
        }
        if out.len() < out.capacity() && input.pos() == wire.len() {
            return Err(CodingError::Broken); // it wants more than there is
        }
    }
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const CODED: [Coding; 3] = [Coding::Gzip, Coding::Deflate, Coding::Zstd];

    fn coded(coding: Coding, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Identity => out.extend_from_slice(plain),
            Coding::Gzip => Gzip::default().encode(plain, &mut out).unwrap(),
            Coding::Deflate => {
                let mut zlib = flate2::write::ZlibEncoder::new(&mut out, Compression::default());
                zlib.write_all(plain).unwrap();
                zlib.finish().unwrap();
            }
            Coding::Zstd => out = zstd::bulk::compress(plain, 3).unwrap(),
        }
        out
    }

    fn raw_deflate(plain: &[u8]) -> Vec<u8> {
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(plain).unwrap();
        raw.finish().unwrap()
    }

    /// 64 MiB of zeros, streamed into each coding.
    fn bomb(coding: Coding) -> Vec<u8> {
        let zeros = vec![0u8; 1 << 20];
        let mut out = Vec::new();
        match coding {
            Coding::Identity => {}
            Coding::Gzip => {
                let mut to = flate2::write::GzEncoder::new(&mut out, Compression::best());
                (0..64).for_each(|_| to.write_all(&zeros).unwrap());
                to.finish().unwrap();
            }
            Coding::Deflate => {
                let mut to = flate2::write::ZlibEncoder::new(&mut out, Compression::best());
                (0..64).for_each(|_| to.write_all(&zeros).unwrap());
                to.finish().unwrap();
            }
            Coding::Zstd => {
                let mut to = zstd::stream::write::Encoder::new(&mut out, 3).unwrap();
                to.window_log(20).unwrap();
                (0..64).for_each(|_| to.write_all(&zeros).unwrap());
                to.finish().unwrap();
            }
        }
        out
    }

    fn sample() -> Vec<u8> {
        ids(200)
    }

    fn ids(count: u32) -> Vec<u8> {
        let id = |n: u32| n.wrapping_mul(2_654_435_761);
        (0..count).flat_map(|n| format!(r#"{{"id":"{}"}},"#, id(n)).into_bytes()).collect()
    }

    #[test]
    fn header_values_name_at_most_one_layer() {
        use Coding::{Deflate, Gzip, Identity, Zstd};
        for (values, expected) in [
            (&[][..], Ok(Identity)),
            (&[""], Ok(Identity)),
            (&["identity"], Ok(Identity)),
            (&["gzip"], Ok(Gzip)),
            (&["X-GZip"], Ok(Gzip)),
            (&[" deflate "], Ok(Deflate)),
            (&["ZSTD"], Ok(Zstd)),
            (&["identity, gzip"], Ok(Gzip)),
            (&["gzip,"], Ok(Gzip)),
            (&["br"], Err(CodingError::Unsupported)),
            (&["gzip, gzip"], Err(CodingError::Unsupported)),
            (&["gzip", "zstd"], Err(CodingError::Unsupported)),
            (&["gzip;q=1"], Err(CodingError::Unsupported)),
            (&["gzi"], Err(CodingError::Unsupported)),
        ] {
            let got = Coding::parse(values.iter().map(|value| value.as_bytes()));
            assert_eq!(got, expected, "{values:?}");
        }
    }

    #[test]
    fn every_coding_gives_back_what_went_in() {
        for plain in [Vec::new(), b"{}".to_vec(), ids(200), ids(10_000)] {
            for coding in CODED {
                let wire = coded(coding, &plain);
                assert_eq!(decode(coding, &wire, &Caps::default()).unwrap(), plain, "{coding:?}");
            }
            let wire = raw_deflate(&plain);
            assert_eq!(decode(Coding::Deflate, &wire, &Caps::default()).unwrap(), plain);
        }
        let plain = sample();
        let got = decode(Coding::Identity, &plain, &Caps::default()).unwrap();
        assert!(matches!(got, Cow::Borrowed(_)), "identity copies nothing");
    }

    #[test]
    fn bombs_of_64_mib_of_zeros_are_refused_within_the_caps() {
        for coding in CODED {
            let wire = bomb(coding);
            assert_eq!(
                decode(coding, &wire, &Caps::default()),
                Err(CodingError::Ratio),
                "{coding:?}"
            );
            let no_ratio = Caps { ratio_max: usize::MAX, ..Caps::default() };
            assert_eq!(decode(coding, &wire, &no_ratio), Err(CodingError::TooLarge), "{coding:?}");
        }
    }

    #[test]
    fn room_is_made_as_output_comes_and_ends_at_the_cap() {
        let caps = Caps::default();
        let mut out = first_room(100, &caps);
        assert_eq!(out.capacity(), ROOM_LEAST);
        let mut largest = 0;
        while make_room(&mut out, &caps).is_ok() {
            assert!(out.capacity() <= out.len().max(ROOM_LEAST / 2) * 2 + 1);
            out.resize(out.capacity(), 0);
            largest = out.capacity();
        }
        assert_eq!(largest, caps.body_bytes_max + 1);
    }

    #[test]
    fn a_body_may_be_exactly_as_large_as_its_cap() {
        let plain = sample();
        for coding in [Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let wire = coded(coding, &plain);
            let caps = |body_bytes_max| Caps { body_bytes_max, ..Caps::default() };
            assert!(decode(coding, &wire, &caps(plain.len())).is_ok(), "{coding:?}");
            let short = decode(coding, &wire, &caps(plain.len() - 1));
            assert_eq!(short, Err(CodingError::TooLarge), "{coding:?}");
        }
    }

    #[test]
    fn a_stream_cut_at_any_byte_is_broken() {
        let plain = sample();
        for coding in CODED {
            let wire = coded(coding, &plain);
            for cut in 0..wire.len() {
                let got = decode(coding, wire.get(..cut).unwrap(), &Caps::default());
                assert_eq!(got, Err(CodingError::Broken), "{coding:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn lying_trailers_and_trailing_bytes_are_broken() {
        let plain = sample();
        for back in 1..=8 {
            let mut wire = coded(Coding::Gzip, &plain);
            let at = wire.len() - back;
            *wire.get_mut(at).unwrap() ^= 1;
            let got = decode(Coding::Gzip, &wire, &Caps::default());
            assert_eq!(got, Err(CodingError::Broken), "byte {back} from the end");
        }
        for coding in CODED {
            let wire = coded(coding, &plain);
            for tail in [&b"x"[..], &wire] {
                let longer = [&wire, tail].concat();
                assert_eq!(decode(coding, &longer, &Caps::default()), Err(CodingError::Broken));
            }
        }
    }

    #[test]
    fn a_zstd_frame_with_a_large_window_is_broken() {
        let mut to = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        to.window_log(21).unwrap();
        to.write_all(&sample()).unwrap();
        let wire = to.finish().unwrap();
        assert_eq!(decode(Coding::Zstd, &wire, &Caps::default()), Err(CodingError::Broken));
        let wider = Caps { zstd_window_log_max: 21, ..Caps::default() };
        assert!(decode(Coding::Zstd, &wire, &wider).is_ok());
    }

    #[test]
    fn one_layer_is_taken_off_and_no_more() {
        let inner = coded(Coding::Gzip, &sample());
        let wire = coded(Coding::Gzip, &inner);
        assert_eq!(decode(Coding::Gzip, &wire, &Caps::default()).unwrap(), inner);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_body_within_the_cap_or_an_error(
            wire in proptest::collection::vec(any::<u8>(), 0..600),
            magic in 0usize..4,
        ) {
            let start: &[u8] = [&b""[..], b"\x1f\x8b\x08\x00", b"\x78\x9c", b"\x28\xb5\x2f\xfd"]
                .get(magic).copied().unwrap_or_default();
            let wire = [start, &wire].concat();
            let caps = Caps { body_bytes_max: 4096, ..Caps::default() };
            for coding in CODED {
                if let Ok(body) = decode(coding, &wire, &caps) {
                    prop_assert!(body.len() <= caps.body_bytes_max);
                }
            }
        }

        #[test]
        fn any_bytes_survive_gzip(plain in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let wire = coded(Coding::Gzip, &plain);
            prop_assert_eq!(decode(Coding::Gzip, &wire, &Caps::default()).unwrap(), plain);
        }

        #[test]
        fn header_values_of_any_bytes_never_panic(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Coding::parse([value.as_slice()]);
        }
    }
}
