//! The thread that empties the journal into the stream.
//!
//! Owns: [`Relay`]. Never: an event's answer, a byte of a file. Invariants: the cursor passes a record
//! only when the stream has it; of one sale only one message is on its way at any moment, so that
//! they stand in the stream in their order whatever is lost and sent again; nobody waits for it.

use super::complaint::Complaint;
use super::dial::jittered;
use super::link::Link;
use super::message::{Message, of_record};
use super::{BrokerFault, Settings};
use crate::clock;
use crate::journal::JournalFault;
use crate::journal::frame::Class;
use crate::journal::handle::Journal;
use crate::journal::sink::{Batch, Kept, Sink};
use crate::journal::vital::Vital;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{error, info, warn};

/// The name of the journal's sink.
pub const SINK: &str = "broker";

/// How long it waits for a record before it looks whether it is to end.
const IDLE: Duration = Duration::from_millis(100);

/// Bytes of records that are read at once.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The cursor is written at most so often while there is more to do: each time is two fsyncs, on the
/// disk that events wait for.
const COMMIT_EVERY: Duration = Duration::from_millis(100);

/// First pause before what was not acknowledged is sent again, in milliseconds.
const RETRY_MS: u64 = 50;

/// How much nicer than the workers the thread is.
const NICE: i32 = 5;

#[derive(Debug, Default)]
struct Stop {
    is_asked: AtomicBool,
    asked: Notify,
}

/// The thread.
#[derive(Debug)]
pub struct Running {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends it; what the stream does not have is sent by the next start. Blocks.
    pub fn close(self) {
        self.stop.is_asked.store(true, Ordering::Release);
        self.stop.asked.notify_one();
        // no error: where it panics, the process ends
        let _ = self.thread.join();
    }
}

/// Records that the stream has, and the cursor has not passed.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    next: u64,
    delivered: u64,
}

/// From the journal to the stream.
#[derive(Debug)]
pub struct Relay {
    link: Link,
    sink: Sink,
    stop: Arc<Stop>,
    complaint: Complaint,
}

impl Relay {
    /// Starts its thread on a journal whose settings name [`SINK`]; `None` where they do not.
    pub fn start(journal: &Journal, link: Link) -> Option<io::Result<Running>> {
        let sink = Sink::new(journal, SINK)?;
        let stop = Arc::new(Stop::default());
        let relay = Self { link, sink, stop: Arc::clone(&stop), complaint: Complaint::default() };
        let thread = std::thread::Builder::new().name("gavel-relay".to_owned());
        let thread = thread.spawn(move || {
            let _vital = Vital("relay");
            // On Linux the niceness is the thread's own.
            if let Err(fault) = rustix::process::nice(NICE) {
                warn!(%fault, "the relay runs at the workers' priority");
            }
            relay.run();
        });
        Some(thread.map(|thread| Running { stop, thread }))
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_asked.load(Ordering::Acquire)
    }

    fn run(mut self) {
        let window = self.link.settings().window;
        let mut done = None::<Done>;
        let mut committed = clock::monotonic();
        while !self.is_stopped() {
            let is_there = self.sink.wait(IDLE);
            if is_there {
                match self.sink.read(window, BATCH_BYTES_MAX) {
                    Ok(batch) if self.deliver(&batch) => {
                        let before = done.unwrap_or_default().delivered;
                        let delivered = before + batch.durable();
                        done = Some(Done { next: batch.next, delivered });
                    }
                    Ok(_) => break,
                    Err(fault) => {
                        self.complain("read the journal", &fault);
                        std::thread::sleep(IDLE);
                    }
                }
            } else {
                self.link.health().is_at(0);
            }
            let now = clock::monotonic();
            if !is_there || now.saturating_duration_since(committed) >= COMMIT_EVERY {
                committed = now;
                self.commit(&mut done);
            }
        }
        self.commit(&mut done);
    }

    fn commit(&mut self, done: &mut Option<Done>) {
        let Some(Done { next, delivered }) = *done else { return };
        match self.sink.pass(next, delivered, 0) {
            Ok(()) => *done = None,
            Err(fault) => self.complain("write the cursor", &fault),
        }
    }

