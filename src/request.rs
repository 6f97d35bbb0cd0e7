//! The request once admitted: a view over its bytes.
//!
//! Owns: [`ValidRequest`] and the parts of its view. It is the vocabulary between `admit`,
//! which makes it, and every later stage, which reads it. Never: a rule, a rewritten byte.
//!
//! Two buffers of equal length stand behind a view: `body`, the bytes as they came, from which
//! outgoing requests are spliced; and `text`, a copy in which the JSON reader has un-escaped each
//! string in place. A string starts at the same offset in both, so [`Text`] reads from `text`
//! and [`Member`] and [`Element`] give spans of `body`.
//!
//! Invariant: a `ValidRequest` that exists passed every rule of `exchange.md` that costs a whole
//! request; an [`Imp`] in it passed every rule that costs an imp.

pub mod prebid;
pub mod stream;

use crate::arrival::Body;
use crate::domain::Host;
use crate::money::multiplier::Multiplier;
use crate::money::{Cpm, Currency};
use crate::openrtb::ids::{AuctionType, Channel, Country, Media, MediaSet};
use prebid::Prebid;
use std::net::IpAddr;
use std::ops::Range;
use stream::{ByDuration, DurFloor, PriceSpot, Stream};

/// A string value: a span of `ValidRequest::text`. Absent and empty are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Offset of the first byte (behind the opening quote).
    pub at: u32,
    /// Bytes after un-escaping.
    pub len: u32,
}

impl Text {
    /// Whether there is nothing to read.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// A run of entries in one of the view's arenas (`texts`, `sizes`, `deals`, `numbers`, ...).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Index of the first entry.
    pub first: u32,
    /// How many.
    pub len: u32,
}

impl List {
    /// As a range of indexes.
    pub fn range(self) -> Range<usize> {
        self.first as usize..(self.first + self.len) as usize
    }

    /// Whether it has no entry.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Keys of the members that the road reads or edits; every other key is [`Key::Other`].
///
/// One name in several objects (`id`, `ext`, `geo`) is one key: the object says which is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[rustfmt::skip]
pub enum Key {
    Other,
    Acat, Accuracy, Adid, Adm, Adomain, Allimps, Api, App, Asset, Assets, At, Attr, Atts, Audio, Badv, Banner, Bapp, Battr, Bcat, Bid, Bidderconfig, Bidders, Bidfloor,
    Bidfloorcur, Bidid, Brand, Brands, Browsers, Bseat, Bundle, Burl, Buyeruid, Buyeruids, Carrier, Cat, Cattax, Cid, City,
    Connectiontype, Consent, Content, Coppa, Country, Crid, Cur, Customdata, Data, Dealid, Deals, Device,
    Devicetype, Didmd5, Didsha1, Dnt, Domain, Dooh, Dpidmd5, Dpidsha1, Dur, Durfloors, Eidpermissions, Eids, Exp, Expdir, Ext,
    Format, Gdpr, Gender, Geo, Gpc, Gpp, GppSid, Group, H, Hmax, Hmin, Hratio, Hwv, Id, Ifa, Imp, Impid, Instl, Ip,
    Ipservice, Ipv6, Keywords, Kwarray, Language, Lastfix, Lat, Lmt, Lon, Lurl, Macmd5, Macsha1, Make,
    Maxdur, Maxduration, Maxextended, Maxseq, Metric, Metro, Mimes, Mincpmpersec, Mindur, Minduration, Mobile, Model, Mtype, Multiplier, Name, Native, Nbr, Nodes, Nurl, Os,
    Osv, Page, PageViewIds, Placement, Platform, Plcmt, Pmp, Poddedupe, Poddur, Podid, Pos, Prebid, Price, PrivateAuction, Protocols, Publisher,
    Qty, Ref, Region, Regs, Request, Rqddurs, Rwdd, Schain, Seat, Seatbid, Secure, Site, Slotinpod, Source, Startdelay, Storeurl,
    Sua, Test, Tid, Tmax, Topframe, Type, Ua, Uids, User, UsPrivacy, Utcoffset, Ver, Version,
    Video, Vcm, W, Wadomain, Wlang, Wlangb, Wmax, Wmin, Wratio, Wseat, Yob, Zip,
}

/// One member of an object: spans of the original bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub key: Key,
    /// Offset of the key's opening quote.
    pub key_at: u32,
    /// Offset of the value's first byte (a string's opening quote included).
    pub value_at: u32,
    /// Offset behind the value's last byte.
    pub value_end: u32,
}

