//! The mesh's own keys: Ed25519, made by the mesh, named by their public half in the mesh trust file.
//!
//! The rights bundle and the log are each signed by such a key, never by a TLS key (design §6, *Trust*): an
//! official-use certificate says *who*, a mesh key says *this mesh decided it*.

use std::path::Path;

use aws_lc_rs::signature::{
    ED25519, ED25519_PUBLIC_KEY_LEN, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::algorithm::SignatureAlgorithm;
use crate::files::{self, FileError};
use crate::signer::{SignError, SignatureError, Signer};

/// Bytes of an Ed25519 public key.
pub const PUBLIC_KEY_BYTES: usize = ED25519_PUBLIC_KEY_LEN;
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// DER of a `SubjectPublicKeyInfo` up to the 32 bytes of an Ed25519 key (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_LINE_CHARS: usize = 64;

/// One Ed25519 key pair of the mesh.
pub struct MeshKey {
    key: Ed25519KeyPair,
    spki_der: Vec<u8>,
}

impl MeshKey {
    /// Makes a new random key.
    ///
    /// # Errors
    /// [`MeshKeyError::Library`] if the system's randomness fails.
    pub fn generate() -> Result<MeshKey, MeshKeyError> {
        Ed25519KeyPair::generate().map_err(|_| MeshKeyError::Library).map(Self::of)
    }

    /// Reads a key from a PEM file (PKCS #8) of mode 0600 or stricter.
    ///
    /// # Errors
    /// [`MeshKeyError`] if the file cannot be read, is open to others, or holds no Ed25519 key.
    pub fn load(path: &Path) -> Result<MeshKey, MeshKeyError> {
        let PrivateKeyDer::Pkcs8(der) = files::private_key(path)? else {
            return Err(MeshKeyError::NotEd25519(path.display().to_string()));
        };
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map_err(|_| MeshKeyError::NotEd25519(path.display().to_string()))
            .map(Self::of)
    }

    /// Writes the key to a new PEM file of mode 0600; never overwrites one.
    ///
    /// # Errors
    /// [`MeshKeyError::File`], also if the file exists.
    pub fn save(&self, path: &Path) -> Result<(), MeshKeyError> {
        // PKCS #8 version 1, the form every other tool reads.
        let der = self.key.to_pkcs8v1().map_err(|_| MeshKeyError::Library)?;
        files::create_private(path, private_pem(der.as_ref()).as_bytes())?;
        Ok(())
    }

    /// Signs `message` (RFC 8032, no pre-hash).
    ///
    /// # Errors
    /// [`SignError`] if the cryptographic library fails.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignError> {
        let failed = SignError::Library(SignatureAlgorithm::Ed25519);
        let signature = self.key.try_sign(message).map_err(|_| failed.clone())?;
        signature.as_ref().try_into().map_err(|_| failed)
    }

    /// The public half, raw.
    pub fn public_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        let mut public = [0; PUBLIC_KEY_BYTES];
        public.copy_from_slice(self.key.public_key().as_ref());
        public
    }

    fn of(key: Ed25519KeyPair) -> MeshKey {
        let spki_der = [&SPKI_PREFIX[..], key.public_key().as_ref()].concat();
        MeshKey { key, spki_der }
    }
}

impl Signer for MeshKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        MeshKey::sign(self, message).map(|signature| signature.to_vec())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::Ed25519
    }

    fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }
}

impl std::fmt::Debug for MeshKey {
    /// Shows the public half only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshKey").field("public_key", &hex::encode(self.public_key())).finish_non_exhaustive()
    }
}

/// Checks an Ed25519 signature under a raw public key.
///
/// # Errors
/// [`SignatureError::Signature`] if it does not hold.
pub fn verify(
    public_key: &[u8; PUBLIC_KEY_BYTES],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    UnparsedPublicKey::new(&ED25519, public_key)
        .verify(message, signature)
        .map_err(|_| SignatureError::Signature)
}

/// A mesh key that cannot be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum MeshKeyError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds another kind of key.
    #[error("{0} does not hold an Ed25519 private key in PKCS #8; mesh keys are Ed25519 only")]
    NotEd25519(String),
    /// Randomness or encoding failed inside the cryptographic library.
    #[error("the cryptographic library could not make the key")]
    Library,
}

/// A `PRIVATE KEY` PEM section; every intermediate copy is wiped.
fn private_pem(der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(BASE64.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(encoded.len() * 2 + 64));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index % PEM_LINE_CHARS == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_survives_its_file_and_both_verifiers_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.key");
        let key = MeshKey::generate().unwrap();
        key.save(&path).unwrap();
        let again = MeshKey::load(&path).unwrap();
        assert_eq!(again.public_key(), key.public_key());

        let signature = again.sign(b"epoch 7").unwrap();
        verify(&key.public_key(), b"epoch 7", &signature).unwrap();
        crate::signer::verify(key.spki_der(), b"epoch 7", &signature).unwrap();
        assert_eq!(verify(&key.public_key(), b"epoch 8", &signature), Err(SignatureError::Signature));
        assert_eq!(verify(&key.public_key(), b"epoch 7", &signature[..63]), Err(SignatureError::Signature));
    }

    #[test]
    fn a_key_file_is_private_unique_and_ed25519() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.key");
        let key = MeshKey::generate().unwrap();
        key.save(&path).unwrap();
        assert!(key.save(&path).is_err(), "a second save must not overwrite");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(MeshKey::load(&path), Err(MeshKeyError::File(FileError::Permissions { .. }))));

        let other = folder.path().join("p256.key");
        let ecdsa = rcgen::KeyPair::generate().unwrap();
        files::create_private(&other, ecdsa.serialize_pem().as_bytes()).unwrap();
        assert!(matches!(MeshKey::load(&other), Err(MeshKeyError::NotEd25519(_))));
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }
}
