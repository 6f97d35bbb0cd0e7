//! Bombs, lies, truncations and noise against each coding.

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
        assert_eq!(decode(coding, &wire, &Caps::default()), Err(CodingError::Ratio), "{coding:?}");
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
        for tail in [&b"x"[..], b"\x1f\x8b", &wire] {
            let longer = [&wire, tail].concat();
            if coding == Coding::Gzip && tail == wire {
                continue; // two members: see below
            }
            assert_eq!(decode(coding, &longer, &Caps::default()), Err(CodingError::Broken));
        }
    }
}

#[test]
fn gzip_members_are_one_body_within_the_caps_of_one() {
    let members = |count: usize, plain: &[u8]| coded(Coding::Gzip, plain).repeat(count);
    let read = |wire: &[u8], caps: &Caps| decode(Coding::Gzip, wire, caps).map(Cow::into_owned);
    let caps = Caps::default();
    let plain = sample();
    assert_eq!(read(&members(3, &plain), &caps).unwrap(), plain.repeat(3));
    let with_empty = [members(1, b""), members(1, &plain), members(1, b"")].concat();
    assert_eq!(read(&with_empty, &caps).unwrap(), plain);
    let small = |body_bytes_max| Caps { body_bytes_max, ..caps };
    assert!(read(&members(2, &plain), &small(2 * plain.len())).is_ok());
    let over = read(&members(2, &plain), &small(2 * plain.len() - 1));
    assert_eq!(over, Err(CodingError::TooLarge));
    let zeros = vec![0u8; 16 << 10];
    assert_eq!(read(&members(8, &zeros), &caps), Err(CodingError::Ratio));
    assert!(read(&members(MEMBERS_MAX, b""), &caps).is_ok());
    assert_eq!(read(&members(MEMBERS_MAX + 1, b""), &caps), Err(CodingError::Broken));
}

/// As a client writes that streams: the size of the content is not in the frame.
fn zstd_streamed(level: i32, window_log: Option<u32>) -> Vec<u8> {
    let mut to = zstd::stream::write::Encoder::new(Vec::new(), level).unwrap();
    if let Some(log) = window_log {
        to.window_log(log).unwrap();
    }
    to.write_all(&sample()).unwrap();
    to.finish().unwrap()
}

#[test]
fn zstd_is_read_with_every_window_that_http_allows() {
    for (level, log) in [(1, None), (3, None), (19, None), (3, Some(10)), (3, Some(23))] {
        let wire = zstd_streamed(level, log);
        let got = decode(Coding::Zstd, &wire, &Caps::default());
        assert_eq!(got.unwrap(), sample(), "level {level}, window {log:?}");
    }
}

#[test]
fn a_zstd_frame_with_too_large_a_window_is_told_from_a_broken_one() {
    let wire = zstd_streamed(3, Some(24));
    assert_eq!(decode(Coding::Zstd, &wire, &Caps::default()), Err(CodingError::Window));
    let narrow = Caps { zstd_window_log_max: 20, ..Caps::default() };
    let wire = zstd_streamed(3, Some(21));
    assert_eq!(decode(Coding::Zstd, &wire, &narrow), Err(CodingError::Window));
    // content of a known size (16 MiB) in one segment is its own window
    let wire = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 1, 1, 0, 0];
    assert_eq!(decode(Coding::Zstd, &wire, &Caps::default()), Err(CodingError::TooLarge));
    let large = Caps { body_bytes_max: 16 << 20, ..Caps::default() };
    assert_eq!(decode(Coding::Zstd, &wire, &large), Err(CodingError::Window));
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
