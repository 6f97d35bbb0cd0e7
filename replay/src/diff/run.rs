//! Asks three servers the same.
//!
//! Owns: the order of asking, the threads, what each request is asked again. Never: a judgement.
//! Invariants: all three get the same bytes in an order drawn for each request; every look has an
//! id of its own, so that no server answers from memory of the look before.

use super::answer::{Ignore, Side};
use super::tally::{Role, Tally, Trio};
use crate::ask::{Answered, AskError, AskSettings, Asked, Asker};
use crate::drive::target::Target;
use crate::judge::void::{is_expected, is_turned_away};
use crate::random::Random;
use crate::sample::{Sample, fresh_id, with_id};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How a comparison goes about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiffSettings {
    /// Threads, each with a connection to each server; 1 to 64.
    pub threads: usize,
    /// Looks at a request in which somebody was alone; 0: none.
    pub repeats: u64,
    /// Share of the requests that are looked at again at most.
    pub repeated_share_max: f64,
    /// Chance of a false alarm over all paths together.
    pub alpha: f64,
    pub seed: u64,
    /// Give each look an id of its own.
    pub fresh_ids: bool,
    pub ask: AskSettings,
}

impl Default for DiffSettings {
    fn default() -> Self {
        Self {
            threads: 4,
            repeats: 4,
            repeated_share_max: 0.25,
            alpha: 0.001,
            seed: 1,
            fresh_ids: true,
            ask: AskSettings::default(),
        }
    }
}

/// Requests that may always be looked at again, whatever the share.
const REPEATED_ALWAYS: u64 = 50;

/// The three servers.
#[derive(Clone, Debug)]
pub struct Servers {
    pub primary: Target,
    pub secondary: Target,
    pub candidate: Target,
}

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    #[error("there is no request to compare")]
    NoRequests,
    #[error(transparent)]
    Unreachable(AskError),
    #[error("a thread of the comparison panicked")]
    Panic,
}

/// Asks all, and counts.
pub fn run(
    servers: &Servers,
    requests: &[Sample],
    ignore: &Ignore,
    settings: &DiffSettings,
) -> Result<Tally, DiffError> {
    let first = requests.first().ok_or(DiffError::NoRequests)?;
    for target in [&servers.primary, &servers.secondary, &servers.candidate] {
        let answered = Asker::new(target.clone(), settings.ask).ask(&first.asked);
        if let Err(error @ AskError::Unreachable(..)) = answered {
            return Err(DiffError::Unreachable(error));
        }
    }
    let next = AtomicUsize::new(0);
    let mut whole = Tally::default();
    std::thread::scope(|scope| {
        let work = || {
            let mut askers = [&servers.primary, &servers.secondary, &servers.candidate]
                .map(|target| Asker::new(target.clone(), settings.ask));
            let mut ask = |role: Role, asked: &Asked| askers[role as usize].ask(asked);
            let mut compare = Compare { settings, ignore, tally: Tally::default() };
            while let Some(sample) = requests.get(next.fetch_add(1, Relaxed)) {
                compare.request(sample, &mut ask);
            }
            compare.tally
        };
        let handles: Vec<_> = (0..settings.threads.max(1)).map(|_| scope.spawn(work)).collect();
        for handle in handles {
            whole.merge(handle.join().map_err(|_| DiffError::Panic)?);
        }
        Ok(whole)
    })
}

/// What asks one of the three.
type Ask<'a> = &'a mut dyn FnMut(Role, &Asked) -> Result<Answered, AskError>;

/// One thread's part.
pub struct Compare<'a> {
    pub settings: &'a DiffSettings,
    pub ignore: &'a Ignore,
    pub tally: Tally,
}

impl Compare<'_> {
    /// Looks at one request, and again where somebody is alone.
    pub fn request(&mut self, sample: &Sample, ask: Ask<'_>) {
        let trio = self.look(sample, 0, ask);
        let alone = self.tally.observe(sample.number, &trio);
        let share = self.tally.requests as f64 * self.settings.repeated_share_max;
        let is_allowed =
            self.tally.repeated < REPEATED_ALWAYS || (self.tally.repeated as f64) < share;
        if alone.is_empty() || self.settings.repeats == 0 || !is_allowed {
            return;
        }
        let rounds: Vec<Trio> =
            (1..=self.settings.repeats).map(|round| self.look(sample, round, ask)).collect();
        self.tally.observe_again(sample.number, &alone, &rounds);
    }

    fn look(&mut self, sample: &Sample, round: u64, ask: Ask<'_>) -> Trio {
        let mut asked = sample.asked.clone();
        if self.settings.fresh_ids {
            let id = fresh_id(self.settings.seed, sample.number, round);
            asked.body = with_id(&asked.body, &id);
        }
        let mut order = Role::ALL;
        let mut random = Random::for_item(self.settings.seed.wrapping_add(round), sample.number);
        for last in (1..order.len()).rev() {
            order.swap(last, random.index(last + 1));
        }
        let is_welcome = !sample.recorded.is_some_and(is_turned_away);
        self.tally.welcome += u64::from(round == 0 && is_welcome);
        let mut sides = [None, None, None];
        for role in order {
            let answered = ask(role, &asked);
            if round == 0 {
                let is_turned = answered.as_ref().is_ok_and(|it| {
                    is_turned_away(it.status)
                        && !is_expected(it.status, sample.recorded, &sample.asked.body)
                });
                self.tally.unanswered[role as usize] += u64::from(answered.is_err());
                self.tally.turned_away[role as usize] += u64::from(is_turned);
            }
            sides[role as usize] = Some(Side::new(&answered, self.ignore));
        }
        let [primary, secondary, candidate] =
            sides.map(|side| side.unwrap_or_else(|| unreachable!("each role is asked once")));
        Trio { primary, secondary, candidate }
    }
}
