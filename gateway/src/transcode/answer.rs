//! The answer that a gRPC answer becomes.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use lienthong_proto::{reason::Reason, status::MeshError};
use prost_reflect::MessageDescriptor;
use serde_json::{Map, Value, json};
use tonic::Code;

use super::{
    codec::{Codec, CodecError},
    codes,
    envelope::{COMPRESSED, END_OF_STREAM, Envelopes, sealed},
    failure::Failure,
    limits::JSON_MESSAGE_BYTES_MAX,
    space::{Place, Space},
};

/// Content type of a problem document (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";

/// How messages of an answer are written.
#[derive(Debug, Clone)]
pub struct Writing {
    /// How.
    pub codec: Codec,
    /// What they are; `None` where the method is not known, and nothing but an error can come.
    pub message: Option<MessageDescriptor>,
    /// Largest binary one, bytes.
    pub bytes_max: usize,
    /// Where they are held until they are whole.
    pub space: Space,
    /// The one field that is the body, where a path's rule names one.
    pub part: Option<String>,
    /// Content type of an error of a unary call.
    pub error_type: &'static str,
}

impl Writing {
    fn max(&self) -> usize {
        match self.codec {
            Codec::Json => self.bytes_max.min(JSON_MESSAGE_BYTES_MAX),
            Codec::Proto => self.bytes_max,
        }
    }

    fn write(&self, wire: Bytes) -> Result<Bytes, Failure> {
        let Some(message) = &self.message else {
            return Err(Failure::plain(Code::Internal, "an answer of a method that is not known"));
        };
        let text = self.codec.from_wire(message, wire).map_err(|error| unwritten(&error))?;
        match self.part.as_deref().and_then(|name| message.get_field_by_name(name)) {
            None => Ok(text),
            Some(field) => {
                let whole: Value = serde_json::from_slice(&text).unwrap_or_default();
                let part = whole.get(field.json_name()).unwrap_or(&Value::Null);
                Ok(part.to_string().into())
            }
        }
    }
}

/// The one message of a call.
#[derive(Debug)]
pub struct Answered {
    /// Headers that came before it.
    pub leading: HeaderMap,
    /// Headers that came after it.
    pub trailing: HeaderMap,
    /// The message on the wire, or why there is none.
    pub outcome: Result<Bytes, Failure>,
}

/// Waits for the end of a unary call.
pub async fn collect(response: Response<tonic::body::Body>, writing: &Writing) -> Answered {
    let (head, body) = response.into_parts();
    let mut place = writing.space.place();
    let (trailing, outcome) = match gather(body, &mut place, writing.max()).await {
        Ok((message, trailers)) => {
            let failed = Failure::told_by(trailers.as_ref().unwrap_or(&head.headers));
            let outcome = match (failed, message) {
                (Some(failed), _) => Err(failed),
                (None, Some(message)) => Ok(message),
                (None, None) => Err(Failure::plain(Code::Internal, "the call ended without a message")),
            };
            (trailers.unwrap_or_default(), outcome)
        }
        Err(failed) => (HeaderMap::new(), Err(failed)),
    };
    Answered { leading: head.headers, trailing, outcome }
}

/// A unary answer of Connect: its message, or an error as JSON.
pub fn unary(answered: Answered, writing: &Writing) -> Response<tonic::body::Body> {
    let Answered { leading, trailing, outcome } = answered;
    let written = outcome.and_then(|wire| writing.write(wire));
    let mut response = match written {
        Ok(text) => plain(StatusCode::OK, writing.codec.content_type(), text),
        Err(failed) => error(&failed, writing.error_type),
    };
    let headers = response.headers_mut();
    for (name, value) in leading.iter().filter(|(name, _)| passes(name)) {
        headers.append(name.clone(), value.clone());
    }
    for (name, value) in trailing.iter().filter(|(name, _)| passes(name)) {
        // Those of the mesh are looked for by people, too.
        if name.as_str().starts_with("mesh-") && !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
        if let Ok(name) = HeaderName::try_from(format!("trailer-{name}")) {
            headers.append(name, value.clone());
        }
    }
    response
}

/// A stream of Connect: messages in envelopes, the last of which says how it ended.
pub fn streamed(response: Response<tonic::body::Body>, writing: Writing) -> Response<tonic::body::Body> {
    let (head, body) = response.into_parts();
    let content_type = HeaderValue::from_static(writing.codec.stream_content_type());
    let ended = head.headers.contains_key("grpc-status").then(|| head.headers.clone());
    let place = writing.space.place();
    let writer = Writer { writing, body, envelopes: Envelopes::default(), place, ended, over: false };
    let frames = stream::unfold(writer, |mut writer| async move {
        if writer.over {
            return None;
        }
        let frame = writer.next().await;
        Some((Ok::<_, tonic::Status>(Frame::data(frame)), writer))
    });
    let mut response = Response::new(tonic::body::Body::new(StreamBody::new(Box::pin(frames))));
    let headers = response.headers_mut();
    for (name, value) in head.headers.iter().filter(|(name, _)| passes(name)) {
        headers.append(name.clone(), value.clone());
    }
    headers.insert(header::CONTENT_TYPE, content_type);
    keep_private(headers);
    response
}

