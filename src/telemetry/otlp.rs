//! The table of instruments as an OpenTelemetry message (OTLP metrics, protobuf).
//!
//! Owns: [`metrics`]. Never: an exporter, a thread, a number of its own.
//! Invariant: what a collector reads is what `/metrics` shows, under the same names and labels.
//!
//! The message is written from the table itself: OpenTelemetry's SDK has no histogram that somebody
//! else counted, and its own counters would cost each auction what the cells do not.

use super::histogram::Counts;
use super::hub::{Hub, ProcessState, Sample, Value};
use super::meter::{Kind, Meter};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::time::Duration;

/// What Prometheus' names end in, and the unit's code in OpenTelemetry (UCUM).
const UNITS: [(&str, &str); 4] =
    [("_seconds", "s"), ("_connections", "{connection}"), ("_ratio", "1"), ("_bytes", "By")];

/// All numbers of this moment, of a process that says `about` itself (`service.name` and so on).
pub fn metrics(hub: &Hub, process: &ProcessState, about: &[(String, String)]) -> Vec<u8> {
    let mut message = Building::new(process);
    hub.collect(process, &mut |sample| message.add(sample));
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(about)),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope(process.version)),
                metrics: message.metrics,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    };
    request.encode_to_vec()
}

/// The metrics so far; samples of one instrument come one after the other.
struct Building {
    metrics: Vec<Metric>,
    started_ns: u64,
    now_ns: u64,
}

impl Building {
    fn new(process: &ProcessState) -> Self {
        Self { metrics: Vec::new(), started_ns: nanos(process.started), now_ns: nanos(process.now) }
    }

    fn add(&mut self, sample: &Sample<'_>) {
        let meter = sample.meter;
        if self.metrics.last().is_none_or(|last| last.name != meter.name) {
            self.metrics.push(begun(meter));
        }
        let labels = meter.labels.iter().zip(sample.labels);
        let attributes = labels.map(|(label, value)| attribute(label.name, value)).collect();
        let Some(data) = self.metrics.last_mut().and_then(|metric| metric.data.as_mut()) else {
            return;
        };
        let number = |value| NumberDataPoint {
            start_time_unix_nano: self.started_ns,
            time_unix_nano: self.now_ns,
            value: Some(value),
            ..NumberDataPoint::default()
        };
        let whole = |count| {
            number(number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)))
        };
        let real = |value| number(number_data_point::Value::AsDouble(value));
        match (data, sample.value) {
            (
                metric::Data::Sum(Sum { data_points, .. })
                | metric::Data::Gauge(Gauge { data_points }),
                Value::Whole(count),
            ) => {
                data_points.push(NumberDataPoint { attributes, ..whole(count) });
            }
            (
                metric::Data::Sum(Sum { data_points, .. })
                | metric::Data::Gauge(Gauge { data_points }),
                Value::Real(value),
            ) => {
                data_points.push(NumberDataPoint { attributes, ..real(value) });
            }
            (metric::Data::Histogram(histogram), Value::Buckets(counts)) => {
                let point = buckets(counts, self.started_ns, self.now_ns);
                histogram.data_points.push(HistogramDataPoint { attributes, ..point });
            }
            // the table says of each instrument what it is
            _ => {}
        }
    }
}

fn begun(meter: &Meter) -> Metric {
    let temporality = AggregationTemporality::Cumulative.into();
    let data = match meter.kind {
        Kind::Counter => metric::Data::Sum(Sum {
            aggregation_temporality: temporality,
            is_monotonic: true,
            data_points: Vec::new(),
        }),
        Kind::Gauge => metric::Data::Gauge(Gauge::default()),
        Kind::Histogram => metric::Data::Histogram(Histogram {
            aggregation_temporality: temporality,
            data_points: Vec::new(),
        }),
    };
    let stem = meter.name.trim_end_matches("_total");
    let unit = UNITS.iter().find(|(end, _)| stem.ends_with(end)).map_or("", |(_, unit)| unit);
    Metric {
        name: meter.name.to_owned(),
        description: meter.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn buckets(counts: &Counts, started_ns: u64, now_ns: u64) -> HistogramDataPoint {
    let bounds = (0..counts.buckets.len()).filter_map(|bucket| counts.scale.bound_us(bucket));
    HistogramDataPoint {
        start_time_unix_nano: started_ns,
        time_unix_nano: now_ns,
        count: counts.count(),
        sum: Some(counts.sum_ns as f64 / 1e9),
        bucket_counts: counts.buckets.clone(),
        explicit_bounds: bounds.map(|micros| micros as f64 / 1e6).collect(),
        ..HistogramDataPoint::default()
    }
}

/// Who sends.
pub(super) fn resource(about: &[(String, String)]) -> Resource {
    let attributes = about.iter().map(|(name, value)| attribute(name, value)).collect();
    Resource { attributes, ..Resource::default() }
}

pub(super) fn scope(version: &str) -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: version.to_owned(),
        ..InstrumentationScope::default()
    }
}

