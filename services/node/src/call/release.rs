//! Step 8: the answer comes back. The provider's node keeps only what was granted, digests what it sends
//! and counts; the consumer's node digests what arrives and alters nothing. Message by message, so that
//! a stream flows as a single answer does, and a slow reader slows the backend.
//!
//! A long stream writes progress records, and at most one further window leaves before the last one is
//! durable (design §6).

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use lienthong_audit::{digest::MessageDigest, record};
use lienthong_catalog::{ApplicationMetadata, Permitted, condition::RowScope};
use lienthong_proto::{
    lienthong::audit::v1::{Progress, Side, record::Body as RecordBody},
    reason::Reason,
    status::MeshError,
};
use tokio::time::{Instant, Sleep};
use tonic::Code;

use crate::{
    call::{
        answer::{self, Answer, AnswerBody, BoxError, exchange_id_value},
        close::{Closer, Ending},
        compression::{self, Encoding},
        conclude::{check_head, conclude, refused_in_http, stamp},
        deadline::Deadline,
        framing::{Deframer, Message},
        leash,
        metadata::EXCHANGE_ID,
        open::{new_record, unavailable},
        standing::Standing,
        words,
    },
    clock,
    limits::{PROGRESS_BYTES, PROGRESS_MESSAGES, PROGRESS_MS},
    message_space::MessageSpace,
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Takes over the answer of the other side: its head at once, its messages as they flow. An answer that is
/// an error, or not gRPC at all, ends here.
pub fn release(
    side: Side,
    response: Response<Incoming>,
    permitted: Permitted,
    standing: Option<Standing>,
    deadline: Deadline,
    space: &MessageSpace,
    mut closer: Closer,
) -> Released {
    let (mut head, incoming) = response.into_parts();
    if side == Side::Provider
        && let Some(refused) = refused_in_http(&head)
    {
        head.status = StatusCode::OK;
        head.headers = refused;
        head.headers.insert(CONTENT_TYPE, GRPC);
    }
    let encoding = match check_head(side, &head) {
        Ok(encoding) => encoding,
        Err(error) => return Released::failed(side, &mut closer, error),
    };
    let mut digest = closer.digester().begin();
    let rows = Rows::of(side, &permitted);
    let nothing = ApplicationMetadata::default();
    // What stands before a single record would tell whether there is one.
    let declared = if rows.is_one() { &nothing } else { permitted.method().application_metadata() };
    let no_row = rows.is_one() && says_no_row(&head.headers);
    if head.headers.contains_key(words::STATUS) && !no_row {
        let (mut sent, ending) = conclude(side, &head.headers, declared, &mut digest, &mut closer);
        sent.insert(CONTENT_TYPE, GRPC);
        stamp(side, &closer, &mut sent);
        closer.close(&ending, digest.finish(), Vec::new());
        return Released::Ended(answer::trailers_only(sent));
    }
    let (mut headers, dropped) = words::of_answer(&head.headers, declared);
    closer.metadata_dropped += dropped;
    words::digest_metadata(if side == Side::Provider { &headers } else { &head.headers }, &mut digest);
    headers.insert(CONTENT_TYPE, GRPC);
    if let Some(encoding) = encoding.header()
        && !rows.is_one()
    {
        headers.insert(compression::ENCODING, encoding);
    }
    if let Some(opened) = closer.opened() {
        headers.insert(EXCHANGE_ID, exchange_id_value(opened.id));
    }
    leash::hold(deadline, standing.as_ref(), &closer.core().node, &permitted);
    let mut body = ReleaseBody::new(incoming, side, permitted, deadline, space, closer, digest);
    body.encoding = encoding;
    body.standing = standing;
    body.failed = no_row.then(|| rows.outside());
    body.rows = rows;
    Released::Flowing(headers, Box::new(body))
}

/// Which records may pass: the provider's node judges them.
enum Rows {
    /// Nothing binds them.
    All,
    /// Those inside this scope; of others it is only told how many they were.
    Within(RowScope),
    /// The one record of the answer, inside this scope: whether it is outside or not there at all is not told.
    One(RowScope),
}

impl Rows {
    fn of(side: Side, permitted: &Permitted) -> Self {
        match permitted.record_scope() {
            Some(scope) if side == Side::Provider && permitted.method().answers_one_record() => {
                Self::One(scope)
            }
            Some(scope) if side == Side::Provider => Self::Within(scope),
            _ => Self::All,
        }
    }

    fn scope(&self) -> Option<&RowScope> {
        match self {
            Self::All => None,
            Self::Within(scope) | Self::One(scope) => Some(scope),
        }
    }

    fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }

    fn outside(&self) -> MeshError {
        let right = self.scope().map_or("", RowScope::right);
        MeshError::new(Reason::DenyRowScope, "no such row inside the rows that the right reaches")
            .with_rule(format!("R-24, {right}"))
    }
}

