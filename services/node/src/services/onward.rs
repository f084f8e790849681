//! A catalog question goes on to another agency's node, which answers for itself.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use lienthong_audit::digest::{Digester, EXCHANGE_KEY_BYTES, ExchangeKey};
use lienthong_catalog::RightsIndex;
use lienthong_proto::{
    lienthong::{audit::v1::Side, exchange::v1::CallContext},
    reason::Reason,
    status::MeshError,
};
use uuid::Uuid;

use crate::{
    call::{
        answer::{Answer, AnswerBody},
        caller_body::CallerBody,
        compression::Encoding,
        conclude::check_head,
        deadline::Deadline,
        forward,
        identify::Caller,
        metadata,
        request_body::{RequestBody, RequestTally},
    },
    core::Core,
};

/// Passes a question on to another agency's node.
pub async fn ask(
    core: &Arc<Core>,
    rights: &RightsIndex,
    caller: &Caller,
    provider: &str,
    request: Request<CallerBody>,
) -> Result<Answer, MeshError> {
    let Some(node) = rights.nodes_of(provider).first() else {
        let detail = format!("{provider} has no node that this agency may call");
        return Err(MeshError::new(Reason::FailProviderUnreachable, detail));
    };
    let upstream = core.upstreams.peer(&core.node, node);
    let deadline = Deadline::read_unary(request.headers(), &core.node.limits)?;
    let digester = Digester::new(&ExchangeKey::from_bytes([0; EXCHANGE_KEY_BYTES]));
    let context = context(caller);
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let encoding = Encoding::read(&parts.headers)?;
    let body =
        RequestBody::new(body, &core.node.messages, None, RequestTally::new(&digester)).compressed(encoding);
    let call = [(metadata::CALL, metadata::call_header(&context))];
    let onward = forward::request(path, &parts.headers, HeaderMap::new(), deadline, call, body);
    let (response, in_flight) = forward::send(&upstream.upstream, onward, deadline)
        .await
        .map_err(|unanswered| unanswered.into_error(Reason::FailProviderUnreachable))?;
    let (head, body) = response.into_parts();
    check_head(Side::Consumer, &head)?;
    // A catalog answer is a page: it is taken in whole, within the deadline and the largest message.
    let page = Limited::new(body, core.node.limits.message_bytes_max).collect();
    let page = match deadline.at() {
        Some(at) => tokio::time::timeout_at(at, page)
            .await
            .map_err(|_| MeshError::new(Reason::FailDeadline, "while the catalog was on its way"))?,
        None => page.await,
    };
    drop(in_flight);
    let page = page.map_err(|error| MeshError::new(Reason::FailInterrupted, error.to_string()))?;
    let trailers = page.trailers().map(passed);
    let page = Full::new(page.to_bytes()).with_trailers(async move { trailers.map(Ok) });
    let mut answer = http::Response::new(AnswerBody::Service(tonic::body::Body::new(page)));
    *answer.headers_mut() = passed(&head.headers);
    Ok(answer)
}

/// Headers and trailers of another node's catalog answer that go on.
const PASSED: [&str; 5] =
    ["content-type", "grpc-encoding", "grpc-status", "grpc-message", "grpc-status-details-bin"];

fn passed(headers: &HeaderMap) -> HeaderMap {
    let known = |(name, value): (&HeaderName, &HeaderValue)| {
        PASSED.contains(&name.as_str()).then(|| (name.clone(), value.clone()))
    };
    headers.iter().filter_map(known).collect()
}

/// What the other node is told: the system on whose behalf is asked. No data passes, so the key is of no use.
pub fn context(caller: &Caller) -> CallContext {
    CallContext {
        exchange_id: Uuid::now_v7().as_bytes().to_vec(),
        attempt: 1,
        system: caller.system.clone(),
        exchange_key: vec![0; EXCHANGE_KEY_BYTES],
        ..CallContext::default()
    }
}
