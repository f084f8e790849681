//! Step 7: the request goes on, to another agency's node or to the agency's own backend.

use std::sync::Arc;

use http::{HeaderMap, Request, Response, Uri, uri::PathAndQuery};
use hyper::body::Incoming;
use lienthong_catalog::ApplicationMetadata;
use lienthong_proto::{reason::Reason, status::MeshError};
use lienthong_telemetry::trace_context;
use lienthong_transport::SendError;
use tokio::time::Instant;

use crate::{
    call::{
        compression::{self, Encoding},
        deadline::{Deadline, TIMEOUT},
        request_body::RequestBody,
        words,
    },
    limits::HEADERS_BYTES_MAX,
    upstream::{InFlight, Upstream},
};

/// Headers of a request that go on whatever the dataset declares.
const PASSED: [http::HeaderName; 1] = [http::header::CONTENT_TYPE];

/// What the head of a request says of its messages, and what it carries beside them.
pub struct RequestHead {
    /// How compressed messages are compressed.
    pub encoding: Encoding,
    /// The application's metadata that passes.
    pub metadata: HeaderMap,
    /// How much of it does not.
    pub metadata_dropped: u64,
}

impl RequestHead {
    /// Reads a head; `FAIL_UNSUPPORTED_ENCODING`, or `DENY_CONTEXT` for more metadata than may pass.
    pub fn read(headers: &HeaderMap, declared: &ApplicationMetadata) -> Result<Self, MeshError> {
        let encoding = Encoding::read(headers)?;
        let (metadata, metadata_dropped) = words::of_request(headers, declared)?;
        Ok(Self { encoding, metadata, metadata_dropped })
    }
}

/// A request for the next hop: the caller's path and message, the metadata that passes, and only the headers named
/// here.
pub fn request(
    path: &str,
    from: &HeaderMap,
    metadata: HeaderMap,
    deadline: Deadline,
    extra: impl IntoIterator<Item = (http::HeaderName, http::HeaderValue)>,
    body: RequestBody,
) -> Request<RequestBody> {
    let encoding = body.leaves_as().header();
    let mut request = Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    // The channel adds scheme and authority of its endpoint.
    // A query string has no meaning in gRPC and goes no further.
    if let Ok(path) = PathAndQuery::try_from(path) {
        *request.uri_mut() = Uri::from(path);
    }
    let headers = request.headers_mut();
    *headers = metadata;
    headers.reserve(12);
    for name in PASSED {
        if let Some(value) = from.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    // The caller's own where this node makes no spans, this node's where it does ([`crate::trace`]).
    if let Some(value) = trace_context::parent(from) {
        headers.insert(trace_context::TRACEPARENT, value.clone());
    }
    headers.insert(http::header::TE, http::HeaderValue::from_static("trailers"));
    headers.insert(compression::ACCEPT_ENCODING, compression::accepted(from));
    if let Some(encoding) = encoding {
        headers.insert(compression::ENCODING, encoding);
    }
    if let Some(timeout) = deadline.header(Instant::now()) {
        headers.insert(TIMEOUT, timeout);
    }
    for (name, value) in extra {
        headers.insert(name, value);
    }
    request
}

/// A call must be gRPC's: POST, and its content type; its headers within [`HEADERS_BYTES_MAX`].
pub fn check_head<B>(request: &Request<B>) -> Result<(), MeshError> {
    let bytes: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADERS_BYTES_MAX {
        let detail =
            format!("the headers are {bytes} bytes; the limit headers_bytes_max is {HEADERS_BYTES_MAX}");
        return Err(MeshError::new(Reason::DenyContext, detail));
    }
    let content_type = request.headers().get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    if request.method() == http::Method::POST && content_type.is_some_and(is_grpc) {
        return Ok(());
    }
    Err(MeshError::new(Reason::DenyContext, "not a gRPC call: POST with content-type application/grpc"))
}

/// `application/grpc`, with or without a subtype; gRPC-Web is another protocol.
pub fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Sends a request and waits for the head of the answer, until the deadline. A request that was
/// certainly not processed comes back with its error.
pub async fn send(
    upstream: &Arc<Upstream>,
    request: Request<RequestBody>,
    deadline: Deadline,
) -> Result<(Response<Incoming>, InFlight), Unanswered> {
    let in_flight = upstream.begin();
    let answer = upstream.channel.try_send(request);
    let answer = match deadline.at() {
        None => answer.await,
        Some(at) => match tokio::time::timeout_at(at, answer).await {
            Ok(answer) => answer,
            Err(_) => return Err(Unanswered::Deadline),
        },
    };
    match answer {
        Ok(response) => Ok((response, in_flight)),
        Err(failed) if failed.error.is_not_sent() => {
            Err(Unanswered::NotSent { error: failed.error, request: failed.request.map(Box::new) })
        }
        Err(failed) => Err(Unanswered::Interrupted(failed.error)),
    }
}

/// Why there is no answer.
pub enum Unanswered {
    /// Certainly not processed; may go elsewhere.
    NotSent {
        /// What happened.
        error: SendError,
        /// The request, where it can be sent again.
        request: Option<Box<Request<RequestBody>>>,
    },
    /// May have been processed.
    Interrupted(SendError),
    /// The deadline passed.
    Deadline,
}

impl Unanswered {
    /// What the caller hears; `unreachable` is the reason for the kind of hop. Addresses and causes stay in the
    /// node's own log: the caller may be another agency.
    pub fn into_error(self, unreachable: Reason) -> MeshError {
        match self {
            Self::NotSent { error, .. } => {
                tracing::warn!(%error, "a request could not be sent");
                MeshError::new(unreachable, "nothing was processed")
            }
            Self::Interrupted(error) => {
                tracing::warn!(%error, "a request was interrupted");
                MeshError::new(Reason::FailInterrupted, "it may have been processed")
            }
            Self::Deadline => MeshError::new(Reason::FailDeadline, "while waiting for the answer to begin"),
        }
    }
}
