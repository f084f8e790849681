//! Signing and verifying with official-use keys.
//!
//! The algorithm always follows from the key, never from the message: a signature cannot talk a verifier
//! into a weaker scheme. [`Signer`] is a trait because the key may live in a file or in a token (PKCS #11).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::PrivateKeyDer;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};
use crate::token::TokenError;

/// A key that signs. Cheap to share behind an `Arc`.
pub trait Signer: Send + Sync {
    /// Signs `message` (hashed inside, where the algorithm hashes).
    ///
    /// # Errors
    /// [`SignError`] if the key or the token behind it cannot sign now.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// The same, where it may be known for whom: a key that keeps others waiting serves us before strangers.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    fn sign_for(&self, message: &[u8], errand: &Errand) -> Result<Vec<u8>, SignError> {
        let _ = errand;
        self.sign(message)
    }

    /// The algorithm of every signature this key makes.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// The public key as DER `SubjectPublicKeyInfo`, as [`verify`] takes it.
    fn spki_der(&self) -> &[u8];

    /// True where a signature may have to wait for a device: never on a thread that serves others meanwhile.
    fn may_wait(&self) -> bool {
        false
    }

    /// Why the newest signature failed, where it did.
    fn trouble(&self) -> Option<SignError> {
        None
    }
}

/// For whom a key signs, and whether they still wait. Clones are the same errand.
#[derive(Debug, Clone, Default)]
pub struct Errand {
    for_stranger: bool,
    abandoned: Arc<AtomicBool>,
}

impl Errand {
    /// Ours: a batch, a connection that we begin.
    pub fn own() -> Errand {
        Errand::default()
    }

    /// Of somebody who knocked, and of whom nothing is known yet.
    pub fn for_stranger() -> Errand {
        Errand { for_stranger: true, ..Errand::default() }
    }

    /// True where somebody knocked.
    pub fn is_for_stranger(&self) -> bool {
        self.for_stranger
    }

    /// Nobody waits any more: what is not signed yet need not be.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// True once nobody waits.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

/// Checks `signature` over `message` under the public key `spki_der` (DER `SubjectPublicKeyInfo`).
///
/// # Errors
/// [`SignatureError`] if the key is not one the profile accepts, or the signature does not hold.
pub fn verify(spki_der: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let (rest, spki) = SubjectPublicKeyInfo::from_der(spki_der).map_err(|_| SignatureError::Key)?;
    if !rest.is_empty() {
        return Err(SignatureError::Key);
    }
    let key = KeyAlgorithm::of(&spki);
    let algorithm = key.signature_algorithm().ok_or(SignatureError::Algorithm(key))?;
    UnparsedPublicKey::new(verification(algorithm), &spki.subject_public_key.data)
        .verify(message, signature)
        .map_err(|_| SignatureError::Signature)
}

/// A key that could not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The cryptographic library refused.
    #[error("the {0} key could not sign: the cryptographic library reported a failure")]
    Library(SignatureAlgorithm),
    /// The token did not.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// A signature that does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The public key is not a DER `SubjectPublicKeyInfo`.
    #[error("the public key is not a well-formed SubjectPublicKeyInfo in DER")]
    Key,
    /// The profile does not accept this kind or size of key.
    #[error("a {0} key is not accepted; use Ed25519, ECDSA P-256 or P-384, or RSA of 2048 to 8192 bits")]
    Algorithm(KeyAlgorithm),
    /// The signature was not made by this key over this message.
    #[error("the signature does not match the message and the key")]
    Signature,
}

/// A private key read from a file.
pub(crate) struct FileSigner {
    key: PrivateKey,
    algorithm: SignatureAlgorithm,
    spki_der: Vec<u8>,
}

impl FileSigner {
    /// Takes `key` for the public key `spki_der`; `None` if it is not a private key of that kind. Whether it
    /// is *the* private key shows when it signs.
    pub(crate) fn new(key: &PrivateKeyDer<'_>, spki_der: &[u8]) -> Option<FileSigner> {
        let algorithm = KeyAlgorithm::of_spki(spki_der)?.signature_algorithm()?;
        let key = PrivateKey::read(key, algorithm)?;
        Some(FileSigner { key, algorithm, spki_der: spki_der.to_vec() })
    }
}

impl Signer for FileSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.key.sign(message).ok_or(SignError::Library(self.algorithm))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }
}

enum PrivateKey {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    fn read(key: &PrivateKeyDer<'_>, algorithm: SignatureAlgorithm) -> Option<PrivateKey> {
        match (algorithm, key) {
            (SignatureAlgorithm::Ed25519, PrivateKeyDer::Pkcs8(der)) => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).ok().map(Self::Ed25519)
            }
            (SignatureAlgorithm::EcdsaP256Sha256, key) => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der())
                    .ok()
                    .map(Self::Ecdsa)
            }
            (SignatureAlgorithm::EcdsaP384Sha384, key) => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, key.secret_der())
                    .ok()
                    .map(Self::Ecdsa)
            }
            (SignatureAlgorithm::RsaPssSha256, PrivateKeyDer::Pkcs8(der)) => {
                RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok().map(Self::Rsa)
            }
            (SignatureAlgorithm::RsaPssSha256, PrivateKeyDer::Pkcs1(der)) => {
                RsaKeyPair::from_der(der.secret_pkcs1_der()).ok().map(Self::Rsa)
            }
            _ => None,
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Ed25519(key) => key.try_sign(message).ok().map(|signature| signature.as_ref().to_vec()),
            Self::Ecdsa(key) => key.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA256, &random, message, &mut signature).ok().map(|()| signature)
            }
        }
    }
}

fn verification(algorithm: SignatureAlgorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        SignatureAlgorithm::Ed25519 => &ED25519,
        SignatureAlgorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
        SignatureAlgorithm::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
        SignatureAlgorithm::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            spki in proptest::collection::vec(any::<u8>(), 0..512),
            message in proptest::collection::vec(any::<u8>(), 0..64),
            signature in proptest::collection::vec(any::<u8>(), 0..512),
        ) {
            prop_assert!(verify(&spki, &message, &signature).is_err());
        }
    }
}
