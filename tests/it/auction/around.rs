//! What an auction leaves behind, and reads: sales, notices, tokens, records and their report.

use super::fixture::{Case, banner, bid, bids, cpm, partner, price};
use gavel::admit;
use gavel::admit::limits::Limits;
use gavel::arrival::Body;
use gavel::exchange::sell::Seller;
use gavel::journal::dedupe::{Claim, Dedupe};
use gavel::ledger::sale::{Sale, Trouble};
use gavel::ledger::sums::{Money, Pair};
use gavel::ledger::{Moment, Question, Span};
use gavel::limits::bank::Bank;
use gavel::limits::rate::LeaseSettings;
use gavel::money::multiplier::Multiplier;
use gavel::money::{Currency, Rates};
use gavel::money_event::codec::{read_event, write_event};
use gavel::money_event::{Amount, EventId, EventType, MoneyEvent, SaleId};
use gavel::negatives::refusal::Refusal;
use gavel::notice::plan;
use gavel::token::issuer::Issuer;
use gavel::token::keys::{Key, Keys};
use serde_json::{Value as Json, json};
use std::time::Duration;

fn issuer() -> Issuer {
    Issuer {
        keys: Keys::new(Key::new(1, "0123456789abcdef0123456789abcdef"), vec![]),
        base: "https://x.example".into(),
        banner_ttl: Duration::from_secs(100),
        video_ttl: Duration::from_secs(10_000),
    }
}

fn won(case: &Case, serial: u64, wall: Duration) -> Vec<MoneyEvent> {
    let issuer = issuer();
    let seller = Seller { issuer: Some(&issuer), serial, wall, ..Seller::plain(&case.partner) };
    seller.won(&case.request, &case.answered(), &case.run())
}

const WALL: Duration = Duration::from_secs(1_800_000_000);

fn two_of_one_bidder() -> Case {
    let with = |id: &str, price: f64| {
        bid(id, "1", price, &json!({ "crid": id, "nurl": "https://b.example/w" }))
    };
    let answer = bids(&[with("x", 3.0), with("y", 2.0)]);
    let mut case = Case::new(&json!({ "imp": [banner(&json!({}))] }), &[("a", answer)]);
    case.partner.multibid = 3;
    case.partner.awards_by_answer = true;
    case
}

#[test]
fn two_bids_of_one_answer_on_one_imp_are_two_sales() {
    let events = won(&two_of_one_bidder(), 1, WALL);
    assert_eq!(events.len(), 2);
    assert_ne!(events[0].id, events[1].id);
}

#[test]
fn no_two_auctions_have_the_same_sale() {
    let case = two_of_one_bidder();
    let id = |serial, wall| won(&case, serial, wall)[0].id;
    assert_ne!(id(1, WALL), id(2, WALL));
    // a serial begins anew with each process
    assert_ne!(id(1, WALL), id(1, WALL + Duration::from_nanos(1)));
}

#[test]
fn what_is_shown_in_an_app_may_be_kept_for_hours() {
    for (channel, seconds) in [("site", 100), ("app", 10_000)] {
        let mut request = json!({ "imp": [banner(&json!({}))] });
        request[channel] = json!({ "id": "c" });
        let mut case = Case::new(&request, &[("a", bids(&[price(2.0)]))]);
        case.partner.awards_by_answer = true;
        let event = &won(&case, 1, WALL)[0];
        assert_eq!(event.expires_s, WALL.as_secs() + seconds + 300, "{channel}");
    }
}

#[test]
fn a_nurl_that_gives_the_markup_stays() {
    let one = bid("x", "1", 2.0, &json!({ "adm": null, "nurl": "https://b.example/markup" }));
    let mut case = Case::new(&json!({ "imp": [banner(&json!({}))] }), &[("a", bids(&[one]))]);
    case.partner.allows_nurl_markup = true;
    case.partner.awards_by_answer = true;
    let issuer = issuer();
    let seller = Seller { issuer: Some(&issuer), wall: WALL, ..Seller::plain(&case.partner) };
    let text = case.reply(seller);
    let bid = &text["seatbid"][0]["bid"][0];
    assert_eq!(bid["nurl"], "https://b.example/markup");
    assert!(bid["burl"].as_str().unwrap().starts_with("https://x.example/e/"), "{bid}");
}

