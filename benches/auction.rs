//! What the last leg of the road costs: reading an answer, the auction, writing ours.
//!
//! Goals (CPU of one request with five answers): read 2.4 µs for all, auction and answer 0.5 µs
//! without the checks of markup.
#![allow(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use gavel::admit;
use gavel::admit::limits::Limits;
use gavel::arrival::Body;
use gavel::auction::offer::{Answered, AuctionInput, AuctionSettings, BuyRules, SeatRules};
use gavel::auction::rules::NO_RULES;
use gavel::bid::BidAnswer;
use gavel::bidder::answer::{self, AnswerScratch};
use gavel::exchange::respond::{self, Response};
use gavel::exchange::sell::Seller;
use gavel::money::Rates;
use gavel::openrtb::ids::BidderId;
use gavel::partner::Partner;
use gavel::request::ValidRequest;
use std::hint::black_box;

#[path = "../tests/it/auction/fixture.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod fixture;

const REQUEST: &str = r#"{"id":"80ce30c53c16e6ede735f123ef6e32361bfc7b22","at":1,"cur":["USD"],
"imp":[{"id":"1","bidfloor":0.03,"secure":1,"banner":{"w":300,"h":250,"battr":[13]}}],
"site":{"id":"102855","domain":"news.example","page":"https://news.example/1.html"},
"device":{"ua":"Mozilla/5.0","ip":"192.0.2.1"},"bcat":["IAB25","IAB26","IAB7-39","IAB8-18"],
"badv":["rival.example","other.example","third.example"]}"#;

/// An answer of about 700 bytes.
fn answer_json(price: f64) -> Vec<u8> {
    let adm = r#"<a href=\"https://click.ads.example/c?id=1029384756&b=17\"><img src=\"https://cdn.ads.example/creatives/300x250/17/a.png\" width=\"300\" height=\"250\" alt=\"\"></a><img src=\"https://t.ads.example/i?p=${AUCTION_PRICE}\" width=\"1\" height=\"1\">"#;
    format!(
        r#"{{"id":"80ce30c53c16e6ede735f123ef6e32361bfc7b22","bidid":"5a1f","cur":"USD","seatbid":[{{"seat":"512","bid":[{{"id":"1-{price}","impid":"1","price":{price},"adid":"314","nurl":"https://ads.example/win?i=${{AUCTION_IMP_ID}}&p=${{AUCTION_PRICE}}","adm":"{adm}","adomain":["brand.example"],"iurl":"https://cdn.ads.example/c/17.png","cid":"campaign111","crid":"creative112","cat":["IAB3-1"],"attr":[1,2],"mtype":1,"w":300,"h":250,"ext":{{"a":1}}}}]}}]}}"#
    )
    .into_bytes()
}

fn admitted(partner: &Partner) -> ValidRequest {
    let limits = Limits::default();
    let body = Body(Bytes::from_static(REQUEST.as_bytes()));
    let mut scratch = admit::Scratch::new(&limits);
    admit::admit(body, partner, &limits, &Rates::default(), &mut scratch).unwrap().request
}

fn last_leg(c: &mut Criterion) {
    let (partner, rates, settings) =
        (fixture::partner(), Rates::default(), AuctionSettings::default());
    let request = admitted(&partner);
    let id = request.text(request.view.id);
    let mut scratch = AnswerScratch::new(64);
    let bodies: Vec<_> = (1u8..=5).map(|n| answer_json(f64::from(n) * 0.75)).collect();
    let read: Vec<BidAnswer> =
        bodies.iter().map(|body| answer::read(body, id, 100, &mut scratch).unwrap()).collect();
    let answers: Vec<_> = (0..)
        .zip(&read)
        .map(|(number, answer)| Answered {
            bidder: BidderId(number),
            name: "bidder",
            seats: SeatRules::default(),
            buys: BuyRules::default(),
            currency: None,
            imps: 1,
            answer,
        })
        .collect();
    let input = AuctionInput {
        request: &request,
        partner: &partner,
        rates: &rates,
        rules: &NO_RULES,
        settings: &settings,
        answers: &answers,
    };
    let result = gavel::auction::run(&input);
    assert_eq!(result.wins.len(), 1);

    c.bench_function("read an answer of 700 B", |b| {
        let body = bodies.first().unwrap();
        b.iter(|| {
            let answer = answer::read(black_box(body), id, 100, &mut scratch).unwrap();
            scratch.recycle(answer);
        });
    });
    c.bench_function("screen and clear 5 answers", |b| {
        b.iter(|| gavel::auction::run(black_box(&input)));
    });
    c.bench_function("write the answer", |b| {
        let response = Response {
            request: &request,
            answers: &answers,
            result: &result,
            bidid: (0x5_a1f0, 1),
            ext: None,
            seller: Seller::plain(&partner),
        };
        b.iter(|| respond::write(black_box(&response)));
    });
}

criterion_group!(benches, last_leg);
criterion_main!(benches);
