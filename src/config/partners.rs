//! `[[partners]]`: from a table to a [`Partner`].
//!
//! Owns: names, defaults and ranges of the partners' keys. Never: what a partner may do at run
//! time.

use super::floors;
use super::reader::Table;
use super::words::{
    channel, currency, domain, hash, lower, media, name, network, percent, price, text,
};
use crate::auction::rules::FloorRule;
use crate::deadline::DeadlineSettings;
use crate::money::{Cpm, Currency};
use crate::openrtb::ids::{AuctionType, Channel, Media, MediaSet};
use crate::partner::{
    BlockList, CreativeBlock, DealTerm, DealTerms, Margin, Network, NoBidStyle, Origins, Partner,
    SchainNode, ShedStyle, TrafficBlocks,
};
use std::collections::HashSet;
use std::time::Duration;

/// One `[[partners]]` table, and its floor rules; `None` where it has no usable name.
pub fn read(mut table: Table) -> Option<(Partner, Vec<FloorRule>)> {
    let t = &mut table;
    let name = t.required(
        "name",
        "1 to 64 of a-z, 0-9, '-', '_', '.'",
        "Names the partner in the path, in metrics and in what survives a reload.",
        name,
    );
    let partner = Partner {
        name: name.clone().unwrap_or_default(),
        key_hashes: keys(t),
        sources: sources(t),
        qps: t.integer_optional("qps", 1..=10_000_000, "Requests a second, over all `replicas`."),
        deadline: deadline(t),
        is_strict: t.flag("strict", false, "Refuse a whole request for one invalid imp."),
        allows_unknown_channel: t.flag(
            "allow_unknown_channel",
            false,
            "Take requests with none of site, app and dooh.",
        ),
        channels: channels(t),
        media: media_set(t),
        auction_type: auction_type(t),
        currency: own_currency(t),
        floor: t.decimal("floor", PRICE, "Lowest floor, per thousand.", price).unwrap_or(Cpm::ZERO),
        margin: margin(t),
        deals: deals(t),
        multibid: multibid(t),
        separates_categories: separate_categories(t),
        bcat: t.list(
            "bcat",
            "a category",
            "Blocked categories of Content Taxonomy 1.0, added to the request's.",
            text,
        ),
        badv: t.list("badv", "a domain", "Blocked advertisers, likewise.", lower),
        bapp: t.list("bapp", "a bundle", "Blocked apps, likewise.", text),
        no_bid: no_bid(t),
        shed: shed(t),
        honours_replay: honour_replay(t),
        may_debug: t.flag("debug", false, "`test=1` is explained in `ext.gavel`."),
        schain: schain(t),
        blocks: blocks(t),
        creatives_blocked: creatives_blocked(t),
        is_direct: t.flag(
            "direct",
            false,
            "Users call us themselves: the address that a call comes from is the user's, and \
             bidders get it in place of another in the request; `Sec-GPC: 1` and `DNT: 1` count, \
             and are told, like `regs.ext.gpc` and `device.dnt`.",
        ),
        is_secure: t.flag(
            "secure",
            false,
            "Its inventory takes only what is loaded over https: `secure` is 1 where an imp does \
             not say.",
        ),
        allows_nurl_markup: t.flag(
            "allow_nurl_markup",
            false,
            "A bid without `adm` may be served from its `nurl`.",
        ),
        passes_adm_macros: adm_macros(t),
        awards_by_answer: win_notice(t),
        bid_max: bid_max(t),
        origins: origins(t),
    };
    check_award(&table, &partner);
    let rules = floors::read(&mut table, name.as_deref());
    table.end();
    name.map(|_| (partner, rules))
}

/// Header bidding wrappers take up to nine bids of a bidder for one imp.
const MULTIBID_MAX: u8 = 9;

fn multibid(table: &mut Table) -> u8 {
    table.integer(
        "multibid",
        1,
        1..=MULTIBID_MAX,
        "Most bids for one imp in our answer: the best are taken, each at its own price. More than 1 \
         for header bidding.",
    )
}

fn separate_categories(table: &mut Table) -> bool {
    table.flag(
        "separate_categories",
        false,
        "No two ads of one pod are of one category (nor of one advertiser), where the request does \
         not say what to keep apart (`poddedupe`).",
    )
}

const PRICE: &str = "a price from 0 to 10^9";
const PERCENT: &str = "a percentage from 0 to 90 with at most two decimals";

fn sources(table: &mut Table) -> Vec<Network> {
    table.list(
        "sources",
        "an address or ADDRESS/BITS",
        "Where the partner may call from; empty: anywhere.",
        network,
    )
}

fn bid_max(table: &mut Table) -> Option<Cpm> {
    table.decimal("bid_max", PRICE, "Bids over this are mistakes. Default 1000 US dollars. In another currency by the last rates that are \
         known, stale ones too; where there is none, nothing is too much.", price)
}

