//! Requests, partners and answers for auctions, from JSON.

use bytes::Bytes;
use gavel::arrival::Body;
use gavel::auction::offer::{
    Answered, AuctionInput, AuctionResult, AuctionSettings, BidRef, SeatRules,
};
use gavel::bid::BidAnswer;
use gavel::deadline::DeadlineSettings;
use gavel::json::scratch::Scratch;
use gavel::json::value::{Kind, Members, Value};
use gavel::money::{Cpm, Currency, Rates};
use gavel::openrtb::ids::{AuctionType, BidderId, Media};
use gavel::partner::{NoBidStyle, Partner, ShedStyle, TrafficBlocks};
use gavel::request::{Banner, Deal, Imp, List, Native, Object, Size, Stream, ValidRequest, View};
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
        name: "p".into(),
        key_hashes: vec![],
        sources: vec![],
        qps: None,
        deadline: DeadlineSettings::default(),
        is_strict: false,
        allows_unknown_channel: true,
        channels: [true; 4],
        media: Media::ALL.into_iter().collect(),
        auction_type: None,
        currency: Currency::USD,
        floor: Cpm::ZERO,
        bcat: vec![],
        badv: vec![],
        bapp: vec![],
        no_bid: NoBidStyle::Empty,
        shed: ShedStyle::Status,
        may_debug: true,
        schain: None,
        blocks: TrafficBlocks::default(),
        allows_nurl_markup: false,
        bid_max: cpm(1000.0),
    }
}

