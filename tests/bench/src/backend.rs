//! The provider's backend, the same for every contestant: a bare HTTP/2 server that knows two questions by their bytes
//! and answers each with bytes made at start.
//!
//! As light as can be, so that what stands before it is what is measured.

use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::exchange::{Exchange, PAYLOADS_BYTES};
use crate::http2::{self, Collected};
use crate::pki::{Pki, Role};
use crate::threads::Servers;

/// gRPC status `INVALID_ARGUMENT`: the question is none of those that the backend knows.
const UNKNOWN_QUESTION: &str = "3";

/// Starts the backend.
pub fn start(pki: &Pki) -> anyhow::Result<Servers> {
    let config = pki.server_config(Role::Backend)?;
    let known = PAYLOADS_BYTES.iter().map(|bytes| Exchange::of(*bytes));
    let known: Arc<[Exchange]> = known.collect::<Option<_>>().context("a payload is too small")?;
    Servers::start("backend", move |listener| serve(listener, Arc::clone(&config), Arc::clone(&known)))
}

async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    known: Arc<[Exchange]>,
) -> anyhow::Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        let (acceptor, known) = (TlsAcceptor::from(Arc::clone(&config)), Arc::clone(&known));
        // A connection that breaks is its caller's affair: the load generator sees it and says so.
        tokio::spawn(async move { connection(socket, acceptor, known).await.ok() });
    }
}

async fn connection(socket: TcpStream, acceptor: TlsAcceptor, known: Arc<[Exchange]>) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let tls = acceptor.accept(socket).await?;
    let mut connection = http2::server().handshake::<_, Bytes>(tls).await?;
    while let Some(arrived) = connection.accept().await {
        let (request, respond) = arrived?;
        let known = Arc::clone(&known);
        tokio::spawn(async move { answer(request, respond, &known).await.ok() });
    }
    Ok(())
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    known: &[Exchange],
) -> Result<(), h2::Error> {
    let Collected { message, .. } = http2::collect(request.into_body()).await?;
    let mut response = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    let Some(exchange) = known.iter().find(|exchange| exchange.request == message) else {
        let status = HeaderValue::from_static(UNKNOWN_QUESTION);
        response.headers_mut().insert("grpc-status", status);
        respond.send_response(response, true)?;
        return Ok(());
    };
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(exchange.answer.clone(), false)?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}
