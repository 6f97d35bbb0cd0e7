//! One sale: what came of it, and what about that does not add up.
//!
//! Owns: [`Sale`], [`Trouble`], the judgement. Never: a file, a sum, a clock. Invariant: what a sale
//! is judged to be does not depend on the order in which its events were read; of each type one
//! event counts, the one that came first.

use super::Question;
use crate::money::multiplier::Multiplier;
use crate::money_event::{Amount, EventType, MoneyEvent, SaleId};
use std::fmt;

/// Seconds that a token is accepted beyond its end: clocks of two machines differ.
pub const SKEW_S: u64 = 300;

/// What does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The upstream told of a win, its token has ended, and it never told of a bill.
    WonNotBilled,
    /// It was seen to be rendered, its token has ended, and it was never billed.
    ShownNotBilled,
    /// A bill without a win: normal of an upstream that calls no `nurl`.
    BilledWithoutWin,
    /// Two bills of one sale that differ: the first counts.
    BilledTwice,
    /// A bill that came again and was not told from a new one there (at another replica, or after
    /// its time): it counts once.
    Repeated,
    /// A bill and a loss of one sale: the bill counts.
    BilledAndLost,
    /// A win and a loss of one sale, and no bill.
    WonAndLost,
    /// Win and bill have different prices: the bill counts.
    PricesDiffer,
    /// A bill that came behind the end of its token, within the tolerance of clocks.
    Late,
    /// A bill that came before its auction by more than that tolerance.
    Early,
    /// A notice that its bidder has not got: a dead letter.
    Undelivered,
}

impl Trouble {
    /// In the order of a report.
    pub const ALL: [Self; 11] = [
        Self::WonNotBilled,
        Self::ShownNotBilled,
        Self::BilledWithoutWin,
        Self::BilledTwice,
        Self::Repeated,
        Self::BilledAndLost,
        Self::WonAndLost,
        Self::PricesDiffer,
        Self::Late,
        Self::Early,
        Self::Undelivered,
    ];

    /// A word for people and files.
    pub const fn label(self) -> &'static str {
        match self {
            Self::WonNotBilled => "won_not_billed",
            Self::ShownNotBilled => "shown_not_billed",
            Self::BilledWithoutWin => "billed_without_win",
            Self::BilledTwice => "billed_twice",
            Self::Repeated => "repeated",
            Self::BilledAndLost => "billed_and_lost",
            Self::WonAndLost => "won_and_lost",
            Self::PricesDiffer => "prices_differ",
            Self::Late => "late",
            Self::Early => "early",
            Self::Undelivered => "undelivered",
        }
    }
}

/// One thing that does not add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    pub trouble: Trouble,
    /// The event that it is about.
    pub event: &'a MoneyEvent,
    /// What else is to be known.
    pub note: String,
}

/// All that was read of one event of a sale.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What counts: the one that came first.
    pub first: MoneyEvent,
    /// Receptions: the same event at another moment is another one, the same record twice is not.
    pub times: u64,
    /// One that says something else.
    pub other: Option<Box<MoneyEvent>>,
}

/// The events of one sale.
#[derive(Clone, Debug, Default)]
pub struct Sale {
    id: SaleId,
    seen: [Option<Seen>; 4],
}

impl Sale {
    /// Nothing of it yet.
    pub const fn new(id: SaleId) -> Self {
        Self { id, seen: [None, None, None, None] }
    }

    /// Which one.
    pub const fn id(&self) -> SaleId {
        self.id
    }

    /// An event of it.
    pub fn add(&mut self, event: MoneyEvent) {
        let place = EventType::ALL.iter().position(|one| *one == event.event);
        let Some(slot) = place.and_then(|place| self.seen.get_mut(place)) else { return };
        match slot {
            None => *slot = Some(Seen { first: event, times: 1, other: None }),
            Some(seen) => seen.again(event),
        }
    }

    /// What was read of one type.
    pub fn of(&self, event: EventType) -> Option<&Seen> {
        let place = EventType::ALL.iter().position(|one| *one == event)?;
        self.seen.get(place)?.as_ref()
    }

    /// All that was read.
    pub fn seen(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().flatten()
    }

