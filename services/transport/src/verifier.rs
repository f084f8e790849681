//! The judge of `lienthong-certs`, in the shape rustls asks for.
//!
//! Nothing is judged here. These types hand the chain to the [`Judge`], keep its full verdict for the
//! acceptor or connector, and tell rustls which alert the other side shall see (RFC 8446 §6.2). Signature
//! checks go to aws-lc-rs.

use std::fmt;
use std::sync::{Arc, OnceLock};

use lienthong_certs::{CertificateRefusal, Judge, PeerCertificate, Usage};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// The verdict of one handshake: empty until a certificate was judged.
#[derive(Clone, Default)]
pub(crate) struct Verdict(Arc<OnceLock<Result<Arc<PeerCertificate>, CertificateRefusal>>>);

impl Verdict {
    /// The accepted certificate.
    pub(crate) fn accepted(&self) -> Option<Arc<PeerCertificate>> {
        self.0.get().and_then(|verdict| verdict.as_ref().ok()).cloned()
    }

    /// Why the certificate was refused.
    pub(crate) fn refusal(&self) -> Option<&CertificateRefusal> {
        self.0.get().and_then(|verdict| verdict.as_ref().err())
    }

    fn judge(
        &self,
        judge: &Judge,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|certificate| CertificateDer::from(certificate.as_ref()))
            .collect();
        let judged = match role {
            Role::Client => judge.judge(&chain, Usage::Client, now),
            Role::Server { expected } => judge.judge(&chain, Usage::Server, now).and_then(|certificate| {
                expected.map_or(Ok(()), |name| Judge::judge_name(&chain, name)).map(|()| certificate)
            }),
        };
        // The slot belongs to one handshake, and TLS 1.3 asks once per handshake.
        match self.0.get_or_init(|| judged) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(Error::InvalidCertificate(alert_for(refusal))),
        }
    }
}

/// As what the other side presents its certificate.
#[derive(Clone, Copy)]
enum Role<'a> {
    Client,
    Server { expected: Option<&'a ServerName<'static>> },
}

/// Judges certificates of those who connect to us. Without one, rustls refuses by itself.
pub(crate) struct ClientVerifier {
    judge: Arc<Judge>,
    algorithms: WebPkiSupportedAlgorithms,
    verdict: Verdict,
}

impl ClientVerifier {
    pub(crate) fn new(judge: Arc<Judge>, algorithms: WebPkiSupportedAlgorithms, verdict: Verdict) -> Self {
        Self { judge, algorithms, verdict }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Every peer has one certificate for the mesh; a list of our anchors would only tell strangers about
        // us.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verdict.judge(&self.judge, end_entity, intermediates, Role::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Judges the certificate of a server we connect to, and its name where one is expected.
pub(crate) struct ServerVerifier {
    judge: Arc<Judge>,
    algorithms: WebPkiSupportedAlgorithms,
    expected: Option<ServerName<'static>>,
    verdict: Verdict,
}

impl ServerVerifier {
    pub(crate) fn new(
        judge: Arc<Judge>,
        algorithms: WebPkiSupportedAlgorithms,
        expected: Option<ServerName<'static>>,
        verdict: Verdict,
    ) -> Self {
        Self { judge, algorithms, expected, verdict }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let role = Role::Server { expected: self.expected.as_ref() };
        self.verdict.judge(&self.judge, end_entity, intermediates, role, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientVerifier")
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerVerifier(expected {:?})", self.expected)
    }
}

/// What the other side is told. It learns the kind of fault of its own certificate, not the configuration of
/// our trust.
fn alert_for(refusal: &CertificateRefusal) -> CertificateError {
    match refusal {
        CertificateRefusal::Expired { .. } => CertificateError::Expired,
        CertificateRefusal::NotYetValid { .. } => CertificateError::NotValidYet,
        CertificateRefusal::UnknownAuthority { .. } | CertificateRefusal::SelfSigned => {
            CertificateError::UnknownIssuer
        }
        CertificateRefusal::BadSignature => CertificateError::BadSignature,
        CertificateRefusal::Revoked { .. } => CertificateError::Revoked,
        CertificateRefusal::WrongUsage { .. } => CertificateError::InvalidPurpose,
        CertificateRefusal::WrongName { .. } => CertificateError::NotValidForName,
        CertificateRefusal::Malformed(_) => CertificateError::BadEncoding,
        CertificateRefusal::UnknownCriticalExtension => CertificateError::UnhandledCriticalExtension,
        // Well-formed and vouched for, but not by our rules: `access_denied`.
        CertificateRefusal::WeakSignature
        | CertificateRefusal::LifetimeTooLong { .. }
        | CertificateRefusal::KeyTooWeak { .. }
        | CertificateRefusal::BadSan(_)
        | CertificateRefusal::NameNotNormalised { .. }
        | CertificateRefusal::ChainTooLong
        | CertificateRefusal::WrongPlace
        | CertificateRefusal::NameConstraint
        | CertificateRefusal::DevelopmentCertificate => CertificateError::ApplicationVerificationFailure,
    }
}

fn no_tls12() -> Error {
    Error::General("tls 1.2 is not spoken in the mesh".to_owned())
}