/// True where an answer ends without a message and without an error but that there is no such row.
fn says_no_row(headers: &HeaderMap) -> bool {
    matches!(words::grpc_status(headers), Some(Code::Ok | Code::NotFound))
}

/// What became of an answer whose head has arrived.
pub enum Released {
    /// It ended with its head.
    Ended(Answer),
    /// Its messages follow.
    Flowing(HeaderMap, Box<ReleaseBody>),
}

impl Released {
    /// An exchange that fails before anything was released: closed, and answered with its reason.
    pub fn failed(side: Side, closer: &mut Closer, error: MeshError) -> Self {
        let mut stamps = HeaderMap::new();
        stamp(side, closer, &mut stamps);
        let id = closer.opened().map(|opened| opened.id);
        let mut answer = answer::error(&closer.fail(error), id);
        answer.headers_mut().extend(stamps);
        Self::Ended(answer)
    }

    /// Keeps something alive until the answer has ended.
    #[must_use]
    pub fn holding(mut self, held: impl Send + 'static) -> Self {
        if let Self::Flowing(_, body) = &mut self {
            body.held.push(Box::new(held));
        }
        self
    }

    /// The answer as it goes to the caller.
    pub fn into_answer(self) -> Answer {
        match self {
            Self::Ended(answer) => answer,
            Self::Flowing(headers, body) => {
                let mut response = Response::new(AnswerBody::Released(body));
                *response.headers_mut() = headers;
                response
            }
        }
    }
}

/// An answer on its way, governed.
pub struct ReleaseBody {
    /// `None` once the answer has ended.
    incoming: Option<Incoming>,
    deframer: Deframer,
    encoding: Encoding,
    side: Side,
    permitted: Permitted,
    /// There for streams: what is asked again while they live.
    standing: Option<Standing>,
    digest: MessageDigest,
    rows: Rows,
    /// Why the answer ends before its first message.
    failed: Option<MeshError>,
    window: Window,
    deadline: Deadline,
    /// Set once the answer keeps somebody waiting; most never do.
    alarm: Option<Pin<Box<Sleep>>>,
    closer: Closer,
    /// What must live as long as the answer.
    held: Vec<Box<dyn Send>>,
}

/// Resolves once a record has passed the release gate.
type Passing = Pin<Box<dyn Future<Output = Result<(), MeshError>> + Send>>;

/// What has left since the last progress record.
struct Window {
    messages: u64,
    bytes: u64,
    since: Instant,
    /// Passed by the last progress record once it is where the release gate asks.
    pending: Option<Passing>,
}

impl ReleaseBody {
    /// Governs the messages of an answer whose head has arrived.
    pub fn new(
        incoming: Incoming,
        side: Side,
        permitted: Permitted,
        deadline: Deadline,
        space: &MessageSpace,
        closer: Closer,
        digest: MessageDigest,
    ) -> Self {
        Self {
            incoming: Some(incoming),
            deframer: Deframer::new(space),
            encoding: Encoding::Identity,
            side,
            permitted,
            standing: None,
            digest,
            rows: Rows::All,
            failed: None,
            window: Window { messages: 0, bytes: 0, since: Instant::now(), pending: None },
            deadline,
            alarm: None,
            closer,
            held: Vec::new(),
        }
    }

