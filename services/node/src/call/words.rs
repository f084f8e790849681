//! What the two applications say beside their messages: metadata, and the provider's last words. Only what the dataset
//! declares passes, inside the digests of the exchange; the rest is dropped and counted (design §6, Metadata). The
//! sending node of each direction digests what it sends, the other one what arrives.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use lienthong_audit::digest::MessageDigest;
use lienthong_catalog::ApplicationMetadata;
use lienthong_proto::{
    reason::{DOMAIN, Reason},
    status::{self, MeshError, ReadError},
};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::limits::{APPLICATION_METADATA_BYTES_MAX, STATUS_DETAILS_BYTES_MAX, STATUS_MESSAGE_BYTES_MAX};

/// When a client may try again, as its server asks (gRPC, retry design).
pub const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// How an answer ended.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Base64 as gRPC's libraries write it, with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The words of a status beside its code.
pub const LAST_WORDS: [HeaderName; 3] = [MESSAGE, DETAILS, PUSHBACK];

/// Metadata of a request that passes, and how much does not. More than [`APPLICATION_METADATA_BYTES_MAX`] is
/// `DENY_CONTEXT`: a caller is told, not cut short.
pub fn of_request(
    headers: &HeaderMap,
    declared: &ApplicationMetadata,
) -> Result<(HeaderMap, u64), MeshError> {
    let (passing, dropped) = passing(headers, |key| declared.passes_request(key));
    if size(&passing) > APPLICATION_METADATA_BYTES_MAX {
        let detail = format!("application metadata is larger than {APPLICATION_METADATA_BYTES_MAX} bytes");
        return Err(MeshError::new(Reason::DenyContext, detail));
    }
    Ok((passing, dropped))
}

/// Metadata of an answer that passes, with its head or its last words, and how much does not. What is larger than
/// [`APPLICATION_METADATA_BYTES_MAX`] is dropped as a whole.
pub fn of_answer(headers: &HeaderMap, declared: &ApplicationMetadata) -> (HeaderMap, u64) {
    let (passing, dropped) = passing(headers, |key| declared.passes_response(key));
    if size(&passing) > APPLICATION_METADATA_BYTES_MAX {
        return (HeaderMap::new(), dropped + passing.len() as u64);
    }
    (passing, dropped)
}

/// Takes the applications' metadata among these headers into a digest.
pub fn digest_metadata(headers: &HeaderMap, digest: &mut MessageDigest) {
    digest_entries(headers, digest, is_application);
}

/// The same for the end of an answer, with the words of its status. Words of the mesh itself are nobody's data.
pub fn digest_last_words(trailers: &HeaderMap, digest: &mut MessageDigest) {
    let of_the_mesh = of_the_mesh(trailers).is_some();
    digest_entries(trailers, digest, |name| {
        is_application(name) || !of_the_mesh && LAST_WORDS.contains(name)
    });
}

/// Reads a status as far as it can be read: details that are no base64 are none, and counted. (tonic's own reader
/// panics on them.)
pub fn read_status(headers: &HeaderMap) -> Option<(Status, u64)> {
    let code = grpc_status(headers)?;
    let mut readable = HeaderMap::with_capacity(2);
    readable.insert(STATUS, HeaderValue::from(code as i32));
    if let Some(message) = headers.get(MESSAGE) {
        readable.insert(MESSAGE, message.clone());
    }
    let message = Status::from_header_map(&readable).map(|status| status.message().to_owned());
    let (details, broken) = match headers.get(DETAILS).map(|value| LENIENT.decode(value.as_bytes())) {
        None => (Vec::new(), 0),
        Some(Ok(details)) => (details, 0),
        Some(Err(_)) => (Vec::new(), 1),
    };
    Some((Status::with_details(code, message.unwrap_or_default(), details.into()), broken))
}

/// The code of a status; `None` without one, or with one that is no number. A number beyond gRPC's is `UNKNOWN`.
pub fn grpc_status(headers: &HeaderMap) -> Option<Code> {
    let number: i32 = headers.get(STATUS)?.to_str().ok()?.parse().ok()?;
    Some(Code::from_i32(number))
}

/// The mesh's own error among these headers.
pub fn of_the_mesh(headers: &HeaderMap) -> Option<ReadError> {
    // It stands in the details; most answers have none, and need no reading.
    headers.get(DETAILS)?;
    read_status(headers).and_then(|(status, _)| status::read(&status))
}

