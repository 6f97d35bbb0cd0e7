//! The connection to the broker.
//!
//! Owns: [`Link`], the thread that serves it. Never: a record, what becomes of a message that was not
//! acknowledged. Invariant: nothing waits longer than `broker.wait`; nothing is sent over a connection
//! before the stream was looked at, nor from `LOOK_EVERY` after it has become no place for money.

use super::complaint::Complaint;
use super::dial::jittered;
use super::health::{End, Health};
use super::message::{MESSAGE_BYTES_MAX, Message, probe_subject};
use super::{BrokerFault, Settings, dial, stream};
use crate::clock;
use crate::journal::vital::Vital;
use async_nats::connection::State;
use async_nats::datetime::DateTime;
use async_nats::jetstream::context::{PublishAckFuture, PublishError};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::{Client, Event};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

/// How often a broker that fails is tried.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How often the stream is looked at while all is well: somebody may change it, or make another one.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// First pause before an event is offered again while its sender waits, and the longest.
const AGAIN_MS: (u64, u64) = (10, 100);

/// Messages that wait for an acknowledgement, of the whole process: those of events are bounded by
/// `events.in_flight_max` a worker, those of the relay by `broker.window`.
const IN_FLIGHT_MAX: usize = 1 << 20;

/// What the stream said of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the stream.
    pub sequence: u64,
    /// It had been there.
    pub is_repeat: bool,
}

/// A connection that is kept; clones are the same one.
#[derive(Clone, Debug)]
pub struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    context: Context,
    runtime: Handle,
    signs: Arc<Signs>,
}

/// What the parts of a link tell each other.
#[derive(Debug, Default)]
struct Signs {
    health: Health,
    /// Connections that were lost.
    lost: AtomicU64,
    /// So many had been lost, and one more, when the stream was looked at last and was a place for
    /// money; 0: it was none.
    fit: AtomicU64,
    /// Payload of the largest message that was refused, until one as large is acknowledged: one that
    /// is smaller may find room where events do not.
    refused: AtomicUsize,
    /// The stream is to be looked at now.
    look: Notify,
    /// An acknowledgement came after a failure.
    healed: Notify,
    stop: Notify,
    /// Tasks that the end waits for, and that the last one has ended.
    owed: AtomicUsize,
    settled: Notify,
}

impl Signs {
    fn hear(&self, event: &Event) {
        match event {
            Event::Connected => self.look.notify_one(),
            Event::Disconnected | Event::Closed => {
                warn!("the broker is gone");
                // it may come back with another stream
                self.lost.fetch_add(1, Ordering::AcqRel);
                self.health.fails();
            }
            Event::ServerError(_) | Event::ClientError(_) => warn!(%event, "the broker complains"),
            _ => {}
        }
    }

    /// Whether the stream was a place for money when it was looked at over this connection.
    fn is_fit(&self) -> bool {
        self.fit.load(Ordering::Acquire) == self.lost.load(Ordering::Acquire) + 1
    }
}

/// What is known of the stream.
#[derive(Debug, Default)]
struct Known {
    weaknesses: Vec<String>,
    made: Option<DateTime>,
}

/// A message on its way.
#[derive(Debug)]
pub struct Sent {
    ack: PublishAckFuture,
    /// Of its payload.
    bytes: usize,
}

/// The thread of a link.
#[derive(Debug)]
pub struct Running {
    signs: Arc<Signs>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends the connection. Blocks.
    pub fn close(self) {
        self.signs.stop.notify_one();
        // no error: where it panics, the process ends
        let _ = self.thread.join();
    }
}