    /// Filters and digests one message; `None` for one that is itself a record outside the granted rows. What was
    /// compressed is unpacked first, and packed again where the filter made it anew.
    fn release(&mut self, message: Message) -> Result<Option<Bytes>, MeshError> {
        let core = Arc::clone(self.closer.core());
        let space = self.deframer.space().clone();
        let space = &space;
        let report = &mut self.closer.report;
        let plan = self.permitted.plan();
        let unpacked;
        let content = if message.is_compressed() {
            unpacked = self.encoding.unpack(message.body(), space.message_bytes_max())?;
            unpacked.as_slice()
        } else {
            message.body()
        };
        let released = content.len();
        let frame = if self.side == Side::Provider {
            let mut frame = space.frame(content.len())?;
            let passes = match self.rows.scope() {
                None => plan.apply(content, frame.buffer(), report).map(|()| true),
                Some(rows) => {
                    plan.apply_within(content, frame.buffer(), report, &|record| rows.admits(record))
                }
            };
            let passes = passes.map_err(|error| unreadable(&error))?;
            if self.rows.is_one() && (report.records == 0 || report.records_out_of_scope > 0) {
                return Err(self.rows.outside());
            }
            if !passes {
                return Ok(None);
            }
            if core.looks.grants(content.len(), clock::unix_ms())
                && let Some(checker) = self.permitted.method().quality()
            {
                checker.look_at(content, clock::now(), &mut self.closer.sample);
            }
            frame.settle()?;
            let packs = message.is_compressed() && !self.rows.is_one();
            let packed = packs.then(|| self.encoding.pack(frame.message(), space)).transpose()?;
            self.digest.message(frame.message());
            packed.unwrap_or_else(|| frame.finish(false))
        } else {
            let mut scratch = core.scratch.lock().unwrap_or_else(PoisonError::into_inner);
            scratch.clear();
            plan.apply(content, &mut scratch, report).map_err(|error| unreadable(&error))?;
            self.digest.message(content);
            message.into_frame()
        };
        self.window.messages += 1;
        self.window.bytes += released as u64;
        Ok(Some(frame))
    }

    /// A stream that may not go on ends here.
    fn look_again(&mut self, context: &mut Context<'_>) -> Result<(), MeshError> {
        match &mut self.standing {
            None => Ok(()),
            Some(standing) => standing.look(context, &self.closer.core().node, &mut self.permitted),
        }
    }

    /// Writes a progress record when a window is full; then nothing leaves until the one before it is
    /// durable.
    fn poll_window(&mut self, context: &mut Context<'_>) -> Poll<Result<(), MeshError>> {
        let full = self.window.messages >= PROGRESS_MESSAGES
            || self.window.bytes >= PROGRESS_BYTES
            || (self.window.messages > 0
                && self.window.since.elapsed().as_millis() >= u128::from(PROGRESS_MS));
        if !full {
            return Poll::Ready(Ok(()));
        }
        if let Some(pending) = &mut self.window.pending {
            let passed = ready!(pending.as_mut().poll(context));
            self.window.pending = None;
            passed?;
        }
        self.closer.continue_subjects();
        let Some(opened) = self.closer.opened() else {
            return Poll::Ready(Ok(()));
        };
        let core = self.closer.core();
        let progress = Progress {
            exchange_id: opened.id.as_bytes().to_vec(),
            opening_hash: opened.ticket.leaf_hash.0.to_vec(),
            side: self.side.into(),
            request: Some(self.closer.request().digest()),
            response: Some(self.digest.so_far()),
            records: u64::from(self.closer.report.records),
        };
        let record = new_record(core, core.random()?, RecordBody::Progress(progress));
        let bytes = record::encode(&record).map_err(unavailable)?;
        let ticket = core.journal.append(bytes).map_err(unavailable)?;
        let (core, gate) = (Arc::clone(core), self.permitted.release_gate());
        let passed =
            async move { core.node.gates.pass(gate, ticket.seq, Deadline::none(), &core.journal).await };
        self.window =
            Window { messages: 0, bytes: 0, since: Instant::now(), pending: Some(Box::pin(passed)) };
        Poll::Ready(Ok(()))
    }

    /// Ends the answer with the trailers that came.
    fn finish(&mut self, trailers: &HeaderMap) -> HeaderMap {
        if self.rows.is_one() && self.digest.messages() == 0 && says_no_row(trailers) {
            return self.fail(&self.rows.outside());
        }
        self.incoming = None;
        let declared = self.permitted.method().application_metadata();
        let (sent, ending) = conclude(self.side, trailers, declared, &mut self.digest, &mut self.closer);
        self.end(sent, &ending)
    }

