//! Health in words of business: which bidders have not answered for long, and what that cost.
//!
//! Owns: [`Silence`], who is silent since when, and the log's lines about it. Never: readiness: a
//! bidder's fault takes no exchange out of service.
//! Invariant: only a bidder that would be called can be silent; one answer ends it, a no-bid too.

use crate::clock;
use crate::telemetry::hub::{BidderVoice, Hub, SilentState};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Who is silent, for `/metrics` and `/ready`.
pub type SilentList = Rc<RefCell<Vec<SilentState>>>;

/// Watches until it is aborted.
pub async fn watch(hub: Arc<Hub>, after: Duration, list: SilentList) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut silence = Silence::new(after);
    loop {
        tick.tick().await;
        let changes = silence.look(&hub.voices(), clock::monotonic());
        changes.iter().for_each(tell);
        list.replace(silence.list());
    }
}

/// All bidders' silences.
#[derive(Debug)]
struct Silence {
    after: Duration,
    known: HashMap<Arc<str>, Known>,
    now: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    /// Answers so far, and how often it was wanted when the last one came.
    answers: u64,
    wanted: u64,
    /// Auctions without it since, and since when.
    missed: u64,
    since: Option<Instant>,
    is_told: bool,
}

/// Something that the log is told.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Silent { bidder: Arc<str>, seconds: u64, auctions: u64 },
    Speaks { bidder: Arc<str>, auctions: u64 },
}

impl Silence {
    fn new(after: Duration) -> Self {
        Self { after, known: HashMap::new(), now: None }
    }

    fn look(&mut self, voices: &[BidderVoice], now: Instant) -> Vec<Change> {
        self.now = Some(now);
        let mut changes = Vec::new();
        for voice in voices {
            let known = self.known.entry(Arc::clone(&voice.name)).or_insert_with(|| Known {
                answers: voice.answers,
                wanted: voice.wanted,
                missed: 0,
                since: None,
                is_told: false,
            });
            let bidder = || Arc::clone(&voice.name);
            if voice.answers != known.answers {
                if std::mem::take(&mut known.is_told) {
                    changes.push(Change::Speaks { bidder: bidder(), auctions: known.missed });
                }
                (known.answers, known.wanted) = (voice.answers, voice.wanted);
                (known.missed, known.since) = (0, None);
                continue;
            }
            known.missed = voice.wanted.saturating_sub(known.wanted);
            if known.missed == 0 {
                continue;
            }
            let silent = now.saturating_duration_since(*known.since.get_or_insert(now));
            if silent >= self.after && !known.is_told {
                known.is_told = true;
                let (seconds, auctions) = (silent.as_secs(), known.missed);
                changes.push(Change::Silent { bidder: bidder(), seconds, auctions });
            }
        }
        changes
    }

    /// Every bidder that was wanted, with how long it has been silent.
    fn list(&self) -> Vec<SilentState> {
        let silent = |since: Instant| self.now.map(|now| now.saturating_duration_since(since));
        let mut list: Vec<_> = self
            .known
            .iter()
            .map(|(name, known)| SilentState {
                bidder: Arc::clone(name),
                silent: known.since.and_then(silent).unwrap_or_default(),
                auctions: known.missed,
                is_long: known.is_told,
            })
            .collect();
        list.sort_by(|a, b| a.bidder.cmp(&b.bidder));
        list
    }
}

fn tell(change: &Change) {
    match change {
        Change::Silent { bidder, seconds, auctions } => warn!(
            bidder = &**bidder,
            auctions,
            "{bidder} has not answered for {seconds} s: {auctions} auctions without its bids"
        ),
        Change::Speaks { bidder, auctions } => info!(
            bidder = &**bidder,
            auctions, "{bidder} answers again, after {auctions} auctions without its bids"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(wanted: u64, answers: u64) -> [BidderVoice; 1] {
        [BidderVoice { name: "x".into(), wanted, answers }]
    }

    #[test]
    fn a_bidder_that_is_called_in_vain_is_told_of_once_and_again_when_it_answers() {
        let (start, second) = (clock::monotonic(), Duration::from_secs(1));
        let mut silence = Silence::new(second * 300);
        let mut look = |at: u32, wanted, answers| {
            let changes = silence.look(&voice(wanted, answers), start + second * at);
            (changes, silence.list()[0].silent.as_secs())
        };
        assert_eq!(look(0, 5, 5), (vec![], 0));
        assert_eq!(look(10, 5, 5), (vec![], 0), "nobody wanted it");
        assert_eq!(look(600, 5, 5), (vec![], 0), "however long");
        assert_eq!(look(601, 8, 5), (vec![], 0), "the silence begins with a call");
        assert_eq!(look(900, 70, 5), (vec![], 299));
        let silent = Change::Silent { bidder: "x".into(), seconds: 300, auctions: 70 };
        assert_eq!(look(901, 75, 5), (vec![silent], 300));
        assert_eq!(look(902, 80, 5), (vec![], 301), "once");
        let speaks = Change::Speaks { bidder: "x".into(), auctions: 75 };
        assert_eq!(look(903, 81, 6), (vec![speaks], 0));
        assert_eq!(look(904, 82, 6), (vec![], 0), "and it begins anew");
    }
}
