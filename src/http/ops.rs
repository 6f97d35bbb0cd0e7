//! The operations listener: `/ready` and `/metrics`, on the control runtime.
//!
//! Owns: its two routes, and the small plain server that the admin listener uses too.
//! Never: a secret, a write, a liveness route. Nothing here can delay a bid.

use crate::http::reply::{self, Page, Reply};
use crate::lifecycle::tasks::Tasks;
use crate::lifecycle::{Lifecycle, Readiness};
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::ready;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Limits of the operations and admin listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpsSettings {
    /// Connections open at once on each of the two (1 to 1024); more are closed at once.
    pub connections_max: usize,
    /// To send a request's headers (100 ms to 60 s).
    pub header_time: Duration,
    /// A connection's whole life (1 s to 1 h).
    pub connection_time: Duration,
    /// Bytes of a body (1 KiB to 4 MiB), and from the end of the headers to its end (100 ms to 60 s).
    pub body_bytes_max: usize,
    pub body_time: Duration,
    /// Until an operator's test request must be answered (1 s to 10 min).
    pub trial_time: Duration,
}

impl Default for OpsSettings {
    fn default() -> Self {
        Self {
            connections_max: 64,
            header_time: Duration::from_secs(5),
            connection_time: Duration::from_secs(60),
            body_bytes_max: 1 << 20,
            body_time: Duration::from_secs(5),
            trial_time: Duration::from_secs(20),
        }
    }
}

/// What operators may ask for.
pub struct OpsRoutes {
    pub lifecycle: Arc<Lifecycle>,
    /// The text of `/metrics`.
    pub metrics: Box<dyn Fn() -> String>,
    /// More for `/ready` to say, such as the report of a faulty configuration: JSON or nothing.
    pub detail: Box<dyn Fn() -> Option<String>>,
}

impl OpsRoutes {
    fn answer(&self, method: &Method, path: &str) -> Page {
        match path {
            "/ready" | "/metrics" if method != Method::GET && method != Method::HEAD => {
                Page::Method
            }
            "/ready" => {
                let readiness = self.lifecycle.readiness();
                let body = ready_json(&readiness, (self.detail)().as_deref());
                if readiness.is_ready { Page::Json(body) } else { Page::Unavailable(body) }
            }
            "/metrics" => Page::Text((self.metrics)()),
            _ => Page::NoRoute,
        }
    }
}

fn ready_json(readiness: &Readiness, detail: Option<&str>) -> String {
    let mut text = format!(
        "{{\"ready\":{},\"phase\":\"{}\",\"missing\":[",
        readiness.is_ready,
        readiness.phase.label()
    );
    for (at, (part, why)) in readiness.missing.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let why = serde_json::Value::from(why.as_str());
        // Writing into a string does not fail.
        let _ = write!(text, "{comma}{{\"part\":\"{part}\",\"reason\":{why}}}");
    }
    text.push(']');
    if let Some(detail) = detail {
        text.push_str(",\"detail\":");
        text.push_str(detail);
    }
    text.push('}');
    text
}

/// Serves the operations listener until its task is dropped. `listener` is non-blocking; call it
/// inside a local runtime.
pub async fn serve(
    listener: std::net::TcpListener,
    routes: OpsRoutes,
    settings: OpsSettings,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let routes = Rc::new(routes);
    let plain = Plain::new(settings);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let routes = Rc::clone(&routes);
                plain.take(stream, move |request| {
                    ready(routes.answer(request.method(), request.uri().path()))
                });
            }
            Err(fault) => plain.pause(&fault).await,
        }
    }
}

/// A plain HTTP/1 server with a cap on its connections and their lives.
pub struct Plain {
    tasks: Tasks,
    settings: OpsSettings,
    builder: http1::Builder,
}

impl Plain {
    /// A server without connections.
    pub fn new(settings: OpsSettings) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_time)
            .max_buf_size(16 << 10);
        Self { tasks: Tasks::default(), settings, builder }
    }

    /// Serves one connection in a task of its own, where there is room.
    pub fn take<S, F>(&self, stream: S, answer: impl Fn(Request<Incoming>) -> F + 'static)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
        F: Future<Output = Page> + 'static,
    {
        if self.tasks.count() >= self.settings.connections_max {
            return;
        }
        let service = service_fn(move |request: Request<Incoming>| {
            let page = answer(request);
            async move { Ok::<Reply, Infallible>(reply::page(page.await)) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let life = self.settings.connection_time;
        // What goes wrong on such a connection is its client's to see.
        drop(self.tasks.spawn(async move { drop(timeout(life, connection).await) }));
    }

    /// Waits after an accept that failed, so that it cannot spin.
    pub async fn pause(&self, fault: &io::Error) {
        tracing::warn!(%fault, "accept failed on an operators' listener");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(lifecycle: &Arc<Lifecycle>) -> OpsRoutes {
        OpsRoutes {
            lifecycle: Arc::clone(lifecycle),
            metrics: Box::new(|| "gavel_up 1\n".to_owned()),
            detail: Box::new(|| None),
        }
    }

    #[test]
    fn readiness_says_what_is_missing() {
        let lifecycle = Arc::new(Lifecycle::default());
        let config = lifecycle.needs("config");
        config.missing("line 3: \"x\"");
        let routes = routes(&lifecycle);
        let expected = r#"{"ready":false,"phase":"starting","missing":[{"part":"config","reason":"line 3: \"x\""}]}"#;
        assert_eq!(routes.answer(&Method::GET, "/ready"), Page::Unavailable(expected.to_owned()));
        config.ready();
        let expected = r#"{"ready":true,"phase":"ready","missing":[]}"#;
        assert_eq!(routes.answer(&Method::GET, "/ready"), Page::Json(expected.to_owned()));
    }

    #[test]
    fn there_are_two_routes_and_both_only_read() {
        let routes = routes(&Arc::default());
        let text = Page::Text("gavel_up 1\n".to_owned());
        for (method, path, page) in [
            (Method::GET, "/metrics", text),
            (Method::POST, "/metrics", Page::Method),
            (Method::POST, "/ready", Page::Method),
            (Method::GET, "/healthz", Page::NoRoute),
            (Method::GET, "/snapshot", Page::NoRoute),
            (Method::GET, "/", Page::NoRoute),
        ] {
            assert_eq!(routes.answer(&method, path), page, "{method} {path}");
        }
    }
}
