//! The register of numbers.
//!
//! Each role registers its metrics once at start and keeps the handles; the register encodes them as OpenMetrics text.
//! Names, types and helps are an interface to every dashboard: a role compares [`Metrics::list`] with a golden file, so
//! that none changes unnoticed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::health::{Identity, VERSION};

/// Starts the name of every metric.
pub const METRIC_PREFIX: &str = "lienthong";

/// The register. Clones share it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    /// Name, type, help of each registered metric.
    list: Vec<String>,
}

impl Metrics {
    /// A register that already holds `build_info` (role, version, mesh) and `development` (0 or 1).
    pub fn new(identity: &Identity) -> Self {
        let registry = Registry::with_prefix(METRIC_PREFIX);
        let metrics = Self(Arc::new(Mutex::new(Inner { registry, list: Vec::new() })));
        let labels = vec![
            ("role", identity.role.clone()),
            ("version", VERSION.to_owned()),
            ("mesh", identity.mesh.clone()),
        ];
        metrics.register(
            "build",
            "Which role of which mesh, and the version of its build",
            Info::new(labels),
        );
        metrics.register(
            "development",
            "1 where development certificates are accepted",
            ConstGauge::new(i64::from(identity.development)),
        );
        metrics
    }

    /// Registers `metric` as `lienthong_<name>`. The encoder appends `_total` to a counter's name and a full stop to `help`.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        let mut inner = self.inner();
        inner.note(name, None, help, &metric);
        inner.registry.register(name, help, metric);
    }

    /// As [`Metrics::register`]; the encoder appends the unit to the name.
    pub fn register_with_unit(&self, name: &str, help: &str, unit: Unit, metric: impl Metric) {
        let mut inner = self.inner();
        inner.note(name, Some(&unit), help, &metric);
        inner.registry.register_with_unit(name, help, unit, metric);
    }

    /// All of them as OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.inner().registry)?;
        Ok(text)
    }

    /// One line for each metric, sorted: `name type help`.
    pub fn list(&self) -> String {
        let mut lines = self.inner().list.clone();
        lines.sort();
        lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// Compares [`Metrics::list`] with a golden file's text; the error lists what came (`+`) and what went (`-`).
    pub fn check_golden(&self, golden: &str) -> Result<(), String> {
        let list = self.list();
        let came = list.lines().filter(|line| !golden.lines().any(|known| known == *line));
        let went = golden.lines().filter(|line| !list.lines().any(|known| known == *line));
        let difference: String =
            came.map(|line| format!("+ {line}\n")).chain(went.map(|line| format!("- {line}\n"))).collect();
        if difference.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "metrics are an interface; if the change is meant, change the golden file:\n{difference}"
            ))
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, name: &str, unit: Option<&Unit>, help: &str, metric: &impl Metric) {
        let unit = unit.map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let line = format!("{METRIC_PREFIX}_{name}{unit} {} {help}", metric.metric_type().as_str());
        debug_assert!(!self.list.contains(&line), "registered twice: {line}");
        self.list.push(line);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;

    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(&Identity { role: "node".into(), mesh: "thử".into(), development: true })
    }

    #[test]
    fn what_is_registered_is_encoded() {
        let metrics = metrics();
        let calls = Counter::<u64>::default();
        metrics.register("calls", "Calls judged", calls.clone());
        calls.inc_by(7);
        let text = metrics.encode().unwrap();
        assert!(text.contains("\nlienthong_calls_total 7\n"), "{text}");
        assert!(
            text.contains("lienthong_build_info{role=\"node\",version=\"0.1.0\",mesh=\"thử\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("lienthong_development 1\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn the_golden_list_also_holds_what_has_no_value_yet() {
        let metrics = metrics();
        metrics.register("denials", "Calls denied", Family::<Vec<(String, String)>, Counter>::default());
        metrics.register_with_unit("call", "Time of a call", Unit::Seconds, Counter::<u64>::default());
        let golden = "\
lienthong_build info Which role of which mesh, and the version of its build
lienthong_call_seconds counter Time of a call
lienthong_denials counter Calls denied
lienthong_development gauge 1 where development certificates are accepted
";
        assert_eq!(metrics.list(), golden);
        assert_eq!(metrics.check_golden(golden), Ok(()));
        let other = metrics.check_golden(&golden.replace("denials", "refusals")).unwrap_err();
        assert!(other.contains("+ lienthong_denials") && other.contains("- lienthong_refusals"), "{other}");
    }
}
