//! What each bidder is told would have won (`${AUCTION_MIN_TO_WIN}`, 4.4.1).

use super::fixture::{Case, banner, bid, bids, one_imp, pmp, price};
use serde_json::{Value as Json, json};

/// `bidder/bid price least` for each win, `bidder/bid - least` for each loss, in the bid's currency.
pub fn told(case: &Case) -> Vec<String> {
    let (answers, result) = (case.answered(), case.run());
    let least = |price: Option<gavel::money::Cpm>| {
        price.map_or_else(|| "none".to_owned(), |price| price.to_string())
    };
    let name = |at: gavel::auction::offer::BidRef| {
        let (answered, _, bid) = at.resolve(&answers).unwrap();
        format!("{}/{}", answered.name, answered.answer.text(bid.id))
    };
    let wins = result.wins.iter().map(|win| {
        format!("{} {} {}", name(win.at), win.clearing_in_bid_currency, least(win.min_to_win))
    });
    let losses =
        result.losses.iter().map(|loss| format!("{} - {}", name(loss.at), least(loss.min_to_win)));
    wins.chain(losses).collect()
}

/// The auction of 4.4.1: a floor of 0.85, bids of 1.00, 0.90, 0.80, and one that is invalid.
fn worked(at: u8) -> Vec<String> {
    let invalid = bid("x", "1", 2.0, &json!({ "adm": null }));
    let each = [price(1.0), price(0.9), price(0.8), invalid];
    told(&one_imp(&json!({ "at": at }), &json!({ "bidfloor": 0.85 }), &each))
}

#[test]
fn section_4_4_1_first_price_row_1_the_winner_is_told_the_next_bid() {
    assert_eq!(worked(1)[0], "a/x 1 0.9");
}

#[test]
fn section_4_4_1_first_price_row_2_a_loser_is_told_the_winning_bid() {
    assert_eq!(worked(1)[1], "b/x - 1");
}

#[test]
fn section_4_4_1_first_price_row_3_a_bid_below_the_floor_is_told_the_winning_bid() {
    assert_eq!(worked(1)[2], "c/x - 1");
}

#[test]
fn section_4_4_1_first_price_row_4_an_invalid_bid_is_told_nothing() {
    assert_eq!(worked(1)[3], "d/x - none");
}

#[test]
fn section_4_4_1_second_price_row_1_the_winner_pays_a_cent_more_than_it_is_told() {
    assert_eq!(worked(2)[0], "a/x 0.91 0.9");
}

#[test]
fn section_4_4_1_second_price_row_2_a_loser_is_told_the_clearing_price() {
    assert_eq!(worked(2)[1], "b/x - 0.91");
}

#[test]
fn section_4_4_1_second_price_row_3_a_bid_below_the_floor_is_told_the_clearing_price() {
    assert_eq!(worked(2)[2], "c/x - 0.91");
}

#[test]
fn section_4_4_1_second_price_row_4_an_invalid_bid_is_told_nothing() {
    assert_eq!(worked(2)[3], "d/x - none");
}

#[test]
fn section_4_4_1_the_only_bid_is_told_the_floor() {
    for at in [1, 2] {
        let case = one_imp(&json!({ "at": at }), &json!({ "bidfloor": 0.85 }), &[price(1.0)]);
        assert!(told(&case)[0].ends_with(" 0.85"), "{:?}", told(&case));
    }
}

#[test]
fn where_nothing_won_a_bid_is_told_the_floor() {
    for (imp, offer, expected) in [
        (json!({ "bidfloor": 0.85 }), price(0.8), "a/x - 0.85"),
        (
            pmp(&json!([{ "id": "d", "bidfloor": 3.0 }]), 1),
            bid("x", "1", 2.0, &json!({ "dealid": "d" })),
            "a/x - 3",
        ),
    ] {
        assert_eq!(told(&one_imp(&json!({}), &imp, &[offer])), [expected]);
    }
}

#[test]
fn behind_a_deal_no_price_would_have_won_and_before_the_open_auction_the_deal_s_floor() {
    let imp =
        pmp(&json!([{ "id": "d", "bidfloor": 3.0 }, { "id": "f", "bidfloor": 2, "at": 3 }]), 0);
    let under = |deal: &str, price: f64| bid("x", "1", price, &json!({ "dealid": deal }));
    for (each, expected) in [
        (
            vec![under("d", 4.0), price(9.0), price(0.1)],
            &["a/x 4 3", "b/x - none", "c/x - none"][..],
        ),
        (vec![price(9.0), under("d", 2.0)], &["a/x 9 1", "b/x - 3"]),
        // a fixed price cannot be raised by bidding more
        (vec![under("d", 4.0), under("f", 9.0)], &["a/x 4 3", "b/x - none"]),
        (vec![under("f", 9.0), price(9.0)], &["a/x 2 2", "b/x - none"]),
    ] {
        assert_eq!(told(&one_imp(&json!({}), &imp, &each)), expected);
    }
}

#[test]
fn a_loser_that_had_reached_the_clearing_price_is_told_what_the_winner_is_worth() {
    // one seat does not raise its own price: 1.9 is over the clearing price and yet lost
    let own = bids(&[bid("x", "1", 2.0, &json!({})), bid("y", "1", 1.9, &json!({}))]);
    let case = Case::new(&json!({ "at": 2, "imp": [banner(&json!({}))] }), &[("a", own)]);
    assert_eq!(told(&case), ["a/x 0.5 0.5", "a/y - 2"]);
}

#[test]
fn it_is_told_in_the_currency_of_the_bid_and_rounded_up() {
    let of = |cur: &str, price: f64| -> Json {
        json!({ "cur": cur, "seatbid": [{ "bid": [bid("x", "1", price, &json!({}))] }] })
    };
    let request = json!({ "imp": [banner(&json!({ "bidfloor": 0.000_001 }))] });
    let case = Case::new(&request, &[("a", of("USD", 3.0)), ("b", of("EUR", 1.0))]);
    assert_eq!(told(&case), ["a/x 3 2", "b/x - 1.5"]);
    // half a micro of a euro is not enough
    let case = Case::new(&request, &[("a", of("EUR", 1.0))]);
    assert_eq!(told(&case), ["a/x 1 0.000001"]);
}
