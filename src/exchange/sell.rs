//! What a win becomes on its way out: macros settled, notices of the bidder's replaced by ours.
//!
//! Owns: [`Seller`] and [`Sale`]: whose price stands where, and how long a token lives: as long as is
//! set for what is sold, or longer, as long as the sale may wait to be shown (`exp` of the bid, else of
//! the imp), which is cut in our answer to what any token may live. Never: who
//! wins, the order of members in our answer. Invariants: a macro in what a bidder sent gets the
//! bidder's own price, in its currency, never the net; where a bidder has its price sealed, nobody on
//! the way to it can read it.

use crate::auction::offer::{Answered, AuctionResult, Win};
use crate::bid::Bid;
use crate::bidder::Bidder;
use crate::macros::seal::{self, PriceKeys, Sealed};
use crate::macros::{self, Macros, Open};
use crate::money::Currency;
use crate::money_event::{Amount, EventType, MoneyEvent, SaleId, URL_BYTES_MAX};
use crate::openrtb::ids::{Channel, Media};
use crate::partner::Partner;
use crate::request::{Key, ValidRequest};
use crate::token::Claims;
use crate::token::issuer::Issuer;
use memchr::memmem;
use std::time::Duration;

/// What all sales of one auction have in common.
#[derive(Clone, Copy, Debug)]
pub struct Seller<'a> {
    pub partner: &'a Partner,
    /// By their ids.
    pub bidders: &'a [Bidder],
    /// The price of one that takes part is sealed.
    pub hides_prices: bool,
    /// `None`: bids keep the notices of their bidders.
    pub issuer: Option<&'a Issuer>,
    /// Of this process: what ids of sales are cut from.
    pub secret: &'a [u8; 32],
    /// Unique in this process.
    pub serial: u64,
    pub generation: u64,
    /// When the request came, since the epoch.
    pub wall: Duration,
}

/// A win with the bytes behind it.
#[derive(Clone, Copy, Debug)]
pub struct Sale<'a> {
    pub request: &'a ValidRequest,
    pub win: &'a Win,
    pub answered: &'a Answered<'a>,
    pub bid: &'a Bid,
    pub seat: &'a [u8],
    /// Of our answer.
    pub currency: Currency,
}

/// The notices of a bid and the events that they tell of.
const NOTICES: [(Key, EventType, &[u8]); 3] = [
    (Key::Nurl, EventType::Win, b"\"nurl\":\""),
    (Key::Burl, EventType::Billing, b"\"burl\":\""),
    (Key::Lurl, EventType::Loss, b"\"lurl\":\""),
];

impl<'a> Seller<'a> {
    /// One that takes no events: bids keep the notices of their bidders, macros settled.
    pub fn plain(partner: &'a Partner) -> Self {
        let (serial, generation, wall) = (0, 0, Duration::ZERO);
        let (bidders, issuer, secret) = (&[][..], None, &[0; 32]);
        Self { partner, bidders, hides_prices: false, issuer, secret, serial, generation, wall }
    }

    /// Whether a bid's own member is left out, since one of ours comes in its place.
    pub fn replaces(&self, sale: &Sale<'_>, key: Key) -> bool {
        self.issuer(sale).is_some()
            && match key {
                Key::Nurl => !self.is_markup(sale),
                Key::Burl | Key::Lurl => true,
                Key::Exp => self.shortened(sale).is_some(),
                _ => false,
            }
    }

    /// The `exp` of a sale that would be shown later than any event of it is taken.
    fn shortened(&self, sale: &Sale<'_>) -> Option<u64> {
        let most = self.issuer(sale)?.ttl_max().as_secs();
        sale.exp().filter(|exp| exp.as_secs() > most).map(|_| most)
    }

