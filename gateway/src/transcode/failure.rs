//! An error as all of its readers want it. One JSON object is at once Connect's error (`code`, `message`, `details`) and a
//! problem document (RFC 9457: `type`, `title`, `status`, `detail`), with the mesh's reason, rule and Vietnamese words.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD_NO_PAD},
};
use http::{HeaderMap, HeaderValue};
use lienthong_proto::{reason::Reason, status::MeshError};
use percent_encoding::percent_decode;
use prost::Message as _;
use serde_json::{Map, Value, json};
use tonic::Code;
use tonic_types::pb;

use super::{codes, limits::DETAILS_SHOWN_MAX};

/// Base64 as gRPC's libraries write it, with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How a call failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// gRPC's code.
    pub code: Code,
    /// For people.
    pub message: String,
    /// For machines.
    pub details: Vec<Detail>,
}

/// A detail of an error.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// Full name of its message, without the address before it.
    pub name: String,
    /// The message on the wire.
    pub bytes: Vec<u8>,
}

impl Failure {
    /// The failure that these headers or trailers tell of; `None` where they tell of success. An answer without a status is
    /// a failure too.
    pub fn told_by(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status").and_then(|value| value.to_str().ok());
        let code = code.and_then(|code| code.parse().ok()).map_or(Code::Unknown, Code::from_i32);
        if code == Code::Ok {
            return None;
        }
        let message = headers.get("grpc-message").map(|value| percent_decode(value.as_bytes()));
        let message = message.map(|message| message.decode_utf8_lossy().into_owned()).unwrap_or_default();
        let details = headers.get("grpc-status-details-bin").map(HeaderValue::as_bytes);
        let details = details.and_then(|details| LENIENT.decode(details).ok());
        let details = details.and_then(|details| pb::Status::decode(&*details).ok());
        let details = details.map(|status| status.details).unwrap_or_default();
        let details = details.into_iter().map(|detail| Detail {
            name: detail.type_url.rsplit('/').next().unwrap_or_default().to_owned(),
            bytes: detail.value,
        });
        Some(Self { code, message, details: details.collect() })
    }

    /// An error of the mesh.
    pub fn of(error: &MeshError) -> Self {
        Self::told_by(&error.to_headers()).unwrap_or_else(|| Self::plain(Code::Internal, &error.to_string()))
    }

    /// An error of this front, which has no reason of the mesh's list.
    pub fn plain(code: Code, message: &str) -> Self {
        Self { code, message: message.to_owned(), details: Vec::new() }
    }

    /// The JSON object.
    pub fn to_json(&self) -> Value {
        let row = codes::of(self.code);
        let mut object = Map::new();
        object.insert("code".to_owned(), row.connect.into());
        object.insert("message".to_owned(), self.message.as_str().into());
        if !self.details.is_empty() {
            object.insert("details".to_owned(), self.details.iter().map(Detail::to_json).collect());
        }
        object.insert("status".to_owned(), row.http.into());
        self.explain(&mut object);
        Value::Object(object)
    }

    /// What is known of a reason of the mesh.
    fn explain(&self, object: &mut Map<String, Value>) {
        let info = self.detail::<pb::ErrorInfo>("google.rpc.ErrorInfo");
        let reason = info.as_ref().and_then(|info| Reason::from_name(&info.reason));
        let (Some(info), Some(reason)) = (info, reason) else {
            object.insert("type".to_owned(), "about:blank".into());
            object.insert("title".to_owned(), codes::of(self.code).connect.into());
            return;
        };
        let known = reason.info();
        object.insert("type".to_owned(), format!("/errors/{}", known.name).into());
        object.insert("title".to_owned(), known.en.into());
        object.insert("title_vi".to_owned(), known.vi.into());
        object.insert("reason".to_owned(), known.name.into());
        object.insert("remedy".to_owned(), known.remedy_en.into());
        object.insert("remedy_vi".to_owned(), known.remedy_vi.into());
        for key in ["rule", "detail", "exchange_id"] {
            if let Some(value) = info.metadata.get(key) {
                object.insert(key.to_owned(), value.as_str().into());
            }
        }
        let retry = self.detail::<pb::RetryInfo>("google.rpc.RetryInfo").and_then(|info| info.retry_delay);
        if let Some(delay) = retry {
            let milliseconds = delay.seconds.saturating_mul(1000) + i64::from(delay.nanos) / 1_000_000;
            object.insert("retry_after_ms".to_owned(), milliseconds.into());
        }
    }

