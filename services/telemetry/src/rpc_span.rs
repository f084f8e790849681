//! One call as a span, in OpenTelemetry's words for RPC (semantic conventions, *gRPC*).
//!
//! A span is made where traces are exported and nowhere else: without a collector, [`RpcSpan::arrived`] is one load of
//! an atomic. It carries names of contracts, agencies' codes and a status: who was asked about whom is the audit log's
//! to say, not a collector's.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context as TaskContext, Poll};

use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use crate::trace_context;

/// Whoever exports; nobody, until [`export_by`] was called.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Codes that are a server's fault and not its answer (semantic conventions, *gRPC*, status of server spans): `UNKNOWN`,
/// `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`.
const FAULTS: [i64; 6] = [2, 4, 12, 13, 14, 15];

/// `UNKNOWN`: what a caller takes an answer for that carries no status.
const UNKNOWN: i64 = 2;

/// Starts making spans, for the whole process.
pub(crate) fn export_by(tracer: SdkTracer) {
    // Once a process, as its subscriber is: who comes second was refused before.
    let _ = TRACER.set(tracer);
}

/// Whether spans are made.
pub fn is_exporting() -> bool {
    TRACER.get().is_some()
}

/// A call that is being answered. It ends when it is dropped.
#[derive(Debug)]
pub struct RpcSpan(Span);

impl RpcSpan {
    /// The span of a call that has arrived: part of the trace that its headers name, or of a new one. From here on they
    /// name this span, so that whoever copies them names it to the next hop. `known` says whether a path is one of a
    /// contract; any other may hold anything, and is not told. `None` where no traces are exported.
    pub fn arrived<B>(request: &mut Request<B>, known: impl FnOnce(&str) -> bool) -> Option<Self> {
        let tracer = TRACER.get()?;
        let parent = trace_context::extract(request.headers());
        let parent =
            parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let path = request.uri().path();
        let named = path.strip_prefix('/').filter(|_| known(path)).and_then(|name| name.split_once('/'));
        let mut attributes = vec![KeyValue::new("rpc.system", "grpc")];
        if let Some((service, method)) = named {
            attributes.push(KeyValue::new("rpc.service", service.to_owned()));
            attributes.push(KeyValue::new("rpc.method", method.to_owned()));
        }
        let name = named
            .map_or_else(|| "unknown method".to_owned(), |(service, method)| format!("{service}/{method}"));
        let builder = tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
        let span = tracer.build_with_context(builder, &parent);
        trace_context::inject(span.span_context(), request.headers_mut());
        Some(Self(span))
    }

    /// Adds what is known of the call. Never what a caller may write as he likes.
    pub fn say(&mut self, key: &'static str, value: impl Into<String>) {
        self.0.set_attribute(KeyValue::new(key, value.into()));
    }

    /// How the call ended, by the head of an answer without messages, or by the trailers of one with.
    fn status(&mut self, words: &HeaderMap) {
        let code = words.get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
        let code: i64 = code.unwrap_or(UNKNOWN);
        self.0.set_attribute(KeyValue::new("rpc.grpc.status_code", code));
        if FAULTS.contains(&code) {
            // Its words are the application's, and may be about anybody.
            self.0.set_status(Status::error(""));
        }
    }
}

/// An answer that tells its span how it ended.
#[derive(Debug)]
pub struct Traced<B> {
    body: B,
    span: Option<RpcSpan>,
    reason: fn(&HeaderMap) -> Option<&'static str>,
}

impl<B: Body> Traced<B> {
    /// The answer, and the span, if there is one, that lives as long as it; `reason` finds the mesh's reason in what ends an answer.
    pub fn answer(
        response: Response<B>,
        span: Option<RpcSpan>,
        reason: fn(&HeaderMap) -> Option<&'static str>,
    ) -> Response<Self> {
        let (head, body) = response.into_parts();
        let mut traced = Self { body, span, reason };
        if head.headers.contains_key("grpc-status") {
            traced.end(&head.headers);
        }
        Response::from_parts(head, traced)
    }

    fn end(&mut self, words: &HeaderMap) {
        let Some(mut span) = self.span.take() else { return };
        span.status(words);
        if let Some(reason) = (self.reason)(words) {
            span.say("lienthong.reason", reason);
        }
    }
}

impl<B: Body + Unpin> Body for Traced<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            this.end(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
