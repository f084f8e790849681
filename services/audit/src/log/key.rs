//! The key of a log, and the signer that has one or, around a change of keys, two.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{KeyKind, Note, NoteError, SigningKey, VerifierKey};

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
}

/// Signs a log's checkpoints: with the key in use and, around a change of keys, with the next one too, so that readers who
/// know either believe them (C2SP signed-note allows several signatures). Clones share the keys.
#[derive(Clone, Debug)]
pub struct LogSigner {
    origin: Arc<str>,
    keys: Arc<RwLock<Arc<Keys>>>,
}

#[derive(Debug)]
struct Keys {
    now: LogKey,
    next: Option<LogKey>,
}

impl LogSigner {
    /// Signs with `now`, and with `next` where there is one.
    pub fn new(now: LogKey, next: Option<LogKey>) -> Self {
        let origin = Arc::clone(&now.origin);
        Self { origin, keys: Arc::new(RwLock::new(Arc::new(Keys { now, next }))) }
    }

    /// From the next checkpoint on, signs with these keys. They must be of the same log.
    ///
    /// # Errors
    /// [`LogError::Key`]; the keys stay as they were.
    pub fn change(&self, now: LogKey, next: Option<LogKey>) -> Result<(), LogError> {
        if let Some(other) =
            [Some(&now), next.as_ref()].into_iter().flatten().find(|key| key.origin != self.origin)
        {
            let expected = self.verifier().label();
            return Err(LogError::Key { given: other.verifier().label(), expected });
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Keys { now, next });
        Ok(())
    }

    /// The public half of the key in use.
    pub fn verifier(&self) -> VerifierKey {
        self.keys().now.verifier().clone()
    }

    /// The public halves of all keys, the one in use first.
    pub fn verifiers(&self) -> Vec<VerifierKey> {
        let keys = self.keys();
        std::iter::once(&keys.now).chain(&keys.next).map(|key| key.verifier().clone()).collect()
    }

    pub(crate) const fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// Signs a checkpoint. Ed25519 has no randomness, so one checkpoint always gets the same signature of a key.
    pub(crate) fn note(&self, checkpoint: &Checkpoint) -> Result<Note, CheckpointError> {
        let keys = self.keys();
        let mut note = checkpoint.sign(keys.now.signing_key())?;
        if let Some(next) = &keys.next {
            note.add(next.signing_key().sign(note.text())?);
        }
        Ok(note)
    }

    /// The same as text.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> Result<String, LogError> {
        let note = self.note(checkpoint);
        Ok(note
            .map_err(|source| LogError::Checkpoint { path: PathBuf::from(&*self.origin), source })?
            .to_string())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<LogKey> for LogSigner {
    fn from(key: LogKey) -> Self {
        Self::new(key, None)
    }
}