    /// Until the stream has all of a batch; `false`: it is to end before.
    fn deliver(&mut self, batch: &Batch) -> bool {
        let settings = self.link.settings();
        let waiting = messages(settings, &batch.records);
        let Some(first) = waiting.first() else { return true };
        self.link.health().is_at(first.came_us);
        let (link, stop) = (self.link.clone(), Arc::clone(&self.stop));
        self.link.block_on(async move {
            tokio::select! {
                () = stop.asked.notified() => false,
                () = send_all(&link, waiting) => true,
            }
        })
    }

    /// Not at each of the tries that follow.
    fn complain(&mut self, what: &str, fault: &JournalFault) {
        if self.complaint.is_due(fault) {
            error!(%fault, cause = ?fault, "events do not reach the broker: cannot {what}");
        }
    }
}

fn messages(settings: &Settings, records: &[Kept]) -> Vec<Message> {
    let is_wanted = |one: &&Kept| one.class == Class::Durable || settings.has_auctions;
    let message =
        |one: &Kept| of_record(&settings.prefix, one.sequence, one.kind, one.class, &one.payload);
    records.iter().filter(is_wanted).map(message).collect()
}

/// Ends when the stream has all of them.
async fn send_all(link: &Link, mut waiting: Vec<Message>) {
    let mut failures = 0_usize;
    let mut complaint = Complaint::default();
    while !waiting.is_empty() {
        let (left, fault) = round(link, waiting).await;
        waiting = left;
        let Some(fault) = fault else {
            failures = 0;
            continue;
        };
        if complaint.is_due(&fault) {
            let (count, cause) = (waiting.len(), std::error::Error::source(&fault));
            warn!(count, %fault, cause = ?cause, "events wait for the broker");
        }
        let most = u64::try_from(link.settings().retry_max.as_millis()).unwrap_or(u64::MAX);
        let pause = jittered(failures, (RETRY_MS, most));
        failures += 1;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = link.healed() => {}
        }
        if failures > 1 && link.health().is_well() {
            info!(count = waiting.len(), "events are sent to the broker again");
        }
    }
}

/// Which of them no other of their sale stands before.
fn firsts(waiting: &[Message]) -> Vec<bool> {
    let mut sales = HashSet::new();
    waiting.iter().map(|one| one.sale.is_none_or(|sale| sales.insert(sale))).collect()
}

/// Sends the first of each sale, and waits for all of them; answers what is left, in its order, and
/// a fault where there was one.
async fn round(link: &Link, waiting: Vec<Message>) -> (Vec<Message>, Option<BrokerFault>) {
    let mut last = None;
    let mut flights = Vec::with_capacity(waiting.len());
    for (is_first, message) in firsts(&waiting).into_iter().zip(waiting) {
        let is_open = !matches!(last, Some(BrokerFault::Unreachable | BrokerFault::Full));
        let sent = if is_first && is_open {
            link.send(&message).await.map_err(|fault| last = Some(fault)).ok()
        } else {
            None
        };
        flights.push((message, sent));
    }
    let until = clock::timer() + link.settings().ack;
    let mut left = Vec::new();
    for (message, sent) in flights {
        let is_there = match sent {
            Some(sent) => {
                link.settle(sent, until).await.map_err(|fault| last = Some(fault)).is_ok()
            }
            None => false,
        };
        if !is_there {
            left.push(message);
        }
    }
    (left, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money_event::SaleId;

    #[test]
    fn of_a_sale_only_the_first_goes_and_what_has_no_sale_always() {
        let message = |sale: Option<u128>| Message {
            subject: String::new(),
            id: String::new(),
            sale: sale.map(|sale| SaleId::new(sale << 4)),
            came_us: 0,
            payload: bytes::Bytes::new(),
        };
        let waiting = [Some(1), None, Some(2), Some(1), None, Some(2), Some(3)].map(message);
        assert_eq!(firsts(&waiting), [true, true, true, false, true, false, true]);
        assert_eq!(firsts(&waiting[3..]), [true, true, true, true]);
    }
}
