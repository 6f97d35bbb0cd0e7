//! What the kernel says of a listening socket's accept queue, over netlink socket diagnostics.
//!
//! Owns: one question (`SOCK_DIAG_BY_FAMILY`, inet, state LISTEN) and the reading of its answer.
//! It needs no privilege and no unsafe call, unlike `TCP_INFO`. Never: a wait; where netlink
//! is not there (some sandboxes), the answer is `None` or an IO error, and callers do without.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The accept queue of one listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenQueue {
    /// Connections that wait now.
    pub waiting: u32,
    /// Connections that may wait.
    pub limit: u32,
}

/// From `linux/netlink.h`, `linux/sock_diag.h`, `linux/inet_diag.h`.
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Request, dump.
const NLM_F_REQUEST_DUMP: u16 = 0x01 | 0x300;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN_BIT: u32 = 1 << 10;
/// `nlmsghdr`, then `inet_diag_req_v2`.
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: u32 = 16 + 56;
/// `inet_diag_msg`: family, state, timer, retransmissions, 48 bytes of id, expires, rqueue, wqueue.
const PORT_AT: usize = 4;
const ADDRESS_AT: usize = 8;
const RQUEUE_AT: usize = 56;
const WQUEUE_AT: usize = 60;
/// Reads of answers at most: a machine with very many listeners is not searched to its end.
const READS_MAX: usize = 64;

/// The queue of the socket that listens on `address`; `None` where the kernel knows none.
pub fn listen_queue(address: SocketAddr) -> io::Result<Option<ListenQueue>> {
    let mut socket = Socket::new(
        Domain::from(AF_NETLINK),
        Type::DGRAM,
        Some(Protocol::from(NETLINK_SOCK_DIAG)),
    )?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.send(&question(address))?;
    let mut buffer = vec![0; 32 << 10];
    for _ in 0..READS_MAX {
        let got = socket.read(&mut buffer)?;
        match find(buffer.get(..got).unwrap_or_default(), address) {
            Found::Queue(queue) => return Ok(Some(queue)),
            Found::End => return Ok(None),
            Found::More => {}
        }
    }
    Ok(None)
}

fn question(address: SocketAddr) -> Vec<u8> {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut bytes = Vec::with_capacity(REQUEST_BYTES as usize);
    bytes.extend(REQUEST_BYTES.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    // sequence and port of the asker
    bytes.extend([0; 8]);
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    bytes.extend(TCP_LISTEN_BIT.to_ne_bytes());
    // the id of the socket: a dump does not read it
    bytes.resize(REQUEST_BYTES as usize, 0);
    bytes
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Queue(ListenQueue),
    More,
    End,
}

/// Looks through one datagram of answers.
fn find(mut datagram: &[u8], address: SocketAddr) -> Found {
    while let Some(length) = u32_at(datagram, 0) {
        let length = length as usize;
        let kind = datagram.get(4..6).and_then(|two| two.try_into().ok()).map(u16::from_ne_bytes);
        if length < HEADER_BYTES || kind != Some(SOCK_DIAG_BY_FAMILY) {
            // NLMSG_DONE, NLMSG_ERROR or nonsense
            return Found::End;
        }
        let Some(message) = datagram.get(HEADER_BYTES..length) else { return Found::End };
        if let Some(queue) = queue_of(message, address) {
            return Found::Queue(queue);
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Found::More
}

fn queue_of(message: &[u8], address: SocketAddr) -> Option<ListenQueue> {
    let port = message.get(PORT_AT..)?.first_chunk::<2>()?;
    let there = message.get(ADDRESS_AT..)?;
    let is_same = u16::from_be_bytes(*port) == address.port()
        && match address.ip() {
            IpAddr::V4(ip) => there.starts_with(&ip.octets()),
            IpAddr::V6(ip) => there.starts_with(&ip.octets()),
        };
    let queue =
        ListenQueue { waiting: u32_at(message, RQUEUE_AT)?, limit: u32_at(message, WQUEUE_AT)? };
    is_same.then_some(queue)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|four| u32::from_ne_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_tells_the_queue_and_its_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        match listen_queue(address) {
            Ok(Some(queue)) => {
                assert_eq!(queue.waiting, 0);
                assert!(queue.limit > 0);
                let _client = TcpStream::connect(address).unwrap();
                assert_eq!(listen_queue(address).unwrap().unwrap().waiting, 1);
            }
            other => println!("skipped: no socket diagnostics here: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = find(&bytes, "192.0.2.1:80".parse().unwrap());
        }
    }
}
