//! What a caller of plain HTTP sends: JSON, envelopes, packed messages, addresses.

use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderMap;
use lienthong_gateway::transcode::{
    codec::{self, Codec},
    envelope::{Envelopes, sealed},
    failure::Failure,
    packing::Packing,
    query,
};
use lienthong_proto::descriptors;
use prost_reflect::MessageDescriptor;

const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Messages with every kind of field that the samples have.
static MESSAGES: LazyLock<Vec<MessageDescriptor>> = LazyLock::new(|| {
    let mut messages = Vec::new();
    for (set, name) in [
        (descriptors::DANCU, "vn.dancu.v1.GetCitizenRequest"),
        (descriptors::DANCU, "vn.dancu.v1.Citizen"),
        (descriptors::THUNGHIEM, "vn.thunghiem.v1.GetRecordRequest"),
        (descriptors::THUNGHIEM, "vn.thunghiem.v1.PutRecordRequest"),
    ] {
        messages.push(descriptors::pool(set).unwrap().get_message_by_name(name).unwrap());
    }
    messages
});

/// The first byte says as what the rest is read: JSON and wire of a message, a query string, envelopes, a packed message,
/// the status of an answer.
pub fn http(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind {
        0 => drop(query::question(&String::from_utf8_lossy(rest))),
        1 => envelopes(rest),
        2 => {
            if let Ok(plain) = Packing::Gzip.unpack(Bytes::copy_from_slice(rest), MESSAGE_BYTES_MAX) {
                assert!(plain.len() <= MESSAGE_BYTES_MAX);
            }
        }
        3 => status(rest),
        _ => MESSAGES.iter().for_each(|message| turned(message, rest)),
    }
}

/// What is read is written again as the same message.
fn turned(message: &MessageDescriptor, bytes: &[u8]) {
    if let Ok(read) = codec::read(message, bytes) {
        let again = codec::read(message, &codec::write(&read).unwrap()).unwrap();
        assert_eq!(prost::Message::encode_to_vec(&again), prost::Message::encode_to_vec(&read));
    }
    let _ = Codec::Json.from_wire(message, Bytes::copy_from_slice(bytes));
}

fn envelopes(bytes: &[u8]) {
    let (mut envelopes, mut again) = (Envelopes::default(), Vec::new());
    for chunk in bytes.chunks(7) {
        envelopes.push(chunk);
        loop {
            match envelopes.next(MESSAGE_BYTES_MAX) {
                Ok(Some(envelope)) => again.extend_from_slice(&sealed(envelope.flags, &envelope.body)),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    assert!(bytes.starts_with(&again));
}

fn status(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    let mut lines = bytes.split(|byte| *byte == b'\n');
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        let value = lines.next().and_then(|value| http::HeaderValue::from_bytes(value).ok());
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    if let Some(failed) = Failure::told_by(&headers) {
        assert!(failed.to_json()["code"].is_string());
    }
}

pub fn http_seeds() -> Vec<Vec<u8>> {
    let seed = |kind: u8, text: &[u8]| [&[kind][..], text].concat();
    vec![
        seed(9, br#"{"soDinhDanh":"999190000001"}"#),
        seed(9, br#"{"maBanGhi":"TN-000001","instruction":{"code":5,"delay":"1.5s","echo":"ECHO_BOTH","fieldViolations":[{"field":"a"}]}}"#),
        seed(9, br#"{"record":{"maBanGhi":"TN-000001","soThuTu":"7","duLieu":"AAEC","ghiChu":["a","b"]}}"#),
        seed(0, b"connect=v1&encoding=json&base64=1&message=e30"),
        seed(1, &[&sealed(0, b"{}")[..], &sealed(3, b"x")].concat()),
        seed(2, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        seed(3, b"7\nkh%C3%B4ng\nCAcSAng"),
    ]
}
