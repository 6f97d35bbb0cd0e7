//! `[http]`, `[listener]`, `[runtime]`, `[admission]`, `[drain]`, `[admin]`: the settings of the
//! public side and of the process.
//!
//! Owns: names, defaults and ranges of their keys. Never: a socket.

use super::reader::Table;
use super::words;
use crate::coding::Caps;
use crate::http::admin::{AdminAddress, AdminSettings};
use crate::http::{ClientHeader, H2Settings, HttpSettings};
use crate::lifecycle::LifecycleSettings;
use crate::limits::admission::AdmissionSettings;
use crate::limits::rate::LeaseSettings;
use crate::runtime::acceptor::AcceptSettings;
use crate::runtime::cpu::CpuSettings;
use crate::runtime::listener::{Backlog, ListenSettings};
use crate::runtime::workers::WorkerSettings;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Where partners call, unless the file says otherwise.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// Where operators on this machine look, unless the file says otherwise.
const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9091);

/// What stands around the road.
#[derive(Clone, Debug)]
pub struct Edge {
    pub listen: SocketAddr,
    pub http: HttpSettings,
    pub listener: ListenSettings,
    pub accept: AcceptSettings,
    pub cpu: CpuSettings,
    pub workers: WorkerSettings,
    pub admission: AdmissionSettings,
    pub lease: LeaseSettings,
    pub lifecycle: LifecycleSettings,
    pub admin: AdminSettings,
}

