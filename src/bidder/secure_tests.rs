//! TLS and HTTP/2 towards bidders, over real sockets and certificates made for the test.

use crate::bidder::evil::{
    bidder, call, call_one, cold, late_counts, ok, on_worker, read_request, text,
};
use crate::bidder::net::NetSettings;
use crate::bidder::{Bidder, HttpVersion};
use crate::negatives::no_answer::NoAnswer;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

type Server = hyper::server::conn::http2::Builder<TokioExecutor>;

/// An authority of the test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(params.self_signed(&key).unwrap().pem().as_bytes()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    fn settings(&self) -> NetSettings {
        NetSettings { ca_file: Some(self.file.path().to_owned()), ..cold() }
    }

    /// What a server shows for `name`, with its protocols.
    fn server(&self, name: &str, is_expired: bool, protocols: &[&str]) -> ServerConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if is_expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        server_config(certificate, &key, protocols)
    }
}

fn server_config(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    protocols: &[&str],
) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Answers `{}` over TLS; notes what kind of handshake each connection made.
fn tls_bidder(config: ServerConfig) -> (SocketAddr, Arc<Mutex<Vec<HandshakeKind>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let kinds = Arc::new(Mutex::new(Vec::new()));
    let (config, noted) = (Arc::new(config), kinds.clone());
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            while read_request(&mut stream).is_some() {
                noted.lock().unwrap().extend(stream.conn.handshake_kind());
                stream.write_all(ok("{}").as_bytes()).unwrap();
            }
        }
    });
    (address, kinds)
}

fn secure(address: SocketAddr) -> Bidder {
    let mut bidder = bidder(address);
    bidder.endpoint.is_tls = true;
    bidder.endpoint.host = "localhost".to_owned();
    bidder.time.connect = Duration::from_secs(2);
    bidder
}

#[test]
fn only_the_right_certificate_is_trusted() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.self_signed(&key).unwrap().der().clone();
    let cases = [
        ("right", authority.server("localhost", false, &[]), Ok("{}")),
        ("expired", authority.server("localhost", true, &[]), Err(NoAnswer::Tls)),
        ("wrong name", authority.server("other.example", false, &[]), Err(NoAnswer::Tls)),
        ("self-signed", server_config(own, &key, &[]), Err(NoAnswer::Tls)),
        ("no common protocol", authority.server("localhost", false, &["x"]), Err(NoAnswer::Tls)),
        (
            "of a stranger",
            Authority::new().server("localhost", false, &["http/1.1"]),
            Err(NoAnswer::Tls),
        ),
    ];
    on_worker(authority.settings(), async |desk| {
        for (name, config, expected) in cases {
            let (address, _) = tls_bidder(config);
            let got = call_one(&desk, &secure(address)).await;
            assert_eq!(got.as_deref().map_err(|why| *why), expected, "{name}");
        }
        // there is no plain-text fallback
        let plain = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = plain.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = plain.accept().unwrap();
            stream.write_all(ok("{}").as_bytes()).unwrap();
            read_request(&mut stream)
        });
        assert_eq!(call_one(&desk, &secure(address)).await, Err(NoAnswer::Tls));
    });
}

#[test]
fn tls_connections_are_kept_and_their_sessions_resumed() {
    let authority = Authority::new();
    let (address, kinds) = tls_bidder(authority.server("localhost", false, &["http/1.1"]));
    on_worker(authority.settings(), async |desk| {
        let mut bidder = secure(address);
        for _ in 0..3 {
            call_one(&desk, &bidder).await.unwrap();
        }
        desk.each_line(|line| assert_eq!(line.counters.dials.get(), 1));
        bidder.limits.connection_age_max = Duration::ZERO;
        call_one(&desk, &bidder).await.unwrap();
        desk.each_line(|line| assert_eq!(line.counters.dials.get(), 2));
    });
    let kinds = kinds.lock().unwrap();
    assert_eq!(kinds.first(), Some(&HandshakeKind::Full));
    assert_eq!(kinds.last(), Some(&HandshakeKind::Resumed), "{kinds:?}");
}