/// An object that the road edits: where it is, and each of its members in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Offset of `{`.
    pub open: u32,
    /// Offset of the matching `}`.
    pub close: u32,
    /// In `View::members`.
    pub members: List,
}

/// One element of an array: spans of the original bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// Offset of the first byte.
    pub at: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

/// Width and height in device-independent pixels; 0 where the request names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Size {
    pub w: u32,
    pub h: u32,
}

/// A size as a ratio (3.2.10): `wratio` to `hratio`, both above zero, from `wmin` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    pub w: u32,
    pub h: u32,
    /// Least width in device-independent pixels.
    pub wmin: u32,
}

/// `imp.banner`, as far as the road reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Banner {
    /// Fixed sizes of `format[]`, else the one of `w`/`h`; in `View::sizes`.
    pub sizes: List,
    /// Flexible sizes of `format[]`; in `View::ratios`. Both empty: any (interstitial).
    pub ratios: List,
    /// `wmin`, `wmax`, `hmin` or `hmax` of before 2.6 name a range of sizes: from `least` to `most`,
    /// where 0 is no bound.
    pub is_ranged: bool,
    pub least: Size,
    pub most: Size,
    /// In `View::numbers`.
    pub battr: List,
}

/// `imp.native`, as far as the road reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native {
    /// The native markup request, JSON in a string (or, leniently, an object); checked to parse.
    pub request: Text,
    pub battr: List,
}

/// `imp.pmp.deals[]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deal {
    pub id: Text,
    /// In `bidfloorcur`; zero where absent.
    pub bidfloor: Cpm,
    pub bidfloorcur: Currency,
    /// In `bidfloorcur`, beside `bidfloor`.
    pub floors: ByDuration,
    /// `None`: as the request's.
    pub at: Option<AuctionType>,
    /// `at` is a type of the partner's own (500 and above), by which we cannot clear.
    pub is_foreign: bool,
    /// In `View::texts`; empty: any.
    pub wseat: List,
    pub wadomain: List,
}

/// One impression that can be sold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Imp {
    pub id: Text,
    /// Its position in the request's `imp` array (refused ones keep theirs).
    pub position: u32,
    /// For edits.
    pub object: Object,
    /// `ext`, for edits (`rwdd` moves between it and the imp).
    pub ext: Option<Object>,
    pub media: MediaSet,
    pub banner: Banner,
    pub video: Stream,
    pub audio: Stream,
    pub native: Native,
    pub bidfloor: Cpm,
    /// What came lies below it: between two micros, nearer to the lower one.
    pub is_floor_raised: bool,
    pub bidfloorcur: Currency,
    /// `secure`: `None` where absent.
    pub is_secure: Option<bool>,
    pub is_interstitial: bool,
    /// Seconds; `None` where absent.
    pub exp: Option<u32>,
    /// How many impressions it is; `None` where it has no `qty`: one.
    pub multiplier: Option<Multiplier>,
    pub is_private_auction: bool,
    /// In `View::deals`.
    pub deals: List,
    /// In `View::price_spots`: all that stand in this imp.
    pub price_spots: List,
    /// `pmp`, for edits.
    pub pmp: Option<Object>,
}

impl Imp {
    /// Its video or audio.
    pub fn stream(&self, media: Media) -> Option<&Stream> {
        match media {
            Media::Video => Some(&self.video),
            Media::Audio => Some(&self.audio),
            Media::Banner | Media::Native => None,
        }
    }
}

/// `site`, `app` or `dooh`, as far as the road reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inventory {
    pub id: Text,
    pub name: Text,
    /// Lower-casing and a trailing dot are the reader's business.
    pub domain: Text,
    pub page: Text,
    pub bundle: Text,
    pub storeurl: Text,
    pub publisher_id: Text,
    /// In `View::texts`.
    pub cat: List,
}

/// `device`, as far as the road reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceFields {
    pub ua: Text,
    pub ip: Option<IpAddr>,
    pub ipv6: Option<IpAddr>,
    pub devicetype: Option<u8>,
    pub make: Text,
    pub model: Text,
    pub os: Text,
    pub osv: Text,
    pub language: Text,
    pub ifa: Text,
    pub is_limited: bool,
    pub is_do_not_track: bool,
    /// `ext.atts` is 0, 1 or 2: nobody allowed the app to track the user.
    pub is_tracking_denied: bool,
    pub connectiontype: Option<u8>,
    pub country: Option<Country>,
    pub region: Text,
    pub geo_type: Option<u8>,
    pub sua: Option<Sua>,
}

