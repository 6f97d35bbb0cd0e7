//! Prices on the wire and converted, to the micro.

use super::*;
use proptest::prelude::*;

#[test]
fn floors_between_two_micros_are_the_higher_one() {
    for (units, micros, is_raised) in [
        (0.0, 0, false),
        (0.05, 50_000, false),
        (0.050_000_000_745_058_06, 50_001, true),
        (0.012_345_4, 12_346, true),
        // the nearest is the higher one: a bid of what came reaches it
        (0.012_345_6, 12_346, false),
        (1e-9, 1, true),
        (999_999_999.999_999, 999_999_999_999_999, false),
    ] {
        let found = Cpm::floor_from_wire(units).unwrap();
        assert_eq!((found.0.micros(), found.1), (micros, is_raised), "{units}");
    }
    for (units, nanos, is_raised) in [(0.000_333_333_4, 333_334, true), (0.05, 50_000_000, false)] {
        let found = CpmPerSecond::floor_from_wire(units).unwrap();
        assert_eq!((found.0.0, found.1), (nanos, is_raised), "{units}");
    }
    for micros in (0..2_000_000).chain((1..1_000).map(|n| n * 999_983_777)) {
        let units: f64 = Cpm(micros).to_string().parse().unwrap();
        assert_eq!(Cpm::floor_from_wire(units), Some((Cpm(micros), false)), "{micros}");
    }
}

