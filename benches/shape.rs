//! What choosing bidders and writing their requests costs.
//!
//! Goals: a roster of 50 bidders of which 5 are eligible, 0.5 µs; five bodies from one 2 KB
//! request, 0.3 µs beside the copying.
#![allow(clippy::unwrap_used, reason = "a benchmark that panics has failed")]

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use gavel::admit::limits::Limits;
use gavel::admit::{Scratch, admit};
use gavel::arrival::Body;
use gavel::auction::pricing::Pricing;
use gavel::auction::rules::NO_RULES;
use gavel::bidder::roster::{Ask, Roster, RosterScratch, RosterSettings};
use gavel::bidder::shape::{ShapeScratch, Subject};
use gavel::bidder::{
    Bidder, CallLimits, CallTime, Endpoint, HttpVersion, NoticeRules, OpenRtbVersion, Seats,
    Targeting, Wire,
};
use gavel::facts::{Device, Facts, Geo};
use gavel::money::{Cpm, Rates};
use gavel::openrtb::ids::{Channel, Country, Media, PartnerId};
use gavel::partner::{Partner, SchainNode};
use gavel::privacy::disclosure::Disclosure;
use gavel::privacy::{Consent, PrivacySettings, decide};
use gavel::request::{Key, ValidRequest};
use std::hint::black_box;
use std::sync::Arc;

fn partner() -> Partner {
    let node =
        SchainNode { asi: "gavel.example".into(), sid: "7".into(), is_paid: true, is_owner: false };
    Partner {
        floor: Cpm::from_micros(100_000),
        bcat: vec!["IAB25".into(), "IAB26".into()],
        badv: vec!["blocked.example".into()],
        schain: Some(node),
        ..Partner::new("p")
    }
}

/// Fifty bidders that differ in what they buy; five of them buy the request below.
fn bidders() -> Vec<Bidder> {
    (0..50u8)
        .map(|number| {
            let mut own =
                Targeting { media: [Media::Banner].into_iter().collect(), ..Targeting::default() };
            match number % 10 {
                0 => own.domains_blocked = vec![format!("blocked{number}.example")],
                1 => own.countries = vec![Country(*b"DEU"), Country(*b"FRA")],
                2 => own.channels = vec![Channel::App],
                3 => own.media = [Media::Video].into_iter().collect(),
                4 => own.sizes = vec![(728, 90), (970, 250)],
                5 => own.devicetypes = vec![3, 7],
                6 => own.os = vec!["tizen".into()],
                7 => own.publishers = vec![format!("publisher{number}")],
                8 => own.domains = vec![format!("site{number}.example")],
                _ => own.is_deal_only = true,
            }
            Bidder {
                name: format!("b{number}"),
                endpoint: Endpoint {
                    is_tls: false,
                    host: "bidder.example".into(),
                    port: 80,
                    path: "/".into(),
                },
                wire: Wire {
                    version: OpenRtbVersion::V26,
                    http: HttpVersion::Http1,
                    is_gzip: false,
                    tells_trace: false,
                    currency: None,
                    buyeruid_source: None,
                    headers: Vec::new(),
                },
                targeting: own,
                seats: Seats::default(),
                time: CallTime::default(),
                limits: CallLimits::default(),
                notices: NoticeRules::default(),
            }
        })
        .collect()
}

