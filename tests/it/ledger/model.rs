//! Generated histories: who was billed what is known before the ledger is asked.

use super::{MIDNIGHT_US, MINUTE_US, event};
use gavel::ledger::sale::Trouble;
use gavel::ledger::source::Item;
use gavel::ledger::sums::{Money, Pair};
use gavel::ledger::tally::{Tally, Totals};
use gavel::ledger::{Axis, Moment, Question, Span};
use gavel::money::multiplier::Multiplier;
use gavel::money::{Cpm, Currency};
use gavel::money_event::{
    Amount, AuctionRecord, BidderPart, DropCount, EventType, MoneyEvent, SaleId,
};
use gavel::negatives::not_called::NotCalled;
use gavel::token::Claims;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A sale and what became of it.
#[derive(Clone, Debug)]
struct Story {
    partner: u8,
    bidder: u8,
    deal: u8,
    gross: i64,
    net: i64,
    /// Millionths of an impression.
    many: i64,
    currencies: (bool, bool),
    won: bool,
    shown: bool,
    lost: bool,
    /// Minutes behind midnight at which a bill came, at any replica; none: never.
    bills: Vec<u64>,
    /// How often each record is read.
    readings: u8,
}

fn story() -> impl Strategy<Value = Story> {
    let names = (0_u8..3, 0_u8..3, 0_u8..3);
    let price = prop_oneof![Just(i64::MAX), 0_i64..10_000_000_000, Just(1)];
    let many = prop_oneof![Just(1_000_000), Just(14_200_000), 1_i64..=1_000_000_000_000];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let bills = prop::collection::vec(0_u64..2 * 24 * 60, 0..4);
    (names, (price.clone(), price, many), any::<(bool, bool)>(), flags, bills, 1_u8..4).prop_map(
        |(
            (partner, bidder, deal),
            (gross, net, many),
            currencies,
            (won, shown, lost),
            bills,
            readings,
        )| {
            Story {
                partner,
                bidder,
                deal,
                gross,
                net,
                many,
                currencies,
                won,
                shown,
                lost,
                bills,
                readings,
            }
        },
    )
}

impl Story {
    fn of(&self, sale: u128, kind: EventType, minute: u64) -> MoneyEvent {
        let currency =
            |is_euro| if is_euro { Currency::parse("EUR").unwrap() } else { Currency::USD };
        let deal = if self.deal == 0 { String::new() } else { format!("deal-{}", self.deal) };
        MoneyEvent {
            partner: format!("pub-{}", self.partner),
            bidder: format!("bidder-{}", self.bidder),
            deal,
            gross: Amount {
                price: Cpm::from_micros(self.gross),
                currency: currency(self.currencies.0),
            },
            net: Amount {
                price: Cpm::from_micros(self.net),
                currency: currency(self.currencies.1),
            },
            multiplier: Multiplier::from_micros(self.many).unwrap(),
            expires_s: MIDNIGHT_US / 1_000_000 + 3 * 24 * 3600,
            ..event(sale, kind, MIDNIGHT_US + minute * MINUTE_US)
        }
    }

    /// All that the replicas wrote.
    fn written(&self, sale: u128) -> Vec<MoneyEvent> {
        let mut all = Vec::new();
        for (is_there, kind) in [
            (self.won, EventType::Win),
            (self.shown, EventType::Impression),
            (self.lost, EventType::Loss),
        ] {
            if is_there {
                all.push(self.of(sale, kind, 1));
            }
        }
        all.extend(self.bills.iter().map(|minute| self.of(sale, EventType::Billing, *minute)));
        all
    }

    fn pair(&self) -> Pair {
        let event = self.of(1, EventType::Billing, 0);
        Pair { gross: event.gross.currency, net: event.net.currency }
    }
}

fn question(by: &[Axis]) -> Question {
    let as_of_us = MIDNIGHT_US + 30 * 24 * 60 * MINUTE_US;
    Question { by: by.to_vec(), span: Span::ALL, moment: Moment::Received, as_of_us }
}

