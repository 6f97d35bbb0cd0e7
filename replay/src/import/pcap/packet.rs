//! From the link to the payload of TCP.
//!
//! Owns: which links are known. Never: a stream. Invariant: total.

use crate::import::Skip;
use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use std::net::{IpAddr, SocketAddr};

/// One segment of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'p> {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub sequence: u32,
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
    pub payload: &'p [u8],
    /// Bytes of payload that the capture has cut off.
    pub missing: usize,
}

/// Link types, as the registry of pcap numbers them.
pub mod link {
    /// Loopback of BSD: the family in the byte order of the machine.
    pub const NULL: u16 = 0;
    pub const ETHERNET: u16 = 1;
    pub const RAW: [u16; 5] = [12, 14, 101, 228, 229];
    /// The same in network order.
    pub const LOOP: u16 = 108;
    /// Linux "cooked": `tcpdump -i any`.
    pub const SLL: u16 = 113;
    pub const SLL2: u16 = 276;
}

/// `None`: it is whole, and not TCP over IP. `Err`: it is damaged, or of an unknown link.
pub fn segment(kind: u16, bytes: &[u8]) -> Result<Option<Segment<'_>>, Skip> {
    let sliced = match kind {
        link::ETHERNET => LaxSlicedPacket::from_ethernet(bytes).map_err(|_| Skip::BadPacket)?,
        link::NULL | link::LOOP => ip(bytes.get(4..).ok_or(Skip::BadPacket)?)?,
        link::SLL => ether(bytes, 14, 16)?,
        link::SLL2 => ether(bytes, 0, 20)?,
        kind if link::RAW.contains(&kind) => ip(bytes)?,
        _ => return Err(Skip::BadPacket),
    };
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
        return if sliced.stop_err.is_some() { Err(Skip::BadPacket) } else { Ok(None) };
    };
    let (source, target, whole) = match &sliced.net {
        Some(LaxNetSlice::Ipv4(net)) => {
            let header = net.header();
            let whole = usize::from(header.total_len()).checked_sub(header.slice().len());
            (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()), whole)
        }
        Some(LaxNetSlice::Ipv6(net)) => {
            let header = net.header();
            // with extension headers: what was sliced has them behind it
            let extensions = net.extensions().slice().len();
            let whole = usize::from(header.payload_length()).checked_sub(extensions);
            (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()), whole)
        }
        _ => return Ok(None),
    };
    // the system may write no length for a packet that it has put together: then all of it is there
    let have = tcp.slice().len();
    let missing = whole.filter(|whole| *whole > 0).map_or(0, |whole| whole.saturating_sub(have));
    Ok(Some(Segment {
        from: SocketAddr::new(source, tcp.source_port()),
        to: SocketAddr::new(target, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        syn: tcp.syn(),
        ack: tcp.ack(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        payload: tcp.payload(),
        missing,
    }))
}

fn ip(bytes: &[u8]) -> Result<LaxSlicedPacket<'_>, Skip> {
    LaxSlicedPacket::from_ip(bytes).map_err(|_| Skip::BadPacket)
}

/// What stands behind a head whose type of payload stands at `at`.
fn ether(bytes: &[u8], at: usize, head: usize) -> Result<LaxSlicedPacket<'_>, Skip> {
    let kind = *bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Skip::BadPacket)?;
    let behind = bytes.get(head..).ok_or(Skip::BadPacket)?;
    Ok(LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(kind)), behind))
}