/// An auction to be held: a bidder is `(name, imps, answer)`.
pub struct Case {
    pub request: ValidRequest,
    pub partner: Partner,
    pub rates: Rates,
    pub settings: AuctionSettings,
    pub seats_allowed: Vec<String>,
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
            rates: Rates::new(Currency::USD, [(currency("EUR"), 0.5), (currency("JPY"), 150.0)])
                .unwrap(),
            settings: AuctionSettings::default(),
            seats_allowed: vec![],
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
                imps: *imps,
                answer,
            })
            .collect()
    }

    pub fn run(&self) -> AuctionResult {
        self.run_with(&self.answered())
    }

    pub fn run_with(&self, answers: &[Answered<'_>]) -> AuctionResult {
        gavel::auction::run(&AuctionInput {
            request: &self.request,
            partner: &self.partner,
            rates: &self.rates,
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

/// An answer of one seat without a name.
pub fn bids(bids: &[Json]) -> Json {
    json!({ "seatbid": [{ "bid": bids }] })
}

/// Reads an answer; its `id` is added.
pub fn answer(answer: &Json) -> BidAnswer {
    let mut answer = answer.clone();
    answer.as_object_mut().unwrap().insert("id".into(), json!("r1"));
    let body = answer.to_string().into_bytes();
    gavel::bidder::answer::read(body, "r1", 100, &mut Scratch::new(64)).unwrap()
}

/// Reads what an auction needs of a request, without any of the rules of admission.
pub fn request(request: &Json) -> ValidRequest {
    request_of(&request.to_string())
}

/// The same, of the very bytes.
pub fn request_of(body: &str) -> ValidRequest {
    let bytes = body.as_bytes().to_vec();
    let mut text = Vec::new();
    let mut reader = Reader::default();
    reader.request(&members(Scratch::new(64).read(&bytes, &mut text).unwrap().root()).unwrap());
    ValidRequest::new(Body(Bytes::from(bytes)), text, reader.view)
}

fn members(value: Value<'_>) -> Option<Members<'_>> {
    if let Kind::Object(members) = value.kind() { Some(members) } else { None }
}

fn get<'d>(members: &Members<'d>, name: &str) -> Option<Value<'d>> {
    members.clone().find(|entry| entry.name == name).map(|entry| entry.value)
}

fn number(members: &Members<'_>, name: &str) -> Option<f64> {
    match get(members, name)?.kind() {
        Kind::Number(number) => Some(number.as_f64()),
        other => panic!("{name} is {other:?}"),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "test data is small")]
fn whole(members: &Members<'_>, name: &str) -> Option<u32> {
    number(members, name).map(|number| number as u32)
}

fn code(value: Option<Value<'_>>) -> Currency {
    match value.map(Value::kind) {
        Some(Kind::Text(code)) => currency(code),
        _ => Currency::USD,
    }
}

fn run(first: usize, end: usize) -> List {
    List { first: first.try_into().unwrap(), len: (end - first).try_into().unwrap() }
}

#[derive(Default)]
struct Reader {
    view: View,
}

impl Reader {
    fn request(&mut self, root: &Members<'_>) {
        self.view.objects.root = self.object(root.clone());
        self.view.id = get(root, "id").unwrap().text();
        self.view.auction_type = AuctionType::from_wire(whole(root, "at").unwrap().into()).unwrap();
        self.view.is_test = whole(root, "test") == Some(1);
        self.view.cattax = whole(root, "cattax").map(|n| n.try_into().unwrap());
        for (name, place) in [("bcat", 0), ("badv", 1), ("bapp", 2), ("wseat", 3), ("bseat", 4)] {
            let list = self.texts(root, name);
            *[
                &mut self.view.bcat,
                &mut self.view.badv,
                &mut self.view.bapp,
                &mut self.view.wseat,
                &mut self.view.bseat,
            ][place] = list;
        }
        if let Some(Kind::Array(codes)) = get(root, "cur").map(Value::kind) {
            self.view.currencies = codes.map(|one| code(Some(one))).collect();
        }
        let Some(Kind::Array(imps)) = get(root, "imp").map(Value::kind) else { panic!("no imp") };
        for (imp, position) in imps.zip(0..) {
            let mut imp = self.imp(&members(imp).unwrap());
            imp.position = position;
            self.view.imps.push(imp);
        }
    }

    fn imp(&mut self, members_of: &Members<'_>) -> Imp {
        let mut imp = Imp {
            id: get(members_of, "id").unwrap().text(),
            object: self.object(members_of.clone()),
            bidfloor: cpm(number(members_of, "bidfloor").unwrap_or(0.0)),
            bidfloorcur: code(get(members_of, "bidfloorcur")),
            is_secure: whole(members_of, "secure").map(|flag| flag == 1),
            is_interstitial: whole(members_of, "instl") == Some(1),
            exp: whole(members_of, "exp"),
            ..Imp::default()
        };
        let child = |name| get(members_of, name).and_then(members);
        if let Some(banner) = child("banner") {
            imp.media.insert(Media::Banner);
            imp.banner = self.banner(&banner);
        }
        if let Some(video) = child("video") {
            imp.media.insert(Media::Video);
            imp.video = self.stream(&video);
        }
        if let Some(audio) = child("audio") {
            imp.media.insert(Media::Audio);
            imp.audio = self.stream(&audio);
        }
        if let Some(native) = child("native") {
            imp.media.insert(Media::Native);
            imp.native = Native { battr: self.numbers(&native, "battr"), ..Native::default() };
        }
        if let Some(pmp) = child("pmp") {
            imp.is_private_auction = whole(&pmp, "private_auction") == Some(1);
            imp.deals = self.deals(&pmp);
        }
        imp
    }

    fn banner(&mut self, banner: &Members<'_>) -> Banner {
        let first = self.view.sizes.len();
        let mut is_flexible = false;
        if let Some(Kind::Array(formats)) = get(banner, "format").map(Value::kind) {
            for format in formats {
                let format = members(format).unwrap();
                is_flexible |= whole(&format, "wratio").is_some();
                if let (Some(w), Some(h)) = (whole(&format, "w"), whole(&format, "h")) {
                    self.view.sizes.push(Size { w, h });
                }
            }
        }
        let sizes = run(first, self.view.sizes.len());
        Banner { sizes, is_flexible, battr: self.numbers(banner, "battr"), ..Banner::default() }
    }

    fn stream(&mut self, stream: &Members<'_>) -> Stream {
        Stream {
            minduration: whole(stream, "minduration"),
            maxduration: whole(stream, "maxduration"),
            rqddurs: self.numbers(stream, "rqddurs"),
            battr: self.numbers(stream, "battr"),
            ..Stream::default()
        }
    }

    fn deals(&mut self, pmp: &Members<'_>) -> List {
        let first = self.view.deals.len();
        if let Some(Kind::Array(deals)) = get(pmp, "deals").map(Value::kind) {
            for deal in deals {
                let deal = members(deal).unwrap();
                let deal = Deal {
                    id: get(&deal, "id").unwrap().text(),
                    bidfloor: cpm(number(&deal, "bidfloor").unwrap_or(0.0)),
                    bidfloorcur: code(get(&deal, "bidfloorcur")),
                    at: whole(&deal, "at").and_then(|at| AuctionType::from_wire(at.into())),
                    wseat: self.texts(&deal, "wseat"),
                    wadomain: self.texts(&deal, "wadomain"),
                };
                self.view.deals.push(deal);
            }
        }
        run(first, self.view.deals.len())
    }

    fn object(&mut self, members: Members<'_>) -> Object {
        let first = self.view.members.len();
        let (open, close) = (members.open(), members.close());
        self.view.members.extend(members.map(|entry| entry.member()));
        Object { open, close, members: run(first, self.view.members.len()) }
    }

    fn texts(&mut self, members: &Members<'_>, name: &str) -> List {
        let first = self.view.texts.len();
        if let Some(Kind::Array(list)) = get(members, name).map(Value::kind) {
            self.view.texts.extend(list.map(Value::text));
        }
        run(first, self.view.texts.len())
    }

    fn numbers(&mut self, members: &Members<'_>, name: &str) -> List {
        let first = self.view.numbers.len();
        if let Some(Kind::Array(list)) = get(members, name).map(Value::kind) {
            for one in list {
                let Kind::Number(number) = one.kind() else { panic!("{name}") };
                self.view.numbers.push(number.as_i64().unwrap().try_into().unwrap());
            }
        }
        run(first, self.view.numbers.len())
    }
}
