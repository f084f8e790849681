//! W3C Trace Context: the one header that names a trace and the span that a call comes from.
//!
//! Only `traceparent` is read and written. It is five fixed fields of hexadecimal digits, so that what is passed on is
//! either well-formed or nothing; `tracestate` is free text, and goes no further (decision 0027).

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The header that names trace and parent (W3C Trace Context §3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header for what tracing systems add (§3.3).
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a `traceparent` of version 00, in bytes.
const PARENT_BYTES: usize = 55;

/// The `traceparent` among `headers`, if it is one: version 00, in lower case, no id of zeros only, said once.
pub fn parent(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut said = headers.get_all(TRACEPARENT).iter();
    let value = said.next().filter(|_| said.next().is_none())?;
    read(value.as_bytes()).map(|_| value)
}

/// What a span that comes next to `headers` descends from.
pub(crate) fn extract(headers: &HeaderMap) -> Option<SpanContext> {
    parent(headers).and_then(|value| read(value.as_bytes()))
}

/// Names `span` to the next hop, in place of whoever was named before.
pub(crate) fn inject(span: &SpanContext, headers: &mut HeaderMap) {
    headers.remove(TRACESTATE);
    headers.remove(TRACEPARENT);
    let (trace, id, sampled) = (span.trace_id(), span.span_id(), u8::from(span.is_sampled()));
    if span.is_valid()
        && let Ok(value) = HeaderValue::try_from(format!("00-{trace}-{id}-{sampled:02x}"))
    {
        headers.insert(TRACEPARENT, value);
    }
}

fn read(value: &[u8]) -> Option<SpanContext> {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() == PARENT_BYTES)?;
    let mut fields = text.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let lengths = [version, trace, span, flags].map(str::len);
    if version != "00"
        || lengths != [2, 32, 16, 2]
        || fields.next().is_some()
        || ![trace, span, flags].iter().all(|field| field.as_bytes().iter().all(is_hex))
    {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        headers.append(TRACESTATE, HeaderValue::from_static("vendor=text"));
        headers
    }

    #[test]
    fn what_is_read_is_what_is_written() {
        let mut written = headers(&["00-00000000000000000000000000000001-0000000000000001-00"]);
        inject(&extract(&headers(&[PARENT])).unwrap(), &mut written);
        assert_eq!(written[TRACEPARENT], PARENT);
        assert_eq!(written.len(), 1, "free text goes no further");
    }

    #[test]
    fn what_is_no_parent_is_none() {
        for rubbish in [
            "",
            "00-zz-1-01",
            &"0".repeat(600),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0-",
        ] {
            assert!(parent(&headers(&[rubbish])).is_none(), "{rubbish}");
        }
        assert!(parent(&headers(&[PARENT, PARENT])).is_none(), "said twice");
        assert!(parent(&headers(&[PARENT])).is_some());
    }

    proptest! {
        #[test]
        fn no_value_panics_and_what_passes_holds_nothing_but_ids(text in "[0-9a-f-]{50,60}|\\PC{0,60}") {
            if let Some(context) = read(text.as_bytes()) {
                let said = format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8());
                prop_assert_eq!(said, text);
            }
        }
    }
}