/// Puts the status of the provider's application on its answer: its code always, its words as far as the dataset
/// declares them. Gives how much was dropped.
pub fn put_status(
    code: Code,
    trailers: &HeaderMap,
    declared: &ApplicationMetadata,
    sent: &mut HeaderMap,
) -> u64 {
    sent.insert(STATUS, HeaderValue::from(code as i32));
    if code == Code::Ok {
        return 0;
    }
    let (said, mut dropped) = read_status(trailers).unwrap_or_else(|| (Status::new(code, ""), 0));
    let message = match said.message() {
        "" => String::new(),
        message if declared.passes_status_message() => cut(message, STATUS_MESSAGE_BYTES_MAX).to_owned(),
        _ => {
            dropped += 1;
            format!("the provider's application answered {code:?}; its own words are not released")
        }
    };
    let details = declared_details(code, &message, said.details(), declared, &mut dropped);
    if Status::with_details(code, message, details.into()).add_header(sent).is_err() {
        dropped += 1;
    }
    if let Some(pushback) = trailers.get(PUSHBACK).filter(|value| is_number(value)) {
        sent.insert(PUSHBACK, pushback.clone());
    }
    dropped
}

/// The details whose type the dataset declares, as `grpc-status-details-bin` holds them; empty without any. An
/// `ErrorInfo` in the name of the mesh is never an application's.
fn declared_details(
    code: Code,
    message: &str,
    said: &[u8],
    declared: &ApplicationMetadata,
    dropped: &mut u64,
) -> Vec<u8> {
    if said.is_empty() {
        return Vec::new();
    }
    let Ok(mut status) = pb::Status::decode(said) else {
        *dropped += 1;
        return Vec::new();
    };
    let before = status.details.len();
    status.details.retain(|detail| {
        let name = detail.type_url.rsplit('/').next().unwrap_or_default();
        declared.passes_detail(name)
            && !(name == "google.rpc.ErrorInfo" && speaks_for_the_mesh(&detail.value))
    });
    let bytes: usize = status.details.iter().map(Message::encoded_len).sum();
    if bytes > STATUS_DETAILS_BYTES_MAX {
        status.details.clear();
    }
    *dropped += (before - status.details.len()) as u64;
    if status.details.is_empty() {
        return Vec::new();
    }
    status.code = code as i32;
    message.clone_into(&mut status.message);
    status.encode_to_vec()
}

fn speaks_for_the_mesh(error_info: &[u8]) -> bool {
    pb::ErrorInfo::decode(error_info).map_or(true, |info| info.domain.eq_ignore_ascii_case(DOMAIN))
}

/// True for metadata of an application: neither HTTP's, gRPC's, tracing's nor the mesh's.
fn is_application(name: &HeaderName) -> bool {
    let name = name.as_str();
    !name.starts_with("grpc-")
        && !name.starts_with("mesh-")
        && !is_of_http(name)
        && !matches!(name, "traceparent" | "tracestate")
}

/// What HTTP/2 counts for each header beside its bytes (RFC 9113 §6.5.2).
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// Headers of HTTP itself, and of those who carry it, that no application means as metadata.
fn is_of_http(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-encoding"
            | "connection"
            | "content-length"
            | "content-type"
            | "date"
            | "host"
            | "keep-alive"
            | "proxy-connection"
            | "server"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "user-agent"
            | "via"
    )
}

fn passing(headers: &HeaderMap, declared: impl Fn(&str) -> bool) -> (HeaderMap, u64) {
    let mut passing = HeaderMap::new();
    let mut dropped = 0;
    for (name, value) in headers.iter().filter(|(name, _)| is_application(name)) {
        if declared(name.as_str()) {
            passing.append(name.clone(), value.clone());
        } else {
            dropped += 1;
        }
    }
    (passing, dropped)
}

fn digest_entries(headers: &HeaderMap, digest: &mut MessageDigest, is_taken: impl Fn(&HeaderName) -> bool) {
    let mut entries: Vec<(&[u8], &[u8])> = headers
        .iter()
        .filter(|(name, _)| is_taken(name))
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
        .collect();
    // Stable: the values of one key stay as they were sent.
    entries.sort_by_key(|(name, _)| *name);
    digest.metadata(&entries);
}

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY_OVERHEAD_BYTES).sum()
}