/// About 2 KB.
fn request() -> ValidRequest {
    let keywords = "sports,weather,local news,".repeat(30);
    let badv: Vec<String> = (0..20).map(|number| format!("\"adv{number}.example\"")).collect();
    let text = format!(
        r#"{{"id":"80ce30c53c16e6ede735f123ef6e32361bfc7b22","at":1,"tmax":250,"cur":["USD"],
"imp":[{{"id":"1","tagid":"34819830","bidfloor":0.03,"secure":1,"banner":{{"w":300,"h":250,
"pos":1,"battr":[13,14],"format":[{{"w":300,"h":250}},{{"w":300,"h":600}}]}},"ext":{{"k":1}}}}],
"site":{{"id":"102855","domain":"news.example","page":"https://news.example/1.html",
"cat":["IAB12"],"publisher":{{"id":"8953","name":"News"}},"keywords":"{keywords}"}},
"device":{{"ua":"Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120.0 Mobile Safari",
"ip":"192.0.2.77","language":"en","ifa":"00000000-1111-2222-3333-444444444444","js":1,
"geo":{{"country":"USA"}}}},"user":{{"id":"u1","ext":{{"consent":""}}}},
"regs":{{"coppa":0,"ext":{{"gdpr":0,"us_privacy":"1YNN"}}}},"source":{{"tid":"t","ext":{{"schain":
{{"ver":"1.0","complete":1,"nodes":[{{"asi":"ssp.example","sid":"5","hp":1}}]}}}}}},
"bcat":["IAB25","IAB7-39","IAB8-18"],"badv":[{}]}}"#,
        badv.join(",")
    );
    let limits = Limits::default();
    let mut scratch = Scratch::new(&limits);
    let body = Body(Bytes::from(text));
    admit(body, &partner(), &limits, &Rates::default(), &mut scratch).unwrap().request
}

fn facts() -> Facts {
    let member = |key, text: &str| (key, text.to_owned());
    let geo = Geo {
        rendered: vec![
            member(Key::Country, r#""country":"USA""#),
            member(Key::Region, r#""region":"MA""#),
            member(Key::City, r#""city":"Waltham""#),
        ],
        rendered_position: vec![
            member(Key::Lat, r#""lat":42.3765"#),
            member(Key::Lon, r#""lon":-71.2356"#),
            member(Key::Type, r#""type":2"#),
        ],
        ..Geo::default()
    };
    let rendered = vec![
        member(Key::Devicetype, r#""devicetype":4"#),
        member(Key::Make, r#""make":"Google""#),
        member(Key::Os, r#""os":"Android""#),
    ];
    let device = Device { os: Some("Android".into()), rendered, ..Device::default() };
    Facts {
        geo: Some(Arc::new(geo)),
        device: Some(Arc::new(device)),
        country: Some(Country(*b"USA")),
        devicetype: Some(4),
        ..Facts::default()
    }
}

fn choose_and_write(c: &mut Criterion) {
    let (request, facts, partner, bidders) = (request(), facts(), partner(), bidders());
    let rates = Rates::default();
    let roster =
        Roster::compile(&bidders, std::slice::from_ref(&partner), RosterSettings::default());
    let mut roster_scratch = RosterScratch::default();
    let pricing = Pricing::new(&request, &partner, &rates, &NO_RULES);
    let ask = Ask {
        request: &request,
        facts: &facts,
        consent: Consent::default(),
        partner: PartnerId(0),
        pricing: &pricing,
    };
    let invitations = roster.eligible(&ask, &mut roster_scratch).invitations.to_vec();
    assert_eq!(invitations.len(), 5);
    let settings = PrivacySettings::default();
    c.bench_function("decide what the user allows", |b| {
        b.iter(|| decide(black_box(&request), &facts, &settings));
    });
    c.bench_function("choose 5 of 50 bidders", |b| {
        b.iter(|| roster.eligible(black_box(&ask), &mut roster_scratch).invitations.len());
    });
    let mut scratch = ShapeScratch::default();
    let subject =
        Subject { request: &request, facts: &facts, partner: &partner, pricing: &pricing };
    let bytes = request.bytes().len();
    let mut body = Vec::new();
    for (name, disclosure) in [("all", Disclosure::FULL), ("strict", Disclosure::STRICT)] {
        c.bench_function(&format!("write 5 bodies from {bytes} bytes, {name}"), |b| {
            b.iter(|| {
                let mut shaper = scratch.begin(black_box(subject));
                for invitation in &invitations {
                    let bidder = &bidders[usize::from(invitation.bidder.0)];
                    body.clear();
                    shaper.shape(invitation, bidder, disclosure, 200, &mut body).unwrap();
                    black_box(&mut body);
                }
            });
        });
    }
    c.bench_function("only copy the bytes 5 times", |b| {
        b.iter(|| (0..5).for_each(|_| drop(black_box(request.bytes().to_vec()))));
    });
}

criterion_group!(benches, choose_and_write);
criterion_main!(benches);
