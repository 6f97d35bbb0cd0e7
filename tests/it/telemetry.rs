//! Numbers on their way to a collector.

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::Client;
use crate::harness::server::Server;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message;
use std::path::{Path, PathBuf};

const REQUEST: &str =
    r#"{"id":"r-1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"}}"#;

fn config(folder: &Path, collector: &Bidder, every: &str) -> PathBuf {
    let path = folder.join("gavel.toml");
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [[partners]]\nname = 'pub'\nopen = true\n[telemetry.otlp]\nendpoint = 'http://{}/otel'\n\
         every = '{every}'\nheaders = ['x-collector-key: secret-canary']\nattributes = ['k8s.pod.name=pod-1']\n\
         [telemetry.traces]\nratio = 0\n",
        collector.address
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn what_does_not_say_when_it_was_built_has_no_age() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo");
    let path = dir.path().join("gavel.toml");
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [databases]\ncity = '{0}/geo/demo-city.mmdb'\ndevice_regexes = '{0}/device/regexes.yaml'\n\
         device_models = '{0}/device/models.toml'\n\
         [[partners]]\nname = 'pub'\nopen = true\n",
        demo.display()
    );
    std::fs::write(&path, text).unwrap();
    let server = Server::ready(&path);
    let text = server.metrics();
    for name in ["gavel_database_age_seconds", "gavel_database_build_timestamp_seconds"] {
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with(name)).collect();
        let [row] = &*rows else { panic!("{rows:?}") };
        assert!(row.starts_with(&format!("{name}{{database=\"city\"}}")), "{row}");
    }
    // and what is asked for by `auto` is what there is
    let backlog = |size| {
        let row =
            format!("gavel_listener_backlog_connections{{listener=\"public\",size=\"{size}\"}}");
        server.metric(&row)
    };
    assert!(backlog("asked") > 0.5);
    assert!((backlog("asked") - backlog("effective")).abs() < 0.5);
}

/// The sum of a counter in a message.
fn sum(body: &[u8], name: &str) -> Option<i64> {
    let sent = ExportMetricsServiceRequest::decode(body).unwrap();
    let metrics = &sent.resource_metrics[0].scope_metrics[0].metrics;
    let metric = metrics.iter().find(|metric| metric.name == name)?;
    let Some(metric::Data::Sum(sum)) = &metric.data else { panic!("{name} is no sum") };
    let values = sum.data_points.iter().map(|point| match point.value {
        Some(number_data_point::Value::AsInt(value)) => value,
        other => panic!("{other:?}"),
    });
    Some(values.sum())
}

#[test]
fn a_collector_is_sent_what_metrics_show_and_the_last_of_it_at_the_end() {
    let collector = Bidder::start(Script { status: 200, ..Script::default() });
    let dir = tempfile::tempdir().unwrap();
    // only the first message and the last one come: the rest is too far off
    let mut server = Server::ready(&config(dir.path(), &collector, "10m"));
    collector.wait_for_one();
    let mut client = Client::connect(server.public.unwrap());
    for _ in 0..3 {
        assert_eq!(client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 204);
    }
    drop(client);
    assert_eq!(server.terminate(), Some(0));
    let messages = collector.seen();
    let [first, last] = &*messages else { panic!("{} messages", messages.len()) };
    assert_eq!(first.first_line, "POST /otel/v1/metrics HTTP/1.1");
    for (name, value) in
        [("content-type", "application/x-protobuf"), ("x-collector-key", "secret-canary")]
    {
        assert!(first.headers.contains(&(name.to_owned(), value.to_owned())), "{name}");
    }
    assert_eq!(sum(&last.body, "gavel_requests_total"), Some(3));
    let sent = ExportMetricsServiceRequest::decode(&*last.body).unwrap();
    let about = &sent.resource_metrics[0].resource.as_ref().unwrap().attributes;
    let names: Vec<_> = about.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(names, ["k8s.pod.name", "service.name"]);
    assert!(!server.log.concat().contains("secret-canary"), "the key is nobody's business");
}

#[test]
fn a_collector_that_fails_costs_one_line_of_the_log_and_no_auction() {
    let collector = Bidder::start(Script { status: 503, ..Script::default() });
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::ready(&config(dir.path(), &collector, "1s"));
    let said = server.wait_log("metrics do not arrive at the collector");
    assert!(said["fault"].as_str().unwrap().contains("503"), "{said}");
    let mut client = Client::connect(server.public.unwrap());
    assert_eq!(client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 204);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_collector_that_hangs_does_not_hold_up_the_end() {
    // takes connections into its queue, and never a word
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gavel.toml");
    let text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}\
         [[partners]]\nname = 'pub'\nopen = true\n[telemetry.otlp]\nendpoint = 'http://{}'\n\
         time = '1m'\nevery = '10m'\n[telemetry.traces]\nratio = 1\n[drain]\nmax = '1s'\n",
        collector.local_addr().unwrap()
    );
    std::fs::write(&path, text).unwrap();
    let mut server = Server::ready(&path);
    let mut client = Client::connect(server.public.unwrap());
    assert_eq!(client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 204);
    drop(client);
    assert_eq!(server.terminate(), Some(0));
    server.wait_log("the collector was given up: the last metrics or traces did not arrive");
}
