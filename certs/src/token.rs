//! Keys in a token (PKCS #11): the key signs where it is, and never leaves.
//!
//! A token is a machine behind a wire: it may be slow, be taken away, or forget who is logged in. So nobody who wants a
//! signature talks to it. [`SESSIONS`] threads do, a session each; whoever wants a signature puts the message into a
//! bounded queue, our own apart from strangers', and waits at most [`SIGNATURE_TIMEOUT_MS`]. A session that broke is made anew for the next message, with
//! login, so that a token that comes back is used again without anybody's doing. A PIN that the token refused is not tried
//! a second time by this process until its file changes, and never as the last try that the token allows: tokens lock
//! themselves.
//!
//! ```text
//! sign() ── queues ─▶ pool (threads, time limit) ──▶ device (session, login, key) ──▶ module (the vendor's library)
//! ```
//!
//! The vendor's library is loaded into this process and trusted like a part of it; so is `cryptoki`, which holds the calls
//! to it that Rust cannot check and is named in this module alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::algorithm::{KeyAlgorithm, SignatureAlgorithm};
use crate::key_source::TokenKey;
use crate::signer::{Errand, SignError, Signer};

mod device;
mod module;
mod pool;

use device::Device;
use pool::Pool;

/// Sessions with one token for one key, and threads that hold them. One of them signs for us alone, never for strangers.
pub const SESSIONS: usize = 3;
/// Signatures of ours that may wait for a session; as many of strangers' may.
pub const SIGNATURES_WAITING_MAX: usize = 64;
/// Longest wait for one signature, milliseconds: well below what a handshake may take.
pub const SIGNATURE_TIMEOUT_MS: u64 = 4_000;

/// A key in a token, as a signer.
pub(crate) struct TokenSigner {
    pool: Pool,
    algorithm: SignatureAlgorithm,
    spki_der: Vec<u8>,
}

impl TokenSigner {
    /// The signer for the public key `spki_der`, whose private half lies in `key`. Whether it does shows when it signs.
    ///
    /// # Errors
    /// [`TokenError`] if no such key can be in a token.
    pub(crate) fn open(key: &TokenKey, spki_der: &[u8]) -> Result<TokenSigner, TokenError> {
        let kind = KeyAlgorithm::of_spki(spki_der);
        let algorithm = kind.as_ref().and_then(KeyAlgorithm::signature_algorithm).ok_or_else(|| {
            let found = kind.map_or_else(|| "unreadable".to_owned(), |kind| kind.to_string());
            TokenError::Unsupported { token: key.token.clone(), what: format!("signing with a {found} key") }
        })?;
        let login = device::Login::with(key);
        let devices = (0..SESSIONS).map(|_| Device::new(key.clone(), algorithm, Arc::clone(&login)));
        let timeout = Duration::from_millis(SIGNATURE_TIMEOUT_MS);
        let pool = Pool::start(&key.token, devices, SIGNATURES_WAITING_MAX, timeout)?;
        Ok(TokenSigner { pool, algorithm, spki_der: spki_der.to_vec() })
    }
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.pool.sign(message, &Errand::own())?)
    }

    fn sign_for(&self, message: &[u8], errand: &Errand) -> Result<Vec<u8>, SignError> {
        Ok(self.pool.sign(message, errand)?)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    fn may_wait(&self) -> bool {
        true
    }

    fn trouble(&self) -> Option<SignError> {
        self.pool.trouble().map(SignError::from)
    }
}

/// Why a token did not sign. Each goes away by itself once its cause does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The vendor's library.
    #[error(
        "the PKCS #11 library {module} cannot be used: {detail}; check `module`, and that the library is installed for \
         this processor"
    )]
    Module {
        /// The library.
        module: PathBuf,
        /// What it, or the loader, said.
        detail: String,
    },
    /// No token of that label is in any slot.
    #[error(
        "no token \"{token}\" is present: put it in, or check its label with the vendor's tool; it is looked for again at the next signature"
    )]
    Absent {
        /// Its label.
        token: String,
    },
    /// The token is there, the key is not.
    #[error("the token \"{token}\" holds {found} private keys of {what}, not one: correct `key` or `id`")]
    Key {
        /// The token.
        token: String,
        /// What was looked for.
        what: String,
        /// How many there are.
        found: usize,
    },
    /// The file with the PIN.
    #[error("the PIN of the token \"{token}\" cannot be read: {detail}")]
    PinFile {
        /// The token.
        token: String,
        /// What is wrong with the file.
        detail: String,
    },
    /// The token refused the PIN.
    #[error(
        "the token \"{token}\" refuses the PIN in `pin_file`: {detail}; it is not tried again until that file changes, \
         since tokens lock themselves after a few wrong PINs"
    )]
    Pin {
        /// The token.
        token: String,
        /// What the token said.
        detail: String,
    },
    /// One more wrong PIN locks the token.
    #[error(
        "the token \"{token}\" allows one more try of its PIN before it locks itself, and that is not spent here: log in \
         once with the vendor's tool, correct `pin_file`, and it is used again"
    )]
    LastTry {
        /// The token.
        token: String,
    },
    /// The token does not do what the key needs.
    #[error("the token \"{token}\" does not offer {what}: use another kind of key, such as ECDSA P-256")]
    Unsupported {
        /// The token.
        token: String,
        /// What was needed.
        what: String,
    },
    /// It did not answer in time.
    #[error(
        "the token \"{token}\" did not sign within {after_ms} ms: is it overloaded, or its connection slow?"
    )]
    Slow {
        /// The token.
        token: String,
        /// How long was waited, milliseconds.
        after_ms: u64,
    },
    /// Too many wait for it.
    #[error(
        "{waiting} signatures wait for the token \"{token}\", the most that may: it is too slow for this load"
    )]
    Busy {
        /// The token.
        token: String,
        /// The bound.
        waiting: usize,
    },
    /// Anything else that it said.
    #[error("the token \"{token}\" failed: {detail}; it is tried again at the next signature")]
    Failed {
        /// The token.
        token: String,
        /// What it said.
        detail: String,
    },
}
