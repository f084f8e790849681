//! The edge: a request comes, the mesh is called, the answer goes.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header, request::Parts};
use http_body::Body;
use lienthong_proto::{options::has_no_side_effects, status::MeshError};
use prost_reflect::MethodDescriptor;
use tonic::Code;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::{
    answer::{self, PROBLEM, Writing},
    codec::Codec,
    failure::Failure,
    heard::Heard,
    packing::Packing,
    protocol::{self, Refused, Spoken},
    query,
    request::{self, Reading},
    rest::{Ambiguous, Matched, Routes},
    space::Space,
};

/// The mesh, as the one caller of a connection reaches it.
pub trait Mesh: Clone + Send + Sync + 'static {
    /// Serves a gRPC call. Who calls is known from the connection; what he may is judged there, and put on record.
    fn call(
        &self,
        request: Request<tonic::body::Body>,
    ) -> impl Future<Output = Response<tonic::body::Body>> + Send;

    /// How a method is declared, by gRPC path and, where several agencies serve it, provider.
    fn method(&self, path: &str, provider: Option<&str>) -> Option<MethodDescriptor>;

    /// REST paths of all methods that are known now.
    fn routes(&self) -> Arc<Routes>;

    /// Largest message, bytes.
    fn message_bytes_max(&self) -> usize;
}

/// Answers a request that may be a call; an error is what it is instead.
pub async fn answer<M, B>(mesh: &M, space: &Space, request: Request<B>) -> Response<tonic::body::Body>
where
    M: Mesh,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let body = Heard::new(body);
    let asked = Asked { mesh, space, parts };
    let spoken = protocol::spoken(&asked.parts);
    // A contract may declare any path, but not take another's method away.
    if spoken.is_err() || asked.method().is_none() {
        let (verb, path) = (&asked.parts.method, asked.parts.uri.path());
        match mesh.routes().matched(verb, path, asked.provider()) {
            Ok(Some(matched)) => return asked.rest(matched, body).await,
            Ok(None) => {}
            Err(Ambiguous(providers)) => {
                let error =
                    request::context(format!("name the provider in mesh-provider: {}", providers.join(", ")));
                return answer::error(&Failure::of(&error), PROBLEM);
            }
        }
    }
    match spoken {
        Ok(Spoken::Grpc) => mesh.call(Request::from_parts(asked.parts, tonic::body::Body::new(body))).await,
        Ok(Spoken::GrpcWeb) => grpc_web(mesh, Request::from_parts(asked.parts, body)).await,
        Ok(Spoken::Unary(codec)) => asked.unary(codec, body).await,
        Ok(Spoken::Stream(codec)) => asked.stream(codec, body).await,
        Ok(Spoken::Get) => asked.get().await,
        Err(refused) => refusal(refused),
    }
}

/// The answer to a request that is no call.
pub fn refusal(refused: Refused) -> Response<tonic::body::Body> {
    let code = match refused {
        Refused::NoMethod => Code::NotFound,
        Refused::WrongVerb | Refused::NotSafe | Refused::NeedsHttp2 => Code::Unimplemented,
        Refused::WrongType | Refused::WrongConnect => Code::InvalidArgument,
    };
    let mut json = Failure::plain(code, &refused.to_string()).to_json();
    json["status"] = refused.status().as_u16().into();
    let mut response = answer::plain(refused.status(), PROBLEM, json.to_string().into());
    response.headers_mut().extend(refused.headers());
    response
}

/// gRPC-Web is gRPC in other frames; tonic-web knows them.
async fn grpc_web<M, B>(mesh: &M, request: Request<B>) -> Response<tonic::body::Body>
where
    M: Mesh,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + std::fmt::Display,
{
    let mesh = mesh.clone();
    let calls = service_fn(move |request: Request<tonic::body::Body>| {
        let mesh = mesh.clone();
        async move {
            let (parts, body) = request.into_parts();
            let (headers, body) = match request::metadata(&parts.headers) {
                Ok(headers) => (headers, body),
                Err(error) => (http::HeaderMap::new(), request::failing(error)),
            };
            Ok::<_, Infallible>(mesh.call(request::call(parts.uri.path(), headers, body)).await)
        }
    });
    match GrpcWebLayer::new().layer(calls).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// A request, and whom it is made of.
struct Asked<'a, M> {
    mesh: &'a M,
    space: &'a Space,
    parts: Parts,
}

