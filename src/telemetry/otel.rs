//! The table of instruments as OpenTelemetry's observable instruments.
//!
//! Owns: [`register`]. Never: an exporter, a thread, a number of its own.
//! Invariant: what OpenTelemetry reads is what `/metrics` shows, under the same names.
//!
//! OpenTelemetry has no observable histogram: of a histogram the count and the sum are given, as
//! two counters (rate and mean); its buckets are on `/metrics` only.

use super::hub::{Hub, ProcessState, Value};
use super::meters::{ALL, Kind, Meter};
use opentelemetry::metrics::{AsyncInstrument, Meter as OtelMeter};
use opentelemetry::{Key, KeyValue};
use std::sync::Arc;

/// What an observation is made of.
#[derive(Clone, Copy)]
enum Part {
    Number,
    Count,
    Sum,
}

/// Registers every instrument; `process` is asked at each reading.
pub fn register(
    meter: &OtelMeter,
    hub: &Arc<Hub>,
    process: &Arc<dyn Fn() -> ProcessState + Send + Sync>,
) {
    for entry in ALL {
        let observe = |part: Part| {
            let (hub, process) = (Arc::clone(hub), Arc::clone(process));
            move |to: &dyn AsyncInstrument<f64>| observe(&hub, &process(), entry, part, to)
        };
        match entry.kind {
            Kind::Counter => {
                let _ = meter
                    .f64_observable_counter(entry.name)
                    .with_description(entry.help)
                    .with_callback(observe(Part::Number))
                    .build();
            }
            Kind::Gauge => {
                let _ = meter
                    .f64_observable_gauge(entry.name)
                    .with_description(entry.help)
                    .with_callback(observe(Part::Number))
                    .build();
            }
            Kind::Histogram => {
                for (suffix, part) in [("_count", Part::Count), ("_sum", Part::Sum)] {
                    let _ = meter
                        .f64_observable_counter(format!("{}{suffix}", entry.name))
                        .with_description(entry.help)
                        .with_callback(observe(part))
                        .build();
                }
            }
        }
    }
}

fn observe(
    hub: &Hub,
    process: &ProcessState,
    entry: &'static Meter,
    part: Part,
    to: &dyn AsyncInstrument<f64>,
) {
    hub.collect(process, &mut |sample| {
        if sample.meter.name != entry.name {
            return;
        }
        let number = match (sample.value, part) {
            (Value::Whole(number), _) => number as f64,
            (Value::Real(number), _) => number,
            (Value::Buckets(counts), Part::Sum) => counts.sum_ns as f64 / 1e9,
            (Value::Buckets(counts), _) => counts.count() as f64,
        };
        let labels = entry.labels.iter().zip(sample.labels);
        let attributes: Vec<_> = labels
            .map(|(label, value)| KeyValue::new(Key::new(label.name), (*value).to_owned()))
            .collect();
        to.observe(number, &attributes);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::hub::TelemetrySettings;
    use opentelemetry::metrics::{
        AsyncInstrumentBuilder, Callback, InstrumentProvider, ObservableCounter, ObservableGauge,
    };
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::time::Duration;

    /// Keeps the callbacks that an exporter would call.
    #[derive(Default)]
    struct Fake(Mutex<Vec<(String, Callback<f64>)>>);

    impl InstrumentProvider for Fake {
        fn f64_observable_counter(
            &self,
            builder: AsyncInstrumentBuilder<'_, ObservableCounter<f64>, f64>,
        ) -> ObservableCounter<f64> {
            let calls = builder.callbacks.into_iter().map(|call| (builder.name.to_string(), call));
            self.0.lock().unwrap().extend(calls);
            ObservableCounter::new()
        }

        fn f64_observable_gauge(
            &self,
            builder: AsyncInstrumentBuilder<'_, ObservableGauge<f64>, f64>,
        ) -> ObservableGauge<f64> {
            let calls = builder.callbacks.into_iter().map(|call| (builder.name.to_string(), call));
            self.0.lock().unwrap().extend(calls);
            ObservableGauge::new()
        }
    }

    #[derive(Default)]
    struct Seen(Mutex<Vec<(String, f64)>>);

    impl AsyncInstrument<f64> for Seen {
        fn observe(&self, number: f64, attributes: &[KeyValue]) {
            let labels: Vec<_> =
                attributes.iter().map(|one| format!("{}={}", one.key, one.value)).collect();
            self.0.lock().unwrap().push((labels.join(","), number));
        }
    }

    #[test]
    fn an_exporter_reads_what_was_counted() {
        let hub = Arc::new(Hub::new(1, TelemetrySettings::default(), &[]));
        let cells = hub.worker(0).unwrap();
        let bidder = cells.bidder(hub.bidders().slot("x"));
        bidder.answered(Duration::from_millis(250), 2);
        bidder.answered(Duration::from_millis(500), 1);
        let fake = Arc::new(Fake::default());
        let process: Arc<dyn Fn() -> ProcessState + Send + Sync> =
            Arc::new(|| ProcessState { generation: 3, ..ProcessState::default() });
        register(&OtelMeter::new(fake.clone()), &hub, &process);
        let callbacks = fake.0.lock().unwrap();
        let histograms = ALL.iter().filter(|entry| entry.kind == Kind::Histogram).count();
        assert_eq!(callbacks.len(), ALL.len() + histograms, "one each, two for a histogram");
        let read: BTreeMap<_, _> = callbacks
            .iter()
            .map(|(name, call)| {
                let seen = Seen::default();
                call(&seen);
                (name.as_str(), seen.0.into_inner().unwrap())
            })
            .collect();
        let x = "bidder=x".to_owned();
        assert_eq!(read["gavel_bids_received_total"], [(x.clone(), 3.0)]);
        assert_eq!(read["gavel_bidder_answer_seconds_count"], [(x.clone(), 2.0)]);
        assert_eq!(read["gavel_bidder_answer_seconds_sum"], [(x, 0.75)]);
        assert_eq!(read["gavel_bidder_calls_total"], [("bidder=x,result=bid".to_owned(), 2.0)]);
        assert_eq!(read["gavel_snapshot_generation"], [(String::new(), 3.0)]);
    }
}