impl Link {
    /// Starts the thread; a broker that cannot be reached is tried for as long as it runs.
    pub fn start(settings: Settings) -> Result<(Self, Running), BrokerFault> {
        let (told, read) = sync_channel(1);
        let thread = std::thread::Builder::new().name("gavel-broker".to_owned());
        let thread = thread.spawn(move || {
            let _vital = Vital("broker");
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                // Whoever starts it waits for the answer.
                Err(fault) => return drop(told.send(Err(BrokerFault::Thread(fault)))),
            };
            runtime.block_on(async move {
                match Self::open(settings).await {
                    Err(fault) => drop(told.send(Err(fault))),
                    Ok((link, client)) => {
                        let _ = told.send(Ok(link.clone()));
                        link.keep(&client).await;
                    }
                }
            });
        });
        let thread = thread.map_err(BrokerFault::Thread)?;
        let dead = || BrokerFault::Thread(std::io::Error::other("it ended at once"));
        let link = read.recv().map_err(|_| dead())??;
        let signs = Arc::clone(&link.0.signs);
        Ok((link, Running { signs, thread }))
    }

    async fn open(settings: Settings) -> Result<(Self, Client), BrokerFault> {
        let signs = Arc::new(Signs::default());
        let heard = Arc::clone(&signs);
        let options = dial::options(&settings)?;
        let options = options.retry_on_initial_connect().event_callback(move |event| {
            heard.hear(&event);
            std::future::ready(())
        });
        let client = options.connect(&settings.urls[..]).await.map_err(BrokerFault::Connect)?;
        let context = ContextBuilder::new()
            .timeout(settings.ack)
            .ack_timeout(settings.ack)
            .max_ack_inflight(IN_FLIGHT_MAX)
            .backpressure_on_inflight(false)
            .build(client.clone());
        let link = Self(Arc::new(Inner { settings, context, runtime: Handle::current(), signs }));
        Ok((link, client))
    }

    /// Until it is to stop: then says what is still to be said.
    async fn keep(&self, client: &Client) {
        tokio::select! {
            () = self.0.signs.stop.notified() => {}
            () = self.watch(client) => {}
        }
        if client.connection_state() != State::Connected {
            return;
        }
        let all_said = async {
            self.is_settled().await;
            client.flush().await
        };
        let said = timeout_at(clock::timer() + self.0.settings.ack, all_said).await;
        if !matches!(said, Ok(Ok(()))) {
            warn!("the broker may not know of all notices that were delivered");
        }
    }

    /// Looks at the stream after each connection and from time to time, and tries a broker that fails.
    async fn watch(&self, client: &Client) {
        let mut complaint = Complaint::default();
        let mut known = Known::default();
        let signs = &self.0.signs;
        let (mut is_asked, mut looked) = (true, clock::timer());
        loop {
            let is_connected = client.connection_state() == State::Connected;
            let is_due = is_asked || looked.elapsed() >= LOOK_EVERY || !signs.health.is_well();
            if is_connected && is_due {
                looked = clock::timer();
                match self.look(&mut known).await {
                    Ok(()) => complaint.ends(),
                    Err(fault) if !complaint.is_due(&fault) => {}
                    Err(fault) if signs.health.is_well() => {
                        warn!(%fault, cause = ?fault, "nobody knows how the broker's stream is");
                    }
                    Err(fault) => error!(%fault, cause = ?fault, "the broker takes nothing"),
                }
            }
            is_asked = tokio::select! {
                () = signs.look.notified() => true,
                () = tokio::time::sleep(PROBE_EVERY) => false,
            };
        }
    }

    /// Ends when nothing is owed.
    async fn is_settled(&self) {
        let signs = &self.0.signs;
        loop {
            let settled = signs.settled.notified();
            if signs.owed.load(Ordering::Acquire) == 0 {
                return;
            }
            settled.await;
        }
    }

    async fn look(&self, known: &mut Known) -> Result<(), BrokerFault> {
        let Inner { settings, context, signs, .. } = &*self.0;
        let connection = signs.lost.load(Ordering::Acquire) + 1;
        let place = match stream::ensure(context, settings).await {
            Ok(place) => place,
            // no answer says nothing of the stream: whether it takes anything what is sent shows
            Err(fault @ BrokerFault::Ask(_)) => return Err(fault),
            Err(fault) => {
                signs.fit.store(0, Ordering::Release);
                signs.health.fails();
                return Err(fault);
            }
        };
        signs.fit.store(connection, Ordering::Release);
        if known.made.replace(place.made).is_some_and(|made| made != place.made) {
            let (stream, made) = (&settings.stream, place.made);
            error!(%stream, %made, "the stream is another one: what the one before it held is gone");
        }
        if place.weaknesses != known.weaknesses {
            for weakness in &place.weaknesses {
                warn!(stream = %settings.stream, %weakness, "the stream is weaker than asked for");
            }
            known.weaknesses = place.weaknesses;
        }
        if signs.health.is_well() {
            return Ok(());
        }
        let bytes = signs.refused.load(Ordering::Acquire);
        self.publish(&probe(&settings.prefix, bytes)).await.map(drop)?;
        info!(stream = %settings.stream, "the broker acknowledges");
        signs.healed.notify_waiters();
        Ok(())
    }

    /// Has the stream looked at now: something is not as it was.
    pub(super) fn look_again(&self) {
        self.0.signs.look.notify_one();
    }

    /// Sends a message, and waits until the stream has it. What may be taken a moment later (no
    /// connection yet, a stream that chooses its next leader) is tried again until `broker.wait` is
    /// over; the stream knows it for the same message.
    pub async fn publish(&self, message: &Message) -> Result<Stored, BrokerFault> {
        let Settings { ack, wait, .. } = self.0.settings;
        let until = clock::timer() + wait;
        for attempt in 0.. {
            let ended = match self.send(message).await {
                Ok(sent) => self.settle(sent, until.min(clock::timer() + ack)).await,
                Err(fault) => Err(fault),
            };
            let again = clock::timer() + jittered(attempt, AGAIN_MS);
            match ended {
                Err(fault) if fault.is_passing() && again < until => {
                    tokio::time::sleep_until(again).await;
                }
                ended => return ended,
            }
        }
        Err(BrokerFault::Late)
    }

    /// Puts a message on its way: what is sent first is there first, unless it is lost.
    pub async fn send(&self, message: &Message) -> Result<Sent, BrokerFault> {
        let Inner { settings, context, signs, .. } = &*self.0;
        let is_open = context.client().connection_state() == State::Connected && signs.is_fit();
        if !is_open {
            signs.health.fails();
            return Err(BrokerFault::Unreachable);
        }
        let publish = PublishMessage::build()
            .payload(message.payload.clone())
            .message_id(&message.id)
            .expected_stream(&settings.stream);
        let sent = context.send_publish(message.subject.clone(), publish).await;
        let bytes = message.payload.len();
        sent.map(|ack| Sent { ack, bytes }).map_err(|fault| self.failed(fault, bytes))
    }

    /// Waits for the acknowledgement of one that was sent.
    pub async fn settle(&self, sent: Sent, until: Instant) -> Result<Stored, BrokerFault> {
        let Signs { health, refused, .. } = &*self.0.signs;
        let Sent { ack, bytes } = sent;
        match timeout_at(until, ack.into_future()).await {
            Err(_) => {
                health.count(End::Failed);
                Err(BrokerFault::Late)
            }
            Ok(Err(fault)) => Err(self.failed(fault, bytes)),
            Ok(Ok(ack)) => {
                // a repeat needs no room
                let before = refused.load(Ordering::Acquire);
                if before > 0 && bytes >= before && !ack.duplicate {
                    refused.store(0, Ordering::Release);
                }
                health.count(if ack.duplicate { End::Repeat } else { End::Stored });
                Ok(Stored { sequence: ack.sequence, is_repeat: ack.duplicate })
            }
        }
    }

    fn failed(&self, fault: PublishError, bytes: usize) -> BrokerFault {
        let Signs { health, refused, .. } = &*self.0.signs;
        health.count(End::Failed);
        let fault = BrokerFault::from(fault);
        if matches!(fault, BrokerFault::Refused(_)) && !fault.is_passing() {
            refused.fetch_max(bytes.min(MESSAGE_BYTES_MAX), Ordering::AcqRel);
        }
        fault
    }

    /// Ends when the broker acknowledges again after it had failed.
    pub async fn healed(&self) {
        self.0.signs.healed.notified().await;
    }

    /// How it is.
    pub fn health(&self) -> &Health {
        &self.0.signs.health
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Whether an auction may be held whose events the broker is to take; one load while all is well.
    pub fn may_bill(&self) -> bool {
        !self.health().is_lost(self.0.settings.patience)
    }

    /// Has something done for as long as the connection lasts.
    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.runtime.spawn(task);
    }

    /// Has something done that the end of the connection waits for.
    pub(super) fn finish(&self, task: impl Future<Output = ()> + Send + 'static) {
        let signs = Arc::clone(&self.0.signs);
        signs.owed.fetch_add(1, Ordering::AcqRel);
        self.run(async move {
            task.await;
            if signs.owed.fetch_sub(1, Ordering::AcqRel) == 1 {
                signs.settled.notify_waiters();
            }
        });
    }

    pub(super) fn context(&self) -> &Context {
        &self.0.context
    }

    /// Waits on a thread that serves nothing else.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.runtime.block_on(future)
    }
}

/// Whether a stream takes anything, and so much, only a new message can tell.
fn probe(prefix: &str, bytes: usize) -> Message {
    Message {
        subject: probe_subject(prefix),
        id: format!("probe-{}-{}", std::process::id(), clock::wall().as_nanos()),
        sale: None,
        came_us: 0,
        payload: vec![b' '; bytes].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_over_a_lost_connection_says_nothing_of_the_next() {
        let signs = Signs::default();
        assert!(!signs.is_fit());
        signs.fit.store(1, Ordering::Release);
        assert!(signs.is_fit());
        signs.hear(&Event::Disconnected);
        assert!(!signs.is_fit());
        signs.hear(&Event::Connected);
        assert!(!signs.is_fit());
    }
}
