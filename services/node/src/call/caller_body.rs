//! What a caller sends: gRPC's frames off the wire, or the same frames as a [`Front`](crate::front::Front) makes them of
//! another protocol.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use lienthong_proto::{
    reason::Reason,
    status::{self, MeshError},
};
use tonic::Status;

/// The body of a call that came in.
pub enum CallerBody {
    /// As the caller sent it.
    Wire(Incoming),
    /// As a front makes it while it is read.
    Front(tonic::body::Body),
}

impl CallerBody {
    /// True where reading may show that it is no message of the contract.
    pub fn is_made(&self) -> bool {
        matches!(self, Self::Front(_))
    }
}

/// Why a body ended before its end: the front's own words where it has some, else the caller went away.
pub fn interrupted(cause: &Status) -> MeshError {
    match status::read(cause) {
        Some(told) => MeshError::new(told.reason, told.metadata.get("detail").cloned().unwrap_or_default()),
        None => MeshError::new(Reason::FailInterrupted, "the caller went away"),
    }
}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Wire(body) => Pin::new(body)
                .poll_frame(context)
                .map_err(|error| Status::cancelled(format!("the caller went away: {error}"))),
            Self::Front(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Wire(body) => body.is_end_stream(),
            Self::Front(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Wire(body) => body.size_hint(),
            Self::Front(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_says_in_its_own_words_what_is_wrong() {
        let said = MeshError::new(Reason::DenyContext, "the JSON ends too early");
        let heard = interrupted(&said.to_status());
        assert_eq!((heard.reason, heard.detail), (said.reason, said.detail));
        assert_eq!(interrupted(&Status::cancelled("gone")).reason, Reason::FailInterrupted);
    }
}
