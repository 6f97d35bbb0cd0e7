//! The bytes of a segment: its header and its records.
//!
//! Owns: the format. Never: a file, a decision about damage. Invariant: total over any bytes; no
//! record is called good whose checksum does not hold over its length, sequence, tag and payload.
//!
//! | part | bytes |
//! |---|---|
//! | header | magic (8), version (2), header length (2), zero (4), ordinal (8), sequence of the first record (8), microseconds since the epoch (8), zero (20), checksum of these (4) |
//! | record, any number | length of the payload (4), checksum over length, sequence, tag and payload (4), sequence (8), tag (1), payload |
//! | rest | zeros |
//!
//! Numbers are little-endian, checksums CRC-32C. A tag is a kind (six bits), a bit for buffered
//! records, and a bit for the first record of a commit: where that bit stands, all records before
//! it had been made durable before it was written. It is what tells a torn tail from damage.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// First bytes of a segment: not text (the first byte), and an end of line, which a transfer as
/// text would spoil.
pub const MAGIC: [u8; 8] = *b"\x89GVLJRN\n";
/// A reader reads segments of its own version only.
pub const VERSION: u16 = 1;
/// Length of the header.
pub const HEADER_BYTES: usize = 64;
const HEADER_LENGTH: u16 = 64;
const _: () = assert!(HEADER_LENGTH as usize == HEADER_BYTES);
/// Length of what stands before a payload.
pub const HEAD_BYTES: usize = 17;
/// Longest payload that is read; what is written is bounded lower by the settings.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Kinds are below this.
pub const KINDS: u8 = 64;

const BUFFERED: u8 = 0b0100_0000;
const OPENS: u8 = 0b1000_0000;

/// The journal's own kind: says that all before it is durable, and nothing else.
pub const MARK: u8 = 0;
/// Kinds below this are the journal's own.
pub const OWN_KINDS: u8 = 8;

/// Whether losing a record costs money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Acknowledged when it is durable; never dropped.
    Durable,
    /// Written when there is room; dropped and counted under pressure.
    Buffered,
}

/// Kind, class, and whether it is the first of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    pub kind: u8,
    pub class: Class,
    pub opens: bool,
}

impl Tag {
    const fn byte(self) -> u8 {
        let class = match self.class {
            Class::Durable => 0,
            Class::Buffered => BUFFERED,
        };
        (self.kind & (KINDS - 1)) | class | if self.opens { OPENS } else { 0 }
    }

    const fn of(byte: u8) -> Self {
        Self {
            kind: byte & (KINDS - 1),
            class: if byte & BUFFERED == 0 { Class::Durable } else { Class::Buffered },
            opens: byte & OPENS != 0,
        }
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub length: usize,
    checksum: u32,
    pub sequence: u64,
    pub tag: Tag,
    length_bytes: [u8; 4],
    sequence_bytes: [u8; 8],
    tag_byte: u8,
}

impl Head {
    /// Reads any bytes; the length is not yet to be trusted.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (length_bytes, rest) = bytes.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let (sequence_bytes, rest) = rest.split_first_chunk::<8>()?;
        let tag_byte = *rest.first()?;
        Some(Self {
            length: usize::try_from(u32::from_le_bytes(*length_bytes)).ok()?,
            checksum: u32::from_le_bytes(*checksum),
            sequence: u64::from_le_bytes(*sequence_bytes),
            tag: Tag::of(tag_byte),
            length_bytes: *length_bytes,
            sequence_bytes: *sequence_bytes,
            tag_byte,
        })
    }

    /// Whether nothing was written here.
    pub const fn is_blank(&self) -> bool {
        self.length == 0 && self.checksum == 0 && self.sequence == 0 && self.tag_byte == 0
    }

    /// Whether the record is what was written.
    pub fn holds(&self, payload: &[u8]) -> bool {
        payload.len() == self.length
            && self.checksum
                == checksum(self.length_bytes, self.sequence_bytes, self.tag_byte, payload)
    }
}

