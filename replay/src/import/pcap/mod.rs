//! Packets of plain HTTP/1.1, as tcpdump and Wireshark write them.
//!
//! Owns: the way from a file of packets to messages. Never: TLS, HTTP/2; such connections are
//! counted and passed over. Invariants: connections, bytes out of order and messages under way are
//! bounded; nothing that a packet says of itself is believed before it is checked against its length.
//!
//! | file | owns |
//! |---|---|
//! | `file` | pcap and pcapng: packets with their times and links |
//! | `packet` | from the link to TCP's payload |
//! | `stream` | one direction of a connection: bytes in order |
//! | `flow` | connections: requests and their answers |
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod file;
pub mod flow;
pub mod packet;
pub mod stream;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]
mod tests;

use super::ImportError;
use super::input::Input;
use super::sink::Sink;
use file::Packets;
use flow::Flows;
use std::io::Write;

/// Reads a file to its end.
pub fn read<W: Write>(input: &mut Input<'_>, sink: &mut Sink<'_, W>) -> Result<(), ImportError> {
    let mut flows = Flows::default();
    let mut packets = Packets::begin(input)?;
    let mut bytes = Vec::new();
    let ended = loop {
        match packets.next(input, &mut bytes) {
            Ok(Some(captured)) => match packet::segment(captured.link, &bytes) {
                Ok(Some(segment)) => flows.take(&segment, &captured, sink)?,
                Ok(None) => {}
                Err(skip) => sink.skip(skip, captured.offset),
            },
            Ok(None) => break Ok(()),
            Err(fault) => break Err(fault),
        }
    };
    flows.end(sink)?;
    ended
}
