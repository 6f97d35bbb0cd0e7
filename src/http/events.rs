//! Events that come back from upstream: `GET|POST /e/{token}`.
//!
//! Owns: [`EventDesk`], one a worker: its own cap, the order of an event's life, its counts. Never:
//! a status code, a key, a partner's limits: whatever is done to auctions, events are taken.
//! Invariants: what is answered as done is durable, or was no event of ours; which of the two
//! nobody is told. An event that was taken is tried to its end, whether or not its client waits.

use super::event_address::{Told, plain, token_of, told, wants_image};
use crate::clock::{self, Anchor};
use crate::journal::Refused;
use crate::journal::handle::Once;
use crate::lifecycle::tasks::Tasks;
use crate::macros::Macros;
use crate::money::Cpm;
use crate::money_event::{EventType, MoneyEvent, URL_BYTES_MAX};
use crate::notice::event_log::{Counted, EventLog};
use crate::snapshot::Held;
use crate::telemetry::cells::{EventEnd, EventRejected, WorkerCells};
use crate::token::keys::Now;
use crate::token::{Claims, Invalid};
use http::Method;
use http::request::Parts;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::error;

/// Longest path and query of one, whatever other requests may have: one of ours, with what the
/// upstream filled in.
const URI_BYTES_MAX: usize = 8 << 10;

/// What whoever brought an event is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventReply {
    /// It is done with.
    Done,
    /// The same, for what shows an image.
    Pixel,
    /// It is to come again.
    Later,
    /// Neither GET nor POST.
    Method,
    /// Longer than any of ours.
    TooLong,
}

/// Takes events.
#[derive(Debug)]
pub struct EventDesk {
    log: EventLog,
    cells: Rc<WorkerCells>,
    tasks: Tasks,
    waiting: Rc<Cell<u32>>,
    most: u32,
    scratch: RefCell<Vec<u8>>,
    /// From which the time follows also where the wall clock jumps.
    start: Anchor,
}

/// How long an event is tried again that no upstream brings. In a shorter outage of the broker the
/// journal has nothing to do with it; in a longer one no auction is held by then.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// And how often.
const KEPT_EVERY: Duration = Duration::from_secs(1);

/// One that is on its way to its end, or was none.
#[derive(Debug)]
pub struct Taken {
    counting: Option<JoinHandle<Counted>>,
    /// What is answered unless it is to come again.
    done: EventReply,
}

impl Taken {
    const fn not(reply: EventReply) -> Self {
        Self { counting: None, done: reply }
    }

    /// Waits for the end.
    pub async fn reply(self) -> EventReply {
        let Some(counting) = self.counting else { return self.done };
        match counting.await {
            Ok(Counted::New | Counted::Repeat | Counted::Forgotten) => self.done,
            // the fault: the task panicked
            Ok(Counted::Refused(_)) | Err(_) => EventReply::Later,
        }
    }
}

