//! Step 7, on the way there: the request passes message by message, digested, its subjects noted.
//! Nothing is altered.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use lienthong_audit::digest::{ExchangeKey, MessageDigest};
use lienthong_filter::{Plan, Report};
use lienthong_proto::{lienthong::audit::v1::Digest, reason::Reason, status::MeshError};

use crate::call::{answer::BoxError, framing::Deframer};

/// What was seen of the request, shared between the body on its way to the other side and the record.
#[derive(Clone)]
pub struct RequestTally(Arc<Mutex<Tally>>);

struct Tally {
    digest: MessageDigest,
    report: Report,
    error: Option<MeshError>,
    /// True once the exchange is closed: nothing of the request passes any more.
    ended: bool,
    /// Who waits for more of the request.
    waiting: Option<Waker>,
}

impl RequestTally {
    /// An empty tally for one exchange.
    pub fn new(key: &ExchangeKey) -> Self {
        let tally = Tally {
            digest: MessageDigest::new(key),
            report: Report::new(),
            error: None,
            ended: false,
            waiting: None,
        };
        Self(Arc::new(Mutex::new(tally)))
    }

    /// The digest of what has passed so far.
    pub fn digest(&self) -> Digest {
        self.lock().digest.clone().finish()
    }

    /// The error that ended the request, if one did.
    pub fn error(&self) -> Option<MeshError> {
        self.lock().error.clone()
    }

    /// Ends the request with its exchange: what the caller still sends goes nowhere.
    pub fn end(&self) {
        let waiting = {
            let mut tally = self.lock();
            tally.ended = true;
            tally.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Calls `f` with the subjects that the request named.
    pub fn with_report<T>(&self, f: impl FnOnce(&Report) -> T) -> T {
        f(&self.lock().report)
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        // A poisoned tally holds counts of whole messages only; there is nothing half-written to fear.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request on its way.
pub struct RequestBody {
    incoming: Option<Incoming>,
    deframer: Deframer,
    subjects: Option<Arc<Plan>>,
    tally: RequestTally,
}

impl RequestBody {
    /// Governs a request. `subjects` is there where the contract marks subject fields in the request.
    pub fn new(
        incoming: Incoming,
        message_bytes_max: usize,
        subjects: Option<Arc<Plan>>,
        tally: RequestTally,
    ) -> Self {
        Self { incoming: Some(incoming), deframer: Deframer::new(message_bytes_max), subjects, tally }
    }

    /// A body without messages, for the node's own questions.
    pub fn empty(tally: RequestTally) -> Self {
        Self { incoming: None, deframer: Deframer::new(0), subjects: None, tally }
    }

    fn next_message(&mut self) -> Result<Option<Bytes>, MeshError> {
        let Some(message) = self.deframer.next_message()? else {
            return Ok(None);
        };
        let mut tally = self.tally.lock();
        tally.digest.message(message.body());
        if let Some(plan) = &self.subjects {
            plan.subjects(message.body(), &mut tally.report).map_err(|error| {
                MeshError::new(
                    Reason::DenyContext,
                    format!("the request is not what its contract says: {error}"),
                )
            })?;
        }
        Ok(Some(message.into_frame()))
    }

    fn fail(&mut self, error: MeshError) -> BoxError {
        self.incoming = None;
        self.tally.lock().error = Some(error.clone());
        error.into()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.incoming.is_some() && this.tally.lock().ended {
            this.incoming = None;
            return Poll::Ready(Some(Err("the exchange has ended".into())));
        }
        loop {
            match this.next_message() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(this.fail(error)))),
            }
            let Some(incoming) = &mut this.incoming else {
                return Poll::Ready(None);
            };
            match Pin::new(incoming).poll_frame(context) {
                Poll::Pending => {
                    this.tally.lock().waiting = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    this.incoming = None;
                    if let Err(error) = this.deframer.finish() {
                        return Poll::Ready(Some(Err(this.fail(error))));
                    }
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => {
                    let error = MeshError::new(Reason::FailInterrupted, "the caller went away");
                    return Poll::Ready(Some(Err(this.fail(error))));
                }
                // Request trailers have no meaning in gRPC and go no further.
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        this.deframer.push(chunk);
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.incoming {
            None => true,
            Some(incoming) => incoming.is_end_stream() && self.deframer.is_empty(),
        }
    }
}
