//! One request, followed: its id in the answer and in the log, its trace at the collector.

use crate::harness::PATIENT;
use crate::harness::bidder::{Bidder, Script};
use crate::harness::http::Client;
use crate::harness::server::Server;
use gavel::correlation::TraceParent;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::path::{Path, PathBuf};

const REQUEST: &str = r#"{"id":"r-1","tmax":5000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],
    "site":{"id":"s"},"device":{"ip":"203.0.113.9","ifa":"ifa-linnet"},"user":{"buyeruid":"uid-linnet"}}"#;
const ANSWER: &str = r#"{"id":"r-1","seatbid":[{"bid":[{"id":"b","impid":"1","price":1,"adm":"<p>","w":300,"h":250}]}]}"#;
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

fn config(folder: &Path, more: &str, bidders: &[&Bidder]) -> PathBuf {
    let path = folder.join("gavel.toml");
    let mut text = format!(
        "[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n{PATIENT}{more}\n\
         [[partners]]\nname = 'pub'\nopen = true\ntmax_default = '5s'\ntmax_max = '9s'\ndebug = true\n"
    );
    for (number, bidder) in bidders.iter().enumerate() {
        text.push_str(&format!(
            "[[bidders]]\nname = 'b{number}'\nurl = 'http://{}/'\n[bidders.time]\nmost = '5s'\n",
            bidder.address
        ));
    }
    std::fs::write(&path, text).unwrap();
    path
}

fn traced(collector: &Bidder, traces: &str) -> String {
    format!(
        "[telemetry.otlp]\nendpoint = 'http://{}/otel'\nevery = '10m'\n\
         [telemetry.traces]\n{traces}\n",
        collector.address
    )
}

fn spans(collector: &Bidder) -> Vec<Span> {
    let messages = collector.seen().into_iter();
    messages
        .filter(|message| message.first_line == "POST /otel/v1/traces HTTP/1.1")
        .flat_map(|message| {
            let sent = ExportTraceServiceRequest::decode(&*message.body).unwrap();
            sent.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans)
        })
        .collect()
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|found| found.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        _ => "",
    }
}

#[test]
fn a_traced_request_is_one_span_with_a_child_for_each_call_at_the_collector() {
    let collector = Bidder::start(Script { status: 200, ..Script::default() });
    let bids = Bidder::start(Script { status: 200, body: ANSWER.into(), ..Script::default() });
    let fails = Bidder::start(Script { status: 500, ..Script::default() });
    let folder = tempfile::tempdir().unwrap();
    let more = traced(&collector, "ratio = 0");
    let mut server = Server::ready(&config(folder.path(), &more, &[&bids, &fails]));
    let mut client = Client::connect(server.public.unwrap());
    let headers = [("traceparent", PARENT), ("x-request-id", "their-7")];
    let reply = client.post("/openrtb2/pub", &headers, REQUEST.as_bytes()).unwrap();
    assert_eq!((reply.status, reply.header("x-request-id")), (200, Some("their-7")));
    // neither its sender nor the ratio wants this one
    let reply = client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap();
    assert_eq!(reply.header("x-request-id").unwrap().len(), 32);
    let failed = server.wait_log("a bidder's call failed");
    assert_eq!(failed["request_id"], "their-7", "{failed}");
    assert_eq!((&failed["bidder"], &failed["reason"]), (&"b1".into(), &"server_status".into()));
    drop(client);
    assert_eq!(server.terminate(), Some(0));

    let spans = spans(&collector);
    let [whole, calls @ ..] = &*spans else { panic!("no span") };
    assert!(spans.iter().all(|span| span.trace_id == TRACE.to_be_bytes()), "one trace");
    assert_eq!(whole.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(text(whole, "gavel.request_id"), "their-7");
    assert_eq!((text(whole, "gavel.partner"), text(whole, "gavel.result")), ("pub", "answered"));
    let events: Vec<_> = whole.events.iter().map(|event| event.name.as_str()).collect();
    let stages = ["read", "admit", "enrich", "select", "wait", "auction", "respond"];
    assert_eq!(events, stages.map(|stage| format!("{stage} done")));
    let mut ends: Vec<_> = calls
        .iter()
        .map(|call| (text(call, "gavel.bidder"), text(call, "gavel.no_answer")))
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, [("b0", ""), ("b1", "server_status")]);
    for call in calls {
        assert_eq!(call.parent_span_id, whole.span_id);
        assert!(call.start_time_unix_nano >= whole.start_time_unix_nano);
        assert!(call.end_time_unix_nano <= whole.end_time_unix_nano);
    }
    for message in collector.seen() {
        let sent = String::from_utf8_lossy(&message.body).into_owned();
        assert!(!sent.contains("linnet") && !sent.contains("203.0.113"), "nothing personal");
    }
    assert!(!server.log.concat().contains("linnet"));
}

