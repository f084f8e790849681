//! The gRPC call that a request becomes. The message is turned while the node reads it, after it has judged the caller: what
//! cannot be turned is then denied like any other call that makes no sense, and goes on record.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use lienthong_proto::{reason::Reason, status::MeshError};
use prost_reflect::MessageDescriptor;
use tonic::Status;

use super::{
    codec::{Codec, CodecError},
    envelope::{COMPRESSED, EnvelopeError, Envelopes, sealed},
    limits::JSON_MESSAGE_BYTES_MAX,
    packing::{self, Packing, PackingError},
    space::{Place, Space},
};

/// Connect's header for how long the caller waits, milliseconds.
pub const CONNECT_TIMEOUT: &str = "connect-timeout-ms";

/// gRPC's.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// How messages of a request are read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// How they are written.
    pub codec: Codec,
    /// How those that are compressed are.
    pub packing: Packing,
    /// What they are.
    pub message: MessageDescriptor,
    /// Largest binary one, bytes.
    pub bytes_max: usize,
    /// Where they are held until they are whole.
    pub space: Space,
}

impl Reading {
    /// Largest one before and after it is unpacked, bytes.
    fn max(&self) -> usize {
        match self.codec {
            Codec::Json => self.bytes_max.min(JSON_MESSAGE_BYTES_MAX),
            Codec::Proto => self.bytes_max,
        }
    }

    /// One message in its gRPC frame.
    fn frame(&self, packing: Packing, written: Bytes) -> Result<Bytes, MeshError> {
        let plain = packing.unpack(written, self.max()).map_err(|error| unpacked(&error))?;
        let wire = self.codec.to_wire(&self.message, plain).map_err(|error| turned(&error))?;
        Ok(sealed(0, &wire))
    }
}

/// The call: its path, the caller's metadata, and its body.
pub fn call(path: &str, headers: HeaderMap, body: tonic::body::Body) -> Request<tonic::body::Body> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    if let Ok(path) = Uri::try_from(path) {
        *request.uri_mut() = path;
    }
    *request.headers_mut() = headers;
    request
}

/// The metadata of the call. Headers that HTTP, Connect or a browser says for itself stay behind.
pub fn metadata(from: &HeaderMap) -> Result<HeaderMap, MeshError> {
    let mut headers = HeaderMap::with_capacity(from.len() + 3);
    for (name, value) in from.iter().filter(|(name, _)| is_metadata(name)) {
        headers.append(name.clone(), value.clone());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    match from.get(CONNECT_TIMEOUT) {
        Some(value) => {
            headers.insert(GRPC_TIMEOUT, timeout(value)?);
        }
        None => {
            if let Some(value) = from.get(GRPC_TIMEOUT) {
                headers.insert(GRPC_TIMEOUT, value.clone());
            }
        }
    }
    Ok(headers)
}

/// Milliseconds as Connect writes them, up to ten digits, as gRPC does, up to eight.
fn timeout(value: &HeaderValue) -> Result<HeaderValue, MeshError> {
    let digits = value.to_str().unwrap_or_default();
    let number =
        (digits.len() <= 10 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse());
    let milliseconds: u64 = match number {
        Some(Ok(milliseconds)) => milliseconds,
        _ => return Err(context(format!("{CONNECT_TIMEOUT} must be 1 to 10 digits"))),
    };
    let text = match milliseconds {
        0..1_0000_0000 => format!("{milliseconds}m"),
        _ => format!("{}S", milliseconds / 1_000),
    };
    HeaderValue::try_from(text).map_err(|_| context(format!("{CONNECT_TIMEOUT} cannot be read")))
}

fn is_metadata(name: &HeaderName) -> bool {
    let name = name.as_str();
    let of_others =
        ["grpc-", "connect-", "sec-", "access-control-", "if-"].iter().any(|of| name.starts_with(of));
    let of_http = matches!(
        name,
        "accept"
            | "accept-charset"
            | "accept-encoding"
            | "accept-language"
            | "accept-ranges"
            | "cache-control"
            | "connection"
            | "content-encoding"
            | "content-length"
            | "content-type"
            | "date"
            | "dnt"
            | "expect"
            | "forwarded"
            | "host"
            | "keep-alive"
            | "origin"
            | "pragma"
            | "priority"
            | "proxy-connection"
            | "range"
            | "referer"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "user-agent"
            | "x-user-agent"
            | "via"
    );
    !of_others && !of_http
}

/// A body of one message, which is the whole of `body`.
pub fn unary<B>(reading: Reading, body: B) -> tonic::body::Body
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    made(async move {
        let mut place = reading.space.place();
        let written = whole(body, &mut place, reading.max()).await?;
        reading.frame(reading.packing, written).map_err(|error| error.to_status())
    })
}

/// A body of one message, which `compose` makes of the whole of `body`.
pub fn composed<B>(
    reading: Reading,
    body: B,
    compose: impl FnOnce(&Bytes) -> Result<Bytes, MeshError> + Send + 'static,
) -> tonic::body::Body
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    made(async move {
        let mut place = reading.space.place();
        let written = whole(body, &mut place, reading.max()).await?;
        let plain = reading.packing.unpack(written, reading.max()).map_err(|error| unpacked(&error));
        let composed = plain.and_then(|plain| compose(&plain));
        composed
            .and_then(|composed| reading.frame(Packing::Plain, composed))
            .map_err(|error| error.to_status())
    })
}

/// A body of one message that is there already.
pub fn ready(reading: Reading, written: Bytes) -> tonic::body::Body {
    made(async move { reading.frame(reading.packing, written).map_err(|error| error.to_status()) })
}

/// A body that is none: why, is heard once the call was judged.
pub fn failing(error: MeshError) -> tonic::body::Body {
    made(async move { Err(error.to_status()) })
}

