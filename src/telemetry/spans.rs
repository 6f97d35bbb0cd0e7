//! Traces: which requests have one, and its way from a worker to the control runtime.
//!
//! Owns: [`AuctionSpan`], [`Tracer`], one a worker, and the bounded queue between. Never: a wait,
//! a text format (`otlp_traces` writes them), an id of a person.
//! Invariant: a request that is not traced costs a comparison; what the queue cannot take is
//! dropped and counted.

use super::budget::Budget;
use super::stages::Marks;
use crate::correlation::{Correlation, SpanId, TraceParent};
use crate::negatives::no_answer::NoAnswer;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Which requests are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSettings {
    /// Part of the requests (0 to 1), by their trace ids: each service along the way that samples
    /// like this chooses the same ones.
    pub ratio: f64,
    /// Also those whose sender traces them (`traceparent` with the sampled flag).
    pub follows: bool,
    /// Traces a second of this process, whatever the reason (1 to 10,000).
    pub per_second_max: u32,
    /// Traces that wait to be sent (16 to 65,536); more are dropped, and counted.
    pub queue_max: usize,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { ratio: 0.001, follows: true, per_second_max: 100, queue_max: 1_024 }
    }
}

/// One auction, and the calls that it made.
#[derive(Clone, Debug)]
pub struct AuctionSpan {
    pub correlation: Correlation,
    /// The arrival, since the Unix epoch.
    pub began: Duration,
    pub took: Duration,
    pub generation: u64,
    pub partner: String,
    /// `answered`, `no_bid`, or the label of a refusal.
    pub result: &'static str,
    pub marks: Marks,
    pub calls: Vec<CallSpan>,
}

/// One call of one bidder.
#[derive(Clone, Debug)]
pub struct CallSpan {
    pub id: SpanId,
    pub bidder: String,
    /// After the arrival.
    pub began: Duration,
    pub took: Duration,
    /// HTTP status; 0 where none came.
    pub status: u16,
    /// The bids, or why there are none.
    pub result: Result<usize, NoAnswer>,
}

/// A worker's choice of what is traced, and its end of the queue.
#[derive(Debug)]
pub struct Tracer {
    settings: TraceSettings,
    /// Trace ids whose low 56 bits are below this are chosen.
    threshold: u64,
    /// This worker's part of `per_second_max`.
    budget: Budget,
    queue: Sender<AuctionSpan>,
}

/// All workers' traces on their way.
#[derive(Clone, Debug)]
pub struct TraceRoad {
    settings: TraceSettings,
    workers: usize,
    queue: Sender<AuctionSpan>,
}

/// Bits of a trace id that are random by the specification.
const RANDOM_BITS: u32 = 56;

impl TraceRoad {
    /// The road and its end.
    pub fn new(settings: TraceSettings, workers: usize) -> (Self, Receiver<AuctionSpan>) {
        let (queue, end) = channel(settings.queue_max.max(1));
        (Self { settings, workers, queue }, end)
    }

    /// A worker's end.
    pub(super) fn tracer(&self) -> Tracer {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0 to 2^56"
        )]
        let threshold =
            (self.settings.ratio.clamp(0.0, 1.0) * (1_u64 << RANDOM_BITS) as f64) as u64;
        Tracer {
            settings: self.settings,
            threshold,
            budget: Budget::share(self.settings.per_second_max, self.workers),
            queue: self.queue.clone(),
        }
    }
}

impl Tracer {
    /// Whether a request that came at `at` is traced.
    pub fn chooses(&self, of: &Correlation, parent: Option<TraceParent>, at: Instant) -> bool {
        let random = u64::try_from(of.trace.0 & ((1 << RANDOM_BITS) - 1)).unwrap_or(0);
        let is_theirs = self.settings.follows && parent.is_some_and(|parent| parent.is_sampled);
        (random < self.threshold || is_theirs) && self.has_room(at)
    }

    /// Whether one more is within the rate; for one that is traced by wish, too.
    pub fn has_room(&self, at: Instant) -> bool {
        self.budget.take(at).is_some()
    }

    /// A trace is complete; `false`: it was dropped, the queue is full.
    pub fn send(&self, span: AuctionSpan) -> bool {
        self.queue.try_send(span).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::correlation::{Mint, TraceId};

    const SECOND: Duration = Duration::from_secs(1);

    fn tracer(settings: TraceSettings) -> (Tracer, Receiver<AuctionSpan>) {
        let (road, end) = TraceRoad::new(settings, 1);
        (road.tracer(), end)
    }

    fn span() -> AuctionSpan {
        AuctionSpan {
            correlation: Mint::new().correlate(None, None),
            began: Duration::ZERO,
            took: Duration::ZERO,
            generation: 1,
            partner: String::new(),
            result: "no_bid",
            marks: Marks::begin(clock::monotonic(), false),
            calls: Vec::new(),
        }
    }

    #[test]
    fn the_part_that_is_traced_is_that_of_the_settings_and_the_id_decides() {
        let open = TraceSettings { per_second_max: u32::MAX, ..TraceSettings::default() };
        let (now, mut mint) = (clock::monotonic(), Mint::new());
        for ratio in [0.0, 0.1, 1.0] {
            let (tracer, _end) = tracer(TraceSettings { ratio, ..open });
            let chosen = (0..10_000)
                .filter(|_| tracer.chooses(&mint.correlate(None, None), None, now))
                .count();
            assert!((chosen as f64 / 1e4 - ratio).abs() < 0.03, "{chosen} of 10,000 at {ratio}");
        }
    }

    #[test]
    fn a_sender_that_traces_is_followed_where_that_is_wanted_and_within_the_rate() {
        let parent = |is_sampled| {
            Some(TraceParent { trace: TraceId(u128::MAX), span: SpanId(1), is_sampled })
        };
        let (now, mut mint) = (clock::monotonic(), Mint::new());
        for (follows, is_sampled, expected) in [(true, true, 3), (true, false, 0), (false, true, 0)]
        {
            let settings = TraceSettings {
                ratio: 0.0,
                follows,
                per_second_max: 3,
                ..TraceSettings::default()
            };
            let (tracer, _end) = tracer(settings);
            let mut ask = |at| {
                (0..10)
                    .filter(|_| {
                        let parent = parent(is_sampled);
                        tracer.chooses(&mint.correlate(None, parent), parent, at)
                    })
                    .count()
            };
            assert_eq!(ask(now), expected, "{follows} {is_sampled}");
            assert_eq!(ask(now + SECOND / 2), 0, "no more in the same second");
            assert_eq!(ask(now + SECOND), expected, "and as many in the next");
        }
    }

    #[test]
    fn what_the_queue_cannot_take_is_dropped_and_said() {
        let settings = TraceSettings { queue_max: 2, ..TraceSettings::default() };
        let (tracer, mut end) = tracer(settings);
        let taken = [(); 5].map(|()| tracer.send(span()));
        assert_eq!(taken, [true, true, false, false, false]);
        assert!(end.try_recv().is_ok() && end.try_recv().is_ok() && end.try_recv().is_err());
    }
}
