//! From an accepted socket to a proven peer, or a named refusal.
//!
//! A [`Door`] is one kind of listener. [`serve`](crate::serve) stands behind all of them and never learns
//! which it is.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lienthong_certs::CertificateRefusal;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::handshakes::{RefusalReason, Refused, SourcePrefix};
use crate::limits::FAREWELL_TIMEOUT_MS;
use crate::listener::{self, LoopbackListener};
use crate::material::{Prepared, SharedMaterial, Tongue};
use crate::own_key;
use crate::peer::{Peer, Proof, UnixPeer};
use crate::verifier::Verdict;

/// Bytes of a refused peer that we read, and throw away, meanwhile.
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// The fault of a good certificate in the hands of somebody who has not its key; beside the judge's own labels.
const NO_PROOF_OF_KEY: &str = "NO_PROOF_OF_KEY";

/// One kind of listener and what it asks of those who come.
pub(crate) trait Door: Send + Sync + 'static {
    /// An accepted socket that has proved nothing yet.
    type Arrival: Send + 'static;
    /// The byte stream once it has.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next arrival. Does no work on behalf of the peer; safe to cancel.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Arrival, Source)>> + Send;

    /// Lets the arrival prove who it is. Takes as long as the peer likes: the caller bounds it.
    fn handshake(
        arrival: Self::Arrival,
    ) -> impl Future<Output = Result<Entered<Self::Io>, HandshakeRefusal>> + Send;
}

/// Where an arrival came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) prefix: SourcePrefix,
}

/// Someone who proved who they are.
pub(crate) struct Entered<Io> {
    pub(crate) io: Io,
    pub(crate) proof: Proof,
    /// The trust under which the certificate was judged; `None` on local hops.
    pub(crate) judged: Option<Judged>,
}

/// The trust under which a certificate was judged.
pub(crate) struct Judged {
    pub(crate) material: SharedMaterial,
    pub(crate) edition: u64,
}

impl Judged {
    /// Judges again if trust was replaced since: to be called once the peer is in the register.
    pub(crate) fn confirm(&self, peer: &Peer) -> Result<(), CertificateRefusal> {
        if self.material.edition() == self.edition { Ok(()) } else { self.material.judge_again(peer) }
    }
}

/// Someone who did not.
#[derive(Debug)]
pub(crate) struct HandshakeRefusal {
    pub(crate) reason: RefusalReason,
    pub(crate) detail: String,
    /// What was wrong with the certificate.
    fault: Option<&'static str>,
    leftover: Option<TcpStream>,
}

impl HandshakeRefusal {
    pub(crate) fn new(reason: RefusalReason, detail: &(impl ToString + ?Sized)) -> Self {
        Self { reason, detail: detail.to_string(), fault: None, leftover: None }
    }

    pub(crate) fn of_certificate(refusal: &CertificateRefusal) -> Self {
        Self { fault: Some(refusal.label()), ..Self::new(RefusalReason::Certificate, refusal) }
    }

    /// As it is counted.
    pub(crate) fn counted(&self) -> Refused<'_> {
        Refused { reason: self.reason, fault: self.fault, detail: &self.detail }
    }

    fn with_leftover(self, socket: TcpStream) -> Self {
        Self { leftover: Some(socket), ..self }
    }

    /// Lets our alert arrive. Closing a socket with unread bytes in it resets the connection, and the other
    /// side may then never read why it was refused; so it gets a moment to read and leave by itself.
    pub(crate) async fn hear_out(self) {
        let Some(mut socket) = self.leftover else { return };
        let farewell = async {
            socket.shutdown().await?;
            tokio::io::copy(&mut socket.take(FAREWELL_BYTES_MAX), &mut tokio::io::sink()).await
        };
        // However it ends, the refusal stands.
        let _ = tokio::time::timeout(Duration::from_millis(FAREWELL_TIMEOUT_MS), farewell).await;
    }
}

/// TCP with mutual TLS 1.3.
pub(crate) struct MutualTls {
    pub(crate) listener: TcpListener,
    pub(crate) material: SharedMaterial,
    pub(crate) tongue: Tongue,
}

impl Door for MutualTls {
    type Arrival = (TcpStream, SharedMaterial, Tongue);
    type Io = TlsStream<TcpStream>;

