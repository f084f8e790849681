//! What is counted. `tests/golden/metrics.txt` lists the names.

use std::fmt;
use std::sync::Arc;

use lienthong_telemetry::Metrics;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::memory::Memory;

/// The witness's counters. All clones count together.
#[derive(Clone, Debug, Default)]
pub struct WitnessMetrics {
    requests: Family<Answer, Counter>,
    contradictions: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLog {
    origin: String,
}

impl WitnessMetrics {
    /// Puts every metric into the process's register.
    pub fn register(&self, metrics: &Metrics, memory: &Arc<Memory>) {
        metrics.register(
            "witness_requests",
            "Checkpoints submitted, by the HTTP status of the answer",
            self.requests.clone(),
        );
        metrics.register(
            "witness_contradictions",
            "Checkpoints that a log signed and that contradict what it signed before: look at once",
            self.contradictions.clone(),
        );
        metrics.register(
            "witness_log_size",
            "Entries of the last tree cosigned, by log",
            Sizes(Arc::clone(memory)),
        );
    }

    /// A request was answered.
    pub fn answered(&self, status: u16) {
        self.requests.get_or_create(&Answer { status }).inc();
    }

    /// A log contradicted itself.
    pub fn contradicted(&self) {
        self.contradictions.inc();
    }
}

/// Read when somebody asks.
struct Sizes(Arc<Memory>);

impl fmt::Debug for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sizes")
    }
}

impl EncodeMetric for Sizes {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        let family = Family::<OfLog, Gauge>::default();
        for (origin, size) in self.0.sizes() {
            family.get_or_create(&OfLog { origin }).set(i64::try_from(size).unwrap_or(i64::MAX));
        }
        family.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}
