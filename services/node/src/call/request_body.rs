//! Step 7, on the way there: the request passes message by message, digested, its subjects noted.
//! Nothing is altered, but that a backend gets its messages unpacked.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use lienthong_audit::digest::{Digester, MessageDigest};
use lienthong_catalog::condition::RowScope;
use lienthong_filter::{Plan, Report, Subjects};
use lienthong_proto::{lienthong::audit::v1::Digest, reason::Reason, status::MeshError};

use crate::{
    call::{
        answer::BoxError,
        caller_body::{CallerBody, interrupted},
        compression::Encoding,
        deadline::Deadline,
        framing::{Deframer, Message},
        words,
    },
    limits::{RETRY_REQUEST_BYTES_MAX, SUBJECTS_HELD_MAX},
    message_space::MessageSpace,
};

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
    kept: Kept,
}

/// A request that may have to be sent again.
enum Kept {
    /// It never is.
    Nothing,
    /// What has passed so far, and how many bytes that is.
    Frames(Vec<Bytes>, usize),
    /// All of it.
    Whole(Vec<Bytes>),
}

impl RequestTally {
    /// An empty tally for one exchange.
    pub fn new(digester: &Digester) -> Self {
        let tally = Tally {
            digest: digester.begin(),
            report: Report::with_subjects_max(SUBJECTS_HELD_MAX),
            error: None,
            ended: false,
            waiting: None,
            kept: Kept::Nothing,
        };
        Self(Arc::new(Mutex::new(tally)))
    }

    /// Takes in the application's metadata, which stands before the first message.
    pub fn metadata(&self, headers: &HeaderMap) {
        words::digest_metadata(headers, &mut self.lock().digest);
    }

    /// Keeps what passes, up to [`RETRY_REQUEST_BYTES_MAX`], so that it can be sent again.
    pub fn keep(&self) {
        self.lock().kept = Kept::Frames(Vec::new(), 0);
    }

    /// The whole request once more; `None` where it was not kept, or has not passed to its end.
    pub fn again(&self) -> Option<Vec<Bytes>> {
        let tally = self.lock();
        match &tally.kept {
            Kept::Whole(frames) if tally.error.is_none() => Some(frames.clone()),
            _ => None,
        }
    }

    /// The digest of what has passed so far.
    pub fn digest(&self) -> Digest {
        self.lock().digest.so_far()
    }

    /// The error that ended the request, if one did.
    pub fn error(&self) -> Option<MeshError> {
        self.lock().error.clone()
    }