fn margin(table: &mut Table) -> Margin {
    let open = table.decimal(
        "take_rate",
        PERCENT,
        "Percentage that we keep of what bidders pay. Floors are sent marked up by it: what the \
         partner gets is not below its floor.",
        percent,
    );
    let on_deals = table.decimal(
        "deal_take_rate",
        PERCENT,
        "Likewise under deals, where that is agreed; else nothing is kept of them.",
        percent,
    );
    let read = |mut publisher: Table| {
        let id = publisher.required("id", "a publisher's id", "`publisher.id`.", text);
        let doc = "In place of the partner's `take_rate`, for this publisher.";
        let rate = publisher.decimal("take_rate", PERCENT, doc, percent);
        if !publisher.has("take_rate") {
            publisher.fault_of("take_rate", PERCENT, None);
        }
        publisher.end();
        id.zip(rate)
    };
    let publishers: Vec<_> = table.sections("publishers").into_iter().filter_map(read).collect();
    each_once(table, "publishers", publishers.iter().map(|(id, _)| id.as_str()));
    Margin::new(open.unwrap_or_default(), on_deals.unwrap_or_default(), publishers)
}

fn deals(table: &mut Table) -> DealTerms {
    let read = |mut deal: Table| {
        let id = deal.required("id", "a deal's id", "`pmp.deals[].id`.", text);
        let tier = deal.integer(
            "tier",
            DealTerms::TIER_DEFAULT,
            1..=DealTerms::TIERS,
            "Bids under a deal of tier 1 come before those of tier 2, whatever the prices; all \
             before bids without a deal. Deals that are not listed are of the default.",
        );
        let doc = "In place of the partner's `deal_take_rate`, for this deal.";
        let take_rate = deal.decimal("take_rate", PERCENT, doc, percent);
        deal.end();
        Some(DealTerm { id: id?, tier, take_rate })
    };
    let terms: Vec<DealTerm> = table.sections("deals").into_iter().filter_map(read).collect();
    each_once(table, "deals", terms.iter().map(|term| term.id.as_str()));
    DealTerms::new(terms)
}

/// What is agreed twice of one id is agreed of none.
fn each_once<'i>(table: &Table, key: &str, ids: impl Iterator<Item = &'i str>) {
    let mut seen = HashSet::new();
    if let Some(twice) = ids.into_iter().find(|id| !seen.insert(*id)) {
        table.fault_of(
            key,
            &format!("a list with each `id` once, and {twice:?} is there twice"),
            None,
        );
    }
}

fn keys(table: &mut Table) -> Vec<[u8; 32]> {
    let is_open = table.flag("open", false, "Take requests without a key.");
    let hashes = table.list(
        "keys",
        "blake3: and 64 hexadecimal digits (see `gavel hash-key`)",
        "Hashes of the keys that are valid now; several while a key is rotated.",
        hash,
    );
    if hashes.is_empty() && !is_open {
        table.fault_of("keys", "at least one hash, or `open = true`", None);
    }
    hashes
}

fn origins(table: &mut Table) -> Origins {
    Origins::new(table.list(
        "origins",
        "an origin such as https://www.example.com, or *",
        "Web pages that may call us from a browser (Prebid.js): they get the headers of CORS, \
         and may send what saves a preflight: JSON as text/plain, and packed with \
         `gzip=1` in the query instead of a header.",
        Origins::parse,
    ))
}

fn own_currency(table: &mut Table) -> Currency {
    table
        .parsed(
            "currency",
            "an ISO 4217 code",
            "Of the partner's floors and, where `cur` allows it, of our answers. Default USD.",
            currency,
        )
        .unwrap_or_default()
}

fn auction_type(table: &mut Table) -> Option<AuctionType> {
    let names = [
        ("request", None),
        ("first_price", Some(AuctionType::FirstPrice)),
        ("second_price", Some(AuctionType::SecondPrice)),
    ];
    table.choice("auction_type", &names, "`request`: as the request's `at` says.").flatten()
}

fn no_bid(table: &mut Table) -> NoBidStyle {
    let names = [("empty", NoBidStyle::Empty), ("reason", NoBidStyle::Reason)];
    table.choice("no_bid", &names, "204, or 200 with `{\"id\",\"nbr\"}`.").unwrap_or_default()
}

fn shed(table: &mut Table) -> ShedStyle {
    let names = [("status", ShedStyle::Status), ("no_bid", ShedStyle::NoBid)];
    table.choice("shed", &names, "429 and 503 with Retry-After, or 204.").unwrap_or_default()
}

fn honour_replay(table: &mut Table) -> bool {
    table.flag(
        "honour_replay",
        false,
        "A request with the header `x-gavel-replay`, which `gavel-replay` sends, is a test, \
         whatever its body says: nothing of it is billed, kept as an auction or told to bidders. \
         They are asked all the same.",
    )
}

