//! The trial as a gRPC service.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::try_unfold;
use http::HeaderMap;
use lienthong_proto::vn::thunghiem::v1::trial_service_server::{TrialService, TrialServiceServer};
use lienthong_proto::vn::thunghiem::v1::{
    GetRecordRequest, GetRecordResponse, GetWatchRequest, GetWatchResponse, Instruction, ListRecordsRequest,
    ListRecordsResponse, MirrorRequest, MirrorResponse, PutRecordRequest, PutRecordResponse,
    SendRecordsRequest, SendRecordsResponse,
};
use tokio::time::sleep;
use tokio_stream::Stream;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status, Streaming};
use tower::util::{MapRequestLayer, MapResponseLayer};

use super::echo::{self, Trailers};
use super::instruction::{Failure, Orders, WAIT_MS_MAX, refused, wait};
use super::records::{PAYLOAD_BYTES_MAX, RECORDS_MAX, number_of, record};
use super::watches::{Watched, Watches};
use crate::caller::OwnNode;

/// Largest message that is read, bytes: a record with the largest payload, and its other fields.
pub const MESSAGE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 64 * 1024;

/// Answers `vn.thunghiem.v1.TrialService`.
#[derive(Clone, Debug, Default)]
pub struct TrialBackend {
    watches: Watches,
}

/// The service with compression both ways and its trailers, for the agency's own node.
pub fn routes(backend: TrialBackend, own_node: OwnNode) -> Routes {
    let server = TrialServiceServer::new(backend)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .accept_compressed(Gzip)
        .accept_compressed(Zstd)
        .send_compressed(Gzip)
        .send_compressed(Zstd);
    let router = Routes::new(InterceptedService::new(server, own_node)).into_axum_router();
    let router = router.layer(MapRequestLayer::new(echo::compress_on_request));
    router.layer(MapResponseLayer::new(echo::with_trailers)).into()
}

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl TrialService for TrialBackend {
    type ListRecordsStream = Answers<ListRecordsResponse>;
    type MirrorStream = Answers<MirrorResponse>;

    async fn get_record(
        &self,
        request: Request<GetRecordRequest>,
    ) -> Result<Response<GetRecordResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let call = self.begin(&metadata, asked.instruction)?;
        let found = number_of(&asked.ma_ban_ghi);
        let number = found.ok_or_else(|| Status::not_found("no record with this key; try TN-000001"));
        let record = number.map(|number| record(number, call.payload_bytes));
        let seen = Some(echo::seen(&metadata));
        call.answer(record.map(|record| GetRecordResponse { record: Some(record), seen })).await
    }

    async fn put_record(
        &self,
        request: Request<PutRecordRequest>,
    ) -> Result<Response<PutRecordResponse>, Status> {
        let (metadata, _, given) = request.into_parts();
        let call = self.begin(&metadata, given.instruction)?;
        let seen = Some(echo::seen(&metadata));
        call.answer(Ok(PutRecordResponse { record: given.record, seen })).await
    }

    async fn list_records(
        &self,
        request: Request<ListRecordsRequest>,
    ) -> Result<Response<Self::ListRecordsStream>, Status> {
        let (metadata, _, asked) = request.into_parts();
        if asked.count > RECORDS_MAX {
            return Err(refused("count", &format!("is {}; at most {RECORDS_MAX}", asked.count)));
        }
        let pause = wait("pause", asked.pause.as_ref())?;
        let call = self.begin(&metadata, asked.instruction)?;
        call.answer_with(|call| {
            try_unfold((call, 0), move |(mut call, sent)| async move {
                call.fail_after(sent)?;
                if sent == asked.count {
                    return call.end().await.map(|()| None);
                }
                rest(pause).await;
                let record = Some(record(sent + 1, call.payload_bytes));
                Ok(Some((ListRecordsResponse { record }, (call, sent + 1))))
            })
        })
        .await
    }

    async fn send_records(
        &self,
        request: Request<Streaming<SendRecordsRequest>>,
    ) -> Result<Response<SendRecordsResponse>, Status> {
        let (metadata, _, mut incoming) = request.into_parts();
        let mut next = incoming.message().await?;
        let mut call = self.begin(&metadata, next.as_mut().and_then(|message| message.instruction.take()))?;
        let mut came =
            SendRecordsResponse { seen: Some(echo::seen(&metadata)), ..SendRecordsResponse::default() };
        let mut messages = 0;
        while let Some(message) = next {
            call.fail_after(messages)?;
            let payload = message.record.as_ref().map_or(0, |record| record.du_lieu.len());
            came.payload_bytes += i64::try_from(payload).unwrap_or(i64::MAX);
            came.last = message.record.or(came.last);
            messages += 1;
            next = incoming.message().await?;
        }
        came.messages = messages.into();
        call.answer(Ok(came)).await
    }

    async fn mirror(
        &self,
        request: Request<Streaming<MirrorRequest>>,
    ) -> Result<Response<Self::MirrorStream>, Status> {
        let (metadata, _, mut incoming) = request.into_parts();
        let mut first = incoming.message().await?;
        let call = self.begin(&metadata, first.as_mut().and_then(|message| message.instruction.take()))?;
        call.answer_with(|call| {
            try_unfold((call, first, incoming, 0), |(mut call, mut first, mut incoming, sent)| async move {
                call.fail_after(sent)?;
                let next = match first.take() {
                    Some(first) => Some(first),
                    None => incoming.message().await?,
                };
                let Some(MirrorRequest { record, .. }) = next else {
                    return call.end().await.map(|()| None);
                };
                Ok(Some((MirrorResponse { record }, (call, first, incoming, sent + 1))))
            })
        })
        .await
    }

    async fn get_watch(
        &self,
        request: Request<GetWatchRequest>,
    ) -> Result<Response<GetWatchResponse>, Status> {
        Ok(Response::new(self.watches.get(&request.get_ref().watch)))
    }
}

