//! Our own key in a handshake, wherever it lives.
//!
//! rustls asks for a signature in the middle of a handshake and waits for it. A key in a file answers at once. One in a
//! token may take as long as it likes, and a traffic thread that waited would keep everybody else waiting: so such a
//! handshake takes its steps on the blocking threads, and only its bytes pass here.

use std::fmt;
use std::io;
use std::sync::Arc;

use lienthong_certs::{SignError, SignatureAlgorithm, Signer};
use rustls::sign::SigningKey;
use rustls::{
    ClientConfig, ClientConnection, Connection, OtherError, ServerConfig, ServerConnection, SignatureScheme,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Bytes read at once while a handshake goes on.
const READ_BYTES: usize = 8 * 1024;

/// A handshake that failed, and the socket, where somebody still has to hear about it.
type Failed = (io::Error, TcpStream);

/// Our key, as rustls asks for it: one scheme, which follows from the key.
pub(crate) struct OwnKey(pub(crate) Arc<dyn Signer>);

impl SigningKey for OwnKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let scheme = scheme(self.0.algorithm());
        offered.contains(&scheme).then(|| Box::new(OwnSigner(Arc::clone(&self.0))) as _)
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        match self.0.algorithm() {
            SignatureAlgorithm::Ed25519 => rustls::SignatureAlgorithm::ED25519,
            SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha384 => {
                rustls::SignatureAlgorithm::ECDSA
            }
            SignatureAlgorithm::RsaPssSha256 => rustls::SignatureAlgorithm::RSA,
        }
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnKey({})", self.0.algorithm())
    }
}

struct OwnSigner(Arc<dyn Signer>);

impl rustls::sign::Signer for OwnSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(message).map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        scheme(self.0.algorithm())
    }
}

impl fmt::Debug for OwnSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnSigner({})", self.0.algorithm())
    }
}

fn scheme(algorithm: SignatureAlgorithm) -> SignatureScheme {
    match algorithm {
        SignatureAlgorithm::Ed25519 => SignatureScheme::ED25519,
        SignatureAlgorithm::EcdsaP256Sha256 => SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureAlgorithm::EcdsaP384Sha384 => SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureAlgorithm::RsaPssSha256 => SignatureScheme::RSA_PSS_SHA256,
    }
}

/// Why our own key did not sign, where that is what ended a handshake.
pub(crate) fn trouble(error: &rustls::Error) -> Option<&SignError> {
    match error {
        rustls::Error::Other(OtherError(cause)) => cause.downcast_ref(),
        _ => None,
    }
}

/// One handshake that we accept. `may_wait`: our key may keep us waiting.
pub(crate) async fn accept(
    config: Arc<ServerConfig>,
    may_wait: bool,
    socket: TcpStream,
) -> Result<server::TlsStream<TcpStream>, Failed> {
    let acceptor = TlsAcceptor::from(Arc::clone(&config));
    if !may_wait {
        return acceptor.accept(socket).into_fallible().await;
    }
    let session = match ServerConnection::new(config) {
        Ok(session) => Connection::Server(session),
        Err(error) => return Err((io::Error::other(error), socket)),
    };
    let (session, socket) = shake_hands(session, socket).await?;
    let take_over = |fresh: &mut ServerConnection| {
        if let Connection::Server(session) = session {
            *fresh = session;
        }
    };
    acceptor.accept_with(socket, take_over).into_fallible().await
}

/// One handshake that we begin. `may_wait`: our key may keep us waiting.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    may_wait: bool,
    name: ServerName<'static>,
    socket: TcpStream,
) -> io::Result<client::TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::clone(&config));
    if !may_wait {
        return connector.connect(name, socket).await;
    }
    let session = ClientConnection::new(config, name.clone()).map_err(io::Error::other)?;
    let (session, socket) =
        shake_hands(Connection::Client(session), socket).await.map_err(|(error, _)| error)?;
    let take_over = |fresh: &mut ClientConnection| {
        if let Connection::Client(session) = session {
            *fresh = session;
        }
    };
    connector.connect_with(name, socket, take_over).await
}

/// Goes through a whole handshake, each step of it on a blocking thread.
async fn shake_hands(
    mut session: Connection,
    mut socket: TcpStream,
) -> Result<(Connection, TcpStream), Failed> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        if let Err(error) = write_out(&mut session, &mut socket).await {
            return Err((error, socket));
        }
        if !session.is_handshaking() {
            return Ok((session, socket));
        }
        let read = match socket.read(&mut buffer).await {
            Ok(0) => return Err((io::ErrorKind::UnexpectedEof.into(), socket)),
            Ok(read) => read,
            Err(error) => return Err((error, socket)),
        };
        let mut bytes = buffer.get(..read).unwrap_or_default();
        while !bytes.is_empty() {
            if let Err(error) = session.read_tls(&mut bytes) {
                return Err((error, socket));
            }
            let step = spawn_blocking(move || {
                let done = session.process_new_packets().map(|_| ());
                (session, done)
            });
            let done;
            (session, done) = match step.await {
                Ok(stepped) => stepped,
                Err(error) => return Err((io::Error::other(error), socket)),
            };
            if let Err(error) = done {
                // The alert that tells the other side; the error stands whether it arrives or not.
                let _ = write_out(&mut session, &mut socket).await;
                return Err((io::Error::new(io::ErrorKind::InvalidData, error), socket));
            }
        }
    }
}

async fn write_out(session: &mut Connection, socket: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        let mut bytes = Vec::new();
        session.write_tls(&mut bytes)?;
        socket.write_all(&bytes).await?;
    }
    Ok(())
}
