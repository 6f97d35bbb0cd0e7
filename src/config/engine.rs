//! `[limits]`, `[databases]`, `[auction]`, `[network]`: the settings of the road itself.
//!
//! Owns: names, defaults and ranges of their keys. Never: opens what they name.

use super::notices::{self, NoticeSettings};
use super::reader::Table;
use super::words;
use crate::admit::limits::{IMPS_CEILING, Limits};
use crate::auction::offer::AuctionSettings;
use crate::bidder::net::{BreakerSettings, NetSettings, ResolveSettings};
use crate::bidder::roster::RosterSettings;
use crate::bidder::shape::ShapeSettings;
use crate::enrich::EnrichSettings;
use crate::enrich::databases::DatabaseSettings;
use std::path::{Path, PathBuf};
use std::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the road works with.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    pub limits: Limits,
    pub enrich: EnrichSettings,
    pub databases: DatabaseSettings,
    pub auction: AuctionSettings,
    pub roster: RosterSettings,
    pub shape: ShapeSettings,
    pub net: NetSettings,
    pub notices: NoticeSettings,
}

/// All sections of this file; paths are relative to `folder`.
pub fn read(root: &mut Table, folder: &Path) -> Engine {
    let (limits, roster, shape) = limits(root);
    let (databases, enrich) = databases(root, folder);
    Engine {
        limits,
        enrich,
        databases,
        auction: auction(root),
        roster,
        shape,
        net: network(root, folder),
        notices: notices::read(root),
    }
}

fn limits(root: &mut Table) -> (Limits, RosterSettings, ShapeSettings) {
    let d = Limits::default();
    let mut t = root.section("limits");
    let limits = Limits {
        depth_max: t.integer("depth_max", d.depth_max, 8..=1024, "Nested objects and arrays."),
        imps_max: t.integer("imps_max", d.imps_max, 1..=IMPS_CEILING, "Imps of a request."),
        deals_max: t.integer("deals_max", d.deals_max, 1..=10_000, "Deals of an imp."),
        eids_max: t.integer("eids_max", d.eids_max, 1..=10_000, "`user.eids`."),
        uids_max: t.integer("uids_max", d.uids_max, 1..=10_000, "`uids` of one of them."),
        schain_nodes_max: t.integer(
            "schain_nodes_max",
            d.schain_nodes_max,
            1..=1000,
            "Nodes of the supply chain.",
        ),
        string_bytes_max: t.bytes(
            "string_bytes_max",
            d.string_bytes_max,
            64..=1 << 20,
            "A string that the road reads.",
        ),
        native_bytes_max: t.bytes(
            "native_bytes_max",
            d.native_bytes_max,
            64..=1 << 20,
            "`native.request`, in place of `string_bytes_max`.",
        ),
    };
    let roster = RosterSettings {
        domain_labels_max: t.integer(
            "domain_labels_max",
            RosterSettings::default().domain_labels_max,
            2..=127,
            "Labels of a domain that are compared with bidders' lists.",
        ),
    };
    let shape = ShapeSettings {
        schain_nodes_max: t.integer(
            "schain_nodes_out_max",
            ShapeSettings::default().schain_nodes_max,
            1..=100,
            "Nodes that a chain may have when it leaves us.",
        ),
    };
    t.end();
    (limits, roster, shape)
}

