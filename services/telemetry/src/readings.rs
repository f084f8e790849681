//! Numbers that somebody else keeps, read when an operator asks.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// One number.
pub struct Reading(Box<dyn Fn() -> u64 + Send + Sync>);

impl Reading {
    /// A gauge that `read` tells.
    pub fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Reading {
        Reading(Box::new(read))
    }
}

impl EncodeMetric for Reading {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&i64::try_from((self.0)()).unwrap_or(i64::MAX))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reading").field(&(self.0)()).finish()
    }
}

/// A family of counters with one label.
pub struct Readings {
    label: &'static str,
    read: Box<dyn Fn() -> Vec<(String, u64)> + Send + Sync>,
}

impl Readings {
    /// Counters told apart by `label`; `read` gives each value of the label its count, which never falls.
    pub fn new(label: &'static str, read: impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static) -> Self {
        Self { label, read: Box::new(read) }
    }
}

impl EncodeMetric for Readings {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (value, count) in (self.read)() {
            encoder
                .encode_family(&[(self.label, value)])?
                .encode_counter::<prometheus_client::encoding::NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readings").field("label", &self.label).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Identity;
    use crate::metrics::Metrics;

    #[test]
    fn each_value_of_the_label_is_a_line() {
        let metrics =
            Metrics::new(&Identity { role: "node".into(), mesh: "thử".into(), development: true });
        let read = || vec![("accepted".to_owned(), 3), ("timeout".to_owned(), 0)];
        metrics.register("handshakes", "Handshakes, by outcome", Readings::new("outcome", read));
        let text = metrics.encode().unwrap();
        for line in [
            "lienthong_handshakes_total{outcome=\"accepted\"} 3",
            "lienthong_handshakes_total{outcome=\"timeout\"} 0",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
    }
}