impl TrialBackend {
    /// Judges the instruction and counts the call.
    fn begin(&self, metadata: &MetadataMap, instruction: Option<Instruction>) -> Result<Call, Status> {
        let orders = Orders::read(instruction)?;
        let (watched, number) = self.watches.begin(&orders.watch);
        let (initial, trailers) = echo::split(orders.echo, metadata);
        Ok(Call {
            watched: Some(watched),
            failure: orders.failure.filter(|failure| failure.first == 0 || number <= failure.first),
            delay: orders.delay,
            wait_for_cancellation: orders.wait_for_cancellation,
            payload_bytes: orders.payload_bytes,
            initial,
            trailers,
        })
    }
}

/// A call under way. Dropped before its end, it counts as cancelled.
struct Call {
    /// `None` once the call has ended.
    watched: Option<Watched>,
    failure: Option<Failure>,
    delay: Duration,
    wait_for_cancellation: bool,
    payload_bytes: usize,
    initial: HeaderMap,
    trailers: Option<Trailers>,
}

impl Call {
    /// One answer, or the failure that was asked for.
    async fn answer<T>(mut self, answer: Result<T, Status>) -> Result<Response<T>, Status> {
        rest(self.delay).await;
        if let Some(failure) = self.failure.take() {
            return Err(self.failed(failure));
        }
        if answer.is_ok() {
            self.end().await?;
        }
        self.ended();
        answer.map(|answer| self.respond(answer))
    }

    /// A stream of answers, made of the call once its head may go out.
    async fn answer_with<T, S>(
        mut self,
        stream: impl FnOnce(Self) -> S,
    ) -> Result<Response<Answers<T>>, Status>
    where
        S: Stream<Item = Result<T, Status>> + Send + 'static,
    {
        rest(self.delay).await;
        if let Some(failure) = self.failure.take_if(|failure| failure.trailers_only) {
            return Err(self.failed(failure));
        }
        let empty = self.respond(());
        let stream: Answers<T> = Box::pin(stream(self));
        Ok(empty.map(|()| stream))
    }

    /// The failure that was asked for, if it comes after this many messages.
    fn fail_after(&mut self, messages: u32) -> Result<(), Status> {
        let failure = self.failure.take_if(|failure| messages >= failure.after);
        failure.map_or(Ok(()), |failure| {
            self.ended();
            Err(failure.status)
        })
    }

    /// The end of the answer: a failure that has not come yet, or nobody going away.
    async fn end(&mut self) -> Result<(), Status> {
        self.fail_after(u32::MAX)?;
        if self.wait_for_cancellation {
            sleep(Duration::from_millis(WAIT_MS_MAX)).await;
            self.ended();
            return Err(Status::aborted(format!("nobody cancelled within {WAIT_MS_MAX} ms")));
        }
        self.ended();
        Ok(())
    }

    fn ended(&mut self) {
        if let Some(watched) = self.watched.take() {
            watched.answered();
        }
    }

    /// The head of an answer, and what its trailers will be.
    fn respond<T>(&mut self, answer: T) -> Response<T> {
        let initial = MetadataMap::from_headers(std::mem::take(&mut self.initial));
        let mut response = Response::from_parts(initial, answer, http::Extensions::new());
        if let Some(trailers) = self.trailers.take() {
            response.extensions_mut().insert(trailers);
        }
        response
    }

    /// A status alone, which has one place for initial metadata and trailers.
    fn failed(&mut self, failure: Failure) -> Status {
        self.ended();
        let mut status = failure.status;
        let mut headers = std::mem::take(status.metadata_mut()).into_headers();
        headers.extend(std::mem::take(&mut self.initial));
        if let Some(trailers) = self.trailers.take() {
            headers.extend(trailers.into_headers());
        }
        *status.metadata_mut() = MetadataMap::from_headers(headers);
        status
    }
}

async fn rest(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}
