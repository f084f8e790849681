//! The contract: what every store promises.

use std::fmt;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::batch::{Batch, KeyRange};
use crate::error::StoreError;

/// Entries that one page of [`Store::range`] holds at most, whatever limit is asked.
pub const RANGE_ENTRIES_MAX: usize = 1_000;
/// Bytes of keys and values after which a page ends, though it always holds one entry.
pub const RANGE_BYTES_MAX: usize = 4 << 20;

/// An ordered map from keys to values that moves forward by atomic batches.
///
/// What is answered is *durable*: no value, revision or change is shown that a crash could take back. All
/// methods may be called from many tasks at once; each takes a tokio runtime for granted.
pub trait Store: Send + Sync {
    /// The value of a key, with the revision that wrote it.
    fn get<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, Option<Versioned>>;

    /// The entries of a range in the order of their keys: up to `limit` of them (at least one, at most
    /// [`RANGE_ENTRIES_MAX`]), fewer if they are large. All are of one revision; ask for the next page with
    /// [`KeyRange::after`] the last key. Pages of a store that is written in between differ in revision: to hold a
    /// whole range, read it and then [`watch`](Self::watch) from the *first* page's revision.
    fn range<'a>(&'a self, range: &'a KeyRange, limit: usize) -> StoreFuture<'a, Page>;

    /// Commits a batch, all of it or nothing, and answers the revision at which it is in effect and durable. A batch
    /// that puts nothing and deletes only what is not there leaves the revision as it is.
    ///
    /// [`StoreError::Conflict`] tells that a requirement of the batch does not hold; the state is unchanged.
    /// [`StoreError::Unavailable`] leaves open whether the batch was committed: read before trying again.
    fn commit(&self, batch: Batch) -> StoreFuture<'_, Revision>;

    /// All changes *after* a revision to keys that begin with `prefix`, in order, first those that have happened,
    /// then each as it is committed. Take up a broken watch after the last revision that it gave.
    ///
    /// [`StoreError::Compacted`], at once or as the last item when the reader falls behind: changes that old are no
    /// longer kept; read the range again. [`StoreError::RevisionAhead`]: this store was never there, so it was
    /// restored from an older copy or is another one.
    fn watch<'a>(&'a self, prefix: &'a [u8], after: Revision) -> StoreFuture<'a, Watch>;

    /// The revision of the last durable change; [`Revision::ZERO`] for a store that was never written.
    fn revision(&self) -> StoreFuture<'_, Revision>;
}

/// What a [`Store`] answers with, later.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The changes of a watch. An error is the last item.
pub type Watch = BoxStream<'static, Result<Change, StoreError>>;

/// How often a store has changed: rises with every effective commit, and names the state after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of an empty store.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Vec<u8>,
    /// Revision of the commit that put it last.
    pub revision: Revision,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// Revision of the commit that put the value last.
    pub revision: Revision,
}

/// A part of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries, in the order of their keys.
    pub entries: Vec<Entry>,
    /// Whether the range holds entries beyond these.
    pub more: bool,
    /// The store's revision that all entries are of.
    pub revision: Revision,
}

/// What one commit did to the watched keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Revision of the commit.
    pub revision: Revision,
    /// What happened, in the order of the keys; never empty, each key once.
    pub events: Vec<Event>,
}

/// What happened to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The key has this value now.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// The key, which had a value, has none any more.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

impl Event {
    /// The key.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// The value that was put.
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Delete { .. } => None,
        }
    }
}
