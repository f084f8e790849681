//! Why a request has no response, and whether it may go elsewhere.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::Request;

use crate::connector::{ConnectError, Endpoint};

/// A failed request, given back where it was certainly not sent.
#[derive(Debug)]
pub struct FailedSend<B> {
    /// What happened.
    pub error: SendError,
    /// The request, where nothing of its body has passed. It may be missing although [`SendError::is_not_sent`] says
    /// that it was not processed.
    pub request: Option<Request<B>>,
}

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection. Not sent.
    #[error("not sent to {endpoint}: {cause}; next attempt in {} ms", .retry_in.as_millis())]
    NotConnected {
        /// Where it should have gone.
        endpoint: String,
        /// When a connection is tried again.
        retry_in: Duration,
        /// Why there is none.
        cause: Arc<ConnectError>,
    },
    /// Connections end as fast as they are made. Not sent.
    #[error("not sent to {endpoint}: connections end at once; is the other side restarting or full?")]
    ConnectionLost {
        /// Where it should have gone.
        endpoint: String,
    },
    /// Too many requests wait for this endpoint already. Not sent.
    #[error("not sent: {max} requests wait for this endpoint (requests_waiting_max), which is too slow")]
    TooManyWaiting {
        /// The bound.
        max: usize,
    },
    /// The other side says that it did not process the request (RFC 9113 §8.7: `REFUSED_STREAM`, or a GOAWAY
    /// below it), however often it was sent ([`RESENDS_MAX`](crate::channel::RESENDS_MAX)) or however little of it
    /// could be kept ([`RESEND_BODY_BYTES_MAX`](crate::limits::RESEND_BODY_BYTES_MAX)).
    #[error("not processed by {endpoint}: {}", chain(.cause))]
    NotProcessed {
        /// Where it went.
        endpoint: String,
        /// What HTTP/2 said.
        #[source]
        cause: hyper::Error,
    },
    /// The request was on its way when the connection or stream broke. It may have been processed.
    #[error("may have been sent to {endpoint}, no response: {}", chain(.cause))]
    Interrupted {
        /// Where it went.
        endpoint: String,
        /// What HTTP/2 said.
        #[source]
        cause: hyper::Error,
    },
}

impl SendError {
    /// Whether the request was certainly not processed, so that it may go elsewhere.
    pub const fn is_not_sent(&self) -> bool {
        !matches!(self, Self::Interrupted { .. })
    }

    /// Whether the other side asked to use another connection.
    pub(crate) fn says_go_away(&self) -> bool {
        matches!(self, Self::NotProcessed { cause, .. } if of_http2(cause).is_some_and(h2::Error::is_go_away))
    }

    /// What a request's failure on a connection means.
    pub(crate) fn of(cause: hyper::Error, endpoint: &Endpoint) -> Self {
        let endpoint = endpoint.to_string();
        if says_not_processed(&cause) {
            Self::NotProcessed { endpoint, cause }
        } else {
            Self::Interrupted { endpoint, cause }
        }
    }
}

/// Whether HTTP/2 guarantees that the peer did not process the request (RFC 9113 §6.8, §8.7).
///
/// h2 gives a stream the peer's GOAWAY as its error only if the stream's number is above the last one that
/// the peer processed, or if it was never opened.
fn says_not_processed(error: &hyper::Error) -> bool {
    of_http2(error).is_some_and(|h2| {
        h2.is_remote() && (h2.is_go_away() || h2.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

fn of_http2(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|source| source.downcast_ref())
}

/// An error with its causes: hyper's own text names only the layer.
fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
