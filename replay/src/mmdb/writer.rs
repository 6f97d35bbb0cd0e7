//! A database of MaxMind's format: networks in, bytes out.
//!
//! Owns: [`Writer`]. Never: a file, a clock (the moment of the build is given). Invariant: the same
//! networks in the same order give the same bytes.

use super::value::{Section, SectionFull, Value};
use std::net::IpAddr;

/// Zero bytes between tree and data.
const SEPARATOR: [u8; 16] = [0; 16];

/// What stands before the metadata.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Bits above an IPv4 address in a tree for both: IPv4 is `::/96`.
const V4_DEPTH: u8 = 96;

/// What a database is, beside its networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Such as `GeoIP2-City`.
    pub database_type: String,
    /// In English.
    pub description: String,
    /// Seconds since the Unix epoch.
    pub build_epoch: u64,
    /// Bits of one of a node's two records: 24, 28 or 32.
    pub record_bits: u16,
}

/// Builds one database for both families.
#[derive(Debug)]
pub struct Writer {
    description: Description,
    nodes: Vec<[Record; 2]>,
    section: Section,
}

/// A record that a writer keeps: its offset in the data section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored(u32);

/// Where an address's next bit leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    Nothing,
    Node(u32),
    /// Offset in the data section.
    Data(u32),
}

/// A database that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    #[error("{0}/{1} is no network")]
    Network(IpAddr, u8),
    #[error("{0}/{1} would hide narrower networks that are in already")]
    Order(IpAddr, u8),
    #[error("records of {0} bits are not 24, 28 or 32")]
    RecordBits(u16),
    #[error("records of {0} bits are too narrow for this many nodes and data")]
    TooLarge(u16),
    #[error(transparent)]
    Section(#[from] SectionFull),
}

// === impl Writer ===

impl Writer {
    /// Empty.
    pub fn new(description: Description) -> Self {
        Self { description, nodes: vec![[Record::Nothing; 2]], section: Section::default() }
    }

    /// Keeps a record that networks may be given.
    pub fn store(&mut self, value: &Value) -> Result<Stored, WriterError> {
        Ok(Stored(self.section.add(value)?))
    }

    /// Gives a network its record; a narrower one may come later and cuts itself out of it.
    pub fn insert(
        &mut self,
        address: IpAddr,
        prefix: u8,
        value: &Value,
    ) -> Result<(), WriterError> {
        path(address, prefix)?;
        let stored = self.store(value)?;
        self.insert_stored(address, prefix, stored)
    }

    /// As [`Self::insert`], for a record that this writer keeps already.
    pub fn insert_stored(
        &mut self,
        address: IpAddr,
        prefix: u8,
        Stored(at): Stored,
    ) -> Result<(), WriterError> {
        let (bits, depth) = path(address, prefix)?;
        let data = Record::Data(at);
        let mut node = 0;
        for level in 0..depth - 1 {
            node = self.step(node, bit(bits, level))?;
        }
        let last = &mut self.nodes[node][bit(bits, depth - 1)];
        if matches!(last, Record::Node(_)) {
            return Err(WriterError::Order(address, prefix));
        }
        *last = data;
        Ok(())
    }

    /// Nodes of the tree.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The whole file.
    pub fn finish(&self) -> Result<Vec<u8>, WriterError> {
        let bits = self.description.record_bits;
        if !matches!(bits, 24 | 28 | 32) {
            return Err(WriterError::RecordBits(bits));
        }
        let data = self.section.bytes();
        let size = self.nodes.len() * usize::from(bits) / 4;
        let mut out = Vec::with_capacity(size + data.len() + 1024);
        for [left, right] in &self.nodes {
            let pair = [self.number(*left)?, self.number(*right)?];
            push_node(&mut out, bits, pair);
        }
        out.extend(SEPARATOR);
        out.extend(data);
        out.extend(MARKER);
        let mut metadata = Section::default();
        metadata.add(&self.metadata()?)?;
        out.extend(metadata.bytes());
        Ok(out)
    }

    /// The node behind a record; where there is none it is made, with what stood there on both
    /// sides.
    fn step(&mut self, node: usize, side: usize) -> Result<usize, WriterError> {
        if let Record::Node(next) = self.nodes[node][side] {
            return Ok(next as usize);
        }
        let bits = self.description.record_bits;
        let next = u32::try_from(self.nodes.len()).map_err(|_| WriterError::TooLarge(bits))?;
        let before = std::mem::replace(&mut self.nodes[node][side], Record::Node(next));
        self.nodes.push([before; 2]);
        Ok(next as usize)
    }

    /// A record as a number: nodes, then "nothing", then data behind the separator.
    fn number(&self, record: Record) -> Result<u32, WriterError> {
        let bits = self.description.record_bits;
        let nodes = self.nodes.len() as u64;
        let number = match record {
            Record::Node(node) => u64::from(node),
            Record::Nothing => nodes,
            Record::Data(at) => nodes + SEPARATOR.len() as u64 + u64::from(at),
        };
        let fits = number < 1 << bits;
        u32::try_from(number).ok().filter(|_| fits).ok_or(WriterError::TooLarge(bits))
    }

    fn metadata(&self) -> Result<Value, WriterError> {
        let Description { database_type, description, build_epoch, record_bits } =
            &self.description;
        let nodes = self.nodes.len();
        let node_count = u32::try_from(nodes).map_err(|_| WriterError::TooLarge(*record_bits))?;
        Ok(Value::Map(vec![
            ("binary_format_major_version", Value::U16(2)),
            ("binary_format_minor_version", Value::U16(0)),
            ("build_epoch", Value::U64(*build_epoch)),
            ("database_type", Value::text(database_type)),
            ("description", Value::Map(vec![("en", Value::text(description))])),
            ("ip_version", Value::U16(6)),
            ("languages", Value::Array(vec![Value::text("en")])),
            ("node_count", Value::U32(node_count)),
            ("record_size", Value::U16(*record_bits)),
        ]))
    }
}

/// Two records side by side; with 28 bits they share the middle byte.
fn push_node(out: &mut Vec<u8>, bits: u16, [left, right]: [u32; 2]) {
    let (left, right) = (left.to_be_bytes(), right.to_be_bytes());
    match bits {
        24 => {
            out.extend(&left[1..]);
            out.extend(&right[1..]);
        }
        28 => {
            out.extend(&left[1..]);
            out.push((left[0] << 4) | right[0]);
            out.extend(&right[1..]);
        }
        _ => {
            out.extend(left);
            out.extend(right);
        }
    }
}

/// An address's bits from the root of the tree, and how many lead to the network.
fn path(address: IpAddr, prefix: u8) -> Result<(u128, u8), WriterError> {
    let (bits, depth, width) = match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), V4_DEPTH + prefix.min(32), 32),
        IpAddr::V6(v6) => (u128::from(v6), prefix.min(128), 128),
    };
    let has_rest = depth < 128 && bits << depth != 0;
    if prefix > width || prefix == 0 || has_rest {
        return Err(WriterError::Network(address, prefix));
    }
    Ok((bits, depth))
}

/// Bit `level` from the top.
fn bit(bits: u128, level: u8) -> usize {
    usize::from((bits >> (127 - level)) & 1 == 1)
}
