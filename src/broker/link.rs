//! The connection to the broker.
//!
//! Owns: [`Link`], the thread that serves it. Never: a record, what becomes of a message that was not
//! acknowledged. Invariant: nothing waits longer than `broker.wait`; to a stream that is no place for
//! money nothing is sent.

use super::dial::jittered;
use super::health::{End, Health};
use super::message::{Message, probe_subject};
use super::{BrokerFault, Settings, dial, stream};
use crate::clock;
use crate::journal::vital::Vital;
use async_nats::connection::State;
use async_nats::jetstream::context::{PublishAckFuture, PublishError};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::{Client, Event};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

/// How often a broker that fails is tried.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// First pause before an event is offered again while its sender waits, and the longest.
const AGAIN_MS: (u64, u64) = (10, 100);

/// A fault that lasts is logged this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

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
    /// The stream was looked at, and is a place for money.
    is_fit: AtomicBool,
    /// The connection is another one.
    connected: Notify,
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
            Event::Connected => self.connected.notify_one(),
            Event::Disconnected | Event::Closed => {
                warn!("the broker is gone");
                self.health.fails();
            }
            Event::ServerError(_) | Event::ClientError(_) => warn!(%event, "the broker complains"),
            _ => {}
        }
    }
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
        let options = dial::options(&settings).await?;
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

    /// Looks at the stream after each connection, and tries a broker that fails.
    async fn watch(&self, client: &Client) {
        let mut told: Option<(String, Instant)> = None;
        let mut weaknesses = Vec::new();
        let signs = &self.0.signs;
        let mut is_new = true;
        loop {
            let is_connected = client.connection_state() == State::Connected;
            if is_connected && (is_new || !signs.health.is_well()) {
                match self.look(&mut weaknesses).await {
                    Ok(()) => told = None,
                    Err(fault) => complain(&fault, &mut told),
                }
            }
            is_new = tokio::select! {
                () = signs.connected.notified() => true,
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

    async fn look(&self, known: &mut Vec<String>) -> Result<(), BrokerFault> {
        let Inner { settings, context, signs, .. } = &*self.0;
        let weaknesses = match stream::ensure(context, settings).await {
            Ok(weaknesses) => weaknesses,
            Err(fault) => {
                let is_answer =
                    matches!(fault, BrokerFault::Unfit { .. } | BrokerFault::NoStream { .. });
                if is_answer {
                    signs.is_fit.store(false, Ordering::Release);
                }
                signs.health.fails();
                return Err(fault);
            }
        };
        signs.is_fit.store(true, Ordering::Release);
        if weaknesses != *known {
            for weakness in &weaknesses {
                warn!(stream = %settings.stream, %weakness, "the stream is weaker than asked for");
            }
            *known = weaknesses;
        }
        if signs.health.is_well() {
            return Ok(());
        }
        self.publish(&probe(&settings.prefix)).await.map(drop)?;
        info!(stream = %settings.stream, "the broker acknowledges");
        signs.healed.notify_waiters();
        Ok(())
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
    pub async fn send(&self, message: &Message) -> Result<PublishAckFuture, BrokerFault> {
        let Inner { settings, context, signs, .. } = &*self.0;
        let is_open = context.client().connection_state() == State::Connected
            && signs.is_fit.load(Ordering::Acquire);
        if !is_open {
            signs.health.fails();
            return Err(BrokerFault::Unreachable);
        }
        let publish = PublishMessage::build()
            .payload(message.payload.clone())
            .message_id(&message.id)
            .expected_stream(&settings.stream);
        let sent = context.send_publish(message.subject.clone(), publish).await;
        sent.map_err(|fault| self.failed(fault))
    }

    /// Waits for the acknowledgement of one that was sent.
    pub async fn settle(
        &self,
        sent: PublishAckFuture,
        until: Instant,
    ) -> Result<Stored, BrokerFault> {
        let health = &self.0.signs.health;
        match timeout_at(until, sent.into_future()).await {
            Err(_) => {
                health.count(End::Failed);
                Err(BrokerFault::Late)
            }
            Ok(Err(fault)) => Err(self.failed(fault)),
            Ok(Ok(ack)) => {
                health.count(if ack.duplicate { End::Repeat } else { End::Stored });
                Ok(Stored { sequence: ack.sequence, is_repeat: ack.duplicate })
            }
        }
    }

    fn failed(&self, fault: PublishError) -> BrokerFault {
        self.0.signs.health.count(End::Failed);
        fault.into()
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

/// Whether a stream takes anything only a new message can tell.
fn probe(prefix: &str) -> Message {
    Message {
        subject: probe_subject(prefix),
        id: format!("probe-{}-{}", std::process::id(), clock::wall().as_nanos()),
        sale: None,
        came_us: 0,
        payload: bytes::Bytes::new(),
    }
}

fn complain(fault: &BrokerFault, told: &mut Option<(String, Instant)>) {
    let (now, text) = (clock::timer(), fault.to_string());
    let is_known = |(known, at): &(String, Instant)| {
        *known == text && now.saturating_duration_since(*at) < COMPLAIN_EVERY
    };
    if !told.as_ref().is_some_and(is_known) {
        error!(%fault, cause = ?fault, "the broker takes nothing");
        *told = Some((text, now));
    }
}