fn is_number(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| text.parse::<i64>().is_ok())
}

/// The beginning of a text, at most `bytes_max` long, cut between characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use lienthong_audit::digest::ExchangeKey;
    use lienthong_proto::lienthong::options::v1::ApplicationMetadata as Declaration;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn declared() -> ApplicationMetadata {
        ApplicationMetadata::from(&Declaration {
            request_keys: vec!["x-trace".into(), "x-seal-bin".into()],
            response_keys: vec!["x-page".into()],
            status_message: true,
            status_details: vec!["google.rpc.ErrorInfo".into(), "google.rpc.BadRequest".into()],
        })
    }

    fn nothing() -> ApplicationMetadata {
        ApplicationMetadata::default()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// What a backend's library sends for this status.
    fn trailers(status: &Status) -> HeaderMap {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        headers
    }

    #[test]
    fn only_declared_keys_pass_and_the_rest_is_counted() {
        let sent = headers(&[
            ("x-trace", "a"),
            ("x-trace", "b"),
            ("x-seal-bin", "AQID"),
            ("x-page", "7"),
            ("authorization", "secret"),
            ("cookie", "secret"),
            ("mesh-purpose", "STATISTICS"),
            ("grpc-timeout", "1S"),
            ("content-type", "application/grpc"),
            ("user-agent", "grpc-go"),
        ]);
        let (passing, dropped) = of_request(&sent, &declared()).unwrap();
        assert_eq!(passing, headers(&[("x-trace", "a"), ("x-trace", "b"), ("x-seal-bin", "AQID")]));
        assert_eq!(dropped, 3, "x-page, authorization, cookie");
        assert_eq!(of_answer(&sent, &declared()), (headers(&[("x-page", "7")]), 5));
        assert_eq!(of_request(&sent, &nothing()).unwrap(), (HeaderMap::new(), 6));
    }

    #[test]
    fn too_much_is_told_to_a_caller_and_dropped_from_an_answer() {
        let mut large = HeaderMap::new();
        for key in ["x-trace", "x-page"] {
            large.insert(key, HeaderValue::from_bytes(&vec![b'x'; APPLICATION_METADATA_BYTES_MAX]).unwrap());
        }
        let error = of_request(&large, &declared()).unwrap_err();
        assert_eq!(error.reason, Reason::DenyContext);
        assert!(error.detail.contains("6144"));
        assert_eq!(of_answer(&large, &declared()), (HeaderMap::new(), 2));
    }

    #[test]
    fn a_status_keeps_its_code_and_the_words_that_are_declared() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("ma", "rỗng").set_error_info("HET_HAN", "thunghiem.vn", []);
        details.set_request_info("1", "not declared");
        let said = Status::with_error_details(Code::InvalidArgument, "mã không hợp lệ 100%", details);
        let mut sent = HeaderMap::new();
        assert_eq!(put_status(said.code(), &trailers(&said), &declared(), &mut sent), 1);
        let heard = Status::from_header_map(&sent).unwrap();
        assert_eq!((heard.code(), heard.message()), (Code::InvalidArgument, "mã không hợp lệ 100%"));
        let details = heard.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].description, "rỗng");
        assert_eq!(details.error_info().unwrap().reason, "HET_HAN");
        assert!(details.request_info().is_none());

        let mut sent = HeaderMap::new();
        assert_eq!(put_status(said.code(), &trailers(&said), &nothing(), &mut sent), 4);
        let heard = Status::from_header_map(&sent).unwrap();
        assert_eq!(heard.code(), Code::InvalidArgument);
        assert!(heard.message().contains("not released") && heard.details().is_empty());
    }

    #[test]
    fn no_application_speaks_for_the_mesh() {
        for domain in [DOMAIN, "LienThong"] {
            let details = ErrorDetails::with_error_info("DENY_CERTIFICATE", domain, []);
            let said = Status::with_error_details(Code::PermissionDenied, "go away", details);
            let mut sent = HeaderMap::new();
            assert_eq!(put_status(said.code(), &trailers(&said), &declared(), &mut sent), 1);
            let heard = Status::from_header_map(&sent).unwrap();
            assert!(status::read(&heard).is_none() && heard.details().is_empty());
        }
    }

    #[test]
    fn long_words_are_cut_and_pushback_is_a_number() {
        let said = Status::new(Code::Unavailable, "ệ".repeat(2000));
        let mut words = trailers(&said);
        words.insert(PUSHBACK, HeaderValue::from_static("250"));
        let mut sent = HeaderMap::new();
        put_status(said.code(), &words, &declared(), &mut sent);
        let heard = Status::from_header_map(&sent).unwrap();
        assert!(heard.message().len() <= STATUS_MESSAGE_BYTES_MAX && heard.message().starts_with("ệệ"));
        assert_eq!(sent[PUSHBACK], "250");
        words.insert(PUSHBACK, HeaderValue::from_static("soon"));
        let mut sent = HeaderMap::new();
        put_status(said.code(), &words, &declared(), &mut sent);
        assert!(!sent.contains_key(PUSHBACK));
    }

    #[test]
    fn both_nodes_digest_the_same_words() {
        let key = ExchangeKey::from_bytes([1; 32]);
        let digest_of = |headers: &HeaderMap| {
            let mut digest = MessageDigest::new(&key);
            digest_last_words(headers, &mut digest);
            digest.finish()
        };
        let sent = headers(&[("x-page", "1"), ("x-page", "2"), ("grpc-message", "m"), ("grpc-status", "3")]);
        let arrived = headers(&[
            ("mesh-exchange-id", "0193"),
            ("grpc-message", "m"),
            ("date", "today"),
            ("x-page", "1"),
            ("x-page", "2"),
            ("grpc-status", "3"),
        ]);
        assert_eq!(digest_of(&sent), digest_of(&arrived));
        assert_ne!(digest_of(&sent), digest_of(&headers(&[("x-page", "2"), ("x-page", "1")])));
        assert_eq!(digest_of(&HeaderMap::new()), MessageDigest::new(&key).finish());
    }

    #[test]
    fn details_that_cannot_be_read_are_dropped_and_the_code_stays() {
        for broken in ["!", "AAAAA", "a b", "ÿ"] {
            let mut words = headers(&[("grpc-status", "7"), ("grpc-message", "no%zz")]);
            words.insert(DETAILS, HeaderValue::from_bytes(broken.as_bytes()).unwrap());
            let mut sent = HeaderMap::new();
            assert!(put_status(Code::PermissionDenied, &words, &declared(), &mut sent) > 0, "{broken}");
            assert_eq!(sent["grpc-status"], "7");
            assert!(of_the_mesh(&words).is_none());
        }
        assert_eq!(grpc_status(&headers(&[("grpc-status", "99")])), Some(Code::Unknown));
        assert_eq!(grpc_status(&headers(&[("grpc-status", "x")])), None);
    }

    #[test]
    fn words_of_the_mesh_are_in_no_digest() {
        let key = ExchangeKey::from_bytes([1; 32]);
        let mut digest = MessageDigest::new(&key);
        digest_last_words(&MeshError::new(Reason::DenyRevokedLive, "withdrawn").to_headers(), &mut digest);
        assert_eq!(digest.finish(), MessageDigest::new(&key).finish());
    }

    proptest::proptest! {
        #[test]
        fn rubbish_in_headers_never_panics(
            status in "[0-9]{0,3}", message in "[!-~]{0,40}", details in "[!-~]{0,60}",
        ) {
            let mut words = HeaderMap::new();
            words.insert(STATUS, status.parse().unwrap());
            words.insert(MESSAGE, message.parse().unwrap());
            words.insert(DETAILS, details.parse().unwrap());
            let mut sent = HeaderMap::new();
            put_status(Code::Internal, &words, &declared(), &mut sent);
            let _ = of_the_mesh(&words);
        }

        #[test]
        fn rubbish_never_panics(
            code in 0i32..20,
            details in proptest::collection::vec(0u8..=255, 0..200),
            message in ".{0,50}",
        ) {
            let said = Status::with_details(Code::from_i32(code), message, details.into());
            let mut sent = HeaderMap::new();
            put_status(said.code(), &trailers(&said), &declared(), &mut sent);
            proptest::prop_assert!(sent.contains_key("grpc-status"));
        }
    }
}