#[test]
fn a_bidder_that_wants_it_is_told_the_span_of_its_call_and_no_other_is() {
    let collector = Bidder::start(Script { status: 200, ..Script::default() });
    let [silent, wants] =
        [(); 2].map(|()| Bidder::start(Script { status: 204, ..Script::default() }));
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), &traced(&collector, "ratio = 0"), &[&silent, &wants]);
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, written.replace("name = 'b1'", "name = 'b1'\ntraceparent = true"))
        .unwrap();
    let mut server = Server::ready(&path);
    let mut client = Client::connect(server.public.unwrap());
    for headers in [&[("traceparent", PARENT)][..], &[]] {
        assert_eq!(client.post("/openrtb2/pub", headers, REQUEST.as_bytes()).unwrap().status, 204);
    }
    drop(client);
    assert_eq!(server.terminate(), Some(0));
    let told = |bidder: &Bidder| -> Vec<String> {
        let all = bidder.seen().into_iter().flat_map(|message| message.headers);
        all.filter(|(name, _)| name == "traceparent").map(|(_, value)| value).collect()
    };
    assert_eq!((told(&silent), silent.seen().len()), (Vec::new(), 2));
    let spans = spans(&collector);
    let call = spans.iter().find(|span| text(span, "gavel.bidder") == "b1").expect("its call");
    let read = |text: &String| TraceParent::parse(text.as_bytes()).expect("the standard's form");
    let [followed, own] = &*told(&wants) else { panic!("{:?}", told(&wants)) };
    let (followed, own) = (read(followed), read(own));
    let expected = (TRACE, call.span_id.clone(), true);
    let span = followed.span.0.to_be_bytes().to_vec();
    assert_eq!((followed.trace.0, span, followed.is_sampled), expected);
    // one that nobody traces is told as such, in a trace of its own
    assert!(own.trace.0 != TRACE && !own.is_sampled, "{own:?}");
}

#[test]
fn a_test_request_is_traced_and_none_is_beyond_the_rate() {
    let collector = Bidder::start(Script { status: 200, ..Script::default() });
    let folder = tempfile::tempdir().unwrap();
    // one worker: the rate is a worker's share
    let more = traced(&collector, "ratio = 0\nper_second_max = 1") + "[runtime]\nworkers = 1\n";
    let mut server = Server::ready(&config(folder.path(), &more, &[]));
    let mut client = Client::connect(server.public.unwrap());
    let test = REQUEST.replacen('{', r#"{"test":1,"#, 1);
    let asked = gavel::clock::monotonic();
    for _ in 0..3 {
        assert_eq!(client.post("/openrtb2/pub", &[], test.as_bytes()).unwrap().status, 200);
    }
    let seconds = usize::try_from(asked.elapsed().as_secs()).unwrap() + 2;
    drop(client);
    assert_eq!(server.terminate(), Some(0));
    let spans = spans(&collector);
    assert!(!spans.is_empty() && spans.len() <= seconds.min(3), "{} spans", spans.len());
}

#[test]
fn a_collector_that_fails_costs_the_trace_and_is_counted_and_said_once() {
    let collector = Bidder::start(Script { status: 503, ..Script::default() });
    let folder = tempfile::tempdir().unwrap();
    let more = traced(&collector, "ratio = 1.0");
    let mut server = Server::ready(&config(folder.path(), &more, &[]));
    let mut client = Client::connect(server.public.unwrap());
    assert_eq!(client.post("/openrtb2/pub", &[], REQUEST.as_bytes()).unwrap().status, 204);
    server.wait_log("traces do not arrive at the collector");
    let lost = server.metric(r#"gavel_traces_total{result="not_delivered"}"#);
    assert!((lost - 1.0).abs() < 0.5, "{lost}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn refusals_are_told_with_the_id_of_the_answer_and_not_more_often_than_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let more = "[runtime]\nworkers = 1\n[telemetry]\nlines_per_second_max = 1\n";
    let mut server = Server::ready(&config(folder.path(), more, &[]));
    let mut client = Client::connect(server.public.unwrap());
    let asked = gavel::clock::monotonic();
    let mut ids = Vec::new();
    for _ in 0..20 {
        let headers = [("x-request-id", "jo@mail.example"), ("traceparent", "junk")];
        let reply = client.post("/openrtb2/pub", &headers, b"{\"ifa\":\"linnet\"}").unwrap();
        assert_eq!(reply.status, 400);
        ids.push(reply.header("x-request-id").unwrap().to_owned());
    }
    let seconds = usize::try_from(asked.elapsed().as_secs()).unwrap() + 2;
    let told = server.wait_log("request refused");
    assert!(ids.iter().any(|id| told["request_id"] == id.as_str()), "{told}");
    assert_eq!((&told["partner"], &told["reason"]), (&"pub".into(), &"id_missing".into()));
    assert!((server.metric("gavel_traceparent_malformed_total") - 20.0).abs() < 0.5);
    assert_eq!(server.terminate(), Some(0));
    let lines = server.log.iter().filter(|line| line.contains("request refused")).count();
    assert!(lines <= seconds, "{lines} lines in {seconds} s");
    assert!(!server.log.concat().contains("linnet") && !server.log.concat().contains("jo@mail"));
}

#[test]
fn a_refusal_before_the_partner_was_known_names_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::ready(&config(folder.path(), "", &[]));
    let mut client = Client::connect(server.public.unwrap());
    let reply = client.post("/openrtb2/linnet", &[], REQUEST.as_bytes()).unwrap();
    assert_eq!(reply.status, 401);
    let told = server.wait_log("request refused");
    assert_eq!((&told["reason"], told.get("partner")), (&"unauthorised".into(), None), "{told}");
    assert!(!server.log.concat().contains("linnet"), "its word for itself is not repeated");
}
