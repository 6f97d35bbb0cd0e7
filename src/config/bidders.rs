//! `[[bidders]]`: from a table to a [`Bidder`].
//!
//! Owns: names, defaults and ranges of the bidders' keys. Never: a network connection.

use super::reader::Table;
use super::words;
use crate::bidder::{
    Bidder, CallLimits, CallTime, HttpVersion, NoticeRules, OpenRtbVersion, Seats, Targeting, Wire,
};
use crate::macros::seal::{self, PriceKeys};
use crate::notice::guard;
use std::time::Duration;

/// One `[[bidders]]` table; `None` where it lacks a usable name or URL.
pub fn read(mut table: Table) -> Option<Bidder> {
    let name = table.required(
        "name",
        "1 to 64 of a-z, 0-9, '-', '_', '.'",
        "Names the bidder in metrics and in what survives a reload.",
        words::name,
    );
    let endpoint = table.required(
        "url",
        "http:// or https:// with host and path, without user and fragment",
        "Where bid requests go.",
        words::endpoint,
    );
    let wire = wire(&mut table);
    let mut targeting = targeting(&mut table);
    // A user by whose id the bidder goes is known to it.
    targeting.eid_sources.extend(wire.buyeruid_source.clone());
    let seats = seats(&mut table);
    let time = time(&mut table);
    let limits = limits(&mut table);
    let notices = notices(&mut table);
    table.end();
    let (name, endpoint) = (name?, endpoint?);
    Some(Bidder { name, endpoint, wire, targeting, seats, time, limits, notices })
}

fn wire(table: &mut Table) -> Wire {
    Wire {
        version: table
            .choice(
                "openrtb",
                &[("2.6", OpenRtbVersion::V26), ("2.5", OpenRtbVersion::V25)],
                "Where the fields that moved in 2.6 are written: in their object, or in its `ext`.",
            )
            .unwrap_or_default(),
        http: table
            .choice(
                "http",
                &[("1.1", HttpVersion::Http1), ("2", HttpVersion::Http2)],
                "HTTP/2: by ALPN over TLS, by prior knowledge without.",
            )
            .unwrap_or_default(),
        is_gzip: table.flag("gzip", false, "Compress requests."),
        tells_trace: table.flag(
            "traceparent",
            false,
            "Send `traceparent` (W3C Trace Context): the bidder's spans become children of the \
             span of our call.",
        ),
        currency: table.parsed(
            "currency",
            "an ISO 4217 code",
            "Floors are sent in it, and bids taken in it, too. Default: as the request says.",
            words::currency,
        ),
        buyeruid_source: table.parsed(
            "buyeruid_source",
            "a source, such as a domain",
            "Source of `user.eids` whose id is sent as `user.buyeruid`; one of `eid_sources`, too. \
             A `buyeruid` that came is then somebody else's: it is not sent, also where there is \
             no such id.",
            words::lower,
        ),
        headers: table.list(
            "headers",
            "`Name: value`, none that gavel writes itself",
            "Extra request headers.",
            words::header,
        ),
    }
}

fn targeting(table: &mut Table) -> Targeting {
    let mut t = table.section("targeting");
    let (text, lower, site) = (words::text, words::lower, words::domain);
    let read = Targeting {
        channels: t.list("channels", "site, app or dooh", "Empty: all.", words::channel),
        media: t
            .list("media", "banner, video, audio or native", "Empty: all.", words::media)
            .into_iter()
            .collect(),
        sizes: t.list("sizes", "WIDTHxHEIGHT", "Banner sizes; empty: all.", words::size),
        countries: t.list("countries", "an ISO 3166-1 alpha-3 code", "Empty: all.", words::country),
        countries_blocked: t.list(
            "countries_blocked",
            "an ISO 3166-1 alpha-3 code",
            "Never bought.",
            words::country,
        ),
        regions: t.list(
            "regions",
            "COUNTRY/REGION, such as USA/CA",
            "Regions of a listed country; a country without a region here is bought whole.",
            words::region,
        ),
        devicetypes: t.numbers("devicetypes", 1..=8, "AdCOM device types; empty: all."),
        os: t.list("os", "a name, such as ios", "Operating systems; empty: all.", lower),
        partners: t.list("partners", "a partner's name", "Empty: all.", words::name),
        partners_blocked: t.list(
            "partners_blocked",
            "a partner's name",
            "Never bought.",
            words::name,
        ),
        publishers: t.list("publishers", "an id", "Publisher ids; empty: all.", text),
        publishers_blocked: t.list("publishers_blocked", "an id", "Never bought.", text),
        domains: t.list("domains", "a domain", "These and their subdomains; empty: all.", site),
        domains_blocked: t.list(
            "domains_blocked",
            "a domain",
            "Never bought, subdomains too.",
            site,
        ),
        bundles: t.list("bundles", "a bundle", "Apps; empty: all.", lower),
        bundles_blocked: t.list("bundles_blocked", "a bundle", "Never bought.", lower),
        deals: t.list(
            "deals",
            "a deal id",
            "Deals that the bidder may bid under; empty: all.",
            text,
        ),
        is_deal_only: t.flag(
            "deals_only",
            false,
            "Call only where one of `deals` is offered, and take no bid outside of them.",
        ),
        ..users(&mut t)
    };
    if read.is_deal_only && read.deals.is_empty() {
        t.fault_of("deals", "at least one deal where `deals_only` is set", None);
    }
    t.end();
    read
}

