//! What the broker signs for nodes: bundles and heartbeats. Exact bytes in, exact bytes and a signature out.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use lienthong_audit::note::{KeyKind, NoteError, NoteSignature, VerifierKey};
use lienthong_certs::{MeshKey, SignError};
use lienthong_proto::lienthong::control::v1::{
    Heartbeat, RevocationState, RightsBundle, SignedBundle, SignedHeartbeat,
};
use prost::Message;
use prost_types::Timestamp;

/// What precedes the bundle's SHA-256 under the signature (rights.proto): a signature over a bundle is good for
/// nothing else.
pub const BUNDLE_CONTEXT: &[u8] = b"lienthong/rights-bundle/v1\n";

/// What precedes the heartbeat's bytes under the signature (rights.proto).
pub const HEARTBEAT_CONTEXT: &[u8] = b"lienthong/heartbeat/v1\n";

/// A SHA-256 hash.
pub type Sha256 = [u8; 32];

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Sha256 {
    let mut hash = Sha256::default();
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// The mesh's bundle key, under the name by which the trust file knows it.
#[derive(Clone, Debug)]
pub struct BundleSigner {
    mesh: Arc<str>,
    key_name: Arc<str>,
    key: Arc<MeshKey>,
}

impl BundleSigner {
    /// Signs for `mesh` with the key called `key_name`.
    pub fn new(mesh: &str, key_name: &str, key: MeshKey) -> BundleSigner {
        BundleSigner { mesh: mesh.into(), key_name: key_name.into(), key: Arc::new(key) }
    }

    /// The name by which the trust file knows the key.
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// The public half, raw.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.public_key()
    }

    /// Seals a bundle: from here on its bytes never change.
    ///
    /// # Errors
    /// [`SignError`] if the cryptographic library fails.
    pub fn seal(&self, bundle: &RightsBundle) -> Result<SealedBundle, SignError> {
        let bytes = bundle.encode_to_vec();
        let hash = sha256(&bytes);
        let signature = self.sign(BUNDLE_CONTEXT, &hash)?;
        let signed = SignedBundle { bundle: bytes, key_name: self.key_name.to_string(), signature };
        Ok(SealedBundle { audience: bundle.audience.clone(), epoch: bundle.epoch, hash, signed })
    }

    /// A sign of life for the node that should hold `bundle`, which carries these revocation lists, and the trust file of
    /// that version.
    ///
    /// # Errors
    /// [`SignError`] if the cryptographic library fails.
    pub fn heartbeat(
        &self,
        bundle: &SealedBundle,
        revocation: &[RevocationState],
        trust_version: u64,
        time: Timestamp,
    ) -> Result<SignedHeartbeat, SignError> {
        let heartbeat = Heartbeat {
            mesh: self.mesh.to_string(),
            time: Some(time),
            epoch: bundle.epoch,
            bundle_hash: bundle.hash.to_vec(),
            trust_version,
            revocation: revocation.to_vec(),
        }
        .encode_to_vec();
        let signature = self.sign(HEARTBEAT_CONTEXT, &heartbeat)?;
        Ok(SignedHeartbeat { heartbeat, key_name: self.key_name.to_string(), signature })
    }

    /// Signs a note's text (C2SP signed-note): a card.
    ///
    /// # Errors
    /// [`NoteSignError`].
    pub fn sign_note(&self, text: &str) -> Result<NoteSignature, NoteSignError> {
        let key = VerifierKey::new(&self.key_name, KeyKind::Ed25519, self.public_key())?;
        let bytes = self.key.sign(text.as_bytes())?.to_vec();
        Ok(NoteSignature { name: key.name().to_owned(), key_id: key.id(), bytes })
    }

    fn sign(&self, context: &[u8], bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.key.sign(&[context, bytes].concat())?.to_vec())
    }
}

/// Why a note is not signed.
#[derive(Debug, thiserror::Error)]
pub enum NoteSignError {
    /// The key's name cannot stand in a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The cryptographic library failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// A signed bundle, and what the broker needs to know of it without reading it again.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedBundle {
    /// The one node that may use it.
    pub audience: String,
    /// Its epoch.
    pub epoch: u64,
    /// SHA-256 of its bytes.
    pub hash: Sha256,
    /// The bytes and their signature.
    pub signed: SignedBundle,
}

#[cfg(test)]
mod tests {
    use lienthong_certs::mesh_key::verify;

    use super::*;

    #[test]
    fn a_signature_is_good_for_its_own_kind_only() {
        let signer = BundleSigner::new("vn-test", "bundle-1", MeshKey::generate().unwrap());
        let bundle = RightsBundle { mesh: "vn-test".into(), epoch: 7, ..RightsBundle::default() };
        let sealed = signer.seal(&bundle).unwrap();
        let heartbeat = signer.heartbeat(&sealed, &[], 3, Timestamp { seconds: 1, nanos: 0 }).unwrap();
        let check = |context: &[u8], bytes: &[u8], signature: &[u8]| {
            verify(&signer.public_key(), &[context, bytes].concat(), signature).is_ok()
        };
        assert!(check(BUNDLE_CONTEXT, &sealed.hash, &sealed.signed.signature));
        assert!(check(HEARTBEAT_CONTEXT, &heartbeat.heartbeat, &heartbeat.signature));
        assert!(!check(HEARTBEAT_CONTEXT, &sealed.hash, &sealed.signed.signature));
        assert!(!check(BUNDLE_CONTEXT, &heartbeat.heartbeat, &heartbeat.signature));

        let read = Heartbeat::decode(heartbeat.heartbeat.as_slice()).unwrap();
        assert_eq!((read.epoch, read.bundle_hash.as_slice()), (7, sealed.hash.as_slice()));
        assert_eq!(sealed.hash, sha256(&sealed.signed.bundle));
    }
}
