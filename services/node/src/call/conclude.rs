//! Step 8, its two ends: what the head of an answer must be, and what its last words become. The words of
//! the provider's application are released as far as its dataset declares them ([`words`]).

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use lienthong_audit::digest::MessageDigest;
use lienthong_catalog::ApplicationMetadata;
use lienthong_proto::{
    lienthong::audit::v1::{Side, Status},
    reason::Reason,
    status::MeshError,
};
use tonic::Code;

use crate::call::{
    answer::exchange_id_value,
    close::{Closer, Ending, UNDECLARED_REFUSAL},
    compression::Encoding,
    forward::is_grpc,
    metadata::{EXCHANGE_ID, RECORD_HASH},
    words,
};

/// Where an answer that is only its head says how it ended.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The head of an answer must be gRPC's, and its compression one that the mesh reads. A server or proxy that answers
/// in HTTP alone is understood as gRPC's own libraries understand it (gRPC, "HTTP to gRPC Status Code Mapping").
pub fn check_head(side: Side, head: &http::response::Parts) -> Result<Encoding, MeshError> {
    let failed = |reason: Reason, detail: String| Err(MeshError::new(reason, detail));
    if head.status != StatusCode::OK {
        let detail = format!("the other side answered HTTP {} instead of gRPC", head.status.as_u16());
        return match head.status.as_u16() {
            429 | 502..=504 if side == Side::Provider => failed(Reason::FailBackendUnreachable, detail),
            429 | 502..=504 => failed(Reason::FailProviderUnreachable, detail),
            _ => failed(Reason::FailMalformedMessage, detail),
        };
    }
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !is_grpc(content_type) {
        let detail = "the other side's content-type is not application/grpc".to_owned();
        return failed(Reason::FailMalformedMessage, detail);
    }
    Encoding::read(&head.headers)
}

/// A backend whose HTTP status alone refuses, as if it had said so in gRPC: 401, 403, 404.
pub fn refused_in_http(head: &http::response::Parts) -> Option<HeaderMap> {
    let code = match head.status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        _ => return None,
    };
    Some(HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from(code as i32))]))
}

/// True for an answer without messages by which a node of the provider says that another one, or a later moment, may
/// do better.
pub fn is_temporary(headers: &HeaderMap) -> bool {
    grpc_status(headers) == Some(Code::Unavailable)
        && headers.get(words::PUSHBACK).is_none_or(|value| !value.as_bytes().starts_with(b"-"))
        && tonic::Status::from_header_map(headers)
            .is_some_and(|status| lienthong_proto::status::read(&status).is_some())
}

/// What a caller is told at the end, and how the record says it ended.
pub fn conclude(
    side: Side,
    trailers: &HeaderMap,
    declared: &ApplicationMetadata,
    digest: &mut MessageDigest,
    closer: &mut Closer,
) -> (HeaderMap, Ending) {
    if side == Side::Consumer
        && let Some(hash) = trailers.get(RECORD_HASH)
    {
        closer.peer_opening_hash = tonic_bin(hash).filter(|hash| hash.len() == 32).unwrap_or_default();
    }
    let Some(code) = grpc_status(trailers) else {
        let exchange_id = closer.opened().map(|opened| opened.id.to_string());
        let error = MeshError::new(Reason::FailMalformedMessage, "the answer carries no grpc-status");
        let mut headers = MeshError { exchange_id, ..error.clone() }.to_headers();
        headers.remove(CONTENT_TYPE);
        return (headers, Ending::failed(error.reason, closer.report.records > 0));
    };
    let (mut sent, dropped) = words::of_answer(trailers, declared);
    closer.metadata_dropped += dropped;
    let mut reason = String::new();
    let mut refused = false;
    if side == Side::Provider {
        closer.metadata_dropped += words::put_status(code, trailers, declared, &mut sent);
        words::digest_last_words(&sent, digest);
        if matches!(code, Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented) {
            UNDECLARED_REFUSAL.clone_into(&mut reason);
            refused = true;
        }
    } else {
        words::digest_last_words(trailers, digest);
        sent.insert(GRPC_STATUS, HeaderValue::from(code as i32));
        for name in &words::LAST_WORDS {
            if let Some(value) = trailers.get(name) {
                sent.insert(name, value.clone());
            }
        }
        let said = (code != Code::Ok).then(|| tonic::Status::from_header_map(trailers)).flatten();
        if let Some(read) = said.as_ref().and_then(lienthong_proto::status::read) {
            read.reason.name().clone_into(&mut reason);
            refused = read.reason == Reason::RefusedByProvider;
        }
    }
    let denied = Reason::from_name(&reason).is_some_and(Reason::is_denial);
    let status = match code {
        Code::Ok if closer.report.records > 0 => Status::Delivered,
        Code::Ok => Status::Empty,
        _ if closer.report.records > 0 => Status::Partial,
        _ if refused => Status::Refused,
        _ if denied => Status::Denied,
        Code::NotFound => Status::Empty,
        _ => Status::Failed,
    };
    (sent, Ending { status, reason, code })
}

/// Puts the exchange id and, at the provider's node, the hash of its opening record on an answer.
pub fn stamp(side: Side, closer: &Closer, headers: &mut HeaderMap) {
    let Some(opened) = closer.opened() else { return };
    headers.insert(EXCHANGE_ID, exchange_id_value(opened.id));
    let hash: &[u8] = match side {
        Side::Provider => &opened.ticket.leaf_hash.0,
        _ => &closer.peer_opening_hash,
    };
    if !hash.is_empty() {
        headers.insert(RECORD_HASH, bin_value(hash));
    }
}

/// The status of an answer; `None` without one, or with one that is no number.
fn grpc_status(headers: &HeaderMap) -> Option<Code> {
    let number: i32 = headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()?;
    (0..=16).contains(&number).then(|| Code::from_i32(number))
}

fn bin_value(bytes: &[u8]) -> HeaderValue {
    // INVARIANT: base64 is visible ASCII.
    HeaderValue::from_str(&STANDARD_NO_PAD.encode(bytes)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn tonic_bin(value: &HeaderValue) -> Option<Vec<u8>> {
    let text = value.as_bytes();
    let unpadded = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    STANDARD_NO_PAD.decode(unpadded).ok()
}
