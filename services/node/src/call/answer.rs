//! What goes back to a caller: a released answer, an error of the mesh, or the answer of one of the
//! node's own services.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use lienthong_proto::{reason::Reason, status::MeshError};
use lienthong_telemetry::Traced;
use uuid::Uuid;

use crate::call::{compression, metadata::EXCHANGE_ID, release::ReleaseBody};

/// Any error that ends a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Body of an answer.
pub enum AnswerBody {
    /// Nothing: the answer is its headers (gRPC "Trailers-Only").
    Empty,
    /// The released messages of an exchange.
    Released(Box<ReleaseBody>),
    /// The answer of one of the node's own services.
    Service(tonic::body::Body),
    /// Any of them, where traces are exported.
    Traced(Box<Traced<AnswerBody>>),
}

/// An answer.
pub type Answer = Response<AnswerBody>;

/// The error as an answer without messages.
pub fn error(error: &MeshError, exchange_id: Option<Uuid>) -> Answer {
    let mut headers = match exchange_id {
        Some(id) => {
            let named = MeshError { exchange_id: Some(id.to_string()), ..error.clone() };
            named.to_headers()
        }
        None => error.to_headers(),
    };
    if error.reason == Reason::FailUnsupportedEncoding {
        headers.insert(compression::ACCEPT_ENCODING, compression::UNDERSTOOD);
    }
    if let Some(id) = exchange_id {
        headers.insert(EXCHANGE_ID, exchange_id_value(id));
    }
    trailers_only(headers)
}

/// An answer that is its headers.
pub fn trailers_only(headers: HeaderMap) -> Answer {
    let mut response = Response::new(AnswerBody::Empty);
    *response.headers_mut() = headers;
    response
}

/// The exchange id as callers read it.
pub fn exchange_id_value(id: Uuid) -> HeaderValue {
    let mut text = [0u8; uuid::fmt::Hyphenated::LENGTH];
    // INVARIANT: hexadecimal digits and hyphens are visible ASCII.
    said_once(HeaderValue::from_str(id.hyphenated().encode_lower(&mut text)))
}

/// A value that no second message has, kept out of the tables of HPACK: there it would push out what comes again
/// (RFC 7541 §6.2.3).
pub fn said_once<E>(value: Result<HeaderValue, E>) -> HeaderValue {
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Released(body) => Pin::new(body.as_mut()).poll_frame(context),
            Self::Service(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Traced(body) => Pin::new(body.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Released(body) => body.is_end_stream(),
            Self::Service(body) => body.is_end_stream(),
            Self::Traced(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Released(_) => SizeHint::default(),
            Self::Service(body) => body.size_hint(),
            Self::Traced(body) => body.size_hint(),
        }
    }
}