/// `device.sua` (structured user agent, 3.2.29).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sua {
    /// `platform.brand` and `platform.version[]` (in `View::texts`).
    pub platform: Text,
    pub platform_version: List,
    /// `browsers[].brand`, in `View::texts`.
    pub browsers: List,
    pub is_mobile: Option<bool>,
    pub model: Text,
}

/// `user`, as far as the road reads it (`consent` and `eids` also from `user.ext`).
#[derive(Clone, Copy, Debug, Default)]
pub struct UserFields {
    pub id: Text,
    pub buyeruid: Text,
    pub consent: Text,
    /// `eids[].source`, in `View::texts`.
    pub eid_sources: List,
    /// The first `uids[].id` of each of them; empty where it has none.
    pub eid_uids: List,
}

/// `regs` (also from `regs.ext`). `None`: absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegsFields {
    pub is_coppa: bool,
    /// Global Privacy Control: `gpc` is 1.
    pub is_gpc: bool,
    pub gdpr: Option<bool>,
    pub us_privacy: Text,
    pub gpp: Text,
    /// In `View::numbers`.
    pub gpp_sid: List,
    /// A privacy signal was present and not readable: the strictest reading applies.
    pub is_malformed: bool,
}

/// The objects that the road edits, where the request has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Objects {
    pub root: Object,
    pub device: Option<Object>,
    pub device_ext: Option<Object>,
    pub device_geo: Option<Object>,
    pub user: Option<Object>,
    pub user_ext: Option<Object>,
    pub user_geo: Option<Object>,
    pub regs: Option<Object>,
    pub regs_ext: Option<Object>,
    pub source: Option<Object>,
    pub source_ext: Option<Object>,
    /// `source.schain`, or else `source.ext.schain`.
    pub schain: Option<Object>,
    /// Its `nodes`: the array's own span, and how many.
    pub schain_nodes: Option<(Element, u32)>,
}

/// Everything that was read, by value; strings and lists are spans and runs.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub id: Text,
    pub objects: Objects,
    pub prebid: Prebid,
    /// Those that passed; never empty.
    pub imps: Vec<Imp>,
    /// How many `imp` elements came in, refused ones included.
    pub imps_received: u32,
    /// Each element of the original `imp` array, refused ones included.
    pub imp_elements: Vec<Element>,
    pub is_test: bool,
    pub auction_type: AuctionType,
    /// Whether `at` was on the wire.
    pub has_auction_type: bool,
    pub tmax_ms: Option<u32>,
    pub currencies: Vec<Currency>,
    pub channel: Channel,
    pub inventory: Inventory,
    pub device: DeviceFields,
    pub user: UserFields,
    pub regs: RegsFields,
    /// In `texts`. `acat` and `bcat` are of taxonomy `cattax`.
    pub acat: List,
    pub bcat: List,
    pub badv: List,
    pub bapp: List,
    pub wseat: List,
    pub bseat: List,
    /// 0: of a number that is none.
    pub cattax: Option<u16>,

    /// Arenas that the lists above run over.
    pub texts: Vec<Text>,
    pub numbers: Vec<i32>,
    pub sizes: Vec<Size>,
    pub ratios: Vec<Ratio>,
    pub dur_floors: Vec<DurFloor>,
    /// Floors by duration and of deals, in the order in which they came.
    pub price_spots: Vec<PriceSpot>,
    pub deals: Vec<Deal>,
    pub members: Vec<Member>,
}

