//! Metadata: what arrived, and what is sent back of it.

use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use lienthong_proto::vn::thunghiem::v1::{Echo, Seen};
use prost::bytes::Bytes;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tower::BoxError;

use crate::caller::{CONSUMER, Caller, PURPOSE, SYSTEM};

/// The keys that are sent back, as the dataset declares them.
pub const KEYS: [&str; 3] = ["trial-note", "trial-tags", "trial-blob-bin"];

/// The key that asks for compressed answers; without it they are sent as they are, whatever the caller accepts, so
/// that a stream is measured and not its compressor.
pub const COMPRESS: &str = "trial-compress";

/// Trailers of an answer; travels as an extension of the response to [`with_trailers`].
#[derive(Clone, Debug)]
pub struct Trailers(HeaderMap);

impl Trailers {
    /// As metadata, where there is no answer that they could follow.
    pub fn into_headers(self) -> HeaderMap {
        self.0
    }
}

/// What goes back: initial metadata, and trailers.
pub fn split(echo: Echo, arrived: &MetadataMap) -> (HeaderMap, Option<Trailers>) {
    let initial = matches!(echo, Echo::Initial | Echo::Both);
    let trailers = matches!(echo, Echo::Trailers | Echo::Both);
    let kept = || {
        let arrived = arrived.as_ref();
        let values = |key| arrived.get_all(key).iter().map(move |value| (key, value.clone()));
        let mut kept = HeaderMap::new();
        for (key, value) in KEYS.into_iter().flat_map(values) {
            kept.append(key, value);
        }
        kept
    };
    (if initial { kept() } else { HeaderMap::new() }, trailers.then(|| Trailers(kept())))
}

/// What the provider saw of a call.
pub fn seen(arrived: &MetadataMap) -> Seen {
    let headers = arrived.as_ref();
    let caller = Caller::of(headers);
    let mut metadata_keys: Vec<_> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|key| is_custom(key))
        .map(str::to_owned)
        .collect();
    metadata_keys.sort();
    Seen {
        metadata_keys,
        time_left: headers.get("grpc-timeout").and_then(|value| timeout(value.to_str().ok()?)),
        consumer: caller.value(CONSUMER).to_owned(),
        system: caller.value(SYSTEM).to_owned(),
        purpose: caller.value(PURPOSE).to_owned(),
    }
}

/// Adds [`Trailers`] to the last frame of an answer.
pub fn with_trailers<B>(mut response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let Some(Trailers(more)) = response.extensions_mut().remove::<Trailers>() else {
        return response.map(Body::new);
    };
    response.map(|body| {
        Body::new(body.map_frame(move |mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                for (key, value) in &more {
                    trailers.append(key, value.clone());
                }
            }
            frame
        }))
    })
}

/// Lets answers be compressed only where the caller asks for it with [`COMPRESS`].
pub fn compress_on_request<B>(mut request: Request<B>) -> Request<B> {
    if !request.headers().contains_key(COMPRESS) {
        request.headers_mut().remove("grpc-accept-encoding");
    }
    request
}

/// Application metadata: neither gRPC's, HTTP's nor the mesh's own.
fn is_custom(key: &str) -> bool {
    let reserved = ["grpc-", "mesh-"].iter().any(|prefix| key.starts_with(prefix));
    !reserved && !matches!(key, "te" | "content-type" | "user-agent" | "traceparent" | "tracestate")
}

/// `grpc-timeout` as the gRPC protocol writes it: at most 8 digits and a unit.
fn timeout(text: &str) -> Option<prost_types::Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let left = match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    };
    left.try_into().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::Full;

    use super::*;

    fn arrived() -> MetadataMap {
        let mut headers = HeaderMap::new();
        for (key, value) in [
            ("trial-tags", "một".as_bytes()),
            ("trial-tags", b"two"),
            ("trial-blob-bin", b"AAH_"),
            ("x-other", b"1"),
            ("mesh-consumer", b"H26.90"),
            ("grpc-timeout", b"1500m"),
            ("te", b"trailers"),
        ] {
            headers.append(key, HeaderValue::from_bytes(value).unwrap());
        }
        MetadataMap::from_headers(headers)
    }

    #[test]
    fn repeated_keys_go_back_in_order_and_others_stay() {
        let (initial, trailers) = split(Echo::Both, &arrived());
        let tags: Vec<_> = initial.get_all("trial-tags").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(tags, ["một".as_bytes(), b"two"]);
        assert_eq!(initial.len(), 3);
        assert_eq!(trailers.unwrap().0, initial);
        assert_eq!(split(Echo::Unspecified, &arrived()).0.len(), 0);
        assert!(split(Echo::Initial, &arrived()).1.is_none());
    }

    #[test]
    fn what_was_seen_is_told() {
        let seen = seen(&arrived());
        assert_eq!(seen.metadata_keys, ["trial-blob-bin", "trial-tags", "x-other"]);
        assert_eq!(seen.time_left, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
        assert_eq!((seen.consumer.as_str(), seen.system.as_str()), ("H26.90", "-"));
    }

    #[test]
    fn a_timeout_is_read_as_the_protocol_writes_it() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        assert_eq!(
            (timeout("2H"), timeout("3M"), timeout("99999999S")),
            (seconds(7_200), seconds(180), seconds(99_999_999))
        );
        for rubbish in ["", "S", "1", "-1S", "123456789S", "1x", "1é"] {
            assert_eq!(timeout(rubbish), None, "{rubbish}");
        }
    }

    #[tokio::test]
    async fn trailers_join_those_that_are_there() {
        let own = async {
            Some(Ok(HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))])))
        };
        let body = Body::new(Full::new(Bytes::from_static(b"x")).with_trailers(own));
        let mut response = Response::new(body);
        let (_, trailers) = split(Echo::Trailers, &arrived());
        response.extensions_mut().insert(trailers.unwrap());
        let read = with_trailers(response).into_body().collect().await.unwrap();
        let trailers = read.trailers().unwrap();
        assert_eq!(
            (trailers["grpc-status"].as_bytes(), trailers.get_all("trial-tags").iter().count()),
            (&b"0"[..], 2)
        );
    }
}