    fn detail<M: prost::Message + Default>(&self, name: &str) -> Option<M> {
        let detail = self.details.iter().find(|detail| detail.name == name)?;
        M::decode(&*detail.bytes).ok()
    }
}

impl Detail {
    /// As Connect writes it; `debug` is for people.
    fn to_json(&self) -> Value {
        let mut object = json!({ "type": self.name, "value": STANDARD_NO_PAD.encode(&self.bytes) });
        if let (Some(shown), Some(object)) = (self.shown(), object.as_object_mut()) {
            object.insert("debug".to_owned(), shown);
        }
        object
    }

    fn shown(&self) -> Option<Value> {
        match self.name.as_str() {
            "google.rpc.ErrorInfo" => {
                let info = pb::ErrorInfo::decode(&*self.bytes).ok()?;
                let metadata: Map<String, Value> = sorted(info.metadata);
                Some(json!({ "reason": info.reason, "domain": info.domain, "metadata": metadata }))
            }
            "google.rpc.LocalizedMessage" => {
                let message = pb::LocalizedMessage::decode(&*self.bytes).ok()?;
                Some(json!({ "locale": message.locale, "message": message.message }))
            }
            "google.rpc.BadRequest" => {
                let request = pb::BadRequest::decode(&*self.bytes).ok()?;
                let fields = request.field_violations.into_iter().take(DETAILS_SHOWN_MAX);
                let fields = fields.map(|of| json!({ "field": of.field, "description": of.description }));
                Some(json!({ "fieldViolations": fields.collect::<Vec<_>>() }))
            }
            _ => None,
        }
    }
}

fn sorted(metadata: impl IntoIterator<Item = (String, String)>) -> Map<String, Value> {
    let mut pairs: Vec<_> = metadata.into_iter().collect();
    pairs.sort();
    pairs.into_iter().map(|(key, value)| (key, value.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_serves_every_reader() {
        let error = MeshError {
            exchange_id: Some("0193".to_owned()),
            retry_after_ms: Some(1_500),
            ..MeshError::new(Reason::DenyQuota, "60 a minute").with_rule("CE-1")
        };
        let json = Failure::of(&error).to_json();
        assert_eq!(json["code"], "resource_exhausted");
        assert_eq!((&json["status"], &json["reason"]), (&json!(429), &json!("DENY_QUOTA")));
        assert_eq!((&json["rule"], &json["detail"]), (&json!("CE-1"), &json!("60 a minute")));
        assert_eq!((&json["type"], &json["retry_after_ms"]), (&json!("/errors/DENY_QUOTA"), &json!(1_500)));
        assert_eq!(json["exchange_id"], "0193");
        let shown = |name: &str| {
            let details = json["details"].as_array().unwrap();
            details.iter().find(|detail| detail["type"] == name).unwrap()["debug"].clone()
        };
        assert_eq!(shown("google.rpc.ErrorInfo")["reason"], "DENY_QUOTA");
        assert_eq!(shown("google.rpc.LocalizedMessage")["locale"], "vi");
    }

    #[test]
    fn a_backend_s_error_and_a_broken_one_are_read_as_far_as_they_go() {
        let mut headers = HeaderMap::new();
        assert_eq!(Failure::told_by(&headers).unwrap().code, Code::Unknown);
        headers.insert("grpc-status", HeaderValue::from_static("5"));
        headers.insert("grpc-message", HeaderValue::from_static("kh%C3%B4ng c%FF"));
        headers.insert("grpc-status-details-bin", HeaderValue::from_static("!!"));
        let json = Failure::told_by(&headers).unwrap().to_json();
        assert_eq!((&json["code"], &json["title"]), (&json!("not_found"), &json!("not_found")));
        assert_eq!(json["message"], "không c\u{fffd}");
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert_eq!(Failure::told_by(&headers), None);
    }
}
