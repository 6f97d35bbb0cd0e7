//! A bidder's answer as received: a view over its bytes.
//!
//! Owns: [`BidAnswer`], [`SeatBid`] and [`Bid`], the vocabulary between `bidder::answer`, which
//! reads them, and `auction`, which judges them. Never: a rule.
//!
//! As for requests, two buffers stand behind it: `text` with strings un-escaped, `body` as it
//! came, so that a winner's markup is copied into our answer without being escaped again.

use crate::money::Currency;
use crate::request::{Element, List, Member, Text};

/// One bid (`OpenRTB` 2.6, 4.2.3), unchecked but for its JSON types.
#[derive(Clone, Debug, Default)]
pub struct Bid {
    pub id: Text,
    pub impid: Text,
    /// As on the wire; `None` where absent or not a number.
    pub price: Option<f64>,
    pub adm: Text,
    /// Where `adm` is a JSON object and no string: its bytes in `BidAnswer::body`, of which `adm`
    /// is then a copy.
    pub adm_object: Option<Element>,
    pub adid: Text,
    pub crid: Text,
    pub cid: Text,
    pub dealid: Text,
    pub nurl: Text,
    pub burl: Text,
    pub lurl: Text,
    pub bundle: Text,
    /// In `BidAnswer::texts`.
    pub adomain: List,
    pub cat: List,
    pub cattax: Option<u16>,
    /// In `BidAnswer::numbers`.
    pub attr: List,
    pub mtype: Option<i64>,
    pub w: Option<u32>,
    pub h: Option<u32>,
    pub wratio: Option<u32>,
    pub hratio: Option<u32>,
    pub dur: Option<u32>,
    pub exp: Option<u32>,
    /// Which of those are there and are no number of that kind: not to be taken for absent ones.
    pub unreadable: Unreadable,
    /// It is no object, has a name twice (letter case aside), or one of the members by which ads are
    /// blocked says what nobody can read: it cannot be judged.
    pub is_malformed: bool,
    /// `slotinpod`: the place of a pod that it is for; 0: any.
    pub slotinpod: i32,
    /// Every member of the bid that may stand in our answer; in `BidAnswer::members`.
    pub members: List,
    /// Offsets of the bid's braces in the original bytes.
    pub open: u32,
    pub close: u32,
}

/// Members of a bid that say something which nobody can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// One of `w`, `h`, `wratio` and `hratio`.
    pub size: bool,
    pub dur: bool,
    pub exp: bool,
}

/// One seat's bids.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeatBid {
    pub seat: Text,
    /// `group`: all or none may win.
    pub is_group: bool,
    /// In `BidAnswer::bids`.
    pub bids: List,
}

/// A bidder's whole answer.
#[derive(Clone, Debug, Default)]
pub struct BidAnswer {
    /// As it came (decoded); and the copy with strings un-escaped in place.
    pub body: Vec<u8>,
    pub text: Vec<u8>,
    pub id: Text,
    pub bidid: Text,
    /// `cur`; USD where absent, `None` where it is no currency code.
    pub currency: Option<Currency>,
    /// Why the bidder did not bid, where it said so.
    pub nbr: Option<u16>,
    pub seats: Vec<SeatBid>,
    pub bids: Vec<Bid>,
    pub texts: Vec<Text>,
    pub numbers: Vec<i32>,
    pub members: Vec<Member>,
}

impl BidAnswer {
    /// Nothing read, but with the memory that was in use.
    pub fn clear(&mut self) {
        let Self { body, text, id, bidid, currency, nbr, seats, bids, texts, numbers, members } =
            self;
        (*id, *bidid, *currency, *nbr) = (Text::default(), Text::default(), None, None);
        body.clear();
        text.clear();
        seats.clear();
        bids.clear();
        texts.clear();
        numbers.clear();
        members.clear();
    }

    /// A string; empty where it is absent.
    pub fn text(&self, text: Text) -> &str {
        let (at, len) = (text.at as usize, text.len as usize);
        self.text.get(at..at + len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// A string's bytes: cheaper than [`Self::text`], which checks that they are UTF-8 (they are,
    /// or there would be no answer).
    pub fn text_bytes(&self, text: Text) -> &[u8] {
        let (at, len) = (text.at as usize, text.len as usize);
        self.text.get(at..at + len).unwrap_or_default()
    }

    /// Whether a bid has its markup in it.
    pub fn has_markup(&self, bid: &Bid) -> bool {
        !self.text_bytes(bid.adm).trim_ascii().is_empty()
    }

    /// The bytes of the strings of a list.
    pub fn texts_bytes(&self, list: List) -> impl Iterator<Item = &[u8]> {
        self.texts.get(list.range()).unwrap_or_default().iter().map(|text| self.text_bytes(*text))
    }

    /// The numbers of a list.
    pub fn numbers(&self, list: List) -> &[i32] {
        self.numbers.get(list.range()).unwrap_or_default()
    }

    /// The bids of a seat.
    pub fn bids(&self, seat: &SeatBid) -> &[Bid] {
        self.bids.get(seat.bids.range()).unwrap_or_default()
    }

    /// Every member of a bid.
    pub fn members(&self, bid: &Bid) -> &[Member] {
        self.members.get(bid.members.range()).unwrap_or_default()
    }

    /// The original bytes of a member's value.
    pub fn value(&self, member: &Member) -> &[u8] {
        self.body.get(member.value_at as usize..member.value_end as usize).unwrap_or_default()
    }
}