#[test]
fn two_groups_of_one_seat_stay_two() {
    let of =
        |imp: &str| json!({ "seat": "s", "group": 1, "bid": [bid(imp, imp, 2.0, &json!({}))] });
    let imps = json!(["1", "2"].map(|id| {
        let mut i = banner(&json!({}));
        i["id"] = json!(id);
        i
    }));
    let case =
        Case::new(&json!({ "imp": imps }), &[("a", json!({ "seatbid": [of("1"), of("2")] }))]);
    let text = case.reply(Seller::plain(&case.partner));
    let groups: Vec<_> = text["seatbid"]
        .as_array()
        .unwrap()
        .iter()
        .map(|seat| (seat["group"].clone(), seat["bid"].as_array().unwrap().len()))
        .collect();
    assert_eq!(groups, [(json!(1), 1), (json!(1), 1)]);
}

fn losses(request: &Json) -> Vec<String> {
    let lurl =
        "https://b.example/l?c=${AUCTION_CURRENCY}&m=${AUCTION_MULTIPLIER}&r=${AUCTION_LOSS}";
    let loser = bid("y", "1", 1.0, &json!({ "lurl": lurl }));
    let mut request = request.clone();
    request["imp"] = json!([banner(&json!({ "qty": { "multiplier": 14.2 } }))]);
    let case = Case::new(&request, &[("a", bids(&[price(2.0)])), ("b", bids(&[loser]))]);
    plan::losses(&case.request, &case.answered(), &case.run())
        .into_iter()
        .map(|notice| notice.url)
        .collect()
}

#[test]
fn a_loser_is_told_its_currency_and_quantity_and_of_a_test_nothing() {
    assert_eq!(losses(&json!({})), ["https://b.example/l?c=USD&m=14.2&r=102"]);
    assert_eq!(losses(&json!({ "test": 1 })), [""; 0]);
}

fn event() -> MoneyEvent {
    MoneyEvent {
        event: EventType::Billing,
        id: SaleId::new(0xabcd_ef00).event(EventType::Billing),
        auction_id: "a".into(),
        imp_id: "1".into(),
        partner: "p".into(),
        bidder: "b".into(),
        seat: "s".into(),
        deal: "d".into(),
        gross: Amount::new(2_000_000, Currency::USD),
        net: Amount::new(1_000_000, Currency::USD),
        multiplier: Multiplier::ONE,
        loss_reason: 102,
        generation: 7,
        auction_us: 1_000_000_000,
        received_us: 2_000_000_000,
        expires_s: 1_000_000,
        url: "u".into(),
    }
}

#[test]
fn an_event_is_read_back_with_its_loss_reason_and_deal() {
    let mut bytes = Vec::new();
    write_event(&event(), &mut bytes);
    assert_eq!(read_event(EventType::Billing, &bytes), Ok(event()));
}

#[test]
fn one_that_was_claimed_and_is_in_doubt_may_come_again() {
    let index = Dedupe::new(10, Duration::from_secs(10));
    let id = EventId(7);
    assert!(matches!(index.claim(id, 100), Claim::New(_)));
    index.doubt(id, 100);
    assert!(matches!(index.claim(id, 100), Claim::New(_)));
}

fn troubles(events: Vec<MoneyEvent>) -> Vec<Trouble> {
    let mut sale = Sale::new(events[0].id.sale());
    for event in events {
        sale.add(event);
    }
    let question = Question { by: vec![], span: Span::ALL, moment: Moment::Received, as_of_us: 0 };
    sale.judge(&question)
        .iter()
        .map(|finding| finding.trouble)
        .filter(|one| *one != Trouble::BilledWithoutWin)
        .collect()
}

#[test]
fn two_bills_that_name_others_are_two_and_no_repeat() {
    let later = MoneyEvent { received_us: 2_000_000_001, ..event() };
    assert_eq!(troubles(vec![event(), later.clone()]), [Trouble::Repeated]);
    for other in [
        MoneyEvent { partner: "q".into(), ..later.clone() },
        MoneyEvent { bidder: "q".into(), ..later.clone() },
        MoneyEvent { seat: "q".into(), ..later.clone() },
        MoneyEvent { deal: "q".into(), ..later.clone() },
        MoneyEvent { auction_id: "q".into(), ..later.clone() },
        MoneyEvent { imp_id: "q".into(), ..later.clone() },
    ] {
        assert_eq!(troubles(vec![event(), other]), [Trouble::BilledTwice]);
    }
}

#[test]
fn a_clock_may_be_off_by_five_minutes_and_no_end_is_no_end() {
    let received = |us| MoneyEvent { auction_us: 1_000_000_000, received_us: us, ..event() };
    assert_eq!(troubles(vec![received(1_000_000_000 - 300_000_000)]), []);
    assert_eq!(troubles(vec![received(1_000_000_000 - 300_000_001)]), [Trouble::Early]);
    assert_eq!(troubles(vec![MoneyEvent { expires_s: 0, ..event() }]), []);
}

