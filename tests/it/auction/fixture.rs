//! Requests, partners and answers for auctions, from JSON.

use bytes::Bytes;
use gavel::admit;
use gavel::admit::limits::Limits;
use gavel::arrival::Body;
use gavel::auction::offer::{
    Answered, AuctionInput, AuctionResult, AuctionSettings, BidRef, BuyRules, SeatRules,
};
use gavel::auction::rules::{FloorIndex, FloorRule};
use gavel::bid::BidAnswer;
use gavel::bidder::Targeting;
use gavel::bidder::answer::{AnswerScratch, read};
use gavel::exchange::respond::{Response, write};
use gavel::exchange::sell::Seller;
use gavel::facts::Facts;
use gavel::money::{Cpm, Currency, Rates};
use gavel::openrtb::ids::{BidderId, PartnerId};
use gavel::partner::Partner;
use gavel::request::ValidRequest;
use serde_json::{Value as Json, json};

pub fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

pub fn cpm(units: f64) -> Cpm {
    Cpm::from_wire(units).unwrap()
}

/// A partner that forces and blocks nothing.
pub fn partner() -> Partner {
    Partner {
        key_hashes: vec![],
        sources: vec![],
        allows_unknown_channel: true,
        bcat: vec![],
        badv: vec![],
        bapp: vec![],
        may_debug: true,
        bid_max: Some(cpm(1000.0)),
        ..Partner::new("p")
    }
}

/// An auction to be held: a bidder is `(name, imps, answer)`.
pub struct Case {
    pub request: ValidRequest,
    pub partner: Partner,
    pub rates: Rates,
    pub floors: Vec<FloorRule>,
    pub facts: Facts,
    pub settings: AuctionSettings,
    pub seats_allowed: Vec<String>,
    /// Of every bidder.
    pub targeting: Targeting,
    pub bidders: Vec<(String, u64, BidAnswer)>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} {:?}", String::from_utf8_lossy(self.request.bytes()), self.rates)?;
        for (name, _, answer) in &self.bidders {
            writeln!(f, "{name}: {}", String::from_utf8_lossy(&answer.body))?;
        }
        write!(f, "{:?} in {}", self.outcome(), self.partner.currency)
    }
}

impl Case {
    /// First price, dollars, every bidder offered every imp.
    pub fn new(request: &Json, answers: &[(&str, Json)]) -> Self {
        let mut request = request.clone();
        let fields = request.as_object_mut().unwrap();
        fields.entry("id").or_insert(json!("r1"));
        fields.entry("at").or_insert(json!(1));
        Self {
            request: self::request(&request),
            partner: partner(),
            rates: rates(),
            floors: vec![],
            facts: Facts::default(),
            settings: AuctionSettings::default(),
            seats_allowed: vec![],
            targeting: Targeting::default(),
            bidders: answers
                .iter()
                .map(|(name, answer)| ((*name).to_owned(), u64::MAX, self::answer(answer)))
                .collect(),
        }
    }