/// The part of [`targeting`] that is about who looks at the ad, and its price.
fn users(t: &mut Table) -> Targeting {
    let lower = words::lower;
    Targeting {
        is_consent_needed: t.flag(
            "consent_needed",
            false,
            "Call only where no privacy signal restricts what may be told of the user.",
        ),
        is_matched_only: t.flag(
            "matched_users_only",
            false,
            "Call only for users with an id from one of `eid_sources`, or, without a \
             `buyeruid_source`, with a `buyeruid`.",
        ),
        eid_sources: t.list("eid_sources", "a source, such as a domain", "See above.", lower),
        floor_ceiling: t.decimal(
            "floor_ceiling",
            "a price in USD from 0 to 10^9",
            "Imps with a higher floor are not offered.",
            words::price,
        ),
        ..Targeting::default()
    }
}

fn seats(table: &mut Table) -> Seats {
    let mut s = table.section("seats");
    let read = Seats {
        allowed: s.list("allowed", "a seat id", "Empty: any.", words::text),
        blocked: s.list("blocked", "a seat id", "Bids of these are rejected.", words::text),
        default: s.parsed(
            "default",
            "a seat id",
            "What a bid without a seat counts as; else the bidder's name.",
            words::text,
        ),
    };
    s.end();
    read
}

fn notices(table: &mut Table) -> NoticeRules {
    let mut n = table.section("notices");
    let price_keys = price_keys(&mut n);
    let read = NoticeRules {
        price_keys,
        domains: n.list(
            "domains",
            "a domain that somebody can own, in lower case, or an address",
            "Where its win, billing and loss notices may go, subdomains too; empty: the registrable \
             domain of `url`.",
            |text| guard::is_domain(text).then(|| text.to_owned()),
        ),
        allows_http: n.choice(
            "http",
            &[("as_url", None), ("yes", Some(true)), ("no", Some(false))],
            "Whether without TLS too; default: where `url` is without.",
        ).flatten(),
    };
    n.end();
    read
}

fn price_keys(n: &mut Table) -> Option<PriceKeys> {
    let wanted = "32 bytes in base64";
    let encryption = n.parsed(
        "encryption_key",
        wanted,
        "With `integrity_key`: `${AUCTION_PRICE}` is sealed for the bidder, so that neither partner nor \
         page can read it, in the scheme of Google's encrypted price confirmations (micros); `:B64` wraps \
         that once more. In what they pass on `${AUCTION_MBR}` is empty, and `${AUCTION_MIN_TO_WIN}` \
         for every bidder of the auction. A test's is `AUDIT`.",
        seal::key,
    );
    let integrity = n.parsed(
        "integrity_key",
        wanted,
        "The other of the two; each bidder has a pair of its own. After a change markup and notices of \
         earlier auctions still come under the pair before.",
        seal::key,
    );
    for (key, other) in [("encryption_key", "integrity_key"), ("integrity_key", "encryption_key")] {
        if n.has(other) && !n.has(key) {
            n.fault_of(key, &format!("there, where there is an `{other}`"), None);
        }
    }
    let (encryption, integrity) = (encryption?, integrity?);
    if encryption == integrity {
        n.fault_of("integrity_key", "another than `encryption_key`", None);
    }
    Some(PriceKeys::new(&encryption, &integrity))
}

fn time(table: &mut Table) -> CallTime {
    let d = CallTime::default();
    let ms = Duration::from_millis;
    let mut t = table.section("time");
    let read = CallTime {
        margin: t.duration(
            "margin",
            d.margin,
            ms(0)..=ms(1000),
            "Kept back for the network: the bidder's `tmax` is less by this.",
        ),
        least: t.duration("least", d.least, ms(1)..=ms(1000), "With less left it is not called."),
        most: t.duration("most", d.most, ms(1)..=ms(10_000), "Never waited for longer."),
        connect: t.duration("connect", d.connect, ms(1)..=ms(5000), "To connect, TLS included."),
    };
    if read.margin + read.least > read.most {
        let key = if t.has("most") { "most" } else { "least" };
        t.fault_of(key, "such that `margin` and `least` together fit into `most`", None);
    }
    t.end();
    read
}

fn limits(table: &mut Table) -> CallLimits {
    let d = CallLimits::default();
    let mut t = table.section("limits");
    let read = CallLimits {
        qps: t.integer_optional("qps", 1..=10_000_000, "Requests a second, over all `replicas`."),
        in_flight_max: t.integer(
            "in_flight_max",
            d.in_flight_max,
            1..=1_000_000,
            "Calls open at once, over all workers.",
        ),
        connections_max: t.integer(
            "connections_max",
            d.connections_max,
            1..=100_000,
            "Connections, over all workers; each worker may have one, whatever stands here. All bidders \
             together have what descriptors the inbound side leaves, and of these one with many gets no \
             more while fewer are free than it has.",
        ),
        connection_age_max: t.duration(
            "connection_age_max",
            d.connection_age_max,
            Duration::from_secs(1)..=Duration::from_secs(86_400),
            "An older connection is closed after its call, each up to a tenth sooner than this.",
        ),
        wire_bytes_max: t.bytes(
            "wire_bytes_max",
            d.wire_bytes_max,
            1 << 10..=16 << 20,
            "Largest answer as sent.",
        ),
        body_bytes_max: t.bytes(
            "body_bytes_max",
            d.body_bytes_max,
            1 << 10..=64 << 20,
            "Largest answer once decoded.",
        ),
        bids_max: t.integer("bids_max", d.bids_max, 1..=10_000, "Most bids of one answer."),
    };
    if read.body_bytes_max < read.wire_bytes_max {
        t.fault_of("body_bytes_max", "at least `wire_bytes_max`", None);
    }
    t.end();
    read
}
