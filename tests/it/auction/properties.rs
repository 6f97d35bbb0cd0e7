//! What holds for every auction.

use super::fixture::{Case, bid, cpm, currency};
use gavel::auction::offer::LossReason;
use gavel::money::margin::TakeRate;
use gavel::money::{Cpm, Currency, Rates};
use gavel::negatives::rejection::Rejection;
use gavel::openrtb::ids::AuctionType;
use gavel::partner::{DealTerm, DealTerms, Margin};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::HashSet;

const CURRENCIES: [&str; 3] = ["USD", "EUR", "JPY"];

/// Prices that often tie and often stand at a floor, and odd ones.
fn price() -> impl Strategy<Value = f64> {
    prop_oneof![4 => (0u32..8).prop_map(|n| f64::from(n) * 0.5), 2 => 0.0..20.0, 1 => -1.0..1e7]
}

fn percent() -> impl Strategy<Value = TakeRate> {
    prop_oneof![Just(0u16), 1..=9_000u16]
        .prop_map(|points| TakeRate::from_percent(f64::from(points) / 100.0).unwrap())
}

fn any_bid() -> impl Strategy<Value = Json> {
    let deal = prop_oneof![3 => Just(None), 1 => Just(Some("d")), 1 => Just(Some("f")), 1 => Just(Some("?"))];
    ("[a-d]", 0..4u8, price(), deal, 0..6u8).prop_map(|(id, imp, price, deal, oddity)| {
        let odd = match oddity {
            0 => json!({ "adm": "<img src='http://x.example/a'>" }),
            1 => json!({ "cat": ["IAB1-2"] }),
            _ => json!({}),
        };
        let mut bid = bid(&id, &imp.to_string(), price, &odd);
        if let Some(deal) = deal {
            bid["dealid"] = json!(deal);
        }
        bid
    })
}

fn any_answer() -> impl Strategy<Value = Json> {
    let seat = (prop::collection::vec(any_bid(), 1..5), any::<bool>(), "[st]").prop_map(
        |(bids, group, seat)| json!({ "seat": seat, "group": u8::from(group), "bid": bids }),
    );
    (prop::collection::vec(seat, 1..4), 0..CURRENCIES.len())
        .prop_map(|(seats, cur)| json!({ "cur": CURRENCIES[cur], "seatbid": seats }))
}

prop_compose! {
    pub fn any_case()(
        answers in prop::collection::vec(any_answer(), 0..5),
        at in 1..3u8,
        floors in prop::collection::vec((price(), 0..CURRENCIES.len()), 5),
        deal_at in 1..4u8,
        own in 0..CURRENCIES.len(),
        rates in (0.01f64..100.0, 0.01f64..1000.0),
        rounds in prop_oneof![Just(64u32), 0..3u32],
        (open, on_deals) in (percent(), percent()),
        tiers in (1..=3u8, 1..=3u8),
    ) -> Case {
        let floor = |n: usize| (floors[n].0.abs().min(10.0), CURRENCIES[floors[n].1]);
        let imps: Vec<_> = (0..3).map(|imp: usize| {
            let (bidfloor, bidfloorcur) = floor(imp);
            let (d, dcur) = floor(3);
            let (f, fcur) = floor(4);
            json!({ "id": imp.to_string(), "banner": {}, "bidfloor": bidfloor, "bidfloorcur": bidfloorcur,
                "secure": 1, "pmp": { "private_auction": u8::from(imp == 2), "deals": [
                    { "id": "d", "bidfloor": d, "bidfloorcur": dcur },
                    { "id": "f", "bidfloor": f, "bidfloorcur": fcur, "at": deal_at }] } })
        }).collect();
        let names = ["a", "b", "c", "d", "e"];
        let answers: Vec<_> = names.into_iter().zip(answers).collect();
        let mut case = Case::new(&json!({ "at": at, "bcat": ["IAB1"], "imp": imps }), &answers);
        case.partner.currency = currency(CURRENCIES[own]);
        case.partner.bid_max = Some(cpm(1e6));
        case.partner.margin = Margin::new(open, on_deals, vec![]);
        let term = |id: &str, tier| DealTerm { id: id.into(), tier, take_rate: None };
        case.partner.deals = DealTerms::new(vec![term("d", tiers.0), term("f", tiers.1)]);
        case.settings.group_rounds_max = rounds;
        case.rates = Rates::new(Currency::USD, [(currency("EUR"), rates.0), (currency("JPY"), rates.1)]).unwrap();
        case
    }
}

/// The floor that a bid has to reach, from the request alone.
fn floor(case: &Case, imp: usize, deal: &str) -> Cpm {
    let imp = &case.request.view.imps[imp];
    let to = case.partner.currency;
    let mut deals = case.request.deals(imp.deals).iter();
    let deal =
        deals.find(|one| case.request.text(one.id) == deal).filter(|one| one.bidfloor > Cpm::ZERO);
    let (floor, from) =
        deal.map_or((imp.bidfloor, imp.bidfloorcur), |deal| (deal.bidfloor, deal.bidfloorcur));
    case.rates.convert(floor, from, to).unwrap()
}

