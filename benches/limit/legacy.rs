//! The yardstick from outside: a fan-out written with the stock parts only.
//!
//! tokio's work-stealing runtime, hyper's server, hyper-util's pooled client. It reads nothing: it
//! sends the body to every bidder, awaits all of them, and answers with one of the bodies.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::Arc;

type Bidders = Client<HttpConnector, Full<Bytes>>;

/// Serves until the process ends.
pub fn serve(listen: SocketAddr, bidders: &[SocketAddr]) -> std::io::Result<()> {
    let urls: Arc<[String]> =
        bidders.iter().map(|address| format!("http://{address}/bid")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Bidders = Client::builder(TokioExecutor::new()).build(connector);
        let listener = tokio::net::TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn(stream, client.clone(), Arc::clone(&urls));
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "the stock way is what is measured")]
fn spawn(stream: tokio::net::TcpStream, client: Bidders, urls: Arc<[String]>) {
    tokio::spawn(async move {
        let service = service_fn(|request| answer(request, &client, &urls));
        // A broken connection is the load generator's business: it counts it.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    });
}

async fn answer(
    request: Request<Incoming>,
    client: &Bidders,
    urls: &[String],
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let calls = urls.iter().map(|url| {
        let call = Request::post(url)
            .header("content-type", "application/json")
            .header("x-openrtb-version", "2.6")
            .body(Full::new(body.clone()));
        async move {
            let answer = client.request(call.ok()?).await.ok()?;
            let status = answer.status();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            (status == StatusCode::OK).then_some(body)
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    Ok(super::null::first(answers.into_iter().flatten().next()))
}
