//! A bounded HTTP/1.1 server for what is not the mesh: the admin pages, the gateway's public pages.
//!
//! It has no TLS: it listens inside the machine, or behind the operator's reverse proxy. It expects strangers all the
//! same: the number of connections, the time for a request's head, its size, and a connection's whole life are bounded.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Connections at the same time; further ones wait unaccepted.
pub const CONNECTIONS_MAX: usize = 256;

/// From the start of a connection, or the end of a request, to the end of the next request's head.
pub const HEAD_TIMEOUT_MS: u64 = 10_000;

/// Age at which a connection is closed, whatever it is doing: a reader slower than this gets no answer.
pub const CONNECTION_AGE_MAX_MS: u64 = 120_000;

/// Bytes of a request's head, and of what is buffered for one connection.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Header fields of a request.
pub const HEADERS_MAX: usize = 64;

/// How long requests in flight may go on after shutdown began.
pub const DRAIN_MS: u64 = 5_000;

/// Pause after the system refused to accept (no file descriptors left, for example).
const ACCEPT_PAUSE_MS: u64 = 50;

/// Serves `router` on `listener` until `shutdown` ends, then finishes what is in flight (at most [`DRAIN_MS`]).
///
/// Each request carries the peer's address as [`ConnectInfo`].
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stopping = CancellationToken::new();
    let connections = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let arrival = async {
            // The semaphore is never closed, so there is always a seat in the end.
            let seat = Arc::clone(&seats).acquire_owned().await;
            (seat, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            (seat, accepted) = arrival => match accepted {
                Ok((stream, peer)) => {
                    let life = connection(stream, peer, router.clone(), stopping.clone());
                    connections.spawn(async move {
                        life.await;
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            },
        }
    }
    drop(listener);
    stopping.cancel();
    connections.close();
    if timeout(Duration::from_millis(DRAIN_MS), connections.wait()).await.is_err() {
        tracing::debug!(left = connections.len(), "connections were cut at shutdown");
    }
}

/// One connection's life. Dropping it closes the connection.
async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, stopping: CancellationToken) {
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_TIMEOUT_MS))
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let age = sleep(Duration::from_millis(CONNECTION_AGE_MAX_MS));
    let outcome = tokio::select! {
        outcome = &mut serving => outcome,
        () = age => return,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                outcome = serving => outcome,
                () = sleep(Duration::from_millis(DRAIN_MS)) => return,
            }
        }
    };
    if let Err(error) = outcome {
        // Strangers come and go; a broken request is no event of ours.
        tracing::trace!(%peer, %error, "connection ended");
    }
}