/// An error of a unary call.
pub fn error(failed: &Failure, content_type: &'static str) -> Response<tonic::body::Body> {
    let text = serde_json::to_vec(&failed.to_json()).unwrap_or_default();
    plain(codes::of(failed.code).status(), content_type, text.into())
}

/// A whole answer, which nobody on the way may keep.
pub fn plain(status: StatusCode, content_type: &'static str, text: Bytes) -> Response<tonic::body::Body> {
    let mut response = Response::new(tonic::body::Body::new(Full::new(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    keep_private(response.headers_mut());
    response
}

fn keep_private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Headers of the gRPC answer that are the mesh's or the application's.
fn passes(name: &HeaderName) -> bool {
    let name = name.as_str();
    !name.starts_with("grpc-")
        && !matches!(
            name,
            "content-type" | "content-length" | "content-encoding" | "date" | "trailer" | "transfer-encoding"
        )
}

/// The one message, and the trailers.
async fn gather(
    mut body: tonic::body::Body,
    place: &mut Place,
    max: usize,
) -> Result<(Option<Bytes>, Option<HeaderMap>), Failure> {
    let (mut envelopes, mut message, mut trailers) = (Envelopes::default(), None, None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|status| interrupted(&status))?;
        match frame.into_data() {
            Ok(chunk) => {
                if !place.holds(envelopes.held() + chunk.len()) {
                    return Err(full());
                }
                envelopes.push(&chunk);
                while let Some(wire) = next(&mut envelopes, max)? {
                    if message.replace(wire).is_some() {
                        return Err(Failure::plain(
                            Code::Internal,
                            "two messages where the contract has one",
                        ));
                    }
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((message, trailers))
}

/// The next message of a gRPC answer. It is never compressed: that was not asked for.
fn next(envelopes: &mut Envelopes, max: usize) -> Result<Option<Bytes>, Failure> {
    match envelopes.next(max) {
        Ok(None) => Ok(None),
        Ok(Some(envelope)) if envelope.flags & COMPRESSED == 0 => Ok(Some(envelope.body)),
        Ok(Some(_)) => Err(Failure::plain(Code::Internal, "a compressed message, which was not asked for")),
        Err(error) => {
            Err(Failure::of(&MeshError::new(Reason::FailMessageTooLarge, format!("{error}; ask for less"))))
        }
    }
}

struct Writer {
    writing: Writing,
    body: tonic::body::Body,
    envelopes: Envelopes,
    place: Place,
    /// How it ended, once that is known.
    ended: Option<HeaderMap>,
    over: bool,
}

impl Writer {
    /// The next envelope; the last one says how it ended.
    async fn next(&mut self) -> Bytes {
        match self.next_message().await {
            Ok(Some(text)) => sealed(0, &text),
            Ok(None) => {
                let trailers = self.ended.take().unwrap_or_default();
                self.end(Failure::told_by(&trailers), &trailers)
            }
            Err(failed) => self.end(Some(failed), &HeaderMap::new()),
        }
    }

    async fn next_message(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(wire) = next(&mut self.envelopes, self.writing.max())? {
                return self.writing.write(wire).map(Some);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(status)) => return Err(interrupted(&status)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        if !self.place.holds(self.envelopes.held() + chunk.len()) {
                            return Err(full());
                        }
                        self.envelopes.push(&chunk);
                    }
                    Err(frame) => self.ended = frame.into_trailers().ok(),
                },
            }
        }
    }

    fn end(&mut self, failed: Option<Failure>, trailers: &HeaderMap) -> Bytes {
        self.over = true;
        let mut object = Map::new();
        if let Some(failed) = failed {
            object.insert("error".to_owned(), failed.to_json());
        }
        let metadata = metadata(trailers);
        if !metadata.is_empty() {
            object.insert("metadata".to_owned(), Value::Object(metadata));
        }
        sealed(END_OF_STREAM, Value::Object(object).to_string().as_bytes())
    }
}

fn metadata(trailers: &HeaderMap) -> Map<String, Value> {
    let mut metadata = Map::new();
    for name in trailers.keys().filter(|name| passes(name)) {
        let values = trailers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        metadata.insert(name.to_string(), json!(values.collect::<Vec<_>>()));
    }
    metadata
}

fn interrupted(status: &tonic::Status) -> Failure {
    tracing::debug!(%status, "an answer was interrupted");
    Failure::of(&MeshError::new(Reason::FailInterrupted, "the answer ended before its end"))
}

fn full() -> Failure {
    Failure::of(&MeshError::new(Reason::FailOverloaded, "the HTTP front holds as many bytes as it may"))
}

fn unwritten(error: &CodecError) -> Failure {
    let reason = match error {
        CodecError::TooLarge { .. } => Reason::FailMessageTooLarge,
        CodecError::Json { .. } | CodecError::Wire { .. } => Reason::FailMalformedMessage,
    };
    Failure::of(&MeshError::new(reason, error.to_string()))
}
