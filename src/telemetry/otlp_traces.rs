//! Traces as an OpenTelemetry message (OTLP, protobuf): a span for the auction, one for each call.
//!
//! Owns: [`traces`]. Never: an exporter, a clock, a name of a person: attributes are those of the
//! semantic conventions, and names from configuration.

use super::otlp::{attribute, nanos, resource, scope};
use super::spans::{AuctionSpan, CallSpan};
use crate::correlation::SpanId;
use crate::negatives::no_answer::NoAnswer;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Code;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use std::time::Duration;

/// The message, of a process that says `about` itself.
pub fn traces(auctions: &[AuctionSpan], version: &str, about: &[(String, String)]) -> Vec<u8> {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(about)),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope(version)),
                spans: auctions.iter().flat_map(spans).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec()
}

fn spans(auction: &AuctionSpan) -> Vec<Span> {
    let calls = auction.calls.iter().map(|of| call(auction, of));
    std::iter::once(whole(auction)).chain(calls).collect()
}

/// Our part of the trace.
fn whole(auction: &AuctionSpan) -> Span {
    let correlation = &auction.correlation;
    let mut ended = auction.began;
    let event = |(stage, took): (super::stages::Stage, Duration)| {
        ended = ended.saturating_add(took);
        Event {
            time_unix_nano: nanos(ended),
            name: format!("{} done", stage.label()),
            ..Event::default()
        }
    };
    let events = auction.marks.ended().map(event).collect();
    let attributes = vec![
        attribute("gavel.request_id", correlation.request_id.as_str()),
        attribute("gavel.partner", &auction.partner),
        attribute("gavel.result", auction.result),
        whole_number("gavel.generation", auction.generation),
    ];
    Span {
        parent_span_id: correlation.parent.map_or_else(Vec::new, id),
        name: "auction".to_owned(),
        kind: SpanKind::Server.into(),
        attributes,
        events,
        ..begun(auction, correlation.span, (Duration::ZERO, auction.took))
    }
}

fn call(auction: &AuctionSpan, call: &CallSpan) -> Span {
    let mut attributes = vec![attribute("gavel.bidder", &call.bidder)];
    if call.status > 0 {
        attributes.push(whole_number("http.response.status_code", u64::from(call.status)));
    }
    let status = match call.result {
        Ok(bids) => {
            attributes.push(whole_number("gavel.bids", bids as u64));
            None
        }
        Err(NoAnswer::NoBid) => {
            attributes.push(attribute("gavel.no_answer", NoAnswer::NoBid.label()));
            None
        }
        Err(why) => {
            attributes.push(attribute("gavel.no_answer", why.label()));
            attributes.push(attribute("error.type", why.label()));
            Some(Status { message: String::new(), code: Code::Error.into() })
        }
    };
    Span {
        parent_span_id: id(auction.correlation.span),
        name: "bidder call".to_owned(),
        kind: SpanKind::Client.into(),
        attributes,
        status,
        ..begun(auction, call.id, (call.began, call.took))
    }
}

/// A span that began so long after the arrival, and took so long.
fn begun(auction: &AuctionSpan, span: SpanId, (after, took): (Duration, Duration)) -> Span {
    let start = auction.began.saturating_add(after);
    Span {
        trace_id: auction.correlation.trace.0.to_be_bytes().to_vec(),
        span_id: id(span),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(start.saturating_add(took)),
        ..Span::default()
    }
}

fn id(span: SpanId) -> Vec<u8> {
    span.0.to_be_bytes().to_vec()
}

fn whole_number(name: &str, value: u64) -> KeyValue {
    let value = AnyKind::IntValue(i64::try_from(value).unwrap_or(i64::MAX));
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::correlation::{Mint, TraceParent};
    use crate::telemetry::stages::{Marks, Stage};

    fn auction() -> AuctionSpan {
        let parent = TraceParent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let start = clock::monotonic();
        let mut marks = Marks::begin(start, true);
        marks.end(Stage::Read, || start + Duration::from_millis(2));
        marks.end(Stage::Admit, || start + Duration::from_millis(3));
        let correlation = Mint::new().correlate(Some(b"r-1"), parent);
        let call = |number, status, result| CallSpan {
            id: correlation.span.child(number),
            bidder: format!("b{number}"),
            began: Duration::from_millis(3),
            took: Duration::from_millis(40),
            status,
            result,
        };
        AuctionSpan {
            began: Duration::from_secs(1_000),
            took: Duration::from_millis(50),
            generation: 7,
            partner: "pub".to_owned(),
            result: "answered",
            marks,
            calls: vec![
                call(0, 200, Ok(2)),
                call(1, 204, Err(NoAnswer::NoBid)),
                call(2, 0, Err(NoAnswer::Late)),
            ],
            correlation,
        }
    }

    #[test]
    fn a_collector_sees_one_span_for_the_auction_and_a_child_for_each_call() {
        let about = [("service.name".to_owned(), "gavel".to_owned())];
        let message = traces(&[auction()], "1.2.3", &about);
        let sent = ExportTraceServiceRequest::decode(&*message).unwrap();
        let of = &sent.resource_spans[0];
        assert_eq!(of.resource.as_ref().unwrap().attributes, [attribute("service.name", "gavel")]);
        let [whole, bid, none, late] = &*of.scope_spans[0].spans else { panic!("four spans") };
        let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
        for span in [whole, bid, none, late] {
            assert_eq!(span.trace_id, trace);
            assert_eq!(span.span_id.len(), 8);
        }
        assert_eq!(whole.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
        assert_eq!(whole.end_time_unix_nano - whole.start_time_unix_nano, 50_000_000);
        let events: Vec<_> = whole.events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(events, ["read done", "admit done"]);
        assert_eq!(whole.events[1].time_unix_nano - whole.start_time_unix_nano, 3_000_000);
        assert!(whole.attributes.contains(&attribute("gavel.request_id", "r-1")));
        for call in [bid, none, late] {
            assert_eq!(call.parent_span_id, whole.span_id);
            assert_eq!(call.start_time_unix_nano - whole.start_time_unix_nano, 3_000_000);
        }
        assert!(bid.attributes.contains(&whole_number("gavel.bids", 2)));
        assert!(none.attributes.contains(&whole_number("http.response.status_code", 204)));
        assert!(bid.status.is_none() && none.status.is_none(), "no bid is no fault");
        assert_eq!(late.status.as_ref().unwrap().code, i32::from(Code::Error));
        assert!(late.attributes.contains(&attribute("gavel.no_answer", "late")));
    }
}
