//! Contestant b, one of its two proxies: what a competent engineer would write with tonic in an afternoon. A raw codec,
//! so that messages are forwarded without decoding them; the multi-thread runtime; tonic's own transport. No policy,
//! no record. With a [`Notary`] it is one of the two of contestant f.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{NamedService, ServerStreamingService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::exchange;
use crate::notary::Notary;
use crate::pki::{Pki, Role};
use crate::tonic_server::{self, TonicServer};

/// Starts a proxy that plays `role` before `upstream`, on the runtime that is polled.
pub async fn start(
    pki: &Pki,
    role: Role,
    upstream: SocketAddr,
    notary: Option<Arc<Notary>>,
) -> anyhow::Result<TonicServer> {
    let channel = tonic_server::connect(pki, role, upstream).await?;
    TonicServer::start(pki, role, Proxy { channel, notary }).await
}

/// The service as tonic's router sees it.
#[derive(Clone)]
struct Proxy {
    channel: Channel,
    notary: Option<Arc<Notary>>,
}

impl NamedService for Proxy {
    const NAME: &'static str = exchange::SERVICE;
}

impl tower::Service<http::Request<Body>> for Proxy {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path_and_query().cloned();
        let forward = Forward {
            channel: self.channel.clone(),
            notary: self.notary.clone(),
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        };
        let mut grpc = tonic::server::Grpc::new(Raw);
        Box::pin(async move {
            Ok(if forward.path == exchange::STREAM_PATH {
                grpc.server_streaming(forward, request).await
            } else {
                grpc.unary(forward, request).await
            })
        })
    }
}

/// One call, onward.
struct Forward {
    channel: Channel,
    notary: Option<Arc<Notary>>,
    path: PathAndQuery,
}

impl UnaryService<Bytes> for Forward {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (channel, path, notary) = (self.channel.clone(), self.path.clone(), self.notary.clone());
        Box::pin(async move {
            let mut client = tonic::client::Grpc::new(channel);
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            match notary {
                None => client.unary(request, path, Raw).await,
                Some(notary) => {
                    notary
                        .exchange(request, async move |request| client.unary(request, path, Raw).await)
                        .await
                }
            }
        })
    }
}

impl ServerStreamingService<Bytes> for Forward {
    type Response = Bytes;
    type ResponseStream = Streaming<Bytes>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Streaming<Bytes>>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (channel, path) = (self.channel.clone(), self.path.clone());
        Box::pin(async move {
            let mut client = tonic::client::Grpc::new(channel);
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            client.server_streaming(request, path, Raw).await
        })
    }
}

/// Messages as bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
