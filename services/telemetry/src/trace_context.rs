//! W3C Trace Context (`traceparent`, `tracestate`) in and out of HTTP headers.
//!
//! Without an exporter configured nothing is read and nothing is written.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header that names trace and parent (W3C Trace Context §3.2).
pub const TRACEPARENT: &str = "traceparent";

/// The header for what tracing systems add (§3.3).
pub const TRACESTATE: &str = "tracestate";

/// Longest value of either header that is read, in bytes (§3.3.1.5 asks for at least 512).
pub const TRACE_HEADER_BYTES_MAX: usize = 512;

/// Makes `span` part of the trace that `headers` name. Headers that name none, or wrongly, start a new trace.
pub fn extract(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() || !headers.contains_key(TRACEPARENT) {
        return;
    }
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Incoming(headers));
    // It fails where the span is already part of a trace, or no exporter is configured; both are fine.
    let _ = span.set_parent(parent);
}

/// Names the trace of `span` in `headers`, for the next hop.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    if span.is_disabled() {
        return;
    }
    TraceContextPropagator::new().inject_context(&span.context(), &mut Outgoing(headers));
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.0.get(key)?.to_str().ok()?;
        Some(value).filter(|value| value.len() <= TRACE_HEADER_BYTES_MAX)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// What the next hop is told when this one was told `incoming`.
    fn passed_on(incoming: &[(&'static str, &str)]) -> HeaderMap {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("call");
            let headers = incoming
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
            extract(&span, &headers.collect());
            let mut outgoing = HeaderMap::new();
            inject(&span, &mut outgoing);
            outgoing
        })
    }

    #[test]
    fn a_trace_goes_on_through_this_hop() {
        let outgoing = passed_on(&[(TRACEPARENT, PARENT), (TRACESTATE, "a=b")]);
        let parent = outgoing[TRACEPARENT].to_str().unwrap();
        assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{parent}");
        assert_ne!(parent, PARENT, "the parent is now our own span");
        assert_eq!(outgoing[TRACESTATE], "a=b");
    }

    #[test]
    fn rubbish_starts_a_new_trace() {
        for rubbish in
            ["", "00-zz-1-01", &"0".repeat(600), "00-00000000000000000000000000000000-0000000000000000-01"]
        {
            let outgoing = passed_on(&[(TRACEPARENT, rubbish)]);
            let parent = outgoing[TRACEPARENT].to_str().unwrap();
            assert_eq!(parent.len(), PARENT.len());
            assert!(!parent.starts_with("00-4bf92f35"), "{parent}");
        }
    }

    #[test]
    fn without_an_exporter_nothing_is_written() {
        let span = tracing::info_span!("call");
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(PARENT));
        extract(&span, &headers);
        let mut outgoing = HeaderMap::new();
        inject(&span, &mut outgoing);
        assert!(outgoing.is_empty());
    }
}
