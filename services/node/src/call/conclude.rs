//! Step 8, its two ends: what the head of an answer must be, and what its last words become. The words of
//! the provider's application are released as far as its dataset declares them ([`words`]).

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use lienthong_audit::digest::MessageDigest;
use lienthong_catalog::ApplicationMetadata;
use lienthong_proto::{
    lienthong::audit::v1::{Side, Status},
    reason::{Reason, UNDECLARED_REFUSAL},
    status::MeshError,
};
use tonic::Code;

use crate::call::{
    answer::{exchange_id_value, said_once},
    close::{Closer, Ending},
    compression::Encoding,
    forward::is_grpc,
    metadata::{EXCHANGE_ID, RECORD_HASH},
    words,
};

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
    Encoding::read(&head.headers).map_err(|_| {
        let detail = "the other side compressed its answer in an encoding that was not offered";
        MeshError::new(Reason::FailMalformedMessage, detail)
    })
}

/// A backend whose HTTP status alone refuses, as if it had said so in gRPC: 401, 403, 404.
pub fn refused_in_http(head: &http::response::Parts) -> Option<HeaderMap> {
    let code = match head.status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        _ => return None,
    };
    Some(HeaderMap::from_iter([(words::STATUS, HeaderValue::from(code as i32))]))
}

/// True for an answer without messages by which a node of the provider says that another one, or a later moment, may
/// do better.
pub fn is_temporary(headers: &HeaderMap) -> bool {
    words::grpc_status(headers) == Some(Code::Unavailable)
        && headers.get(words::PUSHBACK).is_none_or(|value| !value.as_bytes().starts_with(b"-"))
        && words::of_the_mesh(headers).is_some()
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
    let Some(code) = words::grpc_status(trailers) else {
        let exchange_id = closer.opened().map(|opened| opened.id.to_string());
        let error = MeshError::new(Reason::FailMalformedMessage, "the answer carries no grpc-status");
        let mut headers = MeshError { exchange_id, ..error.clone() }.to_headers();
        headers.remove(CONTENT_TYPE);
        return (headers, Ending::failed(error.reason, digest.messages() > 0));
    };
    let (mut sent, dropped) = words::of_answer(trailers, declared);
    closer.metadata_dropped += dropped;
    let mut reason = String::new();
    let mut refused = false;
    if side == Side::Provider {
        closer.metadata_dropped += words::put_status(code, trailers, declared, &mut sent);
        words::digest_last_words(&sent, digest);
        if turns_away(code) {
            UNDECLARED_REFUSAL.clone_into(&mut reason);
            refused = true;
        }
    } else {
        words::digest_last_words(trailers, digest);
        sent.insert(words::STATUS, HeaderValue::from(code as i32));
        for name in &words::LAST_WORDS {
            if let Some(value) = trailers.get(name) {
                sent.insert(name, value.clone());
            }
        }
        if let Some(read) = words::of_the_mesh(trailers).filter(|_| code != Code::Ok) {
            read.reason.name().clone_into(&mut reason);
            refused = read.reason == Reason::RefusedByProvider;
        } else if turns_away(code) {
            // The word of the provider's application: both sides write the same of it.
            UNDECLARED_REFUSAL.clone_into(&mut reason);
            refused = true;
        }
    }
    let status = match code {
        Code::Ok if closer.report.records > 0 => Status::Delivered,
        Code::Ok => Status::Empty,
        _ if refused && digest.messages() == 0 => Status::Refused,
        Code::NotFound if digest.messages() == 0 => Status::Empty,
        _ => Ending::status_of(Reason::from_name(&reason), digest.messages() > 0),
    };
    (sent, Ending { status, reason, code })
}

/// True for the codes by which an application refuses a caller whom the rights entitle.
const fn turns_away(code: Code) -> bool {
    matches!(code, Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented)
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

fn bin_value(bytes: &[u8]) -> HeaderValue {
    // INVARIANT: base64 is visible ASCII.
    said_once(HeaderValue::from_str(&STANDARD_NO_PAD.encode(bytes)))
}

fn tonic_bin(value: &HeaderValue) -> Option<Vec<u8>> {
    let text = value.as_bytes();
    let unpadded = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
    STANDARD_NO_PAD.decode(unpadded).ok()
}