pub(super) fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(AnyKind::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::hub::{ListenerState, TelemetrySettings};
    use crate::telemetry::meters::ALL;
    use std::collections::BTreeMap;

    fn sent() -> ExportMetricsServiceRequest {
        let hub = Hub::new(1, TelemetrySettings::default(), &[]);
        let cells = hub.worker(0).unwrap();
        let bidder = cells.bidder(hub.bidders().slot("x"));
        bidder.answered(Duration::from_millis(250), 2);
        bidder.answered(Duration::from_millis(500), 1);
        let process = ProcessState {
            now: Duration::from_secs(20),
            started: Duration::from_secs(10),
            version: "1.2.3",
            generation: 3,
            listeners: vec![ListenerState {
                name: "public",
                backlog_asked: 9,
                backlog_effective: 8,
                waiting: 1,
                overflows_and_drops: Some((2, 3)),
            }],
            ..ProcessState::default()
        };
        let about = [("service.name".to_owned(), "gavel".to_owned())];
        ExportMetricsServiceRequest::decode(&*metrics(&hub, &process, &about)).unwrap()
    }

    #[test]
    fn a_collector_reads_what_was_counted() {
        let sent = sent();
        let [of_resource] = &*sent.resource_metrics else { panic!("one resource") };
        let about = of_resource.resource.as_ref().unwrap();
        assert_eq!(about.attributes, [attribute("service.name", "gavel")]);
        let [of_scope] = &*of_resource.scope_metrics else { panic!("one scope") };
        let by_name: BTreeMap<_, _> =
            of_scope.metrics.iter().map(|metric| (metric.name.as_str(), metric)).collect();
        assert_eq!(by_name.len(), of_scope.metrics.len(), "each instrument once");

        let Some(metric::Data::Sum(bids)) = &by_name["gavel_bids_received_total"].data else {
            panic!("bids are a sum");
        };
        assert!(bids.is_monotonic && bids.aggregation_temporality == 2, "cumulative");
        let [point] = &*bids.data_points else { panic!("one bidder") };
        assert_eq!(point.attributes, [attribute("bidder", "x")]);
        assert_eq!(point.value, Some(number_data_point::Value::AsInt(3)));
        assert_eq!(
            (point.start_time_unix_nano, point.time_unix_nano),
            (10 * 1_000_000_000, 20 * 1_000_000_000)
        );

        let answers = by_name["gavel_bidder_answer_seconds"];
        assert_eq!(answers.unit, "s");
        let Some(metric::Data::Histogram(histogram)) = &answers.data else {
            panic!("times are a histogram");
        };
        let [point] = &*histogram.data_points else { panic!("one bidder") };
        assert_eq!((point.count, point.sum), (2, Some(0.75)));
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), 2);
        assert!(point.explicit_bounds.is_sorted());

        let Some(metric::Data::Gauge(generation)) = &by_name["gavel_snapshot_generation"].data
        else {
            panic!("a generation is a gauge");
        };
        let value = generation.data_points.first().unwrap().value;
        assert_eq!(value, Some(number_data_point::Value::AsInt(3)));
    }

    #[test]
    fn nothing_is_sent_that_is_not_in_the_table() {
        for metric in &sent().resource_metrics[0].scope_metrics[0].metrics {
            let meter = ALL.iter().find(|meter| meter.name == metric.name).unwrap();
            assert_eq!(metric.description, meter.help);
            let is_alike = matches!(
                (meter.kind, metric.data.as_ref().unwrap()),
                (Kind::Counter, metric::Data::Sum(_))
                    | (Kind::Gauge, metric::Data::Gauge(_))
                    | (Kind::Histogram, metric::Data::Histogram(_))
            );
            assert!(is_alike, "{}", meter.name);
        }
    }
}
