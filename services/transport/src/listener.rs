//! Sockets that wait for peers: TCP for the mesh, Unix and loopback for local hops.
//!
//! Every function here must be called on a tokio runtime: the socket is registered with the runtime that will
//! accept from it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::limits::{TCP_KEEPALIVE_IDLE_MS, TCP_KEEPALIVE_PAUSE_MS, TCP_UNANSWERED_MAX_MS};

/// Connections that the kernel holds for us before we accept them.
pub const LISTEN_BACKLOG_MAX: i32 = 1_024;

/// Listens on `address`.
///
/// With `reuse_port` several listeners of this process share the address and the kernel spreads new
/// connections over them by a hash (`SO_REUSEPORT`). Threads that shall hold about as many each share one listener
/// instead, and accept in turn ([`Turns`](crate::Turns)). Bind the first with port 0 to let the kernel choose, then the
/// others with the port it chose.
pub fn bind(address: SocketAddr, reuse_port: bool) -> Result<TcpListener, ListenError> {
    listen(address, reuse_port).map_err(|source| ListenError::Tcp { address, source })
}

/// Listens without TLS on a loopback address: for development, where a Unix socket is not at hand.
///
/// The caller decides whether development is allowed (design §6, *Local hops*); the type proves that nobody
/// outside this machine can reach the socket.
pub fn bind_loopback(address: SocketAddr, reuse_port: bool) -> Result<LoopbackListener, ListenError> {
    if !address.ip().to_canonical().is_loopback() {
        return Err(ListenError::NotLoopback { address });
    }
    bind(address, reuse_port).map(LoopbackListener)
}

/// Listens on a Unix socket at `path` with the file mode `mode` (for example `0o660`).
///
/// A socket file that nobody listens on any more (left by a crash) is replaced; a file of another kind, or a
/// socket that is in use, is an error.
pub fn bind_unix(path: &Path, mode: u32) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Unix { path: path.to_owned(), source };
    remove_stale_socket(path)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener)
}

/// A plaintext TCP listener that only processes of this machine can reach.
#[derive(Debug)]
pub struct LoopbackListener(pub(crate) TcpListener);

impl LoopbackListener {
    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A listener for hops that stay on this machine.
#[derive(Debug)]
pub enum LocalListener {
    /// Each peer is the uid that the kernel names.
    Unix(UnixListener),
    /// Peers prove nothing; development only.
    Loopback(LoopbackListener),
}

/// Why we cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The TCP socket could not be bound.
    #[error("cannot listen on {address}: {source}; is the port taken or the address not of this machine?")]
    Tcp {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Plaintext was asked for on an address that others can reach.
    #[error(
        "refusing to listen without TLS on {address}: only loopback addresses may (design §6, local hops)"
    )]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The Unix socket could not be bound.
    #[error("cannot listen on unix socket {path}: {source}")]
    Unix {
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process listens there.
    #[error("unix socket {path} is in use by another process; stop it or choose another path")]
    UnixInUse {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path holds something that we must not delete.
    #[error("{path} exists and is not a socket; remove it or choose another path")]
    UnixNotASocket {
        /// The path asked for.
        path: PathBuf,
    },
}

/// Sets what every TCP connection of the mesh needs, accepted or opened.
pub(crate) fn tune(socket: &TcpStream) -> io::Result<()> {
    // HTTP/2 writes whole frames; waiting for more to fill a packet only delays the answer.
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_millis(TCP_KEEPALIVE_IDLE_MS))
        .with_interval(Duration::from_millis(TCP_KEEPALIVE_PAUSE_MS));
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(Duration::from_millis(TCP_UNANSWERED_MAX_MS)))
}

fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted process must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG_MAX)?;
    TcpListener::from_std(socket.into())
}

fn remove_stale_socket(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Unix { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            Err(ListenError::UnixNotASocket { path: path.to_owned() })
        }
        // Only a refused connection proves that nobody listens; any doubt leaves the file alone.
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)
            }
            Err(error) => Err(failed(error)),
            Ok(_) => Err(ListenError::UnixInUse { path: path.to_owned() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn listeners_share_a_port_only_when_asked() {
        let first = bind("127.0.0.1:0".parse().unwrap(), true).unwrap();
        let address = first.local_addr().unwrap();
        let _second = bind(address, true).unwrap();
        let refused = bind(address, false).unwrap_err();
        assert!(refused.to_string().contains("cannot listen on 127.0.0.1"), "{refused}");
    }

    #[tokio::test]
    async fn plaintext_stays_on_this_machine() {
        let refused = bind_loopback("0.0.0.0:0".parse().unwrap(), false).unwrap_err();
        assert!(matches!(refused, ListenError::NotLoopback { .. }));
        bind_loopback("127.0.0.1:0".parse().unwrap(), false).unwrap();
        bind_loopback("[::1]:0".parse().unwrap(), false).map(|_| ()).or_else(without_ipv6).unwrap();
    }

    fn without_ipv6(error: ListenError) -> Result<(), ListenError> {
        match &error {
            ListenError::Tcp { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable => Ok(()),
            _ => Err(error),
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_a_live_one_and_a_file_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.sock");
        drop(bind_unix(&path, 0o600).unwrap());
        let live = bind_unix(&path, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(bind_unix(&path, 0o600), Err(ListenError::UnixInUse { .. })));
        drop(live);
        let file = folder.path().join("precious");
        std::fs::write(&file, "data").unwrap();
        assert!(matches!(bind_unix(&file, 0o600), Err(ListenError::UnixNotASocket { .. })));
        assert_eq!(std::fs::read(&file).unwrap(), b"data");
    }
}
