//! Our own certificate and key, and the trust by which others are judged; replaced without a restart.
//!
//! **Each handshake gets its own rustls configuration.** The judge's verdict (the peer's certificate, or the
//! refusal) then lands where this one handshake finds it, and the chain is judged once, not twice. It costs
//! a few microseconds beside some 300 µs of handshake.
//!
//! **No resumption, on either side.** A resumed session skips the certificate, so it would carry a judgement
//! made under older trust past a revocation. We issue no tickets, keep no session, offer none, take no
//! early data.

use std::borrow::Borrow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use lienthong_certs::{CertificateRefusal, Credentials, Judge, Signer};
use rustls::client::Resumption;
use rustls::client::danger::DangerousClientConfigBuilder;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::own_key::{OwnKey, Strangers, Turn};
use crate::peer::Peer;
use crate::verifier::{ClientVerifier, ServerVerifier, Verdict};

/// The only application protocol of the mesh (ALPN id, RFC 7301).
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";

/// What callers of plain HTTP may speak instead.
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// What a listener speaks behind its TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tongue {
    /// HTTP/2 alone, and it must be offered: the mesh itself.
    Http2,
    /// HTTP/2 or HTTP/1.1; the first bytes tell where nothing was offered.
    AnyHttp,
}

impl Tongue {
    /// What is offered, the best first.
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http2 => vec![ALPN_HTTP2.to_vec()],
            Self::AnyHttp => vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()],
        }
    }

    /// Whether what was agreed will do.
    pub(crate) fn takes(self, agreed: Option<&[u8]>) -> bool {
        self == Self::AnyHttp || agreed == Some(ALPN_HTTP2)
    }
}

/// One certificate with its key, and the judge of others: everything a handshake needs.
#[derive(Clone)]
pub struct TlsMaterial {
    chain: Vec<CertificateDer<'static>>,
    signer: Arc<dyn Signer>,
    identity: Arc<SingleCertAndKey>,
    judge: Arc<Judge>,
    server: ConfigBuilder<ServerConfig, WantsVerifier>,
    client: ConfigBuilder<ClientConfig, WantsVerifier>,
}

impl TlsMaterial {
    /// Prepares the material.
    pub fn new(
        credentials: impl Borrow<Credentials>,
        judge: impl Into<Arc<Judge>>,
    ) -> Result<Self, MaterialError> {
        let credentials = credentials.borrow();
        let provider = Arc::clone(&PROVIDER);
        // That the key fits the certificate was seen when the credentials were made.
        let (chain, signer) = (credentials.chain().to_vec(), credentials.signer());
        let identity = identity(chain.clone(), &signer, None);
        let versions = &[&rustls::version::TLS13];
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(MaterialError::Provider)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(MaterialError::Provider)?;
        Ok(Self { chain, signer, identity, judge: judge.into(), server, client })
    }

    /// Our certificate for one handshake. Only a key that may keep it waiting must know for whom it signs.
    fn identity(&self, turn: Option<&Arc<Turn>>) -> Arc<SingleCertAndKey> {
        match turn {
            Some(turn) => identity(self.chain.clone(), &self.signer, Some(Arc::clone(turn))),
            None => Arc::clone(&self.identity),
        }
    }

    /// The configuration of one handshake that we accept; the verdict on the peer lands in `verdict`.
    fn server_config(
        &self,
        tongue: Tongue,
        verdict: &Verdict,
        turn: Option<&Arc<Turn>>,
    ) -> Arc<ServerConfig> {
        let verifier = ClientVerifier::new(Arc::clone(&self.judge), algorithms(), verdict.clone());
        let mut config = self
            .server
            .clone()
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(self.identity(turn));
        config.alpn_protocols = tongue.alpn();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    }

    /// The configuration of one handshake that we begin; the verdict on the peer lands in `verdict`.
    fn client_config(
        &self,
        expected: Option<ServerName<'static>>,
        verdict: &Verdict,
        turn: Option<&Arc<Turn>>,
    ) -> Arc<ClientConfig> {
        let verifier = ServerVerifier::new(Arc::clone(&self.judge), algorithms(), expected, verdict.clone());
        let builder = DangerousClientConfigBuilder { cfg: self.client.clone() };
        let mut config = builder
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(self.identity(turn) as _);
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial").finish_non_exhaustive()
    }
}