/// One that waits.
struct Waiting(Rc<Cell<u32>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl EventDesk {
    /// With room for so many that wait, each in one of the worker's tasks.
    pub fn new(log: EventLog, cells: Rc<WorkerCells>, tasks: Tasks, most: u32) -> Self {
        let (waiting, scratch, start) = (Rc::default(), RefCell::default(), Anchor::now());
        Self { log, cells, tasks, waiting, most, scratch, start }
    }

    /// Whether an auction may be held: its events have a place to go.
    pub fn may_bill(&self) -> bool {
        self.log.may_bill()
    }

    /// Takes one, which then comes to its end whether or not anybody waits for the answer. `wall` is
    /// since the epoch.
    pub fn take(&self, parts: &Parts, snapshot: &Held, wall: Duration) -> Taken {
        let uri = parts.uri.path_and_query().map_or("", |whole| whole.as_str());
        if parts.method != Method::GET && parts.method != Method::POST {
            return Taken::not(EventReply::Method);
        }
        if uri.len() > URI_BYTES_MAX {
            return Taken::not(EventReply::TooLong);
        }
        let path = plain(parts.uri.path());
        let (token, is_gif) = token_of(&path);
        let done = if is_gif || wants_image(parts) { EventReply::Pixel } else { EventReply::Done };
        let event = match self.read(token, parts.uri.query(), snapshot, wall) {
            Ok(event) => event,
            Err(why) => {
                self.log.reject();
                self.cells.event_rejected(why);
                return Taken::not(done);
            }
        };
        let Some(place) = self.wait() else {
            self.cells.event(event.event, EventEnd::Busy);
            return Taken::not(EventReply::Later);
        };
        Taken { counting: Some(self.count(event, place)), done }
    }

    /// Has one counted in a task of its own: a client that goes away drops the HTTP request, not
    /// the event, and a browser does not come again with its pixel.
    fn count(&self, event: MoneyEvent, place: Waiting) -> JoinHandle<Counted> {
        let (log, cells) = (self.log.clone(), Rc::clone(&self.cells));
        self.tasks.spawn(async move {
            let _place = place;
            let counted = log.count_once(&event).await;
            match counted {
                Counted::New => cells.event(event.event, EventEnd::New),
                Counted::Repeat => cells.event(event.event, EventEnd::Repeat),
                Counted::Refused(_) => cells.event(event.event, EventEnd::Refused),
                Counted::Forgotten => cells.event_rejected(EventRejected::Expired),
            }
            counted
        })
    }

    /// A place among those that wait, where there is one.
    fn wait(&self) -> Option<Waiting> {
        let waiting = self.waiting.get();
        (waiting < self.most).then(|| {
            self.waiting.set(waiting.saturating_add(1));
            Waiting(Rc::clone(&self.waiting))
        })
    }

    /// Makes events durable that no upstream brings: they follow from our own answer, and those of
    /// one answer have one place among those that wait. Nobody comes again with them, so they are
    /// tried again for a minute; what is not durable by then, or when the worker ends, is left to
    /// the journal. What is not taken there, or has no place, is counted so.
    pub fn keep(&self, events: Vec<MoneyEvent>) -> impl Future<Output = ()> + use<> {
        let (log, cells) = (self.log.clone(), Rc::clone(&self.cells));
        let place = self.wait();
        let mut own = Own { left: events.into(), log, cells };
        async move {
            if place.is_none() {
                own.turn_away();
            }
            while let Some(event) = own.left.front() {
                let end = kept(&own.log, event).await;
                own.end(end);
            }
        }
    }

    fn read(
        &self,
        token: &str,
        query: Option<&str>,
        snapshot: &Held,
        wall: Duration,
    ) -> Result<MoneyEvent, EventRejected> {
        let issuer = snapshot.issuer.as_ref().ok_or(EventRejected::UnknownKey)?;
        let scratch = &mut *self.scratch.borrow_mut();
        let now = Now::by(wall, self.start.wall_at(clock::monotonic()));
        let claims = issuer.keys.accept(token.as_bytes(), now, scratch).map_err(rejected)?;
        let told = told(query.unwrap_or_default());
        let received_us = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        let mut event = claims.event(received_us, resolve(&claims, told));
        if claims.event == EventType::Loss {
            event.loss_reason = told.loss.unwrap_or(0);
        }
        Ok(event)
    }
}

/// Events that nobody comes again with, until each has come to its end.
struct Own {
    left: VecDeque<MoneyEvent>,
    log: EventLog,
    cells: Rc<WorkerCells>,
}

impl Own {
    /// The first one's tries are over; `None`: and it is not durable.
    fn end(&mut self, end: Option<EventEnd>) {
        if let Some(event) = self.left.pop_front() {
            let end = end.unwrap_or_else(|| left(&self.log, &event));
            self.cells.event(event.event, end);
        }
    }

    /// There is no place for them.
    fn turn_away(&mut self) {
        for event in self.left.drain(..) {
            self.cells.event(event.event, EventEnd::Busy);
        }
    }
}

impl Drop for Own {
    /// The worker ends before their tries do.
    fn drop(&mut self) {
        while !self.left.is_empty() {
            self.end(None);
        }
    }
}

/// Tries until it is durable; `None`: it was not in time, or can never be.
async fn kept(log: &EventLog, event: &MoneyEvent) -> Option<EventEnd> {
    let until = clock::monotonic() + KEPT_FOR;
    loop {
        match log.count_once(event).await {
            Counted::New => return Some(EventEnd::New),
            Counted::Repeat => return Some(EventEnd::Repeat),
            Counted::Refused(Refused::Busy | Refused::Failed | Refused::Broker)
                if clock::monotonic() < until =>
            {
                sleep(KEPT_EVERY).await;
            }
            Counted::Refused(_) | Counted::Forgotten => return None,
        }
    }
}

/// Leaves one to the journal; where that does not take it nobody has it, and the log says which.
fn left(log: &EventLog, event: &MoneyEvent) -> EventEnd {
    let why = match log.leave(event) {
        Once::New(_) | Once::InFlight(_) => return EventEnd::New,
        Once::Seen => return EventEnd::Repeat,
        Once::Forgotten => "its token ended long ago".to_owned(),
        Once::Refused(why) => why.to_string(),
    };
    error!(id = %event.id, kind = ?event.event, why, "an event that nobody brings again is lost");
    EventEnd::Refused
}

const fn rejected(why: Invalid) -> EventRejected {
    match why {
        Invalid::Malformed => EventRejected::Malformed,
        Invalid::UnknownKey => EventRejected::UnknownKey,
        Invalid::Forged => EventRejected::Forged,
        Invalid::Expired => EventRejected::Expired,
        Invalid::Early => EventRejected::Early,
    }
}

/// The bidder's notice with how it ended.
fn resolve(claims: &Claims<'_>, told: Told) -> String {
    if claims.url.is_empty() {
        return String::new();
    }
    let macros = Macros {
        loss: match claims.event {
            EventType::Loss => told.loss,
            // 4.4: a win's loss reason is 0
            _ => Some(0),
        },
        min_to_win: min_to_win(claims, told.min_to_win),
        imp_ts: told.imp_ts,
        ..Macros::default()
    };
    let mut url = Vec::with_capacity(claims.url.len());
    macros.expand(claims.url.as_bytes(), &mut url);
    let is_short = url.len() <= URL_BYTES_MAX;
    String::from_utf8(url).ok().filter(|_| is_short).unwrap_or_default()
}

/// What the bidder would have had to bid for both auctions, ours and the upstream's: what the
/// upstream says is in terms of the net, and goes back to the bidder's side by the ratio of the
/// two, so that our margin does not show in it.
fn min_to_win(claims: &Claims<'_>, upstream: Option<Cpm>) -> Option<Cpm> {
    let gross = i128::from(claims.gross.price.micros());
    let net = i128::from(claims.net.price.micros());
    let theirs = upstream.and_then(|price| {
        let scaled = i128::from(price.micros()).checked_mul(gross)?;
        i64::try_from(scaled.checked_div(net)?).ok().map(Cpm::from_micros)
    });
    // whoever has the URL can write this: a winner would not have had to bid more than it pays
    let has_won = claims.event != EventType::Loss;
    theirs.filter(|price| !has_won || *price <= claims.gross.price).max(claims.min_to_win)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Settings;
    use crate::journal::disk::real::RealDisk;
    use crate::journal::open::{self, Opened};
    use crate::money::Currency;
    use crate::money_event::codec::identify;
    use crate::money_event::{Amount, SaleId};
    use crate::telemetry::hub::{Hub, TelemetrySettings};

    #[test]
    fn a_bidder_learns_what_would_have_won_on_its_own_side() {
        let claims = Claims {
            gross: Amount::new(2_000_000, Currency::USD),
            net: Amount::new(1_600_000, Currency::USD),
            min_to_win: Some(Cpm::from_micros(1_000_000)),
            ..Claims::default()
        };
        for (upstream, expected) in
            [(None, 1_000_000), (Some(1_200_000), 1_500_000), (Some(400_000), 1_000_000)]
        {
            let got = min_to_win(&claims, upstream.map(Cpm::from_micros));
            assert_eq!(got, Some(Cpm::from_micros(expected)), "{upstream:?}");
        }
        // what whoever has the URL of a win may write: a bid is never told to have been too high
        for (event, expected) in [(EventType::Loss, 12_500_000), (EventType::Billing, 1_000_000)] {
            let told = Claims { event, ..claims };
            let got = min_to_win(&told, Some(Cpm::from_micros(10_000_000)));
            assert_eq!(got, Some(Cpm::from_micros(expected)), "{event:?}");
        }
        let free = Claims { net: Amount::default(), min_to_win: None, ..claims };
        assert_eq!(min_to_win(&free, Some(Cpm::CENT)), None);
    }

    #[test]
    fn a_notice_says_how_it_ended() {
        let url =
            "https://b.example/l?r=${AUCTION_LOSS}&m=${AUCTION_MIN_TO_WIN}&t=${AUCTION_IMP_TS}";
        let claims = Claims { event: EventType::Loss, url, ..Claims::default() };
        let loss = Told { loss: Some(102), ..Told::default() };
        assert_eq!(resolve(&claims, loss), "https://b.example/l?r=102&m=&t=");
        let won = Claims { event: EventType::Billing, ..claims };
        let told = Told { imp_ts: Some(5), ..Told::default() };
        assert_eq!(resolve(&won, told), "https://b.example/l?r=0&m=&t=5");
        assert_eq!(resolve(&Claims { url: "", ..claims }, loss), "");
    }

    fn opened(dir: &std::path::Path) -> Opened {
        let settings = Settings { ballast_bytes: 0, ..Settings::new(dir) };
        open::open(settings, std::sync::Arc::new(RealDisk), identify).unwrap()
    }

    fn desk(opened: &Opened) -> EventDesk {
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let cells = Rc::new(hub.worker(0).unwrap());
        EventDesk::new(EventLog::Local(opened.journal.clone()), cells, Tasks::default(), 1)
    }

    fn win(id: u128) -> MoneyEvent {
        MoneyEvent {
            id: SaleId::new(id << 4).event(EventType::Win),
            expires_s: u64::MAX / 2,
            ..MoneyEvent::default()
        }
    }

    #[tokio::test]
    async fn events_of_our_own_answers_wait_within_the_same_bound() {
        let dir = tempfile::tempdir().unwrap();
        let opened = opened(dir.path());
        let desk = desk(&opened);
        let first = desk.keep(vec![win(1), win(2)]);
        desk.keep(vec![win(3)]).await;
        assert_eq!(opened.journal.status().figures.intake.received, 0);
        first.await;
        desk.keep(vec![win(3)]).await;
        assert_eq!(opened.journal.status().figures.intake.appended, 3);
        opened.running.close();
    }

    #[test]
    fn what_nobody_brings_again_is_left_to_the_journal_by_a_worker_that_ends() {
        let dir = tempfile::tempdir().unwrap();
        let opened = opened(dir.path());
        let desk = desk(&opened);
        drop(desk.keep(vec![win(1), win(2)]));
        opened.running.close();
        drop(desk.keep(vec![win(3)]));
        let figures = opened.journal.status().figures;
        assert_eq!((figures.intake.appended, figures.intake.refused), (2, 1));
        assert!(figures.hold(), "{figures:?}");
    }
}
