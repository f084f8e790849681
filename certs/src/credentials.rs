//! A role's own certificate chain and private key, checked to belong together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize as _;

use crate::certificate::{PeerCertificate, ProfileError};
use crate::files::{self, FileError};
use crate::key_source::{KeySource, TokenSection};
use crate::signer::{self, FileSigner, SignError, SignatureError, Signer};
use crate::token::{TokenError, TokenSigner};

/// Most certificates in a chain: the leaf, its authorities, and one root sent along needlessly.
pub const CHAIN_CERTIFICATES_MAX: usize = 5;

/// Signed once at load, to see that the key and the certificate are two halves of one pair.
const PROBE: &[u8] = b"lienthong: does this key belong to this certificate?";

/// A certificate chain and the key to its leaf. Whether a peer would accept it is for a judge to say.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    certificate: PeerCertificate,
    /// `None`: the key stays in its token.
    key: Option<WipedKey>,
    signer: Arc<dyn Signer>,
}

impl Credentials {
    /// Reads a PEM chain (leaf first, then its intermediates), and takes the private key of the leaf from where it lives.
    /// A token signs once, so that this may take as long as a token does.
    ///
    /// # Errors
    /// [`CredentialsError`] if a file or token cannot be used, the leaf cannot be read, or the key is not the leaf's.
    pub fn open(cert_pem: &Path, key: &KeySource) -> Result<Credentials, CredentialsError> {
        match key {
            KeySource::File(key_pem) => Credentials::load(cert_pem, key_pem),
            KeySource::Token(TokenSection { pkcs11 }) => {
                let (chain, certificate) = read_chain(cert_pem)?;
                let signer = TokenSigner::open(pkcs11, &certificate.spki_der)?;
                let credentials = Credentials { chain, certificate, key: None, signer: Arc::new(signer) };
                credentials.prove(cert_pem, key)
            }
        }
    }

    /// Reads a PEM chain (leaf first, then its intermediates) and the PEM private key of the leaf
    /// (PKCS #8, SEC 1 or PKCS #1; mode 0600 or stricter).
    ///
    /// # Errors
    /// As [`Credentials::open`].
    pub fn load(cert_pem: &Path, key_pem: &Path) -> Result<Credentials, CredentialsError> {
        let (chain, certificate) = read_chain(cert_pem)?;
        let source = KeySource::from(key_pem);
        let key = WipedKey(files::private_key(key_pem)?);
        let signer = FileSigner::new(&key.0, &certificate.spki_der)
            .ok_or_else(|| mismatch(cert_pem, &source, &certificate))?;
        let credentials = Credentials { chain, certificate, key: Some(key), signer: Arc::new(signer) };
        credentials.prove(cert_pem, &source)
    }

    /// A chain and any signer of its leaf's key, which is not tried.
    ///
    /// # Errors
    /// [`ProfileError`] if the leaf cannot be read.
    pub fn with_signer(
        chain: Vec<CertificateDer<'static>>,
        signer: Arc<dyn Signer>,
    ) -> Result<Credentials, ProfileError> {
        let certificate = PeerCertificate::read(&chain)?;
        Ok(Credentials { chain, certificate, key: None, signer })
    }

    /// Signs once, to see that key and certificate are two halves of one pair.
    fn prove(self, cert_pem: &Path, key: &KeySource) -> Result<Credentials, CredentialsError> {
        let mismatched = || mismatch(cert_pem, key, &self.certificate);
        let proof = self.signer.sign(PROBE).map_err(|error| match error {
            SignError::Token(error) => CredentialsError::Token(error),
            SignError::Library(_) => mismatched(),
        })?;
        signer::verify(&self.certificate.spki_der, PROBE, &proof)
            .map_err(|_: SignatureError| mismatched())?;
        Ok(self)
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// A copy of the private key; `None` where it stays in its token.
    pub fn key_der(&self) -> Option<PrivateKeyDer<'static>> {
        self.key.as_ref().map(|key| key.0.clone_key())
    }

    /// What the leaf says.
    pub fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }

    /// The key as a signer of records and requests.
    pub fn signer(&self) -> Arc<dyn Signer> {
        Arc::clone(&self.signer)
    }
}

impl std::fmt::Debug for Credentials {
    /// Shows whose they are, never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read as it should.
    #[error(transparent)]
    File(#[from] FileError),
    /// The token with the key.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The leaf cannot be read.
    #[error("{path}: {source}")]
    Certificate {
        /// The file of the chain.
        path: PathBuf,
        /// What is wrong with its first certificate.
        source: ProfileError,
    },
    /// More certificates than [`CHAIN_CERTIFICATES_MAX`].
    #[error("{path} holds {count} certificates; a chain has at most {CHAIN_CERTIFICATES_MAX}, leaf first")]
    ChainTooLong {
        /// The file of the chain.
        path: PathBuf,
        /// How many it holds.
        count: usize,
    },
    /// The key is another certificate's, or of a kind the profile does not accept.
    #[error(
        "the key in {key} is not the {algorithm} key of the first certificate in {certificate}; \
             give the key made with that certificate's request, and put the leaf first"
    )]
    KeyMismatch {
        /// The file of the chain.
        certificate: PathBuf,
        /// Where the key lives, in words.
        key: String,
        /// The kind of key the certificate holds.
        algorithm: String,
    },
}

fn read_chain(cert_pem: &Path) -> Result<(Vec<CertificateDer<'static>>, PeerCertificate), CredentialsError> {
    let chain = files::certificates(cert_pem)?;
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        return Err(CredentialsError::ChainTooLong { path: cert_pem.to_owned(), count: chain.len() });
    }
    let certificate = PeerCertificate::read(&chain)
        .map_err(|source| CredentialsError::Certificate { path: cert_pem.to_owned(), source })?;
    Ok((chain, certificate))
}

fn mismatch(cert_pem: &Path, key: &KeySource, certificate: &PeerCertificate) -> CredentialsError {
    CredentialsError::KeyMismatch {
        certificate: cert_pem.to_owned(),
        key: key.to_string(),
        algorithm: certificate.key_algorithm.to_string(),
    }
}

struct WipedKey(PrivateKeyDer<'static>);

impl Drop for WipedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