#[test]
fn there_is_no_margin_between_two_currencies() {
    let money = Money { billed: 1, gross: 5, net: 3 };
    let euro = Currency::parse("EUR").unwrap();
    assert_eq!(money.margin(Pair { gross: euro, net: euro }), Some(2));
    assert_eq!(money.margin(Pair { gross: Currency::USD, net: euro }), None);
}

#[test]
fn another_number_of_open_calls_holds_from_the_next_reload_on() {
    let mut bank = Bank::new(2, LeaseSettings::default());
    assert_eq!(bank.in_flight("b", 10).max(), 10);
    assert_eq!(bank.in_flight("b", 20).max(), 20);
}

fn admitted(body: &str, is_secure: bool) -> Result<Option<bool>, Refusal> {
    let limits = Limits::default();
    let mut scratch = admit::Scratch::new(&limits);
    let body = Body(bytes::Bytes::copy_from_slice(body.as_bytes()));
    let mut partner = partner();
    partner.is_secure = is_secure;
    admit::admit(body, &partner, &limits, &Rates::default(), &mut scratch)
        .map(|admitted| admitted.request.view.imps[0].is_secure)
}

#[test]
fn what_an_imp_says_counts_and_a_name_that_folds_to_a_protected_one_is_refused() {
    let of = |secure: &str, more: &str| {
        format!(r#"{{"id":"r","imp":[{{"id":"1","banner":{{"w":3,"h":2}}{secure}}}]{more}}}"#)
    };
    assert_eq!(admitted(&of("", ""), true), Ok(Some(true)));
    assert_eq!(admitted(&of(r#","secure":0"#, ""), true), Ok(Some(false)));
    assert_eq!(admitted(&of("", ",\"dev\u{131}ce\":{}"), true), Err(Refusal::DuplicateKey));
    let _ = cpm(1.0);
}

#[test]
fn a_notice_of_the_longest_is_read_back_whole() {
    let long = MoneyEvent { url: format!("https://b.example/{}", "u".repeat(2030)), ..event() };
    let mut bytes = Vec::new();
    write_event(&long, &mut bytes);
    assert_eq!(read_event(EventType::Billing, &bytes), Ok(long));
}

#[test]
fn an_event_says_of_which_deal_auction_and_generation_it_is() {
    let imp = super::fixture::pmp(&json!([{ "id": "d" }]), 0);
    let mut case =
        super::fixture::one_imp(&json!({}), &imp, &[bid("x", "1", 2.0, &json!({ "dealid": "d" }))]);
    case.partner.awards_by_answer = true;
    let issuer = issuer();
    let seller =
        Seller { issuer: Some(&issuer), generation: 7, wall: WALL, ..Seller::plain(&case.partner) };
    let event = &seller.won(&case.request, &case.answered(), &case.run())[0];
    assert_eq!((event.deal.as_str(), event.generation), ("d", 7));
    let claims = gavel::token::Claims { auction_us: 5, ..gavel::token::Claims::default() };
    assert_eq!(claims.event(9, String::new()).auction_us, 5);
}

#[test]
fn an_upstream_fills_in_what_the_event_needs() {
    for (event, query) in [
        (EventType::Win, "?m=${AUCTION_MIN_TO_WIN}"),
        (EventType::Billing, "?m=${AUCTION_MIN_TO_WIN}&t=${AUCTION_IMP_TS}"),
        (EventType::Loss, "?l=${AUCTION_LOSS}&m=${AUCTION_MIN_TO_WIN}"),
    ] {
        let claims = gavel::token::Claims { event, ..gavel::token::Claims::default() };
        let (mut scratch, mut out) = (vec![], vec![]);
        issuer().write_url(&claims, &mut scratch, &mut out);
        let url = String::from_utf8(out).unwrap();
        assert_eq!(url.split_at(url.find('?').unwrap()).1, query);
    }
}

#[test]
fn a_key_that_only_verifies_is_not_given_another_secret_either() {
    let key = |id, secret: &str| Key::new(id, &secret.repeat(32));
    let before = Keys::new(key(1, "a"), vec![key(2, "b")]);
    assert_eq!(Keys::new(key(1, "a"), vec![key(2, "c")]).replaced(&before), Some(2));
    assert_eq!(Keys::new(key(1, "a"), vec![key(2, "b")]).replaced(&before), None);
}
