//! The frames of HTTP/2 as a client without a header table needs them (RFC 9113, RFC 7541).
//!
//! Owns: how frames are cut from bytes and written, and how a status is read from a block of
//! headers. Never: a socket, a stream. Invariants: total over any bytes; nothing is allocated by a
//! length that a peer named.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// What a client sends first (3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Head of a frame.
pub const HEAD_BYTES: usize = 9;
/// The longest frame that we allow, and that every peer must (4.2).
pub const FRAME_BYTES_MAX: usize = 16_384;

/// Types of frames (6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Parameters of SETTINGS (6.5.2).
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
}

/// One frame at the front of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: &'a [u8],
}

/// The bytes keep to no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Cuts one frame off; `None`: it is not all there.
pub fn cut(buffer: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>, Malformed> {
    let Some((head, rest)) = buffer.split_at_checked(HEAD_BYTES) else { return Ok(None) };
    let &[l0, l1, l2, kind, flags, s0, s1, s2, s3] = head else { return Ok(None) };
    let len = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).map_err(|_| Malformed)?;
    if len > FRAME_BYTES_MAX {
        return Err(Malformed);
    }
    let Some((payload, rest)) = rest.split_at_checked(len) else { return Ok(None) };
    let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
    Ok(Some((Frame { kind, flags, stream, payload }, rest)))
}

impl<'a> Frame<'a> {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What DATA and HEADERS hold, without padding and priority.
    pub fn content(&self) -> Result<&'a [u8], Malformed> {
        let mut content = self.payload;
        if self.has(flag::PADDED) {
            let (pad, rest) = content.split_first().ok_or(Malformed)?;
            let len = rest.len().checked_sub(usize::from(*pad)).ok_or(Malformed)?;
            content = rest.get(..len).ok_or(Malformed)?;
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            content = content.get(5..).ok_or(Malformed)?;
        }
        Ok(content)
    }

    /// The number at the front of the payload; of WINDOW_UPDATE and GOAWAY without its first bit.
    pub fn number(&self) -> Result<u32, Malformed> {
        let bytes = self.payload.first_chunk().ok_or(Malformed)?;
        Ok(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
    }

    /// The parameters of SETTINGS.
    pub fn settings(&self) -> impl Iterator<Item = (u16, u32)> + use<'a> {
        self.payload.chunks_exact(6).filter_map(|one| {
            let &[i0, i1, v0, v1, v2, v3] = one else { return None };
            Some((u16::from_be_bytes([i0, i1]), u32::from_be_bytes([v0, v1, v2, v3])))
        })
    }
}

/// Appends a frame.
pub fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(len.get(1..).unwrap_or_default());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends the SETTINGS of a client with these parameters.
pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let len = u32::try_from(settings.len()).unwrap_or(0).saturating_mul(6).to_be_bytes();
    out.extend_from_slice(len.get(1..).unwrap_or_default());
    out.extend_from_slice(&[kind::SETTINGS, 0, 0, 0, 0, 0]);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Entries 8 to 14 of the static table (RFC 7541, appendix A).
const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

/// The status at the front of a block of headers, where pseudo-headers must stand (8.3). The peer
/// was told to keep no table, so that it is an entry of the static table or a value in full.
pub fn status(block: &[u8]) -> Result<u16, Malformed> {
    let mut rest = block;
    // a table size update may come first
    while let Some((first, behind)) = rest.split_first().filter(|(first, _)| **first & 0xe0 == 0x20)
    {
        rest = behind;
        if first & 0x1f == 0x1f {
            let end = rest.iter().position(|byte| byte & 0x80 == 0).ok_or(Malformed)?;
            rest = rest.get(end.saturating_add(1)..).ok_or(Malformed)?;
        }
    }
    let (first, rest) = rest.split_first().ok_or(Malformed)?;
    let entry = match first {
        0x88..=0x8e => {
            return STATIC
                .get(usize::from(first & 0x7f).saturating_sub(8))
                .copied()
                .ok_or(Malformed);
        }
        0x40..=0x7f => first & 0x3f,
        0x00..=0x1f => first & 0x0f,
        _ => return Err(Malformed),
    };
    // entries 8 to 14 have the name `:status`; 0: a name in full, which is this one here
    let rest = match entry {
        8..=14 => rest,
        0 => named_status(rest)?,
        _ => return Err(Malformed),
    };
    let (len, value) = rest.split_first().ok_or(Malformed)?;
    let text = value.get(..usize::from(len & 0x7f)).ok_or(Malformed)?;
    let digits = if len & 0x80 == 0 {
        <[u8; 3]>::try_from(text).map_err(|_| Malformed)?
    } else {
        huffman_digits(text)?
    };
    let number = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
    number.filter(|status| (100..=999).contains(status)).ok_or(Malformed)
}