    /// Nothing is billed for a test.
    fn issuer(&self, sale: &Sale<'_>) -> Option<&'a Issuer> {
        self.issuer.filter(|_| !sale.request.view.is_test)
    }

    /// The bid's `nurl` gives its markup: who shows it must call it, and not us.
    fn is_markup(&self, sale: &Sale<'_>) -> bool {
        self.partner.allows_nurl_markup && !sale.answered.answer.has_markup(sale.bid)
    }

    /// Appends a bidder's URL or markup, a value as it stands in JSON, with its macros settled.
    /// `plain` is the same without escapes.
    pub fn write_settled(
        &self,
        sale: &Sale<'_>,
        key: Key,
        (value, plain): (&[u8], &[u8]),
        out: &mut Vec<u8>,
    ) {
        if !macros::are_in(plain) {
            out.extend_from_slice(value);
        } else if memmem::find(value, br"\u00").is_none() {
            self.passing(sale, key).expand(value, out);
        } else {
            // a letter of a macro may be escaped
            let mut settled = Vec::with_capacity(plain.len());
            self.passing(sale, key).expand(plain, &mut settled);
            super::respond::write_text(out, &settled);
        }
    }

    /// What stands in markup and URLs that go through the partner and the page. What would have
    /// won is nearly a price, the sale's own or another one's: where any is sealed, nobody's shows it.
    pub fn passing<'b>(&self, sale: &Sale<'b>, key: Key) -> Macros<'b>
    where
        'a: 'b,
    {
        // what is known only later, and by others
        let open = match key {
            Key::Adm if !self.partner.passes_adm_macros => Open::Nothing,
            _ => Open::Upstream,
        };
        let known = self.macros(sale, open);
        Macros {
            min_to_win: known.min_to_win.filter(|_| !self.hides_prices),
            // by its ratio to the price
            bid: known.bid.filter(|_| known.sealed.is_none()),
            ..known
        }
    }

    /// What a sale's bidder may know.
    fn macros<'b>(&self, sale: &Sale<'b>, open: Open) -> Macros<'b>
    where
        'a: 'b,
    {
        let Sale { request, win, answered, bid, seat, .. } = *sale;
        let imp = request.view.imps.get(win.imp as usize);
        let answer = answered.answer;
        let (keys, is_test) = (self.price_keys(sale), request.view.is_test);
        // a test's could be put in the place of one that is paid
        let sealed = keys.filter(|_| !is_test).and_then(|keys| self.sealed(sale, keys));
        let is_told = keys.is_none() || sealed.is_some();
        Macros {
            auction_id: request.text(request.view.id),
            bid_id: answer.text(answer.bidid),
            imp_id: imp.map_or("", |imp| request.text(imp.id)),
            seat_id: std::str::from_utf8(seat).unwrap_or(""),
            ad_id: answer.text(bid.adid),
            price: Some(win.clearing_in_bid_currency).filter(|_| is_told),
            bid: Some(win.price),
            currency: answer.currency,
            loss: None,
            min_to_win: win.min_to_win,
            multiplier: imp.and_then(|imp| imp.multiplier),
            imp_ts: None,
            is_test,
            open,
            sealed,
        }
    }

    fn price_keys(&self, sale: &Sale<'_>) -> Option<&'a PriceKeys> {
        let bidder = self.bidders.get(usize::from(sale.answered.bidder.0))?;
        bidder.notices.price_keys.as_ref()
    }

    /// A sale has one price, and a number that no other has and that says nothing of its id.
    fn sealed(&self, sale: &Sale<'_>, keys: &PriceKeys) -> Option<Sealed> {
        let mut hasher = blake3::Hasher::new_keyed(self.secret);
        hasher.update(b"price");
        hasher.update(&self.sale_id(sale).bits().to_le_bytes());
        let chance = hasher.finalize().as_bytes().first_chunk().copied()?;
        keys.seal(sale.win.clearing_in_bid_currency, seal::number(self.wall, chance))
    }

    /// Appends our notices, and an `exp` that is shorter than the bid's, a comma behind each.
    pub fn write_notices(&self, sale: &Sale<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        let Some(issuer) = self.issuer(sale) else { return };
        if let Some(exp) = self.shortened(sale) {
            out.extend_from_slice(b"\"exp\":");
            out.extend_from_slice(itoa::Buffer::new().format(exp).as_bytes());
            out.push(b',');
        }
        let (id, known) = (self.sale_id(sale), self.macros(sale, Open::Outcome));
        for (key, event, name) in NOTICES {
            if !self.replaces(sale, key) {
                continue;
            }
            let url = notice(sale, key, &known);
            out.extend_from_slice(name);
            issuer.write_url(&self.claims(sale, (id, event), issuer, &url), scratch, out);
            out.extend_from_slice(b"\",");
        }
    }

    /// The win of each bid in our answer, where the partner holds no auction behind ours: the event
    /// that its call of our `nurl` would be, so that with that call it still counts once.
    pub fn won(
        &self,
        request: &ValidRequest,
        answers: &[Answered<'_>],
        result: &AuctionResult,
    ) -> Vec<MoneyEvent> {
        if !self.partner.awards_by_answer {
            return Vec::new();
        }
        let sale = |win| Sale::of(request, win, answers, result.currency);
        let sales = result.wins.iter().filter_map(sale);
        sales.filter_map(|sale| self.win(&sale)).collect()
    }

    fn win(&self, sale: &Sale<'_>) -> Option<MoneyEvent> {
        let issuer = self.issuer(sale).filter(|_| self.replaces(sale, Key::Nurl))?;
        // 4.4: a win's loss reason is 0
        let known = Macros { loss: Some(0), ..self.macros(sale, Open::Nothing) };
        let id = (self.sale_id(sale), EventType::Win);
        let claims = self.claims(sale, id, issuer, "");
        Some(claims.event(claims.auction_us, notice(sale, Key::Nurl, &known)))
    }

    /// 128 bits that no other sale has, of whichever process, and that nobody can guess.
    fn sale_id(&self, sale: &Sale<'_>) -> SaleId {
        let mut hasher = blake3::Hasher::new_keyed(self.secret);
        hasher.update(&self.serial.to_le_bytes());
        hasher.update(&self.wall.as_nanos().to_le_bytes());
        for part in [sale.win.at.answer, sale.win.at.bid, sale.win.imp] {
            hasher.update(&part.to_le_bytes());
        }
        let bits = hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default();
        SaleId::new(u128::from_le_bytes(bits))
    }

    fn claims<'b>(
        &self,
        sale: &Sale<'b>,
        (id, event): (SaleId, EventType),
        issuer: &Issuer,
        url: &'b str,
    ) -> Claims<'b>
    where
        'a: 'b,
    {
        let Sale { request, win, answered, bid, seat, currency } = *sale;
        let imp = request.view.imps.get(win.imp as usize);
        let ttl = match win.media {
            Media::Banner | Media::Native if request.view.channel == Channel::Site => {
                issuer.banner_ttl
            }
            _ => issuer.video_ttl,
        };
        let ttl = ttl.max(sale.exp().unwrap_or_default()).min(issuer.ttl_max());
        Claims {
            event,
            sale: id,
            auction_id: request.text(request.view.id),
            imp_id: imp.map_or("", |imp| request.text(imp.id)),
            partner: &self.partner.name,
            bidder: answered.name,
            seat: std::str::from_utf8(seat).unwrap_or(""),
            deal: if win.is_deal { answered.answer.text(bid.dealid) } else { "" },
            gross: Amount {
                price: win.clearing_in_bid_currency,
                currency: answered.answer.currency.unwrap_or_default(),
            },
            net: Amount { price: win.net, currency },
            multiplier: imp.and_then(|imp| imp.multiplier).unwrap_or_default(),
            min_to_win: win.min_to_win,
            generation: self.generation,
            auction_us: u64::try_from(self.wall.as_micros()).unwrap_or(u64::MAX),
            expires_s: (self.wall + ttl).as_secs(),
            url,
        }
    }
}

