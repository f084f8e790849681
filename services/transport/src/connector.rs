//! One outgoing connection: reach, prove, register, speak HTTP/2.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http_body::Body;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use lienthong_certs::{CertificateRefusal, SignError};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use crate::connections::{CapReached, Connections, DoorId};
use crate::control::Control;
use crate::governed::Governed;
use crate::limits::Limits;
use crate::listener;
use crate::material::{ALPN_HTTP2, Prepared, SharedMaterial};
use crate::own_key;
use crate::peer::{Direction, Peer, Proof, UnixPeer};
use crate::verifier::Verdict;

/// Decides whether a proven peer is the one meant, usually by its binding in the registry. The text
/// says why not.
pub type VerifyPeer = Arc<dyn Fn(&Peer) -> Result<(), String> + Send + Sync>;

/// Where to connect, and how the other side proves who it is.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Mutual TLS 1.3 over TCP.
    Mesh {
        /// `host:port`; a name is looked up for each attempt.
        address: String,
        /// The DNS name that the certificate must carry; `None` where the registry binding alone says who it
        /// is: then there must be a [`VerifyPeer`].
        server_name: Option<String>,
        /// Our certificate and trust.
        material: SharedMaterial,
    },
    /// A Unix socket on this machine.
    Unix(PathBuf),
    /// Plaintext TCP on this machine; development only.
    Loopback(SocketAddr),
}

impl Endpoint {
    /// The scheme and authority of requests that name none.
    pub(crate) fn origin(&self) -> (Scheme, Authority) {
        let (scheme, authority) = match self {
            Self::Mesh { address, server_name, .. } => {
                (Scheme::HTTPS, server_name.as_ref().unwrap_or(address).parse().ok())
            }
            Self::Unix(_) => (Scheme::HTTP, None),
            Self::Loopback(address) => (Scheme::HTTP, address.to_string().parse().ok()),
        };
        (scheme, authority.unwrap_or_else(|| Authority::from_static("localhost")))
    }
}

/// For logs and errors.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh { address, server_name: Some(name), .. } => write!(f, "{address} ({name})"),
            Self::Mesh { address, server_name: None, .. } => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => write!(f, "{address} (plaintext)"),
        }
    }
}

/// A connection on which requests can be sent.
#[derive(Debug)]
pub struct Connection<B> {
    /// hyper's handle; clones share the connection, which closes when the last is gone and all is answered.
    pub sender: SendRequest<B>,
    /// Who is on the other side.
    pub peer: Peer,
    pub(crate) control: Arc<Control>,
    /// Ends with the connection.
    pub(crate) ended: oneshot::Receiver<Infallible>,
}

/// Connects, or says exactly at which step it failed. Nothing of a request has left when this fails.
///
/// `verify` is asked after the peer proved who it is and before the first HTTP/2 byte is written. All of it,
/// name lookup included, ends within `limits.connect_timeout`. Tasks run on the runtime that polls this
/// future.
pub async fn connect<B>(
    endpoint: &Endpoint,
    limits: &Limits,
    connections: &Connections,
    verify: Option<&VerifyPeer>,
) -> Result<Connection<B>, ConnectError>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut dial =
        Dial { limits, connections, verify, door: connections.new_door(), stage: "looking up the name" };
    let dialled = match endpoint {
        Endpoint::Mesh { address, server_name, material } => {
            let mesh = dial.mesh(address, server_name.as_deref(), material);
            tokio::time::timeout(limits.connect_timeout, mesh).await
        }
        Endpoint::Unix(path) => {
            let unix = async {
                dial.stage = "connecting";
                let io = UnixStream::connect(path).await.map_err(ConnectError::Unreachable)?;
                let uid = io.peer_cred().map_err(ConnectError::Unreachable)?.uid();
                dial.speak(io, Proof::Unix(UnixPeer { uid }), None, None).await
            };
            tokio::time::timeout(limits.connect_timeout, unix).await
        }
        Endpoint::Loopback(address) => {
            let loopback = async {
                if !address.ip().to_canonical().is_loopback() {
                    return Err(ConnectError::NotLoopback { address: *address });
                }
                let io = dial.tcp(&[*address]).await?;
                dial.speak(io, Proof::Loopback, Some(*address), None).await
            };
            tokio::time::timeout(limits.connect_timeout, loopback).await
        }
    };
    dialled.unwrap_or(Err(ConnectError::Timeout { after: limits.connect_timeout, stage: dial.stage }))
}