/// Passes over `:status`, plain or in Huffman coding.
fn named_status(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let plain = bytes.strip_prefix(b"\x07:status");
    plain.or_else(|| bytes.strip_prefix(b"\x85\xb8\x84\x8d\x36\xa3")).ok_or(Malformed)
}

/// Three digits in Huffman coding (RFC 7541, appendix B): 0 to 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> Result<[u8; 3], Malformed> {
    let mut bits = bytes.iter().take(4).fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
    let missing = 4u32.saturating_sub(u32::try_from(bytes.len()).unwrap_or(4));
    bits = bits.checked_shl(missing.saturating_mul(8)).unwrap_or(0);
    let mut digits = [0; 3];
    for digit in &mut digits {
        let (five, six) = (bits >> 27, bits >> 26);
        let (value, len) = match (five, six) {
            (0..=2, _) => (five, 5),
            (_, 0x19..=0x1f) => (six.saturating_sub(0x19).saturating_add(3), 6),
            _ => return Err(Malformed),
        };
        *digit = b'0'.saturating_add(u8::try_from(value).unwrap_or(0));
        bits <<= len;
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_is_read_in_all_the_forms_that_it_may_have() {
        for (block, expected) in [
            (&b"\x88"[..], 200),
            (b"\x89\x00rest", 204),
            (b"\x8e", 500),
            (b"\x20\x8d", 404),
            (b"\x3f\xe1\x1f\x88", 200),
            (b"\x08\x03503", 503),
            (b"\x48\x03429", 429),
            (b"\x18\x03100", 100),
            (b"\x48\x82\x64\x02", 302),
            (b"\x48\x83\x6c\x0c\xff", 503),
            (b"\x00\x07:status\x03503", 503),
        ] {
            assert_eq!(status(block), Ok(expected), "{block:x?}");
        }
        for block in [&b""[..], b"\xbe", b"\x41\x03200", b"\x08\x02", b"\x08\x0220", b"\x3f"] {
            assert_eq!(status(block), Err(Malformed), "{block:x?}");
        }
    }

    #[test]
    fn frames_come_out_as_they_were_put() {
        let mut bytes = Vec::new();
        put(&mut bytes, kind::DATA, flag::END_STREAM, 5, b"abc");
        put_settings(&mut bytes, &[(setting::ENABLE_PUSH, 0), (setting::INITIAL_WINDOW_SIZE, 9)]);
        let (data, rest) = cut(&bytes).unwrap().unwrap();
        assert_eq!((data.kind, data.stream, data.payload), (kind::DATA, 5, &b"abc"[..]));
        let (settings, rest) = cut(rest).unwrap().unwrap();
        assert_eq!(settings.settings().collect::<Vec<_>>(), [(2, 0), (4, 9)]);
        assert!(rest.is_empty());
        for end in 0..12 {
            assert_eq!(cut(bytes.get(..end).unwrap()), Ok(None));
        }
        assert_eq!(cut(b"\x00\x40\x01\x00\x00\x00\x00\x00\x00"), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = status(&bytes);
            if let Ok(Some((frame, _))) = cut(&bytes) {
                let _ = (frame.content(), frame.number(), frame.settings().count());
            }
        }
    }
}