/// Reads every record as often as its story says, in an order that a seed gives.
fn tally(stories: &[Story], question: &Question, seed: u64) -> Totals {
    let mut records: Vec<MoneyEvent> = Vec::new();
    for (sale, story) in (1..).zip(stories) {
        for record in story.written(sale) {
            records.extend(std::iter::repeat_n(record, usize::from(story.readings)));
        }
    }
    let order = |at: usize| (at as u64 + 1).wrapping_mul(seed | 1).rotate_left(17);
    let mut order: Vec<(u64, MoneyEvent)> =
        records.into_iter().enumerate().map(|(at, record)| (order(at), record)).collect();
    order.sort_by_key(|(place, _)| *place);
    let dir = tempfile::tempdir().unwrap();
    let mut tally = Tally::new(question.clone(), dir.path(), 0, false);
    for (_, record) in order {
        tally.take(Item::Event(record)).unwrap();
    }
    tally.finish(&mut |_| Ok(())).unwrap()
}

type Truth = BTreeMap<Vec<String>, BTreeMap<Pair, Money>>;

fn truth(stories: &[Story], key: impl Fn(&Story, u64) -> Vec<String>) -> Truth {
    let mut truth = Truth::new();
    for story in stories {
        let Some(first) = story.bills.iter().min() else { continue };
        let money = truth.entry(key(story, *first)).or_default().entry(story.pair()).or_default();
        money.billed += 1;
        money.gross += i128::from(story.gross) * i128::from(story.many);
        money.net += i128::from(story.net) * i128::from(story.many);
    }
    truth
}