/// The most that a bid would pay: no more than the price that its deal fixes.
fn worth(case: &Case, imp: u32, deal: &str, value: Cpm) -> Cpm {
    let imp = &case.request.view.imps[imp as usize];
    let mut deals = case.request.deals(imp.deals).iter();
    let deal = deals.find(|one| case.request.text(one.id) == deal);
    let fixed =
        deal.filter(|deal| deal.at == Some(AuctionType::Fixed) && deal.bidfloor > Cpm::ZERO);
    fixed.map_or(value, |deal| {
        let price = case.rates.convert(deal.bidfloor, deal.bidfloorcur, case.partner.currency);
        value.min(case.partner.margin.on_deals.mark_up(price.unwrap()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_bid_ends_exactly_once_and_every_price_is_between_floor_and_bid(case in any_case()) {
        let answers = case.answered();
        let result = case.run();
        let ends: Vec<_> = result.wins.iter().map(|win| win.at)
            .chain(result.losses.iter().map(|loss| loss.at)).collect();
        let different: HashSet<_> = ends.iter().copied().collect();
        prop_assert_eq!(different.len(), ends.len());
        let bids: usize = answers.iter().map(|answered| answered.answer.bids.len()).sum();
        prop_assert_eq!(ends.len(), bids);
        let imps: HashSet<_> = result.wins.iter().map(|win| win.imp).collect();
        prop_assert_eq!(imps.len(), result.wins.len());
        for win in &result.wins {
            let (answered, _, bid) = win.at.resolve(&answers).unwrap();
            let deal = answered.answer.text(bid.dealid);
            prop_assert_eq!(win.is_deal, !deal.is_empty());
            prop_assert!(win.net >= floor(&case, win.imp as usize, deal));
            prop_assert!(win.net <= win.clearing && win.net > Cpm::ZERO);
            let least = win.min_to_win.unwrap();
            prop_assert!(least <= win.price);
            prop_assert!(win.clearing <= win.value && win.clearing > Cpm::ZERO);
            prop_assert!(win.clearing_in_bid_currency <= win.price);
            prop_assert_eq!(Some(win.price), Cpm::from_wire(bid.price.unwrap()));
            if deal.is_empty() && result.auction_type.wire() == 1 {
                prop_assert_eq!(win.clearing, win.value);
                prop_assert_eq!(win.clearing_in_bid_currency, win.price);
            }
        }
    }

    #[test]
    fn the_order_of_the_answers_changes_nothing(case in any_case(), seed in any::<u64>()) {
        let straight = case.answered();
        let mut shuffled = case.answered();
        let turns = usize::try_from(seed % 5).unwrap();
        let len = shuffled.len().max(1);
        shuffled.rotate_left(turns % len);
        if seed & 8 == 0 {
            shuffled.reverse();
        }
        let one = case.describe(&straight, &case.run_with(&straight));
        let other = case.describe(&shuffled, &case.run_with(&shuffled));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn no_better_bid_of_the_tier_loses_to_a_worse_one(case in any_case()) {
        let answers = case.answered();
        let result = case.run();
        for loss in result.losses.iter().filter(|loss| loss.reason == LossReason::HigherBid) {
            let (answered, _, bid) = loss.at.resolve(&answers).unwrap();
            let price = Cpm::from_wire(bid.price.unwrap()).unwrap();
            let currency = answered.answer.currency.unwrap();
            let value = case.rates.convert(price, currency, result.currency).unwrap();
            let worth = worth(&case, loss.imp.unwrap(), answered.answer.text(bid.dealid), value);
            let winner = result.wins.iter().find(|win| Some(win.imp) == loss.imp).unwrap();
            let (answered, _, bid) = winner.at.resolve(&answers).unwrap();
            let deal = answered.answer.text(bid.dealid);
            prop_assert!(self::worth(&case, winner.imp, deal, winner.value) >= worth);
        }
    }

    #[test]
    fn a_group_wins_every_imp_that_it_bids_on_or_none(case in any_case()) {
        let answers = case.answered();
        let result = case.run();
        for (answered, number) in answers.iter().zip(0u32..) {
            for (seat, place) in answered.answer.seats.iter().zip(0u32..).filter(|(seat, _)| seat.is_group) {
                let won = result.wins.iter().filter(|win| (win.at.answer, win.at.seat) == (number, place));
                let won: HashSet<_> = won.map(|win| case.request.text(case.request.view.imps[win.imp as usize].id)).collect();
                let wanted: HashSet<_> = answered.answer.bids(seat).iter().map(|bid| answered.answer.text(bid.impid)).collect();
                prop_assert!(won.is_empty() || won == wanted, "{:?} of {:?}", won, wanted);
            }
        }
        let incomplete = LossReason::Rejected(Rejection::GroupIncomplete);
        for loss in result.losses.iter().filter(|loss| loss.reason == incomplete) {
            prop_assert!(loss.at.resolve(&answers).unwrap().1.is_group);
        }
    }
}
