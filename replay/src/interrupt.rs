//! Ctrl-C.
//!
//! Owns: a thread that waits for SIGINT and SIGTERM. Invariant: made before any other thread, so
//! that no thread is hit in the middle of what it does.

use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether the user wants the program to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to listen; the signals no longer end the program.
    pub fn listen() -> io::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let interrupt = Self::default();
        let flag = Arc::clone(&interrupt.0);
        let wait = move || {
            if signals.wait().is_ok() {
                flag.store(true, Relaxed);
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(interrupt)
    }

    /// Whether it came.
    pub fn is_asked(&self) -> bool {
        self.0.load(Relaxed)
    }
}