impl<'a> Sale<'a> {
    /// The win's; `None`: its bid is not among the answers.
    pub fn of(
        request: &'a ValidRequest,
        win: &'a Win,
        answers: &'a [Answered<'a>],
        currency: Currency,
    ) -> Option<Self> {
        let (answered, seatbid, bid) = win.at.resolve(answers)?;
        Some(Self { request, win, answered, bid, seat: answered.seat_name(seatbid), currency })
    }

    /// How long it may wait to be shown: as its bid says, else its imp (4.2.3, 3.2.4).
    fn exp(&self) -> Option<Duration> {
        let imp = self.request.view.imps.get(self.win.imp as usize)?;
        self.bid.exp.or(imp.exp).map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// The bidder's own notice, with what is known settled. Screening lets none pass that grows over the
/// limit of a notice.
fn notice(sale: &Sale<'_>, key: Key, known: &Macros<'_>) -> String {
    let answer = sale.answered.answer;
    let text = answer.text_bytes(match key {
        Key::Nurl => sale.bid.nurl,
        Key::Burl => sale.bid.burl,
        _ => sale.bid.lurl,
    });
    if text.is_empty() {
        return String::new();
    }
    let mut url = Vec::with_capacity(text.len());
    known.expand(text, &mut url);
    let is_short = url.len() <= URL_BYTES_MAX;
    String::from_utf8(url).ok().filter(|_| is_short).unwrap_or_default()
}