#[test]
fn wire_prices_round_half_away_from_zero_and_refuse_nonsense() {
    for (units, micros) in [
        (0.0, Some(0)),
        (-0.0, Some(0)),
        (1e-400, Some(0)),
        (0.1, Some(100_000)),
        (1.234_567_5, Some(1_234_568)),
        (-1.5, Some(-1_500_000)),
        (1e9, Some(1_000_000_000_000_000)),
        (1.1e9, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
    ] {
        assert_eq!(Cpm::from_wire(units).map(Cpm::micros), micros, "{units}");
    }
}

#[test]
fn prices_by_the_second_are_exact_over_a_minute() {
    for (units, seconds, price) in [
        (0.5, 30, "15"),
        (2.0 / 3.0, 30, "20"),
        (1.0 / 3.0, 60, "20"),
        (0.1, 7, "0.7"),
        (0.0, 60, "0"),
        (0.5, 0, "0"),
    ] {
        let rate = CpmPerSecond::from_wire(units).unwrap();
        assert_eq!(rate.over(seconds).to_string(), price, "{units} {seconds}");
    }
    assert_eq!(CpmPerSecond::from_wire(1e9).unwrap().over(u32::MAX), Cpm(i64::MAX));
    assert_eq!(CpmPerSecond::from_wire(f64::INFINITY), None);
}

#[test]
fn decimals_are_the_shortest_exact_ones() {
    for (micros, text) in
        [(0, "0"), (1, "0.000001"), (2_500_000, "2.5"), (-10_000, "-0.01"), (3_000_000, "3")]
    {
        assert_eq!(Cpm::from_micros(micros).to_string(), text);
    }
}

#[test]
fn currencies_are_three_letters_of_any_case() {
    assert_eq!(Currency::parse("usd"), Some(Currency::USD));
    for bad in ["", "US", "USDT", "U$D", "é1"] {
        assert_eq!(Currency::parse(bad), None, "{bad}");
    }
}

#[test]
fn conversion_needs_both_rates_unless_the_currency_is_the_same() {
    let code = |text| Currency::parse(text).unwrap();
    let rates = Rates::new(code("USD"), [(code("EUR"), 0.5), (code("JPY"), 150.0)]).unwrap();
    let two = Cpm::from_micros(2_000_000);
    let convert =
        |from, to| rates.convert(two, code(from), code(to)).map(|price| price.to_string());
    assert_eq!(convert("EUR", "USD").as_deref(), Some("4"));
    assert_eq!(convert("EUR", "JPY").as_deref(), Some("600"));
    assert_eq!(convert("XXX", "XXX").as_deref(), Some("2"));
    assert_eq!(convert("XXX", "USD"), None);
    assert_eq!(Rates::new(Currency::USD, [(code("EUR"), 0.0)]), Err(code("EUR")));
}

#[test]
fn stale_rates_know_their_currencies_and_convert_nothing() {
    let code = |text| Currency::parse(text).unwrap();
    let (hours, as_of) = (|hours: u64| Duration::from_secs(hours * 3_600), 1_000);
    let rates = Rates::new(code("USD"), [(code("EUR"), 0.5)]).unwrap();
    assert_eq!((rates.age(hours(9)), rates.are_stale(hours(9))), (None, false));
    let rates = rates.dated(hours(as_of), hours(48));
    for (at, age, is_stale) in [(999, 0, false), (1_048, 48, false), (1_049, 49, true)] {
        assert_eq!(rates.age(hours(at)), Some(hours(age)), "{at}");
        assert_eq!(rates.are_stale(hours(at)), is_stale, "{at}");
    }
    let stale = rates.stale();
    let two = Cpm::from_micros(2_000_000);
    assert!(stale.knows(code("EUR")) && !stale.converts(code("EUR"), code("USD")));
    assert_eq!(stale.convert(two, code("EUR"), code("USD")), None);
    assert_eq!(stale.convert_up(two, (code("EUR"), code("USD")), code("USD")), None);
    assert_eq!(stale.convert(two, code("EUR"), code("EUR")), Some(two));
    assert_eq!(stale.convert(Cpm::ZERO, code("EUR"), code("USD")), Some(Cpm::ZERO));
    assert_eq!(rates.convert(two, code("EUR"), code("USD")), Some(Cpm::from_micros(4_000_000)));
}

#[test]
fn a_floor_is_rounded_up_only_where_its_bid_would_fall_short() {
    let code = |text| Currency::parse(text).unwrap();
    let rates = Rates::new(code("USD"), [(code("EUR"), 0.5), (code("JPY"), 150.0)]).unwrap();
    for (floor, from, to, expected) in [
        ("50", "JPY", "USD", Some("0.333334")),
        ("75", "JPY", "USD", Some("0.5")),
        ("1", "EUR", "USD", Some("2")),
        ("0.000001", "USD", "EUR", Some("0.000001")),
        ("7", "XXX", "XXX", Some("7")),
        ("7", "XXX", "USD", None),
    ] {
        let floor = Cpm::from_wire(floor.parse().unwrap()).unwrap();
        let sent = rates.convert_up(floor, (code(from), code(to)), code("JPY"));
        assert_eq!(sent.map(|sent| sent.to_string()).as_deref(), expected, "{floor} {from}");
    }
    let same = rates.convert_up(Cpm::CENT, (code("USD"), code("USD")), code("JPY"));
    assert_eq!(same, Some(Cpm::CENT));
}

proptest! {
    #[test]
    fn a_bid_of_the_sent_floor_is_never_below_the_floor(
        micros in 0i64..=2_000_000_000,
        rates in (1e-3f64..2e4, 1e-3f64..2e4),
        (from, to, compared_in) in (0usize..3, 0usize..3, 0usize..3),
    ) {
        let codes = ["USD", "EUR", "JPY"].map(|text| Currency::parse(text).unwrap());
        let [usd, eur, jpy] = codes;
        let table = Rates::new(usd, [(eur, rates.0), (jpy, rates.1)]).unwrap();
        let (from, to, compared_in) = (codes[from], codes[to], codes[compared_in]);
        let floor = Cpm::from_micros(micros);
        let sent = table.convert_up(floor, (from, to), compared_in).unwrap();
        // As the bidder reads it and sends it back.
        let bid = Cpm::from_wire(sent.to_string().parse().unwrap()).unwrap();
        let value = table.convert(bid, to, compared_in).unwrap();
        prop_assert!(value >= table.convert(floor, from, compared_in).unwrap());
        let nearest = table.convert(floor, from, to).unwrap();
        prop_assert!(sent.micros() - nearest.micros() <= 1);
    }

    #[test]
    fn every_price_survives_its_own_text(micros in -1_000_000_000_000_000i64..=1_000_000_000_000_000) {
        let price = Cpm::from_micros(micros);
        let read: f64 = price.to_string().parse().unwrap();
        prop_assert_eq!(Cpm::from_wire(read), Some(price));
    }
}
