//! A tonic server as people run one: tonic's own transport, mutual TLS, the multi-thread runtime. The backend is one,
//! and so are the naive proxies.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};

use crate::pki::{Pki, Role, SERVER_NAME};

/// Calls that one connection may have under way: more than any measurement has.
const STREAMS_MAX: u32 = 4_096;

/// A server that listens, and its end.
pub struct TonicServer {
    /// Where it listens.
    pub address: SocketAddr,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl TonicServer {
    /// Serves `service` as `role`, on the runtime that is polled.
    pub async fn start<S>(pki: &Pki, role: Role, service: S) -> anyhow::Result<Self>
    where
        S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let (identity, authority) = proof(pki, role)?;
        let serving = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity).client_ca_root(authority))?
            .max_concurrent_streams(STREAMS_MAX)
            .add_service(service)
            .serve_with_incoming(incoming);
        Ok(Self { address, serving: tokio::spawn(serving) })
    }

    /// Serves until it fails.
    pub async fn failed(self) -> anyhow::Error {
        match self.serving.await {
            Ok(Ok(())) => anyhow::anyhow!("the server ended"),
            Ok(Err(error)) => error.into(),
            Err(error) => error.into(),
        }
    }
}

/// A connected channel of `role` to another server.
pub async fn connect(pki: &Pki, role: Role, address: SocketAddr) -> anyhow::Result<Channel> {
    let (identity, authority) = proof(pki, role)?;
    let tls = ClientTlsConfig::new().domain_name(SERVER_NAME).ca_certificate(authority).identity(identity);
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?;
    endpoint.connect().await.with_context(|| format!("cannot reach {address}"))
}

/// Whom a role is, and whom it believes.
fn proof(pki: &Pki, role: Role) -> anyhow::Result<(Identity, Certificate)> {
    let issued = pki.issued(role)?;
    let identity = Identity::from_pem(std::fs::read(issued.certificate)?, std::fs::read(issued.key)?);
    Ok((identity, Certificate::from_pem(std::fs::read(pki.authority()?)?)))
}
