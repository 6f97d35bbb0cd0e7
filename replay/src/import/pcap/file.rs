//! pcap and pcapng: packets, one after the other.
//!
//! Owns: both formats, in either byte order, with either resolution of time. Never: what is in a
//! packet. Invariant: a packet is at most [`PACKET_BYTES_MAX`] long, whatever its head says.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::import::ImportError;
use crate::import::input::Input;

/// Longest packet: far beyond what any link carries, also with the system's own aggregation.
pub const PACKET_BYTES_MAX: usize = 1 << 20;

/// Longest block of pcapng that is looked into; others are passed over.
const BLOCK_BYTES_MAX: u32 = 4 << 20;

/// Interfaces of a section that are told apart.
const INTERFACES_MAX: usize = 1_024;

/// A packet, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Where it begins in the file.
    pub offset: u64,
    /// Nanoseconds since the epoch.
    pub at_ns: u64,
    /// Number of the link type, as the format's registry has it.
    pub link: u16,
}

/// Reads packets.
#[derive(Debug)]
pub struct Packets {
    is_big: bool,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Old { link: u16, is_nanos: bool },
    Next { interfaces: Vec<Interface> },
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u16,
    /// Ticks a second; 0 where that cannot be read.
    ticks: u64,
    /// Seconds to be added.
    offset_s: u64,
}

/// Whether a file that begins so holds packets.
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.first_chunk().is_some_and(|magic| {
        old_form(*magic).is_some()
            || *magic == SECTION.to_le_bytes() && section_order(bytes).is_some()
    })
}

/// Block types of pcapng.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

/// Byte order and resolution of an old file.
fn old_form(magic: [u8; 4]) -> Option<(bool, bool)> {
    match magic {
        [0xd4, 0xc3, 0xb2, 0xa1] => Some((false, false)),
        [0xa1, 0xb2, 0xc3, 0xd4] => Some((true, false)),
        [0x4d, 0x3c, 0xb2, 0xa1] => Some((false, true)),
        [0xa1, 0xb2, 0x3c, 0x4d] => Some((true, true)),
        _ => None,
    }
}

/// Byte order of a section, from the magic behind its length.
fn section_order(block: &[u8]) -> Option<bool> {
    match block.get(8..12)? {
        [0x4d, 0x3c, 0x2b, 0x1a] => Some(false),
        [0x1a, 0x2b, 0x3c, 0x4d] => Some(true),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize, is_big: bool) -> Option<u16> {
    let raw = *bytes.get(at..)?.first_chunk()?;
    Some(if is_big { u16::from_be_bytes(raw) } else { u16::from_le_bytes(raw) })
}

fn u32_at(bytes: &[u8], at: usize, is_big: bool) -> Option<u32> {
    let raw = *bytes.get(at..)?.first_chunk()?;
    Some(if is_big { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) })
}