    /// The bidders as the auction takes them.
    pub fn answered(&self) -> Vec<Answered<'_>> {
        (0..)
            .zip(&self.bidders)
            .map(|(number, (name, imps, answer))| Answered {
                bidder: BidderId(number),
                name,
                seats: SeatRules { allowed: &self.seats_allowed, blocked: &[], default: None },
                buys: BuyRules {
                    deals: &self.targeting.deals,
                    is_deal_only: self.targeting.is_deal_only,
                    media: self.targeting.media,
                },
                currency: None,
                imps: *imps,
                answer,
            })
            .collect()
    }

    /// What the partner gets, by this seller.
    pub fn reply(&self, seller: Seller<'_>) -> Json {
        let (answers, result) = (self.answered(), self.run());
        let response = Response {
            request: &self.request,
            answers: &answers,
            result: &result,
            bidid: (1, 1),
            ext: None,
            seller,
        };
        serde_json::from_slice(&write(&response)).unwrap()
    }

    pub fn run(&self) -> AuctionResult {
        self.run_with(&self.answered())
    }

    pub fn run_with(&self, answers: &[Answered<'_>]) -> AuctionResult {
        let floors = FloorIndex::compile(&self.floors, std::iter::once(self.partner.name.as_str()));
        gavel::auction::run(&AuctionInput {
            request: &self.request,
            partner: &self.partner,
            rates: &self.rates,
            rules: &floors.ask(&self.request, &self.facts, PartnerId(0)),
            settings: &self.settings,
            answers,
        })
    }

    /// `imp: bidder/bid price` for each win, then `bidder/bid reason` for each loss.
    pub fn outcome(&self) -> Vec<String> {
        self.describe(&self.answered(), &self.run())
    }

    pub fn describe(&self, answers: &[Answered<'_>], result: &AuctionResult) -> Vec<String> {
        let bid = |at: BidRef| {
            let (answered, _, bid) = at.resolve(answers).unwrap();
            format!("{}/{}", answered.name, answered.answer.text(bid.id))
        };
        let wins = result.wins.iter().map(|win| {
            let imp = &self.request.view.imps[win.imp as usize];
            let id = self.request.text(imp.id);
            format!("{id}: {} {} {}", bid(win.at), win.clearing, result.currency)
        });
        let losses =
            result.losses.iter().map(|loss| format!("{} {}", bid(loss.at), loss.reason.label()));
        wins.chain(losses).collect()
    }
}

/// A bid with markup for a banner; `more` is merged in (`null` removes).
pub fn bid(id: &str, impid: &str, price: f64, more: &Json) -> Json {
    let mut bid = json!({ "id": id, "impid": impid, "price": price, "adm": "<p>ad</p>" });
    let fields = bid.as_object_mut().unwrap();
    for (key, value) in more.as_object().into_iter().flatten() {
        fields.insert(key.clone(), value.clone());
    }
    fields.retain(|_, value| !value.is_null());
    bid
}

pub fn banner(more: &Json) -> Json {
    let mut imp =
        json!({ "id": "1", "banner": { "format": [{ "w": 300, "h": 250 }] }, "bidfloor": 0.5 });
    for (key, value) in more.as_object().unwrap() {
        imp[key] = value.clone();
    }
    imp
}

/// One banner with a floor of 0.5 dollars, and these bids of bidders a, b, c ... on it.
pub fn one_imp(request: &Json, imp: &Json, each: &[Json]) -> Case {
    let mut request = request.clone();
    request["imp"] = json!([banner(imp)]);
    let names = ["a", "b", "c", "d"];
    let answers: Vec<_> = names
        .into_iter()
        .zip(each)
        .map(|(name, bid)| (name, bids(std::slice::from_ref(bid))))
        .collect();
    Case::new(&request, &answers)
}

pub fn price(price: f64) -> Json {
    bid("x", "1", price, &json!({}))
}

/// What becomes of one bid on one banner: the price that it wins at, or why not.
pub fn fate(request: &Json, imp: &Json, more: &Json) -> String {
    let outcome = one_imp(request, imp, &[bid("x", "1", 2.0, more)]).outcome();
    assert_eq!(outcome.len(), 1, "{outcome:?}");
    let words: Vec<_> = outcome[0].split(' ').collect();
    if words[0] == "1:" { "won".to_owned() } else { words[1].to_owned() }
}

pub fn check(rule: &str, rows: &[(Json, Json, Json, &str)]) {
    for (request, imp, more, expected) in rows {
        assert_eq!(fate(request, imp, more), *expected, "{rule}: {request} {imp} {more}");
    }
}

pub fn pmp(deals: &Json, private: u8) -> Json {
    json!({ "bidfloor": 1.0, "pmp": { "private_auction": private, "deals": deals } })
}

/// An answer of one seat without a name.
pub fn bids(bids: &[Json]) -> Json {
    json!({ "seatbid": [{ "bid": bids }] })
}

/// Reads an answer; its `id` is added.
pub fn answer(answer: &Json) -> BidAnswer {
    let mut answer = answer.clone();
    answer.as_object_mut().unwrap().insert("id".into(), json!("r1"));
    let body = answer.to_string();
    read(body.as_bytes(), "r1", 100, &mut AnswerScratch::new(64)).unwrap()
}

/// Admits a request. What a rule of admission needs and an auction does not is added: a size, a
/// MIME type, a native request.
pub fn request(request: &Json) -> ValidRequest {
    let mut request = request.clone();
    for imp in request["imp"].as_array_mut().unwrap() {
        imp.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        for (media, key, value) in [
            ("banner", "format", json!([{ "w": 300, "h": 250 }])),
            ("video", "mimes", json!(["video/mp4"])),
            ("native", "request", json!("{\"native\":{\"assets\":[{\"id\":1}]}}")),
        ] {
            if let Some(object) = imp.get_mut(media).and_then(Json::as_object_mut) {
                object.entry(key).or_insert(value);
            }
        }
    }
    request_of(&request.to_string())
}

/// Admits these very bytes.
pub fn request_of(body: &str) -> ValidRequest {
    let limits = Limits::default();
    let mut scratch = admit::Scratch::new(&limits);
    let body = Body(Bytes::copy_from_slice(body.as_bytes()));
    let admitted = admit::admit(body, &partner(), &limits, &rates(), &mut scratch).unwrap();
    assert!(admitted.refused_imps.is_empty(), "{:?}", admitted.refused_imps);
    admitted.request
}

fn rates() -> Rates {
    Rates::new(Currency::USD, [(currency("EUR"), 0.5), (currency("JPY"), 150.0)]).unwrap()
}
