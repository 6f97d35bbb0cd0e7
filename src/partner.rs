//! What is agreed with a partner: an upstream that sends us bid requests.
//!
//! Owns: [`Partner`], resolved from configuration, held in the snapshot. Never: a decision.

use crate::deadline::DeadlineSettings;
use crate::domain::Host;
use crate::money::margin::TakeRate;
use crate::money::{Cpm, Currency};
use crate::openrtb::ids::{AuctionType, Channel, Media, MediaSet};
use std::net::IpAddr;

/// One partner.
#[derive(Clone, Debug)]
pub struct Partner {
    /// Its name in the path, in metrics and in the state that survives a reload.
    pub name: String,
    /// BLAKE3 of each key that is valid now (several while a key is rotated).
    /// Empty: no key is asked for (only for listeners that a mesh protects).
    pub key_hashes: Vec<[u8; 32]>,
    /// Where it may call from; empty: anywhere.
    pub sources: Vec<Network>,
    /// Requests a second of this process: its part of what is agreed; `None`: no limit.
    pub qps: Option<u32>,
    /// Its `tmax` rules.
    pub deadline: DeadlineSettings,
    /// Refuse a whole request for one invalid imp.
    pub is_strict: bool,
    /// Whether a request with none of site, app and dooh is taken.
    pub allows_unknown_channel: bool,
    /// Channels it may send; one flag for each of `Channel::ALL`.
    pub channels: [bool; Channel::ALL.len()],
    /// Media it may send.
    pub media: MediaSet,
    /// `Some`: whatever the request's `at` says.
    pub auction_type: Option<AuctionType>,
    /// What prices in our answer are in, where the request's `cur` allows it.
    pub currency: Currency,
    /// Lowest floor, in `currency`, added to the request's own.
    pub floor: Cpm,
    /// What we keep of what bidders pay.
    pub margin: Margin,
    /// What is agreed of deals, by their ids.
    pub deals: DealTerms,
    /// Most bids for one imp in our answer: more than 1 for a partner that holds an auction behind
    /// ours.
    pub multibid: u8,
    /// No two ads of one pod are of one category, where the request does not say (`poddedupe`).
    pub separates_categories: bool,
    /// Merged with the request's lists.
    /// `bcat` is of Content Taxonomy 1.0, whatever taxonomy a request's is of.
    pub bcat: Vec<String>,
    pub badv: Vec<String>,
    pub bapp: Vec<String>,
    /// Creatives that are never shown.
    pub creatives_blocked: Vec<CreativeBlock>,
    /// How a request without a win is answered.
    pub no_bid: NoBidStyle,
    /// How a request over the QPS or under overload is answered.
    pub shed: ShedStyle,
    /// A request with the header `x-gavel-replay` is a test, whatever its body says.
    pub honours_replay: bool,
    /// Whether `test=1` gets the explanation in `ext.gavel`.
    pub may_debug: bool,
    /// Our node of `source.schain` for this partner's traffic; `None`: the chain is passed as is.
    pub schain: Option<SchainNode>,
    /// Traffic of these kinds is refused before any bidder is called.
    pub blocks: TrafficBlocks,
    /// Users call us themselves through it (a page, an SDK): the client's address is the user's,
    /// whatever the request says. Else the client is the partner's server.
    pub is_direct: bool,
    /// Its inventory takes only what is loaded over https: an imp that does not say counts as
    /// secure.
    pub is_secure: bool,
    /// Whether a bid without `adm` may be served from its `nurl`.
    pub allows_nurl_markup: bool,
    /// `${AUCTION_LOSS}` and `${AUCTION_IMP_TS}` in markup are left to it; else they become empty.
    pub passes_adm_macros: bool,
    /// It holds no auction behind ours, and calls no `nurl`: a bid in our answer has won.
    pub awards_by_answer: bool,
    /// Bids over this are taken for mistakes (in `currency`); `None`: over [`Partner::BID_MAX`].
    pub bid_max: Option<Cpm>,
    /// Whose pages may call us from a browser.
    pub origins: Origins,
}

/// Web origins (RFC 6454), such as `https://www.example.com`; sorted by construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// `*`: of anybody.
    is_any: bool,
    named: Vec<String>,
}

/// What we keep of what bidders pay: of each price in the open auction, and of deals only where
/// that is agreed (implementation notes, 7.3: no silent discounts on deals).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Margin {
    pub open: TakeRate,
    /// Under deals that have no rate of their own.
    pub on_deals: TakeRate,
    /// For publishers (`publisher.id`) with another rate than `open`. Sorted by construction.
    publishers: Vec<(String, TakeRate)>,
}

/// What is agreed of deals with a partner. Sorted by id by construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DealTerms(Vec<DealTerm>);

/// What is agreed of one deal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DealTerm {
    pub id: String,
    /// 1 to [`DealTerms::TIERS`]: a deal of tier 1 comes before one of tier 2, whatever the prices.
    pub tier: u8,
    /// `None`: as the partner's other deals.
    pub take_rate: Option<TakeRate>,
}

