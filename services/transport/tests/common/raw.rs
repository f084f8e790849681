//! Peers that are none of ours: a TLS client that believes everybody, and HTTP/2 frame by frame (RFC 9113).

use std::sync::Arc;
use std::time::Duration;

use lienthong_certs::Credentials;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Mesh, Server};

/// What an HTTP/2 client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block that asks for `path`: three indexed fields and one literal (RFC 7541).
pub fn asks(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.as_bytes());
    block.extend([0x01, 9]);
    block.extend(b"localhost");
    block
}

/// A peer with a good certificate that speaks HTTP/2 by hand.
pub struct RawPeer {
    pub tls: TlsStream<TcpStream>,
}

/// A frame as it was read.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl RawPeer {
    /// Proves who it is and says the preface and its settings.
    pub async fn connect(mesh: &Mesh, server: &Server, name: &str) -> Self {
        let mut peer = Self::silent(mesh, server, name).await;
        peer.say(PREFACE).await;
        peer.say(&frame(SETTINGS, 0, 0, &[])).await;
        peer
    }

    /// Proves who it is, and no more.
    pub async fn silent(mesh: &Mesh, server: &Server, name: &str) -> Self {
        let issued = mesh.node("H26", name).credentials().unwrap();
        Self { tls: raw_tls(server, raw_config(Some(&issued), &[b"h2"])).await.unwrap() }
    }

    /// Writes; the other side may have had enough already.
    pub async fn say(&mut self, bytes: &[u8]) {
        let _ = self.tls.write_all(bytes).await;
        let _ = self.tls.flush().await;
    }

    /// Writes without end until the other side has had enough, or stops reading for as long as `patience`; returns how
    /// many times it wrote.
    pub async fn flood(&mut self, bytes: &[u8], times: usize, patience: Duration) -> usize {
        for time in 0..times {
            match tokio::time::timeout(patience, self.tls.write_all(bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return time,
            }
        }
        times
    }

    /// The next frame; `None` at the end of the connection, however it ends.
    pub async fn hear(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.tls.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.tls.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], stream, payload })
    }

    /// The next frame of one of these kinds.
    pub async fn hear_one_of(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.hear().await?;
            if kinds.contains(&frame.kind) {
                return Some(frame);
            }
        }
    }
}

impl Frame {
    /// The error code of a `RST_STREAM` or `GOAWAY`.
    pub fn code(&self) -> u32 {
        let last = self.payload.len().min(if self.kind == GOAWAY { 8 } else { 4 });
        u32::from_be_bytes(self.payload[last - 4..last].try_into().unwrap())
    }
}

/// A TLS client that is none of ours: it believes everybody.
pub fn raw_config(credentials: Option<&Credentials>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer));
    let mut config = match credentials {
        Some(own) => builder.with_client_auth_cert(own.chain().to_vec(), own.key_der().unwrap()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

pub async fn raw_tls(server: &Server, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(server.address).await?;
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), socket).await
}

#[derive(Debug)]
struct Believer;

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
