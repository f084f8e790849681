//! One connection of the consumer, and one call on it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Measurement, http2};
use crate::exchange::{DOSSIER, PATH, PURPOSE, STREAM_PATH, STREAM_PURPOSE};
use crate::pki::SERVER_NAME;

/// A connection with the call that is made on it again and again. Clones share the connection.
#[derive(Clone)]
pub struct Caller {
    sender: SendRequest<Bytes>,
    head: Request<()>,
    question: Bytes,
    expected: Bytes,
}

impl Caller {
    /// Connects, with mutual TLS.
    pub async fn connect(
        address: SocketAddr,
        config: Arc<rustls::ClientConfig>,
        measurement: &Measurement,
    ) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(SERVER_NAME)?;
        let tls = TlsConnector::from(config).connect(name, socket).await;
        let tls = tls.with_context(|| format!("no TLS with {address}"))?;
        let (sender, connection) = http2::client().handshake(tls).await?;
        // Its end is seen by the calls on it.
        tokio::spawn(async move { connection.await.ok() });
        Ok(Self {
            sender,
            head: head(PATH, PURPOSE)?,
            question: measurement.exchange.request.clone(),
            expected: measurement.expected(),
        })
    }

    /// Makes one call and checks its answer.
    pub async fn call(&mut self) -> anyhow::Result<()> {
        // Resolves at once while fewer calls are under way than the peer allows.
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(self.head.clone(), false)?;
        body.send_data(self.question.clone(), true)?;
        let (head, body) = response.await?.into_parts();
        let arrived = http2::collect(body).await?;
        let trailers = arrived.trailers.as_ref().unwrap_or(&head.headers);
        ensure!(
            head.status == StatusCode::OK && is_ok(trailers),
            "the call failed: {}",
            reason(head.status, trailers)
        );
        ensure!(
            arrived.message == self.expected,
            "a wrong answer: {} bytes where {} were expected, first difference at byte {}",
            arrived.message.len(),
            self.expected.len(),
            arrived.message.iter().zip(&self.expected).take_while(|(a, b)| a == b).count(),
        );
        Ok(())
    }

    /// Makes one call whose answer has many messages, and checks each as it arrives.
    pub async fn stream(&mut self, messages: usize) -> anyhow::Result<()> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(head(STREAM_PATH, STREAM_PURPOSE)?, false)?;
        body.send_data(self.question.clone(), true)?;
        let (head, mut body) = response.await?.into_parts();
        let mut arrived = 0;
        while let Some(data) = body.data().await {
            let mut data = data?;
            body.flow_control().release_capacity(data.len())?;
            while !data.is_empty() {
                let at = arrived % self.expected.len();
                let piece = data.split_to(data.len().min(self.expected.len() - at));
                ensure!(
                    piece == self.expected[at..at + piece.len()],
                    "a wrong answer: byte {arrived} or soon after"
                );
                arrived += piece.len();
            }
        }
        let trailers = body.trailers().await?;
        let trailers = trailers.as_ref().unwrap_or(&head.headers);
        ensure!(is_ok(trailers), "the stream failed: {}", reason(head.status, trailers));
        let expected = messages * self.expected.len();
        ensure!(arrived == expected, "a wrong answer: {arrived} bytes where {expected} were expected");
        Ok(())
    }
}

fn head(path: &str, purpose: &'static str) -> anyhow::Result<Request<()>> {
    let mut head = Request::post(format!("https://{SERVER_NAME}{path}")).body(())?;
    *head.version_mut() = http::Version::HTTP_2;
    let headers = head.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert("mesh-purpose", HeaderValue::from_static(purpose));
    headers.insert("mesh-dossier", HeaderValue::from_static(DOSSIER));
    Ok(head)
}

fn is_ok(trailers: &HeaderMap) -> bool {
    trailers.get("grpc-status").is_some_and(|status| status == "0")
}

fn reason(status: StatusCode, trailers: &HeaderMap) -> String {
    let text = |name| {
        trailers.get(name).map_or("absent", |value: &HeaderValue| value.to_str().unwrap_or("unreadable"))
    };
    format!("HTTP {status}, grpc-status {}, grpc-message {}", text("grpc-status"), text("grpc-message"))
}
