//! Our own key in a handshake, wherever it lives.
//!
//! rustls asks for a signature in the middle of a handshake and waits for it. A key in a file answers at once. One in a
//! token may take as long as it likes, and a traffic thread that waited would keep everybody else waiting: so such a
//! handshake takes its steps on the blocking threads until the key has signed, and only its bytes pass here.
//!
//! Whoever knocks makes us sign before we know who it is. So at most [`SIGNING_HANDSHAKES_MAX`] of those are on the
//! blocking threads at once, the others wait here where waiting is free; the token is told that they are strangers; and
//! one who leaves leaves no signature to be made.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lienthong_certs::{Errand, SignError, SignatureAlgorithm, Signer};
use rustls::sign::SigningKey;
use rustls::{
    ClientConfig, ClientConnection, Connection, OtherError, ServerConfig, ServerConnection, SignatureScheme,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::limits::SIGNING_HANDSHAKES_MAX;

/// Bytes read at once while a handshake goes on.
const READ_BYTES: usize = 8 * 1024;

/// A handshake that failed, and the socket, where somebody still has to hear about it.
type Failed = (io::Error, TcpStream);

/// The handshakes of strangers that wait for our key, of one process.
#[derive(Clone, Debug)]
pub(crate) struct Strangers(Arc<Semaphore>);

impl Default for Strangers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SIGNING_HANDSHAKES_MAX)))
    }
}

/// One handshake whose key may keep it waiting.
#[derive(Debug)]
pub(crate) struct Turn {
    errand: Errand,
    /// The key was asked, and is not asked again.
    asked: AtomicBool,
    strangers: Option<Strangers>,
}

impl Turn {
    /// Of a handshake that we begin.
    pub(crate) fn ours() -> Arc<Turn> {
        Arc::new(Turn { errand: Errand::own(), asked: AtomicBool::new(false), strangers: None })
    }

    /// Of somebody who knocked.
    pub(crate) fn of_stranger(strangers: &Strangers) -> Arc<Turn> {
        let strangers = Some(strangers.clone());
        Arc::new(Turn { errand: Errand::for_stranger(), asked: AtomicBool::new(false), strangers })
    }

    /// A place on the blocking threads, which is given back when it is dropped.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        match &self.strangers {
            // It is never closed; were it, the token's own bound would still hold.
            Some(Strangers(places)) => Arc::clone(places).acquire_owned().await.ok(),
            None => None,
        }
    }
}

/// Ends with the handshake, however that ends.
struct UntilItLeaves(Arc<Turn>);

impl Drop for UntilItLeaves {
    fn drop(&mut self) {
        self.0.errand.abandon();
    }
}

/// Our key, as rustls asks for it: one scheme, which follows from the key.
pub(crate) struct OwnKey {
    pub(crate) signer: Arc<dyn Signer>,
    /// The handshake that asks, where it may have to wait.
    pub(crate) turn: Option<Arc<Turn>>,
}

impl SigningKey for OwnKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let scheme = scheme(self.signer.algorithm());
        let signer = || OwnSigner { signer: Arc::clone(&self.signer), turn: self.turn.clone() };
        offered.contains(&scheme).then(|| Box::new(signer()) as _)
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        match self.signer.algorithm() {
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
        write!(f, "OwnKey({})", self.signer.algorithm())
    }
}

struct OwnSigner {
    signer: Arc<dyn Signer>,
    turn: Option<Arc<Turn>>,
}

impl rustls::sign::Signer for OwnSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signed = match &self.turn {
            Some(turn) => {
                turn.asked.store(true, Ordering::Relaxed);
                self.signer.sign_for(message, &turn.errand)
            }
            None => self.signer.sign(message),
        };
        signed.map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        scheme(self.signer.algorithm())
    }
}

impl fmt::Debug for OwnSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnSigner({})", self.signer.algorithm())
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

/// One handshake that we accept; with a turn, our key may keep us waiting.
pub(crate) async fn accept(
    config: Arc<ServerConfig>,
    turn: Option<Arc<Turn>>,
    socket: TcpStream,
) -> Result<server::TlsStream<TcpStream>, Failed> {
    let acceptor = TlsAcceptor::from(Arc::clone(&config));
    let Some(turn) = turn else {
        return acceptor.accept(socket).into_fallible().await;
    };
    let session = match ServerConnection::new(config) {
        Ok(session) => Connection::Server(session),
        Err(error) => return Err((io::Error::other(error), socket)),
    };
    let (session, socket) = shake_hands(session, socket, turn).await?;
    let take_over = |fresh: &mut ServerConnection| {
        if let Connection::Server(session) = session {
            *fresh = session;
        }
    };
    acceptor.accept_with(socket, take_over).into_fallible().await
}

/// One handshake that we begin; with a turn, our key may keep us waiting.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    turn: Option<Arc<Turn>>,
    name: ServerName<'static>,
    socket: TcpStream,
) -> io::Result<client::TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::clone(&config));
    let Some(turn) = turn else {
        return connector.connect(name, socket).await;
    };
    let session = ClientConnection::new(config, name.clone()).map_err(io::Error::other)?;
    let (session, socket) =
        shake_hands(Connection::Client(session), socket, turn).await.map_err(|(error, _)| error)?;
    let take_over = |fresh: &mut ClientConnection| {
        if let Connection::Client(session) = session {
            *fresh = session;
        }
    };
    connector.connect_with(name, socket, take_over).await
}

/// Goes through a whole handshake, each step of it on a blocking thread until the key has signed.
async fn shake_hands(
    mut session: Connection,
    mut socket: TcpStream,
    turn: Arc<Turn>,
) -> Result<(Connection, TcpStream), Failed> {
    let _leaving = UntilItLeaves(Arc::clone(&turn));
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
            let done;
            let stepped = tokio::select! {
                stepped = step(session, &turn) => stepped,
                () = left(&socket) => Err(io::ErrorKind::UnexpectedEof.into()),
            };
            (session, done) = match stepped {
                Ok(stepped) => stepped,
                Err(error) => return Err((error, socket)),
            };
            if let Err(error) = done {
                // The alert that tells the other side; the error stands whether it arrives or not.
                let _ = write_out(&mut session, &mut socket).await;
                return Err((io::Error::new(io::ErrorKind::InvalidData, error), socket));
            }
        }
    }
}

/// One step of a handshake: on a blocking thread, while our key may be asked in it.
async fn step(mut session: Connection, turn: &Turn) -> io::Result<(Connection, Result<(), rustls::Error>)> {
    if turn.asked.load(Ordering::Relaxed) {
        let done = session.process_new_packets().map(drop);
        return Ok((session, done));
    }
    let place = turn.place().await;
    let work = spawn_blocking(move || {
        let done = session.process_new_packets().map(drop);
        drop(place);
        (session, done)
    });
    work.await.map_err(io::Error::other)
}

/// Ends when the other side has left. Who says more meanwhile is there.
async fn left(socket: &TcpStream) {
    if matches!(socket.peek(&mut [0]).await, Ok(1..)) {
        std::future::pending::<()>().await;
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