/// All sections of this file.
pub fn read(root: &mut Table) -> Edge {
    let (listen, http) = http(root);
    let (listener, accept) = listener(root);
    let lifecycle = drain(root);
    let (cpu, workers, lease) = runtime(root, &lifecycle);
    Edge {
        listen,
        http,
        listener,
        accept,
        cpu,
        workers,
        admission: admission(root),
        lease,
        lifecycle,
        admin: admin(root, listen),
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

fn http(root: &mut Table) -> (SocketAddr, HttpSettings) {
    let mut t = root.section("http");
    let listen = t
        .parsed("listen", "ADDRESS:PORT", "Where partners call. Default 0.0.0.0:8080.", address)
        .unwrap_or(LISTEN_DEFAULT);
    let d = http_times(&mut t);
    let settings = HttpSettings {
        wire_bytes_max: t.bytes(
            "wire_bytes_max",
            d.wire_bytes_max,
            1 << 10..=4 << 20,
            "Largest request body as sent.",
        ),
        caps: caps(&mut t),
        header_bytes_max: t.bytes(
            "header_bytes_max",
            d.header_bytes_max,
            8 << 10..=256 << 10,
            "Request line and headers.",
        ),
        headers_max: t.integer("headers_max", d.headers_max, 8..=100, "Headers of a request."),
        uri_bytes_max: t.bytes("uri_bytes_max", d.uri_bytes_max, 256..=65_534, "Path and query."),
        linger_bytes_max: t.bytes(
            "linger_bytes_max",
            d.linger_bytes_max,
            0..=16 << 20,
            "Read and dropped after an early answer, so that it is not lost to a reset.",
        ),
        h2: h2(&mut t),
        trusted_proxies: t.list(
            "trusted_proxies",
            "an address or ADDRESS/BITS",
            "Proxies whose word on the client's address is taken.",
            words::network,
        ),
        client_header: t
            .choice(
                "client_header",
                &[
                    ("x-forwarded-for", ClientHeader::XForwardedFor),
                    ("forwarded", ClientHeader::Forwarded),
                ],
                "The header that they write.",
            )
            .unwrap_or_default(),
        ..d
    };
    t.end();
    (listen, settings)
}

fn http_times(t: &mut Table) -> HttpSettings {
    let d = HttpSettings::default();
    HttpSettings {
        header_time: t.duration(
            "header_time",
            d.header_time,
            ms(100)..=s(60),
            "From a request's first byte to the end of its headers.",
        ),
        idle_time: t.duration("idle_time", d.idle_time, s(1)..=s(600), "Between two requests."),
        stranger_idle_time: t.duration(
            "stranger_idle_time",
            d.stranger_idle_time,
            s(1)..=s(600),
            "Instead, where shorter: no request was authorised yet, or the last got 401 or 404.",
        ),
        body_time: t.duration(
            "body_time",
            d.body_time,
            ms(10)..=s(10),
            "From the end of the headers to the end of the body.",
        ),
        write_time: t.duration(
            "write_time",
            d.write_time,
            ms(100)..=s(60),
            "A peer that takes nothing of its answers for so long is cut; on \
             HTTP/2 after a quarter of it while memory is so short that requests are shed.",
        ),
        grace: t.duration(
            "grace",
            d.grace,
            ms(100)..=s(60),
            "A connection that was told to end gets this long. Then new HTTP/2 streams on it are \
             refused (`REFUSED_STREAM`), and it is cut once nothing is being served.",
        ),
        age_max: t.duration(
            "connection_age_max",
            d.age_max,
            s(1)..=s(86_400),
            "An older connection is told to end, so that load evens out.",
        ),
        age_jitter_percent: t.integer(
            "connection_age_jitter_percent",
            d.age_jitter_percent,
            0..=50,
            "Ages differ by up to this much.",
        ),
        sweep_every: t.duration(
            "sweep_every",
            d.sweep_every,
            ms(5)..=s(1),
            "How often these times are looked at.",
        ),
        linger_time: t.duration("linger_time", d.linger_time, ms(0)..=s(5), "For this long."),
        retry_after_s: t.integer(
            "retry_after_s",
            d.retry_after_s,
            1..=3600,
            "`Retry-After` of 429 and 503, in seconds.",
        ),
        ..d
    }
}

fn caps(t: &mut Table) -> Caps {
    let d = Caps::default();
    Caps {
        body_bytes_max: t.bytes(
            "body_bytes_max",
            d.body_bytes_max,
            1 << 10..=16 << 20,
            "Largest request body once decoded.",
        ),
        ratio_max: t.integer(
            "expansion_max",
            d.ratio_max,
            1..=1032,
            "Decoded bytes for each byte on the wire ...",
        ),
        ratio_free_bytes: t.bytes(
            "expansion_free_bytes",
            d.ratio_free_bytes,
            0..=16 << 20,
            "... once this many have come out.",
        ),
        zstd_window_log_max: t.integer(
            "zstd_window_log_max",
            d.zstd_window_log_max,
            10..=23,
            "Largest zstd window, as a power of two; 23 is what HTTP allows.",
        ),
    }
}

fn h2(t: &mut Table) -> H2Settings {
    let d = H2Settings::default();
    let mut t = t.section("h2");
    let settings = H2Settings {
        streams_max: t.integer("streams_max", d.streams_max, 1..=1000, "Streams open at once."),
        header_list_bytes_max: t.integer(
            "header_list_bytes_max",
            d.header_list_bytes_max,
            4 << 10..=64 << 10,
            "Decoded headers of a request.",
        ),
        pending_resets_max: t.integer(
            "pending_resets_max",
            d.pending_resets_max,
            1..=1000,
            "Streams reset by the peer before we looked at them; as many as may be open at once, since a partner that gives up on a time-out resets all of them together.",
        ),
        local_resets_max: t.integer(
            "local_resets_max",
            d.local_resets_max,
            1..=1000,
            "Streams that the peer makes us reset.",
        ),
        stream_window_bytes: t.integer(
            "stream_window_bytes",
            d.stream_window_bytes,
            64 << 10..=4 << 20,
            "Unread bytes of a stream.",
        ),
        connection_window_bytes: t.integer(
            "connection_window_bytes",
            d.connection_window_bytes,
            64 << 10..=16 << 20,
            "Unread bytes of a connection.",
        ),
        send_buffer_bytes_max: t.bytes(
            "send_buffer_bytes_max",
            d.send_buffer_bytes_max,
            16 << 10..=1 << 20,
            "Answers that wait in a stream.",
        ),
        ping_every: t.duration("ping_every", d.ping_every, s(1)..=s(300), "The peer is pinged."),
        ping_time: t.duration("ping_time", d.ping_time, s(1)..=s(300), "And has this long."),
    };
    t.end();
    settings
}

fn listener(root: &mut Table) -> (ListenSettings, AcceptSettings) {
    let (d, a) = (ListenSettings::default(), AcceptSettings::default());
    let mut t = root.section("listener");
    let backlog = t.parsed(
        "backlog",
        "auto or a number as text",
        "Length of the accept queue; auto (default): all that net.core.somaxconn allows.",
        |text| match text {
            "auto" => Some(Backlog::Auto),
            number => number.parse().ok().filter(|n| *n > 0).map(Backlog::Fixed),
        },
    );
    let listen = ListenSettings {
        backlog: backlog.unwrap_or(d.backlog),
        user_timeout: t.duration(
            "user_timeout",
            d.user_timeout,
            s(1)..=s(60),
            "A peer that acknowledges nothing for this long is gone.",
        ),
        keepalive_after: t.duration(
            "keepalive_after",
            d.keepalive_after,
            s(10)..=s(7200),
            "An idle connection is probed after this.",
        ),
        keepalive_probes: t.integer(
            "keepalive_probes",
            d.keepalive_probes,
            1..=10,
            "Unanswered probes before it is dropped.",
        ),
    };
    let accept = AcceptSettings {
        connections_max: t.integer_optional(
            "connections_max",
            1..=1_000_000,
            "Open inbound connections; none: half of the descriptors that may be open, less 64. At the limit a newcomer takes the place of the oldest that never sent an authorised request, else of the longest idle one, else of the one whose next request has been longest begun, and is closed where all are being served.",
        ),
        look_every: t.duration(
            "look_every",
            a.look_every,
            ms(10)..=s(1),
            "How often the workers' loads are looked at.",
        ),
        pause: t.duration(
            "pause",
            a.pause,
            ms(1)..=s(1),
            "No accept for this long after an error that closing a descriptor did not cure.",
        ),
        release_every: t.duration(
            "release_every",
            a.release_every,
            ms(500)..=s(3600),
            "How often at most a worker much busier than the others is asked to let a connection go.",
        ),
    };
    t.end();
    (listen, accept)
}

fn runtime(
    root: &mut Table,
    lifecycle: &LifecycleSettings,
) -> (CpuSettings, WorkerSettings, LeaseSettings) {
    let (w, l) = (WorkerSettings::default(), LeaseSettings::default());
    let mut t = root.section("runtime");
    let cpu = CpuSettings {
        workers: t.integer_optional(
            "workers",
            1..=1024,
            "Worker threads; none: the CPU quota rounded up, at most the CPUs that may be used.",
        ),
    };
    let workers = WorkerSettings {
        inbox_max: t.integer(
            "inbox_max",
            w.inbox_max,
            1..=65_536,
            "Connections that may wait for a worker.",
        ),
        publish_every: t.duration(
            "publish_every",
            w.publish_every,
            ms(10)..=s(1),
            "How often a worker publishes its load.",
        ),
        drain_max: lifecycle.drain_max,
    };
    let lease = LeaseSettings {
        tick: t.duration(
            "lease_tick",
            l.tick,
            ms(10)..=s(1),
            "How often limits of the process are dealt out to the workers.",
        ),
        burst: t.duration(
            "lease_burst",
            l.burst,
            ms(10)..=s(10),
            "The allowance of this much time may be used at once.",
        ),
    };
    if lease.burst < lease.tick {
        t.fault_of("lease_burst", "at least `lease_tick`", None);
    }
    t.end();
    (cpu, workers, lease)
}

fn admission(root: &mut Table) -> AdmissionSettings {
    let d = AdmissionSettings::default();
    let mut t = root.section("admission");
    let settings = AdmissionSettings {
        in_flight_max: t.integer(
            "in_flight_max",
            d.in_flight_max,
            1..=1_000_000,
            "Requests of one worker under way, waiting for bidders included.",
        ),
        body_bytes_max: t.bytes(
            "body_bytes_max",
            d.body_bytes_max,
            0..=1 << 40,
            "Bytes of their bodies: more are shed. 0: the workers share a sixteenth of the memory \
             limit, for a request takes several times the size of its body; without a limit, \
             nothing is. As many bytes of answers may wait for HTTP/2 peers to take them: with \
             more, the connection with the most of them is cut.",
        ),
        lag_target: t.duration(
            "lag_target",
            d.lag_target,
            ms(1)..=ms(100),
            "Lag of the event loop that is aimed at under overload.",
        ),
        lag_tick: t.duration("lag_tick", d.lag_tick, ms(1)..=ms(50), "How often it is measured."),
        burst_time: t.duration(
            "burst_time",
            d.burst_time,
            ms(0)..=ms(3_600_000),
            "For so long a burst may keep the lag over its target before anything is shed.",
        ),
        burst_lag: t.duration(
            "burst_lag",
            d.burst_lag,
            ms(1)..=ms(3_600_000),
            "A greater lag is overload at once, however short it is.",
        ),
    };
    t.end();
    settings
}

fn drain(root: &mut Table) -> LifecycleSettings {
    let d = LifecycleSettings::default();
    let mut t = root.section("drain");
    let settings = LifecycleSettings {
        drain_min: t.duration(
            "min",
            d.drain_min,
            ms(0)..=s(300),
            "After SIGTERM new connections are still taken for this long.",
        ),
        drain_max: t.duration(
            "max",
            d.drain_max,
            ms(100)..=s(300),
            "Then what is in flight gets this long.",
        ),
    };
    t.end();
    settings
}

fn admin(root: &mut Table, public: SocketAddr) -> AdminSettings {
    let mut t = root.section("admin");
    let address = t.parsed(
        "listen",
        "ADDRESS:PORT or unix:PATH",
        "Where the admin listener is; without a token loopback or a unix socket only. Default 127.0.0.1:9091.",
        |text| match text.strip_prefix("unix:") {
            Some(path) => (!path.is_empty()).then(|| AdminAddress::Unix(path.into())),
            None => address(text).map(AdminAddress::Tcp),
        },
    );
    let token_hash = t.parsed(
        "token",
        "blake3: and 64 hexadecimal digits (see `gavel hash-key`)",
        "Hash of the token that `Authorization: Bearer` must present.",
        words::hash,
    );
    let address = address.unwrap_or(AdminAddress::Tcp(ADMIN_DEFAULT));
    let settings = AdminSettings { address, token_hash };
    if let Err(why) = settings.check() {
        t.fault_of("listen", &format!("reachable from this machine only: {why}"), None);
    }
    if !settings.is_beside(public) {
        let wanted = format!("another address than `http.listen` ({public}) takes");
        t.fault_of("listen", &wanted, None);
    }
    t.end();
    settings
}