    /// What does not add up about it.
    pub fn judge(&self, question: &Question) -> Vec<Finding<'_>> {
        match self.of(EventType::Billing) {
            Some(bill) => self.judge_billed(bill),
            None => self.judge_unbilled(question).into_iter().collect(),
        }
    }

    fn judge_billed<'a>(&'a self, bill: &'a Seen) -> Vec<Finding<'a>> {
        let event = &bill.first;
        let mut found = Vec::new();
        let mut find = |trouble, note| found.push(Finding { trouble, event, note });
        match self.of(EventType::Win) {
            None => find(Trouble::BilledWithoutWin, String::new()),
            Some(win) if prices(&win.first) != prices(event) => {
                find(Trouble::PricesDiffer, format!("the win has {}", Prices(&win.first)));
            }
            Some(_) => {}
        }
        if let Some(other) = &bill.other {
            let other_at = super::when::time(other.received_us);
            find(Trouble::BilledTwice, format!("another at {other_at} has {}", Prices(other)));
        } else if bill.times > 1 {
            find(Trouble::Repeated, format!("came {} times", bill.times));
        }
        if let Some(loss) = self.of(EventType::Loss) {
            find(Trouble::BilledAndLost, format!("loss reason {}", loss.first.loss_reason));
        }
        // a record ends when its token is taken no more, which is so much later
        let end_us = event.expires_s.saturating_sub(SKEW_S).saturating_mul(1_000_000);
        if event.expires_s > 0 && event.received_us > end_us {
            find(
                Trouble::Late,
                format!("by {} s", (event.received_us - end_us).div_ceil(1_000_000)),
            );
        }
        if event.received_us.saturating_add(SKEW_S * 1_000_000) < event.auction_us {
            find(
                Trouble::Early,
                format!("the auction was at {}", super::when::time(event.auction_us)),
            );
        }
        found
    }

    fn judge_unbilled(&self, question: &Question) -> Option<Finding<'_>> {
        let (won, shown) = (self.of(EventType::Win), self.of(EventType::Impression));
        let lost = self.of(EventType::Loss);
        let (trouble, seen) = match (shown, won, lost) {
            (_, Some(won), Some(lost)) => {
                let note = format!("loss reason {}", lost.first.loss_reason);
                return Some(Finding { trouble: Trouble::WonAndLost, event: &won.first, note });
            }
            (Some(shown), _, _) => (Trouble::ShownNotBilled, shown),
            (None, Some(won), None) => (Trouble::WonNotBilled, won),
            (None, None, _) => return None,
        };
        // until then a bill may still come
        let is_over = seen.first.expires_s.saturating_mul(1_000_000) < question.as_of_us;
        is_over.then(|| Finding { trouble, event: &seen.first, note: String::new() })
    }
}

impl Seen {
    fn again(&mut self, mut event: MoneyEvent) {
        self.times += 1;
        if event.received_us < self.first.received_us {
            std::mem::swap(&mut self.first, &mut event);
        }
        let is_first_other =
            self.other.as_ref().is_none_or(|other| event.received_us < other.received_us);
        if !says_the_same(&self.first, &event) && is_first_other {
            self.other = Some(Box::new(event));
        }
    }
}

/// Whether two events differ only in when they came, and in what the upstream added to them.
fn says_the_same(a: &MoneyEvent, b: &MoneyEvent) -> bool {
    prices(a) == prices(b)
        && (&a.partner, &a.bidder, &a.seat, &a.deal) == (&b.partner, &b.bidder, &b.seat, &b.deal)
        && (&a.auction_id, &a.imp_id) == (&b.auction_id, &b.imp_id)
}

const fn prices(event: &MoneyEvent) -> (Amount, Amount, Multiplier) {
    (event.gross, event.net, event.multiplier)
}

/// What stands behind a price that was not paid for one impression.
pub fn times(multiplier: Multiplier) -> String {
    if multiplier == Multiplier::ONE { String::new() } else { format!(" times {multiplier}") }
}

/// Both prices, for people, and how many were sold.
struct Prices<'a>(&'a MoneyEvent);

impl fmt::Display for Prices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gross, net) = (self.0.gross, self.0.net);
        let (paid, got) = (gross.price, net.price);
        write!(f, "gross {paid} {} net {got} {} per thousand", gross.currency, net.currency)?;
        f.write_str(&times(self.0.multiplier))
    }
}