/// An address range, such as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    /// Leading bits that count; at most 32 or 128.
    pub prefix: u8,
}

/// The answer to a request without a win.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoBidStyle {
    /// 204, empty.
    #[default]
    Empty,
    /// 200 with `{"id","nbr"}`.
    Reason,
}

/// The answer to a request that is shed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShedStyle {
    /// 429 or 503 with Retry-After.
    #[default]
    Status,
    /// 204, empty.
    NoBid,
}

/// Our node of the supply chain (OpenRTB 2.6, 3.2.26).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchainNode {
    /// `asi`: our domain. `sid`: the partner's account with us.
    pub asi: String,
    pub sid: String,
    pub is_paid: bool,
    /// The partner owns the inventory: a chain that starts with us is complete.
    pub is_owner: bool,
}

/// Which traffic is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficBlocks {
    pub bots: bool,
    pub data_centers: bool,
    pub anonymous: bool,
    /// A domain covers its subdomains.
    pub domains: BlockList,
    pub bundles: BlockList,
    pub publishers: BlockList,
}

/// Creatives, by their `crid`, of one bidder or of all: an id means nothing beyond its bidder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreativeBlock {
    /// A bidder's configured name; `None`: of all bidders.
    pub bidder: Option<String>,
    /// Sorted by construction.
    crids: Vec<String>,
}

/// Names that are looked up in any letter case; sorted and lower case by construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockList(Vec<String>);

impl Partner {
    /// A partner that is known by its name alone: without key and limits, with the standard's
    /// defaults, and nothing blocked.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            key_hashes: Vec::new(),
            sources: Vec::new(),
            qps: None,
            deadline: DeadlineSettings::default(),
            is_strict: false,
            allows_unknown_channel: false,
            channels: [true; Channel::ALL.len()],
            media: Media::ALL.into_iter().collect(),
            auction_type: None,
            currency: Currency::USD,
            floor: Cpm::ZERO,
            margin: Margin::default(),
            deals: DealTerms::default(),
            multibid: 1,
            separates_categories: false,
            bcat: Vec::new(),
            badv: Vec::new(),
            bapp: Vec::new(),
            creatives_blocked: Vec::new(),
            no_bid: NoBidStyle::default(),
            shed: ShedStyle::default(),
            honours_replay: false,
            may_debug: false,
            schain: None,
            blocks: TrafficBlocks::default(),
            is_direct: false,
            is_secure: false,
            allows_nurl_markup: false,
            passes_adm_macros: false,
            awards_by_answer: false,
            bid_max: None,
            origins: Origins::default(),
        }
    }

    /// Bids over this are mistakes, unless a partner says otherwise: 1,000 US dollars per
    /// thousand, in whatever currency the auction is.
    pub const BID_MAX: Cpm = Cpm::from_micros(1_000_000_000);
}

impl Margin {
    /// From publishers in any order.
    pub fn new(
        open: TakeRate,
        on_deals: TakeRate,
        mut publishers: Vec<(String, TakeRate)>,
    ) -> Self {
        publishers.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Self { open, on_deals, publishers }
    }

    /// What we keep in the open auction, of the inventory of a publisher.
    pub fn of(&self, publisher: &[u8]) -> TakeRate {
        if self.publishers.is_empty() {
            return self.open;
        }
        let found = self.publishers.binary_search_by(|(id, _)| id.as_bytes().cmp(publisher));
        found.ok().and_then(|at| self.publishers.get(at)).map_or(self.open, |(_, rate)| *rate)
    }
}

impl DealTerms {
    /// How many tiers there are.
    pub const TIERS: u8 = 9;

    /// The tier of a deal that none is agreed of: the middle one.
    pub const TIER_DEFAULT: u8 = 5;

    /// From terms in any order.
    pub fn new(mut terms: Vec<DealTerm>) -> Self {
        terms.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Self(terms)
    }

    /// What is agreed of one deal.
    pub fn of(&self, id: &[u8]) -> Option<&DealTerm> {
        let found = self.0.binary_search_by(|term| term.id.as_bytes().cmp(id));
        found.ok().and_then(|at| self.0.get(at))
    }
}

impl Network {
    /// From `ADDRESS/BITS` or a lone address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse::<u8>().ok()?)),
            None => (text.parse::<IpAddr>().ok()?, None),
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = bits.unwrap_or(width);
        if prefix > width {
            return None;
        }
        // a range of IPv4-mapped addresses is one of IPv4, as whom it is asked for
        match (address, address.to_canonical(), prefix.checked_sub(96)) {
            (IpAddr::V6(_), mapped @ IpAddr::V4(_), Some(prefix)) => {
                Some(Self { address: mapped, prefix })
            }
            _ => Some(Self { address, prefix }),
        }
    }

    /// Whether the address is in the range; IPv4-mapped IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let low = 32 - u32::from(self.prefix.min(32));
                u32::from(net).checked_shr(low) == u32::from(ip).checked_shr(low)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let low = 128 - u32::from(self.prefix.min(128));
                u128::from(net).checked_shr(low) == u128::from(ip).checked_shr(low)
            }
            _ => false,
        }
    }
}