fn databases(root: &mut Table, folder: &Path) -> (DatabaseSettings, EnrichSettings) {
    let (d, e) = (DatabaseSettings::default(), EnrichSettings::default());
    let mut t = root.section("databases");
    let file = |text: &str| (!text.is_empty()).then(|| folder.join(text));
    let mmdb = "a path to .mmdb or .mmdb.zst, or to a set of parts (a folder or its manifest.json)";
    let mut open = |key, doc| -> Option<PathBuf> { t.parsed(key, mmdb, doc, file) };
    let settings = DatabaseSettings {
        city: open("city", "MaxMind database with cities."),
        country: open("country", "With countries; counts where `city` is silent."),
        isp: open("isp", "With providers."),
        asn: open("asn", "With autonomous systems; counts where `isp` is silent."),
        connection_type: open("connection_type", "With connection types."),
        anonymous: open("anonymous", "With anonymisers and hosting providers."),
        device_regexes: t.parsed(
            "device_regexes",
            "a path",
            "User-agent expressions in the format of uap-core.",
            file,
        ),
        device_models: t.parsed("device_models", "a path", "Table of device models.", file),
        address_bytes_max: t.integer(
            "address_bytes_max",
            d.address_bytes_max,
            1 << 20..=4 << 30,
            "Bytes of one address database, decompressed.",
        ),
        device_bytes_max: t.integer(
            "device_bytes_max",
            d.device_bytes_max,
            64 << 10..=64 << 20,
            "Bytes of each device file.",
        ),
        is_verified: t.flag(
            "verify",
            d.is_verified,
            "Check the whole structure at the start too; a renewal always does.",
        ),
        allow_older: t.flag(
            "allow_older",
            d.allow_older,
            "Let a reload go back to an address database that was built before the one in use.",
        ),
        canary_percent: t.integer(
            "canary_percent",
            d.canary_percent,
            0..=100,
            "Of 100 addresses that the database in use knows, how many must have the same country \
             by a new one.",
        ),
    };
    let enrich = EnrichSettings {
        geo_cache_entries: t.integer(
            "geo_cache_entries",
            e.geo_cache_entries,
            1..=1 << 20,
            "Addresses remembered by a worker, and as many records.",
        ),
        device_cache_entries: t.integer(
            "device_cache_entries",
            e.device_cache_entries,
            16..=16 << 20,
            "User agents remembered by a worker.",
        ),
    };
    t.end();
    (settings, enrich)
}

fn auction(root: &mut Table) -> AuctionSettings {
    let d = AuctionSettings::default();
    let mut t = root.section("auction");
    let range = 1 << 10..=16 << 20;
    let settings = AuctionSettings {
        banner_bytes_max: t.bytes(
            "banner_bytes_max",
            d.banner_bytes_max,
            range.clone(),
            "Longest `adm` of a banner, also with its macros substituted.",
        ),
        vast_bytes_max: t.bytes(
            "vast_bytes_max",
            d.vast_bytes_max,
            range.clone(),
            "Of a video or audio ad.",
        ),
        native_bytes_max: t.bytes("native_bytes_max", d.native_bytes_max, range, "Of a native ad."),
        group_rounds_max: t.integer(
            "group_rounds_max",
            d.group_rounds_max,
            1..=1000,
            "How often an auction is run again without one incomplete group.",
        ),
        pod_ads_max: t.integer(
            "pod_ads_max",
            d.pod_ads_max,
            1..=64,
            "Most ads of a dynamic pod, also where its `maxseq` is higher or absent.",
        ),
    };
    t.end();
    settings
}

fn network(root: &mut Table, folder: &Path) -> NetSettings {
    let mut t = root.section("network");
    let d = answers(&mut t);
    let settings = NetSettings {
        idle_max: t.duration("idle_max", d.idle_max, s(1)..=s(600), "Idle connections close."),
        dial_in_flight_max: t.integer(
            "dial_in_flight_max",
            d.dial_in_flight_max,
            1..=4096,
            "Dials under way, for each bidder and worker.",
        ),
        warm_connections: t.integer(
            "warm_connections",
            d.warm_connections,
            0..=64,
            "Opened to a bidder before its first call, by each worker.",
        ),
        h2_connections_max: t.integer(
            "h2_connections_max",
            d.h2_connections_max,
            1..=64,
            "HTTP/2 connections, for each bidder and worker.",
        ),
        h2_streams_max: t.integer(
            "h2_streams_max",
            d.h2_streams_max,
            1..=1000,
            "Calls open at once on one of them, where the bidder allows as many.",
        ),
        ca_file: t.parsed("ca_file", "a path to PEM", "More certificate authorities.", |text| {
            words::text(text).map(|text| folder.join(text))
        }),
        breaker: breaker(&mut t),
        resolve: resolve(&mut t),
        ..d
    };
    t.end();
    settings
}