fn found(totals: &Totals) -> Truth {
    let rows = totals.rows.rows.iter().filter(|(_, row)| row.billed > 0);
    rows.map(|(key, row)| (key.clone(), row.money.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn totals_reconcile_to_the_micro_whatever_is_read_twice_and_in_whatever_order(
        stories in prop::collection::vec(story(), 0..60), seed in any::<u64>(),
    ) {
        let partner = |story: &Story| format!("pub-{}", story.partner);
        let by_partner = tally(&stories, &question(&[Axis::Partner]), seed);
        prop_assert_eq!(found(&by_partner), truth(&stories, |story, _| vec![partner(story)]));
        let total: Truth = [(vec![], by_partner.rows.total.money.clone())].into();
        let total: Truth = total.into_iter().filter(|(_, money)| !money.is_empty()).collect();
        prop_assert_eq!(total, truth(&stories, |_, _| vec![]));

        let axes = [Axis::Day, Axis::Bidder, Axis::Deal];
        let by_three = tally(&stories, &question(&axes), !seed);
        let key = |story: &Story, minute: u64| {
            let day = if minute < 24 * 60 { "2026-11-29" } else { "2026-11-30" };
            let deal = if story.deal == 0 { "(open)".into() } else { format!("deal-{}", story.deal) };
            vec![day.to_owned(), format!("bidder-{}", story.bidder), deal]
        };
        prop_assert_eq!(found(&by_three), truth(&stories, key));
        prop_assert_eq!(&by_three.rows.total, &by_partner.rows.total);
    }

    #[test]
    fn a_span_and_what_is_outside_of_it_are_together_everything(
        stories in prop::collection::vec(story(), 0..40), seed in any::<u64>(), minute in 0_u64..2880,
    ) {
        let at_us = MIDNIGHT_US + minute * MINUTE_US;
        let spans = [
            Span { from_us: 0, to_us: at_us }, Span { from_us: at_us, to_us: u64::MAX }, Span::ALL,
        ];
        let sums = spans.map(|span| {
            let totals = tally(&stories, &Question { span, ..question(&[Axis::Partner]) }, seed);
            let money = totals.rows.total.money.values();
            let gross: i128 = money.map(|money| money.gross).sum();
            (totals.rows.total.billed, totals.rows.total.wins, gross)
        });
        let [before, behind, all] = sums;
        let together = (before.0 + behind.0, before.1 + behind.1, before.2 + behind.2);
        prop_assert_eq!(together, all);
    }

    #[test]
    fn what_does_not_add_up_is_found_and_nothing_else(
        stories in prop::collection::vec(story(), 0..60), seed in any::<u64>(),
    ) {
        let totals = tally(&stories, &question(&[Axis::Partner]), seed);
        let count = |is_it: &dyn Fn(&Story) -> bool| stories.iter().filter(|story| is_it(story)).count() as u64;
        let distinct = |story: &Story| {
            let mut bills = story.bills.clone();
            bills.sort_unstable();
            bills.dedup();
            bills.len()
        };
        let billed = |story: &Story| !story.bills.is_empty();
        let expected = [
            (Trouble::WonNotBilled, count(&|s| s.won && !s.shown && !s.lost && !billed(s))),
            (Trouble::ShownNotBilled, count(&|s| s.shown && !(s.won && s.lost) && !billed(s))),
            (Trouble::BilledWithoutWin, count(&|s| billed(s) && !s.won)),
            (Trouble::Repeated, count(&|s| distinct(s) > 1)),
            (Trouble::BilledAndLost, count(&|s| billed(s) && s.lost)),
            (Trouble::WonAndLost, count(&|s| !billed(s) && s.won && s.lost)),
        ];
        let expected: BTreeMap<Trouble, u64> =
            expected.into_iter().filter(|(_, count)| *count > 0).collect();
        let found: BTreeMap<Trouble, u64> =
            totals.troubles.iter().map(|(trouble, stake)| (*trouble, stake.count)).collect();
        prop_assert_eq!(found, expected);
    }
}

fn judged(events: Vec<MoneyEvent>) -> Vec<(Trouble, String)> {
    let dir = tempfile::tempdir().unwrap();
    let mut tally = Tally::new(question(&[Axis::Partner]), dir.path(), 0, true);
    for event in events {
        tally.take(Item::Event(event)).unwrap();
    }
    let mut found = Vec::new();
    tally
        .finish(&mut |finding| {
            found.push((finding.trouble, finding.note.clone()));
            Ok(())
        })
        .unwrap();
    found
}

#[test]
fn two_bills_of_one_sale_that_differ_are_told_with_both_prices_and_the_first_counts() {
    let first = event(1, EventType::Billing, MIDNIGHT_US + MINUTE_US);
    let mut second = event(1, EventType::Billing, MIDNIGHT_US + 2 * MINUTE_US);
    second.gross.price = Cpm::from_micros(9_000_000);
    let win = event(1, EventType::Win, MIDNIGHT_US);
    let found = judged(vec![second, win, first]);
    let note = "another at 2026-11-29T00:02:00Z has gross 9 USD net 2 USD per thousand";
    assert_eq!(found, [(Trouble::BilledTwice, note.to_owned())]);
}

#[test]
fn a_bill_of_other_impressions_than_the_win_is_told() {
    let bill = event(1, EventType::Billing, MIDNIGHT_US + MINUTE_US);
    let mut win = event(1, EventType::Win, MIDNIGHT_US);
    win.multiplier = Multiplier::from_wire(14.2).unwrap();
    let note = "the win has gross 2.500001 USD net 2 USD per thousand times 14.2";
    assert_eq!(judged(vec![win, bill]), [(Trouble::PricesDiffer, note.to_owned())]);
}

#[test]
fn late_early_and_unlike_prices_are_told() {
    let mut bill = event(1, EventType::Billing, MIDNIGHT_US + 61 * MINUTE_US);
    let mut win = event(1, EventType::Win, MIDNIGHT_US);
    win.net.price = Cpm::from_micros(1);
    let found = judged(vec![bill.clone(), win]);
    let note = "the win has gross 2.500001 USD net 0.000001 USD per thousand";
    assert_eq!(
        found,
        [(Trouble::PricesDiffer, note.to_owned()), (Trouble::Late, "by 360 s".to_owned())]
    );
    bill.received_us = MIDNIGHT_US - 6 * MINUTE_US;
    let found = judged(vec![bill, event(1, EventType::Win, MIDNIGHT_US)]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, Trouble::Early);
}

#[test]
fn a_bill_of_a_token_that_had_ended_is_late_while_it_is_still_taken() {
    let end_s = MIDNIGHT_US / 1_000_000 + 3600;
    for (after_s, expected) in [(-1, None), (0, None), (1, Some("by 1 s")), (300, Some("by 300 s"))]
    {
        let come = |event: EventType| {
            let told = Claims {
                event,
                sale: SaleId::new(1 << 4),
                auction_us: MIDNIGHT_US,
                expires_s: end_s,
                ..Claims::default()
            };
            told.event(end_s.saturating_add_signed(after_s) * 1_000_000, String::new())
        };
        let found = judged(vec![come(EventType::Win), come(EventType::Billing)]);
        let expected = expected.map(|note| (Trouble::Late, note.to_owned()));
        assert_eq!(found, Vec::from_iter(expected), "{after_s}");
    }
}

#[test]
fn a_win_whose_token_lives_may_still_be_billed() {
    let dir = tempfile::tempdir().unwrap();
    // its token is taken until 1:00
    for (minutes, expected) in [(59, 0), (60, 0), (61, 1)] {
        let as_of_us = MIDNIGHT_US + minutes * MINUTE_US;
        let question = Question { as_of_us, ..question(&[Axis::Day]) };
        let mut tally = Tally::new(question, dir.path(), 0, true);
        tally.take(Item::Event(event(1, EventType::Win, MIDNIGHT_US))).unwrap();
        let totals = tally.finish(&mut |_| Ok(())).unwrap();
        let found = totals.troubles.get(&Trouble::WonNotBilled).map_or(0, |stake| stake.count);
        assert_eq!(found, expected, "{minutes}");
    }
}

#[test]
fn auctions_are_counted_by_who_was_called_and_once_however_often_they_are_read() {
    let part = |bidder: &str, negative: &str, bids, wins| BidderPart {
        bidder: bidder.to_owned().into(),
        negative: negative.to_owned().into(),
        bids,
        wins,
    };
    let record = |number: u64| AuctionRecord {
        auction_id: format!("a-{number}").into(),
        partner: "pub".into(),
        at_us: MIDNIGHT_US + number,
        bids: 3,
        wins: 1,
        bidders: vec![
            part("alpha", "", 3, 1),
            part("beta", "timeout", 0, 0),
            part("gamma", "qps_limit", 0, 0),
        ],
        ..AuctionRecord::default()
    };
    let not_called = NotCalled::ALL.map(NotCalled::label);
    let drops = DropCount { from_us: MIDNIGHT_US, to_us: MIDNIGHT_US + 9, dropped: 4 };
    for (is_alone, times) in [(true, 1), (false, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let mut tally = Tally::new(question(&[Axis::Bidder]), dir.path(), 0, is_alone);
        for _ in 0..times {
            for number in 0..5 {
                let mut record = record(number);
                record.bidders[2].negative = not_called[0].into();
                tally.take(Item::Auction(record)).unwrap();
            }
            tally.take(Item::Dropped(drops)).unwrap();
        }
        let totals = tally.finish(&mut |_| Ok(())).unwrap();
        let counts = |name: &str| {
            let row = totals.rows.rows.get(&vec![name.to_owned()]);
            row.map(|row| (row.auctions, row.bids, row.sold))
        };
        assert_eq!(counts("alpha"), Some((5, 15, 5)));
        assert_eq!(counts("beta"), Some((5, 0, 0)));
        assert_eq!(counts("gamma"), None);
        let total = &totals.rows.total;
        assert_eq!((total.auctions, total.bids, total.sold), (5, 15, 5));
        assert_eq!(totals.rows.dropped, 4);
    }
}