    async fn accept(&self) -> io::Result<(Self::Arrival, Source)> {
        let (socket, source) = accept_tcp(&self.listener).await?;
        Ok(((socket, self.material.clone(), self.tongue), source))
    }

    async fn handshake(
        (socket, material, tongue): Self::Arrival,
    ) -> Result<Entered<Self::Io>, HandshakeRefusal> {
        tune_or_refuse(&socket)?;
        let verdict = Verdict::default();
        let Prepared { config, turn, edition } = material.for_accept(tongue, &verdict);
        let io = own_key::accept(config, turn, socket)
            .await
            .map_err(|(error, socket)| explain(&error, verdict.refusal()).with_leftover(socket))?;
        let session = io.get_ref().1;
        if !tongue.takes(session.alpn_protocol()) {
            return Err(HandshakeRefusal::new(RefusalReason::NoHttp2, "alpn `h2` was not offered"));
        }
        let chain =
            session.peer_certificates().unwrap_or_default().iter().map(CertificateDer::clone).collect();
        let Some(certificate) = verdict.accepted() else {
            // rustls does not finish a handshake without asking the verifier; were it to, nobody would come
            // in.
            return Err(HandshakeRefusal::new(RefusalReason::NoCertificate, "no certificate was judged"));
        };
        let proof = Proof::Certificate { certificate, chain };
        Ok(Entered { io, proof, judged: Some(Judged { material, edition }) })
    }
}

impl Door for UnixListener {
    type Arrival = UnixStream;
    type Io = UnixStream;

    async fn accept(&self) -> io::Result<(Self::Arrival, Source)> {
        let (socket, _) = UnixListener::accept(self).await?;
        Ok((socket, Source { address: None, prefix: SourcePrefix::Local }))
    }

    async fn handshake(io: Self::Arrival) -> Result<Entered<Self::Io>, HandshakeRefusal> {
        let credentials =
            io.peer_cred().map_err(|error| HandshakeRefusal::new(RefusalReason::LocalPeerUnknown, &error))?;
        Ok(Entered { io, proof: Proof::Unix(UnixPeer { uid: credentials.uid() }), judged: None })
    }
}

impl Door for LoopbackListener {
    type Arrival = TcpStream;
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<(Self::Arrival, Source)> {
        accept_tcp(&self.0).await
    }

    async fn handshake(io: Self::Arrival) -> Result<Entered<Self::Io>, HandshakeRefusal> {
        tune_or_refuse(&io)?;
        Ok(Entered { io, proof: Proof::Loopback, judged: None })
    }
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, Source)> {
    let (socket, address) = listener.accept().await?;
    Ok((socket, Source { address: Some(address), prefix: SourcePrefix::from(address) }))
}

fn tune_or_refuse(socket: &TcpStream) -> Result<(), HandshakeRefusal> {
    listener::tune(socket).map_err(|error| HandshakeRefusal::new(RefusalReason::Io, &error))
}

/// The reason behind a failed TLS handshake, with the judge's own words where it was the judge.
fn explain(error: &io::Error, refusal: Option<&CertificateRefusal>) -> HandshakeRefusal {
    use rustls::Error as Tls;
    if let Some(refusal) = refusal {
        return HandshakeRefusal::of_certificate(refusal);
    }
    let mut fault = None;
    let reason = match error.get_ref().and_then(|cause| cause.downcast_ref::<Tls>()) {
        Some(Tls::NoCertificatesPresented) => RefusalReason::NoCertificate,
        Some(Tls::InvalidCertificate(_)) => {
            // The judge was content: then it is the signature that proves possession of the key.
            fault = Some(NO_PROOF_OF_KEY);
            RefusalReason::Certificate
        }
        Some(Tls::InvalidMessage(_)) => RefusalReason::NotTls,
        Some(Tls::NoApplicationProtocol) => RefusalReason::NoHttp2,
        Some(Tls::AlertReceived(_)) => RefusalReason::RefusedByPeer,
        Some(error) if own_key::trouble(error).is_some() => RefusalReason::OwnKey,
        Some(_) => RefusalReason::TlsProtocol,
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => RefusalReason::Closed,
            _ => RefusalReason::Io,
        },
    };
    HandshakeRefusal { fault, ..HandshakeRefusal::new(reason, error) }
}