impl Origins {
    /// From origins in any order; `*` among them stands for all.
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        let mut named: Vec<String> = origins.into_iter().collect();
        let is_any = named.iter().any(|origin| origin == Self::ANY);
        named.sort_unstable();
        named.dedup();
        Self { is_any, named }
    }

    /// As it is configured: what a browser would send, or `*`.
    pub fn parse(text: &str) -> Option<String> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_host = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|byte| {
                    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':' | b'[' | b']')
                })
        };
        (text == Self::ANY || host.is_some_and(is_host)).then(|| text.to_owned())
    }

    /// Whether a page of this origin may call. Browsers write origins in one way: no letter case
    /// to fold, no port that is the scheme's own.
    pub fn has(&self, origin: &[u8]) -> bool {
        self.is_any || self.named.binary_search_by(|own| own.as_bytes().cmp(origin)).is_ok()
    }

    const ANY: &str = "*";
}

impl CreativeBlock {
    /// From ids in any order; they are compared as they are.
    pub fn new(bidder: Option<String>, mut crids: Vec<String>) -> Self {
        crids.sort_unstable();
        Self { bidder, crids }
    }

    /// Whether a bidder's creative is in it.
    pub fn has(&self, bidder: &str, crid: &[u8]) -> bool {
        self.bidder.as_deref().is_none_or(|own| own == bidder)
            && self.crids.binary_search_by(|own| own.as_bytes().cmp(crid)).is_ok()
    }
}

impl BlockList {
    /// From names in any order and letter case; a trailing dot of a domain is dropped.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let tidy = |name: String| name.trim().trim_end_matches('.').to_ascii_lowercase();
        let mut names: Vec<String> = names.into_iter().map(tidy).collect();
        names.retain(|name| !name.is_empty());
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the name is in it.
    pub fn has(&self, name: &str) -> bool {
        let lower = || name.bytes().map(|byte| byte.to_ascii_lowercase());
        !name.is_empty() && self.0.binary_search_by(|own| own.bytes().cmp(lower())).is_ok()
    }

    /// Whether the domain, or one that it is a part of, is in it.
    pub fn covers(&self, host: &Host<'_>) -> bool {
        !self.is_empty()
            && std::iter::successors(Some(host.text()), |part| {
                part.split_once('.').map(|(_, up)| up)
            })
            .any(|part| self.has(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_domain_covers_its_subdomains_and_no_namesakes() {
        let names = ["Bad.Example.", "", "co.example", "bad.example"];
        let list = BlockList::new(names.map(str::to_owned));
        assert_eq!(list.0, ["bad.example", "co.example"]);
        for domain in ["bad.example", "BAD.example.", "a.b.bad.example", "x.co.example"] {
            assert!(list.covers(&Host::of(domain.as_bytes())), "{domain}");
        }
        for domain in ["", ".", "example", "notbad.example", "bad.example.net", "..."] {
            assert!(!list.covers(&Host::of(domain.as_bytes())), "{domain}");
        }
        assert!(!BlockList::default().covers(&Host::of(b"bad.example")));
        assert!(list.has("Co.Example") && !list.has("x.co.example"));
    }

    #[test]
    fn an_origin_is_one_that_a_browser_would_write() {
        for good in ["*", "https://www.example.com", "http://example.com:8080", "http://[::1]:80"] {
            assert!(Origins::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "null", "example.com", "https://", "https://A.example", "https://a.example/"]
        {
            assert_eq!(Origins::parse(bad), None, "{bad}");
        }
        let two = ["https://b.example", "https://a.example"].map(str::to_owned);
        let origins = Origins::new(two);
        assert!(origins.has(b"https://a.example") && origins.has(b"https://b.example"));
        for other in
            ["http://a.example", "https://a.example:8443", "https://aa.example", "null", ""]
        {
            assert!(!origins.has(other.as_bytes()), "{other}");
        }
        assert!(!Origins::default().has(b"https://a.example"));
        assert!(Origins::new(["*".to_owned()]).has(b"null"));
    }

    #[test]
    fn ranges_contain_what_shares_their_prefix() {
        for (range, address, inside) in [
            ("192.0.2.0/24", "192.0.2.200", true),
            ("192.0.2.0/24", "192.0.3.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("::ffff:192.0.2.0/120", "192.0.2.9", true),
            ("::ffff:192.0.2.0/120", "192.0.3.9", false),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
            ("::/0", "192.0.2.1", false),
        ] {
            let network = Network::parse(range).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{range} {address}");
        }
        for bad in ["", "192.0.2.0/33", "2001:db8::/129", "192.0.2/24", "x/8", "192.0.2.0/-1"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
