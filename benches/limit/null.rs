//! The yardstick from inside: the same machinery without an exchange in it.
//!
//! hyper's server on gavel's workers, gavel's pools and client; the body goes to the bidders as
//! it came, and one of the answers goes back as it came.

use bytes::Bytes;
use gavel::arrival::Body;
use gavel::bid::BidAnswer;
use gavel::bidder::desk::{Counts, Desk, Net, Table};
use gavel::bidder::fanout::fan_out;
use gavel::bidder::net::NetSettings;
use gavel::bidder::{
    Bidder, CallLimits, CallTime, Endpoint, HttpVersion, ImpSet, Invitation, NoticeRules,
    OpenRtbVersion, Outgoing, Seats, Targeting, Wire,
};
use gavel::clock;
use gavel::lifecycle::{Lifecycle, Phase};
use gavel::limits::bank::Bank;
use gavel::limits::rate::LeaseSettings;
use gavel::openrtb::ids::BidderId;
use gavel::runtime::acceptor::{self, AcceptSettings, AcceptorParts};
use gavel::runtime::cpu::{self, CpuSettings};
use gavel::runtime::listener::{self, ListenSettings};
use gavel::runtime::workers::{self, WorkerSettings};
use gavel::telemetry::hub::{Hub, TelemetrySettings};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than any answer takes here.
const DEADLINE: Duration = Duration::from_secs(1);

/// Serves until the process ends.
pub fn serve(listen: SocketAddr, bidders: &[SocketAddr]) {
    let bidders: Arc<[Bidder]> = bidders.iter().map(|address| bidder(*address)).collect();
    let count = cpu::worker_count(CpuSettings::default()).count;
    let bank = Arc::new(Mutex::new(Bank::new(count, LeaseSettings::default())));
    let workers_count = u32::try_from(count).unwrap();
    let net = Net::new(NetSettings::default(), workers_count, Arc::clone(&bank)).unwrap();
    let net = Arc::new(net);
    let hub = Arc::new(Hub::new(count, TelemetrySettings::default(), &[]));
    let counted = Arc::clone(&hub);
    let lifecycle = Arc::new(Lifecycle::default());
    let workers = workers::spawn(count, WorkerSettings::default(), &lifecycle, move |seat| {
        let cells = Rc::new(counted.worker(seat.index).unwrap());
        let counts = Counts { hub: Arc::clone(&counted), cells };
        let desk = Desk::new(Arc::clone(&net), seat.index, counts);
        let bidders = Arc::clone(&bidders);
        move |stream, _peer| {
            let (desk, bidders) = (Rc::clone(&desk), Arc::clone(&bidders));
            async move {
                let service = service_fn(|request| answer(request, &desk, &bidders));
                // A broken connection is the load generator's business: it counts it.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        }
    })
    .unwrap();
    let bound = listener::bind(listen, &ListenSettings::default()).unwrap();
    let parts = AcceptorParts {
        outlets: workers.outlets(),
        started: workers.started(),
        lifecycle: Arc::clone(&lifecycle),
        hub,
        open: Arc::default(),
        settings: AcceptSettings::default(),
    };
    let acceptor = acceptor::spawn(bound.listener, parts).unwrap();
    lifecycle.advance(Phase::Ready);
    loop {
        bank.lock().unwrap().rebalance(clock::monotonic());
        std::thread::sleep(LeaseSettings::default().tick);
        if acceptor.is_finished() {
            return;
        }
    }
}

fn bidder(address: SocketAddr) -> Bidder {
    Bidder {
        name: format!("b{}", address.port()),
        endpoint: Endpoint {
            is_tls: false,
            host: address.ip().to_string(),
            port: address.port(),
            path: "/bid".to_owned(),
        },
        wire: Wire {
            version: OpenRtbVersion::V26,
            http: HttpVersion::Http1,
            is_gzip: false,
            tells_trace: false,
            currency: None,
            buyeruid_source: None,
            headers: Vec::new(),
        },
        targeting: Targeting::default(),
        seats: Seats::default(),
        time: CallTime::default(),
        limits: CallLimits::default(),
        notices: NoticeRules::default(),
    }
}

async fn answer(
    request: Request<Incoming>,
    desk: &Rc<Desk>,
    bidders: &[Bidder],
) -> Result<Response<Full<Bytes>>, Infallible> {
    let Ok(body) = request.into_body().collect().await else { return Ok(first(None)) };
    let body = Body(body.to_bytes());
    let now = clock::monotonic();
    let table: Rc<Table> = desk.table(1, bidders, now);
    let calls = (0..bidders.len())
        .filter_map(|index| {
            let bidder = BidderId(u16::try_from(index).ok()?);
            let permit = table.admit(bidder, now, DEADLINE).ok()?;
            let invitation = Invitation { bidder, imps: ImpSet(1) };
            let mut packet = desk.shelves.packet();
            packet.body_mut().extend_from_slice(body.as_slice());
            Some((permit, Outgoing { invitation, packet, parent: None }))
        })
        .collect();
    let answers = fan_out(desk, calls, now + DEADLINE, |_, raw| {
        Ok(BidAnswer { body: raw.content.to_vec(), ..BidAnswer::default() })
    })
    .await;
    let body = answers.into_iter().find_map(|answer| answer.result.ok());
    Ok(first(body.map(|answer| Bytes::from(answer.body))))
}

/// The answer with a body, or without.
pub fn first(body: Option<Bytes>) -> Response<Full<Bytes>> {
    let Some(body) = body else {
        let mut none = Response::new(Full::default());
        *none.status_mut() = StatusCode::NO_CONTENT;
        return none;
    };
    Response::new(Full::new(body))
}
