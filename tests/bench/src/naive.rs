//! Contestant b, one of its two proxies: what a competent engineer would write with tonic in an afternoon. A raw codec,
//! so that messages are forwarded without decoding them; the multi-thread runtime; tonic's own transport. No policy,
//! no record.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Context as _;
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::exchange;
use crate::http2::STREAMS_MAX;
use crate::pki::{Pki, Role, SERVER_NAME};

/// Where the proxy listens, and its end.
pub struct Naive {
    /// Where it listens.
    pub address: SocketAddr,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Naive {
    /// Starts a proxy that plays `role` before `upstream`, on the runtime that is polled.
    pub async fn start(pki: &Pki, role: Role, upstream: SocketAddr) -> anyhow::Result<Self> {
        let issued = pki.issued(role)?;
        let identity = Identity::from_pem(std::fs::read(issued.certificate)?, std::fs::read(issued.key)?);
        let authority = Certificate::from_pem(std::fs::read(pki.authority()?)?);

        let client_tls = ClientTlsConfig::new()
            .domain_name(SERVER_NAME)
            .ca_certificate(authority.clone())
            .identity(identity.clone());
        let channel = Endpoint::from_shared(format!("https://{upstream}"))?
            .tls_config(client_tls)?
            .connect()
            .await
            .with_context(|| format!("cannot reach {upstream}"))?;

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server_tls = ServerTlsConfig::new().identity(identity).client_ca_root(authority);
        let serving = Server::builder()
            .tls_config(server_tls)?
            .max_concurrent_streams(STREAMS_MAX)
            .add_service(Proxy { channel })
            .serve_with_incoming(incoming);
        Ok(Self { address, serving: tokio::spawn(serving) })
    }

    /// Serves until it fails.
    pub async fn failed(self) -> anyhow::Error {
        match self.serving.await {
            Ok(Ok(())) => anyhow::anyhow!("the proxy ended"),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        }
    }
}

/// The service as tonic's router sees it.
#[derive(Clone)]
struct Proxy {
    channel: Channel,
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
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        };
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).unary(forward, request).await) })
    }
}

/// One call, onward.
struct Forward {
    channel: Channel,
    path: PathAndQuery,
}

impl UnaryService<Bytes> for Forward {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (channel, path) = (self.channel.clone(), self.path.clone());
        Box::pin(async move {
            let mut client = tonic::client::Grpc::new(channel);
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            client.unary(request, path, Raw).await
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