/// Answers over HTTP/2 with the body that came; over TLS where there is a configuration.
fn h2_bidder(tls: Option<ServerConfig>) -> SocketAddr {
    h2_bidder_that(tls, |_| {}).address
}

/// An HTTP/2 bidder, how many requests have come to it, and what hangs up on all.
struct Second {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    hang_up: Arc<Notify>,
}

/// The same, set up by `set_up`.
fn h2_bidder_that(tls: Option<ServerConfig>, set_up: fn(&mut Server)) -> Second {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    let second = Second { address, came: Arc::default(), hang_up: Arc::default() };
    let (came, hang_up) = (second.came.clone(), second.hang_up.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, came, hang_up) = (acceptor.clone(), came.clone(), hang_up.clone());
                let mut server = Server::new(TokioExecutor::new());
                set_up(&mut server);
                tasks.spawn(async move {
                    let talk = async move {
                        match acceptor {
                            Some(acceptor) => {
                                serve(server, acceptor.accept(stream).await.unwrap(), &came).await;
                            }
                            None => serve(server, stream, &came).await,
                        }
                    };
                    tokio::select! {
                        () = talk => {}
                        () = hang_up.notified() => {}
                    }
                });
            }
        });
    });
    second
}

async fn serve(
    server: Server,
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    came: &AtomicUsize,
) {
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        answer(request, came.fetch_add(1, Ordering::SeqCst))
    });
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: http::Request<hyper::body::Incoming>,
    before: usize,
) -> http::Result<http::Response<Full<Bytes>>> {
    let path = request.uri().path().to_owned();
    assert_eq!(request.headers()["x-openrtb-version"], "2.6");
    let status = path.strip_prefix("/status/").map_or(200, |status| status.parse().unwrap());
    if path == "/silent" || (path == "/once" && before > 0) {
        std::future::pending::<()>().await;
    }
    if path == "/late" {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
    }
    let body = match path.as_str() {
        "/huge" => "x".repeat(600_000),
        "/late" => "x".repeat(3_000),
        "/parent" => format!("{:?}", request.headers().get("traceparent")),
        _ => "{}".to_owned(),
    };
    http::Response::builder().status(status).body(Full::new(Bytes::from(body)))
}

fn over_h2(mut bidder: Bidder, path: &str) -> Bidder {
    bidder.wire.http = HttpVersion::Http2;
    bidder.endpoint.path = path.to_owned();
    bidder
}

#[test]
fn http2_by_prior_knowledge_shares_one_connection() {
    let address = h2_bidder(None);
    on_worker(cold(), async |desk| {
        let one = over_h2(bidder(address), "/bid");
        let bidders = vec![one; 20];
        for answer in call(&desk, &bidders, "{}", Duration::from_secs(2)).await {
            assert_eq!((answer.status, text(answer).as_deref()), (200, Ok("{}")));
        }
        desk.each_line(|line| {
            assert!(line.counters.dials.get() <= 2 && line.links() <= 2);
            assert_eq!(line.open_calls.get(), 0);
        });
    });
}

#[test]
fn http2_answers_have_the_same_reasons() {
    let address = h2_bidder(None);
    on_worker(cold(), async |desk| {
        for (path, expected) in [
            ("/status/204", NoAnswer::NoBid),
            ("/status/302", NoAnswer::Redirect),
            ("/status/429", NoAnswer::TooManyRequests),
            ("/status/500", NoAnswer::ServerStatus),
            ("/huge", NoAnswer::TooLarge),
        ] {
            let got = call_one(&desk, &over_h2(bidder(address), path)).await;
            assert_eq!(got, Err(expected), "{path}");
        }
        let silent = over_h2(bidder(address), "/silent");
        let late = call(&desk, &[silent], "{}", Duration::from_millis(60)).await;
        assert_eq!(late.into_iter().map(text).collect::<Vec<_>>(), [Err(NoAnswer::Late)]);
    });
}

