//! Step 8, its two ends: what the head of an answer must be, and what its last words become. The words of
//! the provider's application are not released unless its dataset declares them (design §6, Metadata).

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use lienthong_proto::{
    lienthong::audit::v1::{Side, Status},
    reason::Reason,
    status::MeshError,
};
use tonic::Code;

use crate::call::{
    answer::exchange_id_value,
    close::{Closer, Ending, UNDECLARED_REFUSAL},
    metadata::{EXCHANGE_ID, RECORD_HASH},
};

/// The head of an answer must be gRPC's, uncompressed.
pub fn check_head(head: &http::response::Parts) -> Result<(), MeshError> {
    let malformed = |detail: String| Err(MeshError::new(Reason::FailMalformedMessage, detail));
    if head.status != StatusCode::OK {
        return malformed(format!("the other side answered HTTP {} instead of gRPC", head.status.as_u16()));
    }
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !content_type.starts_with(b"application/grpc") {
        return malformed("the other side's content-type is not application/grpc".to_owned());
    }
    match head.headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(()),
        Some(_) => malformed("the other side compressed its answer, which was not offered".to_owned()),
    }
}

/// What a caller is told at the end, and how the record says it ended.
pub fn conclude(side: Side, trailers: &HeaderMap, closer: &mut Closer) -> (HeaderMap, Ending) {
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
    let mut sent = HeaderMap::with_capacity(6);
    sent.insert("grpc-status", HeaderValue::from(code as i32));
    let mut reason = String::new();
    let mut refused = false;
    match side {
        Side::Provider if code != Code::Ok => {
            // The application's own words and details are not released unless the dataset declares them.
            let message =
                format!("the provider's application answered {code:?}; its own words are not released");
            if let Ok(value) = HeaderValue::from_str(&message.replace('%', "%25")) {
                sent.insert("grpc-message", value);
            }
            if matches!(code, Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented) {
                UNDECLARED_REFUSAL.clone_into(&mut reason);
                refused = true;
            }
        }
        Side::Provider => {}
        _ => {
            for name in ["grpc-message", "grpc-status-details-bin", "grpc-retry-pushback-ms"] {
                if let Some(value) = trailers.get(name) {
                    sent.insert(name, value.clone());
                }
            }
            if code != Code::Ok
                && let Some(read) =
                    tonic::Status::from_header_map(trailers).as_ref().and_then(lienthong_proto::status::read)
            {
                read.reason.name().clone_into(&mut reason);
                refused = read.reason == Reason::RefusedByProvider;
            }
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
    let number: i32 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
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