    /// Ends the answer with an error of the mesh.
    fn fail(&mut self, error: &MeshError) -> HeaderMap {
        self.incoming = None;
        let exchange_id = self.closer.opened().map(|opened| opened.id.to_string());
        let mut headers = MeshError { exchange_id, ..error.clone() }.to_headers();
        headers.remove(CONTENT_TYPE);
        let ending = Ending::failed(error.reason, self.digest.messages() > 0);
        self.end(headers, &ending)
    }

    fn end(&mut self, mut trailers: HeaderMap, ending: &Ending) -> HeaderMap {
        stamp(self.side, &self.closer, &mut trailers);
        let released = self.permitted.plan().released(&self.closer.report).map(str::to_owned).collect();
        self.closer.close(ending, self.digest.end(), released);
        trailers
    }

    /// Why an answer that has not ended goes no further.
    fn why_dropped(&mut self) -> Reason {
        let overdue = self.deadline.is_over();
        let node = &self.closer.core().node;
        let standing = self.standing.as_ref().map(|standing| standing.judge(true, node, &mut self.permitted));
        match standing {
            _ if overdue => Reason::FailDeadline,
            Some(Err(error)) => error.reason,
            Some(Ok(())) | None => Reason::FailInterrupted,
        }
    }

    /// What of the answer may leave now.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        loop {
            if let Err(error) = self.look_again(context) {
                return Poll::Ready(Some(Frame::trailers(self.fail(&error))));
            }
            if let Err(error) = ready!(self.poll_window(context)) {
                return Poll::Ready(Some(Frame::trailers(self.fail(&error))));
            }
            let released =
                self.deframer.next_message().and_then(|message| message.map(|m| self.release(m)).transpose());
            match released {
                Ok(Some(Some(frame))) => return Poll::Ready(Some(Frame::data(frame))),
                Ok(Some(None)) => continue,
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Frame::trailers(self.fail(&error)))),
            }
            let Some(incoming) = &mut self.incoming else {
                return Poll::Ready(None);
            };
            let error = match ready!(Pin::new(incoming).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        self.deframer.push(chunk);
                        continue;
                    }
                    Err(frame) => match (frame.into_trailers(), self.deframer.finish()) {
                        (Ok(trailers), Ok(())) => {
                            return Poll::Ready(Some(Frame::trailers(self.finish(&trailers))));
                        }
                        (_, Err(error)) => error,
                        (Err(_), Ok(())) => continue,
                    },
                },
                // A request that may not go on ends its answer, too.
                Some(Err(_)) | None => self
                    .closer
                    .request()
                    .error()
                    .unwrap_or_else(|| MeshError::new(Reason::FailInterrupted, "the answer was cut off")),
            };
            return Poll::Ready(Some(Frame::trailers(self.fail(&error))));
        }
    }

    /// For an answer that has nothing to say now: whether its time is over, or a call when it will be.
    fn poll_alarm(&mut self, context: &mut Context<'_>) -> bool {
        let Some(at) = self.deadline.at() else { return false };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        alarm.as_mut().poll(context).is_ready()
    }

    fn overdue(&mut self) -> Frame<Bytes> {
        let error = MeshError::new(Reason::FailDeadline, "while the answer was on its way");
        Frame::trailers(self.fail(&error))
    }
}

fn unreadable(error: &lienthong_filter::FilterError) -> MeshError {
    MeshError::new(Reason::FailMalformedMessage, error.to_string())
}

impl Drop for ReleaseBody {
    /// A caller that goes away, or reads no more, keeps what it has: the record says what that was, and why no more came.
    fn drop(&mut self) {
        if self.closer.opened().is_some() {
            let ending = Ending::failed(self.why_dropped(), self.digest.messages() > 0);
            let released = self.permitted.plan().released(&self.closer.report).map(str::to_owned).collect();
            self.closer.close(&ending, self.digest.end(), released);
        }
    }
}

impl Body for ReleaseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.incoming.is_none() {
            return Poll::Ready(None);
        }
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(this.fail(&error)))));
        }
        if this.deadline.is_over() {
            return Poll::Ready(Some(Ok(this.overdue())));
        }
        match this.poll_next(context) {
            Poll::Ready(frame) => Poll::Ready(frame.map(Ok)),
            Poll::Pending if this.poll_alarm(context) => Poll::Ready(Some(Ok(this.overdue()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_none()
    }
}
