//! The key of a log.

use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::note::{KeyKind, NoteError, SigningKey, VerifierKey};

use super::error::LogError;

/// The key of a log: an Ed25519 key whose name is the log's origin.
#[derive(Debug)]
pub struct LogKey {
    key: SigningKey,
    origin: Arc<str>,
}

impl LogKey {
    /// Makes a new key for a new log.
    pub fn generate(origin: &str) -> Result<Self, NoteError> {
        Self::new(SigningKey::generate(origin, KeyKind::Ed25519)?)
    }

    /// Reads a key file: one line as [`SigningKey::to_skey`] writes it.
    pub fn from_skey(skey: &str) -> Result<Self, NoteError> {
        Self::new(SigningKey::from_skey(skey.trim_end_matches('\n'))?)
    }

    /// Uses a signing key as a log's key; it must be of type [`KeyKind::Ed25519`].
    pub fn new(key: SigningKey) -> Result<Self, NoteError> {
        match key.verifier().kind() {
            KeyKind::Ed25519 => Ok(Self { origin: key.name().into(), key }),
            KeyKind::CosignatureV1 => Err(NoteError::WrongKind(key.verifier().label())),
        }
    }

    /// The origin of the log that this key signs for.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public half, for policies and for verifying receipts.
    pub const fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// The signing key itself.
    pub const fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) const fn shared_origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// Signs a checkpoint. Ed25519 has no randomness, so one checkpoint always gets the same signature.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> Result<String, LogError> {
        let note = checkpoint.sign(&self.key);
        Ok(note
            .map_err(|source| LogError::Checkpoint { path: PathBuf::from(&*self.origin), source })?
            .to_string())
    }
}
