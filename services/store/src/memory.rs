//! The store in memory: for tests, and for state that need not outlive its process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::ready;

use crate::batch::{Batch, KeyRange};
use crate::changes::{ChangeLog, Retention, event_bytes};
use crate::contract::{
    Change, Entry, Event, Page, RANGE_BYTES_MAX, RANGE_ENTRIES_MAX, Revision, Store, StoreFuture, Versioned,
    Watch,
};
use crate::error::StoreError;
use crate::judge::judge;

/// A [`Store`] in memory. What is committed is as durable as the process.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    changes: ChangeLog,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Vec<u8>, Versioned>,
    revision: Revision,
    retention: Retention,
    kept_after: Revision,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { state: Mutex::default(), changes: ChangeLog::new(Revision::ZERO, Vec::new()) }
    }

    fn commit_now(&self, batch: Batch) -> Result<Revision, StoreError> {
        batch.check()?;
        let mut state = self.lock();
        let events = judge(batch, |key| Ok(state.entries.get(key).map(|versioned| versioned.revision)))?;
        if events.is_empty() {
            return Ok(state.revision);
        }
        let revision = Revision(state.revision.0 + 1);
        state.revision = revision;
        for event in &events {
            match event {
                Event::Put { key, value } => {
                    state.entries.insert(key.clone(), Versioned { value: value.clone(), revision });
                }
                Event::Delete { key } => {
                    state.entries.remove(key);
                }
            }
        }
        if let Some(last) = state.retention.admit(revision, event_bytes(&events)).last() {
            state.kept_after = *last;
        }
        // Published under the lock: watches see the changes in order.
        self.changes.publish(vec![Change { revision, events }], state.kept_after);
        Ok(revision)
    }

    fn range_now(&self, range: &KeyRange, limit: usize) -> Page {
        let state = self.lock();
        let mut page = Page { entries: Vec::new(), more: false, revision: state.revision };
        if range.is_empty() {
            return page;
        }
        let to = range.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut bytes = 0;
        for (key, versioned) in state.entries.range::<[u8], _>((Bound::Included(range.from.as_slice()), to)) {
            if page.entries.len() >= limit.clamp(1, RANGE_ENTRIES_MAX) || bytes >= RANGE_BYTES_MAX {
                page.more = true;
                break;
            }
            bytes += key.len() + versioned.value.len();
            page.entries.push(Entry {
                key: key.clone(),
                value: versioned.value.clone(),
                revision: versioned.revision,
            });
        }
        page
    }

    /// Nothing panics while the state is held, so a poisoned lock still guards whole data.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, Option<Versioned>> {
        ready(Ok(self.lock().entries.get(key).cloned())).boxed()
    }

    fn range<'a>(&'a self, range: &'a KeyRange, limit: usize) -> StoreFuture<'a, Page> {
        ready(Ok(self.range_now(range, limit))).boxed()
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Revision> {
        ready(self.commit_now(batch)).boxed()
    }

    fn watch<'a>(&'a self, prefix: &'a [u8], after: Revision) -> StoreFuture<'a, Watch> {
        ready(self.changes.watch(prefix, after)).boxed()
    }

    fn revision(&self) -> StoreFuture<'_, Revision> {
        ready(Ok(self.changes.reached().revision)).boxed()
    }
}
