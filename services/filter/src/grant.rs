//! Which fields one consumer may see, and how masked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::error::PlanError;

/// Length of a [`HashKey`], in bytes: the output length of SHA-256, as RFC 2104 §3 advises.
pub const HASH_KEY_BYTES: usize = 32;

/// What one consumer may see of one dataset for one purpose, as decided before the call.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The fields granted.
    pub fields: FieldSet,
    /// How fields are masked, by field id. A field that is not named here is released as it is; a field
    /// that is named but not granted stays dropped.
    pub masking: BTreeMap<String, Masking>,
    /// Key of [`Masking::Hash`], one per consumer × dataset. Needed only where a granted field is hashed.
    pub hash_key: Option<HashKey>,
}

impl Grant {
    /// A grant of these fields, nothing masked.
    pub fn new(fields: FieldSet) -> Self {
        Self { fields, masking: BTreeMap::new(), hash_key: None }
    }
}

/// A set of field ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FieldSet {
    /// Every field that the descriptor knows: `"*"` in a catalog entry.
    All,
    /// These ids only; see the crate's words for how ids are written.
    Only(BTreeSet<String>),
}

impl<S: Into<String>> FromIterator<S> for FieldSet {
    /// The set of these ids; [`FieldSet::All`] if `"*"` is among them.
    fn from_iter<I: IntoIterator<Item = S>>(ids: I) -> Self {
        let ids: BTreeSet<String> = ids.into_iter().map(Into::into).collect();
        if ids.contains("*") { Self::All } else { Self::Only(ids) }
    }
}

/// How the value of a granted field is released. An empty value stays empty under every kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Masking {
    /// As it is.
    None,
    /// Strings only: of `n` characters (Unicode scalar values), the first and last `min(n / 6, 3)` stay and
    /// each other becomes `*`. So at most a third is shown, nothing of a text shorter than six, and the
    /// length stays: `001099012345` becomes `00********45`.
    Partial,
    /// Strings and bytes only: the first 16 bytes of HMAC-SHA-256 (RFC 2104) under the grant's key; in a
    /// string as 32 lower-case hexadecimal digits. Equal values give equal tokens for one consumer
    /// and dataset, in whichever field they stand, and unrelated tokens for any other.
    Hash,
    /// Not at all: the field is dropped although granted.
    Omit,
}

/// Secret key of [`Masking::Hash`] for one consumer × dataset. Copies share the key.
#[derive(Clone)]
pub struct HashKey(Arc<hmac::Key>);

impl HashKey {
    /// A key from [`HASH_KEY_BYTES`] secret random bytes; any other length is [`PlanError::HashKeyLength`].
    pub fn new(secret: &[u8]) -> Result<Self, PlanError> {
        if secret.len() != HASH_KEY_BYTES {
            return Err(PlanError::HashKeyLength { given: secret.len() });
        }
        Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret))))
    }

    pub(crate) fn sign(&self, value: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, value)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(secret)")
    }
}
