//! What is committed at once, and ranges of keys.

use std::collections::BTreeMap;

use crate::contract::Revision;
use crate::error::{StoreError, show};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 512 << 10;
/// Puts and deletes in one batch: what etcd accepts by default (`--max-txn-ops`).
pub const BATCH_OPERATIONS_MAX: usize = 128;
/// Requirements in one batch: likewise.
pub const BATCH_REQUIREMENTS_MAX: usize = 128;
/// Keys and values of one batch together, in bytes: below etcd's default of 1.5 MiB a request.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Puts and deletes that take effect together, if all requirements hold.
///
/// Each key is put or deleted once: the last word on a key replaces what the batch said of it before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) operations: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) requirements: BTreeMap<Vec<u8>, Expected>,
    contradicted: Option<Vec<u8>>,
}

/// What a batch requires of a key before it takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The key has no value.
    Absent,
    /// The key has a value, last put by this revision.
    At(Revision),
}

impl Expected {
    pub(crate) fn revision(self) -> Option<Revision> {
        match self {
            Self::Absent => None,
            Self::At(revision) => Some(revision),
        }
    }
}

impl From<Option<Revision>> for Expected {
    /// What a read has found: its revision, or absence.
    fn from(revision: Option<Revision>) -> Self {
        revision.map_or(Self::Absent, Self::At)
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a key a value.
    #[must_use]
    pub fn put(mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.operations.insert(key.into(), Some(value.into()));
        self
    }

    /// Takes a key's value away; of no effect if it has none.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.operations.insert(key.into(), None);
        self
    }

    /// Requires that a key is as expected; it need not be a key that the batch changes.
    #[must_use]
    pub fn require(mut self, key: impl Into<Vec<u8>>, expected: impl Into<Expected>) -> Self {
        let (key, expected) = (key.into(), expected.into());
        if let Some(before) = self.requirements.insert(key.clone(), expected)
            && before != expected
        {
            self.contradicted = Some(key);
        }
        self
    }

    /// Requires that a key has no value.
    #[must_use]
    pub fn require_absent(self, key: impl Into<Vec<u8>>) -> Self {
        self.require(key, Expected::Absent)
    }

    /// Whether the batch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Checks the batch against the bounds of this module; every store does so first.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let refuse = |reason: String| Err(StoreError::BatchInvalid { reason });
        if let Some(key) = &self.contradicted {
            return refuse(format!("two different requirements on key {}", show(key)));
        }
        if self.operations.len() > BATCH_OPERATIONS_MAX {
            return refuse(format!("{} operations, at most {BATCH_OPERATIONS_MAX}", self.operations.len()));
        }
        if self.requirements.len() > BATCH_REQUIREMENTS_MAX {
            return refuse(format!(
                "{} requirements, at most {BATCH_REQUIREMENTS_MAX}",
                self.requirements.len()
            ));
        }
        for key in self.operations.keys().chain(self.requirements.keys()) {
            if key.is_empty() {
                return refuse("an empty key".to_owned());
            }
            if key.len() > KEY_BYTES_MAX {
                return refuse(format!("a key of {} bytes, at most {KEY_BYTES_MAX}", key.len()));
            }
        }
        for (key, value) in &self.operations {
            let bytes = value.as_ref().map_or(0, Vec::len);
            if bytes > VALUE_BYTES_MAX {
                return refuse(format!(
                    "key {}: a value of {bytes} bytes, at most {VALUE_BYTES_MAX}",
                    show(key)
                ));
            }
        }
        let bytes = self.bytes();
        if bytes > BATCH_BYTES_MAX {
            return refuse(format!("{bytes} bytes of keys and values, at most {BATCH_BYTES_MAX}"));
        }
        Ok(())
    }

    /// Bytes of all keys and values that are put or deleted.
    pub(crate) fn bytes(&self) -> usize {
        self.operations.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

/// Keys from one, inclusive, up to another, exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub from: Vec<u8>,
    /// The first key beyond; `None` for no end.
    pub to: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self { from: Vec::new(), to: None }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let from = prefix.into();
        let mut to = from.clone();
        // The next prefix of that length: the last byte that can rise does, those behind it go.
        while let Some(last) = to.pop() {
            if last < u8::MAX {
                to.push(last + 1);
                return Self { from, to: Some(to) };
            }
        }
        Self { from, to: None }
    }

    /// Keys from `from`, inclusive, up to `to`, exclusive.
    pub fn between(from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) -> Self {
        Self { from: from.into(), to: Some(to.into()) }
    }

    /// What is left of the range after a key: for the next page.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        let mut from = key.to_vec();
        from.push(0);
        Self { from: from.max(self.from.clone()), to: self.to.clone() }
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(range: &KeyRange, key: &[u8]) -> bool {
        range.from.as_slice() <= key && range.to.as_ref().is_none_or(|to| key < to.as_slice())
    }

    proptest! {
        #[test]
        fn a_prefix_is_a_range(prefix in proptest::collection::vec(250u8.., 0..4), key in proptest::collection::vec(250u8.., 0..6)) {
            prop_assert_eq!(contains(&KeyRange::prefix(prefix.clone()), &key), key.starts_with(&prefix));
        }

        #[test]
        fn the_next_page_begins_behind_the_last_key(from in ".{0,3}", to in ".{0,3}", last in ".{0,3}", key in ".{0,3}") {
            let range = KeyRange::between(from, to);
            let rest = range.after(last.as_bytes());
            prop_assert_eq!(contains(&rest, key.as_bytes()), contains(&range, key.as_bytes()) && key > last);
        }
    }

    #[test]
    fn bounds_are_checked() {
        let many =
            |count: usize| (0..count).fold(Batch::new(), |batch, index| batch.put(format!("{index}"), ""));
        let required = |count: usize| {
            (0..count).fold(Batch::new(), |batch, index| batch.require_absent(format!("{index}")))
        };
        let wide = |count: usize| {
            (0..count).fold(Batch::new(), |batch, index| {
                batch.put(format!("{index}"), vec![0; VALUE_BYTES_MAX / 2])
            })
        };
        for fits in [
            Batch::new(),
            many(BATCH_OPERATIONS_MAX),
            required(BATCH_REQUIREMENTS_MAX),
            Batch::new().put(vec![1; KEY_BYTES_MAX], vec![1; VALUE_BYTES_MAX]),
            wide(3),
            Batch::new().require_absent("k").require_absent("k"),
        ] {
            assert_eq!(fits.check(), Ok(()));
        }
        for (refused, words) in [
            (many(BATCH_OPERATIONS_MAX + 1), "129 operations"),
            (required(BATCH_REQUIREMENTS_MAX + 1), "129 requirements"),
            (Batch::new().put("", ""), "empty key"),
            (Batch::new().require_absent(""), "empty key"),
            (Batch::new().delete(vec![1; KEY_BYTES_MAX + 1]), "a key of 1025 bytes"),
            (Batch::new().put("k", vec![1; VALUE_BYTES_MAX + 1]), "a value of 524289 bytes"),
            (wide(4), "1048580 bytes"),
            (Batch::new().require_absent("k").require("k", Expected::At(Revision(3))), "two different"),
        ] {
            let error = refused.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