    /// Ends the request with its exchange: what the caller still sends goes nowhere. Gives the digest of what has passed.
    pub fn end(&self) -> Digest {
        let (digest, waiting) = {
            let mut tally = self.lock();
            tally.ended = true;
            (tally.digest.end(), tally.waiting.take())
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
        digest
    }

    /// Calls `f` with the subjects that the request has named, which it may take away.
    pub fn with_subjects<T>(&self, f: impl FnOnce(&mut Subjects) -> T) -> T {
        f(&mut self.lock().report.subjects)
    }

    /// All has passed.
    fn complete(&self) {
        let mut tally = self.lock();
        if let Kept::Frames(frames, _) = &mut tally.kept {
            tally.kept = Kept::Whole(std::mem::take(frames));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        // A poisoned tally holds counts of whole messages only; there is nothing half-written to fear.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn push(&mut self, frame: &Bytes) {
        let Self::Frames(frames, bytes) = self else { return };
        frames.push(frame.clone());
        *bytes += frame.len();
        if *bytes > RETRY_REQUEST_BYTES_MAX {
            *self = Self::Nothing;
        }
    }
}

/// The request on its way.
pub struct RequestBody {
    source: Source,
    subjects: Option<Arc<Plan>>,
    space: MessageSpace,
    encoding: Encoding,
    unpacks: bool,
    tally: RequestTally,
    /// What each message must meet.
    scope: Option<RowScope>,
    /// True once a message has met it.
    judged: bool,
    /// True where a front makes the one message: it may turn out to be none.
    made_whole: bool,
    /// What was read before its turn.
    ahead: Option<Result<Bytes, MeshError>>,
}

enum Source {
    /// From the caller, cut into messages.
    Caller(CallerBody, Deframer),
    /// Once more, as it was kept; the last frame first.
    Kept(Vec<Bytes>),
    /// Nothing more.
    Ended,
}

impl RequestBody {
    /// Governs a request. `subjects` is there where the contract marks subject fields in the request.
    pub fn new(
        body: CallerBody,
        space: &MessageSpace,
        subjects: Option<Arc<Plan>>,
        tally: RequestTally,
    ) -> Self {
        Self { subjects, ..Self::of(Source::Caller(body, Deframer::new(space)), space, tally) }
    }

    /// A request that has passed before, sent again; it counts no second time.
    pub fn again(mut frames: Vec<Bytes>, space: &MessageSpace, tally: RequestTally) -> Self {
        frames.reverse();
        Self::of(Source::Kept(frames), space, tally)
    }

    fn of(source: Source, space: &MessageSpace, tally: RequestTally) -> Self {
        Self {
            source,
            subjects: None,
            space: space.clone(),
            encoding: Encoding::Identity,
            unpacks: false,
            tally,
            scope: None,
            judged: false,
            made_whole: false,
            ahead: None,
        }
    }

    /// The same, with messages that may be compressed so.
    #[must_use]
    pub fn compressed(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// The same, going on without compression.
    #[must_use]
    pub fn unpacked(mut self) -> Self {
        self.unpacks = true;
        self
    }

    /// The same, with messages that must each be inside this scope.
    #[must_use]
    pub fn within(mut self, scope: Option<RowScope>) -> Self {
        self.scope = scope;
        self
    }

    /// The same, where the one message of a call is made by a front.
    #[must_use]
    pub fn made_whole(mut self, is_made: bool) -> Self {
        self.made_whole = is_made;
        self
    }

    /// Waits for the first message, and keeps it for its turn; without a scope, and off the wire, there is nothing to wait
    /// for. An error is a denial: the message is outside the scope, or no message at all. What else goes wrong comes in
    /// its turn.
    pub async fn first(&mut self, deadline: Deadline) -> Result<(), MeshError> {
        if (self.scope.is_none() && !self.made_whole) || self.ahead.is_some() {
            return Ok(());
        }
        let first = poll_fn(|context| self.poll_next(context));
        let first = match deadline.at() {
            None => first.await,
            Some(at) => match tokio::time::timeout_at(at, first).await {
                Ok(first) => first,
                // It ends like every call whose time is over.
                Err(_) => return Ok(()),
            },
        };
        match first {
            Some(Err(error)) if error.reason == Reason::DenyRowScope => Err(error),
            // A caller that went away is interrupted, as ever.
            Some(Err(error)) if self.made_whole && error.reason != Reason::FailInterrupted => Err(error),
            other => {
                self.ahead = other;
                Ok(())
            }
        }
    }

    /// A message, or a request without one, that the right does not reach.
    fn outside(&self) -> MeshError {
        let right = self.scope.as_ref().map_or("", RowScope::right);
        MeshError::new(Reason::DenyRowScope, "the request asks for rows that the right does not reach")
            .with_rule(format!("R-24, {right}"))
    }

    fn judge(&mut self, message: &[u8]) -> Result<(), MeshError> {
        if self.scope.as_ref().is_some_and(|scope| !scope.admits(message)) {
            return Err(self.outside());
        }
        self.judged = true;
        Ok(())
    }

    /// How compressed messages of it leave.
    pub fn leaves_as(&self) -> Encoding {
        if self.unpacks { Encoding::Identity } else { self.encoding }
    }

    /// Reads one message: digested, its subjects noted.
    fn read(&mut self, message: Message) -> Result<Bytes, MeshError> {
        if !message.is_compressed() {
            self.judge(message.body())?;
            let mut tally = self.tally.lock();
            tally.take_in(message.body(), self.subjects.as_deref())?;
            let frame = message.into_frame();
            tally.kept.push(&frame);
            return Ok(frame);
        }
        let plain = self.encoding.unpack(message.body(), self.space.message_bytes_max())?;
        self.judge(&plain)?;
        let mut tally = self.tally.lock();
        tally.take_in(&plain, self.subjects.as_deref())?;
        let frame = if self.unpacks {
            let mut frame = self.space.frame(plain.len())?;
            frame.buffer().extend_from_slice(&plain);
            frame.finish(false)
        } else {
            message.into_frame()
        };
        tally.kept.push(&frame);
        Ok(frame)
    }

    /// After the last message nobody asks for more.
    fn end_if_over(&mut self) {
        if let Source::Caller(incoming, deframer) = &self.source
            && incoming.is_end_stream()
            && deframer.is_empty()
        {
            self.source = Source::Ended;
            self.tally.complete();
        }
    }

    /// The next frame to send.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, MeshError>>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(Some(ahead));
        }
        loop {
            let message = match &mut self.source {
                Source::Ended => return Poll::Ready(None),
                Source::Kept(frames) => return Poll::Ready(frames.pop().map(Ok)),
                Source::Caller(_, deframer) => deframer.next_message()?,
            };
            if let Some(message) = message {
                let frame = self.read(message);
                if frame.is_ok() {
                    self.end_if_over();
                }
                return Poll::Ready(Some(frame));
            }
            let Source::Caller(incoming, deframer) = &mut self.source else { return Poll::Ready(None) };
            match Pin::new(incoming).poll_frame(context) {
                Poll::Pending => {
                    self.tally.lock().waiting = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    deframer.finish()?;
                    self.source = Source::Ended;
                    if self.scope.is_some() && !self.judged {
                        return Poll::Ready(Some(Err(self.outside())));
                    }
                    self.tally.complete();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(cause))) => return Poll::Ready(Some(Err(interrupted(&cause)))),
                // Request trailers have no meaning in gRPC and go no further.
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        deframer.push(chunk);
                    }
                }
            }
        }
    }
}

impl Tally {
    fn take_in(&mut self, message: &[u8], subjects: Option<&Plan>) -> Result<(), MeshError> {
        if let Some(plan) = subjects {
            plan.subjects(message, &mut self.report).map_err(|error| {
                let detail = format!("the request is not what its contract says: {error}");
                MeshError::new(Reason::DenyContext, detail)
            })?;
        }
        // What may not pass is not digested.
        self.digest.message(message);
        Ok(())
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
        if !matches!(this.source, Source::Ended) && this.tally.lock().ended {
            this.source = Source::Ended;
            return Poll::Ready(Some(Err("the exchange has ended".into())));
        }
        match ready!(this.poll_next(context)) {
            None => Poll::Ready(None),
            Some(Ok(frame)) => Poll::Ready(Some(Ok(Frame::data(frame)))),
            Some(Err(error)) => {
                this.source = Source::Ended;
                this.tally.lock().error = Some(error.clone());
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            _ if self.ahead.is_some() => false,
            Source::Ended => true,
            Source::Kept(frames) => frames.is_empty(),
            Source::Caller(incoming, deframer) => incoming.is_end_stream() && deframer.is_empty(),
        }
    }
}