/// Why there is no connection. In every case nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot look up the address: {0}; check the name in the registry and the resolver")]
    Lookup(#[source] io::Error),
    /// Nobody answers there.
    #[error("nobody answers: {0}; is the other side running and reachable?")]
    Unreachable(#[source] io::Error),
    /// It took too long.
    #[error("not connected within {} ms, gave up while {stage} (connect_timeout)", .after.as_millis())]
    Timeout {
        /// The bound.
        after: Duration,
        /// What was being done.
        stage: &'static str,
    },
    /// Any peer of the mesh would have passed for the one meant.
    #[error("refusing to connect: neither a server name nor a check of the peer says who is expected there")]
    NobodyExpected,
    /// The expected name is not a DNS name or address.
    #[error("`{0}` is not a dns name; correct the endpoint's server name")]
    BadServerName(String),
    /// Our judge refused the server's certificate.
    #[error("the server's certificate is refused: {refusal}; {}", .refusal.remedy())]
    ServerCertificate {
        /// What the judge said.
        refusal: CertificateRefusal,
    },
    /// The server refused our certificate, or us.
    #[error("the server refused us with tls alert {alert}; ask its operator, or inspect our own certificate")]
    RefusedByServer {
        /// The alert's name (RFC 8446 §6).
        alert: String,
    },
    /// Our own key did not sign.
    #[error("our own key did not sign: {0}")]
    OwnKey(#[source] SignError),
    /// TLS failed for another reason.
    #[error("tls failed: {0}; does the other side speak tls 1.3?")]
    Tls(#[source] rustls::Error),
    /// The server does not speak HTTP/2.
    #[error("the server does not speak http/2 (alpn h2)")]
    NoHttp2,
    /// The caller's own check refused the proven peer.
    #[error("the peer {peer} is not the one expected: {why}")]
    UnexpectedPeer {
        /// Who it is.
        peer: String,
        /// What the check said.
        why: String,
    },
    /// A bound of our register was reached.
    #[error("cannot register the connection: {0}")]
    Cap(#[from] CapReached),
    /// Plaintext was asked for towards another machine.
    #[error(
        "refusing to connect without tls to {address}: only loopback addresses may (design §6, local hops)"
    )]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The connection ended before the server said anything.
    #[error("the server closed the connection before it spoke http/2: {0}")]
    Closed(#[source] io::Error),
    /// HTTP/2 could not begin.
    #[error("http/2 could not begin: {0}")]
    Http2(#[source] hyper::Error),
}

/// One attempt, and how far it is.
struct Dial<'a> {
    limits: &'a Limits,
    connections: &'a Connections,
    verify: Option<&'a VerifyPeer>,
    door: DoorId,
    stage: &'static str,
}

impl Dial<'_> {
    async fn mesh<B>(
        &mut self,
        address: &str,
        server_name: Option<&str>,
        material: &SharedMaterial,
    ) -> Result<Connection<B>, ConnectError>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if server_name.is_none() && self.verify.is_none() {
            return Err(ConnectError::NobodyExpected);
        }
        let expected = server_name.map(parse_name).transpose()?;
        let found: Vec<SocketAddr> =
            tokio::net::lookup_host(address).await.map_err(ConnectError::Lookup)?.collect();
        let socket = self.tcp(&found).await?;
        let remote = socket.peer_addr().map_err(ConnectError::Unreachable)?;

        self.stage = "proving identity (tls)";
        let verdict = Verdict::default();
        let Prepared { config, turn, edition } = material.for_connect(expected.clone(), &verdict);
        // Without an expected name the address stands in; it is then not checked, and not sent (no SNI for
        // addresses).
        let name = expected.unwrap_or_else(|| ServerName::from(remote.ip()));
        let io = own_key::connect(config, turn, name, socket)
            .await
            .map_err(|error| explain(error, verdict.refusal()))?;
        let session = io.get_ref().1;
        if session.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(ConnectError::NoHttp2);
        }
        let chain =
            session.peer_certificates().unwrap_or_default().iter().map(CertificateDer::clone).collect();
        let Some(certificate) = verdict.accepted() else {
            return Err(ConnectError::Tls(rustls::Error::NoCertificatesPresented));
        };
        self.speak(io, Proof::Certificate { certificate, chain }, Some(remote), Some((material, edition)))
            .await
    }

    /// The first of `addresses` that answers.
    async fn tcp(&mut self, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
        self.stage = "connecting";
        let socket = TcpStream::connect(addresses).await.map_err(ConnectError::Unreachable)?;
        listener::tune(&socket).map_err(ConnectError::Unreachable)?;
        Ok(socket)
    }

    /// Registers the proven peer, has it verified, and begins HTTP/2.
    async fn speak<B, Io>(
        &mut self,
        io: Io,
        proof: Proof,
        remote: Option<SocketAddr>,
        judged: Option<(&SharedMaterial, u64)>,
    ) -> Result<Connection<B>, ConnectError>
    where
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let registration =
            self.connections.register(proof, remote, Direction::Outbound, self.door, self.limits)?;
        // First registered, then confirmed: a revocation in between finds the connection in the register.
        if let Some((material, edition)) = judged
            && material.edition() != edition
        {
            material
                .judge_again(registration.peer())
                .map_err(|refusal| ConnectError::ServerCertificate { refusal })?;
        }
        let peer = registration.peer().clone();
        if let Some(verify) = self.verify {
            verify(&peer).map_err(|why| ConnectError::UnexpectedPeer { peer: peer.to_string(), why })?;
        }

        self.stage = "waiting for the server's first http/2 bytes";
        let control = Arc::clone(registration.control());
        let (io, first_read) = Governed::new(io, registration);
        let (sender, connection) =
            http_builder(self.limits).handshake(TokioIo::new(io)).await.map_err(ConnectError::Http2)?;
        let whom = peer.clone();
        let (alive, ended) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(peer = %whom, %error, "outgoing connection ended");
            }
            drop(alive);
        });
        match first_read.await {
            Ok(Ok(())) => Ok(Connection { sender, peer, control, ended }),
            Ok(Err(error)) => Err(explain_first_read(error)),
            Err(_) => Err(ConnectError::Closed(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn parse_name(name: &str) -> Result<ServerName<'static>, ConnectError> {
    ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::BadServerName(name.to_owned()))
}

/// The reason behind a failed TLS handshake, with the judge's own words where it was the judge.
fn explain(error: io::Error, refusal: Option<&CertificateRefusal>) -> ConnectError {
    use rustls::Error as Tls;
    if let Some(refusal) = refusal {
        return ConnectError::ServerCertificate { refusal: refusal.clone() };
    }
    match tls_cause(&error) {
        Some(Tls::AlertReceived(alert)) => ConnectError::RefusedByServer { alert: format!("{alert:?}") },
        Some(Tls::NoApplicationProtocol) => ConnectError::NoHttp2,
        Some(tls) => match own_key::trouble(tls) {
            Some(trouble) => ConnectError::OwnKey(trouble.clone()),
            None => ConnectError::Tls(tls.clone()),
        },
        None => ConnectError::Closed(error),
    }
}

fn explain_first_read(error: io::Error) -> ConnectError {
    match tls_cause(&error) {
        Some(rustls::Error::AlertReceived(alert)) => {
            ConnectError::RefusedByServer { alert: format!("{alert:?}") }
        }
        Some(tls) => ConnectError::Tls(tls.clone()),
        None => ConnectError::Closed(error),
    }
}

fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|cause| cause.downcast_ref())
}

/// Runs the tasks of a connection, each in a box. hyper has one type for all of them: a task that waits for one answer has
/// the size of a whole connection, and spawning would move it several times.
#[derive(Clone, Copy, Debug)]
struct Boxed;

impl<F> Executor<F> for Boxed
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        tokio::spawn(Box::pin(task));
    }
}

fn http_builder(limits: &Limits) -> http2::Builder<Boxed> {
    let mut http = http2::Builder::new(Boxed);
    http.timer(TokioTimer::new())
        // A server of the mesh pushes nothing and opens no streams.
        .max_concurrent_streams(0)
        .max_header_list_size(limits.header_list_bytes_max)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_frame_size(limits.frame_bytes_max)
        .max_send_buf_size(limits.stream_send_buffer_bytes_max)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout)
        .keep_alive_while_idle(true);
    http
}