fn checksum(length: [u8; 4], sequence: [u8; 8], tag: u8, payload: &[u8]) -> u32 {
    let mut head = [0_u8; 13];
    let (front, last) = head.split_at_mut(12);
    let (first, second) = front.split_at_mut(4);
    first.copy_from_slice(&length);
    second.copy_from_slice(&sequence);
    last.copy_from_slice(&[tag]);
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

/// Bytes of a record with such a payload.
pub const fn record_bytes(payload: usize) -> usize {
    HEAD_BYTES.saturating_add(payload)
}

/// Appends a record. The caller has held its payload to a limit below [`PAYLOAD_BYTES_MAX`].
pub fn write_record(out: &mut Vec<u8>, sequence: u64, tag: Tag, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let (number, tag) = (sequence.to_le_bytes(), tag.byte());
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, number, tag, payload).to_le_bytes());
    out.extend_from_slice(&number);
    out.push(tag);
    out.extend_from_slice(payload);
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Segments are numbered in the order of their records, over all folders.
    pub ordinal: u64,
    /// Sequence of its first record; a segment before it ends there, whatever else it holds.
    pub first: u64,
    /// Microseconds since the epoch, when its first record was written.
    pub begun_us: u64,
}

/// Why a header cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// All zeros: made ahead, and never written to.
    #[error("made ahead, nothing written")]
    Blank,
    /// Shorter than a header.
    #[error("the header is cut off")]
    Short,
    /// Another kind of file.
    #[error("not a segment of a journal (the magic bytes differ)")]
    Magic,
    /// Its checksum does not hold.
    #[error("the header's checksum does not hold")]
    Checksum,
    /// Written by another version.
    #[error("version {0}, this program reads version {VERSION}")]
    Version(u16),
    /// Another segment's header.
    #[error("the header is that of segment {0}")]
    Ordinal(u64),
}

impl SegmentHeader {
    /// The header's bytes.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&HEADER_LENGTH.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for number in [self.ordinal, self.first, self.begun_us] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.resize(HEADER_BYTES.saturating_sub(4), 0);
        let checksum = crc32c::crc32c(&bytes).to_le_bytes();
        bytes.extend_from_slice(&checksum);
        bytes.try_into().unwrap_or([0; HEADER_BYTES])
    }

    /// Reads the first bytes of a file.
    pub fn read(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            let is_blank = bytes.iter().all(|byte| *byte == 0);
            return Err(if is_blank { HeaderFault::Blank } else { HeaderFault::Short });
        };
        if header.iter().all(|byte| *byte == 0) {
            return Err(HeaderFault::Blank);
        }
        let Some((summed, checksum)) = header.split_last_chunk::<4>() else {
            return Err(HeaderFault::Short);
        };
        let Some((magic, rest)) = summed.split_first_chunk::<8>() else {
            return Err(HeaderFault::Short);
        };
        if *magic != MAGIC {
            return Err(HeaderFault::Magic);
        }
        if crc32c::crc32c(summed).to_le_bytes() != *checksum {
            return Err(HeaderFault::Checksum);
        }
        let version = rest.first_chunk::<2>().map_or(0, |bytes| u16::from_le_bytes(*bytes));
        if version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        let number = |at: usize| {
            rest.get(at..)
                .and_then(|rest| rest.first_chunk::<8>())
                .map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        Ok(Self { ordinal: number(8), first: number(16), begun_us: number(24) })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a test may panic")]
    use super::*;

    const TAG: Tag = Tag { kind: 9, class: Class::Buffered, opens: true };

    #[test]
    fn a_header_is_read_back_and_no_flipped_bit_of_it_is_missed() {
        let header = SegmentHeader { ordinal: 3, first: u64::MAX, begun_us: 77 };
        let bytes = header.write();
        assert_eq!(SegmentHeader::read(&bytes), Ok(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::read(&bad).is_err(), "bit {bit}");
        }
        assert_eq!(SegmentHeader::read(&bytes[..63]), Err(HeaderFault::Short));
        assert_eq!(SegmentHeader::read(&[0; 80]), Err(HeaderFault::Blank));
    }

    #[test]
    fn a_record_is_read_back_and_no_flipped_bit_of_it_is_missed() {
        let mut bytes = Vec::new();
        write_record(&mut bytes, 5, TAG, b"payload");
        let head = Head::read(&bytes).unwrap();
        assert_eq!((head.length, head.sequence, head.tag), (7, 5, TAG));
        assert!(head.holds(&bytes[HEAD_BYTES..]));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let head = Head::read(&bad).unwrap();
            let payload = bad.get(HEAD_BYTES..HEAD_BYTES + head.length);
            assert!(!payload.is_some_and(|payload| head.holds(payload)), "bit {bit}");
        }
    }

    #[test]
    fn an_empty_record_is_not_blank() {
        let mut bytes = Vec::new();
        write_record(&mut bytes, 0, Tag { kind: 0, class: Class::Durable, opens: false }, b"");
        assert!(!Head::read(&bytes).unwrap().is_blank());
    }
}
