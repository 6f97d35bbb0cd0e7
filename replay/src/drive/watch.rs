//! The thread that looks at what is done.
//!
//! Owns: the showing of exchanges to inspections. Never: a wait that a shard could feel: it looks
//! whether there is something and sleeps, so that handing over wakes nobody. Invariant: a buffer
//! that was looked at goes back to the feed.

use super::parcel::Parcel;
use crate::inspect::Inspect;
use crate::wire::poller::Nanos;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::Duration;

/// How long it sleeps where there is nothing: an eighth of its queue at 100,000 a second.
const NAP: Duration = Duration::from_millis(2);

/// See the file's header.
pub(super) struct Watch {
    pub queue: Receiver<Box<Parcel>>,
    pub returns: SyncSender<Box<Parcel>>,
}

impl Watch {
    /// Shows all that comes, until no shard is left; gives how many that were.
    pub fn run(self, start: Nanos, inspections: &mut [&mut dyn Inspect]) -> u64 {
        let mut scratch = Vec::new();
        let mut inspected = 0;
        loop {
            match self.queue.try_recv() {
                Ok(parcel) => {
                    let exchange = parcel.exchange(start, &mut scratch);
                    for inspection in inspections.iter_mut() {
                        inspection.exchange(&exchange);
                    }
                    inspected += 1;
                    // a full queue of buffers has enough of them
                    let _ = self.returns.try_send(parcel);
                }
                Err(TryRecvError::Empty) => std::thread::sleep(NAP),
                Err(TryRecvError::Disconnected) => return inspected,
            }
        }
    }
}
