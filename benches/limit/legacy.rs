//! The yardstick from outside: a fan-out written with the stock parts only.
//!
//! tokio's work-stealing runtime, hyper's server, hyper-util's pooled client. It reads nothing: it
//! sends the body to every bidder, awaits all of them, and answers with one of the bodies.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;

type Bidders = Client<HttpConnector, Full<Bytes>>;

/// Serves until the process is ended; prints its address first.
pub fn serve(bidders: &[String]) -> std::io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Bidders = Client::builder(TokioExecutor::new()).build(connector);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        super::announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn(stream, client.clone(), bidders.to_vec());
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "the stock way is what is measured")]
fn spawn(stream: tokio::net::TcpStream, client: Bidders, bidders: Vec<String>) {
    tokio::spawn(async move {
        let service = service_fn(|request| answer(request, &client, &bidders));
        // A broken connection is the load generator's business: it counts it.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    });
}

async fn answer(
    request: Request<Incoming>,
    client: &Bidders,
    bidders: &[String],
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let calls = bidders.iter().map(|url| {
        let call = Request::post(url)
            .header("content-type", "application/json")
            .body(Full::new(body.clone()));
        async move {
            let answer = client.request(call.ok()?).await.ok()?;
            let status = answer.status();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            (status == 200).then_some(body)
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    Ok(match answers.into_iter().flatten().next() {
        Some(body) => Response::new(Full::new(body)),
        None => {
            let mut none = Response::new(Full::default());
            *none.status_mut() = hyper::StatusCode::NO_CONTENT;
            none
        }
    })
}

/// Where a bidder is, for the stock client.
pub fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}
