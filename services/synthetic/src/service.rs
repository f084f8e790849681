//! Every method of a contract as one tower service: the path says which, and all four kinds of call are one.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    Stream, StreamExt,
    future::{BoxFuture, ready},
    stream,
};
use http::{Request, Response};
use hyper::body::Incoming;
use lienthong_proto::dynamic::DynamicCodec;
use lienthong_transport::Peer;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tonic::{Status, Streaming, body::Body, server::StreamingService};
use tower::{ServiceExt, util::BoxCloneSyncService};

use crate::answer::Question;

/// Largest message of a question, bytes.
pub const QUESTION_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Messages of one question that streams; more are refused.
pub const QUESTIONS_MAX: usize = 100_000;

/// `grpc.health.v1`, as a service of any kind.
pub(crate) type HealthService = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

/// Where `grpc.health.v1` lives.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// The methods of a contract.
#[derive(Clone)]
pub(crate) struct Synthetic {
    agency: Arc<str>,
    methods: Arc<HashMap<String, MethodDescriptor>>,
    health: Option<HealthService>,
}

impl Synthetic {
    pub(crate) fn new(contract: &DescriptorPool, agency: &str) -> Self {
        let mut methods = HashMap::new();
        for service in contract.services() {
            for method in service.methods() {
                methods.insert(format!("/{}/{}", service.full_name(), method.name()), method);
            }
        }
        Self { agency: agency.into(), methods: Arc::new(methods), health: None }
    }

    /// The same, with its health beside it.
    pub(crate) fn with_health(self, health: HealthService) -> Self {
        Self { health: Some(health), ..self }
    }

    /// True for the agency's own certificates: whoever else is of the mesh must come through the node.
    fn is_own(&self, request: &Request<Incoming>) -> bool {
        let certificate = request.extensions().get::<Peer>().and_then(Peer::certificate);
        certificate.is_some_and(|certificate| certificate.agency_urn.as_deref() == Some(&self.agency))
    }
}

impl tower::Service<Request<Incoming>> for Synthetic {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if !self.is_own(&request) {
            let foreign = "this backend answers only its own agency's node; ask through your own node";
            return Box::pin(ready(Ok(Status::permission_denied(foreign).into_http())));
        }
        let path = request.uri().path();
        if let (true, Some(health)) = (path.starts_with(HEALTH), &self.health) {
            return Box::pin(health.clone().oneshot(request));
        }
        let Some(method) = self.methods.get(path).cloned() else {
            let unknown = "the contract of this backend has no such method";
            return Box::pin(ready(Ok(Status::unimplemented(unknown).into_http())));
        };
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(DynamicCodec::decoding(method.input()))
                .apply_max_message_size_config(Some(QUESTION_BYTES_MAX), None);
            Ok(grpc.streaming(Answering(method), request).await)
        })
    }
}

/// Answers one call.
struct Answering(MethodDescriptor);

type Answers = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

impl StreamingService<DynamicMessage> for Answering {
    type Response = DynamicMessage;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<tonic::Response<Answers>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<DynamicMessage>>) -> Self::Future {
        let (method, questions) = (self.0.clone(), request.into_inner());
        Box::pin(async move {
            let answers: Answers = match (method.is_client_streaming(), method.is_server_streaming()) {
                // Each question is answered as it comes.
                (true, true) => Box::pin(questions.enumerate().map(move |(place, question)| {
                    if place >= QUESTIONS_MAX {
                        return Err(too_many());
                    }
                    Ok(Question::new(&method, question?).answer(0)?)
                })),
                (true, false) => {
                    Box::pin(stream::iter(all(&method, questions).await?.answers()?.into_iter().map(Ok)))
                }
                (false, _) => {
                    Box::pin(stream::iter(one(&method, questions).await?.answers()?.into_iter().map(Ok)))
                }
            };
            Ok(tonic::Response::new(answers))
        })
    }
}

async fn one(
    method: &MethodDescriptor,
    mut questions: Streaming<DynamicMessage>,
) -> Result<Question, Status> {
    let first = questions.message().await?.ok_or_else(no_message)?;
    Ok(Question::new(method, first))
}

async fn all(
    method: &MethodDescriptor,
    mut questions: Streaming<DynamicMessage>,
) -> Result<Question, Status> {
    let first = questions.message().await?.ok_or_else(no_message)?;
    let mut question = Question::new(method, first);
    let mut count = 1;
    while let Some(next) = questions.message().await? {
        count += 1;
        if count > QUESTIONS_MAX {
            return Err(too_many());
        }
        question = question.and(next);
    }
    Ok(question)
}

fn no_message() -> Status {
    Status::invalid_argument("the call has no message")
}

fn too_many() -> Status {
    Status::resource_exhausted(format!("a sandbox takes at most {QUESTIONS_MAX} messages in one call"))
}