impl View {
    /// Makes it as if nothing had been read, with the memory that is in use. In place, since a
    /// view is large; each field by its name, so that one that is forgotten does not compile.
    #[rustfmt::skip]
    pub fn clear(&mut self) {
        let Self {
            id, objects, prebid, imps, imps_received, imp_elements, is_test, auction_type,
            has_auction_type, tmax_ms, currencies, channel, inventory, device, user, regs,
            acat, bcat, badv, bapp, wseat, bseat, cattax, texts, numbers, sizes, ratios,
            dur_floors, price_spots, deals, members,
        } = self;
        (*id, *objects, *imps_received, *is_test) = Default::default();
        (*auction_type, *has_auction_type, *tmax_ms, *channel) = Default::default();
        (*inventory, *device, *user, *regs) = Default::default();
        (*acat, *bcat, *badv, *bapp, *wseat, *bseat, *cattax) = Default::default();
        prebid.clear();
        imps.clear();
        imp_elements.clear();
        currencies.clear();
        texts.clear();
        numbers.clear();
        sizes.clear();
        ratios.clear();
        dur_floors.clear();
        price_spots.clear();
        deals.clear();
        members.clear();
    }
}

/// A request that may be auctioned.
#[derive(Debug)]
pub struct ValidRequest {
    body: Body,
    text: Vec<u8>,
    /// What was read. Boxed, since a request moves from stage to stage and a view is large.
    pub view: Box<View>,
}

impl ValidRequest {
    /// Puts the parts together; `admit` alone calls it.
    pub fn new(body: Body, text: Vec<u8>, view: Box<View>) -> Self {
        Self { body, text, view }
    }

    /// Takes apart a request that has ended: its two buffers, to be emptied and filled again.
    pub fn into_buffers(self) -> (Vec<u8>, Box<View>) {
        (self.text, self.view)
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        self.body.as_slice()
    }

    /// A string; empty where it is absent.
    pub fn text(&self, text: Text) -> &str {
        let (at, len) = (text.at as usize, text.len as usize);
        self.text.get(at..at + len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }

    /// A string's bytes, for comparing: cheaper than [`Self::text`], which checks that they are
    /// UTF-8 (they are, or there would be no request).
    pub fn text_bytes(&self, text: Text) -> &[u8] {
        let (at, len) = (text.at as usize, text.len as usize);
        self.text.get(at..at + len).unwrap_or_default()
    }

    /// The strings of a list.
    pub fn texts(&self, list: List) -> impl Iterator<Item = &str> {
        self.view.texts.get(list.range()).unwrap_or_default().iter().map(|text| self.text(*text))
    }

    /// The bytes of the strings of a list, for comparing.
    pub fn texts_bytes(&self, list: List) -> impl Iterator<Item = &[u8]> {
        let texts = self.view.texts.get(list.range()).unwrap_or_default();
        texts.iter().map(|text| self.text_bytes(*text))
    }

    /// The site that is named: by its domain, or else by its page; and beside a domain that of the page,
    /// which may be another.
    pub fn sites(&self) -> (Host<'_>, Host<'_>) {
        let Inventory { domain, page, .. } = self.view.inventory;
        let [domain, page] = [domain, page].map(|text| Host::of(self.text_bytes(text)));
        if domain.bytes().is_empty() { (page, Host::default()) } else { (domain, page) }
    }

    /// The numbers of a list.
    pub fn numbers(&self, list: List) -> &[i32] {
        self.view.numbers.get(list.range()).unwrap_or_default()
    }

    /// The sizes of a list.
    pub fn sizes(&self, list: List) -> &[Size] {
        self.view.sizes.get(list.range()).unwrap_or_default()
    }

    /// The ratios of a list.
    pub fn ratios(&self, list: List) -> &[Ratio] {
        self.view.ratios.get(list.range()).unwrap_or_default()
    }

    /// The floors by duration of a list.
    pub fn dur_floors(&self, list: List) -> &[DurFloor] {
        self.view.dur_floors.get(list.range()).unwrap_or_default()
    }

    /// The price spots of a list.
    pub fn price_spots(&self, list: List) -> &[PriceSpot] {
        self.view.price_spots.get(list.range()).unwrap_or_default()
    }

    /// The deals of a list.
    pub fn deals(&self, list: List) -> &[Deal] {
        self.view.deals.get(list.range()).unwrap_or_default()
    }

    /// The members of an object, in their order.
    pub fn members(&self, object: &Object) -> &[Member] {
        self.view.members.get(object.members.range()).unwrap_or_default()
    }

    /// One member of an object.
    pub fn member(&self, object: &Object, key: Key) -> Option<&Member> {
        self.members(object).iter().find(|member| member.key == key)
    }

    /// The original bytes of a member's value.
    pub fn value(&self, member: &Member) -> &[u8] {
        self.bytes().get(member.value_at as usize..member.value_end as usize).unwrap_or_default()
    }
}
