//! A role's own certificate chain and private key, checked to belong together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroize as _;

use crate::certificate::{PeerCertificate, ProfileError};
use crate::files::{self, FileError};
use crate::signer::{self, FileSigner, Signer};

/// Most certificates in a chain: the leaf, its authorities, and one root sent along needlessly.
pub const CHAIN_CERTIFICATES_MAX: usize = 5;

/// Signed once at load, to see that the key and the certificate are two halves of one pair.
const PROBE: &[u8] = b"lienthong: does this key belong to this certificate?";

/// A certificate chain and the key to its leaf. Whether a peer would accept it is for a judge to say.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    certificate: PeerCertificate,
    key: WipedKey,
    signer: Arc<dyn Signer>,
}

impl Credentials {
    /// Reads a PEM chain (leaf first, then its intermediates) and the PEM private key of the leaf
    /// (PKCS #8, SEC 1 or PKCS #1; mode 0600 or stricter).
    ///
    /// # Errors
    /// [`CredentialsError`] if a file cannot be used, the leaf cannot be read, or the key is not the leaf's.
    pub fn load(cert_pem: &Path, key_pem: &Path) -> Result<Credentials, CredentialsError> {
        let chain = files::certificates(cert_pem)?;
        if chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(CredentialsError::ChainTooLong { path: cert_pem.to_owned(), count: chain.len() });
        }
        let certificate = PeerCertificate::read(&chain)
            .map_err(|source| CredentialsError::Certificate { path: cert_pem.to_owned(), source })?;
        let key = WipedKey(files::private_key(key_pem)?);
        let mismatch = || CredentialsError::KeyMismatch {
            certificate: cert_pem.to_owned(),
            key: key_pem.to_owned(),
            algorithm: certificate.key_algorithm.to_string(),
        };
        let signer = FileSigner::new(&key.0, &certificate.spki_der).ok_or_else(mismatch)?;
        let proof = signer.sign(PROBE).map_err(|_| mismatch())?;
        signer::verify(&certificate.spki_der, PROBE, &proof).map_err(|_| mismatch())?;
        Ok(Credentials { chain, certificate, key, signer: Arc::new(signer) })
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// A copy of the private key, for the TLS library.
    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        self.key.0.clone_key()
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
        /// The file of the key.
        key: PathBuf,
        /// The kind of key the certificate holds.
        algorithm: String,
    },
}

struct WipedKey(PrivateKeyDer<'static>);

impl Drop for WipedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