/// The material in use: a cheap handle shared by all listeners and channels of a process.
#[derive(Clone, Debug)]
pub struct SharedMaterial {
    newest: Arc<ArcSwap<Edition>>,
    strangers: Strangers,
}

impl SharedMaterial {
    /// A handle that starts with `material`.
    pub fn new(material: TlsMaterial) -> Self {
        let material = Arc::new(material);
        let newest = Arc::new(ArcSwap::from_pointee(Edition { number: 0, material }));
        Self { newest, strangers: Strangers::default() }
    }

    /// Uses `material` for every handshake from now on; handshakes under way end under the old one.
    ///
    /// Live connections stay. Follow with [`Connections::close_refused`](crate::Connections::close_refused),
    /// which closes those that the new judge no longer accepts. No connection slips between the two: a
    /// handshake judged under an older edition is judged again once it is registered.
    pub fn replace(&self, material: TlsMaterial) {
        let material = Arc::new(material);
        self.newest.rcu(|current| Edition { number: current.number + 1, material: Arc::clone(&material) });
    }

    /// The same with our present certificate and key: only the judge is another. Whatever is wrong with newer files of ours,
    /// news about others takes effect.
    pub fn judge_by(&self, judge: &Arc<Judge>) {
        self.newest.rcu(|current| {
            let material = TlsMaterial { judge: Arc::clone(judge), ..TlsMaterial::clone(&current.material) };
            Edition { number: current.number + 1, material: Arc::new(material) }
        });
    }

    /// How often the material was replaced.
    pub fn edition(&self) -> u64 {
        self.newest.load().number
    }

    /// Judges a live peer's certificate again, by today's clock and the present trust. Local peers pass.
    pub fn judge_again(&self, peer: &Peer) -> Result<(), CertificateRefusal> {
        if peer.chain().is_empty() {
            return Ok(());
        }
        self.newest.load().material.judge.judge(peer.chain(), peer.usage(), UnixTime::now()).map(|_| ())
    }

    /// The judge in force.
    pub fn judge(&self) -> Arc<Judge> {
        Arc::clone(&self.newest.load().material.judge)
    }

    /// For one handshake that we accept.
    pub(crate) fn for_accept(&self, tongue: Tongue, verdict: &Verdict) -> Prepared<ServerConfig> {
        let edition = self.newest.load();
        let material = &edition.material;
        let turn = material.signer.may_wait().then(|| Turn::of_stranger(&self.strangers));
        let config = material.server_config(tongue, verdict, turn.as_ref());
        Prepared { config, turn, edition: edition.number }
    }

    /// For one handshake that we begin.
    pub(crate) fn for_connect(
        &self,
        expected: Option<ServerName<'static>>,
        verdict: &Verdict,
    ) -> Prepared<ClientConfig> {
        let edition = self.newest.load();
        let material = &edition.material;
        let turn = material.signer.may_wait().then(Turn::ours);
        let config = material.client_config(expected, verdict, turn.as_ref());
        Prepared { config, turn, edition: edition.number }
    }
}

/// What one handshake goes by.
pub(crate) struct Prepared<Config> {
    pub(crate) config: Arc<Config>,
    /// There is one where our key may keep the handshake waiting.
    pub(crate) turn: Option<Arc<Turn>>,
    /// The edition that it is judged under.
    pub(crate) edition: u64,
}

/// Why a certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The cryptographic library lacks TLS 1.3: a build fault.
    #[error("the cryptographic provider offers no usable tls 1.3: {0}")]
    Provider(#[source] rustls::Error),
}

#[derive(Debug)]
struct Edition {
    number: u64,
    material: Arc<TlsMaterial>,
}

/// aws-lc-rs with the hybrid post-quantum key exchange first: what is recorded today must not be readable by
/// a quantum computer later. It costs no more than X25519 (measured), whose share is sent along.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    Arc::new(provider)
});

fn algorithms() -> rustls::crypto::WebPkiSupportedAlgorithms {
    PROVIDER.signature_verification_algorithms
}

fn identity(
    chain: Vec<CertificateDer<'static>>,
    signer: &Arc<dyn Signer>,
    turn: Option<Arc<Turn>>,
) -> Arc<SingleCertAndKey> {
    let key = OwnKey { signer: Arc::clone(signer), turn };
    Arc::new(CertifiedKey::new(chain, Arc::new(key)).into())
}