fn adm_macros(table: &mut Table) -> bool {
    let names = [("settle", false), ("pass", true)];
    let doc = "`${AUCTION_LOSS}` and `${AUCTION_IMP_TS}` in markup: emptied here, or left to the \
               partner. All others are settled here.";
    table.choice("adm_macros", &names, doc).unwrap_or_default()
}

fn win_notice(table: &mut Table) -> bool {
    let names = [("upstream", false), ("answer", true)];
    let doc = "When a bid has won, and its bidder is sent its `nurl`: when the partner calls ours, or \
               once we answer, for partners that call none. A partner that does all the same is \
               counted once.";
    table.choice("win_notice", &names, doc).unwrap_or_default()
}

/// Of several bids for an imp one wins at most.
fn check_award(table: &Table, partner: &Partner) {
    if partner.awards_by_answer && partner.multibid > 1 {
        table.fault_of("win_notice", "`upstream` where `multibid` is more than 1", None);
    }
}

fn deadline(table: &mut Table) -> DeadlineSettings {
    let default = DeadlineSettings::default();
    let ms = Duration::from_millis;
    let range = ms(1)..=ms(10_000);
    let settings = DeadlineSettings {
        tmax_default: table.duration(
            "tmax_default",
            default.tmax_default,
            range.clone(),
            "`tmax` where the request names none.",
        ),
        tmax_max: table.duration(
            "tmax_max",
            default.tmax_max,
            range.clone(),
            "A larger `tmax` is cut to this.",
        ),
        margin: table.duration(
            "margin",
            default.margin,
            ms(0)..=ms(1000),
            "Kept back from `tmax` for the way to the partner and for closing the auction.",
        ),
        least: table.duration(
            "least",
            default.least,
            range,
            "With less left for the bidders there is no auction.",
        ),
    };
    if settings.tmax_default > settings.tmax_max {
        table.fault_of("tmax_default", "at most `tmax_max`", None);
    }
    if settings.margin + settings.least > settings.tmax_default {
        table.fault_of("margin", "so small that `margin` + `least` fit into `tmax_default`", None);
    }
    settings
}

fn channels(table: &mut Table) -> [bool; Channel::ALL.len()] {
    let listed =
        table.list("channels", "site, app or dooh", "What may be sent; empty: all.", channel);
    Channel::ALL.map(|one| listed.is_empty() || one == Channel::Unknown || listed.contains(&one))
}

fn creatives_blocked(table: &mut Table) -> Vec<CreativeBlock> {
    let read = |mut block: Table| {
        let bidder = block.parsed(
            "bidder",
            "a bidder's name",
            "Whose creatives; absent: those of all bidders.",
            name,
        );
        let crids = block.list("crids", "a creative id", "`crid`s that are never shown.", text);
        block.end();
        CreativeBlock::new(bidder, crids)
    };
    table.sections("creatives_blocked").into_iter().map(read).collect()
}

fn media_set(table: &mut Table) -> MediaSet {
    let listed: MediaSet = table
        .list("media", "banner, video, audio or native", "What may be sent; empty: all.", media)
        .into_iter()
        .collect();
    if listed.is_empty() { Media::ALL.into_iter().collect() } else { listed }
}

fn schain(table: &mut Table) -> Option<SchainNode> {
    let mut node = table.section("schain");
    let asi = node.parsed("asi", "our domain", "Our node of the supply chain: `asi`.", lower);
    let sid =
        node.parsed("sid", "1 to 64 characters", "`sid`: the partner's account with us.", |sid| {
            (1..=64).contains(&sid.len()).then(|| sid.to_owned())
        });
    let is_paid = node.flag("hp", true, "`hp`: the payment goes through us.");
    let is_owner = node.flag(
        "owner",
        false,
        "The partner owns the inventory: a chain that we start is complete.",
    );
    if asi.is_some() != sid.is_some() {
        node.fault_of(if asi.is_some() { "sid" } else { "asi" }, "present with the other", None);
    }
    node.end();
    Some(SchainNode { asi: asi?, sid: sid?, is_paid, is_owner })
}

fn blocks(table: &mut Table) -> TrafficBlocks {
    let mut blocks = table.section("block");
    let read = TrafficBlocks {
        bots: blocks.flag("bots", true, "Refuse user agents that name themselves robots (nbr 3)."),
        data_centers: blocks.flag("data_centers", false, "Refuse data-centre addresses (nbr 5)."),
        anonymous: blocks.flag("anonymous", false, "Refuse VPN, proxy and Tor addresses (nbr 5)."),
        domains: BlockList::new(blocks.list(
            "domains",
            "a domain",
            "Refuse these and their subdomains (nbr 7).",
            domain,
        )),
        bundles: BlockList::new(blocks.list(
            "bundles",
            "a bundle",
            "Refuse these apps (nbr 7).",
            lower,
        )),
        publishers: BlockList::new(blocks.list(
            "publishers",
            "an id",
            "Refuse these publishers (nbr 7).",
            text,
        )),
    };
    blocks.end();
    read
}