#[test]
fn http2_has_no_more_calls_under_way_than_the_bidder_takes() {
    let second = h2_bidder_that(None, |server| {
        server.max_concurrent_streams(6);
    });
    on_worker(cold(), async |desk| {
        let mut one = over_h2(bidder(second.address), "/once");
        one.time.connect = Duration::from_secs(2);
        // from here on it is known what the bidder takes
        call_one(&desk, &one).await.unwrap();
        let mut results: Vec<_> = call(&desk, &vec![one; 20], "{}", Duration::from_secs(2))
            .await
            .into_iter()
            .map(|answer| text(answer).unwrap_err())
            .collect();
        results.sort_by_key(|why| why.index());
        // two connections of six; for the others there was no room
        let mut expected = vec![NoAnswer::Late; 12];
        expected.extend([NoAnswer::PoolFull; 8]);
        expected.sort_by_key(|why| why.index());
        assert_eq!(results, expected);
        assert_eq!(second.came.load(Ordering::SeqCst), 1 + 12);
        desk.each_line(|line| assert_eq!(line.links(), 2));
    });
}

#[test]
fn http2_begins_with_few_calls_until_the_bidder_says_how_many_it_takes() {
    let second = h2_bidder_that(None, |server| {
        server.max_concurrent_streams(4);
    });
    let settings = NetSettings { h2_connections_max: 1, ..cold() };
    on_worker(settings, async |desk| {
        let mut one = over_h2(bidder(second.address), "/bid");
        one.time.connect = Duration::from_secs(2);
        // all at once on a connection that is not there yet: none is refused, all have a turn
        for answer in call(&desk, &vec![one; 20], "{}", Duration::from_secs(2)).await {
            assert_eq!(text(answer).as_deref(), Ok("{}"));
        }
    });
}

#[test]
fn http2_connections_that_the_bidder_closed_leave_room_for_others_at_once() {
    let second = h2_bidder_that(None, |_| {});
    let settings = NetSettings { h2_connections_max: 1, ..cold() };
    on_worker(settings, async |desk| {
        let bidder = over_h2(bidder(second.address), "/bid");
        call_one(&desk, &bidder).await.unwrap();
        second.hang_up.notify_waiters();
        let live = || {
            let mut links = 0;
            desk.each_line(|line| links += line.links());
            links
        };
        while live() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(call_one(&desk, &bidder).await.as_deref(), Ok("{}"));
    });
}

#[test]
fn a_late_http2_answer_is_read_up_to_its_bound() {
    let second = h2_bidder_that(None, |_| {});
    for (bytes_max, is_read) in [(2_999, false), (3_000, true)] {
        on_worker(NetSettings { drain_bytes_max: bytes_max, ..cold() }, async |desk| {
            let bidders = [over_h2(bidder(second.address), "/late")];
            let late = call(&desk, &bidders, "{}", Duration::from_millis(600)).await;
            assert_eq!(late.into_iter().map(text).collect::<Vec<_>>(), [Err(NoAnswer::Late)]);
            while desk.drains.get() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(late_counts(&desk), if is_read { [1, 0, 1] } else { [0, 1, 0] });
        });
    }
}

#[test]
fn http2_carries_the_span_of_a_call_to_who_wants_it() {
    let address = h2_bidder(None);
    on_worker(cold(), async |desk| {
        let wants = |tells_trace| {
            let mut one = over_h2(bidder(address), "/parent");
            one.wire.tells_trace = tells_trace;
            one
        };
        let answers = call(&desk, &[wants(false), wants(true)], "{}", Duration::from_secs(2)).await;
        let told: Vec<_> = answers.into_iter().map(text).collect();
        assert_eq!(told, [Ok("None".to_owned()), Ok(r#"Some("span-1")"#.to_owned())]);
    });
}

#[test]
fn http2_over_tls_is_agreed_on_or_http1_is_spoken() {
    let authority = Authority::new();
    let second = h2_bidder(Some(authority.server("localhost", false, &["h2"])));
    let (first, _) = tls_bidder(authority.server("localhost", false, &["http/1.1"]));
    on_worker(authority.settings(), async |desk| {
        for address in [second, first] {
            for _ in 0..3 {
                let got = call_one(&desk, &over_h2(secure(address), "/bid")).await;
                assert_eq!(got.as_deref(), Ok("{}"));
            }
        }
        desk.each_line(|line| assert_eq!(line.counters.dials.get(), 1));
    });
}