fn to_usize(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

impl Packets {
    /// Reads the head of a file.
    pub fn begin(input: &mut Input<'_>) -> Result<Self, ImportError> {
        let head = input.want(24);
        let magic = head.first_chunk().copied().unwrap_or_default();
        if let Some((is_big, is_nanos)) = old_form(magic) {
            let Some(link) = u32_at(head, 20, is_big) else {
                return Err(ImportError::CutShort { offset: 0, what: "the head of a pcap file" });
            };
            // the upper half has flags
            let link = u16::try_from(link & 0xffff).unwrap_or_default();
            input.consume(24);
            return Ok(Self { is_big, form: Form::Old { link, is_nanos } });
        }
        if magic == SECTION.to_le_bytes()
            && let Some(is_big) = section_order(head)
        {
            return Ok(Self { is_big, form: Form::Next { interfaces: Vec::new() } });
        }
        let what = "neither pcap nor pcapng begins so".to_owned();
        Err(ImportError::Foreign { offset: input.offset(), what })
    }

    /// Writes the next packet over `bytes`; `None` at the end of the file.
    pub fn next(
        &mut self,
        input: &mut Input<'_>,
        bytes: &mut Vec<u8>,
    ) -> Result<Option<Captured>, ImportError> {
        bytes.clear();
        match &self.form {
            Form::Old { link, is_nanos } => next_old(input, bytes, (*link, *is_nanos, self.is_big)),
            Form::Next { .. } => self.next_block(input, bytes),
        }
    }

    fn next_block(
        &mut self,
        input: &mut Input<'_>,
        bytes: &mut Vec<u8>,
    ) -> Result<Option<Captured>, ImportError> {
        loop {
            let offset = input.offset();
            let cut = |what| ImportError::CutShort { offset, what };
            let head = input.want(12);
            if head.is_empty() {
                return Ok(None);
            }
            let Some(kind) = u32_at(head, 0, self.is_big) else { return Err(cut("a block")) };
            if kind == SECTION {
                let Some(is_big) = section_order(head) else {
                    let what = "a section of pcapng has no byte order".to_owned();
                    return Err(ImportError::Foreign { offset, what });
                };
                self.is_big = is_big;
                self.form = Form::Next { interfaces: Vec::new() };
            }
            let Some(length) = u32_at(head, 4, self.is_big) else { return Err(cut("a block")) };
            if length < 12 || !length.is_multiple_of(4) {
                let what = format!("a block of pcapng says that it has {length} bytes");
                return Err(ImportError::Foreign { offset, what });
            }
            let is_known = matches!(kind, INTERFACE | PACKET | SIMPLE | ENHANCED);
            if !is_known || length > BLOCK_BYTES_MAX {
                input.pass(u64::from(length));
                if input.offset() < offset.saturating_add(u64::from(length)) {
                    return Err(cut("a block"));
                }
                continue;
            }
            let block = input.want(to_usize(length));
            let Some(body) = block.get(8..to_usize(length).saturating_sub(4)) else {
                input.consume(usize::MAX);
                return Err(cut("a block"));
            };
            let found = self.block(kind, body, bytes, offset);
            input.consume(to_usize(length));
            if let Some(found) = found {
                return Ok(Some(found));
            }
        }
    }

    /// A packet, where the block holds one that can be used.
    fn block(
        &mut self,
        kind: u32,
        body: &[u8],
        bytes: &mut Vec<u8>,
        offset: u64,
    ) -> Option<Captured> {
        let is_big = self.is_big;
        let Form::Next { interfaces } = &mut self.form else { return None };
        if kind == INTERFACE {
            if interfaces.len() < INTERFACES_MAX {
                interfaces.push(interface(body, is_big)?);
            }
            return None;
        }
        let (number, data, length) = match kind {
            ENHANCED => (u32_at(body, 0, is_big)?, 20, u32_at(body, 12, is_big)?),
            PACKET => (u32::from(u16_at(body, 0, is_big)?), 20, u32_at(body, 12, is_big)?),
            // no time and no interface: it is of the first, and has all its bytes
            _ => (0, 4, u32_at(body, 0, is_big)?),
        };
        let interface = interfaces.get(to_usize(number))?;
        let behind = body.get(data..)?;
        let length = to_usize(length).min(behind.len());
        bytes.extend_from_slice(behind.get(..length.min(PACKET_BYTES_MAX))?);
        let at_ns = if kind == SIMPLE {
            0
        } else {
            let (high, low) = (u32_at(body, 4, is_big)?, u32_at(body, 8, is_big)?);
            interface.nanoseconds(u64::from(high) << 32 | u64::from(low))
        };
        Some(Captured { offset, at_ns, link: interface.link })
    }
}

fn next_old(
    input: &mut Input<'_>,
    bytes: &mut Vec<u8>,
    (link, is_nanos, is_big): (u16, bool, bool),
) -> Result<Option<Captured>, ImportError> {
    let offset = input.offset();
    let head = input.want(16);
    if head.is_empty() {
        return Ok(None);
    }
    let fields = [0, 4, 8].map(|at| u32_at(head, at, is_big));
    let (&[Some(seconds), Some(part), Some(length)], 16..) = (&fields, head.len()) else {
        return Err(ImportError::CutShort { offset, what: "the head of a packet" });
    };
    let length = to_usize(length);
    if length > PACKET_BYTES_MAX {
        let what =
            format!("a packet says that it has {length} bytes, more than {PACKET_BYTES_MAX}");
        return Err(ImportError::Foreign { offset, what });
    }
    let whole = length.saturating_add(16);
    let Some(data) = input.want(whole).get(16..whole) else {
        input.consume(usize::MAX);
        return Err(ImportError::CutShort { offset, what: "a packet" });
    };
    bytes.extend_from_slice(data);
    input.consume(whole);
    let part = u64::from(part).saturating_mul(if is_nanos { 1 } else { 1_000 });
    let at_ns = u64::from(seconds).saturating_mul(1_000_000_000).saturating_add(part);
    Ok(Some(Captured { offset, at_ns, link }))
}

/// Of an interface: its link, and the resolution of its times.
fn interface(body: &[u8], is_big: bool) -> Option<Interface> {
    let mut found = Interface { link: u16_at(body, 0, is_big)?, ticks: 1_000_000, offset_s: 0 };
    let mut rest = body.get(8..)?;
    while let (Some(code), Some(length)) = (u16_at(rest, 0, is_big), u16_at(rest, 2, is_big)) {
        let length = usize::from(length);
        let Some(value) = rest.get(4..length.saturating_add(4)) else { break };
        match (code, value) {
            (0, _) => break,
            (9, [resolution]) => found.ticks = ticks(*resolution),
            (14, _) if length == 8 => {
                let (first, second) = (u32_at(value, 0, is_big)?, u32_at(value, 4, is_big)?);
                let (high, low) = if is_big { (first, second) } else { (second, first) };
                found.offset_s = u64::from(high) << 32 | u64::from(low);
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4).saturating_add(4)..).unwrap_or_default();
    }
    Some(found)
}

/// `if_tsresol`: a power of ten, or of two where the top bit is set.
fn ticks(resolution: u8) -> u64 {
    let power = u32::from(resolution & 0x7f);
    if resolution & 0x80 == 0 { 10_u64.checked_pow(power) } else { 1_u64.checked_shl(power) }
        .unwrap_or(0)
}

impl Interface {
    fn nanoseconds(self, count: u64) -> u64 {
        let nanos = u128::from(count)
            .saturating_mul(1_000_000_000)
            .checked_div(u128::from(self.ticks))
            .unwrap_or(0);
        let offset = self.offset_s.saturating_mul(1_000_000_000);
        u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(offset)
    }
}
