//! Threads, sockets and who gets which connection. Knows nothing of HTTP.
//!
//! This file is the folder's vocabulary: [`Accepted`], which travels from the acceptor to a
//! worker, and its [`Slot`]. It imports none of its children.

pub mod acceptor;
pub mod balance;
pub mod cgroup;
pub mod cpu;
pub mod listener;
pub mod memory;
pub mod queue;
pub mod sock_diag;
pub mod workers;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One accepted connection on its way to a worker.
#[derive(Debug)]
pub struct Accepted {
    /// Non-blocking, with the options of its listener (they are inherited).
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// Counts against the connection cap until it is dropped.
    pub slot: Slot,
    /// It came when the cap was reached: its worker ends another connection for it.
    pub is_over_cap: bool,
}

/// One connection's place under the cap of open connections.
#[derive(Debug)]
pub struct Slot(Arc<AtomicU32>);

impl Slot {
    /// A place among `most`; `None` where all are taken.
    pub fn take(open: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        // One thread per listener adds; a small overshoot between two listeners is harmless.
        if open.fetch_add(1, Ordering::Relaxed) >= most {
            open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(Arc::clone(open)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
