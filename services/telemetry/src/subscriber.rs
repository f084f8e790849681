//! Log lines and traces: where they go.
//!
//! Log lines go to standard error, so that standard output stays free for what a command was asked for. [Spans of
//! calls](crate::rpc_span) go to an
//! OpenTelemetry collector, if one is configured; they leave in batches from a thread of their own, and are dropped and
//! not waited for when the collector is slow.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use http::Uri;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::health::{Identity, VERSION};
use crate::rpc_span;
use crate::settings::{LogFormat, TelemetryConfig};

/// Environment variable whose filter goes before the configured one.
pub const FILTER_VARIABLE: &str = "LIENTHONG_LOG";

/// How long one export may take before its spans are dropped.
pub const EXPORT_TIMEOUT_MS: u64 = 5_000;

/// How long the last export may take when the process stops.
pub const FLUSH_TIMEOUT_MS: u64 = 5_000;

/// The running subscriber of this process. Keep it until the end, then [`Telemetry::shutdown`].
#[derive(Debug)]
#[must_use = "the last traces are only sent by `shutdown`"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logging, and exporting traces if an endpoint is configured. Once a process; with an endpoint, it must be
    /// called on a tokio runtime that lives as long as the process.
    pub fn init(config: &TelemetryConfig, identity: &Identity) -> Result<Self, TelemetryError> {
        let variable = std::env::var(FILTER_VARIABLE).ok().filter(|filter| !filter.trim().is_empty());
        let filter = filter(config, variable.as_deref())?;
        let traces = config.otlp_endpoint.as_deref().map(|endpoint| exporter(endpoint, config, identity));
        let traces = traces.transpose()?;
        let terminal = io::stderr().is_terminal();
        tracing_subscriber::registry()
            .with(filter)
            .with(lines(config.log_format, terminal, colour(terminal), io::stderr))
            .try_init()
            .map_err(|_| TelemetryError::AlreadyRunning)?;
        if let Some(traces) = &traces {
            rpc_span::export_by(traces.tracer("lienthong"));
        }
        Ok(Self { traces })
    }

    /// Sends what is not sent yet, for at most [`FLUSH_TIMEOUT_MS`]. Log lines go on.
    pub async fn shutdown(self) {
        let Some(traces) = self.traces else { return };
        // The call blocks while the runtime sends, so it must not sit on the runtime's own thread.
        let flushed = tokio::task::spawn_blocking(move || {
            traces.shutdown_with_timeout(Duration::from_millis(FLUSH_TIMEOUT_MS))
        });
        match flushed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces were not exported"),
            Err(error) => tracing::warn!(%error, "the exporter of traces failed"),
        }
    }
}

/// Why telemetry does not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error(
        "{name} is no log filter: {problem}; write levels by module, as in \"info,lienthong_node=debug\""
    )]
    Filter {
        /// The key or variable that holds it.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The endpoint is none that we can reach.
    #[error(
        "otlp_endpoint {0:?} must be http://HOST:PORT; for a collector behind TLS, run one on this machine that forwards"
    )]
    Endpoint(String),
    /// The exporter refused its settings.
    #[error("traces cannot be exported: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// Called outside a runtime.
    #[error("traces can only be exported from inside a tokio runtime")]
    NoRuntime,
    /// Somebody started a subscriber before.
    #[error("a log subscriber is already running in this process")]
    AlreadyRunning,
}

fn filter(config: &TelemetryConfig, variable: Option<&str>) -> Result<EnvFilter, TelemetryError> {
    let (name, text) = match variable {
        Some(text) => (FILTER_VARIABLE, text),
        None => ("log_filter", config.log_filter.as_str()),
    };
    EnvFilter::builder()
        .parse(text)
        .map_err(|error| TelemetryError::Filter { name, problem: error.to_string() })
}

/// Colour only where a person looks, and where he did not ask for none (no-color.org).
fn colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn lines<S, W>(format: LogFormat, terminal: bool, colour: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colour);
    match (format, terminal) {
        (LogFormat::Text, _) | (LogFormat::Auto, true) => layer.boxed(),
        (LogFormat::Json, _) | (LogFormat::Auto, false) => {
            layer.with_ansi(false).json().flatten_event(true).boxed()
        }
    }
}