/// How much of an answer is read, and into what.
fn answers(t: &mut Table) -> NetSettings {
    let d = NetSettings::default();
    NetSettings {
        drain_count_max: t.integer(
            "drain_count_max",
            d.drain_count_max,
            0..=100_000,
            "Late answers read in the background, for each worker; of one bidder at most half as many. \
             0: none, and a bidder that is silent at the deadline counts as failing.",
        ),
        drain_bytes_max: t.bytes(
            "drain_bytes_max",
            d.drain_bytes_max,
            1 << 10..=16 << 20,
            "A longer late answer is not read to its end.",
        ),
        drain_time_max: t.duration(
            "drain_time_max",
            d.drain_time_max,
            ms(10)..=s(30),
            "A late answer that takes longer is given up, and counts as a failure of its bidder.",
        ),
        head_bytes_max: t.bytes(
            "head_bytes_max",
            d.head_bytes_max,
            1 << 10..=256 << 10,
            "Head of an answer.",
        ),
        interim_max: t.integer("interim_max", d.interim_max, 0..=100, "1xx heads before it."),
        buffer_bytes: t.bytes("buffer_bytes", d.buffer_bytes, 1 << 10..=1 << 20, "A read buffer."),
        buffer_kept_bytes_max: t.bytes(
            "buffer_kept_bytes_max",
            d.buffer_kept_bytes_max,
            1 << 10..=16 << 20,
            "A larger one is not kept.",
        ),
        buffers_kept_max: t.integer(
            "buffers_kept_max",
            d.buffers_kept_max,
            0..=100_000,
            "Read buffers kept, for each worker.",
        ),
        ..d
    }
}

fn breaker(t: &mut Table) -> BreakerSettings {
    let d = BreakerSettings::default();
    let mut t = t.section("breaker");
    let settings = BreakerSettings {
        window: t.duration("window", d.window, s(1)..=s(60), "Calls of this long are judged."),
        calls_min: t.integer("calls_min", d.calls_min, 1..=10_000, "Fewer are no evidence."),
        failures_percent: t.integer(
            "failures_percent",
            d.failures_percent,
            1..=100,
            "More failures than this open it.",
        ),
        probe_every: t.duration("probe_every", d.probe_every, ms(10)..=s(10), "A probe goes out."),
        probe_one_in: t.integer("probe_one_in", d.probe_one_in, 1..=100_000, "So does one in ..."),
        probes_good: t.integer("probes_good", d.probes_good, 1..=100, "Start of the way back."),
        ramp: t.duration("ramp", d.ramp, ms(100)..=s(60), "From the first share to all calls."),
        ramp_calls_min: t.integer(
            "ramp_calls_min",
            d.ramp_calls_min,
            1..=10_000,
            "Evidence for opening again on the way.",
        ),
        retry_after_max: t.duration(
            "retry_after_max",
            d.retry_after_max,
            s(1)..=s(600),
            "A longer `Retry-After` is cut.",
        ),
        report_every: t.duration(
            "report_every",
            d.report_every,
            ms(1)..=s(1),
            "Workers tell each other.",
        ),
    };
    t.end();
    settings
}

fn resolve(t: &mut Table) -> ResolveSettings {
    let d = ResolveSettings::default();
    let mut t = t.section("resolve");
    let settings = ResolveSettings {
        servers: t.list("servers", "ADDRESS:PORT", "Name servers; empty: the system's.", |text| {
            text.parse().ok()
        }),
        ttl_min: t.duration("ttl_min", d.ttl_min, s(1)..=s(3600), "A shorter one counts as this."),
        ttl_max: t.duration("ttl_max", d.ttl_max, s(1)..=s(86_400), "A longer one as this."),
        stale_max: t.duration(
            "stale_max",
            d.stale_max,
            s(0)..=s(86_400),
            "The last addresses serve for this long after a failure.",
        ),
        retry_after_failure: t.duration(
            "retry_after_failure",
            d.retry_after_failure,
            ms(100)..=s(60),
            "Until the next try.",
        ),
        query_time_max: t.duration("query_time_max", d.query_time_max, ms(10)..=s(10), "A query."),
        addresses_max: t.integer("addresses_max", d.addresses_max, 1..=64, "Of one name."),
        queries_max: t.integer("queries_max", d.queries_max, 1..=1024, "At once."),
        names_max: t.integer("names_max", d.names_max, 1..=65_536, "Watched at once."),
    };
    if settings.ttl_min > settings.ttl_max {
        t.fault_of("ttl_min", "at most `ttl_max`", None);
    }
    t.end();
    settings
}