fn made(frame: impl Future<Output = Result<Bytes, Status>> + Send + 'static) -> tonic::body::Body {
    let frames = stream::once(async { frame.await.map(Frame::data) });
    tonic::body::Body::new(StreamBody::new(Box::pin(frames)))
}

/// A body of as many messages as come in envelopes.
pub fn streamed<B>(reading: Reading, body: B) -> tonic::body::Body
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    let place = reading.space.place();
    let reader = Reader { reading, body, envelopes: Envelopes::default(), place, over: false };
    let frames = stream::unfold(reader, |mut reader| async move {
        if reader.over {
            return None;
        }
        let frame = reader.next().await.transpose()?;
        reader.over = frame.is_err();
        Some((frame.map(Frame::data), reader))
    });
    tonic::body::Body::new(StreamBody::new(Box::pin(frames)))
}

struct Reader<B> {
    reading: Reading,
    body: B,
    envelopes: Envelopes,
    place: Place,
    over: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Reader<B> {
    /// The next message in its gRPC frame; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let envelope =
                self.envelopes.next(self.reading.max()).map_err(|error| cut(&error).to_status())?;
            if let Some(envelope) = envelope {
                let packing =
                    if envelope.flags & COMPRESSED == 0 { Packing::Plain } else { self.reading.packing };
                if envelope.flags & !COMPRESSED != 0
                    || envelope.flags & COMPRESSED != 0 && packing == Packing::Plain
                {
                    let error = malformed(format!("an envelope with the flags {:#x}", envelope.flags));
                    return Err(error.to_status());
                }
                let frame = self.reading.frame(packing, envelope.body).map_err(|error| error.to_status())?;
                return Ok(Some(frame));
            }
            match self.body.frame().await {
                None => {
                    self.envelopes.finish().map_err(|error| cut(&error).to_status())?;
                    return Ok(None);
                }
                Some(Err(_)) => return Err(gone()),
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    if !self.place.holds(self.envelopes.held() + chunk.len()) {
                        return Err(full().to_status());
                    }
                    self.envelopes.push(&chunk);
                }
            }
        }
    }
}

/// The whole of a body, up to `max` bytes.
pub async fn whole<B>(mut body: B, place: &mut Place, max: usize) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|_| gone())?.into_data() else { continue };
        if all.len() + chunk.len() > max {
            let detail = format!("the request is larger than {max} bytes");
            return Err(MeshError::new(Reason::FailMessageTooLarge, detail).to_status());
        }
        if !place.holds(all.len() + chunk.len()) {
            return Err(full().to_status());
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}

/// What a caller hears whose messages are packed in a way that is not understood.
pub fn not_understood() -> MeshError {
    let detail = format!("understood are {}", packing::UNDERSTOOD);
    MeshError::new(Reason::FailUnsupportedEncoding, detail)
}

/// What a caller hears who states something that cannot be read.
pub fn context(detail: String) -> MeshError {
    MeshError::new(Reason::DenyContext, detail)
}

fn turned(error: &CodecError) -> MeshError {
    let reason = match error {
        CodecError::TooLarge { .. } => Reason::FailMessageTooLarge,
        CodecError::Json { .. } | CodecError::Wire { .. } => Reason::DenyContext,
    };
    MeshError::new(reason, error.to_string())
}

fn unpacked(error: &PackingError) -> MeshError {
    match error {
        PackingError::TooLarge { .. } => MeshError::new(Reason::FailMessageTooLarge, error.to_string()),
        PackingError::Damaged => context(format!("the message is damaged: {error}")),
    }
}

fn cut(error: &EnvelopeError) -> MeshError {
    match error {
        EnvelopeError::TooLarge { .. } => MeshError::new(Reason::FailMessageTooLarge, error.to_string()),
        EnvelopeError::CutOff => malformed(error.to_string()),
    }
}

fn malformed(detail: String) -> MeshError {
    MeshError::new(Reason::FailMalformedMessage, detail)
}

fn full() -> MeshError {
    MeshError::new(Reason::FailOverloaded, "the HTTP front holds as many bytes as it may")
}

fn gone() -> Status {
    Status::cancelled("the caller went away")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_is_of_http_stays_behind_and_what_is_of_the_mesh_goes_on() {
        let metadata = metadata(&headers(&[
            ("mesh-purpose", "ADMIN_PROCEDURE"),
            ("x-trace", "1"),
            ("traceparent", "00-1"),
            ("user-agent", "curl"),
            ("accept", "*/*"),
            ("content-encoding", "gzip"),
            ("grpc-encoding", "gzip"),
            ("connect-protocol-version", "1"),
            ("sec-fetch-mode", "cors"),
        ]))
        .unwrap();
        let mut names: Vec<_> = metadata.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected =
            ["content-type", "grpc-accept-encoding", "mesh-purpose", "te", "traceparent", "x-trace"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_timeout_is_said_in_grpc_s_words() {
        for (said, expected) in
            [("0", "0m"), ("1500", "1500m"), ("99999999", "99999999m"), ("9999999999", "9999999S")]
        {
            let metadata = metadata(&headers(&[(CONNECT_TIMEOUT, said)])).unwrap();
            assert_eq!(metadata[GRPC_TIMEOUT], expected);
        }
        for rubbish in ["", "1s", "-1", "12345678901", "1.5"] {
            assert_eq!(
                metadata(&headers(&[(CONNECT_TIMEOUT, rubbish)])).unwrap_err().reason,
                Reason::DenyContext
            );
        }
        assert_eq!(metadata(&headers(&[(GRPC_TIMEOUT, "3S")])).unwrap()[GRPC_TIMEOUT], "3S");
    }
}