impl<M: Mesh> Asked<'_, M> {
    /// Connect, one message each way.
    async fn unary<B>(self, codec: Codec, body: B) -> Response<tonic::body::Body>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let method = self.method();
        if method.as_ref().is_some_and(|method| method.is_client_streaming() || method.is_server_streaming())
        {
            return refusal(Refused::WrongType);
        }
        let body = match self.reading(codec, method.as_ref(), header::CONTENT_ENCODING.as_str()) {
            Ok(reading) => request::unary(reading, body),
            Err(error) => request::failing(error),
        };
        self.ask_once(codec, method.as_ref(), body).await
    }

    /// Connect, the message in the query string.
    async fn get(self) -> Response<tonic::body::Body> {
        let Some(method) = self.method() else {
            let body = request::failing(unknown());
            return self.ask_once(Codec::Json, None, body).await;
        };
        if method.is_client_streaming() || method.is_server_streaming() || !has_no_side_effects(&method) {
            return refusal(Refused::NotSafe);
        }
        let (codec, body) = match query::question(self.parts.uri.query().unwrap_or_default()) {
            Ok(asked) => {
                let reading = self.reading_of(asked.codec, asked.packing, &method);
                (asked.codec, request::ready(reading, asked.message))
            }
            Err(error) => (Codec::Json, request::failing(request::context(error.to_string()))),
        };
        self.ask_once(codec, Some(&method), body).await
    }

    /// A path that the contract declares.
    async fn rest<B>(self, matched: Matched, body: B) -> Response<tonic::body::Body>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let method = matched.method().clone();
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let body = match self.reading(Codec::Json, Some(&method), header::CONTENT_ENCODING.as_str()) {
            Ok(reading) => {
                let (matched, query) =
                    (matched.clone(), self.parts.uri.query().unwrap_or_default().to_owned());
                request::composed(reading, body, move |text| matched.compose(&query, text))
            }
            Err(error) => request::failing(error),
        };
        let mut writing = self.writing(Codec::Json, Some(&method));
        writing.error_type = PROBLEM;
        writing.part = matched.answers_with().map(str::to_owned);
        let mut call = self.call(&path, body);
        if let Ok(provider) = HeaderValue::try_from(matched.provider()) {
            call.headers_mut().insert("mesh-provider", provider);
        }
        answer::unary(answer::collect(self.mesh.call(call).await, &writing).await, &writing)
    }

    /// Connect, messages in envelopes.
    async fn stream<B>(self, codec: Codec, body: B) -> Response<tonic::body::Body>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let method = self.method();
        if method
            .as_ref()
            .is_some_and(|method| !method.is_client_streaming() && !method.is_server_streaming())
        {
            return refusal(Refused::WrongType);
        }
        let body = match self.reading(codec, method.as_ref(), "connect-content-encoding") {
            Ok(reading) => request::streamed(reading, body),
            Err(error) => request::failing(error),
        };
        let writing = self.writing(codec, method.as_ref());
        let response = self.mesh.call(self.call(self.parts.uri.path(), body)).await;
        answer::streamed(response, writing)
    }

    async fn ask_once(
        self,
        codec: Codec,
        method: Option<&MethodDescriptor>,
        body: tonic::body::Body,
    ) -> Response<tonic::body::Body> {
        let writing = self.writing(codec, method);
        let response = self.mesh.call(self.call(self.parts.uri.path(), body)).await;
        answer::unary(answer::collect(response, &writing).await, &writing)
    }

    fn call(&self, path: &str, body: tonic::body::Body) -> Request<tonic::body::Body> {
        match request::metadata(&self.parts.headers) {
            Ok(headers) => request::call(path, headers, body),
            Err(error) => {
                let mut headers = self.parts.headers.clone();
                headers.remove(request::CONNECT_TIMEOUT);
                let headers = request::metadata(&headers).unwrap_or_default();
                request::call(path, headers, request::failing(error))
            }
        }
    }

    fn method(&self) -> Option<MethodDescriptor> {
        self.mesh.method(self.parts.uri.path(), self.provider())
    }

    fn provider(&self) -> Option<&str> {
        self.parts.headers.get("mesh-provider").and_then(|value| value.to_str().ok())
    }

    /// How the request is read; an error is heard once the call was judged.
    fn reading(
        &self,
        codec: Codec,
        method: Option<&MethodDescriptor>,
        packed: &str,
    ) -> Result<Reading, MeshError> {
        let method = method.ok_or_else(unknown)?;
        let packing = Packing::named(self.parts.headers.get(packed).map(HeaderValue::as_bytes));
        Ok(self.reading_of(codec, packing.ok_or_else(request::not_understood)?, method))
    }

    fn reading_of(&self, codec: Codec, packing: Packing, method: &MethodDescriptor) -> Reading {
        Reading {
            codec,
            packing,
            message: method.input(),
            bytes_max: self.mesh.message_bytes_max(),
            space: self.space.clone(),
        }
    }

    fn writing(&self, codec: Codec, method: Option<&MethodDescriptor>) -> Writing {
        let accepts = self.parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let wants_problem = accepts.is_some_and(|accepts| accepts.contains(PROBLEM));
        Writing {
            codec,
            message: method.map(MethodDescriptor::output),
            bytes_max: self.mesh.message_bytes_max(),
            space: self.space.clone(),
            part: None,
            error_type: if wants_problem { PROBLEM } else { Codec::Json.content_type() },
        }
    }
}

/// A method that is not known here is not known to the mesh either, or has several providers: it says which.
fn unknown() -> MeshError {
    request::context(
        "the method is not known to this node, or has several providers: name one in mesh-provider"
            .to_owned(),
    )
}
