//! What the console shows: the numbers of now, of the last minute, and of the minutes before it.
//!
//! Owns: [`Console`], which reads all numbers every two seconds and keeps a bounded history of
//! them, so that whoever opens the page during an incident sees how it began. Never: a secret, a
//! path of a bidder's address (it may hold a key), anything of a request.
//! Invariant: one text is made for each step, however many look; all on the control runtime.

mod history;
mod reading;

use super::status::Status;
use crate::bidder::Bidder;
use crate::bidder::desk::Net;
use crate::clock;
use crate::limits::bank::Bank;
use crate::partner::Partner;
use crate::runtime::queue::QueueState;
use crate::snapshot::Snapshot;
use history::History;
use reading::Reading;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often and how much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// Between two readings (1 to 60 s).
    pub step: Duration,
    /// Steps that are remembered (10 to 10,000): 450 of two seconds are 15 minutes.
    pub steps_max: usize,
    /// Steps between two marks that rates are measured from (1 to 1,000): there are two marks, so
    /// that "the last minute" is half a minute to a minute.
    pub mark_every: u64,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self { step: Duration::from_secs(2), steps_max: 450, mark_every: 15 }
    }
}

/// Two marks: the older one is what the last minute is measured from.
const MARKS: usize = 2;

/// What the console is made of.
pub struct ConsoleParts {
    pub status: Rc<Status>,
    pub net: Arc<Net>,
    pub bank: Arc<Mutex<Bank>>,
    pub settings: ConsoleSettings,
}

/// What is shown, and what is remembered for it.
pub struct Console {
    parts: ConsoleParts,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    last: Option<Rc<Reading>>,
    marks: VecDeque<Rc<Reading>>,
    history: History,
    /// Everything but the history, as it was made for this step.
    text: Option<(u64, String)>,
}

impl Console {
    /// Remembers nothing yet.
    pub fn new(parts: ConsoleParts) -> Rc<Self> {
        let history = History::new(parts.settings.steps_max);
        Rc::new(Self { parts, state: RefCell::new(State { history, ..State::default() }) })
    }

    /// Reads until it is aborted.
    pub async fn run(self: Rc<Self>) {
        let mut tick = tokio::time::interval(self.parts.settings.step);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.step();
        }
    }

    /// One reading.
    fn step(&self) {
        let mut reading = Reading::new(clock::monotonic(), clock::wall());
        if !self.parts.status.numbers(&mut |sample| reading.take(sample)) {
            return;
        }
        let reading = Rc::new(reading);
        let State { last, marks, history, .. } = &mut *self.state.borrow_mut();
        if let Some(before) = last {
            history.push(before, &reading);
        }
        if history.seq().is_multiple_of(self.parts.settings.mark_every) {
            marks.push_back(Rc::clone(&reading));
            while marks.len() > MARKS {
                marks.pop_front();
            }
        }
        *last = Some(reading);
    }

    /// For the page: all numbers, and the steps after `since`.
    pub fn json(&self, since: u64) -> String {
        let state = &mut *self.state.borrow_mut();
        let seq = state.history.seq();
        if state.text.as_ref().is_none_or(|(made, _)| *made != seq) {
            state.text = Some((seq, self.text(state)));
        }
        let text = state.text.as_ref().map_or("", |(_, text)| text);
        // of this moment, not of the step
        let head = json!({
            "seq": seq,
            "now": clock::wall().as_secs_f64(),
            "step_s": self.parts.settings.step.as_secs_f64(),
            "process": self.parts.status.about(),
            "steps": state.history.json(since),
        });
        let head = head.to_string();
        let inside = head.strip_suffix('}').unwrap_or_default();
        format!("{inside},{text}}}")
    }

    /// Members of the answer, without braces.
    fn text(&self, state: &State) -> String {
        let empty = Reading::new(clock::monotonic(), clock::wall());
        let now = state.last.as_deref().unwrap_or(&empty);
        let then = state.marks.front().map_or(now, |mark| mark);
        let live = self.parts.status.live();
        let shown = json!({
            "window_s": now.at.saturating_duration_since(then.at).as_secs_f64(),
            "families": reading::json(now, then),
            "partners": live.as_deref().map_or_else(Vec::new, partners),
            "bidders": live.as_deref().map_or_else(Vec::new, |live| self.bidders(live)),
            "databases": live.as_deref().map(|live| json!(live.databases.describe())),
            "listener": self.parts.status.queue().as_ref().map(listener),
        });
        let shown = shown.to_string();
        let inside = shown.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        inside.unwrap_or_default().to_owned()
    }

    fn bidders(&self, live: &Snapshot) -> Vec<Value> {
        let bank = lock(&self.parts.bank);
        live.bidders.iter().map(|one| bidder(one, &self.parts.net, &bank)).collect()
    }
}

fn lock(bank: &Mutex<Bank>) -> MutexGuard<'_, Bank> {
    bank.lock().unwrap_or_else(PoisonError::into_inner)
}

fn partners(live: &Snapshot) -> Vec<Value> {
    let shown =
        |one: &Partner| json!({ "name": one.name, "qps": one.qps, "is_direct": one.is_direct });
    live.partners.iter().map(shown).collect()
}

/// Without the path of its address, which may hold a key.
fn bidder(one: &Bidder, net: &Net, bank: &Bank) -> Value {
    let endpoint = &one.endpoint;
    let scheme = if endpoint.is_tls { "https" } else { "http" };
    json!({
        "name": one.name,
        "at": format!("{scheme}://{}:{}", endpoint.host, endpoint.port),
        "qps": one.limits.qps,
        "open": bank.calls_open(&one.name),
        "open_max": one.limits.in_flight_max,
        "breaker": net.phase(one),
    })
}

fn listener(queue: &QueueState) -> Value {
    json!({
        "asked": queue.asked,
        "effective": queue.effective,
        "waiting": queue.waiting,
        "overflows": queue.drops.map(|seen| seen.overflows),
        "drops": queue.drops.map(|seen| seen.drops),
    })
}