fn exporter(
    endpoint: &str,
    config: &TelemetryConfig,
    identity: &Identity,
) -> Result<SdkTracerProvider, TelemetryError> {
    let uri: Option<Uri> = endpoint.parse().ok();
    if !uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some()) {
        return Err(TelemetryError::Endpoint(endpoint.to_owned()));
    }
    Handle::try_current().map_err(|_| TelemetryError::NoRuntime)?;
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(Duration::from_millis(EXPORT_TIMEOUT_MS))
        .build()?;
    let resource = Resource::builder()
        .with_service_name(format!("lienthong-{}", identity.role))
        .with_attributes([
            KeyValue::new("service.version", VERSION),
            KeyValue::new("service.namespace", identity.mesh.clone()),
        ])
        .build();
    let share = 1.0 / f64::from(config.trace_one_in.max(1));
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .with_sampler(sampler)
        .build())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::Tracer as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written for one line at `info` and one at `debug`.
    fn written(log_filter: &str, format: LogFormat, terminal: bool, colour: bool) -> String {
        let paper = Paper::default();
        let config = TelemetryConfig { log_filter: log_filter.into(), ..TelemetryConfig::default() };
        let writer = paper.clone();
        let subscriber = tracing_subscriber::registry().with(filter(&config, None).unwrap()).with(lines(
            format,
            terminal,
            colour,
            move || writer.clone(),
        ));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(agency = "G01", "có \u{1b}[31mmàu");
            tracing::debug!("details");
        });
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_on_a_terminal_json_otherwise() {
        let text = written("info", LogFormat::Auto, true, false);
        assert!(text.contains(" INFO lienthong_telemetry::subscriber::tests: có "), "{text}");
        assert!(!text.contains("details"), "{text}");
        let json = written("info", LogFormat::Auto, false, false);
        let line: serde_json::Value = serde_json::from_str(json.trim_end()).unwrap();
        assert_eq!((&line["level"], &line["agency"]), (&"INFO".into(), &"G01".into()));
        assert_eq!(line["message"], "có \u{1b}[31mmàu");
        assert!(written("info", LogFormat::Json, true, true).starts_with('{'));
    }

    #[test]
    fn colour_is_ours_and_never_the_caller_s() {
        assert!(written("info", LogFormat::Text, true, true).contains("\u{1b}[32m INFO"));
        assert!(
            !written("info", LogFormat::Text, true, false).contains('\u{1b}'),
            "escapes in values are escaped"
        );
    }

    #[test]
    fn filters_are_by_module_and_wrong_ones_are_named() {
        assert!(written("off,lienthong_telemetry=debug", LogFormat::Text, false, false).contains("details"));
        assert_eq!(written("off", LogFormat::Text, false, false), "");
        let config = TelemetryConfig { log_filter: "lienthong=loud".into(), ..TelemetryConfig::default() };
        let error = filter(&config, None).unwrap_err().to_string();
        assert!(error.starts_with("log_filter is no log filter"), "{error}");
        let error = filter(&config, Some("=%=")).unwrap_err().to_string();
        assert!(error.starts_with("LIENTHONG_LOG is no log filter"), "{error}");
        assert!(filter(&config, Some("debug")).is_ok(), "the variable goes first");
    }

    #[tokio::test]
    async fn only_plain_endpoints_are_taken() {
        let config = TelemetryConfig::default();
        let identity = Identity { role: "node".into(), mesh: "thử".into(), development: true };
        for wrong in ["", "127.0.0.1:4317", "https://collector:4317", "/x", "http://"] {
            assert!(
                matches!(exporter(wrong, &config, &identity), Err(TelemetryError::Endpoint(_))),
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn a_collector_that_is_not_there_delays_the_end_only_so_long() {
        // A listener that accepts and never answers is worse than none.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let identity = Identity { role: "node".into(), mesh: "thử".into(), development: true };
        let traces = exporter(&endpoint, &TelemetryConfig::default(), &identity).unwrap();
        drop(traces.tracer("lienthong").start("exchange"));
        let longest = Duration::from_millis(EXPORT_TIMEOUT_MS + FLUSH_TIMEOUT_MS + 5_000);
        tokio::time::timeout(longest, Telemetry { traces: Some(traces) }.shutdown()).await.unwrap();
    }

    #[test]
    fn outside_a_runtime_is_an_error_and_no_panic() {
        let identity = Identity { role: "node".into(), mesh: "thử".into(), development: true };
        let outside = exporter("http://127.0.0.1:4317", &TelemetryConfig::default(), &identity);
        assert!(matches!(outside, Err(TelemetryError::NoRuntime)));
    }
}
