//! Sums by group.
//!
//! Owns: [`Rows`], [`Row`], [`Money`]. Never: a price that is divided, two currencies in one sum.
//! Invariant: the rows and the total are added up independently of each other, and agree.

use super::sale::Sale;
use super::{Axis, LedgerFault, Moment, Question, ROWS_MAX, when};
use crate::money::Currency;
use crate::money_event::{AuctionRecord, BidderPart, DropCount, EventType, MoneyEvent};
use crate::negatives::not_called::NotCalled;
use std::collections::BTreeMap;

/// The currencies of a sum: what bidders pay in, what the partner gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub gross: Currency,
    pub net: Currency,
}

/// Bills in one pair of currencies; amounts in [`PARTS`](crate::money::multiplier::PARTS) of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    pub billed: u64,
    pub gross: i128,
    pub net: i128,
}

impl Money {
    /// What is left; unknown where the two sides are in different currencies.
    pub fn margin(&self, pair: Pair) -> Option<i128> {
        (pair.gross == pair.net).then(|| self.gross - self.net)
    }
}

/// What happened in one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Of auction records, some of which may have been dropped.
    pub auctions: u64,
    pub bids: u64,
    /// Bids that won our auction.
    pub sold: u64,
    /// Of durable events, each sale once.
    pub wins: u64,
    pub losses: u64,
    pub shown: u64,
    pub billed: u64,
    pub money: BTreeMap<Pair, Money>,
}

/// The groups of a report.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub rows: BTreeMap<Vec<String>, Row>,
    pub total: Row,
    /// Auction records that were dropped within the span.
    pub dropped: u64,
}

/// The moment of an event that the report goes by.
pub const fn moment(event: &MoneyEvent, moment: Moment) -> u64 {
    match moment {
        Moment::Received => event.received_us,
        Moment::Auction => event.auction_us,
    }
}

impl Rows {
    /// Adds the events of a sale that are within the span.
    pub fn add_sale(&mut self, sale: &Sale, question: &Question) -> Result<(), LedgerFault> {
        for seen in sale.seen() {
            let event = &seen.first;
            let at_us = moment(event, question.moment);
            if question.span.holds(at_us) {
                self.total.add_event(event);
                self.row(event_key(event, at_us, question))?.add_event(event);
            }
        }
        Ok(())
    }

    /// Adds an auction.
    pub fn add_auction(
        &mut self,
        record: &AuctionRecord<'_>,
        question: &Question,
    ) -> Result<(), LedgerFault> {
        if !question.span.holds(record.at_us) {
            return Ok(());
        }
        self.total.add_auction(record);
        if question.by.contains(&Axis::Deal) {
            // an auction is of no deal
            return Ok(());
        }
        if question.by.contains(&Axis::Bidder) {
            for part in record.bidders.iter().filter(|part| was_called(part)) {
                let row = self.row(auction_key(record, &part.bidder, question))?;
                row.auctions += 1;
                row.bids += u64::from(part.bids);
                row.sold += u64::from(part.wins);
            }
        } else {
            self.row(auction_key(record, "", question))?.add_auction(record);
        }
        Ok(())
    }

    /// Adds what was dropped.
    pub const fn add_drops(&mut self, count: DropCount, question: &Question) {
        if question.span.holds(count.to_us) {
            self.dropped = self.dropped.saturating_add(count.dropped);
        }
    }

    fn row(&mut self, key: Vec<String>) -> Result<&mut Row, LedgerFault> {
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&key) {
            return Err(LedgerFault::Rows);
        }
        Ok(self.rows.entry(key).or_default())
    }
}

impl Row {
    fn add_auction(&mut self, record: &AuctionRecord<'_>) {
        self.auctions += 1;
        self.bids += u64::from(record.bids);
        self.sold += u64::from(record.wins);
    }

    fn add_event(&mut self, event: &MoneyEvent) {
        match event.event {
            EventType::Win => self.wins += 1,
            EventType::Loss => self.losses += 1,
            EventType::Impression => self.shown += 1,
            EventType::Billing => {
                self.billed += 1;
                let pair = Pair { gross: event.gross.currency, net: event.net.currency };
                let money = self.money.entry(pair).or_default();
                money.billed += 1;
                money.gross += event.multiplier.cost(event.gross.price);
                money.net += event.multiplier.cost(event.net.price);
            }
        }
    }
}

/// Whether a bidder was asked: what it did not answer is its own affair.
fn was_called(part: &BidderPart<'_>) -> bool {
    !NotCalled::ALL.iter().any(|reason| reason.label() == part.negative)
}

fn event_key(event: &MoneyEvent, at_us: u64, question: &Question) -> Vec<String> {
    let name = |axis: &Axis| match axis {
        Axis::Partner => event.partner.clone(),
        Axis::Bidder => event.bidder.clone(),
        Axis::Deal if event.deal.is_empty() => "(open)".to_owned(),
        Axis::Deal => event.deal.clone(),
        Axis::Day => when::day(at_us),
    };
    question.by.iter().map(name).collect()
}

fn auction_key(record: &AuctionRecord<'_>, bidder: &str, question: &Question) -> Vec<String> {
    let name = |axis: &Axis| match axis {
        Axis::Partner => record.partner.to_string(),
        Axis::Bidder => bidder.to_owned(),
        Axis::Deal => String::new(),
        Axis::Day => when::day(record.at_us),
    };
    question.by.iter().map(name).collect()
}
